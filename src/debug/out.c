/* SPDX-License-Identifier: MIT */
/* out.c: the formatter of reports; see out.h for what it knows. */
#include "debug/out.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "debug/source.h"

enum { OUT_PATIENCE_MS = 1000 }; /* how long a full pipe whose reader is slow holds a report up */

void bl__out_init(bl__out *o, int fd)
{
    o->fd = fd;
    o->len = 0;
}

static void out_write(bl__out *o, size_t n)
{
    int saved = errno;
    const char *p = o->buf;
    size_t left = n;
    while (left > 0) {
        ssize_t out = write(o->fd, p, left);
        if (out > 0) {
            p += out;
            left -= (size_t)out;
        } else if (out < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = o->fd, .events = POLLOUT};
            if (poll(&room, 1, OUT_PATIENCE_MS) == 0)
                break;
        } else if (out == 0 || errno != EINTR) {
            break;
        }
    }
    o->len -= (uint32_t)n;
    memmove(o->buf, o->buf + n, o->len);
    errno = saved;
}

void bl__out_flush(bl__out *o) { out_write(o, o->len); }

/* There is no more room. Whole lines, so that what another thread prints is not within one. */
static void out_make_room(bl__out *o)
{
    size_t n = o->len;
    while (n > 0 && o->buf[n - 1] != '\n')
        n--;
    out_write(o, n > 0 ? n : o->len);
}

void bl__out_bytes(bl__out *o, const char *s, size_t n)
{
    while (n > 0) {
        if (o->len == sizeof o->buf)
            out_make_room(o);
        size_t part = sizeof o->buf - o->len;
        if (part > n)
            part = n;
        memcpy(o->buf + o->len, s, part);
        o->len += (uint32_t)part;
        s += part;
        n -= part;
    }
}

static void out_repeat(bl__out *o, char c, int n)
{
    while (n-- > 0)
        bl__out_bytes(o, &c, 1);
}

/* One conversion: what stands between % and its letter. */
typedef struct spec {
    bool left;
    bool zero;
    bool place;
    int width;
    int precision; /* -1: none */
    int length;    /* 0 int, 1 long, 2 long long and the others of 64 bits */
} spec;

static void out_text(bl__out *o, const spec *s, const char *text, size_t n)
{
    int pad = s->width > (int)n ? s->width - (int)n : 0;
    if (!s->left)
        out_repeat(o, ' ', pad);
    bl__out_bytes(o, text, n);
    if (s->left)
        out_repeat(o, ' ', pad);
}

static void out_number(bl__out *o, const spec *s, const char *sign, uint64_t v, unsigned base,
                       bool upper)
{
    char digits[24];
    size_t n = sizeof digits, signs = strlen(sign);
    do {
        digits[--n] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
        v /= base;
    } while (v != 0);
    int taken = (int)(sizeof digits - n + signs);
    int pad = s->width > taken ? s->width - taken : 0;
    if (!s->left && !s->zero)
        out_repeat(o, ' ', pad);
    bl__out_bytes(o, sign, signs);
    if (!s->left && s->zero)
        out_repeat(o, '0', pad);
    bl__out_bytes(o, digits + n, sizeof digits - n);
    if (s->left)
        out_repeat(o, ' ', pad);
}

static int parse_number(const char **f)
{
    int n = 0;
    for (; **f >= '0' && **f <= '9' && n < 10000; ++*f)
        n = n * 10 + (**f - '0');
    return n;
}

static void parse_length(const char **f, spec *s)
{
    for (;; ++*f) {
        if (**f == 'l')
            s->length++;
        else if (**f == 'z' || **f == 'j' || **f == 't')
            s->length = 2;
        else
            return;
    }
}

/* A va_list may be an array, so a function that takes from it and goes back needs it in a
 * struct. */
typedef struct arg_list {
    va_list v;
} arg_list;

/* NOLINTBEGIN(clang-analyzer-valist.Uninitialized): looked at by themselves, they do not show their
 * callers' va_start */
static int64_t arg_signed(arg_list *a, const spec *s)
{
    if (s->length == 0)
        return va_arg(a->v, int);
    return s->length == 1 ? va_arg(a->v, long) : va_arg(a->v, long long);
}

static uint64_t arg_unsigned(arg_list *a, const spec *s)
{
    if (s->length == 0)
        return va_arg(a->v, unsigned);
    return s->length == 1 ? va_arg(a->v, unsigned long) : va_arg(a->v, unsigned long long);
}
/* NOLINTEND(clang-analyzer-valist.Uninitialized) */

static void parse_spec(const char **f, spec *s, arg_list *a)
{
    for (;; ++*f) {
        if (**f == '-')
            s->left = true;
        else if (**f == '0')
            s->zero = true;
        else
            break;
    }
    if (**f == '*') {
        s->width = va_arg(a->v, int);
        ++*f;
    } else {
        s->width = parse_number(f);
    }
    if (**f == '.') {
        ++*f;
        if (**f == '*') {
            s->precision = va_arg(a->v, int);
            ++*f;
        } else {
            s->precision = parse_number(f);
        }
    }
    parse_length(f, s);
}

static void out_conversion(bl__out *o, char letter, const spec *s, arg_list *a)
{
    char c;
    switch (letter) {
    case 's': {
        const char *text = va_arg(a->v, const char *);
        text = s->place ? bl__source(text) : text;
        if (text == NULL)
            text = "(null)";
        out_text(o, s, text, s->precision < 0 ? strlen(text) : strnlen(text, (size_t)s->precision));
        break;
    }
    case 'c':
        c = (char)va_arg(a->v, int);
        out_text(o, s, &c, 1);
        break;
    case 'd':
    case 'i': {
        int64_t v = arg_signed(a, s);
        out_number(o, s, v < 0 ? "-" : "", v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, false);
        break;
    }
    case 'u': out_number(o, s, "", arg_unsigned(a, s), 10, false); break;
    case 'x':
    case 'X': out_number(o, s, "", arg_unsigned(a, s), 16, letter == 'X'); break;
    case 'p': out_number(o, s, "0x", (uint64_t)(uintptr_t)va_arg(a->v, void *), 16, false); break;
    default: bl__out_bytes(o, &letter, 1); break;
    }
}

void bl__out_vprintf(bl__out *o, const char *format, va_list args)
{
    arg_list a;
    va_copy(a.v, args);
    for (const char *f = format; *f != 0;) {
        const char *percent = strchr(f, '%');
        if (percent == NULL) {
            bl__out_bytes(o, f, strlen(f));
            break;
        }
        bl__out_bytes(o, f, (size_t)(percent - f));
        f = percent + 1;
        spec s = {.precision = -1};
        parse_spec(&f, &s, &a);
        if (*f == 0)
            break;
        s.place = strncmp(f, "s:%d", 4) == 0;
        out_conversion(o, *f++, &s, &a);
    }
    va_end(a.v);
}

void bl__out_printf(bl__out *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bl__out_vprintf(o, format, args);
    va_end(args);
}

void bl__out_quoted(bl__out *o, const char *s)
{
    bl__out_bytes(o, "\"", 1);
    for (; *s != 0; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            bl__out_printf(o, "\\%c", c);
        else if (c == '\n')
            bl__out_bytes(o, "\\n", 2);
        else if (c == '\t')
            bl__out_bytes(o, "\\t", 2);
        else if (c < ' ' || c == 127)
            bl__out_printf(o, "\\x%02x", c);
        else
            bl__out_bytes(o, s, 1);
    }
    bl__out_bytes(o, "\"", 1);
}

void bl__out_size(bl__out *o, size_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    unsigned unit = 0;
    while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    bl__out_printf(o, "%zu %s", bytes, units[unit]);
}
