/* SPDX-License-Identifier: MIT */
/* The context switch for aarch64; see switch.h for the frame and for why which way out is which. */
#ifdef __aarch64__

/* Compiled with -mbranch-protection, a program is that only if every object says so of itself: this one
 * calls nobody's pointers, and lets a branch in where a linker's veneer may make one. */
#ifdef __ARM_FEATURE_BTI_DEFAULT
#define LANDING hint #34        /* bti c */
#define FEATURES 3              /* branch targets, signed return addresses */
#elif defined(__ARM_FEATURE_PAC_DEFAULT)
#define LANDING
#define FEATURES 2
#else
#define LANDING
#endif

    .macro save                 /* to the stack, and its pointer to [x0]; x9: fpcr */
    sub sp, sp, #176
    .cfi_def_cfa_offset 176
    stp x19, x20, [sp, #0]
    .cfi_offset x19, -176
    .cfi_offset x20, -168
    stp x21, x22, [sp, #16]
    .cfi_offset x21, -160
    .cfi_offset x22, -152
    stp x23, x24, [sp, #32]
    .cfi_offset x23, -144
    .cfi_offset x24, -136
    stp x25, x26, [sp, #48]
    .cfi_offset x25, -128
    .cfi_offset x26, -120
    stp x27, x28, [sp, #64]
    .cfi_offset x27, -112
    .cfi_offset x28, -104
    stp x29, x30, [sp, #80]
    .cfi_offset x29, -96
    .cfi_offset x30, -88
    stp d8, d9, [sp, #96]
    .cfi_offset 72, -80         /* d8, as DWARF numbers it */
    .cfi_offset 73, -72
    stp d10, d11, [sp, #112]
    .cfi_offset 74, -64
    .cfi_offset 75, -56
    stp d12, d13, [sp, #128]
    .cfi_offset 76, -48
    .cfi_offset 77, -40
    stp d14, d15, [sp, #144]
    .cfi_offset 78, -32
    .cfi_offset 79, -24
    mrs x9, fpcr
    str x9, [sp, #160]
    mov x10, sp
    str x10, [x0]
    .endm

    .text
    .globl bl__switch
    .hidden bl__switch
    .type bl__switch, %function
    .p2align 5
bl__switch:                     /* x0: where to save, x1: what to load */
    .cfi_startproc
    LANDING
    save
    mov sp, x1                  /* the same frame, another goroutine's: the CFI holds on */
resume:
    ldr x10, [sp, #160]
    cmp x9, x10
    b.eq 1f
    msr fpcr, x10
1:  ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 72, 73, 74, 75, 76, 77, 78, 79
    .cfi_restore \n             /* before what lies below the stack pointer is anybody's */
    .endr
    add sp, sp, #176
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size bl__switch, .-bl__switch

    .globl bl__switch_begin
    .hidden bl__switch_begin
    .type bl__switch_begin, %function
    .p2align 5
bl__switch_begin:               /* x0: where to save, x1: the top of a new stack */
    .cfi_startproc
    LANDING
    save
    mov sp, x1
    .cfi_undefined x30
    mov x29, xzr
    mov x19, xzr                /* else the new stack keeps addresses of the old one (debug/reach.h) */
    mov x20, xzr
    mov x21, xzr
    mov x22, xzr
    mov x23, xzr
    mov x24, xzr
    mov x25, xzr
    mov x26, xzr
    mov x27, xzr
    mov x28, xzr
    adr x30, outermost
    cbz x9, 1f
    msr fpcr, xzr
1:  b bl__goroutine_main
    .cfi_endproc
    .size bl__switch_begin, .-bl__switch_begin

    .globl bl__switch_end
    .hidden bl__switch_end
    .type bl__switch_end, %function
    .p2align 4
bl__switch_end:                 /* x1: what to load */
    .cfi_startproc
    .cfi_undefined x30
    LANDING
    mrs x9, fpcr
    mov sp, x1
    b resume
    .cfi_endproc
    .size bl__switch_end, .-bl__switch_end

    .globl bl__entry
    .hidden bl__entry
    .type bl__entry, %function
    .p2align 4
bl__entry:                      /* where unwinders find that a goroutine's stack ends; never run */
    .cfi_startproc
    .cfi_undefined x30
    nop
outermost:
    brk #1
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

#ifdef FEATURES
    .section .note.gnu.property, "a"
    .p2align 3
    .word 4, 16, 5              /* name and contents in bytes, NT_GNU_PROPERTY_TYPE_0 */
    .asciz "GNU"
    .word 0xc0000000, 4, FEATURES, 0 /* GNU_PROPERTY_AARCH64_FEATURE_1_AND */
#endif
#endif
    .section .note.GNU-stack, "", %progbits
