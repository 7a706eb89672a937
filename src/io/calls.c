/* SPDX-License-Identifier: MIT */
/*
 * calls.c: the calls on descriptors: try the system call without waiting, park at EAGAIN, again.
 *
 * O_NONBLOCK is a flag of the open file, which other processes may share (a terminal, an inherited
 * pipe): it is not ours to set. So sockets get MSG_DONTWAIT. Other files get RWF_NOWAIT where the
 * kernel takes it, which for pipes is 6.4 and later; what does not is asked by poll(2) first, and
 * then written to in pieces that a pipe, or a tty, with room takes whole. Files that epoll does not take
 * (regular ones, folders, disks) get the plain call, and are recognised each time: RWF_NOWAIT would
 * read short of what is not in memory. (With BELAY_IO the regular ones are regular.c's.) The two
 * exceptions are accept and connect, which have no such flag: a listening socket is set O_NONBLOCK
 * for good, a connecting one for as long as the call takes.
 *
 * SIGPIPE. Sockets get MSG_NOSIGNAL, other files RWF_NOSIGNAL (Linux 6.18). Where that is
 * missing SIGPIPE is blocked in this thread around the write, and one that the write has raised is
 * taken back; the process's disposition is never touched.
 *
 * Each system call stands in a function of its own (once.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "arch/syscall.h"
#include "core/proc.h"
#include "io/fd.h"
#include "io/once.h"
#include "io/regular.h"
#include "os/futex.h"
#include "os/os.h"

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

enum { IOV_BATCH = 16, TRY_PAUSE = 50, TRY_PAUSE_MOST = 10000 /* us */ };
enum { TTY_ROOM = 256, TTY_NAP = 50000, TTY_NAPS = 20000 }; /* bytes; ns */

/* A call: what it was given, and how it is tried. */
typedef struct io_call io_call;
typedef ssize_t io_try(const io_call *c);
struct io_call {
    io_try *try_once;
    bl__fd *f;
    int fd;
    int flags;
    const struct iovec *iov;
    int iovcnt;
    struct sockaddr *addr;
    socklen_t *len;
    socklen_t addr_len;
    bl_time deadline; /* of a read or write */
    uint32_t use;     /* as io_loop saw it */
    bool again;       /* a part is written, a connection under way */
};

/* recv and send of a call that does not wait, without what libc does around them for who may be
 * cancelled (pthread_cancel), which takes longer than all that is ours. Sanitizers want to see
 * them. */
#if BL__ASAN || BL__TSAN
ONCE plain_recv(int fd, void *buf, size_t n, int flags)
{
    ssize_t r;
    CALL(r, recv(fd, buf, n, flags));
    return r;
}

ONCE plain_send(int fd, const void *buf, size_t n, int flags)
{
    ssize_t r;
    CALL(r, send(fd, buf, n, flags));
    return r;
}
#else
static inline ssize_t plain_recv(int fd, void *buf, size_t n, int flags)
{
    long r;
    do {
        r = bl__syscall6(SYS_recvfrom, fd, (long)buf, (long)n, flags, 0, 0);
    } while (r == BL_EINTR);
    return r;
}

static inline ssize_t plain_send(int fd, const void *buf, size_t n, int flags)
{
    long r;
    do {
        r = bl__syscall6(SYS_sendto, fd, (long)buf, (long)n, flags, 0, 0);
    } while (r == BL_EINTR);
    return r;
}
#endif

/* ---- Kinds ----------------------------------------------------------------------------------- */

static inline bool is_socket(unsigned kind)
{
    return kind >= BL__FD_SOCKET && kind <= BL__FD_LISTENER;
}

/* What fd is, noted in f; but files for the plain call are not: BL__FD_REGULAR, BL__FD_UNKNOWN. */
static __attribute__((noinline)) int kind_find(bl__fd *f, int fd)
{
    struct stat st;
    int protocol = 0;
    socklen_t len = sizeof protocol;
    uint8_t kind = BL__FD_NOWAIT;
    if (bl__fd_stat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)) {
        store_relaxed(&f->kind, (uint8_t)BL__FD_UNKNOWN);
        return S_ISREG(st.st_mode) ? BL__FD_REGULAR : BL__FD_UNKNOWN;
    } else if (S_ISSOCK(st.st_mode)) {
        bool tcp = getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
                   protocol == IPPROTO_TCP;
        kind = tcp ? BL__FD_TCP : BL__FD_SOCKET;
    } else if (S_ISCHR(st.st_mode) && isatty(fd)) {
        kind = BL__FD_TTY;
    }
    store_relaxed(&f->kind, kind);
    return kind;
}

static inline int kind_of(bl__fd *f, int fd)
{
    int kind = load_relaxed(&f->kind);
    return __builtin_expect(kind != BL__FD_UNKNOWN, 1) ? kind : kind_find(f, fd);
}

/* It is not what was noted: the number was closed by others and used again. */
static void kind_forget(bl__fd *f) { store_relaxed(&f->kind, (uint8_t)BL__FD_UNKNOWN); }

/* The events of fd now, as bits of poll(2); 0: none. */
ONCE poll_now(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    ssize_t r;
    CALL(r, poll(&p, 1, 0));
    return r < 0 ? r : p.revents & POLLNVAL ? BL_EBADF : p.revents;
}

/* Before a read (POLLIN) or a write: 1, or BL_EAGAIN. What is not open for it never has such an
 * event, where the call itself fails at once; nor has a FIFO that no writer has opened yet, which
 * is at its end. */
ONCE ask(int fd, short event)
{
    ssize_t r = poll_now(fd, event);
    if (r != 0)
        return r < 0 ? r : 1;
    int flags = fcntl(fd, F_GETFL);
    if ((flags & O_ACCMODE) == (event == POLLIN ? O_WRONLY : O_RDONLY))
        return BL_EBADF;
    return flags & O_NONBLOCK ? 1 : BL_EAGAIN;
}

/* ---- Reading --------------------------------------------------------------------------------- */

ONCE socket_read(const io_call *c)
{
    ssize_t r;
    int flags = c->flags | MSG_DONTWAIT;
    if (c->len == NULL)
        return plain_recv(c->fd, c->iov->iov_base, c->iov->iov_len, flags);
    socklen_t len = *c->len;
    CALL(r, recvfrom(c->fd, c->iov->iov_base, c->iov->iov_len, flags, c->addr, &len));
    if (r >= 0)
        *c->len = len;
    return r;
}

ONCE file_read(const io_call *c, int kind)
{
    ssize_t r;
    if (kind == BL__FD_NOWAIT || kind == BL__FD_ASK_WRITE) {
        CALL(r, preadv2(c->fd, c->iov, c->iovcnt, -1, RWF_NOWAIT));
        if (r != BL_ENOTSUP && r != BL_ENOSYS)
            return r;
        store_relaxed(&c->f->kind, (uint8_t)BL__FD_ASK);
        kind = BL__FD_ASK;
    }
    if ((kind == BL__FD_ASK || kind == BL__FD_TTY) && c->iov->iov_len != 0 &&
        (r = ask(c->fd, POLLIN)) < 0)
        return r; /* a read of nothing never waits */
    CALL(r, readv(c->fd, c->iov, c->iovcnt));
    return r;
}

static ssize_t read_once(const io_call *c)
{
    int kind = kind_of(c->f, c->fd);
    if (is_socket((unsigned)kind) && c->iov->iov_len != 0) { /* recv waits also for nothing */
        ssize_t r = socket_read(c);
        if (r != BL_ENOTSOCK)
            return r;
        kind_forget(c->f);
        kind = kind_of(c->f, c->fd);
    }
    if (kind == BL__FD_REGULAR && bl__regular_waits(bl__self()))
        return bl__regular_read(c->f, c->use, c->iov, c->iovcnt, c->deadline);
    return kind < 0 ? kind : file_read(c, kind);
}

/* The same for one buffer, where it is to be inlined. */
static inline __attribute__((always_inline)) ssize_t socket_read_one(const io_call *c)
{
    return plain_recv(c->fd, c->iov->iov_base, c->iov->iov_len, MSG_DONTWAIT);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static uint32_t nosignal_missing; /* atomic: the kernel does not know RWF_NOSIGNAL */

/* SIGPIPE is blocked for some writes, the last one with result r; one that was pending before stays. */
typedef struct pipe_guard {
    sigset_t before, pending;
} pipe_guard;

static void guard_begin(pipe_guard *g)
{
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&g->pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &g->before);
}

static void guard_end(const pipe_guard *g, ssize_t r)
{
    const struct timespec now = {0, 0};
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (r == BL_EPIPE && !sigismember(&g->pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &g->before, NULL);
}

ONCE guarded_write(int fd, const struct iovec *iov, int iovcnt, int flags)
{
    pipe_guard guard;
    ssize_t r;
    guard_begin(&guard);
    if (flags != 0) {
        CALL(r, pwritev2(fd, iov, iovcnt, -1, flags));
    } else {
        CALL(r, writev(fd, iov, iovcnt));
    }
    guard_end(&guard, r);
    return r;
}

ONCE nowait_write(const io_call *c)
{
    ssize_t r = BL_ENOTSUP;
    bool quiet = !load_relaxed(&nosignal_missing);
    if (quiet) {
        CALL(r, pwritev2(c->fd, c->iov, c->iovcnt, -1, RWF_NOWAIT | RWF_NOSIGNAL));
    }
    if (r != BL_ENOTSUP && r != BL_EINVAL)
        return r;
    r = guarded_write(c->fd, c->iov, c->iovcnt, RWF_NOWAIT);
    if (quiet && r >= 0)
        store_relaxed(&nosignal_missing, 1u);
    return r;
}

/* How much of the n bytes at p a tty takes without waiting that has room, says poll(2). The other
 * end of a pseudo-terminal has 256 bytes then, or more; but what the line discipline rewrites takes
 * them all, however little it is. */
static size_t tty_piece(const char *p, size_t n)
{
    size_t len = 0;
    while (len < n && len < TTY_ROOM && p[len] != '\n' && p[len] != '\r' && p[len] != '\t')
        len++;
    return len == 0 && n > 0 ? 1 : len;
}

uint32_t bl__tty_lock; /* one for all: several descriptors may be of the same */

/* False: it takes too long, since who writes is held up by the kernel. */
static bool tty_turn(void)
{
    for (int i = 0; i < TTY_NAPS; i++) {
        if (bl__trylock(&bl__tty_lock, BL__RANK_TTY))
            return true;
        bl__futex_wait(&bl__tty_lock, 1, TTY_NAP);
    }
    return false;
}

/* As many bytes as there is room for, at most PIPE_BUF, in pieces. No other's of this process come in
 * between, as if it were one call: the kernel, too, has threads wait for their turn. */
ONCE tty_write(const io_call *c, const char *p, size_t n)
{
    ssize_t r = 0;
    size_t done = 0;
    pipe_guard guard;
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE,
                           &cancel); /* a plain thread would keep the lock */
    guard_begin(&guard);             /* the number may be a pipe's by now */
    bool turn = tty_turn();
    do {
        struct iovec piece = {(char *)p + done, tty_piece(p + done, n - done)};
        if (piece.iov_len > 0 && (r = ask(c->fd, POLLOUT)) < 0)
            break; /* a write of nothing never waits */
        CALL(r, writev(c->fd, &piece, 1));
        done += r > 0 ? (size_t)r : 0;
    } while (r > 0 && done < n && load_acquire(&c->f->use) == c->use); /* ORD(fd): with close */
    if (turn)
        bl__unlock(&bl__tty_lock);
    guard_end(&guard, r);
    pthread_setcancelstate(cancel, NULL);
    return done > 0 ? (ssize_t)done : r;
}

ONCE file_write(const io_call *c, int kind)
{
    ssize_t r;
    if (kind == BL__FD_NOWAIT) {
        r = nowait_write(c);
        if (r != BL_ENOTSUP && r != BL_ENOSYS)
            return r;
        store_relaxed(&c->f->kind, (uint8_t)BL__FD_ASK_WRITE);
        kind = BL__FD_ASK_WRITE;
    }
    if (kind != BL__FD_ASK && kind != BL__FD_ASK_WRITE && kind != BL__FD_TTY)
        return guarded_write(c->fd, c->iov, c->iovcnt, 0);
    struct iovec piece = {NULL, 0};
    if (c->iovcnt > 0)
        piece = c->iov[0];
    if (piece.iov_len > PIPE_BUF)
        piece.iov_len = PIPE_BUF;
    if (kind == BL__FD_TTY)
        return tty_write(c, piece.iov_base, piece.iov_len);
    if (piece.iov_len > 0 && (r = ask(c->fd, POLLOUT)) < 0)
        return r; /* a write of nothing never waits */
    return guarded_write(c->fd, &piece, 1, 0);
}

ONCE socket_write(const io_call *c)
{
    ssize_t r;
    int flags = c->flags | MSG_DONTWAIT | MSG_NOSIGNAL;
    if (c->iovcnt == 1 && c->addr == NULL)
        return plain_send(c->fd, c->iov->iov_base, c->iov->iov_len, flags);
    struct msghdr m = {.msg_name = c->addr,
                       .msg_namelen = c->addr_len,
                       .msg_iov = (struct iovec *)c->iov,
                       .msg_iovlen = (size_t)c->iovcnt};
    CALL(r, sendmsg(c->fd, &m, flags));
    return r;
}

static inline __attribute__((always_inline)) ssize_t socket_write_one(const io_call *c)
{
    return plain_send(c->fd, c->iov->iov_base, c->iov->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t write_once(const io_call *c)
{
    int kind = kind_of(c->f, c->fd);
    if (is_socket((unsigned)kind)) {
        ssize_t r = socket_write(c);
        if (r != BL_ENOTSOCK)
            return r;
        kind_forget(c->f);
        kind = kind_of(c->f, c->fd);
    }
    if (kind == BL__FD_REGULAR && bl__regular_waits(bl__self()))
        return bl__regular_write(c->f, c->use, c->iov, c->iovcnt, c->deadline);
    return kind < 0 ? kind : file_write(c, kind);
}

/* ---- The loops ------------------------------------------------------------------------------- */

/* May the note that a connection is drained stand for a read? Who would be stopped, and must get
 * what there is, and a plain thread, which epoll does not tell, look for themselves. */
static inline bool note_counts(bl_time deadline)
{
    const bl__g *g = bl__self();
    return g->task.kind != BL__TASK_THREAD && bl__ctx_state(g->ctx) == 0 &&
           (deadline == BL_NEVER || deadline > bl__now());
}

/* A write orders the read that gets it (race.h). ThreadSanitizer knows that of each descriptor,
 * from the calls that it intercepts: one with nothing to read or write gives or takes the edge
 * alone. The system calls proper are not seen; so the buffers are the caller's accesses, here. */
static void call_race_give(const io_call *c)
{
#if BL__RACE
    for (int i = 0; i < c->iovcnt; i++)
        bl__race_read(c->iov[i].iov_base, c->iov[i].iov_len);
    (void)!writev(c->fd, c->iov, 0);
#endif
    (void)c;
}

static void call_race_take(const io_call *c, size_t got)
{
#if BL__RACE
    for (int i = 0; i < c->iovcnt && got > 0; i++) {
        size_t part = c->iov[i].iov_len < got ? c->iov[i].iov_len : got;
        bl__race_write(c->iov[i].iov_base, part);
        got -= part;
    }
    (void)!readv(c->fd, c->iov, 0);
#endif
    (void)c, (void)got;
}

/* The address that a call has filled in, as far as there was room. */
static void addr_race_write(const io_call *c, socklen_t room)
{
    if (c->len == NULL)
        return;
    bl__race_write(c->addr, *c->len < room ? *c->len : room);
    bl__race_write(c->len, sizeof *c->len);
}

/* A socket without a connection can be written to, says the poller, and the one that it is to go to
 * takes nothing: each try is an event itself. So from the second on there is a pause before it. */
static __attribute__((noinline)) int full_pause(const io_call *c, bl_dur *pause, bl_time deadline)
{
    bl_dur d = *pause;
    if (c->try_once != socket_write || c->addr == NULL)
        return 0;
    *pause = d == 0 ? TRY_PAUSE * BL_US : d < TRY_PAUSE_MOST * BL_US ? 2 * d : d;
    if (d != 0 && deadline != BL_NEVER && d > deadline - bl__now())
        d = deadline - bl__now();
    return d > 0 ? bl_sleep(d) : 0;
}

static inline __attribute__((always_inline)) ssize_t try_told(const io_call *c, io_try *try_once,
                                                              int side)
{
    if (side == BL_WRITABLE)
        call_race_give(c);
    ssize_t r = try_once(c);
    if (side == BL_READABLE && r >= 0)
        call_race_take(c, (size_t)r);
    return r;
}

/* A try that follows a wait, or a part of the same write. Meanwhile others may have closed the number
 * and opened it again: what comes there is not for this caller, and what is left of its bytes not
 * for them. So it counts itself before it looks, and bl_close waits for it between its own two
 * steps. What can hold up the thread is not waited for. */
static inline __attribute__((always_inline)) ssize_t try_counted(const io_call *c, io_try *try_once,
                                                                 int side)
{
    uint32_t *busy = &c->f->side[1].turn;
    uint8_t kind = load_acquire(&c->f->kind); /* ORD(fdkind): with renew */
    bool awaited = is_socket(kind) || kind == BL__FD_NOWAIT;
    ssize_t r = BL_ECLOSED;
    if (BL__LIKELY(awaited))
        add_seq_cst(busy, 1u); /* ORD(fdbusy): the count before the look; with bl_close's fence */
    if (BL__LIKELY(load_seq_cst(&c->f->use) == c->use)) /* ORD(fdbusy, fd) */
        r = try_told(c, try_once, side);
    if (BL__LIKELY(awaited))
        add_release(busy, -1u); /* ORD(fdbusy): with bl_close */
    return r;
}

/* The same on a plain thread, which is not cancelled (pthread_cancel) in between. */
static __attribute__((noinline)) ssize_t try_counted_thread(const io_call *c, io_try *try_once,
                                                            int side)
{
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    ssize_t r = try_counted(c, try_once, side);
    pthread_setcancelstate(cancel, NULL);
    return r;
}

/* What calls the system in line is no place where a thread is cancelled, and keeps *c in registers. */
static inline __attribute__((always_inline)) ssize_t try_again(const io_call *c, io_try *try_once,
                                                               int side)
{
    bool in_line =
        !BL__ASAN && !BL__TSAN && (try_once == socket_read_one || try_once == socket_write_one);
    if (in_line || BL__LIKELY(bl__self()->task.kind != BL__TASK_THREAD))
        return try_counted(c, try_once, side);
    return try_counted_thread(c, try_once, side);
}

/* Tries until it succeeds, fails or is stopped. */
static inline __attribute__((always_inline)) ssize_t io_loop_of(io_call *c, io_try *try_once,
                                                                int side, bl__fd_seen seen,
                                                                bl_time deadline)
{
    uint32_t use = seen.use;
    bl_dur pause = 0;
    bool again = side == BL_WRITABLE && c->again;
    c->use = use;
    c->deadline = deadline;
    bool skip = side == BL_READABLE && (seen.state[0] & BL__FD_DRAINED) && c->iov->iov_len != 0 &&
                note_counts(deadline);
    for (;;) {
        ssize_t r = skip    ? BL_EAGAIN
                    : again ? try_again(c, try_once, side)
                            : try_told(c, try_once, side);
        if (r != BL_EAGAIN || (c->flags & MSG_DONTWAIT)) {
            if (r < 0 && load_acquire(&c->f->use) != use) /* ORD(fd): with close */
                return BL_ECLOSED;                        /* the number may be another's by now */
            if (side == BL_READABLE && r > 0 && c->flags == 0 && (size_t)r < c->iov->iov_len &&
                load_relaxed(&c->f->kind) == BL__FD_TCP)
                bl__fd_drained(c->f, seen);
            return r;
        }
        skip = false;
        again = true;
        if ((r = bl__fd_park(c->f, side, seen, deadline)) < 0 ||
            (side == BL_WRITABLE && (r = full_pause(c, &pause, deadline)) < 0))
            return r;
        seen = bl__fd_look(c->f);
        if (seen.use != use)
            return BL_ECLOSED;
    }
}

static ssize_t io_loop(io_call *c, int side, bl__fd_seen seen, bl_time deadline)
{
    return io_loop_of(c, c->try_once, side, seen, deadline);
}

static ssize_t io_start(io_call *c, int side, bl_time deadline)
{
    int err = 0;
    bl__asked(); /* calls that never wait, on files for instance, do not keep others waiting */
    c->f = bl__fd_get(c->fd, &err);
    return c->f != NULL ? io_loop(c, side, bl__fd_look(c->f), deadline) : err;
}

/* The rest of iov behind the first `done` bytes, as far as it goes into to; how many pieces. */
static int iov_rest(struct iovec *to, const struct iovec *iov, int iovcnt, size_t done)
{
    int n = 0;
    for (int i = 0; i < iovcnt && n < IOV_BATCH; i++) {
        if (done >= iov[i].iov_len) {
            done -= iov[i].iov_len;
            continue;
        }
        to[n].iov_base = (char *)iov[i].iov_base + done;
        to[n++].iov_len = iov[i].iov_len - done;
        done = 0;
    }
    return n;
}

/* The first `done` bytes are written, and the rest goes to no other that has the number by now. */
static ssize_t write_rest(const io_call *c, size_t all, size_t done, bl_time deadline)
{
    struct iovec rest[IOV_BATCH];
    io_call more = *c;
    more.iov = rest;
    more.again = true;
    while (done < all) {
        bl__fd_seen seen = bl__fd_look(c->f);
        if (seen.use != c->use)
            break;
        more.iovcnt = iov_rest(rest, c->iov, c->iovcnt, done);
        ssize_t r = io_loop(&more, BL_WRITABLE, seen, deadline);
        if (r <= 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

static ssize_t write_all(io_call *c, bl_time deadline)
{
    size_t all = 0;
    for (int i = 0; i < c->iovcnt; i++)
        all += c->iov[i].iov_len;
    ssize_t r = io_start(c, BL_WRITABLE, deadline);
    return r < 0 || (size_t)r >= all ? r : write_rest(c, all, (size_t)r, deadline);
}

/* The same for what servers do all day, so that all of it is in registers: one buffer, of a number
 * that is known as a socket's. BL_ENOTSOCK: it is not, or is another's by now; else *use is set, if
 * anybody wants it. */
static inline __attribute__((always_inline)) ssize_t socket_start(int fd, void *buf, size_t n,
                                                                  int side, bl_time deadline,
                                                                  uint32_t *use)
{
    struct iovec iov = {buf, n};
    io_call c = {.fd = fd, .f = bl__fd_old(fd), .iov = &iov, .iovcnt = 1};
    if (BL__UNLIKELY(c.f == NULL) || BL__UNLIKELY(!is_socket(load_relaxed(&c.f->kind))))
        return BL_ENOTSOCK;
    bl__asked();
    bl__fd_seen seen = bl__fd_look(c.f);
    if (use != NULL)
        *use = seen.use;
    return side == BL_READABLE ? io_loop_of(&c, socket_read_one, side, seen, deadline)
                               : io_loop_of(&c, socket_write_one, side, seen, deadline);
}

/* ---- Public: reading and writing ------------------------------------------------------------- */

static __attribute__((noinline)) ssize_t read_any(int fd, void *buf, size_t n, bl_time deadline)
{
    struct iovec iov = {buf, n};
    io_call c = {.try_once = read_once, .fd = fd, .iov = &iov, .iovcnt = 1};
    return io_start(&c, BL_READABLE, deadline);
}

ssize_t bl_read_until(int fd, void *buf, size_t n, bl_time deadline)
{
    BL__RACE_FRAME();
    ssize_t r = n != 0 ? socket_start(fd, buf, n, BL_READABLE, deadline, NULL) : BL_ENOTSOCK;
    return BL__LIKELY(r != BL_ENOTSOCK) ? r : read_any(fd, buf, n, deadline);
}

ssize_t bl_read(int fd, void *buf, size_t n)
{
    BL__RACE_FRAME();
    return bl_read_until(fd, buf, n, BL_NEVER);
}

/* done: so many bytes are written, in that use of the number. */
static __attribute__((noinline)) ssize_t write_any(int fd, void *buf, size_t n, ssize_t done,
                                                   uint32_t use, bl_time deadline)
{
    struct iovec iov = {buf, n};
    io_call c = {.try_once = write_once, .fd = fd, .iov = &iov, .iovcnt = 1};
    if (done < 0)
        return write_all(&c, deadline);
    c.f = bl__fd_old(fd);
    c.use = use;
    return write_rest(&c, n, (size_t)done, deadline);
}

ssize_t bl_write_until(int fd, const void *buf, size_t n, bl_time deadline)
{
    BL__RACE_FRAME();
    uint32_t use = 0;
    ssize_t r = socket_start(fd, (void *)buf, n, BL_WRITABLE, deadline, &use);
    if (BL__LIKELY(r == (ssize_t)n) || (r < 0 && r != BL_ENOTSOCK))
        return r;
    return write_any(fd, (void *)buf, n, r, use, deadline);
}

ssize_t bl_write(int fd, const void *buf, size_t n)
{
    BL__RACE_FRAME();
    return bl_write_until(fd, buf, n, BL_NEVER);
}

ssize_t bl_writev_until(int fd, const struct iovec *iov, int count, bl_time deadline)
{
    BL__RACE_FRAME();
    if (count < 0 || count > IOV_MAX)
        return BL_EINVAL;
    io_call c = {.try_once = write_once, .fd = fd, .iov = iov, .iovcnt = count};
    return write_all(&c, deadline);
}

ssize_t bl_writev(int fd, const struct iovec *iov, int count)
{
    BL__RACE_FRAME();
    return bl_writev_until(fd, iov, count, BL_NEVER);
}

ssize_t bl_recvfrom_until(int fd, void *buf, size_t n, int flags, struct sockaddr *addr,
                          socklen_t *len, bl_time deadline)
{
    BL__RACE_FRAME();
    struct iovec iov = {buf, n};
    io_call c = {.try_once = socket_read, .fd = fd, .flags = flags, .iov = &iov, .iovcnt = 1};
    c.addr = addr;
    c.len = addr != NULL ? len : NULL;
    if (flags & MSG_WAITALL)
        return BL_EINVAL;
    socklen_t room = c.len != NULL ? *c.len : 0;
    ssize_t r = io_start(&c, BL_READABLE, deadline);
    if (r >= 0)
        addr_race_write(&c, room);
    return r;
}

ssize_t bl_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
    BL__RACE_FRAME();
    return bl_recvfrom_until(fd, buf, n, flags, addr, len, BL_NEVER);
}

ssize_t bl_sendto_until(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
                        socklen_t len, bl_time deadline)
{
    BL__RACE_FRAME();
    struct iovec iov = {(void *)buf, n};
    io_call c = {.try_once = socket_write, .fd = fd, .flags = flags, .iov = &iov, .iovcnt = 1};
    c.addr = (struct sockaddr *)addr;
    c.addr_len = addr != NULL ? len : 0;
    return write_all(&c, deadline);
}

ssize_t bl_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
                  socklen_t len)
{
    BL__RACE_FRAME();
    return bl_sendto_until(fd, buf, n, flags, addr, len, BL_NEVER);
}

/* ---- Public: connections --------------------------------------------------------------------- */

/* Sets or clears O_NONBLOCK: 1 if it was set before, 0 if not, or a negated errno. */
ONCE nonblock(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    bool was = (flags & O_NONBLOCK) != 0;
    if (was != on && fcntl(fd, F_SETFL, flags ^ O_NONBLOCK) < 0)
        return -errno;
    return was;
}

ONCE accept_once(const io_call *c)
{
    ssize_t r;
    if (load_relaxed(&c->f->kind) != BL__FD_LISTENER) {
        if ((r = nonblock(c->fd, true)) < 0)
            return r;
    }
    do {
        socklen_t len = c->len != NULL ? *c->len : 0;
        CALL(r, accept4(c->fd, c->addr, c->len != NULL ? &len : NULL, SOCK_CLOEXEC));
        if (r >= 0 && c->len != NULL)
            *c->len = len;
    } while (r == BL_ECONNABORTED);
    if (r >= 0 || r == BL_EAGAIN)
        store_relaxed(&c->f->kind, (uint8_t)BL__FD_LISTENER);
    return r;
}

void (*bl__opened_hook)(int fd, uintptr_t pc);

/* pc: in the caller of the public call. */
static inline void opened(int fd, uintptr_t pc)
{
    if (__builtin_expect(bl__opened_hook != NULL, 0))
        bl__opened_hook(fd, pc);
}
#define CALLER ((uintptr_t)__builtin_return_address(0))

static int accept_call(int fd, struct sockaddr *addr, socklen_t *len, bl_time deadline,
                       uintptr_t pc)
{
    io_call c = {.try_once = accept_once, .fd = fd, .addr = addr};
    c.len = addr != NULL ? len : NULL;
    struct iovec none = {NULL, 0};
    c.iov = &none;
    socklen_t room = c.len != NULL ? *c.len : 0;
    int r = (int)io_start(&c, BL_READABLE, deadline);
    if (r >= 0)
        addr_race_write(&c, room);
    bl__fd *made = r >= 0 ? bl__fd_old(r) : NULL;
    if (made != NULL &&
        (load_relaxed(&made->kind) != BL__FD_UNKNOWN || load_relaxed(&made->registered)))
        bl__fd_renew(made, false); /* the number was closed by others */
    opened(r, pc);
    return r;
}

int bl_accept_until(int fd, struct sockaddr *addr, socklen_t *len, bl_time deadline)
{
    BL__RACE_FRAME();
    return accept_call(fd, addr, len, deadline, CALLER);
}

int bl_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    BL__RACE_FRAME();
    return accept_call(fd, addr, len, BL_NEVER, CALLER);
}

ONCE connect_once(const io_call *c)
{
    ssize_t was = nonblock(c->fd, true);
    if (was < 0)
        return was;
    ssize_t r = connect(c->fd, c->addr, c->addr_len) < 0 ? -errno : 0;
    if (was == 0)
        (void)nonblock(c->fd, false);
    return r;
}

/* How the attempt under way has ended; BL_EAGAIN: it has not. Asked for by connect(2), which also
 * ends it: after SO_ERROR alone the next call would be taken for the one that asks, and succeed. */
ONCE connect_result(const io_call *c)
{
    ssize_t r = poll_now(c->fd, POLLOUT);
    if (r <= 0)
        return r < 0 ? r : BL_EAGAIN;
    if (connect(c->fd, c->addr, c->addr_len) == 0 || errno == EISCONN)
        return 0;
    return errno == EALREADY ? BL_EAGAIN : -errno;
}

static int connect_call(int fd, const struct sockaddr *addr, socklen_t len, bl_time deadline)
{
    int err = 0;
    io_call c = {.try_once = connect_result, .fd = fd, .addr = (struct sockaddr *)addr};
    c.addr_len = len;
    c.again = true;
    c.f = bl__fd_get(fd, &err);
    if (c.f == NULL)
        return err;
    if (load_relaxed(&c.f->kind) != BL__FD_UNKNOWN || load_relaxed(&c.f->registered))
        bl__fd_renew(c.f, false);
    for (bl_dur pause = TRY_PAUSE * BL_US;;) {
        ssize_t r = connect_once(&c);
        if (r == -EINPROGRESS || r == -EALREADY || r == BL_EINTR)
            return (int)io_loop(&c, BL_WRITABLE, bl__fd_look(c.f), deadline);
        if (r != BL_EAGAIN)
            return (int)r;
        /* A Unix socket whose listener's queue is full; nothing tells when it is not. */
        if (deadline != BL_NEVER && bl__now() + pause > deadline)
            return BL_ETIMEDOUT;
        if ((r = bl_sleep(pause)) < 0)
            return (int)r;
        pause = pause < TRY_PAUSE_MOST * BL_US ? 2 * pause : pause;
    }
}

int bl_connect_until(int fd, const struct sockaddr *addr, socklen_t len, bl_time deadline)
{
    int r = connect_call(fd, addr, len, deadline);
    opened(r == 0 ? fd : -1, CALLER);
    return r;
}

int bl_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    int r = connect_call(fd, addr, len, BL_NEVER);
    opened(r == 0 ? fd : -1, CALLER);
    return r;
}

/* ---- Public: the descriptor ------------------------------------------------------------------ */

/* ThreadSanitizer is to know that fd is another one from now on. */
ONCE close_once(int fd) { return bl__san_close(fd) < 0 && errno != EINTR ? -errno : 0; }

int bl_close(int fd)
{
    bl__asked();
    int cancel;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel); /* or the number would stay closing */
    bl__fd *f = bl__fd_old(fd);
    if (f != NULL)
        bl__fd_renew(f, true);
    if (f != NULL) {
        fence_seq_cst(); /* ORD(fdbusy): the use, which is another now, before the look */
        while (load_acquire(&f->side[1].turn) != 0) /* ORD(fdbusy): with try_counted */
            sched_yield();
    }
    int r = (int)close_once(fd);
    if (f != NULL)
        bl__fd_closed(f);
    pthread_setcancelstate(cancel, NULL);
    return r;
}

ONCE wait_once(const io_call *c)
{
    short asked = 0;
    int events = 0;
    if (c->flags & BL_READABLE)
        asked |= POLLIN | POLLRDHUP;
    if (c->flags & BL_WRITABLE)
        asked |= POLLOUT;
    ssize_t r = poll_now(c->fd, asked);
    if (r < 0)
        return r;
    if (r & (POLLIN | POLLRDHUP | POLLHUP | POLLERR))
        events |= BL_READABLE;
    if (r & (POLLOUT | POLLHUP | POLLERR))
        events |= BL_WRITABLE;
    events &= c->flags;
    return events != 0 ? events : BL_EAGAIN;
}

int bl_fd_wait(int fd, int events, bl_time deadline)
{
    bl__asked();
    int err = 0;
    if (events == 0 || (events & ~(BL_READABLE | BL_WRITABLE)))
        return BL_EINVAL;
    io_call c = {.fd = fd, .flags = events, .f = bl__fd_get(fd, &err)};
    if (c.f == NULL)
        return err;
    bl__fd_seen seen = bl__fd_look(c.f);
    for (uint32_t use = seen.use;;) {
        ssize_t r = wait_once(&c);
        if (r == BL_EAGAIN)
            r = bl__fd_park(c.f, events, seen, deadline);
        seen = bl__fd_look(c.f);
        if (r <= 0 && seen.use != use)
            return BL_ECLOSED;
        if (r != 0)
            return (int)r;
    }
}
