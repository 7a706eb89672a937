/* SPDX-License-Identifier: MIT */
/* stop_test.c: tests that are interrupted; test/testcmd_test.sh does it, and says what is to be
 * printed. */
#include <belay/test.h>
#include <unistd.h>

BL_TEST(before) { BL_CHECK(t, true); }

/* Stops when it is told to, and then has a cleanup to run. */
BL_TEST(slow)
{
    bl_log(t, "in %s", bl_tempdir(t));
    (void)!write(STDOUT_FILENO, "slow began\n", 11);
    BL_CHECK_EQ(t, bl_sleep(BL_HOUR), 0);
}

BL_TEST(deaf)
{
    (void)!write(STDOUT_FILENO, "deaf began\n", 11);
    while (true)
        (void)usleep(1000);
}

BL_TEST(after) { (void)!write(STDOUT_FILENO, "after began\n", 12); }
