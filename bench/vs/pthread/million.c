/* SPDX-License-Identifier: MIT */
/* million.c: what a blocked thread costs; ten thousand of them, and without what the kernel
 * keeps. */
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct crowd {
    channel gate;
    channel all_in;
    size_t n;
    size_t arrived; /* atomic */
} crowd;

static void *waiter(void *arg)
{
    crowd *c = arg;
    uint64_t v;
    if (__atomic_add_fetch(&c->arrived, 1, __ATOMIC_RELAXED) == c->n)
        channel_send(&c->all_in, 0);
    bench_check(!channel_recv(&c->gate, &v), "each sees the close");
    return NULL;
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    const size_t count = bench_scale(10000);
    crowd c = {.n = count};
    channel_init(&c.gate, 0);
    channel_init(&c.all_in, 1);
    pthread_t *all = malloc(count * sizeof *all);
    bench_check(all != NULL, "there is memory for the threads' names");
    int64_t memory = -bench_memory_bytes();
    int64_t make = -bench_wall_ns();
    for (size_t i = 0; i < count; i++)
        all[i] = thread_start(waiter, &c);
    uint64_t v;
    bench_check(channel_recv(&c.all_in, &v), "all arrive");
    make += bench_wall_ns();
    memory += bench_memory_bytes();

    int64_t release = -bench_wall_ns();
    channel_close(&c.gate);
    for (size_t i = 0; i < count; i++)
        thread_join(all[i]);
    release += bench_wall_ns();

    const double n = (double)count;
    char extra[200];
    snprintf(extra, sizeof extra, "%8.0f B/each\t%8.1f release-ns\t%8zu goroutines",
             (double)memory / n, (double)release / n, count);
    bench_report("Million", threads_procs(), count, (double)make / n, extra);
    free(all);
    return 0;
}
