/* SPDX-License-Identifier: MIT */
/*
 * scope_test.c: who is joined, who is cancelled, and what is returned. The grace report's text is
 * tested with the fatal errors.
 */
#include "harness.h"

#include <pthread.h>

static int add(int *counter, int n) { return __atomic_add_fetch(counter, n, __ATOMIC_ACQ_REL); }
static int get(int *counter) { return __atomic_load_n(counter, __ATOMIC_ACQUIRE); }

static int count_up(void *arg)
{
    add(arg, 1);
    return 0;
}

static int yield_and_count(void *arg)
{
    for (int i = 0; i < 3; i++)
        bl_yield();
    return count_up(arg);
}

/* Waits until it is stopped, and says that it was. */
static int wait_stopped(void *arg)
{
    int r = bl_sleep(BL_HOUR);
    if (arg)
        add(arg, 1);
    return r;
}

static int return_it(void *arg) { return (int)(intptr_t)arg; }

/* ---- Joining ---- */

TEST(wait_joins_all)
{
    int done = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(bl_go(s, yield_and_count, &done), 0);
    CHECK_EQ(bl_scope_wait(s), 0);
    CHECK_EQ(get(&done), 100);
}

TEST(wait_again_and_go_after)
{
    int done = 0;
    BL_SCOPE(s);
    CHECK_EQ(bl_scope_wait(s), 0);
    for (int round = 1; round <= 50; round++) {
        CHECK_EQ(bl_go(s, round % 2 ? count_up : yield_and_count, &done), 0);
        CHECK_EQ(bl_scope_wait(s), 0);
        CHECK_EQ(get(&done), round);
        CHECK_EQ(bl_scope_wait(s), 0);
    }
}

static int early_return(int *stopped)
{
    BL_SCOPE(s);
    bl_go(s, wait_stopped, stopped);
    bl_go(s, wait_stopped, stopped);
    bl_yield();
    if (stopped)
        return 7;
    return bl_scope_wait(s);
}

TEST(every_path_out_joins)
{
    int stopped = 0;
    CHECK_EQ(early_return(&stopped), 7);
    CHECK_EQ(get(&stopped), 2);
    for (int i = 0; i < 2; i++) {
        BL_SCOPE(s);
        bl_go(s, wait_stopped, &stopped);
        if (i == 0)
            continue;
        break;
    }
    CHECK_EQ(get(&stopped), 4);
}

/* Starts n below itself, in the scope it was given. */
typedef struct tree {
    bl_scope *scope;
    int *done;
    int depth;
} tree;

static int grow(void *arg)
{
    tree *t = arg;
    add(t->done, 1);
    if (t->depth == 0)
        return 0;
    tree child = {t->scope, t->done, t->depth - 1};
    for (int i = 0; i < 3; i++)
        if (bl_go_copy(t->scope, grow, &child, sizeof child) < 0)
            return BL_ENOMEM;
    return 0;
}

TEST(goroutines_start_others_in_their_scope)
{
    for (int round = 0; round < 50; round++) {
        int done = 0;
        BL_SCOPE(s);
        tree root = {s, &done, 5};
        CHECK_EQ(bl_go_copy(s, grow, &root, sizeof root), 0);
        CHECK_EQ(bl_scope_wait(s), 0);
        CHECK_EQ(get(&done), 1 + 3 + 9 + 27 + 81 + 243);
    }
}

/* The scope's frame is reused at once: who counts out last must not touch it any more. */
static int short_scope(void *arg)
{
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++)
        bl_go(s, count_up, arg);
    return bl_scope_wait(s);
}

TEST(frames_are_reused)
{
    int done = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 8; i++)
        bl_go(s, short_scope, &done);
    for (int i = 0; i < 2000; i++)
        CHECK_EQ(short_scope(&done), 0);
    CHECK_EQ(bl_scope_wait(s), 0);
    CHECK_EQ(get(&done), 3 * 2008);
}

TEST(nested_scopes)
{
    int outer = 0, inner = 0;
    BL_SCOPE(a);
    bl_ctx *of_a = bl_ctx_current();
    CHECK(of_a == bl_scope_ctx(a));
    bl_go(a, wait_stopped, &outer);
    {
        BL_SCOPE(b);
        CHECK(bl_ctx_current() == bl_scope_ctx(b));
        bl_go(b, wait_stopped, &inner);
        bl_yield();
        bl_scope_cancel(b, 0);
        CHECK_EQ(bl_scope_wait(b), BL_ECANCELED);
        CHECK_EQ(bl_ctx_err(of_a), 0);
    }
    CHECK(bl_ctx_current() == of_a);
    CHECK_EQ(get(&inner), 1);
    CHECK_EQ(get(&outer), 0);
    bl_scope_cancel(a, 0);
    CHECK_EQ(bl_scope_wait(a), BL_ECANCELED);
    CHECK_EQ(get(&outer), 1);
}

static int opened;

static int opens_below(void *arg)
{
    BL_SCOPE(s);
    for (int i = 0; i < 4; i++)
        bl_go(s, wait_stopped, arg);
    add(&opened, 1);
    return bl_scope_wait(s);
}

TEST(cancellation_goes_down)
{
    int stopped = 0;
    opened = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 10; i++)
        bl_go(s, opens_below, &stopped);
    while (get(&opened) < 10) /* in a cancelled scope none would start */
        (void)!bl_sleep(BL_MS);
    bl_scope_cancel(s, 0);
    CHECK_EQ(bl_scope_wait(s), BL_ECANCELED);
    CHECK_EQ(get(&stopped), 40);
}

/* ---- Results ---- */

TEST(first_error_wins_and_stops_the_others)
{
    int stopped = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 5; i++)
        bl_go(s, wait_stopped, &stopped);
    (void)!bl_sleep(BL_MS);
    bl_go(s, return_it, (void *)(intptr_t)BL_EIO);
    CHECK_EQ(bl_scope_wait(s), BL_EIO);
    CHECK_EQ(get(&stopped), 5);
    CHECK_EQ(bl_ctx_err(bl_scope_ctx(s)), BL_ECANCELED);
    CHECK_EQ(bl_ctx_cause(bl_scope_ctx(s)), BL_EIO);
    CHECK_EQ(bl_go(s, return_it, NULL), BL_ECANCELED);
    CHECK_EQ(bl_scope_wait(s), BL_EIO);
}

TEST(canceled_before_cancellation_is_an_error)
{
    BL_SCOPE(s);
    bl_go(s, return_it, (void *)(intptr_t)BL_ECANCELED);
    CHECK_EQ(bl_scope_wait(s), BL_ECANCELED);
    CHECK_EQ(bl_ctx_err(bl_scope_ctx(s)), BL_ECANCELED);
}

static int fail_when_stopped(void *arg)
{
    (void)!bl_sleep(BL_HOUR);
    return (int)(intptr_t)arg;
}

TEST(error_after_cancellation_counts)
{
    BL_SCOPE(s);
    bl_go(s, wait_stopped, NULL);
    bl_go(s, fail_when_stopped, (void *)(intptr_t)BL_EPIPE);
    (void)!bl_sleep(BL_MS);
    bl_scope_cancel(s, BL_EBUSY);
    CHECK_EQ(bl_scope_wait(s), BL_EPIPE);
    CHECK_EQ(bl_ctx_cause(bl_scope_ctx(s)), BL_EBUSY);
}

TEST(keep_going)
{
    int done = 0;
    BL_SCOPE(s, .keep_going = true);
    bl_go(s, return_it, (void *)(intptr_t)BL_EIO);
    for (int i = 0; i < 3; i++)
        bl_go(s, yield_and_count, &done);
    CHECK_EQ(bl_scope_wait(s), BL_EIO);
    CHECK_EQ(get(&done), 3);
    CHECK_EQ(bl_ctx_err(bl_scope_ctx(s)), 0);
    CHECK_EQ(bl_go(s, count_up, &done), 0);
    CHECK_EQ(bl_scope_wait(s), BL_EIO);
    CHECK_EQ(get(&done), 4);
}

TEST(causes)
{
    bl_scope s;
    CHECK_EQ(bl_scope_open(&s, NULL), 0);
    bl_scope_cancel(&s, BL_EBUSY);
    bl_scope_cancel(&s, BL_EIO);
    CHECK_EQ(bl_scope_wait(&s), BL_EBUSY);
    CHECK_EQ(bl_sleep(BL_HOUR), BL_ECANCELED);
    CHECK_EQ(bl_scope_close(&s), BL_EBUSY);

    CHECK_EQ(bl_scope_open(&s, NULL), 0);
    bl_go(&s, wait_stopped, NULL);
    CHECK_EQ(bl_scope_close(&s), 0); /* its own cancellation is not counted */

    CHECK_EQ(bl_scope_open(&s, NULL), 0);
    bl_go(&s, return_it, (void *)(intptr_t)BL_EIO);
    (void)!bl_sleep(BL_MS);
    CHECK_EQ(bl_scope_close(&s), BL_EIO);
}

TEST(positive_results_are_success)
{
    BL_SCOPE(s);
    bl_go(s, return_it, (void *)(intptr_t)42);
    CHECK_EQ(bl_scope_wait(s), 0);
}

/* ---- Deadlines ---- */

TEST(timeout)
{
    int stopped = 0;
    bl_time begin = bl_now();
    BL_SCOPE(s, .timeout = 20 * BL_MS);
    CHECK(bl_ctx_deadline(bl_scope_ctx(s), NULL));
    for (int i = 0; i < 3; i++)
        bl_go(s, wait_stopped, &stopped);
    CHECK_EQ(bl_scope_wait(s), BL_ETIMEDOUT);
    CHECK_EQ(get(&stopped), 3);
    CHECK_GE(bl_now() - begin, 20 * BL_MS);
    CHECK_LE(bl_now() - begin, 5 * BL_SEC);
    CHECK_EQ(bl_sleep(BL_HOUR), BL_ETIMEDOUT);
    CHECK_EQ(bl_go(s, count_up, &stopped), BL_ETIMEDOUT);
    CHECK_EQ(bl_ctx_cause(bl_scope_ctx(s)), BL_ETIMEDOUT);
}

TEST(the_earlier_deadline_counts)
{
    bl_time t;
    bl_time soon = bl_in(BL_MIN);
    BL_SCOPE(a, .timeout = BL_HOUR, .deadline = soon);
    CHECK(bl_ctx_deadline(bl_scope_ctx(a), &t));
    CHECK_EQ(t, soon);
    BL_SCOPE(b, .timeout = 2 * BL_HOUR);
    CHECK(bl_ctx_deadline(bl_scope_ctx(b), &t));
    CHECK_EQ(t, soon);
    BL_SCOPE(c, .deadline = BL_NEVER);
    CHECK(bl_ctx_deadline(bl_scope_ctx(c), &t));
    BL_SCOPE(d, .shield = true);
    CHECK(!bl_ctx_deadline(bl_scope_ctx(d), &t));
    BL_SCOPE(e, .deadline = bl_now() - 1);
    CHECK_EQ(bl_scope_wait(e), BL_ETIMEDOUT);
    CHECK_EQ(bl_go(e, return_it, NULL), BL_ETIMEDOUT);
}

TEST(shield)
{
    int stopped = 0;
    static const char key;
    bl_ctx *values = bl_ctx_with_value(bl_ctx_current(), &key, &stopped);
    REQUIRE(values);
    BL_SCOPE(a, .ctx = values);
    bl_ctx_release(values);
    {
        BL_SCOPE(b, .shield = true, .timeout = 30 * BL_MS);
        bl_scope_cancel(a, 0);
        CHECK_EQ(bl_ctx_err(bl_scope_ctx(b)), 0);
        CHECK(bl_ctx_value(bl_scope_ctx(b), &key) == &stopped);
        CHECK_EQ(bl_sleep(BL_MS), 0);
        bl_go(b, wait_stopped, &stopped);
        CHECK_EQ(bl_scope_wait(b), BL_ETIMEDOUT);
    }
    CHECK_EQ(get(&stopped), 1);
    CHECK_EQ(bl_scope_wait(a), BL_ECANCELED);
}

TEST(parent_context)
{
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    REQUIRE(c);
    BL_SCOPE(s, .ctx = c);
    bl_go(s, wait_stopped, NULL);
    bl_ctx_cancel(c, BL_EBUSY);
    CHECK_EQ(bl_scope_wait(s), BL_EBUSY);
    bl_ctx_release(c);
}

/* ---- Cancelling while others run, park and join ---- */

typedef struct canceller {
    bl_scope *scope;
    int spins;
} canceller;

static int cancel_soon(void *arg)
{
    canceller *c = arg;
    for (int i = 0; i < c->spins; i++)
        bl_yield();
    bl_scope_cancel(c->scope, BL_EBUSY);
    return 0;
}

static int sleep_shortly(void *arg)
{
    int r = 0;
    while (r == 0)
        r = bl_sleep(BL_US);
    add(arg, 1);
    return r;
}

TEST(cancel_races_with_join)
{
    BL_SCOPE(outside);
    for (int round = 0; round < 500; round++) {
        int stopped = 0;
        bl_scope s;
        CHECK_EQ(bl_scope_open(&s, NULL), 0);
        canceller c = {&s, round % 40};
        for (int i = 0; i < round % 5; i++)
            bl_go(&s, i % 2 ? wait_stopped : sleep_shortly, &stopped);
        bl_go(&s, cancel_soon, &c);
        CHECK_EQ(bl_scope_wait(&s), BL_EBUSY);
        CHECK_EQ(get(&stopped), round % 5);
        CHECK_EQ(bl_scope_close(&s), BL_EBUSY);
    }
    CHECK_EQ(bl_scope_wait(outside), 0);
}

TEST(many_waiters_are_woken)
{
    int stopped = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 5000; i++)
        bl_go(s, wait_stopped, &stopped);
    (void)!bl_sleep(BL_MS);
    bl_scope_cancel(s, 0);
    CHECK_EQ(bl_scope_wait(s), BL_ECANCELED);
    CHECK_EQ(get(&stopped), 5000);
}

static int cancel_it(void *arg)
{
    bl_scope_cancel(arg, BL_EIO);
    return 0;
}

TEST(cancelled_from_within)
{
    BL_SCOPE(s);
    bl_go(s, wait_stopped, NULL);
    bl_go(s, cancel_it, s);
    CHECK_EQ(bl_scope_wait(s), BL_EIO);
}

/* ---- Limit ---- */

typedef struct gauge {
    int now, most, done;
} gauge;

static int under_limit(void *arg)
{
    gauge *g = arg;
    int now = add(&g->now, 1);
    int most = get(&g->most);
    while (now > most && !__atomic_compare_exchange_n(&g->most, &most, now, false, __ATOMIC_ACQ_REL,
                                                      __ATOMIC_ACQUIRE))
        ;
    for (int i = 0; i < 3; i++)
        bl_yield();
    add(&g->now, -1);
    add(&g->done, 1);
    return 0;
}

TEST(limit_is_never_exceeded)
{
    gauge g = {0};
    BL_SCOPE(s, .limit = 3);
    for (int i = 0; i < 300; i++)
        CHECK_EQ(bl_go(s, under_limit, &g), 0);
    CHECK_EQ(bl_scope_wait(s), 0);
    CHECK_LE(g.most, 3);
    CHECK_EQ(g.done, 300);
}

typedef struct starter {
    bl_scope *scope;
    gauge *gauge;
    int result;
} starter;

static int start_many(void *arg)
{
    starter *st = arg;
    for (int i = 0; i < 100 && st->result == 0; i++)
        st->result = bl_go(st->scope, under_limit, st->gauge);
    return 0;
}

TEST(limit_with_many_starters)
{
    gauge g = {0};
    BL_SCOPE(s, .limit = 2);
    {
        BL_SCOPE(starters);
        starter st = {s, &g, 0};
        for (int i = 0; i < 8; i++)
            bl_go_copy(starters, start_many, &st, sizeof st);
        CHECK_EQ(bl_scope_wait(starters), 0);
    }
    CHECK_EQ(bl_scope_wait(s), 0);
    CHECK_LE(g.most, 2);
    CHECK_EQ(g.done, 800);
}

static int start_one(void *arg)
{
    starter *st = arg;
    __atomic_store_n(&st->result, bl_go(st->scope, count_up, &st->gauge->done), __ATOMIC_RELEASE);
    return 0;
}

/* The one that waits for room is in another scope than the one that is cancelled. */
TEST(waiting_for_room_ends_with_either_scope)
{
    for (int which = 0; which < 2; which++) {
        gauge g = {0};
        BL_SCOPE(s, .limit = 1);
        starter st = {s, &g, 1};
        bl_ctx *stranger = bl_ctx_with_cancel(bl_ctx_background());
        REQUIRE(stranger);
        BL_SCOPE(starters, .ctx = stranger);
        BL_SCOPE(holder, .shield = true);
        bl_go(s, wait_stopped, NULL);
        bl_go(starters, start_one, &st);
        (void)!bl_sleep(BL_MS);
        CHECK_EQ(get(&st.result), 1);
        if (which == 0)
            bl_scope_cancel(s, 0);
        else
            bl_ctx_cancel(stranger, 0);
        CHECK_EQ(bl_scope_wait(starters), which == 0 ? 0 : BL_ECANCELED);
        CHECK_EQ(get(&st.result), BL_ECANCELED);
        CHECK_EQ(g.done, 0);
        bl_ctx_release(stranger);
    }
}

/* ---- Options, plain threads, misuse ---- */

TEST(root)
{
    int done = 0;
    bl_scope *root = bl_root();
    CHECK_EQ(bl_go(root, count_up, &done), 0);
    CHECK_EQ(bl_scope_wait(root), 0);
    CHECK_EQ(get(&done), 1);
    CHECK(bl_ctx_current() == bl_scope_ctx(root));
    bl_go(root, wait_stopped, NULL); /* stopped when the main goroutine returns */
}

static void *open_on_thread(void *arg)
{
    bl_scope s;
    CHECK(bl_ctx_current() == bl_ctx_background());
    CHECK_EQ(bl_scope_open(&s, NULL), 0);
    CHECK(bl_ctx_current() == bl_scope_ctx(&s));
    for (int i = 0; i < 20; i++)
        CHECK_EQ(bl_go(&s, yield_and_count, arg), 0);
    CHECK_EQ(bl_scope_wait(&s), 0);
    CHECK_EQ(get(arg), 20);
    bl_go(&s, wait_stopped, arg);
    CHECK_EQ(bl_scope_close(&s), 0);
    CHECK_EQ(get(arg), 21);
    CHECK(bl_ctx_current() == bl_ctx_background());
    return NULL;
}

TEST(plain_threads_open_scopes)
{
    int done = 0;
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, open_on_thread, &done) == 0);
    while (get(&done) < 21)
        (void)!bl_sleep(100 * BL_US);
    pthread_join(thread, NULL);
}

TEST(resources_go_with_the_scope)
{
    for (int i = 0; i < 100; i++) {
        BL_SCOPE(s);
        bl_chan *c = bl_scope_chan(s, sizeof(int), 4);
        REQUIRE(c && bl_scope_chan(s, 0, 0) && bl_ticker_new(s, BL_HOUR));
        CHECK_EQ(bl_chan_try_send(c, &i), 0);
        bl_chan_retain(c);
        bl_scope_cancel(s, 0);
        CHECK_EQ(bl_scope_wait(s), BL_ECANCELED);
        int got = -1;
        CHECK_EQ(bl_chan_try_recv(c, &got), 0);
        CHECK_EQ(got, i);
        bl_chan_release(c);
    }
}

static int go_on_closed(void *arg)
{
    bl_scope s;
    bl_scope_open(&s, NULL);
    bl_scope_close(&s);
    bl_go(&s, return_it, arg);
    return 0;
}

static int close_twice(void *arg)
{
    bl_scope s;
    (void)arg;
    bl_scope_open(&s, NULL);
    bl_scope_close(&s);
    bl_scope_close(&s);
    return 0;
}

static int close_outer_first(void *arg)
{
    bl_scope a, b;
    (void)arg;
    bl_scope_open(&a, NULL);
    bl_scope_open(&b, NULL);
    bl_scope_close(&a);
    return 0;
}

static int close_it(void *arg) { return bl_scope_close(arg); }
static int close_by_stranger(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, close_it, s);
    return bl_scope_wait(s);
}

static int wait_for_it(void *arg) { return bl_scope_wait(arg); }
static int wait_by_stranger(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, wait_for_it, s);
    return bl_scope_wait(s);
}

static int leave_open(void *arg)
{
    (void)arg;
    static bl_scope left; /* the goroutine's frame does not keep it */
    bl_scope_open(&left, NULL);
    return 0;
}

static int child_leaves_open(void *arg)
{
    BL_SCOPE(s);
    bl_go(s, leave_open, arg);
    return bl_scope_wait(s);
}

TEST_PLAIN(misuse)
{
    CHECK_FATAL(go_on_closed, "bl_go on a closed scope");
    CHECK_FATAL(close_twice, "scope closed twice");
    CHECK_FATAL(close_outer_first, "which was opened inside it");
    CHECK_FATAL(close_by_stranger, "scope closed by a goroutine that did not open it");
    CHECK_FATAL(wait_by_stranger, "by a goroutine that did not open it");
    CHECK_FATAL(leave_open, "a scope left open");
    CHECK_FATAL(child_leaves_open, "a scope left open");
}
