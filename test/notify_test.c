/* SPDX-License-Identifier: MIT */
/* notify_test.c: signals sent to channels, and those that end a run. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
//belay:libs -Wl,--wrap=bl__fatal_await
#include <belay/debug.h>
#include <belay/test.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "calls.h"
#include "fatal.h"
#include "parked.h"

static bl_test *const t; /* the test that the caller is of */

/* What was sent to the process may reach some thread of it only after the test has ended, when the
 * signal does again what it did before. */
__attribute__((constructor)) static void ignore_late(void)
{
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
}

static int caught; /* by a handler of the test's own */

static void catch_it(int sig) { caught = sig; }

/* Sends sig to the process, and waits until c has it. */
static void raise_and_receive(bl_chan *c, int sig)
{
    int got = 0;
    BL_CHECK_EQ(t, kill(getpid(), sig), 0);
    BL_CHECK_EQ(t, bl_chan_recv_until(c, &got, bl_in(10 * BL_SEC)), 0);
    BL_CHECK_EQ(t, got, sig);
}

BL_TEST(a_channel_gets_its_signals)
{
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 4);
    BL_CHECK_EQ(t, bl_notify(s, c, SIGUSR1, SIGUSR2, SIGRTMIN), 0);
    raise_and_receive(c, SIGUSR1);
    raise_and_receive(c, SIGUSR2);
    raise_and_receive(c, SIGRTMIN);
    BL_CHECK_EQ(t, bl_notify(s, c, SIGHUP, SIGUSR1), 0); /* adds; once is enough */
    raise_and_receive(c, SIGHUP);
    raise_and_receive(c, SIGUSR1);
    raise_and_receive(c, SIGUSR2); /* not the other once more */
    BL_CHECK_EQ(t, bl_chan_len(c), 0);
}

BL_TEST(several_channels)
{
    BL_SCOPE(s);
    bl_chan *a = bl_scope_chan(s, sizeof(int), 1), *b = bl_scope_chan(s, sizeof(int), 1);
    BL_CHECK_EQ(t, bl_notify(s, a, SIGUSR1), 0);
    BL_CHECK_EQ(t, bl_notify(s, b, SIGUSR1, SIGUSR2), 0);
    raise_and_receive(a, SIGUSR1);
    int got = 0;
    BL_CHECK_EQ(t, bl_chan_recv_until(b, &got, bl_in(10 * BL_SEC)), 0);
    BL_CHECK_EQ(t, got, SIGUSR1);
    raise_and_receive(b, SIGUSR2);
    BL_CHECK_EQ(t, bl_chan_len(a), 0);
    bl_notify_stop(b);
    raise_and_receive(a, SIGUSR1);
    BL_CHECK_EQ(t, bl_chan_len(b), 0);
    bl_notify_stop(b); /* nothing to stop is no mistake */
}

/* What a scope has asked for ends with it, whatever others have asked for on the same channel. */
BL_TEST(one_channel_of_two_scopes)
{
    BL_SCOPE(s);
    bl_chan *c = bl_chan_new(sizeof(int), 4);
    {
        BL_SCOPE(inner);
        BL_CHECK_EQ(t, bl_notify(inner, c, SIGUSR1), 0);
        BL_CHECK_EQ(t, bl_notify(s, c, SIGUSR2), 0);
        raise_and_receive(c, SIGUSR1);
        raise_and_receive(c, SIGUSR2);
    }
    raise_and_receive(c, SIGUSR2);
    BL_CHECK(t, signal(SIGUSR1, SIG_IGN) == SIG_IGN);
    bl_notify_stop(c);
    bl_chan_release(c);
}

BL_TEST(before_is_restored)
{
    signal(SIGUSR1, catch_it);
    {
        BL_SCOPE(s);
        bl_chan *a = bl_scope_chan(s, sizeof(int), 1), *b = bl_chan_new(sizeof(int), 1);
        BL_CHECK_EQ(t, bl_notify(s, a, SIGUSR1), 0);
        {
            BL_SCOPE(inner);
            BL_CHECK_EQ(t, bl_notify(inner, b, SIGUSR1), 0);
            raise_and_receive(b, SIGUSR1);
            BL_CHECK_EQ(t, bl_chan_recv(a, NULL), 0);
        }
        raise_and_receive(a, SIGUSR1);
        BL_CHECK_EQ(t, bl_chan_len(b), 0);
        bl_chan_release(b);
        BL_CHECK_EQ(t, caught, 0);
        bl_notify_stop(a);
        BL_CHECK(t, signal(SIGUSR1, catch_it) == catch_it);
    }
    BL_CHECK(t, signal(SIGUSR1, SIG_IGN) == catch_it);
}

#if !BL__TSAN /* which keeps signals back while a thread is in a call */
static void *reads_one(void *arg)
{
    char c;
    return read(*(int *)arg, &c, 1) == 1 ? arg : NULL;
}

/* The call of a thread that is at one when a signal comes goes on. */
BL_TEST(calls_are_not_interrupted)
{
    BL_SCOPE(s);
    int fd[2];
    pthread_t thread;
    void *result = NULL;
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    BL_CHECK_EQ(t, bl_notify(s, c, SIGUSR1), 0);
    BL_REQUIRE(t, pipe(fd) == 0);
    BL_REQUIRE(t, pthread_create(&thread, NULL, reads_one, &fd[0]) == 0);
    BL_CHECK_EQ(t, bl_sleep(20 * BL_MS), 0);
    BL_CHECK_EQ(t, pthread_kill(thread, SIGUSR1), 0);
    BL_CHECK_EQ(t, bl_chan_recv_until(c, NULL, bl_in(10 * BL_SEC)), 0);
    BL_CHECK_EQ(t, write(fd[1], "x", 1), 1);
    pthread_join(thread, &result);
    BL_CHECK(t, result != NULL);
    close(fd[0]);
    close(fd[1]);
}
#endif

BL_TEST(the_channel_is_kept)
{
    BL_SCOPE(s);
    bl_chan *c = bl_chan_new(sizeof(int), 1), *later = bl_scope_chan(s, sizeof(int), 1);
    BL_CHECK_EQ(t, bl_notify(s, c, SIGUSR1), 0);
    bl_chan *kept = c;
    bl_chan_release(c); /* the registration has a reference of its own */
    raise_and_receive(kept, SIGUSR1);
    bl_chan_close(kept); /* what comes then is dropped */
    BL_CHECK_EQ(t, bl_notify(s, later, SIGUSR1), 0);
    for (int i = 0; i < 2; i++) /* by the second one all have had the first */
        raise_and_receive(later, SIGUSR1);
    BL_CHECK_ERR(t, bl_chan_recv(kept, NULL), BL_ECLOSED);
}

BL_TEST(mistakes)
{
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    BL_CHECK_ERR(t, bl_notify(s, c, SIGKILL), BL_EINVAL);
    BL_CHECK_ERR(t, bl_notify(s, c, SIGUSR1, SIGSTOP), BL_EINVAL);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        BL_CHECK_ERR(t, bl__notify(s, c, faults[i], 0), BL_EINVAL);
    BL_CHECK_ERR(t, bl_notify(s, c, 65), BL_EINVAL);
    BL_CHECK_ERR(t, bl_notify(s, c, -1), BL_EINVAL);
    BL_CHECK_ERR(t, bl__notify(s, c, 0), BL_EINVAL);
    BL_CHECK_ERR(t, bl_notify(s, c, SIGUSR1, 32),
                 BL_EINVAL);                          /* one that the C library keeps to itself */
    BL_CHECK(t, signal(SIGUSR1, SIG_IGN) == SIG_IGN); /* the valid one of two is not kept either */
}

/* One that waits for a signal alone, with nobody else to wake it, is no deadlock. */
static void *signal_later(void *arg)
{
    (void)arg;
    usleep(100000);
    kill(getpid(), SIGUSR1);
    return NULL;
}

BL_TEST(waiting_for_a_signal_is_no_deadlock)
{
    int turns[2]; /* a byte for each signal that may come */
    char turn = 0;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 2);
    BL_REQUIRE(t, pipe(turns) == 0);
    BL_CHECK_EQ(t, bl_notify(s, c, SIGUSR1), 0);
    pid_t pid = fork(); /* a thread could wake somebody, and would be counted */
    if (pid == 0) {
        close(turns[1]);
        for (int i = 0; i < 2 && read(turns[0], &turn, 1) == 1; i++) {
            usleep(100000);
            kill(getppid(), SIGUSR1);
        }
        _exit(0);
    }
    for (int i = 0; i < 2; i++) {
        int got = 0;
        BL_CHECK_EQ(t, write(turns[1], &turn, 1), 1);
        BL_CHECK_EQ(t, bl_chan_recv(c, &got), 0);
        BL_CHECK_EQ(t, got, SIGUSR1);
    }
    BL_CHECK_EQ(t, waitpid(pid, NULL, 0), pid);
    close(turns[0]);
    close(turns[1]);
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, signal_later, NULL) == 0);
    BL_CHECK_EQ(t, bl_chan_recv(c, NULL), 0);
    pthread_join(thread, NULL);
}

static int forget_and_wait(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    BL_CHECK_EQ(t, bl_notify(s, c, SIGUSR1), 0);
    bl_notify_stop(c);
    return bl_chan_recv(c, NULL);
}

BL_TEST_PLAIN(after_stop_it_is_one)
{
    CHECK_FATAL(t, forget_and_wait, "all goroutines are asleep - deadlock!");
}

/* ---- Many ---- */

typedef struct storm {
    bl_chan *c;
    int got;  /* atomic */
    int last; /* atomic: SIGUSR2 has come */
} storm;

/* A thread may still be in the handler of the last when the test has ended: no other test wants
 * SIGURG. */
static int storm_receive(void *arg)
{
    storm *st = arg;
    int sig;
    while (bl_chan_recv(st->c, &sig) == 0 && sig != SIGUSR2) {
        BL_CHECK_EQ(t, sig, SIGURG);
        __atomic_fetch_add(&st->got, 1, __ATOMIC_RELAXED);
    }
    return 0;
}

BL_TEST(a_storm_of_signals)
{
    BL_SCOPE(s);
    storm st = {.c = bl_scope_chan(s, sizeof(int), 16)};
    BL_CHECK_EQ(t, bl_notify(s, st.c, SIGURG, SIGUSR2), 0);
    bl_go(s, storm_receive, &st);
    for (int i = 0; i < 1000; i++) {
        BL_CHECK_EQ(t, kill(getpid(), SIGURG), 0);
        if (i % 16 == 0)
            bl_yield();
    }
    while (__atomic_load_n(&st.got, __ATOMIC_RELAXED) == 0 || bl_chan_len(st.c) > 0)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_EQ(t, kill(getpid(), SIGUSR2), 0); /* there is room for it */
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_GE(t, st.got, 1);
    BL_CHECK_LE(t, st.got, 1000);
}

BL_TEST(children_that_end)
{
    enum { CHILDREN = 20 };
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    BL_CHECK_EQ(t, bl_notify(s, c, SIGCHLD), 0);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(i);
        BL_CHECK(t, pid > 0);
    }
    for (int left = CHILDREN; left > 0;) {
        int got = 0;
        BL_CHECK_EQ(t, bl_chan_recv_until(c, &got, bl_in(10 * BL_SEC)), 0);
        BL_REQUIRE(t, got == SIGCHLD);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            left--;
    }
}

/* Registrations come and go while signals do, which no other test wants. */
static int come_and_go(void *arg)
{
    storm *st = arg;
    while (!__atomic_load_n(&st->last, __ATOMIC_ACQUIRE)) {
        BL_SCOPE(s);
        bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
        BL_CHECK_EQ(t, bl_notify(s, c, SIGWINCH), 0);
        int got;
        (void)!bl_chan_recv_until(c, &got, bl_in(50 * BL_US));
        if (bl_id() % 2)
            bl_notify_stop(c);
        bl_yield();
    }
    return 0;
}

BL_TEST(registrations_come_and_go)
{
    BL_SCOPE(s);
    storm st = {.c = bl_scope_chan(s, sizeof(int), 1)};
    BL_CHECK_EQ(t, bl_notify(s, st.c, SIGWINCH), 0);
    for (int i = 0; i < 4; i++)
        bl_go(s, come_and_go, &st);
    for (int i = 0; i < 1000; i++) {
        BL_CHECK_EQ(t, kill(getpid(), SIGWINCH), 0);
        bl_yield();
    }
    __atomic_store_n(&st.last, 1, __ATOMIC_RELEASE);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- The end of a run ---- */

static int until_stopped(void *arg)
{
    int *result = arg;
    bl_chan *c = bl_scope_chan(bl_root(), sizeof(int), 2);
    int got = 0;
    BL_CHECK_EQ(t, bl_notify(bl_root(), c, SIGTERM),
                0); /* both: the channel has it, and the run ends */
    BL_CHECK_EQ(t, kill(getpid(), SIGTERM), 0);
    *result = bl_chan_recv(NULL, NULL);
    BL_CHECK_EQ(t, bl_chan_try_recv(c, &got), 0);
    BL_CHECK_EQ(t, got, SIGTERM);
    return 0;
}

BL_TEST_PLAIN(sigterm_cancels_the_root_scope)
{
    signal(SIGTERM, catch_it);
    for (int i = 0; i < 3; i++) {
        int result = 0;
        BL_CHECK_EQ(t, bl_run(until_stopped, &result, &(bl_options){.signals = 1}), 0);
        BL_CHECK_ERR(t, result, BL_ECANCELED);
    }
    BL_CHECK(t, signal(SIGTERM, SIG_DFL) == catch_it);
    BL_CHECK_EQ(t, caught, 0);
}

static int ignore_the_first(void *arg)
{
    (void)arg;
    kill(getpid(), SIGINT);
    if (bl_chan_recv(NULL, NULL) != BL_ECANCELED)
        return 1;
    kill(getpid(), SIGTERM);
    for (;;)
        pause();
}

BL_TEST_PLAIN(the_second_kills)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        _exit(bl_run(ignore_the_first, NULL, &(bl_options){.signals = 1}));
    }
    int status = 0;
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK(t, WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* In a process without other threads. */
static int all_blocked(void *arg)
{
    int got = 0;
    bl_chan *c = bl_scope_chan(bl_root(), sizeof(int), 1);
    kill(getpid(), SIGUSR2); /* before somebody wants it, or after */
    for (int i = 0; i < 3; i++) {
        BL_SCOPE(s);
        if (bl_notify(s, c, SIGUSR2) != 0 || (i > 0 && kill(getpid(), SIGUSR2) != 0) ||
            bl_chan_recv_until(c, &got, bl_in(10 * BL_SEC)) != 0 || got != SIGUSR2)
            return 1;
    }
    /* Once it is wanted no more it is blocked by all again, and has its old action. */
    struct sigaction sa = {.sa_handler = catch_it};
    for (bl_time end = bl_in(10 * BL_SEC); sa.sa_handler != SIG_DFL && bl_now() < end;)
        if (bl_sleep(BL_MS) != 0 || sigaction(SIGUSR2, NULL, &sa) != 0)
            return 3;
    kill(getpid(), SIGUSR2);
    if (bl_sleep(20 * BL_MS) != 0 || sa.sa_handler != SIG_DFL)
        return 4;
    kill(getpid(), SIGTERM);
    (void)arg;
    return bl_chan_recv(NULL, NULL) == BL_ECANCELED ? 0 : 2;
}

BL_TEST_PLAIN(signals_that_all_threads_block)
{
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t all, now;
        struct sigaction sa;
        signal(SIGUSR2, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        sigfillset(&all);
        sigdelset(&all, SIGALRM);
        pthread_sigmask(SIG_SETMASK, &all, NULL);
        alarm(30);
        if (bl_run(all_blocked, NULL, &(bl_options){.signals = 1}) != 0)
            _exit(1);
        kill(getpid(), SIGUSR2); /* stays pending */
        sigpending(&now);
        sigaction(SIGUSR2, NULL, &sa);
        if (sigismember(&now, SIGUSR2) != 1 || sa.sa_handler != SIG_DFL)
            _exit(2);
        sigaction(SIGTERM, NULL, &sa);
        _exit(sa.sa_handler == SIG_DFL ? 0 : 3);
    }
    int status = 0;
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK_EQ(t, status, 0);
}

static int own_meanwhile(void *arg)
{
    BL_SCOPE(s);
    (void)arg;
    int r = bl_notify(s, bl_scope_chan(s, sizeof(int), 1), SIGUSR2);
    signal(SIGUSR2, catch_it);
    return r;
}

/* Of a signal that all threads block, too, the program's own handler stays that came last. */
BL_TEST_PLAIN(a_handler_that_came_later_stays)
{
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t all;
        struct sigaction sa;
        signal(SIGUSR2, SIG_DFL);
        sigfillset(&all);
        sigdelset(&all, SIGALRM);
        pthread_sigmask(SIG_SETMASK, &all, NULL);
        alarm(30);
        if (bl_run(own_meanwhile, NULL, NULL) != 0)
            _exit(1);
        sigaction(SIGUSR2, NULL, &sa);
        _exit(sa.sa_handler == catch_it ? 0 : 2);
    }
    int status = 0;
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK_EQ(t, status, 0);
}

static int stays_with_a_channel(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .shield = true);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    return bl_notify(s, c, SIGUSR1) == 0 ? bl_chan_recv(NULL, NULL) : 1;
}

static int leaves_it(void *arg)
{
    struct sigaction sa = {.sa_handler = SIG_IGN};
    (void)arg;
    bl_go(bl_root(), stays_with_a_channel, NULL);
    while (sa.sa_handler == SIG_IGN)
        if (bl_sleep(BL_MS) != 0 || sigaction(SIGUSR1, NULL, &sa) != 0)
            return 1;
    return 0;
}

/* With a goroutine that is left behind its registration ends: the run has nobody who delivers. */
BL_TEST_PLAIN(of_a_leaked_goroutine_nothing_stays)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        setenv("BELAY_GRACE", "10ms", 1);
        signal(SIGUSR1, SIG_IGN);
        if (bl_run(leaves_it, NULL, &(bl_options){.on_leak = BL_LEAK_IGNORE}) != 0)
            _exit(1);
        _exit(signal(SIGUSR1, SIG_DFL) == SIG_IGN ? 0 : 2);
    }
    int status = 0;
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK_EQ(t, status, 0);
}

static void *looks_and_stops(void *arg)
{
    bl_stat st;
    do
        usleep(1000);
    while (bl_stats(&st), st.waiting < 1);
    *(size_t *)arg = bl_leaks(NULL, 0);
    kill(getpid(), SIGTERM);
    return NULL;
}

static int waits_for_the_stop(void *arg)
{
    pthread_t thread;
    bl_sem sem;
    bl_sem_init(&sem, 0);
    BL_REQUIRE(t, pthread_create(&thread, NULL, looks_and_stops, arg) == 0);
    BL_CHECK_ERR(t, bl_sem_acquire(&sem, 1), BL_ECANCELED);
    pthread_join(thread, NULL);
    return 0;
}

/* Whoever can be stopped by the signal that ends the run is not stuck, whatever it waits for. */
BL_TEST_PLAIN(who_waits_for_the_end_is_not_stuck)
{
    size_t stuck = 1;
    BL_CHECK_EQ(t, bl_run(waits_for_the_stop, &stuck, &(bl_options){.signals = 1}), 0);
    BL_CHECK_EQ(t, stuck, 0u);
}

static int waits_after_the_stop(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
    if (bl_chan_recv(NULL, NULL) != BL_ECANCELED)
        return 1;
    BL_SCOPE(s, .shield = true);
    return bl_chan_recv(NULL, NULL);
}

/* The signal that ends a run is the last that can do something: then it may be a deadlock again. */
BL_TEST_PLAIN(after_the_one_that_ends_the_run_it_is_one)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        close(2); /* what it says */
        _exit(bl_run(waits_after_the_stop, NULL, &(bl_options){.signals = 1}) == 0 ? 0 : 1);
    }
    int status = 0;
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK(t, WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

/* A signal when the end of a run has looked for it. */
/* NOLINTBEGIN(clang-diagnostic-reserved-identifier): the linker's names (--wrap) */
static bool quit_late;
void __real_bl__fatal_await(void);
void __wrap_bl__fatal_await(void);

void __wrap_bl__fatal_await(void)
{
    if (quit_late)
        raise(SIGQUIT);
    quit_late = false;
    __real_bl__fatal_await();
}
/* NOLINTEND(clang-diagnostic-reserved-identifier) */

static int does_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* It was that run's: the next one, which leaves SIGQUIT alone, does not end as if it had come. */
BL_TEST_PLAIN(sigquit_too_late_for_a_run_is_not_the_next_ones)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        signal(SIGQUIT, SIG_DFL);
        quit_late = true;
        if (bl_run(does_nothing, NULL, &(bl_options){.on_quit = BL_QUIT_DUMP}) != 0 || quit_late)
            _exit(1);
        _exit(bl_run(does_nothing, NULL, &(bl_options){.on_quit = BL_QUIT_OFF}) == 0 ? 0 : 3);
    }
    int status = 0;
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK_EQ(t, status, 0);
}

#if !BL__TSAN /* which keeps signals back in such a child, for calls that it ignores */
/* The child of a fork has nobody to act on its signals, and dies of them as any other program. */
static int fork_and_kill(void *arg)
{
    int *status = arg;
    const struct rlimit none = {0, 0};
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &none);
        alarm(30);
        for (;;)
            pause();
    }
    kill(pid, *status);
    return waitpid(pid, status, 0) == pid ? 0 : BL_EIO;
}

BL_TEST_PLAIN(the_child_of_a_fork_dies_of_it)
{
    int status = SIGTERM;
    BL_CHECK_EQ(t, bl_run(fork_and_kill, &status, &(bl_options){.signals = 1}), 0);
    BL_CHECK(t, WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    status = SIGQUIT;
    BL_CHECK_EQ(t, bl_run(fork_and_kill, &status, &(bl_options){.on_quit = BL_QUIT_EXIT}), 0);
    BL_CHECK(t, WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
}
#endif
