/* SPDX-License-Identifier: MIT */
/* The context switch for x86-64; see switch.h for the frame and for why which way out is which. */
#ifdef __x86_64__

#define MXCSR_CONTROL 0x7f80 /* of it: exception masks and rounding, as <fenv.h> sets them */
#define X87_MASKS 0x3f          /* exceptions; from bit 7 in MXCSR, in the same order */
#define X87_ROUNDING 0xc00      /* three bits further up in MXCSR */
#define X87_INITIAL 0x037f

    .macro save                 /* to the stack, and its pointer to (rdi); cx: control word */
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
    fnstcw 4(%rsp)
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    .endm

    .macro load at              /* the x87 control word at at+4(%rsp), and the same for SSE */
    fldcw \at+4(%rsp)
    stmxcsr \at(%rsp)
    movl \at(%rsp), %eax
    andl $~MXCSR_CONTROL, %eax
    movzwl \at+4(%rsp), %ecx
    movl %ecx, %edx
    andl $X87_MASKS, %edx
    shll $7, %edx
    orl %edx, %eax
    andl $X87_ROUNDING, %ecx
    shll $3, %ecx
    orl %ecx, %eax
    movl %eax, \at(%rsp)
    ldmxcsr \at(%rsp)
    .endm

    .text
    .globl bl__switch
    .hidden bl__switch
    .type bl__switch, @function
    .p2align 5
bl__switch:                     /* rdi: where to save, rsi: what to load */
    .cfi_startproc
    save
    movq %rsi, %rsp             /* the same frame, another goroutine's: the CFI holds on */
resume:
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
    load 0
    jmp 2b
    .cfi_endproc
    .size bl__switch, .-bl__switch

    .globl bl__switch_begin
    .hidden bl__switch_begin
    .type bl__switch_begin, @function
    .p2align 5
bl__switch_begin:               /* rdi: where to save, rsi: the top of a new stack */
    .cfi_startproc
    save
    movq %rsi, %rsp
    .cfi_undefined rip
    leaq outermost(%rip), %rdx
    pushq %rdx
    xorl %ebp, %ebp
    xorl %ebx, %ebx             /* else the new stack keeps addresses of the old one (debug/reach.h) */
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
    cmpl $X87_INITIAL, %ecx
    jne 1f
2:  jmp bl__goroutine_main
1:  movl $X87_INITIAL, -4(%rsp)
    load -8
    jmp 2b
    .cfi_endproc
    .size bl__switch_begin, .-bl__switch_begin

    .globl bl__switch_end
    .hidden bl__switch_end
    .type bl__switch_end, @function
    .p2align 4
bl__switch_end:                 /* rsi: what to load */
    .cfi_startproc
    .cfi_undefined rip
    fnstcw -4(%rsp)
    movzwl -4(%rsp), %ecx
    movq %rsi, %rsp
    jmp resume
    .cfi_endproc
    .size bl__switch_end, .-bl__switch_end

    .weak __x86_return_thunk    /* gcc's name for what BL__RETURN_BY_JUMP returns through */
    .hidden __x86_return_thunk
    .type __x86_return_thunk, @function
    .p2align 4
__x86_return_thunk:
    .cfi_startproc
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    notrack jmp *%rcx
    .cfi_endproc
    .size __x86_return_thunk, .-__x86_return_thunk

    .globl bl__entry
    .hidden bl__entry
    .type bl__entry, @function
    .p2align 4
bl__entry:                      /* where unwinders find that a goroutine's stack ends; never run */
    .cfi_startproc
    .cfi_undefined rip
    nop
outermost:
    ud2
    .cfi_endproc
    .size bl__entry, .-bl__entry

    /* where this file's code lies: own.h */
    .text
    .subsection 8191
code_end:
    .section bl__own, "ao", %progbits, .text
    .p2align 2
    .long .text - .
    .long code_end - .
#endif
    .section .note.GNU-stack, "", %progbits
