/* SPDX-License-Identifier: MIT */
/* rwmutex_test.c: the reader/writer lock. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <pthread.h>

#include "debug/stuck.h"
#include "sync/object.h"

#include "calls.h"
#include "run.h"

static bl_test *const t; /* the test that the caller is of */

enum { ROUNDS = 3000 };

typedef struct shared_rw {
    bl_rwmutex m;
    int readers; /* atomic */
    int writers; /* atomic */
    long count;  /* m */
    long reads;  /* atomic */
} shared_rw;

static int write_rw(void *arg)
{
    shared_rw *sh = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 5 == 0)
            while (bl_rwmutex_lock_until(&sh->m, bl_in(10 * BL_US)) < 0)
                bl_yield();
        else if (i % 7 != 0 || !bl_rwmutex_try_lock(&sh->m))
            bl_rwmutex_lock(&sh->m);
        BL_CHECK_EQ(t, add_acq_rel(&sh->writers, 1), 0);
        BL_CHECK_EQ(t, load_acquire(&sh->readers), 0);
        sh->count++;
        if (i % 3 == 0)
            bl_yield();
        add_acq_rel(&sh->writers, -1);
        bl_rwmutex_unlock(&sh->m);
    }
    return 0;
}

static int read_rw(void *arg)
{
    shared_rw *sh = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 5 == 0)
            while (bl_rwmutex_rlock_until(&sh->m, bl_in(10 * BL_US)) < 0)
                bl_yield();
        else if (i % 7 != 0 || !bl_rwmutex_try_rlock(&sh->m))
            bl_rwmutex_rlock(&sh->m);
        add_acq_rel(&sh->readers, 1);
        BL_CHECK_EQ(t, load_acquire(&sh->writers), 0);
        long seen = sh->count;
        if (i % 3 == 0)
            bl_yield();
        BL_CHECK_EQ(t, sh->count, seen);
        add_acq_rel(&sh->readers, -1);
        bl_rwmutex_runlock(&sh->m);
    }
    add_acq_rel(&sh->reads, ROUNDS);
    return 0;
}

static void *read_in_thread(void *arg)
{
    read_rw(arg);
    return NULL;
}

BL_TEST(rwmutex_excludes)
{
    shared_rw sh = {0};
    pthread_t thread;
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++)
        bl_go(s, write_rw, &sh);
    for (int i = 0; i < 5; i++)
        bl_go(s, read_rw, &sh);
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, read_in_thread, &sh), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(thread, NULL);
    BL_CHECK_EQ(t, sh.count, 3 * ROUNDS);
    BL_CHECK_EQ(t, sh.reads, 6 * ROUNDS);
    BL_CHECK_EQ(t, sh.m.bl__word, 0);
}

/* ---- Who holds it for reading, as far as that is known --------------------------------------- */

static void read_all(bl_rwmutex *m, int n)
{
    for (int i = 0; i < n; i++)
        bl_rwmutex_rlock(&m[i]);
}

BL_TEST(rwmutex_reads_are_noted)
{
    bl_rwmutex m[2 * BL__READS] = {0};
    bl__g *g = bl__self();
    for (int n = 1; n <= 2 * BL__READS; n++) {
        for (int first = 0; first < n; first++) { /* given back from there on, around */
            read_all(m, n);
            BL_CHECK_EQ(t, g->reads_count, n);
            for (int i = 0; i < n; i++) {
                BL_CHECK_EQ(t, bl__read_holds(g, &m[i]), i < BL__READS);
            }
            for (int i = 0; i < n; i++) {
                bl_rwmutex *given = &m[(first + i) % n];
                bl_rwmutex_runlock(given);
                BL_CHECK(t, !bl__read_holds(g, given));
                BL_CHECK_EQ(t, given->bl__word, 0);
            }
            BL_CHECK_EQ(t, g->reads_count, 0);
        }
    }
    BL_CHECK_EQ(t, load_relaxed(&bl__reads_handed), 0);
}

BL_TEST(rwmutex_read_again)
{
    bl_rwmutex m = {0};
    bl_rwmutex_rlock(&m);
    bl_rwmutex_rlock(&m);
    bl_rwmutex_runlock(&m);
    BL_CHECK(t, bl__read_holds(bl__self(), &m));
    BL_CHECK(t, !bl_rwmutex_try_lock(&m));
    BL_CHECK_ERR(t, bl_rwmutex_lock_until(&m, bl_in(BL_MS)), BL_ETIMEDOUT);
    bl_rwmutex_runlock(&m);
    BL_CHECK(t, bl_rwmutex_try_lock(&m));
    bl_rwmutex_unlock(&m);
}

static uint32_t gave_up;

static int write_with_deadline(void *arg)
{
    BL_CHECK_ERR(t, bl_rwmutex_lock_until(arg, bl_in(5 * BL_MS)), BL_ETIMEDOUT);
    store_relaxed(&gave_up, 1u);
    return 0;
}

/* The writer gives up, and lets the reader in a second time. */
BL_TEST(rwmutex_read_again_behind_a_deadline)
{
    bl_rwmutex m = {0};
    BL_SCOPE(s);
    bl_rwmutex_rlock(&m);
    BL_CHECK_EQ(t, bl_go(s, write_with_deadline, &m), 0);
    while (load_relaxed(&m.bl__word) == 8 && !load_relaxed(&gave_up)) /* until it waits */
        bl_yield();
    bl_rwmutex_rlock(&m);
    bl_rwmutex_runlock(&m);
    bl_rwmutex_runlock(&m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    gave_up = 0;
}

static int unlock_read(void *arg)
{
    bl_rwmutex_runlock(arg);
    return 0;
}

static int write_once(void *arg)
{
    bl_rwmutex_lock(arg);
    bl_rwmutex_unlock(arg);
    return 0;
}

static void *handed_reads(void *arg)
{
    bl_rwmutex m = {0};
    (void)arg;
    BL_SCOPE(s);
    bl_rwmutex_rlock(&m);
    BL_CHECK_EQ(t, bl_go(s, unlock_read, &m), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, load_relaxed(&bl__reads_handed), 1);
    /* What it has noted is wrong now, so nothing may be proven by it. */
    BL_CHECK(t, !bl__read_holds(bl__self(), &m));
    bl_rwmutex_lock(&m);
    bl_rwmutex_unlock(&m);
    bl_rwmutex_rlock(&m);
    BL_CHECK_EQ(t, bl_go(s, write_once, &m), 0);
    BL_CHECK_EQ(t, bl_go(s, unlock_read, &m), 0);
    bl_rwmutex_rlock(&m); /* perhaps behind the writer, who gets it from the other */
    bl_rwmutex_runlock(&m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    store_relaxed(&bl__reads_handed, 0u);
    return NULL;
}

BL_TEST(rwmutex_read_lock_is_handed_on)
{
    (void)handed_reads(NULL);
    bl__self()->reads_count = 0; /* what it has handed on */
}

static int call_wlock(call *c)
{
    int r = bl_rwmutex_lock_until(c->obj, c->deadline);
    if (r == 0) {
        call_turn(c);
        bl_rwmutex_unlock(c->obj);
    }
    return r;
}

static int call_rlock(call *c)
{
    int r = bl_rwmutex_rlock_until(c->obj, c->deadline);
    if (r == 0) {
        call_turn(c);
        bl_rwmutex_runlock(c->obj);
    }
    return r;
}

BL_TEST(rwmutex_try_forms)
{
    bl_rwmutex m = {0};
    BL_CHECK(t, bl_rwmutex_try_rlock(&m));
    BL_CHECK(t, bl_rwmutex_try_rlock(&m));
    BL_CHECK(t, !bl_rwmutex_try_lock(&m));
    bl_rwmutex_runlock(&m);
    BL_CHECK(t, !bl_rwmutex_try_lock(&m));
    bl_rwmutex_runlock(&m);
    BL_CHECK(t, bl_rwmutex_try_lock(&m));
    BL_CHECK(t, !bl_rwmutex_try_lock(&m));
    BL_CHECK(t, !bl_rwmutex_try_rlock(&m));
    BL_CHECK_EQ(t, (intptr_t)bl__self()->held_rw, (intptr_t)&m);
    bl_rwmutex_unlock(&m);
    BL_CHECK(t, bl__self()->held_rw == NULL);
    BL_CHECK_EQ(t, m.bl__word, 0);
}

BL_TEST(rwmutex_waiting_writer_holds_off_readers)
{
    bl_rwmutex m = {0};
    int turns = 0;
    BL_SCOPE(s);
    bl_rwmutex_rlock(&m);
    call writer = {.fn = call_wlock, .obj = &m, .turns = &turns};
    call_parks(s, &writer);
    BL_CHECK(t, !bl_rwmutex_try_rlock(&m));
    BL_CHECK_ERR(t, bl_rwmutex_rlock_until(&m, bl_in(BL_MS)), BL_ETIMEDOUT);
    call reader = {.fn = call_rlock, .obj = &m, .turns = &turns};
    call_parks(s, &reader);
    bl_rwmutex_runlock(&m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, writer.turn, 0);
    BL_CHECK_EQ(t, reader.turn, 1);
    BL_CHECK_EQ(t, m.bl__word, 0);
}

BL_TEST(rwmutex_writer_lets_readers_in_before_the_next_writer)
{
    bl_rwmutex m = {0};
    int turns = 0;
    BL_SCOPE(s);
    call readers[3], writer = {.fn = call_wlock, .obj = &m, .turns = &turns};
    bl_rwmutex_lock(&m);
    call_parks(s, &writer);
    for (int i = 0; i < 3; i++) {
        readers[i] = (call){.fn = call_rlock, .obj = &m, .turns = &turns};
        call_parks(s, &readers[i]);
    }
    bl_rwmutex_unlock(&m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, writer.turn, 3);
}

/* Keeps it while k is 0. */
static int call_wlock_keeps(call *c)
{
    bl_rwmutex_lock(c->obj);
    while (__atomic_load_n(&c->k, __ATOMIC_ACQUIRE) == 0)
        bl_yield();
    bl_rwmutex_unlock(c->obj);
    return 0;
}

BL_TEST(rwmutex_is_handed_over_by_who_has_switched)
{
    bl_rwmutex m = {0};
    BL_SCOPE(s);
    bl_rwmutex_lock(&m);
    call writer = {.fn = call_wlock_keeps, .obj = &m};
    call_parks(s, &writer);
    BL_CHECK_EQ(t, bl_sleep(1), 0); /* the writer may have run elsewhere, beside this one */
    bl_rwmutex_unlock(&m);
    BL_CHECK_ERR(t, bl_rwmutex_lock_until(&m, 1), BL_ETIMEDOUT);
    __atomic_store_n(&writer.k, 1, __ATOMIC_RELEASE);
    BL_CHECK(t, call_returns(&writer));
}

/* Takes it again before who was woken for it has run. */
static int call_wlock_barges(call *c)
{
    bl_rwmutex_lock(c->obj);
    bl_rwmutex_unlock(c->obj);
    bl_rwmutex_lock(c->obj);
    bl_yield();
    bl_rwmutex_unlock(c->obj);
    return 0;
}

BL_TEST(rwmutex_writer_that_is_woken_in_vain_keeps_its_place)
{
    bl_rwmutex m = {0};
    int turns = 0;
    BL_SCOPE(s);
    bl_rwmutex_lock(&m);
    call barges = {.fn = call_wlock_barges, .obj = &m}, writers[2];
    call_parks(s, &barges);
    for (int i = 0; i < 2; i++) {
        writers[i] = (call){.fn = call_wlock, .obj = &m, .turns = &turns};
        call_parks(s, &writers[i]);
    }
    bl_rwmutex_unlock(&m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, writers[0].turn, 0);
    BL_CHECK_EQ(t, writers[1].turn, 1);
    BL_CHECK_EQ(t, m.bl__word, 0);
}

BL_TEST(rwmutex_writer_that_gives_up_lets_readers_in)
{
    bl_rwmutex m = {0};
    BL_SCOPE(s);
    BL_SCOPE(cancelled);
    bl_rwmutex_rlock(&m);
    call writers[2] = {{.fn = call_wlock, .obj = &m}, {.fn = call_wlock, .obj = &m}};
    call_parks(cancelled, &writers[0]);
    call reader = {.fn = call_rlock, .obj = &m};
    call_parks(s, &reader);
    writers[1].deadline = bl_in(20 * BL_MS);
    call_parks(s, &writers[1]);
    bl_scope_cancel(cancelled, 0);
    BL_CHECK(t, call_returns(&writers[0]));
    BL_CHECK_ERR(t, call_result(&writers[0]), BL_ECANCELED);
    BL_CHECK(t, call_returns(&reader)); /* when the second writer has given up too */
    BL_CHECK_EQ(t, call_result(&reader), 0);
    BL_CHECK(t, call_returns(&writers[1]));
    BL_CHECK_ERR(t, call_result(&writers[1]), BL_ETIMEDOUT);
    bl_rwmutex_runlock(&m);
    BL_CHECK_EQ(t, m.bl__word, 0);
    BL_CHECK(t, bl_rwmutex_try_lock(&m));
    bl_rwmutex_unlock(&m);
}

BL_TEST(rwmutex_reader_gives_up)
{
    bl_rwmutex m = {0};
    BL_SCOPE(s);
    bl_rwmutex_lock(&m);
    call late = {.fn = call_rlock, .obj = &m, .deadline = bl_in(2 * BL_MS)};
    call_parks(s, &late);
    call stays = {.fn = call_rlock, .obj = &m};
    call_parks(s, &stays);
    BL_CHECK(t, call_returns(&late));
    BL_CHECK_ERR(t, call_result(&late), BL_ETIMEDOUT);
    bl_rwmutex_unlock(&m);
    BL_CHECK(t, call_returns(&stays));
    BL_CHECK_EQ(t, call_result(&stays), 0);
    BL_CHECK_EQ(t, m.bl__word, 0);
}

static int reads_and_hangs(call *c)
{
    bl_sem never;
    bl_sem_init(&never, 0);
    bl_rwmutex_rlock(c->obj);
    int r = bl_sem_acquire(&never, 1);
    bl_rwmutex_runlock(c->obj);
    return r;
}

/* Behind a reader that is stuck a writer waits that will give up, and lets in who waits behind it. */
RUN_TEST(rwmutex_reader_behind_a_deadline_is_not_stuck)
{
    bl_rwmutex m = {0};
    bl_leak found[4];
    BL_SCOPE(s);
    call hangs = {.fn = reads_and_hangs, .obj = &m}, reader = {.fn = call_rlock, .obj = &m};
    call writer = {.fn = call_wlock, .obj = &m, .deadline = bl_in(BL_MIN)};
    call_parks(s, &hangs);
    call_parks(s, &writer);
    call_parks(s, &reader);
    BL_CHECK_LE(t, bl_leaks(found, 4), 1u); /* a sanitizer leaves too little to know of the first */
    bl_scope_cancel(s, 0);
    BL_CHECK(t, call_returns(&hangs) && call_returns(&writer) && call_returns(&reader));
}

/* Holds m nearly all the time, without switching while it does, until everybody had a turn. */
static int hog_rw(void *arg)
{
    call *calls = arg;
    for (int i = 0;
         call_result(&calls[0]) == CALL_PENDING || call_result(&calls[1]) == CALL_PENDING; i++) {
        bl_rwmutex_lock(calls->obj);
        for (bl_time end = bl_in(50 * BL_US); bl_now() < end;)
            ;
        bl_rwmutex_unlock(calls->obj);
        if (i % 100 == 99 && bl_procs() == 1)
            bl_yield(); /* the others have to run at all */
    }
    return 0;
}

/* k: how often it has waited. */
static int call_counted(call *c)
{
    uint32_t before = bl__stuck_moves(bl__self());
    int r = c->k ? call_rlock(c) : call_wlock(c);
    c->k = bl__stuck_moves(bl__self()) - before;
    return r;
}

/* Who is woken in vain waits for a hog's next turn: twenty of them in the millisecond after which it
 * has starved. However slow the machine is, for it those are as many; and without end, where it is
 * given nothing then, but for luck. */
BL_TEST(rwmutex_starves_nobody)
{
    bl_rwmutex m = {0};
    for (int i = 0; i < 10; i++) {
        BL_SCOPE(s);
        call calls[2] = {
            {.fn = call_counted, .obj = &m, .deadline = BL_NEVER, .result = CALL_PENDING},
            {.fn = call_counted, .obj = &m, .k = 1, .deadline = BL_NEVER, .result = CALL_PENDING}};
        bl_go(s, hog_rw, calls);
        bl_go(s, hog_rw, calls);
        bl_yield();
        bl_go(s, call_run, &calls[0]);
        bl_go(s, call_run, &calls[1]);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_LE(t, calls[0].k, 100);
        BL_CHECK_LE(t, calls[1].k, 100);
    }
    BL_CHECK_EQ(t, m.bl__word, 0);
}
