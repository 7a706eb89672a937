/* SPDX-License-Identifier: MIT */
/*
 * library.c: the library is looked for relative to this executable, so that both an installation
 * and a build tree can be moved:
 *
 *   in a build tree (CMakeCache.txt lies beside it): libbelay.a, libbelay_asan.a, libbelay_race.a and
 *     include beside it; those for -asan and -race are built when they are first asked for
 *   installed: the places that CMake gave, as paths from the one of the executable
 */
#include "library.h"

#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The directory of this executable, or NULL. */
static char *own_directory(void)
{
    static char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len <= 0)
        return NULL;
    path[len] = '\0';
    *strrchr(path, '/') = '\0';
    return path;
}

static bool exists(const char *path) { return access(path, R_OK) == 0; }

/* The path without its links and dots, as messages and debug information should show it. */
static const char *resolved(const char *path)
{
    char real[PATH_MAX];
    return realpath(path, real) ? text_format("%s", real) : path;
}

static bool older(const char *path, const char *than)
{
    struct stat a;
    struct stat b;
    return stat(path, &a) == 0 && stat(than, &b) == 0 &&
           (a.st_mtim.tv_sec < b.st_mtim.tv_sec ||
            (a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec < b.st_mtim.tv_nsec));
}

static int make_archive(const char *tree, const char *name)
{
    complain("building the library for -%s", name);
    words command = {0};
    const char *const parts[] = {"cmake", "--build", tree, "--target",
                                 text_format("belay_%s", name)};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        words_add(&command, parts[i]);
    process_end end;
    if (process_run(&command, PROCESS_QUIET, &end) == 0 && end.status == 0 && !end.signal)
        return 0;
    complain("the library for -%s could not be built; this shows why:", name);
    words_print(&command);
    return EXIT_FAILED;
}

/* One belay at a time builds in a tree: another would link what is half there. A descriptor that holds the lock, or -1. */
static int tree_lock(const char *tree)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    int fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool told = false;
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
           !process_interrupted()) {
        if (!told)
            complain("another belay builds in %s; waiting for it", tree);
        told = true;
        nanosleep(&pause, NULL);
    }
    return fd;
}

static int find_in_tree(library *lib, mode m, const char *tree)
{
    lib->include = resolved(text_format("%s/include", tree));
    lib->archive = text_format("%s/libbelay.a", tree);
    lib->defines = text_format(BELAY_TREE_DEFINES "%s", m == MODE_RACE ? " -DBL__RACE=1" : "");
    if (m == MODE_PLAIN || m == BELAY_TREE_MODE) {
        lib->mode = BELAY_TREE_MODE;
        return 0;
    }
    if (BELAY_TREE_MODE != MODE_PLAIN) {
        complain("this belay was built with another sanitizer: use the one in build/release");
        return EXIT_USAGE;
    }
    const char *plain = lib->archive;
    lib->mode = m;
    const char *name = m == MODE_ASAN ? "asan" : "race";
    lib->archive = text_format("%s/libbelay_%s.a", tree, name);
    int lock = tree_lock(tree), err = 0;
    if (process_interrupted())
        err = EXIT_FAILED;
    else if (!exists(lib->archive) || older(lib->archive, plain)) {
        err = make_archive(tree, name);
        if (!err && older(lib->archive, plain)) /* nothing was to be done, nor is the next time */
            (void)utimensat(AT_FDCWD, lib->archive, NULL, 0);
    }
    if (lock >= 0)
        close(lock);
    return err;
}

int library_find(library *lib, mode m)
{
    const char *own = own_directory();
    if (!own) {
        complain("/proc is not there, so the library cannot be found");
        return EXIT_FAILED;
    }
    if (exists(text_format("%s/CMakeCache.txt", own))) {
        int err = find_in_tree(lib, m, own);
        if (err)
            return err;
    } else {
        static const char *const names[] = {
            [MODE_PLAIN] = "libbelay.a",
            [MODE_ASAN] = "libbelay_asan.a",
            [MODE_RACE] = "libbelay_race.a",
        };
        lib->mode = m;
        lib->include = resolved(text_format("%s/" BELAY_BIN_TO_INCLUDE, own));
        lib->archive = resolved(text_format("%s/" BELAY_BIN_TO_LIB "/%s", own, names[m]));
    }

    if (exists(lib->archive) && exists(text_format("%s/belay.h", lib->include)))
        return 0;
    if (m != MODE_PLAIN && exists(text_format("%s/belay.h", lib->include))) {
        complain("-%s needs %s, which is not there; in belay's source tree 'make install' "
                 "installs it",
                 m == MODE_ASAN ? "asan" : "race", lib->archive);
        return EXIT_USAGE;
    }
    complain("the library is not where it should be: %s and %s/belay.h", lib->archive,
             lib->include);
    return EXIT_FAILED;
}
