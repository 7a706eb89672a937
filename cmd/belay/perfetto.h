/* SPDX-License-Identifier: MIT */
/* perfetto.h: writing Perfetto's trace format: tracks, and slices, instants and arrows on them. */
#ifndef BELAY_CMD_PERFETTO_H
#define BELAY_CMD_PERFETTO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct perfetto perfetto;

/* out is the caller's. Nothing here returns on no memory. */
perfetto *perfetto_open(FILE *out);
/* 0, or why something could not be written, as errno. */
int perfetto_close(perfetto *p);

/* A new track below parent, or, of 0, the process itself; its number. rank: its place among its siblings. */
uint64_t perfetto_track(perfetto *p, uint64_t parent, const char *name, int pid, uint64_t rank);

enum { PERFETTO_BEGIN = 1, PERFETTO_END, PERFETTO_INSTANT };

typedef struct perfetto_event {
    uint64_t track;
    int64_t at; /* ns */
    int type;   /* PERFETTO_… */
    const char *name;
    uint64_t flow;     /* an arrow begins here; 0: none */
    uint64_t flow_end; /* one ends here */
    struct {
        const char *name, *text; /* text NULL: number */
        uint64_t number;
    } args[4]; /* up to the first without a name */
} perfetto_event;

void perfetto_put(perfetto *p, const perfetto_event *e);

#endif
