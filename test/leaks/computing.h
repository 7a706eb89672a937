/* SPDX-License-Identifier: MIT */
/* computing.h: goroutines that compute all the time, or nearly. */
#ifndef BL_TEST_LEAKS_COMPUTING_H
#define BL_TEST_LEAKS_COMPUTING_H

#include "right.h"

static int turns_over; /* atomic */

static inline int turns_go_on(void) { return !__atomic_load_n(&turns_over, __ATOMIC_ACQUIRE); }
static inline void turns_end(void) { __atomic_store_n(&turns_over, 1, __ATOMIC_RELEASE); }

/* For about half a millisecond, with nothing but what the caller has in registers. */
static inline void compute(void)
{
    for (int i = 0; i < 1000000; i++)
        __asm__ volatile("");
}

/* What others may have left on the stack is overwritten. */
static __attribute__((noinline, unused)) void clear_below(void)
{
    char below[6000];
    memset(below, 0, sizeof below);
    __asm__ volatile("" : : "r"(below) : "memory");
}

/* Runs fn, with s, on a stack that is gone by the time that this returns. */
static inline int started_by(bl_scope *s, bl_fn fn)
{
    bl_scope first;
    if (bl_scope_open(&first, NULL) < 0)
        return 1;
    bl_go(&first, fn, s);
    return bl_scope_close(&first);
}

#endif
