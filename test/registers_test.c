/* SPDX-License-Identifier: MIT */
/* registers_test.c: registers of threads that sleep are read, and nobody notices. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/io_uring.h>

#include "arch/sanitize.h"
#include "core/atomic.h"
#include "core/proc.h"
#include "debug/registers.h"
#include "os/os.h"

#include "run.h"

static bl_test *const t; /* the test that the caller is of */

/* Nor does the emulator trace. */
#define TRACES (!BL__ASAN && !BL__TSAN && !BL__RACE && getenv("BELAY_EMULATOR") == NULL)
#define NO_TRACES "registers of other threads are not read here"

enum { TIMES = 20, PART = 3 };

typedef struct sleeper {
    long (*call)(struct sleeper *s);
    int fds[2]; /* of a pipe, of two sockets */
    int sockets[2];
    int tid;       /* atomic */
    uint32_t back; /* atomic */
    long result;
    int error;
    pthread_t thread;
} sleeper;

static const struct timespec hour = {3600, 0};

/* ---- Calls that go on ---- */

static long call_nanosleep(sleeper *s)
{
    struct timespec rest = hour;
    (void)s;
    return nanosleep(&rest, NULL);
}

static long call_futex(sleeper *s)
{
    uint32_t word = 0;
    (void)s;
    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
}

static long call_futex_for(sleeper *s)
{
    uint32_t word = 0;
    (void)s;
    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &hour);
}

static long call_pause(sleeper *s)
{
    (void)s;
    return pause();
}

static long call_poll(sleeper *s)
{
    struct pollfd p = {.fd = s->fds[0], .events = POLLIN};
    return poll(&p, 1, 3600000);
}

static long call_poll_of_nothing(sleeper *s)
{
    (void)s;
    return poll(NULL, 0, -1);
}

static long call_ppoll(sleeper *s)
{
    struct pollfd p = {.fd = s->fds[0], .events = POLLIN};
    return ppoll(&p, 1, &hour, NULL);
}

static long call_select(sleeper *s)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(s->fds[0], &set);
    return select(s->fds[0] + 1, &set, NULL, NULL, NULL);
}

static long call_read(sleeper *s)
{
    char byte;
    return read(s->fds[0], &byte, 1);
}

static long call_read_eventfd(sleeper *s)
{
    uint64_t count;
    int fd = eventfd(0, EFD_CLOEXEC);
    (void)s;
    long r = read(fd, &count, sizeof count);
    int saved = errno;
    close(fd);
    errno = saved;
    return r;
}

static long call_recv(sleeper *s)
{
    char byte;
    return recv(s->sockets[0], &byte, 1, 0);
}

/* One that does not end, made before: on a busy machine fork sleeps, too. */
static pid_t child;

static void child_start(void)
{
    child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    BL_REQUIRE(t, child > 0);
}

static void child_end(void)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static long call_waitid(sleeper *s)
{
    (void)s;
    return waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED);
}

static long call_msgrcv(sleeper *s)
{
    struct {
        long type;
        char text[8];
    } message;
    int id = msgget(IPC_PRIVATE, 0600);
    (void)s;
    long r = msgrcv(id, &message, sizeof message.text, 0, 0);
    int saved = errno;
    msgctl(id, IPC_RMID, NULL);
    errno = saved;
    return r;
}

static long epoll_call(sleeper *s, int timeout)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(fd, EPOLL_CTL_ADD, s->fds[0], &event);
    long r = epoll_wait(fd, &event, 1, timeout);
    int saved = errno;
    close(fd);
    errno = saved;
    return r;
}

#if defined(__x86_64__)
static long call_epoll(sleeper *s) { return epoll_call(s, -1); }

static long call_sigwait(sleeper *s)
{
    sigset_t set;
    (void)s;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigwaitinfo(&set, NULL);
}
#endif

/* ---- Calls that would not ---- */

static long call_epoll_for(sleeper *s) { return epoll_call(s, 3600000); }

static long call_write(sleeper *s)
{
    enum { MORE = 1 << 20 }; /* than a pipe takes */
    char *bytes = calloc(1, MORE);
    long r = write(s->fds[1], bytes, MORE);
    free(bytes);
    return r;
}

static long call_recv_all(sleeper *s)
{
    char bytes[2 * PART];
    if (write(s->sockets[1], "abc", PART) != PART)
        abort();
    return recv(s->sockets[0], bytes, sizeof bytes, MSG_WAITALL);
}

static long call_recv_for(sleeper *s)
{
    struct timeval limit = {3600, 0};
    char byte;
    setsockopt(s->sockets[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return recv(s->sockets[0], &byte, 1, 0);
}

/* ---- The thread ---- */

static void *sleeper_main(void *arg)
{
    sleeper *s = arg;
    store_release(&s->tid, bl__thread_id());
    s->result = s->call(s);
    s->error = errno;
    store_release(&s->back, 1u);
    return arg;
}

static void sleeper_start(sleeper *s, long (*call)(sleeper *s))
{
    *s = (sleeper){.call = call};
    BL_REQUIRE(t, pipe(s->fds) == 0);
    BL_REQUIRE(t, socketpair(AF_UNIX, SOCK_STREAM, 0, s->sockets) == 0);
    BL_REQUIRE(t, pthread_create(&s->thread, NULL, sleeper_main, s) == 0);
    while (load_acquire(&s->tid) == 0 || bl__thread_sleeps(s->tid) != 1)
        usleep(100);
}

static void on_signal(int signal) { (void)signal; }

/* A signal of the program's ends the call as ever. */
static void sleeper_end(sleeper *s)
{
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &act, NULL);
    while (load_acquire(&s->back) == 0) {
        pthread_kill(s->thread, SIGUSR1);
        usleep(1000);
    }
    pthread_join(s->thread, NULL);
    for (int i = 0; i < 2; i++) {
        close(s->fds[i]);
        close(s->sockets[i]);
    }
}

typedef struct word {
    uint64_t wanted;
    bool found;
} word;

static void word_compare(uint64_t value, void *arg)
{
    word *w = arg;
    w->found = w->found || value == w->wanted;
}

/* Where that thread is, which is about to sleep in a call, or to go on with it; a busy machine may let
 * it wait for long until it does. */
static bl__thread_call sleeper_call(int tid)
{
    bl__thread_call at;
    while (!bl__thread_in_call(tid, &at))
        usleep(100);
    return at;
}

static uintptr_t sleeper_sp(int tid) { return sleeper_call(tid).sp; }

/* True: all registers are known, and its among them. Whom the look before has let go may run for a
 * moment once more after it was seen in its call; then nothing is known, and there is another. */
static bool sleeper_seen(const sleeper *s)
{
    enum { LOOKS = 3 };
    bool known = false;
    word w = {0};
    for (int i = 0; i < LOOKS && !known; i++) {
        w = (word){.wanted = sleeper_sp(s->tid)};
        (void)sleeper_sp(getpid()); /* the first thread, which waits for the run */
        known = bl__registers_each(word_compare, &w, NULL);
    }
    return known && w.found;
}

RUN_TEST(calls_go_on)
{
    static const struct {
        const char *name;
        long (*call)(sleeper *s);
    } cases[] = {
        {"nanosleep", call_nanosleep},
        {"futex", call_futex},
        {"futex, with a limit", call_futex_for},
        {"pause", call_pause},
        {"poll", call_poll},
        {"ppoll", call_ppoll},
        {"select", call_select},
        {"read", call_read},
        {"read of an eventfd", call_read_eventfd},
        {"recv", call_recv},
        {"waitid", call_waitid},
        {"msgrcv", call_msgrcv},

#if defined(__x86_64__)
        {"epoll_wait", call_epoll},
        {"sigwaitinfo", call_sigwait},
#endif

    };
    if (!TRACES)
        bl_skip(t, NO_TRACES);
    child_start();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sleeper s;
        int seen = 0;
        sleeper_start(&s, cases[i].call);
        for (int k = 0; k < TIMES; k++)
            seen += sleeper_seen(&s);
        if (load_acquire(&s.back) != 0 || seen != TIMES)
            bl_error(t, "%s was seen %d times; %d: %s", cases[i].name, seen, (int)s.back,
                     strerror(s.error));
        sleeper_end(&s);
        if (s.result != -1 || s.error != EINTR)
            bl_error(t, "%s ended: %ld, %s", cases[i].name, s.result, strerror(s.error));
    }
    child_end();
}

/* The system calls it by another name then. */
RUN_TEST(a_sleep_that_went_on_is_still_one)
{
    sleeper s;
    if (!TRACES)
        bl_skip(t, NO_TRACES);
    sleeper_start(&s, call_nanosleep);
    BL_CHECK(t, sleeper_seen(&s));
    BL_CHECK_EQ(t, sleeper_call(s.tid).number, SYS_clock_nanosleep);
    sleeper_end(&s);
    sleeper_start(&s, call_poll_of_nothing);
    BL_CHECK(t, sleeper_seen(&s));
    BL_CHECK_NE(t, sleeper_call(s.tid).number, SYS_clock_nanosleep);
    sleeper_end(&s);
}

RUN_TEST(calls_that_would_not_are_let_alone)
{
    static long (*const calls[])(sleeper * s) = {call_epoll_for, call_write, call_recv_all,
                                                 call_recv_for};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        sleeper s;
        sleeper_start(&s, calls[i]);
        BL_CHECK(t, !sleeper_seen(&s));
        BL_CHECK(t, load_acquire(&s.back) == 0);
        sleeper_end(&s);
    }
}

/* ---- Who might notice ---- */

static uint32_t children; /* that SIGCHLD told of */

static void on_child(int signal)
{
    (void)signal;
    add_relaxed(&children, 1u);
}

RUN_TEST(no_child_is_seen)
{
    struct sigaction act = {.sa_handler = on_child}, before;
    sleeper s;
    sigaction(SIGCHLD, &act, &before);
    sleeper_start(&s, call_read);
    for (int i = 0; i < TIMES; i++) {
        BL_CHECK(t, sleeper_seen(&s) == TRACES);
        BL_CHECK(t, waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    }
    BL_CHECK_EQ(t, load_relaxed(&children), 0);
    sigaction(SIGCHLD, &before, NULL);
    sleeper_end(&s);
}

/* A process that looks again and again at a thread of its own, which it has done once. */
static int looking_start(void)
{
    int begun[2];
    char byte;
    BL_REQUIRE(t, pipe(begun) == 0);
    int pid = fork();
    if (pid == 0) {
        sleeper s;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* at a time limit, too */
        sleeper_start(&s, call_read);
        for (bool told = false;;) {
            (void)bl__registers_each(word_compare, &(word){0}, NULL);
            told = told || write(begun[1], "x", 1) == 1;
        }
    }
    close(begun[1]);
    BL_CHECK_EQ(t, read(begun[0], &byte, 1), 1);
    close(begun[0]);
    return pid;
}

/* It is killed while one is made, and waited for. On a busy machine, which takes half a second for
 * one, not as often. */
BL_TEST_PLAIN(no_tracer_is_left)
{
    enum { KILLS = 150, APART = 37, LONGEST = 1500 /* us */ };
    if (!TRACES)
        bl_skip(t, NO_TRACES);
    prctl(PR_SET_CHILD_SUBREAPER, 1L);
    bl_time enough = bl_in(20 * BL_SEC);
    for (int i = 0; i < KILLS && (i < KILLS / 10 || bl_now() < enough); i++) {
        int pid = looking_start();
        BL_REQUIRE(t, pid > 0);
        usleep((useconds_t)(i * APART % LONGEST));
        kill(pid, SIGKILL);
        BL_CHECK_EQ(t, waitpid(pid, NULL, 0), pid);
    }
    while (waitpid(-1, NULL, __WALL) > 0)
        continue;
    BL_CHECK_EQ(t, errno, ECHILD);
    prctl(PR_SET_CHILD_SUBREAPER, 0L);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static long call_cond(sleeper *s)
{
    pthread_mutex_lock(&lock);
    while (load_acquire(&s->back) == 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return 0;
}

/* It puts them on its stack. */
RUN_TEST(where_nobody_may_trace_who_waits_for_a_condition_is_known)
{
    sleeper s;
    word w = {0};
    sleeper_start(&s, call_cond);
    (void)sleeper_sp(s.tid);
    (void)sleeper_sp(getpid());
    prctl(PR_SET_DUMPABLE, 0L);
    BL_CHECK(t, bl__registers_each(word_compare, &w, NULL) || !TRACES);
    prctl(PR_SET_DUMPABLE, 1L);
    pthread_mutex_lock(&lock);
    store_release(&s.back, 1u);
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    sleeper_end(&s);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

RUN_TEST(helpers_that_rest_are_let_alone)
{
    BL_CHECK_EQ(t, bl_blocking(do_nothing, NULL), 0);
    while (load_relaxed(&bl__rt.helpers.resting) == 0)
        usleep(100);
    prctl(PR_SET_DUMPABLE, 0L);
    while (TRACES && !bl__registers_each(word_compare, &(word){0}, NULL)) /* as soon as it sleeps */
        usleep(100);
    prctl(PR_SET_DUMPABLE, 1L);
}

RUN_TEST(where_nobody_may_trace_nothing_is_known)
{
    sleeper s;
    sleeper_start(&s, call_read);
    prctl(PR_SET_DUMPABLE, 0L);
    BL_CHECK(t, !sleeper_seen(&s));
    prctl(PR_SET_DUMPABLE, 1L);
    BL_CHECK(t, sleeper_seen(&s) == TRACES);
    sleeper_end(&s);
}

typedef struct waiter {
    bl_chan *c;
    int tid; /* atomic */
} waiter;

/* Has a thread of the kernel's read from fd, in an io_uring. False: there can be none here. */
static bool worker_start(int fd)
{
    static char byte;
    struct io_uring_params p = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 1, &p);
    if (ring < 0)
        return false;
    char *queue = mmap(NULL, p.sq_off.array + sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED,
                       ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *e =
        mmap(NULL, sizeof *e, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    BL_REQUIRE(t, queue != MAP_FAILED && e != MAP_FAILED);
    *e = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                               .flags = IOSQE_ASYNC,
                               .fd = fd,
                               .addr = (uintptr_t)&byte,
                               .len = 1};
    *(uint32_t *)(void *)(queue + p.sq_off.array) = 0;
    store_release((uint32_t *)(void *)(queue + p.sq_off.tail), 1u);
    BL_CHECK_EQ(t, syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0), 1);
    return true;
}

RUN_TEST(threads_of_the_kernels_own_have_none)
{
    int fds[2];
    if (!TRACES)
        bl_skip(t, NO_TRACES);
    BL_REQUIRE(t, pipe(fds) == 0);
    if (!worker_start(fds[0]))
        bl_skip(t, "there is no io_uring here");
    while (bl__thread_count() == bl__thread_count_own())
        usleep(100);
    while (!bl__registers_each(word_compare, &(word){0}, NULL)) /* as soon as it sleeps */
        usleep(100);
    close(fds[0]);
    close(fds[1]);
}

static void *wait_long(void *arg)
{
    waiter *w = arg;
    int v;
    store_release(&w->tid, bl__thread_id());
    return bl_chan_recv(w->c, &v) < 0 ? NULL : arg;
}

/* Who waits in the library has its registers on its stack, which may count as its own: so they are
 * not asked for. */
RUN_TEST(who_waits_in_the_library_is_let_alone)
{
    waiter wait = {.c = bl_chan_new(sizeof(int), 0)};
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, wait_long, &wait) == 0);
    while (load_relaxed(&bl__rt.plain_blocked) == 0)
        usleep(100);
    word w = {.wanted = sleeper_sp(load_acquire(&wait.tid))};
    BL_CHECK(t, bl__registers_each(word_compare, &w, NULL) || !TRACES);
    BL_CHECK(t, !w.found);
    bl_chan_close(wait.c);
    pthread_join(thread, NULL);
    bl_chan_release(wait.c);
}
