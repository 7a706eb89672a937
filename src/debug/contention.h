/* SPDX-License-Identifier: MIT */
/* contention.h: what the block and mutex profiles have recorded. What core and sync use is in core/sched.h. */
#ifndef BL__DEBUG_CONTENTION_H
#define BL__DEBUG_CONTENTION_H

#include "core/sched.h"
#include "debug/stacks.h"

typedef enum bl__contended { BL__CONTENDED_BLOCK, BL__CONTENDED_MUTEX } bl__contended;

/* Adds all that was recorded to to. */
void bl__contended_copy(bl__contended which, bl__stacks *to);

#endif
