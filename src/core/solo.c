/* SPDX-License-Identifier: MIT */
#include "core/solo.h"

#include <sched.h>

#include "core/proc.h"

uint32_t bl__solo_on;

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
