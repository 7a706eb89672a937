/* SPDX-License-Identifier: MIT */
/*
 * bubble.h: bubbles: goroutines with a clock of their own, which jumps when all of them wait.
 *
 * A goroutine is of a bubble if it was started in the bubble's scope or below. Whoever asks for the
 * time or arms a timer is asked for its bubble first, if there is any bubble in the process;
 * nothing else on the way of a goroutine knows of them. A bubble's timers are in a heap of the
 * bubble's.
 *
 * A bubble moves when nothing at all runs in the process. That is known for certain under
 * sched's lock, without which no processor can be had: all are idle, the global queue is empty, and
 * no thread runs a goroutine without a processor. The thread that is about to rest then looks at
 * every goroutine, and for a bubble of which all wait durably does the first of these that there is
 * to do:
 *
 *     1. a timer is due:                    fires all that are due, in an order drawn from the seed
 *     2. a goroutine is in bl_bubble_wait:  it goes on
 *     3. a timer is pending, by which       the clock jumps to when the first is due, and 1
 *        somebody gets on:
 *     4. a mutex is held from outside:      nothing, it will be given back in real time; nor while
 *        a channel is there for signals (bl_notify), which come from outside
 *     5. else:                              a deadlock; the bubble's keeper is told
 *
 * To wait durably is to wait for what only goroutines of the bubble can do: for anything but a
 * descriptor, bl_blocking, and channels that were made outside. (Go, testing/synctest, has mutexes
 * among the exceptions; we have no need to, since we know who holds one.)
 */
#ifndef BL__CORE_BUBBLE_H
#define BL__CORE_BUBBLE_H

#include "core/proc.h"

#define BL__BUBBLE_BEGIN (946684800 * BL_SEC) /* 2000-01-01 00:00:00 UTC, as in Go */

enum { BL__BUBBLES_MOST = 1024 }; /* at one time */

enum { BL__BUBBLE_OVER = 1, BL__BUBBLE_DEADLOCK = 2 };

typedef struct bl__bubble {
    bl__timers timers;
    bl_time now;                  /* atomic; written while nothing runs */
    uint64_t rng;                 /* atomic */
    uint16_t slot;                /* immutable: its scope has it */
    uint32_t id;                  /* immutable while in use; channels made in it have it */
    uint32_t lock;                /* of waiter, keeper and news */
    bl__g *waiter;                /* in bl_bubble_wait */
    bl__g *keeper;                /* in bl__bubble_await */
    uint32_t news;                /* BL__BUBBLE_…, for the keeper */
    uint32_t members, busy, held; /* sched's lock: what the last look has counted */
    bool wakes;                   /* sched's lock: and whether a timer wakes or starts somebody */
    uint8_t step;                 /* sched's lock, then who moves it: what is to be done */
    uint32_t dead;                /* atomic: its time stands from now on */
    uint32_t drawn;               /* atomic: the seed has decided something */
    void *owner;                  /* immutable while in use: the test runner's */
    struct bl__bubble *next;      /* sched's lock */
    struct bl__bubble *pool_next; /* sched's lock */
    bl_scope scope;
} bl__bubble;

/* The bubble of the calling goroutine, or that whose timer the calling thread fires; or NULL. */
bl__bubble *bl__bubble_find(void);
static inline bl__bubble *bl__bubble_here(void)
{
    return __builtin_expect(load_relaxed(&bl__rt.bubbles) == NULL, 1) ? NULL : bl__bubble_find();
}
/* The same of g, which is parking. */
bl__bubble *bl__bubble_of(const bl__g *g);
/* The time that the goroutines of s have. */
bl_time bl__bubble_scope_now(const bl_scope *s);

/* A bubble whose scope the caller, its keeper, has yet to open (b->scope) before it calls
 * bl__bubble_begin. NULL: out of memory, or too many. Records are used again and never freed: a
 * timer may still name the heap. */
bl__bubble *bl__bubble_new(uint64_t seed, void *owner);
void bl__bubble_begin(bl__bubble *b);
/* Its scope is closed. */
void bl__bubble_end(bl__bubble *b);

/* What has happened, once something has. Not cancellable. */
uint32_t bl__bubble_await(bl__bubble *b);
void bl__bubble_tell(bl__bubble *b, uint32_t news);

/* A number below n, from its seed. */
uint32_t bl__bubble_draw(bl__bubble *b, uint32_t n);

/* Until all other goroutines of the caller's bubble wait durably. 0 or BL_ECANCELED,
 * BL_ETIMEDOUT. */
int bl__bubble_wait(void);

/* Under sched's lock: a bubble for which there is something to do, or NULL. If its clock jumps it has
 * done so. */
bl__bubble *bl__bubbles_find(void);
/* Of all there ever were, which are kept. */
void bl__bubbles_each(void (*fn)(bl__bubble *b, void *arg), void *arg);
/* By the thread that has found it, with a processor and without the lock. */
void bl__bubble_move(bl__m *m, bl__bubble *b);

/* Nothing comes of it when it is due: it sends on a channel, of a timer or a ticker, on which nobody
 * waits. While nothing runs; life/timer.c. */
bool bl__timer_unheard(bl_timer *t);
/* Who holds the mutex, or NULL; sync/mutex.c. */
const bl__g *bl__mutex_holder(const void *mutex);
/* The id of the bubble that the channel was made in, or 0; sync/chan.c. And of all those that a
 * select waits on, BL__BUBBLE_MIXED if they differ. */
enum { BL__BUBBLE_MIXED = UINT32_MAX, BL__BUBBLE_ANY = UINT32_MAX - 1 };
uint32_t bl__chan_bubble(const void *chan);
uint32_t bl__select_bubble(const void *select_wait);

#endif
