/* SPDX-License-Identifier: MIT */
/*
 * fd.c: the records of descriptors: a table in two levels, waiting, what events do, closing.
 *
 * A goroutine waits in its side's queue; an event wakes all of them, since one edge may stand for
 * several connections to accept or more data than one of them reads. A plain thread waits in
 * poll(2), for the descriptor and an eventfd of its own that bl_close writes to: it may wait where
 * no run is under way, so that nobody polls. Not so the thread of a bl_blocking, which has a
 * context that may be cancelled, and whose run polls for it.
 *
 * A number that others close. bl_close is told of its end; close(2), dup2 and the libraries that
 * call them are not. Then what is known here is of the descriptor before: epoll has dropped that,
 * and the next who waits for the new one is not woken, or takes it for drained. Asking the kernel
 * before each wait would cost a system call a request. So whoever has waited for 50 ms is checked
 * instead, once, by sysmon (bl__fd_check): the descriptor is registered again, which has its state
 * reported anew.
 */
#include "io/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/proc.h"
#include "os/os.h"
#include "sync/object.h"

enum { FD_PAGE = 1024, FD_PAGES = 16384, CHECK_BATCH = 4 * FD_PAGE };
enum { TRY_LATER = 2 };

/* A plain thread that waits; in its frame. */
typedef struct fd_thread {
    struct fd_thread *next; /* lock */
    bl__fd *f;              /* immutable */
    int wake;               /* immutable: an eventfd */
    uint32_t closed;        /* lock: the descriptor was */
} fd_thread;

static struct {
    bl__fd *pages[FD_PAGES]; /* atomic; immutable once set */
    uint32_t pages_end;      /* atomic: above it there are none */
    uint32_t lock;
    fd_thread *threads;  /* lock */
    bl_time checked;     /* sysmon's */
    uint32_t check_at;   /* sysmon's */
    uint32_t check_more; /* sysmon's: something was left for later */
} fds;

bl__fd *bl__fd_old(int fd)
{
    if (fd < 0 || fd >= FD_PAGE * FD_PAGES)
        return NULL;
    bl__fd *page = load_acquire(&fds.pages[fd / FD_PAGE]); /* ORD(fdpage): with page_make */
    return page != NULL ? &page[fd % FD_PAGE] : NULL;
}

static bool page_make(uint32_t at)
{
    bl__fd *none = NULL;
    void *memory = bl__zalloc((FD_PAGE + 1) * sizeof *none);
    if (memory == NULL)
        return false;
    bl__fd *page = (bl__fd *)(((uintptr_t)memory + sizeof *page - 1) & -sizeof *page);
    for (uint32_t i = 0; i < FD_PAGE; i++)
        page[i].number = at * FD_PAGE + i;
    if (!cas_acq_rel(&fds.pages[at], &none, page)) /* ORD(fdpage): with bl__fd_old */
        bl__free(memory);
    uint32_t end = load_relaxed(&fds.pages_end);
    while (end <= at && !cas_relaxed(&fds.pages_end, &end, at + 1))
        continue;
    return true;
}

bl__fd *bl__fd_get(int fd, int *err)
{
    bl__fd *f = bl__fd_old(fd);
    if (__builtin_expect(f != NULL, 1))
        return f;
    if (fd < 0 || fcntl(fd, F_GETFD) < 0)
        *err = BL_EBADF;
    else if (fd >= FD_PAGE * FD_PAGES)
        *err = BL_EMFILE;
    else if (!page_make((uint32_t)fd / FD_PAGE))
        *err = BL_ENOMEM;
    else
        return bl__fd_old(fd);
    return NULL;
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* Lock held. */
static void side_event(bl__fd_side *s)
{
    uint32_t was = load_relaxed(&s->state);
    while (!cas_release(&s->state, &was, /* ORD(fd): with look */
                        (was & ~(uint32_t)BL__FD_DRAINED) + BL__FD_EVENT))
        continue;
}

/* Lock held: an event of these sides; who waits there is claimed and put on the list. */
static void sides_event(bl__fd *f, int sides, bl__woken *woken)
{
    for (int i = 0; i < 2; i++) {
        bl__waiter *w;
        if (!(sides & (1 << i)))
            continue;
        side_event(&f->side[i]);
        while ((w = bl__waitq_claim_front(&f->side[i].queue)) != NULL)
            bl__woken_add(woken, w);
    }
}

/* No lock held. Behind those that run already: there may be hundreds of them. */
static void ready_all(bl__woken *woken, int result)
{
    for (bl__waiter *w = woken->first, *next; w != NULL; w = next) {
        next = w->next;
        bl__ready_behind(w->g, result);
    }
}

void bl__fd_prefetch(uint64_t data, bool waiter)
{
    bl__fd *f = bl__fd_old((int)(uint32_t)data);
    if (f != NULL && !waiter)
        __builtin_prefetch(f);
    else if (f != NULL) /* the head only: behind it nothing is sure to be mapped */
        __builtin_prefetch(load_relaxed(&f->side[0].queue.head));
}

void bl__fd_event(uint64_t data, uint32_t events)
{
    bl__fd *f = bl__fd_old((int)(uint32_t)data);
    bl__woken woken = {NULL, NULL};
    int sides = 0;
    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        sides |= BL_READABLE;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        sides |= BL_WRITABLE;
    bl__lock(&f->lock, BL__RANK_FD);
    if (f->use == (uint32_t)(data >> 32)) {
        if (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            store_relaxed(&f->sticky, (uint8_t)1);
        sides_event(f, sides, &woken);
    }
    bl__unlock(&f->lock);
    ready_all(&woken, 0);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static uint64_t data_of(const bl__fd *f) { return (uint64_t)f->use << 32 | f->number; }

/* Lock held. */
static int register_new(bl__fd *f)
{
    int err = bl__poll_set((int)f->number, data_of(f), false);
    if (err == BL_EEXIST)
        err = bl__poll_set((int)f->number, data_of(f), true);
    store_relaxed(&f->registered, (uint8_t)(err == 0 ? BL__FD_REGISTERED : 0));
    return err;
}

/* Lock held: has one of the sides had an event since? */
static bool has_moved(const bl__fd *f, int sides, const bl__fd_seen *seen)
{
    for (int i = 0; i < 2; i++)
        if ((sides & (1 << i)) &&
            (load_relaxed(&f->side[i].state) | BL__FD_DRAINED) != (seen->state[i] | BL__FD_DRAINED))
            return true;
    return false;
}

/* The eventfd and the descriptor; false: the deadline has come. */
static bool thread_poll(const fd_thread *t, int sides, bl_time deadline)
{
    struct pollfd p[2] = {{.fd = (int)t->f->number}, {.fd = t->wake, .events = POLLIN}};
    p[0].events = (short)((sides & BL_READABLE ? POLLIN | POLLRDHUP : 0) |
                          (sides & BL_WRITABLE ? POLLOUT : 0));
    for (;;) {
        int64_t left = deadline == BL_NEVER ? INT64_MAX : deadline - bl__clock();
        if (left <= 0)
            return false;
        struct timespec ts = {left / BL_SEC, left % BL_SEC};
        if (ppoll(p, 2, deadline == BL_NEVER ? NULL : &ts, NULL) > 0)
            return true;
    }
}

static __attribute__((noinline)) int thread_park(bl__fd *f, int sides, const bl__fd_seen *seen,
                                                 bl_time deadline)
{
    if (load_relaxed(&f->registered) == BL__FD_CLOSING) { /* as seen->use says, if it is that */
        bl_yield();
        return 0;
    }
    fd_thread t = {.f = f, .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (t.wake < 0)
        return -errno;
    bl__lock(&fds.lock, BL__RANK_FD);
    bool closed = load_relaxed(&f->use) != seen->use; /* bl_close takes this lock after it */
    t.next = fds.threads;
    fds.threads = &t;
    bl__unlock(&fds.lock);
    bool came = closed || thread_poll(&t, sides, deadline);
    bl__lock(&fds.lock, BL__RANK_FD);
    fd_thread **at = &fds.threads;
    while (*at != &t)
        at = &(*at)->next;
    *at = t.next;
    closed |= t.closed != 0;
    bl__unlock(&fds.lock);
    close(t.wake);
    return closed ? BL_ECLOSED : came ? 0 : BL_ETIMEDOUT;
}

/* Lock held: 0 if the caller is to sleep, 1 if it is to try again, TRY_LATER once others have
 * run. */
static int park_check(bl__fd *f, int sides, const bl__fd_seen *seen)
{
    if (f->use != seen->use)
        return BL_ECLOSED;
    if (f->registered == BL__FD_CLOSING)
        return TRY_LATER;
    int err = f->registered ? 0 : register_new(f);
    return err < 0 ? err : has_moved(f, sides, seen);
}

int bl__fd_park(bl__fd *f, int sides, const bl__fd_seen *seen, bl_time deadline)
{
    bl__g *g = bl__self();
    bl__waiter w[2];
    if (deadline != BL_NEVER && deadline <= bl_now()) {
        int state = bl__ctx_state(g->ctx);
        return state != 0 ? state : BL_ETIMEDOUT;
    }
    if (g->task.kind == BL__TASK_THREAD && g->ctx == bl_ctx_background())
        return thread_park(f, sides, seen, deadline);
    bl__lock(&f->lock, BL__RANK_FD);
    int r = park_check(f, sides, seen);
    if (r != 0) {
        bl__unlock(&f->lock);
        if (r == TRY_LATER)
            bl_yield();
        return r < 0 ? r : 0;
    }
    for (int i = 0; i < 2; i++) {
        bl__waiter_init(&w[i], g);
        if (sides & (1 << i))
            bl__waitq_push_back(&f->side[i].queue, &w[i]);
    }
    store_relaxed(&f->unchecked, (uint8_t)1);
    store_release(&bl__rt.poll.unchecked, 1u); /* ORD(check): with bl__fd_check */
    add_relaxed(&bl__rt.poll.waiters, 1u);
    r = bl__park(g, &(bl__wait){.reason = BL__WAIT_IO,
                                .cancellable = true,
                                .obj = f,
                                .lock = &f->lock,
                                .deadline = deadline});
    add_relaxed(&bl__rt.poll.waiters, (uint32_t)-1);
    if (r == 0 && sides != (BL_READABLE | BL_WRITABLE))
        return 0;
    bl__lock(&f->lock, BL__RANK_FD);
    for (int i = 0; i < 2; i++)
        if (bl__waiter_linked(&w[i])) /* else it was on somebody's list of the woken */
            bl__waitq_remove(&f->side[i].queue, &w[i]);
    bl__unlock(&f->lock);
    return r;
}

/* ---- Closing, checking, fork ----------------------------------------------------------------- */

static void threads_closed(const bl__fd *f)
{
    uint64_t one = 1;
    bl__lock(&fds.lock, BL__RANK_FD);
    for (fd_thread *t = fds.threads; t != NULL; t = t->next)
        if (t->f == f) {
            t->closed = 1;
            (void)!write(t->wake, &one, sizeof one);
        }
    bl__unlock(&fds.lock);
}

void bl__fd_renew(bl__fd *f, bool closed)
{
    bl__woken woken = {NULL, NULL};
    bl__lock(&f->lock, BL__RANK_FD);
    if (f->registered == BL__FD_REGISTERED && closed)
        bl__poll_unset(
            (int)f->number); /* others may have the same file open: epoll would keep it */
    store_relaxed(&f->registered, (uint8_t)(closed ? BL__FD_CLOSING : 0));
    store_relaxed(&f->kind, (uint8_t)BL__FD_UNKNOWN);
    store_relaxed(&f->sticky, (uint8_t)0);
    if (closed)
        store_release(&f->use, f->use + 1); /* ORD(fd): with look */
    sides_event(f, BL_READABLE | BL_WRITABLE, &woken);
    bl__unlock(&f->lock);
    ready_all(&woken, closed ? BL_ECLOSED : 0);
    if (closed)
        threads_closed(f);
}

void bl__fd_closed(bl__fd *f)
{
    bl__lock(&f->lock, BL__RANK_FD);
    if (f->registered == BL__FD_CLOSING)
        store_relaxed(&f->registered, (uint8_t)0);
    bl__unlock(&f->lock);
}

/* True: to be looked at again. A wait is checked at the second look that finds it, so that who is
 * woken often is not: the waits that follow each other begin as unchecked. */
static bool check_one(bl__fd *f)
{
    uint8_t unchecked = load_relaxed(&f->unchecked);
    if (unchecked == 0)
        return false;
    if (unchecked == 1) {
        store_relaxed(&f->unchecked, (uint8_t)2);
        return true;
    }
    bool waits = false;
    bl__lock(&f->lock, BL__RANK_FD);
    if (load_relaxed(&f->unchecked) == 2) {
        store_relaxed(&f->unchecked, (uint8_t)0);
        waits = !bl__waitq_empty(&f->side[0].queue) || !bl__waitq_empty(&f->side[1].queue);
    }
    bool lost = waits && bl__poll_set((int)f->number, data_of(f), true) < 0;
    bl__unlock(&f->lock);
    if (lost)
        bl__fd_renew(f, false); /* something else, or nothing: who waits tries again, and sees */
    return false;
}

void bl__fd_check(bl_time now)
{
    if (now - fds.checked < BL__FD_CHECK_EVERY)
        return;
    fds.checked = now;
    if (fds.check_at == 0) {
        (void)swap_acquire(&bl__rt.poll.unchecked, 0u); /* ORD(check): with bl__fd_park */
        fds.check_more = 0;
    }
    uint32_t end = load_relaxed(&fds.pages_end) * FD_PAGE;
    uint32_t stop = end - fds.check_at > CHECK_BATCH ? fds.check_at + CHECK_BATCH : end;
    for (; fds.check_at < stop; fds.check_at++) {
        bl__fd *f = bl__fd_old((int)fds.check_at);
        if (f != NULL && check_one(f))
            fds.check_more = 1;
    }
    if (fds.check_at == end)
        fds.check_at = 0;
    if (fds.check_more || fds.check_at != 0)
        store_release(&bl__rt.poll.unchecked, 1u); /* ORD(check) */
}

/* In the child of a fork nobody waits, and epoll has nothing yet. Most records were never used, and
 * their pages are not to be copied. */
void bl__fd_forked(void)
{
    fds.lock = 0;
    fds.threads = NULL;
    for (uint32_t i = 0; i < load_relaxed(&fds.pages_end) * FD_PAGE; i++) {
        bl__fd *f = bl__fd_old((int)i);
        if (f == NULL || (f->lock == 0 && !f->registered && f->side[0].turn == 0 &&
                          f->side[0].queue.head == NULL && f->side[1].queue.head == NULL))
            continue;
        f->lock = 0;
        f->registered = 0;
        f->side[0].turn = 0;
        f->side[0].queue = f->side[1].queue = (bl__waitq){NULL, NULL};
    }
}
