/* SPDX-License-Identifier: MIT */
/*
 * stuck_idle.c: which of those that seem to be stuck may be idle on purpose.
 *
 * A goroutine that waits to receive, until its scope ends, may be a service that just has nothing to do, although
 * the compiler no longer keeps the address of its channel anywhere. So who could be stopped by its scope is
 * spared while a function that has made what it waits on still runs, as far as that is known without walking
 * stacks: functions that goroutines were started with, or that have a scope open.
 */
#include "debug/stuck_notes.h"

#include <string.h>

#include "core/proc.h"
#include "debug/peek.h"
#include "debug/symbol.h"
#include "sync/chan.h"

static void active_add(bl__notes *n, const char *name)
{
    for (uint32_t i = 0; i < n->active_count; i++)
        if (n->active[i] == name)
            return;
    if (n->active_count < BL__STUCK_ACTIVE)
        n->active[n->active_count] = name;
    n->active_count +=
        n->active_count <= BL__STUCK_ACTIVE; /* with one more: there are too many to know */
}

static bool first_name_take(const bl__symbol *s, void *arg)
{
    *(const char **)arg = s->func;
    return false;
}

/* Of the function that bl_run was given, which no site tells. */
static const char *main_name(bl__notes *n, const bl__g *g)
{
    static bl_fn known;
    static const char *name; /* under one_search */
    bl_fn fn = load_relaxed(&g->fn);
    if (known != fn) {
        name = NULL;
        bl__symbol_each((uintptr_t)fn, first_name_take, &name);
        known = fn;
        n->s->named = true;
    }
    return name;
}

static void active_find(bl__notes *n)
{
    n->active_count = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        const bl__node *d = &n->nodes[i];
        if (!d->alive || d->at == NULL)
            continue;
        const char *main = d->id == 1 ? main_name(n, d->at) : NULL;
        if (main != NULL)
            active_add(n, main);
        if (d->id != 1 && d->at->site != NULL)
            active_add(n, d->at->site->what);
        const bl_scope *at = d->opener ? load_relaxed(&d->at->inner) : NULL;
        bl_scope s;
        for (int k = 0; k < BL__STUCK_CONTEXTS && at != d->home && bl__peek(&s, at, sizeof s) &&
                        s.bl__magic == BL__SCOPE_OPEN;
             k++, at = s.bl__parent)
            active_add(n, s.bl__made->func);
    }
}

static bool made_by_active(const bl__notes *n, const bl_chan *at)
{
    bl_chan c;
    if (at == NULL || !bl__peek(&c, at, sizeof c) || c.magic != BL__CHAN_LIVE || c.made == NULL ||
        c.timer) /* nothing comes from one that is not armed */
        return false;
    if (n->active_count > BL__STUCK_ACTIVE)
        return true;
    for (uint32_t i = 0; i < n->active_count; i++)
        if (strcmp(n->active[i], c.made->func) == 0)
            return true;
    return false;
}

static bool is_receive(bl__reason reason)
{
    return reason == BL__WAIT_CHAN_RECV || reason == BL__WAIT_SELECT ||
           reason == BL__WAIT_CHAN_RECV_NIL || reason == BL__WAIT_SELECT_NONE;
}

static bool is_idle(const bl__notes *n, const bl__node *d)
{
    bl__select_wait s;
    bl_case c;
    if (d->reason == BL__WAIT_CHAN_RECV)
        return made_by_active(n, d->obj);
    if (d->reason != BL__WAIT_SELECT || !bl__peek(&s, d->obj, sizeof s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (bl__peek(&c, s.cases + i, sizeof c) && c.op == BL__OP_RECV && made_by_active(n, c.chan))
            return true;
    return false;
}

/* True: somebody is spared. */
bool bl__notes_spare(bl__notes *n)
{
    bool changed = false;
    bool known = false;
    for (uint32_t i = 0; i < n->count; i++) {
        bl__node *d = &n->nodes[i];
        const bl__home *h = &n->homes[d->scope];
        if (d->alive || !d->cancellable || !(n->s->leaks || d->opener) ||
            !(h->opener == BL__NOBODY || n->nodes[h->opener].alive || h->alive > 0) ||
            !is_receive((bl__reason)d->reason))
            continue;
        bool nothing = d->reason == BL__WAIT_CHAN_RECV_NIL || d->reason == BL__WAIT_SELECT_NONE;
        if (!nothing && !known)
            active_find(n);
        known = known || !nothing;
        if (!nothing && !is_idle(n, d)) /* from nothing it is a way to wait for the end */
            continue;
        bl__node_revive(n, d);
        changed = true;
    }
    return changed;
}
