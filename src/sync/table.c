/* SPDX-License-Identifier: MIT */
/* table.c: the hash table of the maps, and the hash; see table.h. */
#include "sync/table.h"

#include "core/check.h"
#include "os/os.h"

enum { TABLE_ALIGN = 16, TABLE_SLOTS_MIN = 8 };
#define TABLE_SLOTS_MAX (UINT32_C(1) << 31)

/* Where empty tables look: never written, since a table without entries deletes nothing. */
static const bl__slot table_no_slot;

/* ---- Hashing ---- */

__extension__ typedef unsigned __int128 hash_product;

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    hash_product product = (hash_product)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_read8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint64_t hash_read4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/*
 * As wyhash (Wang Yi, 2019) and the hash of Go's runtime that is made after it: the bytes, masked
 * with what is secret, are multiplied to 128 bits and folded, 16 at a time; the last 16 are read
 * with overlap.
 */
uint64_t bl__hash(const uint64_t seed[2], const void *bytes, size_t len)
{
    const char *p = bytes;
    uint64_t a = 0, b = 0, state = seed[0];
    size_t left = len;
    for (; left > 16; left -= 16, p += 16)
        state = hash_mix(hash_read8(p) ^ seed[1], hash_read8(p + 8) ^ state);
    if (left >= 8) {
        a = hash_read8(p);
        b = hash_read8(p + left - 8);
    } else if (left >= 4) {
        a = hash_read4(p);
        b = hash_read4(p + left - 4);
    } else if (left > 0) {
        a = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[left / 2] << 8 |
            (unsigned char)p[left - 1];
    }
    return hash_mix(seed[1] ^ len, hash_mix(a ^ seed[1], b ^ state));
}

/* ---- Shapes and boxes ---- */

/* The alignment that a C type of this size can have. */
static size_t size_align(size_t size)
{
    size_t align = size & -size;
    return align == 0 ? 1 : align > TABLE_ALIGN ? TABLE_ALIGN : align;
}

static size_t round_up(size_t n, size_t align) { return (n + align - 1) & ~(align - 1); }

bool bl__shape_init(bl__shape *shape, size_t key_size, size_t value_size, size_t box_over)
{
    if (key_size > SIZE_MAX / 4 || value_size > SIZE_MAX / 4)
        return false;
    bool boxed = key_size == 0 || key_size > box_over;
    size_t stored = boxed ? sizeof(bl__box *) : key_size;
    size_t key_align = size_align(stored), value_align = size_align(value_size);
    *shape = (bl__shape){.key_size = key_size, .value_size = value_size, .boxed = boxed};
    shape->value_at = round_up(stored, value_align);
    shape->stride =
        round_up(shape->value_at + value_size, key_align > value_align ? key_align : value_align);
    bl__random(shape->seed, sizeof shape->seed);
    return true;
}

void bl__shape_wrong_key(const bl__shape *shape, size_t size, const bl__site *made)
{
    if (shape->key_size == 0)
        bl__fatal("belay: a key of %zu bytes for a map of C strings, made by %s at %s:%d", size,
                  made->func, made->file, made->line);
    bl__fatal_size("key", size, "map of keys", shape->key_size, made);
}

bl__box *bl__box_new(const bl__key *key)
{
    bl__box *box = bl__alloc(sizeof *box + key->len);
    if (box) {
        box->refs = 1;
        box->len = key->len;
        memcpy(box->bytes, key->bytes, key->len);
    }
    return box;
}

void bl__box_release(bl__box *box)
{
    if (box && add_acq_rel(&box->refs, -1u) == 1) /* ORD(box-refs): with the other releases */
        bl__free(box); /* ORD(box-refs): after all that was read with the other references */
}

/* ---- Tables ---- */

void bl__table_init(bl__table *t)
{
    *t = (bl__table){.slots = (bl__slot *)(uintptr_t)&table_no_slot};
}

static void *table_allocated(const bl__table *t) { return t->cap ? t->slots : NULL; }

static void table_boxes_release(bl__table *t, const bl__shape *shape)
{
    for (uint32_t at = 0; shape->boxed && at < t->used; at++)
        if (t->hashes[at])
            bl__box_release(bl__entry_box(bl__table_entry(t, shape, at)));
}

void bl__table_fini(bl__table *t, const bl__shape *shape)
{
    table_boxes_release(t, shape);
    bl__free(table_allocated(t));
    bl__table_init(t);
}

/* Nothing is left: the next entry is the first again. */
static void table_emptied(bl__table *t)
{
    t->used = 0;
    for (bl__cursor *c = t->cursors; c; c = c->next)
        c->at = c->end = 0;
}

void bl__table_clear(bl__table *t, const bl__shape *shape)
{
    table_boxes_release(t, shape);
    if (t->cap) {
        memset(t->slots, 0, ((size_t)t->mask + 1) * sizeof *t->slots);
        memset(t->entries, 0, t->used * shape->stride);
    }
    t->live = 0;
    table_emptied(t);
}

/* Entries for so many slots: from 5/16 to 5/8 of the slots are in use in a table that grows. */
static uint32_t slots_cap(uint32_t slots) { return slots / 2 + slots / 8; }

uint32_t bl__table_wants(const bl__table *t)
{
    if (t->used < t->cap)
        return 0;
    uint32_t slots = TABLE_SLOTS_MIN;
    while (slots_cap(slots) / 2 < t->live && slots < TABLE_SLOTS_MAX)
        slots *= 2;
    return slots_cap(slots) > t->live ? slots : UINT32_MAX;
}

static size_t hashes_bytes(uint32_t slots)
{
    return round_up(slots_cap(slots) * sizeof(uint32_t), TABLE_ALIGN);
}

void *bl__table_memory(const bl__shape *shape, uint32_t slots)
{
    size_t bytes;
    if (slots > TABLE_SLOTS_MAX ||
        __builtin_mul_overflow(slots_cap(slots), shape->stride, &bytes) ||
        __builtin_add_overflow(bytes, slots * sizeof(bl__slot) + hashes_bytes(slots), &bytes) ||
        bytes > PTRDIFF_MAX)
        return NULL;
    return bl__zalloc(bytes);
}

/* How many entries are left in front of this place. */
static uint32_t table_live_before(const bl__table *t, uint32_t at)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < at; i++)
        n += t->hashes[i] != 0;
    return n;
}

static void table_index(bl__table *t, uint32_t hash, uint32_t at)
{
    uint32_t i = hash & t->mask;
    while (t->slots[i].hash)
        i = (i + 1) & t->mask;
    t->slots[i] = (bl__slot){hash, at};
}

void *bl__table_rebuild(bl__table *t, const bl__shape *shape, void *memory, uint32_t slots)
{
    bl__table old = *t;
    for (bl__cursor *c = t->cursors; c; c = c->next) {
        c->at = table_live_before(&old, c->at);
        c->end = table_live_before(&old, c->end);
    }
    t->slots = memory;
    t->mask = slots - 1;
    t->cap = slots_cap(slots);
    t->hashes = (uint32_t *)(void *)(t->slots + slots);
    t->entries = (char *)t->hashes + hashes_bytes(slots);
    t->used = 0;
    for (uint32_t at = 0; at < old.used; at++) {
        if (old.hashes[at] == 0)
            continue;
        memcpy(bl__table_entry(t, shape, t->used), bl__table_entry(&old, shape, at), shape->stride);
        t->hashes[t->used] = old.hashes[at];
        table_index(t, old.hashes[at], t->used++);
    }
    BL__CHECK(t->used == t->live && t->used < t->cap);
    return table_allocated(&old);
}

char *bl__table_add(bl__table *t, const bl__shape *shape, const bl__key *key, bl__box *box)
{
    BL__CHECK(t->used < t->cap && shape->boxed == (box != NULL));
    uint32_t at = t->used++;
    char *entry = bl__table_entry(t, shape, at);
    t->live++;
    t->hashes[at] = (uint32_t)key->hash;
    table_index(t, (uint32_t)key->hash, at);
    if (box)
        memcpy(entry, &box, sizeof box);
    else
        memcpy(entry, key->bytes, key->len);
    return entry;
}

/* What was there is in nobody's reach by the map any more. Mostly it is two words. */
static inline void entry_clear(char *entry, size_t stride)
{
    if (BL__LIKELY(stride == 2 * sizeof(uint64_t)))
        memset(entry, 0, 2 * sizeof(uint64_t));
    else
        memset(entry, 0, stride);
}

bl__box *bl__table_remove(bl__table *t, const bl__shape *shape, uint32_t i)
{
    uint32_t at = t->slots[i].at;
    /* Behind i, up to the next empty slot, may be some that would be at i if it had been empty. */
    for (uint32_t j = (i + 1) & t->mask; t->slots[j].hash; j = (j + 1) & t->mask) {
        uint32_t gone_by = (j - t->slots[j].hash) & t->mask;
        if (gone_by < ((j - i) & t->mask))
            continue;
        t->slots[i] = t->slots[j];
        i = j;
    }
    t->slots[i] = (bl__slot){0, 0};
    t->hashes[at] = 0;
    if (--t->live == 0)
        table_emptied(t);
    char *entry = bl__table_entry(t, shape, at);
    bl__box *box = shape->boxed ? bl__entry_box(entry) : NULL;
    entry_clear(entry, shape->stride);
    return box;
}

/* ---- Cursors ---- */

void bl__table_follow(bl__table *t, bl__cursor *c)
{
    c->at = 0;
    c->end = t->used;
    c->next = t->cursors;
    store_relaxed(&t->cursors, c);
}

void bl__table_drop(bl__table *t, const bl__cursor *c)
{
    bl__cursor **link = &t->cursors;
    while (*link != c)
        link = &(*link)->next;
    store_relaxed(link, c->next);
}

char *bl__table_next(const bl__table *t, const bl__shape *shape, bl__cursor *c)
{
    while (c->at < c->end)
        if (t->hashes[c->at++])
            return bl__table_entry(t, shape, c->at - 1);
    return NULL;
}
