/* SPDX-License-Identifier: MIT */
/*
 * fatal.c: errors that are bugs of the program: a message in Go's words, tracebacks, exit status 2.
 *
 * The process goes without atexit handlers and destructors, as Go's does: they would run in a
 * program that is known to be wrong. What it has printed to stdout is written out; other streams
 * are not looked at, since their locks may be held by threads that never give them back.
 */
#include "debug/fatal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/trace.h"
#include "debug/describe.h"
#include "debug/report.h"

enum { EXIT_FATAL = 2 };

bl__dying bl__fatal_dying;

/* Else it was a thread of our parent's, which forked before there was a run, and so no handler. */
static bool dying_is_here(uint32_t owner)
{
    return owner != 0 && syscall(SYS_tgkill, getpid(), owner, 0) == 0;
}

bool bl__fatal_enter(void)
{
    uint32_t self = (uint32_t)gettid(), owner = 0;
    while (!cas_relaxed(&bl__fatal_dying.owner, &owner, self)) { /* never given back */
        if (owner == self)
            return true;
        while (dying_is_here(owner))
            pause();
    }
    store_relaxed(&bl__rt.frozen, 1u);
    return false;
}

void bl__fatal_await(void)
{
    if (dying_is_here(load_relaxed(&bl__fatal_dying.owner)))
        (void)bl__fatal_enter();
}

const bl__g *bl__fatal_goroutine(void)
{
    bl__m *m = bl__this_m_known();
    return m == NULL || m->g == &m->g0 ? NULL : m->g;
}

void bl__fatal_flush(void)
{
    if (ftrylockfile(stdout) == 0) {
        fflush_unlocked(stdout);
        funlockfile(stdout);
    }
}

void bl__fatal_others(bl__out *o, const bl__g *g)
{
    bl__traceback level = bl__traceback_level();
    if (level < BL__TRACEBACK_ALL)
        return;
    bl__report_all what = {.except = g == NULL ? 0 : g->id,
                           .system = level >= BL__TRACEBACK_SYSTEM};
    bl__report_each(o, &what);
}

void bl__fatal_trace_print(bl__out *o, const bl__g *g, const bl__trace *trace)
{
    store_relaxed(&bl__fatal_dying.doing, (uint32_t)BL__DYING_PRINT);
    bl__trace_print(o, trace, g == NULL ? NULL : g->fn,
                    bl__traceback_level() >= BL__TRACEBACK_SYSTEM);
    store_relaxed(&bl__fatal_dying.doing, (uint32_t)BL__DYING_OTHER);
}

void (*bl__fatal_hook)(void);

void bl__fatal_last(void)
{
    bl__trace_dying();
    if (bl__fatal_hook != NULL)
        bl__fatal_hook();
}

static BL__NORETURN void fatal_exit(void)
{
    bl__fatal_flush();
    bl__fatal_last();
    if (bl__traceback_level() == BL__TRACEBACK_CRASH) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    _exit(EXIT_FATAL);
}

typedef struct fatal_call {
    const char *format;
    va_list *args;
    const void *from; /* where bl__fatal was called */
    const char *does; /* with obj; NULL: there is none */
    bl__reason reason;
    const void *obj;
    const void *first; /* what obj is a copy of, or NULL */
} fatal_call;

static void fatal_print(bl__out *o, void *arg)
{
    fatal_call *call = arg;
    const bl__g *g = bl__fatal_goroutine();
    bl__fatal_dying.g = g;
    bl__fatal_dying.out = o;
    bl__out_printf(o, "fatal error: ");
    bl__out_vprintf(o, call->format, *call->args);
    bl__out_printf(o, "\n");
    if (bl__traceback_level() == BL__TRACEBACK_NONE)
        return;
    bl__out_printf(o, "\n");
    bl__report_head(o, g);
    bl__trace trace;
    bl__fatal_dying.trace = &trace;
    store_relaxed(&bl__fatal_dying.doing, (uint32_t)BL__DYING_WALK);
    bl__trace_here(&trace, call->from);
    bl__fatal_trace_print(o, g, &trace);
    bl__report_tail(o, g, g);
    if (call->does != NULL)
        bl__describe_object(o, call->does, call->reason, call->obj);
    if (call->first != NULL) {
        bl__out_printf(o, "the copy is at");
        bl__describe_place(o, call->obj);
        bl__out_printf(o, ", the first use was at");
        bl__describe_place(o, call->first);
        bl__out_printf(o, "\n");
    }
    bl__out_printf(o, "\n");
    bl__fatal_others(o, g);
}

static void fatal_say(fatal_call *call)
{
    if (bl__fatal_enter())
        _exit(EXIT_FATAL); /* the report itself ran into a bug: what is printed is printed */
    bl__report_run(STDERR_FILENO, fatal_print, call);
}

void bl__fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fatal_call call = {.format = format, .args = &args, .from = __builtin_return_address(0)};
    fatal_say(&call);
    va_end(args);
    fatal_exit();
}

void bl__fatal_of(const char *does, bl__reason reason, const void *obj, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fatal_call call = {format, &args, __builtin_return_address(0), does, reason, obj, NULL};
    fatal_say(&call);
    va_end(args);
    fatal_exit();
}

void bl__fatal_copied(const void *at, const void *first, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fatal_call call = {.format = format,
                       .args = &args,
                       .from = __builtin_return_address(0),
                       .obj = at,
                       .first = first};
    fatal_say(&call);
    va_end(args);
    fatal_exit();
}

/* What has one byte is mostly the beginning of a text. */
void bl__fatal_size(const char *what, size_t size, const char *object, size_t wanted,
                    const bl__site *made)
{
    bl__fatal("belay: a %s of %zu byte%s for a %s of %zu byte%s, made by %s at %s:%d%s", what, size,
              size == 1 ? "" : "s", object, wanted, wanted == 1 ? "" : "s", made->func, made->file,
              made->line, size == 1 ? "; of an array or pointer v pass &v" : "");
}

static void deadlock_print(bl__out *o, void *arg)
{
    (void)arg;
    bl__traceback level = bl__traceback_level();
    bl__out_printf(o, "fatal error: all goroutines are asleep - deadlock!\n");
    if (level == BL__TRACEBACK_NONE)
        return;
    bl__out_printf(o, "\n");
    bl__report_all what = {.system = level >= BL__TRACEBACK_SYSTEM, .cause = BL__CAUSE_STUCK};
    bl__report_each(o, &what);
}

void bl__fatal_report(void (*print)(bl__out *o, void *arg))
{
    if (bl__fatal_enter())
        _exit(EXIT_FATAL);
    bl__report_run(STDERR_FILENO, print, NULL);
    fatal_exit();
}

void bl__fatal_deadlock(void) { bl__fatal_report(deadlock_print); }

typedef struct warn_call {
    const char *format;
    va_list *args;
} warn_call;

static void warn_print(bl__out *o, void *arg)
{
    warn_call *call = arg;
    bl__out_printf(o, "belay: ");
    bl__out_vprintf(o, call->format, *call->args);
    bl__out_printf(o, "\n");
}

void bl__warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    warn_call call = {format, &args};
    bl__report_run(STDERR_FILENO, warn_print, &call);
    va_end(args);
}
