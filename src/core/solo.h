/* SPDX-License-Identifier: MIT */
/*
 * solo.h: locks of channels while there is one processor and nobody else.
 *
 * A locked instruction costs about twenty cycles, and with one processor there is nobody to lock out
 * but plain threads, which may never come. So while a run is solo, the holder of the processor takes
 * an object's lock by noting that it does (depth) and looking whether it is still solo (on), both plain:
 * Dekker's handshake, of which the other side pays for the fences. Whoever is not the holder ends solo
 * first, for the rest of the run: it says so (on), has every running thread execute a barrier, and
 * waits until the holder is in no section. From then on all take the locks in the ordinary way.
 *
 * A run starts solo only if its caller is the only thread of the process: one that is there already
 * may be inside of a lock, or wait on a channel with a deadline, which it claims without asking.
 *
 * The sections are those of bl__lock, dozens of instructions. The holder waits for nothing in them that
 * an outsider could hold while it ends solo: who ends it holds no lock of the scheduler.
 */
#ifndef BL__CORE_SOLO_H
#define BL__CORE_SOLO_H

#include <stddef.h>

#include "arch/tls.h"
#include "core/lock.h"

enum { BL__SOLO_OFF, BL__SOLO_ON, BL__SOLO_ENDING };

typedef struct bl__solo_state {
    uint32_t on __attribute__((aligned(8))); /* atomic: BL__SOLO_… */
    uint32_t asked; /* atomic: BL__ASKED_…, which a mutex looks for with the same load */
    uint32_t depth; /* atomic; written by the holder of the processor: sections it is in */
} bl__solo_state;

extern bl__solo_state bl__solo;

/* Whoever does not hold the processor notes it here, and finds that it is not solo. */
extern bl__solo_state bl__solo_none;

/* on, with what is asked in the upper half. */
static inline uint64_t bl__solo_mode(void)
{
    return load_acquire((const uint64_t *)(const void *)&bl__solo); /* ORD(solo) */
}

/* Ends solo, and returns when it has ended. Not inside a section. */
void bl__solo_end(void);

/* Thread m holds the processor. A bl__m begins with its goroutine, its processor, and where it notes
 * its sections: bl__solo while it has the processor, else bl__solo_none. */
static inline bool bl__solo_holds(void **m) { return m != NULL && load_relaxed(&m[1]) != NULL; }

static inline bl__solo_state *bl__solo_of(void **m) { return load_relaxed(&m[2]); }

/* The calling thread does. */
static inline bool bl__solo_holder(void) { return bl__solo_holds(bl__tls_get()); }

/* Before something that only the holder may do while the run is solo. */
static inline void bl__solo_leave_outsider(void)
{
    if (load_acquire(&bl__solo.on) != BL__SOLO_OFF && !bl__solo_holder()) /* ORD(solo) */
        bl__solo_end();
}

/* By thread m, in no section yet. True: it is in one, until bl__solo_exit. False: it is not solo any more, or m is
 * not the holder. What is stored are constants: sections that follow each other do not wait for one another. */
static inline __attribute__((always_inline)) bool bl__solo_enter_quick(void *m)
{
    bl__solo_state *solo = bl__solo_of(m);
    store_relaxed(&solo->depth, 1u);
    fence_compiler(); /* the barrier of bl__solo_end makes it one of the processor */
    if (__builtin_expect(load_relaxed(&solo->on) == BL__SOLO_ON, 1))
        return true;
    store_release(&solo->depth, 0u); /* ORD(solo): with the load in bl__solo_end */
    return false;
}

static inline void bl__solo_exit(void)
{
    store_release(&bl__solo.depth, 0u); /* ORD(solo): with the load in bl__solo_end */
}

/* Not from within a section. True: the caller is in one now, until bl__solo_exit. False: it has to lock. */
static inline bool bl__solo_enter(void)
{
    /* ORD(solo): who finds that it has ended, and then the lock free, finds what was done in sections,
     * which did not write the lock */
    if (load_acquire(&bl__solo.on) == BL__SOLO_OFF)
        return false;
    void *m = bl__tls_get();
    if (__builtin_expect(m != NULL, 1) && bl__solo_enter_quick(m))
        return true;
    if (!bl__solo_holder())
        bl__solo_end();
    return false;
}

/* The same for sections within each other, which are counted; in a section it goes on, since solo does. */
static inline bool bl__solo_enter_again(void)
{
    if (load_acquire(&bl__solo.on) == BL__SOLO_OFF) /* ORD(solo): as in bl__solo_enter */
        return false;
    uint32_t depth = load_relaxed(&bl__solo.depth); /* of the holder: the only one, before OFF */
    if (depth == 0 || !bl__solo_holder())
        return bl__solo_enter();
    store_relaxed(&bl__solo.depth, depth + 1);
    return true;
}

static inline void bl__solo_exit_again(void)
{
    /* ORD(solo): with the load in bl__solo_end */
    store_release(&bl__solo.depth, load_relaxed(&bl__solo.depth) - 1);
}

static inline bool bl__solo_inside(void) { return load_relaxed(&bl__solo.depth) != 0; }

/* By who has the lock of a channel: it is a solo section, and the caller the only one who can end
 * the waits there. (Not depth: the holder may count itself in for a moment after the end.) */
static inline bool bl__solo_section(void) { return load_relaxed(&bl__solo.on) == BL__SOLO_ON; }

/* The invariant of bl__solo_enter, in debug builds: what follows is within a section. */
#ifdef BL__DEBUG
static inline bool bl__solo_nested(void)
{
    return load_relaxed(&bl__solo.on) != BL__SOLO_OFF && bl__solo_holder() && bl__solo_inside();
}
#else
static inline bool bl__solo_nested(void) { return false; }
#endif
void bl__solo_broken(void);

/* The lock of an object, and the only one that the caller has. One that was entered solo stays 0, which is how
 * unlock knows. */
static inline void bl__object_lock(uint32_t *lock, bl__rank rank)
{
    bool nested = bl__solo_nested();
    if (bl__solo_enter())
        bl__rank_take(lock, rank);
    else
        bl__lock(lock, rank);
    if (nested)
        bl__solo_broken();
}

static inline void bl__object_unlock(uint32_t *lock)
{
    if (load_relaxed(lock) != 0) {
        bl__unlock(lock);
        return;
    }
    bl__rank_give(lock);
    bl__solo_exit();
}

#endif
