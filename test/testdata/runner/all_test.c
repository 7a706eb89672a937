/* SPDX-License-Identifier: MIT */
/* all_test.c: tests that end in every way a test can; test/runner_test.sh says what is to be
 * printed. */
//belay:sources helper.c
#include <belay/debug.h>
#include <belay/test.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "helper.h"

static int cleaned;

static void count_up(int *n) { cleaned += *n; }

static void cleanup_note(void *arg) { cleaned += *(int *)arg; }

/* Where all can get at it: so nobody can prove, and say before the test does, that it never ends. */
static bl_chan *never;

static int forever(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .shield = true);
    return bl_chan_recv(never, NULL);
}

BL_TEST(passes)
{
    BL_CHECK(t, helper() == 42);
    bl_log(t, "said %d", 42);
}

BL_TEST(values)
{
    BL_CHECK_EQ(t, 1 + 1, 3);
    BL_CHECK_STR(t, "a", "b\n\t");
    BL_CHECK_ERR(t, BL_ECANCELED, BL_ETIMEDOUT);
    BL_CHECK_LT(t, 1u, -1);
    BL_CHECK_MEM(t, "abc", "abd", 3);
    BL_CHECK_EQ(t, 0.5, 0.5f);
    BL_CHECK_GT(t, 1u, -1);
    BL_CHECK_EQ(t, BL_US, BL_MS);
}

static void deep(bl_test *t)
{
    __attribute__((cleanup(count_up))) int one = 1;
    BL_SCOPE(s);
    BL_REQUIRE_EQ(t, one, 2);
}

BL_TEST(require)
{
    static int ten = 10;
    bl_cleanup(t, cleanup_note, &ten);
    deep(t);
    bl_error(t, "not to be reached");
}

BL_TEST(cleaned) { BL_CHECK_EQ(t, cleaned, 11); }

static int require_aside(void *arg)
{
    bl_test *t = arg;
    BL_REQUIRE(t, arg == NULL);
    return 0;
}

BL_TEST(aside)
{
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, require_aside, t), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    bl_log(t, "goes on");
}

BL_TEST(leaks)
{
    bl_stat before, now;
    bl_test_allow(t, BL_ALLOW_CHANNELS);
    never = bl_chan_new(0, 0);
    bl_stats(&before);
    BL_CHECK_EQ(t, bl_go(bl_test_scope(t), forever, NULL), 0);
    do { /* on a busy machine it may take longer than the grace until it waits */
        bl_yield();
        bl_stats(&now);
    } while (now.waiting <= before.waiting);
}

/* ---- In the root scope, which does not end with the test ---- */

static int sleep_forever(void *arg)
{
    (void)arg;
    return bl_sleep(BL_NEVER);
}

static int start_in_root(void *arg) { return bl_go(bl_root(), sleep_forever, arg); }

static int end_soon(void *arg) { return bl_sleep(*(bl_dur *)arg); }

BL_TEST(root_left)
{
    BL_SCOPE(s); /* one is started by a goroutine that has ended, one has a label of its own */
    BL_CHECK_EQ(t, bl_go(s, start_in_root, NULL), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, bl_label("of", "root_left"), 0);
    BL_CHECK_EQ(t, bl_go(bl_root(), sleep_forever, NULL), 0);
}

BL_TEST(root_ends)
{
    static bl_dur soon = 2 * BL_MS;
    BL_CHECK_EQ(t, bl_go(bl_root(), end_soon, &soon), 0);
}

BL_TEST(root_allowed)
{
    bl_test_allow(t, BL_ALLOW_GOROUTINES);
    BL_CHECK_EQ(t, bl_go(bl_root(), sleep_forever, NULL), 0);
}

BL_TEST(root_left_among)
{
    bl_parallel(t);
    BL_CHECK_EQ(t, bl_go(bl_root(), sleep_forever, NULL), 0);
    (void)!bl_sleep(2 * BL_MS);
}

BL_TEST(root_among)
{
    bl_parallel(t);
    (void)!bl_sleep(2 * BL_MS);
}

static int wait_cond(void *arg)
{
    (void)arg;
    static bl_waitgroup never;
    bl_waitgroup_add(&never, 1);
    BL_SCOPE(s, .shield = true);
    return bl_waitgroup_wait(&never);
}

BL_TEST(allowed)
{
    bl_test_allow(t, BL_ALLOW_GOROUTINES);
    BL_CHECK_EQ(t, bl_go(bl_test_scope(t), wait_cond, NULL), 0);
    bl_yield();
}

static int hold(void *arg)
{
    bl_mutex_lock(arg);
    return 0;
}

BL_TEST(holds)
{
    static bl_mutex held;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, hold, &held), 0);
}

typedef struct pair {
    bl_mutex a, b;
} pair;

static int lock_up(void *arg)
{
    pair *p = arg;
    bl_mutex_lock(&p->a);
    bl_mutex_lock(&p->b);
    bl_mutex_unlock(&p->b);
    bl_mutex_unlock(&p->a);
    return 0;
}

static int lock_down(void *arg)
{
    pair *p = arg;
    bl_mutex_lock(&p->b);
    bl_mutex_lock(&p->a);
    bl_mutex_unlock(&p->a);
    bl_mutex_unlock(&p->b);
    return 0;
}

static void lock_both_ways(bl_test *t)
{
    static pair p;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, lock_up, &p), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, bl_go(s, lock_down, &p), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* The same locks: each test that takes them in both orders fails. */
BL_TEST(lock_order) { lock_both_ways(t); }
BL_TEST(lock_order_again) { lock_both_ways(t); }

BL_TEST(lock_order_allowed)
{
    bl_test_allow(t, BL_ALLOW_LOCK_ORDER);
    lock_both_ways(t);
}

/* Each of the two takes them in one order. */
static pair halves;
BL_TEST(lock_order_up) { BL_CHECK_EQ(t, bl_go(bl_test_scope(t), lock_up, &halves), 0); }
BL_TEST(lock_order_down) { BL_CHECK_EQ(t, bl_go(bl_test_scope(t), lock_down, &halves), 0); }

static int hold_read(void *arg)
{
    bl_rwmutex_rlock(arg);
    return 0;
}

BL_TEST(holds_for_reading)
{
    static bl_rwmutex held;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, hold_read, &held), 0);
}

static void no_subtest(bl_test *t, void *arg)
{
    void (*volatile fn)(bl_test *, void *) = NULL;
    bl_subtest(t, "sub", fn, arg);
}
static void no_cleanup(bl_test *t, void *arg)
{
    void (*volatile fn)(void *) = NULL;
    bl_cleanup(t, fn, arg);
}
static void no_bubble(bl_test *t, void *arg)
{
    void (*volatile fn)(void *) = NULL;
    bl_bubble(t, fn, arg);
}
BL_TEST(no_functions)
{
    bl_subtest(t, "subtest", no_subtest, NULL);
    bl_subtest(t, "cleanup", no_cleanup, NULL);
    bl_subtest(t, "bubble", no_bubble, NULL);
}

BL_TEST(crashes)
{
    bl_log(t, "about to");
    abort();
}

BL_TEST(deadlock)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    int v;
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
}

BL_TEST(late)
{
    bl_test_timeout(t, 50 * BL_MS);
    (void)!bl_sleep(BL_HOUR);
}

static void sub(bl_test *t, void *arg)
{
    const char *what = arg;
    if (*what == 's')
        bl_skip(t, "skipped");
    if (*what == 'f')
        bl_fatal(t, "failed");
    bl_parallel(t);
    (void)!bl_sleep(BL_MS);
}

BL_TEST(subs)
{
    BL_CHECK(t, bl_subtest(t, "a b", sub, "passes"));
    BL_CHECK(t, !bl_subtest(t, "c", sub, "fails"));
    BL_CHECK(t, bl_subtest(t, "c", sub, "skips"));
    BL_CHECK(t, bl_subtest(t, "d", sub, "passes"));
}

BL_TEST(beside)
{
    bl_parallel(t);
    (void)!bl_sleep(20 * BL_MS);
}

BL_TEST(besides_crash)
{
    bl_parallel(t);
    (void)!bl_sleep(10 * BL_MS);
    abort();
}

static int stops_late(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .shield = true);
    return bl_sleep(200 * BL_MS);
}

static void waits_for_late(bl_test *t, void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "late one", .grace = BL_MS);
    BL_CHECK_EQ(t, bl_go(s, stops_late, NULL), 0);
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), 0);
}

/* In virtual time: a busy machine may be late with the grace until it has stopped. */
BL_TEST(scope_late) { bl_bubble(t, waits_for_late, NULL); }

/* ---- What else is left behind ---- */

BL_TEST(ticker_left) { (void)bl_ticker_new(bl_root(), BL_HOUR); }

static bl_timer left_timer;
BL_TEST(timer_left) { bl_timer_start(&left_timer, BL_HOUR); }

static bl_timer left_after;
static int after_ends(void *arg) { return arg != NULL; }
BL_TEST(after_left) { bl_after_func(&left_after, bl_root(), BL_HOUR, after_ends, NULL); }
BL_TEST(after_ended)
{
    static bl_timer in_scope;
    bl_after_func(&left_after, bl_root(), BL_HOUR, after_ends, NULL);
    BL_CHECK(t, bl_timer_stop(&left_after));
    bl_after_func(&in_scope, bl_test_scope(t), BL_HOUR, after_ends, NULL);
}

BL_TEST(context_left) { (void)bl_ctx_with_cancel(bl_ctx_current()); }

BL_TEST(timer_allowed)
{
    bl_test_allow(t, BL_ALLOW_TIMERS | BL_ALLOW_CONTEXTS);
    bl_timer_reset(&left_timer, BL_HOUR);
    (void)bl_ticker_new(bl_root(), BL_HOUR);
    (void)bl_ctx_with_timeout(bl_ctx_current(), BL_HOUR);
}

BL_TEST(channel_left)
{
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    bl_chan_release(bl_chan_retain(c));
    for (int i = 0; i < 3; i++)
        (void)bl_chan_new(0, 0);
}

/* Of the two that run side by side one forgets. */
BL_TEST(channel_left_among)
{
    bl_parallel(t);
    (void)bl_chan_new(sizeof(int), 0);
    (void)!bl_sleep(10 * BL_MS);
}

BL_TEST(channel_released_among)
{
    bl_parallel(t);
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    (void)!bl_sleep(20 * BL_MS);
    bl_chan_release(c);
}

static int make_channel(void *arg)
{
    bl_chan **c = arg;
    *c = bl_chan_new(sizeof(int), 0);
    return 0;
}

BL_TEST(channel_left_by_goroutine)
{
    bl_chan *c;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, make_channel, &c), 0);
}

BL_TEST(pipe_left)
{
    bl_pipe *client, *server;
    BL_REQUIRE_ERR(t, bl_pipe_new(&client, &server), 0);
    bl_pipe_release(client);
}

BL_TEST(channels_allowed)
{
    bl_pipe *client, *server;
    bl_test_allow(t, BL_ALLOW_CHANNELS);
    BL_REQUIRE_ERR(t, bl_pipe_new(&client, &server), 0);
    BL_CHECK(t, bl_chan_new(sizeof(int), 0) != NULL);
}

/* The channel is what comes of the failure. */
BL_TEST(channel_failed)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    BL_REQUIRE(t, bl_chan_len(c) == 1);
    bl_chan_release(c);
}

static void releases_channel(void *arg) { bl_chan_release(arg); }

BL_TEST(channels_released)
{
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    BL_SCOPE(s);
    (void)bl_chan_retain(c);
    bl_chan_release(c);
    bl_cleanup(t, releases_channel, c);
    (void)bl_scope_chan(s, sizeof(int), 1);
    (void)bl_scope_chan(bl_root(), sizeof(int), 1);
    (void)bl_ctx_done(bl_ctx_current());
    BL_CHECK_EQ(t, bl_go(s, make_channel, &c), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    bl_chan_release(c);
}

static void stops_timer(void *arg) { bl_timer_stop((bl_timer *)arg); }

BL_TEST(nothing_left)
{
    static bl_timer stopped, fired, cleaned;
    bl_time v;
    bl_timer_start(&stopped, BL_HOUR);
    bl_timer_stop(&stopped);
    bl_timer_start(&fired, BL_MS);
    BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&fired), &v), 0);
    bl_timer_start(&cleaned, BL_HOUR);
    bl_cleanup(t, stops_timer, &cleaned);
    bl_ticker_stop(bl_ticker_new(bl_root(), BL_HOUR));
    (void)bl_ticker_new(bl_test_scope(t), BL_HOUR);
    {
        BL_SCOPE(s);
        (void)bl_ticker_new(s, BL_HOUR);
    }
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current());
    bl_ctx_cancel(c, 0);
    bl_ctx_release(c);
    bl_ctx_release(bl_ctx_with_timeout(bl_ctx_current(), BL_HOUR));
    bl_ctx_cancel(bl_ctx_with_cancel(bl_ctx_current()), 0);
    (void)bl_ctx_with_timeout(bl_ctx_current(), 1);
}

/* A connection, each end opened at a place of its own. */
static void connect_both(bl_test *t, int *client, int *served)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BL_REQUIRE(t, snprintf(at.sun_path, sizeof at.sun_path, "%s/s", bl_tempdir(t)) > 0);
    BL_REQUIRE(t, bind(l, (struct sockaddr *)&at, sizeof at) == 0 && listen(l, 4) == 0);
    BL_REQUIRE_ERR(t, bl_connect(*client, (struct sockaddr *)&at, sizeof at), 0);
    *served = bl_accept(l, NULL, NULL);
    BL_REQUIRE(t, *served >= 0);
    bl_close(l);
}

BL_TEST(descriptors_left)
{
    int client, served;
    connect_both(t, &client, &served);
    bl_close(client);
}

BL_TEST(descriptors_allowed)
{
    int client, served;
    bl_test_allow(t, BL_ALLOW_DESCRIPTORS);
    connect_both(t, &client, &served);
}

BL_TEST(descriptors_closed)
{
    int client, served;
    connect_both(t, &client, &served);
    bl_close(served);
    close(client); /* as well */
}

BL_TEST(last) { BL_CHECK(t, bl_tempdir(t) != NULL); }

BL_BENCH(add)
{
    static volatile int n;
    BL_LOOP(b) { n++; }
}
