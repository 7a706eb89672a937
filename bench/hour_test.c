/* SPDX-License-Identifier: MIT */
/* hour_test.c: an hour of virtual time with a thousand tickers: all tick each second, or with
 * periods of 1.000 to 1.999 s, so that nearly each tick has an instant of its own. */
//belay:cflags -O2
//belay:sources bench.c
#include <belay/test.h>

#include "bench.h"

static int ticks(void *arg)
{
    bl_time over = bl_now() + BL_HOUR, at = 0;
    BL_SCOPE(s);
    bl_ticker *ticker = bl_ticker_new(s, (bl_dur)(intptr_t)arg);
    bench_check(ticker != NULL, "there is memory for a ticker");
    while (at < over && bl_chan_recv(bl_ticker_chan(ticker), &at) == 0)
        continue;
    bl_ticker_stop(ticker);
    return at >= over ? 0 : -1;
}

typedef struct hour {
    size_t n;
    bl_dur apart; /* one ticker's period from the next one's */
} hour;

static void hour_run(bl_test *t, void *arg)
{
    const hour *h = arg;
    BL_SCOPE(s, .name = "hour");
    for (size_t i = 0; i < h->n; i++) {
        bl_dur period = BL_SEC + (bl_dur)i * h->apart;
        BL_REQUIRE_ERR(t, bl_go(s, ticks, (void *)(intptr_t)period), 0);
    }
    BL_REQUIRE_ERR(t, bl_scope_wait(s), 0);
}

static void measure(bl_test *t, const char *name, bl_dur apart)
{
    hour h = {bench_scale(1000), apart};
    int64_t wall = -bench_wall_ns(); /* the clock of whoever is outside */
    bl_bubble(t, hour_run, &h);
    bench_report(name, bl_procs(), 1, (double)(wall + bench_wall_ns()), NULL);
}

BL_TEST(together) { measure(t, "HourTogether", 0); }
BL_TEST(apart) { measure(t, "HourApart", BL_MS); }
