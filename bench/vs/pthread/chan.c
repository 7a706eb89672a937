/* SPDX-License-Identifier: MIT */
/* chan.c: words through one buffered channel, with one and with four at either end. */
#include "threads.h"

#include <stdlib.h>

typedef struct flow {
    channel chan;
    uint64_t each; /* words a sender sends */
    uint64_t sum;  /* atomic: of what was received */
} flow;

static void *sender(void *arg)
{
    flow *f = arg;
    for (uint64_t i = 1; i <= f->each; i++)
        channel_send(&f->chan, i);
    return NULL;
}

static void *receiver(void *arg)
{
    flow *f = arg;
    uint64_t sum = 0;
    uint64_t v;
    while (channel_recv(&f->chan, &v))
        sum += v;
    __atomic_fetch_add(&f->sum, sum, __ATOMIC_RELAXED);
    return NULL;
}

static void chan_run(uint64_t n, void *arg)
{
    const uint64_t ends = *(const uint64_t *)arg;
    flow f = {.each = n / ends};
    pthread_t receivers[4];
    bench_check(ends <= 4, "there is room for the receivers");
    channel_init(&f.chan, BENCH_CAP);
    for (uint64_t i = 0; i < ends; i++)
        receivers[i] = thread_start(receiver, &f);
    threads_run(ends, sender, &f);
    channel_close(&f.chan);
    for (uint64_t i = 0; i < ends; i++)
        thread_join(receivers[i]);
    channel_fini(&f.chan);
    bench_check(f.sum == ends * (f.each * (f.each + 1) / 2), "every word arrives once");
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    uint64_t one = 1;
    uint64_t four = 4;
    bench_measure("Chan1x1", threads_procs(), one, chan_run, &one);
    bench_measure("Chan4x4", threads_procs(), four, chan_run, &four);
    return 0;
}
