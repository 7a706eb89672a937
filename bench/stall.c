/* SPDX-License-Identifier: MIT */
/* stall.c: how long a goroutine is held up by another one that blocks or spins. See block.h. */
#include <belay.h>

#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "block.h"

enum { EVENTS = 100, SPIN_MS = 1000, NO_CALL = -1 };

typedef struct watch {
    bool stop;       /* atomic */
    int64_t longest; /* atomic: between two runs of the yielder */
    int64_t *late;   /* of each tick */
    size_t ticks;
} watch;

static int yielder(void *arg)
{
    watch *w = arg;
    int64_t last = bench_wall_ns();
    while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
        bl_yield();
        int64_t now = bench_wall_ns();
        if (now - last > __atomic_load_n(&w->longest, __ATOMIC_RELAXED))
            __atomic_store_n(&w->longest, now - last, __ATOMIC_RELAXED);
        last = now;
    }
    return 0;
}

static void nap(bl_dur d) { bench_check(bl_sleep(d) == 0, "a sleep is not cut short"); }

static void report(const char *name, int64_t *v, size_t n)
{
    char extra[64];
    int64_t least;
    const int64_t median = bench_median(v, n, &least);
    snprintf(extra, sizeof extra, "%8.1f worst-us", (double)v[n - 1] / 1e3);
    bench_report(name, bl_procs(), n, (double)median, extra);
}

/* One event: the longest gap of the yielder in and around one call. */
static int64_t event(watch *w, int kind)
{
    if (kind != NO_CALL) {
        block_prepare(kind);
        while (!block_ready())
            nap(BL_MS);
    }
    __atomic_store_n(&w->longest, 0, __ATOMIC_RELAXED);
    if (kind == NO_CALL)
        nap(BLOCK_MS * BL_MS);
    else
        bench_check(block_call(kind) > BLOCK_MS * BL_MS / 2, "the call blocks");
    nap(BL_MS);
    return __atomic_load_n(&w->longest, __ATOMIC_RELAXED);
}

static void measure(const char *name, int kind)
{
    if (!bench_wanted(name))
        return;
    watch w = {0};
    int64_t stalled[EVENTS];
    const size_t n = bench_scale(EVENTS);
    BL_SCOPE(s, .name = "stall");
    bench_check(bl_go(s, yielder, &w) == 0, "a goroutine starts");
    for (size_t i = 0; i < n; i++)
        stalled[i] = event(&w, kind);
    __atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
    bench_check(bl_scope_wait(s) == 0, "the yielder ends");
    report(name, stalled, n);
}

static int ticker(void *arg)
{
    watch *w = arg;
    while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
        const int64_t due = bench_wall_ns() + BL_MS;
        nap(BL_MS);
        if (w->ticks < SPIN_MS)
            w->late[w->ticks++] = bench_wall_ns() - due;
    }
    return 0;
}

static void measure_spin(void)
{
    if (!bench_wanted("StallSpin"))
        return;
    watch w = {.late = calloc(SPIN_MS, sizeof *w.late)};
    bench_check(w.late != NULL, "there is memory for the ticks");
    BL_SCOPE(s, .name = "spin");
    bench_check(bl_go(s, ticker, &w) == 0, "a goroutine starts");
    nap(10 * BL_MS);
    for (int64_t end = bench_wall_ns() + SPIN_MS * BL_MS; bench_wall_ns() < end;)
        ;
    __atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
    bench_check(bl_scope_wait(s) == 0, "the ticker ends");
    report("StallSpin", w.late, w.ticks);
    free(w.late);
}

static int run(void *arg)
{
    (void)arg;
    measure("StallNone", NO_CALL);
    measure("StallUsleep", BLOCK_USLEEP);
    measure("StallRead", BLOCK_READ);
    measure("StallLookup", BLOCK_LOOKUP);
    measure("StallMutex", BLOCK_MUTEX);
    measure_spin();
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    block_start();
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
