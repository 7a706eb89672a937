/* SPDX-License-Identifier: MIT */
/* roundtrip.c: a word there and back through two unbuffered channels. */
#include <belay.h>

#include "bench.h"

typedef struct ends {
    bl_chan *there;
    bl_chan *back;
} ends;

static int echo(void *arg)
{
    const ends *e = arg;
    uint64_t v;
    while (bl_chan_recv(e->there, &v) == 0)
        bench_check(bl_chan_send(e->back, &v) == 0, "the echo is sent");
    return 0;
}

static void roundtrip_run(uint64_t n, void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "echo");
    ends e = {bl_scope_chan(s, sizeof(uint64_t), 0), bl_scope_chan(s, sizeof(uint64_t), 0)};
    bench_check(e.there != NULL && e.back != NULL, "there is memory for two channels");
    bench_check(bl_go(s, echo, &e) == 0, "the echo starts");
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v;
        bench_check(bl_chan_send(e.there, &i) == 0 && bl_chan_recv(e.back, &v) == 0 && v == i,
                    "the word comes back");
    }
    bl_chan_close(e.there);
    bench_check(bl_scope_wait(s) == 0, "the echo ends");
}

static int run(void *arg)
{
    (void)arg;
    bench_measure("RoundTrip", bl_procs(), 1, roundtrip_run, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
