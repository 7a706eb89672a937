/* SPDX-License-Identifier: MIT */
/*
 * once.c: running a function once.
 *
 * bl__done becomes 1 after the function has returned, and stays so: from then on a call is two
 * loads. Before that everything is under bl__lock: bl__runner is who runs it, NULL before and
 * after.
 *
 * ORD(once): the store of bl__done by the runner and the loads of those who find it set order what
 * the function wrote before what they read.
 */
#include "sync/object.h"

static inline bl__waitq *once_queue(bl_once *o) { return BL__WAITQ(&o->bl__head); }

/* The function has returned, or has ended the goroutine, which is as good (Go: Goexit). */
static void once_end(void *once)
{
    bl_once *o = once;
    bl__woken woken = {NULL, NULL};
    bl__race_release(o);
    BL__CHECK_COPY(o, "sync.Once");
    bl__lock(&o->bl__lock, BL__RANK_WAITERS);
    BL__CHECK(o->bl__runner == bl__self());
    store_release(&o->bl__done, 1u); /* ORD(once) */
    o->bl__runner = NULL;
    bl__waiter *w;
    while ((w = bl__waitq_claim_front(once_queue(o))) != NULL)
        bl__woken_add(&woken, w);
    bl__unlock(&o->bl__lock);
    bl__woken_ready(&woken);
}

static void once_run(bl_once *o, bl__g *g, bl_fn fn, void *arg)
{
    bl__within within;
    bl__within_begin(&within, g, once_end, o);
    (void)fn(arg);
    bl__within_end(&within, g);
    once_end(o);
}

static __attribute__((noinline)) void once_do_slow(bl_once *o, bl_fn fn, void *arg)
{
    bl__g *g = bl__self();
    BL__CHECK_COPY(o, "sync.Once");
    if (!fn)
        bl__fatal_of("calls", BL__WAIT_ONCE, o, "sync: Once.Do of nil func value");
    bl__lock(&o->bl__lock, BL__RANK_WAITERS);
    if (load_relaxed(&o->bl__done)) {
        bl__unlock(&o->bl__lock);
    } else if (!o->bl__runner) {
        o->bl__runner = g;
        bl__unlock(&o->bl__lock);
        once_run(o, g, fn, arg);
    } else if (o->bl__runner == g) {
        bl__fatal_of("calls", BL__WAIT_ONCE, o,
                     "sync: Once.Do called by the function that it runs - deadlock!");
    } else {
        bl__waiter w;
        bl__waiter_init(&w, g);
        bl__waitq_push_back(once_queue(o), &w);
        (void)bl__park(
            g, &(bl__wait){
                   .reason = BL__WAIT_ONCE, .obj = o, .lock = &o->bl__lock, .deadline = BL_NEVER});
    }
}

void bl_once_do(bl_once *o, bl_fn fn, void *arg)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__race_use(o);
    if (load_acquire(&o->bl__done) && load_relaxed(&o->bl__self) == o) { /* ORD(once) */
        bl__race_acquire(o);
        return;
    }
    once_do_slow(o, fn, arg);
    bl__race_acquire(o);
}
