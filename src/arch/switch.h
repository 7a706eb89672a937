/* SPDX-License-Identifier: MIT */
/*
 * switch.h: the context switch (switch_x86_64.S, switch_aarch64.S).
 *
 * What a switched-off goroutine keeps on its stack, from its saved stack pointer upwards, is what
 * the System V ABI says a call preserves, no more:
 *
 *   x86-64, 64 bytes:   0 scratch, 4 x87 control word; 8 r15, r14, r13, r12, rbx, rbp; 56 return address
 *   aarch64, 176 bytes: 0 x19…x28; 80 x29, x30 (the return address); 96 d8…d15; 160 fpcr; 168 unused
 *
 * Rounding and the masks of exceptions go with the goroutine. They are loaded only where they
 * differ, because the loads serialise and goroutines seldom change them. On x86-64 the x87 control
 * word alone is saved and compared: what <fenv.h> sets, it sets there and in MXCSR alike, so MXCSR
 * follows from it, and to read MXCSR takes 5 ns on some processors, a third of a switch. The other
 * bits of MXCSR, flush to zero and denormals are zero, stay with the thread.
 *
 * The processor predicts returns with a stack of its own, which knows nothing of ours. It stays
 * right when every goroutine leaves and comes back through the same chain of calls, and when a
 * goroutine that is begun and ended in between leaves no trace:
 *   - bl__switch is reached through one call site, and returns by `ret`, for which the entry of the
 *     goroutine that left last serves;
 *   - a new goroutine is jumped to, which leaves that entry, and an ended one jumps into the return
 *     of the next, which uses it up.
 * With calls instead of the jumps, starting and joining a goroutine had five mispredicted returns.
 */
#ifndef BL__ARCH_SWITCH_H
#define BL__ARCH_SWITCH_H

#if defined(__x86_64__)
enum { BL__FRAME = 64 };
#else
enum { BL__FRAME = 176 };
#endif

/* Saves the caller's context on its stack, its stack pointer in *save, and goes on with the context
 * at to. Returns when somebody switches to *save. */
void bl__switch(void **save, void *to);

/* The same, but goes on with bl__goroutine_main on the stack that ends at top (16-byte aligned),
 * with the ABI's initial control words. */
void bl__switch_begin(void **save, void *top);

/* Goes on with the context at to, and leaves the caller's for good. */
__attribute__((noreturn)) static inline void bl__switch_leave(void *to)
{
#if defined(__x86_64__)
    __asm__ volatile("jmp bl__switch_end" : : "S"(to) : "memory");
#else
    register void *x1 __asm__("x1") = to;
    __asm__ volatile("b bl__switch_end" : : "r"(x1) : "memory");
#endif
    __builtin_unreachable();
}

/* For a function in which goroutines park and that is called from all over: it returns by an
 * indirect jump, which is predicted by where it went before. By `ret` it would be predicted to
 * return to who called it last, which was another goroutine. (gcc; elsewhere it returns as
 * usual.) */
#if defined(__x86_64__) && !defined(__clang__) && !defined(__code_model_large__)
#define BL__RETURN_BY_JUMP __attribute__((function_return("thunk-extern")))
#else
#define BL__RETURN_BY_JUMP
#endif

/* The caller of every goroutine's outermost frame, for unwinders. */
void bl__entry(void);

#endif
