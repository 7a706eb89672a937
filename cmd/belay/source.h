/* SPDX-License-Identifier: MIT */
/* source.h: where `belay top` has its goroutines from, the memory of a process or a debug endpoint; and what an
 * endpoint on a socket answers, for `belay profile`. */
#ifndef BELAY_CMD_SOURCE_H
#define BELAY_CMD_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Texts are the reading's, or live longer. */
typedef struct source_row {
    uint64_t id;
    char kind;     /* R: it runs; r: it could; w: it waits */
    char thread;   /* of one that runs: R: it computes, S: it waits in the kernel; else - */
    int64_t since; /* ns that it has been in its state; 0: not known */
    uint32_t switches;
    unsigned stack; /* per cent of it in use; 0: not known */
    const char *state;
    const char *func;
    const char *started; /* "file:line (function)", or "" */
} source_row;

typedef struct reading {
    source_row *at;
    size_t len;
    int pid;
    unsigned procs, threads;
    char *memory; /* what the texts are in, or NULL */
} reading;

typedef struct source source;
struct source {
    /* A reading of now, for reading_free. False: the program is gone. */
    bool (*read)(source *s, reading *r);
    /* Prints a goroutine's stack, at most so many lines, with end behind each. */
    void (*look)(source *s, uint64_t id, FILE *to, size_t lines, const char *end);
    void (*close)(source *s);
};

/* NULL: said why, and *err is belay's exit status. */
source *source_process(const char *pid, int *err);
source *source_url(const char *url, int *err);

void reading_free(reading *r);

/* What the endpoint at unix:/PATH, or a page of it, unix:/PATH:/debug/pprof/…, answers, in a file
 * without a name: its descriptor, which a program that is executed keeps. -1: said why. */
int source_unix_file(const char *url);

#endif
