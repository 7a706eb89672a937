/* SPDX-License-Identifier: MIT */
/* library.h: where the headers and the library are that programs are built against. */
#ifndef BELAY_CMD_LIBRARY_H
#define BELAY_CMD_LIBRARY_H

#include "flags.h"

typedef struct library {
    mode mode;           /* how it was built; a sanitized build tree has no plain one */
    const char *include; /* the directory of belay.h */
    const char *archive; /* libbelay.a */
    const char *defines; /* what its own headers, which belay's tests use, were compiled with */
} library;

/* Finds it, and in a build tree makes it if it is missing. 0, or, after it has complained, an exit
 * status. */
int library_find(library *lib, mode m);

#endif
