/* SPDX-License-Identifier: MIT */
/*
 * reach.c: see reach.h. The backward search is ours; that what nobody can get at can never be woken
 * is the idea of Saioc and others, Dynamic partial deadlock detection and recovery via garbage
 * collection (ASPLOS 2025), which has a garbage collector to ask.
 */
#include "debug/reach.h"

#include <string.h>
#include <sys/mman.h>

#include "arch/sanitize.h"
#include "debug/maps.h"
#include "debug/peek.h"
#include "life/ctx.h"
#include "sync/chan.h"

enum {
    WINDOW = 64 * BL__MAPS_PAGE, /* bytes read at a time */
    BLOCKS = 1 << 15,            /* malloc's blocks that may turn up beside the objects' */
    EDGES = 1 << 19,             /* at least */
    ROOTS = 1 << 12,             /* at least */
    HEADER = 16,                 /* of a block */
    BLOCK_LEAST = 32,            /* bytes, with its header */
    REACH_CROWD = 1 << 14,       /* stacks */
    PREFETCHED = 512,            /* bytes */
    REACH_AHEAD = 8,             /* items */
    REACH_FAR = 24,
    REACH_NEAR = 16,
    PREFIXES = 4,
    PIECE = sizeof(uint64_t) * 2, /* bytes that are looked at together, … */
    PIECE_READ = PIECE + 8,       /* … for which so many are read */
    CACHE_SIZE = 0x290,           /* of the block in which malloc keeps a thread's free blocks */
    ARENA_WORDS = 288             /* of malloc's main record; more than it has */
};

/* Programs keep marks and counters in the other bits of an address. */
#define REACH_ADDRESS (((uint64_t)1 << 48) - 1)

typedef struct reach_item {
    uintptr_t low, high;
    uint32_t edges; /* the first of its edges, + 1 */
    uint32_t own;   /* of a stack: addresses of so many bytes from low lead to nothing else */
    uint8_t marked;
    uint8_t open; /* roots lead to it */
    uint8_t stack;
    uint8_t sure;  /* it can be read */
    uint8_t fresh; /* those who lead to it have not been looked for yet */
    uint8_t
        after; /* a context whose after-functions lead somewhere, not known to those above it yet */
} reach_item;

typedef struct reach_root {
    uintptr_t low, high;
    bool sure;
} reach_root;

typedef struct reach_edge {
    uint32_t to;
    uint32_t next; /* + 1 */
} reach_edge;

typedef struct reach_object {
    uintptr_t at;
    uint32_t item;
} reach_object;

/* One in a vector for each byte of a piece of memory. */
typedef uint8_t reach_bytes __attribute__((vector_size(16)));

/* What an address of the index's has in its bytes 5, 4 and 3. */
typedef struct reach_prefix {
    reach_bytes is[3];
} reach_prefix;

/* Items by address. */
typedef struct reach_index {
    uint32_t *items;
    uintptr_t *lows; /* where each begins */
    uint32_t count;
    uintptr_t low, high; /* of all together */
    uint32_t found;      /* where the last answer was found: the next one mostly lies behind it */
    uint32_t prefixes;   /* 0: there are too many to look for */
    reach_bytes any;     /* of byte 3, if it is not looked at: it takes many values */
    reach_prefix prefix[PREFIXES];
} reach_index;

struct bl__reach {
    size_t bytes; /* of the mapping that holds all of it */
    size_t left;  /* bytes that may still be read */
    bool failed;  /* something ran out */
    bool afters;  /* there are such contexts */
    bool closely;
    bool hidden; /* what is being read has no access */
    reach_item *items;
    uint32_t items_count, items_most;
    reach_index fresh; /* those who lead to them are looked for in this pass */
    reach_index all;   /* there were when the pass began */
    reach_edge *edges;
    uint32_t edges_count, edges_most;
    reach_object *objects;
    uint32_t objects_count, objects_most;
    reach_root *roots;
    uint32_t roots_count, roots_most;
    uintptr_t *values; /* that those who run have, beside their memory */
    uint32_t values_count, values_most;
    bl__map_range *records; /* within objects, the runtime's; by address once solving begins */
    uint32_t records_count;
    uint32_t *work; /* items marked and not followed yet; and how objects were ordered */
    uint64_t *window;
    bl__maps maps;
};

/* ---- Memory of its own ---- */

static void *reach_part(char *base, size_t *at, size_t bytes)
{
    void *p = base != NULL ? base + *at : NULL;
    *at += (bytes + 63) / 64 * 64;
    return p;
}

/* Lays out r in base; the bytes that takes. With base NULL only that. */
static size_t reach_layout(bl__reach *r, char *base, size_t extra, void **extra_at)
{
    size_t at = 0;
    void *p[10];
    p[0] = reach_part(base, &at, sizeof *r);
    p[1] = reach_part(base, &at, r->items_most * sizeof(reach_item));
    p[2] = reach_part(base, &at,
                      (size_t)r->items_most * (3 * sizeof(uint32_t) + 2 * sizeof(uintptr_t)));
    p[3] = reach_part(base, &at, r->edges_most * sizeof(reach_edge));
    p[4] = reach_part(base, &at, r->objects_most * sizeof(reach_object));
    p[5] = reach_part(base, &at, r->roots_most * sizeof(reach_root));
    p[6] = reach_part(base, &at, WINDOW);
    p[7] = reach_part(base, &at, extra);
    p[8] = reach_part(base, &at, r->objects_most * sizeof(bl__map_range));
    p[9] = reach_part(base, &at, r->values_most * sizeof(uintptr_t));
    if (base == NULL)
        return at;
    r->records = p[8];
    r->items = p[1];
    r->fresh.lows = p[2];
    r->all.lows = r->fresh.lows + r->items_most;
    r->work = (uint32_t *)(void *)(r->all.lows + r->items_most);
    r->fresh.items = r->work + r->items_most;
    r->all.items = r->fresh.items + r->items_most;
    r->edges = p[3];
    r->objects = p[4];
    r->roots = p[5];
    r->window = p[6];
    r->values = p[9];
    *extra_at = p[7];
    return at;
}

bl__reach *bl__reach_new(size_t stacks, size_t objects, size_t extra, void **extra_at)
{
    bl__reach sizes = {0};
    if (stacks > UINT32_MAX / 64 || objects > UINT32_MAX / 64)
        return NULL;
    sizes.items_most = (uint32_t)(stacks + objects + BLOCKS);
    sizes.edges_most = (uint32_t)(8 * (stacks + objects) + EDGES);
    sizes.objects_most = (uint32_t)objects;
    sizes.roots_most = (uint32_t)(2 * stacks + ROOTS);
    sizes.values_most = (uint32_t)(4 * stacks + ROOTS);
    size_t bytes = reach_layout(&sizes, NULL, extra, extra_at);
    char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (stacks >= REACH_CROWD) /* most of the search would be first touches of pages */
        (void)madvise(base, bytes, MADV_HUGEPAGE);
    bl__reach *r = (bl__reach *)(void *)base;
    *r = sizes;
    r->bytes = bytes;
    (void)reach_layout(r, base, extra, extra_at);
    return r;
}

void bl__reach_free(bl__reach *r)
{
    bl__maps_free(&r->maps);
    munmap(r, r->bytes);
}

bool bl__reach_begin(bl__reach *r, bool closely)
{
    r->closely = closely;
    if (BL__ASAN || BL__TSAN || BL__RACE ||
        !bl__maps_read(&r->maps)) /* whose malloc is another, and memory vast */
        return false;
    bl__maps_skip(&r->maps, r, (char *)r + r->bytes);
    return true;
}

void bl__reach_skip(bl__reach *r, const void *low, const void *high)
{
    uint32_t last = r->records_count - 1;
    if (r->records_count > 0 && r->records[last].low == (uintptr_t)low)
        return;
    if (r->records_count == r->objects_most)
        r->failed = true;
    else
        r->records[r->records_count++] =
            (bl__map_range){.low = (uintptr_t)low, .high = (uintptr_t)high};
}

bool bl__reach_private(bl__reach *r, const void *low, const void *high)
{
    for (size_t i = 0; i < r->maps.count; i++) {
        const bl__map_range *range = &r->maps.ranges[i];
        if (range->low > (uintptr_t)low || range->high < (uintptr_t)high)
            continue;
        if (range->first_block != 0 || range->hidden)
            return false;
        bl__maps_skip(&r->maps, low, high);
        return true;
    }
    return false;
}

/* ---- Items ---- */

static uint32_t reach_item_add(bl__reach *r, uintptr_t low, uintptr_t high)
{
    if (r->items_count == r->items_most) {
        r->failed = true;
        return 0;
    }
    r->items[r->items_count] = (reach_item){.low = low, .high = high, .fresh = 1};
    return r->items_count++;
}

uint32_t bl__reach_stack(bl__reach *r, const void *low, const void *high, const void *end,
                         bool sure)
{
    uint32_t i = reach_item_add(r, (uintptr_t)low, (uintptr_t)high);
    r->items[i].stack = 1;
    r->items[i].own = (uint32_t)((const char *)end - (const char *)low);
    r->items[i].sure = sure;
    return i;
}

uint32_t bl__reach_object(bl__reach *r, const void *at)
{
    if (r->objects_count == r->objects_most) {
        r->failed = true;
        return 0;
    }
    r->objects[r->objects_count] = (reach_object){.at = (uintptr_t)at, .item = BL__REACH_OPEN};
    return r->objects_count++;
}

void bl__reach_root(bl__reach *r, const void *low, const void *high, bool sure)
{
    if (r->roots_count == r->roots_most)
        r->failed = true;
    else if (low < high)
        r->roots[r->roots_count++] = (reach_root){(uintptr_t)low, (uintptr_t)high, sure};
}

void bl__reach_value(bl__reach *r, const void *value)
{
    if (r->values_count > 0 && r->values[r->values_count - 1] == (uintptr_t)value)
        return;
    if (r->values_count == r->values_most)
        r->failed = true;
    else
        r->values[r->values_count++] = (uintptr_t)value;
}

uint32_t bl__reach_values(const bl__reach *r) { return r->values_count; }

const void *bl__reach_value_take(bl__reach *r, uint32_t i)
{
    const void *value = (const void *)r->values[i]; // NOLINT(performance-no-int-to-ptr)
    r->values[i] = 0;
    return value;
}

static void reach_edge_add(bl__reach *r, uint32_t from, uint32_t to)
{
    reach_item *it = &r->items[from];
    if (from == to || (it->edges != 0 && r->edges[it->edges - 1].to == to))
        return;
    if (r->edges_count == r->edges_most) {
        r->failed = true;
        return;
    }
    r->edges[r->edges_count] = (reach_edge){to, it->edges};
    it->edges = ++r->edges_count;
}

/* The end of the ascending run that begins at i. */
static size_t reach_run(const reach_item *items, const uint32_t *a, size_t i, size_t n)
{
    for (i++; i < n && items[a[i - 1]].low <= items[a[i]].low; i++)
        continue;
    return i < n ? i : n;
}

/* Merges neighbouring runs until there is one: stacks and blocks were mostly found in their
 * order. */
static void reach_sort(const reach_item *items, uint32_t *a, uint32_t *work, size_t n)
{
    while (reach_run(items, a, 0, n) < n)
        for (size_t low = 0, high; low < n; low = high) {
            size_t middle = reach_run(items, a, low, n);
            high = middle < n ? reach_run(items, a, middle, n) : n;
            size_t left = middle - low, i = 0, j = middle;
            memcpy(work, a + low, left * sizeof *a);
            for (size_t k = low; i < left; k++)
                a[k] = j < high && items[a[j]].low < items[work[i]].low ? a[j++] : work[i++];
        }
}

/* What the addresses have above so many bits, by the index. False: it is too much. */
static bool reach_prefixes(const bl__reach *r, reach_index *x, unsigned shift)
{
    uintptr_t last = UINTPTR_MAX;
    x->prefixes = 0;
    for (uint32_t i = 0; i < x->count; i++) {
        const reach_item *it = &r->items[x->items[i]];
        uintptr_t to = (it->high - 1) >> shift;
        for (uintptr_t p = it->low >> shift; p <= to; p++) {
            if (p == last)
                continue;
            if (x->prefixes == PREFIXES)
                return false;
            last = p;
            uint64_t at = (uint64_t)p << shift;
            for (unsigned k = 0; k < 3; k++)
                x->prefix[x->prefixes].is[k] = (uint8_t)(at >> (40 - 8 * k)) + (reach_bytes){0};
            x->prefixes++;
        }
    }
    return true;
}

/* The items, or those of them that are fresh. */
static void reach_index_make(const bl__reach *r, reach_index *x, bool all)
{
    uint32_t n = 0;
    x->low = UINTPTR_MAX;
    x->high = 0;
    for (uint32_t i = 0; i < r->items_count; i++) {
        const reach_item *it = &r->items[i];
        if (!all && !it->fresh)
            continue;
        x->items[n++] = i;
        x->low = it->low < x->low ? it->low : x->low;
        x->high = it->high > x->high ? it->high : x->high;
    }
    x->count = n;
    reach_sort(r->items, x->items, r->work, n);
    for (uint32_t i = 0; i < n; i++)
        x->lows[i] = r->items[x->items[i]].low;
    x->found = 0;
    x->any = (reach_bytes){0};
    if (!reach_prefixes(r, x, 24)) {
        x->any = ~x->any;
        if (!reach_prefixes(r, x, 32))
            x->prefixes = 0;
    }
}

static bool index_spans(const reach_index *x, uintptr_t at)
{
    return at - x->low < x->high - x->low;
}

/* The item that the address lies in, or BL__REACH_OPEN for none. */
static uint32_t reach_lookup(const bl__reach *r, reach_index *x, uintptr_t at)
{
    if (x->count == 0 || !index_spans(x, at))
        return BL__REACH_OPEN;
    size_t low = 0, high = x->count;
    if (x->found + REACH_NEAR < high && x->lows[x->found] <= at &&
        at < x->lows[x->found + REACH_NEAR]) {
        low = x->found;
        high = low + REACH_NEAR;
    }
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (x->lows[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    if (at < x->lows[low])
        return BL__REACH_OPEN;
    x->found = (uint32_t)low;
    return at < r->items[x->items[low]].high ? x->items[low] : (uint32_t)BL__REACH_OPEN;
}

/* ---- Reading memory ---- */

/* Calls fn for each word of [low, high) that can be read, window by window. */
typedef void reach_words_fn(bl__reach *r, uintptr_t at, const uint64_t *words, size_t n, void *arg);

static bool reach_peek(const bl__reach *r, uintptr_t from, size_t n)
{
    return r->hidden ? bl__maps_peek(r->window, from, n)
                     : bl__peek(r->window, (const void *)from, n);
}

/* [low, high) lies in one window; what of it cannot be read is left out. */
static void reach_window(bl__reach *r, uintptr_t low, uintptr_t high, reach_words_fn *fn, void *arg)
{
    while (low < high && !r->failed) {
        size_t n = high - low;
        if (r->left < n) {
            r->failed = true;
            return;
        }
        r->left -= n;
        if (!reach_peek(r, low, n)) {
            size_t page = BL__MAPS_PAGE - low % BL__MAPS_PAGE;
            n = page < n ? page : n;
            if (!reach_peek(r, low, n)) {
                low += n;
                continue;
            }
        }
        fn(r, low, r->window, n / 8, arg);
        low += n;
    }
}

/* All windows of [low, high), without the pages that were never written to. */
static void reach_each_window(bl__reach *r, uintptr_t low, uintptr_t high, reach_words_fn *fn,
                              void *arg)
{
    high = high / 8 * 8;
    for (low = (low + 7) / 8 * 8; low < high && !r->failed;) {
        uintptr_t end = low / WINDOW * WINDOW + WINDOW;
        end = end < high ? end : high;
        uint64_t there = bl__maps_there(low, end);
        if (there == 0 && r->left >= BL__MAPS_PAGE)
            r->left -= BL__MAPS_PAGE; /* it takes time, too */
        else if (there == 0)
            r->failed = true;
        for (uintptr_t at = low, to; at < end; at = to) {
            bool is_there = bl__maps_bit(there, low, at);
            to = at;
            do
                to = (to / BL__MAPS_PAGE + 1) * BL__MAPS_PAGE;
            while (to < end && bl__maps_bit(there, low, to) == is_there);
            to = to < end ? to : end;
            if (is_there)
                reach_window(r, at, to, fn, arg);
        }
        low = end;
    }
}

/* The words of a stack that is read soon: a crowd's are cold. */
static void reach_prefetch(const reach_item *it)
{
    if (!it->stack || !it->sure)
        return;
    for (uintptr_t at = it->low; at < it->high && at < it->low + PREFETCHED; at += 64)
        __builtin_prefetch((const void *)at);
}

/* The same of memory that can be read for certain, and has been written to: without a call of the
 * system, of which a crowd's stacks would take two each. */
static void reach_each_sure(bl__reach *r, uintptr_t low, uintptr_t high, reach_words_fn *fn,
                            void *arg)
{
    high = high / 8 * 8;
    for (low = (low + 7) / 8 * 8; low < high && !r->failed;) {
        size_t n = high - low < WINDOW ? high - low : WINDOW;
        r->failed = r->left < n;
        r->left -= r->failed ? 0 : n;
        for (size_t i = 0; i < n / 8; i++)
            r->window[i] = load_relaxed((const uint64_t *)(low + 8 * i));
        fn(r, low, r->window, n / 8, arg);
        low += n;
    }
}

static void reach_records_sort(bl__reach *r)
{
    for (uint32_t gap = r->records_count / 2; gap > 0; gap /= 2) /* Shell's */
        for (uint32_t i = gap; i < r->records_count; i++) {
            bl__map_range range = r->records[i];
            uint32_t j = i;
            for (; j >= gap && r->records[j - gap].low > range.low; j -= gap)
                r->records[j] = r->records[j - gap];
            r->records[j] = range;
        }
}

static bool reach_skips(const bl__reach *r, uintptr_t at)
{
    uint32_t low = 0, high = r->records_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (r->records[middle].high <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->records_count && r->records[low].low <= at;
}

/* ---- Looking for addresses ---- */

/* An address of the index's may begin in one of the PIECE bytes at at. */
static inline bool piece_may(const reach_index *x, const char *at)
{
    reach_bytes b[3], may = {0};
    uint64_t halves[2];
    for (unsigned k = 0; k < 3; k++)
        memcpy(&b[k], at + 5 - k, sizeof b[k]);
    for (uint32_t i = 0; i < x->prefixes; i++)
        may |= (reach_bytes)(b[0] == x->prefix[i].is[0]) &
               (reach_bytes)(b[1] == x->prefix[i].is[1]) &
               ((reach_bytes)(b[2] == x->prefix[i].is[2]) | x->any);
    memcpy(halves, &may, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

typedef void reach_word_fn(bl__reach *r, uintptr_t at, uintptr_t word, void *arg);

/* Calls fn with what may be addresses of the index's: of the word at i, and closely also those that
 * begin in it. */
static inline __attribute__((always_inline)) void reach_word(bl__reach *r, const reach_index *x,
                                                             uintptr_t at, const uint64_t *words,
                                                             size_t i, size_t n, reach_word_fn *fn,
                                                             void *arg)
{
    uintptr_t word = words[i] & REACH_ADDRESS;
    if (index_spans(x, word))
        fn(r, at, word, arg);
    if (!r->closely || i + 1 == n)
        return;
    for (unsigned k = 1; k < sizeof word; k++) {
        memcpy(&word, (const char *)&words[i] + k, sizeof word);
        if (index_spans(x, word))
            fn(r, at, word, arg);
    }
}

/* The same of the words from i on up to end, of the n that there are, the first of which stands at
 * at. */
static inline __attribute__((always_inline)) void reach_words(bl__reach *r, const reach_index *x,
                                                              uintptr_t at, const uint64_t *words,
                                                              size_t i, size_t end, size_t n,
                                                              reach_word_fn *fn, void *arg)
{
    while (i < end) {
        if (x->prefixes != 0 && i + PIECE_READ / 8 <= n && !piece_may(x, (const char *)&words[i])) {
            i += PIECE / 8;
            continue;
        }
        reach_word(r, x, at + 8 * i, words, i, n, fn, arg);
        i++;
    }
}

/* ---- Blocks of malloc ---- */

typedef struct reach_walk {
    uintptr_t next; /* where the size of the next block stands */
    uintptr_t end;  /* of the heap */
    uintptr_t low;  /* of the block that we are in, as its user knows it */
    uintptr_t high;
    uintptr_t from;  /* what lies before is not looked at: a record of the runtime's */
    uint32_t item;   /* of the block, or BL__REACH_OPEN: not asked yet, or none */
    uint32_t object; /* the next to be located */
    bool locating;
    bool broken; /* what is there is not what glibc writes */
} reach_walk;

/* The item of the block, which leads to another. One that is met for the first time is fresh. */
static uint32_t reach_walk_item(bl__reach *r, reach_walk *w)
{
    if (w->item == BL__REACH_OPEN && !w->locating)
        w->item = reach_lookup(r, &r->all, w->low);
    if (w->item == BL__REACH_OPEN) /* the end is the array's, too: who goes down has no more */
        w->item = reach_item_add(r, w->low, w->high + 1);
    return w->item;
}

/* A thread's cache of free blocks: counts, and for each that is not zero the first of a list. */
static bool reach_is_cache(const uint64_t *words)
{
    const uint16_t *counts = (const uint16_t *)(const void *)words;
    const uint64_t *lists = words + 16;
    for (int i = 0; i < 64; i++)
        if (counts[i] > 64 || (counts[i] == 0) != (lists[i] == 0))
            return false;
    return true;
}

/* From where a block, whose first n words in the window are these, is looked at. */
static uintptr_t reach_block_from(const reach_walk *w, const uint64_t *words, size_t n)
{
    uint64_t head[CACHE_SIZE / 8];
    size_t bytes = w->high - w->low < sizeof head ? w->high - w->low : sizeof head;
    if (bytes < sizeof(bl_ctx) && bytes < sizeof(bl_chan))
        return w->low;
    if (n * 8 < bytes) {
        if (!bl__peek(head, (const void *)w->low, bytes))
            return w->low;
        words = head;
    }
    if (w->high - w->low == CACHE_SIZE - 8 && reach_is_cache(words))
        return w->high;
    return bl__maps_record(w->low, words, bytes);
}

static void reach_walk_broken(reach_walk *w, uintptr_t at)
{
    w->broken = true;
    w->low = w->from = at;
    w->high = w->end;
    w->next = UINTPTR_MAX;
}

/* At the size of a block: words[0]. */
static void reach_walk_block(bl__reach *r, reach_walk *w, uintptr_t at, const uint64_t *words,
                             size_t n)
{
    uint64_t size = words[0] & ~(uint64_t)7;
    if (size < BLOCK_LEAST || size % 16 != 0 || size > w->end - (at - 8)) {
        reach_walk_broken(w, at);
        return;
    }
    w->low = at + 8;
    w->high = at + size < w->end ? at + size : w->end;
    w->next = at + size;
    w->item = BL__REACH_OPEN;
    if (!w->locating) {
        w->from = reach_block_from(w, words + 1, n - 1);
        return;
    }
    while (w->object < r->objects_count && r->objects[w->object].at < w->low)
        w->object++;
    for (; w->object < r->objects_count && r->objects[w->object].at < w->high; w->object++)
        if (r->objects[w->object].item == BL__REACH_OPEN)
            r->objects[w->object].item = reach_walk_item(r, w);
}

static void reach_walk_word(bl__reach *r, uintptr_t at, uintptr_t word, void *arg)
{
    reach_walk *w = arg;
    uint32_t to = reach_lookup(r, &r->fresh, word);
    if (to == BL__REACH_OPEN || bl__maps_skips(&r->maps, at) || reach_skips(r, at))
        return;
    if (w->broken) {
        r->items[to].open = 1;
        return;
    }
    uint32_t from = reach_walk_item(r, w);
    reach_edge_add(r, from, to);
    if (at == w->from && at == w->low + offsetof(bl_ctx, afters)) {
        r->items[from].after = 1;
        r->afters = true;
    }
}

/* From block to block; in one, what lies behind the runtime's record. */
static void reach_walk_words(bl__reach *r, uintptr_t at, const uint64_t *words, size_t n, void *arg)
{
    reach_walk *w = arg;
    for (size_t i = 0; i < n;) {
        uintptr_t here = at + 8 * i;
        if (here == w->next) {
            reach_walk_block(r, w, here, words + i, n - i);
            i++;
            continue;
        }
        if (here > w->next) /* a hole in what could be read */
            reach_walk_broken(w, here);
        size_t end = (w->next - at) / 8 < n ? (w->next - at) / 8 : n;
        size_t from = w->from > here ? (w->from - at + 7) / 8 : i;
        if (!w->locating && from < end)
            reach_words(r, &r->fresh, at, words, from, end, n, reach_walk_word, w);
        i = end;
    }
}

/* As many of the heap's bytes as have to be walked through: when objects are located, none behind
 * the last of them. They are in order then. */
static uintptr_t reach_heap_end(const bl__reach *r, const bl__map_range *heap, bool locating,
                                uint32_t object)
{
    uintptr_t end = heap->low;
    if (!locating)
        return heap->high;
    for (uint32_t i = object; i < r->objects_count && r->objects[i].at < heap->high; i++)
        end = r->objects[i].at;
    return end;
}

static void reach_walk_heaps(bl__reach *r, bool locating)
{
    uint32_t object = 0;
    for (size_t i = 0; i < r->maps.count; i++) {
        const bl__map_range *heap = &r->maps.ranges[i];
        if (heap->first_block == 0)
            continue;
        reach_walk w = {.next = heap->first_block + 8,
                        .end = heap->high,
                        .low = heap->high,
                        .from = heap->first_block + 8,
                        .item = BL__REACH_OPEN,
                        .object = object,
                        .locating = locating};
        reach_each_window(r, heap->first_block + 8, reach_heap_end(r, heap, locating, object),
                          reach_walk_words, &w);
        object = w.object;
    }
}

/* ---- The rest ---- */

static void reach_root_word(bl__reach *r, uintptr_t at, uintptr_t word, void *arg)
{
    (void)arg;
    uint32_t to = reach_lookup(r, &r->all, word);
    if (to != BL__REACH_OPEN && !reach_skips(r, at))
        r->items[to].open = 1;
}

static void reach_root_words(bl__reach *r, uintptr_t at, const uint64_t *words, size_t n, void *arg)
{
    reach_words(r, &r->all, at, words, 0, n, n, reach_root_word, arg);
}

/* The C library's data, without what malloc's main record may be: in that each list that is empty
 * points at itself. */
static void reach_libc_words(bl__reach *r, uintptr_t at, const uint64_t *words, size_t n, void *arg)
{
    size_t low = n, high = n;
    for (size_t i = 0; i + 1 < n; i++)
        if (words[i] == at + 8 * i - 16 && words[i + 1] == words[i]) {
            low = low < i ? low : i;
            high = i + ARENA_WORDS < n ? i + ARENA_WORDS : n;
        }
    low = low == n || low > ARENA_WORDS ? low - (low == n ? 0 : ARENA_WORDS) : 0;
    reach_root_words(r, at, words, low, arg);
    reach_root_words(r, at + 8 * high, words + high, n - high, arg);
}

static void reach_values(bl__reach *r)
{
    for (uint32_t i = 0; i < r->values_count; i++) {
        uint32_t to = reach_lookup(r, &r->all, r->values[i] & REACH_ADDRESS);
        if (to != BL__REACH_OPEN)
            r->items[to].open = 1;
    }
}

static void reach_maps_words(bl__reach *r)
{
    for (size_t i = 0; i < r->maps.count; i++) {
        const bl__map_range *range = &r->maps.ranges[i];
        uintptr_t low = range->low, high;
        if (range->hidden && !r->closely)
            continue;
        r->hidden = range->hidden;
        for (; range->first_block == 0 && bl__maps_next(&r->maps, &low, &high, range->high);
             low = high)
            reach_each_window(r, low, high, reach_root_words, NULL);
    }
    r->hidden = false;
}

static void reach_stack_word(bl__reach *r, uintptr_t at, uintptr_t word, void *arg)
{
    const uint32_t from = *(const uint32_t *)arg;
    if (word - r->items[from].low < r->items[from].own)
        return; /* of its own frames and record: nearly all that look like addresses */
    uint32_t to = reach_lookup(r, &r->all, word);
    if (to != BL__REACH_OPEN && !reach_skips(r, at))
        reach_edge_add(r, from, to);
}

static void reach_stack_words(bl__reach *r, uintptr_t at, const uint64_t *words, size_t n,
                              void *arg)
{
    reach_words(r, &r->all, at, words, 0, n, n, reach_stack_word, arg);
}

static void reach_objects_sort(bl__reach *r, uint32_t *order)
{
    for (uint32_t gap = r->objects_count / 2; gap > 0; gap /= 2) /* Shell's */
        for (uint32_t i = gap; i < r->objects_count; i++) {
            reach_object o = r->objects[i];
            uint32_t of = order[i], j = i;
            for (; j >= gap && r->objects[j - gap].at > o.at; j -= gap) {
                r->objects[j] = r->objects[j - gap];
                order[j] = order[j - gap];
            }
            r->objects[j] = o;
            order[j] = of;
        }
}

/* Which item each object lies in: a stack of the set, a block of malloc, or none. */
static void reach_locate(bl__reach *r)
{
    reach_index_make(r, &r->all, true);
    for (uint32_t i = 0; i < r->objects_count; i++)
        r->objects[i].item = reach_lookup(r, &r->all, r->objects[i].at);
    uint32_t *order = r->work; /* which object each was before it was sorted */
    for (uint32_t i = 0; i < r->objects_count; i++)
        order[i] = i;
    reach_objects_sort(r, order);
    reach_walk_heaps(r, true);
    for (uint32_t i = 0; i < r->objects_count; i++) /* and back, cycle by cycle */
        while (order[i] != i) {
            uint32_t to = order[i];
            reach_object o = r->objects[to];
            r->objects[to] = r->objects[i];
            r->objects[i] = o;
            order[i] = order[to];
            order[to] = to;
        }
}

/* Who can cancel a context can cancel those below it. The end of a scope above them comes in any
 * case, and does not count. */
static void reach_upstream(bl__reach *r, uint32_t item, uint32_t known)
{
    bl_ctx c;
    uintptr_t at = r->items[item].low;
    for (bool first = true; bl__peek(&c, (const void *)at, sizeof c) && c.magic == BL__CTX_MAGIC &&
                            !c.is_static && c.scope == NULL && !r->failed;
         first = false, at = (uintptr_t)c.upstream) {
        if (first)
            continue;
        uint32_t up = reach_lookup(r, &r->all, at);
        for (uint32_t k = known; k < r->items_count && up == BL__REACH_OPEN; k++)
            up = r->items[k].low == at ? k : up;
        if (up == BL__REACH_OPEN)
            up = reach_item_add(r, at, at + sizeof c);
        reach_edge_add(r, up, item);
    }
}

static void reach_upstreams(bl__reach *r)
{
    uint32_t known = r->items_count;
    if (!r->afters)
        return;
    r->afters = false;
    reach_index_make(r, &r->all, true);
    for (uint32_t i = 0; i < known; i++)
        if (r->items[i].after) {
            r->items[i].after = 0;
            reach_upstream(r, i, known);
        }
}

static void reach_solve(bl__reach *r)
{
    reach_records_sort(r);
    reach_locate(r);
    for (uint32_t known = 0; known < r->items_count && !r->failed;) {
        reach_index_make(r, &r->fresh, false);
        reach_index_make(r, &r->all, true);
        known = r->items_count;
        for (uint32_t i = 0; i < known; i++)
            r->items[i].fresh = 0;
        reach_walk_heaps(r, false);
        reach_upstreams(r);
    }
    reach_index_make(r, &r->all, true);
    for (uint32_t i = 0; i < r->items_count && !r->failed; i++) {
        if (i + REACH_FAR < r->items_count && r->items[i + REACH_FAR].stack)
            __builtin_prefetch((const void *)r->items[i + REACH_FAR].low); /* where the page is */
        if (i + REACH_AHEAD < r->items_count)
            reach_prefetch(&r->items[i + REACH_AHEAD]);
        const reach_item *it = &r->items[i];
        if (it->stack)
            (it->sure ? reach_each_sure : reach_each_window)(
                r, it->low, it->high > it->low ? it->high : it->low + it->own, reach_stack_words,
                &i);
    }
    reach_values(r);
    for (uint32_t i = 0; i < r->roots_count; i++)
        (r->roots[i].sure ? reach_each_sure : reach_each_window)(
            r, r->roots[i].low, r->roots[i].high, reach_root_words, NULL);
    reach_maps_words(r);
    if (r->closely)
        reach_each_window(r, r->maps.libc.low, r->maps.libc.high, reach_libc_words, NULL);
    for (uint32_t i = 0; i < r->items_count; i++)
        if (r->items[i].open)
            bl__reach_mark(r, i);
}

bool bl__reach_solve(bl__reach *r, size_t limit)
{
    r->left = limit;
    bl__san_guess_begin();
    reach_solve(r);
    bl__san_guess_end();
    return !r->failed;
}

uint32_t bl__reach_item(const bl__reach *r, uint32_t object) { return r->objects[object].item; }

bool bl__reach_marked(const bl__reach *r, uint32_t item)
{
    return item == BL__REACH_OPEN || r->items[item].marked;
}

void bl__reach_mark(bl__reach *r, uint32_t first)
{
    uint32_t n = 0;
    if (first == BL__REACH_OPEN || r->items[first].marked)
        return;
    r->items[first].marked = 1;
    r->work[n++] = first;
    while (n > 0) {
        const reach_item *it = &r->items[r->work[--n]];
        for (uint32_t e = it->edges; e != 0; e = r->edges[e - 1].next) {
            reach_item *to = &r->items[r->edges[e - 1].to];
            if (to->marked)
                continue;
            to->marked = 1;
            r->work[n++] = r->edges[e - 1].to;
        }
    }
}

bool bl__reach_mark_value(bl__reach *r, uintptr_t value)
{
    uint32_t item = reach_lookup(r, &r->all, value & REACH_ADDRESS);
    if (bl__reach_marked(r, item))
        return false;
    bl__reach_mark(r, item);
    return true;
}
