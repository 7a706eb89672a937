/* SPDX-License-Identifier: MIT */
/*
 * describe.c: the objects in a report.
 *
 * None of them is locked, since whoever holds the lock may be what the report is about, and all of
 * them may be gone: they are copied with bl__peek and believed only as far as a copy can be.
 */
#include "debug/describe.h"

#include <string.h>

#include "core/label.h"
#include "core/proc.h"
#include "debug/descriptor.h"
#include "debug/lockorder.h"
#include "debug/peek.h"
#include "debug/symbol.h"
#include "io/fd.h"
#include "life/pool.h"
#include "life/timer.h"
#include "sync/chan.h"
#include "sync/object.h"
#include "sync/waitq.h"

enum {
    CASES_SHOWN = 16,
    HELD_SHOWN = 16,
    LABELS_SHOWN = 1024 /* bytes of text */
};

bool bl__site_read(bl__site_text *to, const bl__site *at)
{
    bl__site site;
    if (!bl__peek(&site, at, sizeof site) || !bl__peek_text(to->what, sizeof to->what, site.what) ||
        !bl__peek_text(to->func, sizeof to->func, site.func) ||
        !bl__peek_text(to->file, sizeof to->file, site.file))
        return false;
    to->line = site.line;
    return true;
}

static void site_print(bl__out *o, const char *how, const bl__site *at)
{
    bl__site_text site;
    if (bl__site_read(&site, at))
        bl__out_printf(o, ", %s by %s at %s:%d", how, site.func, site.file, site.line);
}

void bl__describe_place(bl__out *o, const void *at)
{
    int length = 0;
    uintptr_t offset = 0;
    const char *name = bl__symbol_data(at, &length, &offset);
    bl__out_printf(o, " %p", at);
    if (name != NULL && offset != 0)
        bl__out_printf(o, " (%.*s+%llu)", length, name, (unsigned long long)offset);
    else if (name != NULL)
        bl__out_printf(o, " (%.*s)", length, name);
}

/* Who has a lock, from its word and what it notes of its owner. */
static void owner_print(bl__out *o, uintptr_t word, uint32_t tick)
{
    const bl__g *owner = (const bl__g *)(word & ~(uintptr_t)BL__WORD_FLAGS);
    bl__g g;
    if (owner == &bl__orphan)
        bl__out_printf(o, ", held by a %s that has ended", bl__orphan_kind(tick));
    else if (!bl__peek(&g, owner, sizeof g))
        return;
    else if (g.task.kind == BL__TASK_THREAD)
        bl__out_printf(o, ", held by a plain thread");
    else
        bl__out_printf(o, ", held by goroutine %llu", (unsigned long long)g.id);
}

/* The last is the function itself; the others may begin in it, inlined. */
static bool function_take(const bl__symbol *s, void *arg)
{
    if (!bl__symbol_is_runtime(s))
        *(const char **)arg = s->func;
    return false;
}

const char *bl__describe_function(const bl__g *g)
{
    const char *name = NULL;
    if (g->id != 1) /* that is "main" */
        bl__symbol_each((uintptr_t)g->fn, function_take, &name);
    return name != NULL ? name : g->site != NULL ? g->site->what : "?";
}

uintptr_t bl__describe_owner(const bl__g *g, uint32_t *tick)
{
    bl_mutex m;
    bl_rwmutex rw;
    bl_once once;
    bl__after after;
    *tick = 0;
    switch (g->reason) {
    case BL__WAIT_MUTEX:
        if (!bl__peek(&m, g->wait_obj, sizeof m))
            return 0;
        *tick = m.bl__tick;
        return m.bl__word & ~(uintptr_t)BL__WORD_FLAGS;
    case BL__WAIT_RW_LOCK:
    case BL__WAIT_RW_RLOCK:
        if (!bl__peek(&rw, g->wait_obj, sizeof rw) || (rw.bl__word & BL__WORD_WRITER) == 0)
            return 0;
        *tick = rw.bl__tick;
        return rw.bl__word & ~(uintptr_t)BL__WORD_FLAGS;
    case BL__WAIT_ONCE:
        return bl__peek(&once, g->wait_obj, sizeof once) ? (uintptr_t)once.bl__runner : 0;
    case BL__WAIT_TIMER:
        return bl__peek(&after, g->wait_obj, sizeof after) ? (uintptr_t)after.runner : 0;
    default: return 0;
    }
}

bool bl__describe_is_chan(const bl__site_text *made) { return strcmp(made->what, "channel") == 0; }

const bl_timer *bl__timer_silent(const bl_chan *at, const bl_chan *c)
{
    const bl_timer *t =
        (const bl_timer *)(const void *)((const char *)at - offsetof(bl_timer, bl__chan));
    bl_timer copy;
    return bl__peek(&copy, t, sizeof copy) && copy.bl__self == t && copy.bl__heap == NULL &&
                   copy.bl__period == 0 && copy.bl__lock == 0 && c->len == 0 && !bl__timer_firing(t)
               ? t
               : NULL;
}

static void chan_print(bl__out *o, const bl_chan *at, const char *how)
{
    bl_chan c;
    if (at == NULL) {
        bl__out_printf(o, "%s a nil channel\n", how);
        return;
    }
    bl__out_printf(o, "%s channel %p", how, (const void *)at);
    if (!bl__peek(&c, at, sizeof c) || !bl__chan_is_live(c.magic)) {
        bl__out_printf(o, " (freed)\n");
        return;
    }
    bl__site_text made;
    bool known = bl__site_read(&made, c.made);
    if (known && c.timer && strcmp(made.what, "timer") != 0 && strcmp(made.what, "ticker") != 0)
        bl__out_printf(o, " of a timer that starts %s", made.what);
    else if (known && c.timer)
        bl__out_printf(o, " of a %s", made.what);
    else if (known && !bl__describe_is_chan(&made) && c.ctx != NULL)
        bl__out_printf(o, " of a context");
    else
        bl__out_printf(o, " (cap %u, %u buffered)", c.cap, c.len);
    site_print(o, "made", c.made);
    bl__out_printf(o, "%s\n", c.timer && bl__timer_silent(at, &c) != NULL ? "; not armed" : "");
}

int bl__describe_pipe(const bl__g *g)
{
    bl__select_wait s;
    bl_case first;
    bl_chan c;
    bl__site_text made;
    return g->reason == BL__WAIT_SELECT && bl__peek(&s, g->wait_obj, sizeof s) && s.n > 0 &&
                   bl__peek(&first, s.cases, sizeof first) && bl__peek(&c, first.chan, sizeof c) &&
                   bl__chan_is_live(c.magic) && bl__site_read(&made, c.made) &&
                   strcmp(made.what, "pipe") == 0
               ? first.op
               : 0;
}

/* The channels of a pipe are nobody's business. */
static void pipe_print(bl__out *o, const bl__select_wait *s, int op)
{
    bl_case first;
    bl_chan c;
    if (!bl__peek(&first, s->cases, sizeof first) || !bl__peek(&c, first.chan, sizeof c))
        return;
    bl__out_printf(o, "waits to %s a pipe", op == BL__OP_SEND ? "write to" : "read from");
    site_print(o, "made", c.made);
    bl__out_printf(o, "\n");
}

static void select_print(bl__out *o, const bl__g *g)
{
    bl__select_wait s;
    if (!bl__peek(&s, g->wait_obj, sizeof s))
        return;
    int op = bl__describe_pipe(g);
    if (op != 0) {
        pipe_print(o, &s, op);
        return;
    }
    for (size_t i = 0; i < s.n && i < CASES_SHOWN; i++) {
        bl_case c;
        if (!bl__peek(&c, s.cases + i, sizeof c))
            return;
        if (c.chan != NULL)
            chan_print(o, c.chan, c.op == BL__OP_SEND ? "waits to send on" : "waits to receive on");
    }
    if (s.n > CASES_SHOWN)
        bl__out_printf(o, "...%zu more cases...\n", s.n - CASES_SHOWN);
}

static void mutex_print(bl__out *o, const char *does, const bl_mutex *at)
{
    bl_mutex m;
    bl__out_printf(o, "%s sync.Mutex", does);
    bl__describe_place(o, at);
    if (bl__peek(&m, at, sizeof m) && (m.bl__word & ~(uintptr_t)BL__WORD_FLAGS) != 0)
        owner_print(o, m.bl__word, m.bl__tick);
    bl__out_printf(o, "\n");
}

/* Whom a reader waits for where the lock is others' for reading: the first in line to write. */
static void writer_print(bl__out *o, const bl_rwmutex *m)
{
    bl__waiter first;
    bl__g g;
    if (!bl__peek(&first, m->bl__writers[0], sizeof first) || !bl__peek(&g, first.g, sizeof g))
        return;
    if (g.task.kind == BL__TASK_THREAD)
        bl__out_printf(o, ", behind a plain thread that waits to Lock it");
    else
        bl__out_printf(o, ", behind goroutine %llu, which waits to Lock it",
                       (unsigned long long)g.id);
}

static void rwmutex_print(bl__out *o, const char *does, bl__reason reason, const bl_rwmutex *at)
{
    bl_rwmutex m;
    bl__out_printf(o, "%s sync.RWMutex", does);
    bl__describe_place(o, at);
    if (bl__peek(&m, at, sizeof m)) {
        unsigned long long readers = m.bl__word / BL__WORD_READER;
        if (m.bl__word & BL__WORD_WRITER)
            owner_print(o, m.bl__word, m.bl__tick);
        else if (readers > 0)
            bl__out_printf(o, ", held by %llu reader%s", readers, readers == 1 ? "" : "s");
        if (reason == BL__WAIT_RW_RLOCK && (m.bl__word & BL__WORD_WRITER) == 0)
            writer_print(o, &m);
    }
    bl__out_printf(o, "\n");
}

static void cond_print(bl__out *o, const char *does, const bl_cond *at)
{
    bl_cond c;
    bl__out_printf(o, "%s sync.Cond", does);
    bl__describe_place(o, at);
    if (bl__peek(&c, at, sizeof c) && c.bl__mutex != NULL) {
        bl__out_printf(o, " with sync.Mutex");
        bl__describe_place(o, c.bl__mutex);
    }
    bl__out_printf(o, "\n");
}

static void once_print(bl__out *o, const char *does, const bl_once *at)
{
    bl_once c;
    bl__g runner;
    bl__out_printf(o, "%s sync.Once", does);
    bl__describe_place(o, at);
    if (bl__peek(&c, at, sizeof c) && bl__peek(&runner, c.bl__runner, sizeof runner) &&
        runner.id != 0)
        bl__out_printf(o, ", run by goroutine %llu", (unsigned long long)runner.id);
    bl__out_printf(o, "\n");
}

bool bl__scope_name(char name[BL__SCOPE_NAME], const bl_scope *s)
{
    bl__site made;
    return bl__peek_text(name, BL__SCOPE_NAME, s->bl__name) ||
           (bl__peek(&made, s->bl__made, sizeof made) &&
            bl__peek_text(name, BL__SCOPE_NAME, made.what));
}

static void scope_print(bl__out *o, const bl_scope *at)
{
    bl_scope s;
    if (!bl__peek(&s, at, sizeof s) || s.bl__magic != BL__SCOPE_OPEN)
        return;
    char name[BL__SCOPE_NAME];
    bl__out_printf(o, "waits on scope");
    if (bl__scope_name(name, &s))
        bl__out_printf(o, " \"%s\"", name);
    if (s.bl__limit != 0)
        bl__out_printf(o, " (limit %d, %d running)", s.bl__limit, s.bl__running);
    site_print(o, "opened", s.bl__made);
    bl__out_printf(o, "\n");
}

static void waitgroup_print(bl__out *o, const char *does, const bl_waitgroup *at)
{
    bl_waitgroup wg;
    bl__out_printf(o, "%s sync.WaitGroup", does);
    bl__describe_place(o, at);
    if (bl__peek(&wg, at, sizeof wg))
        bl__out_printf(o, " (count %lld)", (long long)wg.bl__count);
    bl__out_printf(o, "\n");
}

static void sem_print(bl__out *o, const char *does, const bl_sem *at)
{
    bl_sem s;
    bl__waiter first;
    bl__out_printf(o, "%s semaphore", does);
    bl__describe_place(o, at);
    if (bl__peek(&s, at, sizeof s)) {
        bl__out_printf(o, " (%lld free", (long long)s.bl__count);
        if (s.bl__count > 0 && bl__peek(&first, s.bl__head, sizeof first))
            bl__out_printf(o, ", the first in line wants %llu", (unsigned long long)first.n);
        bl__out_printf(o, ")");
    }
    bl__out_printf(o, "\n");
}

static void pool_print(bl__out *o, const bl_pool *at)
{
    bl_pool p;
    if (!bl__peek(&p, at, sizeof p) || p.magic != BL__POOL_LIVE)
        return;
    char name[BL__SCOPE_NAME];
    bl__out_printf(o, "waits on pool \"%s\" (%u of %u queued, %u of %u workers)",
                   bl__scope_name(name, &p.inner) ? name : "?", p.tail - p.head, p.bound, p.workers,
                   p.most);
    site_print(o, "made", p.inner.bl__made);
    bl__out_printf(o, "\n");
}

static void fd_print(bl__out *o, const bl__fd *at)
{
    bl__fd f;
    if (!bl__peek(&f, at, sizeof f))
        return;
    bl__out_printf(o, "waits on ");
    bl__descriptor_print(o, (int)f.number);
    bl__out_printf(o, "\n");
}

/* An after_func, whose function somebody waits for. */
static void after_print(bl__out *o, const bl__after *at)
{
    bl__after a;
    bl__g runner;
    bl__site_text site;
    if (!bl__peek(&a, at, sizeof a) || !bl__site_read(&site, a.site))
        return;
    bl__out_printf(o, "waits on the function of a timer, %s", site.what);
    if (bl__peek(&runner, a.runner, sizeof runner) && runner.id != 0)
        bl__out_printf(o, ", run by goroutine %llu", (unsigned long long)runner.id);
    site_print(o, "started", a.site);
    bl__out_printf(o, "\n");
}

void bl__describe_object(bl__out *o, const char *does, bl__reason reason, const void *at)
{
    switch (reason) {
    case BL__WAIT_CHAN_RECV:
    case BL__WAIT_CHAN_SEND: chan_print(o, at, does); break;
    case BL__WAIT_MUTEX: mutex_print(o, does, at); break;
    case BL__WAIT_RW_RLOCK:
    case BL__WAIT_RW_LOCK: rwmutex_print(o, does, reason, at); break;
    case BL__WAIT_COND: cond_print(o, does, at); break;
    case BL__WAIT_ONCE: once_print(o, does, at); break;
    case BL__WAIT_WAITGROUP: waitgroup_print(o, does, at); break;
    case BL__WAIT_SEM: sem_print(o, does, at); break;
    default: break;
    }
}

void bl__describe_wait(bl__out *o, const bl__g *g)
{
    const void *at = g->wait_obj;
    if (at == NULL)
        return;
    switch (g->reason) {
    case BL__WAIT_SELECT: select_print(o, g); break;
    case BL__WAIT_SCOPE:
    case BL__WAIT_SCOPE_ROOM: scope_print(o, at); break;
    case BL__WAIT_TIMER: after_print(o, at); break;
    case BL__WAIT_IO: fd_print(o, at); break;
    case BL__WAIT_POOL_SUBMIT:
    case BL__WAIT_POOL_JOIN: pool_print(o, at); break;
    default: bl__describe_object(o, "waits on", (bl__reason)g->reason, at);
    }
}

const bl__site *bl__describe_made(const bl__g *g)
{
    bl_chan c;
    bl_scope s;
    bl_pool p;
    switch (g->reason) {
    case BL__WAIT_CHAN_RECV:
    case BL__WAIT_CHAN_SEND:
        return bl__peek(&c, g->wait_obj, sizeof c) && bl__chan_is_live(c.magic) ? c.made : NULL;
    case BL__WAIT_SCOPE:
    case BL__WAIT_SCOPE_ROOM:
        return bl__peek(&s, g->wait_obj, sizeof s) && s.bl__magic == BL__SCOPE_OPEN ? s.bl__made
                                                                                    : NULL;
    case BL__WAIT_POOL_SUBMIT:
    case BL__WAIT_POOL_JOIN:
        return bl__peek(&p, g->wait_obj, sizeof p) && p.magic == BL__POOL_LIVE ? p.inner.bl__made
                                                                               : NULL;
    default: return NULL;
    }
}

/* Behind a lock that g holds. */
static void taken_print(bl__out *o, const bl__g *g, const void *lock)
{
    bl__symbol s;
    if (bl__order_place(g, lock, &s))
        bl__out_printf(o, ", locked at %s:%d", s.file, s.line);
    bl__out_printf(o, "\n");
}

static void read_print(bl__out *o, const bl__g *g, const void *at)
{
    bl__out_printf(o, "holds sync.RWMutex");
    bl__describe_place(o, at);
    bl__out_printf(o, " for reading");
    taken_print(o, g, at);
}

static void held_print(bl__out *o, const bl__g *g, const void *lock, const char *kind,
                       const bl__g *at)
{
    bl__held_head head;
    for (int i = 0; i < HELD_SHOWN && lock != NULL && bl__peek(&head, lock, sizeof head); i++) {
        if ((head.word & ~(uintptr_t)BL__WORD_FLAGS) != (uintptr_t)at)
            return;
        bl__out_printf(o, "holds %s", kind);
        bl__describe_place(o, lock);
        taken_print(o, g, lock);
        lock = head.next;
    }
}

void bl__describe_held(bl__out *o, const bl__g *g, const bl__g *at)
{
    held_print(o, g, g->held, "sync.Mutex", at);
    held_print(o, g, g->held_rw, "sync.RWMutex", at);
    for (uint32_t i = 0; i < g->reads_count && i < BL__READS; i++)
        if (g->reads[i] != NULL)
            read_print(o, g, g->reads[i]);
    if (g->reads_count > BL__READS)
        bl__out_printf(o, "...%u more for reading...\n", g->reads_count - BL__READS);
}

/* A label may hold what a peer has sent, which must not look like lines of the report. */
static void label_print(bl__out *o, const char *text)
{
    bool plain = *text != 0;
    for (const char *c = text; *c != 0; c++)
        plain = plain && (unsigned char)*c >= ' ' && *c != 127 && strchr("\"\\,=", *c) == NULL;
    if (plain)
        bl__out_printf(o, "%s", text);
    else
        bl__out_quoted(o, text);
}

void bl__describe_labels(bl__out *o, const bl__g *g)
{
    bl__labels head;
    char text[LABELS_SHOWN + 1];
    if (g->labels == NULL || !bl__peek(&head, g->labels, sizeof head) || head.count == 0)
        return;
    size_t n = head.bytes < LABELS_SHOWN ? head.bytes : LABELS_SHOWN;
    if (!bl__peek(text, g->labels->text, n))
        return;
    text[n] = 0;
    const char *p = text, *end = text + n;
    for (uint32_t i = 0; i < head.count && p < end; i++) {
        const char *value = p + strlen(p) + 1;
        if (value >= end)
            break;
        bl__out_printf(o, "%s", i == 0 ? "labels: " : ", ");
        label_print(o, p);
        bl__out_printf(o, "=");
        label_print(o, value);
        p = value + strlen(value) + 1;
    }
    bl__out_printf(o, "\n");
}
