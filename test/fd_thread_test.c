/* SPDX-License-Identifier: MIT */
/* fd_thread_test.c: threads that are no goroutines and wait for descriptors, with a run and
 * without. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <sys/resource.h>

#include "io/fd.h"
#include "pairs.h"

#include "core/proc.h"

/* A thread that makes a call in a scope of its own. */
typedef struct caller {
    call c;
    bl_dur timeout;
    bl_scope *scope; /* atomic */
    pthread_t thread;
} caller;

static void *caller_main(void *arg)
{
    caller *who = arg;
    BL_SCOPE(s, .timeout = who->timeout);
    __atomic_store_n(&who->scope, s, __ATOMIC_RELEASE);
    call_run(&who->c);
    return NULL;
}

/* Until somebody waits to read fd; false: after ten seconds nobody does. */
static bool waited_for(int fd)
{
    for (bl_time end = bl_in(10 * BL_SEC); bl_now() < end; bl_yield()) {
        const bl__fd *f = bl__fd_old(fd);
        if (f != NULL &&
            (!bl__waitq_empty(&f->side[0].queue) || !bl__waitq_empty(&f->side[1].queue)))
            return true;
    }
    return false;
}

static void caller_start(caller *who, int *fd, bl_dur timeout)
{
    *who = (caller){.timeout = timeout};
    who->c = (call){.fn = call_read, .obj = fd, .deadline = BL_NEVER, .result = CALL_PENDING};
    BL_CHECK_EQ(t, pthread_create(&who->thread, NULL, caller_main, who), 0);
}

static int caller_result(caller *who)
{
    BL_CHECK_EQ(t, pthread_join(who->thread, NULL), 0);
    return who->c.result;
}

/* In a scope, whose context can be cancelled: by data, the scope's deadline, its cancellation, and
 * a close. */
static void each_way(void)
{
    EACH(all_kinds, p)
    {
        caller who;
        caller_start(&who, &p.b, LATE);
        BL_CHECK(t, waited_for(p.b));
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK_EQ(t, caller_result(&who), 1);
        char more[8];
        if (all_kinds[kind_] != udp_pair)
            BL_CHECK_EQ(t, bl_read(p.b, more, sizeof more), 1);
        caller_start(&who, &p.b, BL_MS);
        BL_CHECK_ERR(t, caller_result(&who), BL_ETIMEDOUT);
        caller_start(&who, &p.b, LATE);
        BL_CHECK(t, waited_for(p.b));
        bl_scope_cancel(__atomic_load_n(&who.scope, __ATOMIC_ACQUIRE), 0);
        BL_CHECK_ERR(t, caller_result(&who), BL_ECANCELED);
        caller_start(&who, &p.b, LATE);
        BL_CHECK(t, waited_for(p.b));
        BL_CHECK_EQ(t, bl_close(p.b), 0);
        BL_CHECK_ERR(t, caller_result(&who), BL_ECLOSED);
        p.b = dup(p.a);
    }
}

BL_TEST_PLAIN(without_a_run) { each_way(); }

BL_TEST(in_a_run) { each_way(); }

static void *plain_main(void *arg)
{
    call_run(arg);
    return NULL;
}

/* In the background, which is never cancelled. */
static void background(void)
{
    EACH(all_kinds, p)
    {
        pthread_t thread;
        char buf[8];
        call c = {.fn = call_read, .obj = &p.b, .deadline = BL_NEVER, .result = CALL_PENDING};
        BL_CHECK_ERR(t, bl_read_until(p.b, buf, sizeof buf, bl_in(BL_MS)), BL_ETIMEDOUT);
        BL_CHECK_EQ(t, pthread_create(&thread, NULL, plain_main, &c), 0);
        BL_CHECK(t, waited_for(p.b));
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
        BL_CHECK_EQ(t, c.result, 1);
        c.result = CALL_PENDING;
        if (all_kinds[kind_] != udp_pair)
            BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 1);
        BL_CHECK_EQ(t, pthread_create(&thread, NULL, plain_main, &c), 0);
        BL_CHECK(t, waited_for(p.b));
        BL_CHECK_EQ(t, bl_close(p.b), 0);
        BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
        BL_CHECK_ERR(t, c.result, BL_ECLOSED);
        p.b = dup(p.a);
    }
}

BL_TEST_PLAIN(in_the_background_without_a_run) { background(); }

BL_TEST(in_the_background_in_a_run) { background(); }

/* It has begun to wait in a run, whose poller then is there no more. */
static int run_waited_for(void *arg) { return waited_for(*(int *)arg) ? 0 : BL_EIO; }

BL_TEST_PLAIN(longer_than_a_run)
{
    EACH(all_kinds, p)
    {
        caller who;
        caller_start(&who, &p.b, LATE);
        BL_CHECK_EQ(t, bl_run(run_waited_for, &p.b, NULL), 0);
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK_EQ(t, caller_result(&who), 1);
    }
}

/* ---- The threads of bl_blocking -------------------------------------------------------------- */

static void *write_when_idle(void *arg)
{
    pair *p = arg;
    bl_time end = bl_in(10 * BL_SEC);
    BL_CHECK(t, waited_for(p->b));
    while (!bl__all_idle() && bl_now() < end)
        bl_yield();
    BL_CHECK_EQ(t, bl_write(p->a, "x\n", 2), 2);
    return NULL;
}

static int blocking_main(void *arg) { return bl_blocking(call_run, arg); }

BL_TEST_PLAIN(in_a_run_that_is_idle)
{
    EACH(all_kinds, p)
    {
        pthread_t thread;
        call c = {.fn = call_read, .obj = &p.b, .deadline = bl_in(LATE), .result = CALL_PENDING};
        BL_CHECK_EQ(t, pthread_create(&thread, NULL, write_when_idle, &p), 0);
        BL_CHECK_EQ(t, bl_run(blocking_main, &c, NULL), 0);
        BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
        BL_CHECK_EQ(t, c.result, 1);
    }
}

BL_TEST(stopped_with_their_caller)
{
    EACH(all_kinds, p)
    {
        call c = {.fn = call_read, .obj = &p.b, .deadline = BL_NEVER, .result = CALL_PENDING};
        BL_SCOPE(s);
        BL_CHECK_EQ(t, bl_go(s, blocking_main, &c), 0);
        BL_CHECK(t, waited_for(p.b));
        bl_scope_cancel(s, 0);
        (void)bl_scope_wait(s);
        BL_CHECK_ERR(t, c.result, BL_ECANCELED);
    }
}

/* ---- Threads that are cancelled (pthread_cancel) --------------------------------------------- */

/* While it waits it is known to others, and stays. */
BL_TEST(not_cancelled_while_it_waits)
{
    pair p = pipe_pair();
    pthread_t thread;
    void *end = NULL;
    call c = {.fn = call_read, .obj = &p.b, .deadline = BL_NEVER, .result = CALL_PENDING};
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, plain_main, &c), 0);
    BL_CHECK(t, waited_for(p.b));
    BL_CHECK_EQ(t, pthread_cancel(thread), 0);
    (void)sched_yield();
    BL_CHECK_EQ(t, bl_close(p.b), 0);
    BL_CHECK_EQ(t, pthread_join(thread, &end), 0);
    BL_CHECK_EQ(t, end, NULL);
    BL_CHECK_ERR(t, c.result, BL_ECLOSED);
    BL_CHECK_EQ(t, bl_close(p.a), 0);
}

enum { MUCH = 300000 }; /* more than a pipe takes */

static void *write_all(void *fd)
{
    static const char bytes[MUCH];
    return bl_write(*(int *)fd, bytes, MUCH) == MUCH ? fd : NULL;
}

/* Nor while it writes the rest, which a close of the same number waits for. */
BL_TEST(not_cancelled_while_it_writes_the_rest)
{
    static char bytes[MUCH];
    pair p = pipe_pair();
    pthread_t thread;
    void *end = NULL;
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, write_all, &p.a), 0);
    BL_CHECK(t, waited_for(p.a));
    BL_CHECK_EQ(t, pthread_cancel(thread), 0);
    for (ssize_t got = 0, r; got < MUCH; got += r)
        if ((r = bl_read_until(p.b, bytes, MUCH, bl_in(10 * BL_SEC))) <= 0)
            bl_fatal(t, "reads %zd after %zd", r, got);
    BL_CHECK_EQ(t, pthread_join(thread, &end), 0);
    BL_CHECK_EQ(t, end, &p.a);
    pair_close(&p);
}

static void *close_cancelled(void *fd)
{
    pthread_cancel(pthread_self());
    (void)bl_close(*(int *)fd);
    pthread_testcancel();
    return NULL;
}

/* It is closed for good, and nobody sees it closing. */
BL_TEST(closes_while_it_is_cancelled)
{
    pair p = pipe_pair();
    pthread_t thread;
    char byte;
    BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, bl_in(1)), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, close_cancelled, &p.b), 0);
    BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
    BL_CHECK_EQ(t, load_relaxed(&bl__fd_old(p.b)->registered), 0);
    BL_CHECK_ERR(t, bl_close(p.b), BL_EBADF);
    BL_CHECK_EQ(t, bl_close(p.a), 0);
}

static void *send_cancelled(void *c)
{
    int v = 1;
    while (load_relaxed(&bl__rt.poll.sleeper) == NULL)
        (void)sched_yield();
    pthread_cancel(pthread_self());
    return bl_chan_send((bl_chan *)c, &v) == 0 ? NULL : c;
}

static int read_one(void *fd)
{
    char byte;
    return (int)bl_read(*(int *)fd, &byte, 1);
}

/* Its send wakes who sleeps in the poller. */
static int woken_by_cancelled(void *arg)
{
    pair p = pipe_pair();
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    (void)arg;
    bl_go(s, read_one, &p.b);
    for (int i = 0, v = 0; i < 20; i++) {
        pthread_t thread;
        BL_CHECK_EQ(t, pthread_create(&thread, NULL, send_cancelled, c), 0);
        BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
        BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
    }
    BL_CHECK_EQ(t, bl_write(p.a, "x", 1), 1);
    int r = bl_scope_wait(s);
    BL_CHECK_EQ(t, bl_close(p.a), 0);
    BL_CHECK_EQ(t, bl_close(p.b), 0);
    return r;
}

BL_TEST_PLAIN(wakes_while_it_is_cancelled)
{
    BL_CHECK_EQ(t, bl_run(woken_by_cancelled, NULL, &(bl_options){.procs = 1}), 0);
}

/* ---- Out of descriptors ---------------------------------------------------------------------- */

/* None is left for who wakes it. */
BL_TEST_PLAIN(without_an_eventfd)
{
    pair p = pipe_pair();
    struct rlimit before, none;
    caller who;
    BL_CHECK_EQ(t, getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){3, before.rlim_max};
    BL_CHECK_EQ(t, setrlimit(RLIMIT_NOFILE, &none), 0);
    caller_start(&who, &p.b, LATE);
    BL_CHECK(t, waited_for(p.b));
    BL_CHECK_EQ(t, bl_write(p.a, "x", 1), 1);
    BL_CHECK_EQ(t, caller_result(&who), 1);
    caller_start(&who, &p.b, LATE);
    BL_CHECK(t, waited_for(p.b));
    BL_CHECK_EQ(t, bl_close(p.b), 0);
    BL_CHECK_ERR(t, caller_result(&who), BL_ECLOSED);
    BL_CHECK_EQ(t, setrlimit(RLIMIT_NOFILE, &before), 0);
    BL_CHECK_EQ(t, bl_close(p.a), 0);
}
