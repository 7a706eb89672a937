/* SPDX-License-Identifier: MIT */
/*
 * watch_stress.c: processors become idle and busy all the time, so that sysmon's sleep is brought
 * forward by some and left to rest on by others (core/watch.c).
 *
 * Invariants, while nobody is about to change what they are about: if a goroutine runs, and sysmon
 * counts on all processors to be idle, it is to wake in BL__WATCH_AFTER; and the kernel's timer
 * rings then, or before. A library for debugging says who changes it.
 */
//belay:cflags -D_GNU_SOURCE -I../../src -fno-strict-aliasing
#include <belay/test.h>

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/proc.h"
#include "os/os.h"

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum { MANY = 12 };
static bool is_watched(const bl__watch *w)
{
    bl_time until = load_relaxed(&w->until);
    return !load_relaxed(&bl__rt.sysmon_deep) || until == BL_NEVER ||
           until <= bl__clock() + BL__WATCH_AFTER;
}

static bool timer_is_right(const bl__watch *w)
{
    struct itimerspec left;
    bl_time until = load_relaxed(&w->until), now = bl__clock();
    if (until == BL_NEVER || timerfd_gettime(load_relaxed(&w->timer) - 1, &left) < 0)
        return true; /* it is not used */
    bl_time rings = now + left.it_value.tv_sec * BL_SEC + left.it_value.tv_nsec;
    return rings <= until || until <= bl__clock();
}

#ifdef BL__DEBUG
static void check_watch(void)
{
    bl__watch *w = &bl__rt.watch;
    uint32_t begun, ended;
    bool watched, right;
    do {
        ended = load_acquire(&w->ended);
        begun = load_acquire(&w->begun);
        watched = is_watched(w);
        right = timer_is_right(w);
        fence_seq_cst();
    } while (begun != ended || begun != load_acquire(&w->begun));
    BL_CHECK(t, watched);
    BL_CHECK(t, right);
}
#else
static void check_watch(void)
{
    (void)(is_watched(&bl__rt.watch) && timer_is_right(&bl__rt.watch));
}
#endif

static int comes_and_goes(void *arg)
{
    uint64_t rnd = random_seed(*(uint64_t *)arg + bl_id());
    bl_time end = bl_in((bl_dur)stress_seconds() * BL_SEC);
    do {
        BL_CHECK_EQ(t, bl_sleep((bl_dur)random_below(&rnd, 4000) * BL_US), 0);
        check_watch();
    } while (bl_now() < end);
    return 0;
}

BL_TEST(sysmon_is_brought_forward)
{
    uint64_t seed = (uint64_t)bl_now();
    BL_SCOPE(s);
    for (int i = 0; i < MANY; i++)
        BL_CHECK_EQ(t, bl_go_copy(s, comes_and_goes, &seed, sizeof seed), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}
