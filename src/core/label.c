/* SPDX-License-Identifier: MIT */
/*
 * label.c: bl_label. A change builds a new set and drops the old one; the sets of the goroutines
 * that inherited the old one stay as they were.
 */
#include "core/label.h"

#include <string.h>

/* ORD(labels): the last release came before, and nobody looks at it any more. */
void bl__labels_free(bl__labels *l) { bl__free(l); }

/* Appends a string with its 0 at to, when that is not NULL; the bytes it takes. */
static size_t text_put(char *to, const char *s)
{
    size_t n = strlen(s) + 1;
    if (to != NULL)
        memcpy(to, s, n);
    return n;
}

/* Writes the pairs of old with key set to value (NULL: left out) at to, when that is not NULL; the
 * bytes they take. A key that was there keeps its place. */
static size_t pairs_put(char *to, const bl__labels *old, const char *key, const char *value,
                        uint32_t *count)
{
    size_t n = 0;
    bool done = value == NULL;
    *count = 0;
    const char *p = old == NULL ? NULL : old->text;
    for (uint32_t i = 0; old != NULL && i < old->count; i++) {
        const char *k = p, *v = k + strlen(k) + 1;
        p = v + strlen(v) + 1;
        if (strcmp(k, key) == 0) {
            if (value == NULL)
                continue;
            v = value;
            done = true;
        }
        n += text_put(to == NULL ? NULL : to + n, k);
        n += text_put(to == NULL ? NULL : to + n, v);
        ++*count;
    }
    if (!done) {
        n += text_put(to == NULL ? NULL : to + n, key);
        n += text_put(to == NULL ? NULL : to + n, value);
        ++*count;
    }
    return n;
}

int bl_label(const char *key, const char *value)
{
    BL__RACE_FRAME();
    bl__g *g = bl__self();
    if (g->task.kind == BL__TASK_THREAD || key == NULL)
        return BL_EINVAL;
    bl__race_read_string(key);
    bl__race_read_string(value);

    uint32_t count;
    size_t bytes = pairs_put(NULL, g->labels, key, value, &count);
    bl__labels *set = NULL;
    const void *owner = g->labels != NULL ? g->labels->owner : NULL;
    if (count > 0 || owner != NULL) {
        if (bytes > UINT32_MAX)
            return BL_ENOMEM;
        set = bl__alloc(sizeof *set + bytes);
        if (set == NULL)
            return BL_ENOMEM;
        set->owner = owner;
        set->refs = 1;
        set->bytes = (uint32_t)bytes;
        pairs_put(set->text, g->labels, key, value, &set->count);
    }
    bl__labels *old = g->labels;
    g->labels = set;
    bl__labels_release(old);
    return 0;
}

void bl__labels_own(const void *owner)
{
    bl__g *g = bl__self();
    bl__labels *old = g->labels;
    size_t bytes = old != NULL ? old->bytes : 0;
    bl__labels *set = bl__alloc(sizeof *set + bytes);
    if (set == NULL)
        return;
    *set = (bl__labels){
        .owner = owner, .refs = 1, .count = old != NULL ? old->count : 0, .bytes = (uint32_t)bytes};
    if (bytes > 0)
        memcpy(set->text, old->text, bytes);
    g->labels = set;
    bl__labels_release(old);
}
