/* SPDX-License-Identifier: MIT */
#include "core/rank.h"

#ifdef BL__DEBUG

#include "core/sched.h"

/* What a thread holds. Of channels the highest address, until the last of them is given back. */
typedef struct held {
    const uint32_t *lock[BL__RANKS];
    uint32_t chans;
} held;

/* A goroutine that switches may go on on another thread, and compilers keep the address of a
 * thread-local; but not from one call of a function that is not inlined to the next. */
static __thread held rank_held;

static const char *const rank_names[BL__RANKS] = {
    [BL__RANK_TEST] = "test",       [BL__RANK_FINDER] = "finder",
    [BL__RANK_TIMER] = "timer",     [BL__RANK_AFTER] = "after",
    [BL__RANK_PUT] = "pool put",    [BL__RANK_TAKE] = "pool take",
    [BL__RANK_NOTIFY] = "notify",   [BL__RANK_SCOPE] = "scope",
    [BL__RANK_COND] = "cond",       [BL__RANK_WAITERS] = "waiters",
    [BL__RANK_CHAN] = "channel",    [BL__RANK_BLOCKING] = "blocking",
    [BL__RANK_FD] = "descriptor",   [BL__RANK_TTY] = "terminal",
    [BL__RANK_G] = "goroutine",     [BL__RANK_CTX] = "context",
    [BL__RANK_HEAP] = "timer heap", [BL__RANK_SCHED] = "scheduler",
    [BL__RANK_STACKS] = "stacks",   [BL__RANK_POOL] = "pool",
    [BL__RANK_MADE] = "made",       [BL__RANK_ORDER] = "order",
    [BL__RANK_PROFILE] = "profile", [BL__RANK_MAP] = "map",
    [BL__RANK_TRACE] = "trace",
};

__attribute__((noinline)) void bl__rank_note(const uint32_t *lock, bl__rank rank)
{
    held *h = &rank_held;
    h->lock[rank] = lock;
    if (rank == BL__RANK_CHAN)
        h->chans++;
}

__attribute__((noinline)) void bl__rank_take(const uint32_t *lock, bl__rank rank)
{
    const held *h = &rank_held;
    for (int r = BL__RANKS - 1; r >= (int)rank; r--) {
        const uint32_t *other = h->lock[r];
        if (other == NULL || (r == BL__RANK_CHAN && r == (int)rank && lock > other))
            continue;
        bl__fatal("belay: lock ranks broken: %s lock taken while a %s lock is held (%p, %p)",
                  rank_names[rank], rank_names[r], (const void *)lock, (const void *)other);
    }
    bl__rank_note(lock, rank);
}

__attribute__((noinline)) void bl__rank_give(const uint32_t *lock)
{
    held *h = &rank_held;
    for (int r = 0; r < BL__RANKS; r++) {
        if (h->lock[r] == lock && r != BL__RANK_CHAN) {
            h->lock[r] = NULL;
            return;
        }
    }
    if (h->chans == 0)
        bl__fatal("belay: lock ranks broken: %p is given back and not held", (const void *)lock);
    if (--h->chans == 0)
        h->lock[BL__RANK_CHAN] = NULL;
}

__attribute__((noinline)) bool bl__rank_free(void)
{
    const held *h = &rank_held;
    for (int r = 0; r < BL__RANKS; r++)
        if (h->lock[r] != NULL)
            return false;
    return true;
}

#endif
