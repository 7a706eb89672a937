/* SPDX-License-Identifier: MIT */
/* alike.c: five goroutines that wait in one place and two in another, until stdin ends. */
#include <belay.h>
#include <belay/debug.h>

#include <stdio.h>
#include <unistd.h>

__attribute__((noinline)) static int receiver(void *arg)
{
    int v, r = bl_chan_recv((bl_chan *)arg, &v);
    return r == BL_ECLOSED ? 0 : r;
}

__attribute__((noinline)) static int sleeper(void *arg)
{
    int r = bl_sleep(*(bl_dur *)arg);
    return r == BL_ECANCELED ? 0 : r;
}

static int alike(void *arg)
{
    char c;
    bl_stat st;
    int r;
    bl_dur hour = BL_HOUR;
    (void)arg;
    BL_SCOPE(s);
    bl_chan *never = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < 5; i++)
        bl_go(s, receiver, never);
    for (int i = 0; i < 2; i++)
        bl_go(s, sleeper, &hour);
    do /* all wait */
        r = bl_sleep(BL_MS);
    while (bl_stats(&st), r == 0 && st.waiting < 5 + 2);
    puts("ready");
    fflush(stdout);
    return r != 0 ? r : bl_read(0, &c, 1) < 0; /* all are idle */
}

int main(void) { return bl_run(alike, NULL, NULL); }
