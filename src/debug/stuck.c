/* SPDX-License-Identifier: MIT */
/*
 * stuck.c: see stuck.h.
 *
 * A search takes notes of all goroutines while they run, decides who could be stuck from the notes
 * alone, which settles nearly all cases, and only then looks through memory for the rest. At the end it
 * looks at each record again: whoever has switched since was alive. All of those that are left were
 * parked at one time, the one between the two looks.
 */
#include "debug/stuck.h"

#include <pthread.h>
#include <string.h>

#include "core/proc.h"
#include "debug/maps.h"
#include "debug/peek.h"
#include "debug/reach.h"
#include "debug/symbol.h"
#include "io/fd.h"
#include "life/ctx.h"
#include "life/notify.h"
#include "life/pool.h"
#include "os/os.h"
#include "sync/chan.h"
#include "sync/object.h"

enum {
    LOCK_WORD_BITS = 7,      /* of the words of mutexes and rwmutexes, beside the owner */
    RW_WRITE_HELD = 2,       /* as in sync/rwmutex.c */
    CONTEXTS = 8,            /* looked at on the way up from a goroutine's */
    OBJECTS = CONTEXTS + 24, /* of a goroutine; with more it counts as alive */
    OBJECTS_MORE = 1 << 18,  /* of all together, beside four for each */
    RW_NODES = 64,
    ACTIVE = 256
};

#define NOBODY UINT32_MAX

typedef struct node {
    const bl__g *at;
    uint64_t id;
    const void *obj;
    const bl_scope *home;
    const bl_ctx *ctx;
    const char *low; /* its stack in use */
    const char *high;
    uint32_t switches;
    uint32_t scope;              /* index of home in scopes */
    uint32_t stack;              /* item of its stack, while it may be stuck */
    uint32_t copy;               /* item of its copy of bl_go_copy's value, likewise */
    uint32_t first;              /* of its objects */
    const void *read[BL__READS]; /* read locks that it holds */
    uint16_t objects;
    uint16_t cancels; /* of them the last ones: with which it can be cancelled */
    uint8_t reason;
    uint8_t alive;
    uint8_t cancellable;
    uint8_t proven;
    uint8_t opener; /* it has a scope open: who cancels it ends that, and does not make it go on */
    uint8_t reads;  /* how many are in read */
    uint8_t kept;   /* it waits for an rwmutex that somebody keeps who is stuck himself */
} node;

typedef struct home {
    const bl_scope *at;
    uint32_t opener; /* its node; NOBODY: it is no goroutine, or not known */
    uint32_t members;
    uint32_t alive; /* of them */
    bool timers;    /* some of its after-functions are pending */
} home;

typedef struct notes {
    bl__search *s;
    bl__reach *reach;
    node *nodes;
    uint32_t count, most;
    uint32_t *by_record; /* hash tables, open addressing: index + 1 */
    uint32_t *by_scope;
    uint32_t mask;
    home *homes;
    uint32_t homes_count;
    uint32_t
        rw[RW_NODES]; /* who was parked with a read lock, or wants a write lock, the first ones */
    uint32_t rw_count;
    uint32_t objects;
    bl_time before;       /* parked since then, or earlier */
    const bl__site *made; /* that was looked at last, … */
    bool is_chan;         /* … and whether it is a channel of a user's */
    const bl_ctx *ctx_at; /* the context that was looked at last, … */
    bl_ctx ctx;           /* … and what it was */
    bool failed;
    bool blind; /* memory cannot be looked at: whoever waits on what others might get at is alive */
    const char *active[ACTIVE]; /* functions that those who are alive are known to be in */
    uint32_t active_count;
    bool unknown; /* some run whose registers are not known */
} notes;

/* ---- Taking notes ---- */

static uint32_t notes_hash(const notes *n, const void *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32) & n->mask;
}

static uint32_t node_of(const notes *n, const void *record)
{
    for (uint32_t i = notes_hash(n, record);; i = (i + 1) & n->mask) {
        if (n->by_record[i] == 0)
            return NOBODY;
        if (n->nodes[n->by_record[i] - 1].at == record)
            return n->by_record[i] - 1;
    }
}

static uint32_t home_of(notes *n, const bl_scope *s)
{
    uint32_t i = notes_hash(n, s);
    for (; n->by_scope[i] != 0; i = (i + 1) & n->mask)
        if (n->homes[n->by_scope[i] - 1].at == s)
            return n->by_scope[i] - 1;
    n->homes[n->homes_count] = (home){.at = s, .opener = NOBODY};
    n->by_scope[i] = ++n->homes_count;
    return n->homes_count - 1;
}

/* The end of a run, which waits no longer than its grace. */
static bool is_runs_end(const bl__g *g)
{
    bl_ctx c;
    return g->id == 1 && g->reason == BL__WAIT_SCOPE && g->wait_obj == &bl__rt.root &&
           bl__peek(&c, bl__rt.root.bl__ctx, sizeof c) && c.state != 0;
}

static bool waits_for_nobody(bl__reason reason)
{
    return reason == BL__WAIT_NONE || reason == BL__WAIT_SLEEP || reason == BL__WAIT_IO ||
           reason == BL__WAIT_TIMER || reason == BL__WAIT_BLOCKING || reason == BL__WAIT_BUBBLE;
}

/* Its registers are not known. */
static void note_running(notes *n, const node *d)
{
    bl__search *s = n->s;
    n->unknown = true;
    if (s->running_count < BL__STUCK_RUNNING)
        s->running[s->running_count] = (bl__stuck){d->id, d->at, d->switches, 0};
    s->running_count++;
}

/* Its innermost scope was not closed, and the storage is gone: it lies below what is in use of the stack, or has been
 * used for something else. */
static void note_lost(notes *n, const node *d)
{
    bl__search *s = n->s;
    bl_ctx c;
    bl_scope inner;
    const bl_scope *at = load_relaxed(&d->at->inner);
    if (s->lost_count == BL__STUCK_LOST || !bl__peek(&c, d->ctx, sizeof c) ||
        c.magic != BL__CTX_MAGIC || c.scope != at || !bl__peek(&inner, at, sizeof inner))
        return;
    bool left = (const char *)at >= (const char *)d->at->stack_lo && (const char *)at < d->low;
    if (left || inner.bl__magic != BL__SCOPE_OPEN || inner.bl__ctx != d->ctx ||
        inner.bl__made != c.made)
        s->lost[s->lost_count++] =
            (bl__lost_scope){.who = {d->id, d->at, d->switches, 1}, .opened = c.made};
}

static void note(const bl__g *g, void *arg)
{
    notes *n = arg;
    if (n->count == n->most) {
        n->failed = true;
        return;
    }
    node *d = &n->nodes[n->count];
    *d = (node){.at = g->task.kind == BL__TASK_G ? g : NULL,
                .id = g->id,
                .home = g->scope,
                .stack = BL__REACH_OPEN,
                .copy = BL__REACH_OPEN};
    d->alive = 1;
    if (g->task.kind == BL__TASK_G) {
        uint32_t wait =
            load_acquire(&g->wait); /* ORD(wait): with commit: what is parked is saved */
        d->switches = load_relaxed(&g->switches);
        d->ctx = g->ctx;
        d->reason = g->reason;
        d->obj = g->wait_obj;
        d->cancellable = wait == BL__W_CANCELLABLE;
        d->opener = g->inner != g->scope;
        d->low = load_relaxed(&g->sp);
        d->high = g->stack_hi;
        d->alive = load_relaxed(&g->task.status) != BL__G_PARKED || wait < BL__W_SOLE ||
                   g->park_timer != NULL || g->since > n->before ||
                   waits_for_nobody((bl__reason)g->reason) || is_runs_end(g);
        d->reads = (uint8_t)(g->reads_count < BL__READS ? g->reads_count : BL__READS);
        memcpy(d->read, g->reads, sizeof d->read);
        if ((d->reads > 0 || d->reason == BL__WAIT_RW_LOCK) && n->rw_count < RW_NODES)
            n->rw[n->rw_count++] = n->count;
        if (load_relaxed(&g->task.status) == BL__G_RUNNING && n->s->self == NULL)
            note_running(n, d);
        if (d->opener && load_relaxed(&g->task.status) == BL__G_PARKED && wait >= BL__W_SOLE)
            note_lost(n, d);
    }
    n->count++;
}

/* The scope's opener. A scope lives in its opener's frame, which may be gone. */
static void home_read(notes *n, home *h)
{
    bl_scope s;
    if (!bl__peek(&s, h->at, sizeof s) || s.bl__magic != BL__SCOPE_OPEN)
        return;
    h->timers = s.bl__timers != NULL;
    if (h->at != &bl__rt.root) {
        h->opener = node_of(n, s.bl__opener_g);
        return;
    }
    for (uint32_t i = 0; i < n->count; i++)
        if (n->nodes[i].id == 1) /* the main goroutine */
            h->opener = i;
}

static void notes_index(notes *n)
{
    for (uint32_t i = 0; i < n->count; i++) {
        node *d = &n->nodes[i];
        uint32_t at = notes_hash(n, d->at);
        while (n->by_record[at] != 0)
            at = (at + 1) & n->mask;
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

static void revive(notes *n, node *d)
{
    if (d->alive)
        return;
    d->alive = 1;
    n->homes[d->scope].alive++;
}

/* ---- Who could wake it ---- */

/* The goroutine or thread of this record; one that is not known is alive, and so is none. */
static bool owner_alive(const notes *n, uintptr_t word)
{
    const bl__g *owner = (const bl__g *)(word & ~(uintptr_t)LOCK_WORD_BITS);
    if (owner == &bl__orphan)
        return false;
    uint32_t i = owner != NULL ? node_of(n, owner) : NOBODY;
    return i == NOBODY || n->nodes[i].alive;
}

static bool scope_alive(notes *n, const bl_scope *s)
{
    const home *h = &n->homes[home_of(n, s)];
    return h->members == 0 || h->alive > 0 || h->timers;
}

static bool pool_alive(notes *n, const node *d)
{
    bl_pool p;
    return !bl__peek(&p, d->obj, sizeof p) || p.magic != BL__POOL_LIVE || p.workers == 0 ||
           scope_alive(n, p.scope);
}

/* Somebody who is stuck holds the rwmutex for reading that d waits for, and nobody unlocks for others here. So no
 * writer gets it; and a reader waits for the writers before it, of whom some may give up. */
static bool kept_by_reader(const notes *n, const node *d)
{
    bool kept = false, writer = d->reason == BL__WAIT_RW_LOCK;
    if (load_relaxed(&bl__reads_handed) || n->rw_count == RW_NODES)
        return false;
    for (uint32_t i = 0; i < n->rw_count; i++) {
        const node *r = &n->nodes[n->rw[i]];
        if (r->obj == d->obj && r->reason == BL__WAIT_RW_LOCK) {
            if (r->alive && d->reason == BL__WAIT_RW_RLOCK)
                return false;
            writer = true;
        }
        for (uint32_t k = 0; !r->alive && k < r->reads; k++)
            kept = kept || r->read[k] == d->obj;
    }
    return kept && writer;
}

/* By what the record says alone: alive, or it depends on who can get at its objects. */
static bool waker_alive(notes *n, const node *d)
{
    bl_mutex m;
    bl_rwmutex rw;
    bl_once once;
    switch (d->reason) {
    case BL__WAIT_MUTEX: return !bl__peek(&m, d->obj, sizeof m) || owner_alive(n, m.bl__word);
    case BL__WAIT_RW_LOCK:
    case BL__WAIT_RW_RLOCK:
        if (d->kept || !bl__peek(&rw, d->obj, sizeof rw))
            return !kept_by_reader(n, d);
        return (rw.bl__word & RW_WRITE_HELD) != 0 && owner_alive(n, rw.bl__word);
    case BL__WAIT_ONCE:
        return !bl__peek(&once, d->obj, sizeof once) || owner_alive(n, (uintptr_t)once.bl__runner);
    case BL__WAIT_SCOPE:
    case BL__WAIT_SCOPE_ROOM: return scope_alive(n, d->obj);
    case BL__WAIT_POOL_SUBMIT:
    case BL__WAIT_POOL_JOIN: return pool_alive(n, d);
    default: return false;
    }
}

/* Could somebody end its wait by a cancellation? */
static bool canceller_alive(const notes *n, const node *d)
{
    const home *h = &n->homes[d->scope];
    if (!d->cancellable || d->opener || n->s->leaks)
        return false;
    return h->opener == NOBODY || n->nodes[h->opener].alive || h->alive > 0;
}

/* Until nothing changes: who is alive makes others alive. */
static void spread(notes *n)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < n->count; i++) {
            node *d = &n->nodes[i];
            if (d->alive || (!canceller_alive(n, d) && !waker_alive(n, d)))
                continue;
            revive(n, d);
            changed = true;
        }
    }
}

/* ---- What it waits on ---- */

static void object_add(notes *n, node *d, const void *at)
{
    uint32_t i = bl__reach_object(n->reach, at);
    if (d->objects == 0)
        d->first = i;
    d->objects++;
}

/* The channel of a context: who can get at that, or at one above it that is no scope's, can cancel it. False: whoever
 * is to come is alive in any case: its deadline is, and so is a scope whose end is waited for. */
static bool done_add(notes *n, node *d, const bl_ctx *at)
{
    bl_ctx c;
    bool own = false; /* it can be cancelled apart from what is above it */
    for (int i = 0; i < CONTEXTS && at != NULL; i++, at = c.upstream) {
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

/* The channel of a timer or ticker that was stopped, has fired, or was never started: whoever can get at that
 * can start it again. False: it is armed, or somebody works on it. */
static bool timer_add(notes *n, node *d, const bl_chan *at, const bl_chan *c)
{
    const bl_timer *t =
        (const bl_timer *)(const void *)((const char *)at - offsetof(bl_timer, bl__chan));
    bl_timer copy;
    if (!bl__peek(&copy, t, sizeof copy) || copy.bl__self != t || copy.bl__heap != NULL ||
        copy.bl__period != 0 || copy.bl__lock != 0 || c->len != 0 || c->bubble != 0 ||
        bl__timer_firing(t))
        return false;
    bl__reach_skip(n->reach, t, t + 1);
    object_add(n, d, t);
    return true;
}

/* False: whoever is to come for this channel is alive in any case, as with an armed timer. */
static bool chan_add(notes *n, node *d, const bl_chan *at)
{
    bl_chan c;
    bl__site made;
    char what[8] = {0};
    if (at == NULL)
        return true;
    if (!bl__peek(&c, at, sizeof c) || c.magic != BL__CHAN_LIVE)
        return false;
    if (c.timer)
        return timer_add(n, d, at, &c);
    if (c.made == NULL)
        return false;
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
static void sync_add(notes *n, node *d)
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
    d->kept = rw && kept_by_reader(n, d);
    if (d->kept || (rw && bl__peek(&m, d->obj, sizeof m) && (m.bl__word & RW_WRITE_HELD) != 0))
        return;
    object_add(n, d, d->obj);
}

static bool select_add(notes *n, node *d)
{
    bl__select_wait s;
    if (!bl__peek(&s, d->obj, sizeof s) || s.n > OBJECTS - CONTEXTS)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        bl_case c;
        if (!bl__peek(&c, s.cases + i, sizeof c) || !chan_add(n, d, c.chan))
            return false;
    }
    return true;
}

/* A copy of a context: most have the same one. False: it cannot be read. */
static bool ctx_read(notes *n, bl_ctx *to, const bl_ctx *at)
{
    if (at == NULL || at != n->ctx_at) {
        n->ctx_at = NULL;
        if (!bl__peek(&n->ctx, at, sizeof n->ctx))
            return false;
        n->ctx_at = at;
    }
    *to = n->ctx;
    return true;
}

/* Who gets at the scope or at one of the contexts from the goroutine's up to that scope's can cancel it.
 * False: it is cancelled already, or will be at a time. */
static bool cancels_add(notes *n, node *d)
{
    uint16_t before = d->objects;
    const bl_ctx *at = d->ctx;
    bl_ctx c;
    for (int i = 0; i < CONTEXTS && at != NULL && ctx_read(n, &c, at); i++) {
        if (c.is_static)
            break;
        if (c.state != 0 || c.deadline != BL_NEVER)
            return false;
        if (c.scope == d->home) {
            if (!n->s->leaks && !d->opener)
                object_add(n, d, at);
            break;
        }
        if (!n->s->leaks)
            object_add(n, d, at);
        at = c.upstream;
    }
    if (!n->s->leaks && !d->opener && d->home != &bl__rt.root)
        object_add(n, d, d->home);
    d->cancels = (uint16_t)(d->objects - before);
    return true;
}

/* False: it is alive after all. */
static bool objects_add(notes *n, node *d)
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

static void scope_skip(notes *n, const bl_scope *s)
{
    bl__reach_skip(n->reach, &s->bl__resources, &s->bl__resources + 1);
}

/* What belongs to a scope is not got at by who has the scope. */
static void resources_skip(notes *n)
{
    for (uint32_t i = 0; i < n->homes_count; i++)
        scope_skip(n, n->homes[i].at);
    for (uint32_t i = 0; i < n->count; i++) {
        const node *d = &n->nodes[i];
        const bl_scope *at = d->at != NULL && d->opener ? load_relaxed(&d->at->inner) : NULL;
        bl_scope s;
        for (int k = 0; k < CONTEXTS && at != d->home && bl__peek(&s, at, sizeof s) &&
                        s.bl__magic == BL__SCOPE_OPEN;
             k++, at = s.bl__parent)
            scope_skip(n, at);
    }
}

/* ---- Who can get at it ---- */

/* Its function was given a copy that is in its record. */
static bool has_copy(const bl__g *g) { return g->arg == g->copy; }

/* Its stack in use is where stacks are (core/stack.c), so it can be read. */
static bool is_sound(const node *d)
{
    uintptr_t record = (uintptr_t)d->at, low = (uintptr_t)d->at->stack_lo;
    return (uintptr_t)d->high == record / 16 * 16 && low % BL__MAPS_PAGE == 0 && low < record &&
           record - low < bl__rt.stack_slot && (uintptr_t)d->low >= low && d->low < d->high;
}

static uint32_t objects_find(notes *n)
{
    uint32_t stuck = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        node *d = &n->nodes[i];
        if (d->alive)
            continue;
        if (objects_add(n, d) && (d->objects == 0 || !n->blind)) {
            d->stack = bl__reach_stack(n->reach, d->low, d->high, is_sound(d));
            if (has_copy(d->at))
                d->copy =
                    bl__reach_stack(n->reach, d->at->copy,
                                    d->at->copy + sizeof d->at->copy / sizeof d->at->copy[0], true);
            stuck++;
        } else {
            d->objects = 0;
            revive(n, d);
        }
    }
    return stuck;
}

static void root_range(const void *low, const void *high, void *arg)
{
    bl__reach_root(arg, low, high, true);
}

/* The memory of those who are alive. A goroutine that has not run has its argument. */
static void roots_add(notes *n)
{
    bl__each_spawned_part(false, root_range, n->reach);
    for (uint32_t i = 0; i < n->count; i++) {
        const node *d = &n->nodes[i];
        const bl__g *g = d->at;
        if (!d->alive || g == NULL)
            continue;
        bool runs = load_relaxed(&g->task.status) != BL__G_PARKED || d->low == NULL;
        const char *low = runs ? g->stack_lo : d->low;
        if (n->s->self != NULL && (const char *)n->s->self > (const char *)g->stack_lo &&
            (const char *)n->s->self < d->high)
            low = n->s->self;
        bl__reach_root(n->reach, low, d->high, !runs && is_sound(d));
        bl__reach_value(n->reach, d->ctx);
        bl__reach_value(n->reach, g->arg);
        for (size_t k = 0; has_copy(g) && k < sizeof g->copy / sizeof g->copy[0]; k++)
            bl__reach_value(n->reach, (const void *)(uintptr_t)g->copy[k]);
    }
}

static bool somebody_reaches(const notes *n, const node *d)
{
    for (uint32_t i = 0; i < d->objects; i++)
        if (bl__reach_marked(n->reach, bl__reach_item(n->reach, d->first + i)))
            return true;
    return false;
}

/* As spread, with what memory says. */
static void spread_reach(notes *n)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < n->count; i++) {
            node *d = &n->nodes[i];
            if (d->alive || !somebody_reaches(n, d))
                continue;
            revive(n, d);
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

/*
 * ---- Who may be idle on purpose ----
 * A goroutine that waits to receive, until its scope ends, may be a service that just has nothing to do, although
 * the compiler no longer keeps the address of its channel anywhere. So who could be stopped by its scope is
 * spared while a function that has made what it waits on still runs, as far as that is known without walking
 * stacks: functions that goroutines were started with, or that have a scope open.
 */

static void active_add(notes *n, const char *name)
{
    for (uint32_t i = 0; i < n->active_count; i++)
        if (n->active[i] == name)
            return;
    if (n->active_count < ACTIVE)
        n->active[n->active_count] = name;
    n->active_count += n->active_count <= ACTIVE; /* with one more: there are too many to know */
}

static bool first_name_take(const bl__symbol *s, void *arg)
{
    *(const char **)arg = s->func;
    return false;
}

/* Of the function that bl_run was given, which nothing else tells. */
static const char *main_name(notes *n)
{
    static bl_fn known;
    static const char *name; /* under one_search */
    if (known != bl__rt.main_fn) {
        name = NULL;
        bl__symbol_each((uintptr_t)bl__rt.main_fn, first_name_take, &name);
        known = bl__rt.main_fn;
        n->s->named = true;
    }
    return name;
}

static void active_find(notes *n)
{
    const char *main = main_name(n);
    n->active_count = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        const node *d = &n->nodes[i];
        if (!d->alive || d->at == NULL)
            continue;
        if (d->id == 1 && main != NULL)
            active_add(n, main);
        if (d->id != 1 && d->at->site != NULL)
            active_add(n, d->at->site->what);
        const bl_scope *at = d->opener ? load_relaxed(&d->at->inner) : NULL;
        bl_scope s;
        for (int k = 0; k < CONTEXTS && at != d->home && bl__peek(&s, at, sizeof s) &&
                        s.bl__magic == BL__SCOPE_OPEN;
             k++, at = s.bl__parent)
            active_add(n, s.bl__made->func);
    }
}

static bool made_by_active(const notes *n, const bl_chan *at)
{
    bl_chan c;
    if (at == NULL || !bl__peek(&c, at, sizeof c) || c.magic != BL__CHAN_LIVE || c.made == NULL ||
        c.timer) /* nothing comes from one that is not armed */
        return false;
    if (n->active_count > ACTIVE)
        return true;
    for (uint32_t i = 0; i < n->active_count; i++)
        if (strcmp(n->active[i], c.made->func) == 0)
            return true;
    return false;
}

static bool is_receive(bl__reason reason)
{
    return reason == BL__WAIT_CHAN_RECV || reason == BL__WAIT_SELECT ||
           reason == BL__WAIT_CHAN_RECV_NIL || reason == BL__WAIT_SELECT_NONE;
}

static bool is_idle(const notes *n, const node *d)
{
    bl__select_wait s;
    bl_case c;
    if (d->reason == BL__WAIT_CHAN_RECV)
        return made_by_active(n, d->obj);
    if (d->reason != BL__WAIT_SELECT || !bl__peek(&s, d->obj, sizeof s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (bl__peek(&c, s.cases + i, sizeof c) && c.op == BL__OP_RECV && made_by_active(n, c.chan))
            return true;
    return false;
}

/* True: somebody is spared. */
static bool spare_idle(notes *n)
{
    bool changed = false;
    bool known = false;
    for (uint32_t i = 0; i < n->count; i++) {
        node *d = &n->nodes[i];
        const home *h = &n->homes[d->scope];
        if (d->alive || !d->cancellable || !(n->s->leaks || d->opener) ||
            !(h->opener == NOBODY || n->nodes[h->opener].alive || h->alive > 0) ||
            !is_receive((bl__reason)d->reason))
            continue;
        bool nothing = d->reason == BL__WAIT_CHAN_RECV_NIL || d->reason == BL__WAIT_SELECT_NONE;
        if (!nothing && !known)
            active_find(n);
        known = known || !nothing;
        if (!nothing && !is_idle(n, d)) /* from nothing it is a way to wait for the end */
            continue;
        revive(n, d);
        changed = true;
    }
    return changed;
}

/* ---- The search ---- */

bool bl__stuck_still(const bl__stuck *s)
{
    return s->at->id == s->id && load_relaxed(&s->at->switches) == s->switches &&
           load_relaxed(&s->at->task.status) == BL__G_PARKED &&
           load_acquire(&s->at->wait) >= BL__W_SOLE; /* ORD(wait): with the claims */
}

static uint64_t picks(void)
{
    uint64_t sum = 0;
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++)
        sum += load_relaxed(&bl__rt.ps[i]->tick);
    return sum;
}

static void answer(notes *n)
{
    bl__search *s = n->s;
    for (uint32_t i = 0; i < n->count; i++) {
        const node *d = &n->nodes[i];
        bl__stuck one = {d->id, d->at, d->switches, d->proven};
        if (d->alive || !bl__stuck_still(&one))
            continue;
        s->by_memory = s->by_memory || d->objects > 0;
        size_t at = s->count < s->most ? s->count : s->most;
        for (; at > 0 && s->found[at - 1].id > one.id; at--)
            if (at < s->most)
                s->found[at] = s->found[at - 1];
        if (at < s->most)
            s->found[at] = one;
        s->count++;
    }
}

static bool notes_new(notes *n, uint32_t expected)
{
    uint32_t most = expected + expected / 8 + 64;
    uint32_t slots = 64;
    while (slots < 4 * most)
        slots *= 2;
    size_t bytes = most * (sizeof(node) + 2 * sizeof(home)) + 2 * (size_t)slots * sizeof(uint32_t);
    size_t more = (size_t)OBJECTS * most < OBJECTS_MORE ? (size_t)OBJECTS * most : OBJECTS_MORE;
    void *extra;
    n->reach = bl__reach_new((size_t)2 * most, (size_t)4 * most + more, bytes, &extra);
    if (n->reach == NULL)
        return false;
    n->most = most;
    n->mask = slots - 1;
    n->nodes = extra;
    n->homes = (home *)(void *)(n->nodes + most);
    n->by_record = (uint32_t *)(void *)(n->homes + 2 * (size_t)most);
    n->by_scope = n->by_record + slots;
    return true;
}

static bool somebody_may_be(const notes *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (!n->nodes[i].alive)
            return true;
    return false;
}

static void search_memory(notes *n)
{
    n->blind = !bl__reach_begin(n->reach);
    uint32_t stuck = objects_find(n);
    spread(n);
    if (n->blind || stuck == 0) {
        if (n->s->spare && spare_idle(n))
            spread(n);
        return;
    }
    roots_add(n);
    resources_skip(n);
    n->failed = !bl__reach_solve(n->reach, n->s->limit);
    if (n->failed)
        return;
    spread_reach(n);
    if (n->s->spare && spare_idle(n))
        spread_reach(n);
}

static void search_run(notes *n)
{
    bl__search *s = n->s;
    bl__each_goroutine(note, n);
    s->looked = n->count;
    notes_index(n);
    if (bl__signals_armed()) /* the world can cancel all there is, and main is who waits for that */
        for (uint32_t i = 0; i < n->count; i++)
            if (n->nodes[i].id == 1)
                revive(n, &n->nodes[i]);
    spread(n);
    if (!n->failed && somebody_may_be(n))
        search_memory(n);
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

void bl__stuck_search(bl__search *s)
{
    uint64_t before = picks();
    size_t expected = bl_goroutines();
    s->count = s->looked = 0;
    s->running_count = s->lost_count = 0;
    s->named = false;
    s->by_memory = false;
    s->undecided = true;
    pthread_mutex_lock(&one_search);
    notes n = {.s = s,
               .before = s->parked > 0 ? load_relaxed(&bl__rt.coarse) - s->parked : BL_NEVER};
    if (expected < UINT32_MAX / 8 && notes_new(&n, (uint32_t)expected)) {
        search_run(&n);
        bl__reach_free(n.reach);
    }
    pthread_mutex_unlock(&one_search);
    s->quiet = !n.unknown && picks() == before && !has_strangers();
}
