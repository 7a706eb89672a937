/* SPDX-License-Identifier: MIT */
/*
 * fd.h: the record of a descriptor, and waiting for it.
 *
 * A record belongs to a number, is made when that is first used, and stays. A call that may have to
 * wait does
 *
 *     seen = bl__fd_look(f);
 *     …the system call, without waiting…              done, unless it says EAGAIN
 *     r = bl__fd_park(f, BL_READABLE, seen, deadline);   < 0: stopped; else again from the top
 *
 * Every event moves the side's state, and parking compares it under the lock with what was seen
 * before the system call: an event that came in between is not slept through.
 *
 * Drained. A read of a TCP connection that brings less than was asked for has emptied it, so the
 * next read would only be told EAGAIN: bl__fd_drained notes it in the state that was seen before
 * the read, and the note is gone with the next event. With it a request that was waited for costs
 * one read. A connection that ends, or has urgent data (at whose mark reads stop short), is marked
 * sticky and has no such notes any more.
 */
#ifndef BL__IO_FD_H
#define BL__IO_FD_H

#include "sync/waitq.h"

enum {
    BL__FD_DRAINED = 1,
    BL__FD_EVENT = 2
}; /* of a side's state: a flag, and one event counted */

enum {
    BL__FD_REGISTERED = 1, /* epoll has it, unless others closed it */
    BL__FD_CLOSING         /* bl_close is at it: who waits looks now and then, until it is closed */
};

/* How a descriptor's system calls are made not to wait (calls.c). */
enum {
    BL__FD_UNKNOWN,
    BL__FD_SOCKET,
    BL__FD_TCP,
    BL__FD_LISTENER,  /* a socket that bl_accept has set O_NONBLOCK on */
    BL__FD_NOWAIT,    /* takes RWF_NOWAIT: pipes */
    BL__FD_ASK_WRITE, /* reads take it, for a write poll(2) has to be asked first: eventfds */
    BL__FD_ASK,       /* for both: what else does not take it */
    BL__FD_TTY,       /* the same */
    BL__FD_REGULAR    /* never noted: a regular file */
};

typedef struct bl__fd_side {
    uint32_t state;  /* atomic: BL__FD_DRAINED, and the number of events so far; pairs with look */
    uint32_t turn;   /* lock: of reading a regular file: in which run one is under way; regular.c.
                        Of writing, atomic: tries that follow a wait, which bl_close waits for */
    bl__waitq queue; /* lock */
} bl__fd_side;

typedef struct bl__fd {
    uint32_t lock;
    uint32_t number;     /* immutable */
    uint32_t use;        /* lock to write, atomic to read: how often the number was closed */
    uint8_t kind;        /* atomic: BL__FD_… */
    uint8_t registered;  /* lock to write, atomic to look: BL__FD_REGISTERED … */
    uint8_t unchecked;   /* atomic: see bl__fd_check */
    uint8_t sticky;      /* atomic: never drained */
    bl__fd_side side[2]; /* of reading, of writing */
} bl__fd;

_Static_assert(sizeof(bl__fd) == 64, "a record is one cache line (page_make)");

typedef struct bl__fd_seen {
    uint32_t use;
    uint32_t state[2];
} bl__fd_seen;

enum { BL__FD_PAGE = 1024, BL__FD_PAGES = 16384 };
extern uint32_t bl__tty_lock;              /* somebody writes to a terminal; calls.c */
extern bl__fd *bl__fd_pages[BL__FD_PAGES]; /* atomic; immutable once set */

/* The record of fd, if there is one. */
static inline bl__fd *bl__fd_old(int fd)
{
    if (BL__UNLIKELY((unsigned)fd >= (unsigned)BL__FD_PAGE * BL__FD_PAGES))
        return NULL;
    bl__fd *page =
        load_acquire(&bl__fd_pages[(unsigned)fd / BL__FD_PAGE]); /* ORD(fdpage): with page_make */
    return BL__LIKELY(page != NULL) ? &page[(unsigned)fd % BL__FD_PAGE] : NULL;
}

/* The same, made if need be; or NULL with a negative error in *err. */
bl__fd *bl__fd_get(int fd, int *err);

static inline bl__fd_seen bl__fd_look(bl__fd *f)
{
    return (bl__fd_seen){
        .use = load_acquire(&f->use),              /* ORD(fd): with close */
        .state = {load_acquire(&f->side[0].state), /* ORD(fd): with the event */
                  load_acquire(&f->side[1].state)} /* ORD(fd) */
    };
}

static inline void bl__fd_drained(bl__fd *f, bl__fd_seen seen)
{
    uint32_t was = seen.state[0];
    if (!load_relaxed(&f->sticky))
        (void)cas_relaxed(&f->side[0].state, &was, was | BL__FD_DRAINED);
}

/* Waits until an event of one of the sides (BL_READABLE | BL_WRITABLE) may have come since seen. 0,
 * or why not: BL_ECLOSED, BL_ECANCELED, BL_ETIMEDOUT, or what epoll said (BL_EPERM: it does not
 * take such files). */
int bl__fd_park(bl__fd *f, int sides, bl__fd_seen seen, bl_time deadline);

/* The number stands for something else from now on: what was known of it is forgotten. Or (closed)
 * it is about to: whoever waits is told BL_ECLOSED, and who would wait looks now and then, until
 * bl__fd_closed. Between the two it can still be read and written, but to wait then would be for a
 * file that epoll is about to drop. */
void bl__fd_renew(bl__fd *f, bool closed);
void bl__fd_closed(bl__fd *f);

#endif
