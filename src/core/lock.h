/* SPDX-License-Identifier: MIT */
/*
 * lock.h: the runtime's own lock, one word, for sections of some dozens of instructions.
 *
 * 0 free, 1 held, 2 held and somebody may sleep on the word. Taking it is one compare-and-swap;
 * giving it back is a load and a plain store, since a locked instruction costs more than the whole
 * section it would protect. The price is one hole, closed by a bound: an unlocker that has read 1
 * and is preempted before its store can miss a waiter that writes 2 and falls asleep in between; so
 * waiters sleep for LOCK_NAP and look again, and then for longer and longer: a thousand would keep
 * the holder from its CPU.
 *
 * Never held across a switch of goroutines, except by a parking goroutine, whose successor gives it
 * back (sched.h). In debug builds ranks are checked: see core/rank.h.
 */
#ifndef BL__CORE_LOCK_H
#define BL__CORE_LOCK_H

#include "core/atomic.h"
#include "core/rank.h"

void bl__lock_slow(uint32_t *lock);
void bl__unlock_slow(uint32_t *lock);

static inline bool bl__lock_get(uint32_t *lock)
{
    uint32_t free = 0;
    return cas_acquire(lock, &free, 1); /* ORD(lock): with the store in bl__unlock */
}

static inline bool bl__trylock(uint32_t *lock, bl__rank rank)
{
    if (!bl__lock_get(lock))
        return false;
    bl__rank_note(lock, rank);
    return true;
}

static inline void bl__lock(uint32_t *lock, bl__rank rank)
{
    bl__rank_take(lock, rank);
    if (__builtin_expect(!bl__lock_get(lock), 0))
        bl__lock_slow(lock);
}

static inline void bl__unlock(uint32_t *lock)
{
    bl__rank_give(lock);
    uint32_t was = load_relaxed(lock);
    store_release(lock, 0u); /* ORD(lock): with the swap in bl__lock */
    if (__builtin_expect(was == 2, 0))
        bl__unlock_slow(lock);
}

/* Waits until who holds the lock has given it back. */
static inline void bl__lock_pass(uint32_t *lock, bl__rank rank)
{
    if (__builtin_expect(load_acquire(lock) == 0, 1)) /* ORD(lock) */
        return;
    bl__lock(lock, rank);
    bl__unlock(lock);
}

#endif
