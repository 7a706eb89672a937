/* SPDX-License-Identifier: MIT */
/* memory.h: more programs of cases.c: whose memory is accessed by whom, and what is nobody's. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

static char words[64];
static uint64_t place[4];
static bl_map *plain_map;

/* The second of two goroutines, when the first has had its turn. */
static void turn(void) { MUST(bl_sleep(3 * BL_MS)); }

static int two(bl_fn first, bl_fn second)
{
    JOINED(s);
    MUST(bl_go(s, first, s));
    MUST(bl_go(s, second, s));
    return bl_scope_wait(s);
}

static int first_words(void *arg)
{
    (void)arg;
    words[0] = 'a';
    said();
    return 0;
}
static int first_place(void *arg)
{
    (void)arg;
    place[0]++;
    said();
    return 0;
}

static int second_word(void *arg)
{
    (void)arg;
    place[2]++;
    said();
    return 0;
}

static int clears_words(void *arg)
{
    (void)arg;
    await();
    memset(words, 0, sizeof words);
    return 0;
}
CASE(memset_is_seen)
{
    UNUSED;
    return two(first_words, clears_words);
}

static int zeroes_words(void *arg)
{
    (void)arg;
    await();
    bzero(words, 4);
    return 0;
}
CASE(bzero_is_seen)
{
    UNUSED;
    return two(first_words, zeroes_words);
}

/* What ThreadSanitizer does not know. */
void *mempcpy(void *to, const void *from, size_t n);
static int copies_words(void *arg)
{
    (void)arg;
    await();
    (void)mempcpy(words, "xyz", 3);
    return 0;
}
CASE(mempcpy_is_seen)
{
    UNUSED;
    return two(first_words, copies_words);
}
static int appends_words(void *arg)
{
    (void)arg;
    await();
    strcat(words, "bc");
    return 0;
}
CASE(strcat_is_seen)
{
    UNUSED;
    return two(first_words, appends_words);
}
static int appends_behind(void *arg)
{
    (void)arg;
    await();
    strncat(words + 1, "bcd", 2);
    return 0;
}
CASE(strncat_beside)
{
    UNUSED;
    return two(first_words, appends_behind);
}

static int parses_words(void *arg)
{
    (void)arg;
    await();
    return (int)strtol(words, NULL, 10) * 0;
}
CASE(strtol_is_seen)
{
    UNUSED;
    return two(first_words, parses_words);
}
static int parses_behind(void *arg)
{
    (void)arg;
    await();
    return atoi(words + 1) * 0;
}
CASE(atoi_beside)
{
    UNUSED;
    return two(first_words, parses_behind);
}
static char *no_words;
static int cuts_nothing(void *arg)
{
    (void)arg;
    return strsep(&no_words, ",") != NULL;
}
CASE(strsep_at_the_end)
{
    UNUSED;
    return two(cuts_nothing, cuts_nothing);
}
CASE(strtol_without_base)
{
    char *end = words;
    UNUSED;
    MUST(strtol("12", &end, 1) == 0 && end == words ? 0 : -1);
    return 0;
}
static int duplicates_words(void *arg)
{
    (void)arg;
    await();
    free(strdup(words));
    return 0;
}
CASE(strdup_is_seen)
{
    UNUSED;
    return two(first_words, duplicates_words);
}
/* A call that reads or writes what the first of the two has written. */
#define SEEN(name, first, ...)                                                                     \
    static int name##_second(void *arg)                                                            \
    {                                                                                              \
        (void)arg;                                                                                 \
        await();                                                                                   \
        __VA_ARGS__;                                                                               \
        return 0;                                                                                  \
    }                                                                                              \
    CASE(name)                                                                                     \
    {                                                                                              \
        UNUSED;                                                                                    \
        return two(first, name##_second);                                                          \
    }
static int number;
static char copied[64];
SEEN(sscanf_is_seen, first_words, (void)!sscanf(words, "%d", &number))
SEEN(sscanf_beside, first_words, (void)!sscanf(words + 1, "%d", &number))
SEEN(sscanf_writes, first_place, (void)!sscanf("7", "%lu", &place[0]))
SEEN(memccpy_reads, first_words, (void)!memccpy(copied, words, 'x', 4))
SEEN(memccpy_writes, first_words, (void)!memccpy(words, "abc", 'x', 4))
SEEN(memccpy_beside, first_words, (void)!memccpy(words + 1, "abc", 'b', 9))
SEEN(stpncpy_is_seen, first_words, (void)!stpncpy(words, "abc", 8))
SEEN(bcopy_is_seen, first_words, bcopy("abc", words, 4))
SEEN(gettimeofday_is_seen, first_place, gettimeofday((struct timeval *)(void *)place, NULL))
SEEN(strftime_is_seen, first_words,
     (void)!strftime(words, sizeof words, "%Y", &(struct tm){.tm_year = 99}))
SEEN(strftime_beside, first_words, (void)!strftime(words + 1, 4, "%d", &(struct tm){.tm_mday = 9}))
SEEN(strcoll_is_seen, first_words, number = strcoll(words, "b"))
void swab(const void *from, void *to, ssize_t n);
SEEN(swab_reads, first_words, swab(words, copied, 4))
SEEN(swab_writes, first_words, swab("abcd", words, 4))
SEEN(swab_beside, first_words, swab("abcd", words + 1, 3))
void explicit_bzero(void *p, size_t n);
SEEN(explicit_bzero_is_seen, first_words, explicit_bzero(words, 4))
static void print_nowhere(const char *text)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    MUST(dprintf(fd, "%.9s", text));
    close(fd);
}
SEEN(dprintf_is_seen, first_words, print_nowhere(words))
SEEN(dprintf_beside, first_words, print_nowhere(words + 1))
SEEN(inet_pton_is_seen, first_words, (void)!inet_pton(AF_INET, words, copied))
SEEN(getaddrinfo_is_seen, first_words,
     (void)!getaddrinfo(words, NULL, &(struct addrinfo){.ai_flags = AI_NUMERICHOST},
                        (struct addrinfo **)(void *)copied))
SEEN(setsockopt_is_seen, first_place, (void)!setsockopt(-1, SOL_SOCKET, SO_RCVBUF, place, 4))
SEEN(connect_is_seen, first_place, (void)!connect(-1, (struct sockaddr *)(void *)place, 16))
SEEN(connect_beside, first_place, (void)!connect(-1, (struct sockaddr *)(void *)(place + 1), 16))
SEEN(socketpair_is_seen, first_place,
     MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)(void *)place)))
static void look_at_a_pipe(struct epoll_event *to)
{
    int ends[2], ep = epoll_create1(EPOLL_CLOEXEC);
    MUST(pipe(ends));
    MUST(epoll_ctl(ep, EPOLL_CTL_ADD, ends[1], &(struct epoll_event){.events = EPOLLOUT}));
    MUST(epoll_wait(ep, to, 2, 0));
    close(ends[0]), close(ends[1]), close(ep);
}
SEEN(epoll_wait_is_seen, first_place, look_at_a_pipe((struct epoll_event *)(void *)place))
SEEN(epoll_wait_of_fewer, second_word, look_at_a_pipe((struct epoll_event *)(void *)place))
SEEN(select_is_seen, first_place,
     (void)!select(1, (fd_set *)(void *)place, NULL, NULL, &(struct timeval){0}))
SEEN(select_of_fewer, first_place,
     (void)!select(1, (fd_set *)(void *)(place + 1), NULL, NULL, &(struct timeval){0}))
static struct {
    fd_set set;
    uint64_t beside[2];
} watched;
static int first_beside_a_set(void *arg)
{
    (void)arg;
    watched.beside[1] = 1;
    said();
    return 0;
}
SEEN(select_of_too_many, first_beside_a_set,
     (void)!select(1 << 16, &watched.set, NULL, NULL, &(struct timeval){0}))
SEEN(gethostname_is_seen, first_words, (void)!gethostname(words, sizeof words))
CASE(copies_of_libc)
{
    static const char from[] = "abcdef";
    char to[9] = "........", time[8];
    UNUSED;
    bool good = stpncpy(to, from, 2) == to + 2 && strcmp(to, "ab......") == 0;
    good &= stpncpy(to, from + 4, 4) == to + 2 && memcmp(to, "ef\0\0....", 9) == 0;
    good &= memccpy(to, from, 'c', 6) == to + 3 && memcmp(to, "abc\0....", 9) == 0;
    good &= memccpy(to, from, 'x', 5) == NULL && memcmp(to, "abcde...", 9) == 0;
    bcopy(to, to + 1, 4);
    good &= strcmp(to, "aabcd...") == 0;
    good &= strftime(time, sizeof time, "%Y", &(struct tm){.tm_year = 99}) == 4;
    good &= strcmp(time, "1999") == 0;
    return good ? 0 : -1;
}
static int cuts_words(void *arg)
{
    char *rest;
    (void)arg;
    await();
    return strtok_r(words, "x", &rest) == NULL ? 0 : 0;
}
CASE(strtok_r_is_seen)
{
    UNUSED;
    return two(first_words, cuts_words);
}

static int labels_words(void *arg)
{
    (void)arg;
    await();
    return bl_label("key", words);
}
CASE(label_is_read)
{
    UNUSED;
    return two(first_words, labels_words);
}

static int gets_by_words(void *arg)
{
    (void)arg;
    await();
    (void)bl_map_get(plain_map, (const char *)words, NULL);
    return 0;
}
CASE(string_key_is_read)
{
    UNUSED;
    plain_map = bl_map_new(0, 0);
    return two(first_words, gets_by_words);
}

static int loads_into_place(void *arg)
{
    int key = 1;
    (void)arg;
    await();
    (void)bl_syncmap_load(map, &key, (void **)(void *)&place[0]);
    return 0;
}
CASE(loaded_value_is_written)
{
    UNUSED;
    map = bl_syncmap_new(sizeof(int));
    return two(first_place, loads_into_place);
}

static int deadline_into_place(void *arg)
{
    await();
    (void)bl_ctx_deadline(bl_scope_ctx(arg), (bl_time *)&place[0]);
    return 0;
}
CASE(deadline_is_written)
{
    UNUSED;
    BL_SCOPE(s, .timeout = BL_MIN);
    MUST(bl_go(s, first_place, s));
    MUST(bl_go(s, deadline_into_place, s));
    return bl_scope_wait(s);
}

/* Of a void * a select has no size. */
CASE(select_of_untyped)
{
    UNUSED;
    uint64_t v = 5, w = 0;
    void *from = &v, *to = &w;
    chan = bl_chan_new(sizeof v, 1);
    MUST(BL_SELECT(BL_SEND(chan, from)));
    MUST(BL_SELECT(BL_RECV(chan, to)));
    return w == 5 ? 0 : -1;
}

/* ---- What is nobody's ---- */

/* A goroutine waits where a frame of its program has been. */
static __attribute__((noinline)) int uses_stack(int n)
{
    volatile char frame[800];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (char)n;
    return frame[n];
}
static int waits_deep(void *arg)
{
    int v;
    (void)arg;
    MUST(uses_stack(3));
    MUST(bl_chan_recv(chan, &v));
    MUST(BL_SELECT(BL_RECV(chan, &v), BL_RECV(relay, &v)));
    return 0;
}
static int sends_late(void *arg)
{
    (void)arg;
    turn();
    send_int();
    turn();
    send_int();
    return 0;
}
CASE(waits_where_frames_were)
{
    UNUSED;
    chan_0();
    return two(waits_deep, sends_late);
}

static void *thread_waits(void *arg)
{
    (void)waits_deep(arg);
    return NULL;
}
CASE(thread_waits_where_frames_were)
{
    UNUSED;
    pthread_t thread;
    chan_0();
    MUST(-pthread_create(&thread, NULL, thread_waits, NULL));
    (void)sends_late(NULL);
    MUST(-pthread_join(thread, NULL));
    return 0;
}

static void *thread_touches(void *arg)
{
    (void)arg;
    touch();
    return NULL;
}
CASE(thread_beside)
{
    UNUSED;
    pthread_t thread;
    MUST(-pthread_create(&thread, NULL, thread_touches, NULL));
    touch();
    MUST(-pthread_join(thread, NULL));
    return 0;
}

static _Thread_local int local;
static int uses_local(void *arg)
{
    (void)arg;
    errno = 0;
    local++;
    bl_yield();
    local++;
    return errno;
}
CASE(thread_locals)
{
    UNUSED;
    return two(uses_local, uses_local);
}

static int uses_pipes(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        int own[2];
        char c = 1;
        MUST(pipe(own));
        MUST(bl_write(own[1], &c, 1));
        MUST(bl_read(own[0], &c, 1));
        MUST(bl_close(own[0]));
        MUST(bl_close(own[1]));
        bl_yield();
    }
    return 0;
}
CASE(descriptors_again)
{
    UNUSED;
    return two(uses_pipes, uses_pipes);
}

/* ---- Edges ---- */

CASE(jobs_before_the_join)
{
    UNUSED;
    JOINED(s);
    bl_pool *jobs = bl_pool_new(s, &(bl_pool_opts){.workers = 2});
    MUST(bl_pool_submit(jobs, toucher, NULL));
    MUST(bl_scope_wait(s));
    touch();
    return 0;
}

static int waits_cond(void *arg)
{
    (void)arg;
    bl_mutex_lock(&mutex);
    said();
    MUST(bl_cond_wait(&cond, &mutex));
    bl_mutex_unlock(&mutex);
    touch();
    return 0;
}
static int signals_alone(void *arg)
{
    (void)arg;
    await();
    touch();
    /* Once the mutex can be had, the other waits; and what was done before the lock is not at issue. */
    while (!bl_mutex_try_lock(&mutex))
        bl_yield();
    bl_mutex_unlock(&mutex);
    shared = 7;
    bl_cond_signal(&cond);
    return 0;
}
CASE(signal_without_the_mutex)
{
    UNUSED;
    return two(waits_cond, signals_alone);
}

/* The program's own handler, of a signal that comes while all goroutines wait. */
static int handled;
static void on_usr2(int sig)
{
    (void)sig;
    __atomic_store_n(&handled, 1, __ATOMIC_RELAXED);
}
CASE(handler_while_all_wait)
{
    UNUSED;
    struct sigaction sa = {.sa_handler = on_usr2, .sa_flags = SA_RESTART};
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    const struct itimerspec soon = {.it_value.tv_nsec = 20000000};
    timer_t timer;
    MUST(sigaction(SIGUSR2, &sa, NULL));
    MUST(timer_create(CLOCK_MONOTONIC, &ev, &timer));
    MUST(timer_settime(timer, 0, &soon, NULL));
    while (!__atomic_load_n(&handled, __ATOMIC_RELAXED))
        MUST(bl_sleep(BL_MS));
    return timer_delete(timer);
}
