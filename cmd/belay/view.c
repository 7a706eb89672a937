/* SPDX-License-Identifier: MIT */
#include "view.h"

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

static void row_text(const source_row *g, char *to)
{
    char since[24], id[24], switches[16], stack[16];
    since_text(since, sizeof since, g->since);
    snprintf(id, sizeof id, "%llu", (unsigned long long)g->id);
    snprintf(switches, sizeof switches, "%u", g->switches);
    if (g->stack != 0)
        snprintf(stack, sizeof stack, "%u%%", g->stack);
    else
        snprintf(stack, sizeof stack, "-");
    snprintf(to, ROW, COLUMNS, id, g->state, since, switches, stack, g->func, g->started);
}

static const view *sorted; /* for row_compare; one thread */

static int row_compare(const void *a, const void *b)
{
    const source_row *ga = &sorted->all.at[*(const size_t *)a];
    const source_row *gb = &sorted->all.at[*(const size_t *)b];
    int64_t d = 0;
    switch (sorted->sort) {
    case SORT_SINCE: d = gb->since - ga->since; break;
    case SORT_SWITCHES: d = (int64_t)gb->switches - ga->switches; break;
    case SORT_STACK: d = (int64_t)gb->stack - ga->stack; break;
    case SORT_STATE: d = strcmp(ga->state, gb->state); break;
    default: break;
    }
    if (d != 0)
        return d < 0 ? -1 : 1;
    return ga->id < gb->id ? -1 : ga->id > gb->id;
}

bool view_read(view *v)
{
    char row[ROW];
    reading_free(&v->all);
    free(v->rows);
    v->rows = NULL;
    v->rows_len = 0;
    if (!v->from->read(v->from, &v->all))
        return false;
    v->rows = malloc((v->all.len + 1) * sizeof *v->rows);
    if (v->rows == NULL)
        return false;
    for (size_t i = 0; i < v->all.len; i++) {
        if (v->filter[0] != '\0') {
            row_text(&v->all.at[i], row);
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
    reading_free(&v->all);
    free(v->rows);
}

/* ---- What looks wrong ---- */

/* A wait that is not expected to be long. */
static bool is_blocked(const source_row *g)
{
    static const char *const patient[] = {"sleep", "IO wait", "scope wait", "blocking call"};
    for (size_t i = 0; i < sizeof patient / sizeof *patient; i++)
        if (strcmp(g->state, patient[i]) == 0)
            return false;
    return g->kind == 'w' && g->since >= (int64_t)LONG_BLOCKED * 1000000000;
}

/* The warnings, a line each; how many. */
static size_t warnings_find(const view *v, char (*lines)[ROW])
{
    size_t n = 0, blocked = 0;
    const source_row *longest = NULL;
    char since[24];
    for (size_t i = 0; i < v->all.len && n + 1 < WARNINGS; i++) {
        const source_row *g = &v->all.at[i];
        since_text(since, sizeof since, g->since);
        if (is_blocked(g)) {
            blocked++;
            longest = longest == NULL || g->since > longest->since ? g : longest;
        }
        if (g->thread != '-' && g->since >= never_yields)
            snprintf(lines[n++], ROW, "goroutine %llu (%s) has not yielded for %s: it %s",
                     (unsigned long long)g->id, g->func, since,
                     g->thread == 'R' ? "computes" : "waits in a system call");
        else if (g->stack >= STACK_FULL)
            snprintf(lines[n++], ROW, "goroutine %llu (%s) has used %u%% of its stack",
                     (unsigned long long)g->id, g->func, g->stack);
    }
    if (longest != NULL) {
        since_text(since, sizeof since, longest->since);
        snprintf(lines[n++], ROW,
                 "%zu goroutine%s blocked for more than a minute; longest: goroutine %llu (%s), "
                 "%s for %s",
                 blocked, blocked == 1 ? "" : "s", (unsigned long long)longest->id, longest->func,
                 longest->state, since);
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
        parked += v->all.at[i].kind == 'w';
        runs += v->all.at[i].kind == 'R';
    }
    snprintf(text, ROW,
             "belay top: process %d, %u processors, %u threads; %zu goroutines: %zu running, "
             "%zu runnable, %zu waiting",
             v->all.pid, v->all.procs, v->all.threads, v->all.len, runs, v->all.len - parked - runs,
             parked);
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
        row_text(&v->all.at[v->rows[i]], text);
        if (i == selected)
            fprintf(to, "\033[7m%.*s\033[0m%s", columns != 0 ? (int)columns : ROW, text, end);
        else
            line_print(to, text, columns, end);
    }
}
