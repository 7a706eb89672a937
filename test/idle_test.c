/* SPDX-License-Identifier: MIT */
/* idle_test.c: threads that look for work (core/idle.c). */
// procs: own
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/relax.h"
#include "core/proc.h"

static bl_test *const t; /* the test that the caller is of */

enum { FEW = 100 };

static atomic_int started, may_end, ran;

static int busy_until_told(void *arg)
{
    (void)arg;
    atomic_store(&started, 1);
    while (!atomic_load(&may_end))
        bl__cpu_relax();
    return 0;
}

static int run_and_tell(void *arg)
{
    (void)arg;
    atomic_store(&ran, 1);
    return 0;
}

static uint64_t adoptions(void)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    uint64_t n = bl__rt.adopted;
    bl__unlock(&bl__rt.lock);
    return n;
}

/* A thread runs out of work while another says that it looks for some, and does not: it has lost
 * its CPU. The first one sees what is queued, and takes it; it does not go to rest and come back. */
static int work_is_seen(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, busy_until_told, NULL), 0);
    while (!atomic_load(&started))
        bl__cpu_relax();
    add_acq_rel(&bl__rt.spinning, 1u); /* ORD(spin) */
    for (int i = 0; i < 2; i++) /* the later one is to run next here, and nobody else's for now */
        BL_CHECK_EQ(t, bl_go(s, run_and_tell, NULL), 0);
    uint64_t before = adoptions();
    atomic_store(&may_end, 1);
    while (!atomic_load(&ran) && adoptions() - before < FEW)
        bl__cpu_relax();
    BL_CHECK_LT(t, adoptions() - before, (uint64_t)FEW);
    add_acq_rel(&bl__rt.spinning, (uint32_t)-1); /* ORD(spin) */
    return bl_scope_wait(s);
}

BL_TEST_PLAIN(work_is_taken_by_who_sees_it)
{
    bl_options opts = {.procs = 2};
    BL_CHECK_EQ(t, bl_run(work_is_seen, NULL, &opts), 0);
}

typedef struct sleepers {
    int fd[2];
    atomic_int got;
    bool seen; /* writer: each time one slept in the poller */
} sleepers;

static void *writes_to_sleepers(void *arg)
{
    sleepers *s = arg;
    int sent = 0;
    s->seen = true;
    for (; sent < 3 && s->seen; sent++) {
        while (atomic_load(&s->got) < sent)
            usleep(100);
        s->seen = false; /* at one look: by the next it may be on its way out, and back */
        for (int i = 0; i < 100000 && !s->seen; i++) {
            usleep(100);
            s->seen = load_relaxed(&bl__rt.poll.sleeper) != NULL;
        }
        s->seen = s->seen && write(s->fd[1], "x", 1) == 1;
    }
    close(s->fd[1]);
    return NULL;
}

static int reads_asleep(void *arg)
{
    sleepers *s = arg;
    char byte;
    while (bl_read(s->fd[0], &byte, 1) == 1)
        atomic_fetch_add(&s->got, 1);
    return 0;
}

/* While all rest one thread is in the poller, whatever it has found before. */
BL_TEST_PLAIN(one_sleeps_in_the_poller_again)
{
    sleepers s = {.got = 0};
    pthread_t thread;
    BL_REQUIRE(t, pipe(s.fd) == 0);
    BL_REQUIRE(t, pthread_create(&thread, NULL, writes_to_sleepers, &s) == 0);
    BL_CHECK_EQ(t, bl_run(reads_asleep, &s, NULL), 0);
    pthread_join(thread, NULL);
    BL_CHECK(t, s.seen);
    BL_CHECK_EQ(t, atomic_load(&s.got), 3);
    close(s.fd[0]);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* A plain thread has come too late to wake somebody for a run, and is not done with that when
 * another forks. In the child's own run nobody would be woken while it seems to look for work. */
BL_TEST_PLAIN(who_looks_for_work_is_not_in_the_child_of_a_fork)
{
    int status = -1;
    BL_CHECK_EQ(t, bl_run(nothing, NULL, NULL), 0);
    add_acq_rel(&bl__rt.spinning, 1u); /* ORD(spin) */
    pid_t child = fork();
    if (child == 0)
        _exit(load_relaxed(&bl__rt.spinning) == 0 ? 0 : 1);
    add_acq_rel(&bl__rt.spinning, (uint32_t)-1); /* ORD(spin) */
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    BL_CHECK_EQ(t, status, 0);
}
