/* SPDX-License-Identifier: MIT */
/*
 * test.c: `belay test`: runs the test programs, one after the other, each in its directory, and prints what go test
 * would: what a program prints if it fails or with -v, and a line for each directory.
 */
#include "test.h"

#include "core/variables.h"
#include "help.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long a program's output may stay open after its end, by a process that it has started. */
#define OUTPUT_WAIT 5.0

#define NO_TESTS "testing: warning: no tests to run\n"

/* What the programs of a directory have printed, and how they ended. */
typedef struct outcome {
    char *text;
    size_t len;
    size_t run, none; /* programs; of them those that had no tests to run */
    bool failed;
} outcome;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void keep_text(outcome *o, const char *text, size_t n)
{
    o->text = realloc(o->text, o->len + n + 1);
    if (!o->text) {
        complain("out of memory");
        exit(EXIT_FAILED);
    }
    memcpy(o->text + o->len, text, n);
    o->len += n;
    o->text[o->len] = '\0';
}

/* Whole lines go out as events; what is left of the last one stays. */
static void lines_out(outcome *o, bool all)
{
    size_t at = 0;
    for (char *end; (end = memchr(o->text + at, '\n', o->len - at));) {
        size_t n = (size_t)(end - o->text) + 1 - at;
        test_json_line(o->text + at, n);
        at += n;
    }
    if (all && at < o->len) {
        test_json_line(o->text + at, o->len - at);
        at = o->len;
    }
    memmove(o->text, o->text + at, o->len - at);
    o->len -= at;
    fflush(stdout);
}

/* A program under way: what it prints, and what it says of its progress (-1: nothing). */
typedef struct running {
    pid_t pid;
    int output, progress;
} running;

static bool program_start(running *r, const test_file *file, const test_flags *f, const char *part,
                          const char *counts)
{
    int fds[2], says[2] = {-1, -1};
    if (pipe2(fds, O_CLOEXEC) < 0)
        return false;
    if (!f->json && !f->list && !f->build.fuzz && test_progress_begin(file->dir) &&
        pipe2(says, O_CLOEXEC | O_NONBLOCK) < 0)
        says[0] = says[1] = -1;
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        words command = {0};
        words_add(&command, "belay"); /* whose flags they are, should one be wrong */
        for (size_t i = 0; i < f->pass.len; i++)
            words_add(&command, f->pass.at[i]);
        words_add(&command, text_format("-file=%s", file->path));
        if (part)
            words_add(&command, text_format("-junit=%s", part));
        if (f->build.fuzz)
            words_add(&command, text_format("-fuzzcachedir=%s", test_files_fuzz_dir(file)));
        if (says[1] >= 0 && fcntl(says[1], F_SETFD, 0) == 0)
            words_add(&command, text_format("-progress=%d", says[1]));
        if (counts) { /* there, and by their names alone */
            setenv("GCOV_PREFIX", counts, 1);
            setenv("GCOV_PREFIX_STRIP", "999", 1);
        }
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        if (f->args.len > 0)
            words_add(&command, "-args");
        for (size_t i = 0; i < f->args.len; i++)
            words_add(&command, f->args.at[i]);
        if (getppid() == parent && chdir(file->dir) == 0)
            execv(file->program, command.at);
        fprintf(stderr, "belay: %s cannot be run: %s%s\n", file->program, strerror(errno),
                errno == EACCES ? "; BELAY_CACHE names another place for programs" : "");
        _exit(127);
    }
    close(fds[1]);
    if (says[1] >= 0)
        close(says[1]);
    *r = (running){pid, fds[0], says[0]};
    return pid > 0;
}

static bool program_over(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* Its output is still open: true when that is no longer waited for. */
static bool output_late(const running *run, const char *path, outcome *o, double *over)
{
    if (!program_over(run->pid))
        return false;
    if (*over == 0)
        *over = seconds();
    if (seconds() - *over < OUTPUT_WAIT && !process_interrupted())
        return false;
    complain("%s: its output is still open after its end: a process that it has started goes on",
             path);
    o->failed = true;
    return true;
}

static void program_watch(const test_flags *f, const char *path, outcome *o, const running *run)
{
    bool stream = f->verbose || f->bench || f->list || f->warns || f->build.fuzz;
    bool told = false, none = false;
    int says = run->progress;
    double over = 0;
    while (true) {
        static char part[65536];
        struct pollfd p[] = {{.fd = run->output, .events = POLLIN}, {.fd = says, .events = POLLIN}};
        int r = poll(p, 2, 100);
        if (process_interrupted() && !told)
            told = sigqueue(run->pid, SIGINT, (union sigval){0}) == 0; /* never the second one */
        if (process_interrupts() > 1)
            kill(run->pid, SIGKILL);
        if (r > 0 && (p[1].revents & POLLIN) != 0)
            test_progress_read(says);
        else if (r > 0 && p[1].revents != 0)
            says = -1; /* it has ended, whoever still has its output */
        if ((r <= 0 || p[0].revents == 0) && output_late(run, path, o, &over))
            break;
        if (r <= 0 || p[0].revents == 0)
            continue;
        ssize_t n = read(run->output, part, sizeof part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        none |= memmem(part, (size_t)n, NO_TESTS, strlen(NO_TESTS)) != NULL;
        if (!f->json && stream) {
            test_progress_erase(part, (size_t)n);
            fwrite(part, 1, (size_t)n, stdout);
            fflush(stdout);
            continue;
        }
        keep_text(o, part, (size_t)n);
        if (f->json)
            lines_out(o, false);
    }
    o->run++;
    o->none += none;
}

static void program_run(const test_file *file, const test_flags *f, outcome *o)
{
    running r;
    const char *part = f->junit ? test_junit_part() : NULL;
    size_t from = o->len;
    const char *counts = f->build.cover && !f->list ? test_cover_begin(file) : NULL;
    if (!program_start(&r, file, f, part, counts)) {
        complain("%s cannot be run: %s", file->path, strerror(errno));
        o->failed = true;
        return;
    }
    program_watch(f, file->path, o, &r);
    test_progress_erase(NULL, 0);
    close(r.output);
    if (r.progress >= 0)
        close(r.progress);
    int status = 1;
    while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (counts)
        test_cover_end(file, counts);
    if (f->json && o->len > 0)
        lines_out(o, true);
    o->failed |= status != 0;
    if (part)
        test_junit_add(file->path, part, status != 0 && o->text ? o->text + from : "");
    if (WIFSIGNALED(status) && !process_interrupted())
        complain("%s: killed by SIG%s", file->path, sigabbrev_np(WTERMSIG(status)));
}

/* "ok  \tdir\t0.123s", in colour on a terminal. */
static void line_say(const test_flags *f, const char *result, const char *colour, const char *rest)
{
    char *line;
    if (isatty(STDOUT_FILENO) && !f->json)
        line = text_own("\033[%sm%s\033[0m%s\n", colour, result, rest);
    else
        line = text_own("%s%s\n", result, rest);
    if (f->json)
        test_json_line(line, strlen(line));
    else
        fputs(line, stdout);
    free(line);
}

/* The next program is run: not after ^C, or with -failfast a failure. */
static bool goes_on(const test_flags *f, const outcome *o)
{
    return !process_interrupted() && !(f->failfast && o->failed);
}

/* The files from at on that are of one directory; how many. */
static size_t dir_run(const test_files *files, size_t at, const test_flags *f, outcome *all)
{
    const char *dir = files->at[at].dir;
    outcome o = {0};
    bool built = true;
    size_t n = 0;
    double began = seconds();
    if (f->json)
        test_json_start(dir);
    for (; at + n < files->len && strcmp(files->at[at + n].dir, dir) == 0; n++) {
        const test_file *file = &files->at[at + n];
        bool lacks = file->path && !file->program;
        built &= !lacks;
        if (lacks && f->junit)
            test_junit_add(file->path, NULL, "it could not be built");
        if (file->program && goes_on(f, &o))
            program_run(file, f, &o);
    }
    double took = seconds() - began;
    bool bad = o.failed || !built;
    if ((bad || process_interrupted()) && o.len > 0)
        fwrite(o.text, 1, o.len, stdout);
    const char *covered = f->build.cover && !f->list && built ? test_cover_say() : "";
    bool none = o.run > 0 && o.none == o.run;
    if (!files->at[at].path) {
        line_say(f, "?   ", "33", text_format("\t%s\t[no test files]", dir));
    } else if (!built) {
        line_say(f, "FAIL", "31", text_format("\t%s [build failed]", dir));
    } else {
        if (bad && *covered)
            line_say(f, "", "0", covered);
        line_say(f, bad ? "FAIL" : "ok  ", bad ? "31" : "32",
                 text_format("\t%s\t%.3fs%s%s%s", dir, took, *covered && !bad ? "\t" : "",
                             bad ? "" : covered, none && !bad ? " [no tests to run]" : ""));
    }
    if (f->json)
        test_json_end(!files->at[at].path ? "skip" : bad ? "fail" : "pass", took);
    fflush(stdout);
    free(o.text);
    all->failed |= bad;
    return n;
}

static int test_end(int status)
{
    fflush(stdout);
    if (process_interrupted())
        process_die(process_interrupted());
    return status;
}

int test_command(char **argv)
{
    test_flags f;
    int err = test_flags_parse(&f, argv);
    if (err)
        return err;
    if (f.build.help)
        return help_command("test");
    bl__variables_check(complain); /* the programs leave it to us */
    test_files files = {0};
    err = test_files_find(&files, &f.places);
    if (!err && files.len == 0) {
        complain("no test files (*_test.c) in %s", f.places.at[0]);
        return 0;
    }
    if (!err)
        err = test_files_build(&files, &f);
    if (!err && (f.compile || f.build.out))
        err = test_files_keep(&files, &f);
    if (err || f.compile)
        return test_end(err);
    if (f.junit && test_junit_begin(f.junit) != 0)
        return EXIT_FAILED;
    /* What -ubsan finds ends the program as abort does: it fails its test, with the goroutine's traceback. ThreadSanitizer
     * reads this too, and what it finds ends nothing. */
    if (f.build.mode != MODE_RACE)
        setenv("UBSAN_OPTIONS", "abort_on_error=1:print_stacktrace=1", 0);
    outcome all = {0};
    for (size_t i = 0; i < files.len && goes_on(&f, &all);)
        i += dir_run(&files, i, &f, &all);
    free(files.at);
    if (f.junit && test_junit_end() != 0)
        all.failed = true;
    if (f.coverprofile && test_cover_profile(f.coverprofile) != 0)
        all.failed = true;
    if (all.failed && !f.json)
        puts("FAIL");
    return test_end(all.failed ? EXIT_FAILED : 0);
}
