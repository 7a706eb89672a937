/* SPDX-License-Identifier: MIT */
/* serve.c: serve ADDRESS: a debug endpoint over some goroutines, until stdin ends. Prints what
 * bl_debug_listen said. */
#include <belay/debug.h>

#include <stdio.h>
#include <unistd.h>

__attribute__((noinline)) static int receiver(void *arg)
{
    int v, r = bl_chan_recv((bl_chan *)arg, &v);
    return r == BL_ECLOSED ? 0 : r;
}

static bl_mutex mutex;
__attribute__((noinline)) static int locker(void *arg)
{
    (void)arg;
    for (int r = 0; r == 0;) {
        bl_mutex_lock(&mutex);
        r = bl_sleep(BL_MS);
        bl_mutex_unlock(&mutex);
    }
    return 0;
}

static int serve(void *arg)
{
    char c;
    bl_stat st;
    BL_SCOPE(s);
    bl_chan *never = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < 7; i++)
        bl_go(s, receiver, never);
    do /* all wait */
        bl_yield();
    while (bl_stats(&st), st.waiting < 7);
    for (int i = 0; i < 3; i++)
        bl_go(s, locker, NULL);
    int r = bl_debug_listen(s, arg);
    if (r < 0)
        printf("%s\n", bl_err_name(r));
    else
        printf("%d\n", r);
    fflush(stdout);
    return r < 0 ? 1 : read(0, &c, 1) < 0;
}

int main(int argc, char **argv) { return argc == 2 ? bl_run(serve, argv[1], NULL) : 2; }
