/* SPDX-License-Identifier: MIT */
/* sleep.c: a hundred thousand goroutines that sleep 0 to 100 ms each, a thousand that do so again and
 * again, and one that wakes every 5 ms. */
#include <belay.h>

#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

typedef struct sleeper {
    bl_dur wanted;
    int64_t late; /* out: how much longer it took */
} sleeper;

static int sleeper_run(void *arg)
{
    sleeper *p = arg;
    int64_t start = bench_wall_ns();
    bench_check(bl_sleep(p->wanted) == 0, "a sleep is not cut short");
    p->late = bench_wall_ns() - start - p->wanted;
    return 0;
}

/* What a program costs that has next to nothing to do. */
static void ticks(void)
{
    const size_t n = bench_scale(100);
    int64_t cpu = -bench_cpu_ns();
    for (size_t i = 0; i < n; i++)
        bench_check(bl_sleep(5 * BL_MS) == 0, "a sleep is not cut short");
    cpu += bench_cpu_ns();
    bench_report("Tick5ms", bl_procs(), n, (double)cpu / (double)n, NULL);
}

/* A program of many that have little to do: there is a wake each 50 us. */
static struct {
    int64_t until;
    uint64_t seeds[1000];
    uint64_t wakes; /* atomic */
    int64_t late;   /* atomic: of all of them together */
} naps;

static int napper(void *arg)
{
    uint64_t *seed = arg;
    while (bench_wall_ns() < naps.until) {
        bl_dur wanted = (bl_dur)(bench_random(seed) % (uint64_t)(100 * BL_MS));
        int64_t start = bench_wall_ns();
        bench_check(bl_sleep(wanted) == 0, "a sleep is not cut short");
        __atomic_fetch_add(&naps.late, bench_wall_ns() - start - wanted, __ATOMIC_RELAXED);
        __atomic_fetch_add(&naps.wakes, 1, __ATOMIC_RELAXED);
    }
    return 0;
}

static void nap(void)
{
    const size_t n = sizeof naps.seeds / sizeof *naps.seeds;
    naps.until = bench_wall_ns() + 500 * BL_MS;
    int64_t cpu = -bench_cpu_ns();
    BL_SCOPE(s, .name = "nappers");
    for (size_t i = 0; i < n; i++) {
        naps.seeds[i] = i;
        bench_check(bl_go(s, napper, &naps.seeds[i]) == 0, "a goroutine starts");
    }
    bench_check(bl_scope_wait(s) == 0, "all end well");
    cpu += bench_cpu_ns();
    char extra[100];
    snprintf(extra, sizeof extra, "%8.1f late-us", (double)naps.late / 1e3 / (double)naps.wakes);
    bench_report("Naps1000", bl_procs(), naps.wakes, (double)cpu / (double)naps.wakes, extra);
}

static void sleepers(void)
{
    const size_t n = bench_scale(100000);
    sleeper *all = malloc(n * sizeof *all);
    int64_t *late = malloc(n * sizeof *late);
    bench_check(all != NULL && late != NULL, "there is memory for the sleepers' records");
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++)
        all[i] = (sleeper){.wanted = (bl_dur)(bench_random(&seed) % (uint64_t)(100 * BL_MS))};

    int64_t cpu = -bench_cpu_ns();
    int64_t wall = -bench_wall_ns();
    BL_SCOPE(s, .name = "sleepers");
    for (size_t i = 0; i < n; i++)
        bench_check(bl_go(s, sleeper_run, &all[i]) == 0, "a goroutine starts");
    bench_check(bl_scope_wait(s) == 0, "all end well");
    wall += bench_wall_ns();
    cpu += bench_cpu_ns();

    int64_t earliest;
    for (size_t i = 0; i < n; i++)
        late[i] = all[i].late;
    int64_t median = bench_median(late, n, &earliest);
    char extra[200];
    snprintf(extra, sizeof extra,
             "%8.1f cpu-ms\t%8.1f late-median-us\t%8.1f earliest-us\t%8zu goroutines",
             (double)cpu / 1e6, (double)median / 1e3, (double)earliest / 1e3, n);
    bench_report("Sleep100k", bl_procs(), 1, (double)wall, extra);
    free(all);
    free(late);
    bench_check(earliest >= 0, "no sleep ends early");
}

static int run(void *arg)
{
    (void)arg;
    ticks();
    nap();
    sleepers();
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
