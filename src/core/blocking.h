/* SPDX-License-Identifier: MIT */
/* blocking.h: the helper threads of bl_blocking, as the rest of core sees them. */
#ifndef BL__CORE_BLOCKING_H
#define BL__CORE_BLOCKING_H

#include <stdbool.h>
#include <stdint.h>

#include <belay.h>

struct bl__call;
struct bl__helper;

typedef struct bl__helpers {
    uint32_t lock;
    uint32_t count;   /* lock to write, atomic to read: helpers there are, but for those given up */
    uint32_t resting; /* lock to write, atomic to read: of those, the ones on the list `idle` */
    uint32_t coming;  /* lock: of those, who was started or woken and has not looked since */
    uint32_t queued;  /* lock: calls on the list `first` */
    bool closed;      /* lock: the run ends; none is started, and those that rest end */
    struct bl__call *first;   /* lock: calls that no helper has taken, oldest first */
    struct bl__call *last;    /* lock */
    struct bl__helper *idle;  /* lock: who rests, the latest first */
    struct bl__helper *all;   /* lock */
    struct bl__helper *ended; /* lock: whose threads are to be joined */
} bl__helpers;

/* At the beginning of a run. At its end: joins the helpers, but for those whose function has not
 * returned, which a goroutine that was left behind waits for. These are given up. */
void bl__helpers_begin(void);
void bl__helpers_end(void);

/* bl_blocking for a call on a descriptor, whose record is fd: a goroutine waits so until the
 * deadline, or, when a helper has the call by then, until that has returned. */
int bl__blocking(bl_fn fn, void *arg, const void *fd, bl_time deadline);

/* The goroutine for which the calling thread runs a function, and the bubble that it is in; 0: none. */
uint64_t bl__helper_caller(void);
uint32_t bl__helper_bubble(void);
/* That goroutine's context, which is the thread's in the function as well; else the background. */
bl_ctx *bl__helper_ctx(void);

struct bl__g;
/* The function that a thread runs for that goroutine, and a copy of the thread's record; NULL: none
 * is found. Without the lock, which whoever a crash is about may hold. */
bl_fn bl__helper_of(const struct bl__g *goroutine, struct bl__g *record);

/* Calls fn for each helper that has nothing to run, with the number of its thread: below frame nothing
 * of its stack is in use. */
void bl__helpers_each_rest(void (*fn)(const void *frame, int tid, void *arg), void *arg);

#endif
