/* SPDX-License-Identifier: MIT */
/* What the finder says of parts of a program while the rest goes on; and that it says nothing of those that only wait long. */
#include <unistd.h>

#include "cases.h"

enum { LONG_ENOUGH = 900 }; /* ms, for the finder to have looked */

static int rest(void *arg)
{
    (void)arg;
    said_wait(LONG_ENOUGH);
    fflush(NULL);
    _exit(0); /* the stuck ones cannot be joined */
}

/* Runs part in the root scope beside a goroutine that ends the program after a while. */
static int beside(bl_fn part)
{
    bl_go(bl_root(), part, NULL);
    return rest(NULL);
}

typedef struct job {
    bl_chan *c;
    bl_mutex m;
    bl_cond cond;
    bl_waitgroup wg;
} job;

static int send_one(void *arg)
{
    int v = 1;
    return KEEP(bl_chan_send(((job *)arg)->c, &v));
}

static int recv_all(void *arg)
{
    int v;
    while (KEEP(bl_chan_recv(((job *)arg)->c, &v)) == 0)
        continue;
    return 0;
}

/* ---- Stuck ---- */

/* Two senders, nobody receives, and the handler joins them. */
static int senders_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "request");
    job *j = calloc(1, sizeof *j);
    j->c = bl_chan_new(sizeof(int), 0);
    bl_go(s, send_one, j);
    bl_go(s, send_one, j);
    int r = KEEP(bl_scope_wait(s));
    free(j);
    return r;
}

static int senders(void *arg)
{
    (void)arg;
    return beside(senders_part);
}

/* The channel is ranged over and never closed. */
static int unclosed_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    job j = {.c = bl_scope_chan(s, sizeof(int), 4)};
    bl_go(s, recv_all, &j);
    bl_go(s, send_one, &j);
    return KEEP(bl_scope_wait(s));
}

static int unclosed(void *arg)
{
    (void)arg;
    return beside(unclosed_part);
}

/* The lock is held across a send to who needs the lock first. */
static int locked_send(void *arg)
{
    job *j = arg;
    bl_mutex_lock(&j->m);
    int r = KEEP(send_one(j));
    bl_mutex_unlock(&j->m);
    return r;
}

static int locked_recv(void *arg)
{
    job *j = arg;
    int v, r = bl_sleep(BL_MS);
    bl_mutex_lock(&j->m);
    r = KEEP(r == 0 ? bl_chan_recv(j->c, &v) : r);
    bl_mutex_unlock(&j->m);
    return r;
}

static int lock_and_chan_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    job j = {.c = bl_scope_chan(s, sizeof(int), 0)};
    bl_go(s, locked_send, &j);
    bl_go(s, locked_recv, &j);
    return KEEP(bl_scope_wait(s));
}

static int lock_and_chan(void *arg)
{
    (void)arg;
    return beside(lock_and_chan_part);
}

/* A done is missed. */
static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int missed_done_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    job *j = calloc(1, sizeof *j);
    bl_waitgroup_add(&j->wg, 2);
    bl_waitgroup_go(&j->wg, s, nothing, NULL);
    bl_waitgroup_done(&j->wg);
    int r = KEEP(bl_waitgroup_wait(&j->wg));
    free(j);
    return r;
}

static int missed_done_opener(void *arg)
{
    BL_SCOPE(s);
    bl_go(s, missed_done_part, arg);
    return KEEP(bl_scope_wait(s));
}

static int missed_done(void *arg)
{
    (void)arg;
    return beside(missed_done_opener);
}

/* ---- All right ---- */

static int send_late(void *arg)
{
    int r = KEEP(bl_sleep(LONG_ENOUGH / 2 * BL_MS));
    bl_chan_close(((job *)arg)->c);
    return r;
}

/* Who is to come sleeps, in another scope. */
static int late_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    job j = {.c = bl_scope_chan(s, sizeof(int), 0)};
    bl_go(s, recv_all, &j);
    bl_go(bl_root(), send_late, &j);
    return KEEP(bl_scope_wait(s));
}

static int late(void *arg)
{
    (void)arg;
    return beside(late_part);
}

/* Only a global leads to it. */
static job *global;

static int global_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    global = calloc(1, sizeof *global);
    global->c = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_all, global);
    return KEEP(bl_scope_wait(s));
}

static int global_leads(void *arg)
{
    (void)arg;
    return beside(global_part);
}

/* They wait for the end, and say so. */
static int until_done(void *arg)
{
    (void)arg;
    return KEEP(bl_chan_recv(bl_ctx_done(bl_ctx_current()), NULL));
}

static int services_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "services");
    bl_go(s, until_done, NULL);
    bl_go(s, until_done, NULL);
    return KEEP(bl_scope_wait(s));
}

static int services(void *arg)
{
    (void)arg;
    return beside(services_part);
}

/* The opener will stop them, when it has slept. */
static int stopped_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    job j = {.c = bl_scope_chan(s, sizeof(int), 0)};
    bl_go(s, recv_all, &j);
    return KEEP(bl_sleep(LONG_ENOUGH / 2 * BL_MS));
}

static int stopped(void *arg)
{
    (void)arg;
    return beside(stopped_part);
}

/* A reader waits for what nobody sends, and keeps out the writer, which keeps out another reader. All can get at the
 * lock; but only who has it gives it back. */
static bl_rwmutex table;

static int stuck_reader(void *arg)
{
    bl_rwmutex_rlock(&table);
    int r = KEEP(recv_all(arg));
    bl_rwmutex_runlock(&table);
    return r;
}

static int writer(void *arg)
{
    (void)arg;
    bl_rwmutex_lock(&table);
    bl_rwmutex_unlock(&table);
    return (int)bl_goroutines();
}

static int kept_reader(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&table);
    bl_rwmutex_runlock(&table);
    return (int)bl_goroutines();
}

static int readers_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    job j = {.c = bl_scope_chan(s, sizeof(int), 0)};
    bl_go(s, stuck_reader, &j);
    bl_go(s, writer, NULL);
    bl_go(s, kept_reader, NULL);
    return KEEP(bl_scope_wait(s));
}

static int readers(void *arg)
{
    (void)arg;
    return beside(readers_part);
}

/* The same with a reader that goes on in the end. */
static int slow_reader(void *arg)
{
    (void)arg;
    bl_rwmutex_rlock(&table);
    int r = KEEP(bl_sleep(LONG_ENOUGH / 2 * BL_MS));
    bl_rwmutex_runlock(&table);
    return r;
}

static int slow_readers_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, slow_reader, NULL);
    bl_go(s, writer, NULL);
    bl_go(s, kept_reader, NULL);
    return KEEP(bl_scope_wait(s));
}

static int slow_readers(void *arg)
{
    (void)arg;
    return beside(slow_readers_part);
}

/* What was told of is not told again when the rest gets stuck, too. */
static int first_a_part(void *arg)
{
    bl_go(bl_root(), unclosed_part, arg);
    said_wait(LONG_ENOUGH);
    return KEEP(bl_chan_recv((bl_chan *)NULL, NULL));
}

static const fatal_case cases[] = {
    {"senders", senders},
    {"unclosed", unclosed},
    {"lock_and_chan", lock_and_chan},
    {"missed_done", missed_done},
    {"late", late},
    {"global_leads", global_leads},
    {"services", services},
    {"stopped", stopped},
    {"readers", readers},
    {"slow_readers", slow_readers},
    {"first_a_part", first_a_part},
};

CASES_MAIN(cases)
