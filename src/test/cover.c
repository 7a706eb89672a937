/* SPDX-License-Identifier: MIT */
/*
 * cover.c: in programs of `belay test -cover` gcc's counts are written when a process exits. Here
 * they are for those that end otherwise: of a crash, a fatal error, or by _exit.
 */
#include <signal.h>
#include <unistd.h>

#include "debug/fatal.h"
#include "test/test.h"

enum { DUMP_SECONDS = 5 };

/* libgcov's; not there in other programs. */
__attribute__((weak)) void gcov_dump(void) __asm__("__gcov_dump");
__attribute__((weak)) void gcov_reset(void) __asm__("__gcov_reset");

void bl__test_cover_dump(void)
{
    if (gcov_dump == NULL)
        return;
    (void)signal(SIGALRM, SIG_DFL); /* the crash may have been in malloc, which it needs */
    (void)alarm(DUMP_SECONDS);
    gcov_dump();
    (void)alarm(0);
}

void bl__test_cover_begin(void)
{
    if (gcov_reset == NULL)
        return;
    gcov_reset(); /* what the supervisor has counted, it writes itself */
    bl__fatal_hook = bl__test_cover_dump;
}
