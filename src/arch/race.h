/* SPDX-License-Identifier: MIT */
/*
 * race.h: what ThreadSanitizer is told in the build for `-race`, libbelay_race.a. Empty in all
 * others.
 *
 * In that build the library is not instrumented: its locks, queues and futexes are unknown to
 * ThreadSanitizer and order nothing. The user's program is, and every goroutine is a fiber,
 * switched to without an edge. What orders a program is said here, at the place of each edge of the
 * memory model:
 *
 *   bl__race_release(key)     what the caller did so far, to all who acquire key from now on (merged)
 *   bl__race_acquire(key)     the other side
 *   bl__race_store(byte)      release that replaces what was there: exact
 *   bl__race_use(object)      the object is changed, atomically: plain accesses to it, and copying it, are races
 *   bl__race_read/write(p,n)  the user's memory is accessed for the calling goroutine
 *   BL__RACE_FRAME()          first in a public function: reports name it, and the place of its call
 *
 * A key is an address that is not looked at; it lies in memory that the object owns, so that it
 * does not stand for two things at once.
 *
 * What ThreadSanitizer intercepts of libc and would see the library do (memcpy, malloc, read, …)
 * goes by other ways in this build: see race_libc.c.
 */
#ifndef BL__ARCH_RACE_H
#define BL__ARCH_RACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef BL__RACE
#define BL__RACE 0
#endif

#if BL__RACE

struct bl__site;

void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);
void __tsan_read1(void *addr);
void __tsan_read2(void *addr);
void __tsan_read4(void *addr);
void __tsan_read8(void *addr);
void __tsan_write1(void *addr);
void __tsan_write2(void *addr);
void __tsan_write4(void *addr);
void __tsan_write8(void *addr);
void __tsan_read_range(void *addr, unsigned long size);
void __tsan_write_range(void *addr, unsigned long size);
void __tsan_atomic8_store(volatile uint8_t *a, uint8_t v, int order);
uint8_t __tsan_atomic8_fetch_or(volatile uint8_t *a, uint8_t v, int order);
void *__tsan_get_current_fiber(void);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);

enum { BL__RACE_NO_SYNC = 1 };

#define bl__race_acquire(key) __tsan_acquire((void *)(uintptr_t)(key))
#define bl__race_release(key) __tsan_release((void *)(uintptr_t)(key))

/* What Go's ThreadSanitizer exports and those of clang and gcc have inside, where a program links
 * them statically (else NULL): a release that replaces what was there, alone and together with an
 * acquire of that, in one call where the C interface takes two. */
__attribute__((weak)) void bl__tsan_release_store(
    void *fiber, uintptr_t pc,
    uintptr_t addr) __asm__("_ZN6__tsan12ReleaseStoreEPNS_11ThreadStateEmm");
__attribute__((weak)) void bl__tsan_exchange(void *fiber, uintptr_t pc, uintptr_t addr) __asm__(
    "_ZN6__tsan19ReleaseStoreAcquireEPNS_11ThreadStateEmm");

static inline void bl__race_store(uint8_t *byte)
{
    if (bl__tsan_release_store != NULL)
        bl__tsan_release_store(__tsan_get_current_fiber(), 0, (uintptr_t)byte);
    else
        __tsan_atomic8_store(byte, 0, __ATOMIC_RELEASE);
}
#define bl__race_use(object)                                                                       \
    ((void)__tsan_atomic8_fetch_or((volatile uint8_t *)(object), 0, __ATOMIC_RELAXED))

/* What does not fill words of 8 bytes the old runtime's ranges take byte by byte, and it keeps the
 * last four accesses to a word: of an int it would know one. All of it lies in the caller's frame,
 * which reports name. */
static inline __attribute__((always_inline)) void bl__race_access(void *p, size_t n, bool write)
{
    for (char *at = p; p != NULL && n > 0;) {
        size_t part = 1;
        while (part < 4 && part * 2 <= n && (uintptr_t)at % (part * 2) == 0)
            part *= 2;
        if (part == 4 && n >= 8 && (uintptr_t)at % 8 == 0)
            part = n / 8 * 8;
        switch (part) {
        case 1: write ? __tsan_write1(at) : __tsan_read1(at); break;
        case 2: write ? __tsan_write2(at) : __tsan_read2(at); break;
        case 4: write ? __tsan_write4(at) : __tsan_read4(at); break;
        case 8: write ? __tsan_write8(at) : __tsan_read8(at); break;
        default: write ? __tsan_write_range(at, part) : __tsan_read_range(at, part);
        }
        at += part;
        n -= part;
    }
}

static inline __attribute__((always_inline)) void bl__race_read(const void *p, size_t n)
{
    if (n == 8 && (uintptr_t)p % 8 == 0 && p != NULL)
        __tsan_read8((void *)(uintptr_t)p);
    else
        bl__race_access((void *)(uintptr_t)p, n, false);
}

static inline __attribute__((always_inline)) void bl__race_write(void *p, size_t n)
{
    if (n == 8 && (uintptr_t)p % 8 == 0 && p != NULL)
        __tsan_write8(p);
    else
        bl__race_access(p, n, true);
}

static inline void bl__race_read_string(const char *s)
{
    if (s != NULL)
        bl__race_read(s, __builtin_strlen(s) + 1);
}

static inline void bl__race_frame_end(const char *frame)
{
    (void)frame;
    __tsan_func_exit();
}

#define BL__RACE_FRAME()                                                                           \
    __attribute__((cleanup(bl__race_frame_end))) const char bl__race_frame = 0;                    \
    __tsan_func_entry(__builtin_return_address(0))

/* What is done until bl__race_back is done by the goroutine or thread whose fiber that is, which is
 * parked, and claimed by the caller. */
static inline void *bl__race_as(void *fiber)
{
    void *own = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber, BL__RACE_NO_SYNC);
    return own;
}
static inline void bl__race_back(void *own) { __tsan_switch_to_fiber(own, BL__RACE_NO_SYNC); }

/* What the runtime does for nobody, since a time has come: by a fiber of its own, which comes after
 * what was released to key, and after nothing else. */
#define BL__RACE_NOBODY_BEGIN(key)                                                                 \
    void *bl__race_nobody = bl__race_fiber_new(0, true, NULL);                                     \
    void *bl__race_own = bl__race_as(bl__race_nobody);                                             \
    bl__race_acquire(key)
#define BL__RACE_NOBODY_END()                                                                      \
    bl__race_back(bl__race_own);                                                                   \
    bl__race_fiber_free(bl__race_nobody)

/* Two sides that meet again and again, in turns or each once: what either did before is seen by the
 * other, and replaces what it did the last time. A slot of a buffer (the k-th send orders the k-th
 * receive, which orders the (k + C)-th send), or a waiter and its waker. Each byte has a word:
 * ThreadSanitizer looks up words. */
typedef struct bl__race_pair {
    uint64_t
        side[2]; /* of which a byte is used; the first alone, if both go by bl__tsan_exchange */
} bl__race_pair;

static inline uint8_t *bl__race_side(bl__race_pair *pair, int side)
{
    return (uint8_t *)&pair->side[bl__tsan_exchange != NULL ? 0 : side];
}
static inline void bl__race_say(bl__race_pair *pair, int me)
{
    bl__race_store(bl__race_side(pair, me));
}
static inline void bl__race_hear(bl__race_pair *pair, int me)
{
    bl__race_acquire(bl__race_side(pair, !me));
}
static inline void bl__race_meet(bl__race_pair *pair, int me)
{
    if (bl__tsan_exchange != NULL) {
        bl__tsan_exchange(__tsan_get_current_fiber(), 0, (uintptr_t)pair);
        return;
    }
    bl__race_say(pair, me);
    bl__race_hear(pair, me);
}

/* Fibers. new: for goroutine id, ordered after the caller's past, or (alone) after nothing. A fiber
 * is not freed by itself. */
void *bl__race_fiber_new(uint64_t id, bool alone, const struct bl__site *site);
/* What reports know it by: goroutine id of owner (0: nobody's), asked for at site (NULL: where the
 * fiber was made). */
void bl__race_fiber_name(void *fiber, uint64_t id, uint64_t owner, const struct bl__site *site);
void bl__race_fiber_free(void *fiber);
/* ThreadSanitizer's own, without a name: os/race_map.c. */
void *bl__race_fiber_make(void);
void bl__race_fiber_end(void *fiber);

/* Address space for stacks, page-aligned; NULL: there is none left. */
void *bl__race_arena_new(size_t bytes);
void bl__race_arena_free(void *base, size_t bytes);
/* Nobody uses [lo, hi), pages of such an arena, any more: what was done there is forgotten. What
 * was not touched need not be. */
void bl__race_stack_forget(char *lo, char *hi);
/* The same of n stacks, at least one, which the call may make empty: if they are close together the
 * kernel is asked once. */
typedef struct bl__race_span {
    char *lo, *hi;
} bl__race_span;
void bl__race_stacks_forget(bl__race_span *spans, size_t n);
/* In the child of a fork. */
void bl__race_forked(void);
/* The same of memory that ThreadSanitizer may have written to, untouched as it is. */
void bl__race_forget(char *lo, char *hi);

/* A thread whose stack can be forgotten too: 0 or a negative error. Ended: it was joined. */
int bl__race_thread_start(pthread_t *out, void *(*fn)(void *), void *arg, char **stack);
void bl__race_thread_ended(char *stack);

/* close(2) of a descriptor of the program's, which ThreadSanitizer keeps a record of: whoever uses
 * it meanwhile is told, and races with nobody. */
int bl__race_close(int fd);

/* Data races reported so far. */
uint64_t bl__race_errors(void);
/* Sees to it that the linker takes debug/race.c, which ThreadSanitizer looks for. */
void bl__race_reports(void);

/* Of those behind the first `since` there is one that owner had a part in, or nobody who is
 * known. */
bool bl__race_met(uint64_t since, uint64_t owner);

/* A test begins: what was reported before is reported again. */
void bl__race_anew(void);

#else

#define bl__race_acquire(key) ((void)(key))
#define bl__race_release(key) ((void)(key))
#define bl__race_use(object) ((void)(object))
#define bl__race_read(p, n) ((void)(p), (void)(n))
#define bl__race_write(p, n) ((void)(p), (void)(n))
#define BL__RACE_FRAME() ((void)0)
#define BL__RACE_NOBODY_BEGIN(key) ((void)(key))
#define BL__RACE_NOBODY_END() ((void)0)

#define bl__race_read_string(s) ((void)(s))

static inline uint64_t bl__race_errors(void) { return 0; }
static inline bool bl__race_met(uint64_t since, uint64_t owner)
{
    return (void)since, (void)owner, false;
}
static inline void bl__race_anew(void) {}

#endif
#endif
