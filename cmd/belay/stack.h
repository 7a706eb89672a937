/* SPDX-License-Identifier: MIT */
/*
 * stack.h: the stacks of another process's goroutines, with names and lines, by elfutils' libdw. Built
 * without it there are none, and everything else is the same.
 */
#ifndef BELAY_CMD_STACK_H
#define BELAY_CMD_STACK_H

#include "goroutine.h"

enum { FRAMES_MOST = 256 };

typedef struct frame {
    char *func;
    char *place;   /* "file:line", or the module; NULL: not known */
    bool runtime;  /* one of belay's own */
    char layer[8]; /* of those: the folder of the library's sources; "": not known */
} frame;

typedef struct frames {
    frame at[FRAMES_MOST];
    size_t len;
    size_t from, to; /* without the runtime at both ends; the same: there are none */
} frames;

typedef struct stacks stacks;

/* NULL: names cannot be had. The process's files are looked at once. */
stacks *stacks_open(const target *t);
void stacks_close(stacks *s);

/* The stack of a goroutine that is switched off. False: it runs, or ran meanwhile, or it cannot be had.
 * frames_free afterwards if true. */
bool stacks_walk(stacks *s, const goroutine *g, frames *f);
void frames_free(frames *f);

/* A place in fresh memory, "file:line", as the compiler was given the file: by the whole name, if debug
 * information has one such file. */
void stacks_complete(stacks *s, char **place);

/* The function at an address, in fresh memory: what a goroutine was started with. */
char *stacks_function(stacks *s, uint64_t pc);

#endif
