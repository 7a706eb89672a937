/* SPDX-License-Identifier: MIT */
/* pairs.h: for tests of descriptors: pairs of them that are connected, and calls that wait for
 * one. */
#ifndef BL_TEST_PAIRS_H
#define BL_TEST_PAIRS_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"

static bl_test *const t; /* the test that the caller is of */

#define LATE (30 * BL_SEC) /* a deadline that does not come in a test that passes */

/* ---- Pairs of descriptors -------------------------------------------------------------------- */

typedef struct pair {
    int a, b; /* b reads what is written to a */
} pair;

static inline pair pipe_pair(void)
{
    int fd[2] = {-1, -1};
    BL_CHECK_EQ(t, pipe2(fd, O_CLOEXEC), 0);
    return (pair){fd[1], fd[0]};
}

static inline pair unix_pair(void)
{
    int fd[2] = {-1, -1};
    BL_CHECK_EQ(t, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    return (pair){fd[0], fd[1]};
}

static inline pair pty_pair(void)
{
    int a = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64] = "";
    BL_CHECK(t, a >= 0 && grantpt(a) == 0 && unlockpt(a) == 0);
    BL_CHECK_EQ(t, ptsname_r(a, name, sizeof name), 0);
    return (pair){a, open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)};
}

static inline struct sockaddr_in loopback(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int tcp_listen(struct sockaddr_in *at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof *at;
    *at = loopback();
    BL_CHECK_EQ(t, bind(fd, (struct sockaddr *)at, len), 0);
    BL_CHECK_EQ(t, listen(fd, 1024), 0);
    BL_CHECK_EQ(t, getsockname(fd, (struct sockaddr *)at, &len), 0);
    return fd;
}

static inline pair tcp_pair(void)
{
    struct sockaddr_in at;
    int listener = tcp_listen(&at);
    int a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BL_CHECK_EQ(t, bl_connect(a, (struct sockaddr *)&at, sizeof at), 0);
    int b = bl_accept(listener, NULL, NULL);
    BL_CHECK_GE(t, b, 0);
    BL_CHECK_EQ(t, bl_close(listener), 0);
    return (pair){a, b};
}

static inline pair udp_pair(void)
{
    pair p;
    struct sockaddr_in at = loopback();
    socklen_t len = sizeof at;
    p.b = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    BL_CHECK_EQ(t, bind(p.b, (struct sockaddr *)&at, len), 0);
    BL_CHECK_EQ(t, getsockname(p.b, (struct sockaddr *)&at, &len), 0);
    p.a = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    BL_CHECK_EQ(t, bl_connect(p.a, (struct sockaddr *)&at, len), 0);
    return p;
}

typedef pair (*pair_fn)(void);

static const pair_fn all_kinds[] = {pipe_pair, unix_pair, tcp_pair, udp_pair, pty_pair};
static const pair_fn streams[] = {pipe_pair, unix_pair, tcp_pair};

/* NOLINTBEGIN(bugprone-macro-parentheses): p is declared */
#define EACH(kinds, p)                                                                             \
    for (size_t kind_ = 0; kind_ < sizeof(kinds) / sizeof *(kinds); kind_++)                       \
        for (pair p = (kinds)[kind_](); p.a >= 0; pair_close(&p))
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void pair_close(pair *p)
{
    BL_CHECK_EQ(t, bl_close(p->a), 0);
    BL_CHECK_EQ(t, bl_close(p->b), 0);
    p->a = -1;
}

/* ---- Calls, of which obj is the descriptor ----------------------------------------------------- */

static inline int call_read(call *c)
{
    char byte;
    return (int)bl_read_until(*(int *)c->obj, &byte, 1, c->deadline);
}

static inline int call_write(call *c)
{
    static const char data[1 << 16];
    ssize_t r;
    while ((r = bl_write_until(*(int *)c->obj, data, sizeof data, c->deadline)) > 0)
        continue;
    return (int)r;
}

#endif
