/* SPDX-License-Identifier: MIT */
/*
 * timekeeper.c: what is due while no run is under way: the timers of plain threads, and the
 * deadlines of the contexts and scopes that they have made. In a run its threads look after those.
 *
 * A thread is started when the first is armed, and sleeps until the next is due. It ends when a run
 * begins, which counts the process's threads to know who could still wake somebody; what is left
 * when a run ends has one started again. In the child of a fork it does not exist, so it is known
 * by the process that it is of.
 */
#include <unistd.h>

#include "core/proc.h"
#include "os/futex.h"
#include "os/os.h"

static struct {
    uint32_t pid;  /* atomic: the process whose timekeeper lives; 0: none */
    uint32_t told; /* atomic: there is something to look at */
} timekeeper;

static void tell(void)
{
    store_release(&timekeeper.told, 1u); /* ORD(told): with the swap */
    bl__futex_wake(&timekeeper.told, 1);
}

static void *timekeeper_main(void *arg)
{
    (void)arg;
    for (;;) {
        (void)swap_acq_rel(&timekeeper.told, 0u); /* ORD(told): who has told has armed before */
        if (load_relaxed(&bl__rt.running))
            break;
        bl__timers_run(&bl__rt.outside, bl__clock());
        bl_time first = load_relaxed(&bl__rt.outside.first);
        int64_t left = first == BL_NEVER ? INT64_MAX : first - bl__clock();
        if (left > 0)
            bl__futex_wait(&timekeeper.told, 0, left);
    }
    store_release(&timekeeper.pid, 0u); /* ORD(timekeeper) */
    bl__futex_wake(&timekeeper.pid, 1);
    return NULL;
}

void bl__timekeeper_tell(void)
{
    uint32_t own = (uint32_t)getpid(), was = load_relaxed(&timekeeper.pid);
    pthread_t thread;
    tell();
    if (was == own || !cas_acq_rel(&timekeeper.pid, &was, own)) /* ORD(timekeeper) */
        return;
    if (bl__thread_start(&thread, timekeeper_main, NULL, true) == 0)
        pthread_detach(thread);
    else
        store_relaxed(&timekeeper.pid, 0u); /* who arms the next tries again */
}

void bl__timekeeper_begin(void)
{
    bl__lock(&bl__rt.outside.lock, BL__RANK_HEAP); /* who arms next sees that no run is under way */
    bl_time first = bl__rt.outside.first;
    bl__unlock(&bl__rt.outside.lock);
    if (first != BL_NEVER)
        bl__timekeeper_tell();
}

void bl__timekeeper_end(void)
{
    uint32_t own = (uint32_t)getpid();
    tell();
    while (load_acquire(&timekeeper.pid) == own) /* ORD(timekeeper) */
        bl__futex_wait(&timekeeper.pid, own, INT64_MAX);
}
