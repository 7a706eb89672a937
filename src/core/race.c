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
 * So all stacks lie in one reservation, which is declared to be such a heap.
 */
#include "arch/race.h"

#if BL__RACE

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/sched.h"
#include "os/os.h"

enum { FIBERS_OLD = 8000, PAGE = 4096, PAGES_SEEN = 256, THREAD_STACK_MOST = 64 << 20 };
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

void bl__race_fiber_name(void *fiber, uint64_t id, uint64_t owner)
{
    char name[64]; /* ThreadSanitizer keeps as much */
    char *end = name_put(name, "goroutine ", id);
    if (owner != 0)
        (void)name_put(end, " of ", owner);
    __tsan_set_fiber_name(fiber, name);
}

uint64_t (*bl__race_owner)(const bl__g *g);

void bl__race_begin(bl__g *g)
{
    g->race_owner = bl__race_owner != NULL ? bl__race_owner(g) : 0;
    if (g->race_owner != 0)
        bl__race_fiber_name(g->fiber, g->id, g->race_owner);
}

void *bl__race_fiber_new(uint64_t id, bool alone)
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
    bl__race_fiber_name(fiber, id, 0);
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

/* What was not touched is not resident, and need not be forgotten. */
void bl__race_stack_forget(char *lo, char *hi)
{
    unsigned char seen[PAGES_SEEN];
    lo = (char *)((uintptr_t)lo / PAGE * PAGE);
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

#else
typedef int bl__race_is_off; /* a file is not empty */
#endif
