/* SPDX-License-Identifier: MIT */
/*
 * file.c: reads of 4 KiB at random places of a regular file, in memory (FileCached) and not
 * (FileCold, by 1 goroutine and by 32); and meanwhile (Stall) the longest gap of one that yields
 * all the time, median of nine short rounds, since a long one has the machine's own gaps. To be run
 * by hand with each BELAY_IO; where the file system keeps what it is asked to drop (tmpfs) FileCold
 * is FileCached.
 */
#include <belay.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

enum { PIECE = 4096, PIECES = 1 << 14, READS = 4000, WATCHED = 400, CROWD = 32, ROUNDS = 9 };

typedef struct reader {
    int fd;
    uint64_t seed;
    size_t reads;
} reader;

static bool stop;       /* atomic */
static int64_t longest; /* of the yielder */

static int yielder(void *arg)
{
    int64_t last = bench_wall_ns();
    (void)arg;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        bl_yield();
        int64_t now = bench_wall_ns();
        longest = now - last > longest ? now - last : longest;
        last = now;
    }
    return 0;
}

static int read_some(void *arg)
{
    reader *r = arg;
    char buf[PIECE];
    for (size_t i = 0; i < r->reads; i++) {
        off_t at = (off_t)(bench_random(&r->seed) % PIECES * PIECE);
        bench_check(lseek(r->fd, at, SEEK_SET) == at, "a file has a position");
        bench_check(bl_read(r->fd, buf, PIECE) == PIECE, "a read is whole");
    }
    return 0;
}

static int file_new(char *path)
{
    static char piece[PIECE];
    int fd = mkstemp(path);
    bench_check(fd >= 0, "there is a file");
    for (int i = 0; i < PIECES; i++)
        bench_check(write(fd, piece, PIECE) == PIECE, "there is room for it");
    bench_check(fsync(fd) == 0, "the file is written");
    bench_check(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0, "the file takes advice");
    return fd;
}

static void measure(const char *name, const char *path, size_t crowd, bool cold, bool watched)
{
    int64_t took[ROUNDS];
    int64_t gap[ROUNDS];
    int64_t least;
    int64_t least_gap = 0;
    char extra[64];
    reader readers[CROWD];
    if (!bench_wanted(name))
        return;
    for (size_t i = 0; i < crowd; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        bench_check(fd >= 0, "the file opens again");
        posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
        readers[i] =
            (reader){.fd = fd, .seed = i, .reads = bench_scale(watched ? WATCHED : READS) / crowd};
    }
    for (int k = 0; k < ROUNDS; k++) {
        if (cold)
            posix_fadvise(readers[0].fd, 0, 0, POSIX_FADV_DONTNEED);
        longest = 0;
        stop = false;
        BL_SCOPE(watch);
        if (watched)
            bench_check(bl_go(watch, yielder, NULL) == 0, "a goroutine starts");
        int64_t wall = -bench_wall_ns();
        BL_SCOPE(s);
        for (size_t i = 0; i < crowd; i++)
            bench_check(bl_go(s, read_some, &readers[i]) == 0, "a goroutine starts");
        bench_check(bl_scope_wait(s) == 0, "all is read");
        took[k] = wall + bench_wall_ns();
        __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
        bench_check(bl_scope_wait(watch) == 0, "the yielder ends");
        gap[k] = longest;
    }
    for (size_t i = 0; i < crowd; i++)
        close(readers[i].fd);
    const size_t n = crowd * readers[0].reads;
    bench_median(took, ROUNDS, &least);
    snprintf(extra, sizeof extra, "%8.1f stall-us",
             watched ? (double)bench_median(gap, ROUNDS, &least_gap) / 1e3 : 0.0);
    bench_report(name, bl_procs(), n, (double)least / (double)n, extra);
}

static int run(void *arg)
{
    char path[] = "./bench-file-XXXXXX";
    (void)arg;
    int fd = file_new(path);
    measure("FileCached", path, 1, false, false);
    measure("FileCachedStall32", path, CROWD, false, true);
    measure("FileCold1", path, 1, true, false);
    measure("FileCold32", path, CROWD, true, false);
    measure("FileColdStall1", path, 1, true, true);
    measure("FileColdStall32", path, CROWD, true, true);
    unlink(path);
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    bench_init(argc, argv);
    return bl_run(run, NULL, NULL) == 0 ? 0 : 1;
}
