/* SPDX-License-Identifier: MIT */
/* bubble_test.c: when a bubble may move, and which. What tests see of it: testdata/bubble. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "core/bubble.h"

/* ---- Who does not wait ----------------------------------------------------------------------- */

typedef struct claimed {
    uint32_t lock;
    bl__g *g;
    atomic_bool is;
} claimed;

static int waits(void *arg)
{
    claimed *c = arg;
    bl__g *g = bl__self();
    bl__lock(&c->lock, BL__RANK_WAITERS);
    store_release(&c->g, g);
    return bl__park(
        g, &(bl__wait){.reason = BL__WAIT_SLEEP, .obj = c, .lock = &c->lock, .deadline = BL_NEVER});
}

static void *claims(void *arg)
{
    claimed *c = arg;
    while (load_acquire(&c->g) == NULL)
        usleep(100);
    bl__lock(&c->lock, BL__RANK_WAITERS); /* it is parked */
    atomic_store(&c->is, bl__claim(c->g));
    bl__unlock(&c->lock);
    usleep(30000);
    bl__ready(c->g, 0);
    return NULL;
}

static void claimed_fn(bl_test *t, void *arg)
{
    claimed *c = arg;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, waits, c), 0);
    while (!atomic_load(&c->is))
        bl_yield();
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* Nor is it a deadlock, if all others wait. */
BL_TEST(claimed_by_a_thread)
{
    claimed c = {0};
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, claims, &c) == 0);
    bl_bubble(t, claimed_fn, &c);
    pthread_join(thread, NULL);
}

typedef struct stolen {
    bl_chan *inside, *outside;
    atomic_bool runs, over;
} stolen;

/* Runs on another processor, and then waits for what comes from outside. */
static int stolen_run(void *arg)
{
    stolen *s = arg;
    int v = 0;
    int r = bl_chan_recv(s->inside, &v);
    bl_time at = bl_now();
    atomic_store(&s->runs, true);
    r = r != 0 ? r : bl_chan_recv_until(s->outside, &v, bl_in(BL_HOUR));
    return r != 0 ? r : bl_now() == at ? 0 : BL_EIO;
}

/* Is made ready by an instant, and makes the other one ready. */
static int stolen_from(void *arg)
{
    stolen *s = arg;
    int r = bl_sleep(BL_SEC);
    r = r != 0 ? r : bl_chan_send(s->inside, &(int){1});
    while (r == 0 && !atomic_load(&s->runs))
        if (bl_procs() == 1)
            bl_yield();
    return r != 0 ? r : bl_sleep(BL_SEC);
}

static void *stolen_end(void *arg)
{
    stolen *s = arg;
    while (!atomic_load(&s->runs))
        usleep(100);
    usleep(5000);
    return bl_chan_send(s->outside, &(int){2}) == 0 ? arg : NULL;
}

static void stolen_fn(bl_test *t, void *arg)
{
    stolen *s = arg;
    BL_SCOPE(in);
    s->inside = bl_scope_chan(in, sizeof(int), 0);
    BL_CHECK_EQ(t, bl_go(in, stolen_run, s), 0);
    BL_CHECK_EQ(t, bl_bubble_wait(), 0);
    BL_CHECK_EQ(t, bl_go(in, stolen_from, s), 0);
    BL_CHECK_ERR(t, bl_scope_wait(in), 0);
}

/* Who ran since the last look, on whatever processor, is asked what he waits for. */
BL_TEST(stolen_and_waits_outside)
{
    for (int i = 0; i < 5; i++) {
        stolen s = {.outside = bl_chan_new(sizeof(int), 0)};
        pthread_t thread;
        void *sent = NULL;
        BL_REQUIRE(t, pthread_create(&thread, NULL, stolen_end, &s) == 0);
        bl_bubble(t, stolen_fn, &s);
        pthread_join(thread, &sent);
        BL_CHECK(t, sent != NULL);
        bl_chan_release(s.outside);
    }
}

typedef struct held {
    bl_mutex m;
    atomic_bool is;
} held;

static int holds(void *arg)
{
    held *h = arg;
    bl_mutex_lock(&h->m);
    atomic_store(&h->is, true);
    int r = bl_sleep(20 * BL_MS);
    bl_mutex_unlock(&h->m);
    return r;
}

static void held_fn(bl_test *t, void *arg)
{
    held *h = arg;
    (void)t;
    bl_mutex_lock(&h->m);
    bl_mutex_unlock(&h->m);
}

BL_TEST(a_mutex_held_outside)
{
    held h = {0};
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, holds, &h), 0);
    while (!atomic_load(&h.is))
        bl_yield();
    bl_bubble(t, held_fn, &h);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* Of a select it is enough that one case comes from outside; of cases of one bubble all are inside. */
static void *sends_late(void *arg)
{
    usleep(20000);
    return bl_chan_send((bl_chan *)arg, &(int){3}) == 0 ? arg : NULL;
}

static void select_fn(bl_test *t, void *arg)
{
    int v = 0;
    bl_time at = bl_now();
    BL_SCOPE(s);
    bl_chan *never = bl_scope_chan(s, sizeof v, 0), *nor = bl_scope_chan(s, sizeof v, 0);
    bl_case cs[] = {BL_RECV(never, &v), BL_RECV((bl_chan *)arg, &v), BL_RECV(nor, &v)};
    BL_CHECK_EQ(t, bl_select_until(cs, 3, at + BL_HOUR), 1);
    BL_CHECK_EQ(t, v, 3);
    BL_CHECK_EQ(t, bl_now(), at);
    cs[1].chan = NULL;
    BL_CHECK_ERR(t, bl_select_until(cs, 3, at + BL_HOUR), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_now(), at + BL_HOUR);
}

BL_TEST(a_select_with_a_case_outside)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    pthread_t thread;
    void *sent = NULL;
    BL_REQUIRE(t, pthread_create(&thread, NULL, sends_late, c) == 0);
    bl_bubble(t, select_fn, c);
    pthread_join(thread, &sent);
    BL_CHECK(t, sent != NULL);
    bl_chan_release(c);
}

/* ---- Waiting for the others ------------------------------------------------------------------ */

static int stops_waiter(void *arg)
{
    bl__bubble *b = bl__bubble_here();
    bl__g *g = NULL;
    while (g == NULL) {
        bl_yield();
        bl__lock(&b->lock, BL__RANK_WAITERS);
        g = b->waiter;
        bl__unlock(&b->lock);
    }
    bl_scope_cancel(arg, 0);
    return 0;
}

static void stopped_fn(bl_test *t, void *arg)
{
    (void)arg;
    BL_SCOPE(outer);
    {
        BL_SCOPE(s);
        BL_CHECK_EQ(t, bl_go(outer, stops_waiter, s), 0);
        BL_CHECK_ERR(t, bl_bubble_wait(), BL_ECANCELED);
    }
    BL_CHECK_EQ(t, bl_bubble_wait(), 0);
}

BL_TEST(a_wait_that_is_stopped) { bl_bubble(t, stopped_fn, NULL); }

static int looks_for_leaks(void *arg)
{
    bl__g *g = arg; /* who waits */
    while (load_acquire(&g->task.status) != BL__G_PARKED)
        bl_yield();
    BL_CHECK_EQ(NULL, bl_leaks(NULL, 0), 0);
    return 0;
}

static void looked_at_fn(bl_test *t, void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, looks_for_leaks, bl__self()), 0);
    BL_CHECK_EQ(t, bl_bubble_wait(), 0);
}

/* However long the others take, they end by themselves. */
BL_TEST(who_waits_for_others_is_not_stuck) { bl_bubble(t, looked_at_fn, NULL); }

static int runs(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    return 0;
}

static void due_fn(bl_test *t, void *arg)
{
    atomic_bool ran = false;
    bl_timer timer = {0};
    (void)arg;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_after_func(&timer, s, 0, runs, &ran), 0);
    BL_CHECK_EQ(t, bl_bubble_wait(), 0);
    BL_CHECK(t, atomic_load(&ran));
    BL_CHECK_EQ(t, bl_now(), BL__BUBBLE_BEGIN);
}

/* What is due comes first. */
BL_TEST(a_timer_is_due_while_one_waits) { bl_bubble(t, due_fn, NULL); }

/* ---- Several ---------------------------------------------------------------------------------- */

enum { TURNS = 100, TURNS_MOST = 50 * TURNS };
static atomic_int turns[2];

static void takes_turns(bl_test *t, void *arg)
{
    int i = *(int *)arg;
    for (int n = 0; n < TURNS_MOST && (n < TURNS || atomic_load(&turns[!i]) < TURNS); n++) {
        BL_CHECK_EQ(t, bl_sleep(1), 0);
        atomic_fetch_add(&turns[i], 1);
    }
    BL_CHECK_GE(t, atomic_load(&turns[!i]), TURNS);
}

static int one_of_two(void *arg)
{
    bl_bubble(NULL, takes_turns, arg);
    return 0;
}

/* One that always has something to do does not keep the other from moving. */
BL_TEST(each_has_its_turn)
{
    static int one = 0, two = 1;
    BL_SCOPE(s);
    atomic_store(&turns[0], 0);
    atomic_store(&turns[1], 0);
    bl_go(s, one_of_two, &one);
    bl_go(s, one_of_two, &two);
    BL_CHECK_ERR(t, bl_scope_wait(s), 0);
}
