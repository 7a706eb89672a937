/* SPDX-License-Identifier: MIT */
/*
 * sanitize.h: what AddressSanitizer, ThreadSanitizer and valgrind have to be told of a switch. All
 * of it is empty in an ordinary build, but valgrind's, which is a few instructions when a stack is
 * made.
 *
 * ASan: start_switch_fiber before leaving a stack (NULL instead of the place to save when it ends),
 * finish_switch_fiber on the other; a free stack is poisoned, and unpoisoned before it is used
 * again. TSan: each goroutine is a fiber. The runtime is instrumented in this build, which is for
 * finding its own races between threads; so a switch orders what ran before it and after it on that
 * thread (flag 0), as the run queues' plain fields rely on it. Reports read the records of
 * goroutines that run on, and believe them only as far as that goes: their reads are not checked.
 * The build for `-race` is another (race.h): there a switch orders nothing.
 */
#ifndef BL__ARCH_SANITIZE_H
#define BL__ARCH_SANITIZE_H

#include <stddef.h>
#include <unistd.h>

#include "arch/race.h"

#if defined(__SANITIZE_ADDRESS__)
#define BL__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BL__ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define BL__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BL__TSAN 1
#endif
#endif
#ifndef BL__ASAN
#define BL__ASAN 0
#endif
#ifndef BL__TSAN
#define BL__TSAN 0
#endif

#if BL__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
void bl__lsan_switch_begin(void); /* stack.c */
void bl__lsan_switch_end(void);
#endif
#if BL__TSAN
#include <sanitizer/tsan_interface.h>
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define BL__VALGRIND 1
#endif
#endif

/* valgrind 3.19 knows neither process_madvise nor guards. */
static inline int bl__san_on_valgrind(void)
{
#ifdef BL__VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return 0;
#endif
}

/* In between the caller reads memory that may never have been written, of which valgrind says
 * nothing. */
static inline void bl__san_guess_begin(void)
{
#ifdef BL__VALGRIND
    VALGRIND_DISABLE_ERROR_REPORTING;
#endif
}

static inline void bl__san_guess_end(void)
{
#ifdef BL__VALGRIND
    VALGRIND_ENABLE_ERROR_REPORTING;
#endif
}

static inline void bl__san_stack_made(void *lo, void *hi)
{
#ifdef BL__VALGRIND
    (void)VALGRIND_STACK_REGISTER(lo, (char *)hi - 1);
#endif
    (void)lo;
    (void)hi;
}

/* The memory of stacks is to be used for something else: frames that nobody has left mark it
 * still. */
static inline void bl__san_stack_reuse(void *lo, void *hi)
{
#if BL__ASAN
    __asan_unpoison_memory_region(lo, (size_t)((char *)hi - (char *)lo));
#endif
    (void)lo;
    (void)hi;
}

/* Nobody's until it is used again: who has kept a pointer into it is told. */
static inline void bl__san_stack_free(void *lo, void *hi)
{
#if BL__ASAN
    __asan_poison_memory_region(lo, (size_t)((char *)hi - (char *)lo));
#endif
    (void)lo;
    (void)hi;
}

/* What reads the calling thread does from here to the end is not checked for races. */
static inline void bl__san_unchecked_begin(void)
{
#if BL__TSAN
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
#endif
}

static inline void bl__san_unchecked_end(void)
{
#if BL__TSAN
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

static inline void *bl__san_fiber_new(void)
{
#if BL__TSAN
    return __tsan_create_fiber(0);
#else
    return NULL;
#endif
}

static inline void *bl__san_fiber_current(void)
{
#if BL__TSAN || BL__RACE
    return __tsan_get_current_fiber();
#else
    return NULL;
#endif
}

static inline void bl__san_fiber_free(void *fiber)
{
#if BL__RACE
    bl__race_fiber_free(fiber);
#endif
#if BL__TSAN
    if (fiber != NULL)
        __tsan_destroy_fiber(fiber);
#endif
    (void)fiber;
}

/* Before the switch: to the stack [lo, hi) of a goroutine or thread with this fiber. */
static inline void bl__san_switch_start(void **save, void *fiber, void *lo, void *hi)
{
#if BL__ASAN
    bl__lsan_switch_begin();
    __sanitizer_start_switch_fiber(save, lo, (size_t)((char *)hi - (char *)lo));
#endif
#if BL__TSAN
    __tsan_switch_to_fiber(fiber, 0);
#endif
#if BL__RACE
    __tsan_switch_to_fiber(fiber, BL__RACE_NO_SYNC);
#endif
    (void)save;
    (void)fiber;
    (void)lo;
    (void)hi;
}

/* After it, on the new stack; saved as it was left at start, NULL on a new stack. */
static inline void bl__san_switch_finish(void *saved)
{
#if BL__ASAN
    __sanitizer_finish_switch_fiber(saved, NULL, NULL);
    bl__lsan_switch_end();
#endif
    (void)saved;
}

/* close(2) of a descriptor of the program's: who uses it meanwhile is told, and races with
 * nobody. */
static inline int bl__san_close(int fd)
{
#if BL__RACE
    return bl__race_close(fd);
#else
#if BL__TSAN
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
    int r = close(fd);
#if BL__TSAN
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
#endif
    return r;
#endif
}

#endif
