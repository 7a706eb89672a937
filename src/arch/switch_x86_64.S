/* SPDX-License-Identifier: MIT */
/* The context switch for x86-64; see switch.h for the frame. */
#ifdef __x86_64__
    .text
    .globl bl__switch
    .hidden bl__switch
    .type bl__switch, @function
    .p2align 5
bl__switch:                     /* rdi: where to save, rsi: what to load */
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    movq %rsi, %rsp             /* the same frame, another goroutine's: the CFI holds on */
    cmpl (%rsp), %eax
    jne 1f
    cmpw 4(%rsp), %cx
    jne 1f
2:  addq $8, %rsp
    .cfi_remember_state
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    ret
1:  .cfi_restore_state
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    jmp 2b
    .cfi_endproc
    .size bl__switch, .-bl__switch

    .globl bl__entry
    .hidden bl__entry
    .type bl__entry, @function
    .p2align 4
bl__entry:
    .cfi_startproc
    .cfi_undefined rip
    xorl %ebp, %ebp
    call bl__goroutine_main
    ud2
    .cfi_endproc
    .size bl__entry, .-bl__entry
#endif
    .section .note.GNU-stack, "", %progbits
