/* SPDX-License-Identifier: MIT */
/*
 * epolls.h: what the program has in epolls of its own. epoll_data is in the kernel's memory: a connection that stands
 * there and nowhere else is found by who waits for events, and by no look through the process.
 */
#ifndef BL__DEBUG_EPOLLS_H
#define BL__DEBUG_EPOLLS_H

#include <stdint.h>

/* Of every epoll of this process but the runtime's: of each descriptor in it, its data. As far as /proc tells. */
void bl__epolls_each(void (*fn)(uint64_t data, void *arg), void *arg);

#endif
