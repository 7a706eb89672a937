/* SPDX-License-Identifier: MIT */
/*
 * race_map.c: the memory that ThreadSanitizer maps for a fiber, which was most of a fiber's price.
 *
 * `belay build` has the linker send calls of these five functions of the runtime here (--wrap),
 * where that is linked statically; else nobody calls them. clang's maps half a megabyte for a stack
 * of calls, advises the kernel on it, and unmaps it at the end: it is kept, as it is, for the next
 * fiber. gcc's maps 770 KiB and sets all of it to zero, which it is already, to use a few pages:
 * while a fiber is made, what was mapped for it is left alone.
 */
#include "arch/race.h"

#if BL__RACE

#include <string.h>

#include "core/atomic.h"

enum { CALLS = 512 << 10, CALLS_KEPT = 1024, ZEROES_LEAST = 32 << 10 };

#define WRAP(name) __asm__("__wrap__ZN11__sanitizer" name)
#define REAL(name) __asm__("__real__ZN11__sanitizer" name) __attribute__((weak))

void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);

/* clang's */
void *bl__real_map(size_t size, const char *what) REAL("18MmapNoReserveOrDieEmPKc");
void *bl__race_map(size_t size, const char *what) WRAP("18MmapNoReserveOrDieEmPKc");
void bl__real_unmap(void *p, size_t size) REAL("10UnmapOrDieEPvm");
void bl__race_unmap(void *p, size_t size) WRAP("10UnmapOrDieEPvm");
void bl__real_advise(uintptr_t p, uintptr_t size) REAL("27SetShadowRegionHugePageModeEmm");
void bl__race_advise(uintptr_t p, uintptr_t size) WRAP("27SetShadowRegionHugePageModeEmm");
/* gcc's */
void *bl__real_map_large(size_t size, const char *what) REAL("21MmapOrDieOnFatalErrorEmPKc");
void *bl__race_map_large(size_t size, const char *what) WRAP("21MmapOrDieOnFatalErrorEmPKc");
void *bl__real_set(void *p, int c, size_t size) REAL("15internal_memsetEPvim");
void *bl__race_set(void *p, int c, size_t size) WRAP("15internal_memsetEPvim");

static struct {
    void *first;   /* lock: linked by their first words */
    uint32_t n;    /* lock */
    uint32_t lock; /* only tried: any thread comes here, also from signal handlers */
} race_calls;

/* Never across a switch. */
static __thread struct {
    bool making, ending;
    char *lo, *hi; /* mapped meanwhile, and not written to but by who makes it */
    void *kept;    /* a stack of calls that it got, which was another's */
} race_fresh __attribute__((tls_model("initial-exec")));

static bool calls_try(void)
{
    return swap_acquire(&race_calls.lock, 1u) == 0; /* ORD(race-calls): with calls_done */
}

static void calls_done(void)
{
    store_release(&race_calls.lock, 0u); /* ORD(race-calls): with the next calls_try */
}

void *bl__race_map(size_t size, const char *what)
{
    void *p = NULL;
    if (size == CALLS && strcmp(what, "shadow stack") == 0 && calls_try()) {
        p = race_calls.first;
        if (p != NULL) {
            race_calls.first = *(void **)p;
            race_calls.n--;
        }
        calls_done();
        race_fresh.kept = p;
    }
    return p != NULL ? p : bl__real_map(size, what);
}

void bl__race_advise(uintptr_t p, uintptr_t size)
{
    if (size != CALLS || p != (uintptr_t)race_fresh.kept)
        bl__real_advise(p, size);
    race_fresh.kept = NULL;
}

void bl__race_unmap(void *p, size_t size)
{
    /* A block of the program's may be as big, and has ended with its free. */
    if (size == CALLS && race_fresh.ending && calls_try()) {
        bool keep = race_calls.n < CALLS_KEPT;
        if (keep) {
            *(void **)p = race_calls.first;
            race_calls.first = p;
            race_calls.n++;
        }
        calls_done();
        if (keep)
            return;
    }
    bl__real_unmap(p, size);
}

void *bl__race_map_large(size_t size, const char *what)
{
    char *p = bl__real_map_large(size, what);
    if (race_fresh.making && p != NULL) {
        race_fresh.lo = p;
        race_fresh.hi = p + size;
    }
    return p;
}

void *bl__race_set(void *p, int c, size_t size)
{
    char *at = p;
    if (size >= ZEROES_LEAST && c == 0 && race_fresh.making && at >= race_fresh.lo &&
        at + size <= race_fresh.hi)
        return p;
    return bl__real_set(p, c, size);
}

void *bl__race_fiber_make(void)
{
    race_fresh.making = true;
    void *fiber = __tsan_create_fiber(0);
    memset(&race_fresh, 0, sizeof race_fresh);
    return fiber;
}

void bl__race_fiber_end(void *fiber)
{
    race_fresh.ending = true;
    __tsan_destroy_fiber(fiber);
    race_fresh.ending = false;
}

#endif
