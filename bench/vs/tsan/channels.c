/* SPDX-License-Identifier: MIT */
/*
 * channels.c: what ThreadSanitizer alone takes of a word through a channel, with no channel, no
 * scheduler and no goroutine: its fibers, the edges of Go's memory model (each end leaves its clock
 * where the other finds it, and takes that one's), the accesses to the word, and the two functions
 * that reports name. Nothing that tells it of goroutines takes less.
 */
#include "bench.h"

#define UNSEEN __attribute__((disable_sanitizer_instrumentation))

enum { NO_SYNC = 1, CAP = 128 };

/* NOLINTBEGIN(clang-diagnostic-reserved-identifier): ThreadSanitizer's names */
void *__tsan_create_fiber(unsigned flags);
void *__tsan_get_current_fiber(void);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);
void __tsan_read8(void *addr);
void __tsan_write8(void *addr);
/* NOLINTEND(clang-diagnostic-reserved-identifier) */
/* Go's, of the runtime that clang links statically: a release that replaces what was there, and an
 * acquire of that. */
void exchange(void *fiber, uintptr_t pc,
              uintptr_t addr) __asm__("_ZN6__tsan19ReleaseStoreAcquireEPNS_11ThreadStateEmm");

typedef struct fibers {
    void *first, *second;
    uint64_t sent, got;
    uint64_t slots[CAP];
} fibers;

static UNSEEN void end(void *fiber, void *slot, void *word, bool sends)
{
    __tsan_func_entry(__builtin_return_address(0));
    if (sends)
        __tsan_read8(word);
    exchange(fiber, 0, (uintptr_t)slot);
    if (!sends)
        __tsan_write8(word);
    __tsan_func_exit();
}

static UNSEEN void round_trip(uint64_t n, void *arg)
{
    fibers *f = arg;
    for (; n > 0; n--) {
        end(f->first, &f->slots[0], &f->sent, true);
        __tsan_switch_to_fiber(f->second, NO_SYNC);
        end(f->second, &f->slots[0], &f->got, false);
        end(f->second, &f->slots[1], &f->sent, true);
        __tsan_switch_to_fiber(f->first, NO_SYNC);
        end(f->first, &f->slots[1], &f->got, false);
    }
}

static UNSEEN void buffered(uint64_t n, void *arg)
{
    fibers *f = arg;
    for (; n > 0; n -= CAP) {
        for (int i = 0; i < CAP; i++)
            end(f->first, &f->slots[i], &f->sent, true);
        __tsan_switch_to_fiber(f->second, NO_SYNC);
        for (int i = 0; i < CAP; i++)
            end(f->second, &f->slots[i], &f->got, false);
        __tsan_switch_to_fiber(f->first, NO_SYNC);
    }
}

UNSEEN int main(int argc, char **argv)
{
    static fibers f;
    bench_init(argc, argv);
    f.first = __tsan_get_current_fiber();
    f.second = __tsan_create_fiber(0);
    bench_measure("RoundTrip", 1, 1, round_trip, &f);
    bench_measure("Chan1x1", 1, CAP, buffered, &f);
    return 0;
}
