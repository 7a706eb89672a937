/* SPDX-License-Identifier: MIT */
/*
 * map.c: bl_map, a hash map without synchronisation that notices when there should have been some.
 *
 * As Go's: who changes the map says so in its state and looks before and after; who reads looks
 * too. Loads and stores are relaxed and nothing is locked, so an overlap can go unnoticed; what is
 * noticed is a bug for sure.
 *
 * Ranges are more certain: they are linked to the table (cursors), and a change while one by
 * another goroutine is under way is an error whether or not it overlaps with a step of it. Several
 * goroutines may range at once, so the list has a lock; who changes the map finds it empty, or all
 * its ranges the caller's own, and then needs no lock to move their cursors.
 */
#include "sync/map.h"

/* The state is not IDLE when it should be. */
static BL__NORETURN __attribute__((noinline)) void map_not_idle(uint32_t state, const char *what)
{
    if (state != BL__MAP_IDLE && state != BL__MAP_WRITING)
        bl__fatal("use of a freed map");
    bl__fatal("%s", what);
}

static inline void map_expect(const bl_map *m, uint32_t expected, const char *what)
{
    uint32_t state = load_relaxed(&m->state);
    if (__builtin_expect(state != expected, 0))
        map_not_idle(state, what);
}

/* Every use of a map is an access to its state, as seen by race.h. */
static inline __attribute__((always_inline)) void map_race_read(const bl_map *m)
{
    bl__race_read(&m->state, sizeof m->state);
}

static inline void map_check_read(const bl_map *m)
{
    map_expect(m, BL__MAP_IDLE, "concurrent map read and map write");
}

static inline void map_check_iteration(const bl_map *m)
{
    map_expect(m, BL__MAP_IDLE, "concurrent map iteration and map write");
}

static __attribute__((noinline)) void map_check_cursors(bl_map *m)
{
    const bl__g *self = bl__self();
    bool others = false;
    bl__lock(&m->lock, BL__RANK_MAP);
    for (const bl__cursor *c = m->table.cursors; c; c = c->next)
        others |= c->owner != self;
    bl__unlock(&m->lock);
    if (others)
        bl__fatal("concurrent map iteration and map write");
}

static inline __attribute__((always_inline)) void map_write_begin(bl_map *m)
{
    bl__race_write(&m->state, sizeof m->state);
    map_expect(m, BL__MAP_IDLE, "concurrent map writes");
    store_relaxed(&m->state, (uint32_t)BL__MAP_WRITING);
    if (__builtin_expect(load_relaxed(&m->table.cursors) != NULL, 0))
        map_check_cursors(m);
}

static inline void map_write_end(bl_map *m)
{
    map_expect(m, BL__MAP_WRITING, "concurrent map writes");
    store_relaxed(&m->state, (uint32_t)BL__MAP_IDLE);
}

static __attribute__((noinline)) void map_wrong_value(const bl_map *m, size_t size)
{
    if (m->shape.value_size != 0) /* values of no size are not looked at */
        bl__fatal_size("value", size, "map of values", m->shape.value_size, m->made);
}

static inline void map_check_value(const bl_map *m, size_t size)
{
    if (__builtin_expect(size != m->shape.value_size && size != BL__ANY_SIZE, 0))
        map_wrong_value(m, size);
}

/* From NULL stands for zeros. The two may be the same. */
static inline void value_move(void *to, const void *from, size_t size)
{
    if (!from)
        memset(to, 0, size);
    else if (size == 8)
        memmove(to, from, 8);
    else
        memmove(to, from, size);
}

bl_map *bl__map_new(size_t key_size, size_t value_size, const bl__site *site)
{
    BL__RACE_FRAME();
    bl_map *m = bl__alloc(sizeof *m);
    if (!m)
        return NULL;
    *m = (bl_map){.state = BL__MAP_IDLE, .made = site};
    if (!bl__shape_init(&m->shape, key_size, value_size, SIZE_MAX)) {
        bl__free(m);
        return NULL;
    }
    bl__table_init(&m->table);
    return m;
}

void bl_map_free(bl_map *m)
{
    BL__RACE_FRAME();
    if (!m)
        return;
    map_write_begin(m);
    if (load_relaxed(&m->table.cursors))
        bl__fatal("belay: bl_map_free of a map in a range over it");
    store_relaxed(&m->state, (uint32_t)BL__MAP_FREED);
    bl__table_fini(&m->table, &m->shape);
    bl__free(m);
}

/* Adds key, with its value still to be set. *old is for bl__free after that. NULL: no memory. */
static char *map_add(bl_map *m, const bl__key *key, void **old)
{
    bl__box *box = NULL;
    if (m->shape.boxed && !(box = bl__box_new(key)))
        return NULL;
    uint32_t slots = bl__table_wants(&m->table);
    if (slots) {
        void *memory = bl__table_memory(&m->shape, slots);
        if (!memory) {
            bl__box_release(box);
            return NULL;
        }
        *old = bl__table_rebuild(&m->table, &m->shape, memory, slots);
    }
    return bl__table_add(&m->table, &m->shape, key, box);
}

int bl__map_set(bl_map *m, const void *key, size_t key_size, const void *value, size_t value_size)
{
    BL__RACE_FRAME();
    bl__asked();
    if (!m)
        bl__fatal("assignment to entry in nil map");
    bl__shape_race_read(&m->shape, key);
    bl__race_read(value, m->shape.value_size);
    map_write_begin(m);
    bl__shape_check_key(&m->shape, key_size, m->made);
    map_check_value(m, value_size);
    bl__key k = bl__key_of(&m->shape, key);
    void *old = NULL;
    char *entry = bl__table_find(&m->table, &m->shape, &k);
    if (!entry)
        entry = map_add(m, &k, &old);
    if (entry && m->shape.value_size)
        value_move(entry + m->shape.value_at, value, m->shape.value_size);
    map_write_end(m);
    bl__free(old);
    return entry ? 0 : BL_ENOMEM;
}

bool bl__map_get(bl_map *m, const void *key, size_t key_size, void *value_out, size_t value_size)
{
    bl__asked();
    if (!m) {
        if (value_out && value_size != BL__ANY_SIZE)
            memset(value_out, 0, value_size);
        return false;
    }
    BL__RACE_FRAME();
    map_race_read(m);
    bl__shape_race_read(&m->shape, key);
    map_check_read(m);
    bl__shape_check_key(&m->shape, key_size, m->made);
    map_check_value(m, value_size);
    bl__key k = bl__key_of(&m->shape, key);
    const char *entry = bl__table_find(&m->table, &m->shape, &k);
    bl__race_write(value_out, m->shape.value_size);
    if (value_out && m->shape.value_size)
        value_move(value_out, entry ? entry + m->shape.value_at : NULL, m->shape.value_size);
    map_check_read(m);
    return entry != NULL;
}

bool bl__map_delete(bl_map *m, const void *key, size_t key_size)
{
    BL__RACE_FRAME();
    bl__asked();
    if (!m)
        return false;
    bl__shape_race_read(&m->shape, key);
    map_write_begin(m);
    bl__shape_check_key(&m->shape, key_size, m->made);
    bl__key k = bl__key_of(&m->shape, key);
    uint32_t slot = bl__table_slot(&m->table, &m->shape, &k);
    bool there = m->table.slots[slot].hash != 0;
    bl__box *box = there ? bl__table_remove(&m->table, &m->shape, slot) : NULL;
    map_write_end(m);
    bl__box_release(box);
    return there;
}

size_t bl_map_len(bl_map *m)
{
    BL__RACE_FRAME();
    if (!m)
        return 0;
    map_race_read(m);
    map_check_read(m);
    return m->table.live;
}

void bl_map_clear(bl_map *m)
{
    BL__RACE_FRAME();
    if (!m)
        return;
    map_write_begin(m);
    bl__table_clear(&m->table, &m->shape);
    map_write_end(m);
}

typedef struct map_walk {
    bl_map *m;
    bl__cursor c;
} map_walk;

static void walk_end(void *walk)
{
    map_walk *w = walk;
    bl__lock(&w->m->lock, BL__RANK_MAP);
    bl__table_drop(&w->m->table, &w->c);
    bl__unlock(&w->m->lock);
}

void bl_map_range(bl_map *m, bl_map_fn fn, void *arg)
{
    BL__RACE_FRAME();
    if (!m)
        return;
    map_race_read(m);
    map_check_iteration(m);
    bl__g *g = bl__self();
    map_walk w = {.m = m, .c = {.owner = g}};
    bl__within within;
    bl__within_begin(&within, g, walk_end, &w);
    bl__lock(&m->lock, BL__RANK_MAP);
    bl__table_follow(&m->table, &w.c);
    bl__unlock(&m->lock);
    char *entry;
    while ((entry = bl__table_next(&m->table, &m->shape, &w.c)) != NULL) {
        const void *key = m->shape.boxed ? bl__entry_box(entry)->bytes : entry;
        bool on = fn(key, entry + m->shape.value_at, arg);
        map_race_read(m);
        map_check_iteration(m);
        if (!on)
            break;
    }
    bl__within_end(&within, g);
    walk_end(&w);
}
