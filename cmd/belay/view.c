/* SPDX-License-Identifier: MIT */
#include "view.h"

#include "util.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROW = 512,
    LONG_BLOCKED = 60, /* seconds */
    STACK_FULL = 80,   /* per cent */
    WARNINGS = 6
};
static const int64_t never_yields = 1000000000;

const char *const view_sort_names[] = {"since", "switches", "stack", "state", "id", NULL};

/* ---- Rows ---- */

static unsigned stack_percent(const target *t, const goroutine *g)
{
    if (g->record == 0 || g->status == t->at.running || g->sp < g->stack_lo || g->sp >= g->stack_hi)
        return 0;
    uint64_t size = g->stack_hi - g->stack_lo;
    return (unsigned)(((g->stack_hi - g->sp) * 100 + size - 1) / size);
}

/* The text kept for key, made by make if there is none yet. */
static const char *name_of(view *v, uint64_t key, char *(*make)(view *v, uint64_t key))
{
    for (size_t i = 0; i < v->names_len; i++)
        if (v->names[i].key == key)
            return v->names[i].text;
    view_name *more = realloc(v->names, (v->names_len + 1) * sizeof *more);
    if (more == NULL)
        return "?";
    v->names = more;
    v->names[v->names_len] = (view_name){key, make(v, key)};
    return v->names[v->names_len++].text;
}

static char *function_name(view *v, uint64_t key) { return stacks_function(v->s, key); }

static char *site_name(view *v, uint64_t key)
{
    goroutine_place p = goroutine_started(v->t, &(goroutine){.site = key});
    char *text = text_own("%s (%s)", p.place, p.func);
    free(p.func);
    free(p.place);
    return text;
}

static void since_text(char *to, size_t size, int64_t ns)
{
    int64_t s = ns / 1000000000;
    if (ns <= 0)
        snprintf(to, size, "-");
    else if (s >= 3600)
        snprintf(to, size, "%lldh%02lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
    else if (s >= 60)
        snprintf(to, size, "%lldm%02llds", (long long)(s / 60), (long long)(s % 60));
    else if (s >= 1)
        snprintf(to, size, "%lld.%llds", (long long)s, (long long)(ns / 100000000 % 10));
    else
        snprintf(to, size, "%lldms", (long long)(ns / 1000000));
}

#define COLUMNS "%8s  %-22s %8s %10s %6s  %-24s %s"

static void row_text(view *v, const goroutine *g, char *to)
{
    char since[24], id[24], switches[16], stack[16];
    unsigned percent = stack_percent(v->t, g);
    since_text(since, sizeof since, g->since);
    snprintf(id, sizeof id, "%llu", (unsigned long long)g->id);
    snprintf(switches, sizeof switches, "%u", g->switches);
    if (percent != 0)
        snprintf(stack, sizeof stack, "%u%%", percent);
    else
        snprintf(stack, sizeof stack, "-");
    snprintf(to, ROW, COLUMNS, id, goroutine_state(v->t, g), since, switches, stack,
             name_of(v, g->fn, function_name),
             g->site != 0 && g->id != 1 ? name_of(v, g->site, site_name) : "");
}

static const view *sorted; /* for row_compare; one thread */

static int row_compare(const void *a, const void *b)
{
    const goroutine *ga = &sorted->all.at[*(const size_t *)a];
    const goroutine *gb = &sorted->all.at[*(const size_t *)b];
    int64_t d = 0;
    switch (sorted->sort) {
    case SORT_SINCE: d = gb->since - ga->since; break;
    case SORT_SWITCHES: d = (int64_t)gb->switches - ga->switches; break;
    case SORT_STACK:
        d = (int64_t)stack_percent(sorted->t, gb) - stack_percent(sorted->t, ga);
        break;
    case SORT_STATE:
        d = strcmp(goroutine_state(sorted->t, ga), goroutine_state(sorted->t, gb));
        break;
    default: break;
    }
    if (d != 0)
        return d < 0 ? -1 : 1;
    return ga->id < gb->id ? -1 : ga->id > gb->id;
}

bool view_read(view *v)
{
    char row[ROW];
    goroutines_free(&v->all);
    free(v->rows);
    v->rows = NULL;
    v->rows_len = 0;
    if (!goroutines_read(v->t, &v->all))
        return false;
    v->rows = malloc((v->all.len + 1) * sizeof *v->rows);
    if (v->rows == NULL)
        return false;
    for (size_t i = 0; i < v->all.len; i++) {
        if (v->filter[0] != '\0') {
            row_text(v, &v->all.at[i], row);
            if (strstr(row, v->filter) == NULL)
                continue;
        }
        v->rows[v->rows_len++] = i;
    }
    sorted = v;
    qsort(v->rows, v->rows_len, sizeof *v->rows, row_compare);
    return true;
}

void view_close(view *v)
{
    goroutines_free(&v->all);
    free(v->rows);
    for (size_t i = 0; i < v->names_len; i++)
        free(v->names[i].text);
    free(v->names);
}

/* ---- What looks wrong ---- */

/* R: the thread computes, else it waits in the kernel; 0: it cannot be told. */
static char thread_state(const target *t, int32_t tid)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)t->pid, (int)tid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(f);
    return state;
}

/* A wait that is not expected to be long. */
static bool is_blocked(const target *t, const goroutine *g)
{
    static const char *const patient[] = {"sleep", "IO wait", "scope wait", "blocking call"};
    const char *state = goroutine_state(t, g);
    for (size_t i = 0; i < sizeof patient / sizeof *patient; i++)
        if (strcmp(state, patient[i]) == 0)
            return false;
    return g->status == t->at.parked && g->since >= (int64_t)LONG_BLOCKED * 1000000000;
}

/* The warnings, a line each; how many. */
static size_t warnings_find(view *v, char (*lines)[ROW])
{
    size_t n = 0, blocked = 0;
    const goroutine *longest = NULL;
    char since[24];
    for (size_t i = 0; i < v->all.len && n + 1 < WARNINGS; i++) {
        const goroutine *g = &v->all.at[i];
        unsigned percent = stack_percent(v->t, g);
        since_text(since, sizeof since, g->since);
        if (is_blocked(v->t, g)) {
            blocked++;
            longest = longest == NULL || g->since > longest->since ? g : longest;
        }
        if (g->tid != 0 && g->since >= never_yields)
            snprintf(lines[n++], ROW, "goroutine %llu (%s) has not yielded for %s: it %s",
                     (unsigned long long)g->id, name_of(v, g->fn, function_name), since,
                     thread_state(v->t, g->tid) == 'R' ? "computes" : "waits in a system call");
        else if (percent >= STACK_FULL)
            snprintf(lines[n++], ROW, "goroutine %llu (%s) has used %u%% of its stack",
                     (unsigned long long)g->id, name_of(v, g->fn, function_name), percent);
    }
    if (longest != NULL) {
        since_text(since, sizeof since, longest->since);
        snprintf(lines[n++], ROW,
                 "%zu goroutine%s blocked for more than a minute; longest: goroutine %llu (%s), "
                 "%s for %s",
                 blocked, blocked == 1 ? "" : "s", (unsigned long long)longest->id,
                 name_of(v, longest->fn, function_name), goroutine_state(v->t, longest), since);
    }
    return n;
}

/* ---- Printing ---- */

static void line_print(FILE *to, const char *text, size_t columns, const char *end)
{
    fprintf(to, "%.*s%s", columns != 0 ? (int)columns : ROW, text, end);
}

void view_print(view *v, FILE *to, size_t first, size_t lines, size_t columns, size_t selected,
                const char *end)
{
    char warnings[WARNINGS][ROW], text[ROW];
    size_t parked = 0, runs = 0, used = 2;
    for (size_t i = 0; i < v->all.len; i++) {
        parked += v->all.at[i].status == v->t->at.parked;
        runs += v->all.at[i].status == v->t->at.running;
    }
    snprintf(text, ROW,
             "belay top: process %d, %u processors, %u threads; %zu goroutines: %zu running, "
             "%zu runnable, %zu waiting",
             (int)v->t->pid, v->all.procs, v->all.threads, v->all.len, runs,
             v->all.len - parked - runs, parked);
    line_print(to, text, columns, end);
    size_t count = warnings_find(v, warnings);
    for (size_t i = 0; i < count; i++, used++) {
        snprintf(text, ROW, "! %.*s", ROW - 4, warnings[i]);
        line_print(to, text, columns, end);
    }
    snprintf(text, ROW, COLUMNS, "ID", "STATE", "SINCE", "SWITCHES", "STACK", "FUNCTION",
             "STARTED AT");
    line_print(to, text, columns, end);
    for (size_t i = first; i < v->rows_len && (lines == 0 || used < lines); i++, used++) {
        row_text(v, &v->all.at[v->rows[i]], text);
        if (i == selected)
            fprintf(to, "\033[7m%.*s\033[0m%s", columns != 0 ? (int)columns : ROW, text, end);
        else
            line_print(to, text, columns, end);
    }
}
