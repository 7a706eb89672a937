/* SPDX-License-Identifier: MIT */
/* All right: locks, conditions, groups, semaphores, pools that look as if nobody came, and somebody does. */
#include <time.h>

#include "right.h"

typedef struct shared {
    bl_mutex lock, second;
    bl_rwmutex table;
    bl_cond change;
    bl_waitgroup wg;
    bl_sem seats;
    bl_once once;
    bl_pool *pool;
    bl_chan *c;
    int count;
} shared;

static int hold_long(void *arg)
{
    shared *d = arg;
    bl_mutex_lock(&d->lock);
    int r = nap(LONG);
    bl_mutex_unlock(&d->lock);
    return r;
}

static int take_lock(void *arg)
{
    shared *d = arg;
    int r = nap(5 * BL_MS);
    bl_mutex_lock(&d->lock);
    d->count++;
    bl_mutex_unlock(&d->lock);
    return r;
}

/*? lock_held_long right
 */
static int lock_held_long(void *arg)
{
    (void)arg;
    shared d = {.count = 0};
    BL_SCOPE(s);
    bl_go(s, hold_long, &d);
    for (int i = 0; i < 3; i++)
        bl_go(s, take_lock, &d);
    return bl_scope_wait(s);
}

static int one_order(void *arg)
{
    shared *d = arg;
    for (int i = 0; i < 100; i++) {
        bl_mutex_lock(&d->lock);
        bl_mutex_lock(&d->second);
        d->count++;
        bl_yield();
        bl_mutex_unlock(&d->second);
        bl_mutex_unlock(&d->lock);
    }
    return nap(LONG / 2);
}

/*? one_order_of_locks right
 */
static int one_order_of_locks(void *arg)
{
    (void)arg;
    shared d = {.count = 0};
    BL_SCOPE(s);
    for (int i = 0; i < 4; i++)
        bl_go(s, one_order, &d);
    return bl_scope_wait(s) < 0 || d.count != 400;
}

static int try_other(void *arg)
{
    shared *d = arg;
    bl_mutex_lock(&d->second);
    int r = nap(5 * BL_MS);
    if (bl_mutex_lock_until(&d->lock, bl_in(LONG / 2)) == 0) /* gives up */
        bl_mutex_unlock(&d->lock);
    bl_mutex_unlock(&d->second);
    return r;
}

static int lock_then_second(void *arg)
{
    shared *d = arg;
    bl_mutex_lock(&d->lock);
    int r = nap(5 * BL_MS);
    bl_mutex_lock(&d->second);
    d->count++;
    bl_mutex_unlock(&d->second);
    bl_mutex_unlock(&d->lock);
    return r;
}

/*? gives_up_in_time right
 */
static int gives_up_in_time(void *arg)
{
    (void)arg;
    shared d = {.count = 0};
    BL_SCOPE(s);
    bl_go(s, try_other, &d);
    bl_go(s, lock_then_second, &d);
    return bl_scope_wait(s);
}

static int read_long(void *arg)
{
    shared *d = arg;
    bl_rwmutex_rlock(&d->table);
    int r = nap(LONG);
    bl_rwmutex_runlock(&d->table);
    return r;
}

static int write_table(void *arg)
{
    shared *d = arg;
    int r = nap(5 * BL_MS);
    bl_rwmutex_lock(&d->table);
    d->count++;
    bl_rwmutex_unlock(&d->table);
    return r;
}

/*? writer_behind_readers right
 */
static int writer_behind_readers(void *arg)
{
    (void)arg;
    shared d = {.count = 0};
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++)
        bl_go(s, read_long, &d);
    bl_go(s, write_table, &d);
    bl_go(s, write_table, &d);
    return bl_scope_wait(s);
}

static int wait_change(void *arg)
{
    shared *d = arg;
    int r = 0;
    bl_mutex_lock(&d->lock);
    while (d->count == 0 && r == 0)
        r = bl_cond_wait(&d->change, &d->lock);
    bl_mutex_unlock(&d->lock);
    return r;
}

static int change_late(void *arg)
{
    shared *d = arg;
    int r = nap(LONG);
    bl_mutex_lock(&d->lock);
    d->count++;
    bl_cond_broadcast(&d->change);
    bl_mutex_unlock(&d->lock);
    return r;
}

/*? signalled_late right
 */
static int signalled_late(void *arg)
{
    (void)arg;
    shared d = {.count = 0};
    BL_SCOPE(s);
    bl_go(s, wait_change, &d);
    bl_go(s, wait_change, &d);
    bl_go(s, change_late, &d);
    return bl_scope_wait(s);
}

/*? idle_workers_of_a_queue right
 */
static int idle_workers_of_a_queue(void *arg)
{
    (void)arg;
    shared *d = calloc(1, sizeof *d);
    BL_SCOPE(s, .name = "queue");
    for (int i = 0; i < 3; i++)
        bl_go(s, wait_change, d);
    int r = nap(LONG);
    bl_mutex_lock(&d->lock);
    d->count = 1;
    bl_cond_broadcast(&d->change);
    bl_mutex_unlock(&d->lock);
    r = bl_scope_wait(s) < 0 ? 1 : r;
    free(d);
    return r;
}

static int done_late(void *arg)
{
    int r = nap(LONG);
    bl_waitgroup_done(arg);
    return r;
}

/*? done_comes_late right
 */
static int done_comes_late(void *arg)
{
    (void)arg;
    bl_waitgroup wg = {0};
    BL_SCOPE(s);
    bl_waitgroup_add(&wg, 3);
    for (int i = 0; i < 3; i++)
        bl_go(s, done_late, &wg);
    return bl_waitgroup_wait(&wg);
}

static int take_seat(void *arg)
{
    shared *d = arg;
    if (bl_sem_acquire(&d->seats, 1) < 0)
        return 1;
    int r = nap(LONG / 3);
    bl_sem_release(&d->seats, 1);
    return r;
}

/*? few_seats right
 */
static int few_seats(void *arg)
{
    (void)arg;
    shared d = {.count = 0};
    BL_SCOPE(s);
    bl_sem_init(&d.seats, 2);
    for (int i = 0; i < 6; i++)
        bl_go(s, take_seat, &d);
    return bl_scope_wait(s);
}

enum { THINKERS = 5 };
static bl_mutex forks[THINKERS];
static bl_sem chairs;

static int think_and_eat(void *arg)
{
    size_t i = (size_t)((bl_mutex *)arg - forks);
    for (int n = 0; n < 4; n++) {
        if (nap(LONG / 5) != 0 || bl_sem_acquire(&chairs, 1) < 0)
            return 1;
        bl_mutex_lock(&forks[i]);
        bl_yield();
        bl_mutex_lock(&forks[(i + 1) % THINKERS]);
        bl_mutex_unlock(&forks[(i + 1) % THINKERS]);
        bl_mutex_unlock(&forks[i]);
        bl_sem_release(&chairs, 1);
    }
    return 0;
}

/* The locks are taken in a circle, and a chair fewer than that takes keeps it open. */
/*? four_chairs_for_five right
 */
static int four_chairs_for_five(void *arg)
{
    (void)arg;
    bl_sem_init(&chairs, THINKERS - 1);
    BL_SCOPE(s);
    for (int i = 0; i < THINKERS; i++)
        bl_go(s, think_and_eat, &forks[i]);
    return bl_scope_wait(s);
}

static int slow_init(void *arg)
{
    (void)arg;
    return nap(LONG);
}

static int init_once(void *arg)
{
    bl_once_do(&((shared *)arg)->once, slow_init, arg);
    return 0;
}

/*? slow_once right
 */
static int slow_once(void *arg)
{
    (void)arg;
    shared d = {.count = 0};
    BL_SCOPE(s);
    for (int i = 0; i < 4; i++)
        bl_go(s, init_once, &d);
    return bl_scope_wait(s);
}

static int slow_job(void *arg)
{
    (void)arg;
    return nap(LONG / 4);
}

/*? full_pool right
 */
static int full_pool(void *arg)
{
    (void)arg;
    int r = 0;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 2, .queue = 1, .name = "slow"});
    for (int i = 0; r == 0 && i < 8; i++)
        r = bl_pool_submit(p, slow_job, NULL);
    return r < 0 ? r : bl_pool_drain(p);
}

/*? idle_pool right
 */
static int idle_pool(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, NULL);
    if (bl_pool_submit(p, slow_job, NULL) < 0)
        return 1;
    return nap(LONG);
}

/*? limited_scope right
 */
static int limited_scope(void *arg)
{
    BL_SCOPE(s, .limit = 2);
    for (int i = 0; i < 6; i++)
        bl_go(s, slow_job, arg);
    return bl_scope_wait(s);
}

static int send_unlocked(void *arg)
{
    shared *d = arg;
    bl_mutex_lock(&d->lock);
    int v = ++d->count;
    bl_mutex_unlock(&d->lock); /* before it sends */
    return nap(LONG / 3) != 0 ? 1 : bl_chan_send(d->c, &v);
}

/*? unlocked_before_the_send right
 */
static int unlocked_before_the_send(void *arg)
{
    (void)arg;
    int v, sum = 0;
    shared d = {.count = 0};
    BL_SCOPE(s);
    d.c = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < 3; i++)
        bl_go(s, send_unlocked, &d);
    for (int i = 0; i < 3; i++) {
        if (bl_chan_recv(d.c, &v) < 0)
            return 1;
        bl_mutex_lock(&d.lock);
        sum += v;
        bl_mutex_unlock(&d.lock);
    }
    return sum != 6;
}

static int stage(void *arg)
{
    bl_chan **c = arg;
    int v;
    while (bl_chan_recv(c[0], &v) == 0)
        if (bl_chan_send(c[1], &v) < 0)
            return 1;
    bl_chan_close(c[1]);
    return 0;
}

/*? pipeline_that_closes right
 */
static int pipeline_that_closes(void *arg)
{
    (void)arg;
    int v, sum = 0;
    BL_SCOPE(s);
    bl_chan *c[4];
    for (int i = 0; i < 4; i++)
        c[i] = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < 3; i++)
        bl_go(s, stage, &c[i]);
    if (nap(LONG) != 0)
        return 1;
    for (int i = 0; i < 3; i++)
        if (bl_chan_send(c[0], &i) < 0 || bl_chan_recv(c[3], &v) < 0)
            return 1;
        else
            sum += v;
    bl_chan_close(c[0]);
    return bl_chan_recv(c[3], &v) != BL_ECLOSED || sum != 3;
}

static int nested_leaf(void *arg)
{
    (void)arg;
    return nap(LONG);
}

static int nested(void *arg)
{
    int depth = (int)(intptr_t)arg;
    BL_SCOPE(s);
    bl_go(s, depth > 0 ? nested : nested_leaf, (void *)(intptr_t)(depth - 1));
    return bl_scope_wait(s);
}

/*? deep_scopes right
 */
static int deep_scopes(void *arg)
{
    (void)arg;
    return nested((void *)(intptr_t)10);
}

static int sleeps_shielded(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "flush", .shield = true);
    return nap(LONG);
}

/*? shield_within_the_grace right
 */
static int shield_within_the_grace(void *arg)
{
    BL_SCOPE(s, .timeout = 50 * BL_MS, .grace = 20 * BL_SEC);
    bl_go(s, sleeps_shielded, arg);
    return bl_scope_wait(s) != BL_ETIMEDOUT;
}

static int helper(void *arg)
{
    (void)arg;
    struct timespec t = {.tv_nsec = LONG / 2};
    nanosleep(&t, NULL);
    return 0;
}

static int blocking_then_close(void *arg)
{
    int r = bl_blocking(helper, NULL);
    bl_chan_close(arg);
    return r;
}

static int recv_end(void *arg) { return bl_chan_recv((bl_chan *)arg, NULL) == BL_ECLOSED ? 0 : 1; }

/*? blocking_call_comes_back right
 */
static int blocking_call_comes_back(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_end, c);
    bl_go(s, blocking_then_close, c);
    return bl_scope_wait(s);
}

static int fail_late(void *arg)
{
    (void)arg;
    return nap(LONG) != 0 ? 1 : BL_EIO; /* which cancels the others */
}

/*? an_error_stops_the_others right
 */
static int an_error_stops_the_others(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_end, c);
    bl_go(s, recv_end, NULL);
    bl_go(s, fail_late, NULL);
    return bl_scope_wait(s) != BL_EIO;
}

PROGRAMS({"lock_held_long", lock_held_long}, {"one_order_of_locks", one_order_of_locks},
         {"gives_up_in_time", gives_up_in_time}, {"writer_behind_readers", writer_behind_readers},
         {"signalled_late", signalled_late}, {"idle_workers_of_a_queue", idle_workers_of_a_queue},
         {"done_comes_late", done_comes_late}, {"few_seats", few_seats},
         {"four_chairs_for_five", four_chairs_for_five}, {"slow_once", slow_once},
         {"full_pool", full_pool}, {"idle_pool", idle_pool}, {"limited_scope", limited_scope},
         {"unlocked_before_the_send", unlocked_before_the_send},
         {"pipeline_that_closes", pipeline_that_closes}, {"deep_scopes", deep_scopes},
         {"shield_within_the_grace", shield_within_the_grace},
         {"blocking_call_comes_back", blocking_call_comes_back},
         {"an_error_stops_the_others", an_error_stops_the_others})
