/* SPDX-License-Identifier: MIT */
/*
 * blocking.c: bl_blocking: functions that run on helper threads.
 *
 * A call is queued, and its goroutine parks. A helper takes the oldest call by claiming the wait:
 * from then on no cancellation reaches the goroutine, and the helper makes it ready when the
 * function has returned. A call that a cancellation claims before takes itself out of the queue and
 * is not run.
 *
 * Helpers are started by who calls and finds none that rests, as far as bl_options.max_threads
 * leaves room beside the runtime's threads; they rest last in first out, so that those not needed
 * go to the bottom, where they end after REST. They are plain threads to all others: in the
 * deadlock check one that rests is the runtime's own (bl__helpers.resting), one that runs a
 * function could still wake somebody, and one that waits there for a goroutine is counted as every
 * plain thread that waits.
 *
 * Invariants, under the lock:
 *   - for each queued call there is a helper that was started or woken and has not looked since, as
 *     long as there can be more; else there is a helper, which looks when its function has returned
 *   - a helper whose state is RUN has claimed the wait of one goroutine, and nobody else readies it
 *
 * A run that ends with a function not returned gives its helper up: one of the two swaps of its
 * state comes first, the run's or the helper's (ORD(helper)). A helper given up readies nobody, and
 * frees itself. The goroutine's record and stack are kept then, as all that such a run has left.
 *
 * Rejected: handing a call to the helper that is woken for it. Another may come back while it is
 * still waking up; so who comes first takes the call.
 */
#include "core/blocking.h"

#include "core/bubble.h"
#include "debug/crash.h"
#include "debug/peek.h"
#include "os/futex.h"
#include "os/os.h"

#define REST (10 * BL_SEC)

/* A call of bl_blocking, in its goroutine's frame. */
typedef struct bl__call {
    struct bl__call *next; /* lock: while queued */
    struct bl__call *prev; /* lock: while queued */
    bool queued;           /* lock */
    bl__g *g;              /* immutable */
    bl_fn fn;              /* immutable */
    void *arg;             /* immutable */
    bl_ctx *ctx;           /* immutable: g's current one; borrowed, g stays in its scope */
    int result;            /* the helper's, until it readies g */
} bl__call;

enum { HELPER_FREE, HELPER_RUN, HELPER_READY, HELPER_GIVEN_UP }; /* h->state */

typedef struct bl__helper {
    struct bl__helper *next;     /* lock: among those that rest */
    struct bl__helper *all_next; /* lock; of one that has ended: among those */
    pthread_t thread;            /* its own, until it has ended */
    uint32_t wake;               /* lock to write, atomic to read: 1 when it is off the idle list */
    uint32_t state;              /* atomic: HELPER_…; RUN and FREE by itself */
    bl_fn fn;                    /* its own: the function */
    uint32_t bubble;             /* its own: that goroutine's, or 0 */
    bl_ctx *ctx;                 /* its own: that goroutine's, while the function runs, or NULL */
    const void *frame;           /* lock: while it rests, what is in use of its stack begins here */
#if BL__RACE
    char *stack; /* immutable: lowest address of its stack */
#endif
    bl__m m; /* as every plain thread's */
} bl__helper;

static inline bl__helpers *helpers(void) { return &bl__rt.helpers; }

static void helpers_lock(void) { bl__lock(&helpers()->lock, BL__RANK_BLOCKING); }
static void helpers_unlock(void) { bl__unlock(&helpers()->lock); }

/* ---- The queue, under the lock ---- */

static void call_push(bl__call *c)
{
    bl__helpers *hs = helpers();
    c->next = NULL;
    c->prev = hs->last;
    c->queued = true;
    if (hs->last != NULL)
        hs->last->next = c;
    else
        hs->first = c;
    hs->last = c;
    hs->queued++;
}

static void call_remove(bl__call *c)
{
    bl__helpers *hs = helpers();
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        hs->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    else
        hs->last = c->prev;
    c->queued = false;
    hs->queued--;
}

/* The oldest call that is still to be run, and is now the caller's; NULL: there is none. */
static bl__call *call_take(void)
{
    bl__call *c;
    while ((c = helpers()->first) != NULL) {
        call_remove(c);
        if (bl__claim(c->g))
            return c;
    }
    return NULL;
}

/* ---- Helpers ---- */

/* Under the lock. The deadlock check has to notice that somebody came and went between its
 * looks. */
static void resting_set(uint32_t n)
{
    add_relaxed(&bl__rt.plain_changes, 1u);
    store_release(&helpers()->resting, n); /* ORD(resting): with others_could_wake in sysmon */
}

/* Under the lock: takes the one that has rested least off the list, and counts it as coming; NULL:
 * none rests. The caller wakes its futex. */
static bl__helper *helper_rouse(void)
{
    bl__helper *h = helpers()->idle;
    if (h == NULL)
        return NULL;
    helpers()->idle = h->next;
    resting_set(helpers()->resting - 1);
    helpers()->coming++;
    store_release(&h->wake, 1u); /* ORD(rest): with the load in helper_rest */
    return h;
}

/* Under the lock, which it gives back for the time. False: it is to end. */
static bool helper_rest(bl__helper *h)
{
    bl_time until = bl__in(REST);
    int64_t left;
    h->frame = __builtin_frame_address(0);
    h->next = helpers()->idle;
    helpers()->idle = h;
    store_relaxed(&h->wake, 0u);
    resting_set(helpers()->resting + 1);
    helpers_unlock();
    while (load_acquire(&h->wake) == 0 && (left = until - bl__clock()) > 0) /* ORD(rest) */
        bl__futex_wait(&h->wake, 0, left);
    helpers_lock();
    if (load_relaxed(&h->wake) != 0) {
        helpers()->coming--;
        return true;
    }
    bl__helper **at = &helpers()->idle;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    resting_set(helpers()->resting - 1);
    return false;
}

void bl__helpers_each_rest(void (*fn)(const void *frame, int tid, void *arg), void *arg)
{
    helpers_lock();
    for (const bl__helper *h = helpers()->idle; h != NULL; h = h->next)
        fn(h->frame, load_relaxed(&h->m.tid), arg);
    helpers_unlock();
}

/* Under the lock: the next call, with h->state RUN; NULL: h is to end. */
static bl__call *helper_await(bl__helper *h)
{
    bl__call *c;
    bool stays = true;
    while ((c = call_take()) == NULL && stays)
        stays = !helpers()->closed && helper_rest(h);
    if (c != NULL)
        store_relaxed(&h->state, (uint32_t)HELPER_RUN);
    return c;
}

/* What a function has left behind that would be the next one's. */
static void helper_clean(bl__g *self)
{
    bl__fork_check();
    if (__builtin_expect(self->inner != NULL, 0))
        bl__fatal("belay: the function of bl_blocking ended with a scope left open: %s (opened at "
                  "%s:%d); close it with bl_scope_close, or declare it with BL_SCOPE",
                  self->inner->bl__made->what, self->inner->bl__made->file,
                  self->inner->bl__made->line);
    if (bl__holds_any(self))
        bl__held_at_end(self);
    if (load_acquire(&self->registered) != NULL) /* ORD(registered) */
        bl__ctx_unregister(self);
    self->ctx = bl_ctx_background();
    self->wait_obj = NULL; /* or it would seem to have that for as long as it rests */
}

/* Runs c, whose wait is claimed. False: the run has ended without h. */
static bool helper_run(bl__helper *h, bl__call *c)
{
    bl__g *self = &h->m.g0;
    uint32_t was = HELPER_RUN;
    h->m.caller = c->g;
    h->fn = c->fn;
    const bl__bubble *b = load_relaxed(&bl__rt.bubbles) != NULL ? bl__bubble_of(c->g) : NULL;
    h->bubble = b != NULL ? b->id : 0;
    self->ctx = h->ctx = c->ctx;
#if BL__RACE /* it is the caller who runs, on another stack */
    void *own = bl__race_as(c->g->fiber);
    int result = c->fn(c->arg);
    bl__race_back(own);
    bl__race_stack_forget(h->stack, __builtin_frame_address(0));
#else
    int result = c->fn(c->arg);
#endif
    helper_clean(self);
    h->m.caller = NULL;
    h->bubble = 0;
    h->ctx = NULL;
    if (!cas_acq_rel(&h->state, &was, (uint32_t)HELPER_READY)) /* ORD(helper): with helpers_end */
        return false;
    c->result = result;
    bl__ready(c->g, 0);
    store_relaxed(&h->state, (uint32_t)HELPER_FREE);
    return true;
}

/* Under the lock: counts h out and puts it among those that have ended; who was there before. */
static bl__helper *helper_leave(bl__helper *h)
{
    bl__helpers *hs = helpers();
    bl__helper **at = &hs->all;
    while (*at != h)
        at = &(*at)->all_next;
    *at = h->all_next;
    bl__helper *before = hs->ended;
    h->all_next = NULL;
    hs->ended = h;
    store_release(&hs->count, hs->count - 1); /* ORD(helpers): with helpers_end */
    bl__futex_wake(&hs->count, 1);
    return before;
}

static void helper_join(bl__helper *h)
{
    if (h == NULL)
        return;
    pthread_join(h->thread, NULL);
#if BL__RACE
    bl__race_thread_ended(h->stack);
#endif
    bl__free(h);
}

static void helper_init(bl__helper *h)
{
    h->thread = pthread_self();
    h->m.helper = h;
    bl__m_init(&h->m, BL__TASK_THREAD);
    store_relaxed(&h->m.tid, bl__thread_id());
    h->m.g0.fiber = bl__san_fiber_current();
    bl__m_stack_ask(&h->m);
    bl__tls_set(&h->m);
    bl__thread_began("belay-blocking");
    bl__crash_thread_init();
    bl__thread_stays(&h->m);
#if BL__RACE /* which takes a new stack to be written by its thread */
    bl__race_forget(h->stack, __builtin_frame_address(0));
#endif
}

static void *helper_main(void *arg)
{
    bl__helper *h = arg;
    bl__helper *before = NULL;
    bl__call *c;
    bool kept = true;
    helper_init(h);
    helpers_lock();
    helpers()->coming--;
    while (kept && (c = helper_await(h)) != NULL) {
        helpers_unlock();
        if ((kept = helper_run(h, c)))
            helpers_lock();
    }
    if (kept) {
        before = helper_leave(h); /* as it found no call: the next one must not count on it */
        helpers_unlock();
    }
    bl__thread_may_end();
    bl__crash_thread_fini();
    bl__tls_set(&bl__nobody);
    helper_join(before);
    if (!kept) {
        pthread_detach(pthread_self());
        bl__free(h);
    }
    return NULL;
}

uint64_t bl__helper_caller(void)
{
    bl__m *m = bl__this_m_known();
    return m == NULL || m->caller == NULL ? 0 : m->caller->id;
}

bl_fn bl__helper_of(const bl__g *goroutine, bl__g *record)
{
    enum { HELPERS_LOOKED = 10000 };
    bl__helper h;
    const bl__helper *at = load_relaxed(&helpers()->all);
    for (int i = 0; i < HELPERS_LOOKED && bl__peek(&h, at, sizeof h); i++, at = h.all_next)
        if (h.m.caller == goroutine && load_relaxed(&h.state) == HELPER_RUN) {
            *record = h.m.g0;
            return h.fn;
        }
    return NULL;
}

uint32_t bl__helper_bubble(void)
{
    bl__m *m = bl__this_m_known();
    return m == NULL || m->helper == NULL ? 0 : m->helper->bubble;
}

bl_ctx *bl__helper_ctx(void)
{
    bl__m *m = bl__this_m_known();
    return m == NULL || m->helper == NULL || m->helper->ctx == NULL ? bl_ctx_background()
                                                                    : m->helper->ctx;
}

/* ---- Starting them ---- */

/* Under the lock. The processors' threads come first where there is room for them all. */
static bool helpers_room(void)
{
    uint32_t threads = load_relaxed(&bl__rt.threads), procs = load_relaxed(&bl__rt.procs);
    if (threads < procs && procs < bl__rt.max_threads)
        threads = procs;
    return threads + helpers()->count < bl__rt.max_threads;
}

/* Without the lock, under which the caller has counted it: 0, BL_ENOMEM or BL_EAGAIN. */
static int helper_start(void)
{
    bl__helper *h = bl__zalloc(sizeof *h);
    if (h == NULL)
        return BL_ENOMEM;
    helpers_lock();
    h->all_next = helpers()->all;
    helpers()->all = h;
    helpers_unlock();
    pthread_t thread;
#if BL__RACE
    int err = bl__race_thread_start(&thread, helper_main, h, &h->stack);
#else
    int err = bl__thread_start(&thread, helper_main, h, false);
#endif
    if (err == 0)
        return 0;
    helpers_lock();
    bl__helper **at = &helpers()->all;
    while (*at != h)
        at = &(*at)->all_next;
    *at = h->all_next;
    helpers_unlock();
    bl__free(h);
    return err;
}

/* Under the lock, with no helper left: nobody will run what others have queued meanwhile. */
static void calls_refuse(int err)
{
    bl__call *c;
    while ((c = call_take()) != NULL) {
        c->result = err;
        bl__ready(c->g, 0);
    }
}

/* Under the lock, which it gives back for a time: starts a helper. 0, BL_EAGAIN or BL_ENOMEM. */
static int helper_add(void)
{
    bl__helpers *hs = helpers();
    store_relaxed(&hs->count, hs->count + 1);
    hs->coming++;
    helpers_unlock();
    int err = helper_start();
    helpers_lock();
    if (err == 0)
        return 0;
    hs->coming--;
    store_release(&hs->count, hs->count - 1); /* ORD(helpers): with the load in helpers_end */
    bl__futex_wake(&hs->count, 1);
    if (hs->count == 0)
        calls_refuse(err);
    bl__helper *h; /* others may have counted on it, while some went to rest */
    while (hs->queued > hs->coming && (h = helper_rouse()) != NULL)
        bl__futex_wake(&h->wake, 1);
    return err;
}

/* Under the lock, which it gives back for a time: sees to it that there is a helper for one more
 * call; which one is to be woken. BL_EAGAIN or BL_ENOMEM: there is none and there can be none. */
static int helper_get(bl__helper **wake)
{
    bl__helpers *hs = helpers();
    int err = 0;
    *wake = NULL;
    while (!hs->closed && hs->queued >= hs->coming) {
        if ((*wake = helper_rouse()) != NULL)
            return 0;
        if (err == 0 && !helpers_room())
            err = BL_EAGAIN;
        if (err < 0)
            return hs->count != 0 ? 0 : err;
        err = helper_add();
    }
    return 0;
}

/* ---- The call ---- */

/* The commit of the wait. Whoever is woken may have ended by then; a wake does not touch it. */
static void call_parked(bl__g *g, void *arg)
{
    bl__helper *wake = arg;
    (void)g;
    helpers_unlock();
    if (wake != NULL)
        bl__futex_wake(&wake->wake, 1);
}

static int blocking_call(bl__g *g, bl_fn fn, void *arg, bl__wait *how)
{
    int r = bl_ctx_err(g->ctx);
    if (r != 0)
        return r;
    bl__call c = {.g = g, .fn = fn, .arg = arg, .ctx = g->ctx};
    bl__helper *wake;
    helpers_lock();
    if ((r = helper_get(&wake)) < 0) {
        helpers_unlock();
        return r;
    }
    if (!helpers()->closed)
        call_push(&c);
    how->cancellable = true;
    how->unlock = call_parked;
    how->unlock_arg = wake;
    r = bl__park(g, how);
    if (r >= 0)
        return c.result;
    helpers_lock();
    if (c.queued)
        call_remove(&c);
    helpers_unlock();
    return r;
}

int bl_blocking(bl_fn fn, void *arg)
{
    bl__g *g = bl__self();
    if (fn == NULL)
        return BL_EINVAL;
    if (g->task.kind == BL__TASK_THREAD) {
        bl__fork_check();
        return fn(arg);
    }
    return blocking_call(g, fn, arg,
                         &(bl__wait){.reason = BL__WAIT_BLOCKING, .deadline = BL_NEVER});
}

int bl__blocking(bl_fn fn, void *arg, const void *fd, bl_time deadline)
{
    bl__wait how = {.reason = BL__WAIT_IO, .obj = fd, .deadline = deadline};
    add_relaxed(&bl__rt.file_waiters, 1u);
    int r = blocking_call(bl__self(), fn, arg, &how);
    add_relaxed(&bl__rt.file_waiters, (uint32_t)-1);
    return r;
}

/* ---- The run ---- */

void bl__helpers_begin(void)
{
    bl__helpers *hs = helpers();
    helpers_lock();
    hs->closed = false;
    helpers_unlock();
}

/* Under the lock. */
static void helpers_give_up(void)
{
    bl__helpers *hs = helpers();
    for (bl__helper **at = &hs->all, *h; (h = *at) != NULL;) {
        uint32_t was = HELPER_RUN;
        bl__helper *next = h->all_next;
        /* ORD(helper): with helper_run; h may be gone after this */
        if (cas_acq_rel(&h->state, &was, (uint32_t)HELPER_GIVEN_UP)) {
            *at = next;
            store_relaxed(&hs->count, hs->count - 1);
        } else {
            at = &h->all_next;
        }
    }
}

void bl__helpers_end(void)
{
    bl__helpers *hs = helpers();
    bl__helper *h;
    uint32_t n;
    helpers_lock();
    hs->closed = true;
    while (hs->first != NULL) /* of goroutines that are left behind */
        call_remove(hs->first);
    helpers_give_up();
    while ((h = helper_rouse()) != NULL)
        bl__futex_wake(&h->wake, 1);
    helpers_unlock();
    while ((n = load_acquire(&hs->count)) != 0) /* ORD(helpers): with helper_leave */
        bl__futex_wait(&hs->count, n, BL_SEC);
    helpers_lock();
    h = hs->ended;
    hs->ended = NULL;
    helpers_unlock();
    helper_join(h);
}
