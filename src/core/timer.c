/* SPDX-License-Identifier: MIT */
/*
 * timer.c: arming, firing and taking back timers; and sleep. What is pending is in timer_queue.c.
 *
 * Firing. A park's deadline is claimed while it is in the queue and under the queue's lock, and
 * taken out before its goroutine is made ready: who finds its timer in no queue need not take the
 * lock before its frame goes away. Any other is taken out and fired with no lock held, since what
 * it does takes locks that rank above the heap's; it is on the heap's list of firings for as long.
 * Who wants its storage back waits until it is on that list no more. Nothing of the timer is
 * touched once bl__fire was called: its storage may be gone when that returns.
 */
#include "core/bubble.h"

#include <sched.h>

#include "arch/relax.h"
#include "os/os.h"

void (*bl__made_hook)(bl__made_kind kind, const void *obj, const bl__site *site);
void (*bl__unmade_hook)(const void *obj);

/* A call of bl__fire under way, on the stack of its thread. */
typedef struct bl__firing {
    const bl_timer *timer;
    struct bl__firing *next;
} bl__firing;

/* What was armed in t is there no more: its frame has returned, or it was freed. Told by where it
 * was armed, where that is noted. */
static BL__NORETURN void timer_lost(bl__timers *ts, const bl_timer *t)
{
    const bl__site *site = bl__made_where(t);
    bl__unlock(&ts->lock);
    if (site != NULL)
        bl__fatal("belay: the timer at %p, which %s has started at %s:%d, was overwritten while it "
                  "was pending; its storage is in use until bl_timer_stop, or until it has fired",
                  (const void *)t, site->func, site->file, site->line);
    bl__fatal("belay: the timer at %p was overwritten while it was pending; its storage is in use "
              "until bl_timer_stop, or until it has fired (where it was started: "
              "BELAY_DEBUG=resources=1)",
              (const void *)t);
}

void bl__timers_run(bl__timers *ts, bl_time now)
{
    bl_timer *t;
    if (load_relaxed(&ts->first) > now)
        return;
    bl__lock(&ts->lock, BL__RANK_HEAP);
    while ((t = bl__timers_due(ts, now)) != NULL) {
        if (BL__UNLIKELY(load_relaxed(&t->bl__heap) != (void *)ts))
            timer_lost(ts, t);
        void (*fire)(bl_timer *, bl_time) = t->bl__fire;
        if (fire == NULL) {
            bl__g *g = ((bl__park_timer *)(void *)t)->g;
            bool claimed = bl__claim(g);
            bl__timers_remove(ts, t);
            bl__timers_prefetch(ts);
            if (claimed)
                bl__ready(g, BL_ETIMEDOUT);
            continue;
        }
        t->bl__fired_in = ts; /* seen by who sees it out of the heap */
        bl__timers_remove(ts, t);
        bl__timers_prefetch(ts);
        if (ts->count > 0)
            bl__timer_near(ts->entries[0].timer);
        bl__firing firing = {t, ts->firing};
        ts->firing = &firing;
        bl__unlock(&ts->lock);
        fire(t, now);
        bl__lock(&ts->lock, BL__RANK_HEAP);
        bl__firing **at = &ts->firing;
        while (*at != &firing)
            at = &(*at)->next;
        *at = firing.next;
    }
    bl__unlock(&ts->lock);
}

bl_time bl__timers_first(void)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    bl_time first = load_relaxed(&bl__rt.outside.first);
    for (uint32_t i = 0; i < made; i++) {
        bl_time here = load_relaxed(&bl__rt.ps[i]->timers.first);
        first = here < first ? here : first;
    }
    return first;
}

bl__timers *bl__timers_here(void)
{
    bl__p *p = load_relaxed(&bl__this_m()->p);
    return p != NULL ? &p->timers : &bl__rt.outside;
}

/* Nobody is to be told: nothing is due before all of b wait. */
static void bubble_arm(bl__bubble *b, bl_timer *t, bl_time when,
                       void (*fire)(bl_timer *t, bl_time now))
{
    t->bl__when = when;
    t->bl__fire = fire;
    bl__lock(&b->timers.lock, BL__RANK_HEAP);
    bl__timers_insert(&b->timers, t);
    bl__unlock(&b->timers.lock);
}

void bl__timer_arm(bl_timer *t, bl_time when, void (*fire)(bl_timer *t, bl_time now))
{
    bl__bubble *b = bl__bubble_here();
    if (b != NULL) {
        bubble_arm(b, t, when, fire);
        return;
    }
    bl__m *m = bl__this_m();
    uint32_t was = 0;
    bool looks =
        bl__enter_again(m, &was); /* this thread, before it rests: as long as it is inside */
    bl__timers *ts = looks ? &m->p->timers : &bl__rt.outside;
    t->bl__when = when;
    t->bl__fire = fire;
    bl__lock(&ts->lock, BL__RANK_HEAP);
    bool earlier = when < ts->first;
    bl__timers_insert(ts, t);
    bl__unlock(&ts->lock);
    bl__leave_again(m, was);
    if (!looks && !bl__timekeeper_tell() && earlier)
        bl__wake_one(); /* who sleeps now does not know of it */
}

typedef struct sought {
    const bl_timer *timer;
    bool found;
} sought;

static void compare(bl_timer *t, void *arg)
{
    sought *s = arg;
    s->found |= t == s->timer;
}

static bool is_in(bl__timers *ts, const bl_timer *t)
{
    sought s = {t, false};
    bl__lock(&ts->lock, BL__RANK_HEAP);
    bl__timers_each(ts, compare, &s);
    bl__unlock(&ts->lock);
    return s.found;
}

bool bl__timer_pending(const bl_timer *t)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++)
        if (is_in(&bl__rt.ps[i]->timers, t))
            return true;
    return is_in(&bl__rt.outside, t);
}

static bool is_firing(bl__timers *ts, const bl_timer *t)
{
    bl__lock(&ts->lock, BL__RANK_HEAP);
    const bl__firing *f = ts->firing;
    while (f != NULL && f->timer != t)
        f = f->next;
    bl__unlock(&ts->lock);
    return f != NULL;
}

bool bl__timer_firing(const bl_timer *t)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++)
        if (is_firing(&bl__rt.ps[i]->timers, t))
            return true;
    return is_firing(&bl__rt.outside, t);
}

/* Who looks whether a bubble may move reads its timers with sched's lock alone, while nothing runs
 * (bubble.c). A thread without a processor may cancel a context with a deadline meanwhile. */
static void timer_take(bl__timers *ts, bl_timer *t)
{
    bool seen = load_relaxed(&bl__rt.bubbles) != NULL && load_relaxed(&bl__this_m()->p) == NULL;
    if (BL__UNLIKELY(seen))
        bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__timers_remove(ts, t);
    if (BL__UNLIKELY(seen))
        bl__unlock(&bl__rt.lock);
}

bool bl__timer_disarm(bl_timer *t)
{
    for (;;) {
        bl__timers *ts = load_acquire(&t->bl__heap); /* ORD(heap): with insert and remove */
        if (ts == NULL)
            return false;
        bl__lock(&ts->lock, BL__RANK_HEAP);
        bool there = t->bl__heap == ts;
        if (there)
            timer_take(ts, t);
        bl__unlock(&ts->lock);
        if (there)
            return true;
    }
}

void bl__timer_wait_fired_in(void *heap, const bl_timer *t)
{
    for (int i = 0; is_firing(heap, t); i++)
        if (i < 100)
            bl__cpu_relax();
        else
            sched_yield();
}

void bl__timer_wait_fired(bl_timer *t)
{
    const bl__timer_head *head = (const void *)t; /* which is all that some timers have */
    if (head->bl__fired_in != NULL)               /* else never fired */
        bl__timer_wait_fired_in(head->bl__fired_in, t);
}

/* What is set to a time after it has its grain by how far that is from the coarse time, which is
 * therefore not to be much older. */
bl_time bl__now(void)
{
    enum { STALE_NS = 8192 };
    const bl__bubble *b = bl__bubble_here();
    if (b != NULL)
        return load_relaxed(&b->now);
    bl_time now = bl__clock();
    if (now - load_relaxed(&bl__rt.coarse) > STALE_NS)
        store_relaxed(&bl__rt.coarse, now);
    return now;
}

bl_time bl__in(bl_dur d)
{
    bl_time t;
    if (__builtin_add_overflow(bl__now(), d, &t))
        return d < 0 ? INT64_MIN : BL_NEVER;
    return t;
}

bl_time bl_now(void)
{
    bl__asked();
    return bl__now();
}

bl_time bl_in(bl_dur d)
{
    bl__asked();
    return bl__in(d);
}

/* Mostly the clock was read after it, by who has fired the timer. */
static inline bool is_over(bl_time deadline)
{
    return (load_relaxed(&bl__rt.bubbles) == NULL && load_relaxed(&bl__rt.coarse) >= deadline) ||
           bl__now() >= deadline;
}

int bl_sleep(bl_dur d)
{
    bl__g *g = bl__self();
    if (d <= 0) {
        bl_yield();
        return 0;
    }
    bl_time deadline = bl__in(d);
    int stopped = bl__ctx_state(g->ctx); /* then it is cut short, however short it is */
    bl__lock(&g->lock, BL__RANK_G);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_SLEEP,
                                    .cancellable = true,
                                    .lock = &g->lock,
                                    .deadline = deadline});
    bl__lock_pass(&g->lock, BL__RANK_G); /* the commit holds it to its last touch of g */
    return r == BL_ETIMEDOUT && is_over(deadline) ? stopped : r; /* else it was the context's */
}
