/* SPDX-License-Identifier: MIT */
/*
 * say.c: what the worker prints, and tells the supervisor. The layout is that of go test; with
 * -v=test2json each line that is no output of a test begins with a ^V, as test2json wants it. One
 * that a test logs has an ESC behind it, so that it does not begin such a line; the command takes
 * that away.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/lock.h"
#include "test/watched.h"

int bl__test_events = -1;
int bl__test_out = STDOUT_FILENO;

static struct {
    uint32_t lock;
    char last[256]; /* the test that stdout was last about */
} saying;

static void all_write(int fd, const char *at, size_t n)
{
    while (n > 0) {
        ssize_t did = write(fd, at, n);
        if (did < 0 && errno == EINTR)
            continue;
        if (did <= 0)
            return; /* nobody listens any more */
        at += did;
        n -= (size_t)did;
    }
}

void bl__test_tell(char kind, const bl_test *t, int64_t value, const char *text, size_t len)
{
    if (bl__test_events < 0)
        return; /* nobody listens */
    bl__event e = {.kind = kind,
                   .item = t != NULL ? t->item : -1,
                   .value = value,
                   .name = t != NULL ? (uint32_t)strlen(t->name) : 0,
                   .text = (uint32_t)len};
    bl__text b = {0};
    bl__text_put(&b, (const char *)&e, sizeof e);
    bl__text_put(&b, t != NULL ? t->name : "", e.name);
    bl__text_put(&b, text, len);
    if (!bl__test_forked()) {
        bl__lock(&saying.lock, BL__RANK_TEST);
        all_write(bl__test_events, b.at, b.len);
        bl__unlock(&saying.lock);
    } else if (b.len <=
               PIPE_BUF) { /* in one piece, without the lock, which somebody may have held */
        all_write(bl__test_events, b.at, b.len);
    }
    bl__text_free(&b);
}

/* name: the test that it is about; NULL: the one that stdout was about before. */
static void say(const char *name, const char *text, size_t len)
{
    fflush(stdout);
    bl__lock(&saying.lock, BL__RANK_TEST);
    if (name != NULL)
        snprintf(saying.last, sizeof saying.last, "%s", name);
    all_write(bl__test_out, text, len);
    bl__unlock(&saying.lock);
}

void bl__test_print(const char *text, size_t len) { say(NULL, text, len); }

void bl__test_mark(const char *what, const char *name)
{
    if (!bl__tests.verbose)
        return;
    bl__text b = {0};
    bl__text_printf(&b, "%s=== %-5s %s\n", bl__tests.json ? "\x16" : "", what, name);
    say(name, b.at, b.len);
    bl__text_free(&b);
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash != NULL ? slash + 1 : file;
}

/* A worker that died has printed it: this is that test once more, as far as it says the same. */
static bool logged_before(const bl_test *t, const bl__text *b)
{
    bl__watched *w = bl__watched_find(t->item, t->name);
    if (w == NULL)
        return false;
    bl__lock(&saying.lock, BL__RANK_TEST);
    bool same =
        w->before.len - w->again >= b->len && memcmp(w->before.at + w->again, b->at, b->len) == 0;
    w->again = same ? w->again + b->len : w->before.len;
    bl__unlock(&saying.lock);
    return same;
}

void bl__test_log_text(bl_test *t, const char *file, int line, const char *text, size_t len)
{
    bl__text b = {0};
    t = bl__test_given(t);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    bl__text_put(&b, "    ", 4);
    if (file != NULL)
        bl__text_printf(&b, "%s:%d: ", base_name(file), line);
    for (size_t i = 0; i < len; i++) {
        bl__text_put(&b, text + i, 1);
        if (text[i] == '\x16' && bl__tests.json)
            bl__text_put(&b, "\x1b", 1);
        if (text[i] == '\n' && i + 1 < len && text[i + 1] != '\n')
            bl__text_put(&b, "        ", 8);
    }
    bl__text_put(&b, "\n", 1);
    bl__test_tell('O', t, 0, b.at, b.len);
    if (bl__tests.verbose && logged_before(t, &b)) {
        bl__text_free(&b);
        return;
    }
    if (bl__test_forked()) {
        all_write(STDERR_FILENO, b.at, b.len);
    } else if (!bl__tests.verbose) {
        bl__lock(&t->lock, BL__RANK_TEST);
        bl__text_put(&t->out, b.at, b.len);
        bl__unlock(&t->lock);
    } else {
        bl__text whole = {0};
        fflush(stdout);
        bl__lock(&saying.lock, BL__RANK_TEST);
        if (strcmp(saying.last, t->name) != 0)
            bl__text_printf(&whole, "%s=== NAME  %s\n", bl__tests.json ? "\x16" : "", t->name);
        snprintf(saying.last, sizeof saying.last, "%s", t->name);
        bl__text_put(&whole, b.at, b.len);
        all_write(bl__test_out, whole.at, whole.len);
        bl__unlock(&saying.lock);
        bl__text_free(&whole);
    }
    bl__text_free(&b);
}

void bl__test_report(bl_test *t)
{
    bool failed = load_relaxed(&t->failed) != 0;
    bool silent = !failed && load_relaxed(&t->warned) == 0 && !bl__tests.verbose;
    if (silent || bl__test_stopped())
        return;
    const char *result = failed ? "FAIL" : load_relaxed(&t->skipped) ? "SKIP" : "PASS";
    bl__text b = {0};
    bl__text_printf(&b, "%s--- %s: %s (%.2fs)\n", bl__tests.json ? "\x16" : "", result, t->name,
                    (double)t->before / (double)BL_SEC);
    bl__text_put(&b, t->out.at, t->out.len);
    if (t->parent->parent == NULL || bl__tests.json)
        say(t->name, b.at, b.len);
    else
        bl__test_report_to(t->parent, &b);
    bl__text_free(&b);
}

void bl__test_report_to(bl_test *parent, const bl__text *b)
{
    bl__lock(&parent->lock, BL__RANK_TEST);
    bl__text_indent(&parent->out, b->at, b->len, 4);
    bl__unlock(&parent->lock);
}
