/* SPDX-License-Identifier: MIT */
/*
 * rwmutex.c: the reader/writer lock.
 *
 * The word is 0 when free; else the number of readers times RW_READER, or the writer's record with
 * RW_WRITER; and two flags:
 *   RW_WAITERS  a queue is not empty
 *   RW_WOKEN    a writer was taken out of the queue and is awake to try again
 * While both are clear everything is one compare-and-swap on the word. While one is set the word is
 * written under bl__lock only; and the flags themselves are set and cleared under it.
 *
 * Invariants, whenever bl__lock is free:
 *   - RW_WAITERS is set if and only if a reader or a writer is queued
 *   - somebody is queued only while the lock is held or RW_WOKEN is set
 *   - a reader is queued only while a writer holds the lock, waits, or is awake to take it
 * so either flag with readers inside means that a writer waits, and new readers queue up behind it.
 *
 * Who gets it, as in Go: a writer that unlocks lets in all readers that wait then, and the last of
 * them hands it to the writer that has waited longest; so neither kind starves the other. Among
 * writers alone it is as with the mutex, for the same reasons (mutex.c): the one that has waited
 * longest is woken, and who runs may take it meanwhile, unless that goes on for a millisecond or
 * the owner has switched.
 *
 * The storage may go as soon as an unlock is visible. So who writes a word without flags touches
 * nothing after it; and who gives up the lock under bl__lock either leaves a flag set, with which
 * everybody needs bl__lock, or gives it to waiters that are made ready when bl__lock has been given
 * back. (A waiter that has given up needs bl__lock before it returns.)
 *
 * ORD(rwmutex): taking the word (acquire), giving it back (release).
 */
#include "sync/object.h"

enum { RW_WAITERS = 1, RW_WRITER = 2, RW_WOKEN = 4, RW_READER = 8 };
#define RW_FLAGS ((uintptr_t)(RW_WAITERS | RW_WOKEN))
#define RW_STARVED BL_MS

static inline bl__waitq *rwmutex_readers(bl_rwmutex *m) { return BL__WAITQ(m->bl__readers); }
static inline bl__waitq *rwmutex_writers(bl_rwmutex *m) { return BL__WAITQ(m->bl__writers); }

/* The word without its flags: who is inside. */
static inline uintptr_t rwmutex_holders(uintptr_t word) { return word & ~RW_FLAGS; }

/* The writer's record; NULL: no writer holds it. */
static inline bl__g *rwmutex_owner(uintptr_t word)
{
    return word & RW_WRITER ? (bl__g *)(rwmutex_holders(word) & ~(uintptr_t)RW_WRITER) : NULL;
}

static inline uintptr_t rwmutex_owned(const bl__g *g) { return (uintptr_t)g | RW_WRITER; }

/* Does g hold m for writing? */
static inline bool rwmutex_is_owner(const bl_rwmutex *m, const bl__g *g)
{
    return rwmutex_holders(load_relaxed(&m->bl__word)) == rwmutex_owned(g);
}

/* Under bl__lock. */
static void rwmutex_assert(bl_rwmutex *m)
{
    uintptr_t word = load_relaxed(&m->bl__word);
    bool readers = !bl__waitq_empty(rwmutex_readers(m));
    bool writers = !bl__waitq_empty(rwmutex_writers(m));
    BL__CHECK((readers || writers) == ((word & RW_WAITERS) != 0));
    BL__CHECK(word != RW_WAITERS);
    BL__CHECK(!readers || writers || (word & (RW_WRITER | RW_WOKEN)));
    (void)word, (void)readers, (void)writers;
}

static void rwmutex_taken(bl_rwmutex *m, bl__g *g)
{
    BL__CHECK_COPY(m, "sync.RWMutex");
    bl__race_acquire(m);            /* who has written */
    bl__race_acquire(&m->bl__lock); /* and who has read before */
    m->bl__tick = g->switches;
    bl__held_add(&g->held_rw, m);
}

/* ---- Under bl__lock with a flag set ---------------------------------------------------------- */

static uintptr_t rwmutex_admit_readers(bl_rwmutex *m, uintptr_t holders, bl__woken *woken)
{
    bl__waiter *w;
    while ((w = bl__waitq_claim_front(rwmutex_readers(m))) != NULL) {
        holders += RW_READER;
        bl__woken_add(woken, w);
    }
    return holders;
}

enum { RW_HAND_OVER, RW_BARGE }; /* what becomes of the lock when a writer is next */

/* Lets in who may come in, where word has the flags and those that stay inside. */
static void rwmutex_grant(bl_rwmutex *m, uintptr_t word, int how, bl__woken *woken)
{
    uintptr_t holders = rwmutex_holders(word), awake = word & RW_WOKEN;
    bl__waiter *w;
    if (holders == 0 && !awake && (w = bl__waitq_claim_front(rwmutex_writers(m))) != NULL) {
        if (how == RW_HAND_OVER || w->n) /* n: it is starving */
            holders = rwmutex_owned(w->g);
        else
            awake = RW_WOKEN;
        bl__woken_add(woken, w);
    }
    if (!(holders & RW_WRITER) && !awake && bl__waitq_empty(rwmutex_writers(m)))
        holders = rwmutex_admit_readers(m, holders, woken);
    bool more = !bl__waitq_empty(rwmutex_readers(m)) || !bl__waitq_empty(rwmutex_writers(m));
    /* ORD(rwmutex): a reader that leaves others inside has no hand-over to order it. */
    store_release(&m->bl__word, holders | awake | (more ? RW_WAITERS : 0));
    rwmutex_assert(m);
}

/* After a cancelled or timed-out wait. A writer that gives up may have been all that kept readers
 * waiting. */
static void rwmutex_give_up(bl_rwmutex *m, bl__waitq *q, bl__waiter *w)
{
    bl__woken woken = {NULL, NULL};
    bl__lock(&m->bl__lock, BL__RANK_WAITERS);
    bl__waitq_remove(q, w);
    uintptr_t word = load_relaxed(&m->bl__word);
    if (word & RW_FLAGS)
        rwmutex_grant(m, word, RW_HAND_OVER, &woken);
    bl__unlock(&m->bl__lock);
    bl__woken_ready(&woken);
}

/* ---- Writers --------------------------------------------------------------------------------- */

/* bl__lock held. Takes m if nobody is inside, else says in the word that somebody waits. True:
 * taken. awake: RW_WOKEN is the caller's to clear. */
static bool rwmutex_announce(bl_rwmutex *m, bl__g *g, bool awake)
{
    uintptr_t word = load_relaxed(&m->bl__word), next;
    do {
        uintptr_t kept = awake ? word & ~(uintptr_t)RW_WOKEN : word;
        next = rwmutex_holders(word) == 0 ? kept | rwmutex_owned(g) : kept | RW_WAITERS;
    } while (!cas_acquire(&m->bl__word, &word, next)); /* ORD(rwmutex) */
    return rwmutex_holders(word) == 0;
}

static __attribute__((noinline)) int rwmutex_lock_slow(bl_rwmutex *m, bl__g *g, bl__wait *how)
{
    bl__waiter w;
    bl_time lost = 0; /* when it was first woken in vain */
    BL__CHECK_COPY(m, "sync.RWMutex");
    if (rwmutex_is_owner(m, g))
        bl__fatal_of("locks", BL__WAIT_RW_LOCK, m,
                     "sync: Lock of RWMutex already held by this goroutine - deadlock!");
    if (!how->cancellable && bl__read_holds(g, m))
        bl__fatal_of(
            "locks", BL__WAIT_RW_LOCK, m,
            "sync: Lock of RWMutex already held for reading by this goroutine - deadlock!");
    bl__waiter_init(&w, g);
    w.n = 0;
    how->obj = m;
    how->lock = &m->bl__lock;
    for (bool awake = false;; awake = true) {
        bl__lock(&m->bl__lock, BL__RANK_WAITERS);
        if (rwmutex_announce(m, g, awake)) {
            bl__unlock(&m->bl__lock);
            break;
        }
        if (awake) {
            bl_time now = bl__now();
            lost = lost ? lost : now;
            w.n = now - lost > RW_STARVED;
            bl__waitq_push_front(rwmutex_writers(m), &w);
        } else {
            bl__waitq_push_back(rwmutex_writers(m), &w);
        }
        rwmutex_assert(m);
        int r = bl__park(g, how);
        if (r < 0) {
            rwmutex_give_up(m, rwmutex_writers(m), &w);
            return r;
        }
        if (rwmutex_is_owner(m, g))
            break; /* handed over */
    }
    rwmutex_taken(m, g);
    return 0;
}

static inline __attribute__((always_inline)) bool rwmutex_try_write(bl_rwmutex *m, bl__g *g)
{
    uintptr_t word = 0;
    if (!cas_acquire(&m->bl__word, &word, rwmutex_owned(g))) { /* ORD(rwmutex) */
        BL__CHECK_COPY(m, "sync.RWMutex");
        return false;
    }
    rwmutex_taken(m, g);
    return true;
}

/* bl__order_before of an rwmutex. */
static inline __attribute__((always_inline)) bool rwmutex_order(const bl_rwmutex *m, const bl__g *g,
                                                                bl__order_mode mode, bool waits,
                                                                const void *from)
{
    return bl__order_before(g, m, load_relaxed(&m->bl__self), mode, waits, from);
}

void bl_rwmutex_lock(bl_rwmutex *m)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__race_use(m);
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bool order = rwmutex_order(m, g, BL__ORDER_WRITE, true, from);
    if (!rwmutex_try_write(m, g))
        (void)rwmutex_lock_slow(m, g,
                                &(bl__wait){.reason = BL__WAIT_RW_LOCK, .deadline = BL_NEVER});
    if (order)
        bl__order_has(g, m, from);
}

int bl_rwmutex_lock_until(bl_rwmutex *m, bl_time deadline)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__race_use(m);
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bl__wait how = {.reason = BL__WAIT_RW_LOCK, .cancellable = true, .deadline = deadline};
    bool order = rwmutex_order(m, g, BL__ORDER_WRITE, deadline == BL_NEVER, from);
    int r = rwmutex_try_write(m, g) ? 0 : rwmutex_lock_slow(m, g, &how);
    if (order && r == 0)
        bl__order_has(g, m, from);
    return r;
}

bool bl_rwmutex_try_lock(bl_rwmutex *m)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__race_use(m);
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bool order = rwmutex_order(m, g, BL__ORDER_WRITE, false, from);
    bool got = rwmutex_try_write(m, g);
    if (order && got)
        bl__order_has(g, m, from);
    return got;
}

static void rwmutex_check_owner(bl_rwmutex *m, bl__g *g)
{
    BL__CHECK_COPY(m, "sync.RWMutex");
    bl__g *owner = rwmutex_owner(load_relaxed(&m->bl__word));
    if (owner == g)
        return;
    if (!owner)
        bl__fatal_of("unlocks", BL__WAIT_RW_LOCK, m, "sync: Unlock of unlocked RWMutex");
    if (owner == &bl__orphan && m->bl__tick == 0)
        bl__fatal_of(
            "unlocks", BL__WAIT_RW_LOCK, m,
            "sync: Unlock of RWMutex by a stranger: its owner, a thread, ended holding it");
    if (owner == &bl__orphan)
        bl__fatal_of(
            "unlocks", BL__WAIT_RW_LOCK, m,
            "sync: Unlock of RWMutex by a stranger: its owner, goroutine %u, ended holding it",
            m->bl__tick);
    if (owner->id == 0)
        bl__fatal_of("unlocks", BL__WAIT_RW_LOCK, m,
                     "sync: Unlock of RWMutex held by another thread");
    bl__fatal_of("unlocks", BL__WAIT_RW_LOCK, m, "sync: Unlock of RWMutex held by goroutine %llu",
                 (unsigned long long)owner->id);
}

static __attribute__((noinline)) void rwmutex_unlock_slow(bl_rwmutex *m, bl__g *g)
{
    rwmutex_check_owner(m, g);
    if (!bl__held_forget(g, &g->held_rw, m))
        bl__fatal_of("unlocks", BL__WAIT_RW_LOCK, m,
                     "sync: Unlock of RWMutex whose memory was overwritten");
    bool switched = m->bl__tick != g->switches;
    for (;;) {
        uintptr_t word = rwmutex_owned(g);
        if (cas_release(&m->bl__word, &word, 0)) /* ORD(rwmutex) */
            return;
        bl__woken woken = {NULL, NULL};
        bl__lock(&m->bl__lock, BL__RANK_WAITERS);
        word = load_relaxed(&m->bl__word) & RW_FLAGS;
        if (word) {
            uintptr_t readers = rwmutex_admit_readers(m, 0, &woken);
            rwmutex_grant(m, readers | word, switched ? RW_HAND_OVER : RW_BARGE, &woken);
        }
        bl__unlock(&m->bl__lock);
        bl__contended_unlock(bl__woken_ready(&woken));
        if (word)
            return;
    }
}

void bl_rwmutex_unlock(bl_rwmutex *m)
{
    BL__RACE_FRAME();
    bl__race_use(m);
    bl__race_release(m);
    bl__g *g = bl__self();
    void *rest = m->bl__held;
    uintptr_t word = rwmutex_owned(g);
    if (BL__LIKELY(g->held_rw == m)) {
        bl__held_unlink(m, rest);
        if (BL__LIKELY(cas_release(&m->bl__word, &word, 0))) { /* ORD(rwmutex) */
            g->held_rw = rest;
            return;
        }
        m->bl__held = rest;
    }
    rwmutex_unlock_slow(m, g);
}

bool bl__rwmutex_orphan(void *rwmutex, bl__g *g)
{
    bl_rwmutex *m = rwmutex;
    if (m->bl__self != m || !rwmutex_is_owner(m, g))
        return false;
    bl__lock(&m->bl__lock, BL__RANK_WAITERS);
    m->bl__tick = (uint32_t)g->id;
    store_relaxed(&m->bl__word,
                  rwmutex_owned(&bl__orphan) | (load_relaxed(&m->bl__word) & RW_FLAGS));
    bl__unlock(&m->bl__lock);
    return true;
}

/* ---- Readers --------------------------------------------------------------------------------- */

static inline void rwmutex_read_taken(bl_rwmutex *m, bl__g *g)
{
    bl__race_acquire(m);
    bl__read_note(g, m);
}

static inline __attribute__((always_inline)) bool rwmutex_try_read(bl_rwmutex *m, bl__g *g)
{
    bl__race_use(m);
    BL__CHECK_COPY(m, "sync.RWMutex");
    uintptr_t word = 0; /* a guess: mostly right, and then there is no load to wait for */
    do {
        if (cas_acquire(&m->bl__word, &word, word + RW_READER)) { /* ORD(rwmutex) */
            rwmutex_read_taken(m, g);
            return true;
        }
    } while (!(word & (RW_WRITER | RW_FLAGS)));
    return false;
}

bool bl_rwmutex_try_rlock(bl_rwmutex *m)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bool order = rwmutex_order(m, g, BL__ORDER_READ, false, from);
    bool got = rwmutex_try_read(m, g);
    if (order && got)
        bl__order_has(g, m, from);
    return got;
}

/* Under bl__lock. The caller holds m for reading and is about to wait for a writer: fatal if that
 * one waits for the caller. One with a deadline, or that may be cancelled, will let it in when it
 * gives up. */
static void rwmutex_check_again(bl_rwmutex *m)
{
    const bl__waiter *w = rwmutex_writers(m)->head;
    while (w != NULL && load_relaxed(&w->g->wait) != BL__W_SOLE)
        w = w->next;
    if (w == NULL)
        return;
    if (w->g->id == 0)
        bl__fatal_of("locks for reading", BL__WAIT_RW_RLOCK, m,
                     "sync: RLock of RWMutex already held for reading by this goroutine, behind a "
                     "plain thread that waits to Lock it - deadlock!");
    bl__fatal_of(
        "locks for reading", BL__WAIT_RW_RLOCK, m,
        "sync: RLock of RWMutex already held for reading by this goroutine, behind goroutine "
        "%llu, which waits to Lock it - deadlock!",
        (unsigned long long)w->g->id);
}

/* cancellable: until stopped or the deadline; else without an end. */
static __attribute__((noinline)) int rwmutex_rlock_slow(bl_rwmutex *m, bl__g *g, bl_time deadline,
                                                        bool cancellable)
{
    if (rwmutex_is_owner(m, g))
        bl__fatal_of("locks for reading", BL__WAIT_RW_RLOCK, m,
                     "sync: RLock of RWMutex already held by this goroutine - deadlock!");
    bl__lock(&m->bl__lock, BL__RANK_WAITERS);
    uintptr_t word = load_relaxed(&m->bl__word), next;
    do {
        next = word & (RW_WRITER | RW_FLAGS) ? word | RW_WAITERS : word + RW_READER;
    } while (!cas_acquire(&m->bl__word, &word, next)); /* ORD(rwmutex) */
    if (!(next & RW_WAITERS)) {
        bl__unlock(&m->bl__lock);
        rwmutex_read_taken(m, g);
        return 0;
    }
    if (!cancellable && bl__read_holds(g, m))
        rwmutex_check_again(m);
    bl__waiter w;
    bl__waiter_init(&w, g);
    bl__waitq_push_back(rwmutex_readers(m), &w);
    rwmutex_assert(m);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_RW_RLOCK,
                                    .cancellable = cancellable,
                                    .obj = m,
                                    .lock = &m->bl__lock,
                                    .deadline = deadline});
    if (r < 0)
        rwmutex_give_up(m, rwmutex_readers(m), &w);
    else
        rwmutex_read_taken(m, g);
    return r;
}

void bl_rwmutex_rlock(bl_rwmutex *m)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bool order = rwmutex_order(m, g, BL__ORDER_READ, true, from);
    if (!rwmutex_try_read(m, g))
        (void)rwmutex_rlock_slow(m, g, BL_NEVER, false);
    if (order)
        bl__order_has(g, m, from);
}

int bl_rwmutex_rlock_until(bl_rwmutex *m, bl_time deadline)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__g *g = bl__self();
    const void *from = __builtin_return_address(0);
    bool order = rwmutex_order(m, g, BL__ORDER_READ, deadline == BL_NEVER, from);
    int r = rwmutex_try_read(m, g) ? 0 : rwmutex_rlock_slow(m, g, deadline, true);
    if (order && r == 0)
        bl__order_has(g, m, from);
    return r;
}

/* With a flag set: somebody waits, or is about to come in. False: look again. */
static __attribute__((noinline)) bool rwmutex_runlock_waited(bl_rwmutex *m)
{
    bl__woken woken = {NULL, NULL};
    bl__lock(&m->bl__lock, BL__RANK_WAITERS);
    uintptr_t word = load_relaxed(&m->bl__word);
    bool flagged = (word & RW_FLAGS) && !(word & RW_WRITER) && word >= RW_READER;
    if (flagged)
        rwmutex_grant(m, word - RW_READER, RW_HAND_OVER, &woken);
    bl__unlock(&m->bl__lock);
    bl__contended_unlock(bl__woken_ready(&woken));
    return flagged;
}

static __attribute__((noinline)) void rwmutex_runlock_slow(bl_rwmutex *m)
{
    for (uintptr_t word = load_relaxed(&m->bl__word);;) {
        if ((word & RW_WRITER) || word < RW_READER)
            bl__fatal_of("unlocks for reading", BL__WAIT_RW_RLOCK, m,
                         "sync: RUnlock of unlocked RWMutex");
        if (word & RW_FLAGS) {
            if (rwmutex_runlock_waited(m))
                return;
            word = load_relaxed(&m->bl__word);
        } else if (cas_release(&m->bl__word, &word, word - RW_READER)) { /* ORD(rwmutex) */
            return;
        }
    }
}

void bl_rwmutex_runlock(bl_rwmutex *m)
{
    BL__RACE_FRAME();
    bl__race_use(m);
    bl__race_release(&m->bl__lock);
    BL__CHECK_COPY(m, "sync.RWMutex");
    bl__read_drop(bl__self(), m);
    uintptr_t word = RW_READER;                /* a guess, as above */
    if (!cas_release(&m->bl__word, &word, 0u)) /* ORD(rwmutex) */
        rwmutex_runlock_slow(m);
}
