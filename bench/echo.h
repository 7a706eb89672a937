/* SPDX-License-Identifier: MIT */
/*
 * echo.h: what the echo servers in C share. A server listens on 127.0.0.1 at a port that the kernel
 * chooses, prints it as its first line, sends back what it reads, and ends when its standard input
 * does. bench/echo_load.c starts it and measures; vs/go/echo.go is the same in Go.
 */
#ifndef BENCH_ECHO_H
#define BENCH_ECHO_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "bench.h"

enum { ECHO_MESSAGE = 64, ECHO_BUFFER = 4096, ECHO_BACKLOG = 4096 };

/* Returns the listening socket, non-blocking. What it accepts has inherited TCP_NODELAY, which Go
 * sets too. */
static inline int echo_listen(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bench_check(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
                    bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
                    listen(fd, ECHO_BACKLOG) == 0 &&
                    getsockname(fd, (struct sockaddr *)&a, &size) == 0,
                "a server can listen on 127.0.0.1");
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

#endif
