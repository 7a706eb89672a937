/* SPDX-License-Identifier: MIT */
/* stack_test.c: what becomes of the memory of stacks. */
//belay:cflags -D_GNU_SOURCE
#include <belay/test.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 4000, DEEP = 40 << 10 };

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

static int go_deep(void *arg)
{
    crowd *c = arg;
    char frame[DEEP];
    memset(frame, 1, sizeof frame);
    __asm__ volatile("" : : "r"(frame) : "memory");
    bl_waitgroup_done(&c->there);
    return bl_chan_recv(c->gate, NULL) == BL_ECLOSED ? 0 : BL_EINVAL;
}

BL_TEST(deep_stacks_are_given_back)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bl_skip(t, "a sanitizer's memory is resident too");
#endif
    BL_SCOPE(s, .name = "crowd");
    crowd c = {.gate = bl_scope_chan(s, 0, 0)};
    bl_waitgroup_add(&c.there, MANY);
    for (int i = 0; i < MANY; i++)
        BL_REQUIRE_EQ(t, bl_go(s, go_deep, &c), 0);
    BL_REQUIRE_EQ(t, bl_waitgroup_wait(&c.there), 0);
    int64_t with = resident_bytes();
    BL_CHECK_GT(t, with, (int64_t)MANY * DEEP);
    bl_chan_close(c.gate);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    /* All but two pages of each and the processors' caches, which may have stayed deep. */
    BL_CHECK_GT(t, with - resident_bytes(), (int64_t)MANY * DEEP / 2);
}
