/* SPDX-License-Identifier: MIT */
/*
 * solo.h: locks of channels while one processor is busy and there is nobody else.
 *
 * A locked instruction costs about twenty cycles, and with one processor there is nobody to lock
 * out but plain threads, which may never come. So while a run is solo, the thread that holds the
 * processor takes an object's lock by noting that it does (depth) and looking whether it is still
 * solo (mode), both plain: Dekker's handshake, of which the other side pays for the fences. Whoever
 * is not the holder ends solo first: it says so (mode), has every running thread execute a barrier,
 * and waits until the holder is in no section. From then on all take the locks in the ordinary way.
 *
 * A run starts solo only if its caller is the only thread of the process: one that is there already
 * may be inside of a lock, or wait on a channel with a deadline, which it claims without asking.
 *
 * Again. A run of several processors becomes solo when one alone has been busy for 10 ms. Its holder
 * does that itself (bl__solo_begin) where it is asked to yield: in no section, with no lock, and with
 * nothing decided that comes next. Nobody else may be inside of a lock then, and is not:
 *   - the other Ms sleep without a processor, under sched's lock; who wakes up asks (BL__SOLO_ASK);
 *   - sysmon has the holder asked before it sleeps, and takes that back before it does anything else;
 *   - the finder does not look, and only sysmon tells it to;
 *   - helpers of bl_blocking rest. Between the store of the mode and the count of those that do is a
 *     barrier: who went to work before is not counted, who does later sees the mode;
 *   - plain threads: there are none, by the kernel's count; those there were have had sched's lock at
 *     their end. The holder would make the first.
 * While it is solo there is no second processor to be had (bl__p_acquire): who wants one tells
 * sysmon, which ends solo and wakes a thread for it. That makes such a wake-up 50 us longer; if one
 * is wanted soon, the next time comes later and later, up to a second.
 *
 * The sections are those of bl__lock, dozens of instructions. The holder waits for nothing in them
 * that an outsider could hold while it ends solo: who ends it holds no lock of the scheduler.
 */
#ifndef BL__CORE_SOLO_H
#define BL__CORE_SOLO_H

#include <stddef.h>

#include "arch/tls.h"
#include "core/lock.h"

enum {
    BL__SOLO_OFF,    /* it is not solo */
    BL__SOLO_ON,     /* of a thread: and it holds the processor */
    BL__SOLO_ENDING, /* until the holder is in no section; or is known to be alone, where it begins */
    BL__SOLO_ASK,    /* of a thread that does not hold the processor: bl__solo_on says how it is */
    BL__SOLO_UNKNOWN /* of bl__nobody */
};

extern uint32_t bl__solo_on; /* atomic; sched's lock to write: of the run */

/* The order in which locks are taken is recorded: debug/lockorder.c. */
extern uint32_t bl__order_on;

/* A thread's, in its bl__m. What is asked of it stands beside its mode, so that one load tells
 * all. */
typedef struct bl__solo {
    uint16_t mode __attribute__((aligned(8))); /* atomic; sched's lock to write: BL__SOLO_… */
    uint16_t yield;                            /* atomic: to come by bl__asked_yield (sched.h) */
    uint32_t order;  /* immutable in a run: to say in which order it locks (debug/lockorder.c) */
    uintptr_t depth; /* atomic; written by the thread: 0 in no section; while off, anything */
} bl__solo;

enum { BL__SOLO_AT = 2 * sizeof(void *) }; /* a bl__m begins with its goroutine and its processor */

static inline bl__solo *bl__solo_of(void *m)
{
    return (bl__solo *)(void *)((char *)m + BL__SOLO_AT);
}

/* The calling thread's. */
static inline bl__solo *bl__solo_here(void) { return bl__solo_of(bl__tls_get()); }

/* Ends solo, and returns when it has ended. Not inside a section. */
void bl__solo_end(void);
/* By who has noted a section and is in none: forgets it, and returns when the run is solo with the
 * caller as its holder, or not at all. */
void bl__solo_settle(void);

/* The calling thread holds the processor. */
static inline bool bl__solo_holder(void)
{
    void **m = bl__tls_get();
    return load_relaxed(&m[1]) != NULL;
}

/* Before something that only the holder may do while the run is solo. */
static inline void bl__solo_leave_outsider(void)
{
    if (load_acquire(&bl__solo_on) != BL__SOLO_OFF && !bl__solo_holder()) /* ORD(solo) */
        bl__solo_end();
}

/* By the thread of s, which is in no section: notes one, and looks. Its mode, with what is asked
 * behind it; if the mode is BL__SOLO_ON, it is in one now, until bl__solo_exit. What is stored are
 * constants: sections that follow each other do not wait for one another. And such as a register
 * holds, the record's address and 0: instructions that contain them are twice as long, and mutexes
 * have a cache line of them (sync/mutex.c). */
static inline __attribute__((always_inline)) uint64_t bl__solo_enter_mode(bl__solo *s)
{
    store_relaxed(&s->depth, (uintptr_t)s - BL__SOLO_AT);
    fence_compiler(); /* the barrier of bl__solo_end makes it one of the processor */
    /* ORD(solo): who finds that it has ended, and then the lock free, finds what was done in
     * sections, which did not write the lock */
    return load_acquire((const uint64_t *)(const void *)s);
}

/* Locked instructions do, by who has that mode. */
static inline __attribute__((always_inline)) bool bl__solo_is_off(uint64_t mode)
{
    return BL__LIKELY(mode == BL__SOLO_OFF) ||
           (mode == BL__SOLO_ASK && load_relaxed(&bl__order_on) == 0 &&
            load_acquire(&bl__solo_on) == BL__SOLO_OFF); /* ORD(solo) */
}

static inline void bl__solo_exit_of(bl__solo *s)
{
    store_release(&s->depth, bl__zero()); /* ORD(solo): with the load in bl__solo_end */
}

static inline void bl__solo_exit(void) { bl__solo_exit_of(bl__solo_here()); }

/* Not from within a section. True: the caller is in one now, until bl__solo_exit. False: it has to
 * lock. */
static inline bool bl__solo_enter(void)
{
    bl__solo *s = bl__solo_here();
    uint16_t mode = (uint16_t)bl__solo_enter_mode(s);
    if (BL__LIKELY(mode == BL__SOLO_ON))
        return true;
    if (BL__UNLIKELY(mode != BL__SOLO_OFF))
        bl__solo_settle();
    return false;
}

/* The thread of s is in a section: that may go on while solo is ending. */
static inline bool bl__solo_is_inside(const bl__solo *s)
{
    uint32_t mode = load_relaxed(&s->mode);
    return (mode == BL__SOLO_ON || mode == BL__SOLO_ENDING) && load_relaxed(&s->depth) != 0;
}

/* The same for sections within each other, which are counted; in a section it goes on, since solo
 * does. */
static inline bool bl__solo_enter_again(void)
{
    bl__solo *s = bl__solo_here();
    bool within = bl__solo_is_inside(s);
    if (!within && !bl__solo_enter())
        return false;
    store_relaxed(&s->depth, within ? s->depth + 1 : 1);
    return true;
}

static inline void bl__solo_exit_again(void)
{
    bl__solo *s = bl__solo_here();
    store_release(&s->depth, s->depth - 1); /* ORD(solo): with the load in bl__solo_end */
}

static inline bool bl__solo_inside(void) { return bl__solo_is_inside(bl__solo_here()); }

/* By who has the lock of a channel: it is a solo section, and the caller the only one who can end
 * the waits there. (Not depth: the holder may count itself in for a moment after the end.) */
static inline bool bl__solo_section(void) { return load_relaxed(&bl__solo_on) == BL__SOLO_ON; }

/* The invariant of bl__solo_enter, in debug builds: what follows is within a section. */
#ifdef BL__DEBUG
static inline bool bl__solo_nested(void) { return bl__solo_inside(); }
#else
static inline bool bl__solo_nested(void) { return false; }
#endif
void bl__solo_broken(void);

/* The lock of an object, and the only one that the caller has. One that was entered solo stays 0,
 * which is how unlock knows. */
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

/* The same in two parts, for who has another way where it is not solo: true, and
 * bl__object_unlock_solo, or false, and bl__object_lock_refused. By the thread of s. Who is asked
 * to yield is refused, and does. */
static inline bool bl__object_lock_solo(bl__solo *s, uint32_t *lock, bl__rank rank)
{
    bool nested = bl__solo_nested();
    if (BL__UNLIKELY((uint32_t)bl__solo_enter_mode(s) != BL__SOLO_ON))
        return false;
    bl__rank_take(lock, rank);
    if (nested)
        bl__solo_broken();
    return true;
}

void bl__solo_refused(void); /* the rest of it, where the mode is another, or it is to yield */

static inline void bl__object_lock_refused(bl__solo *s, uint32_t *lock, bl__rank rank)
{
    /* ORD(solo) */
    if (BL__LIKELY((uint32_t)load_acquire((const uint64_t *)(const void *)s) == BL__SOLO_OFF)) {
        bl__lock(lock, rank);
        return;
    }
    bl__solo_refused();
    bl__object_lock(lock, rank);
}

static inline void bl__object_unlock_solo(bl__solo *s, uint32_t *lock)
{
    bl__rank_give(lock);
    bl__solo_exit_of(s);
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
