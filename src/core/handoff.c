/* SPDX-License-Identifier: MIT */
/*
 * handoff.c: taking the processor from a thread whose goroutine blocks in the kernel or runs long,
 * and how such a thread comes back.
 *
 * sysmon looks at every processor. One that has picked nothing since the look before, while work
 * waits that no idle processor could do, is taken from its thread: at once if that thread sleeps in
 * the kernel (a system call, a page fault, somebody's pthread mutex), after HOG_NS if it computes.
 * As long as sysmon is eager, since it has taken one lately, a thread that has slept since the look
 * before, and does now, needs no second look; and one whose goroutine has been found asleep before
 * is taken for one that blocks at the first look: it does, which to ask the kernel takes 30 us, or
 * is on its way (getaddrinfo computes for 0.15 ms before it waits). After BLOCKS_AGAIN such guesses
 * it has to be found asleep again. Another thread goes on with the processor. The one it was taken
 * from is not disturbed: no signal, no EINTR. It is "away": it runs its goroutine as before, and
 * finds that it has no processor when it enters the runtime the next time (bl__enter in proc.h).
 * What it does there is done as by a plain thread; where it needs a processor, it takes an idle one
 * or queues its goroutine (bl__come_back). In the same way a goroutine that is about to work for
 * long inside of the library gives its processor up by itself (bl__let_go).
 *
 * Invariants
 *   - A processor is taken under sched's lock, after the handshake of bl__enter: so from a thread that is
 *     not in the runtime, and cannot come in before the lock is given back. What it did with the
 *     processor before happened before (ORD(inside)).
 *   - Who is taken from keeps its goroutine; nobody else can run that one, since it is in no queue.
 *   - sched.away counts these threads until they have a processor or sleep without a goroutine;
 *     while there are any, the program is not deadlocked.
 *   - A take ends solo first (core/solo.h), whose sections only the holder of the one processor may
 *     enter.
 *
 * Without membarrier(2) every entry executes a fence itself (BL__BARE_FENCED); all else is the
 * same. Without /proc, a thread that sleeps cannot be told from one that computes, and is taken for
 * that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/probe.h"
#include "arch/relax.h"
#include "core/trace.h"
#include "debug/fatal.h"
#include "os/futex.h"
#include "os/os.h"

enum {
    HOG_NS = 10000000,
    HOG_IN_BUBBLE_NS = 100000000,
    SLEPT_NS = 2000,
    DOZED_NS = 200000,
    BLOCKS_AGAIN = 8, /* g->blocks of one that was found asleep */
    HOGS_MOST = 4, /* beyond the processors; behind a hold that fails, perhaps one for each more */
    LATE_NS = 1000000000
};

#define SPARE_FOR (10 * BL_SEC)

/* A hold: how long who runs may compute until it is switched off, or take for that on a machine that
 * is busy with others; and when it is asked for whether it sleeps. */
#define HOLD_COMPUTES (3 * BL_MS)
#define HOLD_MOST (100 * BL_MS)
#define HOLD_LONGEST BL_SEC
#define HOLD_ASKS (300 * BL_US)
#define HOLD_PAUSE (20 * BL_US)

enum { WATCHED = 8 }; /* so many processors do not share one */

/* sysmon's own; begun anew by each run. */
static struct {
    bool debug;            /* BELAY_DEBUG=handoff=1 */
    bool said_most;        /* that max_threads is reached */
    bool said_late;        /* that timers are, since all processors compute */
    bool queued;           /* at the last look goroutines were, with a processor idle */
    bl_time held_up_since; /* 0: they are not */
    bool refused;          /* in this look there was no thread for one that it wanted to take */
    bl__thread_state states[WATCHED]; /* open while anything runs: of who holds a processor */
} handoff;

int64_t bl__debug_setting(const char *name) { return bl__debug_setting_or(name, 0); }

/* A number up to the next word, or -1. */
static int64_t setting_value(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    return end != text && strchr(", ", *end) != NULL && value >= 0 ? value : -1;
}

int64_t bl__debug_setting_or(const char *name, int64_t otherwise)
{
    const char *at = getenv("BELAY_DEBUG");
    size_t n = strlen(name);
    while (at != NULL && *at != '\0') {
        if (strncmp(at, name, n) == 0 && at[n] == '=' && setting_value(at + n + 1) >= 0)
            return setting_value(at + n + 1);
        at += strcspn(at, ", ");
        at += strspn(at, ", ");
    }
    return otherwise;
}

/* Says what BELAY_DEBUG has in it that is nothing, once a run: a word misspelt would do nothing, in
 * silence. */
static void debug_settings_check(void)
{
    static const char *const names[] = {"handoff",
                                        "sample",
                                        "lockorder",
                                        "resources",
                                        "blockprofile",
                                        "mutexprofile",
                                        "schedprofile",
                                        "traceall",
                                        "spare",
                                        "cold",
                                        NULL}; /* the last two are for tests */
    const char *at = getenv("BELAY_DEBUG");
    while (at != NULL && *(at += strspn(at, ", ")) != '\0') {
        size_t all = strcspn(at, ", "), n = strcspn(at, "=, ");
        int i = 0;
        while (names[i] != NULL && (strlen(names[i]) != n || strncmp(names[i], at, n) != 0))
            i++;
        if (names[i] == NULL)
            bl__warn("BELAY_DEBUG=%.*s is none of handoff, sample, lockorder, resources, "
                     "blockprofile, mutexprofile, schedprofile, traceall, so it is ignored",
                     (int)all, at);
        else if (n == all || setting_value(at + n + 1) < 0)
            bl__warn("BELAY_DEBUG=%.*s gives no number to %s, as %s=1 does, so it is ignored",
                     (int)all, at, names[i], names[i]);
        at += all;
    }
}

void bl__handoff_begin(void)
{
    debug_settings_check();
    int64_t spare = bl__debug_setting("spare"); /* milliseconds, for tests */
    bl__rt.spare_for = spare > 0 ? spare * BL_MS : SPARE_FOR;
    handoff.debug = bl__debug_setting("handoff") == 1;
    handoff.said_most = false;
    handoff.said_late = false;
    handoff.refused = false;
}

/* ---- The thread's side ---- */

/* Under sched's lock: m goes on without its processor p, which another has by now. */
static void away_begin(bl__m *m, const bl__p *p, uint32_t why, bl_time since, uint64_t traced_at)
{
    uint64_t id = m->g->id;
    m->away = why;
    store_relaxed(&m->g->away_since, since);
    store_relaxed(&bl__rt.away, bl__rt.away + 1);
    /* From here on m may run another goroutine. */
    store_release(&m->p, NULL); /* ORD(taken): with enter_slow */
    BL__PROBE3(handoff, id, p->id, why);
    if (bl__traced())
        bl__trace_handoff(traced_at, id, p->id, why);
}

/* Under sched's lock, while all are held: of m, which is not inside, or has just come in. */
static void hold_from(bl__m *m, bl__p *p)
{
    uint64_t traced_at = bl__traced() ? bl__trace_now() : 0; /* as in take */
    m->held_cpu = bl__thread_cpu(load_relaxed(&m->tid));
    store_relaxed(&m->bare, load_relaxed(&m->bare) | BL__BARE_TAKEN);
    store_relaxed(&p->m, NULL);
    p->idle_next = bl__rt.held_p;
    bl__rt.held_p = p;
    bool seen = load_relaxed(&p->tick) == load_relaxed(&p->seen_tick);
    bl_time since = seen ? load_relaxed(&p->seen_since) : bl__clock();
    away_begin(m, p, BL__AWAY_HOG, since, traced_at);
}

/* bare is set: m has no processor, or is about to lose it, or has to execute its own fence, or is
 * traced. */
bool bl__enter_slow(bl__m *m)
{
    if ((load_relaxed(&m->bare) & BL__BARE_FENCED) != 0)
        fence_seq_cst(); /* ORD(inside): the store of inside before the load of bare */
    uint32_t bare = load_acquire(&m->bare); /* ORD(bare): as in bl__enter_quick */
    if ((bare & BL__BARE_STOP) != 0)
        return false;
    if ((bare & BL__BARE_TAKEN) == 0)
        return true;
    if (load_acquire(&m->p) == NULL) /* ORD(taken): a plain thread, or it was taken before */
        return false;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED); /* under which it is being taken */
    bl__unlock(&bl__rt.lock);
    return load_relaxed(&m->p) != NULL;
}

bool bl__enter_outermost(bl__m *m)
{
    bool in = bl__enter_slow(m);
    if (BL__LIKELY(!in || !load_relaxed(&bl__rt.hold)))
        return in;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (load_relaxed(&bl__rt.hold) && load_relaxed(&m->p) != NULL)
        hold_from(m, load_relaxed(&m->p)); /* which it has not used yet */
    bl__unlock(&bl__rt.lock);
    return load_relaxed(&m->p) != NULL;
}

void bl__handoff_stop(void)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    for (bl__m *m = bl__rt.all_m; m != NULL; m = m->all_next)
        store_release(&m->bare, load_relaxed(&m->bare) | BL__BARE_STOP); /* ORD(bare) */
    bl__unlock(&bl__rt.lock);
}

bool bl__let_go(void)
{
    bl__m *m = bl__this_m_known(), *heir = NULL;
    bool done = false;
    if (m == NULL || load_relaxed(&m->inside) != 0 || load_relaxed(&m->p) == NULL)
        return false;
    bl_time now = bl__clock();
    uint64_t traced_at = bl__traced() ? bl__trace_now() : 0; /* as in take */
    bl__solo_end();
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__p *p = load_relaxed(&m->p);
    if (p != NULL && !load_relaxed(&bl__rt.stopping) && !load_relaxed(&bl__rt.frozen) &&
        !load_relaxed(&bl__rt.hold) && bl__p_give(p, &heir) == 0) {
        store_relaxed(&m->bare, load_relaxed(&m->bare) | BL__BARE_TAKEN);
        away_begin(m, p, BL__AWAY_BLOCKED, now, traced_at);
        done = true;
    }
    bl__unlock(&bl__rt.lock);
    if (heir != NULL)
        bl__m_wake(heir);
    return done;
}

void bl__take_up(bool gone)
{
    if (gone)
        bl_yield();
}

/* ---- sysmon's side ---- */

/* Who was taken from, for the debug line. */
typedef struct taken {
    uint64_t goroutine;
    const bl__site *site;
    uint32_t processor;
    int32_t tid;
} taken;

static void taken_say(const taken *t, uint32_t why, bl_dur since)
{
    char doing[48];
    bl__thread_call call;
    if (bl__thread_in_call(t->tid, &call))
        snprintf(doing, sizeof doing, "in system call %ld", call.number);
    else
        snprintf(doing, sizeof doing, "%s", why == BL__AWAY_HOG ? "running" : "asleep");
    bl__warn(
        "handoff: took processor %u from thread %d: goroutine %llu (%s, created by %s at %s:%d), "
        "%s, has not let go of it for %lld us",
        t->processor, (int)t->tid, (unsigned long long)t->goroutine, t->site->what, t->site->func,
        t->site->file, t->site->line, doing, (long long)(since / BL_US));
}

/* Threads that compute without a processor. Under sched's lock; forgets those that sleep by now,
 * but for a guess, which is not worth the reading of so many files. */
static uint32_t hogs_count(bool guess)
{
    uint32_t n = 0;
    for (bl__m *m = bl__rt.all_m; m != NULL; m = m->all_next)
        n += m->away == BL__AWAY_HOG;
    if (n < HOGS_MOST || guess)
        return n;
    n = 0;
    for (bl__m *m = bl__rt.all_m; m != NULL; m = m->all_next) {
        if (m->away == BL__AWAY_HOG && bl__thread_sleeps(load_relaxed(&m->tid)) == 1)
            m->away = BL__AWAY_BLOCKED;
        n += m->away == BL__AWAY_HOG;
    }
    return n;
}

/* There was no thread for a processor that was to be taken, or is idle, beside so many. */
static void refused_say(uint32_t threads)
{
    handoff.said_most = true;
    uint32_t all = threads + load_relaxed(&bl__rt.helpers.count); /* bl_blocking's count, too */
    if (all >= bl__rt.max_threads)
        bl__warn("no thread is left to go on with: %u there are, of at most %u "
                 "(bl_options.max_threads, BELAY_MAX_THREADS), and their goroutines block or run "
                 "long; the others wait until one of them comes back",
                 all, bl__rt.max_threads);
    else
        bl__warn("no thread is left to go on with: the system gives no more than the %u there are "
                 "(ulimit -u, ulimit -v, the cgroup's pids.max), and their goroutines block or run "
                 "long; the others wait until one of them comes back",
                 threads);
}

/* Under sched's lock: m, which holds a processor, cannot come in from the next barrier until
 * outside_end. */
static uint32_t outside_mark(bl__m *m)
{
    uint32_t bare = load_relaxed(&m->bare);
    store_relaxed(&m->bare, bare | BL__BARE_TAKEN);
    return bare;
}

/* Behind that barrier. True: m is outside, so its goroutine stays what it is. */
static bool is_outside(const bl__m *m)
{
    return load_acquire(&m->inside) == 0; /* ORD(inside): with bl__leave */
}

static bool outside_begin(bl__m *m, uint32_t *bare)
{
    *bare = outside_mark(m);
    bl__heavy_barrier();
    return is_outside(m);
}

static void outside_end(bl__m *m, uint32_t bare)
{
    store_release(&m->bare, bare); /* ORD(bare): after the looks at its goroutine */
}

/* m computes, and holds p, which nobody may take: as many threads as may do so without one. If
 * somebody has been due for long it is said. */
static void late_look(const bl__p *p, bl__m *m, uint32_t tick, bl_time now)
{
    bl_dur late = now - bl__timers_first();
    if (handoff.said_late || late < LATE_NS)
        return;
    taken who = {.site = NULL};
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (p->m == m && load_relaxed(&p->tick) == tick && hogs_count(false) >= HOGS_MOST) {
        uint32_t bare;
        if (outside_begin(m, &bare))
            who = (taken){.goroutine = m->g->id, .site = m->g->site};
        outside_end(m, bare);
    }
    bl__unlock(&bl__rt.lock);
    if (who.site == NULL)
        return;
    handoff.said_late = true;
    bl__warn(
        "timers are late by %lld ms: all processors compute, and %d threads beside them, which "
        "is the most; goroutine %llu (%s, created by %s at %s:%d) has done so for %lld ms; a "
        "loop that runs for long calls bl_yield, or runs in bl_blocking",
        (long long)(late / BL_MS), HOGS_MOST, (unsigned long long)who.goroutine, who.site->what,
        who.site->func, who.site->file, who.site->line,
        (long long)((now - load_relaxed(&p->seen_since)) / BL_MS));
}

/* Takes p from its thread, if that is outside of the runtime, for another thread. A guess: from one
 * that computes, if its goroutine is expected to block. */
static bool take(bl__p *p, uint32_t tick, uint32_t why, bool guess)
{
    taken who;
    bl__m *heir = NULL;
    bool done = false;
    bl_dur since = bl__clock() - load_relaxed(&p->seen_since);
    uint64_t traced_at =
        bl__traced() ? bl__trace_now() : 0; /* before p's next holder can be at work */
    bl__solo_end();
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__m *m = load_acquire(&p->m); /* ORD(holder): with m_main */
    if (m != NULL && load_relaxed(&p->tick) == tick && !load_relaxed(&bl__rt.stopping) &&
        !load_relaxed(&bl__rt.frozen) && !load_relaxed(&bl__rt.hold) &&
        (why != BL__AWAY_HOG ||
         (load_relaxed(&bl__rt.reports) == 0 && hogs_count(guess) < HOGS_MOST))) {
        uint32_t bare;
        if (outside_begin(m, &bare) && (!guess || m->g->blocks > 0)) {
            done = bl__p_give(p, &heir) == 0;
            handoff.refused = !done;
        }
        if (done) {
            who = (taken){m->g->id, m->g->site, p->id, load_relaxed(&m->tid)};
            m->g->blocks = why == BL__AWAY_BLOCKED ? BLOCKS_AGAIN : guess ? m->g->blocks - 1 : 0;
            away_begin(m, p, why, load_relaxed(&p->seen_since), traced_at);
        } else {
            outside_end(m, bare);
        }
    }
    bl__unlock(&bl__rt.lock);
    if (heir != NULL)
        bl__m_wake(heir);
    if (done && handoff.debug)
        taken_say(&who, why, since);
    return done;
}

/* ---- All of them ---- */

typedef enum hold_look { HOLD_WAITS, HOLD_SETTLED, HOLD_FAILS } hold_look;

/* Under sched's lock: takes the processors of those that are outside. Who is inside gives his when
 * he comes in the next time. True: all are taken. */
static bool hold_take(void)
{
    bool marked = false, all = true;
    for (uint32_t i = 0; i < bl__rt.ps_made; i++) {
        bl__m *m = load_acquire(&bl__rt.ps[i]->m); /* ORD(holder): with m_main */
        if (m != NULL)
            (void)outside_mark(m);
        marked = marked || m != NULL;
    }
    if (marked)
        bl__heavy_barrier(); /* one for all */
    for (uint32_t i = 0; i < bl__rt.ps_made; i++) {
        bl__m *m = load_acquire(&bl__rt.ps[i]->m); /* ORD(holder): the same, under the lock */
        if (m == NULL)
            continue;
        if (is_outside(m))
            hold_from(m, bl__rt.ps[i]);
        else
            all = false;
    }
    return all;
}

/* m is in the runtime, or waits for one of its locks. */
static bool is_in_runtime(const bl__m *m)
{
    return (load_relaxed(&m->inside) | load_relaxed(&m->at_lock)) != 0;
}

/* Under sched's lock: have those that were taken from, and that computed before, come to where they
 * are switched off, or do they sleep in a call of the system? Who sleeps at a lock of the runtime's
 * goes on in a moment. */
static hold_look hold_settled(bool ask)
{
    for (bl__m *m = bl__rt.all_m; m != NULL; m = m->all_next) {
        const bl__g *g = load_relaxed(&m->g);
        int tid = load_relaxed(&m->tid);
        if (m->away != BL__AWAY_HOG || m == bl__this_m() || g == &m->g0 ||
            load_relaxed(&g->task.status) != BL__G_RUNNING)
            continue;
        if (!ask || is_in_runtime(m) || bl__thread_sleeps(tid) != 1)
            return bl__thread_cpu(tid) - m->held_cpu > HOLD_COMPUTES ? HOLD_FAILS : HOLD_WAITS;
        m->away = BL__AWAY_BLOCKED;
    }
    return HOLD_SETTLED;
}

/* Under sched's lock: is m at what it runs for long, where it will perhaps stay? */
static bool is_long_at_it(const bl__m *m, bl_time now)
{
    const bl__p *p = load_relaxed(&m->p);
    if (m == bl__this_m() || load_relaxed(&m->g) == &m->g0 || is_in_runtime(m))
        return false;
    return p == NULL ? m->away == BL__AWAY_HOG
                     : load_relaxed(&p->tick) == load_relaxed(&p->seen_tick) &&
                           now - load_relaxed(&p->seen_since) >= HOG_NS;
}

/* Those that were, and did not sleep, at the first of these looks: are they still? */
static hold_look long_look(bool first)
{
    hold_look look = HOLD_SETTLED;
    bl_time now = bl__clock();
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool held = load_relaxed(&bl__rt.hold); /* by another, whose notes these are then */
    for (bl__m *m = held ? NULL : bl__rt.all_m; m != NULL; m = m->all_next) {
        int tid = load_relaxed(&m->tid);
        bool at_it = is_long_at_it(m, now) && (!first || bl__thread_sleeps(tid) != 1);
        if (first)
            m->held_cpu = at_it ? bl__thread_cpu(tid) : -1;
        if (!at_it || m->held_cpu < 0)
            continue;
        if (bl__thread_cpu(tid) - m->held_cpu > HOLD_COMPUTES)
            look = HOLD_FAILS;
        else if (look == HOLD_SETTLED)
            look = HOLD_WAITS;
    }
    bl__unlock(&bl__rt.lock);
    return held ? HOLD_FAILS : look;
}

/* Somebody does, who would make a hold fail that has stopped all others, and be left without his
 * processor beside who gets it. That is found out while all go on. */
static bool computes_on(void)
{
    uint32_t never = 0;
    bl_time began = bl__clock();
    hold_look look = long_look(true);
    while (look == HOLD_WAITS && bl__clock() - began < HOLD_MOST) {
        bl__futex_wait(&never, 0, HOLD_PAUSE);
        look = long_look(false);
    }
    return look != HOLD_SETTLED;
}

/* From here on nobody gets a processor. */
static bool hold_allowed(void)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool may = load_relaxed(&bl__rt.running) && !load_relaxed(&bl__rt.stopping) &&
               !load_relaxed(&bl__rt.frozen) && load_relaxed(&bl__rt.reports) == 0 &&
               load_relaxed(&bl__rt.bubbles) == NULL && !load_relaxed(&bl__rt.hold) &&
               hogs_count(false) < HOGS_MOST;
    if (may) {
        store_relaxed(&bl__rt.hold, 1u);
        bl__rt.hold_until = bl__clock() + HOLD_LONGEST;
    }
    for (bl__m *m = bl__rt.all_m; m != NULL && may; m = m->all_next)
        if (m->away == BL__AWAY_HOG)
            m->held_cpu = bl__thread_cpu(load_relaxed(&m->tid));
    bl__unlock(&bl__rt.lock);
    return may;
}

bool bl__hold_begin(void)
{
    uint32_t never = 0;
    hold_look look = HOLD_WAITS;
    bl__solo_end();
    if (computes_on() || !hold_allowed())
        return false;
    bl__sysmon_rouse(); /* which watches */
    bl_time began = bl__clock(), now = began;
    while (look == HOLD_WAITS && now - began < HOLD_MOST) {
        bl__lock(&bl__rt.lock, BL__RANK_SCHED);
        if (hold_take())
            look = hold_settled(now - began > HOLD_ASKS);
        bl__unlock(&bl__rt.lock);
        if (look == HOLD_WAITS)
            bl__futex_wait(&never, 0, HOLD_PAUSE);
        now = bl__clock();
    }
    bool held = look == HOLD_SETTLED;
    if (!held)
        (void)bl__hold_end();
    return held;
}

/* Under sched's lock: who was about to lose his processor keeps it. */
static void hold_forget(void)
{
    for (uint32_t i = 0; i < bl__rt.ps_made; i++) {
        bl__m *m = load_acquire(&bl__rt.ps[i]->m); /* ORD(holder): with m_main */
        if (m != NULL)
            outside_end(m, load_relaxed(&m->bare) & ~(uint32_t)BL__BARE_TAKEN);
    }
}

/* Each that was taken goes to a thread, as before; also one beyond the number that is wanted by now,
 * which gives what is queued there to all. Who has not been woken meanwhile, since no processor was
 * to be had, is by the one who looks. */
bool bl__hold_end(void)
{
    bl__m *heirs[BL__MAX_PROCS];
    uint32_t n = 0;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool held = load_relaxed(&bl__rt.hold);
    store_relaxed(&bl__rt.hold, 0u);
    if (held)
        hold_forget();
    for (bl__p *p = bl__rt.held_p; p != NULL; p = bl__rt.held_p) {
        bl__rt.held_p = p->idle_next;
        p->idle_next = NULL;
        heirs[n] = NULL;
        if (load_relaxed(&bl__rt.stopping) || bl__p_give(p, &heirs[n]) < 0)
            bl__p_idle(p);
        n += heirs[n] != NULL;
    }
    bl__unlock(&bl__rt.lock);
    while (n > 0)
        bl__m_wake(heirs[--n]);
    bl__wake_one();
    return held;
}

/* The holder may wait for what one of the held has: a lock of the dynamic linker's, in which that
 * one was switched off. */
void bl__hold_watch(bl_time now)
{
    if (!load_relaxed(&bl__rt.hold))
        return;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool late = load_relaxed(&bl__rt.hold) && now > bl__rt.hold_until;
    bl__unlock(&bl__rt.lock);
    if (late)
        (void)bl__hold_end();
}

/* Work waits for p alone: behind the goroutine that it runs. */
static bool work_behind(bl__p *p, bl_time now)
{
    return load_relaxed(&p->next) != NULL || !bl__runq_empty(p) ||
           load_relaxed(&p->timers.first) <= now;
}

static bl__thread_state *state_at(const bl__p *p) { return &handoff.states[p->id % WATCHED]; }

void bl__handoff_calm(void)
{
    for (int i = 0; i < WATCHED; i++)
        bl__thread_state_close(&handoff.states[i]);
}

/* Is the goroutine that m runs expected to block? A peek: records stay mapped, and who looks wrongly
 * asks again before it takes. */
static bool expects_block(const bl__m *m)
{
    if (m == NULL || is_in_runtime(m))
        return false;
    bool told = BL__TSAN; /* which would tell of the peek */
    return told || load_relaxed(&load_relaxed(&m->g)->blocks) > 0;
}

/* Does m, which holds p, sleep in the kernel, and is nowhere in the runtime? Who waits there for one
 * of the runtime's locks goes on when the lock's holder does, and so does whoever would be given the
 * processor: it counts as one that computes. */
static bool sleeps_outside(const bl__p *p, const bl__m *m)
{
    if (is_in_runtime(m))
        return false;
    bl__thread_state_open(state_at(p), load_relaxed(&m->tid));
    return bl__thread_state_sleeps(state_at(p)) == 1;
}

/* Has m, which holds p, computed for too long? A bubble's order is to be the same each time, however
 * long others have the CPU meanwhile: beside one it is the thread's own time that counts. */
static bool is_hog(bl__p *p, const bl__m *m, bl_time now)
{
    if (now - load_relaxed(&p->seen_since) < HOG_NS)
        return false;
    if (load_relaxed(&bl__rt.bubbles) == NULL)
        return true;
    int64_t cpu = bl__thread_cpu(load_relaxed(&m->tid));
    if (p->hog_cpu < 0)
        p->hog_cpu = cpu;
    return cpu < 0 || cpu - p->hog_cpu >= HOG_IN_BUBBLE_NS;
}

/* BL__LOOK_TAKEN only from a thread that sleeps: who blocks once blocks again, a loop seldom
 * does. */
static bl__look take_stuck(bl__p *p, bl__m *m, uint32_t tick, bl_time now, bool eager)
{
    bool asked = p->asked;
    p->asked = false;
    if (eager && expects_block(m) && take(p, tick, BL__AWAY_HOG, true))
        return BL__LOOK_TAKEN;
    if (sleeps_outside(p, m))
        return take(p, tick, BL__AWAY_BLOCKED, false) ? BL__LOOK_TAKEN : BL__LOOK_NOTHING;
    if (!is_hog(p, m, now))
        return BL__LOOK_NOTHING;
    if (!asked) { /* it may come by, which disturbs less than two that run at once */
        p->asked = true;
        store_relaxed(&m->solo.yield, (uint16_t)1);
        return BL__LOOK_SOON;
    }
    if (take(p, tick, BL__AWAY_HOG, false))
        return BL__LOOK_WORK;
    late_look(p, m, tick, now);
    return BL__LOOK_NOTHING;
}

/* Has m, which holds p, slept since the look before; or, unless sysmon is eager, for a while? Its
 * CPU time tells that in less than a microsecond; its state, from /proc, takes nine, and thirty
 * more if that is not open. */
static bool has_slept(bl__p *p, const bl__m *m, bl_time now, bool eager)
{
    int tid = load_relaxed(&m->tid);
    int64_t cpu = bl__thread_cpu(tid), went = now - p->seen_at;
    int64_t idle = went - (cpu - p->seen_cpu);
    bool slept =
        cpu >= 0 && p->seen_cpu >= 0 && m == p->seen_m && idle > (eager ? SLEPT_NS : DOZED_NS);
    p->seen_at = now;
    p->seen_cpu = cpu;
    if (eager)
        bl__thread_state_open(state_at(p), tid);
    return slept;
}

/* Does p, which has picked so often, pick again at once? Then its thread does not sleep, and the
 * kernel, which takes 5 us to say so, is not asked. */
static bool picks_on(const bl__p *p, uint32_t tick)
{
    enum { PAUSES = 16 }; /* half a microsecond */
    for (int i = 0; i < PAUSES; i++) {
        bl__cpu_relax();
        if (load_relaxed(&p->tick) != tick)
            return true;
    }
    return false;
}

/* Those who have a processor have not come by since this was first asked: for another while, in
 * which each sleeps or computes? Who does neither waits for its CPU, which others have, and will
 * come by. */
static bool held_up_for_long(bl_time now)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    bool begins = handoff.held_up_since == 0;
    if (begins)
        handoff.held_up_since = now;
    bool all = now - handoff.held_up_since >= HOG_NS;
    for (uint32_t i = 0; i < made && (begins || all); i++) {
        bl__p *p = bl__rt.ps[i];
        const bl__m *m = load_acquire(&p->m); /* ORD(holder): with m_adopt */
        int64_t cpu = m != NULL ? bl__thread_cpu(load_relaxed(&m->tid)) : 0;
        if (begins)
            p->held_up_cpu = cpu;
        else if (m != NULL && cpu - p->held_up_cpu < HOG_NS / 2 && !sleeps_outside(p, m))
            all = false;
    }
    return all;
}

/* Work waits, and no thread that has a processor has come by for long: for want of another, which
 * was not there for one that was to be taken, or is not for one that is idle? */
static void held_up_look(bool helpers, bl_time now)
{
    if (!held_up_for_long(now))
        return;
    if (helpers) {
        store_relaxed(&bl__rt.wake_refused, 0u);
        bl__wake_one();
        handoff.refused = load_relaxed(&bl__rt.wake_refused);
    }
    if (!handoff.refused)
        return;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    uint32_t threads = bl__rt.threads, known = bl__rt.away + bl__rt.idle_ms;
    for (uint32_t i = 0; i < bl__rt.ps_made; i++)
        known += load_relaxed(&bl__rt.ps[i]->m) != NULL;
    bl__unlock(&bl__rt.lock);
    if (known >= threads) /* else one is on its way between a processor and its sleep */
        refused_say(threads);
}

/* Goroutines wait in queues, and processors are idle: a bubble wakes nobody for those that it makes
 * ready. They may be done in no time; but not if it is so twice. While there is no thread for them,
 * nobody is to be woken. */
static bl__look queue_look(bool helpers)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    bool was = handoff.queued, queued = load_relaxed(&bl__rt.queued) != 0;
    for (uint32_t i = 0; i < made && !queued; i++)
        queued = !bl__runq_empty(bl__rt.ps[i]);
    if (!queued)
        store_relaxed(&bl__rt.wake_refused, 0u);
    handoff.queued = queued && helpers && !load_relaxed(&bl__rt.wake_refused);
    return !handoff.queued ? BL__LOOK_NOTHING : was ? BL__LOOK_WORK : BL__LOOK_SOON;
}

/* Looks at all processors once. */
bl__look bl__handoff_look(bool eager)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    bl_time now = load_relaxed(&bl__rt.coarse);
    bool due = load_relaxed(&bl__rt.queued) != 0 || load_relaxed(&bl__rt.outside.first) <= now;
    for (uint32_t i = 0; i < made; i++)
        due = due || work_behind(bl__rt.ps[i], now);
    bool waits = due || load_relaxed(&bl__rt.poll.waiters) != 0; /* for whom nobody looks */
    bool helpers = load_relaxed(&bl__rt.idle_ps) != 0;
    bool polls = load_relaxed(&bl__rt.poll.sleeper) != NULL;
    bool held_up = (polls ? due : waits) && !handoff.said_most;
    handoff.refused = false;
    bl__look found = queue_look(helpers);
    for (uint32_t i = 0; i < made; i++) {
        bl__p *p = bl__rt.ps[i];
        bl__task *next = load_relaxed(&p->next);
        bl__m *m = load_acquire(&p->m); /* ORD(holder): with m_adopt */
        uint32_t tick = load_relaxed(&p->tick);
        bool stuck = tick == load_relaxed(&p->seen_tick) && m == p->seen_m && m != NULL;
        if (!stuck) {
            p->asked = false;
            p->hog_cpu = -1;
            if (m != p->seen_m)
                p->seen_cpu = -1;
            bool asks = eager || p->seen_cpu < 0 || (waits && !picks_on(p, tick));
            bool slept = asks && !helpers && m != NULL && has_slept(p, m, now, eager);
            store_relaxed(&p->seen_tick, tick);
            store_relaxed(&p->seen_since, now);
            p->seen_m = m;
            if (waits && !helpers &&
                ((eager && expects_block(m) && take(p, tick, BL__AWAY_HOG, true)) ||
                 (slept && sleeps_outside(p, m) && take(p, tick, BL__AWAY_BLOCKED, false))))
                found = BL__LOOK_TAKEN;
        }
        if (helpers && work_behind(p, now)) {
            bool there = stuck && (next == NULL || next == p->seen_next);
            bl__look one = there ? BL__LOOK_WORK : BL__LOOK_SOON;
            found = one > found ? one : found;
        } else if (stuck && !helpers && waits && load_relaxed(&m->inside) == 0) {
            bl__look one = take_stuck(p, m, tick, now, eager);
            found = one > found ? one : found;
        }
        p->seen_next = next;
        held_up = held_up && (m == NULL || (stuck && load_relaxed(&m->inside) == 0 &&
                                            now - load_relaxed(&p->seen_since) >= HOG_NS));
    }
    if (!held_up)
        handoff.held_up_since = 0;
    if (held_up)
        held_up_look(helpers, now);
    else if (found == BL__LOOK_WORK && helpers)
        bl__wake_one();
    return found;
}
