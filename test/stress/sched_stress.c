/* SPDX-License-Identifier: MIT */
/*
 * sched_stress.c: random trees of goroutines that yield, compute, sleep, block, start others, open
 * scopes, cancel and fail, while the number of processors changes.
 *
 * Invariants: what bl_go accepted has run and ended when its scope is joined; a scope's goroutines
 * never outlive it; no sleep is early; ids are never given twice; at the end nobody is left.
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

static struct {
    uint64_t seed;
    _Atomic uint64_t next_seed, started, ended, refused, last_id;
    _Atomic int64_t budget; /* goroutines that may still be started in this round */
} now;

/* What lives in an opener's frame; its goroutines must find it alive until they end. */
typedef struct family {
    uint64_t alive;
    atomic_int members;
    int depth;
    bool limited; /* then members start no brothers: all would wait for room that they take up */
    bl_scope *scope;
} family;

enum { ALIVE = 0x5ca1ab1e };

static int member(void *arg);

static void member_start(family *f)
{
    if (atomic_fetch_sub(&now.budget, 1) <= 0)
        return;
    atomic_fetch_add(&f->members, 1);
    atomic_fetch_add(&now.started, 1);
    int r = bl_go(f->scope, member, f);
    if (r < 0) {
        BL_CHECK(t, r == BL_ECANCELED || r == BL_ETIMEDOUT);
        atomic_fetch_sub(&f->members, 1);
        atomic_fetch_sub(&now.started, 1);
        atomic_fetch_add(&now.refused, 1);
    }
}

static int family_raise(int depth, uint64_t *rnd)
{
    family f = {.alive = ALIVE, .depth = depth};
    int r;
    {
        bl_scope_opts opts = {
            .timeout = random_below(rnd, 4) ? 0 : (bl_dur)(1 + random_below(rnd, 2000)) * BL_US,
            .limit = random_below(rnd, 4) ? 0 : 1 + (int)random_below(rnd, 3),
            .keep_going = random_below(rnd, 2),
            .shield = random_below(rnd, 8) == 0,
        };
        bl_scope s;
        if (bl_scope_open(&s, &opts) < 0)
            return BL_ENOMEM;
        f.scope = &s;
        f.limited = opts.limit > 0;
        for (uint32_t n = random_below(rnd, 6); n > 0; n--)
            member_start(&f);
        if (random_below(rnd, 8) == 0)
            bl_scope_cancel(&s, BL_EPIPE);
        r = random_below(rnd, 2) ? bl_scope_wait(&s) : 0;
        int closed = bl_scope_close(&s);
        r = r ? r : closed;
    }
    BL_CHECK_EQ(t, f.members, 0); /* all have ended */
    f.alive = 0;
    return r;
}

static int sleep_a_little(uint64_t *rnd)
{
    bl_dur d = (bl_dur)random_below(rnd, 300) * BL_US;
    bl_time start = bl_now();
    int r = bl_sleep(d);
    BL_CHECK(t, r < 0 || bl_now() - start >= d);
    return r;
}

static int block_a_little(uint64_t *rnd)
{
    switch (random_below(rnd, 20)) {
    case 0:
        usleep(random_below(rnd, 1000)); /* in the kernel, unannounced */
        return 0;
    case 1:
        for (volatile uint32_t i = random_below(rnd, 1000000); i > 0; i--) {
        }
        return 0;
    default: return bl_chan_recv_until(NULL, NULL, bl_in(random_below(rnd, 200) * BL_US));
    }
}

static int member(void *arg)
{
    family *f = arg;
    uint64_t rnd = now.seed ^ (atomic_fetch_add(&now.next_seed, 1) << 20);
    volatile uint64_t guard[32];
    for (int i = 0; i < 32; i++)
        guard[i] = rnd + (uint64_t)i;
    uint64_t first = rnd, id = bl_id();
    int r = 0;
    for (uint32_t n = random_below(&rnd, 8); n > 0 && r == 0; n--) {
        BL_CHECK_EQ(t, f->alive, ALIVE);
        BL_CHECK_EQ(t, bl_id(), id);
        switch (random_below(&rnd, 8)) {
        case 0: r = sleep_a_little(&rnd); break;
        case 1: (void)!block_a_little(&rnd); break;
        case 2:
            if (!f->limited)
                member_start(f); /* a brother */
            break;
        case 3:
            if (f->depth > 0)
                family_raise(f->depth - 1, &rnd);
            break;
        default: bl_yield();
        }
    }
    for (int i = 0; i < 32; i++)
        BL_CHECK(t, guard[i] == first + (uint64_t)i);
    bool fail = random_below(&rnd, 32) == 0;
    atomic_fetch_add(&now.ended, 1);
    atomic_fetch_sub(&f->members, 1); /* the last touch of the opener's frame */
    return fail ? BL_EIO : r;
}

BL_TEST(trees)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    bl_time end = bl_in(stress_seconds() * BL_SEC);
    int procs = bl_procs();
    size_t others = bl_goroutines();
    do {
        now.seed = random_next(&rnd);
        now.started = now.ended = now.refused = 0;
        now.budget = 3000;
        if (random_below(&rnd, 4) == 0)
            bl_set_procs(1 + (int)random_below(&rnd, 8));
        for (int i = 0; i < 4; i++)
            family_raise(4, &rnd);
        BL_CHECK_EQ(t, now.started, now.ended);
        BL_CHECK_EQ(t, bl_goroutines(), others);
    } while (bl_now() < end && !bl_failed(t));
    bl_set_procs(procs);
}

static int short_run(void *arg)
{
    uint64_t rnd = random_next(arg);
    now.budget = 50;
    return family_raise(2, &rnd);
}

BL_TEST_PLAIN(runs_one_after_another)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    bl_time end = bl_in(stress_seconds() * BL_SEC / 4);
    do {
        now.seed = random_next(&rnd);
        now.started = now.ended = 0;
        (void)!bl_run(short_run, &rnd, NULL);
        BL_CHECK_EQ(t, now.started, now.ended);
        BL_CHECK_EQ(t, bl_goroutines(), 0);
    } while (bl_now() < end && !bl_failed(t));
}
