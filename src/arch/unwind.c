/* SPDX-License-Identifier: MIT */
/*
 * unwind.c: the frames described in unwind.h.
 *
 * The unwind information of bl__unwind_from is a handful of DWARF expressions: one callee-saved
 * register points to the bl__regs while fn runs, and every register, the stack pointer (as the
 * canonical frame address) and the program counter are found from it. It is marked as a signal frame,
 * since the program counter may be that of a faulting instruction and not a return address.
 */
#include "arch/unwind.h"

#include <ucontext.h>

#if defined(__x86_64__)

/* DW_CFA_expression n: breg3 (rbx) + 8 n; the second form for offsets that take two LEB bytes. */
#define SAVED(n) "    .cfi_escape 0x10, " #n ", 2, 0x73, 8*" #n "\n"
#define SAVED2(n) "    .cfi_escape 0x10, " #n ", 3, 0x73, (8*" #n " & 0x7f) | 0x80, 8*" #n " >> 7\n"

__asm__(".text\n"
        "    .globl bl__unwind_from\n"
        "    .hidden bl__unwind_from\n"
        "    .type bl__unwind_from, @function\n"
        "    .p2align 4\n"
        "bl__unwind_from:\n" /* rdi: regs, rsi: fn, rdx: arg */
        "    .cfi_startproc\n"
        "    .cfi_signal_frame\n"
        "    pushq %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset rbx, 0\n"
        "    movq %rdi, %rbx\n"
        "    movq %rdx, %rdi\n"
        "    .cfi_remember_state\n"
        "    .cfi_escape 0x0f, 3, 0x73, 8*7, 0x06\n" /* the frame address: *(rbx + 8*7), rsp */
        SAVED(0) SAVED(1) SAVED(2) SAVED(3) SAVED(4) SAVED(5) SAVED(6)
        SAVED2(8) SAVED2(9) SAVED2(10) SAVED2(11) SAVED2(12) SAVED2(13) SAVED2(14) SAVED2(15)
        SAVED2(16)
        "    call *%rsi\n"
        "    .cfi_restore_state\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore rbx\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size bl__unwind_from, .-bl__unwind_from\n"

        "    .globl bl__stack_call\n"
        "    .hidden bl__stack_call\n"
        "    .type bl__stack_call, @function\n"
        "    .p2align 4\n"
        "bl__stack_call:\n" /* rdi: top, rsi: fn, rdx: arg */
        "    .cfi_startproc\n"
        "    pushq %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset rbp, -16\n"
        "    movq %rsp, %rbp\n"
        "    .cfi_def_cfa_register rbp\n"
        "    movq %rdi, %rsp\n"
        "    movq %rdx, %rdi\n"
        "    call *%rsi\n"
        "    movq %rbp, %rsp\n"
        "    popq %rbp\n"
        "    .cfi_def_cfa rsp, 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size bl__stack_call, .-bl__stack_call\n");

void bl__regs_signal(bl__regs *regs, const void *ucontext)
{
    const greg_t *g = ((const ucontext_t *)ucontext)->uc_mcontext.gregs;
    static const int order[BL__REGS] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                        REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                        REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    for (unsigned i = 0; i < BL__REGS; i++)
        regs->r[i] = (uintptr_t)g[order[i]];
}

#elif defined(__aarch64__)

/* DW_CFA_expression n: breg19 + 8 n; x16 and up need offsets of two LEB bytes. The program counter
 * has the column 96, which the unwinder keeps for frames where the link register is live. */
#define SAVED_AS(n, at)                                                                            \
    "    .cfi_escape 0x10, " #n ", 3, 0x83, (8*" #at " & 0x7f) | 0x80, 8*" #at " >> 7\n"
#define SAVED(n) SAVED_AS(n, n)

__asm__(".text\n"
        "    .globl bl__unwind_from\n"
        "    .hidden bl__unwind_from\n"
        "    .type bl__unwind_from, %function\n"
        "    .p2align 4\n"
        "bl__unwind_from:\n" /* x0: regs, x1: fn, x2: arg */
        "    .cfi_startproc\n"
        "    .cfi_signal_frame\n"
        "    .cfi_return_column 96\n"
        "    stp x29, x30, [sp, #-32]!\n"
        "    str x19, [sp, #16]\n"
        "    mov x29, sp\n"
        "    mov x19, x0\n"
        "    mov x0, x2\n"
        "    .cfi_escape 0x0f, 4, 0x83, (8*31 & 0x7f) | 0x80, 8*31 >> 7, 0x06\n"
        SAVED(0) SAVED(1) SAVED(2) SAVED(3) SAVED(4) SAVED(5) SAVED(6) SAVED(7) SAVED(8) SAVED(9)
        SAVED(10) SAVED(11) SAVED(12) SAVED(13) SAVED(14) SAVED(15) SAVED(16) SAVED(17) SAVED(18)
        SAVED(19) SAVED(20) SAVED(21) SAVED(22) SAVED(23) SAVED(24) SAVED(25) SAVED(26) SAVED(27)
        SAVED(28) SAVED(29) SAVED(30) SAVED_AS(96, 32)
        "    blr x1\n"
        "    ldr x19, [sp, #16]\n"
        "    ldp x29, x30, [sp], #32\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size bl__unwind_from, .-bl__unwind_from\n"

        "    .globl bl__stack_call\n"
        "    .hidden bl__stack_call\n"
        "    .type bl__stack_call, %function\n"
        "    .p2align 4\n"
        "bl__stack_call:\n" /* x0: top, x1: fn, x2: arg */
        "    .cfi_startproc\n"
        "    stp x29, x30, [sp, #-16]!\n"
        "    mov x29, sp\n"
        "    .cfi_def_cfa x29, 16\n"
        "    .cfi_offset x29, -16\n"
        "    .cfi_offset x30, -8\n"
        "    mov sp, x0\n"
        "    mov x0, x2\n"
        "    blr x1\n"
        "    mov sp, x29\n"
        "    ldp x29, x30, [sp], #16\n"
        "    .cfi_def_cfa sp, 0\n"
        "    .cfi_restore x29\n"
        "    .cfi_restore x30\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size bl__stack_call, .-bl__stack_call\n");

void bl__regs_signal(bl__regs *regs, const void *ucontext)
{
    const mcontext_t *m = &((const ucontext_t *)ucontext)->uc_mcontext;
    for (unsigned i = 0; i < 31; i++)
        regs->r[i] = (uintptr_t)m->regs[i];
    regs->r[BL__REG_SP] = (uintptr_t)m->sp;
    regs->r[BL__REG_PC] = (uintptr_t)m->pc;
}

#endif
