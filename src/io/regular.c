/* SPDX-License-Identifier: MIT */
/*
 * regular.c: calls on regular files with BELAY_IO=uring or threads.
 *
 * By default these are the plain calls, and one that waits for the disk costs a hand-off. Here a
 * read takes what is in memory (RWF_NOWAIT), at the file's position and in one call where all of it
 * is there. What is not is brought in first, by an io_uring or on a thread of bl_blocking, while
 * the goroutine is parked; and then taken in the same way. Wherever neither can be, the plain call
 * is.
 *
 * A read that takes what there is, waits and takes the rest is several system calls, between which
 * another's would get what lies in the middle. So the reads of a descriptor have their turns, in
 * order. (One of another descriptor for the same open file, of dup(2) or another process, has not.)
 *
 * Writes go to memory, which takes no wait worth the trouble; only those that are to be on the disk
 * when they return (O_SYNC, O_DSYNC) are made on a thread of bl_blocking, and whatever has no
 * memory in between (O_DIRECT).
 */
#include "io/regular.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/proc.h"
#include "io/once.h"
#include "os/os.h"
#include "sync/object.h"

enum { PARTS = 16 };

bool bl__regular_waits(const bl__g *g)
{
    return bl__rt.io != BL__IO_HANDOFF && g->task.kind != BL__TASK_THREAD;
}

/* ---- System calls ---- */

ONCE file_take(int fd, const struct iovec *iov, int iovcnt, int flags)
{
    ssize_t r;
    CALL(r, preadv2(fd, iov, iovcnt, -1, flags));
    return r;
}

/* How much there is behind the file's position, *at. */
ONCE file_left(int fd, off_t *at)
{
    struct stat st;
    *at = lseek(fd, 0, SEEK_CUR);
    if (*at < 0 || bl__fd_stat(fd, &st) < 0)
        return -errno;
    return *at < st.st_size ? st.st_size - *at : 0;
}

/* Is any of these set? */
ONCE file_has(int fd, int flags)
{
    int all = fcntl(fd, F_GETFL);
    return all >= 0 && (all & flags);
}

/* ---- Turns ---- */

/* Lock held: the number of the run, with which turns that the one before has left are no more. */
static uint32_t turn_mark(void) { return bl__rt.run + 1; }

/* Waits until no other reads f. 0, or as bl__fd_park. */
static int turn_take(bl__fd *f, uint32_t use, bl_time deadline)
{
    bl__g *g = bl__self();
    for (;;) {
        bl__waiter w;
        bl__lock(&f->lock, BL__RANK_FD);
        if (f->use != use || f->side[0].turn != turn_mark()) {
            bool closed = f->use != use;
            if (!closed)
                f->side[0].turn = turn_mark();
            bl__unlock(&f->lock);
            return closed ? BL_ECLOSED : 0;
        }
        bl__waiter_init(&w, g);
        bl__waitq_push_back(&f->side[0].queue, &w);
        add_relaxed(&bl__rt.file_waiters, 1u);
        int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_IO,
                                        .cancellable = true,
                                        .obj = f,
                                        .lock = &f->lock,
                                        .deadline = deadline});
        add_relaxed(&bl__rt.file_waiters, (uint32_t)-1);
        if (r > 0)
            return 0;
        bl__lock(&f->lock, BL__RANK_FD);
        if (bl__waiter_linked(&w))
            bl__waitq_remove(&f->side[0].queue, &w);
        bl__unlock(&f->lock);
        if (r < 0)
            return r;
    }
}

/* To who waits for it, so that nobody else comes in between. */
static void turn_give(bl__fd *f)
{
    bl__lock(&f->lock, BL__RANK_FD);
    bl__waiter *next = bl__waitq_claim_front(&f->side[0].queue);
    if (next == NULL)
        f->side[0].turn = 0;
    bl__unlock(&f->lock);
    if (next != NULL)
        bl__ready(next->g, 1);
}

/* ---- On a thread ---- */

/* A call on a thread of bl_blocking, in the frame of who waits for it. */
typedef struct file_call {
    bl__fd *f;
    uint32_t use;
    const struct iovec *iov;
    int iovcnt;
    off_t at;
    ssize_t result;
} file_call;

/* The call, c, by fn on a thread of bl_blocking; what it returned, or, stopped before it began, as
 * bl_blocking. */
static ssize_t file_by_thread(file_call *c, bl_fn fn, bl_time deadline)
{
    int r = bl__blocking(fn, c, c->f, deadline);
    if (r == BL_EAGAIN || r == BL_ENOMEM) /* no thread for it */
        (void)fn(c);
    else if (r < 0)
        return r;
    return c->result;
}

/* Closed meanwhile, the number may be another's by now. */
static bool file_closed(file_call *c)
{
    if (load_acquire(&c->f->use) == c->use) /* ORD(fd): with close */
        return false;
    c->result = BL_ECLOSED;
    return true;
}

/* ---- Reading ---- */

static int fetch_blocking(void *arg)
{
    file_call *c = arg;
    ssize_t r; /* an error is the caller's own read's */
    CALL(r, preadv2((int)c->f->number, c->iov, c->iovcnt, c->at, 0));
    return (int)(r < 0);
}

static int fetch(bl__fd *f, uint32_t use, const struct iovec *iov, int iovcnt, off_t at, size_t n,
                 bl_time deadline)
{
    const bl__g *g = bl__self();
    file_call c = {.f = f, .iov = iov, .iovcnt = iovcnt, .at = at};
    if (deadline != BL_NEVER && deadline <= bl__now())
        return bl__ctx_state(g->ctx) != 0 ? bl__ctx_state(g->ctx) : BL_ETIMEDOUT;
    int r = BL_ENOSYS;
    if (bl__rt.io == BL__IO_URING)
        r = bl__ring_fetch(f, use, at, n, deadline);
    if (r == BL_ENOSYS)
        r = bl__blocking(fetch_blocking, &c, f, deadline);
    return r == BL_ECANCELED || r == BL_ETIMEDOUT || r == BL_ECLOSED ? r : 0;
}

/* The rest of iov behind the first `done` bytes, at most BL__FETCH_MOST: how many parts. */
static int file_rest(struct iovec *to, const struct iovec *iov, int iovcnt, size_t done, size_t *n)
{
    int parts = 0;
    *n = 0;
    for (int i = 0; i < iovcnt && parts < PARTS && *n < BL__FETCH_MOST; i++) {
        if (done >= iov[i].iov_len) {
            done -= iov[i].iov_len;
            continue;
        }
        size_t len = iov[i].iov_len - done;
        if (len > BL__FETCH_MOST - *n)
            len = BL__FETCH_MOST - *n;
        to[parts++] = (struct iovec){(char *)iov[i].iov_base + done, len};
        *n += len;
        done = 0;
    }
    return parts;
}

/* The file system, or the C library for the kernel, does not know RWF_NOWAIT. */
static bool is_no_nowait(ssize_t r) { return r == BL_ENOTSUP || r == BL_EINVAL; }

/* In its turn. got: what was taken without waiting, or BL_EAGAIN. */
static ssize_t file_read_rest(bl__fd *f, uint32_t use, const struct iovec *iov, int iovcnt,
                              ssize_t got, bl_time deadline)
{
    int fd = (int)f->number;
    off_t at;
    size_t n;
    struct iovec rest[PARTS];
    for (size_t done = got > 0 ? (size_t)got : 0;;) {
        int parts = file_rest(rest, iov, iovcnt, done, &n);
        ssize_t r = parts > 0 ? file_left(fd, &at) : 0;
        if (r == 0 && done == 0)
            return file_take(fd, iov, iovcnt, 0); /* of some files the size says nothing */
        if (r > 0)
            r = fetch(f, use, rest, parts, at, (size_t)r < n ? (size_t)r : n, deadline);
        else
            return done > 0 || r == 0 ? (ssize_t)done : r;
        if (r >= 0 && load_acquire(&f->use) != use) /* ORD(fd): with close */
            r = BL_ECLOSED;
        if (r >= 0)
            r = file_take(fd, rest, parts, RWF_NOWAIT);
        if (r == BL_EAGAIN || r == 0 || is_no_nowait(r)) /* it did not stay in memory */
            r = file_take(fd, rest, parts, 0);
        if (r <= 0)
            return done > 0 ? (ssize_t)done : r;
        done += (size_t)r;
    }
}

/* From memory, and what is not there by way of it. */
static ssize_t file_read_in_turn(bl__fd *f, uint32_t use, const struct iovec *iov, int iovcnt,
                                 bl_time deadline)
{
    size_t all = 0;
    for (int i = 0; i < iovcnt; i++)
        all += iov[i].iov_len;
    ssize_t r = bl__rt.io_cold ? BL_EAGAIN : file_take((int)f->number, iov, iovcnt, RWF_NOWAIT);
    if (is_no_nowait(r))
        return file_take((int)f->number, iov, iovcnt, 0);
    if (r == BL_EAGAIN || (r > 0 && (size_t)r < all))
        return file_read_rest(f, use, iov, iovcnt, r, deadline);
    return r;
}

static int read_blocking(void *arg)
{
    file_call *c = arg;
    if (!file_closed(c))
        c->result = file_take((int)c->f->number, c->iov, c->iovcnt, 0);
    return 0;
}

ssize_t bl__regular_read(bl__fd *f, uint32_t use, const struct iovec *iov, int iovcnt,
                         bl_time deadline)
{
    file_call c = {.f = f, .use = use, .iov = iov, .iovcnt = iovcnt};
    ssize_t r = turn_take(f, use, deadline);
    if (r < 0)
        return r;
    if (file_closed(&c))
        r = BL_ECLOSED;
    else if (file_has((int)f->number, O_DIRECT))
        r = file_by_thread(&c, read_blocking, deadline);
    else
        r = file_read_in_turn(f, use, iov, iovcnt, deadline);
    if (r < 0 && file_closed(&c)) /* what another's descriptor of that number says is not his */
        r = BL_ECLOSED;
    turn_give(f);
    return r;
}

/* ---- Writing ---- */

static int write_blocking(void *arg)
{
    file_call *c = arg;
    if (file_closed(c))
        return 0;
    CALL(c->result, pwritev2((int)c->f->number, c->iov, c->iovcnt, -1, 0));
    return 0;
}

ssize_t bl__regular_write(bl__fd *f, uint32_t use, const struct iovec *iov, int iovcnt,
                          bl_time deadline)
{
    file_call c = {.f = f, .use = use, .iov = iov, .iovcnt = iovcnt};
    if (file_has((int)f->number, O_DSYNC | O_DIRECT)) /* O_SYNC is more than O_DSYNC */
        return file_by_thread(&c, write_blocking, deadline);
    (void)write_blocking(&c);
    return c.result;
}
