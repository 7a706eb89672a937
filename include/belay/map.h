/* SPDX-License-Identifier: MIT */
/*
 * belay/map.h: hash maps: bl_map, for one goroutine at a time, whose unsynchronised use is caught,
 * and bl_syncmap, for many.
 *
 *     bl_map *ages = bl_map_new(0, sizeof(int));      // C strings to int
 *     int age = 36;
 *     if (bl_map_set(ages, "Ada", &age) < 0)
 *         return BL_ENOMEM;
 *     if (bl_map_get(ages, "Ada", &age))
 *         printf("%d\n", age);
 *     bl_map_free(ages);
 *
 * True of both:
 *   - Nothing here waits for anybody, so nothing is a stop path; every call may be made from
 *     goroutines and plain threads, with or without a run.
 *   - Keys are compared byte by byte: a struct with padding has to be zeroed before it is filled.
 *     A map with key size 0 has C strings as keys, which are compared by their text. The map keeps
 *     copies, also of strings.
 *   - The calls are macros that pass sizeof *(key), which must be the map's key size: anything else
 *     is fatal, with both sizes and where the map was made. So pass &key, and of an array &array.
 *     A void * is taken to point to a whole key. Strings are char pointers.
 *   - The hash is seeded anew for each map: who chooses the keys cannot choose collisions.
 */
#ifndef BELAY_MAP_H
#define BELAY_MAP_H

#include <belay.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Called for each entry by a range; false ends it. */
typedef bool (*bl_map_fn)(const void *key, void *value, void *arg);

/* ---- bl_map (Go: map[K]V) -------------------------------------------------------------------- */
/*
 * Like Go's map it is not for use by several goroutines at once unless all of them only read, and
 * such use is a fatal error when it is noticed: `concurrent map writes`, `concurrent map read and
 * map write`, `concurrent map iteration and map write`. That costs a load and a store an operation
 * and finds what overlaps in time. A build with -race also reports what does not, on different
 * threads. A lock around the calls, or a bl_syncmap, is the cure.
 *
 * A NULL map is empty, as Go's nil map: it can be read, deleted from, cleared, ranged over and
 * freed; bl_map_set on it is fatal.
 */
typedef struct bl_map bl_map;

/* A map from keys of key_size bytes (0: C strings) to values of value_size bytes (0: none, a set).
 * It is the caller's, to be freed with bl_map_free. NULL: no memory, or a size out of range. (Go:
 * make.) */
bl_map *bl__map_new(size_t key_size, size_t value_size, const bl__site *site);
#define bl_map_new(key_size, value_size) bl__map_new((key_size), (value_size), BL__HERE("map"))

/* Frees m and the keys it holds, not what its values point to. Fatal while a range is under way. */
void bl_map_free(bl_map *m);

/* Sets the value of key: a copy of *value, or zeros for NULL; sizeof *(value) must be the value
 * size. key and value may point into m. 0; BL_ENOMEM: no memory, and m is as it was. The value of a
 * key that is there is set without memory. (Go: m[key] = value.) */
int bl__map_set(bl_map *m, const void *key, size_t key_size, const void *value, size_t value_size);
#define bl_map_set(m, key, ... /* value */)                                                        \
    bl__map_set((m), (key), BL__SIZE(key), (__VA_ARGS__), BL__SIZE((__VA_ARGS__)))

/* True: key is there, and *value_out is a copy of its value. False: it is not, and *value_out is
 * zeroed, as in Go; that is an answer and not a failure, so there is no error. value_out NULL only
 * asks. (Go: value, ok := m[key].) */
bool bl__map_get(bl_map *m, const void *key, size_t key_size, void *value_out, size_t value_size);
#define bl_map_get(m, key, value_out)                                                              \
    bl__map_get((m), (key), BL__SIZE(key), (value_out), BL__SIZE(value_out))

/* Deletes key. True: it was there. (Go: delete.) */
bool bl__map_delete(bl_map *m, const void *key, size_t key_size);
#define bl_map_delete(m, ... /* key */)                                                            \
    bl__map_delete((m), (__VA_ARGS__), BL__SIZE((__VA_ARGS__)))

/* The number of keys. (Go: len.) */
size_t bl_map_len(bl_map *m);

/* Deletes all keys, and keeps the memory for those to come. (Go: clear.) */
void bl_map_clear(bl_map *m);

/*
 * Calls fn(key, value, arg) for each entry, until it returns false, in the order in which the keys
 * were first set since they were last deleted: unlike Go's, the same in every run. For a string key
 * is the string. value points to the value in the map, which fn may change. Both are good until fn
 * changes the map's keys or returns.
 *
 * fn may set, delete and clear, as in Go: an entry that is deleted before its turn is not visited,
 * one that is added is not either, and all others are, once. Meanwhile a change by any other
 * goroutine is fatal (`concurrent map iteration and map write`), also when a lock orders it: it
 * would take away what fn's pointers point to. (Go: for range.)
 */
void bl_map_range(bl_map *m, bl_map_fn fn, void *arg);

/* ---- bl_syncmap (Go: sync.Map) --------------------------------------------------------------- */
/*
 * A map from keys to pointers, for any number of goroutines and threads at once. What was done to
 * the object behind a pointer before it was stored is seen by who loads it. The objects are the
 * program's: the map never follows or frees them, and whoever takes one out while others may have
 * loaded it needs to know when they are done. NULL is a value like any other.
 *
 * The map is in 64 parts by the key's hash, each under a lock of its own that is held for the
 * look-up, or while a part moves into a larger table; never while memory is asked for, nor in a
 * callback.
 */
typedef struct bl_syncmap bl_syncmap;

/* A map with keys of key_size bytes (0: C strings), the caller's. NULL: no memory, or a size out of
 * range. */
bl_syncmap *bl__syncmap_new(size_t key_size, const bl__site *site);
#define bl_syncmap_new(key_size) bl__syncmap_new((key_size), BL__HERE("map"))

/* Frees m, which nobody may be using; NULL is allowed. */
void bl_syncmap_free(bl_syncmap *m);

/* Sets the value of key. 0; BL_ENOMEM: no memory, and m is as it was. (Go: Store.) */
int bl__syncmap_store(bl_syncmap *m, const void *key, size_t key_size, void *value);
#define bl_syncmap_store(m, key, value) bl__syncmap_store((m), (key), BL__SIZE(key), (value))

/* True: key is there with the value *value_out. False: it is not, and *value_out is NULL. value_out
 * may be NULL. (Go: Load.) */
bool bl__syncmap_load(bl_syncmap *m, const void *key, size_t key_size, void **value_out);
#define bl_syncmap_load(m, key, value_out)                                                         \
    bl__syncmap_load((m), (key), BL__SIZE(key), (value_out))

/* 1: key was there, and *actual_out is its value. 0: it was not, has value now, and *actual_out is
 * value. BL_ENOMEM: no memory, m is as it was, and *actual_out is NULL. actual_out may be NULL.
 * (Go: LoadOrStore.) */
int bl__syncmap_load_or_store(bl_syncmap *m, const void *key, size_t key_size, void *value,
                              void **actual_out);
#define bl_syncmap_load_or_store(m, key, value, actual_out)                                        \
    bl__syncmap_load_or_store((m), (key), BL__SIZE(key), (value), (actual_out))

/* bl_syncmap_load, and deletes key at the same instant. (Go: LoadAndDelete.) */
bool bl__syncmap_load_and_delete(bl_syncmap *m, const void *key, size_t key_size, void **value_out);
#define bl_syncmap_load_and_delete(m, key, value_out)                                              \
    bl__syncmap_load_and_delete((m), (key), BL__SIZE(key), (value_out))

/* True: key was there with the value old_value, and has new_value now. (Go: CompareAndSwap.) */
bool bl__syncmap_compare_and_swap(bl_syncmap *m, const void *key, size_t key_size,
                                  const void *old_value, void *new_value);
#define bl_syncmap_compare_and_swap(m, key, old_value, new_value)                                  \
    bl__syncmap_compare_and_swap((m), (key), BL__SIZE(key), (old_value), (new_value))

/* Deletes key. True: it was there. (Go: Delete.) */
bool bl__syncmap_delete(bl_syncmap *m, const void *key, size_t key_size);
#define bl_syncmap_delete(m, ... /* key */)                                                        \
    bl__syncmap_delete((m), (__VA_ARGS__), BL__SIZE((__VA_ARGS__)))

/*
 * Calls fn(key, value, arg) for each entry, value being the pointer that is stored, until fn
 * returns false; in no particular order. No lock is held meanwhile: fn may wait, and call into m,
 * and others use m as they like. key is good until fn returns. No key is visited twice; one that is
 * there from beginning to end is visited; one that comes or goes meanwhile may be or not, and a
 * value is one that the key had in that time. (Go: Range.)
 */
void bl_syncmap_range(bl_syncmap *m, bl_map_fn fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
