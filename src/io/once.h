/* SPDX-License-Identifier: MIT */
/*
 * once.h: a system call, made once.
 *
 * Each stands in a function of its own that is not inlined and returns the negated errno: a
 * goroutine can resume on another thread, and compilers keep the address of errno.
 */
#ifndef BL__IO_ONCE_H
#define BL__IO_ONCE_H

#include <errno.h>
#include <sys/types.h>

#define ONCE static __attribute__((noinline)) ssize_t

#define CALL(r, expr)                                                                              \
    do {                                                                                           \
        (r) = (expr);                                                                              \
    } while ((r) < 0 && errno == EINTR);                                                           \
    (r) = (r) < 0 ? -errno : (r)

#endif
