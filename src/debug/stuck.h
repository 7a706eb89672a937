/* SPDX-License-Identifier: MIT */
/*
 * stuck.h: which goroutines can never go on.
 *
 * A goroutine is alive if it runs, could run, sleeps, or waits for the world or for a deadline, a
 * plain thread unless it waits in the library without an end (stuck_threads.c); and
 * if somebody who is alive can wake it: the owner of its lock, a member of the scope it joins,
 * whoever can get at the channel or the other object that it waits on (reach.h), whoever can cancel
 * it. Those that this leads to nobody for are stuck. As with garbage, that is the greatest set that
 * holds together, so circles are found whatever they are made of.
 *
 * Two questions, that differ in what counts as able to cancel:
 *   - proven: the opener of its scope, the other goroutines of that scope (which may fail), and whoever can get
 *     at the scope, its context or one that its opener has above it. What is above a stuck opener
 *     does not count: it could end the whole, not make it go on.
 *   - leaked: who can get at a context that is no scope's, or at a scope whose opener is stuck; but
 *     who waits for the cancellation of a scope by its channel is alive. This is what has been left
 *     behind until its scope ends.
 */
#ifndef BL__DEBUG_STUCK_H
#define BL__DEBUG_STUCK_H

#include "debug/runners.h"

typedef struct bl__stuck {
    uint64_t id;
    const bl__g *at;
    uint32_t switches; /* bl__stuck_moves when it was found: with another number it has gone on */
} bl__stuck;

/* A scope that was not closed, although its storage is gone; and where it was opened. */
typedef struct bl__lost_scope {
    bl__stuck who;
    const bl__site *opened;
} bl__lost_scope;

enum { BL__STUCK_RUNNING = 64, BL__STUCK_LOST = 16 };

typedef struct bl__search {
    bool leaks;     /* the second question, too */
    bool spare;     /* not who may be idle on purpose: see stuck.c */
    bl_time before; /* only who was parked by then, on the coarse clock; 0: all */
    bool blind;     /* memory says nothing */
    bl_dur hold;    /* so long no goroutine may run, if that helps; 0: not */
    bool held;      /* out: that was tried, and took the caller's processor, if it had one */
    size_t limit;   /* bytes of memory that may be looked at */
    bool
        closely; /* whom it finds is looked for once more, also in unusual places: reach.h, kernel.h */
    const void *self; /* the caller's frames begin here, if it is a goroutine; else NULL */
    bl__stuck *found; /* out: the first most of them, by id */
    size_t most;
    size_t count;   /* out: all of them */
    bool undecided; /* out: there was too much memory, or not enough */
    bl_dur took;    /* out: of the thread's time */
    bool named;     /* out: it has read symbols, which takes long, once in a run */
    bool by_memory; /* out: that nobody gets at what some of them wait on was read from memory */
    /* In: goroutines that ran in searches before, of which nothing is known since. Out: those that
     * have run in this one, too, and others that do; the first ones: */
    uint32_t running_count;
    bl__runner running[BL__STUCK_RUNNING];
    uint32_t lost_count; /* out: some of these; they are no part of the answer */
    bl__lost_scope lost[BL__STUCK_LOST];
    bool ran;   /* out: some goroutine did meanwhile, or was about to */
    bool quiet; /* out: nobody ran meanwhile, and there is nobody whose registers are not known */
} bl__search;

/* Those. */
static inline bl__runners bl__search_runners(bl__search *s)
{
    return (bl__runners){s->running, BL__STUCK_RUNNING, s->running_count};
}

/* One at a time; waits for another thread's. Any thread. */
void bl__stuck_search(bl__search *s);
/* Nobody searches from here on until the release: what is looked at without asking, stacks and
 * processors, goes. Waits for whoever does. */
void bl__stuck_hold(void);
void bl__stuck_release(void);

/* How often it has switched, or what bl_blocking runs for it has begun or ended to wait. */
static inline uint32_t bl__stuck_moves(const bl__g *g)
{
    return load_relaxed(&g->switches) + load_relaxed(&g->helper_waits);
}

/* How often the processors have picked a task, and plain threads have begun or ended to wait:
 * nobody has run if it stays the same. */
uint64_t bl__stuck_picks(void);

/* True: the goroutine has not moved since it was found. */
bool bl__stuck_still(const bl__stuck *s);

/* ---- The finder: finder.c ---- */

/* How long sysmon may sleep before the finder should look; INT64_MAX: nothing has happened since it
 * did. It looks on a thread of its own. */
int64_t bl__finder_due(bl_time now);
void bl__finder_look(void);
void bl__finder_start(void); /* a run begins; bl__finder_stop: it ends */
void bl__finder_stop(void);
/* 1: there is such a thread. */
int bl__finder_threads(void);
bool bl__finder_looks(void);
/* Where that thread's own frames begin, or NULL. */
const void *bl__finder_top(void);

/* Somebody else has reported the goroutine (a circle of locks): it need not be said twice. */
void bl__finder_said(const bl__g *g);

#endif
