/* SPDX-License-Identifier: MIT */
/* pool.c: tiny jobs through a worker pool. */
#include <belay.h>

#include "bench.h"

enum { WORKERS = 4, QUEUE = 256 };

static uint64_t sum; /* atomic */

static int job(void *arg)
{
    __atomic_fetch_add(&sum, (uint64_t)(uintptr_t)arg, __ATOMIC_RELAXED);
    return 0;
}

static void pool_run(uint64_t n, void *arg)
{
    (void)arg;
    sum = 0;
    BL_SCOPE(s, .name = "jobs");
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = WORKERS, .queue = QUEUE});
    bench_check(p != NULL, "there is memory for a pool");
    for (uint64_t i = 1; i <= n; i++)
        bench_check(bl_pool_submit(p, job, (void *)(uintptr_t)i) == 0, "a job is accepted");
    bench_check(bl_pool_drain(p) == 0, "the pool ends");
    bench_check(sum == n * (n + 1) / 2, "every job runs once");
}

static int run(void *arg)
{
    (void)arg;
    bench_measure("Pool4", bl_procs(), bench_scale(1000000), pool_run, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
