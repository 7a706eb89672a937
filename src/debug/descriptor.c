/* SPDX-License-Identifier: MIT */
/* descriptor.c: see descriptor.h. */
#include "debug/descriptor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os.h"

typedef union socket_name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
} socket_name;

enum { ADDRESS_TEXT = 160 };

static int option(int fd, int name)
{
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

/* A path, or "@name" of those that are in no file system. Empty: it has none. */
static void path_text(char to[ADDRESS_TEXT], const struct sockaddr_un *a, socklen_t size)
{
    size_t n = size - offsetof(struct sockaddr_un, sun_path);
    if (size <= offsetof(struct sockaddr_un, sun_path) || n > sizeof a->sun_path)
        return;
    if (a->sun_path[0] != '\0')
        n = strnlen(a->sun_path, n);
    memcpy(to, a->sun_path, n);
    to[n] = '\0';
    if (to[0] == '\0')
        to[0] = '@';
}

/* Empty: it has none, or none that is in use. */
static void address_text(char to[ADDRESS_TEXT], const socket_name *a, socklen_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    to[0] = '\0';
    if (a->any.sa_family == AF_UNIX)
        path_text(to, &a->local, size);
    else if (a->any.sa_family == AF_INET && a->v4.sin_port != 0 &&
             inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof host) != NULL)
        (void)snprintf(to, ADDRESS_TEXT, "%s:%d", host, ntohs(a->v4.sin_port));
    else if (a->any.sa_family == AF_INET6 && a->v6.sin6_port != 0 &&
             inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof host) != NULL)
        (void)snprintf(to, ADDRESS_TEXT, "[%s]:%d", host, ntohs(a->v6.sin6_port));
}

static const char *socket_kind(int family, int type)
{
    if (family == AF_UNIX)
        return "unix socket";
    if (family == AF_INET || family == AF_INET6)
        return type == SOCK_STREAM ? "TCP" : type == SOCK_DGRAM ? "UDP" : "socket";
    return "socket";
}

/* A path may have anything in it. */
static void address_print(bl__out *o, int family, const char *before, const char *text)
{
    bl__out_printf(o, "%s", before);
    if (family == AF_UNIX)
        bl__out_quoted(o, text);
    else
        bl__out_printf(o, "%s", text);
}

static void socket_print(bl__out *o, int fd)
{
    socket_name a = {0}, b = {0};
    char mine[ADDRESS_TEXT] = "", peer[ADDRESS_TEXT] = "";
    socklen_t size = sizeof a;
    if (getsockname(fd, &a.any, &size) == 0)
        address_text(mine, &a, size);
    size = sizeof b;
    if (getpeername(fd, &b.any, &size) == 0)
        address_text(peer, &b, size);
    int family = a.any.sa_family;
    bl__out_printf(o, " (%s", socket_kind(family, option(fd, SO_TYPE)));
    if (mine[0] != '\0')
        address_print(o, family, option(fd, SO_ACCEPTCONN) == 1 ? ", listening on " : ", ", mine);
    if (peer[0] != '\0')
        address_print(o, family, mine[0] != '\0' ? " with " : ", with ", peer);
    bl__out_printf(o, ")");
}

static bool link_begins(const char *link, const char *with)
{
    return strncmp(link, with, strlen(with)) == 0;
}

static void link_print(bl__out *o, const char *link)
{
    static const char anonymous[] = "anon_inode:[";
    bl__out_printf(o, " (");
    if (link_begins(link, anonymous))
        bl__out_printf(o, "%.*s", (int)(strlen(link) - sizeof anonymous),
                       link + sizeof anonymous - 1);
    else if (link_begins(link, "pipe:["))
        bl__out_printf(o, "%s", link);
    else
        bl__out_quoted(o, link); /* a path, which may have anything in it */
    bl__out_printf(o, ")");
}

void bl__descriptor_print(bl__out *o, int fd)
{
    char path[32], link[512] = "";
    int saved = errno;
    bl__out_printf(o, "descriptor %d", fd);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool known = !bl__thread_is_filtered(bl__thread_id()) && /* a filter of system calls may kill */
                 readlink(path, link, sizeof link - 1) > 0;  /* no file system hangs in that */
    if (known && link_begins(link, "socket:["))
        socket_print(o, fd);
    else if (known)
        link_print(o, link);
    errno = saved;
}
