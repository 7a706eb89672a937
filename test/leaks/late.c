/* SPDX-License-Identifier: MIT */
/* Told to stop, and they do not: loops that look at nothing, calls that no cancellation reaches, a shield. */
#include <time.h>
#include <unistd.h>

#include "leaks.h"

/* Starts fn in a scope that is cancelled soon, and joins it. */
static int cancel_soon(bl_fn fn, void *arg)
{
    BL_SCOPE(s, .name = "service", .timeout = 30 * BL_MS, .grace = 100 * BL_MS);
    bl_go(s, fn, arg);
    return bl_scope_wait(s);
}

/* ---- Loops ---- */

static volatile uint64_t ticks;

static int tick_for_ever(void *arg)
{
    bl_time now;
    bl_ticker *t = bl_ticker_new(bl_root(), 5 * BL_MS);
    (void)arg;
    for (;;) {
        if (bl_chan_recv(bl_ticker_chan(t), &now) == 0)
            ticks++;
    }
    return 0;
}

/*? ticker_loop late
 * tick_for_ever [] created by ticker_loop; in scope "service"; cause: a ticker loop that ignores the cancellation
 */
static int ticker_loop(void *arg)
{
    BL_SCOPE(s, .name = "service", .grace = 100 * BL_MS);
    bl_go(s, tick_for_ever, arg);
    while (ticks == 0) /* it has waited for one, which its report is about */
        if (bl_sleep(5 * BL_MS) < 0)
            return 1;
    bl_scope_cancel(s, 0);
    return bl_scope_wait(s);
}

static int select_for_ever(void *arg)
{
    BL_SCOPE(own);
    bl_ticker *t = bl_ticker_new(own, 5 * BL_MS);
    bl_chan *flushes = bl_scope_chan(own, sizeof(int), 0);
    for (int flushed;;)
        if (BL_SELECT(BL_RECV(flushes, &flushed), BL_RECV(bl_ticker_chan(t), NULL)) == 0)
            return arg != NULL;
}

/*? ticker_in_a_select late
 * select_for_ever [] created by cancel_soon; loop that ignores the cancellation
 */
static int ticker_in_a_select(void *arg) { return cancel_soon(select_for_ever, arg); }

static int restart_for_ever(void *arg)
{
    bl_timer t = {0};
    do
        bl_timer_start(&t, 2 * BL_MS);
    while (bl_chan_recv(bl_timer_chan(&t), NULL) != BL_ECLOSED);
    return arg != NULL;
}

/*? timer_loop late
 * restart_for_ever [] created by cancel_soon; cause: a timer loop that ignores the cancellation
 */
static int timer_loop(void *arg) { return cancel_soon(restart_for_ever, arg); }

static int try_for_ever(void *arg)
{
    while (bl_chan_try_recv((bl_chan *)arg, NULL) != 0)
        bl_yield();
    return 0;
}

/*? try_loop late
 * try_for_ever [] created by cancel_soon; loop; bl_ctx_err does
 */
static int try_loop(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    return cancel_soon(try_for_ever, c) + (arg != NULL);
}

static int poll_for_ever(void *arg)
{
    int *flag = arg;
    while (*(volatile int *)flag == 0)
        (void)!bl_sleep(2 * BL_MS);
    return 0;
}

/*? sleep_loop late
 * poll_for_ever [] created by cancel_soon; loop that ignores the cancellation
 */
static int sleep_loop(void *arg)
{
    static int flag;
    (void)arg;
    return cancel_soon(poll_for_ever, &flag);
}

static int compute_for_ever(void *arg)
{
    volatile uint64_t n = 1;
    while (n != 0)
        n += 2;
    return arg != NULL;
}

/*? cpu_loop late
 * compute_for_ever [running] created by cancel_soon; cause: a CPU loop
 */
static int cpu_loop(void *arg)
{
    bl_set_procs(2);
    return cancel_soon(compute_for_ever, arg);
}

static __attribute__((noinline)) uint64_t digest(uint64_t n)
{
    volatile uint64_t sum = n;
    for (int i = 0; i < 1000000; i++)
        sum = sum * 31 + 7;
    return sum;
}

static int digest_for_ever(void *arg)
{
    uint64_t n = 1;
    while (n != 0)
        n = digest(n) | 1; /* @digest_call */
    return arg != NULL;
}

/* Where the system lets us sample it. */
/*? cpu_loop_sampled late
 * digest [running] digest_for_ever; created by cancel_soon; @digest_call; cause: a CPU loop
 */
static int cpu_loop_sampled(void *arg)
{
    bl_set_procs(2);
    return cancel_soon(digest_for_ever, arg);
}

static int sleep_in_libc(void *arg)
{
    struct timespec t = {.tv_nsec = 200000000};
    for (;;)
        nanosleep(&t, NULL);
    return arg != NULL;
}

/*? libc_sleep_loop late
 * sleep_in_libc [running] created by cancel_soon; cause: its thread is in a sleep of the C library
 */
static int libc_sleep_loop(void *arg) { return cancel_soon(sleep_in_libc, arg); }

/* ---- Descriptors ---- */

static int read_plainly(void *arg)
{
    char c;
    ssize_t n = read(*(int *)arg, &c, 1); /* @plain_read */
    return n < 0;
}

/*? plain_read late
 * read_plainly@plain_read [running] created by cancel_soon; cause: its thread is in read(2) on descriptor
 */
static int plain_read(void *arg)
{
    int ends[2];
    (void)arg;
    return pipe(ends) != 0 ? 1 : cancel_soon(read_plainly, &ends[0]);
}

static int read_shielded(void *arg)
{
    char c;
    BL_SCOPE(s, .name = "flush", .shield = true);
    return bl_read(*(int *)arg, &c, 1) < 0; /* @shield_read */
}

/*? shielded_read late
 * read_shielded@shield_read [IO wait] waits on descriptor; in scope "service"; cause: the cancellation does not reach it; has no deadline
 */
static int shielded_read(void *arg)
{
    int ends[2];
    (void)arg;
    return pipe(ends) != 0 ? 1 : cancel_soon(read_shielded, &ends[0]);
}

static int read_shielded_for_a_time(void *arg)
{
    char c;
    BL_SCOPE(s, .name = "goodbye", .shield = true, .timeout = BL_MIN);
    return bl_read(*(int *)arg, &c, 1) < 0; /* @timed_read */
}

/*? shielded_read_for_a_time late
 * read_shielded_for_a_time@timed_read [IO wait] waits on descriptor; cause: the cancellation does not reach it; in scope "goodbye"; not: deadline
 */
static int shielded_read_for_a_time(void *arg)
{
    int ends[2];
    (void)arg;
    return pipe(ends) != 0 ? 1 : cancel_soon(read_shielded_for_a_time, &ends[0]);
}

/* ---- Locks and joins ---- */

typedef struct held {
    bl_mutex lock;
    bl_chan *taken;
} held;

static int hold_and_sleep(void *arg)
{
    held *h = arg;
    bl_mutex_lock(&h->lock);
    bl_chan_close(h->taken);
    BL_SCOPE(s, .shield = true);
    int r = bl_sleep(BL_HOUR);
    bl_mutex_unlock(&h->lock);
    return r;
}

static int wants_lock(void *arg)
{
    held *h = arg;
    (void)!bl_chan_recv(h->taken, NULL);
    bl_mutex_lock(&h->lock); /* @wants_lock */
    bl_mutex_unlock(&h->lock);
    return 0;
}

/*? lock_of_a_sleeper late
 * wants_lock@wants_lock [sync.Mutex.Lock] cause: goroutine 2 (hold_and_sleep) holds it, and is itself in sleep
 */
static int lock_of_a_sleeper(void *arg)
{
    (void)arg;
    static held h;
    h.taken = bl_chan_new(0, 0);
    bl_go(bl_root(), hold_and_sleep, &h);
    return cancel_soon(wants_lock, &h);
}

static int shielded_join(void *arg)
{
    BL_SCOPE(s, .name = "inner", .shield = true);
    bl_go(s, poll_for_ever, arg);
    return bl_scope_wait(s); /* @shielded_wait */
}

/*? join_in_a_shield late
 * shielded_join@shielded_wait [scope wait] waits on scope "inner"; cause: it joins goroutines that have not stopped
 * poll_for_ever [] created by shielded_join; in scope "inner"
 */
static int join_in_a_shield(void *arg)
{
    static int flag;
    (void)arg;
    return cancel_soon(shielded_join, &flag);
}

/*? left_at_exit left
 * read_plainly@plain_read [running] cause: its thread is in read(2) on descriptor
 */
static int left_at_exit(void *arg)
{
    static int ends[2];
    (void)arg;
    if (pipe(ends) != 0)
        return 1;
    bl_go(bl_root(), read_plainly, &ends[0]);
    return bl_sleep(10 * BL_MS);
}

PROGRAMS({"ticker_loop", ticker_loop}, {"ticker_in_a_select", ticker_in_a_select},
         {"timer_loop", timer_loop}, {"try_loop", try_loop}, {"sleep_loop", sleep_loop},
         {"cpu_loop", cpu_loop}, {"cpu_loop_sampled", cpu_loop_sampled},
         {"libc_sleep_loop", libc_sleep_loop}, {"plain_read", plain_read},
         {"shielded_read", shielded_read}, {"shielded_read_for_a_time", shielded_read_for_a_time},
         {"lock_of_a_sleeper", lock_of_a_sleeper}, {"join_in_a_shield", join_in_a_shield},
         {"left_at_exit", left_at_exit})
