/* SPDX-License-Identifier: MIT */
/*
 * left.c: timers, tickers, contexts, channels and pipes that a test has made and left behind
 * (debug/made.h).
 *
 * Asked when the test has ended, scopes closed and cleanups run. While benchmarks run nothing is
 * noted.
 *
 * A channel or pipe of which a reference is left is memory that nobody frees. In a test that has
 * failed, was skipped or has left goroutines that is what comes of it, and is not said.
 */
#include "debug/made.h"
#include "test/test.h"

static const void *test_owner(const bl__g *g) { return bl__test_of(g); }

void bl__test_left_begin(void)
{
    if (bl__tests.bench != NULL || bl__tests.leak == BL__LEAK_OFF)
        return;
    bl__made_begin(test_owner);
    bl__test_opened_begin();
}

static void left_say(bl_test *t, const bl__note *n)
{
    static const struct {
        int allow;
        const char *text;
    } kinds[] = {
        [BL__MADE_CTX] =
            {BL_ALLOW_CONTEXTS,
             "leak: the context that was made here was neither cancelled nor released"},
        [BL__MADE_TIMER] =
            {BL_ALLOW_TIMERS,
             "leak: the timer that was started here was not stopped and has not fired"},
        [BL__MADE_TICKER] = {BL_ALLOW_TIMERS,
                             "leak: the ticker that was made here was not stopped"},
        [BL__MADE_CHAN] = {BL_ALLOW_CHANNELS,
                           "leak: the channel that was made here was not released"},
        [BL__MADE_PIPE] = {BL_ALLOW_CHANNELS,
                           "leak: of the pipe that was made here an end was not released"},
        [BL__MADE_READ] = {BL_ALLOW_LOCKS, "leak: the goroutine that was started here ended "
                                           "holding a sync.RWMutex for reading"},
    };
    if ((t->allow & kinds[n->kind].allow) != 0)
        return;
    char more[32] = "";
    if (n->count > 1)
        (void)snprintf(more, sizeof more, " (%zu of them)", n->count);
    bl__test_log(t, n->site->file, n->site->line, "%s%s", kinds[n->kind].text, more);
    bl__test_left_something(t);
}

void bl__test_left_report(bl_test *t, bool goroutines)
{
    bool memory = !goroutines && !load_relaxed(&t->failed) && !load_relaxed(&t->skipped);
    bl__note *left = bl__made_left(t, memory);
    for (const bl__note *n = left; n != NULL; n = n->next)
        left_say(t, n);
    bl__made_drop(left);
}
