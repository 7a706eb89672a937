/* SPDX-License-Identifier: MIT */
/* contention.h: what the block, mutex and latency profiles have recorded. What core and sync use is
 * in core/sched.h. */
#ifndef BL__DEBUG_CONTENTION_H
#define BL__DEBUG_CONTENTION_H

#include "core/sched.h"
#include "debug/stacks.h"

typedef enum bl__contended {
    BL__CONTENDED_BLOCK,
    BL__CONTENDED_MUTEX,
    BL__CONTENDED_LATENCY,
    BL__CONTENDED_KINDS
} bl__contended;

/* Records it from now on, unless it is recorded already (false); and no more. */
bool bl__contended_start(bl__contended which);
void bl__contended_stop(bl__contended which);

/* Adds all that was recorded to to. */
void bl__contended_copy(bl__contended which, bl__stacks *to);

#endif
