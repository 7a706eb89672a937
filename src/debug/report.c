/* SPDX-License-Identifier: MIT */
/*
 * report.c: see report.h.
 *
 * A report walks the records while goroutines go on running and ending. So it first gathers
 * numbers, and then looks at each goroutine again: a record that belongs to another by then is
 * passed over. Gathering goes in rounds, each taking the lowest numbers not yet printed, which
 * needs no memory that grows with the number of goroutines.
 */
#include "debug/report.h"
#include "os/futex.h"
#include "os/os.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "arch/unwind.h"
#include "core/blocking.h"
#include "core/proc.h"
#include "debug/alike.h"
#include "debug/crash.h"
#include "debug/describe.h"
#include "debug/fatal.h"
#include "debug/peek.h"
#include "life/notify.h"

enum {
    STACK_SIZE = 128 * 1024,
    LOCK_PATIENCE = 2000, /* ms that another thread's report is waited for */
    REPORT_NAP = 10,      /* ms of it at a time */
    ROUND = 1024,         /* goroutines gathered at a time */
    GROUPS = 256,         /* of goroutines that are alike, in one report */
    TOLD = 1024,          /* goroutines that are known to have been told of */
    LOOKS = 3,            /* at a goroutine that runs in between */
    LOOKS_LATE = 100,     /* and at one that will not stop: LOOK_PAUSE ns apart */
    LOOK_PAUSE = 20000
};

/* ---- One at a time, on its own stack ---- */

static struct {
    uint32_t owner; /* atomic: thread id of who reports; 0: nobody */
    uint32_t depth; /* owner */
} reporter;

static char report_stack[STACK_SIZE] __attribute__((aligned(64))); /* reporter's */

static bool reporter_lock(void)
{
    uint32_t self = (uint32_t)gettid();
    int64_t until = bl__clock() + LOCK_PATIENCE * BL_MS;
    do {
        uint32_t owner = 0;
        if (load_relaxed(&reporter.owner) == self ||
            cas_acquire(&reporter.owner, &owner, self)) { /* ORD(report) */
            reporter.depth++;
            return true;
        }
        bl__futex_wait(&reporter.owner, owner, REPORT_NAP * BL_MS);
    } while (bl__clock() < until);
    return false;
}

bool bl__report_awaited(const bl__thread_call *call)
{
    return call->number == SYS_futex && (uintptr_t)call->args[0] == (uintptr_t)&reporter.owner;
}

void bl__report_lock(void) { (void)reporter_lock(); }

void bl__report_unlock(void)
{
    if (load_relaxed(&reporter.owner) != (uint32_t)gettid() || --reporter.depth != 0)
        return;
    store_release(&reporter.owner, 0u); /* ORD(report) */
    bl__futex_wake(&reporter.owner, 1);
}

typedef struct report_call {
    int fd;
    void (*fn)(bl__out *o, void *arg);
    void *arg;
    bl__out *out;
} report_call;

static void report_call_fn(void *arg)
{
    const report_call *call = arg;
    call->fn(call->out, call->arg);
}

static void report_begin(void *arg)
{
    report_call *call = arg;
    bl__out o;
    bl__out_init(&o, call->fd);
    call->out = &o;
    bl__san_unchecked_begin();
    if (load_relaxed(&bl__fatal_dying.owner) == (uint32_t)gettid())
        report_call_fn(call); /* whose crash is seen to by what is fatal itself */
    else if (!bl__rescue(report_call_fn, call))
        bl__out_printf(&o, "\n\t(the report crashed here, and is left at that)\n\n");
    bl__san_unchecked_end();
    bl__out_flush(&o);
    call->out = NULL;
}

static void report_run(int fd, void (*fn)(bl__out *o, void *arg), void *arg)
{
    report_call call = {fd, fn, arg, NULL};
    bool locked = reporter_lock();
    /* Sanitizers want to know of every stack, and give their own reports the room they need. */
    if (locked && reporter.depth == 1 && !BL__ASAN && !BL__TSAN)
        bl__stack_call(report_stack + sizeof report_stack, report_begin, &call);
    else
        report_begin(&call);
    if (locked)
        bl__report_unlock();
}

void bl__report_run(int fd, void (*fn)(bl__out *o, void *arg), void *arg)
{
    (void)add_relaxed(&bl__rt.reports, 1u); /* what it tells of stands still as far as it can */
    report_run(fd, fn, arg);
    (void)add_relaxed(&bl__rt.reports, -1u);
}

void bl__report_run_aside(int fd, void (*fn)(bl__out *o, void *arg), void *arg)
{
    bool gone = bl__let_go();
    report_run(fd, fn, arg);
    bl__take_up(gone);
}

/* ---- One goroutine ---- */

static void since_print(bl__out *o, bl_time since)
{
    int64_t seconds = (bl__clock() - since) / BL_SEC;
    if (since == 0 || seconds < 1)
        return;
    if (seconds < 60)
        bl__out_printf(o, ", %llds", (long long)seconds);
    else
        bl__out_printf(o, ", %lld minutes", (long long)(seconds / 60));
}

/* When the goroutine of this record began to run, as far as sysmon knows; 0: it does not. The
 * processor is the one whose thread has it, and has not picked another since sysmon looked; or it
 * was taken away. */
static bl_time running_since(const bl__g *at)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++) {
        const bl__p *p = bl__rt.ps[i];
        const bl__g *g;
        if (bl__peek(&g, load_relaxed(&p->m), sizeof g) && g == at)
            return load_relaxed(&p->tick) == load_relaxed(&p->seen_tick)
                       ? load_relaxed(&p->seen_since)
                       : 0;
    }
    return at->task.kind == BL__TASK_G ? load_relaxed(&at->away_since) : 0;
}

/* g: a copy of the record at, which is NULL for the caller's own and for what has not run. */
static void head_print(bl__out *o, const bl__g *g, const bl__g *at, bool leaked)
{
    bl__out_printf(o, "goroutine %llu [", (unsigned long long)g->id);
    if (g->task.status == BL__G_PARKED) {
        bl__out_printf(o, "%s%s", bl__reason_text((bl__reason)g->reason),
                       leaked ? " (leaked)" : "");
        since_print(o, g->since);
    } else {
        bl__out_printf(o, "%s", g->task.status == BL__G_RUNNING ? "running" : "runnable");
        if (g->task.status == BL__G_RUNNING && at != NULL)
            since_print(o, running_since(at));
    }
    bl__out_printf(o, "]:\n");
}

void bl__report_head(bl__out *o, const bl__g *g)
{
    if (g == NULL && bl__helper_caller() != 0)
        bl__out_printf(o, "thread %d [running for goroutine %llu]:\n", (int)gettid(),
                       (unsigned long long)bl__helper_caller());
    else if (g == NULL)
        bl__out_printf(o, "thread %d [running]:\n", (int)gettid());
    else
        head_print(o, g, NULL, false);
}

void bl__report_tail(bl__out *o, const bl__g *g, const bl__g *at)
{
    if (g == NULL)
        return;
    if (g->site != NULL && g->parent != 0)
        bl__out_printf(o, "created by %s in goroutine %llu\n\t%s:%d\n", g->site->func,
                       (unsigned long long)g->parent, g->site->file, g->site->line);
    else if (g->site != NULL && g->id != 1)
        bl__out_printf(o, "created by %s in a plain thread\n\t%s:%d\n", g->site->func,
                       g->site->file, g->site->line);
    if (g->task.status == BL__G_PARKED)
        bl__describe_wait(o, g);
    if (at != NULL)
        bl__describe_held(o, g, at);
    bl__describe_labels(o, g);
}

/* What gathering notes: the record itself, or what there is of a goroutine that has none yet. */
typedef struct item {
    uint64_t id;
    const bl__g *at; /* NULL: it has not run */
    uint64_t parent;
    const bl__site *site;
    bl__labels *labels;
    bl_fn fn;
} item;

/* Without a trace: what it was started with, which is all that is known. */
static void frames_print(bl__out *o, const bl__trace *trace, bl_fn fn, bool system)
{
    static const bl__trace none;
    bl__trace_print(o, trace != NULL ? trace : &none, fn, system);
}

static void spawned_print(bl__out *o, const item *it, bool system)
{
    bl__g g = {.task = {.kind = BL__TASK_SPAWN, .status = BL__G_RUNNABLE},
               .id = it->id,
               .parent = it->parent,
               .site = it->site,
               .labels = it->labels};
    head_print(o, &g, NULL, false);
    frames_print(o, NULL, it->fn, system);
    bl__report_tail(o, &g, NULL);
    bl__out_printf(o, "\n");
}

/* What there is to print of one that has run. */
typedef struct shown {
    bl__g g; /* a copy */
    bl__trace trace;
    bool have; /* the trace */
} shown;

/* Looks at it; one that runs is met between two switches if it is looked at often enough. False: it
 * is gone. */
static bool item_look(const item *it, shown *now, int looks)
{
    struct timespec pause = {.tv_nsec = LOOK_PAUSE};
    now->have = false;
    for (int i = 0; i < looks && !now->have; i++) {
        if (i >= LOOKS)
            nanosleep(&pause, NULL);
        if (!bl__peek(&now->g, it->at, sizeof now->g) || now->g.id != it->id ||
            now->g.task.status == BL__G_DEAD)
            return false;
        now->have = bl__trace_parked(&now->trace, it->at) &&
                    load_relaxed(&it->at->switches) == now->g.switches;
    }
    if (!now->have && now->g.task.status == BL__G_RUNNING)
        now->have = bl__trace_in_call(&now->trace, it->at) ||
                    (looks > LOOKS && bl__trace_computing(&now->trace, it->at));
    return true;
}

/* Goroutines that stderr has told of as stuck or late; of those of them that have not moved since,
 * only the numbers are told again. Reporter's. */
static struct {
    struct {
        uint64_t id;
        uint32_t switches;
    } of[TOLD];
    uint64_t count;  /* so far; the last ones are kept */
    bl__alike again; /* in the report that is being made */
} told;

static uint32_t item_switches(const item *it)
{
    return it->at != NULL ? load_relaxed(&it->at->switches) : 0;
}

/* Tells it by itself, on stderr. */
static bool tells(const bl__out *o, const bl__report_all *what)
{
    return o->fd == STDERR_FILENO && what->cause != BL__CAUSE_NONE && !what->asked;
}

static void told_add(const bl__out *o, const item *it, const bl__report_all *what)
{
    if (!tells(o, what))
        return;
    told.of[told.count % TOLD].id = it->id;
    told.of[told.count++ % TOLD].switches = item_switches(it);
}

/* True: it was told of; then it is left to told_print. */
static bool told_before(const bl__out *o, const item *it, const bl__report_all *what)
{
    for (uint64_t i = 0; tells(o, what) && i < told.count && i < TOLD; i++)
        if (told.of[i].id == it->id && told.of[i].switches == item_switches(it)) {
            bl__alike_add(&told.again, it->id);
            return true;
        }
    return false;
}

static void told_print(bl__out *o)
{
    if (told.again.count == 0)
        return;
    bl__out_printf(o, "%llu already reported: ", (unsigned long long)told.again.count);
    bl__alike_ids(o, &told.again);
    bl__out_printf(o, "\n");
    told.again.count = 0;
}

void bl__report_forget(void) { told.count = 0; }

/* Of one whose function runs on another thread: where that begins, and what it waits on. */
static bl_fn blocking_look(const bl__g *g, const bl__g *at, bl__g *helper)
{
    bool blocks = g->task.status == BL__G_PARKED && g->reason == BL__WAIT_BLOCKING;
    return blocks ? bl__helper_of(at, helper) : NULL;
}

static void blocking_print(bl__out *o, const bl__g *helper)
{
    if (helper->task.status != BL__G_PARKED)
        return;
    bl__out_printf(o, "its function, on a thread of its own: %s\n",
                   bl__reason_text((bl__reason)helper->reason));
    bl__describe_wait(o, helper);
}

/* others: goroutines like it, which are not shown. False: it has ended, or gone on. */
static bool item_print(bl__out *o, const item *it, const bl__report_all *what,
                       const bl__alike *others)
{
    shown now;
    bl__g helper;
    if (it->at == NULL) {
        spawned_print(o, it, what->system);
        return true;
    }
    if (!item_look(it, &now, what->leaked ? LOOKS_LATE : LOOKS))
        return false;
    head_print(o, &now.g, it->at, what->leaked);
    if (!now.have)
        bl__out_printf(o, "\t%sstack unavailable\n",
                       now.g.task.status == BL__G_RUNNING ? "goroutine running on other thread; "
                                                          : "");
    bl_fn blocks = blocking_look(&now.g, it->at, &helper);
    if (blocks != NULL)
        frames_print(o, NULL, blocks, what->system);
    frames_print(o, now.have ? &now.trace : NULL, now.g.fn, what->system);
    bl__report_tail(o, &now.g, it->at);
    if (blocks != NULL)
        blocking_print(o, &helper);
    bl__cause_print(o, &now.g, it->at, what->cause);
    if (others != NULL)
        bl__alike_print(o, others);
    bl__out_printf(o, "\n");
    return true;
}

/* ---- All goroutines ---- */

/* The items with the lowest numbers above last: a heap with the highest number on top.
 * Reporter's. */
static item round_items[ROUND];

typedef struct gathering {
    const bl__report_all *what;
    uint64_t last;
    size_t count;
} gathering;

static void heap_down(size_t count, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && round_items[child + 1].id > round_items[child].id)
            child++;
        if (round_items[i].id >= round_items[child].id)
            return;
        item t = round_items[i];
        round_items[i] = round_items[child];
        round_items[child] = t;
    }
}

static void heap_up(size_t i)
{
    while (i > 0 && round_items[(i - 1) / 2].id < round_items[i].id) {
        item t = round_items[i];
        round_items[i] = round_items[(i - 1) / 2];
        round_items[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

bool (*bl__report_skips)(const bl__g *g);
const bl__site *bl__report_above;

bool bl__report_leaves_out(const bl__g *g)
{
    return bl__traceback_level() < BL__TRACEBACK_SYSTEM && bl__report_skips != NULL &&
           bl__report_skips(g);
}

static bool report_wants(const bl__g *g, const bl__report_all *what)
{
    if (what->want != NULL)
        return what->want(g, what->arg);
    return what->system || bl__report_skips == NULL || !bl__report_skips(g);
}

static void gather(const bl__g *g, void *arg)
{
    gathering *in = arg;
    if (g->id <= in->last || g->id == in->what->except ||
        (in->count == ROUND && g->id >= round_items[0].id) || !report_wants(g, in->what))
        return;
    item it = {.id = g->id,
               .at = g->task.kind == BL__TASK_G ? g : NULL,
               .parent = g->parent,
               .site = g->site,
               .labels = g->labels,
               .fn = g->fn};
    if (in->count < ROUND) {
        round_items[in->count] = it;
        heap_up(in->count++);
    } else {
        round_items[0] = it;
        heap_down(in->count, 0);
    }
}

static void items_sort(size_t count)
{
    while (count > 1) {
        item top = round_items[0];
        round_items[0] = round_items[--count];
        round_items[count] = top;
        heap_down(count, 0);
    }
}

/* Calls fn for each goroutine that is wanted, in the order of their numbers. */
static void items_each(bl__out *o, const bl__report_all *what,
                       void (*fn)(bl__out *o, const item *it, const bl__report_all *what))
{
    gathering in = {.what = what};
    do {
        in.count = 0;
        bl__each_goroutine(gather, &in);
        items_sort(in.count);
        for (size_t i = 0; i < in.count; i++)
            if (i == 0 || round_items[i].id != round_items[i - 1].id) /* began to run meanwhile */
                fn(o, &round_items[i], what);
        if (in.count > 0)
            in.last = round_items[in.count - 1].id;
    } while (in.count == ROUND);
}

static void one_print(bl__out *o, const item *it, const bl__report_all *what)
{
    if (!told_before(o, it, what))
        (void)item_print(o, it, what, NULL);
}

/* ---- Those that are alike ---- */

/* Reporter's. */
static struct {
    item items[GROUPS];
    bl__alike alike[GROUPS];
    uint32_t count;
    uint64_t left; /* goroutines for which there was no room */
} groups;

void bl__report_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg)
{
    fn(round_items, round_items + ROUND, arg);
    fn(report_stack, report_stack + STACK_SIZE, arg);
    fn(&groups, &groups + 1, arg);
    bl__trace_memory(fn, arg);
}

/* What two that are shown as one have in common; 0: it is shown by itself. */
static uint64_t item_key(const item *it)
{
    shown now;
    if (it->at == NULL)
        return bl__alike_key(NULL, NULL, (const void *)it->site, 0);
    if (!item_look(it, &now, 1) || now.g.task.status == BL__G_RUNNING || now.g.held != NULL ||
        now.g.held_rw != NULL)
        return 0;
    uint32_t tick;
    return bl__alike_key(&now.g, now.have ? &now.trace : NULL, bl__describe_made(&now.g),
                         bl__describe_owner(&now.g, &tick));
}

static void one_group(bl__out *o, const item *it, const bl__report_all *what)
{
    if (told_before(o, it, what))
        return;
    uint64_t key = item_key(it);
    for (uint32_t i = 0; key != 0 && i < groups.count; i++)
        if (groups.alike[i].key == key) {
            bl__alike_add(&groups.alike[i], it->id);
            told_add(o, it, what);
            return;
        }
    if (groups.count == GROUPS) {
        groups.left++;
        return;
    }
    told_add(o, it, what);
    groups.items[groups.count] = *it;
    groups.alike[groups.count++] = (bl__alike){.key = key};
}

/* Where nobody has asked they were counted before, and may have ended since. */
static void groups_print(bl__out *o, const bl__report_all *what)
{
    groups.count = 0;
    groups.left = 0;
    items_each(o, what, one_group);
    bool shown = groups.left > 0 || told.again.count > 0;
    for (uint32_t i = 0; i < groups.count; i++)
        shown = item_print(o, &groups.items[i], what, &groups.alike[i]) || shown;
    if (groups.left > 0)
        bl__out_printf(o, "...%llu more goroutines...\n\n", (unsigned long long)groups.left);
    if (!shown && !what->asked)
        bl__out_printf(o, "by now they have ended, or gone on\n");
}

void bl__report_each(bl__out *o, const bl__report_all *what)
{
    if (what->leaked)
        groups_print(o, what);
    else
        items_each(o, what, one_print);
    told_print(o);
}

static void leaked_print(bl__out *o, bool (*want)(const bl__g *g, void *arg), void *arg,
                         bl__cause_of cause)
{
    bl__report_all what = {.want = want,
                           .arg = arg,
                           .leaked = true,
                           .system = bl__traceback_level() >= BL__TRACEBACK_SYSTEM,
                           .cause = cause};
    bl__out_printf(o, "\n");
    bl__report_each(o, &what);
}

void bl__report_goroutines(bl__out *o, bool (*want)(const bl__g *g, void *arg), void *arg)
{
    leaked_print(o, want, arg, BL__CAUSE_LATE);
}

void bl__report_stuck(bl__out *o, bool (*want)(const bl__g *g, void *arg), void *arg)
{
    leaked_print(o, want, arg, BL__CAUSE_STUCK);
}

/* ---- The end of a run ---- */

static void leaks_print(bl__out *o, void *arg)
{
    size_t left = *(size_t *)arg;
    bl__report_all what = {.leaked = true,
                           .system = bl__traceback_level() >= BL__TRACEBACK_SYSTEM,
                           .cause = BL__CAUSE_LATE};
    bl__out_printf(o, "belay: leak: %zu goroutine%s left when the program ended:\n\n", left,
                   left == 1 ? "" : "s");
    bl__report_each(o, &what);
}

void bl__report_leaks(size_t left) { bl__report_run(STDERR_FILENO, leaks_print, &left); }

static void refused_print(bl__out *o, void *arg)
{
    int err = *(const int *)arg;
    const bl_options *of = &bl__rt.options;
    const char *wrong;
    long long value, most;
    bl__out_printf(o, "belay: no goroutine was started: bl_run returns %s: ", bl_err_name(err));
    if (err == BL_EAGAIN)
        bl__out_printf(o, "the system gives no thread; look at the limits on threads (ulimit -u, "
                          "pids.max of the cgroup) and on memory for its stack (ulimit -v, -s)\n");
    else if (err == BL_ENOMEM)
        bl__out_printf(o,
                       "out of memory, with stacks of %zu KiB (bl_options.stack_size, BELAY_STACK) "
                       "and %d processors (procs, BELAY_PROCS); look at the limits on memory "
                       "(ulimit -v, memory.max of the cgroup), or ask for less\n",
                       of->stack_size / 1024, of->procs);
    else if (err == BL_EBUSY)
        bl__out_printf(o,
                       "goroutines that an earlier run has left kept %u of its threads when this "
                       "process was forked, which it does not have and cannot wait for; it can "
                       "exec or _exit\n",
                       load_relaxed(&bl__rt.forked_left));
    else if ((wrong = bl__options_wrong(of, &value, &most)) != NULL)
        bl__out_printf(o, "bl_options.%s is %lld, which is not from 0 to %lld\n", wrong, value,
                       most);
    else
        bl__out_printf(o,
                       "the system gives no thread: %s; look at what filters system calls "
                       "(clone, clone3), as in a container\n",
                       bl_strerror(err));
}

void bl__report_refused(int err) { bl__report_run(STDERR_FILENO, refused_print, &err); }

static struct {
    uint32_t due;     /* atomic: of a run that has begun */
    uint32_t watched; /* atomic: 1 once summary_exit is registered */
} summary;

static void summary_print(bl__out *o, void *arg)
{
    uint64_t started, ended;
    bl__counts(&started, &ended);
    bl__out_printf(o, "belay: goroutines: %llu started, %llu ended, %llu left%s\n",
                   (unsigned long long)started, (unsigned long long)ended,
                   (unsigned long long)(started - ended), (const char *)arg);
}

static void summary_say(const char *when)
{
    uint32_t yes = 1;
    if (cas_relaxed(&summary.due, &yes, 0u))
        bl__report_run(STDERR_FILENO, summary_print, (void *)(uintptr_t)when);
}

/* A run that exit was called in does not get to its end. */
static void summary_exit(void)
{
    if (load_relaxed(&bl__rt.running) && getpid() == load_relaxed(&bl__signals.pid))
        summary_say(" when exit was called");
}

bool bl__summary_wanted(void)
{
    const char *set = getenv("BELAY_SUMMARY");
    return set != NULL && strcmp(set, "1") == 0;
}

void bl__summary_check(void)
{
    const char *set = getenv("BELAY_SUMMARY");
    if (set != NULL && *set != '\0' && strcmp(set, "0") != 0 && !bl__summary_wanted())
        bl__warn("BELAY_SUMMARY=%s is neither 0 nor 1, so 0 is used", set);
}

void bl__summary_begin(void)
{
    uint32_t no = 0;
    store_relaxed(&summary.due, (uint32_t)bl__summary_wanted());
    if (bl__summary_wanted() && cas_relaxed(&summary.watched, &no, 1u))
        atexit(summary_exit);
}

void bl__report_summary(void) { summary_say(""); }

enum { EXIT_LEAKED = 3 };

/* What makes an exit with 0 one with 3. */
static struct {
    uint32_t watched; /* atomic: 1 once leaked_exit is registered */
    uint32_t left;    /* atomic: a run has ended and left goroutines behind */
    uint32_t late;    /* atomic: scopes reported for their grace and not yet joined */
} leaked;

static void leaked_exit(int status, void *arg)
{
    (void)arg;
    if (status == 0 && (load_relaxed(&leaked.left) != 0 || load_relaxed(&leaked.late) != 0))
        exit(EXIT_LEAKED); /* within exit: the handlers not yet called are, with this status */
}

static void leaked_watch(void)
{
    uint32_t no = 0;
    if (cas_relaxed(&leaked.watched, &no, 1u))
        on_exit(leaked_exit, NULL);
}

void bl__exit_leaked(void)
{
    store_relaxed(&leaked.left, 1u);
    leaked_watch();
}

void (*bl__late_say)(void (*print)(bl__out *o, void *arg), void *arg);

void bl__report_late(void (*fn)(bl__out *o, void *arg), void *arg)
{
    (void)add_relaxed(&leaked.late, 1u);
    if (bl__rt.options.on_leak == BL_LEAK_FAIL)
        leaked_watch();
    if (bl__late_say != NULL)
        bl__late_say(fn, arg);
    else if (bl__rt.options.on_leak != BL_LEAK_IGNORE)
        bl__report_run(STDERR_FILENO, fn, arg);
}

void bl__report_late_joined(void) { (void)add_relaxed(&leaked.late, -1u); }
