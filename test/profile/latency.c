/* SPDX-License-Identifier: MIT */
/* latency.c: latency FILE: goroutines that compute on one processor, and so wait for each other;
 * the latency profile. */
#include <belay/debug.h>

#include <fcntl.h>
#include <unistd.h>

enum { HOGS = 4 };

/* The next ones can run from the beginning, and wait for as long as it takes. */
__attribute__((noinline)) static int hog(void *arg)
{
    bl_time end = bl_now() + 3 * BL_MS;
    while (bl_now() < end)
        *(volatile int *)arg += 1;
    bl_yield();
    *(volatile int *)arg = 1;
    return 0;
}

__attribute__((noinline)) static int receiver(void *arg)
{
    int v, r = bl_chan_recv((bl_chan *)arg, &v);
    return r;
}

static int latency(void *arg)
{
    int n[HOGS] = {0}, v = 1;
    bl_profile_schedlatency(1);
    {
        BL_SCOPE(s);
        bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
        bl_go(s, receiver, c);
        bl_yield();
        for (int i = 0; i < HOGS; i++)
            bl_go(s, hog, &n[i]);
        if (bl_chan_send(c, &v) != 0 || bl_scope_wait(s) != 0)
            return 1;
    }
    bl_profile_schedlatency(0);
    int fd = open((const char *)arg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int r = fd < 0 ? 1 : bl_profile(fd, "schedlatency", 0);
    close(fd);
    return r;
}

int main(int argc, char **argv) { return argc == 2 ? bl_run(latency, argv[1], NULL) : 2; }
