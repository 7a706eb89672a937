/* SPDX-License-Identifier: MIT */
/* sieve.c: Hoare's prime sieve with a thread for each prime. */
#include "threads.h"

#include <stdlib.h>

typedef struct filter {
    channel out;
    struct filter *before; /* immutable; NULL: the generator */
    uint64_t prime;
    pthread_t thread;
} filter;

static void *generator(void *arg)
{
    filter *f = arg;
    for (uint64_t i = 2; i <= BENCH_LAST_PRIME; i++)
        channel_send(&f->out, i);
    channel_close(&f->out);
    return NULL;
}

static void *filter_run(void *arg)
{
    filter *f = arg;
    uint64_t v;
    while (channel_recv(&f->before->out, &v)) {
        if (v % f->prime != 0)
            channel_send(&f->out, v);
    }
    channel_close(&f->out);
    return NULL;
}

static void sieve_once(void)
{
    filter *all = malloc((BENCH_PRIMES + 1) * sizeof *all);
    bench_check(all != NULL, "there is memory for the filters");
    channel_init(&all[0].out, 0);
    all[0].thread = thread_start(generator, &all[0]);
    for (int i = 1; i <= BENCH_PRIMES; i++) {
        all[i].before = &all[i - 1];
        bench_check(channel_recv(&all[i - 1].out, &all[i].prime), "there is a next prime");
        channel_init(&all[i].out, 0);
        all[i].thread = thread_start(filter_run, &all[i]);
    }
    bench_check(all[BENCH_PRIMES].prime == BENCH_LAST_PRIME, "the last prime is right");
    uint64_t v;
    bench_check(!channel_recv(&all[BENCH_PRIMES].out, &v), "nothing is left over");
    for (int i = 0; i <= BENCH_PRIMES; i++) {
        thread_join(all[i].thread);
        channel_fini(&all[i].out);
    }
    free(all);
}

static void sieve_run(uint64_t n, void *arg)
{
    (void)arg;
    while (n-- > 0)
        sieve_once();
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    bench_measure("Sieve", threads_procs(), 1, sieve_run, NULL);
    return 0;
}
