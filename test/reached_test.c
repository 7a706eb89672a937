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
    if (!BL__ASAN && !BL__TSAN && getenv("BELAY_EMULATOR") == NULL)
        BL_CHECK_EQ(t, n, 2);
    for (int i = 0; i < n; i++)
        BL_CHECK(t, !leaks[i].proven);
}
