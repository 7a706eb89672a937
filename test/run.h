/* SPDX-License-Identifier: MIT */
/*
 * run.h: RUN_TEST(id) { … } is a test in a run of its own, as its main goroutine: for what counts
 * all goroutines, threads or helpers of a run, or looks at all its memory, where those of the
 * runner and of earlier tests would be in the way.
 */
#ifndef BL_TEST_RUN_H
#define BL_TEST_RUN_H

#include <belay/test.h>

#define RUN_TEST(id)                                                                               \
    static void run_##id(bl_test *t);                                                              \
    static int run_main_##id(void *t)                                                              \
    {                                                                                              \
        run_##id((bl_test *)t);                                                                    \
        return 0;                                                                                  \
    }                                                                                              \
    BL_TEST_PLAIN(id) { BL_CHECK_EQ(t, bl_run(run_main_##id, t, NULL), 0); }                       \
    static void run_##id(bl_test *t)

#endif
