/* SPDX-License-Identifier: MIT */
/*
 * select.c: waiting on several channels, of which exactly one case runs.
 *
 * First an optimistic pass: look at all cases without locks, choose one of those that seem ready,
 * and run it under its channel's lock alone. That is sound: any case that is ready at the instant
 * when it runs may be chosen, whatever the others do. "None is ready" is what no sequence of
 * single looks can find out (a value may move from a channel not yet looked at to one looked at
 * before), so that is decided with all channels locked. Locking them all at once on every select,
 * as Go does, costs a select with a ready case four times as much.
 *
 * The choice among the ready cases is uniform: they are counted, and one is drawn. It needs no
 * random number when one is ready, which is the common case.
 *
 * While the run is solo (core/solo.h) a section stands for all the locks: the first look is no
 * guess, and a select with nothing ready parks like an operation on one channel.
 *
 * What a select finds ready, and which of its waiters are still linked when it comes back, differs
 * from one time to the next. So the loops do not branch on it: a mispredicted branch costs as much
 * as two cases.
 *
 * Locks are taken in the order of the channels' addresses, each once however many cases name it,
 * and a parked select's are given back on the other side of the switch. The order of locks stands
 * in the frame of the select: it may not return before all are given back. It cannot: it has to
 * pass through the lock of each channel on which its waiter is still linked, and one that it finds
 * unlinked was unlinked by somebody who has held that lock since.
 *
 * A select never meets itself: its own waiters are linked after the last look and cannot be claimed
 * until it is parked, and each waker claims it for a single case.
 */
#include "arch/switch.h"
#include "core/bubble.h"
#include "sync/chan.h"

enum {
    STACK_CASES = 64,        /* more of them take heap memory */
    MAX_CASES = INT_MAX / 2, /* what a waker's result can carry */
};

typedef struct sel {
    bl_case *cases;
    size_t n;
    bl_chan **order;     /* the channels, by address, each once */
    size_t locks;        /* how many */
    bool solo;           /* in a solo section, which stands for all the locks */
    bl__waiter *waiters; /* one a case */
} sel;

/* A random number below n, cheap and good enough to be fair. Not inlined, so that the address of
 * the thread-local is never kept across a switch. */
static __attribute__((noinline)) uint32_t random_below(uint32_t n)
{
    static __thread uint64_t state __attribute__((tls_model("initial-exec")));
    uint64_t x = state ? state : (uintptr_t)&state * UINT64_C(0x9e3779b97f4a7c15) | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    state = x;
    return (uint32_t)(((x >> 32) * n) >> 32);
}

/* Without the lock a guess; with it true for all that is ready, and for a channel whose waiting
 * peers have all just been stopped. */
static BL__HOT bool case_seems_ready(const bl_case *k)
{
    const bl_chan *c = k->chan;
    if (BL__LIKELY(k->op == BL__OP_RECV))
        return (load_relaxed(&c->len) | load_relaxed(&c->closed) |
                (uintptr_t)load_relaxed(&c->sendq.head)) != 0;
    return load_relaxed(&c->len) < c->cap || load_relaxed(&c->closed) ||
           !bl__waitq_empty(&c->recvq);
}

/* Fatal for a case that makes no sense. */
static __attribute__((noinline, cold)) void cases_check(const bl_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (cases[i].op != BL__OP_RECV && cases[i].op != BL__OP_SEND)
            bl__fatal("belay: case %zu of a select is neither a send nor a receive", i);
        if (cases[i].chan)
            bl__chan_check_bubble(cases[i].chan, "selects on", "select on a bubble's channel");
        if (cases[i].chan && cases[i].op == BL__OP_RECV)
            bl__chan_check(cases[i].chan, cases[i].size);
        else if (cases[i].chan)
            bl__chan_check_send(cases[i].chan, cases[i].size);
    }
}

static BL__HOT bool case_is_odd(const bl_case *k)
{
    const bl_chan *c = k->chan;
    if (BL__LIKELY(k->op == BL__OP_RECV))
        return c && (BL__UNLIKELY(load_relaxed(&c->magic) != BL__CHAN_LIVE) ||
                     BL__UNLIKELY(k->size != c->size));
    return BL__UNLIKELY(k->op != BL__OP_SEND) ||
           (c && (BL__UNLIKELY(load_relaxed(&c->magic) != BL__CHAN_LIVE) ||
                  BL__UNLIKELY(k->size != load_relaxed(&c->kind))));
}

/* What a look at all cases finds. Where it ends does not depend on what it finds, nor does it
 * branch on that: who is ready is what no branch predictor knows. */
typedef struct look {
    size_t ready; /* cases that seem so */
    size_t last;  /* the last of them */
} look;

static BL__HOT void look_at(look *l, const bl_case *cases, size_t i)
{
    bool ready = case_seems_ready(&cases[i]);
    l->ready += ready;
    l->last = ready ? i : l->last;
}

/* Of several that seem ready one, each as likely. In a bubble the seed says which. */
static size_t choose_among(const bl_case *cases, size_t n, look found)
{
    bl__bubble *b = bl__bubble_here();
    size_t left =
        b != NULL ? bl__bubble_draw(b, (uint32_t)found.ready) : random_below((uint32_t)found.ready);
    for (size_t i = 0; i < n; i++)
        if (cases[i].chan && case_seems_ready(&cases[i]) && left-- == 0)
            return i;
    return found.last; /* others have run some meanwhile */
}

/* The index of one of the cases that seem ready, each as likely; -1: none does. */
static int choose(const bl_case *cases, size_t n)
{
    look found = {0, 0};
    for (size_t i = 0; i < n; i++)
        if (cases[i].chan)
            look_at(&found, cases, i);
    if (!found.ready)
        return -1;
    return (int)(found.ready == 1 ? found.last : choose_among(cases, n, found));
}

/* Under the lock of its channel: false if it was not ready. */
static BL__HOT bool case_run(bl_case *k, bl__wake *wake)
{
    int r = k->op == BL__OP_RECV ? bl__chan_recv_locked(k->chan, k->val, wake, false)
                                 : bl__chan_send_locked(k->chan, k->val, wake, false);
    if (r == BL_EAGAIN)
        return false;
    k->err = r;
    return true;
}

/* For very many: sorts n channels by address (Shell, with Knuth's gaps) and drops the duplicates.
 * How many there are then. */
static __attribute__((noinline)) size_t sort_channels(bl_chan **order, size_t n)
{
    size_t gap = 1, kept = 0;
    while (gap < n / 9)
        gap = gap * 3 + 1;
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < n; i++) {
            bl_chan *c = order[i];
            size_t at = i;
            for (; at >= gap && (uintptr_t)order[at - gap] > (uintptr_t)c; at -= gap)
                order[at] = order[at - gap];
            order[at] = c;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || order[kept - 1] != order[i])
            order[kept++] = order[i];
    }
    return kept;
}

/* Puts c where it belongs among the n channels, unless it is there. How many there are then. */
static inline size_t insert_channel(bl_chan **order, size_t n, bl_chan *c)
{
    size_t at = n;
    while (at > 0 && (uintptr_t)order[at - 1] > (uintptr_t)c)
        at--;
    if (at > 0 && order[at - 1] == c)
        return n;
    for (size_t i = n; i > at; i--)
        order[i] = order[i - 1];
    order[at] = c;
    return n + 1;
}

static inline void lock_all(sel *s)
{
    size_t n = 0;
    s->locks = 0;
    if (s->solo || (s->solo = bl__solo_enter()))
        return;
    for (size_t i = 0; i < s->n; i++) {
        bl_chan *c = s->cases[i].chan;
        if (c && s->n <= STACK_CASES)
            n = insert_channel(s->order, n, c);
        else if (c)
            s->order[n++] = c;
    }
    if (s->n > STACK_CASES)
        n = sort_channels(s->order, n);
    s->locks = n;
    for (size_t i = 0; i < n; i++)
        bl__object_lock(&s->order[i]->lock, BL__RANK_CHAN);
}

/* Once the last lock is given back, s may be gone. */
static void unlock_all(const sel *s)
{
    size_t locks = s->locks;
    bl_chan **order = s->order;
    if (s->solo) {
        bl__solo_exit();
        return;
    }
    for (size_t i = 0; i < locks; i++)
        bl__chan_unlock(order[i]);
}

static void park_unlock(bl__g *g, void *arg)
{
    (void)g;
    unlock_all(arg);
}

static inline bl__waitq *case_queue(const bl_case *k)
{
    return k->op == BL__OP_RECV ? &k->chan->recvq : &k->chan->sendq;
}

/* Puts g's waiters into every case's queue. One of the channels, or NULL: all are. */
static BL__HOT bl_chan *link_all(const bl_case *cases, size_t n, bl__waiter *waiters, bl__g *g)
{
    bl_chan *home = NULL;
    bl__wait_race_offer(g);
    for (size_t i = 0; i < n; i++) {
        const bl_case *k = &cases[i];
        bl__waiter *w = &waiters[i];
        if (BL__UNLIKELY(!k->chan)) {
            bl__waiter_init(w, g); /* never linked */
            continue;
        }
        home = k->chan;
        w->g = g;
        w->val = k->val;
        w->n = i;
        bl__waitq_push_back(case_queue(k), w);
    }
    return home;
}

/* Takes the waiters that nobody has taken out of their queues. What the select returns after its
 * wait has ended with r. */
static BL__HOT int unlink_all(bl_case *cases, size_t n, bl__waiter *waiters, int r)
{
    bool solo = bl__solo_enter();
    for (size_t i = 0; solo && i < n; i++) {
        if (BL__LIKELY(cases[i].chan))
            bl__waitq_remove(case_queue(&cases[i]), &waiters[i]);
    }
    for (size_t i = 0; !solo && i < n; i++) {
        if (!bl__waiter_linked(&waiters[i]))
            continue;
        bl_chan *c = cases[i].chan;
        bl__lock(&c->lock, BL__RANK_CHAN);
        bl__waitq_remove(case_queue(&cases[i]), &waiters[i]);
        bl__chan_unlock(c);
    }
    if (solo)
        bl__solo_exit();
    if (BL__UNLIKELY(r < 0))
        return r;
    bl__wait_race_woken(waiters[r / 2].g);
    cases[r / 2].err = r & 1 ? BL_ECLOSED : 0;
    return r / 2;
}

/* Under all locks, which it gives back: waits in every case's queue. The index of the case that
 * somebody else ran with us, or why it was stopped. */
static int wait_all(sel *s, bl_time deadline)
{
    bl__g *g = bl__self();
    (void)link_all(s->cases, s->n, s->waiters, g);
    bl__select_wait report = {s->cases, s->n};
    bl__wait wait = {
        .reason = s->n ? BL__WAIT_SELECT : BL__WAIT_SELECT_NONE,
        .cancellable = true,
        .is_select = true,
        .obj = &report,
        .lock = &g->lock,
        .deadline = deadline,
    };
    bool locked = s->solo || s->locks;
    if (locked) {
        wait.unlock = park_unlock;
        wait.unlock_arg = s;
    } else {
        bl__lock(&g->lock, BL__RANK_G);
    }
    int r = bl__park(g, &wait);
    if (!locked) { /* not before it was given back: g's record might be reused */
        bl__lock(&g->lock, BL__RANK_G);
        bl__unlock(&g->lock);
    }
    return unlink_all(s->cases, s->n, s->waiters, r);
}

/* The same in a solo section, without a deadline. On the other side that is given back like the
 * lock of one of the channels, which it stands for. */
static __attribute__((noinline)) BL__RETURN_BY_JUMP int wait_solo(bl_case *cases, size_t n)
{
    bl__g *g = bl__self();
    bl__waiter waiters[n];
    bl_chan *home = link_all(cases, n, waiters, g);
    bl__select_wait report = {cases, n};
    bl__rank_take(&home->lock, BL__RANK_CHAN);
    int r = bl__park_stop(g, BL__WAIT_SELECT, &report, &home->lock);
    return unlink_all(cases, n, waiters, r);
}

/* With all channels locked: runs a case that is ready, or waits for one. */
static int select_locked(sel *s, bool wait, bl_time deadline)
{
    lock_all(s);
    /* A case that only seemed ready does so no longer once case_run has gone through its queue. */
    for (int i; (i = choose(s->cases, s->n)) >= 0;) {
        bl__wake wake;
        if (!case_run(&s->cases[i], &wake))
            continue;
        unlock_all(s);
        if (wake.g)
            bl__ready(wake.g, wake.result);
        return i;
    }
    if (wait)
        return wait_all(s, deadline);
    unlock_all(s);
    return BL_EAGAIN;
}

/* Of more cases than a frame should hold. */
static __attribute__((noinline)) int select_many(bl_case *cases, size_t n, bool wait,
                                                 bl_time deadline)
{
    sel s = {.cases = cases, .n = n};
    if (n > MAX_CASES)
        return BL_ENOMEM;
    s.waiters = bl__alloc(n * (sizeof *s.waiters + sizeof *s.order));
    if (!s.waiters)
        return BL_ENOMEM;
    s.order = (bl_chan **)(void *)(s.waiters + n);
    int r = select_locked(&s, wait, deadline);
    bl__free(s.waiters);
    return r;
}

/* What needs more than one look. The frame is no larger than the number of cases asks for. */
static __attribute__((noinline)) BL__RETURN_BY_JUMP int select_slow(bl_case *cases, size_t n,
                                                                    bool wait, bl_time deadline,
                                                                    bool solo)
{
    if (n > STACK_CASES) {
        if (solo) /* no section while memory is being found */
            bl__solo_exit();
        return select_many(cases, n, wait, deadline);
    }
    bl__waiter waiters[n ? n : 1];
    bl_chan *order[n ? n : 1];
    sel s = {.cases = cases, .n = n, .order = order, .solo = solo, .waiters = waiters};
    return select_locked(&s, wait, deadline);
}

/* Case i was seen to be ready. */
static __attribute__((noinline)) int select_ready(bl_case *cases, size_t n, bool wait,
                                                  bl_time deadline, bool solo, size_t i)
{
    bl_chan *c = cases[i].chan;
    bl__wake wake;
    if (!solo)
        bl__lock(&c->lock, BL__RANK_CHAN);
    bool ran = case_run(&cases[i], &wake);
    if (!solo)
        bl__chan_unlock(c);
    if (BL__UNLIKELY(!ran))
        return select_slow(cases, n, wait, deadline, solo);
    if (solo)
        bl__solo_exit();
    if (wake.g)
        bl__ready(wake.g, wake.result);
    return (int)i;
}

static __attribute__((noinline)) int select_among(bl_case *cases, size_t n, bool wait,
                                                  bl_time deadline, bool solo, const look *found)
{
    return select_ready(cases, n, wait, deadline, solo, choose_among(cases, n, *found));
}

/* The first look, in which nothing is called: what it leads to takes the place of this frame. */
static BL__HOT int select_any(bl_case *cases, size_t n, bool wait, bl_time deadline)
{
    bool solo = bl__solo_enter(); /* then the look is no guess: all is as if locked */
    const bl_chan *home = NULL;
    look found = {0, 0};
    for (size_t i = 0; i < n; i++) {
        const bl_case *k = &cases[i];
        if (BL__UNLIKELY(case_is_odd(k)))
            cases_check(cases, n);
        if (BL__UNLIKELY(!k->chan))
            continue;
        home = k->chan;
        look_at(&found, cases, i);
    }
    if (found.ready == 1)
        return select_ready(cases, n, wait, deadline, solo, found.last);
    if (found.ready)
        return select_among(cases, n, wait, deadline, solo, &found);
    if (BL__LIKELY(solo && home && wait && deadline == BL_NEVER && n <= STACK_CASES))
        return wait_solo(cases, n);
    return select_slow(cases, n, wait, deadline, solo);
}

/* The values are accessed for the caller (race.h): those to be sent when the call begins, the one
 * received when it ends. The size of what is received by void *, of the smallest such case: whoever
 * has received may free the channel. */
static BL__HOT size_t selecting(const bl_case *cases, size_t n)
{
    size_t untyped = BL__ANY_SIZE;
    for (size_t i = 0; BL__RACE && i < n; i++) {
        const bl_case *k = &cases[i];
        if (k->op == BL__OP_SEND && k->chan)
            bl__race_read(k->val, k->chan->size);
        else if (k->size == BL__ANY_SIZE && k->chan && k->chan->size < untyped)
            untyped = k->chan->size;
    }
    return untyped;
}
static BL__HOT int selected(bl_case *cases, size_t untyped, int r)
{
    if (BL__RACE && r >= 0) {
        const bl_case *k = &cases[r];
        bl__race_write(&cases[r].err, sizeof k->err);
        if (k->op == BL__OP_RECV)
            bl__race_write(k->val, k->size != BL__ANY_SIZE ? k->size : untyped);
    }
    return r;
}

int bl_select(bl_case *cs, size_t n)
{
    BL__RACE_FRAME();
    bl__asked();
    size_t untyped = selecting(cs, n);
    return selected(cs, untyped, select_any(cs, n, true, BL_NEVER));
}

int bl_try_select(bl_case *cs, size_t n)
{
    BL__RACE_FRAME();
    bl__asked();
    size_t untyped = selecting(cs, n);
    return selected(cs, untyped, select_any(cs, n, false, BL_NEVER));
}

int bl_select_until(bl_case *cs, size_t n, bl_time deadline)
{
    BL__RACE_FRAME();
    bl__asked();
    size_t untyped = selecting(cs, n);
    return selected(cs, untyped, select_any(cs, n, true, bl__deadline(deadline)));
}
