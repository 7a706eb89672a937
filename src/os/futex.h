/* SPDX-License-Identifier: MIT */
/* futex.h: sleeping on a word, and waking who sleeps on it. Private to the process. */
#ifndef BL__OS_FUTEX_H
#define BL__OS_FUTEX_H

#include <stdint.h>

/* Sleeps while *word is expected, for at most timeout ns (INT64_MAX: without end). Returns early
 * for any reason, so callers look again. Leaves errno as it was. */
void bl__futex_wait(uint32_t *word, uint32_t expected, int64_t timeout);

/* Wakes at most n sleepers. Safe in a signal handler. */
void bl__futex_wake(uint32_t *word, int n);

/* With -race, after a wait: ThreadSanitizer keeps the program's signals until a call that it
 * intercepts of the thread that got them, and those of the runtime may only ever wait. */
void bl__handlers_run(void);

#endif
