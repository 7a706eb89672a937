/* SPDX-License-Identifier: MIT */
/*
 * alike.c: see alike.h. Stacks are the same if the program's own frames are, by function and line:
 * in the library the same call may have gone one way or the other, and a loop may be unrolled.
 */
#include "debug/alike.h"

#include "core/label.h"
#include "debug/peek.h"
#include "debug/symbol.h"

enum {
    CACHE = 256,
    LABELS_COMPARED = 1024 /* bytes of text */
};

/* FNV-1a, a word at a time. */
static uint64_t alike_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

/* What is known of some addresses. Reporter's. */
static struct {
    uintptr_t pc;
    uint64_t
        hash; /* of the functions and lines there, which are all that is shown; 0: the runtime's */
} cache[CACHE];

static bool place_take(const bl__symbol *s, void *arg)
{
    uint64_t *hash = arg;
    if (s->file == NULL)
        *hash = alike_mix(*hash, s->pc);
    else
        *hash = alike_mix(alike_mix(*hash, (uintptr_t)s->func), (uint64_t)s->line);
    return false;
}

static uint64_t place_hash(uintptr_t pc)
{
    size_t i = (pc ^ pc >> 8) % CACHE;
    if (cache[i].pc != pc) {
        uint64_t hash = 0;
        if (bl__symbol_is_program(pc))
            bl__symbol_each(pc, place_take, &hash);
        cache[i].pc = pc;
        cache[i].hash = hash;
    }
    return cache[i].hash;
}

/* By their text: each goroutine may have a set of its own. */
static uint64_t labels_mix(uint64_t hash, const bl__labels *at)
{
    bl__labels head;
    char text[LABELS_COMPARED];
    if (at == NULL || !bl__peek(&head, at, sizeof head))
        return hash;
    size_t n = head.bytes < sizeof text ? head.bytes : sizeof text;
    n = bl__peek(text, at->text, n) ? n : 0;
    for (size_t i = 0; i < n; i++)
        hash = alike_mix(hash, (unsigned char)text[i]);
    return hash;
}

uint64_t bl__alike_key(const bl__g *g, const bl__trace *t, const void *made, uintptr_t owner)
{
    uint64_t hash = alike_mix(UINT64_C(0xcbf29ce484222325), (uintptr_t)made);
    hash = alike_mix(hash, owner);
    if (g != NULL) {
        hash = alike_mix(hash, g->task.status);
        hash = alike_mix(hash, g->reason);
        hash = alike_mix(hash, (uintptr_t)g->site);
        hash = labels_mix(hash, g->labels);
    }
    if (t != NULL) {
        for (uint64_t i = 0; i < t->total && i < BL__TRACE_INNER; i++)
            if (place_hash(t->inner[i]) != 0)
                hash = alike_mix(hash, place_hash(t->inner[i]));
    }
    return hash != 0 ? hash : 1;
}

void bl__alike_add(bl__alike *a, uint64_t id)
{
    if (a->count < BL__ALIKE_IDS)
        a->ids[a->count] = id;
    a->count++;
}

void bl__alike_ids(bl__out *o, const bl__alike *a)
{
    bl__out_printf(o, "goroutine%s ", a->count == 1 ? "" : "s");
    for (uint64_t i = 0; i < a->count && i < BL__ALIKE_IDS; i++)
        bl__out_printf(o, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)a->ids[i]);
    bl__out_printf(o, "%s\n", a->count > BL__ALIKE_IDS ? ", ..." : "");
}

void bl__alike_print(bl__out *o, const bl__alike *a)
{
    if (a->count == 0)
        return;
    bl__out_printf(o, "and %llu more like it: ", (unsigned long long)a->count);
    bl__alike_ids(o, a);
}
