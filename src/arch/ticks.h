/* SPDX-License-Identifier: MIT */
/*
 * ticks.h: the processor's counter of time: the cheapest clock there is, and the same on all CPUs.
 * About a nanosecond a tick, or tens of them on some aarch64. Not ordered with the instructions
 * around it.
 */
#ifndef BL__ARCH_TICKS_H
#define BL__ARCH_TICKS_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>

static inline uint64_t bl__ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return ((uint64_t)high << 32 | low) >> 1;
}

/* It goes on at one rate, whatever the CPU does. */
static inline bool bl__ticks_steady(void)
{
    uint32_t a, b, c, d = 0;
    return __get_cpuid(0x80000007u, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
}
#else
static inline uint64_t bl__ticks(void)
{
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
}

static inline bool bl__ticks_steady(void) { return true; }
#endif

#endif
