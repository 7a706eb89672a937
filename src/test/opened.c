/* SPDX-License-Identifier: MIT */
/*
 * opened.c: descriptors that a test has got by bl_accept, or connected by bl_connect, and not
 * closed.
 *
 * One note for each number, by whom it was opened last. Who closes tells nobody, since close(2)
 * will do as well: at the end of the test the note counts if the number still stands for the same
 * file.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "core/lock.h"
#include "debug/symbol.h"
#include "os/os.h"
#include "test/test.h"

typedef struct opened_fd {
    const bl_test *t; /* NULL: no note */
    uintptr_t pc;     /* of the call */
    dev_t dev;
    ino_t ino;
} opened_fd;

static struct {
    uint32_t lock;
    opened_fd *at; /* lock: by number */
    size_t len;    /* lock */
} all_opened;

static void opened_note(int fd, uintptr_t pc)
{
    struct stat st;
    const bl_test *t = bl__test_of(bl__self());
    if (fd < 0 || bl__fd_stat(fd, &st) != 0)
        return;
    bl__lock(&all_opened.lock, BL__RANK_MADE);
    if ((size_t)fd >= all_opened.len) {
        size_t len = (size_t)fd * 2 + 64;
        opened_fd *at = realloc(all_opened.at, len * sizeof *at);
        if (at != NULL) {
            memset(at + all_opened.len, 0, (len - all_opened.len) * sizeof *at);
            all_opened.at = at;
            all_opened.len = len;
        }
    }
    if ((size_t)fd < all_opened.len)
        all_opened.at[fd] = (opened_fd){t, pc, st.st_dev, st.st_ino};
    bl__unlock(&all_opened.lock);
}

void bl__test_opened_begin(void) { bl__opened_hook = opened_note; }

typedef struct opened_place {
    const char *file;
    int line;
} opened_place;

/* The innermost function that is not the library's. */
static bool place_find(const bl__symbol *s, void *arg)
{
    opened_place *p = arg;
    if (s->file == NULL || bl__symbol_is_runtime(s))
        return false;
    *p = (opened_place){s->file, s->line};
    return true;
}

/* The next number from fd on that t has left, taken out; -1: none. */
static int opened_take(const bl_test *t, size_t fd, opened_fd *out)
{
    int found = -1;
    *out = (opened_fd){0};
    bl__lock(&all_opened.lock, BL__RANK_MADE);
    for (; fd < all_opened.len && found < 0; fd++)
        if (all_opened.at[fd].t == t) {
            *out = all_opened.at[fd];
            all_opened.at[fd].t = NULL;
            found = (int)fd;
        }
    bl__unlock(&all_opened.lock);
    return found;
}

void bl__test_opened_report(bl_test *t)
{
    opened_fd o;
    size_t from = 0;
    for (int fd; (fd = opened_take(t, from, &o)) >= 0;) {
        struct stat st;
        opened_place at = {NULL, 0};
        from = (size_t)fd + 1;
        if ((t->allow & BL_ALLOW_DESCRIPTORS) != 0 || bl__fd_stat(fd, &st) != 0 ||
            st.st_dev != o.dev || st.st_ino != o.ino)
            continue;
        bl__symbol_each(o.pc - 1, place_find, &at);
        bl__test_log(t, at.file, at.line,
                     "leak: descriptor %d, which was opened here, was not closed", fd);
        bl__test_left_something(t);
    }
}
