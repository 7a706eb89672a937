/* SPDX-License-Identifier: MIT */
/*
 * sysmon.c: the thread that watches the others, and needs no processor.
 *
 *   - keeps the coarse clock, with which parked goroutines are stamped;
 *   - looks for processors whose goroutine blocks or takes long, with work waiting: it wakes a
 *     thread for the work, or takes the processor away (handoff.c);
 *   - delivers signals to whom asked for them (life/notify.c);
 *   - looks for memory where goroutines wait for a stack;
 *   - has the finder look for goroutines that are stuck (debug/finder.c);
 *   - when nothing has run for a while, finds out whether anything ever can: the global deadlock.
 *
 * It looks every 1.5 ms while anything runs, or as much later as that is put off (watch.c); after
 * 0.5 where the next look is to decide, and every 50 us where work waits or there was a hand-off
 * within the last second, 20 us after one. While all processors are idle it sleeps until 1.5 ms
 * after one is not; when they have been for a second, until somebody wakes it.
 */
#include "arch/sanitize.h"
#include "core/trace.h"
#include "debug/fatal.h"
#include "debug/kernel.h"
#include "debug/stuck.h"
#include "life/notify.h"
#include "os/futex.h"
#include "os/os.h"

enum {
    SHORTEST = 20000,
    SHORT = 50000,
    SOON = 500000,
    USUAL = BL__WATCH_AFTER,
    LONGEST = 10000000
};

enum { CHORES = 3000000 }; /* what can wait so long is not done at each look, with cold caches */

#define EAGER_FOR BL_SEC /* after a hand-off: who blocks once blocks again */

#define RECHECK_MOST (10 * BL_SEC)

/* Threads that are neither ours nor known to wait for goroutines without an end could still wake
 * somebody. Ours: the Ms, sysmon, the finder, the one that waits in bl_run, and helpers that rest;
 * and ThreadSanitizer has one. */
static bool others_could_wake(uint32_t threads)
{
    /* ORD(resting): the changes before it are seen by who then looks at plain_changes */
    int ours = (int)threads + 2 + (BL__TSAN || BL__RACE ? 1 : 0) + bl__finder_threads() +
               (int)load_acquire(&bl__rt.helpers.resting);
    int waiting = (int)load_relaxed(&bl__rt.plain_blocked);
    int all = bl__ring_thread_count();
    return all < 0 || all > ours + waiting;
}

/* Under sched's lock, with which processors come and go: nothing runs, nothing is going to. */
static bool nothing_runs(void)
{
    return bl__rt.idle_all == bl__rt.ps_made && bl__rt.away == 0 && bl__rt.queued == 0 &&
           load_relaxed(&bl__rt.spinning) == 0 && bl__timers_first() == BL_NEVER &&
           load_relaxed(&bl__rt.poll.waiters) == 0 && /* whom the world can wake */
           load_relaxed(&bl__rt.file_waiters) == 0;
}

/* Goroutines wait for a stack. */
static bool is_starved(void) { return load_relaxed(&bl__rt.no_stack_waiting) != 0; }

/* True: looked into, and somebody outside could still wake a goroutine; look again later. */
static bool deadlock_check(void)
{
    bool starved = is_starved();
    if (bl__signals_armed() && !starved)
        return false; /* a signal could still come, for a channel or for the root scope */
    uint32_t changes = load_relaxed(&bl__rt.plain_changes);
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool quiet = nothing_runs() && !load_relaxed(&bl__rt.stopping);
    uint32_t threads = bl__rt.threads; /* under the lock they are all there that it counts */
    uint64_t adopted = bl__rt.adopted;
    bl__unlock(&bl__rt.lock);
    if (!quiet || bl__goroutines() == 0)
        return false;
    if (others_could_wake(threads))
        return true;
    /* A thread may have come, done something and gone meanwhile; or a goroutine and a plain thread
     * wake each other, and each look met the one that waits; or a goroutine has started a thread. */
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    quiet = nothing_runs() && !load_relaxed(&bl__rt.stopping) && bl__rt.adopted == adopted &&
            load_relaxed(&bl__rt.plain_changes) == changes;
    bl__unlock(&bl__rt.lock);
    if (!quiet) /* a helper may have gone to rest, which wakes nobody: so look again */
        return true;
    if (bl__signals_armed() && !is_starved()) /* asked again: by what ran between the looks */
        return false;
    if (!is_starved()) /* asked again: a goroutine may have begun to wait for a stack between the looks */
        bl__fatal_deadlock();
    if (bl__stack_retry() || !is_starved())
        return true;
    bl__fatal("belay: out of memory: %u goroutines found no memory for a stack, and all others are "
              "asleep",
              load_relaxed(&bl__rt.no_stack_waiting));
}

/* Memory that others have given back makes no noise: goroutines that wait for a stack try again. */
static void starved_look(bl_time *tried)
{
    bl_time now = load_relaxed(&bl__rt.coarse);
    if (is_starved() && now - *tried >= LONGEST) {
        *tried = now;
        (void)bl__stack_retry();
    }
}

/* Has the finder look, if it is time; how long until it will be. */
static int64_t finder_turn(void)
{
    int64_t due = bl__finder_due(bl__clock());
    bl__kernel_refused_say();
    if (due > 0)
        return due;
    bl__finder_look();
    return INT64_MAX; /* it says when it has looked */
}

/* Once: somebody who sees the program hang is told why nothing else is said of it. */
static void unseen_say(int64_t recheck)
{
    static bool said; /* sysmon's own */
    if (said || recheck < BL_SEC || bl__thread_count() >= 0)
        return;
    said = true;
    bl__warn("all goroutines are asleep; whether that is a deadlock cannot be told: without /proc, "
             "other threads, which could wake one, are not seen");
}

/* All processors have been idle for a while: finds out whether that is for ever, and how long there
 * is nothing to see to if they stay so. */
static int64_t deep_look(int64_t recheck)
{
    bool again = deadlock_check();
    if (again)
        unseen_say(recheck);
    int64_t pause = is_starved() ? LONGEST : again ? recheck : INT64_MAX;
    if (load_relaxed(&bl__rt.poll.unchecked) && pause > BL__FD_CHECK_EVERY)
        pause = BL__FD_CHECK_EVERY;
    int64_t due = finder_turn();
    if (load_relaxed(&bl__rt.hold) && pause > LONGEST)
        pause = LONGEST;
    bl__trace_tick(BL_NEVER);
    return due < pause ? due : pause;
}

/* Why sysmon has ceased to sleep: its time is up, something has run, or it was told to look. */
typedef enum { WOKEN_BY_TIME, WOKEN_BY_WORK, WOKEN_TO_LOOK } sysmon_woken;

/* While all processors are idle. */
typedef struct {
    bl_time since;   /* 0: they are not */
    int64_t recheck; /* when to look again whether somebody outside could still wake one */
    bool deep;       /* nothing has run for a whole sleep: the next one goes by no timer */
} sysmon_rests;

/* All processors are idle, and have been for `quiet`. What it is told while it looks has to count: so
 * notices are taken back before the looks, not after. */
static sysmon_woken idle_sleep(const sysmon_rests *r, int64_t quiet, int64_t after)
{
    store_relaxed(&bl__rt.sysmon_deep, 1u);
    /* ORD(sysmon): what a notice that is swallowed here was about is seen below */
    (void)swap_acquire(&bl__rt.sysmon_wake, 0u);
    fence_seq_cst(); /* ORD(deep): deep is stored before idle_all is loaded; idle.c */
    int64_t pause = quiet < LONGEST ? LONGEST - quiet : deep_look(r->recheck);
    sysmon_woken by = WOKEN_BY_WORK;
    if (bl__all_idle() && !load_relaxed(&bl__rt.stopping) && !bl__signals_pending() &&
        !bl__signals_lent()) {
        bool dozed = !r->deep && bl__watch_doze(pause, after);
        if (!dozed)
            bl__futex_wait(&bl__rt.sysmon_wake, 0, pause);
        by = dozed && bl__watch_brought() ? WOKEN_BY_WORK : WOKEN_BY_TIME;
    }
    store_relaxed(&bl__rt.sysmon_deep, 0u);
    return swap_acquire(&bl__rt.sysmon_wake, 0u) != 0 ? WOKEN_TO_LOOK : by; /* ORD(sysmon) */
}

/* The sleeper that kept the time may have been given something to run, while all others sleep for
 * as long as it takes: what an idle processor's timers are late with, some other thread sees to. */
static void timers_watch(bl_time now)
{
    if (load_relaxed(&bl__rt.idle_ps) != 0 && bl__timers_first() <= now)
        bl__wake_one();
}

static void pause_for(int64_t pause)
{
    if (pause != USUAL || !bl__watch_sleep())
        bl__futex_wait(&bl__rt.sysmon_wake, 0, pause);
    (void)swap_acquire(&bl__rt.sysmon_wake, 0u); /* ORD(sysmon): before the looks */
}

static void idle_turn(sysmon_rests *r, bl_time now, bool eager)
{
    r->since = r->since != 0 ? r->since : now;
    bool quiet = now - r->since >= LONGEST;
    if (!quiet && load_relaxed(&bl__rt.watch.timer) == 0) {
        pause_for(USUAL);
        return;
    }
    if (quiet)
        bl__handoff_calm();
    sysmon_woken by = idle_sleep(r, now - r->since, eager ? SHORT : USUAL);
    r->deep = quiet && by == WOKEN_BY_TIME;
    if (by == WOKEN_TO_LOOK)
        r->since = 0;
    if (by == WOKEN_BY_WORK)
        r->recheck = LONGEST;
    else if (quiet)
        r->recheck = r->recheck < RECHECK_MOST ? r->recheck * 4 : r->recheck;
}

static void *sysmon_main(void *arg)
{
    sysmon_rests rests = {.recheck = LONGEST};
    bl_time eager_until = 0, tried = 0, chores_at = 0;
    (void)arg;
    bl__thread_began("belay-sysmon");
    store_relaxed(&bl__rt.sysmon_top, __builtin_frame_address(0));
    bl__thread_punctual();
    while (!load_acquire(&bl__rt.stopping)) { /* ORD(stop) */
        bl_time now = bl__clock();
        store_relaxed(&bl__rt.coarse, now);
        if (bl__signals_lent())
            bl__signals_borrow();
        if (bl__signals_pending())
            bl__signals_deliver();
        bl__solo_give_up();
        bl__hold_watch(now);
        bool idle = bl__all_idle();
        if (idle || now >= chores_at) {
            chores_at = now + CHORES;
            starved_look(&tried);
            bl__poll_watch(now);
            bl__trace_tick(now);
            bl__m_reap();
            if (!idle)
                (void)finder_turn();
        }
        if (!idle) {
            rests.recheck = LONGEST;
            rests.since = 0;
            timers_watch(now);
            bl__look found = bl__handoff_look(now < eager_until);
            bool asked = bl__solo_watch(now);
            if (found == BL__LOOK_TAKEN)
                eager_until = now + EAGER_FOR;
            pause_for(found == BL__LOOK_TAKEN                       ? SHORTEST
                      : found == BL__LOOK_WORK || now < eager_until ? SHORT
                      : found == BL__LOOK_SOON                      ? SOON
                                                                    : USUAL);
            if (asked)
                bl__solo_unask();
            continue;
        }
        idle_turn(&rests, now, now < eager_until);
    }
    bl__handoff_calm();
    store_relaxed(&bl__rt.sysmon_top, NULL); /* before another has the stack */
    return NULL;
}

void bl__sysmon_notify(void)
{
    store_release(&bl__rt.sysmon_wake, 1u); /* ORD(sysmon): the futex compares it */
    bl__futex_wake(&bl__rt.sysmon_wake, 1);
    bl__watch_break();
}

int bl__sysmon_start(void)
{
    /* Before there is a second thread: for the high numbers of the finder's files the kernel makes
     * the table of descriptors longer, and then waits for all CPUs if others use it, which takes 10
     * ms. */
    bl__finder_start();
    bl__watch_open();
    int err = bl__thread_start(&bl__rt.sysmon, sysmon_main, NULL, true);
    if (err < 0)
        bl__finder_stop();
    return err;
}

void bl__sysmon_stop(void)
{
    bl__sysmon_notify();
    pthread_join(bl__rt.sysmon, NULL);
    bl__finder_stop();
}

#if BL__TSAN || BL__RACE
/* ThreadSanitizer starts a thread of its own with the first that a process makes, and one after a
 * fork: so two, where that first one is made in the child. Here it is made, or would be with less
 * of a stack, before there is a child. */
static __attribute__((constructor)) void tsan_thread_start(void)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, SIZE_MAX / 2);
    (void)pthread_create(&thread, &attr, sysmon_main, NULL);
    pthread_attr_destroy(&attr);
}
#endif
