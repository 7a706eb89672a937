/* SPDX-License-Identifier: MIT */
/* fd_test.c: waiting for descriptors. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"

#include "fatal.h"
#include "io/fd.h"
#include "pairs.h"

enum { CALLS = 5 };

static int call_wait_both(call *c)
{
    int both = BL_READABLE | BL_WRITABLE;
    return bl_fd_wait(*(int *)c->obj, c->k ? (int)c->k : both, c->deadline);
}

static int call_accept(call *c) { return bl_accept_until(*(int *)c->obj, NULL, NULL, c->deadline); }

/* ---- Reading and writing --------------------------------------------------------------------- */

BL_TEST(reads_what_comes)
{
    EACH(all_kinds, p)
    {
        char byte = 0;
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK_GE(t, bl_read(p.b, &byte, 1), 1);
        BL_CHECK_EQ(t, byte, 'x');
    }
}

BL_TEST(waits_until_it_comes)
{
    EACH(all_kinds, p)
    {
        for (int i = 0; i < 3; i++) {
            BL_SCOPE(s);
            char more[16];
            call c = {.fn = call_read, .obj = &p.b};
            call_parks(s, &c);
            BL_CHECK_EQ(t, call_result(&c), CALL_PENDING);
            BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
            BL_CHECK(t, call_returns(&c));
            BL_CHECK_EQ(t, call_result(&c), 1);
            if (all_kinds[kind_] != udp_pair)
                BL_CHECK_EQ(t, bl_read(p.b, more, sizeof more), 1);
        }
    }
}

BL_TEST(drained_connection_gets_all_that_follows)
{
    EACH(streams, p)
    {
        char buf[64];
        for (int i = 0; i < 500; i++) {
            BL_CHECK_EQ(t, bl_write(p.a, "hello", 5), 5);
            BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 5);
            if (i % 7 == 0)
                bl_yield();
        }
        BL_CHECK_ERR(t, bl_read_until(p.b, buf, sizeof buf, bl_in(BL_MS)), BL_ETIMEDOUT);
        BL_CHECK_EQ(t, bl_write(p.a, "hello", 5), 5);
        BL_CHECK_EQ(t, bl_read_until(p.b, buf, sizeof buf, 1),
                    5); /* what is there comes, late or not */
    }
}

typedef struct transfer {
    int fd;
    size_t size;
    uint64_t sum;
} transfer;

static int transfer_read(void *arg)
{
    transfer *job = arg;
    unsigned char buf[5000];
    ssize_t r;
    while ((r = bl_read(job->fd, buf, sizeof buf)) > 0)
        for (ssize_t i = 0; i < r; i++)
            job->sum += (uint64_t)buf[i] * (job->size++ % 251 + 1);
    return (int)r;
}

BL_TEST(writes_all)
{
    enum { SIZE = 3000000 };
    unsigned char *data = malloc(SIZE);
    uint64_t sum = 0;
    BL_REQUIRE(t, data != NULL);
    for (size_t i = 0; i < SIZE; i++) {
        data[i] = (unsigned char)(i * 31 >> 3);
        sum += (uint64_t)data[i] * (i % 251 + 1);
    }
    EACH(streams, p)
    {
        BL_SCOPE(s);
        transfer job = {.fd = p.b};
        struct iovec iov[40];
        size_t done = 1000000;
        for (int i = 0; i < 40; i++) {
            iov[i] = (struct iovec){data + done, i == 39 ? SIZE - done : (size_t)i * 200};
            done += iov[i].iov_len;
        }
        bl_go(s, transfer_read, &job);
        BL_CHECK_EQ(t, bl_write(p.a, data, 1000000), 1000000);
        BL_CHECK_EQ(t, bl_writev(p.a, iov, 40), SIZE - 1000000);
        BL_CHECK_EQ(t, bl_close(p.a), 0);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, job.size, SIZE);
        BL_CHECK_EQ(t, job.sum, sum);
        p.a = dup(p.b);
    }
    free(data);
}

BL_TEST(write_gives_up_with_what_it_wrote)
{
    EACH(streams, p)
    {
        BL_SCOPE(s);
        call c = {.fn = call_write, .obj = &p.a};
        call_parks(s, &c);
        bl_scope_cancel(s, 0);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_ERR(t, call_result(&c), BL_ECANCELED);
    }
}

BL_TEST(eventfd_counts)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t n = 3;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_write(fd, &n, sizeof n), 8);
    BL_CHECK_EQ(t, bl_read(fd, &n, sizeof n), 8);
    BL_CHECK_EQ(t, n, 3);
    BL_CHECK_ERR(t, bl_read_until(fd, &n, sizeof n, bl_in(BL_MS)), BL_ETIMEDOUT);
    if (getenv("BELAY_EMULATOR") == NULL) /* which has no RWF_NOWAIT, so it is asked first */
        BL_CHECK_ERR(t, bl_read_until(fd, &n, 4, bl_in(BL_SEC)), BL_EINVAL); /* and does not wait */
    n = UINT64_MAX - 1;
    BL_CHECK_EQ(t, bl_write(fd, &n, sizeof n), 8);
    BL_CHECK_ERR(t, bl_write_until(fd, &n, sizeof n, bl_in(BL_MS)), BL_ETIMEDOUT);
    call c = {.fn = call_wait_both, .obj = &fd, .k = BL_WRITABLE};
    call_parks(s, &c);
    BL_CHECK_EQ(t, bl_read(fd, &n, sizeof n), 8);
    BL_CHECK(t, call_returns(&c));
    BL_CHECK_EQ(t, call_result(&c), BL_WRITABLE);
    BL_CHECK_EQ(t, bl_close(fd), 0);
}

BL_TEST(datagrams_keep_their_bounds)
{
    pair p = udp_pair();
    char buf[64];
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    BL_CHECK_ERR(t, bl_recvfrom_until(p.b, buf, sizeof buf, 0, (struct sockaddr *)&from, &len, 0),
                 BL_ETIMEDOUT);
    BL_CHECK_EQ(t, len, sizeof from); /* as it was */
    BL_CHECK_EQ(t, bl_sendto(p.a, "one", 3, 0, NULL, 0), 3);
    BL_CHECK_EQ(t, bl_write(p.a, "three", 5), 5);
    BL_CHECK_EQ(t, bl_recvfrom(p.b, buf, sizeof buf, 0, (struct sockaddr *)&from, &len), 3);
    BL_CHECK_EQ(t, len, sizeof(struct sockaddr_in));
    BL_CHECK_EQ(t, bl_recvfrom(p.b, buf, sizeof buf, MSG_PEEK, NULL, NULL), 5);
    BL_CHECK_EQ(t, bl_read(p.b, buf, sizeof buf), 5);
    BL_CHECK_ERR(t, bl_recvfrom(p.b, buf, sizeof buf, MSG_DONTWAIT, NULL, NULL), BL_EAGAIN);
    BL_CHECK_ERR(t, bl_recvfrom(p.b, buf, sizeof buf, MSG_WAITALL, NULL, NULL), BL_EINVAL);
    BL_CHECK_EQ(t, bl_sendto(p.b, "back", 4, 0, (struct sockaddr *)&from, len), 4);
    BL_CHECK_EQ(t, bl_recvfrom(p.a, buf, sizeof buf, 0, NULL, NULL), 4);
    pair_close(&p);
}

typedef struct letter {
    int from;
    struct sockaddr_un to;
    socklen_t len;
} letter;

static int call_send_to(call *c)
{
    const letter *l = c->obj;
    return (int)bl_sendto_until(l->from, "x", 1, 0, (const struct sockaddr *)&l->to, l->len,
                                c->deadline);
}

/* Without a connection the sender can always be written to, says epoll, and each try is an event. */
BL_TEST(datagrams_to_one_that_takes_no_more)
{
    letter l = {.to.sun_family = AF_UNIX, .len = sizeof l.to};
    int to = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timespec before, after;
    char byte;
    BL_SCOPE(s);
    l.from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    BL_CHECK_EQ(t, bind(to, (struct sockaddr *)&l.to, sizeof l.to.sun_family), 0); /* any name */
    BL_CHECK_EQ(t, getsockname(to, (struct sockaddr *)&l.to, &l.len), 0);
    while (sendto(l.from, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&l.to, l.len) == 1)
        continue;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    call late = {.fn = call_send_to, .obj = &l, .deadline = bl_in(300 * BL_MS)};
    BL_CHECK_ERR(t, call_send_to(&late), BL_ETIMEDOUT);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    BL_CHECK_LT(t, (after.tv_sec - before.tv_sec) * BL_SEC + after.tv_nsec - before.tv_nsec,
                150 * BL_MS);
    call c = {.fn = call_send_to, .obj = &l, .deadline = BL_NEVER};
    call_parks(s, &c);
    BL_CHECK_EQ(t, bl_read(to, &byte, 1), 1);
    BL_CHECK(t, call_returns(&c));
    BL_CHECK_EQ(t, call_result(&c), 1);
    BL_CHECK_EQ(t, bl_close(l.from), 0);
    BL_CHECK_EQ(t, bl_close(to), 0);
}

BL_TEST(regular_files_are_ready)
{
    FILE *f = tmpfile();
    char buf[8] = "";
    BL_REQUIRE(t, f != NULL);
    int fd = fileno(f);
    BL_CHECK_EQ(t, bl_write(fd, "hello", 5), 5);
    BL_CHECK_EQ(t, lseek(fd, 0, SEEK_SET), 0);
    BL_CHECK_EQ(t, bl_fd_wait(fd, BL_READABLE | BL_WRITABLE, 1), BL_READABLE | BL_WRITABLE);
    BL_CHECK_EQ(t, bl_read(fd, buf, sizeof buf), 5); /* of deadlines regular_test has more */
    BL_CHECK_STR(t, buf, "hello");
    BL_CHECK_EQ(t, bl_read(fd, buf, sizeof buf), 0);
    fclose(f);
}

BL_TEST(nothing_waits_for_nothing)
{
    static const char data[1 << 16];
    pair (*const kinds[])(void) = {pipe_pair, unix_pair, tcp_pair, pty_pair};
    EACH(kinds, p)
    {
        char byte;
        for (int i = 0; i < 200 && bl_write_until(p.a, data, sizeof data, 0) > 0; i++) {
        }
        BL_CHECK_EQ(t, bl_write_until(p.a, data, 0, bl_in(LATE)), 0);
        BL_CHECK_EQ(t, bl_writev_until(p.a, NULL, 0, bl_in(LATE)), 0);
        BL_CHECK_EQ(t, bl_read_until(p.b, &byte, 0, bl_in(LATE)), 0);
    }
}

BL_TEST(flags_are_left_alone)
{
    pair (*const kinds[])(void) = {pipe_pair, unix_pair, tcp_pair, pty_pair};
    EACH(kinds, p)
    {
        char byte;
        int before = fcntl(p.b, F_GETFL);
        BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, bl_in(BL_MS)), BL_ETIMEDOUT);
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK_EQ(t, fcntl(p.b, F_GETFL), before);
        BL_CHECK_EQ(t, fcntl(p.a, F_GETFL) & O_NONBLOCK, 0);
    }
}

/* ---- Stops ----------------------------------------------------------------------------------- */

BL_TEST(deadlines)
{
    EACH(all_kinds, p)
    {
        char byte;
        bl_time begin = bl_now();
        BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, begin), BL_ETIMEDOUT);
        BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, 0), BL_ETIMEDOUT);
        BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, -1), BL_ETIMEDOUT);
        BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, begin + 2 * BL_MS), BL_ETIMEDOUT);
        BL_CHECK_GE(t, bl_now(), begin + 2 * BL_MS);
        BL_CHECK_ERR(t, bl_fd_wait(p.b, BL_READABLE, bl_in(BL_MS)), BL_ETIMEDOUT);
        BL_CHECK_EQ(t, bl_fd_wait(p.a, BL_WRITABLE, 1), BL_WRITABLE);
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK_EQ(t, bl_read_until(p.b, &byte, 1, bl_in(LATE)), 1);
    }
}

BL_TEST(scope_deadline)
{
    pair p = pipe_pair();
    char byte;
    BL_SCOPE(s, .timeout = 2 * BL_MS);
    BL_CHECK_ERR(t, bl_read(p.b, &byte, 1), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_fd_wait(p.b, BL_READABLE, BL_NEVER), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_write(p.a, "x", 1), 1); /* what can proceed proceeds */
    BL_CHECK_EQ(t, bl_read(p.b, &byte, 1), 1);
    pair_close(&p);
}

BL_TEST(cancel_during_wait)
{
    EACH(all_kinds, p)
    {
        call calls[CALLS];
        char byte;
        BL_SCOPE(s);
        for (int i = 0; i < CALLS; i++) {
            calls[i] = (call){.fn = i % 2 ? call_read : call_wait_both, .obj = &p.b};
            calls[i].k = BL_READABLE;
            call_parks(s, &calls[i]);
        }
        bl_scope_cancel(s, 0);
        for (int i = 0; i < CALLS; i++) {
            BL_CHECK(t, call_returns(&calls[i]));
            BL_CHECK_ERR(t, call_result(&calls[i]), BL_ECANCELED);
        }
        BL_CHECK_ERR(t, bl_read(p.b, &byte, 1), BL_ECANCELED);
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK_EQ(t, bl_read(p.b, &byte, 1), 1);
    }
}

BL_TEST(close_during_wait)
{
    int low =
        open("/dev/null",
             O_RDONLY | O_CLOEXEC); /* what other threads may open meanwhile, instead of p.b */
    EACH(all_kinds, p)
    {
        call calls[CALLS];
        BL_SCOPE(s);
        for (int i = 0; i < CALLS; i++) {
            calls[i] = (call){.fn = i % 2 ? call_read : call_wait_both, .obj = &p.b};
            calls[i].k = BL_READABLE;
            call_parks(s, &calls[i]);
        }
        close(low);
        BL_CHECK_EQ(t, bl_close(p.b), 0);
        int again = dup3(p.a, p.b, O_CLOEXEC); /* gets the number; nobody may touch it */
        for (int i = 0; i < CALLS; i++) {
            BL_CHECK(t, call_returns(&calls[i]));
            BL_CHECK_ERR(t, call_result(&calls[i]), BL_ECLOSED);
        }
        BL_CHECK_EQ(t, again, p.b);
        low = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    close(low);
}

BL_TEST(close_during_write_and_accept)
{
    struct sockaddr_in at;
    EACH(streams, p)
    {
        BL_SCOPE(s);
        call c = {.fn = call_write, .obj = &p.a};
        call_parks(s, &c);
        BL_CHECK_EQ(t, bl_close(p.a), 0);
        BL_CHECK(t, call_returns(&c));
        /* What had written a part said so, and was told the reason when it went on. */
        BL_CHECK(t, call_result(&c) == BL_ECLOSED || call_result(&c) == BL_EBADF);
        p.a = dup(p.b);
    }
    int listener = tcp_listen(&at);
    BL_SCOPE(s);
    call c = {.fn = call_accept, .obj = &listener};
    call_parks(s, &c);
    BL_CHECK_EQ(t, bl_close(listener), 0);
    BL_CHECK(t, call_returns(&c));
    BL_CHECK_ERR(t, call_result(&c), BL_ECLOSED);
}

BL_TEST(several_accept)
{
    struct sockaddr_in at;
    int listener = tcp_listen(&at);
    call calls[CALLS];
    int fd[CALLS];
    BL_SCOPE(s);
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (call){.fn = call_accept, .obj = &listener};
        call_parks(s, &calls[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        BL_CHECK_EQ(t, bl_connect(fd[i], (struct sockaddr *)&at, sizeof at), 0);
    }
    for (int i = 0; i < CALLS; i++) {
        BL_CHECK(t, call_returns(&calls[i]));
        BL_CHECK_GE(t, call_result(&calls[i]), 0);
        BL_CHECK_EQ(t, bl_close(call_result(&calls[i])), 0);
        BL_CHECK_EQ(t, bl_close(fd[i]), 0);
    }
    BL_CHECK_EQ(t, bl_close(listener), 0);
}

BL_TEST(accept_says_who_has_connected)
{
    struct sockaddr_in at, from;
    struct sockaddr_storage who = {0};
    int listener = tcp_listen(&at), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof who, from_len = sizeof from;
    BL_CHECK_ERR(t, bl_accept_until(listener, (struct sockaddr *)&who, &len, 0), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, len, sizeof who); /* as it was */
    BL_CHECK_EQ(t, bl_connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    int got = bl_accept(listener, (struct sockaddr *)&who, &len);
    BL_REQUIRE(t, got >= 0);
    BL_CHECK_EQ(t, getsockname(fd, (struct sockaddr *)&from, &from_len), 0);
    BL_CHECK_EQ(t, len, sizeof from);
    BL_CHECK_MEM(t, &who, &from, sizeof from);
    BL_CHECK_EQ(t, fcntl(got, F_GETFL) & O_NONBLOCK, 0);
    BL_CHECK_EQ(t, fcntl(got, F_GETFD), FD_CLOEXEC);
    BL_CHECK_EQ(t, bl_close(got), 0);
    BL_CHECK_EQ(t, bl_close(fd), 0);
    BL_CHECK_EQ(t, bl_close(listener), 0);
}

/* A wait on both sides, ended by either, is out of both queues. */
BL_TEST(wait_for_both)
{
    pair p = unix_pair();
    call full = {.fn = call_write, .obj = &p.b};
    {
        BL_SCOPE(s);
        call_parks(s, &full);
        bl_scope_cancel(s, 0);
        BL_CHECK(t, call_returns(&full));
    }
    for (int i = 0; i < 20; i++) {
        BL_SCOPE(s);
        char byte;
        call c = {.fn = call_wait_both, .obj = &p.b};
        call_parks(s, &c);
        BL_CHECK_EQ(t, bl_write(p.a, "x", 1), 1);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_EQ(t, call_result(&c), BL_READABLE);
        BL_CHECK_EQ(t, bl_read(p.b, &byte, 1), 1);
    }
    pair_close(&p);
}

enum { CROWD = 10000, CROWD_FDS = 16 };

typedef struct crowd {
    int fd[CROWD_FDS];
    int next, timed_out; /* atomic */
} crowd;

static int crowd_one(void *arg)
{
    crowd *c = arg;
    int i = add_relaxed(&c->next, 1);
    bl_time deadline = bl_in((5 + i % 40) * BL_MS);
    int r = bl_fd_wait(c->fd[i % CROWD_FDS], BL_READABLE, deadline);
    if (r == BL_ETIMEDOUT && bl_now() >= deadline)
        add_relaxed(&c->timed_out, 1);
    return 0;
}

BL_TEST(ten_thousand_deadlines)
{
    static crowd c;
    int n = BL__TSAN ? CROWD / 20 : CROWD; /* whose fibers are large */
    memset(&c, 0, sizeof c);
    for (int i = 0; i < CROWD_FDS; i++)
        c.fd[i] = eventfd(0, EFD_CLOEXEC);
    BL_SCOPE(s);
    for (int i = 0; i < n; i++)
        BL_CHECK_EQ(t, bl_go(s, crowd_one, &c), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, c.timed_out, n);
    for (int i = 0; i < CROWD_FDS; i++)
        BL_CHECK_EQ(t, bl_close(c.fd[i]), 0);
}

/* ---- Numbers that are used again ------------------------------------------------------------- */

/* Closed behind the library's back, with what is known of it out of date in every way. */
BL_TEST(reuse_after_plain_close)
{
    for (int i = 0; i < 8; i++) {
        char buf[64];
        pair old = i & 1 ? pipe_pair() : tcp_pair();
        BL_SCOPE(s);
        BL_CHECK_ERR(t, bl_read_until(old.b, buf, sizeof buf, bl_in(BL_MS)), BL_ETIMEDOUT);
        BL_CHECK_EQ(t, bl_write(old.a, "x", 1), 1);
        BL_CHECK_EQ(t, bl_read(old.b, buf, sizeof buf), 1); /* drained, now */
        int number = old.b;
        pair p = i & 2 ? pipe_pair() : unix_pair();
        close(old.a);
        BL_CHECK_EQ(t, dup2(p.b, number), number);
        close(p.b);
        p.b = number;
        BL_CHECK_EQ(t, bl_write(p.a, "y", 1), 1);
        BL_CHECK_EQ(t, bl_read_until(p.b, buf, sizeof buf, bl_in(LATE)), 1);
        call c = {.fn = call_read, .obj = &p.b, .deadline = bl_in(LATE)};
        call_parks(s, &c);
        BL_CHECK_EQ(t, bl_write(p.a, "y", 1), 1);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_EQ(t, call_result(&c), 1);
        pair_close(&p);
    }
}

BL_TEST(reuse_after_close)
{
    for (int i = 0; i < 200; i++) {
        pair p = (i & 1 ? tcp_pair : unix_pair)();
        BL_SCOPE(s);
        call c = {.fn = call_read, .obj = &p.b};
        call_parks(s, &c);
        BL_CHECK_EQ(t, bl_write(p.a, "y", 1), 1);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_EQ(t, call_result(&c), 1);
        pair_close(&p);
    }
}

enum { REST = 300000 };

static int write_much(void *arg)
{
    static const char ones[REST] = {[0 ... REST - 1] = 1};
    return bl_write(*(int *)arg, ones, sizeof ones) < 0;
}

/* Ends when the other side is closed; *arg is 0 then, or 1 for a byte that is not for it. */
static int read_none(void *arg)
{
    char bytes[1000];
    int fd = *(int *)arg;
    ssize_t n;
    *(int *)arg = 0;
    while ((n = bl_read(fd, bytes, sizeof bytes)) > 0)
        *(int *)arg |= bytes[0] == 1;
    return 0;
}

static int close_while_written(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        pair p = unix_pair();
        char byte = 0;
        int small = 4096;
        int fd = p.a;
        BL_SCOPE(s);
        setsockopt(p.a, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        bl_go(s, write_much, &fd);
        BL_CHECK_EQ(t, bl_read(p.b, &byte, 1), 1);
        int none = p.b; /* what takes the bytes keeps the writer trying */
        bl_go(s, read_none, &none);
        bl_yield();
        BL_CHECK_EQ(t, bl_close(p.a), 0);
        pair other = unix_pair(); /* has the number now, or another's of this test */
        int ends[2] = {other.a, other.b};
        BL_SCOPE(readers);
        for (int k = 0; k < 2; k++)
            bl_go(readers, read_none, &ends[k]);
        BL_CHECK_EQ(t, bl_sleep(20 * BL_US), 0);
        shutdown(other.a, SHUT_RDWR);
        BL_CHECK_EQ(t, bl_scope_wait(readers), 0);
        BL_CHECK_EQ(t, ends[0] + ends[1], 0);
        pair_close(&other);
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
        BL_CHECK_EQ(t, bl_close(p.b), 0);
    }
    return 0;
}

/* What is left of a write when its descriptor is closed goes to nobody else with that number. */
BL_TEST(the_rest_goes_to_no_other)
{
    BL_SCOPE(s);
    for (int i = 0; i < 8; i++)
        bl_go(s, close_while_written, NULL);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

static int call_close(call *c) { return bl_close(*(int *)c->obj); }

/* A close that waits for its peer (SO_LINGER), while the number is another's already: what is read
 * there comes, and who reads can be stopped. */
BL_TEST(reuse_while_a_close_lingers)
{
    pair p = tcp_pair(), other = pipe_pair();
    struct linger wait = {1, 60};
    char byte;
    int low = p.b;
    p.b = fcntl(low, F_DUPFD_CLOEXEC, 500); /* a number that nobody else is given meanwhile */
    BL_CHECK_EQ(t, close(low), 0);
    BL_SCOPE(s);
    call fill = {.fn = call_write, .obj = &p.b, .deadline = 1};
    call c = {.fn = call_close, .obj = &p.b, .result = CALL_PENDING};
    BL_CHECK_EQ(t, setsockopt(p.b, SOL_SOCKET, SO_LINGER, &wait, sizeof wait), 0);
    BL_CHECK_ERR(t, call_write(&fill), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_go(s, call_run, &c), 0);
    while (fcntl(p.b, F_GETFD) >= 0)
        bl_yield();
    BL_CHECK_EQ(t, dup3(other.b, p.b, O_CLOEXEC), p.b);
    {
        BL_SCOPE(late, .timeout = 5 * BL_MS);
        BL_CHECK_ERR(t, bl_read(p.b, &byte, 1), BL_ETIMEDOUT);
    }
    BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, bl_in(5 * BL_MS)), BL_ETIMEDOUT);
    call later = {.fn = call_read, .obj = &p.b};
    call_parks(s, &later);
    BL_CHECK_EQ(t, bl_write(other.a, "x", 1), 1);
    BL_CHECK(t, call_returns(&later));
    BL_CHECK_EQ(t, call_result(&later), 1);
    BL_CHECK_EQ(t, call_result(&c), CALL_PENDING);
    BL_CHECK_EQ(t, bl_close(p.a), 0); /* unread: the connection is reset */
    BL_CHECK(t, call_returns(&c));
    BL_CHECK_EQ(t, close(p.b), 0);
    pair_close(&other);
}

/* ---- Descriptors run out --------------------------------------------------------------------- */

static int exhausted(void *arg)
{
    int fd[80] = {0};
    int n = 0;
    char byte;
    struct rlimit few = {64, 64};
    (void)arg;
    int pipes[2];
    if (pipe(pipes) != 0 || setrlimit(RLIMIT_NOFILE, &few) != 0)
        return -1;
    while (n < 80 && (fd[n] = dup(0)) >= 0)
        n++;
    if (n < 4)
        return -1;
    if (bl_read(pipes[0], &byte, 1) != BL_EMFILE) /* with a deadline it might have passed before */
        return -2;
    struct sockaddr_in at;
    bl_close(fd[--n]);
    int listener = tcp_listen(&at);
    bl_close(fd[--n]);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    bl_close(fd[--n]);
    bl_close(fd[--n]); /* for epoll and its eventfd */
    if (bl_connect(client, (struct sockaddr *)&at, sizeof at) != 0)
        return -3;
    for (int left; (left = dup(0)) >= 0;) { /* until a wait has begun before its deadline */
        close(left);
        if (bl_read_until(pipes[0], &byte, 1, bl_in(BL_MS)) != BL_ETIMEDOUT)
            return -4;
    }
    return bl_accept(listener, NULL, NULL) == BL_EMFILE ? 0 : -5;
}

BL_TEST_PLAIN(out_of_descriptors)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(-bl_run(exhausted, NULL, NULL));
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
}

/* ---- The scheduler --------------------------------------------------------------------------- */

static void *write_later(void *arg)
{
    usleep(30000);
    (void)!write(*(int *)arg, "x", 1);
    return NULL;
}

/* Nothing else runs: the world wakes who waits, and that is no deadlock. */
BL_TEST(waiting_for_the_world_is_no_deadlock)
{
    pair p = pipe_pair();
    char byte;
    pid_t child = fork();
    if (child == 0) {
        usleep(50000);
        _exit(write(p.a, "x", 1) == 1 ? 0 : 1);
    }
    BL_CHECK_EQ(t, bl_read(p.b, &byte, 1), 1);
    BL_CHECK_EQ(t, waitpid(child, NULL, 0), child);
    pthread_t thread;
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, write_later, &p.a), 0);
    BL_CHECK_EQ(t, bl_read(p.b, &byte, 1), 1);
    BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
    pair_close(&p);
}

static int deadlock_after_io(void *arg)
{
    char byte;
    int fd[2];
    (void)arg;
    if (pipe(fd) != 0 || bl_read_until(fd[0], &byte, 1, bl_in(BL_MS)) != BL_ETIMEDOUT)
        return 0;
    bl_chan *c = bl_chan_new(0, 0);
    return bl_chan_recv(c, NULL);
}

BL_TEST_PLAIN(deadlock_is_seen_as_before)
{
    CHECK_FATAL(t, deadlock_after_io, "all goroutines are asleep - deadlock!");
}

static int busy(void *arg)
{
    while (!load_relaxed((int *)arg))
        bl_yield();
    return 0;
}

BL_TEST(served_under_load)
{
    pair p = tcp_pair();
    int stop = 0;
    char byte;
    BL_SCOPE(s);
    for (int i = 0; i < 2 * bl_procs(); i++)
        bl_go(s, busy, &stop);
    for (int i = 0; i < 20; i++) {
        call c = {.fn = call_read, .obj = &p.b};
        call_parks(s, &c);
        BL_CHECK_EQ(t, bl_write(p.a, "x", 1), 1);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_EQ(t, call_result(&c), 1);
    }
    BL_CHECK_ERR(t, bl_fd_wait(p.b, BL_READABLE, 1), BL_ETIMEDOUT);
    BL_CHECK_ERR(t, bl_read_until(p.b, &byte, 1, bl_in(BL_MS)), BL_ETIMEDOUT);
    store_relaxed(&stop, 1);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pair_close(&p);
}

static int echo(void *arg)
{
    int fd = *(int *)arg;
    char buf[64];
    ssize_t r;
    while ((r = bl_read(fd, buf, sizeof buf)) > 0)
        if (bl_write(fd, buf, (size_t)r) != r)
            return BL_EPIPE;
    bl_close(fd);
    return (int)r;
}

static int echo_client(void *arg)
{
    int fd = *(int *)arg;
    char buf[64] = "hello", back[64];
    for (int i = 0; i < 50; i++)
        if (bl_write(fd, buf, 40) != 40 || bl_read(fd, back, sizeof back) != 40)
            return BL_EINVAL;
    bl_close(fd);
    return 0;
}

BL_TEST(echo_over_many_connections)
{
    enum { CONNECTIONS = 100 };
    pair p[CONNECTIONS];
    BL_SCOPE(s);
    for (int i = 0; i < CONNECTIONS; i++) {
        p[i] = tcp_pair();
        bl_go(s, echo, &p[i].b);
        bl_go(s, echo_client, &p[i].a);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

/* ---- Runs after one another ------------------------------------------------------------------ */

static pair kept;

static int leave_one(void *arg)
{
    char byte;
    (void)arg;
    BL_CHECK_EQ(t, bl_write(kept.a, "x", 1), 1);
    BL_CHECK_EQ(t, bl_read(kept.b, &byte, 1), 1);
    return bl_read_until(kept.b, &byte, 1, bl_in(BL_MS)) == BL_ETIMEDOUT ? 0 : -1;
}

BL_TEST_PLAIN(a_descriptor_outlives_its_run)
{
    kept = tcp_pair();
    for (int i = 0; i < 3; i++)
        BL_CHECK_EQ(t, bl_run(leave_one, NULL, NULL), 0);
    pair_close(&kept);
}

#if !BL__TSAN /* which lets no such child start threads */
/* The child of a process that has descriptors registered has a poller of its own: its runs get the
 * events of what it reads, the parent's those that come for the parent. */
BL_TEST_PLAIN(a_child_has_a_poller_of_its_own)
{
    int status = -1;
    kept = tcp_pair();
    BL_CHECK_EQ(t, bl_run(leave_one, NULL, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        int failed = bl_run(leave_one, NULL, NULL) != 0;
        failed |= bl_close(kept.b) != 0 || bl_close(kept.a) != 0;
        _exit(failed);
    }
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
    BL_CHECK_EQ(t, bl_run(leave_one, NULL, NULL), 0);
    pair_close(&kept);
}

/* Runs before and after all descriptors were closed, as a daemon does, and the numbers of the
 * poller and of sysmon's timer were used again; nor does a fork close those. The number of what fails. */
static int run_without_descriptors(void)
{
    enum { NUMBERS = 256 };
    struct rlimit all;
    int status = -1;
    (void)getrlimit(RLIMIT_NOFILE, &all);
    const struct rlimit low = {NUMBERS, all.rlim_max}; /* no number is out of the program's way */
    if (setrlimit(RLIMIT_NOFILE, &low) != 0 || bl_run(leave_one, NULL, NULL) != 0)
        return 1;
    for (int fd = 3; fd < NUMBERS; fd++)
        close(fd);
    kept = tcp_pair();
    while (dup(kept.a) >= 0)
        continue;
    pid_t child = fork();
    if (child == 0) {
        int open = 3;
        while (open < NUMBERS && fcntl(open, F_GETFD) >= 0)
            open++;
        _exit(open != NUMBERS);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        return 2;
    return setrlimit(RLIMIT_NOFILE, &all) != 0 || bl_run(leave_one, NULL, NULL) != 0 ? 3 : 0;
}

BL_TEST_PLAIN(descriptors_closed_between_runs)
{
    int status = -1;
    kept = tcp_pair();
    pid_t child = fork();
    if (child == 0)
        _exit(run_without_descriptors());
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, WEXITSTATUS(status), 0);
    pair_close(&kept);
}
#endif

/* What the child of a fork during a run closes stays registered in the parent, whose reader waits
 * on. */
BL_TEST(a_child_closes_for_itself)
{
    EACH(streams, p)
    {
        int status = -1;
        BL_SCOPE(s);
        call c = {.fn = call_read, .obj = &p.b};
        call_parks(s, &c);
        pid_t child = fork();
        if (child == 0)
            _exit(bl__fd_old(p.b)->registered != 0 || bl_close(p.b) != 0);
        BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
        BL_CHECK_EQ(t, status, 0);
        BL_CHECK_EQ(t, call_result(&c), CALL_PENDING);
        BL_CHECK_EQ(t, bl_write(p.a, "x\n", 2), 2);
        BL_CHECK(t, call_returns(&c));
        BL_CHECK_EQ(t, call_result(&c), 1);
    }
}
