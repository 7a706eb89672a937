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
#include "os/os.h"

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

/* The kernel's number of the thread that runs g; 0: none does. */
int bl__thread_of(const bl__g *g);

/* The stack of one that runs, if its thread sleeps in a call of the system, from the caller of the
 * C library on. False: it does not, or has moved meanwhile. The caller holds the lock of
 * reports. */
bool bl__trace_in_call(bl__trace *t, const bl__g *g);

/* The same for many, one after the other: quick for those whose stacks are equal to one seen
 * before, and with memory of its own, so the lock of reports is not needed. memo begins zeroed. */
enum { BL__TRACE_KNOWN = 64 };
typedef struct bl__trace_space {
    char *base; /* where stacks are copied to */
    size_t room;
} bl__trace_space;

/* The stack of one that computes, at one moment of the next 0.1 s. False: it sleeps, or the system
 * does not let us look. The caller holds the lock of reports. */
bool bl__trace_computing(bl__trace *t, const bl__g *g);

typedef struct bl__trace_known {
    uintptr_t pc, fp; /* where it left off; fp and at are offsets in the copy */
    size_t bytes;
    uint32_t frames;
    uint32_t at[BL__TRACE_INNER]; /* of each frame's return address, but for the innermost's */
    uintptr_t back[BL__TRACE_INNER];
} bl__trace_known;
typedef struct bl__trace_memo {
    bl__trace_space space;
    uint32_t count, next;
    bl__trace_known known[BL__TRACE_KNOWN];
} bl__trace_memo;
bool bl__trace_parked_memo(bl__trace *t, const bl__g *g, bl__trace_memo *memo);
void bl__trace_space_free(bl__trace_space *space);
/* Where reports have copied stacks to: what was on those keeps nothing alive. */
void bl__trace_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg);

/* Copies, in space, of what is in use of the stack of g, the first *n bytes there, as it was at one
 * moment. Any thread, each with a space of its own; they hold until the next in the same.
 * NULL: that is not what g does, or it has moved meanwhile.
 *   - saved: it is switched off.
 *   - in call: it runs, and its thread sleeps in *call.
 *   - sampled: it computes, with these registers, at one moment of the next 0.1 s; NULL also where
 *     the system does not let us look. */
char *bl__stack_saved(const bl__g *g, bl__trace_space *space, size_t *n);
char *bl__stack_in_call(const bl__g *g, bl__trace_space *space, size_t *n, bl__thread_call *call);
char *bl__stack_sampled(const bl__g *g, bl__trace_space *space, size_t *n, bl__regs *regs);

/* The first of them, in which all that points into the stack points into the copy. */
char *bl__trace_copy(const bl__g *g, bl__trace_space *space, size_t *n);
/* The stack walked of what was sampled, which is then changed likewise. */
bool bl__trace_sampled(bl__trace *t, const bl__regs *regs, char *copy, size_t n);

/* Whether a call instruction ends at back: then back is a return address. */
bool bl__trace_is_return(uintptr_t back);

/* Of a thread that sleeps in a call of the system, in the C library: its program's function has
 * nothing that it still uses in registers alone. Not where its registers are other than calls keep
 * them; x86-64. */
bool bl__trace_keeps_nothing(uintptr_t sp, uintptr_t pc);

/* The library's function that the program has called, where the trace begins in one, or in what
 * that has called; else NULL. */
const char *bl__trace_called(const bl__trace *t);

/* Prints a function and its place for each frame. Without system the frames of the runtime at both
 * ends are left out, so that the program's own code comes first, and between two functions of the
 * program's all but what the one has called; where nothing remains (the program's function ended in
 * a jump to one of ours) it prints fn, what the goroutine was started with, if that is the
 * program's. */
void bl__trace_print(bl__out *o, const bl__trace *t, bl_fn fn, bool system);

#endif
