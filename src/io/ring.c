/* SPDX-License-Identifier: MIT */
/*
 * ring.c: an io_uring that brings what goroutines want to read of regular files into the page
 * cache.
 *
 * One thread, started at the first request of a run, submits and completes. Others push requests on
 * a list without a lock, and who finds it empty writes to an eventfd, of which the ring has a read
 * under way. (Not the threads that run goroutines: a ring interrupts the thread that submitted, and
 * cancels what that has under way when it ends.)
 *
 * What is read goes nowhere, into one buffer for all. The data then are in memory, and the caller's
 * own read takes them from there, at the file's position, in one piece, with the kernel's lock: a
 * ring would not take that. So no memory of a goroutine is the kernel's while it waits, and one
 * that is stopped goes at once. Its request goes on alone.
 *
 * Invariants
 *   - a request is on the list, or the ring's until it is completed, and is then freed by the thread
 *   - request->wait, under the lock of its descriptor's record: NULL, or in the frame of who waits,
 *     with done false
 *   - what is submitted is submitted under that lock, in the use that was meant: the number of a
 *     descriptor that bl_close has closed since may stand for somebody's pipe
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/proc.h"
#include "io/regular.h"
#include "os/os.h"
#include "os/uring.h"
#include "sync/object.h"

enum { SINK = 1 << 16, SINKS = BL__FETCH_MOST / SINK, KICK = 0 /* data of the eventfd's read */ };

typedef struct ring_wait {
    bl__waiter w; /* lock: the record's */
    bool done;    /* lock: the record's */
    int result;   /* lock: the record's */
} ring_wait;

typedef struct ring_request {
    struct ring_request *next; /* immutable once pushed */
    ring_wait *wait;           /* lock: the record's */
    bl__fd *f;                 /* immutable */
    uint32_t use;              /* immutable */
    off_t at;                  /* immutable */
    size_t n;                  /* immutable */
} ring_request;

enum { RING_NONE, RING_OPENING, RING_OPEN, RING_REFUSED }; /* ring.state */

static struct {
    ring_request *list; /* atomic: newest first */
    uint32_t state;     /* atomic: RING_… */
    uint32_t ends;      /* atomic: the run is over */
    int event;          /* immutable while open */
    pthread_t thread;   /* immutable while open */
    bl__uring u;        /* the thread's */
    uint64_t kicks;     /* the ring's */
    uint32_t flying;    /* the thread's: requests that are the ring's */
    struct iovec kick;  /* immutable while open */
} ring;

static char ring_sink[SINK] __attribute__((aligned(4096)));

static void ring_kick(void)
{
    uint64_t one = 1;
    (void)!write(ring.event, &one, sizeof one);
}

/* ---- The thread ---- */

static void request_end(ring_request *q, int result)
{
    bl__g *woken = NULL;
    bl__lock(&q->f->lock, BL__RANK_FD);
    ring_wait *wait = q->wait;
    if (wait != NULL) {
        wait->done = true;
        wait->result = result;
        if (bl__waiter_linked(&wait->w) && bl__claim(wait->w.g)) {
            woken = wait->w.g;
            bl__waitq_remove(&q->f->side[0].queue, &wait->w);
        }
    }
    bl__unlock(&q->f->lock);
    bl__free(q);
    if (woken != NULL)
        bl__ready(woken, 0);
}

static void request_submit(ring_request *q)
{
    struct iovec iov[SINKS];
    uint32_t parts = 0;
    for (size_t left = q->n; left > 0; left -= iov[parts++].iov_len)
        iov[parts] = (struct iovec){ring_sink, left < SINK ? left : SINK};
    bl__lock(&q->f->lock, BL__RANK_FD);
    bool taken = q->wait != NULL && q->f->use == q->use;
    if (taken) {
        bl__uring_read(&ring.u, (int)q->f->number, iov, parts, q->at, (uintptr_t)q);
        bl__uring_enter(&ring.u, false);
        taken = bl__uring_queued(&ring.u) == 0;
        if (!taken)
            bl__uring_retract(&ring.u);
    }
    bl__unlock(&q->f->lock);
    if (taken)
        ring.flying++;
    else
        request_end(q, BL_ENOSYS);
}

static void ring_submit_all(void)
{
    ring_request *q = swap_acquire(&ring.list, NULL); /* ORD(ring): with request_push */
    while (q != NULL) {
        ring_request *next = q->next;
        request_submit(q);
        q = next;
    }
}

static void *ring_main(void *arg)
{
    uint64_t data = KICK;
    int32_t result;
    bool armed = false;
    (void)arg;
    bl__thread_began("belay-ring");
    /* ORD(ring): with bl__ring_end, before which all was pushed */
    while (!load_acquire(&ring.ends) || ring.flying > 0 || load_relaxed(&ring.list) != NULL) {
        if (!armed)
            bl__uring_read(&ring.u, ring.event, &ring.kick, 1, -1, KICK);
        armed = true;
        bl__uring_enter(&ring.u, true);
        while (bl__uring_completed(&ring.u, &data, &result)) {
            if (data == KICK) {
                armed = false;
                continue;
            }
            ring.flying--;
            request_end((ring_request *)(uintptr_t)data,
                        0); /* an error is the caller's own read's */
        }
        ring_submit_all();
    }
    return NULL;
}

/* ---- Who waits ---- */

static void ring_open(void)
{
    uint32_t none = RING_NONE;
    if (!cas_relaxed(&ring.state, &none, (uint32_t)RING_OPENING))
        return;
    uint32_t state = RING_REFUSED;
    if (bl__uring_open(&ring.u) == 0) {
        /* A read of one that does not block would fail at once. */
        ring.event = bl__fd_own(eventfd(0, EFD_CLOEXEC));
        ring.kick = (struct iovec){&ring.kicks, sizeof ring.kicks};
        ring.flying = 0;
        store_relaxed(&ring.ends, 0u);
        if (ring.event >= 0 && bl__thread_start(&ring.thread, ring_main, NULL, true) == 0) {
            state = RING_OPEN;
        } else {
            if (ring.event >= 0)
                close(ring.event);
            bl__uring_close(&ring.u);
        }
    }
    store_release(&ring.state, state); /* ORD(ring-open): with the loads of it */
}

static bool ring_is_open(void)
{
    return load_acquire(&ring.state) == RING_OPEN; /* ORD(ring-open): with ring_open */
}

/* The commit of the wait, which may be over when it has given back the lock; the request is not. */
static void request_push(bl__g *g, void *arg)
{
    ring_request *q = arg;
    (void)g;
    bl__unlock(&q->f->lock);
    ring_request *first = load_relaxed(&ring.list);
    do {
        q->next = first;
    } while (!cas_release(&ring.list, &first, q)); /* ORD(ring): with ring_submit_all */
    if (first == NULL)
        ring_kick();
}

int bl__ring_fetch(bl__fd *f, uint32_t use, off_t at, size_t n, bl_time deadline)
{
    bl__g *g = bl__self();
    if (load_relaxed(&ring.state) == RING_NONE)
        ring_open();
    if (!ring_is_open())
        return BL_ENOSYS;
    ring_request *q = bl__alloc(sizeof *q);
    ring_wait wait = {.result = 0};
    if (q == NULL)
        return BL_ENOSYS;
    *q = (ring_request){.wait = &wait, .f = f, .use = use, .at = at, .n = n};
    bl__lock(&f->lock, BL__RANK_FD);
    if (f->use != use) {
        bl__unlock(&f->lock);
        bl__free(q);
        return BL_ECLOSED;
    }
    bl__waiter_init(&wait.w, g);
    bl__waitq_push_back(&f->side[0].queue, &wait.w);
    add_relaxed(&bl__rt.file_waiters, 1u);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_IO,
                                    .cancellable = true,
                                    .obj = f,
                                    .deadline = deadline,
                                    .lock = &f->lock,
                                    .unlock = request_push,
                                    .unlock_arg = q});
    add_relaxed(&bl__rt.file_waiters, (uint32_t)-1);
    bl__lock(&f->lock, BL__RANK_FD);
    if (bl__waiter_linked(&wait.w))
        bl__waitq_remove(&f->side[0].queue, &wait.w);
    if (!wait.done)
        q->wait = NULL; /* the thread frees it */
    bl__unlock(&f->lock);
    return r < 0 ? r : wait.result;
}

/* ---- The run ---- */

int bl__ring_thread_count(void)
{
    if (!ring_is_open())
        return bl__thread_count();
    int all = bl__thread_count_own();
    return all > 0 ? all - 1 : all;
}

bool bl__ring_has(int fd) { return ring_is_open() && fd == ring.u.fd; }

/* No goroutine is left. Requests of those that were stopped may be: what is under way on a device
 * that does not answer is waited for, as the kernel would at the thread's end. */
void bl__ring_end(void)
{
    if (ring_is_open()) {
        store_release(&ring.ends, 1u); /* ORD(ring): with ring_main */
        ring_kick();
        pthread_join(ring.thread, NULL);
        close(ring.event);
        bl__uring_close(&ring.u);
    }
    store_relaxed(&ring.state, (uint32_t)RING_NONE);
}

void bl__ring_forked(void)
{
    if (!ring_is_open())
        return;
    close(ring.event);
    bl__uring_close(&ring.u);
    ring.list = NULL;
    store_relaxed(&ring.state, (uint32_t)RING_NONE);
}
