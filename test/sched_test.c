/* SPDX-License-Identifier: MIT */
/* sched_test.c: starting, ending, yielding, sleeping, and who gets to run. See also run_test.c. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/proc.h"
#include "parked.h"

static bl_test *const t; /* the test that the caller is of */

/* ---- Starting and ending --------------------------------------------------------------------- */

static int id_store(void *arg)
{
    *(uint64_t *)arg = bl_id();
    return 0;
}

static int id_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

BL_TEST(ids_are_unique)
{
    enum { N = 10000 };
    uint64_t *ids = calloc(N + 1, sizeof *ids);
    uint64_t own = bl_id();
    ids[N] = own;
    for (int round = 0; round < 2; round++) {
        BL_SCOPE(s);
        for (int i = round * N / 2; i < (round + 1) * N / 2; i++)
            BL_CHECK_EQ(t, bl_go(s, id_store, &ids[i]), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    }
    BL_CHECK_EQ(t, bl_id(), own);
    qsort(ids, N + 1, sizeof *ids, id_compare);
    BL_CHECK_GT(t, ids[0], 0);
    for (int i = 1; i <= N; i++)
        BL_CHECK_NE(t, ids[i], ids[i - 1]);
    free(ids);
}

static atomic_int counter;

static int count_one(void *arg)
{
    (void)arg;
    atomic_fetch_add(&counter, 1);
    return 0;
}

BL_TEST(a_hundred_thousand)
{
    enum { N = 100000 };
    size_t before = bl_goroutines();
    counter = 0;
    BL_SCOPE(s);
    for (int i = 0; i < N; i++)
        BL_CHECK_EQ(t, bl_go(s, count_one, NULL), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, counter, N);
    BL_CHECK_EQ(t, bl_goroutines(), before);
}

/* Each node starts its children in a scope of its own, and adds up what they return in tree_sum. */
typedef struct node {
    int depth;
    atomic_int *leaves;
} node;

static int tree_grow(void *arg)
{
    node *n = arg;
    if (n->depth == 0) {
        atomic_fetch_add(n->leaves, 1);
        return 0;
    }
    BL_SCOPE(s);
    node child = {n->depth - 1, n->leaves};
    for (int i = 0; i < 8; i++)
        BL_CHECK_EQ(t, bl_go(s, tree_grow, &child), 0);
    return bl_scope_wait(s);
}

BL_TEST(a_tree_of_scopes)
{
    atomic_int leaves = 0;
    node root = {5, &leaves};
    BL_CHECK_EQ(t, tree_grow(&root), 0);
    BL_CHECK_EQ(t, leaves, 8 * 8 * 8 * 8 * 8);
}

static int wait_for_close(void *arg)
{
    int r = bl_chan_recv(arg, NULL);
    return r == BL_ECLOSED ? 0 : r;
}

BL_TEST(the_number_of_goroutines)
{
    enum { N = 500 };
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, 1, 0);
    size_t before = bl_goroutines();
    for (int i = 0; i < N; i++) {
        bl_go(s, wait_for_close, c);
        BL_CHECK_EQ(t, bl_goroutines(), before + (size_t)i + 1);
    }
    bl_chan_close(c);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, bl_goroutines(), before);
}

typedef struct blob {
    size_t size;
    unsigned char bytes[];
} blob;

static int blob_check(void *arg)
{
    blob *b = arg;
    bl_yield();
    BL_CHECK_EQ(t, (uintptr_t)b % _Alignof(max_align_t), 0);
    int wrong = 0;
    for (size_t i = 0; i < b->size - sizeof *b; i++)
        wrong += b->bytes[i] != (unsigned char)(b->size + i);
    BL_CHECK_EQ(t, wrong, 0);
    memset(b->bytes, 0, b->size - sizeof *b); /* its own copy: it may write to it */
    atomic_fetch_add(&counter, 1);
    return 0;
}

BL_TEST(a_copy_for_the_goroutine)
{
    static const size_t more[] = {1000, 4096, 65536, 1000003};
    counter = 0;
    BL_SCOPE(s);
    blob *b = malloc(1000003);
    int started = 0;
    for (size_t i = sizeof(blob), k = 0; k < 4; i = i < 200 ? i + 1 : more[k++], started++) {
        b->size = i;
        for (size_t n = 0; n < i - sizeof *b; n++)
            b->bytes[n] = (unsigned char)(i + n);
        BL_CHECK_EQ(t, bl_go_copy(s, blob_check, b, i), 0);
        memset(b->bytes, 0xee, i - sizeof *b);
    }
    free(b);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, counter, started);
}

static int many_frames(int depth)
{
    volatile unsigned char frame[512];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (unsigned char)(depth + (int)i);
    if (depth % 8 == 0)
        bl_yield();
    int sum = depth > 0 ? many_frames(depth - 1) : 0;
    for (size_t i = 0; i < sizeof frame; i++)
        sum += frame[i] != (unsigned char)(depth + (int)i);
    return sum;
}

static int go_deep(void *arg)
{
    (void)arg;
    BL_CHECK_EQ(t, many_frames(60), 0); /* over half of the 64 KiB */
    return 0;
}

BL_TEST(deep_stacks_keep_their_contents)
{
    for (int round = 0; round < 3; round++) {
        BL_SCOPE(s);
        for (int i = 0; i < 100; i++)
            bl_go(s, go_deep, NULL);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    }
}

/* ---- What a switch preserves ----------------------------------------------------------------- */

/* Values the compiler keeps in registers across the calls, callee-saved ones for want of others. */
static int registers_keep(void *arg)
{
    uint64_t seed = *(uint64_t *)arg * 0x9e3779b97f4a7c15ull + 1;
    uint64_t a = seed, b = seed * 3, c = seed * 5, d = seed * 7, e = seed * 11, f = seed * 13;
    double x = (double)(seed >> 40), y = x / 3, z = x * 7;
    for (int i = 0; i < 200; i++) {
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
        bl_yield();
        if (i % 16 == 0)
            BL_CHECK_EQ(t, bl_sleep(BL_US), 0);
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
    }
    BL_CHECK(t, a == seed && b == seed * 3 && c == seed * 5);
    BL_CHECK(t, d == seed * 7 && e == seed * 11 && f == seed * 13);
    BL_CHECK(t, y == (double)(seed >> 40) / 3 && z == x * 7);
    return 0;
}

BL_TEST(registers_survive_switches)
{
    BL_SCOPE(s);
    for (uint64_t i = 1; i <= 16; i++)
        bl_go_copy(s, registers_keep, &i, sizeof i);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* The floating-point unit's rounding mode, 0 (to nearest) to 3; of both units on x86-64. */
static unsigned rounding_get(void)
{
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (mxcsr >> 13 & 3) == (x87 >> 10 & 3) ? mxcsr >> 13 & 3 : 99;
#else
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr >> 22 & 3;
#endif
}

static void rounding_set(unsigned mode)
{
#if defined(__x86_64__)
    uint32_t mxcsr = 0x1f80 | mode << 13;
    uint16_t x87 = (uint16_t)(0x037f | mode << 10);
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
#else
    uint64_t fpcr = (uint64_t)mode << 22;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}

static int rounding_keep(void *arg)
{
    unsigned mode = *(unsigned *)arg;
    BL_CHECK_EQ(t, rounding_get(), 0); /* a new goroutine has the default, not its starter's */
    rounding_set(mode);
    for (int i = 0; i < 100; i++) {
        bl_yield();
        BL_CHECK_EQ(t, rounding_get(), mode);
    }
    return 0;
}

BL_TEST(rounding_modes_belong_to_goroutines)
{
    BL_SCOPE(s);
    rounding_set(2);
    for (unsigned i = 0; i < 8; i++) {
        unsigned mode = i % 4;
        bl_go_copy(s, rounding_keep, &mode, sizeof mode);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, rounding_get(), 2);
    rounding_set(0);
}

/* ---- Who gets to run ------------------------------------------------------------------------- */

enum { RUNNERS = 8 };

typedef struct runner {
    _Atomic long turns;
    atomic_bool *stop;
    const bl__m *on; /* the thread that it began on */
    bool moved;      /* it has been on another since */
} runner;

static int runner_yield(void *arg)
{
    runner *r = arg;
    r->on = bl__this_m();
    while (!atomic_load(r->stop)) {
        atomic_fetch_add(&r->turns, 1);
        bl_yield();
        r->moved = r->moved || bl__this_m() != r->on;
    }
    return 0;
}

/* The caller has it, and the others have been given up. */
static bool on_the_first_alone(void)
{
    const bl__p *p = load_relaxed(&bl__this_m()->p);
    return p != NULL && p->id == 0 &&
           load_relaxed(&bl__rt.idle_all) + 1 == load_relaxed(&bl__rt.ps_made);
}

/* Goes down to one processor. */
static int one_processor(void)
{
    int before = bl_set_procs(1);
    while (!on_the_first_alone())
        bl_yield();
    return before;
}

/* True: all were on one thread all the time, the caller too, who starts them and counts their turns. */
static bool yield_in_turn(runner *r)
{
    atomic_bool stop = false;
    const bl__m *on = bl__this_m();
    bool moved = false;
    BL_SCOPE(s);
    for (int i = 0; i < RUNNERS; i++) {
        r[i] = (runner){.stop = &stop};
        bl_go(s, runner_yield, &r[i]);
    }
    while (atomic_load(&r[0].turns) < 2000) {
        moved = moved || bl__this_m() != on;
        bl_yield();
    }
    moved = moved || bl__this_m() != on;
    stop = true;
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 0; i < RUNNERS; i++)
        moved = moved || r[i].moved || r[i].on != on;
    return !moved;
}

/* A thread that the system keeps from its CPU loses the processor, and its goroutine has no turns
 * meanwhile: then that says nothing. */
BL_TEST(yield_goes_round)
{
    int before = one_processor();
    runner r[RUNNERS];
    while (!yield_in_turn(r))
        continue;
    for (int i = 1; i < RUNNERS; i++) { /* one processor: they take turns */
        BL_CHECK_GE(t, r[i].turns, 1800);
        BL_CHECK_LE(t, r[i].turns, 2200);
    }
    bl_set_procs(before);
}

typedef struct pair {
    bl_chan *there, *back;
    atomic_bool *stop;
} pair;

static int ping(void *arg)
{
    pair *p = arg;
    int r = 0;
    while (!atomic_load(p->stop) && r == 0)
        if ((r = bl_chan_send(p->there, NULL)) == 0)
            r = bl_chan_recv(p->back, NULL);
    bl_chan_close(p->there);
    return r;
}

static int pong(void *arg)
{
    pair *p = arg;
    int r;
    while ((r = bl_chan_recv(p->there, NULL)) == 0)
        if ((r = bl_chan_send(p->back, NULL)) < 0)
            break;
    return r == BL_ECLOSED ? 0 : r;
}

static int flag_after_yields(void *arg)
{
    for (int i = 0; i < 100; i++)
        bl_yield();
    if (bl_sleep(BL_MS) == 0)
        atomic_store((atomic_bool *)arg, true);
    return 0;
}

/* Waking goes to run-next, ahead of the queue: two that wake each other must not keep it. */
BL_TEST(a_ping_pong_pair_starves_nobody)
{
    int before = one_processor();
    atomic_bool stop = false;
    bl_time start = bl_now();
    BL_SCOPE(s);
    pair p = {bl_scope_chan(s, 1, 0), bl_scope_chan(s, 1, 0), &stop};
    bl_go(s, ping, &p);
    bl_go(s, pong, &p);
    bl_go(s, flag_after_yields, &stop);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_LE(t, bl_now() - start, 10 * BL_SEC);
    bl_set_procs(before);
}

typedef struct hog {
    atomic_bool done;
    bool in_kernel;
    int wanted; /* turns that another is to have before it stops; or it has waited long enough */
    atomic_int turns;
} hog;

static int hog_run(void *arg)
{
    hog *h = arg;
    bl_time last = bl_in(10 * BL_SEC);
    do {
        if (h->in_kernel)
            usleep(100000);
        else
            for (bl_time end = bl_now() + 100 * BL_MS; bl_now() < end;)
                for (volatile int i = 0; i < 10000; i++) {
                }
    } while (atomic_load(&h->turns) < h->wanted && bl_now() < last);
    atomic_store(&h->done, true);
    return 0;
}

/* One that computes, or blocks in the kernel, and never calls in, keeps one processor and no more:
 * what was queued behind it and the timers that it armed go on on the other. */
BL_TEST(a_hog_keeps_one_processor)
{
    int before = bl_set_procs(2);
    for (int in_kernel = 0; in_kernel < 2; in_kernel++) {
        hog h = {.in_kernel = in_kernel, .wanted = 4};
        BL_SCOPE(s);
        bl_go(s, hog_run, &h);
        while (!atomic_load(&h.done)) {
            atomic_fetch_add(&h.turns, 1);
            BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
        }
        BL_CHECK_GE(t, h.turns, h.wanted);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    }
    bl_set_procs(before);
}

/* The same where it got the processor before that was one too many: no false deadlock either. */
BL_TEST(a_hog_on_a_processor_too_many)
{
    int before = bl_procs();
    for (int procs = 8; procs >= 1; procs -= 7) {
        bl_set_procs(procs);
        for (int i = 0; i < 4; i++) {
            hog h = {.in_kernel = i % 2};
            BL_SCOPE(s);
            bl_go(s, hog_run, &h);
            BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
            bl_set_procs(1);
            BL_CHECK_EQ(t, bl_scope_wait(s), 0);
            BL_CHECK(t, h.done);
            bl_set_procs(procs);
        }
    }
    bl_set_procs(before);
}

enum { SLEEPERS = 64, YIELDERS = 4 };

static int count_a_nap(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    int r = bl_sleep(20 * BL_MS);
    atomic_fetch_add(&counter, 1);
    return r;
}

static int yield_till_counted(void *arg)
{
    (void)arg;
    for (bl_time end = bl_in(10 * BL_SEC); counter < SLEEPERS && bl_now() < end;)
        bl_yield();
    return 0;
}

/* The timers of a processor that nobody holds any more, while the rest never run out of work. */
BL_TEST(sleepers_of_a_processor_too_many)
{
    int before = bl_set_procs(4);
    atomic_int asleep = 0;
    counter = 0;
    BL_SCOPE(s);
    for (int i = 0; i < YIELDERS; i++)
        bl_go(s, yield_till_counted, NULL);
    for (int i = 0; i < SLEEPERS; i++)
        bl_go(s, count_a_nap, &asleep);
    while (asleep < SLEEPERS)
        bl_yield();
    bl_set_procs(1);
    (void)yield_till_counted(NULL);
    BL_CHECK_EQ(t, counter, SLEEPERS);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    bl_set_procs(before);
}

static int work_and_yield(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        for (volatile int k = 0; k < 200; k++) {
        }
        bl_yield();
    }
    atomic_fetch_add(&counter, 1);
    return 0;
}

BL_TEST(the_number_of_processors_changes_in_a_run)
{
    static const int procs[] = {1, 4, 2, 8, 1, 3};
    int before = bl_procs();
    counter = 0;
    BL_SCOPE(s);
    int was = before;
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 50; k++)
            bl_go(s, work_and_yield, NULL);
        BL_CHECK_EQ(t, bl_set_procs(procs[i]), was);
        was = procs[i];
        BL_CHECK_EQ(t, bl_procs(), was);
        BL_CHECK_EQ(t, bl_set_procs(0), was); /* only asks */
        bl_yield();
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, counter, 300);
    bl_set_procs(before);
    BL_CHECK_EQ(t, bl_procs(), before);
}

/* ---- Sleeping -------------------------------------------------------------------------------- */

static int sleep_for(void *arg)
{
    bl_dur d = *(bl_dur *)arg;
    bl_time start = bl_now();
    BL_CHECK_EQ(t, bl_sleep(d), 0);
    BL_CHECK_GE(t, bl_now() - start, d);
    return 0;
}

BL_TEST(never_early)
{
    bl_time start = bl_now();
    BL_SCOPE(s);
    for (uint64_t i = 0, x = 88172645463325252ull; i < 2000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        bl_dur d = (bl_dur)(x % (uint64_t)(50 * BL_MS));
        bl_go_copy(s, sleep_for, &d, sizeof d);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_LE(t, bl_now() - start, 20 * BL_SEC);
    BL_CHECK_EQ(t, bl_sleep(0), 0);
    BL_CHECK_EQ(t, bl_sleep(-BL_SEC), 0);
}

enum { RISERS = 20 };

typedef struct riser {
    bl_time due;
    int place;
    const bl__m *on; /* the thread that it woke on */
    atomic_int *asleep;
} riser;

static int rise(void *arg)
{
    riser *r = arg;
    atomic_fetch_add(r->asleep, 1);
    BL_CHECK_ERR(t, bl_chan_recv_until(NULL, NULL, r->due),
                 BL_ETIMEDOUT); /* a sleep to a point in time */
    r->on = bl__this_m();
    r->place = atomic_fetch_add(&counter, 1);
    return 0;
}

/* False: it took so long that the first was due before the last slept, or a thread lost the processor,
 * perhaps before its goroutine took its place, which proves nothing. */
static bool all_rise(riser r[RISERS])
{
    atomic_int asleep = 0;
    counter = 0;
    BL_SCOPE(s);
    bl_time first = bl_in(50 * BL_MS);
    for (int i = 0; i < RISERS; i++) {
        int turn = i * 7 % RISERS; /* started in another order */
        r[turn] = (riser){first + turn * 2 * BL_MS, -1, NULL, &asleep};
        bl_go(s, rise, &r[turn]);
    }
    while (atomic_load(&asleep) < RISERS)
        bl_yield();
    bool in_time = bl_now() < first; /* on one processor: who was asleep then, is parked */
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (int i = 1; i < RISERS; i++)
        in_time = in_time && r[i].on == r[0].on;
    return in_time;
}

BL_TEST(sleepers_wake_in_order)
{
    int before = one_processor();
    riser r[RISERS];
    while (!all_rise(r)) {
    }
    for (int i = 0; i < RISERS; i++)
        BL_CHECK_EQ(t, r[i].place, i);
    bl_set_procs(before);
}

BL_TEST(a_sleep_is_cut_short)
{
    bl_time start = bl_now();
    {
        BL_SCOPE(s, .timeout = 10 * BL_MS);
        BL_CHECK_ERR(t, bl_sleep(BL_HOUR), BL_ETIMEDOUT);
        BL_CHECK_ERR(t, bl_sleep(BL_HOUR), BL_ETIMEDOUT);
        for (int i = 0; i < 100; i++) /* a loop of short ones ends, too */
            BL_CHECK_ERR(t, bl_sleep(1), BL_ETIMEDOUT);
    }
    bl_dur hour = BL_HOUR;
    BL_SCOPE(s);
    bl_scope_cancel(s, 0);
    BL_CHECK_ERR(t, bl_sleep(hour), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_sleep(1), BL_ECANCELED);
    BL_CHECK_ERR(t, bl_sleep(BL_NEVER), BL_ECANCELED);
    BL_CHECK_GE(t, bl_now() - start, 10 * BL_MS);
    BL_CHECK_LE(t, bl_now() - start, 30 * BL_SEC);
}
