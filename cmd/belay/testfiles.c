/* SPDX-License-Identifier: MIT */
/*
 * testfiles.c: the test files there are, and the programs made of them. A program is kept under the checksum of what it is
 * made of: the command line, the preprocessed sources and the library; so nothing is built twice. Those that nobody has
 * asked for in five days are removed.
 */
#include "test.h"

#include "build.h"
#include "directive.h"
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEEP_DAYS = 5 };

/* ---- Finding ---- */

static void file_add(test_files *files, const char *dir, const char *path)
{
    files->at = realloc(files->at, (files->len + 1) * sizeof *files->at);
    if (!files->at) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    files->at[files->len++] = (test_file){.dir = dir, .path = path};
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Not a link to one: those are not gone into, or it would have no end. */
static bool is_dir(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The directory's own, and with below those of the directories in it. */
static int dir_add(test_files *files, const char *dir, bool below)
{
    DIR *d = opendir(dir);
    if (!d) {
        complain("%s: %s", dir, strerror(errno));
        return EXIT_USAGE;
    }
    words names = {0};
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && e->d_name[0] != '_')
            words_add(&names, e->d_name);
    closedir(d);
    if (names.len > 0)
        qsort(names.at, names.len, sizeof *names.at, name_order);
    size_t before = files->len;
    for (size_t i = 0; i < names.len; i++) {
        const char *path = text_format("%s/%s", dir, names.at[i]);
        if (text_ends_with(names.at[i], "_test.c") && !is_dir(path))
            file_add(files, dir, path);
    }
    if (files->len == before && !below)
        file_add(files, dir, NULL);
    for (size_t i = 0; below && i < names.len; i++) {
        const char *path = text_format("%s/%s", dir, names.at[i]);
        if (strcmp(names.at[i], "testdata") != 0 && is_dir(path)) {
            int err = dir_add(files, path, true);
            if (err)
                return err;
        }
    }
    return 0;
}

int test_files_find(test_files *files, const words *places)
{
    for (size_t i = 0; i < places->len; i++) {
        const char *place = places->at[i];
        struct stat st;
        bool below = text_ends_with(place, "/...") || strcmp(place, "...") == 0;
        const char *dir = text_format("%.*s", (int)(strlen(place) - (below ? 3 : 0)), place);
        size_t len = strlen(dir);
        while (len > 1 && dir[len - 1] == '/')
            len--;
        dir = len > 0 ? text_format("%.*s", (int)len, dir) : ".";
        if (stat(*place ? dir : place, &st) < 0) {
            complain("%s: %s", *place ? dir : text_shown(place), strerror(errno));
            return EXIT_USAGE;
        }
        int err = 0;
        if (S_ISDIR(st.st_mode)) {
            err = dir_add(files, dir, below);
        } else if (text_ends_with(dir, ".c")) {
            const char *slash = strrchr(dir, '/');
            file_add(files, slash ? text_format("%.*s", (int)(slash - dir), dir) : ".", dir);
        } else {
            complain("%s: neither a directory nor a .c file", dir);
            err = EXIT_USAGE;
        }
        if (err)
            return err;
    }
    return 0;
}

/* ---- The cache ---- */

static const char *cache_dir(void)
{
    const char *own = getenv("BELAY_CACHE");
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    const char *dir = own && *own   ? own
                      : xdg && *xdg ? text_format("%s/belay", xdg)
                      : home && *home
                          ? text_format("%s/.cache/belay", home)
                          : temporary_path(text_format("belay-cache-%d", (int)getuid()));
    bool in_tmp = !(own && *own) && !(xdg && *xdg) && !(home && *home);
    char *path = text_format("%s/", dir);
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        (void)mkdir(path, in_tmp ? 0700 : 0777);
        *at = '/';
    }
    struct stat st;
    if (in_tmp && lstat(dir, &st) == 0 &&
        (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 0022) != 0)) {
        complain("%s: others can write to it; BELAY_CACHE names another place", dir);
        return NULL;
    }
    if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && access(dir, W_OK) == 0) {
        char real[4096];
        return realpath(dir, real) ? text_format("%s", real) : dir;
    }
    complain("%s: cannot be written; BELAY_CACHE names another place", dir);
    return NULL;
}

static void cache_trim(const char *dir)
{
    DIR *d = opendir(dir);
    time_t oldest = time(NULL) - KEEP_DAYS * 24L * 3600;
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if ((text_ends_with(e->d_name, ".test") || text_ends_with(e->d_name, ".gcno")) &&
            fstatat(dirfd(d), e->d_name, &st, 0) == 0 && st.st_mtime < oldest)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
}

static uint64_t hash(uint64_t h, const void *data, size_t n)
{
    const unsigned char *at = data; /* FNV-1a: Fowler, Noll, Vo */
    for (size_t i = 0; i < n; i++)
        h = (h ^ at[i]) * 0x100000001b3u;
    return h;
}

static void hash_take(void *h, const char *text, size_t n)
{
    *(uint64_t *)h = hash(*(uint64_t *)h, text, n);
}

/* The checksum of what the command makes its program of; false: it cannot be known. */
static bool command_hash(uint64_t *h, const words *command)
{
    words preprocess = {0};
    *h = 0xcbf29ce484222325u;
    for (size_t i = 0; i + 2 < command->len; i++) { /* without -o and its value */
        const char *word = command->at[i];
        struct stat st;
        *h = hash(*h, word, strlen(word) + 1);
        if ((text_ends_with(word, ".a") || text_ends_with(word, ".o")) && stat(word, &st) == 0) {
            *h = hash(*h, &st.st_mtim, sizeof st.st_mtim);
            *h = hash(*h, &st.st_size, sizeof st.st_size);
        } else {
            words_add(&preprocess, word);
        }
    }
    words_add(&preprocess, "-E");
    return process_read(&preprocess, true, hash_take, h);
}

const char *test_files_fuzz_dir(const test_file *file)
{
    const char *cache = cache_dir();
    char real[4096];
    const char *path = realpath(file->path, real) ? real : file->path;
    if (!cache)
        return NULL;
    const char *dir = text_format("%s/fuzz", cache);
    (void)mkdir(dir, 0777);
    return text_format("%s/%016llx", dir,
                       (unsigned long long)hash(0xcbf29ce484222325u, path, strlen(path)));
}

/* ---- Building ---- */

static const char *main_source(const char *cache)
{
    const char *text = test_main_text;
    const char *path = text_format("%s/main.c", cache);
    struct stat st;
    if (stat(path, &st) == 0 && st.st_size == (off_t)strlen(text))
        return path;
    const char *fresh = text_format("%s.%d", path, (int)getpid());
    FILE *out = fopen(fresh, "we");
    if (out && fputs(text, out) >= 0 && fclose(out) == 0 && rename(fresh, path) == 0)
        return path;
    complain("%s: %s", path, strerror(errno));
    return NULL;
}

/* Builds one file; in a process of its own. The program's path goes to out. */
static int file_build(const test_file *file, const test_flags *f, const char *cache, FILE *out)
{
    flags build = f->build;
    build.files = (words){0};
    words_add(&build.files, file->path);
    build.last = main_source(cache);
    if (!build.last)
        return EXIT_FAILED;
    words command = {0};
    int err = build_command(&command, &build, text_format("%s/none", cache));
    if (err)
        return err;
    uint64_t key;
    bool known = command_hash(&key, &command);
    const char *name = build_name(&build);
    const char *program =
        known ? text_format("%s/%016llx-%s.test", cache, (unsigned long long)key, name)
              : text_format("%s/%d-%s.test", cache, (int)getpid(), name);
    bool built = known && access(program, X_OK) == 0;
    if (!built || (build.cover && !test_cover_built(program))) {
        const char *fresh = text_format("%s.%d", program, (int)getpid());
        command.at[command.len - 1] = text_format("%s", fresh);
        if (build.cover && (err = test_cover_flags(&command, program)) != 0)
            return err;
        err = build_run(&command, &build);
        if (err == 0 && rename(fresh, program) < 0) {
            complain("%s: %s", program, strerror(errno));
            err = EXIT_FAILED;
        }
        if (err && !process_interrupted()) {
            fputs("the command was: ", stderr);
            words_print(&command);
        }
        if (err)
            return err;
    }
    (void)utimensat(AT_FDCWD, program, NULL, 0);
    fputs(program, out);
    return fflush(out) == 0 ? 0 : EXIT_FAILED;
}

typedef struct building {
    pid_t pid;
    FILE *program; /* its path */
    FILE *said;    /* the compiler's words */
} building;

static void building_start(building *b, const test_file *file, const test_flags *f,
                           const char *cache)
{
    b->program = tmpfile();
    b->said = tmpfile();
    if (!b->program || !b->said) {
        complain("no temporary file: %s", strerror(errno));
        exit(EXIT_FAILED);
    }
    fflush(NULL);
    b->pid = fork();
    if (b->pid == 0) {
        dup2(fileno(b->said), STDERR_FILENO);
        _exit(file_build(file, f, cache, b->program));
    }
}

static void building_end(building *b, test_file *file)
{
    static char text[65536];
    int status = -1;
    while (b->pid > 0 && waitpid(b->pid, &status, 0) < 0 && errno == EINTR)
        ;
    rewind(b->said);
    for (size_t n; (n = fread(text, 1, sizeof text, b->said)) > 0;)
        fwrite(text, 1, n, stderr);
    rewind(b->program);
    size_t n = fread(text, 1, sizeof text - 1, b->program);
    text[n] = '\0';
    file->program = status == 0 && n > 0 ? text_format("%s", text) : NULL;
    fclose(b->said);
    fclose(b->program);
}

int test_files_build(test_files *files, const test_flags *f)
{
    const char *cache = cache_dir();
    if (!cache)
        return EXIT_FAILED;
    cache_trim(cache);
    if (f->build.cover) {
        int unfit = test_cover_find(f);
        if (unfit)
            return unfit;
    }
    words nothing = {0}; /* makes the library, once and not by several at a time */
    flags probe = f->build;
    for (size_t i = 0; i < files->len && probe.files.len == 0; i++)
        if (files->at[i].path)
            words_add(&probe.files, files->at[i].path);
    int err =
        probe.files.len > 0 ? build_command(&nothing, &probe, text_format("%s/none", cache)) : 0;
    if (err)
        return err;
    size_t most = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    building *all = calloc(files->len + 1, sizeof *all);
    if (!all) {
        complain("out of memory");
        return EXIT_FAILED;
    }
    size_t ended = 0;
    for (size_t i = 0; i < files->len && !process_interrupted(); i++) {
        for (; i >= ended + most; ended++)
            if (files->at[ended].path)
                building_end(&all[ended], &files->at[ended]);
        if (files->at[i].path)
            building_start(&all[i], &files->at[i], f, cache);
    }
    for (; ended < files->len; ended++)
        if (files->at[ended].path && all[ended].program)
            building_end(&all[ended], &files->at[ended]);
    free(all);
    return 0;
}

/* ---- Keeping: -o and -c ---- */

static int file_copy(const char *from, const char *to)
{
    static char text[65536];
    struct stat st;
    bool device = stat(to, &st) == 0 && !S_ISREG(st.st_mode); /* /dev/null: stays what it is */
    if (!device)
        (void)unlink(to); /* one that runs cannot be written */
    FILE *in = fopen(from, "re");
    FILE *out = in ? fopen(to, "we") : NULL;
    bool ok = out != NULL;
    for (size_t n; ok && (n = fread(text, 1, sizeof text, in)) > 0;)
        ok = fwrite(text, 1, n, out) == n;
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        ok = false;
    if (ok && (device || chmod(to, 0755) == 0))
        return 0;
    complain("%s: %s", to, strerror(errno));
    return EXIT_FAILED;
}

int test_files_keep(const test_files *files, const test_flags *f)
{
    size_t programs = 0;
    int err = 0;
    struct stat st;
    const char *to = f->build.out ? f->build.out : ".";
    bool dir = stat(to, &st) == 0 ? S_ISDIR(st.st_mode) : text_ends_with(to, "/");
    for (size_t i = 0; i < files->len; i++)
        programs += files->at[i].path != NULL;
    if (programs > 1 && !dir) {
        complain("-o %s: %zu test programs need a directory", to, programs);
        return EXIT_USAGE;
    }
    if (dir && mkdir(to, 0777) != 0 && errno != EEXIST) {
        complain("%s: %s", to, strerror(errno));
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < files->len; i++) {
        const test_file *file = &files->at[i];
        flags one = {0};
        if (!file->program) {
            err = file->path ? EXIT_FAILED : err;
            continue;
        }
        words_add(&one.files, file->path);
        int r =
            file_copy(file->program, dir ? text_format("%s/%s.test", to, build_name(&one)) : to);
        err = r ? r : err;
    }
    return err;
}
