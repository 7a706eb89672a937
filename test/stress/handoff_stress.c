/* SPDX-License-Identifier: MIT */
/*
 * handoff_stress.c: goroutines that at random block in the kernel, compute, and call into the
 * runtime: their processor is taken from them in one step and they come back in the next.
 *
 * Invariants: a goroutine runs on one thread at a time, each of its steps is made once and in
 * order, and its locals are what they were; a channel's values arrive once; a mutex excludes; what
 * was started ends, and is counted; nothing hangs: a goroutine that makes no step for a while ends
 * the test with a dump of all.
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum {
    WORKERS = 12,
    STEPS = 60, /* of a worker in a round */
    CHILDREN = 4,
    SPIN_MOST = 30,   /* ms */
    HANG = 20,        /* seconds without a step */
    FEED_PAUSE = 2000 /* us between two bytes of the feeder, at most */
};

static struct {
    uint64_t seed;
    bl_chan *chan;
    bl_mutex mutex;
    int64_t locked; /* by who holds mutex */
    pthread_mutex_t plain;
    int64_t plain_locked; /* by who holds plain */
    int feed[2];          /* a pipe: a plain thread writes, goroutines read */
    atomic_bool stop;     /* feeder and holder are to end */
    atomic_bool over;     /* the test has ended: so does the watcher */
    _Atomic int64_t sent, received, sent_sum, received_sum, steps, mutexed, plain_mutexed;
    _Atomic int64_t started, ended, blocking;
} now;

typedef struct worker {
    int number;
    uint64_t rnd;
    atomic_int running; /* threads that run it: 1 or 0 */
    int step;           /* its own: how many it has made */
} worker;

/* ---- Steps ----------------------------------------------------------------------------------- */

static void spin_for(bl_dur d)
{
    for (bl_time end = bl_now() + d; bl_now() < end;) {
        for (volatile int i = 0; i < 1000; i++) {
        }
    }
}

static void read_fed(void)
{
    char c = 0;
    BL_CHECK_EQ(t, read(now.feed[0], &c, 1), 1);
    BL_CHECK_EQ(t, c, 'x');
}

static void poll_fed(uint64_t *rnd)
{
    struct pollfd fd = {.fd = now.feed[0], .events = POLLIN};
    BL_CHECK_GE(t, poll(&fd, 1, (int)random_below(rnd, 4)), 0);
}

static void lock_plain(void)
{
    pthread_mutex_lock(&now.plain);
    int64_t before = now.plain_locked++;
    now.plain_mutexed++;
    BL_CHECK_EQ(t, now.plain_locked, before + 1);
    pthread_mutex_unlock(&now.plain);
}

static void block(uint64_t *rnd)
{
    switch (random_below(rnd, 6)) {
    case 0: read_fed(); break;
    case 1: poll_fed(rnd); break;
    case 2:
    case 3: lock_plain(); break;
    default: usleep(random_below(rnd, 1500)); break;
    }
}

static void use_channel(uint64_t *rnd)
{
    int64_t v = 1 + random_below(rnd, 1000);
    bl_time until = bl_in((bl_dur)random_below(rnd, 3000) * BL_US);
    bool sends = random_below(rnd, 2);
    int r;
    if (random_below(rnd, 2)) {
        r = sends ? bl_chan_send_until(now.chan, &v, until)
                  : bl_chan_recv_until(now.chan, &v, until);
    } else {
        bl_case cases[] = {sends ? BL_SEND(now.chan, &v) : BL_RECV(now.chan, &v),
                           BL_RECV(NULL, NULL)};
        r = bl_select_until(cases, 2, until);
    }
    BL_CHECK(t, r == 0 || r == BL_ETIMEDOUT);
    if (r != 0)
        return;
    now.sent += sends;
    now.sent_sum += sends ? v : 0;
    now.received += !sends;
    now.received_sum += sends ? 0 : v;
}

static void lock_mutex(uint64_t *rnd)
{
    bl_mutex_lock(&now.mutex);
    int64_t before = now.locked++;
    now.mutexed++;
    switch (random_below(rnd, 8)) { /* with it held */
    case 0: bl_yield(); break;
    case 1: usleep(random_below(rnd, 200)); break;
    case 2: spin_for((bl_dur)random_below(rnd, 100) * BL_US); break;
    default: break;
    }
    BL_CHECK_EQ(t, now.locked, before + 1);
    bl_mutex_unlock(&now.mutex);
}

typedef struct family {
    atomic_int ended;
    uint64_t seed;
} family;

static int child(void *arg)
{
    family *f = arg;
    uint64_t rnd = f->seed + bl_id();
    if (random_below(&rnd, 4) == 0)
        usleep(random_below(&rnd, 300));
    if (random_below(&rnd, 2))
        bl_yield();
    now.ended++;
    f->ended++;
    return 0;
}

static void raise_family(uint64_t *rnd)
{
    family f = {.seed = random_next(rnd)};
    int n = 1 + (int)random_below(rnd, CHILDREN);
    BL_SCOPE(s);
    for (int i = 0; i < n; i++)
        BL_CHECK_EQ(t, bl_go(s, child, &f), 0);
    now.started += n;
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, f.ended, n);
}

static int in_helper(void *arg)
{
    uint64_t *rnd = arg;
    now.blocking++;
    block(rnd);
    return (int)random_below(rnd, 1000);
}

static void call_blocking(uint64_t *rnd)
{
    uint64_t there = *rnd;
    int64_t n = now.blocking;
    int r = bl_blocking(in_helper, rnd);
    BL_CHECK(t, r >= 0 && r < 1000);
    BL_CHECK(t, *rnd != there);
    BL_CHECK_GE(t, now.blocking, n + 1);
}

static void use_timers(uint64_t *rnd)
{
    bl_timer timer = {0};
    bl_time due = 0;
    bl_dur d = (bl_dur)random_below(rnd, 2000) * BL_US;
    bl_time begin = bl_now();
    if (random_below(rnd, 2)) {
        BL_CHECK_EQ(t, bl_sleep(d), 0);
    } else {
        BL_CHECK_EQ(t, bl_timer_start(&timer, d), 0);
        BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&timer), &due), 0);
    }
    BL_CHECK_GE(t, bl_now() - begin, d);
}

static void step(uint64_t *rnd)
{
    switch (random_below(rnd, 10)) {
    case 0:
    case 1: block(rnd); break;
    case 2:
        if (random_below(rnd, 4) == 0)
            spin_for((bl_dur)random_below(rnd, SPIN_MOST * 1000) * BL_US);
        else
            spin_for((bl_dur)random_below(rnd, 300) * BL_US);
        break;
    case 3:
    case 4: use_channel(rnd); break;
    case 5: lock_mutex(rnd); break;
    case 6: use_timers(rnd); break;
    case 7: raise_family(rnd); break;
    case 8: call_blocking(rnd); break;
    default: bl_yield(); break;
    }
}

static int work(void *arg)
{
    worker *w = arg;
    uint64_t id = bl_id();
    volatile uint64_t guard[16];
    for (int i = 0; i < 16; i++)
        guard[i] = id + (uint64_t)i;
    for (int i = 0; i < STEPS; i++) {
        BL_CHECK_EQ(t, atomic_fetch_add(&w->running, 1), 0);
        BL_CHECK_EQ(t, w->step, i);
        step(&w->rnd);
        BL_CHECK_EQ(t, w->step, i);
        w->step++;
        now.steps++;
        BL_CHECK_EQ(t, atomic_fetch_sub(&w->running, 1), 1);
        BL_CHECK_EQ(t, bl_id(), id);
    }
    for (int i = 0; i < 16; i++)
        BL_CHECK_EQ(t, guard[i], id + (uint64_t)i);
    now.ended++;
    return 0;
}

/* ---- Plain threads --------------------------------------------------------------------------- */

/* A byte at a time, so that readers wait; but never so full that the feeder does. */
static void *feeder(void *arg)
{
    uint64_t rnd = (uint64_t)(uintptr_t)arg;
    while (!now.stop) {
        struct pollfd fd = {.fd = now.feed[1], .events = POLLOUT};
        if (poll(&fd, 1, 1) == 1)
            BL_CHECK_EQ(t, write(now.feed[1], "x", 1), 1);
        usleep(random_below(&rnd, FEED_PAUSE));
    }
    return NULL;
}

static void *holder(void *arg)
{
    uint64_t rnd = (uint64_t)(uintptr_t)arg;
    while (!now.stop) {
        pthread_mutex_lock(&now.plain);
        usleep(random_below(&rnd, 1000));
        pthread_mutex_unlock(&now.plain);
        usleep(random_below(&rnd, 3000));
    }
    return NULL;
}

/* Ends the test when nobody has made a step for long, and shows why. */
static void *watcher(void *arg)
{
    int64_t seen = -1;
    int quiet = 0;
    (void)arg;
    while (!now.over && quiet < HANG * 10) {
        usleep(100000);
        int64_t steps = now.steps;
        quiet = steps == seen ? quiet + 1 : 0;
        seen = steps;
    }
    if (now.over)
        return NULL;
    fprintf(stderr,
            "handoff_stress: no step for %d s: steps %lld, started %lld, ended %lld, sent %lld, "
            "received %lld; seed 0x%llx\n",
            HANG, (long long)now.steps, (long long)now.started, (long long)now.ended,
            (long long)now.sent, (long long)now.received, (unsigned long long)now.seed);
    setenv("BELAY_TRACEBACK", "all", 1);
    abort();
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

static void round_run(uint64_t *rnd)
{
    worker workers[WORKERS] = {{.number = 0}};
    now.seed = random_next(rnd);
    now.sent = now.received = now.sent_sum = now.received_sum = 0;
    now.steps = now.started = now.ended = now.mutexed = now.plain_mutexed = 0;
    now.locked = now.plain_locked = 0;
    {
        BL_SCOPE(s);
        now.chan = bl_scope_chan(s, sizeof(int64_t), random_below(rnd, 4));
        BL_REQUIRE(t, now.chan != NULL);
        for (int i = 0; i < WORKERS; i++) {
            workers[i].number = i;
            workers[i].rnd = now.seed + ((uint64_t)i << 32);
            BL_CHECK_EQ(t, bl_go(s, work, &workers[i]), 0);
            now.started++;
        }
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        int64_t v;
        while (bl_chan_try_recv(now.chan, &v) == 0) {
            now.received++;
            now.received_sum += v;
        }
    }
    BL_CHECK_EQ(t, now.sent, now.received);
    BL_CHECK_EQ(t, now.sent_sum, now.received_sum);
    BL_CHECK_EQ(t, now.started, now.ended);
    BL_CHECK_EQ(t, now.steps, WORKERS * STEPS);
    BL_CHECK_EQ(t, now.locked, now.mutexed);
    BL_CHECK_EQ(t, now.plain_locked, now.plain_mutexed);
    for (int i = 0; i < WORKERS; i++) {
        BL_CHECK_EQ(t, workers[i].step, STEPS);
        BL_CHECK_EQ(t, workers[i].running, 0);
    }
    BL_CHECK_EQ(t, bl_goroutines(), 1);
}

static int rounds(void *arg)
{
    uint64_t rnd = *(uint64_t *)arg;
    bl_time end = bl_in(stress_seconds() * BL_SEC);
    int procs = bl_procs();
    do {
        if (random_below(&rnd, 4) == 0)
            bl_set_procs(1 + (int)random_below(&rnd, 8));
        else
            bl_set_procs(procs);
        round_run(&rnd);
    } while (bl_now() < end && !bl_failed(t));
    bl_set_procs(procs);
    return 0;
}

BL_TEST_PLAIN(processors_come_and_go)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    pthread_t threads[3];
    int procs = bl_procs();
    memset(&now, 0, sizeof now);
    pthread_mutex_init(&now.plain, NULL);
    BL_REQUIRE(t, pipe(now.feed) == 0);
    BL_REQUIRE(t, pthread_create(&threads[0], NULL, feeder, (void *)(uintptr_t)random_next(&rnd)) ==
                      0);
    BL_REQUIRE(t, pthread_create(&threads[1], NULL, holder, (void *)(uintptr_t)random_next(&rnd)) ==
                      0);
    BL_REQUIRE(t, pthread_create(&threads[2], NULL, watcher, NULL) == 0);
    BL_CHECK_EQ(t, bl_run(rounds, &rnd, NULL), 0);
    now.over = true;
    now.stop = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    bl_set_procs(procs);
    close(now.feed[0]);
    close(now.feed[1]);
}

static int short_run(void *arg)
{
    round_run(arg);
    return 0;
}

/* A run ends while threads that were away are on their way home. */
BL_TEST_PLAIN(runs_one_after_another)
{
    uint64_t rnd = random_seed((uint64_t)bl_now());
    pthread_t threads[3];
    memset(&now, 0, sizeof now);
    pthread_mutex_init(&now.plain, NULL);
    BL_REQUIRE(t, pipe(now.feed) == 0);
    BL_REQUIRE(t, pthread_create(&threads[0], NULL, feeder, (void *)1) == 0);
    BL_REQUIRE(t, pthread_create(&threads[1], NULL, holder, (void *)2) == 0);
    BL_REQUIRE(t, pthread_create(&threads[2], NULL, watcher, NULL) == 0);
    bl_time end = bl_in(stress_seconds() * BL_SEC / 4);
    do {
        BL_CHECK_EQ(t, bl_run(short_run, &rnd, NULL), 0);
        BL_CHECK_EQ(t, bl_goroutines(), 0);
    } while (bl_now() < end && !bl_failed(t));
    now.over = true;
    now.stop = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    close(now.feed[0]);
    close(now.feed[1]);
}
