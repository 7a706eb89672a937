/* SPDX-License-Identifier: MIT */
/* select_test.c: what select promises: one case, at one instant, fairly, and no trace of the
 * rest. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "parked.h"

static bl_test *const t; /* the test that the caller is of */

/* ---- The truth table ------------------------------------------------------------------------- */

BL_TEST(no_cases)
{
    BL_CHECK_ERR(t, bl_try_select(NULL, 0), BL_EAGAIN);
    bl_time at = bl_in(5 * BL_MS);
    BL_CHECK_ERR(t, bl_select_until(NULL, 0, at), BL_ETIMEDOUT);
    BL_CHECK_GE(t, bl_now(), at);
    BL_SCOPE(s, .timeout = 5 * BL_MS);
    BL_CHECK_ERR(t, bl_select(NULL, 0), BL_ETIMEDOUT);
}

BL_TEST(nothing_ready)
{
    bl_chan *empty = bl_chan_new(sizeof(int), 1), *full = bl_chan_new(sizeof(int), 1);
    bl_chan *meet = bl_chan_new(sizeof(int), 0);
    int v = 6;
    BL_CHECK_EQ(t, bl_chan_send(full, &v), 0);
    bl_case cs[] = {BL_RECV(empty, &v),
                    BL_SEND(full, &v),
                    BL_RECV(meet, &v),
                    BL_SEND(meet, &v),
                    BL_RECV((bl_chan *)NULL, &v),
                    BL_SEND((bl_chan *)NULL, &v)};
    BL_CHECK_ERR(t, bl_try_select(cs, 6), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_select_until(cs, 6, 0), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_select_until(cs, 6, bl_in(3 * BL_MS)), BL_ETIMEDOUT);
    {
        BL_SCOPE(s);
        bl_scope_cancel(s, 0);
        BL_CHECK_ERR(t, bl_select(cs, 6), BL_ECANCELED);
        BL_CHECK_ERR(t, bl_select_until(cs, 6, bl_in(BL_HOUR)), BL_ECANCELED);
    }
    BL_CHECK_EQ(t, v, 6);
    BL_CHECK_EQ(t, bl_chan_len(empty), 0);
    BL_CHECK_ERR(t, bl_chan_try_send(meet, &v), BL_EAGAIN); /* no waiter was left behind */
    BL_CHECK_ERR(t, bl_chan_try_recv(meet, &v), BL_EAGAIN);
    bl_chan_release(empty);
    bl_chan_release(full);
    bl_chan_release(meet);
}

BL_TEST(one_ready)
{
    bl_chan *empty = bl_chan_new(sizeof(int), 1), *full = bl_chan_new(sizeof(int), 1);
    int v = 6, got = 0;
    BL_CHECK_EQ(t, bl_chan_send(full, &v), 0);
    bl_case recv[] = {BL_RECV(empty, &got), BL_RECV((bl_chan *)NULL, &got), BL_RECV(full, &got)};
    recv[2].err = 77;
    BL_CHECK_EQ(t, bl_select(recv, 3), 2);
    BL_CHECK_EQ(t, recv[2].err, 0);
    BL_CHECK_EQ(t, got, 6);
    BL_CHECK_EQ(t, BL_SELECT(BL_RECV(full, &got), BL_SEND(empty, &v)), 1);
    BL_CHECK_EQ(t, bl_chan_len(empty), 1);
    {
        BL_SCOPE(s);
        bl_scope_cancel(s, 0); /* what can proceed proceeds */
        BL_CHECK_EQ(t, BL_SELECT(BL_SEND(empty, &v), BL_RECV(empty, &got)), 1);
    }
    bl_chan_release(empty);
    bl_chan_release(full);
}

BL_TEST(closed_is_ready)
{
    bl_chan *open = bl_chan_new(sizeof(int), 0), *closed = bl_chan_new(sizeof(int), 2);
    int v = 3;
    BL_CHECK_EQ(t, bl_chan_send(closed, &v), 0);
    bl_chan_close(closed);
    bl_case recv[] = {BL_RECV(open, &v), BL_RECV(closed, &v)};
    BL_CHECK_EQ(t, bl_select(recv, 2), 1);
    BL_CHECK_EQ(t, recv[1].err, 0); /* the buffered value first */
    BL_CHECK_EQ(t, v, 3);
    BL_CHECK_EQ(t, bl_select(recv, 2), 1);
    BL_CHECK_ERR(t, recv[1].err, BL_ECLOSED);
    BL_CHECK_EQ(t, v, 0);
    v = 3;
    BL_CHECK_EQ(t, bl_try_select(recv, 2), 1);
    BL_CHECK_ERR(t, recv[1].err, BL_ECLOSED);
    BL_CHECK_EQ(t, v, 0);
    bl_case send[] = {BL_SEND(open, &v), BL_SEND(closed, &v)};
    BL_CHECK_EQ(t, bl_select(send, 2), 1);
    BL_CHECK_ERR(t, send[1].err, BL_ECLOSED);
    bl_chan_release(open);
    bl_chan_release(closed);
    for (size_t cap = 0; cap < 2; cap++) { /* also where there is no room for a value */
        open = bl_chan_new(sizeof(int), 0);
        closed = bl_chan_new(sizeof(int), cap);
        BL_CHECK_EQ(t, cap > 0 ? bl_chan_send(closed, &v) : 0, 0);
        bl_chan_close(closed);
        bl_case full[] = {BL_SEND(open, &v), BL_SEND(closed, &v)};
        BL_CHECK_EQ(t, bl_select_until(full, 2, bl_in(BL_SEC)), 1);
        BL_CHECK_ERR(t, full[1].err, BL_ECLOSED);
        bl_chan_release(open);
        bl_chan_release(closed);
    }
}

BL_TEST(exactly_one_case_runs)
{
    enum { N = 8 };
    bl_chan *c[N];
    int v[N] = {0};
    bl_case cs[N];
    for (int i = 0; i < N; i++) {
        c[i] = bl_chan_new(sizeof(int), 1);
        if (i % 2)
            BL_CHECK_EQ(t, bl_chan_send(c[i], &i), 0);
        cs[i] = i % 2 ? BL_RECV(c[i], &v[i]) : BL_SEND(c[i], &v[i]);
    }
    bool done[N] = {false};
    for (int round = 1; round <= N; round++) {
        int which = bl_try_select(cs, N), changed = 0;
        BL_REQUIRE(t, which >= 0);
        BL_CHECK(t, !done[which]);
        done[which] = true;
        for (int i = 0; i < N; i++)
            changed += bl_chan_len(c[i]) != (size_t)(i % 2);
        BL_CHECK_EQ(t, changed, round);
    }
    BL_CHECK_ERR(t, bl_try_select(cs, N), BL_EAGAIN);
    for (int i = 0; i < N; i++)
        bl_chan_release(c[i]);
}

BL_TEST(the_same_channel_several_times)
{
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    int a = -1, b = -1, v = 5, seen[2] = {0};
    for (int i = 0; i < 200; i++) {
        BL_CHECK_EQ(t, bl_chan_send(c, &v), 0);
        int which = BL_SELECT(BL_RECV(c, &a), BL_RECV(c, &b), BL_SEND(c, &v));
        BL_REQUIRE(t, which == 0 || which == 1);
        seen[which != 0]++;
        BL_CHECK_EQ(t, which ? b : a, 5);
        BL_CHECK_EQ(t, BL_SELECT(BL_RECV(c, &a), BL_SEND(c, &v)), 1);
        BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    }
    BL_CHECK(t, seen[0] > 0 && seen[1] > 0);
    bl_chan_release(c);
}

BL_TEST(cases_may_be_listed)
{
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1), *d = bl_scope_chan(s, sizeof(int), 1);
    int v = 5, got = 0;
    BL_CHECK_ERR(t, BL_TRY_SELECT(BL_RECV(c, &got), BL_RECV(d, &got)), BL_EAGAIN);
    BL_CHECK_ERR(t, BL_SELECT_UNTIL(bl_in(BL_MS), BL_RECV(c, &got), BL_RECV(d, &got)),
                 BL_ETIMEDOUT);
    BL_CHECK_EQ(t, BL_SELECT_UNTIL(BL_NEVER, BL_RECV(c, &got), BL_SEND(d, &v)), 1);
    BL_CHECK_EQ(t, BL_TRY_SELECT(BL_RECV(c, &got), BL_RECV(d, &got)), 1);
    BL_CHECK_EQ(t, got, 5);
}

static int send_to(void *arg)
{
    int v = 42;
    return bl_chan_send(arg, &v);
}

BL_TEST(very_many_cases)
{
    enum { N = 3000 };
    bl_chan **c = calloc(N, sizeof(bl_chan *));
    bl_case *cs = calloc(N, sizeof(bl_case));
    int v = 0;
    for (int i = 0; i < N; i++) {
        c[i] = bl_chan_new(sizeof(int), 0);
        cs[i] = BL_RECV(c[i], &v);
    }
    for (int i = 0; i < N; i += 397) {
        BL_SCOPE(s);
        v = 0;
        if (i % 2)
            BL_CHECK_ERR(t, bl_try_select(cs, N), BL_EAGAIN);
        bl_go(s, send_to, c[i]);
        BL_CHECK_EQ(t, bl_select(cs, N), i);
        BL_CHECK_EQ(t, v, 42);
    }
    BL_CHECK_ERR(t, bl_select_until(cs, N, bl_in(BL_MS)), BL_ETIMEDOUT);
    for (int i = 0; i < N; i++) {
        BL_CHECK_ERR(t, bl_chan_try_send(c[i], &v), BL_EAGAIN);
        bl_chan_release(c[i]);
    }
    free(c);
    free(cs);
}

/* More cases than are sorted one by one, and each channel in many of them: its lock is taken once. */
BL_TEST(very_many_cases_of_few_channels)
{
    enum { N = 200, FEW = 7 };
    bl_chan *c[FEW];
    bl_case cs[N];
    int v = 0;
    for (int i = 0; i < FEW; i++)
        c[i] = bl_chan_new(sizeof(int), 0);
    for (int i = 0; i < N; i++)
        cs[i] = BL_RECV(c[i * 3 % FEW], &v);
    for (int i = 0; i < FEW; i++) {
        BL_SCOPE(s);
        v = 0;
        BL_CHECK_ERR(t, bl_try_select(cs, N), BL_EAGAIN);
        bl_go(s, send_to, c[i]);
        int chosen = bl_select_until(cs, N, bl_in(10 * BL_SEC));
        BL_REQUIRE(t, chosen >= 0);
        BL_CHECK(t, cs[chosen].chan == c[i]);
        BL_CHECK_EQ(t, v, 42);
    }
    for (int i = 0; i < FEW; i++) {
        BL_CHECK_ERR(t, bl_chan_try_send(c[i], &v), BL_EAGAIN);
        bl_chan_release(c[i]);
    }
}

/* ---- Waiting --------------------------------------------------------------------------------- */

enum { CHANS = 4 };

typedef struct sleeper {
    bl_chan *c[CHANS];
    int value;
    int which, err;
    int op; /* BL__OP_RECV, BL__OP_SEND or both */
} sleeper;

/* Waits on all of its channels: the even ones to receive, the odd ones to send. */
static int sleeper_run(void *arg)
{
    sleeper *s = arg;
    bl_case cs[CHANS];
    for (int i = 0; i < CHANS; i++)
        cs[i] = i % 2 ? BL_SEND(s->c[i], &s->value) : BL_RECV(s->c[i], &s->value);
    for (int i = 0; i < CHANS; i++)
        cs[i].err = BL_EINVAL; /* of what was there before nothing stays */
    s->which = bl_select(cs, CHANS);
    s->err = s->which >= 0 ? cs[s->which].err : 0;
    return 0;
}

static void sleeper_new_channels(sleeper *s)
{
    *s = (sleeper){.value = 7, .which = 99};
    for (int i = 0; i < CHANS; i++)
        s->c[i] = bl_chan_new(sizeof(int), i / 2 ? 1 : 0);
    BL_CHECK_EQ(t, bl_chan_send(s->c[3], &(int){30}),
                0); /* buffered, and full: a send has to wait */
}

BL_TEST(a_waiting_select_is_woken_by_each_case)
{
    for (int i = 0; i < CHANS; i++) {
        sleeper sl;
        sleeper_new_channels(&sl);
        BL_SCOPE(s);
        bl_go(s, sleeper_run, &sl);
        BL_CHECK(t, parked_wait(1));
        int v = 11;
        BL_CHECK_EQ(t, i % 2 ? bl_chan_recv(sl.c[i], &v) : bl_chan_send(sl.c[i], &v), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, sl.which, i);
        BL_CHECK_EQ(t, sl.err, 0);
        BL_CHECK_EQ(t, sl.value, i % 2 ? 7 : 11);
        BL_CHECK_EQ(t, v, i == 0 || i == 2 ? 11 : i == 1 ? 7 : 30);
        /* Its waiters are gone from the other channels. */
        for (int k = 0; k < 2; k++)
            BL_CHECK_ERR(t, k ? bl_chan_try_recv(sl.c[k], &v) : bl_chan_try_send(sl.c[k], &v),
                         BL_EAGAIN);
        BL_CHECK_EQ(t, bl_chan_len(sl.c[2]), 0);
        BL_CHECK_EQ(t, bl_chan_len(sl.c[3]), 1);
        for (int k = 0; k < CHANS; k++)
            bl_chan_release(sl.c[k]);
    }
}

BL_TEST(a_waiting_select_is_woken_by_close)
{
    for (int i = 0; i < CHANS; i++) {
        sleeper sl;
        sleeper_new_channels(&sl);
        BL_SCOPE(s);
        bl_go(s, sleeper_run, &sl);
        BL_CHECK(t, parked_wait(1));
        bl_chan_close(sl.c[i]);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, sl.which, i);
        BL_CHECK_ERR(t, sl.err, BL_ECLOSED);
        BL_CHECK_EQ(t, sl.value, i % 2 ? 7 : 0);
        for (int k = 0; k < CHANS; k++)
            bl_chan_release(sl.c[k]);
    }
}

BL_TEST(a_cancelled_select_leaves_every_queue)
{
    sleeper sl[3];
    sleeper_new_channels(&sl[0]);
    sl[2] = sl[1] = sl[0];
    BL_SCOPE(s);
    BL_SCOPE(middle);
    for (int i = 0; i < 3; i++) {
        bl_go(i == 1 ? middle : s, sleeper_run, &sl[i]);
        BL_CHECK(t, parked_wait((size_t)i + 1));
    }
    bl_scope_cancel(middle, 0);
    BL_CHECK_ERR(t, bl_scope_wait(middle), BL_ECANCELED);
    BL_CHECK_ERR(t, sl[1].which, BL_ECANCELED);
    int v = 1;
    BL_CHECK_EQ(t, bl_chan_try_send(sl[0].c[0], &v), 0); /* the first one gets it, then the third */
    BL_CHECK_EQ(t, bl_chan_try_recv(sl[0].c[1], &v), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, sl[0].which, 0);
    BL_CHECK_EQ(t, sl[2].which, 1);
    for (int k = 0; k < CHANS; k++)
        bl_chan_release(sl[0].c[k]);
}

BL_TEST(the_done_channel_of_a_context)
{
    bl_ctx *ctx = bl_ctx_with_timeout(bl_ctx_current(), 10 * BL_MS);
    bl_chan *never = bl_chan_new(sizeof(int), 0);
    bl_case cs[] = {BL_RECV(never, NULL), BL_RECV(bl_ctx_done(ctx), NULL)};
    BL_CHECK_EQ(t, bl_select(cs, 2), 1);
    BL_CHECK_ERR(t, cs[1].err, BL_ECLOSED);
    BL_CHECK_ERR(t, bl_ctx_err(ctx), BL_ETIMEDOUT);
    BL_CHECK(t, bl_ctx_done(bl_ctx_background()) == NULL);
    bl_ctx_release(ctx);
    bl_chan_release(never);
}

/* ---- One instant ----------------------------------------------------------------------------- */

typedef struct instant {
    bl_chan *one, *two;
} instant;

static int instant_look(void *arg)
{
    instant *p = arg;
    bl_case cs[] = {BL_RECV(p->one, NULL), BL_RECV(p->two, NULL)};
    return bl_try_select(cs, 2) == BL_EAGAIN ? BL_EIO : 0;
}

/* Go's TestNonblockSelectRace: one channel becomes ready before the other one ceases to be. So at
 * every instant one is, and who looks must not find none. */
static void instant_rounds(bool by_close, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        instant p = {bl_chan_new(sizeof(int), 1), bl_chan_new(sizeof(int), by_close ? 0 : 1)};
        BL_CHECK_EQ(t, bl_chan_send(p.one, &i), 0);
        BL_SCOPE(s);
        bl_go(s, instant_look, &p);
        if (i % 2)
            bl_yield();
        if (by_close)
            bl_chan_close(p.two);
        else
            BL_CHECK_EQ(t, bl_chan_send(p.two, &i), 0);
        (void)!bl_chan_try_recv(p.one, NULL);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        bl_chan_release(p.one);
        bl_chan_release(p.two);
    }
}

BL_TEST(decides_at_one_instant)
{
    instant_rounds(false, 5000);
    instant_rounds(true, 5000);
}

/* Go's TestSelfSelect: both cases of both goroutines are ready for each other, never for
 * themselves. */
enum { SELF_ROUNDS = 1000 };

typedef struct self_select {
    bl_chan *c;
    int me;
} self_select;

static int self_run(void *arg)
{
    self_select *p = arg;
    for (int i = 0; i < SELF_ROUNDS; i++) {
        int v = -1;
        bl_case cs[] = {BL_SEND(p->c, &p->me), BL_RECV(p->c, &v)};
        bool swap = i % 2;
        if (swap) {
            bl_case first = cs[0];
            cs[0] = cs[1];
            cs[1] = first;
        }
        int which = bl_select(cs, 2);
        if (which < 0)
            return which;
        if (which == !swap && bl_chan_cap(p->c) == 0)
            BL_CHECK_EQ(t, v, !p->me);
    }
    return 0;
}

BL_TEST(never_meets_itself)
{
    for (size_t cap = 0; cap <= 10; cap += 10) {
        bl_chan *c = bl_chan_new(sizeof(int), cap);
        self_select p[2] = {{c, 0}, {c, 1}};
        BL_SCOPE(s);
        bl_go(s, self_run, &p[0]);
        bl_go(s, self_run, &p[1]);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        bl_chan_release(c);
    }
    bl_chan *c = bl_chan_new(sizeof(int), 0); /* and alone it waits */
    int v = 1;
    bl_case cs[] = {BL_SEND(c, &v), BL_RECV(c, &v)};
    BL_CHECK_ERR(t, bl_try_select(cs, 2), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_select_until(cs, 2, bl_in(2 * BL_MS)), BL_ETIMEDOUT);
    bl_chan_release(c);
}

/* ---- Fairness -------------------------------------------------------------------------------- */

enum { TRIALS = 10000, TEN_SIGMA = 500 }; /* sigma of 10,000 fair coins: 50 */

BL_TEST(fair_when_all_are_ready)
{
    enum { N = 4 };
    bl_chan *c[N];
    int v = 1, count[N] = {0};
    bl_case cs[N];
    for (int i = 0; i < N; i++) {
        c[i] = bl_chan_new(sizeof(int), 1);
        BL_CHECK_EQ(t, bl_chan_send(c[i], &v), 0);
        cs[i] = BL_RECV(c[i], &v);
    }
    for (int n = 2; n <= N; n += 2) {
        memset(count, 0, sizeof count);
        for (int i = 0; i < TRIALS; i++) {
            int which = bl_select(cs, (size_t)n);
            BL_REQUIRE(t, which >= 0);
            count[which]++;
            BL_CHECK_EQ(t, bl_chan_send(c[which], &v), 0);
        }
        for (int i = 0; i < n; i++) {
            BL_CHECK_GE(t, count[i], TRIALS / n - TEN_SIGMA);
            BL_CHECK_LE(t, count[i], TRIALS / n + TEN_SIGMA);
        }
    }
    for (int i = 0; i < N; i++)
        bl_chan_release(c[i]);
}

static int feed(void *arg)
{
    uint8_t v = 0;
    int r;
    while ((r = bl_chan_send(arg, &v)) == 0) {
    }
    return r;
}

/* Go's TestSelectFairness: senders that wait, on channels listed beside ones that are never
 * ready. */
BL_TEST(fair_among_waiting_senders)
{
    BL_SCOPE(s);
    bl_chan *one = bl_scope_chan(s, 1, TRIALS + 1), *two = bl_scope_chan(s, 1, TRIALS + 1);
    bl_chan *never[2] = {bl_scope_chan(s, 1, 0), bl_scope_chan(s, 1, 0)};
    for (int i = 0; i <= TRIALS; i++) {
        BL_CHECK_EQ(t, bl_chan_send(one, NULL), 0);
        BL_CHECK_EQ(t, bl_chan_send(two, NULL), 0);
    }
    bl_go(s, feed, one);
    bl_go(s, feed, two);
    int count[4] = {0};
    for (int i = 0; i < TRIALS; i++) {
        int which = BL_SELECT(BL_RECV(never[0], NULL), BL_RECV(one, NULL), BL_RECV(two, NULL),
                              BL_RECV(never[1], NULL));
        BL_REQUIRE(t, which >= 0);
        count[which]++;
    }
    BL_CHECK_EQ(t, count[0] + count[3], 0);
    BL_CHECK_GE(t, count[1], TRIALS / 2 - TEN_SIGMA);
    BL_CHECK_LE(t, count[1], TRIALS / 2 + TEN_SIGMA);
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
}

static int values_move(void *arg)
{
    bl_chan **io = arg;
    int v, r;
    while ((r = bl_chan_recv(io[0], &v)) == 0)
        if ((r = bl_chan_send(io[1], &v)) < 0)
            return r;
    return r == BL_ECLOSED ? 0 : r;
}

/* Go's TestPseudoRandomSend: a select that can send a zero or a one sends both. */
BL_TEST(sends_at_random)
{
    enum { N = 200 };
    for (size_t cap = 0; cap <= N; cap += N) {
        BL_SCOPE(s);
        bl_chan *c = bl_scope_chan(s, sizeof(int), cap);
        int ones = 0, zero = 0, one = 1, v = 0;
        bl_chan *back = bl_scope_chan(s, sizeof(int), N);
        if (cap == 0) { /* the other side: moves values over one by one */
            bl_chan *io[2] = {c, back};
            bl_go(s, values_move, io);
            for (int i = 0; i < N; i++)
                BL_CHECK_GE(t, BL_SELECT(BL_SEND(c, &zero), BL_SEND(c, &one)), 0);
            bl_chan_close(c);
            BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        } else {
            for (int i = 0; i < N; i++)
                BL_CHECK_GE(t, BL_SELECT(BL_SEND(c, &zero), BL_SEND(c, &one)), 0);
        }
        for (int i = 0; i < N; i++) {
            BL_CHECK_EQ(t, bl_chan_recv(cap ? c : back, &v), 0);
            ones += v;
        }
        BL_CHECK(t, ones > N / 20 && ones < N - N / 20);
    }
}

/* ---- Many at once ---------------------------------------------------------------------------- */

/*
 * Go's TestSelectStress: for each of four channels a sender and a receiver of its own, and beside
 * them one goroutine that sends to all four by select and one that receives from all four. Whoever
 * has had his share of a channel replaces it by NULL.
 */
enum { SHARE = 3000 };

static int stress_send(void *arg)
{
    int r = 0;
    for (int i = 0; i < SHARE && r == 0; i++)
        r = bl_chan_send(arg, &i);
    return r;
}

static int stress_recv(void *arg)
{
    int r = 0;
    for (int i = 0, v; i < SHARE && r == 0; i++)
        r = bl_chan_recv(arg, &v);
    return r;
}

static int stress_select(bl_chan **chans, int op)
{
    bl_case cs[CHANS];
    int count[CHANS] = {0}, v[CHANS];
    for (int i = 0; i < CHANS; i++)
        cs[i] = op == BL__OP_SEND ? BL_SEND(chans[i], &count[i]) : BL_RECV(chans[i], &v[i]);
    for (int total = 0; total < CHANS * SHARE; total++) {
        int which = bl_select(cs, CHANS);
        if (which < 0)
            return which;
        if (++count[which] == SHARE)
            cs[which].chan = NULL;
    }
    return 0;
}

static int stress_select_send(void *arg) { return stress_select(arg, BL__OP_SEND); }

static int stress_select_recv(void *arg) { return stress_select(arg, BL__OP_RECV); }

BL_TEST(selects_among_plain_sends_and_receives)
{
    BL_SCOPE(s);
    bl_chan *c[CHANS];
    for (int i = 0; i < CHANS; i++) {
        c[i] = bl_scope_chan(s, sizeof(int), i < 2 ? 0 : (size_t)i);
        bl_go(s, stress_send, c[i]);
        bl_go(s, stress_recv, c[i]);
    }
    bl_go(s, stress_select_send, c);
    bl_go(s, stress_select_recv, c);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 0; i < CHANS; i++)
        BL_CHECK_EQ(t, bl_chan_len(c[i]), 0);
}

/* Plain threads select as goroutines do. */
static void *select_thread(void *arg)
{
    BL_CHECK_EQ(t, stress_select(arg, BL__OP_RECV), 0);
    return NULL;
}

BL_TEST(a_plain_thread_selects)
{
    BL_SCOPE(s);
    bl_chan *c[CHANS];
    for (int i = 0; i < CHANS; i++)
        c[i] = bl_scope_chan(s, sizeof(int), (size_t)i);
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, select_thread, c) == 0);
    for (int i = 0; i < CHANS; i++)
        bl_go(s, stress_send, c[i]);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(thread, NULL);
}

/* Go's TestSelectDuplicateChannel: two cases of one select, and another goroutine, wait on the same
 * channel; the queue must not lose the others when one of the two is taken. */
typedef struct duplicate {
    bl_chan *twice, *other;
    int got;
} duplicate;

static int duplicate_select(void *arg)
{
    duplicate *d = arg;
    return BL_SELECT(BL_RECV(d->twice, NULL), BL_RECV(d->twice, NULL), BL_RECV(d->other, NULL)) < 0
               ? BL_EIO
               : 0;
}

static int duplicate_recv(void *arg) { return bl_chan_recv(((duplicate *)arg)->twice, NULL); }

BL_TEST(the_same_channel_twice_in_a_waiting_select)
{
    for (int by_other = 0; by_other < 2; by_other++) {
        BL_SCOPE(s);
        duplicate d = {bl_scope_chan(s, 1, 0), bl_scope_chan(s, 1, 0), 0};
        bl_go(s, duplicate_recv, &d);
        BL_CHECK(t, parked_wait(1));
        bl_go(s, duplicate_select, &d);
        BL_CHECK(t, parked_wait(2));
        bl_go(s, duplicate_recv, &d);
        BL_CHECK(t, parked_wait(3));
        if (by_other)
            BL_CHECK_EQ(t, bl_chan_try_send(d.other, NULL), 0);
        for (int i = by_other; i < 3; i++)
            BL_CHECK_EQ(t, bl_chan_try_send(d.twice, NULL), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_ERR(t, bl_chan_try_send(d.twice, NULL), BL_EAGAIN);
    }
}
