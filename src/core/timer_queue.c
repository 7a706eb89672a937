/* SPDX-License-Identifier: MIT */
/*
 * timer_queue.c: pending timers, those of one processor: a heap for what is due soon, a wheel for
 * the rest.
 *
 * The heap is a 4-ary one in an array, with the due times in it and not behind the pointers: half
 * the levels of a binary heap, and one or two cache lines a level (LaMarca and Ladner, The
 * influence of caches on the performance of heaps, 1996; Go's timers have the same shape). A timer
 * knows its place (bl__index), so that it can be taken out; which is a write to each timer that a
 * removal moves. They lie in frames of goroutines that have slept for long, one page each, so of a
 * large heap each is a miss.
 *
 * So once the heap has heap_most, what is due later goes into a wheel: slots by time, on
 * WHEEL_LEVELS levels, each slot as long as all of the level below (Varghese and Lauck, Hashed and
 * hierarchical timing wheels, 1987). To put a timer there writes to no other, to take it out, as
 * most deadlines are, to one; slots are arrays in chunks for that, and not lists through the
 * timers. When its time nears it comes into the heap, which alone says what is due, to the
 * nanosecond. Time is counted in ticks there; all that is due before the tick horizon is in the
 * heap.
 *
 * A timer's level is that of the highest digit, in base WHEEL_SLOTS, in which its tick and the
 * horizon differ, and its slot is that digit. No level wraps around: a slot of one level is later
 * than all of the levels below, and the first slot of the lowest level that has any is the next
 * (tokio's wheel counts so). What is too far for the highest level goes into the heap.
 *
 * Grains. To wake a thread takes some 20 us of CPU, so a thousand goroutines that sleep for 50 ms
 * each, and wake one 50 us after the other, kept a quarter of a processor busy. What takes longer may
 * be later: all that is due within a grain becomes due at its end, in its order, and wakes a thread
 * once. (Linux's timer slack is such a thing, of 50 us whatever is waited for; Go's poller waits for
 * milliseconds.) Nothing is early, and what a timer says of its time is as it was asked for.
 *
 * A slot is taken apart WHEEL_BATCH at a time, between which the lock is free and goroutines run: a
 * million may have one deadline.
 */
#include "core/proc.h"

#include <stdlib.h>
#include <string.h>

#include "os/os.h"

enum {
    WHEEL_BATCH = 512, /* how many a call brings from the wheel */
    WHEEL_SLOTS = BL__WHEEL_SLOTS,
    WHEEL_DIGIT = 6, /* log2 WHEEL_SLOTS */
    WHEEL_LEVELS = BL__WHEEL_LEVELS,
    WHEEL_CHUNK = 1024,            /* bytes: timers of one slot */
    WHEEL_SLAB = 64 * WHEEL_CHUNK, /* chunks are allocated by so many bytes */
    WHEEL_AHEAD = 8                /* how many timers ahead memory is asked for */
};

#define WHEEL_TICK 20 /* a tick is 2^20 ns, about a millisecond */

/* A timer is due at multiples of a grain: 1/64 to 1/32 of how long it takes, 0.5 ms at most. */
enum { GRAIN_PART = 32, GRAIN_MOST = 1 << 19, GRAIN_ORDER = 16 };

/* bl__index: the place in the heap, or the address of the entry with this bit, which is in no
 * address of a program, or HEAP_SPILLED. */
#define WHEEL_BIT (UINT64_C(1) << 63)
#define HEAP_SPILLED UINT64_MAX

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

/* ---- The wheel ---- */

/* Timers of a slot, in no order. Only the first chunk of a slot has room. */
struct bl__timer_chunk {
    bl__timer_chunk *next; /* of the slot, or free */
    bl__timer_chunk *slab; /* of the first one of a slab: the next slab */
    uint32_t count;        /* of entries */
    uint32_t slot;         /* number: level * WHEEL_SLOTS + digit */
    uint64_t reserved;
    bl__timer_entry entries[(WHEEL_CHUNK - 32) / sizeof(bl__timer_entry)];
};
_Static_assert(sizeof(bl__timer_chunk) == WHEEL_CHUNK,
               "a chunk is found by the address of an entry");

static inline uint64_t tick_of(bl_time when) { return when > 0 ? (uint64_t)when >> WHEEL_TICK : 0; }

/* An empty one, or NULL. */
static bl__timer_chunk *chunk_take(bl__timers *ts)
{
    bl__timer_chunk *c = ts->chunks;
    if (c == NULL) {
        if (posix_memalign((void **)&c, WHEEL_CHUNK, WHEEL_SLAB) != 0)
            return NULL;
        for (size_t i = 0; i < WHEEL_SLAB / WHEEL_CHUNK; i++)
            c[i].next = i + 1 < WHEEL_SLAB / WHEEL_CHUNK ? &c[i + 1] : NULL;
        c->slab = ts->slabs;
        store_release(&ts->slabs, c); /* ORD(slabs): with bl__timers_each_slab */
    }
    ts->chunks = c->next;
    c->count = 0;
    return c;
}

/* The first chunk of its slot is empty. True: so is the slot. */
static bool chunk_give(bl__timers *ts, bl__timer_chunk *c)
{
    uint32_t slot = c->slot;
    ts->wheel[slot] = c->next;
    c->next = ts->chunks;
    ts->chunks = c;
    if (ts->wheel[slot] != NULL)
        return false;
    ts->used[slot / WHEEL_SLOTS] &= ~(UINT64_C(1) << slot % WHEEL_SLOTS);
    if (ts->moving == &ts->wheel[slot])
        ts->moving = NULL;
    return true;
}

static inline void entry_set(bl__timer_entry *at, bl__timer_entry e)
{
    *at = e;
    e.timer->bl__index = (uintptr_t)at | WHEEL_BIT;
}

/* t is due at the tick, not before the horizon. False: that is too far, or there is no memory. */
static bool wheel_put(bl__timers *ts, bl__timer_entry e, uint64_t tick)
{
    uint64_t differ = tick ^ ts->horizon;
    unsigned level = differ != 0 ? (63 - (unsigned)__builtin_clzll(differ)) / WHEEL_DIGIT : 0;
    if (level >= WHEEL_LEVELS)
        return false;
    BL__CHECK(tick >= ts->horizon);
    unsigned shift = WHEEL_DIGIT * level;
    uint32_t slot = level * WHEEL_SLOTS + (uint32_t)((tick >> shift) & (WHEEL_SLOTS - 1));
    bl__timer_chunk *c = ts->wheel[slot];
    if (c == NULL || c->count == sizeof c->entries / sizeof *c->entries) {
        c = chunk_take(ts);
        if (c == NULL)
            return false;
        c->slot = slot;
        c->next = ts->wheel[slot];
        ts->wheel[slot] = c;
        ts->used[level] |= UINT64_C(1) << slot % WHEEL_SLOTS;
    }
    entry_set(&c->entries[c->count++], e);
    bl_time start = (bl_time)(tick >> shift << shift << WHEEL_TICK);
    if (start < ts->first)
        store_relaxed(&ts->first, start);
    return true;
}

/* True: its slot has become empty. */
static bool wheel_remove(bl__timers *ts, const bl_timer *t)
{
    uintptr_t at = t->bl__index & ~WHEEL_BIT;
    bl__timer_chunk *c = ts->wheel[((bl__timer_chunk *)(at & ~(uintptr_t)(WHEEL_CHUNK - 1)))->slot];
    bl__timer_entry *last = &c->entries[--c->count];
    if ((uintptr_t)last != at)
        entry_set((bl__timer_entry *)at, *last);
    return c->count == 0 && chunk_give(ts, c);
}

/* The next slot that holds any, and its first tick in *start. NULL: the wheel is empty. */
static bl__timer_chunk **next_slot(bl__timers *ts, uint64_t *start)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (ts->used[level] == 0)
            continue;
        unsigned digit = (unsigned)__builtin_ctzll(ts->used[level]);
        unsigned shift = WHEEL_DIGIT * level;
        *start = (ts->horizon >> shift >> WHEEL_DIGIT << WHEEL_DIGIT | digit) << shift;
        return &ts->wheel[level * WHEEL_SLOTS + digit];
    }
    return NULL;
}

static void heap_put(bl__timers *ts, bl__timer_entry e)
{
    if (ts->count == ts->capacity && !grow(ts)) {
        e.timer->bl__index = HEAP_SPILLED;
        e.timer->bl__next = ts->spill;
        ts->spill = e.timer;
    } else {
        sift_up(ts, ts->count++, e);
    }
    if (e.when < ts->first)
        store_relaxed(&ts->first, e.when);
}

/* Moves the horizon to the tick target, as far as WHEEL_BATCH timers allow. */
static void advance(bl__timers *ts, uint64_t target)
{
    for (int n = 0; n < WHEEL_BATCH; n++) {
        if (ts->moving == NULL) {
            uint64_t start;
            bl__timer_chunk **slot = next_slot(ts, &start);
            /* A slot of a higher level is taken apart as soon as the horizon is in it: its timers
             * would be behind those of the levels below. */
            if (slot == NULL || start > target ||
                (start == target && slot < &ts->wheel[WHEEL_SLOTS])) {
                ts->horizon = target;
                return;
            }
            ts->horizon = start;
            ts->moving = slot;
        }
        bl__timer_chunk *c = *ts->moving;
        bl__timer_entry e = c->entries[--c->count];
        if (c->count % WHEEL_AHEAD == 0)
            for (uint32_t i = 1; i <= WHEEL_AHEAD && i <= c->count; i++)
                __builtin_prefetch(c->entries[c->count - i].timer, 1);
        if (c->count == 0)
            (void)chunk_give(ts, c);
        uint64_t tick = tick_of(e.when);
        if (tick < target || !wheel_put(ts, e, tick))
            heap_put(ts, e);
    }
}

/* Exact, or when there is something to move from the wheel: never too late. */
static void first_update(bl__timers *ts)
{
    bl_time first = ts->count > 0 ? ts->entries[0].when : BL_NEVER;
    uint64_t start = ts->horizon;
    if (ts->moving != NULL || next_slot(ts, &start) != NULL) {
        bl_time wheel = (bl_time)(start << WHEEL_TICK);
        first = wheel < first ? wheel : first;
    }
    for (bl_timer *t = ts->spill; t != NULL; t = t->bl__next)
        first = t->bl__when < first ? t->bl__when : first;
    store_relaxed(&ts->first, first);
}

void bl__timers_begin(bl__timers *ts, bl_time now, uint32_t heap_most)
{
    ts->first = BL_NEVER;
    ts->heap_most = heap_most;
    ts->horizon = tick_of(now);
}

/* The end of the grain that it is in, but for some microseconds, in which those of one grain keep
 * their order. */
static bl_time grain_end(bl_time when, bl_time now)
{
    if (when <= now || when > BL_NEVER - GRAIN_MOST)
        return when;
    uint64_t part = (uint64_t)(when - now) / GRAIN_PART | 1;
    bl_time grain = part < GRAIN_MOST ? (bl_time)1 << (63 - __builtin_clzll(part)) : GRAIN_MOST;
    bl_time end = (when + grain - 1) & -grain;
    return end - (end - when) / GRAIN_ORDER;
}

void bl__timers_insert(bl__timers *ts, bl_timer *t)
{
    bl_time when = t->bl__when;
    bl__timer_entry e = {ts->exact ? when : grain_end(when, load_relaxed(&bl__rt.coarse)), t};
    uint64_t tick = tick_of(e.when);
    store_release(&t->bl__heap, (void *)ts); /* ORD(heap): with the loads in disarm */
    if (ts->count >= ts->heap_most && tick >= ts->horizon) {
        uint64_t next = tick_of(load_relaxed(&bl__rt.coarse)) + 1;
        if (next > ts->horizon)
            advance(ts, next);
        if (tick >= ts->horizon && wheel_put(ts, e, tick))
            return;
    }
    heap_put(ts, e);
}

void bl__timers_remove(bl__timers *ts, bl_timer *t)
{
    bl_time when = t->bl__when;
    bool last_of_slot = false;
    if (t->bl__index == HEAP_SPILLED) {
        bl_timer **at = &ts->spill;
        while (*at != t)
            at = &(*at)->bl__next;
        *at = t->bl__next;
    } else if (t->bl__index & WHEEL_BIT) {
        last_of_slot = wheel_remove(ts, t);
    } else {
        size_t i = t->bl__index;
        bl__timer_entry last = ts->entries[--ts->count];
        if (i != ts->count && i > 0 && last.when < ts->entries[(i - 1) / 4].when)
            sift_up(ts, i, last);
        else if (i != ts->count)
            sift_down(ts, i, last);
    }
    store_release(&t->bl__heap, NULL); /* ORD(heap): t may be gone now */
    bool another = ts->count > 0 && ts->entries[0].when == ts->first; /* of the same instant */
    if ((when <= ts->first || last_of_slot) && !another)
        first_update(ts);
}

bool bl__timers_settle(bl__timers *ts)
{
    uint64_t start = 0;
    if (!bl__trylock(&ts->lock, BL__RANK_HEAP))
        return false;
    while (next_slot(ts, &start) != NULL &&
           (ts->moving != NULL || ts->count == 0 || start <= tick_of(ts->entries[0].when)))
        advance(ts, start + 1);
    first_update(ts);
    bl__unlock(&ts->lock);
    return true;
}

bl_timer *bl__timers_due(bl__timers *ts, bl_time now)
{
    if (tick_of(now) >= ts->horizon)
        advance(ts, tick_of(now) + 1);
    if (ts->count > 0 && ts->entries[0].when <= now)
        return ts->entries[0].timer;
    for (bl_timer *t = ts->spill; t != NULL; t = t->bl__next)
        if (t->bl__when <= now)
            return t;
    first_update(ts);
    return NULL;
}

void bl__timers_prefetch(const bl__timers *ts)
{
    enum { AHEAD = 3, LINE = 64 };
    size_t n = ts->count;
    if (n > AHEAD && ts->entries[n - AHEAD].when == ts->entries[0].when) {
        /* Of one instant the last entry follows the first. */
        const char *t = (const char *)ts->entries[n - AHEAD].timer;
        for (size_t at = 0; at < sizeof(bl_timer); at += LINE)
            __builtin_prefetch(t + at);
        return;
    }
    /* The next to fire is the first entry, and those after it are among the four behind it. */
    for (size_t i = 0; i < 5 && i < n; i++)
        __builtin_prefetch(ts->entries[i].timer);
}

void bl__timers_each(bl__timers *ts, void (*fn)(bl_timer *t, void *arg), void *arg)
{
    for (size_t i = 0; i < ts->count; i++)
        fn(ts->entries[i].timer, arg);
    for (bl_timer *t = ts->spill; t != NULL; t = t->bl__next)
        fn(t, arg);
    for (int slot = 0; slot < WHEEL_LEVELS * WHEEL_SLOTS; slot++)
        for (const bl__timer_chunk *c = ts->wheel[slot]; c != NULL; c = c->next)
            for (size_t i = 0; i < c->count; i++)
                fn(c->entries[i].timer, arg);
}

size_t bl__timers_count(bl__timers *ts)
{
    bl__lock(&ts->lock, BL__RANK_HEAP);
    size_t n = ts->count;
    for (const bl_timer *t = ts->spill; t != NULL; t = t->bl__next)
        n++;
    for (int slot = 0; slot < WHEEL_LEVELS * WHEEL_SLOTS; slot++)
        for (const bl__timer_chunk *c = ts->wheel[slot]; c != NULL; c = c->next)
            n += c->count;
    bl__unlock(&ts->lock);
    return n;
}

void bl__timers_each_slab(const bl__timers *ts,
                          void (*fn)(const void *low, const void *high, void *arg), void *arg)
{
    const bl__timer_chunk *c = load_acquire(&ts->slabs); /* ORD(slabs): with chunk_take */
    for (; c != NULL; c = c->slab)
        fn(c, (const char *)c + WHEEL_SLAB, arg);
}

/* One that was left in a frame that is gone, or in freed memory, may be somebody else's by now: then
 * it has not the address of its heap in it, and is not written to. */
static __attribute__((no_sanitize("address"))) void forget(bl_timer *t, void *arg)
{
    void *heap = arg;
    (void)cas_release(&t->bl__heap, &heap, NULL); /* ORD(heap) */
}

void bl__timers_forget(bl__timers *ts)
{
    bl__lock(&ts->lock, BL__RANK_HEAP);
    bl__timers_each(ts, forget, ts);
    bl__free(ts->entries);
    ts->entries = NULL;
    ts->count = ts->capacity = 0;
    ts->spill = NULL;
    while (ts->slabs != NULL) {
        bl__timer_chunk *next = ts->slabs->slab;
        bl__free(ts->slabs);
        ts->slabs = next;
    }
    ts->chunks = NULL;
    ts->moving = NULL;
    memset(ts->wheel, 0, sizeof ts->wheel);
    memset(ts->used, 0, sizeof ts->used);
    store_relaxed(&ts->first, BL_NEVER);
    bl__unlock(&ts->lock);
}
