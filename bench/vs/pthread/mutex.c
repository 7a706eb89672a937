/* SPDX-License-Identifier: MIT */
/* mutex.c: one mutex, alone, wanted by eight, and by eight who yield while they hold it. */
#include "threads.h"

#include <sched.h>

typedef struct shared {
    pthread_mutex_t mutex;
    uint64_t count; /* lock: mutex */
    uint64_t each;
    bool yields;
} shared;

static void *locker(void *arg)
{
    shared *h = arg;
    for (uint64_t i = h->each; i > 0; i--) {
        pthread_mutex_lock(&h->mutex);
        h->count++;
        if (h->yields)
            sched_yield();
        pthread_mutex_unlock(&h->mutex);
    }
    return NULL;
}

/* How many threads, and whether they yield inside. */
typedef struct mode {
    uint64_t threads;
    bool yields;
} mode;

static void mutex_run(uint64_t n, void *arg)
{
    const mode *m = arg;
    shared h = {.mutex = PTHREAD_MUTEX_INITIALIZER, .each = n / m->threads, .yields = m->yields};
    threads_run(m->threads, locker, &h);
    bench_check(h.count == n, "nothing is counted twice or lost");
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    mode alone = {1, false};
    mode eight = {8, false};
    mode yielding = {8, true};
    bench_measure("MutexUncontended", threads_procs(), 1, mutex_run, &alone);
    bench_measure("Mutex8", threads_procs(), 8, mutex_run, &eight);
    bench_measure("MutexYield8", threads_procs(), 8, mutex_run, &yielding);
    return 0;
}
