/* SPDX-License-Identifier: MIT */
/* cond_test.c: the condition variable. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <signal.h>

#include "calls.h"

static bl_test *const t; /* the test that the caller is of */

enum { CALLS = 6 };

static int call_wait(call *c)
{
    bl_mutex_lock(c->m);
    int r = bl_cond_wait_until(c->obj, c->m, c->deadline);
    BL_CHECK(t, bl__self()->held == c->m); /* locked again, whatever the result */
    if (r == 0)
        call_turn(c);
    bl_mutex_unlock(c->m);
    return r;
}

static void waits_start(bl_scope *s, call *calls, int n, bl_cond *c, bl_mutex *m, int *turns)
{
    for (int i = 0; i < n; i++) {
        calls[i] = (call){.fn = call_wait, .obj = c, .m = m, .turns = turns};
        call_parks(s, &calls[i]);
    }
}

BL_TEST(cond_signal_wakes_in_order)
{
    bl_cond c = {0};
    bl_mutex m = {0};
    call calls[CALLS];
    int turns = 0;
    BL_SCOPE(s);
    bl_cond_signal(&c); /* nobody waits: lost */
    waits_start(s, calls, CALLS, &c, &m, &turns);
    for (int i = 0; i < CALLS; i++) {
        bl_cond_signal(&c);
        BL_CHECK(t, call_returns(&calls[i]));
        BL_CHECK_EQ(t, calls[i].turn, i);
    }
    BL_CHECK(t, c.bl__mutex == NULL);
}

/* Woken at once, they go on in the order in which they have waited, where nobody but one processor
 * runs them. A busy machine may take it from one of them meanwhile, and so from some rounds. */
BL_TEST(cond_broadcast_keeps_the_order)
{
    bool ordered = false;
    if (bl_procs() != 1)
        bl_skip(t, "several processors have no order");
    for (int round = 0; round < 100 && !ordered; round++) {
        bl_cond c = {0};
        bl_mutex m = {0};
        call calls[CALLS];
        int turns = 0;
        BL_SCOPE(s);
        waits_start(s, calls, CALLS, &c, &m, &turns);
        bl_cond_broadcast(&c);
        BL_REQUIRE_EQ(t, bl_scope_wait(s), 0);
        ordered = true;
        for (int i = 0; i < CALLS; i++)
            ordered &= calls[i].turn == i;
    }
    BL_CHECK(t, ordered);
}

BL_TEST(cond_broadcast_wakes_one_generation)
{
    bl_cond c = {0};
    bl_mutex m = {0};
    call old[CALLS], new[CALLS];
    int turns = 0;
    BL_SCOPE(s);
    waits_start(s, old, CALLS, &c, &m, &turns);
    bl_mutex_lock(&m);
    bl_cond_broadcast(&c);
    for (int i = 0; i < CALLS; i++)
        BL_CHECK_EQ(t, call_result(&old[i]), CALL_PENDING); /* they need m */
    bl_mutex_unlock(&m);
    for (int i = 0; i < CALLS; i++)
        BL_CHECK(t, call_returns(&old[i]));
    waits_start(s, new, CALLS, &c, &m, &turns);
    BL_CHECK_EQ(t, turns, CALLS);
    bl_cond_broadcast(&c);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, turns, 2 * CALLS);
}

/* One waits, is signalled, and waits again at once, while another waited all the time: the second
 * signal is that other's. */
static int call_wait_twice(call *c)
{
    int r = call_wait(c);
    return r < 0 ? r : call_wait(c);
}

BL_TEST(cond_signal_is_not_stolen)
{
    for (int i = 0; i < 200; i++) {
        bl_cond c = {0};
        bl_mutex m = {0};
        int turns = 0;
        BL_SCOPE(s);
        call twice = {.fn = call_wait_twice, .obj = &c, .m = &m, .turns = &turns};
        call once = {.fn = call_wait, .obj = &c, .m = &m, .turns = &turns};
        call_parks(s, &twice);
        call_parks(s, &once);
        bl_cond_signal(&c);
        bl_cond_signal(&c);
        BL_CHECK(t, call_returns(&once));
        BL_CHECK_EQ(t, call_result(&twice), CALL_PENDING);
        while (!load_relaxed(&c.bl__head)) /* its second wait */
            bl_yield();
        bl_cond_signal(&c);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, turns, 3);
    }
}

BL_TEST(cond_wait_gives_up_with_the_mutex_locked)
{
    bl_cond c = {0};
    bl_mutex m = {0};
    call calls[3];
    BL_SCOPE(s);
    BL_SCOPE(cancelled);
    calls[0] = (call){.fn = call_wait, .obj = &c, .m = &m};
    call_parks(cancelled, &calls[0]);
    calls[2] = (call){.fn = call_wait, .obj = &c, .m = &m};
    call_parks(s, &calls[2]);
    for (bool in_time = false; !in_time;) { /* else its deadline has passed before m is locked */
        calls[1] = (call){.fn = call_wait, .obj = &c, .m = &m, .deadline = bl_in(60 * BL_MS)};
        call_parks(s, &calls[1]);
        bl_mutex_lock(&m);
        in_time = call_result(&calls[1]) == CALL_PENDING && bl_now() < calls[1].deadline;
        if (!in_time) {
            bl_mutex_unlock(&m);
            BL_CHECK(t, call_returns(&calls[1]));
        }
    }
    bl_scope_cancel(cancelled, 0);
    for (bl_time end = calls[1].deadline + 5 * BL_MS; bl_now() < end;)
        bl_yield();
    BL_CHECK_EQ(t, call_result(&calls[0]),
                CALL_PENDING); /* it waits for m, and that is no stop path */
    BL_CHECK_EQ(t, call_result(&calls[1]), CALL_PENDING);
    bl_mutex_unlock(&m);
    BL_CHECK(t, call_returns(&calls[0]));
    BL_CHECK(t, call_returns(&calls[1]));
    BL_CHECK_ERR(t, call_result(&calls[0]), BL_ECANCELED);
    BL_CHECK_ERR(t, call_result(&calls[1]), BL_ETIMEDOUT);
    bl_cond_signal(&c); /* for the one that is left */
    BL_CHECK(t, call_returns(&calls[2]));
    BL_CHECK_EQ(t, call_result(&calls[2]), 0);
    BL_CHECK(t, c.bl__mutex == NULL);
}

/* One mutex at a time: those who have given up are forgotten with theirs. */
BL_TEST(cond_goes_with_another_mutex_when_nobody_waits)
{
    bl_cond c = {0};
    bl_mutex mutexes[2] = {0};
    for (int i = 0; i < 4; i++) {
        bl_mutex *m = &mutexes[i % 2];
        bl_mutex_lock(m);
        BL_CHECK_ERR(t, bl_cond_wait_until(&c, m, bl_in(BL_US)), BL_ETIMEDOUT);
        bl_mutex_unlock(m);
        bl_cond_signal(&c);
    }
    BL_SCOPE(s);
    for (int i = 0; i < 4; i++) { /* as after a broadcast */
        call waiter = {.fn = call_wait, .obj = &c, .m = &mutexes[i % 2]};
        call_parks(s, &waiter);
        bl_cond_broadcast(&c);
        BL_CHECK(t, call_returns(&waiter));
        BL_CHECK_EQ(t, call_result(&waiter), 0);
    }
}

/* A signal and a deadline at the same time: either the first waiter has the signal, or the
 * second. */
BL_TEST(cond_signal_is_not_lost_to_a_waiter_that_gives_up)
{
    bl_cond c = {0};
    bl_mutex m = {0};
    int timed_out = 0;
    for (int i = 0; i < 300; i++) {
        int turns = 0;
        BL_SCOPE(s);
        call first = {.fn = call_wait, .obj = &c, .m = &m, .turns = &turns};
        call second = {.fn = call_wait, .obj = &c, .m = &m, .turns = &turns};
        first.deadline = bl_in(500 * BL_US);
        bl_time when = first.deadline + (i % 20 - 10) * BL_US;
        call_parks(s, &first);
        call_parks(s, &second);
        while (bl_now() < when)
            bl_yield();
        bl_mutex_lock(&m);
        bl_cond_signal(&c);
        bl_mutex_unlock(&m);
        BL_CHECK(t, call_returns(&first));
        if (call_result(&first) == 0)
            bl_cond_signal(&c);
        else
            timed_out++;
        BL_CHECK(t, call_returns(&second));
        BL_CHECK_EQ(t, call_result(&second), 0);
    }
    BL_CHECK(t, timed_out > 0);
}

typedef struct box {
    bl_mutex m;
    bl_cond full, empty;
    int items; /* m: 0 or 1 */
    long sum;  /* m */
} box;

static int box_put(void *arg)
{
    box *b = arg;
    for (int i = 0; i < 500; i++) {
        bl_mutex_lock(&b->m);
        while (b->items == 1)
            BL_CHECK_EQ(t, bl_cond_wait(&b->empty, &b->m), 0);
        b->items = 1;
        bl_cond_signal(&b->full);
        bl_mutex_unlock(&b->m);
    }
    return 0;
}

static void *box_get(void *arg)
{
    box *b = arg;
    for (int i = 0; i < 500; i++) {
        bl_mutex_lock(&b->m);
        while (b->items == 0)
            BL_CHECK_EQ(t, bl_cond_wait(&b->full, &b->m), 0);
        b->items = 0;
        b->sum++;
        bl_cond_signal(&b->empty);
        bl_mutex_unlock(&b->m);
    }
    return NULL;
}

static int box_get_goroutine(void *arg)
{
    box_get(arg);
    return 0;
}

BL_TEST(cond_hands_items_between_goroutines_and_threads)
{
    box b = {0};
    pthread_t thread;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, box_get, &b), 0);
    for (int i = 0; i < 4; i++)
        bl_go(s, box_put, &b);
    for (int i = 0; i < 3; i++)
        bl_go(s, box_get_goroutine, &b);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(thread, NULL);
    BL_CHECK_EQ(t, b.sum, 4 * 500);
}
