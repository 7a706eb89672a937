/* SPDX-License-Identifier: MIT */
/* echo.c: the echo server as one thread with an epoll loop, written by hand. See bench/echo.h. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench.h"
#include "echo.h"

enum { EVENTS = 256 };

static void watch(int poll, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    bench_check(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) == 0, "a descriptor can be watched");
}

static void accept_all(int poll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(poll, fd);
    bench_check(errno == EAGAIN, "a connection can be accepted");
}

static void serve(int fd)
{
    char buffer[ECHO_BUFFER];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0)
        bench_check(write(fd, buffer, (size_t)n) == n, "a short message is written whole");
    else if (n == 0 || errno != EAGAIN)
        close(fd);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    bench_check(poll >= 0, "there is epoll");
    const int listener = echo_listen();
    watch(poll, listener);
    watch(poll, STDIN_FILENO);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poll, events, EVENTS, -1);
        bench_check(n >= 0 || errno == EINTR, "epoll works");
        for (int i = 0; i < n; i++) {
            const int fd = events[i].data.fd;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener)
                accept_all(poll, listener);
            else
                serve(fd);
        }
    }
}
