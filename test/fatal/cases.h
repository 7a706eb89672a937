/* SPDX-License-Identifier: MIT */
/*
 * cases.h: programs that end badly, several in one file: the argument names the one to run, as the
 * main goroutine. Without an argument the names are listed. What they print is compared with the
 * .txt of the same name; see ../fatal_test.sh.
 */
#ifndef BL_TEST_FATAL_CASES_H
#define BL_TEST_FATAL_CASES_H

#include <belay.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sleeps for ms, in which a report is to come; and on until it has come, if one is expected (SAYS). stderr is a file. */
static inline void said_wait(int ms)
{
    off_t was = 0;
    int r = bl_sleep(ms * BL_MS);
    for (int i = 0; r == 0 && getenv("SAYS") != NULL && i < 2000; i++) {
        struct stat st;
        if (fstat(STDERR_FILENO, &st) == 0 && st.st_size > 0 && st.st_size == was)
            return;
        was = st.st_size;
        r = bl_sleep(20 * BL_MS);
    }
}

typedef struct fatal_case {
    const char *name;
    bl_fn fn;
} fatal_case;

/* Keeps the frame of its caller: what follows a call is not its last act. */
#define KEEP(expr)                                                                                 \
    (__extension__({                                                                               \
        int kept = (expr);                                                                         \
        __asm__ volatile("" ::: "memory");                                                         \
        kept;                                                                                      \
    }))

static int cases_main(int argc, char **argv, const fatal_case *cases, size_t n,
                      const bl_options *opts)
{
    for (size_t i = 0; i < n; i++) {
        if (argc < 2)
            puts(cases[i].name);
        else if (strcmp(argv[1], cases[i].name) == 0)
            return bl_run(cases[i].fn, NULL, opts);
    }
    return argc < 2 ? 0 : 100;
}

#define CASES_MAIN(cases)                                                                          \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return cases_main(argc, argv, cases, sizeof cases / sizeof *cases, NULL);                  \
    }

#endif
