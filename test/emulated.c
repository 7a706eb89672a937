/* SPDX-License-Identifier: MIT */
/*
 * emulated.c: main of the test programs that run under an emulator (cmake/tests.cmake).
 *
 * That has threads of its own in the process. The library would take them for the program's, which
 * could call in at any time: no run would be solo, and no deadlock be proven. So here they are not
 * counted; the linker puts this before the library's own.
 */
#include <belay/test.h>

#include "os/os.h"

static int emulator_threads;

/* NOLINTBEGIN(clang-diagnostic-reserved-identifier): the linker's names, for --wrap */
int __real_bl__thread_count(void);
int __wrap_bl__thread_count(void);
int __wrap_bl__thread_count(void)
{
    int n = __real_bl__thread_count();
    return n < 0 ? n : n - emulator_threads;
}
/* NOLINTEND(clang-diagnostic-reserved-identifier) */

int main(int argc, char **argv)
{
    emulator_threads = bl__thread_count() - 1;
    return bl_test_main(argc, argv);
}
