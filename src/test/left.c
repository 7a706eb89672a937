/* SPDX-License-Identifier: MIT */
/*
 * left.c: timers, tickers, contexts, channels and pipes that a test has made and left behind.
 *
 * What a goroutine of a test makes is noted (bl__made_hook). When the test has ended, scopes closed and cleanups run,
 * a timer or ticker that is still in some heap of timers was not stopped, and a context that is still noted was neither
 * cancelled nor released: bl_ctx_cancel and its end take it off. Those that a scope of the test has ended with
 * itself are gone by then. While benchmarks run nothing is noted.
 *
 * A channel or pipe of which a reference is left is memory that nobody frees. In a test that has failed, was skipped
 * or has left goroutines that is what comes of it, and is not said.
 *
 * A note hides the address of its object from the search for who can get at that (debug/reach.h).
 */
#include "core/lock.h"
#include "core/proc.h"
#include "life/ctx.h"
#include "test/test.h"

enum { BUCKETS_LOG = 14, BUCKETS = 1 << BUCKETS_LOG };

typedef struct made {
    uintptr_t hidden; /* the object's address, inverted */
    const bl__site *site;
    const bl_test *t;
    bl__made_kind kind;
    size_t count; /* once the test has ended: how many are left of this place */
    struct made *next;
} made;

static struct {
    uint32_t lock;
    made *buckets[BUCKETS];
} all_made;

static made **bucket_of(const void *obj)
{
    uint64_t h = (uintptr_t)obj * UINT64_C(0x9e3779b97f4a7c15);
    return &all_made.buckets[h >> (64 - BUCKETS_LOG)];
}

static uintptr_t hide(const void *obj) { return ~(uintptr_t)obj; }
static const void *made_obj(const made *m) { return (const void *)~m->hidden; }

/* Under the lock: takes the note of obj out; NULL: there is none. */
static made *made_take(const void *obj)
{
    made **at = bucket_of(obj);
    while (*at != NULL && (*at)->hidden != hide(obj))
        at = &(*at)->next;
    made *m = *at;
    if (m != NULL)
        *at = m->next;
    return m;
}

static void made_note(bl__made_kind kind, const void *obj, const bl__site *site)
{
    const bl_test *t = bl__test_of(bl__self());
    made *fresh = t != NULL && site != NULL ? bl__alloc(sizeof *fresh) : NULL;
    bl__lock(&all_made.lock, BL__RANK_MADE);
    made *old = made_take(obj);
    if (fresh != NULL) {
        made **at = bucket_of(obj);
        *fresh = (made){.hidden = hide(obj), .site = site, .t = t, .kind = kind, .next = *at};
        *at = fresh;
    }
    bl__unlock(&all_made.lock);
    bl__free(old);
}

static void made_forget(const void *obj)
{
    bl__lock(&all_made.lock, BL__RANK_MADE);
    made *m = made_take(obj);
    bl__unlock(&all_made.lock);
    bl__free(m);
}

void bl__test_left_begin(void)
{
    if (bl__tests.bench != NULL || bl__tests.leak == BL__LEAK_OFF)
        return;
    bl__made_hook = made_note;
    bl__test_opened_begin();
    bl__unmade_hook = made_forget;
}

/* Under the lock, which its end waits for. A deadline that has passed has ended it as well. */
static bool context_is_over(const made *m)
{
    return m->kind == BL__MADE_CTX &&
           load_relaxed(&((const bl_ctx *)made_obj(m))->state) == BL_ETIMEDOUT;
}

/* The notes of t, taken out. */
static made *made_by(const bl_test *t)
{
    made *list = NULL;
    bl__lock(&all_made.lock, BL__RANK_MADE);
    for (size_t i = 0; i < BUCKETS; i++)
        for (made **at = &all_made.buckets[i]; *at != NULL;) {
            made *m = *at;
            if (m->t != t) {
                at = &m->next;
                continue;
            }
            *at = m->next;
            if (context_is_over(m))
                m->site = NULL;
            m->next = list;
            list = m;
        }
    bl__unlock(&all_made.lock);
    return list;
}

static void left_say(bl_test *t, const made *m)
{
    static const struct {
        int allow;
        const char *text;
    } kinds[] = {
        [BL__MADE_CTX] =
            {BL_ALLOW_CONTEXTS,
             "leak: the context that was made here was neither cancelled nor released"},
        [BL__MADE_TIMER] =
            {BL_ALLOW_TIMERS,
             "leak: the timer that was started here was not stopped and has not fired"},
        [BL__MADE_TICKER] = {BL_ALLOW_TIMERS,
                             "leak: the ticker that was made here was not stopped"},
        [BL__MADE_CHAN] = {BL_ALLOW_CHANNELS,
                           "leak: the channel that was made here was not released"},
        [BL__MADE_PIPE] = {BL_ALLOW_CHANNELS,
                           "leak: of the pipe that was made here an end was not released"},
        [BL__MADE_READ] = {BL_ALLOW_LOCKS, "leak: the goroutine that was started here ended "
                                           "holding a sync.RWMutex for reading"},
    };
    if ((t->allow & kinds[m->kind].allow) != 0)
        return;
    char more[32] = "";
    if (m->count > 1)
        (void)snprintf(more, sizeof more, " (%zu of them)", m->count);
    bl__test_log(t, m->site->file, m->site->line, "%s%s", kinds[m->kind].text, more);
    if (bl__tests.leak == BL__LEAK_FAIL)
        bl__test_fail(t);
}

/* Puts m into the list, by line; those of one place are one. */
static void left_add(made **list, made *m)
{
    made **at = list;
    for (; *at != NULL && (*at)->site->line <= m->site->line; at = &(*at)->next)
        if ((*at)->site == m->site && (*at)->kind == m->kind) {
            (*at)->count++;
            bl__free(m);
            return;
        }
    m->count = 1;
    m->next = *at;
    *at = m;
}

/* A timer may be gone, with the frame it stood in: it is only looked for among those that are armed. */
static bool is_left(const made *m, bool memory)
{
    switch (m->kind) {
    case BL__MADE_TIMER:
    case BL__MADE_TICKER: return bl__timer_pending(made_obj(m));
    case BL__MADE_CHAN:
    case BL__MADE_PIPE: return memory;
    default: return m->site != NULL;
    }
}

void bl__test_left_report(bl_test *t, bool goroutines)
{
    bool memory = !goroutines && !load_relaxed(&t->failed) && !load_relaxed(&t->skipped);
    made *left = NULL;
    for (made *m = made_by(t), *next; m != NULL; m = next) {
        next = m->next;
        if (is_left(m, memory))
            left_add(&left, m);
        else
            bl__free(m);
    }
    for (made *m = left, *next; m != NULL; m = next) {
        next = m->next;
        left_say(t, m);
        bl__free(m);
    }
}
