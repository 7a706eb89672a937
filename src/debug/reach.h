/* SPDX-License-Identifier: MIT */
/*
 * reach.h: what can be got at from where: a conservative look through the memory of the process.
 *
 * Asked of a set of goroutines that may never go on: can anybody else get at what they wait on? The
 * answer errs on the side of yes. Whatever looks like an address is one; memory of which nothing is
 * known (globals, mappings, threads' stacks) is open to everybody.
 *
 * Items are the pieces of memory that matter: the stacks of the set, the blocks of malloc that hold
 * the objects they wait on, and every block from which another item can be got at. They and the
 * addresses in them are a graph, which is small although the memory is large: it is built
 * backwards, from the objects, one pass through malloc's memory for each level, until no new block
 * turns up.
 *
 * malloc's blocks are found by the sizes that glibc keeps before them. What does not come out
 * consistent is open to everybody. The runtime's own records are left out: they point at all that
 * waits, and wake nobody by themselves.
 */
#ifndef BL__DEBUG_REACH_H
#define BL__DEBUG_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl__reach bl__reach;

enum { BL__REACH_OPEN = UINT32_MAX }; /* instead of an item: everybody gets at it */

/* Room for so many stacks and objects, with extra bytes for the caller's own use, all in one
 * mapping. NULL: no memory. */
bl__reach *bl__reach_new(size_t stacks, size_t objects, size_t extra, void **extra_at);
void bl__reach_free(bl__reach *r);

/* Reads where memory is. Before all that follows. False: it cannot be told. closely: also what is
 * seldom found there: addresses that begin at any byte, as in packed records, what the C library
 * keeps for the program, and what has no access for now. */
bool bl__reach_begin(bl__reach *r, bool closely);
/* What stands in [low, high) is the runtime's: of an object, who waits on it. */
void bl__reach_skip(bl__reach *r, const void *low, const void *high);

/* [low, high), the stack of a plain thread of the set, is not open to everybody. False: it is, since
 * it is not a piece of a mapping that is no heap of malloc's. */
bool bl__reach_private(bl__reach *r, const void *low, const void *high);
/* A stack of the set, of which [low, high) is in use: its item. What leads from there to up to end
 * leads to nothing else, and that is no more than 4 GiB. With high == low nothing leads there, and
 * what is in use goes on to end. sure: it can be read, for certain. */
uint32_t bl__reach_stack(bl__reach *r, const void *low, const void *high, const void *end,
                         bool sure);
/* An object that somebody waits on: its number. */
uint32_t bl__reach_object(bl__reach *r, const void *at);
/* Memory of those who run, beside what everybody gets at; and an address that they have. */
void bl__reach_root(bl__reach *r, const void *low, const void *high, bool sure);
void bl__reach_value(bl__reach *r, const void *value);
/* How many such addresses there are; takes one of them away again. */
uint32_t bl__reach_values(const bl__reach *r);
const void *bl__reach_value_take(bl__reach *r, uint32_t i);

/* Builds the graph, reading at most limit bytes. False: it was too much. */
bool bl__reach_solve(bl__reach *r, size_t limit);

/* After that: the item that the object lies in, or BL__REACH_OPEN. */
uint32_t bl__reach_item(const bl__reach *r, uint32_t object);
/* Somebody gets at the item first, and at what it leads to. */
void bl__reach_mark(bl__reach *r, uint32_t first);
/* The same of the item that an address is in, if there is one. True: it was not marked yet. */
bool bl__reach_mark_value(bl__reach *r, uintptr_t value);
bool bl__reach_marked(const bl__reach *r, uint32_t item);

#endif
