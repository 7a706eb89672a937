/* SPDX-License-Identifier: MIT */
/* What reports say of a descriptor. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "debug/descriptor.h"

static int errno_after;

static const char *text_of(int fd)
{
    static char text[1024];
    bl__out o;
    int to = memfd_create("text", MFD_CLOEXEC);
    bl__out_init(&o, to);
    errno = 0;
    bl__descriptor_print(&o, fd);
    errno_after = errno;
    bl__out_flush(&o);
    ssize_t n = pread(to, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    close(to);
    return text;
}

/* format: with the descriptor's number, and a further one. */
#define SAYS(fd, format, ...)                                                                      \
    do {                                                                                           \
        char wanted[512];                                                                          \
        snprintf(wanted, sizeof wanted, "descriptor %d" format, fd, ##__VA_ARGS__);                \
        BL_CHECK_STR(t, text_of(fd), wanted);                                                      \
        BL_CHECK_EQ(t, errno_after, 0);                                                            \
    } while (0)

static int port_of(int fd)
{
    struct sockaddr_in6 at;
    socklen_t size = sizeof at;
    return getsockname(fd, (struct sockaddr *)&at, &size) == 0 ? ntohs(at.sin6_port) : -1;
}

BL_TEST_PLAIN(tcp)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    SAYS(client, " (TCP)");
    BL_REQUIRE(t, bind(listener, (struct sockaddr *)&at, size) == 0 && listen(listener, 1) == 0);
    BL_REQUIRE(t, getsockname(listener, (struct sockaddr *)&at, &size) == 0);
    SAYS(listener, " (TCP, listening on 127.0.0.1:%d)", port_of(listener));
    BL_REQUIRE(t, connect(client, (struct sockaddr *)&at, size) == 0);
    SAYS(client, " (TCP, 127.0.0.1:%d with 127.0.0.1:%d)", port_of(client), port_of(listener));
    close(listener);
    close(client);
}

BL_TEST_PLAIN(udp)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd < 0)
        bl_skip(t, "no IPv6 here");
    SAYS(fd, " (UDP)");
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        bl_skip(t, "no IPv6 here");
    SAYS(fd, " (UDP, [::1]:%d)", port_of(fd));
    close(fd);
}

BL_TEST_PLAIN(unix_sockets)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct sockaddr_un abstract = {.sun_family = AF_UNIX};
    int pair[2], name = socket(AF_UNIX, SOCK_DGRAM, 0);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    BL_REQUIRE(t, socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    SAYS(pair[0], " (unix socket)");
    snprintf(at.sun_path, sizeof at.sun_path, "%s/line\nfeed", bl_tempdir(t));
    BL_REQUIRE(t, bind(listener, (struct sockaddr *)&at, sizeof at) == 0);
    BL_REQUIRE(t, listen(listener, 1) == 0);
    SAYS(listener, " (unix socket, listening on \"%s/line\\nfeed\")", bl_tempdir(t));
    BL_REQUIRE(t, connect(client, (struct sockaddr *)&at, sizeof at) == 0);
    SAYS(client, " (unix socket, with \"%s/line\\nfeed\")", bl_tempdir(t));
    snprintf(abstract.sun_path + 1, sizeof abstract.sun_path - 1, "belay-%d", getpid());
    BL_REQUIRE(t, bind(name, (struct sockaddr *)&abstract,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                   strlen(abstract.sun_path + 1))) == 0);
    SAYS(name, " (unix socket, \"@belay-%d\")", getpid());
    for (size_t i = 0; i < sizeof abstract.sun_path; i++) /* a path with no end */
        abstract.sun_path[i] = i == 0 ? '\0' : 'x';
    int longest = socket(AF_UNIX, SOCK_DGRAM, 0);
    BL_REQUIRE(t, bind(longest, (struct sockaddr *)&abstract, sizeof abstract) == 0);
    SAYS(longest, " (unix socket, \"@%.107s\")", abstract.sun_path + 1);
    int all[] = {pair[0], pair[1], name, listener, client, longest};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        close(all[i]);
}

BL_TEST_PLAIN(files)
{
    char name[256];
    int fd[2], event = eventfd(0, 0);
    SAYS(event, " (eventfd)");
    snprintf(name, sizeof name, "%s/a file", bl_tempdir(t));
    int file = open(name, O_CREAT | O_RDWR, 0600);
    BL_REQUIRE(t, file >= 0 && pipe(fd) == 0);
    SAYS(file, " (\"%s\")", name);
    char begin[64];
    snprintf(begin, sizeof begin, "descriptor %d (pipe:[", fd[0]);
    BL_CHECK(t, strncmp(text_of(fd[0]), begin, strlen(begin)) == 0);
    close(event);
    close(file);
    close(fd[0]);
    close(fd[1]);
    SAYS(file, ""); /* that is none any more */
}
