/* SPDX-License-Identifier: MIT */
/* stack_test.c: what becomes of the memory of stacks. */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 4000, DEEP = 40 << 10, BIG = 400, BIG_DEEP = 256 << 10 };

static int64_t resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

typedef struct crowd {
    bl_chan *gate; /* closed when all may end */
    bl_waitgroup there;
} crowd;

static int stay_shallow(void *arg)
{
    crowd *c = arg;
    bl_waitgroup_done(&c->there);
    return bl_chan_recv(c->gate, NULL) == BL_ECLOSED ? 0 : BL_EINVAL;
}

static int go_deep(void *arg)
{
    char frame[DEEP];
    memset(frame, 1, sizeof frame);
    __asm__ volatile("" : : "r"(frame) : "memory");
    return stay_shallow(arg);
}

/* Goroutines that are there at one time, and end. How much memory they had that is given back. */
static int64_t crowd_comes_and_goes(bl_test *t, bl_fn fn, int many)
{
    BL_SCOPE(s, .name = "crowd");
    crowd c = {.gate = bl_scope_chan(s, 0, 0)};
    bl_waitgroup_add(&c.there, many);
    for (int i = 0; i < many; i++)
        BL_REQUIRE_EQ(t, bl_go(s, fn, &c), 0);
    BL_REQUIRE_EQ(t, bl_waitgroup_wait(&c.there), 0);
    int64_t with = resident_bytes();
    bl_chan_close(c.gate);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    return with - resident_bytes();
}

/* All but two pages of each and the processors' caches, which may have stayed deep. */
BL_TEST(deep_stacks_are_given_back)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bl_skip(t, "a sanitizer's memory is resident too");
#endif
    BL_CHECK_GT(t, crowd_comes_and_goes(t, go_deep, MANY), (int64_t)MANY * DEEP / 2);
}

/* Stacks are looked at less often while none is deep. */
BL_TEST(deep_stacks_are_given_back_after_many_that_were_not)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bl_skip(t, "a sanitizer's memory is resident too");
#endif
    for (int i = 0; i < 3; i++) {
        (void)crowd_comes_and_goes(t, stay_shallow, MANY);
        BL_CHECK_GT(t, crowd_comes_and_goes(t, go_deep, MANY), (int64_t)MANY * DEEP / 2);
    }
}

static int go_deeper(void *arg)
{
    char frame[BIG_DEEP];
    memset(frame, 1, sizeof frame);
    __asm__ volatile("" : : "r"(frame) : "memory");
    return stay_shallow(arg);
}

static int big_main(void *arg)
{
    bl_test *t = arg;
    for (int i = 0; i < 4; i++) {
        (void)crowd_comes_and_goes(t, stay_shallow, MANY + 128 * i);
        int64_t given = crowd_comes_and_goes(t, go_deeper, BIG);
        BL_CHECK_GT(t, given, (int64_t)BIG * BIG_DEEP / 2);
    }
    return 0;
}

/* Of which the processor's cache may have stayed deep, and no more. */
BL_TEST_PLAIN(big_stacks_are_always_looked_at)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bl_skip(t, "a sanitizer's memory is resident too");
#endif
    BL_CHECK_EQ(t, bl_run(big_main, t, &(bl_options){.procs = 1, .stack_size = 1 << 20}), 0);
}
