/* SPDX-License-Identifier: MIT */
/*
 * scope.h: what core and the other objects with a life cycle use of scopes.
 *
 * The word bl__live of a scope is the whole of its join. Bits:
 *
 *     0      JOINER   the opener is parked in its join; who clears this bit wakes it
 *     1      NOTED    the scope's context is cancelled
 *     2      LATE     and the grace has passed since, with the opener waiting
 *     3..63  count    signed: goroutines and pins, less those the opener has started and not yet
 *                     added, which are in bl__started
 *
 * A scope lives in its opener's frame, which is gone as soon as the opener knows that nothing is
 * left in the scope. So who counts itself out touches the scope no more, unless by that very step
 * it cleared JOINER: then the opener is parked until bl__ready.
 *
 * A pin is a count without a goroutine: it keeps the scope from being closed for as long as a
 * cancellation, a timer or a context's after-function works on it, and becomes the count of the
 * goroutine that such a function is started as.
 */
#ifndef BL__LIFE_SCOPE_H
#define BL__LIFE_SCOPE_H

#include "core/sched.h"

enum {
    BL__SCOPE_OPEN = 0x65706f63,   /* "cope" */
    BL__SCOPE_CLOSED = 0x64736c63, /* "clsd" */
};

enum {
    BL__LIVE_JOINER = 1,
    BL__LIVE_NOTED = 2,
    BL__LIVE_LATE = 4,
    BL__LIVE_NEWS = BL__LIVE_NOTED | BL__LIVE_LATE,
    BL__LIVE_SHIFT = 3,
    BL__LIVE_ONE = 1 << BL__LIVE_SHIFT,
};

/* Of a scope that is cancelled and joined: its grace is how long that takes at most; or it was told
 * that it has taken longer. */
enum { BL__GRACE_BOUNDS = 1, BL__GRACE_REPORTED };

/* What a scope stops and frees when it closes. Embedded in the resource, and linked until then. */
typedef struct bl__res {
    struct bl__res *next;              /* lock: the scope's */
    struct bl__res *prev;              /* lock: the scope's */
    void (*stop)(struct bl__res *res); /* immutable: once all goroutines are joined; or NULL */
    void (*release)(
        struct bl__res *res); /* immutable: last; in the reverse order of bl__scope_own */
} bl__res;

/* Fatal for what cannot be started, where it is asked for and not where it would begin. */
static inline void bl__fn_check(bl_fn fn)
{
    if (__builtin_expect(fn == NULL, 0))
        bl__fatal("go of nil func value");
}

/* bl_go_copy of a value that is the library's, which is nobody's access (arch/race.h). */
int bl__go_own(bl_scope *s, bl_fn fn, const void *value, size_t size, const bl__site *site);

/* Makes res the scope's. Fatal if s is closed. */
void bl__scope_own(bl_scope *s, bl__res *res);

/* Fatal with what the caller was about to do, unless s is open. */
void bl__scope_dead(const bl_scope *s, const char *what) __attribute__((cold));
static inline void bl__scope_check(const bl_scope *s, const char *what)
{
    if (__builtin_expect(load_relaxed(&s->bl__magic) != BL__SCOPE_OPEN, 0))
        bl__scope_dead(s, what);
}

/* Keeps s open until bl__scope_unpin, or until a goroutine that was started in its place has ended.
 * The caller holds something that s's close waits for or takes: the lock of a context on which the
 * scope or a handle of it is registered, or the lock of a timer's record. */
void bl__scope_pin(bl_scope *s);
void bl__scope_unpin(bl_scope *s);

/* Starts fn(arg) in s although s may be cancelled or at its limit (what has to run at such a time
 * cannot wait for it to pass); the caller's pin becomes the goroutine's count. BL_ENOMEM: the pin
 * is still the caller's. */
int bl__scope_start_pinned(bl_scope *s, bl_fn fn, void *arg, const bl__site *site);

/* Called by the cancellation of the scope's context, once, under that context's lock: tells a
 * parked opener. True: s is pinned, and bl__scope_cancelled_late is to be called without locks. */
bool bl__scope_cancelled(bl_scope *s);
void bl__scope_cancelled_late(bl_scope *s);

/* bl_scope_close that waits for the grace at most: how many goroutines are left. If there are, s
 * stays theirs, with its context, and the caller's no more. */
size_t bl__scope_close_bounded(bl_scope *s);
/* g was started in s or in a scope that was opened in s. Both live. */
bool bl__scope_within(const bl__g *g, const bl_scope *s);

/* The root scope of a run: opened by the thread that calls bl_run before the main goroutine starts,
 * and closed by the main goroutine when its function has returned: cancels it and joins it for at
 * most its grace. The number of goroutines that were left; the scope's context then stays. */
int bl__root_open(bl_scope *s);
void bl__grace_check(void);      /* says what is wrong with BELAY_GRACE */
void bl__root_drop(bl_scope *s); /* the run did not come about */
size_t bl__root_close(bl_scope *s);

#endif
