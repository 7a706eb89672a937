/* SPDX-License-Identifier: MIT */
/* singles.h: the programs of cases.c that are not of its form. */

#define CASE(name) static int name(void *arg)
#define UNUSED (void)arg

static int toucher(void *arg)
{
    (void)arg;
    touch();
    return 0;
}
static int lock_toucher(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    touch();
    bl_mutex_unlock(&mutex);
    return 0;
}

/* ---- Goroutines and scopes ---- */

CASE(siblings)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, toucher, NULL));
    MUST(bl_go(s, toucher, NULL));
    return 0;
}
CASE(start)
{
    UNUSED;
    JOINED(s);
    touch();
    MUST(bl_go(s, toucher, NULL));
    return 0;
}
CASE(start_then_touch)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, toucher, NULL));
    touch();
    return 0;
}
CASE(join)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 20; i++) {
        MUST(bl_go(s, toucher, NULL));
        MUST(bl_scope_wait(s));
    }
    touch();
    return 0;
}
CASE(close_joins)
{
    UNUSED;
    {
        JOINED(s);
        MUST(bl_go(s, toucher, NULL));
    }
    touch();
    return 0;
}
CASE(join_of_another_scope)
{
    UNUSED;
    BL_SCOPE(a);
    BL_SCOPE(b);
    MUST(bl_go(a, toucher, NULL));
    MUST(bl_go(b, nothing, NULL));
    MUST(bl_scope_wait(b));
    touch();
    return 0;
}
CASE(siblings_locked)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 50; i++)
        MUST(bl_go(s, lock_toucher, NULL));
    return 0;
}
CASE(siblings_half_locked)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, lock_toucher, NULL));
    MUST(bl_go(s, toucher, NULL));
    return 0;
}
CASE(limit_of_one)
{
    UNUSED;
    BL_SCOPE(s, .limit = 1);
    for (int i = 0; i < 10; i++)
        MUST(bl_go(s, toucher, NULL));
    return 0;
}
static int deep(void *arg)
{
    volatile char frame[2000];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (char)i;
    (void)arg;
    bl_yield();
    return frame[7] == 7 ? 0 : -1;
}
CASE(stacks_again)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 400; i++)
        MUST(bl_go(s, deep, NULL));
    return 0;
}
/* Most of a frame is not touched: what lies below it is. */
static __attribute__((noinline)) int far_below(size_t bytes)
{
    volatile char frame[bytes];
    frame[0] = 1;
    bl_yield();
    return frame[0] == 1 ? 0 : -1;
}
static int far(void *arg)
{
    const size_t *bytes = arg;
    return far_below(*bytes);
}
CASE(stacks_again_far_below)
{
    UNUSED;
    JOINED(s);
    for (size_t i = 0; i < 400; i++) {
        size_t bytes = 1000 + i * 7919 % 90000;
        MUST(bl_go_copy(s, far, &bytes, sizeof bytes));
    }
    return 0;
}
/* As deep as a big frame; but the compiler would have touched each page of that
 * (-fstack-clash-protection). */
#define FAR_BELOW ((volatile char *)__builtin_frame_address(0) - 90000)
static int unread_write(void *arg)
{
    volatile char *low = FAR_BELOW;
    bl_pipe *ends[2];
    (void)arg;
    low[0] = 1;
    MUST(bl_pipe_new(&ends[0], &ends[1]));
    bl_pipe_release(ends[1]);
    int r = bl_pipe_write(ends[0], (const char *)low, 70000) == BL_EPIPE ? 0 : -1;
    bl_pipe_release(ends[0]);
    return r;
}
static int unread_overwrite(void *arg)
{
    volatile char *low = FAR_BELOW;
    (void)arg;
    for (size_t i = 0; i < 70000; i += 1000)
        low[i] = 1;
    return 0;
}
/* Given to a write that did not look at it, so most of it was never in memory. */
CASE(stacks_again_unread)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 400; i++) {
        MUST(bl_go(s, i % 80 < 40 ? unread_write : unread_overwrite, NULL));
        if (i % 40 == 39)
            bl_yield();
    }
    return 0;
}
static int copy_reader(void *arg) { return *(int *)arg == 7 ? 0 : -1; }
CASE(copy)
{
    int v = 7;
    UNUSED;
    JOINED(s);
    MUST(bl_go_copy(s, copy_reader, &v, sizeof v));
    v = 8;
    return 0;
}
static int shared_copier(void *arg)
{
    JOINED(s);
    (void)arg;
    MUST(bl_go_copy(s, nothing, &shared, sizeof shared));
    return 0;
}
CASE(copy_of_what_is_written)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, shared_copier, NULL));
    touch();
    MUST(bl_scope_wait(s));
    return 0;
}
CASE(heap_again)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 50; i++) {
        bl_chan *c = bl_chan_new(sizeof(int), 3);
        int v = i;
        MUST(bl_chan_send(c, &v));
        MUST(bl_chan_recv(c, &v));
        bl_chan_release(c);
        MUST(bl_go(s, lock_toucher, NULL));
    }
    return 0;
}

/* ---- Values in place ---- */

static int shared_sender(void *arg)
{
    (void)arg;
    MUST(bl_chan_send(chan, &shared));
    return 0;
}
static int shared_receiver(void *arg)
{
    (void)arg;
    MUST(bl_chan_recv(chan, &shared));
    return 0;
}
static int shared_pair(bl_fn fn, bool sends)
{
    long v = 1;
    JOINED(s);
    chan = bl_chan_new(sizeof shared, 1);
    MUST(bl_go(s, fn, NULL));
    touch();
    if (sends)
        MUST(bl_chan_send(chan, &v));
    return 0;
}
CASE(sent_while_written)
{
    UNUSED;
    return shared_pair(shared_sender, false);
}
CASE(received_while_written)
{
    long v = 1;
    UNUSED;
    JOINED(s);
    chan = bl_chan_new(sizeof shared, 1);
    MUST(bl_go(s, shared_receiver, NULL));
    MUST(bl_chan_send(chan, &v));
    touch();
    return 0;
}
CASE(received_after_written)
{
    UNUSED;
    return shared_pair(shared_receiver, true);
}
CASE(sent_then_written)
{
    long got;
    UNUSED;
    JOINED(s);
    chan = bl_chan_new(sizeof shared, 0);
    MUST(bl_go(s, shared_sender, NULL));
    MUST(bl_chan_recv(chan, &got));
    touch();
    return 0;
}
CASE(pointers_through_a_channel)
{
    long *p;
    UNUSED;
    JOINED(s);
    bl_chan *c = bl_scope_chan(s, sizeof p, 2);
    for (int i = 0; i < 30; i++) {
        p = malloc(sizeof *p);
        *p = i;
        MUST(bl_chan_send(c, &p));
        MUST(bl_chan_recv(c, &p));
        free(p);
    }
    return 0;
}

/* A buffer of two: the third send comes after the first receive, and not after the second. */
static int two_receiver(void *arg)
{
    int v;
    if (arg != NULL)
        touch();
    MUST(bl_chan_recv(chan, &v));
    if (arg == NULL)
        touch();
    MUST(bl_chan_recv(chan, &v));
    MUST(bl_chan_recv(chan, &v));
    return 0;
}
static int two_main(void *before)
{
    int v = 0;
    JOINED(s);
    chan = bl_chan_new(sizeof v, 2);
    MUST(bl_chan_send(chan, &v));
    MUST(bl_chan_send(chan, &v));
    MUST(bl_go(s, two_receiver, before));
    MUST(bl_chan_send(chan, &v));
    touch();
    return 0;
}
CASE(third_send_after_first_receive)
{
    UNUSED;
    return two_main(&shared);
}
CASE(third_send_and_second_receive)
{
    UNUSED;
    return two_main(NULL);
}

/* A semaphore made of a channel. */
static int tokens_touch(void *arg)
{
    int v = 1;
    (void)arg;
    MUST(bl_chan_send(chan, &v));
    touch();
    MUST(bl_chan_recv(chan, &v));
    return 0;
}
static int tokens_main(size_t n)
{
    JOINED(s);
    chan = bl_chan_new(sizeof(int), n);
    for (int i = 0; i < 4; i++)
        MUST(bl_go(s, tokens_touch, NULL));
    return 0;
}
CASE(one_token)
{
    UNUSED;
    return tokens_main(1);
}
CASE(two_tokens)
{
    UNUSED;
    return tokens_main(4);
}

/* ---- Objects ---- */

static int mutex_user(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    bl_mutex_unlock(&mutex);
    return 0;
}
CASE(mutex_overwritten)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, mutex_user, NULL));
    MUST(bl_sleep(5 * BL_MS));
    mutex.bl__word = 0;
    return 0;
}
CASE(mutex_copied)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, mutex_user, NULL));
    MUST(bl_sleep(5 * BL_MS));
    bl_mutex copy = mutex;
    return copy.bl__tick == 1;
}
static int local_locker(void *arg)
{
    bl_mutex_lock(arg);
    bl_mutex_unlock(arg);
    return 0;
}
CASE(mutex_in_a_frame)
{
    UNUSED;
    for (int i = 0; i < 10; i++) {
        bl_mutex m = {0};
        JOINED(s);
        MUST(bl_go(s, local_locker, &m));
        MUST(bl_go(s, local_locker, &m));
    }
    return 0;
}
static int group_waiter(void *arg)
{
    (void)arg;
    MUST(bl_waitgroup_wait(&group));
    touch();
    return 0;
}
CASE(group_as_mutex)
{
    UNUSED;
    JOINED(s);
    bl_waitgroup_add(&group, 1);
    MUST(bl_go(s, group_waiter, NULL));
    MUST(bl_go(s, group_waiter, NULL));
    bl_waitgroup_done(&group);
    return 0;
}
CASE(group_of_many)
{
    static long parts[20];
    static int seven = 7;
    UNUSED;
    JOINED(s);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++)
            MUST(bl_waitgroup_go(&group, s, copy_reader, &seven));
        MUST(bl_waitgroup_wait(&group));
        for (int i = 0; i < 20; i++)
            parts[i]++;
    }
    return 0;
}
CASE(group_go)
{
    UNUSED;
    JOINED(s);
    MUST(bl_waitgroup_go(&group, s, toucher, NULL));
    MUST(bl_waitgroup_wait(&group));
    touch();
    return 0;
}
static int adder(void *arg)
{
    (void)arg;
    bl_waitgroup_add(&group, 1);
    bl_waitgroup_done(&group);
    return 0;
}
CASE(group_add_beside_wait)
{
    UNUSED;
    JOINED(s);
    bl_waitgroup_add(&group, 1);
    MUST(bl_go(s, group_waiter, NULL));
    MUST(bl_go(s, group_waiter, NULL));
    bl_waitgroup_done(&group);
    MUST(bl_sleep(5 * BL_MS));
    MUST(bl_go(s, adder, NULL));
    return 0;
}
static int once_toucher(void *arg)
{
    (void)arg;
    bl_once_do(&once, toucher, NULL);
    return shared == 3 ? 0 : -1; /* touched once */
}
CASE(once_by_many)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 10; i++)
        MUST(bl_go(s, once_toucher, NULL));
    return 0;
}
static int reader(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&rwmutex);
    long seen = shared;
    bl_rwmutex_runlock(&rwmutex);
    return seen < 0 ? -1 : 0;
}
static int writer(void *arg)
{
    (void)arg;
    bl_rwmutex_lock(&rwmutex);
    touch();
    bl_rwmutex_unlock(&rwmutex);
    return 0;
}
static int read_toucher(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&rwmutex);
    touch();
    bl_rwmutex_runlock(&rwmutex);
    return 0;
}
static int eight(bl_fn a, bl_fn b)
{
    JOINED(s);
    for (int i = 0; i < 4; i++) {
        MUST(bl_go(s, a, NULL));
        MUST(bl_go(s, b, NULL));
    }
    return 0;
}
CASE(readers_and_writers)
{
    UNUSED;
    return eight(reader, writer);
}
CASE(readers_that_write)
{
    UNUSED;
    return eight(read_toucher, reader);
}

/* ---- Maps ---- */

static bl_map *plain_map;
static int map_setter(void *arg)
{
    (void)arg;
    int k = 1, v = 2;
    MUST(bl_map_set(plain_map, &k, &v));
    return 0;
}
static int map_setter_other(void *arg)
{
    (void)arg;
    int k = 2, v = 2;
    MUST(bl_map_set(plain_map, &k, &v));
    return 0;
}
static int map_getter(void *arg)
{
    (void)arg;
    int k = 3, v;
    (void)bl_map_get(plain_map, &k, &v);
    return 0;
}
static bool map_visit(const void *k, void *v, void *arg) { return k && v && !arg; }
static int map_ranger(void *arg)
{
    (void)arg;
    bl_map_range(plain_map, map_visit, NULL);
    return 0;
}
static int map_deleter(void *arg)
{
    (void)arg;
    int k = 9;
    (void)bl_map_delete(plain_map, &k);
    return 0;
}
static int map_locked(void *arg)
{
    bl_mutex_lock(&mutex);
    int r = map_setter(arg);
    bl_mutex_unlock(&mutex);
    return r;
}
static int map_two(bl_fn a, bl_fn b)
{
    JOINED(s);
    plain_map = bl_map_new(sizeof(int), sizeof(int));
    MUST(map_setter(NULL));
    MUST(bl_go(s, a, NULL));
    MUST(bl_go(s, b, NULL));
    return 0;
}
CASE(map_set_set)
{
    UNUSED;
    return map_two(map_setter, map_setter_other);
}
CASE(map_set_get)
{
    UNUSED;
    return map_two(map_setter, map_getter);
}
CASE(map_set_range)
{
    UNUSED;
    return map_two(map_setter, map_ranger);
}
CASE(map_delete_get)
{
    UNUSED;
    return map_two(map_deleter, map_getter);
}
CASE(map_get_range)
{
    UNUSED;
    return map_two(map_getter, map_ranger);
}
CASE(map_set_locked)
{
    UNUSED;
    return map_two(map_locked, map_locked);
}

/* ---- Timers, contexts, pools, blocking calls ---- */

CASE(timers_in_a_row)
{
    UNUSED;
    for (int i = 0; i < 5; i++) {
        timer_give();
        touch();
        timer_get();
    }
    return 0;
}
CASE(ticker)
{
    bl_time t;
    UNUSED;
    JOINED(s);
    touch();
    bl_ticker *tick = bl_ticker_new(s, BL_MS);
    for (int i = 0; i < 3; i++)
        MUST(bl_chan_recv(bl_ticker_chan(tick), &t));
    touch();
    return 0;
}
CASE(after_func_stop_wait)
{
    UNUSED;
    JOINED(s);
    MUST(bl_after_func(&timer, s, BL_MS, toucher, NULL));
    MUST(bl_sleep(5 * BL_MS));
    (void)bl_timer_stop_wait(&timer);
    touch();
    return 0;
}
CASE(after_func_beside)
{
    UNUSED;
    JOINED(s);
    MUST(bl_after_func(&timer, s, BL_MS, toucher, NULL));
    touch();
    MUST(bl_sleep(5 * BL_MS));
    return 0;
}
CASE(after_funcs)
{
    static bl_timer other;
    UNUSED;
    JOINED(s);
    MUST(bl_after_func(&timer, s, BL_MS, toucher, NULL));
    MUST(bl_after_func(&other, s, BL_MS, toucher, NULL));
    MUST(bl_sleep(5 * BL_MS));
    return 0;
}
static int fails(void *arg)
{
    touch();
    (void)arg;
    return BL_EIO;
}
CASE(failure_cancels)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, fails, NULL));
    while (bl_ctx_err(bl_scope_ctx(s)) == 0)
        if (bl_sleep(100 * BL_US) < 0)
            continue;
    touch();
    return 0;
}
static int jobs(int workers, bl_fn a, bl_fn b, bool drain)
{
    JOINED(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = workers, .queue = 1});
    for (int i = 0; i < 5; i++) {
        MUST(bl_pool_submit(p, a, NULL));
        MUST(bl_pool_submit(p, b, NULL));
    }
    MUST(bl_pool_drain(p));
    if (drain)
        touch();
    return 0;
}
CASE(pool_jobs)
{
    UNUSED;
    return jobs(3, toucher, nothing, false);
}
/* On one processor the first worker runs them all. */
CASE(pool_jobs_in_turn)
{
    UNUSED;
    JOINED(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 2});
    for (int i = 0; i < 4; i++)
        MUST(bl_pool_submit(p, toucher, NULL));
    MUST(bl_pool_drain(p));
    return 0;
}
CASE(pool_jobs_locked)
{
    UNUSED;
    return jobs(3, lock_toucher, lock_toucher, true);
}
CASE(pool_of_one)
{
    UNUSED;
    return jobs(1, toucher, toucher, true);
}
CASE(pool_frames)
{
    UNUSED;
    return jobs(2, deep, deep, false);
}
CASE(pool_submit_then_touch)
{
    UNUSED;
    JOINED(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 2});
    MUST(bl_pool_submit(p, toucher, NULL));
    touch();
    MUST(bl_pool_drain(p));
    return 0;
}
static int blocker(void *arg)
{
    MUST(bl_blocking(arg != NULL ? deep : toucher, NULL));
    return 0;
}
CASE(blocking_returns)
{
    UNUSED;
    touch();
    MUST(bl_blocking(toucher, NULL));
    touch();
    return 0;
}
CASE(blocking_beside)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, blocker, NULL));
    MUST(bl_go(s, blocker, NULL));
    MUST(bl_scope_wait(s));
    return 0;
}
CASE(blocking_frames)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 30; i++)
        MUST(bl_go(s, blocker, &shared));
    MUST(bl_scope_wait(s));
    return 0;
}
CASE(prints)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 5; i++)
        MUST(bl_go(s, deep, NULL));
    MUST(printf("%s", ""));
    return 0;
}

#include "memory.h"
#include "objects.h"
#include "pipes.h"
#include "shapes.h"

typedef struct single {
    const char *name;
    bl_fn fn;
    bool races;
} single;

#define RACES(fn)                                                                                  \
    {                                                                                              \
#fn, fn, true                                                                              \
    }
#define CLEAN(fn)                                                                                  \
    {                                                                                              \
#fn, fn, false                                                                             \
    }
static const single singles[] = {
    RACES(siblings),
    CLEAN(start),
    RACES(start_then_touch),
    CLEAN(join),
    CLEAN(close_joins),
    RACES(join_of_another_scope),
    CLEAN(siblings_locked),
    RACES(siblings_half_locked),
    CLEAN(limit_of_one),
    CLEAN(stacks_again),
    CLEAN(stacks_again_far_below),
    CLEAN(stacks_again_unread),
    CLEAN(copy),
    RACES(copy_of_what_is_written),
    CLEAN(heap_again),
    RACES(sent_while_written),
    RACES(received_while_written),
    CLEAN(received_after_written),
    CLEAN(sent_then_written),
    CLEAN(pointers_through_a_channel),
    CLEAN(third_send_after_first_receive),
    RACES(third_send_and_second_receive),
    CLEAN(one_token),
    RACES(two_tokens),
    RACES(mutex_overwritten),
    RACES(cond_overwritten),
    RACES(timer_overwritten),
    CLEAN(timer_again),
    CLEAN(timer_of_itself_stopped),
    CLEAN(timer_of_itself_awaited),
    RACES(sem_made_in_use),
    CLEAN(sem_again),
    RACES(read_into_shared),
    RACES(received_into_shared),
    RACES(written_from_shared),
    RACES(sent_from_shared),
    RACES(address_is_written),
    CLEAN(behind_the_address),
    RACES(mutex_copied),
    CLEAN(mutex_in_a_frame),
    RACES(group_as_mutex),
    CLEAN(group_of_many),
    CLEAN(group_go),
    RACES(group_add_beside_wait),
    CLEAN(once_by_many),
    CLEAN(readers_and_writers),
    RACES(readers_that_write),
    RACES(map_set_set),
    RACES(map_set_get),
    RACES(map_set_range),
    RACES(map_delete_get),
    CLEAN(map_get_range),
    CLEAN(map_set_locked),
    CLEAN(timers_in_a_row),
    CLEAN(ticker),
    CLEAN(after_func_stop_wait),
    RACES(after_func_beside),
    RACES(after_funcs),
    CLEAN(failure_cancels),
    RACES(pool_jobs),
    RACES(pool_jobs_in_turn),
    CLEAN(pool_jobs_locked),
    CLEAN(pool_of_one),
    CLEAN(pool_frames),
    RACES(pool_submit_then_touch),
    CLEAN(blocking_returns),
    RACES(blocking_beside),
    CLEAN(blocking_frames),
    CLEAN(prints),
    CLEAN(pipe_write_to_read),
    CLEAN(pipe_read_to_written),
    RACES(pipe_write_overwritten),
    RACES(pipe_written_and_read),
    CLEAN(pipe_reads_into_it),
    RACES(pipe_reads_into_anothers),
    CLEAN(pipe_close_to_end),
    RACES(memset_is_seen),
    RACES(bzero_is_seen),
    RACES(mempcpy_is_seen),
    RACES(strcat_is_seen),
    RACES(strtol_is_seen),
    RACES(strdup_is_seen),
    RACES(sscanf_is_seen),
    RACES(sscanf_writes),
    RACES(memccpy_reads),
    RACES(memccpy_writes),
    RACES(stpncpy_is_seen),
    RACES(bcopy_is_seen),
    RACES(gettimeofday_is_seen),
    RACES(strftime_is_seen),
    RACES(strtok_r_is_seen),
    RACES(strcoll_is_seen),
    RACES(swab_reads),
    RACES(swab_writes),
    RACES(explicit_bzero_is_seen),
    RACES(dprintf_is_seen),
    RACES(inet_pton_is_seen),
    RACES(getaddrinfo_is_seen),
    RACES(setsockopt_is_seen),
    RACES(connect_is_seen),
    RACES(socketpair_is_seen),
    RACES(epoll_wait_is_seen),
    RACES(select_is_seen),
    RACES(gethostname_is_seen),
    CLEAN(swab_beside),
    CLEAN(dprintf_beside),
    CLEAN(connect_beside),
    CLEAN(epoll_wait_of_fewer),
    CLEAN(select_of_fewer),
    CLEAN(select_of_too_many),
    CLEAN(strncat_beside),
    CLEAN(atoi_beside),
    CLEAN(sscanf_beside),
    CLEAN(memccpy_beside),
    CLEAN(strftime_beside),
    CLEAN(copies_of_libc),
    CLEAN(strtol_without_base),
    CLEAN(strsep_at_the_end),
    RACES(label_is_read),
    RACES(string_key_is_read),
    RACES(loaded_value_is_written),
    RACES(deadline_is_written),
    CLEAN(select_of_untyped),
    CLEAN(waits_where_frames_were),
    CLEAN(thread_waits_where_frames_were),
    RACES(thread_beside),
    CLEAN(thread_locals),
    CLEAN(descriptors_again),
    CLEAN(jobs_before_the_join),
    CLEAN(signal_without_the_mutex),
    CLEAN(handler_while_all_wait),
    RACES(stored_and_never_read),
    RACES(read_and_known),
    RACES(field_of_a_local),
    RACES(field_of_a_local_read),
    RACES(element_of_a_local),
    CLEAN(other_field_of_a_local),
    RACES(neighbours_in_a_byte),
    RACES(byte_of_a_word),
    CLEAN(bytes_of_a_word),
    RACES(half_sent_and_written),
    CLEAN(half_sent_other_written),
    RACES(loop_variable),
    RACES(sorted_and_written),
    RACES(formatted_and_read),
    RACES(block_freed_after_a_read),
    RACES(block_read_and_written),
    CLEAN(last_user_frees),
    RACES(length_is_polled),
    RACES(jobs_are_counted),
    RACES(goroutines_are_counted),
    CLEAN(channel_as_group),
    RACES(channel_as_group_too_early),
    CLEAN(channel_as_mutex_in_selects),
    CLEAN(checked_twice),
    RACES(checked_twice_without_atomics),
    RACES(grandchild_is_not_joined),
};
