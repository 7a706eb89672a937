/* SPDX-License-Identifier: MIT */
/*
 * cxxname.c: see cxxname.h.
 *
 * The C++ runtime has a function for it, which asks malloc for memory: what reports a crash must
 * not. So this one knows what names of functions mostly are: one cxx_identifier, or several in N…E,
 * each perhaps with template arguments, constructors and destructors. Operators, lambdas, functions
 * within functions and names that refer to earlier parts of themselves are left as they are.
 */
#include "debug/cxxname.h"

#include <stdbool.h>
#include <string.h>

typedef struct cxx_text {
    char *to;
    size_t room, length;
} cxx_text;

static bool cxx_add(cxx_text *t, const char *s, size_t n)
{
    if (n >= t->room - t->length)
        return false;
    memcpy(t->to + t->length, s, n);
    t->length += n;
    t->to[t->length] = 0;
    return true;
}

static bool cxx_digit(char c) { return c >= '0' && c <= '9'; }

/* A length and as many characters: where they begin. NULL: there are none. */
static const char *cxx_identifier(const char *at, size_t *n)
{
    *n = 0;
    while (cxx_digit(*at) && *n < 4096)
        *n = *n * 10 + (size_t)(*at++ - '0');
    return *n > 0 && strnlen(at, *n) == *n ? at : NULL;
}

/* Behind the E of template arguments, at what follows their I; NULL: that is not found. */
static const char *cxx_arguments(const char *at)
{
    size_t n;
    for (int depth = 1; depth > 0;) {
        const char *name;
        if (*at == 0)
            return NULL;
        if (cxx_digit(*at)) {
            if ((name = cxx_identifier(at, &n)) == NULL)
                return NULL;
            at = name + n;
        } else if (*at == 'L') { /* a value */
            if (at[1] == '_' || (at = strchr(at, 'E')) == NULL)
                return NULL;
            at++;
        } else if (*at == 'X' || *at == 'D') {
            return NULL;
        } else if (*at == 'T' || (*at == 'S' && !(at[1] >= 'a' && at[1] <= 'z'))) {
            if ((at = strchr(at, '_')) == NULL)
                return NULL;
            at++;
        } else if (*at == 'S') {
            at += 2;
        } else {
            depth += *at == 'N' || *at == 'I' || *at == 'J' || *at == 'F' ? 1 : 0;
            depth -= *at == 'E' ? 1 : 0;
            at++;
        }
    }
    return at;
}

/* One part, and the template arguments behind it. last: of which a constructor has the name. */
static const char *cxx_part(cxx_text *t, const char *at, const char **last, size_t *last_length)
{
    size_t n;
    bool ends = *at == 'D' && at[1] >= '0' && at[1] <= '2';
    if (ends || (*at == 'C' && at[1] >= '1' && at[1] <= '3')) {
        if (*last == NULL || (ends && !cxx_add(t, "~", 1)) || !cxx_add(t, *last, *last_length))
            return NULL;
        at += 2;
    } else {
        const char *name = cxx_identifier(at + (*at == 'L' ? 1 : 0), &n);
        if (name == NULL || !cxx_add(t, name, n))
            return NULL;
        *last = name;
        *last_length = n;
        at = name + n;
    }
    if (*at == 'I') {
        at = cxx_arguments(at + 1);
        if (at != NULL && !cxx_add(t, "<...>", 5))
            return NULL;
    }
    return at;
}

const char *bl__cxx_name(const char *name, char *to, size_t room)
{
    cxx_text t = {.to = to, .room = room};
    const char *at = name + 2, *last = NULL;
    size_t last_length = 0;
    if (strncmp(name, "_Z", 2) != 0 || room == 0)
        return name;
    bool nested = *at == 'N';
    for (at += nested ? 1 : 0; nested && *at != 0 && strchr("rVKRO", *at) != NULL;)
        at++;
    if (at[0] == 'S' && at[1] == 't') {
        if (!cxx_add(&t, "std::", 5))
            return name;
        at += 2;
    }
    at = cxx_part(&t, at, &last, &last_length);
    while (nested && at != NULL && *at != 'E')
        at = cxx_add(&t, "::", 2) ? cxx_part(&t, at, &last, &last_length) : NULL;
    return at != NULL ? to : name;
}
