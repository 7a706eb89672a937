/* SPDX-License-Identifier: MIT */
/*
 * kernel.h: words of the program's that are in the kernel's memory, and perhaps nowhere else. A
 * connection that stands in an epoll alone is found by who waits for events, a job that was written
 * to a pipe by who reads it; no look through the process finds either.
 */
#ifndef BL__DEBUG_KERNEL_H
#define BL__DEBUG_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* What is registered in this process's epolls but the runtime's, what is in its pipes, at the heads
 * of its sockets, in the message queues of the system, what its eventfds count and its timers
 * signal with. Nothing of it is taken away. False: there is something that nobody else can read: in
 * a POSIX message queue, the value of a signal that is pending, under way in an io_uring of the
 * program's or an io_setup(2), or behind what is looked at of a pipe or socket; or no descriptor to
 * look with. */
bool bl__kernel_each(void (*fn)(uint64_t word, void *arg), void *arg);

/* Says once if a filter of system calls keeps that from being known. Sysmon's, since who looks may
 * hold all others up. */
void bl__kernel_refused_say(void);

#endif
