/* SPDX-License-Identifier: MIT */
/* profile_test.c: bl_profile and bl_metrics: what they count, and that a crowd is quick. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "debug/contention.h"
#include "debug/pprof.h"

static bl_test *const t; /* the test that the caller is of */

static bl_chan *quiet;

__attribute__((noinline)) static int profile_receiver(void *arg)
{
    int v;
    (void)arg;
    int r = bl_chan_recv(quiet, &v);
    return r == BL_ECLOSED ? 0 : r;
}

static int profile_labelled(void *arg)
{
    BL_CHECK(t, bl_label("job", arg) == 0);
    int r = profile_receiver(NULL);
    return r < 0 ? r : 0; /* not its last call, so it has a frame */
}

/* What it writes, as a string (of a binary profile, its first bytes). */
__attribute__((noinline)) static char *written(const char *name, int debug, size_t *bytes)
{
    int fd = memfd_create("profile", MFD_CLOEXEC);
    BL_CHECK(t, fd >= 0);
    int r = name != NULL ? bl_profile(fd, name, debug) : bl_metrics(fd);
    BL_CHECK_EQ(t, r, 0);
    off_t n = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    BL_CHECK(t, text != NULL && pread(fd, text, (size_t)n, 0) == n);
    close(fd);
    *bytes = (size_t)n;
    return text;
}

static void until_waiting(uint64_t n)
{
    bl_stat s;
    do {
        BL_CHECK(t, bl_sleep(BL_MS) == 0);
        bl_stats(&s);
    } while (s.waiting < n);
}

static bool has_line(const char *text, const char *begins, const char *holds)
{
    for (const char *p = text; p != NULL && *p != 0;) {
        size_t n = strcspn(p, "\n");
        if (strncmp(p, begins, strlen(begins)) == 0 && memmem(p, n, holds, strlen(holds)) != NULL)
            return true;
        p += n + (p[n] == '\n');
    }
    return false;
}

enum { RECEIVERS = 40, CROWD = 20000 };

static int counts_root(void *arg)
{
    size_t bytes;
    BL_SCOPE(s);
    quiet = bl_scope_chan(s, sizeof(int), 0);
    (void)arg;
    for (int i = 0; i < RECEIVERS; i++)
        bl_go(s, profile_receiver, NULL);
    bl_go(s, profile_labelled, "sum");
    bl_go(s, profile_labelled, "GET \"/\"\n\ngoroutine 99 [running]:\x1b");
    until_waiting(RECEIVERS + 2);

    char *text = written("goroutine", 1, &bytes);
    BL_CHECK(t, has_line(text, "goroutine profile: total 43", ""));
#ifdef BL__HAVE_LIBBACKTRACE /* else the library's own functions are not known */
    const char *most = strstr(text, "\n40 @ 0x"), *one = strstr(text, "\n1 @ 0x");
    BL_CHECK(t, most != NULL && one != NULL && most < one);
    BL_CHECK(t, has_line(text, "#\t0x", "\twritten\t")); /* the caller has its stack, too */
#endif
    BL_CHECK(t, has_line(text, "# labels: ", "{\"job\":\"sum\"}"));
    BL_CHECK(t, has_line(text, "# labels: ",
                         "{\"job\":\"GET \\\"/\\\"\\n\\ngoroutine 99 [running]:\\x1b\"}"));
    free(text);
    text = written("goroutine", 0, &bytes);
    BL_CHECK(t, bytes > 200 && memcmp(text, "\x1f\x8b\x08", 3) == 0);
    BL_CHECK(t, memmem(text, bytes, "nanoseconds", 11) == NULL);
    free(text);
    text = written("goroutine", 2, &bytes);
    BL_CHECK(t, has_line(text, "goroutine 1 ", "[running]:"));
    BL_CHECK(t, has_line(text, "labels: job=\"GET \\\"/\\\"\\n\\ngoroutine 99 ", "]:\\x1b\""));
    BL_CHECK(t, !has_line(text, "goroutine 99 ", "")); /* what a peer has sent is no goroutine */
    free(text);
    text = written("goroutineleak", 1, &bytes);
    BL_CHECK(t, has_line(text, "goroutineleak profile: total 0", ""));
    free(text);
    text = written("threadcreate", 1, &bytes);
    BL_CHECK(t, has_line(text, "threadcreate profile: total ", ""));
    free(text);
    text = written(NULL, 0, &bytes);
    BL_CHECK(t, has_line(text, "belay_goroutines{state=\"waiting\"} 42", ""));
    BL_CHECK(t, has_line(text, "belay_goroutines_started_total 43", ""));
    BL_CHECK(t, bytes > 6 && strcmp(text + bytes - 6, "# EOF\n") == 0);
    free(text);
    bl_chan_close(quiet);
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(counts) { BL_CHECK_EQ(t, bl_run(counts_root, NULL, NULL), 0); }

static int from_nil(void *arg)
{
    (void)arg;
    int r = bl_chan_recv(NULL, NULL);
    return r == BL_ECANCELED ? 0 : r;
}

static int says_why_root(void *arg)
{
    size_t bytes;
    BL_SCOPE(s);
    (void)arg;
    bl_go(s, from_nil, NULL);
    until_waiting(1);
    char *text = written("goroutineleak", 2, &bytes);
    BL_CHECK(t, has_line(text, "goroutine 2 ", "[chan receive (nil chan) (leaked)]:"));
    BL_CHECK(t, has_line(text, "cause: ", "a nil channel never has a value"));
    free(text);
    return 0;
}

BL_TEST_PLAIN(says_why) { BL_CHECK_EQ(t, bl_run(says_why_root, NULL, NULL), 0); }

/* More than it first has room for. */
static int leaks_root(void *arg)
{
    enum { LEAKS = 100 };
    size_t bytes;
    BL_SCOPE(s);
    (void)arg;
    for (int i = 0; i < LEAKS; i++)
        bl_go(s, from_nil, NULL);
    until_waiting(LEAKS);
    char *text = written("goroutineleak", 1, &bytes);
    BL_CHECK(t, has_line(text, "goroutineleak profile: total 100", ""));
    free(text);
    return 0;
}

BL_TEST_PLAIN(all_leaks_are_counted) { BL_CHECK_EQ(t, bl_run(leaks_root, NULL, NULL), 0); }

#ifdef BL__HAVE_LIBBACKTRACE
/* How many stacks the text has, and of how many goroutines. */
static int stacks_of(const char *text, uint64_t *goroutines)
{
    int stacks = 0;
    *goroutines = 0;
    for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
        p += *p == '\n';
        char *end;
        uint64_t n = strtoull(p, &end, 10);
        if (*p < '0' || *p > '9' || strncmp(end, " @ 0x", 5) != 0)
            continue;
        *goroutines += n;
        stacks++;
    }
    return stacks;
}
#endif

static int crowd_root(void *arg)
{
    size_t bytes;
    BL_SCOPE(s);
    quiet = bl_scope_chan(s, sizeof(int), 0);
    (void)arg;
    for (int i = 0; i < CROWD; i++)
        bl_go(s, profile_receiver, NULL);
    until_waiting(CROWD);
    char *text = written("goroutine", 1, &bytes);
#ifdef BL__HAVE_LIBBACKTRACE
    uint64_t all;
    BL_CHECK_LE(t, stacks_of(text, &all),
                3); /* this one, and two ways to wait that the library has */
    BL_CHECK_EQ(t, all, CROWD + 1);
#endif
    BL_CHECK(t, bytes < 20000); /* equal ones are together */
    free(text);
    bl_chan_close(quiet);
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(a_crowd_is_one_stack) { BL_CHECK_EQ(t, bl_run(crowd_root, NULL, NULL), 0); }

/* A text's stacks, "NANOSECONDS COUNT @ …", sum up to these, within a tenth. */
static void sums_are_near(const char *name, int64_t nanoseconds, int64_t count)
{
    size_t bytes;
    char *text = written(name, 1, &bytes);
    int64_t sums[2] = {0, 0};
    for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
        char *end;
        p += *p == '\n';
        long long waited = strtoll(p, &end, 10), times = strtoll(end, &end, 10);
        if (strncmp(end, " @ 0x", 5) == 0) {
            sums[0] += waited;
            sums[1] += times;
        }
    }
    free(text);
    BL_CHECK_GE(t, sums[0], nanoseconds / 10 * 9);
    BL_CHECK_LE(t, sums[0], nanoseconds / 10 * 11);
    BL_CHECK_GE(t, sums[1], count / 10 * 9);
    BL_CHECK_LE(t, sums[1], count / 10 * 11);
}

__attribute__((noinline)) static int waits_once(void)
{
    bl__contended_block(BL__WAIT_CHAN_RECV, BL_MIN);
    return 0;
}

__attribute__((noinline)) static int waits_often(void)
{
    for (volatile int i = 0; i < 3; i = i + 1) /* all from one place */
        bl__contended_block(BL__WAIT_CHAN_RECV, BL_SEC);
    return 0;
}

/* And not the most frequent one. */
static int longest_root(void *arg)
{
    size_t bytes;
    (void)arg;
    bl_profile_block(1);
    BL_CHECK_EQ(t, waits_often() + waits_once(), 0);
    bl_profile_block(0);
    char *text = written("block", 1, &bytes);
    const char *once = strstr(text, "\n60000000000 1 @ 0x");
    const char *often = strstr(text, "\n3000000000 3 @ 0x");
    BL_CHECK(t, once != NULL && often != NULL && once < often);
    free(text);
    return 0;
}

BL_TEST_PLAIN(the_longest_wait_comes_first) { BL_CHECK_EQ(t, bl_run(longest_root, NULL, NULL), 0); }

/* What is in the sample stands for all. */
static int samples_root(void *arg)
{
    enum { WAITS = 20000, MICROSECONDS = 700 };
    (void)arg;
    bl_profile_block(BL_MS);
    for (int i = 0; i < WAITS; i++)
        bl__contended_block(BL__WAIT_CHAN_RECV, MICROSECONDS * BL_US);
    bl_profile_block(0);
    sums_are_near("block", (int64_t)WAITS * MICROSECONDS * BL_US, WAITS);
    bl_profile_mutex(10);
    for (int i = 0; i < WAITS; i++)
        bl__contended_unlock(MICROSECONDS * BL_US);
    bl_profile_mutex(0);
    sums_are_near("mutex", (int64_t)WAITS * MICROSECONDS * BL_US, WAITS);
    return 0;
}

BL_TEST_PLAIN(samples_stand_for_all) { BL_CHECK_EQ(t, bl_run(samples_root, NULL, NULL), 0); }

BL_TEST_PLAIN(what_cannot_be_is_refused)
{
    BL_CHECK_ERR(t, bl_profile(1, "heap", 0), BL_EINVAL);
    BL_CHECK_ERR(t, bl_profile(1, NULL, 0), BL_EINVAL);
    BL_CHECK_ERR(t, bl_profile(1, "goroutine", -1), BL_EINVAL);
    BL_CHECK_ERR(t, bl__profile_for(1, "goroutine", 2, BL_MS), BL_EINVAL);
    BL_CHECK_EQ(t, bl_profile(-1, "goroutine", 0), -EBADF);
    BL_CHECK_EQ(t, bl_metrics(-1), -EBADF);
}
