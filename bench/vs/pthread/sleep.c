/* SPDX-License-Identifier: MIT */
/* sleep.c: threads that sleep 0 to 100 ms each; a tenth as many as there are goroutines
 * elsewhere. And one that wakes every 5 ms. */
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct sleeper {
    int64_t wanted;
    int64_t late; /* out: how much longer it took */
    pthread_t thread;
} sleeper;

static void *sleeper_run(void *arg)
{
    sleeper *p = arg;
    int64_t start = bench_wall_ns();
    struct timespec t = {.tv_nsec = p->wanted};
    bench_check(nanosleep(&t, NULL) == 0, "a sleep is not cut short");
    p->late = bench_wall_ns() - start - p->wanted;
    return NULL;
}

static void ticks(void)
{
    const size_t n = bench_scale(100);
    int64_t cpu = -bench_cpu_ns();
    for (size_t i = 0; i < n; i++)
        bench_check(nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL) == 0,
                    "a sleep is not cut short");
    cpu += bench_cpu_ns();
    bench_report("Tick5ms", threads_procs(), n, (double)cpu / (double)n, NULL);
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    ticks();
    const size_t n = bench_scale(10000);
    sleeper *all = malloc(n * sizeof *all);
    int64_t *late = malloc(n * sizeof *late);
    bench_check(all != NULL && late != NULL, "there is memory for the sleepers' records");
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++)
        all[i] = (sleeper){.wanted = (int64_t)(bench_random(&seed) % UINT64_C(100000000))};

    int64_t cpu = -bench_cpu_ns();
    int64_t wall = -bench_wall_ns();
    for (size_t i = 0; i < n; i++)
        all[i].thread = thread_start(sleeper_run, &all[i]);
    for (size_t i = 0; i < n; i++)
        thread_join(all[i].thread);
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
    bench_report("Sleep100k", threads_procs(), 1, (double)wall, extra);
    free(all);
    free(late);
    bench_check(earliest >= 0, "no sleep ends early");
    return 0;
}
