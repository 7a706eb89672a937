/* SPDX-License-Identifier: MIT */
/*
 * spawn.c: how goroutines begin and end.
 *
 * bl_go makes a small record (bl__spawned) and queues it. Whoever picks it gives it a stack and the
 * full record at the stack's top; so goroutines that have not run cost no stack, and a batch of
 * short ones runs on one warm stack after the other. A goroutine that ends and finds that the next
 * task has not run yet either lends it its own stack, and there is no switch at all.
 *
 * Who starts a crowd is asked to yield when the ring is nearly full (CROWD). The records of those
 * that have not run are used again then, in the cache; a million of them made first would be 128 MB
 * that is written, read back much later, and never used again, and the ring would go over into the
 * global queue.
 */
#include <sched.h>
#include <string.h>

#include "arch/probe.h"
#include "arch/sanitize.h"
#include "arch/switch.h"
#include "core/label.h"
#include "core/trace.h"

enum {
    ID_BLOCK = 64,
    CROWD =
        BL__RING - BL__RING / 4, /* who starts that many lets them run, before the ring is full */
};

_Static_assert(BL__RACE || sizeof(bl__spawned) == 128, "two cache lines");

/* Free records are passed between processors by the pile, each a list whose first record says how
 * long it is and where the next pile is: nobody walks through records that another processor's
 * cache holds. */
static inline bl__spawned **pile_next(bl__spawned *s) { return (bl__spawned **)(void *)&s->arg; }

static void pile_give(bl__spawned *first, uint32_t count)
{
    first->special = count;
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    *pile_next(first) = bl__rt.free_spawns;
    bl__rt.free_spawns = first;
    bl__unlock(&bl__rt.stack_lock);
}

/* A pile from the common stock, or of new records. NULL: no memory. */
static bl__spawned *pile_take(uint32_t *count)
{
    bl__lock(&bl__rt.stack_lock, BL__RANK_STACKS);
    bl__spawned *first = bl__rt.free_spawns;
    bl__spawn_slab *slab = NULL;
    if (first != NULL) {
        bl__rt.free_spawns = *pile_next(first);
        *count = first->special;
    } else if (posix_memalign((void **)&slab, BL__CACHE_LINE, sizeof *slab) == 0) {
        memset(slab, 0, sizeof *slab);
        for (uint32_t n = 0; n + 1 < BL__SLAB; n++)
            slab->records[n].task.next = &slab->records[n + 1].task;
        slab->next = bl__rt.spawn_slabs;
        store_release(&bl__rt.spawn_slabs, slab); /* ORD(slab): with the load in each_spawned */
        first = slab->records;
        *count = BL__SLAB;
    }
    bl__unlock(&bl__rt.stack_lock);
    return first;
}

static inline bl__spawned *record_next(bl__spawned *s)
{
    return (bl__spawned *)(void *)s->task.next;
}

/* For a plain thread, which has no cache: one of a pile, and the rest goes back. */
static __attribute__((noinline)) bl__spawned *spawned_new_outside(void)
{
    uint32_t count;
    bl__spawned *s = pile_take(&count);
    if (s != NULL && count > 1)
        pile_give(record_next(s), count - 1);
    return s;
}

static inline bl__spawned *spawned_new(bl__p *p)
{
    if (__builtin_expect(p->free_spawns == NULL, 0)) {
        p->free_spawns = p->spare_spawns;
        p->free_spawns_count = p->free_spawns != NULL ? BL__SPAWN_CACHE : 0;
        p->spare_spawns = NULL;
        if (p->free_spawns == NULL)
            p->free_spawns = pile_take(&p->free_spawns_count);
        if (p->free_spawns == NULL)
            return NULL;
    }
    bl__spawned *s = p->free_spawns;
    p->free_spawns = record_next(s);
    p->free_spawns_count--;
    return s;
}

/* A processor keeps up to two piles: one that it works on and a full one. */
static inline void spawned_free(bl__p *p, bl__spawned *s)
{
    store_relaxed(&s->task.status, (uint32_t)BL__G_DEAD);
    if (__builtin_expect(p->free_spawns_count >= BL__SPAWN_CACHE, 0)) {
        if (p->spare_spawns != NULL)
            pile_give(p->spare_spawns, BL__SPAWN_CACHE);
        p->spare_spawns = p->free_spawns;
        p->free_spawns = NULL;
        p->free_spawns_count = 0;
    }
    s->task.next = (bl__task *)(void *)p->free_spawns;
    p->free_spawns = s;
    p->free_spawns_count++;
}

static inline uint64_t id_new(bl__p *p)
{
    if (BL__UNLIKELY(p == NULL))
        return add_relaxed(&bl__rt.ids, (uint64_t)1) + 1;
    if (__builtin_expect(p->id_next == p->id_end, 0)) {
        p->id_next = add_relaxed(&bl__rt.ids, (uint64_t)ID_BLOCK) + 1;
        p->id_end = p->id_next + ID_BLOCK;
    }
    return p->id_next++;
}

/* The value of bl_go_copy: in the record where it fits, else in memory of its own. */
static __attribute__((noinline)) bool copy_take(bl__spawned *s, const void *copy, size_t size)
{
    if (size <= sizeof s->copy) {
        s->special |= BL__SPAWNED_COPY;
        memcpy(s->copy, copy, size);
        return true;
    }
    if ((s->arg = bl__alloc(size)) == NULL)
        return false;
    s->special |= BL__SPAWNED_HEAP;
    memcpy(s->arg, copy, size);
    return true;
}

static inline __attribute__((always_inline)) void fill(bl__spawned *s, bl_scope *scope, bl_fn fn,
                                                       void *arg, const bl__site *site)
{
    s->task.kind = BL__TASK_SPAWN;
    s->fn = fn;
    s->arg = arg;
    s->scope = scope;
    s->site = site;
    s->labels = NULL;
    s->special = 0;
}

/* p: the processor of m, which has entered, or NULL. */
static int spawn(bl__m *m, bl__p *p, bl_scope *scope, bl_fn fn, void *arg, const void *copy,
                 size_t copy_size, const bl__site *site)
{
    bl__spawned *s = p != NULL ? spawned_new(p) : spawned_new_outside();
    if (s == NULL)
        return BL_ENOMEM;
    fill(s, scope, fn, arg, site);
    s->id = id_new(p);
    s->parent = m != &bl__nobody ? m->g->id : 0;
    if (m != &bl__nobody && m->g->labels != NULL) {
        s->labels = bl__labels_retain(m->g->labels);
        s->special = BL__SPAWNED_LABELS;
    }
    if (copy != NULL && !copy_take(s, copy, copy_size)) {
        bl__labels_release(s->labels);
        store_relaxed(&s->task.status, (uint32_t)BL__G_DEAD);
        s->task.next = NULL;
        pile_give(s, 1);
        return BL_ENOMEM;
    }
#if BL__RACE
    s->fiber = bl__race_fiber_new(s->id, false, s->site);
#endif
    BL__PROBE3(goroutine__spawn, s->id, fn, s->parent);
    if (bl__recorded())
        bl__trace_spawn(m, p, s);
    store_relaxed(&s->task.status, (uint32_t)BL__G_RUNNABLE);
    if (p == NULL) {
        add_relaxed(&bl__rt.started, (uint64_t)1);
        bl__runq_put_global(&s->task, &s->task, 1);
        return 0;
    }
    store_relaxed(&p->started, p->started + 1);
    if (load_relaxed(&p->next) == NULL) {
        bl__next_put(p, &s->task);
        return 0;
    }
    bl__runq_put(p, &s->task);
    bl__wake_maybe(p);
    return bl__runq_length(p) >= CROWD;
}

/* All that bl__spawn is not quick for. m has entered as far as bl__enter_quick; was: what it leaves
 * again with. */
static __attribute__((noinline)) int spawn_slow(bl__m *m, uint32_t was, bl_scope *scope, bl_fn fn,
                                                void *arg, const void *copy, size_t copy_size,
                                                const bl__site *site)
{
    bl__p *p = bl__enter(m) ? m->p : NULL;
    if (p == NULL && !load_relaxed(&bl__rt.running))
        bl__fatal("belay: goroutine started outside of bl_run: %s (%s:%d)", site->what, site->file,
                  site->line);
    int r = spawn(m, p, scope, fn, arg, copy, copy_size, site);
    bl__leave_again(m, was);
    return r;
}

static __attribute__((noinline)) int spawned_wake(bl__m *m, uint32_t was)
{
    bl__wake_one();
    bl__leave_again(m, was);
    return 0;
}

/* m has entered, with a record and a number for a goroutine at hand, and nothing is special about
 * that. */
static inline bool at_hand(const bl__m *m, const bl__p *p)
{
    return p->free_spawns != NULL && p->id_next != p->id_end && m->g->labels == NULL;
}

/* The usual. All else is a call at its end, so it saves no registers. They run in the order in
 * which they are started, which takes no locked instruction. */
int bl__spawn(bl_scope *scope, bl_fn fn, void *arg, const void *copy, size_t copy_size,
              const bl__site *site)
{
    bl__m *m = bl__this_m();
    uint32_t was = load_relaxed(&m->inside);
    bl__p *p = load_relaxed(&m->p); /* it stays m's if m finds that it may enter */
    if (BL__RACE || BL__UNLIKELY(!bl__enter_quick(m)) || BL__UNLIKELY(copy != NULL) ||
        BL__UNLIKELY(!at_hand(m, p)))
        return spawn_slow(m, was, scope, fn, arg, copy, copy_size, site);
    bool behind = load_relaxed(&p->next) != NULL;
    if (behind && BL__UNLIKELY(bl__runq_length(p) >= CROWD - 1))
        return spawn_slow(m, was, scope, fn, arg, copy, copy_size, site);
    bl__spawned *s = p->free_spawns;
    p->free_spawns = record_next(s);
    p->free_spawns_count--;
    fill(s, scope, fn, arg, site);
    s->id = p->id_next++;
    s->parent = m->g->id;
    BL__PROBE3(goroutine__spawn, s->id, fn, s->parent);
    store_relaxed(&s->task.status, (uint32_t)BL__G_RUNNABLE);
    store_relaxed(&p->started, p->started + 1);
    if (!behind) {
        store_release(&p->next, &s->task); /* ORD(next): with the swaps that take it */
    } else {
        (void)bl__runq_put_quick(p, &s->task); /* there is room */
        if (BL__UNLIKELY(bl__wakes(p)))
            return spawned_wake(m, was);
    }
    bl__leave_again(m, was);
    return 0;
}

/* Labels, a copy, or the trace, which is told before the goroutine can do anything. */
static __attribute__((noinline)) void begin_special(bl__p *p, bl__g *g, const bl__spawned *s)
{
    if (s->special & BL__SPAWNED_LABELS)
        g->labels = s->labels;
    if (s->special & BL__SPAWNED_HEAP)
        g->copy_heap = s->arg;
    if (s->special & BL__SPAWNED_COPY) {
        memcpy(g->copy, s->copy, sizeof g->copy);
        g->arg = g->copy;
    }
    if (s->special & BL__SPAWNED_TRACED)
        bl__trace_began(p, s);
}

/* Makes g's record from s, and frees s. What is not set here is as the goroutine before has left
 * it: as in a new record. */
static void begin(bl__p *p, bl__g *g, bl__spawned *s)
{
    bl_scope *scope = s->scope;
    BL__CHECK(load_relaxed(&g->wait) <= BL__W_CLAIMED && g->reason == BL__WAIT_NONE);
    BL__CHECK(g->park_special == 0 && g->park_timer == NULL);
    BL__CHECK(load_relaxed(&g->registered) == NULL && !bl__holds_any(g));
    BL__CHECK(g->labels == NULL && g->copy_heap == NULL);
    store_relaxed(&g->away_since, 0);
    store_relaxed(&g->switches, 0u);
    g->ctx = scope->bl__ctx;
    g->scope = scope;
    g->inner = scope;
    g->fn = s->fn;
    g->arg = s->arg;
    store_relaxed(&g->id, s->id);
    g->parent = s->parent;
    g->site = s->site;
#if BL__RACE
    g->fiber = s->fiber;
#endif
    if (__builtin_expect(s->special != 0, 0))
        begin_special(p, g, s);
    spawned_free(p, s);
}

/* The goroutine of t, with a stack; NULL: there is no memory for one. */
bl__g *bl__task_goroutine(bl__m *m, bl__task *t)
{
    if (t->kind == BL__TASK_G)
        return (bl__g *)(void *)t;
    bl__g *g = bl__stack_get(m->p);
    if (__builtin_expect(g == NULL, 0)) {
        bl__stack_await(t);
        return NULL;
    }
    begin(m->p, g, (bl__spawned *)(void *)t);
    g->sp = NULL;                                             /* it begins when it is switched to */
    store_release(&g->task.status, (uint32_t)BL__G_RUNNABLE); /* ORD(saved): with reports */
#if !BL__RACE
    g->fiber = bl__san_fiber_new();
#endif
    return g;
}

static __attribute__((noinline)) void end_special(bl__g *g)
{
    bl__free(g->copy_heap);
    bl__labels_release(g->labels);
    g->copy_heap = NULL;
    g->labels = NULL;
}

/* All but counting it out of its scope. */
static inline __attribute__((always_inline)) void end(bl__m *m, bl__g *g, int result)
{
    if (__builtin_expect(g->inner != g->scope, 0)) {
        const bl__site *at = bl__scope_opened(g);
        bl__fork_check();
        bl__fatal("belay: goroutine ended with a scope left open: %s (opened at %s:%d); "
                  "close it with bl_scope_close, or declare it with BL_SCOPE",
                  at->what, at->file, at->line);
    }
    if (__builtin_expect(bl__holds_any(g), 0))
        bl__held_at_end(g);
    if (load_acquire(&g->registered) != NULL) /* ORD(registered) */
        bl__ctx_unregister(g);
    if (__builtin_expect(((uintptr_t)g->copy_heap | (uintptr_t)g->labels) != 0, 0))
        end_special(g);
    store_relaxed(&g->task.status, (uint32_t)BL__G_DEAD);
    BL__PROBE2(goroutine__end, g->id, result);
    bl__p *p = m->p;
    store_relaxed(&p->ended, p->ended + 1);
    if (BL__RACE || BL__UNLIKELY(result < 0) || BL__UNLIKELY(g->scope->bl__limit != 0))
        bl__scope_ended(g, g->scope, result);
}

/* The last of g: goes on with to, which gives g's stack back (bl__after_switch). Inline, since a
 * call that never returns leaves its return address in the CPU's predictor, and all returns of to
 * are mispredicted: 40 ns. */
__attribute__((noreturn, always_inline)) static inline void leave(bl__m *m, bl__g *g, bl__g *to)
{
    if (to->sp == NULL)
        bl__switch_to(m, g, BL__SWITCH_END, to);
    m->prev = g;
    m->action = BL__SWITCH_END;
    store_relaxed(&m->g, to);
    store_relaxed(&to->task.status, (uint32_t)BL__G_RUNNING);
    bl__san_switch_start(NULL, to->fiber, to->stack_lo, to->stack_hi);
    bl__switch_leave(to->sp);
}

static __attribute__((noinline)) bl__m *enter_to_end_slow(bl__m *m, const bl__g *g)
{
    if (!bl__enter_outermost(m)) {
        bl__come_back(m);
        m = bl__this_m();
    }
    if (bl__traced())
        bl__trace_end(m, g);
    return m;
}

/* As bl__enter_home, at the end of g. */
static inline __attribute__((always_inline)) bl__m *enter_to_end(const bl__g *g)
{
    bl__m *m = bl__this_m();
    return __builtin_expect(bl__enter_quick(m), 1) ? m : enter_to_end_slow(m, g);
}

/* The next task of who has somebody to wake first, if p has nothing else. */
static inline bl__task *next_task_here(bl__p *p)
{
    return load_relaxed(&p->next) == NULL && bl__runq_empty(p) ? NULL : bl__pick(p);
}

/* m, which has entered and has nothing else to run, can go on with opener, which is claimed: as
 * bl__ready, and picking it right afterwards. */
static inline bool goes_straight_on(bl__m *m, bl__g *opener)
{
    bl__p *p = m->p;
    uint32_t tick = p->tick;
    if (BL__UNLIKELY(tick % BL__FAIR_TICK == 0 || load_relaxed(&m->bare) != 0) ||
        opener->task.kind != BL__TASK_G)
        return false;
    BL__PROBE2(goroutine__ready, opener->id, 0);
    store_relaxed(&p->tick, tick + 1);
    opener->result = 0;
    return true;
}

/*
 * The body of every goroutine, and of those that follow on the same stack. The ends of a row of one
 * scope are counted out together: the word that counts is shared by all threads. It may wait, for
 * while it does one more of that scope lives, and nobody can join the scope before that one has
 * ended.
 */
void bl__goroutine_main(void)
{
    bl__san_switch_finish(NULL);
    bl__m *m = bl__after_switch();
    bl__g *g = m->g;
    for (g->row = 1;; g->row++) {
        bl__leave(m);
#if BL__RACE
        bl__race_begin(g);
#endif
        int result = g->fn(g->arg);
        m = enter_to_end(g);
        bl_scope *scope =
            g->scope; /* not before: what is on the stack counts as in reach (reach.h) */
        end(m, g, result);
        bl__task *t = next_task_here(m->p);
        bool lend = t != NULL && t->kind == BL__TASK_SPAWN && !BL__ASAN && !BL__TSAN && !BL__RACE;
        bl__g *next = NULL;
        if (BL__LIKELY(!lend) || ((bl__spawned *)(void *)t)->scope != scope) {
            next = bl__scope_count_out(scope, g->row);
            g->row = 0;
            if (next != NULL && (t != NULL || !goes_straight_on(m, next))) {
                bl__ready(next, 0);
                next = NULL;
            }
            if (t == NULL && next == NULL)
                t = bl__pick(m->p);
        }
        if (lend) {
            begin(m->p, g, (bl__spawned *)(void *)t);
            store_relaxed(&g->task.status, (uint32_t)BL__G_RUNNING);
            continue;
        }
        if (t != NULL)
            next = bl__task_goroutine(m, t);
        leave(m, g, next != NULL ? next : &m->g0);
    }
}

void bl__goroutine_end(void)
{
    bl__g *g = bl__self();
    while (g->inner != g->scope)
        (void)bl_scope_close(g->inner);
    bl__san_stack_reuse(g->stack_lo, __builtin_frame_address(0)); /* frames nobody has left */
    bl__m *m = enter_to_end(g);
    bl_scope *scope = g->scope;
    end(m, g, 0);
    bl__g *opener = bl__scope_count_out(scope, g->row);
    if (opener != NULL)
        bl__ready(opener, 0);
    bl__task *t = bl__pick(m->p);
    bl__g *next = t != NULL ? bl__task_goroutine(m, t) : NULL;
    leave(m, g, next != NULL ? next : &m->g0);
}

static void spawned_as_goroutine(const bl__spawned *s, void (*fn)(const bl__g *, void *), void *arg)
{
    bl__g g = {.task = {.kind = BL__TASK_SPAWN, .status = BL__G_RUNNABLE},
               .scope = s->scope,
               .inner = s->scope,
               .fn = s->fn,
               .id = s->id,
               .parent = s->parent,
               .site = s->site,
               .labels = s->labels};
    fn(&g, arg);
}

void bl__each_spawned(void (*fn)(const bl__g *g, void *arg), void *arg)
{
    bl__spawn_slab *slab = load_acquire(&bl__rt.spawn_slabs); /* ORD(slab): with pile_take */
    for (; slab != NULL; slab = slab->next)
        for (int i = 0; i < BL__SLAB; i++)
            if (load_relaxed(&slab->records[i].task.status) != BL__G_DEAD)
                spawned_as_goroutine(&slab->records[i], fn, arg);
}

void bl__each_spawned_part(bool all, void (*fn)(const void *low, const void *high, void *arg),
                           void *arg)
{
    bl__spawn_slab *slab = load_acquire(&bl__rt.spawn_slabs); /* ORD(slab): with pile_take */
    for (; slab != NULL; slab = slab->next) {
        if (all)
            fn(slab, slab + 1, arg);
        for (int i = 0; !all && i < BL__SLAB; i++)
            if (load_relaxed(&slab->records[i].task.status) != BL__G_DEAD)
                fn(&slab->records[i], &slab->records[i + 1], arg);
    }
}

void bl__each_goroutine(void (*fn)(const bl__g *g, void *arg), void *arg)
{
    (void)add_acq_rel(&bl__rt.walkers, 1u); /* ORD(walk) */
    fence_seq_cst(); /* ORD(walk): stored before closed is loaded; bl__walks_end the other way round */
    if (!load_relaxed(&bl__rt.walks_closed)) {
        bl__san_unchecked_begin();
        bl__each_stack(fn, arg);
        bl__each_spawned(fn, arg);
        bl__san_unchecked_end();
    }
    add_acq_rel(&bl__rt.walkers, (uint32_t)-1); /* ORD(walk): the records are looked at no more */
}

/* Until bl__walks_begin nobody walks through the records, which are about to be freed: plain threads
 * may ask while a run ends. */
void bl__walks_end(void)
{
    store_relaxed(&bl__rt.walks_closed, 1u);
    fence_seq_cst();                           /* ORD(walk) */
    while (load_acquire(&bl__rt.walkers) != 0) /* ORD(walk) */
        sched_yield();
}

void bl__walks_begin(void) { store_relaxed(&bl__rt.walks_closed, 0u); }

void bl__spawn_fini(bool keep)
{
    while (!keep && bl__rt.spawn_slabs != NULL) {
        bl__spawn_slab *slab = bl__rt.spawn_slabs;
        bl__rt.spawn_slabs = slab->next;
        bl__free(slab);
    }
    bl__rt.spawn_slabs = NULL;
    bl__rt.free_spawns = NULL;
}
