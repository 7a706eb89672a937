/* SPDX-License-Identifier: MIT */
/*
 * tls.h: the one thread-local variable, the address of this thread's bl__m. (The build for `-race`
 * has another, in os/race_map.c.)
 *
 * A goroutine can go on on another thread after any switch, and compilers keep the address of a
 * thread-local across calls. So it is read by assembly that computes the address each time, with
 * the initial-exec model, which also serves a shared library. On a thread that
 * never called in it is bl__nobody's: whoever looks there for what it needs first, a processor,
 * does not find it.
 */
#ifndef BL__ARCH_TLS_H
#define BL__ARCH_TLS_H

extern __thread void *bl__tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

#if defined(__x86_64__)
static inline void *bl__tls_get(void)
{
    void *m;
    __asm__ volatile("movq bl__tls@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=&r"(m));
    return m;
}
#elif defined(__aarch64__)
static inline void *bl__tls_get(void)
{
    void *m;
    void *offset;
    __asm__ volatile("adrp %1, :gottprel:bl__tls\n\t"
                     "ldr %1, [%1, :gottprel_lo12:bl__tls]\n\t"
                     "mrs %0, tpidr_el0\n\t"
                     "ldr %0, [%0, %1]"
                     : "=&r"(m), "=&r"(offset));
    return m;
}
#else
#error "belay runs on x86-64 and aarch64"
#endif

/* Only by a thread for itself, never around a switch. The compiler does not know that bl__tls_get
 * reads the variable, so the store may not be put off. */
static inline void bl__tls_set(void *m)
{
    bl__tls = m;
    __asm__ volatile("" : : : "memory");
}

#endif
