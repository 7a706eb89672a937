/* SPDX-License-Identifier: MIT */
/*
 * timekeeper.c: what is due while no run is under way: the timers of plain threads, and the
 * deadlines of the contexts and scopes that they have made. In a run its threads look after those.
 *
 * A thread is started when the first is armed, and sleeps until the next is due. A run that begins
 * ends it, and waits for that, since it counts the process's threads to know who could still wake
 * somebody; what is left when a run ends has one started again. A fork waits until it fires nothing,
 * so that the child finds no lock taken by a thread that it does not have; there the next to be
 * armed starts another.
 *
 * Locks: work, then lock. Under lock nothing else is taken.
 */
#include <sched.h>

#include "core/proc.h"
#include "os/futex.h"
#include "os/os.h"

static struct {
    pthread_mutex_t work; /* while it fires */
    uint32_t forks;       /* atomic: how many wait for that, which come first */
    pthread_mutex_t lock;
    pthread_t thread; /* lock: if alive */
    bool alive;       /* lock */
    uint32_t off;     /* lock to write, atomic: a run is under way */
    uint32_t ends;    /* lock to write, atomic: the thread is to end */
    uint32_t told;    /* atomic: there is something to look at */
} timekeeper = {.work = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER};

static void tell(void)
{
    store_release(&timekeeper.told, 1u); /* ORD(told): with the swap */
    bl__futex_wake(&timekeeper.told, 1);
}

static void *timekeeper_main(void *arg)
{
    (void)arg;
    bl__thread_began("belay-time");
    for (;;) {
        (void)swap_acq_rel(&timekeeper.told, 0u); /* ORD(told): who has told has armed before */
        if (load_relaxed(&timekeeper.ends))
            return NULL;
        while (load_relaxed(&timekeeper.forks) != 0)
            sched_yield();
        pthread_mutex_lock(&timekeeper.work);
        bl__timers_run(&bl__rt.outside, bl__clock());
        pthread_mutex_unlock(&timekeeper.work);
        bl_time first = load_relaxed(&bl__rt.outside.first);
        int64_t left = first == BL_NEVER ? INT64_MAX : first - bl__clock();
        if (left > 0)
            bl__futex_wait(&timekeeper.told, 0, left);
    }
}

static void fork_holds_time(void)
{
    add_relaxed(&timekeeper.forks, 1u);
    pthread_mutex_lock(&timekeeper.work);
    add_relaxed(&timekeeper.forks, -1u);
    pthread_mutex_lock(&timekeeper.lock);
}

static void fork_goes_on(void)
{
    pthread_mutex_unlock(&timekeeper.lock);
    pthread_mutex_unlock(&timekeeper.work);
}

static void fork_child_keeps_no_time(void)
{
    timekeeper.alive = false;
    bl__threads_forked();
    fork_goes_on();
}

static void fork_watch(void)
{
    pthread_atfork(fork_holds_time, fork_goes_on, fork_child_keeps_no_time);
}

bool bl__in_run(void) { return load_acquire(&timekeeper.off) != 0; /* ORD(timekeeper): with end */ }

bool bl__timekeeper_tell(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (bl__in_run())
        return false;
    pthread_once(&once, fork_watch);
    pthread_mutex_lock(&timekeeper.lock);
    /* A run that begins has no use for it. If it cannot be started, who arms the next tries again. */
    if (!timekeeper.alive && !load_relaxed(&timekeeper.ends))
        timekeeper.alive = bl__thread_start(&timekeeper.thread, timekeeper_main, NULL, true) == 0;
    tell();
    pthread_mutex_unlock(&timekeeper.lock);
    return true;
}

void bl__timekeeper_begin(void)
{
    pthread_mutex_lock(&timekeeper.lock);
    store_relaxed(&timekeeper.off, 0u);
    pthread_mutex_unlock(&timekeeper.lock);
    bl__lock(&bl__rt.outside.lock, BL__RANK_HEAP); /* who arms next sees that it is on again */
    bl_time first = bl__rt.outside.first;
    bl__unlock(&bl__rt.outside.lock);
    if (first != BL_NEVER)
        (void)bl__timekeeper_tell();
}

void bl__timekeeper_end(void)
{
    pthread_mutex_lock(&timekeeper.lock);
    bool alive = timekeeper.alive;
    store_relaxed(&timekeeper.ends, 1u);
    tell();
    pthread_mutex_unlock(&timekeeper.lock);
    if (alive)
        pthread_join(timekeeper.thread, NULL);
    pthread_mutex_lock(&timekeeper.lock);
    timekeeper.alive = false;
    store_relaxed(&timekeeper.ends, 0u);
    store_release(&timekeeper.off, 1u); /* ORD(timekeeper): with the load in off */
    pthread_mutex_unlock(&timekeeper.lock);
}
