/* SPDX-License-Identifier: MIT */
#include "core/solo.h"

#include <sched.h>

#include "core/proc.h"
#include "debug/stuck.h"
#include "os/os.h"

enum { AGAIN_LEAST = 10000000, AGAIN_MOST = 1000000000, AGAIN_LASTS = 100000000 };

uint32_t bl__solo_on;

/* sysmon's own; begun anew by each run. */
static struct {
    bl_time since;    /* from when on one processor alone was busy, with the same holder */
    bl_time asked_at; /* when the holder was last asked */
    bl_dur pause;     /* how long that must be so before it is asked */
    uint64_t adopted; /* as it was then */
} solo_again;

void bl__solo_broken(void)
{
    bl__fatal("belay: invariant broken: a solo section within another that does not count");
}

/* Under sched's lock, as who takes a processor: of the run, and of the thread that holds the
 * processor. */
static void mode_set(uint16_t mode)
{
    uint32_t made = load_relaxed(&bl__rt.ps_made);
    for (uint32_t i = 0; i < made; i++) {
        bl__m *m = load_acquire(&bl__rt.ps[i]->m); /* ORD(holder): with m_main */
        if (m != NULL)
            store_release(&m->solo.mode, mode); /* ORD(solo): with the load in enter */
    }
    store_release(&bl__solo_on, (uint32_t)mode); /* ORD(solo): with leave_outsider */
}

/* The holder is in a section. It may be another one by now than when the end began: none gives the
 * processor away in one. */
static bool section_goes_on(void)
{
    bool goes_on = false;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    uint32_t made = load_relaxed(&bl__rt.ps_made);
    for (uint32_t i = 0; i < made; i++) {
        const bl__m *m = load_acquire(&bl__rt.ps[i]->m); /* ORD(holder) */
        /* ORD(solo): with the store in bl__solo_exit */
        goes_on = goes_on || (m != NULL && load_acquire(&m->solo.depth) != 0);
    }
    bl__unlock(&bl__rt.lock);
    return goes_on;
}

void bl__solo_end(void)
{
    if (load_acquire(&bl__solo_on) == BL__SOLO_OFF) /* ORD(solo) */
        return;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool ends = load_relaxed(&bl__solo_on) == BL__SOLO_ON;
    if (ends)
        mode_set(BL__SOLO_ENDING);
    bl__unlock(&bl__rt.lock);
    if (ends) {
        bl__heavy_barrier();
        while (section_goes_on())
            sched_yield();
        bl__lock(&bl__rt.lock, BL__RANK_SCHED);
        mode_set(BL__SOLO_OFF);
        bl__unlock(&bl__rt.lock);
    }
    while (load_acquire(&bl__solo_on) != BL__SOLO_OFF) /* ORD(solo) */
        sched_yield();
}

/* ---- Again: see solo.h ---- */

/* Under sched's lock: of one processor's holder all other Ms sleep. */
static bool others_rest(void)
{
    return bl__rt.asymmetric && bl__rt.idle_all + 1 == bl__rt.ps_made &&
           bl__rt.idle_ms + 1 == bl__rt.threads && bl__rt.away == 0 &&
           load_relaxed(&bl__rt.spinning) == 0 && load_relaxed(&bl__rt.poll.waiters) == 0 &&
           !load_relaxed(&bl__rt.stopping) && !load_relaxed(&bl__rt.frozen) && !bl__finder_looks();
}

/* Those, sysmon, the finder, helpers that rest and the one that waits in bl_run are all there are. */
static bool threads_known(void)
{
    int ours = (int)bl__rt.threads + 2 + (BL__TSAN || BL__RACE ? 1 : 0) + bl__finder_threads() +
               (int)load_acquire(&bl__rt.helpers.resting); /* ORD(resting) */
    return bl__thread_count() == ours;
}

void bl__solo_begin(void)
{
    bl__solo *s = bl__solo_here();
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (bl__rt.solo_asked && bl__solo_holder() && load_relaxed(&bl__solo_on) == BL__SOLO_OFF &&
        others_rest()) {
        store_relaxed(&s->depth, (uintptr_t)0);
        mode_set(BL__SOLO_ENDING); /* not ON, which who is not known would take for true */
        bl__heavy_barrier();       /* ORD(dekker): with helpers, which rest no more, and ask */
        mode_set(threads_known() ? BL__SOLO_ON : BL__SOLO_OFF);
    }
    store_relaxed(&bl__rt.solo_asked, 0u);
    bl__unlock(&bl__rt.lock);
}

bool bl__solo_alone(void)
{
    return load_relaxed(&bl__solo_on) != BL__SOLO_OFF && bl__rt.idle_all != bl__rt.ps_made;
}

/* Under sched's lock: has the holder asked, if one processor alone is busy for long enough. */
static bool holder_ask(bl_time now)
{
    if (solo_again.adopted != bl__rt.adopted || !others_rest()) {
        solo_again.adopted = bl__rt.adopted;
        solo_again.since = now;
        return false;
    }
    if (now - solo_again.since < solo_again.pause)
        return false;
    solo_again.asked_at = solo_again.since = now;
    solo_again.pause = solo_again.pause * 2 < AGAIN_MOST ? solo_again.pause * 2 : AGAIN_MOST;
    for (uint32_t i = 0; i < bl__rt.ps_made; i++) {
        bl__m *m = load_acquire(&bl__rt.ps[i]->m); /* ORD(holder) */
        if (m != NULL)
            store_relaxed(&m->solo.yield, (uint16_t)1);
    }
    store_relaxed(&bl__rt.solo_asked, 1u);
    return true;
}

void bl__solo_give_up(void)
{
    if (!load_relaxed(&bl__rt.solo_unwanted))
        return;
    store_relaxed(&bl__rt.solo_unwanted, 0u); /* first: who comes later tells anew */
    bl__solo_end();
    bl__wake_one();
}

bool bl__solo_watch(bl_time now)
{
    if (load_relaxed(&bl__rt.procs) == 1)
        return false;
    if (load_relaxed(&bl__solo_on) != BL__SOLO_OFF) {
        if (now - solo_again.asked_at >= AGAIN_LASTS)
            solo_again.pause = AGAIN_LEAST;
        return false;
    }
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool asked = holder_ask(now);
    bl__unlock(&bl__rt.lock);
    return asked;
}

void bl__solo_unask(void)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    store_relaxed(&bl__rt.solo_asked, 0u);
    bl__unlock(&bl__rt.lock);
}

void bl__solo_run_begin(void)
{
    solo_again.pause = AGAIN_LEAST;
    solo_again.asked_at = 0;
    store_relaxed(&bl__rt.solo_unwanted, 0u);
    store_relaxed(&bl__rt.solo_asked, 0u);
}

void bl__solo_settle(void)
{
    bl__solo_exit();
    uint32_t mode = load_relaxed(&bl__solo_here()->mode);
    if (mode != BL__SOLO_ON && mode != BL__SOLO_OFF)
        bl__solo_end();
}

void bl__solo_refused(void)
{
    bl__solo_settle();
    bl__asked_yield();
}
