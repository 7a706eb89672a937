/* SPDX-License-Identifier: MIT */
/*
 * leaks.h: programs that leak or deadlock, and some that only look like it, several in a file: the argument
 * names the one to run, as the main goroutine. Without an argument the names are listed.
 *
 * They are written by what <belay.h> promises and nothing else. What is to be said of each stands before it, for
 * ../leaks_test.sh:
 *
 *     NAME KIND, a line for each goroutine that is reported:
 *     FUNCTION@PLACE [WAIT REASON] text that is said of it; more text; not: one that is not
 *
 * where @PLACE is the line with that mark in a comment. KIND is the headline: global, fatal, deadlock, leak, late
 * (its scope was cancelled), left (at the program's end), said (just these texts) or right: nothing at all.
 */
#ifndef BL_TEST_LEAKS_H
#define BL_TEST_LEAKS_H

#include <belay.h>
#include <belay/debug.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct program {
    const char *name;
    bl_fn fn;
} program;

/* The rest of a program, which goes on until somebody ends it. It runs seldom enough for a look to fall
 * between, also where a busy machine makes that take long: then nothing is proven. */
static inline int go_on(void)
{
    int r;
    while ((r = bl_sleep(200 * BL_MS)) == 0)
        continue;
    return r;
}

/* Until no more than n goroutines are left. */
static inline int until_left(size_t n)
{
    int r = 0;
    while (r == 0 && bl_goroutines() > n)
        r = bl_sleep(BL_MS);
    return r;
}

/* Until n others wait: a busy machine may keep a goroutine from its first step for as long as it
 * likes. */
static inline int until_waiting(uint64_t n)
{
    bl_stat st;
    int r = 0;
    while (bl_stats(&st), r == 0 && st.waiting < n)
        r = bl_sleep(BL_MS);
    return r;
}

static inline int programs_main(int argc, char **argv, const program *programs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (argc < 2)
            puts(programs[i].name);
        else if (strcmp(argv[1], programs[i].name) == 0)
            return bl_run(programs[i].fn, NULL, NULL) != 0;
    }
    return argc < 2 ? 0 : 100;
}

#define PROGRAMS(...)                                                                              \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const program programs[] = {__VA_ARGS__};                                           \
        return programs_main(argc, argv, programs, sizeof programs / sizeof *programs);            \
    }

#endif
