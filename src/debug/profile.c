/* SPDX-License-Identifier: MIT */
/*
 * profile.c: bl_profile.
 *
 * Stacks are gathered while the program goes on, each goroutine's at a moment of its own: nothing
 * is stopped, and no lock is held that the scheduler takes. Names and lines are looked up once for
 * each place, when all is gathered. It works on a stack of its own, since reading debug information
 * takes more than a goroutine may have.
 */
#include <belay/debug.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/proc.h"
#include "debug/contention.h"
#include "debug/pprof.h"
#include "debug/report.h"
#include "debug/symbol.h"

enum { PROFILE_STACK = 512 * 1024, PROFILE_LOOKS = 3 };

static const bl__profile_kind kinds[] = {
    {"goroutine", {"goroutine", NULL}, {"count", NULL}},
    {"goroutineleak", {"goroutineleak", NULL}, {"count", NULL}},
    {"threadcreate", {"threadcreate", NULL}, {"count", NULL}},
    {"block", {"contentions", "delay"}, {"count", "nanoseconds"}},
    {"mutex", {"contentions", "delay"}, {"count", "nanoseconds"}},
    {"schedlatency", {"wakeups", "delay"}, {"count", "nanoseconds"}},
};
enum { KIND_GOROUTINE, KIND_LEAK, KIND_THREADS, KIND_CONTENDED };

typedef struct profiling {
    int fd;
    int debug;
    const bl__profile_kind *kind;
    bl_dur seconds;    /* what happened within; 0: all so far, or what is now */
    bl__stacks before; /* what there was then */
    const bl__g *self; /* NULL: the caller is no goroutine */
    bl__trace trace;   /* the caller's */
    bl_leak *leaks;    /* by id */
    size_t leaks_count;
    bl__trace_memo memo;
    bl__stacks stacks;
    int result;
} profiling;

/* ---- Gathering ---- */

static int id_compare(const void *key, const void *element)
{
    uint64_t a = *(const uint64_t *)key, b = ((const bl_leak *)element)->id;
    return a < b ? -1 : a > b;
}

static bool is_leaked(const profiling *p, uint64_t id)
{
    return p->leaks_count > 0 &&
           bsearch(&id, p->leaks, p->leaks_count, sizeof *p->leaks, id_compare) != NULL;
}

static void goroutine_add(const bl__g *g, void *arg)
{
    static const int64_t one[BL__STACK_VALUES] = {1, 0};
    profiling *p = arg;
    bl__trace trace;
    bool have = false;
    if (p->kind == &kinds[KIND_LEAK] && !is_leaked(p, g->id))
        return;
    if (g == p->self) {
        bl__stacks_add(&p->stacks, &p->trace, g->labels, one);
        return;
    }
    for (int i = 0; i < PROFILE_LOOKS && !have && g->task.kind == BL__TASK_G; i++)
        have = bl__trace_parked_memo(&trace, g, &p->memo);
    if (!have) { /* it runs elsewhere, or has not run: what it was started with */
        trace.total = 1;
        trace.inner[0] = (uintptr_t)g->fn;
    }
    bl__stacks_add(&p->stacks, &trace, g->labels, one);
}

/* Threads, by what they run. */
static void thread_add(profiling *p, uintptr_t what, int64_t n)
{
    bl__trace trace = {.total = 1, .inner = {what}};
    int64_t values[BL__STACK_VALUES] = {n, 0};
    if (n > 0)
        bl__stacks_add(&p->stacks, &trace, NULL, values);
}

static void threads_add(profiling *p)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    uint32_t threads = bl__rt.threads;
    bl__unlock(&bl__rt.lock);
    thread_add(p, (uintptr_t)&bl__schedule, threads);
    thread_add(p, (uintptr_t)&bl__sysmon_start, 1);
}

/* What was recorded, and is there after the run as well. */
static bool is_contention(const bl__profile_kind *kind) { return kind >= &kinds[KIND_CONTENDED]; }

static bl__contended contended_of(const bl__profile_kind *kind)
{
    return (bl__contended)(kind - &kinds[KIND_CONTENDED]); /* in the order of bl__contended */
}

/* ---- As text ---- */

static bool text_symbol(const bl__symbol *s, void *arg)
{
    bl__out *o = arg;
    const char *func = s->func != NULL ? bl__symbol_called(s) : "?";
    if (func == NULL)
        return false;
    if (s->file != NULL)
        bl__out_printf(o, "#\t0x%lx\t%s\t%s:%d\n", (unsigned long)s->pc, func, s->file, s->line);
    else
        bl__out_printf(o, "#\t0x%lx\t%s+0x%lx\t%s\n", (unsigned long)s->pc, func,
                       (unsigned long)s->offset, s->module != NULL ? s->module : "?");
    return false;
}

static void text_labels(bl__out *o, const bl__stacks *s, const bl__stack_entry *e)
{
    const char *p = s->texts + e->text;
    if (e->labels == 0)
        return;
    for (uint32_t i = 0; i < e->labels; i++) {
        const char *value = p + strlen(p) + 1;
        bl__out_printf(o, "%s", i == 0 ? "# labels: {" : ", ");
        bl__out_quoted(o, p);
        bl__out_printf(o, ":");
        bl__out_quoted(o, value);
        p = value + strlen(value) + 1;
    }
    bl__out_printf(o, "}\n");
}

static int most_first(const void *a, const void *b)
{
    const bl__stack_entry *x = a, *y = b;
    if (x->values[0] != y->values[0])
        return x->values[0] > y->values[0] ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static int longest_first(const void *a, const void *b)
{
    const bl__stack_entry *x = a, *y = b;
    if (x->values[1] != y->values[1])
        return x->values[1] > y->values[1] ? -1 : 1;
    return most_first(a, b);
}

static int text_write(const profiling *p)
{
    bl__out o;
    const bl__stacks *s = &p->stacks;
    if (s->count > 0)
        qsort(s->entries, s->count, sizeof *s->entries,
              is_contention(p->kind) ? longest_first : most_first);
    bl__out_init(&o, p->fd);
    bool timed = is_contention(p->kind);
    if (timed) /* as in Go; a cycle is a nanosecond */
        bl__out_printf(&o, "--- %s:\ncycles/second=1000000000\n",
                       contended_of(p->kind) == BL__CONTENDED_BLOCK ? "contention" : p->kind->name);
    else
        bl__out_printf(&o, "%s profile: total %lld\n", p->kind->name, (long long)s->totals[0]);
    for (size_t i = 0; i < s->count; i++) {
        const bl__stack_entry *e = &s->entries[i];
        if (e->values[0] == 0 && e->values[1] == 0)
            continue; /* of a difference */
        if (timed)
            bl__out_printf(&o, "%lld ", (long long)e->values[1]);
        bl__out_printf(&o, "%lld @", (long long)e->values[0]);
        for (uint32_t f = 0; f < e->depth; f++)
            bl__out_printf(&o, " 0x%lx", (unsigned long)s->pcs[e->first + f]);
        bl__out_printf(&o, "\n");
        text_labels(&o, s, e);
        for (uint32_t f = 0; f < e->depth; f++)
            bl__symbol_each(s->pcs[e->first + f], text_symbol, &o);
        bl__out_printf(&o, "\n");
    }
    bl__out_flush(&o);
    return 0;
}

static bool want_leaked(const bl__g *g, void *arg) { return is_leaked(arg, g->id); }

static void profile_leaks(bl__out *o, void *arg)
{
    const profiling *p = arg;
    bl__report_all what = {
        .want = want_leaked, .arg = arg, .leaked = true, .asked = true, .cause = BL__CAUSE_STUCK};
    if (p->debug >= BL__PROFILE_PAGE)
        bl__out_printf(o, "%zu stuck goroutine%s\n\n", p->leaks_count,
                       p->leaks_count == 1 ? "" : "s");
    bl__report_each(o, &what);
}

/* ---- bl_profile ---- */

static void profile_make(void *arg)
{
    profiling *p = arg;
    if (p->kind == &kinds[KIND_THREADS])
        threads_add(p);
    else if (is_contention(p->kind))
        bl__contended_copy(contended_of(p->kind), &p->stacks);
    else if (load_relaxed(&bl__rt.running))
        bl__each_goroutine(goroutine_add, p);
    if (!bl__stacks_trim(&p->stacks))
        p->result = BL_ENOMEM;
}

static void profile_put(void *arg)
{
    profiling *p = arg;
    if (p->seconds > 0 && !bl__stacks_subtract(&p->stacks, &p->before))
        p->result = BL_ENOMEM;
    else if (p->debug > 0)
        p->result = text_write(p);
    else
        p->result = bl__pprof_write(p->fd, &p->stacks, p->kind, p->seconds);
}

/* The stuck goroutines; false: no memory. */
static bool leaks_get(profiling *p)
{
    for (size_t most = 64;;) {
        p->leaks = bl__alloc(most * sizeof *p->leaks);
        int n = p->leaks != NULL ? bl_leaks(p->leaks, most) : BL_ENOMEM;
        if (n < 0)
            return false;
        p->leaks_count = (size_t)n;
        if ((size_t)n <= most)
            return true;
        bl__free(p->leaks);
        most = (size_t)n + 64;
    }
}

/* Calls fn on a stack of its own, and lets others have the processor meanwhile. */
static void profile_run(profiling *p, void (*fn)(void *arg))
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER; /* beside it there is memory enough */
    char *stack = mmap(NULL, PROFILE_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) {
        p->result = BL_ENOMEM;
        return;
    }
    bool gone = bl__let_go();
    pthread_mutex_lock(&one);
    if (BL__ASAN || BL__TSAN) /* which want to know of every stack, and make theirs larger */
        fn(p);
    else
        bl__stack_call(stack + PROFILE_STACK, fn, p);
    pthread_mutex_unlock(&one);
    munmap(stack, PROFILE_STACK);
    bl__take_up(gone);
}

static const bl__profile_kind *profile_kind(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (name != NULL && strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* Fills in p->stacks. */
static void profile_gather(profiling *p)
{
    if (p->kind == &kinds[KIND_LEAK] && !leaks_get(p))
        p->result = BL_ENOMEM;
    else
        profile_run(p, profile_make);
    bl__trace_space_free(&p->memo.space);
    p->memo = (bl__trace_memo){0};
}

/* What there was before it; then the caller sleeps, and what there is afterwards is left to who
 * called. */
static void profile_wait(profiling *p)
{
    bool started = is_contention(p->kind) && bl__contended_start(contended_of(p->kind));
    profile_gather(p);
    p->before = p->stacks;
    p->stacks = (bl__stacks){0};
    bl__free(p->leaks);
    p->leaks = NULL;
    if (p->result == 0)
        p->result = bl_sleep(p->seconds);
    if (started)
        bl__contended_stop(contended_of(p->kind));
}

static int profile_whole(profiling *p)
{
    bool text = p->debug >= 2 && p->kind == &kinds[KIND_LEAK];
    if (p->seconds > 0)
        profile_wait(p);
    if (p->result == 0 && text)
        p->result = leaks_get(p) ? 0 : BL_ENOMEM;
    else if (p->result == 0)
        profile_gather(p);
    if (p->result == 0 && text)
        bl__report_run_aside(p->fd, profile_leaks, p);
    else if (p->result == 0)
        profile_run(p, profile_put);
    return p->result;
}

int bl__profile_for(int fd, const char *name, int debug, bl_dur seconds)
{
    const bl__profile_kind *kind = profile_kind(name);
    const bl__m *m = bl__this_m_known();
    if (kind == NULL || debug < 0 || (seconds > 0 && debug >= 2))
        return BL_EINVAL;
    if (write(fd, "", 0) < 0)
        return -errno;
    if (debug >= 2 && kind == &kinds[KIND_GOROUTINE])
        return bl_dump(fd);

    profiling *p = bl__zalloc(sizeof *p);
    if (p == NULL)
        return BL_ENOMEM;
    p->fd = fd;
    p->debug = debug;
    p->kind = kind;
    p->seconds = seconds;
    p->self = m != NULL && m->g->task.kind == BL__TASK_G ? m->g : NULL;
    bl__trace_here(&p->trace, __builtin_return_address(0));
    int result = profile_whole(p);
    bl__stacks_free(&p->stacks);
    bl__stacks_free(&p->before);
    bl__free(p->leaks);
    bl__free(p);
    return result;
}

int bl_profile(int fd, const char *name, int debug) { return bl__profile_for(fd, name, debug, 0); }
