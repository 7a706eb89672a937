/* SPDX-License-Identifier: MIT */
/* Plain threads that have a part in it: they hold locks, end with them, and wait themselves. */
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "leaks.h"

static bl_mutex stock, prices, orders;
static bl_sem begun; /* by those who have taken their first lock */

static void thread_start(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, fn, arg) != 0)
        abort();
    pthread_detach(thread);
}

/* ---- Circles of owners ---- */

static void *stock_then_prices(void *arg)
{
    bl_mutex_lock(&stock);
    bl_sem_release(&begun, 1);
    for (; bl_mutex_try_lock(&prices);
         usleep(1000)) /* until the goroutine, or the other thread, has it */
        bl_mutex_unlock(&prices);
    bl_mutex_lock(&prices);
    bl_mutex_unlock(&prices);
    bl_mutex_unlock(&stock);
    return arg;
}

static int prices_then_stock(void *arg)
{
    (void)arg;
    bl_mutex_lock(&prices);
    if (bl_sem_acquire(&begun, 1) < 0)
        return BL_ECANCELED;
    bl_mutex_lock(&stock); /* @stock_lock */
    bl_mutex_unlock(&stock);
    bl_mutex_unlock(&prices);
    return 0;
}

/*? a_thread_and_a_goroutine deadlock
 * prices_then_stock@stock_lock [sync.Mutex.Lock (leaked)] (stock), held by a plain thread; (prices); cause: a plain thread holds it, and is itself in sync.Mutex.Lock; that thread waits on sync.Mutex
 */
static int a_thread_and_a_goroutine(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "shop");
    bl_go(s, prices_then_stock, NULL);
    thread_start(stock_then_prices, NULL);
    return go_on();
}

static void *wait_for_nobody(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    int v;
    return bl_chan_recv(c, &v) == 0 ? arg : NULL;
}

/* That is known, and of the other thread it is not. */
/*? circle_beside_a_thread_that_nobody_wakes deadlock
 * prices_then_stock@stock_lock [sync.Mutex.Lock (leaked)] (stock), held by a plain thread
 */
static int circle_beside_a_thread_that_nobody_wakes(void *arg)
{
    thread_start(wait_for_nobody, NULL);
    return a_thread_and_a_goroutine(arg);
}

static void *prices_then_orders(void *arg)
{
    bl_mutex_lock(&prices);
    bl_sem_release(&begun, 1);
    usleep(1500000); /* by then nothing happens any more but this */
    bl_mutex_lock(&orders);
    bl_mutex_unlock(&orders);
    bl_mutex_unlock(&prices);
    return arg;
}

static int orders_then_stock(void *arg)
{
    (void)arg;
    bl_mutex_lock(&orders);
    if (bl_sem_acquire(&begun, 2) < 0)
        return BL_ECANCELED;
    bl_mutex_lock(&stock); /* @stock_lock_of_three */
    bl_mutex_unlock(&stock);
    bl_mutex_unlock(&orders);
    return 0;
}

static int sleep_long(void *arg)
{
    (void)arg;
    return bl_sleep(BL_HOUR);
}

/*? two_threads_and_a_goroutine deadlock
 * orders_then_stock@stock_lock_of_three [sync.Mutex.Lock (leaked)] cause: a plain thread holds it, and is itself in sync.Mutex.Lock; (prices), held by a plain thread
 */
static int two_threads_and_a_goroutine(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "shop");
    bl_go(s, orders_then_stock, NULL);
    bl_go(s, sleep_long, NULL);
    thread_start(stock_then_prices, NULL);
    thread_start(prices_then_orders, NULL);
    return bl_scope_wait(s);
}

static bl_rwmutex index_lock;
static bl_once loaded;

static int load(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&index_lock); /* @load_rlock */
    bl_rwmutex_runlock(&index_lock);
    return 0;
}

static void *rebuild(void *arg)
{
    bl_rwmutex_lock(&index_lock);
    bl_stat st;
    bl_sem_release(&begun, 1);
    do /* it and the main goroutine */
        usleep(1000);
    while (bl_stats(&st), st.waiting < 2);
    bl_once_do(&loaded, load, NULL);
    bl_rwmutex_unlock(&index_lock);
    return arg;
}

static int use_index(void *arg)
{
    (void)arg;
    if (bl_sem_acquire(&begun, 1) < 0)
        return BL_ECANCELED;
    bl_once_do(&loaded, load, NULL);
    return 0;
}

/*? write_lock_of_a_thread_that_waits_for_a_once deadlock
 * load@load_rlock [sync.RWMutex.RLock (leaked)] cause: a plain thread holds it, and is itself in sync.Once.Do
 */
static int write_lock_of_a_thread_that_waits_for_a_once(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, use_index, NULL);
    thread_start(rebuild, NULL);
    return go_on();
}

static int want_stock(void *arg)
{
    (void)arg;
    bl_mutex_lock(&stock); /* @want_stock */
    bl_mutex_unlock(&stock);
    return 0;
}

static void *join_with_stock(void *arg)
{
    bl_mutex_lock(&stock);
    {
        BL_SCOPE(s, .name = "inventory");
        bl_go(s, want_stock, NULL);
        arg = bl_scope_wait(s) < 0 ? NULL : arg;
    }
    bl_mutex_unlock(&stock);
    return arg;
}

/*? thread_joins_with_the_lock deadlock
 * want_stock@want_stock [sync.Mutex.Lock (leaked)] in scope "inventory"; cause: a plain thread holds it, and is itself in scope wait
 */
static int thread_joins_with_the_lock(void *arg)
{
    (void)arg;
    thread_start(join_with_stock, NULL);
    return go_on();
}

/* ---- Gone ---- */

static void *end_with_stock(void *arg)
{
    bl_mutex_lock(&stock);
    return arg;
}

/*? lock_of_a_thread_that_has_ended deadlock
 * want_stock@want_stock [sync.Mutex.Lock (leaked)] held by a plain thread that has ended; cause: a plain thread that has ended still holds it
 */
static int lock_of_a_thread_that_has_ended(void *arg)
{
    pthread_t thread;
    (void)arg;
    if (pthread_create(&thread, NULL, end_with_stock, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    BL_SCOPE(s);
    bl_go(s, want_stock, NULL);
    return go_on();
}

/*? lock_of_a_thread_that_has_ended_said said a thread ended holding a sync.Mutex
 */
static int lock_of_a_thread_that_has_ended_said(void *arg)
{
    return lock_of_a_thread_that_has_ended(arg);
}

/* ---- What only they and a goroutine have ---- */

typedef struct desk {
    bl_mutex lock;
    bl_chan *in, *out;
} desk;

static void *receive_with_the_lock(void *arg)
{
    desk *d = arg;
    int v;
    bl_mutex_lock(&d->lock);
    int r = bl_chan_recv(d->in, &v);
    bl_mutex_unlock(&d->lock);
    return r == 0 ? arg : NULL;
}

static int send_with_the_lock(void *arg)
{
    desk *d = arg;
    int v = 1, r = 0;
    while (r == 0 && bl_mutex_try_lock(&d->lock)) { /* until the thread has it */
        bl_mutex_unlock(&d->lock);
        r = bl_sleep(BL_MS);
    }
    bl_mutex_lock(&d->lock); /* @desk_lock */
    r = r == 0 ? bl_chan_send(d->in, &v) : r;
    bl_mutex_unlock(&d->lock);
    return r;
}

static __attribute__((noinline)) void desk_open(bl_scope *s, void *(*thread)(void *), bl_fn fn)
{
    desk *d = calloc(1, sizeof *d);
    d->in = bl_chan_new(sizeof(int), 0); /* @desk_in */
    d->out = bl_chan_new(sizeof(int), 0);
    thread_start(thread, d);
    bl_go(s, fn, d);
}

/*? thread_receives_with_the_lock leak
 * send_with_the_lock@desk_lock [sync.Mutex.Lock (leaked)] cause: a plain thread holds it, and is itself in chan receive; that thread waits on channel; made by desk_open at @desk_in
 */
static int thread_receives_with_the_lock(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    desk_open(s, receive_with_the_lock, send_with_the_lock);
    return go_on();
}

static void *receive_first(void *arg)
{
    desk *d = arg;
    int v;
    return bl_chan_recv(d->in, &v) == 0 && bl_chan_send(d->out, &v) == 0 ? arg : NULL;
}

static int receive_first_too(void *arg)
{
    desk *d = arg;
    int v;
    int r = bl_chan_recv(d->out, &v); /* @desk_recv */
    return r == 0 ? bl_chan_send(d->in, &v) : r;
}

/*? each_receives_first leak
 * receive_first_too@desk_recv [chan receive (leaked)] nobody is left to send on the channel
 */
static int each_receives_first(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    desk_open(s, receive_first, receive_first_too);
    return go_on();
}

/* ---- One that sleeps in a call of the system, and has nothing to do with it ---- */

static int receive_by_itself(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v); /* @sleeper_recv */
}

static __attribute__((noinline)) void receiver_start(bl_scope *s)
{
    bl_go(s, receive_by_itself, bl_chan_new(sizeof(int), 0));
}

static void *wait_for_events(void *arg)
{
    struct epoll_event event;
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_wait(fd, &event, 1, -1) < 0) /* nothing ends it, nor may it fail */
        abort();
    return arg;
}

static void *wait_for_input(void *arg)
{
    int fds[2];
    char byte;
    if (pipe(fds) != 0 || read(fds[0], &byte, 1) < 0)
        abort();
    return arg;
}

static void *sleep_for_an_hour(void *arg)
{
    sleep(3600);
    return arg;
}

/*? beside_threads_that_sleep leak
 * receive_by_itself@sleeper_recv [chan receive (leaked)] nobody is left to send on the channel
 */
static int beside_threads_that_sleep(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    thread_start(wait_for_events, NULL);
    thread_start(wait_for_input, NULL);
    thread_start(sleep_for_an_hour, NULL);
    receiver_start(s);
    return go_on();
}

/* ---- Threads that have ended ---- */

typedef struct sink {
    bl_chan *records;
    int written;
} sink;

static void *sink_thread(void *arg)
{
    sink *k = arg;
    int v;
    while (bl_chan_recv(k->records, &v) == 0 && ++k->written < 3)
        continue;
    bl_chan_release(k->records);
    return NULL; /* no space left on the device */
}

static int put_records(void *arg)
{
    bl_chan *records = ((sink *)arg)->records;
    int r = 0;
    for (int i = 0; i < 20 && r == 0; i++)
        r = bl_chan_send(records, &i); /* @put_record */
    bl_chan_close(records);
    bl_chan_release(records);
    return r;
}

static __attribute__((noinline)) int sink_open(bl_scope *s, pthread_t *t)
{
    sink *k = calloc(1, sizeof *k);
    k->records = bl_chan_retain(bl_chan_new(sizeof(int), 2)); /* @sink_chan */
    bl_go(s, put_records, k);
    return pthread_create(t, NULL, sink_thread, k);
}

/*? sink_that_has_ended leak
 * put_records@put_record [chan send] (cap 2, 2 buffered), made by sink_open at @sink_chan; cause: nobody is left to receive
 */
static int sink_that_has_ended(void *arg)
{
    pthread_t t;
    (void)arg;
    BL_SCOPE(s, .name = "sink");
    if (sink_open(s, &t) != 0)
        return 1;
    int r = go_on();
    pthread_join(t, NULL);
    return r;
}

static __thread bl_chan *replies;

static void *thread_with_replies(void *arg)
{
    bl_chan *to = arg;
    replies = bl_chan_new(sizeof(int), 0); /* @replies_chan */
    bl_chan *mine = bl_chan_retain(replies);
    (void)!bl_chan_recv(to, NULL);
    return bl_chan_send(to, &mine) == 0 ? NULL : arg;
}

static int await_reply(void *arg)
{
    bl_chan *from = arg, *c;
    int v, r = bl_chan_send(from, NULL);
    if (r == 0)
        r = bl_chan_recv(from, &c);
    bl_chan_release(from);
    return r == 0 ? bl_chan_recv(c, &v) : r; /* @reply_recv */
}

static __attribute__((noinline)) int replies_open(bl_scope *s, pthread_t *t)
{
    bl_chan *c = bl_chan_new(sizeof(bl_chan *), 0);
    bl_go(s, await_reply, c);
    return pthread_create(t, NULL, thread_with_replies, c);
}

/*? thread_local_of_the_dead leak
 * await_reply@reply_recv [chan receive] made by thread_with_replies at @replies_chan; cause: nobody is left to send
 */
static int thread_local_of_the_dead(void *arg)
{
    pthread_t t;
    (void)arg;
    BL_SCOPE(s, .name = "replies");
    if (replies_open(s, &t) != 0)
        return 1;
    pthread_detach(t);
    return go_on();
}

PROGRAMS({"sink_that_has_ended", sink_that_has_ended},
         {"thread_local_of_the_dead", thread_local_of_the_dead},
         {"a_thread_and_a_goroutine", a_thread_and_a_goroutine},
         {"circle_beside_a_thread_that_nobody_wakes", circle_beside_a_thread_that_nobody_wakes},
         {"two_threads_and_a_goroutine", two_threads_and_a_goroutine},
         {"write_lock_of_a_thread_that_waits_for_a_once",
          write_lock_of_a_thread_that_waits_for_a_once},
         {"thread_joins_with_the_lock", thread_joins_with_the_lock},
         {"lock_of_a_thread_that_has_ended", lock_of_a_thread_that_has_ended},
         {"lock_of_a_thread_that_has_ended_said", lock_of_a_thread_that_has_ended_said},
         {"thread_receives_with_the_lock", thread_receives_with_the_lock},
         {"each_receives_first", each_receives_first},
         {"beside_threads_that_sleep", beside_threads_that_sleep})
