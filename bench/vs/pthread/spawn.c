/* SPDX-License-Identifier: MIT */
/* spawn.c: starting threads and waiting for their end, one by one and a thousand together. */
#include "threads.h"

static void *nothing(void *arg) { return arg; }

static void spawn_run(uint64_t n, void *arg)
{
    const uint64_t batch = *(const uint64_t *)arg;
    for (uint64_t done = 0; done < n; done += batch)
        threads_run(batch, nothing, NULL);
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    uint64_t one = 1;
    uint64_t batch = BENCH_BATCH;
    bench_measure("SpawnSingle", threads_procs(), one, spawn_run, &one);
    bench_measure("SpawnBatch", threads_procs(), batch, spawn_run, &batch);
    return 0;
}
