/* SPDX-License-Identifier: MIT */
/* debug_test.c: names of errors and source files, the reports' formatter, peeking, symbols, stacks of others, and what records and samples. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/debug.h>
#include <belay/test.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "arch/switch.h"
#include "core/proc.h"
#include "core/sched.h"
#include "debug/fatal.h"
#include "debug/out.h"
#include "debug/own.h"
#include "debug/peek.h"
#include "debug/report.h"
#include "debug/sample.h"
#include "debug/source.h"
#include "debug/stuck.h"
#include "debug/symbol.h"
#include "debug/table.h"
#include "debug/traceback.h"
#include "life/scope.h"

static bl_test *const t; /* the test that the caller is of */

/* ---- Errors ---- */

BL_TEST_PLAIN(error_names)
{
    BL_CHECK_STR(t, bl_err_name(0), "BL_OK");
    BL_CHECK_STR(t, bl_strerror(7), "success");
    BL_CHECK_STR(t, bl_err_name(BL_ECANCELED), "BL_ECANCELED");
    BL_CHECK_STR(t, bl_strerror(BL_ECANCELED), "context canceled");
    BL_CHECK_STR(t, bl_strerror(BL_ETIMEDOUT), "deadline exceeded");
    BL_CHECK_STR(t, bl_err_name(BL_ECLOSED), "BL_ECLOSED");
    BL_CHECK_STR(t, bl_err_name(-ENOTTY), "BL_ENOTTY");
    BL_CHECK_EQ(t, BL_EOPNOTSUPP, -EOPNOTSUPP);
    BL_CHECK_EQ(t, BL_EAGAIN, -EAGAIN);
    BL_CHECK(t, BL_ECLOSED < -4096);
    BL_CHECK_STR(t, bl_err_name(-12345), "BL_E?");
    BL_CHECK_STR(t, bl_strerror(INT_MIN), "unknown error");
    BL_CHECK_STR(t, bl_version(), BELAY_VERSION);
}

static void *report_too(void *tid)
{
    store_release((int *)tid, (int)gettid());
    bl__report_lock();
    bl__report_unlock();
    return NULL;
}

/* Who waits for the reports' lock is told from who sleeps in the program. */
BL_TEST_PLAIN(reports_wait)
{
    pthread_t thread;
    bl__thread_call call;
    int tid = 0;
    bool awaited = false;
    if (getenv("BELAY_EMULATOR") != NULL)
        bl_skip(t, "what the kernel knows are the emulator's registers");
    bl_time until = bl_in(2 * BL_SEC); /* it does not wait for ever */
    bl__report_lock();
    BL_CHECK_EQ(t, pthread_create(&thread, NULL, report_too, &tid), 0);
    while (!awaited && bl_now() < until)
        awaited = load_acquire(&tid) != 0 && bl__thread_in_call(load_acquire(&tid), &call) &&
                  bl__report_awaited(&call);
    bl__report_unlock();
    BL_CHECK_EQ(t, pthread_join(thread, NULL), 0);
    BL_CHECK(t, awaited);
}

/* A name that two files have is completed to neither, also if it was before the second was met. */
BL_TEST_PLAIN(source_names)
{
    bl__source_met("/nowhere/a/./twin.c");
    BL_CHECK_STR(t, bl__source("twin.c"), "/nowhere/a/twin.c");
    bl__source_met("/nowhere/a/twin.c");
    BL_CHECK_STR(t, bl__source("./twin.c"), "/nowhere/a/twin.c");
    BL_CHECK_STR(t, bl__source("win.c"), "win.c");
    bl__source_met("/nowhere/b/twin.c");
    BL_CHECK_STR(t, bl__source("twin.c"), "twin.c");
    BL_CHECK_STR(t, bl__source("b/twin.c"), "/nowhere/b/twin.c");
}

BL_TEST_PLAIN(wait_reasons)
{
    BL_CHECK_STR(t, bl__reason_text(BL__WAIT_CHAN_RECV), "chan receive");
    BL_CHECK_STR(t, bl__reason_text(BL__WAIT_WAITGROUP), "sync.WaitGroup.Wait");
    for (int r = BL__WAIT_NONE + 1; r < BL__WAIT_REASONS; r++)
        BL_CHECK(t, strcmp(bl__reason_text((bl__reason)r), "waiting") != 0);
    BL_CHECK_STR(t, bl__reason_text((bl__reason)BL__WAIT_REASONS), "waiting");
}

/* ---- The formatter ---- */

/* What came out of a file descriptor made by memfd_create. */
static char *text_of(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    if (text != NULL && pread(fd, text, (size_t)size, 0) != size)
        text[0] = 0;
    close(fd);
    return text;
}

#define CHECK_FORMAT(...)                                                                          \
    do {                                                                                           \
        char expected[4096];                                                                       \
        bl__out o;                                                                                 \
        bl__out_init(&o, memfd_create("out", 0));                                                  \
        snprintf(expected, sizeof expected, __VA_ARGS__);                                          \
        bl__out_printf(&o, __VA_ARGS__);                                                           \
        bl__out_flush(&o);                                                                         \
        char *got = text_of(o.fd);                                                                 \
        BL_CHECK_STR(t, got, expected);                                                            \
        free(got);                                                                                 \
    } while (0)

BL_TEST_PLAIN(formats)
{
    int x = 0;
    char large[3000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    CHECK_FORMAT("plain %% text");
    CHECK_FORMAT("%s|%10s|%-10s|%.3s|%.*s|%c", "abc", "abc", "abc", "abcdef", 2, "xyz", 'c');
    CHECK_FORMAT("%d|%i|%5d|%-5d|%05d|%u|%d", 1, -1, 42, 42, -42, 7U, INT_MIN);
    CHECK_FORMAT("%ld|%lu|%lld|%llu|%zu|%jd", -5L, 5UL, LLONG_MIN, ~0ULL, sizeof large,
                 (intmax_t)-9);
    CHECK_FORMAT("%x|%X|%lx|%08x|%p|%*d", 255U, 255U, 0xdeadbeefUL, 0x12U, (void *)&x, 6, 3);
    CHECK_FORMAT("%s%s", large, ":end"); /* more than the buffer */
}

/* Another thread's report may come between two writes, and is to find no line begun. */
BL_TEST_PLAIN(whole_lines_are_written)
{
    enum { LINES = 300 };
    int ends[2], lines = 0;
    char got[BL__OUT_SIZE];
    ssize_t n;
    BL_REQUIRE(t, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    bl__out o;
    bl__out_init(&o, ends[1]);
    for (int i = 0; i < LINES; i++)
        bl__out_printf(&o, "%*d\n", 1 + i % 97, i);
    bl__out_flush(&o);
    close(ends[1]);
    while ((n = read(ends[0], got, sizeof got)) > 0) {
        BL_CHECK_EQ(t, got[n - 1], '\n');
        for (ssize_t i = 0; i < n; i++)
            lines += got[i] == '\n';
    }
    BL_CHECK_EQ(t, lines, LINES);
    close(ends[0]);
}

BL_TEST_PLAIN(sizes)
{
    bl__out o;
    bl__out_init(&o, memfd_create("out", 0));
    bl__out_size(&o, 65536);
    bl__out_printf(&o, ", ");
    bl__out_size(&o, 8 << 20);
    bl__out_printf(&o, ", ");
    bl__out_size(&o, 1000);
    bl__out_flush(&o);
    char *got = text_of(o.fd);
    BL_CHECK_STR(t, got, "64 KiB, 8 MiB, 1000 bytes");
    free(got);
}

/* ---- Memory that may not be there ---- */

BL_TEST_PLAIN(peeks)
{
    long page = sysconf(_SC_PAGESIZE);
    char *two =
        mmap(NULL, (size_t)page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BL_REQUIRE(t, two != MAP_FAILED);
    munmap(two + page, (size_t)page);
    strcpy(two + page - 5, "tail"); /* with its 0, the last bytes there are */
    char copy[8] = "........";
    errno = 77;
    BL_CHECK(t, bl__peek(copy, two + page - 5, 5));
    BL_CHECK(t, memcmp(copy, "tail\0...", 8) == 0);
    BL_CHECK(t, !bl__peek(copy, two + page - 5, 8));
    BL_CHECK(t, !bl__peek(copy, NULL, 1));
    BL_CHECK(t, !bl__peek(copy, (void *)0x1000, 1));
    char text[16];
    BL_CHECK(t, bl__peek_text(text, sizeof text, two + page - 5)); /* no further than its end */
    BL_CHECK_STR(t, text, "tail");
    BL_CHECK(t, bl__peek_text(text, 3, two + page - 5));
    BL_CHECK_STR(t, text, "ta");
    two[page - 1] = 'x';
    BL_CHECK(t, !bl__peek_text(text, sizeof text, two + page - 5)); /* it has no end */
    BL_CHECK(t, !bl__peek_text(text, sizeof text, NULL));
    static bl__peek_pages pages;
    char near[4];
    BL_CHECK(t, bl__peek_near(&pages, near, two + page - 4, 4)); /* to the last byte */
    BL_CHECK(t, memcmp(near, "ail", 3) == 0 && near[3] == 'x');
    two[0] = 'y';
    BL_CHECK(t, bl__peek_near(&pages, near, two, 1));
    BL_CHECK_EQ(t, near[0], 0); /* of the page as it was then */
    BL_CHECK(t, !bl__peek_near(&pages, near, two + page - 2, 4));
    BL_CHECK(t, !bl__peek_near(&pages, near, NULL, 4));
    BL_CHECK(t, bl__peek_near(&pages, near, two, 1));
    BL_CHECK_EQ(t, near[0], 'y');
    BL_CHECK(t, !bl__peek_near(&pages, near, (void *)(UINTPTR_MAX - 1), 4));
    BL_CHECK_EQ(t, errno, 77);
    munmap(two, (size_t)page);
}

/* ---- Symbols ---- */

static bool copy_symbol(const bl__symbol *s, void *arg)
{
    *(bl__symbol *)arg = *s;
    return true;
}

BL_TEST_PLAIN(symbols)
{
    bl__symbol s = {0};
#ifdef BL__HAVE_LIBBACKTRACE
    bl__symbol_each((uintptr_t)&bl_run, copy_symbol, &s);
    BL_CHECK_STR(t, s.func, "bl_run");
    BL_CHECK(t, bl__symbol_is_runtime(&s));
    bl__symbol_each((uintptr_t)&copy_symbol, copy_symbol, &s);
    BL_CHECK_STR(t, s.func, "copy_symbol");
    BL_CHECK(t, s.file != NULL && strstr(s.file, "debug_test.c") != NULL);
    BL_CHECK(t, s.line > 0 && s.line < 1000);
    BL_CHECK(t, !bl__symbol_is_runtime(&s));
#endif
    bl__symbol_each(16, copy_symbol, &s); /* nothing there */
    BL_CHECK(t, s.func == NULL && s.file == NULL);
    unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
    BL_CHECK(t, vdso == 0 || bl__symbol_is_libc(vdso + 1));
    BL_CHECK(t, !bl__symbol_is_libc((uintptr_t)&copy_symbol));
}

BL_TEST_PLAIN(own_code)
{
    BL_REQUIRE(t, bl__own_known());
    BL_CHECK(t, bl__own_code((uintptr_t)&bl_yield));
    BL_CHECK(t, bl__own_code((uintptr_t)&bl__switch)); /* assembly */
    BL_CHECK(t, bl__own_code((uintptr_t)&bl__fatal));  /* cold */
    BL_CHECK(t, bl__own_code((uintptr_t)&bl_test_main));
    BL_CHECK(t, !bl__own_code((uintptr_t)&copy_symbol));
    BL_CHECK(t, !bl__own_code((uintptr_t)&strchr));
    BL_CHECK(t, !bl__own_code(0));
    BL_CHECK(t, !bl__own_code(UINTPTR_MAX));
    BL_CHECK(t, bl__symbol_is_program((uintptr_t)&copy_symbol));
    BL_CHECK(t, !bl__symbol_is_program((uintptr_t)&bl_yield));
}

/* ---- Reports while everything runs ---- */

#define KEEP(expr)                                                                                 \
    (__extension__({                                                                               \
        int kept = (expr);                                                                         \
        __asm__ volatile("" ::: "memory");                                                         \
        kept;                                                                                      \
    }))

/* Those of this test. */
static bool want_own(const bl__g *g, void *arg) { return g->id != 0 && bl__scope_within(g, arg); }

static bl_mutex busy_mutex;
static uint32_t busy_stop;

static bool go_on(void) { return __atomic_load_n(&busy_stop, __ATOMIC_RELAXED) == 0; }

__attribute__((noinline)) static int busy_recv(bl_chan *c, int depth)
{
    volatile char pad[64]; /* stacks of several depths, with frame pointers in them or not */
    pad[0] = (char)depth;
    int v = 0;
    if (depth > 0)
        return KEEP(busy_recv(c, depth - 1)) + pad[0] * 0;
    return KEEP(bl_chan_recv(c, &v));
}

static int busy_receiver(void *arg)
{
    int depth = 0;
    while (KEEP(busy_recv(arg, depth++ % 20)) == 0)
        ;
    return KEEP(0);
}

static int busy_sender(void *arg)
{
    int v = 0;
    while (go_on() && KEEP(bl_chan_send((bl_chan *)arg, &v)) == 0)
        v++;
    return KEEP(0);
}

static const bl__g *busy_record; /* atomic: of one that yields */

static int busy_yielder(void *arg)
{
    (void)arg;
    store_release(&busy_record, bl__self());
    while (go_on())
        bl_yield();
    return KEEP(0);
}

static int busy_locker(void *arg)
{
    (void)arg;
    while (go_on()) {
        bl_mutex_lock(&busy_mutex);
        bl_yield();
        bl_mutex_unlock(&busy_mutex);
    }
    return KEEP(0);
}

static int busy_once(void *arg)
{
    (void)arg;
    return KEEP(bl_sleep(50 * BL_US));
}

static int busy_spawner(void *arg)
{
    (void)arg;
    while (go_on()) {
        BL_SCOPE(s, .name = "short");
        for (int i = 0; i < 20; i++)
            bl_go(s, busy_once, NULL);
        KEEP(bl_scope_wait(s));
    }
    return KEEP(0);
}

/* A function of this program that may be on a stack; without names all of them are. */
static bool is_own_frame(const char *line)
{
#ifdef BL__HAVE_LIBBACKTRACE
    /* The last is the library's: the test's own goroutine while it runs, of which no stack is
     * shown. */
    static const char *const own[] = {"busy_", "go_on", "Test_", "bl__test_body_main"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strncmp(line, own[i], strlen(own[i])) == 0)
            return true;
    return false;
#else
    return line != NULL;
#endif
}

/* Every frame shown is one of this file's: a stack that was read while it was in use would show
 * others, or none. */
static void check_report(const char *text, size_t *goroutines, size_t *frames)
{
    const char *head = text;
    bool inside = false;
    for (const char *line = text; *line != 0;) {
        size_t n = strcspn(line, "\n");
        if (strncmp(line, "goroutine ", 10) == 0) {
            inside = true;
            head = line;
            ++*goroutines;
        } else if (n == 0 || strncmp(line, "created by", 10) == 0) {
            inside = false;
        } else if (inside && line[0] != '\t' && strncmp(line, "waits ", 6) != 0 &&
                   strncmp(line, "holds ", 6) != 0) {
            ++*frames;
            if (!is_own_frame(line))
                bl_error(t, "a strange frame: %.*s, of: %.*s", (int)n, line,
                         (int)strcspn(head, "\n"), head);
        }
        line += n + (line[n] == '\n');
    }
}

static void own_print(bl__out *o, void *arg) { bl__report_goroutines(o, want_own, arg); }

static bool want_none(const bl__g *g, void *arg)
{
    (void)g, (void)arg;
    return false;
}

static void none_print(bl__out *o, void *arg) { bl__report_goroutines(o, want_none, arg); }

/* They have ended between the first line of a report, which says how many they are, and the rest. */
BL_TEST(report_of_who_has_ended)
{
    int fd = memfd_create("report", 0);
    bl__report_run(fd, none_print, NULL);
    char *text = text_of(fd);
    BL_CHECK_EQ(t, strcmp(text, "\nby now they have ended, or gone on\n"), 0);
    free(text);
}

static void *reporter_main(void *arg)
{
    size_t goroutines = 0, frames = 0, *reports = arg;
    uint32_t moves = 0;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    bl_time end = bl_in(700 * BL_MS), late = bl_in(20 * BL_SEC);
    /* One alone may find all running, and come before the first of them has. */
    while (bl_now() < end || ((frames == 0 || moves == 0) && bl_now() < late)) {
        int fd = memfd_create("report", 0);
        bl__report_run(fd, own_print, bl_test_scope(t));
        char *text = text_of(fd);
        check_report(text, &goroutines, &frames);
        free(text);
        BL_CHECK_EQ(t, bl__table_write(null, 0), 0);
        const bl__g *g = load_acquire(&busy_record);
        moves = g != NULL ? bl__stuck_moves(g) : 0;
        ++*reports;
    }
    close(null);
    BL_CHECK(t, goroutines > 0);
    BL_CHECK(t, frames > 0);
    BL_CHECK(t, moves > 0);
    __atomic_store_n(&busy_stop, 1u, __ATOMIC_RELAXED);
    return NULL;
}

BL_TEST(reports_while_running)
{
    size_t reports = 0;
    pthread_t thread;
    __atomic_store_n(&busy_stop, 0u, __ATOMIC_RELAXED);
    store_relaxed(&busy_record, NULL);
    BL_REQUIRE(t, pthread_create(&thread, NULL, reporter_main, &reports) == 0);
    {
        BL_SCOPE(s, .name = "busy");
        bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
        for (int i = 0; i < 4; i++) {
            bl_go(s, busy_receiver, c);
            bl_go(s, busy_sender, c);
            bl_go(s, busy_yielder, NULL);
            bl_go(s, busy_locker, NULL);
        }
        bl_go(s, busy_spawner, NULL);
        while (go_on())
            BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0);
    }
    pthread_join(thread, NULL);
    BL_CHECK(t, reports > 0);
}

/* ---- Samples ---- */

static void *sample_filtered(void *arg)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {.len = sizeof rules / sizeof rules[0], .filter = rules};
    static char stack[64 * 1024];
    bl__regs regs;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        return NULL;
    *(ssize_t *)arg = bl__sample_take(&regs, stack, sizeof stack, getpid());
    return NULL;
}

/* The child was made while another thread of its parent's reported the end of that. */
BL_TEST_PLAIN(fatal_error_of_a_child)
{
    int status = 0, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        store_relaxed(&bl__fatal_dying.owner, (uint32_t)getppid());
        dup2(null, STDERR_FILENO);
        bl_chan_close(NULL);
    }
    close(null);
    BL_REQUIRE(t, waitpid(pid, &status, 0) == pid);
    BL_CHECK(t, WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

/* A filter may be one thread's alone. It dies who does what is not allowed. */
BL_TEST_PLAIN(no_samples_by_a_thread_with_a_filter)
{
    enum { NO_FILTERS = -2 };
    ssize_t n = NO_FILTERS;
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, sample_filtered, &n) == 0);
    pthread_join(thread, NULL);
    if (n == NO_FILTERS)
        bl_skip(t, "there are no filters here");
    BL_CHECK_EQ(t, n, -1);
}

enum { SAMPLES = 3000 };

typedef struct trying {
    bl_chan *c;
    const bl__g *g; /* atomic */
    uint32_t over;  /* atomic */
} trying;

static int try_on(void *arg)
{
    trying *at = arg;
    store_release(&at->g, bl__this_m()->g);
    while (!load_relaxed(&at->over) && bl_chan_try_recv(at->c, NULL) == BL_EAGAIN)
        bl_yield();
    return 0;
}

/* Whether all of the sampled frames are in code, if there is a sample, which is counted. */
static bool frames_are_code(const bl__g *g, bl__trace_space *space, int *samples)
{
    Dl_info in;
    bl__regs regs;
    bl__trace trace;
    size_t n;
    char *stack = bl__stack_sampled(g, space, &n, &regs);
    bool all = true;
    if (stack == NULL || !bl__trace_sampled(&trace, &regs, stack, n))
        return true;
    ++*samples;
    for (uint64_t i = 0; i < trace.total && i < BL__TRACE_INNER; i++)
        all = all && dladdr((void *)trace.inner[i], &in) != 0;
    return all;
}

static void *sample_on(void *arg)
{
    trying *at = arg;
    bl__trace_space space = {.base = NULL};
    const bl__g *g;
    bool all = true;
    int samples = 0;
    bl_time enough = bl_in(20 * BL_SEC); /* on a busy machine one takes many milliseconds */
    while ((g = load_acquire(&at->g)) == NULL)
        usleep(100);
    for (int i = 0; ((i < SAMPLES && bl_now() < enough) || samples == 0) && all; i++)
        all = frames_are_code(g, &space, &samples);
    bl__trace_space_free(&space);
    store_relaxed(&at->over, 1u);
    return all ? arg : NULL;
}

/* At any instruction: the last one of a function has its caller elsewhere than the one before. */
BL_TEST(samples_know_their_callers)
{
    pthread_t thread;
    void *all;
    BL_SCOPE(s);
    trying at = {.c = bl_scope_chan(s, sizeof(int), 0)};
    if (BL__ASAN || BL__TSAN || BL__RACE || !bl__sample_may())
        bl_skip(t, "there are no samples here");
    bl_go(s, try_on, &at);
    BL_REQUIRE(t, pthread_create(&thread, NULL, sample_on, &at) == 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(thread, &all);
    BL_CHECK(t, all != NULL);
}

/* ---- Recording ---- */

enum { RECORDINGS = 40 };

static void *recorder_main(void *arg)
{
    int to = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < RECORDINGS; i++) {
        *(int *)arg += bl_trace_start(i % 2 == 0 ? "ring=1m" : "/dev/null") == 0;
        usleep(2000);
        if (i % 2 == 0)
            *(int *)arg += bl_trace_dump(to) == 0;
        bl_trace_stop();
    }
    close(to);
    __atomic_store_n(&busy_stop, 1u, __ATOMIC_RELAXED);
    return NULL;
}

/* Who is about to record may not have seen yet that it is over, and that it has begun again. */
BL_TEST(recording_begins_and_ends_while_running)
{
    int done = 0;
    pthread_t thread;
    __atomic_store_n(&busy_stop, 0u, __ATOMIC_RELAXED);
    {
        BL_SCOPE(s, .name = "busy");
        for (int i = 0; i < 4; i++)
            bl_go(s, busy_yielder, NULL);
        BL_REQUIRE(t, pthread_create(&thread, NULL, recorder_main, &done) == 0);
        while (go_on())
            BL_CHECK_EQ(t, bl_sleep(5 * BL_MS), 0);
    }
    pthread_join(thread, NULL);
    BL_CHECK_EQ(t, done, RECORDINGS + RECORDINGS / 2);
}
