/* SPDX-License-Identifier: MIT */
/*
 * timeout: a time limit on a whole piece of work, and on one call.
 *
 * A scope's timeout holds for everything in it, however deep: here a search asks a helper, the
 * helper waits for an answer that never comes, and none of them knows about the limit. When it has
 * passed, each call that waits returns BL_ETIMEDOUT, and the goroutines return; a plain time-out
 * around the receive would have left the helper behind, blocked on a channel nobody uses any more.
 * What only limits a single wait is a deadline in the call, bl_..._until.
 */
#include <belay.h>

#include <stdio.h>

typedef struct search {
    bl_chan *answer;
    int helper_result; /* written by helper, read after the join */
} search;

static int helper(void *arg)
{
    search *s = arg;
    int answer = 42;
    s->helper_result = bl_sleep(BL_HOUR);
    if (s->helper_result < 0)
        return s->helper_result;
    return bl_chan_send(s->answer, &answer);
}

/* Knows of no limit: its own scope is below the caller's, and ends with it. */
static int search_run(search *search)
{
    BL_SCOPE(s, .name = "search");
    search->answer = bl_scope_chan(s, sizeof(int), 0);
    if (!search->answer)
        return BL_ENOMEM;
    int r = bl_go(s, helper, search);
    if (r < 0)
        return r;
    int answer;
    return bl_chan_recv(search->answer, &answer); /* returning joins the helper */
}

static int main_goroutine(void *arg)
{
    (void)arg;
    search search = {0};
    bl_time start = bl_now();
    {
        BL_SCOPE(s, .timeout = 50 * BL_MS, .name = "limited");
        printf("the search: %s\n", bl_strerror(search_run(&search)));
        printf("its helper: %s\n", bl_strerror(search.helper_result));
        printf("the scope:  %s\n", bl_strerror(bl_scope_wait(s)));
    }
    /* The limit was the scope's. Outside of it waiting goes on as ever; here with one for a
     * call. */
    bl_chan *quiet = bl_chan_new(sizeof(int), 0);
    if (!quiet)
        return BL_ENOMEM;
    int unused;
    printf("one call:   %s\n", bl_strerror(bl_chan_recv_until(quiet, &unused, bl_in(10 * BL_MS))));
    bl_chan_release(quiet);

    bl_dur took = bl_now() - start;
    printf("in time:    %s\n", took >= 60 * BL_MS && took < 30 * BL_SEC ? "yes" : "no");
    return 0;
}

int main(void) { return bl_run(main_goroutine, NULL, NULL) < 0; }
