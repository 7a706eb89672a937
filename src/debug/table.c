/* SPDX-License-Identifier: MIT */
/*
 * table.c: all goroutines as lines of text, for `belay top URL`: what cmd/belay reads from memory
 * of a process that it may read.
 *
 *     PID PROCESSORS THREADS
 *     ID KIND THREAD SINCE SWITCHES STACK STATE FUNCTION STARTED
 *
 * with a tab between them. KIND: R runs, r is runnable, w waits. THREAD, of one that runs: R
 * computes, S is in a call of the system; else -. SINCE is in ns, 0: not known; STACK in per cent.
 */
#include "debug/table.h"

#include <unistd.h>

#include "core/proc.h"
#include "debug/peek.h"
#include "debug/report.h"
#include "debug/symbol.h"
#include "os/os.h"

enum { NAMES = 64, RUNNING_MOST = 256 };

typedef struct row_running {
    const bl__g *g;
    bl_dur since;
    int tid;
} row_running;

typedef struct listing {
    bl__out *o;
    bl_time now;
    row_running running[RUNNING_MOST];
    size_t running_count;
    struct {
        bl_fn fn;
        const char *name;
    } names[NAMES]; /* looked up already */
    uint64_t id;    /* the one to show */
} listing;

static bool row_name_take(const bl__symbol *s, void *arg)
{
    *(const char **)arg = s->func;
    return false;
}

static const char *name_of(listing *t, bl_fn fn)
{
    size_t i = (uintptr_t)fn / 16 % NAMES;
    if (t->names[i].fn != fn) {
        t->names[i].fn = fn;
        t->names[i].name = NULL;
        bl__symbol_each((uintptr_t)fn, row_name_take, &t->names[i].name);
    }
    return t->names[i].name != NULL ? t->names[i].name : "?";
}

/* Who runs has the processor's time, if that has picked nobody since sysmon looked at it; or that of
 * its own when it was taken away. 0: it is not known. */
static bl_time running_began(const bl__m *m)
{
    const bl__p *p = load_relaxed(&m->p);
    if (p == NULL)
        return load_relaxed(&load_relaxed(&m->g)->away_since);
    return load_relaxed(&p->tick) == load_relaxed(&p->seen_tick) ? load_relaxed(&p->seen_since) : 0;
}

static void running_find(listing *t)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    for (const bl__m *m = bl__rt.all_m; m != NULL && t->running_count < RUNNING_MOST;
         m = m->all_next) {
        bl_time since = running_began(m);
        t->running[t->running_count++] = (row_running){
            load_relaxed(&m->g), since != 0 ? t->now - since : 0, load_relaxed(&m->tid)};
    }
    bl__unlock(&bl__rt.lock);
}

static unsigned stack_percent(const bl__g *g)
{
    const char *sp = load_relaxed(&g->sp), *low = g->stack_lo, *high = g->stack_hi;
    size_t size = (size_t)(high - low);
    return sp < low || sp >= high ? 0 : (unsigned)(((size_t)(high - sp) * 100 + size - 1) / size);
}

static void row_print(const bl__g *g, void *arg)
{
    listing *t = arg;
    uint32_t status = load_relaxed(&g->task.status);
    bool has_run = g->task.kind == BL__TASK_G;
    bool runs = status == BL__G_RUNNING, waits = has_run && status == BL__G_PARKED;
    bl_dur since = waits && g->since != 0 && t->now > g->since ? t->now - g->since : 0;
    char thread = '-';
    for (size_t i = 0; runs && i < t->running_count; i++) {
        bl__thread_call call;
        if (t->running[i].g != g)
            continue;
        since = t->running[i].since;
        thread = since >= BL_SEC && bl__thread_in_call(t->running[i].tid, &call) ? 'S' : 'R';
    }
    bl__out_printf(t->o, "%llu\t%c\t%c\t%lld\t%u\t%u\t%s\t%s\t", (unsigned long long)g->id,
                   runs    ? 'R'
                   : waits ? 'w'
                           : 'r',
                   thread, (long long)since, has_run ? g->switches : 0,
                   has_run && !runs ? stack_percent(g) : 0,
                   runs    ? "running"
                   : waits ? bl__reason_text((bl__reason)g->reason)
                           : "runnable",
                   name_of(t, g->fn));
    if (g->site != NULL && g->id != 1)
        bl__out_printf(t->o, "%s:%i (%s)" /* as it was given: short */, g->site->file,
                       g->site->line, g->site->func);
    bl__out_printf(t->o, "\n");
}

static void table_print(bl__out *o, void *arg)
{
    listing *t = arg;
    t->o = o;
    bl__out_printf(o, "%d\t%u\t%u\n", (int)getpid(), load_relaxed(&bl__rt.procs), bl__rt.threads);
    bl__each_goroutine(row_print, t);
}

static bool is_wanted(const bl__g *g, void *arg) { return g->id == ((listing *)arg)->id; }

static void row_look(bl__out *o, void *arg)
{
    bl__report_all what = {.want = is_wanted, .arg = arg};
    bl__report_each(o, &what);
}

int bl__table_write(int fd, uint64_t id)
{
    listing *t = bl__zalloc(sizeof *t);
    if (t == NULL)
        return BL_ENOMEM;
    t->id = id;
    t->now = load_relaxed(&bl__rt.coarse);
    if (id == 0)
        running_find(t);
    bl__report_run_aside(fd, id != 0 ? row_look : table_print, t);
    bl__free(t);
    return 0;
}
