/* SPDX-License-Identifier: MIT */
/* echo.c: the echo server, a goroutine a connection. See echo.h. */
#include <belay.h>

#include <unistd.h>

#include "bench.h"
#include "echo.h"

static int serve(void *arg)
{
    const int fd = (int)(intptr_t)arg;
    char buffer[ECHO_BUFFER];
    ssize_t n;
    while ((n = bl_read(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t done = 0, w; done < n; done += w) {
            w = bl_write(fd, buffer + done, (size_t)(n - done));
            if (w < 0)
                goto out;
        }
    }
out:
    bl_close(fd);
    return 0;
}

static int listener(void *arg)
{
    bl_scope *s = arg;
    const int fd = echo_listen();
    int conn;
    while ((conn = bl_accept(fd, NULL, NULL)) >= 0)
        bench_check(bl_go(s, serve, (void *)(intptr_t)conn) == 0, "a goroutine starts");
    bench_check(conn == BL_ECANCELED, "only the end of the run ends the listener");
    bl_close(fd);
    return 0;
}

static int run(void *arg)
{
    (void)arg;
    char byte;
    BL_SCOPE(s, .name = "connections");
    bench_check(bl_go(s, listener, s) == 0, "a goroutine starts");
    bench_check(bl_read(STDIN_FILENO, &byte, 1) == 0, "standard input ends");
    return 0;
}

int main(void) { return bl_run(run, NULL, NULL) == 0 ? 0 : 1; }
