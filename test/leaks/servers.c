/* SPDX-License-Identifier: MIT */
/* What servers are made of: handlers, workers, subscribers, retries, batches; each with what one of them forgets. */
#include "leaks.h"

enum { CONNS = 3 };

/* ---- A connection has a reader and a writer; the writer gives up first ---- */

typedef struct conn {
    bl_chan *replies;
    int id;
} conn;

static int conn_write(void *arg)
{
    conn *c = arg;
    int reply;
    return bl_chan_recv(c->replies, &reply) == 0 ? 0 : 1; /* the peer is gone: one is enough */
}

static int conn_read(void *arg)
{
    conn *c = arg;
    for (int i = 0; i < 2; i++)
        if (bl_chan_send(c->replies, &i) != 0) /* @conn_send */
            return 1;
    return 0;
}

static int conn_serve(void *arg)
{
    conn c = {.id = 7};
    (void)arg;
    BL_SCOPE(s, .name = "conn");
    c.replies = bl_scope_chan(s, sizeof(int), 0); /* @conn_chan */
    bl_go(s, conn_write, &c);
    bl_go(s, conn_read, &c);
    return bl_scope_wait(s); /* @conn_wait */
}

/*? writer_gives_up_first deadlock
 * conn_serve@conn_wait [scope wait] waits on scope "conn"
 * conn_read@conn_send [chan send] made by conn_serve at @conn_chan; cause: nobody is left to receive
 */
static int writer_gives_up_first(void *arg)
{
    bl_go(bl_root(), conn_serve, arg);
    return go_on();
}

/* ---- All workers end at the first bad job ---- */

typedef struct queue {
    bl_chan *jobs;
    bl_chan *done;
    bl_waitgroup wg;
} queue;

static int work_until_bad(void *arg)
{
    queue *q = arg;
    int job;
    while (bl_chan_recv(q->jobs, &job) == 0)
        if (job % 2 == 0)
            return 0; /* bad */
    return 0;
}

static int produce(void *arg)
{
    queue *q = arg;
    for (int i = 0; i < 10; i++)
        if (bl_chan_send(q->jobs, &i) != 0) /* @produce */
            return 1;
    bl_chan_close(q->jobs);
    return 0;
}

static int queue_part(void *arg)
{
    queue q = {.jobs = NULL};
    (void)arg;
    BL_SCOPE(s, .name = "queue");
    q.jobs = bl_scope_chan(s, sizeof(int), 2); /* @jobs_chan */
    for (int i = 0; i < 2; i++)
        bl_go(s, work_until_bad, &q);
    bl_go(s, produce, &q);
    return bl_scope_wait(s); /* @queue_wait */
}

/*? consumers_are_dead deadlock
 * queue_part@queue_wait [scope wait] waits on scope "queue"
 * produce@produce [chan send] (cap 2, 2 buffered); made by queue_part at @jobs_chan; cause: nobody is left to receive
 */
static int consumers_are_dead(void *arg)
{
    bl_go(bl_root(), queue_part, arg);
    return go_on();
}

/* ---- Retries by a timer, which ends after some ---- */

typedef struct retry {
    bl_timer timer;
    bl_chan *connected;
    int left;
} retry;

static int try_again(void *arg)
{
    retry *r = arg;
    if (--r->left > 0)
        bl_after_func(&r->timer, bl_root(), 2 * BL_MS, try_again, r);
    return 0; /* and never says that it gave up */
}

static int wait_connected(void *arg)
{
    retry *r = calloc(1, sizeof *r);
    int v;
    (void)arg;
    r->left = 4;
    r->connected = bl_chan_new(sizeof(int), 0); /* @connected_chan */
    bl_after_func(&r->timer, bl_root(), 2 * BL_MS, try_again, r);
    int err = bl_chan_recv(r->connected, &v); /* @connected_recv */
    bl_chan_release(r->connected);
    free(r);
    return err;
}

/*? retries_give_up leak
 * wait_connected@connected_recv [chan receive] made by wait_connected at @connected_chan; cause: nobody is left to send
 */
static int retries_give_up(void *arg)
{
    bl_go(bl_root(), wait_connected, arg);
    return go_on();
}

/* ---- A ticker in a struct that is closed while its loop waits ---- */

typedef struct monitor {
    bl_ticker *ticker;
    int seen;
} monitor;

static int monitor_loop(void *arg)
{
    monitor *m = arg;
    bl_time at;
    while (bl_chan_recv(bl_ticker_chan(m->ticker), &at) == 0) /* @monitor_recv */
        m->seen++;
    free(m);
    return 0;
}

static __attribute__((noinline)) void monitor_close(monitor *m) { bl_ticker_stop(m->ticker); }

static int monitor_owner(void *arg)
{
    monitor *m = calloc(1, sizeof *m);
    (void)arg;
    m->ticker = bl_ticker_new(bl_root(), 3 * BL_MS); /* @monitor_ticker */
    bl_go(bl_root(), monitor_loop, m);
    int r = bl_sleep(10 * BL_MS);
    monitor_close(m);
    return r;
}

/*? monitor_is_closed leak
 * monitor_loop@monitor_recv [chan receive] of a ticker, made by monitor_owner at @monitor_ticker; not armed; cause: the ticker was stopped
 */
static int monitor_is_closed(void *arg)
{
    bl_go(bl_root(), monitor_owner, arg);
    return go_on();
}

/* ---- Who loads for all others fails, and tells nobody ---- */

typedef struct flight {
    bl_mutex lock;
    bl_cond loaded;
    bool loading, there;
} flight;

static int flight_lead(void *arg)
{
    flight *f = arg;
    bl_mutex_lock(&f->lock);
    f->loading = true;
    bl_mutex_unlock(&f->lock);
    if (bl_sleep(5 * BL_MS) != 0)
        return 1;
    return 0; /* it was not found; the others still wait */
}

static int flight_follow(void *arg)
{
    flight *f = arg;
    int r = 0;
    bl_mutex_lock(&f->lock);
    while (!f->there && r == 0)
        r = bl_cond_wait(&f->loaded, &f->lock); /* @follow_wait */
    bl_mutex_unlock(&f->lock);
    return r;
}

static int flight_part(void *arg)
{
    flight f = {.there = false};
    (void)arg;
    BL_SCOPE(s, .name = "flight");
    bl_go(s, flight_lead, &f);
    for (int i = 0; i < 2; i++)
        bl_go(s, flight_follow, &f);
    return bl_scope_wait(s); /* @flight_wait */
}

/*? leader_fails_silently deadlock
 * flight_part@flight_wait [scope wait] waits on scope "flight"
 * flight_follow@follow_wait [sync.Cond.Wait] waits on sync.Cond; cause: nobody is left to signal it; and 1 more like it
 */
static int leader_fails_silently(void *arg)
{
    bl_go(bl_root(), flight_part, arg);
    return go_on();
}

/* ---- A subscriber leaves, and stays in the list ---- */

typedef struct bus {
    bl_mutex lock;
    bl_chan *subscribers[2];
} bus;

typedef struct subscriber {
    bus *b;
    int i, wants;
} subscriber;

static int subscribe(void *arg)
{
    subscriber *me = arg;
    int m;
    for (int i = 0; i < me->wants; i++)
        if (bl_chan_recv(me->b->subscribers[me->i], &m) != 0)
            return 1;
    if (me->i == 0)
        return 0;                /* has seen enough */
    bl_mutex_lock(&me->b->lock); /* @unsubscribe */
    me->b->subscribers[me->i] = NULL;
    bl_mutex_unlock(&me->b->lock);
    return 0;
}

static int publish(void *arg)
{
    bus *b = arg;
    bl_mutex_lock(&b->lock);
    for (int m = 0; m < 3; m++)
        for (int i = 1; i >= 0; i--)
            if (b->subscribers[i] != NULL &&
                bl_chan_send(b->subscribers[i], &m) != 0) /* @publish */
                return 1;
    bl_mutex_unlock(&b->lock);
    return 0;
}

static int bus_part(void *arg)
{
    (void)arg;
    bus b = {.subscribers = {NULL}};
    BL_SCOPE(s, .name = "bus");
    for (int i = 0; i < 2; i++)
        b.subscribers[i] = bl_scope_chan(s, sizeof(int), 0); /* @bus_chan */
    subscriber them[2] = {{&b, 0, 1}, {&b, 1, 2}};
    bl_go(s, subscribe, &them[0]);
    bl_go(s, subscribe, &them[1]);
    bl_go(s, publish, &b);
    return bl_scope_wait(s); /* @bus_wait */
}

/*? subscriber_has_left deadlock
 * bus_part@bus_wait [scope wait] waits on scope "bus"
 * publish@publish [chan send] made by bus_part at @bus_chan; holds sync.Mutex; cause: nobody is left to receive
 * subscribe@unsubscribe [sync.Mutex.Lock] cause: goroutine 5 (publish) holds it, and is itself in chan send
 */
static int subscriber_has_left(void *arg)
{
    bl_go(bl_root(), bus_part, arg);
    return go_on();
}

/* ---- A permit is lost on the error's way out ---- */

static int permit_use(void *arg)
{
    bl_sem *permits = arg;
    int r = bl_sem_acquire(permits, 1); /* @permit_acquire */
    if (r != 0)
        return r;
    if (bl_id() % 2 == 1)
        return 0; /* an error: without the permit */
    r = bl_sleep(2 * BL_MS);
    bl_sem_release(permits, 1);
    return r;
}

static int permit_part(void *arg)
{
    bl_sem permits;
    (void)arg;
    bl_sem_init(&permits, 2);
    BL_SCOPE(s, .name = "permits");
    for (int i = 0; i < 6; i++)
        bl_go(s, permit_use, &permits);
    return bl_scope_wait(s); /* @permit_wait */
}

/*? permits_are_lost said belay: deadlock: ; permit_use; [semaphore (leaked); waits on semaphore; (0 free); cause: nobody is left to release it; waits on scope "permits"
 */
static int permits_are_lost(void *arg)
{
    bl_go(bl_root(), permit_part, arg);
    return go_on();
}

/* ---- A connection is not given back to the pool ---- */

static int query(void *arg)
{
    bl_chan *pool = arg;
    int fd;
    if (bl_chan_recv(pool, &fd) != 0) /* @pool_take */
        return 1;
    if (fd == 4)
        return 0; /* its query was refused */
    return bl_chan_send(pool, &fd) == 0 ? 0 : 1;
}

static int db_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "db");
    bl_chan *pool = bl_scope_chan(s, sizeof(int), 2); /* @pool_chan */
    for (int fd = 4; fd <= 4; fd++)
        if (bl_chan_send(pool, &fd) != 0)
            return 1;
    bl_go(s, query, pool);
    bl_go(s, query, pool);
    return bl_scope_wait(s); /* @db_wait */
}

/*? connection_is_not_returned deadlock
 * db_part@db_wait [scope wait] waits on scope "db"
 * query@pool_take [chan receive] (cap 2, 0 buffered); made by db_part at @pool_chan; cause: nobody is left to send
 */
static int connection_is_not_returned(void *arg)
{
    bl_go(bl_root(), db_part, arg);
    return go_on();
}

/* ---- A client gives up; its server waits with the answer, and the next client with its question ---- */

typedef struct request {
    bl_chan *reply;
} request;

static int gave_up; /* atomic: who has asked first */

static int serve_requests(void *arg)
{
    bl_chan *requests = arg;
    request r;
    while (bl_chan_recv(requests, &r) == 0) {
        int v = 1, err = 0;
        while (err == 0 && !__atomic_load_n(&gave_up, __ATOMIC_RELAXED))
            err = bl_sleep(BL_MS);
        if (err != 0 || bl_chan_send(r.reply, &v) != 0) /* @serve_send */
            return 1;
        bl_chan_release(r.reply);
    }
    return 0;
}

static int ask(void *arg)
{
    request r = {bl_chan_new(sizeof(int), 0)}; /* @reply_chan */
    int v;
    bl_chan_retain(r.reply);
    if (bl_chan_send((bl_chan *)arg, &r) != 0) /* @ask_send */
        return 1;
    (void)!bl_chan_recv_until(r.reply, &v, bl_in(5 * BL_MS));
    __atomic_store_n(&gave_up, 1, __ATOMIC_RELAXED);
    bl_chan_release(r.reply);
    return 0;
}

static int asked_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "asked");
    bl_chan *requests = bl_scope_chan(s, sizeof(request), 0); /* @requests_chan */
    bl_go(s, serve_requests, requests);
    for (int i = 0; i < 2; i++)
        bl_go(s, ask, requests);
    return bl_scope_wait(s); /* @asked_wait */
}

/*? reply_is_abandoned deadlock
 * asked_part@asked_wait [scope wait] waits on scope "asked"
 * serve_requests@serve_send [chan send] made by ask at @reply_chan; cause: nobody is left to receive
 * ask@ask_send [chan send] made by asked_part at @requests_chan; cause: nobody is left to receive
 */
static int reply_is_abandoned(void *arg)
{
    bl_go(bl_root(), asked_part, arg);
    return go_on();
}

/* ---- A stage of a pipeline gives up, and does not take the rest ---- */

typedef struct stages {
    bl_chan *raw, *parsed;
} stages;

static int stage_read(void *arg)
{
    stages *p = arg;
    for (int i = 0; i < 8; i++)
        if (bl_chan_send(p->raw, &i) != 0) /* @stage_send */
            return 1;
    bl_chan_close(p->raw);
    return 0;
}

static int stage_parse(void *arg)
{
    stages *p = arg;
    int v;
    while (bl_chan_recv(p->raw, &v) == 0)
        if (v == 3 || bl_chan_send(p->parsed, &v) != 0)
            return 0; /* it cannot be parsed; parsed stays open */
    bl_chan_close(p->parsed);
    return 0;
}

static int stage_store(void *arg)
{
    stages *p = arg;
    int v;
    while (bl_chan_recv(p->parsed, &v) == 0) /* @stage_recv */
        continue;
    return 0;
}

static int stages_part(void *arg)
{
    stages p = {NULL, NULL};
    (void)arg;
    BL_SCOPE(s, .name = "stages");
    p.raw = bl_scope_chan(s, sizeof(int), 0);    /* @raw_chan */
    p.parsed = bl_scope_chan(s, sizeof(int), 1); /* @parsed_chan */
    bl_go(s, stage_read, &p);
    bl_go(s, stage_parse, &p);
    bl_go(s, stage_store, &p);
    return bl_scope_wait(s); /* @stages_wait */
}

/*? stage_gives_up deadlock
 * stages_part@stages_wait [scope wait] waits on scope "stages"
 * stage_read@stage_send [chan send] made by stages_part at @raw_chan; cause: nobody is left to receive
 * stage_store@stage_recv [chan receive] made by stages_part at @parsed_chan; cause: nobody is left to send
 */
static int stage_gives_up(void *arg)
{
    bl_go(bl_root(), stages_part, arg);
    return go_on();
}

/* ---- Done is skipped where a shard is skipped ---- */

static int shard_done(void *arg)
{
    bl_waitgroup_done((bl_waitgroup *)arg);
    return 0;
}

static int shards_part(void *arg)
{
    bl_waitgroup wg = {0};
    (void)arg;
    BL_SCOPE(s, .name = "shards");
    for (int i = 0; i < CONNS; i++) {
        bl_waitgroup_add(&wg, 1);
        if (i == 1)
            continue; /* an empty one */
        bl_go(s, shard_done, &wg);
    }
    return bl_waitgroup_wait(&wg); /* @shards_wait */
}

/*? shard_is_skipped said belay: ; shards_part; [sync.WaitGroup.Wait (leaked); waits on sync.WaitGroup; (count 1); cause: nobody is left to call done
 */
static int shard_is_skipped(void *arg)
{
    bl_go(bl_root(), shards_part, arg);
    return go_on();
}

/* ---- Two peers with full inboxes ---- */

typedef struct peer {
    bl_chan *mine, *other;
} peer;

static int peer_talk(void *arg)
{
    peer *p = arg;
    int m = 0;
    for (int i = 0; i < 3; i++)
        if (bl_chan_send(p->other, &m) != 0) /* @peer_send */
            return 1;
    while (bl_chan_recv(p->mine, &m) == 0)
        continue;
    return 0;
}

static int peers_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "peers");
    bl_chan *inbox[2];
    for (int i = 0; i < 2; i++)
        inbox[i] = bl_scope_chan(s, sizeof(int), 1); /* @inbox */
    peer them[2] = {{inbox[0], inbox[1]}, {inbox[1], inbox[0]}};
    bl_go(s, peer_talk, &them[0]);
    bl_go(s, peer_talk, &them[1]);
    return bl_scope_wait(s); /* @peers_wait */
}

/*? inboxes_are_full deadlock
 * peers_part@peers_wait [scope wait] waits on scope "peers"
 * peer_talk@peer_send [chan send] (cap 1, 1 buffered); made by peers_part at @inbox; cause: nobody is left to receive
 * peer_talk@peer_send [chan send] (cap 1, 1 buffered); made by peers_part at @inbox; cause: nobody is left to receive
 */
static int inboxes_are_full(void *arg)
{
    bl_go(bl_root(), peers_part, arg);
    return go_on();
}

/* ---- The log's writer has ended, and everybody logs ---- */

static int log_write(void *arg)
{
    int line;
    return bl_chan_recv((bl_chan *)arg, &line) == 0 ? 0 : 1; /* the disk is full */
}

static int log_lines(void *arg)
{
    for (int line = 0; line < 10; line++)
        if (bl_chan_send((bl_chan *)arg, &line) != 0) /* @log_send */
            return 1;
    bl_chan_release((bl_chan *)arg);
    return 0;
}

static int log_start(void *arg)
{
    bl_chan *lines = bl_chan_new(sizeof(int), 4); /* @log_chan */
    (void)arg;
    bl_go(bl_root(), log_write, lines);
    bl_go(bl_root(), log_lines, lines);
    return 0;
}

/*? log_is_full leak
 * log_lines@log_send [chan send] (cap 4, 4 buffered); made by log_start at @log_chan; cause: nobody is left to receive
 */
static int log_is_full(void *arg)
{
    bl_go(bl_root(), log_start, arg);
    return go_on();
}

/* ---- A batch is written when it is full or late, and its timer is not started again ---- */

typedef struct batch {
    bl_chan *items;
    bl_timer late;
    int n;
} batch;

static int batch_loop(void *arg)
{
    batch *b = arg;
    int v, which = 0;
    bl_time at;
    bl_chan *late = bl_timer_chan(&b->late);
    while (which >= 0) {
        which = BL_SELECT(BL_RECV(b->items, &v), BL_RECV(late, &at)); /* @batch_select */
        if (which == 1 || ++b->n == 4) {
            bl_timer_stop(&b->late);
            b->n = 0;
        }
    }
    bl_chan_release(b->items);
    free(b);
    return which;
}

static int batch_fill(void *arg)
{
    batch *b = calloc(1, sizeof *b);
    (void)arg;
    b->items = bl_chan_new(sizeof(int), 8); /* @batch_chan */
    bl_timer_start(&b->late, 5 * BL_MS);    /* @batch_timer */
    for (int i = 0; i < 5; i++)
        if (bl_chan_send(b->items, &i) != 0)
            return 1;
    bl_go(bl_root(), batch_loop, b);
    return 0; /* and nobody closes items */
}

/*? batch_waits_for_ever leak
 * batch_loop@batch_select [select] waits to receive on channel; made by batch_fill at @batch_chan; of a timer; not armed; cause: nobody is left to serve any of its cases
 */
static int batch_waits_for_ever(void *arg)
{
    bl_go(bl_root(), batch_fill, arg);
    return go_on();
}

/* ---- Two locks are taken, and one is given back on the way out ---- */

typedef struct account {
    bl_mutex lock;
    int cents;
} account;

static account accounts[2];

static int transfer(void *arg)
{
    int cents = *(int *)arg;
    bl_mutex_lock(&accounts[0].lock); /* @transfer_lock */
    bl_mutex_lock(&accounts[1].lock);
    if (accounts[0].cents < cents) {
        bl_mutex_unlock(&accounts[1].lock);
        return 0; /* too little, and the first stays locked */
    }
    bl_mutex_unlock(&accounts[1].lock);
    bl_mutex_unlock(&accounts[0].lock);
    return 0;
}

static int bank_part(void *arg)
{
    int cents = 5;
    (void)arg;
    BL_SCOPE(s, .name = "bank");
    bl_go(s, transfer, &cents);
    int r = until_left(2); /* the main goroutine and this one */
    bl_go(s, transfer, &cents);
    return r != 0 ? r : bl_scope_wait(s); /* @bank_wait */
}

/*? one_of_two_locks_is_kept deadlock
 * bank_part@bank_wait [scope wait] waits on scope "bank"
 * transfer@transfer_lock [sync.Mutex.Lock] (accounts), held by a goroutine that has ended; cause: a goroutine that has ended still holds it
 */
static int one_of_two_locks_is_kept(void *arg)
{
    bl_go(bl_root(), bank_part, arg);
    return go_on();
}

/* ---- What has been taken from a buffer is not in it any more ---- */

typedef struct letter {
    bl_chan *answer;
} letter;

static int post_and_wait(void *arg)
{
    letter l = {bl_chan_new(sizeof(int), 0)}; /* @answer_chan */
    int v;
    if (bl_chan_send((bl_chan *)arg, &l) != 0)
        return 1;
    int r = bl_chan_recv(l.answer, &v); /* @answer_recv */
    bl_chan_release(l.answer);
    return r;
}

static int letterbox(void *arg)
{
    letter l;
    while (bl_chan_recv((bl_chan *)arg, &l) == 0)
        l.answer = NULL; /* thrown away */
    return 0;
}

/*? letters_are_thrown_away leak
 * post_and_wait@answer_recv [chan receive] made by post_and_wait at @answer_chan; cause: nobody is left to send; and 2 more like it
 */
static int letters_are_thrown_away(void *arg)
{
    bl_chan *letters = bl_chan_new(sizeof(letter), 8);
    (void)arg;
    for (int i = 0; i < 3; i++)
        bl_go(bl_root(), post_and_wait, letters);
    while (bl_chan_len(letters) < 3)
        bl_yield();
    bl_go(bl_root(), letterbox, letters);
    int r = go_on();
    bl_chan_close(letters);
    bl_chan_release(letters);
    return r;
}

PROGRAMS({"writer_gives_up_first", writer_gives_up_first},
         {"consumers_are_dead", consumers_are_dead}, {"retries_give_up", retries_give_up},
         {"monitor_is_closed", monitor_is_closed}, {"leader_fails_silently", leader_fails_silently},
         {"subscriber_has_left", subscriber_has_left}, {"permits_are_lost", permits_are_lost},
         {"connection_is_not_returned", connection_is_not_returned},
         {"reply_is_abandoned", reply_is_abandoned}, {"stage_gives_up", stage_gives_up},
         {"shard_is_skipped", shard_is_skipped}, {"inboxes_are_full", inboxes_are_full},
         {"log_is_full", log_is_full}, {"batch_waits_for_ever", batch_waits_for_ever},
         {"one_of_two_locks_is_kept", one_of_two_locks_is_kept},
         {"letters_are_thrown_away", letters_are_thrown_away})
