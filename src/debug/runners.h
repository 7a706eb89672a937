/* SPDX-License-Identifier: MIT */
/* runners.h: goroutines that ran when they were looked at, so may have had in registers what memory
 * does not show. */
#ifndef BL__DEBUG_RUNNERS_H
#define BL__DEBUG_RUNNERS_H

#include "core/sched.h"
#include "debug/peek.h"

typedef struct bl__runner {
    uint64_t id;
    const bl__g *at;
    bool opaque; /* it was looked at as it ran, and not all that it had in registers is known */
    bool known;  /* it was looked at, and all is */
} bl__runner;

typedef struct bl__runners {
    bl__runner *list;
    uint32_t most;  /* room there */
    uint32_t count; /* of all; there are the first of them */
} bl__runners;

static inline uint32_t bl__runners_listed(const bl__runners *r)
{
    return r->count < r->most ? r->count : r->most;
}

/* Or NULL. */
static inline bl__runner *bl__runners_find(const bl__runners *r, uint64_t id)
{
    for (uint32_t i = 0; i < bl__runners_listed(r); i++)
        if (r->list[i].id == id)
            return &r->list[i];
    return NULL;
}

/* It has not ended, and *now is its record; that of one that has may be another's, or gone. */
static inline bool bl__runner_there(const bl__runner *r, bl__g *now)
{
    return bl__peek(now, r->at, sizeof *now) && now->id == r->id && now->task.status != BL__G_DEAD;
}

static inline void bl__runners_add(bl__runners *r, const bl__runner *one)
{
    if (r->count < r->most)
        r->list[r->count] = *one;
    r->count++;
}

#endif
