/* SPDX-License-Identifier: MIT */
/*
 * select_stress.c: goroutines that send and receive by random selects over the same few channels,
 * and the books must balance.
 *
 * Each goroutine selects over a random subset of the channels, in random order, a channel perhaps
 * in both directions or twice. What a send case gave away (the select returned its index, without
 * error) must have been received exactly once, or lie in a buffer at the end. What was not given
 * away must not appear. Rounds end by cancellation, by a deadline, or by closing the channels.
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum { CHANS = 5, PLAYERS = 10, MAX_CASES = 8, MAX_VALUES = 1 << 16 };

static struct {
    bl_chan *chan[CHANS];
    uint64_t seed;
    _Atomic uint32_t next_value, next_seed;
    _Atomic uint64_t selects;
    atomic_uchar sent[MAX_VALUES], got[MAX_VALUES];
} now;

static int some_select(bl_case *cs, size_t n, uint64_t *rnd)
{
    switch (random_below(rnd, 6)) {
    case 0: return bl_try_select(cs, n);
    case 1: return bl_select_until(cs, n, bl_in(random_below(rnd, 100) * BL_US));
    default: return bl_select(cs, n);
    }
}

static size_t cases_fill(bl_case *cs, uint32_t *values, uint64_t *rnd, bool *bad)
{
    size_t n = 1 + random_below(rnd, MAX_CASES);
    for (size_t i = 0; i < n; i++) {
        /* Never nil channels alone: the end of a round may be their close. */
        bool nil = i > 0 && random_below(rnd, 16) == 0;
        bl_chan *c = nil ? NULL : now.chan[random_below(rnd, CHANS)];
        values[i] = UINT32_MAX;
        if (random_below(rnd, 2)) {
            values[i] = atomic_fetch_add(&now.next_value, 1);
            *bad |= values[i] >= MAX_VALUES;
            cs[i] = BL_SEND(c, &values[i]);
        } else {
            cs[i] = BL_RECV(c, &values[i]);
        }
    }
    return n;
}

/* Plays until its select says to stop, it meets a close, or the numbers have run out. */
static int player(void *arg)
{
    (void)arg;
    uint64_t rnd = now.seed ^ ((uint64_t)atomic_fetch_add(&now.next_seed, 1) << 32);
    for (;;) {
        bl_case cs[MAX_CASES];
        uint32_t values[MAX_CASES];
        bool out_of_numbers = false;
        size_t n = cases_fill(cs, values, &rnd, &out_of_numbers);
        if (out_of_numbers)
            return BL_ERANGE; /* ends the round */
        uint32_t before[MAX_CASES];
        memcpy(before, values, sizeof before);
        int which = some_select(cs, n, &rnd);
        atomic_fetch_add(&now.selects, 1);
        for (int i = 0; i < (int)n; i++) /* the other cases have left their variables alone */
            BL_CHECK(t, i == which || values[i] == before[i]);
        if (which == BL_EAGAIN || (which == BL_ETIMEDOUT && !bl_ctx_err(bl_ctx_current()))) {
            bl_yield();
            continue;
        }
        if (which < 0)
            return BL_CHECK(t, which == BL_ECANCELED || which == BL_ETIMEDOUT) ? 0 : BL_EIO;
        if (!BL_CHECK(t, which < (int)n) || !BL_CHECK(t, cs[which].chan != NULL))
            return BL_EIO;
        if (cs[which].err != 0) {
            BL_CHECK_ERR(t, cs[which].err, BL_ECLOSED);
            BL_CHECK(t, cs[which].op == BL__OP_SEND || values[which] == 0);
            return 0;
        }
        if (cs[which].op == BL__OP_SEND)
            atomic_fetch_add(&now.sent[values[which]], 1);
        else if (BL_CHECK(t, values[which] < MAX_VALUES))
            atomic_fetch_add(&now.got[values[which]], 1);
    }
}

/* Keeps things moving, so that a round cannot end up with everybody waiting to send. */
static int mover(void *arg)
{
    uint64_t rnd = now.seed + (uintptr_t)arg;
    for (;;) {
        uint32_t v;
        int r = bl_chan_recv_until(now.chan[random_below(&rnd, CHANS)], &v, bl_in(20 * BL_US));
        if (r == 0 && BL_CHECK(t, v < MAX_VALUES))
            atomic_fetch_add(&now.got[v], 1);
        if (r == BL_ECLOSED || (r < 0 && bl_ctx_err(bl_ctx_current())))
            return 0;
    }
}

static void *player_thread(void *arg)
{
    player(NULL);
    bl_waitgroup_done(arg);
    return NULL;
}

static void round_run(uint64_t *rnd)
{
    uint32_t how = random_below(rnd, 3);
    bl_dur lasts = (bl_dur)(1 + random_below(rnd, 20)) * BL_MS;
    BL_SCOPE(s, .timeout = how == 0 ? lasts : 0);
    for (uint32_t i = 2 + random_below(rnd, PLAYERS); i > 0; i--)
        bl_go(s, player, NULL);
    bl_go(s, mover, NULL);
    bl_go(s, mover, (void *)1);
    pthread_t thread;
    bl_waitgroup running = {0}; /* pthread_join alone would keep a processor */
    bool threaded = how == 2;
    if (threaded) {
        bl_waitgroup_add(&running, 1);
        threaded = BL_CHECK_EQ(t, pthread_create(&thread, NULL, player_thread, &running), 0);
    }
    if (how > 0)
        (void)!bl_sleep(lasts); /* cut short when the numbers run out */
    if (how == 1)
        bl_scope_cancel(s, 0);
    if (how == 2)
        for (int i = 0; i < CHANS; i++)
            bl_chan_close(now.chan[i]);
    int r = bl_scope_wait(s);
    BL_CHECK(t, r == BL_ERANGE || r == (how == 0 ? BL_ETIMEDOUT : how == 1 ? BL_ECANCELED : 0));
    if (threaded) {
        bl_ctx *ctx = bl_ctx_current();
        BL_CHECK(t, bl_waitgroup_wait(&running) == 0 || bl_ctx_err(ctx) != 0);
        pthread_join(thread, NULL);
    }
}

BL_TEST(what_is_sent_is_received)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    bl_time end = bl_in(stress_seconds() * BL_SEC);
    now.selects = 0;
    while ((bl_now() < end || now.selects < 100) && !bl_failed(t)) {
        now.seed = random_next(&rnd);
        now.next_value = 0;
        now.next_seed = 0;
        memset(now.sent, 0, sizeof now.sent);
        memset(now.got, 0, sizeof now.got);
        for (int i = 0; i < CHANS; i++)
            now.chan[i] = bl_chan_new(sizeof(uint32_t), i < 3 ? 0 : random_below(&rnd, 4));
        round_run(&rnd);
        for (int i = 0; i < CHANS; i++) {
            uint32_t v;
            while (bl_chan_try_recv(now.chan[i], &v) == 0)
                now.got[v]++;
            bl_chan_release(now.chan[i]);
        }
        int lost = 0, made_up = 0;
        for (int i = 0; i < MAX_VALUES; i++) {
            lost += now.sent[i] > now.got[i];
            made_up += now.got[i] > now.sent[i] || now.got[i] > 1;
        }
        BL_CHECK_EQ(t, lost, 0);
        BL_CHECK_EQ(t, made_up, 0);
    }
}
