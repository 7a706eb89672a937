/* SPDX-License-Identifier: MIT */
/*
 * stuck_objects.c: what a goroutine waits on, and with what it can be cancelled: who gets at one of
 * these could wake it.
 */
#include "debug/stuck_notes.h"

#include <string.h>

#include "core/proc.h"
#include "debug/describe.h"
#include "debug/peek.h"
#include "sync/chan.h"
#include "sync/object.h"

static void object_add(bl__notes *n, bl__node *d, const void *at)
{
    uint32_t i = bl__reach_object(n->reach, at);
    if (d->objects == 0)
        d->first = i;
    d->objects++;
}

/* The channel of a context: who can get at that, or at one above it that is no scope's, can cancel
 * it. False: whoever is to come is alive in any case: its deadline is, and so is a scope whose end
 * is waited for. */
static bool done_add(bl__notes *n, bl__node *d, const bl_ctx *at)
{
    bl_ctx c;
    bool own = false; /* it can be cancelled apart from what is above it */
    for (int i = 0; i < BL__STUCK_CONTEXTS && at != NULL; i++, at = c.upstream) {
        if (!bl__peek(&c, at, sizeof c) || c.magic != BL__CTX_MAGIC || c.state != 0 ||
            c.deadline != BL_NEVER)
            return false;
        if (c.scope != NULL)
            return own && n->s->leaks;
        own = own || c.kind != BL__CTX_VALUE;
        object_add(n, d, at);
    }
    return at == NULL;
}

/* The channel of a timer or ticker that was stopped, has fired, or was never started: whoever can
 * get at that can start it again. False: it is armed, or somebody works on it. */
static bool timer_add(bl__notes *n, bl__node *d, const bl_chan *at, const bl_chan *c)
{
    const bl_timer *t = c->bubble == 0 ? bl__timer_silent(at, c) : NULL;
    if (t == NULL)
        return false;
    bl__reach_skip(n->reach, t, t + 1);
    object_add(n, d, t);
    return true;
}

/* False: whoever is to come for this channel is alive in any case, as with an armed timer. */
static bool chan_add(bl__notes *n, bl__node *d, const bl_chan *at)
{
    bl_chan c;
    bl__site made;
    char what[8] = {0};
    if (at == NULL)
        return true;
    if (!bl__peek_near(n->pages, &c, at, sizeof c) || !bl__chan_is_live(c.magic))
        return false;
    if (c.timer)
        return timer_add(n, d, at, &c);
    if (c.made == NULL)
        return false;
    if (d->reason != BL__WAIT_SELECT)
        d->made = c.made;
    if (c.made != n->made) {
        if (!bl__peek(&made, c.made, sizeof made) || !bl__peek(what, made.what, sizeof what))
            return false;
        n->made = c.made;
        n->is_chan = memcmp(what, "channel", sizeof what) == 0;
    }
    if (!n->is_chan && c.ctx != NULL) /* those of a pipe have none */
        return done_add(n, d, c.ctx);
    object_add(n, d, at);
    return true;
}

/* One in its users' storage, which links who waits. */
static void sync_add(bl__notes *n, bl__node *d)
{
    static const uint8_t sizes[BL__WAIT_REASONS] = {
        [BL__WAIT_MUTEX] = sizeof(bl_mutex),         [BL__WAIT_RW_LOCK] = sizeof(bl_rwmutex),
        [BL__WAIT_RW_RLOCK] = sizeof(bl_rwmutex),    [BL__WAIT_COND] = sizeof(bl_cond),
        [BL__WAIT_WAITGROUP] = sizeof(bl_waitgroup), [BL__WAIT_SEM] = sizeof(bl_sem),
        [BL__WAIT_ONCE] = sizeof(bl_once),
    };
    bl__reach_skip(n->reach, d->obj, (const char *)d->obj + sizes[d->reason]);
    if (d->reason == BL__WAIT_MUTEX || d->reason == BL__WAIT_ONCE)
        return; /* the owner is known */
    bool rw = d->reason == BL__WAIT_RW_LOCK || d->reason == BL__WAIT_RW_RLOCK;
    bl_rwmutex m;
    d->kept = rw && bl__node_kept(n, d);
    if (d->kept || (rw && bl__peek(&m, d->obj, sizeof m) && (m.bl__word & BL__STUCK_RW_HELD) != 0))
        return;
    object_add(n, d, d->obj);
}

static bool select_add(bl__notes *n, bl__node *d)
{
    bl__select_wait s;
    if (!bl__peek(&s, d->obj, sizeof s) || s.n > BL__STUCK_CASES)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        bl_case c;
        if (!bl__peek(&c, s.cases + i, sizeof c) || !chan_add(n, d, c.chan))
            return false;
    }
    return true;
}

/* The context that is the i-th on the way up: most have the same ones. NULL: it cannot be read. */
static const bl__seen_ctx *ctx_see(bl__notes *n, int i, const bl_ctx *at)
{
    bl_ctx c;
    if (at == n->ctx[i].at)
        return &n->ctx[i];
    if (!bl__peek(&c, at, sizeof c))
        return NULL;
    n->ctx[i] = (bl__seen_ctx){.at = at,
                               .upstream = c.upstream,
                               .scope = c.scope,
                               .is_static = c.is_static,
                               .ends = c.state != 0 || c.deadline != BL_NEVER};
    return &n->ctx[i];
}

/* Who gets at the scope, or at a context from the goroutine's up to that, can cancel it; or at one
 * above that the scope's opener has made, so that its cancellation lets this one go on as well. Of
 * who has a scope open himself only what is within his own scope counts. When it is asked what is
 * leaked these are contexts that are no scope's, and scopes whose openers are stuck: others are at
 * hand for everybody who starts something there. False: it is cancelled already, or will be at a
 * time, or there are too many. */
static bool cancels_add(bl__notes *n, bl__node *d)
{
    const bl__home *h = &n->homes[d->scope];
    const bl__node *opener = h->opener != BL__NOBODY ? &n->nodes[h->opener] : NULL;
    const bl_ctx *at = d->ctx;
    bool leaks = n->s->leaks, above = false;
    const bl__seen_ctx *c;
    for (int i = 0; at != NULL; i++, at = c->upstream) {
        if (i == BL__STUCK_CONTEXTS || (c = ctx_see(n, i, at)) == NULL)
            return false;
        if (c->is_static)
            break;
        if (c->ends)
            return false;
        bool end =
            c->scope != NULL && (opener != NULL && !d->opener ? c->scope == opener->home : above);
        above = above || c->scope == d->home;
        if (end || (above && d->opener && !leaks))
            break;
        bool scopes = d->opener ? !above : !leaks || (opener != NULL && !opener->alive);
        if (c->scope == NULL || scopes)
            object_add(n, d, at);
        if (c->scope != NULL && c->scope != &bl__rt.root && scopes)
            object_add(n, d, c->scope);
    }
    return true;
}

/* False: it is alive after all. */
bool bl__node_objects(bl__notes *n, bl__node *d)
{
    bool may_be = true;
    switch (d->reason) {
    case BL__WAIT_CHAN_RECV:
    case BL__WAIT_CHAN_SEND: may_be = chan_add(n, d, d->obj); break;
    case BL__WAIT_SELECT: may_be = select_add(n, d); break;
    case BL__WAIT_MUTEX:
    case BL__WAIT_ONCE:
    case BL__WAIT_RW_LOCK:
    case BL__WAIT_RW_RLOCK:
    case BL__WAIT_COND:
    case BL__WAIT_WAITGROUP:
    case BL__WAIT_SEM: sync_add(n, d); break;
    default: break;
    }
    return may_be && (!d->cancellable || cancels_add(n, d));
}

static void scope_skip(bl__notes *n, const bl_scope *s)
{
    bl__reach_skip(n->reach, &s->bl__resources, &s->bl__resources + 1);
}

/* What belongs to a scope is not got at by who has the scope. */
void bl__notes_skip(bl__notes *n)
{
    for (uint32_t i = 0; i < n->homes_count; i++)
        scope_skip(n, n->homes[i].at);
    for (uint32_t i = 0; i < n->count; i++) {
        const bl__node *d = &n->nodes[i];
        const bl_scope *at = bl__node_inner(d);
        bl_scope s;
        for (int k = 0; k < BL__STUCK_CONTEXTS && at != d->home && bl__peek(&s, at, sizeof s) &&
                        s.bl__magic == BL__SCOPE_OPEN;
             k++, at = s.bl__parent)
            scope_skip(n, at);
    }
}
