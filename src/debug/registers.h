/* SPDX-License-Identifier: MIT */
/* registers.h: words of the program's that stand in registers of plain threads, and perhaps nowhere
 * else. */
#ifndef BL__DEBUG_REGISTERS_H
#define BL__DEBUG_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "debug/stuck.h"

/* Of those that sleep in a call of the system; who waits in the library has them on its stack.
 * False: there is one that computes, or whose registers cannot be read without its notice. */
bool bl__registers_each(void (*fn)(uint64_t word, void *arg), void *arg);
/* The same, and of goroutines that keep their thread in such a call, or compute where the kernel's
 * profiler tells us. Of others that compute: unknown, with the goroutine and its switches. */
bool bl__registers_each_thread(void (*fn)(uint64_t word, void *arg),
                               void (*unknown)(const bl__stuck *who, void *arg), void *arg);

#endif
