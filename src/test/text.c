/* SPDX-License-Identifier: MIT */
/* text.c: text that grows, in memory of its own. */
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "test/test.h"

void *bl__test_alloc(size_t size)
{
    void *p = bl__zalloc(size);
    if (p == NULL)
        bl__fatal("belay: out of memory in the test runner");
    return p;
}

void bl__text_put(bl__text *b, const char *s, size_t n)
{
    if (b->len + n + 1 > b->cap) {
        size_t cap = (b->len + n + 1) * 2;
        char *at = realloc(b->at, cap);
        if (at == NULL)
            bl__fatal("belay: out of memory in the test runner");
        b->at = at;
        b->cap = cap;
    }
    if (n > 0)
        memcpy(b->at + b->len, s, n);
    b->len += n;
    b->at[b->len] = '\0';
}

void bl__text_vprintf(bl__text *b, const char *format, va_list args)
{
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    if (n < 0)
        bl__fatal("belay: out of memory in the test runner");
    bl__text_put(b, text, (size_t)n);
    free(text);
}

void bl__text_printf(bl__text *b, const char *format, ...)
{
    va_list args;
    /* The program's own is for what the program says: who reads results knows (0.50s). */
    locale_t before = uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
    va_start(args, format);
    bl__text_vprintf(b, format, args);
    va_end(args);
    uselocale(before);
}

void bl__text_indent(bl__text *b, const char *s, size_t n, int blanks)
{
    while (n > 0) {
        const char *end = memchr(s, '\n', n);
        size_t line = end != NULL ? (size_t)(end - s) + 1 : n;
        if (*s != '\n')
            bl__text_printf(b, "%*s", blanks, "");
        bl__text_put(b, s, line);
        s += line;
        n -= line;
    }
}

void bl__text_free(bl__text *b)
{
    free(b->at);
    *b = (bl__text){0};
}
