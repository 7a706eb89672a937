/* SPDX-License-Identifier: MIT */
/*
 * testcover.c: -cover: how much of the code under test has run. gcc counts (--coverage); each run of a test program leaves
 * its counts in a directory of its own (GCOV_PREFIX), beside links to what the compiler noted; and gcov prints both
 * as source lines with counts, which are added up here.
 *
 * The code under test is what a program is made of but for the test file, the main of the runner, belay's headers and the
 * system's. A statement is a line with code on it.
 */
#include "test.h"

#include "library.h"
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The lines of a source: 0 has no code; else how often it has run, and 1. */
typedef struct source {
    char *path;
    uint64_t *lines;
    size_t len;
} source;

typedef struct sources {
    source *at;
    size_t len;
} sources;

static struct {
    const char *gcov;
    const char *headers; /* belay's */
    sources dir, all;    /* of the directory whose programs run; of all */
} cover;

/* ---- Counts ---- */

static void *grown(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    return p;
}

static source *source_get(sources *s, const char *path)
{
    for (size_t i = 0; i < s->len; i++)
        if (strcmp(s->at[i].path, path) == 0)
            return &s->at[i];
    s->at = grown(s->at, (s->len + 1) * sizeof *s->at);
    s->at[s->len] = (source){.path = text_own("%s", path)};
    return &s->at[s->len++];
}

static void line_add(sources *s, const char *path, size_t line, uint64_t count)
{
    source *of = source_get(s, path);
    if (line >= of->len) {
        size_t len = line + line / 2 + 16;
        of->lines = grown(of->lines, len * sizeof *of->lines);
        memset(of->lines + of->len, 0, (len - of->len) * sizeof *of->lines);
        of->len = len;
    }
    of->lines[line] += count + (of->lines[line] == 0);
}

static void lines_sum(const source *of, size_t *run, size_t *code)
{
    for (size_t i = 0; i < of->len; i++) {
        *run += of->lines[i] > 1;
        *code += of->lines[i] > 0;
    }
}

static void sources_drop(sources *s)
{
    for (size_t i = 0; i < s->len; i++) {
        free(s->at[i].path);
        free(s->at[i].lines);
    }
    free(s->at);
    *s = (sources){0};
}

/* ---- What the compiler notes ---- */

static char *notes_prefix(const char *program)
{
    return text_format("%.*s.cover-", (int)(strlen(program) - strlen(".test")), program);
}

/* Their names, in the directory of the program. */
static words notes_of(const char *program)
{
    words names = {0};
    const char *prefix = notes_prefix(program);
    const char *name = strrchr(prefix, '/') + 1;
    DIR *d = opendir(text_format("%.*s", (int)(name - prefix), prefix));
    for (struct dirent *e; d && (e = readdir(d));)
        if (strncmp(e->d_name, name, strlen(name)) == 0 && text_ends_with(e->d_name, ".gcno"))
            words_add(&names, e->d_name);
    if (d)
        closedir(d);
    return names;
}

bool test_cover_built(const char *program)
{
    words names = notes_of(program);
    const char *slash = strrchr(program, '/');
    for (size_t i = 0; i < names.len; i++) /* in use: what is old is removed */
        (void)utimensat(AT_FDCWD,
                        text_format("%.*s/%s", (int)(slash - program), program, names.at[i]), NULL,
                        0);
    return names.len > 0;
}

int test_cover_flags(words *command, const char *program)
{
    words names = {0};
    for (size_t i = 0; i < command->len; i++) {
        if (!text_ends_with(command->at[i], ".c"))
            continue;
        const char *slash = strrchr(command->at[i], '/');
        words_add(&names, slash ? slash + 1 : command->at[i]);
        for (size_t k = 0; k + 1 < names.len; k++) {
            if (strcmp(names.at[k], names.at[names.len - 1]) == 0) {
                complain("-cover: a program of two files that are called %s cannot be counted",
                         names.at[k]);
                return EXIT_USAGE;
            }
        }
    }
    /* The same notes each time: those that there are fit the program, whoever built it. */
    words_add(command, text_format("-frandom-seed=%s", program));
    words_add(command, "-dumpdir");
    words_add(command, notes_prefix(program));
    return 0;
}

/* ---- gcov ---- */

int test_cover_find(const test_flags *f)
{
    static char line[256];
    words compiler = {0}, ask = {0};
    const char *cc = environment_or("CC", "cc");
    words_add_split(&compiler, cc);
    words_add_split(&ask, cc);
    words_add(&compiler, "--version");
    words_add(&ask, "-dumpversion");
    if (!process_line(&compiler, line, sizeof line) || strstr(line, "clang") ||
        !process_line(&ask, line, sizeof line)) {
        complain("-cover needs gcc; the compiler is %s, and CC names another", compiler.at[0]);
        return EXIT_FAILED;
    }
    cover.gcov = text_format("gcov-%d", atoi(line));
    if (!process_found(cover.gcov))
        cover.gcov = "gcov";
    if (!process_found(cover.gcov)) {
        complain("-cover needs gcov, which is not there (Debian: gcc)");
        return EXIT_FAILED;
    }
    library lib = {0};
    int err = library_find(&lib, f->build.mode);
    cover.headers = lib.include;
    return err;
}

/* The source's own path, or NULL: it is not under test. */
static const char *source_path(const char *given, const test_file *file)
{
    static char real[4096];
    const char *path = realpath(given, real) ? real : given;
    const char *slash = strrchr(file->program, '/');
    size_t headers = strlen(cover.headers);
    bool ours =
        strncmp(path, cover.headers, headers) == 0 &&
        (strncmp(path + headers, "/belay/", 7) == 0 || strcmp(path + headers, "/belay.h") == 0);
    bool main_c =
        strcmp(path, text_format("%.*s/main.c", (int)(slash - file->program), file->program)) == 0;
    bool system = strncmp(path, "/usr/include/", 13) == 0 || strncmp(path, "/usr/lib/", 9) == 0;
    return ours || main_c || system || path_same(path, file->path) ? NULL : path;
}

/* "        3:   12:code", "    #####:   13:code", "        -:    0:Source:queue.c" */
static void counts_read(FILE *in, const test_file *file)
{
    char *text = NULL;
    size_t size = 0;
    char *path = NULL;
    while (getline(&text, &size, in) >= 0) {
        text[strcspn(text, "\n")] = '\0';
        char *colon = strchr(text, ':');
        char *end = NULL;
        size_t line = colon ? strtoul(colon + 1, &end, 10) : 0;
        if (!colon || end == colon + 1 || *end != ':')
            continue;
        if (line == 0 && strncmp(end, ":Source:", 8) == 0) {
            const char *real = source_path(end + 8, file);
            free(path);
            path = real ? text_own("%s", real) : NULL;
        }
        const char *count = text + strspn(text, " ");
        if (line == 0 || !path || *count == '-')
            continue;
        uint64_t n = strtoull(count, NULL, 10); /* ##### and ===== are 0 */
        line_add(&cover.dir, path, line, n);
        line_add(&cover.all, path, line, n);
    }
    free(path);
    free(text);
}

static void text_take(void *arg, const char *text, size_t n) { fwrite(text, 1, n, arg); }

/* ---- A program's run ---- */

const char *test_cover_begin(const test_file *file)
{
    char *dir = temporary_path("belay-cover-XXXXXX");
    char real[4096];
    if (!mkdtemp(dir) || !realpath(dir, real)) {
        temporary_complain();
        return NULL;
    }
    words names = notes_of(file->program);
    const char *slash = strrchr(file->program, '/');
    for (size_t i = 0; i < names.len; i++)
        if (symlink(
                text_format("%.*s/%s", (int)(slash - file->program), file->program, names.at[i]),
                text_format("%s/%s", real, names.at[i])) != 0)
            complain("%s/%s: %s", real, names.at[i], strerror(errno));
    return text_format("%s", real);
}

void test_cover_end(const test_file *file, const char *dir)
{
    words names = notes_of(file->program);
    words command = {0};
    FILE *text = tmpfile();
    words_add(&command, cover.gcov);
    words_add(&command, "-t");
    for (size_t i = 0; i < names.len; i++)
        words_add(&command, text_format("%s/%s", dir, names.at[i]));
    if (text && names.len > 0 && process_read(&command, true, text_take, text)) {
        rewind(text);
        counts_read(text, file);
    } else {
        complain("%s: what it has counted cannot be read by %s", file->path, cover.gcov);
    }
    if (text)
        fclose(text);
    for (size_t i = 0; i < names.len; i++) {
        const char *name = names.at[i];
        (void)unlink(text_format("%s/%s", dir, name));
        (void)unlink(text_format("%s/%.*sda", dir, (int)strlen(name) - 2, name));
    }
    (void)rmdir(dir);
}

const char *test_cover_say(void)
{
    size_t run = 0, code = 0;
    for (size_t i = 0; i < cover.dir.len; i++)
        lines_sum(&cover.dir.at[i], &run, &code);
    sources_drop(&cover.dir);
    return code == 0
               ? "coverage: [no statements]"
               : text_format("coverage: %.1f%% of statements", 100 * (double)run / (double)code);
}

/* ---- The profile ---- */

static int path_order(const void *a, const void *b)
{
    return strcmp(((const source *)a)->path, ((const source *)b)->path);
}

/* lcov's tracefile: man geninfo. */
int test_cover_profile(const char *path)
{
    FILE *out = fopen(path, "we");
    if (cover.all.len > 0)
        qsort(cover.all.at, cover.all.len, sizeof *cover.all.at, path_order);
    for (size_t i = 0; out && i < cover.all.len; i++) {
        const source *s = &cover.all.at[i];
        size_t run = 0, code = 0;
        lines_sum(s, &run, &code);
        fprintf(out, "TN:\nSF:%s\n", s->path);
        for (size_t line = 0; line < s->len; line++)
            if (s->lines[line] > 0)
                fprintf(out, "DA:%zu,%llu\n", line, (unsigned long long)s->lines[line] - 1);
        fprintf(out, "LF:%zu\nLH:%zu\nend_of_record\n", code, run);
    }
    bool ok = out && !ferror(out);
    int err = errno;
    if (out && fclose(out) != 0) {
        err = errno;
        ok = false;
    }
    if (!ok)
        complain("%s: %s", path, strerror(err));
    return ok ? 0 : EXIT_FAILED;
}
