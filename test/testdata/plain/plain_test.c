/* SPDX-License-Identifier: MIT */
/* plain_test.c: tests outside of runs, and checks by those who are not handed a test;
 * test/runner_test.sh says what has to come of each. */
#include <belay/test.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static bl_test *const t; /* the test that the caller is of */

static int result_and_procs(void *arg) { return *(int *)arg + bl_procs(); }

BL_TEST_PLAIN(runs)
{
    const char *procs = getenv("BELAY_PROCS");
    for (int i = 0; i < 3; i++)
        BL_CHECK_EQ(t, bl_run(result_and_procs, &i, NULL), i + (procs ? atoi(procs) : 0));
    BL_CHECK_EQ(t, bl_id(), 0u);
    BL_CHECK(t, bl_test_scope(t) == NULL);
    BL_CHECK(t, bl_tempdir(t) != NULL);
}

static int process; /* each plain test has its own */
BL_TEST_PLAIN(alone) { BL_CHECK_EQ(t, ++process, 1); }
BL_TEST_PLAIN(alone_too) { BL_CHECK_EQ(t, ++process, 1); }

static int fails(void *arg)
{
    BL_CHECK_STR(t, arg, "in a goroutine");
    return 0;
}

static int starts_one(void *arg)
{
    BL_SCOPE(s);
    return bl_go(s, fails, arg);
}

BL_TEST_PLAIN(checks) { BL_CHECK_EQ(t, bl_run(starts_one, "of a run", NULL), 0); }

static void says(void *arg) { printf("%s\n", (const char *)arg); }

BL_TEST_PLAIN(requires)
{
    bl_cleanup(t, says, "cleaned up");
    BL_REQUIRE_EQ(t, getpid(), 1);
    bl_error(t, "not to be reached");
}

static int requires_in_run(void *arg)
{
    BL_REQUIRE(t, arg == NULL);
    return 0;
}

BL_TEST_PLAIN(requires_as_main) { (void)bl_run(requires_in_run, t, NULL); }

BL_TEST_PLAIN(child)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        BL_CHECK_STR(t, "the child", "another");
        _exit(0);
    }
    BL_CHECK_EQ(t, waitpid(pid, &status, 0), pid);
    BL_CHECK_EQ(t, status, 0);
}

BL_TEST_PLAIN(crashes)
{
    bl_log(t, "about to");
    abort();
}

BL_TEST_PLAIN(skips) { bl_skip(t, "not here"); }

BL_TEST_PLAIN(late)
{
    bl_test_timeout(t, 50 * BL_MS);
    pause();
}

static void sub(bl_test *t, void *arg) { bl_error(t, "not to be reached: %p", arg); }
BL_TEST_PLAIN(no_subtests) { bl_subtest(t, "sub", sub, NULL); }

BL_TEST(goroutine)
{
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, fails, "in a goroutine"), 0);
}

BL_TEST(goroutine_fails)
{
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, fails, "elsewhere"), 0);
}

static void *fails_in_thread(void *arg)
{
    BL_REQUIRE(t, arg == NULL);
    return arg;
}

BL_TEST(thread_fails)
{
    pthread_t id;
    void *got = &id;
    BL_REQUIRE(t, pthread_create(&id, NULL, fails_in_thread, &id) == 0);
    BL_CHECK_EQ(t, pthread_join(id, &got), 0);
    BL_CHECK(t, got == NULL);
}

BL_TEST(last) { BL_CHECK_STR(t, bl_test_name(NULL), "last"); }
