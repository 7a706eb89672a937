/* SPDX-License-Identifier: MIT */
/*
 * block.h: the calls that hold up a thread in stall.c and, by cgo, in vs/go/stall.go: plain libc,
 * for about BLOCK_MS each. Whoever is to end the call is a plain thread.
 *
 *     block_start();                     once, before the others
 *     block_prepare(BLOCK_READ);         tells the plain thread; does not block
 *     while (!block_ready()) …           until there is something to block on
 *     block_call(BLOCK_READ);            blocks; how long it took, in ns
 */
#ifndef BENCH_BLOCK_H
#define BENCH_BLOCK_H

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_MS = 20 };

enum {
    BLOCK_USLEEP, /* usleep */
    BLOCK_READ,   /* read of an empty pipe, which the thread writes to */
    BLOCK_LOOKUP, /* getaddrinfo, of a name server on loopback that takes its time */
    BLOCK_MUTEX,  /* pthread_mutex_lock of a mutex that the thread holds */
};

static struct {
    sem_t asked;
    int kind;   /* of the call that was asked for; before asked is posted */
    bool ready; /* atomic */
    int pipe[2];
    int server; /* a UDP socket */
    in_port_t port;
    pthread_mutex_t mutex;
} block;

static inline void block_need(bool ok)
{
    if (!ok)
        abort();
}

static inline void *block_helper(void *arg)
{
    (void)arg;
    for (;;) {
        while (sem_wait(&block.asked) != 0)
            ;
        const bool mutex = block.kind == BLOCK_MUTEX;
        if (mutex)
            pthread_mutex_lock(&block.mutex);
        __atomic_store_n(&block.ready, true, __ATOMIC_RELEASE);
        usleep(BLOCK_MS * 1000);
        if (mutex)
            pthread_mutex_unlock(&block.mutex);
        else
            block_need(write(block.pipe[1], "", 1) == 1);
    }
    return NULL;
}

/* Answers each question, when time has passed, that there is no such name. */
static inline void *block_name_server(void *arg)
{
    (void)arg;
    for (;;) {
        unsigned char message[512];
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        ssize_t n =
            recvfrom(block.server, message, sizeof message, 0, (struct sockaddr *)&from, &size);
        if (n < 4)
            continue;
        usleep(BLOCK_MS * 1000);
        message[2] |= 0x80; /* a response */
        message[3] = 0x83;  /* recursion available; no such name */
        sendto(block.server, message, (size_t)n, 0, (struct sockaddr *)&from, size);
    }
    return NULL;
}

static inline void block_start(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    pthread_t t;
    block_need(sem_init(&block.asked, 0, 0) == 0 && pipe(block.pipe) == 0 &&
               pthread_mutex_init(&block.mutex, NULL) == 0);
    block.server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    block_need(block.server >= 0 && bind(block.server, (struct sockaddr *)&a, sizeof a) == 0 &&
               getsockname(block.server, (struct sockaddr *)&a, &size) == 0);
    block.port = a.sin_port;
    block_need(pthread_create(&t, NULL, block_helper, NULL) == 0 && pthread_detach(t) == 0);
    block_need(pthread_create(&t, NULL, block_name_server, NULL) == 0 && pthread_detach(t) == 0);
}

/* The resolver's settings belong to a thread, and a goroutine can be on another one each time. */
static __attribute__((noinline, unused)) void block_lookup(void)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (_res.nscount != 1 || _res.nsaddr_list[0].sin_port != block.port) {
        block_need(res_init() == 0);
        _res.nscount = 1;
        _res.nsaddr_list[0] = (struct sockaddr_in){.sin_family = AF_INET,
                                                   .sin_port = block.port,
                                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    }
    block_need(getaddrinfo("belay.invalid.", NULL, &hints, &found) != 0);
}

static inline void block_prepare(int kind)
{
    const bool helper = kind == BLOCK_READ || kind == BLOCK_MUTEX;
    block.kind = kind;
    __atomic_store_n(&block.ready, !helper, __ATOMIC_RELEASE);
    if (helper)
        sem_post(&block.asked);
}

static inline bool block_ready(void) { return __atomic_load_n(&block.ready, __ATOMIC_ACQUIRE); }

static inline int64_t block_call(int kind)
{
    struct timespec start;
    struct timespec end;
    char byte;
    clock_gettime(CLOCK_MONOTONIC, &start);
    switch (kind) {
    case BLOCK_USLEEP: usleep(BLOCK_MS * 1000); break;
    case BLOCK_READ: block_need(read(block.pipe[0], &byte, 1) == 1); break;
    case BLOCK_LOOKUP: block_lookup(); break;
    default:
        pthread_mutex_lock(&block.mutex);
        pthread_mutex_unlock(&block.mutex);
        break;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - start.tv_sec) * INT64_C(1000000000) + (end.tv_nsec - start.tv_nsec);
}

#endif
