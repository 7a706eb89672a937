/* SPDX-License-Identifier: MIT */
/*
 * wanted.c: which tests -run and -skip pick. As in Go a pattern is a row of regular expressions
 * with slashes between them, one for each level of subtests, or several such rows with | between
 * them: a|b/c is a with all its subtests, and c of b. Here they are POSIX extended ones.
 */
#include <ctype.h>
#include <regex.h>
#include <stdlib.h>

#include "test/test.h"

/* The end of a pattern's next part: a slash or | that no brackets hide. */
static const char *part_end(const char *at)
{
    int sets = 0, groups = 0;
    for (; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '[')
            sets++;
        else if (*at == ']')
            sets -= sets > 0;
        else if (sets == 0 && (*at == '(' || *at == ')'))
            groups += *at == '(' ? 1 : -1;
        else if (sets == 0 && groups == 0 && (*at == '/' || *at == '|'))
            break;
    }
    return at;
}

static bool part_matches(const char *pattern, size_t n, const char *name, size_t len)
{
    bl__text p = {0};
    char *s = strndup(name, len);
    regex_t re;
    for (size_t i = 0; i < n; i++) {
        if (isspace((unsigned char)pattern[i])) { /* as bl_subtest did in the name */
            bl__text_put(&p, "_", 1);
        } else if (pattern[i] == '\\' && i + 1 < n && pattern[i + 1] == 'd') { /* as in Go */
            bl__text_put(&p, "[0-9]", 5);
            i++;
        } else {
            bool pair = pattern[i] == '\\' && i + 1 < n;
            bl__text_put(&p, pattern + i, pair ? 2 : 1);
            i += pair;
        }
    }
    bool ok = s != NULL && (n == 0 || regcomp(&re, p.at, REG_EXTENDED | REG_NOSUB) == 0);
    if (ok && n > 0) {
        ok = regexec(&re, s, 0, NULL, 0) == 0;
        regfree(&re);
    }
    bl__text_free(&p);
    free(s);
    return ok;
}

/* One row of the pattern, from *at on, which moves to what is behind it. */
static bool row_matches(const char **at, const char *name, bool whole)
{
    const char *s = name;
    bool ok = true;
    for (;;) {
        const char *p = *at, *end = *at = part_end(p);
        if (s != NULL) {
            const char *slash = strchrnul(s, '/');
            ok = ok && part_matches(p, (size_t)(end - p), s, (size_t)(slash - s));
            s = *slash != '\0' ? slash + 1 : NULL;
        } else if (whole) {
            ok = false;
        }
        if (*end != '/')
            return ok;
        ++*at;
    }
}

/* whole: the pattern must not go deeper than the name. */
static bool matches(const char *pattern, const char *name, bool whole)
{
    while (!row_matches(&pattern, name, whole)) {
        if (*pattern == '\0')
            return false;
        pattern++; /* the | */
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
