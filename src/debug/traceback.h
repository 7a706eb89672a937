/* SPDX-License-Identifier: MIT */
/*
 * traceback.h: the stack of a goroutine: collecting its program counters, and printing them.
 *
 * Collecting and printing are two steps: the first is bound to the stack and to the moment, the
 * second reads files.
 */
#ifndef BL__DEBUG_TRACEBACK_H
#define BL__DEBUG_TRACEBACK_H

#include "arch/unwind.h"
#include "core/sched.h"
#include "debug/out.h"

enum { BL__TRACE_INNER = 50, BL__TRACE_OUTER = 50 }; /* frames kept of a deep stack, as Go does */

/* Program counters of instructions (of a call: of the last byte of the call), innermost first. */
typedef struct bl__trace {
    uint64_t total; /* frames seen; the last BL__TRACE_OUTER are in a ring */
    uintptr_t inner[BL__TRACE_INNER];
    uintptr_t outer[BL__TRACE_OUTER];
} bl__trace;

/* BELAY_TRACEBACK; each includes what is said of those before it. */
typedef enum bl__traceback {
    BL__TRACEBACK_NONE,   /* none: no tracebacks */
    BL__TRACEBACK_SINGLE, /* single, the default: the goroutine at fault */
    BL__TRACEBACK_ALL,    /* all: all goroutines */
    BL__TRACEBACK_SYSTEM, /* system: with the runtime's own frames */
    BL__TRACEBACK_CRASH   /* crash: and then SIGABRT, for a core file */
} bl__traceback;
bl__traceback bl__traceback_level(void);
void bl__traceback_check(void); /* says what is wrong with BELAY_TRACEBACK */

/* The calling stack from the frame on to which from, a return address, leads; NULL: all of it. */
void bl__trace_here(bl__trace *t, const void *from);

/* The stack of g (NULL: of a thread) with these registers, of a signal handler's third argument. */
void bl__trace_from(bl__trace *t, const bl__regs *at, const bl__g *g);

/* Drops the innermost frames as far as they are the C library's: of an abort, how it aborts. */
void bl__trace_skip_libc(bl__trace *t);

/* The stack of a goroutine that is switched off. False: it runs, or ran meanwhile. g is its record
 * itself. Not by two threads at once: the caller holds the lock of reports. */
bool bl__trace_parked(bl__trace *t, const bl__g *g);

/* Prints a function and its place for each frame. Without system the frames of the runtime at both
 * ends are left out, so that the program's own code comes first; where nothing remains (the program's
 * function ended in a jump to one of ours) it prints fn, what the goroutine was started with, if that
 * is the program's. */
void bl__trace_print(bl__out *o, const bl__trace *t, bl_fn fn, bool system);

#endif
