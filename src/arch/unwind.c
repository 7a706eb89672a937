/* SPDX-License-Identifier: MIT */
/*
 * unwind.c: the frames described in unwind.h.
 *
 * The unwind information of bl__unwind_from is a handful of DWARF expressions: one callee-saved
 * register points to the bl__regs while fn runs, and every register, the stack pointer (as the
 * canonical frame address) and the program counter are found from it. It is marked as a signal
 * frame, since the program counter may be that of a faulting instruction and not a return address.
 */
#include "arch/unwind.h"

#include <ucontext.h>

#if defined(__x86_64__)

/* Each register n is at *(rbx + 8 n): DW_CFA_expression n, DW_OP_breg3; the offset is one byte of
 * LEB128 up to 63, two beyond. The frame address, rsp, is register 7: DW_CFA_def_cfa_expression. */
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
        "    .cfi_escape 0x0f, 3, 0x73, 8*7, 0x06\n"
        "    .irp n, 0, 1, 2, 3, 4, 5, 6\n"
        "    .cfi_escape 0x10, \\n, 2, 0x73, 8*\\n\n"
        "    .endr\n"
        "    .irp n, 8, 9, 10, 11, 12, 13, 14, 15, 16\n"
        "    .cfi_escape 0x10, \\n, 3, 0x73, (8*\\n & 0x7f) | 0x80, 8*\\n >> 7\n"
        "    .endr\n"
        "    call *%rsi\n"
        "    .cfi_restore_state\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore rbx\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size bl__unwind_from, .-bl__unwind_from\n");

__asm__(".text\n"
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

/* As above with x19 (DW_OP_breg19) for rbx; all offsets in two bytes. The program counter has the
 * column 96, which the unwinder keeps for frames in which the link register is live. Both begin
 * with `bti c`, as what is compiled with -mbranch-protection has to; elsewhere it does nothing. */
__asm__(".text\n"
        "    .globl bl__unwind_from\n"
        "    .hidden bl__unwind_from\n"
        "    .type bl__unwind_from, %function\n"
        "    .p2align 4\n"
        "bl__unwind_from:\n" /* x0: regs, x1: fn, x2: arg */
        "    .cfi_startproc\n"
        "    .cfi_signal_frame\n"
        "    .cfi_return_column 96\n"
        "    hint #34\n"
        "    stp x29, x30, [sp, #-32]!\n"
        "    str x19, [sp, #16]\n"
        "    mov x29, sp\n"
        "    mov x19, x0\n"
        "    mov x0, x2\n"
        "    .cfi_escape 0x0f, 4, 0x83, (8*31 & 0x7f) | 0x80, 8*31 >> 7, 0x06\n"
        "    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21\n"
        "    .cfi_escape 0x10, \\n, 3, 0x83, (8*\\n & 0x7f) | 0x80, 8*\\n >> 7\n"
        "    .endr\n"
        "    .irp n, 22, 23, 24, 25, 26, 27, 28, 29, 30\n"
        "    .cfi_escape 0x10, \\n, 3, 0x83, (8*\\n & 0x7f) | 0x80, 8*\\n >> 7\n"
        "    .endr\n"
        "    .cfi_escape 0x10, 96, 3, 0x83, (8*32 & 0x7f) | 0x80, 8*32 >> 7\n"
        "    blr x1\n"
        "    ldr x19, [sp, #16]\n"
        "    ldp x29, x30, [sp], #32\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size bl__unwind_from, .-bl__unwind_from\n");

__asm__(".text\n"
        "    .globl bl__stack_call\n"
        "    .hidden bl__stack_call\n"
        "    .type bl__stack_call, %function\n"
        "    .p2align 4\n"
        "bl__stack_call:\n" /* x0: top, x1: fn, x2: arg */
        "    .cfi_startproc\n"
        "    hint #34\n"
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
