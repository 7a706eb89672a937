/* SPDX-License-Identifier: MIT */
/* describe.h: what a goroutine waits on, what it holds, and its labels, in lines of a report. */
#ifndef BL__DEBUG_DESCRIBE_H
#define BL__DEBUG_DESCRIBE_H

#include "core/sched.h"
#include "debug/out.h"

/* In the words of mutexes and rwmutexes, beside the owner: as in sync/mutex.c and sync/rwmutex.c. */
enum { BL__WORD_FLAGS = 7, BL__WORD_WRITER = 2, BL__WORD_READER = 8 };

/* g is a copy of a goroutine's record, at is the record itself. Each prints nothing where there is
 * nothing to say, or where what there was is gone. */
void bl__describe_wait(bl__out *o, const bl__g *g);
/* Where that was made, or NULL. */
const bl__site *bl__describe_made(const bl__g *g);
/* What was made there is a channel by itself, and not one of a timer or a context. */
bool bl__describe_is_chan(const bl__site *made);
void bl__describe_held(bl__out *o, const bl__g *g, const bl__g *at);
void bl__describe_labels(bl__out *o, const bl__g *g);

#endif
