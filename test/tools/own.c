/* SPDX-License-Identifier: MIT */
/* own.c: dumps goroutines that wait in several of the library's functions, of which no frame is to
 * be shown, whatever is known of the library beside where its code lies. */
#include <belay.h>
#include <belay/debug.h>

#include <unistd.h>

static bl_chan *never;
static bl_mutex door;

__attribute__((noinline)) int wait_for_value(void)
{
    int value = 0;
    return bl_chan_recv(never, &value) + value;
}

int value_waiter(void *arg)
{
    (void)arg;
    return wait_for_value() + 1;
}

int door_waiter(void *arg)
{
    (void)arg;
    bl_mutex_lock(&door);
    bl_mutex_unlock(&door);
    return 0;
}

int sleeper(void *arg)
{
    (void)arg;
    return bl_sleep(BL_MIN) + 0;
}

int main_goroutine(void *arg)
{
    bl_stat st;
    (void)arg;
    BL_SCOPE(s, .name = "waiters");
    never = bl_scope_chan(s, sizeof(int), 0);
    bl_mutex_lock(&door);
    bl_go(s, value_waiter, NULL);
    bl_go(s, door_waiter, NULL);
    bl_go(s, sleeper, NULL);
    do /* all wait */
        bl_yield();
    while (bl_stats(&st), st.waiting < 3);
    int err = bl_dump(STDOUT_FILENO);
    bl_mutex_unlock(&door);
    bl_scope_cancel(s, BL_ECANCELED);
    return err;
}

int main(void) { return bl_run(main_goroutine, NULL, &(bl_options){.procs = 1}) != 0; }
