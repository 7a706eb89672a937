/* SPDX-License-Identifier: MIT */
/*
 * rank.h: in which order the runtime's own locks are taken.
 *
 * Every lock has one of the ranks below. A thread takes a lock only while all that it holds rank
 * lower; so no two threads can wait for each other. Several locks of one rank are held by select
 * alone, which takes channels by address. What only tries (bl__trylock) waits for nobody, and may
 * try in any order.
 *
 * Debug builds check it on each thread: what is taken, that only what is held is given back, and
 * that a switch of goroutines leaves nothing held. The lock under which a goroutine parks is given
 * back on the same thread that took it, by the commit (sched.h), so a thread's notes are enough. A
 * solo section of a channel counts as its lock. Release builds have none of it.
 *
 * The same table, with what each lock protects, is in ARCHITECTURE.md; scripts/check-ranks
 * compares.
 */
#ifndef BL__CORE_RANK_H
#define BL__CORE_RANK_H

#include <stdbool.h>
#include <stdint.h>

typedef enum bl__rank {
    BL__RANK_TEST,     /* what a test has logged; who prints (test/say.c) */
    BL__RANK_FINDER,   /* who was found to be stuck (debug/finder.c); reports under it */
    BL__RANK_TIMER,    /* a bl_timer, held through every operation on it */
    BL__RANK_AFTER,    /* the record of a bl_after_func */
    BL__RANK_PUT,      /* a worker pool, where jobs are put in; goroutines are started under it */
    BL__RANK_TAKE,     /* a worker pool, where jobs are taken out */
    BL__RANK_NOTIFY,   /* who wants which signal; sends under it */
    BL__RANK_SCOPE,    /* a scope */
    BL__RANK_COND,     /* a cond, which unlocks a mutex under it */
    BL__RANK_WAITERS,  /* a mutex, rwmutex, waitgroup, once, semaphore */
    BL__RANK_CHAN,     /* channels; several by address */
    BL__RANK_BLOCKING, /* calls of bl_blocking, and the helpers that run them */
    BL__RANK_FD,       /* a descriptor */
    BL__RANK_TTY,      /* who writes to a terminal (io/calls.c); the calls of it under it */
    BL__RANK_G,        /* a goroutine that waits on no object */
    BL__RANK_CTX,      /* a context */
    BL__RANK_HEAP,     /* a processor's timers */
    BL__RANK_SCHED,    /* the scheduler */
    BL__RANK_STACKS,   /* stacks and records in stock */
    BL__RANK_POOL,     /* free records of bl_after_func */
    BL__RANK_MADE,     /* which timers, contexts and channels goroutines have made */
    BL__RANK_ORDER,    /* in which orders locks are taken (debug/lockorder.c) */
    BL__RANK_PROFILE,  /* what the block and mutex profiles have recorded */
    BL__RANK_MAP,      /* the ranges of a bl_map; a part of a bl_syncmap */
    BL__RANK_TRACE,    /* a buffer of the trace */
    BL__RANKS
} bl__rank;

#ifdef BL__DEBUG
/* The calling thread is about to take lock: fatal if the order forbids it. */
void bl__rank_take(const uint32_t *lock, bl__rank rank);
/* It has got lock without waiting, in whatever order. */
void bl__rank_note(const uint32_t *lock, bl__rank rank);
/* It is about to give back lock: fatal if it does not hold it. */
void bl__rank_give(const uint32_t *lock);
/* It holds no lock. */
bool bl__rank_free(void);
#else
static inline void bl__rank_take(const uint32_t *lock, bl__rank rank)
{
    (void)lock;
    (void)rank;
}
static inline void bl__rank_note(const uint32_t *lock, bl__rank rank)
{
    (void)lock;
    (void)rank;
}
static inline void bl__rank_give(const uint32_t *lock) { (void)lock; }
#endif

#endif
