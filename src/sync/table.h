/* SPDX-License-Identifier: MIT */
/*
 * table.h: the hash table inside of bl_map and of each part of a bl_syncmap. It synchronises
 * nothing: whoever calls has the table to himself, or all only read.
 *
 * Layout. The entries stand in an array in the order in which they were added, each a key and its
 * value; an index of slots, twice or so as many, leads from a hash to an entry. A slot holds the
 * hash beside the entry's number, so that a look-up reads one line of the index, and then the entry
 * that is almost surely the right one. Collisions go to the next slot (linear probing); a deletion
 * moves up those behind it, so there are no tombstones in the index. In the array a deleted entry
 * leaves a gap (hash 0), until the array is full and the table is built anew. The gap is zeroed: what
 * was deleted is in nobody's reach by the map (debug/reach.c).
 *
 * This gives ranges their order, the same in every run whatever the seed is, and lets them go on
 * when the table changes under them: a place in the array is a cursor, which a rebuilt table moves
 * along. A table of control bytes searched 16 at a time (Swiss tables, as Go has) was the other
 * choice: a bit faster on misses in full tables, and one more line to read on hits; its order is
 * the seed's.
 *
 * Building anew makes room for twice what is there: it grows, shrinks or closes gaps, and costs a
 * constant for each addition since the last time. It is done at once, not in steps: a million
 * entries take 30 ms, ten million 0.3 s, in which others run on other processors, while steps would
 * cost each operation a look at two tables. bl_syncmap's parts are small, so its locks are held for
 * less.
 *
 * Invariants: used <= cap; live of the first used entries have a hash other than 0, and the index
 * has those and no others; there is always an empty slot; live 0 means used 0.
 */
#ifndef BL__SYNC_TABLE_H
#define BL__SYNC_TABLE_H

#include <string.h>

#include "core/atomic.h"
#include "core/sched.h"

typedef struct bl__slot {
    uint32_t hash; /* 0: empty */
    uint32_t at;   /* which entry */
} bl__slot;

/* A key that is not stored in the entry itself: strings, and what is long where readers keep it. */
typedef struct bl__box {
    uint32_t refs; /* atomic */
    size_t len;
    char bytes[];
} bl__box;

/* What the tables of one map have in common. Immutable. */
typedef struct bl__shape {
    uint64_t seed[2];
    size_t key_size; /* 0: C strings */
    size_t value_size;
    size_t value_at; /* in an entry */
    size_t stride;   /* from one entry to the next */
    bool boxed;      /* the entry has a bl__box * instead of the key's bytes */
} bl__shape;

typedef struct bl__key {
    const void *bytes;
    size_t len;
    uint64_t
        hash; /* 32 bits are the table's, never all 0; the upper ones choose a part of a syncmap */
} bl__key;

/* Where a range is. It visits what is in [at, end). */
typedef struct bl__cursor {
    uint32_t at;
    uint32_t end;
    struct bl__cursor *next;
    const bl__g *owner;
} bl__cursor;

typedef struct bl__table {
    bl__slot *slots;     /* mask + 1; what is allocated begins here */
    uint32_t *hashes;    /* of the entries; 0: deleted */
    char *entries;       /* cap of them */
    bl__cursor *cursors; /* ranges under way */
    uint32_t mask;
    uint32_t cap;
    uint32_t used;
    uint32_t live;
} bl__table;

/* False: a size out of range. box_over: longer keys are boxed. */
bool bl__shape_init(bl__shape *shape, size_t key_size, size_t value_size, size_t box_over);

/* Fatal: size is not that of shape's keys. */
void bl__shape_wrong_key(const bl__shape *shape, size_t size, const bl__site *made);

static inline void bl__shape_check_key(const bl__shape *shape, size_t size, const bl__site *made)
{
    /* sizeof *"text" is 1 */
    size_t right = shape->key_size ? shape->key_size : 1;
    if (__builtin_expect(size != right && size != BL__ANY_SIZE, 0))
        bl__shape_wrong_key(shape, size, made);
}

/* The caller's key is read (race.h). */
static inline void bl__shape_race_read(const bl__shape *shape, const void *key)
{
    if (shape->key_size)
        bl__race_read(key, shape->key_size);
    else
        bl__race_read_string(key);
}

/* The hash of len bytes. */
uint64_t bl__hash(const uint64_t seed[2], const void *bytes, size_t len);

static inline bl__key bl__key_of(const bl__shape *shape, const void *key)
{
    size_t len = shape->key_size ? shape->key_size : strlen(key) + 1;
    uint64_t hash = bl__hash(shape->seed, key, len);
    return (bl__key){key, len, (uint32_t)hash ? hash : hash + 1};
}

bl__box *bl__box_new(const bl__key *key); /* one reference; NULL: no memory */
void bl__box_release(bl__box *box);       /* NULL is allowed */

void bl__table_init(bl__table *t);
/* Frees everything but t itself. */
void bl__table_fini(bl__table *t, const bl__shape *shape);
void bl__table_clear(bl__table *t, const bl__shape *shape);

/* 0: there is room for one more. Else the number of slots of the table that is needed first: */
uint32_t bl__table_wants(const bl__table *t);
/* memory for one with that many, or NULL, */
void *bl__table_memory(const bl__shape *shape, uint32_t slots);
/* which becomes the table's. Returns the former memory, for bl__free once no key or value that the
 * caller was passed can point into it. */
void *bl__table_rebuild(bl__table *t, const bl__shape *shape, void *memory, uint32_t slots);

/* Adds a key that is not there; there is room. box has the key if keys are boxed, and is the
 * table's then. Returns the entry, whose value is to be set. */
char *bl__table_add(bl__table *t, const bl__shape *shape, const bl__key *key, bl__box *box);
/* Deletes the entry of slot i. Returns its box, for bl__box_release, or NULL. */
bl__box *bl__table_remove(bl__table *t, const bl__shape *shape, uint32_t i);

/* A cursor at the beginning, which adds and removes keep right until it is dropped. */
void bl__table_follow(bl__table *t, bl__cursor *c);
void bl__table_drop(bl__table *t, const bl__cursor *c);
/* The entry at c, which moves on; NULL: none is left. */
char *bl__table_next(const bl__table *t, const bl__shape *shape, bl__cursor *c);

static inline char *bl__table_entry(const bl__table *t, const bl__shape *shape, uint32_t at)
{
    return t->entries + at * shape->stride;
}

static inline bl__box *bl__entry_box(const char *entry)
{
    bl__box *box;
    memcpy(&box, entry, sizeof box);
    return box;
}

static inline bool bl__key_is(const bl__shape *shape, const char *entry, const bl__key *key)
{
    if (shape->boxed) {
        const bl__box *box = bl__entry_box(entry);
        return box->len == key->len && memcmp(box->bytes, key->bytes, key->len) == 0;
    }
    if (key->len == 8)
        return memcmp(entry, key->bytes, 8) == 0;
    if (key->len == 4)
        return memcmp(entry, key->bytes, 4) == 0;
    return memcmp(entry, key->bytes, key->len) == 0;
}

/* The slot of key, or the empty one where the search for it ends. */
static inline uint32_t bl__table_slot(const bl__table *t, const bl__shape *shape,
                                      const bl__key *key)
{
    uint32_t hash = (uint32_t)key->hash, i = hash & t->mask;
    for (; t->slots[i].hash; i = (i + 1) & t->mask)
        if (t->slots[i].hash == hash &&
            bl__key_is(shape, bl__table_entry(t, shape, t->slots[i].at), key))
            break;
    return i;
}

/* The entry of key, or NULL. */
static inline char *bl__table_find(const bl__table *t, const bl__shape *shape, const bl__key *key)
{
    const bl__slot *slot = &t->slots[bl__table_slot(t, shape, key)];
    return slot->hash ? bl__table_entry(t, shape, slot->at) : NULL;
}

#endif
