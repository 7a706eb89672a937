/* SPDX-License-Identifier: MIT */
/* parked.h: for tests that need to know that others wait by now. */
#ifndef BL_TEST_PARKED_H
#define BL_TEST_PARKED_H

#include <belay/test.h>

#include "core/sched.h"
#include "life/scope.h"

typedef struct parked_search {
    const bl_scope *in; /* NULL: anywhere */
    size_t count;
} parked_search;

static inline void parked_look(const bl__g *g, void *arg)
{
    parked_search *p = arg;
    if (!p->in || bl__scope_within(g, p->in))
        p->count += load_acquire(&g->task.status) == BL__G_PARKED;
}

/* How many goroutines of the test are parked. One that is seen parked has given back the lock of
 * what it waits on, or will have when that lock can be taken. */
static inline size_t parked(void)
{
    parked_search p = {bl_test_scope(NULL), 0};
    bl__each_goroutine(parked_look, &p);
    return p.count;
}

/* Lets the others run until n of them are parked; false: after ten seconds they are not. */
static inline bool parked_wait(size_t n)
{
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end; bl_yield())
        if (parked() >= n)
            return true;
    return false;
}

#endif
