/* SPDX-License-Identifier: MIT */
/*
 * handoff_test.c: a goroutine that blocks in the kernel or computes does not hold up the others.
 * Each test has one processor, or fewer than there are goroutines that sit on one, and can end only
 * if the others go on meanwhile; how soon they do is the benchmarks' business.
 */
// procs: own
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/proc.h"
#include "debug/report.h"
#include "os/os.h"

#include "fatal.h"

static bl_test *const t; /* the test that the caller is of */

enum { MANY = 1000, TICKS = 5, SPARES_STAY = 6 /* running, idle ones that are kept, one asleep */ };

/* A run with these options whose main goroutine is fn. */
static void run_with(bl_fn fn, bl_options opts) { BL_CHECK_EQ(t, bl_run(fn, NULL, &opts), 0); }

#define ONE_PROC(name)                                                                             \
    static int name##_main(void *arg);                                                             \
    BL_TEST_PLAIN(name) { run_with(name##_main, (bl_options){.procs = 1}); }                       \
    static int name##_main(void *arg)

/* What a goroutine can do after it has come back: uses all that belongs to a processor. */
static int twice(void *arg) { return bl_chan_send((bl_chan *)arg, &(int){2}); }

static void be_home(void)
{
    static bl_mutex m;
    int v = 0;
    bl_mutex_lock(&m);
    bl_mutex_unlock(&m);
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    BL_CHECK_EQ(t, bl_go(s, twice, c), 0);
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_EQ(t, v, 2);
    BL_CHECK_EQ(t, bl_sleep(BL_US), 0);
    bl_yield();
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- One that blocks, and the one that ends that ---------------------------------------------- */

static int tick_then_write(void *arg)
{
    for (int i = 0; i < TICKS; i++)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_EQ(t, write(*(int *)arg, "x", 1), 1);
    return 0;
}

ONE_PROC(read_of_an_empty_pipe)
{
    int fds[2];
    char c = 0;
    (void)arg;
    if (!BL_CHECK(t, pipe(fds) == 0))
        return BL_EMFILE;
    BL_SCOPE(s);
    bl_go(s, tick_then_write, &fds[1]);
    BL_CHECK_EQ(t, read(fds[0], &c, 1), 1);
    be_home();
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static atomic_int flag;

static void *hold_until_flag(void *arg)
{
    pthread_mutex_lock(&plain);
    sem_post(arg);
    while (!flag)
        usleep(200);
    pthread_mutex_unlock(&plain);
    return NULL;
}

static int tick_then_flag(void *arg)
{
    for (int i = 0; i < TICKS; i++)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    (void)arg;
    flag = 1;
    return 0;
}

ONE_PROC(pthread_mutex_of_a_plain_thread)
{
    pthread_t thread;
    sem_t held;
    (void)arg;
    flag = 0;
    sem_init(&held, 0, 0);
    BL_SCOPE(s);
    if (!BL_CHECK(t, pthread_create(&thread, NULL, hold_until_flag, &held) == 0))
        return BL_EAGAIN;
    while (sem_wait(&held) != 0) {
    }
    bl_go(s, tick_then_flag, NULL);
    pthread_mutex_lock(&plain);
    pthread_mutex_unlock(&plain);
    be_home();
    pthread_join(thread, NULL);
    return bl_scope_wait(s);
}

static uint32_t held_lock; /* as those of the runtime are */

static int look_then_unlock(void *arg)
{
    uint32_t why = 0;
    (void)arg;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    for (const bl__m *m = bl__rt.all_m; m != NULL; m = m->all_next)
        why |= m->away;
    bl__unlock(&bl__rt.lock);
    BL_CHECK_EQ(t, why, BL__AWAY_HOG);
    store_release(&held_lock, 0u);
    bl__unlock_slow(&held_lock);
    return 0;
}

/* Who waits there goes on soon, so it is taken for one that computes. */
ONE_PROC(lock_of_the_runtime)
{
    (void)arg;
    held_lock = 1;
    BL_SCOPE(s);
    bl_go(s, look_then_unlock, NULL);
    bl__lock_slow(&held_lock);
    be_home();
    return bl_scope_wait(s);
}

static int tick_then_post(void *arg)
{
    for (int i = 0; i < TICKS; i++)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    sem_post(arg);
    return 0;
}

ONE_PROC(sem_wait_for_a_goroutine)
{
    sem_t sem;
    (void)arg;
    sem_init(&sem, 0, 0);
    BL_SCOPE(s);
    bl_go(s, tick_then_post, &sem);
    while (sem_wait(&sem) != 0) {
    }
    be_home();
    return bl_scope_wait(s);
}

ONE_PROC(a_loop_that_never_calls_in)
{
    (void)arg;
    flag = 0;
    BL_SCOPE(s);
    bl_go(s, tick_then_flag, NULL);
    while (!flag) {
    }
    be_home();
    return bl_scope_wait(s);
}

ONE_PROC(usleep_until_others_have_run)
{
    (void)arg;
    flag = 0;
    BL_SCOPE(s);
    bl_go(s, tick_then_flag, NULL);
    while (!flag)
        usleep(50000);
    be_home();
    return bl_scope_wait(s);
}

/* Runs on a thread that sysmon, which blocks all signals, has started. */
static int look_at_mask(void *arg)
{
    pthread_sigmask(SIG_BLOCK, NULL, arg);
    flag = 1;
    return 0;
}

static int block_and_let_look(void *arg)
{
    flag = 0;
    BL_SCOPE(s);
    bl_go(s, look_at_mask, arg);
    while (!flag)
        usleep(50000);
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(new_threads_block_the_signals_that_the_caller_of_run_blocks)
{
    sigset_t seen, usr2;
    sigemptyset(&seen);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    BL_CHECK_EQ(t, bl_run(block_and_let_look, &seen, &(bl_options){.procs = 1}), 0);
    BL_CHECK(t, sigismember(&seen, SIGUSR2));
    BL_CHECK(t, !sigismember(&seen, SIGPIPE) && !sigismember(&seen, SIGTERM));
}

static int yield_until_flag(void *arg)
{
    while (!*(atomic_int *)arg)
        bl_yield();
    return 0;
}

/* In one of its turns at least: each could also be interrupted by the machine. */
ONE_PROC(who_has_blocked_loses_its_processor_before_it_blocks)
{
    atomic_int done = 0;
    bool soon = false;
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, yield_until_flag, &done);
    while (!soon) {
        usleep(3000);
        bl_yield();
        bl_time begin = bl__clock(), now = begin;
        while (load_relaxed(&bl__this_m()->p) != NULL && now - begin < 9 * BL_MS)
            now = bl__clock();
        soon = now - begin < 9 * BL_MS;
    }
    be_home();
    done = 1;
    return bl_scope_wait(s);
}

/* ---- Several --------------------------------------------------------------------------------- */

static int spin_on_flag(void *arg)
{
    while (!*(atomic_int *)arg) {
    }
    be_home();
    return 0;
}

/* More of them than processors, yet no more than are let go on beside these. */
ONE_PROC(several_loops)
{
    atomic_int go_on = 0;
    (void)arg;
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++)
        bl_go(s, spin_on_flag, &go_on);
    for (int i = 0; i < TICKS; i++)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    go_on = 1;
    return bl_scope_wait(s);
}

/* All processors have one, and who sleeps waits for the next look at any of them. */
static int loops_on_all_main(void *arg)
{
    (void)arg;
    atomic_int go_on = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 5; i++)
        bl_go(s, spin_on_flag, &go_on);
    for (int i = 0; i < TICKS; i++)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    go_on = 1;
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(loops_on_all_processors)
{
    run_with(loops_on_all_main, (bl_options){.procs = 2});
    run_with(loops_on_all_main, (bl_options){.procs = 3});
}

/* Calls that never have to wait, in more loops than are let go on beside the processors. */
static int lock_until_flag(void *arg)
{
    bl_mutex m = {0};
    (void)arg;
    while (!flag) {
        bl_mutex_lock(&m);
        bl_mutex_unlock(&m);
    }
    return 0;
}

static int copy_until_flag(void *arg)
{
    char buf[4096];
    int in = open("/dev/zero", O_RDONLY | O_CLOEXEC), out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)arg;
    while (!flag) {
        BL_CHECK_EQ(t, bl_read(in, buf, sizeof buf), sizeof buf);
        BL_CHECK_EQ(t, bl_write(out, buf, sizeof buf), sizeof buf);
    }
    bl_close(in);
    bl_close(out);
    return 0;
}

static int send_until_flag(void *arg)
{
    int v = 0;
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof v, 1);
    while (!flag) {
        BL_CHECK_EQ(t, bl_chan_send(c, &v), 0);
        BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    }
    return 0;
}

static int loops_until_flag_main(void *arg)
{
    enum { LOOPS = 6 };
    BL_SCOPE(s);
    flag = 0;
    for (int i = 0; i < LOOPS; i++)
        bl_go(s, arg, NULL);
    for (int i = 0; i < 2 * TICKS; i++) /* once for each loop would not tell */
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    flag = 1;
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(loops_of_calls_that_never_wait)
{
    bl_options one = {.procs = 1};
    BL_CHECK_EQ(t, bl_run(loops_until_flag_main, lock_until_flag, &one), 0);
    BL_CHECK_EQ(t, bl_run(loops_until_flag_main, copy_until_flag, &one), 0);
    BL_CHECK_EQ(t, bl_run(loops_until_flag_main, send_until_flag, &one), 0);
}

typedef struct reader {
    int fds[2];
    int number;
} reader;

static atomic_int came_back;

static int read_number(void *arg)
{
    reader *r = arg;
    int v = -1;
    BL_CHECK_EQ(t, read(r->fds[0], &v, sizeof v), sizeof v);
    BL_CHECK_EQ(t, v, r->number);
    came_back++;
    bl_yield();
    return bl_sleep(BL_US);
}

static reader readers[MANY];

/* Plain read(2), each on a pipe of its own; who writes to them all is one more goroutine. */
static int many_readers_main(void *arg)
{
    int n = 0, count = *(int *)arg;
    came_back = 0;
    BL_SCOPE(s);
    for (; n < count; n++) {
        readers[n].number = n;
        if (!BL_CHECK(t, pipe(readers[n].fds) == 0))
            break;
        BL_CHECK_EQ(t, bl_go(s, read_number, &readers[n]), 0);
    }
    for (int i = 0; i < TICKS; i++)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    be_home();
    BL_CHECK_EQ(t, came_back, 0);
    for (int i = 0; i < n; i++)
        BL_CHECK_EQ(t, write(readers[i].fds[1], &i, sizeof i), sizeof i);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, came_back, n);
    for (int i = 0; i < n; i++) {
        close(readers[i].fds[0]);
        close(readers[i].fds[1]);
    }
    return 0;
}

BL_TEST_PLAIN(a_thousand_readers)
{
    struct rlimit files;
    int count = MANY;
    BL_REQUIRE(t, getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max < 4 * MANY ? files.rlim_max : 4 * MANY;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2 * MANY + 100)
        count = ((int)files.rlim_cur - 100) / 2;
    for (int procs = 1; procs <= 2; procs++)
        BL_CHECK_EQ(t, bl_run(many_readers_main, &count, &(bl_options){.procs = procs}), 0);
}

/* ---- The library itself ----------------------------------------------------------------------- */

/* Reads until nobody writes any more. */
static int drain(void *arg)
{
    char part[4096];
    while (read(*(int *)arg, part, sizeof part) > 0)
        continue;
    return 0;
}

static void pipe_fill(int fd)
{
    static const char part[4096];
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, part, sizeof part) > 0)
        continue;
    fcntl(fd, F_SETFL, flags);
}

static void warning_print(bl__out *o, void *arg)
{
    (void)arg;
    bl__out_printf(o, "a warning\n");
}

/* Nobody reads it but a goroutine, which needs the processor for that. */
ONE_PROC(reports_into_a_full_pipe)
{
    int fds[2];
    (void)arg;
    if (!BL_CHECK(t, pipe(fds) == 0))
        return BL_EMFILE;
    BL_SCOPE(s);
    bl_go(s, drain, &fds[0]);
    pipe_fill(fds[1]);
    BL_CHECK_EQ(t, bl_dump(fds[1]), 0);
    be_home();
    pipe_fill(fds[1]);
    BL_CHECK_EQ(t, bl_profile(fds[1], "goroutine", 1), 0);
    be_home();
    pipe_fill(fds[1]);
    bl__report_run(fds[1], warning_print, NULL);
    be_home();
    close(fds[1]);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    close(fds[0]);
    return 0;
}

ONE_PROC(a_processor_is_let_go)
{
    bl_stat st;
    (void)arg;
    bool gone = bl__let_go();
    BL_CHECK(t, gone);
    BL_CHECK(t, !bl__let_go());
    bl_stats(&st);
    BL_CHECK_EQ(t, st.threads_away, 1);
    bl__take_up(gone);
    do /* it may have come back on another thread, before the one that it left is at rest */
        bl_stats(&st);
    while (st.threads_away != 0);
    be_home();
    return 0;
}

static int wait_for_close(void *arg)
{
    return bl_chan_recv((bl_chan *)arg, NULL) == BL_ECLOSED ? 0 : 1;
}

enum { LOOK_PROFILE, LOOK_DUMP, LOOK_LEAKS, LOOK_STATS, LOOKS };

/* Who looks at many goroutines lets another thread have the processor: there are two then. */
static int look_main(void *arg)
{
    enum { CROWD = 1200 };
    bl_stat st;
    int fd = memfd_create("looked at", MFD_CLOEXEC);
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, 1, 0);
    for (int i = 0; i < CROWD; i++)
        BL_CHECK_EQ(t, bl_go(s, wait_for_close, c), 0);
    bl_yield();
    switch (*(int *)arg) {
    case LOOK_PROFILE: BL_CHECK_EQ(t, bl_profile(fd, "goroutine", 0), 0); break;
    case LOOK_DUMP: BL_CHECK_EQ(t, bl_dump(fd), 0); break;
    case LOOK_LEAKS: BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0); break;
    default: bl_stats(&st); break;
    }
    BL_CHECK_GE(t, load_relaxed(&bl__rt.threads), 2); /* bl_stats would see to that itself */
    be_home();
    bl_chan_close(c);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    close(fd);
    return 0;
}

BL_TEST_PLAIN(who_looks_at_many_lets_others_run)
{
    for (int look = 0; look < LOOKS; look++)
        BL_CHECK_EQ(t, bl_run(look_main, &look, &(bl_options){.procs = 1}), 0);
}

/* Of the threads that the readers had most are spare, and end when they have been idle for a while;
 * the next ones that block get others. */
static int spares_main(void *arg)
{
    bl_stat st = {0};
    for (int round = 0; round < 2; round++) {
        BL_CHECK_EQ(t, many_readers_main(arg), 0);
        bl_time end = bl_in(20 * BL_SEC);
        do
            BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0);
        while (bl_stats(&st), st.threads > SPARES_STAY && bl_now() < end);
        BL_CHECK_LE(t, st.threads, SPARES_STAY);
    }
    return 0;
}

BL_TEST_PLAIN(spare_threads_end)
{
    int count = 50;
    BL_REQUIRE(t, setenv("BELAY_DEBUG", "spare=20", 1) == 0);
    BL_CHECK_EQ(t, bl_run(spares_main, &count, &(bl_options){.procs = 1}), 0);
    BL_CHECK_EQ(t, bl_run(spares_main, &count, &(bl_options){.procs = 2}), 0);
    BL_CHECK_EQ(t, unsetenv("BELAY_DEBUG"), 0);
}

/* ---- What sysmon keeps open -------------------------------------------------------------------- */

static void *be_watched(void *arg)
{
    int *fds = arg;
    char c;
    atomic_store(&flag, bl__thread_id());
    BL_CHECK_EQ(t, read(fds[0], &c, 1), 1);
    while (atomic_load(&flag) != 0)
        ;
    return NULL;
}

/* Until it is so, or for ever. */
static void await_state(bl__thread_state *s, int sleeps)
{
    while (bl__thread_state_sleeps(s) != sleeps)
        usleep(100);
}

BL_TEST_PLAIN(the_state_of_a_thread_is_kept_open)
{
    bl__thread_state s = {0};
    int fds[2];
    pthread_t thread;
    flag = 0;
    BL_CHECK_EQ(t, bl__thread_state_sleeps(&s), -1);
    BL_REQUIRE(t, pipe(fds) == 0);
    BL_REQUIRE(t, pthread_create(&thread, NULL, be_watched, fds) == 0);
    while (atomic_load(&flag) == 0)
        usleep(100);
    bl__thread_state_open(&s, atomic_load(&flag));
    await_state(&s, 1);
    BL_CHECK_EQ(t, write(fds[1], "x", 1), 1);
    await_state(&s, 0);
    atomic_store(&flag, 0);
    pthread_join(thread, NULL);
    await_state(&s, -1); /* the kernel's part of its end may come after the join */
    bl__thread_state_open(&s, bl__thread_id());
    BL_CHECK_EQ(t, bl__thread_state_sleeps(&s), 0);
    bl__thread_state_close(&s);
    BL_CHECK_EQ(t, bl__thread_state_sleeps(&s), -1);
    close(fds[0]);
    close(fds[1]);
}

static int be_away_and_back(void *arg)
{
    (void)arg;
    usleep(5000);
    bl_yield();
    return 0;
}

static int lowest_free(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

static int naps(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    for (int i = 0; i < TICKS; i++) {
        bl_go(s, be_away_and_back, NULL);
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    }
    return bl_scope_wait(s);
}

static int at_home(void *arg)
{
    (void)arg;
    be_home();
    return 0;
}

BL_TEST_PLAIN(no_descriptor_is_left_open)
{
    run_with(at_home, (bl_options){.procs = 1}); /* opens what the process keeps */
    int before = lowest_free();
    run_with(naps, (bl_options){.procs = 1});
    BL_CHECK_EQ(t, lowest_free(), before);
}

/* ---- No false deadlock ------------------------------------------------------------------------ */

static void *write_late(void *arg)
{
    usleep(300000); /* longer than sysmon takes to look for a deadlock */
    BL_CHECK_EQ(t, write(*(int *)arg, "x", 1), 1);
    return NULL;
}

static int read_then_send(void *arg)
{
    bl_chan **c = arg;
    char got = 0;
    BL_CHECK_EQ(t, read((int)(intptr_t)c[1], &got, 1), 1);
    return bl_chan_send(c[0], &(int){3});
}

/* All others wait for the one that is in the kernel. */
ONE_PROC(one_in_read_is_no_deadlock)
{
    int fds[2], v = 0;
    pthread_t thread;
    (void)arg;
    if (!BL_CHECK(t, pipe(fds) == 0))
        return BL_EMFILE;
    BL_SCOPE(s);
    bl_chan *c[] = {bl_scope_chan(s, sizeof(int), 0), (bl_chan *)(intptr_t)fds[0]};
    if (!BL_CHECK(t, pthread_create(&thread, NULL, write_late, &fds[1]) == 0))
        return BL_EAGAIN;
    bl_go(s, read_then_send, c);
    BL_CHECK_EQ(t, bl_chan_recv(c[0], &v), 0);
    BL_CHECK_EQ(t, v, 3);
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
    return bl_scope_wait(s);
}

static int nap_then_send(void *arg)
{
    usleep(300000);
    return bl_chan_send((bl_chan *)arg, &(int){4});
}

ONE_PROC(one_in_usleep_is_no_deadlock)
{
    int v = 0;
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, nap_then_send, c);
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_EQ(t, v, 4);
    return bl_scope_wait(s);
}

static int nap(void *arg)
{
    (void)arg;
    usleep(20000);
    be_home();
    return 0;
}

static int asleep_after_coming_back(void *arg)
{
    int v;
    (void)arg;
    BL_SCOPE(s);
    for (int i = 0; i < 5; i++)
        bl_go(s, nap, NULL);
    bl_yield();
    (void)bl_scope_wait(s);
    return bl_chan_recv(bl_scope_chan(s, sizeof(int), 0), &v);
}

BL_TEST_PLAIN(a_deadlock_is_still_found)
{
    CHECK_FATAL(t, asleep_after_coming_back, "all goroutines are asleep - deadlock!");
}

/* ---- Together with the rest -------------------------------------------------------------------- */

static int read_one(void *arg)
{
    char c;
    BL_CHECK_EQ(t, read(*(int *)arg, &c, 1), 1);
    be_home();
    return 0;
}

static int procs_change_main(void *arg)
{
    int fds[2];
    (void)arg;
    if (!BL_CHECK(t, pipe(fds) == 0))
        return BL_EMFILE;
    for (int round = 0; round < 8; round++) {
        BL_SCOPE(s);
        for (int i = 0; i < 6; i++)
            bl_go(s, read_one, &fds[0]);
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
        bl_set_procs(1 + round % 4);
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
        BL_CHECK_EQ(t, write(fds[1], "xxxxxx", 6), 6);
        bl_set_procs(4 - round % 4);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    }
    close(fds[0]);
    close(fds[1]);
    return 0;
}

BL_TEST_PLAIN(processors_come_and_go_meanwhile)
{
    int before = bl_procs();
    run_with(procs_change_main, (bl_options){.procs = 2});
    bl_set_procs(before);
}

ONE_PROC(fork_and_exec_meanwhile)
{
    int fds[2];
    (void)arg;
    if (!BL_CHECK(t, pipe2(fds, O_CLOEXEC) == 0))
        return BL_EMFILE;
    BL_SCOPE(s);
    for (int i = 0; i < 4; i++)
        bl_go(s, read_one, &fds[0]);
    for (int i = 0; i < 4; i++) {
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(100);
        }
        while (waitpid(child, &status, 0) < 0) { /* in which this goroutine is away as well */
        }
        BL_CHECK_EQ(t, status, 0);
    }
    BL_CHECK_EQ(t, write(fds[1], "xxxx", 4), 4);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* It sees when it comes back that it was cancelled meanwhile. */
static int away_when_cancelled(void *arg)
{
    char c;
    int r;
    BL_CHECK_EQ(t, read(*(int *)arg, &c, 1), 1);
    r = bl_sleep(BL_MIN);
    BL_CHECK_ERR(t, r, BL_ECANCELED);
    return r;
}

ONE_PROC(cancelled_while_away)
{
    enum { AWAY = 4 };
    bl_stat st;
    int fds[2];
    (void)arg;
    if (!BL_CHECK(t, pipe(fds) == 0))
        return BL_EMFILE;
    BL_SCOPE(s);
    for (int i = 0; i < AWAY; i++)
        bl_go(s, away_when_cancelled, &fds[0]);
    do
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    while (bl_stats(&st), st.threads_away < AWAY);
    bl_scope_cancel(s, 0);
    BL_CHECK_EQ(t, write(fds[1], "xxxx", 4), 4);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
