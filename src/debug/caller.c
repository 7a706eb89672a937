/* SPDX-License-Identifier: MIT */
/*
 * caller.c: see caller.h.
 *
 * A function that wants a register for itself saves what its caller has in it, and gives it back at
 * its end: in the frames of the library's call, and in those of the program's functions between it
 * and the one that once has put something there. Whether it is still in use is read from the code
 * (live.c): after the call of a function that has saved it; and if that one leaves the register as
 * it is, after the call of that one. What cannot be followed to its end is in use.
 *
 * In the program's frames there are words besides that no function ever touches (frame.c).
 *
 * Where a frame has a register's value is known to the unwinder, which does not say it. So the walk
 * over the copy of the stack is done twice: once for the values, and then, with each word that is
 * one of them replaced by a mark of its own, for the places. Return addresses and what points into
 * the stack, by which the unwinder finds its way, stay as they are.
 */
#include "debug/caller.h"

#include <string.h>
#include <unwind.h>

#include "arch/unwind.h"
#include "debug/crash.h"
#include "debug/frame.h"
#include "debug/live.h"
#include "debug/symbol.h"

#if defined(__x86_64__)
static const uint8_t caller_numbers[] = {3, 6, 12, 13, 14, 15};
#else
static const uint8_t caller_numbers[] = {19, 20, 21, 22, 23, 24, 25, 26, 27, 28};
#endif

enum {
    CALLER_REGS = sizeof caller_numbers,
    CALLER_DEEPEST = 32, /* frames of the library */
    CALLER_FRAMES = 8,   /* of the program */
    CALLERS_KNOWN = 251
};

/* No address. */
#define CALLER_MARK ((uintptr_t)0x7e1a << 48)

typedef struct caller_frame {
    uintptr_t pc; /* where it goes on */
    uintptr_t sp;
    uintptr_t start;             /* of the function's code */
    uintptr_t regs[CALLER_REGS]; /* as they are then */
} caller_frame;

typedef struct caller_walk {
    const bl__regs *regs;
    uintptr_t from; /* not yet met: where the walk begins */
    uintptr_t lo, hi;
    uint32_t limit;
    uint32_t count;
    caller_frame frames[CALLER_FRAMES + 1]; /* of the last one sp alone, or that is 0 */
} caller_walk;

/* Searches ask for the same ones again, and it takes microseconds to find out. */
static bool is_program(uintptr_t pc)
{
    static struct {
        uintptr_t pc;
        bool is;
    } known[CALLERS_KNOWN];
    size_t at = pc % CALLERS_KNOWN;
    if (known[at].pc != pc) {
        known[at].is = bl__symbol_is_program(pc);
        known[at].pc = pc;
    }
    return known[at].is;
}

static _Unwind_Reason_Code caller_step(struct _Unwind_Context *context, void *arg)
{
    caller_walk *w = arg;
    uintptr_t pc = _Unwind_GetIP(context), sp = _Unwind_GetCFA(context);
    if (w->from != 0 && pc != w->from)
        return _URC_NO_REASON;
    if (w->from == 0 && (sp < w->lo || sp > w->hi))
        return _URC_END_OF_STACK;
    w->from = 0;
    if (pc == 0 || w->limit-- == 0)
        return _URC_END_OF_STACK;
    bool program = is_program(pc - 1);
    w->frames[w->count].sp = sp;
    if (!program && w->count == 0)
        return _URC_NO_REASON;
    if (!program || _Unwind_GetLanguageSpecificData(context) != NULL)
        return _URC_END_OF_STACK;
    caller_frame *f = &w->frames[w->count++];
    f->pc = pc;
    f->start = _Unwind_GetRegionStart(context);
    for (size_t i = 0; i < CALLER_REGS; i++)
        f->regs[i] = _Unwind_GetGR(context, caller_numbers[i]);
    return w->count == CALLER_FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void caller_run(void *arg) { _Unwind_Backtrace(caller_step, arg); }

static void caller_rescued(void *arg)
{
    const caller_walk *w = arg;
    bl__unwind_from(w->regs, caller_run, arg);
}

static bool caller_walk_from(caller_walk *w, const bl__regs *regs, const char *copy, size_t n)
{
    *w = (caller_walk){.regs = regs,
                       .from = regs->r[BL__REG_PC],
                       .lo = (uintptr_t)copy,
                       .hi = (uintptr_t)copy + n,
                       .limit = CALLER_DEEPEST};
    return bl__rescue(caller_rescued, w) && w->count > 0;
}

/* ---- Where the values are ---- */

/* That a register has had it, and that the unwinder does not go by it. */
static bool is_value(const caller_walk *w, uintptr_t word)
{
    bool is = false;
    if (word < 4096 || (word >= w->lo && word <= w->hi))
        return false;
    for (uint32_t f = 0; f < w->count; f++) {
        if (w->frames[f].pc == word)
            return false;
        for (size_t i = 0; i < CALLER_REGS; i++)
            is = is || w->frames[f].regs[i] == word;
    }
    return is;
}

static void copy_mark(const caller_walk *w, char *copy)
{
    size_t end = w->frames[w->count - 1].sp - w->lo;
    for (size_t at = BL__FRAME; at + sizeof(uintptr_t) <= end; at += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, copy + at, sizeof word);
        if (!is_value(w, word))
            continue;
        word = CALLER_MARK + at;
        memcpy(copy + at, &word, sizeof word);
    }
}

static bool same_frames(const caller_walk *a, const caller_walk *b)
{
    bool same = a->count == b->count;
    for (uint32_t f = 0; same && f < a->count; f++)
        same = a->frames[f].pc == b->frames[f].pc && a->frames[f].sp == b->frames[f].sp;
    return same;
}

/* ---- What is in use ---- */

/* A register on its way up through the frames. */
typedef struct caller_reg {
    bool handed; /* so far every function has left it as it is */
    uintptr_t value;
    uintptr_t mark; /* where it stands: of the second walk */
} caller_reg;

/* Where a mark's word lies in the frames of the program's; 0: in none. */
static uintptr_t mark_place(const caller_walk *w, uintptr_t mark)
{
    uintptr_t at = w->lo + (mark - CALLER_MARK);
    return mark >= CALLER_MARK && at >= w->frames[0].sp && at < w->hi ? at : 0;
}

static void reg_used(bl__caller *c, const caller_walk *w, const caller_reg *r)
{
    if (mark_place(w, r->mark) == 0)
        c->used[c->used_count++] = r->value;
}

static void word_dead(bl__caller *c, uintptr_t at)
{
    if (at != 0 && c->dead_count < BL__CALLER_DEAD)
        c->dead[c->dead_count++] = at;
}

_Static_assert((int)CALLER_REGS *(int)CALLER_FRAMES <= (int)BL__CALLER_USED, "each is added once");

static void caller_decide(bl__caller *c, const caller_walk *w, const caller_walk *marked)
{
    caller_reg regs[CALLER_REGS] = {{.handed = false}};
    for (uint32_t f = 0; f < w->count; f++) {
        uint32_t handed, live = bl__live_after(w->frames[f].pc, &handed);
        for (size_t i = 0; i < CALLER_REGS; i++) {
            caller_reg *r = &regs[i];
            uint32_t bit = UINT32_C(1) << caller_numbers[i];
            uintptr_t mark = marked->frames[f].regs[i];
            if (r->handed && r->mark != mark)
                reg_used(c, w, r);
            *r = (caller_reg){(handed & bit) != 0, w->frames[f].regs[i], mark};
            if ((live & ~handed & bit) != 0)
                reg_used(c, w, r);
            else if (!r->handed)
                word_dead(c, mark_place(w, mark));
        }
    }
    for (size_t i = 0; i < CALLER_REGS; i++)
        if (regs[i].handed)
            reg_used(c, w, &regs[i]);
}

/* The words of the program's frames that their functions never touch. */
static void caller_holes(bl__caller *c, const caller_walk *w)
{
    bool touched[BL__FRAME_WORDS];
    for (uint32_t i = 0; i < w->count; i++) {
        const caller_frame *f = &w->frames[i];
        size_t bytes = f[1].sp - f->sp;
        if (f[1].sp == 0 || bytes > sizeof(uintptr_t) * BL__FRAME_WORDS ||
            !bl__frame_touched(f->start, f->pc, bytes, touched))
            continue;
        for (size_t k = 1; k < bytes / sizeof(uintptr_t); k++)
            if (!touched[k])
                word_dead(c, f[1].sp - (k + 1) * sizeof(uintptr_t));
    }
}

bool bl__caller_find(bl__caller *c, const bl__g *g, bl__trace_space *space)
{
    size_t n;
    char *copy = bl__trace_copy(g, space, &n);
    bl__regs regs;
    caller_walk w, marked;
    if (copy == NULL)
        return false;
    bl__regs_parked(&regs, copy, (uintptr_t)copy);
    if (!bl__trace_is_return(regs.r[BL__REG_PC]) || !caller_walk_from(&w, &regs, copy, n))
        return false;
    copy_mark(&w, copy);
    if (!caller_walk_from(&marked, &regs, copy, n) || !same_frames(&w, &marked))
        return false;
    c->used_count = c->dead_count = 0;
    caller_decide(c, &w, &marked);
    caller_holes(c, &w);
    uintptr_t there = (uintptr_t)g->stack_hi - n - (uintptr_t)copy;
    c->sp = w.frames[0].sp + there;
    for (uint32_t i = 0; i < c->dead_count; i++)
        c->dead[i] += there;
    return true;
}
