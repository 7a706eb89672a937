/* SPDX-License-Identifier: MIT */
/*
 * race.c: reports of data races in Go's layout, the count at the end, the exit status, and the
 * options, in the build for `-race` (race.h).
 *
 * ThreadSanitizer calls its OnReport, a C++ function that a program may bring its own of, before it
 * prints; true keeps it from printing. The report is read with the functions that debuggers use.
 *
 * BELAY_RACE takes Go's GORACE options: halt_on_error, exitcode, log_path, history_size; they are
 * read from the kernel, since ThreadSanitizer asks before libc has its environment. All others are
 * ThreadSanitizer's, as in TSAN_OPTIONS, which comes after.
 */
#include "arch/race.h"

#if BL__RACE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/sched.h"
#include "debug/out.h"
#include "debug/symbol.h"

enum {
    RACE_FRAMES = 64,
    RACE_THREADS = 8,
    RACE_OPTIONS = 1024,
    RACE_KNOWN = 128,
    RACE_WORDS = 1024,
    RACE_MET = 1024,
    RACE_SIDES = 2
};

int __tsan_get_report_data(void *report, const char **description, int *count, int *stacks,
                           int *mops, int *locs, int *mutexes, int *threads, int *unique_tids,
                           void **sleep_trace, unsigned long trace_size);
int __tsan_get_report_mop(void *report, unsigned long i, int *tid, void **addr, int *size,
                          int *write, int *atomic, void **trace, unsigned long trace_size);
int __tsan_get_report_thread(void *report, unsigned long i, int *tid, int *os_id, int *running,
                             const char **name, int *parent, void **trace,
                             unsigned long trace_size);
int __tsan_get_report_loc(void *report, unsigned long i, const char **type, void **addr,
                          uintptr_t *start, unsigned long *size, int *tid, int *fd,
                          int *suppressable, void **trace, unsigned long trace_size);
bool bl__race_on_report(void *report,
                        bool suppressed) __asm__("_ZN6__tsan8OnReportEPKNS_10ReportDescEb")
    __attribute__((visibility("default")));
bool bl__race_on_finalize(bool failed) __asm__("_ZN6__tsan10OnFinalizeEb")
    __attribute__((visibility("default")));
const char *__tsan_default_options(void) __attribute__((visibility("default")));

static struct {
    uint64_t reports; /* atomic */
    bool halt;
    int exitcode;    /* 0: 66, as ThreadSanitizer's */
    char log[256];   /* log_path; empty: stderr */
    bool log_failed; /* it could not be opened, and that was said */
    char options[RACE_OPTIONS + 256];
} said;

/* ThreadSanitizer's lock is held while a report is made, so this is one thread's at a time. It does
 * not lie on the stack, which is a goroutine's. */
static struct {
    bl__out out;
    void *trace[RACE_FRAMES];
    int shown; /* frames of a trace */
    const char *names[RACE_THREADS];
    int tids[RACE_THREADS];
    uint64_t owners[RACE_SIDES]; /* of those who raced: numbers, or 0 */
    int threads;
    int parts;  /* printed so far */
    void *addr; /* of the access */
    int tid;    /* whose it is */
} page;

/*
 * ThreadSanitizer reports two equal pairs of stacks once, and races for one address once: a second
 * test that has the same race would pass. So in a program of tests it reports all of them, and what
 * is known since the last test began is dropped here.
 */
__attribute__((weak)) int bl_test_main(int argc, char **argv); /* NULL: no tests in the program */
static struct {
    uintptr_t keys[RACE_KNOWN]; /* of stacks, and of addresses */
    uint32_t count;             /* atomic: a test that begins sets it to 0 */
} races_known;

/*
 * And what it has reported a race for it marks as memory that is never written, so that it is not
 * stopped there again: later reads of the word are not looked at, and the second test that reads
 * where it should not would pass. It has, inside, what forgets the accesses to a range, that mark
 * too; there is no other way to take it back.
 */
__attribute__((weak)) void bl__tsan_memory_reset(
    void *fiber, uintptr_t pc, uintptr_t addr,
    uintptr_t size) __asm__("_ZN6__tsan16MemoryResetRangeEPNS_11ThreadStateEmmm");
static struct {
    uintptr_t at[RACE_WORDS]; /* atomic */
    uint32_t count;           /* atomic: a test that begins sets it to 0 */
} races_marked;

static void word_marked(void *report)
{
    int tid, size, write, atomic;
    void *addr = NULL;
    __tsan_get_report_mop(report, 0, &tid, &addr, &size, &write, &atomic, page.trace,
                          RACE_FRAMES - 1);
    uint32_t n = load_relaxed(&races_marked.count);
    if (n == RACE_WORDS)
        return;
    store_relaxed(&races_marked.at[n], (uintptr_t)addr & ~(uintptr_t)7);
    store_release(&races_marked.count, n + 1); /* ORD(race-marked): with the test that begins */
}

void bl__race_anew(void)
{
    store_relaxed(&races_known.count, 0u);
    uint32_t n = swap_acquire(&races_marked.count, 0u); /* ORD(race-marked): with word_marked */
    for (uint32_t i = 0; i < n && bl__tsan_memory_reset != NULL; i++)
        bl__tsan_memory_reset(__tsan_get_current_fiber(), 0, load_relaxed(&races_marked.at[i]), 8);
}

/* Who had a part in the last RACE_MET reports. */
static uint64_t races_met[RACE_MET][RACE_SIDES]; /* atomic */

bool bl__race_met(uint64_t since, uint64_t owner)
{
    uint64_t reports = bl__race_errors();
    if (reports - since > RACE_MET)
        return true;
    for (; since < reports; since++) {
        uint64_t one = load_relaxed(&races_met[since % RACE_MET][0]);
        uint64_t other = load_relaxed(&races_met[since % RACE_MET][1]);
        if (one == owner || other == owner || (one | other) == 0)
            return true;
    }
    return false;
}

/* Whether there is such a key; else it is added. With RACE_KNOWN of them all others are known,
 * too. */
static bool known_or_add(uintptr_t key)
{
    uint32_t n = load_relaxed(&races_known.count);
    for (uint32_t i = 0; i < n; i++)
        if (races_known.keys[i] == key)
            return true;
    if (n == RACE_KNOWN)
        return true;
    races_known.keys[n] = key;
    store_relaxed(&races_known.count, n + 1);
    return false;
}

static bool report_is_known(void *report, int mops)
{
    uintptr_t stacks = 1, address = 0;
    uintptr_t owners = (uintptr_t)(page.owners[0] * 31 + page.owners[1])
                       << 48; /* above addresses */
    for (int i = 0; i < mops; i++) {
        int tid, size, write, atomic;
        void *addr = NULL;
        memset(page.trace, 0, sizeof page.trace);
        __tsan_get_report_mop(report, (unsigned long)i, &tid, &addr, &size, &write, &atomic,
                              page.trace, RACE_FRAMES - 1);
        for (int at = 0; page.trace[at] != NULL; at++)
            stacks = (stacks ^ (uintptr_t)page.trace[at]) * 0x9e3779b97f4a7c15u;
        address = i == 0 ? (uintptr_t)addr & ~(uintptr_t)7 : address;
    }
    return known_or_add(address ^ owners) || known_or_add((stacks ^ owners) | 1);
}

void bl__race_reports(void) {}

/* ORD(race-met): who sees the report counted sees who had a part in it. */
uint64_t bl__race_errors(void) { return load_acquire(&said.reports); }

/* ---- Options ---- */

static size_t word_end(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0' && s[n] != ' ' && s[n] != ':' && s[n] != ',')
        n++;
    return n;
}

static bool option_is(const char *word, const char *name, const char **value)
{
    size_t n = strlen(name);
    *value = word + n;
    return strncmp(word, name, n) == 0;
}

/* For ThreadSanitizer: behind the `at` bytes that there are; where the next one goes. */
static size_t option_keep(size_t at, const char *word, size_t n)
{
    if (n == 0 || at + n + 2 > sizeof said.options)
        return at;
    said.options[at++] = ':';
    memcpy(said.options + at, word, n);
    said.options[at + n] = '\0';
    return at + n;
}

/* The number that ends at end; -1: it is none, or of more than nine digits. */
static int option_number(const char *value, const char *end)
{
    int number = value < end && end - value < 10 ? 0 : -1;
    for (; number >= 0 && value < end; value++)
        number = *value >= '0' && *value <= '9' ? number * 10 + (*value - '0') : -1;
    return number;
}

static bool option_has_value(const char *word, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (word[i] == '=')
            return true;
    return false;
}

/* A word that ThreadSanitizer could not read would end the program before it has begun, with what
 * was read of exitcode, 0, as its status. So it is left out, and core/variables.c says so. */
static void race_options_take(const char *text)
{
    size_t at = strlen(said.options), n;
    const char *value;
    for (; *text != '\0'; text += n + (text[n] != '\0')) {
        n = word_end(text);
        if (option_is(text, "halt_on_error=", &value)) {
            said.halt = *value == '1' || *value == 't' || *value == 'y';
        } else if (option_is(text, "exitcode=", &value)) {
            int code = option_number(value, text + n);
            if (code < 0 || code > 255)
                continue;
            said.exitcode = code;
            at = option_keep(at, text, n);
        } else if (option_is(text, "history_size=", &value)) {
            if (option_number(value, text + n) >= 0)
                at = option_keep(at, text, n);
        } else if (option_is(text, "log_path=", &value)) {
            size_t len = (size_t)(text + n - value);
            len = len < sizeof said.log - 24 ? len : sizeof said.log - 24;
            memcpy(said.log, value, len);
            said.log[len] = '\0';
        } else if (option_has_value(text, n)) {
            at = option_keep(at, text, n);
        }
    }
}

const char *__tsan_default_options(void)
{
    static const char own[] =
        "report_signal_unsafe=0:report_thread_leaks=0:"
        "report_destroy_locked=0:report_mutex_bugs=0:symbolize=0:"
        "history_size=3:"
        /* nothing runs on behind the end of a run, nor matters at a fatal error */
        "atexit_sleep_ms=0";
    static const char tests[] = ":suppress_equal_stacks=0:suppress_equal_addresses=0";
    static char env[65536];
    if (said.options[0] != '\0')
        return said.options;
    memcpy(said.options, own, sizeof own);
    if (bl_test_main != NULL)
        memcpy(said.options + sizeof own - 1, tests, sizeof tests);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    for (ssize_t n; fd >= 0 && len < sizeof env - 1; len += (size_t)n)
        if ((n = syscall(SYS_read, fd, env + len, sizeof env - 1 - len)) <= 0)
            break;
    if (fd >= 0)
        syscall(SYS_close, fd);
    for (const char *at = env, *value; at < env + len; at += strlen(at) + 1)
        if (option_is(at, "BELAY_RACE=", &value))
            race_options_take(value);
    return said.options;
}

/* ---- Printing ---- */

static int log_open(void)
{
    if (said.log[0] == '\0' || strcmp(said.log, "stderr") == 0)
        return 2;
    if (strcmp(said.log, "stdout") == 0)
        return 1;
    bl__out name = {.fd = -1};
    bl__out_printf(&name, "%s.%d", said.log, (int)getpid());
    name.buf[name.len] = '\0';
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name.buf, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                          0666);
    if (fd >= 0)
        return fd;
    if (!said.log_failed) {
        int err = -errno;
        said.log_failed = true;
        bl__out_init(&name, 2);
        bl__out_printf(&name,
                       "belay: BELAY_RACE=log_path=%s: the file cannot be written: %s; the report "
                       "is here\n",
                       said.log, bl_strerror(err));
        bl__out_flush(&name);
    }
    return 2;
}

static void log_close(int fd)
{
    if (fd > 2)
        syscall(SYS_close, fd);
}

/* A public name for what the macros call. */
static const char *public_name(const char *func, const char **prefix)
{
    bool own = strncmp(func, "bl__", 4) == 0;
    *prefix = own ? "bl_" : "";
    return own ? func + 4 : func;
}

/* Of the library only what the program has called is shown; of the C library and of ThreadSanitizer
 * what has a name. */
static bool frame_hidden(const bl__symbol *s)
{
    static const char *const own[] = {"bl__race_", "bl__raw_",     "bl__goroutine_main",
                                      "bl__entry", "__libc_start", "_start",
                                      "__tsan_"};
    if (s->func == NULL)
        return s->file == NULL && bl__symbol_is_libc(s->pc);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strncmp(s->func, own[i], strlen(own[i])) == 0)
            return true;
    return bl__symbol_is_runtime(s) && strncmp(s->func, "bl_", 3) != 0;
}

static bool frame_print(const bl__symbol *s, void *arg)
{
    static const char intercepted[] = "__interceptor_"; /* free and its like, in ThreadSanitizer */
    bool runner = *(bool *)arg;                         /* is to be shown */
    const char *prefix = "", *func = "??", *file = s->file;
    if (frame_hidden(s) || (!runner && s->func != NULL && strncmp(s->func, "bl__test_", 9) == 0))
        return false;
    page.shown++;
    if (s->func != NULL && strncmp(s->func, intercepted, sizeof intercepted - 1) == 0) {
        func = s->func + sizeof intercepted - 1;
        file = NULL;
    } else if (s->func != NULL) {
        func = public_name(s->func, &prefix);
    }
    bl__out_printf(&page.out, "  %s%s()\n", prefix, func);
    Dl_info module = {0};
    (void)dladdr((void *)s->pc, &module);
    unsigned long offset = (unsigned long)(s->pc - (uintptr_t)module.dli_fbase);
    if (file != NULL)
        bl__out_printf(&page.out, "      %s:%d +0x%lx\n", file, s->line, offset);
    else
        bl__out_printf(&page.out, "      %s +0x%lx\n",
                       module.dli_fname != NULL ? module.dli_fname : "??", offset);
    return false;
}

/* page.trace; site is for one that is empty, or NULL. */
static void trace_print(const bl__site *site)
{
    bool runner = false;
    page.shown = 0;
    do { /* functions that the runner of the tests has called, or itself if there are none */
        for (int i = 0; i < RACE_FRAMES && page.trace[i] != NULL; i++)
            bl__symbol_each((uintptr_t)page.trace[i] - 1, frame_print, &runner);
        runner = !runner;
    } while (runner && page.shown == 0);
    if (page.shown != 0)
        return;
    if (site != NULL)
        bl__out_printf(&page.out, "  %s()\n      %s:%d\n", site->func, site->file, site->line);
    else
        bl__out_printf(&page.out, "  [failed to restore the stack]\n");
}

static uint64_t race_number_read(const char **at)
{
    uint64_t n = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        n = n * 10 + (uint64_t)(**at - '0');
    return n;
}

/* The number behind word, or 0. */
static uint64_t race_word_read(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0)
        return 0;
    *at += n;
    return race_number_read(at);
}

typedef struct race_name {
    uint64_t id, owner;
    const bl__site *site;
} race_name;

/* What bl__race_fiber_name has written. False: that is no goroutine. */
static bool race_name_read(const char *name, race_name *is)
{
    static const char word[] = "goroutine ";
    *is = (race_name){0, 0, NULL};
    if (name == NULL || strncmp(name, word, sizeof word - 1) != 0)
        return false;
    is->id = race_word_read(&name, word);
    is->site = (const bl__site *)(uintptr_t)race_word_read(&name, " at ");
    is->owner = race_word_read(&name, " of ");
    return true;
}

static const char *race_name_of(int tid)
{
    for (int i = 0; i < page.threads; i++)
        if (page.tids[i] == tid)
            return page.names[i];
    return NULL;
}

/* "main goroutine", "goroutine 7", "main thread", "thread worker". */
static void who_print(int tid)
{
    const char *name = race_name_of(tid);
    race_name is;
    bool goroutine = race_name_read(name, &is);
    if (goroutine && is.id == 1)
        bl__out_printf(&page.out, "main goroutine");
    else if (goroutine)
        bl__out_printf(&page.out, "goroutine %llu", (unsigned long long)is.id);
    else if (tid == 0)
        bl__out_printf(&page.out, "main thread");
    else
        bl__out_printf(&page.out, "thread %d%s%s", tid, name != NULL && *name ? " " : "",
                       name != NULL ? name : "");
}

/* A pool's jobs are apart, also those that one goroutine runs: another worker might have. */
static bool is_other_job(int tid)
{
    const char *one = race_name_of(page.tid), *other = race_name_of(tid);
    return tid != page.tid && one != NULL && other != NULL && strcmp(one, other) == 0;
}

/* Between the parts of a report stands an empty line. */
static void part_begin(void)
{
    if (page.parts++ > 0)
        bl__out_printf(&page.out, "\n");
}

static void access_print(void *report, unsigned long i)
{
    int tid = 0, size = 0, write = 0, atomic = 0;
    void *addr = NULL;
    memset(page.trace, 0, sizeof page.trace);
    __tsan_get_report_mop(report, i, &tid, &addr, &size, &write, &atomic, page.trace,
                          RACE_FRAMES - 1);
    if (i == 0) {
        page.addr = addr;
        page.tid = tid;
    }
    part_begin();
    bl__out_printf(&page.out, "%s%s%s at 0x%012lx by ", i == 0 ? "" : "Previous ",
                   atomic ? "atomic " : "",
                   i == 0 && !atomic ? (write ? "Write" : "Read") : (write ? "write" : "read"),
                   (unsigned long)(uintptr_t)addr);
    who_print(tid);
    bl__out_printf(&page.out, is_other_job(tid) ? ", in another job:\n" : ":\n");
    trace_print(NULL);
}

static void thread_print(void *report, unsigned long i)
{
    int tid = 0, os_id, running = 0, parent;
    const char *name = NULL;
    memset(page.trace, 0, sizeof page.trace);
    __tsan_get_report_thread(report, i, &tid, &os_id, &running, &name, &parent, page.trace,
                             RACE_FRAMES - 1);
    race_name is;
    bool goroutine = race_name_read(name, &is);
    if (tid == 0 || (goroutine && is.id == 1))
        return;
    part_begin();
    if (goroutine)
        bl__out_printf(&page.out, "Goroutine %llu", (unsigned long long)is.id);
    else
        bl__out_printf(&page.out, "Thread %d%s%s", tid, name != NULL && *name ? " " : "",
                       name != NULL ? name : "");
    bl__out_printf(&page.out, " (%s) created at:\n", running ? "running" : "finished");
    trace_print(is.site);
}

/* What the memory is: a thread-local variable ("tls"), a block of malloc, with where that was, … */
static const char *location_read(void *report, int locs, uintptr_t *start, unsigned long *size,
                                 int *tid)
{
    const char *type = "";
    void *global;
    int fd, suppressable;
    memset(page.trace, 0, sizeof page.trace);
    if (locs > 0)
        __tsan_get_report_loc(report, 0, &type, &global, start, size, tid, &fd, &suppressable,
                              page.trace, RACE_FRAMES - 1);
    return type;
}

static void location_print(void *report, int locs)
{
    uintptr_t start = 0, offset = 0;
    unsigned long size = 0;
    int tid = 0;
    if (strcmp(location_read(report, locs, &start, &size, &tid), "heap") == 0) {
        part_begin();
        bl__out_printf(&page.out, "Block of %lu bytes at 0x%012lx allocated by ", size,
                       (unsigned long)start);
        who_print(tid);
        bl__out_printf(&page.out, ":\n");
        trace_print(NULL);
        return;
    }
    int length = 0;
    const char *name = bl__symbol_data(page.addr, &length, &offset);
    if (name == NULL)
        return;
    part_begin();
    bl__out_printf(&page.out, "Variable %.*s", length, name);
    if (offset > 0)
        bl__out_printf(&page.out, ", %lu bytes from its beginning", (unsigned long)offset);
    bl__out_printf(&page.out, "\n");
}

static void race_threads_read(void *report, int threads)
{
    page.threads = threads < RACE_THREADS ? threads : RACE_THREADS;
    for (int i = 0; i < page.threads; i++) {
        int os_id, running, parent;
        __tsan_get_report_thread(report, (unsigned long)i, &page.tids[i], &os_id, &running,
                                 &page.names[i], &parent, page.trace, RACE_FRAMES - 1);
    }
}

static void race_owners_read(void *report, int mops)
{
    for (int i = 0; i < RACE_SIDES; i++) {
        int tid = 0, size, write, atomic;
        void *addr;
        race_name is;
        page.owners[i] = 0;
        if (i >= mops)
            continue;
        __tsan_get_report_mop(report, (unsigned long)i, &tid, &addr, &size, &write, &atomic,
                              page.trace, RACE_FRAMES - 1);
        (void)race_name_read(race_name_of(tid), &is);
        page.owners[i] = is.owner;
    }
}

static void race_report(void *report)
{
    const char *what = "";
    int count, stacks, mops = 0, locs = 0, mutexes, threads = 0, unique;
    __tsan_get_report_data(report, &what, &count, &stacks, &mops, &locs, &mutexes, &threads,
                           &unique, page.trace, RACE_FRAMES - 1);
    uintptr_t start;
    unsigned long size;
    int tid;
    /* A thread-local variable is that of whichever goroutine its thread runs; one after the
     * other. */
    if (strcmp(location_read(report, locs, &start, &size, &tid), "tls") == 0)
        return;
    if (bl_test_main != NULL)
        word_marked(report);
    race_threads_read(report, threads);
    race_owners_read(report, mops);
    if (bl_test_main != NULL && report_is_known(report, mops))
        return;
    uint64_t count_before = load_relaxed(&said.reports);
    for (int i = 0; i < RACE_SIDES; i++)
        store_relaxed(&races_met[count_before % RACE_MET][i], page.owners[i]);
    store_release(&said.reports, count_before + 1); /* ORD(race-met) */
    int fd = log_open();
    bl__out_init(&page.out, fd);
    bl__out_printf(&page.out, "==================\nWARNING: DATA RACE");
    if (strcmp(what, "data-race") != 0)
        bl__out_printf(&page.out, " (%s)", what);
    bl__out_printf(&page.out, "\n");
    page.parts = 0;
    for (int i = 0; i < mops; i++)
        access_print(report, (unsigned long)i);
    location_print(report, locs);
    for (int i = 0; i < page.threads; i++)
        thread_print(report, (unsigned long)i);
    bl__out_printf(&page.out, "==================\n");
    bl__out_flush(&page.out);
    log_close(fd);
    if (said.halt)
        _exit(said.exitcode != 0 ? said.exitcode : 66);
}

/* In the middle of an access: the program's errno stays. */
bool bl__race_on_report(void *report, bool suppressed)
{
    int saved = errno;
    if (!suppressed)
        race_report(report);
    errno = saved;
    return true;
}

/* At exit; true: the exit status becomes ThreadSanitizer's exitcode. It has counted what is not
 * reported, too. */
bool bl__race_on_finalize(bool failed)
{
    (void)failed;
    uint64_t n = bl__race_errors();
    if (n > 0) {
        int fd = log_open();
        bl__out_init(&page.out, fd);
        bl__out_printf(&page.out, "Found %llu data race(s)\n", (unsigned long long)n);
        bl__out_flush(&page.out);
        log_close(fd);
    }
    return n > 0;
}

#else
typedef int bl__race_reports_are_off; /* a file is not empty */
#endif
