/* SPDX-License-Identifier: MIT */
/* Misuse of maps. */
#include <belay/map.h>

#include "cases.h"

static int write_one(void *arg)
{
    int key = 1;
    return KEEP(bl_map_set((bl_map *)arg, &key, &key));
}

static bool yield_at(const void *key, void *value, void *arg)
{
    (void)key;
    (void)value;
    (void)arg;
    bl_yield();
    return true;
}

/* The other goroutine writes while the callback is parked. */
static int range_beside_write(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    for (int i = 0; i < 10; i++)
        (void)bl_map_set(m, &i, &i);
    bl_go(s, write_one, m);
    bl_map_range(m, yield_at, NULL);
    return bl_scope_wait(s);
}

static int delete_one(void *arg)
{
    int key = 1;
    return KEEP(bl_map_delete((bl_map *)arg, &key));
}

static int range_beside_delete(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    for (int i = 0; i < 10; i++)
        (void)bl_map_set(m, &i, &i);
    bl_go(s, delete_one, m);
    bl_map_range(m, yield_at, NULL);
    return bl_scope_wait(s);
}

static int nil_map(void *arg)
{
    (void)arg;
    return write_one(NULL);
}

static int wrong_key(void *arg)
{
    long key = 1;
    (void)arg;
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    return KEEP(bl_map_get(m, &key, NULL));
}

static int wrong_string(void *arg)
{
    int key = 1;
    (void)arg;
    bl_map *m = bl_map_new(0, sizeof(int));
    return KEEP(bl_map_delete(m, &key));
}

static int wrong_value(void *arg)
{
    int key = 1;
    char value = 1;
    (void)arg;
    bl_map *m = bl_map_new(sizeof(int), sizeof(int));
    return KEEP(bl_map_set(m, &key, &value));
}

static const fatal_case cases[] = {
    {"range_beside_write", range_beside_write},
    {"range_beside_delete", range_beside_delete},
    {"nil_map", nil_map},
    {"wrong_key", wrong_key},
    {"wrong_string", wrong_string},
    {"wrong_value", wrong_value},
};

CASES_MAIN(cases)
