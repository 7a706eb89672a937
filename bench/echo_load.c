/* SPDX-License-Identifier: MIT */
/*
 * echo_load.c: starts an echo server (echo.h) and measures it, with 100 connections and with 1,000,
 * each with one message under way: one thread and an epoll loop.
 *
 *     echo_load PROCS SERVER [ARGUMENT…]     ECHO_MS: length of a measured run (2000)
 *
 * At 1 proc the server is confined to one CPU and the load to another. At more it is not, so that
 * the two share the machine. A quarter of the time is run before, uncounted. cpu-ns is the server's
 * CPU time a request: it says what a server costs also where the load is what is short of CPU.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "echo.h"

enum { EVENTS = 256, MOST_CONNECTIONS = 1000, LATENCIES = 1 << 18, SERVER_SECONDS = 60 };

typedef struct connection {
    int fd;
    size_t got; /* bytes of the message that have come back */
    int64_t sent;
    uint64_t message[ECHO_MESSAGE / sizeof(uint64_t)];
} connection;

typedef struct load {
    int poll;
    size_t connections;
    size_t under_way;  /* messages that have not come back */
    uint64_t requests; /* answered since the measurement began */
    uint32_t *latency; /* how many took so many microseconds; the last: or more */
    bool ending;       /* nothing more is sent */
    connection connection[MOST_CONNECTIONS];
} load;

typedef struct server {
    pid_t pid;
    int input;
    clockid_t cpu;
    struct sockaddr_in address;
} server;

static void connection_send(load *l, connection *c, int64_t now)
{
    c->message[0]++;
    c->got = 0;
    c->sent = now;
    l->under_way++;
    bench_check(send(c->fd, c->message, ECHO_MESSAGE, MSG_NOSIGNAL) == ECHO_MESSAGE,
                "a short message is sent whole");
}

static void connection_receive(load *l, connection *c)
{
    char back[ECHO_MESSAGE];
    ssize_t n = recv(c->fd, back, ECHO_MESSAGE - c->got, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    bench_check(n > 0, "the server answers");
    bench_check(memcmp(back, (char *)c->message + c->got, (size_t)n) == 0, "the echo is the same");
    c->got += (size_t)n;
    if (c->got < ECHO_MESSAGE)
        return;
    l->under_way--;
    l->requests++;
    int64_t now = bench_wall_ns();
    int64_t us = (now - c->sent) / 1000;
    l->latency[us < LATENCIES ? us : LATENCIES - 1]++;
    if (!l->ending)
        connection_send(l, c, now);
}

/* Goes on until this time and until no more than this many are under way. */
static int64_t load_until(load *l, int64_t end, size_t under_way)
{
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(l->poll, events, EVENTS, 10000);
        bench_check(n > 0, "the server answers within 10 s");
        for (int i = 0; i < n; i++)
            connection_receive(l, events[i].data.ptr);
        int64_t now = bench_wall_ns();
        if (now >= end && l->under_way <= under_way)
            return now;
    }
}

static void load_connect(load *l, const server *s)
{
    l->poll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < l->connections; i++) {
        connection *c = &l->connection[i];
        const int one = 1;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        memset(c->message, (int)i, sizeof c->message);
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bench_check(connect(c->fd, (const struct sockaddr *)&s->address, sizeof s->address) == 0 &&
                        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
                        epoll_ctl(l->poll, EPOLL_CTL_ADD, c->fd, &e) == 0,
                    "the server accepts");
    }
}

static void load_close(load *l)
{
    for (size_t i = 0; i < l->connections; i++)
        close(l->connection[i].fd);
    close(l->poll);
}

/* How many microseconds this share of the requests took at most. */
static double load_latency(const load *l, double share)
{
    uint64_t n = 0;
    size_t us = 0;
    while (us < LATENCIES - 1 && (double)(n += l->latency[us]) < share * (double)l->requests)
        us++;
    return (double)us;
}

static int64_t cpu_ns(const server *s)
{
    struct timespec t;
    bench_check(clock_gettime(s->cpu, &t) == 0, "the server runs");
    return (int64_t)t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void measure(load *l, const server *s, int procs, size_t connections, int64_t length)
{
    l->connections = connections;
    l->ending = false;
    load_connect(l, s);
    for (size_t i = 0; i < connections; i++)
        connection_send(l, &l->connection[i], bench_wall_ns());
    load_until(l, bench_wall_ns() + length / 4, connections);

    l->requests = 0;
    memset(l->latency, 0, LATENCIES * sizeof *l->latency);
    const int64_t start = bench_wall_ns();
    int64_t cpu = -cpu_ns(s);
    const int64_t wall = load_until(l, start + length, connections) - start;
    cpu += cpu_ns(s);
    const double n = (double)l->requests;
    char name[32];
    char extra[200];
    snprintf(name, sizeof name, "Echo%zu", connections);
    snprintf(extra, sizeof extra,
             "%8.0f req/s\t%8.0f p50-us\t%8.0f p99-us\t%8.0f cpu-ns\t%8.2f cpus",
             n * 1e9 / (double)wall, load_latency(l, 0.5), load_latency(l, 0.99), (double)cpu / n,
             (double)cpu / (double)wall);
    bench_report(name, procs, l->requests, (double)wall / n, extra);

    l->ending = true;
    load_until(l, 0, 0);
    load_close(l);
}

/* Confines the process to the CPU with this index among those it may use. */
static void confine(int index)
{
    cpu_set_t allowed;
    cpu_set_t one;
    bench_check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "there are CPUs");
    if (CPU_COUNT(&allowed) < 2)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || index-- != 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        bench_check(sched_setaffinity(0, sizeof one, &one) == 0, "a CPU can be chosen");
    }
}

static void server_start(server *s, int procs, char **argv)
{
    int input[2];
    int output[2];
    int port = 0;
    bench_check(pipe(input) == 0 && pipe(output) == 0, "there are pipes");
    s->pid = fork();
    bench_check(s->pid >= 0, "there are processes");
    if (s->pid == 0) {
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
        for (int i = 0; i < 2; i++) {
            close(input[i]);
            close(output[i]);
        }
        if (procs == 1)
            confine(0);
        alarm(SERVER_SECONDS); /* for one that hangs */
        execv(argv[0], argv);
        bench_fail("the server can be started");
    }
    if (procs == 1)
        confine(1);
    close(input[0]);
    close(output[1]);
    s->input = input[1];
    FILE *said = fdopen(output[0], "r");
    bench_check(said != NULL && fscanf(said, "%d", &port) == 1, "the server prints its port");
    fclose(said);
    s->address = (struct sockaddr_in){.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bench_check(clock_getcpuclockid(s->pid, &s->cpu) == 0, "the server's CPU time can be read");
}

int main(int argc, char **argv)
{
    static load l;
    server s;
    struct rlimit files;
    int status;
    bench_init(1, argv);
    bench_check(argc > 2, "usage: echo_load PROCS SERVER [ARGUMENT...]");
    const int procs = (int)strtol(argv[1], NULL, 10);
    const char *ms = getenv("ECHO_MS");
    const int64_t length = (ms != NULL ? strtol(ms, NULL, 10) : 2000) * INT64_C(1000000);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max; /* the server inherits it */
    setrlimit(RLIMIT_NOFILE, &files);
    l.latency = calloc(LATENCIES, sizeof *l.latency);
    bench_check(l.latency != NULL, "there is memory for the latencies");

    server_start(&s, procs, argv + 2);
    measure(&l, &s, procs, bench_scale(100), length);
    measure(&l, &s, procs, MOST_CONNECTIONS, length);
    free(l.latency);
    close(s.input);
    bench_check(waitpid(s.pid, &status, 0) == s.pid && status == 0, "the server ends well");
    return 0;
}
