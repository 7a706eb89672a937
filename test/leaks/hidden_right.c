/* SPDX-License-Identifier: MIT */
/* All right: the address of who waits is there, but looks like none, or is kept by the system for the program. */
#define _GNU_SOURCE /* NOLINT: what the C library reads, for F_SETPIPE_SZ */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "right.h"

/* A channel that somebody receives from. Who calls this is not to have it on its stack afterwards. */
static bl_chan *awaited(void)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_go(bl_root(), recv_one, c);
    return c;
}

static int send_last(bl_chan *c)
{
    int r = send_one(c);
    bl_chan_release(c);
    return r;
}

/* What others may have left on the stack is overwritten first. */
static int nap_long(void)
{
    volatile char wiped[4096];
    for (size_t i = 0; i < sizeof wiped; i++)
        wiped[i] = 0;
    return nap(2 * LONG);
}

/* ---- In a form of its own ---- */

typedef struct message {
    char kind;
    bl_chan *reply;
    short length;
} __attribute__((packed)) message;

static __attribute__((noinline)) void pack(message *m) { m->reply = awaited(); }

/*? in_a_packed_record right
 */
static int in_a_packed_record(void *arg)
{
    (void)arg;
    message *m = calloc(1, sizeof *m);
    pack(m);
    int r = nap_long() != 0 ? 1 : send_last(m->reply);
    free(m);
    return r;
}

enum { FULL = 7 }; /* addresses: a block that has no byte left */
static bl_chan **behind;

static __attribute__((noinline)) void fill_whole(void)
{
    bl_chan **all = malloc(FULL * sizeof(bl_chan *));
    for (int i = 0; i < FULL; i++)
        all[i] = awaited();
    behind = all + FULL;
}

/* Who goes from the end of an array to its beginning has no other address in between. */
/*? behind_the_last_element right
 */
static int behind_the_last_element(void *arg)
{
    (void)arg;
    fill_whole();
    int r = nap_long() != 0;
    for (int i = 0; i < FULL && r == 0; i++)
        r = send_last(*--behind) != 0;
    free(behind);
    return r;
}

static uint64_t top; /* of a list without locks: how often it was changed, an address, and a mark */

static __attribute__((noinline)) void push(void)
{
    top = (uint64_t)(uintptr_t)awaited() | (uint64_t)77 << 48 | 1;
}

/*? with_a_counter_and_a_mark right
 */
static int with_a_counter_and_a_mark(void *arg)
{
    (void)arg;
    push();
    return nap_long() != 0 ? 1 : send_last((bl_chan *)(uintptr_t)(top & (((uint64_t)1 << 48) - 2)));
}

/* ---- On its way through the system ---- */

static __attribute__((noinline)) bool post(int fd)
{
    message m = {.kind = 'j', .reply = awaited()};
    return write(fd, &m, sizeof m) == sizeof m;
}

static int received_late(const int *ends)
{
    message m;
    int r = !post(ends[1]) || nap_long() != 0 || read(ends[0], &m, sizeof m) != sizeof m
                ? 1
                : send_last(m.reply);
    close(ends[0]);
    close(ends[1]);
    return r;
}

/*? in_a_pipe right
 */
static int in_a_pipe(void *arg)
{
    int ends[2];
    (void)arg;
    return pipe(ends) != 0 ? 1 : received_late(ends);
}

/*? in_a_socket right
 */
static int in_a_socket(void *arg)
{
    int ends[2];
    (void)arg;
    return socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0 ? 1 : received_late(ends);
}

static bool fill(int fd, size_t n)
{
    static const char zeros[1 << 12];
    for (size_t i = 0; i < n; i += sizeof zeros)
        if (write(fd, zeros, sizeof zeros) != sizeof zeros)
            return false;
    return true;
}

static bool drain(int fd, size_t n)
{
    char got[1 << 12];
    for (size_t i = 0; i < n; i += sizeof got)
        if (read(fd, got, sizeof got) != sizeof got)
            return false;
    return true;
}

static int received_behind(const int *ends, size_t n)
{
    message m;
    int r = !fill(ends[1], n) || !post(ends[1]) || nap_long() != 0 || !drain(ends[0], n) ||
                    read(ends[0], &m, sizeof m) != sizeof m
                ? 1
                : send_last(m.reply);
    close(ends[0]);
    close(ends[1]);
    return r;
}

/*? far_back_in_a_pipe right
 */
static int far_back_in_a_pipe(void *arg)
{
    int ends[2];
    (void)arg;
    if (pipe(ends) != 0)
        return 1;
    size_t room = fcntl(ends[1], F_SETPIPE_SZ, 1 << 18) > 1 << 17 ? 1 << 17 : 0; /* if allowed */
    return received_behind(ends, room);
}

/*? behind_another_in_a_socket right
 */
static int behind_another_in_a_socket(void *arg)
{
    int ends[2];
    (void)arg;
    return socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0 ? 1 : received_behind(ends, 1);
}

/* Whom its peer has left, with what that has sent before. */
/*? in_a_socket_with_an_error right
 */
static int in_a_socket_with_an_error(void *arg)
{
    message m;
    int ends[2];
    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || !fill(ends[0], 1) || !post(ends[1]))
        return 1;
    close(ends[1]);
    int r = nap_long() != 0 || read(ends[0], &m, sizeof m) != sizeof m ? 1 : send_last(m.reply);
    close(ends[0]);
    return r;
}

/*? in_a_socket_that_is_peeked_at right
 */
static int in_a_socket_that_is_peeked_at(void *arg)
{
    message m;
    int ends[2], from = 0;
    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 ||
        setsockopt(ends[0], SOL_SOCKET, SO_PEEK_OFF, &from, sizeof from) != 0 || !post(ends[1]))
        return 1;
    int r = nap_long() != 0 || recv(ends[0], &m, sizeof m, MSG_PEEK | MSG_DONTWAIT) != sizeof m
                ? 1
                : send_last(m.reply);
    close(ends[0]);
    close(ends[1]);
    return r;
}

/*? where_no_more_can_be_opened right
 */
static int where_no_more_can_be_opened(void *arg)
{
    struct rlimit most, none;
    int ends[2];
    (void)arg;
    if (pipe(ends) != 0 || getrlimit(RLIMIT_NOFILE, &most) != 0)
        return 1;
    none = (struct rlimit){0, most.rlim_max};
    int r = setrlimit(RLIMIT_NOFILE, &none) != 0 ? 1 : received_late(ends);
    return setrlimit(RLIMIT_NOFILE, &most) != 0 ? 1 : r;
}

/*? on_a_connection right
 */
static int on_a_connection(void *arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *to = (struct sockaddr *)&at;
    socklen_t size = sizeof at;
    int listens = socket(AF_INET, SOCK_STREAM, 0), ends[2] = {-1, socket(AF_INET, SOCK_STREAM, 0)};
    int low = 1 << 10; /* bytes: with fewer it is not readable */
    (void)arg;
    if (bind(listens, to, size) != 0 || listen(listens, 1) != 0 ||
        getsockname(listens, to, &size) != 0 || connect(ends[1], to, size) != 0 ||
        (ends[0] = accept(listens, NULL, NULL)) < 0 ||
        setsockopt(ends[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low) != 0)
        return 1;
    close(listens);
    bool ok = post(ends[1]);
    low = 1;
    message m;
    int r = !ok || nap_long() != 0 ||
                    setsockopt(ends[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low) != 0 ||
                    read(ends[0], &m, sizeof m) != sizeof m
                ? 1
                : send_last(m.reply);
    close(ends[0]);
    close(ends[1]);
    return r;
}

typedef struct letter {
    long type;
    bl_chan *reply;
} letter;

enum { LETTERS = 100 }; /* before it */

static __attribute__((noinline)) bool letter_send(int queue)
{
    letter l = {1, NULL};
    for (int i = 0; i < LETTERS; i++)
        if (msgsnd(queue, &l, sizeof l.reply, 0) != 0)
            return false;
    l.reply = awaited();
    return msgsnd(queue, &l, sizeof l.reply, 0) == 0;
}

/*? in_a_message_queue right
 */
static int in_a_message_queue(void *arg)
{
    letter l = {0, NULL};
    int queue = msgget(IPC_PRIVATE, 0600);
    (void)arg;
    if (queue < 0) /* none here */
        return 0;
    bool ok = letter_send(queue) && nap_long() == 0;
    while (ok && l.reply == NULL)
        ok = msgrcv(queue, &l, sizeof l.reply, 0, 0) == sizeof l.reply;
    return msgctl(queue, IPC_RMID, NULL) != 0 || !ok ? 1 : send_last(l.reply);
}

static __attribute__((noinline)) bool mail_send(mqd_t queue)
{
    bl_chan *reply = awaited();
    return mq_send(queue, (const char *)&reply, sizeof reply, 0) == 0;
}

/*? in_a_posix_queue right
 */
static int in_a_posix_queue(void *arg)
{
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = sizeof(bl_chan *)};
    bl_chan *reply = NULL;
    char name[32];
    (void)arg;
    (void)snprintf(name, sizeof name, "/belay-%d", (int)getpid());
    mqd_t queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attr);
    if (queue < 0) /* none here */
        return 0;
    mq_unlink(name);
    return !mail_send(queue) || nap_long() != 0 ||
                   mq_receive(queue, (char *)&reply, sizeof reply, NULL) != sizeof reply
               ? 1
               : send_last(reply);
}

/* ---- Kept by the system ---- */

static __attribute__((noinline)) bool count_to(int fd)
{
    uint64_t n = (uintptr_t)awaited();
    return write(fd, &n, sizeof n) == sizeof n;
}

/*? in_the_count_of_an_eventfd right
 */
static int in_the_count_of_an_eventfd(void *arg)
{
    uint64_t n = 0;
    int fd = eventfd(0, 0);
    (void)arg;
    return !count_to(fd) || nap_long() != 0 || read(fd, &n, sizeof n) != sizeof n
               ? 1
               : send_last((bl_chan *)(uintptr_t)n);
}

static __attribute__((noinline)) bool queue_signal(void)
{
    union sigval value = {.sival_ptr = awaited()};
    return sigqueue(getpid(), SIGRTMIN, value) == 0;
}

/*? in_a_blocked_signal right
 */
static int in_a_blocked_signal(void *arg)
{
    sigset_t set;
    siginfo_t info;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    return !queue_signal() || nap_long() != 0 || sigwaitinfo(&set, &info) < 0
               ? 1
               : send_last(info.si_value.sival_ptr);
}

static __attribute__((noinline)) bool queue_signal_to(pthread_t thread)
{
    union sigval value = {.sival_ptr = awaited()};
    return pthread_sigqueue(thread, SIGRTMIN, value) == 0;
}

static void *take_signal(void *arg)
{
    char told;
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    return read(*(int *)arg, &told, 1) != 1 || sigwaitinfo(&set, &info) < 0 ||
                   send_last(info.si_value.sival_ptr) != 0
               ? NULL
               : arg;
}

/*? in_a_blocked_signal_of_a_thread right
 */
static int in_a_blocked_signal_of_a_thread(void *arg)
{
    pthread_t thread;
    void *sent = NULL;
    int ends[2];
    (void)arg;
    if (pipe(ends) != 0 || pthread_create(&thread, NULL, take_signal, &ends[0]) != 0)
        return 1;
    int r = !queue_signal_to(thread) || nap_long() != 0;
    return write(ends[1], "", 1) != 1 || pthread_join(thread, &sent) != 0 || sent == NULL ? 1 : r;
}

static __attribute__((constructor)) void block_signal(void) /* in each thread to come */
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

enum { VAULT = 1 << 16 };

static __attribute__((noinline)) bool shut_in(bl_chan **vault)
{
    vault[100] = awaited();
    return mprotect(vault, VAULT, PROT_NONE) == 0;
}

/*? in_memory_without_access right
 */
static int in_memory_without_access(void *arg)
{
    bl_chan **vault = mmap(NULL, VAULT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)arg;
    return vault == MAP_FAILED || !shut_in(vault) || nap_long() != 0 ||
                   mprotect(vault, VAULT, PROT_READ) != 0
               ? 1
               : send_last(vault[100]);
}

static int alarm_fd;

static void alarm_signalled(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    if (write(alarm_fd, &info->si_value, sizeof info->si_value) < 0)
        abort();
}

static __attribute__((noinline)) bool alarm_set(void)
{
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec when = {.it_value = {.tv_sec = 1, .tv_nsec = 400 * 1000 * 1000}};
    timer_t timer;
    e.sigev_value.sival_ptr = awaited();
    return timer_create(CLOCK_MONOTONIC, &e, &timer) == 0 &&
           timer_settime(timer, 0, &when, NULL) == 0;
}

/*? in_the_value_of_a_signal right
 */
static int in_the_value_of_a_signal(void *arg)
{
    struct sigaction action = {.sa_sigaction = alarm_signalled, .sa_flags = SA_SIGINFO};
    union sigval value = {.sival_ptr = NULL};
    int ends[2];
    (void)arg;
    if (pipe(ends) != 0 || sigaction(SIGUSR1, &action, NULL) != 0)
        return 1;
    alarm_fd = ends[1];
    if (!alarm_set() || nap_long() != 0 || bl_read(ends[0], &value, sizeof value) != sizeof value)
        return 1;
    return send_last(value.sival_ptr);
}

static char name_of_it[] = "it";

static __attribute__((noinline)) bool enter(void)
{
    ENTRY e = {.key = name_of_it, .data = awaited()};
    return hcreate(64) != 0 && hsearch(e, ENTER) != NULL;
}

/*? in_a_table_of_the_c_library right
 */
static int in_a_table_of_the_c_library(void *arg)
{
    ENTRY e = {.key = name_of_it};
    (void)arg;
    if (!enter() || nap_long() != 0)
        return 1;
    return send_last(hsearch(e, FIND)->data);
}

/* ---- In a register ---- */

static bl_chan *handed; /* atomic */
static int computed;    /* atomic */

static __attribute__((noinline)) void hand_over(void)
{
    __atomic_store_n(&handed, awaited(), __ATOMIC_RELEASE);
}

static void *compute(void *arg)
{
    bl_chan *c;
    while ((c = __atomic_exchange_n(&handed, NULL, __ATOMIC_ACQ_REL)) == NULL)
        continue;
    while (!__atomic_load_n(&computed, __ATOMIC_ACQUIRE))
        __asm__ volatile("" : "+r"(c));
    return send_last(c) == 0 ? arg : NULL;
}

/* ---- Under way: a poll of a descriptor, which comes back with the address ---- */

typedef struct ring {
    int fd;
    char *at; /* the queues' indices, and what has completed */
    struct io_uring_sqe *request;
    struct io_uring_params p;
} ring;

static uint32_t *ring_word(const ring *r, uint32_t offset)
{
    return (uint32_t *)(void *)(r->at + offset);
}

static bool ring_open(ring *r)
{
    *r = (ring){.p = {0}};
    r->fd = (int)syscall(SYS_io_uring_setup, 1, &r->p);
    if (r->fd < 0)
        return false;
    size_t size = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
    r->at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    r->request =
        mmap(NULL, sizeof *r->request, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
    return r->at != MAP_FAILED && r->request != MAP_FAILED &&
           (r->p.features & IORING_FEAT_SINGLE_MMAP) != 0;
}

static __attribute__((noinline)) bool ring_poll(ring *r, int fd, uint32_t how)
{
    *r->request = (struct io_uring_sqe){.opcode = IORING_OP_POLL_ADD,
                                        .fd = fd,
                                        .len = how,
                                        .poll_events = 1,
                                        .user_data = (uintptr_t)awaited()};
    *ring_word(r, r->p.sq_off.tail) = 1;
    bool ok = syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0) == 1;
    memset(r->request, 0, sizeof *r->request); /* its place is another's now */
    return ok;
}

/* The next that has completed, whose place is another's then. */
static __attribute__((noinline)) bl_chan *ring_await(ring *r, int fd)
{
    uint32_t *head = ring_word(r, r->p.cq_off.head);
    if (eventfd_write(fd, 1) != 0 ||
        syscall(SYS_io_uring_enter, r->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 0)
        return NULL;
    struct io_uring_cqe *all = (struct io_uring_cqe *)(void *)(r->at + r->p.cq_off.cqes);
    struct io_uring_cqe *done = &all[*head % r->p.cq_entries];
    bl_chan *c = (bl_chan *)(uintptr_t)done->user_data;
    memset(done, 0, sizeof *done);
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return c;
}

/*? in_an_io_uring right
 */
static int in_an_io_uring(void *arg)
{
    ring r;
    int fd = eventfd(0, EFD_CLOEXEC);
    (void)arg;
    if (!ring_open(&r)) /* none here */
        return 0;
    if (!ring_poll(&r, fd, 0) || nap_long() != 0)
        return 1;
    return send_last(ring_await(&r, fd));
}

/*? in_an_io_uring_again right
 */
static int in_an_io_uring_again(void *arg)
{
    ring r;
    int fd = eventfd(0, EFD_CLOEXEC);
    (void)arg;
    if (!ring_open(&r)) /* none here */
        return 0;
    if (!ring_poll(&r, fd, IORING_POLL_ADD_MULTI) || ring_await(&r, fd) == NULL || nap_long() != 0)
        return 1;
    return send_last(ring_await(&r, fd));
}

static __attribute__((noinline)) bool aio_poll(aio_context_t queue, int fd)
{
    struct iocb one = {.aio_lio_opcode = IOCB_CMD_POLL,
                       .aio_fildes = (uint32_t)fd,
                       .aio_buf = 1,
                       .aio_data = (uintptr_t)awaited()};
    struct iocb *all = &one;
    return syscall(SYS_io_submit, queue, 1, &all) == 1;
}

/*? in_an_aio_queue right
 */
static int in_an_aio_queue(void *arg)
{
    aio_context_t queue = 0;
    struct io_event done;
    int fd = eventfd(0, EFD_CLOEXEC);
    (void)arg;
    if (syscall(SYS_io_setup, 1, &queue) != 0 || !aio_poll(queue, fd)) /* none here */
        return 0;
    if (nap_long() != 0 || eventfd_write(fd, 1) != 0 ||
        syscall(SYS_io_getevents, queue, 1, 1, &done, NULL) != 1)
        return 1;
    return send_last((bl_chan *)(uintptr_t)done.data);
}

/*? of_a_thread_that_computes right
 */
static int of_a_thread_that_computes(void *arg)
{
    pthread_t thread;
    void *sent = NULL;
    (void)arg;
    if (pthread_create(&thread, NULL, compute, &computed) != 0)
        return 1;
    hand_over();
    int r = nap_long() != 0 || nap_long() != 0; /* beside it the finder wants to be sure */
    __atomic_store_n(&computed, 1, __ATOMIC_RELEASE);
    return pthread_join(thread, &sent) != 0 || sent == NULL ? 1 : r;
}

PROGRAMS({"in_a_packed_record", in_a_packed_record},
         {"behind_the_last_element", behind_the_last_element},
         {"with_a_counter_and_a_mark", with_a_counter_and_a_mark}, {"in_a_pipe", in_a_pipe},
         {"in_a_socket", in_a_socket}, {"far_back_in_a_pipe", far_back_in_a_pipe},
         {"behind_another_in_a_socket", behind_another_in_a_socket},
         {"in_a_socket_with_an_error", in_a_socket_with_an_error},
         {"in_a_socket_that_is_peeked_at", in_a_socket_that_is_peeked_at},
         {"where_no_more_can_be_opened", where_no_more_can_be_opened},
         {"on_a_connection", on_a_connection}, {"in_a_message_queue", in_a_message_queue},
         {"in_a_posix_queue", in_a_posix_queue},
         {"in_the_count_of_an_eventfd", in_the_count_of_an_eventfd},
         {"in_a_blocked_signal", in_a_blocked_signal},
         {"in_a_blocked_signal_of_a_thread", in_a_blocked_signal_of_a_thread},
         {"in_memory_without_access", in_memory_without_access},
         {"in_the_value_of_a_signal", in_the_value_of_a_signal},
         {"in_a_table_of_the_c_library", in_a_table_of_the_c_library},
         {"in_an_io_uring", in_an_io_uring}, {"in_an_io_uring_again", in_an_io_uring_again},
         {"in_an_aio_queue", in_an_aio_queue},
         {"of_a_thread_that_computes", of_a_thread_that_computes})
