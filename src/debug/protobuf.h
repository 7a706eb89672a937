/* SPDX-License-Identifier: MIT */
/* protobuf.h: Protocol Buffers' wire format, as profiles (debug/pprof.c) and the command's traces
 * (cmd/belay/perfetto.c) are written in. */
#ifndef BL__DEBUG_PROTOBUF_H
#define BL__DEBUG_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct bl__bytes {
    uint8_t *at;
    size_t len, room;
    bool failed; /* there was no memory for some */
} bl__bytes;

/* Room for n more; false: there is no memory. Whoever includes this defines it. */
static bool bytes_room(bl__bytes *b, size_t n);

static inline void put(bl__bytes *b, const void *p, size_t n)
{
    if (!bytes_room(b, n)) {
        b->failed = true;
        return;
    }
    if (n > 0)
        memcpy(b->at + b->len, p, n);
    b->len += n;
}

static inline void put_varint(bl__bytes *b, uint64_t v)
{
    uint8_t buf[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        buf[n++] = (uint8_t)(v | 0x80);
    buf[n++] = (uint8_t)v;
    put(b, buf, n);
}

static inline void put_field(bl__bytes *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}

static inline void put_bytes(bl__bytes *b, unsigned field, const void *p, size_t n)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    put(b, p, n);
}

/* Appends part to b as a field, and empties it. */
static inline void put_message(bl__bytes *b, unsigned field, bl__bytes *part)
{
    put_bytes(b, field, part->at, part->len);
    b->failed = b->failed || part->failed;
    part->len = 0;
}

#endif
