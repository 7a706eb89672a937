/* SPDX-License-Identifier: MIT */
/*
 * made.c: see made.h.
 *
 * A timer or ticker is left that is still in some heap of timers, and a context that is still noted
 * and not over: bl_ctx_cancel and its end take it off. What a scope has ended with itself is gone
 * by the time it is asked.
 *
 * A note hides the address of its object from the search for who can get at that (debug/reach.h):
 * it stands in malloc's memory, and would make everything reachable that is noted.
 */
#include "debug/made.h"

#include <unistd.h>

#include "core/lock.h"
#include "core/proc.h"
#include "debug/report.h"
#include "life/ctx.h"

enum { BUCKETS_LOG = 14, BUCKETS = 1 << BUCKETS_LOG };

static struct {
    const void *(*owner)(const bl__g *g); /* atomic */
    uint32_t lock;
    bl__note *buckets[BUCKETS]; /* lock */
} all_made;

static uintptr_t hide(const void *obj) { return ~(uintptr_t)obj; }
static const void *note_obj(const bl__note *n) { return (const void *)~n->hidden; }

static bl__note **bucket_of(const void *obj)
{
    uint64_t h = (uintptr_t)obj * UINT64_C(0x9e3779b97f4a7c15);
    return &all_made.buckets[h >> (64 - BUCKETS_LOG)];
}

/* Under the lock: the note of obj, or NULL. */
static bl__note *note_find(const void *obj)
{
    bl__note *n = *bucket_of(obj);
    while (n != NULL && n->hidden != hide(obj))
        n = n->next;
    return n;
}

/* Under the lock: takes the note of obj out; NULL: there is none. */
static bl__note *note_take(const void *obj)
{
    bl__note **at = bucket_of(obj);
    while (*at != NULL && (*at)->hidden != hide(obj))
        at = &(*at)->next;
    bl__note *n = *at;
    if (n != NULL)
        *at = n->next;
    return n;
}

const bl__site *bl__made_where(const void *obj)
{
    bl__lock(&all_made.lock, BL__RANK_MADE);
    const bl__note *n = note_find(obj);
    const bl__site *site = n != NULL ? n->site : NULL;
    bl__unlock(&all_made.lock);
    return site;
}

static void made_note(bl__made_kind kind, const void *obj, const bl__site *site)
{
    const void *(*owner_of)(const bl__g *g) = load_relaxed(&all_made.owner); /* on its way, maybe */
    const void *owner = owner_of != NULL ? owner_of(bl__self()) : NULL;
    bl__note *fresh = owner != NULL && site != NULL ? bl__alloc(sizeof *fresh) : NULL;
    bl__lock(&all_made.lock, BL__RANK_MADE);
    bl__note *old = note_take(obj);
    if (fresh != NULL) {
        bl__note **at = bucket_of(obj);
        *fresh = (bl__note){
            .hidden = hide(obj), .site = site, .owner = owner, .kind = kind, .next = *at};
        *at = fresh;
    }
    bl__unlock(&all_made.lock);
    bl__free(old);
}

static void made_forget(const void *obj)
{
    bl__lock(&all_made.lock, BL__RANK_MADE);
    bl__note *n = note_take(obj);
    bl__unlock(&all_made.lock);
    bl__free(n);
}

void bl__made_begin(const void *(*owner)(const bl__g *g))
{
    store_relaxed(&all_made.owner, owner);
    store_relaxed(&bl__unmade_hook, made_forget);
    store_relaxed(&bl__made_hook, made_note);
}

/* ---- What is left ---- */

static void note_armed(bl_timer *t, void *arg)
{
    (void)arg;
    bl__lock(&all_made.lock, BL__RANK_MADE);
    bl__note *n = note_find(t);
    if (n != NULL)
        n->armed = true;
    bl__unlock(&all_made.lock);
}

void bl__made_heap_end(bl__timers *ts)
{
    bl__lock(&ts->lock, BL__RANK_HEAP);
    bl__timers_each(ts, note_armed, NULL);
    bl__unlock(&ts->lock);
}

/* Under the lock, which its end waits for. A deadline that has passed has ended it as well. */
static bool context_is_over(const bl__note *n)
{
    return n->kind == BL__MADE_CTX &&
           load_relaxed(&((const bl_ctx *)note_obj(n))->state) == BL_ETIMEDOUT;
}

/* The notes of owner, taken out. */
static bl__note *notes_of(const void *owner)
{
    bl__note *list = NULL;
    bl__lock(&all_made.lock, BL__RANK_MADE);
    for (size_t i = 0; i < BUCKETS; i++)
        for (bl__note **at = &all_made.buckets[i]; *at != NULL;) {
            bl__note *n = *at;
            if (n->owner != owner) {
                at = &n->next;
                continue;
            }
            *at = n->next;
            if (context_is_over(n))
                n->site = NULL;
            n->next = list;
            list = n;
        }
    bl__unlock(&all_made.lock);
    return list;
}

/* A timer may be gone, with the frame it stood in: it is only looked for among those that are
 * armed. */
static bool is_left(const bl__note *n, bool memory)
{
    switch (n->kind) {
    case BL__MADE_TIMER:
    case BL__MADE_TICKER: return n->armed || bl__timer_pending(note_obj(n));
    case BL__MADE_CHAN:
    case BL__MADE_PIPE: return memory;
    default: return n->site != NULL;
    }
}

/* Puts n into the list, by line; those of one place are one. */
static void left_add(bl__note **list, bl__note *n)
{
    bl__note **at = list;
    for (; *at != NULL && (*at)->site->line <= n->site->line; at = &(*at)->next)
        if ((*at)->site == n->site && (*at)->kind == n->kind) {
            (*at)->count++;
            bl__free(n);
            return;
        }
    n->count = 1;
    n->next = *at;
    *at = n;
}

bl__note *bl__made_left(const void *owner, bool memory)
{
    bl__note *left = NULL;
    for (bl__note *n = notes_of(owner), *next; n != NULL; n = next) {
        next = n->next;
        if (is_left(n, memory))
            left_add(&left, n);
        else
            bl__free(n);
    }
    return left;
}

void bl__made_drop(bl__note *list)
{
    for (bl__note *next; list != NULL; list = next) {
        next = list->next;
        bl__free(list);
    }
}

/* ---- A run's ---- */

/* The run's, but for what plain threads make. */
static const void *run_owner(const bl__g *g)
{
    return g->task.kind == BL__TASK_THREAD ? NULL : &bl__rt;
}

void bl__made_run_begin(void)
{
    bool wanted = bl__debug_setting_or("resources", bl__summary_wanted());
    if (wanted && load_relaxed(&bl__made_hook) == NULL)
        bl__made_begin(run_owner);
}

static void made_print(bl__out *o, void *arg)
{
    static const struct {
        const char *one, *many, *how;
    } kinds[] = {
        [BL__MADE_CTX] = {"context", "contexts", "neither cancelled nor released"},
        [BL__MADE_TIMER] = {"timer", "timers", "not stopped and had not fired"},
        [BL__MADE_TICKER] = {"ticker", "tickers", "not stopped"},
        [BL__MADE_CHAN] = {"channel", "channels", "not released"},
        [BL__MADE_PIPE] = {"pipe", "pipes", "not released at both ends"},
    };
    for (const bl__note *n = arg; n != NULL; n = n->next) {
        bool one = n->count == 1;
        if (n->kind == BL__MADE_READ) { /* while it runs somebody else may still give it back */
            bl__out_printf(o,
                           "belay: leak: %zu goroutine%s started by %s at %s:%d ended holding a "
                           "sync.RWMutex for reading\n",
                           n->count, one ? "" : "s", n->site->func, n->site->file, n->site->line);
            continue;
        }
        bl__out_printf(o, "belay: leak: %zu %s made by %s at %s:%d %s %s\n", n->count,
                       one ? kinds[n->kind].one : kinds[n->kind].many, n->site->func, n->site->file,
                       n->site->line, one ? "was" : "were", kinds[n->kind].how);
    }
}

void bl__made_run_end(bool goroutines)
{
    if (load_relaxed(&all_made.owner) != run_owner)
        return;
    bl__note *left = bl__made_left(&bl__rt, true);
    if (left != NULL && !goroutines && bl__rt.options.on_leak != BL_LEAK_IGNORE)
        bl__report_run(STDERR_FILENO, made_print, left);
    bl__made_drop(left);
}
