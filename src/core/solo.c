/* SPDX-License-Identifier: MIT */
#include "core/solo.h"

#include <sched.h>

#include "core/sched.h"

bl__solo_state bl__solo, bl__solo_none;

void bl__solo_broken(void)
{
    bl__fatal("belay: invariant broken: a solo section within another that does not count");
}

void bl__solo_end(void)
{
    uint32_t on = BL__SOLO_ON;
    if (cas_acq_rel(&bl__solo.on, &on, (uint32_t)BL__SOLO_ENDING)) { /* ORD(solo) */
        bl__heavy_barrier();
        while (load_acquire(&bl__solo.depth) != 0) /* ORD(solo): with the store in bl__solo_exit */
            sched_yield();
        store_release(&bl__solo.on, (uint32_t)BL__SOLO_OFF); /* ORD(solo): with leave_outsider */
    }
    while (load_acquire(&bl__solo.on) != BL__SOLO_OFF) /* ORD(solo) */
        sched_yield();
}
