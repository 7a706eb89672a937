/* SPDX-License-Identifier: MIT */
/*
 * map_stress.c: a crowd of goroutines and plain threads on one bl_syncmap, and the books must
 * balance.
 *
 * Some keys are counters, which are raised by compare and swap: each ends as high as was counted.
 * The others hold tokens, each stored once: of a token that was stored, exactly one deletion gets
 * it, or it is there at the end. Ranges go on all the while: no key twice, none that is broken.
 */
//belay:cflags -D_GNU_SOURCE
#include <belay/map.h>
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "stress.h"

static bl_test *const t; /* the test that the caller is of */

enum { COUNTERS = 8, NAMES = 500, TOKENS = 1 << 15, CROWD = 8, OPERATIONS = 1000, TEXT = 100 };

typedef struct round_state {
    bl_syncmap *map;
    bool strings;
    uint64_t seed;
    atomic_uint next_token;
    atomic_uint members;
    atomic_uint raised[COUNTERS];
    atomic_uchar stored[TOKENS], taken[TOKENS];
} round_state;

static round_state now;
static char tokens[TOKENS + 1]; /* their addresses are what is stored */

/* A key is a number; as a string, the number in as many digits as it says itself. */
static const void *name_key(uint32_t id, char text[TEXT])
{
    if (now.strings)
        (void)snprintf(text, TEXT, "%0*u", 4 + (int)(id % 90), id);
    else
        memcpy(text, &id, sizeof id);
    return text;
}

static uint32_t name_id(const void *key)
{
    uint32_t id;
    if (!now.strings) {
        memcpy(&id, key, sizeof id);
        return id;
    }
    id = (uint32_t)strtoul(key, NULL, 10);
    BL_CHECK_EQ(t, strlen(key), 4 + id % 90);
    return id;
}

static void raise_counter(uint32_t id)
{
    char text[TEXT];
    const void *key = name_key(id, text);
    void *was;
    do {
        if (!BL_CHECK(t, bl_syncmap_load(now.map, key, &was)))
            return;
    } while (!bl_syncmap_compare_and_swap(now.map, key, was, (char *)was + 1));
    atomic_fetch_add(&now.raised[id], 1);
}

static void take(void *value)
{
    size_t token = (size_t)((char *)value - tokens);
    if (BL_CHECK(t, token < TOKENS))
        BL_CHECK_EQ(t, atomic_fetch_add(&now.taken[token], 1), 0);
}

static void put_token(uint32_t id)
{
    char text[TEXT];
    uint32_t token = atomic_fetch_add(&now.next_token, 1);
    void *actual;
    if (token >= TOKENS)
        return;
    int r = bl_syncmap_load_or_store(now.map, name_key(id, text), &tokens[token], &actual);
    BL_CHECK(t, r == 1 ? actual != &tokens[token] : r == 0 && actual == &tokens[token]);
    if (r == 0)
        atomic_store(&now.stored[token], 1);
}

static void take_token(uint32_t id)
{
    char text[TEXT];
    void *value;
    if (bl_syncmap_load_and_delete(now.map, name_key(id, text), &value))
        take(value);
}

/* Replaces a token by a new one, if it is still the one that was seen. */
static void swap_token(uint32_t id)
{
    char text[TEXT];
    const void *key = name_key(id, text);
    void *was;
    if (!bl_syncmap_load(now.map, key, &was))
        return;
    uint32_t token = atomic_fetch_add(&now.next_token, 1);
    if (token >= TOKENS || !bl_syncmap_compare_and_swap(now.map, key, was, &tokens[token]))
        return;
    atomic_store(&now.stored[token], 1);
    take(was);
}

typedef struct visited {
    uint64_t state;
    unsigned counters;
    bool seen[COUNTERS + NAMES];
} visited;

static bool visit(const void *key, void *value, void *arg)
{
    visited *v = arg;
    uint32_t id = name_id(key);
    if (!BL_CHECK(t, id < COUNTERS + NAMES && value))
        return false;
    BL_CHECK(t, !v->seen[id]);
    v->seen[id] = true;
    v->counters += id < COUNTERS;
    uint32_t what = random_below(&v->state, 64);
    if (what == 0)
        bl_yield();
    if (what == 1 && id >= COUNTERS)
        take_token(id);
    if (what == 2)
        put_token(COUNTERS + random_below(&v->state, NAMES));
    BL_CHECK_EQ(t, name_id(key), id);
    return true;
}

static int member(void *arg)
{
    uint64_t state = now.seed + ((uint64_t)atomic_fetch_add(&now.members, 1) << 32);
    (void)arg;
    for (int i = 0; i < OPERATIONS; i++) {
        uint32_t id = COUNTERS + random_below(&state, NAMES);
        switch (random_below(&state, 100)) {
        case 0: {
            visited v = {.state = state};
            bl_syncmap_range(now.map, visit, &v);
            BL_CHECK_EQ(t, v.counters, COUNTERS); /* those are there all the time */
            break;
        }
        case 1: bl_yield(); break;
        default:
            switch (random_below(&state, 4)) {
            case 0: raise_counter(id % COUNTERS); break;
            case 1: put_token(id); break;
            case 2: take_token(id); break;
            default: swap_token(id); break;
            }
        }
    }
    return 0;
}

static void *member_thread(void *arg)
{
    member(arg);
    return NULL;
}

static bool count_left(const void *key, void *value, void *arg)
{
    uint32_t id = name_id(key);
    (void)arg;
    if (id < COUNTERS)
        BL_CHECK_EQ(t, (char *)value - tokens, atomic_load(&now.raised[id]));
    else
        take(value);
    return true;
}

static void play_round(uint64_t *state)
{
    char text[TEXT];
    memset(&now, 0, sizeof now);
    now.seed = random_next(state);
    now.strings = random_below(state, 2);
    now.map = bl_syncmap_new(now.strings ? 0 : sizeof(uint32_t));
    BL_REQUIRE(t, now.map);
    for (uint32_t id = 0; id < COUNTERS; id++)
        BL_CHECK_EQ(t, bl_syncmap_store(now.map, name_key(id, text), tokens), 0);
    {
        BL_SCOPE(s);
        pthread_t thread;
        bool threads = random_below(state, 3) == 0;
        for (int i = 0; i < CROWD; i++)
            bl_go(s, member, NULL);
        if (threads)
            BL_REQUIRE(t, pthread_create(&thread, NULL, member_thread, NULL) == 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        if (threads)
            pthread_join(thread, NULL);
    }
    bl_syncmap_range(now.map, count_left, NULL);
    for (int i = 0; i < TOKENS; i++)
        BL_CHECK_EQ(t, atomic_load(&now.stored[i]), atomic_load(&now.taken[i]));
    bl_syncmap_free(now.map);
}

BL_TEST(syncmap_stress)
{
    uint64_t state = random_seed((uint64_t)bl_now());
    bl_time end = bl_in(stress_seconds() * BL_SEC);
    do {
        uint64_t before = state;
        play_round(&state);
        if (bl_failed(t)) {
            printf("STRESS_SEED=%llu\n", (unsigned long long)before);
            return;
        }
    } while (bl_now() < end);
}
