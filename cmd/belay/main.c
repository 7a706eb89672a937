/* SPDX-License-Identifier: MIT */
/*
 * main.c: the command `belay`, which builds and runs programs that use the library. It is an
 * ordinary C program and does not use the library itself.
 */
#include "build.h"
#include "help.h"
#include "look.h"
#include "process.h"
#include "test.h"

#include <belay/version.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int superfluous(const char *command, const char *word)
{
    complain("%s does not know what to do with %s; see 'belay help %s'", command, text_shown(word),
             command);
    return EXIT_USAGE;
}

static int version_main(char **argv)
{
    if (argv[0] && help_asked(argv[0]))
        return help_command("version");
    if (argv[0])
        return superfluous("version", argv[0]);
    puts("belay " BELAY_VERSION);
    return 0;
}

static int help_main(char **argv)
{
    if (argv[0] && argv[1])
        return superfluous("help", argv[1]);
    if (argv[0])
        return help_command(help_asked(argv[0]) ? "help" : argv[0]);
    help_all(stdout);
    return 0;
}

static int dispatch(char **argv)
{
    const char *name = argv[1];
    if (!name) {
        help_all(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(name, "dump") == 0)
        return dump_main(argv + 2);
    if (strcmp(name, "profile") == 0)
        return profile_main(argv + 2);
    if (strcmp(name, "trace") == 0)
        return trace_main(argv + 2);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0 ||
        strcmp(name, "-version") == 0)
        return version_main(argv + 2);
    if (strcmp(name, "help") == 0 || help_asked(name))
        return help_main(argv + 2);

    process_init(); /* the others end as a signal has them; these have something to end first */
    if (strcmp(name, "build") == 0)
        return build_main(argv + 2);
    if (strcmp(name, "run") == 0)
        return run_main(argv + 2);
    if (strcmp(name, "test") == 0)
        return test_command(argv + 2);
    if (strcmp(name, "top") == 0)
        return top_main(argv + 2);

    const char *nearest = text_nearest(name, help_names);
    if (nearest)
        complain("unknown command %s; did you mean 'belay %s'?", name, nearest);
    else if (text_ends_with(name, ".c"))
        complain("unknown command %s; did you mean 'belay run %s'?", name, name);
    else
        complain("unknown command %s; 'belay help' lists the commands", text_shown(name));
    return EXIT_USAGE;
}

/* Closed, they would be the numbers of files and pipes of ours. Who writes there still hears that it
 * fails. */
static void streams_fill(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    (void)argc;
    streams_fill();
    /* Where execvp looks if there is none; gcc does not find its own parts then. */
    (void)setenv("PATH", "/bin:/usr/bin", 0);
    int status = dispatch(argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0) {
        complain("standard output cannot be written");
        return EXIT_FAILED;
    }
    return status;
}
