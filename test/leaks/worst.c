/* SPDX-License-Identifier: MIT */
/* Leaks at the worst of times: no memory is left, or what is to be shown is damaged. To damage it, this file knows more
 * than the other ones. */
#include <sys/resource.h>

#include "right.h"

#include "core/sched.h"
#include "sync/chan.h"

/*? out_of_memory said fatal error: all goroutines are asleep - deadlock!; goroutine 2 [chan send; made by out_of_memory at @nobody_chan; waits on scope "last"
 */
static int out_of_memory(void *arg)
{
    struct rlimit none = {1, 1};
    (void)arg;
    BL_SCOPE(s, .name = "last");
    bl_go(s, send_one, bl_scope_chan(s, sizeof(int), 0)); /* @nobody_chan */
    if (until_waiting(1) < 0 || setrlimit(RLIMIT_AS, &none) != 0)
        return 1; /* not a page more */
    for (size_t n = (size_t)1 << 20; n > 8; n /= 2)
        while (malloc(n) != NULL)
            continue;
    return bl_scope_wait(s);
}

/* Writes over its own frame, the return address and what is above it. */
static __attribute__((noinline)) int smash_and_wait(bl_chan *c, int depth)
{
    volatile char room[256];
    int v = 1;
    uintptr_t *frame = __builtin_frame_address(0);
    room[0] = 1;
    if (depth > 0)
        return smash_and_wait(c, depth - 1) + room[0];
    for (int i = 0; i < 24; i++)
        frame[i] = i % 2 == 0 ? 0x10 : (uintptr_t)0x4141414141414140;
    return bl_chan_send(c, &v) + room[0];
}

static int smashed(void *arg) { return smash_and_wait(arg, 3) + 1; }

static int smashed_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "smashed");
    bl_go(s, smashed, bl_scope_chan(s, sizeof(int), 0)); /* @smashed_chan */
    return bl_scope_wait(s);                             /* @smashed_wait */
}

/*? smashed_stack deadlock
 * smashed_part@smashed_wait [scope wait] waits on scope "smashed"
 * smash_and_wait [chan send] made by smashed_part at @smashed_chan; cause: nobody is left to receive
 */
static int smashed_stack(void *arg)
{
    bl_go(bl_root(), smashed_part, arg);
    return go_on();
}

/* What is to be printed is gone: the place that made the channel, the name of the scope. */
static const char *const gone = (const char *)(uintptr_t)0x4141414141414140;
static bl__site nowhere = {"channel", (const char *)(uintptr_t)0x4141414141414140, "nowhere.c", 1};

static int nameless_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = gone);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    c->made = &nowhere;
    bl_go(s, send_one, c);
    return bl_scope_wait(s); /* @nameless_wait */
}

/*? nameless_objects deadlock
 * nameless_part@nameless_wait [scope wait] waits on scope "s"; cause: it joins
 * send_one@ [chan send] waits on channel; (cap 0, 0 buffered); cause: nobody is left to receive
 */
static int nameless_objects(void *arg)
{
    bl_go(bl_root(), nameless_part, arg);
    return go_on();
}

/* A receiver that may be idle on purpose: whether the function that made its channel still runs is asked of the channel, and
 * of the scopes that are open. */
static __attribute__((noinline)) void idle_start(bl_scope *s)
{
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    c->made = &nowhere;
    bl_go(s, recv_one, c);
}

/*? damaged_idle right
 */
static int damaged_idle(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "idle");
    const bl__site *made = s->bl__made;
    idle_start(s);
    s->bl__made = (const bl__site *)gone;
    {
        BL_SCOPE(inner);
        if (nap(LONG))
            return 1;
    }
    s->bl__made = made;
    bl_scope_cancel(s, 0);
    return 0;
}

/* The record, which lies at the end of the stack. */
static int damaged_record(void *arg)
{
    bl__self()->site = (const bl__site *)gone;
    return send_one(arg);
}

static int damaged_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "damaged");
    bl_go(s, damaged_record, bl_scope_chan(s, sizeof(int), 0));
    return bl_scope_wait(s);
}

/*? crash_in_the_report said belay: deadlock: 2 goroutines; (the report crashed here
 */
static int crash_in_the_report(void *arg)
{
    bl_go(bl_root(), damaged_part, arg);
    return go_on();
}

PROGRAMS({"out_of_memory", out_of_memory}, {"smashed_stack", smashed_stack},
         {"nameless_objects", nameless_objects}, {"damaged_idle", damaged_idle},
         {"crash_in_the_report", crash_in_the_report})
