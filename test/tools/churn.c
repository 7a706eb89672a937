/* SPDX-License-Identifier: MIT */
/* churn.c: goroutines that live for some milliseconds, and a few that stay, until stdin ends, for
 * test/look_test.sh. */
#include <belay.h>
#include <belay/debug.h>

#include <stdio.h>

enum { STAY = 5, MOST = 20 };

static int napper(void *arg)
{
    (void)arg;
    return bl_sleep(5 * BL_MS);
}

static int stayer(void *arg)
{
    (void)arg;
    return bl_sleep(BL_HOUR);
}

static int starter(void *arg)
{
    while (bl_go(arg, napper, NULL) == 0) /* waits for room */
        ;
    return 0;
}

static int main_goroutine(void *arg)
{
    char c;
    bl_stat st;
    (void)arg;
    BL_SCOPE(s, .name = "churn", .limit = MOST);
    for (int i = 0; i < STAY; i++)
        bl_go(s, stayer, NULL);
    do /* they sleep */
        bl_yield();
    while (bl_stats(&st), st.waiting < STAY);
    bl_go(s, starter, s);
    puts("ready");
    fflush(stdout);
    return bl_read(0, &c, 1) < 0;
}

int main(void) { return bl_run(main_goroutine, NULL, NULL); }
