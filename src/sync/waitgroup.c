/* SPDX-License-Identifier: MIT */
/*
 * waitgroup.c: waiting for a number of things to be done.
 *
 * Everything is under bl__lock, also a wait that finds the count at zero: it may return and release
 * the storage only when the add that brought it there has given the lock back.
 *
 * bl__waking counts those woken who have not returned: an add that begins a new round before they
 * have is Go's misuse, found by whoever is at fault and not by who wakes up. Waiters whose wait was
 * cancelled unlink themselves, so one that is queued while the count is zero is on its way out.
 */
#include "life/scope.h"
#include "sync/object.h"

static inline bl__waitq *waitgroup_queue(bl_waitgroup *wg) { return BL__WAITQ(&wg->bl__head); }

/* bl__lock held. Claims all waiters; those that were claimed already stay in the queue. */
static void waitgroup_claim(bl_waitgroup *wg, bl__woken *woken)
{
    bl__waitq *q = waitgroup_queue(wg);
    for (bl__waiter *w = q->head, *next; w; w = next) {
        next = w->next;
        if (!bl__claim(w->g))
            continue;
        bl__waitq_remove(q, w);
        bl__woken_add(woken, w);
        wg->bl__waking++;
    }
}

void bl_waitgroup_add(bl_waitgroup *wg, int n)
{
    bl__asked();
    bl__woken woken = {NULL, NULL};
    BL__RACE_FRAME();
    BL__CHECK_COPY(wg, "sync.WaitGroup");
    bl__race_use(wg);
    if (n < 0)
        bl__race_release(wg);
    bl__lock(&wg->bl__lock, BL__RANK_WAITERS);
    if (n > 0 && wg->bl__count == 0) /* as in Go: it has to be ordered with the first wait */
        bl__race_read(&wg->bl__waking, sizeof wg->bl__waking);
    if (wg->bl__count + n < 0)
        bl__fatal_of("lowers", BL__WAIT_WAITGROUP, wg, "sync: negative WaitGroup counter");
    if (n > 0 && wg->bl__count == 0) {
        if (wg->bl__waking)
            bl__fatal_of("raises", BL__WAIT_WAITGROUP, wg,
                         "sync: WaitGroup is reused before previous Wait has returned");
        if (!bl__waitq_empty(waitgroup_queue(wg)))
            bl__fatal_of("raises", BL__WAIT_WAITGROUP, wg,
                         "sync: WaitGroup misuse: Add called concurrently with Wait");
    }
    wg->bl__count += n;
    if (wg->bl__count == 0)
        waitgroup_claim(wg, &woken);
    bl__unlock(&wg->bl__lock);
    bl__woken_ready(&woken);
}

void bl_waitgroup_done(bl_waitgroup *wg)
{
    BL__RACE_FRAME();
    bl_waitgroup_add(wg, -1);
}

int bl_waitgroup_wait_until(bl_waitgroup *wg, bl_time deadline)
{
    bl__asked();
    bl__g *g = bl__self();
    bl__waiter w;
    BL__RACE_FRAME();
    BL__CHECK_COPY(wg, "sync.WaitGroup");
    bl__race_use(wg);
    bl__lock(&wg->bl__lock, BL__RANK_WAITERS);
    BL__CHECK(wg->bl__count >= 0);
    if (wg->bl__count == 0) {
        bl__unlock(&wg->bl__lock);
        bl__race_acquire(wg);
        return 0;
    }
    if (bl__waitq_empty(waitgroup_queue(wg)))
        bl__race_write(&wg->bl__waking, sizeof wg->bl__waking);
    bl__waiter_init(&w, g);
    bl__waitq_push_back(waitgroup_queue(wg), &w);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_WAITGROUP,
                                    .cancellable = true,
                                    .obj = wg,
                                    .lock = &wg->bl__lock,
                                    .deadline = deadline});
    bl__lock(&wg->bl__lock, BL__RANK_WAITERS);
    if (r < 0)
        bl__waitq_remove(waitgroup_queue(wg), &w);
    else
        wg->bl__waking--;
    bl__unlock(&wg->bl__lock);
    if (r >= 0)
        bl__race_acquire(wg);
    return r;
}

int bl_waitgroup_wait(bl_waitgroup *wg)
{
    BL__RACE_FRAME();
    return bl_waitgroup_wait_until(wg, BL_NEVER);
}

typedef struct waitgroup_call {
    bl_waitgroup *wg;
    bl_fn fn;
    void *arg;
} waitgroup_call;

static void waitgroup_exit(void *wg) { bl_waitgroup_done(wg); }

static int waitgroup_run(void *arg)
{
    const waitgroup_call *call = arg;
    bl__g *g = bl__self();
    bl_waitgroup *wg = call->wg;
    bl__within within;
    store_relaxed(&g->fn, call->fn); /* for reports */
    bl__within_begin(&within, g, waitgroup_exit, wg);
    int r = call->fn(call->arg);
    bl__within_end(&within, g);
    bl_waitgroup_done(wg);
    return r;
}

int bl__waitgroup_go(bl_waitgroup *wg, bl_scope *s, bl_fn fn, void *arg, const bl__site *site)
{
    waitgroup_call call = {wg, fn, arg};
    BL__RACE_FRAME();
    bl__fn_check(fn);
    bl_waitgroup_add(wg, 1);
    int r = bl__go_own(s, waitgroup_run, &call, sizeof call, site);
    if (r < 0)
        bl_waitgroup_add(wg, -1);
    return r;
}
