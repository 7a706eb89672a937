/* SPDX-License-Identifier: MIT */
/* yield.c: threads that do nothing but let the others run. */
#include "threads.h"

#include <sched.h>

static void *yielder(void *arg)
{
    for (uint64_t i = *(const uint64_t *)arg; i > 0; i--)
        sched_yield();
    return NULL;
}

static void yield_run(uint64_t n, void *arg)
{
    const uint64_t threads = *(const uint64_t *)arg;
    uint64_t each = n / threads;
    threads_run(threads, yielder, &each);
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    uint64_t two = 2;
    uint64_t many = 1000;
    bench_measure("Yield2", threads_procs(), two, yield_run, &two);
    bench_measure("Yield1000", threads_procs(), many, yield_run, &many);
    return 0;
}
