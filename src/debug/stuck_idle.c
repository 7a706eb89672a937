/* SPDX-License-Identifier: MIT */
/*
 * stuck_idle.c: which of those that seem to be stuck may be idle on purpose.
 *
 * A goroutine that waits to receive, until its scope ends, may be a service that just has nothing
 * to do, although the compiler no longer keeps the address of its channel anywhere. So who could be
 * stopped by its scope is spared while a function that has made what it waits on still runs, as far
 * as that is known without walking stacks: functions that goroutines were started with, or that
 * have a scope open.
 *
 * One that waits to send is spared in the scope of the function that has made its channel: that has
 * taken what it wanted, and the end of its scope is how it says so.
 */
#include "debug/stuck_notes.h"

#include <string.h>

#include "core/proc.h"
#include "debug/peek.h"
#include "debug/symbol.h"
#include "sync/chan.h"

enum { NAME_MOST = 128 };

/* Of a function's name, which is all that is known of it where something was made; 0: it is not
 * readable. */
static uint64_t func_hash(const char *at)
{
    char name[NAME_MOST];
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    if (!bl__peek_text(name, sizeof name, at))
        return 0;
    for (const char *c = name; *c != 0; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return hash | 1;
}

/* What made an object, or a scope, is known from there, which may be damaged; and so may a record
 * be. */
static uint64_t maker_hash(const bl__site *at)
{
    bl__site made;
    return bl__peek(&made, at, sizeof made) ? func_hash(made.func) : 0;
}

static uint64_t started_hash(const bl__site *at)
{
    bl__site site;
    return bl__peek(&site, at, sizeof site) ? func_hash(site.what) : 0;
}

static bool is_active(const bl__notes *n, uint64_t hash)
{
    for (uint32_t i = 0; i < n->active_count && i < BL__STUCK_ACTIVE; i++)
        if (n->active[i] == hash)
            return true;
    return false;
}

static void active_add(bl__notes *n, uint64_t hash)
{
    if (hash == 0 || is_active(n, hash))
        return;
    if (n->active_count < BL__STUCK_ACTIVE)
        n->active[n->active_count] = hash;
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
    const bl__site *started = NULL, *opened = NULL; /* looked at last: most are the same */
    n->active_count = 0;
    n->maker = NULL;
    for (uint32_t i = 0; i < n->count; i++) {
        const bl__node *d = &n->nodes[i];
        if (!d->alive || d->at == NULL || d->thread)
            continue;
        const bl__site *site = d->at->site;
        if (d->id == 1)
            active_add(n, func_hash(main_name(n, d->at)));
        else if (site != started)
            active_add(n, started_hash(site));
        started = site;
        const bl_scope *at = bl__node_inner(d);
        bl_scope s;
        for (int k = 0; k < BL__STUCK_CONTEXTS && at != d->home && bl__peek(&s, at, sizeof s) &&
                        s.bl__magic == BL__SCOPE_OPEN;
             k++, at = s.bl__parent) {
            if (s.bl__made != opened)
                active_add(n, maker_hash(s.bl__made));
            opened = s.bl__made;
        }
    }
}

static bool made_by_active(bl__notes *n, const bl__site *made)
{
    if (made == NULL)
        return false;
    if (n->active_count > BL__STUCK_ACTIVE)
        return true;
    if (made != n->maker) {
        n->maker = made;
        uint64_t maker = maker_hash(made);
        n->maker_active = maker == 0 || is_active(n, maker);
    }
    return n->maker_active;
}

/* What made a channel; NULL: nothing comes from a timer's that is not armed. */
static const bl__site *made_of(const bl_chan *at)
{
    bl_chan c;
    bool live = at != NULL && bl__peek(&c, at, sizeof c) && bl__chan_is_live(c.magic);
    return live && !c.timer ? c.made : NULL;
}

static bool may_idle(bl__reason reason)
{
    return reason == BL__WAIT_CHAN_RECV || reason == BL__WAIT_CHAN_SEND ||
           reason == BL__WAIT_SELECT || reason == BL__WAIT_CHAN_RECV_NIL ||
           reason == BL__WAIT_SELECT_NONE;
}

/* The function that has made the channel that d sends on opened its scope, too. */
static bool made_by_opener(const bl__node *d, const bl__site *made)
{
    bl_scope s;
    bl__site chan, scope;
    return d->home != &bl__rt.root && bl__peek(&s, d->home, sizeof s) &&
           s.bl__magic == BL__SCOPE_OPEN && bl__peek(&scope, s.bl__made, sizeof scope) &&
           bl__peek(&chan, made, sizeof chan) && chan.func == scope.func;
}

static bool is_idle(bl__notes *n, const bl__node *d)
{
    bl__select_wait s;
    bl_case c;
    if (d->reason == BL__WAIT_CHAN_RECV)
        return made_by_active(n, d->made);
    if (d->reason == BL__WAIT_CHAN_SEND)
        return made_by_opener(d, d->made);
    if (d->reason != BL__WAIT_SELECT || !bl__peek(&s, d->obj, sizeof s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (bl__peek(&c, s.cases + i, sizeof c) &&
            (c.op == BL__OP_RECV ? made_by_active(n, made_of(c.chan))
                                 : made_by_opener(d, made_of(c.chan))))
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
            !may_idle((bl__reason)d->reason))
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
