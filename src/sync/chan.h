/* SPDX-License-Identifier: MIT */
/*
 * chan.h: the channel's record, and what select, timers and contexts use of it.
 *
 * Invariants, at every point where c->lock is given back (bl__chan_unlock executes them in debug
 * builds):
 *   - Of recvq and sendq at least one is empty, except for an unbuffered channel on which one
 *     goroutine waits in both directions by a select.
 *   - Elements are buffered: recvq is empty. There is room, and it is open: sendq is empty.
 *   - Closed, and the close has woken everybody: both are empty, for ever.
 * They speak of linked waiters, whether or not those can still be claimed: whoever finds that
 * somebody else has ended a waiter's wait (cancellation, deadline, another case of its select)
 * unlinks it and looks at the next, so an operation that goes past a queue leaves it empty.
 *
 * A peer is claimed and served under the lock, and made ready after it was given back. So the
 * critical section is short; a waiter that was woken touches the channel no more;
 * and a receiver may free the channel although its sender has not returned yet.
 *
 * The result that a waker passes to bl__ready is the waiter's n * 2, + 1 if a close woke it. n is
 * the index of the case in a select, and 0 otherwise.
 */
#ifndef BL__SYNC_CHAN_H
#define BL__SYNC_CHAN_H

#include <string.h>

#include "life/scope.h"
#include "sync/waitq.h"

enum {
    BL__CHAN_LIVE = 0x6c6e6863,   /* "chnl" */
    BL__CHAN_BUBBLE = 0x626e6863, /* "chnb": live, and only for those of the bubble */
    BL__CHAN_FREED = 0,
    BL__CHAN_DONE = 1,
    BL__CHAN_DONE_OVER = 2,
    BL__CHAN_MAX_SIZE = 65535,
};

/* All that an operation needs is in the first 64 bytes, one cache line; the buffer follows the
 * record. */
struct bl_chan {
    uint32_t lock;
    uint32_t magic; /* atomic: BL__CHAN_LIVE or _BUBBLE until the last reference is released */
    union {
        struct {
            uint16_t size; /* immutable: bytes of an element */
            uint8_t
                closed; /* lock to write, atomic to peek: 0; 1 while a close wakes who waits; 2 */
            uint8_t timer; /* immutable: part of a bl_timer, see bl__chan_init_timer */
        };
        uint32_t kind; /* atomic to peek: just the size, if it is open and no timer's */
    };
    uint32_t cap;         /* immutable */
    uint32_t len;         /* lock to write, atomic to peek: elements buffered */
    uint32_t head;        /* lock: slot of the oldest element */
    uint32_t tail;        /* lock: slot that the next one goes into */
    uint32_t refs;        /* atomic */
    bl__waitq recvq;      /* lock: waiting receivers */
    bl__waitq sendq;      /* lock: waiting senders */
    const bl__site *made; /* immutable */
    void *memory;         /* immutable: what to free, NULL for a timer's */
    uint32_t bubble;      /* the bubble that it was made in, a timer's: last started in; 0: none */
    uint32_t done; /* atomic: of bl_ctx_done: BL__CHAN_DONE, and _OVER once its context has ended */
    union {
        bl__res res;       /* the scope's: its place in the scope's list */
        const bl_ctx *ctx; /* immutable, of bl_ctx_done's: whose cancellation closes it */
    };
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "kind begins with the size");
_Static_assert(offsetof(bl_chan, made) == 64, "the hot fields fill one cache line");
_Static_assert(sizeof(bl_chan) + sizeof(bl_time) <= BL__TIMER_CHAN_WORDS * sizeof(uint64_t),
               "a timer has room for its channel and the one slot");

/* Whom to make ready after the lock was given back; g NULL: nobody. */
typedef struct bl__wake {
    bl__g *g;
    int result;
} bl__wake;

/* What g->wait_obj is while g waits in a select (reason BL__WAIT_SELECT): its cases. */
typedef struct bl__select_wait {
    const bl_case *cases;
    size_t n;
} bl__select_wait;

static inline bool bl__chan_is_live(uint32_t magic)
{
    return magic == BL__CHAN_LIVE || magic == BL__CHAN_BUBBLE;
}

/* Fatal if c is freed, or if size is not that of its elements. An element size of 0 means that
 * values are not looked at, so any size will do. A channel of a bubble is never found in order at
 * once, so that the others pay nothing for who asks about those. */
void bl__chan_check_slow(const bl_chan *c, size_t size);
/* Fatal if c, which is live, is a bubble's that the caller is not in. does: verb, and what it is
 * called. */
void bl__chan_check_bubble(const bl_chan *c, const char *does, const char *what);

/* Copies an element; to NULL drops it, from NULL stands for zeros. */
void bl__elem_move_any(void *to, const void *from, size_t size);

/* bl_chan_new for what releases it by itself, so that nobody is told of it (bl__made). */
bl_chan *bl__chan_make(size_t elem_size, size_t cap, const bl__site *site);
/* bl_chan_close by whom c belongs to. */
void bl__chan_close(bl_chan *c);

/* What a channel that the caller makes has as its bubble. */
uint32_t bl__chan_bubble_here(void);

/* The channel of a timer that is started is from now on that of the caller's bubble, or of none. */
void bl__chan_bubble_enter(bl_chan *c);

/* The channel of a timer: one slot for a bl_time, in the storage behind it; its len and cap are
 * reported as 0. Not counted; its owner just stops using it. */
void bl__chan_init_timer(bl_chan *c, const bl__site *site);
/* Sends v without waiting; false: there was a value already, and v was dropped. */
bool bl__chan_timer_put(bl_chan *c, bl_time v);
/* Drops the buffered value; true: there was one. */
bool bl__chan_timer_drain(bl_chan *c);

/* bl_chan_try_send of a value that is the library's, which is nobody's access (arch/race.h). */
int bl__chan_try_send_own(bl_chan *c, const void *v, size_t size);

#define BL__HOT inline __attribute__((always_inline))

/* A user's deadline as bl__park takes it, which refuses 0: it has passed just the same. */
static inline bl_time bl__deadline(bl_time deadline) { return deadline > 0 ? deadline : 1; }

static inline void bl__chan_check(const bl_chan *c, size_t size)
{
    if (BL__UNLIKELY(load_relaxed(&c->magic) != BL__CHAN_LIVE) || BL__UNLIKELY(size != c->size))
        bl__chan_check_slow(c, size);
}

/* The same of who receives or sends, which has to be in the bubble of a bubble's channel. */
void bl__chan_check_recv_slow(const bl_chan *c, size_t size);
static inline void bl__chan_check_recv(const bl_chan *c, size_t size)
{
    if (BL__UNLIKELY(load_relaxed(&c->magic) != BL__CHAN_LIVE) || BL__UNLIKELY(size != c->size))
        bl__chan_check_recv_slow(c, size);
}

/* Of who sends: fatal also for a channel that Go's types let nobody send on, a
 * timer's or a context's. */
void bl__chan_check_send_slow(const bl_chan *c, size_t size);
static inline void bl__chan_check_send(const bl_chan *c, size_t size)
{
    if (BL__UNLIKELY(load_relaxed(&c->magic) != BL__CHAN_LIVE) ||
        BL__UNLIKELY(load_relaxed(&c->kind) != size))
        bl__chan_check_send_slow(c, size);
}

#ifdef BL__DEBUG
void bl__chan_invariants(const bl_chan *c);
#else
static inline void bl__chan_invariants(const bl_chan *c) { (void)c; }
#endif

static inline void bl__chan_unlock(bl_chan *c)
{
    bl__chan_invariants(c);
    bl__object_unlock(&c->lock);
}

/* The usual operation: its channel's lock is a solo section, and its elements are words, of 4 or 8
 * bytes. It needs no calls, so it saves no registers. Always a constant. */
typedef bool bl__usual;

static inline bool bl__elem_is_word(size_t size) { return BL__LIKELY(size == 8) || size == 4; }

static inline void bl__elem_move_word(void *to, const void *from, size_t size)
{
    uint64_t value = 0;
    if (BL__UNLIKELY(!to))
        return;
    if (BL__LIKELY(size == 8)) {
        if (BL__LIKELY(from))
            memcpy(&value, from, 8);
        memcpy(to, &value, 8);
    } else {
        if (BL__LIKELY(from))
            memcpy(&value, from, 4);
        memcpy(to, &value, 4);
    }
}

static BL__HOT void bl__elem_move(void *to, const void *from, size_t size, bl__usual usual)
{
    if (usual)
        bl__elem_move_word(to, from, size);
    else if (BL__LIKELY(size == 8 && to && from))
        memcpy(to, from, 8);
    else if (size == 4 && to && from)
        memcpy(to, from, 4);
    else
        bl__elem_move_any(to, from, size);
}

/* What was taken from a buffer leaves nothing there that would be in reach (debug/reach.h). */
static BL__HOT void bl__elem_clear(void *at, size_t size, bl__usual usual)
{
    if (BL__LIKELY(size == 8))
        memset(at, 0, 8);
    else if (!usual && size > 8) /* a smaller one has room for no address */
        bl__elem_move_any(at, NULL, size);
}

static inline void *bl__chan_slot(bl_chan *c, uint32_t i)
{
    return (char *)(c + 1) + (size_t)i * c->size;
}

#if BL__RACE
/* The pair of slot i for race.h, behind the buffer: side 0 sends. Those of a buffer of 0 are never
 * used. */
static inline bl__race_pair *bl__chan_race(bl_chan *c, uint32_t i)
{
    uintptr_t end = (uintptr_t)(c + 1) + (size_t)c->cap * c->size;
    return (bl__race_pair *)((end + 7) & ~(uintptr_t)7) + i;
}
#endif

static inline uint32_t bl__chan_next(const bl_chan *c, uint32_t i)
{
    return BL__UNLIKELY(i + 1 == c->cap) ? 0 : i + 1;
}

/* bl__claim, under the lock of the channel on which g waits. */
static BL__HOT bool bl__chan_claim_one(bl__g *g, bl__usual usual)
{
    if (!usual && BL__UNLIKELY(!bl__solo_section()))
        return bl__claim(g);
    if (BL__UNLIKELY(load_relaxed(&g->wait) <= BL__W_CLAIMED))
        return false;
    store_relaxed(&g->wait, (uint32_t)BL__W_CLAIMED);
    return true;
}

/* Under the lock: the first waiter whose wait the caller has now ended; all before it are gone. The
 * claim comes first, since an unlinked waiter may vanish at once if it is not the caller's. */
static BL__HOT bl__waiter *bl__chan_claim(bl__waitq *q, bl__usual usual)
{
    while (q->head) {
        __builtin_prefetch(q->head->next); /* of a crowd the next is cold, too */
        bool claimed = bl__chan_claim_one(q->head->g, usual);
        bl__waiter *w = bl__waitq_pop_front(q);
        if (BL__LIKELY(claimed))
            return w;
    }
    return NULL;
}

/* The edges of the memory model (race.h), as Go has them. A value that does not go through the
 * buffer since a receiver waits goes through its slot all the same; so does one that a full buffer
 * takes in from a waiting sender. On a timer's channel what orders is the start of the timer, not
 * its firing. */
static inline void bl__chan_race_put(bl_chan *c, bl__waiter *sender)
{
#if BL__RACE
    if (c->timer)
        return;
    void *own = sender ? bl__race_as(sender->g->fiber) : NULL;
    bl__race_meet(bl__chan_race(c, c->tail), 0);
    if (sender)
        bl__race_back(own);
#endif
    (void)c, (void)sender;
}

static inline void bl__chan_race_take(bl_chan *c)
{
#if BL__RACE
    if (c->timer)
        bl__race_acquire(c);
    else
        bl__race_meet(bl__chan_race(c, c->head), 1);
#endif
    (void)c;
}

/* The caller meets w, which waits. */
static inline void bl__chan_race_meet(bl_chan *c, bl__waiter *w)
{
#if BL__RACE
    if (c->cap == 0) {
        bl__wait_race_meet(w->g);
        return;
    }
    bl__chan_race_put(c, NULL);
    void *own = bl__race_as(w->g->fiber);
    bl__chan_race_take(c);
    bl__race_back(own);
    c->head = c->tail = bl__chan_next(c, c->tail); /* the slots take turns, or the edges do not */
#endif
    (void)c, (void)w;
}

/* Under the lock, without waiting: 0, BL_ECLOSED, or BL_EAGAIN. */
static BL__HOT int bl__chan_send_locked(bl_chan *c, const void *v, bl__wake *wake, bl__usual usual)
{
    wake->g = NULL;
    if (BL__UNLIKELY(c->closed)) /* which is no edge: only who receives comes after the close */
        return BL_ECLOSED;
    bl__waiter *receiver = bl__chan_claim(&c->recvq, usual);
    if (receiver) {
        bl__chan_race_meet(c, receiver);
        bl__elem_move(receiver->val, v, c->size, usual);
        *wake = (bl__wake){receiver->g, (int)receiver->n * 2};
        return 0;
    }
    if (c->len == c->cap)
        return BL_EAGAIN;
    bl__chan_race_put(c, NULL);
    bl__elem_move(bl__chan_slot(c, c->tail), v, c->size, usual);
    c->tail = bl__chan_next(c, c->tail);
    store_relaxed(&c->len, c->len + 1);
    return 0;
}

/* Under the lock, without waiting: 0, BL_ECLOSED with v zeroed, or BL_EAGAIN. A full buffer gives
 * its head and takes in the value of the sender that has waited longest, which keeps the order; but
 * not once it is closed, when those that are still linked are just about to be told. */
static BL__HOT int bl__chan_recv_locked(bl_chan *c, void *v, bl__wake *wake, bl__usual usual)
{
    wake->g = NULL;
    if (c->len) {
        void *slot = bl__chan_slot(c, c->head);
        bl__chan_race_take(c);
        bl__elem_move(v, slot, c->size, usual);
        c->head = bl__chan_next(c, c->head);
        bl__waiter *sender =
            BL__UNLIKELY(c->sendq.head) && !c->closed ? bl__chan_claim(&c->sendq, usual) : NULL;
        if (BL__LIKELY(!sender)) {
            bl__elem_clear(slot, c->size, usual);
            store_relaxed(&c->len, c->len - 1);
            return 0;
        }
        bl__chan_race_put(c, sender);
        bl__elem_move(bl__chan_slot(c, c->tail), sender->val, c->size, usual);
        c->tail = bl__chan_next(c, c->tail);
        *wake = (bl__wake){sender->g, (int)sender->n * 2};
        return 0;
    }
    if (BL__UNLIKELY(c->closed)) {
        bl__race_acquire(&c->closed);
        bl__elem_move(v, NULL, c->size, usual);
        return BL_ECLOSED;
    }
    bl__waiter *sender = bl__chan_claim(&c->sendq, usual);
    if (!sender)
        return BL_EAGAIN;
    bl__chan_race_meet(c, sender);
    bl__elem_move(v, sender->val, c->size, usual);
    *wake = (bl__wake){sender->g, (int)sender->n * 2};
    return 0;
}

#endif
