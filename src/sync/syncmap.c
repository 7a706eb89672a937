/* SPDX-License-Identifier: MIT */
/*
 * syncmap.c: bl_syncmap, a map from keys to pointers for many goroutines and threads.
 *
 * The hash chooses one of 64 parts, each a table under a bl__lock. The section is a look-up; what
 * needs memory (the copy of a long key or string, a larger table) is asked for outside of it, and
 * then the operation looks again. Only moving a part into its larger table is longer: of a map with
 * a million keys a part has 16,000, which takes some 600 us, once for each
 * doubling.
 *
 * Not taken: reads without a lock, as of Go's hash trie. Nodes that a reader may be looking at need
 * somebody to tell when they can be freed, which Go leaves to its collector; hazard pointers put a
 * fence into each read, and with epochs a thread that is held up in one holds up all reclamation.
 *
 * A range holds the part's lock from one entry to the next and gives it back for the callback. Its
 * cursor is linked to the table meanwhile, which keeps it right. The key that the callback gets is
 * a copy if it is short; others are boxes, of which it has a reference.
 */
#include "belay/map.h"

#include "sync/table.h"

enum { SYNCMAP_PARTS_LOG2 = 6, SYNCMAP_PARTS = 1 << SYNCMAP_PARTS_LOG2, SYNCMAP_LINE = 64 };
enum { SYNCMAP_KEY_MAX = 64 }; /* bytes of the longest key that is not boxed */
enum { SYNCMAP_LIVE = 0x736d6170, SYNCMAP_FREED = 0x66726565 };

/* A cache line each. */
typedef struct syncmap_part {
    uint32_t lock;
    bl__table table; /* lock; every value a void * */
} __attribute__((aligned(SYNCMAP_LINE))) syncmap_part;

struct bl_syncmap {
    uint32_t magic;  /* relaxed */
    bl__shape shape; /* immutable, and so are the following */
    const bl__site *made;
    syncmap_part parts[SYNCMAP_PARTS];
};

/* What a store takes along into the section: what it found to be lacking the time before. */
typedef struct syncmap_spare {
    bl__box *box;
    void *memory; /* of a table with so many slots */
    uint32_t slots;
} syncmap_spare;

bl_syncmap *bl__syncmap_new(size_t key_size, const bl__site *site)
{
    bl_syncmap *m = NULL;
    if (posix_memalign((void **)&m, SYNCMAP_LINE, sizeof *m) != 0)
        return NULL;
    m->magic = SYNCMAP_LIVE;
    m->made = site;
    if (!bl__shape_init(&m->shape, key_size, sizeof(void *), SYNCMAP_KEY_MAX)) {
        bl__free(m);
        return NULL;
    }
    for (uint32_t i = 0; i < SYNCMAP_PARTS; i++) {
        m->parts[i].lock = 0;
        bl__table_init(&m->parts[i].table);
    }
    return m;
}

static inline void syncmap_check(const bl_syncmap *m)
{
    if (__builtin_expect(!m, 0))
        bl__fatal("use of a nil syncmap");
    if (__builtin_expect(load_relaxed(&m->magic) != SYNCMAP_LIVE, 0))
        bl__fatal("use of a freed map");
}

void bl_syncmap_free(bl_syncmap *m)
{
    BL__RACE_FRAME();
    if (!m)
        return;
    syncmap_check(m);
    bl__race_write(&m->magic, sizeof m->magic);
    for (uint32_t i = 0; i < SYNCMAP_PARTS; i++) {
        bl__table *t = &m->parts[i].table;
        if (t->cursors)
            bl__fatal("belay: bl_syncmap_free of a map in a range over it");
        bl__table_fini(t, &m->shape);
    }
    store_relaxed(&m->magic, (uint32_t)SYNCMAP_FREED);
    bl__free(m);
}

/* Checks the key, hashes it, and locks its part. */
static inline syncmap_part *syncmap_lock(bl_syncmap *m, const void *key, size_t key_size,
                                         bl__key *k)
{
    syncmap_check(m);
    bl__race_read(&m->magic, sizeof m->magic);
    bl__shape_race_read(&m->shape, key);
    bl__shape_check_key(&m->shape, key_size, m->made);
    *k = bl__key_of(&m->shape, key);
    syncmap_part *part = &m->parts[k->hash >> (64 - SYNCMAP_PARTS_LOG2)];
    bl__lock(&part->lock, BL__RANK_MAP);
    return part;
}

static inline void *pointer_get(const bl_syncmap *m, const char *entry)
{
    void *value;
    memcpy(&value, entry + m->shape.value_at, sizeof value);
    return value;
}

static inline void pointer_set(const bl_syncmap *m, char *entry, void *value)
{
    memcpy(entry + m->shape.value_at, &value, sizeof value);
}

/* Where a key's stores and loads meet (race.h): some byte of the map. */
static inline void *key_race(bl_syncmap *m, const bl__key *k)
{
    return (char *)m + k->hash % sizeof *m;
}

/* ---- Storing ---- */

/* No lock held. 0, or BL_ENOMEM; slots: how many are needed, 0: no new table is. */
static int spare_provide(syncmap_spare *s, const bl__shape *shape, const bl__key *key,
                         uint32_t slots)
{
    if (shape->boxed && !s->box && !(s->box = bl__box_new(key)))
        return BL_ENOMEM;
    if (slots && slots != s->slots) {
        bl__free(s->memory);
        s->memory = bl__table_memory(shape, slots);
        s->slots = s->memory ? slots : 0;
        return s->memory ? 0 : BL_ENOMEM;
    }
    return 0;
}

/* Lock held. The entry of a key that was not there, or NULL: something is lacking, and *slots says
 * whether that is a table. The former table's memory is left in s, to be freed. */
static char *part_add(syncmap_part *part, const bl__shape *shape, const bl__key *key,
                      syncmap_spare *s, uint32_t *slots)
{
    *slots = bl__table_wants(&part->table);
    if ((shape->boxed && !s->box) || (*slots && *slots != s->slots))
        return NULL;
    if (*slots) {
        s->memory = bl__table_rebuild(&part->table, shape, s->memory, *slots);
        s->slots = 0;
    }
    bl__box *box = s->box;
    s->box = NULL;
    return bl__table_add(&part->table, shape, key, box);
}

/* 1: key was there with the value *found, which is replaced if so wished. 0: it has been added. */
static int syncmap_put(bl_syncmap *m, const void *key, size_t key_size, void *value, bool replace,
                       void **found)
{
    bl__key k;
    syncmap_spare spare = {NULL, NULL, 0};
    syncmap_part *part = syncmap_lock(m, key, key_size, &k);
    int r;
    for (;;) {
        char *entry = bl__table_find(&part->table, &m->shape, &k);
        uint32_t slots = 0;
        r = entry ? 1 : 0;
        if (entry)
            *found = pointer_get(m, entry);
        else
            entry = part_add(part, &m->shape, &k, &spare, &slots);
        if (entry && (r == 0 || replace)) {
            bl__race_release(key_race(m, &k));
            pointer_set(m, entry, value);
        }
        bl__unlock(&part->lock);
        if (entry || (r = spare_provide(&spare, &m->shape, &k, slots)) < 0)
            break;
        bl__lock(&part->lock, BL__RANK_MAP);
    }
    if (r == 1 && !replace)
        bl__race_acquire(key_race(m, &k));
    bl__box_release(spare.box);
    bl__free(spare.memory);
    return r;
}

int bl__syncmap_store(bl_syncmap *m, const void *key, size_t key_size, void *value)
{
    BL__RACE_FRAME();
    bl__asked();
    void *found;
    int r = syncmap_put(m, key, key_size, value, true, &found);
    return r < 0 ? r : 0;
}

int bl__syncmap_load_or_store(bl_syncmap *m, const void *key, size_t key_size, void *value,
                              void **actual_out)
{
    BL__RACE_FRAME();
    bl__asked();
    void *found = NULL;
    int r = syncmap_put(m, key, key_size, value, false, &found);
    bl__race_write(actual_out, sizeof *actual_out);
    if (actual_out)
        *actual_out = r == 0 ? value : found;
    return r;
}

/* ---- What needs no memory ---- */

bool bl__syncmap_load(bl_syncmap *m, const void *key, size_t key_size, void **value_out)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__key k;
    syncmap_part *part = syncmap_lock(m, key, key_size, &k);
    const char *entry = bl__table_find(&part->table, &m->shape, &k);
    void *value = entry ? pointer_get(m, entry) : NULL;
    bl__unlock(&part->lock);
    bl__race_acquire(key_race(m, &k));
    bl__race_write(value_out, sizeof *value_out);
    if (value_out)
        *value_out = value;
    return entry != NULL;
}

bool bl__syncmap_load_and_delete(bl_syncmap *m, const void *key, size_t key_size, void **value_out)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__key k;
    void *value = NULL;
    bl__box *box = NULL;
    syncmap_part *part = syncmap_lock(m, key, key_size, &k);
    uint32_t i = bl__table_slot(&part->table, &m->shape, &k);
    const bl__slot slot = part->table.slots[i];
    if (slot.hash) {
        value = pointer_get(m, bl__table_entry(&part->table, &m->shape, slot.at));
        box = bl__table_remove(&part->table, &m->shape, i);
    }
    if (slot.hash)
        bl__race_release(key_race(m, &k)); /* a delete is a store */
    bl__unlock(&part->lock);
    bl__race_acquire(key_race(m, &k));
    bl__box_release(box);
    bl__race_write(value_out, sizeof *value_out);
    if (value_out)
        *value_out = value;
    return slot.hash != 0;
}

bool bl__syncmap_delete(bl_syncmap *m, const void *key, size_t key_size)
{
    BL__RACE_FRAME();
    return bl__syncmap_load_and_delete(m, key, key_size, NULL);
}

bool bl__syncmap_compare_and_swap(bl_syncmap *m, const void *key, size_t key_size,
                                  const void *old_value, void *new_value)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__key k;
    syncmap_part *part = syncmap_lock(m, key, key_size, &k);
    char *entry = bl__table_find(&part->table, &m->shape, &k);
    bool swapped = entry && pointer_get(m, entry) == old_value;
    if (swapped) {
        bl__race_release(key_race(m, &k));
        pointer_set(m, entry, new_value);
    }
    bl__unlock(&part->lock);
    bl__race_acquire(key_race(m, &k));
    return swapped;
}

/* ---- Ranges ---- */

/* What a callback is passed, held on to while the entry may go. */
typedef struct syncmap_step {
    _Alignas(16) char key[SYNCMAP_KEY_MAX];
    bl__box *box; /* a reference, or NULL */
    void *value;
} syncmap_step;

/* Lock held. False: the part has no more entries. */
static bool step_next(syncmap_step *step, const bl_syncmap *m, syncmap_part *part, bl__cursor *c)
{
    const char *entry = bl__table_next(&part->table, &m->shape, c);
    if (!entry)
        return false;
    step->value = pointer_get(m, entry);
    step->box = m->shape.boxed ? bl__entry_box(entry) : NULL;
    if (step->box)
        (void)add_relaxed(&step->box->refs, 1u);
    else
        memcpy(step->key, entry, m->shape.key_size);
    return true;
}

typedef struct part_walk {
    syncmap_part *part;
    bl__cursor c;
    syncmap_step step;
} part_walk;

static void walk_exit(void *walk)
{
    part_walk *w = walk;
    bl__box_release(w->step.box);
    bl__lock(&w->part->lock, BL__RANK_MAP);
    bl__table_drop(&w->part->table, &w->c);
    bl__unlock(&w->part->lock);
}

static bool part_range(bl_syncmap *m, syncmap_part *part, bl_map_fn fn, void *arg)
{
    bool on = true;
    part_walk w = {.part = part};
    syncmap_step *step = &w.step;
    bl__g *g = bl__self();
    bl__within within;
    bl__within_begin(&within, g, walk_exit, &w);
    bl__lock(&part->lock, BL__RANK_MAP);
    bl__table_follow(&part->table, &w.c);
    while (on && step_next(step, m, part, &w.c)) {
        bl__unlock(&part->lock);
        if (BL__RACE) {
            bl__key k =
                bl__key_of(&m->shape, step->box ? (const void *)step->box->bytes : step->key);
            bl__race_acquire(key_race(m, &k));
        }
        on = fn(step->box ? step->box->bytes : step->key, step->value, arg);
        bl__box_release(step->box);
        step->box = NULL;
        bl__lock(&part->lock, BL__RANK_MAP);
    }
    bl__table_drop(&part->table, &w.c);
    bl__unlock(&part->lock);
    bl__within_end(&within, g);
    return on;
}

void bl_syncmap_range(bl_syncmap *m, bl_map_fn fn, void *arg)
{
    BL__RACE_FRAME();
    syncmap_check(m);
    bl__race_read(&m->magic, sizeof m->magic);
    for (uint32_t i = 0; i < SYNCMAP_PARTS; i++)
        if (!part_range(m, &m->parts[i], fn, arg))
            return;
}
