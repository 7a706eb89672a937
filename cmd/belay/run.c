/* SPDX-License-Identifier: MIT */
/*
 * run.c: builds the program into a directory of its own, runs it, removes that, and ends as the
 * program did. The summary of its goroutines comes from the library, asked for by BELAY_SUMMARY.
 */
#include "build.h"

#include "help.h"
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *make_directory(void)
{
    char *dir = temporary_path("belay-XXXXXX");
    if (mkdtemp(dir))
        return dir;
    temporary_complain();
    return NULL;
}

static const char *signal_name(int sig)
{
    const char *abbreviation = sigabbrev_np(sig);
    return abbreviation ? text_format("SIG%s", abbreviation) : text_format("signal %d", sig);
}

/* Whoever sent these knows; the others are news. */
static bool asked_to_end(int sig)
{
    return sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGPIPE;
}

static int run_program(const char *path, const char *name, char **args, process_end *end)
{
    setenv("BELAY_SUMMARY", "1", 0);
    words command = {0};
    words_add(&command, path);
    for (; *args; args++)
        words_add(&command, *args);
    int err = process_run(&command, PROCESS_PROGRAM, end);
    if (err) {
        complain("%s: cannot be run: %s%s", path, strerror(err),
                 err == EACCES ? "; TMPDIR names another place for programs" : "");
        return EXIT_FAILED;
    }
    if (end->signal && !asked_to_end(end->signal))
        complain("%s: killed by %s%s", name, signal_name(end->signal),
                 end->core ? " (core dumped)" : "");
    return 0;
}

int run_main(char **argv)
{
    flags f;
    int err = flags_parse(&f, "run", argv);
    if (err)
        return err;
    if (f.help)
        return help_command("run");

    const char *name = build_name(&f);
    char *dir = NULL;
    const char *path = build_out(&f);
    if (!path) {
        dir = make_directory();
        if (!dir)
            return EXIT_FAILED;
        path = text_format("%s/%s", dir, name);
    } else if (!strchr(path, '/')) {
        path = text_format("./%s", path);
    }

    process_end end = {0};
    bool started = false;
    err = build_program(&f, path);
    if (!err && !process_interrupted()) {
        started = true;
        err = run_program(path, name, f.args, &end);
    }
    if (dir) {
        unlink(path);
        rmdir(dir);
    }
    if (!started && process_interrupted())
        process_die(process_interrupted());
    if (err)
        return err;
    if (end.signal)
        process_die(end.signal);
    return end.status;
}
