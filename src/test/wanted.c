/* SPDX-License-Identifier: MIT */
/*
 * wanted.c: which tests -run and -skip pick. As in Go a pattern is a row of regular expressions with slashes
 * between them, one for each level of subtests; here they are POSIX extended ones.
 */
#include <ctype.h>
#include <regex.h>
#include <stdlib.h>

#include "test/test.h"

enum { LEVELS = 16 };

/* The next part of a pattern or a name; brackets hide slashes. Its end. */
static const char *part_end(const char *at, bool pattern)
{
    int depth = 0;
    for (; *at != '\0'; at++) {
        if (pattern && *at == '\\' && at[1] != '\0') {
            at++;
            continue;
        }
        if (pattern && (*at == '[' || *at == '('))
            depth++;
        else if (pattern && (*at == ']' || *at == ')'))
            depth -= depth > 0;
        else if (*at == '/' && depth == 0)
            break;
    }
    return at;
}

static bool part_matches(const char *pattern, size_t n, const char *name, size_t len)
{
    char *p = strndup(pattern, n);
    char *s = strndup(name, len);
    regex_t re;
    bool ok = p != NULL && s != NULL;
    for (char *c = p; ok && *c != '\0'; c++) /* as bl_subtest did in the name */
        if (isspace((unsigned char)*c))
            *c = '_';
    if (ok && (ok = regcomp(&re, p, REG_EXTENDED | REG_NOSUB) == 0)) {
        ok = n == 0 || regexec(&re, s, 0, NULL, 0) == 0;
        regfree(&re);
    }
    free(p);
    free(s);
    return ok;
}

/* whole: the pattern must not go deeper than the name. */
static bool matches(const char *pattern, const char *name, bool whole)
{
    const char *p = pattern;
    const char *s = name;
    for (int level = 0; level < LEVELS; level++) {
        const char *pe = part_end(p, true);
        const char *se = part_end(s, false);
        if (!part_matches(p, (size_t)(pe - p), s, (size_t)(se - s)))
            return false;
        if (*pe == '\0')
            return true;
        if (*se == '\0')
            return !whole;
        p = pe + 1;
        s = se + 1;
    }
    return true;
}

bool bl__test_wanted(const char *name)
{
    return (bl__tests.run == NULL || matches(bl__tests.run, name, false)) &&
           (bl__tests.skip == NULL || !matches(bl__tests.skip, name, true));
}

bool bl__fuzz_wanted(const char *name)
{
    return bl__tests.fuzz != NULL && matches(bl__tests.fuzz, name, false);
}

/* By its own name, or by the one that it is printed with. */
static bool bench_matches(const char *pattern, const char *name, bool whole)
{
    char *printed = bl__bench_name(name);
    bool yes = matches(pattern, name, whole) || matches(pattern, printed, whole);
    free(printed);
    return yes;
}

bool bl__bench_wanted(const char *name)
{
    return bl__tests.bench != NULL && bench_matches(bl__tests.bench, name, false) &&
           (bl__tests.skip == NULL || !bench_matches(bl__tests.skip, name, true));
}
