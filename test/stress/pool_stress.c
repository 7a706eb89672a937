/* SPDX-License-Identifier: MIT */
/*
 * pool_stress.c: pools that are drained, stopped, cancelled or closed at random moments, while
 * goroutines and plain threads submit, and jobs compute, sleep, yield, fail and submit more.
 *
 * Invariants: a job runs once or is discarded once if its submit returned 0, and never otherwise:
 * run + discarded = accepted, accepted + refused = attempts; no more run at one time than there are
 * workers; after drain or stop nothing runs.
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum { JOBS_MOST = 4000, SUBMITTERS_MOST = 6 };

typedef struct round {
    bl_pool *p;
    int workers;
    uint64_t seed;
    bool over; /* drain or stop has returned */
    atomic_bool outside_ended;
    atomic_int next, accepted, refused, ran, discarded, running;
    atomic_uchar fate[JOBS_MOST]; /* of each job: how often it was run or discarded */
} round;

static round now; /* one at a time; on_discard has no other way to it */

static int job_run(void *arg);

/* With kinds 1 it does not wait. */
static int submit(uint64_t *rnd, uint32_t kinds)
{
    int number = atomic_fetch_add(&now.next, 1);
    if (number >= JOBS_MOST)
        return BL_ECLOSED;
    void *arg = (void *)(intptr_t)(number + 1);
    int r;
    switch (random_below(rnd, kinds)) {
    case 0: r = bl_pool_try_submit(now.p, job_run, arg); break;
    case 1:
        r = bl_pool_submit_until(now.p, job_run, arg, bl_in(random_below(rnd, 100) * BL_US));
        break;
    default: r = bl_pool_submit(now.p, job_run, arg);
    }
    if (r == 0) {
        atomic_fetch_add(&now.accepted, 1);
        return 0;
    }
    BL_CHECK(t, r == BL_EAGAIN || r == BL_ECLOSED || r == BL_ECANCELED || r == BL_ETIMEDOUT);
    atomic_fetch_add(&now.refused, 1);
    atomic_fetch_add(&now.fate[number], 100);
    return r;
}

static int job_run(void *arg)
{
    int number = (int)(intptr_t)arg - 1;
    uint64_t rnd = now.seed + (uint64_t)number;
    BL_CHECK_LE(t, atomic_fetch_add(&now.running, 1), now.workers - 1);
    BL_CHECK(t, !now.over);
    atomic_fetch_add(&now.fate[number], 1);
    atomic_fetch_add(&now.ran, 1);
    int r = 0;
    switch (random_below(&rnd, 16)) {
    case 0: r = bl_sleep((bl_dur)random_below(&rnd, 200) * BL_US); break;
    case 1: bl_yield(); break;
    case 2: usleep(random_below(&rnd, 50)); break;
    case 3: r = BL_EIO; break;
    case 4: (void)!submit(&rnd, 1); break; /* one that waits may wait for itself */
    default: break;
    }
    atomic_fetch_sub(&now.running, 1);
    return r;
}

static void job_discarded(bl_fn fn, void *arg)
{
    BL_CHECK(t, fn == job_run);
    atomic_fetch_add(&now.fate[(intptr_t)arg - 1], 1);
    atomic_fetch_add(&now.discarded, 1);
}

static int submitter(void *arg)
{
    uint64_t rnd = (uint64_t)(uintptr_t)arg;
    for (uint32_t n = random_below(&rnd, JOBS_MOST / SUBMITTERS_MOST); n > 0; n--) {
        (void)!submit(&rnd, 4);
        if (random_below(&rnd, 64) == 0)
            bl_yield();
    }
    return 0;
}

static void *submitter_outside(void *arg)
{
    submitter(arg);
    now.outside_ended = true;
    return NULL;
}

/* In a random way, at a random moment. */
static void finish(bl_scope *s, uint64_t *rnd)
{
    if (random_below(rnd, 2))
        (void)!bl_sleep((bl_dur)random_below(rnd, 1000) * BL_US);
    switch (random_below(rnd, 4)) {
    case 0: BL_CHECK_EQ(t, bl_pool_drain(now.p), 0); break;
    case 1: bl_scope_cancel(s, 0); return;
    case 2: return;
    default: {
        int before = now.discarded;
        int dropped = bl_pool_stop(now.p, (bl_dur)random_below(rnd, 300) * BL_US);
        BL_CHECK_GE(t, dropped, 0);
        BL_CHECK_GE(t, now.discarded - before, dropped);
    }
    }
    now.over = true;
    bl_pool_stat st;
    bl_pool_stats(now.p, &st);
    BL_CHECK_EQ(t, st.running + st.queued, 0);
    BL_CHECK_EQ(t, st.submitted, st.done + st.discarded);
}

static void round_run(uint64_t *rnd)
{
    memset(&now, 0, sizeof now);
    now.seed = random_next(rnd);
    now.workers = 1 + (int)random_below(rnd, 6);
    pthread_t thread;
    bool outside = false;
    bl_scope submitters;
    BL_CHECK_EQ(t, bl_scope_open(&submitters, NULL), 0);
    bl_scope s;
    BL_CHECK_EQ(t, bl_scope_open(&s, &(bl_scope_opts){.ctx = bl_ctx_background()}), 0);
    now.p = bl_pool_new(&s, &(bl_pool_opts){.workers = now.workers,
                                            .queue = 1 + random_below(rnd, 40),
                                            .on_discard = job_discarded});
    BL_REQUIRE(t, now.p != NULL);
    if (random_below(rnd, 4) == 0)
        outside = pthread_create(&thread, NULL, submitter_outside,
                                 (void *)(uintptr_t)(random_next(rnd) | 1)) == 0;
    for (uint32_t n = 1 + random_below(rnd, SUBMITTERS_MOST - 1); n > 0; n--)
        bl_go(random_below(rnd, 2) ? &s : &submitters, submitter,
              (void *)(uintptr_t)(random_next(rnd) | 1));
    finish(&s, rnd);
    (void)bl_scope_wait(&s);
    (void)bl_scope_wait(&submitters); /* they use the pool, so it stays until they are gone */
    if (outside) {
        while (!now.outside_ended) /* it may wait for jobs that need this processor */
            bl_yield();
        pthread_join(thread, NULL);
    }
    if (now.over) {
        bl_pool_stat st;
        bl_pool_stats(now.p, &st);
        BL_CHECK_EQ(t, st.submitted, now.accepted);
    }
    bl_scope_close(&s);
    bl_scope_close(&submitters);
    BL_CHECK_EQ(t, now.ran + now.discarded, now.accepted);
    BL_CHECK_EQ(t, now.running, 0);
    int numbers = now.next < JOBS_MOST ? now.next : JOBS_MOST;
    BL_CHECK_EQ(t, now.accepted + now.refused, numbers);
    for (int i = 0; i < numbers; i++)
        BL_CHECK(t, now.fate[i] == 1 || now.fate[i] == 100);
}

BL_TEST(every_job_is_accounted_for)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    bl_time end = bl_in(stress_seconds() * BL_SEC);
    do
        round_run(&rnd);
    while (bl_now() < end && !bl_failed(t));
}
