/* SPDX-License-Identifier: MIT */
/*
 * shutdown: a server that finishes on SIGTERM what it has begun, and begins nothing new.
 *
 * bl_options.signals makes the first SIGTERM or SIGINT cancel the root scope (a second one kills).
 * Two scopes divide the work by how it is to be stopped:
 *
 *     work    shielded: the cancellation does not reach in. Requests run here, and are joined.
 *     front   below the root's context: cancelled at once. The one that accepts runs here.
 *
 * So the signal ends accept_loop, after that no request can start any more, and the join of work
 * waits for those in flight; what has not ended work's grace after it was cancelled would be
 * reported by name. The program raises the SIGTERM itself, when it has sent all its requests.
 */
#include <belay.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { REQUESTS = 5 };

typedef struct server {
    bl_chan *requests;
    bl_scope *work;
    int accepted; /* owner: accept_loop; read after it is joined */
    int stopped_by;
    atomic_int finished;
} server;

/* Takes its time; being in a shielded scope it is not cut short. */
static int request_run(void *arg)
{
    server *s = arg;
    int r = bl_sleep(50 * BL_MS);
    if (r == 0)
        atomic_fetch_add(&s->finished, 1);
    return r;
}

static int accept_loop(void *arg)
{
    server *s = arg;
    while ((s->stopped_by = bl_chan_recv(s->requests, NULL)) == 0) {
        s->accepted++;
        int r = bl_go(s->work, request_run, s);
        if (r < 0)
            return r;
    }
    return s->stopped_by;
}

/* The world outside: some requests, and then the operator stops the server. */
static int clients(void *arg)
{
    server *s = arg;
    for (int i = 0; i < REQUESTS; i++) {
        int r = bl_chan_send(s->requests, NULL);
        if (r < 0)
            return r;
    }
    kill(getpid(), SIGTERM);
    return bl_sleep(BL_MIN); /* cut short by the cancellation */
}

static int main_goroutine(void *arg)
{
    (void)arg;
    bl_ctx *stop = bl_ctx_current(); /* the root scope's, which the signal cancels */
    BL_SCOPE(work, .name = "requests", .shield = true, .grace = 5 * BL_SEC);
    server s = {.requests = bl_scope_chan(work, 0, 0), .work = work};
    if (!s.requests)
        return BL_ENOMEM;
    {
        BL_SCOPE(front, .name = "front", .ctx = stop);
        bl_go(front, accept_loop, &s);
        bl_go(front, clients, &s);
        printf("front:    %s\n", bl_strerror(bl_scope_wait(front)));
    }
    printf("accepted: %d requests, then %s\n", s.accepted, bl_strerror(s.stopped_by));
    int r = bl_scope_wait(work);
    printf("finished: %d requests, %s\n", (int)s.finished, bl_strerror(r));
    return 0;
}

int main(void) { return bl_run(main_goroutine, NULL, &(bl_options){.signals = 1}) < 0; }
