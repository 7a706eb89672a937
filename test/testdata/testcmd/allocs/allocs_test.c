/* SPDX-License-Identifier: MIT */
/* allocs_test.c: benchmarks that allocate what test/testcmd_test.sh knows. */
#include <belay/test.h>

#include <stdlib.h>

BL_TEST(nothing) { BL_CHECK(t, true); }

static void *volatile kept;

BL_BENCH(one)
{
    bl_bench_report_allocs(b);
    free(malloc(1000)); /* not in the loop */
    BL_LOOP(b)
    {
        kept = malloc(48);
        free(kept);
    }
}

/* The second one is libc's own. */
BL_BENCH(three)
{
    BL_LOOP(b)
    {
        kept = calloc(4, 25);
        free(kept);
        void *copy = strdup("1234567");
        kept = realloc(copy, 20);
        free(kept != NULL ? kept : copy);
    }
}

static int allocate(void *arg)
{
    (void)arg;
    void *volatile mine = aligned_alloc(64, 640); /* kept would be several goroutines' */
    free(mine);
    return 0;
}

BL_BENCH(goroutines)
{
    BL_LOOP(b)
    {
        BL_SCOPE(s);
        for (int i = 0; i < 10; i++)
            bl_go(s, allocate, NULL);
    }
}
