/* SPDX-License-Identifier: MIT */
/* directive.h: what a source file says itself about how it is built. */
#ifndef BELAY_CMD_DIRECTIVE_H
#define BELAY_CMD_DIRECTIVE_H

#include "util.h"

typedef struct directives {
    words cflags;  /* //belay:cflags -I/usr/include/postgresql */
    words libs;    /* //belay:libs pq: -lpq; a word that begins with - is passed on as it is */
    words sources; /* //belay:sources queue.c ../util.c: as paths from belay's directory */
} directives;

/* Adds those of the file; one that is no .c file has none. 0, or, after it has complained,
 * EXIT_USAGE. */
int directives_read(directives *d, const char *file);

#endif
