/* SPDX-License-Identifier: MIT */
/* stress.h: what the stress tests share: how long, and random numbers, one state a goroutine. */
#ifndef BL_TEST_STRESS_H
#define BL_TEST_STRESS_H

#include <stdint.h>
#include <stdlib.h>

/* How long each is to take: STRESS_SECONDS, or 2. */
static inline int stress_seconds(void)
{
    const char *seconds = getenv("STRESS_SECONDS");
    return seconds ? atoi(seconds) : 2;
}

/* The run's seed: STRESS_SEED, so that a failure's choices can be made again (their timing
 * cannot). */
static inline uint64_t random_seed(uint64_t otherwise)
{
    const char *seed = getenv("STRESS_SEED");
    return seed ? strtoull(seed, NULL, 0) : otherwise;
}

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((random_next(state) >> 32) * n >> 32);
}

#endif
