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

/* Copies n bytes at from to to; false: they are not all readable. Takes no lock. */
bool bl__peek(void *to, const void *from, size_t n);

/* The same of count <= BL__PEEKS places at once, each of n bytes, into an array; which were readable. */
enum { BL__PEEKS = 64 };
void bl__peek_each(void *to, const void *const *from, size_t n, size_t count, bool *ok);

/* Copies the text at from, cut off at room - 1 bytes. False: it is not readable, and to is not set. */
bool bl__peek_text(char *to, size_t room, const char *from);

#endif
