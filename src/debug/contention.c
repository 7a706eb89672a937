/* SPDX-License-Identifier: MIT */
/*
 * contention.c: the block, mutex and latency profiles: where goroutines wait, who makes them wait,
 * and how long those that could run wait for a processor.
 *
 * While one of them is on, a goroutine that parks goes a slower way (core/proc.c), which notes
 * when it began and hands the wait here when it is over; who unlocks a mutex for a waiter hands in
 * how long that has waited. While all are off a park costs one comparison. While latency is
 * recorded, whoever readies, starts or yields goes the slow way of traces and notes when that was
 * (core/trace.c); who runs then hands in the difference. Sampling and scaling are those of Go's
 * runtime (mprof.go).
 */
#include <belay/debug.h>

#include <errno.h>
#include <limits.h>

#include "core/trace.h"
#include "debug/contention.h"
#include "os/os.h"

uint32_t bl__contended_on;

static struct {
    uint32_t lock;
    uint32_t fraction;                      /* atomic: of the mutex profile; 0: off */
    bl_dur rate;                            /* atomic: of the block profile; 0: off */
    bl_dur latency;                         /* atomic: of the latency profile; 0: off */
    uint64_t draws;                         /* atomic */
    bl__stacks stacks[BL__CONTENDED_KINDS]; /* lock */
} contention;

enum { STACKS_MOST = 20000 }; /* different ones that are kept */

static void contention_switch(void)
{
    bool on = load_relaxed(&contention.rate) > 0 || load_relaxed(&contention.fraction) > 0 ||
              load_relaxed(&contention.latency) > 0;
    store_relaxed(&bl__contended_on, (uint32_t)on);
}

void bl_profile_block(bl_dur rate)
{
    store_relaxed(&contention.rate, rate > 0 ? rate : 0);
    contention_switch();
}

void bl_profile_mutex(int fraction)
{
    store_relaxed(&contention.fraction, fraction > 0 ? (uint32_t)fraction : 0u);
    contention_switch();
}

void bl_profile_schedlatency(bl_dur rate)
{
    store_relaxed(&contention.latency, rate > 0 ? rate : 0);
    contention_switch();
    bl__trace_switch(BL__TRACE_LATENCY, rate > 0);
}

#define BLOCK_RATE (10 * BL_US) /* where none was given */

bool bl__contended_start(bl__contended which)
{
    if (which == BL__CONTENDED_MUTEX   ? load_relaxed(&contention.fraction) != 0
        : which == BL__CONTENDED_BLOCK ? load_relaxed(&contention.rate) != 0
                                       : load_relaxed(&contention.latency) != 0)
        return false;
    if (which == BL__CONTENDED_MUTEX)
        bl_profile_mutex(1);
    else if (which == BL__CONTENDED_BLOCK)
        bl_profile_block(BLOCK_RATE);
    else
        bl_profile_schedlatency(BLOCK_RATE);
    return true;
}

void bl__contended_stop(bl__contended which)
{
    if (which == BL__CONTENDED_MUTEX)
        bl_profile_mutex(0);
    else if (which == BL__CONTENDED_BLOCK)
        bl_profile_block(0);
    else
        bl_profile_schedlatency(0);
}

void bl__contended_begin(void)
{
    int64_t rate = bl__debug_setting("blockprofile"), fraction = bl__debug_setting("mutexprofile");
    int64_t latency = bl__debug_setting("schedprofile");
    if (latency > 0)
        bl_profile_schedlatency(latency);
    if (rate > 0)
        bl_profile_block(rate);
    if (fraction > 0)
        bl_profile_mutex(fraction < INT_MAX ? (int)fraction : INT_MAX);
}

/* One of n, evenly. */
static uint64_t draw_of(uint64_t n)
{
    uint64_t z = (add_relaxed(&contention.draws, UINT64_C(1)) + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

static void contention_put(bl__contended which, const bl__trace *trace, int64_t count,
                           bl_dur waited)
{
    const int64_t values[BL__STACK_VALUES] = {count, waited};
    bl__lock(&contention.lock, BL__RANK_PROFILE);
    if (contention.stacks[which].count < STACKS_MOST)
        bl__stacks_add(&contention.stacks[which], trace, NULL, values);
    bl__unlock(&contention.lock);
}

static void contention_add(bl__contended which, int64_t count, bl_dur waited)
{
    bl__trace trace;
    bl__trace_here(&trace, __builtin_return_address(0));
    contention_put(which, &trace, count, waited);
}

/* Of a wait: how many it stands for, and how long it counts; 0: it is not in the sample, which has
 * as much time in all as there was, and as many waits: rate / t each in the mean. */
static int64_t sample(bl_dur rate, bl_dur *waited)
{
    bl_dur t = *waited > 0 ? *waited : 1;
    if (t >= rate) {
        *waited = t;
        return 1;
    }
    if ((bl_dur)draw_of((uint64_t)rate) >= t)
        return 0;
    *waited = rate;
    return rate / t + ((bl_dur)draw_of((uint64_t)t) < rate % t);
}

void bl__contended_block(bl__reason reason, bl_dur waited)
{
    bl_dur rate = load_relaxed(&contention.rate);
    if (rate == 0 || reason == BL__WAIT_SLEEP || reason == BL__WAIT_IO ||
        reason == BL__WAIT_BLOCKING)
        return;
    int64_t count = sample(rate, &waited);
    if (count > 0)
        contention_add(BL__CONTENDED_BLOCK, count, waited);
}

void bl__contended_resumed(bl__g *g)
{
    bl_time since = g->ready_at;
    bl_dur rate = load_relaxed(&contention.latency);
    g->ready_at = 0;
    if (since == 0 || rate == 0)
        return;
    bl_dur waited = bl__clock() - since;
    int64_t count = sample(rate, &waited);
    if (count > 0)
        contention_add(BL__CONTENDED_LATENCY, count, waited);
}

void bl__contended_began(bl_fn fn, bl_dur waited)
{
    bl_dur rate = load_relaxed(&contention.latency);
    int64_t count = rate > 0 ? sample(rate, &waited) : 0;
    bl__trace trace = {.total = 1, .inner = {(uintptr_t)fn}};
    if (count > 0)
        contention_put(BL__CONTENDED_LATENCY, &trace, count, waited);
}

void bl__contended_unlock(bl_dur waited)
{
    uint32_t fraction = load_relaxed(&contention.fraction);
    if (fraction == 0 || waited <= 0 || draw_of(fraction) != 0)
        return;
    bl_dur scaled = waited;
    if (__builtin_mul_overflow(waited, (bl_dur)fraction, &scaled))
        scaled = INT64_MAX;
    contention_add(BL__CONTENDED_MUTEX, fraction, scaled);
}

void bl__contended_copy(bl__contended which, bl__stacks *to)
{
    const bl__stacks *from = &contention.stacks[which];
    bl__lock(&contention.lock, BL__RANK_PROFILE);
    for (size_t i = 0; i < from->count; i++)
        bl__stacks_add_part(to, from, &from->entries[i], 0, from->entries[i].depth);
    bl__unlock(&contention.lock);
}
