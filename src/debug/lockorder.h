/* SPDX-License-Identifier: MIT */
/* lockorder.h: locks that are taken in two orders. What sync uses is in sync/object.h. */
#ifndef BL__DEBUG_LOCKORDER_H
#define BL__DEBUG_LOCKORDER_H

#include "core/sched.h"
#include "debug/out.h"
#include "debug/symbol.h"

/* Of the test runner, both NULL elsewhere: which test g is of (0: none), since the orders of each
 * test are looked at by themselves; and who says a report, which the caller's test has earned. */
extern uint64_t (*bl__order_owner)(const bl__g *g);
extern void (*bl__order_say)(void (*print)(bl__out *o, void *arg), void *arg);

/* Where g, or a copy of it, has taken lock, which it holds; false: that is not recorded. */
bool bl__order_place(const bl__g *g, const void *lock, bl__symbol *s);

/* A run begins: on in tests and debug builds, unless BELAY_DEBUG=lockorder says. */
void bl__order_begin(void);

#endif
