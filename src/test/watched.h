/* SPDX-License-Identifier: MIT */
/*
 * watched.h: what the supervisor knows of the tests and subtests that have begun, until the test
 * that they belong to is over. A worker that is forked later has a copy: subtests that have ended
 * before it, of a test that is run again, are not run again; bl_subtest takes their results from
 * there.
 */
#ifndef BL__TEST_WATCHED_H
#define BL__TEST_WATCHED_H

#include "test/test.h"

typedef struct bl__watched {
    struct bl__watched *next; /* in the order in which they began */
    char *name;
    int item;
    int ended;    /* 0, or its BL__ITEM_… */
    bool running; /* in the worker that there is; else it has ended, or is to be run again */
    bool paused;
    bool parallel;
    bool fault; /* a worker has died, and it is to blame; of a subtest: one of those before */
    bool met;   /* it has ended in a worker before this one, and was asked for again */
    bl_time began;
    bl_dur limit; /* 0: none */
    bl_dur took;  /* when it has ended */
    bl__text log;
    bl__text before; /* what it had logged in a worker that died */
    size_t again;    /* the worker's: of which it has logged so much once more */
    char *tempdir;   /* bl_tempdir's, until it has ended; NULL: none */
} bl__watched;

extern bl__watched *bl__watched_first;

bl__watched *bl__watched_find(int item, const char *name);
/* That one; made, if there is none. */
bl__watched *bl__watched_get(int item, const char *name);
/* Forgets the item's, or all (-1). */
void bl__watched_drop(int item);
/* The worker is gone: its directories go, too. */
void bl__watched_sweep(void);
/* What has not ended is to begin again. */
void bl__watched_rewind(void);

/* It has ended in a worker before, with its subtests, and was asked for again. */
void bl__watched_meet(bl__watched *w);

/* It is a subtest. */
bool bl__watched_sub(const bl__watched *w);
/* w is of, a subtest at any depth. */
bool bl__watched_below(const bl__watched *w, const bl__watched *of);
/* It runs, and none of its subtests does. */
bool bl__watched_leaf(const bl__watched *w);

/* "--- FAIL: name (0.00s)", and what it has logged unless that is printed already. */
void bl__watched_line(bl__text *b, const bl__watched *w);
/* The same, and indented its subtests: with -v all, else those that have failed. */
void bl__watched_put(bl__text *b, const bl__watched *w);

#endif
