/* SPDX-License-Identifier: MIT */
/* alike.h: goroutines that a report shows as one: same stack, wait, place of start and of what is
 * waited on, who has that, labels. */
#ifndef BL__DEBUG_ALIKE_H
#define BL__DEBUG_ALIKE_H

#include "core/sched.h"
#include "debug/out.h"
#include "debug/traceback.h"

enum { BL__ALIKE_IDS = 8 };

/* Those that are like the one that is shown. Begins zeroed, but for the key. */
typedef struct bl__alike {
    uint64_t key;
    uint64_t count;
    uint64_t ids[BL__ALIKE_IDS]; /* the first of them */
} bl__alike;

/* Never 0. g is a copy of a record, or NULL of one that has not run; made is where what it waits on
 * was made, owner who has it. */
uint64_t bl__alike_key(const bl__g *g, const bl__trace *t, const void *made, uintptr_t owner);
void bl__alike_add(bl__alike *a, uint64_t id);
/* "and 3 more like it: goroutines 4, 5, 6", if there are any. */
void bl__alike_print(bl__out *o, const bl__alike *a);
/* "goroutines 4, 5, 6". */
void bl__alike_ids(bl__out *o, const bl__alike *a);

#endif
