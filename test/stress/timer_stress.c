/* SPDX-License-Identifier: MIT */
/*
 * timer_stress.c: a scope closes while its timers come due and somebody else stops and frees them.
 *
 * Invariants: a timer's storage is its owner's again when bl_timer_stop has returned
 * (AddressSanitizer tells who looks at it later, ThreadSanitizer who might); each is stopped, or
 * its function runs before the scope is closed, or neither, if the close was quicker; never both.
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum { TIMERS = 8, PAIRS = 4 };

typedef struct round_state {
    bl_timer *timers[TIMERS];
    atomic_int ran[TIMERS];
    bool stopped[TIMERS]; /* by the stopper */
    atomic_bool closed;
} round_state;

static int runs(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int stopper(void *arg)
{
    round_state *round = arg;
    for (int i = 0; i < TIMERS; i++) {
        round->stopped[i] = bl_timer_stop(round->timers[i]);
        free(round->timers[i]);
        if (i % 2)
            bl_yield();
    }
    return 0;
}

static void one_round(uint64_t *rnd)
{
    round_state round = {0};
    BL_SCOPE(outer);
    {
        BL_SCOPE(s);
        for (int i = 0; i < TIMERS; i++) {
            round.timers[i] = calloc(1, sizeof *round.timers[i]);
            bl_dur due = (bl_dur)random_below(rnd, 40) * BL_US;
            BL_CHECK_EQ(t, bl_after_func(round.timers[i], s, due, runs, &round.ran[i]), 0);
        }
        BL_CHECK_EQ(t, bl_go(outer, stopper, &round), 0);
        for (uint64_t n = random_below(rnd, 20); n > 0; n--)
            bl_yield();
    }
    int ran[TIMERS];
    for (int i = 0; i < TIMERS; i++)
        ran[i] = atomic_load(&round.ran[i]);
    BL_CHECK_EQ(t, bl_scope_wait(outer), 0);
    for (int i = 0; i < TIMERS; i++) {
        BL_CHECK_LE(t, ran[i] + round.stopped[i], 1);
        BL_CHECK_EQ(t, ran[i], atomic_load(&round.ran[i])); /* none ran after the close */
    }
}

static int pair(void *arg)
{
    uint64_t rnd = random_seed(*(uint64_t *)arg + bl_id());
    bl_time end = bl_in((bl_dur)stress_seconds() * BL_SEC);
    do
        one_round(&rnd);
    while (bl_now() < end);
    return 0;
}

BL_TEST(stopped_while_the_scope_closes)
{
    uint64_t seed = (uint64_t)bl_now();
    BL_SCOPE(s);
    for (int i = 0; i < PAIRS; i++)
        BL_CHECK_EQ(t, bl_go(s, pair, &seed), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}
