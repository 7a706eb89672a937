/* SPDX-License-Identifier: MIT */
/*
 * scope.c: scopes: who owns a goroutine, and who is told when it fails.
 *
 * Spawn and join are the hot path. A goroutine costs the scope one locked instruction, when it
 * ends: the opener counts those it starts in a plain field (bl__started) and adds them to the
 * shared word only when it parks in its join; a goroutine that starts others adds them at once. No
 * lock is taken unless there is a limit. See scope.h for the word and scope_join.c for the join.
 *
 * s->bl__lock protects the lists of resources, of pending timers, and of those who wait for room.
 */
#include "life/scope.h"

#include <string.h>

#include "core/bubble.h"
#include "life/ctx.h"
#include "life/scope_parts.h"

static const char *scope_name(const bl_scope *s)
{
    return s->bl__name != NULL ? s->bl__name : s->bl__made->what;
}

void bl__scope_dead(const bl_scope *s, const char *what)
{
    if (load_relaxed(&s->bl__magic) == BL__SCOPE_CLOSED)
        bl__fatal("belay: %s on a closed scope: %s (opened at %s:%d)", what, scope_name(s),
                  s->bl__made->file, s->bl__made->line);
    bl__fatal("belay: %s on a scope that is not open: it never was, or its block has ended", what);
}

/* ---- Starting goroutines ---- */

/* Why s starts nothing, of which ctx's state says that it does not. */
__attribute__((noinline)) int bl__scope_refused(const bl_scope *s, int state)
{
    return s->bl__ctx == &bl__ctx_failed ? BL_ENOMEM : state;
}

/* The end of scope_go, with what bl__spawn has returned. */
static int started(int r)
{
    if (r > 0) /* a crowd */
        bl_yield();
    return r < 0 ? r : 0;
}

/* All that scope_go is not quick for. */
static __attribute__((noinline)) int scope_go_slow(bl_scope *s, bl_fn fn, void *arg,
                                                   const void *copy, size_t size,
                                                   const bl__site *site)
{
    bl__scope_check(s, "bl_go");
    bl__fn_check(fn);
    int state = bl__ctx_state(s->bl__ctx);
    if (state != 0) {
        bl__race_acquire(s->bl__ctx);
        return bl__scope_refused(s, state);
    }
    if (s->bl__limit != 0) {
        int r = bl__room_enter(s);
        if (r < 0)
            return r;
    }
    bool own = load_relaxed(&s->bl__opener_g) == bl__self();
    if (!own)
        bl__scope_pin(s);
    int r = bl__spawn(s, fn, arg, copy, size, site);
    if (r < 0 && s->bl__limit != 0)
        bl__room_leave(s);
    if (r < 0 && !own)
        bl__scope_unpin(s);
    if (r >= 0 && own)
        store_relaxed(&s->bl__started, s->bl__started + 1);
    return started(r);
}

static inline int scope_go(bl_scope *s, bl_fn fn, void *arg, const void *copy, size_t size,
                           const bl__site *site)
{
    if (BL__UNLIKELY(load_relaxed(&s->bl__magic) != BL__SCOPE_OPEN) || BL__UNLIKELY(fn == NULL) ||
        BL__UNLIKELY(bl__ctx_state(s->bl__ctx) != 0) || BL__UNLIKELY(s->bl__limit != 0) ||
        BL__UNLIKELY(load_relaxed(&s->bl__opener_g) != bl__self()))
        return scope_go_slow(s, fn, arg, copy, size, site);
    int r = bl__spawn(s, fn, arg, copy, size, site);
    /* It may have been counted out by now; nobody else looks before the join. */
    if (BL__LIKELY(r >= 0))
        store_relaxed(&s->bl__started, s->bl__started + 1);
    return BL__LIKELY(r == 0) ? 0 : started(r);
}

int bl__go(bl_scope *s, bl_fn fn, void *arg, const bl__site *site)
{
    BL__RACE_FRAME();
    return scope_go(s, fn, arg, NULL, 0, site);
}

int bl__go_copy(bl_scope *s, bl_fn fn, const void *value, size_t size, const bl__site *site)
{
    BL__RACE_FRAME();
    bl__race_read(value, size);
    return scope_go(s, fn, NULL, value, size, site);
}

int bl__go_own(bl_scope *s, bl_fn fn, const void *value, size_t size, const bl__site *site)
{
    return scope_go(s, fn, NULL, value, size, site);
}

int bl__scope_start_pinned(bl_scope *s, bl_fn fn, void *arg, const bl__site *site)
{
    if (s->bl__limit != 0)
        bl__room_force(s);
    int r = bl__spawn(s, fn, arg, NULL, 0, site);
    if (r < 0 && s->bl__limit != 0)
        bl__room_leave(s);
    return r < 0 ? r : 0; /* whoever calls this has no time to let a crowd run */
}

/* A goroutine has returned an error: the first one is kept, and stops the others. One that says why
 * the scope was cancelled, after it was, has stopped and not failed. */
static __attribute__((noinline)) void scope_failed(bl_scope *s, int result)
{
    int state = bl__ctx_err(s->bl__ctx);
    if (state != 0 && (result == BL_ECANCELED || result == state))
        return;
    int32_t none = 0;
    /* ORD(scope-err): with the load in scope_result, by way of the count too */
    if (cas_acq_rel(&s->bl__err, &none, result) && !s->bl__keep_going)
        (void)bl__ctx_cancel(s->bl__ctx, BL_ECANCELED, result);
}

void bl__scope_ended(bl__g *g, bl_scope *s, int result)
{
    (void)g;
    bl__race_release(s);
    bl__race_release(&s->bl__limit);
#if BL__RACE
    if (load_relaxed(&bl__rt.bubbles) != NULL && bl__bubble_of(g) != NULL)
        bl__race_release(&bl__bubble_of(g)->rng); /* seen by bl_bubble_wait */
#endif
    if (__builtin_expect(result < 0, 0))
        scope_failed(s, result);
    if (__builtin_expect(s->bl__limit != 0, 0))
        bl__room_leave(s);
}

/* ---- Open ---- */

static bl_time opts_deadline(const bl_scope_opts *o)
{
    bl_time deadline = o->deadline != 0 ? o->deadline : BL_NEVER;
    bl_time timeout = o->timeout != 0 ? bl__in(o->timeout) : BL_NEVER;
    return timeout < deadline ? timeout : deadline;
}

/* Fills in s, with its context below p. 0 or BL_ENOMEM. */
static int scope_init(bl_scope *s, const bl_scope_opts *o, bl_ctx *p, const bl__site *site)
{
    *s = (bl_scope){
        .bl__made = site,
        .bl__name = o->name,
        .bl__grace = o->grace,
        .bl__limit = o->limit > 0 ? o->limit : 0,
        .bl__keep_going = o->keep_going,
        .bl__magic = BL__SCOPE_OPEN,
    };
    bl_time deadline = opts_deadline(o);
    int kind = deadline == BL_NEVER ? BL__CTX_CANCEL : BL__CTX_DEADLINE;
    bl_ctx *c = bl__ctx_make(p, kind, deadline, o->shield, s, site);
    s->bl__ctx = c != NULL ? c : &bl__ctx_failed;
    if (bl__ctx_state(s->bl__ctx) != 0)
        (void)or_acq_rel(&s->bl__live, (int64_t)BL__LIVE_NOTED); /* ORD(live): as the others */
    return c != NULL ? 0 : BL_ENOMEM;
}

/* Where the innermost scope of g was opened. Its context says it: the scope's storage may be
 * gone. */
const bl__site *bl__scope_opened(const bl__g *g)
{
    return g->ctx->scope == g->inner ? g->ctx->made : g->inner->bl__made;
}

/* The innermost scope of g lies in a frame that has been left: below frame, which is of g's last
 * call, or where something else is now. Of who calls on a stack of its own nothing is known. */
static bool is_left_open(const bl__g *g, const void *frame)
{
    const bl_scope *s = g->inner;
    return g->task.kind == BL__TASK_G && bl__on_stack(g, s) && bl__on_stack(g, frame) &&
           ((uintptr_t)s < (uintptr_t)frame || load_relaxed(&s->bl__magic) != BL__SCOPE_OPEN ||
            s->bl__ctx != g->ctx);
}

static __attribute__((noreturn, cold)) void left_open(const bl__g *g, const char *meanwhile)
{
    const bl__site *at = bl__scope_opened(g);
    bl__fork_check();
    bl__fatal("belay: scope left open: %s, opened by %s at %s:%d, %s; close it with "
              "bl_scope_close, or declare it with BL_SCOPE",
              at->what, at->func, at->file, at->line, meanwhile);
}

int bl__scope_open(bl_scope *s, const bl_scope_opts *o, const bl__site *site)
{
    bl__asked();
    static const bl_scope_opts none;
    bl__g *g = bl__self();
    if (__builtin_expect(g->inner == s, 0))
        left_open(g, "and opened again");
    if (__builtin_expect(is_left_open(g, __builtin_frame_address(0)), 0))
        left_open(g, "which has returned");
    if (o == NULL)
        o = &none;
    int r = scope_init(s, o, o->ctx != NULL ? o->ctx : g->ctx, site);
    s->bl__opener_g = g;
    s->bl__parent = g->inner;
    g->inner = s;
    g->ctx = s->bl__ctx;
    if (bl__traced())
        bl__trace_scope(site);
    return r;
}

bl_ctx *bl_scope_ctx(bl_scope *s)
{
    bl__scope_check(s, "bl_scope_ctx");
    return s->bl__ctx;
}

void bl_scope_cancel(bl_scope *s, int cause)
{
    bl__scope_check(s, "bl_scope_cancel");
    /* By a thread that s does not wait for, its opener may go on, and close it, before this is done. */
    bl_ctx *c = bl_ctx_retain(s->bl__ctx);
    bl_ctx_cancel(c, cause);
    bl_ctx_release(c);
}

/* ---- Resources ---- */

void bl__scope_own(bl_scope *s, bl__res *res)
{
    bl__scope_check(s, "making an object");
    bl__lock(&s->bl__lock, BL__RANK_SCOPE);
    res->prev = NULL;
    res->next = s->bl__resources;
    if (res->next != NULL)
        res->next->prev = res;
    s->bl__resources = res;
    bl__unlock(&s->bl__lock);
}

/* All goroutines are joined, so the list is the closer's. Stops what could start more of them. */
static void resources_stop(bl_scope *s)
{
    bl__timers_close(s);
    for (bl__res *res = s->bl__resources; res != NULL; res = res->next)
        if (res->stop != NULL)
            res->stop(res);
}

static void resources_release(bl_scope *s)
{
    bl__res *next;
    for (bl__res *res = s->bl__resources; res != NULL; res = next) {
        next = res->next;
        res->release(res);
    }
    s->bl__resources = NULL;
}

/* ---- Wait and close ---- */

/* What is due to the waiter: the first error, else the cause of a cancellation that was not
 * close's. */
static int scope_result(bl_scope *s, bool closed_it)
{
    int err = load_acquire(&s->bl__err); /* ORD(scope-err): with scope_failed */
    if (err != 0)
        return err;
    return closed_it || bl__ctx_err(s->bl__ctx) == 0 ? 0 : s->bl__ctx->cause;
}

int bl_scope_wait(bl_scope *s)
{
    bl__g *g = bl__self();
    bl__scope_check(s, "bl_scope_wait");
    if (__builtin_expect(load_relaxed(&s->bl__opener_g) != g, 0))
        bl__scope_adopt(s, g);
    bl__scope_join(s, g);
    return scope_result(s, false);
}

static void close_check(bl_scope *s, bl__g *g)
{
    uint32_t magic = load_relaxed(&s->bl__magic);
    if (magic == BL__SCOPE_CLOSED)
        bl__fatal("belay: scope closed twice: %s (opened at %s:%d); one of BL_SCOPE is closed at "
                  "the end of its block",
                  scope_name(s), s->bl__made->file, s->bl__made->line);
    bl__scope_check(s, "bl_scope_close");
    if (s->bl__opener_g != g)
        bl__fatal("belay: scope closed by a goroutine that did not open it: %s (opened at %s:%d)",
                  scope_name(s), s->bl__made->file, s->bl__made->line);
    if (g->inner == s)
        return;
    bl__fork_check();
    if (is_left_open(g, __builtin_frame_address(0)))
        left_open(g, "which has returned");
    bl__fatal("belay: scope %s (opened at %s:%d) closed before %s (opened at %s:%d), which was "
              "opened inside it",
              scope_name(s), s->bl__made->file, s->bl__made->line, scope_name(g->inner),
              g->inner->bl__made->file, g->inner->bl__made->line);
}

/* Cancels s, joins it and empties it. True: it was this that cancelled it. */
static bool scope_finish(bl_scope *s, bl__g *g)
{
    bool closed_it = bl__ctx_cancel(s->bl__ctx, BL_ECANCELED, BL_ECANCELED);
    bl__scope_join(s, g);
    if (s->bl__resources != NULL || load_relaxed(&s->bl__timers) != NULL) { /* after_func.c */
        resources_stop(s);
        bl__scope_join(s, g); /* a timer or another context's cancellation was quicker */
        resources_release(s);
    }
    return closed_it;
}

/* s is the caller's no more. */
static void scope_pop(bl_scope *s, bl__g *g)
{
    g->inner = s->bl__parent;
    g->ctx = g->inner != NULL ? g->inner->bl__ctx : bl__helper_ctx();
    if (load_relaxed(&g->registered) == s->bl__ctx)
        bl__ctx_unregister(g);
    if (bl__traced())
        bl__trace_scope(NULL);
}

int bl_scope_close(bl_scope *s)
{
    bl__g *g = bl__self();
    close_check(s, g);
    bool closed_it = scope_finish(s, g);
    int result = scope_result(s, closed_it);
    scope_pop(s, g);
    store_relaxed(&s->bl__magic, (uint32_t)BL__SCOPE_CLOSED);
    bl_ctx_release(s->bl__ctx);
    return result;
}

size_t bl__scope_close_bounded(bl_scope *s)
{
    bl__g *g = bl__self();
    close_check(s, g);
    (void)bl__ctx_cancel(s->bl__ctx, BL_ECANCELED, BL_ECANCELED);
    size_t left = bl__scope_join_bounded(s, g);
    if (left == 0)
        (void)bl_scope_close(s);
    else
        scope_pop(s, g);
    return left;
}

bool bl__scope_within(const bl__g *g, const bl_scope *s)
{
    for (const bl_scope *at = g->scope; at != NULL; at = at->bl__parent)
        if (at == s)
            return true;
    return false;
}

void bl__scope_leave(bl_scope (*s)[1]) { (void)bl_scope_close(*s); }

/* ---- The root scope ---- */

int bl__root_open(bl_scope *s)
{
    static const bl__site site = {"root", "bl_run", __FILE__, __LINE__};
    static const bl_scope_opts opts = {.name = "root"};
    bl_ctx_release(s->bl__ctx); /* of the run before; kept since, for a late bl_scope_cancel */
    int r = scope_init(s, &opts, &bl__ctx_background, &site);
    if (r < 0)
        s->bl__magic = 0;
    return r;
}

void bl__root_drop(bl_scope *s)
{
    s->bl__magic = 0;
    bl_ctx_release(s->bl__ctx);
    s->bl__ctx = NULL;
}

size_t bl__root_close(bl_scope *s)
{
    bl__g *g = bl__self();
    if (g->inner != s) {
        const bl__site *at = bl__scope_opened(g);
        bl__fork_check();
        bl__fatal("belay: the main goroutine ended with a scope left open: %s (opened at %s:%d)",
                  at->what, at->file, at->line);
    }
    s->bl__opener_g = g;
    (void)bl__ctx_cancel(s->bl__ctx, BL_ECANCELED, BL_ECANCELED);
    size_t left = bl__root_join(s, g);
    if (left == 0 && (s->bl__resources != NULL || load_relaxed(&s->bl__timers) != NULL)) {
        resources_stop(s);
        left = bl__root_join(s, g);
        if (left == 0)
            resources_release(s);
    }
    if (left > 0)
        (void)bl_ctx_retain(s->bl__ctx); /* what is left goes on using it, for ever */
    bl__ctx_unregister(g);
    return left;
}
