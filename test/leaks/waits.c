/* SPDX-License-Identifier: MIT */
/* Conditions, wait groups, semaphores, once, pools, limits: what was missed or comes too early. */
#include "leaks.h"

/* ---- Conditions ---- */

typedef struct gate {
    bl_mutex lock;
    bl_cond opened;
    int open;
} gate;

static int gate_pass(void *arg)
{
    gate *g = arg;
    bl_mutex_lock(&g->lock);
    int r = until_left(3) < 0 ? 1 : bl_cond_wait(&g->opened, &g->lock); /* @gate_wait */
    bl_mutex_unlock(&g->lock);
    return r;
}

static int gate_open(void *arg)
{
    gate *g = arg;
    bl_cond_signal(&g->opened); /* before anybody waits */
    return 0;
}

static int gate_part(void *arg)
{
    (void)arg;
    gate g = {.open = 0};
    BL_SCOPE(s, .name = "gate");
    bl_go(s, gate_pass, &g);
    bl_go(s, gate_open, &g);
    return bl_scope_wait(s); /* @gate_join */
}

/*? signalled_before_the_wait deadlock
 * gate_part@gate_join [scope wait] waits on scope "gate"
 * gate_pass@gate_wait [sync.Cond.Wait] waits on sync.Cond; cause: nobody is left to signal it
 */
static int signalled_before_the_wait(void *arg)
{
    bl_go(bl_root(), gate_part, arg);
    return go_on();
}

typedef struct queue {
    bl_mutex lock;
    bl_cond filled;
    int items, closed, waiting;
} queue;

static int queue_worker(void *arg)
{
    queue *q = arg;
    bl_mutex_lock(&q->lock);
    q->waiting++;
    while (q->items == 0 && !q->closed)
        if (bl_cond_wait(&q->filled, &q->lock) < 0) /* @queue_wait */
            break;
    bl_mutex_unlock(&q->lock);
    return 0;
}

/*? signal_for_many global
 * signal_for_many@queue_join [scope wait] waits on scope "workers"
 * queue_worker@queue_wait [sync.Cond.Wait] cause: nobody is left to signal it
 * queue_worker@queue_wait [sync.Cond.Wait] in scope "workers"
 */
static int signal_for_many(void *arg)
{
    (void)arg;
    queue q = {.items = 0};
    BL_SCOPE(s, .name = "workers");
    for (int i = 0; i < 3; i++)
        bl_go(s, queue_worker, &q);
    for (bl_mutex_lock(&q.lock); q.waiting < 3; bl_mutex_lock(&q.lock)) {
        bl_mutex_unlock(&q.lock);
        if (bl_sleep(BL_MS) < 0)
            return 1;
    }
    q.closed = 1;
    bl_cond_signal(&q.filled); /* where it should be a broadcast */
    bl_mutex_unlock(&q.lock);
    return bl_scope_wait(s); /* @queue_join */
}

static int queue_make(void *arg)
{
    queue *q = calloc(1, sizeof *q);
    return bl_go((bl_scope *)arg, queue_worker, q); /* nobody else has it any more */
}

/*? nobody_signals leak
 * queue_worker@queue_wait [sync.Cond.Wait] cause: nobody is left to signal it
 */
static int nobody_signals(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "queues");
    bl_go(s, queue_make, s);
    return go_on();
}

/* ---- Wait groups ---- */

typedef struct batch {
    bl_waitgroup done;
    int failed;
} batch;

static int batch_job(void *arg)
{
    batch *b = arg;
    if (b->failed++ % 2 != 0)
        return 0; /* without done */
    bl_waitgroup_done(&b->done);
    return 0;
}

static int batch_part(void *arg)
{
    (void)arg;
    batch b = {.failed = 0};
    BL_SCOPE(s, .name = "batch", .limit = 1);
    bl_waitgroup_add(&b.done, 4);
    for (int i = 0; i < 4; i++)
        bl_go(s, batch_job, &b);
    return bl_waitgroup_wait(&b.done); /* @batch_wait */
}

/*? done_missed deadlock
 * batch_part@batch_wait [sync.WaitGroup.Wait] (count 2); cause: nobody is left to call done
 */
static int done_missed(void *arg)
{
    bl_go(bl_root(), batch_part, arg);
    return go_on();
}

static int wait_all(void *arg) { return bl_waitgroup_wait(arg); /* @all_wait */ }

/*? added_too_many global
 * added_too_many@added_join [scope wait] waits on scope
 * wait_all@all_wait [sync.WaitGroup.Wait] (count 1); cause: nobody is left to call done
 */
static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int added_too_many(void *arg)
{
    (void)arg;
    bl_waitgroup wg = {0};
    BL_SCOPE(s);
    bl_waitgroup_add(&wg, 1); /* and bl_waitgroup_go adds by itself */
    bl_waitgroup_go(&wg, s, nothing, NULL);
    bl_go(s, wait_all, &wg);
    return bl_scope_wait(s); /* @added_join */
}

typedef struct collect {
    bl_waitgroup wg;
    bl_chan *out;
} collect;

static int collect_one(void *arg)
{
    collect *c = arg;
    int v = 1;
    int r = bl_chan_send(c->out, &v); /* @collect_send */
    bl_waitgroup_done(&c->wg);
    return r;
}

static int collect_part(void *arg)
{
    (void)arg;
    int v, sum = 0;
    BL_SCOPE(s, .name = "collect");
    collect c = {.out = bl_scope_chan(s, sizeof(int), 0)}; /* @collect_chan */
    bl_waitgroup_add(&c.wg, 2);
    for (int i = 0; i < 2; i++)
        bl_go(s, collect_one, &c);
    int r = bl_waitgroup_wait(&c.wg); /* and only then receives @collect_wait */
    bl_chan_close(c.out);
    while (bl_chan_recv(c.out, &v) == 0)
        sum += v;
    return r < 0 ? r : sum;
}

/*? waits_before_it_receives deadlock
 * collect_part@collect_wait [sync.WaitGroup.Wait] (count 2); cause: nobody is left to call done
 * collect_one@collect_send [chan send] made by collect_part at @collect_chan; in scope "collect"; and 1 more
 */
static int waits_before_it_receives(void *arg)
{
    bl_go(bl_root(), collect_part, arg);
    return go_on();
}

/* ---- Semaphores ---- */

typedef struct seats {
    bl_sem free;
    int taken;
} seats;

static int seat_user(void *arg)
{
    seats *t = arg;
    int r = bl_sem_acquire(&t->free, 1); /* @seat_acquire */
    if (r < 0)
        return r;
    if (++t->taken == 2)
        return 0; /* without giving it back */
    bl_sem_release(&t->free, 1);
    return 0;
}

static int seats_part(void *arg)
{
    (void)arg;
    seats t = {.taken = 0};
    BL_SCOPE(s, .name = "seats");
    bl_sem_init(&t.free, 1);
    for (int i = 0; i < 4; i++)
        bl_go(s, seat_user, &t);
    return bl_scope_wait(s); /* @seats_join */
}

/*? not_released deadlock
 * seats_part@seats_join [scope wait] waits on scope "seats"
 * seat_user@seat_acquire [semaphore] (0 free); cause: nobody is left to release it; and 1 more
 */
static int not_released(void *arg)
{
    bl_go(bl_root(), seats_part, arg);
    return go_on();
}

/*? more_than_there_is global
 * more_than_there_is@big_acquire [semaphore] (3 free, the first in line wants 4); cause: nobody is left to release it
 */
static int more_than_there_is(void *arg)
{
    (void)arg;
    bl_sem s;
    bl_sem_init(&s, 3);
    int r = bl_sem_acquire(&s, 4); /* @big_acquire */
    return r;
}

/* ---- Once ---- */

typedef struct lazy {
    bl_once a, b;
    bl_waitgroup both;
    int order;
} lazy;

static int lazy_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int lazy_a(void *arg)
{
    lazy *l = arg;
    bl_waitgroup_done(&l->both);
    if (bl_waitgroup_wait(&l->both) == 0)
        bl_once_do(&l->b, lazy_nothing, l); /* @once_b */
    return 0;
}

static int lazy_b(void *arg)
{
    lazy *l = arg;
    bl_waitgroup_done(&l->both);
    if (bl_waitgroup_wait(&l->both) == 0)
        bl_once_do(&l->a, lazy_nothing, l); /* @once_a */
    return 0;
}

static int init_a(void *arg)
{
    bl_once_do(&((lazy *)arg)->a, lazy_a, arg);
    return 0;
}

static int init_b(void *arg)
{
    bl_once_do(&((lazy *)arg)->b, lazy_b, arg);
    return 0;
}

/*? once_in_a_circle deadlock
 * lazy_a@once_b [sync.Once.Do] run by goroutine 3; cause: goroutine 3 (init_b) runs it, and is itself in sync.Once.Do
 * lazy_b@once_a [sync.Once.Do] run by goroutine 2; cause: goroutine 2 (init_a) runs it, and is itself in sync.Once.Do
 */
static int once_in_a_circle(void *arg)
{
    (void)arg;
    static lazy l;
    bl_waitgroup_add(&l.both, 2);
    bl_go(bl_root(), init_a, &l);
    bl_go(bl_root(), init_b, &l);
    return go_on();
}

/* ---- Pools and limits ---- */

typedef struct jobs {
    bl_pool *pool;
    bl_chan *out;
} jobs;

static int job_inner(void *arg)
{
    (void)arg;
    return 0;
}

static int job_outer(void *arg)
{
    jobs *j = arg;
    int r = 0;
    for (int i = 0; r == 0 && i < 3; i++)
        r = bl_pool_submit(j->pool, job_inner, j); /* to the pool that it runs in @inner_submit */
    return r;
}

static int pool_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "jobs");
    const bl_pool_opts o = {.workers = 1, .queue = 1, .name = "jobs"};
    jobs j = {.pool = bl_pool_new(s, &o)}; /* @pool */
    if (bl_pool_submit(j.pool, job_outer, &j) < 0)
        return 1;
    return bl_scope_wait(s); /* @pool_wait */
}

/*? job_submits_to_its_own_pool deadlock
 * pool_part@pool_wait [scope wait] waits on scope "jobs"; cause: it joins goroutines of which none can end
 * job_outer@inner_submit [pool submit] waits on pool "jobs"; made by pool_part at @pool; cause: the queue is full
 */
static int job_submits_to_its_own_pool(void *arg)
{
    bl_go(bl_root(), pool_part, arg);
    return go_on();
}

static int job_sends(void *arg)
{
    int v = 1;
    return bl_chan_send(((jobs *)arg)->out, &v); /* @job_send */
}

static int drain_part(void *arg)
{
    (void)arg;
    int v, r = 0;
    BL_SCOPE(s, .name = "results");
    jobs j = {.pool = bl_pool_new(s, NULL),
              .out = bl_scope_chan(s, sizeof(int), 0)}; /* @job_chan */
    for (int i = 0; r == 0 && i < 1; i++)
        r = bl_pool_submit(j.pool, job_sends, &j);
    r = r < 0 ? r : bl_pool_drain(j.pool); /* and only then receives @results_drain */
    return r < 0 ? r : bl_chan_recv(j.out, &v);
}

/*? drains_before_it_receives deadlock
 * drain_part@results_drain [pool wait] cause: a job of the pool cannot end
 * job_sends@job_send [chan send] made by drain_part at @job_chan; cause: nobody is left to receive
 */
static int drains_before_it_receives(void *arg)
{
    bl_go(bl_root(), drain_part, arg);
    return go_on();
}

typedef struct walk {
    bl_scope *s;
    int depth;
} walk;

static int walk_tree(void *arg)
{
    walk w = *(walk *)arg;
    if (w.depth-- == 0)
        return 0;
    bl_go_copy(w.s, walk_tree, &w, sizeof w); /* waits for room while it takes some @walk_go */
    return 0;
}

static int walk_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "walk", .limit = 1);
    walk w = {s, 3};
    bl_go_copy(s, walk_tree, &w, sizeof w);
    return bl_scope_wait(s); /* @walk_wait */
}

/*? limit_reached_from_inside deadlock
 * walk_part@walk_wait [scope wait] (limit 1, 1 running); opened by walk_part
 * walk_tree@walk_go [scope limit] waits on scope "walk"; cause: the scope is full
 */
static int limit_reached_from_inside(void *arg)
{
    bl_go(bl_root(), walk_part, arg);
    return go_on();
}

PROGRAMS({"signalled_before_the_wait", signalled_before_the_wait},
         {"signal_for_many", signal_for_many}, {"nobody_signals", nobody_signals},
         {"done_missed", done_missed}, {"added_too_many", added_too_many},
         {"waits_before_it_receives", waits_before_it_receives}, {"not_released", not_released},
         {"more_than_there_is", more_than_there_is}, {"once_in_a_circle", once_in_a_circle},
         {"job_submits_to_its_own_pool", job_submits_to_its_own_pool},
         {"drains_before_it_receives", drains_before_it_receives},
         {"limit_reached_from_inside", limit_reached_from_inside})
