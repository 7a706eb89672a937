/* SPDX-License-Identifier: MIT */
/* locks.c: waits for locks that each somebody else has, until stdin ends, for test/look_test.sh. */
#include <belay.h>
#include <belay/debug.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bl_mutex by_main, by_thread, by_nobody, overwritten;
static bl_rwmutex read_by_two, written;
static bl_chan *taken, *never;

static int wait_for(void *mutex)
{
    if (bl_mutex_lock_until(mutex, BL_NEVER) == 0)
        bl_mutex_unlock(mutex);
    return 0;
}

static int wait_to_write(void *rwmutex)
{
    if (bl_rwmutex_lock_until(rwmutex, BL_NEVER) == 0)
        bl_rwmutex_unlock(rwmutex);
    return 0;
}

static int end_with(void *mutex)
{
    bl_mutex_lock(mutex);
    return 0;
}

static int read_on(void *rwmutex)
{
    bl_rwmutex_rlock(rwmutex);
    int r = bl_chan_send(taken, NULL);
    return r == 0 ? bl_chan_recv(never, NULL) : r;
}

static void *hold_on(void *mutex)
{
    bl_mutex_lock(mutex);
    bool ok = bl_chan_send(taken, NULL) == 0 && bl_chan_recv(never, NULL) == 0;
    return ok ? NULL : mutex;
}

static int main_goroutine(void *arg)
{
    bl_scope *s = bl_root();
    pthread_t thread;
    bl_stat st;
    char c;
    (void)arg;
    (void)bl_set_procs(1);
    int r = bl_go(s, end_with, &by_nobody) | bl_go(s, read_on, &read_by_two) |
            bl_go(s, read_on, &read_by_two) | pthread_create(&thread, NULL, hold_on, &by_thread);
    bl_mutex_lock(&by_main);
    bl_mutex_lock(&overwritten);
    bl_rwmutex_lock(&written);
    for (int i = 0; i < 3; i++)
        r |= bl_chan_recv(taken, NULL);
    r |= bl_go(s, wait_for, &by_main) | bl_go(s, wait_for, &by_thread) |
         bl_go(s, wait_for, &by_nobody) | bl_go(s, wait_for, &overwritten) |
         bl_go(s, wait_to_write, &read_by_two) | bl_go(s, wait_to_write, &written);
    do /* all wait: readers, writers, and for each mutex one */
        bl_yield();
    while (bl_stats(&st), st.waiting < 2 + 2 + 4);
    memset(&overwritten, 0x5a, sizeof overwritten);
    puts("ready");
    fflush(stdout);
    r |= bl_read(0, &c, 1) < 0;
    _exit(r);
}

int main(void)
{
    taken = bl_chan_new(0, 0);
    never = bl_chan_new(0, 0);
    return bl_run(main_goroutine, NULL, NULL);
}
