/* SPDX-License-Identifier: MIT */
/* local.c: goroutines from the memory of a process, which is never stopped. */
#include "goroutine.h"
#include "source.h"
#include "stack.h"
#include "util.h"

#include <stdlib.h>

/* Names that were looked up, kept between readings. */
typedef struct name {
    uint64_t key;
    char *text;
} name;

typedef struct local {
    source s;
    target t;
    stacks *stacks;
    goroutines all; /* of the last reading */
    name *names;
    size_t names_len;
} local;

static unsigned stack_percent(const target *t, const goroutine *g)
{
    if (g->record == 0 || g->status == t->at.running || g->sp < g->stack_lo || g->sp >= g->stack_hi)
        return 0;
    uint64_t size = g->stack_hi - g->stack_lo;
    return (unsigned)(((g->stack_hi - g->sp) * 100 + size - 1) / size);
}

/* The text kept for key, made by make if there is none yet. */
static const char *name_of(local *l, uint64_t key, char *(*make)(local *l, uint64_t key))
{
    for (size_t i = 0; i < l->names_len; i++)
        if (l->names[i].key == key)
            return l->names[i].text;
    name *more = realloc(l->names, (l->names_len + 1) * sizeof *more);
    if (more == NULL)
        return "?";
    l->names = more;
    l->names[l->names_len] = (name){key, make(l, key)};
    return l->names[l->names_len++].text;
}

static char *function_name(local *l, uint64_t key) { return stacks_function(l->stacks, key); }

static char *site_name(local *l, uint64_t key)
{
    goroutine_place p = goroutine_started(&l->t, &(goroutine){.site = key});
    char *text = text_own("%s (%s)", p.place, p.func);
    free(p.func);
    free(p.place);
    return text;
}

/* R: the thread computes, S: it waits in the kernel; -: there is none, or it cannot be told. */
static char thread_state(const target *t, int32_t tid)
{
    char path[64], state = '-';
    if (tid == 0)
        return '-';
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)t->pid, (int)tid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return '-';
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = '-';
    fclose(f);
    if (state != 'R' && state != '-')
        state = 'S';
    return state;
}

static bool local_read(source *s, reading *r)
{
    local *l = (local *)(void *)s;
    const target *t = &l->t;
    *r = (reading){.pid = (int)t->pid};
    goroutines_free(&l->all);
    if (!goroutines_read(t, &l->all) || !target_alive(t))
        return false;
    r->procs = l->all.procs;
    r->threads = l->all.threads;
    r->at = calloc(l->all.len + 1, sizeof *r->at);
    for (size_t i = 0; r->at != NULL && i < l->all.len; i++) {
        const goroutine *g = &l->all.at[i];
        bool runs = g->status == t->at.running, waits = g->status == t->at.parked;
        r->at[r->len++] = (source_row){
            .id = g->id,
            .kind = "rwR"[runs ? 2 : waits],
            .thread = thread_state(t, g->tid),
            .since = g->since,
            .switches = g->switches,
            .stack = stack_percent(t, g),
            .state = goroutine_state(t, g),
            .func = name_of(l, g->fn, function_name),
            .started = g->site != 0 && g->id != 1 ? name_of(l, g->site, site_name) : "",
        };
    }
    return r->at != NULL;
}

static void local_look(source *s, uint64_t id, FILE *to, size_t lines, const char *end)
{
    local *l = (local *)(void *)s;
    frames f;
    size_t at = 0;
    while (at < l->all.len && l->all.at[at].id != id)
        at++;
    if (at == l->all.len)
        return;
    goroutine *g = &l->all.at[at];
    if (!goroutine_refresh(&l->t, g)) {
        fprintf(to, "goroutine %llu has ended%s", (unsigned long long)id, end);
        return;
    }
    fprintf(to, "goroutine %llu [%s]:%s", (unsigned long long)id, goroutine_state(&l->t, g), end);
    if (!stacks_walk(l->stacks, g, &f)) {
        fprintf(to, "its stack cannot be had: it runs%s", end);
        return;
    }
    for (size_t i = f.from < f.to ? f.from : 0; i < f.to && i * 2 + 3 < lines; i++)
        fprintf(to, "%s%s        %s%s", f.at[i].func, end,
                f.at[i].place != NULL ? f.at[i].place : "?", end);
    frames_free(&f);
}

static void local_close(source *s)
{
    local *l = (local *)(void *)s;
    goroutines_free(&l->all);
    for (size_t i = 0; i < l->names_len; i++)
        free(l->names[i].text);
    free(l->names);
    stacks_close(l->stacks);
    free(l);
}

source *source_process(const char *pid, int *err)
{
    local *l = calloc(1, sizeof *l);
    if (l == NULL) {
        complain("out of memory");
        *err = EXIT_FAILED;
        return NULL;
    }
    l->s = (source){local_read, local_look, local_close};
    *err = target_open(&l->t, pid);
    if (*err != 0) {
        free(l);
        return NULL;
    }
    l->stacks = stacks_open(&l->t);
    return &l->s;
}

void reading_free(reading *r)
{
    free(r->at);
    free(r->memory);
    *r = (reading){.at = NULL};
}
