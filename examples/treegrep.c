/* SPDX-License-Identifier: MIT */
/*
 * treegrep: a parallel recursive grep.
 *
 *     treegrep [-i] [-j N] [-m N] PATTERN [PATH…]
 *
 * Prints what grep -rnI PATTERN PATH… prints, in another order: PATTERN is a POSIX basic regular
 * expression (without newlines), links are followed on the command line only, lines that are no
 * text in the locale are left out. -i folds the case of ASCII letters. -j N: N searchers; default:
 * one a processor. -m N: N lines in all, and then everything stops. A file with a zero byte is
 * binary, is skipped, and is counted on stderr at the end; if that byte comes late, after very many
 * lines found, some have been printed. Status: 0 found, 1 not found, 2 trouble.
 *
 * Who lives how long:
 *
 *     tree_main (main goroutine)     opens scope s and joins it
 *       walk                         lists the directories     -> jobs (paths), which it closes
 *       search_all                   opens a scope of its own, joins the searchers, closes results
 *         search × N                 jobs -> reads and matches -> results (chunks of lines)
 *       print                        results -> stdout; ends when results is closed
 *
 * A message is owned by whoever holds it: a successful send hands it over, after a failed one it is
 * still the sender's. In an ordinary run each goroutine ends because its input has ended, front to
 * back. To stop early, somebody cancels scope s: print at the Nth match, an error returned by any
 * of them, or the first ^C, which cancels the root scope and everything below. Then each call that
 * waits returns BL_ECANCELED, all return, and tree_main frees what was still in the channels. Both
 * channels are bounded, so a slow reader slows the walk down, and memory stays bounded too.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memrchr */
#endif
#include <belay.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "treegrep_match.h"

enum { BLOCK = 128 << 10, CHUNK = 1 << 20, JOBS = 256, RESULTS = 64 };

/* Some lines of output of one file, on the way from a searcher to the printer. */
typedef struct chunk {
    size_t lines;
    size_t newlines_each; /* a path may contain newlines */
    size_t len, size;
    char *data;
} chunk;

typedef struct app {
    pattern pat;
    char **paths; /* the command line's */
    int npaths;
    int searchers;
    size_t max_lines; /* -m; SIZE_MAX: all */
    bool multibyte;   /* the locale's encoding */
    bool with_names;  /* lines begin with the path */
    bool strip_dot;   /* no PATH was given: names below "." are printed bare, as grep does */
    dev_t out_dev;    /* stdout, when it is a file: not to be searched, or it never ends */
    ino_t out_ino;
    bl_scope *scope;
    bl_chan *jobs;      /* of char *: paths */
    bl_chan *results;   /* of chunk * */
    size_t printed;     /* owner: print */
    bool limit_reached; /* owner: print; read after the join */
    atomic_size_t binary;
    atomic_size_t unreadable;
} app;

static void complain(app *a, const char *path, const char *why)
{
    atomic_fetch_add(&a->unreadable, 1);
    fprintf(stderr, "treegrep: %s: %s\n", path, why);
}

/* ---- A searcher ------------------------------------------------------------------------------ */

typedef struct searcher {
    app *a;
    matcher m;
    char *buf; /* grows for a line that is longer than it */
    size_t size;
    const char *path; /* of the file that is being searched */
    size_t path_len, path_newlines;
    size_t line; /* complete lines before counted */
    const char *counted;
    bool not_text;
    chunk *out; /* owner: this searcher, until it is sent */
} searcher;

static void chunk_free(chunk *c)
{
    if (c)
        free(c->data);
    free(c);
}

/* Appends "path:number:line" to what goes to the printer. 0 or BL_ENOMEM. */
static int line_emit(searcher *w, const char *p, const char *end)
{
    chunk *c = w->out;
    if (!c) {
        c = w->out = calloc(1, sizeof *c);
        if (!c)
            return BL_ENOMEM;
        c->newlines_each = w->path_newlines + 1;
    }
    size_t need = c->len + w->path_len + (size_t)(end - p) + 32;
    if (!c->data || need > c->size) {
        char *data = realloc(c->data, need * 2);
        if (!data)
            return BL_ENOMEM;
        c->data = data;
        c->size = need * 2;
    }
    if (w->path_len) {
        memcpy(c->data + c->len, w->path, w->path_len);
        c->len += w->path_len;
        c->data[c->len++] = ':';
    }
    c->len += (size_t)sprintf(c->data + c->len, "%zu:", w->line + 1);
    memcpy(c->data + c->len, p, (size_t)(end - p));
    c->len += (size_t)(end - p);
    c->data[c->len++] = '\n';
    c->lines++;
    return 0;
}

/* Hands the lines found so far to the printer. Afterwards they are the printer's or, when all is
 * being stopped, freed. */
static int results_send(searcher *w)
{
    chunk *c = w->out;
    w->out = NULL;
    if (!c)
        return 0;
    int r = bl_chan_send(w->a->results, &c);
    if (r < 0)
        chunk_free(c);
    return r;
}

/* Searches whole lines. The literal is looked for in all of them at once; a line is only cut out,
 * numbered and looked at by itself where it occurs. */
static int lines_search(searcher *w, const char *p, const char *end)
{
    const pattern *pt = &w->a->pat;
    w->counted = p;
    while (p < end) {
        find how;
        const char *hit = candidate_find(pt, &w->m, p, end, &how);
        if (!hit)
            break;
        const char *before = memrchr(p, '\n', (size_t)(hit - p));
        const char *line = before ? before + 1 : p;
        const char *eol = byte_next(hit, end, '\n');
        if (line_matches(&w->m, line, eol, how)) {
            w->line += newlines_count(w->counted, line);
            w->counted = line;
            if (w->a->multibyte && !line_is_text(line, eol))
                w->not_text = true;
            else if (line_emit(w, line, eol) < 0)
                return BL_ENOMEM;
        }
        p = eol < end ? eol + 1 : end;
    }
    if (w->counted < end)
        w->line += newlines_count(w->counted, end);
    return w->out && w->out->len > CHUNK ? results_send(w) : 0;
}

/* These two are functions of their own because of errno: it belongs to a thread, and after a call
 * that waits a goroutine can be on another one. In here no call waits. */
static __attribute__((noinline)) int file_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static __attribute__((noinline)) ssize_t file_read(int fd, char *buf, size_t n)
{
    ssize_t got;
    do
        got = read(fd, buf, n);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

/* Reads the open file block by block and searches the lines that are complete. The read(2) is an
 * ordinary one: while it waits for the disk, the other searchers go on on the other processors. */
static int file_search(searcher *w, int fd)
{
    size_t have = 0;
    for (;;) {
        if (bl_ctx_err(bl_ctx_current())) /* nothing here waits: so ask, once a block */
            return BL_ECANCELED;
        if (have == w->size) {
            size_t size = w->size * 2;
            char *bigger = realloc(w->buf, size + 1);
            if (!bigger)
                return BL_ENOMEM;
            w->buf = bigger;
            w->size = size;
        }
        ssize_t got = file_read(fd, w->buf + have, w->size - have);
        if (got < 0) {
            complain(w->a, w->path, strerror((int)-got));
            return results_send(w);
        }
        if (memchr(w->buf + have, 0, (size_t)got)) {
            chunk_free(w->out);
            w->out = NULL;
            w->not_text = true;
            return 0;
        }
        /* The last line may be cut off: it stays for the next block, unless this was the last. */
        char *nl = memrchr(w->buf + have, '\n', (size_t)got);
        have += (size_t)got;
        w->buf[have] = 0; /* regexec does not need it, its checker in sanitized builds does */
        size_t whole = nl ? (size_t)(nl + 1 - w->buf) : got == 0 ? have : 0;
        int r = lines_search(w, w->buf, w->buf + whole);
        if (r < 0)
            return r;
        if (got == 0)
            return results_send(w);
        memmove(w->buf, w->buf + whole, have - whole);
        have -= whole;
    }
}

static int path_search(searcher *w, const char *path)
{
    int fd = file_open(path);
    if (fd < 0) {
        complain(w->a, path, strerror(-fd));
        return 0;
    }
    w->path = path;
    w->path_len = w->a->with_names ? strlen(path) : 0;
    w->path_newlines = newlines_count(path, path + w->path_len);
    w->line = 0;
    w->not_text = false;
    int r = file_search(w, fd);
    close(fd);
    if (w->not_text)
        atomic_fetch_add(&w->a->binary, 1);
    return r;
}

/* Lives until jobs is closed and empty, or its scope is cancelled. */
static int search(void *arg)
{
    app *a = arg;
    searcher w = {.a = a, .size = BLOCK, .buf = malloc(BLOCK + 1)};
    if (!w.buf || !matcher_init(&w.m, &a->pat)) {
        free(w.buf);
        return BL_ENOMEM;
    }
    char *path;
    int r;
    while ((r = bl_chan_recv(a->jobs, &path)) == 0) {
        r = path_search(&w, path); /* the path is ours now */
        free(path);
        if (r < 0)
            break;
    }
    chunk_free(w.out);
    free(w.buf);
    matcher_fini(&w.m, &a->pat);
    return r == BL_ECLOSED ? 0 : r;
}

/* When the last searcher has ended nobody can send any more: so that is when results is closed. */
static int search_all(void *arg)
{
    app *a = arg;
    BL_SCOPE(s, .name = "searchers");
    int r = 0;
    for (int i = 0; i < a->searchers && r == 0; i++)
        r = bl_go(s, search, a);
    int joined = bl_scope_wait(s);
    bl_chan_close(a->results);
    return r < 0 ? r : joined;
}

/* ---- The walker ------------------------------------------------------------------------------ */

typedef struct dirs {
    char **path; /* owned: the directories still to be read */
    size_t n, size;
} dirs;

static int dirs_push(dirs *d, char *path)
{
    if (d->n == d->size) {
        size_t size = d->size ? d->size * 2 : 64;
        char **bigger = realloc(d->path, size * sizeof *bigger);
        if (!bigger) {
            free(path);
            return BL_ENOMEM;
        }
        d->path = bigger;
        d->size = size;
    }
    d->path[d->n++] = path;
    return 0;
}

static char *path_join(const app *a, const char *dir, const char *name)
{
    if (a->strip_dot && strcmp(dir, ".") == 0)
        return strdup(name);
    size_t len = strlen(dir);
    char *path = malloc(len + strlen(name) + 2);
    if (!path)
        return NULL;
    char *end = stpcpy(path, dir);
    if (len > 0 && dir[len - 1] != '/')
        *end++ = '/';
    stpcpy(end, name);
    return path;
}

static const char own_output[] = "input file is also the output";

static bool is_output(const app *a, const struct stat *st)
{
    return a->out_ino && st->st_ino == a->out_ino && st->st_dev == a->out_dev;
}

/* Gives path away: to the searchers, or back to malloc. */
static int job_send(app *a, char *path)
{
    int r = path ? bl_chan_send(a->jobs, &path) : BL_ENOMEM;
    if (r < 0)
        free(path);
    return r;
}

/* Leaf functions again, because of errno. */
static __attribute__((noinline)) DIR *dir_open(const char *path, int *err)
{
    DIR *d = opendir(path);
    *err = d ? 0 : errno;
    return d;
}

static __attribute__((noinline)) struct dirent *dir_next(DIR *d, int *err)
{
    errno = 0;
    struct dirent *e = readdir(d);
    *err = e ? 0 : errno;
    return e;
}

static __attribute__((noinline)) int path_stat(int at, const char *path, int flags, struct stat *st)
{
    return fstatat(at, path, st, flags) < 0 ? errno : 0;
}

/* One entry of the open directory. Links and what is neither file nor directory are left out. */
static int entry_visit(app *a, DIR *d, const char *dir, const struct dirent *e, dirs *unread)
{
    const char *name = e->d_name;
    unsigned char type = e->d_type;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    bool suspect = a->out_ino && e->d_ino == a->out_ino;
    if (type != DT_UNKNOWN && type != DT_DIR && type != DT_REG)
        return 0;
    char *path = path_join(a, dir, name);
    if (!path)
        return BL_ENOMEM;
    struct stat st;
    if (type == DT_UNKNOWN || suspect) {
        int err = path_stat(dirfd(d), name, AT_SYMLINK_NOFOLLOW, &st);
        if (err || is_output(a, &st)) {
            complain(a, path, err ? strerror(err) : own_output);
            free(path);
            return 0;
        }
        type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
    }
    if (type == DT_DIR)
        return dirs_push(unread, path);
    if (type == DT_REG)
        return job_send(a, path);
    free(path);
    return 0;
}

static int dir_walk(app *a, const char *dir, dirs *unread)
{
    int err, r = 0;
    DIR *d = dir_open(dir, &err);
    if (!d) {
        complain(a, dir, strerror(err));
        return 0;
    }
    struct dirent *e;
    while (r == 0 && (e = dir_next(d, &err)))
        r = entry_visit(a, d, dir, e, unread);
    if (r == 0 && err)
        complain(a, dir, strerror(err));
    closedir(d);
    return r;
}

/* A path of the command line, and all below it. The directories to read are a list instead of a
 * recursion, because a goroutine's stack is small. */
static int root_walk(app *a, const char *root)
{
    struct stat st;
    int err = path_stat(AT_FDCWD, root, 0, &st);
    const char *why = err                                            ? strerror(err)
                      : !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode) ? "not a file or directory"
                      : is_output(a, &st)                            ? own_output
                                                                     : NULL;
    if (why) {
        complain(a, root, why);
        return 0;
    }
    char *path = strdup(root);
    if (!path || S_ISREG(st.st_mode))
        return job_send(a, path);
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/' && path[len - 2] == '/')
        path[--len] = 0;
    dirs unread = {0};
    int r = dirs_push(&unread, path);
    while (r == 0 && unread.n > 0) {
        path = unread.path[--unread.n];
        r = bl_ctx_err(bl_ctx_current());
        if (r == 0)
            r = dir_walk(a, path, &unread);
        free(path);
    }
    while (unread.n > 0)
        free(unread.path[--unread.n]);
    free(unread.path);
    return r;
}

/* Whatever happens it closes jobs: that is how the searchers learn that nothing more comes. */
static int walk(void *arg)
{
    app *a = arg;
    int r = 0;
    for (int i = 0; i < a->npaths && r == 0; i++)
        r = root_walk(a, a->paths[i]);
    bl_chan_close(a->jobs);
    return r;
}

/* ---- The printer ----------------------------------------------------------------------------- */

/* Prints the chunk, or what of it the limit leaves. False: stdout cannot be written. */
static bool chunk_print(app *a, const chunk *c)
{
    size_t len = c->len, lines = c->lines;
    if (lines >= a->max_lines - a->printed) {
        lines = a->max_lines - a->printed;
        const char *end = c->data;
        for (size_t i = 0; i < lines * c->newlines_each; i++)
            end = (const char *)memchr(end, '\n', (size_t)(c->data + len - end)) + 1;
        len = (size_t)(end - c->data);
    }
    a->printed += lines;
    return fwrite(c->data, 1, len, stdout) == len;
}

/* Lives until results is closed and empty, the scope is cancelled, or it has printed enough. */
static int print(void *arg)
{
    app *a = arg;
    chunk *c;
    int r = 0;
    bool written = true;
    while (written && a->printed < a->max_lines) {
        r = bl_chan_try_recv(a->results, &c);
        if (r == BL_EAGAIN) {
            written = fflush(stdout) == 0; /* do not sit on lines while waiting for more */
            r = bl_chan_recv(a->results, &c);
        }
        if (r < 0)
            break;
        written = chunk_print(a, c) && written;
        chunk_free(c);
    }
    if (fflush(stdout) != 0 || !written)
        return BL_EIO; /* an error cancels the scope */
    if (a->printed == a->max_lines) {
        a->limit_reached = true;
        bl_scope_cancel(a->scope, 0); /* nobody needs to go on */
        return 0;
    }
    return r == BL_ECLOSED ? 0 : r;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int tree_main(void *arg)
{
    app *a = arg;
    BL_SCOPE(s, .name = "treegrep");
    a->scope = s;
    a->jobs = bl_scope_chan(s, sizeof(char *), JOBS);
    a->results = bl_scope_chan(s, sizeof(chunk *), RESULTS);
    int r = a->jobs && a->results ? bl_go(s, walk, a) : BL_ENOMEM;
    if (r == 0)
        r = bl_go(s, search_all, a);
    if (r == 0)
        r = bl_go(s, print, a);
    if (r < 0)
        bl_scope_cancel(s, r); /* those that did start would wait for the others */
    int joined = bl_scope_wait(s);

    /* All have ended. After a cancellation the channels still own what nobody received. */
    char *path;
    chunk *c;
    while (a->jobs && bl_chan_try_recv(a->jobs, &path) == 0)
        free(path);
    while (a->results && bl_chan_try_recv(a->results, &c) == 0)
        chunk_free(c);
    return r < 0 ? r : joined;
}

static int usage(const char *why, const char *what)
{
    fprintf(stderr, "treegrep: %s%s\nusage: treegrep [-i] [-j N] [-m N] PATTERN [PATH...]\n", why,
            what);
    return 2;
}

static int options_parse(app *a, int argc, char **argv)
{
    int opt;
    while ((opt = getopt(argc, argv, "ij:m:")) != -1) {
        char *end = NULL;
        errno = 0;
        long n = optarg ? strtol(optarg, &end, 10) : 0;
        if (optarg && (!*optarg || *end || errno || n < 0 || (opt == 'j' && (n < 1 || n > 10000))))
            return usage("not a number that makes sense: ", optarg);
        if (opt == 'i')
            a->pat.icase = true;
        else if (opt == 'j')
            a->searchers = (int)n;
        else if (opt == 'm')
            a->max_lines = (size_t)n;
        else
            return usage("unknown option", "");
    }
    if (optind == argc)
        return usage("no pattern", "");
    a->pat.text = argv[optind++];
    if (strchr(a->pat.text, '\n'))
        return usage("a pattern has one line", "");
    static char *here[] = {"."};
    a->strip_dot = optind == argc;
    a->paths = a->strip_dot ? here : argv + optind;
    a->npaths = a->strip_dot ? 1 : argc - optind;
    return 0;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    app a = {.searchers = bl_procs(), .max_lines = SIZE_MAX, .multibyte = MB_CUR_MAX > 1};
    if (options_parse(&a, argc, argv) != 0)
        return 2;
    char why[256];
    if (!pattern_prepare(&a.pat, why, sizeof why))
        return usage("bad pattern: ", why);
    if (a.max_lines == 0)
        return 1;
    struct stat st;
    a.with_names = a.npaths > 1 || (stat(a.paths[0], &st) == 0 && S_ISDIR(st.st_mode));
    if (fstat(1, &st) == 0 && S_ISREG(st.st_mode)) {
        a.out_dev = st.st_dev;
        a.out_ino = st.st_ino;
    }

    /* signals: the first ^C cancels the root scope, the second one kills. stack_size: regexec can
     * want more than the usual 64 KiB; what is not touched costs nothing. */
    int r = bl_run(tree_main, &a, &(bl_options){.signals = 1, .stack_size = 256 << 10});
    bool failed = r < 0 && !a.limit_reached;
    if (failed)
        fprintf(stderr, "treegrep: %s\n", r == BL_ECANCELED ? "interrupted" : bl_strerror(r));
    if (a.binary > 0)
        fprintf(stderr, "treegrep: %zu binary files skipped\n", (size_t)a.binary);
    if (a.unreadable > 0)
        fprintf(stderr, "treegrep: %zu files or directories not read\n", (size_t)a.unreadable);
    return failed || a.unreadable > 0 ? 2 : a.printed > 0 ? 0 : 1;
}
