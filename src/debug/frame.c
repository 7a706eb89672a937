/* SPDX-License-Identifier: MIT */
/*
 * frame.c: see frame.h.
 *
 * Frames are rounded up to 16 bytes, and compilers that do not optimise leave holes in them, where
 * still stands what others have left that had the same place before: an address that would keep
 * something alive. A word that the function's code never mentions is nobody's, if that code takes
 * no address in its frame at all.
 *
 * The walk is over all instructions from the first one on, along both ways of each branch, with the
 * height of the stack at each. It gives up at what it does not know, at any use of the stack
 * pointer, or of the frame pointer while that is one, but for the base of an address; and where it
 * comes to an instruction with two heights. The code behind a call that does not return is taken to
 * be the function's, which makes more of what is touched.
 *
 * x86-64 only; elsewhere all may be touched.
 */
#include "debug/frame.h"

#if defined(__x86_64__)

#include <string.h>

#include "debug/insn.h"

enum { FRAME_CODE = 2048, FRAME_TODO = 64, FRAME_WIDEST = 16 /* bytes of an operand */ };
enum { FRAME_RBP = 1 << 6, FRAME_RSP = 1 << 7 };

/* Heights are in words, from the return address on, which is the first. */
typedef struct frame_way {
    uintptr_t pc;
    uint8_t height;
    uint8_t fp; /* the height that the frame pointer stands for; 0: it is a register like others */
} frame_way;

typedef struct frame_walk {
    uintptr_t start;
    bool *touched;
    bool failed;
    uint32_t count;
    frame_way todo[FRAME_TODO];
    uint8_t height[FRAME_CODE]; /* of each instruction that was come to */
    uint8_t fp[FRAME_CODE];
    bl__peek_pages pages;
} frame_walk;

/* at: bytes from the word of the return address up, below 0. */
static void frame_touch(frame_walk *w, int64_t at, int bytes)
{
    for (int64_t byte = at; byte < at + bytes && byte < 0; byte++) {
        int64_t word = (-byte + 7) / 8;
        w->failed = w->failed || word >= BL__FRAME_WORDS;
        if (word < BL__FRAME_WORDS)
            w->touched[word] = true;
    }
}

static void frame_height(frame_walk *w, frame_way *at, int64_t words)
{
    int64_t height = at->height + words;
    w->failed = w->failed || height < 0 || height >= BL__FRAME_WORDS;
    at->height = (uint8_t)height;
}

/* False: that is a use of the stack's addresses that is not followed. */
static bool frame_stack(frame_walk *w, frame_way *at, const bl__insn *in)
{
    uint32_t addresses = FRAME_RSP | (at->fp != 0 ? FRAME_RBP : 0);
    switch (in->stack) {
    case BL__INSN_ADDS: frame_height(w, at, -in->imm / 8); return in->imm % 8 == 0;
    case BL__INSN_SETS_FRAME: at->fp = at->height; return true;
    case BL__INSN_LEAVES:
        if (at->fp == 0)
            return false;
        at->height = at->fp;
        frame_height(w, at, -1);
        at->fp = 0;
        return true;
    case BL__INSN_PUSHES:
        frame_height(w, at, 1);
        frame_touch(w, -8 * ((int64_t)at->height - 1), 8);
        break;
    case BL__INSN_POPS:
        frame_height(w, at, -1);
        at->fp = (in->writes & FRAME_RBP) != 0 ? 0 : at->fp;
        break;
    default: break;
    }
    return ((in->operands | in->reads * (in->stack == BL__INSN_PUSHES) |
             in->writes * (in->stack == BL__INSN_POPS)) &
            addresses) == 0;
}

static void frame_memory(frame_walk *w, const frame_way *at, const bl__insn *in)
{
    bool sp = in->base == FRAME_RSP, fp = in->base == FRAME_RBP && at->fp != 0;
    bool other = (in->index & FRAME_RBP) != 0 && at->fp != 0;
    w->failed = w->failed || other || ((sp || fp) && (in->lea || in->index != 0));
    if (sp || fp)
        frame_touch(w, in->disp - 8 * ((int64_t)(sp ? at->height : at->fp) - 1), FRAME_WIDEST);
}

static void frame_jump(frame_walk *w, const frame_way *at, uintptr_t to)
{
    if (at->height == 1 && to - w->start >= FRAME_CODE)
        return; /* to another function, in its stead */
    w->failed = w->failed || w->count == FRAME_TODO || to - w->start >= FRAME_CODE;
    if (!w->failed)
        w->todo[w->count++] = (frame_way){to, at->height, at->fp};
}

/* One instruction on. False: the way ends. */
static bool frame_step(frame_walk *w, frame_way *at)
{
    bl__insn in;
    uintptr_t i = at->pc - w->start;
    if (i < FRAME_CODE && w->height[i] != 0) {
        w->failed = w->failed || w->height[i] != at->height || w->fp[i] != at->fp;
        return false;
    }
    w->failed = w->failed || i >= FRAME_CODE || !bl__insn_read(&in, at->pc, &w->pages);
    if (w->failed)
        return false;
    w->height[i] = at->height;
    w->fp[i] = at->fp;
    frame_memory(w, at, &in);
    w->failed = w->failed || !frame_stack(w, at, &in) || (in.half && in.stack != BL__INSN_NOTHING);
    if (in.jumps)
        frame_jump(w, at, in.target);
    at->pc += in.at;
    return !in.ends && !in.returns && !w->failed;
}

bool bl__frame_touched(uintptr_t start, uintptr_t pc, size_t bytes, bool touched[BL__FRAME_WORDS])
{
    frame_walk w;
    if (pc - start >= FRAME_CODE || bytes % 8 != 0)
        return false;
    memset(&w, 0, offsetof(frame_walk, pages));
    w.pages.low = w.pages.high = 0;
    memset(touched, 0, BL__FRAME_WORDS * sizeof *touched);
    w.start = start;
    w.touched = touched;
    w.todo[w.count++] = (frame_way){start, 1, 0};
    while (w.count > 0 && !w.failed)
        for (frame_way at = w.todo[--w.count]; frame_step(&w, &at);)
            continue;
    touched[0] = true;
    return !w.failed && w.height[pc - start] * (size_t)8 == bytes;
}

#else

bool bl__frame_touched(uintptr_t start, uintptr_t pc, size_t bytes, bool touched[BL__FRAME_WORDS])
{
    (void)start, (void)pc, (void)bytes, (void)touched;
    return false;
}

#endif
