/* SPDX-License-Identifier: MIT */
/*
 * scope_join.c: how the opener of a scope waits for what is in it.
 *
 * The word s->bl__live decides everything (its bits are in scope.h). The opener parks with no lock
 * held, and only when its registers are saved it adds what it has started and sets JOINER, in one
 * step. From then on whoever clears JOINER, and nobody else, wakes it:
 *   - who counts itself out as the last one;
 *   - the cancellation of the scope, which sets NOTED in the same step, if somebody is left;
 *   - the timer of the grace, which sets LATE in the same step, if somebody is left.
 * So no two can wake it for one park, the wait needs no compare-and-swap on the goroutine's own
 * word, and no deadline. NOTED and LATE may be set while the opener is on its way to park; so it
 * notes what it has seen of them, and does not park if there is more.
 *
 * A wake by the last one needs nothing of the scope afterwards, and until bl__ready the opener is
 * parked: that is what makes a scope in a frame safe. A lock in the scope would not: its last
 * holder would give it back after the opener may have seen a count of zero.
 */
#include <locale.h>
#include <stdlib.h>

#include "core/bubble.h"
#include "debug/peek.h"
#include "debug/report.h"
#include "life/ctx.h"
#include "life/scope_parts.h"

enum { NESTED_MOST = 64 }; /* scopes in each other that are looked through */

typedef struct scope_join {
    bl__timer_head timer; /* of the grace, if armed; first, so that its firing finds the rest */
    bl_scope *s;          /* immutable */
    int64_t seen;         /* of NOTED and LATE, when the opener last looked */
    bl_time began;        /* when the grace began, if armed */
    bool armed;
} scope_join;

static inline int64_t live_count(int64_t live) { return live >> BL__LIVE_SHIFT; }

/* The opener, which is the caller's to make ready: the caller has cleared JOINER. NULL: an earlier
 * run has left it. */
static inline bl__g *opener_claim(bl_scope *s)
{
    bl__g *g = s->bl__opener_g;
    return BL__LIKELY(bl__claim(g)) ? g : NULL;
}

static inline void wake(bl__g *opener)
{
    if (opener != NULL)
        bl__ready(opener, 0);
}

/* ---- Counting ---- */

void bl__scope_pin(bl_scope *s)
{
    bl__solo_leave_outsider(); /* as everywhere where somebody else may change the word */
    (void)add_relaxed(&s->bl__live, (int64_t)BL__LIVE_ONE);
}

/* In a solo section, without locked instructions. */
static inline bl__g *count_out_solo(bl_scope *s, int64_t n)
{
    int64_t old = load_relaxed(&s->bl__live);
    bool last = BL__LIKELY(live_count(old) == n) && BL__LIKELY((old & BL__LIVE_JOINER) != 0);
    /* ORD(live): a plain thread that has opened it may find that nothing is left, and go on */
    store_release(&s->bl__live, old - n * BL__LIVE_ONE - (last ? BL__LIVE_JOINER : 0));
    return BL__LIKELY(last) ? opener_claim(s) : NULL;
}

static bl__g *count_out(bl_scope *s, int64_t n)
{
    int64_t old = load_relaxed(&s->bl__live);
    int64_t new;
    bool last;
    do { /* One step: between two, a timer's function could come and go, and wake the opener too. */
        last = live_count(old) == n && (old & BL__LIVE_JOINER) != 0;
        new = old - n *BL__LIVE_ONE - (last ? BL__LIVE_JOINER : 0);
        /* ORD(live): what was done in the scope, to the opener's load of the word */
    } while (!cas_acq_rel(&s->bl__live, &old, new));
    return last ? opener_claim(s) : NULL;
}

bl__g *bl__scope_count_out(bl_scope *s, int64_t n)
{
    if (!bl__solo_enter())
        return count_out(s, n);
    bl__g *opener = count_out_solo(s, n);
    bl__solo_exit();
    return opener;
}

void bl__scope_unpin(bl_scope *s)
{
    if (!bl__solo_enter_again()) { /* a pool gives up its pin under its lock */
        wake(count_out(s, 1));
        return;
    }
    wake(count_out_solo(s, 1));
    bl__solo_exit_again();
}

/* Adds set to the word and wakes the opener if it is parked. */
static void live_tell(bl_scope *s, int64_t set, int64_t pins)
{
    bl__solo_leave_outsider();
    int64_t old = load_relaxed(&s->bl__live);
    int64_t new;
    bool joins;
    do {
        joins = (old & BL__LIVE_JOINER) != 0 && live_count(old) != 0;
        new = (joins ? old & ~(int64_t)BL__LIVE_JOINER : old) | set;
        new += pins *BL__LIVE_ONE;
    } while (!cas_acq_rel(&s->bl__live, &old, new)); /* ORD(live): with join_commit */
    if (joins)
        wake(opener_claim(s));
}

bool bl__scope_cancelled(bl_scope *s)
{
    bool late = s->bl__limit != 0;
    if (live_count(load_relaxed(&s->bl__live)) != 0 || load_relaxed(&s->bl__started) != 0)
        store_relaxed(&s->bl__cancelled_at, bl__bubble_scope_now(s));
    live_tell(s, BL__LIVE_NOTED, late ? 1 : 0);
    return late;
}

/* ---- The report ---- */

/* A duration as BELAY_GRACE gives it: "1s", "250ms", "0.5" (seconds), in whatever locale the program
 * is; fallback if it is not one. */
static bl_dur dur_parse(const char *text, bl_dur fallback)
{
    static const struct {
        const char *unit;
        bl_dur dur;
    } units[] = {{"", BL_SEC},  {"s", BL_SEC}, {"ms", BL_MS}, {"us", BL_US},
                 {"ns", BL_NS}, {"m", BL_MIN}, {"h", BL_HOUR}};
    char *end;
    double n = strtod_l(text, &end, newlocale(LC_ALL_MASK, "C", (locale_t)0));
    if (end == text || !(n >= 0))
        return fallback;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t at = 0;
        while (end[at] != '\0' && end[at] == units[i].unit[at])
            at++;
        if (end[at] == '\0' && units[i].unit[at] == '\0') {
            double ns = n * (double)units[i].dur;
            return ns < (double)BL_NEVER ? (bl_dur)ns : BL_NEVER;
        }
    }
    return fallback;
}

void bl__grace_check(void)
{
    const char *text = getenv("BELAY_GRACE");
    if (text != NULL && *text != '\0' && dur_parse(text, -1) < 0)
        bl__warn("BELAY_GRACE=%s is not a duration like 1s or 250ms, so 1s is used", text);
}

bl_dur bl__scope_grace(const bl_scope *s)
{
    if (s->bl__grace > 0)
        return s->bl__grace;
    const char *text = getenv("BELAY_GRACE");
    return text != NULL ? dur_parse(text, BL_SEC) : BL_SEC;
}

/* Also of scopes below: one that is shielded is what keeps its opener. */
static bool goroutine_is_in(const bl__g *g, void *arg)
{
    const bl_scope *at = g->scope;
    bl_scope s;
    for (int i = 0; at != arg; i++, at = s.bl__parent)
        if (at == NULL || at == &bl__rt.root || i == NESTED_MOST || !bl__peek(&s, at, sizeof s) ||
            s.bl__magic != BL__SCOPE_OPEN)
            return false;
    return true;
}

static void left_count(const bl__g *g, void *arg)
{
    void **scope_and_count = arg;
    *(size_t *)scope_and_count[1] += goroutine_is_in(g, scope_and_count[0]);
}

/* The goroutines of s that have not ended. The word may still count some that have: see spawn.c. */
static size_t scope_left(bl_scope *s)
{
    size_t count = 0;
    void *scope_and_count[2] = {s, &count};
    bl__each_goroutine(left_count, scope_and_count);
    return count;
}

static void grace_print(bl__out *o, void *arg)
{
    const scope_join *join = arg;
    bl_scope *s = join->s;
    bl_time since = load_relaxed(&s->bl__cancelled_at);
    bl_dur ago = bl__now() - (since != 0 ? since : join->began);
    bool seconds = ago >= BL_SEC;
    size_t left = scope_left(s);
    if (left == 0)
        return; /* they have ended while other reports were printed */
    bl__out_printf(o,
                   "belay: leak: scope \"%s\" (opened at %s:%d) was cancelled %lld%s ago and %lld "
                   "goroutine%s not stopped:\n",
                   s->bl__name != NULL ? s->bl__name : s->bl__made->what, s->bl__made->file,
                   s->bl__made->line, (long long)(ago / (seconds ? BL_SEC : BL_MS)),
                   seconds ? "s" : "ms", (long long)left, left == 1 ? " has" : "s have");
    bl__report_goroutines(o, goroutine_is_in, s);
}

/* ---- Joining ---- */

static void grace_fire(bl_timer *t, bl_time now)
{
    (void)now;
    live_tell(((scope_join *)(void *)t)->s, BL__LIVE_LATE, 0);
}

/* The opener's registers are saved. Once JOINER is set both it and the scope may vanish. */
static void join_commit(bl__g *g, void *arg)
{
    scope_join *join = arg;
    bl_scope *s = join->s;
    int64_t started = s->bl__started;
    int64_t old = load_relaxed(&s->bl__live);
    store_relaxed(&s->bl__started, 0);
    for (;;) {
        int64_t new = old + started *BL__LIVE_ONE;
        if (live_count(new) == 0 || (new &BL__LIVE_NEWS) != join->seen)
            break;
        if (cas_acq_rel(&s->bl__live, &old, new | BL__LIVE_JOINER)) /* ORD(live) */
            return;
    }
    store_relaxed(&s->bl__started, started); /* it has to look again first */
    wake(opener_claim(s));
    (void)g;
}

static inline int64_t scope_count(const bl_scope *s)
{
    return live_count(load_acquire(&s->bl__live)) + s->bl__started; /* ORD(live): with unpin */
}

/* The scope is cancelled and waited for: its grace begins. */
static void grace_begin(scope_join *join)
{
    bl_dur grace = bl__scope_grace(join->s);
    bl_time due;
    join->began = bl__now();
    if (__builtin_add_overflow(join->began, grace, &due))
        return;
    join->armed = true;
    join->timer = (bl__timer_head){0};
    bl__timer_arm((bl_timer *)(void *)&join->timer, due, grace_fire);
}

/* The same in a solo section, which goes on through the switch: so it may be done before. Mostly
 * that is all. */
static inline void join_solo(bl_scope *s, bl__g *g)
{
    if (BL__UNLIKELY(!bl__solo_enter()))
        return;
    int64_t new = load_relaxed(&s->bl__live) + s->bl__started *BL__LIVE_ONE;
    if (BL__UNLIKELY(live_count(new) == 0 || (new &BL__LIVE_NEWS) != 0)) {
        bl__solo_exit();
        return;
    }
    store_relaxed(&s->bl__started, 0);
    store_relaxed(&s->bl__live, new | BL__LIVE_JOINER);
    bl__rank_take(&g->lock, BL__RANK_G); /* which stands for the section */
    (void)bl__park_sole(g, BL__WAIT_SCOPE, s, &g->lock);
}

static __attribute__((noinline)) void scope_join_slow(bl_scope *s, bl__g *g, bool bounded)
{
    scope_join join = {.s = s};
    bool late = false;
    do {
        join.seen = load_relaxed(&s->bl__live) & BL__LIVE_NEWS;
        if (join.seen == BL__LIVE_NOTED && !join.armed)
            grace_begin(&join);
        if (bounded && join.armed)
            store_relaxed(&s->bl__grace_state, (uint8_t)BL__GRACE_BOUNDS);
        if ((join.seen & BL__LIVE_LATE) != 0) {
            if (bounded)
                break;
            if (s->bl__grace_state != BL__GRACE_REPORTED) {
                store_relaxed(&s->bl__grace_state, (uint8_t)BL__GRACE_REPORTED);
                bl__report_late(grace_print, &join);
                late = true;
            }
        }
        (void)bl__park(g, &(bl__wait){.reason = BL__WAIT_SCOPE,
                                      .obj = s,
                                      .deadline = BL_NEVER,
                                      .unlock = join_commit,
                                      .unlock_arg = &join});
    } while (scope_count(s) != 0);
    if (late)
        bl__report_late_joined();
    if (join.armed && !bl__timer_disarm((bl_timer *)(void *)&join.timer))
        bl__timer_wait_fired((bl_timer *)(void *)&join.timer);
}

void bl__scope_join(bl_scope *s, bl__g *g)
{
    if (BL__LIKELY(scope_count(s) != 0))
        join_solo(s, g);
    if (BL__UNLIKELY(scope_count(s) != 0))
        scope_join_slow(s, g, false);
    bl__race_acquire(s);
}

size_t bl__scope_join_bounded(bl_scope *s, bl__g *g)
{
    if (scope_count(s) != 0)
        scope_join_slow(s, g, true);
    bl__race_acquire(s);
    return scope_count(s) != 0 ? scope_left(s) : 0;
}

/* Those of scopes that plain threads have open: none is below the root scope, and the run ends all
 * the same. */
static void strangers_await(bl_dur grace)
{
    bl_time until = bl__in(grace);
    BL_SCOPE(s, .ctx = bl_ctx_background());
    for (bl_dur nap = BL_US; bl__goroutines() > 1 && bl__now() < until;) {
        if (bl_sleep(nap) < 0)
            break;
        nap = nap < BL_MS ? 2 * nap : nap;
    }
}

size_t bl__root_join(bl_scope *s, bl__g *g)
{
    if (scope_count(s) != 0)
        scope_join_slow(s, g, true);
    else if (bl__goroutines() > 1)
        strangers_await(bl__scope_grace(s));
    bl__race_acquire(s);
    return bl__goroutines() - 1; /* beside the main goroutine */
}

void bl__scope_adopt(bl_scope *s, bl__g *g)
{
    if (s->bl__opener_g == NULL && g->scope == s && g->id == 1) {
        s->bl__opener_g = g; /* the main goroutine, which is not counted in the root scope */
        return;
    }
    bl__fatal("belay: bl_scope_wait on scope \"%s\" (opened at %s:%d) by a goroutine that did not "
              "open it: a scope is joined by its opener alone; wait on a bl_waitgroup or a channel",
              s->bl__name != NULL ? s->bl__name : s->bl__made->what, s->bl__made->file,
              s->bl__made->line);
}
