/* SPDX-License-Identifier: MIT */
/*
 * ctx_cancel.c: cancelling a context, and the goroutines that are to hear of it.
 *
 * A goroutine is registered with its current context at its first cancellable park there, and stays
 * on that context's list until it ends or moves to another context; so parking costs nothing
 * afterwards. A cancellation takes everyone off the list once, and wakes those whose wait it can
 * claim. Whoever runs at that moment sees the state at its next park: the parker stores its wait
 * and then loads the state, the canceller stores the state and then, after bl__heavy_barrier, loads
 * the waits. A cancelled context keeps no list; those who park there do not wait.
 *
 * The descendants are cancelled from a worklist, not by recursion, since a chain of contexts may be
 * as long as the program likes and goroutines' stacks are small.
 *
 * Who comes second returns at once, maybe before the first has come to all of them (in Go it waits
 * for the first one's lock): it may be a deadline that a processor fires, which cannot wait for a
 * thread that has lost its CPU.
 */
#include "life/ctx.h"

#include "arch/probe.h"
#include "sync/chan.h"

enum {
    WAKE_BATCH = 64
}; /* goroutines woken before the context's lock is given back for a moment */

/* ---- Who is registered ---- */

/* Under c's lock. */
static void waiting_unlink(bl_ctx *c, bl__g *g)
{
    bl__reg *r = g->reg;
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        c->waiting = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    store_release(&g->registered, NULL); /* ORD(registered): g may be gone now */
}

void bl__ctx_register(bl__g *g)
{
    bl_ctx *c = g->ctx;
    bl__ctx_unregister(g);
    if (!c->cancellable) {
        store_relaxed(&g->registered, c); /* on no list, but not to be asked for again */
        return;
    }
    bl__lock(&c->lock, BL__RANK_CTX);
    if (c->state == 0) {
        bl__reg *r = g->reg;
        r->prev = NULL;
        r->next = c->waiting;
        if (r->next != NULL)
            r->next->prev = r;
        c->waiting = r;
        store_relaxed(&g->registered, c);
    }
    bl__unlock(&c->lock);
}

/* Called by g itself, or when it can run no more. A canceller may take it off at the same time. */
void bl__ctx_unregister(bl__g *g)
{
    bl_ctx *c = load_acquire(&g->registered); /* ORD(registered): with waiting_unlink */
    if (c == NULL)
        return;
    if (!c->cancellable) {
        store_relaxed(&g->registered, NULL);
        return;
    }
    bl__lock(&c->lock, BL__RANK_CTX);
    if (g->registered == c)
        waiting_unlink(c, g);
    bl__unlock(&c->lock);
}

/* Under c's lock, which it gives back in between: nobody is added any more. */
static void waiting_wake(bl_ctx *c, int state)
{
    if (c->waiting == NULL)
        return;
    bl__heavy_barrier();
    for (int n = 1; c->waiting != NULL; n++) {
        bl__g *g = c->waiting->g;
        /* Claimed while it is on the list: one that is not may end without asking for the lock, and
         * its record be another's, or wait again where this cancellation does not reach. */
        bool claimed = bl__claim_cancel(g);
        waiting_unlink(c, g);
        if (claimed)
            bl__ready(g, state);
        if (n % WAKE_BATCH == 0) {
            bl__unlock(&c->lock);
            bl__lock(&c->lock, BL__RANK_CTX);
        }
    }
}

/* ---- Cancelling ---- */

/* Under c's lock: moves its children to the worklist, each with a reference. One whose last
 * reference is being released stays: its destroyer cancels and unlinks it. */
static void children_take(bl_ctx *c, bl_ctx **work)
{
    bl_ctx *stays = NULL;
    for (bl_ctx *child = c->children, *next; child != NULL; child = next) {
        next = child->next;
        child->prev = NULL;
        if (bl__ctx_try_retain(child)) {
            child->linked = 0;
            child->next = *work;
            *work = child;
        } else {
            child->next = stays;
            if (stays != NULL)
                stays->prev = child;
            stays = child;
        }
    }
    c->children = stays;
}

/* Cancels c alone; its children are the caller's to cancel then. */
static bool cancel_one(bl_ctx *c, int state, int cause, bl_ctx **work)
{
    bl__lock(&c->lock, BL__RANK_CTX);
    if (c->state != 0) {
        bl__unlock(&c->lock);
        return false;
    }
    bl__race_release(c);
    c->cause = cause;
    BL__PROBE3(cancel, c, state, cause);
    if (bl__traced() && (c->waiting != NULL || c->children != NULL)) /* somebody hears of it */
        bl__trace_cancel(c, cause);
    store_release(&c->state, state); /* ORD(cancel): with the loads of state */
    bl_chan *done = c->done;         /* one made after this is closed by its maker */
    bl_scope *late = c->scope != NULL && bl__scope_cancelled(c->scope) ? c->scope : NULL;
    bl_stop *stops = bl__ctx_afters_take(c);
    children_take(c, work);
    waiting_wake(c, state);
    bl__unlock(&c->lock);

    if (c->has_timer)
        (void)bl__timer_disarm(bl__ctx_timer(c));
    if (done != NULL)
        bl__chan_close(done);
    bl__ctx_afters_start(stops);
    if (late != NULL)
        bl__scope_cancelled_late(late);
    return true;
}

bool bl__ctx_cancel(bl_ctx *c, int state, int cause)
{
    bl_ctx *work = NULL;
    bl__solo_leave_outsider(); /* it claims goroutines, outside of their objects' locks */
    if (!cancel_one(c, state, cause, &work))
        return false;
    bl__ctx_unlink(c);
    while (work != NULL) {
        bl_ctx *child = work;
        work = child->next;
        (void)cancel_one(child, state, cause, &work);
        bl_ctx_release(child);
    }
    return true;
}

void bl_ctx_cancel(bl_ctx *c, int cause)
{
    bl__ctx_check(c);
    bl__unmade(c);
    if (c->cancellable)
        (void)bl__ctx_cancel(c, BL_ECANCELED, bl__ctx_cause_of(cause));
}
