/* SPDX-License-Identifier: MIT */
/*
 * maps.c: see maps.h.
 *
 * Heaps. glibc keeps the main one in [heap], which begins with a block, and the threads' in
 * mappings aligned to 64 MiB, which begin with a record that is not the same in every version: so
 * the first block is looked for by walking on from each place where it could be. (glibc 2.36,
 * malloc/arena.c and malloc.c; a heap of another shape is found to be none, and its memory counts
 * as open.)
 *
 * Mappings of devices are not looked at. The C library's data stand apart: among them are malloc's
 * lists of free blocks, which lead to what is in no use any more.
 */
#include "debug/maps.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/blocking.h"
#include "core/proc.h"
#include "debug/ended.h"
#include "debug/peek.h"
#include "debug/report.h"
#include "debug/stuck.h"
#include "debug/symbol.h"
#include "life/ctx.h"
#include "life/timer.h"
#include "os/os.h"
#include "sync/chan.h"

enum {
    MAPS_MOST = 1 << 16, /* mappings; vm.max_map_count's default */
    SKIPS_MOST = 1 << 16,
    MAPS_TEXT = 1 << 16, /* bytes read at a time */
    LINE = 512,
    BLOCKS_TRIED = 64, /* that have to make sense for a heap to be one */
    HEAP_RECORD = 0x1000,
    HIDDEN_MOST = 1 << 28 /* bytes without access; more are reserved, and in no use yet */
};

#define HEAP_ALIGNED ((uintptr_t)64 << 20)

/* The descriptors are opened when a run begins, and kept: one that came and went while the program
 * runs could take a number that the program has just closed and expects to get again. There is none
 * of a folder of /proc, which would show threads in a chroot as well: it would be a way out of it. */
static struct {
    int maps;
    int pages;
    int mem;
} maps_files = {-1, -1, -1};

static const size_t maps_bytes =
    (MAPS_MOST + SKIPS_MOST) * sizeof(bl__map_range) + MAPS_TEXT + LINE;

/* ---- The runtime's own ---- */

void bl__maps_skip(bl__maps *m, const void *low, const void *high)
{
    bl__map_range range = {.low = (uintptr_t)low, .high = (uintptr_t)high};
    if (m->skips_count == SKIPS_MOST)
        return; /* read all the same: errs on the side of yes */
    size_t i = m->skips_count++;
    for (; i > 0 && m->skips[i - 1].low > range.low; i--)
        m->skips[i] = m->skips[i - 1];
    m->skips[i] = range;
}

size_t bl__map_find(const bl__map_range *ranges, size_t count, uintptr_t at)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].high <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool bl__maps_skips(const bl__maps *m, uintptr_t at)
{
    size_t i = bl__map_find(m->skips, m->skips_count, at);
    return i < m->skips_count && m->skips[i].low <= at;
}

bool bl__maps_next(const bl__maps *m, uintptr_t *low, uintptr_t *high, uintptr_t end)
{
    size_t i = bl__map_find(m->skips, m->skips_count, *low);
    for (; i < m->skips_count && m->skips[i].low <= *low; i++)
        *low = m->skips[i].high > *low ? m->skips[i].high : *low;
    *high = i < m->skips_count && m->skips[i].low < end ? m->skips[i].low : end;
    return *low < *high;
}

/* Of a thread's stack what is below top; the mapping begins where the stack ends. */
static void skip_thread_stack(bl__maps *m, const void *top)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->ranges[i].low < (uintptr_t)top && (uintptr_t)top <= m->ranges[i].high)
            bl__maps_skip(m, (void *)m->ranges[i].low, top);
}

static void skip_range(const void *low, const void *high, void *arg)
{
    bl__maps_skip(arg, low, high);
}

static void skip_timers(bl__maps *m, const bl__timers *ts)
{
    const bl__timer_entry *entries = load_relaxed(&ts->entries);
    if (entries != NULL)
        bl__maps_skip(m, entries, entries + load_relaxed(&ts->capacity));
    bl__timers_each_slab(ts, skip_range, m);
}

static void skip_helper(const void *frame, int tid, void *arg)
{
    (void)tid;
    skip_thread_stack(arg, frame);
}

static void skip_runtime(bl__maps *m)
{
    bl__maps_skip(m, &bl__rt, &bl__rt + 1);
    skip_timers(m, &bl__rt.outside);
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++) {
        bl__maps_skip(m, bl__rt.ps[i], bl__rt.ps[i] + 1);
        skip_timers(m, &bl__rt.ps[i]->timers);
    }
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    for (const bl__m *thread = bl__rt.all_m; thread != NULL; thread = thread->all_next) {
        bl__maps_skip(m, thread, thread + 1);
        skip_thread_stack(m, load_relaxed(&thread->g0.stack_hi));
    }
    bl__unlock(&bl__rt.lock);
    bl__each_arena(skip_range, m);
    bl__each_spawned_part(true, skip_range, m);
    bl__report_memory(skip_range, m);
    bl__symbol_memory(skip_range, m);
    bl__order_memory(skip_range, m);
    skip_thread_stack(m, bl__finder_top());
    skip_thread_stack(m, load_relaxed(&bl__rt.sysmon_top));
    bl__helpers_each_rest(skip_helper, m);
    bl__ended_skip(m);
}

uintptr_t bl__maps_record(uintptr_t low, const uint64_t *words, size_t bytes)
{
    const char *at = (const char *)words;
    size_t pad = -low & 63; /* where sync/chan.c has put a channel */
    uint32_t magic = 0;
    if (pad + sizeof(bl_chan) <= bytes) {
        memcpy(&magic, at + pad + offsetof(bl_chan, magic), sizeof magic);
        if (bl__chan_is_live(magic))
            return low + pad + sizeof(bl_chan);
    }
    uintptr_t timer = low + offsetof(bl_ticker, timer), self;
    if (offsetof(bl_ticker, timer.bl__self) + sizeof self <= bytes) {
        memcpy(&self, at + offsetof(bl_ticker, timer.bl__self), sizeof self);
        if (self == timer) /* before it are the links of its scope's list */
            return timer;
    }
    if (sizeof(bl_ctx) <= bytes) {
        memcpy(&magic, at + offsetof(bl_ctx, magic), sizeof magic);
        if (magic == BL__CTX_MAGIC)
            return low + offsetof(bl_ctx, afters);
    }
    return low;
}

/* ---- Heaps ---- */

static bool blocks_follow(uintptr_t at, uintptr_t end)
{
    for (int i = 0; i < BLOCKS_TRIED && at + 16 < end; i++) {
        uint64_t size;
        if (!bl__peek(&size, (const void *)(at + 8), sizeof size))
            return false;
        size &= ~(uint64_t)7;
        if (size < 32 || size % 16 != 0 || size > end - at)
            return false;
        at += size;
    }
    return true;
}

/* Where the first block of the thread's heap at low begins, whose mapping may be one with others';
 * 0: it is none. Its end in *end. */
static uintptr_t heap_first_block(uintptr_t low, uintptr_t high, uintptr_t *end)
{
    uint64_t words[HEAP_RECORD / 8];
    if (high - low < sizeof words || !bl__peek(words, (const void *)low, sizeof words))
        return 0;
    uint64_t arena = words[0],
             size = words[2]; /* heap_info.ar_ptr, of the arena's first heap; size */
    if (arena % 16 != 0 || arena == 0 || arena % HEAP_ALIGNED > 64 || size < sizeof words ||
        size > high - low)
        return 0;
    *end = low + size;
    size_t from =
        arena - low < HEAP_RECORD ? 0x800 : 0x20; /* with the arena's record, or without */
    for (size_t at = from; at + 16 < sizeof words; at += 16)
        if (words[at / 8 + 1] != 0 && blocks_follow(low + at, *end))
            return low + at;
    return 0;
}

static void range_add(bl__maps *m, uintptr_t low, uintptr_t high, uintptr_t first_block)
{
    if (low < high && m->count < MAPS_MOST)
        m->ranges[m->count++] =
            (bl__map_range){.low = low, .high = high, .first_block = first_block};
}

/* An anonymous mapping: the heaps in it, and what is between them. */
static void anonymous_add(bl__maps *m, uintptr_t low, uintptr_t high)
{
    uintptr_t at = (low + HEAP_ALIGNED - 1) / HEAP_ALIGNED * HEAP_ALIGNED;
    for (; at < high; at += HEAP_ALIGNED) {
        uintptr_t end, first = heap_first_block(at, high, &end);
        if (first == 0)
            continue;
        range_add(m, low, at, 0);
        range_add(m, at, end, first);
        low = end;
    }
    range_add(m, low, high, 0);
}

/* ---- Reading ---- */

static const char *hex(const char *p, uintptr_t *out)
{
    uintptr_t v = 0;
    for (;; p++) {
        if (*p >= '0' && *p <= '9')
            v = v * 16 + (uintptr_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            v = v * 16 + (uintptr_t)(*p - 'a' + 10);
        else
            break;
    }
    *out = v;
    return *p == 0 ? p : p + 1;
}

static bool is_libc(const char *path)
{
    const char *name = strrchr(path, '/');
    return name != NULL && (strncmp(name, "/libc.so", 8) == 0 || strncmp(name, "/libc-", 6) == 0);
}

/* The program may have put an address there: it can be written to, or is memory only, and could
 * have been before. A device may be anything, and reading it may do something. */
static bool is_memory(const char *access, const char *path)
{
    static const char *const names[] = {"/dev/zero", "/memfd:", "/dev/shm/", "/SYSV"};
    for (size_t i = 0; path != NULL && i < sizeof names / sizeof names[0]; i++)
        if (strncmp(path, names[i], strlen(names[i])) == 0)
            return true;
    return path == NULL || (access[0] == 'r' && access[1] == 'w' && strncmp(path, "/dev/", 5) != 0);
}

/* What malloc has reserved behind a thread's heap, which has never been in use. */
static bool is_reserve(const bl__maps *m, const bl__map_range *r)
{
    for (size_t i = m->count; i > 0 && m->ranges[i - 1].low + HEAP_ALIGNED >= r->high; i--)
        if (m->ranges[i - 1].first_block != 0 && m->ranges[i - 1].low + HEAP_ALIGNED == r->high)
            return true;
    return false;
}

/* "low-high rw-p offset device inode   path". libc_end: where the C library's data have ended. */
static void line_take(bl__maps *m, const char *line, uintptr_t *libc_end)
{
    bl__map_range r = {0};
    const char *p = hex(line, &r.low);
    p = hex(p, &r.high);
    const char *path = strpbrk(p, "/[");
    bool named = path != NULL;
    if (!is_memory(p, path) || m->count == MAPS_MOST)
        return;
    if (*p != 'r') {
        r.hidden = true;
        if (r.high - r.low <= HIDDEN_MOST && !is_reserve(m, &r))
            m->ranges[m->count++] = r;
        return;
    }
    if ((named && is_libc(path)) || (!named && r.low == *libc_end)) {
        m->libc.low = *libc_end == 0 ? r.low : m->libc.low;
        m->libc.high = *libc_end = r.high;
        return;
    }
    if (!named)
        anonymous_add(m, r.low, r.high);
    else
        range_add(m, r.low, r.high,
                  strcmp(path, "[heap]") == 0 && blocks_follow(r.low, r.high) ? r.low : 0);
}

static bool maps_take(bl__maps *m, int fd, char *text)
{
    uintptr_t libc_end = 0;
    size_t have = 0;
    for (;;) {
        ssize_t n = read(fd, text + have, MAPS_TEXT - have);
        if (n < 0 || (n == 0 && have > 0))
            return false;
        if (n == 0)
            return m->count < MAPS_MOST;
        have += (size_t)n;
        char *line = text, *end;
        while ((end = memchr(line, '\n', have - (size_t)(line - text))) != NULL) {
            *end = 0;
            line_take(m, line, &libc_end);
            line = end + 1;
        }
        have -= (size_t)(line - text);
        memmove(text, line, have);
    }
}

static int file_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? bl__fd_raise(fd) : fd;
}

void bl__maps_open(void)
{
    maps_files.maps = file_open("/proc/self/maps");
    maps_files.pages =
        sysconf(_SC_PAGESIZE) == BL__MAPS_PAGE ? file_open("/proc/self/pagemap") : -1;
    maps_files.mem = file_open("/proc/self/mem");
}

bool bl__maps_peek(void *to, uintptr_t from, size_t n)
{
    return maps_files.mem >= 0 && pread(maps_files.mem, to, n, (off_t)from) == (ssize_t)n;
}

void bl__maps_close(void)
{
    if (maps_files.maps >= 0)
        close(maps_files.maps);
    if (maps_files.pages >= 0)
        close(maps_files.pages);
    if (maps_files.mem >= 0)
        close(maps_files.mem);
    maps_files.maps = maps_files.pages = maps_files.mem = -1;
}

bool bl__maps_read(bl__maps *m)
{
    *m = (bl__maps){0};
    if (maps_files.maps < 0 || lseek(maps_files.maps, 0, SEEK_SET) != 0)
        return false;
    char *memory = mmap(NULL, maps_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    m->memory = memory;
    m->ranges = (bl__map_range *)(void *)memory;
    m->skips = m->ranges + MAPS_MOST;
    bool ok = maps_take(m, maps_files.maps, (char *)(m->skips + SKIPS_MOST));
    bl__maps_skip(m, memory, memory + maps_bytes);
    if (ok)
        skip_runtime(m);
    return ok;
}

/* Each page has a word: bit 63: it is in memory; 62: in swap
 * (Documentation/admin-guide/mm/pagemap.rst). */
uint64_t bl__maps_there(uintptr_t low, uintptr_t high)
{
    uint64_t words[64], there = 0;
    size_t first = low / BL__MAPS_PAGE;
    size_t n = (high + BL__MAPS_PAGE - 1) / BL__MAPS_PAGE - first;
    size_t bytes = n * sizeof words[0];
    if (maps_files.pages < 0 ||
        pread(maps_files.pages, words, bytes, (off_t)(first * sizeof words[0])) != (ssize_t)bytes)
        return UINT64_MAX;
    for (size_t i = 0; i < n; i++)
        there |= (uint64_t)(words[i] >> 62 != 0) << i;
    return there;
}

void bl__maps_free(bl__maps *m)
{
    if (m->memory != NULL)
        munmap(m->memory, maps_bytes);
    m->memory = NULL;
}
