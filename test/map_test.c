/* SPDX-License-Identifier: MIT */
/* map_test.c: bl_map against a model, ranges over what changes, misuse; bl_syncmap alone. Many at
 * once on a bl_syncmap are in stress/map_stress.c, and what no memory does to both in fault_test.c.
 * */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/map.h>
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/sched.h"
#include "os/os.h"
#include "sync/map.h"

#include "fatal.h"
#include "stress/stress.h"

static bl_test *const t; /* the test that the caller is of */

/* ---- Against a model ------------------------------------------------------------------------- */

/* Steps: with ThreadSanitizer, to whom one goroutine has nothing to show, once through all phases. */
enum {
    IDS = 200,
    MAX_KEY = 112,
    MAX_VALUE = 304,
    MODEL_STEPS = BL__TSAN || BL__RACE ? 2500 : 6000
};

typedef struct model {
    bl_map *map;
    size_t key_size, value_size;
    size_t len;
    bool there[IDS];
    uint32_t value[IDS];
    uint32_t since[IDS]; /* which addition it was */
    uint32_t additions;
    uint32_t last; /* in a range: the addition visited last */
    size_t visits;
} model;

/* Keys that differ at one place, here and there, or strings that share a beginning. */
static const void *model_key(const model *m, uint32_t id, unsigned char key[MAX_KEY])
{
    if (m->key_size == 0) {
        (void)snprintf((char *)key, MAX_KEY, "%.*s%u", (int)(id % 40),
                       "a long prefix that many of the keys share", id);
        return key;
    }
    memset(key, 7, m->key_size);
    key[id % m->key_size] = (unsigned char)(id + 8);
    return key;
}

static void model_value(const model *m, uint32_t number, unsigned char value[MAX_VALUE])
{
    for (size_t i = 0; i < m->value_size; i++)
        value[i] = (unsigned char)(number >> (i % 4 * 8));
}

static uint32_t model_id(const model *m, const void *key)
{
    unsigned char mine[MAX_KEY];
    for (uint32_t id = 0; id < IDS; id++) {
        const void *k = model_key(m, id, mine);
        if (m->key_size ? memcmp(k, key, m->key_size) == 0 : strcmp(k, key) == 0)
            return id;
    }
    return IDS;
}

static bool model_visit(const void *key, void *value, void *arg)
{
    model *m = arg;
    unsigned char expected[MAX_VALUE];
    uint32_t id = model_id(m, key);
    if (!BL_CHECK(t, id < IDS && m->there[id]))
        return false;
    model_value(m, m->value[id], expected);
    BL_CHECK(t, memcmp(value, expected, m->value_size) == 0);
    BL_CHECK(t, m->since[id] > m->last); /* in the order of addition */
    m->last = m->since[id];
    m->visits++;
    return true;
}

static void model_compare(model *m)
{
    m->last = 0;
    m->visits = 0;
    bl_map_range(m->map, model_visit, m);
    BL_CHECK_EQ(t, m->visits, m->len);
    BL_CHECK_EQ(t, bl_map_len(m->map), m->len);
    BL_CHECK_LE(t, m->map->table.live, m->map->table.used);
}

static void model_set(model *m, uint32_t id, uint32_t number)
{
    unsigned char key[MAX_KEY], value[MAX_VALUE];
    const void *k = model_key(m, id, key), *v = value;
    model_value(m, number, value);
    BL_CHECK_EQ(t, bl_map_set(m->map, k, v), 0);
    memset(key, 0, sizeof key); /* the map has its own copy */
    if (!m->there[id]) {
        m->there[id] = true;
        m->since[id] = ++m->additions;
        m->len++;
    }
    m->value[id] = number;
}

static void model_get(const model *m, uint32_t id)
{
    unsigned char key[MAX_KEY], value[MAX_VALUE], expected[MAX_VALUE] = {0};
    const void *k = model_key(m, id, key);
    void *v = value;
    memset(value, 0xee, sizeof value);
    if (m->there[id])
        model_value(m, m->value[id], expected);
    BL_CHECK_EQ(t, bl_map_get(m->map, k, v), m->there[id]);
    BL_CHECK(t, memcmp(value, expected, m->value_size) == 0);
    BL_CHECK(t, value[m->value_size] == 0xee);
    BL_CHECK_EQ(t, bl_map_get(m->map, k, NULL), m->there[id]);
}

static void model_delete(model *m, uint32_t id)
{
    unsigned char key[MAX_KEY];
    const void *k = model_key(m, id, key);
    BL_CHECK_EQ(t, bl_map_delete(m->map, k), m->there[id]);
    m->len -= m->there[id];
    m->there[id] = false;
}

static void model_run(size_t key_size, size_t value_size)
{
    model m = {.key_size = key_size, .value_size = value_size};
    m.map = bl_map_new(key_size, value_size);
    BL_REQUIRE(t, m.map);
    uint64_t state = random_seed(key_size * 1000 + value_size);
    uint32_t ids = key_size == 1 ? 200 : IDS;
    for (int step = 0; step < MODEL_STEPS && !bl_failed(t); step++) {
        /* Now more is added, now more deleted, so that it grows and shrinks. */
        uint32_t id = random_below(&state, ids), what = random_below(&state, 100);
        uint32_t adds = step / 1000 % 2 == 0 ? 50 : 20;
        if (what < adds)
            model_set(&m, id, random_below(&state, UINT32_MAX));
        else if (what < 70)
            model_delete(&m, id);
        else
            model_get(&m, id);
        if (step % 501 == 500)
            model_compare(&m);
        if (step % 2477 == 2476) {
            bl_map_clear(m.map);
            memset(m.there, 0, sizeof m.there);
            m.len = 0;
        }
    }
    for (uint32_t id = 0; id < ids; id++)
        model_delete(&m, id);
    model_compare(&m);
    bl_map_free(m.map);
}

BL_TEST_PLAIN(model)
{
    static const size_t keys[] = {0, 1, 2, 3, 4, 7, 8, 12, 16, 17, 24, 100};
    static const size_t values[] = {0, 1, 3, 4, 8, 24, 300};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++)
            model_run(keys[k], values[v]);
}

/* Tables of keys that all but collide: the hash is made up. */
BL_TEST_PLAIN(collisions)
{
    bl__shape shape;
    bl__table table;
    uint64_t state = 5;
    bool there[64] = {false};
    BL_REQUIRE(t, bl__shape_init(&shape, sizeof(uint32_t), sizeof(uint32_t), SIZE_MAX));
    bl__table_init(&table);
    for (int step = 0; step < 20000; step++) {
        uint32_t id = random_below(&state, 64);
        bl__key key = {&id, sizeof id, (id % 3 ? UINT32_MAX - id % 2 : 5) + 0ull};
        uint32_t slot = bl__table_slot(&table, &shape, &key);
        BL_CHECK_EQ(t, table.slots[slot].hash != 0, there[id]);
        if (there[id]) {
            (void)bl__table_remove(&table, &shape, slot);
        } else {
            uint32_t slots = bl__table_wants(&table);
            if (slots)
                bl__free(bl__table_rebuild(&table, &shape, bl__table_memory(&shape, slots), slots));
            memcpy(bl__table_add(&table, &shape, &key, NULL) + shape.value_at, &id, sizeof id);
        }
        there[id] = !there[id];
        for (uint32_t i = 0; step % 100 == 0 && i < 64; i++) {
            bl__key k = {&i, sizeof i, (i % 3 ? UINT32_MAX - i % 2 : 5) + 0ull};
            const char *entry = bl__table_find(&table, &shape, &k);
            BL_CHECK_EQ(t, entry != NULL, there[i]);
            if (entry)
                BL_CHECK(t, memcmp(entry + shape.value_at, &i, sizeof i) == 0);
        }
    }
    bl__table_fini(&table, &shape);
}

/* What programs use as keys spreads: numbers in a row, multiples, pointers, strings. */
BL_TEST_PLAIN(hash_spreads)
{
    enum { BUCKETS = 256, EACH = 64 };
    static const uint64_t steps[] = {1, 8, 4096, 1ull << 32, 0x100000001ull, 1ull << 50};
    uint64_t seed[2];
    bl__random(seed, sizeof seed);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        uint32_t low[BUCKETS] = {0}, high[BUCKETS] = {0};
        for (uint64_t i = 0; i < BUCKETS * EACH; i++) {
            uint64_t key = i * steps[s], hash = bl__hash(seed, &key, sizeof key);
            low[hash % BUCKETS]++;
            high[hash >> 56]++;
        }
        for (int i = 0; i < BUCKETS; i++) /* 8 standard deviations */
            BL_CHECK(t, low[i] < EACH * 2 && high[i] < EACH * 2 && low[i] > 0 && high[i] > 0);
    }
    char text[40] = "";
    uint64_t before = bl__hash(seed, text, 0);
    for (size_t n = 1; n < sizeof text; n++) { /* zeros, and more of them */
        BL_CHECK_NE(t, bl__hash(seed, text, n), before);
        before = bl__hash(seed, text, n);
    }
}

/* ---- Small things ---------------------------------------------------------------------------- */

BL_TEST(nil)
{
    int key = 1, value = 5;
    BL_CHECK(t, !bl_map_get(NULL, &key, &value));
    BL_CHECK_EQ(t, value, 0);
    BL_CHECK(t, !bl_map_delete(NULL, &key));
    BL_CHECK_EQ(t, bl_map_len(NULL), 0);
    bl_map_clear(NULL);
    bl_map_range(NULL, NULL, NULL);
    bl_map_free(NULL);
    bl_syncmap_free(NULL);
}

BL_TEST(sizes_out_of_range)
{
    BL_CHECK(t, !bl_map_new(SIZE_MAX, 8));
    BL_CHECK(t, !bl_map_new(8, SIZE_MAX));
    BL_CHECK(t, !bl_syncmap_new(SIZE_MAX));
    bl_map *m = bl_map_new(8, SIZE_MAX / 8); /* in range; one entry of it is not to be had */
    BL_REQUIRE(t, m);
    uint64_t key = 1;
    BL_CHECK_ERR(t, bl_map_set(m, &key, NULL), BL_ENOMEM);
    BL_CHECK_EQ(t, bl_map_len(m), 0);
    bl_map_free(m);
}

typedef struct point {
    int32_t x, y;
} point;

BL_TEST(kinds)
{
    bl_map *m = bl_map_new(sizeof(point), sizeof(double));
    double d = 2.5;
    point p = {1, 2};
    BL_CHECK_EQ(t, bl_map_set(m, &p, &d), 0);
    d = 0;
    BL_CHECK(t, bl_map_get(m, &((point){1, 2}), &d) && d == 2.5);
    BL_CHECK_EQ(t, bl_map_set(m, &p, NULL), 0); /* zeros */
    BL_CHECK(t, bl_map_get(m, &p, &d) && d == 0);
    bl_map_free(m);

    bl_map *set = bl_map_new(0, 0);
    const char *word = "word";
    char array[] = "array";
    BL_CHECK_EQ(t, bl_map_set(set, word, NULL), 0);
    BL_CHECK_EQ(t, bl_map_set(set, array, NULL), 0);
    BL_CHECK_EQ(t, bl_map_set(set, "", NULL), 0);
    array[0] = 'A';
    BL_CHECK(t, bl_map_get(set, "word", NULL) && bl_map_get(set, "array", NULL));
    BL_CHECK(t, bl_map_get(set, "", NULL) && !bl_map_get(set, array, NULL));
    BL_CHECK_EQ(t, bl_map_len(set), 3);
    bl_map_free(set);
}

typedef struct aliases {
    bl_map *map;
    int calls;
} aliases;

/* Key and value that are passed back in lie in memory that the call replaces. */
static bool set_with_own(const void *key, void *value, void *arg)
{
    aliases *a = arg;
    a->calls++;
    uint64_t grown = *(const uint64_t *)value + 1000;
    BL_CHECK_EQ(t, bl_map_set(a->map, &grown, (const uint64_t *)value), 0);
    (void)key;
    return true;
}

static bool copy_value(const void *key, void *value, void *arg)
{
    bl_map *m = arg;
    char other[16];
    (void)snprintf(other, sizeof other, "+%.8s", (const char *)key);
    BL_CHECK_EQ(t, bl_map_set(m, other, (const int *)value), 0);
    return true;
}

BL_TEST(aliases)
{
    bl_map *m = bl_map_new(8, 8);
    for (uint64_t i = 0; i < 300; i++)
        BL_CHECK_EQ(t, bl_map_set(m, &i, &i), 0);
    aliases a = {m, 0};
    bl_map_range(m, set_with_own, &a);
    BL_CHECK_EQ(t, a.calls, 300);
    for (uint64_t i = 0, v; i < 300; i++) {
        uint64_t far = i + 1000;
        BL_CHECK(t, bl_map_get(m, &far, &v) && v == i);
    }
    bl_map_free(m);
    bl_map *texts = bl_map_new(0, sizeof(int));
    for (int i = 0; i < 50; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", i);
        BL_CHECK_EQ(t, bl_map_set(texts, text, &i), 0);
    }
    bl_map_range(texts, copy_value, texts);
    int v;
    BL_CHECK_EQ(t, bl_map_len(texts), 100);
    BL_CHECK(t, bl_map_get(texts, "+49", &v) && v == 49);
    bl_map_free(texts);
}

/* ---- Ranges over what changes ---------------------------------------------------------------- */

enum { RANGED = 100 };

typedef struct ranging {
    bl_map *map;
    int mode;
    int depth;
    int visits;
    int seen[RANGED];
    uint64_t state;
} ranging;

enum { DELETE_SELF, DELETE_OTHERS, ADD, REPLACE, CLEAR, STOP, ANYTHING, RANGE_MODES };

static void fill(bl_map *m, int from, int to)
{
    for (int i = from; i < to; i++)
        BL_CHECK_EQ(t, bl_map_set(m, &i, &i), 0);
}

static bool range_visit(const void *key, void *value, void *arg)
{
    ranging *r = arg;
    int k = *(const int *)key, other;
    BL_CHECK_EQ(t, k, *(int *)value);
    r->visits++;
    if (BL_CHECK(t, k < RANGED)) /* nothing that was added */
        r->seen[k]++;
    switch (r->mode) {
    case DELETE_SELF: BL_CHECK(t, bl_map_delete(r->map, (const int *)key)); break;
    case DELETE_OTHERS:
        for (other = k + 1; other < k + 10; other++)
            (void)bl_map_delete(r->map, &other);
        break;
    case ADD: fill(r->map, 1000 + k * 50, 1000 + k * 50 + 50); break;
    case REPLACE: /* gone, and back at the end */
        BL_CHECK(t, bl_map_delete(r->map, &k));
        BL_CHECK_EQ(t, bl_map_set(r->map, &k, &k), 0);
        break;
    case CLEAR:
        if (k == 30)
            bl_map_clear(r->map);
        break;
    case STOP: return k != 30;
    default:
        other = 2000 + (int)random_below(&r->state, 500);
        (void)bl_map_delete(r->map, &other);
        other = 2000 + (int)random_below(&r->state, 500);
        BL_CHECK_EQ(t, bl_map_set(r->map, &other, &other), 0);
        break;
    }
    return true;
}

BL_TEST(range_and_change)
{
    static const int visits[] = {RANGED, RANGED / 10, RANGED, RANGED, 31, 31, RANGED};
    static const int left[] = {0, RANGED / 10, RANGED * 51, RANGED, 0, RANGED, -1};
    for (int mode = 0; mode < RANGE_MODES; mode++) {
        ranging r = {.map = bl_map_new(sizeof(int), sizeof(int)), .mode = mode, .state = 9};
        fill(r.map, -40, RANGED);
        for (int i = -40; i < 0; i++) /* with gaps in front */
            BL_CHECK(t, bl_map_delete(r.map, &i));
        bl_map_range(r.map, range_visit, &r);
        BL_CHECK_EQ(t, r.visits, visits[mode]);
        if (left[mode] >= 0)
            BL_CHECK_EQ(t, bl_map_len(r.map), left[mode]);
        for (int i = 0; i < RANGED; i++)
            BL_CHECK_LE(t, r.seen[i], 1);
        BL_CHECK(t, r.map->table.cursors == NULL);
        bl_map_free(r.map);
    }
}

static bool range_no_further(const void *key, void *value, void *arg)
{
    (void)key;
    (void)value;
    (void)arg;
    bl__goroutine_exit();
}

static int range_and_end(void *map)
{
    bl_map_range(map, range_no_further, NULL);
    return 0;
}

/* As a failed BL_REQUIRE does. */
BL_TEST(who_ranges_ends)
{
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    fill(m, 0, 100);
    BL_SCOPE(s);
    bl_go(s, range_and_end, m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK(t, m->table.cursors == NULL);
    fill(m, 100, 2000); /* the table is built anew */
    BL_CHECK_EQ(t, bl_map_len(m), 2000);
    bl_map_free(m);
}

/* Ranges in ranges, while the innermost has the table built anew again and again. */
static bool range_deeper(const void *key, void *value, void *arg)
{
    ranging *r = arg;
    int k = *(const int *)key;
    (void)value;
    r->visits++;
    if (r->depth == 2) {
        for (int i = 0; i < 4; i++) {
            int more = 5000 + (int)random_below(&r->state, 3000);
            if (!bl_map_delete(r->map, &more))
                BL_CHECK_EQ(t, bl_map_set(r->map, &more, &more), 0);
        }
        return k != 7;
    }
    r->depth++;
    bl_map_range(r->map, range_deeper, r);
    r->depth--;
    return k < 9;
}

BL_TEST(range_in_range)
{
    ranging r = {.map = bl_map_new(sizeof(int), sizeof(int)), .state = 3};
    fill(r.map, 0, 20);
    bl_map_range(r.map, range_deeper, &r);
    BL_CHECK_EQ(t, r.visits, 10 + 10 * 10 + 10 * 10 * 8);
    BL_CHECK(t, r.map->table.cursors == NULL);
    bl_map_free(r.map);
}

/* The same operations give the same order in each map, though the seeds differ. */
static bool fold(const void *key, void *value, void *arg)
{
    uint64_t *sum = arg;
    (void)value;
    *sum = *sum * 31 + (uint64_t) * (const int *)key;
    return true;
}

BL_TEST(order_is_repeatable)
{
    uint64_t sums[4] = {0};
    for (int n = 0; n < 4; n++) {
        bl_map *m = bl_map_new(sizeof(int), sizeof(int));
        uint64_t state = 11;
        for (int i = 0; i < 5000; i++) {
            int k = (int)random_below(&state, 700);
            if (!bl_map_delete(m, &k))
                fill(m, k, k + 1);
        }
        bl_map_range(m, fold, &sums[n]);
        BL_CHECK_EQ(t, sums[n], sums[0]);
        bl_map_free(m);
    }
}

/* Memory follows what is there, up and down; a queue of keys stays as small as it is. */
BL_TEST(table_follows)
{
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    fill(m, 0, 100000);
    for (int i = 0; i < 99990; i++)
        BL_CHECK(t, bl_map_delete(m, &i));
    for (int i = 0; i < 200000; i++) {
        int old = 99990 + i, next = 100000 + i;
        fill(m, next, next + 1);
        BL_CHECK(t, bl_map_delete(m, &old));
    }
    BL_CHECK_EQ(t, bl_map_len(m), 10);
    BL_CHECK_LE(t, m->table.cap, 64);
    bl_map_free(m);
}

/* ---- Misuse ---------------------------------------------------------------------------------- */

/* A map in the middle of another's write. */
static bl_map *being_written(void)
{
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    fill(m, 0, 3);
    m->state = BL__MAP_WRITING;
    return m;
}

static int write_write(void *arg)
{
    int k = 1;
    (void)arg;
    return bl_map_set(being_written(), &k, &k);
}

static int write_delete(void *arg)
{
    int k = 1;
    (void)arg;
    return bl_map_delete(being_written(), &k);
}

static int write_clear(void *arg)
{
    (void)arg;
    bl_map_clear(being_written());
    return 0;
}

static int write_get(void *arg)
{
    int k = 1;
    (void)arg;
    return bl_map_get(being_written(), &k, &k);
}

static int write_len(void *arg)
{
    (void)arg;
    return (int)bl_map_len(being_written());
}

static int write_range(void *arg)
{
    (void)arg;
    bl_map_range(being_written(), fold, &(uint64_t){0});
    return 0;
}

static bool begin_write(const void *key, void *value, void *arg)
{
    (void)key;
    (void)value;
    ((bl_map *)arg)->state = BL__MAP_WRITING;
    return true;
}

static int range_write(void *arg)
{
    bl_map *m = being_written();
    (void)arg;
    m->state = BL__MAP_IDLE;
    bl_map_range(m, begin_write, m);
    return 0;
}

static bool free_it(const void *key, void *value, void *arg)
{
    (void)key;
    (void)value;
    bl_map_free(arg);
    return true;
}

static int free_in_range(void *arg)
{
    bl_map *m = being_written();
    (void)arg;
    m->state = BL__MAP_IDLE;
    bl_map_range(m, free_it, m);
    return 0;
}

BL_TEST_PLAIN(misuse)
{
    CHECK_FATAL(t, write_write, "fatal error: concurrent map writes\n");
    CHECK_FATAL(t, write_delete, "fatal error: concurrent map writes\n");
    CHECK_FATAL(t, write_clear, "fatal error: concurrent map writes\n");
    CHECK_FATAL(t, write_get, "fatal error: concurrent map read and map write\n");
    CHECK_FATAL(t, write_len, "fatal error: concurrent map read and map write\n");
    CHECK_FATAL(t, write_range, "fatal error: concurrent map iteration and map write\n");
    CHECK_FATAL(t, range_write, "fatal error: concurrent map iteration and map write\n");
    CHECK_FATAL(t, free_in_range, "fatal error: belay: bl_map_free of a map in a range over it\n");
}

/* It is a race, which ThreadSanitizer reports under its own locks: it waits for the dynamic linker's,
 * under which the fatal error's report unmaps memory, for which ThreadSanitizer wants its own. (-race
 * maps around it.) */
#if !BL__TSAN
static int write_for_ever(void *arg)
{
    for (int i = 0; i >= 0; i = (i + 1) % 20)
        fill(arg, i, i + 1);
    return 0;
}

static int two_writers(void *arg)
{
    (void)arg;
    bl_set_procs(2);
    BL_SCOPE(s);
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    fill(m, 0, 20); /* no table is replaced: what the two do to each other is harmless */
    bl_go(s, write_for_ever, m);
    bl_go(s, write_for_ever, m);
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(two_writers_meet)
{
    CHECK_FATAL(t, two_writers, "fatal error: concurrent map writes\n");
}
#endif

/* Reading together is fine, ranging too. */
static atomic_int reading;

static bool yield_at(const void *key, void *value, void *arg)
{
    int k = *(const int *)key, v;
    (void)value;
    if (k % 16 == 0)
        bl_yield();
    BL_CHECK(t, bl_map_get((bl_map *)arg, &k, &v) && v == k);
    atomic_fetch_add(&reading, 1);
    return true;
}

static int read_all(void *arg)
{
    for (int i = 0; i < 20; i++)
        bl_map_range(arg, yield_at, arg);
    return 0;
}

static void *read_all_thread(void *arg)
{
    read_all(arg);
    return NULL;
}

BL_TEST(readers_together)
{
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    fill(m, 0, 100);
    atomic_store(&reading, 0);
    {
        pthread_t thread;
        BL_SCOPE(s);
        for (int i = 0; i < 8; i++)
            bl_go(s, read_all, m);
        BL_REQUIRE(t, pthread_create(&thread, NULL, read_all_thread, m) == 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        pthread_join(thread, NULL);
    }
    BL_CHECK_EQ(t, atomic_load(&reading), 9 * 20 * 100);
    BL_CHECK(t, m->table.cursors == NULL);
    fill(m, 0, 200); /* and now it may be changed again */
    bl_map_free(m);
}

/* ---- bl_syncmap ------------------------------------------------------------------------------ */

static int cells[4096];

BL_TEST(syncmap_calls)
{
    bl_syncmap *m = bl_syncmap_new(sizeof(int));
    void *v = &cells[9];
    int k = 5;
    BL_CHECK(t, !bl_syncmap_load(m, &k, &v) && v == NULL);
    BL_CHECK(t, !bl_syncmap_compare_and_swap(m, &k, NULL, &cells[1])); /* nothing is not NULL */
    BL_CHECK_EQ(t, bl_syncmap_store(m, &k, NULL), 0);
    v = &cells[9];
    BL_CHECK(t, bl_syncmap_load(m, &k, &v) && v == NULL);
    BL_CHECK(t, bl_syncmap_compare_and_swap(m, &k, NULL, &cells[1]));
    BL_CHECK(t, !bl_syncmap_compare_and_swap(m, &k, NULL, &cells[2]));
    BL_CHECK(t, bl_syncmap_load(m, &k, &v) && v == &cells[1]);
    BL_CHECK_EQ(t, bl_syncmap_load_or_store(m, &k, &cells[3], &v), 1);
    BL_CHECK(t, v == &cells[1]);
    BL_CHECK(t, bl_syncmap_load_and_delete(m, &k, &v) && v == &cells[1]);
    BL_CHECK(t, !bl_syncmap_load_and_delete(m, &k, &v) && v == NULL);
    BL_CHECK_EQ(t, bl_syncmap_load_or_store(m, &k, &cells[3], &v), 0);
    BL_CHECK(t, v == &cells[3]);
    BL_CHECK_EQ(t, bl_syncmap_store(m, &k, &cells[4]), 0);
    BL_CHECK(t, bl_syncmap_load(m, &k, NULL));
    BL_CHECK(t, bl_syncmap_delete(m, &k) && !bl_syncmap_delete(m, &k));
    bl_syncmap_free(m);
}

/* Keys of n bytes, or strings of some length. */
static const void *sync_key(size_t n, int id, char key[200])
{
    memset(key, 'x', 200);
    if (n == 0)
        (void)snprintf(key, 200, "%0*d", 1 + id % 190, id);
    else
        memcpy(key, &id, n < sizeof id ? n : sizeof id);
    return key;
}

BL_TEST(syncmap_kinds)
{
    static const size_t sizes[] = {0, 2, 4, 8, 24, 64, 65, 200};
    char key[200];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        bl_syncmap *m = bl_syncmap_new(sizes[s]);
        BL_REQUIRE(t, m);
        for (int i = 0; i < 4096; i++)
            BL_CHECK_EQ(t, bl_syncmap_store(m, sync_key(sizes[s], i, key), &cells[i]), 0);
        for (int i = 0; i < 4096; i += 2)
            BL_CHECK(t, bl_syncmap_delete(m, sync_key(sizes[s], i, key)));
        for (int i = 0; i < 4096; i++) {
            void *v;
            BL_CHECK_EQ(t, bl_syncmap_load(m, sync_key(sizes[s], i, key), &v), i % 2);
            BL_CHECK(t, v == (i % 2 ? &cells[i] : NULL));
        }
        bl_syncmap_free(m);
    }
}

typedef struct sync_ranging {
    bl_syncmap *map;
    size_t key_size;
    int visits;
    bool stop;
} sync_ranging;

/* Calls into the map from within: deletes what it visits, adds, ranges. */
static bool sync_visit(const void *key, void *value, void *arg)
{
    sync_ranging *r = arg;
    char copy[200];
    size_t n = r->key_size ? r->key_size : strlen(key) + 1;
    memcpy(copy, key, n);
    r->visits++;
    if (r->stop)
        return false;
    const void *k = copy;
    BL_CHECK(t, bl_syncmap_delete(r->map, k));
    BL_CHECK(t, memcmp(copy, key, n) == 0); /* ours until we return */
    int id = (int)((int *)value - cells);
    if (id < 2000)
        BL_CHECK_EQ(
            t, bl_syncmap_store(r->map, sync_key(r->key_size, id + 2000, copy), &cells[id + 2000]),
            0);
    if (id % 100 == 0) {
        sync_ranging inner = {r->map, r->key_size, 0, true};
        bl_syncmap_range(r->map, sync_visit, &inner);
        BL_CHECK_LE(t, inner.visits, 1);
    }
    bl_yield();
    return true;
}

BL_TEST(syncmap_range)
{
    static const size_t sizes[] = {0, 4, 64, 65};
    char key[200];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        sync_ranging r = {bl_syncmap_new(sizes[s]), sizes[s], 0, false};
        BL_REQUIRE(t, r.map);
        for (int i = 0; i < 1000; i++)
            BL_CHECK_EQ(t, bl_syncmap_store(r.map, sync_key(sizes[s], i, key), &cells[i]), 0);
        bl_syncmap_range(r.map, sync_visit, &r); /* each of the old, and some of the new */
        BL_CHECK(t, r.visits >= 1000 && r.visits <= 2000);
        int first = r.visits;
        bl_syncmap_range(r.map, sync_visit, &r);
        BL_CHECK(t, r.visits >= 2000 && r.visits >= first);
        bl_syncmap_free(r.map);
    }
}

static int sync_wrong_key(void *arg)
{
    short key = 1;
    (void)arg;
    return bl_syncmap_store(bl_syncmap_new(4), &key, NULL);
}

static int sync_nil(void *arg)
{
    int key = 1;
    return bl_syncmap_delete(arg, &key);
}

static bool sync_free_it(const void *key, void *value, void *arg)
{
    (void)key;
    (void)value;
    bl_syncmap_free(arg);
    return true;
}

static int sync_free_in_range(void *arg)
{
    bl_syncmap *m = bl_syncmap_new(0);
    (void)arg;
    BL_CHECK_EQ(t, bl_syncmap_store(m, "key", NULL), 0);
    bl_syncmap_range(m, sync_free_it, m);
    return 0;
}

BL_TEST_PLAIN(syncmap_misuse)
{
    CHECK_FATAL(t, sync_wrong_key,
                "belay: a key of 2 bytes for a map of keys of 4 bytes, made by "
                "sync_wrong_key at ");
    CHECK_FATAL(t, sync_nil, "fatal error: use of a nil syncmap\n");
    CHECK_FATAL(t, sync_free_in_range, "belay: bl_syncmap_free of a map in a range over it\n");
}
