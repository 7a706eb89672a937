/* SPDX-License-Identifier: MIT */
/*
 * unwind.h: lets the unwinder of the C runtime start anywhere: in registers that were saved.
 *
 * bl__unwind_from(regs, fn, arg) calls fn(arg) in a frame whose unwind information says that its
 * caller is the code with these registers. What fn unwinds (_Unwind_Backtrace) thus goes from fn
 * straight on into it. No stack but the caller's own is written to.
 *
 * bl__stack_call(top, fn, arg) calls fn(arg) on the stack that ends at top (16-byte aligned), and
 * returns when it has; unwinding from fn comes back to the caller.
 */
#ifndef BL__ARCH_UNWIND_H
#define BL__ARCH_UNWIND_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arch/switch.h"

/* Indexed by DWARF's register numbers; the last one is the program counter. */
#if defined(__x86_64__)
enum { BL__REG_FP = 6, BL__REG_SP = 7, BL__REG_PC = 16, BL__REGS = 17 };
#else
enum { BL__REG_FP = 29, BL__REG_LR = 30, BL__REG_SP = 31, BL__REG_PC = 32, BL__REGS = 33 };
#endif

typedef struct bl__regs {
    uintptr_t r[BL__REGS];
} bl__regs;

void bl__unwind_from(const bl__regs *regs, void (*fn)(void *arg), void *arg);
void bl__stack_call(void *top, void (*fn)(void *arg), void *arg);

/* The registers of a goroutine that is switched off, from frame, a copy of the BL__FRAME bytes at
 * its saved stack pointer sp. */
static inline void bl__regs_parked(bl__regs *regs, const char *frame, uintptr_t sp)
{
    memset(regs, 0, sizeof *regs);
#if defined(__x86_64__)
    static const uint8_t order[] = {15, 14, 13, 12, 3, BL__REG_FP, BL__REG_PC};
    for (size_t i = 0; i < sizeof order; i++)
        memcpy(&regs->r[order[i]], frame + 8 + 8 * i, 8);
#else
    memcpy(&regs->r[19], frame, 12 * 8);
    regs->r[BL__REG_PC] = regs->r[BL__REG_LR];
#endif
    regs->r[BL__REG_SP] = sp + BL__FRAME;
}

#if defined(__aarch64__)
/* A return address without its signature: xpaclri, which does nothing where there are none. */
static inline uintptr_t bl__address_unsigned(uintptr_t address)
{
    register uintptr_t x30 __asm__("x30") = address;
    __asm__("hint #7" : "+r"(x30));
    return x30;
}
#endif

/* The registers in a signal handler's third argument. */
void bl__regs_signal(bl__regs *regs, const void *ucontext);

#endif
