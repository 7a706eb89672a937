/* SPDX-License-Identifier: MIT */
/*
 * stuck_deadlines.c: what contexts do when their deadline comes.
 *
 * The runtime's queues of timers are no part of the memory that is read, since nobody gets at
 * anything by them. But the deadline of a context runs its after-functions, and those of the
 * contexts below it, even if nobody has it any more. So what these lead to is in reach.
 */
#include "debug/stuck_notes.h"

#include "core/bubble.h"
#include "debug/peek.h"
#include "life/ctx.h"
#include "life/timer.h"
#include "os/futex.h"

enum { DEADLINE_CONTEXTS = 1 << 16 }; /* looked at in all; of more, nothing is said */
enum { FIRING_PAUSE = 100000 /* ns */, FIRING_PAUSES = 2000 };

typedef struct sought_arena {
    const void *at;
    bool found;
} sought_arena;

static void arena_compare(const void *low, const void *high, void *arg)
{
    sought_arena *s = arg;
    s->found |= (uintptr_t)s->at >= (uintptr_t)low && (uintptr_t)s->at < (uintptr_t)high;
}

/* Under the timers' lock, which keeps t from going away. Most are deadlines of waits, in the frames
 * of those who wait: these are told by their address, since they are cold. */
static void deadline_note(bl_timer *t, void *arg)
{
    bl__notes *n = arg;
    sought_arena s = {t, false};
    bl__each_arena(arena_compare, &s);
    const bl_ctx *c = s.found ? NULL : bl__ctx_of_deadline(t);
    if (c != NULL)
        bl__reach_value(n->reach, c);
}

typedef struct timers_visit {
    void (*fn)(bl_timer *t, void *arg); /* under the timers' lock */
    void *arg;
    bool firing; /* out: one is being fired, whose thread does not get on with it */
} timers_visit;

/* What is being fired is in no queue any more, and has not done yet what it does: it is waited for,
 * and then what that has armed is there, and whom it has started or woken is seen to be. */
static void timers_note(timers_visit *v, bl__timers *ts)
{
    bl__lock(&ts->lock, BL__RANK_HEAP);
    for (int i = 0; i < FIRING_PAUSES && ts->firing != NULL; i++) {
        uint32_t never = 0;
        bl__unlock(&ts->lock);
        bl__futex_wait(&never, 0, FIRING_PAUSE);
        bl__lock(&ts->lock, BL__RANK_HEAP);
    }
    v->firing = v->firing || ts->firing != NULL;
    bl__timers_each(ts, v->fn, v->arg);
    bl__unlock(&ts->lock);
}

static const bl_ctx *ctx_copy(bl_ctx *to, const bl_ctx *at)
{
    return bl__peek(to, at, sizeof *to) && to->magic == BL__CTX_MAGIC ? at : NULL;
}

/* Of top and all below it, while others may change them: those that have after-functions. How many
 * contexts may still be looked at. */
static int tree_add(bl__notes *n, const bl_ctx *top, int budget)
{
    bl_ctx c;
    for (const bl_ctx *at = ctx_copy(&c, top); at != NULL && budget > 0; budget--) {
        if (c.afters != NULL)
            bl__reach_value(n->reach, at);
        const bl_ctx *next = c.children;
        while (next == NULL && at != top) { /* up, until there is one beside it */
            next = c.next;
            if (next == NULL && (at = ctx_copy(&c, c.upstream)) == NULL)
                return budget;
        }
        at = next != NULL ? ctx_copy(&c, next) : NULL;
    }
    return budget;
}

static void bubble_note(bl__bubble *b, void *arg) { timers_note(arg, &b->timers); }

/* False: one of them is being fired. */
static bool timers_all(void (*fn)(bl_timer *t, void *arg), void *arg)
{
    timers_visit v = {fn, arg, false};
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    timers_note(&v, &bl__rt.outside);
    for (uint32_t i = 0; i < made; i++)
        timers_note(&v, &bl__rt.ps[i]->timers);
    bl__bubbles_each(bubble_note, &v);
    return !v.firing;
}

static void act_note(bl_timer *t, void *arg)
{
    bool *acts = arg;
    *acts = *acts || !bl__timer_only_sends(t);
}

bool bl__deadlines_act(void)
{
    bool acts = false;
    return !timers_all(act_note, &acts) || acts;
}

bool bl__notes_deadlines(bl__notes *n)
{
    uint32_t first = bl__reach_values(n->reach);
    bool all = timers_all(deadline_note, n);
    uint32_t end = bl__reach_values(n->reach);
    int budget = DEADLINE_CONTEXTS;
    for (uint32_t i = first; i < end && budget > 0; i++)
        budget = tree_add(n, bl__reach_value_take(n->reach, i), budget);
    return all && budget > 0;
}
