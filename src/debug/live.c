/* SPDX-License-Identifier: MIT */
/*
 * live.c: see live.h.
 *
 * A compiler leaves in a register what no code will use any more: a channel that a function has
 * made, handed to a goroutine and forgotten, while the function waits for something else. The
 * register's value is found in the frame of the call, and would keep the address alive. What the
 * code after the call does with the register says whether it is in use.
 *
 * The walk is over the instructions from the return address on, along both ways of each branch,
 * over calls, back along loops, up to the return. It errs on the side of use: what is not known
 * here, an indirect jump, too long a way, or a register that the function hands back to its caller
 * as it is, is in use.
 *
 * x86-64 only; elsewhere all registers are in use.
 */
#include "debug/live.h"

#if defined(__x86_64__)

#include "debug/insn.h"

enum { LIVE_STEPS = 512, LIVE_WAYS = 64, LIVE_SEEN = 256 };

/* The registers that a call keeps: rbx, rbp, r12 to r15. */
static const uint32_t kept = 1u << 3 | 1u << 6 | 0xfu << 12;

typedef struct live_way {
    uintptr_t pc;
    uint32_t open; /* registers that nobody has written to on it */
} live_way;

typedef struct live_ways {
    live_way todo[LIVE_WAYS], seen[LIVE_SEEN];
    size_t todo_count, seen_count;
    uint32_t live, handed;
    bool failed;
    bl__peek_pages pages;
} live_ways;

static void way_add(live_ways *w, uintptr_t pc, uint32_t open)
{
    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i].pc == pc && (open & ~w->seen[i].open) == 0)
            return;
    w->failed = w->failed || w->todo_count == LIVE_WAYS || w->seen_count == LIVE_SEEN;
    if (w->failed)
        return;
    w->seen[w->seen_count++] = w->todo[w->todo_count++] = (live_way){pc, open};
}

static void ways_begin(live_ways *w, uintptr_t pc, uint32_t open)
{
    w->todo_count = w->seen_count = 0;
    w->live = w->handed = 0;
    w->failed = false;
    w->pages.low = w->pages.high = 0;
    way_add(w, pc, open);
}

/* One instruction on; open 0: the way ends. */
static void way_step(live_ways *w, live_way *at)
{
    bl__insn in;
    if (!bl__insn_read(&in, at->pc, &w->pages)) {
        w->live |= at->open;
        at->open = 0;
        return;
    }
    w->live |= in.reads & at->open;
    at->open &= ~(in.reads | in.writes);
    if (in.jumps && at->open != 0)
        way_add(w, in.target, at->open);
    if (in.returns)
        w->handed |= at->open;
    if (in.ends || in.returns)
        at->open = 0;
    at->pc += in.at;
}

uint32_t bl__live_after(uintptr_t pc, uint32_t *handed)
{
    live_ways w;
    int steps = 0;
    ways_begin(&w, pc, kept);
    while (w.todo_count > 0 && !w.failed)
        for (live_way at = w.todo[--w.todo_count]; at.open != 0 && !w.failed; way_step(&w, &at))
            w.failed = w.failed || steps++ == LIVE_STEPS;
    *handed = w.failed ? 0 : w.handed & ~w.live;
    return w.failed ? kept : w.live | w.handed;
}

bool bl__live_vectors(uintptr_t pc)
{
    live_ways w;
    int steps = 0;
    ways_begin(&w, pc, 1);
    while (w.todo_count > 0 && !w.failed)
        for (live_way at = w.todo[--w.todo_count]; at.open != 0 && !w.failed;) {
            bl__insn in;
            w.failed = steps++ == LIVE_STEPS || !bl__insn_read(&in, at.pc, &w.pages) || in.vectors;
            if (!w.failed && in.jumps)
                way_add(&w, in.target, 1);
            at.pc += in.at;
            at.open = !in.ends && !in.returns;
        }
    return w.failed;
}

#else

bool bl__live_vectors(uintptr_t pc)
{
    (void)pc;
    return true;
}

uint32_t bl__live_after(uintptr_t pc, uint32_t *handed)
{
    (void)pc;
    *handed = 0;
    return UINT32_MAX;
}

#endif
