/* SPDX-License-Identifier: MIT */
/* fatal.h: errors that end the process; bl__fatal and bl__warn themselves are in core/sched.h. */
#ifndef BL__DEBUG_FATAL_H
#define BL__DEBUG_FATAL_H

#include "core/sched.h"
#include "debug/traceback.h"

/* All goroutines are asleep and nobody is left to wake one: says so, with every goroutine's
 * wait. */
BL__NORETURN void bl__fatal_deadlock(void);

/* Prints with print, and ends the process as a fatal error does. */
BL__NORETURN void bl__fatal_report(void (*print)(bl__out *o, void *arg));

/* ---- Shared with crash.c ---- */

/* The parts of a report that a damaged stack can make crash. */
enum { BL__DYING_OTHER, BL__DYING_WALK, BL__DYING_PRINT };

/* What is being reported, for who has to carry on when reporting itself crashes. Owner's. */
typedef struct bl__dying {
    uint32_t owner; /* atomic: thread id of who reports the process's end; 0: nobody */
    uint32_t doing; /* BL__DYING_… */
    bl__out *out;
    const bl__g *g; /* whose error it is; NULL: no goroutine's */
    const bl__trace *trace;
} bl__dying;
extern bl__dying bl__fatal_dying;

/* The first thread that calls it goes on, and every other waits for ever. True: the caller had come
 * before. */
bool bl__fatal_enter(void);

/* Waits for ever if another thread reports the process's end: who would end it otherwise must not
 * be quicker. (Go: main waits for a panic that is being printed.) */
void bl__fatal_await(void);

/* The goroutine that the calling thread runs, or NULL. Async-signal-safe. */
const bl__g *bl__fatal_goroutine(void);

/* Prints the frames of g's stack; what crashes here crashes in BL__DYING_PRINT. */
void bl__fatal_trace_print(bl__out *o, const bl__g *g, const bl__trace *trace);

/* The end of a fatal error's output: the other goroutines, where they are asked for. */
void bl__fatal_others(bl__out *o, const bl__g *g);

/* The last thing of a process that dies: the trace is written, and the hook called, if there is
 * one. */
void bl__fatal_last(void);
extern void (*bl__fatal_hook)(void); /* set before goroutines run */

/* Writes out what the program has printed to stdout, unless somebody is in the middle of that. */
void bl__fatal_flush(void);

#endif
