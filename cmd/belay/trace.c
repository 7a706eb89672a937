/* SPDX-License-Identifier: MIT */
/*
 * trace.c: `belay trace FILE`: what a trace recorded, as tracks for https://ui.perfetto.dev.
 *
 * For each processor a track with who ran there; an arrow leads from who started or woke a goroutine to where that
 * ran next. For goroutines tracks below the function that they were started with: what each did from its start to its
 * end. One track has several goroutines one after the other, so there are as many tracks as there were goroutines at a time.
 *
 * Events come in the order of time, but clocks of two CPUs may differ by some nanoseconds, and a flight recorder
 * has lost what was before. So each event is taken for true, and what it presupposes is supplied. At a pause of the
 * recording all tracks end, and what is known afterwards begins anew; a track of its own shows the pauses.
 */
#include "flags.h"
#include "help.h"
#include "look.h"
#include "perfetto.h"
#include "tracefile.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef enum doing { UNKNOWN, RUNNABLE, RUNNING, BLOCKED, AWAY, ENDED } doing;

/* Goroutines that were started with one function. */
typedef struct group {
    char *name;
    uint64_t track;
    struct lane *unused;
    unsigned lanes;
    struct group *next;
} group;

/* A track of goroutines, one at a time. */
typedef struct lane {
    uint64_t track, scopes; /* the latter 0: none yet */
    int64_t last;           /* nothing on it is before */
    struct lane *next;      /* among the group's unused ones, and of all */
    struct lane *all;
} lane;

typedef struct goroutine {
    uint64_t id;
    uint32_t run;
    bool waked_early; /* the wake came before the block, by the clocks */
    uint8_t seq;
    doing doing;
    int32_t proc;
    uint32_t scopes; /* open */
    uint64_t site, parent, flow;
    uint8_t flow_by;
    group *group;
    lane *lane;
    char name[96];
} goroutine;

typedef struct processor {
    uint64_t track;
    goroutine *current;
    int64_t last;
    uint32_t thread;
} processor;

enum { PROCS_MOST = 65536 };

typedef struct conversion {
    const tracefile *t;
    perfetto *out;
    uint64_t process, procs_track, outside, goroutines_track, flows;
    uint32_t run;
    int64_t now;
    uint64_t pauses;      /* the track; 0: none yet */
    int64_t paused;       /* since when; 0: not now */
    uint32_t paused_at;   /* the number of switches then */
    int64_t not_recorded; /* ns in all */
    processor *procs;     /* PROCS_MOST */
    goroutine **table;    /* hashed by id and run; a power of two */
    size_t table_len, table_room;
    group *groups;
    lane *lanes;
    size_t count; /* goroutines */
} conversion;

static void *need(void *p)
{
    if (p == NULL) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    return p;
}

/* ---- Goroutines ---- */

static goroutine **slot_of(conversion *c, uint32_t run, uint64_t id)
{
    size_t at = (size_t)((id + run) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (c->table_room - 1);
    while (c->table[at] != NULL && (c->table[at]->id != id || c->table[at]->run != run))
        at = (at + 1) & (c->table_room - 1);
    return &c->table[at];
}

static void table_grow(conversion *c)
{
    goroutine **was = c->table;
    size_t n = c->table_room;
    c->table_room = n == 0 ? 1024 : n * 2;
    c->table = need(calloc(c->table_room, sizeof *c->table));
    for (size_t i = 0; i < n; i++)
        if (was[i] != NULL)
            *slot_of(c, was[i]->run, was[i]->id) = was[i];
    free(was);
}

static goroutine *goroutine_of(conversion *c, uint32_t run, uint64_t id)
{
    if (c->table_len * 2 >= c->table_room)
        table_grow(c);
    goroutine **slot = slot_of(c, run, id);
    if (*slot == NULL) {
        *slot = need(calloc(1, sizeof **slot));
        **slot = (goroutine){.id = id, .run = run, .proc = -1};
        c->table_len++;
    }
    return *slot;
}

/* What is said of goroutines anywhere, so that names are known from the beginning. */
static void goroutines_learn(conversion *c)
{
    const tracefile *t = c->t;
    for (size_t i = 0; i < t->living_len; i++) {
        goroutine *g = goroutine_of(c, t->living[i].run, t->living[i].id);
        g->site = t->living[i].site;
        g->parent = t->living[i].parent;
    }
    for (size_t i = 0; i < t->len; i++) {
        const happening *e = &t->at[i];
        if (e->kind != BL__TRACE_SPAWN && e->kind != BL__TRACE_END)
            continue;
        goroutine *g = goroutine_of(c, e->run, e->id);
        g->site = e->more;
        if (e->kind == BL__TRACE_SPAWN)
            g->parent = e->actor;
    }
}

static group *group_of(conversion *c, const char *name)
{
    group **at = &c->groups;
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (*at == NULL) {
        *at = need(calloc(1, sizeof **at));
        (*at)->name = text_own("%s", name);
        (*at)->track = perfetto_track(c->out, c->goroutines_track, name, 0, 0);
    }
    return *at;
}

static lane *lane_take(conversion *c, group *group)
{
    lane *l = group->unused;
    if (l != NULL) {
        group->unused = l->next;
        return l;
    }
    char name[32];
    l = need(calloc(1, sizeof *l));
    snprintf(name, sizeof name, "%u", ++group->lanes);
    l->track = perfetto_track(c->out, group->track, name, 0, group->lanes);
    l->all = c->lanes;
    c->lanes = l;
    return l;
}

/* ---- Slices on a goroutine's track ---- */

static const char *goroutine_name(goroutine *g, const tracefile *t)
{
    if (g->name[0] == 0) {
        const place *p = tracefile_place(t, g->site);
        snprintf(g->name, sizeof g->name, "%.64s %" PRIu64, p != NULL ? p->what : "goroutine",
                 g->id);
    }
    return g->name;
}

static int64_t lane_time(const conversion *c, lane *l)
{
    l->last = c->now > l->last ? c->now : l->last;
    return l->last;
}

static void lane_put(conversion *c, lane *l, int type, const char *name)
{
    perfetto_put(c->out, &(perfetto_event){
                             .track = l->track, .at = lane_time(c, l), .type = type, .name = name});
}

static void lane_begin(conversion *c, goroutine *g)
{
    const place *p = tracefile_place(c->t, g->site);
    char where[512] = "";
    if (p != NULL)
        snprintf(where, sizeof where, "%s at %s:%s", p->func, p->file, p->line);
    c->count += g->group == NULL;
    g->group = group_of(c, p != NULL ? p->what : "unknown");
    g->lane = lane_take(c, g->group);
    perfetto_event e = {.track = g->lane->track,
                        .at = lane_time(c, g->lane),
                        .type = PERFETTO_BEGIN,
                        .name = goroutine_name(g, c->t)};
    e.args[0].name = "goroutine";
    e.args[0].number = g->id;
    if (p != NULL) {
        e.args[1].name = "started by";
        e.args[1].text = where;
        e.args[2].name = "in goroutine";
        e.args[2].number = g->parent;
    }
    perfetto_put(c->out, &e);
}

/* g does something else from now on. */
static void change(conversion *c, goroutine *g, doing to, const char *name)
{
    if (g->lane == NULL)
        lane_begin(c, g);
    if (g->doing != UNKNOWN)
        lane_put(c, g->lane, PERFETTO_END, NULL);
    g->doing = to;
    if (to == RUNNABLE || to == RUNNING || to == BLOCKED || to == AWAY)
        lane_put(c, g->lane, PERFETTO_BEGIN, name);
}

static void scope_open(conversion *c, goroutine *g, const place *p)
{
    if (g->lane == NULL)
        change(c, g, RUNNING, "running");
    if (g->lane->scopes == 0)
        g->lane->scopes = perfetto_track(c->out, g->lane->track, "scopes", 0, 0);
    char where[512] = "";
    if (p != NULL)
        snprintf(where, sizeof where, "%s at %s:%s", p->func, p->file, p->line);
    perfetto_event e = {.track = g->lane->scopes,
                        .at = lane_time(c, g->lane),
                        .type = PERFETTO_BEGIN,
                        .name = p != NULL ? p->what : "scope"};
    e.args[0].name = "opened by";
    e.args[0].text = where;
    perfetto_put(c->out, &e);
    g->scopes++;
}

static void scope_close(conversion *c, goroutine *g)
{
    if (g->scopes == 0)
        return; /* opened before the trace began */
    g->scopes--;
    perfetto_put(c->out, &(perfetto_event){.track = g->lane->scopes,
                                           .at = lane_time(c, g->lane),
                                           .type = PERFETTO_END});
}

/* No more of g on its track, which another may have. */
static void lane_return(conversion *c, goroutine *g)
{
    while (g->scopes > 0)
        scope_close(c, g);
    lane_put(c, g->lane, PERFETTO_END, NULL);
    g->lane->next = g->group->unused;
    g->group->unused = g->lane;
    g->lane = NULL;
}

/* ---- Slices on a processor's track ---- */

static processor *processor_of(conversion *c, int32_t id)
{
    processor *p = &c->procs[id];
    if (p->track == 0) {
        char name[32];
        snprintf(name, sizeof name, "processor %d", (int)id);
        p->track = perfetto_track(c->out, c->procs_track, name, 0, (uint64_t)id);
    }
    return p;
}

static void processor_put(conversion *c, processor *p, perfetto_event *e)
{
    p->last = c->now > p->last ? c->now : p->last;
    e->track = p->track;
    e->at = p->last;
    perfetto_put(c->out, e);
}

static void processor_leave(conversion *c, processor *p)
{
    if (p->current != NULL)
        processor_put(c, p, &(perfetto_event){.type = PERFETTO_END});
    p->current = NULL;
}

static const char *const woken_by[] = {"a goroutine or thread", "its deadline", "a cancellation",
                                       "a timer or descriptor"};

static void processor_run(conversion *c, processor *p, goroutine *g)
{
    processor_leave(c, p);
    perfetto_event e = {
        .type = PERFETTO_BEGIN, .name = goroutine_name(g, c->t), .flow_end = g->flow};
    e.args[0].name = "goroutine";
    e.args[0].number = g->id;
    e.args[1].name = "thread";
    e.args[1].number = p->thread;
    if (g->flow_by != 0) {
        e.args[2].name = "woken by";
        e.args[2].text = woken_by[(g->flow_by - 1) & 3];
    }
    processor_put(c, p, &e);
    g->flow = 0;
    g->flow_by = 0;
    p->current = g;
}

/* Something that took no time, where e was done. */
static void instant(conversion *c, const happening *e, perfetto_event *what)
{
    what->type = PERFETTO_INSTANT;
    if (e->proc >= 0) {
        processor_put(c, processor_of(c, e->proc), what);
        return;
    }
    if (c->outside == 0)
        c->outside = perfetto_track(c->out, c->process, "threads without a processor", 0, 2);
    what->track = c->outside;
    what->at = c->now;
    if (e->actor != 0) {
        what->args[3].name = "by goroutine";
        what->args[3].number = e->actor;
    }
    perfetto_put(c->out, what);
}

/* ---- Events ---- */

static void wake(conversion *c, const happening *e, goroutine *g)
{
    bool late = g->doing == RUNNING && g->seq == e->seq; /* it has run already, by the clocks */
    if (late)
        return;
    char name[120];
    snprintf(name, sizeof name, e->kind == BL__TRACE_SPAWN ? "starts %s" : "wakes %s",
             goroutine_name(g, c->t));
    g->flow = ++c->flows;
    g->flow_by = e->kind == BL__TRACE_SPAWN ? 0 : (uint8_t)(e->how + 1);
    instant(c, e, &(perfetto_event){.name = name, .flow = g->flow});
    if (g->doing == RUNNING || g->doing == AWAY)
        g->waked_early = true;
    else
        change(c, g, RUNNABLE, "runnable");
}

static void leave(conversion *c, const happening *e, goroutine *g)
{
    if (e->proc >= 0) {
        processor *p = processor_of(c, e->proc);
        bool is_it = p->current == g;
        processor_leave(c, p);
        if (!is_it && g->doing == RUNNING && g->proc >= 0 && g->proc != e->proc)
            return; /* it runs elsewhere by now, by the clocks */
    }
    char name[64];
    bool blocks = e->kind == BL__TRACE_BLOCK && !g->waked_early;
    if (e->kind == BL__TRACE_END) {
        change(c, g, ENDED, NULL);
        lane_return(c, g);
        return;
    }
    g->waked_early = false;
    snprintf(name, sizeof name, "%s",
             blocks ? tracefile_reason(c->t, (uint8_t)(e->more >> 56)) : "runnable");
    change(c, g, blocks ? BLOCKED : RUNNABLE, name);
}

static void hand_off(conversion *c, const happening *e, goroutine *g)
{
    uint32_t id = (uint32_t)e->more;
    if (id >= PROCS_MOST)
        return;
    processor *p = processor_of(c, (int32_t)id);
    happening at = *e;
    at.proc = (int32_t)id;
    if (p->current == g)
        processor_leave(c, p);
    char name[120];
    snprintf(name, sizeof name, "taken from %s", goroutine_name(g, c->t));
    instant(c, &at, &(perfetto_event){.name = name});
    if (g->doing == RUNNING && g->proc == (int32_t)id)
        change(c, g, AWAY, e->more >> 32 == 1 ? "blocks its thread" : "runs without a processor");
}

static void cancel(conversion *c, const happening *e)
{
    perfetto_event what = {.name = "cancels"};
    what.args[0].name = "cause";
    what.args[0].number = (uint64_t)(int64_t)(int32_t)e->id;
    what.args[1].name = "context";
    what.args[1].number = e->more;
    instant(c, e, &what);
}

static void steal(conversion *c, const happening *e)
{
    char name[64];
    snprintf(name, sizeof name, "steals %u from processor %u", (unsigned)e->id >> 16 & 0xffff,
             (unsigned)e->id & 0xffff);
    instant(c, e, &(perfetto_event){.name = name});
}

/* Ends what is open, now. */
static void tracks_end(conversion *c)
{
    for (int i = 0; i < PROCS_MOST; i++)
        if (c->procs[i].track != 0)
            processor_leave(c, &c->procs[i]);
    for (size_t i = 0; i < c->table_room; i++) {
        goroutine *g = c->table[i];
        if (g == NULL || g->run != c->run)
            continue;
        g->waked_early = false;
        g->flow = g->flow_by = 0;
        if (g->lane == NULL)
            continue;
        if (g->doing != UNKNOWN)
            lane_put(c, g->lane, PERFETTO_END, NULL);
        g->doing = UNKNOWN;
        lane_return(c, g);
    }
}

/* What was not recorded, as a slice that ends now. */
static void pause_end(conversion *c, uint32_t switches, bool known)
{
    char name[64];
    snprintf(name, sizeof name, known ? "not recorded: %u switches" : "not recorded", switches);
    if (c->pauses == 0)
        c->pauses = perfetto_track(c->out, c->process, "pauses of the recording", 0, 0);
    perfetto_put(c->out,
                 &(perfetto_event){
                     .track = c->pauses, .at = c->paused, .type = PERFETTO_BEGIN, .name = name});
    perfetto_put(c->out, &(perfetto_event){.track = c->pauses, .at = c->now, .type = PERFETTO_END});
    c->not_recorded += c->now - c->paused;
    c->paused = 0;
}

/* The events of others that were under way may have come after it. */
static void pause_change(conversion *c, const happening *e)
{
    tracks_end(c);
    if (e->how == 0) {
        c->paused = c->now;
        c->paused_at = (uint32_t)e->more;
    } else if (c->paused != 0) {
        pause_end(c, (uint32_t)e->more - c->paused_at, true);
    }
}

static void event_convert(conversion *c, const happening *e)
{
    bool has_goroutine = e->kind != BL__TRACE_STEAL && e->kind != BL__TRACE_THREAD &&
                         e->kind != BL__TRACE_CANCEL && e->kind != BL__TRACE_PAUSE;
    goroutine *g = has_goroutine ? goroutine_of(c, e->run, e->id) : NULL;
    if (g != NULL && g->doing == ENDED)
        return;
    switch (e->kind) {
    case BL__TRACE_RUN:
        g->proc = e->proc;
        g->seq = e->seq;
        processor_run(c, processor_of(c, e->proc), g);
        change(c, g, RUNNING, "running");
        break;
    case BL__TRACE_BLOCK:
    case BL__TRACE_YIELD:
    case BL__TRACE_END: leave(c, e, g); break;
    case BL__TRACE_SPAWN:
    case BL__TRACE_WAKE: wake(c, e, g); break;
    case BL__TRACE_STEAL: steal(c, e); break;
    case BL__TRACE_HANDOFF: hand_off(c, e, g); break;
    case BL__TRACE_THREAD: {
        processor *p = processor_of(c, e->proc);
        processor_leave(c, p);
        p->thread = (uint32_t)e->id;
        break;
    }
    case BL__TRACE_CANCEL: cancel(c, e); break;
    case BL__TRACE_OPEN: scope_open(c, g, tracefile_place(c->t, e->more)); break;
    case BL__TRACE_CLOSE: scope_close(c, g); break;
    case BL__TRACE_PAUSE: pause_change(c, e); break;
    default: break;
    }
}

/* The tracks of a run of bl_run. */
static void run_begin(conversion *c, uint32_t run)
{
    char name[320];
    c->run = run;
    snprintf(name, sizeof name, run == 0 ? "%s" : "%s, run %u", c->t->header.program, run + 1);
    c->process = perfetto_track(c->out, 0, name, (int)(c->t->header.pid + run), run);
    c->procs_track = perfetto_track(c->out, c->process, "processors", 0, 1);
    c->goroutines_track = perfetto_track(c->out, c->process, "goroutines", 0, 3);
    c->outside = 0;
    c->pauses = 0;
}

static void run_end(conversion *c)
{
    tracks_end(c);
    if (c->paused != 0)
        pause_end(c, 0, false);
    for (lane *l = c->lanes, *next; l != NULL; l = next) {
        next = l->all;
        free(l);
    }
    for (group *g = c->groups, *next; g != NULL; g = next) {
        next = g->next;
        free(g->name);
        free(g);
    }
    c->lanes = NULL;
    c->groups = NULL;
    memset(c->procs, 0, PROCS_MOST * sizeof *c->procs);
}

/* How many goroutines; and how long nothing was recorded, in ns. */
static size_t convert(const tracefile *t, perfetto *out, int64_t *not_recorded)
{
    conversion c = {.t = t, .out = out, .procs = need(calloc(PROCS_MOST, sizeof(processor)))};
    goroutines_learn(&c);
    for (size_t i = 0; i < t->len; i++) {
        if (i == 0 || t->at[i].run != c.run) {
            if (i > 0)
                run_end(&c);
            run_begin(&c, t->at[i].run);
        }
        c.now = t->at[i].at;
        event_convert(&c, &t->at[i]);
    }
    if (t->len > 0)
        run_end(&c);
    for (size_t i = 0; i < c.table_room; i++)
        free(c.table[i]);
    free(c.table);
    free(c.procs);
    *not_recorded = c.not_recorded;
    return c.count;
}

/* ---- The command ---- */

static int file_convert(const char *from, const char *to)
{
    tracefile t;
    int err = tracefile_read(&t, from);
    FILE *out = err ? NULL : fopen(to, "w");
    if (!err && out == NULL) {
        complain("%s: %s", to, strerror(errno));
        err = EXIT_FAILED;
    }
    if (!err) {
        perfetto *p = perfetto_open(out);
        int64_t not_recorded;
        size_t count = convert(&t, p, &not_recorded);
        int error = perfetto_close(p);
        if (fclose(out) != 0 && error == 0)
            error = errno;
        if (error != 0) {
            complain("%s cannot be written: %s", to, strerror(error));
            err = EXIT_FAILED;
        } else {
            double ms = t.len > 0 ? (double)(t.at[t.len - 1].at - t.at[0].at) / 1e6 : 0;
            printf("%s: %zu events of %zu goroutines in %.3f ms", to, t.len, count, ms);
            if (not_recorded != 0)
                printf(
                    " but for %.3f ms that were not recorded (BELAY_DEBUG=traceall=1 records all)",
                    (double)not_recorded / 1e6);
            puts("; open it at https://ui.perfetto.dev");
        }
        if (t.damaged)
            complain("%s: some of it makes no sense and was left out", from);
    }
    tracefile_free(&t);
    return err;
}

/* What the words ask for that cannot be: EXIT_USAGE. */
static int words_check(const char *from, const char *to)
{
    if (from == NULL || *from == '\0')
        complain("trace takes a file that was recorded with BELAY_TRACE=FILE");
    else if (to != NULL && (*to == '\0' || strcmp(to, "-") == 0))
        complain("-o %s: it needs the name of a file, which https://ui.perfetto.dev opens",
                 text_shown(to));
    else if (to != NULL && path_same(from, to))
        complain("-o %s would overwrite what is to be converted", to);
    else
        return 0;
    return EXIT_USAGE;
}

int trace_main(char **argv)
{
    const char *from = NULL, *to = NULL, *value;
    for (; *argv != NULL; argv++) {
        const char *name = flags_name(*argv, &value);
        if (help_asked(*argv))
            return help_command("trace");
        if (name != NULL && strcmp(name, "o") == 0) {
            to = value != NULL ? value : argv[1] != NULL ? *++argv : "";
        } else if (name != NULL || from != NULL) {
            complain("trace takes a file and -o OUT, and not %s; see 'belay help trace'",
                     text_shown(*argv));
            return EXIT_USAGE;
        } else {
            from = *argv;
        }
    }
    int err = words_check(from, to);
    return err ? err : file_convert(from, to != NULL ? to : text_format("%s.pftrace", from));
}
