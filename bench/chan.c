/* SPDX-License-Identifier: MIT */
/* chan.c: words through one buffered channel, with one and with four at either end. */
#include <belay.h>

#include "bench.h"

typedef struct flow {
    bl_chan *chan;
    uint64_t each; /* words a sender sends */
    uint64_t sum;  /* atomic: of what was received */
    bl_waitgroup senders;
} flow;

static int sender(void *arg)
{
    const flow *f = arg;
    bl_chan *chan = f->chan; /* as Go's closures, which have values of their own */
    const uint64_t each = f->each;
    for (uint64_t i = 1; i <= each; i++)
        bench_check(bl_chan_send(chan, &i) == 0, "a word is sent");
    return 0;
}

static int receiver(void *arg)
{
    flow *f = arg;
    uint64_t sum = 0;
    uint64_t v;
    bl_chan *chan = f->chan;
    while (bl_chan_recv(chan, &v) == 0)
        sum += v;
    __atomic_fetch_add(&f->sum, sum, __ATOMIC_RELAXED);
    return 0;
}

static void chan_run(uint64_t n, void *arg)
{
    const uint64_t ends = *(const uint64_t *)arg;
    BL_SCOPE(s, .name = "flow");
    flow f = {.chan = bl_scope_chan(s, sizeof(uint64_t), BENCH_CAP), .each = n / ends};
    bench_check(f.chan != NULL, "there is memory for a channel");
    for (uint64_t i = 0; i < ends; i++) {
        bench_check(bl_go(s, receiver, &f) == 0, "a receiver starts");
        bench_check(bl_waitgroup_go(&f.senders, s, sender, &f) == 0, "a sender starts");
    }
    bench_check(bl_waitgroup_wait(&f.senders) == 0, "the senders end");
    bl_chan_close(f.chan);
    bench_check(bl_scope_wait(s) == 0, "the receivers end");
    bench_check(f.sum == ends * (f.each * (f.each + 1) / 2), "every word arrives once");
}

static int run(void *arg)
{
    (void)arg;
    uint64_t one = 1;
    uint64_t four = 4;
    bench_measure("Chan1x1", bl_procs(), one, chan_run, &one);
    bench_measure("Chan4x4", bl_procs(), four, chan_run, &four);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
