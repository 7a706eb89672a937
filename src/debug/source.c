/* SPDX-License-Identifier: MIT */
/*
 * source.c: see source.h.
 *
 * Frames have whole paths; __FILE__, and so what bl_go and its like note, is as on the compiler's
 * command line, and relative to a folder that is noted nowhere; with DWARF 5, which libbacktrace
 * reads by half, so are some frames'. An editor opens the first only. So a relative name is that of
 * the only file that was met with its whole path and ends in it, or of one that is found from the
 * folder of such a file, of the process or its program, or from one above.
 */
#include "debug/source.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "core/atomic.h"
#include "debug/symbol.h"

enum { SOURCE_FILES = 64, SOURCE_NAMES = 64, SOURCE_NAME = 256, SOURCE_PATH = 512 };

typedef struct source_name {
    char as[SOURCE_NAME];
    char is[SOURCE_PATH];
} source_name;

static struct {
    uint32_t lock;                     /* of all: who does not get it prints the name as it is */
    uint32_t files_count, names_count; /* so far; the last ones are kept */
    bool asked;                        /* for the three that follow */
    int (*program)(void *arg);         /* atomic */
    char cwd[SOURCE_PATH], exe[SOURCE_PATH];
    const char *files[SOURCE_FILES]; /* the debug information's strings, which stay */
    source_name names[SOURCE_NAMES];
} source;

void bl__source_program(int (*fn)(void *arg)) { store_relaxed(&source.program, fn); }

/* Under the lock. What names were taken for may be another now. */
static void file_note(const char *file)
{
    for (uint32_t i = 0; i < source.files_count && i < SOURCE_FILES; i++)
        if (source.files[i] == file || strcmp(source.files[i], file) == 0)
            return;
    source.files[source.files_count++ % SOURCE_FILES] = file;
    source.names_count = 0;
}

static bool program_note(const bl__symbol *s, void *arg)
{
    (void)arg;
    if (s->file != NULL && s->file[0] == '/')
        file_note(s->file);
    return false;
}

static bool source_lock(void)
{
    uint32_t no = 0;
    return cas_acquire(&source.lock, &no, 1u); /* ORD(source) */
}

static void source_unlock(void) { store_release(&source.lock, 0u); /* ORD(source) */ }

void bl__source_met(const char *file)
{
    if (file[0] == '/' && source_lock()) {
        file_note(file);
        source_unlock();
    }
}

static bool ends_in(const char *file, const char *name)
{
    size_t n = strlen(file), tail = strlen(name);
    return n > tail && file[n - tail - 1] == '/' && strcmp(file + n - tail, name) == 0;
}

/* Without "/./". */
static void path_copy(char *to, const char *from)
{
    size_t n = 0;
    for (; *from != 0 && n + 1 < SOURCE_PATH; from++)
        if (n > 0 && to[n - 1] == '/' && from[0] == '.' && from[1] == '/')
            from++;
        else
            to[n++] = *from;
    to[n] = 0;
}

static bool path_join(char *to, const char *folder, size_t n, const char *name)
{
    size_t more = strlen(name) + 1;
    if (n + more > SOURCE_PATH)
        return false;
    memcpy(to, folder, n);
    memcpy(to + n, name, more);
    return true;
}

/* False: there is none, or more than one. */
static bool name_find(char *to, const char *name)
{
    uint32_t n = source.files_count < SOURCE_FILES ? source.files_count : (uint32_t)SOURCE_FILES;
    char other[SOURCE_PATH] = "";
    bool found = false;
    for (uint32_t i = 0; i < n; i++) {
        if (!ends_in(source.files[i], name))
            continue;
        path_copy(found ? other : to, source.files[i]);
        if (found && strcmp(to, other) != 0)
            return false;
        found = true;
    }
    if (found)
        return true;
    for (uint32_t i = 0; i < n; i++)
        for (size_t k = strlen(source.files[i]); k > 0; k--)
            if (source.files[i][k - 1] == '/' && path_join(to, source.files[i], k, name) &&
                access(to, F_OK) == 0)
                return true;
    return false;
}

static void source_ask(void)
{
    source.asked = true;
    if (load_relaxed(&source.program) != NULL)
        bl__symbol_each((uintptr_t)load_relaxed(&source.program), program_note, NULL);
    if (getcwd(source.cwd, sizeof source.cwd - 1) != NULL) {
        strcat(source.cwd, "/");
        file_note(source.cwd);
    }
    if (readlink("/proc/self/exe", source.exe, sizeof source.exe - 1) > 0)
        file_note(source.exe);
}

/* Under the lock. */
static const char *source_look(const char *file)
{
    for (uint32_t i = 0; i < source.names_count && i < SOURCE_NAMES; i++)
        if (strcmp(source.names[i].as, file) == 0)
            return source.names[i].is;
    if (!source.asked)
        source_ask();
    source_name *to = &source.names[source.names_count % SOURCE_NAMES];
    const char *name = strncmp(file, "./", 2) == 0 ? file + 2 : file;
    if (file[0] == '/')
        path_copy(to->is, file);
    else if (!name_find(to->is, name))
        return name;
    memcpy(to->as, file, strlen(file) + 1);
    source.names_count++;
    return to->is;
}

const char *bl__source(const char *file)
{
    if (file == NULL || file[0] == 0 || (file[0] == '/' && strstr(file, "/./") == NULL) ||
        strlen(file) >= SOURCE_NAME || !source_lock())
        return file;
    const char *is = source_look(file);
    source_unlock();
    return is;
}
