/* SPDX-License-Identifier: MIT */
#include "core/lock.h"

#include "arch/race.h"
#include "arch/relax.h"
#include "core/proc.h"
#include "os/futex.h"

/* Under the race detector what is done with a lock held takes ten times as long, and the lines that
 * change hands are also those of its clocks, eight for each slot of a buffer. */
enum { LOCK_FIRST = BL__RACE ? 512 : 16, LOCK_LOOKS = BL__RACE ? 4 : 6 };
enum { LOCK_PAUSES = BL__RACE ? 4096 : 256 };
enum { LOCK_NAP = 1000000, LOCK_NAP_MOST = 64 * LOCK_NAP }; /* ns */

/*
 * Looks less and less often, after 16, 32 … 256 pauses: a look takes the cache line away from the
 * holder, which then pays for it again at its next operation. Two threads that use one channel thus
 * take turns of some hundred operations instead of one each.
 */
void bl__lock_slow(uint32_t *lock)
{
    for (int look = 0, pauses = LOCK_FIRST; look < LOCK_LOOKS; look++) {
        for (int i = 0; i < pauses; i++)
            bl__cpu_relax();
        if (load_relaxed(lock) == 0 && bl__lock_get(lock))
            return;
        if (pauses < LOCK_PAUSES)
            pauses *= 2;
    }
    bl__fork_check();
    bl__m *m = bl__this_m_known();
    if (m != NULL)
        store_relaxed(&m->at_lock, 1u);
    int64_t nap = LOCK_NAP;
    while (swap_acquire(lock, 2u) != 0) { /* ORD(lock): with the store in bl__unlock */
        bl__futex_wait(lock, 2, nap);
        nap = nap < LOCK_NAP_MOST ? 2 * nap : nap;
    }
    if (m != NULL)
        store_relaxed(&m->at_lock, 0u);
}

void bl__unlock_slow(uint32_t *lock) { bl__futex_wake(lock, 1); }
