/* SPDX-License-Identifier: MIT */
/* leaks.c: what belay/debug.h says of the program: its goroutines, those that are stuck, and
 * numbers. */
#include <belay/debug.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "core/proc.h"
#include "debug/describe.h"
#include "debug/peek.h"
#include "debug/report.h"
#include "debug/sample.h"
#include "debug/stuck.h"

/* ---- bl_dump ---- */

typedef struct dump_call {
    const bl__g *self; /* NULL: a thread, or no run */
    const void *from;
    int result;
} dump_call;

static void dump_print(bl__out *o, void *arg)
{
    dump_call *call = arg;
    bl__report_all what = {.system = bl__traceback_level() >= BL__TRACEBACK_SYSTEM};
    if (call->self != NULL) {
        bl__trace trace;
        bl__report_head(o, call->self);
        bl__trace_here(&trace, call->from);
        bl__trace_print(o, &trace, call->self->fn, what.system);
        bl__report_tail(o, call->self, call->self);
        bl__out_printf(o, "\n");
        what.except = call->self->id;
    }
    bl__report_each(o, &what);
}

int bl_dump(int fd)
{
    dump_call call = {.from = __builtin_return_address(0)};
    const bl__m *m = bl__this_m_known();
    if (write(fd, "", 0) < 0)
        return -errno;
    if (m != NULL && m->g->task.kind == BL__TASK_G)
        call.self = m->g;
    bl__report_run_aside(fd, dump_print, &call);
    return 0;
}

/* ---- bl_leaks ---- */

enum {
    LEAKS_MEMORY_SHIFT = 36, /* 64 GiB: as much as there is */
    LEAKS_CROWD = 1000,      /* goroutines that take long to look at: others run meanwhile */
    LEAKS_LEAST = 5,         /* searches beside others that run, … */
    LEAKS_TRIES = 8,         /* … and if they are quick */
    LEAKS_UNDECIDED = 3      /* until there is not enough memory */
};

#define LEAKS_LONG (200 * BL_MS)
#define LEAKS_HOLD (10 * BL_MS)
#define LEAKS_HOLD_BLIND (100 * BL_MS) /* where nothing else tells of who runs */

static bool crowd_let_go(void) { return bl_goroutines() > LEAKS_CROWD && bl__let_go(); }

static void leak_fill(bl_leak *out, const bl__stuck *s, bool proven)
{
    bl__g g;
    *out = (bl_leak){.id = s->id, .reason = "", .proven = proven};
    if (!bl__peek(&g, s->at, sizeof g) || g.id != s->id)
        return;
    out->reason = bl__reason_text((bl__reason)g.reason);
    out->since = g.since;
    if (g.site != NULL && g.id != 1) {
        out->function = g.site->what;
        out->file = g.site->file;
        out->line = g.site->line;
    }
    const bl__site *made = bl__describe_made(&g);
    bl__site_text text;
    if (bl__site_read(&text, made)) {
        out->object_file = made->file;
        out->object_line = made->line;
    }
}

static bool stuck_has(const bl__stuck *list, size_t n, uint64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].id == id)
            return true;
    return false;
}

/* If others ran while memory was read, an address may have moved meanwhile. So the first search has
 * them held, if that can be. Where that is not all, as beside threads of the program's own, it is
 * looked again, and the search counts that met nobody, or else the one that has found the fewest.
 * Where an address may have been in a register all the time, memory says nothing: the last one has
 * them held again. spare: as large as s->found. */
static void leaks_search(bl__search *s, bl__stuck *spare)
{
    bl_time began = bl__clock();
    bl_dur most = bl__sample_may() ? LEAKS_HOLD : LEAKS_HOLD_BLIND;
    s->undecided = true;
    for (int i = 0; i < LEAKS_UNDECIDED && s->undecided; i++) { /* many may have begun meanwhile */
        s->hold = most;
        bl__stuck_search(s);
        bl__take_up(s->held);
    }
    bl__search last = *s;
    for (int i = 1; s->by_memory && !s->quiet && i < LEAKS_TRIES; i++) {
        if (i == LEAKS_LEAST && bl__clock() - began > LEAKS_LONG)
            break;
        bl__search again = last;
        again.found = spare;
        again.hold = i == LEAKS_LEAST - 1 || i == LEAKS_TRIES - 1 ? most : 0;
        bl__stuck_search(&again);
        bl__take_up(again.held);
        if (again.undecided)
            continue;
        last = again;
        if (!again.quiet && again.count >= s->count)
            continue;
        spare = s->found;
        *s = again;
    }
    s->blind = s->by_memory && !s->quiet && last.running_count > 0;
    if (s->blind)
        bl__stuck_search(s);
}

__attribute__((noinline)) static int leaks_find(bl_leak *out, size_t max, const void *self)
{
    size_t most = max > 0 ? max : 1;
    bl__stuck *found =
        most < SIZE_MAX / 4 / sizeof *found ? bl__alloc(3 * most * sizeof *found) : NULL;
    if (found == NULL)
        return BL_ENOMEM;
    bl__search proven = {.limit = (size_t)1 << LEAKS_MEMORY_SHIFT,
                         .closely = true,
                         .self = self,
                         .found = found,
                         .most = most};
    bl__search all = proven;
    int cancel;
    all.leaks = true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel); /* or what it locks would stay so */
    leaks_search(&proven, found + most);
    bl__stuck *rest = proven.found == found ? found + most : found; /* what proven does not use */
    all.found = rest;
    leaks_search(&all, found + 2 * most);
    pthread_setcancelstate(cancel, NULL);
    size_t n = all.count < max ? all.count : max;
    size_t proven_n = proven.count < most ? proven.count : most;
    for (size_t i = 0; i < n; i++)
        leak_fill(&out[i], &all.found[i], stuck_has(proven.found, proven_n, all.found[i].id));
    bl__free(found);
    return all.undecided ? BL_ENOMEM : all.count < INT32_MAX ? (int)all.count : INT32_MAX;
}

/* What the caller has in registers is on its stack from here on up, and what the search works with
 * is not. */
int bl_leaks(bl_leak *out, size_t max)
{
    __builtin_unwind_init();
    const bl__m *m = bl__this_m_known();
    bool is_goroutine = m != NULL && m->g->task.kind == BL__TASK_G;
    if (!load_relaxed(&bl__rt.running))
        return 0;
    const char *self = (const char *)__builtin_frame_address(0) - BL__SAVED_REGISTERS;
    bool gone = crowd_let_go();
    int n = leaks_find(out, max, is_goroutine ? self : NULL);
    bl__take_up(gone); /* and no tail call before, which would give back the frame */
    return n;
}

/* ---- bl_stats ---- */

static void stat_goroutine(const bl__g *g, void *arg)
{
    bl_stat *s = arg;
    switch (load_relaxed(&g->task.status)) {
    case BL__G_RUNNING: s->running++; break;
    case BL__G_RUNNABLE: s->runnable++; break;
    case BL__G_PARKED: s->waiting++; break;
    default: break;
    }
}

void bl_stats(bl_stat *out)
{
    *out = (bl_stat){0};
    if (!load_relaxed(&bl__rt.running))
        return;
    bool gone = crowd_let_go();
    bl__each_goroutine(stat_goroutine, out);
    bl__take_up(gone);
    bl__counts(&out->started, &out->ended);
    out->goroutines = out->started - out->ended;
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++) {
        out->switches += load_relaxed(&bl__rt.ps[i]->tick);
        out->timers += bl__timers_count(&bl__rt.ps[i]->timers);
    }
    out->timers += bl__timers_count(&bl__rt.outside);
    out->procs = load_relaxed(&bl__rt.procs);
    out->descriptor_waits = load_relaxed(&bl__rt.poll.waiters);
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    out->procs_idle = bl__rt.idle_ps;
    out->threads = bl__rt.threads;
    out->threads_idle = bl__rt.idle_ms;
    out->threads_away = bl__rt.away;
    bl__unlock(&bl__rt.lock);
}
