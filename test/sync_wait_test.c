/* SPDX-License-Identifier: MIT */
/* sync_wait_test.c: the wait group, once, the semaphore. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <string.h>

#include "calls.h"

static bl_test *const t; /* the test that the caller is of */

enum { CALLS = 6 };

/* ---- WaitGroup ------------------------------------------------------------------------------- */

static int call_waitgroup(call *c)
{
    int r = bl_waitgroup_wait_until(c->obj, c->deadline);
    if (r == 0)
        call_turn(c);
    return r;
}

BL_TEST(waitgroup_wakes_all_at_zero)
{
    bl_waitgroup wg = {0};
    BL_CHECK_EQ(t, bl_waitgroup_wait(&wg), 0); /* at zero */
    for (int round = 0; round < 3; round++) {
        call calls[CALLS];
        BL_SCOPE(s);
        bl_waitgroup_add(&wg, 2);
        for (int i = 0; i < CALLS; i++) {
            calls[i] = (call){.fn = call_waitgroup, .obj = &wg};
            call_parks(s, &calls[i]);
        }
        bl_waitgroup_done(&wg);
        bl_waitgroup_add(&wg, 3);
        bl_waitgroup_add(&wg, -3);
        for (int i = 0; i < CALLS; i++)
            BL_CHECK_EQ(t, call_result(&calls[i]), CALL_PENDING);
        bl_waitgroup_done(&wg);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        for (int i = 0; i < CALLS; i++)
            BL_CHECK_EQ(t, call_result(&calls[i]), 0);
    }
}

BL_TEST(waitgroup_wait_gives_up)
{
    bl_waitgroup wg = {0};
    bl_waitgroup_add(&wg, 1);
    BL_CHECK_ERR(t, bl_waitgroup_wait_until(&wg, bl_in(BL_MS)), BL_ETIMEDOUT);
    BL_SCOPE(s);
    call c = {.fn = call_waitgroup, .obj = &wg};
    call_parks(s, &c);
    bl_scope_cancel(s, 0);
    BL_CHECK(t, call_returns(&c));
    BL_CHECK_ERR(t, call_result(&c), BL_ECANCELED);
    bl_waitgroup_done(&wg);
    BL_CHECK_EQ(t, bl_waitgroup_wait(&wg), 0); /* proceeds in the cancelled scope */
}

typedef struct past {
    bl_mutex m;
    bl_rwmutex rw;
    bl_time at;
} past;

static int lock_in_the_past(void *arg)
{
    past *p = arg;
    BL_CHECK_ERR(t, bl_mutex_lock_until(&p->m, p->at), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_rwmutex_lock_until(&p->rw, p->at), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_rwmutex_rlock_until(&p->rw, p->at), BL_ETIMEDOUT);
    return 0;
}

static void *wait_in_the_past(void *arg)
{
    const bl_time at[] = {0, -1, INT64_MIN, bl_now()};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        bl_waitgroup wg = {0};
        bl_sem sem = {0};
        bl_cond cond = {0};
        past p = {.at = at[i]};
        bl_waitgroup_add(&wg, 1);
        BL_CHECK_ERR(t, bl_waitgroup_wait_until(&wg, at[i]), BL_ETIMEDOUT);
        bl_waitgroup_done(&wg);
        BL_CHECK_ERR(t, bl_sem_acquire_until(&sem, 1, at[i]), BL_ETIMEDOUT);
        bl_mutex_lock(&p.m);
        BL_CHECK_ERR(t, bl_cond_wait_until(&cond, &p.m, at[i]), BL_ETIMEDOUT);
        bl_rwmutex_lock(&p.rw);
        BL_SCOPE(s);
        bl_go(s, lock_in_the_past, &p);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        bl_rwmutex_unlock(&p.rw);
        bl_mutex_unlock(&p.m);
    }
    return arg;
}

BL_TEST(deadlines_that_have_passed)
{
    pthread_t thread;
    wait_in_the_past(NULL);
    BL_REQUIRE_EQ(t, pthread_create(&thread, NULL, wait_in_the_past, NULL), 0);
    BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
}

static int add_one(void *arg)
{
    bl_yield();
    add_relaxed((int *)arg, 1);
    return 0;
}

static int fail(void *arg)
{
    (void)arg;
    return BL_EINVAL;
}

BL_TEST(waitgroup_go)
{
    bl_waitgroup wg = {0};
    int sum = 0;
    BL_SCOPE(s, .keep_going = true);
    for (int i = 0; i < 50; i++)
        BL_CHECK_EQ(t, bl_waitgroup_go(&wg, s, add_one, &sum), 0);
    BL_CHECK_EQ(t, bl_waitgroup_wait(&wg), 0);
    BL_CHECK_EQ(t, sum, 50);
    BL_CHECK_EQ(t, bl_waitgroup_go(&wg, s, fail, NULL), 0);
    BL_CHECK_EQ(t, bl_waitgroup_wait(&wg), 0);
    BL_CHECK_ERR(t, bl_scope_wait(s), BL_EINVAL); /* its result is the scope's, as with bl_go */
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_waitgroup_go(&wg, s, add_one, &sum), BL_ECANCELED);
    BL_CHECK_EQ(t, wg.bl__count, 0); /* nothing was started, and the count is as before */
    BL_CHECK_EQ(t, sum, 50);
}

static int done_soon(void *arg)
{
    bl_yield();
    bl_waitgroup_done(arg);
    return 0;
}

BL_TEST(waitgroup_is_left_alone_after_wait)
{
    enum { OBJECTS = 2000, EACH = 2 };
    static bl_waitgroup objects[OBJECTS];
    memset(objects, 0, sizeof objects);
    BL_SCOPE(s);
    for (int i = 0; i < OBJECTS; i++) {
        bl_waitgroup_add(&objects[i], EACH);
        for (int k = 0; k < EACH; k++)
            bl_go(s, done_soon, &objects[i]);
        BL_CHECK_EQ(t, bl_waitgroup_wait(&objects[i]), 0);
        memset(&objects[i], 0xa5, sizeof objects[i]);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (size_t i = 0; i < sizeof objects; i++)
        BL_CHECK_EQ(t, ((unsigned char *)objects)[i], 0xa5);
}

/* ---- Once ------------------------------------------------------------------------------------ */

typedef struct once_case {
    bl_once once;
    int runs;
    int value;
} once_case;

static int once_slowly(void *arg)
{
    once_case *o = arg;
    o->runs++;
    for (int i = 0; i < 20; i++)
        bl_yield();
    o->value = 42;
    return BL_EINVAL; /* nobody looks */
}

static int once_user(void *arg)
{
    once_case *o = arg;
    bl_once_do(&o->once, once_slowly, o);
    BL_CHECK_EQ(t, o->value, 42); /* not before it has returned */
    return 0;
}

BL_TEST(once_runs_once)
{
    for (int i = 0; i < 100; i++) {
        once_case o = {0};
        BL_SCOPE(s);
        for (int k = 0; k < 8; k++)
            bl_go(s, once_user, &o);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        bl_once_do(&o.once, fail, NULL);
        BL_CHECK_EQ(t, o.runs, 1);
    }
}

/* ---- Semaphore ------------------------------------------------------------------------------- */

static int call_acquire(call *c)
{
    int r = bl_sem_acquire_until(c->obj, c->k, c->deadline);
    if (r == 0)
        call_turn(c);
    return r;
}

BL_TEST(sem_counts)
{
    bl_sem sem = {0};
    BL_CHECK(t, !bl_sem_try_acquire(&sem, 1)); /* a zero one has none */
    BL_CHECK_EQ(t, bl_sem_acquire(&sem, 0), 0);
    bl_sem_init(&sem, 3);
    BL_CHECK(t, bl_sem_try_acquire(&sem, 2));
    BL_CHECK(t, !bl_sem_try_acquire(&sem, 2));
    BL_CHECK_EQ(t, bl_sem_acquire(&sem, 1), 0);
    BL_CHECK_ERR(t, bl_sem_acquire_until(&sem, 1, bl_in(BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_sem_acquire(&sem, -1), BL_EINVAL);
    BL_CHECK(t, !bl_sem_try_acquire(&sem, -1));
    bl_sem_release(&sem, 10); /* more than was acquired */
    BL_CHECK(t, bl_sem_try_acquire(&sem, 10));
    BL_CHECK(t, !bl_sem_try_acquire(&sem, 1));
}

BL_TEST(sem_serves_in_order_whatever_the_weights)
{
    bl_sem sem;
    static const int64_t weights[CALLS] = {3, 1, 2, 1, 5, 1};
    call calls[CALLS];
    int turns = 0;
    bl_sem_init(&sem, 0);
    BL_SCOPE(s);
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (call){.fn = call_acquire, .obj = &sem, .k = weights[i], .turns = &turns};
        call_parks(s, &calls[i]);
    }
    bl_sem_release(&sem, 2);
    BL_CHECK(t, !bl_sem_try_acquire(&sem, 1)); /* the three at the front come first */
    BL_CHECK_EQ(t, bl_sem_acquire(&sem, 0), 0);
    BL_CHECK_EQ(t, turns, 0);
    for (int i = 0; i < CALLS; i++) {
        bl_sem_release(&sem, i == 0 ? 1 : weights[i]);
        BL_CHECK(t, call_returns(&calls[i]));
        BL_CHECK_EQ(t, calls[i].turn, i);
    }
    BL_CHECK_EQ(t, sem.bl__count, 0);
}

BL_TEST(sem_waiter_that_gives_up_lets_others_pass)
{
    bl_sem sem;
    bl_sem_init(&sem, 2);
    BL_SCOPE(s);
    BL_SCOPE(cancelled);
    call big = {.fn = call_acquire, .obj = &sem, .k = 5};
    call_parks(cancelled, &big);
    call small[2] = {{.fn = call_acquire, .obj = &sem, .k = 1},
                     {.fn = call_acquire, .obj = &sem, .k = 1}};
    call_parks(s, &small[0]);
    call_parks(s, &small[1]);
    bl_scope_cancel(cancelled, 0);
    BL_CHECK(t, call_returns(&big));
    BL_CHECK_ERR(t, call_result(&big), BL_ECANCELED);
    for (int i = 0; i < 2; i++) {
        BL_CHECK(t, call_returns(&small[i]));
        BL_CHECK_EQ(t, call_result(&small[i]), 0);
    }
    BL_CHECK_EQ(t, sem.bl__count, 0);
}

typedef struct shared_sem {
    bl_sem sem;
    int64_t used; /* atomic */
    int rejected; /* atomic */
} shared_sem;

static int use_sem(void *arg)
{
    shared_sem *sh = arg;
    for (int i = 0; i < 1000; i++) {
        int64_t k = 1 + (i * 7 + (int64_t)bl_id()) % 4;
        if (i % 3 == 0 ? bl_sem_acquire_until(&sh->sem, k, bl_in(5 * BL_US)) < 0
                       : bl_sem_acquire(&sh->sem, k) < 0) {
            add_relaxed(&sh->rejected, 1);
            continue;
        }
        BL_CHECK_LE(t, add_acq_rel(&sh->used, k) + k, 5);
        if (i % 2)
            bl_yield();
        add_acq_rel(&sh->used, -k);
        bl_sem_release(&sh->sem, k);
    }
    return 0;
}

static void *use_sem_in_thread(void *arg)
{
    use_sem(arg);
    return NULL;
}

BL_TEST(sem_bounds)
{
    shared_sem sh = {0};
    pthread_t thread;
    bl_sem_init(&sh.sem, 5);
    BL_SCOPE(s);
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, use_sem_in_thread, &sh), 0);
    for (int i = 0; i < 6; i++)
        bl_go(s, use_sem, &sh);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(thread, NULL);
    BL_CHECK_EQ(t, sh.sem.bl__count, 5);
    BL_CHECK(t, sh.sem.bl__head == NULL);
}
