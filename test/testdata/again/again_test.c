/* SPDX-License-Identifier: MIT */
/* again_test.c: subtests that end the test program; test/again_test.sh says what is to become of
 * the others. */
#include <belay/test.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Its name says what it does. */
static void sub(bl_test *t, void *arg)
{
    const char *what = arg;
    printf("ran %s\n", bl_test_name(t));
    bl_log(t, "in %s, with %s", what, bl_tempdir(t) != NULL ? "a directory" : "none");
    if (strcmp(what, "aborts") == 0)
        abort();
    if (strcmp(what, "segfaults") == 0)
        raise(SIGSEGV);
    if (strcmp(what, "exits") == 0)
        exit(0);
    if (strcmp(what, "fails") == 0)
        bl_fatal(t, "failed");
    if (strcmp(what, "skips") == 0)
        bl_skip(t, "skipped");
    if (strcmp(what, "hangs") == 0) {
        bl_chan *c = bl_scope_chan(bl_test_scope(t), 0, 0);
        (void)!bl_chan_recv(c, NULL);
    }
    if (strcmp(what, "is late") == 0) {
        bl_test_timeout(t, 50 * BL_MS);
        (void)!bl_sleep(BL_HOUR);
    }
}

static void subs(bl_test *t, const char *const *names)
{
    for (; *names != NULL; names++)
        bl_log(t, "%s: %d", *names, bl_subtest(t, *names, sub, (void *)(uintptr_t)*names));
}

BL_TEST(serial)
{
    static const char *const names[] = {"passes",    "aborts",  "fails",  "skips",
                                        "exits",     "hangs",   "fails",  "aborts",
                                        "segfaults", "is late", "passes", NULL};
    subs(t, names);
}

BL_TEST(between) { BL_CHECK(t, true); }

static void outer(bl_test *t, void *arg)
{
    (void)arg;
    static const char *const names[] = {"passes", "aborts", "fails", NULL};
    subs(t, names);
}

BL_TEST(nested)
{
    (void)bl_subtest(t, "first", outer, NULL);
    (void)bl_subtest(t, "second", outer, NULL);
    (void)bl_subtest(t, "third", sub, "passes");
}

static void meets(bl_test *t, void *arg)
{
    bl_parallel(t);
    (void)!bl_sleep(10 * BL_MS);
    sub(t, arg);
}

BL_TEST(parallel)
{
    static const char *const names[] = {"passes", "aborts", "fails", "exits", "skips", NULL};
    for (int i = 0; names[i] != NULL; i++)
        BL_REQUIRE(t, bl_subtest(t, names[i], meets, (void *)(uintptr_t)names[i]));
    BL_CHECK(t, bl_subtest(t, "alone", sub, "passes"));
}

/* The test itself, once its subtests have passed. */
BL_TEST(body)
{
    (void)bl_subtest(t, "passes", sub, "passes");
    (void)bl_subtest(t, "aborts", sub, "aborts");
    abort();
}

/* Another subtest each time: that is given up. */
BL_TEST(others)
{
    char name[32];
    snprintf(name, sizeof name, "of %d", (int)getpid());
    (void)bl_subtest(t, name, sub, "aborts");
}

/* The one that died is not asked for again. */
BL_TEST(missed)
{
    char path[256];
    snprintf(path, sizeof path, "%s/again-missed", getenv("TMPDIR"));
    bool first = access(path, F_OK) != 0;
    FILE *f = fopen(path, "we");
    BL_REQUIRE(t, f != NULL && fclose(f) == 0);
    if (first)
        (void)bl_subtest(t, "aborts", sub, "aborts");
    (void)bl_subtest(t, "passes", sub, "passes");
}

BL_TEST(last) { (void)bl_subtest(t, "passes", sub, "passes"); }
