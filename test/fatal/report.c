/* SPDX-License-Identifier: MIT */
/* Reports: deadlock, leaks, the grace of a scope, and who else was there. */
#include <sys/stat.h>
#include <unistd.h>

#include "cases.h"

static bl_mutex mutex;
static bl_rwmutex rwmutex;
static bl_cond cond;
static bl_waitgroup group;
static bl_sem sems[2];

static int receive(void *arg)
{
    int v;
    return KEEP(bl_chan_recv((bl_chan *)arg, &v));
}

static int send_after(void *arg)
{
    int v = 1;
    return KEEP(bl_chan_send((bl_chan *)arg, &v)) || KEEP(bl_chan_send((bl_chan *)arg, &v));
}

static int select_two(void *arg)
{
    int v = 0;
    bl_chan **c = arg;
    return KEEP(BL_SELECT(BL_RECV(c[0], &v), BL_SEND(c[1], &v)));
}

static int lock(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    return KEEP(0);
}

static int wlock(void *arg)
{
    (void)arg;
    bl_rwmutex_lock(&rwmutex);
    return KEEP(0);
}

static int rlock(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&rwmutex);
    return KEEP(0);
}

static int wait_cond(void *arg)
{
    bl_mutex *own = arg;
    bl_mutex_lock(own);
    return KEEP(bl_cond_wait(&cond, own));
}

static int wait_group(void *arg)
{
    (void)arg;
    return KEEP(bl_waitgroup_wait(&group));
}

static int acquire(void *arg)
{
    (void)arg;
    return KEEP(bl_sem_acquire(&sems[1], 2));
}

/* Every kind of wait. */
static int deadlock(void *arg)
{
    (void)arg;
    static bl_mutex own;
    BL_SCOPE(s, .name = "all");
    bl_chan *empty = bl_scope_chan(s, sizeof(int), 0);
    bl_chan *full = bl_scope_chan(s, sizeof(int), 1);
    bl_chan *two[] = {empty, bl_scope_chan(s, sizeof(int), 0)};
    bl_mutex_lock(&mutex);
    bl_rwmutex_lock(&rwmutex);
    bl_waitgroup_add(&group, 3);
    bl_sem_init(&sems[1], 1);
    bl_go(s, receive, empty);
    bl_go(s, receive, NULL);
    bl_go(s, send_after, full);
    bl_go(s, select_two, two);
    bl_go(s, lock, NULL);
    bl_go(s, wlock, NULL);
    bl_go(s, rlock, NULL);
    bl_go(s, wait_cond, &own);
    bl_go(s, wait_group, NULL);
    bl_go(s, acquire, NULL);
    return KEEP(bl_scope_wait(s));
}

static int labelled(void *arg)
{
    bl_label("request", "42");
    bl_label("user", "ann");
    bl_label("request", "43");
    return receive(arg);
}

static int labels(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "labels");
    bl_label("service", "shop");
    bl_go(s, labelled, bl_scope_chan(s, sizeof(int), 0));
    return KEEP(bl_scope_wait(s));
}

static int crash_beside(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "beside");
    bl_go(s, receive, bl_scope_chan(s, sizeof(int), 0));
    bl_yield();
    bl_go(s, wait_group, NULL); /* has not run yet */
    bl_chan_close(NULL);
    return 0;
}

/* A mutex is no stop path, so its waiter does not hear of the end. */
static int leak(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    bl_go(bl_root(), lock, NULL);
    bl_go(bl_root(), lock, NULL);
    bl_yield();
    return 0;
}

static int lock_and_leave(void *arg)
{
    bl_mutex_lock(&mutex);
    (void)arg;
    int r = bl_sleep(300 * BL_MS);
    bl_mutex_unlock(&mutex);
    return r;
}

static int lock_unlock(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    bl_mutex_unlock(&mutex);
    return KEEP(0);
}

static int shielded(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "shield", .shield = true);
    bl_go(s, lock_and_leave, NULL);
    return bl_scope_wait(s);
}

/* Joined in the end, but later than its grace. */
static int grace(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "slow", .grace = 10 * BL_MS);
    bl_go(s, shielded, NULL);
    bl_yield();
    bl_yield();
    bl_go(s, lock_unlock, NULL);
    bl_yield();
    bl_scope_cancel(s, 0);
    (void)bl_scope_wait(s);
    return 0;
}

static uint32_t spinning, spin_stop; /* atomic */

static __attribute__((noinline)) int spin_until(const uint32_t *stop)
{
    __atomic_store_n(&spinning, 1, __ATOMIC_RELAXED);
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
        ;
    return 0;
}

/* On one line: of one that runs, the report has the function's own. */
static int spin(void *arg) { return KEEP(spin_until(arg)); }

/* Until the report is in the file that stderr is. */
static void report_wait(void)
{
    const char *on_leak = getenv("BELAY_ON_LEAK");
    bool comes = !on_leak || strcmp(on_leak, "ignore") != 0;
    struct stat st = {0};
    for (bl_time end = bl_in(comes ? 20 * BL_SEC : 100 * BL_MS); bl_now() < end && !st.st_size;)
        if (bl_sleep(5 * BL_MS) < 0 || fstat(STDERR_FILENO, &st) < 0)
            return;
}

static int release_later(void *arg)
{
    (void)arg;
    report_wait();
    __atomic_store_n(&spin_stop, 1, __ATOMIC_RELAXED);
    return 0;
}

/* One that runs all the time on another processor, and stops when it has been reported. */
static int late_runner(bl_dur grace, bl_fn then)
{
    bl_set_procs(3); /* it, the opener, and the one that waits for the report */
    bl_go(bl_root(), then, NULL);
    BL_SCOPE(s, .name = "busy", .grace = grace);
    bl_go(s, spin, &spin_stop);
    while (!__atomic_load_n(&spinning, __ATOMIC_RELAXED))
        bl_yield();
    bl_scope_cancel(s, 0);
    (void)bl_scope_wait(s);
    return 0;
}

static int grace_running(void *arg)
{
    (void)arg;
    return late_runner(10 * BL_MS, release_later);
}

static int waited_running(void *arg)
{
    (void)arg;
    return late_runner(1200 * BL_MS, release_later);
}

static int exit_soon(void *arg)
{
    (void)arg;
    report_wait();
    exit(0);
}

/* The process exits while somebody is late. */
static int grace_exit(void *arg)
{
    (void)arg;
    return late_runner(10 * BL_MS, exit_soon);
}

/* How long it has waited is shown from a second on. */
static int waited(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "long");
    bl_go(s, receive, bl_scope_chan(s, sizeof(int), 0));
    int r = bl_sleep(1200 * BL_MS);
    return r < 0 ? r : bl_scope_wait(s);
}

static int sleeper(void *arg)
{
    (void)arg;
    return bl_sleep(BL_MS);
}

static int clean(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    for (int i = 0; i < 10; i++)
        bl_go(s, sleeper, NULL);
    return bl_scope_wait(s);
}

static bool held; /* the releaser has the mutex */

static int hold_until_reported(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    held = true;
    report_wait();
    bl_mutex_unlock(&mutex);
    return 0;
}

static int job_quick(void *arg)
{
    (void)arg;
    return 0;
}

/* A job that its pool's end does not stop. */
static int pool_stopped(void *arg)
{
    (void)arg;
    bl_go(bl_root(), hold_until_reported, NULL);
    while (!held)
        bl_yield();
    BL_SCOPE(s, .grace = 10 * BL_MS);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .name = "mill"});
    if (bl_pool_submit(p, lock_unlock, NULL) != 0 || bl_pool_submit(p, job_quick, NULL) != 0)
        return -1;
    bl_yield();
    return bl_pool_stop(p, 5 * BL_MS) - 1; /* the quick one was dropped */
}

static int job_asleep(void *arg)
{
    (void)arg;
    return bl_sleep(BL_MIN);
}

static void discard_slowly(bl_fn fn, void *arg)
{
    (void)fn, (void)arg;
    (void)!bl_sleep(20 * BL_MS);
}

static int stop_it(void *arg) { return bl_pool_stop(arg, 0) < 0; }

/* Who waits for another's on_discard waits for no job. */
static int pool_discards(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .grace = BL_MS);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .on_discard = discard_slowly});
    if (bl_pool_submit(p, job_asleep, NULL) != 0 || bl_pool_submit(p, job_asleep, NULL) != 0)
        return -1;
    bl_yield();
    bl_go(s, stop_it, p);
    bl_go(s, stop_it, p);
    return bl_scope_wait(s);
}

static const fatal_case cases[] = {
    {"deadlock", deadlock},
    {"labels", labels},
    {"crash_beside", crash_beside},
    {"leak", leak},
    {"grace", grace},
    {"waited", waited},
    {"clean", clean},
    {"grace_running", grace_running},
    {"waited_running", waited_running},
    {"grace_exit", grace_exit},
    {"pool_stopped", pool_stopped},
    {"pool_discards", pool_discards},
};

CASES_MAIN(cases)
