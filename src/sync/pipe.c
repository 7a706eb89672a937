/* SPDX-License-Identifier: MIT */
/*
 * pipe.c: two connected ends in memory, Go's net.Pipe: no buffer, each write meets the reads that
 * take it.
 *
 * Each direction is a channel over which the writer offers what it has left, and a reader takes of
 * it what it has room for and says how much that was. The bytes go straight from the writer's
 * memory to the reader's, while the writer waits for that word; nothing can stop that wait, since
 * the reader neither waits nor runs code of the user's meanwhile.
 *
 * Made of channels, so that a wait is durable in the bubble that the pipe was made in, and shows up
 * as a select on channels that were made where the pipe was; and the race detector has the edges of
 * those: write to read, read to the end of its write, close to who sees it. What is written is read
 * by the writer, when its call begins, and again by each reader.
 */
#include <string.h>

#include "arch/race.h"
#include "sync/chan.h"

/* What a writer has left; the reader's answer is how much of it was taken. */
typedef struct offer {
    const char *at;
    size_t size;
} offer;

typedef struct way {
    bl_chan *offers; /* of offer, no buffer */
    bl_chan *taken;  /* of size_t, room for one: the reader does not wait */
    bl_mutex writes; /* one after the other, each whole */
} way;

typedef struct pair pair;

struct bl_pipe {
    pair *both;
    bl_pipe *other;
    way in;           /* what this end reads */
    bl_chan *closed;  /* closed by bl_pipe_close */
    uint32_t closing; /* atomic */
};

struct pair {
    bl_pipe ends[2];
    uint32_t refs; /* atomic: ends that were not released */
};

static void pair_free(pair *both)
{
    bl__unmade(both);
    for (int i = 0; i < 2; i++) {
        bl_chan_release(both->ends[i].in.offers);
        bl_chan_release(both->ends[i].in.taken);
        bl_chan_release(both->ends[i].closed);
    }
    bl__free(both);
}

int bl__pipe_new(bl_pipe **a, bl_pipe **b, const bl__site *site)
{
    pair *both = bl__zalloc(sizeof *both);
    bool ok = both != NULL;
    *a = *b = NULL;
    if (!ok)
        return BL_ENOMEM;
    both->refs = 2;
    for (int i = 0; i < 2; i++) {
        bl_pipe *p = &both->ends[i];
        p->both = both;
        p->other = &both->ends[1 - i];
        p->in.offers = bl__chan_make(sizeof(offer), 0, site);
        p->in.taken = bl__chan_make(sizeof(size_t), 1, site);
        p->closed = bl__chan_make(0, 0, site);
        ok = ok && p->in.offers != NULL && p->in.taken != NULL && p->closed != NULL;
    }
    if (!ok) {
        pair_free(both);
        return BL_ENOMEM;
    }
    *a = &both->ends[0];
    *b = &both->ends[1];
    bl__made(BL__MADE_PIPE, both, site);
    return 0;
}

int bl_pipe_close(bl_pipe *p)
{
    uint32_t no = 0;
    if (cas_relaxed(&p->closing, &no, 1u)) /* one of the callers closes */
        bl_chan_close(p->closed);
    return 0;
}

void bl_pipe_release(bl_pipe *p)
{
    if (p == NULL)
        return;
    (void)bl_pipe_close(p);
    if (add_acq_rel(&p->both->refs, (uint32_t)-1) == 1) /* ORD(pipe): the other end's release */
        pair_free(p->both);                             /* ORD(pipe): and its uses before */
}

static bool is_closed(bl_pipe *p)
{
    return bl__chan_try_recv(p->closed, NULL, BL__ANY_SIZE) == BL_ECLOSED;
}

/* Waits for its case, or the closing of either end: 0; 1: the other one; BL_ECLOSED: this one; or
 * stopped. */
static int pipe_wait(bl_pipe *p, bl_case meet, bl_time deadline)
{
    bl_case cases[] = {meet, BL_RECV(p->closed, (void *)NULL),
                       BL_RECV(p->other->closed, (void *)NULL)};
    if (is_closed(p))
        return BL_ECLOSED;
    if (is_closed(p->other))
        return 1;
    int r = bl_select_until(cases, 3, deadline);
    return r == 1 ? BL_ECLOSED : r == 2 ? 1 : r;
}

ssize_t bl_pipe_read_until(bl_pipe *p, void *buf, size_t n, bl_time deadline)
{
    BL__RACE_FRAME();
    bl__asked();
    offer from;
    if (n == 0)
        return is_closed(p) ? BL_ECLOSED : 0;
    int r = pipe_wait(p, BL_RECV(p->in.offers, &from), deadline);
    if (r != 0)
        return r < 0 ? r : 0;
    size_t size = n < from.size ? n : from.size;
    bl__race_read(from.at, size);
    bl__race_write(buf, size);
    memcpy(buf, from.at, size);
    r = bl__chan_try_send(p->in.taken, &size, sizeof size);
    (void)r; /* there is room: one offer at a time */
    return (ssize_t)size;
}

/* What the reader has taken of the offer that it has; soon, and whatever becomes of the caller's
 * context. */
static size_t taken_await(way *w)
{
    static const bl__site site = {"a write to a pipe", "bl_pipe_write", __FILE__, __LINE__};
    size_t size = 0;
    bl_scope shield;
    if (bl__chan_try_recv(w->taken, &size, sizeof size) == 0)
        return size;
    (void)bl__scope_open(&shield, &(bl_scope_opts){.shield = true}, &site);
    int r = bl__chan_recv(w->taken, &size, sizeof size);
    (void)r; /* nobody closes it, and nothing cancels */
    (void)bl_scope_close(&shield);
    return size;
}

ssize_t bl_pipe_write_until(bl_pipe *p, const void *buf, size_t n, bl_time deadline)
{
    BL__RACE_FRAME();
    bl__asked();
    way *w = &p->other->in;
    size_t done = 0;
    bl__race_read(buf, n);
    if (n == 0)
        return is_closed(p) ? BL_ECLOSED : is_closed(p->other) ? BL_EPIPE : 0;
    int r = bl_mutex_lock_until(&w->writes, deadline);
    if (r < 0)
        return r;
    while (done < n) {
        offer rest = {(const char *)buf + done, n - done};
        r = pipe_wait(p, BL_SEND(w->offers, &rest), deadline);
        if (r != 0)
            break;
        done += taken_await(w);
    }
    bl_mutex_unlock(&w->writes);
    return done > 0 || r == 0 ? (ssize_t)done : r < 0 ? r : BL_EPIPE;
}

ssize_t bl_pipe_read(bl_pipe *p, void *buf, size_t n)
{
    BL__RACE_FRAME();
    return bl_pipe_read_until(p, buf, n, BL_NEVER);
}

ssize_t bl_pipe_write(bl_pipe *p, const void *buf, size_t n)
{
    BL__RACE_FRAME();
    return bl_pipe_write_until(p, buf, n, BL_NEVER);
}
