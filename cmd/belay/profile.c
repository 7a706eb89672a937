/* SPDX-License-Identifier: MIT */
/*
 * profile.c: the goroutines of a running program by what they do: equal stacks together, the most frequent
 * first. As with dump, the program is only read. A profile that bl_profile has written, or an endpoint serves, is given to
 * `go tool pprof`.
 */
#include "goroutine.h"
#include "help.h"
#include "look.h"
#include "source.h"
#include "stack.h"
#include "util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One goroutine, as text: its state, its frames, and where it was started. */
typedef struct entry {
    char *text;
    uint64_t id;
    int64_t since;
} entry;

static void entry_frames(FILE *out, const target *t, stacks *s, const goroutine *g)
{
    frames f;
    if (g->record != 0 && stacks_walk(s, g, &f)) {
        bool own = f.from < f.to;
        for (size_t i = own ? f.from : 0; i < (own ? f.to : f.len); i++)
            fprintf(out, "#\t%s\t%s\n", f.at[i].func, f.at[i].place != NULL ? f.at[i].place : "?");
        frames_free(&f);
    } else {
        char *name = stacks_function(s, g->fn);
        fprintf(out, "#\t%s\n", name);
        free(name);
    }
    goroutine_place started = goroutine_started(t, g);
    stacks_complete(s, &started.place);
    if (started.func != NULL)
        fprintf(out, "#\tcreated by %s\t%s\n", started.func, started.place);
    free(started.func);
    free(started.place);
}

/* False: out of memory. */
static bool entry_make(entry *e, const target *t, stacks *s, const goroutine *g)
{
    size_t size;
    e->text = NULL;
    e->id = g->id;
    e->since = g->since;
    FILE *out = open_memstream(&e->text, &size);
    if (out == NULL)
        return false;
    fprintf(out, "[%s]\n", goroutine_state(t, g));
    entry_frames(out, t, s, g);
    return fclose(out) == 0;
}

static int entry_order(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int r = strcmp(x->text, y->text);
    return r != 0 ? r : (x->id > y->id) - (x->id < y->id);
}

typedef struct group {
    size_t first, count;
} group;

static int group_order(const void *a, const void *b)
{
    const group *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

static void group_print(const entry *all, const group *g)
{
    enum { IDS = 8 };
    int64_t longest = 0;
    for (size_t i = g->first; i < g->first + g->count; i++)
        longest = all[i].since > longest ? all[i].since : longest;
    size_t head = strcspn(all[g->first].text, "\n");
    printf("%zu @ %.*s", g->count, (int)head, all[g->first].text);
    if (longest >= 1000000000)
        printf(", up to %llds", (long long)(longest / 1000000000));
    printf(": goroutine%s", g->count == 1 ? "" : "s");
    for (size_t i = 0; i < g->count && i < IDS; i++)
        printf("%s %llu", i > 0 ? "," : "", (unsigned long long)all[g->first + i].id);
    printf("%s%s\n", g->count > IDS ? ", …" : "", all[g->first].text + head);
}

/* Prints them; false: out of memory. */
static bool profile_print(const target *t, goroutines *all)
{
    stacks *s = stacks_open(t);
    entry *entries = calloc(all->len + 1, sizeof *entries);
    group *groups = calloc(all->len + 1, sizeof *groups);
    bool ok = entries != NULL && groups != NULL;
    size_t made = 0, count = 0;
    for (size_t i = 0; ok && i < all->len; i++)
        if (goroutine_refresh(t, &all->at[i]))
            ok = entry_make(&entries[made++], t, s, &all->at[i]);
    if (ok) {
        qsort(entries, made, sizeof *entries, entry_order);
        for (size_t i = 0; i < made; i++)
            if (i > 0 && strcmp(entries[i].text, entries[i - 1].text) == 0)
                groups[count - 1].count++;
            else
                groups[count++] = (group){i, 1};
        qsort(groups, count, sizeof *groups, group_order);
        printf("goroutine profile: total %zu\n", made);
        for (size_t i = 0; i < count; i++)
            group_print(entries, &groups[i]);
    }
    for (size_t i = 0; i < made; i++)
        free(entries[i].text);
    free(entries);
    free(groups);
    stacks_close(s);
    return ok;
}

static int process_profile(const char *pid)
{
    target t;
    int err = target_open(&t, pid);
    if (err)
        return err;
    goroutines all;
    bool whole = goroutines_read(&t, &all);
    bool ok = profile_print(&t, &all);
    whole = whole && target_alive(&t);
    if (!ok)
        complain("out of memory");
    if (all.len == 0 && whole)
        complain("process %d runs no goroutines: %s", (int)t.pid,
                 all.running ? "none has been started yet" : "it is not in bl_run");
    if (!whole)
        complain("process %d ended while it was read", (int)t.pid);
    goroutines_free(&all);
    return whole && ok ? 0 : EXIT_FAILED;
}

/* Becomes `go tool pprof`, with -top unless other flags are given. */
static int file_profile(char **argv)
{
    size_t n = 0;
    while (argv[n] != NULL)
        n++;
    char **args = calloc(n + 5, sizeof *args);
    if (args == NULL) {
        complain("out of memory");
        return EXIT_FAILED;
    }
    size_t at = 0;
    args[at++] = (char *)(uintptr_t) "go";
    args[at++] = (char *)(uintptr_t) "tool";
    args[at++] = (char *)(uintptr_t) "pprof";
    if (n > 0 && argv[0][0] != '-')
        args[at++] = (char *)(uintptr_t) "-top";
    memcpy(args + at, argv, n * sizeof *argv);
    execvp("go", args);
    complain("a profile in a file, or by a URL, is for 'go tool pprof', and go cannot be run: %s",
             strerror(errno));
    free(args);
    return EXIT_FAILED;
}

/* Why it cannot be read, as an errno; 0: it can. */
static int file_error(const char *path)
{
    struct stat st;
    if (access(path, R_OK) != 0 || stat(path, &st) != 0)
        return errno;
    return S_ISDIR(st.st_mode) ? EISDIR : 0;
}

int profile_main(char **argv)
{
    if (argv[0] != NULL && help_asked(argv[0]))
        return help_command("profile");
    if (argv[0] == NULL) {
        complain("profile takes the number of a process, a file or a URL, as in "
                 "'belay profile 4711'");
        return EXIT_USAGE;
    }
    bool number = argv[0][0] != '\0' && argv[0][strspn(argv[0], "0123456789")] == '\0';
    if (number && argv[1] == NULL && access(argv[0], F_OK) != 0)
        return process_profile(argv[0]);
    size_t last = 0;
    for (size_t i = 0; argv[i] != NULL; i++)
        last = i;
    const char *file = argv[last], *host = strstr(file, "://");
    if (strcmp(file, "unix:") == 0 || (host != NULL && (host[3] == '\0' || host[3] == '/'))) {
        complain("%s is no address: http://HOST:PORT or unix:/PATH", file);
        return EXIT_USAGE;
    }
    if (strncmp(file, "unix:", 5) == 0) { /* which pprof does not know */
        int fd = source_unix_file(file);
        if (fd < 0)
            return EXIT_FAILED;
        file = argv[last] = text_own("/proc/%d/fd/%d", (int)getpid(), fd);
        host = NULL;
    }
    const char *path = host != NULL ? host + 3 + strcspn(host + 3, "/") : "none";
    if (path[0] == '\0' || path[1] == '\0') /* an endpoint as a whole */
        argv[last] = text_own("%.*s/debug/pprof/goroutine", (int)(path - file), file);
    int err = file[0] != '-' && host == NULL ? file_error(file) : 0;
    if (err != 0) {
        complain("%s: %s; a running program is given by its number alone", text_shown(file),
                 strerror(err));
        return EXIT_FAILED;
    }
    return file_profile(argv);
}
