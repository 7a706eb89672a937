/* SPDX-License-Identifier: MIT */
/* All right: who computes has the address of who waits in a register, and nobody has it elsewhere for as long. */
#include <belay/debug.h>
#include <time.h>

#include "computing.h"

/* As where calls of the system are filtered, and nobody may look at those that compute. */
static void unsampled(void) { setenv("BELAY_DEBUG", "sample=0", 1); }

static int none_leaks(int looks)
{
    int r = 0;
    for (int i = 0; i < looks && r == 0; i++) {
        bl_leak leak;
        r = bl_leaks(&leak, 1) != 0 || bl_sleep(BL_MS / 3) != 0;
    }
    return r;
}

/* ---- In turns, of which each takes away what the switch before it has left on the stack ---- */

static int compute_in_turns(void *arg)
{
    bl_chan *c = *(bl_chan **)arg;
    *(bl_chan *volatile *)arg = NULL;
    while (turns_go_on()) {
        bl_yield();
        clear_below();
        compute();
    }
    return send_one(c);
}

static int take_turns(void *arg)
{
    struct timespec t = {0, 100000};
    while (turns_go_on()) {
        bl_yield();
        nanosleep(&t, NULL);
    }
    return arg != NULL;
}

static int start_turns(void *s)
{
    static bl_chan *in_turns;
    in_turns = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_one, in_turns);
    bl_go(s, compute_in_turns, &in_turns);
    bl_go(s, take_turns, NULL);
    return bl_go(s, take_turns, NULL);
}

static int turns(void)
{
    BL_SCOPE(s);
    int r = started_by(s, start_turns) != 0 || nap(4 * LONG) != 0 || none_leaks(100);
    turns_end();
    return bl_scope_wait(s) + r;
}

/*? in_turns right
 */
static int in_turns(void *arg) { return turns() + (arg != NULL); }

/*? in_turns_unsampled right
 */
static int in_turns_unsampled(void *arg)
{
    unsampled();
    return turns() + (arg != NULL);
}

/* ---- Taken out of memory for as long as it is worked on, and put back ---- */

typedef struct job {
    bl_chan *done;
    uint64_t steps;
} job;

static job *volatile waiting;

static int work(void *arg)
{
    int r = 0;
    while (turns_go_on() && r == 0) {
        job *j = waiting;
        waiting = NULL;
        clear_below();
        compute();
        j->steps++;
        waiting = j;
        j = NULL;
        __asm__ volatile("" : "+r"(j));
        r = bl_sleep(50 * BL_US);
    }
    return arg != NULL ? r : 0;
}

static int await_job(void *arg) { return recv_one(((job *)arg)->done); }

static int start_job(void *s)
{
    job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return 1;
    j->done = bl_scope_chan(s, sizeof(int), 0);
    waiting = j;
    bl_go(s, await_job, j);
    return bl_go(s, work, NULL);
}

static int jobs(void)
{
    BL_SCOPE(s);
    int r = started_by(s, start_job) != 0 || nap(4 * LONG) != 0 || none_leaks(100);
    turns_end();
    while (r == 0 && waiting == NULL)
        r = nap(BL_MS);
    r = r != 0 || send_one(waiting->done) != 0 || bl_scope_wait(s) != 0;
    free(waiting);
    return r;
}

/*? as_a_job right
 */
static int as_a_job(void *arg) { return jobs() + (arg != NULL); }

/*? as_a_job_unsampled right
 */
static int as_a_job_unsampled(void *arg)
{
    unsampled();
    return jobs() + (arg != NULL);
}

PROGRAMS({"in_turns", in_turns}, {"in_turns_unsampled", in_turns_unsampled}, {"as_a_job", as_a_job},
         {"as_a_job_unsampled", as_a_job_unsampled})
