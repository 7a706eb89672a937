/* SPDX-License-Identifier: MIT */
/* run_test.c: bl_run from outside: results, options, plain threads that call in, labels,
 * deadlock. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/label.h"
#include "core/proc.h"
#include "debug/fatal.h"
#include "debug/report.h"

#include "fatal.h"

static bl_test *const t; /* the test that the caller is of */

static int return_it(void *arg) { return *(int *)arg; }

BL_TEST_PLAIN(the_result_of_a_run)
{
    int r = 0;
    BL_CHECK_EQ(t, bl_run(return_it, &r, NULL), 0);
    r = BL_EPIPE;
    BL_CHECK_ERR(t, bl_run(return_it, &r, NULL), BL_EPIPE);
    for (int i = 0; i < 50; i++) /* and again and again */
        BL_CHECK_ERR(t, bl_run(return_it, &r, NULL), BL_EPIPE);
    BL_CHECK_EQ(t, bl_id(), 0);
    BL_CHECK_EQ(t, bl_goroutines(), 0);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

BL_TEST_PLAIN(bad_options)
{
    BL_CHECK_ERR(t, bl_run(nothing, NULL, &(bl_options){.procs = -1}), BL_EINVAL);
    BL_CHECK_ERR(t, bl_run(nothing, NULL, &(bl_options){.max_threads = -1}), BL_EINVAL);
    BL_CHECK_EQ(t, bl_run(nothing, NULL, &(bl_options){.size = sizeof(bl_options)}), 0);
}

static int procs_look(void *arg)
{
    *(int *)arg = bl_procs();
    return 0;
}

BL_TEST_PLAIN(processors_by_option)
{
    for (int n = 1; n <= 5; n++) {
        int seen = 0;
        BL_CHECK_EQ(t, bl_run(procs_look, &seen, &(bl_options){.procs = n}), 0);
        BL_CHECK_EQ(t, seen, n);
    }
    BL_CHECK_GE(t, bl_procs(), 1);
}

static void *run_on_thread(void *arg)
{
    *(int *)arg = bl_run(nothing, NULL, NULL);
    return NULL;
}

BL_TEST(one_run_at_a_time)
{
    BL_CHECK_ERR(t, bl_run(nothing, NULL, NULL), BL_EBUSY);
    pthread_t thread;
    int r = 0;
    BL_REQUIRE(t, pthread_create(&thread, NULL, run_on_thread, &r) == 0);
    pthread_join(thread, NULL);
    BL_CHECK_ERR(t, r, BL_EBUSY);
}

static int fail_soon(void *arg)
{
    bl_yield();
    return *(int *)arg;
}

static int sleep_long(void *arg)
{
    int r = bl_sleep(BL_HOUR);
    *(int *)arg = r;
    return r;
}

BL_TEST(the_result_of_a_goroutine_cancels_its_scope)
{
    int err = BL_ENOENT, slept[5] = {0};
    BL_SCOPE(s);
    for (int i = 0; i < 5; i++)
        bl_go(s, sleep_long, &slept[i]);
    bl_go(s, fail_soon, &err);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ENOENT);
    for (int i = 0; i < 5; i++)
        BL_CHECK_ERR(t, slept[i], BL_ECANCELED);
    BL_CHECK_ERR(t, bl_go(s, nothing, NULL), BL_ECANCELED);
}

static int root_result;

static int leave_one_in_root(void *arg)
{
    (void)arg;
    bl_go(bl_root(), sleep_long, &root_result);
    bl_yield();
    return 0;
}

BL_TEST_PLAIN(the_root_scope_ends_with_the_main_goroutine)
{
    root_result = 0;
    setenv("BELAY_GRACE", "60s", 1);
    bl_time start = bl_now();
    BL_CHECK_EQ(t, bl_run(leave_one_in_root, NULL, NULL), 0);
    BL_CHECK_ERR(t, root_result, BL_ECANCELED);
    BL_CHECK_LE(t, bl_now() - start, 30 * BL_SEC);
}

static atomic_int thread_has_begun, thread_job_done;

static int job_of_a_thread(void *arg)
{
    (void)arg;
    thread_has_begun = 1;
    int r = bl_sleep(20 * BL_MS);
    thread_job_done = 1;
    return r;
}

static void *run_a_job(void *arg)
{
    BL_SCOPE(s);
    bl_go(s, job_of_a_thread, arg);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    return NULL;
}

static int end_before_the_job(void *arg)
{
    BL_CHECK_EQ(t, pthread_create(arg, NULL, run_a_job, NULL), 0);
    while (!thread_has_begun)
        bl_yield();
    return 0;
}

/* The scope of a plain thread is not below the root scope, and its goroutines have the same
 * grace. */
BL_TEST_PLAIN(a_run_waits_for_goroutines_of_plain_threads)
{
    pthread_t thread;
    setenv("BELAY_GRACE", "60s", 1);
    BL_CHECK_EQ(t, bl_run(end_before_the_job, &thread, NULL), 0);
    BL_CHECK_EQ(t, thread_job_done, 1);
    pthread_join(thread, NULL);
}

static atomic_int kept, let_go, gone;

static int keep_the_thread(void *arg)
{
    (void)arg;
    kept = 1;
    while (!let_go)
        usleep(1000);
    gone = 1;
    return 0;
}

static int leave_one_running(void *arg)
{
    (void)arg;
    bl_go(bl_root(), keep_the_thread, NULL);
    while (!kept)
        bl_yield();
    return 0;
}

/* The thread that was left is none of a child's, which waits for it in vain, and is told. */
static int run_in_a_child(const bl_options *opts)
{
    static const char words[] = "belay: no goroutine was started: bl_run returns BL_EBUSY: ";
    char said[1024] = "";
    int ends[2];
    int status = -1;
    if (pipe(ends) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        _exit(bl_run(nothing, NULL, opts) == BL_EBUSY ? 0 : 1);
    }
    close(ends[1]);
    while (read(ends[0], said, sizeof said - 1) < 0 && errno == EINTR)
        continue;
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return 1;
    return strncmp(said, words, sizeof words - 1) == 0 ? 0 : 2;
}

/* What a run leaves on its thread is not to come back in the middle of the next one. In a child,
 * since the memory that it could touch is left too. */
static int run_after_a_leak(void)
{
    const bl_options opts = {.procs = 2, .on_leak = BL_LEAK_IGNORE};
    setenv("BELAY_GRACE", "10ms", 1);
    if (bl_run(leave_one_running, NULL, &opts) != 0 || gone)
        return 1;
    if (bl_run(nothing, NULL, &opts) != BL_EBUSY)
        return 2;
    if (run_in_a_child(&opts) != 0)
        return 4;
    let_go = 1;
    int r;
    while ((r = bl_run(nothing, NULL, &opts)) == BL_EBUSY)
        usleep(1000);
    return r == 0 && gone ? 0 : 3;
}

BL_TEST_PLAIN(a_run_after_one_that_left_a_thread)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        _exit(run_after_a_leak());
    }
    BL_REQUIRE(t, child > 0 && waitpid(child, &status, 0) == child);
    BL_CHECK_EQ(t, status, 0);
}

#if !BL__TSAN /* which lets no such child start threads */
static void *wait_for_the_parent(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v) < 0 ? NULL : arg;
}

static void *send_soon(void *arg)
{
    int v = 7;
    usleep(100000); /* until then the run may take it for one that waits, as the parent's did */
    return bl_chan_send((bl_chan *)arg, &v) < 0 ? NULL : arg;
}

static int receive_from_a_thread(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    pthread_t thread;
    int v = 0;
    (void)arg;
    if (pthread_create(&thread, NULL, send_soon, c) != 0 || bl_chan_recv(c, &v) < 0)
        return 1;
    pthread_join(thread, NULL);
    bl_chan_release(c);
    return v == 7 ? 0 : 1;
}

BL_TEST_PLAIN(a_child_has_none_of_the_threads_that_waited)
{
    if (getenv("BELAY_EMULATOR") != NULL)
        bl_skip(t, "the emulator's own threads do not survive a fork");
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    pthread_t thread;
    int status = -1;
    uint32_t others = load_relaxed(&bl__rt.plain_blocked);
    BL_REQUIRE(t, pthread_create(&thread, NULL, wait_for_the_parent, c) == 0);
    while (load_relaxed(&bl__rt.plain_blocked) == others)
        usleep(100);
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        _exit(bl_run(receive_from_a_thread, NULL, NULL));
    }
    BL_REQUIRE(t, child > 0 && waitpid(child, &status, 0) == child);
    BL_CHECK_EQ(t, status, 0);
    bl_chan_close(c);
    pthread_join(thread, NULL);
    bl_chan_release(c);
}
#endif

/* ---- Plain threads --------------------------------------------------------------------------- */

/* Runs with signals and without, of one processor and more. */
static void *run_again_and_again(void *over)
{
    for (int i = 0; i < 60; i++)
        (void)bl_run(nothing, NULL, &(bl_options){.procs = 1 + i % 3, .signals = i % 2});
    atomic_store((atomic_int *)over, 1);
    return NULL;
}

/* A plain thread may ask at any time: ThreadSanitizer's build tells of what is not read and written
 * as by several. */
BL_TEST_PLAIN(plain_threads_ask_while_runs_begin_and_end)
{
    int procs = bl_procs();
    pthread_t thread;
    atomic_int over = 0;
    BL_REQUIRE(t, pthread_create(&thread, NULL, run_again_and_again, &over) == 0);
    while (!atomic_load(&over)) {
        bl_stat stat;
        bl_stats(&stat);
        BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
        BL_CHECK_LE(t, bl_goroutines(), 1);
        (void)bl_set_procs(2);
    }
    pthread_join(thread, NULL);
    (void)bl_set_procs(procs);
}

enum { THREADS = 4, EACH = 500 };

typedef struct caller {
    bl_scope *scope;
    bl_chan *done; /* of int: how many it started */
    atomic_int *ran;
} caller;

static int ran_one(void *arg)
{
    bl_yield();
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static void *start_goroutines(void *arg)
{
    caller *c = arg;
    BL_CHECK_EQ(t, bl_id(), 0);
    BL_CHECK_ERR(t, bl_label("key", "value"), BL_EINVAL);
    BL_CHECK_EQ(t, bl_ctx_err(bl_ctx_current()), 0);
    int n = 0;
    for (; n < EACH; n++)
        if (bl_go(c->scope, ran_one, c->ran) < 0)
            break;
    bl_time start = bl_now();
    BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0);
    BL_CHECK_GE(t, bl_now() - start, 5 * BL_MS);
    bl_yield();
    BL_CHECK_EQ(t, bl_chan_send(c->done, &n), 0);
    return NULL;
}

BL_TEST(plain_threads_start_goroutines)
{
    atomic_int ran = 0;
    pthread_t threads[THREADS];
    BL_SCOPE(s);
    caller c = {s, bl_scope_chan(s, sizeof(int), 0), &ran};
    for (int i = 0; i < THREADS; i++)
        BL_REQUIRE(t, pthread_create(&threads[i], NULL, start_goroutines, &c) == 0);
    int total = 0;
    for (int i = 0, n; i < THREADS; i++) {
        BL_CHECK_EQ(t, bl_chan_recv(c.done, &n), 0);
        total += n;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, total, THREADS * EACH);
    BL_CHECK_EQ(t, ran, total);
}

/* All goroutines wait, and only a thread that has not called in yet will wake them: no deadlock. */
static void *send_late(void *arg)
{
    usleep(200000);
    BL_CHECK_EQ(t, bl_chan_send(arg, &(int){17}), 0);
    return NULL;
}

BL_TEST(a_plain_thread_can_still_send)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, send_late, c) == 0);
    int v = 0;
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_EQ(t, v, 17);
    pthread_join(thread, NULL);
    bl_chan_release(c);
}

static int wait_for_ever(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    return bl_chan_recv(c, NULL);
}

static int wait_for_one_another(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, wait_for_ever, NULL);
    bl_go(s, wait_for_ever, NULL);
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(deadlock)
{
    CHECK_FATAL(t, wait_for_ever, "fatal error: all goroutines are asleep - deadlock!");
    CHECK_FATAL(t, wait_for_ever, "goroutine 1 [chan receive");
    CHECK_FATAL(t, wait_for_one_another, "fatal error: all goroutines are asleep - deadlock!");
}

static _Atomic bool may_end;

static void *nil_close(void *arg)
{
    bl_chan_close(arg);
    return NULL;
}

/* Has the thread's report wait until the main goroutine has returned. */
static void *report_keep(void *arg)
{
    pthread_t closer;
    bl__report_lock();
    pthread_create(&closer, NULL, nil_close, NULL);
    while (!load_relaxed(&bl__rt.frozen))
        sched_yield();
    may_end = true;
    while (bl_goroutines() != 0)
        sched_yield();
    bl__report_unlock();
    return arg;
}

static int end_beside_fatal(void *arg)
{
    pthread_t keeper;
    (void)arg;
    pthread_create(&keeper, NULL, report_keep, NULL);
    while (!may_end)
        bl_yield();
    return 0;
}

BL_TEST_PLAIN(a_run_does_not_end_while_a_thread_reports_a_fatal_error)
{
    CHECK_FATAL(t, end_beside_fatal, "fatal error: close of nil channel");
    CHECK_FATAL(t, end_beside_fatal, "nil_close");
}

/* Forked before there was any run. */
BL_TEST_PLAIN(a_run_of_a_child_waits_for_no_report_of_its_parent)
{
    bl__fatal_dying.owner = (uint32_t)gettid();
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(bl_run(nothing, NULL, NULL) != 0);
    }
    bl__fatal_dying.owner = 0;
    int status = -1;
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
}

static int go_on_closed(void *arg)
{
    (void)arg;
    bl_scope s;
    bl_scope_open(&s, NULL);
    bl_scope_close(&s);
    return bl_go(&s, nothing, NULL);
}

BL_TEST_PLAIN(starting_in_a_closed_scope_is_fatal)
{
    CHECK_FATAL(t, go_on_closed, "fatal error: ");
    CHECK_FATAL(t, go_on_closed, "scope");
}

/* ---- Labels ---------------------------------------------------------------------------------- */

static const char *label_get(const char *key)
{
    const bl__labels *l = bl__self()->labels;
    const char *p = l ? l->text : NULL;
    for (uint32_t i = 0; l && i < l->count; i++) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, key) == 0)
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

static int label_child(void *arg)
{
    (void)arg;
    BL_CHECK_STR(t, label_get("user"), "ann");
    BL_CHECK_STR(t, label_get("job"), "index");
    BL_CHECK_EQ(t, bl_label("job", "other"), 0); /* does not reach the parent or its siblings */
    bl_yield();
    BL_CHECK_STR(t, label_get("job"), "other");
    return 0;
}

BL_TEST(labels_are_inherited)
{
    const void *owner = bl__self()->labels->owner;
    BL_CHECK(t, label_get("user") == NULL);
    char user[] = "ann";
    BL_CHECK_EQ(t, bl_label("user", user), 0);
    user[0] = 'x'; /* it was copied */
    BL_CHECK_EQ(t, bl_label("job", "index"), 0);
    BL_SCOPE(s);
    for (int i = 0; i < 10; i++)
        bl_go(s, label_child, NULL);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_STR(t, label_get("job"), "index");
    BL_CHECK_EQ(t, bl_label("job", NULL), 0);
    BL_CHECK(t, label_get("job") == NULL);
    BL_CHECK_STR(t, label_get("user"), "ann");
    BL_CHECK_EQ(t, bl_label("user", NULL), 0);
    BL_CHECK_EQ(t, bl_label("never", NULL), 0);
    BL_CHECK(t, bl__self()->labels->owner == owner); /* the test's record, which is no label */
}
