/* SPDX-License-Identifier: MIT */
/*
 * run.c: a run of the runtime from bl_run's call to its return.
 *
 * bl_run's caller is not a thread of the runtime; it waits until the main goroutine has returned
 * and the root scope is joined. Then `stopping` is set, and every thread goes to its scheduler's
 * loop at its next switch and ends. A thread that does not come, because a leaked goroutine keeps
 * it, is left behind with all memory that it could touch.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/label.h"
#include "core/trace.h"
#include "core/variables.h"
#include "debug/crash.h"
#include "debug/fatal.h"
#include "debug/layout.h"
#include "debug/lockorder.h"
#include "debug/made.h"
#include "debug/quit.h"
#include "debug/report.h"
#include "debug/source.h"
#include "debug/stuck.h"
#include "debug/traceback.h"
#include "life/notify.h"
#include "life/scope.h"
#include "os/futex.h"
#include "os/os.h"

enum { STACK_DEFAULT = 64 * 1024, THREADS_DEFAULT = 10000, EXIT_WAIT = 100 /* ms */ };

/* What bl_run hands to the main goroutine, and gets back. In bl_run's frame. */
typedef struct run_main {
    bl_fn fn;
    void *arg;
    int result;
    size_t left;   /* goroutines that did not end */
    uint32_t done; /* atomic: what bl_run's caller sleeps on */
#if BL__RACE
    void *fiber; /* the main goroutine's */
#endif
} run_main;

/* ---- Settings ---- */

/* The number that an environment variable gives; 0: it gives none, which it says if fallback, what
 * the caller takes instead, is not 0. */
static long long env_number(const char *name, long long most, long long fallback)
{
    const char *text = getenv(name);
    if (text == NULL || *text == '\0')
        return 0;
    char *end;
    long long n = strtoll(text, &end, 10);
    long long unit = 1;
    if (*end == 'k' || *end == 'K')
        unit = 1024, end++;
    else if (*end == 'm' || *end == 'M')
        unit = 1024LL * 1024, end++;
    if (*end != '\0' || n < 1 || n > most / unit) {
        if (fallback != 0)
            bl__warn("%s=%s is not a number from 1 to %lld, so %lld is used", name, text, most,
                     fallback);
        return 0;
    }
    return n * unit;
}

/* The place, from 1, of what an environment variable says among the words, or fallback. */
static int env_word(const char *name, const char *const *words, int fallback)
{
    const char *text = getenv(name);
    if (text == NULL || *text == '\0')
        return fallback;
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(text, words[i]) == 0)
            return i + 1;
    bl__warn("%s=%s is not one of %s, %s, %s, so %s is used", name, text, words[0], words[1],
             words[2], words[fallback - 1]);
    return fallback;
}

int bl__procs_default(bool say)
{
    long long n = env_number("BELAY_PROCS", INT_MAX, 0);
    if (n > BL__MAX_PROCS && say)
        bl__warn("BELAY_PROCS=%lld is more than %d, so %d is used", n, BL__MAX_PROCS,
                 BL__MAX_PROCS);
    if (n == 0) {
        n = bl__cpu_count();
        if (say)
            (void)env_number("BELAY_PROCS", BL__MAX_PROCS, n < BL__MAX_PROCS ? n : BL__MAX_PROCS);
    }
    return n < BL__MAX_PROCS ? (int)n : BL__MAX_PROCS;
}

static long long env_number_or(const char *name, long long most, long long fallback)
{
    long long n = env_number(name, most, fallback);
    return n != 0 ? n : fallback;
}

static size_t stack_default(void)
{
    long long n = env_number("BELAY_STACK", BL__STACK_MOST, STACK_DEFAULT);
    long long least = (long long)bl__stack_least();
    if (n == 0)
        return STACK_DEFAULT;
    if (n >= least)
        return (size_t)n;
    bl__warn("BELAY_STACK=%lld is less than %lld, so %lld is used", n, least, least);
    return (size_t)least;
}

const char *bl__options_wrong(const bl_options *o, long long *value, long long *most)
{
    bool huge = o->stack_size > (size_t)LLONG_MAX;
    const struct {
        const char *name;
        long long value, most;
    } fields[] = {{"procs", o->procs, INT_MAX},
                  {"stack_size", huge ? LLONG_MAX : (long long)o->stack_size, BL__STACK_MOST},
                  {"max_threads", o->max_threads, INT_MAX},
                  {"on_leak", o->on_leak, BL_LEAK_IGNORE},
                  {"on_deadlock", o->on_deadlock, BL_DEADLOCK_ABORT},
                  {"on_quit", o->on_quit, BL_QUIT_OFF}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *value = fields[i].value;
        *most = fields[i].most;
        if (*value < 0 || *value > *most)
            return fields[i].name;
    }
    return NULL;
}

static int options_take(const bl_options *given)
{
    long long value, most;
    static const char *const leak[] = {"report", "fail", "ignore", NULL};
    static const char *const deadlock[] = {"report", "exit", "abort", NULL};
    static const char *const quit[] = {"exit", "dump", "off", NULL};
    static const char *const io[] = {"uring", "threads", "handoff", NULL};
    bl_options o = {0};
    if (given != NULL) {
        size_t size = given->size != 0 ? given->size : sizeof o;
        memcpy(&o, given, size < sizeof o ? size : sizeof o);
    }
    bl__rt.options = o; /* for bl__report_refused */
    bl__variables_check(bl__warn);
    if (bl__options_wrong(&o, &value, &most) != NULL)
        return BL_EINVAL;
    if (o.procs == 0)
        o.procs = (int)load_relaxed(&bl__rt.procs_wanted);
    if (o.procs == 0)
        o.procs = bl__procs_default(true);
    if (o.procs > BL__MAX_PROCS)
        o.procs = BL__MAX_PROCS;
    if (o.stack_size == 0)
        o.stack_size = stack_default();
    if (o.max_threads == 0)
        o.max_threads = (int)env_number_or("BELAY_MAX_THREADS", INT_MAX, THREADS_DEFAULT);
    if (o.on_leak == 0)
        o.on_leak = env_word("BELAY_ON_LEAK", leak, BL_LEAK_REPORT);
    if (o.on_deadlock == 0)
        o.on_deadlock = env_word("BELAY_ON_DEADLOCK", deadlock, BL_DEADLOCK_REPORT);
    if (o.on_quit == 0)
        o.on_quit = env_word("BELAY_SIGQUIT", quit, BL_QUIT_EXIT);
    bl__grace_check();
    bl__traceback_check();
    bl__summary_check();
    bl__rt.options = o;
    bl__rt.layout = &bl__layout;
    bl__rt.max_threads = (uint32_t)o.max_threads;
    bl__rt.io = (uint32_t)env_word("BELAY_IO", io, BL__IO_HANDOFF);
    bl__rt.io_cold = bl__debug_setting("cold") == 1;
    return 0;
}

/* ---- Processors ---- */

/* By words: a plain thread that asks for statistics may read them meanwhile. */
static void words_clear(void *at, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
        store_relaxed((uint64_t *)at + i, UINT64_C(0));
}

/* The processor of this number, as new. They outlive a run, and so do their timers' locks: a plain
 * thread that stops a timer may be at one while the run ends. */
static bl__p *p_make(uint32_t id)
{
    size_t after = offsetof(bl__p, timers) + sizeof(bl__timers);
    bl__p *p = bl__rt.ps[id];
    if (p == NULL) {
        if (posix_memalign((void **)&p, BL__CACHE_LINE, sizeof *p) != 0)
            return NULL;
        memset(&p->timers, 0, sizeof p->timers);
        bl__timers_begin(&p->timers, 0, BL__HEAP_MOST);
        bl__rt.ps[id] = p;
    }
    words_clear(p, offsetof(bl__p, timers));
    words_clear((char *)p + after, sizeof *p - after);
    store_relaxed(&p->id, id);
    p->rng = 0x9e3779b9u * (id + 1);
    store_relaxed(&p->tick, 1u);
    return p;
}

/* Makes processors up to n, idle. Under sched's lock. 0 or BL_ENOMEM, with as many as there are. */
static int ps_grow(uint32_t n)
{
    for (uint32_t have = bl__rt.ps_made; have < n; have++) {
        bl__p *p = p_make(have);
        if (p == NULL)
            return BL_ENOMEM;
        p->idle_next = bl__rt.idle_p;
        bl__rt.idle_p = p;
        store_release(&bl__rt.ps_made, have + 1); /* ORD(procs): with those who walk them */
    }
    return 0;
}

static void ps_forget(void)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++)
        bl__timers_forget(&bl__rt.ps[i]->timers);
}

int bl_procs(void)
{
    uint32_t n = load_relaxed(load_relaxed(&bl__rt.running) ? &bl__rt.procs : &bl__rt.procs_wanted);
    return n != 0 ? (int)n : bl__procs_default(false);
}

int bl_set_procs(int n)
{
    int before = bl_procs();
    if (n < 1)
        return before;
    if (n > BL__MAX_PROCS)
        n = BL__MAX_PROCS;
    store_relaxed(&bl__rt.procs_wanted, (uint32_t)n);
    if (!load_relaxed(&bl__rt.running))
        return before;
    if (n > 1)
        bl__solo_end();
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (!load_relaxed(&bl__rt.stopping) && ps_grow((uint32_t)n) == 0)
        store_relaxed(&bl__rt.procs, (uint32_t)n);
    bl__idle_recount();
    bl__unlock(&bl__rt.lock);
    bl__m *m = bl__this_m();
    if (bl__enter(m) && n > 1 && !m->p->shared)
        store_release(&m->p->shared, 1u); /* ORD(shared): with the load in steal */
    bl__leave(m);
    bl__wake_one();
    return before;
}

/* ---- Fork ---- */

/*
 * In the child only the thread that forked is left, and what the other threads ran or held does not
 * exist there. It is for exec and _exit. Whatever else it does goes on until it would wait for
 * somebody, or wake or start somebody, who is not there: then it is told (bl__fork_check), where it
 * would hang. To that end its goroutine becomes a plain thread, whose waits have the check in a
 * path that no goroutine takes, and its innermost scope is one that it can neither close nor end
 * in.
 *
 * Rejected: going on with the processor that it holds. It then ran the goroutines queued there,
 * which the parent runs too.
 */
static void fork_child(void)
{
    static const bl__site site = {"fork", "fork", __FILE__, __LINE__};
    bl__m *m = bl__this_m_known();
    bl__threads_forked();
    bl__stack_forked();
    bl__poll_forked();
    bl__watch_forked();
    bl__trace_forked();
    bl__fatal_dying.owner = 0;
    if (!load_relaxed(&bl__rt.running)) {
        store_relaxed(&bl__rt.forked_left, load_relaxed(&bl__rt.threads));
        store_relaxed(&bl__rt.spinning, 0u); /* a plain thread may have been in bl__wake_one */
        return;
    }
    store_relaxed(&bl__rt.forked, 1u);
    bl__rt.lock = 0;
    bl__rt.blocked = NULL;
    bl__rt.stack_lock = 0;
    bl__rt.walkers = 0; /* the parent's other threads */
    bl__rt.walks_closed = 0;
    store_relaxed(&bl__solo_on, (uint32_t)BL__SOLO_OFF); /* who was in a section may not be here */
    bl__made_hook = NULL;
    bl__unmade_hook = NULL;
    store_relaxed(&bl__rt.spinning, 1u); /* so that nobody is looked for */
    if (m == NULL)
        return;
    store_relaxed(&m->solo.mode, (uint16_t)BL__SOLO_OFF);
    store_relaxed(&m->p, NULL);
    store_relaxed(&m->bare, (uint32_t)BL__BARE_TAKEN);
    m->g->task.kind = BL__TASK_THREAD;
    bl__rt.forked_scope = (bl_scope){.bl__made = &site, .bl__ctx = m->g->ctx};
    m->g->inner = &bl__rt.forked_scope;
}

void bl__fork_check(void)
{
    if (load_relaxed(&bl__rt.forked))
        bl__fatal("belay: the child of a fork called into the runtime, whose threads it does not "
                  "have; it can only exec or _exit");
}

static void fork_prepare(void) { pthread_atfork(NULL, NULL, fork_child); }

/* ---- The run ---- */

void bl__counts(uint64_t *started, uint64_t *ended)
{
    *started = load_relaxed(&bl__rt.started);
    *ended = 0;
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++) {
        *started += load_relaxed(&bl__rt.ps[i]->started);
        *ended += load_relaxed(&bl__rt.ps[i]->ended);
    }
}

size_t bl__goroutines(void)
{
    uint64_t started;
    uint64_t ended;
    if (!load_relaxed(&bl__rt.running))
        return 0;
    bl__counts(&started, &ended);
    return started > ended ? (size_t)(started - ended) : 0;
}

size_t bl_goroutines(void)
{
    bl__asked();
    return bl__goroutines();
}

uint64_t bl_id(void) { return bl__self()->id; }

bl_scope *bl_root(void)
{
    if (!load_relaxed(&bl__rt.running))
        bl__fatal("belay: bl_root outside of bl_run");
    return &bl__rt.root;
}

static int main_goroutine(void *arg)
{
    run_main *run = arg;
    store_relaxed(&bl__self()->fn, run->fn); /* what it is called by whoever shows it */
    bl__source_program(run->fn);
    run->result = run->fn(run->arg);
    bl__held_at_end(bl__self());
    run->left = bl__root_close(&bl__rt.root);
    bl__m *m = bl__enter_home();
    bl__g *g = m->g;
    store_relaxed(&m->p->ended, m->p->ended + 1);
    if (bl__traced())
        bl__trace_end(m, g);
    bl__labels_release(g->labels);
    g->labels = NULL;
    store_relaxed(&g->task.status, (uint32_t)BL__G_DEAD);
    store_release(&bl__rt.stopping, 1u); /* ORD(stop): with the loads in find_task and sysmon */
    bl__handoff_stop();
    bl__m_unpark_all();
#if BL__RACE
    run->fiber = g->fiber;
#endif
    bl__race_release(run);
    store_release(&run->done, 1u); /* ORD(done): with the load in bl_run */
    bl__futex_wake(&run->done, 1);
    bl__switch_to(m, m->g, BL__SWITCH_NONE, &m->g0); /* for good */
    return 0;
}

/* Nothing is started before run_start takes `stopping` back: a plain thread may still be on its way
 * into bl__wake_one, with its count in `spinning`. */
static void rt_reset(void)
{
    ps_forget(); /* what the run before has left, if goroutines were left behind */
    bl__poll_begin();
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    store_relaxed(&bl__rt.stopping, 1u);
    store_relaxed(&bl__rt.ps_made, 0u);
    bl__runq_forget();
    bl__rt.idle_p = NULL;
    bl__rt.held_p = NULL;
    store_relaxed(&bl__rt.hold, 0u);
    bl__rt.idle_m = NULL;
    bl__rt.idle_ms = 0;
    store_relaxed(&bl__rt.away, 0u);
    store_relaxed(&bl__rt.idle_ps, 0u);
    store_relaxed(&bl__rt.idle_all, 0u);
    store_relaxed(&bl__rt.started, UINT64_C(0));
    store_relaxed(&bl__rt.ids, UINT64_C(0));
    bl__rt.no_stack = NULL;
    store_relaxed(&bl__rt.no_stack_waiting, 0u);
    store_relaxed(&bl__rt.sysmon_wake, 0u);
    store_relaxed(&bl__rt.sysmon_deep, 0u);
    bl__poll_reset();
    bl__unlock(&bl__rt.lock);
    store_relaxed(&bl__rt.coarse, bl__clock());
    store_relaxed(&bl__rt.asymmetric, (uint32_t)bl__barrier_init());
    bl__order_begin();
    bl__handoff_begin();
    bl__solo_run_begin();
    bl__contended_begin();
    bl__trace_run_begin();
}

/* sysmon and the first thread. */
static int threads_start(bool solo)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    store_relaxed(&bl__rt.stopping, 0u);
    int err = bl__sysmon_start();
    bool watched = err == 0;
    if (watched) {
        bl__p *p = bl__rt.idle_p;
        bl__rt.idle_p = p->idle_next;
        bl__idle_recount();
        if (solo)
            store_release(&bl__solo_on, (uint32_t)BL__SOLO_ON); /* ORD(solo) */
        add_relaxed(&bl__rt.spinning, 1u);
        err = bl__m_start(p, true);
    }
    if (err < 0)
        store_release(&bl__rt.stopping, 1u); /* ORD(stop) */
    bl__unlock(&bl__rt.lock);
    if (err < 0 && watched) {
        add_relaxed(&bl__rt.spinning, (uint32_t)-1);
        bl__solo_end();
        bl__sysmon_stop();
    }
    return err;
}

/* Processors, a stack for the main goroutine, the root scope, the threads. */
static int run_start(run_main *run)
{
    static const bl__site site = {"main", "bl_run", __FILE__, __LINE__};
    uint32_t procs = (uint32_t)bl__rt.options.procs;
    int threads = bl__thread_count();
    bool alone = threads > 0 && threads <= 1 + (BL__TSAN || BL__RACE); /* see solo.h */
    int err = bl__stack_init(bl__rt.options.stack_size);
    if (err < 0)
        return err;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if ((err = ps_grow(procs)) == 0)
        store_relaxed(&bl__rt.procs, procs);
    bl__idle_recount();
    bl__unlock(&bl__rt.lock);
    if (err == 0 && !bl__stack_refill(bl__rt.idle_p)) /* which the first thread gets */
        err = BL_ENOMEM;
    if (err < 0 || (err = bl__root_open(&bl__rt.root)) < 0)
        return err;
    if ((err = bl__spawn(&bl__rt.root, main_goroutine, run, NULL, 0, &site)) < 0 ||
        (err = threads_start(procs == 1 && alone && bl__rt.asymmetric)) < 0)
        bl__root_drop(&bl__rt.root);
    return err;
}

/* Waits for the runtime's threads to end; with goroutines left behind, not for ever. */
static bool threads_join(bool patient)
{
    bl_time until = patient ? BL_NEVER : bl__in(EXIT_WAIT * BL_MS);
    uint32_t n;
    while ((n = load_acquire(&bl__rt.threads)) != 0) { /* ORD(threads): with m_exit */
        int64_t left = patient ? INT64_MAX : until - bl__clock();
        if (left <= 0)
            return false;
        bl__m_unpark_all();
        bl__futex_wait(&bl__rt.threads, n, left < BL_MS * 10 ? left : BL_MS * 10);
    }
    return true;
}

static void left_claim(const bl__g *g, void *arg)
{
    bl__g *left = (bl__g *)(uintptr_t)g;
    uint32_t was = load_relaxed(&left->wait);
    (void)arg;
    while (was >= BL__W_SOLE) {
        if (cas_acq_rel(&left->wait, &was, (uint32_t)BL__W_CLAIMED)) /* ORD(wait): with commit */
            return;
    }
}

/* What a run leaves behind does not come back in a later one, where it would be counted out of a
 * root scope that has not counted it. Claimed by nobody, it stays in the queues where it waits, and
 * wakers pass it over as they do with one whose deadline was quicker. */
static void left_forget(void)
{
    bl__each_stack(left_claim, NULL); /* again: some parked since, on threads that were kept */
    bl__walks_end();
    bl__stack_fini(true);
    bl__spawn_fini(true);
    bl__walks_begin();
}

static void run_over(void)
{
    store_release(&bl__rt.running, 0u); /* ORD(running) */
    bl__timekeeper_begin();
}

static void run_end(bool clean)
{
    bl__quit_wait();    /* only then one that is printed is taken for printed */
    bl__quit_deliver(); /* of SIGQUIT that came when sysmon was about to end */
    bl__quit_wait();
    bl__fatal_await(); /* of a plain thread, whose report looks at what is freed here */
    bl__stuck_hold();  /* a plain thread may be in bl_leaks */
    if (clean) {
        ps_forget();
        bl__walks_end();
        bl__stack_fini(false);
        bl__spawn_fini(false);
        bl__walks_begin();
    } else {
        bl__each_stack(left_claim, NULL);
    }
    bl__stuck_release();
    bl__crash_uninstall();
    bl__signals_end();
    bl__quit_uninstall();
    bl__rt.run++;
    run_over();
}

int bl_run(bl_fn fn, void *arg, const bl_options *opts)
{
    static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
    run_main run = {.fn = fn, .arg = arg};
    uint32_t idle = 0;
    if (fn == NULL)
        return BL_EINVAL;
    if (!cas_acq_rel(&bl__rt.running, &idle, 1u)) { /* ORD(running): with the store in run_end */
        bl__fork_check();
        return BL_EBUSY;
    }
    if (load_acquire(&bl__rt.threads) != 0) { /* ORD(threads): left behind by the run before */
        store_release(&bl__rt.running, 0u);   /* ORD(running) */
        if (load_relaxed(&bl__rt.forked_left) != 0)
            bl__report_refused(BL_EBUSY);
        return BL_EBUSY;
    }
    bl__timekeeper_end();
    bl__stuck_hold(); /* as in run_end */
    bl__m_reap();
    left_forget();
    rt_reset();
    bl__stuck_release();
    bl__helpers_begin();
    store_relaxed(&bl__rt.runner, bl__thread_id());
    int err = options_take(opts);
    if (err < 0) {
        bl__report_refused(err);
        run_over();
        return err;
    }
    pthread_once(&fork_once, fork_prepare);
    pthread_sigmask(SIG_BLOCK, NULL, &bl__rt.signals);
    bl__crash_install();
    bl__signals_begin(bl__rt.options.signals != 0);
    bl__quit_install(bl__rt.options.on_quit);
    bl__summary_begin();
    bl__made_run_begin();
    if ((err = run_start(&run)) < 0) {
        bl__report_refused(err);
        run_end(true);
        return err;
    }
    while (load_acquire(&run.done) == 0) /* ORD(done): with the store in main_goroutine */
        bl__futex_wait(&run.done, 0, INT64_MAX);
    bl__solo_end();
    bl__sysmon_stop();
    if (run.left > 0 && bl__rt.options.on_leak != BL_LEAK_IGNORE)
        bl__report_leaks(run.left);
    bl__race_acquire(&run);
    bool clean = threads_join(run.left == 0) && run.left == 0;
#if BL__RACE
    if (clean)
        bl__race_fiber_free(run.fiber);
#endif
    bl__helpers_end();
    if (clean)
        bl__ring_end();
    bl__m_reap();
    bl__trace_run_end();
    bl__report_summary();
    bl__made_run_end(run.left > 0);
    if (run.left > 0 && bl__rt.options.on_leak == BL_LEAK_FAIL && run.result == 0)
        bl__exit_leaked();
    run_end(clean);
    return run.result;
}
