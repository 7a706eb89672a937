/* SPDX-License-Identifier: MIT */
/*
 * registers.c: see registers.h.
 *
 * A thread that calls the C library keeps what it still needs in the registers that calls preserve,
 * and a call of the system is mostly too small to put them on the stack. They are read by a tracer
 * (tracer.h), for which the thread is stopped. So that it does not notice, only those are that sleep
 * in calls that Linux begins again, or goes on with, after a stop, and that have done nothing yet:
 * a write may have written a part, a receive with MSG_WAITALL or SO_RCVLOWAT may have a part, and
 * what has a time-out may begin it again (signal(7); all that are listed here were tried).
 */
#include "debug/registers.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include "core/proc.h"
#include "debug/live.h"
#include "debug/peek.h"
#include "debug/sample.h"
#include "debug/symbol.h"
#include "debug/traceback.h"
#include "debug/tracer.h"
#include "os/futex.h"
#include "os/os.h"

enum {
    REGISTERS_PAUSE = 200000, /* ns */
    REGISTERS_PAUSES = 5000,
    REGISTERS_SETTLES = 500, /* pauses */
    REGISTERS_TRIES = 4      /* until nobody has moved meanwhile */
};

/* ---- Calls that go on after a stop ---- */

static bool socket_is_plain(int fd)
{
    struct timeval limit = {0};
    int least = 1;
    socklen_t size = sizeof limit;
    bool known = getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &size) == 0;
    size = sizeof least;
    return known && limit.tv_sec == 0 && limit.tv_usec == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, &size) == 0 && least <= 1;
}

/* A terminal in which characters are waited for, without a time-out (VTIME with a VMIN of 0). */
static bool terminal_is_plain(int fd)
{
    struct termios t;
    return tcgetattr(fd, &t) == 0 && ((t.c_lflag & ICANON) != 0 || t.c_cc[VMIN] == 1);
}

static bool is_anonymous_plain(int fd)
{
    static const char *const names[] = {"eventfd", "timerfd", "signalfd", "inotify"};
    char path[32], to[64] = "";
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (readlink(path, to, sizeof to - 1) < 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strstr(to, names[i]) != NULL)
            return true;
    return false;
}

/* A read of it has either nothing or all that it is going to have. */
static bool reads_whole(int fd)
{
    struct stat st;
    if (bl__fd_stat(fd, &st) < 0)
        return false;
    switch (st.st_mode & S_IFMT) {
    case S_IFIFO: return true;
    case S_IFSOCK: return socket_is_plain(fd);
    case S_IFCHR: return terminal_is_plain(fd);
    case 0: return is_anonymous_plain(fd);
    default: return false;
    }
}

static bool futex_is_plain(long op)
{
    op &= FUTEX_CMD_MASK;
    return op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
}

static bool goes_on(const bl__thread_call *c)
{
    int fd = (int)c->args[0];
    switch (c->number) {
#if defined(__x86_64__)
    case SYS_pause:
    case SYS_poll:
    case SYS_select: return true;
    case SYS_epoll_wait:
    case SYS_epoll_pwait: return (int)c->args[3] < 0;
    case SYS_rt_sigtimedwait: return c->args[2] == 0;
#endif
    case SYS_restart_syscall:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_rt_sigsuspend:
    case SYS_ppoll:
    case SYS_pselect6:
    case SYS_wait4:
    case SYS_waitid:
    case SYS_msgrcv: return true;
    case SYS_futex: return futex_is_plain(c->args[1]);
    case SYS_read:
    case SYS_readv: return reads_whole(fd);
    case SYS_recvfrom: return (c->args[3] & MSG_WAITALL) == 0 && socket_is_plain(fd);
    case SYS_recvmsg: return (c->args[2] & MSG_WAITALL) == 0 && socket_is_plain(fd);
    case SYS_accept:
    case SYS_accept4: return socket_is_plain(fd);
    default: return false;
    }
}

/* ---- Threads ---- */

typedef struct registers_look {
    void (*fn)(uint64_t word, void *arg);
    void *arg;
    bl__runners *runners;            /* NULL: no goroutines */
    bl__trace_space space;           /* for their stacks */
    bool samples;                    /* who computes can be looked at */
    int tasks;                       /* /proc/self/task */
    bool moved;                      /* somebody has, or may, and is to be looked at again */
    size_t count;                    /* of list */
    bl__stopped *list;               /* room for BL__STOPPED_MOST */
    bl__stuck who[BL__STOPPED_MOST]; /* the goroutines that they run; id 0: none */
} registers_look;

typedef enum whose { WHOSE_PROGRAM, WHOSE_GOROUTINE, WHOSE_LIBRARY } whose;

/* who: the goroutine that it runs. */
static whose thread_whose(int tid, bl__stuck *who)
{
    static const char *const names[] = {"belay-sysmon", "belay-finder", "belay-ring", "belay-dump",
                                        "belay-time"};
    bl__m m;
    const bl__m *at = load_relaxed(&bl__rt.all_m);
    if (tid == load_relaxed(&bl__rt.runner)) /* who has all of them behind it when it goes on */
        return WHOSE_LIBRARY;
    for (; at != NULL && bl__peek(&m, at, sizeof m); at = m.all_next)
        if (m.tid == tid) {
            bl__g g;
            if (m.g == &at->g0 || tid == gettid() || !bl__peek(&g, m.g, sizeof g))
                return WHOSE_LIBRARY;
            *who = (bl__stuck){g.id, m.g, bl__stuck_moves(&g)};
            return WHOSE_GOROUTINE;
        }
    bool named = bl__thread_is_named(tid, "belay-"); /* as is one of bl_blocking's */
    for (size_t i = 0; named && i < sizeof names / sizeof names[0]; i++)
        if (bl__thread_is_named(tid, names[i]))
            return WHOSE_LIBRARY;
    return tid == gettid() ? WHOSE_LIBRARY : WHOSE_PROGRAM;
}

static void thread_compare(const bl__m *m, void *arg)
{
    int *tid = arg;
    if (load_relaxed(&m->tid) == *tid)
        *tid = 0;
}

static void helper_compare(const void *frame, int tid, void *arg)
{
    int *wanted = arg;
    (void)frame;
    if (tid == *wanted)
        *wanted = 0;
}

static bool thread_waits_here(int tid)
{
    bl__each_blocked(thread_compare, &tid);
    bl__helpers_each_rest(helper_compare, &tid); /* for work of the library's */
    return tid == 0;
}

static void registers_pause(void)
{
    uint32_t never = 0;
    bl__futex_wait(&never, 0, REGISTERS_PAUSE);
}

/* It goes on with its call, for which a busy machine may let it wait: who looks meanwhile would
 * take it for one that computes. */
static void registers_wait_for(const bl__stopped *t, int *pauses)
{
    char c = '0';
    while (pread(t->fd, &c, 1, 0) == 1 && c == 'r' && (*pauses)-- > 0)
        registers_pause();
}

/* The C library's waits for a condition, a semaphore, the end of a thread: they put registers on
 * the stack, and have nothing of the program's in their own but what they wait on. Its locks wait
 * otherwise (FUTEX_WAIT), and realloc may have the only address of a block meanwhile. */
static bool stands_on_stack(const bl__thread_call *c)
{
    return c->number == SYS_futex && (c->args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET &&
           bl__trace_keeps_nothing(c->sp, c->pc);
}

/* ---- Goroutines ---- */

static void runner_known(const registers_look *l, const bl__stuck *who)
{
    bl__runner *r = bl__runners_find(l->runners, who->id);
    if (r != NULL)
        r->known = true;
}

static void runner_unknown(const registers_look *l, const bl__stuck *who, bool opaque)
{
    bl__runner *r = bl__runners_find(l->runners, who->id);
    if (r != NULL)
        r->opaque = r->opaque || opaque;
    else
        bl__runners_add(l->runners, &(bl__runner){who->id, who->at, opaque, false});
}

static void words_take(const registers_look *l, const char *words, size_t n)
{
    for (size_t at = 0; at + sizeof(uint64_t) <= n; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, words + at, sizeof word);
        l->fn(word, l->arg);
    }
}

/* The profiler does not tell those of vectors, in which compilers keep a pair of words. Nobody has
 * anything there behind the call of a function that the compiler did not know, as the runtime calls
 * those of goroutines. */
static bool vectors_used(const bl__trace *t, uintptr_t pc)
{
    if (t->inner[0] != pc) /* it is in the C library */
        return true;
    for (uint64_t i = 0; i < t->total && i < BL__TRACE_INNER; i++) {
        if (!bl__symbol_is_program(t->inner[i]))
            return i == 0;
        if (bl__live_vectors(i == 0 ? pc : t->inner[i] + 1))
            return true;
    }
    return true;
}

static void computing_take(registers_look *l, const bl__stuck *who)
{
    bl__trace trace;
    bl__regs regs;
    size_t n;
    char *stack = bl__stack_sampled(who->at, &l->space, &n, &regs);
    if (stack != NULL) {
        for (size_t i = 0; i < BL__REGS; i++)
            l->fn(regs.r[i], l->arg);
        words_take(l, stack, n);
    }
    if (stack != NULL && bl__trace_sampled(&trace, &regs, stack, n) &&
        !vectors_used(&trace, regs.r[BL__REG_PC]))
        runner_known(l, who);
    else
        runner_unknown(l, who, stack != NULL);
}

/* Its registers were read in the call that text tells of. */
static void in_call_take(registers_look *l, const bl__stuck *who, char *text)
{
    bl__thread_call read, now;
    size_t n;
    const char *stack = bl__stack_in_call(who->at, &l->space, &n, &now);
    bool same = stack != NULL && bl__thread_call_read(&read, text) && read.sp == now.sp &&
                read.pc == now.pc;
    if (same) {
        words_take(l, stack, n);
        runner_known(l, who);
    } else {
        runner_unknown(l, who, false);
    }
}

/* Those of whom nothing is known yet. Where who computes is never seen this moment is none like any
 * other: it may have put into memory, once that was read, what it had in registers all the time
 * before. False: there still are some. */
static bool switched_off_take(registers_look *l)
{
    uint32_t n = l->runners != NULL ? bl__runners_listed(l->runners) : 0, left = 0;
    for (uint32_t i = 0; i < n && l->samples; i++) {
        bl__runner *r = &l->runners->list[i];
        bl__g now;
        size_t bytes = 0;
        if (r->known || r->opaque)
            continue;
        const char *stack = bl__stack_saved(r->at, &l->space, &bytes);
        bool there = bl__runner_there(r, &now);
        if (stack != NULL) /* or another's by now, which does no harm */
            words_take(l, stack, bytes);
        r->known = there && stack != NULL;
        left += there && !r->known;
    }
    return left == 0;
}

/* ---- Threads ---- */

/* It could not be stopped. */
static bool known_otherwise(bl__stopped *t)
{
    bl__thread_call call;
    return bl__thread_call_read(&call, t->text) && stands_on_stack(&call);
}

/* Those in the list, if that helps. False: not all are known. */
static bool registers_read(registers_look *l, bool helps)
{
    bool known = helps;
    if (helps && l->count > 0)
        bl__tracer_read(l->list, l->count);
    int pauses = REGISTERS_SETTLES;
    for (size_t i = 0; i < l->count; i++) {
        bl__stopped *t = &l->list[i];
        if (helps && t->result == BL__STOPPED_READ)
            registers_wait_for(t, &pauses);
        close(t->fd);
        bool seen = t->result == BL__STOPPED_READ ||
                    (t->result == BL__STOPPED_REFUSED && known_otherwise(t));
        for (size_t k = 0; known && t->result == BL__STOPPED_READ && k < t->words; k++)
            l->fn(t->word[k], l->arg);
        if (l->who[i].id != 0) {
            if (helps && seen)
                in_call_take(l, &l->who[i], t->text);
            else if (t->result != BL__STOPPED_GONE)
                runner_unknown(l, &l->who[i], false);
            continue;
        }
        l->moved = l->moved || t->result == BL__STOPPED_MOVED;
        known = known && (seen || t->result != BL__STOPPED_REFUSED);
    }
    l->count = 0;
    return known;
}

/* False: its registers are not known, nor going to be. */
static bool registers_take(registers_look *l, int tid)
{
    char name[32];
    bl__thread_call call;
    bl__stuck who = {.id = 0};
    bl__stopped *t = &l->list[l->count];
    (void)snprintf(name, sizeof name, "%d/syscall", tid);
    *t = (bl__stopped){.tid = tid, .fd = openat(l->tasks, name, O_RDONLY | O_CLOEXEC)};
    ssize_t n = t->fd >= 0 ? pread(t->fd, t->text, sizeof t->text - 1, 0) : -1;
    *strchrnul(name, '/') = '\0';
    bool there = n > 0 || faccessat(l->tasks, name, F_OK, 0) == 0; /* but the system says no more */
    whose w = there ? thread_whose(tid, &who) : WHOSE_LIBRARY;
    bool sleeps = n > 0 && bl__thread_call_read(&call, t->text);
    bool asked = w == WHOSE_GOROUTINE && l->runners != NULL;
    bool none = strstr(t->text, " 0x0 0x0\n") != NULL; /* the kernel's own, or it has ended */
    bool plain = w == WHOSE_PROGRAM && !none && !(sleeps && thread_waits_here(tid));
    if (sleeps && (plain || asked) && goes_on(&call) && !bl__thread_is_filtered(tid)) {
        t->number = call.number;
        t->length = (size_t)n;
        l->who[l->count] = who;
        return ++l->count < BL__STOPPED_MOST || registers_read(l, true);
    }
    if (t->fd >= 0)
        close(t->fd);
    if (asked && !sleeps)
        computing_take(l, &who);
    else if (asked)
        runner_unknown(l, &who, false);
    return !plain || (sleeps && stands_on_stack(&call));
}

static bool registers_look_once(registers_look *l)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *e;
    bool known = tasks != NULL;
    l->tasks = known ? dirfd(tasks) : -1;
    l->moved = false;
    while (known && (e = readdir(tasks)) != NULL) {
        int tid = (int)strtol(e->d_name, NULL, 10);
        known = tid <= 0 || registers_take(l, tid);
    }
    known = registers_read(l, known);
    if (tasks != NULL)
        closedir(tasks);
    return known;
}

/* On a busy machine a thread of ours may wait for long until it has told its name. */
static bool registers_look_settled(registers_look *l)
{
    for (int i = 0; i < REGISTERS_PAUSES && bl__threads_starting(); i++) {
        if (registers_look_once(l))
            return true;
        registers_pause();
    }
    return registers_look_once(l);
}

bool bl__registers_each(void (*fn)(uint64_t word, void *arg), void *arg, bl__runners *r)
{
    registers_look l = {
        .fn = fn, .arg = arg, .runners = r, .samples = r != NULL && bl__sample_may()};
    size_t bytes = BL__STOPPED_MOST * sizeof(bl__stopped);
    l.list = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (l.list == MAP_FAILED)
        return false;
    bool known = registers_look_settled(&l), all = switched_off_take(&l);
    for (int i = 1; i < REGISTERS_TRIES && known && (l.moved || !all); i++) {
        known = registers_look_settled(&l);
        all = switched_off_take(&l);
    }
    bl__trace_space_free(&l.space);
    munmap(l.list, bytes);
    return known && !l.moved;
}
