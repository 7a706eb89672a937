/* SPDX-License-Identifier: MIT */
/* What is used although it was freed. AddressSanitizer says so itself. */
#include "cases.h"

#include <belay/map.h>

static int chan_freed(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    bl_chan_release(c);
    return KEEP(bl_chan_send(c, &(int){1}));
}

static int ctx_freed(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current());
    bl_ctx_release(c);
    return KEEP(bl_ctx_err(c));
}

static int ctx_released_twice(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_value(bl_ctx_current(), "key", "value");
    bl_ctx_release(c);
    bl_ctx_release(c);
    return 0;
}

/* It is borrowed: the scope's close finds it gone. */
static int ctx_of_scope_released(void *arg)
{
    (void)arg;
    bl_scope s;
    bl_scope_open(&s, NULL);
    bl_ctx_release(bl_ctx_current());
    return KEEP(bl_scope_close(&s));
}

static int done_released(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *done = bl_ctx_done(bl_scope_ctx(s));
    bl_chan_release(bl_chan_retain(done));
    bl_chan_release(done);
    return 0;
}

/* Who has retained it keeps it beyond its context. */
static int done_kept(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current());
    bl_chan *done = bl_chan_retain(bl_ctx_done(c));
    bl_ctx_release(c);
    int r = bl_chan_recv(done, NULL);
    bl_chan_release(done);
    return r == BL_ECLOSED ? 0 : 1;
}

static bl_ticker *ticker_of_closed(void)
{
    BL_SCOPE(s);
    return bl_ticker_new(s, BL_HOUR);
}

static int ticker_freed(void *arg)
{
    (void)arg;
    bl_ticker_stop(ticker_of_closed());
    return 0;
}

static bl_chan *tick_of_closed(void)
{
    BL_SCOPE(s);
    return bl_ticker_chan(bl_ticker_new(s, BL_HOUR));
}

static int ticker_chan_freed(void *arg)
{
    (void)arg;
    return KEEP(bl_chan_recv(tick_of_closed(), NULL));
}

/* As in a frame that has returned and is used for something else. */
static int timer_overwritten(void *arg)
{
    (void)arg;
    static bl_timer t;
    bl_timer_start(&t, BL_MS);
    memset(&t, 0x55, sizeof t);
    return KEEP(bl_sleep(BL_MIN));
}

static bl_pool *pool_of_closed(void)
{
    BL_SCOPE(s);
    return bl_pool_new(s, NULL);
}

static int pool_freed(void *arg) { return KEEP(bl_pool_submit(pool_of_closed(), pool_freed, arg)); }

static int map_freed(void *arg)
{
    (void)arg;
    bl_map *m = bl_map_new(0, sizeof(int));
    bl_map_free(m);
    return KEEP(bl_map_set(m, "key", &(int){1}));
}

static const fatal_case cases[] = {
    {"chan_freed", chan_freed},
    {"ctx_freed", ctx_freed},
    {"ctx_released_twice", ctx_released_twice},
    {"ctx_of_scope_released", ctx_of_scope_released},
    {"done_released", done_released},
    {"done_kept", done_kept},
    {"ticker_freed", ticker_freed},
    {"ticker_chan_freed", ticker_chan_freed},
    {"timer_overwritten", timer_overwritten},
    {"pool_freed", pool_freed},
    {"map_freed", map_freed},
};

CASES_MAIN(cases)
