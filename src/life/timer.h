/* SPDX-License-Identifier: MIT */
/*
 * timer.h: what timer.c and after_func.c share.
 */
#ifndef BL__LIFE_TIMER_H
#define BL__LIFE_TIMER_H

#include "life/scope_parts.h"
#include "sync/chan.h"

enum { BL__TIMER_NONE, BL__TIMER_CHAN, BL__TIMER_AFTER, BL__TIMER_TICKER }; /* t->bl__kind */

/* A ticker. Belongs to its scope. */
struct bl_ticker {
    bl__res res; /* first */
    bl_timer timer;
};

bl_chan *bl__timer_channel(bl_timer *t);
/* That is all that it does when it is due. */
bool bl__timer_only_sends(const bl_timer *t);

enum { BL__AFTER_FREE, BL__AFTER_ARMED, BL__AFTER_RUNNING };

/* A start of an after_func (after_func.c); what bl_timer_stop_wait waits on. */
typedef struct bl__after {
    uint32_t lock;
    uint32_t state;         /* lock */
    uint64_t use;           /* lock: counts the ends */
    bl_time failing;        /* lock: while ARMED: when the first try to start it failed, or 0 */
    bl_timer *timer;        /* lock: while ARMED, which keeps it valid */
    bl_scope *scope;        /* lock: while ARMED or RUNNING */
    bl_fn fn;               /* lock */
    void *arg;              /* lock */
    const bl__site *site;   /* lock */
    uint64_t starter;       /* lock: the id of who started the timer */
    bl__g *runner;          /* lock: who runs the function; NULL: nobody does, or not yet */
    bl__waitq waiters;      /* lock: who waits for its end */
    struct bl__after *next; /* lock: the scope's while ARMED; after_pool.lock while FREE */
    struct bl__after *prev; /* lock: the scope's */
#if BL__RACE
    uint8_t race; /* a byte for race.h: the start */
#endif
} bl__after;

/* True: the list of a scope's timers (bl__timers) has some that are pending. */
bool bl__timers_pending(const void *list);

/* after_func.c. Of a timer of that kind, under its lock. Start: 0 or BL_ENOMEM; halt: true if its
 * function has not started, and will not. Wait, without the lock: until the function that was
 * started in this use of the record has ended. */
int bl__after_start(bl_timer *t, bl_dur d);
bool bl__after_halt(bl_timer *t);
void bl__after_wait(void *record, uint64_t use);

#endif
