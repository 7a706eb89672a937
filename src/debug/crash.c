/* SPDX-License-Identifier: MIT */
/*
 * crash.c: the report of a crash.
 *
 * The handler prints and then lets the signal kill: it puts the default action back and returns to
 * the instruction that failed, so that core files and debuggers see the crash itself. Signals that
 * somebody sent are sent again.
 *
 * The report can crash too, most of all when it walks a damaged stack. The signals are not blocked
 * during the handler; the second one ends the traceback, prints what is left to say, and dies.
 */
#include "debug/crash.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "arch/unwind.h"
#include "core/trace.h"
#include "debug/describe.h"
#include "debug/fatal.h"
#include "debug/peek.h"
#include "debug/report.h"

enum {
    CRASH_STACK = 64 * 1024,
    GUARD_REACH = 64 * 1024, /* a frame larger than the guard can be touched first beyond it */
    NIL_REACH = 4096         /* fields of what a null pointer leads to */
};

static const struct {
    int sig;
    const char *name;
    const char *text; /* Go's */
} crash_signals[] = {
    {SIGSEGV, "SIGSEGV", "segmentation violation"},
    {SIGBUS, "SIGBUS", "bus error"},
    {SIGFPE, "SIGFPE", "floating-point exception"},
    {SIGILL, "SIGILL", "illegal instruction"},
    {SIGABRT, "SIGABRT", "abort"},
};

enum { CRASH_SIGNALS = sizeof crash_signals / sizeof crash_signals[0] };

/* What the handler was called with. */
typedef struct crash {
    int sig;
    const siginfo_t *info;
    const bl__g *g;
    bl__regs regs;
} crash;

static size_t signal_index(int sig)
{
    size_t i = 0;
    while (i < CRASH_SIGNALS - 1 && crash_signals[i].sig != sig)
        i++;
    return i;
}

/* The instruction failed, and not: somebody sent the signal. */
static bool is_fault(const crash *c) { return c->info->si_code > 0 && c->sig != SIGABRT; }

/* Below the lowest usable address of the goroutine's stack, and reached from it. */
static bool is_overflow(const crash *c)
{
    if (!is_fault(c) || c->g == NULL || (c->sig != SIGSEGV && c->sig != SIGBUS))
        return false;
    uintptr_t lo = (uintptr_t)c->g->stack_lo, at = (uintptr_t)c->info->si_addr;
    uintptr_t sp = c->regs.r[BL__REG_SP];
    return at < lo && lo - at <= GUARD_REACH && sp < lo + GUARD_REACH && sp + GUARD_REACH >= lo &&
           sp <= at + GUARD_REACH;
}

/* On a thread, whose stack ends at a guard page: where the stack pointer is, or just below. */
static bool is_thread_overflow(const crash *c)
{
    if (!is_fault(c) || c->g != NULL || (c->sig != SIGSEGV && c->sig != SIGBUS))
        return false;
    uintptr_t sp = c->regs.r[BL__REG_SP], at = (uintptr_t)c->info->si_addr, word;
    return at + GUARD_REACH >= sp && at < sp + GUARD_REACH &&
           (at < sp || !bl__peek(&word, (const void *)sp, sizeof word));
}

/* A null pointer was followed, or a small number that was taken for one. SI_KERNEL is for addresses
 * that are not told. */
static bool is_nil(const crash *c)
{
    return is_fault(c) && c->sig == SIGSEGV && c->info->si_code != SI_KERNEL &&
           (uintptr_t)c->info->si_addr < NIL_REACH;
}

static void overflow_print(bl__out *o, const bl__g *g)
{
    bl__out_printf(o, "belay: goroutine %llu (%s) overflowed its stack of ",
                   (unsigned long long)g->id, bl__describe_function(g));
    bl__out_size(o, bl__rt.options.stack_size);
    bl__out_printf(o, " (set bl_options.stack_size or BELAY_STACK)\n");
    bl__out_printf(o, "fatal error: stack overflow\n");
}

/* By the name that the program knows it by: bl_go is a macro, which calls bl__go. The frame of a
 * call may be another's by now, which the program does not know. */
static void nil_print(bl__out *o, const bl__trace *t)
{
    const char *func = bl__trace_called(t);
    if (func == NULL)
        return;
    bool macro = strncmp(func, "bl__", 4) == 0, public = strncmp(func, "bl_", 3) == 0;
    bl__out_printf(o, "cause: a nil pointer in %s%s: is one of its arguments NULL?\n",
                   macro ? "bl_" : "",
                   macro    ? func + 4
                   : public ? func
                            : "a call of belay");
}

static void signal_print(bl__out *o, const crash *c)
{
    size_t i = signal_index(c->sig);
    bl__out_printf(o, "[signal %s: %s code=0x%x", crash_signals[i].name, crash_signals[i].text,
                   (unsigned)c->info->si_code);
    if (is_fault(c))
        bl__out_printf(o, " addr=%p", c->info->si_addr);
    bl__out_printf(o, " pc=0x%lx]\n", (unsigned long)c->regs.r[BL__REG_PC]);
}

static void crash_print(bl__out *o, const crash *c)
{
    const bl__g *g = c->g;
    bl__traceback level = bl__traceback_level();
    bl__fatal_dying.out = o;
    bl__fatal_dying.g = g;
    if (is_overflow(c))
        overflow_print(o, g);
    else if (is_thread_overflow(c))
        bl__out_printf(o, "belay: a thread overflowed its stack (ulimit -s)\n"
                          "fatal error: stack overflow on a thread that runs no goroutine\n");
    else
        bl__out_printf(o, "fatal error: unexpected signal%s\n",
                       g == NULL ? " on a thread that runs no goroutine" : "");
    signal_print(o, c);
    if (level == BL__TRACEBACK_NONE)
        return;
    bl__out_printf(o, "\n");
    bl__report_head(o, g);
    bl__out_flush(o);
    bl__trace trace = {.total = 0};
    bl__fatal_dying.trace = &trace;
    store_relaxed(&bl__fatal_dying.doing, (uint32_t)BL__DYING_WALK);
    bl__trace_from(&trace, &c->regs, g);
    if (c->sig == SIGABRT && level < BL__TRACEBACK_SYSTEM)
        bl__trace_skip_libc(&trace);
    bl__fatal_trace_print(o, g, &trace);
    bl__report_tail(o, g, g);
    if (is_nil(c))
        nil_print(o, &trace);
    bl__out_printf(o, "\n");
    bl__fatal_others(o, g);
}

static void die(int sig, bool fault)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    bl__fatal_last();
    sigaction(sig, &dfl, NULL);
    if (fault)
        return; /* to where it is met again */
    syscall(SYS_tgkill, getpid(), gettid(), sig);
    _exit(128 + sig); /* the first process of a container is not killed by its own signals */
}

/* The report of this thread crashed. What it had found of the stack is worth printing, once. */
static void crash_again(int sig)
{
    bl__out *o = bl__fatal_dying.out;
    uint32_t doing = load_relaxed(&bl__fatal_dying.doing);
    if (doing == BL__DYING_WALK)
        bl__fatal_trace_print(o, bl__fatal_dying.g, bl__fatal_dying.trace);
    store_relaxed(&bl__fatal_dying.doing, (uint32_t)BL__DYING_OTHER);
    if (doing != BL__DYING_OTHER) {
        bl__out_printf(o, "\t(the stack is damaged; the traceback ends here)\n");
        bl__report_tail(o, bl__fatal_dying.g, bl__fatal_dying.g);
        bl__out_flush(o);
    }
    die(sig, false);
}

/* ---- Rescue ---- */

static struct {
    uint32_t thread;  /* atomic: who may crash; 0: nobody */
    sigjmp_buf *back; /* thread's: of its innermost call */
} rescue;

static void rescue_leave(void)
{
    if (load_relaxed(&rescue.thread) == (uint32_t)gettid())
        siglongjmp(*rescue.back, 1);
}

bool bl__rescue(void (*fn)(void *arg), void *arg)
{
    uint32_t nobody = 0, self = (uint32_t)gettid();
    bool inner = load_relaxed(&rescue.thread) == self;
    if (!inner && !cas_acquire(&rescue.thread, &nobody, self)) { /* ORD(rescue) */
        fn(arg);
        return true;
    }
    sigjmp_buf here, *volatile outer = inner ? rescue.back : NULL;
    volatile bool ok = sigsetjmp(here, 1) == 0;
    if (ok) {
        rescue.back = &here;
        fn(arg);
    }
    rescue.back = outer;
    if (outer == NULL)
        store_release(&rescue.thread, 0u); /* ORD(rescue) */
    return ok;
}

static void crash_handler(int sig, siginfo_t *info, void *ucontext)
{
    crash c = {.sig = sig, .info = info};
    rescue_leave();
    if (bl__fatal_enter()) {
        crash_again(sig);
        return;
    }
    c.g = bl__fatal_goroutine();
    bl__regs_signal(&c.regs, ucontext);
    bl__out o;
    bl__out_init(&o, STDERR_FILENO);
    bl__report_lock();
    crash_print(&o, &c);
    bl__out_flush(&o);
    bl__report_unlock();
    bl__fatal_flush();
    die(sig, is_fault(&c));
}

static bool is_ours(const struct sigaction *sa)
{
    return (sa->sa_flags & SA_SIGINFO) != 0 && sa->sa_sigaction == crash_handler;
}

bool bl__rescue_there(void)
{
    struct sigaction now;
    uint32_t who = load_relaxed(&rescue.thread);
    return (who == 0 || who == (uint32_t)gettid()) && sigaction(SIGSEGV, NULL, &now) == 0 &&
           is_ours(&now);
}

#if BL__ASAN
/* AddressSanitizer has handlers of its own, and its reports know threads: which goroutine that was
 * is told behind them, or, of UndefinedBehaviorSanitizer where it asks (gcc's does), before. */
static void reported_by(void)
{
    const bl__g *g = bl__fatal_goroutine();
    if (g == NULL && bl__helper_caller() == 0)
        return;
    bl__out o;
    bl__out_init(&o, STDERR_FILENO);
    bl__report_head(&o, g);
    bl__report_tail(&o, g, NULL);
    bl__out_flush(&o);
}

static void asan_reported(const char *text)
{
    (void)text;
    reported_by();
}

/* As early, so that it does not replace a program's own. */
static __attribute__((constructor)) void asan_begin(void)
{
    __asan_set_error_report_callback(asan_reported);
}

void __ubsan_on_report(void);
__attribute__((weak, visibility("default"))) void __ubsan_on_report(void) { reported_by(); }
#endif

void bl__crash_install(void)
{
    if (BL__ASAN || BL__TSAN)
        return;
    struct sigaction ours = {.sa_sigaction = crash_handler,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&ours.sa_mask);
    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        struct sigaction before;
        if (sigaction(crash_signals[i].sig, NULL, &before) == 0 &&
            (before.sa_flags & SA_SIGINFO) == 0 && before.sa_handler == SIG_DFL)
            sigaction(crash_signals[i].sig, &ours, NULL);
    }
}

void bl__crash_uninstall(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < CRASH_SIGNALS; i++) {
        struct sigaction now;
        if (sigaction(crash_signals[i].sig, NULL, &now) == 0 && is_ours(&now))
            sigaction(crash_signals[i].sig, &dfl, NULL);
    }
}

int bl__crash_thread_init(void)
{
    stack_t have;
    if (BL__ASAN || BL__TSAN || (sigaltstack(NULL, &have) == 0 && !(have.ss_flags & SS_DISABLE)))
        return 0;
    void *p = mmap(NULL, CRASH_STACK, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p == MAP_FAILED)
        return BL_ENOMEM;
    stack_t ours = {.ss_sp = p, .ss_size = CRASH_STACK};
    if (sigaltstack(&ours, NULL) != 0) {
        munmap(p, CRASH_STACK);
        return BL_ENOMEM;
    }
    bl__this_m()->crash_stack = p;
    return 0;
}

void bl__crash_thread_fini(void)
{
    bl__m *m = bl__this_m_known();
    if (m == NULL || m->crash_stack == NULL)
        return;
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    munmap(m->crash_stack, CRASH_STACK);
    m->crash_stack = NULL;
}
