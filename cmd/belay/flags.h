/* SPDX-License-Identifier: MIT */
/* flags.h: the flags, files and arguments of `belay build` and `belay run`. */
#ifndef BELAY_CMD_FLAGS_H
#define BELAY_CMD_FLAGS_H

#include "util.h"

typedef enum mode { MODE_PLAIN, MODE_ASAN, MODE_RACE } mode;

typedef struct flags {
    const char *command; /* build or run */
    mode mode;
    bool test;        /* of `belay test`: with a main of its own and unwinding */
    bool ubsan;       /* -ubsan, of `belay test` */
    const char *last; /* a source behind all others, or NULL */
    bool fuzz;        /* -fuzz, of `belay test`: with libFuzzer */
    bool cover;       /* -cover, of `belay test` */
    bool debug;       /* -g */
    bool trace;       /* -x */
    bool help;        /* -h, -help */
    const char *out;  /* -o; NULL: not given */
    words files;
    char **args; /* what stands behind --, NULL behind the last */
} flags;

/*
 * Reads the words behind the command's name; a flag may stand anywhere before --, with one dash or
 * two, and its value in the next word or behind =. 0, or, after it has complained, EXIT_USAGE.
 */
int flags_parse(flags *f, const char *command, char **argv);

/* The name of the flag that word is, without dashes, and what stands behind its =, or NULL. NULL: it
 * is no flag. */
const char *flags_name(const char *word, const char **value);

/* Complains of the flag that word is, which is none of names (NULL behind the last): EXIT_USAGE. */
int flags_unknown(const char *command, const char *word, const char *name,
                  const char *const *names);

/* Reads the value of a switch, which Go's scripts give it (-race=false): NULL is true. 0, or, after it has
 * complained, EXIT_USAGE. */
int flags_switch(const char *name, const char *value, bool *on);

/* -race or -asan, on or off: 0, or, after it has complained, EXIT_USAGE. what: is to be run once with each. */
int flags_set_mode(flags *f, mode m, bool on, const char *what);

#endif
