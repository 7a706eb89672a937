/* SPDX-License-Identifier: MIT */
/* threads.c: see threads.h. */
#include "threads.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static int procs; /* set once by threads_init */

void threads_init(int argc, char **argv)
{
    bench_init(argc, argv);
    const char *text = getenv("BELAY_PROCS");
    cpu_set_t mine;
    bench_check(sched_getaffinity(0, sizeof mine, &mine) == 0, "the affinity can be read");
    procs = CPU_COUNT(&mine);
    if (text == NULL || strcmp(text, "1") != 0)
        return;
    int cpu = 0;
    while (!CPU_ISSET(cpu, &mine))
        cpu++;
    CPU_ZERO(&mine);
    CPU_SET(cpu, &mine);
    bench_check(sched_setaffinity(0, sizeof mine, &mine) == 0, "one CPU can be had");
    procs = 1;
}

int threads_procs(void) { return procs; }

pthread_t thread_start(void *(*fn)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t t;
    bench_check(pthread_attr_init(&attr) == 0 &&
                    pthread_attr_setstacksize(&attr, THREAD_STACK) == 0,
                "a stack's size can be set");
    bench_check(pthread_create(&t, &attr, fn, arg) == 0, "a thread starts");
    pthread_attr_destroy(&attr);
    return t;
}

void thread_join(pthread_t t) { bench_check(pthread_join(t, NULL) == 0, "a thread can be joined"); }

void threads_run(size_t n, void *(*fn)(void *), void *arg)
{
    pthread_t *all = malloc(n * sizeof *all);
    bench_check(all != NULL, "there is memory for the threads' names");
    for (size_t i = 0; i < n; i++)
        all[i] = thread_start(fn, arg);
    for (size_t i = 0; i < n; i++)
        thread_join(all[i]);
    free(all);
}

void channel_init(channel *c, size_t cap)
{
    bench_check(cap <= BENCH_CAP, "the ring is large enough");
    memset(c, 0, sizeof *c);
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->changed_in, NULL);
    pthread_cond_init(&c->changed_out, NULL);
    c->cap = cap;
    c->size = cap > 0 ? cap : 1;
}

void channel_fini(channel *c)
{
    pthread_cond_destroy(&c->changed_out);
    pthread_cond_destroy(&c->changed_in);
    pthread_mutex_destroy(&c->mutex);
}

void channel_send(channel *c, uint64_t v)
{
    pthread_mutex_lock(&c->mutex);
    while (c->len == c->size)
        pthread_cond_wait(&c->changed_out, &c->mutex);
    c->ring[(c->head + c->len++) % c->size] = v;
    uint64_t mine = ++c->put;
    pthread_cond_signal(&c->changed_in);
    while (c->cap == 0 && c->taken < mine)
        pthread_cond_wait(&c->changed_out, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
}

bool channel_recv(channel *c, uint64_t *v)
{
    pthread_mutex_lock(&c->mutex);
    while (c->len == 0 && !c->closed)
        pthread_cond_wait(&c->changed_in, &c->mutex);
    bool some = c->len > 0;
    if (some) {
        *v = c->ring[c->head];
        c->head = (c->head + 1) % c->size;
        c->len--;
        c->taken++;
        /* Unbuffered, the sender of v and one that waits for room wait on the same. */
        if (c->cap == 0)
            pthread_cond_broadcast(&c->changed_out);
        else
            pthread_cond_signal(&c->changed_out);
    }
    pthread_mutex_unlock(&c->mutex);
    return some;
}

void channel_close(channel *c)
{
    pthread_mutex_lock(&c->mutex);
    c->closed = true;
    pthread_cond_broadcast(&c->changed_in);
    pthread_mutex_unlock(&c->mutex);
}
