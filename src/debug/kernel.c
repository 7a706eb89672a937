/* SPDX-License-Identifier: MIT */
/* kernel.c: see kernel.h; proc(5), /proc/PID/fdinfo, timers and sysvipc; tee(2); MSG_PEEK in
 * recv(2), MSG_COPY in msgrcv(2). */
#include "debug/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/proc.h"

enum {
    KERNEL_TEXT = 4096,
    KERNEL_BYTES = 1 << 18, /* that are looked at, of a pipe, a socket or a message */
    KERNEL_MESSAGES = 2048  /* of a queue; more are seldom allowed */
};

typedef struct kernel_look {
    void (*fn)(uint64_t word, void *arg);
    void *arg;
    char *bytes;    /* room for KERNEL_BYTES */
    int scratch[2]; /* a pipe */
    int infos;      /* /proc/self/fdinfo */
} kernel_look;

static const char *kernel_refused; /* atomic: a call that a filter does not let pass, or NULL */

/* The last call has failed for that: what it would show is not known. */
static bool kernel_refuses(const char *call)
{
    bool filtered = errno == EPERM || errno == EACCES || errno == ENOSYS;
    if (filtered)
        store_relaxed(&kernel_refused, call);
    return filtered;
}

void bl__kernel_refused_say(void)
{
    static bool said; /* sysmon's own */
    const char *call = load_relaxed(&kernel_refused);
    if (call == NULL || said)
        return;
    said = true;
    bl__warn("whether goroutines are stuck cannot be told: the system refuses %s, without which "
             "what is under way in pipes and sockets is not seen; a filter of system calls has to "
             "let it pass",
             call);
}

/* ---- What /proc says ---- */

/* The number behind the mark, in each line of text, which ends; how much of it is whole lines. */
static size_t kernel_lines(const kernel_look *k, const char *text, const char *mark)
{
    const char *line = text;
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        const char *at = strstr(line, mark);
        if (at != NULL && at < end)
            k->fn(strtoull(at + strlen(mark), NULL, 16), k->arg);
    }
    return (size_t)(line - text);
}

static void kernel_text(const kernel_look *k, int dir, const char *name, const char *mark)
{
    char text[KERNEL_TEXT];
    size_t held = 0;
    ssize_t n;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (n = read(fd, text + held, sizeof text - 1 - held)) > 0) {
        held += (size_t)n;
        text[held] = '\0';
        size_t whole = kernel_lines(k, text, mark);
        held -= whole;
        memmove(text, text + whole, held);
    }
    if (fd >= 0)
        close(fd);
}

/* ---- What is on its way ---- */

/* Messages are of any length, so an address may begin at any byte. */
static void kernel_bytes(const kernel_look *k, size_t n)
{
    for (size_t i = 0; i + sizeof(uint64_t) <= n; i++) {
        uint64_t word;
        memcpy(&word, k->bytes + i, sizeof word);
        k->fn(word, k->arg);
    }
}

/* More is there than those. */
static bool kernel_has_more(int fd, size_t n)
{
    int all;
    return ioctl(fd, FIONREAD, &all) == 0 && all > 0 && (size_t)all > n;
}

static bool kernel_pipe(const kernel_look *k, int fd)
{
    bool holds = kernel_has_more(fd, 0);
    ssize_t n = tee(fd, k->scratch[1], KERNEL_BYTES, SPLICE_F_NONBLOCK);
    size_t have = 0;
    if (n < 0 && holds && kernel_refuses("tee"))
        return false;
    while (n > 0 && have < (size_t)n) {
        ssize_t part = read(k->scratch[0], k->bytes + have, KERNEL_BYTES - have);
        if (part <= 0)
            return false;
        have += (size_t)part;
    }
    kernel_bytes(k, have);
    return n <= 0 || !kernel_has_more(fd, have);
}

static int socket_option(int fd, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

/* A look at packets would take a pending error away, which a stream tells behind its bytes, and would
 * move the program's offset for MSG_PEEK. Of datagrams only the first is seen: of those that this
 * process has sent, and nobody has received, there may be a second. Another host knows no address,
 * so of connections over the network what is not seen counts for nothing. */
static bool kernel_socket(const kernel_look *k, int fd)
{
    struct pollfd now = {.fd = fd};
    int domain = socket_option(fd, SO_DOMAIN), type = socket_option(fd, SO_TYPE), unread = 0;
    if (domain != AF_UNIX && domain != AF_INET && domain != AF_INET6)
        return true;
    if (domain == AF_UNIX && type == SOCK_DGRAM)
        ioctl(fd, TIOCOUTQ, &unread);
    ssize_t n = 0;
    if (kernel_has_more(fd, 0) && socket_option(fd, SO_PEEK_OFF) < 0 && poll(&now, 1, 0) >= 0 &&
        (type == SOCK_STREAM || (now.revents & POLLERR) == 0))
        n = recv(fd, k->bytes, KERNEL_BYTES, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && kernel_refuses("recvfrom"))
        return false;
    n = n > 0 ? n : 0;
    kernel_bytes(k, (size_t)n);
    return domain != AF_UNIX || (unread == 0 && !kernel_has_more(fd, (size_t)n));
}

static bool kernel_queue(const kernel_look *k, int id)
{
    for (long i = 0; i < KERNEL_MESSAGES; i++) {
        ssize_t n = msgrcv(id, k->bytes, KERNEL_BYTES - sizeof(long), i,
                           IPC_NOWAIT | MSG_NOERROR | MSG_COPY);
        if (n < 0)
            return errno != ENOSYS && errno != EINVAL; /* what the kernel was not built for */
        kernel_bytes(k, sizeof(long) + (size_t)n);
    }
    return false;
}

/* "key msqid perms cbytes qnum …", below a line of their names. */
static bool kernel_queues(const kernel_look *k)
{
    char text[KERNEL_TEXT];
    bool known = true;
    int fd = open("/proc/sysvipc/msg", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    for (const char *line = strchr(text, '\n'); line != NULL; line = strchr(line + 1, '\n')) {
        int id;
        unsigned long has;
        if (sscanf(line, "%*d %d %*o %*u %lu", &id, &has) == 2 && has > 0)
            known = kernel_queue(k, id) && known;
    }
    if (fd >= 0)
        close(fd);
    return known;
}

static bool kernel_mq_holds(int fd)
{
    struct mq_attr a;
    return syscall(SYS_mq_getsetattr, fd, NULL, &a) == 0 && a.mq_curmsgs > 0;
}

static void pending_add(uint64_t mask, void *arg) { *(uint64_t *)arg |= mask; }

/* One that programs send with a value is pending, for the process or a thread of it. */
static bool kernel_signal_holds(void)
{
    uint64_t pending = 0;
    kernel_look k = {.fn = pending_add, .arg = &pending};
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *e;
    while (tasks != NULL && (e = readdir(tasks)) != NULL) {
        char name[32];
        (void)snprintf(name, sizeof name, "%.10s/status", e->d_name);
        kernel_text(&k, dirfd(tasks), name, "Pnd:"); /* SigPnd, ShdPnd */
    }
    if (tasks != NULL)
        closedir(tasks);
    return pending >> (SIGRTMIN - 1) != 0 ||
           (pending & (UINT64_C(1) << (SIGUSR1 - 1) | UINT64_C(1) << (SIGUSR2 - 1))) != 0;
}

static void count_add(uint64_t n, void *arg) { ((uint64_t *)arg)[0] += n, ((uint64_t *)arg)[1]++; }

/* Something is under way in an io_uring, and will come back with a word that only the kernel has:
 * unless as much has been completed as was taken, and nothing is polled, which may complete again
 * and again (multishot). */
static bool kernel_ring_holds(const kernel_look *k, const char *name)
{
    uint64_t taken[2] = {0}, completed[2] = {0}, polls[2] = {0}; /* the sum, of how many */
    kernel_look counts = {.fn = count_add, .arg = completed};
    kernel_text(&counts, k->infos, name, "CqTail:"); /* CachedCqTail, too; before what was taken */
    counts.arg = taken;
    kernel_text(&counts, k->infos, name, "SqHead:");
    counts.arg = polls;
    kernel_text(&counts, k->infos, name, "  op=");
    return polls[1] > 0 || taken[1] == 0 || taken[0] != completed[0] || taken[1] != completed[1];
}

/* The program has a queue of the kernel's own asynchronous reads and writes (io_setup), of which
 * nobody says what is under way. */
static bool kernel_aio_holds(void)
{
    uint64_t queues[2] = {0};
    kernel_look k = {.fn = count_add, .arg = queues};
    kernel_text(&k, AT_FDCWD, "/proc/self/maps", "/[aio]");
    return queues[1] > 0;
}

static bool kernel_fd(const kernel_look *k, int fds, const char *name)
{
    char to[64] = "";
    int fd = (int)strtol(name, NULL, 10);
    if (readlinkat(fds, name, to, sizeof to - 1) < 0)
        return !kernel_refuses("readlinkat");
    if (strcmp(to, "anon_inode:[eventpoll]") == 0 && !bl__poll_has(fd))
        kernel_text(k, k->infos, name, "data:");
    else if (strcmp(to, "anon_inode:[eventfd]") == 0)
        kernel_text(k, k->infos, name, "eventfd-count:");
    else if (strcmp(to, "anon_inode:[io_uring]") == 0)
        return bl__ring_has(fd) || !kernel_ring_holds(k, name);
    else if (strncmp(to, "pipe:", 5) == 0 && fd != k->scratch[0] && fd != k->scratch[1])
        return kernel_pipe(k, fd);
    else if (strncmp(to, "socket:", 7) == 0)
        return kernel_socket(k, fd);
    return to[0] != '/' || !kernel_mq_holds(fd);
}

bool bl__kernel_each(void (*fn)(uint64_t word, void *arg), void *arg)
{
    kernel_look k = {.fn = fn, .arg = arg, .scratch = {-1, -1}};
    const struct dirent *e;
    DIR *fds = opendir("/proc/self/fd");
    k.infos = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    k.bytes = mmap(NULL, KERNEL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool ready = fds != NULL && k.infos >= 0 && k.bytes != MAP_FAILED;
    if (ready && pipe2(k.scratch, O_CLOEXEC | O_NONBLOCK) != 0)
        ready = kernel_refuses("pipe2") && false;
    bool known = ready && !kernel_signal_holds() && !kernel_aio_holds();
    while (ready && (e = readdir(fds)) != NULL)
        known = kernel_fd(&k, dirfd(fds), e->d_name) && known;
    kernel_text(&k, AT_FDCWD, "/proc/self/timers", "/"); /* signal: NUMBER/VALUE */
    if (ready) {
        known = kernel_queues(&k) && known;
        close(k.scratch[0]);
        close(k.scratch[1]);
    }
    if (k.bytes != MAP_FAILED)
        munmap(k.bytes, KERNEL_BYTES);
    if (k.infos >= 0)
        close(k.infos);
    if (fds != NULL)
        closedir(fds);
    return known;
}
