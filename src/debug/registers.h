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
 * And, if r is not NULL, of the goroutines there, which ran, together with their stacks, each at
 * one moment by now: of who is switched off, keeps its thread in such a call, or computes where the
 * kernel's profiler tells us. Those are known then, and others are added that run now and are
 * not. */
bool bl__registers_each(void (*fn)(uint64_t word, void *arg), void *arg, bl__runners *r);

#endif
