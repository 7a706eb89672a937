/* SPDX-License-Identifier: MIT */
/*
 * layout.h: where things lie in this build's memory, for who reads it from outside: the gdb script,
 * and the command's dump and top. Neither needs debug information or the same version of the
 * library.
 *
 * A table of names and numbers, filled in by the compiler. An ELF note named "belay" (type 1) in
 * the program holds the distance from itself to the table, so it is found in a stripped program
 * too, in memory and in core files.
 */
#ifndef BL__DEBUG_LAYOUT_H
#define BL__DEBUG_LAYOUT_H

#include <stdint.h>

enum { BL__LAYOUT_VERSION = 1, BL__LAYOUT_NAME = 28 };

typedef struct bl__layout_entry {
    char name[BL__LAYOUT_NAME]; /* "g.sp": the offset of a field, "sizeof.g", "value.…" */
    uint32_t value;
} bl__layout_entry;

/* What readers rely on is the order here, and names: entries are added, and never mean another
 * thing. */
typedef struct bl__layout_table {
    char magic[8]; /* "bllayout" */
    uint32_t version;
    uint32_t reserved;
    const void *rt;             /* bl__rt */
    const char *const *reasons; /* texts by wait reason, value.reasons of them */
    const void *orphan;         /* the owner of a lock whose goroutine has ended */
    bl__layout_entry entries[]; /* the last has no name */
} bl__layout_table;

extern const bl__layout_table bl__layout;

#endif
