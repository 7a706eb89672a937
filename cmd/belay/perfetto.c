/* SPDX-License-Identifier: MIT */
/*
 * perfetto.c: see perfetto.h. Field numbers are those of perfetto/trace/trace_packet.proto and
 * track_event.proto. Names of events are interned: written once, and then given by number.
 */
#include "perfetto.h"

#include "debug/protobuf.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES = 64, SEQUENCE = 1 };

struct perfetto {
    FILE *out;
    bool begun;
    int error; /* the first write's that failed, as errno; or 0 */
    uint64_t tracks;
    char *names[NAMES]; /* interned, by number - 1; beyond these they are written in full */
    size_t names_len;
    bl__bytes packet, event, part;
};

static bool bytes_room(bl__bytes *b, size_t n)
{
    if (b->len + n <= b->room)
        return true;
    size_t room = 2 * (b->len + n) + 256;
    uint8_t *more = realloc(b->at, room);
    if (more == NULL) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    b->at = more;
    b->room = room;
    return true;
}

static void put_fixed(bl__bytes *b, unsigned field, uint64_t v)
{
    uint8_t buf[8];
    for (int i = 0; i < 8; i++)
        buf[i] = (uint8_t)(v >> (8 * i));
    put_varint(b, field << 3 | 1);
    put(b, buf, sizeof buf);
}

static void put_text(bl__bytes *b, unsigned field, const char *text)
{
    put_bytes(b, field, text, strnlen(text, 1024));
}

static void packet_end(perfetto *p)
{
    bl__bytes *b = &p->part;
    put_field(&p->packet, 10, SEQUENCE);
    put_field(&p->packet, 13, p->begun ? 2 : 1); /* needs, or clears, what was interned */
    p->begun = true;
    put_varint(b, 1 << 3 | 2);
    put_varint(b, p->packet.len);
    bool whole = fwrite(b->at, 1, b->len, p->out) == b->len &&
                 fwrite(p->packet.at, 1, p->packet.len, p->out) == p->packet.len;
    if (!whole && p->error == 0)
        p->error = errno;
    b->len = p->packet.len = 0;
}

perfetto *perfetto_open(FILE *out)
{
    perfetto *p = calloc(1, sizeof *p);
    if (p == NULL) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    p->out = out;
    return p;
}

int perfetto_close(perfetto *p)
{
    int error = p->error;
    if (fflush(p->out) != 0 && error == 0)
        error = errno;
    for (size_t i = 0; i < p->names_len; i++)
        free(p->names[i]);
    free(p->packet.at);
    free(p->event.at);
    free(p->part.at);
    free(p);
    return error;
}

uint64_t perfetto_track(perfetto *p, uint64_t parent, const char *name, int pid, uint64_t rank)
{
    uint64_t track = ++p->tracks;
    put_field(&p->event, 1, track);
    if (parent == 0) {
        put_field(&p->part, 1, (uint64_t)pid);
        put_text(&p->part, 6, name);
        put_message(&p->event, 3, &p->part);
    } else {
        put_text(&p->event, 2, name);
        put_field(&p->event, 5, parent);
    }
    put_field(&p->event, 11, 3); /* its children in the order of rank */
    put_field(&p->event, 12, rank);
    put_message(&p->packet, 60, &p->event);
    packet_end(p);
    return track;
}

/* The number of name, which the packet explains if it is new; 0: there are too many. */
static uint64_t name_of(perfetto *p, const char *name)
{
    for (size_t i = p->names_len; i > 0; i--) /* the latest are the most frequent, but for a few */
        if (strcmp(p->names[i - 1], name) == 0)
            return i;
    if (p->names_len == NAMES)
        return 0;
    p->names[p->names_len++] = text_own("%s", name);
    bl__bytes one = {.len = 0};
    put_field(&one, 1, p->names_len);
    put_text(&one, 2, name);
    put_message(&p->part, 2, &one);
    put_message(&p->packet, 12, &p->part);
    free(one.at);
    return p->names_len;
}

void perfetto_put(perfetto *p, const perfetto_event *e)
{
    bl__bytes *b = &p->event;
    put_field(&p->packet, 8, (uint64_t)e->at);
    put_field(b, 9, (uint64_t)e->type);
    put_field(b, 11, e->track);
    if (e->name != NULL) {
        uint64_t n = name_of(p, e->name);
        if (n != 0)
            put_field(b, 10, n);
        else
            put_text(b, 23, e->name);
    }
    for (size_t i = 0; i < sizeof e->args / sizeof *e->args && e->args[i].name != NULL; i++) {
        put_text(&p->part, 10, e->args[i].name);
        if (e->args[i].text != NULL)
            put_text(&p->part, 6, e->args[i].text);
        else
            put_field(&p->part, 3, e->args[i].number);
        put_message(b, 4, &p->part);
    }
    if (e->flow != 0)
        put_fixed(b, 47, e->flow);
    if (e->flow_end != 0)
        put_fixed(b, 48, e->flow_end);
    put_message(&p->packet, 11, b);
    packet_end(p);
}
