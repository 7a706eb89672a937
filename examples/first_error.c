/* SPDX-License-Identifier: MIT */
/*
 * first_error: ask ten servers at once; the first failure stops the rest (Go: errgroup).
 *
 * Each goroutine returns 0 or a negative error. The first error cancels the scope, and so wakes all
 * the others out of what they wait in; the join returns that error. No goroutine is forgotten: when
 * bl_scope_wait returns, the ten have ended, and their results may be read without a lock.
 *
 * With .keep_going = true the others would go on, and the join would still return the first error.
 */
#include <belay.h>

#include <stdio.h>

enum { SERVERS = 10, BROKEN = 7 };

typedef struct query {
    int server;
    int result; /* written by its goroutine, read after the join */
} query;

/* A request that takes a minute, but to one server, which refuses it soon. */
static int ask(void *arg)
{
    query *q = arg;
    if (q->server == BROKEN) {
        q->result = bl_sleep(20 * BL_MS);
        return q->result < 0 ? q->result : (q->result = BL_ECONNREFUSED);
    }
    q->result = bl_sleep(BL_MIN); /* a stop path, as every call that waits */
    return q->result;
}

static int main_goroutine(void *arg)
{
    (void)arg;
    query queries[SERVERS];
    bl_time start = bl_now();
    BL_SCOPE(s, .name = "queries");
    for (int i = 0; i < SERVERS; i++) {
        queries[i] = (query){.server = i};
        int r = bl_go(s, ask, &queries[i]);
        if (r < 0)
            return r; /* leaving the block cancels and joins those that have started */
    }
    int first = bl_scope_wait(s);

    for (int i = 0; i < SERVERS; i++)
        printf("server %d: %s\n", i, bl_strerror(queries[i].result));
    printf("first error: %s, %s\n", bl_strerror(first),
           bl_now() - start < 30 * BL_SEC ? "and nobody waited a minute" : "too late");
    return 0;
}

int main(void) { return bl_run(main_goroutine, NULL, NULL) < 0; }
