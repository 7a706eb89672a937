/* SPDX-License-Identifier: MIT */
/*
 * report.h: goroutines in Go's traceback format, and what a run says at its end.
 *
 * One report is printed at a time. It runs on a stack of its own, since reading debug information
 * takes more than a goroutine that is in trouble may have left.
 */
#ifndef BL__DEBUG_REPORT_H
#define BL__DEBUG_REPORT_H

#include "core/sched.h"
#include "debug/cause.h"
#include "debug/out.h"
#include "debug/traceback.h"
#include "os/os.h"

/* Within a report: prints each goroutine that want (NULL: all) wants, in the order of their
 * numbers, in the form of a leak report: a blank line, and the wait reason marked "(leaked)"; why
 * they are late; those that are alike once. Does not park. */
void bl__report_goroutines(bl__out *o, bool (*want)(const bl__g *g, void *arg), void *arg);

/* The same of those that are stuck. */
void bl__report_stuck(bl__out *o, bool (*want)(const bl__g *g, void *arg), void *arg);

/* Goroutines have not stopped in their scope's grace: reports it with fn, unless leaks are ignored.
 * Where leaks fail the program, an exit while they are still not joined does. */
void bl__report_late(void (*fn)(bl__out *o, void *arg), void *arg);
void bl__report_late_joined(void);
/* Of the test runner, NULL elsewhere: says it instead. */
extern void (*bl__late_say)(void (*print)(bl__out *o, void *arg), void *arg);

/* Prints that left goroutines were left when the program ended, and each of them. */
void bl__report_leaks(size_t left);

/* Prints why a run has not begun: what its user can do about it, whom a number does not tell. */
void bl__report_refused(int err);

/* With BELAY_SUMMARY=1 prints how many goroutines were started, have ended and are left: at the end
 * of a run that has begun, and when exit is called in it. */
void bl__summary_begin(void);
void bl__report_summary(void);
bool bl__summary_wanted(void);
/* Says what is wrong with BELAY_SUMMARY. */
void bl__summary_check(void);

/* From now on a program that would exit with 0 exits with 3. */
void bl__exit_leaked(void);

/* Those of the run before have been told of, and their numbers are given out again. */
void bl__report_forget(void);

/* ---- For the other reports ---- */

/* Calls fn with a printer to fd, on the reports' own stack and under their lock; with what fn
 * leaves in the printer, flushed. Within a report: at once. Waits for another thread's report, but
 * not for long: that thread may be what is wrong. */
void bl__report_run(int fd, void (*fn)(bl__out *o, void *arg), void *arg);

/* The same for what was asked for, and may be long: others go on, also with the processor of the
 * caller, if that is a goroutine, outside of the runtime. */
void bl__report_run_aside(int fd, void (*fn)(bl__out *o, void *arg), void *arg);

/* The same lock, for who stays on its stack (signal handlers). */
void bl__report_lock(void);
void bl__report_unlock(void);
/* It is the call of who waits for the lock, to report something of his own. */
bool bl__report_awaited(const bl__thread_call *call);

/* The memory that reports are made in, which is full of what they were about. */
void bl__report_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg);

/* "goroutine 7 [running]:", the frames, where it was started, and its labels. system: with the
 * runtime's frames. In three parts, since the middle one may fail in a damaged program. */
void bl__report_head(bl__out *o, const bl__g *g);
void bl__report_tail(bl__out *o, const bl__g *g, const bl__g *at);

/* All goroutines but the one with the number except. leaked: waits are marked, and those that are
 * alike are printed once, with their number. */
typedef struct bl__report_all {
    bool (*want)(const bl__g *g, void *arg);
    void *arg;
    uint64_t except;
    bool leaked;
    bool system;
    bool asked; /* by the program: who was told of before is shown again */
    bl__cause_of cause;
} bl__report_all;
void bl__report_each(bl__out *o, const bl__report_all *what);

/* Whom a report of all goroutines leaves out, but with BELAY_TRACEBACK=system: those of the test
 * runner. NULL: nobody. Set before goroutines run. */
extern bool (*bl__report_skips)(const bl__g *g);
bool bl__report_leaves_out(const bl__g *g);
/* Of the scopes that somebody is in, those are shown that are below one which was opened here. NULL:
 * all. Likewise. */
extern const bl__site *bl__report_above;

#endif
