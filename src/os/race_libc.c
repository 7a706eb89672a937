/* SPDX-License-Identifier: MIT */
/*
 * race_libc.c: libc without ThreadSanitizer, for the library's own use in the build for `-race`.
 *
 * ThreadSanitizer intercepts much of libc, also where code calls it that is not instrumented:
 * memcpy counts as accesses of the goroutine that happens to run, a write to an eventfd orders who
 * writes before who reads, a thread that is started comes after who started it. None of that is the
 * program's. So in libbelay_race.a these names are bound to the functions below (objcopy, by
 * cmake/race.syms; also those calls that the compiler has made of an assignment), which make the
 * system call, or copy, or have ThreadSanitizer look away meanwhile. A name that begins with
 * bl__real_ is the intercepted one.
 */
#include "arch/race.h"

#if BL__RACE

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_end(void);
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);

static void look_away(void)
{
    __tsan_ignore_thread_begin();
    AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
}

static void look_again(void)
{
    AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
    __tsan_ignore_thread_end();
}

/* ---- Bytes and strings: the empty instruction keeps the compiler from making it a call ---- */

#define KEEP() __asm__ volatile("" ::: "memory")

void *bl__raw_memcpy(void *to, const void *from, size_t n);
void *bl__raw_memmove(void *to, const void *from, size_t n);
void *bl__raw_memset(void *to, int byte, size_t n);
int bl__raw_memcmp(const void *a, const void *b, size_t n);
size_t bl__raw_strlen(const char *s);
size_t bl__raw_strnlen(const char *s, size_t n);
int bl__raw_strcmp(const char *a, const char *b);
int bl__raw_strncmp(const char *a, const char *b, size_t n);
char *bl__raw_strchr(const char *s, int c);
char *bl__raw_strrchr(const char *s, int c);

void *bl__raw_memcpy(void *to, const void *from, size_t n)
{
#if defined(__x86_64__)
    void *d = to;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
#else
    for (size_t i = 0; i < n; i++, ({ KEEP(); }))
        ((char *)to)[i] = ((const char *)from)[i];
#endif
    return to;
}

void *bl__raw_memmove(void *to, const void *from, size_t n)
{
    if ((uintptr_t)to - (uintptr_t)from >= n)
        return bl__raw_memcpy(to, from, n);
    while (n-- > 0) {
        ((char *)to)[n] = ((const char *)from)[n];
        KEEP();
    }
    return to;
}

void *bl__raw_memset(void *to, int byte, size_t n)
{
#if defined(__x86_64__)
    void *d = to;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
#else
    for (size_t i = 0; i < n; i++, ({ KEEP(); }))
        ((char *)to)[i] = (char)byte;
#endif
    return to;
}

int bl__raw_memcmp(const void *a, const void *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int d = ((const unsigned char *)a)[i] - ((const unsigned char *)b)[i];
        if (d != 0)
            return d;
        KEEP();
    }
    return 0;
}

size_t bl__raw_strnlen(const char *s, size_t n)
{
    size_t i = 0;
    for (; i < n && s[i] != '\0'; i++)
        KEEP();
    return i;
}

size_t bl__raw_strlen(const char *s) { return bl__raw_strnlen(s, SIZE_MAX); }

int bl__raw_strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int d = (unsigned char)a[i] - (unsigned char)b[i];
        if (d != 0 || a[i] == '\0')
            return d;
        KEEP();
    }
    return 0;
}

int bl__raw_strcmp(const char *a, const char *b) { return bl__raw_strncmp(a, b, SIZE_MAX); }

char *bl__raw_strchr(const char *s, int c)
{
    for (; *s != (char)c; s++) {
        if (*s == '\0')
            return NULL;
        KEEP();
    }
    return (char *)(uintptr_t)s;
}

char *bl__raw_strrchr(const char *s, int c)
{
    const char *last = NULL;
    for (; (s = bl__raw_strchr(s, c)) != NULL; s++) {
        last = s;
        if (*s == '\0')
            break;
    }
    return (char *)(uintptr_t)last;
}

/* ---- Memory: that of the library is nobody's, and comes and goes without a trace ---- */

extern void *real_malloc(size_t n) __asm__("bl__real_malloc");
extern void *real_calloc(size_t n, size_t size) __asm__("bl__real_calloc");
extern void *real_realloc(void *p, size_t n) __asm__("bl__real_realloc");
extern int real_posix_memalign(void **out, size_t align,
                               size_t n) __asm__("bl__real_posix_memalign");
extern void real_free(void *p) __asm__("bl__real_free");

void *bl__raw_malloc(size_t n);
void *bl__raw_calloc(size_t n, size_t size);
void *bl__raw_realloc(void *p, size_t n);
int bl__raw_posix_memalign(void **out, size_t align, size_t n);
void bl__raw_free(void *p);

#define AWAY(type, call)                                                                           \
    look_away();                                                                                   \
    type r = (call);                                                                               \
    look_again();                                                                                  \
    return r

void *bl__raw_malloc(size_t n) { AWAY(void *, real_malloc(n)); }
void *bl__raw_calloc(size_t n, size_t size) { AWAY(void *, real_calloc(n, size)); }
void *bl__raw_realloc(void *p, size_t n) { AWAY(void *, real_realloc(p, n)); }
int bl__raw_posix_memalign(void **out, size_t align, size_t n)
{
    AWAY(int, real_posix_memalign(out, align, n));
}
void bl__raw_free(void *p)
{
    look_away();
    real_free(p);
    look_again();
}

/* ---- Threads ---- */

extern int real_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *),
                       void *arg) __asm__("bl__real_pthread_create");
extern int real_join(pthread_t t, void **result) __asm__("bl__real_pthread_join");
extern int real_once(pthread_once_t *o, void (*fn)(void)) __asm__("bl__real_pthread_once");

int bl__raw_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int bl__raw_pthread_join(pthread_t t, void **result);
int bl__raw_pthread_once(pthread_once_t *o, void (*fn)(void));

int bl__raw_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
    AWAY(int, real_create(t, a, fn, arg));
}
int bl__raw_pthread_join(pthread_t t, void **result) { AWAY(int, real_join(t, result)); }
int bl__raw_pthread_once(pthread_once_t *o, void (*fn)(void)) { AWAY(int, real_once(o, fn)); }

/* ---- Descriptors and mappings ---- */

ssize_t bl__raw_read(int fd, void *p, size_t n);
ssize_t bl__raw_write(int fd, const void *p, size_t n);
int bl__raw_open(const char *path, int flags, ...);
extern int real_close(int fd) __asm__("bl__real_close");
int bl__raw_close(int fd);
int bl__raw_fstat(int fd, struct stat *st);
int bl__raw_epoll_create1(int flags);
int bl__raw_epoll_ctl(int ep, int op, int fd, struct epoll_event *e);
int bl__raw_epoll_wait(int ep, struct epoll_event *e, int n, int timeout);
int bl__raw_eventfd(unsigned value, int flags);
int bl__raw_pipe2(int *ends, int flags);
int bl__raw_poll(struct pollfd *p, nfds_t n, int timeout);
int bl__raw_ppoll(struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *mask);
void *bl__raw_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
int bl__raw_munmap(void *at, size_t n);
ssize_t bl__raw_process_vm_readv(pid_t pid, const struct iovec *l, unsigned long ln,
                                 const struct iovec *r, unsigned long rn, unsigned long flags);

ssize_t bl__raw_read(int fd, void *p, size_t n) { return syscall(SYS_read, fd, p, n); }
ssize_t bl__raw_write(int fd, const void *p, size_t n) { return syscall(SYS_write, fd, p, n); }
int bl__raw_open(const char *path, int flags, ...)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0); /* the library creates no files */
}
int bl__raw_close(int fd) { return (int)syscall(SYS_close, fd); }
int bl__race_close(int fd) { AWAY(int, real_close(fd)); }
int bl__raw_fstat(int fd, struct stat *st) { return (int)syscall(SYS_fstat, fd, st); }
int bl__raw_epoll_create1(int flags) { return (int)syscall(SYS_epoll_create1, flags); }
int bl__raw_epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
    return (int)syscall(SYS_epoll_ctl, ep, op, fd, e);
}
int bl__raw_epoll_wait(int ep, struct epoll_event *e, int n, int timeout)
{
    return (int)syscall(SYS_epoll_pwait, ep, e, n, timeout, NULL, (size_t)8);
}
int bl__raw_eventfd(unsigned value, int flags) { return (int)syscall(SYS_eventfd2, value, flags); }
int bl__raw_pipe2(int *ends, int flags) { return (int)syscall(SYS_pipe2, ends, flags); }
int bl__raw_ppoll(struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
    struct timespec left = {0, 0}; /* the kernel writes what is left of it */
    if (t != NULL)
        left = *t;
    return (int)syscall(SYS_ppoll, p, n, t != NULL ? &left : NULL, mask, (size_t)8);
}
int bl__raw_poll(struct pollfd *p, nfds_t n, int timeout)
{
    struct timespec t = {timeout / 1000, timeout % 1000 * 1000000L};
    return bl__raw_ppoll(p, n, timeout < 0 ? NULL : &t, NULL);
}
void *bl__raw_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}
int bl__raw_munmap(void *at, size_t n) { return (int)syscall(SYS_munmap, at, n); }
ssize_t bl__raw_process_vm_readv(pid_t pid, const struct iovec *l, unsigned long ln,
                                 const struct iovec *r, unsigned long rn, unsigned long flags)
{
    return syscall(SYS_process_vm_readv, pid, l, ln, r, rn, flags);
}

/* ---- What writes to where it is told, mostly to the stack ---- */

enum { KERNEL_SIGSET = 8 };

int bl__raw_clock_gettime(clockid_t clock, struct timespec *t);
int bl__raw_nanosleep(const struct timespec *t, struct timespec *left);
int bl__raw_stat(const char *path, struct stat *st);
int bl__raw_lstat(const char *path, struct stat *st);
ssize_t bl__raw_readlink(const char *path, char *to, size_t n);
int bl__raw_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int bl__raw_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int bl__raw_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
int bl__raw_sched_getaffinity(pid_t pid, size_t n, cpu_set_t *set);
int bl__raw_sigemptyset(sigset_t *set);
int bl__raw_sigfillset(sigset_t *set);
int bl__raw_sigpending(sigset_t *set);
int bl__raw_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *t);
int bl__raw_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);

int bl__raw_clock_gettime(clockid_t clock, struct timespec *t)
{
    return (int)syscall(SYS_clock_gettime, clock, t);
}
int bl__raw_nanosleep(const struct timespec *t, struct timespec *left)
{
    return (int)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, t, left);
}
int bl__raw_stat(const char *path, struct stat *st)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, st, 0);
}
int bl__raw_lstat(const char *path, struct stat *st)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}
ssize_t bl__raw_readlink(const char *path, char *to, size_t n)
{
    return syscall(SYS_readlinkat, AT_FDCWD, path, to, n);
}
int bl__raw_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
}
int bl__raw_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    return (int)syscall(SYS_getsockname, fd, addr, len);
}
int bl__raw_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
    return (int)syscall(SYS_getpeername, fd, addr, len);
}
int bl__raw_sched_getaffinity(pid_t pid, size_t n, cpu_set_t *set)
{
    long r = syscall(SYS_sched_getaffinity, pid, n, set);
    if (r >= 0)
        bl__raw_memset((char *)set + r, 0, n - (size_t)r);
    return r < 0 ? -1 : 0;
}
int bl__raw_sigemptyset(sigset_t *set)
{
    bl__raw_memset(set, 0, sizeof *set);
    return 0;
}
int bl__raw_sigfillset(sigset_t *set)
{
    bl__raw_memset(set, 0xff, sizeof *set);
    return 0;
}
int bl__raw_sigpending(sigset_t *set)
{
    return (int)syscall(SYS_rt_sigpending, set, (size_t)KERNEL_SIGSET);
}
int bl__raw_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *t)
{
    return (int)syscall(SYS_rt_sigtimedwait, set, info, t, (size_t)KERNEL_SIGSET);
}
int bl__raw_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    uint64_t mask = 0;
    if (set != NULL) { /* but for the two signals that are libc's own */
        bl__raw_memcpy(&mask, set, sizeof mask);
        mask &= ~(UINT64_C(3) << 31);
    }
    bool failed = syscall(SYS_rt_sigprocmask, how, set != NULL ? &mask : NULL, old,
                          (size_t)KERNEL_SIGSET) < 0;
    return failed ? errno : 0;
}

/* ---- The rest ---- */

extern int real_iterate(int (*fn)(struct dl_phdr_info *, size_t, void *),
                        void *arg) __asm__("bl__real_dl_iterate_phdr");
extern int real_vsnprintf(char *to, size_t n, const char *format,
                          va_list args) __asm__("bl__real_vsnprintf");
extern const char *real_inet_ntop(int family, const void *addr, char *to,
                                  socklen_t size) __asm__("bl__real_inet_ntop");
int bl__raw_dl_iterate_phdr(int (*fn)(struct dl_phdr_info *, size_t, void *), void *arg);
int bl__raw_snprintf(char *to, size_t n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int bl__raw_vsnprintf(char *to, size_t n, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
int bl__raw_sscanf(const char *text, const char *format, ...) __attribute__((format(scanf, 2, 3)));
int bl__raw_raise(int sig);
const char *bl__raw_inet_ntop(int family, const void *addr, char *to, socklen_t size);

int bl__raw_dl_iterate_phdr(int (*fn)(struct dl_phdr_info *, size_t, void *), void *arg)
{
    AWAY(int, real_iterate(fn, arg));
}

int bl__raw_vsnprintf(char *to, size_t n, const char *format, va_list args)
{
    AWAY(int, real_vsnprintf(to, n, format, args));
}

int bl__raw_snprintf(char *to, size_t n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = bl__raw_vsnprintf(to, n, format, args);
    va_end(args);
    return r;
}

int bl__raw_sscanf(const char *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    look_away();
    int r = vsscanf(text, format, args);
    look_again();
    va_end(args);
    return r;
}

const char *bl__raw_inet_ntop(int family, const void *addr, char *to, socklen_t size)
{
    AWAY(const char *, real_inet_ntop(family, addr, to, size));
}

int bl__raw_raise(int sig)
{
    return (int)syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig);
}

#else
typedef int bl__race_libc_is_off; /* a file is not empty */
#endif
