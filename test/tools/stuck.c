/* SPDX-License-Identifier: MIT */
/* stuck.c: goroutines that wait in every way that the tools show; says "ready" and stays until its
 * standard input ends, or, with an argument, aborts. */
#include <belay.h>
#include <belay/debug.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bl_chan *results;
bl_mutex door;
bl_rwmutex table;
bl_waitgroup group;
bl_sem seats;
bl_timer alarm_timer;
bl_scope *shown;

static __attribute__((noinline)) int receive_result(int depth)
{
    int value = depth;
    int r = bl_chan_recv(results, &value);
    return r < 0 ? r : value + depth;
}

static int receiver(void *arg) { return receive_result((int)(intptr_t)arg) + 0; }

static int locker(void *arg)
{
    (void)arg;
    bl_mutex_lock(&door);
    bl_mutex_unlock(&door);
    return 0;
}

static int holder(void *arg)
{
    bl_chan *never = bl_scope_chan(bl_root(), sizeof(int), 4);
    int value = 5;
    (void)arg;
    bl_mutex_lock(&door);
    int r = bl_chan_send(never, &value);
    if (r == 0)
        r = bl_chan_recv(bl_scope_chan(bl_root(), 1, 0), NULL);
    bl_mutex_unlock(&door);
    return r;
}

static int group_waiter(void *arg)
{
    (void)arg;
    return bl_waitgroup_wait(&group);
}

static int sleeper(void *arg)
{
    (void)arg;
    return bl_sleep(BL_MIN * 60);
}

static int seat_taker(void *arg)
{
    (void)arg;
    return bl_sem_acquire(&seats, 2);
}

static int scope_opener(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "inner scope");
    shown = s;
    bl_go(s, sleeper, NULL);
    return bl_scope_wait(s);
}

static int fired(void *arg)
{
    (void)arg;
    return 0;
}

/* Until so many wait. */
static int await_waiting(uint64_t n)
{
    bl_stat st;
    int r;
    do
        r = bl_sleep(BL_MS);
    while (bl_stats(&st), r == 0 && st.waiting < n);
    return r;
}

static int main_goroutine(void *arg)
{
    char c;
    bl_scope *s = bl_root();
    results = bl_scope_chan(s, sizeof(int), 0);
    bl_sem_init(&seats, 1);
    bl_waitgroup_add(&group, 3);
    bl_rwmutex_rlock(&table);
    bl_go(s, receiver, (void *)(intptr_t)41);
    bl_go(s, holder, NULL);
    if (await_waiting(2) < 0) /* the door is held */
        return 1;
    bl_go(s, locker, NULL);
    bl_go(s, group_waiter, NULL);
    bl_go(s, sleeper, NULL);
    bl_go(s, seat_taker, NULL);
    bl_go(s, scope_opener, NULL);
    bl_after_func(&alarm_timer, s, BL_MIN * 60, fired, NULL);
    if (await_waiting(8) < 0)
        return 1;
    if (write(STDOUT_FILENO, "ready\n", 6) != 6 || arg != NULL)
        abort();
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    _exit(0);
}

int main(int argc, char **argv) { return bl_run(main_goroutine, argc > 1 ? argv : NULL, NULL); }
