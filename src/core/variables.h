/* SPDX-License-Identifier: MIT */
/* variables.h: the environment variables there are; for the command too. */
#ifndef BL__CORE_VARIABLES_H
#define BL__CORE_VARIABLES_H

#include <stddef.h>

/* Has say told of each variable that was probably meant to be one of ours, once a process; NULL: it
 * is told of elsewhere. */
void bl__variables_check(void (*say)(const char *format, ...));

/* Edits (a letter put in, left out, changed, or swapped with the next) from a to b; both short. */
size_t bl__edits(const char *a, const char *b);

#endif
