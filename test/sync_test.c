/* SPDX-License-Identifier: MIT */
/* sync_test.c: the mutex; what becomes of locks whose owner ends, and of their storage. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/sched.h"
#include "debug/stuck.h"

#include "calls.h"
#include "run.h"

static bl_test *const t; /* the test that the caller is of */

static void busy(bl_dur d)
{
    for (bl_time end = bl_now() + d; bl_now() < end;)
        ;
}

/* ---- Mutex ----------------------------------------------------------------------------------- */

enum { COUNTERS = 8, ROUNDS = 3000, CALLS = 6 };

typedef struct shared {
    bl_mutex m;
    long count; /* m */
    int inside; /* m: 0 or 1 */
} shared;

typedef struct counted {
    bl_mutex m;
    bl_rwmutex rw;
    int references; /* m or rw */
} counted;

static int count_plain(void *arg)
{
    shared *sh = arg;
    for (int i = 0; i < ROUNDS; i++) {
        bl_mutex_lock(&sh->m);
        sh->count++;
        bl_mutex_unlock(&sh->m);
    }
    return 0;
}

static int count_and_yield(void *arg)
{
    shared *sh = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 7 == 0)
            while (!bl_mutex_try_lock(&sh->m))
                bl_yield();
        else if (i % 5 == 0)
            while (bl_mutex_lock_until(&sh->m, bl_in(20 * BL_US)) < 0)
                bl_yield();
        else
            bl_mutex_lock(&sh->m);
        BL_CHECK_EQ(t, sh->inside++, 0);
        sh->count++;
        if (i % 3 == 0)
            bl_yield();
        sh->inside--;
        bl_mutex_unlock(&sh->m);
    }
    return 0;
}

BL_TEST(mutex_excludes)
{
    shared sh = {0};
    BL_SCOPE(s);
    for (int i = 0; i < COUNTERS; i++)
        bl_go(s, i % 2 ? count_and_yield : count_plain, &sh);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, sh.count, COUNTERS * ROUNDS);
    BL_CHECK_EQ(t, sh.m.bl__word,
                0); /* no flag is left behind, which would make it slow for good */
}

static void *count_in_thread(void *arg)
{
    count_plain(arg);
    return NULL;
}

BL_TEST(mutex_excludes_plain_threads)
{
    shared sh = {0};
    pthread_t thread[2];
    BL_SCOPE(s);
    for (int i = 0; i < 2; i++)
        BL_CHECK_EQ(t, pthread_create(&thread[i], NULL, count_in_thread, &sh), 0);
    for (int i = 0; i < COUNTERS - 2; i++)
        bl_go(s, i % 2 ? count_and_yield : count_plain, &sh);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    BL_CHECK_EQ(t, sh.count, COUNTERS * ROUNDS);
    BL_CHECK_EQ(t, sh.m.bl__word, 0);
}

/* The thread's first call. Nothing but the mutex says that its record is made. */
static void *take_first(void *arg)
{
    bl_mutex *m = arg;
    bl_mutex_lock(m);
    while (__atomic_load_n(&m->bl__word, __ATOMIC_RELAXED) % 8 == 0)
        usleep(20); /* until a flag says that somebody waits */
    bl_mutex_unlock(m);
    return NULL;
}

BL_TEST(mutex_of_a_thread_that_is_new)
{
    bl_mutex m = {0};
    pthread_t thread;
    BL_REQUIRE_EQ(t, pthread_create(&thread, NULL, take_first, &m), 0);
    while (__atomic_load_n(&m.bl__word, __ATOMIC_RELAXED) == 0)
        usleep(20);
    bl_mutex_lock(&m); /* of which ThreadSanitizer says nothing */
    bl_mutex_unlock(&m);
    BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
}

BL_TEST(mutex_try_lock)
{
    bl_mutex m = {0}, other = {0};
    BL_CHECK(t, bl_mutex_try_lock(&m));
    BL_CHECK(t, !bl_mutex_try_lock(&m));
    BL_CHECK(t, bl_mutex_try_lock(&other));
    bl_mutex_unlock(&m);
    BL_CHECK(t, bl_mutex_try_lock(&m));
    bl_mutex_unlock(&other);
    bl_mutex_unlock(&m);
}

BL_TEST(mutexes_are_unlocked_in_any_order)
{
    bl_mutex m[4] = {0};
    static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}};
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++)
            bl_mutex_lock(&m[k]);
        for (int k = 0; k < 4; k++)
            bl_mutex_unlock(&m[orders[i][k]]);
        BL_CHECK(t, bl__self()->held == NULL);
        for (int k = 0; k < 4; k++)
            BL_CHECK(t, m[k].bl__held == NULL);
    }
}

BL_TEST(write_locks_are_unlocked_in_any_order)
{
    bl_rwmutex m[3] = {0};
    for (int first = 0; first < 3; first++) {
        for (int k = 0; k < 3; k++)
            bl_rwmutex_lock(&m[k]);
        for (int k = 0; k < 3; k++)
            bl_rwmutex_unlock(&m[(first + k) % 3]);
        BL_CHECK(t, bl__self()->held_rw == NULL);
        for (int k = 0; k < 3; k++)
            BL_CHECK(t, m[k].bl__held == NULL);
    }
}

static int call_lock(call *c)
{
    bl_mutex_lock(c->obj);
    call_turn(c);
    bl_mutex_unlock(c->obj);
    return 0;
}

static int call_lock_until(call *c)
{
    int r = bl_mutex_lock_until(c->obj, c->deadline);
    if (r == 0) {
        call_turn(c);
        bl_mutex_unlock(c->obj);
    }
    return r;
}

BL_TEST(mutex_is_handed_over_in_order_by_an_owner_that_waited)
{
    bl_mutex m = {0};
    call calls[CALLS];
    int turns = 0;
    BL_SCOPE(s);
    bl_mutex_lock(&m);
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (call){.fn = call_lock, .obj = &m, .turns = &turns};
        call_parks(s, &calls[i]);
    }
    BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    bl_mutex_unlock(&m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 0; i < CALLS; i++)
        BL_CHECK_EQ(t, calls[i].turn, i);
}

static void *lock_until_told(void *arg)
{
    shared *sh = arg;
    bl_mutex_lock(&sh->m);
    while (!load_relaxed(&sh->inside))
        sched_yield();
    bl_mutex_unlock(&sh->m);
    return NULL;
}

static int locks_quickly(void *arg)
{
    (void)arg;
    enum { WAITERS = 1 };
    bool again = false;
    for (int i = 0; i < 100 && !again; i++) { /* the thread may be quicker */
        shared sh = {0};
        pthread_t thread;
        bl_mutex_lock(&sh.m); /* the first is a slow one */
        bl_mutex_unlock(&sh.m);
        bl_yield();
        bl_mutex_lock(&sh.m);
        BL_CHECK_EQ(t, pthread_create(&thread, NULL, lock_until_told, &sh), 0);
        while (!(load_relaxed(&sh.m.bl__word) & WAITERS))
            sched_yield();
        bl_mutex_unlock(&sh.m);
        again = bl_mutex_try_lock(&sh.m);
        store_relaxed(&sh.inside, 1);
        if (again)
            bl_mutex_unlock(&sh.m);
        pthread_join(thread, NULL);
    }
    BL_CHECK(t, again || BL__TSAN); /* where who waits does not read what it has to know */
    return 0;
}

BL_TEST_PLAIN(mutex_is_not_handed_over_by_an_owner_that_did_not_switch)
{
    BL_CHECK_EQ(t, setenv("BELAY_DEBUG", "lockorder=0", 1), 0); /* which makes all locks slow */
    BL_CHECK_EQ(t, bl_run(locks_quickly, NULL, NULL), 0);
    BL_CHECK_EQ(t, unsetenv("BELAY_DEBUG"), 0);
}

/* What is a cache line long, or two, lies in as many of them. */
BL_TEST_PLAIN(mutex_functions_begin_where_a_cache_line_does)
{
    enum { CACHE_LINE = 64 };
    BL_CHECK_EQ(t, (uintptr_t)bl_mutex_lock % CACHE_LINE, 0);
    BL_CHECK_EQ(t, (uintptr_t)bl_mutex_unlock % CACHE_LINE, 0);
}

BL_TEST(mutex_lock_until_gives_up)
{
    bl_mutex m = {0};
    BL_SCOPE(s);
    bl_mutex_lock(&m);
    bl_time deadline = bl_in(5 * BL_MS);
    call late = {.fn = call_lock_until, .obj = &m, .deadline = deadline};
    call_parks(s, &late);
    call stays = {.fn = call_lock_until, .obj = &m};
    call_parks(s, &stays);
    BL_CHECK(t, call_returns(&late));
    BL_CHECK_ERR(t, call_result(&late), BL_ETIMEDOUT);
    BL_CHECK_GE(t, bl_now(), deadline);
    BL_CHECK_EQ(t, call_result(&stays), CALL_PENDING);

    BL_SCOPE(cancelled);
    call told = {.fn = call_lock_until, .obj = &m};
    call_parks(cancelled, &told);
    call deaf = {.fn = call_lock, .obj = &m};
    call_parks(cancelled, &deaf);
    bl_scope_cancel(cancelled, 0);
    BL_CHECK(t, call_returns(&told));
    BL_CHECK_ERR(t, call_result(&told), BL_ECANCELED);
    BL_CHECK_EQ(t, call_result(&deaf), CALL_PENDING); /* bl_mutex_lock is no stop path */

    bl_mutex_unlock(&m);
    BL_CHECK(t, call_returns(&stays));
    BL_CHECK_EQ(t, call_result(&stays), 0);
    BL_CHECK(t, call_returns(&deaf));
    BL_CHECK_EQ(t, m.bl__word, 0);
    BL_CHECK_EQ(t, bl_mutex_lock_until(&m, bl_now() - 1), 0); /* what can proceed proceeds */
    bl_mutex_unlock(&m);
}

/* Holds the mutex nearly all the time, without ever switching while it does. */
static int hog_mutex(void *arg)
{
    call *waiter = arg;
    for (int i = 0; call_result(waiter) == CALL_PENDING; i++) {
        bl_mutex_lock(waiter->obj);
        busy(50 * BL_US);
        bl_mutex_unlock(waiter->obj);
        if (i % 100 == 99 && bl_procs() == 1)
            bl_yield(); /* the other has to run at all */
    }
    return 0;
}

/* k: how often it has waited. */
static int call_lock_counted(call *c)
{
    uint32_t before = bl__stuck_moves(bl__self());
    int r = call_lock(c);
    c->k = bl__stuck_moves(bl__self()) - before;
    return r;
}

/* Who is woken in vain waits for a hog's next turn: twenty of them in the millisecond after which it
 * has starved. However slow the machine is, for it those are as many; and without end, where it is
 * given nothing then, but for luck. */
BL_TEST(mutex_starves_nobody)
{
    bl_mutex m = {0};
    for (int i = 0; i < 20; i++) {
        BL_SCOPE(s);
        call c = {.fn = call_lock_counted, .obj = &m, .result = CALL_PENDING};
        bl_go(s, hog_mutex, &c);
        bl_go(s, hog_mutex, &c);
        bl_yield();
        bl_go(s, call_run, &c);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_LE(t, c.k, 100);
    }
    BL_CHECK_EQ(t, m.bl__word, 0);
}

/* ---- Locks that are never unlocked ----------------------------------------------------------- */

static int end_with_locks(void *arg)
{
    counted *c = arg;
    bl_mutex inner = {0};
    bl_mutex_lock(&c->m);
    bl_mutex_lock(&inner);
    bl_rwmutex_lock(&c->rw);
    bl_mutex_unlock(&inner);
    return 0;
}

/* What the goroutine, which ends well, has on stderr. */
static void said_by(bl_fn fn, counted *c, char *text, size_t size)
{
    FILE *out = tmpfile();
    BL_REQUIRE(t, out != NULL);
    int before = dup(2);
    dup2(fileno(out), 2);
    {
        BL_SCOPE(s);
        bl_go(s, fn, c);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    }
    dup2(before, 2);
    close(before);
    rewind(out);
    text[fread(text, 1, size - 1, out)] = 0;
    fclose(out);
}

/* In a run of its own: the runner's would fail the test, and say nothing else. */
RUN_TEST(locks_held_at_the_end_are_reported)
{
    static counted c; /* static: nobody can ever unlock them */
    char text[4096], expected[128];
    memset(&c, 0, sizeof c);
    said_by(end_with_locks, &c, text, sizeof text);

    snprintf(expected, sizeof expected, "(fn) ended holding a sync.Mutex at %p", (void *)&c.m);
    BL_CHECK(t, strstr(text, "belay: leak: goroutine ") == text);
    BL_CHECK(t, strstr(text, expected) != NULL);
    snprintf(expected, sizeof expected, "ended holding a sync.RWMutex at %p", (void *)&c.rw);
    BL_CHECK(t, strstr(text, expected) != NULL);
    BL_CHECK(t, strstr(text, "whoever waits for it is stuck") != NULL);
    BL_CHECK(t, strstr(text, __FILE__) != NULL); /* where it was started */

    BL_CHECK(t, !bl_mutex_try_lock(&c.m));
    BL_CHECK(t, !bl_rwmutex_try_rlock(&c.rw));
    BL_CHECK_ERR(t, bl_mutex_lock_until(&c.m, bl_in(BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_rwmutex_rlock_until(&c.rw, bl_in(BL_MS)), BL_ETIMEDOUT);
}

/* What lay in a frame that has returned is told by its address; what is there now is left alone. */
static uintptr_t dead_lock, dead_rw;

static __attribute__((noinline)) void lock_in_a_frame(void)
{
    bl_mutex m[2] = {0};
    bl_rwmutex rw[2] = {0};
    for (int i = 0; i < 2; i++) {
        bl_mutex_lock(&m[i]);
        bl_rwmutex_lock(&rw[i]);
    }
    dead_lock = (uintptr_t)&m[1];
    dead_rw = (uintptr_t)&rw[1];
}

static __attribute__((noinline)) void write_over_frames(void)
{
    volatile char over[2048];
    for (size_t i = 0; i < sizeof over; i++)
        over[i] = 0x55;
}

static int end_with_dead_locks(void *arg)
{
    counted *c = arg;
    bl_mutex other = {0};
    bl_mutex_lock(&c->m);
    bl_mutex_lock(&other);
    lock_in_a_frame();
    write_over_frames();
    bl_mutex_unlock(&c->m); /* by a walk along the list */
    bl_mutex_lock(&c->m);
    bl_mutex_unlock(&c->m);
    write_over_frames();
    return 0;
}

RUN_TEST(locks_of_frames_that_have_returned)
{
    static counted c;
    char text[4096], expected[128];
    memset(&c, 0, sizeof c);
    said_by(end_with_dead_locks, &c, text, sizeof text);
    snprintf(expected, sizeof expected, "ended holding a sync.Mutex at %p", (void *)dead_lock);
    BL_CHECK(t, strstr(text, expected) != NULL);
    snprintf(expected, sizeof expected, "ended holding a sync.RWMutex at %p", (void *)dead_rw);
    BL_CHECK(t, strstr(text, expected) != NULL);
    BL_CHECK(t, bl_mutex_try_lock(&c.m));
    bl_mutex_unlock(&c.m);
}

/* Wherever it lay: the frames of the library are there now, or nothing has been since. */
static size_t lock_at;

static __attribute__((noinline)) void lock_somewhere(void)
{
    enum { PLACES = 24 };
    union {
        uintptr_t words[PLACES];
        bl_mutex m;
    } frame;
    memset(&frame, 0, sizeof frame);
    bl_mutex *m = (bl_mutex *)(void *)&frame.words[lock_at];
    BL_REQUIRE(t, lock_at + sizeof *m / sizeof frame.words[0] <= PLACES);
    bl_mutex_lock(m);
}

static int end_with_a_lock_somewhere(void *arg)
{
    counted *c = arg;
    bl_mutex other = {0};
    lock_somewhere();
    bl_mutex_lock(&c->m);
    bl_mutex_lock(&other);
    bl_mutex_unlock(&c->m);
    bl_mutex_unlock(&other);
    return 0;
}

RUN_TEST(locks_anywhere_in_a_frame_that_has_returned)
{
    static counted c;
    char text[4096];
    memset(&c, 0, sizeof c);
    for (lock_at = 0; lock_at <= 16; lock_at++) {
        said_by(end_with_a_lock_somewhere, &c, text, sizeof text);
        BL_CHECK(t, strstr(text, "ended holding a sync.Mutex at ") != NULL);
    }
}

/* ---- The storage is free when the last one has unlocked -------------------------------------- */

static int drop_mutex(void *arg)
{
    counted *c = arg;
    bl_mutex_lock(&c->m);
    bool last = --c->references == 0;
    bl_mutex_unlock(&c->m);
    if (last)
        memset(c, 0xa5, sizeof *c);
    return 0;
}

static int drop_rwmutex(void *arg)
{
    counted *c = arg;
    bl_rwmutex_rlock(&c->rw);
    bl_rwmutex_runlock(&c->rw);
    bl_rwmutex_lock(&c->rw);
    bool last = --c->references == 0;
    bl_rwmutex_unlock(&c->rw);
    if (last)
        memset(c, 0xa5, sizeof *c);
    return 0;
}

BL_TEST(locks_are_left_alone_after_the_last_unlock)
{
    enum { OBJECTS = 400, USERS = 4 };
    static counted objects[OBJECTS];
    for (int kind = 0; kind < 2; kind++) {
        memset(objects, 0, sizeof objects);
        BL_SCOPE(s);
        for (int i = 0; i < OBJECTS; i++) {
            objects[i].references = USERS;
            for (int k = 0; k < USERS; k++)
                bl_go(s, kind ? drop_rwmutex : drop_mutex, &objects[i]);
        }
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        for (size_t i = 0; i < sizeof objects; i++)
            BL_CHECK_EQ(t, ((unsigned char *)objects)[i], 0xa5);
    }
}

static int end_in_a_scope(void *arg)
{
    BL_SCOPE(s);
    ++*(int *)arg;
    bl__goroutine_exit();
}

static int end_in_once(void *arg)
{
    BL_SCOPE(s);
    *(int *)arg += 1;
    for (int i = 0; i < 100; i++) /* the others come */
        bl_yield();
    bl__goroutine_exit();
}

typedef struct ends_early {
    bl_once once, outer;
    int ran, done;
} ends_early;

static int once_in_once(void *arg)
{
    ends_early *e = arg;
    bl_once_do(&e->once, end_in_once, &e->ran);
    return 0;
}

static int call_both(void *arg)
{
    ends_early *e = arg;
    bl_once_do(&e->outer, once_in_once, e);
    __atomic_add_fetch(&e->done, 1, __ATOMIC_RELAXED);
    return 0;
}

BL_TEST(a_function_that_ends_its_goroutine_was_run_once)
{
    enum { CALLERS = 5 };
    ends_early e = {.done = 0};
    BL_SCOPE(s);
    for (int i = 0; i < CALLERS; i++)
        BL_CHECK_EQ(t, bl_go(s, call_both, &e), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, e.ran, 1);
    BL_CHECK_EQ(t, e.done, CALLERS - 1);
    once_in_once(&e);
}

static int set_late(void *flag)
{
    for (int i = 0; i < 100; i++)
        bl_yield();
    *(bool *)flag = true;
    return 0;
}

static int leave_a_scope_open(void *flag)
{
    static bl_scope s; /* what no cleanup of a frame closes */
    (void)bl_scope_open(&s, &(bl_scope_opts){.shield = true});
    bl_go(&s, set_late, flag);
    bl__goroutine_exit();
}

typedef struct scope_once {
    bl_once once;
    bool late;
} scope_once;

static int call_once(void *arg)
{
    scope_once *o = arg;
    bl_once_do(&o->once, leave_a_scope_open, &o->late);
    BL_CHECK(t, o->late);
    return 0;
}

BL_TEST(a_once_is_done_when_the_scopes_of_its_function_are_joined)
{
    scope_once o = {.late = false};
    BL_SCOPE(s);
    for (int i = 0; i < 2; i++)
        BL_CHECK_EQ(t, bl_go(s, call_once, &o), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK(t, o.late);
}

BL_TEST(a_goroutine_of_a_wait_group_is_done_when_it_ends_early)
{
    int ran = 0;
    bl_waitgroup wg = {0};
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_waitgroup_go(&wg, s, end_in_a_scope, &ran), 0);
    BL_CHECK_EQ(t, bl_waitgroup_wait(&wg), 0);
    BL_CHECK_EQ(t, ran, 1);
}
