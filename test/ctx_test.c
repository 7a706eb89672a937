/* SPDX-License-Identifier: MIT */
/*
 * ctx_test.c: contexts: causes, order and propagation as in Go's context package.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <unistd.h>

#include "parked.h"

static bl_test *const t; /* the test that the caller is of */

static int add(int *counter, int n) { return __atomic_add_fetch(counter, n, __ATOMIC_ACQ_REL); }
static int get(int *counter) { return __atomic_load_n(counter, __ATOMIC_ACQUIRE); }

static bool done_closed(bl_ctx *c)
{
    bl_chan *done = bl_ctx_done(c);
    return done && bl_chan_try_recv(done, NULL) == BL_ECLOSED;
}

static bool state_is(bl_ctx *c, int err, int cause)
{
    bool ok = true;
    ok &= BL_CHECK_EQ(t, bl_ctx_err(c), err);
    ok &= BL_CHECK_EQ(t, bl_ctx_cause(c), cause);
    ok &= BL_CHECK_EQ(t, bl_ctx_done(c) && done_closed(c), err != 0);
    return ok;
}

/* ---- The cause table ---- */

BL_TEST(background)
{
    bl_ctx *bg = bl_ctx_background();
    BL_CHECK(t, bg == bl_ctx_background());
    BL_CHECK(t, !bl_ctx_done(bg));
    BL_CHECK(t, !bl_ctx_deadline(bg, NULL));
    bl_ctx_cancel(bg, BL_EIO);
    BL_CHECK(t, state_is(bg, 0, 0));
    BL_CHECK(t, bl_ctx_value(bg, bg) == NULL);
    BL_CHECK(t, bl_ctx_retain(bg) == bg);
    bl_ctx_release(bg);
    bl_ctx_release(bg);
    BL_CHECK(t, bl_ctx_retain(NULL) == NULL);
    bl_ctx_release(NULL);
}

BL_TEST(cancel_with_causes)
{
    static const int given[] = {0, BL_EIO, BL_ETIMEDOUT, -12345, 7};
    static const int kept[] = {BL_ECANCELED, BL_EIO, BL_ETIMEDOUT, -12345, BL_ECANCELED};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
        BL_REQUIRE(t, c);
        BL_CHECK(t, state_is(c, 0, 0));
        bl_ctx_cancel(c, given[i]);
        BL_CHECK(t, state_is(c, BL_ECANCELED, kept[i]));
        bl_ctx_cancel(c, BL_EBUSY);
        BL_CHECK(t, state_is(c, BL_ECANCELED, kept[i]));
        bl_ctx_release(c);
    }
}

/* Parent and child, cancelled in this order: each keeps the first cause that reached it. */
BL_TEST(order_of_causes)
{
    for (int child_first = 0; child_first < 2; child_first++) {
        bl_ctx *parent = bl_ctx_with_cancel(bl_ctx_background());
        bl_ctx *child = bl_ctx_with_cancel(parent);
        BL_REQUIRE(t, parent && child);
        bl_ctx_cancel(child_first ? child : parent, BL_EIO);
        BL_CHECK_EQ(t, bl_ctx_err(parent), child_first ? 0 : BL_ECANCELED);
        bl_ctx_cancel(child_first ? parent : child, BL_EBUSY);
        BL_CHECK(t, state_is(parent, BL_ECANCELED, child_first ? BL_EBUSY : BL_EIO));
        BL_CHECK(t, state_is(child, BL_ECANCELED, BL_EIO));
        bl_ctx_release(child);
        bl_ctx_release(parent);
    }
}

BL_TEST(born_cancelled)
{
    bl_ctx *parent = bl_ctx_with_cancel(bl_ctx_background());
    BL_REQUIRE(t, parent);
    bl_ctx_cancel(parent, BL_EPIPE);
    bl_ctx *kinds[] = {bl_ctx_with_cancel(parent), bl_ctx_with_timeout(parent, BL_HOUR),
                       bl_ctx_with_timeout(parent, -BL_SEC),
                       bl_ctx_with_value(parent, &parent, NULL)};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        BL_REQUIRE(t, kinds[i]);
        BL_CHECK(t, state_is(kinds[i], BL_ECANCELED, BL_EPIPE));
        bl_ctx_release(kinds[i]);
    }
    bl_ctx *past = bl_ctx_with_deadline(bl_ctx_background(), bl_now() - 1);
    BL_REQUIRE(t, past);
    BL_CHECK(t, state_is(past, BL_ETIMEDOUT, BL_ETIMEDOUT));
    bl_ctx_release(past);
    bl_ctx_release(parent);
}

BL_TEST(without_cancel)
{
    int x;
    bl_ctx *parent = bl_ctx_with_timeout(bl_ctx_background(), BL_HOUR);
    bl_ctx *value = bl_ctx_with_value(parent, &x, &x);
    bl_ctx *cut = bl_ctx_without_cancel(value);
    bl_ctx *below = bl_ctx_with_cancel(cut);
    BL_REQUIRE(t, parent && value && cut && below);
    BL_CHECK(t, !bl_ctx_done(cut));
    BL_CHECK(t, !bl_ctx_deadline(cut, NULL));
    BL_CHECK(t, bl_ctx_value(cut, &x) == &x);
    BL_CHECK(t, bl_ctx_value(below, &x) == &x);
    bl_ctx_cancel(parent, BL_EIO);
    BL_CHECK(t, state_is(value, BL_ECANCELED, BL_EIO));
    BL_CHECK(t, state_is(cut, 0, 0));
    BL_CHECK(t, state_is(below, 0, 0));
    bl_ctx_cancel(cut, 0);
    BL_CHECK(t, state_is(cut, 0, 0));
    bl_ctx_cancel(below, BL_EPIPE);
    BL_CHECK(t, state_is(below, BL_ECANCELED, BL_EPIPE));
    bl_ctx *of_cancelled = bl_ctx_without_cancel(parent);
    BL_REQUIRE(t, of_cancelled);
    BL_CHECK(t, state_is(of_cancelled, 0, 0));
    bl_ctx_release(of_cancelled);
    bl_ctx_release(below);
    bl_ctx_release(cut);
    bl_ctx_release(value);
    bl_ctx_release(parent);
}

/* ---- Deadlines ---- */

BL_TEST(deadlines_are_inherited)
{
    bl_time soon = bl_in(BL_MIN), at = 0;
    bl_ctx *parent = bl_ctx_with_deadline(bl_ctx_background(), soon);
    bl_ctx *later = bl_ctx_with_timeout(parent, BL_HOUR);
    bl_ctx *plain = bl_ctx_with_cancel(later);
    bl_ctx *earlier = bl_ctx_with_deadline(plain, soon - BL_SEC);
    bl_ctx *never = bl_ctx_with_deadline(bl_ctx_background(), BL_NEVER);
    BL_REQUIRE(t, parent && later && plain && earlier && never);
    BL_CHECK(t, bl_ctx_deadline(parent, &at) && at == soon);
    BL_CHECK(t, bl_ctx_deadline(later, &at) && at == soon);
    BL_CHECK(t, bl_ctx_deadline(plain, &at) && at == soon);
    BL_CHECK(t, bl_ctx_deadline(earlier, &at) && at == soon - BL_SEC);
    BL_CHECK(t, !bl_ctx_deadline(never, &at));
    bl_ctx *all[] = {never, earlier, plain, later, parent};
    for (size_t i = 0; i < 5; i++)
        bl_ctx_release(all[i]);
}

BL_TEST(deadline_passes)
{
    bl_ctx *c = bl_ctx_with_timeout(bl_ctx_background(), 10 * BL_MS);
    bl_ctx *child = bl_ctx_with_cancel(c);
    bl_ctx *value = bl_ctx_with_value(child, &c, NULL);
    BL_REQUIRE(t, c && child && value);
    bl_time at;
    BL_CHECK(t, bl_ctx_deadline(c, &at));
    BL_CHECK_ERR(t, bl_chan_recv(bl_ctx_done(value), NULL), BL_ECLOSED);
    BL_CHECK_GE(t, bl_now(), at);
    BL_CHECK(t, state_is(value, BL_ETIMEDOUT, BL_ETIMEDOUT));
    BL_CHECK(t, state_is(child, BL_ETIMEDOUT, BL_ETIMEDOUT));
    BL_CHECK(t, state_is(c, BL_ETIMEDOUT, BL_ETIMEDOUT));
    bl_ctx_cancel(c, BL_EIO);
    BL_CHECK(t, state_is(c, BL_ETIMEDOUT, BL_ETIMEDOUT));
    bl_ctx_release(value);
    bl_ctx_release(child);
    bl_ctx_release(c);
}

BL_TEST(cancelled_before_the_deadline)
{
    for (bool first = false; !first;) { /* else the machine was slow */
        bl_time deadline = bl_in(5 * BL_MS);
        bl_ctx *c = bl_ctx_with_deadline(bl_ctx_background(), deadline);
        BL_REQUIRE(t, c);
        bl_ctx_cancel(c, BL_EIO);
        first = bl_now() < deadline;
        BL_CHECK_EQ(t, bl_sleep(10 * BL_MS), 0);
        BL_CHECK(t, !first || state_is(c, BL_ECANCELED, BL_EIO));
        bl_ctx_release(c);
    }
}

/* References are dropped while deadlines fire, in every order. */
BL_TEST(release_races_with_the_deadline)
{
    for (int i = 0; i < 2000; i++) {
        bl_ctx *c = bl_ctx_with_timeout(bl_ctx_background(), (i % 50) * BL_US);
        BL_REQUIRE(t, c);
        bl_ctx *child = bl_ctx_with_timeout(c, (i % 30) * BL_US);
        BL_REQUIRE(t, child);
        bl_ctx_release(c);
        if (i % 3 == 0)
            BL_CHECK_ERR(t, bl_chan_recv(bl_ctx_done(child), NULL), BL_ECLOSED);
        for (int spin = 0; spin < i % 7; spin++)
            bl_yield();
        bl_ctx_release(child);
    }
}

/* ---- The tree ---- */

BL_TEST(long_chain_and_wide_tree)
{
    enum { N = 20000 };
    bl_ctx *root = bl_ctx_with_cancel(bl_ctx_background());
    BL_REQUIRE(t, root);
    bl_ctx *at = bl_ctx_retain(root);
    for (int i = 0; i < N; i++) {
        bl_ctx *next = bl_ctx_with_cancel(at);
        BL_REQUIRE(t, next);
        bl_ctx_release(at);
        at = next;
    }
    static bl_ctx *wide[N];
    for (int i = 0; i < N; i++)
        BL_REQUIRE(t, (wide[i] = bl_ctx_with_cancel(root)) != NULL);
    for (int i = 0; i < N; i += 3) {
        bl_ctx_release(wide[i]);
        wide[i] = NULL;
    }
    bl_ctx_cancel(root, BL_EIO);
    BL_CHECK(t, state_is(at, BL_ECANCELED, BL_EIO));
    for (int i = 0; i < N; i++) {
        if (wide[i])
            BL_CHECK_ERR(t, bl_ctx_cause(wide[i]), BL_EIO);
        bl_ctx_release(wide[i]);
    }
    bl_ctx_release(root);
    bl_ctx_release(at);
}

typedef struct third {
    bl_chan *gate;
    bl_waitgroup *there;
    int *ended, *cancelled; /* atomic */
} third;

static int wait_at_gate(void *arg)
{
    third *h = arg;
    bl_waitgroup_done(h->there);
    int r = bl_chan_recv(h->gate, NULL);
    __atomic_fetch_add(r == BL_ECLOSED ? h->ended : h->cancelled, 1, __ATOMIC_RELAXED);
    return r == BL_ECLOSED || r == BL_ECANCELED ? 0 : BL_EINVAL;
}

/* Those who have ended are taken off the context's list between the others. */
BL_TEST(a_cancellation_finds_who_is_left_of_a_crowd)
{
    enum { EACH = 400, THIRDS = 3 };
    int ended = 0, cancelled = 0;
    bl_waitgroup there = {0};
    third h[THIRDS];
    BL_SCOPE(s, .name = "crowd");
    for (int i = 0; i < THIRDS; i++)
        h[i] = (third){bl_scope_chan(s, 0, 0), &there, &ended, &cancelled};
    bl_waitgroup_add(&there, EACH * THIRDS);
    for (int i = 0; i < EACH * THIRDS; i++)
        BL_REQUIRE_EQ(t, bl_go(s, wait_at_gate, &h[i % THIRDS]), 0);
    BL_REQUIRE_EQ(t, bl_waitgroup_wait(&there), 0);
    bl_chan_close(h[1].gate);
    while (__atomic_load_n(&ended, __ATOMIC_RELAXED) < EACH)
        bl_yield();
    bl_scope_cancel(s, BL_EIO);
    BL_CHECK_EQ(t, bl_scope_wait(s), BL_EIO);
    BL_CHECK_EQ(t, ended, EACH);
    BL_CHECK_EQ(t, cancelled, EACH * (THIRDS - 1));
}

BL_TEST(values)
{
    static const char k1, k2, k3;
    int a, b, c;
    bl_ctx *one = bl_ctx_with_value(bl_ctx_background(), &k1, &a);
    bl_ctx *two = bl_ctx_with_value(one, &k2, &b);
    bl_ctx *shadow = bl_ctx_with_value(two, &k1, &c);
    BL_REQUIRE(t, one && two && shadow);
    BL_CHECK(t, !bl_ctx_done(shadow)); /* nothing above it can be cancelled */
    BL_CHECK(t, bl_ctx_value(one, &k1) == &a && !bl_ctx_value(one, &k2));
    BL_CHECK(t, bl_ctx_value(two, &k1) == &a && bl_ctx_value(two, &k2) == &b);
    BL_CHECK(t, bl_ctx_value(shadow, &k1) == &c && bl_ctx_value(shadow, &k2) == &b);
    BL_CHECK(t, !bl_ctx_value(shadow, &k3) && !bl_ctx_value(shadow, NULL));
    bl_ctx_release(one);
    bl_ctx_release(two);
    BL_CHECK(t, bl_ctx_value(shadow, &k2) == &b);
    BL_SCOPE(s, .ctx = shadow);
    BL_CHECK(t, bl_ctx_value(bl_ctx_current(), &k1) == &c);
    bl_ctx_release(shadow);
}

static int wait_done(void *arg)
{
    int r = bl_chan_recv(bl_ctx_done(arg), NULL);
    return r == BL_ECLOSED ? 0 : r;
}

BL_TEST(done_wakes_everybody)
{
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    BL_REQUIRE(t, c);
    BL_CHECK(t, bl_ctx_done(c) == bl_ctx_done(c));
    BL_SCOPE(s);
    for (int i = 0; i < 100; i++)
        bl_go(s, wait_done, c);
    BL_CHECK(t, parked_wait(100));
    bl_ctx_cancel(c, 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    bl_ctx_release(c);
}

static int cancel_it(void *arg)
{
    bl_ctx_cancel(arg, BL_EBUSY);
    return 0;
}

static int ask_done(void *arg)
{
    int r = bl_chan_recv(bl_ctx_done(arg), NULL);
    BL_CHECK(t, bl_ctx_err(arg) == BL_ECANCELED);
    return r == BL_ECLOSED ? 0 : r;
}

/* The channel is made, the context cancelled and a child added at the same time. */
BL_TEST(done_races_with_cancel)
{
    for (int i = 0; i < 500; i++) {
        bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
        BL_REQUIRE(t, c);
        BL_SCOPE(s);
        for (int k = 0; k < 4; k++) {
            bl_go(s, ask_done, c);
            if (k == i % 4)
                bl_go(s, cancel_it, c);
        }
        bl_ctx *child = bl_ctx_with_cancel(c);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK(t, child && state_is(child, BL_ECANCELED, BL_EBUSY));
        bl_ctx_release(child);
        bl_ctx_release(c);
    }
}

/* ---- After ---- */

static int count_up(void *arg)
{
    add(arg, 1);
    return 0;
}

BL_TEST(after)
{
    int ran = 0;
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    BL_REQUIRE(t, c);
    BL_SCOPE(s);
    bl_stop *one = bl_ctx_after(c, s, count_up, &ran);
    bl_stop *two = bl_ctx_after(c, s, count_up, &ran);
    bl_stop *three = bl_ctx_after(c, s, count_up, &ran);
    BL_REQUIRE(t, one && two && three);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0); /* a join does not wait for them */
    BL_CHECK_EQ(t, get(&ran), 0);
    BL_CHECK(t, bl_ctx_after_stop(two));
    BL_CHECK(t, !bl_ctx_after_stop(two));
    bl_ctx_cancel(c, 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, get(&ran), 2);
    BL_CHECK(t, !bl_ctx_after_stop(one));
    bl_stop *late = bl_ctx_after(c, s, count_up, &ran); /* cancelled already: at once */
    BL_REQUIRE(t, late);
    BL_CHECK(t, !bl_ctx_after_stop(late));
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, get(&ran), 3);
    bl_ctx_release(c);
}

/* The scope of the function is the cancelled one, and the function runs all the same. */
BL_TEST(after_in_the_cancelled_scope)
{
    int ran = 0;
    {
        BL_SCOPE(s);
        BL_REQUIRE(t, bl_ctx_after(bl_scope_ctx(s), s, count_up, &ran));
        bl_scope_cancel(s, BL_EIO);
        BL_CHECK_ERR(t, bl_scope_wait(s), BL_EIO);
        BL_CHECK_EQ(t, get(&ran), 1);
    }
    {
        BL_SCOPE(s);
        BL_REQUIRE(t, bl_ctx_after(bl_scope_ctx(s), s, count_up, &ran));
    } /* its close cancels it */
    BL_CHECK_EQ(t, get(&ran), 2);
}

BL_TEST(after_and_lifetimes)
{
    int ran = 0;
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    BL_REQUIRE(t, c);
    {
        BL_SCOPE(s);
        BL_REQUIRE(t, bl_ctx_after(c, s, count_up, &ran));
    } /* the scope closed first: it does not run */
    bl_ctx_cancel(c, 0);
    bl_ctx_release(c);
    BL_CHECK_EQ(t, get(&ran), 0);

    BL_SCOPE(s);
    c = bl_ctx_with_cancel(bl_ctx_background());
    bl_stop *stop = bl_ctx_after(c, s, count_up, &ran);
    BL_REQUIRE(t, c && stop);
    bl_ctx_release(c); /* the last reference cancels */
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, get(&ran), 1);
    BL_CHECK(t, !bl_ctx_after_stop(stop));
    stop = bl_ctx_after(bl_ctx_background(), s, count_up, &ran);
    BL_REQUIRE(t, stop);
    BL_CHECK(t, bl_ctx_after_stop(stop));
}

static int fail(void *arg)
{
    (void)arg;
    return BL_EPIPE;
}

BL_TEST(after_is_a_goroutine_of_its_scope)
{
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    BL_REQUIRE(t, c);
    BL_SCOPE(s, .limit = 1);
    BL_REQUIRE(t, bl_ctx_after(c, s, fail, NULL));
    bl_ctx_cancel(c, 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EPIPE);
    bl_ctx_release(c);
}

typedef struct after_race {
    bl_ctx *ctx;
    int *ran;
    int *stopped;
} after_race;

static int after_in_own_scope(void *arg)
{
    after_race *r = arg;
    BL_SCOPE(s);
    bl_stop *stop = bl_ctx_after(r->ctx, s, count_up, r->ran);
    bl_yield();
    if (stop && bl_ctx_after_stop(stop))
        add(r->stopped, 1);
    return 0;
}

/* Each function runs or is stopped, never both, and never after its scope has closed. */
BL_TEST(after_races)
{
    int ran = 0, stopped = 0;
    for (int i = 0; i < 300; i++) {
        after_race r = {bl_ctx_with_cancel(bl_ctx_background()), &ran, &stopped};
        BL_REQUIRE(t, r.ctx);
        BL_SCOPE(s);
        for (int k = 0; k < 6; k++) {
            bl_go(s, after_in_own_scope, &r);
            if (k == i % 6)
                bl_go(s, cancel_it, r.ctx);
        }
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        bl_ctx_release(r.ctx);
    }
    BL_CHECK_EQ(t, get(&ran) + get(&stopped), 300 * 6);
}

/* ---- Current ---- */

static int check_current(void *arg)
{
    BL_CHECK(t, bl_ctx_current() == arg);
    return 0;
}

BL_TEST(current)
{
    BL_SCOPE(s);
    bl_go(s, check_current, bl_scope_ctx(s));
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK(t, bl_ctx_current() == bl_scope_ctx(s));
}

BL_TEST_PLAIN(plain_thread_has_the_background)
{
    BL_CHECK(t, bl_ctx_current() == bl_ctx_background());
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current());
    BL_REQUIRE(t, c);
    bl_ctx_cancel(c, BL_EIO);
    BL_CHECK(t, state_is(c, BL_ECANCELED, BL_EIO));
    bl_ctx_release(c);
}

/* ---- From outside of a bubble ---- */

enum { OUTSIDE_ROUNDS = 30 };

typedef struct outsider {
    bl_ctx *given; /* atomic: to be cancelled; NULL: it was */
    bool over;     /* atomic */
} outsider;

static void *cancels_outside(void *arg)
{
    outsider *o = arg;
    while (!__atomic_load_n(&o->over, __ATOMIC_ACQUIRE)) {
        bl_ctx *c = __atomic_load_n(&o->given, __ATOMIC_ACQUIRE);
        if (c != NULL) {
            bl_ctx_cancel(c, 0);
            usleep(
                200); /* in which the clock of the bubble jumps, after nothing that this has done */
            __atomic_store_n(&o->given, NULL, __ATOMIC_RELEASE);
        }
        usleep(100);
    }
    return NULL;
}

static int has_deadlines(void *arg)
{
    outsider *o = arg;
    for (int i = 0; i < OUTSIDE_ROUNDS; i++) {
        bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
        bl_ctx *timed = bl_ctx_with_timeout(c, BL_HOUR);
        BL_REQUIRE(t, c && timed);
        __atomic_store_n(&o->given, c, __ATOMIC_RELEASE);
        while (__atomic_load_n(&o->given, __ATOMIC_ACQUIRE) != NULL)
            BL_CHECK_EQ(t, bl_sleep(BL_US), 0);
        BL_CHECK(t, state_is(timed, BL_ECANCELED, BL_ECANCELED));
        bl_ctx_release(timed);
        bl_ctx_release(c);
    }
    return 0;
}

/* The clock of a bubble is about to jump, by its timers, while a plain thread takes one of them
 * away: ThreadSanitizer tells if these do not know of each other. */
BL_TEST(a_deadline_in_a_bubble_is_cancelled_from_outside)
{
    pthread_t thread;
    outsider o = {.given = NULL};
    BL_REQUIRE(t, pthread_create(&thread, NULL, cancels_outside, &o) == 0);
    bl_bubble(t, has_deadlines, &o);
    __atomic_store_n(&o.over, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}
