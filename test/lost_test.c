/* SPDX-License-Identifier: MIT */
/* lost_test.c: which scopes a search for stuck goroutines takes for left open, and which not. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "arch/unwind.h"
#include "debug/stuck.h"

#include "parked.h"
#include "run.h"

enum { STACK = 256 << 10 };

/* How many scopes a search finds that were left open. */
static uint32_t lost_scopes(void)
{
    bl__stuck none[1];
    bl__search s = {.limit = SIZE_MAX, .found = none, .most = 1};
    bl__stuck_search(&s);
    return s.lost_count;
}

static int recv_of(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v);
}

/* ---- On a stack of its own ---- */

typedef struct elsewhere {
    bl_test *t;
    char *stack; /* above those of goroutines, but where the kernel maps from below */
    bl_chan *c;
    int result;
} elsewhere;

static void waits_elsewhere(void *arg)
{
    elsewhere *e = arg;
    e->result = recv_of(e->c);
}

static int calls_elsewhere(void *arg)
{
    elsewhere *e = arg;
    BL_SCOPE(s);
    bl__stack_call(e->stack + STACK, waits_elsewhere, e);
    return e->result == BL_ECLOSED ? 0 : BL_EIO;
}

static int elsewhere_main(void *arg)
{
    elsewhere *e = arg;
    BL_SCOPE(s);
    e->c = bl_scope_chan(s, sizeof(int), 0);
    BL_CHECK_EQ(e->t, bl_go(s, calls_elsewhere, e), 0);
    BL_CHECK(e->t, parked_wait(1));
    BL_CHECK_EQ(e->t, lost_scopes(), 0);
    bl_chan_close(e->c);
    return bl_scope_wait(s);
}

/* Its scope is not below what it has in use of its own, though that is above all of it. */
BL_TEST_PLAIN(who_waits_on_another_stack_has_lost_no_scope)
{
    elsewhere e = {.t = t};
    if (BL__ASAN || BL__TSAN)
        bl_skip(t, "they have to know of every stack");
    e.stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BL_REQUIRE(t, e.stack != MAP_FAILED);
    BL_CHECK_EQ(t, bl_run(elsewhere_main, &e, NULL), 0);
    munmap(e.stack, STACK);
}

/* ---- Storage that is another's now ---- */

static bl_scope *storage;
static bl_chan *silent;

static int opens_and_waits(void *arg)
{
    (void)arg;
    if (bl_scope_open(storage, NULL) != 0)
        return BL_ENOMEM;
    return recv_of(silent);
}

static int reused_main(void *arg)
{
    (void)arg;
    storage = calloc(1, sizeof *storage);
    silent = bl_chan_new(sizeof(int), 0);
    bl_scope s;
    if (bl_scope_open(&s, NULL) != 0 || bl_go(&s, opens_and_waits, NULL) != 0 || !parked_wait(1))
        _exit(1);
    if (lost_scopes() != 0)
        _exit(2);
    memset(storage, 0, sizeof *storage);
    if (bl_go(&s, opens_and_waits, NULL) != 0 || !parked_wait(2))
        _exit(1);
    _exit(lost_scopes() == 1 ? 0 : 3);
}

/* A scope is there, but it is not the one that was opened first. The run ends without them. */
BL_TEST_PLAIN(a_scope_in_the_storage_of_another_is_not_that)
{
    pid_t child = fork();
    if (child == 0)
        _exit(10 + bl_run(reused_main, NULL, NULL));
    int status = -1;
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
}
