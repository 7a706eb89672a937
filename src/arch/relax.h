/* SPDX-License-Identifier: MIT */
/* relax.h: the instruction that tells the processor that we are spinning. */
#ifndef BL__ARCH_RELAX_H
#define BL__ARCH_RELAX_H

static inline void bl__cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
