/* SPDX-License-Identifier: MIT */
/* epolls.c: see epolls.h; proc(5), /proc/PID/fdinfo. */
#include "debug/epolls.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/proc.h"

/* Calls fn with what stands behind "data:" in each line of text, which ends; how much of it is whole lines. */
static size_t epoll_lines(const char *text, void (*fn)(uint64_t data, void *arg), void *arg)
{
    const char *line = text;
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        const char *at = strstr(line, "data:");
        if (at != NULL && at < end)
            fn(strtoull(at + strlen("data:"), NULL, 16), arg);
    }
    return (size_t)(line - text);
}

static void epoll_read(int fd, void (*fn)(uint64_t data, void *arg), void *arg)
{
    char text[4096];
    size_t held = 0;
    ssize_t n;
    while ((n = read(fd, text + held, sizeof text - 1 - held)) > 0) {
        held += (size_t)n;
        text[held] = '\0';
        size_t whole = epoll_lines(text, fn, arg);
        held -= whole;
        memmove(text, text + whole, held);
    }
}

static bool is_epoll(int fds, const char *name)
{
    static const char kind[] = "anon_inode:[eventpoll]";
    char to[sizeof kind];
    return readlinkat(fds, name, to, sizeof to) == sizeof kind - 1 &&
           memcmp(to, kind, sizeof kind - 1) == 0;
}

void bl__epolls_each(void (*fn)(uint64_t data, void *arg), void *arg)
{
    const struct dirent *e;
    DIR *fds = opendir("/proc/self/fd");
    int infos = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fds != NULL && infos >= 0 && (e = readdir(fds)) != NULL) {
        if (!is_epoll(dirfd(fds), e->d_name) || bl__poll_has((int)strtol(e->d_name, NULL, 10)))
            continue;
        int fd = openat(infos, e->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            epoll_read(fd, fn, arg);
            close(fd);
        }
    }
    if (infos >= 0)
        close(infos);
    if (fds != NULL)
        closedir(fds);
}
