/* SPDX-License-Identifier: MIT */
/*
 * ended.c: see ended.h.
 *
 * What a thread had in its frames and its thread-locals, and the argument that it was started with,
 * stays where it was until another thread has the stack. Nobody can use it, if
 *
 *   - the C library's record of a thread is at the end of the mapping: its first and its third word
 *     are its own address (x86-64's ABI of thread-locals);
 *   - by that record the library has made the stack, since it has a guard, which those of the
 *     program's own never have: it gives the stack to another thread, or back to the system;
 *   - no thread has its list of robust mutexes there, which is in its record, and which the kernel
 *     knows of each (get_robust_list(2)). A thread that is about to begin, or to end, has none:
 *     then nothing is concluded of any. Nor is the kernel asked where system calls are filtered,
 *     since a filter may kill.
 *
 * Where in a record the bounds and the argument are is not told by the library, but is the same in
 * all: it is seen in that of a thread of ours, whose bounds and argument are known. The rest of the
 * record is left alone; a thread's result is for who joins it.
 */
#include "debug/ended.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/atomic.h"
#include "debug/peek.h"
#include "os/os.h"

enum { RECORD_MOST = 512 }; /* words */

/* Of a record, in words. Written once, and size last. */
static struct {
    size_t size;  /* atomic: up to the end of the stack; 0: not known */
    size_t block; /* where the stack's mapping begins, its size, that of the guard in it, twice */
    size_t argument;
} record;

void bl__ended_learn(void *(*fn)(void *), const void *arg)
{
    pthread_attr_t attr;
    void *low;
    size_t bytes, guard, block = 0, argument = 0;
    const uintptr_t *own = (const uintptr_t *)pthread_self(); // NOLINT(performance-no-int-to-ptr)
    if (load_relaxed(&record.size) != 0 || pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    bool known = pthread_attr_getstack(&attr, &low, &bytes) == 0 &&
                 pthread_attr_getguardsize(&attr, &guard) == 0 && guard > 0;
    pthread_attr_destroy(&attr);
    if (!known || (uintptr_t)own - (uintptr_t)low >= bytes)
        return;
    uintptr_t begin = (uintptr_t)low - guard, end = (uintptr_t)low + bytes;
    size_t size = (end - (uintptr_t)own) / sizeof *own;
    for (size_t i = 3; i + 3 < size; i++) {
        if (own[i] == (uintptr_t)fn && own[i + 1] == (uintptr_t)arg)
            argument = i + 1;
        if (own[i] == begin && own[i + 1] == end - begin && own[i + 2] == guard &&
            own[i + 3] == guard)
            block = i;
    }
    record.block = block;
    record.argument = argument;
    if (block != 0 && argument != 0 && size <= RECORD_MOST && own[0] == (uintptr_t)own &&
        own[2] == (uintptr_t)own)
        store_release(&record.size, size); /* ORD(record): with the load in skip */
}

static void thread_mark(bl__maps *m, uintptr_t list)
{
    size_t i = bl__map_find(m->ranges, m->count, list);
    if (i < m->count && list >= m->ranges[i].low)
        m->ranges[i].thread = true;
}

/* Where the records of the threads are. False: not of all. */
static bool threads_mark(bl__maps *m)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *e;
    bool known = tasks != NULL;
    while (known && (e = readdir(tasks)) != NULL) {
        void *list = NULL;
        size_t size;
        long tid = strtol(e->d_name, NULL, 10);
        if (tid <= 0)
            continue;
        if (syscall(SYS_get_robust_list, tid, &list, &size) < 0) {
            known = errno == ESRCH; /* it has ended meanwhile */
            continue;
        }
        known = list != NULL;
        thread_mark(m, (uintptr_t)list);
    }
    if (tasks != NULL)
        closedir(tasks);
    return known;
}

static void ended_skip(bl__maps *m, const bl__map_range *r, size_t size)
{
    uintptr_t words[RECORD_MOST], at = r->high - size * sizeof words[0];
    if (r->first_block != 0 || r->hidden || r->thread || at <= r->low || at > r->high ||
        !bl__peek(words, (const void *)at, 3 * sizeof words[0]) || words[0] != at ||
        words[2] != at || !bl__peek(words, (const void *)at, size * sizeof words[0]))
        return;
    const uintptr_t *block = words + record.block;
    uintptr_t low = block[0] + block[2], argument = at + record.argument * sizeof words[0];
    if (block[0] + block[1] != r->high || block[2] == 0 || block[3] == 0 || low < r->low ||
        low >= at)
        return;
    bl__maps_skip(m, (const void *)low, (const void *)at);
    bl__maps_skip(m, (const void *)argument, (const void *)(argument + sizeof words[0]));
}

void bl__ended_skip(bl__maps *m)
{
    size_t size = load_acquire(&record.size); /* ORD(record): with the store in learn */
    if (size == 0 || bl__thread_is_filtered(bl__thread_id()) || !threads_mark(m))
        return;
    for (size_t i = 0; i < m->count; i++)
        ended_skip(m, &m->ranges[i], size);
}
