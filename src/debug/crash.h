/* SPDX-License-Identifier: MIT */
/* crash.h: signals that kill the program are reported, with the goroutine they hit, before they
 * do. */
#ifndef BL__DEBUG_CRASH_H
#define BL__DEBUG_CRASH_H

#include <stdbool.h>

/* Handle SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, except for those that the program handles or
 * ignores itself; and give them back. Not under AddressSanitizer and ThreadSanitizer, which have
 * reports of their own. */
void bl__crash_install(void);
void bl__crash_uninstall(void);

/* A thread that runs goroutines has a stack of its own for signals, since a goroutine's may be what
 * is full. The thread keeps one that it has already. 0 or BL_ENOMEM: then an overflow kills without
 * a report. */
int bl__crash_thread_init(void);
void bl__crash_thread_fini(void);

/* Calls fn(arg), which reads what may be damaged. False: it crashed, and was left where it was. One
 * thread at a time, calls within a call; another one that comes meanwhile calls fn without. */
bool bl__rescue(void (*fn)(void *arg), void *arg);
/* Would a crash be caught now? Not where the program, or a sanitizer, has its own handler: what is
 * likely to crash is not to be tried then. */
bool bl__rescue_there(void);

#endif
