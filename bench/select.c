/* SPDX-License-Identifier: MIT */
/* select.c: a sender that takes four unbuffered channels in turn, and a select over them. */
#include <belay.h>

#include "bench.h"

enum { WAYS = 4 };

typedef struct flow {
    bl_chan *chan[WAYS];
    uint64_t n;
} flow;

static int sender(void *arg)
{
    flow *f = arg;
    for (uint64_t i = 0; i < f->n; i++)
        bench_check(bl_chan_send(f->chan[i % WAYS], &i) == 0, "a word is sent");
    return 0;
}

static void select_run(uint64_t n, void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "select");
    flow f = {.n = n};
    for (int i = 0; i < WAYS; i++) {
        f.chan[i] = bl_scope_chan(s, sizeof(uint64_t), 0);
        bench_check(f.chan[i] != NULL, "there is memory for a channel");
    }
    bench_check(bl_go(s, sender, &f) == 0, "the sender starts");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = UINT64_MAX;
        int way = BL_SELECT(BL_RECV(f.chan[0], &v), BL_RECV(f.chan[1], &v), BL_RECV(f.chan[2], &v),
                            BL_RECV(f.chan[3], &v));
        bench_check(way == (int)(i % WAYS) && v == i, "the words come in order");
    }
    bench_check(bl_scope_wait(s) == 0, "the sender ends");
}

static int run(void *arg)
{
    (void)arg;
    bench_measure("Select4", bl_procs(), WAYS, select_run, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
