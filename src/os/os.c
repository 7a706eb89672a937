/* SPDX-License-Identifier: MIT */
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/sched.h"

static uint32_t barrier_expedited; /* atomic: also threads that are in no run look */
static uint32_t starting; /* atomic: threads between bl__thread_create and bl__thread_began */

int64_t bl__clock(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void bl__random(void *to, size_t n)
{
    if (getrandom(to, n, GRND_NONBLOCK) == (ssize_t)n)
        return;
    uint64_t state = (uint64_t)bl__clock() ^ (uintptr_t)to << 20 ^ (uint64_t)getpid() << 44;
    for (size_t i = 0; i < n; i++) { /* splitmix64 */
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        ((unsigned char *)to)[i] = (unsigned char)(z >> 56 ^ z >> 24);
    }
}

bool bl__barrier_init(void)
{
    if (!load_relaxed(&barrier_expedited) &&
        syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0)
        store_relaxed(&barrier_expedited, 1u);
    return load_relaxed(&barrier_expedited);
}

void bl__heavy_barrier(void)
{
    /* ORD(dekker, idle): the store before it and the load behind it, which nothing weaker keeps in
     * order. Alone where the other side has a fence of its own. */
    fence_seq_cst();
    if (load_relaxed(&barrier_expedited))
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

int bl__thread_count(void)
{
    struct stat st; /* a folder has a link for each in it, and two; no descriptor is needed */
    return stat("/proc/self/task", &st) == 0 && st.st_nlink > 2 ? (int)st.st_nlink - 2 : -1;
}

void bl__thread_punctual(void) { (void)prctl(PR_SET_TIMERSLACK, 1L, 0L, 0L, 0L); }

int bl__thread_id(void) { return (int)syscall(SYS_gettid); }

int bl__fd_raise(int fd)
{
    enum { HIGHEST = 1 << 12 };
    for (int least = HIGHEST; least > fd; least /= 2) {
        int high = fcntl(fd, F_DUPFD_CLOEXEC, least);
        if (high < 0)
            continue;
        close(fd);
        return high;
    }
    return fd;
}

int bl__fd_own(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (own < 0)
        return fd;
    close(fd);
    return own;
}

int64_t bl__thread_cpu(int tid)
{
    struct timespec ts; /* the clock as pthread_getcpuclockid makes it, for who has no pthread_t */
    clockid_t clock = (clockid_t)(~(unsigned)tid << 3 | 6);
    return clock_gettime(clock, &ts) == 0 ? (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec : -1;
}

int bl__fd_stat(int fd, struct stat *st) { return (int)syscall(SYS_fstat, fd, st); }

static int thread_file_open(int tid, const char *file)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* What the kernel says of a thread in that file, as text. */
static bool thread_file(int tid, const char *file, char *text, size_t size)
{
    int fd = thread_file_open(tid, file);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

void bl__thread_state_open(bl__thread_state *s, int tid)
{
    if (s->tid == tid)
        return;
    bl__thread_state_close(s);
    int fd = tid != 0 ? thread_file_open(tid, "stat") : -1;
    if (fd >= 0)
        *s = (bl__thread_state){tid, bl__fd_raise(fd)};
}

void bl__thread_state_close(bl__thread_state *s)
{
    if (s->tid != 0)
        close(s->fd);
    *s = (bl__thread_state){0};
}

int bl__thread_state_sleeps(bl__thread_state *s)
{
    char text[128]; /* number, name in brackets, state */
    ssize_t n = s->tid != 0 ? pread(s->fd, text, sizeof text - 1, 0) : 0;
    if (n <= 0) {
        bl__thread_state_close(s); /* the thread has ended; its number may be another's by now */
        return -1;
    }
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    if (end == NULL || end[1] != ' ')
        return -1;
    return end[2] == 'S' || end[2] == 'D';
}

int bl__thread_sleeps(int tid)
{
    bl__thread_state s = {0};
    bl__thread_state_open(&s, tid);
    int sleeps = bl__thread_state_sleeps(&s);
    bl__thread_state_close(&s);
    return sleeps;
}

/* A thread of the process that the kernel started and runs: PF_IO_WORKER. */
static bool thread_is_kernels(int tid)
{
    enum { IO_WORKER = 0x10, FLAGS_AT = 7 /* words behind the name */ };
    char text[256];
    if (!thread_file(tid, "stat", text, sizeof text))
        return false;
    const char *at = strrchr(text, ')');
    for (int i = 0; at != NULL && i < FLAGS_AT; i++)
        at = strchr(at + 1, ' ');
    return at != NULL && (strtoul(at, NULL, 10) & IO_WORKER) != 0;
}

int bl__thread_count_own(void)
{
    const struct dirent *e;
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        return -1;
    while ((e = readdir(tasks)) != NULL)
        n += e->d_name[0] != '.' && !thread_is_kernels((int)strtol(e->d_name, NULL, 10));
    closedir(tasks);
    return n;
}

bool bl__thread_call_read(bl__thread_call *out, char *text)
{
    if (text[0] < '0' || text[0] > '9')
        return false;
    *out = (bl__thread_call){.number = strtol(text, &text, 10)};
    for (size_t i = 0; i < sizeof out->args / sizeof out->args[0]; i++)
        out->args[i] = (long)strtoul(text, &text, 16);
    out->sp = strtoul(text, &text, 16);
    out->pc = strtoul(text, &text, 16);
    return true;
}

enum { OS_CLOCKS = 16 }; /* that Linux knows */

bool bl__thread_in_call(int tid, bl__thread_call *out)
{
    char text[256];
    if (!thread_file(tid, "syscall", text, sizeof text) || !bl__thread_call_read(out, text))
        return false;
    /* It was stopped for a moment, as by ^Z or registers.c. Of the calls that are called so then
     * (nanosleep, futex, poll) only the C library's sleep begins with a clock's number, and has an
     * address third; a poll of nothing has 32 bits there. */
    if (out->number == SYS_restart_syscall && (unsigned long)out->args[0] < OS_CLOCKS &&
        out->args[2] > UINT32_MAX)
        out->number = SYS_clock_nanosleep;
    return true;
}

bool bl__thread_is_filtered(int tid)
{
    char text[4096];
    return !thread_file(tid, "status", text, sizeof text) || strstr(text, "\nSeccomp:\t0") == NULL;
}

bool bl__thread_runs(int tid)
{
    char text[32];
    return thread_file(tid, "syscall", text, sizeof text) && (text[0] == 'r' || text[0] == '-');
}

bool bl__thread_is_named(int tid, const char *begin)
{
    char text[32];
    return thread_file(tid, "comm", text, sizeof text) && strncmp(text, begin, strlen(begin)) == 0;
}

void bl__eventfd_wake(int fd)
{
    uint64_t one = 1;
    int saved = errno;
    (void)syscall(SYS_write, fd, &one, sizeof one); /* one that is full wakes just as well */
    errno = saved;
}

int bl__thread_create(pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    add_relaxed(&starting, 1u);
    int err = pthread_create(out, attr, fn, arg);
    if (err != 0)
        add_relaxed(&starting, (uint32_t)-1);
    return -err;
}

int bl__thread_start(pthread_t *out, void *(*fn)(void *), void *arg, bool block_signals)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGABRT);
    if (block_signals)
        pthread_sigmask(SIG_BLOCK, &all, &before);
    int err = bl__thread_create(out, NULL, fn, arg);
    if (block_signals)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

/* Where prctl(2) is filtered. */
static void thread_name_write(const char *name)
{
    int fd = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, name, strlen(name));
    close(fd);
}

void bl__thread_began(const char *name)
{
    if (pthread_setname_np(pthread_self(), name) != 0)
        thread_name_write(name);          /* registers.c knows the library's threads by it */
    add_acq_rel(&starting, (uint32_t)-1); /* ORD(starting): who then looks sees the name */
}

bool bl__threads_starting(void) { return load_acquire(&starting) != 0; /* ORD(starting) */ }

void bl__threads_forked(void) { store_relaxed(&starting, 0u); }
