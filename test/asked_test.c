/* SPDX-License-Identifier: MIT */
/* asked_test.c: calls that never wait let others run when they are asked to: a loop of them does not
 * keep its processor. */
// procs: own
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/map.h>
#include <belay/test.h>

#include <fcntl.h>
#include <unistd.h>

#include "core/proc.h"
#include "run.h"

typedef struct big {
    char bytes[40];
} big;

/* What the calls are made on: each can go on at once, again and again. */
static struct {
    bl_scope *scope;
    bl_chan *words, *bigs, *none, *closed;
    bl_mutex mutex, held;
    bl_rwmutex rw;
    bl_cond cond;
    bl_waitgroup wg;
    bl_once once;
    bl_sem sem;
    bl_map *map;
    bl_syncmap *shared;
    bl_timer timer;
    bl_ticker *ticker;
    bl_pool *pool;
    bl_pipe *near, *far;
    int fd;
    int key;
} on;

static int nothing(void *arg) { return arg != NULL; }

/* The result is of no interest. */
#define DO(call)                                                                                   \
    do {                                                                                           \
        __auto_type result = (call);                                                               \
        (void)result;                                                                              \
    } while (0)

static void call_now(void) { DO(bl_now()); }
static void call_in(void) { DO(bl_in(BL_SEC)); }
static void call_send(void) { DO(bl_chan_send(on.words, &(uint64_t){1})); }
static void call_recv(void) { DO(bl_chan_recv(on.closed, (uint64_t *)NULL)); }
static void call_send_big(void) { DO(bl_chan_send(on.bigs, &(big){{0}})); }
static void call_recv_big(void)
{
    big b;
    DO(bl_chan_recv(on.bigs, &b));
}
static void call_send_until(void) { DO(bl_chan_send_until(on.words, &(uint64_t){1}, BL_NEVER)); }
static void call_recv_until(void) { DO(bl_chan_recv_until(on.closed, (uint64_t *)NULL, BL_NEVER)); }
static void call_try_send(void) { DO(bl_chan_try_send(on.none, &(uint64_t){1})); }
static void call_try_recv(void) { DO(bl_chan_try_recv(on.none, (uint64_t *)NULL)); }
static void call_len(void) { DO(bl_chan_len(on.words)); }
static void call_select(void) { DO(BL_SELECT(BL_RECV(on.closed, NULL))); }
static void call_try_select(void)
{
    bl_case cs[] = {BL_RECV(on.none, NULL)};
    DO(bl_try_select(cs, 1));
}
static void call_select_until(void)
{
    bl_case cs[] = {BL_RECV(on.closed, NULL)};
    DO(bl_select_until(cs, 1, BL_NEVER));
}
static void call_lock(void)
{
    bl_mutex_lock(&on.mutex);
    bl_mutex_unlock(&on.mutex);
}
static void call_try_lock(void) { DO(bl_mutex_try_lock(&on.held)); }
static void call_lock_until(void)
{
    if (bl_mutex_lock_until(&on.mutex, BL_NEVER) == 0)
        bl_mutex_unlock(&on.mutex);
}
static void call_write_lock(void)
{
    bl_rwmutex_lock(&on.rw);
    bl_rwmutex_unlock(&on.rw);
}
static void call_read_lock(void)
{
    bl_rwmutex_rlock(&on.rw);
    bl_rwmutex_runlock(&on.rw);
}
static void call_try_write_lock(void)
{
    if (bl_rwmutex_try_lock(&on.rw))
        bl_rwmutex_unlock(&on.rw);
}
static void call_try_read_lock(void)
{
    if (bl_rwmutex_try_rlock(&on.rw))
        bl_rwmutex_runlock(&on.rw);
}
static void call_signal(void) { bl_cond_signal(&on.cond); }
static void call_broadcast(void) { bl_cond_broadcast(&on.cond); }
static void call_add(void)
{
    bl_waitgroup_add(&on.wg, 1);
    bl_waitgroup_done(&on.wg);
}
static void call_wait(void) { DO(bl_waitgroup_wait(&on.wg)); }
static void call_once(void) { bl_once_do(&on.once, nothing, NULL); }
static void call_try_acquire(void) { DO(bl_sem_try_acquire(&on.sem, 1)); }
static void call_acquire(void)
{
    bl_sem_release(&on.sem, 1);
    DO(bl_sem_acquire(&on.sem, 1));
}
static void call_err(void) { DO(bl_ctx_err(bl_ctx_current())); }
static void call_cause(void) { DO(bl_ctx_cause(bl_ctx_current())); }
static void call_value(void) { DO(bl_ctx_value(bl_ctx_current(), &on)); }
static void call_context(void) { bl_ctx_release(bl_ctx_with_cancel(bl_ctx_background())); }
static void call_map_set(void) { DO(bl_map_set(on.map, &on.key, &on.key)); }
static void call_map_get(void)
{
    int value;
    DO(bl_map_get(on.map, &on.key, &value));
}
static void call_map_delete(void) { DO(bl_map_delete(on.map, &on.key)); }
static void call_store(void) { DO(bl_syncmap_store(on.shared, &on.key, &on)); }
static void call_load(void)
{
    void *value;
    DO(bl_syncmap_load(on.shared, &on.key, &value));
}
static void call_load_or_store(void)
{
    void *value;
    DO(bl_syncmap_load_or_store(on.shared, &on.key, &on, &value));
}
static void call_swap(void) { DO(bl_syncmap_compare_and_swap(on.shared, &on.key, &on, &on)); }
static void call_syncmap_delete(void) { DO(bl_syncmap_delete(on.shared, &on.key)); }
static void call_timer_start(void) { DO(bl_timer_start(&on.timer, BL_MIN)); }
static void call_timer_reset(void) { DO(bl_timer_reset(&on.timer, BL_MIN)); }
static void call_timer_stop(void) { DO(bl_timer_stop(&on.timer)); }
static void call_ticker_reset(void) { bl_ticker_reset(on.ticker, BL_MIN); }
static void call_submit(void) { DO(bl_pool_submit(on.pool, nothing, NULL)); }
static void call_try_submit(void) { DO(bl_pool_try_submit(on.pool, nothing, NULL)); }
static void call_pipe_read(void) { DO(bl_pipe_read(on.far, NULL, 0)); }
static void call_pipe_write(void) { DO(bl_pipe_write(on.near, NULL, 0)); }
static void call_scope(void) { BL_SCOPE(s); }
static void call_fd_wait(void) { DO(bl_fd_wait(on.fd, BL_WRITABLE, BL_NEVER)); }
static void call_fd_write(void) { DO(bl_write(on.fd, "", 0)); }
static void call_fd_close(void) { DO(bl_close(-1)); }
static void call_goroutines(void) { DO(bl_goroutines()); }

#define CALL(name)                                                                                 \
    {                                                                                              \
#name, call_##name                                                                         \
    }
static const struct {
    const char *name;
    void (*make)(void);
} calls[] = {
    CALL(now),           CALL(in),
    CALL(send),          CALL(recv),
    CALL(send_big),      CALL(recv_big),
    CALL(send_until),    CALL(recv_until),
    CALL(try_send),      CALL(try_recv),
    CALL(len),           CALL(select),
    CALL(try_select),    CALL(select_until),
    CALL(lock),          CALL(try_lock),
    CALL(lock_until),    CALL(write_lock),
    CALL(read_lock),     CALL(try_write_lock),
    CALL(try_read_lock), CALL(signal),
    CALL(broadcast),     CALL(add),
    CALL(wait),          CALL(once),
    CALL(try_acquire),   CALL(acquire),
    CALL(err),           CALL(cause),
    CALL(value),         CALL(context),
    CALL(map_set),       CALL(map_get),
    CALL(map_delete),    CALL(store),
    CALL(load),          CALL(load_or_store),
    CALL(swap),          CALL(syncmap_delete),
    CALL(timer_start),   CALL(timer_reset),
    CALL(timer_stop),    CALL(ticker_reset),
    CALL(submit),        CALL(try_submit),
    CALL(pipe_read),     CALL(pipe_write),
    CALL(scope),         CALL(fd_wait),
    CALL(fd_write),      CALL(fd_close),
    CALL(goroutines),
};

static uint32_t turns; /* atomic: of the other goroutine */
static uint32_t over;  /* atomic */

static int take_turns(void *arg)
{
    (void)arg;
    for (; !load_relaxed(&over); bl_yield())
        add_relaxed(&turns, 1u);
    return 0;
}

/* Lets the other go on. It may be without a processor: sysmon has taken it, since its thread did
 * not get a CPU for long. */
static void turn_wait(void)
{
    for (uint32_t before = load_relaxed(&turns); load_relaxed(&turns) == before;)
        bl_yield();
}

/* Asks the caller's thread as sysmon does, and makes the call: has the other had a turn? Where a call
 * takes long, sysmon asks anew meanwhile, or takes the processor; who never yields does not at the
 * next try either. */
static bool yields(void (*make)(void))
{
    bool yielded = false;
    for (int tries = 0; tries < 5 && !yielded; tries++) {
        turn_wait();
        uint32_t before = load_relaxed(&turns);
        store_relaxed(&bl__this_m()->solo.yield, (uint16_t)1);
        make();
        yielded = load_relaxed(&bl__this_m()->solo.yield) == 0 && load_relaxed(&turns) != before;
        store_relaxed(&bl__this_m()->solo.yield, (uint16_t)0);
    }
    return yielded;
}

static void each_call(bl_test *t)
{
    BL_SCOPE(s);
    on.scope = s;
    on.words = bl_scope_chan(s, sizeof(uint64_t), 1000);
    on.bigs = bl_scope_chan(s, sizeof(big), 1000);
    on.none = bl_scope_chan(s, sizeof(uint64_t), 0);
    on.closed = bl_scope_chan(s, sizeof(uint64_t), 0);
    bl_chan_close(on.closed);
    bl_mutex_lock(&on.held);
    bl_sem_init(&on.sem, 1);
    on.map = bl_map_new(sizeof(int), sizeof(int));
    on.shared = bl_syncmap_new(sizeof(int));
    on.ticker = bl_ticker_new(s, BL_MIN);
    on.pool = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 100});
    BL_CHECK_EQ(t, bl_pipe_new(&on.near, &on.far), 0);
    on.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    BL_CHECK_EQ(t, bl_go(s, take_turns, NULL), 0);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        bl_log(t, "%s", calls[i].name);
        BL_CHECK(t, yields(calls[i].make));
    }
    store_relaxed(&over, 1u);
    bl_mutex_unlock(&on.held);
    (void)bl_timer_stop(&on.timer);
    (void)bl_pool_drain(on.pool);
    bl_pipe_release(on.near);
    bl_pipe_release(on.far);
    bl_map_free(on.map);
    bl_syncmap_free(on.shared);
    BL_CHECK_EQ(t, close(on.fd), 0);
}

static int each_call_main(void *t)
{
    each_call((bl_test *)t);
    return 0;
}

BL_TEST_PLAIN(each_call_yields_when_asked)
{
    BL_CHECK_EQ(t, bl_run(each_call_main, t, &(bl_options){.procs = 1}), 0);
}

/* ---- Loops ----------------------------------------------------------------------------------- */

enum { LOOPS = 6 }; /* more than may compute without a processor */

static int loop_now(void *arg)
{
    (void)arg;
    while (!load_relaxed(&over))
        DO(bl_now());
    return 0;
}

static int loop_err(void *arg)
{
    while (bl_ctx_err(bl_ctx_current()) == 0 && !load_relaxed(&over))
        (void)arg;
    return 0;
}

static int loop_big(void *arg)
{
    big b = {{0}};
    bl_chan *c = arg;
    while (!load_relaxed(&over))
        if (bl_chan_send(c, &b) != 0 || bl_chan_recv(c, &b) != 0)
            return BL_EIO;
    return 0;
}

/* The main goroutine sleeps, and has to come back. */
static int loops_main(void *arg)
{
    const bl_fn *loop = arg;
    BL_SCOPE(s);
    store_relaxed(&over, 0u);
    for (int i = 0; i < LOOPS; i++)
        bl_go(s, *loop, bl_scope_chan(s, sizeof(big), 4));
    int r = bl_sleep(BL_MS);
    store_relaxed(&over, 1u);
    int joined = bl_scope_wait(s);
    return r < 0 ? r : joined;
}

BL_TEST_PLAIN(loops_of_calls_starve_nobody)
{
    static const bl_fn loops[] = {loop_now, loop_err, loop_big};
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        BL_CHECK_EQ(t, bl_run(loops_main, (void *)(uintptr_t)&loops[i], &(bl_options){.procs = 1}),
                    0);
}
