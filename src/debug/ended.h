/* SPDX-License-Identifier: MIT */
/* ended.h: stacks of threads that have ended, which the C library keeps for others. */
#ifndef BL__DEBUG_ENDED_H
#define BL__DEBUG_ENDED_H

#include "debug/maps.h"

/* The calling thread was started with this function and argument: what the C library keeps of each
 * thread is learned from what it keeps of this one. */
void bl__ended_learn(void *(*fn)(void *), const void *arg);
/* Leaves out of m what threads that have ended had on their stacks. */
void bl__ended_skip(bl__maps *m);

#endif
