/* SPDX-License-Identifier: MIT */
/* What is seldom seen: layers of scopes, threads, what has been stopped, what was thrown away. */
#include <belay/debug.h>
#include <belay/map.h>

#include <pthread.h>
#include <time.h>

#include "leaks.h"

static int recv_one(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v); /* @one_recv */
}

static int send_one(void *arg)
{
    int v = 1;
    return bl_chan_send((bl_chan *)arg, &v); /* @one_send */
}

/* ---- Layers ---- */

static int inner_layer(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "inner");
    bl_go(s, send_one, bl_scope_chan(s, sizeof(int), 0)); /* @inner_chan */
    return bl_scope_wait(s);                              /* @inner_wait */
}

static int middle_layer(void *arg)
{
    BL_SCOPE(s, .name = "middle");
    bl_go(s, inner_layer, arg);
    return bl_scope_wait(s); /* @middle_wait */
}

static int outer_layer(void *arg)
{
    BL_SCOPE(s, .name = "outer");
    bl_go(s, middle_layer, arg);
    return bl_scope_wait(s); /* @outer_wait */
}

/*? three_layers_down deadlock
 * outer_layer@outer_wait [scope wait] waits on scope "outer"
 * middle_layer@middle_wait [scope wait] waits on scope "middle"
 * inner_layer@inner_wait [scope wait] waits on scope "inner"
 * send_one@one_send [chan send] made by inner_layer at @inner_chan; cause: nobody is left to receive; in scope "inner"
 */
static int three_layers_down(void *arg)
{
    bl_go(bl_root(), outer_layer, arg);
    return go_on();
}

static int group_in_group(void *arg)
{
    bl_waitgroup *wg = arg;
    int r = bl_waitgroup_wait(wg); /* @group_wait */
    return r;
}

static int waits_for_its_opener(void *arg)
{
    (void)arg;
    bl_waitgroup wg = {0};
    BL_SCOPE(s, .name = "children");
    bl_waitgroup_add(&wg, 1);
    bl_go(s, group_in_group, &wg);
    int r = bl_scope_wait(s); /* @group_join */
    bl_waitgroup_done(&wg);   /* which the child waits for */
    return r;
}

/*? child_waits_for_its_opener deadlock
 * waits_for_its_opener@group_join [scope wait] waits on scope "children"
 * group_in_group@group_wait [sync.WaitGroup.Wait] (count 1); cause: nobody is left to call done
 */
static int child_waits_for_its_opener(void *arg)
{
    bl_go(bl_root(), waits_for_its_opener, arg);
    return go_on();
}

/* ---- Pools ---- */

static int pool_of_receivers(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "decoding");
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 2, .name = "decoders"});
    bl_chan *frames = bl_scope_chan(s, sizeof(int), 0); /* @frames */
    if (bl_pool_submit(p, recv_one, frames) < 0)
        return 1;
    return bl_scope_wait(s); /* @decode_wait */
}

/*? job_receives_from_nobody deadlock
 * pool_of_receivers@decode_wait [scope wait] waits on scope "decoding"
 * recv_one@one_recv [chan receive] made by pool_of_receivers at @frames; cause: nobody is left to send
 */
static int job_receives_from_nobody(void *arg)
{
    bl_go(bl_root(), pool_of_receivers, arg);
    return go_on();
}

static int submits_before_it_sends(void *arg)
{
    int r = 0;
    (void)arg;
    BL_SCOPE(s, .name = "feeding");
    bl_pool *p =
        bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 1, .name = "eaters"}); /* @eaters */
    bl_chan *food = bl_scope_chan(s, sizeof(int), 0);                                /* @food */
    for (int i = 0; r == 0 && i < 4; i++)
        r = bl_pool_submit(p, recv_one, food); /* @eater_submit */
    for (int i = 0; r == 0 && i < 4; i++)
        r = bl_chan_send(food, &i);
    return r;
}

/*? full_pool_waits_for_its_submitter deadlock
 * submits_before_it_sends@eater_submit [pool submit] waits on pool "eaters"; made by submits_before_it_sends at @eaters; cause: the queue is full
 * recv_one@one_recv [chan receive] made by submits_before_it_sends at @food; cause: nobody is left to send
 */
static int full_pool_waits_for_its_submitter(void *arg)
{
    bl_go(bl_root(), submits_before_it_sends, arg);
    return go_on();
}

typedef struct batch {
    bl_waitgroup wg;
    bl_pool *pool;
} batch;

/* It lasts until the others are dropped. */
static int job_done(void *arg)
{
    batch *b = arg;
    bl_pool_stat st;
    int r = 0;
    while (bl_pool_stats(b->pool, &st), r == 0 && st.discarded == 0)
        r = bl_sleep(BL_MS);
    bl_waitgroup_done(&b->wg);
    return r;
}

static int stops_pool_and_waits(void *arg)
{
    batch b = {.pool = NULL};
    bl_pool_stat st;
    (void)arg;
    BL_SCOPE(s, .name = "batch");
    b.pool = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 8});
    for (int i = 0; i < 4; i++) {
        bl_waitgroup_add(&b.wg, 1);
        if (bl_pool_submit(b.pool, job_done, &b) < 0)
            return 1;
    }
    while (bl_pool_stats(b.pool, &st), st.running == 0)
        bl_yield();
    if (bl_pool_stop(b.pool, BL_NEVER) != 3)
        return 1;
    return bl_waitgroup_wait(&b.wg); /* for those that were dropped, too @batch_wait */
}

/*? dropped_jobs_are_not_done deadlock
 * stops_pool_and_waits@batch_wait [sync.WaitGroup.Wait] (count 3); cause: nobody is left to call done
 */
static int dropped_jobs_are_not_done(void *arg)
{
    bl_go(bl_root(), stops_pool_and_waits, arg);
    return go_on();
}

/* ---- Once ---- */

static bl_once config;

static int load_config(void *arg)
{
    if (arg != NULL)
        bl_once_do(&config, load_config, NULL); /* @once_again */
    return 0;
}

static int use_config(void *arg)
{
    int r = bl_sleep(BL_MS);
    bl_once_do(&config, load_config, &config);
    return r + (arg != NULL);
}

/*? once_within_itself fatal sync: Once.Do called by the function that it runs - deadlock!
 * load_config@once_again [running]
 */
static int once_within_itself(void *arg)
{
    bl_go(bl_root(), use_config, arg);
    return go_on();
}

typedef struct registry {
    bl_once once;
    bl_waitgroup ready;
} registry;

static int wait_ready(void *arg)
{
    return bl_waitgroup_wait(&((registry *)arg)->ready); /* @ready_wait */
}

static int first_user(void *arg)
{
    bl_once_do(&((registry *)arg)->once, wait_ready, arg);
    return 0;
}

static int second_user(void *arg)
{
    registry *r = arg;
    int err = until_waiting(3);            /* all others */
    bl_once_do(&r->once, wait_ready, arg); /* @ready_once */
    bl_waitgroup_done(&r->ready);
    return err;
}

static int registry_part(void *arg)
{
    registry r = {.once = {0}};
    (void)arg;
    BL_SCOPE(s, .name = "registry");
    bl_waitgroup_add(&r.ready, 1);
    bl_go(s, first_user, &r);
    bl_go(s, second_user, &r);
    return bl_scope_wait(s); /* @registry_wait */
}

/*? once_waits_for_its_waiter deadlock
 * registry_part@registry_wait [scope wait] waits on scope "registry"
 * wait_ready@ready_wait [sync.WaitGroup.Wait] (count 1); cause: nobody is left to call done
 * second_user@ready_once [sync.Once.Do] (first_user) runs it, and is itself in sync.WaitGroup.Wait
 */
static int once_waits_for_its_waiter(void *arg)
{
    bl_go(bl_root(), registry_part, arg);
    return go_on();
}

/* ---- Channels: global, in memory, in channels ---- */

static bl_chan *results;

static int fails_early(void *arg) { return arg == NULL ? 0 : send_one(results); }

/*? global_channel_of_the_dead global
 * global_channel_of_the_dead@results_recv [chan receive] made by global_channel_of_the_dead at @results_chan; cause: nobody is left to send
 */
static int global_channel_of_the_dead(void *arg)
{
    int v;
    BL_SCOPE(s, .keep_going = true);
    results = bl_chan_new(sizeof(int), 0); /* @results_chan */
    bl_go(s, fails_early, arg);
    bl_go(s, fails_early, arg);
    return bl_chan_recv(results, &v); /* @results_recv */
}

typedef struct session {
    bl_chan *in, *out;
    char name[32];
} session;

static int session_run(void *arg)
{
    session *x = arg;
    int v;
    for (;;) {
        if (bl_chan_recv(x->in, &v) < 0) /* @session_recv */
            return 0;
        if (bl_chan_send(x->out, &v) < 0)
            return 0;
    }
}

static __attribute__((noinline)) int session_open(bl_scope *s, int i)
{
    session *x = calloc(1, sizeof *x);
    x->in = bl_chan_new(sizeof(int), 0); /* @session_chan */
    x->out = bl_chan_new(sizeof(int), 1);
    snprintf(x->name, sizeof x->name, "session %d", i);
    return bl_go(s, session_run, x);
}

static int open_sessions(void *arg)
{
    for (int i = 0; i < 3; i++)
        if (session_open(arg, i) < 0)
            return 1;
    return 0;
}

/*? sessions_nobody_closes leak
 * session_run@session_recv [chan receive] made by session_open at @session_chan; cause: nobody is left to send; and 2 more
 */
static int sessions_nobody_closes(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "sessions");
    bl_go(s, open_sessions, s);
    return go_on();
}

static int drop_requests(void *arg)
{
    bl_chan *reply;
    while (bl_chan_recv((bl_chan *)arg, &reply) == 0)
        continue; /* without an answer */
    return 0;
}

static int client_part(void *arg)
{
    int v;
    (void)arg;
    BL_SCOPE(s, .name = "client");
    bl_chan *requests = bl_scope_chan(s, sizeof(bl_chan *), 0); /* @requests */
    bl_chan *reply = bl_scope_chan(s, sizeof(int), 0);          /* @reply */
    bl_go(s, drop_requests, requests);
    if (bl_chan_send(requests, &reply) < 0)
        return 1;
    return bl_chan_recv(reply, &v); /* @reply_recv */
}

/*? reply_never_sent deadlock
 * client_part@reply_recv [chan receive] made by client_part at @reply; cause: nobody is left to send
 * drop_requests [chan receive] made by client_part at @requests; cause: nobody is left to send
 */
static int reply_never_sent(void *arg)
{
    bl_go(bl_root(), client_part, arg);
    return go_on();
}

static int send_retained(void *arg)
{
    bl_chan *c = arg;
    int r = 0;
    for (int i = 0; r == 0 && i < 3; i++)
        r = bl_chan_send(c, &i); /* @retained_send */
    bl_chan_release(c);
    return r;
}

static int take_two(void *arg)
{
    int v;
    bl_chan *c = bl_chan_new(sizeof(int), 0); /* @retained_chan */
    bl_go((bl_scope *)arg, send_retained, bl_chan_retain(c));
    int r = bl_chan_recv(c, &v) < 0 || bl_chan_recv(c, &v) < 0;
    bl_chan_release(c);
    return r;
}

/*? retained_by_the_sender_alone leak
 * send_retained@retained_send [chan send] made by take_two at @retained_chan; cause: nobody is left to receive
 */
static int retained_by_the_sender_alone(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "takers");
    bl_go(s, take_two, s);
    return go_on();
}

static int select_of_the_dead(void *arg)
{
    bl_chan **c = arg;
    int v;
    return BL_SELECT(BL_RECV(c[0], &v), BL_RECV(c[1], &v), /* @dead_select */
                     BL_SEND(c[2], &v)) < 0;
}

static int forget_channels(void *arg)
{
    bl_chan *c[3];
    for (int i = 0; i < 3; i++)
        c[i] = bl_chan_new(sizeof(int), 0); /* @dead_chans */
    return bl_go_copy((bl_scope *)arg, select_of_the_dead, c, sizeof c);
}

/*? select_over_dead_channels leak
 * select_of_the_dead@dead_select [select] made by forget_channels at @dead_chans; cause: nobody is left; and 1 more
 */
static int select_over_dead_channels(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "selects");
    bl_go(s, forget_channels, s);
    bl_go(s, forget_channels, s);
    return go_on();
}

/* ---- Threads ---- */

static void *thread_that_ends(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0); /* @thread_chan */
    bl_go(bl_root(), recv_one, c);
    return arg;
}

/*? receiver_of_an_ended_thread leak
 * recv_one@one_recv [chan receive] made by thread_that_ends at @thread_chan; cause: nobody is left to send
 */
static int receiver_of_an_ended_thread(void *arg)
{
    pthread_t t;
    if (pthread_create(&t, NULL, thread_that_ends, arg) != 0)
        return 1;
    pthread_join(t, NULL);
    return go_on();
}

static int channel_of_a_call(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0); /* @call_chan */
    bl_go(bl_root(), send_one, c);
    return arg != NULL;
}

/*? sender_of_a_blocking_call leak
 * send_one@one_send [chan send] made by channel_of_a_call at @call_chan; cause: nobody is left to receive
 */
static int sender_of_a_blocking_call(void *arg)
{
    if (bl_blocking(channel_of_a_call, arg) != 0)
        return 1;
    return go_on();
}

/*? forgotten_in_a_register leak
 * send_one@one_send [chan send] made by forgotten_in_a_register at @forgotten; cause: nobody is left to receive
 */
static int forgotten_in_a_register(void *arg)
{
    int r;
    bl_go(bl_root(), send_one, bl_chan_new(sizeof(int), 0)); /* @forgotten */
    while ((r = bl_sleep(20 * BL_MS)) == 0)
        continue;
    return r + (arg != NULL);
}

/* It needs registers of its own, in which its caller may have left something. */
static __attribute__((noinline)) int serve(int rounds, bl_dur pause)
{
    int r = 0, slept = 0;
    for (int i = 0; i < rounds && r == 0; i++, slept += r == 0)
        r = bl_sleep(pause);
    return r != 0 ? r : slept;
}

static __attribute__((noinline)) int serve_on(void)
{
    int r;
    while ((r = serve(1 << 20, 20 * BL_MS)) > 0)
        continue;
    return r;
}

/*? forgotten_above_a_helper leak
 * send_one@one_send [chan send] made by forgotten_above_a_helper at @above; cause: nobody is left to receive
 */
static int forgotten_above_a_helper(void *arg)
{
    bl_go(bl_root(), send_one, bl_chan_new(sizeof(int), 0)); /* @above */
    int r = serve_on();
    return r + (arg != NULL);
}

/* ---- Locks, conditions, semaphores ---- */

typedef struct barrier {
    bl_mutex lock;
    bl_cond full;
    int missing;
} barrier;

static int reach_barrier(void *arg)
{
    barrier *b = arg;
    int r = 0;
    bl_mutex_lock(&b->lock);
    if (--b->missing == 0)
        bl_cond_broadcast(&b->full);
    while (r == 0 && b->missing > 0)
        r = bl_cond_wait(&b->full, &b->lock); /* @barrier_wait */
    bl_mutex_unlock(&b->lock);
    return r;
}

static int barrier_part(void *arg)
{
    barrier b = {.missing = 4};
    (void)arg;
    BL_SCOPE(s, .name = "barrier");
    for (int i = 0; i < 3; i++) /* one too few */
        bl_go(s, reach_barrier, &b);
    return bl_scope_wait(s); /* @barrier_join */
}

/*? one_too_few_for_the_barrier deadlock
 * barrier_part@barrier_join [scope wait] waits on scope "barrier"
 * reach_barrier@barrier_wait [sync.Cond.Wait] cause: nobody is left to signal it; and 2 more
 */
static int one_too_few_for_the_barrier(void *arg)
{
    bl_go(bl_root(), barrier_part, arg);
    return go_on();
}

static bl_rwmutex settings;

static int keep_settings(void *arg)
{
    bl_rwmutex_lock(&settings);
    return arg != NULL; /* without unlock */
}

static int read_settings(void *arg)
{
    int r = until_left(3);       /* the main goroutine and both of these */
    bl_rwmutex_rlock(&settings); /* @settings_rlock */
    bl_rwmutex_runlock(&settings);
    return r + (arg != NULL);
}

/*? write_lock_of_the_dead deadlock
 * read_settings@settings_rlock [sync.RWMutex.RLock] held by a goroutine that has ended; cause: a goroutine that has ended still holds it
 * read_settings@settings_rlock [sync.RWMutex.RLock] held by a goroutine that has ended
 */
static int write_lock_of_the_dead(void *arg)
{
    bl_go(bl_root(), keep_settings, arg);
    bl_go(bl_root(), read_settings, arg);
    bl_go(bl_root(), read_settings, arg);
    return go_on();
}

static int take_slot(void *arg)
{
    bl_sem *slots = arg;
    if (bl_sem_acquire(slots, 2) < 0) /* @slot_acquire */
        return 1;
    return 0; /* without release */
}

static int forget_slots(void *arg)
{
    bl_sem *slots = calloc(1, sizeof *slots);
    bl_sem_init(slots, 3);
    for (int i = 0; i < 3; i++)
        bl_go((bl_scope *)arg, take_slot, slots);
    return 0;
}

/*? slots_in_memory_nobody_has leak
 * take_slot@slot_acquire [semaphore] (1 free, the first in line wants 2); cause: nobody is left to release it; and 1 more
 */
static int slots_in_memory_nobody_has(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "slots");
    bl_go(s, forget_slots, s);
    return go_on();
}

/* ---- Pipes ---- */

static int read_pipe(void *arg)
{
    char b;
    return bl_pipe_read(arg, &b, 1) < 0; /* @pipe_read */
}

static int pipe_part(void *arg)
{
    bl_pipe *a, *b;
    (void)arg;
    BL_SCOPE(s, .name = "pipe");
    if (bl_pipe_new(&a, &b) < 0) /* @pipe_new */
        return 1;
    bl_go(s, read_pipe, a);
    int r = bl_scope_wait(s); /* @pipe_wait */
    bl_pipe_release(a);
    bl_pipe_release(b);
    return r;
}

/*? pipe_without_a_writer deadlock
 * pipe_part@pipe_wait [scope wait] waits on scope "pipe"
 * read_pipe@pipe_read [select] waits to read from a pipe, made by pipe_part at @pipe_new; cause: nobody is left to write to the other end
 */
static int pipe_without_a_writer(void *arg)
{
    bl_go(bl_root(), pipe_part, arg);
    return go_on();
}

typedef struct subscriber {
    bl_chan *messages;
    int got;
} subscriber;

static int read_messages(void *arg)
{
    subscriber *sub = arg;
    int m;
    (void)bl_label("topic", "news");
    while (bl_chan_recv(sub->messages, &m) == 0) /* @messages_recv */
        sub->got += m;
    return 0;
}

static __attribute__((noinline)) void subscriber_add(bl_map *map, bl_syncmap *shared, int id)
{
    subscriber *sub = calloc(1, sizeof *sub);
    char one = 1;
    sub->messages = bl_chan_new(sizeof(int), 0); /* @messages_chan */
    if (id == 0)
        (void)bl_map_set(map, &sub, &one); /* as a key */
    else
        (void)bl_syncmap_store(shared, &id, sub);
    bl_go(bl_root(), read_messages, sub);
}

static bool subscriber_first(const void *key, void *value, void *arg)
{
    (void)value;
    memcpy(arg, key, sizeof(subscriber *));
    return false;
}

static int subscribers_come_and_go(void *arg)
{
    static bl_map *map, *cleared; /* with room for more: they are not built anew */
    static bl_syncmap *shared;
    subscriber *first = NULL;
    int id = 1;
    (void)arg;
    map = bl_map_new(sizeof(subscriber *), 1);
    cleared = bl_map_new(sizeof(subscriber *), 1);
    shared = bl_syncmap_new(sizeof id);
    subscriber_add(map, shared, 0);
    subscriber_add(cleared, shared, 0);
    subscriber_add(map, shared, id);
    bl_map_range(map, subscriber_first, &first);
    (void)bl_map_delete(map, &first);
    bl_map_clear(cleared);
    (void)bl_syncmap_delete(shared, &id);
    return 0;
}

/*? deleted_from_maps leak
 * read_messages@messages_recv [chan receive] made by subscriber_add at @messages_chan; labels: topic=news; cause: nobody is left to send; and 2 more like it
 */
static int deleted_from_maps(void *arg)
{
    bl_go(bl_root(), subscribers_come_and_go, arg);
    return go_on();
}

static __attribute__((noinline)) int receiver_begin(void *scope)
{
    return bl_go((bl_scope *)scope, recv_one, bl_chan_new(sizeof(int), 0)); /* @one_chan */
}

/* The program asks itself for a while, so that the finder's second question has to wait, and then
 * does nothing any more. */
/*? asks_and_is_idle leak
 * recv_one@one_recv [chan receive (leaked)] made by receiver_begin at @one_chan; cause: nobody is left to send
 */
static int asks_and_is_idle(void *arg)
{
    BL_SCOPE(s);
    bl_leak first;
    int r = bl_sleep(BL_SEC);
    if (bl_go(bl_root(), receiver_begin, s) != 0 || bl_sleep(50 * BL_MS) != 0)
        return 1;
    for (int i = 0; i < 10 && r == 0; i++)
        r = bl_leaks(&first, 1) != 1 || bl_sleep(10 * BL_MS) != 0;
    return bl_sleep(100 * BL_SEC) + r + (arg != NULL);
}

PROGRAMS({"three_layers_down", three_layers_down},
         {"child_waits_for_its_opener", child_waits_for_its_opener},
         {"job_receives_from_nobody", job_receives_from_nobody},
         {"full_pool_waits_for_its_submitter", full_pool_waits_for_its_submitter},
         {"dropped_jobs_are_not_done", dropped_jobs_are_not_done},
         {"once_within_itself", once_within_itself},
         {"once_waits_for_its_waiter", once_waits_for_its_waiter},
         {"global_channel_of_the_dead", global_channel_of_the_dead},
         {"sessions_nobody_closes", sessions_nobody_closes}, {"reply_never_sent", reply_never_sent},
         {"retained_by_the_sender_alone", retained_by_the_sender_alone},
         {"select_over_dead_channels", select_over_dead_channels},
         {"receiver_of_an_ended_thread", receiver_of_an_ended_thread},
         {"sender_of_a_blocking_call", sender_of_a_blocking_call},
         {"forgotten_in_a_register", forgotten_in_a_register},
         {"forgotten_above_a_helper", forgotten_above_a_helper},
         {"one_too_few_for_the_barrier", one_too_few_for_the_barrier},
         {"write_lock_of_the_dead", write_lock_of_the_dead},
         {"slots_in_memory_nobody_has", slots_in_memory_nobody_has},
         {"pipe_without_a_writer", pipe_without_a_writer}, {"deleted_from_maps", deleted_from_maps},
         {"asks_and_is_idle", asks_and_is_idle})
