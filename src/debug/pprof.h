/* SPDX-License-Identifier: MIT */
/* pprof.h: a profile in the form that `go tool pprof` reads: profile.proto, in gzip's framing. */
#ifndef BL__DEBUG_PPROF_H
#define BL__DEBUG_PPROF_H

#include "debug/stacks.h"

typedef struct bl__profile_kind {
    const char *name;
    const char *types[BL__STACK_VALUES]; /* what the values count; the second may be NULL */
    const char *units[BL__STACK_VALUES];
} bl__profile_kind;

/* Leaves the program's part of each stack, with the call into the library that it is in, and counts
 * together what is equal then. False: there was no memory for some. */
bool bl__stacks_trim(bl__stacks *s);

/* took: how long it was recorded; 0: it is of a moment, or of all so far. 0, or why it could not be
 * written. */
int bl__pprof_write(int fd, const bl__stacks *s, const bl__profile_kind *kind, bl_dur took);

enum { BL__PROFILE_PAGE = 3 };

/* bl_profile of what happens within so long, for which the caller sleeps; with the differences of
 * what there is then. debug BL__PROFILE_PAGE: as 2, and before that how many there are. */
int bl__profile_for(int fd, const char *name, int debug, bl_dur seconds);

#endif
