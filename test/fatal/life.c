/* SPDX-License-Identifier: MIT */
/* Misuse of scopes, contexts, timers and tickers. */
#include "cases.h"

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int go_on_closed(void *arg)
{
    (void)arg;
    bl_scope s;
    bl_scope_open(&s, NULL);
    bl_scope_close(&s);
    bl_go(&s, nothing, NULL);
    return 0;
}

static int close_twice(void *arg)
{
    (void)arg;
    bl_scope s;
    bl_scope_open(&s, &(bl_scope_opts){.name = "twice"});
    bl_scope_close(&s);
    bl_scope_close(&s);
    return 0;
}

static int close_outer_first(void *arg)
{
    (void)arg;
    bl_scope outer, inner;
    bl_scope_open(&outer, NULL);
    bl_scope_open(&inner, NULL);
    bl_scope_close(&outer);
    return 0;
}

static int close_others(void *arg)
{
    bl_scope_close(arg);
    return 0;
}

static int close_by_stranger(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, close_others, s);
    return bl_scope_wait(s);
}

static int wait_for(void *arg) { return bl_scope_wait(arg); }

static int wait_by_stranger(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "mine");
    bl_go(s, wait_for, s);
    return bl_scope_wait(s);
}

static int opener(void *arg)
{
    bl_scope_open(arg, NULL);
    return 0;
}

static int left_open(void *arg)
{
    (void)arg;
    bl_scope left;
    BL_SCOPE(s);
    bl_go(s, opener, &left);
    return bl_scope_wait(s);
}

static int left_open_by_main(void *arg)
{
    (void)arg;
    static bl_scope left;
    bl_scope_open(&left, NULL);
    return 0;
}

static int ticker_zero(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ticker *t = bl_ticker_new(s, 0);
    return t != NULL;
}

static int ticker_reset(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ticker *t = bl_ticker_new(s, BL_SEC);
    bl_ticker_reset(t, -1);
    return 0;
}

static int timer_copied(void *arg)
{
    (void)arg;
    bl_timer t = {0};
    bl_timer_start(&t, BL_HOUR);
    bl_timer_stop(&t);
    bl_timer copy = t;
    bl_timer_start(&copy, BL_HOUR);
    return 0;
}

static int ctx_from_nil(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_cancel(NULL);
    return c != NULL;
}

static int drain_own(void *arg) { return bl_pool_drain(arg); }

static int pool_drained_by_job(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, NULL);
    return KEEP(bl_pool_submit(p, drain_own, p)) || KEEP(bl_pool_drain(p));
}

static bl_pool *stopped_by_itself;

static void stop_own(bl_fn fn, void *arg)
{
    (void)fn, (void)arg;
    bl_pool_stop(stopped_by_itself, 0);
}

static int pool_stopped_by_on_discard(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    stopped_by_itself = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .on_discard = stop_own});
    return KEEP(bl_pool_submit(stopped_by_itself, nothing, NULL)) ||
           KEEP(bl_pool_stop(stopped_by_itself, 0));
}

static int submit_more(void *arg)
{
    while (bl_pool_submit(arg, nothing, NULL) == 0) {
    }
    return 0;
}

static int submit_first(void *arg) { return bl_pool_submit(arg, submit_more, arg); }

static int pool_full(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 2, .name = "jobs"});
    bl_go(s, submit_first, p);
    return KEEP(bl_scope_wait(s));
}

static int job_opens(void *arg) { return bl_scope_open(arg, NULL); }

static int pool_job_leaves_open(void *arg)
{
    (void)arg;
    static bl_scope left;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, NULL);
    return KEEP(bl_pool_submit(p, job_opens, &left)) || KEEP(bl_pool_drain(p));
}

static int pool_on_closed(void *arg)
{
    (void)arg;
    bl_scope s;
    bl_scope_open(&s, &(bl_scope_opts){.name = "over", .limit = 2});
    bl_scope_close(&s);
    return bl_pool_new(&s, NULL) != NULL;
}

static int notify_nil(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return bl_notify(s, NULL, 10);
}

static int notify_wrong_size(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return bl_notify(s, bl_scope_chan(s, 8, 1), 10);
}

static const fatal_case cases[] = {
    {"go_on_closed", go_on_closed},
    {"close_twice", close_twice},
    {"close_outer_first", close_outer_first},
    {"close_by_stranger", close_by_stranger},
    {"wait_by_stranger", wait_by_stranger},
    {"left_open", left_open},
    {"left_open_by_main", left_open_by_main},
    {"ticker_zero", ticker_zero},
    {"ticker_reset", ticker_reset},
    {"timer_copied", timer_copied},
    {"ctx_from_nil", ctx_from_nil},
    {"pool_drained_by_job", pool_drained_by_job},
    {"pool_stopped_by_on_discard", pool_stopped_by_on_discard},
    {"pool_full", pool_full},
    {"pool_job_leaves_open", pool_job_leaves_open},
    {"pool_on_closed", pool_on_closed},
    {"notify_nil", notify_nil},
    {"notify_wrong_size", notify_wrong_size},
};

static int go_outside(void)
{
    BL_SCOPE(s);
    bl_go(s, nothing, NULL);
    return bl_scope_wait(s);
}

static int notify_outside(void)
{
    BL_SCOPE(s);
    return bl_notify(s, bl_scope_chan(s, sizeof(int), 1), 10);
}

/* Before any run, on a plain thread. */
int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "root_outside") == 0)
        return bl_root() == NULL;
    if (argc > 1 && strcmp(argv[1], "go_outside") == 0)
        return go_outside();
    if (argc > 1 && strcmp(argv[1], "notify_outside") == 0)
        return notify_outside();
    if (argc < 2)
        puts("root_outside\ngo_outside\nnotify_outside");
    return cases_main(argc, argv, cases, sizeof cases / sizeof *cases, NULL);
}
