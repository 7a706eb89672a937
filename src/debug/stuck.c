/* SPDX-License-Identifier: MIT */
/*
 * stuck.c: see stuck.h.
 *
 * A search takes notes of all goroutines while they run, decides who could be stuck from the notes
 * alone, which settles nearly all cases, and only then looks through memory for the rest. Who sleeps
 * or waits for a descriptor is only counted at first, so that a crowd of those costs next to
 * nothing; all are noted when memory is to be looked through, of which they have their part. At the
 * end it looks at each record again: whoever has switched since was alive, as is whom those wake. All
 * of those that are left were parked at one time, the one between the two looks.
 */
#include "debug/stuck_notes.h"

#include <pthread.h>
#include <string.h>

#include "core/proc.h"
#include "debug/caller.h"
#include "debug/crash.h"
#include "debug/kernel.h"
#include "debug/maps.h"
#include "debug/own.h"
#include "debug/peek.h"
#include "debug/registers.h"
#include "io/fd.h"
#include "life/notify.h"
#include "life/pool.h"
#include "life/scope.h"
#include "life/timer.h"
#include "os/os.h"
#include "sync/chan.h"
#include "sync/object.h"

enum {
    LOCK_WORD_BITS = 7,     /* of the words of mutexes and rwmutexes, beside the owner */
    OBJECTS_MORE = 1 << 18, /* of all together, beside four for each */
    AFTERS = 1 << 16        /* of one scope; where there are more, nothing is said */
};

/* ---- Taking notes ---- */

static uint32_t notes_hash(const void *key, uint32_t mask)
{
    uint64_t h = (uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32) & mask;
}

uint32_t bl__notes_node(const bl__notes *n, const void *record)
{
    for (uint32_t i = notes_hash(record, n->record_mask);; i = (i + 1) & n->record_mask) {
        if (n->by_record[i] == 0)
            return BL__NOBODY;
        if (n->nodes[n->by_record[i] - 1].at == record)
            return n->by_record[i] - 1;
    }
}

static uint32_t home_of(bl__notes *n, const bl_scope *s)
{
    uint32_t i = notes_hash(s, n->scope_mask);
    for (; n->by_scope[i] != 0; i = (i + 1) & n->scope_mask)
        if (n->homes[n->by_scope[i] - 1].at == s)
            return n->by_scope[i] - 1;
    n->homes[n->homes_count] = (bl__home){.at = s, .opener = BL__NOBODY};
    n->by_scope[i] = ++n->homes_count;
    return n->homes_count - 1;
}

static bool waits_for_nobody(bl__reason reason)
{
    return reason == BL__WAIT_NONE || reason == BL__WAIT_SLEEP || reason == BL__WAIT_IO ||
           reason == BL__WAIT_BLOCKING || reason == BL__WAIT_BUBBLE;
}

static bool is_caller(const bl__notes *n, const bl__g *g)
{
    const char *self = n->s->self;
    return self > (const char *)g->stack_lo && self < (const char *)g->stack_hi;
}

/* It runs, or is about to, perhaps since before the search. */
static bool may_run(const bl__notes *n, const bl__g *g)
{
    uint32_t status = load_relaxed(&g->task.status);
    if (n->held && status != BL__G_RUNNING)
        return false;
    return g->task.kind != BL__TASK_G || (status != BL__G_PARKED && !is_caller(n, g));
}

/* Its innermost scope was not closed, and the storage is gone: it lies below what is in use of the
 * stack, or has been used for something else. */
static void note_lost(bl__notes *n, const bl__node *d)
{
    bl__search *s = n->s;
    bl_ctx c;
    bl_scope inner;
    const bl_scope *at = load_relaxed(&d->at->inner);
    if (s->lost_count == BL__STUCK_LOST || !bl__peek(&c, d->ctx, sizeof c) ||
        c.magic != BL__CTX_MAGIC || c.scope != at || !bl__peek(&inner, at, sizeof inner))
        return;
    bool left = (const char *)at >= (const char *)d->at->stack_lo && (const char *)at < d->low &&
                d->low < d->high; /* else it waits on a stack of its own */
    if (left || inner.bl__magic != BL__SCOPE_OPEN || inner.bl__ctx != d->ctx ||
        inner.bl__made != c.made)
        s->lost[s->lost_count++] =
            (bl__lost_scope){.who = {d->id, d->at, d->switches}, .opened = c.made};
}

/* Of the node that is being written. */
void bl__notes_reader(bl__notes *n, const bl__g *g)
{
    if (n->rw_count == BL__STUCK_RW)
        return;
    bl__reader *has = &n->rw[n->rw_count++];
    has->node = n->count;
    has->reads = g->reads_count < BL__READS ? g->reads_count : BL__READS;
    memcpy(has->read, g->reads, sizeof has->read);
}

static bool has_copy(const bl__g *g) { return g->arg == g->copy; }

static bool is_sound(const bl__node *d)
{
    uintptr_t record = (uintptr_t)d->at, low = (uintptr_t)d->at->stack_lo;
    return (uintptr_t)d->high == record / 16 * 16 && low % BL__MAPS_PAGE == 0 && low < record &&
           record - low < bl__rt.stack_slot && (uintptr_t)d->low >= low && d->low < d->high;
}

/* A helper runs its function, and has claimed the wait for as long. */
static bool is_helped(const bl__g *g, uint32_t wait)
{
    return g->reason == BL__WAIT_BLOCKING && wait == BL__W_CLAIMED;
}

/* By its record alone it is not stuck. */
static bool is_alive(const bl__notes *n, const bl__g *g, uint32_t wait)
{
    bool may_be =
        is_helped(g, wait) || (wait >= BL__W_SOLE && !waits_for_nobody((bl__reason)g->reason));
    return load_relaxed(&g->task.status) != BL__G_PARKED || !may_be || g->park_timer != NULL ||
           g->since > n->before;
}

/* Alive, and nothing else is to be known of it: who is not noted counts as alive. */
static bool is_plain(const bl__notes *n, const bl__g *g)
{
    if (g->task.kind != BL__TASK_G)
        return true;
    return load_relaxed(&g->task.status) == BL__G_PARKED && g->inner == g->scope &&
           g->reads_count == 0 && g->reason != BL__WAIT_RW_LOCK &&
           is_alive(n, g, load_acquire(&g->wait)); /* ORD(wait): as in note */
}

static void note(const bl__g *g, void *arg)
{
    bl__notes *n = arg;
    n->unknown = n->unknown || may_run(n, g);
    if (n->count + n->left_out == n->most) {
        n->failed = true;
        return;
    }
    if (!n->whole && is_plain(n, g)) {
        bl__home *h = &n->homes[home_of(n, g->scope)];
        h->members++;
        h->alive++;
        n->left_out++;
        return;
    }
    bl__node *d = &n->nodes[n->count];
    *d = (bl__node){.at = g->task.kind == BL__TASK_G ? g : NULL,
                    .id = g->id,
                    .home = g->scope,
                    .stack = BL__REACH_OPEN,
                    .copy = BL__REACH_OPEN};
    d->alive = 1;
    if (g->task.kind == BL__TASK_G) {
        uint32_t wait =
            load_acquire(&g->wait); /* ORD(wait): with commit: what is parked is saved */
        d->switches = bl__stuck_moves(g);
        d->ctx = g->ctx;
        d->reason = g->reason;
        d->obj = g->wait_obj;
        d->cancellable = wait == BL__W_CANCELLABLE;
        d->opener = g->inner != g->scope;
        d->low = load_relaxed(&g->sp);
        d->high = g->stack_hi;
        d->sound = is_sound(d);
        d->copied = has_copy(g);
        d->alive = is_alive(n, g, wait);
        if (g->reads_count > 0 || d->reason == BL__WAIT_RW_LOCK)
            bl__notes_reader(n, g);
        if (load_relaxed(&g->task.status) == BL__G_RUNNING && !is_caller(n, g))
            bl__runners_add(&n->ran, &(bl__runner){.id = d->id, .at = d->at});
        if (d->opener && load_relaxed(&g->task.status) == BL__G_PARKED && wait >= BL__W_SOLE)
            note_lost(n, d);
    }
    n->count++;
}

/* The scope's opener. A scope lives in its opener's frame, which may be gone. */
static void home_read(bl__notes *n, bl__home *h)
{
    bl_scope s;
    if (!bl__peek(&s, h->at, sizeof s) || s.bl__magic != BL__SCOPE_OPEN)
        return;
    h->timers = bl__timers_pending(s.bl__timers) || s.bl__grace_state == BL__GRACE_BOUNDS;
    if (h->at != &bl__rt.root) {
        h->opener = bl__notes_node(n, s.bl__opener_g);
        return;
    }
    for (uint32_t i = 0; i < n->count; i++)
        if (n->nodes[i].id == 1) /* the main goroutine */
            h->opener = i;
}

static void notes_index(bl__notes *n)
{
    for (uint32_t i = 0; i < n->count; i++) {
        bl__node *d = &n->nodes[i];
        uint32_t at = notes_hash(d->at, n->record_mask);
        while (n->by_record[at] != 0)
            at = (at + 1) & n->record_mask;
        if (d->at != NULL)
            n->by_record[at] = i + 1;
        d->scope = home_of(n, d->home);
        n->homes[d->scope].members++;
        n->homes[d->scope].alive += d->alive;
    }
    for (uint32_t i = 0; i < n->homes_count; i++)
        home_read(n, &n->homes[i]);
}

/* Threads whose registers are not known. */
static bool has_strangers(void)
{
    int ours = (int)load_relaxed(&bl__rt.threads) + 2 + (BL__TSAN || BL__RACE ? 1 : 0) +
               bl__finder_threads() + (int)load_acquire(&bl__rt.helpers.resting); /* ORD(resting) */
    return bl__ring_thread_count() != ours;
}

/* ---- Who could wake it ---- */

/* The goroutine or thread of this record; one that is not known is alive, and so is none. */
static bool owner_alive(const bl__notes *n, uintptr_t word)
{
    const bl__g *owner = (const bl__g *)(word & ~(uintptr_t)LOCK_WORD_BITS);
    if (owner == &bl__orphan)
        return false;
    uint32_t i = owner != NULL ? bl__notes_node(n, owner) : BL__NOBODY;
    return i == BL__NOBODY || n->nodes[i].alive;
}

static bool scope_alive(bl__notes *n, const bl_scope *s)
{
    const bl__home *h = &n->homes[home_of(n, s)];
    return h->members == 0 || h->alive > 0 || h->timers;
}

static bool pool_alive(bl__notes *n, const bl__node *d)
{
    bl_pool p;
    return !bl__peek(&p, d->obj, sizeof p) || p.magic != BL__POOL_LIVE || p.workers == 0 ||
           scope_alive(n, p.scope);
}

/* The thread that runs its function. */
static bool helper_alive(const bl__notes *n, const bl__node *d)
{
    for (uint32_t i = 0; i < n->threads; i++)
        if (n->plain[i].caller == d->at)
            return n->nodes[n->plain[i].node].alive;
    return true;
}

/* Somebody who is stuck holds the rwmutex for reading that d waits for, and nobody unlocks for
 * others here. So no writer gets it; and a reader waits for the writers before it, of whom some may
 * give up. */
bool bl__node_kept(const bl__notes *n, const bl__node *d)
{
    bool kept = false, writer = d->reason == BL__WAIT_RW_LOCK;
    if (load_relaxed(&bl__reads_handed) || n->rw_count == BL__STUCK_RW)
        return false;
    for (uint32_t i = 0; i < n->rw_count; i++) {
        const bl__reader *has = &n->rw[i];
        const bl__node *r = &n->nodes[has->node];
        if (r->obj == d->obj && r->reason == BL__WAIT_RW_LOCK) {
            if (r->alive && d->reason == BL__WAIT_RW_RLOCK)
                return false;
            writer = true;
        }
        for (uint32_t k = 0; !r->alive && k < has->reads; k++)
            kept = kept || has->read[k] == d->obj;
    }
    return kept && writer;
}

/* By what the record says alone: alive, or it depends on who can get at its objects. */
static bool waker_alive(bl__notes *n, const bl__node *d)
{
    bl_mutex m;
    bl_rwmutex rw;
    bl_once once;
    bl__after after;
    switch (d->reason) {
    case BL__WAIT_MUTEX: return !bl__peek(&m, d->obj, sizeof m) || owner_alive(n, m.bl__word);
    case BL__WAIT_RW_LOCK:
    case BL__WAIT_RW_RLOCK:
        if (d->kept || !bl__peek(&rw, d->obj, sizeof rw))
            return !bl__node_kept(n, d);
        return (rw.bl__word & BL__STUCK_RW_HELD) != 0 && owner_alive(n, rw.bl__word);
    case BL__WAIT_ONCE:
        return !bl__peek(&once, d->obj, sizeof once) || owner_alive(n, (uintptr_t)once.bl__runner);
    case BL__WAIT_TIMER:
        return !bl__peek(&after, d->obj, sizeof after) || owner_alive(n, (uintptr_t)after.runner);
    case BL__WAIT_SCOPE:
    case BL__WAIT_SCOPE_ROOM: return scope_alive(n, d->obj);
    case BL__WAIT_POOL_SUBMIT:
    case BL__WAIT_POOL_JOIN: return pool_alive(n, d);
    case BL__WAIT_BLOCKING: return helper_alive(n, d);
    default: return false;
    }
}

/* Could somebody end its wait by a cancellation? */
static bool canceller_alive(const bl__notes *n, const bl__node *d)
{
    const bl__home *h = &n->homes[d->scope];
    if (!d->cancellable || d->opener || n->s->leaks)
        return false;
    return h->opener == BL__NOBODY || n->nodes[h->opener].alive || h->alive > 0;
}

/* Until nothing changes: who is alive makes others alive. */
static void spread(bl__notes *n)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < n->count; i++) {
            bl__node *d = &n->nodes[i];
            if (d->alive || (!canceller_alive(n, d) && !waker_alive(n, d)))
                continue;
            bl__node_revive(n, d);
            changed = true;
        }
    }
}

/* ---- Who can get at it ---- */

/* What d waits on, and what it has. False: it is alive after all. */
static bool node_add(bl__notes *n, bl__node *d)
{
    if (!bl__node_objects(n, d))
        return false;
    if (d->thread)
        return bl__notes_thread_stack(n, d) || d->objects == 0;
    if (d->objects > 0 && n->blind)
        return false;
    const void *end = d->sound && !d->copied ? (const void *)(d->at + 1) : d->high;
    d->stack = bl__reach_stack(n->reach, d->low, d->high, end, d->sound);
    if (d->copied) {
        const uint64_t *copy = d->at->copy;
        end = copy + sizeof d->at->copy / sizeof copy[0];
        d->copy = bl__reach_stack(n->reach, copy, end, end, true);
    }
    return true;
}

static uint32_t objects_find(bl__notes *n)
{
    uint32_t stuck = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        bl__node *d = &n->nodes[i];
        if (d->alive)
            continue;
        if (node_add(n, d)) {
            stuck++;
        } else {
            d->objects = 0;
            bl__node_revive(n, d);
        }
    }
    return stuck;
}

static void root_range(const void *low, const void *high, void *arg)
{
    bl__reach_root(arg, low, high, true);
}

/* Its call has nothing of the program's but what it waits on, and gives it back no more than
 * that. */
static bool call_has_nothing(bl__reason reason)
{
    return reason == BL__WAIT_SLEEP || reason == BL__WAIT_CHAN_RECV || reason == BL__WAIT_SELECT ||
           reason == BL__WAIT_MUTEX || reason == BL__WAIT_COND || reason == BL__WAIT_WAITGROUP ||
           reason == BL__WAIT_SEM || reason == BL__WAIT_SCOPE;
}

/* What a select has: its cases, and what they send. False: there are too many. */
static bool cases_add(bl__notes *n, const void *obj)
{
    bl__select_wait s;
    bl_case c;
    if (!bl__peek(&s, obj, sizeof s) || s.n > BL__STUCK_CALLERS)
        return false;
    bl__reach_value(n->reach, s.cases);
    for (size_t i = 0; i < s.n && bl__peek(&c, s.cases + i, sizeof c); i++)
        bl__reach_value(n->reach, c.val);
    return true;
}

/* Where what is in use of its stack begins for the program. In the frames of the library's call,
 * which are left out then, stands what its callers have left in registers; of these the ones that
 * they still use are added, and those that nobody uses are left out of the callers' frames. */
static const char *caller_add(bl__notes *n, const bl__node *d)
{
    static bool named; /* under one_search */
    bl__caller c;
    if (!call_has_nothing((bl__reason)d->reason) || n->callers == BL__STUCK_CALLERS ||
        !bl__rescue_there())
        return d->low;
    n->callers++;
    n->s->named = n->s->named || (!named && !bl__own_known());
    named = true;
    if (!bl__caller_find(&c, d->at, &n->space) || c.sp < (uintptr_t)d->low ||
        c.sp > (uintptr_t)d->high)
        return d->low;
    if (d->reason == BL__WAIT_SELECT && !cases_add(n, d->obj))
        return d->low;
    for (uint32_t i = 0; i < c.used_count; i++)
        bl__reach_value(n->reach, (const void *)c.used[i]);
    for (uint32_t i = 0; i < c.dead_count; i++)
        bl__reach_skip(n->reach, (const void *)c.dead[i], (const void *)(c.dead[i] + 8));
    return (const char *)c.sp;
}

/* What the pending after-functions of the scopes that d has open will be given: they run though d
 * is stuck. */
static void afters_add(bl__notes *n, const bl__node *d)
{
    const bl_scope *at = bl__node_inner(d);
    bl_scope s;
    for (int k = 0; k < BL__STUCK_CONTEXTS && at != d->home && bl__peek(&s, at, sizeof s) &&
                    s.bl__magic == BL__SCOPE_OPEN;
         k++, at = s.bl__parent) {
        const bl__after *next = s.bl__timers;
        bl__after a;
        int left = AFTERS;
        for (; bl__timers_pending(next) && left > 0 && bl__peek(&a, next, sizeof a); left--) {
            bl__reach_value(n->reach, a.arg);
            next = a.next;
        }
        n->failed = n->failed || left == 0;
    }
}

/* The memory of those who are alive. A goroutine that has not run has its argument. */
static void roots_add(bl__notes *n)
{
    bl__each_spawned_part(false, root_range, n->reach);
    /* of the root scope, which is the runtime's own; those of others are found in their frames */
    bl__reach_value(n->reach, load_relaxed(&bl__rt.root.bl__timers));
    for (uint32_t i = 0; i < n->count; i++) {
        const bl__node *d = &n->nodes[i];
        const bl__g *g = d->at;
        if (!d->alive)
            afters_add(n, d);
        if (!d->alive || g == NULL || d->thread)
            continue;
        bool runs = load_relaxed(&g->task.status) != BL__G_PARKED || d->low == NULL;
        const char *low = runs ? g->stack_lo : caller_add(n, d);
        if (is_caller(n, g))
            low = n->s->self;
        bl__reach_root(n->reach, low, d->high, !runs && d->sound);
        bl__reach_value(n->reach, d->ctx);
        bl__reach_value(n->reach, g->arg);
        for (size_t k = 0; d->copied && k < sizeof g->copy / sizeof g->copy[0]; k++)
            bl__reach_value(n->reach, (const void *)(uintptr_t)g->copy[k]);
    }
}

static bool somebody_reaches(const bl__notes *n, const bl__node *d)
{
    for (uint32_t i = 0; i < d->objects; i++)
        if (bl__reach_marked(n->reach, bl__reach_item(n->reach, d->first + i)))
            return true;
    return false;
}

/* As spread, with what memory says. */
static void spread_reach(bl__notes *n)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < n->count; i++) {
            bl__node *d = &n->nodes[i];
            if (d->alive || !somebody_reaches(n, d))
                continue;
            bl__node_revive(n, d);
            changed = true;
        }
        spread(n);
        for (uint32_t i = 0; i < n->count; i++)
            if (n->nodes[i].alive && n->nodes[i].stack != BL__REACH_OPEN) {
                bl__reach_mark(n->reach, n->nodes[i].stack);
                bl__reach_mark(n->reach, n->nodes[i].copy);
                n->nodes[i].stack = BL__REACH_OPEN;
                changed = true;
            }
    }
}

/* Of plain threads alone nobody is told. */
static bool somebody_may_be(const bl__notes *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (!n->nodes[i].alive && !n->nodes[i].thread)
            return true;
    return false;
}

static void word_mark(uint64_t word, void *arg)
{
    bl__notes *n = arg;
    n->marked = bl__reach_mark_value(n->reach, (uintptr_t)word) || n->marked;
}

/* Somebody may be stuck, and memory has its part in that. */
static bool memory_decides(const bl__notes *n)
{
    bool decides = false;
    for (uint32_t i = 0; i < n->count; i++)
        decides = decides || (!n->nodes[i].alive && n->nodes[i].objects > 0);
    return decides && somebody_may_be(n);
}

/* As spread_reach, with the words that each gives. If it does not know all, memory says nothing. */
static void spread_words(bl__notes *n,
                         bool (*each)(void (*fn)(uint64_t word, void *arg), void *arg))
{
    if (!memory_decides(n))
        return;
    n->marked = false;
    bool known = each(word_mark, n);
    for (uint32_t i = 0; i < n->count && !known; i++)
        if (n->nodes[i].objects > 0)
            bl__node_revive(n, &n->nodes[i]);
    if (n->marked || !known)
        spread_reach(n);
}

/* It has been switched off since it was noted, a switch being counted when it begins, or had ended
 * before. */
static bool has_rested(const bl__notes *n, const bl__runner *r)
{
    bl__g now;
    bool there = bl__runner_there(r, &now);
    uint32_t at = n->looked ? bl__notes_node(n, r->at) : BL__NOBODY;
    if (at == BL__NOBODY || n->nodes[at].id != r->id)
        return n->looked || !there;
    return there && now.task.status != BL__G_RUNNING &&
           bl__stuck_moves(&now) == n->nodes[at].switches;
}

/* Of those that ran in searches before: who has rested while memory was read has all on its stack
 * that it had in registers. */
static void runners_join(bl__notes *n)
{
    bl__runners before = bl__search_runners(n->s);
    for (uint32_t i = 0; i < bl__runners_listed(&before); i++) {
        bl__runner *at = bl__runners_find(&n->ran, before.list[i].id);
        if (at != NULL)
            at->opaque = at->opaque || before.list[i].opaque;
        else if (!has_rested(n, &before.list[i]))
            bl__runners_add(&n->ran, &before.list[i]);
    }
    n->s->running_count = 0;
}

/* Those of which nothing is known now. */
static void runners_tell(bl__notes *n)
{
    bl__runners left = bl__search_runners(n->s);
    runners_join(n);
    n->failed = n->failed || n->ran.count > n->ran.most;
    left.count = 0;
    for (uint32_t i = 0; i < bl__runners_listed(&n->ran); i++)
        if (!n->ran.list[i].known)
            bl__runners_add(&left, &n->ran.list[i]);
    n->s->running_count = left.count;
}

static bool registers_each(void (*fn)(uint64_t word, void *arg), void *arg)
{
    bl__notes *n = arg;
    runners_join(n);
    return bl__registers_each(fn, arg, &n->ran);
}

/* ---- The search ---- */

bool bl__stuck_still(const bl__stuck *s)
{
    bl__san_unchecked_begin();                  /* it may run on; then its count tells */
    uint32_t wait = load_acquire(&s->at->wait); /* ORD(wait): with the claims */
    bool still = load_relaxed(&s->at->id) == s->id && bl__stuck_moves(s->at) == s->switches &&
                 load_relaxed(&s->at->task.status) == BL__G_PARKED &&
                 (wait >= BL__W_SOLE || is_helped(s->at, wait));
    bl__san_unchecked_end();
    return still;
}

uint64_t bl__stuck_picks(void)
{
    uint64_t sum = 0;
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++)
        sum += load_relaxed(&bl__rt.ps[i]->tick);
    return sum + load_relaxed(&bl__rt.plain_changes);
}

/* What memory says was needed: about one of the goroutines, or about a plain thread that has what
 * one of them waits for. The threads count as alive afterwards. */
static bool is_by_memory(bl__notes *n)
{
    uint32_t stuck = 0, left = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        bl__node *d = &n->nodes[i];
        if (d->alive)
            continue;
        if (!d->thread && d->objects > 0)
            return true;
        stuck += !d->thread;
        if (d->thread && d->objects > 0)
            bl__node_revive(n, d);
    }
    spread(n);
    for (uint32_t i = 0; i < n->count; i++)
        left += !n->nodes[i].alive && !n->nodes[i].thread;
    return left != stuck;
}

/* Whoever has switched since was alive. True: somebody has. */
static bool movers_revive(bl__notes *n)
{
    bool moved = false;
    for (uint32_t i = 0; i < n->count; i++) {
        bl__node *d = &n->nodes[i];
        if (d->alive || d->thread || bl__stuck_still(&(bl__stuck){d->id, d->at, d->switches}))
            continue;
        bl__node_revive(n, d);
        moved = true;
    }
    return moved;
}

/* And so is whom those wake. To find them it is read anew who has what, and that may be one who was
 * parked still when it was looked at; so all are looked at once more. The rest was parked all the
 * time in which that was read. */
static void movers_follow(bl__notes *n)
{
    while (!n->failed && movers_revive(n)) {
        if (n->looked)
            spread_reach(n);
        else
            spread(n);
        n->failed = !bl__notes_threads_wait(n);
    }
}

static void answer(bl__notes *n)
{
    bl__search *s = n->s;
    for (uint32_t i = 0; i < n->count; i++) {
        const bl__node *d = &n->nodes[i];
        bl__stuck one = {d->id, d->at, d->switches};
        if (d->alive || d->thread)
            continue;
        size_t at = s->count < s->most ? s->count : s->most;
        for (; at > 0 && s->found[at - 1].id > one.id; at--)
            if (at < s->most)
                s->found[at] = s->found[at - 1];
        if (at < s->most)
            s->found[at] = one;
        s->count++;
    }
    s->by_memory = s->count > 0 && !n->nobody && is_by_memory(n);
}

static bool notes_new(bl__notes *n, uint32_t expected)
{
    uint32_t most = expected + expected / 8 + 64;
    uint32_t slots = 64; /* for the records; there may be twice as many scopes */
    while (slots < most + most / 4)
        slots *= 2;
    size_t bytes = most * (sizeof(bl__node) + 2 * sizeof(bl__home)) +
                   3 * (size_t)slots * sizeof(uint32_t) + sizeof(bl__peek_pages);
    size_t more = (size_t)BL__STUCK_OBJECTS * most < OBJECTS_MORE ? (size_t)BL__STUCK_OBJECTS * most
                                                                  : OBJECTS_MORE;
    uint32_t runners = load_relaxed(&bl__rt.threads) + BL__STUCK_RUNNING;
    void *extra;
    bytes += runners * sizeof(bl__runner);
    n->reach = bl__reach_new((size_t)2 * most, (size_t)4 * most + more, bytes, &extra);
    if (n->reach == NULL)
        return false;
    n->most = most;
    n->record_mask = slots - 1;
    n->scope_mask = 2 * slots - 1;
    n->pages = extra;
    n->nodes = (bl__node *)(void *)(n->pages + 1);
    n->homes = (bl__home *)(void *)(n->nodes + most);
    n->ran =
        (bl__runners){.list = (bl__runner *)(void *)(n->homes + 2 * (size_t)most), .most = runners};
    n->by_record = (uint32_t *)(void *)(n->ran.list + runners);
    n->by_scope = n->by_record + slots;
    return true;
}

/* All are parked, and were so at one moment, and whatever comes does no more than to send ticks: so
 * there is nobody to whom it matters what memory leads to. Timers first: whom one of them starts or
 * wakes before they are looked at is seen behind them. */
static bool nobody_acts(const bl__notes *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (n->nodes[i].alive)
            return false; /* before what takes longer */
    if (bl__deadlines_act() || n->count - n->threads != bl__goroutines() || has_strangers())
        return false;
    for (uint32_t i = 0; i < n->count; i++) {
        const bl__node *d = &n->nodes[i];
        if (!d->thread && !bl__stuck_still(&(bl__stuck){d->id, d->at, d->switches}))
            return false;
    }
    return bl__stuck_picks() == n->picks;
}

static void search_memory(bl__notes *n)
{
    n->blind = !bl__reach_begin(n->reach, n->closely) || n->s->blind;
    uint32_t stuck = objects_find(n);
    spread(n);
    n->nobody = stuck > 0 && !n->s->leaks && nobody_acts(n);
    if (n->nobody)
        return;
    if (n->blind || stuck == 0) {
        if (n->s->spare && bl__notes_spare(n))
            spread(n);
        return;
    }
    n->failed = n->failed || !bl__notes_deadlines(n); /* first, as in nobody_acts */
    roots_add(n);
    bl__notes_skip(n);
    n->failed = n->failed || !bl__reach_solve(n->reach, n->s->limit);
    if (n->failed)
        return;
    n->looked = true;
    spread_reach(n);
    if (n->s->spare && bl__notes_spare(n))
        spread_reach(n);
    if (n->closely) {
        spread_words(n, bl__kernel_each);
        spread_words(n, registers_each);
    }
}

static void notes_forget(bl__notes *n)
{
    memset(n->by_record, 0, (n->record_mask + 1) * sizeof n->by_record[0]);
    memset(n->by_scope, 0, (n->scope_mask + 1) * sizeof n->by_scope[0]);
    n->ran.count = n->count = n->left_out = n->threads = n->homes_count = n->rw_count = 0;
    n->unknown = false;
}

/* Notes those who are there, and who of them is alive by what the notes say. whole: all of them. */
static void notes_take(bl__notes *n, bool whole)
{
    bl__search *s = n->s;
    s->lost_count = 0;
    n->whole = whole;
    n->picks = bl__stuck_picks();
    bl__each_goroutine(note, n);
    bl__notes_threads(n);
    notes_index(n);
    if (bl__signals_armed()) /* the world can cancel all there is, and main is who waits for that */
        for (uint32_t i = 0; i < n->count; i++)
            if (n->nodes[i].id == 1)
                bl__node_revive(n, &n->nodes[i]);
    spread(n);
}

static void search_run(bl__notes *n)
{
    bl__search *s = n->s;
    notes_take(n, false);
    if (!n->failed && n->left_out > 0 && somebody_may_be(n)) {
        notes_forget(n);
        notes_take(n, true);
    }
    if (!n->failed && somebody_may_be(n))
        search_memory(n);
    if (!n->failed && somebody_may_be(n))
        n->failed = !bl__notes_threads_wait(n);
    runners_tell(n);
    movers_follow(n);
    s->undecided = n->failed;
    if (!n->failed)
        answer(n);
    uint32_t lost = 0;
    for (uint32_t i = 0; i < s->lost_count; i++)
        if (bl__stuck_still(&s->lost[i].who))
            s->lost[lost++] = s->lost[i];
    s->lost_count = lost;
}

static pthread_mutex_t one_search = PTHREAD_MUTEX_INITIALIZER;

static void search_locked(bl__search *s, bool closely, bool held)
{
    size_t expected = bl__goroutines() + load_relaxed(&bl__rt.plain_blocked);
    bl__notes n = {
        .s = s, .closely = closely, .held = held, .before = s->before != 0 ? s->before : BL_NEVER};
    s->count = 0;
    s->named = false;
    s->by_memory = false;
    s->undecided = true;
    if (expected < UINT32_MAX / 8 && notes_new(&n, (uint32_t)expected)) {
        search_run(&n);
        bl__reach_free(n.reach);
        bl__trace_space_free(&n.space);
    }
    s->ran = n.unknown || bl__stuck_picks() != n.picks;
    s->quiet = !s->ran && !has_strangers();
}

/* What it took of this thread's time. If nobody is to run meanwhile, and that cannot be, it is as if
 * there had been none. */
static bl_dur search(bl__search *s, bool closely, bool hold)
{
    int64_t began = bl__thread_cpu(bl__thread_id());
    pthread_mutex_lock(&one_search);
    bool held = hold && bl__hold_begin();
    if (held || !hold)
        search_locked(s, closely, held);
    if (held && !bl__hold_end()) {
        s->undecided = true;
        s->count = 0;
    }
    pthread_mutex_unlock(&one_search);
    return bl__thread_cpu(bl__thread_id()) - began;
}

void bl__stuck_hold(void) { pthread_mutex_lock(&one_search); }
void bl__stuck_release(void) { pthread_mutex_unlock(&one_search); }

void bl__stuck_search(bl__search *s)
{
    s->took = search(s, false, false);
    bool again = s->closely && s->by_memory;
    bl_dur took = again ? search(s, true, false) : 0;
    s->took += took;
    s->held = again && s->by_memory && s->ran && took < s->hold;
    if (s->held)
        s->took += search(s, true, true);
}
