/* SPDX-License-Identifier: MIT */
/*
 * quit.c: SIGQUIT prints every goroutine to stderr, and then ends the process with status 2 as Go
 * does, or goes on.
 *
 * The handler runs on any thread, inside of anything, so it prints nothing: it notes the signal and
 * wakes sysmon, which needs neither a processor nor a lock to print. A program that is stuck, or
 * whose goroutines keep all processors busy, is shown all the same. If it goes on afterwards, a
 * thread of its own prints, since sysmon has others to look after, and stderr may be a pipe that
 * nobody reads. If even sysmon does not come within PATIENCE, the next SIGQUIT has its default
 * action: it kills, with a core file.
 *
 * The program's own handler is left alone, and bl_notify of SIGQUIT takes the signal over while it
 * lasts, as in Go. So is a program's own SIG_IGN; but not one that it was started with: a shell
 * starts what it runs in the background with SIGQUIT ignored, and there it is asked for most.
 */
#include "debug/quit.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "core/proc.h"
#include "debug/fatal.h"
#include "debug/report.h"
#include "life/notify.h"
#include "os/os.h"

#define PATIENCE (2 * BL_SEC)

static struct {
    int on_quit;          /* BL_QUIT_…; immutable in a run */
    struct sigaction was; /* what there was before */
    bl_time asked;        /* atomic: when it came; 0: it has not, or was acted on */
    bool ignored;         /* immutable: the process was started with it ignored */
    pthread_t thread;     /* sysmon, and the end of a run: who prints, or has */
    bool started;         /* the same: there is a thread to be joined */
    uint32_t printing;    /* atomic */
} quit;

static bool is_default(const struct sigaction *sa)
{
    return (sa->sa_flags & SA_SIGINFO) == 0 &&
           (sa->sa_handler == SIG_DFL || (sa->sa_handler == SIG_IGN && quit.ignored));
}

__attribute__((constructor)) static void quit_at_start(void)
{
    struct sigaction sa;
    quit.ignored = sigaction(SIGQUIT, NULL, &sa) == 0 && (sa.sa_flags & SA_SIGINFO) == 0 &&
                   sa.sa_handler == SIG_IGN;
}

static void on_quit(int sig)
{
    int saved = errno;
    bl_time now = bl__clock(), asked = load_relaxed(&quit.asked);
    if (getpid() != load_relaxed(&bl__signals.pid) || (asked != 0 && now - asked > PATIENCE)) {
        signal(sig, SIG_DFL);
        raise(sig); /* it is blocked until the handler returns */
    } else {
        if (asked == 0)
            store_relaxed(&quit.asked, now);
        /* ORD(signal): with deliver */
        (void)or_acq_rel(&bl__signals.pending, UINT64_C(1) << (sig - 1));
        bl__sysmon_notify();
    }
    errno = saved;
}

static void quit_print(bl__out *o, void *arg)
{
    (void)arg;
    bl__traceback level = bl__traceback_level();
    bl__out_printf(o, "SIGQUIT: quit\n\n");
    if (level == BL__TRACEBACK_NONE)
        return;
    bl__report_all what = {.system = level >= BL__TRACEBACK_SYSTEM};
    bl__report_each(o, &what);
}

static void quit_dump(void)
{
    bl__report_run_aside(STDERR_FILENO, quit_print, NULL);
    store_relaxed(&quit.printing, 0u);
    store_relaxed(&quit.asked, (bl_time)0);
}

static void *quit_main(void *arg)
{
    bl__thread_began("belay-dump");
    quit_dump();
    return arg;
}

void bl__quit_wait(void)
{
    if (quit.started)
        pthread_join(quit.thread, NULL);
    quit.started = false;
}

void bl__quit_deliver(void)
{
    if (load_relaxed(&quit.asked) == 0)
        return; /* it is a channel's */
    if (quit.on_quit != BL_QUIT_DUMP)
        bl__fatal_report(quit_print);
    if (load_relaxed(&quit.printing))
        return;
    bl__quit_wait();
    store_relaxed(&quit.printing, 1u);
    quit.started = bl__thread_start(&quit.thread, quit_main, NULL, true) == 0;
    if (!quit.started)
        quit_dump();
}

void bl__quit_install(int choice)
{
    struct sigaction ours = {.sa_handler = on_quit, .sa_flags = SA_RESTART | SA_ONSTACK};
    quit.on_quit = BL_QUIT_OFF;
    store_relaxed(&quit.asked, (bl_time)0); /* it may have come too late for the run before */
    if (choice == BL_QUIT_OFF || sigaction(SIGQUIT, NULL, &quit.was) != 0 || !is_default(&quit.was))
        return;
    quit.on_quit = choice;
    sigfillset(&ours.sa_mask);
    sigaction(SIGQUIT, &ours, NULL);
}

void bl__quit_uninstall(void)
{
    struct sigaction now;
    if (quit.on_quit != BL_QUIT_OFF && sigaction(SIGQUIT, NULL, &now) == 0 &&
        (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == on_quit)
        sigaction(SIGQUIT, &quit.was, NULL);
}
