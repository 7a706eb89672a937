/* SPDX-License-Identifier: MIT */
/*
 * hold_test.c: while the processors are held no goroutine runs, and afterwards all go on as if
 * nothing had been. Each test ends by itself, however slow the machine is.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "core/proc.h"

static bl_test *const t; /* the test that the caller is of */

enum { CREW = 12, ROUNDS = 60 };

/* Each of the crew counts in a word of its own. */
static atomic_uint counts[CREW];
static atomic_int over;

static uint64_t counted(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < CREW; i++)
        sum += atomic_load(&counts[i]);
    return sum;
}

/* Where one of them computes for long, or is kept from its CPU, it is tried again. */
static void hold(void)
{
    while (!bl__hold_begin())
        sched_yield();
}

static void go_crew(bl_scope *s, bl_fn fn)
{
    atomic_store(&over, 0);
    for (int i = 0; i < CREW; i++)
        BL_REQUIRE_EQ(t, bl_go(s, fn, &counts[i]), 0);
}

/* What a plain thread has come to: NULL, or what is wrong. */
static void as_it_should_be(const char *wrong)
{
    BL_CHECK_STR(t, wrong != NULL ? wrong : "as it should be", "as it should be");
}

/* Has a plain thread do that, which returns NULL, or what is wrong. */
static void beside(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    void *failed = NULL;
    BL_REQUIRE_EQ(t, pthread_create(&thread, NULL, fn, arg), 0);
    while (pthread_tryjoin_np(thread, &failed) != 0)
        BL_REQUIRE_EQ(t, bl_sleep(BL_MS), 0);
    atomic_store(&over, 1);
    as_it_should_be(failed);
}

/* Both: the crew ends when the thread has. */
static void crew_beside(bl_fn fn, void *(*thread)(void *), void *arg)
{
    BL_SCOPE(s);
    go_crew(s, fn);
    beside(thread, arg);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- Nobody runs ---- */

static int count_and_yield(void *arg)
{
    while (!atomic_load(&over)) {
        atomic_fetch_add((atomic_uint *)arg, 1);
        bl_yield();
    }
    return 0;
}

static int count_and_nap(void *arg)
{
    int r = 0;
    while (!atomic_load(&over) && r == 0) {
        atomic_fetch_add((atomic_uint *)arg, 1);
        r = bl_sleep(20 * BL_US);
    }
    return r;
}

static bl_chan *ring[CREW];

static int pass_on(void *arg)
{
    size_t at = (size_t)((atomic_uint *)arg - counts);
    int v, r;
    while ((r = bl_chan_recv(ring[at], &v)) == 0) {
        atomic_fetch_add((atomic_uint *)arg, 1);
        r = atomic_load(&over) ? BL_ECLOSED : bl_chan_send(ring[(at + 1) % CREW], &v);
        if (r != 0)
            break;
    }
    bl_chan_close(ring[(at + 1) % CREW]);
    return r == BL_ECLOSED ? 0 : r;
}

static void *hold_and_count(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        hold();
        uint64_t before = counted();
        usleep(300);
        uint64_t after = counted();
        bool all_the_time = bl__hold_end();
        if (all_the_time && before != after)
            return "they went on while they were held";
        while (counted() == after)
            usleep(20); /* or hangs: they do not go on */
    }
    return NULL;
}

BL_TEST(nobody_runs_who_yields) { crew_beside(count_and_yield, hold_and_count, NULL); }

BL_TEST(nobody_runs_whose_timer_is_due) { crew_beside(count_and_nap, hold_and_count, NULL); }

BL_TEST(nobody_runs_who_is_woken)
{
    BL_SCOPE(s);
    for (int i = 0; i < CREW; i++)
        ring[i] = bl_scope_chan(s, sizeof(int), 1);
    go_crew(s, pass_on);
    BL_CHECK_EQ(t, bl_chan_send(ring[0], &(int){1}), 0);
    beside(hold_and_count, NULL);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- Who is not switched off ---- */

static int nap_in_the_kernel(void *arg)
{
    while (!atomic_load(&over)) {
        usleep(500);
        atomic_fetch_add((atomic_uint *)arg, 1);
    }
    return 0;
}

static void *hold_sleepers(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        hold();
        bl__hold_end();
    }
    for (uint64_t before = counted(); counted() < before + CREW;)
        usleep(100);
    return NULL;
}

BL_TEST(calls_of_the_system_go_on) { crew_beside(nap_in_the_kernel, hold_sleepers, NULL); }

static int compute(void *arg)
{
    atomic_store((atomic_uint *)arg, 1);
    while (!atomic_load(&over))
        continue;
    return 0;
}

static void *hold_who_computes(void *arg)
{
    while (atomic_load((atomic_uint *)arg) == 0)
        sched_yield();
    if (bl__hold_begin())
        return "who computes for ever was held";
    return NULL;
}

BL_TEST(who_computes_for_long_is_not_held)
{
    BL_SCOPE(s);
    atomic_store(&over, 0);
    atomic_store(&counts[0], 0);
    BL_REQUIRE_EQ(t, bl_go(s, compute, &counts[0]), 0);
    beside(hold_who_computes, &counts[0]);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* How many compute, and have for long: nobody of them has picked since sysmon looked. */
static int long_at_it(void)
{
    int n = 0;
    for (uint32_t i = 0; i < load_acquire(&bl__rt.ps_made); i++) {
        const bl__p *p = bl__rt.ps[i];
        n += load_acquire(&p->m) != NULL && load_relaxed(&p->tick) == load_relaxed(&p->seen_tick) &&
             bl_now() - load_relaxed(&p->seen_since) > 20 * BL_MS;
    }
    return n;
}

static void *hold_beside_loops(void *arg)
{
    int loops = *(int *)arg;
    while (long_at_it() < loops)
        usleep(1000);
    if (bl__hold_begin())
        return "who computes for ever was held";
    return load_relaxed(&bl__rt.away) != 0 ? "a loop has lost its processor" : NULL;
}

BL_TEST(who_has_computed_for_long_keeps_his_processor)
{
    /* So many that one is idle whatever others do: then sysmon takes none away. */
    int loops = 2, procs = bl_set_procs(4 * loops);
    BL_SCOPE(s);
    atomic_store(&over, 0);
    for (int i = 0; i < loops; i++)
        BL_REQUIRE_EQ(t, bl_go(s, compute, &counts[i]), 0);
    beside(hold_beside_loops, &loops);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    (void)bl_set_procs(procs);
}

/* A lock of the runtime's, which somebody has. */
static uint32_t gate;

static int wait_at_gate(void *arg)
{
    (void)arg;
    bl__lock_slow(&gate);
    return 0;
}

static void *hold_who_waits_at_gate(void *arg)
{
    (void)arg;
    while (load_relaxed(&gate) != 2)
        sched_yield();
    bool held = bl__hold_begin();
    if (held)
        bl__hold_end();
    store_release(&gate, 0u);
    bl__unlock_slow(&gate);
    return held ? "who waits for a lock of the runtime's counts as held" : NULL;
}

BL_TEST(who_is_at_a_lock_goes_on_in_a_moment)
{
    BL_SCOPE(s);
    store_relaxed(&gate, 1u);
    BL_REQUIRE_EQ(t, bl_go(s, wait_at_gate, NULL), 0);
    beside(hold_who_waits_at_gate, NULL);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

static void *hold_for_long(void *arg)
{
    (void)arg;
    hold();
    for (uint64_t before = counted(); counted() == before;)
        usleep(1000); /* or hangs: as if the holder waited for something that they have */
    return bl__hold_end() ? "they went on while they were held" : NULL;
}

BL_TEST(who_holds_for_too_long_does_no_more) { crew_beside(count_and_nap, hold_for_long, NULL); }

/* ---- What happens meanwhile is not lost ---- */

static void *hold_and_send(void *arg)
{
    bl_chan *to = arg;
    for (int i = 0; i < ROUNDS; i++) {
        hold();
        bool sent = bl_chan_send(to, &i) == 0;
        bl__hold_end();
        if (!sent)
            return "a send failed";
        while (bl_chan_len(to) > 0)
            usleep(20); /* or hangs: nobody was woken */
    }
    bl_chan_close(to);
    return NULL;
}

static int recv_in_turn(void *arg)
{
    int v, next = 0;
    while (bl_chan_recv((bl_chan *)arg, &v) == 0)
        BL_CHECK_EQ(t, v, next++);
    BL_CHECK_EQ(t, next, ROUNDS);
    return 0;
}

BL_TEST(who_is_woken_meanwhile_goes_on)
{
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    BL_REQUIRE_EQ(t, bl_go(s, recv_in_turn, c), 0);
    beside(hold_and_send, c);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

static int sleep_once(void *arg)
{
    int r = bl_sleep(BL_MS);
    atomic_store((atomic_uint *)arg, 1);
    return r;
}

static void *hold_over_timers(void *arg)
{
    atomic_uint *slept = arg;
    hold();
    unsigned before = atomic_load(slept); /* it may have */
    usleep(5000);
    unsigned after = atomic_load(slept);
    bool all_the_time = bl__hold_end();
    while (atomic_load(slept) == 0)
        usleep(20); /* or hangs: nobody keeps the time */
    return all_the_time && before != after ? "it was woken while it was held" : NULL;
}

BL_TEST(who_is_due_meanwhile_goes_on)
{
    for (int i = 0; i < ROUNDS / 4; i++) {
        BL_SCOPE(s);
        pthread_t thread;
        void *wrong = NULL;
        atomic_uint slept = 0;
        BL_REQUIRE_EQ(t, bl_go(s, sleep_once, &slept), 0);
        BL_REQUIRE_EQ(t, pthread_create(&thread, NULL, hold_over_timers, &slept), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0); /* all others sleep */
        BL_REQUIRE_EQ(t, pthread_join(thread, &wrong), 0);
        as_it_should_be(wrong);
    }
}

/* Each of them goes on. */
static void wait_for_all(void)
{
    for (int i = 0; i < CREW; i++)
        for (unsigned before = atomic_load(&counts[i]); atomic_load(&counts[i]) == before;)
            usleep(20);
}

static void *hold_and_change(void *arg)
{
    int procs = *(int *)arg;
    for (int i = 0; i < ROUNDS / 4; i++) {
        hold();
        (void)bl_set_procs(1 + i % 4);
        bl__hold_end();
        wait_for_all(); /* or hangs: some wait at a processor that is no more */
    }
    (void)bl_set_procs(procs);
    return NULL;
}

BL_TEST(processors_come_and_go_meanwhile)
{
    int procs = bl_procs();
    BL_SCOPE(s);
    go_crew(s, count_and_yield);
    beside(hold_and_change, &procs);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- Several who hold ---- */

static atomic_int holders;

static int hold_by_itself(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        bool held = bl__hold_begin();
        if (held) {
            BL_CHECK_EQ(t, atomic_fetch_add(&holders, 1), 0);
            atomic_fetch_sub(&holders, 1);
            bl__hold_end();
        }
        bl__take_up(true);
        atomic_fetch_add((atomic_uint *)arg, 1);
        if (bl_sleep(10 * BL_US) != 0)
            return 1;
    }
    return 0;
}

BL_TEST(goroutines_hold_each_other)
{
    BL_SCOPE(s);
    go_crew(s, hold_by_itself);
    for (int i = 0; i < CREW; i++)
        BL_REQUIRE_EQ(t, bl_go(s, count_and_nap, &counts[i]), 0);
    beside(hold_and_count, NULL);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}
