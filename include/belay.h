/* SPDX-License-Identifier: MIT */
/*
 * belay.h: goroutines for C whose life cycle is guaranteed.
 *
 *     #include <belay.h>
 *     #include <stdio.h>
 *
 *     static int hello(void *arg)
 *     {
 *         printf("hello from goroutine %s\n", (const char *)arg);
 *         return 0;
 *     }
 *
 *     static int main_goroutine(void *arg)
 *     {
 *         (void)arg;
 *         BL_SCOPE(s, .timeout = BL_SEC);
 *         bl_go(s, hello, "one");
 *         bl_go(s, hello, "two");
 *         return bl_scope_wait(s);
 *     }
 *
 *     int main(void) { return bl_run(main_goroutine, NULL, NULL); }
 *
 * Conventions, true of every call unless its comment says otherwise:
 *   - A call that can fail returns int: >= 0 is success, a negative BL_E… says why. errno is never
 *     used to report. What is always a bug in the program is fatal: a message in Go's words, the
 *     goroutine's traceback, exit status 2.
 *   - "Waits" means it may park the goroutine. Every call that waits is a stop path: it returns
 *     BL_ECANCELED when the goroutine's current context is cancelled, BL_ETIMEDOUT when that
 *     context's deadline has passed. What can proceed at once proceeds.
 *   - The _until forms wait until a point in time as bl_now() has it, and return BL_ETIMEDOUT then.
 *     One that has passed (0, or anything else) only tries. If the context is cancelled as well,
 *     that is what they return. The try forms return BL_EAGAIN, or false, instead of waiting.
 *   - A call may be made from any goroutine, and from a plain thread, which it then blocks, also
 *     while no run is under way: then there are no goroutines, and to start one is fatal.
 *     A plain thread has the background context, which is never cancelled, until it opens a scope.
 *     In a call that waits it is not ended by pthread_cancel.
 *   - A goroutine may change its thread in a call of this library, and in no other. What is kept for
 *     each thread is not the goroutine's: _Thread_local variables, whose address a compiler may keep
 *     over such a call, as it may what pthread_self said; pthread_setspecific, the signal mask,
 *     uselocale, _res, who has locked a pthread mutex. What errno and h_errno say is read before the
 *     next call here.
 *   - longjmp and swapcontext stay in the goroutine that they are called in. A stack that makecontext
 *     was given may wait; longjmp out of a BL_SCOPE leaves that open.
 *   - None may be made from a signal handler, which may have interrupted another that holds the same
 *     lock: bl_notify makes values of a channel out of signals.
 *   - The child of a fork during a run has none of its threads: it may exec or _exit, and what would
 *     wait there, start somebody, or run (bl_run) is fatal. Between runs fork is as elsewhere.
 *   - C++: a goroutine has exceptions of its own, and may wait while it handles one, or in destructors
 *     that one runs, as at the end of BL_SCOPE. Out of a goroutine's function none may go.
 *   - Of the macros, the last argument may have commas in it: bl_go(s, fn, &(struct job){1, 2}).
 *   - Names beginning with bl__ or BL__ are private, and so are the fields of every struct whose
 *     names begin so.
 */
#ifndef BELAY_H
#define BELAY_H

#ifndef __NO_CTYPE
#define __NO_CTYPE 1 /* NOLINT(clang-diagnostic-reserved-macro-identifier): see bl__errno */
#endif

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <belay/version.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A result that must not be dropped. In C++17 and C23 (void) says that it is; gcc in C11 wants to
 * see it used. */
#if defined __cplusplus ? __cplusplus >= 201703L : __STDC_VERSION__ > 201710L
#define BL__NODISCARD [[nodiscard]]
#else
#define BL__NODISCARD __attribute__((warn_unused_result))
#endif
#define BL__NORETURN __attribute__((noreturn))

/* ---- 1. Results ------------------------------------------------------------------------------ */

/* Every error: name, value, text. Those of POSIX and sockets, as system calls may return them, and
 * the library's own. */
#define BL__ERRORS(X)                                                                              \
    X(EPERM, -EPERM, "operation not permitted")                                                    \
    X(EINTR, -EINTR, "interrupted system call")                                                    \
    X(EIO, -EIO, "input/output error")                                                             \
    X(EBADF, -EBADF, "bad file descriptor")                                                        \
    X(EAGAIN, -EAGAIN, "would have to wait")                                                       \
    X(ENOMEM, -ENOMEM, "out of memory")                                                            \
    X(EACCES, -EACCES, "permission denied")                                                        \
    X(EBUSY, -EBUSY, "resource busy")                                                              \
    X(EEXIST, -EEXIST, "already exists")                                                           \
    X(ENOENT, -ENOENT, "no such file or directory")                                                \
    X(EINVAL, -EINVAL, "invalid argument")                                                         \
    X(ENFILE, -ENFILE, "too many open files in the system")                                        \
    X(EMFILE, -EMFILE, "too many open files")                                                      \
    X(EISDIR, -EISDIR, "is a directory")                                                           \
    X(EFBIG, -EFBIG, "file too large")                                                             \
    X(ENOSPC, -ENOSPC, "no space left")                                                            \
    X(EFAULT, -EFAULT, "bad address")                                                              \
    X(EPIPE, -EPIPE, "broken pipe")                                                                \
    X(ERANGE, -ERANGE, "out of range")                                                             \
    X(EDEADLK, -EDEADLK, "would deadlock")                                                         \
    X(ENOSYS, -ENOSYS, "not supported by this system")                                             \
    X(EOVERFLOW, -EOVERFLOW, "value too large")                                                    \
    X(ENOTSUP, -ENOTSUP, "operation not supported")                                                \
    X(ENOTSOCK, -ENOTSOCK, "not a socket")                                                         \
    X(EDESTADDRREQ, -EDESTADDRREQ, "destination address required")                                 \
    X(EMSGSIZE, -EMSGSIZE, "message too long")                                                     \
    X(EAFNOSUPPORT, -EAFNOSUPPORT, "address family not supported")                                 \
    X(EADDRINUSE, -EADDRINUSE, "address already in use")                                           \
    X(EADDRNOTAVAIL, -EADDRNOTAVAIL, "address not available")                                      \
    X(ENETUNREACH, -ENETUNREACH, "network is unreachable")                                         \
    X(EHOSTUNREACH, -EHOSTUNREACH, "no route to host")                                             \
    X(ENOBUFS, -ENOBUFS, "no buffer space available")                                              \
    X(EISCONN, -EISCONN, "already connected")                                                      \
    X(ENOTCONN, -ENOTCONN, "not connected")                                                        \
    X(ECONNABORTED, -ECONNABORTED, "connection aborted")                                           \
    X(ECONNREFUSED, -ECONNREFUSED, "connection refused")                                           \
    X(ECONNRESET, -ECONNRESET, "connection reset by peer")                                         \
    X(E2BIG, -E2BIG, "argument list too long")                                                     \
    X(EALREADY, -EALREADY, "operation already in progress")                                        \
    X(EBADMSG, -EBADMSG, "bad message")                                                            \
    X(ECHILD, -ECHILD, "no child processes")                                                       \
    X(EDOM, -EDOM, "argument out of domain")                                                       \
    X(EDQUOT, -EDQUOT, "disk quota exceeded")                                                      \
    X(EHOSTDOWN, -EHOSTDOWN, "host is down")                                                       \
    X(EILSEQ, -EILSEQ, "illegal byte sequence")                                                    \
    X(EINPROGRESS, -EINPROGRESS, "operation in progress")                                          \
    X(ELOOP, -ELOOP, "too many levels of symbolic links")                                          \
    X(EMLINK, -EMLINK, "too many links")                                                           \
    X(ENAMETOOLONG, -ENAMETOOLONG, "file name too long")                                           \
    X(ENETDOWN, -ENETDOWN, "network is down")                                                      \
    X(ENETRESET, -ENETRESET, "connection aborted by network")                                      \
    X(ENODEV, -ENODEV, "no such device")                                                           \
    X(ENOEXEC, -ENOEXEC, "exec format error")                                                      \
    X(ENOLCK, -ENOLCK, "no locks available")                                                       \
    X(ENOPROTOOPT, -ENOPROTOOPT, "protocol option not available")                                  \
    X(ENOTDIR, -ENOTDIR, "not a directory")                                                        \
    X(ENOTEMPTY, -ENOTEMPTY, "directory not empty")                                                \
    X(ENOTTY, -ENOTTY, "inappropriate ioctl for device")                                           \
    X(ENXIO, -ENXIO, "no such device or address")                                                  \
    X(EPFNOSUPPORT, -EPFNOSUPPORT, "protocol family not supported")                                \
    X(EPROTO, -EPROTO, "protocol error")                                                           \
    X(EPROTONOSUPPORT, -EPROTONOSUPPORT, "protocol not supported")                                 \
    X(EPROTOTYPE, -EPROTOTYPE, "wrong protocol type for socket")                                   \
    X(EROFS, -EROFS, "read-only file system")                                                      \
    X(ESHUTDOWN, -ESHUTDOWN, "endpoint has been shut down")                                        \
    X(ESOCKTNOSUPPORT, -ESOCKTNOSUPPORT, "socket type not supported")                              \
    X(ESPIPE, -ESPIPE, "illegal seek")                                                             \
    X(ESRCH, -ESRCH, "no such process")                                                            \
    X(ESTALE, -ESTALE, "stale file handle")                                                        \
    X(ETXTBSY, -ETXTBSY, "text file busy")                                                         \
    X(EXDEV, -EXDEV, "cross-device link")                                                          \
    X(ETIMEDOUT, -ETIMEDOUT, "deadline exceeded")                                                  \
    X(ECANCELED, -ECANCELED, "context canceled")                                                   \
    X(EIDRM, -EIDRM, "identifier removed")                                                         \
    X(EMULTIHOP, -EMULTIHOP, "multihop attempted")                                                 \
    X(ENODATA, -ENODATA, "no data available")                                                      \
    X(ENOLINK, -ENOLINK, "link has been severed")                                                  \
    X(ENOMSG, -ENOMSG, "no message of desired type")                                               \
    X(ENOSR, -ENOSR, "out of streams resources")                                                   \
    X(ENOSTR, -ENOSTR, "device not a stream")                                                      \
    X(ENOTRECOVERABLE, -ENOTRECOVERABLE, "state not recoverable")                                  \
    X(EOWNERDEAD, -EOWNERDEAD, "owner died")                                                       \
    X(ETIME, -ETIME, "timer expired")                                                              \
    X(ECLOSED, -4097, "closed")

enum {
#define BL__ERROR_ENUM(name, value, text) BL_##name = (value),
    BL__ERRORS(BL__ERROR_ENUM)
#undef BL__ERROR_ENUM
    BL_EWOULDBLOCK = BL_EAGAIN,
    BL_EOPNOTSUPP = BL_ENOTSUP
};

/* The constant's name ("BL_ECANCELED") and a text ("context canceled") for a result of this library
 * or a negated errno. Static strings; 0 or a positive number is "BL_OK" and "success", an unknown
 * one "BL_E?" and "unknown error". Do not wait. */
const char *bl_err_name(int err);
const char *bl_strerror(int err);

/* Of the C library's own errno, of h_errno, and of what isspace and its kin look at, compilers keep
 * a thread's address over a call of this library, from which a goroutine may come back on another.
 * So here they are calls: those of ctype.h if that is included after this, or with -D__NO_CTYPE,
 * which pkg-config, CMake and `belay build` give; h_errno in either order, as what netdb.h declares,
 * of (void), becomes another name, which nobody calls. Do not wait. */
int *bl__errno(void);
#undef errno
#define errno (*bl__errno())
int *bl__h_errno_(void);
/* NOLINTNEXTLINE(clang-diagnostic-reserved-macro-identifier): libc's */
#define __h_errno_location(x) bl__h_errno_##x(x)

/* ---- 2. Time --------------------------------------------------------------------------------- */

typedef int64_t bl_dur;  /* nanoseconds */
typedef int64_t bl_time; /* nanoseconds on the monotonic clock */

#define BL_NS INT64_C(1)
#define BL_US INT64_C(1000)
#define BL_MS INT64_C(1000000)
#define BL_SEC INT64_C(1000000000)
#define BL_MIN (60 * BL_SEC)
#define BL_HOUR (60 * BL_MIN)
#define BL_NEVER INT64_MAX /* the deadline that never comes */

/* Now (CLOCK_MONOTONIC); in a bubble of a test, on the bubble's own clock. Does not wait. */
bl_time bl_now(void);

/* bl_now() + d, kept within the range of bl_time. */
bl_time bl_in(bl_dur d);

/* ---- 3. The runtime and goroutines ----------------------------------------------------------- */

typedef int (*bl_fn)(void *arg);

typedef struct bl_scope bl_scope;
typedef struct bl_ctx bl_ctx;
typedef struct bl_chan bl_chan;
typedef struct bl_stop bl_stop;
typedef struct bl_ticker bl_ticker;
typedef struct bl_pool bl_pool;

/* Where in the user's program something was made. The macros below fill one in. */
typedef struct bl__site {
    const char *what; /* the expression that names the function or object */
    const char *func; /* the function that made it */
    const char *file;
    int line;
} bl__site;

/* The address of one for this line. Arguments of the macros stay outside of its block: &(struct job){…}
 * lives as long as the caller's block, and calls within calls do not shadow each other. */
#define BL__HERE(text)                                                                             \
    (__extension__({                                                                               \
        static const bl__site bl__site_here = {(text), __func__, __FILE__, __LINE__};              \
        &bl__site_here;                                                                            \
    }))

/*
 * What becomes of goroutines that do not end. Those that are left when the root scope's grace is
 * over have leaked: REPORT says so on stderr; FAIL also makes the process exit with 3 where it
 * would with 0, as does a leak that is told of before; IGNORE says nothing. A report of goroutines
 * that are late (bl_scope_opts.grace) is one of the same kind: none with IGNORE. Those that do stop
 * later have not leaked, and FAIL lets the exit status be; it is 3 if the process exits before.
 */
enum { BL_LEAK_REPORT = 1, BL_LEAK_FAIL, BL_LEAK_IGNORE };
enum { BL_DEADLOCK_REPORT = 1, BL_DEADLOCK_EXIT, BL_DEADLOCK_ABORT };

/* What SIGQUIT does during a run: EXIT prints every goroutine to stderr and ends the process with
 * status 2, as Go does; DUMP prints them, and the program goes on; OFF leaves the signal alone. A
 * handler of the program's own, and bl_notify of SIGQUIT, come first. */
enum { BL_QUIT_EXIT = 1, BL_QUIT_DUMP, BL_QUIT_OFF };

/* Settings of a run; a field that is 0 has its default, which the environment can set. */
typedef struct bl_options {
    size_t size;       /* sizeof(bl_options), or 0 for that of this header */
    int procs;         /* processors: goroutines that run at one time; BELAY_PROCS; default: the CPUs
                          that the affinity mask and the cgroup's limit leave */
    size_t stack_size; /* bytes of stack a goroutine, rounded up to pages, at most 256 MiB; BELAY_STACK;
                          64 KiB */
    int max_threads;   /* bound on the runtime's threads, of which a goroutine that blocks its thread
                          takes one; reaching it is said; BELAY_MAX_THREADS; 10,000 */
    int on_leak;       /* BL_LEAK_…; BELAY_ON_LEAK=report|fail|ignore; report */
    int on_deadlock;   /* BL_DEADLOCK_…; BELAY_ON_DEADLOCK=report|exit|abort; report */
    int signals;       /* 1: SIGINT and SIGTERM cancel the root scope, the second one kills; so no wait
                          for what fn can get at is a deadlock; the grace begins when fn returns. 0: off */
    int on_quit;       /* BL_QUIT_…; BELAY_SIGQUIT=exit|dump|off; exit */
} bl_options;

/*
 * Starts the runtime, runs fn(arg) as the main goroutine in the root scope, and returns fn's result
 * when it has returned and the root scope, which is cancelled then, has been joined. Goroutines in
 * scopes of plain threads are waited for, too, and not cancelled. What has not ended the root
 * scope's grace after that is reported as leaked, and bl_run returns all the same. Goroutines run
 * with the caller's signal mask.
 * BL_ENOMEM or BL_EAGAIN: no memory or no threads for it (or as the system says: BL_EPERM, where it
 * filters clone3), BL_EINVAL: bad options, each said on stderr, too; BL_EBUSY: already running, or
 * a goroutine that an earlier run has left still keeps its thread (in the child of a fork for good,
 * and that is said). To be called from a plain thread; may be called again after it has returned.
 */
int bl_run(bl_fn fn, void *arg, const bl_options *opts);

/*
 * bl_go(s, fn, arg): starts fn(arg) as a goroutine in scope s (Go: the go statement).
 * fn's result is 0, or a negative error, which cancels s. arg stays the caller's. It ends by
 * returning: pthread_exit would take a thread of the runtime's away, and is fatal.
 * Does not wait, unless s has a limit: then it waits for room. Who starts very many at once yields
 * now and then.
 * 0; BL_ECANCELED or BL_ETIMEDOUT: s is cancelled, or its caller while that waits for room, and
 * nothing was started; BL_ENOMEM.
 * Fatal on a closed scope, if fn is NULL, and while no run is under way.
 *
 * A goroutine begins with the default floating-point environment, and what it sets with <fenv.h>
 * (rounding, which exceptions trap) is its own. Flush to zero (_MM_SET_FLUSH_ZERO_MODE) is the
 * thread's, so a program sets it before bl_run or not at all.
 */
int bl__go(bl_scope *s, bl_fn fn, void *arg, const bl__site *site);
#define bl_go(s, fn, ... /* arg */) bl__go(BL__SCOPE(s), (fn), __VA_ARGS__, BL__HERE(#fn))

/* The same with a copy of the size bytes at value, made before it returns; fn gets the address of
 * its copy, aligned for any type and valid until fn returns. */
int bl__go_copy(bl_scope *s, bl_fn fn, const void *value, size_t size, const bl__site *site);
#define bl_go_copy(s, fn, ... /* value, size */)                                                   \
    bl__go_copy(BL__SCOPE(s), (fn), __VA_ARGS__, BL__HERE(#fn))

/* Lets the other goroutines run (Go: runtime.Gosched). On a plain thread: sched_yield. */
void bl_yield(void);

/* Waits for d (up to d/32, 0.5 ms, longer); 0, BL_ECANCELED, BL_ETIMEDOUT. d <= 0 only yields. */
BL__NODISCARD int bl_sleep(bl_dur d);

/* The goroutine's number, from 1 (the main one), used once in a run; 0 on a plain thread. */
uint64_t bl_id(void);

/* The number of processors (Go: GOMAXPROCS); of the next run, when none is under way. */
int bl_procs(void);
/* Sets it; the number before. n < 1 only asks. At most 256 are used. */
int bl_set_procs(int n);

/* The number of goroutines that were started and have not ended. */
size_t bl_goroutines(void);

/* Gives the goroutine a label, which reports show and goroutines it starts inherit. Both strings
 * are copied; value NULL removes it. 0, BL_ENOMEM, or BL_EINVAL on a plain thread and for no key. */
int bl_label(const char *key, const char *value);

/* The root scope, for what lives as long as the run. Fatal when no run is under way. */
bl_scope *bl_root(void);

/* ---- 4. Scopes: who stops what --------------------------------------------------------------- */

/* Of structs of options all fields may be left out. C++ wants those that are given in their order. */
#ifdef __cplusplus
#define BL__OR_ZERO {} /* no warning of it */
#else
#define BL__OR_ZERO
#endif

typedef struct bl_scope_opts {
    bl_dur timeout BL__OR_ZERO;   /* cancels the scope with BL_ETIMEDOUT when it has passed; 0: none;
                                     below 0: at once */
    const char *name BL__OR_ZERO; /* for reports; not copied */
    bl_time deadline BL__OR_ZERO; /* as timeout, at a point in time; 0 or BL_NEVER: none; the earlier
                                     of the two counts */
    int limit BL__OR_ZERO;        /* goroutines at one time; bl_go waits for room; 0: no limit */
    bl_dur grace BL__OR_ZERO;     /* how long a stop may take unreported; 0: BELAY_GRACE, or 1 s */
    bool shield BL__OR_ZERO;      /* the parent's cancellation does not reach in */
    bl_ctx *ctx BL__OR_ZERO;      /* parent context; NULL: the current one */
    bool keep_going BL__OR_ZERO;  /* a goroutine's error does not cancel the others */
} bl_scope_opts;

/* Lives in its opener's frame. */
struct bl_scope {
    bl_ctx *bl__ctx;            /* immutable: one reference */
    bl_scope *bl__parent;       /* immutable: the opener's scope before */
    int64_t bl__live;           /* atomic: who is not yet joined, and two bits: life/scope.h */
    int64_t bl__started;        /* opener: its goroutines that are not in live yet */
    void *bl__opener_g;         /* atomic: the record of who opened it, and joins it */
    const bl__site *bl__made;   /* immutable: where it was opened */
    const char *bl__name;       /* immutable */
    bl_dur bl__grace;           /* immutable */
    bl_time bl__cancelled_at;   /* atomic: 0 if it was cancelled with nobody in it */
    void *bl__resources;        /* lock: what is freed when it closes, newest first */
    void *bl__timers;           /* lock to write: its pending bl_after_func; NULL: never any */
    void *bl__room_head;        /* lock: goroutines that wait for room */
    void *bl__room_tail;        /* lock */
    uint32_t bl__lock;
    int32_t bl__limit;          /* immutable */
    int32_t bl__running;        /* lock: goroutines counted against limit */
    int32_t bl__err;            /* atomic: the first error of a goroutine */
    uint32_t bl__magic;         /* atomic: open, closed, or neither */
    uint8_t bl__keep_going;     /* immutable */
    uint8_t bl__grace_state;    /* atomic; opener to write */
    uint16_t bl__bubble;        /* immutable once it has goroutines: core/bubble.h; 0: none */
};

/* Opens s with o (NULL: defaults) and makes its context the opener's current one until it is
 * closed. s is uninitialised storage of the caller, in use until bl_scope_close. To be closed by
 * its opener, the innermost first. 0, or BL_ENOMEM: s is then open all the same, and cancelled with
 * that cause, and bl_go on it returns BL_ENOMEM. */
int bl__scope_open(bl_scope *s, const bl_scope_opts *o, const bl__site *site);
#define bl_scope_open(s, ... /* o, which may have commas in braces */)                             \
    bl__scope_open(BL__SCOPE(s), (__VA_ARGS__), BL__HERE(#s))

/* Cancels s (BL_ECANCELED), joins its goroutines, frees what belongs to it and closes it. What
 * bl_scope_wait would have returned: its own cancellation does not count. Waits and is no stop
 * path. Fatal if s is not open, or not the opener's innermost. */
int bl_scope_close(bl_scope *s);

/* Joins all goroutines of s: the first error of one of them, else the cause if s was cancelled,
 * else 0. For the opener alone, in whose frame s ends (of the root scope: the main goroutine);
 * another is fatal, and waits on a bl_waitgroup. May be called again, and bl_go after it. Waits and
 * is no stop path: the goroutines are told to stop by the scope's cancellation. (Go:
 * sync.WaitGroup.Wait, errgroup.Group.Wait.) */
int bl_scope_wait(bl_scope *s);

/* Cancels s and all below it with cause (0: BL_ECANCELED). The first cause wins. Does not wait. */
void bl_scope_cancel(bl_scope *s, int cause);

/* The scope's context; the scope's reference. */
bl_ctx *bl_scope_ctx(bl_scope *s);

void bl__scope_leave(bl_scope (*s)[1]);

/* BL_SCOPE(s, .name = "fetch", …): declares s, a scope for the rest of the block, which is
 * cancelled and joined on every path out of it: its end, return, break, goto. What its goroutines
 * are still to use then is declared before it: for clang the block's later variables have ended
 * when the scope is joined at its end (so its AddressSanitizer reports them, but for
 * -fno-sanitize-address-use-after-scope, as with belay build -asan). */
#define BL_SCOPE(... /* s, options */) BL__SCOPE_OPEN(__VA_ARGS__, )
#define BL__SCOPE_OPEN(s, ...)                                                                     \
    bl_scope s[1] __attribute__((cleanup(bl__scope_leave)));                                       \
    (void)(__extension__({                                                                         \
        const bl_scope_opts bl__opts_here = {__VA_ARGS__};                                         \
        bl__scope_open(s, &bl__opts_here, BL__HERE(#s));                                           \
    }))

/* ---- 5. Contexts ----------------------------------------------------------------------------- */

/* The goroutine's current context: its innermost scope's; the scope's reference. */
bl_ctx *bl_ctx_current(void);
/* The context that is never cancelled. (Go: context.Background.) */
bl_ctx *bl_ctx_background(void);

/* A new context below p, with one reference that the caller releases; NULL: no memory. Fatal if p
 * is NULL. Cancelled when p is, when its own deadline passes (err BL_ETIMEDOUT), or by
 * bl_ctx_cancel; the first one wins. bl_ctx_without_cancel keeps p's values only. Releasing the
 * last reference cancels it. (Go: context.WithCancelCause and the others of these names.) */
bl_ctx *bl__ctx_new(bl_ctx *p, int kind, bl_time deadline, const void *key, void *value,
                    const bl__site *site);
enum { BL__CTX_CANCEL, BL__CTX_DETACHED, BL__CTX_DEADLINE, BL__CTX_VALUE };
#define BL__CTX_NEW(p, kind, t, key, ... /* value */)                                              \
    bl__ctx_new((p), (kind), (t), (key), __VA_ARGS__, BL__HERE("context"))
#define bl_ctx_with_cancel(p) BL__CTX_NEW(p, BL__CTX_CANCEL, BL_NEVER, NULL, NULL)
#define bl_ctx_without_cancel(p) BL__CTX_NEW(p, BL__CTX_DETACHED, BL_NEVER, NULL, NULL)
#define bl_ctx_with_deadline(p, t) BL__CTX_NEW(p, BL__CTX_DEADLINE, t, NULL, NULL)
#define bl_ctx_with_timeout(p, d) BL__CTX_NEW(p, BL__CTX_DEADLINE, bl_in(d), NULL, NULL)
#define bl_ctx_with_value(p, key, ... /* value */)                                                 \
    BL__CTX_NEW(p, BL__CTX_VALUE, BL_NEVER, key, __VA_ARGS__)

/* Cancels c and all below it with cause (0: BL_ECANCELED), but what cannot be: the background, one
 * without_cancel, values on it. Idempotent. Does not wait, nor for another that is at it. */
void bl_ctx_cancel(bl_ctx *c, int cause);
/* 0, BL_ECANCELED, or BL_ETIMEDOUT if a deadline passed. (Go: Context.Err.) */
int bl_ctx_err(bl_ctx *c);
/* 0, or the cause given to the cancellation that came first; for a deadline BL_ETIMEDOUT. */
int bl_ctx_cause(bl_ctx *c);
/* True and *t (if t is not NULL) if c has a deadline. */
bool bl_ctx_deadline(bl_ctx *c, bl_time *t);
/* The value of the nearest bl_ctx_with_value with this key (compared as an address), or NULL. */
void *bl_ctx_value(bl_ctx *c, const void *key);
/* A channel that the cancellation closes, for select with BL_RECV(done, NULL). The context's own,
 * valid as long as it; for the caller to close it, to send to it, or to release it without a retain,
 * is fatal. NULL if c can never be cancelled. No memory for it is fatal. */
bl_chan *bl_ctx_done(bl_ctx *c);

/* Arranges that fn(arg) is started in scope s when c is cancelled (at once if it is already), also
 * if s is cancelled or has reached its limit; what waits in it is then cancelled too, unless it
 * opens a scope with .shield. The handle belongs to s, whose close stops it, once s is joined.
 * NULL: no memory. (Go: context.AfterFunc.) */
bl_stop *bl__ctx_after(bl_ctx *c, bl_scope *s, bl_fn fn, void *arg, const bl__site *site);
#define bl_ctx_after(c, s, fn, ... /* arg */)                                                      \
    bl__ctx_after((c), BL__SCOPE(s), (fn), __VA_ARGS__, BL__HERE(#fn))
/* True: it was stopped before it started and will not run. */
bool bl_ctx_after_stop(bl_stop *stop);

/* One more reference, and one less; NULL and the background: nothing. Retain returns c. A context
 * that is freed is fatal to use. */
bl_ctx *bl_ctx_retain(bl_ctx *c);
void bl_ctx_release(bl_ctx *c);

/* ---- 6. Channels and select ------------------------------------------------------------------ */

/* A channel of elements of elem_size bytes (0 to 65,535) with a buffer for cap of them; with cap 0
 * a send and a receive meet. One reference, which the caller releases. NULL: no memory, or a size
 * out of range. (Go: make(chan T, cap).) */
bl_chan *bl__chan_new(size_t elem_size, size_t cap, const bl__site *site);
#define bl_chan_new(elem_size, cap) bl__chan_new((elem_size), (cap), BL__HERE("channel"))
/* The same, belonging to scope s, which releases it when it closes. */
bl_chan *bl__scope_chan(bl_scope *s, size_t elem_size, size_t cap, const bl__site *site);
#define bl_scope_chan(s, elem_size, cap)                                                           \
    bl__scope_chan(BL__SCOPE(s), (elem_size), (cap), BL__HERE("channel"))
/* As of contexts. */
bl_chan *bl_chan_retain(bl_chan *c);
void bl_chan_release(bl_chan *c);

/*
 * Send and receive. v points to an element: sizeof *(v) must be the channel's element size,
 * anything else is fatal. v NULL sends zeros, or receives and drops; a void * is taken to point to
 * a whole element. send copies the element out before it returns, recv copies one in.
 *   0; BL_ECLOSED: the channel is closed (a send is refused, a receive has drained the buffer and v
 *   is zeroed); BL_ECANCELED or BL_ETIMEDOUT: stopped.
 * On a NULL channel they wait until they are stopped.
 */
BL__NODISCARD int bl__chan_send(bl_chan *c, const void *v, size_t size);
BL__NODISCARD int bl__chan_recv(bl_chan *c, void *v, size_t size);
BL__NODISCARD int bl__chan_try_send(bl_chan *c, const void *v, size_t size);
BL__NODISCARD int bl__chan_try_recv(bl_chan *c, void *v, size_t size);
BL__NODISCARD int bl__chan_send_until(bl_chan *c, const void *v, size_t size, bl_time deadline);
BL__NODISCARD int bl__chan_recv_until(bl_chan *c, void *v, size_t size, bl_time deadline);
#define bl_chan_send(c, ... /* v */) bl__chan_send((c), (__VA_ARGS__), BL__SIZE((__VA_ARGS__)))
#define bl_chan_recv(c, v) bl__chan_recv((c), (v), BL__SIZE(v))
#define bl_chan_try_send(c, ... /* v */)                                                           \
    bl__chan_try_send((c), (__VA_ARGS__), BL__SIZE((__VA_ARGS__)))
#define bl_chan_try_recv(c, v) bl__chan_try_recv((c), (v), BL__SIZE(v))
#define bl_chan_send_until(c, v, deadline) bl__chan_send_until((c), (v), BL__SIZE(v), (deadline))
#define bl_chan_recv_until(c, v, deadline) bl__chan_recv_until((c), (v), BL__SIZE(v), (deadline))

/* Closes c: waiting and later receivers get what is buffered, then BL_ECLOSED; senders BL_ECLOSED.
 * Fatal if c is NULL or closed already. Does not wait. */
void bl_chan_close(bl_chan *c);
/* Elements buffered, and room for how many; 0 for NULL. */
size_t bl_chan_len(bl_chan *c);
size_t bl_chan_cap(bl_chan *c);

/* One case of a select. */
typedef struct bl_case {
    bl_chan *chan; /* NULL: never ready */
    void *val;     /* the element to send, or where to put the received one */
    size_t size;   /* sizeof *val, or BL__ANY_SIZE */
    int op;        /* BL__OP_SEND or BL__OP_RECV */
    int err;       /* out: 0 or BL_ECLOSED, for the case that ran */
} bl_case;
enum { BL__OP_SEND = 1, BL__OP_RECV = 2 };
#define BL__ANY_SIZE SIZE_MAX

/*
 * Waits until one of the n cases can proceed, runs exactly that one and returns its index; of
 * several ready ones each is as likely. A case on a closed channel is ready, and its err is
 * BL_ECLOSED.
 *   BL_ECANCELED or BL_ETIMEDOUT: stopped; BL_ENOMEM: very many cases and no memory. n 0 waits until
 *   stopped.
 */
BL__NODISCARD int bl_select(bl_case *cs, size_t n);
BL__NODISCARD int bl_try_select(bl_case *cs, size_t n);
BL__NODISCARD int bl_select_until(bl_case *cs, size_t n, bl_time deadline);

/*
 * A pipe in memory: two ends that are connected both ways, as a pair of sockets is, with no kernel
 * and no buffer: a write waits for the reads that take its bytes. For tests of what speaks over a
 * connection; in a bubble (belay/test.h) waiting for it is waiting in virtual time. Any number of
 * goroutines may use an end. (Go: net.Pipe.)
 *
 *     bl_pipe *client, *server;
 *     if (bl_pipe_new(&client, &server) < 0)
 *         return BL_ENOMEM;
 *     bl_go(s, serve, server);
 *     ssize_t n = bl_pipe_write(client, "hello", 5);
 */
typedef struct bl_pipe bl_pipe;

/* Two ends, each the caller's to release. 0, or BL_ENOMEM, and they are NULL. */
BL__NODISCARD int bl__pipe_new(bl_pipe **a, bl_pipe **b, const bl__site *site);
#define bl_pipe_new(a, b) bl__pipe_new((a), (b), BL__HERE("pipe"))

/* Up to n bytes of what the other end writes, as soon as there are any; 0: that end is closed.
 * BL_ECLOSED: this one is; BL_ECANCELED or BL_ETIMEDOUT: stopped. (Go: Conn.Read.) */
BL__NODISCARD ssize_t bl_pipe_read(bl_pipe *p, void *buf, size_t n);
BL__NODISCARD ssize_t bl_pipe_read_until(bl_pipe *p, void *buf, size_t n, bl_time deadline);

/* Writes all n bytes, and returns n when they have been read. When it is stopped or an end is
 * closed after a part was taken it returns how much that was; before that, the error: BL_EPIPE, the
 * other end is closed; BL_ECLOSED, this one is; BL_ECANCELED or BL_ETIMEDOUT. Writes of one end are
 * wholes, one after the other. (Go: Conn.Write.) */
BL__NODISCARD ssize_t bl_pipe_write(bl_pipe *p, const void *buf, size_t n);
BL__NODISCARD ssize_t bl_pipe_write_until(bl_pipe *p, const void *buf, size_t n, bl_time deadline);

/* Whoever waits at either end gets on; again: nothing. 0. Does not wait. (Go: Conn.Close.) */
int bl_pipe_close(bl_pipe *p);
/* Closes p, and gives up the caller's end of it: nobody may use p from here on. NULL: nothing. */
void bl_pipe_release(bl_pipe *p);

/* ---- 7. Sync --------------------------------------------------------------------------------- */
/* All are valid when zero, live in the caller's storage, and are fatal when copied after first use
 * or misused. The storage may be reused as soon as the last wait or unlock has returned. */

/* A mutual exclusion lock (Go: sync.Mutex). Belongs to the goroutine or thread that took it. */
typedef struct bl_mutex {
    uintptr_t bl__word;         /* atomic: owner's record | flags; 0 is unlocked */
    void *bl__self;             /* where it was first used, to find copies */
    void *bl__held;             /* owner: the next on the holder's list of what it holds */
    void *bl__head;             /* lock: waiters, first in first out */
    void *bl__tail;             /* lock */
    uint32_t bl__lock;          /* of the waiters */
    uint32_t bl__tick;          /* atomic: the holder's count of switches when it took it */
} bl_mutex;

void bl_mutex_lock(bl_mutex *m);       /* waits, no stop path; fatal if held by the caller */
BL__NODISCARD bool bl_mutex_try_lock(bl_mutex *m);   /* true: it is the caller's now */
BL__NODISCARD int bl_mutex_lock_until(bl_mutex *m, bl_time deadline); /* 0, or stopped */
void bl_mutex_unlock(bl_mutex *m);     /* fatal if not held by the caller */

/* A reader/writer lock (Go: sync.RWMutex). A waiting writer holds off new readers: so who has it
 * for reading must not take it again. Another goroutine may give a read lock back; but where none
 * has done so yet, one is taken to be its taker's. */
typedef struct bl_rwmutex {
    uintptr_t bl__word;         /* atomic: readers, or the writer's record, and flags; 0 is free */
    void *bl__self;             /* where it was first used */
    void *bl__held;             /* owner: the next on the writer's list of what it holds */
    void *bl__readers[2];       /* lock: waiting readers */
    void *bl__writers[2];       /* lock: waiting writers, first in first out */
    uint32_t bl__lock;          /* of the waiters */
    uint32_t bl__tick;          /* owner: the writer's count of switches when it took it */
} bl_rwmutex;

void bl_rwmutex_lock(bl_rwmutex *m);   /* waits, no stop path; fatal if held by the caller, for reading too */
BL__NODISCARD bool bl_rwmutex_try_lock(bl_rwmutex *m);
BL__NODISCARD int bl_rwmutex_lock_until(bl_rwmutex *m, bl_time deadline);
void bl_rwmutex_unlock(bl_rwmutex *m); /* fatal if not held for writing by the caller */
void bl_rwmutex_rlock(bl_rwmutex *m);  /* waits, no stop path; fatal if the caller has it for writing, or has
                                          it for reading and a lock waits for that */
BL__NODISCARD bool bl_rwmutex_try_rlock(bl_rwmutex *m);
BL__NODISCARD int bl_rwmutex_rlock_until(bl_rwmutex *m, bl_time deadline);
void bl_rwmutex_runlock(bl_rwmutex *m); /* fatal if no reader holds it */

/* A condition variable (Go: sync.Cond), first in first out, for one mutex; with another it is
 * fatal. Wait unlocks m, waits, and has m locked again when it returns, also with an error. */
typedef struct bl_cond {
    struct bl_cond *bl__self;
    bl_mutex *bl__mutex; /* lock: the one it goes with, while somebody waits */
    void *bl__head;      /* lock: waiters, first in first out */
    void *bl__tail;      /* lock */
    uint32_t bl__lock;
    uint32_t bl__reserved;
} bl_cond;

BL__NODISCARD int bl_cond_wait(bl_cond *c, bl_mutex *m);
BL__NODISCARD int bl_cond_wait_until(bl_cond *c, bl_mutex *m, bl_time deadline);
void bl_cond_signal(bl_cond *c);    /* wakes the one that has waited longest, if any */
void bl_cond_broadcast(bl_cond *c); /* wakes all that wait now */

/* Waits for a number of things to be done (Go: sync.WaitGroup). */
typedef struct bl_waitgroup {
    struct bl_waitgroup *bl__self;
    int64_t bl__count;   /* lock */
    void *bl__head;      /* lock: waiters */
    void *bl__tail;      /* lock */
    uint32_t bl__lock;
    uint32_t bl__waking; /* lock: woken and not yet returned */
} bl_waitgroup;

void bl_waitgroup_add(bl_waitgroup *wg, int n); /* fatal below zero */
void bl_waitgroup_done(bl_waitgroup *wg);       /* add(-1) */
BL__NODISCARD int bl_waitgroup_wait(bl_waitgroup *wg); /* 0 when the count is zero, or stopped */
BL__NODISCARD int bl_waitgroup_wait_until(bl_waitgroup *wg, bl_time deadline);
/* add(1), and fn(arg) as a goroutine of s that calls done when it ends; as bl_go, and when that
 * fails the count is as before. (Go: WaitGroup.Go.) */
int bl__waitgroup_go(bl_waitgroup *wg, bl_scope *s, bl_fn fn, void *arg, const bl__site *site);
#define bl_waitgroup_go(wg, s, fn, ... /* arg */)                                                  \
    bl__waitgroup_go((wg), BL__SCOPE(s), (fn), __VA_ARGS__, BL__HERE(#fn))

/* Runs a function once (Go: sync.Once). */
typedef struct bl_once {
    struct bl_once *bl__self;
    void *bl__runner;   /* lock: the record of who runs it */
    void *bl__head;     /* lock: waiters */
    void *bl__tail;     /* lock */
    uint32_t bl__lock;
    uint32_t bl__done;  /* atomic */
} bl_once;

/* Runs fn(arg) if it is the first call for o; returns when that first call has returned. fn's
 * result is not looked at. Waits and is no stop path; fatal if fn itself calls it for o. */
void bl_once_do(bl_once *o, bl_fn fn, void *arg);

/* A weighted semaphore, first in first out (Go: x/sync/semaphore). Nobody owns what is acquired. */
typedef struct bl_sem {
    struct bl_sem *bl__self;
    int64_t bl__count;  /* lock: what is free */
    void *bl__head;     /* lock: waiters */
    void *bl__tail;     /* lock */
    uint32_t bl__lock;
    uint32_t bl__reserved;
} bl_sem;

void bl_sem_init(bl_sem *s, int64_t n);                   /* n free; a zero bl_sem has none; n < 0 is fatal */
BL__NODISCARD int bl_sem_acquire(bl_sem *s, int64_t k);   /* 0, or stopped; BL_EINVAL: k < 0 */
BL__NODISCARD bool bl_sem_try_acquire(bl_sem *s, int64_t k);
BL__NODISCARD int bl_sem_acquire_until(bl_sem *s, int64_t k, bl_time deadline);
void bl_sem_release(bl_sem *s, int64_t k);                /* k may exceed what was acquired; k < 0 is fatal */

/* ---- 8. Timers and tickers ------------------------------------------------------------------- */
/* Go's contract since 1.23: after stop or reset has returned no value of before is received; a
 * timer's channel has len and cap 0; what is received is the time it was due. */

#define BL__TIMER_CHAN_WORDS 24

/* What the heap of timers works on; a bl_timer begins with it. */
#define BL__TIMER_HEAD                                                                             \
    bl_time bl__when;          /* lock: of its heap: when it is due */                             \
    bl_dur bl__period;         /* of a ticker */                                                   \
    void *bl__heap;            /* lock to write, atomic: the heap that it is in, or NULL */        \
    uint64_t bl__index;        /* lock: where in it */                                             \
    void (*bl__fire)(struct bl_timer * t, bl_time now); /* immutable while armed */                \
    struct bl_timer *bl__next; /* lock: in a list and not in the heap's array */                   \
    void *bl__fired_in;        /* the heap that fired it last */

/* Valid when zero; in the caller's storage, which stays in use until it was stopped, or has fired:
 * its value was received, its function has begun. */
typedef struct bl_timer {
    BL__TIMER_HEAD
    struct bl_timer *bl__self; /* atomic: its address once it was used, to find copies */
    const bl__site *bl__made;  /* lock */
    void *bl__after;           /* lock: of an after_func: the record of its last start */
    uint64_t bl__after_use;    /* lock: and which use of that record */
    bl_scope *bl__scope;       /* lock: of an after_func */
    bl_fn bl__fn;              /* lock: of an after_func */
    void *bl__arg;             /* lock: of an after_func */
    uint32_t bl__lock;
    uint32_t bl__kind;         /* lock: what it was started as last */
    uint64_t bl__chan[BL__TIMER_CHAN_WORDS];
} bl_timer;

/* Starts t to send the time on its channel once, d from now (d <= 0: now). 0. On a pending timer: as
 * reset. (Go: time.NewTimer.) Does not wait. */
int bl__timer_start(bl_timer *t, bl_dur d, const bl__site *site);
#define bl_timer_start(t, d) bl__timer_start((t), (d), BL__HERE("timer"))
/* The channel, of bl_time, which is part of t and to receive from: to close, retain or release it,
 * or to send to it, is fatal. */
bl_chan *bl_timer_chan(bl_timer *t);
/* Stops t: true if it was pending, or its value not yet received, and nothing will come. For an
 * after_func: true if it has not started and will not. */
bool bl_timer_stop(bl_timer *t);
/* Sets it to be due d from now; what bl_timer_stop would have returned. */
bool bl_timer_reset(bl_timer *t, bl_dur d);
/* Starts fn(arg) in scope s, d from now, also beyond the limit of s; not if s is cancelled by then.
 * Closing s stops it. 0, or BL_ECANCELED/BL_ETIMEDOUT on a cancelled scope, BL_ENOMEM. (Go:
 * time.AfterFunc.) */
int bl__after_func(bl_timer *t, bl_scope *s, bl_dur d, bl_fn fn, void *arg, const bl__site *site);
#define bl_after_func(t, s, d, fn, ... /* arg */)                                                  \
    bl__after_func((t), BL__SCOPE(s), (d), (fn), __VA_ARGS__, BL__HERE(#fn))
/* bl_timer_stop, and if its function has started, waits until it has ended. No stop path. */
bool bl_timer_stop_wait(bl_timer *t);

/* A ticker that sends the time every period, dropping ticks for a slow receiver. Belongs to s,
 * which stops and frees it when it closes; to use it then is fatal. period <= 0 is fatal. NULL: no
 * memory. (Go: time.NewTicker.) */
bl_ticker *bl__ticker_new(bl_scope *s, bl_dur period, const bl__site *site);
#define bl_ticker_new(s, period) bl__ticker_new(BL__SCOPE(s), (period), BL__HERE("ticker"))
bl_chan *bl_ticker_chan(bl_ticker *t);              /* of bl_time; the ticker's own, as a timer's */
void bl_ticker_reset(bl_ticker *t, bl_dur period);  /* also starts a stopped one; period <= 0 is fatal */
void bl_ticker_stop(bl_ticker *t);                  /* nothing is received after it */

/* ---- Signals --------------------------------------------------------------------------------- */

/*
 * bl_notify(s, c, sig, …): from now on each of the signals is sent to channel c, of int, without
 * waiting: what finds c full is dropped, so give it a buffer; a signal that comes again before it
 * was sent is sent once. Until scope s closes or bl_notify_stop. Several channels may want one
 * signal, and one channel several; a second call for c in s adds to the first. While any is there
 * the signal does not do what it did before; after the last one it does again. While a channel is
 * there a program in which all wait is no deadlock. Blocked signals come, too. (Go: signal.Notify.)
 * 0; BL_EINVAL: no signal given, or one that no program can take or that stands for its own
 * faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL); BL_ENOMEM. Fatal if c is NULL, and while no run is
 * under way. Does not wait.
 */
int bl__notify(bl_scope *s, bl_chan *c, ... /* int, and 0 at the end */);
#define bl_notify(s, ...) bl__notify(BL__SCOPE(s), __VA_ARGS__, 0)

/* No signal is sent to c after this has returned. Does not wait. (Go: os/signal.Stop.) */
void bl_notify_stop(bl_chan *c);

/* ---- 9. Worker pools ------------------------------------------------------------------------- */
/*
 * At most so many goroutines run the jobs of a bounded queue, in the order in which they were
 * submitted. Each job is run once, or discarded once, or refused: never lost. A job runs as a
 * goroutine of the pool's scope (beyond the scope's limit) with a context of the pool's below the
 * scope's, and ends as one does: a scope it leaves open is fatal, a lock it holds is reported. Its
 * result, 0 or a negative error, is counted and no more: it stops neither the pool nor the scope.
 * One that hangs keeps one worker; the others go on.
 *
 * A pool belongs to its scope. bl_scope_wait waits for the jobs that are submitted, not for the
 * pool. When the scope is cancelled what is queued is dropped and what runs is cancelled with it;
 * when it closes the pool is joined and freed.
 */

typedef struct bl_pool_opts {
    int workers BL__OR_ZERO;      /* jobs that run at one time; 0: bl_procs() */
    size_t queue BL__OR_ZERO;     /* jobs that are queued at one time; 0: 256; at most 2^30 */
    const char *name BL__OR_ZERO; /* for reports; not copied */
    /* Called once for each job that was accepted and will not run, with no lock held: by the
     * goroutine (or thread) that calls bl_pool_stop, and after a cancellation by one of the
     * scope's, or its closer. To drain or stop the pool in it, or end the goroutine, is fatal. */
    void (*on_discard)(bl_fn fn, void *arg) BL__OR_ZERO;
} bl_pool_opts;

/* Counts since the pool was made: submitted = done + discarded + queued + running, and every call
 * of a submit is in submitted or in refused. */
typedef struct bl_pool_stat {
    uint64_t submitted; /* accepted */
    uint64_t done;      /* have returned */
    uint64_t failed;    /* of those: with an error that was not the pool's cancellation */
    uint64_t discarded; /* dropped by stop or a cancellation */
    uint64_t refused;   /* submits that returned an error */
    uint64_t queued;    /* now */
    uint64_t running;   /* now */
} bl_pool_stat;

/* A pool of scope s with o (NULL: defaults); s frees it when it closes. NULL: no memory, or a
 * number out of range. Does not wait. */
bl_pool *bl__pool_new(bl_scope *s, const bl_pool_opts *o, const bl__site *site);
#define bl_pool_new(s, ... /* o, which may have commas in braces */)                               \
    bl__pool_new(BL__SCOPE(s), (__VA_ARGS__), BL__HERE("pool"))

/*
 * Queues fn(arg), which some worker will run; waits for room in the queue, first come, first served
 * (Go: a send to the workers' channel). arg stays the caller's.
 *   0; BL_ECLOSED: drain or stop has begun, or the pool's scope is cancelled and the caller is not;
 *   BL_ECANCELED or BL_ETIMEDOUT: stopped; BL_ENOMEM: no memory for a first worker.
 */
BL__NODISCARD int bl_pool_submit(bl_pool *p, bl_fn fn, void *arg);
BL__NODISCARD int bl_pool_try_submit(bl_pool *p, bl_fn fn, void *arg);
BL__NODISCARD int bl_pool_submit_until(bl_pool *p, bl_fn fn, void *arg, bl_time deadline);

/* Takes no more jobs, and returns 0 when all that were queued have ended, or were dropped by
 * bl_pool_stop or by a cancellation. May be called again and by several. Waits and is no stop path.
 * Fatal in a job of the pool itself. */
int bl_pool_drain(bl_pool *p);

/* Takes no more jobs, drops what is queued (each to on_discard), gives what runs the grace to end
 * (0 or less: none, BL_NEVER: all the time it wants), then cancels its context, and returns when it
 * has ended: the number of jobs dropped. A job that has not ended when the grace of the pool's
 * scope is over as well is reported. May be called again, after or during a drain, and by several.
 * Waits and is no stop path. Fatal in a job of the pool itself. */
int bl_pool_stop(bl_pool *p, bl_dur grace);

/* The counts of one moment. Does not wait. */
void bl_pool_stats(bl_pool *p, bl_pool_stat *out);

/* ---- 10. Blocking calls ---------------------------------------------------------------------- */

/*
 * Runs fn(arg) on a helper thread, while the calling goroutine waits, and returns fn's result. For
 * what is known to block or to need a big stack: the thread is an ordinary one, with the stack that
 * pthread_create gives it, and it is one and the same until fn returns. Nothing has to be run so.
 *
 * It is a stop path until fn runs: BL_ECANCELED or BL_ETIMEDOUT, and fn is not run, when the
 * context is cancelled by then. From there on it waits for fn. In fn calls are as from a plain
 * thread: they block it, bl_id() is 0, and locks are the thread's and not the goroutine's. But the
 * current context is the caller's, so that what waits in fn can be stopped. A scope that fn leaves
 * open is fatal, a lock it holds is reported.
 *
 * Helpers are kept for the next calls and end after some seconds without one. There are as many as
 * are needed, up to bl_options.max_threads together with the runtime's threads; what finds none
 * free then waits for one, first come, first served. A call whose goroutine is left behind by a run
 * that ends goes on, and is nobody's.
 *
 * BL_EINVAL: fn is NULL. BL_EAGAIN or BL_ENOMEM: there is no helper, and no thread or memory for
 * one. From a plain thread: just calls fn.
 */
BL__NODISCARD int bl_blocking(bl_fn fn, void *arg);

/* ---- 11. File descriptors -------------------------------------------------------------------- */
/*
 * The system calls of the same names, which wait as the library's other calls do: a goroutine that
 * waits for a pipe, a socket, a terminal, an eventfd costs no thread and stops nobody, and is
 * stopped like any.
 *
 * Any descriptor will do, as it is: none has to be made non-blocking, and O_NONBLOCK is left as it
 * is (but see bl_accept). One that is non-blocking waits here all the same. For regular files and
 * disks the calls are the plain ones, which do not stop the other goroutines, and have neither
 * deadline nor stop. With BELAY_IO=uring or threads in the environment a read of a regular file
 * that is not in memory waits like the others, is stopped and closed like them, while an io_uring
 * or a helper thread (bl_blocking) brings it in: a longer way, on which fewer others are held up.
 * Reads of one descriptor have their turns then; other descriptors of the same open file (dup,
 * fork) should not be read from at the same time. Several may wait for one descriptor; on a stream
 * each read and write is a whole, but a bl_write that has to wait is not: let one goroutine write.
 *
 * Results are counts of bytes, or errors: BL_EBADF; BL_ECLOSED: bl_close was called meanwhile;
 * BL_ECANCELED, BL_ETIMEDOUT: stopped; BL_EMFILE, BL_ENOMEM: none to spare for the poller; and what
 * else the system call says, negated. SIGPIPE is never raised: it is BL_EPIPE.
 *
 * Close with bl_close what these calls have been used on. After a plain close(2), who waits is not
 * woken; and calls on what gets the number next may then wait some 100 ms longer than they have to.
 */

struct sockaddr; /* <sys/socket.h>; socklen_t is unsigned int */
struct iovec;    /* <sys/uio.h> */

enum { BL_READABLE = 1, BL_WRITABLE = 2 };

/* Waits until fd can be read or written (events: either or both) without waiting: what of it is
 * true, > 0. The end of the other side and an error count as both. A file that never waits is
 * ready. BL_EINVAL: events is neither. */
BL__NODISCARD int bl_fd_wait(int fd, int events, bl_time deadline);

/* Up to n bytes, as soon as there are any; 0: the end, or n is 0, which waits for nothing. */
BL__NODISCARD ssize_t bl_read(int fd, void *buf, size_t n);
BL__NODISCARD ssize_t bl_read_until(int fd, void *buf, size_t n, bl_time deadline);

/*
 * Writes all n bytes, waiting for room as often as it takes, and returns n (Go: Conn.Write). When
 * it fails or is stopped after a part was written it returns how much that was, which is
 * less than n; before that, the error. (The next call says why.) On sockets of datagrams it is one.
 * bl_writev: the bytes of the count buffers of iov, at most IOV_MAX, in their order.
 */
BL__NODISCARD ssize_t bl_write(int fd, const void *buf, size_t n);
BL__NODISCARD ssize_t bl_write_until(int fd, const void *buf, size_t n, bl_time deadline);
BL__NODISCARD ssize_t bl_writev(int fd, const struct iovec *iov, int count);
BL__NODISCARD ssize_t bl_writev_until(int fd, const struct iovec *iov, int count,
                                      bl_time deadline);

/* Of sockets, with the flags of recv(2) (but for MSG_WAITALL: BL_EINVAL) and send(2); with
 * MSG_DONTWAIT BL_EAGAIN instead of waiting. addr and len as there, and may be NULL. bl_sendto
 * writes all, as bl_write does. */
BL__NODISCARD ssize_t bl_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr,
                                  unsigned int *len);
BL__NODISCARD ssize_t bl_recvfrom_until(int fd, void *buf, size_t n, int flags,
                                        struct sockaddr *addr, unsigned int *len, bl_time deadline);
BL__NODISCARD ssize_t bl_sendto(int fd, const void *buf, size_t n, int flags,
                                const struct sockaddr *addr, unsigned int len);
BL__NODISCARD ssize_t bl_sendto_until(int fd, const void *buf, size_t n, int flags,
                                      const struct sockaddr *addr, unsigned int len,
                                      bl_time deadline);

/* A connection of the listening socket fd: its descriptor, blocking and close-on-exec, the caller's
 * to close. Connections that broke off before are passed over. Sets O_NONBLOCK on fd, for good. */
BL__NODISCARD int bl_accept(int fd, struct sockaddr *addr, unsigned int *len);
BL__NODISCARD int bl_accept_until(int fd, struct sockaddr *addr, unsigned int *len,
                                  bl_time deadline);

/* Connects the socket fd. 0, or why not. When it was stopped the attempt is still under way, and fd
 * is good for bl_close only. */
BL__NODISCARD int bl_connect(int fd, const struct sockaddr *addr, unsigned int len);
BL__NODISCARD int bl_connect_until(int fd, const struct sockaddr *addr, unsigned int len,
                                   bl_time deadline);

/* Closes fd: who waits for it in these calls gets BL_ECLOSED, who makes one later BL_EBADF. 0, or
 * what close(2) says, negated; fd is closed all the same, unless it is BL_EBADF. Waits for nobody
 * but the kernel. No stop path. */
int bl_close(int fd);

#ifdef __cplusplus
}
#endif

/* ---- What the macros need -------------------------------------------------------------------- */

#ifndef __cplusplus

/* A scope as declared by BL_SCOPE(s), its address &s, or a pointer to one. */
#define BL__SCOPE(s)                                                                               \
    ((bl_scope *)_Generic((s), bl_scope * : (s), bl_scope(*)[1] : (s), void * : (s)))

/* The size of what v points to; of a void * (and so of NULL) nothing is known. */
#define BL__SIZE(v)                                                                                \
    (__extension__ _Generic((v), void * : BL__ANY_SIZE, const void * : BL__ANY_SIZE,               \
                            default : sizeof(*(v))))

#define BL__CASE(c, v, n, o) ((bl_case){.chan = (c), .val = (v), .size = (n), .op = (o), .err = 0})
#define BL_RECV(c, v) BL__CASE(c, v, BL__SIZE(v), BL__OP_RECV)
#define BL_SEND(c, ... /* v */)                                                                    \
    BL__CASE(c, (void *)(__VA_ARGS__), BL__SIZE((__VA_ARGS__)), BL__OP_SEND)
#define BL__LIST(...) ((bl_case[]){__VA_ARGS__})

#else

#include <initializer_list>

static inline bl_scope *bl__scope_of(bl_scope *s) { return s; }
static inline bl_scope *bl__scope_of(bl_scope (*s)[1]) { return *s; }
#define BL__SCOPE(s) (bl__scope_of(s))

template <class T> constexpr size_t bl__size_of(const T *) { return sizeof(T); }
constexpr size_t bl__size_of(const void *) { return BL__ANY_SIZE; }
#define BL__SIZE(v) (bl__size_of(v))

static inline bl_case bl__case(bl_chan *c, void *v, size_t n, int op) { return {c, v, n, op, 0}; }
static inline void *bl__sent(const void *v) { return const_cast<void *>(v); }
#define BL_RECV(c, v) (bl__case((c), (v), BL__SIZE(v), BL__OP_RECV))
#define BL_SEND(c, v) (bl__case((c), bl__sent(v), BL__SIZE(v), BL__OP_SEND))

template <size_t N> struct bl__cases { bl_case at[N]; };
template <size_t N> inline bl__cases<N> bl__cases_of(const bl_case (&cs)[N])
{
    bl__cases<N> copy;
    for (size_t i = 0; i < N; i++)
        copy.at[i] = cs[i];
    return copy;
}
#define BL__LIST(...) (bl__cases_of({__VA_ARGS__}).at)

#endif

/* BL_SELECT(BL_RECV(a, &x), BL_SEND(b, &y), …): the function of that name over the cases listed. */
#define BL__CASES(...) BL__LIST(__VA_ARGS__), sizeof(BL__LIST(__VA_ARGS__)) / sizeof(bl_case)
#define BL_SELECT(...) bl_select(BL__CASES(__VA_ARGS__))
#define BL_TRY_SELECT(...) bl_try_select(BL__CASES(__VA_ARGS__))
#define BL_SELECT_UNTIL(deadline, ...) bl_select_until(BL__CASES(__VA_ARGS__), (deadline))

#endif
