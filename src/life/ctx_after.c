/* SPDX-License-Identifier: MIT */
/*
 * ctx_after.c: functions that are started when a context is cancelled (Go: context.AfterFunc).
 *
 * The handle belongs to the scope in which the function is to run, so it may outlive the context
 * (on whose memory it has a hold) and the context may outlive it. The context's lock decides
 * between a cancellation and a stop, be it the user's or the closing scope's. A cancellation that
 * has won pins the scope before it gives back the lock, so the scope cannot close before the
 * function has run.
 *
 * The function is started although its scope is cancelled: cleaning up after a cancellation is what
 * it is for, and its scope is often the cancelled one.
 */
#include "life/ctx.h"

#include <stddef.h>

/* Under ctx's lock. */
static void stop_unlink(bl_stop *stop)
{
    bl_ctx *c = stop->ctx;
    stop->pending = 0;
    if (!c->cancellable)
        return;
    if (stop->prev != NULL)
        stop->prev->next = stop->next;
    else
        c->afters = stop->next;
    if (stop->next != NULL)
        stop->next->prev = stop->prev;
}

bool bl_ctx_after_stop(bl_stop *stop)
{
    bl__lock(&stop->ctx->lock, BL__RANK_CTX);
    bool was_pending = stop->pending;
    if (was_pending)
        stop_unlink(stop);
    bl__unlock(&stop->ctx->lock);
    return was_pending;
}

static void stop_closed(bl__res *res) { (void)bl_ctx_after_stop((bl_stop *)(void *)res); }

static void stop_release(bl__res *res)
{
    bl_stop *stop = (bl_stop *)(void *)res;
    bl__ctx_unhold(stop->ctx);
    bl__free(stop);
}

_Static_assert(offsetof(bl_stop, res) == 0, "a handle is found from its resource");

/* Under c's lock: all pending ones, the oldest first, their scopes pinned. */
bl_stop *bl__ctx_afters_take(bl_ctx *c)
{
    bl_stop *taken = NULL;
    for (bl_stop *stop = c->afters, *next; stop != NULL; stop = next) {
        next = stop->next;
        stop->pending = 0;
        bl__scope_pin(stop->scope);
        stop->next = taken;
        taken = stop;
    }
    c->afters = NULL;
    return taken;
}

void bl__ctx_afters_start(bl_stop *stops)
{
    while (stops != NULL) {
        bl_stop *stop = stops;
        stops = stop->next; /* once its function runs its scope may close, and the handle go */
        bl__race_acquire(stop);
        if (!bl__in_run()) {
            bl__warn(
                "%s (bl_ctx_after at %s:%d) is not called: its context has ended, and no bl_run "
                "is under way to run it",
                stop->site->what, stop->site->file, stop->site->line);
            bl__scope_unpin(stop->scope);
            continue;
        }
        if (bl__scope_start_pinned(stop->scope, stop->fn, stop->arg, stop->site) < 0)
            bl__fatal("belay: out of memory to start %s after the cancellation of a context "
                      "(%s:%d)",
                      stop->site->what, stop->site->file, stop->site->line);
    }
}

bl_stop *bl__ctx_after(bl_ctx *c, bl_scope *s, bl_fn fn, void *arg, const bl__site *site)
{
    BL__RACE_FRAME();
    bl__scope_check(s, "bl_ctx_after");
    bl__fn_check(fn);
    bl__ctx_check(c);
    bl_stop *stop = bl__alloc(sizeof *stop);
    if (stop == NULL)
        return NULL;
    *stop = (bl_stop){.res = {.stop = stop_closed, .release = stop_release},
                      .ctx = c,
                      .scope = s,
                      .fn = fn,
                      .arg = arg,
                      .site = site};
    if (!c->is_static)
        (void)add_relaxed(&c->holds, 1u);
    bl__scope_own(s, &stop->res);
    bl__race_release(stop);

    bl__lock(&c->lock, BL__RANK_CTX);
    bool cancelled = c->state != 0;
    if (!cancelled) {
        stop->pending = 1;
        if (c->cancellable) {
            stop->next = c->afters;
            if (stop->next != NULL)
                stop->next->prev = stop;
            c->afters = stop;
        }
    }
    bl__unlock(&c->lock);
    if (!cancelled)
        return stop;
    bl__race_acquire(c);
    bl__scope_pin(s);
    if (bl__scope_start_pinned(s, fn, arg, site) == 0)
        return stop;
    bl__scope_unpin(s);
    return NULL;
}
