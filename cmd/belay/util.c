/* SPDX-License-Identifier: MIT */
#include "util.h"

#include "core/variables.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The command is over in a moment, so what it allocates stays until then, and reachable. */
struct kept {
    struct kept *next;
    max_align_t data[];
};
static struct kept *kept;

static void *keep(size_t size)
{
    struct kept *k = malloc(sizeof *k + size);
    if (!k) {
        fputs("belay: out of memory\n", stderr);
        exit(EXIT_FAILED);
    }
    k->next = kept;
    kept = k;
    return k->data;
}

static void words_add_kept(words *w, char *word)
{
    if (w->len + 2 > w->cap) {
        char **at = keep((2 * w->cap + 16) * sizeof *at);
        if (w->len > 0)
            memcpy(at, w->at, w->len * sizeof *at);
        w->at = at;
        w->cap = 2 * w->cap + 16;
    }
    w->at[w->len++] = word;
    w->at[w->len] = NULL;
}

void words_add(words *w, const char *word) { words_add_kept(w, text_format("%s", word)); }

/* Copies one word of text to out, without its quoting; where it ends, or NULL at an open quote. */
static const char *split_one(const char *text, char *out)
{
    char quote = 0;
    for (; *text && (quote || !strchr(" \t\n", *text)); text++) {
        if (*text == quote) {
            quote = 0;
        } else if (!quote && (*text == '\'' || *text == '"')) {
            quote = *text;
        } else if (*text == '\\' && quote != '\'') {
            if (!*++text)
                return NULL;
            /* Between "…" a backslash stands for itself unless it hides something special. */
            if (quote && !strchr("\\\"$`", *text))
                *out++ = '\\';
            *out++ = *text;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
    return quote ? NULL : text;
}

bool words_add_split(words *w, const char *text)
{
    while (text) {
        text += strspn(text, " \t\n");
        if (!*text)
            break;
        char *word = keep(strlen(text) + 1);
        text = split_one(text, word);
        if (!text)
            return false;
        words_add_kept(w, word);
    }
    return true;
}

void words_print(const words *w)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-+=./,:@%";
    for (size_t i = 0; i < w->len; i++) {
        const char *word = w->at[i];
        if (i > 0)
            fputc(' ', stderr);
        if (*word && word[strspn(word, plain)] == '\0') {
            fputs(word, stderr);
            continue;
        }
        fputc('\'', stderr);
        for (; *word; word++)
            *word == '\'' ? fputs("'\\''", stderr) : fputc(*word, stderr);
        fputc('\'', stderr);
    }
    fputc('\n', stderr);
}

char *text_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = keep((size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

char *text_own(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    return text;
}

static const char *temporary_folder(void)
{
    const char *set = getenv("TMPDIR");
    return set != NULL && *set != '\0' ? set : NULL;
}

char *temporary_path(const char *name)
{
    const char *folder = temporary_folder();
    return text_format("%s/%s", folder != NULL ? folder : "/tmp", name);
}

void temporary_complain(void)
{
    const char *folder = temporary_folder(), *why = strerror(errno);
    if (folder != NULL)
        complain("TMPDIR is %s: %s; set it to a directory that can be written to, or unset it",
                 folder, why);
    else
        complain("/tmp: %s; set TMPDIR to a directory that can be written to", why);
}

bool text_ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

const char *environment_or(const char *name, const char *otherwise)
{
    const char *text = getenv(name);
    return text && text[strspn(text, " \t\n")] ? text : otherwise;
}

const char *text_shown(const char *word) { return *word ? word : "''"; }

bool path_same(const char *a, const char *b)
{
    struct stat sa;
    struct stat sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

const char *text_nearest(const char *word, const char *const *names)
{
    const char *nearest = NULL;
    size_t least = 3; /* more edits than two are another word */
    for (; *names; names++) {
        size_t distance = bl__edits(word, *names);
        if (distance < least && distance < strlen(*names)) {
            least = distance;
            nearest = *names;
        }
    }
    return nearest;
}

void complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("belay: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}
