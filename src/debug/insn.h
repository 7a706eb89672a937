/* SPDX-License-Identifier: MIT */
/* insn.h: reads the instructions that compilers make of C, as far as it takes to know what is in use (x86-64). */
#ifndef BL__DEBUG_INSN_H
#define BL__DEBUG_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "debug/peek.h"

enum { BL__INSN_MOST = 15 /* bytes */ };

/* What it does to the stack pointer. */
typedef enum bl__insn_stack {
    BL__INSN_NOTHING,
    BL__INSN_PUSHES,
    BL__INSN_POPS,
    BL__INSN_ADDS,       /* imm */
    BL__INSN_SETS_FRAME, /* copies it to the frame pointer */
    BL__INSN_LEAVES
} bl__insn_stack;

/* Registers are bits, by their numbers in debug information, which are others than the
 * processor's. */
typedef struct bl__insn {
    uint8_t code[BL__INSN_MOST + 1];
    size_t at; /* how far it is read */
    bool wide; /* REX.W */
    bool half; /* prefix 66 */
    uint8_t rex;
    uint32_t reads, writes;
    uint32_t operands; /* that it mentions, but for those of an address, … */
    uint32_t base;     /* … which are these; 0: it has none */
    uint32_t index;
    int32_t disp; /* likewise */
    int32_t imm;
    bl__insn_stack stack;
    bool lea;     /* takes the address, and does no more */
    bool vectors; /* has to do with registers of vectors */
    bool known;
    bool ends;    /* nothing follows it */
    bool returns; /* to the caller, who has what is left */
    bool jumps;   /* may go on at target */
    uintptr_t target;
} bl__insn;

/* False: it is none that is known. */
bool bl__insn_read(bl__insn *in, uintptr_t pc, bl__peek_pages *pages);

#endif
