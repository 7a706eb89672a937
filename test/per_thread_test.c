/* SPDX-License-Identifier: MIT */
/*
 * per_thread_test.c: what the C library keeps for each thread, in a goroutine that goes on on another one.
 */
// procs: own
//belay:cflags -D_GNU_SOURCE
#include <ctype.h> /* before belay.h: then the flags make its macros calls */

#include <belay/test.h>

#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static bl_test *const t; /* the test that the caller is of */

static int yield_until_flag(void *arg)
{
    while (!*(atomic_int *)arg)
        bl_yield();
    return 0;
}

/* The goroutine goes on on another thread, when another takes its processor meanwhile. */
static inline void change_thread(void)
{
    for (pid_t first = gettid(); gettid() == first;) {
        usleep(1000);
        bl_yield();
    }
}

/* Of the thread that a goroutine is on now, though the function has asked for another's before. */
static int errno_main(void *arg)
{
    atomic_int done = 0;
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, yield_until_flag, &done);
    errno = 0;
    h_errno = HOST_NOT_FOUND;
    change_thread();
    BL_CHECK_EQ(t, h_errno, 0);
    int r = close(-1);
    BL_CHECK_EQ(t, r, -1);
    BL_CHECK_EQ(t, errno, EBADF);
    done = 1;
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(errno_is_the_own_threads)
{
    BL_CHECK_EQ(t, bl_run(errno_main, NULL, &(bl_options){.procs = 1}), 0);
}

/* What isspace and its kin look at is the thread's, too. */
static int ctype_main(void *arg)
{
    static unsigned short spaces[384]; /* of a thread for which all is space */
    atomic_int done = 0;
    (void)arg;
    BL_SCOPE(s);
    memset(spaces, 0xff, sizeof spaces);
    bl_go(s, yield_until_flag, &done);
    const unsigned short **table = (const unsigned short **)__ctype_b_loc(), *before = *table;
    *table = spaces + 128;
    BL_CHECK(t, isspace('x') != 0);
    change_thread();
    BL_CHECK(t, isspace('x') == 0);
    *table = before;
    done = 1;
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(ctype_is_the_own_threads)
{
    BL_CHECK_EQ(t, bl_run(ctype_main, NULL, &(bl_options){.procs = 1}), 0);
}
