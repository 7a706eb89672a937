/* SPDX-License-Identifier: MIT */
/*
 * rwmutex.c: the reader/writer lock.
 *
 * The word is 0 when free; else the number of readers times RW_READER, or the writer's record with
 * RW_WRITER; and RW_WAITERS when a queue is not empty. While RW_WAITERS is clear everything is one
 * compare-and-swap on the word. While it is set the word is written under bl__lock only, and the flag
 * itself is set and cleared under it.
 *
 * Invariants, whenever bl__lock is free:
 *   - RW_WAITERS is set if and only if a reader or a writer is queued
 *   - somebody is queued only while the lock is held; a reader only while a writer holds it or waits
 * so RW_WAITERS with readers inside means that a writer waits, and new readers queue up behind it.
 *
 * Who gets it, as in Go: a writer that unlocks lets in all readers that wait then, and the last of
 * them lets in the writer that has waited longest; so neither kind starves the other. It is always
 * handed over: who wakes holds the lock.
 *
 * The storage may go as soon as an unlock is visible, so who writes a word without RW_WAITERS touches
 * nothing after it, and who gives up the lock under bl__lock does so only while RW_WAITERS is set:
 * then it goes to waiters which are made ready when bl__lock has been given back. (A waiter that has
 * given up needs bl__lock before it returns.)
 *
 * ORD(rwmutex): taking the word (acquire), giving it back (release).
 */
#include "arch/relax.h"
#include "sync/object.h"

enum { RW_WAITERS = 1, RW_WRITER = 2, RW_READER = 8 };
enum { RW_SPINS = 6 }; /* looks before waiting; the pauses between them double */

static inline bl__waitq *rwmutex_readers(bl_rwmutex *m) { return BL__WAITQ(m->bl__readers); }
static inline bl__waitq *rwmutex_writers(bl_rwmutex *m) { return BL__WAITQ(m->bl__writers); }

/* The writer's record; NULL: no writer holds it. */
static inline bl__g *rwmutex_owner(uintptr_t word)
{
    return word & RW_WRITER ? (bl__g *)(word & ~(uintptr_t)(RW_WAITERS | RW_WRITER)) : NULL;
}

static inline uintptr_t rwmutex_owned(const bl__g *g) { return (uintptr_t)g | RW_WRITER; }

/* Under bl__lock. */
static void rwmutex_assert(bl_rwmutex *m)
{
    uintptr_t word = load_relaxed(&m->bl__word);
    bool readers = !bl__waitq_empty(rwmutex_readers(m));
    bool writers = !bl__waitq_empty(rwmutex_writers(m));
    BL__CHECK((readers || writers) == ((word & RW_WAITERS) != 0));
    BL__CHECK(!(word & RW_WAITERS) || word != RW_WAITERS);
    BL__CHECK(!readers || writers || (word & RW_WRITER));
    (void)word, (void)readers, (void)writers;
}

static void rwmutex_taken(bl_rwmutex *m, bl__g *g)
{
    BL__CHECK_COPY(m, "sync.RWMutex");
    m->bl__held = (bl_rwmutex *)g->held_rw;
    g->held_rw = m;
}

static bool rwmutex_forget(bl_rwmutex *m, bl__g *g)
{
    if (g->held_rw == m) {
        g->held_rw = m->bl__held;
        return true;
    }
    for (bl_rwmutex *at = (bl_rwmutex *)g->held_rw; at; at = at->bl__held) {
        if (at->bl__held == m) {
            at->bl__held = m->bl__held;
            return true;
        }
    }
    return false;
}

/* ---- Under bl__lock with RW_WAITERS set ------------------------------------------------------ */

static uintptr_t rwmutex_admit_readers(bl_rwmutex *m, uintptr_t holders, bl__woken *woken)
{
    bl__waiter *w;
    while ((w = bl__waitq_claim_front(rwmutex_readers(m))) != NULL) {
        holders += RW_READER;
        bl__woken_add(woken, w);
    }
    return holders;
}

/* Lets in who may come in beside holders, the word without RW_WAITERS, and writes the word. */
static void rwmutex_grant(bl_rwmutex *m, uintptr_t holders, bool readers_first, bl__woken *woken)
{
    if (readers_first)
        holders = rwmutex_admit_readers(m, holders, woken);
    if (holders == 0) {
        bl__waiter *w = bl__waitq_claim_front(rwmutex_writers(m));
        if (w) {
            holders = rwmutex_owned(w->g);
            bl__woken_add(woken, w);
        }
    }
    if (!(holders & RW_WRITER) && bl__waitq_empty(rwmutex_writers(m)))
        holders = rwmutex_admit_readers(m, holders, woken);
    bool more = !bl__waitq_empty(rwmutex_readers(m)) || !bl__waitq_empty(rwmutex_writers(m));
    /* ORD(rwmutex): a reader that leaves others inside has no hand-over to order it. */
    store_release(&m->bl__word, holders | (more ? RW_WAITERS : 0));
    rwmutex_assert(m);
}

/* Waits in q, which bl__lock protects, until the lock is handed to g, with bl__lock given back. A
 * writer that gives up may have been all that kept readers waiting. */
static int rwmutex_wait(bl_rwmutex *m, bl__waitq *q, bl__g *g, bl__wait *how)
{
    bl__waiter w;
    bl__waiter_init(&w, g);
    bl__waitq_push_back(q, &w);
    rwmutex_assert(m);
    how->obj = m;
    how->lock = &m->bl__lock;
    int r = bl__park(g, how);
    if (r >= 0)
        return 0;
    bl__woken woken = {NULL, NULL};
    bl__lock(&m->bl__lock);
    bl__waitq_remove(q, &w);
    uintptr_t word = load_relaxed(&m->bl__word);
    if (word & RW_WAITERS)
        rwmutex_grant(m, word & ~(uintptr_t)RW_WAITERS, false, &woken);
    bl__unlock(&m->bl__lock);
    bl__woken_ready(&woken);
    return r;
}

/* ---- Writers --------------------------------------------------------------------------------- */

/* Once somebody is queued the lock is handed over, at the price of a switch each time; so with other
 * processors at work a writer that would be the first in the queue looks a few times before. */
static bool rwmutex_spin(bl_rwmutex *m, bl__g *g)
{
    for (int spin = 0; spin < RW_SPINS && bl_procs() > 1; spin++) {
        for (int i = 0; i < 1 << spin; i++)
            bl__cpu_relax();
        uintptr_t word = load_relaxed(&m->bl__word);
        if (word & RW_WAITERS)
            return false;
        if (word == 0 && cas_acquire(&m->bl__word, &word, rwmutex_owned(g))) /* ORD(rwmutex) */
            return true;
    }
    return false;
}

static __attribute__((noinline)) int rwmutex_lock_slow(bl_rwmutex *m, bl__g *g, bl__wait *how)
{
    BL__CHECK_COPY(m, "sync.RWMutex");
    uintptr_t word = load_relaxed(&m->bl__word), next;
    if (rwmutex_owner(word) == g)
        bl__fatal("sync: Lock of RWMutex already held by this goroutine - deadlock!");
    if (rwmutex_spin(m, g)) {
        rwmutex_taken(m, g);
        return 0;
    }
    bl__lock(&m->bl__lock);
    word = load_relaxed(&m->bl__word);
    do {
        next = word == 0 ? rwmutex_owned(g) : word | RW_WAITERS;
    } while (!cas_acquire(&m->bl__word, &word, next)); /* ORD(rwmutex) */
    int r = 0;
    if (word == 0)
        bl__unlock(&m->bl__lock);
    else
        r = rwmutex_wait(m, rwmutex_writers(m), g, how);
    if (r == 0)
        rwmutex_taken(m, g);
    return r;
}

void bl_rwmutex_lock(bl_rwmutex *m)
{
    if (!bl_rwmutex_try_lock(m))
        (void)rwmutex_lock_slow(m, bl__self(),
                                &(bl__wait){.reason = BL__WAIT_RW_LOCK, .deadline = BL_NEVER});
}

int bl_rwmutex_lock_until(bl_rwmutex *m, bl_time deadline)
{
    if (bl_rwmutex_try_lock(m))
        return 0;
    bl__wait how = {.reason = BL__WAIT_RW_LOCK, .cancellable = true, .deadline = deadline};
    return rwmutex_lock_slow(m, bl__self(), &how);
}

bool bl_rwmutex_try_lock(bl_rwmutex *m)
{
    bl__g *g = bl__self();
    uintptr_t word = 0;
    if (!cas_acquire(&m->bl__word, &word, rwmutex_owned(g))) { /* ORD(rwmutex) */
        BL__CHECK_COPY(m, "sync.RWMutex");
        return false;
    }
    rwmutex_taken(m, g);
    return true;
}

static void rwmutex_check_owner(bl_rwmutex *m, bl__g *g)
{
    BL__CHECK_COPY(m, "sync.RWMutex");
    bl__g *owner = rwmutex_owner(load_relaxed(&m->bl__word));
    if (owner == g)
        return;
    if (!owner)
        bl__fatal("sync: Unlock of unlocked RWMutex");
    if (owner == &bl__orphan)
        bl__fatal(
            "sync: Unlock of RWMutex by a stranger: its owner, goroutine %u, ended holding it",
            m->bl__ended);
    if (owner->id == 0)
        bl__fatal("sync: Unlock of RWMutex held by another thread");
    bl__fatal("sync: Unlock of RWMutex held by goroutine %llu", (unsigned long long)owner->id);
}

static __attribute__((noinline)) void rwmutex_unlock_slow(bl_rwmutex *m, bl__g *g)
{
    rwmutex_check_owner(m, g);
    if (!rwmutex_forget(m, g))
        bl__fatal("sync: Unlock of RWMutex whose memory was overwritten");
    for (;;) {
        uintptr_t word = rwmutex_owned(g);
        if (cas_release(&m->bl__word, &word, 0)) /* ORD(rwmutex) */
            return;
        bl__woken woken = {NULL, NULL};
        bl__lock(&m->bl__lock);
        bool waited = load_relaxed(&m->bl__word) & RW_WAITERS;
        if (waited)
            rwmutex_grant(m, 0, true, &woken);
        bl__unlock(&m->bl__lock);
        bl__woken_ready(&woken);
        if (waited)
            return;
    }
}

void bl_rwmutex_unlock(bl_rwmutex *m)
{
    bl__g *g = bl__self();
    bl_rwmutex *rest = m->bl__held;
    uintptr_t word = rwmutex_owned(g);
    if (g->held_rw != m || !cas_release(&m->bl__word, &word, 0)) { /* ORD(rwmutex) */
        rwmutex_unlock_slow(m, g);
        return;
    }
    g->held_rw = rest;
}

bool bl__rwmutex_orphan(bl_rwmutex *m, bl__g *g)
{
    const bl__g *owner = rwmutex_owner(load_relaxed(&m->bl__word));
    if (m->bl__self != m || owner == NULL || owner != g)
        return false;
    bl__lock(&m->bl__lock);
    m->bl__ended = (uint32_t)g->id;
    store_relaxed(&m->bl__word,
                  rwmutex_owned(&bl__orphan) | (load_relaxed(&m->bl__word) & RW_WAITERS));
    bl__unlock(&m->bl__lock);
    return true;
}

/* ---- Readers --------------------------------------------------------------------------------- */

bool bl_rwmutex_try_rlock(bl_rwmutex *m)
{
    BL__CHECK_COPY(m, "sync.RWMutex");
    uintptr_t word = 0; /* a guess: mostly right, and then there is no load to wait for */
    do {
        if (cas_acquire(&m->bl__word, &word, word + RW_READER)) /* ORD(rwmutex) */
            return true;
    } while (!(word & (RW_WRITER | RW_WAITERS)));
    return false;
}

static __attribute__((noinline)) int rwmutex_rlock_slow(bl_rwmutex *m, bl__wait *how)
{
    bl__g *g = bl__self();
    uintptr_t word = load_relaxed(&m->bl__word), next;
    if (rwmutex_owner(word) == g)
        bl__fatal("sync: RLock of RWMutex already held by this goroutine - deadlock!");
    bl__lock(&m->bl__lock);
    word = load_relaxed(&m->bl__word);
    do {
        next = word & (RW_WRITER | RW_WAITERS) ? word | RW_WAITERS : word + RW_READER;
    } while (!cas_acquire(&m->bl__word, &word, next)); /* ORD(rwmutex) */
    if (word & (RW_WRITER | RW_WAITERS))
        return rwmutex_wait(m, rwmutex_readers(m), g, how);
    bl__unlock(&m->bl__lock);
    return 0;
}

void bl_rwmutex_rlock(bl_rwmutex *m)
{
    bl__wait how = {.reason = BL__WAIT_RW_RLOCK, .deadline = BL_NEVER};
    if (!bl_rwmutex_try_rlock(m))
        (void)rwmutex_rlock_slow(m, &how);
}

int bl_rwmutex_rlock_until(bl_rwmutex *m, bl_time deadline)
{
    bl__wait how = {.reason = BL__WAIT_RW_RLOCK, .cancellable = true, .deadline = deadline};
    return bl_rwmutex_try_rlock(m) ? 0 : rwmutex_rlock_slow(m, &how);
}

void bl_rwmutex_runlock(bl_rwmutex *m)
{
    BL__CHECK_COPY(m, "sync.RWMutex");
    uintptr_t word = RW_READER; /* a guess, as above */
    for (;;) {
        if ((word & RW_WRITER) || word < RW_READER)
            bl__fatal("sync: RUnlock of unlocked RWMutex");
        if (!(word & RW_WAITERS)) {
            if (cas_release(&m->bl__word, &word, word - RW_READER)) /* ORD(rwmutex) */
                return;
            continue;
        }
        bl__woken woken = {NULL, NULL};
        bl__lock(&m->bl__lock);
        word = load_relaxed(&m->bl__word);
        bool waited = (word & RW_WAITERS) && !(word & RW_WRITER) && word >= RW_READER;
        if (waited)
            rwmutex_grant(m, (word & ~(uintptr_t)RW_WAITERS) - RW_READER, false, &woken);
        bl__unlock(&m->bl__lock);
        bl__woken_ready(&woken);
        if (waited)
            return;
    }
}
