/* SPDX-License-Identifier: MIT */
/* crowd.c: writes a profile of argv[1] receivers and two sleepers with a label to the file argv[2];
 * prints how many milliseconds of CPU time that took. */
#include <belay/debug.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static bl_chan *quiet;
static char **args;

static int receiver(void *arg)
{
    int v, r = bl_chan_recv(quiet, &v);
    (void)arg;
    return r == BL_ECLOSED ? 0 : r;
}

static int sleeper(void *arg)
{
    (void)arg;
    int r = bl_label("job", "sum");
    return r < 0 ? r : bl_sleep(BL_HOUR);
}

static int root(void *arg)
{
    bl_stat st;
    int n = atoi(args[1]), r = 0;
    BL_SCOPE(s);
    quiet = bl_scope_chan(s, sizeof(int), 0);
    (void)arg;
    for (int i = 0; i < n; i++)
        bl_go(s, receiver, NULL);
    bl_go(s, sleeper, NULL);
    bl_go(s, sleeper, NULL);
    do {
        r = bl_sleep(BL_MS);
        bl_stats(&st);
    } while (r == 0 && st.waiting < (uint64_t)n + 2);

    int fd = open(args[2], O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    clock_t before = clock();
    if (r == 0)
        r = bl_profile(fd, "goroutine", 0);
    printf("%lld ms\n", (long long)(clock() - before) * 1000 / CLOCKS_PER_SEC);
    close(fd);
    bl_scope_cancel(s, 0);
    return r;
}

int main(int argc, char **argv)
{
    args = argv;
    if (argc != 3)
        return 2;
    return bl_run(root, NULL, NULL) < 0;
}
