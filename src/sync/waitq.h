/* SPDX-License-Identifier: MIT */
/*
 * waitq.h: the first-in-first-out queue of waiters that every object of this folder has.
 *
 * A waiter lives in the frame of the goroutine that waits and is linked from before its bl__park
 * until a waker, or after a cancelled or timed-out wait the goroutine itself, unlinks it. All of it
 * is protected by the object's lock; nobody touches a waiter after the bl__ready of its goroutine.
 * A zero queue is empty.
 *
 * Two fields are atomic besides: head, for the peeks that channels make at it without the lock; and
 * a waiter's prev, whose last store says that the queue's side has done with the waiter, so that a
 * select that finds its waiter unlinked need not take the lock.
 */
#ifndef BL__SYNC_WAITQ_H
#define BL__SYNC_WAITQ_H

#include "core/sched.h"

typedef struct bl__waiter {
    struct bl__waiter *next; /* lock; NULL: the last one; itself: not linked */
    struct bl__waiter *prev; /* lock; NULL: the first one; itself: not linked; atomic to look */
    bl__g *g;                /* immutable while linked: who waits */
    void *val;               /* the object's: what is handed over, or where to */
    uint64_t n;              /* the object's: how many, which case, of which kind */
} bl__waiter;

typedef struct bl__waitq {
    bl__waiter *head; /* lock to write, atomic to peek */
    bl__waiter *tail; /* lock */
} bl__waitq;

_Static_assert(offsetof(bl__waiter, next) == offsetof(bl__waitq, head) &&
                   offsetof(bl__waiter, prev) == offsetof(bl__waitq, tail),
               "a queue is linked like a waiter, see bl__waitq_remove");

/* The queue whose head and tail are two adjacent void * of a public struct. */
#define BL__WAITQ(head_field) ((bl__waitq *)(void *)(head_field))

static inline bool bl__waitq_empty(const bl__waitq *q) { return load_relaxed(&q->head) == NULL; }

static inline void bl__waiter_unlinked(bl__waiter *w)
{
    w->next = w;
    store_release(&w->prev, w); /* ORD(unlink): with bl__waiter_linked and remove */
}

/* Makes w a waiter that is in no queue. bl__waitq_push_back needs no init before it. */
static inline void bl__waiter_init(bl__waiter *w, bl__g *g)
{
    bl__waiter_unlinked(w);
    w->g = g;
}

static inline bool bl__waiter_linked(const bl__waiter *w)
{
    return load_acquire(&w->prev) != w; /* ORD(unlink): with pop_front and remove */
}

/* A meeting of two orders each after what the other did before (race.h): who waits offers what it
 * did, its waker takes that and gives its own. The pair is the record's and not the waiter's, whose
 * memory is that of frames that the program had before. Around the wait, which has one waker: */
static inline void bl__wait_race_offer(bl__g *g)
{
#if BL__RACE
    g->told = 0;
    bl__race_say(&g->race, 0);
#endif
    (void)g;
}
static inline void bl__wait_race_woken(bl__g *g)
{
#if BL__RACE
    if (g->told)
        bl__race_hear(&g->race, 0);
#endif
    (void)g;
}
/* By the waker, who has claimed it; tell: only what the waker did counts. */
static inline void bl__wait_race_tell(bl__g *g)
{
#if BL__RACE
    bl__race_say(&g->race, 1);
    g->told = 1;
#endif
    (void)g;
}
static inline void bl__wait_race_meet(bl__g *g)
{
#if BL__RACE
    bl__race_meet(&g->race, 1);
    g->told = 1;
#endif
    (void)g;
}

static inline void bl__waitq_push_back(bl__waitq *q, bl__waiter *w)
{
    bl__waiter *last = q->tail;
    w->next = NULL;
    w->prev = last;
    q->tail = w;
    if (BL__UNLIKELY(last))
        last->next = w;
    else
        store_relaxed(&q->head, w);
}

/* For who has waited before and goes on waiting: keeps its place at the front. */
static inline void bl__waitq_push_front(bl__waitq *q, bl__waiter *w)
{
    bl__waiter *first = q->head;
    w->next = first;
    w->prev = NULL;
    store_relaxed(&q->head, w);
    if (first)
        store_relaxed(&first->prev, w);
    else
        q->tail = w;
}

/* The one that has waited longest, unlinked; NULL: nobody waits. */
static inline bl__waiter *bl__waitq_pop_front(bl__waitq *q)
{
    bl__waiter *w = q->head;
    if (!w)
        return NULL;
    bl__waiter *next = w->next;
    store_relaxed(&q->head, next);
    if (BL__UNLIKELY(next))
        store_relaxed(&next->prev, NULL);
    else
        q->tail = NULL;
    bl__waiter_unlinked(w);
    return w;
}

/* Takes w out of q, wherever it stands, without asking whether it is linked: which waiters of a
 * select still are is what no branch predictor knows. One that is not is its own neighbour; and a
 * queue stands for the neighbour that is missing at either end. */
static inline void bl__waitq_remove(bl__waitq *q, bl__waiter *w)
{
    bl__waiter *prev = load_acquire(&w->prev); /* ORD(unlink): with pop_front */
    bl__waiter *next = w->next;
    bl__waitq *before = prev ? (bl__waitq *)(void *)prev : q;
    bl__waitq *after = next ? (bl__waitq *)(void *)next : q;
    store_relaxed(&before->head, next);
    store_relaxed(&after->tail, prev);
    bl__waiter_unlinked(w);
}

#endif
