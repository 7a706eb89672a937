/* SPDX-License-Identifier: MIT */
/*
 * fault.h: refuses the library memory, mappings and threads, one request after the other.
 *
 * The test's linker options (//belay:libs) lead the library's calls of malloc, mmap and so on
 * here. A scenario is run again and again in child processes; in the k-th the k-th request of some
 * kind is refused, alone or with all that follow, until a scenario ends before it gets there.
 */
#ifndef BL_TEST_FAULT_H
#define BL_TEST_FAULT_H

#include <belay/test.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/proc.h"

#if BL__ASAN || BL__TSAN /* slow: a child takes a tenth of a second */
enum { FAULT_STEP = 6 };
#elif defined(BL__EMULATED)
enum { FAULT_STEP = 3 };
#else
enum { FAULT_STEP = 1 };
#endif

enum {
    FAULT_HEAP = 1, /* malloc, calloc, posix_memalign */
    FAULT_MAP = 2,  /* mmap */
    FAULT_PAGE = 4, /* madvise, process_madvise, mprotect */
    FAULT_THREAD = 8,
    FAULT_ALL = 15,
    FAULT_PATIENCE = 30, /* seconds for a child */
    FAULT_WRONG = 9,     /* a child's exit status: it saw a wrong result */
    FAULT_MOST = 5       /* failures that are worth showing */
};

/* What is refused, in memory that parent and child share. */
typedef struct fault_plan {
    int kinds;
    int at;       /* the number of the first request that is refused, from 1 */
    bool onwards; /* and all after it */
    bool armed;
    int seen;    /* atomic: requests of these kinds so far */
    int refused; /* atomic */
} fault_plan;

static fault_plan *fault;
static int fault_failures;
static char fault_said[8192]; /* by the last child, on stderr */

/* True: this request is to be refused. */
static bool fault_now(int kind)
{
    if (!fault || !fault->armed || !(fault->kinds & kind))
        return false;
    int n = __atomic_add_fetch(&fault->seen, 1, __ATOMIC_RELAXED);
    if (n < fault->at || (n > fault->at && !fault->onwards))
        return false;
    __atomic_add_fetch(&fault->refused, 1, __ATOMIC_RELAXED);
    return true;
}

#define FAULT_WRAP(type, name, kind, failed, params, args)                                         \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params { return fault_now(kind) ? (failed) : __real_##name args; }

/* In a scenario: a result that no refusal excuses. */
static void fault_wrong(const char *what, int line)
{
    fprintf(stderr, "wrong: %s (line %d)\n", what, line);
    _exit(FAULT_WRONG);
}

static inline void *fault_null(void)
{
    errno = ENOMEM;
    return NULL;
}

static inline void *fault_unmapped(void)
{
    errno = ENOMEM;
    return MAP_FAILED;
}

static inline int fault_minus(void)
{
    errno = ENOMEM;
    return -1;
}

/* The record of a thread that there will not be: nobody may have found it. */
static inline int fault_no_thread(const void *record)
{
    for (uint32_t i = 0; i < load_acquire(&bl__rt.ps_made); i++)
        if (record != NULL && load_relaxed(&bl__rt.ps[i]->m) == record)
            fault_wrong("a processor's thread that was never started", __LINE__);
    return EAGAIN;
}

FAULT_WRAP(void *, malloc, FAULT_HEAP, fault_null(), (size_t n), (n))
FAULT_WRAP(void *, calloc, FAULT_HEAP, fault_null(), (size_t n, size_t size), (n, size))
FAULT_WRAP(int, posix_memalign, FAULT_HEAP, ENOMEM, (void **out, size_t align, size_t n),
           (out, align, n))
FAULT_WRAP(void *, mmap, FAULT_MAP, fault_unmapped(),
           (void *at, size_t n, int prot, int flags, int fd, off_t offset),
           (at, n, prot, flags, fd, offset))
FAULT_WRAP(int, madvise, FAULT_PAGE, fault_minus(), (void *at, size_t n, int advice),
           (at, n, advice))
FAULT_WRAP(int, mprotect, FAULT_PAGE, fault_minus(), (void *at, size_t n, int prot), (at, n, prot))
FAULT_WRAP(int, pthread_create, FAULT_THREAD, fault_no_thread(arg),
           (pthread_t * out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
           (out, attr, fn, arg))

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list args;
    long a[6];
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_process_madvise && fault_now(FAULT_PAGE))
        return fault_minus();
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- Running a scenario ---------------------------------------------------------------------- */

#define RIGHT(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fault_wrong(#cond, __LINE__);                                                          \
    } while (0)

static int fault_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static bool fault_is_shortage(int r) { return r == BL_ENOMEM || r == BL_EAGAIN; }

/* The child: the scenario, and then a run that nothing hinders, in what the other has left. */
static void fault_child(bl_fn scenario, const bl_options *opts)
{
    fault->armed = true;
    int r = bl_run(scenario, NULL, opts);
    fault->armed = false;
    RIGHT(r == 0 || fault_is_shortage(r));
    RIGHT(r == 0 || fault->refused > 0);
    RIGHT(bl_run(fault_nothing, NULL, NULL) == 0);
    if (BL__ASAN)
        exit(0); /* by way of its search for leaks */
    _exit(0);
}

/* The child's status, or -1 when it hung. */
static int fault_wait(pid_t child)
{
    int status;
    for (int ms = 0; ms < FAULT_PATIENCE * 1000; ms++) {
        if (waitpid(child, &status, WNOHANG) == child)
            return status;
        usleep(ms < 20 ? 200 : 1000);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return -1;
}

static bool fault_ended_well(int status, const char *said)
{
    if (status == -1 || !WIFEXITED(status) || strstr(said, "belay: leak") ||
        strstr(said, "ThreadSanitizer"))
        return false;
    /* There is memory again for who can wait. */
    bool too_soon = !fault->onwards && strstr(said, "for a stack");
    if (WEXITSTATUS(status) == 2 && fault->refused > 0)
        return strstr(said, "fatal error: ") && strstr(said, "out of memory") && !too_soon;
    return WEXITSTATUS(status) == 0;
}

/* One child; false: it ended before the request that was to be refused. */
static bool fault_once(bl_fn scenario, const char *name, const bl_options *opts)
{
    char *said = fault_said;
    int err = memfd_create("stderr", MFD_CLOEXEC);
    fault->armed = false;
    fault->seen = 0;
    fault->refused = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(0);
        setenv("BELAY_GRACE", "10m", 1); /* a busy machine is no leak */
        dup2(err, STDERR_FILENO);
        fault_child(scenario, opts);
    }
    int status = child > 0 ? fault_wait(child) : -1;
    ssize_t n = pread(err, said, sizeof fault_said - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    close(err);
    if (!fault_ended_well(status, said)) {
        fault_failures++;
        bl_error(NULL, "%s, kinds %d, request %d refused%s: %s 0x%x, stderr:\n%s", name,
                 fault->kinds, fault->at, fault->onwards ? " and all after it" : "",
                 status == -1 ? "hung," : "status", (unsigned)status, said);
    }
    return fault->refused > 0;
}

/* The first is refused on any number of processors: with all after it that is the greatest need. Of
 * the others more than two, whose threads take longest to start, have every second, and begin
 * between those that fewer have where these have not all. */
static int fault_next(int at)
{
    if (bl_procs() <= 2)
        return at + FAULT_STEP;
    return at + (at == 1 ? (FAULT_STEP + 1) / 2 : 2 * FAULT_STEP);
}

/* A child for each FAULT_STEPth request of these kinds. */
static void fault_each(bl_fn scenario, const char *name, const bl_options *opts, int kinds,
                       bool onwards)
{
    fault->kinds = kinds;
    fault->onwards = onwards;
    for (fault->at = 1; fault_once(scenario, name, opts) && fault_failures < FAULT_MOST;)
        fault->at = fault_next(fault->at);
}

static void fault_begin(void)
{
    bl_test_timeout(NULL, 0); /* each child has a limit of its own */
    if (!fault)
        fault =
            mmap(NULL, sizeof *fault, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    BL_REQUIRE(NULL, fault != MAP_FAILED);
}

static void fault_every_way(bl_fn scenario, const char *name, const bl_options *opts)
{
    static const int shortages[] = {FAULT_HEAP, FAULT_MAP, FAULT_PAGE, FAULT_THREAD, FAULT_ALL};
    fault_begin();
    fault_each(scenario, name, opts, FAULT_ALL, false);
    for (size_t i = 0; i < sizeof shortages / sizeof *shortages; i++)
        fault_each(scenario, name, opts, shortages[i], true);
}

#endif
