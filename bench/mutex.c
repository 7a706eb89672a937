/* SPDX-License-Identifier: MIT */
/* mutex.c: one mutex, alone, wanted by eight, and by eight who yield while they hold it. */
#include <belay.h>

#include "bench.h"

typedef struct shared {
    bl_mutex mutex;
    uint64_t count; /* lock: mutex */
    uint64_t each;
    bool yields;
} shared;

static int locker(void *arg)
{
    shared *h = arg;
    for (uint64_t i = h->each; i > 0; i--) {
        bl_mutex_lock(&h->mutex);
        h->count++;
        if (h->yields)
            bl_yield();
        bl_mutex_unlock(&h->mutex);
    }
    return 0;
}

/* How many goroutines, and whether they yield inside. */
typedef struct mode {
    uint64_t goroutines;
    bool yields;
} mode;

static void mutex_run(uint64_t n, void *arg)
{
    const mode *m = arg;
    shared h = {.each = n / m->goroutines, .yields = m->yields};
    BL_SCOPE(s, .name = "lockers");
    for (uint64_t i = 0; i < m->goroutines; i++)
        bench_check(bl_go(s, locker, &h) == 0, "a goroutine starts");
    bench_check(bl_scope_wait(s) == 0, "all end well");
    bench_check(h.count == n, "nothing is counted twice or lost");
}

static int run(void *arg)
{
    (void)arg;
    mode alone = {1, false};
    mode eight = {8, false};
    mode yielding = {8, true};
    bench_measure("MutexUncontended", bl_procs(), 1, mutex_run, &alone);
    bench_measure("Mutex8", bl_procs(), 8, mutex_run, &eight);
    bench_measure("MutexYield8", bl_procs(), 8, mutex_run, &yielding);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
