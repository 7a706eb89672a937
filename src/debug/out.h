/* SPDX-License-Identifier: MIT */
/*
 * out.h: printing for reports: to a descriptor, through a small buffer of the caller's, with
 * neither malloc nor stdio, so also in a signal handler and in a program that is falling apart.
 */
#ifndef BL__DEBUG_OUT_H
#define BL__DEBUG_OUT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL__OUT_SIZE = 2048 };

typedef struct bl__out {
    int fd;
    uint32_t len; /* bytes in buf */
    char buf[BL__OUT_SIZE];
} bl__out;

void bl__out_init(bl__out *o, int fd);

/* printf's %s %c %d %i %u %x %X %p %%, with the lengths l, ll, z, j, t, the flags - and 0, a width,
 * and a precision for %s, each also as *. A NULL string is "(null)". Nothing else. "%s:%d" is a
 * place in a source file, whose name is spelled as in other places (source.h). */
void bl__out_printf(bl__out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bl__out_vprintf(bl__out *o, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

void bl__out_bytes(bl__out *o, const char *s, size_t n);

/* s in double quotes, on one line: quotes, backslashes and control characters escaped (Go: %q). */
void bl__out_quoted(bl__out *o, const char *s);

/* A byte count as people write it: "64 KiB", "8 MiB", "100 bytes". */
void bl__out_size(bl__out *o, size_t bytes);

/* Writes out what is buffered; errno is as before. */
void bl__out_flush(bl__out *o);

#endif
