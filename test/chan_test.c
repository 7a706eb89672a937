/* SPDX-License-Identifier: MIT */
/* chan_test.c: what a channel promises: the truth table, values, many at once. See also
 * chan_wait_test.c. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "fatal.h"
#include "parked.h"

static bl_test *const t; /* the test that the caller is of */

/* ---- The truth table: nil, closed, buffered, unbuffered -------------------------------------- */

BL_TEST(nil_channel)
{
    int v = 1;
    BL_CHECK_EQ(t, bl_chan_len(NULL), 0);
    BL_CHECK_EQ(t, bl_chan_cap(NULL), 0);
    BL_CHECK_ERR(t, bl_chan_try_send(NULL, &v), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_chan_try_recv(NULL, &v), BL_EAGAIN);
    bl_time at = bl_in(5 * BL_MS);
    BL_CHECK_ERR(t, bl_chan_send_until(NULL, &v, at), BL_ETIMEDOUT);
    BL_CHECK_GE(t, bl_now(), at);
    BL_CHECK_ERR(t, bl_chan_recv_until(NULL, &v, bl_in(5 * BL_MS)), BL_ETIMEDOUT);
    BL_SCOPE(s, .timeout = 5 * BL_MS);
    BL_CHECK_ERR(t, bl_chan_send(NULL, &v), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_chan_recv(NULL, &v), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, v, 1);
}

BL_TEST(unbuffered_alone)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    int v = 1;
    BL_CHECK_EQ(t, bl_chan_len(c), 0);
    BL_CHECK_EQ(t, bl_chan_cap(c), 0);
    BL_CHECK_ERR(t, bl_chan_try_send(c, &v), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_chan_try_recv(c, &v), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_chan_send_until(c, &v, bl_in(2 * BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_chan_recv_until(c, &v, bl_in(2 * BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_chan_recv_until(c, &v, 0), BL_ETIMEDOUT); /* long past: does not wait */
    BL_CHECK_ERR(t, bl_chan_try_recv(c, &v), BL_EAGAIN); /* the senders have left no trace */
    bl_chan_release(c);
}

BL_TEST(buffered_fills_and_drains_in_order)
{
    for (int cap = 1; cap <= 9; cap++) {
        bl_chan *c = bl_chan_new(sizeof(int), (size_t)cap);
        BL_CHECK_EQ(t, bl_chan_cap(c), cap);
        /* Twice round and a half, so that the ring wraps at every offset. */
        for (int round = 0, in = 0, out = 0; round < 5; round++) {
            for (; in - out < cap; in++)
                BL_CHECK_EQ(t, bl_chan_try_send(c, &in), 0);
            BL_CHECK_EQ(t, bl_chan_len(c), cap);
            BL_CHECK_ERR(t, bl_chan_try_send(c, &in), BL_EAGAIN);
            BL_CHECK_ERR(t, bl_chan_send_until(c, &in, bl_in(BL_US)), BL_ETIMEDOUT);
            for (int n = cap / 2 + 1, v; n > 0; n--, out++) {
                BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
                BL_CHECK_EQ(t, v, out);
            }
            BL_CHECK_EQ(t, bl_chan_len(c), in - out);
        }
        bl_chan_release(c);
    }
}

BL_TEST(closed_channel)
{
    for (size_t cap = 0; cap <= 3; cap++) {
        bl_chan *c = bl_chan_new(sizeof(int), cap);
        for (int i = 1; i <= (int)cap; i++)
            BL_CHECK_EQ(t, bl_chan_send(c, &i), 0);
        bl_chan_close(c);
        int v = 9;
        BL_CHECK_ERR(t, bl_chan_send(c, &v), BL_ECLOSED);
        BL_CHECK_ERR(t, bl_chan_try_send(c, &v), BL_ECLOSED);
        BL_CHECK_ERR(t, bl_chan_send_until(c, &v, BL_NEVER), BL_ECLOSED);
        for (int i = 1; i <= (int)cap; i++) { /* what was buffered survives the close */
            BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
            BL_CHECK_EQ(t, v, i);
        }
        v = 9;
        BL_CHECK_ERR(t, bl_chan_recv(c, &v), BL_ECLOSED);
        BL_CHECK_EQ(t, v, 0);
        v = 9;
        BL_CHECK_ERR(t, bl_chan_try_recv(c, &v), BL_ECLOSED);
        BL_CHECK_EQ(t, v, 0);
        v = 9;
        BL_CHECK_ERR(t, bl_chan_recv_until(c, &v, BL_NEVER), BL_ECLOSED);
        BL_CHECK_EQ(t, v, 0);
        BL_CHECK_ERR(t, bl_chan_recv(c, NULL), BL_ECLOSED);
        bl_chan_release(c);
    }
}

BL_TEST(size_out_of_range)
{
    BL_CHECK(t, bl_chan_new(65536, 0) == NULL);
    BL_CHECK(t, bl_chan_new(8, SIZE_MAX / 8) == NULL);
    BL_CHECK(t, bl_chan_new(8, SIZE_MAX) == NULL);
    bl_chan *c = bl_chan_new(65535, 1);
    BL_CHECK(t, c != NULL);
    bl_chan_release(c);
    bl_chan_release(NULL);
}

static int close_twice(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(0, 0);
    bl_chan_close(c);
    bl_chan_close(c);
    return 0;
}

static int close_done(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan_close(bl_ctx_done(bl_scope_ctx(s)));
    return 0;
}

static int close_nil(void *arg)
{
    bl_chan_close(arg);
    return 0;
}

static int send_other_size(void *arg)
{
    (void)arg;
    int v = 1;
    return bl_chan_try_send(bl_chan_new(8, 1), &v);
}

BL_TEST_PLAIN(misuse_is_fatal)
{
    CHECK_FATAL(t, close_twice, "fatal error: close of closed channel");
    CHECK_FATAL(t, close_nil, "fatal error: close of nil channel");
    CHECK_FATAL(t, close_done, "close of a context's done channel");
    CHECK_FATAL(t, send_other_size, "value of 4 bytes for a channel of elements of 8 bytes");
}

/* ---- Values ---------------------------------------------------------------------------------- */

enum { MAX_SIZE = 1000 };

typedef struct sized {
    bl_chan *c;
    size_t size;
    int rounds;
} sized;

static void pattern_fill(unsigned char *p, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)(seed + i * 7 + (i >> 3));
}

static int sized_send(void *arg)
{
    sized *s = arg;
    unsigned char v[MAX_SIZE];
    for (int i = 0; i < s->rounds; i++) {
        pattern_fill(v, s->size, (unsigned)i);
        BL_CHECK_EQ(t, bl_chan_send(s->c, (void *)v), 0);
        memset(v, 0xee, sizeof v); /* the value was copied out before send returned */
    }
    return 0;
}

BL_TEST(every_element_size)
{
    enum { GUARD = 16 };
    for (size_t size = 0; size <= MAX_SIZE; size++) {
        sized s = {.size = size, .rounds = 4};
        s.c = bl_chan_new(size, size % 3);
        BL_SCOPE(scope);
        bl_go(scope, sized_send, &s);
        if (size % 2)
            bl_yield(); /* so that both sides get to be the one that waits */
        for (int i = 0; i < s.rounds; i++) {
            unsigned char v[MAX_SIZE + GUARD], want[MAX_SIZE + GUARD];
            memset(v, 0x55, sizeof v);
            memset(want, 0x55, sizeof want);
            pattern_fill(want, size, (unsigned)i);
            BL_CHECK_EQ(t, bl_chan_recv(s.c, (void *)v), 0);
            BL_CHECK(t, memcmp(v, want, sizeof v) == 0); /* all of it, and nothing beyond */
        }
        BL_CHECK_EQ(t, bl_scope_wait(scope), 0);
        bl_chan_release(s.c);
    }
}

BL_TEST(null_drops_and_sends_zeros)
{
    bl_chan *c = bl_chan_new(sizeof(int), 2);
    int v = 7;
    BL_CHECK_EQ(t, bl_chan_send(c, &v), 0);
    BL_CHECK_EQ(t, bl_chan_send(c, NULL), 0);
    BL_CHECK_EQ(t, bl_chan_recv(c, NULL), 0);
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_EQ(t, v, 0);
    bl_chan_release(c);
}

static int send_value(void *arg)
{
    int v = 5;
    return bl_chan_send(arg, &v);
}

static int send_null(void *arg) { return bl_chan_send(arg, NULL); }

static int recv_null(void *arg) { return bl_chan_recv(arg, NULL); }

BL_TEST(null_on_an_unbuffered_channel)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    BL_SCOPE(s);
    int v = 9;
    bl_go(s, send_value, c);
    BL_CHECK_EQ(t, bl_chan_recv(c, NULL), 0);
    bl_go(s, send_null, c);
    BL_CHECK(t, parked_wait(1));
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_EQ(t, v, 0);
    bl_go(s, recv_null, c);
    BL_CHECK(t, parked_wait(1));
    BL_CHECK_EQ(t, bl_chan_send(c, &v), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    bl_chan_release(c);
}

BL_TEST(references)
{
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    BL_CHECK(t, bl_chan_retain(c) == c);
    bl_chan_release(c);
    int v = 3;
    BL_CHECK_EQ(t, bl_chan_send(c, &v), 0);
    bl_chan_release(c); /* and frees the value with it */
    BL_CHECK(t, bl_chan_retain(NULL) == NULL);

    bl_chan *kept;
    {
        BL_SCOPE(s);
        kept = bl_chan_retain(bl_scope_chan(s, sizeof(int), 1));
        for (int i = 0; i < 100; i++)
            BL_CHECK(t, bl_scope_chan(s, 64, 4) !=
                            NULL); /* freed with the scope; see the leak checker */
        BL_CHECK_EQ(t, bl_chan_send(kept, &v), 0);
    }
    v = 0;
    BL_CHECK_EQ(t, bl_chan_recv(kept, &v), 0);
    BL_CHECK_EQ(t, v, 3);
    bl_chan_release(kept);
}

/* ---- Many at once ---------------------------------------------------------------------------- */

enum { SIDES = 4, EACH = 2000 };

typedef struct crowd {
    bl_chan *c;
    atomic_int next; /* what the senders send: each number once */
    atomic_uchar got[SIDES * EACH];
    atomic_int out_of_order; /* a receiver saw the numbers of one sender go back */
} crowd;

static int crowd_send(void *arg)
{
    crowd *w = arg;
    int first = atomic_fetch_add(&w->next, EACH);
    for (int i = first; i < first + EACH; i++)
        BL_CHECK_EQ(t, bl_chan_send(w->c, &i), 0);
    return 0;
}

static int crowd_recv(void *arg)
{
    crowd *w = arg;
    int last[SIDES] = {-1, -1, -1, -1}, v, r;
    while ((r = bl_chan_recv(w->c, &v)) == 0) {
        atomic_fetch_add(&w->got[v], 1);
        if (v <= last[v / EACH])
            atomic_fetch_add(&w->out_of_order, 1);
        last[v / EACH] = v;
    }
    BL_CHECK_ERR(t, r, BL_ECLOSED);
    return 0;
}

static void crowd_check(const crowd *w)
{
    int wrong = 0;
    for (int i = 0; i < SIDES * EACH; i++)
        wrong += w->got[i] != 1;
    BL_CHECK_EQ(t, wrong, 0);
    BL_CHECK_EQ(t, w->out_of_order, 0);
}

BL_TEST(every_value_arrives_once_and_in_its_senders_order)
{
    for (size_t cap = 0; cap <= 10; cap += cap < 2 ? 1 : 4) {
        static crowd w;
        memset(&w, 0, sizeof w);
        w.c = bl_chan_new(sizeof(int), cap);
        BL_SCOPE(recv);
        {
            BL_SCOPE(send);
            for (int i = 0; i < SIDES; i++) {
                bl_go(recv, crowd_recv, &w);
                bl_go(send, crowd_send, &w);
            }
            BL_CHECK_EQ(t, bl_scope_wait(send), 0);
        }
        bl_chan_close(w.c);
        BL_CHECK_EQ(t, bl_scope_wait(recv), 0);
        crowd_check(&w);
        bl_chan_release(w.c);
    }
}

/* Threads are waited for with a wait group first: pthread_join would keep a processor. */
typedef struct crowd_threads {
    pthread_t thread[SIDES];
    bl_waitgroup running;
    crowd *w;
} crowd_threads;

static void *crowd_send_thread(void *arg)
{
    crowd_threads *threads = arg;
    crowd_send(threads->w);
    bl_waitgroup_done(&threads->running);
    return NULL;
}

static void *crowd_recv_thread(void *arg)
{
    crowd_threads *threads = arg;
    crowd_recv(threads->w);
    bl_waitgroup_done(&threads->running);
    return NULL;
}

static void threads_start(crowd_threads *threads, void *(*fn)(void *), crowd *w)
{
    threads->w = w;
    bl_waitgroup_add(&threads->running, SIDES);
    for (int i = 0; i < SIDES; i++)
        BL_CHECK_EQ(t, pthread_create(&threads->thread[i], NULL, fn, threads), 0);
}

static void threads_join(crowd_threads *threads)
{
    BL_CHECK_EQ(t, bl_waitgroup_wait(&threads->running), 0);
    for (int i = 0; i < SIDES; i++)
        pthread_join(threads->thread[i], NULL);
}

/* Plain threads on one side or both; they block as threads do. */
BL_TEST(plain_threads)
{
    enum { SENDERS = 1, RECEIVERS = 2 };
    for (int plain = SENDERS; plain <= (SENDERS | RECEIVERS); plain++) {
        static crowd w;
        memset(&w, 0, sizeof w);
        w.c = bl_chan_new(sizeof(int), plain == RECEIVERS ? 3 : 0);
        crowd_threads send_threads = {0}, recv_threads = {0};
        BL_SCOPE(recv);
        BL_SCOPE(send);
        if (plain & SENDERS)
            threads_start(&send_threads, crowd_send_thread, &w);
        if (plain & RECEIVERS)
            threads_start(&recv_threads, crowd_recv_thread, &w);
        for (int i = 0; i < SIDES; i++) {
            if (!(plain & SENDERS))
                bl_go(send, crowd_send, &w);
            if (!(plain & RECEIVERS))
                bl_go(recv, crowd_recv, &w);
        }
        BL_CHECK_EQ(t, bl_scope_wait(send), 0);
        if (plain & SENDERS)
            threads_join(&send_threads);
        bl_chan_close(w.c);
        if (plain & RECEIVERS)
            threads_join(&recv_threads);
        BL_CHECK_EQ(t, bl_scope_wait(recv), 0);
        crowd_check(&w);
        bl_chan_release(w.c);
    }
}

BL_TEST_PLAIN(without_a_run)
{
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    int v = 8;
    BL_CHECK_EQ(t, bl_chan_send(c, &v), 0);
    BL_CHECK_ERR(t, bl_chan_send_until(c, &v, bl_in(5 * BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_chan_recv(c, &v), 0);
    BL_CHECK_ERR(t, bl_chan_recv_until(c, &v, bl_in(5 * BL_MS)), BL_ETIMEDOUT);
    bl_chan_close(c);
    BL_CHECK_ERR(t, bl_chan_recv(c, &v), BL_ECLOSED);
    bl_chan_release(c);
}

typedef struct listeners {
    bl_chan *gate;
    bl_waitgroup there;
    int heard; /* atomic */
} listeners;

static int listen_for_close(void *arg)
{
    listeners *l = arg;
    bl_waitgroup_done(&l->there);
    int r = bl_chan_recv(l->gate, NULL);
    __atomic_fetch_add(&l->heard, 1, __ATOMIC_RELAXED);
    return r == BL_ECLOSED ? 0 : BL_EINVAL;
}

enum { CROWD = 3000 };

static void crowd_begin(bl_test *t, bl_scope *s, listeners *l)
{
    l->gate = bl_scope_chan(s, 0, 0);
    bl_waitgroup_add(&l->there, CROWD);
    for (int i = 0; i < CROWD; i++)
        BL_REQUIRE_EQ(t, bl_go(s, listen_for_close, l), 0);
    BL_REQUIRE_EQ(t, bl_waitgroup_wait(&l->there), 0);
    bl_yield(); /* the last one waits, too */
}

BL_TEST(a_crowd_hears_of_a_close)
{
    BL_SCOPE(s, .name = "crowd");
    listeners l = {0};
    crowd_begin(t, s, &l);
    bl_chan_close(l.gate);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, l.heard, CROWD);
}

static void *close_first(void *arg)
{
    bl_chan_close(((listeners *)arg)->gate);
    return NULL;
}

/* Its first call is the close. */
BL_TEST(a_plain_thread_closes_on_a_crowd)
{
    pthread_t thread;
    BL_SCOPE(s, .name = "crowd");
    listeners l = {0};
    crowd_begin(t, s, &l);
    BL_REQUIRE_EQ(t, pthread_create(&thread, NULL, close_first, &l), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(thread, NULL);
    BL_CHECK_EQ(t, l.heard, CROWD);
}

/* Go's TestNonblockRecvRace: a value that was sent before the close is seen before it. */
static int recv_without_waiting(void *arg)
{
    int v;
    return bl_chan_try_recv(arg, &v) == BL_EAGAIN ? BL_EIO : 0;
}

BL_TEST(try_recv_never_misses_a_close)
{
    for (int i = 0; i < 2000; i++) {
        bl_chan *c = bl_chan_new(sizeof(int), 1);
        BL_CHECK_EQ(t, bl_chan_send(c, &i), 0);
        BL_SCOPE(s);
        bl_go(s, recv_without_waiting, c);
        bl_chan_close(c);
        BL_CHECK_NE(t, bl_chan_try_recv(c, NULL), BL_EAGAIN);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        bl_chan_release(c);
    }
}

/* Go's TestMultiConsumer, with closes instead of a counted end: a ring of stages. */
static int stage(void *arg)
{
    bl_chan **io = arg;
    int v, r;
    while ((r = bl_chan_recv(io[0], &v)) == 0) {
        v++;
        if ((r = bl_chan_send(io[1], &v)) < 0)
            break;
    }
    bl_chan_close(io[1]);
    return r == BL_ECLOSED ? 0 : r;
}

BL_TEST(a_chain_of_stages_closes_front_to_back)
{
    enum { STAGES = 100, VALUES = 50 };
    bl_chan *c[STAGES + 1];
    BL_SCOPE(s);
    for (int i = 0; i <= STAGES; i++)
        c[i] = bl_scope_chan(s, sizeof(int), (size_t)(i % 3));
    for (int i = 0; i < STAGES; i++)
        bl_go(s, stage, &c[i]);
    int sent = 0, got = 0, v = 0;
    while (got < VALUES) {
        if (sent < VALUES && bl_chan_try_send(c[0], &sent) == 0) {
            if (++sent == VALUES)
                bl_chan_close(c[0]);
        } else if (bl_chan_try_recv(c[STAGES], &v) == 0) {
            BL_CHECK_EQ(t, v, got + STAGES);
            got++;
        } else {
            bl_yield();
        }
    }
    BL_CHECK_ERR(t, bl_chan_recv(c[STAGES], &v), BL_ECLOSED);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}
