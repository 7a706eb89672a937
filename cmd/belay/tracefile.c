/* SPDX-License-Identifier: MIT */
/*
 * tracefile.c: see tracefile.h. The file may end anywhere and have holes; of a chunk that makes no sense the rest is left
 * out, and no number in it is believed without a look.
 */
#include "tracefile.h"

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_HEAD = (sizeof(bl__trace_chunk) + 7) / 8 };

/* Room for one more of size bytes behind len. */
static void *grow(void *at, size_t size, size_t len, size_t *room)
{
    if (len < *room)
        return at;
    *room = *room == 0 ? 1024 : *room * 2;
    void *more = realloc(at, *room * size);
    if (more == NULL) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    return more;
}

static int file_read(tracefile *t, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || S_ISDIR(st.st_mode)) {
        complain("%s: %s", path, strerror(fd < 0 ? errno : EISDIR));
        if (fd >= 0)
            close(fd);
        return EXIT_FAILED;
    }
    size_t size = (size_t)st.st_size, n = 0;
    t->words = calloc(size / 8 + 1, 8);
    if (t->words == NULL) {
        complain("%s: out of memory", path);
        close(fd);
        return EXIT_FAILED;
    }
    while (n < size) {
        ssize_t k = read(fd, (char *)t->words + n, size - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    close(fd);
    t->words_len = (n + 7) / 8;
    if (n >= sizeof t->header)
        memcpy(&t->header, t->words, sizeof t->header);
    if (n < sizeof t->header || memcmp(t->header.magic, BL__TRACE_MAGIC, 8) != 0 ||
        t->header.per_second == 0) {
        complain("%s is not a trace: BELAY_TRACE=FILE or bl_trace_dump writes them", path);
        return EXIT_FAILED;
    }
    t->header.program[sizeof t->header.program - 1] = 0;
    return 0;
}

/* ---- Chunks ---- */

typedef struct chunk {
    bl__trace_chunk head;
    const uint64_t *at, *end;
} chunk;

static int chunk_order(const void *a, const void *b)
{
    const bl__trace_chunk *x = &((const chunk *)a)->head, *y = &((const chunk *)b)->head;
    const uint64_t of_x[] = {x->run, x->stream, x->id, x->seq};
    const uint64_t of_y[] = {y->run, y->stream, y->id, y->seq};
    for (int i = 0; i < 4; i++)
        if (of_x[i] != of_y[i])
            return of_x[i] < of_y[i] ? -1 : 1;
    return 0;
}

/* What a stream's decoder knows. */
typedef struct cursor {
    bool is_proc;
    uint64_t ticks, high, actor, last;
} cursor;

static void text_take(tracefile *t, uint32_t kind, uint64_t key, const char *text, size_t len)
{
    const char *part[4] = {text, "?", "?", "0"};
    if (len == 0 || text[len - 1] != 0)
        return;
    if (kind == BL__TRACE_REASON) {
        if (key < 256)
            t->reasons[key] = text;
        return;
    }
    for (int i = 1; i < 4; i++) {
        const char *next = part[i - 1] + strlen(part[i - 1]) + 1;
        if (next >= text + len)
            break;
        part[i] = next;
    }
    t->places = grow(t->places, sizeof *t->places, t->places_len, &t->places_room);
    t->places[t->places_len++] = (place){key, part[0], part[1], part[2], part[3]};
}

static void names_decode(tracefile *t, const chunk *c)
{
    const uint64_t *at = c->at;
    while (at < c->end && *at != 0) {
        uint32_t kind = (uint32_t)*at & 31, len = (uint32_t)(*at >> 32);
        size_t left = (size_t)(c->end - at), words = 2 + ((size_t)len + 7) / 8;
        if (kind == BL__TRACE_LIVE && left >= 4) {
            t->living = grow(t->living, sizeof *t->living, t->living_len, &t->living_room);
            t->living[t->living_len++] = (living){at[1], at[2], at[3], c->head.run};
            at += 4;
        } else if ((kind == BL__TRACE_REASON || kind == BL__TRACE_SITE) && left >= words) {
            text_take(t, kind, at[1], (const char *)(at + 2), len);
            at += words;
        } else {
            t->damaged = true;
            return;
        }
    }
}

/* How many words an event of this kind is; 0: there is no such kind. */
static unsigned event_words(unsigned kind)
{
    switch (kind) {
    case BL__TRACE_BLOCK:
    case BL__TRACE_END:
    case BL__TRACE_SPAWN:
    case BL__TRACE_HANDOFF:
    case BL__TRACE_CANCEL:
    case BL__TRACE_OPEN:
    case BL__TRACE_PAUSE: return 2;
    case BL__TRACE_SYNC: return 3;
    default: return kind >= BL__TRACE_TIME && kind <= BL__TRACE_CLOSE ? 1 : 0;
    }
}

static void event_take(tracefile *t, const chunk *c, cursor *k, const uint64_t *at, unsigned words)
{
    happening e = {.kind = *at & 31,
                   .how = *at >> BL__TRACE_KIND_BITS & 3,
                   .seq = (uint8_t)(*at >> BL__TRACE_SEQ_AT),
                   .id = k->high << 32 | *at >> 32,
                   .more = words > 1 ? at[1] : 0,
                   .run = c->head.run,
                   .proc = k->is_proc ? (int32_t)c->head.id : -1};
    k->high = 0;
    k->ticks += *at >> BL__TRACE_TICKS_AT & BL__TRACE_TICKS_MOST;
    if (k->is_proc && k->ticks < k->last)
        k->ticks = k->last; /* its thread went to a CPU whose clock is behind */
    k->last = k->ticks;
    e.at = (int64_t)k->ticks;
    if (k->is_proc && e.kind == BL__TRACE_RUN)
        k->actor = e.id;
    e.actor = k->actor;
    if (e.kind == BL__TRACE_BLOCK || e.kind == BL__TRACE_YIELD || e.kind == BL__TRACE_THREAD)
        k->actor = 0; /* what is done before the next runs is the scheduler's */
    t->at = grow(t->at, sizeof e, t->len, &t->room);
    t->at[t->len++] = e;
}

static void events_decode(tracefile *t, const chunk *c, cursor *k, uint64_t sync[2])
{
    const uint64_t *at = c->at;
    while (at < c->end && *at != 0) {
        unsigned kind = *at & 31, words = event_words(kind);
        if (words == 0 || words > (size_t)(c->end - at)) {
            t->damaged = words == 0;
            return;
        }
        uint64_t rest = *at >> BL__TRACE_KIND_BITS;
        if (kind == BL__TRACE_TIME)
            k->ticks = rest;
        else if (kind == BL__TRACE_HIGH)
            k->high = rest;
        else if (kind == BL__TRACE_ACTOR)
            k->actor = rest;
        else if (kind == BL__TRACE_SYNC)
            memcpy(sync, at + 1, 16);
        else
            event_take(t, c, k, at, words);
        at += words;
    }
}

static size_t chunks_find(const tracefile *t, chunk *chunks)
{
    size_t n = 0;
    for (size_t at = BL__TRACE_HEAD / 8; at + CHUNK_HEAD <= t->words_len; at += BL__TRACE_WORDS) {
        size_t end = at + BL__TRACE_WORDS < t->words_len ? at + BL__TRACE_WORDS : t->words_len;
        chunk c = {.at = t->words + at + CHUNK_HEAD, .end = t->words + end};
        memcpy(&c.head, t->words + at, sizeof c.head);
        if (c.head.magic == BL__TRACE_CHUNK_MAGIC && c.head.seq != 0 &&
            c.head.stream <= BL__TRACE_NAMES && c.head.id < 65536)
            chunks[n++] = c;
    }
    qsort(chunks, n, sizeof *chunks, chunk_order);
    return n;
}

/* ---- Times ---- */

/* A merge sort: what has the same time stays in the order of its stream. */
static void sort_merge(happening *at, happening *spare, size_t n)
{
    if (n < 2)
        return;
    size_t half = n / 2, i = 0, j = half, k = 0;
    sort_merge(at, spare, half);
    sort_merge(at + half, spare, n - half);
    memcpy(spare, at, n * sizeof *at);
    while (k < n) {
        bool left =
            j == n || (i < half && (spare[i].run < spare[j].run ||
                                    (spare[i].run == spare[j].run && spare[i].at <= spare[j].at)));
        at[k++] = spare[left ? i++ : j++];
    }
}

static void times_set(tracefile *t, const uint64_t sync[2])
{
    const bl__trace_header *h = &t->header;
    double ns = 1e9 / (double)h->per_second;
    if (sync[0] > h->ticks && (int64_t)sync[1] - h->clock > 10000000)
        ns = (double)((int64_t)sync[1] - h->clock) / (double)(sync[0] - h->ticks);
    for (size_t i = 0; i < t->len; i++)
        t->at[i].at = h->clock + (int64_t)((double)(t->at[i].at - (int64_t)h->ticks) * ns);
    happening *spare = malloc((t->len + 1) * sizeof *spare);
    if (spare == NULL) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    sort_merge(t->at, spare, t->len);
    free(spare);
}

static int place_order(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

int tracefile_read(tracefile *t, const char *path)
{
    uint64_t sync[2] = {0};
    *t = (tracefile){.damaged = false};
    int err = file_read(t, path);
    if (err)
        return err;
    chunk *chunks = calloc(t->words_len / BL__TRACE_WORDS + 2, sizeof *chunks);
    if (chunks == NULL) {
        complain("%s: out of memory", path);
        return EXIT_FAILED;
    }
    size_t n = chunks_find(t, chunks);
    cursor k = {.is_proc = false};
    for (size_t i = 0; i < n; i++) {
        const bl__trace_chunk *c = &chunks[i].head, *before = i > 0 ? &chunks[i - 1].head : NULL;
        if (before == NULL || before->run != c->run || before->stream != c->stream ||
            before->id != c->id || before->seq + 1 != c->seq)
            k = (cursor){.is_proc = c->stream == BL__TRACE_PROC};
        if (c->stream == BL__TRACE_NAMES)
            names_decode(t, &chunks[i]);
        else
            events_decode(t, &chunks[i], &k, sync);
    }
    free(chunks);
    times_set(t, sync);
    if (t->places_len > 0)
        qsort(t->places, t->places_len, sizeof *t->places, place_order);
    return 0;
}

void tracefile_free(tracefile *t)
{
    free(t->words);
    free(t->at);
    free(t->places);
    free(t->living);
}

const place *tracefile_place(const tracefile *t, uint64_t key)
{
    place wanted = {.key = key};
    return t->places_len == 0
               ? NULL
               : bsearch(&wanted, t->places, t->places_len, sizeof wanted, place_order);
}

const char *tracefile_reason(const tracefile *t, uint8_t reason)
{
    return t->reasons[reason] != NULL ? t->reasons[reason] : "waiting";
}
