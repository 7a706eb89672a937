/* SPDX-License-Identifier: MIT */
/*
 * pg: 200 goroutines ask PostgreSQL, with libpq's ordinary blocking calls.
 *
 *     PGHOST=/run/postgresql belay run examples/pg.c -- [SQL [SECONDS]]
 *
 * libpq knows nothing of goroutines. PQexec waits in poll(2) for the server, and meanwhile the
 * runtime gives the processor to another goroutine; nothing is annotated. Any library can be called
 * so that would work with a thread per connection, as libpq does: a connection is used by one
 * goroutine at a time, and nothing holds a pthread mutex across a call of belay. A goroutine may
 * change its thread in a call of belay, never inside of PQexec: what a library keeps per thread
 * (errno, OpenSSL's queue of errors) is to be looked at before the next call of belay.
 *
 * A call that blocks outside of belay is no stop path. But libpq has a way to stop a query from
 * outside, PQcancel, and bl_ctx_after ties it to the context: so the deadline of the scope, and the
 * first error of another goroutine, reach the query that runs in the server.
 */
//belay:cflags -I/usr/include/postgresql
//belay:libs pq
#include "stall.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS = 200, QUERIES = 20 };

#define GRACE (5 * BL_SEC)

typedef struct work {
    const char *sql;
    atomic_int queries, rows, errors;
} work;

/* A connection or a query failed; the first one that did tells what the server said. */
static int failed(work *w, PGconn *conn)
{
    int stopped = bl_ctx_err(bl_ctx_current());
    if (stopped)
        return stopped; /* it failed because we stopped it */
    if (atomic_fetch_add(&w->errors, 1) == 0)
        fprintf(stderr, "pg: %s", PQerrorMessage(conn));
    return BL_EIO;
}

static int query(work *w, PGconn *conn)
{
    PGresult *result = PQexec(conn, w->sql); /* blocks this goroutine, and no other */
    int status = PQresultStatus(result), rows = PQntuples(result);
    PQclear(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        return failed(w, conn);
    atomic_fetch_add(&w->queries, 1);
    atomic_fetch_add(&w->rows, rows);
    return bl_ctx_err(bl_ctx_current());
}

static int query_cancel(void *arg)
{
    char why[256];
    PQcancel(arg, why, sizeof why);
    return 0;
}

static int client(void *arg)
{
    work *w = arg;
    PGconn *conn = PQconnectdb(""); /* PGHOST, PGUSER, … say where */
    PGcancel *cancel = PQgetCancel(conn);
    int r = cancel ? 0 : failed(w, conn);
    if (r == 0) {
        bl_ctx *ctx = bl_ctx_current();
        /* Joins query_cancel, if it ran: the server starts a process for each, all at the same
         * time. */
        BL_SCOPE(s, .name = "cancel", .grace = GRACE);
        if (!bl_ctx_after(ctx, s, query_cancel, cancel))
            r = BL_ENOMEM;
        for (int i = 0; i < QUERIES && r == 0; i++)
            r = query(w, conn);
    }
    PQfreeCancel(cancel);
    PQfinish(conn);
    return r;
}

static int clients_run(work *w, bl_dur timeout)
{
    BL_SCOPE(s, .name = "clients", .timeout = timeout, .grace = GRACE);
    for (int i = 0; i < CLIENTS; i++)
        bl_go(s, client, w);
    return bl_scope_wait(s);
}

static int main_goroutine(void *arg)
{
    char **argv = arg;
    work w = {.sql = "select i from pg_sleep(0.01), generate_series(1, 10) i"};
    bl_dur timeout = BL_MIN;
    if (argv[1]) {
        w.sql = argv[1];
        if (argv[2])
            timeout = strtol(argv[2], NULL, 10) * BL_SEC;
    }
    bl_dur worst = 0;
    bl_time start = bl_now();
    BL_SCOPE(watch, .name = "watch");
    bl_go(watch, stall_watch, &worst);
    int r = clients_run(&w, timeout);
    bl_scope_cancel(watch, 0);
    bl_scope_wait(watch);
    printf("pg: %d queries, %d rows, %d errors, %.2f s, worst stall %.2f ms: %s\n", (int)w.queries,
           (int)w.rows, (int)w.errors, (double)(bl_now() - start) / BL_SEC, (double)worst / BL_MS,
           bl_strerror(r));
    return r;
}

/* More stack than belay's 64 KiB: libraries are written for the 8 MiB of a thread, and a connection
 * may go through the resolver, the dynamic linker and OpenSSL. Pages that are never touched cost no
 * memory. */
int main(int argc, char **argv)
{
    (void)argc;
    if (!PQisthreadsafe())
        return 2;
    return bl_run(main_goroutine, argv, &(bl_options){.stack_size = 256 << 10}) < 0;
}
