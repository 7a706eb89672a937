/* SPDX-License-Identifier: MIT */
/*
 * pool_test.c: worker pools: order, bound and back-pressure, jobs that fail or hang, drain, stop,
 * and what a scope's cancellation and close do. Every job is accounted for: submitted = done +
 * discarded, attempts = submitted + refused.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <unistd.h>

#include "calls.h"
#include "core/sched.h"
#include "fatal.h"
#include "parked.h"

static bl_test *const t; /* the test that the caller is of */

static int add(int *counter, int n) { return __atomic_add_fetch(counter, n, __ATOMIC_ACQ_REL); }
static int get(int *counter) { return __atomic_load_n(counter, __ATOMIC_ACQUIRE); }

static int count_up(void *arg)
{
    add(arg, 1);
    return 0;
}

/* What on_discard has been given; each test that uses it sets it to 0. */
static int discards;

static void count_discard(bl_fn fn, void *arg)
{
    BL_CHECK(t, fn != NULL && arg != NULL);
    add(&discards, 1);
}

/* A job that waits until the test lets it go, or until it is stopped. */
typedef struct gate {
    bl_chan *open; /* closed to let all go */
    int entered;   /* atomic */
    int left;      /* atomic */
    int result;    /* atomic: of the last one's wait */
} gate;

static int gate_job(void *arg)
{
    gate *g = arg;
    add(&g->entered, 1);
    int r = bl_chan_recv(g->open, NULL);
    __atomic_store_n(&g->result, r, __ATOMIC_RELEASE);
    add(&g->left, 1);
    return r == BL_ECLOSED ? 0 : r;
}

static bool gate_await(gate *g, int n)
{
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end; bl_yield())
        if (get(&g->entered) >= n)
            return true;
    return false;
}

static bl_pool_stat stats(bl_pool *p)
{
    bl_pool_stat st;
    bl_pool_stats(p, &st);
    BL_CHECK_EQ(t, st.submitted, st.done + st.discarded + st.queued + st.running);
    return st;
}

/* ---- Running ---- */

BL_TEST(runs_every_job)
{
    enum { JOBS = 10000 };
    int ran = 0;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 4, .queue = 16, .name = "jobs"});
    BL_REQUIRE(t, p != NULL);
    for (int i = 0; i < JOBS; i++)
        BL_CHECK_EQ(t, bl_pool_submit(p, count_up, &ran), 0);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, ran, JOBS);
    bl_pool_stat st = stats(p);
    BL_CHECK_EQ(t, st.submitted, JOBS);
    BL_CHECK_EQ(t, st.done, JOBS);
    BL_CHECK_EQ(t, st.failed + st.discarded + st.refused + st.queued + st.running, 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

static int defaults_main(void *arg)
{
    (void)arg;
    int ran = 0;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, NULL);
    if (!p)
        return BL_ENOMEM;
    for (int i = 0; i < 1000; i++)
        BL_CHECK_EQ(t, bl_pool_submit(p, count_up, &ran), 0);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, ran, 1000);
    BL_CHECK(t, bl_pool_new(s, &(bl_pool_opts){.workers = -1}) == NULL);
    BL_CHECK(t, bl_pool_new(s, &(bl_pool_opts){.queue = SIZE_MAX}) == NULL);
    return 0;
}

BL_TEST(defaults) { BL_CHECK_EQ(t, defaults_main(NULL), 0); }

typedef struct order {
    int at;
    int numbers[100];
} order;

static order sequence;

static int note_number(void *arg)
{
    sequence.numbers[sequence.at++] = (int)(intptr_t)arg;
    return 0;
}

BL_TEST(one_worker_keeps_the_order)
{
    sequence.at = 0;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 3});
    for (intptr_t i = 0; i < 100; i++)
        BL_CHECK_EQ(t, bl_pool_submit(p, note_number, (void *)i), 0);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_REQUIRE(t, sequence.at == 100);
    for (int i = 0; i < 100; i++)
        BL_CHECK_EQ(t, sequence.numbers[i], i);
}

BL_TEST(as_many_at_once_as_workers)
{
    BL_SCOPE(s);
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 3, .queue = 5});
    for (int i = 0; i < 8; i++) {
        BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
        BL_CHECK(t, gate_await(&g, i < 3 ? i + 1 : 3));
    }
    bl_pool_stat st = stats(p);
    BL_CHECK_EQ(t, st.running, 3);
    BL_CHECK_EQ(t, st.queued, 5);
    BL_CHECK_ERR(t, bl_pool_try_submit(p, gate_job, &g), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_pool_submit_until(p, gate_job, &g, bl_in(BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_pool_submit_until(p, gate_job, &g, 0), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, get(&g.entered), 3);
    bl_chan_close(g.open);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, g.left, 8);
    st = stats(p);
    BL_CHECK_EQ(t, st.done, 8);
    BL_CHECK_EQ(t, st.refused, 3);
}

/* ---- Back-pressure ---- */

static int submit_gate(call *c)
{
    int r = c->deadline != 0 ? bl_pool_submit_until(c->obj, gate_job, c->m, c->deadline)
                             : bl_pool_submit(c->obj, gate_job, c->m);
    call_turn(c);
    return r;
}

static call submit_call(bl_pool *p, gate *g)
{
    return (call){.fn = submit_gate, .obj = p, .m = (bl_mutex *)(void *)g, .result = CALL_PENDING};
}

/* One that has no room: its worker waits at the gate, and so will the job behind. */
static bl_pool *full_pool(bl_scope *s, gate *g)
{
    *g = (gate){.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 1});
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, g), 0);
    BL_CHECK(t, gate_await(g, 1));
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, g), 0);
    return p;
}

BL_TEST(submit_waits_for_room)
{
    BL_SCOPE(s);
    gate g;
    bl_pool *p = full_pool(s, &g);
    call c = submit_call(p, &g);
    bl_go(s, call_run, &c);
    BL_CHECK(t, call_parked(&c));
    BL_CHECK_EQ(t, call_result(&c), CALL_PENDING);
    BL_CHECK_EQ(t, stats(p).submitted, 2);
    bl_chan_close(g.open);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0); /* waits for the jobs, not for the pool */
    BL_CHECK_EQ(t, call_result(&c), 0);
    BL_CHECK_EQ(t, g.left, 3);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
}

BL_TEST(a_waiting_submit_is_a_stop_path)
{
    BL_SCOPE(s);
    gate g;
    bl_pool *p = full_pool(s, &g);
    {
        BL_SCOPE(inner);
        call c = submit_call(p, &g);
        bl_go(inner, call_run, &c);
        BL_CHECK(t, call_parked(&c));
        bl_scope_cancel(inner, 0);
        (void)bl_scope_wait(inner);
        BL_CHECK_ERR(t, call_result(&c), BL_ECANCELED);
    }
    {
        BL_SCOPE(inner, .timeout = BL_MS);
        BL_CHECK_ERR(t, bl_pool_submit(p, gate_job, &g), BL_ETIMEDOUT);
    }
    bl_chan_close(g.open);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    bl_pool_stat st = stats(p);
    BL_CHECK_EQ(t, st.done, 2);
    BL_CHECK_EQ(t, st.refused, 2);
}

static int stopped_while_it_ends(void *arg)
{
    (void)arg;
    BL_SCOPE(submitters);
    BL_SCOPE(s, .ctx = bl_ctx_background());
    gate g;
    bl_pool *p = full_pool(s, &g);
    call c = submit_call(p, &g);
    bl_go(submitters, call_run, &c);
    BL_CHECK(t, call_parked(&c));
    bl_scope_cancel(submitters, 0); /* it is to run, and does not yet */
    bl_chan_close(g.open);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    bl_pool_stat st = stats(p);
    BL_CHECK_EQ(t, st.done, 2);
    BL_CHECK_EQ(t, st.refused, 1);
    return 0;
}

/* The pool does not end before a submit that was stopped has come back to it: it might be freed. */
BL_TEST_PLAIN(the_end_waits_for_a_submit_that_was_stopped)
{
    BL_CHECK_EQ(t, bl_run(stopped_while_it_ends, NULL, &(bl_options){.procs = 1}), 0);
}

static int stopped_beside_another(void *arg)
{
    (void)arg;
    BL_SCOPE(submitters);
    BL_SCOPE(s, .ctx = bl_ctx_background());
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 1});
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    BL_CHECK(t, gate_await(&g, 1));
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    call stopped = submit_call(p, &g), other = submit_call(p, &g);
    bl_go(submitters, call_run, &stopped);
    BL_CHECK(t, call_parked(&stopped));
    bl_go(s, call_run, &other);
    BL_CHECK(t, call_parked(&other));
    bl_scope_cancel(submitters, 0); /* it is to run, and does not yet */
    bl_chan_close(g.open);
    BL_CHECK(t, call_returns(&other));
    BL_CHECK_EQ(t, call_result(&other), 0);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, stats(p).done, 3);
    return 0;
}

/* The room that a worker makes goes to who waits still. */
BL_TEST_PLAIN(a_submit_that_was_stopped_takes_no_room)
{
    BL_CHECK_EQ(t, bl_run(stopped_beside_another, NULL, &(bl_options){.procs = 1}), 0);
}

BL_TEST(close_refuses_who_waits)
{
    BL_SCOPE(s);
    gate g;
    bl_pool *p = full_pool(s, &g);
    call c = submit_call(p, &g);
    bl_go(s, call_run, &c);
    BL_CHECK(t, call_parked(&c));
    BL_CHECK_EQ(t, bl_pool_stop(p, 0), 1); /* cancels the one that runs */
    BL_CHECK_ERR(t, g.result, BL_ECANCELED);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0); /* and not the scope */
    BL_CHECK_ERR(t, call_result(&c), BL_ECLOSED);
    BL_CHECK_ERR(t, bl_pool_submit(p, gate_job, &g), BL_ECLOSED);
    BL_CHECK_ERR(t, bl_pool_try_submit(p, gate_job, &g), BL_ECLOSED);
    BL_CHECK_ERR(t, bl_pool_submit_until(p, gate_job, &g, BL_NEVER), BL_ECLOSED);
    bl_pool_stat st = stats(p);
    BL_CHECK_EQ(t, st.submitted, 2);
    BL_CHECK_EQ(t, st.done, 1);
    BL_CHECK_EQ(t, st.failed, 0);
    BL_CHECK_EQ(t, st.discarded, 1);
    BL_CHECK_EQ(t, st.refused, 4);
}

/* ---- Jobs that fail, hang, leave things behind ---- */

static int fail(void *arg)
{
    add(arg, 1);
    return BL_EIO;
}

BL_TEST(a_failing_job_stops_nothing)
{
    int ran = 0;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 2, .queue = 4});
    for (int i = 0; i < 50; i++)
        BL_CHECK_EQ(t, bl_pool_submit(p, i % 2 ? fail : count_up, &ran), 0);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, ran, 50);
    BL_CHECK_EQ(t, stats(p).failed, 25);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

BL_TEST(a_hanging_job_keeps_one_worker)
{
    int ran = 0;
    BL_SCOPE(s);
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 2, .queue = 4});
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    for (int i = 0; i < 100; i++)
        BL_CHECK_EQ(t, bl_pool_submit(p, count_up, &ran), 0);
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end && get(&ran) < 100;)
        bl_yield();
    BL_CHECK_EQ(t, get(&ran), 100);
    BL_CHECK_EQ(t, get(&g.left), 0);
    BL_CHECK_EQ(t, bl_pool_stop(p, 10 * BL_MS), 0);
    BL_CHECK_ERR(t, g.result, BL_ECANCELED);
}

static int labelled(void *arg)
{
    add(arg, 1);
    return bl_label("job", "labelled");
}

static int open_and_close(void *arg)
{
    bl_ctx *before = bl_ctx_current();
    {
        BL_SCOPE(s);
        bl_go(s, count_up, arg);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    }
    BL_CHECK(t, bl_ctx_current() == before);
    return bl_sleep(BL_US);
}

BL_TEST(jobs_use_scopes_labels_and_submit)
{
    int ran = 0;
    BL_SCOPE(s, .limit = 1);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 3, .queue = 2});
    for (int i = 0; i < 30; i++) {
        BL_CHECK_EQ(t, bl_pool_submit(p, labelled, &ran), 0);
        BL_CHECK_EQ(t, bl_pool_submit(p, open_and_close, &ran), 0);
    }
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, ran, 60);
    BL_CHECK_EQ(t, stats(p).failed, 0);
}

typedef struct seen {
    bl_mutex m;
    int held, told;  /* how often a job has ended with m, and by the next job */
    uint64_t parent; /* of the worker */
    bool labels;     /* a job after one that has set some has others than its pool */
    const bl__labels *own;
} seen;
static seen saw;

static bool saw_held(const bl__g *g, const char *kind, const void *lock)
{
    (void)g, (void)kind;
    saw.held += lock == &saw.m;
    return false;
}

static int leaves_things(void *arg)
{
    bl_mutex_lock(&((seen *)arg)->m);
    return bl_label("job", "the one before");
}

static int sees_things(void *arg)
{
    seen *s = arg;
    s->parent = bl__self()->parent;
    s->told = s->held;
    s->labels = bl__self()->labels != s->own;
    return 0;
}

static int submits_things(void *arg)
{
    int r = bl_pool_submit(arg, leaves_things, &saw);
    return r != 0 ? r : bl_pool_submit(arg, sees_things, &saw);
}

/* A job's locks are told of, and its labels are its own; nor has it to do with who submitted the job
 * that its worker was started for. */
BL_TEST(what_a_job_leaves_behind)
{
    bool (*hook)(const bl__g *g, const char *kind, const void *lock) = bl__held_hook;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 4});
    saw = (seen){.labels = true, .own = bl__self()->labels};
    bl__held_hook = saw_held;
    BL_CHECK_EQ(t, bl_go(s, submits_things, p), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    bl__held_hook = hook;
    BL_CHECK_EQ(t, saw.told, 1);
    BL_CHECK_EQ(t, saw.held, 1);
    BL_CHECK(t, !saw.labels);
    BL_CHECK_EQ(t, saw.parent, bl_id());
}

typedef struct tree {
    bl_pool *p;
    int ran; /* atomic */
} tree;

static int grow(void *arg)
{
    tree *node = arg;
    if (add(&node->ran, 1) < 20)
        BL_CHECK_EQ(t, bl_pool_submit(node->p, grow, node), 0);
    return 0;
}

BL_TEST(a_job_submits_the_next)
{
    BL_SCOPE(s);
    tree node = {.p = bl_pool_new(s, &(bl_pool_opts){.workers = 2, .queue = 4})};
    BL_CHECK_EQ(t, bl_pool_submit(node.p, grow, &node), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, node.ran, 20);
}

/* ---- Drain and stop ---- */

static int drain_call(call *c) { return bl_pool_drain(c->obj); }
static int stop_call(call *c) { return bl_pool_stop(c->obj, c->deadline); }

BL_TEST(drain_twice_and_by_several)
{
    BL_SCOPE(s);
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 4});
    for (int i = 0; i < 3; i++)
        BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    call c[3];
    for (int i = 0; i < 3; i++) {
        c[i] = (call){.fn = drain_call, .obj = p, .result = CALL_PENDING};
        bl_go(s, call_run, &c[i]);
        BL_CHECK(t, call_parked(&c[i]));
        BL_CHECK_EQ(t, call_result(&c[i]), CALL_PENDING);
    }
    BL_CHECK_ERR(t, bl_pool_submit(p, gate_job, &g), BL_ECLOSED);
    bl_chan_close(g.open);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 0; i < 3; i++)
        BL_CHECK_EQ(t, call_result(&c[i]), 0);
    BL_CHECK_EQ(t, g.left, 3);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, bl_pool_stop(p, BL_SEC), 0);
}

BL_TEST(drain_of_an_unused_pool)
{
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, NULL);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_EQ(t, bl_pool_stop(bl_pool_new(s, NULL), 0), 0);
}

BL_TEST(stop_during_a_drain)
{
    discards = 0;
    BL_SCOPE(s);
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p =
        bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 8, .on_discard = count_discard});
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    BL_CHECK(t, gate_await(&g, 1));
    for (int i = 0; i < 5; i++)
        BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    call c = {.fn = drain_call, .obj = p, .result = CALL_PENDING};
    bl_go(s, call_run, &c);
    BL_CHECK(t, call_parked(&c));
    BL_CHECK_EQ(t, bl_pool_stop(p, 0), 5);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, call_result(&c), 0);
    BL_CHECK_EQ(t, discards, 5);
    BL_CHECK_EQ(t, g.left, 1);
}

/* Who has waited for the end of a drain is told of that, and not of the cancellation that came then. */
BL_TEST(a_drain_that_is_cancelled)
{
    BL_SCOPE(outer);
    {
        BL_SCOPE(s);
        gate g = {.open = bl_scope_chan(s, 0, 0)};
        bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 1});
        BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
        BL_CHECK(t, gate_await(&g, 1));
        call c = {.fn = drain_call, .obj = p};
        call_parks(outer, &c);
        bl_scope_cancel(s, 0);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_ERR(t, bl_pool_submit(p, gate_job, &g), BL_ECLOSED);
    }
    BL_CHECK_EQ(t, bl_scope_wait(outer), 0);
}

/* A job that says that its scope's time was over has not failed. In virtual time it has begun by
 * then. */
static void time_over_fn(bl_test *bubble, void *arg)
{
    (void)arg;
    BL_SCOPE(s, .timeout = 5 * BL_MS, .keep_going = true);
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1});
    BL_CHECK_EQ(bubble, bl_pool_submit(p, gate_job, &g), 0);
    BL_CHECK_ERR(bubble, bl_sleep(BL_SEC), BL_ETIMEDOUT);
    BL_CHECK_EQ(bubble, bl_pool_drain(p), 0);
    bl_pool_stat st = stats(p);
    BL_CHECK_ERR(bubble, g.result, BL_ETIMEDOUT);
    BL_CHECK_EQ(bubble, st.done, 1);
    BL_CHECK_EQ(bubble, st.failed, 0);
}

BL_TEST(jobs_of_a_scope_whose_time_is_over) { bl_bubble(NULL, time_over_fn, NULL); }

BL_TEST(stop_leaves_the_grace)
{
    discards = 0;
    BL_SCOPE(s);
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p =
        bl_pool_new(s, &(bl_pool_opts){.workers = 2, .queue = 8, .on_discard = count_discard});
    for (int i = 0; i < 2; i++) {
        BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
        BL_CHECK(t, gate_await(&g, i + 1));
    }
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    call c = {.fn = stop_call, .obj = p, .deadline = BL_NEVER, .result = CALL_PENDING};
    bl_go(s, call_run, &c);
    BL_CHECK(t, call_parked(&c));
    BL_CHECK_EQ(t, get(&discards), 1); /* at once */
    BL_CHECK_EQ(t, get(&g.left), 0);
    bl_chan_close(g.open);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, call_result(&c), 1);
    BL_CHECK_ERR(t, g.result, BL_ECLOSED); /* they ended by themselves */
    BL_CHECK_EQ(t, stats(p).done, 2);
}

BL_TEST(stop_cancels_after_the_grace)
{
    BL_SCOPE(s);
    gate g = {.open = bl_scope_chan(s, 0, 0)};
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 2});
    BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    BL_CHECK(t, gate_await(&g, 1));
    bl_time before = bl_now();
    BL_CHECK_EQ(t, bl_pool_stop(p, 20 * BL_MS), 0);
    BL_CHECK_GE(t, bl_now() - before, 20 * BL_MS);
    BL_CHECK_ERR(t, g.result, BL_ECANCELED);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- The scope ---- */

BL_TEST(cancelling_the_scope_stops_the_pool)
{
    discards = 0;
    gate g = {.open = bl_chan_new(0, 0)};
    {
        BL_SCOPE(s);
        bl_pool *p =
            bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 8, .on_discard = count_discard});
        BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
        BL_CHECK(t, gate_await(&g, 1));
        for (int i = 0; i < 4; i++)
            BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
        bl_scope_cancel(s, 0);
        BL_CHECK_ERR(t, bl_pool_submit(p, gate_job, &g), BL_ECANCELED); /* of the same scope */
        BL_CHECK_ERR(t, bl_scope_wait(s), BL_ECANCELED);
        BL_CHECK_EQ(t, bl_pool_drain(p), 0);
        BL_CHECK_EQ(t, stats(p).discarded, 4);
    }
    BL_CHECK_EQ(t, discards, 4);
    BL_CHECK_EQ(t, g.left, 1);
    bl_chan_release(g.open);
}

BL_TEST(closing_the_scope_joins_the_pool)
{
    discards = 0;
    gate g = {.open = bl_chan_new(0, 0)};
    bl_pool *p;
    {
        BL_SCOPE(s);
        p = bl_pool_new(s, &(bl_pool_opts){.workers = 2, .queue = 8, .on_discard = count_discard});
        for (int i = 0; i < 2; i++) {
            BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
            BL_CHECK(t, gate_await(&g, i + 1));
        }
        for (int i = 0; i < 4; i++)
            BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
    }
    BL_CHECK_EQ(t, discards, 4);
    BL_CHECK_EQ(t, g.left, 2);
    bl_chan_release(g.open);
}

/* Cancels the queue's jobs although all workers ignore it. */
static int stubborn(void *arg)
{
    gate *g = arg;
    BL_SCOPE(s, .shield = true);
    return gate_job(g);
}

BL_TEST(a_cancelled_queue_does_not_wait_for_the_workers)
{
    discards = 0;
    bl_chan *open = bl_chan_new(0, 0);
    gate g = {.open = open};
    {
        BL_SCOPE(s);
        bl_pool *p =
            bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 2, .on_discard = count_discard});
        BL_CHECK_EQ(t, bl_pool_submit(p, stubborn, &g), 0);
        BL_CHECK(t, gate_await(&g, 1));
        for (int i = 0; i < 2; i++)
            BL_CHECK_EQ(t, bl_pool_submit(p, gate_job, &g), 0);
        bl_scope other; /* waits for room, and its context is not cancelled */
        BL_CHECK_EQ(t, bl_scope_open(&other, &(bl_scope_opts){.ctx = bl_ctx_background()}), 0);
        call c = submit_call(p, &g);
        bl_go(&other, call_run, &c);
        BL_CHECK(t, call_parked(&c));
        bl_scope_cancel(s, 0);
        BL_CHECK_EQ(t, bl_scope_wait(&other), 0);
        BL_CHECK_ERR(t, call_result(&c), BL_ECLOSED);
        for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end && get(&discards) < 2;)
            bl_yield();
        BL_CHECK_EQ(t, get(&discards), 2);
        BL_CHECK_EQ(t, get(&g.left), 0);
        BL_CHECK_EQ(t, bl_scope_close(&other), 0);
        bl_chan_close(open);
    }
    BL_CHECK_EQ(t, g.left, 1);
    bl_chan_release(open);
}

BL_TEST(on_a_cancelled_scope)
{
    int ran = 0;
    BL_SCOPE(s);
    bl_scope_cancel(s, 0);
    bl_pool *p = bl_pool_new(s, NULL);
    BL_REQUIRE(t, p != NULL);
    BL_CHECK_ERR(t, bl_pool_submit(p, count_up, &ran), BL_ECANCELED);
    BL_CHECK_EQ(t, bl_pool_drain(p), 0);
    BL_CHECK_ERR(t, bl_pool_submit(p, count_up, &ran), BL_ECLOSED);
    BL_CHECK_EQ(t, stats(p).refused, 2);
    BL_CHECK_EQ(t, ran, 0);
}

/* What empties the queue then may run before bl_pool_new has returned. */
BL_TEST(many_on_cancelled_scopes)
{
    for (int i = 0; i < 1000; i++) {
        BL_SCOPE(s);
        bl_scope_cancel(s, 0);
        for (int k = 0; k < 4; k++)
            BL_CHECK(t, bl_pool_new(s, NULL) != NULL);
    }
}

/* ---- Plain threads ---- */

typedef struct outsider {
    bl_pool *p;
    int ran;      /* atomic */
    int accepted; /* atomic */
    uint32_t end; /* atomic */
} outsider;

static void *submit_outside(void *arg)
{
    outsider *o = arg;
    for (int i = 0; i < 2000; i++)
        if (bl_pool_submit(o->p, count_up, &o->ran) == 0)
            add(&o->accepted, 1);
    return NULL;
}

static void *submit_and_drain_outside(void *arg)
{
    outsider *o = arg;
    submit_outside(o);
    BL_CHECK_EQ(t, bl_pool_drain(o->p), 0);
    bl_pool_stat st = stats(o->p);
    BL_CHECK_EQ(t, st.running + st.queued, 0);
    BL_CHECK_EQ(t, get(&o->ran), st.submitted); /* of the other thread, too */
    __atomic_store_n(&o->end, 1, __ATOMIC_RELEASE);
    return NULL;
}

BL_TEST(plain_threads_submit_and_drain)
{
    BL_SCOPE(s);
    outsider o = {.p = bl_pool_new(s, &(bl_pool_opts){.workers = 4, .queue = 8})};
    pthread_t threads[2];
    BL_REQUIRE(t, pthread_create(&threads[0], NULL, submit_outside, &o) == 0);
    BL_REQUIRE(t, pthread_create(&threads[1], NULL, submit_and_drain_outside, &o) == 0);
    while (!__atomic_load_n(&o.end, __ATOMIC_ACQUIRE))
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    BL_CHECK_EQ(t, o.ran, o.accepted);
    bl_pool_stat st = stats(o.p);
    BL_CHECK_EQ(t, st.submitted, o.accepted);
    BL_CHECK_EQ(t, st.submitted + st.refused, 4000);
}

BL_TEST_PLAIN(the_root_scope_frees_what_was_not_drained)
{
    for (int i = 0; i < 20; i++)
        BL_CHECK_EQ(t, bl_run(defaults_main, NULL, NULL), 0);
}

/* ---- Jobs that end their goroutine, as a failed BL_REQUIRE does -------------------------------- */

static int end_in_a_scope(void *arg)
{
    BL_SCOPE(s, .shield = true);
    bl_go(s, count_up, arg);
    bl__goroutine_exit();
}

BL_TEST(a_job_that_ends_its_goroutine_has_ended)
{
    enum { JOBS = 50 };
    for (int workers = 1; workers <= 3; workers++) {
        int begun = 0, ran = 0;
        BL_SCOPE(s);
        bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = workers, .queue = 4});
        for (int i = 0; i < JOBS; i++) {
            BL_CHECK_EQ(t, bl_pool_submit(p, end_in_a_scope, &begun), 0);
            BL_CHECK_EQ(t, bl_pool_submit(p, count_up, &ran), 0);
        }
        BL_CHECK_EQ(t, bl_pool_drain(p), 0);
        BL_CHECK_EQ(t, begun, JOBS);
        BL_CHECK_EQ(t, ran, JOBS);
        BL_CHECK_EQ(t, stats(p).done, 2 * JOBS);
        BL_CHECK_EQ(t, stats(p).running, 0);
    }
}

static void end_at_discard(bl_fn fn, void *arg)
{
    (void)fn, (void)arg;
    bl__goroutine_exit();
}

static int sleep_long(void *arg)
{
    (void)arg;
    return bl_sleep(BL_MIN);
}

static int discard_main(void *arg)
{
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(
        s, &(bl_pool_opts){.workers = 1, .queue = 4, .name = "jobs", .on_discard = end_at_discard});
    for (int i = 0; i < 4; i++)
        BL_REQUIRE_EQ(t, bl_pool_submit(p, sleep_long, arg), 0);
    bl_scope_cancel(s, BL_ECANCELED);
    return 0;
}

BL_TEST_PLAIN(on_discard_returns)
{
    CHECK_FATAL(t, discard_main, "on_discard of pool \"jobs\" (made at ");
}
