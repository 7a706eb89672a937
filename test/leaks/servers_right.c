/* SPDX-License-Identifier: MIT */
/* The servers of servers.c without what they forget: nothing is to be said of them. */
#include "right.h"

/* ---- The writer takes what is left when it gives up ---- */

static int write_some(void *arg)
{
    bl_chan *replies = arg;
    int reply, n = 0;
    while (bl_chan_recv(replies, &reply) == 0)
        n += n < 1; /* the peer is gone: the rest is dropped */
    return 0;
}

static int read_some(void *arg)
{
    for (int i = 0; i < 4; i++)
        if (nap(LONG / 4) || bl_chan_send((bl_chan *)arg, &i) != 0)
            return 1;
    bl_chan_close((bl_chan *)arg);
    return 0;
}

/*? writer_drains right
 */
static int writer_drains(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "conn");
    bl_chan *replies = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, write_some, replies);
    bl_go(s, read_some, replies);
    return bl_scope_wait(s);
}

/* ---- Retries that say in the end that they gave up ---- */

typedef struct retry {
    bl_timer timer;
    bl_chan *connected;
    int left;
} retry;

static int try_again(void *arg)
{
    retry *r = arg;
    if (--r->left > 0)
        bl_after_func(&r->timer, bl_root(), LONG / 3, try_again, r);
    else
        bl_chan_close(r->connected);
    return 0;
}

static int wait_connected(void *arg)
{
    retry *r = calloc(1, sizeof *r);
    int v;
    (void)arg;
    r->left = 3;
    r->connected = bl_chan_new(sizeof(int), 0);
    bl_after_func(&r->timer, bl_root(), LONG / 3, try_again, r);
    int err = bl_chan_recv(r->connected, &v);
    (void)bl_timer_stop_wait(&r->timer);
    bl_chan_release(r->connected);
    free(r);
    return err == BL_ECLOSED ? 0 : 1;
}

/*? retries_say_that_they_give_up right
 */
static int retries_say_that_they_give_up(void *arg)
{
    BL_SCOPE(s, .name = "retry");
    bl_go(s, wait_connected, arg);
    return bl_scope_wait(s);
}

/* ---- A monitor that is closed by its channel, beside its ticker ---- */

typedef struct monitor {
    bl_ticker *ticker;
    bl_chan *quit;
} monitor;

static int monitor_loop(void *arg)
{
    monitor *m = arg;
    bl_time at;
    int v;
    bl_chan *ticks = bl_ticker_chan(m->ticker);
    while (BL_SELECT(BL_RECV(ticks, &at), BL_RECV(m->quit, &v)) == 0)
        continue;
    return 0;
}

/*? monitor_is_told right
 */
static int monitor_is_told(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "monitor");
    monitor m = {bl_ticker_new(s, BL_HOUR), bl_scope_chan(s, sizeof(int), 0)};
    bl_go(s, monitor_loop, &m);
    bl_ticker_stop(m.ticker); /* paused: it may be started again */
    int r = nap(LONG);
    bl_chan_close(m.quit);
    return r != 0 ? r : bl_scope_wait(s);
}

/* ---- Who loads for all others wakes them also when it fails ---- */

typedef struct flight {
    bl_mutex lock;
    bl_cond loaded;
    bool done;
} flight;

static int flight_lead(void *arg)
{
    flight *f = arg;
    int r = nap(LONG);
    bl_mutex_lock(&f->lock);
    f->done = true;
    bl_cond_broadcast(&f->loaded);
    bl_mutex_unlock(&f->lock);
    return r;
}

static int flight_follow(void *arg)
{
    flight *f = arg;
    int r = 0;
    bl_mutex_lock(&f->lock);
    while (!f->done && r == 0)
        r = bl_cond_wait(&f->loaded, &f->lock);
    bl_mutex_unlock(&f->lock);
    return r;
}

/*? leader_always_tells right
 */
static int leader_always_tells(void *arg)
{
    flight f = {.done = false};
    (void)arg;
    BL_SCOPE(s, .name = "flight");
    bl_go(s, flight_lead, &f);
    for (int i = 0; i < 2; i++)
        bl_go(s, flight_follow, &f);
    return bl_scope_wait(s);
}

/* ---- A subscriber leaves the list before it leaves ---- */

typedef struct bus {
    bl_mutex lock;
    bl_chan *subscriber;
} bus;

static int subscribe_once(void *arg)
{
    bus *b = arg;
    int m;
    if (bl_chan_recv(b->subscriber, &m) != 0)
        return 1;
    bl_mutex_lock(&b->lock);
    b->subscriber = NULL;
    bl_mutex_unlock(&b->lock);
    return 0;
}

static int publish(void *arg)
{
    bus *b = arg;
    for (int m = 0; m < 3; m++) {
        if (nap(LONG / 3))
            return 1;
        bl_mutex_lock(&b->lock);
        bl_chan *to = b->subscriber;
        bl_mutex_unlock(&b->lock);
        if (to != NULL && bl_chan_send_until(to, &m, bl_in(BL_MS)) == BL_ECANCELED)
            return 1;
    }
    return 0;
}

/*? subscriber_unsubscribes right
 */
static int subscriber_unsubscribes(void *arg)
{
    bus b = {.subscriber = NULL};
    (void)arg;
    BL_SCOPE(s, .name = "bus");
    b.subscriber = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, subscribe_once, &b);
    bl_go(s, publish, &b);
    return bl_scope_wait(s);
}

/* ---- Permits and connections come back on each way out ---- */

typedef struct permits {
    bl_sem sem;
    bl_chan *pool;
} permits;

static int permit_use(void *arg)
{
    permits *p = arg;
    int fd, r = bl_sem_acquire(&p->sem, 1);
    if (r != 0)
        return r;
    r = bl_chan_recv(p->pool, &fd);
    if (r == 0) {
        r = bl_id() % 2 == 1 ? 0 : nap(LONG / 3); /* refused, or done */
        r = bl_chan_send(p->pool, &fd) != 0 ? 1 : r;
    }
    bl_sem_release(&p->sem, 1);
    return r;
}

/*? permits_come_back right
 */
static int permits_come_back(void *arg)
{
    permits p;
    (void)arg;
    bl_sem_init(&p.sem, 2);
    BL_SCOPE(s, .name = "permits");
    p.pool = bl_scope_chan(s, sizeof(int), 1);
    int fd = 4;
    if (bl_chan_send(p.pool, &fd) != 0)
        return 1;
    for (int i = 0; i < 6; i++)
        bl_go(s, permit_use, &p);
    return bl_scope_wait(s);
}

/* ---- A reply has room, so nobody waits with it ---- */

typedef struct request {
    bl_chan *reply;
} request;

static int serve_requests(void *arg)
{
    request r;
    while (bl_chan_recv((bl_chan *)arg, &r) == 0) {
        int v = 1;
        if (nap(LONG / 2) || bl_chan_send(r.reply, &v) != 0)
            return 1;
        bl_chan_release(r.reply);
    }
    return 0;
}

static int ask(void *arg)
{
    request r = {bl_chan_new(sizeof(int), 1)};
    int v;
    bl_chan_retain(r.reply);
    if (bl_chan_send((bl_chan *)arg, &r) != 0)
        return 1;
    (void)!bl_chan_recv_until(r.reply, &v, bl_in(5 * BL_MS));
    bl_chan_release(r.reply);
    return 0;
}

/*? reply_has_room right
 */
static int reply_has_room(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "asked");
    bl_chan *requests = bl_scope_chan(s, sizeof(request), 0);
    bl_go(s, serve_requests, requests);
    int r = 0;
    {
        BL_SCOPE(clients, .name = "clients");
        for (int i = 0; i < 2; i++)
            bl_go(clients, ask, requests);
        r = bl_scope_wait(clients);
    }
    bl_chan_close(requests);
    return r != 0 ? r : bl_scope_wait(s);
}

/* ---- Letters wait in a buffer, and are answered late ---- */

static int post_and_wait(void *arg)
{
    request l = {bl_chan_new(sizeof(int), 0)};
    int v;
    if (bl_chan_send((bl_chan *)arg, &l) != 0)
        return 1;
    int r = bl_chan_recv(l.reply, &v);
    bl_chan_release(l.reply);
    return r == BL_ECLOSED ? 0 : 1;
}

static int answer_late(void *arg)
{
    request l;
    if (nap(LONG))
        return 1;
    for (int i = 0; i < 3; i++) {
        if (bl_chan_recv((bl_chan *)arg, &l) != 0)
            return 1;
        bl_chan_close(l.reply);
    }
    return 0;
}

/*? letters_are_answered_late right
 */
static int letters_are_answered_late(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "letters");
    bl_chan *letters = bl_scope_chan(s, sizeof(request), 8);
    for (int i = 0; i < 3; i++)
        bl_go(s, post_and_wait, letters);
    bl_go(s, answer_late, letters);
    return bl_scope_wait(s);
}

/* ---- A batch whose timer is started again ---- */

typedef struct batch {
    bl_chan *items;
    bl_timer late;
} batch;

static int batch_loop(void *arg)
{
    batch *b = arg;
    bl_chan *late = bl_timer_chan(&b->late);
    bl_time at;
    int v, written = 0;
    bl_case cases[] = {BL_RECV(b->items, &v), BL_RECV(late, &at)};
    while (written < 3) {
        int which = bl_select(cases, 2);
        if (which < 0)
            return 1;
        if (which == 1) {
            written++;
            bl_timer_start(&b->late, LONG / 3);
        }
    }
    (void)bl_timer_stop(&b->late);
    return 0;
}

/*? batch_is_late_again_and_again right
 */
static int batch_is_late_again_and_again(void *arg)
{
    batch b = {.items = NULL};
    (void)arg;
    BL_SCOPE(s, .name = "batch");
    b.items = bl_scope_chan(s, sizeof(int), 8);
    bl_timer_start(&b.late, LONG / 3);
    bl_go(s, batch_loop, &b);
    return bl_scope_wait(s);
}

PROGRAMS({"writer_drains", writer_drains},
         {"retries_say_that_they_give_up", retries_say_that_they_give_up},
         {"monitor_is_told", monitor_is_told}, {"leader_always_tells", leader_always_tells},
         {"subscriber_unsubscribes", subscriber_unsubscribes},
         {"permits_come_back", permits_come_back}, {"reply_has_room", reply_has_room},
         {"letters_are_answered_late", letters_are_answered_late},
         {"batch_is_late_again_and_again", batch_is_late_again_and_again})
