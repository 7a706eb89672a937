/* SPDX-License-Identifier: MIT */
/*
 * timer.c: pending timers, a 4-ary heap for each processor.
 *
 * Four children a node and the due times in the array itself, not behind the pointers: half the
 * levels of a binary heap and one or two cache lines a level (LaMarca and Ladner, The influence of
 * caches on the performance of heaps, 1996; Go's timers have the same shape). A timer knows its place
 * (bl__index), so that it can be taken out.
 *
 * Arming never fails: when the array cannot grow, timers go on a list beside it, which is slow and
 * right.
 *
 * Firing. A park's deadline is fired under the heap's lock: the goroutine that it belongs to takes
 * that lock before its frame goes away. Any other is taken out and fired with no
 * lock held, since what it does takes locks that rank above the heap's; it is on the heap's list of
 * firings for as long. Who wants its storage back waits until it is on that list no more. Nothing of
 * the timer is touched once bl__fire was called: its storage may be gone when that returns.
 */
#include "core/bubble.h"

#include <sched.h>

#include "arch/relax.h"
#include "os/os.h"

void (*bl__made_hook)(bl__made_kind kind, const void *obj, const bl__site *site);
void (*bl__unmade_hook)(const void *obj);

static void place(bl__timers *ts, size_t i, bl__timer_entry e)
{
    ts->entries[i] = e;
    e.timer->bl__index = i;
}

static void sift_up(bl__timers *ts, size_t i, bl__timer_entry e)
{
    while (i > 0) {
        size_t parent = (i - 1) / 4;
        if (ts->entries[parent].when <= e.when)
            break;
        place(ts, i, ts->entries[parent]);
        i = parent;
    }
    place(ts, i, e);
}

static void sift_down(bl__timers *ts, size_t i, bl__timer_entry e)
{
    for (;;) {
        size_t first = 4 * i + 1;
        if (first >= ts->count)
            break;
        size_t last = first + 4 < ts->count ? first + 4 : ts->count;
        size_t least = first;
        for (size_t c = first + 1; c < last; c++)
            if (ts->entries[c].when < ts->entries[least].when)
                least = c;
        if (ts->entries[least].when >= e.when)
            break;
        place(ts, i, ts->entries[least]);
        i = least;
    }
    place(ts, i, e);
}

static void first_update(bl__timers *ts)
{
    bl_time first = ts->count > 0 ? ts->entries[0].when : BL_NEVER;
    for (bl_timer *t = ts->spill; t != NULL; t = t->bl__next)
        first = t->bl__when < first ? t->bl__when : first;
    store_relaxed(&ts->first, first);
}

static bool grow(bl__timers *ts)
{
    size_t capacity = ts->capacity > 0 ? 2 * ts->capacity : 64;
    bl__timer_entry *entries = bl__alloc(capacity * sizeof *entries);
    if (entries == NULL)
        return false;
    for (size_t i = 0; i < ts->count; i++)
        entries[i] = ts->entries[i];
    bl__free(ts->entries);
    ts->entries = entries;
    ts->capacity = capacity;
    return true;
}

#define SPILLED UINT64_MAX

void bl__timers_insert(bl__timers *ts, bl_timer *t)
{
    store_release(&t->bl__heap, (void *)ts); /* ORD(heap): with the loads in disarm */
    if (ts->count == ts->capacity && !grow(ts)) {
        t->bl__index = SPILLED;
        t->bl__next = ts->spill;
        ts->spill = t;
    } else {
        sift_up(ts, ts->count++, (bl__timer_entry){t->bl__when, t});
    }
    if (t->bl__when < ts->first)
        store_relaxed(&ts->first, t->bl__when);
}

void bl__timers_remove(bl__timers *ts, bl_timer *t)
{
    if (t->bl__index == SPILLED) {
        bl_timer **at = &ts->spill;
        while (*at != t)
            at = &(*at)->bl__next;
        *at = t->bl__next;
    } else {
        size_t i = t->bl__index;
        bl__timer_entry last = ts->entries[--ts->count];
        if (i != ts->count && i > 0 && last.when < ts->entries[(i - 1) / 4].when)
            sift_up(ts, i, last);
        else if (i != ts->count)
            sift_down(ts, i, last);
    }
    store_release(&t->bl__heap, NULL); /* ORD(heap) */
    if (t->bl__when <= ts->first)
        first_update(ts);
}

/* The timer that is due, or NULL. */
static bl_timer *due(bl__timers *ts, bl_time now)
{
    if (ts->count > 0 && ts->entries[0].when <= now)
        return ts->entries[0].timer;
    for (bl_timer *t = ts->spill; t != NULL; t = t->bl__next)
        if (t->bl__when <= now)
            return t;
    return NULL;
}

/* The next to fire is the first entry, and those after it are among the four behind it. They lie in
 * frames of goroutines that have slept for long: all cold. */
static inline void prefetch_next(const bl__timers *ts)
{
    for (size_t i = 0; i < 5 && i < ts->count; i++)
        __builtin_prefetch(ts->entries[i].timer);
}

/* A call of bl__fire under way, on the stack of its thread. */
typedef struct bl__firing {
    const bl_timer *timer;
    struct bl__firing *next;
} bl__firing;

void bl__timers_run(bl__timers *ts, bl_time now)
{
    bl_timer *t;
    if (load_relaxed(&ts->first) > now)
        return;
    bl__lock(&ts->lock, BL__RANK_HEAP);
    while ((t = due(ts, now)) != NULL) {
        void (*fire)(bl_timer *, bl_time) = t->bl__fire;
        t->bl__fired_in = ts; /* seen by who sees it out of the heap */
        bl__timers_remove(ts, t);
        prefetch_next(ts);
        if (fire == bl__park_timer_fire) {
            fire(t, now);
            continue;
        }
        bl__firing firing = {t, ts->firing};
        ts->firing = &firing;
        bl__unlock(&ts->lock);
        fire(t, now);
        bl__lock(&ts->lock, BL__RANK_HEAP);
        bl__firing **at = &ts->firing;
        while (*at != &firing)
            at = &(*at)->next;
        *at = firing.next;
    }
    bl__unlock(&ts->lock);
}

/* The end of a run: what is still armed is in no heap any more. ts itself stays for the next, since
 * a plain thread may be about to look at it (disarm). */
void bl__timers_forget(bl__timers *ts)
{
    bl__lock(&ts->lock, BL__RANK_HEAP);
    for (size_t i = 0; i < ts->count; i++)
        store_release(&ts->entries[i].timer->bl__heap, NULL); /* ORD(heap) */
    for (bl_timer *t = ts->spill; t != NULL; t = t->bl__next)
        store_release(&t->bl__heap, NULL); /* ORD(heap) */
    bl__free(ts->entries);
    ts->entries = NULL;
    ts->count = ts->capacity = 0;
    ts->spill = NULL;
    store_relaxed(&ts->first, BL_NEVER);
    bl__unlock(&ts->lock);
}

bl_time bl__timers_first(void)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    bl_time first = load_relaxed(&bl__rt.outside.first);
    for (uint32_t i = 0; i < made; i++) {
        bl_time here = load_relaxed(&bl__rt.ps[i]->timers.first);
        first = here < first ? here : first;
    }
    return first;
}

bl__timers *bl__timers_here(void)
{
    bl__m *m = bl__this_m();
    bl__p *p = m != NULL ? load_relaxed(&m->p) : NULL;
    return p != NULL ? &p->timers : &bl__rt.outside;
}

/* Nobody is to be told: nothing is due before all of b wait. */
static void bubble_arm(bl__bubble *b, bl_timer *t, bl_time when,
                       void (*fire)(bl_timer *t, bl_time now))
{
    t->bl__when = when;
    t->bl__fire = fire;
    bl__lock(&b->timers.lock, BL__RANK_HEAP);
    bl__timers_insert(&b->timers, t);
    bl__unlock(&b->timers.lock);
}

void bl__timer_arm(bl_timer *t, bl_time when, void (*fire)(bl_timer *t, bl_time now))
{
    bl__bubble *b = bl__bubble_here();
    if (b != NULL) {
        bubble_arm(b, t, when, fire);
        return;
    }
    bl__m *m = bl__this_m();
    uint32_t was = 0;
    bool looks =
        m != NULL &&
        bl__enter_again(m, &was); /* this thread, before it rests: as long as it is inside */
    bl__timers *ts = looks ? &m->p->timers : &bl__rt.outside;
    t->bl__when = when;
    t->bl__fire = fire;
    bl__lock(&ts->lock, BL__RANK_HEAP);
    bool earlier = when < ts->first;
    bl__timers_insert(ts, t);
    bl__unlock(&ts->lock);
    if (m != NULL)
        bl__leave_again(m, was);
    if (earlier && !looks)
        bl__wake_one(); /* who sleeps now does not know of it */
}

static bool is_in(bl__timers *ts, const bl_timer *t)
{
    bool found = false;
    bl__lock(&ts->lock, BL__RANK_HEAP);
    for (size_t i = 0; i < ts->count && !found; i++)
        found = ts->entries[i].timer == t;
    for (const bl_timer *at = ts->spill; at != NULL && !found; at = at->bl__next)
        found = at == t;
    bl__unlock(&ts->lock);
    return found;
}

bool bl__timer_pending(const bl_timer *t)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++)
        if (is_in(&bl__rt.ps[i]->timers, t))
            return true;
    return is_in(&bl__rt.outside, t);
}

static bool is_firing(bl__timers *ts, const bl_timer *t)
{
    bl__lock(&ts->lock, BL__RANK_HEAP);
    const bl__firing *f = ts->firing;
    while (f != NULL && f->timer != t)
        f = f->next;
    bl__unlock(&ts->lock);
    return f != NULL;
}

bool bl__timer_firing(const bl_timer *t)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++)
        if (is_firing(&bl__rt.ps[i]->timers, t))
            return true;
    return is_firing(&bl__rt.outside, t);
}

bool bl__timer_disarm(bl_timer *t)
{
    for (;;) {
        bl__timers *ts = load_acquire(&t->bl__heap); /* ORD(heap): with insert and remove */
        if (ts == NULL)
            return false;
        bl__lock(&ts->lock, BL__RANK_HEAP);
        bool there = t->bl__heap == ts;
        if (there)
            bl__timers_remove(ts, t);
        bl__unlock(&ts->lock);
        if (there)
            return true;
    }
}

void bl__timer_wait_fired_in(void *heap, const bl_timer *t)
{
    for (int i = 0; is_firing(heap, t); i++)
        if (i < 100)
            bl__cpu_relax();
        else
            sched_yield();
}

void bl__timer_wait_fired(bl_timer *t)
{
    const bl__timer_head *head = (const void *)t; /* which is all that some timers have */
    if (head->bl__fired_in != NULL)               /* else never fired */
        bl__timer_wait_fired_in(head->bl__fired_in, t);
}

bl_time bl_now(void)
{
    const bl__bubble *b = bl__bubble_here();
    return b != NULL ? load_relaxed(&b->now) : bl__clock();
}

bl_time bl_in(bl_dur d)
{
    bl_time t;
    if (__builtin_add_overflow(bl_now(), d, &t))
        return d < 0 ? INT64_MIN : BL_NEVER;
    return t;
}

int bl_sleep(bl_dur d)
{
    bl__g *g = bl__self();
    if (d <= 0) {
        bl_yield();
        return 0;
    }
    bl_time deadline = bl_in(d);
    bl__lock(&g->lock, BL__RANK_G);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_SLEEP,
                                    .cancellable = true,
                                    .lock = &g->lock,
                                    .deadline = deadline});
    bl__lock(&g->lock, BL__RANK_G); /* the commit holds it to its last touch of g */
    bl__unlock(&g->lock);
    return r == BL_ETIMEDOUT && bl_now() >= deadline ? 0 : r; /* else it was the context's */
}
