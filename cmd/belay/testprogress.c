/* SPDX-License-Identifier: MIT */
/*
 * testprogress.c: what tests run, on a terminal, once it takes long: one line at the bottom, which is erased before anything
 * else is printed. The test programs say it on a pipe of their own (-progress), some times a second.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 2 }; /* s until it is long */

static struct {
    const char *what; /* whose tests run; NULL: nothing is shown */
    time_t since;
    bool shown;
    bool within; /* the last line of the output has not ended */
} progress;

static time_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

bool test_progress_begin(const char *what)
{
    progress.what = isatty(STDOUT_FILENO) ? what : NULL;
    progress.since = seconds_now();
    return progress.what != NULL;
}

void test_progress_erase(const char *output, size_t len)
{
    if (progress.shown)
        fputs("\r\033[K", stdout);
    progress.shown = false;
    if (len > 0)
        progress.within = output[len - 1] != '\n';
}

void test_progress_read(int fd)
{
    static char text[8192];
    struct winsize size = {0};
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n <= 0 || !progress.what || progress.within || seconds_now() - progress.since < PATIENCE)
        return;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0'; /* of several the oldest: the next look is soon */
    int columns =
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    test_progress_erase(NULL, 0);
    char *line = text_own("%s: %s", progress.what, text);
    printf("%.*s", columns - 1, line);
    fflush(stdout);
    free(line);
    progress.shown = true;
}
