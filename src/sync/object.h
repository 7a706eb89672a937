/* SPDX-License-Identifier: MIT */
/*
 * object.h: what the objects of this folder that live in their user's storage have in common:
 * finding copies, waking waiters once the object may be gone, and locks left by who has ended.
 *
 * The storage may be reused as soon as the last wait or unlock has returned. So who wakes claims
 * and unlinks the waiters under the object's lock, gives the lock back, and makes them ready after
 * that: a waiter that is claimed stays parked until its bl__ready, and whoever else could release
 * the storage needs the lock first, or is such a waiter.
 */
#ifndef BL__SYNC_OBJECT_H
#define BL__SYNC_OBJECT_H

#include "core/check.h"
#include "sync/waitq.h"

/* Notes where the object o is first used, and is fatal when it is used elsewhere after that. Every
 * writer of bl__self writes the same value, so it needs no lock; it is looked at once, since
 * another may be writing it. */
#define BL__CHECK_COPY(o, name)                                                                    \
    do {                                                                                           \
        const void *first_use = load_relaxed(&(o)->bl__self);                                      \
        if (__builtin_expect(first_use != (o), 0)) {                                               \
            if (first_use != NULL)                                                                 \
                bl__fatal_copied((o), first_use, "%s is copied", (name));                          \
            store_relaxed(&(o)->bl__self, (o));                                                    \
        }                                                                                          \
    } while (0)

/* Claimed and unlinked waiters, the one that has waited longest first. */
typedef struct bl__woken {
    bl__waiter *first;
    bl__waiter *last;
} bl__woken;

/* Object's lock held; w is claimed and in no queue. */
static inline void bl__woken_add(bl__woken *list, bl__waiter *w)
{
    w->next = NULL;
    if (list->last)
        list->last->next = w;
    else
        list->first = w;
    list->last = w;
}

/* Object's lock not held. Neither the object nor a waiter may be touched after this. How long they
 * have waited in all, while that is recorded. The first comes last, since who is made ready last
 * runs next: so they go on in their order, as far as one processor runs them. */
static inline bl_dur bl__woken_ready(bl__woken *list)
{
    bl__waiter *first = list->first;
    if (first == NULL)
        return 0;
    bl_dur waited = bl__contended_waited(first->g);
    for (bl__waiter *w = first->next, *next; w; w = next) {
        next = w->next;
        waited += bl__contended_waited(w->g);
        bl__ready(w->g, 0);
    }
    bl__ready(first->g, 0);
    return waited;
}

/* The waiter that has waited longest and whose wait the caller may end; claimed and unlinked. Those
 * before it whom somebody else has claimed are unlinked as well. NULL: nobody waits. */
static inline bl__waiter *bl__waitq_claim_front(bl__waitq *q)
{
    bl__waiter *w;
    while ((w = bl__waitq_pop_front(q)) != NULL)
        if (bl__claim(w->g))
            return w;
    return NULL;
}

/* The owner of a lock whose goroutine or thread ended without unlocking it; see held.c. Never
 * written and never run. */
extern const bl__g bl__orphan;
/* What it was: tick, where the lock noted its owner's switches, has its number then. */
static inline const char *bl__orphan_kind(uint32_t tick)
{
    return tick != 0 ? "goroutine" : "plain thread";
}

/* Fatal unless g holds m. mutex.c */
void bl__mutex_check_owner(bl_mutex *m, bl__g *g);

/* Gives the lock, which g holds and will never unlock, to bl__orphan. False: g does not hold it,
 * the memory has become something else. mutex.c, rwmutex.c */
bool bl__mutex_orphan(void *mutex, bl__g *g);
bool bl__rwmutex_orphan(void *rwmutex, bl__g *g);

/* What every lock that is on a list of what a goroutine holds (g->held, g->held_rw) begins with. */
typedef struct bl__held_head {
    uintptr_t word;
    void *self;
    void *next;
} bl__held_head;
_Static_assert(offsetof(bl_mutex, bl__held) == offsetof(bl__held_head, next) &&
                   offsetof(bl_rwmutex, bl__held) == offsetof(bl__held_head, next),
               "the lists are walked without knowing of which kind they are");

/* The link of a lock. */
static inline __attribute__((always_inline)) void **bl__held_next(const void *lock)
{
    return (void **)((uintptr_t)lock + offsetof(bl__held_head, next));
}

/* What walks such a list: it may come to memory that is another's, which AddressSanitizer would
 * stop. */
#define BL__HELD_WALK __attribute__((noinline, no_sanitize("address")))

/* lock is on a list of g's, the caller's, and lay in a frame that has returned: below frame, or
 * above it where frames of ours are now. Not to be written, and what is on the list behind it is
 * not known. */
bool bl__held_gone(const bl__g *g, const void *lock, const void *frame);

/* Takes lock, which is not the first, off a list of g's. False: it is not there. */
bool bl__held_forget_behind(const bl__g *g, void **list, const void *lock, const void *frame);

/* Puts lock on the list of its new owner. The link is NULL while it is on none, and remains so where
 * one lock is held at a time: it is neither read nor written then. */
static inline __attribute__((always_inline)) void bl__held_add(void **list, void *lock)
{
    BL__CHECK(*bl__held_next(lock) == NULL);
    if (BL__UNLIKELY(*list != NULL))
        *bl__held_next(lock) = *list;
    *list = lock;
}

/* lock, whose link was rest, comes off its owner's list: before others can take it. */
static inline __attribute__((always_inline)) void bl__held_unlink(void *lock, const void *rest)
{
    if (BL__UNLIKELY(rest != NULL))
        *bl__held_next(lock) = NULL;
}

static inline __attribute__((always_inline)) bool bl__held_forget(const bl__g *g, void **list,
                                                                  void *lock)
{
    if (BL__LIKELY(*list == lock))
        *list = *bl__held_next(lock);
    else if (!bl__held_forget_behind(g, list, lock, __builtin_frame_address(0)))
        return false;
    bl__held_unlink(lock, *bl__held_next(lock));
    return true;
}

/* The order in which locks are taken, debug/lockorder.c, while it is recorded (bl__order_on): g is
 * about to take lock, for the first time ever if fresh, and without an end if waits; it has got it.
 * from: a return address into the program. */
typedef enum bl__order_mode {
    BL__ORDER_MUTEX,
    BL__ORDER_WRITE,
    BL__ORDER_READ,
    BL__ORDER_PERMIT /* of a semaphore, which keeps some apart */
} bl__order_mode;
/* Of a semaphore, under its lock, while it is recorded: it is a new one; g has acquired count of
 * it, which has left so many; g has released count. */
void bl__order_sem_new(const void *sem);
void bl__order_acquired(const bl__g *g, const void *sem, int64_t count, int64_t left);
void bl__order_released(const bl__g *g, const void *sem, int64_t count);
void bl__order_wants(const bl__g *g, const void *lock, bl__order_mode mode, bool fresh, bool waits,
                     const void *from);
void bl__order_has(const bl__g *g, const void *lock, const void *from);

/* first_use: the lock's bl__self. True: it is recorded, and bl__order_has is to be told. */
static inline __attribute__((always_inline)) bool bl__order_before(const bl__g *g, const void *lock,
                                                                   const void *first_use,
                                                                   bl__order_mode mode, bool waits,
                                                                   const void *from)
{
    if (__builtin_expect(load_relaxed(&bl__order_on) == 0, 1))
        return false;
    bl__order_wants(g, lock, mode, first_use == NULL, waits, from);
    return true;
}

/*
 * Read locks. Several hold one, so it can be on no list of its holder's; instead a goroutine notes
 * the first few that it has (g->reads, of g->reads_count). As in Go, one goroutine may take a read
 * lock and another give it back; since then (bl__reads_handed) the notes of any may be wrong, and
 * prove nothing. held.c
 */
extern uint32_t bl__reads_handed; /* atomic */
void bl__read_drop_slow(bl__g *g, const bl_rwmutex *m);

static inline void bl__read_note(bl__g *g, const bl_rwmutex *m)
{
    uint32_t n = g->reads_count++;
    if (__builtin_expect(n < BL__READS, 1))
        g->reads[n] = m;
}

static inline void bl__read_drop(bl__g *g, const bl_rwmutex *m)
{
    uint32_t last = g->reads_count - 1;
    if (__builtin_expect(last < BL__READS && g->reads[last] == m, 1))
        g->reads_count = last;
    else
        bl__read_drop_slow(g, m);
}

/* g is sure to hold m for reading: nobody else is about to give it back. */
static inline bool bl__read_holds(const bl__g *g, const bl_rwmutex *m)
{
    bool found = false;
    for (uint32_t i = 0; i < g->reads_count && i < BL__READS; i++)
        found = found || g->reads[i] == m;
    return found && load_relaxed(&bl__reads_handed) == 0;
}

#endif
