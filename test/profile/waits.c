/* SPDX-License-Identifier: MIT */
/* waits.c: waits BLOCK MUTEX: goroutines that wait for a channel and for each other's mutex; the
 * block and mutex profiles. Prints the milliseconds that they waited for the mutex and for the
 * lock, to the end of their turn to run. */
#include <belay/debug.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static bl_mutex mutex;
static bl_rwmutex shared;
static bl_dur waited[2]; /* lock: mutex, shared */

__attribute__((noinline)) static int holder(void *arg)
{
    bl_time began = bl_now();
    bl_mutex_lock(&mutex);
    waited[0] += bl_now() - began;
    int r = bl_sleep(20 * BL_MS);
    bl_mutex_unlock(&mutex);
    *(int *)arg += 1;
    return r;
}

__attribute__((noinline)) static int writer(void *arg)
{
    bl_time began = bl_now();
    bl_rwmutex_lock(&shared);
    waited[1] += bl_now() - began;
    int r = bl_sleep(10 * BL_MS);
    bl_rwmutex_unlock(&shared);
    *(int *)arg += 1;
    return r;
}

__attribute__((noinline)) static int receiver(void *arg)
{
    int v, r;
    do
        r = bl_chan_recv((bl_chan *)arg, &v);
    while (r == 0);
    return r == BL_ECLOSED ? 0 : r;
}

static int profile_to(const char *path, const char *name)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int r = fd < 0 ? fd : bl_profile(fd, name, 0);
    close(fd);
    return r;
}

static int waits(void *arg)
{
    char **paths = arg;
    int n[6] = {0};
    bl_profile_block(1);
    bl_profile_mutex(1);
    {
        BL_SCOPE(s);
        bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
        bl_go(s, receiver, c);
        for (int i = 0; i < 3; i++) {
            bl_go(s, holder, &n[i]);
            bl_go(s, writer, &n[3 + i]);
        }
        for (int i = 0; i < 3; i++)
            if (bl_sleep(10 * BL_MS) != 0 || bl_chan_send(c, &i) != 0)
                return 1;
        bl_chan_close(c);
        if (bl_scope_wait(s) != 0)
            return 1;
    }
    printf("%lld %lld\n", (long long)(waited[0] / BL_MS), (long long)(waited[1] / BL_MS));
    bl_profile_block(0);
    bl_profile_mutex(0);
    return profile_to(paths[1], "block") == 0 && profile_to(paths[2], "mutex") == 0 ? 0 : 1;
}

int main(int argc, char **argv) { return argc == 3 ? bl_run(waits, argv, NULL) : 2; }
