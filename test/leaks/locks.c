/* SPDX-License-Identifier: MIT */
/* Locks: taken twice, in two orders, kept on a way out, held by who has gone. */
#include "leaks.h"

/* ---- Taken twice ---- */

typedef struct account {
    bl_mutex lock;
    long balance;
    int frozen;
} account;

static int account_frozen(account *a)
{
    bl_mutex_lock(&a->lock); /* @frozen_lock */
    int frozen = a->frozen;
    bl_mutex_unlock(&a->lock);
    return frozen;
}

static int account_withdraw(account *a, long amount)
{
    bl_mutex_lock(&a->lock);
    int r = account_frozen(a) || a->balance < amount ? -1 : 0; /* which locks, too */
    if (r == 0)
        a->balance -= amount;
    bl_mutex_unlock(&a->lock);
    return r;
}

/*? twice_in_callee fatal sync: lock of mutex already held by this goroutine - deadlock!
 * account_frozen@frozen_lock [running] holds sync.Mutex
 */
static int twice_in_callee(void *arg)
{
    (void)arg;
    account a = {.balance = 100};
    return account_withdraw(&a, 30);
}

typedef struct cache {
    bl_rwmutex lock;
    int entries[8];
    void (*on_evict)(struct cache *c, int i);
} cache;

static void cache_count_evicted(cache *c, int i)
{
    bl_rwmutex_rlock(&c->lock); /* @evicted_rlock */
    printf("evicted %d\n", c->entries[i]);
    bl_rwmutex_runlock(&c->lock);
}

static void cache_evict(cache *c, int i)
{
    bl_rwmutex_lock(&c->lock);
    c->on_evict(c, i);
    c->entries[i] = 0;
    bl_rwmutex_unlock(&c->lock);
}

static int evictor(void *arg)
{
    cache_evict(arg, 3);
    return 0;
}

/*? twice_in_callback fatal sync: RLock of RWMutex already held by this goroutine - deadlock!
 * cache_count_evicted@evicted_rlock [running] holds sync.RWMutex
 */
static int twice_in_callback(void *arg)
{
    (void)arg;
    cache c = {.on_evict = cache_count_evicted};
    BL_SCOPE(s, .name = "cache");
    bl_go(s, evictor, &c);
    return bl_scope_wait(s);
}

/* ---- In two orders ---- */

typedef struct bank {
    account a, b;
    bl_waitgroup both; /* so that it happens every time */
} bank;

static void meet(bl_waitgroup *wg)
{
    bl_waitgroup_done(wg);
    if (bl_waitgroup_wait(wg) < 0)
        abort();
}

static int transfer_there(void *arg)
{
    bank *k = arg;
    bl_mutex_lock(&k->a.lock);
    meet(&k->both);
    bl_mutex_lock(&k->b.lock); /* @there_b */
    k->a.balance--, k->b.balance++;
    bl_mutex_unlock(&k->b.lock);
    bl_mutex_unlock(&k->a.lock);
    return 0;
}

static int transfer_back(void *arg)
{
    bank *k = arg;
    bl_mutex_lock(&k->b.lock);
    meet(&k->both);
    bl_mutex_lock(&k->a.lock); /* @back_a */
    k->b.balance--, k->a.balance++;
    bl_mutex_unlock(&k->a.lock);
    bl_mutex_unlock(&k->b.lock);
    return 0;
}

/*? two_orders deadlock
 * transfer_there@there_b [sync.Mutex.Lock] held by goroutine 3; holds sync.Mutex; cause: goroutine 3 (transfer_back) holds it, and is itself in sync.Mutex.Lock
 * transfer_back@back_a [sync.Mutex.Lock] held by goroutine 2; holds sync.Mutex; cause: goroutine 2 (transfer_there) holds it
 */
static int two_orders(void *arg)
{
    (void)arg;
    static bank k;
    bl_waitgroup_add(&k.both, 2);
    bl_go(bl_root(), transfer_there, &k);
    bl_go(bl_root(), transfer_back, &k);
    return go_on();
}

/*? two_orders_at_exit left
 * transfer_there@there_b [sync.Mutex.Lock] holds sync.Mutex; cause: goroutine 3 (transfer_back) holds it, and is itself in sync.Mutex.Lock
 * transfer_back@back_a [sync.Mutex.Lock] holds sync.Mutex; cause: goroutine 2 (transfer_there) holds it
 */
static int two_orders_at_exit(void *arg)
{
    (void)arg;
    static bank k;
    bl_waitgroup_add(&k.both, 2);
    bl_go(bl_root(), transfer_there, &k);
    bl_go(bl_root(), transfer_back, &k);
    return until_waiting(2);
}

typedef struct ring {
    bl_mutex fork[3];
    bl_waitgroup all;
    int next;
} ring;

static int philosopher(void *arg)
{
    ring *r = arg;
    int i = __atomic_fetch_add(&r->next, 1, __ATOMIC_RELAXED);
    bl_mutex_lock(&r->fork[i]);
    meet(&r->all);
    bl_mutex_lock(&r->fork[(i + 1) % 3]); /* @fork */
    bl_mutex_unlock(&r->fork[(i + 1) % 3]);
    bl_mutex_unlock(&r->fork[i]);
    return 0;
}

static int dinner(void *arg)
{
    (void)arg;
    ring r = {.next = 0};
    BL_SCOPE(s, .name = "dinner");
    bl_waitgroup_add(&r.all, 3);
    for (int i = 0; i < 3; i++)
        bl_go(s, philosopher, &r);
    return bl_scope_wait(s); /* @dinner_wait */
}

/*? circle_of_three deadlock
 * dinner@dinner_wait [scope wait] opened by dinner
 * philosopher@fork [sync.Mutex.Lock] holds sync.Mutex; in scope "dinner"
 * philosopher@fork [sync.Mutex.Lock] holds sync.Mutex; in scope "dinner"
 * philosopher@fork [sync.Mutex.Lock] holds sync.Mutex; in scope "dinner"
 */
static int circle_of_three(void *arg)
{
    bl_go(bl_root(), dinner, arg);
    return go_on();
}

typedef struct table {
    bl_rwmutex rows;
    bl_mutex index;
    bl_waitgroup both;
} table;

static int table_insert(void *arg)
{
    table *t = arg;
    bl_rwmutex_lock(&t->rows);
    meet(&t->both);
    bl_mutex_lock(&t->index); /* @insert_index */
    bl_mutex_unlock(&t->index);
    bl_rwmutex_unlock(&t->rows);
    return 0;
}

static int table_vacuum(void *arg)
{
    table *t = arg;
    bl_mutex_lock(&t->index);
    meet(&t->both);
    bl_rwmutex_rlock(&t->rows); /* @vacuum_rows */
    bl_rwmutex_runlock(&t->rows);
    bl_mutex_unlock(&t->index);
    return 0;
}

/*? mixed_orders global
 * mixed_orders@mixed_wait [scope wait] waits on scope "table"
 * table_insert@insert_index [sync.Mutex.Lock] held by goroutine 3; holds sync.RWMutex; cause: goroutine 3 (table_vacuum) holds it
 * table_vacuum@vacuum_rows [sync.RWMutex.RLock] held by goroutine 2; holds sync.Mutex; cause: goroutine 2 (table_insert) holds it
 */
static int mixed_orders(void *arg)
{
    (void)arg;
    table t = {.rows = {0}};
    BL_SCOPE(s, .name = "table");
    bl_waitgroup_add(&t.both, 2);
    bl_go(s, table_insert, &t);
    bl_go(s, table_vacuum, &t);
    return bl_scope_wait(s); /* @mixed_wait */
}

/* ---- Kept on a way out ---- */

static bl_mutex registry_lock;
static int registry_names;

static int registry_add(const char *name)
{
    bl_mutex_lock(&registry_lock);
    if (strlen(name) > 8)
        return BL_EINVAL; /* without unlocking it */
    registry_names++;
    bl_mutex_unlock(&registry_lock);
    return 0;
}

static int registrar(void *arg)
{
    (void)registry_add(arg);
    return 0;
}

static int registry_reader(void *arg)
{
    (void)arg;
    bl_mutex_lock(&registry_lock); /* @reader_lock */
    int n = registry_names;
    bl_mutex_unlock(&registry_lock);
    return n < 0;
}

/*? kept_on_error deadlock
 * registry_reader@reader_lock [sync.Mutex.Lock] registry_lock; held by a goroutine that has ended; cause: a goroutine that has ended still holds it
 */
static int kept_on_error(void *arg)
{
    (void)arg;
    bl_go(bl_root(), registrar, "a long name");
    if (until_left(1) < 0)
        return 1;
    bl_go(bl_root(), registry_reader, NULL);
    return go_on();
}

/*? kept_on_error_said said goroutine 2 (registrar) ended holding a sync.Mutex
 */
static int kept_on_error_said(void *arg)
{
    (void)arg;
    bl_go(bl_root(), registrar, "another long name");
    return until_left(1);
}

typedef struct journal {
    bl_mutex lock;
    int lines;
} journal;

static int journal_write(journal *j, int line)
{
    bl_mutex_lock(&j->lock); /* @journal_lock */
    if (line < 0)
        return BL_EINVAL;
    j->lines++;
    bl_mutex_unlock(&j->lock);
    return 0;
}

/*? kept_and_taken_again fatal sync: lock of mutex already held by this goroutine - deadlock!
 * journal_write@journal_lock [running] holds sync.Mutex
 */
static int kept_and_taken_again(void *arg)
{
    (void)arg;
    journal j = {.lines = 0};
    (void)journal_write(&j, -1);
    return journal_write(&j, 1);
}

/* ---- Readers and writers ---- */

typedef struct config {
    bl_rwmutex lock;
    bl_chan *inside; /* a reader is inside */
    int values[2];
} config;

static int config_get(config *c, int i)
{
    bl_rwmutex_rlock(&c->lock); /* @get_rlock */
    int v = c->values[i];
    bl_rwmutex_runlock(&c->lock);
    return v;
}

static int config_sum(void *arg)
{
    config *c = arg;
    bl_rwmutex_rlock(&c->lock);
    bl_chan_close(c->inside);
    int r = until_waiting(2); /* the main goroutine, and a writer who has come */
    int sum = config_get(c, 0) + config_get(c, 1);
    bl_rwmutex_runlock(&c->lock);
    return r < 0 ? r : sum;
}

static int config_set(void *arg)
{
    config *c = arg;
    int r = bl_chan_recv(c->inside, NULL);
    bl_rwmutex_lock(&c->lock);
    c->values[0] = 1;
    bl_rwmutex_unlock(&c->lock);
    return r == BL_ECLOSED ? 0 : r;
}

/*? read_twice fatal sync: RLock of RWMutex already held for reading by this goroutine, behind goroutine 3
 * config_get@get_rlock [running] for reading
 */
static int read_twice(void *arg)
{
    (void)arg;
    static config c;
    c.inside = bl_chan_new(0, 0);
    bl_go(bl_root(), config_sum, &c);
    bl_go(bl_root(), config_set, &c);
    return go_on();
}

static int config_total(config *c)
{
    bl_rwmutex_rlock(&c->lock); /* @total_rlock */
    int sum = c->values[0] + c->values[1];
    bl_rwmutex_runlock(&c->lock);
    return sum;
}

static int config_each(config *c, int (*fn)(config *c))
{
    int sum = 0;
    bl_rwmutex_rlock(&c->lock);
    for (int i = 0; i < 100; i++) { /* once the writer waits it is fatal */
        if (i == 0)
            bl_chan_close(c->inside);
        if (bl_sleep(20 * BL_MS) < 0)
            break;
        sum += fn(c);
    }
    bl_rwmutex_runlock(&c->lock);
    return sum;
}

static int config_totals(void *arg) { return config_each(arg, config_total) < 0; }

/*? read_twice_by_callback fatal sync: RLock of RWMutex already held for reading by this goroutine
 * config_total@total_rlock [running] for reading
 */
static int read_twice_by_callback(void *arg)
{
    (void)arg;
    config c = {.inside = NULL};
    BL_SCOPE(s);
    c.inside = bl_scope_chan(s, 0, 0);
    bl_go(s, config_totals, &c);
    bl_go(s, config_set, &c);
    return bl_scope_wait(s);
}

typedef struct store {
    bl_rwmutex lock;
    int keys;
} store;

static int store_load(void *arg)
{
    store *st = arg;
    bl_rwmutex_rlock(&st->lock);
    if (st->keys == 0)
        return 0; /* without giving it back */
    bl_rwmutex_runlock(&st->lock);
    return 0;
}

static int store_save(void *arg)
{
    store *st = arg;
    bl_rwmutex_lock(&st->lock); /* @save_lock */
    st->keys++;
    bl_rwmutex_unlock(&st->lock);
    return 0;
}

static int store_part(void *arg)
{
    (void)arg;
    store *st = calloc(1, sizeof *st);
    BL_SCOPE(s, .name = "store");
    bl_go(s, store_load, st);
    if (until_left(2) < 0) /* the main goroutine and this one */
        return 1;
    bl_go(s, store_save, st);
    int r = bl_scope_wait(s); /* @store_wait */
    free(st);
    return r;
}

/*? reader_gone deadlock
 * store_part@store_wait [scope wait] waits on scope "store"
 * store_save@save_lock [sync.RWMutex.Lock] held by 1 reader; in scope "store"; cause: no goroutine that is left holds it for reading
 */
static int reader_gone(void *arg)
{
    bl_go(bl_root(), store_part, arg);
    return go_on();
}

/* ---- A reader behind a writer behind a reader that waits for it ---- */

typedef struct feed {
    bl_rwmutex lock;
    bl_chan *news;
} feed;

static int feed_wait(void *arg)
{
    feed *f = arg;
    bl_rwmutex_rlock(&f->lock);
    int err = bl_chan_recv(f->news, NULL); /* @news_recv */
    bl_rwmutex_runlock(&f->lock);
    return err;
}

static int feed_change(void *arg)
{
    feed *f = arg;
    bl_rwmutex_lock(&f->lock); /* @feed_lock */
    bl_rwmutex_unlock(&f->lock);
    return 0;
}

static int feed_send(void *arg)
{
    feed *f = arg;
    bl_rwmutex_rlock(&f->lock); /* @feed_rlock */
    int err = bl_chan_send(f->news, NULL);
    bl_rwmutex_runlock(&f->lock);
    return err;
}

static int feed_part(void *arg)
{
    static const bl_fn parts[] = {feed_wait, feed_change, feed_send};
    feed f = {.news = NULL};
    (void)arg;
    BL_SCOPE(s, .name = "feed");
    f.news = bl_scope_chan(s, 0, 0); /* @news_chan */
    for (int i = 0; i < 3; i++) {
        bl_go(s, parts[i], &f);
        if (until_waiting((uint64_t)i + 2) < 0) /* they and the main goroutine */
            return 1;
    }
    return bl_scope_wait(s); /* @feed_wait */
}

/*? reader_behind_a_writer deadlock
 * feed_part@feed_wait [scope wait] waits on scope "feed"
 * feed_wait@news_recv [chan receive] made by feed_part at @news_chan; for reading
 * feed_change@feed_lock [sync.RWMutex.Lock] held by 1 reader; cause: goroutine N (feed_wait) holds it for reading, and is itself in chan receive
 * feed_send@feed_rlock [sync.RWMutex.RLock] held by 1 reader, behind goroutine N, which waits to Lock it; cause: goroutine N (feed_wait) holds it for reading
 */
static int reader_behind_a_writer(void *arg)
{
    bl_go(bl_root(), feed_part, arg);
    return go_on();
}

/* ---- Two locks that are made and waited for at the same places ---- */

typedef struct shard {
    bl_mutex lock;
    bl_chan *replies;
} shard;

static int shard_hold(void *arg)
{
    shard *sh = arg;
    bl_mutex_lock(&sh->lock);
    int err = bl_chan_recv(sh->replies, NULL); /* @shard_recv */
    bl_mutex_unlock(&sh->lock);
    return err;
}

static shard *shard_new(bl_scope *s)
{
    shard *sh = calloc(1, sizeof *sh);
    sh->replies = bl_scope_chan(s, 0, 0); /* @shard_chan */
    return sh;
}

static int shard_use(void *arg)
{
    shard *sh = shard_new(arg);
    BL_SCOPE(s, .name = "shard");
    bl_go(s, shard_hold, sh);
    while (bl_mutex_try_lock(&sh->lock)) { /* until that one has it */
        bl_mutex_unlock(&sh->lock);
        if (bl_sleep(BL_MS) < 0)
            return 1;
    }
    bl_mutex_lock(&sh->lock); /* @shard_lock */
    bl_mutex_unlock(&sh->lock);
    free(sh);
    return 0;
}

static int shards_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "shards");
    for (int i = 0; i < 2; i++)
        bl_go(s, shard_use, s);
    return bl_scope_wait(s); /* @shards_wait */
}

/*? two_holders_of_two_locks deadlock
 * shards_part@shards_wait [scope wait] waits on scope "shards"
 * shard_use@shard_lock [sync.Mutex.Lock] cause: goroutine N (shard_hold) holds it, and is itself in chan receive
 * shard_use@shard_lock [sync.Mutex.Lock] cause: goroutine N (shard_hold) holds it, and is itself in chan receive
 * shard_hold@shard_recv [chan receive] holds sync.Mutex; made by shard_new at @shard_chan
 * shard_hold@shard_recv [chan receive] holds sync.Mutex; made by shard_new at @shard_chan
 */
static int two_holders_of_two_locks(void *arg)
{
    bl_go(bl_root(), shards_part, arg);
    return go_on();
}

/* ---- A holder whose function begins with another's code ---- */

static int shard_take(void *arg)
{
    shard *sh = arg;
    bl_mutex_lock(&sh->lock); /* @take_lock */
    bl_mutex_unlock(&sh->lock);
    return 0;
}

static shard *shard_alloc(void) { return calloc(1, sizeof(shard)); }

static int shard_serve(void *arg)
{
    (void)arg;
    shard *sh = shard_alloc(); /* which gcc and clang put first, where this has a frame pointer */
    if (sh == NULL || __builtin_frame_address(0) == NULL)
        return 1;
    BL_SCOPE(s, .name = "serve");
    sh->replies = bl_scope_chan(s, 0, 0);
    bl_mutex_lock(&sh->lock);
    bl_go(s, shard_take, sh);
    int err = bl_chan_recv(sh->replies, NULL); /* @serve_recv */
    bl_mutex_unlock(&sh->lock);
    return err;
}

/*? holder_that_begins_inlined deadlock
 * shard_serve@serve_recv [chan receive] holds sync.Mutex
 * shard_take@take_lock [sync.Mutex.Lock] cause: goroutine N (shard_serve) holds it, and is itself in chan receive
 */
static int holder_that_begins_inlined(void *arg)
{
    bl_go(bl_root(), shard_serve, arg);
    return go_on();
}

PROGRAMS({"twice_in_callee", twice_in_callee}, {"twice_in_callback", twice_in_callback},
         {"two_orders", two_orders}, {"two_orders_at_exit", two_orders_at_exit},
         {"circle_of_three", circle_of_three}, {"mixed_orders", mixed_orders},
         {"kept_on_error", kept_on_error}, {"kept_on_error_said", kept_on_error_said},
         {"kept_and_taken_again", kept_and_taken_again}, {"read_twice", read_twice},
         {"read_twice_by_callback", read_twice_by_callback}, {"reader_gone", reader_gone},
         {"reader_behind_a_writer", reader_behind_a_writer},
         {"two_holders_of_two_locks", two_holders_of_two_locks},
         {"holder_that_begins_inlined", holder_that_begins_inlined})
