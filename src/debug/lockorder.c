/* SPDX-License-Identifier: MIT */
/*
 * lockorder.c: locks that goroutines take in different orders, found though nothing has deadlocked.
 *
 * Goodlock: who waits for a lock while it holds others adds an edge from each of those to it. A
 * circle of edges is a possible deadlock if each is of another goroutine, and no two of them held a
 * lock in common, which would keep them apart (Havelund, Using runtime analysis to guide model
 * checking of Java programs, 2000; for more than two goroutines Bensalem and Havelund, Dynamic
 * deadlock analysis of multi-threaded programs, 2005). Read locks meet read locks without waiting.
 * A semaphore lets so many in: where more goroutines of a circle have acquired one than have room
 * there at a time, they are kept apart, too. One that somebody else releases than who has acquired
 * keeps nobody apart. What only tries, or waits with a deadline, adds no edge, but what it has got
 * counts as held. That the goroutines ran one after the other is not looked at: the order is wrong
 * all the same, and mostly it was luck.
 *
 * A lock is known by its address from its first use on: one whose bl__self is not set is a new one,
 * whatever was there before. So storage that is used again makes no circles.
 *
 * Cost. While it is off, nothing for a mutex (the flag is a bit of what its thread is asked), and
 * for an rwmutex one comparison. While it is on, a lock that is taken alone costs two stores of its
 * place, and one that is taken under others as much as a look in a table, once the goroutine has
 * done the same before. Memory is bounded: where the tables are full everything is forgotten and
 * begun anew.
 */
#include "debug/lockorder.h"

#include <string.h>
#include <unistd.h>

#include "core/lock.h"
#include "debug/describe.h"
#include "debug/report.h"
#include "debug/symbol.h"
#include "debug/traceback.h"
#include "sync/object.h"

enum {
    ORDER_NODES = 4096,
    ORDER_EDGES = 8192,
    ORDER_BUCKETS = 4096, /* powers of two, as the next two */
    SEEN = 4096,
    PLACES = 8192,
    PERMITS = 256, /* of all goroutines; with more nothing is known of them */
    HELD = 8,      /* locks of a goroutine; with more nothing is learnt from it */
    VARIANTS =
        4, /* edges between the same two locks, by different goroutines or under different locks */
    FRAMES = 16,
    CYCLE = 6,    /* locks in a circle */
    STEPS = 4096, /* of a search for one */
    SAID = 64     /* reports of a run */
};

typedef struct holding {
    const void *lock;
    uint32_t mode; /* BL__ORDER_… */
    uint32_t room; /* of a semaphore: for how many that hold as much */
} holding;

/* What a goroutine has acquired of a semaphore. */
typedef struct permit {
    const void *sem;
    uint64_t who; /* 0: it is given back by others */
    int64_t count, capacity;
} permit;

typedef struct edge {
    uint32_t next; /* of the same from; index + 1 */
    uint32_t from, to;
    uint32_t to_use; /* of the node to; another one: the edge is of a lock that is gone */
    uint32_t from_mode, to_mode;
    uint64_t who;   /* goroutine, or plain thread */
    uint64_t owner; /* test */
    uint64_t id, parent;
    const bl__site *site;
    bl_fn fn;
    uintptr_t from_pc; /* where from was locked; 0: not known */
    uint32_t held_count, frames;
    holding held[HELD]; /* with from */
    uintptr_t pcs[FRAMES];
} edge;

typedef struct lock_node {
    const void *lock;
    uint32_t next;  /* in its bucket; index + 1 */
    uint32_t edges; /* from it; index + 1 */
    uint32_t use;
} lock_node;

typedef struct tables {
    lock_node nodes[ORDER_NODES];
    edge edges[ORDER_EDGES];
    uint32_t buckets[ORDER_BUCKETS];
    uint64_t seen[SEEN]; /* atomic: what was learnt already, by hash */
    /* atomic: where a lock was taken by whom: key ^ place, place. Of its two words another may have
     * written one. */
    uint64_t places[PLACES][2];
    permit permits[PERMITS];
} tables;

static struct {
    uint32_t lock;
    tables *t;      /* immutable while it is on */
    uint64_t epoch; /* atomic: counts what makes seen wrong */
    uint32_t nodes, edges, free_edge;
    uint32_t permits; /* atomic to peek */
    uint32_t said;
    uint64_t said_of[SAID];
} order;

uint64_t (*bl__order_owner)(const bl__g *g);
void (*bl__order_say)(void (*print)(bl__out *o, void *arg), void *arg);
uint32_t bl__order_on;

static uint64_t order_mix(uint64_t a, uint64_t b)
{
    uint64_t z = (a ^ b * UINT64_C(0xbf58476d1ce4e5b9)) * UINT64_C(0x9e3779b97f4a7c15);
    return z ^ z >> 29;
}

static uint64_t who_is(const bl__g *g) { return g->id != 0 ? g->id : (uintptr_t)g | 1ull << 63; }

/* ---- Where locks were taken ------------------------------------------------------------------ */

static uint64_t place_key(const bl__g *g, const void *lock)
{
    return order_mix((uintptr_t)lock, who_is(g));
}

void bl__order_has(const bl__g *g, const void *lock, const void *from)
{
    uint64_t key = place_key(g, lock);
    uint64_t *place = order.t->places[key % PLACES];
    store_relaxed(&place[0], key ^ (uintptr_t)from);
    store_relaxed(&place[1], (uint64_t)(uintptr_t)from);
}

static uintptr_t place_of(const bl__g *g, const void *lock)
{
    uint64_t key = place_key(g, lock);
    const uint64_t *place = order.t->places[key % PLACES];
    uint64_t at = load_relaxed(&place[1]);
    return (load_relaxed(&place[0]) ^ at) == key ? (uintptr_t)at : 0;
}

/* ---- What g holds ---------------------------------------------------------------------------- */

/* Those of a list behind the n that there are. How many then; HELD + 1: more, or not known. */
BL__HELD_WALK static uint32_t holdings_add(const bl__g *g, const void *list, bl__order_mode mode,
                                           holding *held, uint32_t n)
{
    for (const void *lock = list; lock != NULL && n <= HELD; lock = *bl__held_next(lock), n++) {
        if (bl__held_gone(g, lock, __builtin_frame_address(0)))
            return HELD + 1;
        if (n < HELD)
            held[n] = (holding){.lock = lock, .mode = mode};
    }
    return n;
}

/* How many; HELD + 1: more, or not known. */
static uint32_t holdings(const bl__g *g, holding *held)
{
    uint32_t n = holdings_add(g, g->held, BL__ORDER_MUTEX, held, 0);
    n = holdings_add(g, g->held_rw, BL__ORDER_WRITE, held, n);
    if (g->reads_count == 0)
        return n;
    if (g->reads_count > BL__READS || load_relaxed(&bl__reads_handed))
        return HELD + 1;
    for (uint32_t i = 0; i < g->reads_count && n <= HELD; i++, n++)
        if (n < HELD)
            held[n] = (holding){.lock = g->reads[i], .mode = BL__ORDER_READ};
    return n;
}

static bool excludes(uint32_t a, uint32_t b) { return a != BL__ORDER_READ || b != BL__ORDER_READ; }

/* Some lock that a holds keeps out who holds what b does. */
static bool gated(const edge *a, const edge *b)
{
    for (uint32_t i = 0; i < a->held_count; i++)
        for (uint32_t k = 0; k < b->held_count; k++)
            if (a->held[i].lock == b->held[k].lock && a->held[i].mode != BL__ORDER_PERMIT &&
                excludes(a->held[i].mode, b->held[k].mode))
                return true;
    return false;
}

/* All that a holds, b does too. */
static bool holds_less(const edge *a, const edge *b)
{
    for (uint32_t i = 0; i < a->held_count; i++) {
        uint32_t k = 0;
        while (k < b->held_count &&
               (a->held[i].lock != b->held[k].lock || a->held[i].mode != b->held[k].mode))
            k++;
        if (k == b->held_count)
            return false;
    }
    return true;
}

/* ---- Semaphores ------------------------------------------------------------------------------ */

static void permits_drop(const void *sem)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < order.permits; i++)
        if (order.t->permits[i].sem != sem)
            order.t->permits[n++] = order.t->permits[i];
    store_relaxed(&order.permits, n);
}

static permit *permit_find(const void *sem, uint64_t who)
{
    for (uint32_t i = 0; i < order.permits; i++)
        if (order.t->permits[i].sem == sem && order.t->permits[i].who == who)
            return &order.t->permits[i];
    return NULL;
}

static void permit_add(permit p)
{
    if (order.permits == PERMITS)
        store_relaxed(&order.permits, 0u);
    order.t->permits[order.permits] = p;
    store_relaxed(&order.permits, order.permits + 1);
}

void bl__order_sem_new(const void *sem)
{
    bl__lock(&order.lock, BL__RANK_ORDER);
    permits_drop(sem);
    bl__unlock(&order.lock);
}

void bl__order_acquired(const bl__g *g, const void *sem, int64_t count, int64_t left)
{
    bl__lock(&order.lock, BL__RANK_ORDER);
    if (permit_find(sem, 0) == NULL) {
        permit p = {sem, who_is(g), count, left + count};
        for (uint32_t i = 0; i < order.permits; i++)
            if (order.t->permits[i].sem == sem)
                p.capacity += order.t->permits[i].count;
        permit *has = permit_find(sem, p.who);
        if (has != NULL)
            *has = (permit){sem, p.who, has->count + count, p.capacity};
        else
            permit_add(p);
    }
    bl__unlock(&order.lock);
}

void bl__order_released(const bl__g *g, const void *sem, int64_t count)
{
    bl__lock(&order.lock, BL__RANK_ORDER);
    permit *has = permit_find(sem, who_is(g));
    if (has != NULL && has->count > count) {
        has->count -= count;
    } else if (has != NULL && has->count == count) {
        *has = order.t->permits[order.permits - 1];
        store_relaxed(&order.permits, order.permits - 1);
    } else if (permit_find(sem, 0) == NULL) {
        permits_drop(sem);
        permit_add((permit){.sem = sem});
    }
    bl__unlock(&order.lock);
}

/* How many then; HELD + 1: more. */
static uint32_t permits_held(const bl__g *g, holding *held, uint32_t n)
{
    uint64_t who = who_is(g);
    if (load_relaxed(&order.permits) == 0)
        return n;
    bl__lock(&order.lock, BL__RANK_ORDER);
    for (uint32_t i = 0; i < order.permits && n <= HELD; i++) {
        const permit *p = &order.t->permits[i];
        if (p->who != who)
            continue;
        if (n < HELD)
            held[n] = (holding){p->sem, BL__ORDER_PERMIT, (uint32_t)(p->capacity / p->count)};
        n++;
    }
    bl__unlock(&order.lock);
    return n;
}

/* ---- The graph; all under the lock ----------------------------------------------------------- */

static void forget_all(void)
{
    memset(order.t->buckets, 0, sizeof order.t->buckets);
    order.nodes = order.edges = order.free_edge = 0;
    store_relaxed(&order.epoch, order.epoch + 1);
}

static uint32_t *lock_bucket(const void *lock)
{
    return &order.t->buckets[order_mix((uintptr_t)lock, 1) % ORDER_BUCKETS];
}

static lock_node *node_find(const void *lock)
{
    for (uint32_t i = *lock_bucket(lock); i != 0; i = order.t->nodes[i - 1].next)
        if (order.t->nodes[i - 1].lock == lock)
            return &order.t->nodes[i - 1];
    return NULL;
}

static uint32_t node_index(const lock_node *n) { return (uint32_t)(n - order.t->nodes); }

/* Room for what one lock can add was seen to before. */
static lock_node *node_get(const void *lock)
{
    lock_node *n = node_find(lock);
    if (n != NULL)
        return n;
    n = &order.t->nodes[order.nodes++];
    uint32_t *bucket = lock_bucket(lock);
    *n = (lock_node){.lock = lock, .next = *bucket, .use = n->use};
    *bucket = order.nodes;
    return n;
}

static void edge_free(uint32_t i)
{
    order.t->edges[i - 1].next = order.free_edge;
    order.free_edge = i;
}

static edge *edge_new(lock_node *from)
{
    uint32_t i = order.free_edge != 0 ? order.free_edge : ++order.edges;
    edge *e = &order.t->edges[i - 1];
    if (order.free_edge == i)
        order.free_edge = e->next;
    e->next = from->edges;
    from->edges = i;
    return e;
}

/* A lock is used the first time: what was at this address before is gone. */
static void node_renew(const void *lock)
{
    lock_node *n = node_find(lock);
    if (n == NULL)
        return;
    for (uint32_t i = n->edges, next; i != 0; i = next) {
        next = order.t->edges[i - 1].next;
        edge_free(i);
    }
    n->edges = 0;
    n->use++;
    store_relaxed(&order.epoch, order.epoch + 1);
}

/* The first edge of *at or behind whose lock is still there; the others go. NULL: no more. */
static edge *edge_at(uint32_t *at)
{
    while (*at != 0) {
        edge *e = &order.t->edges[*at - 1];
        if (order.t->nodes[e->to].use == e->to_use)
            return e;
        uint32_t gone = *at;
        *at = e->next;
        edge_free(gone);
    }
    return NULL;
}

/* False: nothing is learnt from e. In *instead of which edge it can take the place, if there are
 * many. */
static bool learns(lock_node *from, const edge *e, edge **instead)
{
    edge *worse = NULL;
    uint32_t same = 0;
    uint32_t *at = &from->edges;
    for (edge *x; (x = edge_at(at)) != NULL; at = &x->next) {
        if (x->to != e->to || x->from_mode != e->from_mode || x->to_mode != e->to_mode ||
            x->owner != e->owner)
            continue;
        if (x->who == e->who && holds_less(x, e))
            return false;
        same++;
        if (x->held_count > e->held_count)
            worse = x;
    }
    *instead = same < VARIANTS ? NULL : worse;
    return same < VARIANTS || worse != NULL;
}

/* ---- Circles --------------------------------------------------------------------------------- */

typedef struct circle {
    uint32_t count;
    const edge *path[CYCLE];
    uint32_t steps;
} circle;

static bool fits(const circle *c, const edge *x)
{
    if (x->owner != c->path[0]->owner || !excludes(c->path[c->count - 1]->to_mode, x->from_mode))
        return false;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->path[i]->who == x->who || gated(c->path[i], x))
            return false;
    return true;
}

/* More of the path have acquired some semaphore than there is room for at a time. */
static bool crowded(const circle *c)
{
    for (uint32_t i = 0; i < c->path[0]->held_count; i++) {
        const holding *sem = &c->path[0]->held[i];
        uint32_t have = 0, room = sem->room;
        for (uint32_t k = 0; k < c->count && sem->mode == BL__ORDER_PERMIT; k++)
            for (uint32_t j = 0; j < c->path[k]->held_count; j++)
                if (c->path[k]->held[j].lock == sem->lock) {
                    have++;
                    room = c->path[k]->held[j].room > room ? c->path[k]->held[j].room : room;
                }
        if (have > room)
            return true;
    }
    return false;
}

/* From the end of the path on back to its beginning. */
static bool circle_close(circle *c) // NOLINT(misc-no-recursion): CYCLE deep
{
    const edge *first = c->path[0];
    uint32_t *at = &order.t->nodes[c->path[c->count - 1]->to].edges;
    for (edge *x; (x = edge_at(at)) != NULL && c->steps < STEPS; at = &x->next) {
        c->steps++;
        if (!fits(c, x))
            continue;
        c->path[c->count++] = x;
        if (x->to == first->from ? excludes(x->to_mode, first->from_mode) && !crowded(c)
                                 : c->count < CYCLE && circle_close(c))
            return true;
        c->count--;
    }
    return false;
}

/* ---- Reports --------------------------------------------------------------------------------- */

typedef struct report {
    uint32_t count;
    edge edges[CYCLE];
    const void *locks[CYCLE]; /* from which each edge leads */
} report;

/* Once for the places, whatever locks and goroutines there are. */
static bool said_already(const circle *c)
{
    uint64_t key = c->path[0]->owner;
    for (uint32_t i = 0; i < c->count; i++)
        key += order_mix(c->path[i]->pcs[0], c->path[i]->from_pc);
    for (uint32_t i = 0; i < order.said; i++)
        if (order.said_of[i] == key)
            return true;
    if (order.said == SAID)
        return true;
    order.said_of[order.said++] = key;
    return false;
}

static bool order_symbol_take(const bl__symbol *s, void *arg)
{
    *(bl__symbol *)arg = *s;
    return true;
}

/* "sync.Mutex 0x1234 (accounts+64)" */
static void lock_print(bl__out *o, const void *lock, uint32_t mode)
{
    bl__out_printf(o, "%s", mode == BL__ORDER_MUTEX ? "sync.Mutex" : "sync.RWMutex");
    bl__describe_place(o, lock);
}

static const char *const mode_words[] = {"", "", " for reading"};

/* pc is behind the call that has locked; 0: not known. */
static bool locked_at(uintptr_t pc, bl__symbol *s)
{
    *s = (bl__symbol){0};
    if (pc != 0)
        bl__symbol_each(pc - 1, order_symbol_take, s);
    return s->file != NULL;
}

bool bl__order_place(const bl__g *g, const void *lock, bl__symbol *s)
{
    return load_relaxed(&bl__order_on) && locked_at(place_of(g, lock), s);
}

static void edge_print(bl__out *o, const report *r, uint32_t i)
{
    const edge *e = &r->edges[i];
    bl__symbol s;
    if (e->id != 0)
        bl__out_printf(o, "\ngoroutine %llu", (unsigned long long)e->id);
    else
        bl__out_printf(o, "\na plain thread");
    bl__out_printf(o, i == 0 ? " locks " : " has locked ");
    lock_print(o, r->locks[(i + 1) % r->count], e->to_mode);
    bl__out_printf(o, "%s, holding ", mode_words[e->to_mode]);
    lock_print(o, r->locks[i], e->from_mode);
    bl__out_printf(o, "%s", mode_words[e->from_mode]);
    if (locked_at(e->from_pc, &s))
        bl__out_printf(o, ", locked at %s:%d", s.file, s.line);
    bl__out_printf(o, "\n");
    bl__trace trace = {.total = e->frames};
    memcpy(trace.inner, e->pcs, sizeof e->pcs);
    bl__trace_print(o, &trace, e->fn, false);
    if (e->id > 1 && e->site != NULL)
        bl__out_printf(o, "created by %s in goroutine %llu\n\t%s:%d\n", e->site->func,
                       (unsigned long long)e->parent, e->site->file, e->site->line);
}

static void report_print(bl__out *o, void *arg)
{
    const report *r = arg;
    bl__out_printf(o,
                   "lock order inversion: %u goroutines take %u locks in different orders; should "
                   "they do so at the same time, each waits for the next for ever\n",
                   r->count, r->count);
    for (uint32_t i = 0; i < r->count; i++)
        edge_print(o, r, i);
}

static void report_warn(bl__out *o, void *arg)
{
    bl__out_printf(o, "belay: ");
    report_print(o, arg);
    bl__out_printf(o, "\n");
}

static void report_take(report *r, const circle *c)
{
    r->count = c->count;
    for (uint32_t i = 0; i < c->count; i++) {
        r->edges[i] = *c->path[i];
        r->locks[i] = order.t->nodes[c->path[i]->from].lock;
    }
}

/* ---- What sync tells ------------------------------------------------------------------------- */

/* A new edge from a lock that is held; true: it closes a circle that is to be said. */
static bool learn_one(edge *e, const holding *held, uint32_t to, report *r)
{
    lock_node *from = node_get(held->lock);
    edge *place = NULL;
    e->from = node_index(from);
    e->from_mode = held->mode;
    e->to = to;
    e->to_use = order.t->nodes[to].use;
    if (!learns(from, e, &place))
        return false;
    place = place != NULL ? place : edge_new(from);
    e->next = place->next;
    *place = *e;
    circle c = {.count = 1, .path = {place}};
    if (r->count > 0 || !circle_close(&c) || said_already(&c))
        return false;
    report_take(r, &c);
    return true;
}

/* Does any edge from what is held say something new? */
static bool learns_any(edge *e, const void *lock)
{
    const lock_node *to = node_find(lock);
    edge *place;
    bool any = to == NULL;
    for (uint32_t i = 0; i < e->held_count && !any; i++) {
        if (e->held[i].mode == BL__ORDER_PERMIT)
            continue;
        lock_node *from = node_find(e->held[i].lock);
        e->from_mode = e->held[i].mode;
        if (to != NULL)
            e->to = node_index(to);
        any = from == NULL || learns(from, e, &place);
    }
    return any;
}

static void learn(const bl__g *g, const void *lock, edge *e, const void *from)
{
    bl__trace trace;
    report r = {0};
    bl__lock(&order.lock, BL__RANK_ORDER);
    bool any = learns_any(e, lock);
    bl__unlock(&order.lock);
    if (!any)
        return;
    bl__trace_here(&trace, from);
    e->frames = trace.total < FRAMES ? (uint32_t)trace.total : FRAMES;
    memcpy(e->pcs, trace.inner, e->frames * sizeof e->pcs[0]);
    bl__lock(&order.lock, BL__RANK_ORDER);
    if (order.nodes + HELD + 1 > ORDER_NODES || order.edges + HELD > ORDER_EDGES)
        forget_all();
    uint32_t to = node_index(node_get(lock));
    for (uint32_t i = 0; i < e->held_count && e->held[i].mode != BL__ORDER_PERMIT; i++) {
        e->from_pc = place_of(g, e->held[i].lock);
        (void)learn_one(e, &e->held[i], to, &r);
    }
    bl__unlock(&order.lock);
    if (r.count > 0 && bl__order_say != NULL)
        bl__order_say(report_print, &r);
    else if (r.count > 0)
        bl__report_run(STDERR_FILENO, report_warn, &r);
}

/* g is about to take lock: in vain perhaps, if it does not wait. fresh: it is the first use of it.
 * from: a return address. */
void bl__order_wants(const bl__g *g, const void *lock, bl__order_mode mode, bool fresh, bool waits,
                     const void *from)
{
    edge e = {.to_mode = mode,
              .who = who_is(g),
              .id = g->id,
              .parent = g->parent,
              .site = g->site,
              .fn = g->fn};
    if (fresh) {
        bl__lock(&order.lock, BL__RANK_ORDER);
        node_renew(lock);
        bl__unlock(&order.lock);
    }
    e.held_count = waits ? holdings(g, e.held) : 0;
    if (e.held_count != 0 && e.held_count <= HELD)
        e.held_count = permits_held(g, e.held, e.held_count); /* behind the locks */
    if (e.held_count == 0 || e.held_count > HELD)
        return;
    e.owner = bl__order_owner != NULL ? bl__order_owner(g) : 0;
    uint64_t hash = order_mix(order_mix(load_relaxed(&order.epoch), e.who),
                              order_mix((uintptr_t)lock, mode) + e.owner);
    for (uint32_t i = 0; i < e.held_count; i++) {
        if (e.held[i].lock == lock)
            return;
        hash = order_mix(hash, (uintptr_t)e.held[i].lock + e.held[i].mode);
    }
    if (load_relaxed(&order.t->seen[hash % SEEN]) == hash)
        return;
    learn(g, lock, &e, from);
    store_relaxed(&order.t->seen[hash % SEEN], hash);
}

void bl__order_begin(void)
{
    bool usual = bl__order_owner != NULL;
#ifdef BL__DEBUG
    usual = true;
#endif
    bool on = bl__debug_setting_or("lockorder", usual) != 0;
    if (on && order.t == NULL)
        order.t = bl__zalloc(sizeof *order.t);
    on = on && order.t != NULL;
    order.said = order.permits = 0;
    if (on)
        forget_all();
    store_relaxed(&bl__order_on, (uint32_t)on);
}

void bl__order_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg)
{
    if (order.t != NULL)
        fn(order.t, order.t + 1, arg);
}
