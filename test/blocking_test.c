/* SPDX-License-Identifier: MIT */
/* blocking_test.c: functions that run on helper threads. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
//belay:libs -Wl,--wrap=bl__thread_start
#include <belay/test.h>

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/proc.h"
#include "os/os.h"

#include "fatal.h"
#include "parked.h"
#include "run.h"

static bl_test *const t; /* the test that the caller is of */

enum { CROWD = 500, BIG_FRAME = 1 << 20 };

static int add_one(void *arg)
{
    BL_CHECK_EQ(t, bl_id(), 0);
    return ++*(int *)arg;
}

static int give(void *arg) { return (int)(intptr_t)arg; }

static int wait_for_post(void *arg)
{
    while (sem_wait(arg) != 0) {
    }
    return 7;
}

static int blocking_wait_for_post(void *arg)
{
    BL_CHECK_EQ(t, bl_blocking(wait_for_post, arg), 7);
    return 0;
}

/* Lets the others run until so many helpers rest; false: after ten seconds they do not. */
static bool helpers_rest(uint32_t n)
{
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end; bl_yield())
        if (load_relaxed(&bl__rt.helpers.resting) == n)
            return true;
    return false;
}

/* ---- Results --------------------------------------------------------------------------------- */

BL_TEST(returns_what_the_function_returns)
{
    int n = 0;
    BL_CHECK_EQ(t, bl_blocking(add_one, &n), 1);
    BL_CHECK_EQ(t, bl_blocking(add_one, &n), 2);
    BL_CHECK_EQ(t, n, 2);
    BL_CHECK_ERR(t, bl_blocking(give, (void *)(intptr_t)BL_EIO), BL_EIO);
    BL_CHECK_EQ(t, bl_blocking(give, (void *)(intptr_t)INT_MAX), INT_MAX);
    BL_CHECK_ERR(t, bl_blocking(NULL, NULL), BL_EINVAL);
}

static int is_this_thread(void *arg) { return pthread_equal(pthread_self(), *(pthread_t *)arg); }

BL_TEST_PLAIN(a_plain_thread_just_calls_it)
{
    pthread_t self = pthread_self();
    BL_CHECK_EQ(t, bl_blocking(is_this_thread, &self), 1);
    BL_CHECK_ERR(t, bl_blocking(NULL, NULL), BL_EINVAL);
}

/* In a helper another call is one from a plain thread. */
static int blocking_again(void *arg)
{
    pthread_t self = pthread_self();
    return bl_blocking(is_this_thread, &self) == 1 ? bl_blocking(add_one, arg) : BL_EIO;
}

BL_TEST(calls_within_calls)
{
    int n = 4;
    BL_CHECK_EQ(t, bl_blocking(blocking_again, &n), 5);
}

static int use_big_frame(void *arg)
{
    volatile char big[BIG_FRAME];
    for (size_t i = 0; i < sizeof big; i += 4096)
        big[i] = (char)i;
    return big[4096] + *(int *)arg;
}

BL_TEST(the_stack_is_an_ordinary_one)
{
    int n = 3;
    BL_CHECK_EQ(t, bl_blocking(use_big_frame, &n), 3);
}

/* ---- Helpers --------------------------------------------------------------------------------- */

static int thread_id(void *arg)
{
    (void)arg;
    return (int)syscall(SYS_gettid);
}

RUN_TEST(one_helper_is_enough_for_one_after_the_other)
{
    int first = bl_blocking(thread_id, NULL);
    for (int i = 0; i < 200; i++) {
        BL_REQUIRE(t, helpers_rest(1));
        BL_CHECK_EQ(t, bl_blocking(thread_id, NULL), first);
    }
    BL_CHECK_EQ(t, load_relaxed(&bl__rt.helpers.count), 1);
}

/* The one that has rested least comes first. */
RUN_TEST(helpers_rest_last_in_first_out)
{
    sem_t sems[3];
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++) {
        sem_init(&sems[i], 0, 0);
        bl_go(s, blocking_wait_for_post, &sems[i]);
    }
    BL_REQUIRE(t, parked_wait(3));
    while (load_relaxed(&bl__rt.helpers.count) < 3)
        bl_yield();
    for (int i = 0; i < 3; i++) {
        sem_post(&sems[i]);
        BL_REQUIRE(t, helpers_rest((uint32_t)i + 1));
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    int id = bl_blocking(thread_id, NULL);
    for (int i = 0; i < 50; i++) {
        BL_REQUIRE(t, helpers_rest(3));
        BL_CHECK_EQ(t, bl_blocking(thread_id, NULL), id);
    }
}

static int many_calls(void *arg)
{
    int n = 0;
    for (int i = 1; i <= 20; i++) {
        BL_CHECK_EQ(t, bl_blocking(add_one, &n), i);
        if (i % 7 == 0)
            bl_yield();
    }
    atomic_fetch_add((atomic_int *)arg, n);
    return 0;
}

BL_TEST(five_hundred_at_once)
{
    atomic_int sum = 0;
    BL_SCOPE(s);
    for (int i = 0; i < CROWD; i++)
        BL_CHECK_EQ(t, bl_go(s, many_calls, &sum), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, sum, CROWD * 20);
}

static sem_t gate;

/* All of them block at one time, each on a thread. */
BL_TEST(five_hundred_that_block)
{
    sem_init(&gate, 0, 0);
    BL_SCOPE(s);
    for (int i = 0; i < CROWD; i++)
        BL_CHECK_EQ(t, bl_go(s, blocking_wait_for_post, &gate), 0);
    BL_REQUIRE(t, parked_wait(CROWD));
    BL_CHECK(t, load_relaxed(&bl__rt.helpers.count) >= CROWD); /* and one of an earlier test */
    for (int i = 0; i < CROWD; i++)
        sem_post(&gate);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

static int tick_then_post(void *arg)
{
    for (int i = 0; i < 20; i++)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    sem_post(arg);
    return 0;
}

/* One processor, and it is free while the function blocks: who ends that is another goroutine. */
static int others_main(void *arg)
{
    (void)arg;
    sem_t sem;
    sem_init(&sem, 0, 0);
    BL_SCOPE(s);
    bl_go(s, tick_then_post, &sem);
    BL_CHECK_EQ(t, bl_blocking(wait_for_post, &sem), 7);
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(others_go_on_meanwhile)
{
    BL_CHECK_EQ(t, bl_run(others_main, NULL, &(bl_options){.procs = 1}), 0);
}

static int few_threads_main(void *arg)
{
    const int *most = arg;
    atomic_int sum = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 50; i++)
        BL_CHECK_EQ(t, bl_go(s, many_calls, &sum), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, sum, 50 * 20);
    BL_CHECK_LE(t, load_relaxed(&bl__rt.helpers.count), *most);
    return 0;
}

static int no_threads_main(void *arg)
{
    int n = 0;
    (void)arg;
    BL_CHECK_ERR(t, bl_blocking(add_one, &n), BL_EAGAIN);
    BL_CHECK_EQ(t, n, 0);
    return 0;
}

BL_TEST_PLAIN(max_threads_bounds_them)
{
    for (int helpers = 2; helpers >= 1; helpers--) {
        const bl_options opts = {.procs = 1, .max_threads = helpers + 1};
        BL_CHECK_EQ(t, bl_run(few_threads_main, &helpers, &opts), 0);
    }
    BL_CHECK_EQ(t, bl_run(no_threads_main, NULL, &(bl_options){.procs = 1, .max_threads = 1}), 0);
}

/* One of the numbers that are under the helpers' lock. */
static uint32_t helpers_count(const uint32_t *number)
{
    bl__lock(&bl__rt.helpers.lock, BL__RANK_BLOCKING);
    uint32_t n = *number;
    bl__unlock(&bl__rt.helpers.lock);
    return n;
}

/* The goroutine that is to get no helper, once a call of another counts on that one; 0: none. */
static atomic_ullong refused;

/* NOLINTBEGIN(clang-diagnostic-reserved-identifier): the linker's names (--wrap) */
int __real_bl__thread_start(pthread_t *out, void *(*fn)(void *), void *arg, bool block_signals);
int __wrap_bl__thread_start(pthread_t *out, void *(*fn)(void *), void *arg, bool block_signals);
int __wrap_bl__thread_start(pthread_t *out, void *(*fn)(void *), void *arg, bool block_signals)
{
    unsigned long long id = bl_id();
    if (id == 0 || !atomic_compare_exchange_strong(&refused, &id, 0))
        return __real_bl__thread_start(out, fn, arg, block_signals);
    while (helpers_count(&bl__rt.helpers.queued) == 0)
        usleep(100);
    return BL_EAGAIN;
}
/* NOLINTEND(clang-diagnostic-reserved-identifier) */

static int blocking_refused(void *arg)
{
    refused = bl_id();
    BL_CHECK_ERR(t, bl_blocking(add_one, arg), BL_EAGAIN);
    return 0;
}

static int blocking_refused_too(void *arg)
{
    while (helpers_count(&bl__rt.helpers.coming) == 0)
        bl_yield();
    BL_CHECK_ERR(t, bl_blocking(add_one, arg), BL_EAGAIN);
    return 0;
}

RUN_TEST(who_counts_on_a_helper_that_does_not_come_is_told)
{
    int n = 0;
    if (BL__RACE)
        bl_skip(t, "its helpers are started by another function");
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, blocking_refused_too, &n), 0);
    BL_CHECK_EQ(t, bl_go(s, blocking_refused, &n), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, n, 0);
}

/* ---- Cancellation ---------------------------------------------------------------------------- */

BL_TEST(a_cancelled_caller_does_not_begin)
{
    int n = 0;
    BL_SCOPE(s);
    bl_scope_cancel(s, BL_EPIPE);
    BL_CHECK_ERR(t, bl_blocking(add_one, &n), BL_ECANCELED);
    BL_CHECK_EQ(t, n, 0);
    BL_SCOPE(late, .deadline = 1, .ctx = bl_ctx_background());
    while (bl_ctx_err(bl_ctx_current()) == 0)
        bl_yield();
    BL_CHECK_ERR(t, bl_blocking(add_one, &n), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, n, 0);
}

static atomic_int begun;

static int begin_and_wait(void *arg)
{
    begun++;
    return wait_for_post(arg);
}

static int blocking_begin(void *arg)
{
    BL_CHECK_EQ(t, bl_blocking(begin_and_wait, arg), 7);
    return 0;
}

static int blocking_cancelled(void *arg)
{
    int n = 0;
    BL_CHECK_ERR(t, bl_blocking(add_one, &n), BL_ECANCELED);
    BL_CHECK_EQ(t, n, 0);
    *(bool *)arg = true;
    return BL_ECANCELED;
}

/* One helper, which is busy: who waits for it can be stopped, and whose function runs cannot. */
static int cancel_main(void *arg)
{
    (void)arg;
    bool told[3] = {false};
    sem_t sem;
    sem_init(&sem, 0, 0);
    begun = 0;
    {
        BL_SCOPE(s);
        bl_go(s, blocking_begin, &sem);
        while (!begun)
            bl_yield();
        BL_SCOPE(queued);
        for (int i = 0; i < 3; i++)
            bl_go(queued, blocking_cancelled, &told[i]);
        BL_CHECK(t, parked_wait(4));
        bl_scope_cancel(queued, 0);
        bl_scope_cancel(s, 0);
        BL_CHECK_ERR(t, bl_scope_wait(queued), BL_ECANCELED);
        BL_CHECK(t, told[0] && told[1] && told[2]);
        sem_post(&sem);
        BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
    }
    BL_CHECK_EQ(t, bl_blocking(give, (void *)5), 5);
    return 0;
}

BL_TEST_PLAIN(a_cancellation_reaches_who_waits_for_a_helper)
{
    BL_CHECK_EQ(t, bl_run(cancel_main, NULL, &(bl_options){.procs = 1, .max_threads = 2}), 0);
}

static int wait_until_stopped(void *arg)
{
    BL_CHECK(t, bl_ctx_current() == arg);
    begun++;
    int r = bl_sleep(BL_MIN);
    BL_CHECK_EQ(t, bl_ctx_err(bl_ctx_current()), r);
    return r;
}

static int blocking_stopped(void *arg)
{
    BL_CHECK_ERR(t, bl_blocking(wait_until_stopped, bl_ctx_current()), BL_ECANCELED);
    *(bool *)arg = true;
    return BL_ECANCELED;
}

/* The function has its caller's context. */
BL_TEST(calls_in_the_function_are_stop_paths)
{
    bool told = false;
    begun = 0;
    {
        BL_SCOPE(s);
        bl_go(s, blocking_stopped, &told);
        while (!begun)
            bl_yield();
        bl_scope_cancel(s, 0);
        BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
    }
    BL_CHECK(t, told);
    BL_SCOPE(next);
    BL_CHECK_EQ(t, bl_blocking(give, (void *)1),
                1); /* by a helper that knows nothing of it any more */
}

static int wait_after_a_scope(void *arg)
{
    {
        BL_SCOPE(s);
        BL_SCOPE(inner, .shield = true);
    }
    return wait_until_stopped(arg);
}

BL_TEST(a_scope_in_the_function_leaves_it_its_callers_context)
{
    BL_SCOPE(s, .timeout = BL_MS);
    BL_CHECK_ERR(t, bl_blocking(wait_after_a_scope, bl_scope_ctx(s)), BL_ETIMEDOUT);
}

/* ---- With the others ------------------------------------------------------------------------- */

static int square_all(void *arg)
{
    bl_chan **c = arg;
    int v, n = 0;
    while (bl_chan_recv(c[0], &v) == 0) {
        v *= v;
        BL_CHECK_EQ(t, bl_chan_send(c[1], &v), 0);
        n++;
    }
    bl_chan_close(c[1]);
    return n;
}

static int feed(void *arg)
{
    bl_chan **c = arg;
    for (int i = 1; i <= 100; i++)
        BL_CHECK_EQ(t, bl_chan_send(c[0], &i), 0);
    bl_chan_close(c[0]);
    return 0;
}

static int sum_up(void *arg)
{
    bl_chan **c = arg;
    int v, sum = 0;
    while (bl_chan_recv(c[1], &v) == 0)
        sum += v;
    BL_CHECK_EQ(t, sum, 338350);
    return 0;
}

BL_TEST(the_function_talks_to_goroutines)
{
    BL_SCOPE(s);
    bl_chan *c[] = {bl_scope_chan(s, sizeof(int), 0), bl_scope_chan(s, sizeof(int), 2)};
    bl_go(s, feed, c);
    bl_go(s, sum_up, c);
    BL_CHECK_EQ(t, bl_blocking(square_all, c), 100);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

static int scope_in_helper(void *arg)
{
    atomic_int sum = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 10; i++)
        BL_CHECK_EQ(t, bl_go(s, many_calls, &sum), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    *(int *)arg = sum;
    return 0;
}

BL_TEST(the_function_opens_a_scope)
{
    int sum = 0;
    BL_CHECK_EQ(t, bl_blocking(scope_in_helper, &sum), 0);
    BL_CHECK_EQ(t, sum, 200);
}

BL_TEST(other_numbers_of_processors)
{
    atomic_int sum = 0;
    int before = bl_procs();
    BL_SCOPE(s);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 40; i++)
            BL_CHECK_EQ(t, bl_go(s, many_calls, &sum), 0);
        bl_set_procs(round % 2 ? 1 : 4);
        BL_CHECK_EQ(t, bl_blocking(give, (void *)2), 2);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, sum, 4 * 40 * 20);
    bl_set_procs(before);
}

/* ---- The end of a run ------------------------------------------------------------------------ */

static atomic_bool left_returned;

static int left_behind(void *arg)
{
    begin_and_wait(arg);
    left_returned = true;
    return 0;
}

static int blocking_left(void *arg)
{
    int r = bl_blocking(left_behind, arg);
    fprintf(stderr, "a goroutine that was left behind came back\n");
    _exit(1);
    return r;
}

static int leave_main(void *arg)
{
    begun = 0;
    bl_go(bl_root(), blocking_left, arg);
    while (!begun)
        bl_yield();
    return 5;
}

static int later_main(void *arg)
{
    if (bl_blocking(give, (void *)6) != 6)
        return 2;
    sem_post(arg);
    while (!left_returned)
        if (bl_sleep(BL_MS) < 0)
            return 3;
    return bl_sleep(5 * BL_MS) < 0 || bl_blocking(give, (void *)6) != 6 ? 4 : 0;
}

/* In a child: what such a run has left is never given back. */
static int leave_and_run(void)
{
    static sem_t sem;
    sem_init(&sem, 0, 0);
    left_returned = false;
    setenv("BELAY_GRACE", "10ms", 1);
    if (bl_run(leave_main, &sem, &(bl_options){.on_leak = BL_LEAK_IGNORE}) != 5 || left_returned)
        return 1;
    return bl_run(later_main, &sem, NULL);
}

BL_TEST_PLAIN(a_run_ends_without_a_function_that_does_not)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        _exit(leave_and_run());
    }
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
}

static int one_call(void *arg)
{
    (void)arg;
    return bl_blocking(give, (void *)3);
}

BL_TEST_PLAIN(run_after_run)
{
    for (int i = 0; i < 50; i++)
        BL_CHECK_EQ(t, bl_run(one_call, NULL, &(bl_options){.procs = 1 + i % 3}), 3);
    BL_CHECK_EQ(t, load_relaxed(&bl__rt.helpers.count), 0);
    BL_CHECK(t, !bl__threads_starting());
}

/* ---- What is fatal --------------------------------------------------------------------------- */

static int receive_for_ever(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v);
}

static int asleep_with_idle_helpers(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    atomic_int sum = 0;
    for (int i = 0; i < 20; i++)
        bl_go(s, many_calls, &sum);
    (void)bl_scope_wait(s);
    return receive_for_ever(bl_scope_chan(s, sizeof(int), 0));
}

static int asleep_in_helper(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return bl_blocking(receive_for_ever, bl_scope_chan(s, sizeof(int), 0));
}

static bl_scope scope_left;

static int open_a_scope(void *arg) { return bl_scope_open(&scope_left, arg); }

static int scope_left_open(void *arg)
{
    (void)arg;
    return bl_blocking(open_a_scope, NULL);
}

static int blocking_in_child(void *arg)
{
    int n = 0, status = 0;
    (void)arg;
    pid_t child = fork();
    if (child == 0)
        _exit(bl_blocking(add_one, &n) + 100);
    while (waitpid(child, &status, 0) < 0) {
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 100);
}

static int end_thread(void *arg) { pthread_exit(arg); }

static int end_helper(void *arg) { return bl_blocking(end_thread, arg); }

BL_TEST_PLAIN(fatal)
{
    CHECK_FATAL(t, end_thread, " has ended its thread, which is the runtime's (pthread_exit");
    CHECK_FATAL(t, end_helper, "a function of bl_blocking, called by goroutine 1, has ended its");
    CHECK_FATAL(t, asleep_with_idle_helpers, "all goroutines are asleep - deadlock!");
    CHECK_FATAL(t, asleep_in_helper, "goroutine 1 [blocking call]:\nreceive_for_ever\n");
    CHECK_FATAL(t, asleep_in_helper, "\nasleep_in_helper\n");
    CHECK_FATAL(t, asleep_in_helper, "thread of its own: chan receive\nwaits on channel 0x");
    CHECK_FATAL(t, scope_left_open, "the function of bl_blocking ended with a scope left open: ");
    CHECK_FATAL(t, blocking_in_child, "the child of a fork");
}

static int sleep_outside(void *arg)
{
    usleep(300000); /* longer than sysmon takes to look for a deadlock */
    return bl_chan_send((bl_chan *)arg, &(int){1});
}

static int blocking_sender(void *arg) { return bl_blocking(sleep_outside, arg); }

BL_TEST(a_function_that_runs_can_wake_others)
{
    int v = 0;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, blocking_sender, c);
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}
