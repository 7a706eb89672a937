/* SPDX-License-Identifier: MIT */
/*
 * race_string.c: functions of libc that the program calls in the build for `-race`, and that
 * ThreadSanitizer does not know: libc's own would read and write unseen. The linker takes these if
 * the program has none.
 */
#include "arch/race.h"

#if BL__RACE

#include <string.h>

#define WEAK __attribute__((weak, visibility("default")))

/* What it reads and writes: the end of the string there, n bytes, and a 0 behind them. */
static char *append(char *end, const char *from, size_t n)
{
    bl__race_write(end, n + 1);
    memcpy(end, from, n);
    end[n] = '\0';
    return end + n;
}

WEAK char *strcat(char *to, const char *from)
{
    BL__RACE_FRAME();
    bl__race_read_string(to);
    bl__race_read_string(from);
    (void)append(to + strlen(to), from, strlen(from));
    return to;
}

WEAK char *strncat(char *to, const char *from, size_t most)
{
    BL__RACE_FRAME();
    size_t n = strnlen(from, most);
    bl__race_read_string(to);
    bl__race_read(from, n < most ? n + 1 : n);
    (void)append(to + strlen(to), from, n);
    return to;
}

WEAK char *stpcpy(char *to, const char *from)
{
    BL__RACE_FRAME();
    bl__race_read_string(from);
    return append(to, from, strlen(from));
}

#endif
