/* SPDX-License-Identifier: MIT */
/* tracefile.h: a file that BELAY_TRACE or bl_trace_dump wrote (src/core/trace_format.h), decoded. */
#ifndef BELAY_CMD_TRACEFILE_H
#define BELAY_CMD_TRACEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/trace_format.h"

/* What happened at one moment. */
typedef struct happening {
    int64_t at;     /* ns; increases within a stream */
    uint64_t id;    /* the goroutine; the low half for those kinds that say so */
    uint64_t actor; /* who did it; 0: the scheduler, or a plain thread */
    uint64_t more;
    uint32_t run;
    int32_t proc; /* -1: a thread without one */
    uint8_t kind, how, seq;
} happening;

typedef struct place {
    uint64_t key;
    const char *what, *func, *file, *line;
} place;

/* A goroutine that was there when the names were written. */
typedef struct living {
    uint64_t id, site, parent;
    uint32_t run;
} living;

typedef struct tracefile {
    bl__trace_header header;
    uint64_t *words; /* the whole file */
    size_t words_len;
    happening *at; /* in the order of time */
    size_t len, room;
    place *places;
    size_t places_len, places_room;
    living *living;
    size_t living_len, living_room;
    const char *reasons[256];
    bool damaged; /* some of it makes no sense, and was left out */
} tracefile;

/* 0, or after it has complained an exit status. */
int tracefile_read(tracefile *t, const char *path);
void tracefile_free(tracefile *t);

const place *tracefile_place(const tracefile *t, uint64_t key); /* NULL: none has this address */
const char *tracefile_reason(const tracefile *t, uint8_t reason);

#endif
