/* SPDX-License-Identifier: MIT */
/*
 * fatal.h: for plain tests of what is fatal:
 *
 *     CHECK_FATAL(t, fn, text)   fn(NULL), as the main goroutine of a run in a child process, must end
 *                                it with status 2 and with text on stderr
 */
#ifndef BL_TEST_FATAL_H
#define BL_TEST_FATAL_H

#include <belay/test.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_FATAL(t, fn, text) check_fatal((t), (fn), (text), #fn, __FILE__, __LINE__)

enum { FATAL_PATIENCE = 30 /* seconds */ };

struct bl__symbol;
void bl__symbol_each(uintptr_t pc, bool (*fn)(const struct bl__symbol *s, void *arg), void *arg);

static inline bool fatal_symbol(const struct bl__symbol *s, void *arg)
{
    (void)s;
    (void)arg;
    return true;
}

/* The first child of a process reads the debug information for its traceback, which takes longer
 * than all else; for those after it their parent has. */
static inline void fatal_symbols(void)
{
    static int checks;
    if (checks++ == 1)
        bl__symbol_each((uintptr_t)bl_run, fatal_symbol, NULL);
}

static inline bool check_fatal(bl_test *t, bl_fn fn, const char *text, const char *name,
                               const char *file, int line)
{
    int fds[2];
    BL_REQUIRE_EQ(t, pipe(fds), 0);
    fatal_symbols();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        alarm(FATAL_PATIENCE);
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
    bl__test_say(t, BL__TEST_FAIL, file, line,
                 "failed: %s ends with \"%s\"\nstatus: 0x%x\nstderr:\n%s", name, text,
                 (unsigned)status, out);
    return false;
}

#endif
