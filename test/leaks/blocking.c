/* SPDX-License-Identifier: MIT */
/* blocking.c: functions of bl_blocking that wait for goroutines, and whom nobody wakes. */
#include "leaks.h"

typedef struct blocks {
    bl_chan *out;
    int count, expected;
} blocks;

static int blocks_send(void *arg)
{ /* @blocks_send */
    blocks *b = arg;
    int r = 0;
    for (int i = 0; i < b->count && r == 0; i++)
        r = bl_chan_send(b->out, &i);
    return r;
}

static int compress(void *arg)
{
    int r = bl_blocking(blocks_send, arg);
    bl_chan_release(((blocks *)arg)->out);
    free(arg);
    return r;
}

static int collect(void *arg)
{
    blocks *b = arg;
    bl_chan *out = bl_chan_retain(b->out);
    int v, r = 0;
    for (int n = b->expected; n > 0 && r == 0; n--)
        r = bl_chan_recv(out, &v);
    bl_chan_release(out);
    return r;
}

static __attribute__((noinline)) void start_compress(bl_scope *s)
{
    blocks *b = calloc(1, sizeof *b);
    *b = (blocks){bl_chan_new(sizeof(int), 0), 6, 4}; /* @blocks_chan */
    bl_go(s, collect, b);
    bl_go(s, compress, b);
}

/*? sender_in_a_blocking_call leak
 * blocks_send@blocks_send [blocking call] its function, on a thread of its own: chan send; made by start_compress at @blocks_chan; cause: nobody is left to receive
 */
static int sender_in_a_blocking_call(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "compress");
    start_compress(s);
    return go_on();
}

static bl_mutex index_lock;

static int forgets_the_index(void *arg)
{
    bl_mutex_lock(&index_lock);
    return arg != NULL; /* on the way that fails */
}

static int index_update(void *arg)
{ /* @index_update */
    (void)arg;
    bl_mutex_lock(&index_lock);
    bl_mutex_unlock(&index_lock);
    return 0;
}

static int update(void *arg) { return bl_blocking(index_update, arg); }

static int behind_the_index(void *arg)
{
    bl_scope *s = arg;
    BL_SCOPE(mine, .name = "updates");
    bl_go(mine, update, NULL);
    return bl_scope_wait(mine) + (s == NULL); /* @updates_wait */
}

/*? lock_of_the_dead_in_a_blocking_call deadlock
 * index_update@index_update [blocking call] its function, on a thread of its own: sync.Mutex.Lock; cause: a goroutine that has ended still holds it
 * behind_the_index@updates_wait [scope wait] waits on scope "updates"
 */
static int lock_of_the_dead_in_a_blocking_call(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "index");
    bl_go(s, forgets_the_index, NULL);
    if (until_left(1) < 0)
        return 1;
    bl_go(s, behind_the_index, s);
    return go_on();
}

typedef struct trade {
    bl_chan *in, *out;
} trade;

static int trade_run(void *arg)
{ /* @trade_run */
    trade *t = arg;
    int v, r = bl_chan_recv(t->in, &v);
    return r == 0 ? bl_chan_send(t->out, &v) : r;
}

static int trader(void *arg) { return bl_blocking(trade_run, arg); }

static __attribute__((noinline)) int trade_part(void *arg)
{
    trade a = {bl_chan_new(sizeof(int), 0), bl_chan_new(sizeof(int), 0)}, b = {a.out, a.in};
    BL_SCOPE(s, .name = "trade");
    bl_go(s, trader, &a);
    bl_go(s, trader, &b);
    int r = bl_scope_wait(s); /* @trade_wait */
    bl_chan_release(a.in);
    bl_chan_release(a.out);
    return r + (arg != NULL);
}

/*? two_blocking_calls_wait_for_each_other leak
 * trade_run@trade_run [blocking call] its function, on a thread of its own: chan receive
 * trade_run@trade_run [blocking call] its function, on a thread of its own: chan receive; cause: nobody is left to send
 * trade_part@trade_wait [scope wait] waits on scope "trade"
 */
static int two_blocking_calls_wait_for_each_other(void *arg)
{
    bl_go(bl_root(), trade_part, arg);
    return go_on();
}

static int needs_the_helper(void *arg)
{
    int v;
    return bl_chan_recv(arg, &v); /* @answer_recv */
}

static int joins_before_it_answers(void *arg)
{ /* @joins_before */
    void **both = arg;
    int v = 1, r = bl_waitgroup_wait(both[0]);
    return r == 0 ? bl_chan_send(both[1], &v) : r;
}

static int answers(void *arg)
{
    bl_waitgroup wg = {0};
    (void)arg;
    BL_SCOPE(s, .name = "answers");
    void *both[2] = {&wg, bl_scope_chan(s, sizeof(int), 0)}; /* @answer_chan */
    bl_waitgroup_go(&wg, s, needs_the_helper, both[1]);
    return bl_blocking(joins_before_it_answers, both);
}

/*? joined_by_who_answers leak
 * joins_before_it_answers@joins_before [blocking call] its function, on a thread of its own: sync.WaitGroup.Wait
 * needs_the_helper@answer_recv [chan receive] made by answers at @answer_chan; cause: nobody is left to send
 */
static int joined_by_who_answers(void *arg)
{
    bl_go(bl_root(), answers, arg);
    return go_on();
}

PROGRAMS({"sender_in_a_blocking_call", sender_in_a_blocking_call},
         {"lock_of_the_dead_in_a_blocking_call", lock_of_the_dead_in_a_blocking_call},
         {"two_blocking_calls_wait_for_each_other", two_blocking_calls_wait_for_each_other},
         {"joined_by_who_answers", joined_by_who_answers})
