/* SPDX-License-Identifier: MIT */
/*
 * uring.h: io_uring's two rings, as far as one thread needs them that submits and completes.
 *
 * Only bl__uring_open and bl__uring_close may be called by others, before and after that thread.
 * liburing is not used: for one thread its part is two indices, and every program that is linked
 * with the static library would have to link it.
 */
#ifndef BL__OS_URING_H
#define BL__OS_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct bl__uring {
    int fd;
    uint32_t *sq_head; /* the kernel's to write */
    uint32_t *sq_tail; /* ours */
    uint32_t *cq_head; /* ours */
    uint32_t *cq_tail; /* the kernel's */
    uint32_t sq_mask;
    uint32_t cq_mask;
    void *sqes;
    const void *cqes;
    void *rings;
    size_t rings_size;
    size_t sqes_size;
} bl__uring;

/* 0, or a negative error: BL_ENOSYS where the kernel has no such io_uring. */
int bl__uring_open(bl__uring *u);
void bl__uring_close(bl__uring *u);

/* Queues a read of what iov says at that place of the file, to be submitted. iov has to stay until
 * then. Never when more than one is queued already. */
void bl__uring_read(bl__uring *u, int fd, const struct iovec *iov, uint32_t iovcnt, int64_t at,
                    uint64_t data);
/* Submits what is queued, and then (wait) waits until something is completed. What is not taken
 * stays queued. */
void bl__uring_enter(bl__uring *u, bool wait);
/* How many are queued still; and takes back the one queued last. */
uint32_t bl__uring_queued(const bl__uring *u);
void bl__uring_retract(bl__uring *u);
/* The next completed one. False: there is none. */
bool bl__uring_completed(bl__uring *u, uint64_t *data, int32_t *result);

#endif
