/* SPDX-License-Identifier: MIT */
/*
 * work.c: a bit of everything that a trace records, for test/trace_test.sh.
 *
 *     work all            to its end
 *     work exit           leaves by exit(0) in a goroutine
 *     work forever        prints "ready" and goes on until it is killed
 *     work crash          writes to address 8
 *     work dump FILE      turns the flight recorder on in the middle, and dumps it to FILE
 *     work middle FILE    traces into FILE from the middle on, twice
 *     work switches       does nothing but switch, six million times
 */
#include <belay.h>
#include <belay/debug.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *mode;
static const char *file;

static int receiver(void *arg)
{
    int v;
    while (bl_chan_recv(arg, &v) == 0)
        bl_yield();
    return 0;
}

static int sender(void *arg)
{
    for (int i = 0; i < 200; i++)
        if (bl_chan_send(arg, &i) != 0)
            return 0;
    return 0;
}

static int napper(void *arg)
{
    (void)arg;
    return bl_sleep(2 * BL_MS);
}

static int going_on(void *arg) { return write(*(int *)arg, "x", 1) == 1 ? 0 : BL_EIO; }

static int blocker(void *arg) /* holds up its thread until another has its processor */
{
    int ends[2], r = BL_EIO;
    char byte;
    if (pipe(ends) != 0)
        return BL_EIO;
    if (bl_go(arg, going_on, &ends[1]) == 0 && read(ends[0], &byte, 1) == 1)
        r = 0;
    close(ends[0]);
    close(ends[1]);
    return r;
}

static int locker(void *arg)
{
    for (int i = 0; i < 50; i++) {
        bl_mutex_lock(arg);
        bl_yield();
        bl_mutex_unlock(arg);
    }
    return 0;
}

static int waiter(void *arg) { return bl_chan_recv(arg, NULL); }

static int called(void *arg)
{
    (void)arg;
    usleep(3000);
    return 0;
}

static int caller(void *arg) { return bl_blocking(called, arg); }

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void cancelled(void)
{
    BL_SCOPE(s, .name = "cancelled");
    bl_chan *never = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < 3; i++)
        bl_go(s, waiter, never);
    if (bl_sleep(BL_MS) != 0)
        return;
    bl_scope_cancel(s, BL_ECANCELED);
    bl_scope_wait(s);
}

static void round_of_all(void)
{
    bl_mutex m = {0};
    BL_SCOPE(s, .name = "all");
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    bl_waitgroup senders = {0};
    for (int i = 0; i < 3; i++) {
        bl_waitgroup_go(&senders, s, sender, c);
        bl_go(s, receiver, c);
        bl_go(s, locker, &m);
    }
    bl_go(s, blocker, s);
    bl_go(s, napper, NULL);
    bl_go(s, caller, NULL);
    for (int i = 0; i < 100; i++)
        bl_go(s, nothing, NULL);
    cancelled();
    if (bl_waitgroup_wait(&senders) == 0)
        bl_chan_close(c);
    bl_scope_wait(s);
}

static int dump_to_file(void)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || bl_trace_dump(fd) != BL_EINVAL || bl_trace_start("ring=1x") != BL_EINVAL ||
        bl_trace_start("ring=256k") != 0 || bl_trace_start("ring") != BL_EBUSY)
        return 1;
    round_of_all();
    int r = bl_trace_dump(fd);
    bl_trace_stop();
    bl_trace_stop();
    round_of_all();
    return r != 0 || bl_trace_dump(fd) != BL_EINVAL || close(fd) != 0;
}

static int trace_middle(void)
{
    if (bl_trace_start("/nowhere/at/all") != BL_ENOENT || bl_trace_start(file) != 0)
        return 1;
    round_of_all();
    bl_trace_stop();
    round_of_all();
    if (bl_trace_start(file) != 0)
        return 1;
    round_of_all();
    bl_trace_stop();
    round_of_all();
    return 0;
}

static int yielder(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3000000; i++)
        bl_yield();
    return 0;
}

static int switches(void)
{
    BL_SCOPE(s, .name = "switches");
    bl_go(s, yielder, NULL);
    bl_go(s, yielder, NULL);
    return bl_scope_wait(s);
}

static int root(void *arg)
{
    (void)arg;
    if (strcmp(mode, "dump") == 0)
        return dump_to_file();
    if (strcmp(mode, "switches") == 0)
        return switches();
    if (strcmp(mode, "middle") == 0) {
        BL_SCOPE(s, .name = "before");
        bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
        bl_go(s, receiver, c);
        bl_yield();
        int r = trace_middle();
        bl_chan_close(c);
        return r;
    }
    round_of_all();
    if (strcmp(mode, "forever") == 0) {
        puts("ready");
        fflush(stdout);
        for (;;) {
            round_of_all();
            if (bl_sleep(100 * BL_MS) != 0)
                return 1;
        }
    }
    if (strcmp(mode, "exit") == 0)
        exit(0);
    if (strcmp(mode, "crash") == 0)
        *(volatile int *)8 = 1;
    return 0;
}

int main(int argc, char **argv)
{
    mode = argc > 1 ? argv[1] : "all";
    file = argc > 2 ? argv[2] : "";
    int r = bl_run(root, NULL, NULL);
    if (r == 0 && strcmp(mode, "all") == 0 && argc > 2) /* again, in the same file */
        r = bl_run(root, NULL, NULL);
    return r != 0;
}
