/* SPDX-License-Identifier: MIT */
/*
 * scope_test.c: who is joined, who is cancelled, and what is returned. The grace report's text is
 * tested with the fatal errors.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>

#include "fatal.h"
#include "parked.h"
#include "run.h"

static bl_test *const t; /* the test that the caller is of */

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

BL_TEST(wait_joins_all)
{
    int done = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 100; i++)
        BL_CHECK_EQ(t, bl_go(s, yield_and_count, &done), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, get(&done), 100);
}

BL_TEST(wait_again_and_go_after)
{
    int done = 0;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int round = 1; round <= 50; round++) {
        BL_CHECK_EQ(t, bl_go(s, round % 2 ? count_up : yield_and_count, &done), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, get(&done), round);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
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

BL_TEST(every_path_out_joins)
{
    int stopped = 0;
    BL_CHECK_EQ(t, early_return(&stopped), 7);
    BL_CHECK_EQ(t, get(&stopped), 2);
    for (int i = 0; i < 2; i++) {
        BL_SCOPE(s);
        bl_go(s, wait_stopped, &stopped);
        if (i == 0)
            continue;
        break;
    }
    BL_CHECK_EQ(t, get(&stopped), 4);
}

typedef struct addend {
    int *sum;
    int n;
} addend;

static int add_to_sum(void *arg)
{
    const addend *a = arg;
    add(a->sum, a->n);
    return 0;
}

BL_TEST(arguments_live_as_long_as_their_block)
{
    int sum = 0;
    BL_SCOPE(s);
    bl_go(s, add_to_sum, &(addend){&sum, 1});
    bl_go(s, add_to_sum, &(addend){&sum, 20});
    bl_waitgroup wg = {0};
    bl_waitgroup_go(&wg, s, add_to_sum, &(addend){&sum, 300});
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, get(&sum), 321);
}

/* Starts n below itself, in the scope it was given. */
typedef struct tree {
    bl_scope *scope;
    int *done;
    int depth;
} tree;

static int grow(void *arg)
{
    tree *node = arg;
    add(node->done, 1);
    if (node->depth == 0)
        return 0;
    tree child = {node->scope, node->done, node->depth - 1};
    for (int i = 0; i < 3; i++)
        if (bl_go_copy(node->scope, grow, &child, sizeof child) < 0)
            return BL_ENOMEM;
    return 0;
}

BL_TEST(goroutines_start_others_in_their_scope)
{
    for (int round = 0; round < 50; round++) {
        int done = 0;
        BL_SCOPE(s);
        tree root = {s, &done, 5};
        BL_CHECK_EQ(t, bl_go_copy(s, grow, &root, sizeof root), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, get(&done), 1 + 3 + 9 + 27 + 81 + 243);
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

BL_TEST(frames_are_reused)
{
    int done = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 8; i++)
        bl_go(s, short_scope, &done);
    for (int i = 0; i < 2000; i++)
        BL_CHECK_EQ(t, short_scope(&done), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, get(&done), 3 * 2008);
}

BL_TEST(nested_scopes)
{
    int outer = 0, inner = 0;
    BL_SCOPE(a);
    bl_ctx *of_a = bl_ctx_current();
    BL_CHECK(t, of_a == bl_scope_ctx(a));
    bl_go(a, wait_stopped, &outer);
    {
        BL_SCOPE(b);
        BL_CHECK(t, bl_ctx_current() == bl_scope_ctx(b));
        bl_go(b, wait_stopped, &inner);
        bl_yield();
        bl_scope_cancel(b, 0);
        BL_CHECK_ERR(t, bl_scope_wait(b), BL_ECANCELED);
        BL_CHECK_EQ(t, bl_ctx_err(of_a), 0);
    }
    BL_CHECK(t, bl_ctx_current() == of_a);
    BL_CHECK_EQ(t, get(&inner), 1);
    BL_CHECK_EQ(t, get(&outer), 0);
    bl_scope_cancel(a, 0);
    BL_CHECK_ERR(t, bl_scope_wait(a), BL_ECANCELED);
    BL_CHECK_EQ(t, get(&outer), 1);
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

BL_TEST(cancellation_goes_down)
{
    int stopped = 0;
    opened = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 10; i++)
        bl_go(s, opens_below, &stopped);
    while (get(&opened) < 10) /* in a cancelled scope none would start */
        (void)!bl_sleep(BL_MS);
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
    BL_CHECK_EQ(t, get(&stopped), 40);
}

/* ---- Results ---- */

BL_TEST(first_error_wins_and_stops_the_others)
{
    int stopped = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 5; i++)
        bl_go(s, wait_stopped, &stopped);
    BL_CHECK(t, parked_wait(5));
    bl_go(s, return_it, (void *)(intptr_t)BL_EIO);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EIO);
    BL_CHECK_EQ(t, get(&stopped), 5);
    BL_CHECK_ERR(t, bl_ctx_err(bl_scope_ctx(s)), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_ctx_cause(bl_scope_ctx(s)), BL_EIO);
    BL_CHECK_ERR(t, bl_go(s, return_it, NULL), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EIO);
}

BL_TEST(canceled_before_cancellation_is_an_error)
{
    BL_SCOPE(s);
    bl_go(s, return_it, (void *)(intptr_t)BL_ECANCELED);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_ctx_err(bl_scope_ctx(s)), BL_ECANCELED);
}

static int fail_when_stopped(void *arg)
{
    (void)!bl_sleep(BL_HOUR);
    return (int)(intptr_t)arg;
}

BL_TEST(error_after_cancellation_counts)
{
    BL_SCOPE(s);
    bl_go(s, wait_stopped, NULL);
    bl_go(s, fail_when_stopped, (void *)(intptr_t)BL_EPIPE);
    BL_CHECK(t, parked_wait(2));
    bl_scope_cancel(s, BL_EBUSY);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EPIPE);
    BL_CHECK_ERR(t, bl_ctx_cause(bl_scope_ctx(s)), BL_EBUSY);
}

BL_TEST(keep_going)
{
    int done = 0;
    BL_SCOPE(s, .keep_going = true);
    bl_go(s, return_it, (void *)(intptr_t)BL_EIO);
    for (int i = 0; i < 3; i++)
        bl_go(s, yield_and_count, &done);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EIO);
    BL_CHECK_EQ(t, get(&done), 3);
    BL_CHECK_EQ(t, bl_ctx_err(bl_scope_ctx(s)), 0);
    BL_CHECK_EQ(t, bl_go(s, count_up, &done), 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EIO);
    BL_CHECK_EQ(t, get(&done), 4);
}

BL_TEST(causes)
{
    bl_scope s;
    BL_CHECK_EQ(t, bl_scope_open(&s, NULL), 0);
    bl_scope_cancel(&s, BL_EBUSY);
    bl_scope_cancel(&s, BL_EIO);
    BL_CHECK_ERR(t, bl_scope_wait(&s), BL_EBUSY);
    BL_CHECK_ERR(t, bl_sleep(BL_HOUR), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_scope_close(&s), BL_EBUSY);

    BL_CHECK_EQ(t, bl_scope_open(&s, NULL), 0);
    bl_go(&s, wait_stopped, NULL);
    BL_CHECK_EQ(t, bl_scope_close(&s), 0); /* its own cancellation is not counted */

    BL_CHECK_EQ(t, bl_scope_open(&s, NULL), 0);
    bl_go(&s, return_it, (void *)(intptr_t)BL_EIO);
    BL_CHECK_ERR(t, bl_sleep(BL_HOUR), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_scope_close(&s), BL_EIO);
}

BL_TEST(positive_results_are_success)
{
    BL_SCOPE(s);
    bl_go(s, return_it, (void *)(intptr_t)42);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- Deadlines ---- */

BL_TEST(timeout)
{
    int stopped = 0, started = 0;
    bl_time begin = bl_now();
    BL_SCOPE(s, .timeout = 20 * BL_MS);
    BL_CHECK(t, bl_ctx_deadline(bl_scope_ctx(s), NULL));
    for (int i = 0; i < 3; i++)
        started += bl_go(s, wait_stopped, &stopped) == 0;
    BL_CHECK(t, started == 3 || bl_now() - begin >= 20 * BL_MS);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, get(&stopped), started);
    BL_CHECK_GE(t, bl_now() - begin, 20 * BL_MS);
    BL_CHECK_LE(t, bl_now() - begin, 5 * BL_SEC);
    BL_CHECK_ERR(t, bl_sleep(BL_HOUR), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_go(s, count_up, &stopped), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_ctx_cause(bl_scope_ctx(s)), BL_ETIMEDOUT);
}

BL_TEST(the_earlier_deadline_counts)
{
    bl_time at;
    bl_time soon = bl_in(BL_MIN);
    BL_SCOPE(a, .timeout = BL_HOUR, .deadline = soon);
    BL_CHECK(t, bl_ctx_deadline(bl_scope_ctx(a), &at));
    BL_CHECK_EQ(t, at, soon);
    BL_SCOPE(b, .timeout = 2 * BL_HOUR);
    BL_CHECK(t, bl_ctx_deadline(bl_scope_ctx(b), &at));
    BL_CHECK_EQ(t, at, soon);
    BL_SCOPE(c, .deadline = BL_NEVER);
    BL_CHECK(t, bl_ctx_deadline(bl_scope_ctx(c), &at));
    BL_SCOPE(d, .shield = true);
    BL_CHECK(t, !bl_ctx_deadline(bl_scope_ctx(d), &at));
    BL_SCOPE(e, .deadline = bl_now() - 1);
    BL_CHECK_ERR(t, bl_scope_wait(e), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_go(e, return_it, NULL), BL_ETIMEDOUT);
}

BL_TEST(shield)
{
    int stopped = 0, started;
    static const char key;
    bl_ctx *values = bl_ctx_with_value(bl_ctx_current(), &key, &stopped);
    BL_REQUIRE(t, values);
    BL_SCOPE(a, .ctx = values);
    bl_ctx_release(values);
    {
        BL_SCOPE(b, .shield = true);
        bl_scope_cancel(a, 0);
        BL_CHECK_EQ(t, bl_ctx_err(bl_scope_ctx(b)), 0);
        BL_CHECK(t, bl_ctx_value(bl_scope_ctx(b), &key) == &stopped);
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    }
    {
        BL_SCOPE(b, .shield = true, .timeout = 30 * BL_MS);
        started = bl_go(b, wait_stopped, &stopped) == 0;
        BL_CHECK_ERR(t, bl_scope_wait(b), BL_ETIMEDOUT);
    }
    BL_CHECK_EQ(t, get(&stopped), started);
    BL_CHECK_ERR(t, bl_scope_wait(a), BL_ECANCELED);
}

BL_TEST(parent_context)
{
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    BL_REQUIRE(t, c);
    BL_SCOPE(s, .ctx = c);
    bl_go(s, wait_stopped, NULL);
    bl_ctx_cancel(c, BL_EBUSY);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EBUSY);
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

BL_TEST(cancel_races_with_join)
{
    BL_SCOPE(outside);
    for (int round = 0; round < 500; round++) {
        int stopped = 0;
        bl_scope s;
        BL_CHECK_EQ(t, bl_scope_open(&s, NULL), 0);
        canceller c = {&s, round % 40};
        for (int i = 0; i < round % 5; i++)
            bl_go(&s, i % 2 ? wait_stopped : sleep_shortly, &stopped);
        bl_go(&s, cancel_soon, &c);
        BL_CHECK_ERR(t, bl_scope_wait(&s), BL_EBUSY);
        BL_CHECK_EQ(t, get(&stopped), round % 5);
        BL_CHECK_ERR(t, bl_scope_close(&s), BL_EBUSY);
    }
    BL_CHECK_EQ(t, bl_scope_wait(outside), 0);
}

BL_TEST(many_waiters_are_woken)
{
    int stopped = 0;
    BL_SCOPE(s);
    for (int i = 0; i < 5000; i++)
        bl_go(s, wait_stopped, &stopped);
    BL_CHECK(t, parked_wait(5000));
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
    BL_CHECK_EQ(t, get(&stopped), 5000);
}

static int cancel_it(void *arg)
{
    bl_scope_cancel(arg, BL_EIO);
    return 0;
}

BL_TEST(cancelled_from_within)
{
    BL_SCOPE(s);
    bl_go(s, wait_stopped, NULL);
    bl_go(s, cancel_it, s);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EIO);
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

BL_TEST(limit_is_never_exceeded)
{
    gauge g = {0};
    BL_SCOPE(s, .limit = 3);
    for (int i = 0; i < 300; i++)
        BL_CHECK_EQ(t, bl_go(s, under_limit, &g), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_LE(t, g.most, 3);
    BL_CHECK_EQ(t, g.done, 300);
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

BL_TEST(limit_with_many_starters)
{
    gauge g = {0};
    BL_SCOPE(s, .limit = 2);
    {
        BL_SCOPE(starters);
        starter st = {s, &g, 0};
        for (int i = 0; i < 8; i++)
            bl_go_copy(starters, start_many, &st, sizeof st);
        BL_CHECK_EQ(t, bl_scope_wait(starters), 0);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_LE(t, g.most, 2);
    BL_CHECK_EQ(t, g.done, 800);
}

static int start_one(void *arg)
{
    starter *st = arg;
    __atomic_store_n(&st->result, bl_go(st->scope, count_up, &st->gauge->done), __ATOMIC_RELEASE);
    return 0;
}

/* The one that waits for room is in another scope than the one that is cancelled. */
BL_TEST(waiting_for_room_ends_with_either_scope)
{
    for (int which = 0; which < 2; which++) {
        gauge g = {0};
        BL_SCOPE(s, .limit = 1);
        starter st = {s, &g, 1};
        bl_ctx *stranger = bl_ctx_with_cancel(bl_ctx_background());
        BL_REQUIRE(t, stranger);
        BL_SCOPE(starters, .ctx = stranger);
        BL_SCOPE(holder, .shield = true);
        bl_go(s, wait_stopped, NULL);
        bl_go(starters, start_one, &st);
        BL_CHECK(t, parked_wait(2));
        BL_CHECK_EQ(t, get(&st.result), 1);
        if (which == 0)
            bl_scope_cancel(s, 0);
        else
            bl_ctx_cancel(stranger, 0);
        BL_CHECK_EQ(t, bl_scope_wait(starters), which == 0 ? 0 : BL_ECANCELED);
        BL_CHECK_ERR(t, get(&st.result), BL_ECANCELED);
        BL_CHECK_EQ(t, g.done, 0);
        bl_ctx_release(stranger);
    }
}

/* The only place there is goes on to who waits for it. */
BL_TEST(limit_of_one)
{
    gauge g = {0};
    BL_SCOPE(s, .limit = 1);
    for (int i = 0; i < 20; i++)
        BL_CHECK_EQ(t, bl_go(s, under_limit, &g), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, g.most, 1);
    BL_CHECK_EQ(t, g.done, 20);
}

static int receive_one(void *arg) { return bl_chan_recv(arg, NULL); }

/* A timer's function is started although all places are taken; its end makes no room. */
BL_TEST(limit_and_who_is_started_beyond_it)
{
    gauge g = {0};
    BL_SCOPE(s, .limit = 1);
    bl_chan *within = bl_scope_chan(s, 0, 0), *beyond = bl_scope_chan(s, 0, 0);
    starter st = {s, &g, 1};
    bl_timer timer = {0};
    BL_SCOPE(starters);
    BL_CHECK_EQ(t, bl_go(s, receive_one, within), 0);
    BL_CHECK_EQ(t, bl_after_func(&timer, s, 0, receive_one, beyond), 0);
    BL_CHECK_EQ(t, bl_go(starters, start_one, &st), 0);
    BL_CHECK(t, parked_wait(3));
    BL_CHECK_EQ(t, bl_chan_send(beyond, NULL), 0);
    BL_CHECK(t, !bl_timer_stop_wait(&timer));
    for (int i = 0; i < 100; i++)
        bl_yield();
    BL_CHECK_EQ(t, get(&st.result), 1);
    BL_CHECK_EQ(t, bl_chan_send(within, NULL), 0);
    BL_CHECK_EQ(t, bl_scope_wait(starters), 0);
    BL_CHECK_EQ(t, get(&st.result), 0);
}

/* ---- Options, plain threads, misuse ---- */

RUN_TEST(root)
{
    int done = 0;
    bl_scope *root = bl_root();
    BL_CHECK_EQ(t, bl_id(), 1);
    BL_CHECK_EQ(t, bl_go(root, count_up, &done), 0);
    BL_CHECK_EQ(t, bl_scope_wait(root), 0);
    BL_CHECK_EQ(t, get(&done), 1);
    BL_CHECK(t, bl_ctx_current() == bl_scope_ctx(root));
    bl_go(root, wait_stopped, NULL); /* stopped when the main goroutine returns */
}

static void *open_on_thread(void *arg)
{
    bl_scope s;
    BL_CHECK(t, bl_ctx_current() == bl_ctx_background());
    BL_CHECK_EQ(t, bl_scope_open(&s, NULL), 0);
    BL_CHECK(t, bl_ctx_current() == bl_scope_ctx(&s));
    for (int i = 0; i < 20; i++)
        BL_CHECK_EQ(t, bl_go(&s, yield_and_count, arg), 0);
    BL_CHECK_EQ(t, bl_scope_wait(&s), 0);
    BL_CHECK_EQ(t, get(arg), 20);
    bl_go(&s, wait_stopped, arg);
    BL_CHECK_EQ(t, bl_scope_close(&s), 0);
    BL_CHECK_EQ(t, get(arg), 21);
    BL_CHECK(t, bl_ctx_current() == bl_ctx_background());
    return NULL;
}

BL_TEST(plain_threads_open_scopes)
{
    int done = 0;
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, open_on_thread, &done) == 0);
    while (get(&done) < 21)
        (void)!bl_sleep(100 * BL_US);
    pthread_join(thread, NULL);
}

BL_TEST(resources_go_with_the_scope)
{
    for (int i = 0; i < 100; i++) {
        BL_SCOPE(s);
        bl_chan *c = bl_scope_chan(s, sizeof(int), 4);
        BL_REQUIRE(t, c && bl_scope_chan(s, 0, 0) && bl_ticker_new(s, BL_HOUR));
        BL_CHECK_EQ(t, bl_chan_try_send(c, &i), 0);
        bl_chan_retain(c);
        bl_scope_cancel(s, 0);
        BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
        int got = -1;
        BL_CHECK_EQ(t, bl_chan_try_recv(c, &got), 0);
        BL_CHECK_EQ(t, got, i);
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

static int go_on_gone(void *arg)
{
    static bl_scope gone; /* as one whose frame others have used since */
    memset(&gone, 1, sizeof gone);
    return bl_go(&gone, go_on_gone, arg);
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

static int go_of_nothing(void *arg)
{
    BL_SCOPE(s);
    return bl_go(s, NULL, arg);
}

static int nothing_way;

static int go_of_nothing_later(void *arg)
{
    static bl_timer timer;
    static bl_waitgroup wg;
    BL_SCOPE(s);
    switch (nothing_way) {
    case 0: return bl_after_func(&timer, s, BL_HOUR, NULL, arg);
    case 1: return bl_waitgroup_go(&wg, s, NULL, arg);
    case 2: return bl_ctx_after(bl_scope_ctx(s), s, NULL, arg) == NULL;
    default: return bl_pool_submit(bl_pool_new(s, NULL), NULL, arg);
    }
}

BL_TEST_PLAIN(misuse)
{
    CHECK_FATAL(t, go_of_nothing, "go of nil func value");
    for (nothing_way = 0; nothing_way < 4; nothing_way++)
        CHECK_FATAL(t, go_of_nothing_later, "go of nil func value");
    CHECK_FATAL(t, go_on_closed, "bl_go on a closed scope");
    CHECK_FATAL(t, go_on_gone,
                "bl_go on a scope that is not open: it never was, or its block has ended");
    CHECK_FATAL(t, close_twice, "scope closed twice");
    CHECK_FATAL(t, close_outer_first, "which was opened inside it");
    CHECK_FATAL(t, close_by_stranger, "scope closed by a goroutine that did not open it");
    CHECK_FATAL(t, wait_by_stranger, "by a goroutine that did not open it");
    CHECK_FATAL(t, leave_open, "a scope left open");
    CHECK_FATAL(t, child_leaves_open, "a scope left open");
}
