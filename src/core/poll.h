/* SPDX-License-Identifier: MIT */
/*
 * poll.h: the poller: one epoll instance, in which every descriptor that a goroutine has waited for
 * is registered once, edge-triggered. What an event means is io/fd.c's.
 *
 * Who polls
 *   - A thread that runs out of work asks without waiting (bl__poll_try), and if that brings nothing
 *     and somebody waits for a descriptor, one of the sleeping threads sleeps in epoll instead of
 *     on its futex: the sleeper. There is at most one, and it is the only one that ever waits
 *     there.
 *   - A processor that never runs out of work asks every now and then (bl__poll_sometimes).
 *   - sysmon sees to it that somebody does, where neither has for a while (bl__poll_watch).
 * Several may ask at once; epoll gives each event to one of them.
 *
 * No event is lost. A goroutine counts itself in `waiters` before it parks, so the thread that it
 * leaves sees the count in whatever it does next; before that thread sleeps it becomes the sleeper
 * unless there is one. A descriptor that is registered while the sleeper waits wakes it like any
 * other.
 *
 * No wake-up of the sleeper is lost. Who wakes it stores m->wake and then writes to the breaker, an
 * eventfd that epoll has level-triggered: only the sleeper takes the event back, by reading it, and
 * it looks at m->wake after that. Others who see it in between leave it where it is. There is no
 * new sleeper before the old one has left (occupied), which would take the break from it. A break
 * that comes when the sleeper has left already wakes the next one for nothing.
 *
 * Rejected, since the echo server took as much CPU time a request (within 2 %, 1,000 connections,
 * interleaved runs): taking events in batches of 8, 16 or 32, so that less is out of the cache
 * again when a goroutine runs; its waiter in its record, which is touched anyway, and not in its
 * frame; fetching the next one's stack before a system call. A request has as many system calls as
 * in an epoll loop; 0.8 us of it are outside of the kernel (the loop: 0.25), and samples stand
 * where records and stacks are touched for the first time, behind prefetches of them.
 */
#ifndef BL__CORE_POLL_H
#define BL__CORE_POLL_H

#include <belay.h>

struct bl__m;
struct bl__p;
struct epoll_event;

enum { BL__POLL_BATCH = 256 };

typedef struct bl__poll {
    uint64_t fds;       /* atomic: epoll and breaker, each plus 1, in the halves; 0: not made yet */
    uint32_t waiters;   /* atomic: goroutines that wait for descriptors */
    uint32_t unchecked; /* atomic: some of them have yet to be checked, see io/fd.c */
    bl_time last;       /* atomic: when somebody asked */
    struct bl__m *sleeper; /* lock: sched; atomic to look: who is to be woken there */
    uint32_t occupied;     /* atomic: a thread sleeps in epoll, or was woken and has yet to leave */
} bl__poll;

/* Registers fd, or changes its data and has its state reported anew (again). 0 or a negated
 * errno. */
int bl__poll_set(int fd, uint64_t data, bool again);
void bl__poll_unset(int fd);
bool bl__poll_has(int fd); /* it is the poller's own */

/* Waits up to timeout for events, or until bl__poll_break; for the sleeper. How many. */
int bl__poll_wait(struct epoll_event *events, int64_t timeout);
/* Makes those ready who wait for them. No lock held. */
void bl__poll_dispatch(const struct epoll_event *events, int n);
void bl__poll_break(void);

/* Takes what is there, without waiting. True: there was something. Not on a goroutine's stack. */
bool bl__poll_try(void);
void bl__poll_sometimes(struct bl__p *p, bl_time now); /* by who holds p, which is busy */
void bl__poll_watch(bl_time now);                      /* sysmon's */

/* A new run: whether the poller is still there; and nobody waits. And the child of a fork: it must
 * not touch the parent's. */
void bl__poll_begin(void);
void bl__poll_reset(void);
void bl__poll_forked(void);

/* io/fd.c: an event (epoll's bits) for what was registered with data; has the processor fetch what
 * that will touch: the record, or, when that is there, who waits; the check of those that wait,
 * now and then. */
void bl__fd_event(uint64_t data, uint32_t events);
void bl__fd_prefetch(uint64_t data, bool waiter);
void bl__fd_check(bl_time now);
#define BL__FD_CHECK_EVERY (50 * BL_MS) /* so often at the most */
void bl__fd_unregister_all(void);

/* io/ring.c: the thread that reads regular files by io_uring, where BELAY_IO says so. The end of a
 * run that leaves nobody; the child of a fork; the threads of the process without it and those that
 * the kernel has added for it; whether fd is its io_uring. */
void bl__ring_end(void);
void bl__ring_forked(void);
int bl__ring_thread_count(void);
bool bl__ring_has(int fd);

#endif
