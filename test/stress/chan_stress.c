/* SPDX-License-Identifier: MIT */
/*
 * chan_stress.c: random crowds on random channels, and the books must balance.
 *
 * A round makes a few channels of random capacity and element size, starts senders and receivers
 * (goroutines and now and then plain threads) that use all forms of the calls, and ends in a random
 * way: the senders finish, or somebody closes a channel or cancels the scope in the middle. Every
 * value is a number of its own. A send that returned 0 has given its value away, so:
 *
 *     values of successful sends = values received + values left in the buffers, each once
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum { MAX_CHANS = 4, MAX_SIDE = 12, MAX_VALUES = 1 << 14, MAX_ELEM = 300 };

enum { END_WHEN_SENT, END_BY_CLOSE, END_BY_CANCEL, END_BY_TIMEOUT, ENDS };

typedef struct round_state {
    bl_chan *chan[MAX_CHANS];
    size_t elem[MAX_CHANS];
    uint32_t chans;
    int end;
    uint32_t per_sender;
    _Atomic uint32_t next_value;
    _Atomic uint32_t next_seed;
    uint64_t seed;
    atomic_uchar sent[MAX_VALUES], got[MAX_VALUES];
} round_state;

static round_state now;

static uint64_t seed_of_mine(void)
{
    return now.seed ^ ((uint64_t)atomic_fetch_add(&now.next_seed, 1) << 32);
}

/* An element begins with the value; the rest is made from it. */
static void element_fill(unsigned char *e, size_t size, uint32_t value)
{
    memcpy(e, &value, sizeof value);
    for (size_t i = sizeof value; i < size; i++)
        e[i] = (unsigned char)(value * 31 + i);
}

static void element_count(const unsigned char *e, size_t size)
{
    uint32_t value;
    memcpy(&value, e, sizeof value);
    if (!BL_CHECK(t, value < MAX_VALUES))
        return;
    atomic_fetch_add(&now.got[value], 1);
    for (size_t i = sizeof value; i < size; i++)
        if (e[i] != (unsigned char)(value * 31 + i)) {
            BL_CHECK_EQ(t, e[i], (unsigned char)(value * 31 + i));
            return;
        }
}

static int send_some_way(bl_chan *c, void *v, uint64_t *rnd)
{
    switch (random_below(rnd, 8)) {
    case 0: return bl_chan_try_send(c, v);
    case 1: return bl_chan_send_until(c, v, bl_in(random_below(rnd, 100) * BL_US));
    case 2: bl_yield(); __attribute__((fallthrough));
    default: return bl_chan_send(c, v);
    }
}

static int recv_some_way(bl_chan *c, void *v, uint64_t *rnd)
{
    switch (random_below(rnd, 8)) {
    case 0: return bl_chan_try_recv(c, v);
    case 1: return bl_chan_recv_until(c, v, bl_in(random_below(rnd, 100) * BL_US));
    case 2: bl_yield(); __attribute__((fallthrough));
    default: return bl_chan_recv(c, v);
    }
}

/* A time-out of the call is a reason to go on, one of the scope to stop. */
static bool go_on(int r)
{
    if (r == BL_EAGAIN) {
        bl_yield();
        return true;
    }
    return r == BL_ETIMEDOUT && bl_ctx_err(bl_ctx_current()) == 0;
}

static int sender(void *arg)
{
    (void)arg;
    uint64_t rnd = seed_of_mine();
    uint32_t first = atomic_fetch_add(&now.next_value, now.per_sender);
    uint32_t which = random_below(&rnd, now.chans);
    unsigned char e[MAX_ELEM];
    for (uint32_t value = first; value < first + now.per_sender; value++) {
        element_fill(e, now.elem[which], value);
        int r;
        do
            r = send_some_way(now.chan[which], e, &rnd);
        while (go_on(r));
        if (r < 0) {
            BL_CHECK(t, r == BL_ECLOSED || r == BL_ECANCELED || r == BL_ETIMEDOUT);
            BL_CHECK(t, r != BL_ECLOSED || now.end == END_BY_CLOSE);
            return 0;
        }
        atomic_fetch_add(&now.sent[value], 1);
    }
    return 0;
}

static int receiver(void *arg)
{
    uint32_t which = (uint32_t)(uintptr_t)arg;
    uint64_t rnd = seed_of_mine();
    unsigned char e[MAX_ELEM];
    for (;;) {
        int r = recv_some_way(now.chan[which], e, &rnd);
        if (r == 0)
            element_count(e, now.elem[which]);
        else if (!go_on(r))
            return BL_CHECK(t, r == BL_ECLOSED || r == BL_ECANCELED || r == BL_ETIMEDOUT) ? 0
                                                                                          : BL_EIO;
    }
}

static void *sender_thread(void *arg)
{
    sender(NULL);
    bl_waitgroup_done(arg);
    return NULL;
}

static void round_prepare(uint64_t *rnd)
{
    memset(now.sent, 0, sizeof now.sent);
    memset(now.got, 0, sizeof now.got);
    now.next_value = 0;
    now.next_seed = 0;
    now.seed = random_next(rnd);
    now.chans = 1 + random_below(rnd, MAX_CHANS);
    now.end = (int)random_below(rnd, ENDS);
    now.per_sender = 1 + random_below(rnd, MAX_VALUES / MAX_SIDE - 1);
    for (uint32_t i = 0; i < now.chans; i++) {
        now.elem[i] =
            sizeof(uint32_t) + random_below(rnd, random_below(rnd, 4) ? 13 : MAX_ELEM - 4);
        now.chan[i] = bl_chan_new(now.elem[i], random_below(rnd, 2) ? random_below(rnd, 9) : 0);
    }
}

/* Senders, which must not be plain threads where only a cancellation would end them. */
static void round_run(uint64_t *rnd)
{
    BL_SCOPE(all, .timeout = now.end == END_BY_TIMEOUT
                                 ? (bl_dur)(1 + random_below(rnd, 3000)) * BL_US
                                 : 0);
    BL_SCOPE(recv);
    BL_SCOPE(send);
    uint32_t senders = 1 + random_below(rnd, MAX_SIDE);
    bool threads = now.end <= END_BY_CLOSE && random_below(rnd, 4) == 0;
    pthread_t thread[MAX_SIDE];
    bl_waitgroup running = {0}; /* pthread_join alone would keep a processor */
    uint32_t started = 0;
    for (uint32_t i = 0; i < now.chans; i++)
        for (uint32_t n = 1 + random_below(rnd, 4); n > 0; n--)
            bl_go(recv, receiver, (void *)(uintptr_t)i);
    for (uint32_t i = 0; i < senders; i++) {
        if (!threads || i % 2) {
            bl_go(send, sender, NULL);
            continue;
        }
        bl_waitgroup_add(&running, 1);
        if (BL_CHECK_EQ(t, pthread_create(&thread[started], NULL, sender_thread, &running), 0))
            started++;
    }
    if (now.end == END_BY_CANCEL || now.end == END_BY_CLOSE)
        for (uint32_t n = random_below(rnd, 200); n > 0; n--)
            bl_yield();
    if (now.end == END_BY_CANCEL)
        bl_scope_cancel(all, 0);
    if (now.end == END_BY_CLOSE)
        for (uint32_t i = 0; i < now.chans; i++)
            bl_chan_close(now.chan[i]);
    int r = bl_scope_wait(send);
    BL_CHECK(t, r == 0 || now.end >= END_BY_CANCEL);
    BL_CHECK_EQ(t, bl_waitgroup_wait(&running), 0);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    if (now.end != END_BY_CLOSE)
        for (uint32_t i = 0; i < now.chans; i++)
            bl_chan_close(now.chan[i]);
    r = bl_scope_wait(recv);
    BL_CHECK(t, r == 0 || now.end >= END_BY_CANCEL);
}

static void round_check(void)
{
    for (uint32_t i = 0; i < now.chans; i++) {
        unsigned char e[MAX_ELEM];
        while (bl_chan_try_recv(now.chan[i], (void *)e) == 0)
            element_count(e, now.elem[i]);
        bl_chan_release(now.chan[i]);
    }
    uint32_t values = now.next_value, wrong = 0, first = 0;
    for (uint32_t v = values; v-- > 0;)
        if (now.sent[v] != now.got[v] || now.got[v] > 1)
            wrong++, first = v;
    if (!BL_CHECK_EQ(t, wrong, 0))
        fprintf(stderr, "first wrong value %u of %u: sent %d, got %d; end %d, seed %#llx\n", first,
                values, now.sent[first], now.got[first], now.end, (unsigned long long)now.seed);
}

BL_TEST(every_value_once)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    bl_time end = bl_in(stress_seconds() * BL_SEC);
    do {
        round_prepare(&rnd);
        round_run(&rnd);
        round_check();
    } while (bl_now() < end && !bl_failed(t));
}
