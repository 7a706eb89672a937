/* SPDX-License-Identifier: MIT */
/* All right: what wakes them is a cancellation, by somebody who has no more than a scope or a context above. */
#include "right.h"

static int cancel_ctx(void *arg)
{
    int r = nap(LONG);
    bl_ctx_cancel(arg, 0);
    bl_ctx_release(arg);
    return r;
}

static int cancel_scope(void *arg)
{
    int r = nap(LONG);
    bl_scope_cancel(arg, 0);
    return r;
}

/* A server that nobody has work for, joined by who has opened the scope. */
static int serve(bl_scope *s)
{
    bl_go(s, recv_all, bl_scope_chan(s, sizeof(int), 0));
    return bl_scope_wait(s);
}

static int serve_in(int scopes)
{
    BL_SCOPE(s);
    return scopes > 1 ? serve_in(scopes - 1) : serve(s);
}

/*? scopes_below_a_context right
 */
static int scopes_below_a_context(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current());
    BL_SCOPE(s, .ctx = c);
    bl_go(bl_root(), cancel_ctx, c);
    return serve_in(3) == BL_ECANCELED ? 0 : 1;
}

/*? the_scopes_own_context right
 */
static int the_scopes_own_context(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(bl_root(), cancel_ctx, bl_ctx_retain(bl_scope_ctx(s)));
    return serve(s) == BL_ECANCELED ? 0 : 1;
}

static int with_scope_on_the_heap(int below)
{
    bl_scope *s = calloc(1, sizeof *s);
    if (s == NULL || bl_scope_open(s, NULL) < 0)
        return 1;
    bl_go(bl_root(), cancel_scope, s);
    int r = below > 0 ? serve_in(below) : serve(s);
    bl_scope_close(s);
    free(s);
    return r == BL_ECANCELED ? 0 : 1;
}

/*? scope_on_the_heap right
 */
static int scope_on_the_heap(void *arg) { return with_scope_on_the_heap(arg != NULL); }

/*? scope_below_one_on_the_heap right
 */
static int scope_below_one_on_the_heap(void *arg) { return with_scope_on_the_heap(arg == NULL); }

static int close_it(void *arg)
{
    bl_chan_close(arg);
    return 0;
}

/* Only what runs after a context below the one that is returned has the channel. */
static __attribute__((noinline)) bl_ctx *closes_after(void)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_ctx *top = bl_ctx_with_cancel(bl_ctx_background());
    bl_ctx *below = bl_ctx_with_cancel(top);
    bl_go(bl_root(), recv_all, c);
    bl_ctx_after(below, bl_root(), close_it, c);
    return top;
}

static __attribute__((noinline)) void wipe(void)
{
    volatile char wiped[4096];
    for (size_t i = 0; i < sizeof wiped; i++)
        wiped[i] = 0;
}

/*? after_a_context_below right
 */
static int after_a_context_below(void *arg)
{
    (void)arg;
    bl_ctx *top = closes_after();
    wipe();
    int r = nap(2 * LONG);
    bl_ctx_cancel(top, 0);
    bl_ctx_release(top);
    return r;
}

PROGRAMS({"scopes_below_a_context", scopes_below_a_context},
         {"the_scopes_own_context", the_scopes_own_context},
         {"scope_on_the_heap", scope_on_the_heap},
         {"scope_below_one_on_the_heap", scope_below_one_on_the_heap},
         {"after_a_context_below", after_a_context_below})
