/* SPDX-License-Identifier: MIT */
/*
 * fuzz.c: -fuzz: looks for inputs that make a target fail.
 *
 * A process of its own runs clang's libFuzzer in the main goroutine of a run, and each input as a
 * test of the target, with the goroutines that it starts and all that fails a test. The input is in
 * memory that the supervisor shares, so whatever that process dies of, the supervisor has it;
 * libFuzzer's own handlers are off. The supervisor makes it smaller, by trying parts of it in
 * processes of their own, keeps it in testdata/fuzz/TARGET, and runs it as the subtest that it is
 * from now on.
 *
 * Inputs that only have found new code are in the directory that -fuzzcachedir names, from one run
 * to the next.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "life/scope.h"
#include "test/test.h"

enum {
    INPUT_MOST = 1 << 20,
    STACK = 8 << 20,    /* libFuzzer is written for a thread's */
    MINIMISE_TIME = 10, /* s */
    PROGRESS_TIME = 3,  /* s between two lines of progress */
    CANDIDATE_TIME = 5, /* s that a part of an input may run */
    STATUS_FAILED = 77,
};

extern int LLVMFuzzerRunDriver(int *argc, char ***argv,
                               int (*callback)(const uint8_t *data, size_t size))
    __attribute__((weak));

/* Shared by the supervisor and the process that fuzzes. */
typedef struct shared {
    uint64_t runs; /* atomic; inputs that have ended */
    bl_time began; /* atomic: when the one that runs did; 0: none */
    size_t size;   /* of data; read when that process has ended */
    uint8_t data[INPUT_MOST];
} shared;

static struct {
    const bl__test_entry *entry;
    shared *now;
    bl_test *root;
    bl_scope *scope;
    const void *one; /* the only input, size bytes; NULL: libFuzzer's */
    size_t size;
} fuzz;

static volatile sig_atomic_t fuzz_interrupted;
static void fuzz_interrupt(int sig) { fuzz_interrupted = sig; }

/* ---- The process that runs inputs ---- */

static void input_call(bl_test *t, void *arg)
{
    (void)arg;
    bl__fuzz_call(t, fuzz.entry, fuzz.now->data, fuzz.now->size);
}

static int input_fuzz(const uint8_t *data, size_t size)
{
    if (size > INPUT_MOST)
        return 0;
    fuzz.now->size = size;
    if (size > 0)
        memcpy(fuzz.now->data, data, size);
    store_relaxed(&fuzz.now->began, bl_now());
    fuzz.root->names.len = 0;
    bl__site site = {NULL, "the test runner", fuzz.entry->file, fuzz.entry->line};
    bl_test *t = bl__test_new(fuzz.root, fuzz.entry->name, site);
    t->fn = input_call;
    if (!bl__test_start(t, fuzz.scope))
        _exit(STATUS_FAILED);    /* without libFuzzer's and the program's last words */
    if (fuzz.root->kids != NULL) /* it is a parallel one */
        bl__test_round_end(fuzz.root);
    if (load_relaxed(&fuzz.root->failed))
        _exit(STATUS_FAILED);
    store_relaxed(&fuzz.now->began, (bl_time)0);
    add_relaxed(&fuzz.now->runs, UINT64_C(1));
    return 0;
}

static void driver_run(void)
{
    bl__text cache = {0}, seeds = {0}, runs = {0};
    bl__text_printf(&cache, "%s/%s", bl__tests.fuzzcache, fuzz.entry->name);
    bl__text_printf(&seeds, "testdata/fuzz/%s", fuzz.entry->name);
    bl__text_printf(&runs, "-runs=%lld",
                    bl__tests.fuzz_count > 0 ? (long long)bl__tests.fuzz_count : -1);
    char *argv[] = {"fuzz",
                    "-timeout=0",
                    "-rss_limit_mb=0",
                    "-malloc_limit_mb=0",
                    "-detect_leaks=0",
                    "-handle_abrt=0",
                    "-handle_bus=0",
                    "-handle_fpe=0",
                    "-handle_ill=0",
                    "-handle_int=0",
                    "-handle_segv=0",
                    "-handle_term=0",
                    "-handle_xfsz=0",
                    "-handle_usr1=0",
                    "-handle_usr2=0",
                    "-artifact_prefix=/dev/null",
                    runs.at,
                    cache.at,
                    access(seeds.at, R_OK) == 0 ? seeds.at : NULL,
                    NULL};
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    char **words = argv;
    int r = LLVMFuzzerRunDriver(&argc, &words, input_fuzz);
    fflush(NULL);
    _exit(r);
}

static int fuzz_main(void *arg)
{
    static const bl__site site = {"fuzzing", "bl_test_main", __FILE__, __LINE__};
    (void)arg;
    bl_scope s;
    (void)bl__scope_open(&s, &(bl_scope_opts){.name = "fuzzing", .keep_going = true}, &site);
    bl_sem_init(&bl__test_slots, bl__tests.parallel);
    fuzz.scope = &s;
    fuzz.root = bl__test_new(NULL, "tests", site);
    if (fuzz.one != NULL)
        (void)input_fuzz(fuzz.one, fuzz.size);
    else
        driver_run();
    _exit(0);
}

/* In a process of its own, whose output goes to fd, or nowhere. */
static pid_t process_start(int fd)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0); /* ^C is for the supervisor */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (fd < 0)
        fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(fd, STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    bl__tests.verbose = false;
    (void)setenv("BELAY_TRACEBACK", "none", 1); /* nobody reads it, and it takes its time */
    bl__test_forked_begin();
    bl__held_hook = bl__test_held;
    bl__test_left_begin();
    bl_options o = {.procs = bl__tests.cpus[0],
                    .stack_size = STACK,
                    .on_leak = BL_LEAK_IGNORE,
                    .on_deadlock = BL_DEADLOCK_EXIT,
                    .on_quit = BL_QUIT_EXIT};
    _exit(bl_run(fuzz_main, NULL, &o) < 0 ? STATUS_FAILED : 0);
}

/* Until it has ended or the time is there; then, or after ^C, it is killed. Its status, or -1: it
 * was killed. */
static int process_await(pid_t pid, bl_time until, bool (*tick)(void))
{
    int status = 0;
    bool killed = false;
    for (bl_dur wait = 100 * BL_US; waitpid(pid, &status, killed ? 0 : WNOHANG) != pid;) {
        if (!killed && (bl_now() >= until || fuzz_interrupted != 0 || (tick != NULL && !tick()))) {
            kill(pid, SIGKILL);
            killed = true;
            continue;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = wait}, NULL);
        wait = wait < 20 * BL_MS ? wait + wait / 4 : wait;
    }
    return killed ? -1 : status;
}

/* ---- Making an input smaller ---- */

static bool fails(const void *data, size_t size, bool late)
{
    fuzz.one = data;
    fuzz.size = size;
    pid_t pid = process_start(-1);
    bl_dur most = bl__tests.limit > 0 && bl__tests.limit < CANDIDATE_TIME * BL_SEC
                      ? bl__tests.limit
                      : CANDIDATE_TIME * BL_SEC;
    int status = pid < 0 ? 0 : process_await(pid, bl_now() + most, NULL);
    fuzz.one = NULL;
    return fuzz_interrupted == 0 && (status > 0 || (status < 0 && late));
}

/* Without parts that it fails without, and with '0' where the byte does not matter; the size that
 * is left. */
static size_t minimise(uint8_t *data, size_t size, bool late)
{
    bl_time until = bl_now() + MINIMISE_TIME * BL_SEC;
    uint8_t *less = bl__test_alloc(size + 1);
    for (size_t part = size / 2 + (size == 1); part > 0; part /= 2) {
        for (size_t at = 0; at < size && bl_now() < until;) {
            size_t cut = part < size - at ? part : size - at;
            memcpy(less, data, at);
            memcpy(less + at, data + at + cut, size - at - cut);
            if (fails(less, size - cut, late)) {
                size -= cut;
                memcpy(data, less, size);
            } else {
                at += cut;
            }
        }
    }
    for (size_t at = 0; at < size && bl_now() < until; at++) {
        uint8_t was = data[at];
        data[at] = '0';
        if (was != '0' && !fails(data, size, late))
            data[at] = was;
    }
    bl__free(less);
    return size;
}

/* ---- A target ---- */

static struct {
    bl_time began, said;
    size_t had, news; /* files in the cache */
    bool late;
} state;

static size_t files_in(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    if (d != NULL)
        closedir(d);
    return n;
}

static void progress_say(void)
{
    bl__text cache = {0};
    bl__text_printf(&cache, "%s/%s", bl__tests.fuzzcache, fuzz.entry->name);
    bl_dur took = bl_now() - state.began;
    uint64_t runs = load_relaxed(&fuzz.now->runs);
    size_t files = files_in(cache.at);
    printf("fuzz: elapsed: %llds, execs: %llu (%.0f/sec), new interesting: %zu (total: %zu)\n",
           (long long)(took / BL_SEC), (unsigned long long)runs,
           took > 0 ? (double)runs * (double)BL_SEC / (double)took : 0.0,
           files > state.had ? files - state.had : 0, files);
    fflush(stdout);
    bl__text_free(&cache);
}

/* While the fuzzer runs. False: an input takes too long. */
static bool fuzz_tick(void)
{
    bl_time now = bl_now(), began = load_relaxed(&fuzz.now->began);
    if (now - state.said >= PROGRESS_TIME * BL_SEC) {
        state.said = now;
        progress_say();
    }
    state.late = began != 0 && bl__tests.limit > 0 && now - began > bl__tests.limit;
    return !state.late;
}

/* The input that the fuzzer's process has ended in is made smaller, kept, and told. */
static void found_say(void)
{
    bl__text path = {0}, name = {0};
    uint8_t *data = bl__test_alloc(fuzz.now->size + 1);
    size_t size = fuzz.now->size;
    memcpy(data, fuzz.now->data, size);
    bool again = fails(data, size, state.late);
    if (again)
        size = minimise(data, size, state.late);
    if (bl__corpus_store(fuzz.entry->name, data, size, &path)) {
        const char *file = strrchr(path.at, '/') + 1;
        bl__text_printf(&name, "%s/%s", fuzz.entry->name, file);
        bl__item item = {.entry = fuzz.entry, .procs = bl__tests.cpus[0]};
        bl__items items = {.at = &item, .len = 1, .only = -1};
        bl__tests.run = name.at;
        bl__tests.skip = NULL;
        if (bl__test_supervise(&items) == 0)
            printf("--- FAIL: %s\n    it failed after %llu other inputs%s; alone it passes\n",
                   fuzz.entry->name, (unsigned long long)load_relaxed(&fuzz.now->runs),
                   again ? ", and once alone" : "");
        printf("\n    Failing input written to %s\n    To re-run:\n    belay test -run '%s$' %s\n",
               path.at, name.at, bl__tests.file);
    }
    bl__free(data);
    bl__text_free(&path);
}

/* The fuzzer ended, and not in an input. */
static void driver_failed(int status, int fd)
{
    char part[4096];
    printf("--- FAIL: %s\n    the fuzzer ended with status %#x:\n", fuzz.entry->name,
           (unsigned)status);
    fflush(stdout);
    (void)lseek(fd, 0, SEEK_SET);
    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
        fwrite(part, 1, (size_t)n, stdout);
}

/* True: it has not failed. */
static bool target_run(const bl__test_entry *entry)
{
    int fd = memfd_create("fuzzer", MFD_CLOEXEC);
    bl__text cache = {0};
    (void)mkdir(bl__tests.fuzzcache, 0777);
    bl__text_printf(&cache, "%s/%s", bl__tests.fuzzcache, entry->name);
    (void)mkdir(cache.at, 0777);
    fuzz.entry = entry;
    fuzz.now =
        mmap(NULL, sizeof *fuzz.now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fuzz.now == MAP_FAILED)
        bl__fatal("belay: out of memory in the test runner");
    state.began = state.said = bl_now();
    state.had = files_in(cache.at);
    pid_t pid = process_start(fd);
    int status = process_await(
        pid, bl__tests.fuzztime > 0 ? state.began + bl__tests.fuzztime : BL_NEVER, fuzz_tick);
    progress_say();
    bool in_one = load_relaxed(&fuzz.now->began) != 0;
    bool found = state.late || (status > 0 && in_one);
    if (found)
        found_say();
    else if (status > 0)
        driver_failed(status, fd);
    (void)munmap(fuzz.now, sizeof *fuzz.now);
    close(fd);
    bl__text_free(&cache);
    return !found && status <= 0;
}

int bl__fuzz_targets(const bl__test_entry **list, size_t n)
{
    const bl__test_entry *target = NULL;
    if (LLVMFuzzerRunDriver == NULL) {
        fputs("belay: this program was not built for -fuzz; belay test -fuzz does that\n", stderr);
        return 2;
    }
    for (size_t i = 0; i < n; i++) {
        if (list[i]->fuzz == NULL || !bl__fuzz_wanted(list[i]->name))
            continue;
        if (target != NULL) {
            fprintf(stderr,
                    "testing: will not fuzz, -fuzz matches more than one fuzz target: %s, %s\n",
                    target->name, list[i]->name);
            return 1;
        }
        target = list[i];
    }
    if (target == NULL) {
        fputs("testing: warning: no fuzz targets to fuzz\n", stderr);
        return 0;
    }
    struct sigaction action = {.sa_handler = fuzz_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    bool passed = target_run(target);
    return passed ? 0 : 1;
}
