/* SPDX-License-Identifier: MIT */
/*
 * chan.c: channels: making, sending, receiving, closing. chan.h has the record, its invariants and
 * the operations under the lock; select.c waits on several.
 *
 * An operation takes the channel's lock, which is its only locked instruction unless it wakes
 * somebody. Lock-free queues were not taken: the exactly-one-instant decision of select, close, and
 * waiters that leave from the middle would each need a second protocol, and an uncontended lock
 * costs a quarter of an operation.
 *
 * A try that fails does so without the lock. It looks whether the channel is full (or empty) and
 * then whether it is closed, in this order: since a closed channel stays closed, one that is found
 * open was open at the moment of the first look too, and the answer was right at that moment.
 */
#include "sync/chan.h"
#include "arch/switch.h"
#include "core/blocking.h"
#include "core/bubble.h"

enum { CACHE_LINE = 64, MALLOC_ALIGN = 16 };

uint32_t bl__chan_bubble_here(void)
{
    const bl__bubble *b = bl__bubble_here();
    return b != NULL ? b->id : 0;
}

/* One that the program made. */
static void bubble_mark(bl_chan *c)
{
    store_relaxed(&c->magic, (uint32_t)(c->bubble != 0 ? BL__CHAN_BUBBLE : BL__CHAN_LIVE));
}

void bl__chan_bubble_enter(bl_chan *c)
{
    c->bubble = bl__chan_bubble_here();
    bubble_mark(c);
}

void bl__chan_check_bubble(const bl_chan *c, const char *does, const char *what)
{
    if (load_relaxed(&c->magic) != BL__CHAN_BUBBLE || bl__chan_bubble_here() == c->bubble ||
        bl__helper_bubble() == c->bubble)
        return;
    bl__fatal_of(does, BL__WAIT_CHAN_RECV, c, "%s from outside the bubble", what);
}

uint32_t bl__chan_bubble(const void *chan) { return ((const bl_chan *)chan)->bubble; }

uint32_t bl__select_bubble(const void *select_wait)
{
    const bl__select_wait *w = select_wait;
    uint32_t of = BL__BUBBLE_ANY;
    for (size_t i = 0; i < w->n; i++) {
        const bl_chan *c = w->cases[i].chan;
        if (c != NULL && of != BL__BUBBLE_ANY && c->bubble != of)
            return BL__BUBBLE_MIXED;
        of = c != NULL ? c->bubble : of;
    }
    return of;
}

static void chan_free(bl_chan *c)
{
    bl__unmade(c);
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    const bl__waiter *w = c->recvq.head ? c->recvq.head : c->sendq.head;
    if (w && w->g->site)
        bl__fatal("use of a freed channel: its last reference was released while goroutine %llu "
                  "(%s) waits on it; made by %s at %s:%d",
                  (unsigned long long)w->g->id, w->g->site->what, c->made->func, c->made->file,
                  c->made->line);
    if (w)
        bl__fatal("use of a freed channel: its last reference was released while a thread waits on "
                  "it; made by %s at %s:%d",
                  c->made->func, c->made->file, c->made->line);
    store_relaxed(&c->magic, (uint32_t)BL__CHAN_FREED);
    bl__object_unlock(&c->lock);
    bl__free(c->memory);
}

bl_chan *bl__chan_make(size_t elem_size, size_t cap, const bl__site *site)
{
    if (elem_size > BL__CHAN_MAX_SIZE || cap > UINT32_MAX)
        return NULL;
    size_t bytes;
    if (__builtin_mul_overflow(elem_size, cap, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(bl_chan) + CACHE_LINE - MALLOC_ALIGN, &bytes))
        return NULL;
#if BL__RACE
    if (__builtin_add_overflow(bytes, cap * sizeof(bl__race_pair) + 7, &bytes))
        return NULL;
#endif
    char *memory = NULL;
    if (bl__san_on_valgrind()) /* which takes a pointer into a block for none that holds it */
        (void)posix_memalign((void **)&memory, CACHE_LINE, bytes);
    else
        memory = bl__alloc(bytes);
    if (!memory)
        return NULL;
    bl_chan *c = (bl_chan *)(void *)(memory + (-(uintptr_t)memory & (CACHE_LINE - 1)));
    *c = (bl_chan){
        .magic = BL__CHAN_LIVE,
        .size = (uint16_t)elem_size,
        .cap = (uint32_t)cap,
        .refs = 1,
        .made = site,
        .memory = memory,
        .bubble = bl__chan_bubble_here(),
    };
    return c;
}

bl_chan *bl__chan_new(size_t elem_size, size_t cap, const bl__site *site)
{
    bl__asked();
    bl_chan *c = bl__chan_make(elem_size, cap, site);
    if (!c)
        return NULL;
    bubble_mark(c);
    bl__made(BL__MADE_CHAN, c, site);
    return c;
}

static void scope_release(bl__res *res)
{
    bl_chan_release((bl_chan *)(void *)((char *)res - offsetof(bl_chan, res)));
}

bl_chan *bl__scope_chan(bl_scope *s, size_t elem_size, size_t cap, const bl__site *site)
{
    bl_chan *c = bl__chan_make(elem_size, cap, site);
    if (c) {
        bubble_mark(c);
        c->res.release = scope_release;
        bl__scope_own(s, &c->res);
    }
    return c;
}

static void refuse_timer(const bl_chan *c, const char *does, const char *what)
{
    if (c->timer)
        bl__fatal_of(does, BL__WAIT_CHAN_RECV, c,
                     "belay: %s a timer's channel, which belongs to the timer", what);
}

static void refuse_done(const bl_chan *c, const char *does, const char *what)
{
    if (load_relaxed(&c->done) != 0)
        bl__fatal_of(does, BL__WAIT_CHAN_RECV, c,
                     "belay: %s a context's done channel, which bl_ctx_cancel closes", what);
}

bl_chan *bl_chan_retain(bl_chan *c)
{
    if (!c)
        return NULL;
    bl__chan_check(c, BL__ANY_SIZE);
    refuse_timer(c, "retains", "retain of");
    (void)add_relaxed(&c->refs, 1u);
    return c;
}

void bl_chan_release(bl_chan *c)
{
    if (!c)
        return;
    bl__chan_check(c, BL__ANY_SIZE);
    refuse_timer(c, "releases", "release of");
    if (add_acq_rel(&c->refs, -1u) != 1) /* ORD(chan-refs): with the other releases */
        return;
    if (BL__UNLIKELY(load_relaxed(&c->done) == BL__CHAN_DONE))
        bl__fatal_of("releases", BL__WAIT_CHAN_RECV, c,
                     "belay: release of a context's done channel, which belongs to the context");
    chan_free(c); /* ORD(chan-refs): after all that was done with the other references */
}

void bl__chan_check_slow(const bl_chan *c, size_t size)
{
    if (!bl__chan_is_live(load_relaxed(&c->magic)))
        bl__fatal("use of a freed channel");
    if (size == c->size || size == BL__ANY_SIZE || c->size == 0)
        return;
    bl__fatal_size("value", size, "channel of elements", c->size, c->made);
}

void bl__chan_check_recv_slow(const bl_chan *c, size_t size)
{
    bl__chan_check(c, size);
    bl__chan_check_bubble(c, "receives from", "receive on a bubble's channel");
}

void bl__chan_check_send_slow(const bl_chan *c, size_t size)
{
    bl__chan_check(c, size);
    refuse_timer(c, "sends to", "send to");
    refuse_done(c, "sends to", "send to");
    bl__chan_check_bubble(c, "sends to", "send on a bubble's channel");
}

void bl__elem_move_any(void *to, const void *from, size_t size)
{
    if (!to || size == 0)
        return;
    if (!from) {
        memset(to, 0, size);
        return;
    }
    switch (size) {
    case 1: memcpy(to, from, 1); return;
    case 2: memcpy(to, from, 2); return;
    case 4: memcpy(to, from, 4); return;
    case 8: memcpy(to, from, 8); return;
    case 16: memcpy(to, from, 16); return;
    default: memcpy(to, from, size);
    }
}

/* ---- Waiting ---- */

/* On a NULL channel: until stopped. */
static BL__HOT int nil_wait(bl__reason reason, bl_time deadline)
{
    bl__g *g = bl__self();
    bl__lock(&g->lock, BL__RANK_G);
    int r = bl__park(
        g,
        &(bl__wait){.reason = reason, .cancellable = true, .lock = &g->lock, .deadline = deadline});
    bl__lock(&g->lock, BL__RANK_G); /* not before it was given back: g's record might be reused */
    bl__unlock(&g->lock);
    return r;
}

/* w, in the frame of the caller, was not woken but stopped, with r. */
static __attribute__((noinline)) int wait_stopped(bl__waiter *w, bool sends, int r)
{
    bl_chan *c = (bl_chan *)(uintptr_t)w->g->wait_obj;
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    bl__waitq_remove(sends ? &c->sendq : &c->recvq, w);
    bl__chan_unlock(c);
    return r;
}

/* Under the lock, which it gives back: waits in q with val. 0, BL_ECLOSED, or why it stopped. */
static BL__HOT int queue_wait(bl_chan *c, bl__waitq *q, bl__reason reason, void *val,
                              bl_time deadline)
{
    bl__g *g = bl__self();
    bl__waiter w = {.g = g, .val = val};
    bl__wait_race_offer(g);
    bl__waitq_push_back(q, &w);
    bl__chan_invariants(c);
    int r = BL__LIKELY(deadline == BL_NEVER) ? bl__park_stop(g, reason, c, &c->lock)
                                             : bl__park(g, &(bl__wait){.reason = reason,
                                                                       .cancellable = true,
                                                                       .obj = c,
                                                                       .lock = &c->lock,
                                                                       .deadline = deadline});
    bl__wait_race_woken(w.g);
    if (BL__LIKELY(r >= 0))
        return BL__LIKELY(r == 0) ? 0 : BL_ECLOSED;
    return wait_stopped(&w, reason == BL__WAIT_CHAN_SEND, r);
}

static __attribute__((noinline)) BL__RETURN_BY_JUMP int send_wait(bl_chan *c, const void *v,
                                                                  bl_time deadline)
{
    return queue_wait(c, &c->sendq, BL__WAIT_CHAN_SEND, (void *)(uintptr_t)v, deadline);
}

static __attribute__((noinline)) BL__RETURN_BY_JUMP int recv_wait(bl_chan *c, void *v,
                                                                  bl_time deadline)
{
    return queue_wait(c, &c->recvq, BL__WAIT_CHAN_RECV, v, deadline);
}

/* ---- Send and receive ---- */

/* Ends an operation that did not have to wait. Who has woken somebody has succeeded. */
static BL__HOT int op_end(bl_chan *c, bl__wake wake, int r)
{
    bl__chan_unlock(c);
    return BL__UNLIKELY(wake.g) ? bl__ready_last(wake.g, wake.result) : r;
}

/* The lock is held; deadline is a constant where it is none. */
static BL__HOT int send_holding(bl_chan *c, const void *v, bl_time deadline)
{
    bl__wake wake;
    int r = bl__chan_send_locked(c, v, &wake, false);
    return r == BL_EAGAIN ? send_wait(c, v, deadline) : op_end(c, wake, r);
}

static BL__HOT int recv_holding(bl_chan *c, void *v, bl_time deadline)
{
    bl__wake wake;
    int r = bl__chan_recv_locked(c, v, &wake, false);
    return r == BL_EAGAIN ? recv_wait(c, v, deadline) : op_end(c, wake, r);
}

static __attribute__((noinline)) int chan_send(bl_chan *c, const void *v, size_t size,
                                               bl_time deadline)
{
    bl__asked();
    if (!c)
        return nil_wait(BL__WAIT_CHAN_SEND_NIL, deadline);
    bl__chan_check_send(c, size);
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    return send_holding(c, v, deadline);
}

static __attribute__((noinline)) int chan_recv(bl_chan *c, void *v, size_t size, bl_time deadline)
{
    bl__asked();
    if (!c)
        return nil_wait(BL__WAIT_CHAN_RECV_NIL, deadline);
    bl__chan_check_recv(c, size);
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    return recv_holding(c, v, deadline);
}

/* What would be a usual one if the run were solo. */
static __attribute__((noinline)) int send_shared(bl_chan *c, const void *v, bl__solo *s)
{
    bl__object_lock_refused(s, &c->lock, BL__RANK_CHAN);
    return send_holding(c, v, BL_NEVER);
}

static __attribute__((noinline)) int recv_shared(bl_chan *c, void *v, bl__solo *s)
{
    bl__object_lock_refused(s, &c->lock, BL__RANK_CHAN);
    return recv_holding(c, v, BL_NEVER);
}

/* It is a usual operation (chan.h), if it is solo. A send to a closed channel is none. */
static BL__HOT bool usual(const bl_chan *c, size_t size, bool send)
{
    return BL__LIKELY(c != NULL) && BL__LIKELY(load_relaxed(&c->magic) == BL__CHAN_LIVE) &&
           BL__LIKELY(size == (send ? load_relaxed(&c->kind) : c->size)) &&
           BL__LIKELY(bl__elem_is_word(size));
}

static BL__HOT int usual_end(bl__solo *s, bl_chan *c, bl__wake wake, int r)
{
    bl__chan_invariants(c);
    bl__object_unlock_solo(s, &c->lock);
    return BL__UNLIKELY(wake.g) ? bl__ready_last(wake.g, wake.result) : r;
}

/* The values are the user's, and accessed for the caller (race.h): what is sent when the call
 * begins, what is received when it ends. */
static BL__HOT void sent(const bl_chan *c, const void *v)
{
    if (c)
        bl__race_read(v, c->size);
}
static BL__HOT int received(void *v, size_t size, int r)
{
    if (r == 0 || r == BL_ECLOSED)
        bl__race_write(v, size);
    return r;
}
static BL__HOT size_t value_size(const bl_chan *c)
{
    return BL__RACE && c ? c->size : 0; /* before the call: whoever has received may free it */
}

int bl__chan_send(bl_chan *c, const void *v, size_t size)
{
    BL__RACE_FRAME();
    sent(c, v);
    if (!usual(c, size, true))
        return chan_send(c, v, size, BL_NEVER);
    bl__solo *s = bl__solo_here();
    if (!bl__object_lock_solo(s, &c->lock, BL__RANK_CHAN))
        return send_shared(c, v, s);
    bl__wake wake;
    int r = bl__chan_send_locked(c, v, &wake, true);
    return r == BL_EAGAIN ? send_wait(c, v, BL_NEVER) : usual_end(s, c, wake, r);
}

int bl__chan_recv(bl_chan *c, void *v, size_t size)
{
    BL__RACE_FRAME();
    size_t value = value_size(c);
    if (!usual(c, size, false))
        return received(v, value, chan_recv(c, v, size, BL_NEVER));
    bl__solo *s = bl__solo_here();
    if (!bl__object_lock_solo(s, &c->lock, BL__RANK_CHAN))
        return received(v, value, recv_shared(c, v, s));
    bl__wake wake;
    int r = bl__chan_recv_locked(c, v, &wake, true);
    return received(v, value,
                    r == BL_EAGAIN ? recv_wait(c, v, BL_NEVER) : usual_end(s, c, wake, r));
}

int bl__chan_send_until(bl_chan *c, const void *v, size_t size, bl_time deadline)
{
    BL__RACE_FRAME();
    sent(c, v);
    return chan_send(c, v, size, bl__deadline(deadline));
}

int bl__chan_recv_until(bl_chan *c, void *v, size_t size, bl_time deadline)
{
    BL__RACE_FRAME();
    size_t value = value_size(c);
    return received(v, value, chan_recv(c, v, size, bl__deadline(deadline)));
}

static BL__HOT int try_send(bl_chan *c, const void *v)
{
    /* ORD(chan-peek): keeps the look at closed behind this one, here and in try_recv */
    bool full = c->cap == 0 ? !load_acquire(&c->recvq.head) : load_acquire(&c->len) == c->cap;
    if (full && !load_relaxed(&c->closed))
        return BL_EAGAIN;
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    bl__wake wake;
    int r = bl__chan_send_locked(c, v, &wake, false);
    return op_end(c, wake, r);
}

int bl__chan_try_send_own(bl_chan *c, const void *v, size_t size)
{
    if (!c)
        return BL_EAGAIN;
    bl__chan_check(c, size);
    return try_send(c, v);
}

static int try_recv(bl_chan *c, void *v)
{
    /* ORD(chan-peek): as in try_send */
    bool empty = c->cap == 0 ? !load_acquire(&c->sendq.head) : load_acquire(&c->len) == 0;
    if (empty && !load_relaxed(&c->closed))
        return BL_EAGAIN;
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    bl__wake wake;
    int r = bl__chan_recv_locked(c, v, &wake, false);
    return op_end(c, wake, r);
}

int bl__chan_try_send(bl_chan *c, const void *v, size_t size)
{
    BL__RACE_FRAME();
    bl__asked();
    sent(c, v);
    if (!c)
        return BL_EAGAIN;
    bl__chan_check_send(c, size);
    return try_send(c, v);
}

int bl__chan_try_recv(bl_chan *c, void *v, size_t size)
{
    BL__RACE_FRAME();
    bl__asked();
    size_t value = value_size(c);
    if (!c)
        return BL_EAGAIN;
    bl__chan_check_recv(c, size);
    return received(v, value, try_recv(c, v));
}

/* ---- Close and the rest ---- */

/* A crowd is woken in parts, so that a waiter's memory is touched once, while it is in the cache.
 * The close is one instant all the same, that of storing closed: from then on no send succeeds, nor
 * is a waiting sender's value taken. Whoever waits and is stopped by something else before its turn
 * comes (a deadline, another case) met two things at once, of which either may win. Claiming all of
 * them at once was tried: a second walk through cold memory, twice the time, and the lock held for
 * a crowd. */
typedef struct closing {
    bl__wake wakes[64];
    size_t n;
} closing;

/* Under the lock: claims waiters of q, as many as there is room for. */
static void close_queue(bl_chan *c, bl__waitq *q, bool receivers, closing *part)
{
    bl__waiter *w;
    while (part->n < sizeof part->wakes / sizeof *part->wakes && (w = bl__chan_claim(q, false))) {
        if (receivers) {
            bl__wait_race_tell(w->g);
            bl__elem_move(w->val, NULL, c->size, false);
        }
        part->wakes[part->n++] = (bl__wake){w->g, (int)w->n * 2 + 1};
    }
}

void bl_chan_close(bl_chan *c)
{
    if (!c)
        bl__fatal("close of nil channel");
    bl__chan_check(c, BL__ANY_SIZE);
    refuse_timer(c, "closes", "close of");
    refuse_done(c, "closes", "close of");
    bl__chan_check_bubble(c, "closes", "close of a bubble's channel");
    bl__chan_close(c);
}

/* The closer does not let those run meanwhile whom it has woken, although they would still be in the
 * cache (a sixth of what releasing a crowd takes): it would wait for what they do, and the others
 * would pass their deadlines beside a channel that is closed. */
void bl__chan_close(bl_chan *c)
{
    bl__object_lock(&c->lock, BL__RANK_CHAN);
    if (c->closed) {
        bl__object_unlock(&c->lock);
        bl__fatal_of("closes", BL__WAIT_CHAN_RECV, c, "close of closed channel");
    }
    bl__race_release(&c->closed);
    store_relaxed(&c->closed, (uint8_t)1);
    for (bool more = true, held = false; more;) {
        closing part;
        part.n = 0;
        close_queue(c, &c->recvq, true, &part);
        close_queue(c, &c->sendq, false, &part);
        more = !bl__waitq_empty(&c->recvq) || !bl__waitq_empty(&c->sendq);
        if (!more)
            store_relaxed(&c->closed, (uint8_t)2);
        if (more && !held) { /* who is woken may release the channel before all are */
            held = true;
            (void)add_relaxed(&c->refs, 1u);
        }
        bl__object_unlock(&c->lock);
        for (size_t i = 0; i < part.n; i++)
            bl__ready(part.wakes[i].g, part.wakes[i].result);
        if (more)
            bl__object_lock(&c->lock, BL__RANK_CHAN);
        else if (held)
            bl_chan_release(c);
    }
}

size_t bl_chan_len(bl_chan *c)
{
    bl__asked();
    if (!c)
        return 0;
    bl__chan_check(c, BL__ANY_SIZE);
    return c->timer ? 0 : load_relaxed(&c->len);
}

size_t bl_chan_cap(bl_chan *c)
{
    if (!c)
        return 0;
    bl__chan_check(c, BL__ANY_SIZE);
    return c->timer ? 0 : c->cap;
}

/* ---- A timer's channel ---- */

void bl__chan_init_timer(bl_chan *c, const bl__site *site)
{
    *c = (bl_chan){
        .magic = BL__CHAN_LIVE,
        .size = sizeof(bl_time),
        .cap = 1,
        .timer = 1,
        .refs = 1,
        .made = site,
    };
}

bool bl__chan_timer_put(bl_chan *c, bl_time v)
{
    return bl__chan_try_send_own(c, &v, sizeof v) == 0;
}

bool bl__chan_timer_drain(bl_chan *c)
{
    bl_time dropped;
    return try_recv(c, &dropped) == 0;
}

#ifdef BL__DEBUG
void bl__chan_invariants(const bl_chan *c)
{
    const bl__waiter *receiver = c->recvq.head, *sender = c->sendq.head;
    if (c->len > c->cap || (c->cap && ((uint64_t)c->head + c->len) % c->cap != c->tail))
        bl__fatal("belay: invariant: channel: len %u, cap %u, head %u, tail %u", c->len, c->cap,
                  c->head, c->tail);
    if (c->closed == 2 && (receiver || sender))
        bl__fatal("belay: invariant: channel: somebody waits on a closed one");
    if (c->len > 0 && receiver)
        bl__fatal("belay: invariant: channel: a receiver waits beside %u elements", c->len);
    if (c->len < c->cap && sender && !c->closed)
        bl__fatal("belay: invariant: channel: a sender waits beside room for %u", c->cap - c->len);
    if (receiver && sender && receiver->g != sender->g)
        bl__fatal("belay: invariant: channel: a receiver and a sender wait for each other");
}
#endif
