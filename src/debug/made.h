/* SPDX-License-Identifier: MIT */
/*
 * made.h: notes of what goroutines have made and not ended: timers, tickers, contexts, channels,
 * pipes.
 *
 * Who wants them says whom what a goroutine makes belongs to: a test (test/left.c), or the run.
 * They are taken (bl__made_hook) from then on until the process ends, since a plain thread may be
 * about to call the hook at any time.
 */
#ifndef BL__DEBUG_MADE_H
#define BL__DEBUG_MADE_H

#include "core/proc.h"

typedef struct bl__note {
    uintptr_t hidden; /* the object's address, inverted */
    const bl__site *site;
    const void *owner;
    bl__made_kind kind;
    bool armed;   /* a timer, whose heap has ended before it */
    size_t count; /* once taken out: how many are left of this place */
    struct bl__note *next;
} bl__note;

/* Notes are taken from now on; owner is asked whose it is, NULL: nobody's, and not noted. */
void bl__made_begin(const void *(*owner)(const bl__g *g));

/* A bubble's heap of timers ends: what is armed in it stays so, for those who ask what is left. */
void bl__made_heap_end(bl__timers *ts);

/* Takes out the notes of owner: a list of what of it is left, by line, those of one place once.
 * memory: with channels and pipes, of which a reference is left. For bl__made_drop. */
bl__note *bl__made_left(const void *owner, bool memory);
void bl__made_drop(bl__note *list);

/* A run begins, and ends: with BELAY_SUMMARY=1 or BELAY_DEBUG=resources=1 it is said what its
 * goroutines have left. goroutines: some of those are left too, and what they use is no news. */
void bl__made_run_begin(void);
void bl__made_run_end(bool goroutines);

#endif
