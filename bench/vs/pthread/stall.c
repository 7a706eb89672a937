/* SPDX-License-Identifier: MIT */
/*
 * stall.c: how late a thread is woken that has an idle CPU for itself, while another CPU is busy: what
 * the machine adds to the stalls, each of which has a few such wakes. A virtual CPU that is idle may
 * have to wait for its host's.
 */
#include "threads.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { WAKES = 400, SLEEP_NS = 5000000 };

static atomic_bool stop;

/* The one that is the nth of those that the process may use, or the last. */
static void confine(int nth)
{
    cpu_set_t may, one;
    bench_check(sched_getaffinity(0, sizeof may, &may) == 0, "the affinity can be read");
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && nth >= 0; cpu++)
        if (CPU_ISSET(cpu, &may) && (nth-- == 0 || CPU_COUNT(&may) == 1))
            CPU_SET(cpu, &one);
    bench_check(sched_setaffinity(0, sizeof one, &one) == 0, "one CPU can be had");
}

static void *busy(void *arg)
{
    confine(0);
    while (!atomic_load(&stop))
        ;
    return arg;
}

int main(int argc, char **argv)
{
    int64_t late[WAKES];
    bench_init(argc, argv);
    pthread_t other = thread_start(busy, NULL);
    confine(1);
    for (int i = 0; i < WAKES; i++) {
        int64_t due = bench_wall_ns() + SLEEP_NS;
        struct timespec at = {due / 1000000000, due % 1000000000};
        bench_check(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == 0,
                    "a sleep is not cut short");
        late[i] = bench_wall_ns() - due;
    }
    atomic_store(&stop, true);
    thread_join(other);
    int64_t least;
    const int64_t median = bench_median(late, WAKES, &least);
    char extra[64];
    snprintf(extra, sizeof extra, "%8.1f worst-us", (double)late[WAKES - 1] / 1e3);
    bench_report("StallNone", 1, WAKES, (double)median, extra);
    return 0;
}
