/* SPDX-License-Identifier: MIT */
/*
 * belay/test.h: tests and benchmarks, run by `belay test` as `go test` runs Go's.
 *
 *     #include <belay/test.h>
 *
 *     BL_TEST(sum)
 *     {
 *         BL_CHECK_EQ(t, 1 + 2, 3);
 *         BL_REQUIRE(t, bl_go(bl_test_scope(t), server, &config) == 0);
 *     }
 *
 *     BL_BENCH(sum)
 *     {
 *         BL_LOOP(b) { sink = 1 + 2; }
 *     }
 *
 *     $ belay test -run sum -v
 *
 * A test is a goroutine with a scope of its own. When its function has returned, the scope is
 * cancelled, the cleanups run, and what has not stopped within the grace (BELAY_GRACE, 1s) fails
 * the test: goroutines that are left, and those that it has started in the root scope, which nobody
 * cancels, and that have not ended by then. So do locks that a goroutine held at its end,
 * descriptors of bl_accept and bl_connect that are open, timers and tickers that are neither
 * stopped nor ended by a scope, and contexts that were neither cancelled nor released. What has not
 * stopped in the grace of another scope of the test's is told in its log alone. A crash or fatal
 * error fails the test that it happened in, and the others are still run. In a subtest it
 * fails that, and its test is run again for the subtests behind it: those that have ended are not,
 * and bl_subtest returns for them what it returned before, or false for the one that crashed.
 *
 * Everything here is for goroutines of the test t: the test's own and those it has started, at any
 * time before it has ended; checks and logs also for plain threads. What ends "the goroutine"
 * (BL_REQUIRE, bl_fatal, bl_skip) ends the one that calls, after closing the scopes it has open; it
 * does not return. In a function of bl_blocking it is fatal: that has no goroutine to end. A check
 * that fails in a process that the test has forked fails the test, and ends that process if it is
 * to end "the goroutine".
 *
 * For t there may be NULL: the test that the calling goroutine is of, or on a plain thread the one
 * that began last. So functions that are not handed their test can check, too, with one line at the
 * top of the file:
 *
 *     static bl_test *const t; // the test that the caller is of
 */
#ifndef BELAY_TEST_H
#define BELAY_TEST_H

#include <belay.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bl_test bl_test;

typedef struct bl_bench {
    uint64_t bl__done;  /* iterations so far */
    uint64_t bl__limit; /* up to which no clock has to be looked at */
    void *bl__run;
} bl_bench;

typedef struct bl__test_entry {
    const char *name;
    void (*test)(bl_test *t);
    void (*plain)(bl_test *t);
    void (*bench)(bl_bench *b, bl_test *t);
    void (*fuzz)(bl_test *t, const uint8_t *data, size_t size);
    const char *file;
    int line;
    struct bl__test_entry *next;
} bl__test_entry;

void bl__test_register(bl__test_entry *entry);

#define BL__TEST_ENTRY(kind, id, field, fn)                                                            \
    static bl__test_entry bl__##kind##_entry_##id;                                                 \
    __attribute__((constructor)) static void bl__##kind##_register_##id(void)                      \
    {                                                                                              \
        bl__##kind##_entry_##id.name = #id;                                                        \
        bl__##kind##_entry_##id.field = fn;                                               \
        bl__##kind##_entry_##id.file = __FILE__;                                                   \
        bl__##kind##_entry_##id.line = __LINE__;                                                   \
        bl__test_register(&bl__##kind##_entry_##id);                                               \
    }

/* Defines the test id, a C identifier; what follows is its body, with `bl_test *t`: a function
 * Test_id, as tracebacks show it. (Go: func TestXxx.) */
#define BL_TEST(id)                                                                                \
    static void Test_##id(bl_test *t);                                                         \
    BL__TEST_ENTRY(test, id, test, Test_##id)                                                                 \
    static void Test_##id(bl_test *t __attribute__((unused)))

/* A test outside of any run, for what calls bl_run itself, forks or starts programs: its function
 * is called on the main thread of a process of its own, in which BELAY_PROCS is what -cpu says. It
 * fails if goroutines are left when it returns. It has no scope (bl_test_scope gives NULL), no
 * subtests and no bubbles. Who ends it early (BL_REQUIRE) ends the process, after the cleanups;
 * only a goroutine that bl_go has started ends alone. */
#define BL_TEST_PLAIN(id)                                                                          \
    static void Test_##id(bl_test *t);                                                             \
    BL__TEST_ENTRY(test, id, plain, Test_##id)                                                     \
    static void Test_##id(bl_test *t __attribute__((unused)))

/* Defines the benchmark id, with `bl_bench *b` and `bl_test *t`. Its name is printed as Go's, with
 * an upper-case letter behind "Benchmark". (Go: func BenchmarkXxx.) */
#define BL_BENCH(id)                                                                               \
    static void Benchmark_##id(bl_bench *b, bl_test *t);                                           \
    BL__TEST_ENTRY(bench, id, bench, Benchmark_##id)                                                               \
    static void Benchmark_##id(bl_bench *b __attribute__((unused)),                                \
                               bl_test *t __attribute__((unused)))

/* Defines the fuzz target id, with `bl_test *t`, `const uint8_t *data` and `size_t size`: a test
 * that is called with many inputs, and has to pass with each, in the way of every test: what it
 * starts has to stop. Without -fuzz those inputs are the files in testdata/fuzz/ID, each a subtest
 * of that name. With `belay test -fuzz ID` clang's libFuzzer looks for others; one that fails is
 * made smaller and kept there. It may be called millions of times, so it should be quick, depend on
 * nothing but its input, and take no more than a part of a second. (Go: func FuzzXxx.) */
#define BL_FUZZ(id)                                                                                \
    static void Fuzz_##id(bl_test *t, const uint8_t *data, size_t size);                           \
    BL__TEST_ENTRY(fuzz, id, fuzz, Fuzz_##id)                                                      \
    static void Fuzz_##id(bl_test *t __attribute__((unused)),                                      \
                          const uint8_t *data __attribute__((unused)),                             \
                          size_t size __attribute__((unused)))

/* Once in a benchmark: repeats the block for as long as -benchtime says. Only the time in it
 * counts. (Go: for b.Loop().) */
#define BL_LOOP(b)                                                                                 \
    while (__builtin_expect((b)->bl__done < (b)->bl__limit, 1) ? ((b)->bl__done++, true)           \
                                                               : bl__bench_more(b))
bool bl__bench_more(bl_bench *b);

/* Adds a figure of the benchmark's own: value, in unit, as "requests/s". (Go: b.ReportMetric.) */
void bl_report_metric(bl_bench *b, double value, const char *unit);

/* Adds to the benchmark's figures what BL_LOOP allocates by malloc and its kin, B/op and allocs/op,
 * as -benchmem does for all. (Go: b.ReportAllocs.) */
void bl_bench_report_allocs(bl_bench *b);

/* main of a program of tests that is not built by `belay test`, which has one of its own:
 * int main(int argc, char **argv) { return bl_test_main(argc, argv); } */
int bl_test_main(int argc, char **argv);

/* ---- A test's life ---------------------------------------------------------------------------- */

/* The test's scope: for what runs beside the test until its end. Cancelled when the test has
 * returned, before its cleanups. The test's own current context is below it. The test and its
 * cleanups may wait on it (bl_scope_wait). */
bl_scope *bl_test_scope(bl_test *t);

/* "name", of a subtest "name/sub". As long as t. */
const char *bl_test_name(bl_test *t);

/* Runs fn(t, arg) as a subtest of t and waits for it, or, if it calls bl_parallel, until it does
 * so. Blanks in the name become _, and one that there was already gets #01. False: it has failed.
 * (Go: t.Run.) */
#define bl_subtest(t, name, ... /* fn, arg */)                                                     \
    bl__subtest((t), (name), __VA_ARGS__, __FILE__, __LINE__)
bool bl__subtest(bl_test *t, const char *name, void (*fn)(bl_test *t, void *arg), void *arg,
                 const char *file, int line);

/* From here on t runs beside the other parallel tests of the same parent, once those before it have
 * returned; at most -parallel of them at a time. Waits. (Go: t.Parallel.) */
#define bl_parallel(t) bl__parallel((t), __FILE__, __LINE__)
void bl__parallel(bl_test *t, const char *file, int line);

/* fn(arg) is called when the test and its subtests have ended: the last registered first. (Go:
 * t.Cleanup.) */
void bl_cleanup(bl_test *t, void (*fn)(void *arg), void *arg);

/* The test fails if it has not returned d from now; 0: it may take as long as it likes. All
 * goroutines are shown then, and the process ends; the tests that are left are run in another. (A
 * test that is to end by itself opens a scope with .timeout.) */
void bl_test_timeout(bl_test *t, bl_dur d);

/* What of this kind is left behind does not fail t: BL_ALLOW_…, several or'ed. */
enum {
    BL_ALLOW_GOROUTINES = 1,
    BL_ALLOW_LOCKS = 2,
    BL_ALLOW_TIMERS = 4,
    BL_ALLOW_CONTEXTS = 8,
    BL_ALLOW_DESCRIPTORS = 16,
    BL_ALLOW_LOCK_ORDER = 32, /* locks that two goroutines take in different orders */
    BL_ALLOW_CHANNELS = 64    /* channels and pipes that are not released */
};
void bl_test_allow(bl_test *t, int kinds);

/* A directory of the test's own, removed with all that is in it when it ends. (Go: t.TempDir.) */
const char *bl_tempdir(bl_test *t);

/* Compares data with the file testdata/NAME.golden; with -update writes it. False: they differ, and
 * t has failed. */
bool bl_golden(bl_test *t, const char *name, const void *data, size_t size);

/* True with -short; with -v. */
bool bl_short(void);
bool bl_verbose(void);
/* The words behind -args on the command line, then NULL. (Go: flag.Args.) */
char *const *bl_test_args(void);

/* Marks t as failed, or asks. (Go: t.Fail, t.Failed.) */
void bl_fail(bl_test *t);
bool bl_failed(bl_test *t);

/* ---- Saying and ending ------------------------------------------------------------------------- */

/* Printf-like; printed with -v, or when the test fails. (Go: t.Logf.) */
void bl__test_log(bl_test *t, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define bl_log(t, ...) bl__test_log((t), __FILE__, __LINE__, __VA_ARGS__)

enum { BL__TEST_FAIL = 1, BL__TEST_END = 2, BL__TEST_SKIP = 4 };
void bl__test_say(bl_test *t, int what, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Logs and fails; fails and ends the goroutine; skips the test and ends it. (Go: t.Errorf,
 * t.Fatalf, t.Skipf.) */
#define bl_error(t, ...) bl__test_say((t), BL__TEST_FAIL, __FILE__, __LINE__, __VA_ARGS__)
#define bl_fatal(t, ...)                                                                           \
    bl__test_say((t), BL__TEST_FAIL | BL__TEST_END, __FILE__, __LINE__, __VA_ARGS__)
#define bl_skip(t, ...)                                                                            \
    bl__test_say((t), BL__TEST_SKIP | BL__TEST_END, __FILE__, __LINE__, __VA_ARGS__)

/* ---- Bubbles: virtual time ---------------------------------------------------------------------- */
/*
 * bl_bubble(t, fn, arg) runs fn in a bubble and waits until all in it has ended: the goroutines
 * that fn starts, in scopes that it opens or in bl_test_scope(t), which in the bubble is one of the
 * bubble's own. They have a clock of their own. It begins at 2000-01-01 00:00:00 UTC and stands
 * while one of them runs; when all of them wait, it jumps to the next instant at which a sleep, a
 * timer, a ticker or a deadline of theirs is due. So a test of hours takes no time, and always the
 * same way. (Go: testing/synctest.)
 *
 *     static void retries(bl_test *t, void *arg)
 *     {
 *         bl_time begin = bl_now();
 *         BL_CHECK_ERR(t, fetch_with_backoff(arg), BL_ETIMEDOUT);
 *         BL_CHECK_EQ(t, bl_now() - begin, 7 * BL_SEC);
 *     }
 *     BL_TEST(backoff) { bl_bubble(t, retries, &config); }
 *
 * Waiting counts where only the bubble can end it: on channels made in it, mutexes and all else of
 * this library, but for descriptors, bl_blocking, blocking calls of libc, and channels made
 * outside. Bubbles move while nothing outside them runs. When all wait and nothing is to come
 * (ticks that nobody waits for are nothing), nor signals for a channel of bl_notify, that is a
 * deadlock: the test fails with their stacks, and the bubble is cancelled. What is due at one
 * instant goes on in an order that is drawn from -seed, another in each round of -count, and so is
 * which of several ready cases a select takes. (On one processor this decides all, but for who
 * computes for longer than 100 ms: then others go on. On several, goroutines that go on at one
 * instant run at the same time.)
 *
 * A channel that is made in a bubble, and that of a timer or ticker that is started in one, is for
 * its goroutines and what they run by bl_blocking. Elsewhere sending on it, receiving, selecting and
 * closing is fatal, and so is stopping and resetting that timer, or one of bl_after_func. (As in
 * Go.) But the clock of what they run by bl_blocking is the real one, also for bl_now, bl_in and
 * bl_sleep: it is given times of the bubble as durations.
 *
 * fn is `void fn(bl_test *t, void *arg)`, `int fn(void *arg)`, of which a negative result fails t,
 * or `void fn(void *arg)`. In a bubble, bl_cleanup is for the bubble's end; bl_subtest, bl_parallel
 * and another bl_bubble fail the test. BL_REQUIRE and bl_skip in fn end the caller of bl_bubble,
 * too, when the bubble is over. Called by a goroutine of t.
 */
enum { BL__BUBBLE_FN_TEST, BL__BUBBLE_FN_VOID, BL__BUBBLE_FN_INT };
void bl__bubble_run(bl_test *t, int kind, void (*fn)(void), void *arg, const char *file, int line);
#ifndef __cplusplus
#define bl_bubble(t, fn, ... /* arg */)                                                            \
    bl__bubble_run((t),                                                                            \
                   _Generic((fn),                                                                  \
                       void (*)(bl_test *, void *): BL__BUBBLE_FN_TEST,                            \
                       void (*)(void *): BL__BUBBLE_FN_VOID,                                       \
                       int (*)(void *): BL__BUBBLE_FN_INT),                                        \
                   (void (*)(void))(fn), __VA_ARGS__, __FILE__, __LINE__)
#endif

/* Waits until all other goroutines of the caller's bubble wait, in the sense above: then all that
 * could be done at this instant was done. 0; BL_ECANCELED or BL_ETIMEDOUT. One goroutine at a time;
 * fatal outside of a bubble. (Go: synctest.Wait.) */
int bl_bubble_wait(void);

/* ---- Assertions -------------------------------------------------------------------------------- */
/*
 * BL_CHECK_… says what failed, with both values, fails the test and goes on; BL_REQUIRE_… ends the
 * goroutine. Each yields whether it held. Operands are evaluated once.
 *
 *     BL_CHECK(t, cond)         BL_CHECK_EQ(t, a, b)  and NE, LT, LE, GT, GE: numbers, bool, pointers
 *     BL_CHECK_STR(t, a, b)     C strings, NULL among them
 *     BL_CHECK_MEM(t, a, b, n)  n bytes
 *     BL_CHECK_ERR(t, expr, err) results: printed by name, as BL_ECANCELED
 */
typedef struct bl__value {
    int kind;
    union {
        int64_t i;
        uint64_t u;
        double d;
        const void *p;
    } as;
} bl__value;

enum { BL__VALUE_INT, BL__VALUE_UINT, BL__VALUE_DOUBLE, BL__VALUE_POINTER, BL__VALUE_BOOL };
enum { BL__CMP_EQ, BL__CMP_NE, BL__CMP_LT, BL__CMP_LE, BL__CMP_GT, BL__CMP_GE };

bool bl__test_compare(bl_test *t, int how, int end, bl__value a, bl__value b, const char *text,
                      const char *file, int line);
bool bl__test_strings(bl_test *t, int end, const char *a, const char *b, const char *text,
                      const char *file, int line);
bool bl__test_memory(bl_test *t, int end, const void *a, const void *b, size_t n, const char *text,
                     const char *file, int line);
bool bl__test_error(bl_test *t, int end, int64_t got, int64_t wanted, const char *text,
                    const char *file, int line);
bool bl__test_failed(bl_test *t, int end, const char *text, const char *file, int line);

static inline bool bl__test_that(bool holds, bl_test *t, int end, const char *text,
                                 const char *file, int line)
{
    if (__builtin_expect(!holds, 0)) {
        (void)bl__test_failed(t, end, text, file, line);
        if (end)
            __builtin_unreachable(); /* so compilers and analyzers know, too */
    }
    return holds;
}
#define BL__CHECK_THAT(t, end, cond, text)                                                         \
    bl__test_that(!!(cond), (t), (end), (text), __FILE__, __LINE__)
/* The text is made where macros in a and b have not been replaced yet. */
#define BL__COMPARE(t, how, end, a, b, text)                                                       \
    bl__test_compare((t), (how), (end), bl__value_of(a), bl__value_of(b), text, __FILE__, __LINE__)

#define BL_CHECK(t, cond) BL__CHECK_THAT(t, 0, cond, #cond)
#define BL_CHECK_EQ(t, a, b) BL__COMPARE(t, BL__CMP_EQ, 0, a, b, #a " == " #b)
#define BL_CHECK_NE(t, a, b) BL__COMPARE(t, BL__CMP_NE, 0, a, b, #a " != " #b)
#define BL_CHECK_LT(t, a, b) BL__COMPARE(t, BL__CMP_LT, 0, a, b, #a " < " #b)
#define BL_CHECK_LE(t, a, b) BL__COMPARE(t, BL__CMP_LE, 0, a, b, #a " <= " #b)
#define BL_CHECK_GT(t, a, b) BL__COMPARE(t, BL__CMP_GT, 0, a, b, #a " > " #b)
#define BL_CHECK_GE(t, a, b) BL__COMPARE(t, BL__CMP_GE, 0, a, b, #a " >= " #b)
#define BL_CHECK_STR(t, a, b) bl__test_strings((t), 0, (a), (b), #a " is " #b, __FILE__, __LINE__)
#define BL_CHECK_MEM(t, a, b, n)                                                                   \
    bl__test_memory((t), 0, (a), (b), (n), #a " is " #b, __FILE__, __LINE__)
#define BL_CHECK_ERR(t, expr, err)                                                                 \
    bl__test_error((t), 0, (expr), (err), #expr " == " #err, __FILE__, __LINE__)

#define BL_REQUIRE(t, cond) BL__CHECK_THAT(t, 1, cond, #cond)
#define BL_REQUIRE_EQ(t, a, b) BL__COMPARE(t, BL__CMP_EQ, 1, a, b, #a " == " #b)
#define BL_REQUIRE_NE(t, a, b) BL__COMPARE(t, BL__CMP_NE, 1, a, b, #a " != " #b)
#define BL_REQUIRE_LT(t, a, b) BL__COMPARE(t, BL__CMP_LT, 1, a, b, #a " < " #b)
#define BL_REQUIRE_LE(t, a, b) BL__COMPARE(t, BL__CMP_LE, 1, a, b, #a " <= " #b)
#define BL_REQUIRE_GT(t, a, b) BL__COMPARE(t, BL__CMP_GT, 1, a, b, #a " > " #b)
#define BL_REQUIRE_GE(t, a, b) BL__COMPARE(t, BL__CMP_GE, 1, a, b, #a " >= " #b)
#define BL_REQUIRE_STR(t, a, b) bl__test_strings((t), 1, (a), (b), #a " is " #b, __FILE__, __LINE__)
#define BL_REQUIRE_MEM(t, a, b, n)                                                                 \
    bl__test_memory((t), 1, (a), (b), (n), #a " is " #b, __FILE__, __LINE__)
#define BL_REQUIRE_ERR(t, expr, err)                                                               \
    bl__test_error((t), 1, (expr), (err), #expr " == " #err, __FILE__, __LINE__)

static inline bl__value bl__value_int(int64_t v)
{
    bl__value r = {BL__VALUE_INT, {0}};
    r.as.i = v;
    return r;
}
static inline bl__value bl__value_uint(uint64_t v)
{
    bl__value r = {BL__VALUE_UINT, {0}};
    r.as.u = v;
    return r;
}
static inline bl__value bl__value_bool(bool v)
{
    bl__value r = {BL__VALUE_BOOL, {0}};
    r.as.i = v;
    return r;
}
static inline bl__value bl__value_double(double v)
{
    bl__value r = {BL__VALUE_DOUBLE, {0}};
    r.as.d = v;
    return r;
}
static inline bl__value bl__value_pointer(const void *v)
{
    bl__value r = {BL__VALUE_POINTER, {0}};
    r.as.p = v;
    return r;
}

#ifdef __cplusplus
}

static inline int bl__bubble_kind(void (*)(bl_test *, void *)) { return BL__BUBBLE_FN_TEST; }
static inline int bl__bubble_kind(void (*)(void *)) { return BL__BUBBLE_FN_VOID; }
static inline int bl__bubble_kind(int (*)(void *)) { return BL__BUBBLE_FN_INT; }
#define bl_bubble(t, fn, arg)                                                                      \
    bl__bubble_run((t), bl__bubble_kind(fn), reinterpret_cast<void (*)(void)>(fn), (arg),          \
                   __FILE__, __LINE__)

template <class T> static inline bl__value bl__value_of(const T *v) { return bl__value_pointer(v); }
static inline bl__value bl__value_of(decltype(nullptr)) { return bl__value_pointer(nullptr); }
static inline bl__value bl__value_of(bool v) { return bl__value_bool(v); }
static inline bl__value bl__value_of(double v) { return bl__value_double(v); }
static inline bl__value bl__value_of(float v) { return bl__value_double(v); }
static inline bl__value bl__value_of(long double v) { return bl__value_double(static_cast<double>(v)); }
static inline bl__value bl__value_of(char v) { return bl__value_int(v); }
static inline bl__value bl__value_of(signed char v) { return bl__value_int(v); }
static inline bl__value bl__value_of(short v) { return bl__value_int(v); }
static inline bl__value bl__value_of(int v) { return bl__value_int(v); }
static inline bl__value bl__value_of(long v) { return bl__value_int(v); }
static inline bl__value bl__value_of(long long v) { return bl__value_int(v); }
static inline bl__value bl__value_of(unsigned char v) { return bl__value_uint(v); }
static inline bl__value bl__value_of(unsigned short v) { return bl__value_uint(v); }
static inline bl__value bl__value_of(unsigned v) { return bl__value_uint(v); }
static inline bl__value bl__value_of(unsigned long v) { return bl__value_uint(v); }
static inline bl__value bl__value_of(unsigned long long v) { return bl__value_uint(v); }
#else
/* A bit-field has a type of its own with gcc, before it is promoted. */
#define bl__value_of(v)                                                                            \
    _Generic((v),                                                                                  \
        bool: bl__value_bool,                                                                      \
        float: bl__value_double,                                                                   \
        double: bl__value_double,                                                                  \
        long double: bl__value_double,                                                             \
        char: bl__value_int,                                                                       \
        signed char: bl__value_int,                                                                \
        short: bl__value_int,                                                                      \
        int: bl__value_int,                                                                        \
        long: bl__value_int,                                                                       \
        long long: bl__value_int,                                                                  \
        unsigned char: bl__value_uint,                                                             \
        unsigned short: bl__value_uint,                                                            \
        unsigned: bl__value_uint,                                                                  \
        unsigned long: bl__value_uint,                                                             \
        unsigned long long: bl__value_uint,                                                        \
        default: _Generic(1 ? (v) : 0,                                                             \
            int: bl__value_int,                                                                    \
            unsigned: bl__value_uint,                                                              \
            default: bl__value_pointer))(v)
#endif

#endif
