/* SPDX-License-Identifier: MIT */
/*
 * stuck_threads.c: plain threads that wait for goroutines, and may be stuck as those are; and the
 * helper threads of bl_blocking, which do so for a goroutine.
 *
 * Noted are those that wait without an end in a call of the library and that no cancellation stops.
 * A helper is stopped by what stops the goroutine that it runs a function for, and that waits for
 * nobody else.
 * Whose lock, once or scope somebody known has is decided by the records alone. Of the others it
 * has to be known who gets at what they wait on: then their stacks are theirs and no longer
 * everybody's, with the thread-locals in them, and lead to what they have once somebody wakes them.
 * That takes a stack of whose bounds the C library knows, in a mapping that is no heap. What is in
 * their registers stands on the stack, since who begins to wait puts them there.
 *
 * A record goes with its thread. So it is read under sched's lock alone, under which who is in the
 * list stays; and at the end of a search each that seems to be stuck has to be there still, in the
 * same wait. All others are alive.
 */
#include "debug/stuck_notes.h"

#include "core/proc.h"

/* Somebody who is known has to come. */
static bool waits_for_owner(bl__reason reason)
{
    return reason == BL__WAIT_MUTEX || reason == BL__WAIT_RW_LOCK || reason == BL__WAIT_RW_RLOCK ||
           reason == BL__WAIT_ONCE || reason == BL__WAIT_TIMER || reason == BL__WAIT_SCOPE;
}

/* Whoever gets at its object. */
static bool waits_for_any(bl__reason reason)
{
    return reason == BL__WAIT_CHAN_RECV || reason == BL__WAIT_CHAN_SEND ||
           reason == BL__WAIT_CHAN_RECV_NIL || reason == BL__WAIT_CHAN_SEND_NIL ||
           reason == BL__WAIT_SELECT || reason == BL__WAIT_SELECT_NONE || reason == BL__WAIT_COND ||
           reason == BL__WAIT_WAITGROUP || reason == BL__WAIT_SEM;
}

/* Where its stack is, and that it is on it: so what it has can be told from what others have. What
 * belongs to a scope is not its alone. */
static bool thread_stack_known(const bl__m *m)
{
    return m->g0.inner == NULL && m->stack_low != NULL && m->blocked_at >= m->stack_low &&
           m->blocked_at < m->stack_own;
}

/* A plain thread that nothing is to stop, or a helper. Those that are not noted are alive. */
static void note_thread(const bl__m *m, void *arg)
{
    bl__notes *n = arg;
    const bl__g *g = &m->g0, *caller = m->caller; /* which is parked until the helper is done */
    const bl_ctx *ctx = caller != NULL ? caller->ctx : bl_ctx_background();
    bl__reason reason = (bl__reason)g->reason;
    bool known = thread_stack_known(m);
    uint32_t wait = load_acquire(&g->wait); /* ORD(wait): with the store before it waits */
    if (n->count == n->most || n->threads == BL__STUCK_THREADS || g->since > n->before ||
        wait < BL__W_SOLE || (wait > BL__W_SOLE && g->ctx != ctx) ||
        !(waits_for_owner(reason) || (known && waits_for_any(reason))))
        return;
    bl__node *d = &n->nodes[n->count];
    *d = (bl__node){.at = g,
                    .obj = g->wait_obj,
                    .switches = m->waits,
                    .reason = g->reason,
                    .stack = BL__REACH_OPEN,
                    .copy = BL__REACH_OPEN,
                    .thread = 1};
    if (caller != NULL) {
        d->home = caller->scope;
        d->ctx = caller->ctx;
        d->cancellable = wait == BL__W_CANCELLABLE;
        d->opener = caller->inner != caller->scope;
    }
    n->plain[n->threads++] = (bl__plain){.node = n->count,
                                         .low = known ? m->stack_low : NULL,
                                         .at = m->blocked_at,
                                         .own = m->stack_own,
                                         .high = m->stack_high,
                                         .caller = caller};
    if (g->reads_count > 0 || reason == BL__WAIT_RW_LOCK)
        bl__notes_reader(n, g);
    n->count++;
}

void bl__notes_threads(bl__notes *n) { bl__each_blocked(note_thread, n); }

bool bl__notes_thread_stack(bl__notes *n, bl__node *d)
{
    const bl__plain *p = n->plain;
    while (&n->nodes[p->node] != d)
        p++;
    if (p->low == NULL || n->blind || !bl__reach_private(n->reach, p->low, p->high))
        return false;
    bl__reach_skip(n->reach, &d->at->wait_obj, &d->at->wait_obj + 1);
    d->stack = bl__reach_stack(n->reach, p->at, p->own, p->own, false);
    d->copy = bl__reach_stack(n->reach, p->own, p->own, p->high, false);
    return true;
}

static void thread_waits(const bl__m *m, void *arg)
{
    bl__notes *n = arg;
    uint32_t i = bl__notes_node(n, &m->g0);
    n->waiting += i != BL__NOBODY && !n->nodes[i].alive && n->nodes[i].switches == m->waits;
}

bool bl__notes_threads_wait(bl__notes *n)
{
    uint32_t stuck = 0;
    for (uint32_t i = 0; i < n->count; i++)
        stuck += n->nodes[i].thread && !n->nodes[i].alive;
    n->waiting = 0;
    if (stuck > 0)
        bl__each_blocked(thread_waits, n);
    return n->waiting == stuck;
}
