/* SPDX-License-Identifier: MIT */
/*
 * finder.c: looks for stuck goroutines by itself, while the program runs.
 *
 * sysmon has it look a while after something has happened, and then as long as things happen, but
 * no oftener than keeps it below SHARE of a core. A process in which nothing happens is looked at
 * twice and then left alone. It looks on a thread of its own: a search may take longer than
 * hand-offs can wait.
 *
 * It asks both questions (stuck.h), each with half of the share.
 *
 * Proven. Where nobody ran during the search, one search proves it. Else addresses may have moved
 * while memory was read, or stood in a register: then CONFIRMED searches one after the other have
 * to agree, each goroutine that ran meanwhile has to have been switched off through one of them, so
 * that it had its registers on its stack, or looked at together with them (registers.h), and the
 * report says that it is inferred.
 *
 * Leaked: the same, and always inferred, since the end of the scope will wake them. This is asked
 * right behind the first question, of those who were parked by then: else who ends in between makes
 * a leak of what the first proves the next time.
 *
 * The last search before somebody is told of looks closely, in places that would make each of them
 * slow, and once more with all processors held, if that is quick: then nobody runs, and it proves.
 *
 * The searches that are to confirm somebody come in a burst, and the share of a core is kept by the
 * pause after it: beside a thousand goroutines a search takes milliseconds, and a leak is not to
 * wait for the minutes that three of them owe.
 */
#include "debug/stuck.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/probe.h"
#include "core/proc.h"
#include "debug/describe.h"
#include "debug/ended.h"
#include "debug/fatal.h"
#include "debug/maps.h"
#include "debug/report.h"
#include "os/futex.h"
#include "os/os.h"

enum {
    SHARE = 300, /* a search that took t is not followed by another of its kind for SHARE * t */
    TRIES = 5,
    CONFIRMED = 3, /* searches */
    APART = 100,   /* as SHARE, of the second question's first search behind that of the first */
    BURST = 8,     /* searches until the pause that they owe */
    MOST = 512,    /* goroutines that are told of, in a run */
    LOST_MOST = 64,
    EXIT_STUCK = 2
};

#define PARKED (200 * BL_MS)
#define PAUSE (250 * BL_MS)
#define PAUSE_OPEN (50 * BL_MS)  /* while somebody is to be confirmed; the shortest, … */
#define PAUSE_LONG (500 * BL_MS) /* … and the longest */
#define TRY_MOST (20 * BL_MS)    /* ones that took longer are not tried again at once */
#define HOLD (10 * BL_MS)        /* so long goroutines may stand still, … */
#define HOLD_APART (500 * BL_MS) /* … and so often */
#define MEMORY ((size_t)1 << 30) /* bytes that a search may read */

enum { FINDER_NONE, FINDER_WAITS, FINDER_LOOKS, FINDER_ENDS };

typedef struct suspect {
    bl__stuck who;
    uint32_t searches; /* in a row that have found it */
    uint32_t first;    /* the number of the first of them */
    bool leaked;       /* by the second question alone */
    bool said;
} suspect;

/* One that has run, and may have had an address in a register. Switches do not help, since what they
 * have put on its stack may be gone before the next search. */
typedef struct runner {
    bl__runner who;
    uint32_t known; /* the last search that knew its registers, or met it switched off throughout */
} runner;

/* One of the questions. */
typedef struct question {
    bool leaks;       /* immutable */
    bl_time next;     /* atomic: when it may be asked again */
    uint64_t seen[2]; /* atomic: picks at the last two times it was asked */
    /* The thread's: */
    bl_time before;   /* it was about those who were parked by then */
    bool open;        /* somebody is to be confirmed */
    bool apart;       /* the second is due alone, once */
    bl_time held;     /* when it last had goroutines stand still */
    uint32_t burst;   /* searches so far, … */
    bl_dur owed;      /* … and what they took */
    uint32_t crowded; /* the last search that met more than there is room for */
    uint32_t runners_count;
    runner runners[BL__STUCK_RUNNING];
} question;

static struct {
    uint32_t state;          /* atomic: FINDER_…; a futex */
    uint32_t lock;           /* of the suspects */
    bl_time next;            /* atomic: it does not look before; 0: a run has just begun */
    uint32_t open;           /* atomic: somebody is to be confirmed */
    uint32_t suspects_count; /* lock */
    const void *top;         /* atomic */
    pthread_t thread;        /* sysmon, and the end of a run */
    suspect suspects[MOST];  /* lock */
    /* The thread's: */
    bl__search search;
    uint32_t searches; /* so far */
    question questions[2];
    bool news; /* whom a search finds first counts; else it only confirms */
    bl__stuck found[MOST];
    uint64_t lost[LOST_MOST]; /* goroutines of which a scope left open was told */
    uint32_t lost_count;
} finder;

/* ---- Suspects ---- */

/* Under the lock; or NULL. */
static suspect *suspect_known(uint64_t id)
{
    for (uint32_t i = 0; i < finder.suspects_count; i++)
        if (finder.suspects[i].who.id == id)
            return &finder.suspects[i];
    return NULL;
}

/* Under the lock: NULL: there is no room for it. */
static suspect *suspect_of(uint64_t id)
{
    suspect *s = suspect_known(id);
    if (s != NULL)
        return s;
    s = finder.suspects;
    if (finder.suspects_count < MOST)
        s = &finder.suspects[finder.suspects_count++];
    else /* of one that has turned out to be alive */
        while (s < finder.suspects + MOST && (s->said || s->searches > 0))
            s++;
    if (s == finder.suspects + MOST)
        return NULL;
    *s = (suspect){.who.id = id};
    return s;
}

void bl__finder_said(const bl__g *g)
{
    bl__lock(&finder.lock, BL__RANK_FINDER);
    suspect *s = suspect_of(g->id);
    if (s != NULL)
        s->said = true;
    bl__unlock(&finder.lock);
}

/* Asks the search for all that are noted. */
static void runners_ask(const question *q, bl__search *search)
{
    search->running_count = q->runners_count;
    for (uint32_t i = 0; i < q->runners_count; i++)
        search->running[i] = q->runners[i].who;
}

/* What the search says of those. Who has ended in it is left for the next one. */
static void runners_update(question *q, const bl__runners *met)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->runners_count; i++) {
        runner r = q->runners[i];
        bl__g now;
        const bl__runner *again = bl__runners_find(met, r.who.id);
        if (again != NULL)
            r.who = *again;
        else
            r.known = finder.searches;
        if (again != NULL || bl__runner_there(&r.who, &now))
            q->runners[n++] = r;
    }
    q->runners_count = n;
}

/* If there is no room, in the place of one that was known just now. */
static void runner_add(question *q, const bl__runner *who)
{
    uint32_t k = q->runners_count;
    if (k == BL__STUCK_RUNNING)
        for (k = 0; k < BL__STUCK_RUNNING && q->runners[k].known < finder.searches; k++)
            continue;
    if (k == BL__STUCK_RUNNING) {
        q->crowded = finder.searches;
        return;
    }
    q->runners_count += k == q->runners_count;
    q->runners[k] = (runner){.who = *who};
}

static void runners_note(question *q, bl__search *search)
{
    bl__runners met = bl__search_runners(search);
    runners_update(q, &met);
    for (uint32_t i = 0; i < bl__runners_listed(&met); i++) {
        uint32_t k = 0;
        while (k < q->runners_count && q->runners[k].who.id != met.list[i].id)
            k++;
        if (k == q->runners_count)
            runner_add(q, &met.list[i]);
    }
    if (met.count > met.most)
        q->crowded = finder.searches;
}

/* Whoever ran, and may have had an address in a register since s was found first, has been met when
 * it did not run, and had it on its stack, or its registers are known. */
static bool registers_seen(const suspect *s)
{
    const question *q = &finder.questions[s->leaked];
    uint32_t first = s->first > q->crowded ? s->first : q->crowded + 1;
    for (uint32_t i = 0; i < q->runners_count; i++)
        if (q->runners[i].known < first)
            return false;
    return true;
}

static const bl__stuck *found_again(const bl__search *search, const suspect *s)
{
    size_t n = search->count < search->most ? search->count : search->most;
    for (size_t k = 0; k < n; k++)
        if (search->found[k].id == s->who.id && search->found[k].switches == s->who.switches)
            return &search->found[k];
    return NULL;
}

static bool suspect_sure(const suspect *s, const bl__search *search)
{
    return s->searches >= CONFIRMED && (search->quiet || !search->by_memory || registers_seen(s));
}

/* Somebody would be told of whom memory has shown to be stuck. */
static bool suspects_due(const bl__search *search)
{
    size_t n = search->count < search->most ? search->count : search->most;
    bool due = false;
    bl__lock(&finder.lock, BL__RANK_FINDER);
    for (size_t k = 0; k < n && search->by_memory && !due; k++) {
        const suspect *s = suspect_known(search->found[k].id);
        due =
            s == NULL ? search->quiet : !s->said && (search->quiet || s->searches + 1 >= CONFIRMED);
    }
    bl__unlock(&finder.lock);
    return due;
}

/* Under the lock: notes who was found, in a row with the searches before. Somebody is to be
 * confirmed. */
static bool suspects_note(const bl__search *search)
{
    size_t n = search->count < search->most ? search->count : search->most;
    bool open = false;
    for (uint32_t i = 0; i < finder.suspects_count; i++) {
        suspect *s = &finder.suspects[i];
        if (s->leaked == search->leaks && found_again(search, s) == NULL)
            s->searches = 0;
    }
    for (size_t k = 0; k < n; k++) {
        suspect *s = suspect_of(search->found[k].id);
        if (s == NULL || s->said || (search->leaks && !s->leaked && s->searches > 0) ||
            (s->searches == 0 && !finder.news))
            continue;
        if (s->searches == 0 || s->leaked != search->leaks)
            *s = (suspect){.first = finder.searches, .leaked = search->leaks};
        s->who = search->found[k];
        s->said = bl__report_leaves_out(s->who.at);
        s->searches = search->quiet || !search->by_memory ? (uint32_t)CONFIRMED : s->searches + 1;
        open = open || (!s->said && !suspect_sure(s, search));
    }
    return open;
}

/* ---- The report ---- */

typedef struct telling {
    size_t count;
    bool quiet;
    bool leaks;
} telling;

static bool is_new(const bl__g *g, void *arg)
{
    const telling *t = arg;
    for (uint32_t i = 0; i < finder.suspects_count; i++) {
        const suspect *s = &finder.suspects[i];
        if (s->who.id == g->id)
            return !s->said && s->leaked == t->leaks && suspect_sure(s, &finder.search);
    }
    return false;
}

static void stuck_print(bl__out *o, void *arg)
{
    const telling *t = arg;
    bool one = t->count == 1;
    if (t->leaks)
        bl__out_printf(
            o,
            "belay: leak: %zu goroutine%s probably leaked: nobody that runs can get at what "
            "%s for, and only the end of the scope would stop %s\n",
            t->count, one ? " is" : "s are", one ? "it waits" : "they wait", one ? "it" : "them");
    else if (t->quiet)
        bl__out_printf(
            o,
            "belay: deadlock: %zu goroutine%s can never go on: nobody that runs, or will "
            "run again, can wake %s\n",
            t->count, one ? "" : "s", one ? "it" : "one of them");
    else
        bl__out_printf(
            o,
            "belay: leak: %zu goroutine%s probably leaked: nobody that runs has been seen "
            "to get at what %s for, in %d looks\n",
            t->count, one ? " is" : "s are", one ? "it waits" : "they wait", CONFIRMED);
    bl__report_stuck(o, is_new, arg);
}

static void finder_act(void)
{
    if (bl__rt.options.on_deadlock == BL_DEADLOCK_REPORT)
        return;
    bl__fatal_flush();
    bl__fatal_last();
    if (bl__rt.options.on_deadlock == BL_DEADLOCK_EXIT)
        _exit(EXIT_STUCK);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void leak_fails(bool leak)
{
    if (leak && bl__rt.options.on_leak == BL_LEAK_FAIL)
        bl__exit_leaked();
}

/* True: somebody is to be confirmed. */
static bool finder_tell(const bl__search *search)
{
    telling t = {.quiet = search->quiet || !search->by_memory, .leaks = search->leaks};
    bl__lock(&finder.lock, BL__RANK_FINDER);
    bool open = suspects_note(search), proven = t.quiet && !t.leaks;
    for (uint32_t i = 0; i < finder.suspects_count; i++) {
        const suspect *s = &finder.suspects[i];
        t.count +=
            !s->said && s->leaked == t.leaks && suspect_sure(s, search) && bl__stuck_still(&s->who);
    }
    if (t.count > 0 && (proven || bl__rt.options.on_leak != BL_LEAK_IGNORE)) {
        bl__report_run(STDERR_FILENO, stuck_print, &t);
        leak_fails(!proven);
        for (uint32_t i = 0; i < finder.suspects_count; i++) {
            suspect *s = &finder.suspects[i];
            if (s->said || s->leaked != t.leaks || !suspect_sure(s, search))
                continue;
            BL__PROBE2(leak__found, s->who.id, proven);
            s->said = true;
        }
    }
    bl__unlock(&finder.lock);
    if (t.count > 0 && proven)
        finder_act();
    return open;
}

/* ---- Scopes left open ---- */

static bool is_lost(const bl__g *g, void *arg) { return g->id == ((bl__lost_scope *)arg)->who.id; }

static void lost_print(bl__out *o, void *arg)
{
    const bl__lost_scope *lost = arg;
    bl__report_all what = {.want = is_lost, .arg = arg};
    bl__site_text at;
    bl__out_printf(o, "belay: leak: scope left open: ");
    if (bl__site_read(&at, lost->opened))
        bl__out_printf(o, "%s, opened by %s at %s:%d, ", at.what, at.func, at.file, at.line);
    bl__out_printf(o, "and its storage is gone: close it with bl_scope_close on each way out, or "
                      "declare it with BL_SCOPE\n\n");
    bl__report_each(o, &what);
}

/* Tells once of each goroutine that has lost a scope. */
static void lost_tell(const bl__search *search)
{
    for (uint32_t i = 0; i < search->lost_count; i++) {
        bl__lost_scope lost = search->lost[i];
        uint32_t k = 0;
        while (k < finder.lost_count && finder.lost[k] != lost.who.id)
            k++;
        if (k < finder.lost_count || k == LOST_MOST || bl__rt.options.on_leak == BL_LEAK_IGNORE ||
            !bl__stuck_still(&lost.who))
            continue;
        finder.lost[finder.lost_count++] = lost.who.id;
        bl__report_run(STDERR_FILENO, lost_print, &lost);
        leak_fails(true);
    }
}

/* ---- The thread ---- */

/* What it took, of this thread's time. */
static bl_dur finder_ask(question *q)
{
    bl__search *search = &finder.search;
    bl_dur took = 0;
    q->before = load_relaxed(&bl__rt.coarse) - PARKED;
    if (q->leaks && finder.questions[0].before < q->before) /* else it calls leaked what the */
        q->before = finder.questions[0].before;             /* first proves the next time */
    *search = (bl__search){.leaks = q->leaks,
                           .spare = true,
                           .before = q->before,
                           .limit = MEMORY,
                           .found = finder.found,
                           .most = MOST};
    finder.searches++;
    runners_ask(q, search);
    for (int tries = TRIES; tries > 0; tries--) { /* until one falls between what others do */
        bl__stuck_search(search);
        took += search->named ? 0 : search->took;
        if (!search->closely && suspects_due(search)) {
            search->closely = true;
            search->hold = bl__clock() - q->held > HOLD_APART ? HOLD : 0;
            tries = TRIES + 1;
        } else if (search->count == 0 || search->quiet || !search->by_memory || took > TRY_MOST ||
                   (search->closely && (search->held || search->running_count > 0))) {
            break; /* the last: or somebody runs of whom nothing is known, as yet */
        }
    }
    if (search->held)
        q->held = bl__clock();
    runners_note(q, search);
    q->open = finder_tell(search);
    lost_tell(search);
    q->owed += took;
    if (q->open && ++q->burst < BURST) {
        bl_dur pause = SHARE * took < PAUSE_LONG ? SHARE * took : PAUSE_LONG;
        store_relaxed(&q->next, bl__clock() + (pause > PAUSE_OPEN ? pause : PAUSE_OPEN));
        return took;
    }
    store_relaxed(&q->next, bl__clock() + (SHARE * q->owed > PAUSE ? SHARE * q->owed : PAUSE));
    q->burst = 0;
    q->owed = 0;
    return took;
}

static void finder_search(void)
{
    uint64_t picks = bl__stuck_picks();
    bl_dur took = 0;
    bool open = false, asked = false;
    for (size_t i = 0; i < sizeof finder.questions / sizeof finder.questions[0]; i++) {
        question *q = &finder.questions[i];
        q->leaks = i == 1;
        if (q->next == 0 &&
            APART * took > PAUSE) { /* a crowd, and the first look: not both at once */
            store_relaxed(&q->next, bl__clock() + APART * took);
            q->apart = true;
        } else if (q->leaks && !asked && !q->apart && q->burst == 0 &&
                   q->next < finder.questions[0].next) {
            store_relaxed(&q->next, finder.questions[0].next);
        }
        finder.news = !q->leaks || asked || q->apart;
        asked = q->next <= bl__clock();
        if (asked) {
            q->apart = false;
            took = finder_ask(q);
            store_relaxed(&q->seen[1], q->seen[0]);
            store_relaxed(&q->seen[0], picks);
        }
        open = open || q->open;
    }
    store_relaxed(&finder.open, (uint32_t)open);
}

static void *finder_main(void *arg)
{
    bl__thread_began("belay-finder");
    bl__ended_learn(finder_main, arg);
    store_relaxed(&finder.top, __builtin_frame_address(0));
    for (;;) {
        uint32_t state = load_acquire(&finder.state); /* ORD(finder) */
        if (state == FINDER_ENDS)
            return NULL;
        if (state != FINDER_LOOKS) {
            bl__futex_wait(&finder.state, state, INT64_MAX);
            continue;
        }
        finder_search();
        uint32_t looked = FINDER_LOOKS;
        (void)cas_acq_rel(&finder.state, &looked, (uint32_t)FINDER_WAITS); /* ORD(finder) */
        bl__sysmon_check(); /* which may sleep until there is more to see */
    }
}

const void *bl__finder_top(void) { return load_relaxed(&finder.top); }

bool bl__finder_looks(void)
{
    uint32_t state = load_acquire(&finder.state); /* ORD(finder): it has looked before it rests */
    return state == FINDER_LOOKS;
}

int bl__finder_threads(void) { return load_relaxed(&finder.state) != FINDER_NONE; }

/* When the first is due of the questions that were not asked twice since somebody has run last: the
 * first time, who has just been parked was left out. Neither of them stands for the other, as each
 * has its own pauses. */
static bl_time finder_next(void)
{
    uint64_t picks = bl__stuck_picks();
    bl_time first = BL_NEVER;
    for (size_t i = 0; i < sizeof finder.questions / sizeof finder.questions[0]; i++) {
        const question *q = &finder.questions[i];
        bl_time next = load_relaxed(&q->next);
        bool settled = picks == load_relaxed(&q->seen[0]) && picks == load_relaxed(&q->seen[1]);
        if (next < first && (!settled || load_relaxed(&finder.open)))
            first = next;
    }
    return first;
}

int64_t bl__finder_due(bl_time now)
{
    if (load_relaxed(&finder.state) == FINDER_LOOKS || bl__goroutines() == 0)
        return INT64_MAX;
    bl_time next = finder_next(), least = load_relaxed(&finder.next);
    if (next == BL_NEVER)
        return INT64_MAX;
    if (least == 0) { /* the first of a run: not before it has run for a while */
        store_relaxed(&finder.next, now + PAUSE);
        return PAUSE;
    }
    next = next > least ? next : least;
    return next > now ? next - now : 0;
}

void bl__finder_look(void)
{
    if (load_relaxed(&finder.state) == FINDER_NONE) {
        store_relaxed(&finder.state, (uint32_t)FINDER_WAITS);
        if (bl__thread_start(&finder.thread, finder_main, &finder, true) < 0) {
            store_relaxed(&finder.state, (uint32_t)FINDER_NONE);
            store_relaxed(&finder.next, bl__clock() + 10 * BL_SEC);
            return;
        }
    }
    store_release(&finder.state, (uint32_t)FINDER_LOOKS); /* ORD(finder): with the thread */
    bl__futex_wake(&finder.state, 1);
}

void bl__finder_start(void)
{
    bl__report_forget();
    bl__maps_open();
}

void bl__finder_stop(void)
{
    if (load_relaxed(&finder.state) != FINDER_NONE) {
        store_release(&finder.state, (uint32_t)FINDER_ENDS); /* ORD(finder) */
        bl__futex_wake(&finder.state, 1);
        pthread_join(finder.thread, NULL);
    }
    store_relaxed(&finder.state, (uint32_t)FINDER_NONE);
    store_relaxed(&finder.top, NULL);
    store_relaxed(&finder.next, 0);
    store_relaxed(&finder.open, 0u);
    finder.suspects_count = finder.lost_count = 0;
    memset(finder.questions, 0, sizeof finder.questions);
    bl__maps_close();
}
