/* SPDX-License-Identifier: MIT */
/* chan_wait_test.c: who waits on a channel: in which order they are woken, and how they leave. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "parked.h"

static bl_test *const t; /* the test that the caller is of */

/* ---- Who is woken, and in which order -------------------------------------------------------- */

enum { WAITERS = 6 };

typedef struct waiter {
    bl_chan *c;
    int value;
    int result;
    bl_time deadline;
} waiter;

static int waiter_send(void *arg)
{
    waiter *w = arg;
    int r = bl_chan_send_until(w->c, &w->value, w->deadline);
    __atomic_store_n(&w->result, r, __ATOMIC_RELEASE);
    return 0;
}

static int waiter_recv(void *arg)
{
    waiter *w = arg;
    int r = bl_chan_recv_until(w->c, &w->value, w->deadline);
    __atomic_store_n(&w->result, r, __ATOMIC_RELEASE);
    return 0;
}

/* Starts them one by one, so that they wait in this order. */
static void waiters_start(bl_scope *s, bl_fn fn, waiter *w, int n, bl_chan *c)
{
    for (int i = 0; i < n; i++) {
        w[i] = (waiter){.c = c, .value = 100 + i, .result = 1, .deadline = BL_NEVER};
        BL_CHECK_EQ(t, bl_go(s, fn, &w[i]), 0);
        BL_CHECK(t, parked_wait((size_t)i + 1));
    }
}

BL_TEST(waiting_senders_are_first_in_first_out)
{
    for (size_t cap = 0; cap < 3; cap++) {
        bl_chan *c = bl_chan_new(sizeof(int), cap);
        for (int i = 0; i < (int)cap; i++)
            BL_CHECK_EQ(t, bl_chan_send(c, &i), 0);
        BL_SCOPE(s);
        waiter w[WAITERS];
        waiters_start(s, waiter_send, w, WAITERS, c);
        BL_CHECK_EQ(t, bl_chan_len(c), cap);
        for (int i = 0, v; i < WAITERS + (int)cap; i++) {
            BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
            BL_CHECK_EQ(t, v, i < (int)cap ? i : 100 + i - (int)cap);
        }
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        for (int i = 0; i < WAITERS; i++)
            BL_CHECK_EQ(t, w[i].result, 0);
        bl_chan_release(c);
    }
}

BL_TEST(waiting_receivers_are_first_in_first_out)
{
    for (size_t cap = 0; cap < 3; cap++) {
        bl_chan *c = bl_chan_new(sizeof(int), cap);
        BL_SCOPE(s);
        waiter w[WAITERS];
        waiters_start(s, waiter_recv, w, WAITERS, c);
        for (int i = 0; i < WAITERS; i++)
            BL_CHECK_EQ(t, bl_chan_try_send(c, &i), 0); /* each finds one waiting */
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        for (int i = 0; i < WAITERS; i++) {
            BL_CHECK_EQ(t, w[i].result, 0);
            BL_CHECK_EQ(t, w[i].value, i);
        }
        bl_chan_release(c);
    }
}

/* Every subset of the waiters leaves the queue; the others are served as if those had never
 * been. */
static void leave_from_the_middle(bl_fn fn, unsigned leaving)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    BL_SCOPE(stay);
    BL_SCOPE(leave);
    waiter w[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        w[i] = (waiter){.c = c, .value = 100 + i, .result = 1, .deadline = BL_NEVER};
        BL_CHECK_EQ(t, bl_go((leaving >> i) & 1 ? leave : stay, fn, &w[i]), 0);
        BL_CHECK(t, parked_wait((size_t)i + 1));
    }
    bl_scope_cancel(leave, 0);
    BL_CHECK_ERR(t, bl_scope_wait(leave), BL_ECANCELED);
    for (int i = 0; i < WAITERS; i++) {
        if ((leaving >> i) & 1) {
            BL_CHECK_ERR(t, w[i].result, BL_ECANCELED);
            BL_CHECK_EQ(t, w[i].value, 100 + i);
            continue;
        }
        int v = i;
        if (fn == waiter_send) {
            BL_CHECK_EQ(t, bl_chan_try_recv(c, &v), 0);
            BL_CHECK_EQ(t, v, 100 + i);
        } else {
            BL_CHECK_EQ(t, bl_chan_try_send(c, &v), 0);
        }
    }
    BL_CHECK_EQ(t, bl_scope_wait(stay), 0);
    for (int i = 0; i < WAITERS; i++)
        if (!((leaving >> i) & 1)) {
            BL_CHECK_EQ(t, w[i].result, 0);
            BL_CHECK_EQ(t, w[i].value, fn == waiter_send ? 100 + i : i);
        }
    BL_CHECK_ERR(t, bl_chan_try_send(c, &(int){0}), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_chan_try_recv(c, &(int){0}), BL_EAGAIN);
    bl_chan_release(c);
}

BL_TEST(cancelled_waiters_leave_from_the_middle)
{
    for (unsigned leaving = 0; leaving < 1u << WAITERS; leaving++) {
        leave_from_the_middle(waiter_send, leaving);
        leave_from_the_middle(waiter_recv, leaving);
    }
}

static bool has_ended(const waiter *w)
{
    return __atomic_load_n(&w->result, __ATOMIC_ACQUIRE) != 1;
}

/* Lets the others run until each of the first n waits, or has: on a slow machine a deadline passes
 * meanwhile. */
static bool all_came(const waiter *w, size_t n)
{
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end; bl_yield()) {
        size_t ended = 0;
        for (size_t i = 0; i < n; i++)
            ended += has_ended(&w[i]);
        if (parked() + ended >= n)
            return true;
    }
    return false;
}

BL_TEST(timed_out_waiters_leave_from_the_middle)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    BL_SCOPE(s);
    waiter w[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        bl_time deadline = i % 2 ? bl_in(20 * BL_MS) : BL_NEVER;
        w[i] = (waiter){.c = c, .value = -1, .result = 1, .deadline = deadline};
        bl_go(s, waiter_recv, &w[i]);
        BL_CHECK(t, all_came(w, (size_t)i + 1));
    }
    for (int i = 1; i < WAITERS; i += 2)
        while (!has_ended(&w[i]))
            bl_yield();
    for (int i = 0; i < WAITERS; i += 2)
        BL_CHECK_EQ(t, bl_chan_send(c, &i), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 0; i < WAITERS; i++) {
        BL_CHECK_EQ(t, w[i].result, i % 2 ? BL_ETIMEDOUT : 0);
        BL_CHECK_EQ(t, w[i].value, i % 2 ? -1 : i);
        BL_CHECK(t, i % 2 == 0 || bl_now() >= w[i].deadline);
    }
    bl_chan_release(c);
}

BL_TEST(close_wakes_everybody)
{
    bl_chan *in = bl_chan_new(sizeof(int), 0), *out = bl_chan_new(sizeof(int), 2);
    BL_CHECK_EQ(t, bl_chan_send(out, &(int){1}), 0);
    BL_CHECK_EQ(t, bl_chan_send(out, &(int){2}), 0);
    BL_SCOPE(s);
    waiter r[WAITERS], w[WAITERS];
    waiters_start(s, waiter_recv, r, WAITERS, in);
    for (int i = 0; i < WAITERS; i++) {
        w[i] = (waiter){.c = out, .value = i, .result = 1, .deadline = BL_NEVER};
        bl_go(s, waiter_send, &w[i]);
    }
    BL_CHECK(t, parked_wait(2 * WAITERS));
    bl_chan_close(in);
    bl_chan_close(out);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 0; i < WAITERS; i++) {
        BL_CHECK_ERR(t, r[i].result, BL_ECLOSED);
        BL_CHECK_EQ(t, r[i].value, 0);
        BL_CHECK_ERR(t, w[i].result, BL_ECLOSED);
    }
    int v;
    BL_CHECK_EQ(t, bl_chan_recv(out, &v), 0); /* what was buffered is there; what waited is not */
    BL_CHECK_EQ(t, v, 1);
    BL_CHECK_EQ(t, bl_chan_recv(out, &v), 0);
    BL_CHECK_EQ(t, v, 2);
    BL_CHECK_ERR(t, bl_chan_recv(out, &v), BL_ECLOSED);
    bl_chan_release(in);
    bl_chan_release(out);
}

/* A plain thread waits until close has begun, and takes what there is. */
typedef struct closing {
    bl_chan *c;
    pthread_t thread;
    uint32_t looks; /* atomic: it has seen that it is open */
    size_t got;
} closing;

static void *close_watch(void *arg)
{
    closing *w = arg;
    int v = -1;
    while (bl_chan_try_send(w->c, &v) == BL_EAGAIN)
        store_relaxed(&w->looks, 1u);
    while (bl_chan_recv(w->c, &v) == 0)
        w->got++;
    return NULL;
}

BL_TEST(close_is_one_instant_for_a_crowd)
{
    enum { CROWD = 3000, CAP = 500 };
    bl_chan *c = bl_chan_new(sizeof(int), CAP);
    for (int i = 0; i < CAP; i++)
        BL_CHECK_EQ(t, bl_chan_send(c, &i), 0);
    waiter *w = calloc(CROWD, sizeof *w);
    closing watch = {.c = c};
    BL_SCOPE(s);
    for (int i = 0; i < CROWD; i++) {
        w[i] = (waiter){.c = c, .value = i, .result = 1, .deadline = BL_NEVER};
        BL_CHECK_EQ(t, bl_go(s, waiter_send, &w[i]), 0);
    }
    BL_CHECK(t, parked_wait(CROWD));
    BL_CHECK_EQ(t, pthread_create(&watch.thread, NULL, close_watch, &watch), 0);
    while (!load_relaxed(&watch.looks))
        bl_yield();
    bl_chan_close(c);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(watch.thread, NULL);
    BL_CHECK_EQ(t, watch.got, CAP);
    int closed = 0;
    for (int i = 0; i < CROWD; i++)
        closed += w[i].result == BL_ECLOSED;
    BL_CHECK_EQ(t, closed, CROWD);
    free(w);
    bl_chan_release(c);
}

/* ---- Stopping -------------------------------------------------------------------------------- */

BL_TEST(cancelled_context)
{
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    BL_SCOPE(s);
    bl_scope_cancel(s, BL_EPIPE);
    int v = 4;
    BL_CHECK_EQ(t, bl_chan_send(c, &v), 0); /* what can proceed at once proceeds */
    BL_CHECK_ERR(t, bl_chan_send(c, &v), BL_ECANCELED);
    v = 0;
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_EQ(t, v, 4);
    BL_CHECK_ERR(t, bl_chan_recv(c, &v), BL_ECANCELED);
    BL_CHECK_EQ(t, v, 4);
    BL_CHECK_ERR(t, bl_chan_recv_until(c, &v, bl_in(BL_HOUR)), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_chan_try_recv(c, &v), BL_EAGAIN);
    bl_chan_release(c);
}

BL_TEST(deadlines_of_scope_and_call)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_time start = bl_now();
    int v;
    {
        BL_SCOPE(s, .timeout = 20 * BL_MS);
        BL_CHECK_ERR(t, bl_chan_recv_until(c, &v, bl_in(BL_HOUR)), BL_ETIMEDOUT);
        BL_CHECK_GE(t, bl_now() - start, 20 * BL_MS);
        BL_CHECK_ERR(t, bl_ctx_err(bl_scope_ctx(s)), BL_ETIMEDOUT);
    }
    start = bl_now();
    {
        BL_SCOPE(s, .timeout = BL_HOUR);
        BL_CHECK_ERR(t, bl_chan_send_until(c, &v, bl_in(10 * BL_MS)), BL_ETIMEDOUT);
        BL_CHECK_GE(t, bl_now() - start, 10 * BL_MS);
        BL_CHECK_EQ(t, bl_ctx_err(bl_scope_ctx(s)), 0);
    }
    BL_CHECK_LE(t, bl_now() - start, 30 * BL_SEC);
    bl_chan_release(c);
}
