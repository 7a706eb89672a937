/* SPDX-License-Identifier: MIT */
/*
 * watch_test.c: sysmon's sleeps (core/watch.c). However it sleeps, a goroutine that blocks in the
 * kernel is found, and what it waits for is done by one that is queued behind it: else it would
 * wait for ever.
 */
// procs: own
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/proc.h"
#include "os/os.h"

static bl_test *const t; /* the test that the caller is of */

#define ONE_PROC(name)                                                                             \
    static int name##_main(void *arg);                                                             \
    BL_TEST_PLAIN(name)                                                                            \
    {                                                                                              \
        bl_options opts = {.procs = 1};                                                            \
        BL_CHECK_EQ(t, bl_run(name##_main, NULL, &opts), 0);                                       \
    }                                                                                              \
    static int name##_main(void *arg)

/* While a processor says that it goes on, sysmon's next look is put off, but with
 * ThreadSanitizer. */
ONE_PROC(looks_are_put_off)
{
    const bl__watch *w = &bl__rt.watch;
    bl_time first = BL_NEVER, most = 0;
    (void)arg;
    while (load_relaxed(&w->timer) != 0) {
        bl__watch_feed(bl__this_m()->p, bl__clock());
        bl_time until = load_relaxed(&w->until);
        if (until != BL_NEVER && until > first && load_relaxed(&w->most) == most)
            return BL_CHECK(t, until <= most) ? 0 : BL_EINVAL;
        if (first == BL_NEVER || until == BL_NEVER || load_relaxed(&w->most) != most) {
            first = until; /* of its next sleep */
            most = load_relaxed(&w->most);
        }
    }
    return BL_CHECK(t, BL__TSAN || BL__RACE) ? 0 : BL_EINVAL;
}

/* Breaks sysmon's sleep off, n times: by the signal that setuid sends to all threads and that cannot
 * be blocked. */
static void sleeps_break_off(int n)
{
    const bl__watch *w = &bl__rt.watch;
    for (int i = 0; i < n && load_relaxed(&w->timer) != 0; i++) {
        do
            bl__watch_feed(bl__this_m()->p, bl__clock());
        while (load_relaxed(&w->until) == BL_NEVER);
        BL_CHECK_EQ(t, setuid(getuid()), 0);
    }
}

ONE_PROC(looks_are_put_off_after_a_signal)
{
    const bl__watch *w = &bl__rt.watch;
    (void)arg;
    sleeps_break_off(100);
    return BL_CHECK(t, load_relaxed(&w->timer) != 0 || BL__TSAN || BL__RACE) ? 0 : BL_EINVAL;
}

/* ---- Who blocks when all have been idle ---- */

static int fds[2];

static int writes_one(void *arg)
{
    (void)arg;
    BL_CHECK_EQ(t, write(fds[1], "x", 1), 1);
    return 0;
}

/* Of one processor: the other runs if that is taken from this one. */
static void blocks_once(void)
{
    char c = 0;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, writes_one, NULL), 0);
    BL_CHECK_EQ(t, read(fds[0], &c, 1), 1);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* In turn from a moment to what sysmon sleeps through. */
static const bl_time naps[] = {0,         100 * BL_US, BL_MS,      2 * BL_MS, 5 * BL_MS,
                               9 * BL_MS, 11 * BL_MS,  25 * BL_MS, BL_MS / 2, 3 * BL_MS};
enum { NAPS = sizeof naps / sizeof *naps, ROUNDS = 4 * NAPS };

ONE_PROC(blocks_after_a_sleep)
{
    (void)arg;
    BL_REQUIRE(t, pipe(fds) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        BL_CHECK_EQ(t, bl_sleep(naps[i % NAPS]), 0);
        blocks_once();
    }
    BL_CHECK_EQ(t, bl_sleep(1200 * BL_MS),
                0); /* sysmon's own sleep has become one without an end */
    blocks_once();
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* Who has blocked is expected to block again, also when all have been idle since. */
ONE_PROC(looks_soon_for_who_has_blocked)
{
    bl__watch *w = &bl__rt.watch;
    (void)arg;
    BL_REQUIRE(t, pipe(fds) == 0);
    store_relaxed(&w->after, BL__WATCH_AFTER);
    while (load_relaxed(&w->timer) != 0 && load_relaxed(&w->after) == BL__WATCH_AFTER) {
        blocks_once();
        BL_CHECK_EQ(t, bl_sleep(2 * BL_MS), 0);
    }
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* Short work many times, so that sysmon is brought forward and left to rest on. */
ONE_PROC(blocks_after_many_short_ones)
{
    (void)arg;
    BL_REQUIRE(t, pipe(fds) == 0);
    for (int i = 0; i < 200; i++) {
        BL_CHECK_EQ(t, bl_sleep(i % 3 * 300 * BL_US + 50 * BL_US), 0);
        if (i % 25 == 24)
            blocks_once();
    }
    close(fds[0]);
    close(fds[1]);
    return 0;
}

typedef struct {
    bl_chan *chan;
    int to; /* a pipe */
} outside;

static void *wakes(void *arg)
{
    outside *o = arg;
    for (int i = 0; i < ROUNDS; i++) {
        usleep((useconds_t)(naps[i % NAPS] / BL_US));
        if (i % 2 == 0)
            BL_CHECK_EQ(t, write(o->to, "x", 1), 1);
        else
            BL_CHECK_EQ(t, bl_chan_send(o->chan, &i), 0);
    }
    return NULL;
}

ONE_PROC(blocks_after_it_is_woken_from_outside)
{
    int from[2], v;
    char c;
    pthread_t thread;
    (void)arg;
    BL_REQUIRE(t, pipe(fds) == 0);
    BL_REQUIRE(t, pipe(from) == 0);
    BL_SCOPE(s);
    outside o = {bl_scope_chan(s, sizeof(int), 0), from[1]};
    BL_REQUIRE(t, pthread_create(&thread, NULL, wakes, &o) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 2 == 0)
            BL_CHECK_EQ(t, bl_read(from[0], &c, 1), 1);
        else
            BL_CHECK_EQ(t, bl_chan_recv(o.chan, &v), 0);
        blocks_once();
    }
    pthread_join(thread, NULL);
    bl_close(from[0]);
    close(from[1]);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* The descriptor of the kernel's timer, or -1. */
static int timer_find(void)
{
    int found = -1;
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char path[300], to[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        if (readlink(path, to, sizeof to - 1) > 0 && strcmp(to, "anon_inode:[timerfd]") == 0)
            found = atoi(e->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

/* As by a daemon that closes all it has not opened. */
ONE_PROC(blocks_after_the_timer_was_closed)
{
    (void)arg;
    BL_REQUIRE(t, pipe(fds) == 0);
    for (int i = 0; i < 5; i++) {
        BL_CHECK_EQ(t, bl_sleep(3 * BL_MS), 0);
        int fd = i == 2 ? timer_find() : -1;
        if (fd >= 0)
            close(fd);
        BL_CHECK_EQ(t, bl_sleep(12 * BL_MS), 0);
        blocks_once();
    }
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* Also by one that gave up its rights before, with a signal that breaks off sysmon's sleep: nobody
 * takes that for what closing it has made of the next one. */
ONE_PROC(the_timer_is_closed_after_a_signal)
{
    const bl__watch *w = &bl__rt.watch;
    (void)arg;
    sleeps_break_off(20);
    int fd = timer_find();
    if (fd >= 0)
        close(fd);
    while (load_relaxed(&w->timer) != 0)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    return 0;
}

/* While all are idle but for a moment now and then, sysmon is brought forward, and then left to
 * rest on. */
ONE_PROC(rests_while_all_rest)
{
    const bl__watch *w = &bl__rt.watch;
    bl_time calmed = load_relaxed(&w->calmed);
    bool brought = false;
    (void)arg;
    while (load_relaxed(&w->timer) != 0 && (!brought || load_relaxed(&w->calmed) == calmed)) {
        BL_CHECK_EQ(t, bl_sleep(2 * BL_MS), 0);
        bl_time until = load_relaxed(&w->until);
        brought = brought || (load_relaxed(&bl__rt.sysmon_deep) && bl__watch_brought() &&
                              until <= bl__clock() + BL__WATCH_AFTER);
    }
    return BL_CHECK(t, brought || BL__TSAN || BL__RACE) ? 0 : BL_EINVAL;
}
