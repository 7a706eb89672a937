/* SPDX-License-Identifier: MIT */
/*
 * threads_test.c: where there are no more threads, or no more that may compute, that is said, and
 * nothing is lost. Each is said by a child, which goes on when it is, or else ends by a signal.
 */
// procs: own
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bl_test *const t; /* the test that the caller is of */

enum { ROUNDS = 100 };

/* In this run or in the one before. */
static void wait_until_said(void)
{
    struct stat said;
    while (fstat(STDERR_FILENO, &said) == 0 && said.st_size == 0)
        usleep(1000);
}

/* fn is called in a child, which says these words; NULL: nothing. */
static void child_says(int (*fn)(void), const char *words)
{
    char said[4096];
    int status = -1, err = memfd_create("stderr", MFD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) {
        dup2(err, STDERR_FILENO);
        alarm(55);
        _exit(fn());
    }
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    ssize_t n = pread(err, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    close(err);
    bool right = words != NULL ? strstr(said, words) != NULL : said[0] == '\0';
    if (!BL_CHECK_EQ(t, status, 0) || !BL_CHECK(t, right))
        fprintf(stderr, "%s\n", said);
}

static int read_one(void *arg)
{
    char byte;
    return read(*(int *)arg, &byte, 1) == 1 ? bl_sleep(BL_US) : BL_EIO; /* and comes back */
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int spin_on_flag(void *arg)
{
    while (!atomic_load((atomic_int *)arg))
        continue;
    return 0;
}

static int max_threads_main(void *arg)
{
    int fds[2];
    (void)arg;
    if (pipe(fds) != 0)
        return 2;
    BL_SCOPE(s);
    for (int i = 0; i < 8; i++)
        bl_go(s, read_one, &fds[0]);
    for (int i = 0; i < 8; i++)
        if (write(fds[1], "x", 1) != 1)
            return 3;
    return bl_scope_wait(s);
}

static void *write_bytes(void *arg)
{
    wait_until_said();
    if (write(*(int *)arg, "xxxxxxxx", 8) != 8)
        abort();
    return NULL;
}

/* All threads there may be are in the kernel: that is said, and the others wait for one of them. */
static int all_threads_away_main(void *arg)
{
    static int fds[2];
    pthread_t thread;
    (void)arg;
    if (pipe(fds) != 0 || pthread_create(&thread, NULL, write_bytes, &fds[1]) != 0)
        return 2;
    int r;
    {
        BL_SCOPE(s);
        for (int i = 0; i < 8; i++)
            bl_go(s, read_one, &fds[0]);
        r = bl_scope_wait(s);
    }
    pthread_join(thread, NULL);
    return r;
}

static int max_threads_child(void)
{
    const bl_options opts = {.procs = 1, .max_threads = 3};
    int r = bl_run(max_threads_main, NULL, &opts);
    return r != 0 ? r : bl_run(all_threads_away_main, NULL, &opts);
}

BL_TEST_PLAIN(max_threads_is_said_and_survived)
{
    child_says(max_threads_child, "no thread is left to go on with: 3 there are, of at most 3 ");
}

static int one_thread_main(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, nothing, NULL);
    wait_until_said(); /* or for ever */
    return bl_scope_wait(s);
}

static int one_thread_child(void)
{
    return bl_run(one_thread_main, NULL, &(bl_options){.procs = 2, .max_threads = 1});
}

/* A processor is idle, and there is work, but no thread for it. */
BL_TEST_PLAIN(no_thread_for_an_idle_processor_is_said)
{
    child_says(one_thread_child, "no thread is left to go on with: 1 there are, of at most 1 ");
}

static int read_in_turn(void *arg)
{
    const int *fds = arg;
    char byte;
    for (int i = 0; i < ROUNDS; i++)
        if (bl_read(fds[0], &byte, 1) != 1)
            return BL_EIO;
    return 0;
}

/* The other thread wakes up each time, has one goroutine to run, and looks for more. */
static int two_threads_main(void *arg)
{
    int fds[2];
    (void)arg;
    if (pipe(fds) != 0)
        return 2;
    BL_SCOPE(s);
    bl_go(s, read_in_turn, fds);
    for (int i = 0; i < ROUNDS; i++) {
        if (write(fds[1], "x", 1) != 1)
            return 3;
        usleep(2000); /* in which sysmon looks */
    }
    return bl_scope_wait(s);
}

static int two_threads_child(void)
{
    return bl_run(two_threads_main, NULL, &(bl_options){.procs = 2, .max_threads = 2});
}

/* One blocks, but the other does all there is to do. */
BL_TEST_PLAIN(a_thread_that_is_left_is_enough) { child_says(two_threads_child, NULL); }

/* More loops than are let go on: who sleeps is late until something was said. */
static void *stop_when_said(void *arg)
{
    wait_until_said();
    atomic_store((atomic_int *)arg, 1);
    return NULL;
}

static int loops_too_many_main(void *arg)
{
    (void)arg;
    atomic_int go_on = 0;
    pthread_t thread;
    if (pthread_create(&thread, NULL, stop_when_said, &go_on) != 0)
        return 2;
    int r;
    {
        BL_SCOPE(s);
        for (int i = 0; i < 6; i++)
            bl_go(s, spin_on_flag, &go_on);
        do
            r = bl_sleep(BL_MS);
        while (r == 0 && !go_on);
        r = r != 0 ? r : bl_scope_wait(s);
    }
    pthread_join(thread, NULL);
    return r;
}

static int loops_too_many_child(void)
{
    return bl_run(loops_too_many_main, NULL, &(bl_options){.procs = 1});
}

BL_TEST_PLAIN(loops_that_are_too_many_are_told)
{
    child_says(loops_too_many_child, " (spin_on_flag, created by loops_too_many_main at ");
}
