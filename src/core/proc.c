/* SPDX-License-Identifier: MIT */
/*
 * proc.c: switching between goroutines, parking and waking them.
 *
 * A goroutine that parks picks the next one itself and switches straight to it; only when there is
 * none does it go to the thread's own stack, where the scheduler's loop looks further and sleeps.
 *
 * The commit. A goroutine counts as parked only when its registers are saved, and they are saved by
 * the switch; so everything that lets others find it runs after the switch, on the stack of whoever
 * is switched to (bl__after_switch): making g->wait say that it waits, arming its deadline, giving
 * back the lock under which it queued itself, putting a yielding goroutine into the run queue,
 * freeing the stack of one that has ended. Doing any of it before the switch is the classic double
 * run: another thread takes the goroutine and runs it on a stack that is still in use.
 *
 * Parking against cancellation is Dekker's handshake: commit stores g->wait, then loads the
 * context's state; the canceller stores the state, then loads g->wait. The commit has no fence
 * where the kernel has membarrier, which the canceller calls (see bl__heavy_barrier in sched.h).
 * The lock of the object is given back last: a goroutine woken early by a cancellation has to take
 * that lock to unlink itself, so until then its record and its frame stay.
 */
#include "core/proc.h"

#include <sched.h>

#include "arch/probe.h"
#include "arch/sanitize.h"
#include "arch/switch.h"
#include "core/bubble.h"
#include "core/trace.h"
#include "life/ctx.h"
#include "os/futex.h"
#include "os/os.h"

bl__m bl__nobody = {.solo.mode = BL__SOLO_UNKNOWN, .bare = BL__BARE_TAKEN};
__thread void *bl__tls = &bl__nobody;
bl__sched bl__rt = {.outside = {.first = BL_NEVER, .heap_most = BL__HEAP_MOST}};

/* g can be woken from here on. */
static inline void wait_begin(bl__g *g)
{
    store_release(&g->wait, (uint32_t)g->wait_kind); /* ORD(wait): with the claims */
    if (BL__UNLIKELY(g->wait_kind != BL__W_CANCELLABLE))
        return;
    if (__builtin_expect(!bl__rt.asymmetric, 0))
        fence_seq_cst(); /* ORD(dekker): the store above before the load below */
    else
        fence_compiler();
    int state = bl__ctx_state(g->ctx);
    if (__builtin_expect(state != 0, 0) && bl__claim_cancel(g))
        bl__ready(g, state);
}

/* The commit of a park with a deadline, or with more than one lock. */
static __attribute__((noinline)) void commit_special(bl__g *g)
{
    bl__park_timer *timer = (bl__park_timer *)(void *)g->park_timer;
    uint32_t *lock = g->park_lock;
    void (*unlock)(bl__g *, void *) = g->park_unlock;
    void *unlock_arg = g->park_unlock_arg;
    if (timer != NULL) {
        bl__bubble *b = load_relaxed(&bl__rt.bubbles) != NULL ? bl__bubble_of(g) : NULL;
        timer->in = b != NULL ? &b->timers : bl__timers_here();
        bl__lock(&timer->in->lock, BL__RANK_HEAP);
        bl__timers_insert(timer->in, g->park_timer);
    }
    wait_begin(g);
    if (timer != NULL)
        bl__unlock(&timer->in->lock);
    if (unlock != NULL)
        unlock(g, unlock_arg);
    else
        bl__object_unlock(lock);
}

/* The other half of a park: g's registers are saved. */
static inline void commit_park(bl__g *g)
{
    if (__builtin_expect(g->park_special, 0)) {
        commit_special(g);
        return;
    }
    uint32_t *lock = g->park_lock;
    wait_begin(g);
    bl__object_unlock(lock);
}

static __attribute__((noinline)) void own_timers_run(bl__p *p)
{
    bl_time now = bl__clock();
    p->firing = 1;
    store_relaxed(&bl__rt.coarse, now);
    bl__watch_feed(p, now);
    bl__timers_run(&p->timers, now);
    bl__timers_run(&bl__rt.outside, now);
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = load_relaxed(&bl__rt.procs); i < made; i++)
        bl__timers_run(&bl__rt.ps[i]->timers, now); /* of those that nobody holds any more */
    if (load_relaxed(&bl__rt.poll.waiters) != 0)
        bl__poll_sometimes(p, now);
    p->firing = 0;
}

static inline void commit_yield(bl__m *m, bl__g *g)
{
    bl__p *p = load_relaxed(&m->p);
    store_release(&g->task.status, (uint32_t)BL__G_RUNNABLE); /* ORD(saved): with reports */
    if (__builtin_expect(p == NULL, 0)) {                     /* it was away */
        bl__runq_put_global(&g->task, &g->task, 1);
        return;
    }
    bl__runq_put(p, &g->task);
    bl__wake_maybe(p);
}

static __attribute__((noinline)) void after_other_switch(bl__m *m)
{
    bl__g *prev = m->prev;
    bool told = m->action >= BL__SWITCH_PARK && m->action <= BL__SWITCH_YIELD_QUEUED;
    if (BL__UNLIKELY(bl__traced()) && !told)
        bl__trace_switched(m);
    if (BL__LIKELY(m->action == BL__SWITCH_END)) { /* mostly; and without a table of jumps */
        bl__san_fiber_free(prev->fiber);
        bl__stack_put(m->p, prev);
        return;
    }
    switch (m->action) {
    case BL__SWITCH_PARK:
    case BL__SWITCH_PARK_TRACED: commit_park(prev); break;
    case BL__SWITCH_PARK_LOOK:
        commit_park(prev);
        own_timers_run(m->p);
        break;
    case BL__SWITCH_YIELD:
    case BL__SWITCH_YIELD_TRACED: commit_yield(m, prev); break;
    case BL__SWITCH_YIELD_QUEUED:
        store_release(&prev->task.status, (uint32_t)BL__G_RUNNABLE); /* ORD(saved): with reports */
        break;
    default: break;
    }
}

/* On the other side: what is due for who has left. Mostly that did the same as who comes back. */
static inline __attribute__((always_inline)) bl__m *after_switch(uint32_t likely)
{
    bl__m *m = bl__this_m();
    if (__builtin_expect(m->action != likely, 0))
        after_other_switch(m);
    else if (likely == BL__SWITCH_PARK)
        commit_park(m->prev);
    else
        commit_yield(m, m->prev);
    BL__CHECK(bl__rank_free());
    return m;
}

bl__m *bl__after_switch(void) { return after_switch(BL__SWITCH_PARK); }

/* Returns when somebody switches back; what is due then is after_switch's. */
static inline __attribute__((always_inline)) void switch_only(bl__m *m, bl__g *from,
                                                              uint32_t action, bl__g *to)
{
    void *saved = NULL;
    BL__CHECK(m->g == from && from != to && load_relaxed(&m->inside) == 1);
    BL__CHECK(to == &m->g0 || load_relaxed(&to->task.status) == BL__G_RUNNABLE);
    BL__CHECK(to == &m->g0 || (m->p != NULL && m->p->m == m));
    m->prev = from;
    m->action = action;
    store_relaxed(&m->g, to);
    store_relaxed(&to->task.status, (uint32_t)BL__G_RUNNING);
    bl__san_switch_start(action == BL__SWITCH_END ? NULL : &saved, to->fiber, to->stack_lo,
                         to->stack_hi);
    void *sp = to->sp;
    if (__builtin_expect(sp == NULL, 0)) {
        __asm__("" : "+r"(to)); /* the load that follows is for those only: another cache line */
        bl__switch_begin(&from->sp, to->stack_hi);
    } else {
        bl__switch(&from->sp, sp);
    }
    bl__san_switch_finish(saved);
}

/* Returns the thread on which from goes on when somebody switches back. */
static inline __attribute__((always_inline)) bl__m *switch_to(bl__m *m, bl__g *from,
                                                              uint32_t action, bl__g *to)
{
    switch_only(m, from, action, to);
    return after_switch(action == BL__SWITCH_YIELD ? BL__SWITCH_YIELD : BL__SWITCH_PARK);
}

/* Out of line: a place where goroutines leave and come back is one call (arch/switch.h). */
__attribute__((noinline)) void bl__switch_to(bl__m *m, bl__g *from, uint32_t action, bl__g *to)
{
    (void)switch_to(m, from, action, to);
}

static bl__task *pick_global(bl__p *p)
{
    bl__task *t = NULL;
    if (load_relaxed(&bl__rt.queued) != 0 && p->id < load_relaxed(&bl__rt.procs))
        t = bl__runq_get_global(p, BL__RING / 2);
    p->empty += t == NULL;
    return t;
}

/* What must not wait for the local queue to run dry. */
static __attribute__((noinline)) bl__task *pick_fair(bl__p *p)
{
    uint32_t procs = load_relaxed(&bl__rt.procs);
    if (procs > 1 && !p->shared)
        store_release(&p->shared, 1u); /* ORD(shared): with the load in steal */
    if (p->id >= procs) { /* there are to be fewer: this one is given up in the scheduler's loop */
        bl__runq_drain(p);
        return NULL;
    }
    if (load_relaxed(&p->timers.first) != BL_NEVER ||
        load_relaxed(&bl__rt.outside.first) != BL_NEVER || load_relaxed(&bl__rt.ps_made) > procs ||
        load_relaxed(&bl__rt.poll.waiters) != 0) {
        if (bl__this_m()->g->reason == BL__WAIT_NONE)
            own_timers_run(p);
        else
            p->look |=
                BL__LOOK_TIMERS; /* the caller parks, with a lock held that a timer may want */
    }
    return load_relaxed(&bl__rt.queued) != 0 ? bl__runq_get_global(p, 1) : NULL;
}

/* Of what waits at p, the caller's, and nowhere else: run-next first, since what was just woken is
 * warm in the cache; but not so often in a row that a pair which wakes each other keeps the rest
 * waiting. */
static inline __attribute__((always_inline)) bl__task *pick_here(bl__p *p)
{
    bl__task *t = load_relaxed(&p->next);
    if (BL__LIKELY(t != NULL) && __builtin_expect(p->streak < BL__NEXT_STREAK, 1) &&
        (t = bl__next_take_seen(p, t)) != NULL) {
        p->streak++;
        return t;
    }
    p->streak = 0;
    return bl__runq_get(p);
}

/* The next task of p, the caller's, or NULL. */
static inline __attribute__((always_inline)) bl__task *pick(bl__p *p)
{
    bl__task *t;
    uint32_t tick = p->tick;
    store_relaxed(&p->tick, tick + 1);
    if (__builtin_expect(tick % BL__FAIR_TICK == 0, 0) && (t = pick_fair(p)) != NULL)
        return t;
    if ((t = pick_here(p)) != NULL || (t = bl__next_take(p)) != NULL)
        return t;
    return pick_global(p);
}

bl__task *bl__pick(bl__p *p) { return pick(p); }

/* The caller has entered m. Leaves g, which parks, for t, which m's processor has picked, or for
 * the scheduler's loop. */
static inline __attribute__((always_inline)) void park_to(bl__m *m, bl__g *g, bl__task *t)
{
    bl__g *to = NULL;
    uint32_t action = BL__SWITCH_PARK;
    if (t != NULL && t->kind != BL__TASK_G && m->p->free_stacks == NULL)
        m->picked = t; /* making a stack is long: not with the lock of what g waits for */
    else if (t != NULL)
        to = t->kind == BL__TASK_G ? (bl__g *)(void *)t : bl__task_goroutine(m, t);
    if (m->p != NULL && __builtin_expect(m->p->look, 0)) {
        action = m->p->look & BL__LOOK_TIMERS ? BL__SWITCH_PARK_LOOK : BL__SWITCH_PARK_TRACED;
        m->p->look = 0;
    }
    bl__leave(switch_to(m, g, action, to != NULL ? to : &m->g0));
}

/* All that park_switch is not quick for; t: what was picked already, or NULL. */
static __attribute__((noinline)) void park_rest(bl__m *m, bl__g *g, bl__task *t)
{
    park_to(m, g, t != NULL ? t : pick(m->p));
}

/* m has not entered: it has lost its processor, or is traced. */
static __attribute__((noinline)) void park_slow(bl__m *m, bl__g *g)
{
    bool in = bl__trace_park(m, g);
    bl__task *t = in ? pick(m->p) : NULL;
    if (in && bl__traced() && !bl__trace_next(m, t))
        m->p->look |= BL__LOOK_TRACE;
    park_to(m, g, t);
}

static __attribute__((noinline)) void parked_slow(bl__m *m)
{
    after_other_switch(m);
    bl__leave(m);
}

/* Straight to one that has run before. As in bl_yield, what is rare is a call at the end. */
static inline __attribute__((always_inline)) void park_switch_now(bl__g *g)
{
    bl__m *m = bl__this_m();
    BL__PROBE3(goroutine__park, g->id, g->reason, g->wait_obj);
    bool in = bl__enter_quick(m);
    count_relaxed(&g->switches);
#if BL__RACE
    if (load_relaxed(&bl__rt.bubbles) != NULL && bl__bubble_of(g) != NULL)
        bl__race_release(&bl__bubble_of(g)->rng); /* seen by bl_bubble_wait */
#endif
    store_relaxed(&g->task.status, (uint32_t)BL__G_PARKED);
    if (__builtin_expect(!in, 0)) {
        park_slow(m, g);
        return;
    }
    bl__p *p = m->p;
    uint32_t tick = p->tick;
    bl__task *t = __builtin_expect(tick % BL__FAIR_TICK != 0, 1) ? pick_here(p) : NULL;
    if (__builtin_expect(t == NULL, 0)) {
        park_rest(m, g, NULL);
        return;
    }
    store_relaxed(&p->tick, tick + 1);
    if (__builtin_expect(t->kind != BL__TASK_G, 0)) {
        park_rest(m, g, t);
        return;
    }
    switch_only(m, g, BL__SWITCH_PARK, (bl__g *)(void *)t);
    m = bl__this_m();
    bl__g *prev = m->prev;
    if (__builtin_expect(m->action != BL__SWITCH_PARK || prev->park_special, 0)) {
        parked_slow(m);
        return;
    }
    commit_park(prev);
    BL__CHECK(bl__rank_free());
    bl__leave(bl__this_m());
}

/* The same while waits are recorded (debug/contention.c). */
static __attribute__((noinline)) void park_recorded(bl__g *g)
{
    bl__reason reason = (bl__reason)g->reason;
    bl_time began = bl__clock();
    store_relaxed(&g->blocked_at, began);
    g->ready_at = 0;
    park_switch_now(g);
    store_relaxed(&g->blocked_at, 0);
    bl__contended_block(reason, bl__clock() - began);
    bl__contended_resumed(g);
}

static __attribute__((noinline)) void park_switch(bl__g *g)
{
    if (__builtin_expect(load_relaxed(&bl__contended_on) != 0, 0))
        park_recorded(g);
    else
        park_switch_now(g);
}

bl_dur bl__contended_since(const bl__g *g)
{
    bl_time began = load_relaxed(&g->blocked_at);
    return began != 0 ? bl__clock() - began : 0;
}

void bl__schedule(void)
{
    bl__m *m = bl__this_m();
    bl__task *t;
    while ((t = m->picked != NULL ? m->picked : bl__find_task(m)) != NULL) {
        m->picked = NULL;
        bl__g *g = bl__task_goroutine(m, t);
        if (g != NULL)
            bl__switch_to(m, &m->g0, BL__SWITCH_NONE, g);
    }
}

static __attribute__((noinline)) void park_timed(bl__g *g, bl_time deadline)
{
    bl__park_timer timer = {.g = g};
    timer.head.bl__when = deadline;
    g->park_timer = (bl_timer *)(void *)&timer;
    park_switch(g);
    g->park_timer = NULL;
    if (load_acquire(&timer.head.bl__heap) == NULL) /* ORD(heap): with bl__timers_remove */
        return;
    bl__lock(&timer.in->lock, BL__RANK_HEAP);
    if (timer.head.bl__heap != NULL)
        bl__timers_remove(timer.in, (bl_timer *)(void *)&timer);
    bl__unlock(&timer.in->lock);
}

int bl__park(bl__g *g, const bl__wait *w)
{
    BL__CHECK(bl__self() == g && load_relaxed(&g->wait) <= BL__W_CLAIMED);
    BL__CHECK(w->unlock != NULL || load_relaxed(w->lock) != 0 || bl__solo_inside());
    g->reason = (uint8_t)w->reason;
    g->wait_obj = w->obj;
    g->since = load_relaxed(&bl__rt.coarse);
    g->wait_kind = w->cancellable                            ? BL__W_CANCELLABLE
                   : w->is_select || w->deadline != BL_NEVER ? BL__W_TIMED
                                                             : BL__W_SOLE;
    if (w->cancellable && __builtin_expect(load_relaxed(&g->registered) != g->ctx, 0))
        bl__ctx_register(g);
    if (__builtin_expect(g->task.kind == BL__TASK_THREAD, 0))
        return bl__park_thread(g, w);
    g->park_lock = w->lock;
    g->park_unlock = w->unlock;
    g->park_unlock_arg = w->unlock_arg;
    g->park_special = w->unlock != NULL || w->deadline != BL_NEVER;
    if (__builtin_expect(w->deadline == BL_NEVER, 1))
        park_switch(g);
    else
        park_timed(g, w->deadline);
    g->park_special = 0;
    g->reason = BL__WAIT_NONE;
    if (BL__RACE && g->result < 0) /* cancel -> seen */
        bl__race_acquire(g->ctx);
    return g->result;
}

static inline __attribute__((always_inline)) int park_endless(bl__g *g, bl__reason reason,
                                                              uint32_t kind, const void *obj,
                                                              uint32_t *lock)
{
    if (__builtin_expect(g->task.kind == BL__TASK_THREAD, 0))
        return bl__park(g, &(bl__wait){.reason = reason,
                                       .cancellable = kind == BL__W_CANCELLABLE,
                                       .obj = obj,
                                       .lock = lock,
                                       .deadline = BL_NEVER});
    BL__CHECK(bl__self() == g && load_relaxed(&g->wait) <= BL__W_CLAIMED);
    BL__CHECK(load_relaxed(lock) != 0 || bl__solo_inside());
    g->reason = (uint8_t)reason;
    g->wait_kind = (uint8_t)kind;
    g->wait_obj = obj;
    g->since = load_relaxed(&bl__rt.coarse);
    g->park_lock = lock;
    if (kind == BL__W_CANCELLABLE && __builtin_expect(load_relaxed(&g->registered) != g->ctx, 0))
        bl__ctx_register(g);
    park_switch(g);
    g->reason = BL__WAIT_NONE;
    if (BL__RACE && g->result < 0)
        bl__race_acquire(g->ctx);
    return g->result;
}

BL__RETURN_BY_JUMP int bl__park_stop(bl__g *g, bl__reason reason, const void *obj, uint32_t *lock)
{
    return park_endless(g, reason, BL__W_CANCELLABLE, obj, lock);
}

int bl__park_sole(bl__g *g, bl__reason reason, const void *obj, uint32_t *lock)
{
    return park_endless(g, reason, BL__W_SOLE, obj, lock);
}

/* All that bl__ready_last is not quick for. m has entered as far as bl__enter_quick. */
static __attribute__((noinline)) int ready_slow(bl__m *m, uint32_t was, bl__g *g, int result)
{
    store_relaxed(&g->task.status, (uint32_t)BL__G_RUNNABLE);
    if (!bl__enter_quick(m) && !bl__trace_ready(m, g, result)) {
        bl__runq_put_global(&g->task, &g->task, 1);
    } else if (m->g == &m->g0 && load_relaxed(&m->p->next) != NULL) {
        /* Timers, in the order in which they were due. The first is next: it does not wait for a
         * queue of goroutines that block, each of which costs a hand-off. */
        bl__runq_put(m->p, &g->task);
        bl__wake_maybe(m->p);
    } else {
        bl__next_put(m->p, &g->task);
    }
    bl__leave_again(m, was);
    return 0;
}

int bl__ready_last(bl__g *g, int result)
{
    BL__CHECK(load_relaxed(&g->wait) == BL__W_CLAIMED);
    BL__PROBE2(goroutine__ready, g->id, result);
    g->result = result;
    if (BL__UNLIKELY(g->task.kind == BL__TASK_THREAD)) {
        bl__ready_thread(g);
        return 0;
    }
    bl__m *m = bl__this_m();
    uint32_t was = load_relaxed(&m->inside);
    if (BL__UNLIKELY(!bl__enter_quick(m)) || BL__UNLIKELY(load_relaxed(&m->p->next) != NULL))
        return ready_slow(m, was, g, result);
    store_relaxed(&g->task.status, (uint32_t)BL__G_RUNNABLE);
    store_release(&m->p->next, &g->task); /* ORD(next): with the swaps that take it */
    bl__leave_again(m, was);
    return 0;
}

void bl__ready_behind(bl__g *g, int result)
{
    bl__m *m = bl__this_m();
    uint32_t was = load_relaxed(&m->inside);
    if (g->task.kind == BL__TASK_THREAD) {
        bl__ready(g, result);
        return;
    }
    BL__CHECK(load_relaxed(&g->wait) == BL__W_CLAIMED);
    BL__PROBE2(goroutine__ready, g->id, result);
    g->result = result;
    store_relaxed(&g->task.status, (uint32_t)BL__G_RUNNABLE);
    if (bl__enter_quick(m) || bl__trace_ready(m, g, result)) {
        bl__runq_put(m->p, &g->task);
        bl__wake_maybe(m->p);
    } else {
        bl__runq_put_global(&g->task, &g->task, 1);
    }
    bl__leave_again(m, was);
}

#ifdef BL__DEBUG
void bl__asked_check(void) { BL__CHECK(bl__rank_free() && !bl__solo_inside()); }
#endif

/* Where a goroutine that calls into the runtime all the time, and never switches, meets sysmon's
 * request to let others run. */
__attribute__((cold, noinline)) void bl__asked_yield(void)
{
    bl__m *m = bl__this_m();
    if (load_relaxed(&m->solo.yield) == 0 || load_relaxed(&m->inside) != 0)
        return;
    store_relaxed(&m->solo.yield, (uint16_t)0);
    if (m->g->task.kind != BL__TASK_G)
        return;
    if (load_relaxed(&bl__rt.solo_asked))
        bl__solo_begin();
    if (bl__enter(m)) { /* else it has lost its processor since, and queues for one */
        bl__p *p = m->p;
        /* A timer, a descriptor or the global queue may be all that waits: those are looked at
         * first. */
        store_relaxed(&p->tick, (p->tick + BL__FAIR_TICK - 1) / BL__FAIR_TICK * BL__FAIR_TICK);
    }
    bl__leave(m);
    bl_yield();
}

/* Returns where g is, inside. */
static __attribute__((noinline)) bl__m *yield_switch(bl__m *m, bl__g *g, bl__g *to)
{
    return switch_to(m, g, BL__SWITCH_YIELD, to);
}

static __attribute__((noinline)) bl__m *yield_switch_traced(bl__m *m, bl__g *g, bl__g *to)
{
    return switch_to(m, g, BL__SWITCH_YIELD_TRACED, to);
}

/* The caller has entered m, and found no processor. */
__attribute__((noinline)) void bl__come_back(bl__m *m)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__p *p = load_relaxed(&bl__rt.stopping) ? NULL : bl__p_acquire();
    if (p != NULL) {
        bl__m_adopt(m, p, false);
        m->away = BL__AWAY_NOT;
        store_relaxed(&bl__rt.away, bl__rt.away - 1);
    }
    bl__unlock(&bl__rt.lock);
    if (bl__recorded())
        bl__trace_back(m, p != NULL);
    if (p != NULL)
        bl__sysmon_rouse();
    else
        (void)yield_switch(m, m->g, &m->g0);
}

/* The caller has entered m, which has a processor. t: what it has picked, or NULL. */
static inline __attribute__((always_inline)) void yield_inside(bl__m *m, bl__task *t, bool traced)
{
    bl__g *g = m->g;
    bl__g *to = NULL;
    /* Also when there is nobody else: others had their chance (see mutex.c). */
    count_relaxed(&g->switches);
    t = t != NULL ? t : pick(m->p);
    if (__builtin_expect(t == NULL, 0) && !load_relaxed(&bl__rt.stopping) &&
        m->p->id < load_relaxed(&bl__rt.procs)) {
        bl__leave(m);
        return; /* nobody else; a processor that is to go is given up, in the scheduler's loop */
    }
    if (traced) {
        bl__trace_yield(m, g);
        traced = bl__traced() && !bl__trace_next(m, t);
    }
    if (__builtin_expect(t != NULL, 1))
        to = t->kind == BL__TASK_G ? (bl__g *)(void *)t : bl__task_goroutine(m, t);
    to = to != NULL ? to : &m->g0;
    bl__leave(traced ? yield_switch_traced(m, g, to) : yield_switch(m, g, to));
}

static __attribute__((noinline)) void yield_rest(bl__m *m, bl__task *t)
{
    yield_inside(m, t, false);
}

/* The pick that looks first at what must not wait. Mostly there is nothing, and then it is a yield
 * as any other, by the same calls: by others, those that leave and those that come back were
 * predicted to return to the wrong places (arch/switch.h), a twelfth of what all yields took. */
static __attribute__((noinline)) void yield_fair(bl__m *m)
{
    bl__p *p = m->p;
    store_relaxed(&p->tick, p->tick + 1);
    bl__task *t = pick_fair(p);
    if (t != NULL) {
        yield_rest(m, t);
        return;
    }
    bl__leave(m);
    bl_yield();
}

/* Nothing waits at the processor: mostly nowhere else either. */
static __attribute__((noinline)) void yield_alone(bl__m *m)
{
    bl__p *p = m->p;
    if (load_relaxed(&p->next) != NULL || load_relaxed(&bl__rt.queued) != 0 ||
        load_relaxed(&bl__rt.stopping) || p->id >= load_relaxed(&bl__rt.procs)) {
        yield_rest(m, NULL);
        return;
    }
    store_relaxed(&p->tick, p->tick + 1);
    count_relaxed(&m->g->switches);
    bl__leave(m);
}

/* bl_yield of a plain thread, and of a goroutine that has lost its processor or is traced. */
static __attribute__((noinline)) void yield_slow(bl__m *m)
{
    if (bl__enter_outermost(m)) {
        bl__g *g = m->g;
        g->ready_at = 0;
        yield_inside(m, NULL, bl__recorded());
        bl__contended_resumed(g);
        return;
    }
    if (m != &bl__nobody && m->g->task.kind != BL__TASK_THREAD) {
        bl__g *g = m->g;
        g->ready_at = 0;
        bl__come_back(m);
        bl__leave(bl__this_m());
        bl__contended_resumed(g);
        return;
    }
    bl__leave(m);
    bl__fork_check();
    sched_yield();
}

static __attribute__((noinline)) void yielded_slow(bl__m *m)
{
    after_other_switch(m);
    bl__leave(m);
}

static __attribute__((noinline)) void yielded_wake(bl__m *m, bl__p *p)
{
    bl__wake_maybe(p);
    bl__leave(m);
}

/* With thieves about g may be queued only when its registers are saved. */
static __attribute__((noinline)) void yield_shared(bl__m *m, bl__p *p, uint32_t head)
{
    bl__task *t = bl__runq_get_shared(p, head);
    if (BL__UNLIKELY(t == NULL)) {
        yield_alone(m);
        return;
    }
    store_relaxed(&p->tick, p->tick + 1);
    p->streak = 0;
    if (BL__UNLIKELY(t->kind != BL__TASK_G)) {
        yield_rest(m, t);
        return;
    }
    bl__g *g = m->g;
    count_relaxed(&g->switches);
    switch_only(m, g, BL__SWITCH_YIELD, (bl__g *)(void *)t);
    m = bl__this_m();
    p = load_relaxed(&m->p);
    bl__g *prev = m->prev;
    if (BL__UNLIKELY(m->action != BL__SWITCH_YIELD || p == NULL)) {
        yielded_slow(m);
        return;
    }
    store_release(&prev->task.status, (uint32_t)BL__G_RUNNABLE); /* ORD(saved): with reports */
    if (BL__UNLIKELY(!bl__runq_put_quick(p, &prev->task))) {
        yielded_slow(m);
        return;
    }
    yielded_wake(m, p);
}

/* Straight to one that has run before, and back. What is rare is a call at the end of the function,
 * so that it keeps nothing in registers that it would have to save. Without thieves the ring is
 * turned by one, before the switch. */
void bl_yield(void)
{
    bl__m *m = bl__this_m();
    if (BL__UNLIKELY(!bl__enter_quick(m))) {
        yield_slow(m);
        return;
    }
    bl__p *p = m->p;
    uint32_t tick = p->tick;
    if (BL__UNLIKELY(tick % BL__FAIR_TICK == 0)) {
        yield_fair(m);
        return;
    }
    if (BL__UNLIKELY(load_relaxed(&p->next) != NULL)) {
        yield_rest(m, NULL);
        return;
    }
    uint32_t head = load_relaxed(&p->head), tail = p->tail;
    if (BL__UNLIKELY(head == tail)) {
        yield_alone(m);
        return;
    }
    if (tail - head > BL__FEW)
        bl__runq_prefetch(p, head, false);
    if (BL__UNLIKELY(p->shared)) {
        yield_shared(m, p, head);
        return;
    }
    bl__task *t = p->ring[head % BL__RING];
    if (BL__UNLIKELY(t->kind != BL__TASK_G)) {
        yield_rest(m, NULL);
        return;
    }
    bl__g *g = m->g;
    store_relaxed(&p->tick, tick + 1);
    p->streak = 0;
    store_relaxed(&p->head, head + 1);
    store_relaxed(&p->ring[tail % BL__RING], &g->task);
    store_relaxed(&p->tail, tail + 1);
    count_relaxed(&g->switches);
    switch_only(m, g, BL__SWITCH_YIELD_QUEUED, (bl__g *)(void *)t);
    m = bl__this_m();
    if (BL__UNLIKELY(m->action != BL__SWITCH_YIELD_QUEUED)) {
        yielded_slow(m);
        return;
    }
    store_release(&m->prev->task.status, (uint32_t)BL__G_RUNNABLE); /* ORD(saved): with reports */
    BL__CHECK(bl__rank_free());
    bl__leave(m);
}
