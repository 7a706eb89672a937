/* SPDX-License-Identifier: MIT */
/*
 * reached_test.c: who waits for what somebody still gets at, in a way of its own, is not stuck. What a
 * test itself has of that is hidden: nobody is to get at it by the test.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/proc.h"
#include "debug/stuck.h"

#include "parked.h"
#include "run.h"

/* Else memory cannot be looked at, so nobody is stuck by what it says. */
#define SEES (!BL__ASAN && !BL__TSAN && getenv("BELAY_EMULATOR") == NULL)

static uintptr_t hidden; /* atomic: ~ of the channel */

static bl_chan *shown(void)
{
    return (bl_chan *)~load_acquire(&hidden); // NOLINT(performance-no-int-to-ptr)
}

static int recv_of(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v);
}

static int send_to(void *arg)
{
    int v = 1;
    return bl_chan_send((bl_chan *)arg, &v);
}

/* ---- A plain thread's scope ---- */

static bl_mutex lock;

static int lock_and_recv(void *arg)
{
    bl_mutex_lock(&lock);
    int r = recv_of(arg);
    bl_mutex_unlock(&lock);
    return r;
}

/* Waits for who waits for what its timer sends. */
static void *wait_with_a_timer(void *arg)
{
    bl_test *t = arg;
    bl_timer timer = {0};
    BL_SCOPE(s);
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    BL_CHECK_EQ(t, bl_go(s, lock_and_recv, c), 0);
    while (bl_mutex_try_lock(&lock)) {
        bl_mutex_unlock(&lock);
        usleep(100);
    }
    BL_CHECK_EQ(t, bl_after_func(&timer, s, BL_HOUR, send_to, c), 0);
    store_release(&hidden, ~(uintptr_t)c);
    bl_mutex_lock(&lock);
    bl_mutex_unlock(&lock);
    bl_timer_stop(&timer);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    bl_chan_release(c);
    return NULL;
}

RUN_TEST(what_a_timer_of_a_threads_scope_has)
{
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, wait_with_a_timer, t) == 0);
    while (load_acquire(&hidden) == 0 || load_relaxed(&bl__rt.plain_blocked) == 0)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
    BL_CHECK_EQ(t, send_to(shown()), 0);
    pthread_join(thread, NULL);
}

/* ---- The end of a scope ---- */

static int ended_recv(void *arg)
{
    return bl_chan_recv(bl_ctx_done(arg), NULL) == BL_ECLOSED ? 0 : BL_EIO;
}

/* Nobody else gets at the context; but with the scope it ends, too. */
static int join_who_waits_for_a_context(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ctx *c = bl_ctx_with_cancel(bl_scope_ctx(s));
    int r = bl_go(s, ended_recv, c);
    if (r == 0)
        r = bl_scope_wait(s);
    bl_ctx_release(c);
    return r == BL_ECANCELED ? 0 : r;
}

RUN_TEST(a_context_that_the_end_of_its_scope_ends)
{
    bl_leak leaks[4];
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, join_who_waits_for_a_context, NULL), 0);
    BL_CHECK(t, parked_wait(2));
    int n = bl_leaks(leaks, 4);
    BL_CHECK_LE(t, n, 2);
    if (SEES)
        BL_CHECK_EQ(t, n, 2);
    for (int i = 0; i < n; i++)
        BL_CHECK(t, !leaks[i].proven);
}

enum { DEEP = 10 }; /* more than are looked at on the way up */

static bl_ctx *top; /* a global, which everybody gets at */

static int deep_recv(void *arg)
{
    bl_ctx **all = arg;
    int r = ended_recv(all[DEEP - 1]);
    for (int i = 0; i < DEEP; i++)
        bl_ctx_release(all[i]);
    free(all);
    return r;
}

static int start_deep(void *arg)
{
    bl_ctx **all = calloc(DEEP, sizeof(bl_ctx *));
    for (int i = 0; i < DEEP; i++)
        all[i] = bl_ctx_with_cancel(i > 0 ? all[i - 1] : bl_ctx_background());
    top = all[0];
    return bl_go((bl_scope *)arg, deep_recv, all);
}

RUN_TEST(a_context_far_above_can_be_cancelled)
{
    BL_SCOPE(s);
    bl_scope first;
    BL_CHECK_EQ(t, bl_scope_open(&first, NULL), 0);
    BL_CHECK_EQ(t, bl_go(&first, start_deep, s), 0);
    BL_CHECK_EQ(t, bl_scope_close(&first), 0);
    BL_CHECK(t, parked_wait(1));
    BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
    bl_ctx_cancel(top, 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- A function of bl_blocking ---- */

static int recv_aside(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    BL_SCOPE(s); /* its end could stop the wait, but it comes only after that */
    int r = bl_blocking(recv_of, c);
    bl_chan_release(c);
    return r;
}

RUN_TEST(a_scope_of_who_calls_it_ends_no_function)
{
    bl_leak leaks[2];
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, recv_aside, NULL), 0);
    while (load_relaxed(&bl__rt.plain_blocked) == 0)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    int n = bl_leaks(leaks, 2);
    BL_CHECK_LE(t, n, 1);
    if (SEES)
        BL_CHECK(t, n == 1 && leaks[0].proven);
}

/* ---- A read lock that another has given back ---- */

static bl_rwmutex shared;

static int rlock_and_recv_nil(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&shared);
    return bl_chan_recv(NULL, NULL) == BL_ECANCELED ? 0 : BL_EIO;
}

static int rlock_and_sleep(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&shared);
    int r = bl_sleep(BL_HOUR);
    bl_rwmutex_runlock(&shared);
    return r == BL_ECANCELED ? 0 : BL_EIO;
}

static int lock_and_unlock(void *arg)
{
    (void)arg;
    bl_rwmutex_lock(&shared);
    bl_rwmutex_unlock(&shared);
    return 0;
}

/* The first, which is stuck, does not have it any more; and the other one wakes up. */
RUN_TEST(a_read_lock_that_was_handed_on_keeps_no_writer)
{
    bl_leak leaks[2];
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, rlock_and_recv_nil, NULL), 0);
    BL_CHECK(t, parked_wait(1));
    BL_CHECK_EQ(t, bl_go(s, rlock_and_sleep, NULL), 0);
    BL_CHECK(t, parked_wait(2));
    bl_rwmutex_runlock(&shared);
    BL_CHECK_EQ(t, bl_go(s, lock_and_unlock, NULL), 0);
    BL_CHECK(t, parked_wait(3));
    BL_CHECK_EQ(t, bl_leaks(leaks, 2), 1);
    BL_CHECK_STR(t, leaks[0].reason, "chan receive (nil chan)");
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
}
