/* SPDX-License-Identifier: MIT */
/* watched.c: the list of tests that have begun. */
#include "test/watched.h"

#include <stdlib.h>

bl__watched *bl__watched_first;

bl__watched *bl__watched_find(int item, const char *name)
{
    for (bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (w->item == item && strcmp(w->name, name) == 0)
            return w;
    return NULL;
}

bl__watched *bl__watched_get(int item, const char *name)
{
    bl__watched *w = bl__watched_find(item, name);
    if (w != NULL)
        return w;
    bl__watched **at = &bl__watched_first;
    while (*at != NULL)
        at = &(*at)->next;
    w = bl__test_alloc(sizeof *w);
    w->name = strdup(name);
    if (w->name == NULL)
        bl__fatal("belay: out of memory in the test runner");
    w->item = item;
    *at = w;
    return w;
}

void bl__watched_drop(int item)
{
    for (bl__watched **at = &bl__watched_first; *at != NULL;) {
        bl__watched *w = *at;
        if (item >= 0 && w->item != item) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        bl__text_free(&w->log);
        bl__text_free(&w->before);
        free(w->tempdir);
        free(w->name);
        bl__free(w);
    }
}

void bl__watched_sweep(void)
{
    for (bl__watched *w = bl__watched_first; w != NULL; w = w->next) {
        if (w->tempdir != NULL)
            bl__tempdir_remove(w->tempdir);
        free(w->tempdir);
        w->tempdir = NULL;
    }
}

void bl__watched_rewind(void)
{
    for (bl__watched *w = bl__watched_first; w != NULL; w = w->next) {
        w->running = w->paused = w->met = false;
        if (w->ended)
            continue;
        bl__text_free(&w->before);
        w->before = w->log;
        w->log = (bl__text){0};
    }
}

void bl__watched_meet(bl__watched *w)
{
    w->met = true;
    for (bl__watched *sub = bl__watched_first; sub != NULL; sub = sub->next)
        if (bl__watched_below(sub, w))
            sub->met = true;
}

bool bl__watched_sub(const bl__watched *w) { return strchr(w->name, '/') != NULL; }

bool bl__watched_below(const bl__watched *w, const bl__watched *of)
{
    size_t n = strlen(of->name);
    return w->item == of->item && strncmp(w->name, of->name, n) == 0 && w->name[n] == '/';
}

bool bl__watched_leaf(const bl__watched *w)
{
    if (!w->running || w->paused)
        return false;
    for (const bl__watched *sub = bl__watched_first; sub != NULL; sub = sub->next)
        if (sub->running && !sub->paused && bl__watched_below(sub, w))
            return false;
    return true;
}

static int state_of(const bl__watched *w) { return w->ended ? w->ended : BL__ITEM_FAILED; }

void bl__watched_line(bl__text *b, const bl__watched *w)
{
    int state = state_of(w);
    bl__text_printf(b, "%s--- %s: %s (%.2fs)\n", bl__tests.json ? "\x16" : "",
                    state == BL__ITEM_FAILED    ? "FAIL"
                    : state == BL__ITEM_SKIPPED ? "SKIP"
                                                : "PASS",
                    w->name, (double)(w->ended ? w->took : bl_now() - w->began) / (double)BL_SEC);
    if (!bl__tests.verbose)
        bl__text_put(b, w->log.at, w->log.len);
}

void bl__watched_put(bl__text *b, const bl__watched *w)
{
    bl__watched_line(b, w);
    for (const bl__watched *sub = bl__watched_first; sub != NULL; sub = sub->next) {
        bool child = bl__watched_below(sub, w) && !strchr(sub->name + strlen(w->name) + 1, '/');
        if (!child || (!bl__tests.verbose && state_of(sub) != BL__ITEM_FAILED))
            continue;
        bl__text own = {0};
        bl__watched_put(&own, sub);
        bl__text_indent(b, own.at, own.len, 4);
        bl__text_free(&own);
    }
}
