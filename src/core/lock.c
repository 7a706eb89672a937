/* SPDX-License-Identifier: MIT */
#include "core/lock.h"

#include <sched.h>

#include "arch/relax.h"
#include "os/futex.h"

enum { LOCK_SPINS = 100, LOCK_NAP = 1000000 /* ns */ };

void bl__lock_slow(uint32_t *lock)
{
    for (int i = 0; i < LOCK_SPINS; i++) {
        bl__cpu_relax();
        if (load_relaxed(lock) == 0 && bl__trylock(lock))
            return;
    }
    while (swap_acquire(lock, 2u) != 0) /* ORD(lock): with the store in bl__unlock */
        bl__futex_wait(lock, 2, LOCK_NAP);
}

void bl__unlock_slow(uint32_t *lock) { bl__futex_wake(lock, 1); }
