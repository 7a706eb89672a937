/* SPDX-License-Identifier: MIT */
/*
 * directive.c: lines like "//belay:libs sqlite3" in a source file, so that 'belay run kv.c' is all
 * that it takes, with no configuration file beside the program.
 *
 * A directive begins its line, as Go's do; the words behind it are split as a shell would. Nothing
 * is preprocessed, so one inside of an #if counts all the same. Sources, and the directories behind -I, are
 * looked for from the file's own directory, wherever belay is called. The file is the user's own, and its
 * flags are no more than what the compiler could be told in CFLAGS and LDLIBS.
 */
#include "directive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char prefix[] = "//belay:";
static const char *const directive_names[] = {"cflags", "libs", "sources", NULL};

/* A path that the file names, as seen from here. */
static const char *path_from(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    int folder = slash && path[0] != '/' ? (int)(slash - file) + 1 : 0;
    return text_format("%.*s%s", folder, file, path);
}

static void cflags_add(words *cflags, const char *file, const words *given)
{
    for (size_t i = 0; i < given->len; i++) {
        const char *word = given->at[i];
        bool directory = strncmp(word, "-I", 2) == 0;
        if (directory && word[2])
            word = text_format("-I%s", path_from(file, word + 2));
        words_add(cflags, word);
        if (directory && !word[2] && i + 1 < given->len)
            words_add(cflags, path_from(file, given->at[++i]));
    }
}

static int directive_add(directives *d, const char *file, int line, const char *name,
                         const char *text)
{
    words given = {0};
    if (!words_add_split(&given, text)) {
        complain("%s:%d: a quote is not closed in %s%s", file, line, prefix, name);
        return EXIT_USAGE;
    }
    if (strcmp(name, "cflags") == 0)
        cflags_add(&d->cflags, file, &given);
    bool libs = strcmp(name, "libs") == 0;
    for (size_t i = 0; libs && i < given.len; i++)
        words_add(&d->libs, given.at[i][0] == '-' ? given.at[i] : text_format("-l%s", given.at[i]));
    for (size_t i = 0; strcmp(name, "sources") == 0 && i < given.len; i++)
        words_add(&d->sources, path_from(file, given.at[i]));
    return 0;
}

/* One line that begins with the prefix, and its end of line cut off. */
static int directive_read(directives *d, const char *file, int line, char *text)
{
    char *name = text + strlen(prefix);
    size_t len = strcspn(name, " \t");
    char *rest = name + len + (name[len] != '\0');
    name[len] = '\0';
    for (const char *const *n = directive_names; *n; n++)
        if (strcmp(name, *n) == 0)
            return directive_add(d, file, line, name, rest);
    const char *nearest = text_nearest(name, directive_names);
    complain("%s:%d: unknown directive %s%s; there are cflags, libs and sources%s%s%s", file, line,
             prefix, name, nearest ? ": did you mean " : "", nearest ? nearest : "",
             nearest ? "?" : "");
    return EXIT_USAGE;
}

int directives_read(directives *d, const char *file)
{
    if (!text_ends_with(file, ".c"))
        return 0;
    struct stat st;
    if (stat(file, &st) == 0 && !S_ISREG(st.st_mode)) { /* it could be read once, or never */
        complain("%s: is not a regular file", file);
        return EXIT_USAGE;
    }
    FILE *in = fopen(file, "re");
    if (!in) {
        complain("%s: %s", file, strerror(errno));
        return EXIT_USAGE;
    }
    char *text = NULL;
    size_t size = 0;
    int err = 0;
    for (int line = 1; err == 0 && getline(&text, &size, in) >= 0; line++) {
        if (strncmp(text, prefix, strlen(prefix)) != 0)
            continue;
        text[strcspn(text, "\r\n")] = '\0';
        err = directive_read(d, file, line, text);
    }
    free(text);
    fclose(in);
    return err;
}
