/* SPDX-License-Identifier: MIT */
#include "core/poll.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/proc.h"
#include "os/futex.h"
#include "os/os.h"

#define POLL_BREAKER UINT64_MAX /* its data */
#define BUSY_EVERY (50 * BL_US) /* how often a busy processor asks */
#define CROWDED_EVERY BL_MS
#define WATCH_EVERY (10 * BL_MS) /* when sysmon does */

enum { BUSY_BATCH = 64, TSAN_SLEEP_MS = 10 /* ms, as in futex.c */ };

static inline int epoll_of(uint64_t fds) { return (int)(uint32_t)fds - 1; }
static inline int breaker_of(uint64_t fds) { return (int)(uint32_t)(fds >> 32) - 1; }

/* The epoll descriptor; -1: there is none yet. */
static inline int poll_fd(void)
{
    return epoll_of(load_acquire(&bl__rt.poll.fds)); /* ORD(poll): with poll_make */
}

bool bl__poll_has(int fd) { return fd == poll_fd(); }

/* 0 or a negated errno. */
static int poll_make(void)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = POLL_BREAKER};
    int ep = bl__fd_own(epoll_create1(EPOLL_CLOEXEC));
    if (ep < 0)
        return -errno;
    int breaker = bl__fd_own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    int err = 0;
    if (breaker < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, breaker, &e) < 0)
        err = -errno;
    uint64_t none = 0;
    uint64_t fds = (uint64_t)(uint32_t)(breaker + 1) << 32 | (uint32_t)(ep + 1);
    if (err == 0 && cas_acq_rel(&bl__rt.poll.fds, &none, fds)) /* ORD(poll): with poll_fd */
        return 0;
    if (breaker >= 0)
        close(breaker);
    close(ep);
    return err; /* 0: somebody else was quicker */
}

int bl__poll_set(int fd, uint64_t data, bool again)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET,
                            .data.u64 = data};
    int ep = poll_fd();
    if (ep < 0) {
        int err = poll_make();
        if (err < 0)
            return err;
        ep = poll_fd();
    }
    return epoll_ctl(ep, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

void bl__poll_unset(int fd)
{
    struct epoll_event e = {0};
    (void)epoll_ctl(poll_fd(), EPOLL_CTL_DEL, fd, &e);
}

void bl__poll_break(void) { bl__eventfd_wake(breaker_of(load_relaxed(&bl__rt.poll.fds))); }

/* epoll_wait with a timeout in nanoseconds: a timer may be due. */
static int wait_ns(int ep, struct epoll_event *events, int max, int64_t timeout)
{
    int64_t ms = timeout == INT64_MAX ? -1 : timeout / 1000000 + (timeout % 1000000 != 0);
    if (BL__TSAN)
        return epoll_wait(ep, events, max, ms < 0 || ms > TSAN_SLEEP_MS ? TSAN_SLEEP_MS : (int)ms);
#ifdef SYS_epoll_pwait2
    struct timespec ts = {timeout / 1000000000, timeout % 1000000000};
    int n = ms > 0 ? (int)syscall(SYS_epoll_pwait2, ep, events, max, &ts, NULL, (size_t)0) : -1;
    if (ms > 0 && (n >= 0 || errno != ENOSYS))
        return n;
#endif
    return epoll_wait(ep, events, max, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

int bl__poll_wait(struct epoll_event *events, int64_t timeout)
{
    uint64_t count;
    uint64_t fds = load_acquire(&bl__rt.poll.fds); /* ORD(poll) */
    int saved = errno;
    int n = wait_ns(epoll_of(fds), events, BL__POLL_BATCH, timeout);
    if (timeout != 0)
        bl__handlers_run();
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 != POLL_BREAKER)
            continue;
        (void)!read(breaker_of(fds), &count, sizeof count);
        events[i] = events[--n];
    }
    errno = saved;
    return n > 0 ? n : 0;
}

/* Of each the record and who waits there are cold: they are asked for ahead. */
void bl__poll_dispatch(const struct epoll_event *events, int n)
{
    enum { AHEAD = 4 };
    for (int i = 0; i < n && i < 2 * AHEAD; i++)
        bl__fd_prefetch(events[i].data.u64, false);
    for (int i = 0; i < n && i < AHEAD; i++)
        bl__fd_prefetch(events[i].data.u64, true);
    for (int i = 0; i < n; i++) {
        if (i + 2 * AHEAD < n)
            bl__fd_prefetch(events[i + 2 * AHEAD].data.u64, false);
        if (i + AHEAD < n)
            bl__fd_prefetch(events[i + AHEAD].data.u64, true);
        if (events[i].data.u64 != POLL_BREAKER)
            bl__fd_event(events[i].data.u64, events[i].events);
    }
}

static bool poll_take(struct epoll_event *events, int most)
{
    int ep = poll_fd();
    int saved = errno;
    if (ep < 0)
        return false;
    int n = epoll_wait(ep, events, most, 0);
    errno = saved;
    bl__poll_dispatch(events, n);
    return n > 1 || (n == 1 && events[0].data.u64 != POLL_BREAKER);
}

bool bl__poll_try(void)
{
    struct epoll_event events[BL__POLL_BATCH];
    return poll_take(events, BL__POLL_BATCH);
}

/* On the stack of a goroutine, hence the few. As long as others wait for their turn, events only
 * have to be seen within a bound: taken in eagerly they would fill the processor's queue, and those
 * in the global one would not get their turn for long. */
__attribute__((noinline)) void bl__poll_sometimes(bl__p *p, bl_time now)
{
    struct epoll_event events[BUSY_BATCH];
    bool crowded = load_relaxed(&bl__rt.queued) != 0 || bl__runq_length(p) > BUSY_BATCH;
    if (now - load_relaxed(&bl__rt.poll.last) < (crowded ? CROWDED_EVERY : BUSY_EVERY) ||
        load_relaxed(&bl__rt.poll.sleeper))
        return;
    store_relaxed(&bl__rt.poll.last, now);
    (void)poll_take(events, BUSY_BATCH);
}

/* A sleeper is woken for its own sake where there is none, since only who sleeps in epoll sees
 * events at once. */
void bl__poll_watch(bl_time now)
{
    if (load_relaxed(&bl__rt.poll.unchecked))
        bl__fd_check(now);
    if (load_relaxed(&bl__rt.poll.waiters) == 0 || load_relaxed(&bl__rt.poll.sleeper) ||
        now - load_relaxed(&bl__rt.poll.last) < WATCH_EVERY)
        return;
    store_relaxed(&bl__rt.poll.last, now);
    if (load_relaxed(&bl__rt.idle_ps) != 0)
        bl__wake_one();
    else
        (void)bl__poll_try();
}

/* Are the two still what they were? A program may close all descriptors that it does not know
 * (closefrom), and the numbers are others' then. */
static bool poll_is_ours(uint64_t fds)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = POLL_BREAKER};
    return epoll_ctl(epoll_of(fds), EPOLL_CTL_MOD, breaker_of(fds), &e) == 0;
}

void bl__poll_begin(void)
{
    uint64_t fds = load_relaxed(&bl__rt.poll.fds);
    if (fds == 0 || poll_is_ours(fds))
        return;
    store_relaxed(&bl__rt.poll.fds, 0u);
    bl__fd_unregister_all();
}

/* Descriptors stay registered. Whoever the run before has left behind waits on, for nothing. */
void bl__poll_reset(void)
{
    store_relaxed(&bl__rt.poll.waiters, 0u);
    store_relaxed(&bl__rt.poll.sleeper, NULL);
    store_relaxed(&bl__rt.poll.occupied, 0u);
    store_relaxed(&bl__rt.file_waiters, 0u);
}

void bl__poll_forked(void)
{
    uint64_t fds = load_relaxed(&bl__rt.poll.fds);
    bl__ring_forked();
    if (fds == 0)
        return;
    if (poll_is_ours(fds)) {
        close(epoll_of(fds));
        close(breaker_of(fds));
    }
    store_relaxed(&bl__rt.poll.fds, 0u);
    store_relaxed(&bl__rt.poll.waiters, 0u);
}
