/* SPDX-License-Identifier: MIT */
/*
 * plain.c: a test outside of any run (BL_TEST_PLAIN). The supervisor forks a process for it as it
 * does a worker; in it the function is called, on the main thread, and says what a controller
 * would.
 */
#include <stdlib.h>
#include <unistd.h>

#include "arch/race.h"
#include "test/test.h"

static bl_test *plain_test; /* immutable once set, on the only thread there is */

bl_test *bl__test_plain(void) { return plain_test; }

/* Its result goes out. */
static void plain_over(void)
{
    bl_test *t = plain_test;
    (void)bl__test_cleanups_main(t);
    if (bl__race_errors() != 0)
        bl__test_say(t, BL__TEST_FAIL, NULL, 0, "race detected during execution of test");
    bl__test_forked_report(t);
    t->before = bl_now() - t->began;
    bl__test_report(t);
    bl__test_tell('E', t,
                  load_relaxed(&t->failed)    ? BL__ITEM_FAILED
                  : load_relaxed(&t->skipped) ? BL__ITEM_SKIPPED
                                              : BL__ITEM_PASSED,
                  NULL, 0);
    bl__test_tell('Z', NULL, (int64_t)bl__race_errors(), NULL, 0);
}

void bl__test_plain_end(void)
{
    plain_over();
    bl__test_cover_dump();
    _exit(0); /* not by way of the exit handlers: this may be a goroutine, in the middle of a run */
}

void bl__test_plain_run(bl_test *t, void (*fn)(bl_test *t))
{
    plain_test = t;
    bl__test_mark("RUN", t->name);
    t->began = bl_now();
    bl__test_tell('S', t, 0, NULL, 0);
    fn(t);
    size_t left = bl_goroutines();
    if (left != 0)
        bl__test_say(t, BL__TEST_FAIL, NULL, 0,
                     "leak: %zu goroutine%s left when the test had ended", left,
                     left == 1 ? " was" : "s were");
    plain_over();
    bl_test *root = t->parent;
    bl__test_drop(t);
    bl__test_drop(root);
    exit(0);
}
