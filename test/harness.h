/* SPDX-License-Identifier: MIT */
/*
 * harness.h: the smallest harness for belay's own tests. A test executable is one file that
 * includes this header, which brings main() along:
 *
 *     #include "harness.h"
 *
 *     TEST(sum) { CHECK_EQ(1 + 1, 2); }               // the main goroutine of its own bl_run
 *     TEST_PLAIN(before_run) { CHECK(bl_id() == 0); } // on the plain thread
 *
 * Checks, from any goroutine or thread. A failing one prints its place and values and marks the
 * test failed; the code behind it goes on, since a jump out must not cross goroutine stacks:
 *     CHECK(cond)            REQUIRE(cond): the same, and returns from a void function
 *     CHECK_EQ(a, b), CHECK_NE, CHECK_LE, CHECK_GE: integers and pointers; CHECK_STR(a, b)
 *     CHECK_FATAL(fn, text)  fn(NULL), as the main goroutine of a run in a child process, must end
 *                            it with status 2 and text on stderr. In TEST_PLAIN only: it forks.
 *
 * After each test all goroutines must have ended. A test that takes over 60 s (HARNESS_TIMEOUT=s)
 * is named and aborted. The processors are the library's default, or BELAY_PROCS.
 *
 *     ./chan_test [-v] [-list] [-count=N] [name…]     the tests named, or all
 *     ./chan_stress 60                                the same; harness_seconds is 60 (default 2)
 *
 * The last line is "N passed, N failed"; the exit status is 1 if one failed.
 */
#ifndef BL_TEST_HARNESS_H
#define BL_TEST_HARNESS_H

#include <belay.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct harness_test {
    const char *name;
    void (*fn)(void);
    bool plain;
    struct harness_test *next;
} harness_test;

static harness_test *harness_first, **harness_end = &harness_first; /* set up before main */
static const harness_test *harness_current; /* written between tests, read by the watchdog */
static int harness_failures;                /* atomic: of the current test */

static inline void harness_add(harness_test *t)
{
    *harness_end = t;
    harness_end = &t->next;
}

#define HARNESS_TEST(id, is_plain)                                                                 \
    static void test_##id(void);                                                                   \
    __attribute__((constructor)) static void harness_add_##id(void)                                \
    {                                                                                              \
        static harness_test t = {#id, test_##id, (is_plain), NULL};                                \
        harness_add(&t);                                                                           \
    }                                                                                              \
    static void test_##id(void)
#define TEST(id) HARNESS_TEST(id, false)
#define TEST_PLAIN(id) HARNESS_TEST(id, true)

/* ---- Checks ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static inline bool harness_fail(const char *file, int line,
                                                                      const char *format, ...)
{
    /* The first failures tell what is wrong; a thousand more of the same do not. */
    if (__atomic_fetch_add(&harness_failures, 1, __ATOMIC_RELAXED) >= 20)
        return false;
    va_list args;
    va_start(args, format);
    flockfile(stderr);
    fprintf(stderr, "%s:%d: %s: ", file, line, harness_current->name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(args);
    return false;
}

static inline bool harness_check(bool ok, const char *cond, const char *file, int line)
{
    return ok ? true : harness_fail(file, line, "CHECK failed: %s", cond);
}

static inline const char *harness_name(long long v)
{
    bool is_error = v < 0 && v >= INT_MIN && strcmp(bl_err_name((int)v), "BL_E?") != 0;
    return is_error ? bl_err_name((int)v) : "";
}

static inline bool harness_compare(bool ok, long long a, long long b, const char *text,
                                   const char *file, int line)
{
    return ok ? true
              : harness_fail(file, line, "CHECK failed: %s: %lld %s against %lld %s", text, a,
                             harness_name(a), b, harness_name(b));
}

static inline bool harness_strings(const char *a, const char *b, const char *file, int line)
{
    if (a && b && strcmp(a, b) == 0)
        return true;
    return harness_fail(file, line, "CHECK_STR failed: \"%s\" against \"%s\"", a ? a : "(null)",
                        b ? b : "(null)");
}

#define CHECK(cond) harness_check((cond) ? true : false, #cond, __FILE__, __LINE__)
#define HARNESS_COMPARE(a, op, b, text)                                                            \
    (__extension__({                                                                               \
        long long harness_a = (long long)(a), harness_b = (long long)(b);                          \
        harness_compare(harness_a op harness_b, harness_a, harness_b, text, __FILE__, __LINE__);   \
    }))
#define CHECK_EQ(a, b) HARNESS_COMPARE(a, ==, b, #a " == " #b)
#define CHECK_NE(a, b) HARNESS_COMPARE(a, !=, b, #a " != " #b)
#define CHECK_LE(a, b) HARNESS_COMPARE(a, <=, b, #a " <= " #b)
#define CHECK_GE(a, b) HARNESS_COMPARE(a, >=, b, #a " >= " #b)
#define CHECK_STR(a, b) harness_strings((a), (b), __FILE__, __LINE__)
#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!CHECK(cond))                                                                          \
            return;                                                                                \
    } while (0)
#define CHECK_FATAL(fn, text) harness_fatal((fn), (text), #fn, __FILE__, __LINE__)

static inline bool harness_fatal(bl_fn fn, const char *text, const char *name, const char *file,
                                 int line)
{
    int fds[2];
    if (pipe(fds) < 0)
        return harness_fail(file, line, "pipe failed");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], 2);
        close(fds[0]);
        close(fds[1]);
        signal(SIGALRM, SIG_DFL);
        alarm(30);
        bl_run(fn, NULL, NULL);
        _exit(0);
    }
    close(fds[1]);
    char out[16384];
    size_t len = 0;
    ssize_t got;
    while (len < sizeof out - 1 && (got = read(fds[0], out + len, sizeof out - 1 - len)) > 0)
        len += (size_t)got;
    out[len] = 0;
    close(fds[0]);
    int status = -1;
    if (child > 0)
        waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2 && strstr(out, text))
        return true;
    return harness_fail(file, line, "CHECK_FATAL(%s, \"%s\") failed: status 0x%x, stderr:\n%s",
                        name, text, (unsigned)status, out);
}

/* ---- Running --------------------------------------------------------------------------------- */

#ifdef __SANITIZE_THREAD__
/* The children of tests start threads; ThreadSanitizer would end them for that. And would sleep a second
 * at the end of each. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0:atexit_sleep_ms=0"; }
#endif

#ifdef HARNESS_EMULATOR
/* An emulator has threads of its own in the process. The library would take them for the program's, which
 * could call in at any time: no run would be solo, and no deadlock be proven. So here they are not
 * counted; the linker puts this before the library's own (cmake/tests.cmake). */
static int harness_emulator_threads;

int __real_bl__thread_count(void);
int __wrap_bl__thread_count(void);
int __wrap_bl__thread_count(void)
{
    int n = __real_bl__thread_count();
    return n < 0 ? n : n - harness_emulator_threads;
}
#endif

static unsigned harness_timeout = 60, harness_seconds = 2;

static void harness_expired(int sig)
{
    (void)sig;
    static const char text[] = ": test took too long, aborted\n";
    ssize_t ignored = write(2, harness_current->name, strlen(harness_current->name));
    ignored = write(2, text, sizeof text - 1);
    (void)ignored;
    abort();
}

static int harness_main_goroutine(void *arg)
{
    ((const harness_test *)arg)->fn();
    return 0;
}

static bool harness_run_one(harness_test *t, bool verbose)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    harness_failures = 0;
    harness_current = t;
    alarm(harness_timeout + harness_seconds);
    if (t->plain)
        t->fn();
    else
        CHECK_EQ(bl_run(harness_main_goroutine, t, NULL), 0);
    CHECK_EQ(bl_goroutines(), 0); /* nothing is left behind */
    alarm(0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double ms = (double)(end.tv_sec - start.tv_sec) * 1e3;
    ms += (double)(end.tv_nsec - start.tv_nsec) / 1e6;
    if (harness_failures || verbose)
        printf("%s %s (%.1f ms)\n", harness_failures ? "FAIL" : "ok  ", t->name, ms);
    fflush(NULL);
    return harness_failures == 0;
}

static bool harness_wanted(const harness_test *t, int argc, char **argv)
{
    bool named = false;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' || atoi(argv[i]) > 0)
            continue;
        named = true;
        if (strcmp(argv[i], t->name) == 0)
            return true;
    }
    return !named;
}

int main(int argc, char **argv)
{
    int count = 1, passed = 0, failed = 0;
    bool verbose = false, list = false;
#ifdef HARNESS_EMULATOR
    harness_emulator_threads = __real_bl__thread_count() - 1;
#endif
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-count=", 7) == 0)
            count = atoi(argv[i] + 7);
        else if (strcmp(argv[i], "-v") == 0)
            verbose = true;
        else if (strcmp(argv[i], "-list") == 0)
            list = true;
        else if (atoi(argv[i]) > 0)
            harness_seconds = (unsigned)atoi(argv[i]);
        else if (argv[i][0] == '-')
            return fprintf(stderr, "usage: %s [-v] [-list] [-count=N] [name...]\n", argv[0]), 1;
    }
    if (getenv("HARNESS_TIMEOUT"))
        harness_timeout = (unsigned)atoi(getenv("HARNESS_TIMEOUT"));
    signal(SIGALRM, harness_expired);
    for (int round = 0; round < count; round++) {
        for (harness_test *t = harness_first; t; t = t->next) {
            if (!harness_wanted(t, argc, argv))
                continue;
            if (list)
                puts(t->name);
            else if (harness_run_one(t, verbose))
                passed++;
            else
                failed++;
        }
    }
    if (list)
        return 0;
    printf("%d passed, %d failed\n", passed, failed);
    /* A name that matches nothing must not look like success. */
    return failed > 0 || passed == 0;
}

#endif
