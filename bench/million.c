/* SPDX-License-Identifier: MIT */
/* million.c: what a goroutine costs that is blocked in a receive: memory, time to make, to
 * release. */
#include <belay.h>

#include <stdio.h>

#include "bench.h"

typedef struct crowd {
    bl_chan *gate; /* nobody sends; closed in the end */
    bl_chan *all_in;
    size_t n;
    size_t arrived;  /* atomic */
    size_t released; /* atomic */
} crowd;

static int waiter(void *arg)
{
    crowd *c = arg;
    uint64_t v = 0;
    if (__atomic_add_fetch(&c->arrived, 1, __ATOMIC_RELAXED) == c->n)
        bench_check(bl_chan_send(c->all_in, &v) == 0, "the last one reports");
    if (bl_chan_recv(c->gate, &v) == BL_ECLOSED)
        __atomic_fetch_add(&c->released, 1, __ATOMIC_RELAXED);
    return 0;
}

enum { LOOKS = 10 };

/* The least of some looks: a search for stuck goroutines, which may be under way, has 100 MB or more
 * of its own for as long as it takes. */
static int64_t memory_of_all(void)
{
    int64_t least = bench_memory_bytes();
    for (int i = 1; i < LOOKS; i++) {
        bench_check(bl_sleep(200 * BL_MS) == 0, "nobody is cancelled");
        int64_t now = bench_memory_bytes();
        least = now < least ? now : least;
    }
    return least;
}

static int run(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "crowd");
    crowd c = {.gate = bl_scope_chan(s, sizeof(uint64_t), 0),
               .all_in = bl_scope_chan(s, sizeof(uint64_t), 1),
               .n = bench_scale(1000000)};
    bench_check(c.gate != NULL && c.all_in != NULL, "there is memory for two channels");
    int64_t memory = -bench_memory_bytes();
    int64_t make = -bench_wall_ns();
    for (size_t i = 0; i < c.n; i++)
        bench_check(bl_go(s, waiter, &c) == 0, "a goroutine starts");
    uint64_t v;
    bench_check(bl_chan_recv(c.all_in, &v) == 0, "all arrive");
    make += bench_wall_ns();
    memory += memory_of_all();

    int64_t release = -bench_wall_ns();
    bl_chan_close(c.gate);
    bench_check(bl_scope_wait(s) == 0, "all end well");
    release += bench_wall_ns();
    bench_check(c.released == c.n, "each saw the close");

    const double n = (double)c.n;
    char extra[200];
    snprintf(extra, sizeof extra, "%8.0f B/each\t%8.1f release-ns\t%8zu goroutines",
             (double)memory / n, (double)release / n, c.n);
    bench_report("Million", bl_procs(), c.n, (double)make / n, extra);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
