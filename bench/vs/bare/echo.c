/* SPDX-License-Identifier: MIT */
/*
 * echo.c: the echo server as an epoll loop with a stack a connection and nothing else: who has read
 * and written goes back to the loop, and the loop to whom an event names. No scheduler, no deadlines,
 * no cancellation, and a descriptor that is closed by another is used nevertheless. It says what the
 * stacks alone cost. A second thread sleeps, as belay's does that watches the others: the kernel
 * counts who uses a descriptor in a process that has two. The switch is belay's. See bench/echo.h.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/switch.h"
#include "bench.h"
#include "echo.h"

enum {
    EVENTS = 256,
    MOST = 2048,
    STACK = 64 << 10,
    SLOT = STACK + 5 * 4096,
    COLOURS = 16,
    LINE = 64
};

typedef struct connection {
    int fd;
    void *at;
} connection;

static void *loop;
static connection *running;
static connection *all[MOST]; /* by descriptor */
static char *slots;

static void resume(connection *c)
{
    running = c;
    bl__switch(&loop, c->at);
}

/* recv and send are what a read and a write of a socket come down to, and do not look at O_NONBLOCK.
 * What is short has emptied the socket: the next event says that there is more. */
void bl__goroutine_main(void)
{
    connection *c = running;
    char buffer[ECHO_BUFFER];
    ssize_t n;
    do {
        bl__switch(&c->at, loop); /* until there is an event */
        n = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n > 0)
            bench_check(send(c->fd, buffer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) == n,
                        "a short message is written whole");
    } while (n > 0 || (n < 0 && errno == EAGAIN));
    all[c->fd] = NULL;
    close(c->fd);
    bl__switch_leave(loop);
}

/* The connection lies at the top of its stack, at another distance in the next. */
static void connection_begin(int fd)
{
    bench_check(fd < MOST, "there is a stack for each connection");
    uintptr_t at = (uintptr_t)slots + (size_t)(fd + 1) * SLOT - (size_t)(fd % COLOURS + 1) * LINE;
    connection *c = (connection *)at;
    c->fd = fd;
    all[fd] = running = c;
    bl__switch_begin(&loop, c);
}

static void watch(int poll, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    bench_check(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) == 0, "a descriptor can be watched");
}

static void accept_all(int poll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        connection_begin(fd);
        watch(poll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
    bench_check(errno == EAGAIN, "a connection can be accepted");
}

static void *sleep_on(void *arg)
{
    for (;;)
        pause();
    return arg;
}

int main(void)
{
    pthread_t sleeper;
    signal(SIGPIPE, SIG_IGN);
    slots = mmap(NULL, (size_t)MOST * SLOT, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench_check(slots != MAP_FAILED, "there is memory for the stacks");
    madvise(slots, (size_t)MOST * SLOT, MADV_NOHUGEPAGE);
    bench_check(pthread_create(&sleeper, NULL, sleep_on, NULL) == 0, "a thread starts");
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    bench_check(poll >= 0, "there is epoll");
    const int listener = echo_listen();
    watch(poll, listener, EPOLLIN);
    watch(poll, STDIN_FILENO, EPOLLIN);
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
            else if (all[fd] != NULL)
                resume(all[fd]);
        }
    }
}
