/* SPDX-License-Identifier: MIT */
/* rank_test.c: the order of the runtime's own locks, which debug builds check (core/rank.h). */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdlib.h>

#include "arch/relax.h"
#include "core/proc.h"

#include "fatal.h"

static bl_test *const t; /* the test that the caller is of */

static uint32_t locks[4]; /* of nobody else */

/* In the order of the ranks, given back in another; twice, since nothing may be left noted. */
static int in_order(void *arg)
{
    (void)arg;
    for (int round = 0; round < 2; round++) {
        bl__lock(&locks[3], BL__RANK_TIMER);
        bl__lock(&locks[0], BL__RANK_CHAN);
        bl__lock(&locks[1], BL__RANK_CHAN);
        bl__lock(&locks[2], BL__RANK_SCHED);
        bl__unlock(&locks[1]);
        bl__unlock(&locks[3]);
        bl__unlock(&locks[0]);
        bl__unlock(&locks[2]);
    }
    return 0;
}

/* A lock that is free is got out of order by who waits for nobody; what is held counts later. */
static int tried(void *arg)
{
    (void)arg;
    bl__lock(&locks[0], BL__RANK_SCHED);
    BL_CHECK(t, bl__trylock(&locks[1], BL__RANK_TIMER));
    BL_CHECK(t, !bl__trylock(&locks[1], BL__RANK_TIMER));
    bl__unlock(&locks[0]);
    bl__lock(&locks[0], BL__RANK_CHAN);
    bl__unlock(&locks[0]);
    bl__unlock(&locks[1]);
    return 0;
}

static void *tried_there(void *arg) { return (void *)(intptr_t)tried(arg); }

BL_TEST(in_order_by_goroutine)
{
    in_order(NULL);
    tried(NULL);
}

BL_TEST_PLAIN(in_order_by_thread)
{
    in_order(NULL);
    bl__lock(&locks[3], BL__RANK_POOL); /* what one thread holds is nothing to another */
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, tried_there, NULL) == 0);
    pthread_join(thread, NULL);
    bl__unlock(&locks[3]);
}

#ifdef BL__DEBUG
static int take_lower(void *arg)
{
    (void)arg;
    bl__lock(&locks[0], BL__RANK_SCHED);
    bl__lock(&locks[1], BL__RANK_HEAP);
    return 0;
}

static int take_same(void *arg)
{
    (void)arg;
    bl__lock(&locks[0], BL__RANK_CTX);
    bl__lock(&locks[1], BL__RANK_CTX);
    return 0;
}

static int take_tried(void *arg)
{
    (void)arg;
    if (bl__trylock(&locks[0], BL__RANK_SCOPE))
        bl__lock(&locks[1], BL__RANK_AFTER);
    return 0;
}

static int take_channels(void *arg)
{
    (void)arg;
    bl__object_lock(&locks[1], BL__RANK_CHAN);
    bl__object_lock(&locks[0], BL__RANK_CHAN);
    return 0;
}

static int give_free(void *arg)
{
    (void)arg;
    bl__lock(&locks[0], BL__RANK_SCOPE);
    bl__unlock(&locks[1]);
    return 0;
}

static int yield_with(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, in_order, NULL);
    bl__lock(&locks[3], BL__RANK_TIMER);
    bl_yield(); /* to the other, or it was stolen; but then, too, there is a switch at the end */
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(broken)
{
    CHECK_FATAL(t, take_lower, "timer heap lock taken while a scheduler lock is held");
    CHECK_FATAL(t, take_same, "context lock taken while a context lock is held");
    CHECK_FATAL(t, take_tried, "after lock taken while a scope lock is held");
    CHECK_FATAL(t, take_channels, "channel lock taken while a channel lock is held");
    CHECK_FATAL(t, give_free, "is given back and not held");
    CHECK_FATAL(t, yield_with, "invariant broken: bl__rank_free()");
}
#endif

/* ---- Solo ------------------------------------------------------------------------------------ */

static bl_mutex shared;

/* Has it for a while, and lets others run. */
static int hold(void *arg)
{
    (void)arg;
    bl_mutex_lock(&shared);
    bl_yield();
    bl_mutex_unlock(&shared);
    return 0;
}

/* From here on, as if another thread had just begun to end it. */
static int ending(void)
{
    if (load_relaxed(&bl__solo_on) != BL__SOLO_ON)
        return BL_EIO;
    store_relaxed(&bl__solo_here()->mode, (uint16_t)BL__SOLO_ENDING);
    return 0;
}

static int queue_while_it_ends(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, hold, NULL);
    bl_yield();
    int r = ending();
    bl_mutex_lock(&shared);
    bl_mutex_unlock(&shared);
    return r < 0 ? r : bl_scope_wait(s);
}

static int hand_over_while_it_ends(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_mutex_lock(&shared);
    bl_go(s, hold, NULL);
    bl_yield();
    int r = ending();
    bl_mutex_unlock(&shared);
    return r < 0 ? r : bl_scope_wait(s);
}

/* A run that a hand-off, on a machine that has no time for us, or a thread of the run before took
 * out of it is made again. */
static int run_solo(bl_fn fn)
{
    const bl_options one = {.procs = 1};
    int r;
    while ((r = bl_run(fn, NULL, &one)) == BL_EIO)
        continue;
    return r;
}

/* Of several processors: until one alone has been busy for a while, and was on a CPU when it was
 * asked. For that a busy machine takes as long as it likes. */
static void solo_await(void)
{
    while (load_relaxed(&bl__solo_on) != BL__SOLO_ON) {
        bl_mutex_lock(&shared);
        bl_mutex_unlock(&shared);
    }
}

static uint32_t ran; /* atomic */

static int run_it(void *arg)
{
    store_relaxed(&ran, 1u);
    return arg != NULL;
}

/* Calls nothing until another thread has run a goroutine, or set it. */
static bool ran_beside(void)
{
    bl_time end = bl_in(10 * BL_SEC);
    for (uint32_t i = 1; !load_relaxed(&ran) && (i % 1000000 != 0 || bl_now() < end); i++)
        bl__cpu_relax();
    return load_relaxed(&ran);
}

static int another_is_wanted(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    if (!bl__rt.asymmetric) /* never solo */
        return 0;
    for (int i = 0; i < 3; i++) {
        solo_await();
        store_relaxed(&ran, 0u);
        bl_go(s, run_it, NULL);
        if (!ran_beside())
            return 1;
        int r = bl_scope_wait(s);
        if (r < 0)
            return r;
    }
    return 0;
}

BL_TEST_PLAIN(solo_until_another_processor_is_wanted)
{
    const bl_options two = {.procs = 2};
    BL_CHECK_EQ(t, bl_run(another_is_wanted, NULL, &two), 0);
}

enum { TIMES = 20000 };

static uint64_t count; /* lock: shared */

static void *count_outside(void *arg)
{
    for (int i = 0; i < TIMES; i++) {
        bl_mutex_lock(&shared);
        count++;
        bl_mutex_unlock(&shared);
    }
    store_relaxed(&ran, 1u);
    return arg;
}

static int outsider_comes(void *arg)
{
    (void)arg;
    pthread_t thread;
    if (!bl__rt.asymmetric)
        return 0;
    for (int i = 0; i < 3; i++) {
        solo_await();
        count = 0;
        store_relaxed(&ran, 0u);
        if (pthread_create(&thread, NULL, count_outside, NULL) != 0)
            return 1;
        uint64_t n = 0;
        for (; !load_relaxed(&ran); n++) {
            bl_mutex_lock(&shared);
            count++;
            bl_mutex_unlock(&shared);
        }
        pthread_join(thread, NULL);
        if (count != n + TIMES)
            return 2;
    }
    return 0;
}

BL_TEST_PLAIN(solo_until_a_thread_comes)
{
    const bl_options two = {.procs = 2};
    BL_CHECK_EQ(t, bl_run(outsider_comes, NULL, &two), 0);
}

/* On the last processor, which is beyond the number wanted soon. */
static int first_is_wanted(void *arg)
{
    BL_SCOPE(s);
    store_relaxed(&ran, 1u);
    if (!bl__rt.asymmetric)
        return 0;
    if (bl__this_m()->p->id == 0) {
        store_relaxed(&ran, 0u);
        bl_go(s, first_is_wanted, arg);
        return ran_beside() ? bl_scope_wait(s) : 1;
    }
    solo_await();
    bl_set_procs(1);
    store_relaxed(&ran, 0u);
    bl_go(s, run_it, NULL);
    return ran_beside() ? bl_scope_wait(s) : 2;
}

BL_TEST_PLAIN(solo_until_another_processor_alone_is_wanted)
{
    const bl_options two = {.procs = 2};
    BL_CHECK_EQ(t, bl_run(first_is_wanted, NULL, &two), 0);
}

static uint32_t watched, seen_solo; /* atomic */

static void *watch(void *arg)
{
    while (load_relaxed(&watched))
        if (load_relaxed(&bl__solo_on) == BL__SOLO_ON)
            store_relaxed(&seen_solo, 1u);
    return arg;
}

/* A thread that is there all the time, and may have any lock, sees no moment of it. */
static int watched_while_asked(void *arg)
{
    enum { ASKED = 4 };
    pthread_t thread;
    (void)arg;
    if (!bl__rt.asymmetric)
        return 0;
    store_relaxed(&watched, 1u);
    if (pthread_create(&thread, NULL, watch, NULL) != 0)
        return 1;
    /* Calls nothing until it is asked, for which a busy machine takes as long as it likes. */
    for (int asked = 0; asked < ASKED && !load_relaxed(&seen_solo); asked++) {
        while (!load_relaxed(&bl__rt.solo_asked) && !load_relaxed(&seen_solo))
            bl__cpu_relax();
        bl_mutex_lock(&shared);
        bl_mutex_unlock(&shared);
    }
    store_relaxed(&watched, 0u);
    pthread_join(thread, NULL);
    return load_relaxed(&seen_solo) ? 2 : 0;
}

BL_TEST_PLAIN(never_solo_beside_a_thread)
{
    const bl_options two = {.procs = 2};
    BL_CHECK_EQ(t, bl_run(watched_while_asked, NULL, &two), 0);
}

BL_TEST_PLAIN(mutex_while_solo_ends)
{
    BL_CHECK_EQ(t, setenv("BELAY_DEBUG", "lockorder=0", 1), 0); /* which goes another way */
    BL_CHECK_EQ(t, run_solo(queue_while_it_ends), 0);
    BL_CHECK_EQ(t, run_solo(hand_over_while_it_ends), 0);
}
