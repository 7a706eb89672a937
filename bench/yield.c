/* SPDX-License-Identifier: MIT */
/* yield.c: goroutines that do nothing but let the others run. */
#include <belay.h>

#include "bench.h"

static int yielder(void *arg)
{
    for (uint64_t i = *(const uint64_t *)arg; i > 0; i--)
        bl_yield();
    return 0;
}

static void yield_run(uint64_t n, void *arg)
{
    const uint64_t goroutines = *(const uint64_t *)arg;
    uint64_t each = n / goroutines;
    BL_SCOPE(s, .name = "yielders");
    for (uint64_t i = 0; i < goroutines; i++)
        bench_check(bl_go(s, yielder, &each) == 0, "a goroutine starts");
    bench_check(bl_scope_wait(s) == 0, "all end well");
}

static int run(void *arg)
{
    (void)arg;
    uint64_t two = 2;
    uint64_t many = 1000;
    bench_measure("Yield2", bl_procs(), two, yield_run, &two);
    bench_measure("Yield1000", bl_procs(), many, yield_run, &many);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
