/* SPDX-License-Identifier: MIT */
/* sieve.c: Hoare's prime sieve, a goroutine for each prime, which hands on what it does not
 * divide. */
#include <belay.h>

#include "bench.h"

typedef struct filter {
    bl_chan *in;
    bl_chan *out;
    uint64_t prime;
} filter;

static int generator(void *arg)
{
    bl_chan *out = *(bl_chan **)arg;
    for (uint64_t i = 2; i <= BENCH_LAST_PRIME; i++)
        bench_check(bl_chan_send(out, &i) == 0, "a number is sent");
    bl_chan_close(out);
    return 0;
}

static int filter_run(void *arg)
{
    const filter *f = arg;
    uint64_t v;
    while (bl_chan_recv(f->in, &v) == 0) {
        if (v % f->prime != 0)
            bench_check(bl_chan_send(f->out, &v) == 0, "a number is handed on");
    }
    bl_chan_close(f->out);
    return 0;
}

static void sieve_once(void)
{
    BL_SCOPE(s, .name = "sieve");
    bl_chan *chan = bl_scope_chan(s, sizeof(uint64_t), 0);
    bench_check(chan != NULL, "there is memory for a channel");
    bench_check(bl_go_copy(s, generator, &chan, sizeof chan) == 0, "the generator starts");
    uint64_t prime = 0;
    for (int i = 0; i < BENCH_PRIMES; i++) {
        bench_check(bl_chan_recv(chan, &prime) == 0, "there is a next prime");
        filter f = {chan, bl_scope_chan(s, sizeof(uint64_t), 0), prime};
        bench_check(f.out != NULL, "there is memory for a channel");
        bench_check(bl_go_copy(s, filter_run, &f, sizeof f) == 0, "a filter starts");
        chan = f.out;
    }
    bench_check(prime == BENCH_LAST_PRIME, "the last prime is right");
    bench_check(bl_chan_recv(chan, &prime) == BL_ECLOSED, "nothing is left over");
    bench_check(bl_scope_wait(s) == 0, "all end well");
}

static void sieve_run(uint64_t n, void *arg)
{
    (void)arg;
    while (n-- > 0)
        sieve_once();
}

static int run(void *arg)
{
    (void)arg;
    bench_measure("Sieve", bl_procs(), 1, sieve_run, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
