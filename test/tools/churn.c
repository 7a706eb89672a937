/* SPDX-License-Identifier: MIT */
/* churn.c: goroutines that live for some milliseconds, until stdin ends, for test/look_test.sh. */
#include <belay.h>

#include <stdio.h>

static int napper(void *arg)
{
    (void)arg;
    return bl_sleep(5 * BL_MS);
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
    (void)arg;
    BL_SCOPE(s, .name = "churn", .limit = 20);
    bl_go(s, starter, s);
    puts("ready");
    fflush(stdout);
    return bl_read(0, &c, 1) < 0;
}

int main(void) { return bl_run(main_goroutine, NULL, NULL); }
