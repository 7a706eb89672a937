/* SPDX-License-Identifier: MIT */
/* stack_code_test.c: a program that asks for stacks which may be executed has such goroutines. */
//belay:libs -Wl,-z,execstack
#include <belay/test.h>

#ifndef __clang__ /* which has no nested functions */
static int apply(int (*fn)(int n), int n) { return fn(n); }
static int (*volatile call)(int (*fn)(int n), int n) = apply;

static int code_run(void *arg)
{
    int base = *(int *)arg;
    int above(int n) { return n - base; }
    return call(above, 7);
}
#endif

BL_TEST(a_nested_function_is_called_on_a_goroutines_stack)
{
#ifdef __clang__
    bl_skip(t, "only gcc has nested functions");
#else
    BL_SCOPE(s);
    int seven = 7;
    for (int i = 0; i < 100; i++)
        BL_REQUIRE_EQ(t, bl_go(s, code_run, &seven), 0);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
#endif
}
