/* SPDX-License-Identifier: MIT */
/* registers.h: words of the program's that stand in registers of plain threads, and perhaps nowhere
 * else. */
#ifndef BL__DEBUG_REGISTERS_H
#define BL__DEBUG_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

/* Of those that sleep in a call of the system; who waits in the library has them on its stack.
 * False: there is one that computes, or whose registers cannot be read without its notice. */
bool bl__registers_each(void (*fn)(uint64_t word, void *arg), void *arg);
/* The same, and of goroutines that keep their thread in such a call. Others that run are not
 * known. */
bool bl__registers_each_thread(void (*fn)(uint64_t word, void *arg), void *arg);

#endif
