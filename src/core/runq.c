/* SPDX-License-Identifier: MIT */
/*
 * runq.c: the queues of runnable goroutines, as in Go's runtime: a ring for each processor, which
 * only its owner fills and anyone may empty, and one list for all, under a lock. (The ring's owner
 * and thieves both take from the front, so the order is first in first out.) A ring that runs over
 * hands half of itself to the list.
 *
 * head only grows, by compare-and-swap where the processor is shared; tail only grows, by its
 * owner. A slot is read before the compare-and-swap that makes it the reader's: if that succeeds,
 * head had not moved, so the owner had not filled the slot again.
 */
#include "arch/probe.h"
#include "core/trace.h"

/* What a ring ran over: an array, since following a list through records that are long out of the
 * cache takes a memory access after the other. */
struct bl__batch {
    bl__batch *next;
    uint32_t at; /* lock: the first that is left */
    uint32_t count;
    bl__task *tasks[BL__RING / 2 + 1];
};

static void wake_for_global(bool idle)
{
    if (!load_relaxed(&bl__rt.asymmetric))
        fence_seq_cst(); /* ORD(idle): what was queued before the load: see idle.c */
    else
        fence_compiler();
    if (idle && load_relaxed(&bl__rt.spinning) == 0)
        bl__wake_one();
}

/* Moves half of p's full ring, and t, to the global queue. */
void bl__runq_overflow(bl__p *p, bl__task *t)
{
    bl__batch *b = bl__alloc(sizeof *b);
    if (b == NULL) { /* then one by one, on the list */
        bl__runq_put_global(t, t, 1);
        return;
    }
    uint32_t head = load_acquire(&p->head); /* ORD(head): with the other takers */
    b->next = NULL;
    b->at = 0;
    b->count = BL__RING / 2;
    for (uint32_t i = 0; i < b->count; i++)
        b->tasks[i] = load_relaxed(&p->ring[(head + i) % BL__RING]);
    if (p->tail - head < b->count || !cas_acq_rel(&p->head, &head, head + b->count)) {
        bl__free(b); /* thieves have made room meanwhile */
        bl__runq_put(p, t);
        return;
    }
    b->tasks[b->count++] = t;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__batch **end = bl__rt.batches != NULL ? &bl__rt.batches_last->next : &bl__rt.batches;
    *end = b;
    bl__rt.batches_last = b;
    store_relaxed(&bl__rt.queued, bl__rt.queued + b->count);
    bool idle = bl__rt.idle_ps != 0;
    bl__unlock(&bl__rt.lock);
    wake_for_global(idle);
}

/* Adds a list of n tasks to the global queue, and wakes somebody for them. */
void bl__runq_put_global(bl__task *first, bl__task *last, uint32_t n)
{
    bl__fork_check();
    last->next = NULL;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (bl__rt.queue_tail != NULL)
        bl__rt.queue_tail->next = first;
    else
        bl__rt.queue_head = first;
    bl__rt.queue_tail = last;
    store_relaxed(&bl__rt.queued, bl__rt.queued + n);
    bool idle = bl__rt.idle_ps != 0;
    bl__unlock(&bl__rt.lock);
    wake_for_global(idle);
}

/* Under sched's lock: one task, from the batches and the list in turn. An emptied batch goes to
 * *empty, to be freed without the lock. */
static bl__task *global_take(bl__batch **empty)
{
    bl__batch *b = bl__rt.batches;
    if (bl__rt.queue_head != NULL && (b == NULL || (bl__rt.queued & 1) != 0)) {
        bl__task *t = bl__rt.queue_head;
        bl__rt.queue_head = t->next;
        if (t->next == NULL)
            bl__rt.queue_tail = NULL;
        return t;
    }
    bl__task *t = b->tasks[b->at++];
    if (b->at == b->count) {
        bl__rt.batches = b->next;
        b->next = *empty;
        *empty = b;
    }
    return t;
}

/* A fair share of the global queue, at most max: one is returned, the others go to p's ring, which
 * has room for them. */
bl__task *bl__runq_get_global(bl__p *p, uint32_t max)
{
    bl__batch *empty = NULL;
    bl__task *first = NULL;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    uint32_t n = bl__rt.queued / load_relaxed(&bl__rt.procs) + 1;
    uint32_t room = BL__RING - (p->tail - load_acquire(&p->head)); /* ORD(head): only grows */
    n = n < max ? n : max;
    n = n < room + 1 ? n : room + 1;
    n = n < bl__rt.queued ? n : bl__rt.queued;
    for (uint32_t i = 0; i < n; i++) {
        bl__task *t = global_take(&empty);
        store_relaxed(&bl__rt.queued, bl__rt.queued - 1);
        if (i == 0)
            first = t;
        else
            bl__runq_put(p, t);
    }
    bl__unlock(&bl__rt.lock);
    while (empty != NULL) {
        bl__batch *next = empty->next;
        bl__free(empty);
        empty = next;
    }
    return first;
}

/* The end of a run: what is still queued is left. */
void bl__runq_forget(void)
{
    while (bl__rt.batches != NULL) {
        bl__batch *b = bl__rt.batches;
        bl__rt.batches = b->next;
        bl__free(b);
    }
    bl__rt.queue_head = NULL;
    bl__rt.queue_tail = NULL;
    store_relaxed(&bl__rt.queued, 0u);
}

/* Half of the victim's ring to p, the caller's, whose ring is empty; one of them is returned. The
 * run-next slot only if take_next, and the ring has nothing: its owner is about to run it. */
bl__task *bl__runq_steal(bl__p *p, bl__p *victim, bool take_next)
{
    if (!load_acquire(&victim->shared)) /* ORD(shared): with the store in pick_fair */
        return NULL;
    for (;;) {
        uint32_t head = load_acquire(&victim->head); /* ORD(head): with the other takers */
        uint32_t tail = load_acquire(&victim->tail); /* ORD(tail): with the store in put */
        uint32_t n = tail - head;
        n -= n / 2;
        if (n == 0)
            break;
        if (n > BL__RING / 2)
            continue; /* head was old when tail was read */
        uint32_t to = p->tail;
        for (uint32_t i = 0; i < n; i++)
            store_relaxed(&p->ring[(to + i) % BL__RING],
                          load_relaxed(&victim->ring[(head + i) % BL__RING]));
        if (!cas_acq_rel(&victim->head, &head, head + n)) /* ORD(head) */
            continue;
        bl__task *last = p->ring[(to + n - 1) % BL__RING];
        if (n > 1)
            store_release(&p->tail, to + n - 1); /* ORD(tail) */
        BL__PROBE3(steal, p->id, victim->id, n);
        if (bl__traced())
            bl__trace_steal(p, victim, n);
        return last;
    }
    bl__task *t = load_relaxed(&victim->next);
    if (!take_next || t == NULL || !cas_acquire(&victim->next, &t, NULL)) /* ORD(next): with put */
        return NULL;
    BL__PROBE3(steal, p->id, victim->id, 1);
    if (bl__traced())
        bl__trace_steal(p, victim, 1);
    return t;
}

/* Gives all that p, the caller's, has queued to the others. */
void bl__runq_drain(bl__p *p)
{
    bl__task *t;
    while ((t = bl__next_take(p)) != NULL || (t = bl__runq_get(p)) != NULL)
        bl__runq_put_global(t, t, 1);
}
