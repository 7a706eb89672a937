/* SPDX-License-Identifier: MIT */
/*
 * race_calls.c: calls of the program in the build for `-race` of which ThreadSanitizer knows nothing,
 * or the descriptors alone, and not the memory that they read and write: told of here. The linker
 * brings them here (--wrap, cmd/belay/build.c). Strings and numbers are in race_string.c.
 *
 * Where it depends on other arguments what a call reads, no more is told of than it reads in any
 * case. Left out are the names of files, wide characters, calls that have no end (ioctl, fcntl), and
 * what ThreadSanitizer itself calls, and would be told of while it begins, or reports: pipe, fstat,
 * getrlimit, getrusage.
 */
#include "arch/race.h"

#if BL__RACE

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>

/* A program may wrap it, too. */
#define WRAPPED(type, name, ...)                                                                   \
    type bl__real_##name(__VA_ARGS__) __asm__("__real_" #name) __attribute__((weak));              \
    __attribute__((weak, visibility("default")))                                                   \
    type bl__race_##name(__VA_ARGS__) __asm__("__wrap_" #name);                                    \
    type bl__race_##name(__VA_ARGS__)

/* r, and if it is no error, n bytes at p have been written. */
static int call_wrote(int r, void *p, size_t n)
{
    if (r >= 0 && p != NULL)
        bl__race_write(p, n);
    return r;
}

static void call_reads(const void *p, size_t n)
{
    if (p != NULL)
        bl__race_read(p, n);
}

/* ---- Bytes and strings ---- */

WRAPPED(int, strcoll, const char *a, const char *b)
{
    BL__RACE_FRAME();
    bl__race_read_string(a);
    bl__race_read_string(b);
    return bl__real_strcoll(a, b);
}

WRAPPED(void, swab, const void *from, void *to, ssize_t n)
{
    BL__RACE_FRAME();
    if (n > 1) {
        bl__race_read(from, (size_t)n & ~(size_t)1);
        bl__race_write(to, (size_t)n & ~(size_t)1);
    }
    bl__real_swab(from, to, n);
}

WRAPPED(void, explicit_bzero, void *p, size_t n)
{
    BL__RACE_FRAME();
    bl__race_write(p, n);
    bl__real_explicit_bzero(p, n);
}

/* What is behind a %s, and the format, that of ThreadSanitizer's own printfs reads. */
int bl__real_vsnprintf(char *to, size_t n, const char *format, va_list args);
WRAPPED(int, dprintf, int fd, const char *format, ...)
{
    BL__RACE_FRAME();
    va_list args;
    va_start(args, format);
    (void)bl__real_vsnprintf(NULL, 0, format, args);
    va_end(args);
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}

/* ---- Sockets ---- */

WRAPPED(int, inet_pton, int family, const char *text, void *to)
{
    BL__RACE_FRAME();
    bl__race_read_string(text);
    return bl__real_inet_pton(family, text, to);
}

WRAPPED(int, getaddrinfo, const char *node, const char *service, const struct addrinfo *hints,
        struct addrinfo **to)
{
    BL__RACE_FRAME();
    bl__race_read_string(node);
    bl__race_read_string(service);
    call_reads(hints, offsetof(struct addrinfo, ai_addrlen));
    int r = bl__real_getaddrinfo(node, service, hints, to);
    return r != 0 ? r : call_wrote(r, to, sizeof *to);
}

WRAPPED(int, bind, int fd, const struct sockaddr *at, socklen_t n)
{
    BL__RACE_FRAME();
    call_reads(at, n);
    return bl__real_bind(fd, at, n);
}

WRAPPED(int, connect, int fd, const struct sockaddr *at, socklen_t n)
{
    BL__RACE_FRAME();
    call_reads(at, n);
    return bl__real_connect(fd, at, n);
}

WRAPPED(int, setsockopt, int fd, int level, int name, const void *value, socklen_t n)
{
    BL__RACE_FRAME();
    call_reads(value, n);
    return bl__real_setsockopt(fd, level, name, value, n);
}

WRAPPED(int, socketpair, int family, int type, int protocol, int *ends)
{
    BL__RACE_FRAME();
    return call_wrote(bl__real_socketpair(family, type, protocol, ends), ends, 2 * sizeof *ends);
}

/* ---- Descriptors ---- */

WRAPPED(int, pipe2, int *ends, int flags)
{
    BL__RACE_FRAME();
    return call_wrote(bl__real_pipe2(ends, flags), ends, 2 * sizeof *ends);
}

WRAPPED(int, epoll_ctl, int ep, int op, int fd, struct epoll_event *e)
{
    BL__RACE_FRAME();
    if (op != EPOLL_CTL_DEL)
        call_reads(e, sizeof *e);
    return bl__real_epoll_ctl(ep, op, fd, e);
}

WRAPPED(int, epoll_wait, int ep, struct epoll_event *e, int most, int timeout)
{
    BL__RACE_FRAME();
    int n = bl__real_epoll_wait(ep, e, most, timeout);
    return n <= 0 ? n : call_wrote(n, e, (size_t)n * sizeof *e);
}

WRAPPED(int, select, int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
    BL__RACE_FRAME();
    fd_set *const sets[] = {in, out, except};
    /* Of an n above what is in a set the kernel reads what the process may have open. */
    size_t most = n <= 0 ? 0 : n < FD_SETSIZE ? (size_t)n : FD_SETSIZE;
    size_t size = (most + NFDBITS - 1) / NFDBITS * sizeof(fd_mask);
    for (int i = 0; i < 3; i++)
        call_reads(sets[i], size);
    int r = bl__real_select(n, in, out, except, timeout);
    for (int i = 0; i < 3; i++)
        (void)call_wrote(r, sets[i], size);
    return r;
}

/* ---- The rest ---- */

WRAPPED(int, gethostname, char *to, size_t most)
{
    BL__RACE_FRAME();
    int r = bl__real_gethostname(to, most);
    return r < 0 ? r : call_wrote(r, to, strnlen(to, most - 1) + 1);
}

WRAPPED(int, getentropy, void *to, size_t n)
{
    BL__RACE_FRAME();
    return call_wrote(bl__real_getentropy(to, n), to, n);
}

#else
typedef int bl__race_calls_is_off; /* a file is not empty */
#endif
