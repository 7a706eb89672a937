/* SPDX-License-Identifier: MIT */
/*
 * own.c: see own.h, and arch/own.h for where the table comes from.
 *
 * A linker lays out the sections of one name file by file, so what the table has is mostly one range for each name, but for what
 * was padded between them. Believed is a table that makes sense: this function is in it, the program's main is not,
 * and no code is in two entries. With -flto all of a part of the program has the same sections, and each entry is all of them.
 */
#include "debug/own.h"

#include <stddef.h>

#include "core/atomic.h"

enum {
    RANGES = 32,
    PADDING = 64 /* what of less is between two ranges is nobody's */
};

/* An entry: where a section begins and ends, as distances from where they stand. */
typedef struct own_entry {
    int32_t low, high;
} own_entry;

/* From the linker. */
extern const own_entry bl__own_first[] __asm__("__start_bl__own")
    __attribute__((weak, visibility("hidden")));
extern const own_entry bl__own_end[] __asm__("__stop_bl__own")
    __attribute__((weak, visibility("hidden")));
extern int bl__program(int argc, char **argv) __asm__("main") __attribute__((weak));

typedef struct own_range {
    uintptr_t low, high;
} own_range;

enum { OWN_NEW, OWN_KNOWN, OWN_UNKNOWN };

/* Who comes first finds out; several find the same. */
static struct {
    uint32_t state;       /* atomic: OWN_…; what follows is written before it is known */
    uint32_t count;       /* atomic */
    own_range at[RANGES]; /* atomic; ascending */
} own;

static own_range entry_range(const own_entry *e)
{
    own_range r = {(uintptr_t)&e->low + (uintptr_t)(intptr_t)e->low,
                   (uintptr_t)&e->high + (uintptr_t)(intptr_t)e->high};
    return r;
}

/* The lowest section that begins at from or above; those that are empty count as none. */
static bool section_next(uintptr_t from, own_range *next)
{
    bool found = false;
    for (const own_entry *e = bl__own_first; e != bl__own_end; e++) {
        own_range r = entry_range(e);
        if (r.low < r.high && r.low >= from && (!found || r.low < next->low)) {
            *next = r;
            found = true;
        }
    }
    return found;
}

static uint32_t sections_count(void)
{
    uint32_t n = 0;
    for (const own_entry *e = bl__own_first; e != bl__own_end; e++) {
        own_range r = entry_range(e);
        n += r.low < r.high;
    }
    return n;
}

static bool ranges_have(const own_range *at, uint32_t n, uintptr_t pc)
{
    for (uint32_t i = 0; i < n; i++)
        if (pc >= load_relaxed(&at[i].low) && pc < load_relaxed(&at[i].high))
            return true;
    return false;
}

/* The sections, neighbours as one. 0: they are too many, or not the library's alone. */
static uint32_t ranges_find(own_range *at)
{
    uint32_t n = 0, taken = 0;
    uintptr_t end = 0;
    own_range next;
    for (; section_next(end, &next); end = next.high, taken++) {
        if (n > 0 && next.low - at[n - 1].high < PADDING)
            at[n - 1].high = next.high;
        else if (n == RANGES)
            return 0;
        else
            at[n++] = next;
    }
    bool own_alone = taken == sections_count() && ranges_have(at, n, (uintptr_t)&bl__own_code) &&
                     !ranges_have(at, n, (uintptr_t)&bl__program);
    return own_alone ? n : 0;
}

bool bl__own_known(void)
{
    uint32_t state = load_acquire(&own.state); /* ORD(own): with what is written below */
    if (state == OWN_NEW) {
        own_range at[RANGES];
        uint32_t n = ranges_find(at);
        for (uint32_t i = 0; i < n; i++) {
            store_relaxed(&own.at[i].low, at[i].low);
            store_relaxed(&own.at[i].high, at[i].high);
        }
        store_relaxed(&own.count, n);
        state = n > 0 ? OWN_KNOWN : OWN_UNKNOWN;
        store_release(&own.state, state); /* ORD(own) */
    }
    return state == OWN_KNOWN;
}

bool bl__own_code(uintptr_t pc)
{
    return bl__own_known() && ranges_have(own.at, load_relaxed(&own.count), pc);
}
