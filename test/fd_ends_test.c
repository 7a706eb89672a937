/* SPDX-License-Identifier: MIT */
/* fd_ends_test.c: descriptors whose other side ends, or that are none. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>

#include "arch/sanitize.h"
#include "pairs.h"

BL_TEST(end_of_file)
{
    EACH(streams, p)
    {
        BL_SCOPE(s);
        char buf[16];
        call c = {.fn = call_read, .obj = &p.b};
        call_parks(s, &c);
        BL_CHECK_EQ(t, bl_close(p.a), 0);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_EQ(t, call_result(&c), 0);
        BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 0);
        BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 0);
        p.a = dup(p.b);
    }
}

BL_TEST(last_bytes_and_the_end_together)
{
    EACH(streams, p)
    {
        char buf[16];
        BL_CHECK_ERR(t, bl_read_until(p.b, buf, sizeof buf, bl_in(BL_MS)),
                     BL_ETIMEDOUT); /* registered */
        BL_CHECK_EQ(t, bl_write(p.a, "bye", 3), 3);
        BL_CHECK_EQ(t, bl_close(p.a), 0);
        BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 3);
        BL_CHECK_EQ(t, bl_read_until(p.b, buf, sizeof buf, bl_in(LATE)), 0);
        p.a = dup(p.b);
    }
}

/* As read(2): no wait for nothing, not even where a read before has emptied the connection; and a
 * datagram stays. */
BL_TEST(reads_of_nothing)
{
    pair (*const kinds[])(void) = {pipe_pair, unix_pair, tcp_pair, udp_pair};
    EACH(kinds, p)
    {
        char buf[16];
        BL_CHECK_EQ(t, bl_read_until(p.b, buf, 0, bl_in(LATE)), 0);
        BL_CHECK_EQ(t, bl_write(p.a, "abc", 3), 3);
        BL_CHECK_EQ(t, bl_read(p.b, buf, 0), 0);
        BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 3);
        BL_CHECK_EQ(t, bl_read_until(p.b, buf, 0, bl_in(LATE)), 0);
    }
}

BL_TEST(a_fifo_without_a_writer_has_ended)
{
    char folder[] = "/tmp/belay-fifo-XXXXXX", name[64], buf[16];
    BL_REQUIRE(t, mkdtemp(folder) != NULL);
    snprintf(name, sizeof name, "%s/fifo", folder);
    BL_CHECK_EQ(t, mkfifo(name, 0600), 0);
    int in = open(name, O_RDONLY | O_NONBLOCK);
    BL_CHECK_EQ(t, bl_read_until(in, buf, sizeof buf, bl_in(LATE)), 0); /* none has come */
    int out = open(name, O_WRONLY);
    BL_CHECK_ERR(t, bl_read_until(in, buf, sizeof buf, bl_in(BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_write(out, "x", 1), 1);
    BL_CHECK_EQ(t, bl_read(in, buf, sizeof buf), 1);
    bl_close(out);
    BL_CHECK_EQ(t, bl_read_until(in, buf, sizeof buf, bl_in(LATE)), 0); /* it has gone */
    bl_close(in);
    unlink(name);
    rmdir(folder);
}

BL_TEST(half_close)
{
    pair (*const kinds[])(void) = {unix_pair, tcp_pair};
    EACH(kinds, p)
    {
        char buf[16];
        BL_CHECK_EQ(t, shutdown(p.a, SHUT_WR), 0);
        BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 0);
        for (int i = 0; i < 3; i++) {
            BL_SCOPE(s);
            call c = {.fn = call_read, .obj = &p.a};
            call_parks(s, &c);
            BL_CHECK_EQ(t, bl_write(p.b, "y", 1), 1); /* the other half still works */
            BL_CHECK(t, call_returns(&c));
            BL_CHECK_EQ(t, call_result(&c), 1);
        }
    }
}

/* Either half, by either end, while somebody waits for it; who waits for the other half goes on
 * waiting. */
BL_TEST(half_close_during_wait)
{
    pair (*const kinds[])(void) = {unix_pair, tcp_pair};
    EACH(kinds, p)
    {
        BL_SCOPE(s);
        call reads = {.fn = call_read, .obj = &p.a}, writes = {.fn = call_write, .obj = &p.a};
        call_parks(s, &reads);
        call_parks(s, &writes);
        BL_CHECK_EQ(t, shutdown(p.b, SHUT_WR), 0);
        BL_CHECK(t, call_returns(&reads));
        BL_CHECK_EQ(t, call_result(&reads), 0);
        BL_CHECK_EQ(t, call_result(&writes), CALL_PENDING);
        BL_CHECK_EQ(t, shutdown(p.a, SHUT_WR), 0);
        BL_CHECK(t, call_returns(&writes));
        BL_CHECK_ERR(t, call_result(&writes), BL_EPIPE);
    }
}

BL_TEST(peers_that_vanish)
{
    pair p = tcp_pair();
    struct linger now = {1, 0};
    BL_SCOPE(s);
    call c = {.fn = call_read, .obj = &p.b};
    call_parks(s, &c);
    BL_CHECK_EQ(t, setsockopt(p.a, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    BL_CHECK_EQ(t, bl_close(p.a), 0); /* a reset */
    BL_CHECK(t, call_returns(&c));
    BL_CHECK_ERR(t, call_result(&c), BL_ECONNRESET);
    BL_CHECK_ERR(t, bl_write(p.b, "x", 1), BL_EPIPE);
    BL_CHECK_EQ(t, bl_close(p.b), 0);
}

BL_TEST(readers_that_vanish)
{
    EACH(streams, p)
    {
        BL_SCOPE(s);
        call c = {.fn = call_write, .obj = &p.a};
        call_parks(s, &c);
        BL_CHECK_EQ(t, bl_close(p.b), 0); /* with bytes that nobody has read: TCP resets */
        BL_CHECK(t, call_returns(&c));
        BL_CHECK(t, call_result(&c) == BL_EPIPE || call_result(&c) == BL_ECONNRESET);
        p.b = dup(p.a);
    }
}

BL_TEST(sigpipe_never_kills)
{
    struct sigaction before;
    sigset_t pending;
    BL_CHECK_EQ(t, sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_DFL}, &before), 0);
    EACH(streams, p)
    {
        char data[200];
        BL_CHECK_EQ(t, bl_close(p.b), 0);
        ssize_t r = bl_write(p.a, "x", 1);
        while (r >= 0) { /* TCP learns of it with the answer to the first */
            bl_yield();
            r = bl_write(p.a, data, sizeof data);
        }
        BL_CHECK(t, r == BL_EPIPE || r == BL_ECONNRESET);
        BL_CHECK_ERR(t, bl_write(p.a, "x", 1), BL_EPIPE);
        BL_CHECK_ERR(t, bl_writev(p.a, &(struct iovec){data, sizeof data}, 1), BL_EPIPE);
        r = bl_sendto(p.a, "x", 1, 0, NULL, 0);
        BL_CHECK(t, r == BL_EPIPE || r == BL_ENOTSOCK);
        sigemptyset(&pending);
        BL_CHECK_EQ(t, sigpending(&pending), 0);
        BL_CHECK_EQ(t, sigismember(&pending, SIGPIPE), 0);
        p.b = dup(p.a);
    }
    BL_CHECK_EQ(t, sigaction(SIGPIPE, &before, NULL), 0);
}

BL_TEST(bad_descriptors)
{
    char byte = 0;
    int open_one = eventfd(0, EFD_CLOEXEC);
    int bad[] = {-1, INT_MAX, open_one + 500, open_one};
    BL_CHECK_EQ(t, close(open_one), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        BL_CHECK_ERR(t, bl_read(bad[i], &byte, 1), BL_EBADF);
        BL_CHECK_ERR(t, bl_write(bad[i], &byte, 1), BL_EBADF);
        BL_CHECK_ERR(t, bl_recvfrom(bad[i], &byte, 1, 0, NULL, NULL), BL_EBADF);
        BL_CHECK_ERR(t, bl_sendto(bad[i], &byte, 1, 0, NULL, 0), BL_EBADF);
        BL_CHECK_ERR(t, bl_accept(bad[i], NULL, NULL), BL_EBADF);
        BL_CHECK_ERR(t, bl_fd_wait(bad[i], BL_READABLE, BL_NEVER), BL_EBADF);
        BL_CHECK_ERR(t, bl_close(bad[i]), BL_EBADF);
    }
    BL_CHECK_ERR(t, bl_fd_wait(0, 0, BL_NEVER), BL_EINVAL);
    BL_CHECK_ERR(t, bl_fd_wait(0, 8, BL_NEVER), BL_EINVAL);
    pair p = pipe_pair();
    BL_CHECK_ERR(t, bl_recvfrom(p.b, &byte, 1, 0, NULL, NULL), BL_ENOTSOCK);
    BL_CHECK_ERR(t, bl_read(p.a, &byte, 1), BL_EBADF);
    pair_close(&p);
}

/* A terminal is asked by poll(2), which knows nothing of how it was opened. */
BL_TEST(terminals_open_one_way)
{
    char byte = 0;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        bl_skip(t, "there are no pseudoterminals here");
    BL_REQUIRE(t, grantpt(master) == 0 && unlockpt(master) == 0);
    int to = open(ptsname(master), O_WRONLY | O_NOCTTY | O_CLOEXEC);
    int from = open(ptsname(master), O_RDONLY | O_NOCTTY | O_CLOEXEC);
    BL_REQUIRE(t, to >= 0 && from >= 0);
    BL_CHECK_EQ(t, bl_write(to, "x", 1), 1); /* by which it is known as a terminal */
    BL_CHECK_ERR(t, bl_read(to, &byte, 1), BL_EBADF);
    BL_CHECK_EQ(t, bl_read(master, &byte, 1), 1);
    BL_CHECK_EQ(t, byte, 'x');
    BL_CHECK_EQ(t, bl_write(master, "y\n", 2), 2);
    BL_CHECK_EQ(t, bl_read(from, &byte, 1), 1);
    BL_CHECK_EQ(t, byte, 'y');
    BL_CHECK_ERR(t, bl_write(from, &byte, 1), BL_EBADF);
    BL_CHECK_EQ(t, bl_close(to), 0);
    BL_CHECK_EQ(t, bl_close(from), 0);
    BL_CHECK_EQ(t, bl_close(master), 0);
}

/* One that has room has less than a pipe, and a new line may take all of it. */
BL_TEST(terminal_that_nobody_reads)
{
    static char text[20000];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        bl_skip(t, "there are no pseudoterminals here");
    BL_REQUIRE(t, grantpt(master) == 0 && unlockpt(master) == 0);
    for (int line = 1; line <= 64; line++) {
        int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        BL_REQUIRE(t, slave >= 0);
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)(i % (size_t)line == 0 ? "\n\t"[line % 2] : 'x');
        ssize_t r;
        while ((r = bl_write_until(slave, text, sizeof text, bl_in(BL_MS))) > 0)
            continue;
        BL_CHECK_ERR(t, (int)r, BL_ETIMEDOUT);
        BL_CHECK_EQ(t, tcflush(master, TCIFLUSH), 0); /* drops what came */
        BL_CHECK_EQ(t, bl_close(slave), 0);
    }
    BL_CHECK_EQ(t, bl_close(master), 0);
}

enum { TTY_WRITERS = 3, TTY_LINES = 12, TTY_LINE = 20 };

static int tty_lines(void *arg)
{
    char line[TTY_LINE];
    int fd = *(int *)arg;
    memset(line, (int)('a' + bl_id() % 26), sizeof line);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < TTY_LINES; i++)
        BL_CHECK_EQ(t, bl_write(fd, line, sizeof line), (ssize_t)sizeof line);
    return 0;
}

/* A line that goes to a terminal with room is a whole: no other comes in between. */
BL_TEST(lines_on_a_terminal)
{
    char text[TTY_WRITERS * TTY_LINES * (TTY_LINE + 1)]; /* a terminal has room for more */
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        bl_skip(t, "there are no pseudoterminals here");
    BL_REQUIRE(t, grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    BL_REQUIRE(t, slave >= 0);
    for (int round = 0; round < 50; round++) {
        BL_SCOPE(s);
        for (int i = 0; i < TTY_WRITERS; i++)
            BL_CHECK_EQ(t, bl_go(s, tty_lines, &slave), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        for (size_t got = 0; got < sizeof text;) {
            ssize_t r = bl_read(master, text + got, sizeof text - got);
            BL_REQUIRE(t, r > 0);
            got += (size_t)r;
        }
        for (size_t i = 0; i < sizeof text; i++) {
            size_t at = i % (TTY_LINE + 1);
            BL_REQUIRE(t, at < TTY_LINE - 1 ? text[i] == text[i - at]
                                            : text[i] == "\r\n"[at - TTY_LINE + 1]);
        }
    }
    BL_CHECK_EQ(t, bl_close(slave), 0);
    BL_CHECK_EQ(t, bl_close(master), 0);
}

BL_TEST(connect_refused)
{
    struct sockaddr_in at;
    int listener = tcp_listen(&at);
    BL_CHECK_EQ(t, bl_close(listener), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BL_CHECK_ERR(t, bl_connect(fd, (struct sockaddr *)&at, sizeof at), BL_ECONNREFUSED);
    BL_CHECK_EQ(t, bl_close(fd), 0);
}

/* Whether it had to be waited for or not. */
BL_TEST(connect_again)
{
    struct sockaddr_in at;
    int listener = tcp_listen(&at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BL_CHECK_ERR(t, bl_connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    BL_CHECK_ERR(t, bl_connect(fd, (struct sockaddr *)&at, sizeof at), BL_EISCONN);
    BL_CHECK_EQ(t, bl_close(fd), 0);
    BL_CHECK_EQ(t, bl_close(listener), 0);
}

BL_TEST(unix_connect_waits_for_room)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int n = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "belay-fd-test-%d", (int)getpid());
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd[8];
    size_t made = 0;
    BL_CHECK_EQ(t, bind(listener, (struct sockaddr *)&at, len), 0);
    BL_CHECK_EQ(t, listen(listener, 1), 0);
    for (int r = 0; r == 0 && made < 8;) {
        fd[made] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        r = bl_connect_until(fd[made++], (struct sockaddr *)&at, len, bl_in(2 * BL_MS));
        BL_CHECK(t, r == 0 || r == BL_ETIMEDOUT);
    }
    BL_CHECK(t, made < 8);
    int got = bl_accept(listener, NULL, NULL);
    BL_CHECK_EQ(t, bl_connect(fd[made - 1], (struct sockaddr *)&at, len), 0);
    BL_CHECK_EQ(t, bl_close(got), 0);
    for (size_t i = 0; i < made; i++)
        BL_CHECK_EQ(t, bl_close(fd[i]), 0);
    BL_CHECK_EQ(t, bl_close(listener), 0);
}

/* ---- A number that is another's by the time it is read ---------------------------------------- */

enum { HELD_MOST = 200 };

static struct {
    int fd;       /* whose reads are counted; 0: none */
    int refused;  /* atomic: the kernel has no RWF_NOWAIT for it */
    int reads;    /* atomic */
    int held;     /* atomic: the second one, which follows the wait, is about to ask the system */
    int reopened; /* atomic: the number is another's, for which it waits, but not for long */
} reuse;

/* Instead of the C library's. */
ssize_t held_preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                     int flags) __asm__("preadv2");
ssize_t held_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (fd == reuse.fd && __atomic_add_fetch(&reuse.reads, 1, __ATOMIC_RELAXED) == 2) {
        __atomic_store_n(&reuse.held, 1, __ATOMIC_RELEASE);
        for (int i = 0; i < HELD_MOST && !__atomic_load_n(&reuse.reopened, __ATOMIC_ACQUIRE); i++)
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    ssize_t n = syscall(SYS_preadv2, fd, iov, count, offset, 0, flags);
    if (fd == reuse.fd && n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        __atomic_store_n(&reuse.refused, 1, __ATOMIC_RELEASE);
    return n;
}

/* Who was woken reads what was there, or that the number is closed, and not what is for others: a
 * close waits for it. */
BL_TEST(woken_and_the_number_is_anothers)
{
    pair p = pipe_pair(), other = pipe_pair();
    char got = 0, byte = 'n';
    call c = {.fn = call_read, .obj = &p.b};
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_write(other.a, &byte, 1), 1);
    reuse.fd = p.b;
    call_parks(s, &c);
    /* Then its reads may hold up the thread, and are not waited for. */
    if (__atomic_load_n(&reuse.refused, __ATOMIC_ACQUIRE)) {
        BL_CHECK_EQ(t, bl_close(p.b), 0);
        p.b = dup(p.a);
        pair_close(&p);
        pair_close(&other);
        bl_skip(t, "the kernel has no RWF_NOWAIT");
    }
    if (__atomic_load_n(&reuse.reads, __ATOMIC_RELAXED) == 0) { /* under ThreadSanitizer */
        BL_CHECK(t, BL__RACE || BL__TSAN);
        __atomic_store_n(&reuse.held, 1, __ATOMIC_RELEASE);
    }
    BL_CHECK_EQ(t, bl_write(p.a, "o", 1), 1);
    while (!__atomic_load_n(&reuse.held, __ATOMIC_ACQUIRE))
        bl_yield();
    BL_CHECK_EQ(t, bl_close(p.b), 0);
    BL_CHECK_EQ(t, dup3(other.b, p.b, O_CLOEXEC), p.b);
    __atomic_store_n(&reuse.reopened, 1, __ATOMIC_RELEASE);
    BL_CHECK(t, call_returns(&c));
    reuse.fd = 0;
    BL_CHECK_EQ(t, bl_read(p.b, &got, 1), 1); /* it is there still */
    BL_CHECK_EQ(t, got, 'n');
    pair_close(&p);
    pair_close(&other);
}
