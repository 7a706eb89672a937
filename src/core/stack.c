/* SPDX-License-Identifier: MIT */
/*
 * stack.c: the goroutines' stacks, and their records, which sit at the top of them.
 *
 * Stacks are carved from big arenas of reserved address space: slot after slot, each a guard and
 * then the stack. With the record in the stack's topmost page an idle goroutine costs one page
 * and its share of a page table. Records are never unmapped during a run, so reports can walk them.
 *
 * Guards. They are 16 KiB, since the frames of libraries may reach over a page into the stack below,
 * as printf's do. The C library makes frames of up to 64 KiB (alloca) before it takes malloc; a guard
 * as large would cost a new stack a tenth more, and a million of them 100 MB of page tables.
 * MADV_GUARD_INSTALL (Linux 6.13) marks the pages in the page table and splits no mapping,
 * so a million guarded stacks fit under the default vm.max_map_count; process_madvise does a whole
 * batch in one call. Elsewhere mprotect, two mappings each, up to a budget; beyond it stacks have a
 * canary instead, looked at when they are freed, and a warning says so once.
 *
 * Colours. A slot is an odd number of pages, which spreads the pages that are in use over the sets
 * of the TLB; and the record lies at a different distance from the top in neighbouring slots, which
 * spreads the lines in use over the sets of the L1 cache. Without it, a thousand goroutines that
 * take turns evict each other's stacks (FACTS: 14 ns a switch on a few stacks, 33 over a thousand).
 *
 * Freed stacks go to the processor's cache, last in first out, since the last is warm; half of a
 * full cache goes to the common list. The pages below the topmost ones are given back to the kernel
 * before, but only if there are any: to look through 64 KiB for pages takes the kernel as long as
 * all else about a goroutine's end. So a few of the stacks are looked at, and if none was deep,
 * none is trimmed: the deep ones that slip through are few, or shallow on the average (of a
 * fraction f of stacks that have d pages, f (1-f)^SAMPLE d at most, which is below d/12). After CALM
 * lots without a deep one, only one of as many is looked at: a look takes a system call, and those
 * were a seventh of the end of a crowd. Not of big stacks, of which a few lots may be gigabytes.
 *
 * A goroutine for which there is no stack waits (bl__stack_await) and tries again when one is
 * freed, and every 10 ms, when sysmon asks the kernel again and collects what idle processors keep.
 * Only when nothing else can go on is it an error.
 */
#include <errno.h>
#include <link.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/proc.h"
#include "os/os.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum {
    BATCH = 64, /* stacks made at a time, at most; first fewer */
    BATCH_FIRST = 4,
    KEEP_PAGES = 2, /* topmost pages that a free stack keeps */
    LOOK_PAGES = 64,
    SAMPLE = 4, /* of how many that are to be trimmed it is looked at whether they have to be */
    CALM = 8,   /* lots without a deep one, after which one of as many is looked at */
    CALM_STACK = 256 << 10, /* … if a stack is no bigger */
    AHEAD = 6,              /* records that are fetched before they are looked at */
    RACE_LEAST = 256 << 10,
    STACKS_USED = 16,     /* freed together under the race detector */
    GUARD_BUDGET = 30000, /* guards by mprotect; each costs two mappings of vm.max_map_count */
};

#define GUARD_LEAST ((size_t)16 << 10)
#define ARENA_FIRST ((size_t)4 << 20)
#define ARENA_MOST ((size_t)1 << 30)
#define CANARY 0x62656c6179737461u

#if BL__ASAN
static uint32_t lsan_switching; /* atomic: threads that are between two stacks */
#endif

enum { GUARD_MADVISE = 1, GUARD_MPROTECT, GUARD_NONE };

static struct {
    size_t page;
    size_t slot;    /* bytes from one stack to the next: guard and stack */
    size_t gap;     /* bytes of the guard */
    int guard;      /* stack_lock to write, atomic: GUARD_… */
    int pidfd;      /* of this process, for process_madvise; -1: it does not do it */
    bool code;      /* stacks may be executed, as those of threads */
    size_t guards;  /* stack_lock: made by mprotect */
    bool unguarded; /* stack_lock: said that some have none */
    size_t batch;   /* stack_lock */
    size_t arena;   /* stack_lock: bytes of the next */
    uint32_t calm;  /* atomic: how many lots of free stacks had none that was deep */
} mem;

/* Does the kernel keep us out of a guard? Asked without touching it, since some emulators take any
 * advice and do nothing. */
static int guard_probe(void)
{
    int kind = GUARD_MPROTECT;
    void *p = mmap(NULL, mem.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return kind;
    if (madvise(p, mem.page, MADV_GUARD_INSTALL) == 0 &&
        madvise(p, mem.page, MADV_POPULATE_WRITE) != 0 && errno == EFAULT)
        kind = GUARD_MADVISE;
    munmap(p, mem.page);
    return kind;
}

/* A program, or one of its libraries, asks for stacks that may be executed: gcc makes code on them
 * for the address of a nested function that uses its caller's variables. */
static int stack_is_code(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_STACK)
            return (info->dlpi_phdr[i].p_flags & PF_X) != 0;
    return 0;
}

size_t bl__stack_least(void) { return 4 * (size_t)sysconf(_SC_PAGESIZE); }

int bl__stack_init(size_t size)
{
    mem.page = (size_t)sysconf(_SC_PAGESIZE);
    if (size < bl__stack_least())
        size = bl__stack_least();
    if (BL__RACE && size < RACE_LEAST) /* reports are made on the stack of who races */
        size = RACE_LEAST;
    size = (size + mem.page - 1) / mem.page * mem.page;
    mem.gap = GUARD_LEAST > mem.page ? GUARD_LEAST : mem.page;
    mem.slot = size + mem.gap;
    if (mem.slot / mem.page % 2 == 0)
        mem.slot += mem.page; /* odd, for the colours */
    bl__rt.stack_size = mem.slot - mem.gap;
    bl__rt.stack_slot = mem.slot;
    if (mem.guard == 0) {
        mem.guard = guard_probe();
        mem.pidfd =
            bl__san_on_valgrind() ? -1 : bl__fd_own((int)syscall(SYS_pidfd_open, getpid(), 0));
    }
    mem.code = dl_iterate_phdr(stack_is_code, NULL) != 0;
    mem.batch = BATCH_FIRST;
    mem.arena = ARENA_FIRST;
    while (mem.arena < 8 * mem.slot)
        mem.arena *= 2;
    return 0;
}

/* In the child of a fork: the descriptor names the parent. The next run opens its own. It is not
 * closed: a program may have closed all that it does not know, and have another with its number. */
void bl__stack_forked(void)
{
    mem.guard = 0;
    mem.pidfd = -1;
#if BL__ASAN
    store_relaxed(&lsan_switching, 0u); /* the parent's other threads */
#endif
#if BL__RACE
    bl__race_forked();
#endif
}

static void list_push(bl__g **list, bl__g *g)
{
    g->task.next = (bl__task *)(void *)*list;
    *list = g;
}

/* The common free stacks are piles, each of what a processor had too many of: to give or take one
 * touches its first record only, and of the others every one is a miss. */
static inline bl__g **stack_pile_next(bl__g *first) { return (bl__g **)(void *)&first->arg; }
static inline uint64_t *stack_pile_count(bl__g *first) { return &first->parent; }

/* Under stack_lock: n stacks, more than none. */
static void stack_pile_give(bl__g *first, uint64_t n)
{
    *stack_pile_next(first) = bl__rt.free_stacks;
    *stack_pile_count(first) = n;
    bl__rt.free_stacks = first;
    bl__rt.free_stacks_count += n;
}

/* Under stack_lock. 0: there is none. */
static uint32_t stack_pile_take(bl__g **first)
{
    *first = bl__rt.free_stacks;
    if (*first == NULL)
        return 0;
    bl__rt.free_stacks = *stack_pile_next(*first);
    bl__rt.free_stacks_count -= *stack_pile_count(*first);
    return (uint32_t)*stack_pile_count(*first);
}

static void *arena_map(size_t bytes)
{
#if BL__RACE
    void *base = bl__race_arena_new(bytes);
    return base != NULL ? base : MAP_FAILED;
#else
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
#endif
}

static void arena_unmap(void *base, size_t bytes)
{
#if BL__RACE
    bl__race_arena_free(base, bytes);
#else
    munmap(base, bytes);
#endif
}

static bl__arena *arena_new(void)
{
    size_t bytes = mem.arena;
    void *base = MAP_FAILED;
    bl__arena *a = bl__alloc(sizeof *a);
    while (a != NULL && bytes >= 2 * mem.slot) {
        base = arena_map(bytes);
        if (base != MAP_FAILED)
            break;
        bytes /= 2; /* an address space limit: what is left may do */
    }
    if (base == MAP_FAILED) {
        bl__free(a);
        return NULL;
    }
    madvise(base, bytes, MADV_NOHUGEPAGE);
    if (mem.code) /* where a policy forbids it, it forbids that to threads as well */
        (void)mprotect(base, bytes, PROT_READ | PROT_WRITE | PROT_EXEC);
    size_t slots = bytes / (mem.slot + sizeof(bl__reg));
    *a = (bl__arena){.next = bl__rt.arenas,
                     .base = base,
                     .bytes = bytes,
                     .slots = slots,
                     .regs = (bl__reg *)(void *)((char *)base + slots * mem.slot)};
    if (mem.arena < ARENA_MOST)
        mem.arena *= 2;
    store_release(&bl__rt.arenas, a); /* ORD(arena): with the load in each_goroutine */
    return a;
}

/* The same advice for size bytes at offset in each of n slots, in one call where the kernel can. It
 * ends at the first that is refused: how many there are before that. */
static size_t advise_slots(char *first, size_t n, size_t offset, size_t size, int advice)
{
    struct iovec parts[BATCH];
    for (size_t i = 0; i < n; i++)
        parts[i] = (struct iovec){first + i * mem.slot + offset, size};
    size_t done = 0;
    if (mem.pidfd >= 0) {
        long r = syscall(SYS_process_madvise, mem.pidfd, parts, n, advice, 0);
        done = r > 0 ? (size_t)r / size : 0;
    }
    while (done < n && madvise(parts[done].iov_base, size, advice) == 0)
        done++;
    return done;
}

/* Guards n stacks. How many, from the first, have a guard; the others have a canary. */
static size_t guards_make(char *first, size_t n)
{
    size_t done = 0;
    if (load_relaxed(&mem.guard) == GUARD_MADVISE)
        done = advise_slots(first, n, 0, mem.gap, MADV_GUARD_INSTALL);
    if (done == n)
        return n;
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    while (done < n && mem.guard != GUARD_NONE && mem.guards < GUARD_BUDGET &&
           mprotect(first + done * mem.slot, mem.gap, PROT_NONE) == 0) {
        mem.guards++;
        done++;
    }
    bool warn = done < n && !mem.unguarded;
    if (done < n) {
        if (mem.guard == GUARD_MPROTECT)
            store_relaxed(&mem.guard, GUARD_NONE);
        mem.unguarded = true;
    }
    bl__unlock(&bl__rt.stack_lock);
    if (warn)
        bl__warn("the kernel allows no more guard pages (vm.max_map_count, or memory), so further "
                 "stacks have a canary only");
    for (size_t i = done; i < n; i++)
        *(uint64_t *)(void *)(first + i * mem.slot + mem.gap) = CANARY;
    return done;
}

/* Makes a batch of stacks and puts them on the list. How many; 0: there is no address space or
 * memory. The lock is held to take the slots, not while the kernel makes pages. Reports may come by
 * a slot that is taken and find its record all 0, which is that of no goroutine. */
static size_t stacks_make(bl__g **list)
{
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    bl__arena *a = bl__rt.arenas;
    if ((a == NULL || a->used == a->slots) && (a = arena_new()) == NULL) {
        bl__unlock(&bl__rt.stack_lock);
        return 0;
    }
    size_t at = a->used;
    size_t n = a->slots - at < mem.batch ? a->slots - at : mem.batch;
    mem.batch = mem.batch * 2 < BATCH ? mem.batch * 2 : BATCH;
    store_release(&a->used, at + n); /* ORD(arena) */
    bl__unlock(&bl__rt.stack_lock);
    char *first = a->base + at * mem.slot;
    size_t guarded = guards_make(first, n);
    if (n > BATCH_FIRST)
        (void)advise_slots(first, n, mem.slot - mem.page, mem.page, MADV_POPULATE_WRITE);
    for (size_t i = n; i-- > 0;) {
        bl__g *g = bl__slot_record(first + i * mem.slot, at + i);
        g->stack_lo = first + i * mem.slot + mem.gap;
        g->stack_hi = (void *)((uintptr_t)g / 16 * 16);
        bl__san_stack_made(g->stack_lo, g->stack_hi);
        g->task.kind = BL__TASK_G;
        g->reg = &a->regs[at + i];
        g->reg->g = g;
        g->canary = i >= guarded;
        list_push(list, g);
    }
    return n;
}

/* Under the race detector, all stacks that p has freed: what was done on them is forgotten, and they
 * can be used again. */
static void used_forget(bl__p *p)
{
#if BL__RACE
    bl__race_span spans[STACKS_USED];
    uint32_t n = 0;
    for (bl__g *g = p->used_stacks; g != NULL; g = (bl__g *)(void *)g->task.next)
        spans[n++] = (bl__race_span){g->stack_lo, (char *)(g + 1)};
    if (n > 0)
        bl__race_stacks_forget(spans, n);
    for (bl__g *g = p->used_stacks, *next; g != NULL; g = next) {
        next = (bl__g *)(void *)g->task.next;
        list_push(&p->free_stacks, g);
    }
    p->free_stacks_count += n;
    p->used_stacks = NULL;
    p->used_stacks_count = 0;
#endif
    (void)p;
}

/* For a cache that is empty, a pile of the common ones, or of new ones. False: there are none. */
bool bl__stack_refill(bl__p *p)
{
    BL__CHECK(p->free_stacks == NULL && p->free_stacks_count == 0);
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    p->free_stacks_count = stack_pile_take(&p->free_stacks);
    bl__unlock(&bl__rt.stack_lock);
    if (p->free_stacks == NULL)
        p->free_stacks_count = (uint32_t)stacks_make(&p->free_stacks);
    if (p->free_stacks == NULL)
        used_forget(p);
    return p->free_stacks != NULL;
}

/* What a free stack does not keep. */
static struct iovec below_kept(const bl__g *g)
{
    char *keep = (char *)(((uintptr_t)g + sizeof *g - 1) / mem.page * mem.page);
    keep -= (KEEP_PAGES - 1) * mem.page;
    return (struct iovec){g->stack_lo, (size_t)(keep - (char *)g->stack_lo)};
}

/* Has it pages that it does not keep? Who went deep has left some right below the kept ones. */
static bool is_deep(const bl__g *g)
{
    unsigned char there[LOOK_PAGES];
    struct iovec part = below_kept(g);
    size_t pages = part.iov_len / mem.page < LOOK_PAGES ? part.iov_len / mem.page : LOOK_PAGES;
    if (mincore((char *)part.iov_base + part.iov_len - pages * mem.page, pages * mem.page, there))
        return true;
    for (size_t i = 0; i < pages; i++)
        if (there[i] & 1)
            return true;
    return false;
}

/* Have some of count free stacks pages that they do not keep? Of the others nothing but the link is
 * touched. */
static bool some_deep(const bl__g *list, size_t count)
{
    size_t n = 0;
    for (const bl__g *g = list; g != NULL; g = (const bl__g *)(const void *)g->task.next)
        if (n++ % (count / SAMPLE + 1) == 0 && !g->canary && is_deep(g))
            return true;
    return false;
}

/* Gives the pages of count free stacks below the topmost ones back to the kernel. */
static void trim(const bl__g *list, size_t count)
{
    struct iovec parts[BL__STACK_CACHE];
    size_t n = 0;
    uint32_t calm = load_relaxed(&mem.calm);
    if (calm >= CALM && calm % CALM != 0 && bl__rt.stack_size <= CALM_STACK) {
        store_relaxed(&mem.calm, calm + 1);
        return;
    }
    bool deep = some_deep(list, count);
    store_relaxed(&mem.calm, deep ? 0 : calm + 1);
    if (!deep)
        return;
    for (const bl__g *g = list; g != NULL; g = (const bl__g *)(const void *)g->task.next)
        if (!g->canary && n < BL__STACK_CACHE) /* a canary is in the lowest page */
            parts[n++] = below_kept(g);
    if (mem.pidfd >= 0 && n > 0 &&
        syscall(SYS_process_madvise, mem.pidfd, parts, n, MADV_DONTNEED, 0) > 0)
        return;
    for (size_t i = 0; i < n; i++)
        madvise(parts[i].iov_base, parts[i].iov_len, MADV_DONTNEED);
}

static __attribute__((noinline)) void spill(bl__p *p)
{
    bl__g *first = p->free_stacks; /* the warm half stays */
    bl__g *last = first;
    uint32_t keep = BL__STACK_CACHE / 2;
    for (uint32_t i = 1; i < keep; i++)
        last = (bl__g *)(void *)last->task.next;
    bl__g *cold = (bl__g *)(void *)last->task.next;
    last->task.next = NULL;
    uint32_t n = p->free_stacks_count - keep;
    p->free_stacks_count = keep;
    trim(cold, n);
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    stack_pile_give(cold, n);
    bl__unlock(&bl__rt.stack_lock);
}

/* ---- No memory for a stack ---- */

/* No stack for t, which has not run yet: it waits for one to be freed, or for memory. */
void bl__stack_await(bl__task *t)
{
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    t->next = NULL;
    if (bl__rt.no_stack == NULL)
        bl__rt.no_stack = t;
    else
        bl__rt.no_stack_last->next = t;
    bl__rt.no_stack_last = t;
    store_relaxed(&bl__rt.no_stack_waiting, bl__rt.no_stack_waiting + 1);
    bl__unlock(&bl__rt.stack_lock);
}

/* Under stack_lock, which it gives back: lets up to n waiting tasks try again. */
static void waiting_retry(size_t n)
{
    bl__task *first = bl__rt.no_stack, *last = NULL;
    uint32_t taken = 0;
    for (bl__task *t = first; t != NULL && taken < n; t = t->next, taken++)
        last = t;
    if (last != NULL) {
        bl__rt.no_stack = last->next;
        store_relaxed(&bl__rt.no_stack_waiting, bl__rt.no_stack_waiting - taken);
    }
    bl__unlock(&bl__rt.stack_lock);
    if (last != NULL)
        bl__runq_put_global(first, last, taken);
}

/* Under sched's lock: what the idle processors keep goes to all. */
static void idle_caches_take(void)
{
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    for (bl__p *p = bl__rt.idle_p; p != NULL; p = p->idle_next) {
        used_forget(p);
        if (p->free_stacks != NULL)
            stack_pile_give(p->free_stacks, p->free_stacks_count);
        p->free_stacks = NULL;
        p->free_stacks_count = 0;
    }
    bl__unlock(&bl__rt.stack_lock);
}

bool bl__stack_retry(void)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    idle_caches_take();
    bool busy = bl__rt.idle_all < bl__rt.ps_made; /* and may have free ones */
    bl__unlock(&bl__rt.lock);
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    if (bl__rt.no_stack != NULL && bl__rt.free_stacks == NULL) {
        bl__g *made = NULL;
        bl__unlock(&bl__rt.stack_lock);
        size_t more = stacks_make(&made);
        bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
        if (more > 0)
            stack_pile_give(made, more);
    }
    size_t n = bl__rt.free_stacks_count;
    bool some = bl__rt.no_stack != NULL && n > 0;
    waiting_retry(n == 0 && busy ? 1 : n);
    return some;
}

/* Others wait for a stack, so it goes to all, and one of them tries again. */
static __attribute__((noinline)) void hand_over(bl__g *g)
{
#if BL__RACE
    bl__race_stack_forget(g->stack_lo, (char *)(g + 1));
#endif
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    g->task.next = NULL;
    stack_pile_give(g, 1);
    waiting_retry(1);
}

/* Takes back the stack of a goroutine that has ended; on another stack than that. */
void bl__stack_put(bl__p *p, bl__g *g)
{
    if (BL__UNLIKELY(g->canary) && *(uint64_t *)g->stack_lo != CANARY)
        bl__fatal("belay: a goroutine overflowed its stack of %zu KiB, which has no guard page; "
                  "set bl_options.stack_size or BELAY_STACK",
                  bl__rt.stack_size / 1024);
    if (__builtin_expect(load_relaxed(&bl__rt.no_stack_waiting) != 0, 0)) {
        hand_over(g);
        return;
    }
    bl__san_stack_free((char *)g->stack_lo + sizeof(uint64_t), g->stack_hi);
#if BL__RACE
    list_push(&p->used_stacks, g);
    if (++p->used_stacks_count < STACKS_USED)
        return;
    used_forget(p);
#else
    list_push(&p->free_stacks, g);
    p->free_stacks_count++;
#endif
    if (__builtin_expect(p->free_stacks_count >= BL__STACK_CACHE, 0))
        spill(p);
}

/* The end of a run: unmaps all stacks, unless some still belong to goroutines. */
void bl__stack_fini(bool keep)
{
    for (uint32_t i = 0; !keep && i < load_relaxed(&bl__rt.ps_made); i++)
        used_forget(bl__rt.ps[i]); /* other stacks will lie there */
    while (bl__rt.arenas != NULL) {
        bl__arena *a = bl__rt.arenas;
        bl__rt.arenas = a->next;
        if (!keep) {
            bl__san_stack_reuse(a->base, a->base + a->used * mem.slot);
            arena_unmap(a->base, a->bytes);
        }
        bl__free(a);
    }
    bl__rt.free_stacks = NULL;
    bl__rt.free_stacks_count = 0;
    if (keep)
        return;
    mem.guards = 0; /* the next run has all its mappings before it */
    if (mem.guard == GUARD_NONE)
        mem.guard = GUARD_MPROTECT;
}

void bl__each_arena(void (*fn)(const void *low, const void *high, void *arg), void *arg)
{
    for (bl__arena *a = load_acquire(&bl__rt.arenas); a != NULL; a = a->next) /* ORD(arena) */
        fn(a->base, a->base + a->bytes, arg);
}

/* A crowd's records are cold. */
static void record_prefetch(const bl__arena *a, size_t i, size_t used)
{
    if (i >= used)
        return;
    const char *g = (const char *)bl__slot_record(a->base + i * mem.slot, i);
    for (size_t at = 0; at < sizeof(bl__g); at += BL__CACHE_LINE)
        __builtin_prefetch(g + at);
}

void bl__each_stack(void (*fn)(const bl__g *g, void *arg), void *arg)
{
    for (bl__arena *a = load_acquire(&bl__rt.arenas); a != NULL; a = a->next) { /* ORD(arena) */
        size_t used = load_acquire(&a->used);
        for (size_t i = 0; i < used; i++) {
            bl__g *g = bl__slot_record(a->base + i * mem.slot, i);
            record_prefetch(a, i + AHEAD, used);
            if (load_relaxed(&g->task.status) != BL__G_DEAD)
                fn(g, arg);
        }
    }
}

#if BL__ASAN
/*
 * LeakSanitizer looks when the process exits, and knows the stacks that threads run on. What the
 * others hold, of goroutines that have not ended by then, has not leaked either: one of them has
 * called exit, or they were left behind, which is told. So it is shown a copy of them. Meanwhile
 * other threads go on with the goroutine that each has, and not to another: what is on a stack that
 * a thread was to leave after the copy would be in neither.
 *
 * Rejected: __lsan_register_root_region for each, for which it reads /proc/self/maps each time, and
 * has all pages of the stack made: 3 s for 10,000 goroutines. Not for an arena, which has guards.
 */
enum { LSAN_TAKES = 5, LSAN_PAUSE = 100, LSAN_PAUSES = 20000 }; /* seconds; microseconds */

static const void **lsan_copies; /* each begins with the next */
static uint32_t lsan_exits;      /* atomic: the thread that exits, or 0 */

/* Before a switch. Not for ever: destructors come later, and may wait for one of those. */
void bl__lsan_switch_begin(void)
{
    add_relaxed(&lsan_switching, 1u);
    fence_seq_cst(); /* ORD(lsan): either it sees that the process exits, or that is waited for */
    uint32_t exits = load_relaxed(&lsan_exits);
    if (exits == 0 || exits == (uint32_t)gettid())
        return;
    bl__lsan_switch_end();
    (void)sleep(LSAN_TAKES);
    add_relaxed(&lsan_switching, 1u);
}

void bl__lsan_switch_end(void) { add_release(&lsan_switching, -1u); /* ORD(lsan-switch) */ }

__attribute__((no_sanitize("address"))) static void lsan_copy(const bl__g *g, void *arg)
{
    const void *const volatile *from = g->sp; /* so that this is no memcpy, which is checked */
    (void)arg;
    if (from == NULL)
        return;
    size_t n = (size_t)((const void *const volatile *)(g + 1) - from);
    const void **copy = malloc((n + 1) * sizeof *copy);
    if (copy == NULL)
        return;
    copy[0] = lsan_copies;
    for (size_t i = 0; i < n; i++)
        copy[i + 1] = from[i];
    lsan_copies = copy;
}

static void lsan_copy_all(void)
{
    if (load_relaxed(&bl__rt.threads) != 0) {
        store_relaxed(&lsan_exits, (uint32_t)gettid());
        fence_seq_cst(); /* ORD(lsan) */
        /* ORD(lsan-switch): what was left is seen in its record */
        for (int i = 0; i < LSAN_PAUSES && load_acquire(&lsan_switching) != 0; i++)
            (void)usleep(LSAN_PAUSE);
    }
    bl__each_goroutine(lsan_copy, NULL);
}

/* After LeakSanitizer's own, which is called last then. */
static __attribute__((constructor)) void lsan_begin(void) { atexit(lsan_copy_all); }
#endif
