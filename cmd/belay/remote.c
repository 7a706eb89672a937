/* SPDX-License-Identifier: MIT */
/* remote.c: goroutines over a debug endpoint (bl_debug_listen): /debug/goroutines, a line for each. */
#include "source.h"
#include "util.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE = 10 /* s */, ANSWER_MOST = 1 << 30, FIELDS = 9 };

typedef struct remote {
    source s;
    char *host, *port; /* or of a unix socket: its path, and NULL */
    time_t patience;   /* s */
} remote;

/* ---- HTTP ---- */

static int unix_connect(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

static int tcp_connect(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        errno = EHOSTUNREACH;
        return -1;
    }
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static int remote_connect(const remote *r)
{
    struct timeval patience = {.tv_sec = r->patience};
    int fd = r->port == NULL ? unix_connect(r->host) : tcp_connect(r->host, r->port);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    return fd;
}

/* All that comes, with a 0 behind it; NULL: it could not be read. */
static char *read_all(int fd, size_t *all)
{
    size_t len = 0, room = 65536;
    char *text = malloc(room);
    ssize_t n = text == NULL ? -1 : 1;
    while (n > 0) {
        if (len + 1 == room) {
            char *more = room < ANSWER_MOST ? realloc(text, room * 2) : NULL;
            if (more == NULL)
                break;
            text = more;
            room *= 2;
        }
        n = recv(fd, text + len, room - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n != 0) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    *all = len;
    return text;
}

/* What GET path answers, for free; NULL, with errno. *body is within it, len bytes and a 0. */
static char *remote_get(const remote *r, const char *path, const char **body, size_t *len)
{
    size_t all = 0;
    int fd = remote_connect(r);
    if (fd < 0)
        return NULL;
    char *request = text_own("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path,
                             r->port == NULL ? "localhost" : r->host);
    size_t n = strlen(request);
    char *text = send(fd, request, n, MSG_NOSIGNAL) == (ssize_t)n ? read_all(fd, &all) : NULL;
    close(fd);
    free(request);
    *body = text != NULL ? strstr(text, "\r\n\r\n") : NULL;
    if (text != NULL && (strncmp(text, "HTTP/1.1 200 ", 13) != 0 || *body == NULL)) {
        free(text);
        errno = EPROTO;
        return NULL;
    }
    *body += text != NULL ? 4 : 0;
    *len = text != NULL ? all - (size_t)(*body - text) : 0;
    return text;
}

/* ---- Rows ---- */

/* Ends the field at *at, and goes on behind it. */
static char *field_take(char **at)
{
    char *field = *at;
    *at += strcspn(field, "\t\n");
    if (**at != '\0')
        *(*at)++ = '\0';
    return field;
}

static bool row_parse(char *line, source_row *row)
{
    char *f[FIELDS];
    size_t tabs = 0;
    for (const char *p = line; *p != '\0'; p++)
        tabs += *p == '\t';
    if (tabs != FIELDS - 1)
        return false;
    for (size_t i = 0; i < FIELDS; i++)
        f[i] = field_take(&line);
    *row = (source_row){.id = strtoull(f[0], NULL, 10),
                        .kind = f[1][0],
                        .thread = f[2][0],
                        .since = strtoll(f[3], NULL, 10),
                        .switches = (uint32_t)strtoul(f[4], NULL, 10),
                        .stack = (unsigned)strtoul(f[5], NULL, 10),
                        .state = f[6],
                        .func = f[7],
                        .started = f[8]};
    return true;
}

static bool remote_read(source *s, reading *out)
{
    const char *body = NULL;
    size_t len;
    *out = (reading){.memory = remote_get((remote *)(void *)s, "/debug/goroutines", &body, &len)};
    if (out->memory == NULL)
        return false;
    size_t lines = 0;
    for (const char *p = body; *p != '\0'; p++)
        lines += *p == '\n';
    char *at = out->memory + (body - out->memory), *end;
    out->at = calloc(lines + 1, sizeof *out->at);
    if (out->at == NULL || sscanf(at, "%d\t%u\t%u\n", &out->pid, &out->procs, &out->threads) != 3) {
        reading_free(out);
        errno = EPROTO;
        return false;
    }
    while ((end = strchr(at, '\n')) != NULL) {
        *end = '\0';
        if (row_parse(at, &out->at[out->len]))
            out->len++;
        at = end + 1;
    }
    return true;
}

static void remote_look(source *s, uint64_t id, FILE *to, size_t lines, const char *end)
{
    const char *body = NULL;
    size_t len;
    char *path = text_own("/debug/goroutines?id=%llu", (unsigned long long)id);
    char *text = remote_get((remote *)(void *)s, path, &body, &len);
    free(path);
    for (const char *at = body; text != NULL && lines > 0 && *at != '\0'; lines--) {
        size_t n = strcspn(at, "\n"), tab = at[0] == '\t';
        fprintf(to, "%s%.*s%s", tab ? "        " : "", (int)(n - tab), at + tab, end);
        at += n + (at[n] == '\n');
    }
    free(text);
}

static void remote_close(source *s)
{
    remote *r = (remote *)(void *)s;
    free(r->host);
    free(r->port);
    free(r);
}

/* ---- Which ---- */

/* "unix:/path", "http://host:port/…": false: it is none. */
static bool url_split(const char *url, remote *r)
{
    if (strncmp(url, "unix:", 5) == 0 && url[5] != '\0') {
        r->host = text_own("%s", url + 5);
        return true;
    }
    if (strncmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + 7, *end = host + strcspn(host, "/");
    bool v6 = host[0] == '[';
    const char *after = v6 ? strchr(host, ']') : host + strcspn(host, ":/");
    if (after == NULL || after > end || after == host + v6)
        return false;
    const char *colon = after + v6;
    r->host = text_own("%.*s", (int)(after - host - v6), host + v6);
    r->port = *colon == ':' && colon + 1 < end ? text_own("%.*s", (int)(end - colon - 1), colon + 1)
                                               : text_own("80");
    return true;
}

static void refused_say(const char *url)
{
    if (errno == EPROTO)
        complain("%s: no debug endpoint of belay answers there", url);
    else
        complain("%s: %s", url, errno == EAGAIN ? "no answer" : strerror(errno));
}

source *source_url(const char *url, int *err)
{
    reading first;
    remote *r = calloc(1, sizeof *r);
    *err = EXIT_FAILED;
    if (r == NULL) {
        complain("out of memory");
        return NULL;
    }
    r->s = (source){remote_read, remote_look, remote_close};
    r->patience = PATIENCE;
    if (!url_split(url, r)) {
        complain("%s is no address: http://HOST:PORT or unix:/PATH", url);
        *err = EXIT_USAGE;
        remote_close(&r->s);
        return NULL;
    }
    if (!remote_read(&r->s, &first)) {
        refused_say(url);
        remote_close(&r->s);
        return NULL;
    }
    reading_free(&first);
    *err = 0;
    return &r->s;
}

/* The answer in a file without a name; -1, with errno. */
static int answer_file(const remote *r, const char *path)
{
    const char *body = NULL;
    size_t len = 0, done = 0;
    char *text = remote_get(r, path, &body, &len);
    int fd = text != NULL ? memfd_create("profile", 0) : -1;
    while (fd >= 0 && done < len) {
        ssize_t n = write(fd, body + done, len - done);
        done += n > 0 ? (size_t)n : 0;
        if (n < 0) {
            close(fd);
            fd = -1;
        }
    }
    free(text);
    return fd;
}

/* Behind the last ":/" of "SOCKET:/PAGE", where there is no file of that name; or NULL. */
static const char *unix_page(const char *host)
{
    const char *found = NULL;
    if (access(host, F_OK) != 0)
        for (const char *at = host; (at = strstr(at, ":/")) != NULL; at++)
            found = at;
    return found;
}

int source_unix_file(const char *url)
{
    static const char page[] = "/debug/pprof/goroutine";
    const char *host = url + strlen("unix:"), *path = unix_page(host);
    const char *seconds = path != NULL ? strstr(path, "seconds=") : NULL;
    remote r = {.patience = PATIENCE + (seconds != NULL ? atoi(seconds + strlen("seconds=")) : 0)};
    r.host = path != NULL ? text_own("%.*s", (int)(path - host), host) : text_own("%s", host);
    int fd = answer_file(&r, path != NULL ? path + 1 : page);
    if (fd < 0 && path != NULL && errno == EPROTO)
        complain("%s: no debug endpoint of belay answers there, or it has no such page", url);
    else if (fd < 0)
        refused_say(url);
    free(r.host);
    return fd;
}
