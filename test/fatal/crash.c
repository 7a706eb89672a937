/* SPDX-License-Identifier: MIT */
/* Crashes: reported with the goroutine, and then fatal by that signal. */
#include "cases.h"

#include <belay/map.h>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static volatile int zero;

__attribute__((noinline)) static int store(volatile int *p)
{
    *p = 1;
    return *p;
}

static int segv_child(void *arg)
{
    (void)arg;
    return KEEP(store((int *)(intptr_t)zero));
}

static int child_of(bl_fn fn)
{
    BL_SCOPE(s, .name = "crash");
    bl_label("job", "7");
    bl_go(s, fn, NULL);
    return bl_scope_wait(s);
}

static int segv(void *arg)
{
    (void)arg;
    return child_of(segv_child);
}

static int fpe_child(void *arg)
{
    (void)arg;
    return KEEP(7 / zero);
}

static int fpe(void *arg)
{
    (void)arg;
    return child_of(fpe_child);
}

static int abort_child(void *arg)
{
    (void)arg;
    abort();
}

static int aborts(void *arg)
{
    (void)arg;
    return child_of(abort_child);
}

static int call_null(void *arg)
{
    (void)arg;
    return KEEP(((int (*)(void))(intptr_t)zero)());
}

__attribute__((noinline)) static int deeper(int n)
{
    volatile char page[512];
    page[0] = (char)n;
    return KEEP(deeper(n + 1)) + page[0];
}

static int overflow_child(void *arg)
{
    (void)arg;
    return KEEP(deeper(0));
}

static int overflow(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "overflow");
    bl_go(s, overflow_child, NULL);
    return bl_scope_wait(s);
}

static int parked(void *arg) { return bl_chan_recv((bl_chan *)arg, NULL); }

/* Most of the stack is in use, and then there is a frame as of a library that was built without
 * -fstack-clash-protection: touched at its far end first, where the next stack could be. */
__attribute__((noinline)) static int far(const volatile char *base)
{
    volatile char *frame = __builtin_frame_address(0);
    volatile char page[512];
    page[0] = 1;
    if (base - frame < 56 << 10)
        return KEEP(far(base)) + page[0];
    frame[-(20 << 10)] = 1;
    return 0;
}

static int overflow_far_child(void *arg)
{
    (void)arg;
    return KEEP(far(__builtin_frame_address(0)));
}

static int overflow_far(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "overflow");
    bl_chan *never = bl_scope_chan(s, 0, 0);
    for (int i = 0; i < 8; i++) /* theirs are below or above, and hold still */
        bl_go(s, parked, never);
    bl_yield();
    bl_go(s, overflow_far_child, NULL);
    return bl_scope_wait(s);
}

#define FRAME ((void *volatile *)__builtin_frame_address(0))

/* A return to what is no code. */
__attribute__((noinline)) static int return_wrong(void)
{
    FRAME[1] = (void *)0x4141;
    return 1;
}

static int wild_return(void *arg)
{
    (void)arg;
    return KEEP(return_wrong());
}

/* The caller's frame pointer is overwritten: its frame cannot be walked, the report goes on. */
__attribute__((noinline)) static int smash(void)
{
    FRAME[0] = (void *)0x4141;
    return 1;
}

static int smashed(void *arg)
{
    (void)arg;
    return KEEP(smash()) + KEEP(store((int *)(intptr_t)zero));
}

static int damaged(void *arg)
{
    (void)arg;
    return child_of(smashed);
}

static void *thread_main(void *arg)
{
    store((int *)(intptr_t)zero);
    return arg;
}

static int thread(void *arg)
{
    (void)arg;
    pthread_t t;
    pthread_create(&t, NULL, thread_main, NULL);
    return pthread_join(t, NULL);
}

static void handler(int sig)
{
    (void)sig;
    _exit(9);
}

static int own_handler(void *arg)
{
    (void)arg;
    return child_of(segv_child);
}

static int segv_helper(void *arg)
{
    (void)arg;
    return KEEP(bl_blocking(segv_child, NULL));
}

static int blocking(void *arg)
{
    (void)arg;
    return child_of(segv_helper);
}

static int overflow_helper(void *arg) { return KEEP(bl_blocking(overflow_child, arg)); }

static int overflow_blocking(void *arg)
{
    (void)arg;
    return child_of(overflow_helper);
}

/* In the library, where it is told which call it was. */
static int nil_scope(void *arg) { return KEEP(bl_go((bl_scope *)arg, segv_child, NULL)); }

static int nil_map_key(void *arg)
{
    bl_map *m = bl_map_new(0, sizeof(int));
    return KEEP(bl_map_set(m, (const char *)arg, &(int){1}));
}

static int nil_once(void *arg)
{
    (void)arg;
    static bl_once once;
    bl_once_do(&once, NULL, NULL);
    return KEEP(0);
}

static int exit_child(void *arg) { pthread_exit(arg); }

static int thread_ended(void *arg)
{
    (void)arg;
    return child_of(exit_child);
}

static int exit_helper(void *arg)
{
    (void)arg;
    return KEEP(bl_blocking(exit_child, NULL));
}

static int helper_ended(void *arg)
{
    (void)arg;
    return child_of(exit_helper);
}

static const fatal_case cases[] = {
    {"segv", segv},
    {"fpe", fpe},
    {"abort", aborts},
    {"call_null", call_null},
    {"overflow", overflow},
    {"overflow_far", overflow_far},
    {"damaged", damaged},
    {"wild_return", wild_return},
    {"thread", thread},
    {"blocking", blocking},
    {"overflow_blocking", overflow_blocking},
    {"nil_scope", nil_scope},
    {"nil_map_key", nil_map_key},
    {"nil_once", nil_once},
    {"thread_ended", thread_ended},
    {"helper_ended", helper_ended},
    {"own_handler", own_handler},
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "own_handler") == 0)
        signal(SIGSEGV, handler);
    return cases_main(argc, argv, cases, sizeof cases / sizeof *cases, NULL);
}
