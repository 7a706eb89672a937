/* SPDX-License-Identifier: MIT */
/* sample.h: a moment of another thread that computes: its registers, and its stack. */
#ifndef BL__DEBUG_SAMPLE_H
#define BL__DEBUG_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "arch/unwind.h"

/* Waits, for 0.1 s at the most, until the thread has computed for 0.1 ms, and takes what its
 * registers are, and up to room bytes of its stack from its stack pointer on. The bytes, or less
 * than 0: it sleeps, or the system does not let us. The thread does not notice. */
ssize_t bl__sample_take(bl__regs *regs, char *stack, size_t room, int tid);

/* The system lets us look, at the calling thread for one. */
bool bl__sample_may(void);

#endif
