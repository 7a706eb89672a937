/* SPDX-License-Identifier: MIT */
/*
 * sem.c: the weighted semaphore.
 *
 * First in first out, whatever the weights: a waiter at the front that wants more than there is
 * holds off those behind it, or a stream of small ones would starve it. Everything is under
 * bl__lock.
 *
 * Invariant, whenever bl__lock is free: the front waiter that nobody has claimed yet wants more
 * than bl__count. So whoever adds to the count, or takes a waiter out of the front, serves the
 * queue.
 */
#include "sync/object.h"

static inline bl__waitq *sem_queue(bl_sem *s) { return BL__WAITQ(&s->bl__head); }

/* bl__lock held. Gives what is free to the front of the queue, as far as it goes. */
static void sem_serve(bl_sem *s, bl__woken *woken)
{
    bl__waitq *q = sem_queue(s);
    while (q->head && (int64_t)q->head->n <= s->bl__count) {
        bl__waiter *w = bl__waitq_pop_front(q);
        if (!bl__claim(w->g))
            continue;
        s->bl__count -= (int64_t)w->n;
        if (BL__UNLIKELY(load_relaxed(&bl__order_on)))
            bl__order_acquired(w->g, s, (int64_t)w->n, s->bl__count);
        bl__woken_add(woken, w);
    }
    BL__CHECK(s->bl__count >= 0);
}

/* bl__lock held. */
static bool sem_take(bl_sem *s, int64_t k)
{
    if (k > 0 && (s->bl__count < k || !bl__waitq_empty(sem_queue(s))))
        return false;
    s->bl__count -= k;
    if (BL__UNLIKELY(load_relaxed(&bl__order_on)) && k > 0)
        bl__order_acquired(bl__self(), s, k, s->bl__count);
    return true;
}

void bl_sem_init(bl_sem *s, int64_t n)
{
    BL__RACE_FRAME();
    bl__race_write(s, sizeof *s);
    if (n < 0)
        bl__fatal("sync: negative semaphore count");
    *s = (bl_sem){.bl__self = s, .bl__count = n};
    if (BL__UNLIKELY(load_relaxed(&bl__order_on)))
        bl__order_sem_new(s);
}

int bl_sem_acquire_until(bl_sem *s, int64_t k, bl_time deadline)
{
    bl__asked();
    bl__g *g = bl__self();
    BL__RACE_FRAME();
    BL__CHECK_COPY(s, "sync.Semaphore");
    bl__race_use(s);
    if (k < 0)
        return BL_EINVAL;
    bl__lock(&s->bl__lock, BL__RANK_WAITERS);
    if (sem_take(s, k)) {
        bl__unlock(&s->bl__lock);
        bl__race_acquire(s);
        return 0;
    }
    bl__waiter w;
    bl__waiter_init(&w, g);
    w.n = (uint64_t)k;
    bl__waitq_push_back(sem_queue(s), &w);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_SEM,
                                    .cancellable = true,
                                    .obj = s,
                                    .lock = &s->bl__lock,
                                    .deadline = deadline});
    if (r >= 0) {
        bl__race_acquire(s);
        return 0;
    }
    /* What it wanted may have been all that held off those behind it. */
    bl__woken woken = {NULL, NULL};
    bl__lock(&s->bl__lock, BL__RANK_WAITERS);
    bl__waitq_remove(sem_queue(s), &w);
    sem_serve(s, &woken);
    bl__unlock(&s->bl__lock);
    bl__woken_ready(&woken);
    return r;
}

int bl_sem_acquire(bl_sem *s, int64_t k)
{
    BL__RACE_FRAME();
    return bl_sem_acquire_until(s, k, BL_NEVER);
}

bool bl_sem_try_acquire(bl_sem *s, int64_t k)
{
    BL__RACE_FRAME();
    bl__asked();
    BL__CHECK_COPY(s, "sync.Semaphore");
    bl__race_use(s);
    if (k < 0)
        return false;
    bl__lock(&s->bl__lock, BL__RANK_WAITERS);
    bool taken = sem_take(s, k);
    bl__unlock(&s->bl__lock);
    if (taken)
        bl__race_acquire(s);
    return taken;
}

void bl_sem_release(bl_sem *s, int64_t k)
{
    bl__asked();
    bl__woken woken = {NULL, NULL};
    BL__RACE_FRAME();
    BL__CHECK_COPY(s, "sync.Semaphore");
    bl__race_use(s);
    bl__race_release(s);
    bl__lock(&s->bl__lock, BL__RANK_WAITERS);
    if (k < 0 || s->bl__count > INT64_MAX - k)
        bl__fatal_of("raises", BL__WAIT_SEM, s,
                     "sync: semaphore released by %lld, which is out of range", (long long)k);
    s->bl__count += k;
    if (BL__UNLIKELY(load_relaxed(&bl__order_on)) && k > 0)
        bl__order_released(bl__self(), s, k);
    sem_serve(s, &woken);
    bl__unlock(&s->bl__lock);
    bl__woken_ready(&woken);
}
