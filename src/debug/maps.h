/* SPDX-License-Identifier: MIT */
/*
 * maps.h: the writable memory of the process, as reach.c looks at it: which parts of it are heaps
 * of malloc, and which the runtime's own.
 */
#ifndef BL__DEBUG_MAPS_H
#define BL__DEBUG_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL__MAPS_PAGE = 4096 }; /* bytes; no page is smaller */

typedef struct bl__map_range {
    uintptr_t low, high;
    uintptr_t first_block; /* of a heap: where malloc's first block begins; else 0 */
    bool hidden;           /* without access for now: bl__maps_peek reads it */
    bool thread;           /* the record of one is there */
} bl__map_range;

typedef struct bl__maps {
    bl__map_range *ranges; /* private and writable, by address */
    size_t count;
    bl__map_range *skips; /* within them, the runtime's own; by address */
    size_t skips_count;
    bl__map_range libc; /* the C library's own data */
    void *memory;
} bl__maps;

/* Of ranges in order: the first that ends above at, or count. */
size_t bl__map_find(const bl__map_range *ranges, size_t count, uintptr_t at);

/* Which pages of [low, high), at most 64 of them, have been written to: a bit for each. All, where
 * it cannot be told. */
uint64_t bl__maps_there(uintptr_t low, uintptr_t high);
static inline bool bl__maps_bit(uint64_t there, uintptr_t low, uintptr_t at)
{
    return (there >> ((at / BL__MAPS_PAGE - low / BL__MAPS_PAGE) & 63) & 1) != 0;
}

/* As bl__peek, also where there is no access. */
bool bl__maps_peek(void *to, uintptr_t from, size_t n);

/* When a run begins and ends. */
void bl__maps_open(void);
void bl__maps_close(void);

/* False: they cannot be read, or there are too many. bl__maps_free in any case. */
bool bl__maps_read(bl__maps *m);
void bl__maps_free(bl__maps *m);

/* Leaves [low, high) out, too. */
void bl__maps_skip(bl__maps *m, const void *low, const void *high);
/* Is at in what is left out? */
bool bl__maps_skips(const bl__maps *m, uintptr_t at);
/* The first piece of [*low, end) that is not left out: [*low, *high). False: there is none. */
bool bl__maps_next(const bl__maps *m, uintptr_t *low, uintptr_t *high, uintptr_t end);

/* The block at low begins with these bytes. If it is a record of the runtime's that points at who
 * waits, where its user's part begins; else low. */
uintptr_t bl__maps_record(uintptr_t low, const uint64_t *words, size_t bytes);

#endif
