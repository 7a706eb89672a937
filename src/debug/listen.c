/* SPDX-License-Identifier: MIT */
/*
 * listen.c: bl_debug_listen: profiles, metrics and leaks over HTTP, under the paths that Go's
 * net/http/pprof has.
 *
 * A goroutine in the caller's scope accepts, and each connection is a goroutine in a scope of that
 * one's, so all of them end when the caller's scope is cancelled. A connection is good for one
 * request of at most REQUEST_MOST bytes, which has to be there within REQUEST_TIME; CLIENTS_MOST
 * are served at one time. What is answered is written into memory first, so a slow client holds up
 * nothing but its own goroutine.
 */
#include <belay/debug.h>

#ifdef BL__HAVE_LLHTTP

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* As they are called in libbelay.a (cmake/llhttp.cmake). */
#define llhttp_init bl__llhttp_init
#define llhttp_settings_init bl__llhttp_settings_init
#define llhttp_execute bl__llhttp_execute
#include <llhttp.h>

#include "core/sched.h"
#include "debug/pprof.h"
#include "debug/table.h"
#include "life/scope.h"

enum {
    REQUEST_MOST = 8192,
    TARGET_MOST = 512,
    CLIENTS_MOST = 16,
    SECONDS_MOST = 300,
    LINGER_PARTS = 64
};
#define REQUEST_TIME (10 * BL_SEC)
#define ANSWER_TIME (30 * BL_SEC)

/* ---- A request ---- */

typedef struct request {
    int fd;
    int method;
    bool whole, too_long;
    size_t target_len;
    char target[TARGET_MOST]; /* path, then the query behind the '?', which is a 0 here */
    const char *query;
} request;

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    request *r = parser->data;
    if (n >= sizeof r->target - r->target_len) {
        r->too_long = true;
        return -1;
    }
    memcpy(r->target + r->target_len, at, n);
    r->target_len += n;
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    request *r = parser->data;
    r->whole = true;
    r->method = parser->method;
    return HPE_PAUSED;
}

/* Reads one request. 0; an HTTP status that says what is wrong with it; or negative: nobody is
 * there any more. */
static int request_read(request *r)
{
    llhttp_t parser;
    llhttp_settings_t settings;
    char part[1024];
    size_t had = 0;
    bl_time deadline = bl_in(REQUEST_TIME);
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_message_complete = on_complete;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = r;
    while (!r->whole) {
        ssize_t n = bl_read_until(r->fd, part, sizeof part, deadline);
        if (n <= 0)
            return n == BL_ETIMEDOUT ? 408 : n < 0 ? (int)n : had > 0 ? 400 : BL_ECONNRESET;
        had += (size_t)n;
        if (had > REQUEST_MOST)
            return 431;
        int e = llhttp_execute(&parser, part, (size_t)n);
        if (r->too_long)
            return 414;
        if (e != HPE_OK && e != HPE_PAUSED)
            return 400;
    }
    r->target[r->target_len] = '\0';
    char *query = strchr(r->target, '?');
    if (query != NULL)
        *query++ = '\0';
    r->query = query != NULL ? query : "";
    return r->method == HTTP_GET || r->method == HTTP_HEAD ? 0 : 405;
}

/* The number that the query has under name, none if it is missing; -1: it is no number up to
 * most. */
static int query_number(const request *r, const char *name, int none, int most)
{
    size_t n = strlen(name);
    for (const char *at = r->query; *at != '\0'; at += strcspn(at, "&"), at += *at == '&') {
        if (strncmp(at, name, n) != 0 || at[n] != '=')
            continue;
        char *end;
        long v = strtol(at + n + 1, &end, 10);
        bool number = end != at + n + 1 && (*end == '\0' || *end == '&');
        return number && v >= 0 && v <= most ? (int)v : -1;
    }
    return none;
}

/* ---- An answer ---- */

static bool send_all(int fd, const char *at, size_t n)
{
    bl_time deadline = bl_in(ANSWER_TIME);
    while (n > 0) {
        ssize_t sent = bl_write_until(fd, at, n, deadline);
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static const char *status_text(int status)
{
    switch (status) {
    case 200: return "OK";
    case 301: return "Moved Permanently";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    default: return "Bad Request";
    }
}

/* extra: header lines, each with its end, or "". body is a file, or -1: then text is it. */
static void respond(const request *r, int status, const char *type, const char *extra, int body,
                    const char *text)
{
    char head[512], part[4096];
    off_t size = body >= 0 ? lseek(body, 0, SEEK_END) : (off_t)strlen(text);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %lld\r\n%s"
                     "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                     status, status_text(status), type, (long long)size, extra);
    if (n < 0 || !send_all(r->fd, head, (size_t)n) || r->method == HTTP_HEAD)
        return;
    if (body < 0) {
        (void)send_all(r->fd, text, strlen(text));
        return;
    }
    ssize_t got;
    for (off_t at = 0; (got = pread(body, part, sizeof part, at)) > 0; at += got)
        if (!send_all(r->fd, part, (size_t)got))
            return;
}

static void refuse(const request *r, int status, const char *why)
{
    respond(r, status, "text/plain; charset=utf-8", status == 405 ? "Allow: GET, HEAD\r\n" : "", -1,
            why);
}

/* ---- What there is ---- */

#define PPROF "/debug/pprof/"

static const struct {
    const char *name;
    const char *what;
} profiles[] = {
    {"goroutine", "stacks of all goroutines"},
    {"goroutineleak", "stacks of those that are stuck"},
    {"threadcreate", "the runtime's threads"},
    {"block", "where goroutines have waited"},
    {"mutex", "who held what others waited for"},
    {"schedlatency", "how long goroutines that could run waited for a processor"},
};
enum { PROFILES = sizeof profiles / sizeof profiles[0] };

static void index_send(const request *r)
{
    char page[4096];
    int n = snprintf(page, sizeof page,
                     "<!DOCTYPE html>\n<html><head><title>" PPROF "</title></head><body>\n"
                     "<p>%zu goroutines; ?seconds=N: what changes within; block, mutex and "
                     "schedlatency are recorded "
                     "meanwhile</p>\n<table>\n",
                     bl_goroutines());
    for (size_t i = 0; i < PROFILES; i++)
        n += snprintf(page + n, sizeof page - (size_t)n,
                      "<tr><td><a href=\"%s?debug=1\">%s</a></td><td>%s</td></tr>\n",
                      profiles[i].name, profiles[i].name, profiles[i].what);
    (void)snprintf(page + n, sizeof page - (size_t)n,
                   "</table>\n<p><a href=\"goroutine?debug=2\">full goroutine stack dump</a></p>\n"
                   "<p><a href=\"cmdline\">cmdline</a> <a href=\"/debug/leaks\">leaks</a> "
                   "<a href=\"/metrics\">metrics</a></p>\n</body></html>\n");
    respond(r, 200, "text/html; charset=utf-8", "", -1, page);
}

/* The file that fn has written; -1: it could not. */
static int written(int (*fn)(int fd, const char *name, int debug, bl_dur seconds), const char *name,
                   int debug, bl_dur seconds)
{
    int fd = memfd_create("answer", MFD_CLOEXEC);
    if (fd >= 0 && fn(fd, name, debug, seconds) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void written_send(const request *r, int fd, const char *type, const char *extra)
{
    if (fd < 0) {
        refuse(r, 500, "out of memory or descriptors\n");
        return;
    }
    respond(r, 200, type, extra, fd, NULL);
    close(fd);
}

static void profile_send(const request *r, const char *name)
{
    char disposition[96];
    int debug = query_number(r, "debug", 0, 2);
    int seconds = query_number(r, "seconds", 0, SECONDS_MOST);
    if (debug < 0 || seconds < 0) {
        refuse(r, 400, "debug is 0, 1 or 2, and seconds a number up to 300\n");
        return;
    }
    if (seconds > 0 && debug > 1) {
        refuse(r, 400, "seconds is for debug=0 and 1\n");
        return;
    }
    (void)snprintf(disposition, sizeof disposition,
                   "Content-Disposition: attachment; filename=\"%s.pb.gz\"\r\n", name);
    written_send(r, written(bl__profile_for, name, debug, seconds * BL_SEC),
                 debug > 0 ? "text/plain; charset=utf-8" : "application/octet-stream",
                 debug > 0 ? "" : disposition);
}

static int metrics_write(int fd, const char *name, int debug, bl_dur seconds)
{
    (void)name;
    (void)debug;
    (void)seconds;
    return bl_metrics(fd);
}

static int cmdline_write(int fd, const char *name, int debug, bl_dur seconds)
{
    char part[1024];
    ssize_t n;
    (void)name;
    (void)debug;
    (void)seconds;
    int in = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    while (in >= 0 && (n = read(in, part, sizeof part)) > 0)
        if (write(fd, part, (size_t)n) != n)
            break;
    close(in);
    return in < 0 ? -1 : 0;
}

static int table_write(int fd, const char *name, int id, bl_dur seconds)
{
    (void)name;
    (void)seconds;
    return bl__table_write(fd, (uint64_t)id);
}

static void route(const request *r)
{
    const char *path = r->target;
    if (strcmp(path, "/metrics") == 0) {
        written_send(r, written(metrics_write, NULL, 0, 0),
                     "application/openmetrics-text; version=1.0.0; charset=utf-8", "");
    } else if (strcmp(path, "/debug/leaks") == 0) {
        written_send(r, written(bl__profile_for, "goroutineleak", BL__PROFILE_PAGE, 0),
                     "text/plain; charset=utf-8", "");
    } else if (strcmp(path, "/debug/goroutines") == 0) {
        int id = query_number(r, "id", 0, INT_MAX);
        if (id < 0)
            refuse(r, 400, "id is the number of a goroutine\n");
        else
            written_send(r, written(table_write, NULL, id, 0), "text/plain; charset=utf-8", "");
    } else if (strcmp(path, PPROF "cmdline") == 0) {
        written_send(r, written(cmdline_write, NULL, 0, 0), "text/plain; charset=utf-8", "");
    } else if (strcmp(path, PPROF) == 0) {
        index_send(r);
    } else if (strcmp(path, "/") == 0 || strcmp(path, "/debug/pprof") == 0) {
        respond(r, 301, "text/plain; charset=utf-8", "Location: " PPROF "\r\n", -1, "");
    } else {
        for (size_t i = 0; i < PROFILES; i++)
            if (strncmp(path, PPROF, strlen(PPROF)) == 0 &&
                strcmp(path + strlen(PPROF), profiles[i].name) == 0) {
                profile_send(r, profiles[i].name);
                return;
            }
        refuse(r, 404, "not found; " PPROF " says what there is\n");
    }
}

/* ---- Serving ---- */

/* What the client has sent beyond its request is read: closed before, the connection would be
 * reset, and the answer lost. */
static void linger(int fd)
{
    char part[1024];
    bl_time deadline = bl_in(BL_SEC);
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; i < LINGER_PARTS && bl_read_until(fd, part, sizeof part, deadline) > 0; i++)
        continue;
}

static int client_main(void *arg)
{
    request r = {.fd = *(int *)arg};
    int status = request_read(&r);
    if (status == 0)
        route(&r);
    else if (status > 0)
        refuse(&r, status, "this is not a request for what is served here\n");
    linger(r.fd);
    (void)bl_close(r.fd);
    return 0;
}

typedef struct server {
    int fd;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path]; /* of a unix socket, else "" */
} server;

static int server_main(void *arg)
{
    static const bl__site site = {"debug clients", "bl_debug_listen", __FILE__, __LINE__};
    const server *v = arg;
    bl_scope clients;
    (void)bl__scope_open(
        &clients,
        &(bl_scope_opts){.name = "debug clients", .limit = CLIENTS_MOST, .keep_going = true},
        &site);
    for (;;) {
        int fd = bl_accept(v->fd, NULL, NULL);
        if (fd == BL_EMFILE || fd == BL_ENFILE || fd == BL_ENOMEM || fd == BL_ENOBUFS) {
            if (bl_sleep(100 * BL_MS) != 0)
                break;
            continue;
        }
        if (fd < 0 &&
            (fd == BL_ECANCELED || fd == BL_ETIMEDOUT || fd == BL_EBADF || fd == BL_ECLOSED))
            break;
        if (fd >= 0 && bl__go_own(&clients, client_main, &fd, sizeof fd, &site) < 0)
            (void)bl_close(fd);
    }
    (void)bl_close(v->fd);
    if (v->path[0] != '\0')
        (void)unlink(v->path);
    (void)bl_scope_close(&clients);
    return 0;
}

/* ---- Where ---- */

typedef union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
} address;

/* "HOST:PORT" of numbers, or localhost. public: any host will do. 0, or why not. */
static int address_tcp(const char *text, bool public, address *a, socklen_t *len)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host)
        return BL_EINVAL;
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || port < 0 || port > 65535)
        return BL_EINVAL;
    size_t n = (size_t)(colon - text);
    bool v6 = text[0] == '[' && text[n - 1] == ']';
    memcpy(host, text + v6, n - 2 * (size_t)v6);
    host[n - 2 * (size_t)v6] = '\0';
    if (v6) {
        *len = sizeof a->in6;
        a->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        if (inet_pton(AF_INET6, host, &a->in6.sin6_addr) != 1)
            return BL_EINVAL;
        return public || IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr) ? 0 : BL_EACCES;
    }
    *len = sizeof a->in;
    a->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &a->in.sin_addr) !=
        1)
        return BL_EINVAL;
    return public || ntohl(a->in.sin_addr.s_addr) >> 24 == 127 ? 0 : BL_EACCES;
}

/* A socket that nobody listens on any more is in the way only. */
static void stale_remove(const address *a, socklen_t len)
{
    struct stat st;
    if (lstat(a->un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, &a->any, len) != 0 && errno == ECONNREFUSED)
        (void)unlink(a->un.sun_path);
    close(fd);
}

static int address_unix(const char *path, address *a, socklen_t *len)
{
    if (path[0] == '\0' || strlen(path) >= sizeof a->un.sun_path)
        return BL_EINVAL;
    a->un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->un.sun_path, path, strlen(path) + 1);
    *len = sizeof a->un;
    stale_remove(a, *len);
    return 0;
}

/* A socket that listens, or why there is none. */
static int listening(const address *a, socklen_t len)
{
    int one = 1;
    int fd = bl__fd_own(socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    mode_t mask = a->any.sa_family == AF_UNIX ? umask(0177) : 0; /* for its owner alone */
    int e = bind(fd, &a->any, len) != 0 ? -errno : 0;
    if (a->any.sa_family == AF_UNIX)
        (void)umask(mask);
    if (e == 0 && listen(fd, 64) != 0)
        e = -errno;
    if (e != 0)
        close(fd);
    return e != 0 ? e : fd;
}

int bl_debug_listen(bl_scope *s, const char *where)
{
    static const bl__site site = {"debug endpoint", "bl_debug_listen", __FILE__, __LINE__};
    address a;
    socklen_t len = 0;
    server v = {.path = ""};
    if (where == NULL)
        return BL_EINVAL;
    bool public = strncmp(where, "tcp:", 4) == 0;
    int e = strncmp(where, "unix:", 5) == 0
                ? address_unix(where + 5, &a, &len)
                : address_tcp(where + (public ? 4 : 0), public, &a, &len);
    if (e < 0)
        return e;
    v.fd = listening(&a, len);
    if (v.fd < 0)
        return v.fd;
    if (a.any.sa_family == AF_UNIX)
        memcpy(v.path, a.un.sun_path, sizeof v.path);
    (void)getsockname(v.fd, &a.any, &len);
    e = bl__go_own(s, server_main, &v, sizeof v, &site);
    if (e < 0) {
        close(v.fd);
        if (v.path[0] != '\0')
            (void)unlink(v.path);
        return e;
    }
    return a.any.sa_family == AF_UNIX
               ? 0
               : ntohs(a.any.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
}

#else

int bl_debug_listen(bl_scope *s, const char *where)
{
    (void)s;
    (void)where;
    return BL_ENOSYS;
}

#endif
