/* SPDX-License-Identifier: MIT */
/* Locks that are taken in different orders, though nothing deadlocks; and programs that may do so. */
#include "cases.h"

static bl_mutex a, b, c, gate;
static bl_rwmutex table;

static int two(bl_mutex *first, bl_mutex *second)
{
    bl_mutex_lock(first);
    bl_mutex_lock(second);
    bl_mutex_unlock(second);
    bl_mutex_unlock(first);
    return 0;
}

static int a_b(void *arg) { return KEEP(two(&a, &b)) + (arg != NULL); }
static int b_a(void *arg) { return KEEP(two(&b, &a)) + (arg != NULL); }
static int b_c(void *arg) { return KEEP(two(&b, &c)) + (arg != NULL); }
static int c_a(void *arg) { return KEEP(two(&c, &a)) + (arg != NULL); }

/* One after the other, so that they cannot deadlock. */
static int in_turn(bl_fn first, bl_fn second, bl_fn third)
{
    BL_SCOPE(s);
    bl_go(s, first, NULL);
    (void)bl_scope_wait(s);
    bl_go(s, second, NULL);
    (void)bl_scope_wait(s);
    if (third != NULL)
        bl_go(s, third, NULL);
    return bl_scope_wait(s);
}

static int inversion(void *arg)
{
    (void)arg;
    return in_turn(a_b, b_a, a_b);
}

static int circle(void *arg)
{
    (void)arg;
    return in_turn(a_b, b_c, c_a);
}

static int a_reads(void *arg)
{
    (void)arg;
    bl_mutex_lock(&a);
    bl_rwmutex_rlock(&table);
    bl_rwmutex_runlock(&table);
    bl_mutex_unlock(&a);
    return 0;
}

static int writes_a(void *arg)
{
    (void)arg;
    bl_rwmutex_lock(&table);
    bl_mutex_lock(&a);
    bl_mutex_unlock(&a);
    bl_rwmutex_unlock(&table);
    return 0;
}

static int reads_a(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&table);
    bl_mutex_lock(&a);
    bl_mutex_unlock(&a);
    bl_rwmutex_runlock(&table);
    return 0;
}

static int read_and_write(void *arg)
{
    (void)arg;
    return in_turn(a_reads, writes_a, NULL);
}

/* What was only tried is held all the same when the next is waited for. */
static int tried_b_a(void *arg)
{
    (void)arg;
    if (bl_mutex_try_lock(&b)) {
        bl_mutex_lock(&a);
        bl_mutex_unlock(&a);
        bl_mutex_unlock(&b);
    }
    return 0;
}

static int holds_tried(void *arg)
{
    (void)arg;
    return in_turn(a_b, tried_b_a, NULL);
}

/* ---- Nothing to say -------------------------------------------------------------------------- */

static int gated_b_a(void *arg)
{
    bl_mutex_lock(&gate);
    b_a(arg);
    bl_mutex_unlock(&gate);
    return 0;
}

static int gated_a_b(void *arg)
{
    bl_mutex_lock(&gate);
    a_b(arg);
    bl_mutex_unlock(&gate);
    return 0;
}

static int with_gate(void *arg)
{
    (void)arg;
    return in_turn(gated_a_b, gated_b_a, gated_a_b);
}

/* The gate keeps apart only those who take it. */
static int gate_for_one(void *arg)
{
    (void)arg;
    return in_turn(gated_a_b, gated_b_a, b_a);
}

static int both_orders(void *arg) { return a_b(arg) + b_a(arg); }

static int one_goroutine(void *arg)
{
    (void)arg;
    return in_turn(both_orders, b_c, NULL);
}

static int readers_only(void *arg)
{
    (void)arg;
    return in_turn(a_reads, reads_a, NULL);
}

static int tries_a(void *arg)
{
    (void)arg;
    bl_mutex_lock(&b);
    if (bl_mutex_try_lock(&a))
        bl_mutex_unlock(&a);
    if (bl_mutex_lock_until(&a, bl_in(BL_SEC)) == 0)
        bl_mutex_unlock(&a);
    bl_mutex_unlock(&b);
    return 0;
}

static int tries(void *arg)
{
    (void)arg;
    return in_turn(a_b, tries_a, NULL);
}

/* Two locks in storage that each use begins anew, the other way round. */
static bl_mutex again[2];

static int again_up(void *arg)
{
    memset(again, 0, sizeof again);
    return KEEP(two(&again[0], &again[1])) + (arg != NULL);
}

static int again_down(void *arg)
{
    memset(again, 0, sizeof again);
    return KEEP(two(&again[1], &again[0])) + (arg != NULL);
}

static int new_locks(void *arg)
{
    (void)arg;
    return in_turn(again_up, again_down, again_up);
}

/* More locks than are remembered, in one order. */
static int many(void *arg)
{
    enum { MANY = 30000 };
    static bl_mutex locks[MANY];
    (void)arg;
    for (int i = 0; i + 1 < MANY; i++)
        (void)two(&locks[i], &locks[i + 1]);
    return in_turn(a_b, a_b, a_b);
}

/* Each with a seat. Three locks in a circle need three. */
static bl_sem seats;

static int seated(bl_fn fn)
{
    int r = bl_sem_acquire(&seats, 1);
    r = r == 0 ? fn(NULL) : r;
    bl_sem_release(&seats, 1);
    return r;
}

static int a_b_seated(void *arg) { return seated(a_b) + (arg != NULL); }
static int b_c_seated(void *arg) { return seated(b_c) + (arg != NULL); }
static int c_a_seated(void *arg) { return seated(c_a) + (arg != NULL); }

static int two_seats(void *arg)
{
    (void)arg;
    bl_sem_init(&seats, 2);
    return in_turn(a_b_seated, b_c_seated, c_a_seated);
}

static int three_seats(void *arg)
{
    (void)arg;
    bl_sem_init(&seats, 3);
    return in_turn(a_b_seated, b_c_seated, c_a_seated);
}

/* One of them has none. */
static int two_seats_for_two(void *arg)
{
    (void)arg;
    bl_sem_init(&seats, 2);
    return in_turn(a_b_seated, b_c_seated, c_a);
}

static int give_one(void *arg)
{
    bl_sem_release(&seats, 1);
    return arg != NULL;
}

/* Somebody gives seats that he has not taken. */
static int seats_given(void *arg)
{
    int r = 0;
    bl_sem_init(&seats, 0);
    BL_SCOPE(s);
    for (int i = 0; i < 3 && r == 0; i++) {
        bl_go(s, give_one, arg);
        r = bl_scope_wait(s);
    }
    return r < 0 ? r : in_turn(a_b_seated, b_c_seated, c_a_seated);
}

static const fatal_case cases[] = {
    {"inversion", inversion},
    {"circle", circle},
    {"holds_tried", holds_tried},
    {"read_and_write", read_and_write},
    {"gate_for_one", gate_for_one},
    {"with_gate", with_gate},
    {"readers_only", readers_only},
    {"one_goroutine", one_goroutine},
    {"tries", tries},
    {"new_locks", new_locks},
    {"two_seats", two_seats},
    {"three_seats", three_seats},
    {"two_seats_for_two", two_seats_for_two},
    {"seats_given", seats_given},
    {"many", many},
};

CASES_MAIN(cases)
