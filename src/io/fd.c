/* SPDX-License-Identifier: MIT */
/*
 * fd.c: the records of descriptors: a table in two levels, waiting, what events do, closing.
 *
 * Who waits is in its side's queue; an event wakes all of them, since one edge may stand for several
 * connections to accept or more data than one of them reads. Events are the poller's, which is there
 * in a run: so a plain thread, or that of a bl_blocking, sleeps in poll(2) with the descriptor.
 *
 * While bl_close is at a number, its file is not registered any more; the number may be another's
 * by then, whose data nobody tells of as long as the close takes (SO_LINGER). So who would wait tries
 * again every millisecond, and when bl_close is done.
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
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/proc.h"
#include "os/os.h"
#include "sync/object.h"

enum { CHECK_BATCH = 4 * BL__FD_PAGE, STACK_LINES = 5 };
#define CLOSING_LOOK BL_MS /* how often who meets a number that is being closed tries again */

static struct {
    uint32_t pages_end;  /* atomic: above it there are none */
    bl_time checked;     /* sysmon's */
    uint32_t check_at;   /* sysmon's */
    uint32_t check_more; /* sysmon's: something was left for later */
} fds;

bl__fd *bl__fd_pages[BL__FD_PAGES];

/* In the child of a fork nobody waits, and epoll has nothing yet. Most records were never used, and
 * their pages are not to be copied. */
static void fds_forked(void)
{
    bl__tty_lock = 0;
    for (uint32_t i = 0; i < load_relaxed(&fds.pages_end) * BL__FD_PAGE; i++) {
        bl__fd *f = bl__fd_old((int)i);
        if (f == NULL ||
            (f->lock == 0 && !f->registered && f->side[0].turn == 0 && f->side[1].turn == 0 &&
             f->side[0].queue.head == NULL && f->side[1].queue.head == NULL))
            continue;
        f->lock = 0;
        f->registered = 0;
        f->side[0].turn = f->side[1].turn = 0;
        f->side[0].queue = f->side[1].queue = (bl__waitq){NULL, NULL};
    }
}

static void fds_fork_prepare(void) { pthread_atfork(NULL, NULL, fds_forked); }

static bool page_make(uint32_t at)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    bl__fd *none = NULL;
    void *memory;
    if (posix_memalign(&memory, sizeof *none, BL__FD_PAGE * sizeof *none) != 0)
        return false;
    pthread_once(&once, fds_fork_prepare); /* plain threads may use descriptors without any run */
    bl__fd *page = memset(memory, 0, BL__FD_PAGE * sizeof *none);
    for (uint32_t i = 0; i < BL__FD_PAGE; i++)
        page[i].number = at * BL__FD_PAGE + i;
    if (!cas_acq_rel(&bl__fd_pages[at], &none, page)) /* ORD(fdpage): with bl__fd_old */
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
    else if (fd >= BL__FD_PAGE * BL__FD_PAGES)
        *err = BL_EMFILE;
    else if (!page_make((uint32_t)fd / BL__FD_PAGE))
        *err = BL_ENOMEM;
    else
        return bl__fd_old(fd);
    return NULL;
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* Lock held: an event of this side. Only of reading is the state changed without the lock, by
 * bl__fd_drained. */
static inline void side_event(bl__fd *f, int i)
{
    uint32_t *state = &f->side[i].state;
    uint32_t was = load_relaxed(state);
    if (i == 1)
        store_release(state, was + BL__FD_EVENT); /* ORD(fd): with look */
    else
        while (!cas_release(state, &was, /* ORD(fd): with look */
                            (was & ~(uint32_t)BL__FD_DRAINED) + BL__FD_EVENT))
            continue;
}

/* Lock held: who waits at one of these sides is claimed and put on the list. */
static __attribute__((noinline)) void sides_claim(bl__fd *f, int sides, bl__woken *woken)
{
    for (int i = 0; i < 2; i++) {
        bl__waiter *w;
        while ((sides & (1 << i)) && (w = bl__waitq_claim_front(&f->side[i].queue)) != NULL)
            bl__woken_add(woken, w);
    }
}

/* Lock held: an event of both. */
static void sides_event(bl__fd *f, bl__woken *woken)
{
    side_event(f, 0);
    side_event(f, 1);
    sides_claim(f, BL_READABLE | BL_WRITABLE, woken);
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

/* Mostly one goroutine waits, to read: all else is a call. */
void bl__fd_event(uint64_t data, uint32_t events)
{
    const uint32_t rare = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    uint32_t number = (uint32_t)data;
    bl__fd *page = load_acquire(&bl__fd_pages[number / BL__FD_PAGE]); /* ORD(fdpage): page_make */
    bl__fd *f = &page[number % BL__FD_PAGE];                          /* registered: there is one */
    bl__woken woken = {NULL, NULL};
    bl__waiter *first = NULL;
    bl__lock(&f->lock, BL__RANK_FD);
    if (BL__LIKELY(f->use == (uint32_t)(data >> 32))) {
        int sides = 0;
        if (BL__UNLIKELY(events & rare))
            store_relaxed(&f->sticky, (uint8_t)1);
        if (BL__LIKELY(events & (EPOLLIN | rare))) {
            sides = BL_READABLE;
            side_event(f, 0);
            first = bl__waitq_claim_front(&f->side[0].queue);
        }
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
            sides |= BL_WRITABLE;
            side_event(f, 1);
        }
        if (BL__UNLIKELY(!bl__waitq_empty(&f->side[0].queue) ||
                         !bl__waitq_empty(&f->side[1].queue)))
            sides_claim(f, sides, &woken);
    }
    bl__unlock(&f->lock);
    if (BL__LIKELY(first != NULL)) {
        bl__g *g = first->g;
        for (size_t line = 0; line < STACK_LINES; line++) /* it waited for long, and runs soon */
            __builtin_prefetch((const char *)g->sp + line * BL__CACHE_LINE);
        bl__ready_behind(g, 0);
    }
    if (BL__UNLIKELY(woken.first != NULL))
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
static bool has_moved(const bl__fd *f, int sides, bl__fd_seen seen)
{
    for (int i = 0; i < 2; i++)
        if ((sides & (1 << i)) &&
            (load_relaxed(&f->side[i].state) | BL__FD_DRAINED) != (seen.state[i] | BL__FD_DRAINED))
            return true;
    return false;
}

/* Lock held: 0 if the caller is to sleep, 1 if it is to try again, or why neither. */
static int park_check(bl__fd *f, int sides, bl__fd_seen seen, bool registers)
{
    if (f->use != seen.use)
        return BL_ECLOSED;
    int err = registers && !f->registered ? register_new(f) : 0;
    return err < 0 ? err : has_moved(f, sides, seen);
}

/* Lock held: one more waits for an event. */
static inline void counts(bl__fd *f)
{
    store_relaxed(&f->unchecked, (uint8_t)1);
    store_release(&bl__rt.poll.unchecked, 1u); /* ORD(check): with bl__fd_check */
    add_relaxed(&bl__rt.poll.waiters, 1u);
}

/* polls: of a plain thread; else NULL. */
static __attribute__((noinline)) int park(bl__g *g, bl__fd *f, int sides, bl__fd_seen seen,
                                          bl_time deadline, struct pollfd *polls)
{
    bl__waiter w[2];
    bl__lock(&f->lock, BL__RANK_FD);
    int r = park_check(f, sides, seen, polls == NULL);
    if (r != 0) {
        bl__unlock(&f->lock);
        return r < 0 ? r : 0;
    }
    bool closing = f->registered == BL__FD_CLOSING;
    if (__builtin_expect(closing, 0) && deadline > bl__in(CLOSING_LOOK))
        deadline = bl__in(CLOSING_LOOK);
    for (int i = 0; i < 2; i++) {
        bl__waiter_init(&w[i], g);
        if (sides & (1 << i))
            bl__waitq_push_back(&f->side[i].queue, &w[i]);
    }
    if (polls == NULL)
        counts(f);
    r = bl__park(g, &(bl__wait){.reason = BL__WAIT_IO,
                                .cancellable = true,
                                .obj = f,
                                .lock = &f->lock,
                                .deadline = deadline,
                                .polls = polls});
    if (polls == NULL)
        add_relaxed(&bl__rt.poll.waiters, (uint32_t)-1);
    if (r == 0 && polls == NULL && sides != (BL_READABLE | BL_WRITABLE))
        return 0;
    bl__lock(&f->lock, BL__RANK_FD);
    for (int i = 0; i < 2; i++)
        if (bl__waiter_linked(&w[i])) /* else it was on somebody's list of the woken */
            bl__waitq_remove(&f->side[i].queue, &w[i]);
    bl__unlock(&f->lock);
    return closing && r == BL_ETIMEDOUT ? bl__ctx_state(g->ctx) : r;
}

/* Not cancelled (pthread_cancel) meanwhile, as in no other wait: others know of its frame. */
static __attribute__((noinline)) int park_thread(bl__g *g, bl__fd *f, int sides, bl__fd_seen seen,
                                                 bl_time deadline)
{
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    struct pollfd polls[2] = {{.fd = (int)f->number},
                              {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = POLLIN}};
    polls[0].events = (short)((sides & BL_READABLE ? POLLIN | POLLRDHUP : 0) |
                              (sides & BL_WRITABLE ? POLLOUT : 0));
    int r = park(g, f, sides, seen, deadline, polls);
    if (polls[1].fd >= 0)
        close(polls[1].fd);
    pthread_setcancelstate(cancel, NULL);
    return r;
}

/* The most frequent way: a goroutine, one side, no deadline. */
static inline int park_one(bl__g *g, bl__fd *f, int side, bl__fd_seen seen)
{
    bl__fd_side *s = &f->side[side == BL_WRITABLE];
    uint32_t state = side == BL_WRITABLE ? seen.state[1] : seen.state[0];
    bl__waiter w; /* no val, no n */
    w.g = g;
    bl__lock(&f->lock, BL__RANK_FD);
    if (BL__UNLIKELY(f->registered != BL__FD_REGISTERED) || BL__UNLIKELY(f->use != seen.use) ||
        BL__UNLIKELY((load_relaxed(&s->state) ^ state) & ~(uint32_t)BL__FD_DRAINED)) {
        bl__unlock(&f->lock);
        return park(g, f, side, seen, BL_NEVER, NULL);
    }
    bl__waitq_push_back(&s->queue, &w);
    counts(f);
    int r = bl__park_stop(g, BL__WAIT_IO, f, &f->lock);
    add_relaxed(&bl__rt.poll.waiters, (uint32_t)-1);
    if (BL__UNLIKELY(r != 0)) {
        bl__lock(&f->lock, BL__RANK_FD);
        if (bl__waiter_linked(&w))
            bl__waitq_remove(&s->queue, &w);
        bl__unlock(&f->lock);
    }
    return r;
}

int bl__fd_park(bl__fd *f, int sides, bl__fd_seen seen, bl_time deadline)
{
    bl__g *g = bl__self();
    if (deadline != BL_NEVER && deadline <= bl__now()) {
        int state = bl__ctx_state(g->ctx);
        return state != 0 ? state : BL_ETIMEDOUT;
    }
    if (BL__UNLIKELY(g->task.kind == BL__TASK_THREAD))
        return park_thread(g, f, sides, seen, deadline);
    if (BL__LIKELY(deadline == BL_NEVER && sides != (BL_READABLE | BL_WRITABLE)))
        return park_one(g, f, sides, seen);
    return park(g, f, sides, seen, deadline, NULL);
}

/* ---- Closing, checking, fork ----------------------------------------------------------------- */

void bl__fd_renew(bl__fd *f, bool closed)
{
    bl__woken woken = {NULL, NULL};
    bl__lock(&f->lock, BL__RANK_FD);
    if (f->registered == BL__FD_REGISTERED && closed)
        bl__poll_unset(
            (int)f->number); /* others may have the same file open: epoll would keep it */
    store_relaxed(&f->registered, (uint8_t)(closed ? BL__FD_CLOSING : 0));
    store_relaxed(&f->sticky, (uint8_t)0);
    if (closed)
        store_release(&f->use, f->use + 1);           /* ORD(fd): with look */
    store_release(&f->kind, (uint8_t)BL__FD_UNKNOWN); /* ORD(fdkind): the use before, try_counted */
    sides_event(f, &woken);
    bl__unlock(&f->lock);
    ready_all(&woken, closed ? BL_ECLOSED : 0);
}

void bl__fd_closed(bl__fd *f)
{
    bl__woken woken = {NULL, NULL};
    bl__lock(&f->lock, BL__RANK_FD);
    if (f->registered == BL__FD_CLOSING) {
        store_relaxed(&f->registered, (uint8_t)0);
        sides_event(f, &woken);
    }
    bl__unlock(&f->lock);
    ready_all(&woken, 0);
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
        waits = f->registered == BL__FD_REGISTERED &&
                (!bl__waitq_empty(&f->side[0].queue) || !bl__waitq_empty(&f->side[1].queue));
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
    uint32_t end = load_relaxed(&fds.pages_end) * BL__FD_PAGE;
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

void bl__fd_unregister_all(void)
{
    for (uint32_t i = 0; i < load_relaxed(&fds.pages_end) * BL__FD_PAGE; i++) {
        bl__fd *f = bl__fd_old((int)i);
        if (f != NULL && load_relaxed(&f->registered) == BL__FD_REGISTERED)
            bl__fd_renew(f, false);
    }
}
