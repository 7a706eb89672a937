/* SPDX-License-Identifier: MIT */
#include "os/uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/atomic.h"
#include "os/os.h"

enum { SUBMISSIONS = 2, COMPLETIONS = 256 };

/* One mapping for both rings, completions that find no room are kept, iovecs are copied at
 * submission: 5.5. */
#define FEATURES (IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE)

static int uring_map(bl__uring *u, const struct io_uring_params *p)
{
    size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
    size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    u->rings_size = sq > cq ? sq : cq;
    u->sqes_size = p->sq_entries * sizeof(struct io_uring_sqe);
    u->rings = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
                    IORING_OFF_SQ_RING);
    if (u->rings == MAP_FAILED)
        return -ENOMEM;
    u->sqes = mmap(NULL, u->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
                   IORING_OFF_SQES);
    if (u->sqes == MAP_FAILED) {
        munmap(u->rings, u->rings_size);
        return -ENOMEM;
    }
    return 0;
}

int bl__uring_open(bl__uring *u)
{
    struct io_uring_params p = {.flags = IORING_SETUP_CQSIZE, .cq_entries = COMPLETIONS};
    u->fd = bl__fd_own((int)syscall(SYS_io_uring_setup, SUBMISSIONS, &p));
    if (u->fd < 0)
        return -ENOSYS; /* or it is forbidden, or not of this size: to the caller that is the same */
    int err = (p.features & FEATURES) == FEATURES ? uring_map(u, &p) : -ENOSYS;
    if (err < 0) {
        close(u->fd);
        return err;
    }
    char *rings = u->rings;
    u->sq_head = (uint32_t *)(void *)(rings + p.sq_off.head);
    u->sq_tail = (uint32_t *)(void *)(rings + p.sq_off.tail);
    u->sq_mask = p.sq_entries - 1;
    u->cq_head = (uint32_t *)(void *)(rings + p.cq_off.head);
    u->cq_tail = (uint32_t *)(void *)(rings + p.cq_off.tail);
    u->cq_mask = p.cq_entries - 1;
    u->cqes = rings + p.cq_off.cqes;
    uint32_t *array = (uint32_t *)(void *)(rings + p.sq_off.array);
    for (uint32_t i = 0; i < p.sq_entries; i++)
        array[i] = i;
    return 0;
}

void bl__uring_close(bl__uring *u)
{
    munmap(u->sqes, u->sqes_size);
    munmap(u->rings, u->rings_size);
    close(u->fd);
}

void bl__uring_read(bl__uring *u, int fd, const struct iovec *iov, uint32_t iovcnt, int64_t at,
                    uint64_t data)
{
    uint32_t tail = load_relaxed(u->sq_tail);
    struct io_uring_sqe *e = (struct io_uring_sqe *)u->sqes + (tail & u->sq_mask);
    memset(e, 0, sizeof *e);
    e->opcode = IORING_OP_READV;
    e->fd = fd;
    e->off = (uint64_t)at;
    e->addr = (uint64_t)(uintptr_t)iov;
    e->len = iovcnt;
    e->user_data = data;
    store_release(u->sq_tail, tail + 1); /* ORD(uring): the kernel's load of it */
}

uint32_t bl__uring_queued(const bl__uring *u)
{
    return load_relaxed(u->sq_tail) - load_acquire(u->sq_head); /* ORD(uring): the kernel's store */
}

void bl__uring_retract(bl__uring *u) { store_relaxed(u->sq_tail, load_relaxed(u->sq_tail) - 1); }

void bl__uring_enter(bl__uring *u, bool wait)
{
    (void)syscall(SYS_io_uring_enter, u->fd, bl__uring_queued(u), wait ? 1 : 0,
                  wait ? IORING_ENTER_GETEVENTS : 0, NULL, (size_t)0);
}

bool bl__uring_completed(bl__uring *u, uint64_t *data, int32_t *result)
{
    uint32_t head = load_relaxed(u->cq_head);
    if (head == load_acquire(u->cq_tail)) /* ORD(uring): the kernel's store */
        return false;
    const struct io_uring_cqe *e = (const struct io_uring_cqe *)u->cqes + (head & u->cq_mask);
    *data = e->user_data;
    *result = e->res;
    store_release(u->cq_head, head + 1); /* ORD(uring): the kernel's load of it */
    return true;
}
