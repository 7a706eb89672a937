/* SPDX-License-Identifier: MIT */
/* bubble_test.c: virtual time; test/runner_test.sh says what has to come of each. */
#include <belay/debug.h>
#include <belay/test.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BEGIN (946684800 * BL_SEC)

static int naps(void *arg)
{
    bl_time *woke = arg;
    int r = bl_sleep(90 * BL_MIN);
    *woke = bl_now();
    return r;
}

static void clock_fn(bl_test *t, void *arg)
{
    bl_time a = 0, b = 0;
    (void)arg;
    BL_CHECK_EQ(t, bl_now(), BEGIN);
    {
        BL_SCOPE(s);
        bl_go(s, naps, &a);
        bl_go(bl_test_scope(t), naps, &b);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, bl_bubble_wait(), 0);
    }
    BL_CHECK_EQ(t, a, BEGIN + 90 * BL_MIN);
    BL_CHECK_EQ(t, b, BEGIN + 90 * BL_MIN);
    BL_CHECK_EQ(t, bl_sleep(BL_SEC), 0);
    BL_CHECK_EQ(t, bl_now(), BEGIN + 90 * BL_MIN + BL_SEC);
}

BL_TEST(clock)
{
    bl_time before = bl_now();
    bl_bubble(t, clock_fn, NULL);
    BL_CHECK(t, bl_now() - before < 20 * BL_SEC);
    BL_CHECK(t, bl_now() < BEGIN);
}

/* ---- Every kind of time ---- */

static int later(void *arg)
{
    atomic_fetch_add((_Atomic int *)arg, 1);
    return 0;
}

static void kinds_fn(bl_test *t, void *arg)
{
    bl_time at = bl_now(), v;
    (void)arg;
    bl_timer timer = {0};
    BL_CHECK_EQ(t, bl_timer_start(&timer, BL_MIN), 0);
    BL_CHECK_ERR(t, bl_chan_recv(bl_timer_chan(&timer), &v), 0);
    BL_CHECK_EQ(t, v, at + BL_MIN);

    bl_ticker *ticker = bl_ticker_new(bl_test_scope(t), BL_MIN);
    for (int i = 2; i <= 4; i++) {
        BL_CHECK_ERR(t, bl_chan_recv(bl_ticker_chan(ticker), &v), 0);
        BL_CHECK_EQ(t, v, at + i * BL_MIN);
        BL_CHECK_EQ(t, bl_now(), v);
    }
    bl_ticker_stop(ticker);

    bl_chan *c = bl_scope_chan(bl_test_scope(t), sizeof(int), 0);
    int i;
    BL_CHECK_ERR(t, bl_chan_recv_until(c, &i, bl_in(BL_HOUR)), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_now(), at + 4 * BL_MIN + BL_HOUR);
    bl_mutex m = {0};
    bl_cond cond = {0};
    bl_sem sem;
    bl_sem_init(&sem, 0);
    BL_CHECK_ERR(t, bl_sem_acquire_until(&sem, 1, bl_in(BL_HOUR)), BL_ETIMEDOUT);
    bl_mutex_lock(&m);
    BL_CHECK_ERR(t, bl_cond_wait_until(&cond, &m, bl_in(BL_HOUR)), BL_ETIMEDOUT);
    bl_mutex_unlock(&m);

    at = bl_now();
    {
        BL_SCOPE(s, .timeout = 5 * BL_SEC);
        bl_ctx *in = bl_ctx_with_timeout(bl_ctx_current(), 3 * BL_SEC);
        BL_CHECK_ERR(t, bl_chan_recv(bl_ctx_done(in), NULL), BL_ECLOSED);
        BL_CHECK_EQ(t, bl_now() - at, 3 * BL_SEC);
        bl_ctx_release(in);
        BL_CHECK_ERR(t, bl_sleep(BL_HOUR), BL_ETIMEDOUT);
        BL_CHECK_EQ(t, bl_now() - at, 5 * BL_SEC);
    }
    _Atomic int ran = 0;
    bl_timer after = {0};
    BL_CHECK_EQ(t, bl_after_func(&after, bl_test_scope(t), BL_HOUR, later, &ran), 0);
    BL_CHECK_EQ(t, bl_sleep(BL_HOUR - 1), 0);
    BL_CHECK_EQ(t, bl_bubble_wait(), 0);
    BL_CHECK_EQ(t, atomic_load(&ran), 0);
    BL_CHECK_EQ(t, bl_sleep(1), 0);
    BL_CHECK_EQ(t, bl_bubble_wait(), 0);
    BL_CHECK_EQ(t, atomic_load(&ran), 1);
}
BL_TEST(kinds) { bl_bubble(t, kinds_fn, NULL); }

/* ---- A mutex counts, real waiting does not ---- */

static bl_mutex shared;
static int holds_long(void *arg)
{
    (void)arg;
    bl_mutex_lock(&shared);
    int r = bl_sleep(BL_HOUR);
    bl_mutex_unlock(&shared);
    return r;
}

static int locks(void *arg)
{
    bl_mutex_lock(&shared);
    *(bl_time *)arg = bl_now();
    bl_mutex_unlock(&shared);
    return 0;
}

static int mutex_fn(void *arg)
{
    bl_time at = 0;
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, holds_long, NULL);
    if (bl_bubble_wait() != 0)
        return BL_EINVAL;
    bl_go(s, locks, &at);
    int r = bl_scope_wait(s);
    return r != 0 ? r : at == BEGIN + BL_HOUR ? 0 : BL_EINVAL;
}
BL_TEST(mutex) { bl_bubble(t, mutex_fn, NULL); }

static int answers(void *arg)
{
    char c;
    while (bl_pipe_read(arg, &c, 1) == 1) {
        int err = bl_sleep(BL_HOUR);
        if (err || bl_pipe_write(arg, &c, 1) != 1)
            return err ? err : BL_EINVAL;
    }
    return 0;
}

static void pipe_fn(bl_test *t, void *arg)
{
    bl_pipe *client, *server;
    char c = 0;
    (void)arg;
    BL_REQUIRE_ERR(t, bl_pipe_new(&client, &server), 0);
    BL_SCOPE(s);
    bl_go(s, answers, server);
    BL_CHECK_EQ(t, bl_pipe_write(client, "a", 1), 1);
    BL_CHECK_ERR(t, bl_pipe_read_until(client, &c, 1, bl_in(BL_MIN)), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_now(), BEGIN + BL_MIN);
    BL_CHECK_EQ(t, bl_pipe_read(client, &c, 1), 1);
    BL_CHECK_EQ(t, c, 'a');
    BL_CHECK_EQ(t, bl_now(), BEGIN + BL_HOUR);
    bl_pipe_release(client);
    BL_CHECK_ERR(t, bl_scope_wait(s), 0);
    bl_pipe_release(server);
}
BL_TEST(pipe) { bl_bubble(t, pipe_fn, NULL); }

static int writes_late(void *arg)
{
    const int *fd = arg;
    if (bl_sleep(30 * BL_MS) != 0)
        return 0;
    return write(fd[1], "x", 1) == 1 ? 0 : BL_EIO;
}

static void real_fn(bl_test *t, void *arg)
{
    const int *fd = arg;
    char x = 0;
    bl_time at = bl_now();
    BL_CHECK_EQ(t, bl_read_until(fd[0], &x, 1, bl_in(BL_HOUR)), 1);
    BL_CHECK_EQ(t, x, 'x');
    BL_CHECK_EQ(t, bl_now(), at);
}

static int slow(void *arg)
{
    usleep(20000);
    return *(int *)arg;
}

static void blocking_fn(bl_test *t, void *arg)
{
    int seven = 7;
    bl_time at = bl_now();
    (void)arg;
    BL_SCOPE(s, .timeout = BL_SEC);
    BL_CHECK_EQ(t, bl_blocking(slow, &seven), 7);
    usleep(20000);
    BL_CHECK_EQ(t, bl_now(), at);
}

static int sends_late(void *arg)
{
    int seven = 7;
    return bl_sleep(20 * BL_MS) != 0 ? 0 : bl_chan_send((bl_chan *)arg, &seven);
}

static void outside_fn(bl_test *t, void *arg)
{
    int got = 0;
    bl_time at = bl_now();
    BL_CHECK_ERR(t, bl_chan_recv_until((bl_chan *)arg, &got, bl_in(BL_HOUR)), 0);
    BL_CHECK_EQ(t, got, 7);
    BL_CHECK_EQ(t, bl_now(), at);
}

BL_TEST(real)
{
    int fd[2];
    BL_REQUIRE(t, pipe(fd) == 0);
    bl_go(bl_test_scope(t), writes_late, fd);
    bl_bubble(t, real_fn, fd);
    bl_close(fd[0]);
    bl_close(fd[1]);
    bl_bubble(t, blocking_fn, NULL);
    bl_chan *c = bl_scope_chan(bl_test_scope(t), sizeof(int), 0);
    bl_go(bl_test_scope(t), sends_late, c);
    bl_bubble(t, outside_fn, c);
}

/* A signal comes from outside, also when all wait and nothing else is to come. */
static atomic_bool listening;
static int signals_late(void *arg)
{
    (void)arg;
    while (!atomic_load(&listening))
        if (bl_sleep(BL_MS) != 0)
            return 0;
    return bl_sleep(50 * BL_MS) != 0 ? 0 : raise(SIGUSR1);
}

static void signal_fn(bl_test *t, void *arg)
{
    int got = 0;
    (void)arg;
    bl_chan *c = bl_scope_chan(bl_test_scope(t), sizeof got, 1);
    BL_REQUIRE_ERR(t, bl_notify(bl_test_scope(t), c, SIGUSR1), 0);
    atomic_store(&listening, true);
    BL_CHECK_ERR(t, bl_chan_recv(c, &got), 0);
    BL_CHECK_EQ(t, got, SIGUSR1);
    bl_chan *never = bl_scope_chan(bl_test_scope(t), sizeof got, 0);
    BL_CHECK_ERR(t, bl_chan_recv_until(never, NULL, bl_in(BL_HOUR)), BL_ETIMEDOUT);
}

BL_TEST(signals)
{
    bl_chan *own = bl_scope_chan(bl_test_scope(t), sizeof(int), 1); /* before there is one inside */
    BL_REQUIRE_ERR(t, bl_notify(bl_test_scope(t), own, SIGUSR1), 0);
    listening = false;
    bl_go(bl_test_scope(t), signals_late, NULL);
    bl_bubble(t, signal_fn, NULL);
}

/* Who is made ready from outside while the clock is about to jump sees it before or after. */
enum { HEARD_MOST = 300 };

static void *raises_signals(void *arg)
{
    atomic_bool *enough = arg;
    while (!atomic_load(enough)) {
        (void)raise(SIGUSR1); /* to this thread, at once: none is left for later */
        usleep(20);
    }
    return NULL;
}

static int ticks_on(void *arg)
{
    atomic_bool *enough = arg;
    while (!atomic_load(enough)) {
        bl_time next = bl_now() + BL_US;
        if (bl_sleep(BL_US) != 0 || bl_now() != next)
            return BL_EIO;
    }
    return 0;
}

static void noisy_fn(bl_test *t, void *arg)
{
    BL_SCOPE(s);
    int got = 0;
    bl_chan *c = bl_scope_chan(bl_test_scope(t), sizeof got, 1);
    BL_REQUIRE_ERR(t, bl_notify(bl_test_scope(t), c, SIGUSR1), 0);
    bl_go(s, ticks_on, arg);
    for (int i = 0; i < HEARD_MOST; i++)
        BL_CHECK_ERR(t, bl_chan_recv(c, &got), 0);
    atomic_store((atomic_bool *)arg, true);
    BL_CHECK_ERR(t, bl_scope_wait(s), 0);
}

BL_TEST(noisy)
{
    atomic_bool enough = false;
    pthread_t thread;
    bl_chan *own = bl_scope_chan(bl_test_scope(t), sizeof(int), 1);
    BL_REQUIRE_ERR(t, bl_notify(bl_test_scope(t), own, SIGUSR1), 0); /* before the thread */
    BL_REQUIRE(t, pthread_create(&thread, NULL, raises_signals, &enough) == 0);
    bl_bubble(t, noisy_fn, &enough);
    atomic_store(&enough, true);
    pthread_join(thread, NULL);
}

/* ---- Order ---- */

/* Whoever computes does so alone, also for longer than others have to wait for elsewhere; with one
 * processor. */
static atomic_int computing;

static int computes_alone(void *arg)
{
    int *alone = arg;
    struct timespec at = {0};
    atomic_store(&computing, 1);
    int64_t over = -1, now;
    do {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
        now = at.tv_sec * BL_SEC + at.tv_nsec;
        over = over < 0 ? now + 40 * BL_MS : over;
    } while (now < over);
    *alone = atomic_exchange(&computing, 0);
    return 0;
}

static int interrupts(void *arg)
{
    (void)arg;
    atomic_store(&computing, 0);
    return 0;
}

static void compute_fn(bl_test *t, void *arg)
{
    int alone = 0;
    BL_SCOPE(s);
    (void)arg;
    BL_CHECK_EQ(t, bl_go(s, computes_alone, &alone), 0);
    for (int i = 0; i < 4; i++)
        BL_CHECK_EQ(t, bl_go(s, interrupts, NULL), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK(t, alone == 1 || bl_procs() > 1);
}

BL_TEST(alone) { bl_bubble(t, compute_fn, NULL); }

/* But one that computes until another has done something keeps nobody waiting for ever. */
static int spins(void *arg)
{
    while (!atomic_load((atomic_bool *)arg))
        continue;
    return 0;
}

static void spin_fn(bl_test *t, void *arg)
{
    atomic_bool told = false;
    BL_SCOPE(s);
    (void)arg;
    BL_CHECK_EQ(t, bl_go(s, spins, &told), 0);
    bl_yield();
    atomic_store(&told, true);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

BL_TEST(spinning) { bl_bubble(t, spin_fn, NULL); }

/* ---- Many ---- */

typedef struct hour {
    bl_scope *scope;
    uint64_t ticks;
} hour;

static int ticks(void *arg)
{
    hour *h = arg;
    bl_ticker *ticker = bl_ticker_new(h->scope, BL_SEC);
    bl_time end = BEGIN + BL_HOUR, v = 0;
    while (v < end && bl_chan_recv(bl_ticker_chan(ticker), &v) == 0)
        __atomic_fetch_add(&h->ticks, 1, __ATOMIC_RELAXED);
    bl_ticker_stop(ticker);
    return 0;
}

static void many_fn(bl_test *t, void *arg)
{
    BL_SCOPE(s);
    hour h = {s, 0};
    int n = *(int *)arg;
    for (int i = 0; i < n; i++)
        bl_go(s, ticks, &h);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, h.ticks, 3600u * (unsigned)n);
    BL_CHECK_EQ(t, bl_now(), BEGIN + BL_HOUR);
}

BL_TEST(hour)
{
    const char *asked = getenv("BUBBLE_TICKERS");
    int n = asked != NULL ? atoi(asked) : 20;
    bl_bubble(t, many_fn, &n);
}

/* Sleeps of all lengths end when they are to, beside timers that are stopped. */
enum { CROWD = 400, ROUNDS = 20 };
static int sleeps_exactly(void *arg)
{
    uint64_t random = (uintptr_t)arg * 0x9e3779b97f4a7c15 | 1;
    for (int i = 0; i < ROUNDS; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bl_dur d = (bl_dur)(random >> 3 & ((UINT64_C(1) << (random % 50)) - 1)); /* to 6 days */
        bl_timer stopped = {0};
        bl_timer_start(&stopped, d + 1);
        bl_time due = bl_now() + d;
        if (bl_sleep(d) != 0 || bl_now() != due || !bl_timer_stop(&stopped))
            return BL_EINVAL;
    }
    return 0;
}

static void crowd_fn(bl_test *t, void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    for (uintptr_t i = 1; i <= CROWD; i++)
        bl_go(s, sleeps_exactly, (void *)i);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}
BL_TEST(crowd) { bl_bubble(t, crowd_fn, NULL); }

/* What an instant makes ready runs on all processors, if that takes long. */
enum { SPREAD = 64 };
static _Atomic bl_time instant;
static _Atomic(pthread_t) its_thread;
static _Atomic bool another_thread;
static bl_time cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * BL_SEC + now.tv_nsec;
}

static int computes(void *arg)
{
    (void)arg;
    int most = bl_procs() > 1 ? 1000 : 1;
    for (int i = 0; i < most && !another_thread; i++) {
        (void)!bl_sleep(BL_SEC);
        if (atomic_exchange(&instant, bl_now()) != bl_now())
            its_thread = pthread_self();
        else if (its_thread != pthread_self())
            another_thread = true;
        for (bl_time until = cpu_now() + 50 * BL_US; cpu_now() < until;)
            ;
    }
    return 0;
}

static void spread_fn(bl_test *t, void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    for (int i = 0; i < SPREAD; i++)
        bl_go(s, computes, NULL);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}
BL_TEST(spread)
{
    bl_bubble(t, spread_fn, NULL);
    BL_CHECK(t, another_thread || bl_procs() == 1);
}

/* Nearly every tick has an instant of its own. */
static int ticks_apart(void *arg)
{
    BL_SCOPE(s);
    bl_ticker *ticker = bl_ticker_new(s, (bl_dur)(intptr_t)arg);
    bl_time v = 0;
    while (v < BEGIN + 10 * BL_MIN && bl_chan_recv(bl_ticker_chan(ticker), &v) == 0)
        continue;
    bl_ticker_stop(ticker);
    return 0;
}

static void apart_fn(bl_test *t, void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    for (int i = 0; i < 300; i++)
        BL_CHECK_EQ(t, bl_go(s, ticks_apart, (void *)(intptr_t)(BL_SEC + i * BL_MS)), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_GE(t, bl_now(), BEGIN + 10 * BL_MIN);
}

BL_TEST(apart) { bl_bubble(t, apart_fn, NULL); }

/* The search for stuck goroutines looks at the timers of bubbles, too, and has their lock
 * meanwhile. */
static void *looks(void *arg)
{
    while (!atomic_load((atomic_bool *)arg))
        (void)bl_leaks(NULL, 0);
    return NULL;
}

BL_TEST(watched)
{
    atomic_bool over = false;
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, looks, &over) == 0);
    bl_bubble(t, apart_fn, NULL);
    atomic_store(&over, true);
    pthread_join(thread, NULL);
}

/* Few of many are made ready at each instant, and wait for what only the bubble can do, or for
 * something else. What is remembered of the last look at all of them has to be so still, which is
 * checked in debug builds (core/bubble.c). */
enum { MIXED = 24, MIXED_STEPS = 60 };
typedef struct mixed {
    bl_test *t;
    uint64_t state;
} mixed;
static bl_mutex mixed_lock;
static bl_chan *mixed_in, *mixed_out;
static atomic_bool mixed_over;

static int mixed_outside(void *arg)
{
    (void)arg;
    for (int value = 0; !atomic_load(&mixed_over); value++) {
        (void)!bl_chan_try_send(mixed_out, &value);
        bool locked = bl_mutex_try_lock(&mixed_lock); /* not to wait for who sleeps inside */
        (void)!bl_sleep(50 * BL_US);
        if (locked)
            bl_mutex_unlock(&mixed_lock);
        (void)!bl_sleep(50 * BL_US);
    }
    return 0;
}

static int mixed_nap(void *arg)
{
    (void)arg;
    return bl_sleep(BL_MS);
}

static int mixed_slow(void *arg)
{
    (void)arg;
    usleep(20);
    return 0;
}

static void mixed_step(bl_test *t, uint64_t draw)
{
    int v = 0;
    bl_time at = bl_now();
    bl_dur d = (bl_dur)(draw >> 8) % 1000 * BL_MS;
    if (draw % 128 < 90) {
        BL_CHECK_EQ(t, bl_sleep(d), 0);
        BL_CHECK_EQ(t, bl_now(), d > 0 ? at + d : at);
    } else if (draw % 128 < 100) {
        if (bl_chan_try_send(mixed_in, &v) != 0)
            (void)!bl_chan_recv_until(mixed_in, &v, at + d);
    } else if (draw % 128 < 104) {
        (void)!bl_chan_recv_until(mixed_out, &v, at + BL_HOUR);
    } else if (draw % 128 < 108) {
        BL_CHECK_EQ(t, bl_blocking(mixed_slow, NULL), 0);
        BL_CHECK_EQ(t, bl_now(), at);
    } else if (draw % 128 < 116) {
        bl_mutex_lock(&mixed_lock);
        if (draw & 1 << 20)
            (void)!bl_sleep(d);
        bl_mutex_unlock(&mixed_lock);
    } else {
        BL_SCOPE(s, .timeout = d);
        BL_CHECK_EQ(t, bl_go(s, mixed_nap, NULL), 0);
        (void)!bl_scope_wait(s);
    }
}

static int mixed_run(void *arg)
{
    mixed *m = arg;
    for (int i = 0; i < MIXED_STEPS; i++) {
        m->state = m->state * 6364136223846793005u + 1442695040888963407u;
        mixed_step(m->t, m->state >> 24);
    }
    return 0;
}

static void mixed_fn(bl_test *t, void *arg)
{
    mixed all[MIXED];
    (void)arg;
    BL_SCOPE(s);
    mixed_in = bl_scope_chan(s, sizeof(int), 2);
    for (size_t i = 0; i < MIXED; i++) {
        all[i] = (mixed){t, i};
        BL_CHECK_EQ(t, bl_go(s, mixed_run, &all[i]), 0);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

BL_TEST(mixture)
{
    BL_SCOPE(s);
    mixed_over = false;
    mixed_out = bl_scope_chan(s, sizeof(int), 2);
    BL_CHECK_EQ(t, bl_go(s, mixed_outside, NULL), 0);
    bl_bubble(t, mixed_fn, NULL);
    mixed_over = true;
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

static void beside(bl_test *t, void *arg)
{
    bl_parallel(t);
    int n = 3;
    (void)arg;
    bl_bubble(t, many_fn, &n);
}
BL_TEST(parallel)
{
    for (int i = 0; i < 4; i++)
        bl_subtest(t, "one", beside, NULL);
}

/* ---- The order of one instant ---- */

typedef struct order {
    char text[32];
    _Atomic int len;
} order;
typedef struct entry {
    order *in;
    int name;
} entry;

static int enters(void *arg)
{
    entry *e = arg;
    int r = bl_sleep(BL_SEC);
    e->in->text[atomic_fetch_add(&e->in->len, 1)] = (char)('a' + e->name);
    return r;
}

static void order_fn(bl_test *t, void *arg)
{
    BL_SCOPE(s);
    for (int i = 0; i < 6; i++)
        bl_go_copy(s, enters, (&(entry){arg, i}), sizeof(entry));
    (void)bl_scope_wait(s);
    bl_chan *one = bl_scope_chan(s, 0, 1), *two = bl_scope_chan(s, 0, 1);
    order *o = arg;
    for (int i = 0; i < 20; i++) { /* and the choice of a select */
        (void)!bl_chan_try_send(one, NULL);
        (void)!bl_chan_try_send(two, NULL);
        int chosen = BL_SELECT(BL_RECV(one, NULL), BL_RECV(two, NULL));
        BL_REQUIRE(t, chosen >= 0);
        o->text[o->len++] = (char)('a' + chosen);
    }
}

BL_TEST(order)
{
    order a = {0}, b = {0};
    bl_bubble(t, order_fn, &a);
    bl_bubble(t, order_fn, &b);
    BL_CHECK_EQ(t, strlen(a.text), 26u);
    if (bl_procs() == 1)
        BL_CHECK_STR(t, a.text, b.text);
    bl_log(t, "order %s", a.text);
}

/* ---- At its end ---- */

static void cleaned(void *arg) { *(bl_time *)arg = bl_now(); }

static void cleanup_fn(bl_test *t, void *arg)
{
    bl_cleanup(t, cleaned, arg);
    BL_CHECK_EQ(t, bl_sleep(BL_SEC), 0);
}

BL_TEST(cleanup)
{
    bl_time at = 0;
    bl_bubble(t, cleanup_fn, &at);
    BL_CHECK_EQ(t, at, BEGIN + BL_SEC);
}

/* ---- These have to fail ---- */

static int receives(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v);
}

static void stuck_fn(bl_test *t, void *arg)
{
    (void)arg;
    bl_chan *c = bl_scope_chan(bl_test_scope(t), sizeof(int), 0);
    BL_SCOPE(s);
    bl_go(s, receives, c);
    (void)bl_scope_wait(s);
}
BL_TEST(stuck) { bl_bubble(t, stuck_fn, NULL); }

static void nested_fn(bl_test *t, void *arg) { bl_bubble(t, cleanup_fn, arg); }
BL_TEST(nested)
{
    bl_time at = 0;
    bl_bubble(t, nested_fn, &at);
}

static void parallel_fn(bl_test *t, void *arg)
{
    (void)arg;
    bl_parallel(t);
}
BL_TEST(parallel_nested) { bl_bubble(t, parallel_fn, NULL); }

static void require_fn(bl_test *t, void *arg)
{
    (void)arg;
    BL_REQUIRE(t, bl_sleep(BL_HOUR) != 0);
    bl_log(t, "not reached");
}
BL_TEST(require)
{
    bl_bubble(t, require_fn, NULL);
    bl_log(t, "not reached");
}

static int fails(void *arg)
{
    (void)arg;
    return BL_EINVAL;
}
BL_TEST(result) { bl_bubble(t, fails, NULL); }

static int deaf(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .shield = true);
    int r = bl_sleep(24 * BL_HOUR);
    return r;
}
static void deaf_fn(bl_test *t, void *arg)
{
    (void)arg;
    bl_go(bl_test_scope(t), deaf, NULL);
}
BL_TEST(deaf) { bl_bubble(t, deaf_fn, NULL); }

/* Of those that were started one is armed at the end, in a frame that is gone. */
static int timer_start(void *arg)
{
    bl_timer left = {0}, stopped = {0};
    bl_timer_start(&stopped, BL_HOUR);
    bl_timer_stop(&stopped);
    return arg == NULL ? bl_timer_start(&left, BL_HOUR) : 0;
}
BL_TEST(timer_left)
{
    static bl_timer outside;
    bl_timer_start(&outside, BL_HOUR);
    bl_bubble(t, timer_start, t);
    bl_bubble(t, timer_start, NULL);
    bl_timer_stop(&outside);
}

/* A ticker goes on, and nobody waits for its ticks. */
static void ticking_fn(bl_test *t, void *arg)
{
    BL_SCOPE(s);
    bl_ticker *ticker = bl_ticker_new(s, BL_SEC);
    bl_timer timer = {0};
    BL_REQUIRE(t, ticker != NULL && bl_timer_start(&timer, BL_HOUR) == 0);
    BL_CHECK_ERR(t, bl_chan_recv(bl_ticker_chan(ticker), NULL), 0);
    bl_chan *nobody = bl_scope_chan(s, 0, 0);
    (void)arg;
    BL_CHECK_ERR(t, bl_chan_recv(nobody, NULL), BL_ECANCELED);
    BL_CHECK_EQ(t, bl_now(), BEGIN + BL_SEC);
    BL_CHECK(t, bl_timer_stop(&timer));
}
BL_TEST(ticking) { bl_bubble(t, ticking_fn, NULL); }

static int self(void *arg)
{
    bl_mutex *m = arg;
    bl_mutex_lock(m);
    return 0;
}
static void locked_fn(bl_test *t, void *arg)
{
    bl_mutex_lock((bl_mutex *)arg);
    BL_SCOPE(s);
    bl_go(s, self, arg);
    BL_CHECK_ERR(t, bl_scope_wait(s), 0);
}
BL_TEST(locked)
{
    static bl_mutex m;
    bl_bubble(t, locked_fn, &m);
}

/* ---- A bubble's channels elsewhere ---- */

/* Of the calling bubble's caller, who uses them when it is over. */
typedef struct escaped {
    bl_chan *c;
    bl_timer timer, after;
    bl_ticker *ticker;
    bl_scope outside;
} escaped;
static escaped out;

static int use_inside(void *arg)
{
    int v = 1;
    (void)arg;
    return bl_chan_send(out.c, &v);
}

static void escape_fn(bl_test *t, void *arg)
{
    (void)arg;
    int v;
    out.c = bl_chan_new(sizeof v, 2);
    BL_CHECK_EQ(t, use_inside(NULL), 0);
    BL_CHECK_EQ(t, bl_blocking(use_inside, NULL), 0); /* the helper is the goroutine's */
    BL_CHECK_EQ(t, bl_chan_recv(out.c, &v), 0);
    BL_CHECK_EQ(t, bl_chan_try_recv(out.c, &v), 0);
    BL_CHECK_EQ(t, BL_SELECT(BL_SEND(out.c, &v)), 0);
    BL_CHECK_EQ(t, bl_timer_start(&out.timer, BL_SEC), 0);
    BL_CHECK_EQ(t, bl_after_func(&out.after, bl_test_scope(t), BL_SEC, use_inside, NULL), 0);
    BL_CHECK(t, bl_timer_stop(&out.after));
    out.ticker = bl_ticker_new(&out.outside, BL_SEC);
    BL_CHECK_EQ(t, bl_chan_recv(bl_ticker_chan(out.ticker), NULL), 0);
    BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&out.timer), NULL), 0);
    bl_timer_stop(&out.timer);
    bl_ticker_stop(out.ticker);
    BL_CHECK_EQ(t, bl_chan_len(out.c), 1u);
}

#define ELSEWHERE(name, use)                                                                       \
    BL_TEST(name)                                                                                  \
    {                                                                                              \
        int v = 0;                                                                                 \
        BL_REQUIRE(t, bl_scope_open(&out.outside, NULL) == 0);                                     \
        bl_bubble(t, escape_fn, NULL);                                                             \
        bl_log(t, "inside it was all right");                                                      \
        (void)v;                                                                                   \
        use;                                                                                       \
        bl_log(t, "not reached");                                                                  \
    }
ELSEWHERE(escaped_send, (void)!bl_chan_send(out.c, &v))
ELSEWHERE(escaped_try_send, (void)!bl_chan_try_send(out.c, &v))
ELSEWHERE(escaped_recv, (void)!bl_chan_recv(out.c, &v))
ELSEWHERE(escaped_try_recv, (void)!bl_chan_try_recv(out.c, &v))
ELSEWHERE(escaped_select, (void)!BL_SELECT(BL_RECV(out.c, &v)))
ELSEWHERE(escaped_close, bl_chan_close(out.c))
ELSEWHERE(escaped_timer, (void)!bl_chan_recv_until(bl_timer_chan(&out.timer), NULL, 1))
ELSEWHERE(escaped_stop, bl_timer_stop(&out.timer))
ELSEWHERE(escaped_reset, bl_timer_reset(&out.timer, BL_SEC))
ELSEWHERE(escaped_after, bl_timer_stop_wait(&out.after))
ELSEWHERE(escaped_after_reset, bl_timer_reset(&out.after, BL_SEC))
ELSEWHERE(escaped_ticker, bl_ticker_reset(out.ticker, BL_SEC))
ELSEWHERE(escaped_ticker_stop, bl_ticker_stop(out.ticker))

/* What may be done with them. */
BL_TEST(escaped_freed)
{
    BL_REQUIRE(t, bl_scope_open(&out.outside, NULL) == 0);
    bl_bubble(t, escape_fn, NULL);
    BL_CHECK_EQ(t, bl_chan_len(out.c), 1u);
    bl_chan_release(out.c);
    BL_CHECK_EQ(t, bl_timer_start(&out.timer, 0), 0); /* a new one */
    BL_CHECK_EQ(t, bl_chan_recv(bl_timer_chan(&out.timer), NULL), 0);
    bl_scope_close(&out.outside);
}

static void done_fn(bl_test *t, void *arg) { BL_CHECK(t, bl_ctx_done(arg) != NULL); }
BL_TEST(done)
{
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current()); /* it is no bubble's, whoever asks first */
    bl_bubble(t, done_fn, c);
    bl_ctx_cancel(c, 0);
    BL_CHECK_ERR(t, bl_chan_recv(bl_ctx_done(c), NULL), BL_ECLOSED);
    bl_ctx_release(c);
}

BL_TEST(wait_outside) { (void)bl_bubble_wait(); }

BL_TEST(last) { bl_bubble(t, clock_fn, NULL); }
