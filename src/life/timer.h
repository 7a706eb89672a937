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

/* after_func.c. Of a timer of that kind, under its lock. Start: 0 or BL_ENOMEM; halt: true if its
 * function has not started, and will not. Wait, without the lock: until the function that was
 * started in this use of the record has ended. */
int bl__after_start(bl_timer *t, bl_dur d);
bool bl__after_halt(bl_timer *t);
void bl__after_wait(void *record, uint64_t use);

#endif
