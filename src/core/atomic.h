/* SPDX-License-Identifier: MIT */
/*
 * atomic.h: the only way this library touches memory that threads share.
 *
 * The operations take plain-typed fields (the public header has to compile as C++), and are named
 * by their ordering. Each use that is not relaxed names its partner in a comment "ORD(tag): …", and
 * scripts/check-ord checks that every tag has two sides.
 */
#ifndef BL__CORE_ATOMIC_H
#define BL__CORE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#define BL__LIKELY(x) __builtin_expect(!!(x), 1)
#define BL__UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Before a return: it stays in line, and is not shared with another by a jump. */
#define BL__RETURN_HERE() __asm__ volatile("" : : "i"(__LINE__))

/* 0, in a register: shorter to store than as a part of the instruction, the more so twice. */
static inline __attribute__((always_inline)) uintptr_t bl__zero(void)
{
    uintptr_t zero = 0;
#if defined(__x86_64__)
    __asm__("" : "+r"(zero));
#endif
    return zero;
}

#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define load_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define store_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define swap_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED) /* the value before */
#define add_acquire(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQUIRE)
#define add_release(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELEASE)
#define add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define add_seq_cst(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define or_acq_rel(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
#define and_acq_rel(p, v) __atomic_fetch_and((p), (v), __ATOMIC_ACQ_REL)

/* One more, by the only thread that writes *p: a load and a store in one instruction, of which gcc
 * makes three. */
static inline void count_relaxed(uint32_t *p)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    __asm__("addl $1, %0" : "+m"(*p) : : "cc");
#else
    store_relaxed(p, load_relaxed(p) + 1);
#endif
}

/* Compare and swap; *expected gets what was there when it fails. */
#define cas_relaxed(p, expected, v)                                                                \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)
#define cas_acquire(p, expected, v)                                                                \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define cas_release(p, expected, v)                                                                \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)
#define cas_acq_rel(p, expected, v)                                                                \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#define cas_seq_cst(p, expected, v)                                                                \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

#if defined(__SANITIZE_THREAD__) /* which does not see fences */
#define fence_seq_cst()                                                                            \
    do {                                                                                           \
        uint32_t fence_word = 0;                                                                   \
        __atomic_fetch_add(&fence_word, 1, __ATOMIC_SEQ_CST);                                      \
    } while (0)
#else
#define fence_seq_cst() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif
#define fence_compiler() __atomic_signal_fence(__ATOMIC_SEQ_CST)

#endif
