/* SPDX-License-Identifier: MIT */
/* stacks.c: see stacks.h. Used by one thread at a time. */
#include "debug/stacks.h"

#include <string.h>

#include "debug/peek.h"

enum { LABELS_MOST = 1024 }; /* bytes of text */

bool bl__stacks_room(void *at, size_t size, size_t count, size_t more, size_t *room)
{
    void *old;
    if (count + more <= *room)
        return true;
    size_t n = 2 * (count + more) + 64;
    void *made = bl__alloc(n * size);
    if (made == NULL)
        return false;
    memcpy(&old, at, sizeof old);
    if (count > 0)
        memcpy(made, old, count * size);
    bl__free(old);
    memcpy(at, &made, sizeof made);
    *room = n;
    return true;
}

static uint64_t hash_add(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 32);
}

/* Twice as many slots as there will be entries. */
static bool table_grow(bl__stacks *s)
{
    if (2 * (s->count + 1) <= s->slots)
        return true;
    size_t slots = s->slots == 0 ? 256 : 2 * s->slots;
    uint32_t *table = bl__zalloc(slots * sizeof *table);
    if (table == NULL)
        return false;
    for (size_t i = 0; i < s->count; i++) {
        size_t at = s->entries[i].hash & (slots - 1);
        while (table[at] != 0)
            at = (at + 1) & (slots - 1);
        table[at] = (uint32_t)i + 1;
    }
    bl__free(s->table);
    s->table = table;
    s->slots = slots;
    return true;
}

/* The program counters that are kept of t: of a deep stack the innermost and the outermost. */
static uint32_t trace_pcs(const bl__trace *t, uintptr_t *pcs)
{
    uint32_t n = 0;
    uint64_t next =
        t->total > BL__TRACE_INNER + BL__TRACE_OUTER ? t->total - BL__TRACE_OUTER : BL__TRACE_INNER;
    while (n < BL__TRACE_INNER && n < t->total) {
        pcs[n] = t->inner[n];
        n++;
    }
    for (; next < t->total; next++)
        pcs[n++] = t->outer[next % BL__TRACE_OUTER];
    return n;
}

/* A copy of the labels: their number; 0: there are none, or they are gone. */
static uint32_t labels_copy(const bl__labels *l, char text[LABELS_MOST], size_t *bytes)
{
    bl__labels head;
    *bytes = 0;
    if (l == NULL || !bl__peek(&head, l, sizeof head) || head.bytes > LABELS_MOST ||
        head.bytes == 0 || !bl__peek(text, l->text, head.bytes))
        return 0;
    uint32_t strings = 0;
    for (size_t i = 0; i < head.bytes; i++)
        strings += text[i] == 0;
    if (text[head.bytes - 1] != 0 || strings != 2 * head.count)
        return 0;
    *bytes = head.bytes;
    return head.count;
}

static bl__stack_entry *entry_new(bl__stacks *s, size_t slot, const bl__stack_entry *e,
                                  const uintptr_t *pcs, const char *text)
{
    if (!bl__stacks_room(&s->entries, sizeof *s->entries, s->count, 1, &s->room) ||
        !bl__stacks_room(&s->pcs, sizeof *s->pcs, s->pcs_count, e->depth, &s->pcs_room) ||
        !bl__stacks_room(&s->texts, 1, s->texts_count, e->bytes, &s->texts_room))
        return NULL;
    bl__stack_entry *made = &s->entries[s->count];
    *made = *e;
    made->first = s->pcs_count;
    made->text = s->texts_count;
    memcpy(s->pcs + s->pcs_count, pcs, e->depth * sizeof *pcs);
    if (e->bytes > 0)
        memcpy(s->texts + s->texts_count, text, e->bytes);
    s->pcs_count += e->depth;
    s->texts_count += e->bytes;
    s->table[slot] = (uint32_t)++s->count;
    return made;
}

/* Adds values to what key, pcs and text describe. */
static void count(bl__stacks *s, bl__stack_entry *key, const uintptr_t *pcs, const char *text,
                  const int64_t *values)
{
    bl__stack_entry *e = NULL;
    for (uint32_t i = 0; i < key->depth; i++)
        key->hash = hash_add(key->hash, pcs[i]);
    for (size_t i = 0; i < key->bytes; i++)
        key->hash = hash_add(key->hash, (uint8_t)text[i]);
    if (!table_grow(s)) {
        s->failed = true;
        return;
    }
    size_t at = key->hash & (s->slots - 1);
    for (; s->table[at] != 0 && e == NULL; at = (at + 1) & (s->slots - 1)) {
        bl__stack_entry *have = &s->entries[s->table[at] - 1];
        if (have->hash == key->hash && have->depth == key->depth && have->bytes == key->bytes &&
            memcmp(s->pcs + have->first, pcs, key->depth * sizeof *pcs) == 0 &&
            (key->bytes == 0 || memcmp(s->texts + have->text, text, key->bytes) == 0))
            e = have;
    }
    if (e == NULL && (e = entry_new(s, at, key, pcs, text)) == NULL) {
        s->failed = true;
        return;
    }
    for (int i = 0; i < BL__STACK_VALUES; i++) {
        e->values[i] += values[i];
        s->totals[i] += values[i];
    }
}

void bl__stacks_add(bl__stacks *s, const bl__trace *t, const bl__labels *labels,
                    const int64_t values[BL__STACK_VALUES])
{
    uintptr_t pcs[BL__TRACE_INNER + BL__TRACE_OUTER];
    char text[LABELS_MOST];
    bl__stack_entry key = {.depth = trace_pcs(t, pcs)};
    key.labels = labels_copy(labels, text, &key.bytes);
    count(s, &key, pcs, key.bytes != 0 ? text : "", values);
}

void bl__stacks_add_part(bl__stacks *s, const bl__stacks *from, const bl__stack_entry *e,
                         uint32_t first, uint32_t last)
{
    bl__stack_entry key = {.depth = last - first, .labels = e->labels, .bytes = e->bytes};
    count(s, &key, from->pcs + e->first + first, from->texts + e->text, e->values);
}

bool bl__stacks_subtract(bl__stacks *s, const bl__stacks *before)
{
    for (size_t i = 0; i < before->count; i++) {
        const bl__stack_entry *e = &before->entries[i];
        bl__stack_entry key = {.depth = e->depth, .labels = e->labels, .bytes = e->bytes};
        int64_t values[BL__STACK_VALUES];
        for (int k = 0; k < BL__STACK_VALUES; k++)
            values[k] = -e->values[k];
        count(s, &key, before->pcs + e->first, before->texts + e->text, values);
    }
    return !s->failed;
}

void bl__stacks_free(bl__stacks *s)
{
    bl__free(s->entries);
    bl__free(s->pcs);
    bl__free(s->texts);
    bl__free(s->table);
    *s = (bl__stacks){0};
}
