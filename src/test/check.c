/* SPDX-License-Identifier: MIT */
/* check.c: what tests say, and the assertions. */
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

#include "test/test.h"

void bl__test_end_early(void)
{
    bool plain = bl__test_plain() != NULL;
    fflush(stdout);
    if (bl__test_forked() && (bl__self()->id <= 1 || !plain)) {
        bl__test_cover_dump();
        _exit(1);
    }
    if (bl__self()->id <= 1 && plain)
        bl__test_plain_end();
    if (bl__self()->id == 0)
        pthread_exit(NULL);
    bl__test_scope_give();
    bl__goroutine_exit();
}

void bl__test_log(bl_test *t, const char *file, int line, const char *format, ...)
{
    bl__text b = {0};
    va_list args;
    va_start(args, format);
    bl__text_vprintf(&b, format, args);
    va_end(args);
    bl__test_log_text(t, file, line, b.at, b.len);
    bl__text_free(&b);
}

void bl__test_say(bl_test *t, int what, const char *file, int line, const char *format, ...)
{
    bl__text b = {0};
    va_list args;
    va_start(args, format);
    bl__text_vprintf(&b, format, args);
    va_end(args);
    t = bl__test_given(t);
    if ((what & BL__TEST_FAIL) != 0)
        bl__test_fail(t);
    if ((what & BL__TEST_SKIP) != 0)
        store_relaxed(&t->skipped, 1u);
    bl__test_log_text(t, file, line, b.at, b.len);
    bl__text_free(&b);
    if ((what & BL__TEST_END) != 0)
        bl__test_end_early();
}

static int how_ends(int end) { return BL__TEST_FAIL | (end ? BL__TEST_END : 0); }

bool bl__test_failed(bl_test *t, int end, const char *text, const char *file, int line)
{
    bl__test_say(t, how_ends(end), file, line, "failed: %s", text);
    return false;
}

/* Logs what is said, which it frees, and fails t; ends the goroutine if end. False. */
static bool said_fails(bl_test *t, int end, bl__text *said, const char *file, int line)
{
    bl__test_fail(t);
    bl__test_log_text(t, file, line, said->at, said->len);
    bl__text_free(said);
    if (end)
        bl__test_end_early();
    return false;
}

/* ---- Values ---- */

/* -1, 0 or 1, by value whatever the types are; 2: not to be compared (a NaN). */
static int values_order(bl__value a, bl__value b)
{
    if (a.kind == BL__VALUE_POINTER || b.kind == BL__VALUE_POINTER) {
        uint64_t x = a.as.u, y = b.as.u;
        return (x > y) - (x < y);
    }
    if (a.kind == BL__VALUE_DOUBLE || b.kind == BL__VALUE_DOUBLE) {
        double x = a.kind == BL__VALUE_DOUBLE ? a.as.d
                   : a.kind == BL__VALUE_UINT ? (double)a.as.u
                                              : (double)a.as.i;
        double y = b.kind == BL__VALUE_DOUBLE ? b.as.d
                   : b.kind == BL__VALUE_UINT ? (double)b.as.u
                                              : (double)b.as.i;
        return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
    }
    bool a_negative = a.kind != BL__VALUE_UINT && a.as.i < 0;
    bool b_negative = b.kind != BL__VALUE_UINT && b.as.i < 0;
    if (a_negative != b_negative)
        return a_negative ? -1 : 1;
    if (a_negative)
        return (a.as.i > b.as.i) - (a.as.i < b.as.i);
    return (a.as.u > b.as.u) - (a.as.u < b.as.u);
}

static void value_print(bl__text *b, bl__value v)
{
    switch (v.kind) {
    case BL__VALUE_INT: bl__text_printf(b, "%lld", (long long)v.as.i); break;
    case BL__VALUE_UINT: bl__text_printf(b, "%llu", (unsigned long long)v.as.u); break;
    case BL__VALUE_DOUBLE: bl__text_printf(b, "%.17g", v.as.d); break;
    case BL__VALUE_BOOL: bl__text_printf(b, "%s", v.as.i ? "true" : "false"); break;
    default:
        if (v.as.p == NULL)
            bl__text_printf(b, "NULL");
        else
            bl__text_printf(b, "%p", v.as.p);
    }
}

bool bl__test_compare(bl_test *t, int how, int end, bl__value a, bl__value b, const char *text,
                      const char *file, int line)
{
    int order = values_order(a, b);
    bool holds[] = {
        [BL__CMP_EQ] = order == 0,  [BL__CMP_NE] = order != 0,
        [BL__CMP_LT] = order == -1, [BL__CMP_LE] = order == -1 || order == 0,
        [BL__CMP_GT] = order == 1,  [BL__CMP_GE] = order == 1 || order == 0,
    };
    if (__builtin_expect(holds[how], 1))
        return true;
    bl__text said = {0};
    bl__text_printf(&said, "failed: %s\nleft:  ", text);
    value_print(&said, a);
    bl__text_printf(&said, "\nright: ");
    value_print(&said, b);
    return said_fails(t, end, &said, file, line);
}

/* ---- Strings and memory ---- */

static void bytes_print(bl__text *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '\n' || c == '\t')
            bl__text_printf(b, c == '\n' ? "\\n" : "\\t");
        else if (c == '"' || c == '\\')
            bl__text_printf(b, "\\%c", c);
        else if (c < ' ' || c == 127)
            bl__text_printf(b, "\\x%02x", c);
        else
            bl__text_put(b, s + i, 1);
    }
}

static void string_print(bl__text *b, const char *s)
{
    if (s == NULL) {
        bl__text_printf(b, "NULL");
        return;
    }
    bl__text_printf(b, "\"");
    bytes_print(b, s, strlen(s));
    bl__text_printf(b, "\"");
}

bool bl__test_strings(bl_test *t, int end, const char *a, const char *b, const char *text,
                      const char *file, int line)
{
    if (a == b || (a != NULL && b != NULL && strcmp(a, b) == 0))
        return true;
    bl__text said = {0};
    bl__text_printf(&said, "failed: %s\nleft:  ", text);
    string_print(&said, a);
    bl__text_printf(&said, "\nright: ");
    string_print(&said, b);
    return said_fails(t, end, &said, file, line);
}

/* The line of data that begins there, with its end; no more than LINE_MOST bytes. */
static void line_print(bl__text *b, const char *data, size_t size, size_t begin)
{
    enum { LINE_MOST = 200 };
    if (begin == size) {
        bl__text_printf(b, "the end");
        return;
    }
    size_t most = size - begin < LINE_MOST ? size - begin : LINE_MOST;
    const char *end = memchr(data + begin, '\n', most);
    bl__text_printf(b, "\"");
    bytes_print(b, data + begin, end != NULL ? (size_t)(end - (data + begin)) + 1 : most);
    bl__text_printf(b, "\"%s", end == NULL && most < size - begin ? "..." : "");
}

void bl__test_golden_differs(bl_test *t, const char *path, const char *data, size_t size,
                             const bl__text *want)
{
    enum { BEFORE_MOST = 100 }; /* bytes of the line before the difference */
    size_t at = 0, line = 1, begin = 0;
    while (at < size && at < want->len && data[at] == want->at[at])
        if (want->at[at++] == '\n') {
            line++;
            begin = at;
        }
    if (at - begin > BEFORE_MOST)
        begin = at - BEFORE_MOST;
    bl__text said = {0};
    bl__text_printf(&said,
                    "not as in %s: %zu bytes, there %zu; the first difference is in line %zu "
                    "(byte %zu); -update writes it anew\ngot:    ",
                    path, size, want->len, line, at);
    line_print(&said, data, size, begin);
    bl__text_printf(&said, "\nwanted: ");
    line_print(&said, want->at, want->len, begin);
    (void)said_fails(t, 0, &said, NULL, 0);
}

bool bl__test_memory(bl_test *t, int end, const void *a, const void *b, size_t n, const char *text,
                     const char *file, int line)
{
    const unsigned char *x = a, *y = b;
    size_t at = 0;
    while (at < n && x[at] == y[at])
        at++;
    if (at == n)
        return true;
    bl__text said = {0};
    bl__text_printf(&said, "failed: %s\nbyte %zu of %zu differs", text, at, n);
    const unsigned char *sides[] = {x, y};
    for (int side = 0; side < 2; side++) {
        bl__text_printf(&said, side == 0 ? "\nleft: " : "\nright:");
        for (size_t i = at; i < n && i < at + 16; i++)
            bl__text_printf(&said, " %02x", sides[side][i]);
    }
    return said_fails(t, end, &said, file, line);
}

bool bl__test_error(bl_test *t, int end, int64_t got, int64_t wanted, const char *text,
                    const char *file, int line)
{
    if (got == wanted)
        return true;
    bl__test_say(t, how_ends(end), file, line, "failed: %s\ngot:    %s (%lld)\nwanted: %s (%lld)",
                 text, got < 0 ? bl_err_name((int)got) : "no error", (long long)got,
                 wanted < 0 ? bl_err_name((int)wanted) : "no error", (long long)wanted);
    return false;
}
