/* SPDX-License-Identifier: MIT */
/* caller.h: what the functions that have called into the library have left in registers. */
#ifndef BL__DEBUG_CALLER_H
#define BL__DEBUG_CALLER_H

#include "debug/traceback.h"

enum { BL__CALLER_USED = 80, BL__CALLER_DEAD = 128 };

/* The program's function that has called into the library, of a parked goroutine, and its callers,
 * as far as they are known. */
typedef struct bl__caller {
    uintptr_t sp; /* its frame, and those of its callers, begin here */
    uint32_t used_count;
    uint32_t dead_count;
    uintptr_t used[BL__CALLER_USED]; /* what the library's frames have of registers in use */
    uintptr_t dead[BL__CALLER_DEAD]; /* words of the program's that nobody uses */
} bl__caller;

/* False: it is not known, or an exception may lead on from there. One at a time. */
bool bl__caller_find(bl__caller *c, const bl__g *g, bl__trace_space *space);

#endif
