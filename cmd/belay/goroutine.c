/* SPDX-License-Identifier: MIT */
/*
 * goroutine.c: walks the records of a process that goes on running: stacks' slots, the records of those
 * that have not run, and the threads, for who runs. What changes meanwhile is seen before or after.
 */
#include "goroutine.h"

#include "util.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

enum { WORD_FLAGS = 7, WORD_WRITER = 2, WORD_READER = 8 }; /* of a lock: debug/describe.h */
enum { BATCH = 512, ARENAS_MOST = 4096, SLABS_MOST = 1 << 20, THREADS_MOST = 1 << 16 };

typedef struct list {
    goroutine *at;
    size_t len, cap;
} list;

static goroutine *list_add(list *l)
{
    if (l->len == l->cap) {
        size_t cap = l->cap == 0 ? 256 : l->cap * 2;
        goroutine *more = realloc(l->at, cap * sizeof *more);
        if (more == NULL)
            return NULL;
        l->at = more;
        l->cap = cap;
    }
    return &l->at[l->len++];
}

static uint64_t u64_at(const char *record, uint32_t offset)
{
    uint64_t v;
    memcpy(&v, record + offset, sizeof v);
    return v;
}

static uint32_t u32_at(const char *record, uint32_t offset)
{
    uint32_t v;
    memcpy(&v, record + offset, sizeof v);
    return v;
}

static void record_parse(const target *t, const char *r, uint64_t at, goroutine *g)
{
    *g = (goroutine){.id = u64_at(r, t->at.g_id),
                     .parent = u64_at(r, t->at.g_parent),
                     .record = at,
                     .fn = u64_at(r, t->at.g_fn),
                     .site = u64_at(r, t->at.g_site),
                     .sp = u64_at(r, t->at.g_sp),
                     .stack_lo = u64_at(r, t->at.g_stack_lo),
                     .stack_hi = u64_at(r, t->at.g_stack_hi),
                     .since = (int64_t)u64_at(r, t->at.g_since),
                     .status = u32_at(r, t->at.g_status),
                     .wait = u32_at(r, t->at.g_wait),
                     .switches = u32_at(r, t->at.g_switches),
                     .reason = (uint8_t)r[t->at.g_reason],
                     .object = u64_at(r, t->at.g_wait_obj)};
}

bool goroutine_again(const target *t, const goroutine *g, goroutine *now)
{
    char record[4096];
    if (g->record == 0 || t->at.g_size > sizeof record ||
        !target_read(t, g->record, record, t->at.g_size))
        return false;
    record_parse(t, record, g->record, now);
    return now->id == g->id && now->status != t->at.dead;
}

/* How long g has been in its state, from when that was. */
static int64_t since_of(const target *t, const goroutine *g, int64_t now)
{
    return g->status == t->at.parked && g->since != 0 && now > g->since ? now - g->since : 0;
}

/* By the clock of the program's stamps: the recent time that it keeps itself stands while it is idle. */
static int64_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool goroutine_refresh(const target *t, goroutine *g)
{
    goroutine now;
    if (g->record == 0)
        return true;
    if (!goroutine_again(t, g, &now))
        return false;
    now.tid = now.status == t->at.running ? g->tid : 0;
    now.since = now.status == t->at.running ? g->since : since_of(t, &now, clock_now());
    *g = now;
    return true;
}

/* The records of slots first to first + n of an arena, in one call. */
static bool slots_read(const target *t, list *l, uint64_t base, uint64_t slot, uint64_t first,
                       size_t n)
{
    struct iovec there[BATCH] = {{0}};
    size_t size = t->at.g_size;
    char *records = malloc(n * size);
    if (records == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint64_t colour = (first + i) * t->at.colour_factor % t->at.colours * t->at.colour_step;
        uint64_t at = (slot - size - colour) / t->at.cache_line * t->at.cache_line;
        there[i] = (struct iovec){(void *)(uintptr_t)(base + (first + i) * slot + at), size};
    }
    struct iovec here = {records, n * size};
    ssize_t got = process_vm_readv(t->pid, &here, 1, there, n, 0);
    bool ok = true;
    for (size_t i = 0; ok && got >= 0 && (i + 1) * size <= (size_t)got; i++) {
        goroutine g;
        record_parse(t, records + i * size, (uint64_t)(uintptr_t)there[i].iov_base, &g);
        if (g.status == t->at.dead || g.id == 0)
            continue;
        goroutine *place = list_add(l);
        ok = place != NULL;
        if (ok)
            *place = g;
    }
    free(records);
    return ok && got >= 0;
}

static bool arenas_read(const target *t, list *l)
{
    uint64_t slot = target_u64(t, t->rt + t->at.rt_stack_slot);
    uint64_t arena = target_u64(t, t->rt + t->at.rt_arenas);
    for (int i = 0; arena != 0 && i < ARENAS_MOST && slot > t->at.g_size; i++) {
        uint64_t base = target_u64(t, arena + t->at.arena_base);
        uint64_t used = target_u64(t, arena + t->at.arena_used);
        for (uint64_t first = 0; first < used; first += BATCH)
            if (!slots_read(t, l, base, slot, first, used - first < BATCH ? used - first : BATCH))
                return false;
        arena = target_u64(t, arena + t->at.arena_next);
    }
    return true;
}

static bool spawned_read(const target *t, list *l)
{
    size_t bytes = (size_t)t->at.slab * t->at.spawned_size;
    char *records = malloc(bytes);
    uint64_t slab = target_u64(t, t->rt + t->at.rt_spawn_slabs);
    bool ok = records != NULL;
    for (int n = 0; ok && slab != 0 && n < SLABS_MOST; n++) {
        if (!target_read(t, slab + t->at.slab_records, records, bytes))
            break;
        for (uint32_t i = 0; ok && i < t->at.slab; i++) {
            const char *r = records + (size_t)i * t->at.spawned_size;
            if (u32_at(r, t->at.spawned_status) == t->at.dead)
                continue;
            goroutine *g = list_add(l);
            ok = g != NULL;
            if (ok)
                *g = (goroutine){.id = u64_at(r, t->at.spawned_id),
                                 .parent = u64_at(r, t->at.spawned_parent),
                                 .fn = u64_at(r, t->at.spawned_fn),
                                 .site = u64_at(r, t->at.spawned_site),
                                 .status = t->at.runnable};
        }
        slab = target_u64(t, slab + t->at.slab_next);
    }
    free(records);
    return ok;
}

static int by_id(const void *a, const void *b)
{
    const goroutine *ga = a, *gb = b;
    return ga->id < gb->id ? -1 : ga->id > gb->id;
}

/* Who runs has the processor's time, if that has picked nobody since it was looked at; or that of its
 * own when it was taken away. How long ago; 0: it is not known. */
static int64_t running_for(const target *t, uint64_t g, uint64_t p, int64_t now)
{
    uint64_t since = 0;
    if (p == 0)
        since = target_u64(t, g + t->at.g_away_since);
    else if (target_u32(t, p + t->at.p_tick) == target_u32(t, p + t->at.p_seen_tick))
        since = target_u64(t, p + t->at.p_seen_since);
    return since != 0 ? now - (int64_t)since : 0;
}

static void running_mark(const target *t, list *l, int64_t now)
{
    uint64_t m = target_u64(t, t->rt + t->at.rt_all_m);
    for (int n = 0; m != 0 && n < THREADS_MOST; n++) {
        uint64_t record = target_u64(t, m + t->at.m_g), p = target_u64(t, m + t->at.m_p);
        for (size_t i = 0; i < l->len; i++) {
            goroutine *g = &l->at[i];
            if (g->record != record || g->status != t->at.running)
                continue;
            g->tid = (int32_t)target_u32(t, m + t->at.m_tid);
            g->since = running_for(t, record, p, now);
        }
        m = target_u64(t, m + t->at.m_all_next);
    }
}

bool goroutines_read(const target *t, goroutines *all)
{
    list l = {0};
    *all = (goroutines){.running = target_u32(t, t->rt + t->at.rt_running) != 0,
                        .procs = target_u32(t, t->rt + t->at.rt_procs),
                        .threads = target_u32(t, t->rt + t->at.rt_threads)};
    bool ok = !all->running || (arenas_read(t, &l) && spawned_read(t, &l));
    int64_t now = clock_now();
    for (size_t i = 0; i < l.len; i++)
        l.at[i].since = since_of(t, &l.at[i], now);
    running_mark(t, &l, now);
    if (l.len > 0)
        qsort(l.at, l.len, sizeof *l.at, by_id);
    for (size_t i = 0; i < l.len; i++) /* one that began to run meanwhile was met twice */
        if (all->len == 0 || l.at[all->len - 1].id != l.at[i].id)
            l.at[all->len++] = l.at[i];
    all->at = l.at;
    return ok;
}

void goroutines_free(goroutines *all)
{
    free(all->at);
    all->at = NULL;
    all->len = 0;
}

const char *goroutine_state(const target *t, const goroutine *g)
{
    if (g->status == t->at.running)
        return "running";
    if (g->status != t->at.parked)
        return "runnable";
    return g->reason < REASONS_MOST && g->reason < t->at.reasons ? t->reasons[g->reason]
                                                                 : "waiting";
}

/* Who has a lock, by its word. Nothing where that names nobody: it was overwritten, or is gone. */
static char *owner_text(const target *t, uint64_t word)
{
    uint64_t owner = word & ~(uint64_t)WORD_FLAGS;
    if (owner == 0)
        return text_own("%s", "");
    if (owner == t->orphan)
        return text_own("%s", ", held by one that has ended");
    if (target_u32(t, owner + t->at.g_kind) == t->at.thread)
        return text_own("%s", ", held by a plain thread");
    unsigned long long id = target_u64(t, owner + t->at.g_id);
    return id == 0 ? text_own("%s", "") : text_own(", held by goroutine %llu", id);
}

char *goroutine_lock(const target *t, const goroutine *g)
{
    const char *state = goroutine_state(t, g);
    bool is_mutex = strcmp(state, "sync.Mutex.Lock") == 0;
    goroutine now;
    if (!is_mutex && strncmp(state, "sync.RWMutex.", strlen("sync.RWMutex.")) != 0)
        return NULL;
    uint64_t word = target_u64(t, g->object + (is_mutex ? t->at.mutex_word : t->at.rwmutex_word));
    unsigned long long readers = is_mutex || (word & WORD_WRITER) != 0 ? 0 : word / WORD_READER;
    char *held = readers == 0
                     ? owner_text(t, word)
                     : text_own(", held by %llu reader%s", readers, readers == 1 ? "" : "s");
    char *text = NULL;
    if (goroutine_again(t, g, &now) && now.switches == g->switches) /* it is there still */
        text = text_own("%s %#llx%s", is_mutex ? "sync.Mutex" : "sync.RWMutex",
                        (unsigned long long)g->object, held);
    free(held);
    return text;
}

goroutine_place goroutine_started(const target *t, const goroutine *g)
{
    goroutine_place p = {0};
    if (g->site == 0 || g->id == 1)
        return p;
    char *file = target_text(t, target_u64(t, g->site + t->at.site_file));
    p.func = target_text(t, target_u64(t, g->site + t->at.site_func));
    p.place = text_own("%s:%d", file, (int)target_u32(t, g->site + t->at.site_line));
    free(file);
    return p;
}
