/* SPDX-License-Identifier: MIT */
/* bubble.c: goroutines with a clock of their own; see bubble.h. */
#include "core/bubble.h"

#include "life/notify.h"
#include "os/os.h"

/* ---- Whose bubble ---- */

/* All there ever were, by slot; written under sched's lock before any scope has the number. A
 * number and not a pointer, since a scope is opened so often that its size counts. */
static bl__bubble *slots[BL__BUBBLES_MOST + 1];
static uint16_t slots_used;

static const bl_scope *bubble_scope(const bl_scope *s)
{
    while (s != NULL && s->bl__bubble == 0)
        s = s->bl__parent;
    return s;
}

static bl__bubble *of_scope(const bl_scope *s)
{
    s = bubble_scope(s);
    return s != NULL ? slots[s->bl__bubble] : NULL;
}

bl__bubble *bl__bubble_of(const bl__g *g)
{
    const bl_scope *s = bubble_scope(g->inner);
    bool inside = s != NULL && s->bl__opener_g != g; /* its keeper is outside */
    return inside ? slots[s->bl__bubble] : NULL;
}

bl__bubble *bl__bubble_find(void)
{
    bl__m *m = bl__this_m_known();
    return m != NULL && m->g == &m->g0 ? m->bubble : bl__bubble_of(bl__self());
}

bl_time bl__bubble_scope_now(const bl_scope *s)
{
    const bl__bubble *b = load_relaxed(&bl__rt.bubbles) == NULL ? NULL : of_scope(s);
    return b != NULL ? load_relaxed(&b->now) : bl__clock();
}

/* A look at all goroutines takes some nanoseconds for each, which at each instant of thousands is too
 * long. Mostly one has been made ready since the last, and has waited again: if all members waited
 * durably then, and no more have run since than those that were made ready, these are all that may
 * be another way now. */
enum { RAN_MOST = 32, RAN_UNKNOWN };

static struct {
    bool clean;    /* sched's lock: all members waited durably, and for nobody outside */
    uint32_t runs; /* sched's lock: runs_count then */
    uint32_t n;    /* the one that moves, until it rests: of ran, or RAN_UNKNOWN */
    bl__g *ran[RAN_MOST];
} last;

/* ---- Beginning and end ---- */

/* In a crowd that ticks together those who have ticked are not to be among those who will: of two
 * instants a heap is a slow one. */
enum { HEAP_MOST = 16 };

#define DRAW_STEP UINT64_C(0x9e3779b97f4a7c15)

/* splitmix64 */
static uint64_t draw(uint64_t state)
{
    uint64_t z = state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t bl__bubble_draw(bl__bubble *b, uint32_t n)
{
    store_relaxed(&b->drawn, 1u);
    return (uint32_t)(draw(add_relaxed(&b->rng, DRAW_STEP) + DRAW_STEP) % n);
}

/* Under sched's lock: one that was used before. */
static bl__bubble *pool_take(void)
{
    bl__bubble *b = bl__rt.bubble_pool;
    if (b != NULL)
        bl__rt.bubble_pool = b->pool_next;
    return b;
}

/* Gives b a slot; false: there is none. */
static bool slot_take(bl__bubble *b)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool room = slots_used < BL__BUBBLES_MOST;
    if (room) {
        b->slot = (uint16_t)(slots_used + 1);
        slots[b->slot] = b;
        store_release(&slots_used, b->slot); /* ORD(slots): with bl__bubbles_each */
    }
    bl__unlock(&bl__rt.lock);
    return room;
}

bl__bubble *bl__bubble_new(uint64_t seed, void *owner)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    uint32_t id = ++bl__rt.bubble_ids;
    bl__bubble *b = pool_take();
    bl__unlock(&bl__rt.lock);
    if (b == NULL) {
        b = bl__zalloc(sizeof *b);
        if (b == NULL || !slot_take(b)) {
            bl__free(b);
            return NULL;
        }
    }
    bl__timers_begin(&b->timers, BL__BUBBLE_BEGIN, HEAP_MOST);
    b->timers.exact = true;
    b->now = BL__BUBBLE_BEGIN;
    b->rng = seed;
    b->id = id;
    b->waiter = b->keeper = NULL;
    b->news = b->dead = b->drawn = 0;
    b->owner = owner;
    return b;
}

void bl__bubble_begin(bl__bubble *b)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    b->scope.bl__bubble = b->slot;
    b->next = bl__rt.bubbles;
    last.clean = false;
    store_relaxed(&bl__rt.bubbles, b); /* who is in it comes later, by way of a queue */
    bl__unlock(&bl__rt.lock);
}

void bl__bubble_end(bl__bubble *b)
{
    bl__timers_forget(&b->timers);
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__bubble **at = &bl__rt.bubbles;
    while (*at != b)
        at = &(*at)->next;
    store_relaxed(at, b->next);
    b->pool_next = bl__rt.bubble_pool;
    bl__rt.bubble_pool = b;
    bl__unlock(&bl__rt.lock);
}

void bl__bubbles_each(void (*fn)(bl__bubble *b, void *arg), void *arg)
{
    for (uint16_t i = 1; i <= load_acquire(&slots_used); i++) /* ORD(slots): with slot_take */
        fn(slots[i], arg);
}

/* ---- Waiting ---- */

uint32_t bl__bubble_await(bl__bubble *b)
{
    bl__g *g = bl__self();
    bl__lock(&b->lock, BL__RANK_WAITERS);
    while (b->news == 0) {
        b->keeper = g;
        int r = bl__park(
            g, &(bl__wait){
                   .reason = BL__WAIT_BUBBLE, .obj = b, .lock = &b->lock, .deadline = BL_NEVER});
        (void)r; /* only the news end it */
        bl__lock(&b->lock, BL__RANK_WAITERS);
    }
    uint32_t news = b->news;
    b->news = 0;
    bl__unlock(&b->lock);
    return news;
}

void bl__bubble_tell(bl__bubble *b, uint32_t news)
{
    bl__lock(&b->lock, BL__RANK_WAITERS);
    b->news |= news;
    bl__g *g = b->keeper;
    b->keeper = NULL;
    if (g != NULL && !bl__claim(g))
        g = NULL;
    bl__unlock(&b->lock);
    if (g != NULL)
        bl__ready(g, 0);
}

int bl__bubble_wait(void)
{
    bl__bubble *b = bl__bubble_here();
    bl__g *g = bl__self();
    if (b == NULL)
        bl__fatal("goroutine is not in a bubble: bl_bubble_wait is for what bl_bubble runs");
    bl__lock(&b->lock, BL__RANK_WAITERS);
    if (b->waiter != NULL)
        bl__fatal("wait already in progress: goroutine %llu of this bubble is in bl_bubble_wait",
                  (unsigned long long)b->waiter->id);
    b->waiter = g;
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_BUBBLE,
                                    .cancellable = true,
                                    .obj = b,
                                    .lock = &b->lock,
                                    .deadline = BL_NEVER});
    bl__lock(&b->lock, BL__RANK_WAITERS);
    if (b->waiter == g)
        b->waiter = NULL;
    bl__unlock(&b->lock);
    bl__race_acquire(&b->rng);
    return r < 0 ? r : 0;
}

/* ---- Looking ---- */

/* All of these run on the thread that has sched's lock, while nothing runs. Threads without a
 * processor may claim somebody meanwhile, who runs when they have had that lock. */
static bool is_waiting(const bl__g *g)
{
    return load_relaxed(&g->task.status) == BL__G_PARKED && load_relaxed(&g->wait) >= BL__W_SOLE;
}

/* What g, parked, waits for cannot come from outside of b. */
static bool is_inside(const bl__bubble *b, const bl__g *g)
{
    uint32_t of = b->id;
    switch ((bl__reason)g->reason) {
    case BL__WAIT_IO:
    case BL__WAIT_BLOCKING: return false;
    case BL__WAIT_CHAN_RECV:
    case BL__WAIT_CHAN_SEND: of = bl__chan_bubble(g->wait_obj); break;
    case BL__WAIT_SELECT: of = bl__select_bubble(g->wait_obj); break;
    default: break;
    }
    return of == b->id || of == BL__BUBBLE_ANY;
}

static bool is_durable(const bl__bubble *b, const bl__g *g)
{
    return is_waiting(g) && is_inside(b, g);
}

static void member_count(const bl__g *g, void *arg)
{
    bl__bubble *b = of_scope(g->scope);
    (void)arg;
    if (b == NULL)
        return;
    b->members++;
    b->busy += !is_durable(b, g);
    if (g->reason != BL__WAIT_MUTEX)
        return;
    const bl__g *holder = bl__mutex_holder(g->wait_obj);
    b->held += holder != NULL && of_scope(holder->scope) != b;
}

/* How often somebody began to run. Some picks count twice; none is left out. */
static uint32_t runs_count(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < load_relaxed(&bl__rt.ps_made); i++)
        n += load_relaxed(&bl__rt.ps[i]->tick) - bl__rt.ps[i]->empty;
    return n;
}

static void ran_add(bl__task *t)
{
    if (last.n >= RAN_MOST || t->kind != BL__TASK_G)
        last.n = RAN_UNKNOWN;
    else
        last.ran[last.n++] = (bl__g *)(void *)t;
}

/* By who has moved: what is queued at p, its processor, where nothing was. What others have stolen
 * since has run besides, or is among them. */
static void ran_note(bl__p *p)
{
    bl__task *next = load_relaxed(&p->next);
    if (BL__TSAN) /* which would tell of the look at what is another's by now */
        return;
    last.n = 0;
    if (next != NULL)
        ran_add(next);
    for (uint32_t at = load_relaxed(&p->head); at != p->tail && last.n != RAN_UNKNOWN; at++)
        ran_add(load_relaxed(&p->ring[at % BL__RING]));
}

/* True: what the last look has counted is still so. */
static bool look_again(void)
{
    if (!last.clean || last.n == RAN_UNKNOWN || runs_count() - last.runs != last.n)
        return false;
    for (uint32_t i = 0; i < last.n; i++) {
        const bl__g *g = last.ran[i];
        if (load_relaxed(&g->task.status) != BL__G_PARKED || g->reason == BL__WAIT_MUTEX)
            return false; /* it has ended; or has to be asked for more */
        const bl__bubble *b = of_scope(g->scope);
        if (b != NULL && !is_durable(b, g))
            return false;
    }
    return true;
}

#ifdef BL__DEBUG
/* After look_again. Who was claimed since the last look was durable until then. */
static void member_check(const bl__g *g, void *arg)
{
    const bl__bubble *b = of_scope(g->scope);
    (void)arg;
    BL__CHECK(b == NULL || !is_waiting(g) || is_inside(b, g));
}
#endif

static void look_at_all(void)
{
    last.clean = true;
    for (bl__bubble *b = bl__rt.bubbles; b != NULL; b = b->next)
        b->members = b->busy = b->held = 0;
    bl__each_goroutine(member_count, NULL);
    for (const bl__bubble *b = bl__rt.bubbles; b != NULL; b = b->next)
        last.clean = last.clean && b->busy == 0 && b->held == 0;
}

static void wakes_note(bl_timer *t, void *arg)
{
    bool *wakes = arg;
    *wakes = *wakes || !bl__timer_unheard(t);
}

/* The first is nearly always one that does. Not under the timers' lock: whose they are all wait, and
 * who takes one away from outside has sched's, too (timer.c). */
static bool timers_wake(bl__bubble *b)
{
    bool wakes = b->timers.count > 0 && !bl__timer_unheard(b->timers.entries[0].timer);
    if (!wakes)
        bl__timers_each(&b->timers, wakes_note, &wakes);
    return wakes;
}

/* again: after look_again, which is not enough for a deadlock to be told of: a plain thread may be
 * about to wake somebody. */
static bool can_move(bl__bubble *b, bool again)
{
    if (b->dead || b->members == 0 || b->busy != 0)
        return false;
    b->wakes = timers_wake(b);
    return b->wakes || b->waiter != NULL || (!again && b->held == 0 && !bl__signals_armed());
}

static bl__bubble **movable_find(bool again)
{
    bl__bubble **at = &bl__rt.bubbles;
    while (*at != NULL && !can_move(*at, again))
        at = &(*at)->next;
    return at;
}

enum { STEP_FIRE, STEP_WAITER, STEP_DEADLOCK };

/* The clock jumps here: without sched's lock somebody may be woken from outside, and run. If somebody
 * has the timers' lock, which ranks before it, `first` may be too early; the next look goes on from
 * there. */
static void step_choose(bl__bubble *b)
{
    (void)bl__timers_settle(&b->timers);
    bl_time first = load_relaxed(&b->timers.first);
    if (first <= load_relaxed(&b->now)) {
        b->step = STEP_FIRE;
    } else if (b->waiter != NULL) {
        b->step = STEP_WAITER;
    } else if (b->wakes) {
        b->step = STEP_FIRE;
        store_relaxed(&b->now, first);
    } else {
        b->step = STEP_DEADLOCK;
    }
}

bl__bubble *bl__bubbles_find(void)
{
    if (bl__rt.idle_all != bl__rt.ps_made || bl__rt.away != 0 || bl__rt.queued != 0 ||
        load_relaxed(&bl__rt.stopping))
        return NULL;
    bl__bubble **at = NULL;
    if (look_again()) {
#ifdef BL__DEBUG
        bl__each_goroutine(member_check, NULL);
#endif
        at = movable_find(true);
    }
    if (at == NULL || *at == NULL) {
        look_at_all();
        at = movable_find(false);
    }
    last.runs = runs_count();
    last.n = 0;
    bl__bubble *b = *at;
    if (b == NULL)
        return NULL;
    step_choose(b);
    if (b->next == NULL)
        return b;
    store_relaxed(at, b->next); /* to the end, so that each has its turn */
    while (*at != NULL)
        at = &(*at)->next;
    b->next = NULL;
    store_relaxed(at, b);
    return b;
}

/* ---- Moving ---- */

enum { SAME_MOST = 4096 };

/* The timers that are due at the first instant are at the top of the heap, all below each other:
 * any order among them is as good a heap. So their places are drawn anew. Of more than SAME_MOST,
 * the first so many. */
static void shuffle(bl__bubble *b)
{
    bl__timers *ts = &b->timers;
    uint32_t places[SAME_MOST];
    places[0] = 0;
    bl__lock(&ts->lock, BL__RANK_HEAP);
    bl_time first = ts->count > 0 ? ts->entries[0].when : BL_NEVER;
    uint32_t n = ts->count > 0; /* places[0] is the top */
    for (uint32_t i = 0; i < n; i++)
        for (size_t c = 4 * (size_t)places[i] + 1; c <= 4 * (size_t)places[i] + 4; c++)
            if (c < ts->count && ts->entries[c].when == first && n < SAME_MOST)
                places[n++] = (uint32_t)c;
    if (n > 1)
        store_relaxed(&b->drawn, 1u);
    uint64_t rng = load_relaxed(&b->rng); /* while nothing runs */
    for (uint32_t i = n; i > 1; i--) {
        uint32_t a = places[i - 1], c = places[draw(rng += DRAW_STEP) % i];
        bl__timer_entry was = ts->entries[a];
        ts->entries[a] = ts->entries[c];
        ts->entries[c] = was;
        ts->entries[a].timer->bl__index = a;
        ts->entries[c].timer->bl__index = c;
    }
    store_relaxed(&b->rng, rng);
    bl__unlock(&ts->lock);
}

static void waiter_wake(bl__bubble *b)
{
    bl__lock(&b->lock, BL__RANK_WAITERS);
    bl__g *g = b->waiter;
    b->waiter = NULL;
    bool there = g != NULL && bl__claim(g);
    bl__unlock(&b->lock);
    if (there)
        bl__ready(g, 0);
}

void bl__bubble_move(bl__m *m, bl__bubble *b)
{
    last.n = RAN_UNKNOWN;
    if (b->step == STEP_WAITER)
        waiter_wake(b);
    else if (b->step == STEP_DEADLOCK)
        bl__bubble_tell(b, BL__BUBBLE_DEADLOCK);
    if (b->step != STEP_FIRE)
        return;
    shuffle(b);
    m->bubble = b;
    /* Mostly there is little to do at an instant, done before another thread would be awake: nobody
     * is woken, as if one looked for work already. For what takes longer sysmon wakes them. */
    add_acq_rel(&bl__rt.spinning, 1u); /* ORD(spin) */
    bl__timers_run(&b->timers, load_relaxed(&b->now));
    ran_note(m->p);
    add_acq_rel(&bl__rt.spinning, (uint32_t)-1); /* ORD(spin) */
    m->bubble = NULL;
}
