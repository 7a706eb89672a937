/* SPDX-License-Identifier: MIT */
/* roundtrip.c: a word there and back through two unbuffered channels. */
#include "threads.h"

typedef struct ends {
    channel there;
    channel back;
} ends;

static void *echo(void *arg)
{
    ends *e = arg;
    uint64_t v;
    while (channel_recv(&e->there, &v))
        channel_send(&e->back, v);
    return NULL;
}

static void roundtrip_run(uint64_t n, void *arg)
{
    (void)arg;
    ends e;
    channel_init(&e.there, 0);
    channel_init(&e.back, 0);
    pthread_t t = thread_start(echo, &e);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v;
        channel_send(&e.there, i);
        bench_check(channel_recv(&e.back, &v) && v == i, "the word comes back");
    }
    channel_close(&e.there);
    thread_join(t);
    channel_fini(&e.there);
    channel_fini(&e.back);
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    bench_measure("RoundTrip", threads_procs(), 1, roundtrip_run, NULL);
    return 0;
}
