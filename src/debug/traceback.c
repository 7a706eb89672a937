/* SPDX-License-Identifier: MIT */
/*
 * traceback.c: walking stacks.
 *
 * The walking itself is the C runtime's (_Unwind_Backtrace), started where it is wanted by
 * bl__unwind_from. It trusts the stack that it walks, and the stack of a goroutine which others may
 * wake at any time, run and free does not deserve that. Stopping the goroutine would cost the
 * scheduler a test at each switch. So the walk is over a copy, taken by the kernel, which fails
 * where a plain read would crash: every word of the copy that points into the stack is moved to
 * point into the copy, whatever it is; among them are the saved frame pointers, and the others do
 * not matter to the unwinder. The goroutine was switched off during the whole copying if it was
 * before and after and has not been switched on in between, which its count of switches tells.
 *
 * The commit of a park sets g->wait to what can be claimed, and that of a yield sets the status to
 * runnable, when the registers are saved; before that a goroutine counts as running. One that has
 * not begun has no saved stack pointer.
 */
#include "debug/traceback.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#include "arch/unwind.h"
#include "core/proc.h"
#include "debug/crash.h"
#include "debug/cxxname.h"
#include "debug/live.h"
#include "debug/peek.h"
#include "debug/sample.h"
#include "debug/source.h"
#include "debug/symbol.h"
#include "os/os.h"

enum {
    COPY_TAIL = 1 << 20, /* zeros behind the copy, where a misled walk finds its end */
    BELOW = 1 << 20,     /* how far below its stack the last frame of an overflow can reach */
    THREADS = 1 << 16,   /* looked at */
    DEEPEST = 1 << 20    /* frames: a damaged stack can be a circle */
};

static void trace_add(bl__trace *t, uintptr_t pc)
{
    if (t->total < BL__TRACE_INNER)
        t->inner[t->total] = pc;
    t->outer[t->total % BL__TRACE_OUTER] = pc;
    t->total++;
}

/* What a walk knows. */
typedef struct walk {
    bl__trace *trace;
    uintptr_t from;   /* not yet met: the address at which the trace begins; 0: met */
    uintptr_t lo, hi; /* the stack pointer's bounds; hi 0: none */
    uint64_t limit;   /* frames still allowed */
    uintptr_t *sps;   /* NULL, or for BL__TRACE_INNER frames: the stack pointer in each */
} walk;

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context, void *arg)
{
    walk *w = arg;
    int exact = 0;
    uintptr_t pc = _Unwind_GetIPInfo(context, &exact);
    uintptr_t sp = _Unwind_GetCFA(context);
    if (pc == 0 || w->limit-- == 0)
        return _URC_END_OF_STACK;
    if (w->hi != 0 && w->from == 0 && (sp < w->lo || sp > w->hi))
        return _URC_END_OF_STACK;
    if (w->from != 0) {
        if (pc != w->from)
            return _URC_NO_REASON;
        w->from = 0;
    }
    if (w->sps != NULL && w->trace->total < BL__TRACE_INNER)
        w->sps[w->trace->total] = sp;
    trace_add(w->trace, exact ? pc : pc - 1);
    return _URC_NO_REASON;
}

static void walk_run(void *arg) { _Unwind_Backtrace(walk_frame, arg); }

void bl__trace_here(bl__trace *t, const void *from)
{
    t->total = 0;
    walk w = {.trace = t, .from = (uintptr_t)from, .limit = DEEPEST};
    walk_run(&w);
    if (w.from == 0 || t->total != 0)
        return;
    walk all = {.trace = t, .limit = DEEPEST};
    walk_run(&all);
}

/* Walks from regs, and adds to the trace from there on, without the frames of the walk itself. */
static void walk_from(bl__trace *t, const bl__regs *regs, uintptr_t lo, uintptr_t hi)
{
    walk w = {.trace = t, .from = regs->r[BL__REG_PC], .lo = lo, .hi = hi, .limit = DEEPEST};
    bl__unwind_from(regs, walk_run, &w);
}

typedef struct rescued_walk {
    const bl__regs *regs;
    walk *w;
} rescued_walk;

static void rescued_run(void *arg)
{
    const rescued_walk *r = arg;
    bl__unwind_from(r->regs, walk_run, r->w);
}

/* What a damaged stack says of registers can lead anywhere, also in its copy: then what was found
 * so far has to do. */
static void walk_rescued(const bl__regs *regs, walk *w)
{
    rescued_walk r = {regs, w};
    (void)bl__rescue(rescued_run, &r);
}

bool bl__trace_is_return(uintptr_t back)
{
    uint8_t code[8];
    if (!bl__peek(code, (const void *)(back - sizeof code), sizeof code))
        return false;
#if defined(__x86_64__)
    if (code[3] == 0xe8) /* call rel32 */
        return true;
    for (unsigned at = 1; at <= 6; at++) /* call r/m64, of 2 to 7 bytes: ff /2 */
        if (code[at] == 0xff && (code[at + 1] & 0x38) == 0x10)
            return true;
    return false;
#else
    uint32_t word;
    memcpy(&word, code + 4, sizeof word);
    return word >> 26 == 0x25 || (word & 0xfffffc1f) == 0xd63f0000; /* bl, blr */
#endif
}

void bl__trace_from(bl__trace *t, const bl__regs *at, const bl__g *g)
{
    bl__regs regs = *at;
    uintptr_t lo = g == NULL ? 0 : (uintptr_t)g->stack_lo - BELOW;
    uintptr_t hi = g == NULL ? 0 : (uintptr_t)g->stack_hi;
    uint8_t code[4];
    t->total = 0;
    if (bl__peek(code, (const void *)regs.r[BL__REG_PC], sizeof code)) {
        walk_from(t, &regs, lo, hi);
        return;
    }
    /* It called or returned to something that is no code. After a call the caller is known. */
    trace_add(t, regs.r[BL__REG_PC]);
    uintptr_t back;
#if defined(__x86_64__)
    if (!bl__peek(&back, (const void *)regs.r[BL__REG_SP], sizeof back))
        return;
    regs.r[BL__REG_SP] += sizeof back;
#else
    back = regs.r[BL__REG_LR];
#endif
    if (!bl__trace_is_return(back))
        return;
    regs.r[BL__REG_PC] = back - 1;
    walk_from(t, &regs, lo, hi);
}

void bl__trace_skip_libc(bl__trace *t)
{
    uint64_t kept = t->total < BL__TRACE_INNER ? t->total : BL__TRACE_INNER, skip = 0;
    while (skip < kept && bl__symbol_is_libc(t->inner[skip]))
        skip++;
    if (skip == kept || t->total > BL__TRACE_INNER)
        return;
    for (uint64_t i = skip; i < kept; i++)
        t->inner[i - skip] = t->inner[i];
    t->total -= skip;
}

/* Where reports copy stacks to. Reports' lock. */
static bl__trace_space report_space;

void bl__trace_space_free(bl__trace_space *space)
{
    if (space->base != NULL)
        munmap(space->base, space->room + COPY_TAIL);
    *space = (bl__trace_space){0};
}

void bl__trace_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg)
{
    const char *base = load_relaxed(&report_space.base);
    if (base != NULL)
        fn(base, base + load_relaxed(&report_space.room) + COPY_TAIL, arg);
}

static char *copy_room(bl__trace_space *space, size_t need)
{
    if (space->room >= need)
        return space->base;
    bl__trace_space_free(space);
    size_t room = (need + 0xffff) & ~(size_t)0xffff;
    char *p = mmap(NULL, room + COPY_TAIL, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    space->base = p;
    space->room = room;
    return p;
}

/* What says whether a goroutine was switched on meanwhile. */
typedef struct moment {
    uint64_t id; /* records are used again */
    uint32_t status;
    uint32_t wait;
    uint32_t switches;
    void *sp;
} moment;

static moment moment_of(const bl__g *g)
{
    moment m = {.status =
                    load_acquire(&g->task.status), /* ORD(saved): with the commit of a yield */
                .wait = load_acquire(&g->wait),    /* ORD(wait): and of a park */
                .id = load_relaxed(&g->id),
                .switches = load_relaxed(&g->switches),
                .sp = load_relaxed(&g->sp)};
    return m;
}

static bool moment_same(const moment *a, const moment *b)
{
    return a->id == b->id && a->status == b->status && a->switches == b->switches &&
           a->sp == b->sp && (a->wait == b->wait || b->wait == BL__W_CLAIMED);
}

/* Makes what points into the stack of n bytes at sp point into its copy. */
static void copy_relocate(char *copy, uintptr_t sp, size_t n)
{
    for (size_t at = 0; at + sizeof(uintptr_t) <= n; at += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, copy + at, sizeof word);
        if (word - sp <= n) {
            word = word - sp + (uintptr_t)copy;
            memcpy(copy + at, &word, sizeof word);
        }
    }
}

/* Compiled with -mbranch-protection for aarch64, return addresses are signed together with the
 * place at which their frame lies. In a copy the unwinder would find every signature wrong, and
 * follow what that makes of the address. So where one is signed the walk is along the frame
 * records, {the caller's x29, the return address}, which compilers keep there unless they are told
 * not to. False: none is. */
static bool walk_records(bl__trace *t, const bl__regs *regs, const char *copy, size_t n)
{
    bool is_signed = false;
#if defined(__aarch64__)
    uintptr_t lo = (uintptr_t)copy, fp = regs->r[BL__REG_FP], record[2];
    t->total = 0;
    trace_add(t, regs->r[BL__REG_PC] - 1);
    while (fp >= lo && fp - lo <= n - sizeof record && fp % sizeof *record == 0) {
        memcpy(record, (const void *)fp, sizeof record);
        uintptr_t pc = bl__address_unsigned(record[1]);
        is_signed = is_signed || pc != record[1];
        if (record[0] <= fp) /* 0: of a goroutine's outermost frame, which nobody called */
            break;
        trace_add(t, pc - 1);
        fp = record[0];
    }
#else
    (void)t, (void)regs, (void)copy, (void)n;
#endif
    return is_signed;
}

/* ---- A crowd with the same stack ----
 * Unwinding takes microseconds a frame. Of a stack that was walked it is known where its return addresses
 * lie; another one that is as deep, left off at the same instruction and has the same ones in the same
 * places is the same stack. */

static bool memo_find(const bl__trace_memo *memo, bl__trace *t, const bl__regs *regs,
                      const char *copy, size_t n)
{
    for (uint32_t i = 0; i < memo->count; i++) {
        const bl__trace_known *k = &memo->known[i];
        if (k->pc != regs->r[BL__REG_PC] || k->bytes != n ||
            k->fp != regs->r[BL__REG_FP] - (uintptr_t)copy)
            continue;
        uint32_t f = 1;
        while (f < k->frames && memcmp(copy + k->at[f], &k->back[f], sizeof k->back[f]) == 0)
            f++;
        if (f < k->frames)
            continue;
        t->total = 0;
        trace_add(t, k->pc - 1);
        for (f = 1; f < k->frames; f++)
            trace_add(t, k->back[f] - 1);
        return true;
    }
    return false;
}

/* Notes where the return addresses of the walked stack lie: each in the frame of what it was called
 * from. */
static void memo_note(bl__trace_memo *memo, const bl__trace *t, const uintptr_t *sps,
                      const bl__regs *regs, const char *copy, size_t n)
{
    bl__trace_known k = {.pc = regs->r[BL__REG_PC],
                         .bytes = n,
                         .fp = regs->r[BL__REG_FP] - (uintptr_t)copy,
                         .frames = (uint32_t)t->total};
    if (t->total > BL__TRACE_INNER)
        return;
    for (uint32_t f = 1; f < k.frames; f++) {
        uintptr_t low = sps[f - 1] - (uintptr_t)copy, at = sps[f] - (uintptr_t)copy;
        k.back[f] = t->inner[f] + 1;
        if (at > n)
            return;
        do {
            if (at < low + sizeof(uintptr_t))
                return;
            at -= sizeof(uintptr_t);
        } while (memcmp(copy + at, &k.back[f], sizeof k.back[f]) != 0);
        k.at[f] = (uint32_t)at;
    }
    uint32_t slot = memo->next++ % BL__TRACE_KNOWN;
    memo->known[slot] = k;
    if (memo->count < BL__TRACE_KNOWN)
        memo->count++;
}

/* The walk over a copy that was relocated. */
static bool trace_copy(bl__trace *t, bl__trace_memo *memo, const char *copy, size_t n)
{
    uintptr_t sps[BL__TRACE_INNER];
    bl__regs regs;
    bl__regs_parked(&regs, copy, (uintptr_t)copy);
    if (memo != NULL && memo_find(memo, t, &regs, copy, n))
        return true;
    if (!bl__trace_is_return(regs.r[BL__REG_PC]))
        return false;
    if (walk_records(t, &regs, copy, n))
        return true;
    t->total = 0;
    walk w = {.trace = t,
              .from = regs.r[BL__REG_PC],
              .lo = (uintptr_t)copy,
              .hi = (uintptr_t)copy + n,
              .limit = DEEPEST,
              .sps = memo != NULL ? sps : NULL};
    walk_rescued(&regs, &w);
    if (memo != NULL && t->total > 0)
        memo_note(memo, t, sps, &regs, copy, n);
    return t->total > 0;
}

char *bl__stack_saved(const bl__g *g, bl__trace_space *space, size_t *n)
{
    moment before = moment_of(g);
    bool waits = before.wait > BL__W_CLAIMED || /* a helper claims it for as long as it runs */
                 (before.wait == BL__W_CLAIMED && g->reason == BL__WAIT_BLOCKING);
    bool saved = before.status == BL__G_RUNNABLE || (before.status == BL__G_PARKED && waits);
    if (!saved)
        return NULL;

    uintptr_t sp = (uintptr_t)before.sp, hi = (uintptr_t)g->stack_hi;
    if (sp < (uintptr_t)g->stack_lo || sp % sizeof(uintptr_t) != 0 || sp + BL__FRAME > hi)
        return NULL;
    *n = hi - sp;
    char *copy = copy_room(space, *n);
    if (copy == NULL || !bl__peek(copy, before.sp, *n))
        return NULL;
    fence_seq_cst(); /* ORD(saved): the copying before the second look, which no acquire does */
    moment after = moment_of(g);
    return moment_same(&before, &after) ? copy : NULL;
}

char *bl__trace_copy(const bl__g *g, bl__trace_space *space, size_t *n)
{
    char *copy = bl__stack_saved(g, space, n);
    if (copy != NULL)
        copy_relocate(copy, (uintptr_t)g->stack_hi - *n, *n);
    return copy;
}

bool bl__trace_parked_memo(bl__trace *t, const bl__g *g, bl__trace_memo *memo)
{
    size_t n;
    char *copy = bl__trace_copy(g, memo != NULL ? &memo->space : &report_space, &n);
    return copy != NULL && trace_copy(t, memo, copy, n);
}

/* ---- What a call of the C library has left in registers ---- */

/* As no address is. */
#define KEPT_UNKNOWN ((uintptr_t)0x5bad << 48)

typedef struct kept_walk {
    const bl__regs *regs;
    uintptr_t from, lo, hi; /* as in walk */
    uint32_t limit;
    bool nothing;
} kept_walk;

/* The first frame that is not the C library's. */
static _Unwind_Reason_Code kept_frame(struct _Unwind_Context *context, void *arg)
{
    static const int numbers[] = {3, 6, 12, 13, 14, 15};
    kept_walk *w = arg;
    uintptr_t pc = _Unwind_GetIP(context), sp = _Unwind_GetCFA(context);
    if (w->from != 0 && pc != w->from)
        return _URC_NO_REASON;
    w->from = 0;
    if (pc == 0 || sp < w->lo || sp > w->hi || w->limit-- == 0)
        return _URC_END_OF_STACK;
    if (bl__symbol_is_libc(pc - 1))
        return _URC_NO_REASON;
    uint32_t handed, live = bl__live_after(pc, &handed), unknown = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (_Unwind_GetGR(context, numbers[i]) == KEPT_UNKNOWN)
            unknown |= UINT32_C(1) << numbers[i];
    w->nothing = (live & unknown) == 0 && _Unwind_GetLanguageSpecificData(context) == NULL;
    return _URC_END_OF_STACK;
}

static void kept_run(void *arg) { _Unwind_Backtrace(kept_frame, arg); }

static void kept_rescued(void *arg)
{
    const kept_walk *w = arg;
    bl__unwind_from(w->regs, kept_run, arg);
}

bool bl__trace_keeps_nothing(uintptr_t sp, uintptr_t pc)
{
    enum { KEPT_STACK = 4096, KEPT_LEAST = 512, KEPT_DEEPEST = 32 /* frames of the library */ };
    _Alignas(16) char copy[KEPT_STACK];
    size_t n = sizeof copy;
    while (n >= KEPT_LEAST && !bl__peek(copy, (const void *)sp, n)) /* it may end before */
        n /= 2;
    if (n < KEPT_LEAST || sp % sizeof(uintptr_t) != 0 || !bl__rescue_there() ||
        !bl__symbol_is_libc(pc))
        return false;
    copy_relocate(copy, sp, n);
    bl__regs regs;
    for (size_t i = 0; i < BL__REGS; i++)
        regs.r[i] = KEPT_UNKNOWN;
    regs.r[BL__REG_SP] = (uintptr_t)copy;
    regs.r[BL__REG_PC] = pc;
    kept_walk w = {.regs = &regs,
                   .from = pc,
                   .lo = (uintptr_t)copy,
                   .hi = (uintptr_t)copy + n,
                   .limit = KEPT_DEEPEST};
    return bl__rescue(kept_rescued, &w) && w.nothing;
}

bool bl__trace_parked(bl__trace *t, const bl__g *g) { return bl__trace_parked_memo(t, g, NULL); }

/* Without sched's lock, which whoever a crash is about may hold. */
int bl__thread_of(const bl__g *g)
{
    bl__m m;
    const bl__m *at = load_relaxed(&bl__rt.all_m);
    for (int i = 0; i < THREADS && at != NULL && bl__peek(&m, at, sizeof m); i++, at = m.all_next)
        if (m.g == g)
            return m.tid;
    return 0;
}

/* The kernel says where the stack of a thread that sleeps in a call ends, and nothing else of its
 * registers. The one that the unwinder may ask for is the frame pointer of the innermost frame of
 * the program's, which lies below the return address that follows the one into it. Where none does,
 * it is made to lead to the zeros behind the copy. */
static uintptr_t frame_guess(const char *copy, size_t n)
{
    bool inside = false;
    for (size_t at = 0; at + sizeof(uintptr_t) <= n; at += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, copy + at, sizeof word);
        if (!bl__trace_is_return(word))
            continue;
        if (inside)
            return (uintptr_t)copy + at - sizeof word;
        inside = !bl__symbol_is_libc(word);
    }
    return (uintptr_t)copy + n;
}

/* Of who is on its thread, perhaps in the C library: by a copy of the n bytes of its stack. */
static bool running_walk(bl__trace *t, const bl__regs *regs, const char *copy, size_t n)
{
    walk w = {.trace = t,
              .from = regs->r[BL__REG_PC],
              .lo = (uintptr_t)copy,
              .hi = (uintptr_t)copy + n,
              .limit = DEEPEST};
    t->total = 0;
    walk_rescued(regs, &w);
    bl__trace_skip_libc(t);
    return t->total > 0;
}

char *bl__stack_in_call(const bl__g *g, bl__trace_space *space, size_t *n, bl__thread_call *call)
{
    bl__thread_call after;
    uint32_t switches = load_relaxed(&g->switches);
    int tid = bl__thread_of(g);
    if (tid == 0 || !bl__thread_in_call(tid, call) || call->sp < (uintptr_t)g->stack_lo ||
        call->sp % sizeof(uintptr_t) != 0 || call->sp >= (uintptr_t)g->stack_hi)
        return NULL;
    *n = (uintptr_t)g->stack_hi - call->sp;
    char *copy = copy_room(space, *n);
    bool same = copy != NULL && bl__peek(copy, (const void *)call->sp, *n) &&
                bl__thread_in_call(tid, &after) && after.sp == call->sp && after.pc == call->pc &&
                load_relaxed(&g->switches) == switches && bl__thread_of(g) == tid;
    return same ? copy : NULL;
}

bool bl__trace_in_call(bl__trace *t, const bl__g *g)
{
    bl__thread_call call;
    size_t n;
    char *copy = bl__rescue_there() ? bl__stack_in_call(g, &report_space, &n, &call) : NULL;
    if (copy == NULL)
        return false;
    copy_relocate(copy, call.sp, n);
    bl__regs regs = {.r = {[BL__REG_SP] = (uintptr_t)copy,
                           [BL__REG_PC] = call.pc,
                           [BL__REG_FP] = frame_guess(copy, n)}};
    return running_walk(t, &regs, copy, n);
}

char *bl__stack_sampled(const bl__g *g, bl__trace_space *space, size_t *n, bl__regs *regs)
{
    uint64_t id = load_relaxed(&g->id);
    uintptr_t hi = (uintptr_t)g->stack_hi;
    size_t room = hi - (uintptr_t)g->stack_lo;
    int tid = bl__thread_of(g);
    char *copy = tid != 0 ? copy_room(space, room) : NULL;
    ssize_t taken = copy != NULL ? bl__sample_take(regs, copy, room, tid) : -1;
    if (taken <= 0)
        return NULL;
    uintptr_t sp = regs->r[BL__REG_SP]; /* elsewhere: it runs another one by now */
    if (sp < (uintptr_t)g->stack_lo || sp > hi || hi - sp > (size_t)taken ||
        load_relaxed(&g->id) != id)
        return NULL;
    *n = hi - sp;
    return copy;
}

bool bl__trace_sampled(bl__trace *t, const bl__regs *regs, char *copy, size_t n)
{
    uintptr_t sp = regs->r[BL__REG_SP];
    bl__regs moved = *regs;
    copy_relocate(copy, sp, n);
    for (size_t i = 0; i < BL__REGS; i++)
        if (moved.r[i] - sp <= n)
            moved.r[i] = moved.r[i] - sp + (uintptr_t)copy;
    return bl__rescue_there() && running_walk(t, &moved, copy, n);
}

bool bl__trace_computing(bl__trace *t, const bl__g *g)
{
    bl__regs regs;
    size_t n;
    char *copy = bl__stack_sampled(g, &report_space, &n, &regs);
    return copy != NULL && bl__trace_sampled(t, &regs, copy, n);
}

static bool level_parse(const char *word, bl__traceback *level)
{
    static const struct {
        const char *word;
        bl__traceback level;
    } words[] = {
        {"none", BL__TRACEBACK_NONE},     {"0", BL__TRACEBACK_NONE},
        {"single", BL__TRACEBACK_SINGLE}, {"all", BL__TRACEBACK_ALL},
        {"1", BL__TRACEBACK_ALL},         {"system", BL__TRACEBACK_SYSTEM},
        {"2", BL__TRACEBACK_SYSTEM},      {"crash", BL__TRACEBACK_CRASH},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i].word) == 0) {
            *level = words[i].level;
            return true;
        }
    return false;
}

bl__traceback bl__traceback_level(void)
{
    bl__traceback level = BL__TRACEBACK_SINGLE;
    const char *set = getenv("BELAY_TRACEBACK");
    if (set != NULL)
        (void)level_parse(set, &level);
    return level;
}

void bl__traceback_check(void)
{
    bl__traceback level;
    const char *set = getenv("BELAY_TRACEBACK");
    if (set != NULL && *set != '\0' && !level_parse(set, &level))
        bl__warn("BELAY_TRACEBACK=%s is not one of none, single, all, system, crash, so single is "
                 "used",
                 set);
}

enum { PENDING = 8 };

/* Frames of the runtime wait in pending until a frame of the program follows. Of a goroutine of the
 * library's own, what is above the layer of its function is the runtime. */
typedef struct printer {
    bl__out *out;
    bool system;
    const char *layer; /* NULL: it is the program's */
    bool started;
    uint32_t pending_count;
    bl__symbol pending[PENDING];
} printer;

static void symbol_print(bl__out *o, const bl__symbol *s)
{
    char name[256];
    if (s->file != NULL && !bl__symbol_is_runtime(s))
        bl__source_met(s->file);
    if (s->file != NULL)
        bl__out_printf(o, "%s\n\t%s:%d\n",
                       s->func == NULL ? "?" : bl__cxx_name(s->func, name, sizeof name), s->file,
                       s->line);
    else if (s->func != NULL)
        bl__out_printf(o, "%s\n\t%s(%s+0x%lx)\n", bl__cxx_name(s->func, name, sizeof name),
                       s->module == NULL ? "?" : s->module, s->func, (unsigned long)s->offset);
    else if (s->module != NULL)
        bl__out_printf(o, "0x%lx\n\t%s(+0x%lx)\n", (unsigned long)s->pc, s->module,
                       (unsigned long)s->offset);
    else
        bl__out_printf(o, "0x%lx\n\t?\n", (unsigned long)s->pc);
}

static bool is_public(const bl__symbol *s)
{
    return s->func != NULL && strncmp(s->func, "bl_", 3) == 0 && s->func[3] != '_';
}

/* Between functions of the program's, of the library only what one of them has called. */
static void pending_print(printer *p)
{
    for (uint32_t i = 0; i < p->pending_count; i++)
        if (is_public(&p->pending[i]))
            symbol_print(p->out, &p->pending[i]);
    p->pending_count = 0;
}

static bool printer_take(const bl__symbol *s, void *arg)
{
    printer *p = arg;
    bool hide = !p->system &&
                (p->layer != NULL ? bl__symbol_layer(s) != p->layer : bl__symbol_is_runtime(s));
    if (hide && !p->started)
        return false;
    if (hide && p->pending_count < PENDING) {
        p->pending[p->pending_count++] = *s;
        return false;
    }
    pending_print(p);
    symbol_print(p->out, s);
    p->started = true;
    return false;
}

typedef struct called {
    const char *func;
    bool ended;
} called;

/* At a function's first instruction there may stand what was inlined there; the last is itself. */
static bool outermost_take(const bl__symbol *s, void *arg)
{
    *(bl__symbol *)arg = *s;
    return false;
}

static void frames_print_all(printer *p, const bl__trace *t)
{
    uint64_t inner = t->total < BL__TRACE_INNER ? t->total : BL__TRACE_INNER;
    for (uint64_t i = 0; i < inner; i++)
        bl__symbol_each(t->inner[i], printer_take, p);

    uint64_t next = inner;
    if (t->total > BL__TRACE_INNER + BL__TRACE_OUTER) {
        next = t->total - BL__TRACE_OUTER;
        pending_print(p);
        bl__out_printf(p->out, "...%llu frames elided...\n", (unsigned long long)(next - inner));
    }
    for (; next < t->total; next++)
        bl__symbol_each(t->outer[next % BL__TRACE_OUTER], printer_take, p);
    p->pending_count = 0;
}

static bool layer_take(const bl__symbol *s, void *arg)
{
    const char *layer = bl__symbol_layer(s);
    if (layer != NULL && !bl__layer_switches(layer))
        *(const char **)arg = layer;
    return false;
}

/* The layer that a goroutine of the library's own was started in. */
static const char *trace_layer(const bl__trace *t)
{
    const char *layer = NULL;
    for (uint64_t i = 0; i < t->total && i < BL__TRACE_INNER; i++)
        bl__symbol_each(t->inner[i], layer_take, &layer);
    for (uint64_t i = BL__TRACE_INNER; i < t->total && i < BL__TRACE_INNER + BL__TRACE_OUTER; i++)
        bl__symbol_each(t->outer[i % BL__TRACE_OUTER], layer_take, &layer);
    return layer;
}

/* Ends at the first function of the program's. What is called at no address at all is in no
 * function. */
static bool called_take(const bl__symbol *s, void *arg)
{
    called *c = arg;
    if (bl__symbol_is_runtime(s))
        c->func = s->func;
    else
        c->ended = s->func != NULL && !bl__symbol_is_libc(s->pc);
    return c->ended;
}

const char *bl__trace_called(const bl__trace *t)
{
    called c = {.func = NULL};
    for (uint64_t i = 0; i < t->total && i < BL__TRACE_INNER && !c.ended; i++)
        bl__symbol_each(t->inner[i], called_take, &c);
    return c.ended ? c.func : NULL;
}

void bl__trace_print(bl__out *o, const bl__trace *t, bl_fn fn, bool system)
{
    printer p = {.out = o, .system = system};
    bl__symbol outermost = {.pc = (uintptr_t)fn};
    if (fn != NULL)
        bl__symbol_each((uintptr_t)fn, outermost_take, &outermost);
    frames_print_all(&p, t);
    /* its last call may have taken the place of its frame (-foptimize-sibling-calls): then it is
     * still its function's */
    if (!p.started && (fn == NULL || bl__symbol_is_runtime(&outermost)) &&
        (p.layer = trace_layer(t)) != NULL)
        frames_print_all(&p, t);
    if (!p.started && fn != NULL)
        symbol_print(o, &outermost);
    else if (!p.started && !system && t->total > 0)
        bl__trace_print(o, t, NULL, true);
}
