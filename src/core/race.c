/* SPDX-License-Identifier: MIT */
/*
 * race.c: fibers and stacks of the build for `-race` (race.h).
 *
 * A goroutine's fiber is made where it is started, so that reports show that place, and destroyed
 * when it has ended. The old runtime of ThreadSanitizer (gcc's) knows 8,128 at a time and kills the
 * process at one more; the new one (clang's) has no such limit. They are told apart by a function
 * that only the new one has.
 *
 * Stacks are used again by goroutines that nothing orders, so what was done there has to be
 * forgotten. ThreadSanitizer has one call for that: memory of a Java heap is freed and allocated.
 * So all stacks lie in one reservation, which is declared to be such a heap. What was not touched
 * is not in memory, and the kernel knows: to ask it (mincore) was 40 % of a goroutine's price. So
 * stacks that have been used are forgotten sixteen at a time (stack.c), and looked at together.
 */
#include "arch/race.h"

#if BL__RACE

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/sched.h"
#include "os/os.h"

enum { FIBERS_OLD = 8000, PAGE = 4096, PAGES_SEEN = 256, THREAD_STACK_MOST = 64 << 20 };
enum {
    SCAN_PRESENT = 1 << 3,
    SCAN_SWAPPED = 1 << 4,
    SCAN_ROOM = 64,
    SCAN_SPARSE = 4, /* stacks that take so small a part of where they lie are looked at alone */
    PAGEMAP_NONE = -1
};
#define RESERVED ((size_t)64 << 30)

void __tsan_set_fiber_name(void *fiber, const char *name);
void __tsan_java_init(uintptr_t begin, unsigned long size);
void __tsan_java_alloc(uintptr_t p, unsigned long size);
void __tsan_java_free(uintptr_t p, unsigned long size);
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);
__attribute__((weak)) void __tsan_on_thread_idle(void);
__attribute__((weak)) void __tsan_setjmp(void *sp);
/* The old runtime's; where that is linked statically it has the two above, too. */
__attribute__((weak)) void bl__tsan_trace_switch(void *fiber) __asm__(
    "_ZN6__tsan11TraceSwitchEPNS_11ThreadStateE");

static struct {
    char *base;      /* immutable once made */
    size_t used;     /* lock */
    char *threads;   /* lock: stacks of threads that have ended, linked by their first word */
    size_t thread;   /* lock: bytes of each, once there is one */
    uint32_t fibers; /* atomic: alive */
    uint32_t lock;
    int pagemap; /* atomic: a descriptor and 1, or PAGEMAP_NONE; 0: there was no need yet */
} race;

/* A word and a number; its end. */
static char *name_put(char *at, const char *word, uint64_t number)
{
    char digits[20];
    int n = 0;
    while (*word != '\0')
        *at++ = *word++;
    do
        digits[n++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    while (n > 0)
        *at++ = digits[--n];
    *at = '\0';
    return at;
}

void bl__race_fiber_name(void *fiber, uint64_t id, uint64_t owner, const bl__site *site)
{
    char name[96]; /* ThreadSanitizer keeps 63 bytes, more than there are in a program's life */
    char *end = name_put(name, "goroutine ", id);
    if (site != NULL)
        end = name_put(end, " at ", (uintptr_t)site);
    if (owner != 0)
        (void)name_put(end, " of ", owner);
    __tsan_set_fiber_name(fiber, name);
}

uint64_t (*bl__race_owner)(const bl__g *g);

void bl__race_begin(bl__g *g)
{
    g->race_owner = bl__race_owner != NULL ? bl__race_owner(g) : 0;
    if (g->race_owner != 0)
        bl__race_fiber_name(g->fiber, g->id, g->race_owner, g->site);
}

void *bl__race_fiber_new(uint64_t id, bool alone, const bl__site *site)
{
    bool old =
        bl__tsan_trace_switch != NULL || (__tsan_setjmp == NULL && __tsan_on_thread_idle == NULL);
    if (old && load_relaxed(&race.fibers) >= FIBERS_OLD)
        bl__fatal("belay: more than %d goroutines under the race detector: gcc's ThreadSanitizer "
                  "knows no more threads; build with clang, which has no such limit (CC=clang)",
                  FIBERS_OLD);
    add_relaxed(&race.fibers, 1u);
    if (alone)
        AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
    void *fiber = bl__race_fiber_make();
    if (alone)
        AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
    bl__race_fiber_name(fiber, id, 0, site);
    return fiber;
}

void bl__race_fiber_free(void *fiber)
{
    if (fiber == NULL)
        return;
    bl__race_fiber_end(fiber);
    add_relaxed(&race.fibers, (uint32_t)-1);
}

/* Under lock. */
static void *arena_take(size_t bytes)
{
    if (race.base == NULL) {
        void *p = mmap(NULL, RESERVED, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        race.base = p;
        bl__race_reports();
        __tsan_java_init((uintptr_t)p, RESERVED);
    }
    bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    if (bytes > RESERVED - race.used)
        return NULL;
    char *p = race.base + race.used;
    race.used += bytes;
    return p;
}

void *bl__race_arena_new(size_t bytes)
{
    bl__lock(&race.lock, BL__RANK_MAP);
    void *p = arena_take(bytes);
    bl__unlock(&race.lock);
    return p;
}

/* What is in it is given back. The last one that was made goes first, mostly. */
void bl__race_arena_free(void *base, size_t bytes)
{
    bl__lock(&race.lock, BL__RANK_MAP);
    mmap(base, bytes, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if ((char *)base + bytes == race.base + race.used)
        race.used -= bytes;
    bl__unlock(&race.lock);
}

/* Under lock: as large as any thread's, with a guard below. */
static char *thread_stack_make(void)
{
    if (race.thread == 0) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_getstacksize(&attr, &race.thread);
        pthread_attr_destroy(&attr);
        race.thread = race.thread < THREAD_STACK_MOST ? race.thread : THREAD_STACK_MOST;
    }
    char *p = arena_take(PAGE + race.thread);
    if (p == NULL)
        return NULL;
    (void)mprotect(p, PAGE, PROT_NONE);
    return p + PAGE;
}

int bl__race_thread_start(pthread_t *out, void *(*fn)(void *), void *arg, char **stack)
{
    pthread_attr_t attr;
    bl__lock(&race.lock, BL__RANK_MAP);
    char *p = race.threads;
    if (p != NULL)
        race.threads = *(char **)(void *)p;
    else
        p = thread_stack_make();
    bl__unlock(&race.lock);
    if (p == NULL)
        return BL_ENOMEM;
    *stack = p;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, p, race.thread);
    int err = bl__thread_create(out, &attr, fn, arg);
    pthread_attr_destroy(&attr);
    if (err != 0)
        bl__race_thread_ended(p);
    return err;
}

void bl__race_thread_ended(char *stack)
{
    bl__race_stack_forget(stack, stack + race.thread);
    bl__lock(&race.lock, BL__RANK_MAP);
    *(char **)(void *)stack = race.threads;
    race.threads = stack;
    bl__unlock(&race.lock);
}

void bl__race_forget(char *lo, char *hi)
{
    __tsan_java_free((uintptr_t)lo, (unsigned long)(hi - lo) / 8 * 8);
    __tsan_java_alloc((uintptr_t)lo, (unsigned long)(hi - lo) / 8 * 8);
}

/* ---- What was touched ---- */

/* What the kernel calls struct page_region and struct pm_scan_arg, from Linux 6.7 on. */
typedef struct scan_range {
    uint64_t lo, hi, kinds;
} scan_range;

typedef struct scan_arg {
    uint64_t size, flags, lo, hi, until, out, room, most, inverted, all_of, any_of, told;
} scan_arg;

#define SCAN _IOWR('f', 16, scan_arg)

/* A descriptor of /proc/self/pagemap; -1: there is none that can be asked. */
static int pagemap(void)
{
    int was = load_relaxed(&race.pagemap);
    if (was != 0)
        return was - 1;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (cas_relaxed(&race.pagemap, &was, fd < 0 ? PAGEMAP_NONE : fd + 1))
        return fd;
    if (fd >= 0)
        (void)syscall(SYS_close, fd);
    return was - 1;
}

/* The first `room` ranges of [*lo, hi) that were touched, whether they are swapped out by now or
 * not. How many; up to *lo there are no others. Negative: the kernel does not say. */
static long scan(char **lo, char *hi, scan_range *out, size_t room)
{
    scan_arg arg = {.size = sizeof arg,
                    .lo = (uintptr_t)*lo,
                    .hi = (uintptr_t)hi,
                    .out = (uintptr_t)out,
                    .room = room,
                    .any_of = SCAN_PRESENT | SCAN_SWAPPED,
                    .told = SCAN_PRESENT | SCAN_SWAPPED};
    int fd = pagemap();
    long n = fd < 0 ? -1 : syscall(SYS_ioctl, fd, SCAN, &arg);
    if (n < 0)
        store_relaxed(&race.pagemap, PAGEMAP_NONE);
    else
        *lo = (char *)(uintptr_t)arg.until;
    return n;
}

/* Forgets each of the n spans, which lie in [lo, hi), whole from where it was touched first: what was
 * not may have been said to be used, as a buffer that a write was given and did not look at. A span
 * that is done is empty then. False: it was not found out. */
static bool touched_forget(bl__race_span *spans, size_t n, char *lo, char *hi)
{
    scan_range at[SCAN_ROOM];
    while (lo < hi) {
        long found = scan(&lo, hi, at, SCAN_ROOM);
        if (found < 0)
            return false;
        for (size_t k = 0; k < n * (size_t)found; k++) {
            bl__race_span *s = &spans[k % n];
            char *from = (char *)(uintptr_t)at[k / n].lo;
            char *to = (char *)(uintptr_t)at[k / n].hi;
            from = from > s->lo ? from : s->lo;
            if (from < (to < s->hi ? to : s->hi)) {
                bl__race_forget(from, s->hi);
                s->hi = s->lo;
            }
        }
    }
    return true;
}

/* The same by any kernel, and of one. */
static void resident_forget(char *lo, char *hi)
{
    unsigned char seen[PAGES_SEEN];
    while (lo < hi) {
        size_t pages = (size_t)(hi - lo + PAGE - 1) / PAGE;
        pages = pages < PAGES_SEEN ? pages : PAGES_SEEN;
        if (syscall(SYS_mincore, lo, pages * PAGE, seen) != 0)
            break;
        size_t i = 0;
        while (i < pages && (seen[i] & 1) == 0)
            i++;
        lo += i * PAGE;
        if (i < pages)
            break;
    }
    if (lo < hi)
        bl__race_forget(lo, hi);
}

void bl__race_stack_forget(char *lo, char *hi)
{
    bl__race_span span = {(char *)((uintptr_t)lo / PAGE * PAGE), hi};
    if (!touched_forget(&span, 1, span.lo, hi))
        resident_forget(span.lo, hi);
}

void bl__race_stacks_forget(bl__race_span *spans, size_t n)
{
    char *lo = spans[0].lo, *hi = spans[0].hi;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += (size_t)(spans[i].hi - spans[i].lo);
        lo = spans[i].lo < lo ? spans[i].lo : lo;
        hi = spans[i].hi > hi ? spans[i].hi : hi;
    }
    if ((size_t)(hi - lo) / SCAN_SPARSE < bytes && touched_forget(spans, n, lo, hi))
        return;
    for (size_t i = 0; i < n; i++)
        bl__race_stack_forget(spans[i].lo, spans[i].hi);
}

/* The descriptor is of the parent's memory. It is not closed, as stack.c's pidfd. */
void bl__race_forked(void) { store_relaxed(&race.pagemap, 0); }

#else
typedef int bl__race_is_off; /* a file is not empty */
#endif
