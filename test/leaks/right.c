/* SPDX-License-Identifier: MIT */
/* All right, though it looks like what leaks: somebody comes, late; or they wait for their end, and get it. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "right.h"

static int send_late(void *arg)
{
    int v = 1;
    return nap(LONG) != 0 ? 1 : bl_chan_send((bl_chan *)arg, &v);
}

static int close_late(void *arg)
{
    int r = nap(LONG);
    bl_chan_close(arg);
    return r;
}

/*? late_sender right
 */
static int late_sender(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_one, c);
    bl_go(s, send_late, c);
    return bl_scope_wait(s);
}

/*? late_close right
 */
static int late_close(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 2);
    for (int i = 0; i < 4; i++)
        bl_go(s, recv_all, c);
    bl_go(s, close_late, c);
    return bl_scope_wait(s);
}

/*? abandoned_but_buffered right
 */
static int abandoned_but_buffered(void *arg)
{
    (void)arg;
    int v;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    bl_go(s, send_late, c);
    if (bl_chan_recv_until(c, &v, bl_in(5 * BL_MS)) != BL_ETIMEDOUT)
        return 1;
    return bl_scope_wait(s);
}

/*? idle_service right
 */
static int idle_service(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "service");
    bl_chan *inbox = bl_scope_chan(s, sizeof(int), 4);
    bl_go(s, recv_all, inbox); /* nothing comes, and the scope ends it */
    return nap(LONG);
}

static int service_loop(void *arg)
{
    int v, i;
    do
        i = BL_SELECT(BL_RECV((bl_chan *)arg, &v), BL_RECV(bl_ctx_done(bl_ctx_current()), NULL));
    while (i == 0);
    return 0;
}

static int start_service(bl_scope *s)
{
    bl_chan *inbox = bl_scope_chan(s, sizeof(int), 4);
    return bl_go(s, service_loop, inbox);
}

/*? service_until_done right
 */
static int service_until_done(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "services");
    for (int i = 0; i < 3; i++)
        if (start_service(s) < 0)
            return 1;
    return nap(LONG);
}

static int wait_for_end(void *arg)
{
    (void)arg;
    return bl_chan_recv(bl_ctx_done(bl_ctx_current()), NULL) == BL_ECLOSED ? 0 : 1;
}

/*? waits_for_its_end right
 */
static int waits_for_its_end(void *arg)
{
    BL_SCOPE(s);
    bl_go(s, wait_for_end, arg);
    bl_go(s, wait_for_end, arg);
    return nap(LONG);
}

/*? timeout_ends_it right
 */
static int timeout_ends_it(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .timeout = LONG);
    bl_go(s, recv_one, NULL);
    bl_go(s, recv_one, bl_scope_chan(s, sizeof(int), 0));
    return bl_scope_wait(s) != BL_ETIMEDOUT;
}

static int watch_ctx(void *arg)
{
    int r = bl_chan_recv(bl_ctx_done(arg), NULL);
    bl_ctx_release(arg);
    return r == BL_ECLOSED ? 0 : 1;
}

/*? context_cancelled_late right
 */
static int context_cancelled_late(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    bl_go(s, watch_ctx, bl_ctx_retain(c));
    int r = nap(LONG);
    bl_ctx_cancel(c, 0);
    bl_ctx_release(c);
    return r != 0 ? r : bl_scope_wait(s);
}

static int with_deadline(bl_scope *s)
{
    bl_ctx *c = bl_ctx_with_timeout(bl_ctx_background(), LONG);
    return bl_go(s, watch_ctx, c);
}

/*? context_with_deadline right
 */
static int context_with_deadline(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return with_deadline(s) < 0 ? 1 : bl_scope_wait(s);
}

static int use_value(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_value(bl_ctx_current(), "key", NULL);
    int r = bl_chan_recv(bl_ctx_done(c), NULL);
    bl_ctx_release(c);
    return r == BL_ECLOSED ? 0 : 1;
}

/*? context_with_value right
 */
static int context_with_value(void *arg)
{
    BL_SCOPE(s);
    bl_go(s, use_value, arg);
    return nap(LONG);
}

/* ---- Who can still get at it ---- */

static bl_chan *inbox; /* everybody can */

static int make_global(bl_scope *s)
{
    inbox = bl_chan_new(sizeof(int), 0);
    return bl_go(s, recv_one, inbox);
}

/*? global_channel right
 */
static int global_channel(void *arg)
{
    (void)arg;
    int v = 1;
    BL_SCOPE(s);
    if (make_global(s) < 0 || nap(LONG) != 0 || bl_chan_send(inbox, &v) < 0)
        return 1;
    int r = bl_scope_wait(s);
    bl_chan_release(inbox);
    return r;
}

typedef struct list {
    struct list *next;
    bl_chan *c;
} list;

static list *make_list(bl_scope *s)
{
    list *last = calloc(1, sizeof *last), *first = calloc(1, sizeof *first);
    first->next = last;
    last->c = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_one, last->c);
    return first;
}

/*? behind_memory right
 */
static int behind_memory(void *arg)
{
    (void)arg;
    int v = 1;
    BL_SCOPE(s);
    list *l = make_list(s);
    int r = nap(LONG) != 0 || bl_chan_send(l->next->c, &v) < 0;
    r = r != 0 ? r : bl_scope_wait(s);
    bl_chan_release(l->next->c);
    free(l->next);
    free(l);
    return r;
}

static int reply_later(void *arg)
{
    bl_chan *reply;
    int v = 1;
    if (bl_chan_recv((bl_chan *)arg, &reply) < 0 || nap(LONG) != 0)
        return 1;
    return bl_chan_send(reply, &v);
}

/*? reply_channel_in_a_channel right
 */
static int reply_channel_in_a_channel(void *arg)
{
    (void)arg;
    int v;
    BL_SCOPE(s);
    bl_chan *requests = bl_scope_chan(s, sizeof(bl_chan *), 1);
    bl_chan *reply = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, reply_later, requests);
    if (bl_chan_send(requests, &reply) < 0)
        return 1;
    return bl_chan_recv(reply, &v);
}

static int queued_reply(bl_scope *s, bl_chan *requests)
{
    bl_chan *reply = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_one, reply);
    return bl_chan_send(requests, &reply); /* it lies in the buffer, and nowhere else */
}

/*? in_the_buffer_of_a_channel right
 */
static int in_the_buffer_of_a_channel(void *arg)
{
    (void)arg;
    int v = 1;
    bl_chan *reply;
    BL_SCOPE(s);
    bl_chan *requests = bl_scope_chan(s, sizeof(bl_chan *), 1);
    if (queued_reply(s, requests) < 0 || nap(LONG) != 0 || bl_chan_recv(requests, &reply) < 0 ||
        bl_chan_send(reply, &v) < 0)
        return 1;
    int r = bl_scope_wait(s);
    bl_chan_release(reply);
    return r;
}

static void *send_from_thread(void *arg)
{
    int v = 1;
    struct timespec t = {.tv_nsec = LONG};
    nanosleep(&t, NULL);
    return bl_chan_send((bl_chan *)arg, &v) < 0 ? arg : NULL;
}

/*? plain_thread_sends right
 */
static int plain_thread_sends(void *arg)
{
    (void)arg;
    pthread_t t;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    if (pthread_create(&t, NULL, send_from_thread, c) != 0)
        return 1;
    bl_go(s, recv_one, c);
    int r = bl_scope_wait(s);
    pthread_join(t, NULL);
    return r;
}

static uint64_t compute(bl_dur d)
{
    uint64_t n = 1;
    for (bl_time end = bl_in(d); bl_now() < end;)
        for (int i = 0; i < 100000; i++)
            n = n * 6364136223846793005u + 1;
    return n;
}

static int group_of_receivers(void *arg)
{
    BL_SCOPE(s, .name = "receivers");
    bl_go(s, recv_one, arg);
    bl_go(s, recv_one, arg);
    return bl_scope_wait(s);
}

static bl_chan *feed_group(bl_scope *s)
{
    bl_chan *c = bl_chan_new(sizeof(uint32_t), 0);
    bl_go(s, group_of_receivers, c);
    return c;
}

/*? computes_and_then_sends right
 */
static int computes_and_then_sends(void *arg)
{
    (void)arg;
    bl_set_procs(2);
    BL_SCOPE(s);
    bl_chan *c = feed_group(s); /* the address may be in a register alone */
    uint32_t n = (uint32_t)compute(LONG);
    if (bl_chan_send(c, &n) < 0 || bl_chan_send(c, &n) < 0)
        return 1;
    int r = bl_scope_wait(s);
    bl_chan_release(c);
    return r;
}

/* ---- Timers, tickers, descriptors ---- */

static int fire(void *arg)
{
    bl_chan_close(arg);
    return 0;
}

/*? after_func_closes right
 */
static int after_func_closes(void *arg)
{
    (void)arg;
    bl_timer t = {0};
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_all, c);
    if (bl_after_func(&t, s, LONG, fire, c) < 0)
        return 1;
    return bl_scope_wait(s);
}

/*? timer_channel right
 */
static int timer_channel(void *arg)
{
    (void)arg;
    int v;
    bl_timer t = {0};
    BL_SCOPE(s);
    bl_chan *never = bl_scope_chan(s, sizeof(int), 0);
    bl_timer_start(&t, LONG);
    return BL_SELECT(BL_RECV(never, &v), BL_RECV(bl_timer_chan(&t), NULL)) != 1;
}

static int tick(void *arg)
{
    bl_time now;
    int n = 0;
    while (bl_chan_recv(bl_ticker_chan(arg), &now) == 0)
        n++;
    return n < 0;
}

/*? ticker_loop_that_stops right
 */
static int ticker_loop_that_stops(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, tick, bl_ticker_new(s, 300 * BL_MS));
    return nap(LONG);
}

static int three_ticks(void *arg)
{
    for (int i = 0; i < 3; i++)
        if (bl_chan_recv(bl_ticker_chan(arg), NULL) != 0)
            return 1;
    return 0;
}

/*? ticker_paused_for_a_while right
 */
static int ticker_paused_for_a_while(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ticker *t = bl_ticker_new(s, BL_HOUR);
    bl_ticker_stop(t);
    bl_go(s, three_ticks, t);
    int r = nap(LONG);
    bl_ticker_reset(t, BL_MS);
    return r != 0 ? r : bl_scope_wait(s);
}

static int fires(void *arg) { return bl_chan_recv(bl_timer_chan(arg), NULL); }

/*? timer_started_late right
 */
static int timer_started_late(void *arg)
{
    (void)arg;
    bl_timer t = {0};
    BL_SCOPE(s);
    bl_go(s, fires, &t);
    int r = nap(LONG);
    bl_timer_start(&t, BL_MS);
    return r != 0 ? r : bl_scope_wait(s);
}

/* ---- Scopes that are opened by one function and closed by another ---- */

__attribute__((noinline)) static int begin_work(bl_scope *s)
{
    char room[256];
    int r = bl_scope_open(s, &(bl_scope_opts){.name = "work"});
    memset(room, r, sizeof room);
    __asm__ volatile("" : : "r"(room) : "memory");
    return r;
}

/*? scope_opened_by_a_helper right
 */
static int scope_opened_by_a_helper(void *arg)
{
    bl_scope here, *there = calloc(1, sizeof *there);
    (void)arg;
    int r = begin_work(&here) != 0 || begin_work(there) != 0 || nap(LONG) != 0;
    r = bl_scope_close(there) != 0 || r;
    free(there);
    {
        BL_SCOPE(inner);
        r = bl_scope_wait(inner) != 0 || r;
    }
    return bl_scope_close(&here) != 0 || r;
}

static int read_byte(void *arg)
{
    char c;
    return bl_read(*(int *)arg, &c, 1) == 1 ? 0 : 1;
}

/*? pipe_filled_late right
 */
static int pipe_filled_late(void *arg)
{
    int ends[2];
    (void)arg;
    if (pipe(ends) != 0)
        return 1;
    BL_SCOPE(s);
    bl_go(s, read_byte, &ends[0]);
    if (nap(LONG) != 0 || write(ends[1], "x", 1) != 1)
        return 1;
    int r = bl_scope_wait(s);
    (void)bl_close(ends[0]);
    (void)bl_close(ends[1]);
    return r;
}

/* ---- What is done with ends with its scope ---- */

static int generate(void *arg)
{
    int r = 0;
    for (int i = 0; r == 0; i++)
        r = bl_chan_send((bl_chan *)arg, &i);
    return r;
}

static int generate_or(void *arg)
{
    int v = 1, r = 0;
    while (r >= 0)
        r = BL_SELECT(BL_SEND((bl_chan *)arg, &v), BL_RECV(NULL, NULL));
    return r;
}

/* Takes what it wants; when it is through, the end of the scope ends them, too. */
/*? generators_until_the_end right
 */
static int generators_until_the_end(void *arg)
{
    int v;
    (void)arg;
    BL_SCOPE(s, .name = "numbers");
    bl_chan *numbers = bl_scope_chan(s, sizeof(int), 0), *ones = bl_scope_chan(s, sizeof(int), 2);
    bl_go(s, generate, numbers);
    bl_go(s, generate_or, ones);
    for (int i = 0; i < 3; i++)
        if (bl_chan_recv(numbers, &v) < 0 || bl_chan_recv(ones, &v) < 0)
            return 1;
    return nap(LONG);
}

typedef struct login {
    bl_ctx *ctx;
    bl_chan *never;
} login;

static int of_login(void *arg)
{
    int r = send_one(((login *)arg)->never);
    return r == BL_ECANCELED ? 0 : 1;
}

static int serve_login(void *arg)
{
    login *l = arg;
    BL_SCOPE(s, .name = "login", .ctx = l->ctx);
    l->never = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, of_login, l);
    return bl_scope_wait(s) == BL_ECANCELED ? 0 : 1;
}

static int log_out(void *arg)
{
    login *l = arg;
    int r = nap(LONG);
    bl_ctx_cancel(l->ctx, 0);
    return r;
}

/* Whose context is cancelled, by somebody who has only that. */
/*? login_that_is_cancelled right
 */
static int login_that_is_cancelled(void *arg)
{
    login *l = calloc(1, sizeof *l);
    (void)arg;
    if (l == NULL || (l->ctx = bl_ctx_with_cancel(bl_ctx_background())) == NULL)
        return 1;
    BL_SCOPE(s);
    bl_go(s, serve_login, l);
    bl_go(s, log_out, l);
    int r = bl_scope_wait(s);
    bl_ctx_release(l->ctx);
    free(l);
    return r;
}

/* ---- Functions of timers ---- */

typedef struct stopped {
    bl_mutex lock;
    bl_timer timer, other;
    bl_chan *begun;
} stopped;

static int begin_and_lock(void *arg)
{
    stopped *t = arg;
    bl_chan_close(t->begun);
    bl_mutex_lock(&t->lock);
    bl_mutex_unlock(&t->lock);
    return 0;
}

static int unlock_late(void *arg)
{
    stopped *t = arg;
    bl_mutex_lock(&t->lock);
    if (bl_chan_send(t->begun, NULL) < 0)
        return 1;
    int r = nap(LONG);
    bl_mutex_unlock(&t->lock);
    return r;
}

/*? timer_stop_waits_for_long right
 */
static int timer_stop_waits_for_long(void *arg)
{
    stopped t = {.begun = NULL};
    (void)arg;
    BL_SCOPE(s);
    t.begun = bl_scope_chan(s, 0, 0);
    bl_go(s, unlock_late, &t);
    if (bl_chan_recv(t.begun, NULL) < 0 || bl_after_func(&t.timer, s, 0, begin_and_lock, &t) < 0 ||
        bl_chan_recv(t.begun, NULL) != BL_ECLOSED)
        return 1;
    bl_timer_stop_wait(&t.timer);
    return bl_scope_wait(s);
}

static int close_begun(void *arg)
{
    bl_chan_close(((stopped *)arg)->begun);
    return 0;
}

static int wait_begun(void *arg)
{
    return bl_chan_recv(((stopped *)arg)->begun, NULL) == BL_ECLOSED ? 0 : 1;
}

/*? one_of_two_timers_is_stopped right
 */
static int one_of_two_timers_is_stopped(void *arg)
{
    stopped t = {.begun = NULL};
    (void)arg;
    BL_SCOPE(s);
    t.begun = bl_scope_chan(s, 0, 0);
    if (bl_after_func(&t.timer, s, BL_HOUR, close_begun, &t) < 0 ||
        bl_after_func(&t.other, s, LONG, close_begun, &t) < 0)
        return 1;
    bl_go(s, wait_begun, &t);
    bl_timer_stop(&t.timer);
    return bl_scope_wait(s);
}

PROGRAMS({"late_sender", late_sender}, {"late_close", late_close},
         {"abandoned_but_buffered", abandoned_but_buffered}, {"idle_service", idle_service},
         {"service_until_done", service_until_done}, {"waits_for_its_end", waits_for_its_end},
         {"timeout_ends_it", timeout_ends_it}, {"context_cancelled_late", context_cancelled_late},
         {"context_with_deadline", context_with_deadline},
         {"context_with_value", context_with_value}, {"global_channel", global_channel},
         {"behind_memory", behind_memory},
         {"reply_channel_in_a_channel", reply_channel_in_a_channel},
         {"in_the_buffer_of_a_channel", in_the_buffer_of_a_channel},
         {"plain_thread_sends", plain_thread_sends},
         {"computes_and_then_sends", computes_and_then_sends},
         {"after_func_closes", after_func_closes}, {"timer_channel", timer_channel},
         {"ticker_loop_that_stops", ticker_loop_that_stops},
         {"ticker_paused_for_a_while", ticker_paused_for_a_while},
         {"timer_started_late", timer_started_late},
         {"scope_opened_by_a_helper", scope_opened_by_a_helper},
         {"pipe_filled_late", pipe_filled_late},
         {"generators_until_the_end", generators_until_the_end},
         {"login_that_is_cancelled", login_that_is_cancelled},
         {"timer_stop_waits_for_long", timer_stop_waits_for_long},
         {"one_of_two_timers_is_stopped", one_of_two_timers_is_stopped})
