/* SPDX-License-Identifier: MIT */
/* view.h: what `belay top` shows of one reading: rows in order, and what looks wrong. */
#ifndef BELAY_CMD_VIEW_H
#define BELAY_CMD_VIEW_H

#include "source.h"

#include <stdio.h>

typedef enum view_sort { SORT_SINCE, SORT_SWITCHES, SORT_STACK, SORT_STATE, SORT_ID } view_sort;
extern const char *const view_sort_names[]; /* NULL behind the last */

typedef struct view {
    source *from;
    view_sort sort;
    char filter[64]; /* shown is what has this in its row; empty: all */
    reading all;
    size_t *rows; /* of all.at, in the order to show */
    size_t rows_len;
} view;

/* Reads the program anew. False: it is gone. */
bool view_read(view *v);
void view_close(view *v);

/* Prints the head, the warnings, and rows from first, all within lines of columns (0: without end);
 * selected is marked. end is written behind each line. */
void view_print(view *v, FILE *to, size_t first, size_t lines, size_t columns, size_t selected,
                const char *end);

#endif
