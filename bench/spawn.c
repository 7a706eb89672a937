/* SPDX-License-Identifier: MIT */
/* spawn.c: starting goroutines and waiting for their end, one by one and a thousand together. */
#include <belay.h>

#include "bench.h"

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void spawn_run(uint64_t n, void *arg)
{
    const uint64_t batch = *(const uint64_t *)arg;
    BL_SCOPE(s, .name = "spawned");
    for (uint64_t done = 0; done < n; done += batch) {
        for (uint64_t i = 0; i < batch; i++)
            bench_check(bl_go(s, nothing, NULL) == 0, "a goroutine starts");
        bench_check(bl_scope_wait(s) == 0, "all end well");
    }
}

static int run(void *arg)
{
    (void)arg;
    uint64_t one = 1;
    uint64_t batch = BENCH_BATCH;
    bench_measure("SpawnSingle", bl_procs(), one, spawn_run, &one);
    bench_measure("SpawnBatch", bl_procs(), batch, spawn_run, &batch);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
