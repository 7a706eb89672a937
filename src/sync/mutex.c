/* SPDX-License-Identifier: MIT */
/*
 * mutex.c: the mutual exclusion lock.
 *
 * The word is the owner's record and three flags, 0 when free:
 *   WAITERS   the queue is not empty; set and cleared under bl__lock
 *   WOKEN     a waiter is awake and about to take the mutex: unlocking wakes no other. Set under
 *             bl__lock by the unlock that wakes it, while more wait; cleared by the waiter when it
 *             takes the mutex or goes back to the queue. It may be lost, which costs a useless wake;
 *             it is never set with nobody awake, which would lose one.
 *   STARVING  the front waiter was woken and lost for a millisecond: unlocking hands the mutex over,
 *             and nobody barges in. Set under bl__lock by that waiter.
 * To take it while nobody owns it, and to give it back while nobody is to be woken, is one
 * compare-and-swap each, waiters or not. Everything else is slow. While the mutex is owned only its
 * owner and the holder of bl__lock write the word.
 *
 * Who gets it. An unlock wakes the front waiter and leaves the mutex free, so that who runs can
 * take it meanwhile (barging): handing over makes everybody wait for a switch, which is what makes
 * strict first-in-first-out mutexes slow. There are two exceptions. Starvation, as in Go's
 * sync.Mutex. And an owner that has switched while it held it (yielded, waited for a channel): then
 * the others had their turn and queue up behind the mutex, a woken one would mostly wake in vain,
 * and whoever is handed the mutex runs next anyway.
 *
 * The storage. A free word is the last thing an unlock writes: another thread may lock, unlock and
 * free it at once. So bl__lock is given back while the word still names the owner, and only then
 * the word is released; or the mutex is handed to a waiter that does not run yet.
 *
 * ORD(mutex): taking the word (acquire) and releasing it (release) are the two sides. A hand-over
 * needs none of it: bl__ready and bl__park order what was before and what is after.
 */
#include "arch/relax.h"
#include "core/bubble.h"
#include "sync/object.h"

enum { MUTEX_WAITERS = 1, MUTEX_WOKEN = 2, MUTEX_STARVING = 4 };
#define MUTEX_FLAGS ((uintptr_t)7)
#define MUTEX_STARVED BL_MS /* as Go's starvationThresholdNs */

enum {
    MUTEX_HANDED = 1, /* what bl__park returns to who was handed the mutex; 0: woken to try again */
    MUTEX_SPINS = 6   /* looks at a held mutex before waiting; the pauses between them double */
};

/* The quick way of each, with one processor, is a cache line long, and begins where one does: further
 * lines take 15 % of an uncontended lock and unlock while the other thread of the core is busy. So
 * it stores what is in registers, and leaves what only who waits asks for to that (bl__tick). */
#define MUTEX_HOT __attribute__((aligned(64)))

static inline bl__g *mutex_owner(uintptr_t word) { return (bl__g *)(word & ~MUTEX_FLAGS); }

static inline bl__waitq *mutex_queue(bl_mutex *m) { return BL__WAITQ(&m->bl__head); }

const bl__g *bl__mutex_holder(const void *mutex)
{
    const bl_mutex *m = mutex;
    const bl__g *g = mutex_owner(load_relaxed(&m->bl__word));
    return g != &bl__orphan ? g : NULL;
}

/* What the new owner does with a mutex whose word names it. Where nobody waited, that is all. */
static inline void mutex_hold(bl_mutex *m, bl__g *g)
{
    bl__race_acquire(m);
    bl__held_add(&g->held, m);
}

static inline void mutex_taken(bl_mutex *m, bl__g *g)
{
    BL__CHECK_COPY(m, "sync.Mutex");
    store_relaxed(&m->bl__tick, g->switches);
    mutex_hold(m, g);
}

/* Under bl__lock. */
static inline void mutex_assert(bl_mutex *m)
{
    BL__CHECK(bl__waitq_empty(mutex_queue(m)) == !(load_relaxed(&m->bl__word) & MUTEX_WAITERS));
    BL__CHECK(!(load_relaxed(&m->bl__word) & MUTEX_STARVING) ||
              (load_relaxed(&m->bl__word) & MUTEX_WAITERS));
    (void)m;
}

/* Takes m as soon as it is free, if that is soon. Who would be the first to queue and who was woken
 * look a few times, with other processors at work; whether the owner is running at all cannot be
 * told, since its record may be gone. awake: the WOKEN flag is the caller's to clear. True:
 * taken. */
static bool mutex_spin(bl_mutex *m, bl__g *g, bool awake)
{
    uintptr_t word = load_relaxed(&m->bl__word);
    for (int spin = 0;;) {
        if (!mutex_owner(word)) {
            uintptr_t flags = awake ? word & ~(uintptr_t)MUTEX_WOKEN : word;
            if (cas_acquire(&m->bl__word, &word, (uintptr_t)g | flags)) /* ORD(mutex) */
                return true;
            continue;
        }
        if (spin == MUTEX_SPINS || (word & MUTEX_STARVING) || (!awake && (word & MUTEX_WAITERS)) ||
            bl_procs() == 1)
            return false;
        for (int i = 0; i < 1 << spin; i++)
            bl__cpu_relax();
        spin++;
        word = load_relaxed(&m->bl__word);
    }
}

/* bl__lock held, without which owner cannot unlock: notes for it what it has not if it took m
 * quickly. If it does not run, it has switched since. */
static __attribute__((noinline)) void mutex_tick(bl_mutex *m, const bl__g *owner)
{
    if (owner == &bl__orphan)
        return;
    /* TSan would tell of a plain thread's record, made in this thread's sight by nobody. */
    uint32_t off = BL__TSAN || load_relaxed(&owner->task.status) != BL__G_RUNNING;
    store_relaxed(&m->bl__tick, (BL__TSAN ? 0 : load_relaxed(&owner->switches)) - off);
}

/* bl__lock held. Takes m if it is free by now, else says in the word that somebody waits, and with
 * starving that it is for long. True: taken. */
static inline __attribute__((always_inline)) bool mutex_announce(bl_mutex *m, bl__g *g, bool awake,
                                                                 bool starving)
{
    uintptr_t word = load_relaxed(&m->bl__word), next;
    do {
        uintptr_t kept = awake ? word & ~(uintptr_t)MUTEX_WOKEN : word;
        next = mutex_owner(word) ? kept | MUTEX_WAITERS | (starving ? MUTEX_STARVING : 0)
                                 : kept | (uintptr_t)g;
        if (next == word) /* said already; and what takes it back needs bl__lock */
            return false;
    } while (!cas_acquire(&m->bl__word, &word, next)); /* ORD(mutex) */
    if (mutex_owner(word) && !(word & (MUTEX_WAITERS | MUTEX_WOKEN)))
        mutex_tick(m, mutex_owner(word));
    return !mutex_owner(word);
}

/* After a cancelled or timed-out wait. */
static void mutex_give_up(bl_mutex *m, bl__waiter *w)
{
    bl__object_lock(&m->bl__lock, BL__RANK_WAITERS);
    bl__waitq_remove(mutex_queue(m), w);
    if (bl__waitq_empty(mutex_queue(m))) /* ORD(mutex): keeps what the owner released */
        and_acq_rel(&m->bl__word, ~(uintptr_t)(MUTEX_WAITERS | MUTEX_STARVING));
    mutex_assert(m);
    bl__object_unlock(&m->bl__lock);
}

/* What a second lock by the owner, or a lock of a copy, runs into. */
static void mutex_check_lock(bl_mutex *m, bl__g *g)
{
    BL__CHECK_COPY(m, "sync.Mutex");
    if (mutex_owner(load_relaxed(&m->bl__word)) == g)
        bl__fatal_of("locks", BL__WAIT_MUTEX, m,
                     "sync: lock of mutex already held by this goroutine - deadlock!");
}

/* cancellable: until stopped or the deadline; else without an end. woken: it has waited, and was
 * woken to try again. */
static __attribute__((noinline)) int mutex_lock_slow(bl_mutex *m, bl__g *g, bl_time deadline,
                                                     bool cancellable, bool woken)
{
    bl__waiter w;
    bool awake = woken, waited = woken;
    mutex_check_lock(m, g);
    bl__waiter_init(&w, g);
    w.n = 0; /* when its starving began; 0: not known */
    while (!mutex_spin(m, g, awake)) {
        bool starving = false;
        if (waited) {
            bl_time now = bl__now();
            starving = w.n && now - (bl_time)w.n > MUTEX_STARVED;
            w.n = w.n ? w.n : (uint64_t)now;
        } else if (load_relaxed(&m->bl__word) & MUTEX_STARVING) {
            w.n = (uint64_t)bl__now();
        }
        bl__object_lock(&m->bl__lock, BL__RANK_WAITERS);
        if (mutex_announce(m, g, awake, starving)) {
            bl__object_unlock(&m->bl__lock);
            break;
        }
        if (waited)
            bl__waitq_push_front(mutex_queue(m), &w);
        else
            bl__waitq_push_back(mutex_queue(m), &w);
        mutex_assert(m);
        int r = cancellable ? bl__park(g, &(bl__wait){.reason = BL__WAIT_MUTEX,
                                                      .cancellable = true,
                                                      .obj = m,
                                                      .lock = &m->bl__lock,
                                                      .deadline = deadline})
                            : bl__park_sole(g, BL__WAIT_MUTEX, m, &m->bl__lock);
        if (r == MUTEX_HANDED)
            break;
        if (r < 0) {
            mutex_give_up(m, &w);
            return r;
        }
        waited = awake = true;
    }
    mutex_taken(m, g);
    return 0;
}

/* from: where it was called. */
static __attribute__((noinline)) void mutex_lock_rare(bl_mutex *m, const void *from)
{
    bl__g *g = bl__self();
    bl__solo_settle();
    bl__asked_yield();
    bool order = bl__order_before(g, m, load_relaxed(&m->bl__self), BL__ORDER_MUTEX, true, from);
    (void)mutex_lock_slow(m, g, BL_NEVER, false, false);
    if (order)
        bl__order_has(g, m, from);
}

/* Queues up at once behind others, or where there is one processor: spinning is no use then. What
 * is rare is a call. */
static __attribute__((noinline)) void mutex_lock_owned(bl_mutex *m, const void *from)
{
    bl__solo_exit(); /* what was noted was no section */
    bl__g *g = bl__self();
    uintptr_t word = load_relaxed(&m->bl__word);
    bl__g *owner = mutex_owner(word);
    if (BL__UNLIKELY(!owner) || BL__UNLIKELY(owner == g) || BL__UNLIKELY(word & MUTEX_STARVING) ||
        BL__UNLIKELY(load_relaxed(&m->bl__self) != m) ||
        BL__UNLIKELY(load_relaxed(&bl__order_on)) || (!(word & MUTEX_WAITERS) && bl_procs() > 1)) {
        mutex_lock_rare(m, from);
        return;
    }
    bl__waiter w; /* no val */
    w.g = g;
    w.n = 0; /* as in mutex_lock_slow */
    bl__object_lock(&m->bl__lock, BL__RANK_WAITERS);
    if (BL__UNLIKELY(mutex_announce(m, g, false, false))) {
        bl__object_unlock(&m->bl__lock);
        mutex_taken(m, g);
        return;
    }
    bl__waitq_push_back(mutex_queue(m), &w);
    mutex_assert(m);
    if (BL__LIKELY(bl__park_sole(g, BL__WAIT_MUTEX, m, &m->bl__lock) == MUTEX_HANDED))
        mutex_taken(m, g);
    else
        (void)mutex_lock_slow(m, g, BL_NEVER, false, true);
}

/* The caller's mode, as bl__solo_enter_mode. */
static inline __attribute__((always_inline)) uint64_t mutex_enter(bl__solo *solo)
{
    BL__CHECK(!bl__solo_is_inside(solo));
    return bl__solo_enter_mode(solo);
}

/* All that is not the fast path is one call at its end, so it saves no registers: a first use,
 * too. */
MUTEX_HOT void bl_mutex_lock(bl_mutex *m)
{
    BL__RACE_FRAME();
    bl__race_use(m);
    bl__g **here =
        bl__tls_get(); /* as bl__self, which is asked for once the mode says that it is known */
    bl__solo *solo = bl__solo_of(here);
    uint64_t mode = mutex_enter(solo);
    if (BL__LIKELY(mode == BL__SOLO_ON)) {
        /* bl__self is read as it is, in the comparison: nobody writes it meanwhile. */
        if (BL__LIKELY(load_relaxed(&m->bl__word) == 0) && BL__LIKELY(m->bl__self == m)) {
            bl__g *g = *here;
            store_relaxed(&m->bl__word, (uintptr_t)g);
            bl__solo_exit_of(solo);
            mutex_hold(m, g);
            BL__RETURN_HERE();
            return;
        }
    } else if (bl__solo_is_off(mode) && BL__LIKELY(load_relaxed(&m->bl__self) == m)) {
        bl__g *g = *here;
        uintptr_t word = 0; /* not read first: that would wait for the instruction before */
        if (BL__LIKELY(cas_acquire(&m->bl__word, &word, (uintptr_t)g))) { /* ORD(mutex) */
            mutex_hold(m, g);
            return;
        }
        /* With waiters, when it is free: one barges in. */
        if (!mutex_owner(word) && cas_acquire(&m->bl__word, &word, (uintptr_t)g | word)) {
            store_relaxed(&m->bl__tick, g->switches);
            mutex_hold(m, g);
            return;
        }
    }
    mutex_lock_owned(m, __builtin_return_address(0));
}

static inline bool mutex_try(bl_mutex *m, bl__g *g)
{
    bl__solo_leave_outsider();
    uintptr_t word = load_relaxed(&m->bl__word);
    do {
        if (mutex_owner(word)) {
            BL__CHECK_COPY(m, "sync.Mutex");
            return false;
        }
    } while (!cas_acquire(&m->bl__word, &word, (uintptr_t)g | word)); /* ORD(mutex) */
    mutex_taken(m, g);
    return true;
}

int bl_mutex_lock_until(bl_mutex *m, bl_time deadline)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__race_use(m);
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bool order = bl__order_before(g, m, load_relaxed(&m->bl__self), BL__ORDER_MUTEX,
                                  deadline == BL_NEVER, from);
    int r = mutex_try(m, g) ? 0 : mutex_lock_slow(m, g, deadline, true, false);
    if (order && r == 0)
        bl__order_has(g, m, from);
    return r;
}

bool bl_mutex_try_lock(bl_mutex *m)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__race_use(m);
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bool order = bl__order_before(g, m, load_relaxed(&m->bl__self), BL__ORDER_MUTEX, false, from);
    bool got = mutex_try(m, g);
    if (order && got)
        bl__order_has(g, m, from);
    return got;
}

void bl__mutex_check_owner(bl_mutex *m, bl__g *g)
{
    BL__CHECK_COPY(m, "sync.Mutex");
    bl__g *owner = mutex_owner(load_relaxed(&m->bl__word));
    if (owner == g)
        return;
    if (!owner)
        bl__fatal_of("unlocks", BL__WAIT_MUTEX, m, "sync: unlock of unlocked mutex");
    uint32_t tick = load_relaxed(&m->bl__tick);
    if (owner == &bl__orphan && tick == 0)
        bl__fatal_of("unlocks", BL__WAIT_MUTEX, m,
                     "sync: unlock of mutex by a stranger: its owner, a thread, ended holding it");
    if (owner == &bl__orphan)
        bl__fatal_of(
            "unlocks", BL__WAIT_MUTEX, m,
            "sync: unlock of mutex by a stranger: its owner, goroutine %u, ended holding it", tick);
    if (owner->id == 0)
        bl__fatal_of("unlocks", BL__WAIT_MUTEX, m, "sync: unlock of mutex held by another thread");
    bl__fatal_of("unlocks", BL__WAIT_MUTEX, m, "sync: unlock of mutex held by goroutine %llu",
                 (unsigned long long)owner->id);
}

/* bl__lock held, m is the caller's, and it gives it to the front waiter. NULL: nobody waits any
 * more. */
static inline bl__g *mutex_hand_over(bl_mutex *m, uintptr_t word)
{
    bl__waitq *q = mutex_queue(m);
    bl__waiter *w = bl__waitq_claim_front(q);
    uintptr_t flags = 0;
    if (BL__UNLIKELY(!w))
        return NULL;
    if (BL__LIKELY(q->head)) {
        flags = MUTEX_WAITERS | (word & MUTEX_WOKEN);
        /* Who queued before the starving began has no time noted and is served first. */
        if ((word & MUTEX_STARVING) &&
            (!q->head->n || bl__now() - (bl_time)q->head->n > MUTEX_STARVED))
            flags |= MUTEX_STARVING;
    }
    store_relaxed(&m->bl__word, (uintptr_t)w->g | flags);
    return w->g;
}

/* Claimed, and the lock is given back. */
static inline void mutex_wake(bl__g *heir, int result)
{
    bl_dur waited = bl__contended_waited(heir);
    bl__ready(heir, result);
    if (BL__UNLIKELY(waited))
        bl__contended_unlock(waited);
}

/* Unlocks m, which has waiters. False: it has none any more, and is still g's. */
static bool mutex_unlock_waited(bl_mutex *m, bl__g *g)
{
    bl__object_lock(&m->bl__lock, BL__RANK_WAITERS);
    uintptr_t word = load_relaxed(&m->bl__word);
    bool hand_over = load_relaxed(&m->bl__tick) != g->switches;
    bl__g *heir = NULL;
    if (BL__LIKELY(hand_over || (word & MUTEX_STARVING)) &&
        BL__LIKELY((heir = mutex_hand_over(m, word)))) {
        mutex_assert(m);
        bl__object_unlock(&m->bl__lock);
        mutex_wake(heir, MUTEX_HANDED);
        return true;
    }
    bl__waiter *w = bl__waitq_claim_front(mutex_queue(m));
    bool more = !bl__waitq_empty(mutex_queue(m));
    store_relaxed(&m->bl__word, (uintptr_t)g | (more ? MUTEX_WAITERS | MUTEX_WOKEN : 0));
    mutex_assert(m);
    heir = w ? w->g : NULL;
    bl__object_unlock(&m->bl__lock);
    if (!heir)
        return false;
    and_acq_rel(&m->bl__word, MUTEX_FLAGS); /* ORD(mutex) */
    mutex_wake(heir, 0);                    /* it sees to those who have queued since */
    return true;
}

/* What a quick unlock by g makes of the word; the word itself where it has to be a slow one. With
 * waiters, it is quick if one is awake already. */
static inline __attribute__((always_inline)) uintptr_t mutex_left(uintptr_t word, bl__g *g)
{
    if (BL__LIKELY(word == (uintptr_t)g))
        return 0;
    return word == ((uintptr_t)g | MUTEX_WAITERS | MUTEX_WOKEN) ? word & MUTEX_FLAGS : word;
}

static __attribute__((noinline)) void mutex_unlock_slow(bl_mutex *m)
{
    bl__solo_exit(); /* as in mutex_lock_owned */
    bl__g *g = bl__self();
    uintptr_t word = load_relaxed(&m->bl__word);
    if (BL__UNLIKELY(mutex_owner(word) != g) || BL__UNLIKELY(load_relaxed(&m->bl__self) != m))
        bl__mutex_check_owner(m, g);
    if (BL__UNLIKELY(!bl__held_forget(g, &g->held, m)))
        bl__fatal_of("unlocks", BL__WAIT_MUTEX, m,
                     "sync: unlock of mutex whose memory was overwritten");
    for (;;) {
        bool waited = word & MUTEX_WAITERS;
        if (BL__LIKELY(waited && (word & (MUTEX_WOKEN | MUTEX_STARVING)) != MUTEX_WOKEN)) {
            if (BL__LIKELY(mutex_unlock_waited(m, g)))
                return;
            word = load_relaxed(&m->bl__word);
        } else {
            bl__solo_settle();
            if (cas_release(&m->bl__word, &word, word & MUTEX_FLAGS)) /* ORD(mutex) */
                return;
        }
    }
}

MUTEX_HOT void bl_mutex_unlock(bl_mutex *m)
{
    BL__RACE_FRAME();
    bl__race_use(m);
    bl__race_release(m);
    bl__g **here = bl__tls_get();
    bl__solo *solo = bl__solo_of(here);
    uint32_t mode = (uint32_t)mutex_enter(solo);
    if (BL__LIKELY(mode == BL__SOLO_ON)) {
        bl__g *g = *here;
        void *rest = m->bl__held;
        if (BL__LIKELY(g->held == m) && BL__LIKELY(load_relaxed(&m->bl__word) == (uintptr_t)g)) {
            bl__held_unlink(m, rest);
            store_relaxed(&m->bl__word, bl__zero());
            bl__solo_exit_of(solo);
            g->held = rest;
            BL__RETURN_HERE();
            return;
        }
    } else if (bl__solo_is_off(mode) && BL__LIKELY((*here)->held == m)) {
        bl__g *g = *here;
        void *rest = m->bl__held;
        uintptr_t word = load_relaxed(&m->bl__word);
        bl__held_unlink(m, rest);
        if (BL__LIKELY(word == (uintptr_t)g)
                ? cas_release(&m->bl__word, &word, 0) /* ORD(mutex) */
                : mutex_left(word, g) != word &&
                      cas_release(&m->bl__word, &word, mutex_left(word, g))) {
            g->held = rest;
            return;
        }
        m->bl__held = rest;
    }
    mutex_unlock_slow(m);
}

bool bl__mutex_orphan(void *mutex, bl__g *g)
{
    bl_mutex *m = mutex;
    if (m->bl__self != m || mutex_owner(load_relaxed(&m->bl__word)) != g)
        return false;
    bl__object_lock(&m->bl__lock, BL__RANK_WAITERS);
    store_relaxed(&m->bl__tick, (uint32_t)g->id);
    store_relaxed(&m->bl__word,
                  (uintptr_t)&bl__orphan | (load_relaxed(&m->bl__word) & MUTEX_WAITERS));
    bl__object_unlock(&m->bl__lock);
    return true;
}
