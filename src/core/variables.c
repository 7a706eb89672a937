/* SPDX-License-Identifier: MIT */
/*
 * variables.c: the environment variables that direct programs and the command. Each is read where
 * it is used; here are the names alone, so that one which is misspelt is told of.
 *
 * A name that is like none of these is nobody's mistake: a program may have variables of its own
 * that begin so, and the build and the tests of this project do. The command has this file too, so
 * it uses nothing of the library.
 */
#include "core/variables.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const variables[] = {
    "CACHE", "DEBUG",   "GRACE", "IO",      "MAX_THREADS", "ON_DEADLOCK", "ON_LEAK", "PROCS",
    "RACE",  "SIGQUIT", "STACK", "SUMMARY", "TRACE",       "TRACEBACK",   NULL};

/* Of BELAY_RACE; the others are ThreadSanitizer's, which has a hundred. */
static const char *const race_options[] = {"exitcode", "halt_on_error", "history_size", "log_path",
                                           NULL};

size_t bl__edits(const char *a, const char *b)
{
    enum { MAX = 24 };
    size_t m = strlen(a);
    size_t n = strlen(b);
    if (m > MAX || n > MAX)
        return MAX;
    size_t d[MAX + 1][MAX + 1];
    for (size_t i = 0; i <= m; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= n; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        for (size_t j = 1; j <= n; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (best > d[i - 1][j] + 1)
                best = d[i - 1][j] + 1;
            if (best > d[i][j - 1] + 1)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                best > d[i - 2][j - 2] + 1)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[m][n];
}

/* The one of the names that was meant; NULL: it is one itself, or like none. One edit for five
 * letters: with more, or in a shorter name, it is as likely another word. */
static const char *name_meant(const char *const *names, const char *name)
{
    const char *nearest = NULL;
    size_t least = strlen(name);
    for (const char *const *at = names; *at != NULL; at++) {
        size_t edits = bl__edits(name, *at);
        if (edits == 0)
            return NULL;
        if (edits < least && edits * 5 <= strlen(*at)) {
            least = edits;
            nearest = *at;
        }
    }
    return nearest;
}

/* What the n bytes of value would have to be for this option; NULL: they are. */
static const char *race_value_wanted(const char *name, const char *value, size_t n)
{
    bool number = n > 0 && n < 10 && strspn(value, "0123456789") == n;
    if (strcmp(name, "exitcode") == 0)
        return number && atoi(value) <= 255 ? NULL : "a number from 0 to 255";
    if (strcmp(name, "history_size") == 0)
        return number ? NULL : "a number";
    return NULL;
}

static void race_options_check(void (*say)(const char *format, ...))
{
    const char *at = getenv("BELAY_RACE");
    for (size_t n; at != NULL && *at != '\0'; at += n + (at[n] != '\0')) {
        char name[32];
        size_t len = strcspn(at, "= :,");
        n = strcspn(at, " :,");
        if (n == 0 || len >= sizeof name)
            continue;
        memcpy(name, at, len);
        name[len] = '\0';
        const char *meant = name_meant(race_options, name);
        if (meant != NULL)
            say("BELAY_RACE: %s is unknown, so it is ignored; did you mean %s?", name, meant);
        else if (len == n)
            say("BELAY_RACE: %s is ignored; an option is NAME=VALUE, as halt_on_error=1", name);
        const char *wanted = len < n ? race_value_wanted(name, at + len + 1, n - len - 1) : NULL;
        if (wanted != NULL)
            say("BELAY_RACE: %s=%.*s is not %s, so it is ignored", name, (int)(n - len - 1),
                at + len + 1, wanted);
    }
}

void bl__variables_check(void (*say)(const char *format, ...))
{
    static const char prefix[] = "BELAY_";
    static bool done;
    if (done)
        return;
    done = true;
    for (char **at = environ; say != NULL && at != NULL && *at != NULL; at++) {
        char name[32];
        const char *set = *at + sizeof prefix - 1;
        size_t n = strncmp(*at, prefix, sizeof prefix - 1) == 0 ? strcspn(set, "=") : 0;
        if (n == 0 || n >= sizeof name || strlen(set + n) < 2) /* one that is empty is as unset */
            continue;
        memcpy(name, set, n);
        name[n] = '\0';
        const char *meant = name_meant(variables, name);
        if (meant != NULL)
            say("%s%s is unknown, so it is ignored; did you mean %s%s?", prefix, name, prefix,
                meant);
    }
    if (say != NULL)
        race_options_check(say);
}
