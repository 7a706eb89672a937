/* SPDX-License-Identifier: MIT */
/* cause.h: why a goroutine does not go on, and what would have helped, in words. */
#ifndef BL__DEBUG_CAUSE_H
#define BL__DEBUG_CAUSE_H

#include "core/sched.h"
#include "debug/out.h"

/* What is known of it beside its record. */
typedef enum bl__cause_of {
    BL__CAUSE_NONE,  /* it is only shown */
    BL__CAUSE_STUCK, /* nobody can wake it */
    BL__CAUSE_LATE   /* it was told to stop, and has not */
} bl__cause_of;

/* Prints the scopes that it is in, and the cause. g is a copy of the record at. Takes some
 * milliseconds for one that runs and is late: it is watched. */
void bl__cause_print(bl__out *o, const bl__g *g, const bl__g *at, bl__cause_of of);

#endif
