/* SPDX-License-Identifier: MIT */
/*
 * peek.h: reading memory that may not be there.
 *
 * Reports look at goroutines and objects that are not theirs and may be gone by the time they are
 * read. The kernel copies the bytes and says so when it cannot.
 */
#ifndef BL__DEBUG_PEEK_H
#define BL__DEBUG_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies n bytes at from to to; false: they are not all readable. Takes no lock. */
bool bl__peek(void *to, const void *from, size_t n);

/* The same of many places that mostly lie near each other: out of the pages that were read last.
 * Starts as {0}; n is at most a page. What it copies may be as old as the first call. */
typedef struct bl__peek_pages {
    uintptr_t low, high;
    char copy[2 * 4096];
} bl__peek_pages;
bool bl__peek_near(bl__peek_pages *pages, void *to, const void *from, size_t n);

/* Copies the text at from, cut off at room - 1 bytes. False: it is not readable, and to is not
 * set. */
bool bl__peek_text(char *to, size_t room, const char *from);

#endif
