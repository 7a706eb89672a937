/* SPDX-License-Identifier: MIT */
/*
 * tracer.c: see tracer.h; ptrace(2), and kernel/signal.c of Linux.
 *
 * Only a tracer is told the registers of a thread, and no process may trace its own threads. So one
 * is made for the moment that shares the memory, and has nothing else to do (as LeakSanitizer's
 * StopTheWorld does). Nobody is to notice:
 *
 *   - Its end sends no signal, and wait(2) and its kin do not know it, but with __WALL.
 *   - It blocks all signals and has a process group of its own, so what the terminal sends to the
 *     program's is not for it.
 *   - It uses no thread-locals, which are those of who made it, so nothing of the C library's.
 *   - A thread that is stopped leaves its call of the system, and goes on with it. Which calls do is
 *     for the caller to know. It is looked at again right before, since it may have gone on. On
 *     x86-64 the result is there at the stop, not yet decided: one of EINTR is made one that a
 *     handler of the program's would make EINTR, and nothing else does.
 *   - One thread is stopped at a time, so that an execve(2) of another does not wait for who waits
 *     for it. If the tracer does not come to an end it is ended, and all go on.
 *   - The program may be killed, or its program be replaced, at any time: it does not outlive who
 *     made it, nor wait for long to be told to go, since it has all descriptors open.
 *
 * A filter of system calls may kill who traces, and whose call is begun again by restart_syscall(2):
 * neither is tried then. Where only a parent may trace (Yama), the tracer is named to it; that takes
 * the place of one that the program has named, so it is tried without first.
 */
#include "debug/tracer.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "arch/syscall.h"
#include "core/atomic.h"
#include "os/futex.h"
#include "os/os.h"

enum { TRACER_STACK = 1 << 14, TRACER_AGAIN = 514 /* ERESTARTNOHAND */ };

#define TRACER_PATIENCE ((int64_t)1000000000) /* ns */

typedef struct tracer {
    uint32_t go, done; /* atomic; futexes */
    bl__stopped *list;
    size_t count;
    _Alignas(16) char stack[TRACER_STACK];
} tracer;

/* ---- In the tracer ---- */

static long tracer_ask(long what, int tid, long at, long value)
{
    return bl__syscall6(SYS_ptrace, what, tid, at, value, 0, 0);
}

static bool stopped_sleeps(bl__stopped *t)
{
    if (bl__syscall6(SYS_pread64, t->fd, (long)t->now, sizeof t->now, 0, 0, 0) != (long)t->length)
        return false;
    for (size_t i = 0; i < t->length; i++)
        if (t->now[i] != t->text[i])
            return false;
    return true;
}

/* It has stopped because it was asked to, and its call has not done anything. */
static void stopped_again(const bl__stopped *t, int status)
{
#if defined(__x86_64__)
    const struct user_regs_struct *r = (const void *)t->word;
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_STOP << 8) && (long)r->rax == -EINTR &&
        (long)r->orig_rax == t->number)
        (void)tracer_ask(PTRACE_POKEUSER, t->tid, offsetof(struct user_regs_struct, rax),
                         -TRACER_AGAIN);
#else
    (void)t, (void)status;
#endif
}

/* False: it is still traced, until the tracer ends. */
static bool stopped_read(bl__stopped *t)
{
    struct iovec to = {t->word, sizeof t->word};
    int status = 0;
    long r = tracer_ask(PTRACE_SEIZE, t->tid, 0, 0);
    if (r < 0) {
        t->result = r == -ESRCH ? BL__STOPPED_GONE : BL__STOPPED_REFUSED;
        return true;
    }
    if (!stopped_sleeps(t))
        return false;
    r = tracer_ask(PTRACE_INTERRUPT, t->tid, 0, 0);
    if (r == 0)
        r = bl__syscall6(SYS_wait4, t->tid, (long)&status, __WALL, 0, 0, 0);
    if (r < 0 || !WIFSTOPPED(status)) {
        t->result = BL__STOPPED_GONE;
        return r >= 0;
    }
    r = tracer_ask(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, (long)&to);
    t->words = to.iov_len / sizeof t->word[0];
    t->result = r == 0 ? BL__STOPPED_READ : BL__STOPPED_GONE;
    if (r == 0)
        stopped_again(t, status);
    int signal = status >> 16 == 0 ? WSTOPSIG(status) : 0; /* that was about to be handled */
    return tracer_ask(PTRACE_DETACH, t->tid, 0, signal) == 0;
}

static int tracer_main(void *arg)
{
    tracer *t = arg;
    const struct timespec patience = {.tv_sec = TRACER_PATIENCE / 1000000000};
    (void)bl__syscall6(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0);
    (void)bl__syscall6(SYS_setpgid, 0, 0, 0, 0, 0, 0);
    long r = 0;
    while (load_acquire(&t->go) == 0 && r != -ETIMEDOUT) /* ORD(tracer) */
        r = bl__syscall6(SYS_futex, (long)&t->go, FUTEX_WAIT_PRIVATE, 0, (long)&patience, 0, 0);
    if (r == -ETIMEDOUT)
        return 0;
    for (size_t i = 0; i < t->count && stopped_read(&t->list[i]); i++)
        continue;
    store_release(&t->done, 1u); /* ORD(tracer) */
    (void)bl__syscall6(SYS_futex, (long)&t->done, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    return 0;
}

/* ---- Outside ---- */

/* The process, with all signals blocked; or a negative error. */
static int tracer_start(tracer *t)
{
    uint64_t all = UINT64_MAX, before;
    (void)bl__syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof all, 0,
                       0);
    int pid =
        clone(tracer_main, t->stack + sizeof t->stack, CLONE_VM | CLONE_FILES | CLONE_UNTRACED, t);
    (void)bl__syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before, 0, 0);
    return pid;
}

static void tracer_end(tracer *t, int pid)
{
    int64_t until = bl__clock() + TRACER_PATIENCE, left = TRACER_PATIENCE;
    for (; left > 0 && load_acquire(&t->done) == 0; left = until - bl__clock()) /* ORD(tracer) */
        bl__futex_wait(&t->done, 0, left);
    long r = bl__syscall6(SYS_wait4, pid, 0, __WALL | (left > 0 ? 0 : WNOHANG), 0, 0, 0);
    if (r == 0)
        kill(pid, SIGKILL);
    while (r == 0 || r == -EINTR)
        r = bl__syscall6(SYS_wait4, pid, 0, __WALL, 0, 0, 0);
}

static bool tracer_run(bl__stopped *list, size_t n, bool name)
{
    tracer *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED)
        return false;
    t->list = list;
    t->count = n;
    int pid = tracer_start(t);
    if (pid > 0) {
        if (name)
            (void)prctl(PR_SET_PTRACER, (long)pid, 0L, 0L, 0L);
        store_release(&t->go, 1u); /* ORD(tracer): with each other */
        bl__futex_wake(&t->go, 1);
        tracer_end(t, pid);
    }
    munmap(t, sizeof *t);
    return pid > 0;
}

static bool tracer_has_to_be_named(void)
{
    char scope = '0';
    int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!read(fd, &scope, 1);
        close(fd);
    }
    return scope == '1';
}

/* A process may be made that traces this one, for all that is known here. */
static bool tracer_may_be(void)
{
    return !BL__ASAN && !BL__TSAN && !BL__RACE && !bl__san_on_valgrind() &&
           prctl(PR_GET_DUMPABLE) == 1 && !bl__thread_is_filtered(bl__thread_id());
}

static void stopped_all(bl__stopped *list, size_t n, bl__stopped_result result)
{
    for (size_t i = 0; i < n; i++)
        list[i].result = result;
}

void bl__tracer_read(bl__stopped *list, size_t n)
{
    stopped_all(list, n, BL__STOPPED_MOVED);
    bool ran = tracer_may_be() && tracer_run(list, n, false);
    if (ran && list[0].result == BL__STOPPED_REFUSED && tracer_has_to_be_named()) {
        stopped_all(list, n, BL__STOPPED_MOVED);
        ran = tracer_run(list, n, true);
    }
    if (!ran)
        stopped_all(list, n, BL__STOPPED_REFUSED);
}
