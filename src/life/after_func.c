/* SPDX-License-Identifier: MIT */
/*
 * after_func.c: timers that start a function (Go: time.AfterFunc).
 *
 * Four parties may come to the same timer at once: its firing, the user who stops it, the
 * function's goroutine at its end, and the scope that closes. The user may free the timer once it
 * is stopped or its function has begun, and the scope is gone once it is closed; so they meet at
 * neither, but at a small record of each start. Records are never given back to the allocator but
 * used again, and count their uses: who comes with a stale (record, use) finds another use in it,
 * takes its hands off, and knows that what he asks for is over. Their number is the most that were
 * ever pending or running at one time.
 *
 *     FREE -> ARMED    start
 *     ARMED -> FREE    stop, reset, the scope's close; or due in a cancelled scope
 *     ARMED -> RUNNING due, and the goroutine started
 *     RUNNING -> FREE  the function has returned
 */
#include "life/ctx.h"
#include "life/timer.h"

/* When there was no memory for the goroutine: until the next try, and for how long. */
#define AFTER_RETRY BL_MS
#define AFTER_PATIENCE BL_SEC
#define AFTER_OUTSIDE (100 * BL_MS) /* while there is no run */

/* The free records of the process. */
static struct {
    uint32_t lock;
    bl__after *free; /* lock */
} after_pool;

static bl__after *after_new(void)
{
    bl__lock(&after_pool.lock, BL__RANK_POOL);
    bl__after *a = after_pool.free;
    if (a != NULL)
        after_pool.free = a->next;
    bl__unlock(&after_pool.lock);
    return a != NULL ? a : bl__zalloc(sizeof *a);
}

/* Under its lock: this use is over. */
static void after_free(bl__after *a)
{
    a->state = BL__AFTER_FREE;
    a->use++;
    a->timer = NULL;
    a->scope = NULL;
    a->arg = NULL; /* else it is in reach for ever: debug/reach.h */
    bl__lock(&after_pool.lock, BL__RANK_POOL);
    a->next = after_pool.free;
    after_pool.free = a;
    bl__unlock(&after_pool.lock);
}

/* Ends every list. One that had something in it never gets empty again: the closing scope, which
 * looks without the lock, is thus made to take it, and so to wait for who has just unlinked the
 * last. */
static bl__after list_end;

bool bl__timers_pending(const void *list) { return list != NULL && list != &list_end; }

static void after_link(bl__after *a)
{
    bl_scope *s = a->scope;
    bl__lock(&s->bl__lock, BL__RANK_SCOPE);
    a->prev = NULL;
    a->next = s->bl__timers != NULL ? s->bl__timers : &list_end;
    if (a->next != &list_end)
        a->next->prev = a;
    store_relaxed(&s->bl__timers, a);
    bl__unlock(&s->bl__lock);
}

static void after_unlink(bl__after *a)
{
    bl_scope *s = a->scope;
    bl__lock(&s->bl__lock, BL__RANK_SCOPE);
    if (a->prev != NULL)
        a->prev->next = a->next;
    else
        store_relaxed(&s->bl__timers, a->next);
    if (a->next != &list_end)
        a->next->prev = a->prev;
    bl__unlock(&s->bl__lock);
}

/* By its goroutine. */
static void after_end(void *after)
{
    bl__after *a = after;
    bl__race_release(&a->runner);
    bl__lock(&a->lock, BL__RANK_AFTER);
    a->runner = NULL;
    for (bl__waiter *w; (w = bl__waitq_pop_front(&a->waiters)) != NULL;) {
        bl__g *g = w->g;
        if (bl__claim(g))
            bl__ready(g, 0);
    }
    after_free(a);
    bl__unlock(&a->lock);
}

/* The goroutine that an after_func starts. */
static int after_run(void *arg)
{
    bl__after *a = arg;
    bl__g *g = bl__self();
    bl__within within;
    bl__lock(&a->lock, BL__RANK_AFTER);
    a->runner = g;
    g->parent = a->starter; /* and not whom the timer has interrupted */
    bl_fn fn = a->fn;
    void *fn_arg = a->arg;
    store_relaxed(&g->fn, fn); /* for reports */
    bl__unlock(&a->lock);

    bl__within_begin(&within, g, after_end, a);
    int r = fn(fn_arg);
    bl__within_end(&within, g);

    after_end(a);
    return r;
}

/* The goroutine comes after the start of the timer, and not after whom it interrupts (race.h). */
static int after_start_run(bl_scope *s, bl__after *a)
{
#if BL__RACE
    BL__RACE_NOBODY_BEGIN(&a->race);
    int r = bl__scope_start_pinned(s, after_run, a, a->site);
    BL__RACE_NOBODY_END();
    return r;
#else
    return bl__scope_start_pinned(s, after_run, a, a->site);
#endif
}

/* Due. Whoever stops the timer waits for this to return, or for the record's lock and what is
 * done under it; so the timer is there until the lock is given back, and the scope if the use is
 * ours. */
static void after_fire(bl_timer *t, bl_time now)
{
    bl__after *a = t->bl__after;
    uint64_t use = t->bl__after_use;
    bl__lock(&a->lock, BL__RANK_AFTER);
    if (a->use != use || a->state != BL__AFTER_ARMED) {
        bl__unlock(&a->lock);
        return;
    }
    bl_scope *s = a->scope;
    if (bl__ctx_err(s->bl__ctx) != 0) {
        after_unlink(a);
        after_free(a);
        bl__unlock(&a->lock);
        return;
    }
    if (!bl__in_run()) { /* there is nobody to run it, until there is a run */
        bl__timer_arm(t, now + AFTER_OUTSIDE, after_fire);
        bl__unlock(&a->lock);
        return;
    }
    bl__scope_pin(s);
    if (after_start_run(s, a) == 0) {
        after_unlink(a);
        a->state = BL__AFTER_RUNNING;
        bl__unlock(&a->lock);
        return;
    }
    /* No memory now: late is better than never. The pin goes last, since the scope's close waits
     * for the pin and then for the record. */
    if (a->failing == 0)
        a->failing = now;
    if (now - a->failing > AFTER_PATIENCE)
        bl__fatal("belay: out of memory to start %s, which bl_after_func was given (%s:%d)",
                  a->site->what, a->site->file, a->site->line);
    bl__timer_arm(t, now + AFTER_RETRY, after_fire);
    bl__unlock(&a->lock);
    bl__scope_unpin(s);
}

int bl__after_start(bl_timer *t, bl_dur d)
{
    bl__after *a = after_new();
    if (a == NULL)
        return BL_ENOMEM;
    bl__lock(&a->lock, BL__RANK_AFTER); /* who comes with an old use may hold it for a moment */
    a->state = BL__AFTER_ARMED;
    a->failing = 0;
    a->timer = t;
    a->scope = t->bl__scope;
    a->fn = t->bl__fn;
    a->arg = t->bl__arg;
    a->site = t->bl__made;
    a->starter = bl__self()->id;
    t->bl__after = a;
    t->bl__after_use = a->use;
#if BL__RACE
    bl__race_store(&a->race);
#endif
    after_link(a);
    bl__timer_arm(t, bl__in(d > 0 ? d : 0), after_fire);
    bl__unlock(&a->lock);
    return 0;
}

bool bl__after_halt(bl_timer *t)
{
    bl__after *a = t->bl__after;
    bool stopped = false;
    if (a == NULL)
        return false;
    bl__lock(&a->lock, BL__RANK_AFTER);
    if (a->use == t->bl__after_use && a->state == BL__AFTER_ARMED) {
        (void)bl__timer_disarm(
            t); /* false: it is firing, and will find the record in another use */
        after_unlink(a);
#if BL__RACE
        bl__race_acquire(&a->race); /* its own function may have started it anew, and be done */
#endif
        after_free(a);
        stopped = true;
    }
    bl__unlock(&a->lock);
    bl__timer_wait_fired(t);
    return stopped;
}

void bl__after_wait(void *record, uint64_t use)
{
    bl__after *a = record;
    bl__g *g = bl__self();
    if (a == NULL)
        return;
    bl__lock(&a->lock, BL__RANK_AFTER);
    if (a->use != use || a->state != BL__AFTER_RUNNING) {
        bl__unlock(&a->lock);
        bl__race_acquire(&a->runner);
        return;
    }
    if (a->runner == g)
        bl__fatal("belay: bl_timer_stop_wait by the timer's own function");
    bl__waiter w = {.g = g};
    bl__waitq_push_back(&a->waiters, &w);
    (void)bl__park(
        g, &(bl__wait){.reason = BL__WAIT_TIMER, .obj = a, .lock = &a->lock, .deadline = BL_NEVER});
    bl__race_acquire(&a->runner);
}

void bl__timers_close(bl_scope *s)
{
    for (;;) {
        bl__lock(&s->bl__lock, BL__RANK_SCOPE);
        bl__after *a = s->bl__timers; /* linked, so this use is not over before the unlock */
        bool none = a == NULL || a == &list_end;
        uint64_t use = none ? 0 : a->use;
        bl__unlock(&s->bl__lock);
        if (none)
            return;
        bl__lock(&a->lock, BL__RANK_AFTER);
        if (a->use == use && a->state == BL__AFTER_ARMED) {
            bl_timer *t = a->timer;
            void *firing = bl__timer_disarm(t) ? NULL : t->bl__fired_in;
            after_unlink(a);
            after_free(a);
            bl__unlock(&a->lock);
            /* Who stops t at the same time may have freed it by now; who does not may do so once
             * the scope is closed, and after_fire looks at it before it takes the record's lock. */
            if (firing != NULL)
                bl__timer_wait_fired_in(firing, t);
            continue;
        }
        bl__unlock(&a->lock);
    }
}
