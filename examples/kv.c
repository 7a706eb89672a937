/* SPDX-License-Identifier: MIT */
/*
 * kv: 100 goroutines move amounts between the keys of a table, in SQLite, a connection each.
 *
 *     belay run examples/kv.c -- FILE [SECONDS]
 *
 * In WAL mode readers see the last commit and wait for nobody, and one writer at a time has its
 * turn. SQLite's calls block on the disk, and that stops one goroutine alone. A connection is used
 * by one goroutine, so it needs no lock of its own (SQLITE_OPEN_NOMUTEX); that the goroutine may be
 * on another thread at the next call is all the same to SQLite.
 *
 * When another one is writing, SQLite asks its busy handler what to do. Ours sleeps as goroutines
 * do: that is a stop path, so the deadline and the first error of another goroutine end the wait.
 * SQLite holds no mutex of a thread there; where a library does, or where it is unknown, a callback
 * must not wait, and sqlite3_busy_timeout, which blocks, does as well.
 */
//belay:libs sqlite3
#include "stall.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS = 100, MOVES = 20, KEYS = 50, EACH = 1000 };

typedef struct work {
    const char *file;
    atomic_int queries, rows, errors;
} work;

static int failed(work *w, sqlite3 *db)
{
    int stopped = bl_ctx_err(bl_ctx_current());
    if (stopped)
        return stopped; /* it failed because we stopped it */
    if (atomic_fetch_add(&w->errors, 1) == 0)
        fprintf(stderr, "kv: %s: %s\n", w->file, sqlite3_errmsg(db));
    return BL_EIO;
}

/* A transaction; it is rolled back by the close of the connection if it fails. */
static int move(work *w, sqlite3 *db, int from, int to)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "begin immediate;"
             "update kv set value = value - 1 where key = %d;"
             "update kv set value = value + 1 where key = %d;"
             "commit",
             from, to);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return failed(w, db);
    atomic_fetch_add(&w->queries, 1);
    return 0;
}

/* However many are writing, a reader sees all of a transaction or nothing: the sum stays the
 * same. */
static int check(work *w, sqlite3 *db)
{
    sqlite3_stmt *all;
    if (sqlite3_prepare_v2(db, "select value from kv", -1, &all, NULL) != SQLITE_OK)
        return failed(w, db);
    int r, rows = 0;
    long sum = 0;
    for (; (r = sqlite3_step(all)) == SQLITE_ROW; rows++)
        sum += sqlite3_column_int(all, 0);
    sqlite3_finalize(all);
    if (r != SQLITE_DONE)
        return failed(w, db);
    atomic_fetch_add(&w->queries, 1);
    atomic_fetch_add(&w->rows, rows);
    if (sum == (long)KEYS * EACH)
        return 0;
    fprintf(stderr, "kv: the sum is %ld\n", sum);
    atomic_fetch_add(&w->errors, 1);
    return BL_EIO;
}

/* Called inside of SQLite when another connection is writing: 1, try again; 0, give up. */
static int busy(void *arg, int times)
{
    (void)arg;
    return bl_sleep((times < 20 ? times + 1 : 20) * BL_MS) == 0;
}

static int client(void *arg)
{
    work *w = arg;
    sqlite3 *db;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int r = sqlite3_open_v2(w->file, &db, flags, NULL) == SQLITE_OK ? 0 : failed(w, db);
    if (r == 0)
        sqlite3_busy_handler(db, busy, NULL);
    unsigned seed = (unsigned)bl_id();
    for (int i = 0; i < MOVES && r == 0; i++) {
        r = move(w, db, rand_r(&seed) % KEYS, rand_r(&seed) % KEYS);
        if (r == 0)
            r = check(w, db);
        if (r == 0)
            r = bl_ctx_err(bl_ctx_current());
    }
    sqlite3_close(db);
    return r;
}

static int table_make(work *w)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "pragma journal_mode = wal;"
             "drop table if exists kv;"
             "create table kv (key integer primary key, value integer not null);"
             "with recursive n(i) as (select 0 union all select i + 1 from n where i < %d)"
             "insert into kv select i, %d from n",
             KEYS - 1, EACH);
    sqlite3 *db;
    int r = sqlite3_open(w->file, &db);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, sql, NULL, NULL, NULL);
    int err = r == SQLITE_OK ? 0 : failed(w, db);
    sqlite3_close(db);
    return err;
}

static int clients_run(work *w, bl_dur timeout)
{
    BL_SCOPE(s, .name = "clients", .timeout = timeout, .grace = 5 * BL_SEC);
    for (int i = 0; i < CLIENTS; i++)
        bl_go(s, client, w);
    return bl_scope_wait(s);
}

static int main_goroutine(void *arg)
{
    char **argv = arg;
    work w = {.file = argv[1]};
    bl_dur timeout = argv[2] ? strtol(argv[2], NULL, 10) * BL_SEC : BL_MIN;
    bl_dur worst = 0;
    bl_time start = bl_now();
    BL_SCOPE(watch, .name = "watch");
    bl_go(watch, stall_watch, &worst);
    int r = table_make(&w);
    if (r == 0)
        r = clients_run(&w, timeout);
    bl_scope_cancel(watch, 0);
    bl_scope_wait(watch);
    printf("kv: %d queries, %d rows, %d errors, %.2f s, worst stall %.2f ms: %s\n", (int)w.queries,
           (int)w.rows, (int)w.errors, (double)(bl_now() - start) / BL_SEC, (double)worst / BL_MS,
           bl_strerror(r));
    return r;
}

/* More stack than belay's 64 KiB: libraries are written for the 8 MiB of a thread, and SQL of any
 * size is parsed here. Pages that are never touched cost no memory. */
int main(int argc, char **argv)
{
    if (argc < 2 || !sqlite3_threadsafe()) {
        fprintf(stderr, "usage: kv FILE [SECONDS]\n");
        return 2;
    }
    return bl_run(main_goroutine, argv, &(bl_options){.stack_size = 256 << 10}) < 0;
}
