/* SPDX-License-Identifier: MIT */
/* calls.h: for tests of objects to wait on: calls that wait, each in a goroutine of its own. */
#ifndef BL_TEST_CALLS_H
#define BL_TEST_CALLS_H

#include <belay/test.h>

#include "core/sched.h"

enum { CALL_PENDING = 12345 }; /* the result of a call that has not returned */

typedef struct call {
    int (*fn)(struct call *c);
    void *obj;
    bl_mutex *m; /* what fn needs besides */
    int64_t k;
    bl_time deadline;
    int *turns; /* atomic: shared by calls whose order matters */
    int turn;   /* how many had their turn before; -1: it has not had its own */
    int result; /* atomic: what fn returned, or CALL_PENDING */
} call;

/* Called by fn when it has got what it waited for. */
static inline void call_turn(call *c)
{
    if (c->turns)
        c->turn = __atomic_fetch_add(c->turns, 1, __ATOMIC_ACQ_REL);
}

static inline int call_result(call *c) { return __atomic_load_n(&c->result, __ATOMIC_ACQUIRE); }

static int call_run(void *arg)
{
    call *c = arg;
    __atomic_store_n(&c->result, c->fn(c), __ATOMIC_RELEASE);
    return 0;
}

typedef struct call_search {
    call *c;
    bool parked;
} call_search;

static inline void call_look(const bl__g *g, void *arg)
{
    call_search *search = arg;
    if (g->arg == search->c && load_relaxed(&g->task.status) == BL__G_PARKED)
        search->parked = true;
}

/* Lets the others run until c's goroutine is parked, or has returned after all. */
static inline bool call_parked(call *c)
{
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end; bl_yield()) {
        call_search search = {c, false};
        bl__each_goroutine(call_look, &search);
        if (search.parked || call_result(c) != CALL_PENDING)
            return true;
    }
    return false;
}

/* Makes the call, which is c as given with the rest filled in, in s, and lets it wait. */
static inline void call_parks(bl_scope *s, call *c)
{
    c->turn = -1;
    c->result = CALL_PENDING;
    c->deadline = c->deadline ? c->deadline : BL_NEVER;
    BL_CHECK_EQ(NULL, bl_go(s, call_run, c), 0);
    BL_CHECK(NULL, call_parked(c));
}

/* Lets the others run until c has returned; false: not within ten seconds. */
static inline bool call_returns(call *c)
{
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end; bl_yield())
        if (call_result(c) != CALL_PENDING)
            return true;
    return false;
}

#endif
