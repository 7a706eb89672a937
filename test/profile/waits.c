/* SPDX-License-Identifier: MIT */
/* waits.c: waits BLOCK MUTEX: goroutines that wait for a channel and for each other's mutex; the
 * block and mutex profiles. Prints the milliseconds that they waited for the mutex and for the
 * lock: until it was given back, and to the end of their turn to run. */
#include <belay/debug.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { EACH = 3 };

typedef struct lock_wait {
    int came;         /* atomic */
    bl_time released; /* lock: the one it is of */
    bl_dur least;     /* lock: the same */
    bl_dur most;      /* lock: the same */
} lock_wait;

static bl_mutex mutex;
static bl_rwmutex shared;
static lock_wait of_mutex, of_shared;

static bl_time wait_begins(lock_wait *w)
{
    __atomic_add_fetch(&w->came, 1, __ATOMIC_RELAXED);
    return bl_now();
}

/* It has the lock, and keeps it until all have come, and for a while. */
static int wait_ended(lock_wait *w, bl_time began, bl_dur keep)
{
    int r = 0;
    w->most += bl_now() - began;
    w->least += w->released > began ? w->released - began : 0;
    while (r == 0 && __atomic_load_n(&w->came, __ATOMIC_RELAXED) < EACH)
        r = bl_sleep(BL_MS);
    r = r == 0 ? bl_sleep(keep) : r;
    w->released = bl_now();
    return r;
}

__attribute__((noinline)) static int holder(void *arg)
{
    bl_time began = wait_begins(&of_mutex);
    bl_mutex_lock(&mutex);
    int r = wait_ended(&of_mutex, began, 20 * BL_MS);
    bl_mutex_unlock(&mutex);
    *(int *)arg += 1;
    return r;
}

__attribute__((noinline)) static int writer(void *arg)
{
    bl_time began = wait_begins(&of_shared);
    bl_rwmutex_lock(&shared);
    int r = wait_ended(&of_shared, began, 10 * BL_MS);
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

/* Until the only other goroutine waits. */
static int await_receiver(void)
{
    bl_stat st;
    int r;
    do
        r = bl_sleep(BL_MS);
    while (bl_stats(&st), r == 0 && st.waiting == 0);
    return r;
}

static int waits(void *arg)
{
    char **paths = arg;
    int n[2 * EACH] = {0};
    bl_profile_block(1);
    bl_profile_mutex(1);
    {
        BL_SCOPE(s);
        bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
        bl_go(s, receiver, c);
        for (int i = 0; i < 3; i++)
            if (await_receiver() != 0 || bl_chan_send(c, &i) != 0)
                return 1;
        if (await_receiver() != 0)
            return 1;
        bl_chan_close(c);
        if (bl_scope_wait(s) != 0)
            return 1;
        for (int i = 0; i < EACH; i++) {
            bl_go(s, holder, &n[i]);
            bl_go(s, writer, &n[EACH + i]);
        }
        if (bl_scope_wait(s) != 0)
            return 1;
    }
    printf("%lld %lld %lld %lld\n", (long long)(of_mutex.least / BL_MS),
           (long long)(of_mutex.most / BL_MS), (long long)(of_shared.least / BL_MS),
           (long long)(of_shared.most / BL_MS));
    bl_profile_block(0);
    bl_profile_mutex(0);
    return profile_to(paths[1], "block") == 0 && profile_to(paths[2], "mutex") == 0 ? 0 : 1;
}

int main(int argc, char **argv) { return argc == 3 ? bl_run(waits, argv, NULL) : 2; }
