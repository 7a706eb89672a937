/* SPDX-License-Identifier: MIT */
/*
 * switch.h: the context switch (switch_x86_64.S, switch_aarch64.S).
 *
 * What a switched-off goroutine keeps on its stack, from its saved stack pointer upwards, is what
 * the System V ABI says a call preserves, no more:
 *
 *   x86-64, 64 bytes:   0 mxcsr, 4 x87 control word; 8 r15, r14, r13, r12, rbx, rbp; 56 return address
 *   aarch64, 176 bytes: 0 x19…x28; 80 x29, x30 (the return address); 96 d8…d15; 160 fpcr; 168 unused
 *
 * The MXCSR status flags travel with the control bits. Control words are loaded only where they
 * differ, because the loads serialise and goroutines seldom change them.
 *
 * The switch is one function that returns by `ret`, reached through one call site for parking: the
 * processor's return stack then predicts the resumed goroutine's return right, since that goroutine
 * left through the same call. A jump would leave the return stack one entry off for good.
 */
#ifndef BL__ARCH_SWITCH_H
#define BL__ARCH_SWITCH_H

#include <stdint.h>
#include <string.h>

/* Saves the caller's context on its stack, its stack pointer in *save, and goes on with the context
 * at to. Returns when somebody switches to *save. */
void bl__switch(void **save, void *to);

/* Where a new goroutine begins: calls bl__goroutine_main, which never returns. The outermost frame. */
void bl__entry(void);

#if defined(__x86_64__)
enum { BL__FRAME = 64, BL__FRAME_RETURN = 56 };
#else
enum { BL__FRAME = 176, BL__FRAME_RETURN = 88 };
#endif

/* The stack pointer of a context that begins in bl__entry on the stack that ends at top (16-byte
 * aligned). */
static inline void *bl__context_new(void *top)
{
    char *sp = (char *)top - 16 - BL__FRAME;
    void *entry = (void *)(uintptr_t)&bl__entry;
    memset(sp, 0, BL__FRAME + 16);
#if defined(__x86_64__)
    uint32_t control[2] = {0x1f80, 0x037f}; /* the ABI's initial MXCSR and x87 control word */
    memcpy(sp, control, sizeof control);
#endif
    memcpy(sp + BL__FRAME_RETURN, &entry, sizeof entry);
    return sp;
}

#endif
