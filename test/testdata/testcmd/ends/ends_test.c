/* SPDX-License-Identifier: MIT */
/* ends_test.c: one test for each way to end; test/testcmd_test.sh has readers of the results look
 * at it. */
#include <belay/test.h>

#include <stdlib.h>

BL_TEST(passes) { BL_CHECK(t, true); }

BL_TEST(fails)
{
    bl_log(t, "short: %s", bl_short() ? "yes" : "no");
    BL_CHECK_STR(t, "a<b>&\"\x01\xff", "c");
}

BL_TEST(skips) { bl_skip(t, "not today"); }

static void sub(bl_test *t, void *arg)
{
    bl_log(t, "about to");
    if (arg != NULL)
        abort();
}

BL_TEST(crashes)
{
    (void)bl_subtest(t, "well", sub, NULL);
    (void)bl_subtest(t, "not well", sub, t);
}

BL_TEST(last) { BL_CHECK(t, true); }
