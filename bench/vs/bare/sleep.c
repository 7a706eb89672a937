/* SPDX-License-Identifier: MIT */
/*
 * sleep.c: what the kernel alone takes of a hundred thousand sleepers: for each a guard and the page
 * at the top of its stack, or those of one that has ended. Nothing else is done: there is no
 * goroutine, no switch and no queue of timers, only a list for each millisecond. A thread a proc makes
 * them, 64 at a time, by the calls that take least. Prints nothing where there are no such calls.
 */
#include "../pthread/threads.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { BATCH = 64, PAGE = 4096, GUARD = 4 * PAGE, SLOT = 21 * PAGE, LISTS = 128, NONE = -1 };

static struct {
    char *slots;
    int *next; /* of a slot on a list */
    size_t sleepers;
    int process;
    atomic_size_t made;    /* slots */
    atomic_size_t started; /* sleepers */
} all;

static void touch(int slot) { all.slots[((size_t)slot + 1) * SLOT - 1]++; }

static void push(int *list, int slot)
{
    all.next[slot] = *list;
    *list = slot;
}

static int pop(int *list)
{
    int slot = *list;
    *list = all.next[slot];
    return slot;
}

static bool advise(size_t first, size_t offset, size_t size, int advice)
{
    struct iovec parts[BATCH];
    for (size_t i = 0; i < BATCH; i++)
        parts[i] = (struct iovec){all.slots + (first + i) * SLOT + offset, size};
    return syscall(SYS_process_madvise, all.process, parts, BATCH, advice, 0) ==
           (long)(BATCH * size);
}

static bool slots_make(int *list)
{
    size_t first = atomic_fetch_add(&all.made, BATCH);
    for (int i = BATCH; i-- > 0;)
        push(list, (int)first + i);
    return advise(first, 0, GUARD, MADV_GUARD_INSTALL) &&
           advise(first, SLOT - PAGE, PAGE, MADV_POPULATE_WRITE);
}

static void *work(void *arg)
{
    const int64_t start = *(const int64_t *)arg;
    uint64_t seed = (uint64_t)(uintptr_t)&seed;
    int due[LISTS], unused = NONE;
    size_t asleep = 0, mine = 0;
    int64_t woken = 0; /* milliseconds, up to which all have been */
    for (int i = 0; i < LISTS; i++)
        due[i] = NONE;
    for (;;) {
        int64_t now = bench_wall_ns() - start;
        for (; woken < now / 1000000; woken++)
            for (int *list = &due[woken % LISTS]; *list != NONE; asleep--) {
                int slot = pop(list);
                touch(slot);
                push(&unused, slot);
            }
        if (mine == 0 && atomic_load(&all.started) < all.sleepers) {
            size_t had = atomic_fetch_add(&all.started, BATCH);
            if (had < all.sleepers)
                mine = all.sleepers - had < BATCH ? all.sleepers - had : BATCH;
        }
        if (mine == 0 && asleep == 0)
            return NULL;
        if (mine == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
            continue;
        }
        if (unused == NONE)
            bench_check(slots_make(&unused), "the kernel makes guards and pages");
        int slot = pop(&unused);
        touch(slot);
        int64_t until = now + (int64_t)(bench_random(&seed) % UINT64_C(100000000));
        push(&due[until / 1000000 % LISTS], slot);
        asleep++;
        mine--;
    }
}

int main(int argc, char **argv)
{
    threads_init(argc, argv);
    all.sleepers = bench_scale(100000);
    const size_t most = all.sleepers + (size_t)threads_procs() * BATCH;
    all.process = (int)syscall(SYS_pidfd_open, getpid(), 0);
    all.next = malloc(most * sizeof *all.next);
    all.slots = mmap(NULL, most * SLOT, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench_check(all.next != NULL && all.slots != MAP_FAILED, "there is memory for the slots");
    madvise(all.slots, most * SLOT, MADV_NOHUGEPAGE);
    int list = NONE;
    if (!slots_make(&list))
        return 0;
    atomic_store(&all.made, 0);
    madvise(all.slots, (size_t)BATCH * SLOT, MADV_DONTNEED);

    int64_t cpu = -bench_cpu_ns();
    int64_t start = bench_wall_ns();
    threads_run((size_t)threads_procs(), work, &start);
    int64_t wall = bench_wall_ns() - start;
    cpu += bench_cpu_ns();
    char extra[100];
    snprintf(extra, sizeof extra, "%8.1f cpu-ms\t%8zu slots", (double)cpu / 1e6,
             atomic_load(&all.made));
    bench_report("Sleep100k", threads_procs(), 1, (double)wall, extra);
    return 0;
}
