/* SPDX-License-Identifier: MIT */
/* parked.h: for tests that need to know that others wait by now. */
#ifndef BL_TEST_PARKED_H
#define BL_TEST_PARKED_H

#include "core/sched.h"

static inline void parked_count(const bl__g *g, void *arg)
{
    size_t *n = arg;
    *n += load_acquire(&g->task.status) == BL__G_PARKED;
}

/* How many goroutines are parked. One that is seen parked has given back the lock of what it waits
 * on, or will have when that lock can be taken. */
static inline size_t parked(void)
{
    size_t n = 0;
    bl__each_goroutine(parked_count, &n);
    return n;
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
