/* SPDX-License-Identifier: MIT */
/* Misuse of channels. */
#include "cases.h"

static int close_nil(void *arg)
{
    (void)arg;
    bl_chan_close(NULL);
    return 0;
}

static int close_twice(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_chan_close(c);
    bl_chan_close(c);
    return 0;
}

static int closer(void *arg)
{
    bl_chan_close(arg);
    bl_chan_close(arg);
    return 0;
}

static int close_twice_in_child(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "closers");
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, closer, c);
    return bl_scope_wait(s);
}

static int send_size(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    char small = 1;
    return KEEP(bl_chan_send(c, &small));
}

static int recv_size(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    double large;
    return KEEP(bl_chan_recv(c, &large));
}

static int select_size(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    short small;
    return KEEP(BL_SELECT(BL_RECV(c, &small)));
}

static int release_waited_on(void *arg)
{
    bl_yield(); /* the main goroutine waits by now */
    bl_chan_release(arg);
    return 0;
}

static int freed_while_waiting(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_go(s, release_waited_on, c);
    int v;
    return KEEP(bl_chan_recv(c, &v));
}

static int send_to_timers(void *arg)
{
    bl_time now = bl_now();
    bl_timer t = {0};
    (void)arg;
    bl_timer_start(&t, BL_HOUR);
    return bl_chan_send(bl_timer_chan(&t), &now);
}

static int select_sends_to_tickers(void *arg)
{
    bl_time now = bl_now();
    BL_SCOPE(s);
    (void)arg;
    return BL_SELECT(BL_SEND(bl_ticker_chan(bl_ticker_new(s, BL_HOUR)), &now));
}

static int try_send_to_done(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return bl_chan_try_send(bl_ctx_done(bl_scope_ctx(s)), NULL);
}

static int close_of_timers(void *arg)
{
    (void)arg;
    bl_timer t = {0};
    bl_timer_start(&t, BL_HOUR);
    bl_chan_close(bl_timer_chan(&t));
    return 0;
}

static const fatal_case cases[] = {
    {"close_nil", close_nil},
    {"close_twice", close_twice},
    {"close_twice_in_child", close_twice_in_child},
    {"send_size", send_size},
    {"recv_size", recv_size},
    {"select_size", select_size},
    {"freed_while_waiting", freed_while_waiting},
    {"send_to_timers", send_to_timers},
    {"select_sends_to_tickers", select_sends_to_tickers},
    {"try_send_to_done", try_send_to_done},
    {"close_of_timers", close_of_timers},
};

CASES_MAIN(cases)
