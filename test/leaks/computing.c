/* SPDX-License-Identifier: MIT */
/* Broken: beside somebody who runs whenever he is looked at. He might have what is missing in a register: so he is
 * looked at, or switched off. */
#include "computing.h"

/* As where calls of the system are filtered, and nobody may look at those that compute. */
static void unsampled(void) { setenv("BELAY_DEBUG", "sample=0", 1); }

static int compute_on(void *arg)
{
    while (turns_go_on())
        compute();
    return arg != NULL;
}

static int compute_in_turns(void *arg)
{
    while (turns_go_on()) {
        compute();
        bl_yield();
    }
    return arg != NULL;
}

static int nap_in_turns(void *arg)
{
    int r = 0;
    while (turns_go_on() && r == 0) {
        for (int i = 0; i < 100; i++)
            __asm__ volatile("");
        r = bl_sleep(BL_MS);
    }
    return arg != NULL ? r : 0;
}

static int start_receiver(void *s)
{
    bl_go(s, recv_all, bl_scope_chan(s, sizeof(int), 0)); /* @receiver_made */
    return 0;
}

static int leak_beside(bl_fn busy)
{
    BL_SCOPE(s);
    if (started_by(s, start_receiver) != 0)
        return 1;
    bl_go(s, busy, NULL);
    for (int i = 0; i < 4; i++)
        bl_go(s, nap_in_turns, NULL);
    int r = go_on();
    turns_end();
    return r;
}

/*? beside_a_loop_sampled leak
 * recv_all [chan receive (leaked)] created by start_receiver; @receiver_made; cause: nobody is left to send
 */
static int beside_a_loop_sampled(void *arg)
{
    bl_set_procs(2);
    return leak_beside(compute_on) + (arg != NULL);
}

/*? beside_turns leak
 * recv_all [chan receive (leaked)] created by start_receiver; @receiver_made; cause: nobody is left to send
 */
static int beside_turns(void *arg) { return leak_beside(compute_in_turns) + (arg != NULL); }

/*? beside_turns_unsampled leak
 * recv_all [chan receive (leaked)] created by start_receiver; @receiver_made; cause: nobody is left to send
 */
static int beside_turns_unsampled(void *arg)
{
    unsampled();
    return leak_beside(compute_in_turns) + (arg != NULL);
}

/* ---- At each look there runs another one ---- */

enum { SERVERS = 100, CLIENTS = 4 };

static int serve(void *arg)
{
    int v;
    while (bl_chan_recv((bl_chan *)arg, &v) == 0)
        for (int i = 0; i < 100000; i++)
            __asm__ volatile("");
    return 0;
}

static int ask(void *arg)
{
    int v = 1;
    while (turns_go_on() && bl_chan_send((bl_chan *)arg, &v) == 0)
        if (bl_sleep(BL_MS / 2) != 0)
            return 1;
    return 0;
}

static int servers_busy(void)
{
    BL_SCOPE(s);
    bl_chan *asked = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < SERVERS; i++)
        bl_go(s, serve, asked);
    for (int i = 0; i < CLIENTS; i++)
        bl_go(s, ask, asked);
    if (started_by(s, start_receiver) != 0)
        return 1;
    int r = go_on();
    turns_end();
    bl_chan_close(asked);
    return r;
}

/*? in_a_busy_server leak
 * recv_all [chan receive (leaked)] created by start_receiver; @receiver_made; cause: nobody is left to send
 */
static int in_a_busy_server(void *arg) { return servers_busy() + (arg != NULL); }

/*? in_a_busy_server_unsampled leak
 * recv_all [chan receive (leaked)] created by start_receiver; @receiver_made; cause: nobody is left to send
 */
static int in_a_busy_server_unsampled(void *arg)
{
    unsampled();
    return servers_busy() + (arg != NULL);
}

static int compute_a_while(void *arg)
{
    bl_time end = bl_now() + LONG;
    while (bl_now() < end)
        compute();
    return arg != NULL;
}

/*? behind_who_computed leak
 * recv_all [chan receive (leaked)] created by start_receiver; @receiver_made; cause: nobody is left to send
 */
static int behind_who_computed(void *arg)
{
    BL_SCOPE(s);
    BL_SCOPE(first);
    bl_set_procs(2);
    for (int i = 0; i < 4; i++)
        bl_go(s, nap_in_turns, NULL);
    for (int i = 0; i < 16; i++)
        bl_go(first, compute_a_while, NULL);
    if (bl_scope_close(first) != 0 || started_by(s, start_receiver) != 0)
        return 1;
    return go_on() + (arg != NULL);
}

/* ---- For which memory is not needed ---- */

typedef struct pair {
    bl_mutex a, b;
    bl_waitgroup both;
} pair;

static int take(bl_waitgroup *both, bl_mutex *first, bl_mutex *second)
{
    bl_mutex_lock(first);
    bl_waitgroup_done(both);
    int r = bl_waitgroup_wait(both);
    bl_mutex_lock(second); /* @taken_second */
    bl_mutex_unlock(second);
    bl_mutex_unlock(first);
    return r;
}

static int take_ab(void *arg)
{
    pair *p = arg;
    return take(&p->both, &p->a, &p->b);
}

static int take_ba(void *arg)
{
    pair *p = arg;
    return take(&p->both, &p->b, &p->a);
}

static int circle_beside(bl_fn busy)
{
    static pair p;
    BL_SCOPE(s);
    bl_waitgroup_add(&p.both, 2);
    bl_go(s, take_ab, &p);
    bl_go(s, take_ba, &p);
    bl_go(s, busy, NULL);
    return go_on();
}

/*? circle_beside_a_loop deadlock
 * take [sync.Mutex.Lock] @taken_second; take_ab; held by goroutine N; cause: goroutine N (take_ba) holds it
 * take [sync.Mutex.Lock] @taken_second; take_ba; held by goroutine N; cause: goroutine N (take_ab) holds it
 */
static int circle_beside_a_loop(void *arg)
{
    bl_set_procs(2);
    return circle_beside(compute_on) + (arg != NULL);
}

/*? circle_beside_turns deadlock
 * take [sync.Mutex.Lock] @taken_second; take_ab; held by goroutine N; cause: goroutine N (take_ba) holds it
 * take [sync.Mutex.Lock] @taken_second; take_ba; held by goroutine N; cause: goroutine N (take_ab) holds it
 */
static int circle_beside_turns(void *arg)
{
    return circle_beside(compute_in_turns) + (arg != NULL);
}

PROGRAMS({"beside_a_loop_sampled", beside_a_loop_sampled}, {"beside_turns", beside_turns},
         {"beside_turns_unsampled", beside_turns_unsampled}, {"in_a_busy_server", in_a_busy_server},
         {"in_a_busy_server_unsampled", in_a_busy_server_unsampled},
         {"behind_who_computed", behind_who_computed},
         {"circle_beside_a_loop", circle_beside_a_loop},
         {"circle_beside_turns", circle_beside_turns})
