/* SPDX-License-Identifier: MIT */
/*
 * forked.c: processes that a test forks. Such a one has copies of the test and of all that is
 * logged, and perhaps of locks that threads hold which it does not have. What it finds is to count
 * all the same: that a check has failed is noted in memory that the processes share, and what it
 * says goes to its stderr at once, since nobody would ask it later.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "test/test.h"

enum { MARKS = 1 << 16 }; /* of tests, by their numbers; most of these pages are never touched */

static struct {
    pid_t pid;
    uint32_t *failed; /* atomic; shared */
} worker;

void bl__test_forked_begin(void)
{
    worker.failed = mmap(NULL, MARKS * sizeof *worker.failed, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (worker.failed == MAP_FAILED)
        bl__fatal("belay: out of memory in the test runner");
    worker.pid = getpid();
}

bool bl__test_forked(void) { return worker.pid != 0 && getpid() != worker.pid; }

static uint32_t *mark_of(const bl_test *t) { return &worker.failed[t->number % MARKS]; }

void bl__test_forked_fail(const bl_test *t) { store_relaxed(mark_of(t), 1u); }

void bl__test_forked_report(bl_test *t)
{
    if (load_relaxed(mark_of(t)) && !load_relaxed(&t->failed))
        bl__test_say(t, BL__TEST_FAIL, NULL, 0, "a check failed in a process that it has forked");
    store_relaxed(mark_of(t), 0u);
}
