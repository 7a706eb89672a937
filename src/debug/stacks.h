/* SPDX-License-Identifier: MIT */
/* stacks.h: a profile as it is gathered: stacks with labels, equal ones counted together. */
#ifndef BL__DEBUG_STACKS_H
#define BL__DEBUG_STACKS_H

#include "core/label.h"
#include "debug/traceback.h"

enum { BL__STACK_VALUES = 2 };

typedef struct bl__stack_entry {
    uint64_t hash;
    size_t first; /* of its program counters in pcs, innermost first */
    uint32_t depth;
    uint32_t labels; /* pairs … */
    size_t text;     /* … which begin here in texts: key, 0, value, 0 */
    size_t bytes;
    int64_t values[BL__STACK_VALUES];
} bl__stack_entry;

typedef struct bl__stacks {
    bl__stack_entry *entries;
    uintptr_t *pcs;
    char *texts;
    uint32_t *table; /* open addressing: index of an entry + 1 */
    size_t count, room;
    size_t pcs_count, pcs_room;
    size_t texts_count, texts_room;
    size_t slots;
    int64_t totals[BL__STACK_VALUES];
    bool failed; /* there was no memory for some */
} bl__stacks;

/* Adds values to the stack of t. labels: NULL, or those of somebody who may let go of them
 * meanwhile. */
void bl__stacks_add(bl__stacks *s, const bl__trace *t, const bl__labels *labels,
                    const int64_t values[BL__STACK_VALUES]);
/* The same for the frames [first, last) of the entry e of from. */
void bl__stacks_add_part(bl__stacks *s, const bl__stacks *from, const bl__stack_entry *e,
                         uint32_t first, uint32_t last);
/* Takes what before has from s; what is nothing then stays, with zeros. False: no memory. */
bool bl__stacks_subtract(bl__stacks *s, const bl__stacks *before);
void bl__stacks_free(bl__stacks *s);

/* Room for one more element of size bytes in *at, which has count of them; false: there is no
 * memory. */
bool bl__stacks_room(void *at, size_t size, size_t count, size_t more, size_t *room);

#endif
