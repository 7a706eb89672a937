/* SPDX-License-Identifier: MIT */
/*
 * insn.c: see insn.h. Of most instructions every register that they mention counts as read; written
 * are the destinations of the few that only write. (Intel 64 and IA-32 architectures manual, vol.
 * 2, appendix A.)
 */
#include "debug/insn.h"

#if defined(__x86_64__)

#include <string.h>

/* Flags of opcodes. */
enum {
    OP_KNOWN = 1 << 0,
    OP_MODRM = 1 << 1,
    OP_IMM8 = 1 << 2,
    OP_IMM = 1 << 3,   /* as wide as the operand, up to 4 bytes */
    OP_LOADS = 1 << 4, /* writes the register of its modrm and does not read it */
    OP_STORES = 1 << 5 /* writes the other operand, likewise */
};

/* The processor's numbers are others than those of debug information. */
static uint32_t reg_bit(unsigned number)
{
    static const uint8_t dwarf[] = {0, 2, 1, 3, 7, 6, 4, 5};
    return UINT32_C(1) << (number < 8 ? dwarf[number] : number);
}

static uint32_t number_of(unsigned low, bool high) { return low + (high ? 8u : 0u); }

static int32_t imm_read(bl__insn *in, size_t bytes)
{
    int32_t value = 0;
    if (in->at + bytes > BL__INSN_MOST) {
        in->known = false;
        return 0;
    }
    memcpy(&value, in->code + in->at, bytes < sizeof value ? bytes : sizeof value);
    in->at += bytes;
    return bytes == 1 ? (int8_t)value : value;
}

/* Reads the operands; *reg and *rm their registers' bits, *rm 0 if it is memory. The number in
 * reg. */
static unsigned modrm_read(bl__insn *in, uint32_t *reg, uint32_t *rm)
{
    uint8_t byte = (uint8_t)imm_read(in, 1);
    unsigned mod = byte >> 6, low = byte & 7;
    *reg = reg_bit(number_of(byte >> 3 & 7, in->rex & 4));
    *rm = 0;
    if (mod == 3) {
        *rm = reg_bit(number_of(low, in->rex & 1));
        return byte >> 3 & 7;
    }
    bool base = true;
    if (low == 4) {
        uint8_t sib = (uint8_t)imm_read(in, 1);
        unsigned index = number_of(sib >> 3 & 7, in->rex & 2);
        low = sib & 7;
        if (index != 4)
            in->index = reg_bit(index);
        base = !(low == 5 && mod == 0);
    } else if (low == 5 && mod == 0) {
        base = false;
    }
    if (base)
        in->base = reg_bit(number_of(low, in->rex & 1));
    in->reads |= in->base | in->index;
    in->disp = imm_read(in, mod == 1 ? 1 : mod == 2 || !base ? 4 : 0);
    return byte >> 3 & 7;
}

static void jump_to(bl__insn *in, uintptr_t pc, size_t bytes)
{
    int64_t by = imm_read(in, bytes);
    in->jumps = true;
    in->target = pc + in->at + (uintptr_t)by;
}

/* Of one byte. */
static unsigned op_flags(uint8_t op)
{
    if (op < 0x40) { /* eight operations of two operands */
        static const uint8_t forms[8] = {OP_MODRM, OP_MODRM, OP_MODRM, OP_MODRM, OP_IMM8, OP_IMM};
        return forms[op & 7] != 0 ? OP_KNOWN | forms[op & 7] : 0;
    }
    switch (op) {
    case 0x63: return OP_KNOWN | OP_MODRM | OP_LOADS; /* movsxd */
    case 0x68: return OP_KNOWN | OP_IMM;              /* push */
    case 0x6a: return OP_KNOWN | OP_IMM8;
    case 0x69: return OP_KNOWN | OP_MODRM | OP_IMM; /* imul */
    case 0x6b:
    case 0x80: /* operations with a constant */
    case 0x83: return OP_KNOWN | OP_MODRM | OP_IMM8;
    case 0x81: return OP_KNOWN | OP_MODRM | OP_IMM;
    case 0x84: /* test, mov of bytes */
    case 0x85:
    case 0x88:
    case 0x8a: return OP_KNOWN | OP_MODRM;
    case 0x89: return OP_KNOWN | OP_MODRM | OP_STORES; /* mov */
    case 0x8b:
    case 0x8d: return OP_KNOWN | OP_MODRM | OP_LOADS; /* mov, lea */
    case 0x90:
    case 0x98:
    case 0x99: return OP_KNOWN; /* nop, cdqe, cqo */
    case 0xa8: return OP_KNOWN | OP_IMM8;
    case 0xa9: return OP_KNOWN | OP_IMM; /* test */
    case 0xc0:
    case 0xc1: return OP_KNOWN | OP_MODRM | OP_IMM8; /* shifts */
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: return OP_KNOWN | OP_MODRM;
    case 0xc6: return OP_KNOWN | OP_MODRM | OP_IMM8; /* mov of a constant */
    case 0xc7: return OP_KNOWN | OP_MODRM | OP_IMM | OP_STORES;
    case 0xfe: return OP_KNOWN | OP_MODRM; /* inc, dec of a byte */
    default: return 0;
    }
}

/* Behind 0f: mostly moves; pxor. */
static bool is_of_vectors(uint8_t op)
{
    return (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2f) || (op >= 0x50 && op <= 0x6f) ||
           op == 0x7e || op == 0x7f || op == 0xd6 || op == 0xef;
}

static unsigned op_flags_0f(uint8_t op)
{
    if (op == 0x1f || (op >= 0x40 && op <= 0x4f) || (op >= 0x90 && op <= 0x9f) || op == 0xaf ||
        is_of_vectors(op)) /* nop, cmov, setcc, imul */
        return OP_KNOWN | OP_MODRM;
    if (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf) /* movzx, movsx */
        return OP_KNOWN | OP_MODRM | OP_LOADS;
    return 0;
}

/* Of bytes: without REX the numbers 4 to 7 stand for the second bytes of the first four
 * registers. */
static bool is_of_bytes(uint8_t op, bool second)
{
    if (second)
        return op == 0xb6 || op == 0xbe || (op >= 0x90 && op <= 0x9f);
    return (op < 0x40 || op == 0x80 || op == 0x84 || op == 0x88 || op == 0x8a || op == 0xc0 ||
            op == 0xc6 || op == 0xd0 || op == 0xd2 || op == 0xf6 || op == 0xfe) &&
           (op & 1) == 0;
}

static uint32_t second_byte(const bl__insn *in, uint8_t op, bool second, uint32_t regs)
{
    bool is = in->rex == 0 && is_of_bytes(op, second) && (regs & reg_bit(7)) != 0;
    return is ? reg_bit(3) : 0; /* bh */
}

static bool is_group(uint8_t op)
{
    return op == 0x80 || op == 0x81 || op == 0x83 || op == 0xc0 || op == 0xc1 ||
           (op >= 0xd0 && op <= 0xd3) || op == 0xc6 || op == 0xc7 || op == 0xfe;
}

/* add and sub of a constant, and between the stack and the frame pointer mov. */
static void stack_pointer_read(bl__insn *in, uint8_t op, bool second, unsigned which, uint32_t reg,
                               uint32_t rm)
{
    const uint32_t sp = reg_bit(4), fp = reg_bit(5);
    if (second || !in->wide)
        return;
    if ((op == 0x81 || op == 0x83) && rm == sp && (which == 0 || which == 5)) {
        in->stack = BL__INSN_ADDS;
        in->imm = which == 0 ? in->imm : -in->imm;
    } else if ((op == 0x89 && reg == sp && rm == fp) || (op == 0x8b && reg == fp && rm == sp)) {
        in->stack = BL__INSN_SETS_FRAME;
    }
}

static void operands_read(bl__insn *in, uint8_t op, unsigned flags, bool second)
{
    uint32_t reg = 0, rm = 0;
    unsigned which = (flags & OP_MODRM) != 0 ? modrm_read(in, &reg, &rm) : 0;
    if (!second && is_group(op)) { /* the number is part of the operation */
        in->known = in->known && (which == 0 || op < 0xc6 || op > 0xc7);
        reg = 0;
    }
    in->operands |= reg | rm;
    in->reads |= second_byte(in, op, second, reg | rm);
    bool nothing = !second && (op == 0x31 || op == 0x33 || op == 0x29 || op == 0x2b) && reg == rm;
    if (!in->half && nothing) /* xor of a register with itself */
        in->writes |= reg;
    else if (!in->half && (flags & OP_LOADS) != 0)
        in->writes |= reg, in->reads |= rm;
    else if (!in->half && (flags & OP_STORES) != 0)
        in->writes |= rm, in->reads |= op == 0x89 ? reg : 0;
    else
        in->reads |= reg | rm;
    if ((flags & OP_IMM8) != 0)
        in->imm = imm_read(in, 1);
    if ((flags & OP_IMM) != 0)
        in->imm = imm_read(in, in->half ? 2 : 4);
    in->known = in->known && flags != 0;
    if (!second && (op == 0x68 || op == 0x6a))
        in->stack = BL__INSN_PUSHES;
    in->lea = !second && op == 0x8d;
    stack_pointer_read(in, op, second, which, reg, rm);
}

/* f6, f7: test has a constant, the others none; ff: among others calls and jumps by a pointer. */
static void group_read(bl__insn *in, uint8_t op)
{
    uint32_t reg, rm;
    unsigned which = modrm_read(in, &reg, &rm);
    in->operands |= rm;
    in->reads |= rm | second_byte(in, op, false, rm);
    if (op == 0xff)
        in->known = in->known && (which <= 2 || which == 6); /* inc, dec, call, push */
    if (op == 0xff && which == 6)
        in->stack = BL__INSN_PUSHES;
    if (op != 0xff && which <= 1)
        (void)imm_read(in, op == 0xf6 ? 1 : in->half ? 2 : 4);
}

static void insn_read_0f(bl__insn *in, uintptr_t pc)
{
    uint8_t op = (uint8_t)imm_read(in, 1);
    if (op >= 0x80 && op <= 0x8f)
        jump_to(in, pc, 4);
    else if (op == 0x0b) /* ud2 */
        in->ends = true;
    else if (op == 0x1e && in->code[in->at] == 0xfa) /* endbr64 */
        in->at++;
    else
        operands_read(in, op, op_flags_0f(op), true);
    in->vectors = is_of_vectors(op);
}

/* Of 16 bits, repeated, in a segment. */
static bool is_prefix(uint8_t op)
{
    return op == 0x66 || op == 0xf2 || op == 0xf3 || op == 0x2e || op == 0x3e || op == 0x64 ||
           op == 0x65;
}

bool bl__insn_read(bl__insn *in, uintptr_t pc, bl__peek_pages *pages)
{
    memset(in, 0, sizeof *in);
    if (!bl__peek_near(pages, in->code, (const void *)pc, BL__INSN_MOST))
        return false;
    in->known = true;
    uint8_t op = (uint8_t)imm_read(in, 1);
    for (; is_prefix(op) && in->known; op = (uint8_t)imm_read(in, 1))
        in->half = in->half || op == 0x66;
    if (op >= 0x40 && op <= 0x4f) {
        in->rex = op & 15;
        in->wide = (op & 8) != 0;
        in->half = in->half && !in->wide;
        op = (uint8_t)imm_read(in, 1);
    }
    uint32_t low = reg_bit(number_of(op & 7, in->rex & 1));
    if (op == 0x0f)
        insn_read_0f(in, pc);
    else if (op >= 0x50 && op <= 0x57)
        in->reads |= low, in->stack = BL__INSN_PUSHES;
    else if (op >= 0x58 && op <= 0x5f)
        in->writes |= in->half ? 0 : low, in->stack = BL__INSN_POPS;
    else if (op >= 0x70 && op <= 0x7f)
        jump_to(in, pc, 1);
    else if (op >= 0xb8 && op <= 0xbf) /* mov of a constant */
        in->writes |= in->half ? 0 : low, (void)imm_read(in, in->wide ? 8 : in->half ? 2 : 4);
    else if (op == 0xc3)
        in->returns = true;
    else if (op == 0xc9)
        in->reads |= reg_bit(5), in->stack = BL__INSN_LEAVES;
    else if (op == 0xe8) /* a call keeps them */
        (void)imm_read(in, 4);
    else if (op == 0xe9 || op == 0xeb)
        jump_to(in, pc, op == 0xe9 ? 4 : 1), in->ends = true;
    else if (op == 0xf6 || op == 0xf7 || op == 0xff)
        group_read(in, op);
    else
        operands_read(in, op, op_flags(op), false);
    return in->known;
}

#endif
