/* SPDX-License-Identifier: MIT */
/*
 * timer_test.c: timers and tickers, by Go's contract since 1.23: nothing stale after stop or reset,
 * len and cap 0, and results that tell whether the timer was pending.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/bubble.h"
#include "fatal.h"
#include "life/timer.h"
#include "run.h"
#include "sync/object.h"

static bl_test *const t; /* the test that the caller is of */

static int add(int *counter, int n) { return __atomic_add_fetch(counter, n, __ATOMIC_ACQ_REL); }
static int get(int *counter) { return __atomic_load_n(counter, __ATOMIC_ACQUIRE); }

static int count_up(void *arg)
{
    add(arg, 1);
    return 0;
}

static bool is_empty(bl_timer *timer)
{
    bl_time v;
    return bl_chan_try_recv(bl_timer_chan(timer), &v) == BL_EAGAIN;
}

/* ---- One-shot ---- */

BL_TEST(fires_with_the_time_it_was_due)
{
    bl_timer timer = {0};
    bl_time before = bl_now(), v = 0;
    BL_CHECK_EQ(t, bl_timer_start(&timer, 10 * BL_MS), 0);
    bl_time after = bl_now();
    BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&timer), &v), 0);
    bl_time now = bl_now();
    BL_CHECK_GE(t, v, before + 10 * BL_MS);
    BL_CHECK_LE(t, v, after + 10 * BL_MS);
    BL_CHECK_GE(t, now, v);
    BL_CHECK_LE(t, now - v, 5 * BL_SEC);
    BL_CHECK(t, is_empty(&timer));
    BL_CHECK(t, !bl_timer_stop(&timer));

    /* A late receive carries the scheduled time too. */
    before = bl_now();
    BL_CHECK(t, !bl_timer_reset(&timer, BL_MS));
    after = bl_now();
    BL_CHECK_EQ(t, bl_sleep(20 * BL_MS), 0);
    BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&timer), &v), 0);
    BL_CHECK_GE(t, v, before + BL_MS);
    BL_CHECK_LE(t, v, after + BL_MS);
}

BL_TEST(what_is_due_already_is_due_now)
{
    static const bl_dur passed[] = {0, -1, -BL_HOUR, INT64_MIN};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        bl_timer timer = {0};
        bl_time v = 0, before = bl_now();
        BL_CHECK_EQ(t, bl_timer_start(&timer, passed[i]), 0);
        BL_CHECK_EQ(t, bl_chan_try_recv(bl_timer_chan(&timer), &v), 0);
        BL_CHECK_GE(t, v, before);
        BL_CHECK_LE(t, v, bl_now());
        BL_CHECK(t, !bl_timer_reset(&timer, passed[i]));
        BL_CHECK_EQ(t, bl_chan_try_recv(bl_timer_chan(&timer), &v), 0);
        BL_CHECK_GE(t, v, before);
    }
}

BL_TEST(len_and_cap_are_zero)
{
    bl_timer timer = {0};
    BL_CHECK_EQ(t, bl_timer_start(&timer, 0), 0);
    BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_EQ(t, bl_chan_len(bl_timer_chan(&timer)), 0);
    BL_CHECK_EQ(t, bl_chan_cap(bl_timer_chan(&timer)), 0);
    bl_time v;
    BL_CHECK_EQ(t, bl_chan_try_recv(bl_timer_chan(&timer), &v), 0);
}

BL_TEST(zero_is_valid)
{
    bl_timer timer = {0}, u = {0}, w = {0};
    BL_CHECK(t, !bl_timer_stop(&timer));
    BL_CHECK(t, !bl_timer_stop_wait(&timer));
    BL_CHECK(t, is_empty(&u));
    bl_time v;
    BL_CHECK(t, !bl_timer_reset(&w, 0));
    BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&w), &v), 0);
}

BL_TEST(stop_and_reset_results)
{
    bl_timer timer = {0};
    bl_time v;
    bl_timer_start(&timer, BL_HOUR);
    BL_CHECK(t, bl_timer_stop(&timer));
    BL_CHECK(t, !bl_timer_stop(&timer));
    BL_CHECK(t, !bl_timer_reset(&timer, BL_HOUR));
    BL_CHECK(t, bl_timer_reset(&timer, BL_HOUR));
    BL_CHECK(t, bl_timer_reset(&timer, 0));
    /* Due, and nobody has received: still pending to stop and reset, and nothing is stale. */
    BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK(t, bl_timer_stop(&timer));
    BL_CHECK(t, is_empty(&timer));
    BL_CHECK(t, !bl_timer_reset(&timer, BL_US));
    BL_CHECK_EQ(t, bl_sleep(2 * BL_MS), 0);
    BL_CHECK(t, bl_timer_reset(&timer, BL_HOUR));
    BL_CHECK(t, is_empty(&timer));
    BL_CHECK(t, bl_timer_reset(&timer, BL_US));
    BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&timer), &v), 0);
    BL_CHECK(t, !bl_timer_stop(&timer));
    BL_CHECK_EQ(t, bl_timer_start(&timer, BL_HOUR), 0);
    BL_CHECK_EQ(t, bl_timer_start(&timer, BL_HOUR), 0); /* as reset */
    BL_CHECK(t, bl_timer_stop(&timer));
}

static int finish(void *arg)
{
    int err = bl_sleep(2 * BL_MS);
    __atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
    return err;
}

/* Whoever kept the time for the other, and has been given something to run, which goes on and
 * on. */
static int outlast(void *arg)
{
    int err = bl_sleep(2 * BL_MS);
    bl_time end = bl_in(10 * BL_SEC);
    while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE)) {
        if (bl_now() > end)
            return BL_ETIMEDOUT;
        bl_yield();
    }
    return err;
}

BL_TEST(nobody_sleeps_on_beside_a_busy_one)
{
    for (int i = 0; i < 30; i++) {
        bool done = false;
        BL_SCOPE(s);
        bl_go(s, finish, &done);
        bl_go(s, outlast, &done);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    }
}

BL_TEST(many_in_order)
{
    enum { N = 1000 };
    static bl_timer timers[N];
    bl_time last = 0, v = 0, base = bl_now();
    for (int i = 0; i < N; i++)
        bl_timer_start(&timers[(i * 389) % N], ((i * 389) % N) * 20 * BL_US);
    for (int i = 0; i < N; i++) {
        BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&timers[i]), &v), 0);
        BL_CHECK_GE(t, v, base + i * 20 * BL_US);
        BL_CHECK_GE(t, bl_now(), v);
        last = v;
    }
    BL_CHECK_GE(t, last, base);
}

/* The storage is gone as soon as stop or a receive has returned. */
static int timer_in_frame(void *arg)
{
    for (int i = 0; i < 300; i++) {
        bl_timer *timer = calloc(1, sizeof *timer);
        bl_time v;
        bl_timer_start(timer, (i % 20) * BL_US);
        if (i % 3 == 0)
            BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(timer), &v), 0);
        else if (i % 3 == 1)
            bl_yield();
        if (i % 3 != 0)
            bl_timer_stop(timer);
        memset(timer, 0xa5, sizeof *timer);
        free(timer);
    }
    return count_up(arg);
}

BL_TEST(storage_is_free_after_stop_or_receive)
{
    int done = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 8; i++)
        bl_go(s, timer_in_frame, &done);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, get(&done), 8);
}

/* ---- Under contention ---- */

typedef struct crowd {
    bl_timer *timer;
    int *trues;
} crowd;

static int stop_it(void *arg)
{
    crowd *c = arg;
    if (bl_timer_stop(c->timer))
        add(c->trues, 1);
    return 0;
}

/* Of a thousand that stop it one gets it, or the receiver does. */
BL_TEST(one_of_a_thousand_stops_it)
{
    for (int round = 0; round < 10; round++) {
        bl_timer timer = {0};
        int trues = 0, received = 0;
        bl_timer_start(&timer, round * 20 * BL_US);
        BL_SCOPE(s);
        crowd c = {&timer, &trues};
        for (int i = 0; i < 1000; i++) {
            bl_go(s, stop_it, &c);
            if (i == 500)
                bl_yield();
        }
        bl_time v;
        if (bl_chan_try_recv(bl_timer_chan(&timer), &v) == 0)
            received = 1;
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, get(&trues) + received, 1);
        BL_CHECK(t, is_empty(&timer));
    }
}

typedef struct resets {
    bl_timer *timer;
    bl_scope *receivers;
    int *trues;
    int *resets;
    int *received;
} resets;

static int reset_it(void *arg)
{
    resets *r = arg;
    for (int i = 0; i < 5; i++) {
        if (bl_timer_reset(r->timer, (i % 3) * 10 * BL_US))
            add(r->trues, 1);
        add(r->resets, 1);
        bl_yield();
    }
    return 0;
}

static int receive_all(void *arg)
{
    resets *r = arg;
    bl_time v;
    int err;
    while ((err = bl_chan_recv(bl_timer_chan(r->timer), &v)) == 0) {
        BL_CHECK_GE(t, bl_now(), v);
        add(r->received, 1);
    }
    return err;
}

/* Each reset arms it once; each arming is received, or found pending by a later reset or stop. */
BL_TEST(a_thousand_reset_it)
{
    bl_timer timer = {0};
    int trues = 0, count = 0, received = 0;
    bl_timer_start(&timer, BL_MS);
    {
        BL_SCOPE(receivers);
        resets r = {&timer, receivers, &trues, &count, &received};
        bl_go(receivers, receive_all, &r);
        bl_go(receivers, receive_all, &r);
        BL_SCOPE(s);
        for (int i = 0; i < 1000; i++)
            bl_go(s, reset_it, &r);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0);
    }
    if (bl_timer_stop(&timer))
        trues++;
    BL_CHECK_EQ(t, get(&count), 5000);
    BL_CHECK_EQ(t, get(&trues) + get(&received), 5001);
    BL_CHECK(t, is_empty(&timer));
}

BL_TEST(select_with_a_timer)
{
    bl_timer timer = {0};
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_time v;
    int x;
    BL_REQUIRE(t, c);
    for (int i = 0; i < 100; i++) {
        bl_timer_start(&timer, 50 * BL_US);
        BL_CHECK_EQ(t, BL_SELECT(BL_RECV(c, &x), BL_RECV(bl_timer_chan(&timer), &v)), 1);
    }
    bl_chan_release(c);
}

/* ---- after_func ---- */

/* Lets the others run until counter is n; false: after ten seconds it is not. */
static bool counted(int *counter, int n)
{
    for (bl_time end = bl_in(10 * BL_SEC); get(counter) < n && bl_now() < end;)
        bl_yield();
    return get(counter) == n;
}

BL_TEST(after_func_runs_once)
{
    int ran = 0;
    bl_timer timer = {0};
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_after_func(&timer, s, BL_HOUR, count_up, &ran), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0); /* a join does not wait for it */
    BL_CHECK(t, bl_timer_reset(&timer, BL_MS));
    BL_CHECK(t, counted(&ran, 1));
    BL_CHECK(t, !bl_timer_stop(&timer));
    BL_CHECK(t, !bl_timer_reset(&timer, BL_HOUR));
    BL_CHECK(t, bl_timer_reset(&timer, 0));
    BL_CHECK(t, counted(&ran, 2));
    BL_CHECK(t, !bl_timer_reset(&timer, BL_HOUR));
    BL_CHECK(t, bl_timer_stop(&timer));
    BL_CHECK(t, !bl_timer_stop(&timer));
    BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_EQ(t, get(&ran), 2);
}

BL_TEST(after_func_and_its_scope)
{
    int ran = 0;
    bl_timer timer = {0}, u = {0};
    bl_time due = bl_in(BL_MS);
    {
        BL_SCOPE(s);
        BL_CHECK_EQ(t, bl_after_func(&timer, s, BL_MS, count_up, &ran), 0);
        BL_CHECK_EQ(t, bl_after_func(&u, s, BL_HOUR, count_up, &ran), 0);
    }                                           /* closing stops them */
    int early = bl_now() < due ? 0 : get(&ran); /* on a slow machine the first may have run */
    BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0);
    BL_CHECK_EQ(t, get(&ran), early);
    BL_CHECK(t, !bl_timer_stop(&timer));
    BL_CHECK(t, !bl_timer_stop_wait(&u));
    BL_SCOPE(s);
    due = bl_in(BL_MS);
    BL_CHECK_EQ(t, bl_after_func(&timer, s, BL_MS, count_up, &ran), 0);
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_after_func(&u, s, BL_MS, count_up, &ran), BL_ECANCELED);
    bool late = bl_now() >= due;
    BL_SCOPE(shield, .shield = true);
    do /* on a busy machine it may be later than who has slept for longer */
        BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0);
    while (load_acquire(&timer.bl__heap) != NULL);
    BL_CHECK(t, late || get(&ran) == early); /* due in a cancelled scope: it is not run */
    BL_CHECK(t, !bl_timer_stop(&timer));
}

static int fail(void *arg)
{
    (void)arg;
    return BL_EIO;
}

BL_TEST(after_func_is_a_goroutine_of_its_scope)
{
    bl_timer timer = {0};
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_after_func(&timer, s, 0, fail, NULL), 0);
    BL_CHECK_ERR(t, bl_chan_recv(NULL, NULL), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EIO);
}

/* A ticker whose first tick is due while it is still being started or reset ticks on. */
BL_TEST(tickers_survive_their_first_tick)
{
    BL_SCOPE(s);
    bl_ticker *old = bl_ticker_new(s, BL_HOUR);
    for (int i = 0; i < 3000; i++) {
        bl_ticker *young = bl_ticker_new(s, BL_US);
        bl_ticker_reset(old, BL_US);
        for (int tick = 0; tick < 3; tick++) {
            BL_CHECK_EQ(t, bl_chan_recv_until(bl_ticker_chan(young), NULL, bl_in(20 * BL_SEC)), 0);
            BL_CHECK_EQ(t, bl_chan_recv_until(bl_ticker_chan(old), NULL, bl_in(20 * BL_SEC)), 0);
        }
        bl_ticker_stop(young);
    }
}

typedef struct two_phases {
    int phase; /* atomic */
    bl_chan *gate;
} two_phases;

static int slow(void *arg)
{
    two_phases *p = arg;
    add(&p->phase, 1);
    BL_CHECK_EQ(NULL, bl_chan_recv(p->gate, NULL), BL_ECLOSED);
    int r = bl_sleep(10 * BL_MS);
    add(&p->phase, 1);
    return r;
}

static int stop_wait_it(void *arg)
{
    crowd *c = arg;
    BL_CHECK(t, !bl_timer_stop_wait(c->timer));
    BL_CHECK_EQ(t, get(c->trues), 2);
    return 0;
}

BL_TEST(stop_wait)
{
    bl_timer timer = {0};
    BL_SCOPE(s);
    two_phases p = {0, bl_scope_chan(s, 0, 0)};
    BL_CHECK_EQ(t, bl_after_func(&timer, s, 0, slow, &p), 0);
    while (get(&p.phase) == 0)
        bl_yield();
    BL_CHECK(t, !bl_timer_stop(&timer));
    BL_CHECK_EQ(t, get(&p.phase), 1);
    crowd c = {&timer, &p.phase};
    for (int i = 0; i < 10; i++)
        bl_go(s, stop_wait_it, &c);
    bl_chan_close(p.gate);
    BL_CHECK(t, !bl_timer_stop_wait(&timer));
    BL_CHECK_EQ(t, get(&p.phase), 2);
    BL_CHECK(t, !bl_timer_stop_wait(&timer));
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK(t, !bl_timer_reset(&timer, BL_HOUR));
    BL_CHECK(t, bl_timer_stop_wait(&timer));
    BL_CHECK_EQ(t, get(&p.phase), 2);
}

/* The timers are freed while their functions run; scopes close while they are due. */
static int after_funcs_in_heap(void *arg)
{
    int *ran = arg;
    for (int i = 0; i < 200; i++) {
        BL_SCOPE(s);
        bl_timer *timer = calloc(1, sizeof *timer);
        bl_after_func(timer, s, (i % 10) * BL_US, count_up, ran);
        for (int k = 0; k < i % 4; k++)
            bl_yield();
        if (i % 2)
            bl_timer_stop(timer);
        else
            bl_scope_close(s), bl_scope_open(s, NULL);
        memset(timer, 0xa5, sizeof *timer);
        free(timer);
    }
    return 0;
}

BL_TEST(after_func_races)
{
    int ran = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 8; i++)
        bl_go(s, after_funcs_in_heap, &ran);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_LE(t, get(&ran), 8 * 200);
}

/* Of each arming: either a stop or reset was told so, or the function ran. */
BL_TEST(a_thousand_reset_an_after_func)
{
    bl_timer timer = {0};
    int ran = 0, trues = 0, count = 0;
    BL_SCOPE(funcs);
    BL_CHECK_EQ(t, bl_after_func(&timer, funcs, BL_US, count_up, &ran), 0);
    BL_SCOPE(s);
    resets r = {&timer, NULL, &trues, &count, NULL};
    for (int i = 0; i < 1000; i++)
        bl_go(s, reset_it, &r);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    if (bl_timer_stop_wait(&timer))
        trues++;
    BL_CHECK_EQ(t, bl_scope_wait(funcs), 0);
    BL_CHECK_EQ(t, get(&ran) + get(&trues), 5001);
}

/* ---- What is about to fire ---- */

typedef struct about {
    bl_timer timer;
    bool stopped;
} about;

static void *stops(void *arg)
{
    about *a = arg;
    a->stopped = bl_timer_stop(&a->timer);
    return NULL;
}

/* Who fires the timer waits for the channel; who stops it meanwhile waits for him. */
static void *stops_between(void *arg)
{
    about *a = arg;
    bl_chan *c = bl_timer_chan(&a->timer);
    pthread_t thread;
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    for (int i = 0; i < 20000 && load_acquire(&a->timer.bl__heap) != NULL; i++)
        usleep(100);
    bool started = pthread_create(&thread, NULL, stops, a) == 0;
    usleep(2000);
    bl__object_unlock(&c->lock);
    if (started)
        pthread_join(thread, NULL);
    return NULL;
}

BL_TEST(stopped_while_it_fires)
{
    for (int i = 0; i < 3; i++) {
        about a = {0};
        pthread_t thread;
        BL_CHECK_EQ(t, bl_timer_start(&a.timer, 2 * BL_MS), 0);
        BL_REQUIRE(t, pthread_create(&thread, NULL, stops_between, &a) == 0);
        pthread_join(thread, NULL);
        BL_CHECK(t, a.stopped);
        BL_CHECK(t, is_empty(&a.timer));
    }
}

typedef struct outside {
    bl_chan *done;
    int result; /* done */
} outside;

static void *waits_outside(void *arg)
{
    outside *o = arg;
    bl_timer timer = {0};
    usleep(20000);
    (void)bl_timer_start(&timer, 5 * BL_MS);
    o->result = bl_chan_recv_until(bl_timer_chan(&timer), NULL, bl_in(10 * BL_SEC));
    (void)bl_timer_stop(&timer);
    return bl_chan_send(o->done, NULL) == 0 ? arg : NULL;
}

/* Of a thread that is no part of the run, while all of that sleeps. */
RUN_TEST(a_thread_arms_one_while_all_rest)
{
    outside o = {.done = bl_chan_new(0, 0), .result = 1};
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, waits_outside, &o) == 0);
    BL_CHECK_ERR(t, bl_chan_recv(o.done, NULL), 0);
    pthread_join(thread, NULL);
    BL_CHECK_ERR(t, o.result, 0);
    bl_chan_release(o.done);
}

/* ---- Tickers ---- */

/* As one who stops or resets it, and takes long. */
static void *holds_ticker(void *arg)
{
    bl_ticker *ticker = arg;
    bl__lock(&ticker->timer.bl__lock, BL__RANK_TIMER);
    usleep(10000);
    bl__unlock(&ticker->timer.bl__lock);
    return NULL;
}

BL_TEST(a_tick_that_finds_it_locked_is_not_the_last)
{
    BL_SCOPE(s);
    bl_time v;
    pthread_t thread;
    bl_ticker *ticker = bl_ticker_new(s, BL_MS);
    BL_REQUIRE(t, ticker);
    BL_REQUIRE(t, pthread_create(&thread, NULL, holds_ticker, ticker) == 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++)
        BL_CHECK_ERR(t, bl_chan_recv_until(bl_ticker_chan(ticker), &v, bl_in(10 * BL_SEC)), 0);
}

/* Fired late, the ticks that are past by then are left out. */
static void late_fn(bl_test *bubble, void *arg)
{
    BL_SCOPE(s);
    bl_time begin = bl_now(), v = 0;
    bl_ticker *ticker = bl_ticker_new(s, BL_SEC);
    (void)arg;
    BL_REQUIRE(bubble, ticker);
    store_relaxed(&bl__bubble_here()->now, begin + 10 * BL_SEC + BL_MS);
    BL_CHECK_ERR(bubble, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
    BL_CHECK_EQ(bubble, v, begin + BL_SEC);
    BL_CHECK_ERR(bubble, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
    BL_CHECK_EQ(bubble, v, begin + 11 * BL_SEC);
}

BL_TEST(ticks_that_are_past) { bl_bubble(NULL, late_fn, NULL); }

BL_TEST(ticker_does_not_drift)
{
    BL_SCOPE(s);
    bl_time begin = bl_now(), v = 0, last = 0;
    bl_ticker *ticker = bl_ticker_new(s, 2 * BL_MS);
    BL_REQUIRE(t, ticker);
    BL_CHECK_EQ(t, bl_chan_cap(bl_ticker_chan(ticker)), 0);
    bl_time first = 0;
    for (int i = 1; i <= 10; i++) {
        BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
        if (i == 1)
            first = v;
        BL_CHECK_EQ(t, (v - first) % (2 * BL_MS), 0);
        BL_CHECK(t, v > last);
        last = v;
    }
    BL_CHECK_GE(t, first - begin, 2 * BL_MS);
    BL_CHECK_GE(t, bl_now() - begin, 20 * BL_MS);
}

BL_TEST(ticks_are_dropped_for_slow_receivers)
{
    BL_SCOPE(s);
    bl_ticker *ticker = bl_ticker_new(s, BL_MS);
    BL_REQUIRE(t, ticker);
    BL_CHECK_EQ(t, bl_sleep(20 * BL_MS), 0);
    bl_time v, begin = bl_now();
    int got = 1; /* on a busy machine the first may be later than who has slept for longer */
    BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
    while (bl_chan_try_recv(bl_ticker_chan(ticker), &v) == 0)
        got++;
    BL_CHECK_LE(t, got, 2 + (bl_now() - begin) / BL_MS);
}

BL_TEST(ticker_stop_and_reset)
{
    BL_SCOPE(s);
    bl_time v, begin;
    bl_ticker *ticker = bl_ticker_new(s, 500 * BL_US);
    BL_REQUIRE(t, ticker);
    BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
    BL_CHECK_EQ(t, bl_sleep(3 * BL_MS), 0);
    bl_ticker_stop(ticker);
    BL_CHECK_ERR(t, bl_chan_try_recv(bl_ticker_chan(ticker), &v), BL_EAGAIN);
    BL_CHECK_EQ(t, bl_sleep(3 * BL_MS), 0);
    BL_CHECK_ERR(t, bl_chan_try_recv(bl_ticker_chan(ticker), &v), BL_EAGAIN);
    bl_ticker_stop(ticker);
    begin = bl_now();
    bl_ticker_reset(ticker, BL_MS);
    BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
    BL_CHECK_GE(t, v - begin, BL_MS);
    BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0); /* there is a tick */
    bl_ticker_reset(ticker, BL_HOUR);
    BL_CHECK_ERR(t, bl_chan_try_recv(bl_ticker_chan(ticker), &v), BL_EAGAIN);
    bl_ticker_reset(ticker, BL_US);
    BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
    BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
}

static int play_with_ticker(void *arg)
{
    for (int i = 0; i < 20; i++) {
        if (i % 3 == 0)
            bl_ticker_stop(arg);
        else
            bl_ticker_reset(arg, (1 + i % 5) * BL_US);
        bl_yield();
    }
    return 0;
}

BL_TEST(many_reset_a_ticker)
{
    BL_SCOPE(tickers);
    bl_ticker *ticker = bl_ticker_new(tickers, BL_US);
    BL_REQUIRE(t, ticker);
    for (int i = 0; i < 500; i++)
        bl_go(tickers, play_with_ticker, ticker);
    BL_CHECK_EQ(t, bl_scope_wait(tickers), 0);
    bl_ticker_stop(ticker);
    bl_time v;
    BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_ERR(t, bl_chan_try_recv(bl_ticker_chan(ticker), &v), BL_EAGAIN);
    bl_ticker_reset(ticker, 10 * BL_US);
    for (int i = 0; i < 5; i++)
        BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
}

static int tick_until_stopped(void *arg)
{
    bl_time v;
    int r;
    while ((r = bl_chan_recv(bl_ticker_chan(arg), &v)) == 0)
        ;
    return r;
}

BL_TEST(scopes_close_while_they_tick)
{
    for (int i = 0; i < 100; i++) {
        BL_SCOPE(s);
        bl_ticker *ticker = bl_ticker_new(s, 20 * BL_US);
        BL_REQUIRE(t, ticker);
        bl_go(s, tick_until_stopped, ticker);
        BL_CHECK_EQ(t, bl_sleep((i % 10) * 10 * BL_US), 0);
    }
}

/* ---- Misuse ---- */

static int zero_period(void *arg)
{
    BL_SCOPE(s);
    (void)bl_ticker_new(s, (bl_dur)(intptr_t)arg);
    return 0;
}

static int negative_reset(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ticker *ticker = bl_ticker_new(s, BL_SEC);
    if (ticker)
        bl_ticker_reset(ticker, -1);
    return 0;
}

static int copied(void *arg)
{
    bl_timer timer = {0}, u;
    (void)arg;
    bl_timer_start(&timer, BL_HOUR);
    memcpy(&u, &timer, sizeof u);
    bl_timer_stop(&u);
    return 0;
}

static int close_its_channel(void *arg)
{
    bl_timer timer = {0};
    (void)arg;
    bl_chan_close(bl_timer_chan(&timer));
    return 0;
}

static int wait_for_itself(void *arg) { return bl_timer_stop_wait(arg); }
static int self_wait(void *arg)
{
    static bl_timer timer;
    (void)arg;
    BL_SCOPE(s);
    bl_after_func(&timer, s, 0, wait_for_itself, &timer);
    return bl_chan_recv(NULL, NULL);
}

BL_TEST_PLAIN(misuse)
{
    CHECK_FATAL(t, zero_period, "non-positive interval for NewTicker");
    CHECK_FATAL(t, negative_reset, "non-positive interval for Ticker.Reset");
    CHECK_FATAL(t, copied, "bl_timer is copied");
    CHECK_FATAL(t, close_its_channel, "timer");
    CHECK_FATAL(t, self_wait, "bl_timer_stop_wait by the timer's own function");
}

static bl_timer lasting[2];

static int use_lasting(void *arg)
{
    bl_time v;
    (void)arg;
    bl_timer_start(&lasting[0], BL_MS);
    bl_timer_start(&lasting[1], BL_HOUR);
    return bl_chan_recv(bl_timer_chan(&lasting[0]), &v);
}

BL_TEST_PLAIN(timers_outlive_a_run)
{
    for (int i = 0; i < 3; i++) {
        BL_CHECK_EQ(t, bl_run(use_lasting, NULL, NULL), 0);
        BL_CHECK(t, !bl_timer_stop(&lasting[0])); /* fired in the run that is over */
        BL_CHECK(t, !bl_timer_stop(&lasting[1])); /* and this one is armed no more */
    }
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void *wait_for_deadlines(void *arg)
{
    bl_time v, late = bl_in(BL_MIN);
    bl_timer timer = {0};
    (void)arg;
    BL_SCOPE(s);
    bl_ctx *c = bl_ctx_with_timeout(bl_ctx_background(), 2 * BL_MS);
    bl_ticker *ticker = bl_ticker_new(s, BL_MS);
    BL_CHECK_EQ(t, bl_timer_start(&timer, BL_MS), 0);
    BL_CHECK_EQ(t, bl_chan_recv_until(bl_timer_chan(&timer), &v, late), 0);
    BL_CHECK_EQ(t, bl_chan_recv_until(bl_ticker_chan(ticker), &v, late), 0);
    BL_CHECK_ERR(t, bl_chan_recv_until(bl_ctx_done(c), NULL, late), BL_ECLOSED);
    BL_CHECK_ERR(t, bl_ctx_err(c), BL_ETIMEDOUT);
    bl_ctx_release(c);
    BL_SCOPE(until, .timeout = BL_MS);
    BL_CHECK_ERR(t, bl_sleep(BL_MIN), BL_ETIMEDOUT); /* the scope's */
    return NULL;
}

static void *wait_in_a_run(void *arg)
{
    bl_chan *ready = arg;
    bl_ctx *c = bl_ctx_with_timeout(bl_ctx_background(), 50 * BL_MS);
    bl_chan_close(ready); /* and the run ends meanwhile */
    BL_CHECK_ERR(t, bl_chan_recv_until(bl_ctx_done(c), NULL, bl_in(BL_MIN)), BL_ECLOSED);
    bl_ctx_release(c);
    return NULL;
}

static int wait_until_ready(void *arg)
{
    pthread_t *thread = ((void **)arg)[0];
    bl_chan *ready = ((void **)arg)[1];
    BL_REQUIRE_EQ(t, pthread_create(thread, NULL, wait_in_a_run, ready), 0);
    return bl_chan_recv(ready, NULL) == BL_ECLOSED ? 0 : BL_EIO;
}

/* A function that is due has nobody to run it, and waits. */
static void due_without_a_run(void)
{
    bl_timer after = {0}, later = {0};
    bl_time v;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_after_func(&after, s, 0, nothing, NULL), 0);
    BL_CHECK_EQ(t, bl_timer_start(&later, BL_MS), 0);
    BL_CHECK_EQ(t, bl_chan_recv_until(bl_timer_chan(&later), &v, bl_in(BL_MIN)), 0);
    BL_CHECK(t, bl_timer_stop(&after));
}

/* In the child of a fork a timer fires, also behind one that the parent has pending. */
static void fires_in_a_child(void)
{
    bl_timer before = {0}, timer = {0};
    bl_time v;
    int status = -1;
    BL_CHECK_EQ(t, bl_timer_start(&before, BL_MS), 0);
    pid_t child = fork();
    BL_REQUIRE_GE(t, child, 0);
    if (child == 0)
        _exit(bl_timer_start(&timer, 2 * BL_MS) != 0 ||
              bl_chan_recv_until(bl_timer_chan(&timer), &v, bl_in(10 * BL_SEC)) != 0);
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
    bl_timer_stop(&before);
}

static int end_in_a_scope(void *arg)
{
    BL_SCOPE(s);
    add(arg, 1);
    bl__goroutine_exit();
}

BL_TEST(a_function_that_ends_its_goroutine_has_ended)
{
    int ran = 0;
    bl_timer timer = {0};
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_after_func(&timer, s, 0, end_in_a_scope, &ran), 0);
    for (int i = 1; i <= 3; i++) {
        while (get(&ran) < i)
            bl_yield();
        BL_CHECK(t, !bl_timer_stop_wait(&timer));
        BL_CHECK(t, !bl_timer_reset(&timer, 0));
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* What plain threads wait for comes without a run, too: before one, after one, and when one ends
 * meanwhile. */
BL_TEST_PLAIN(outside_of_a_run)
{
    pthread_t thread;
    bl_chan *ready = bl_chan_new(0, 0);
    wait_for_deadlines(NULL);
    due_without_a_run();
    if (!BL__TSAN && getenv("BELAY_EMULATOR") == NULL) /* which let no such child start threads */
        fires_in_a_child();
    BL_CHECK_EQ(t, bl_run(nothing, NULL, NULL), 0);
    wait_for_deadlines(NULL);
    BL_CHECK_EQ(t, bl_run(wait_until_ready, (void *[]){&thread, ready}, NULL), 0);
    pthread_join(thread, NULL);
    wait_for_deadlines(NULL);
    bl_chan_release(ready);
}
