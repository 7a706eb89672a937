/* SPDX-License-Identifier: MIT */
/*
 * ctx.c: contexts (Go: package context): their tree, values and references.
 *
 * Every context is a record of its own, values and without_cancel too, so that a parking goroutine
 * has one word to look at whatever its context is made of. One that nothing can cancel is on
 * nobody's list and takes no lock. Cancelling is in ctx_cancel.c.
 */
#include "life/ctx.h"
#include "sync/chan.h"

#include <stddef.h>

static const bl__site site_background = {"background", "bl_ctx_background", __FILE__, __LINE__};
static const bl__site site_failed = {"out of memory", "bl_scope_open", __FILE__, __LINE__};

bl_ctx bl__ctx_background = {
    .is_static = 1,
    .kind = BL__CTX_DETACHED,
    .magic = BL__CTX_MAGIC,
    .deadline = BL_NEVER,
    .made = &site_background,
};

bl_ctx bl__ctx_failed = {
    .state = BL_ECANCELED,
    .cause = BL_ENOMEM,
    .is_static = 1,
    .kind = BL__CTX_CANCEL,
    .cancellable = 1,
    .magic = BL__CTX_MAGIC,
    .parent = &bl__ctx_background,
    .deadline = BL_NEVER,
    .made = &site_failed,
};

bl_ctx *bl_ctx_background(void) { return &bl__ctx_background; }
bl_ctx *bl_ctx_current(void) { return bl__self()->ctx; }

/* ---- The tree ---- */

/* Puts the new c on up's list; below a cancelled one it is born cancelled. */
static void ctx_link(bl_ctx *c, bl_ctx *up)
{
    bl__lock(&up->lock, BL__RANK_CTX);
    if (up->state != 0) {
        bl__race_acquire(up);
        bl__race_release(c);
        c->cause = up->cause;
        store_release(&c->state, up->state); /* ORD(cancel): with the loads of state */
    } else {
        c->next = up->children;
        if (c->next != NULL)
            c->next->prev = c;
        up->children = c;
        c->linked = 1;
    }
    bl__unlock(&up->lock);
}

void bl__ctx_unlink(bl_ctx *c)
{
    bl_ctx *up = c->upstream;
    if (up == NULL)
        return;
    bl__lock(&up->lock, BL__RANK_CTX);
    if (c->linked) {
        if (c->prev != NULL)
            c->prev->next = c->next;
        else
            up->children = c->next;
        if (c->next != NULL)
            c->next->prev = c->prev;
        c->linked = 0;
    }
    bl__unlock(&up->lock);
}

/* A deadline has come. The destroyer of a context waits for a firing under way, unless that has got
 * a reference in time; then it is this thread's reference that may be the last. */
static void deadline_fire(bl_timer *t, bl_time now)
{
    (void)now;
    bl_ctx *c = (bl_ctx *)(void *)((char *)t - offsetof(bl_ctx, timer));
    if (!bl__ctx_try_retain(c))
        return;
    store_relaxed(&c->fired, (uint8_t)1); /* seen with the last reference */
    BL__RACE_NOBODY_BEGIN(c);
    (void)bl__ctx_cancel(c, BL_ETIMEDOUT, BL_ETIMEDOUT);
    bl_ctx_release(c);
    BL__RACE_NOBODY_END();
}

const bl_ctx *bl__ctx_of_deadline(const bl_timer *t)
{
    return t->bl__fire == deadline_fire
               ? (const bl_ctx *)(const void *)((const char *)t - offsetof(bl_ctx, timer))
               : NULL;
}

bl_ctx *bl__ctx_make(bl_ctx *p, int kind, bl_time deadline, bool shield, bl_scope *scope,
                     const bl__site *site)
{
    if (p == NULL)
        bl__fatal("cannot create context from nil parent");
    bl__ctx_check(p);
    bool cut = shield || kind == BL__CTX_DETACHED;
    bl_time above = cut ? BL_NEVER : p->deadline;
    bool own = deadline < above;
    bl_ctx *c = bl__alloc(sizeof *c + (own ? sizeof *c->timer : 0));
    if (c == NULL)
        return NULL;
    *c = (bl_ctx){
        .refs = 1,
        .holds = 1,
        .kind = (uint8_t)kind,
        .magic = BL__CTX_MAGIC,
        .has_timer = own,
        .parent = bl_ctx_retain(p),
        .upstream = !cut && p->cancellable ? p : NULL,
        .scope = scope,
        .deadline = own ? deadline : above,
        .made = site,
    };
    c->cancellable = c->upstream != NULL || kind == BL__CTX_CANCEL || kind == BL__CTX_DEADLINE;
    if (own)
        c->timer[0] = (bl__timer_head){0};
    bl__race_release(c);
    if (c->upstream != NULL)
        ctx_link(c, c->upstream);
    if (!own || load_relaxed(&c->state) != 0)
        return c;
    if (deadline <= bl__now())
        (void)bl__ctx_cancel(c, BL_ETIMEDOUT, BL_ETIMEDOUT);
    else
        bl__timer_arm(bl__ctx_timer(c), deadline, deadline_fire);
    return c;
}

bl_ctx *bl__ctx_new(bl_ctx *p, int kind, bl_time deadline, const void *key, void *value,
                    const bl__site *site)
{
    bl__asked();
    bl_ctx *c = bl__ctx_make(p, kind, deadline, false, NULL, site);
    if (c != NULL && kind == BL__CTX_VALUE) {
        c->key = key;
        c->value = value;
    } else if (c != NULL && kind != BL__CTX_DETACHED) {
        bl__made(BL__MADE_CTX, c, site);
    }
    return c;
}

/* ---- References ---- */

bl_ctx *bl_ctx_retain(bl_ctx *c)
{
    if (c == NULL)
        return NULL;
    bl__ctx_check(c);
    if (!c->is_static)
        (void)add_relaxed(&c->refs, 1u);
    return c;
}

bool bl__ctx_try_retain(bl_ctx *c)
{
    uint32_t refs = load_relaxed(&c->refs);
    while (refs != 0)
        if (cas_relaxed(&c->refs, &refs, refs + 1))
            return true;
    return false;
}

void bl__ctx_unhold(bl_ctx *c)
{
    if (!c->is_static && add_acq_rel(&c->holds, (uint32_t)-1) == 1) /* ORD(ctx-holds): the others */
        bl__free(c); /* ORD(ctx-holds): after all that was done with the other holds */
}

/* The last reference is gone, so nobody is below it and no goroutine runs in it. */
static void ctx_destroy(bl_ctx *c)
{
    bl__unmade(c);
    if (c->cancellable && c->state == 0)
        (void)bl__ctx_cancel(c, BL_ECANCELED, BL_ECANCELED);
    if (c->linked) /* nobody but its destroyer takes it off the list any more */
        bl__ctx_unlink(c);
    if (c->has_timer && !load_relaxed(&c->fired)) {
        (void)bl__timer_disarm(bl__ctx_timer(c));
        bl__timer_wait_fired(bl__ctx_timer(c));
    }
    if (c->done != NULL) {
        store_relaxed(&c->done->done, (uint32_t)BL__CHAN_DONE_OVER);
        bl_chan_release(c->done);
    }
    store_relaxed(&c->magic, 0u);
    bl__ctx_unhold(c);
}

/* Not recursive, since the last reference of a child may hold the last one of its parent, and so
 * on. */
void bl_ctx_release(bl_ctx *c)
{
    if (c != NULL)
        bl__ctx_check(c);
    while (c != NULL && !c->is_static) {
        uint32_t refs = add_acq_rel(&c->refs, (uint32_t)-1); /* ORD(ctx-refs): with the others */
        if (refs != 1) {
            if (refs == 0)
                bl__fatal("belay: context released more often than retained (made at %s:%d)",
                          c->made->file, c->made->line);
            return;
        }
        bl_ctx *parent = c->parent;
        ctx_destroy(c); /* ORD(ctx-refs): after all that was done with the other references */
        c = parent;
    }
}

/* ---- Looking ---- */

int bl__ctx_err(bl_ctx *c)
{
    int state = load_acquire(&c->state); /* ORD(cancel): with the stores */
    if (BL__RACE && state != 0)
        bl__race_acquire(c);
    return state;
}

int bl_ctx_err(bl_ctx *c)
{
    bl__ctx_check(c);
    bl__asked();
    return bl__ctx_err(c);
}

int bl_ctx_cause(bl_ctx *c) { return bl_ctx_err(c) != 0 ? c->cause : 0; }

bool bl_ctx_deadline(bl_ctx *c, bl_time *t)
{
    BL__RACE_FRAME();
    bl__ctx_check(c);
    if (c->deadline == BL_NEVER)
        return false;
    bl__race_write(t, sizeof *t);
    if (t != NULL)
        *t = c->deadline;
    return true;
}

void *bl_ctx_value(bl_ctx *c, const void *key)
{
    bl__asked();
    if (c != NULL)
        bl__ctx_check(c);
    for (; c != NULL; c = c->parent)
        if (c->kind == BL__CTX_VALUE && c->key == key)
            return c->value;
    return NULL;
}

bl_chan *bl_ctx_done(bl_ctx *c)
{
    bl__ctx_check(c);
    if (!c->cancellable)
        return NULL;
    bl_chan *done = load_acquire(&c->done); /* ORD(ctx-done): with the store below */
    if (done != NULL)
        return done;
    bl_chan *made = bl__chan_make(0, 0, c->made);
    if (made == NULL)
        bl__fatal("belay: out of memory for the done channel of a context");
    made->done = BL__CHAN_DONE;
    made->ctx = c;
    bl__lock(&c->lock, BL__RANK_CTX);
    if (c->state != 0) { /* whoever cancelled it found no channel to close */
        bl__unlock(&c->lock);
        bl__race_acquire(c);
        bl__chan_close(made);
        bl__lock(&c->lock, BL__RANK_CTX);
    }
    if (c->done == NULL) {
        store_release(&c->done, made); /* ORD(ctx-done): with the load above */
        made = NULL;
    }
    done = c->done;
    bl__unlock(&c->lock);
    if (made != NULL) { /* another was quicker */
        made->done = BL__CHAN_DONE_OVER;
        bl_chan_release(made);
    }
    return done;
}
