/* SPDX-License-Identifier: MIT */
/*
 * outside_stress.c: plain threads that call in all the time, while short runs come and go: one has
 * hardly begun when the next thread sends, one ends in the middle of a wake-up.
 *
 * Invariants: what was sent has been received or is in the buffer, what was released has been
 * acquired or is free, whether or not somebody stopped waiting at that moment; a mutex excludes; a
 * goroutine is told of a cancellation only in the scope that was cancelled.
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum { THREADS = 4, MEMBERS = 6, QUITTERS = 3 };

static struct {
    bl_chan *chan;
    bl_sem sem;
    bl_mutex mutex;
    int64_t locked, unlocked; /* by who holds the mutex */
    _Atomic int64_t sent, received, released, acquired;
    atomic_bool stop;
} now;

static bl_time soon(uint64_t *rnd) { return bl_in((bl_dur)random_below(rnd, 200) * BL_US); }

/* One call of some kind: 0, or why it was stopped. */
static int call_in(uint64_t *rnd)
{
    int v = 1, r = 0;
    switch (random_below(rnd, 5)) {
    case 0:
        if ((r = bl_chan_send_until(now.chan, &v, soon(rnd))) == 0)
            atomic_fetch_add(&now.sent, 1);
        return r;
    case 1:
        if ((r = bl_chan_recv_until(now.chan, &v, soon(rnd))) == 0)
            atomic_fetch_add(&now.received, 1);
        return r;
    case 2:
        if ((r = bl_sem_acquire_until(&now.sem, 1, soon(rnd))) == 0)
            atomic_fetch_add(&now.acquired, 1);
        return r;
    case 3:
        if ((r = bl_mutex_lock_until(&now.mutex, soon(rnd))) != 0)
            return r;
        BL_CHECK_EQ(t, now.locked++, now.unlocked);
        if (random_below(rnd, 4) == 0)
            bl_yield();
        now.unlocked++;
        bl_mutex_unlock(&now.mutex);
        return 0;
    default:
        atomic_fetch_add(&now.released, 1);
        bl_sem_release(&now.sem, 1);
        return 0;
    }
}

static void *thread_main(void *arg)
{
    uint64_t rnd = random_seed((uint64_t)(uintptr_t)arg);
    bl_timer timer = {0};
    while (!atomic_load(&now.stop)) {
        int r = call_in(&rnd);
        BL_CHECK(t, r == 0 || r == BL_ETIMEDOUT);
        if (random_below(&rnd, 4) == 0) {
            bl_timer_start(&timer, (bl_dur)random_below(&rnd, 100) * BL_US);
            if (random_below(&rnd, 2))
                BL_CHECK_EQ(t, bl_sleep((bl_dur)random_below(&rnd, 150) * BL_US), 0);
            (void)bl_timer_stop(&timer);
        }
    }
    return NULL;
}

/* Of a scope that nobody cancels. */
static int stays(void *arg)
{
    uint64_t rnd = random_seed(*(uint64_t *)arg + bl_id());
    for (int i = 0; i < 20; i++) {
        int r = call_in(&rnd);
        BL_CHECK(t, r == 0 || r == BL_ETIMEDOUT);
    }
    return 0;
}

/* Has waited where it can be told, and ends when it is, or a moment before. */
static int quits(void *arg)
{
    uint64_t rnd = random_seed(*(uint64_t *)arg + bl_id());
    while (bl_ctx_err(bl_ctx_current()) == 0 && random_below(&rnd, 16) != 0)
        (void)call_in(&rnd);
    return 0;
}

static int a_run(void *arg)
{
    uint64_t rnd = *(uint64_t *)arg;
    BL_SCOPE(all);
    for (int i = 0; i < MEMBERS; i++) {
        bl_go(all, stays, arg);
        BL_SCOPE(some);
        for (int k = 0; k < QUITTERS; k++)
            bl_go(some, quits, arg);
        bl_yield();
        if (random_below(&rnd, 2))
            bl_go(all, stays, arg);
        bl_scope_cancel(some, 0);
    }
    return bl_scope_wait(all);
}

static void begin(void)
{
    now.stop = false;
    now.sent = now.received = now.released = now.acquired = 0;
    now.chan = bl_chan_new(sizeof(int), 2);
}

static void end(void)
{
    BL_CHECK_EQ(t, now.sent, now.received + (int64_t)bl_chan_len(now.chan));
    while (bl_sem_try_acquire(&now.sem, 1))
        now.acquired++;
    BL_CHECK_EQ(t, now.released, now.acquired);
    BL_CHECK_EQ(t, now.locked, now.unlocked);
    bl_chan_release(now.chan);
}

BL_TEST_PLAIN(runs_among_threads)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    bl_time until = bl_in(stress_seconds() * BL_SEC);
    pthread_t threads[THREADS];
    begin();
    for (uintptr_t i = 0; i < THREADS; i++)
        BL_REQUIRE(t, pthread_create(&threads[i], NULL, thread_main, (void *)(i + 1)) == 0);
    do {
        uint64_t seed = random_next(&rnd);
        BL_CHECK_EQ(t, bl_run(a_run, &seed, NULL), 0);
    } while (bl_now() < until && !bl_failed(t));
    atomic_store(&now.stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    end();
}

static int threads_come(void *arg)
{
    uint64_t rnd = *(uint64_t *)arg;
    pthread_t threads[THREADS];
    BL_SCOPE(s);
    for (int i = 0; i < MEMBERS; i++)
        bl_go(s, stays, arg);
    int r = bl_sleep((bl_dur)random_below(&rnd, 300) * BL_US);
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, thread_main, (void *)(i + 1)) != 0)
            abort();
    r += a_run(arg) + bl_scope_wait(s);
    atomic_store(&now.stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return r;
}

/* A run with one processor begins without locks: the first call from outside ends that. */
BL_TEST_PLAIN(threads_come_to_a_run)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    bl_time until = bl_in(stress_seconds() * BL_SEC / 2);
    do {
        uint64_t seed = random_next(&rnd);
        begin();
        BL_CHECK_EQ(t, bl_run(threads_come, &seed, NULL), 0);
        end();
    } while (bl_now() < until && !bl_failed(t));
}
