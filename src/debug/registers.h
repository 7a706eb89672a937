/* SPDX-License-Identifier: MIT */
/* registers.h: words of the program's that stand in registers, and perhaps nowhere else. */
#ifndef BL__DEBUG_REGISTERS_H
#define BL__DEBUG_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "debug/stuck.h"

/* Of plain threads that sleep in a call of the system; who waits in the library has them on its
 * stack. False: there is one that computes, or whose registers cannot be read without its notice.
 *
 * And, if s is not NULL, of the goroutines that it met running, together with their stacks, each at
 * one moment by now: of who is switched off, keeps its thread in such a call, or computes where the
 * kernel's profiler tells us. Those of which that is not known stay in s, and others come there that
 * run now. */
bool bl__registers_each(void (*fn)(uint64_t word, void *arg), void *arg, bl__search *s);

#endif
