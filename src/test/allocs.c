/* SPDX-License-Identifier: MIT */
/*
 * allocs.c: counts what a benchmark allocates, for B/op and allocs/op.
 *
 * malloc and its kin are counted where `belay test` compiles a main of its own, which has functions
 * of these names that call bl__test_allocated and then glibc's; so they count for all of the
 * program and its libraries, and the library itself has nothing of the kind. Where there is a
 * sanitizer with an allocator of its own, or a main that is not ours, nothing is counted, and that
 * is said.
 */
#include "test/test.h"

enum { SHARDS = 64, SHARD_LINE = 64 };

/* Of different threads mostly, so that counting costs them no cache line of another. */
static struct {
    _Alignas(SHARD_LINE) uint64_t count; /* atomic */
    uint64_t bytes;                      /* atomic */
} shards[SHARDS];
static uint32_t counting; /* atomic */

/* In the main of `belay test`: there are such functions. */
extern const char bl__test_counts_allocs __attribute__((weak));

void bl__test_allocated(size_t size);
void bl__test_allocated(size_t size)
{
    if (__builtin_expect(load_relaxed(&counting) == 0, 1))
        return;
    size_t shard = ((uintptr_t)__builtin_thread_pointer() >> 12) % SHARDS;
    add_relaxed(&shards[shard].count, UINT64_C(1));
    add_relaxed(&shards[shard].bytes, (uint64_t)size);
}

bool bl__test_allocs_known(void) { return &bl__test_counts_allocs != NULL; }

void bl__test_allocs_count(bool on) { store_relaxed(&counting, (uint32_t)on); }

bl__allocs bl__test_allocs(void)
{
    bl__allocs sum = {0, 0};
    for (size_t i = 0; i < SHARDS; i++) {
        sum.count += load_relaxed(&shards[i].count);
        sum.bytes += load_relaxed(&shards[i].bytes);
    }
    return sum;
}
