/* SPDX-License-Identifier: MIT */
/*
 * fault_test.c: no memory, no mappings, no threads. Whatever is refused, a run gives BL_ENOMEM (or
 * BL_EAGAIN for threads) where a caller can act on it, ends with a fatal error that says what was
 * missing where none can, or does without; with what was begun finished or undone. Nothing is lost,
 * nothing hangs, and the next run finds nothing of it.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
//belay:libs -Wl,--wrap=malloc,--wrap=calloc,--wrap=posix_memalign,--wrap=mmap,--wrap=madvise
//belay:libs -Wl,--wrap=mprotect,--wrap=pthread_create,--wrap=syscall
#include <belay/map.h>
#include <belay/test.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

#define SCENARIO(name, ...)                                                                        \
    static int name(void *arg);                                                                    \
    BL_TEST_PLAIN(refusals_in_##name)                                                              \
    {                                                                                              \
        fault_every_way(name, #name, &(bl_options){__VA_ARGS__});                                  \
    }                                                                                              \
    static int name(void *arg)

/* ---- A run that does not begin --------------------------------------------------------------- */

static bool refused_says(int kind, const char *name, const char *what)
{
    fault->kinds = kind;
    fault->at = 1;
    fault->onwards = true;
    return fault_once(fault_nothing, name, NULL) && strstr(fault_said, name) != NULL &&
           strstr(fault_said, what) != NULL;
}

BL_TEST_PLAIN(a_run_that_does_not_begin_says_why)
{
    fault_begin();
    BL_CHECK(t, refused_says(FAULT_THREAD, "BL_EAGAIN", "ulimit -u"));
    BL_CHECK(t, refused_says(FAULT_MAP, "BL_ENOMEM", "BELAY_STACK"));
}

/* ---- Goroutines ------------------------------------------------------------------------------ */

enum { MANY = 40, VALUE_WORDS = 400 };

static atomic_int ran;

static int receive_one(void *arg)
{
    bl_chan *c = arg;
    bl_yield();
    int v = 0, r = bl_chan_recv(c, &v);
    if (r == 0)
        atomic_fetch_add(&ran, v);
    return r;
}

static int count_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int sum_copy(void *arg)
{
    const int *words = arg;
    for (int i = 0; i < VALUE_WORDS; i++)
        RIGHT(words[i] == words[0] + i);
    bl_yield();
    atomic_fetch_add(&ran, 1);
    return 0;
}

/* More of them at one time than the first arena has stacks for. */
SCENARIO(goroutines, .stack_size = 1 << 20)
{
    (void)arg;
    int started = 0, copies = 0, r = 0, words[VALUE_WORDS];
    ran = 0;
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    if (!c)
        return BL_ENOMEM;
    {
        BL_SCOPE(s);
        while (started < MANY && (r = bl_go(s, receive_one, c)) == 0)
            started++;
        for (int i = 0; i < VALUE_WORDS; i++)
            words[i] = started + i;
        while (r == 0 && copies < MANY / 4 &&
               (r = bl_go_copy(s, sum_copy, words, sizeof words)) == 0)
            copies++;
        for (int i = 0; i < 100; i++)
            bl_yield(); /* those that have a stack wait, each on its own */
        for (int i = 0; i < started; i++)
            RIGHT(bl_chan_send(c, &(int){1}) == 0);
        int joined = bl_scope_wait(s);
        RIGHT(joined == 0 || (r == BL_ENOMEM && joined == BL_ENOMEM));
    }
    RIGHT(ran == started + copies);
    bl_chan_release(c);
    return r;
}

/* One after the other: a stack that is free must be found, whoever has it. */
SCENARIO(generations, .stack_size = 4 << 20)
{
    (void)arg;
    int r = 0;
    for (int round = 0; round < 4 && r == 0; round++) {
        int started = 0, want = round % 2 ? 3 : 2 * MANY;
        ran = 0;
        BL_SCOPE(s, .limit = 30);
        bl_chan *c = bl_scope_chan(s, sizeof(int), 2 * MANY);
        for (int i = 0; c && i < want; i++)
            RIGHT(bl_chan_send(c, &(int){1}) == 0);
        while (c && started < want && (r = bl_go(s, receive_one, c)) == 0)
            started++;
        int joined = bl_scope_wait(s);
        RIGHT(joined == 0 || joined == BL_ENOMEM);
        RIGHT(ran == started);
        r = c ? r : BL_ENOMEM;
    }
    return r;
}

enum { CROWD = 700 };

/* More than a processor's queue has room for. */
SCENARIO(crowds)
{
    (void)arg;
    atomic_int counted = 0;
    int started = 0, r = 0;
    {
        BL_SCOPE(s);
        while (started < CROWD && (r = bl_go(s, count_one, &counted)) == 0)
            started++;
        int joined = bl_scope_wait(s);
        RIGHT(joined == 0 || joined == BL_ENOMEM);
    }
    RIGHT(counted == started);
    return r;
}

static int meet(void *arg)
{
    bl_waitgroup *all = arg;
    bl_waitgroup_done(all);
    return bl_waitgroup_wait(all);
}

/* None can end before all have a stack. */
SCENARIO(meetings, .stack_size = 2 << 20, .signals = 1)
{
    (void)arg;
    bl_waitgroup all = {0};
    int r = 0, joined;
    BL_SCOPE(s);
    bl_waitgroup_add(&all, MANY);
    for (int i = 0; i < MANY && r == 0; i++)
        r = bl_go(s, meet, &all);
    if (r < 0)
        bl_scope_cancel(s, r);
    joined = bl_scope_wait(s);
    RIGHT(joined == r);
    return r;
}

static int label_twice(void *arg)
{
    (void)arg;
    int r = bl_label("job", "one of two");
    return r < 0 ? r : bl_label("step", "second");
}

SCENARIO(labels_and_wait_groups, .signals = 1)
{
    (void)arg;
    bl_waitgroup wg = {0};
    int r = bl_label("user", "ann");
    if (r < 0)
        return r;
    BL_SCOPE(s);
    for (int i = 0; i < MANY && r == 0; i++)
        r = bl_waitgroup_go(&wg, s, label_twice, NULL);
    int waited = bl_waitgroup_wait(&wg);
    int joined = bl_scope_wait(s);
    RIGHT(waited == 0 || joined < 0);
    RIGHT(joined == 0 || joined == BL_ENOMEM);
    RIGHT(r != BL_ECANCELED || joined == BL_ENOMEM);
    return joined < 0 ? joined : r;
}

/* ---- Scopes and contexts --------------------------------------------------------------------- */

static int until_stopped(void *arg)
{
    bl_ctx *c = arg;
    int r = bl_chan_recv(NULL, NULL);
    RIGHT(r == BL_ECANCELED || r == BL_ETIMEDOUT);
    RIGHT(!c || bl_ctx_err(c) != 0);
    atomic_fetch_add(&ran, 1);
    return r;
}

static int scope_with_timeout(int depth)
{
    BL_SCOPE(s, .timeout = 2 * BL_MS, .name = "deep");
    int before = ran, started = 0;
    while (started < 3 && bl_go(s, until_stopped, NULL) == 0)
        started++;
    int r = depth > 0 ? scope_with_timeout(depth - 1) : 0;
    RIGHT(r == 0 || r == BL_ENOMEM || r == BL_ETIMEDOUT);
    int joined = bl_scope_wait(s);
    RIGHT(joined == BL_ETIMEDOUT || joined == BL_ENOMEM || (started == 0 && joined == 0));
    RIGHT(ran >= before + started);
    return r == BL_ENOMEM ? r : joined;
}

SCENARIO(scopes)
{
    (void)arg;
    ran = 0;
    bl_scope s;
    int opened = bl_scope_open(&s, &(bl_scope_opts){.keep_going = true});
    int r = bl_go(&s, until_stopped, bl_scope_ctx(&s)), started = r == 0;
    RIGHT(opened == 0 || r == opened);
    int deep = scope_with_timeout(3);
    bl_scope_cancel(&s, BL_EPIPE);
    int closed = bl_scope_close(&s);
    RIGHT(closed == (opened == 0 ? BL_EPIPE : BL_ENOMEM));
    RIGHT(ran >= started);
    if (opened < 0)
        return opened;
    return r < 0 ? r : deep == BL_ENOMEM ? deep : 0;
}

static const char key;

static int contexts_in(bl_ctx *top, bl_ctx *child, bl_ctx *late)
{
    atomic_int called = 0;
    int expected = 0, stopped = 0, want = 2 * MANY;
    {
        BL_SCOPE(s, .ctx = child);
        if (bl_ctx_cause(bl_scope_ctx(s)) == BL_ENOMEM)
            return BL_ENOMEM;
        RIGHT(bl_ctx_value(bl_scope_ctx(s), &key) == top);
        bl_chan *done = bl_ctx_done(late);
        for (int i = 0; i < want; i++)
            expected += bl_ctx_after(child, s, count_one, &called) != NULL;
        bl_stop *stop = bl_ctx_after(top, s, count_one, &called);
        stopped = stop && bl_ctx_after_stop(stop);
        RIGHT(!stop || stopped);
        RIGHT(bl_chan_recv_until(done, NULL, bl_in(BL_MIN)) == BL_ECLOSED);
        bl_ctx_cancel(top, BL_EPIPE);
        RIGHT(bl_ctx_cause(child) == BL_EPIPE);
        int joined = bl_scope_wait(s);
        RIGHT(joined == BL_EPIPE);
    }
    RIGHT(called == expected);
    return expected == want && stopped ? 0 : BL_ENOMEM;
}

SCENARIO(contexts)
{
    (void)arg;
    bl_ctx *top = bl_ctx_with_cancel(bl_ctx_current());
    bl_ctx *value = top ? bl_ctx_with_value(top, &key, top) : NULL;
    bl_ctx *child = value ? bl_ctx_with_cancel(value) : NULL;
    bl_ctx *late = child ? bl_ctx_with_timeout(bl_ctx_background(), 2 * BL_MS) : NULL;
    bl_ctx *cut = late ? bl_ctx_without_cancel(child) : NULL;
    RIGHT(!cut || bl_ctx_value(cut, &key) == top);
    int r = cut ? contexts_in(top, child, late) : BL_ENOMEM;
    bl_ctx_release(cut);
    bl_ctx_release(late);
    bl_ctx_release(child);
    bl_ctx_release(value);
    bl_ctx_release(top);
    return r;
}

/* ---- Channels and select --------------------------------------------------------------------- */

enum { CASES = 100 };

typedef struct wide {
    bl_chan *chans[CASES];
    int total;
} wide;

static int send_to_each(void *arg)
{
    wide *w = arg;
    for (int i = 0; i < CASES; i++) {
        int r = bl_chan_send(w->chans[i], &i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int receive_from_all(void *arg)
{
    wide *w = arg;
    bl_case cases[CASES];
    for (int n = 0; n < CASES; n++) {
        int v = -1;
        for (int i = 0; i < CASES; i++)
            cases[i] = BL_RECV(w->chans[i], &v);
        int i = bl_select(cases, CASES);
        if (i < 0)
            return i;
        RIGHT(cases[i].err == 0 && i == v);
        w->total += v;
    }
    return 0;
}

SCENARIO(selects)
{
    (void)arg;
    wide w = {.total = 0};
    BL_SCOPE(s);
    for (int i = 0; i < CASES; i++) {
        w.chans[i] = bl_scope_chan(s, sizeof(int), (size_t)i % 3);
        if (!w.chans[i])
            return BL_ENOMEM;
    }
    int r = bl_go(s, receive_from_all, &w);
    if (r == 0)
        r = bl_go(s, send_to_each, &w);
    if (r < 0)
        bl_scope_cancel(s, r);
    int joined = bl_scope_wait(s);
    RIGHT(joined == r || joined == BL_ENOMEM);
    RIGHT(joined < 0 || w.total == CASES * (CASES - 1) / 2);
    return joined;
}

/* ---- Timers ---------------------------------------------------------------------------------- */

enum { TIMERS = 150, SLEEPERS = 80 };

static int sleep_a_little(void *arg)
{
    bl_dur d = *(int *)arg * BL_MS / 20;
    bl_time began = bl_now();
    int r = bl_sleep(d);
    RIGHT(r < 0 || bl_now() - began >= d);
    return r;
}

SCENARIO(timers)
{
    (void)arg;
    static bl_timer set[TIMERS];
    memset(set, 0, sizeof set);
    for (int i = 0; i < TIMERS; i++)
        RIGHT(bl_timer_start(&set[i], (i * 7 % 100) * BL_MS / 20) == 0);
    int r = 0;
    {
        BL_SCOPE(s);
        for (int i = 0; i < SLEEPERS && r == 0; i++)
            r = bl_go_copy(s, sleep_a_little, &i, sizeof i);
        for (int i = 0; i < TIMERS; i++) {
            bl_time due = 0;
            if (i % 5 == 4)
                (void)bl_timer_stop(&set[i]);
            else
                RIGHT(bl_chan_recv_until(bl_timer_chan(&set[i]), &due, bl_in(BL_MIN)) == 0 ||
                      bl_ctx_err(bl_ctx_current()) != 0);
            RIGHT(due <= bl_now());
        }
        int joined = bl_scope_wait(s);
        RIGHT(joined == 0 || joined == BL_ENOMEM);
    }
    for (int i = 0; i < TIMERS; i++)
        (void)bl_timer_stop(&set[i]);
    return r;
}

SCENARIO(after_functions)
{
    (void)arg;
    static bl_timer set[TIMERS];
    atomic_int called = 0;
    int armed = 0, r = 0;
    memset(set, 0, sizeof set);
    {
        BL_SCOPE(s);
        for (int i = 0; i < TIMERS && r == 0; i++) {
            r = bl_after_func(&set[i], s, (1 + i % 3) * BL_MS / 4, count_one, &called);
            armed += r == 0;
        }
        bl_ticker *ticker = r == 0 ? bl_ticker_new(s, BL_MS / 4) : NULL;
        for (int i = 0; ticker && i < 3; i++)
            RIGHT(bl_chan_recv(bl_ticker_chan(ticker), NULL) == 0);
        for (bl_time end = bl_in(20 * BL_SEC); called < armed && bl_now() < end;)
            if (bl_sleep(BL_MS / 4) < 0)
                bl_yield();
        RIGHT(called == armed);
        if (r == 0 && !ticker)
            r = BL_ENOMEM;
    }
    return r;
}

/* ---- Blocking calls ---------------------------------------------------------------------------- */

static int add_own(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 3;
}

static int call_blocking(void *arg)
{
    for (int i = 0; i < 3; i++) {
        int r = bl_blocking(add_own, arg);
        RIGHT(r == 3 || r == BL_ENOMEM || r == BL_EAGAIN);
        if (r < 0)
            return r;
        atomic_fetch_add(&ran, 1);
    }
    return 0;
}

SCENARIO(blocking_calls)
{
    (void)arg;
    atomic_int called = 0;
    int r = 0, joined;
    ran = 0;
    {
        BL_SCOPE(s, .keep_going = true);
        for (int i = 0; i < 8 && r == 0; i++)
            r = bl_go(s, call_blocking, &called);
        joined = bl_scope_wait(s);
        RIGHT(joined == 0 || fault_is_shortage(joined));
    }
    RIGHT(called == ran);
    return r < 0 ? r : joined;
}

/* ---- Jobs that end their goroutine, as a failed BL_REQUIRE does: another goes on ----------------- */

static int count_and_end(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    bl__goroutine_exit();
}

SCENARIO(jobs_that_end)
{
    (void)arg;
    atomic_int counted = 0;
    int accepted = 0, r = BL_ENOMEM;
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = MANY});
    for (; p && accepted < MANY && (r = bl_pool_submit(p, count_and_end, &counted)) == 0;)
        accepted++;
    RIGHT(!p || bl_pool_drain(p) == 0);
    RIGHT(counted == accepted);
    return r == BL_ECANCELED ? bl_ctx_cause(bl_ctx_current()) : r; /* of the scope: no memory */
}

/* ---- Maps ------------------------------------------------------------------------------------- */

enum { KEYS = 12 };

static const char *key_text(int i, char text[16])
{
    (void)snprintf(text, 16, "key %d", i);
    return text;
}

SCENARIO(maps)
{
    (void)arg;
    char text[16];
    int r = 0, v;
    bl_map *m = bl_map_new(0, sizeof(int));
    if (!m)
        return BL_ENOMEM;
    for (int i = 0; i < KEYS; i++) {
        size_t len = bl_map_len(m);
        int set = bl_map_set(m, key_text(i, text), &i);
        RIGHT(set == 0 || set == BL_ENOMEM);
        RIGHT(bl_map_len(m) == len + (set == 0));
        RIGHT(bl_map_get(m, text, &v) == (set == 0) && v == (set == 0 ? i : 0));
        RIGHT(set < 0 || bl_map_set(m, text, &i) == 0); /* without memory */
        r = set < 0 ? set : r;
    }
    bl_map_free(m);
    return r;
}

SCENARIO(syncmaps)
{
    (void)arg;
    char text[16];
    int r = 0;
    void *v;
    bl_syncmap *m = bl_syncmap_new(0);
    if (!m)
        return BL_ENOMEM;
    for (int i = 0; i < KEYS; i++) {
        int set = i % 2 ? bl_syncmap_store(m, key_text(i, text), &ran)
                        : bl_syncmap_load_or_store(m, key_text(i, text), &ran, &v);
        RIGHT(set == 0 || set == BL_ENOMEM);
        RIGHT(bl_syncmap_load(m, text, &v) == (set == 0) && v == (set == 0 ? &ran : NULL));
        RIGHT(set < 0 || bl_syncmap_store(m, text, NULL) == 0);
        r = set < 0 ? set : r;
    }
    bl_syncmap_free(m);
    return r;
}

/* ---- Threads --------------------------------------------------------------------------------- */

static int yield_often(void *arg)
{
    for (int i = 0; i < 200; i++)
        bl_yield();
    atomic_fetch_add(&ran, 1);
    (void)arg;
    return 0;
}

/* Processors come and go; those for which there is no memory or no thread stay away. */
SCENARIO(processors)
{
    (void)arg;
    static const int wanted[] = {4, 1, 8, 2, 12};
    int started = 0, r = 0;
    ran = 0;
    {
        BL_SCOPE(s);
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
            (void)bl_set_procs(wanted[i]);
            for (int n = 0; n < 8 && r == 0; n++)
                started += (r = bl_go(s, yield_often, NULL)) == 0;
            bl_yield();
        }
        int joined = bl_scope_wait(s);
        RIGHT(joined == 0 || joined == BL_ENOMEM);
    }
    RIGHT(ran == started);
    (void)bl_set_procs(2);
    return r;
}

typedef struct outsider {
    bl_scope *scope;
    bl_chan *said;
} outsider;

static void *from_outside(void *arg)
{
    outsider *o = arg;
    int started = 0;
    while (started < 100 && bl_go(o->scope, yield_often, NULL) == 0)
        started++;
    RIGHT(bl_chan_send(o->said, &started) == 0);
    return NULL;
}

SCENARIO(plain_threads)
{
    (void)arg;
    pthread_t thread;
    int started = 0, joined = 0;
    ran = 0;
    {
        BL_SCOPE(s);
        outsider o = {s, bl_scope_chan(s, sizeof(int), 0)};
        if (!o.said)
            return BL_ENOMEM;
        if (__real_pthread_create(&thread, NULL, from_outside, &o) != 0)
            return BL_EAGAIN;
        bl_chan *none = NULL; /* the message comes, also when this scope is a stopped one */
        bl_case cases[] = {BL_RECV(o.said, &started), BL_RECV(none, NULL)};
        while (bl_try_select(cases, 2) != 0)
            usleep(100);
        pthread_join(thread, NULL);
        joined = bl_scope_wait(s);
    }
    RIGHT(ran == started);
    return started < 100 && joined == 0 ? BL_ENOMEM : joined;
}
