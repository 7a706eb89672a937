/* SPDX-License-Identifier: MIT */
/*
 * own.c: see own.h, and arch/own.h for where the table comes from.
 *
 * A table is believed if it makes sense: functions of the library are in one entry each, and the
 * program's main in none. With -flto all code of a part of the program is in the same sections, and
 * each entry is all of them. Neighbours are not made one: what lies between two of them, some
 * bytes, may be a function of the program's.
 */
#include "debug/own.h"

#include <belay.h>
#include <stddef.h>

#include "core/atomic.h"

/* An entry: where a section begins and ends, as distances from where they stand. */
typedef struct own_entry {
    int32_t low, high;
} own_entry;

/* From the linker. */
extern const own_entry bl__own_first[] __asm__("__start_bl__own")
    __attribute__((weak, visibility("hidden")));
extern const own_entry bl__own_end[] __asm__("__stop_bl__own")
    __attribute__((weak, visibility("hidden")));
/* The program's main, with arguments or without: of either prototype gcc's -flto says that it is not
 * the program's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
extern int bl__program() __asm__("main") __attribute__((weak));
#pragma GCC diagnostic pop

enum { OWN_NEW, OWN_KNOWN, OWN_UNKNOWN };

static uint32_t own_state; /* atomic: OWN_…; who comes first finds out, several find the same */

/* How many entries have it: some hundred comparisons. */
static int entries_with(uintptr_t pc)
{
    int n = 0;
    for (const own_entry *e = bl__own_first; e != bl__own_end; e++) {
        uintptr_t low = (uintptr_t)&e->low + (uintptr_t)(intptr_t)e->low;
        uintptr_t high = (uintptr_t)&e->high + (uintptr_t)(intptr_t)e->high;
        n += pc >= low && pc < high;
    }
    return n;
}

bool bl__own_known(void)
{
    uint32_t state = load_relaxed(&own_state);
    if (state == OWN_NEW) {
        bool known = entries_with((uintptr_t)&bl__own_code) == 1 &&
                     entries_with((uintptr_t)&bl_yield) == 1 &&
                     entries_with((uintptr_t)&bl_strerror) == 1 &&
                     entries_with((uintptr_t)&bl__program) == 0;
        state = known ? OWN_KNOWN : OWN_UNKNOWN;
        store_relaxed(&own_state, state);
    }
    return state == OWN_KNOWN;
}

bool bl__own_code(uintptr_t pc) { return bl__own_known() && entries_with(pc) > 0; }
