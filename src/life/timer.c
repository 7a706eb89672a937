/* SPDX-License-Identifier: MIT */
/*
 * timer.c: timers that send on a channel (Go: time.Timer). The contract is Go's since 1.23.
 *
 * t->bl__lock is held through every operation on a timer, waiting for a firing under way included;
 * so operations follow one another, and each finds the timer armed, or fired for good. A firing
 * never waits for that lock. For a channel timer it touches only the channel, which has a lock of
 * its own. A ticker's firing arms it anew, if it gets the lock without waiting: whoever holds it is
 * starting, stopping or resetting the ticker, and decides that himself.
 *
 * After a firing has let go of the channel (or of the record of an after_func, see after_func.c) it
 * touches the timer no more, since the receiver may have freed it.
 */
#include "life/timer.h"

#include <sched.h>

#include "arch/relax.h"
#include "core/bubble.h"

enum { SPINS = 100 };

bl_chan *bl__timer_channel(bl_timer *t) { return (bl_chan *)(void *)t->bl__chan; }

/* A timer in use has its own address in it; a zero one is made ready. */
static void timer_lock(bl_timer *t)
{
    bl_timer *self = load_acquire(&t->bl__self); /* ORD(timer-self): with the store below */
    if (__builtin_expect(self != NULL && self != t, 0))
        bl__fatal("belay: bl_timer is copied, or its storage was not zero at first");
    bl__lock(&t->bl__lock, BL__RANK_TIMER);
    if (t->bl__self != NULL)
        return;
    bl__chan_init_timer(bl__timer_channel(t), t->bl__made);
    store_release(&t->bl__self, t); /* ORD(timer-self): the channel is ready */
}

/* Ends whatever t was started as: true if it was pending, or its value was not received yet. Under
 * its lock. */
static bool timer_halt(bl_timer *t)
{
    if (t->bl__kind == BL__TIMER_AFTER)
        return bl__after_halt(t);
    store_relaxed(&t->bl__period, 0);
    bool pending = bl__timer_disarm(t);
    if (!pending)
        bl__timer_wait_fired(t);
    /* Both: a ticker may have an old tick in its channel and wait for the next. */
    return bl__chan_timer_drain(bl__timer_channel(t)) || pending;
}

static void chan_fire(bl_timer *t, bl_time now)
{
    (void)now;
    (void)bl__chan_timer_put(bl__timer_channel(t), t->bl__when);
}

/* Under its lock; halted. What is due already is there at once. */
static void chan_start(bl_timer *t, bl_dur d)
{
    t->bl__kind = BL__TIMER_CHAN;
    bl__chan_bubble_enter(bl__timer_channel(t));
    bl__race_release(bl__timer_channel(t));
    if (d > 0) {
        bl__timer_arm(t, bl__in(d), chan_fire);
        return;
    }
    t->bl__when = bl__in(0); /* no time that has passed (Go: when) */
    (void)bl__chan_timer_put(bl__timer_channel(t), t->bl__when);
}

int bl__timer_start(bl_timer *t, bl_dur d, const bl__site *site)
{
    BL__RACE_FRAME();
    bl__race_use(t);
    bl__asked();
    timer_lock(t);
    (void)timer_halt(t);
    t->bl__made = site;
    bl__timer_channel(t)->made = site;
    chan_start(t, d);
    bl__unlock(&t->bl__lock);
    bl__made(BL__MADE_TIMER, t, site);
    return 0;
}

bl_chan *bl_timer_chan(bl_timer *t)
{
    BL__RACE_FRAME();
    bl__race_use(t);
    if (load_acquire(&t->bl__self) != t) { /* ORD(timer-self): with timer_lock */
        timer_lock(t);
        bl__unlock(&t->bl__lock);
    }
    return bl__timer_channel(t);
}

/* Under its lock: a bubble's goroutines would see a time of theirs end from outside. */
static void timer_check_bubble(bl_timer *t, const char *does, const char *what)
{
    bl__chan_check_bubble(bl__timer_channel(t), does, what);
}

/* By whom it belongs to. */
static void timer_close(bl_timer *t)
{
    timer_lock(t);
    (void)timer_halt(t);
    bl__unlock(&t->bl__lock);
}

static bool timer_stop(bl_timer *t, const char *what)
{
    bl__asked();
    timer_lock(t);
    timer_check_bubble(t, "stops", what);
    bool was = timer_halt(t);
    bl__unlock(&t->bl__lock);
    return was;
}

bool bl_timer_stop(bl_timer *t)
{
    BL__RACE_FRAME();
    bl__race_use(t);
    return timer_stop(t, "stop of a bubble's timer");
}

bool bl_timer_reset(bl_timer *t, bl_dur d)
{
    BL__RACE_FRAME();
    bl__race_use(t);
    bl__asked();
    timer_lock(t);
    timer_check_bubble(t, "resets", "reset of a bubble's timer");
    bool was = timer_halt(t);
    if (t->bl__kind == BL__TIMER_AFTER) {
        if (bl__after_start(t, d) < 0)
            bl__fatal("belay: out of memory for bl_timer_reset");
    } else {
        chan_start(t, d);
    }
    bl__unlock(&t->bl__lock);
    return was;
}

int bl__after_func(bl_timer *t, bl_scope *s, bl_dur d, bl_fn fn, void *arg, const bl__site *site)
{
    BL__RACE_FRAME();
    bl__race_use(t);
    bl__asked();
    bl__scope_check(s, "bl_after_func");
    bl__fn_check(fn);
    int state = bl__ctx_err(s->bl__ctx);
    if (state != 0)
        return bl__scope_refused(s, state);
    timer_lock(t);
    (void)timer_halt(t);
    t->bl__kind = BL__TIMER_AFTER;
    bl__chan_bubble_enter(bl__timer_channel(t));
    bl__timer_channel(t)->made = site;
    t->bl__scope = s;
    t->bl__fn = fn;
    t->bl__arg = arg;
    t->bl__made = site;
    int r = bl__after_start(t, d);
    if (r < 0)
        t->bl__kind = BL__TIMER_NONE;
    bl__unlock(&t->bl__lock);
    if (r == 0)
        bl__made(BL__MADE_TIMER, t, site); /* its scope may be one that nobody closes */
    return r;
}

bool bl_timer_stop_wait(bl_timer *t)
{
    BL__RACE_FRAME();
    bl__race_use(t);
    timer_lock(t);
    timer_check_bubble(t, "stops", "stop of a bubble's timer");
    bool was = timer_halt(t);
    bool after = t->bl__kind == BL__TIMER_AFTER;
    void *record = t->bl__after;
    uint64_t use = t->bl__after_use;
    bl__unlock(&t->bl__lock);
    if (after)
        bl__after_wait(record, use);
    return was;
}

/* ---- Tickers ---- */

static void ticker_fire(bl_timer *t, bl_time now)
{
    bl_time when = t->bl__when;
    (void)bl__chan_timer_put(bl__timer_channel(t), when); /* dropped, if the last one is there */
    for (int i = 0; !bl__trylock(&t->bl__lock, BL__RANK_TIMER); i++) {
        if (load_relaxed(&t->bl__period) == 0)
            return; /* who stops it holds the lock, and waits for us */
        if (i < SPINS)
            bl__cpu_relax();
        else
            sched_yield(); /* to who has just started it, and is about to let go */
    }
    bl_dur period = t->bl__period;
    if (period > 0) {
        /* From when it was due, so that the ticks do not drift; those that are past are left
         * out. */
        bl_time next;
        if (__builtin_add_overflow(when, period * (1 + (now - when) / period), &next))
            next = BL_NEVER;
        bl__timer_arm(t, next, ticker_fire);
    }
    bl__unlock(&t->bl__lock);
}

bool bl__timer_only_sends(const bl_timer *t)
{
    return t->bl__fire == chan_fire || t->bl__fire == ticker_fire;
}

bool bl__timer_unheard(bl_timer *t)
{
    return bl__timer_only_sends(t) && bl__waitq_empty(&bl__timer_channel(t)->recvq);
}

void bl__timer_near(bl_timer *t)
{
    if (bl__timer_only_sends(t))
        __builtin_prefetch(load_relaxed(&bl__timer_channel(t)->recvq.head));
}

/* Under its lock; halted. */
static void ticker_start(bl_timer *t, bl_dur period)
{
    t->bl__kind = BL__TIMER_TICKER;
    bl__chan_bubble_enter(bl__timer_channel(t));
    bl__race_release(bl__timer_channel(t));
    store_relaxed(&t->bl__period, period);
    bl__timer_arm(t, bl__in(period), ticker_fire);
}

static void ticker_closed(bl__res *res) { timer_close(&((bl_ticker *)(void *)res)->timer); }
static void ticker_release(bl__res *res)
{
    bl_timer *t = &((bl_ticker *)(void *)res)->timer;
    bl__unmade(t);
    store_relaxed(&bl__timer_channel(t)->magic, (uint32_t)BL__CHAN_FREED);
    store_relaxed(&t->bl__self, NULL);
    bl__free(res);
}

/* A user's pointer: one that was freed has not its own address in it. */
static bl_timer *ticker_timer(bl_ticker *ticker)
{
    bl_timer *t = &ticker->timer;
    if (load_relaxed(&t->bl__self) != t)
        bl__fatal("use of a freed ticker");
    return t;
}

bl_ticker *bl__ticker_new(bl_scope *s, bl_dur period, const bl__site *site)
{
    bl__scope_check(s, "bl_ticker_new");
    if (period <= 0)
        bl__fatal("non-positive interval for NewTicker");
    bl_ticker *ticker = bl__zalloc(sizeof *ticker);
    if (ticker == NULL)
        return NULL;
    ticker->res.stop = ticker_closed;
    ticker->res.release = ticker_release;
    ticker->timer.bl__made = site;
    timer_lock(&ticker->timer);
    ticker_start(&ticker->timer, period);
    bl__unlock(&ticker->timer.bl__lock);
    bl__scope_own(s, &ticker->res);
    bl__made(BL__MADE_TICKER, &ticker->timer, site);
    return ticker;
}

bl_chan *bl_ticker_chan(bl_ticker *t) { return bl__timer_channel(ticker_timer(t)); }

void bl_ticker_reset(bl_ticker *t, bl_dur period)
{
    bl__asked();
    if (period <= 0)
        bl__fatal("non-positive interval for Ticker.Reset");
    bl_timer *timer = ticker_timer(t);
    timer_lock(timer);
    timer_check_bubble(timer, "resets", "reset of a bubble's ticker");
    (void)timer_halt(timer);
    ticker_start(timer, period);
    bl__unlock(&timer->bl__lock);
}

void bl_ticker_stop(bl_ticker *t)
{
    (void)timer_stop(ticker_timer(t), "stop of a bubble's ticker");
}
