/* SPDX-License-Identifier: MIT */
/* regular_test.c: calls on regular files, with each BELAY_IO, and with files that are in memory or
 * are not. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/proc.h"
#include "io/fd.h"
#include "io/regular.h"
#include "sync/object.h"

#include "calls.h"
#include "fatal.h"

static bl_test *const t; /* the test that the caller is of */

#define LATE (30 * BL_SEC) /* a deadline that does not come in a test that passes */

enum { MODES = 6, HANDOFF = 2 };
static const char *const modes[] = {"uring", "threads", "handoff"};

/* A run of fn(&mode) each: as they are, and as if nothing were in memory (BELAY_DEBUG=cold=1). */
static void each_mode(bl_fn fn, int procs)
{
    for (int i = 0; i < MODES; i++) {
        int mode = i % 3;
        BL_CHECK_EQ(t, setenv("BELAY_IO", modes[mode], 1), 0);
        BL_CHECK_EQ(t, setenv("BELAY_DEBUG", i < 3 ? "cold=1" : "cold=0", 1), 0);
        BL_CHECK_EQ(t, bl_run(fn, &mode, &(bl_options){.procs = procs}), 0);
    }
    unsetenv("BELAY_IO");
    unsetenv("BELAY_DEBUG");
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* A file of n bytes without a name, that says at each place where that is. */
static int numbered(size_t n)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder != NULL ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    BL_CHECK_GE(t, fd, 0);
    BL_CHECK_EQ(t, ftruncate(fd, (off_t)n), 0);
    if (n == 0)
        return fd;
    unsigned char *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    BL_REQUIRE(t, at != MAP_FAILED);
    for (size_t i = 0; i < n; i++)
        at[i] = (unsigned char)(i / 4 >> 8 * (i % 4));
    munmap(at, n);
    return fd;
}

static bool is_numbered(const void *buf, size_t at, size_t n)
{
    const unsigned char *p = buf;
    size_t i = at;
    for (; i % 4 != 0 && i < at + n; i++)
        if (*p++ != (unsigned char)(i / 4 >> 8 * (i % 4)))
            return false;
    for (; i + 4 <= at + n; i += 4, p += 4) { /* a word at a time: ThreadSanitizer sees each look */
        uint32_t word;
        memcpy(&word, p, sizeof word);
        if (word != i / 4)
            return false;
    }
    for (; i < at + n; i++)
        if (*p++ != (unsigned char)(i / 4 >> 8 * (i % 4)))
            return false;
    return true;
}

/* A descriptor of its own, with a position of its own. */
static int again(int fd, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int other = open(path, flags | O_CLOEXEC);
    BL_CHECK_GE(t, other, 0);
    return other;
}

/* ---- Reading --------------------------------------------------------------------------------- */

enum { BIG = (5 << 19) + 77 };

static int read_in_pieces(void *arg)
{
    static const size_t pieces[] = {1 << 12, 5000, 1 << 16, BIG - 1, BIG, BIG + 1, 2 * BIG};
    int fd = numbered(BIG);
    char *buf = malloc(2 * (size_t)BIG);
    (void)arg;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t at = 0;
        BL_CHECK_EQ(t, lseek(fd, 0, SEEK_SET), 0);
        for (ssize_t r; (r = bl_read(fd, buf, pieces[i])) != 0; at += (size_t)r) {
            size_t left = BIG - at;
            BL_REQUIRE_EQ(t, r, (ssize_t)(left < pieces[i] ? left : pieces[i]));
            BL_REQUIRE(t, is_numbered(buf, at, (size_t)r));
        }
        BL_CHECK_EQ(t, at, (size_t)BIG);
    }
    free(buf);
    return bl_close(fd);
}

BL_TEST_PLAIN(pieces_of_all_sizes) { each_mode(read_in_pieces, 0); }

static int read_small_and_odd(void *arg)
{
    char buf[64];
    int empty = numbered(0);
    int sparse = numbered(0);
    int kernels = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    (void)arg;
    BL_CHECK_EQ(t, bl_read(empty, buf, sizeof buf), 0);
    BL_CHECK_EQ(t, bl_read(empty, buf, 0), 0);
    BL_CHECK_EQ(t, ftruncate(sparse, 10000), 0);
    BL_CHECK_EQ(t, lseek(sparse, 9990, SEEK_SET), 9990);
    BL_CHECK_EQ(t, bl_read(sparse, buf, sizeof buf), 10);
    BL_CHECK_EQ(t, bl_read(sparse, buf, sizeof buf), 0);
    BL_CHECK_EQ(t, lseek(sparse, 20000, SEEK_SET), 20000);
    BL_CHECK_EQ(t, bl_read(sparse, buf, sizeof buf), 0);
    BL_CHECK_GT(t, bl_read(kernels, buf, sizeof buf), 0); /* its size is 0 */
    BL_CHECK_EQ(t, bl_close(kernels), 0);
    BL_CHECK_EQ(t, bl_close(sparse), 0);
    return bl_close(empty);
}

BL_TEST_PLAIN(small_and_odd_files) { each_mode(read_small_and_odd, 0); }

static int read_what_fails(void *arg)
{
    char byte = 'x';
    int fd = numbered(1);
    int folder = open("/", O_RDONLY | O_CLOEXEC);
    int in = again(fd, O_RDONLY), out = again(fd, O_WRONLY);
    (void)arg;
    BL_CHECK_EQ(t, bl_read(folder, &byte, 1), BL_EISDIR);
    BL_CHECK_EQ(t, bl_read(out, &byte, 1), BL_EBADF);
    BL_CHECK_EQ(t, bl_write(in, &byte, 1), BL_EBADF);
    BL_CHECK_EQ(t, bl_close(in), 0);
    BL_CHECK_EQ(t, bl_read(in, &byte, 1), BL_EBADF);
    BL_CHECK_EQ(t, bl_write(in, &byte, 1), BL_EBADF);
    BL_CHECK_EQ(t, bl_close(out) + bl_close(folder), 0);
    return bl_close(fd);
}

BL_TEST_PLAIN(errors) { each_mode(read_what_fails, 0); }

/* ---- Several at once ------------------------------------------------------------------------- */

enum { CROWD = 100, RECORD = 6000, RECORDS = 300 };

static int shared;        /* a descriptor */
static uint32_t recorded; /* atomic: bytes that were read of it */

static int read_own(void *arg)
{
    char buf[RECORD];
    size_t at = (size_t)(uintptr_t)arg * RECORD;
    int fd = again(shared, O_RDONLY);
    BL_CHECK_EQ(t, lseek(fd, (off_t)at, SEEK_SET), (off_t)at);
    BL_CHECK_EQ(t, bl_read(fd, buf, sizeof buf), RECORD);
    BL_CHECK(t, is_numbered(buf, at, RECORD));
    return bl_close(fd);
}

/* Records that lie across pages are whole, and each is somebody's. */
static int read_shared(void *arg)
{
    char buf[RECORD];
    ssize_t r;
    (void)arg;
    while ((r = bl_read(shared, buf, sizeof buf)) > 0) {
        uint32_t first;
        memcpy(&first, buf, sizeof first);
        BL_CHECK_EQ(t, r, RECORD);
        BL_CHECK_EQ(t, first * 4 % RECORD, 0);
        BL_CHECK(t, is_numbered(buf, (size_t)first * 4, RECORD));
        __atomic_fetch_add(&recorded, (uint32_t)r, __ATOMIC_RELAXED);
    }
    BL_CHECK_EQ(t, r, 0);
    return 0;
}

static int read_by_many(void *arg)
{
    (void)arg;
    shared = numbered((size_t)RECORD * RECORDS);
    recorded = 0;
    BL_SCOPE(s, .limit = CROWD);
    for (uintptr_t i = 0; i < CROWD; i++)
        BL_CHECK_EQ(t, bl_go(s, read_own, (void *)i), 0);
    for (int i = 0; i < 20; i++)
        BL_CHECK_EQ(t, bl_go(s, read_shared, NULL), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, recorded, (uint32_t)RECORD * RECORDS);
    return bl_close(shared);
}

BL_TEST_PLAIN(many_at_once) { each_mode(read_by_many, 0); }

enum { LONG = BL__FETCH_MOST + 8192, LONGS = 4, LONG_READERS = 3 };

/* Of more than is brought in at once. */
static int read_long(void *arg)
{
    char *buf = malloc(LONG);
    BL_REQUIRE(t, buf != NULL);
    (void)arg;
    while (__atomic_load_n(&recorded, __ATOMIC_ACQUIRE) < (uint32_t)LONG * LONGS) {
        uint32_t first;
        ssize_t r = bl_read(shared, buf, LONG);
        memcpy(&first, buf, sizeof first);
        BL_CHECK_EQ(t, r, r == 0 ? 0 : LONG);
        BL_CHECK(t, r == 0 || is_numbered(buf, (size_t)first * 4, LONG));
        __atomic_fetch_add(&recorded, r > 0 ? (uint32_t)r : (uint32_t)LONG * LONGS,
                           __ATOMIC_RELEASE);
    }
    free(buf);
    return 0;
}

static int read_long_by_several(void *arg)
{
    (void)arg;
    shared = numbered((size_t)LONG * LONGS);
    recorded = 0;
    BL_SCOPE(s);
    for (int i = 0; i < LONG_READERS; i++)
        BL_CHECK_EQ(t, bl_go(s, read_long, NULL), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    return bl_close(shared);
}

BL_TEST_PLAIN(long_reads_are_whole) { each_mode(read_long_by_several, 0); }

enum { WRITERS = 10, LINES = 20, LINE = 40 };

static int write_lines(void *arg)
{
    char line[LINE];
    int fd = again(shared, O_WRONLY | O_APPEND | (int)(uintptr_t)arg);
    memset(line, 'a', LINE);
    line[LINE - 1] = '\n';
    for (int i = 0; i < LINES; i++) {
        struct iovec iov[2] = {{line, 10}, {line + 10, LINE - 10}};
        BL_CHECK_EQ(t, i % 2 ? bl_write(fd, line, LINE) : bl_writev(fd, iov, 2), LINE);
    }
    return bl_close(fd);
}

static int append_by_many(void *arg)
{
    char line[LINE];
    int lines = 0;
    (void)arg;
    shared = numbered(0);
    BL_SCOPE(s);
    for (int i = 0; i < WRITERS; i++)
        BL_CHECK_EQ(t, bl_go(s, write_lines, (void *)(uintptr_t)(i == 0 ? O_DSYNC : 0)), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    for (; bl_read(shared, line, LINE) == LINE; lines++)
        BL_CHECK(t, line[0] == 'a' && memchr(line, '\n', LINE) == line + LINE - 1);
    BL_CHECK_EQ(t, lines, WRITERS * LINES);
    return bl_close(shared);
}

BL_TEST_PLAIN(appended_lines_are_whole) { each_mode(append_by_many, 0); }

enum { BLOCK = 4096, BLOCKS = 4 };

static int direct_open(int file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

/* What has no memory in between (O_DIRECT) is read and written on a thread of bl_blocking. */
static int direct(void *arg)
{
    void *buf = NULL;
    int file = numbered((size_t)BLOCK * BLOCKS), fd = direct_open(file);
    BL_REQUIRE(t, fd >= 0);
    BL_REQUIRE(t, posix_memalign(&buf, BLOCK, (size_t)2 * BLOCK) == 0);
    for (size_t at = 0; at < (size_t)BLOCK * BLOCKS; at += (size_t)2 * BLOCK) {
        BL_CHECK_EQ(t, bl_read(fd, buf, (size_t)2 * BLOCK), 2 * BLOCK);
        BL_CHECK(t, is_numbered(buf, at, (size_t)2 * BLOCK));
    }
    BL_CHECK_EQ(t, load_relaxed(&bl__rt.helpers.count) != 0, *(int *)arg != HANDOFF);
    BL_CHECK_EQ(t, bl_read(fd, buf, BLOCK), 0);
    BL_CHECK_EQ(t, lseek(fd, BLOCK, SEEK_SET), BLOCK);
    memset(buf, 'x', BLOCK);
    BL_CHECK_EQ(t, bl_write(fd, buf, BLOCK), BLOCK);
    BL_CHECK_EQ(t, lseek(fd, 0, SEEK_SET), 0);
    BL_CHECK_EQ(t, bl_read(fd, buf, (size_t)2 * BLOCK), 2 * BLOCK);
    BL_CHECK(t, is_numbered(buf, 0, BLOCK));
    BL_CHECK_EQ(t, ((char *)buf)[BLOCK], 'x');
    free(buf);
    BL_CHECK_EQ(t, bl_close(fd), 0);
    BL_CHECK_ERR(t, bl_read(fd, &(char){0}, 1), BL_EBADF);
    return bl_close(file);
}

BL_TEST_PLAIN(direct_files)
{
    int file = numbered(0), fd = direct_open(file);
    close(file);
    if (fd < 0)
        bl_skip(t, "the file system has no O_DIRECT: TMPDIR names another");
    close(fd);
    each_mode(direct, 0);
}

/* ---- Stops ----------------------------------------------------------------------------------- */

/* What would have to be waited for is not; what is there is read. */
static int read_stopped(void *arg)
{
    char buf[100];
    bool waits = *(int *)arg != HANDOFF && bl__rt.io_cold;
    int fd = numbered(1000);
    BL_CHECK_EQ(t, bl_read_until(fd, buf, sizeof buf, bl_now()), waits ? BL_ETIMEDOUT : 100);
    BL_CHECK_EQ(t, lseek(fd, 0, SEEK_CUR), waits ? 0 : 100);
    {
        BL_SCOPE(s); /* of the two reasons it is the cancellation */
        bl_scope_cancel(s, 0);
        BL_CHECK_EQ(t, lseek(fd, 0, SEEK_SET), 0);
        BL_CHECK_EQ(t, bl_read_until(fd, buf, sizeof buf, bl_now()), waits ? BL_ECANCELED : 100);
    }
    return bl_close(fd);
}

BL_TEST_PLAIN(a_deadline_that_has_passed) { each_mode(read_stopped, 0); }

static int call_read(call *c)
{
    char buf[100];
    return (int)bl_read_until(*(int *)c->obj, buf, sizeof buf, c->deadline);
}

/* As if somebody else were reading. */
static void turn_set(int fd, uint32_t turn)
{
    int err = 0;
    bl__fd *f = bl__fd_get(fd, &err);
    BL_REQUIRE(t, f != NULL);
    bl__lock(&f->lock, BL__RANK_FD);
    f->side[0].turn = turn;
    bl__unlock(&f->lock);
}

static bool dump_says(const char *text)
{
    static char out[1 << 16];
    int fd = numbered(0);
    BL_CHECK_EQ(t, bl_dump(fd), 0);
    ssize_t n = pread(fd, out, sizeof out - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    BL_CHECK_EQ(t, bl_close(fd), 0);
    return strstr(out, text) != NULL;
}

static int wait_for_a_turn(void *arg)
{
    char says[64];
    if (*(int *)arg == HANDOFF)
        return 0;
    int fd = numbered(1000);
    turn_set(fd, bl__rt.run + 1);
    BL_SCOPE(s);
    call cancelled = {.fn = call_read, .obj = &fd};
    call late = {.fn = call_read, .obj = &fd, .deadline = bl_in(BL_MS)};
    call closed = {.fn = call_read, .obj = &fd};
    call_parks(s, &late);
    BL_CHECK(t, call_returns(&late));
    BL_CHECK_EQ(t, call_result(&late), BL_ETIMEDOUT);
    {
        BL_SCOPE(inner);
        call_parks(inner, &cancelled);
        snprintf(says, sizeof says, "waits on descriptor %d (\"", fd);
        BL_CHECK(t, dump_says("[IO wait"));
        BL_CHECK(t, dump_says(says));
        BL_CHECK_GT(t, load_relaxed(&bl__rt.file_waiters), 0); /* so it is no deadlock */
        bl_scope_cancel(inner, 0);
        BL_CHECK(t, call_returns(&cancelled));
        BL_CHECK_EQ(t, call_result(&cancelled), BL_ECANCELED);
    }
    call_parks(s, &closed);
    BL_CHECK_EQ(t, bl_close(fd), 0);
    BL_CHECK(t, call_returns(&closed));
    BL_CHECK_EQ(t, call_result(&closed), BL_ECLOSED);
    turn_set(fd, 0);
    return 0;
}

BL_TEST_PLAIN(a_wait_is_shown_and_stops) { each_mode(wait_for_a_turn, 0); }

/* A read that is stopped has moved nothing. */
static int read_with_little_time(void *arg)
{
    char buf[RECORD];
    unsigned seed = (unsigned)(uintptr_t)arg;
    off_t at = 0;
    int fd = again(shared, O_RDONLY);
    for (int i = 0; i < 50; i++) {
        ssize_t r = bl_read_until(fd, buf, sizeof buf, bl_in(rand_r(&seed) % 100 * BL_US));
        if (r >= 0) {
            BL_CHECK(t, is_numbered(buf, (size_t)at, (size_t)r));
            at += r;
        } else {
            BL_CHECK_EQ(t, r, BL_ETIMEDOUT);
        }
        BL_CHECK_EQ(t, lseek(fd, 0, SEEK_CUR), at);
    }
    return bl_close(fd);
}

static int many_with_little_time(void *arg)
{
    (void)arg;
    shared = numbered((size_t)RECORD * 60);
    BL_SCOPE(s);
    for (uintptr_t i = 1; i <= 20; i++)
        BL_CHECK_EQ(t, bl_go(s, read_with_little_time, (void *)i), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    return bl_close(shared);
}

BL_TEST_PLAIN(deadlines_at_any_moment) { each_mode(many_with_little_time, 0); }

static void turn_hand_over(int fd)
{
    bl__fd *f = bl__fd_old(fd);
    bl__lock(&f->lock, BL__RANK_FD);
    bl__waiter *w = bl__waitq_claim_front(&f->side[0].queue);
    bl__unlock(&f->lock);
    BL_REQUIRE(t, w != NULL);
    bl__ready(w->g, 1);
}

/* Whoever gets the number after bl_close keeps what is his. (But for who is about to make a system
 * call in that very moment, which no call on a number can help: here the read, or the ring's.) */
static int close_at_any_moment(void *arg)
{
    int lost = 0;
    if (*(int *)arg == HANDOFF)
        return 0;
    for (int i = 0; i < 100; i++) {
        char four[4] = "";
        int fd = numbered(1000), p[2];
        BL_SCOPE(s);
        call c = {.fn = call_read, .obj = &fd};
        turn_set(fd, bl__rt.run + 1);
        call_parks(s, &c);
        turn_hand_over(fd);
        for (int k = 0; k < i % 4; k++)
            bl_yield();
        BL_CHECK_EQ(t, bl_close(fd), 0);
        BL_CHECK_EQ(t, pipe2(p, O_CLOEXEC), 0);
        BL_CHECK_EQ(t, bl_write(p[1], "four", 4), 4);
        BL_CHECK(t, call_returns(&c));
        int r = call_result(&c);
        BL_CHECK(t, r == 100 || r == BL_ECLOSED || r == 4);
        ssize_t kept = bl_read_until(p[0], four, 4, bl_now());
        BL_CHECK(t, kept == BL_ETIMEDOUT || (kept == 4 && memcmp(four, "four", 4) == 0));
        lost += kept != 4;
        BL_CHECK_EQ(t, bl_close(p[0]) + bl_close(p[1]), 0);
    }
    BL_CHECK(t, lost < 50); /* who does not look takes nearly all */
    return 0;
}

BL_TEST_PLAIN(a_number_that_is_used_again) { each_mode(close_at_any_moment, 1); }

/* ---- Runs and processes ---------------------------------------------------------------------- */

static int fork_meanwhile(void *arg)
{
    char buf[100];
    int status = -1;
    int fd = numbered(1000);
    (void)arg;
    BL_CHECK_EQ(t, bl_read(fd, buf, 100), 100);
    pid_t child = fork();
    if (child == 0)
        _exit(bl_read(fd, buf, 100) != 100 || !is_numbered(buf, 100, 100) || bl_close(fd) != 0);
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
    BL_CHECK_EQ(t, bl_read(fd, buf, 100), 100);
    BL_CHECK(t, is_numbered(buf, 200, 100));
    return bl_close(fd);
}

BL_TEST_PLAIN(a_child_of_a_fork) { each_mode(fork_meanwhile, 0); }

static int read_one(void *arg)
{
    char buf[RECORD];
    (void)arg;
    return bl_read(shared, buf, sizeof buf) == RECORD && is_numbered(buf, 0, RECORD) ? 0 : 1;
}

static int count_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 200; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

BL_TEST_PLAIN(a_run_leaves_no_descriptor)
{
    each_mode(read_small_and_odd, 0); /* what the first wait opens stays */
    int before = count_descriptors();
    each_mode(read_small_and_odd, 0);
    BL_CHECK_EQ(t, count_descriptors(), before);
}

static int read_then_hang(void *arg)
{
    char byte;
    bl_chan *c = bl_chan_new(1, 0);
    (void)arg;
    return bl_read(shared, &byte, 1) == 1 ? bl_chan_recv(c, &byte) : 0;
}

BL_TEST_PLAIN(a_deadlock_is_found_all_the_same)
{
    shared = numbered(100);
    for (int mode = 0; mode < 3; mode++) {
        setenv("BELAY_IO", modes[mode], 1);
        setenv("BELAY_DEBUG", "cold=1", 1);
        CHECK_FATAL(t, read_then_hang, "all goroutines are asleep - deadlock!");
    }
    unsetenv("BELAY_IO");
    unsetenv("BELAY_DEBUG");
    BL_CHECK_EQ(t, bl_close(shared), 0);
}

/* No descriptor is left for a ring: threads read. */
BL_TEST_PLAIN(where_io_uring_is_refused)
{
    int status = -1;
    shared = numbered(RECORD);
    pid_t child = fork();
    if (child == 0) {
        int next = dup(shared);
        struct rlimit none = {(rlim_t)next, (rlim_t)next};
        close(next);
        setenv("BELAY_IO", "uring", 1);
        setenv("BELAY_DEBUG", "cold=1", 1);
        _exit(setrlimit(RLIMIT_NOFILE, &none) != 0 || bl_run(read_one, NULL, NULL) != 0);
    }
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
    BL_CHECK_EQ(t, bl_close(shared), 0);
}
