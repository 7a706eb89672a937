/* SPDX-License-Identifier: MIT */
/*
 * threads.h: what the pthread programs share: threads that are started and joined together, and a
 * channel as one is usually written with a mutex and two condition variables. What an operation is,
 * bench/bench.h says. There is no select: it would be one lock for all four channels.
 *
 * BELAY_PROCS=1 confines the process to one CPU, since threads have no other measure of that.
 */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include <pthread.h>

#include "bench.h"

enum { THREAD_STACK = 64 * 1024 };

/* bench_init, and the confinement. */
void threads_init(int argc, char **argv);
int threads_procs(void);

pthread_t thread_start(void *(*fn)(void *), void *arg);
void thread_join(pthread_t t);

/* Starts n threads, all with arg, and joins them. */
void threads_run(size_t n, void *(*fn)(void *), void *arg);

/* A channel of words. */
typedef struct channel {
    pthread_mutex_t mutex;
    pthread_cond_t changed_in;  /* there is something to receive, or it is closed */
    pthread_cond_t changed_out; /* there is room, or what was handed over has been taken */
    size_t cap;                 /* immutable; 0: a send waits until it is received */
    size_t size;                /* immutable: slots of ring, cap or 1 */
    size_t len;                 /* lock: mutex */
    size_t head;                /* lock: mutex */
    uint64_t taken;             /* lock: mutex: how many were received */
    uint64_t put;               /* lock: mutex: how many were sent */
    bool closed;                /* lock: mutex */
    uint64_t ring[BENCH_CAP];   /* lock: mutex */
} channel;

void channel_init(channel *c, size_t cap);
void channel_fini(channel *c);
void channel_send(channel *c, uint64_t v);
bool channel_recv(channel *c, uint64_t *v); /* false: closed and empty */
void channel_close(channel *c);

#endif
