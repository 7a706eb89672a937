/* SPDX-License-Identifier: MIT */
/*
 * kernel.h: words of the program's that are in the kernel's memory, and perhaps nowhere else. A
 * connection that stands in an epoll alone is found by who waits for events, a job that was written
 * to a pipe by who reads it; no look through the process finds either.
 */
#ifndef BL__DEBUG_KERNEL_H
#define BL__DEBUG_KERNEL_H

#include <stdint.h>

/* What is registered in this process's epolls but the runtime's, what is in its pipes and at the
 * head of its Unix sockets, and what its timers signal with. As far as it can be told; nothing of
 * it is taken away. */
void bl__kernel_each(void (*fn)(uint64_t word, void *arg), void *arg);

#endif
