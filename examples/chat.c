/* SPDX-License-Identifier: MIT */
/*
 * chat: a server of lines over TCP; what one client says, all others hear.
 *
 *     belay run examples/chat.c -- 7000        and beside it:  nc localhost 7000
 *
 * Who runs, and what stops it:
 *
 *     serve      accepts, as long as nobody sends SIGINT or SIGTERM (bl_options.signals)
 *     client     reads a connection to its end, for SILENCE, or until it is cancelled: by serve's
 *                scope at the end, by its writer, or for not keeping up with the others
 *     writer     writes what is said to a client, which has PATIENCE for each line; below its client
 *     reporter   counts clients, with a ticker that its scope stops
 *
 * No more than CLIENTS are served at a time, others wait in the kernel's queue. Each has an outbox of
 * OUTBOX lines: nobody who does not read keeps others waiting, or takes memory without end.
 */
#include <belay.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 1000, OUTBOX = 256, TEXT = 254 };
#define SILENCE (10 * BL_MIN)
#define PATIENCE (5 * BL_SEC)
#define GOODBYE BL_SEC

typedef struct line {
    uint16_t size;
    char text[TEXT];
} line;

typedef struct client {
    struct client *next; /* room.lock */
    bl_scope *scope;
    bl_chan *outbox; /* of lines; the scope's */
    int fd;
} client;

static struct {
    bl_mutex lock;
    client *first;
    int count;
} room;

static void enter(client *c)
{
    bl_mutex_lock(&room.lock);
    c->next = room.first;
    room.first = c;
    room.count++;
    bl_mutex_unlock(&room.lock);
}

static void leave(client *c)
{
    bl_mutex_lock(&room.lock);
    client **at = &room.first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    room.count--;
    bl_mutex_unlock(&room.lock);
}

/* To all but the one who says it. Waits for nobody: a client whose outbox is full has to go. */
static void say(const client *by, const line *l)
{
    bl_mutex_lock(&room.lock);
    for (client *c = room.first; c != NULL; c = c->next)
        if (c != by && bl_chan_try_send(c->outbox, l) == BL_EAGAIN)
            bl_scope_cancel(c->scope, BL_ENOBUFS);
    bl_mutex_unlock(&room.lock);
}

static int writer(void *arg)
{
    client *c = arg;
    line l;
    int r;
    while ((r = bl_chan_recv(c->outbox, &l)) == 0) {
        ssize_t n = bl_write_until(c->fd, l.text, l.size, bl_in(PATIENCE));
        if (n < l.size)
            return n < 0 ? (int)n : BL_ETIMEDOUT; /* which cancels the client's scope */
    }
    return r;
}

/* The end of the connection, 0, or why it is left. */
static int read_lines(client *c)
{
    char got[512];
    ssize_t n;
    line l = {0};
    while ((n = bl_read_until(c->fd, got, sizeof got, bl_in(SILENCE))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            l.text[l.size++] = got[i];
            if (got[i] == '\n' || l.size == TEXT) {
                say(c, &l);
                l.size = 0;
            }
        }
    }
    if (n == 0 && l.size > 0) { /* the last one, which nothing ends */
        l.text[l.size++] = '\n';
        say(c, &l);
    }
    return (int)n;
}

/* The scope that this runs in ends with the server, and may be cancelled already: a last word
 * needs one where that does not count. */
static void say_goodbye(int fd)
{
    static const char words[] = "the server stops\n";
    BL_SCOPE(s, .name = "goodbye", .shield = true, .timeout = GOODBYE);
    if (bl_write(fd, words, sizeof words - 1) < 0)
        return; /* it has gone first */
}

static int client_run(void *arg)
{
    client c = {.fd = (int)(intptr_t)arg};
    int why;
    {
        BL_SCOPE(s, .name = "client");
        c.scope = s;
        c.outbox = bl_scope_chan(s, sizeof(line), OUTBOX);
        why = c.outbox == NULL ? BL_ENOMEM : bl_go(s, writer, &c);
        if (why == 0) {
            enter(&c);
            why = read_lines(&c);
            leave(&c);
        }
        if (why == BL_ECANCELED)
            why = bl_ctx_cause(bl_scope_ctx(s));
    } /* its writer has ended, too */
    if (bl_ctx_err(bl_ctx_current()) != 0)
        say_goodbye(c.fd);
    else if (why < 0)
        printf("a client is gone: %s\n", bl_strerror(why));
    bl_close(c.fd);
    return 0; /* an error would cancel the others */
}

static int reporter(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "reporter");
    bl_ticker *minutes = bl_ticker_new(s, BL_MIN);
    while (minutes != NULL && bl_chan_recv(bl_ticker_chan(minutes), NULL) == 0) {
        bl_mutex_lock(&room.lock);
        int count = room.count;
        bl_mutex_unlock(&room.lock);
        printf("%d clients, %zu goroutines\n", count, bl_goroutines());
    }
    return 0;
}

/* A listening socket, whose port is written to *port, or -1. */
static int listen_to(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)*port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0) {
        perror("chat");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(at.sin_port);
    return fd;
}

static int serve(void *arg)
{
    int port = *(int *)arg, served = 0, r;
    int fd = listen_to(&port);
    if (fd < 0)
        return BL_EIO;
    printf("listening on 127.0.0.1:%d\n", port);
    BL_SCOPE(background, .name = "background");
    BL_SCOPE(clients, .name = "clients", .limit = CLIENTS, .grace = 2 * GOODBYE);
    r = bl_go(background, reporter, NULL);
    while (r == 0) {
        int conn = bl_accept(fd, NULL, NULL);
        if (conn == BL_EMFILE || conn == BL_ENFILE) {
            r = bl_sleep(100 * BL_MS); /* until somebody leaves */
        } else if (conn < 0) {
            r = conn;
        } else if ((r = bl_go(clients, client_run, (void *)(intptr_t)conn)) == 0) {
            served++;
        } else { /* it waited for room */
            say_goodbye(conn);
            bl_close(conn);
        }
    }
    bl_close(fd);
    bl_scope_cancel(clients, 0);
    (void)bl_scope_wait(clients);
    printf("served %d clients, then: %s\n", served, bl_strerror(r));
    return r == BL_ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
    char *end = "";
    long port = argc > 1 ? strtol(argv[1], &end, 10) : 0;
    if (argc > 2 || *end != '\0' || port < 0 || port > UINT16_MAX) {
        fprintf(stderr, "usage: chat [PORT]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    return bl_run(serve, &(int){(int)port}, &(bl_options){.signals = 1}) < 0;
}
