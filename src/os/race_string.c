/* SPDX-License-Identifier: MIT */
/*
 * race_string.c: functions of libc that the program calls in the build for `-race`, and that
 * ThreadSanitizer does not know: libc's own would read and write unseen. The linker takes these if
 * the program has none; by --wrap those that ThreadSanitizer has and does not look at (strdup), and
 * those of which libc's own is needed.
 */
#include "arch/race.h"

#if BL__RACE

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <time.h>

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

WEAK char *stpncpy(char *to, const char *from, size_t most)
{
    BL__RACE_FRAME();
    size_t n = strnlen(from, most);
    bl__race_read(from, n < most ? n + 1 : n);
    bl__race_write(to, most);
    memcpy(to, from, n);
    memset(to + n, '\0', most - n);
    return to + n;
}

WEAK void bcopy(const void *from, void *to, size_t n)
{
    BL__RACE_FRAME();
    bl__race_read(from, n);
    bl__race_write(to, n);
    memmove(to, from, n);
}

/* memchr is ThreadSanitizer's, which sees what it reads. */
WEAK void *memccpy(void *to, const void *from, int last, size_t most)
{
    BL__RACE_FRAME();
    const char *at = memchr(from, last, most);
    size_t n = at != NULL ? (size_t)(at - (const char *)from) + 1 : most;
    bl__race_write(to, n);
    memcpy(to, from, n);
    return at != NULL ? (char *)to + n : NULL;
}

/* Declared with _GNU_SOURCE only. */
WEAK void *bl__race_mempcpy(void *to, const void *from, size_t n) __asm__("mempcpy");
void *bl__race_mempcpy(void *to, const void *from, size_t n)
{
    BL__RACE_FRAME();
    bl__race_read(from, n);
    bl__race_write(to, n);
    memcpy(to, from, n);
    return (char *)to + n;
}

char *bl__real_strdup(const char *s) __asm__("__real_strdup") __attribute__((weak));
WEAK char *bl__race_strdup(const char *s) __asm__("__wrap_strdup"); /* a program may wrap it, too */
char *bl__race_strdup(const char *s)
{
    BL__RACE_FRAME();
    bl__race_read_string(s);
    return bl__real_strdup(s);
}

int bl__real_gettimeofday(struct timeval *t, void *zone) __asm__("__real_gettimeofday")
    __attribute__((weak));
WEAK int bl__race_gettimeofday(struct timeval *t, void *zone) __asm__("__wrap_gettimeofday");
int bl__race_gettimeofday(struct timeval *t, void *zone)
{
    BL__RACE_FRAME();
    bl__race_write(t, sizeof *t);
    return bl__real_gettimeofday(t, zone);
}

/* What it reads of tm the format says. */
size_t bl__real_strftime(char *to, size_t most, const char *format,
                         const struct tm *tm) __asm__("__real_strftime") __attribute__((weak));
WEAK size_t bl__race_strftime(char *to, size_t most, const char *format,
                              const struct tm *tm) __asm__("__wrap_strftime");
size_t bl__race_strftime(char *to, size_t most, const char *format, const struct tm *tm)
{
    BL__RACE_FRAME();
    size_t n = bl__real_strftime(to, most, format, tm);
    if (n > 0)
        bl__race_write(to, n + 1);
    return n;
}

/* libc's looks for the end of the string first; what it writes ThreadSanitizer sees. */
WEAK int bl__race_sscanf(const char *s, const char *format, ...) __asm__("__wrap___isoc99_sscanf")
    __attribute__((format(scanf, 2, 3)));
int bl__race_sscanf(const char *s, const char *format, ...)
{
    BL__RACE_FRAME();
    va_list args;
    bl__race_read_string(s);
    va_start(args, format);
    int n = vsscanf(s, format, args);
    va_end(args);
    return n;
}

/* strspn and strcspn are ThreadSanitizer's, which see what they read. */
WEAK char *strsep(char **at, const char *ends)
{
    BL__RACE_FRAME();
    bl__race_read(at, sizeof *at);
    char *word = *at;
    if (word == NULL)
        return NULL;
    bl__race_write(at, sizeof *at);
    char *end = word + strcspn(word, ends);
    *at = NULL;
    if (*end != '\0') {
        bl__race_write(end, 1);
        *end = '\0';
        *at = end + 1;
    }
    return word;
}

WEAK char *strtok_r(char *s, const char *ends, char **rest)
{
    BL__RACE_FRAME();
    bl__race_write(rest, sizeof *rest);
    char *word = s != NULL ? s : *rest;
    *rest = word;
    if (word == NULL)
        return NULL;
    word += strspn(word, ends);
    char *end = word + strcspn(word, ends);
    *rest = end;
    if (*end != '\0') {
        bl__race_write(end, 1);
        *end = '\0';
        *rest = end + 1;
    }
    return end != word ? word : NULL;
}

/* Numbers: up to the character that ends them, which is looked at. stop NULL: there is no such base. */
static inline __attribute__((always_inline)) void number_read(const char *s, char *stop, char **end)
{
    if (stop == NULL)
        return;
    bl__race_read(s, (size_t)(stop - s) + 1);
    if (end == NULL)
        return;
    bl__race_write(end, sizeof *end);
    *end = stop;
}

/* What libc has inside takes one argument more: whether digits may be in groups. */
#define INTEGER(type, name)                                                                        \
    type __##name##_internal(const char *s, char **end, int base, int group);                      \
    WEAK type name(const char *s, char **end, int base)                                            \
    {                                                                                              \
        BL__RACE_FRAME();                                                                          \
        char *stop = NULL;                                                                         \
        type n = __##name##_internal(s, &stop, base, 0);                                           \
        number_read(s, stop, end);                                                                 \
        return n;                                                                                  \
    }
INTEGER(long, strtol)
INTEGER(long long, strtoll)
INTEGER(unsigned long, strtoul)
INTEGER(unsigned long long, strtoull)

#define FRACTION(type, name)                                                                       \
    type __##name##_internal(const char *s, char **end, int group);                                \
    WEAK type name(const char *s, char **end)                                                      \
    {                                                                                              \
        BL__RACE_FRAME();                                                                          \
        char *stop = NULL;                                                                         \
        type n = __##name##_internal(s, &stop, 0);                                                 \
        number_read(s, stop, end);                                                                 \
        return n;                                                                                  \
    }
FRACTION(float, strtof)
FRACTION(double, strtod)
FRACTION(long double, strtold)

/* The header has these in line. */
#define SHORT(type, name, long_name, ...)                                                          \
    WEAK type bl__race_##name(const char *s) __asm__(#name);                                       \
    type bl__race_##name(const char *s)                                                            \
    {                                                                                              \
        BL__RACE_FRAME();                                                                          \
        return (type)long_name(s, NULL, ##__VA_ARGS__);                                            \
    }
SHORT(int, atoi, strtol, 10)
SHORT(long, atol, strtol, 10)
SHORT(long long, atoll, strtoll, 10)
SHORT(double, atof, strtod)

#endif
