/* SPDX-License-Identifier: MIT */
/*
 * tell.c: what it costs to know what is wrong, beside 100,000 goroutines that wait for a channel
 * each:
 *
 *     Finder100k    CPU that the search for stuck ones takes by itself, in the first seconds (TELL_SECONDS, 3; longer, until it has run),
 *                   and how much of a core that is
 *     Profile100k   a profile of them all, and the longest that another goroutine did not run meanwhile
 */
#include <belay.h>
#include <belay/debug.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

enum { SECONDS = 3, PROFILES = 3 };
#define MOST (30 * BL_SEC) /* until the search has run */

static struct {
    size_t n;
    size_t waiting; /* atomic */
    bool stop;      /* atomic */
    int64_t gap;    /* yielder's, until it has stopped */
} tell;

static int waiter(void *arg)
{
    uint64_t v;
    __atomic_fetch_add(&tell.waiting, 1, __ATOMIC_RELAXED);
    return bl_chan_recv((bl_chan *)arg, &v) == BL_ECLOSED ? 0 : -1;
}

static int yielder(void *arg)
{
    int64_t last = bench_wall_ns();
    while (!__atomic_load_n(&tell.stop, __ATOMIC_RELAXED)) {
        bl_yield();
        int64_t now = bench_wall_ns();
        if (now - last > tell.gap)
            tell.gap = now - last;
        last = now;
    }
    (void)arg;
    return 0;
}

/* What the finder's thread has computed so far, in ns. */
static int64_t finder_ns(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int64_t ns = 0;
    bench_check(tasks != NULL, "/proc can be read");
    for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
        char path[sizeof e->d_name + 64], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue;
        bool finder = fgets(name, sizeof name, f) != NULL && strcmp(name, "belay-finder\n") == 0;
        fclose(f);
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
        f = finder ? fopen(path, "re") : NULL;
        char line[64] = "";
        if (f != NULL && fgets(line, sizeof line, f) != NULL)
            ns += strtoll(line, NULL, 10);
        if (f != NULL)
            fclose(f);
    }
    closedir(tasks);
    return ns;
}

/* A goroutine that wakes now and then: an idle process is not searched again and again. */
static void finder_measure(void)
{
    const char *set = getenv("TELL_SECONDS");
    const int64_t window = (set != NULL ? strtol(set, NULL, 10) : SECONDS) * BL_SEC;
    const int64_t before = finder_ns(), start = bench_wall_ns();
    int64_t cpu = 0, last = -1, took = 0;
    /* To the end of a search, of which there may be none in a short window. */
    while ((took = bench_wall_ns() - start) < window ||
           ((cpu == 0 || cpu != last) && took < MOST)) {
        last = cpu;
        for (int i = 0; i < 10; i++)
            bench_check(bl_sleep(10 * BL_MS) == 0, "nobody cancels");
        cpu = finder_ns() - before;
    }
    bench_check(cpu > 0, "the search has run");
    char extra[64];
    snprintf(extra, sizeof extra, "%8.2f core-%%", 100 * (double)cpu / (double)took);
    bench_report("Finder100k", bl_procs(), 1, (double)cpu, extra);
}

static void profile_measure(bl_scope *s)
{
    int64_t least = INT64_MAX;
    bench_check(bl_go(s, yielder, NULL) == 0, "a goroutine starts");
    for (int i = 0; i < PROFILES; i++) {
        int fd = memfd_create("profile", MFD_CLOEXEC);
        int64_t took = -bench_wall_ns();
        bench_check(fd >= 0 && bl_profile(fd, "goroutine", 0) == 0, "a profile is written");
        took += bench_wall_ns();
        close(fd);
        least = took < least ? took : least;
        bl_yield();
    }
    __atomic_store_n(&tell.stop, true, __ATOMIC_RELAXED);
    while (bl_goroutines() > tell.n + 1)
        bl_yield();
    char extra[64];
    snprintf(extra, sizeof extra, "%8.1f worst-us", (double)tell.gap / 1e3);
    bench_report("Profile100k", bl_procs(), PROFILES, (double)least, extra);
}

static int run(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "crowd");
    tell.n = bench_scale(100000);
    bl_chan **chans = calloc(tell.n, sizeof(bl_chan *));
    bench_check(chans != NULL, "there is memory for the channels");
    for (size_t i = 0; i < tell.n; i++) {
        chans[i] = bl_chan_new(sizeof(uint64_t), 0);
        bench_check(chans[i] != NULL && bl_go(s, waiter, chans[i]) == 0, "a goroutine starts");
    }
    while (__atomic_load_n(&tell.waiting, __ATOMIC_RELAXED) < tell.n)
        bl_yield();
    finder_measure();
    profile_measure(s);
    for (size_t i = 0; i < tell.n; i++)
        bl_chan_close(chans[i]);
    bench_check(bl_scope_wait(s) == 0, "all end well");
    for (size_t i = 0; i < tell.n; i++)
        bl_chan_release(chans[i]);
    free(chans);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
