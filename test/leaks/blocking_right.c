/* SPDX-License-Identifier: MIT */
/* blocking_right.c: functions of bl_blocking that wait for long, and whom somebody wakes all the same. */
#include "right.h"

#include <pthread.h>
#include <time.h>

static void nap_in_libc(void)
{
    struct timespec t = {0, LONG};
    nanosleep(&t, NULL);
}

static int send_late(void *arg)
{
    nap_in_libc();
    return send_one(arg);
}

static int recv_call(void *arg) { return bl_blocking(recv_one, arg); }
static int send_call(void *arg) { return bl_blocking(send_late, arg); }

static __attribute__((noinline)) int start_pair(bl_scope *s)
{
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_call, c);
    return bl_go(s, send_call, c);
}

/*? sent_from_one_blocking_call_to_another right
 */
static int sent_from_one_blocking_call_to_another(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return start_pair(s) < 0 ? 1 : bl_scope_wait(s);
}

/* The only one who has the channel is the caller of the function that sends. */
static int nap_long_call(void *arg)
{
    nap_in_libc();
    return arg != NULL;
}

static int caller_has_it(void *arg)
{
    bl_chan *c = arg;
    if (bl_blocking(nap_long_call, NULL) < 0)
        return 1;
    return send_one(c);
}

/*? caller_of_a_blocking_call_has_it right
 */
static int caller_of_a_blocking_call_has_it(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_call, c);
    bl_go(s, caller_has_it, c);
    c = NULL;
    return bl_scope_wait(s);
}

/* It waits again and again, never for long. */
static int relay(void *arg)
{
    bl_chan **c = arg;
    int v, r;
    while ((r = bl_chan_recv(c[0], &v)) == 0 && (r = bl_chan_send(c[1], &v)) == 0)
        continue;
    bl_chan_close(c[1]);
    return r == BL_ECLOSED ? 0 : r;
}

static int relay_call(void *arg) { return bl_blocking(relay, arg); }

static int feed(void *arg)
{
    for (int i = 0; i < 30; i++) {
        if (bl_sleep(30 * BL_MS) < 0 || bl_chan_send(arg, &i) < 0)
            return 1;
    }
    bl_chan_close(arg);
    return 0;
}

/*? relay_in_a_blocking_call right
 */
static int relay_in_a_blocking_call(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c[2] = {bl_scope_chan(s, sizeof(int), 0), bl_scope_chan(s, sizeof(int), 1)};
    bl_go(s, feed, c[0]);
    bl_go(s, relay_call, c);
    bl_go(s, recv_all, c[1]);
    return bl_scope_wait(s);
}

/* What it waits on is in its own frame, and who has the address sleeps. */
static int done_late(void *arg)
{
    (void)!bl_sleep(LONG);
    bl_waitgroup_done(arg);
    return 0;
}

static int waits_on_its_frame(void *arg)
{
    bl_waitgroup wg = {0};
    bl_waitgroup_add(&wg, 1);
    if (bl_go(arg, done_late, &wg) < 0)
        return 1;
    return bl_waitgroup_wait(&wg);
}

/*? object_on_the_stack_of_a_blocking_call right
 */
static int object_on_the_stack_of_a_blocking_call(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return bl_blocking(waits_on_its_frame, s) + bl_scope_wait(s);
}

/* It opens a scope of its own, which a sleeper of that cancels. */
static int fail_late(void *arg)
{
    (void)!bl_sleep(LONG);
    return BL_EIO + (arg != NULL);
}

static int scope_inside(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *never = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, fail_late, NULL);
    int v, r = bl_chan_recv(never, &v);
    return r == BL_ECANCELED ? 0 : 1;
}

/*? scope_in_a_blocking_call_fails right
 */
static int scope_in_a_blocking_call_fails(void *arg) { return bl_blocking(scope_inside, arg); }

/* The scope of its caller ends at a time. */
static int until_the_deadline(void *arg)
{
    BL_SCOPE(s, .timeout = LONG);
    int r = bl_blocking(recv_one, bl_scope_chan(s, sizeof(int), 0));
    return r == BL_ETIMEDOUT ? 0 : 1 + (arg != NULL);
}

/*? deadline_of_the_caller right
 */
static int deadline_of_the_caller(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, until_the_deadline, NULL);
    return bl_scope_wait(s);
}

/* A service that has nothing to do until the end. */
static int serve(void *arg)
{
    int v, r;
    while ((r = bl_chan_recv(arg, &v)) == 0)
        continue;
    return r;
}

static int serve_call(void *arg) { return bl_blocking(serve, arg); }

/*? service_in_a_blocking_call right
 */
static int service_in_a_blocking_call(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, serve_call, bl_scope_chan(s, sizeof(int), 0));
    return nap(LONG);
}

/* A plain thread that only joins has the other end behind it. */
static void *thread_joins(void *arg)
{
    void **both = arg;
    pthread_join(*(pthread_t *)both[0], NULL);
    return send_one(both[1]) == 0 ? NULL : arg;
}

static void *thread_naps(void *arg)
{
    nap_in_libc();
    return arg;
}

/*? sent_after_a_join right
 */
static int sent_after_a_join(void *arg)
{
    pthread_t naps, joins;
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    void *both[2] = {&naps, c};
    bl_go(s, recv_call, c);
    if (pthread_create(&naps, NULL, thread_naps, NULL) != 0 ||
        pthread_create(&joins, NULL, thread_joins, both) != 0)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(joins, NULL);
    bl_chan_release(c);
    return r;
}

static bl_mutex shared_lock;

static int lock_and_nap(void *arg)
{
    bl_mutex_lock(&shared_lock);
    nap_in_libc();
    bl_mutex_unlock(&shared_lock);
    return arg != NULL;
}

static int lock_call(void *arg) { return bl_blocking(lock_and_nap, arg); }

/*? lock_in_turn_in_blocking_calls right
 */
static int lock_in_turn_in_blocking_calls(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++)
        bl_go(s, lock_call, NULL);
    return bl_scope_wait(s);
}

PROGRAMS({"sent_from_one_blocking_call_to_another", sent_from_one_blocking_call_to_another},
         {"caller_of_a_blocking_call_has_it", caller_of_a_blocking_call_has_it},
         {"relay_in_a_blocking_call", relay_in_a_blocking_call},
         {"object_on_the_stack_of_a_blocking_call", object_on_the_stack_of_a_blocking_call},
         {"scope_in_a_blocking_call_fails", scope_in_a_blocking_call_fails},
         {"deadline_of_the_caller", deadline_of_the_caller},
         {"service_in_a_blocking_call", service_in_a_blocking_call},
         {"sent_after_a_join", sent_after_a_join},
         {"lock_in_turn_in_blocking_calls", lock_in_turn_in_blocking_calls})
