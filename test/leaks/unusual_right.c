/* SPDX-License-Identifier: MIT */
/* All right: who will come is known to memory of an unusual kind alone, or to what is no goroutine. */
#include <belay/map.h>

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "right.h"

static void nap_plainly(void)
{
    struct timespec t = {.tv_nsec = LONG};
    nanosleep(&t, NULL);
}

/* A channel somebody receives from in s, and its address in *at alone. */
static __attribute__((noinline)) int hide(bl_scope *s, bl_chan *volatile *at)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    *at = c;
    return bl_go(s, recv_one, c);
}

static __attribute__((noinline)) int send_hidden(bl_chan *volatile *at)
{
    bl_chan *c = *at;
    int r = send_one(c);
    bl_chan_release(c);
    return r;
}

/* ---- Kinds of memory ---- */

static int hidden_in_a_mapping(int flags, int fd)
{
    int meanwhile = fd < 0 ? PROT_READ : PROT_READ | PROT_WRITE;
    BL_SCOPE(s);
    bl_chan *volatile *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (page == MAP_FAILED || hide(s, &page[17]) < 0 || mprotect((void *)page, 4096, meanwhile) ||
        nap(LONG) != 0 || mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) ||
        send_hidden(&page[17]) < 0)
        return 1;
    int r = bl_scope_wait(s);
    munmap((void *)page, 4096);
    return r;
}

/*? in_a_mapping right
 */
static int in_a_mapping(void *arg)
{
    return hidden_in_a_mapping(MAP_PRIVATE | MAP_ANONYMOUS, -1) + (arg != NULL);
}

/*? in_a_shared_mapping right
 */
static int in_a_shared_mapping(void *arg)
{
    return hidden_in_a_mapping(MAP_SHARED | MAP_ANONYMOUS, -1) + (arg != NULL);
}

/*? in_a_mapped_file right
 */
static int in_a_mapped_file(void *arg)
{
    FILE *file = tmpfile();
    if (file == NULL || ftruncate(fileno(file), 4096) != 0)
        return 1;
    int r = hidden_in_a_mapping(MAP_SHARED, fileno(file));
    fclose(file);
    return r + (arg != NULL);
}

static int own_epoll;

static void *epoll_loop(void *arg)
{
    struct epoll_event e;
    while (epoll_wait(own_epoll, &e, 1, -1) != 1)
        continue;
    bl_chan *volatile *connection = e.data.ptr;
    int r = send_hidden(connection);
    free((void *)connection);
    return r < 0 ? NULL : arg;
}

/* An event loop of the program's own has its connections in epoll_data, which is in the kernel's memory. */
static __attribute__((noinline)) int connect_one(bl_scope *s, int fd)
{
    bl_chan *volatile *connection = calloc(4, sizeof *connection);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = (void *)connection};
    return connection == NULL || hide(s, connection) < 0 ||
           epoll_ctl(own_epoll, EPOLL_CTL_ADD, fd, &e) != 0;
}

/*? in_an_epoll right
 */
static int in_an_epoll(void *arg)
{
    pthread_t thread;
    void *sent = NULL;
    uint64_t one = 1;
    int event = eventfd(0, EFD_CLOEXEC);
    own_epoll = epoll_create1(EPOLL_CLOEXEC);
    (void)arg;
    BL_SCOPE(s);
    if (connect_one(s, event) || pthread_create(&thread, NULL, epoll_loop, &own_epoll) != 0 ||
        nap(3 * LONG) != 0 || write(event, &one, sizeof one) != sizeof one)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(thread, &sent);
    close(event);
    close(own_epoll);
    return r + (sent == NULL);
}

/*? in_an_arena right
 */
static int in_an_arena(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *volatile *arena = calloc(1 << 16, sizeof *arena); /* a mapping of malloc's own */
    bl_chan *volatile *inside = arena + 40000;
    arena = NULL;
    int r = hide(s, &inside[-3]) < 0 || nap(LONG) != 0 || send_hidden(&inside[-3]) < 0;
    r = r != 0 ? r : bl_scope_wait(s);
    free((void *)(inside - 40000));
    return r;
}

static __attribute__((noinline)) int put_into_map(bl_scope *s, bl_map *m)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    for (int i = 0; i < 100; i++)
        if (bl_map_set(m, &i, &c) < 0)
            return BL_ENOMEM;
    return bl_go(s, recv_one, c);
}

/*? in_a_map right
 */
static int in_a_map(void *arg)
{
    int key = 77;
    bl_chan *c;
    (void)arg;
    BL_SCOPE(s);
    bl_map *m = bl_map_new(sizeof(int), sizeof(bl_chan *));
    if (put_into_map(s, m) < 0 || nap(LONG) != 0 || !bl_map_get(m, &key, &c) || send_one(c) < 0)
        return 1;
    int r = bl_scope_wait(s);
    bl_chan_release(c);
    bl_map_free(m);
    return r;
}

static bl_syncmap *sessions;

static __attribute__((noinline)) int put_into_sessions(bl_scope *s, const char *name)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    if (bl_syncmap_store(sessions, name, c) < 0)
        return BL_ENOMEM;
    return bl_go(s, recv_one, c);
}

/*? in_a_syncmap right
 */
static int in_a_syncmap(void *arg)
{
    void *c;
    (void)arg;
    BL_SCOPE(s);
    sessions = bl_syncmap_new(0);
    if (put_into_sessions(s, "ada") < 0 || put_into_sessions(s, "bob") < 0 || nap(LONG) != 0)
        return 1;
    for (int i = 0; i < 2; i++) {
        if (!bl_syncmap_load_and_delete(sessions, i == 0 ? "ada" : "bob", &c) || send_one(c) < 0)
            return 1;
        bl_chan_release(c);
    }
    int r = bl_scope_wait(s);
    bl_syncmap_free(sessions);
    return r;
}

static const char chan_key;

static int send_what_the_context_has(void *arg)
{
    (void)arg;
    if (nap(LONG) != 0)
        return 1;
    return send_one(bl_ctx_value(bl_ctx_current(), &chan_key));
}

static __attribute__((noinline)) bl_ctx *context_with_channel(bl_scope *s)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_one, c);
    return bl_ctx_with_value(bl_ctx_current(), &chan_key, c);
}

/*? in_the_value_of_a_context right
 */
static int in_the_value_of_a_context(void *arg)
{
    BL_SCOPE(s);
    bl_ctx *c = context_with_channel(s);
    {
        BL_SCOPE(inner, .ctx = c);
        bl_ctx_release(c);
        c = NULL;
        bl_go(inner, send_what_the_context_has, arg);
        if (bl_scope_wait(inner) < 0)
            return 1;
    }
    return bl_scope_wait(s);
}

static int long_job(void *arg) { return nap(LONG) + (arg != NULL); }

static __attribute__((noinline)) int queue_send(bl_scope *s, bl_pool *p)
{
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_one, c);
    return bl_pool_submit(p, send_one, c);
}

/*? in_the_queue_of_a_pool right
 */
static int in_the_queue_of_a_pool(void *arg)
{
    BL_SCOPE(s);
    bl_pool *p = bl_pool_new(s, &(bl_pool_opts){.workers = 1, .queue = 4});
    if (bl_pool_submit(p, long_job, arg) < 0 || queue_send(s, p) < 0)
        return 1;
    return bl_scope_wait(s);
}

typedef struct alarm_clock {
    bl_timer timer;
    bl_chan *c;
} alarm_clock;

static int ring(void *arg)
{
    alarm_clock *a = arg;
    bl_chan_close(a->c);
    bl_chan_release(a->c);
    free(a);
    return 0;
}

static __attribute__((noinline)) int set_alarm(bl_scope *s)
{
    alarm_clock *a = calloc(1, sizeof *a);
    a->c = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_all, bl_chan_retain(a->c));
    return bl_after_func(&a->timer, s, LONG, ring, a);
}

/*? in_an_armed_timer right
 */
static int in_an_armed_timer(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return set_alarm(s) < 0 ? 1 : bl_scope_wait(s);
}

/* ---- Plain threads ---- */

static __thread bl_chan *threads_own;

static __attribute__((noinline)) int start_from_thread(void)
{
    threads_own = bl_chan_new(sizeof(int), 0);
    return bl_go(bl_root(), recv_one, threads_own);
}

static void *thread_with_channel(void *arg)
{
    if (start_from_thread() < 0)
        return arg;
    nap_plainly();
    int r = send_one(threads_own);
    bl_chan_release(threads_own);
    return r < 0 ? arg : NULL;
}

static int join_on_helper(void *arg)
{
    void *r;
    pthread_join(*(pthread_t *)arg, &r);
    return r != NULL;
}

/*? in_a_thread_local right
 */
static int in_a_thread_local(void *arg)
{
    static int failed;
    pthread_t t;
    (void)arg;
    if (pthread_create(&t, NULL, thread_with_channel, &failed) != 0)
        return 1;
    return bl_blocking(join_on_helper, &t);
}

static void *done_from_thread(void *arg)
{
    nap_plainly();
    bl_waitgroup_done(arg);
    return NULL;
}

/*? done_by_threads right
 */
static int done_by_threads(void *arg)
{
    pthread_t t[3];
    bl_waitgroup *wg = calloc(1, sizeof *wg);
    (void)arg;
    bl_waitgroup_add(wg, 3);
    for (int i = 0; i < 3; i++)
        if (pthread_create(&t[i], NULL, done_from_thread, wg) != 0)
            return 1;
    int r = bl_waitgroup_wait(wg);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    free(wg);
    return r;
}

static bl_sem permits;

static void *release_from_thread(void *arg)
{
    nap_plainly();
    bl_sem_release(&permits, 2);
    return arg;
}

static int need_permit(void *arg)
{
    (void)arg;
    return bl_sem_acquire(&permits, 1);
}

/*? released_by_a_thread right
 */
static int released_by_a_thread(void *arg)
{
    pthread_t t;
    BL_SCOPE(s);
    bl_go(s, need_permit, arg);
    bl_go(s, need_permit, arg);
    if (pthread_create(&t, NULL, release_from_thread, NULL) != 0)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(t, NULL);
    return r;
}

static int send_after_blocking(void *arg)
{
    nap_plainly();
    return send_one(arg);
}

static int blocks_then_sends(void *arg) { return bl_blocking(send_after_blocking, arg); }

static __attribute__((noinline)) int start_blocking(bl_scope *s)
{
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_one, c);
    return bl_go(s, blocks_then_sends, c);
}

/*? sent_by_a_blocking_call right
 */
static int sent_by_a_blocking_call(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    return start_blocking(s) < 0 ? 1 : bl_scope_wait(s);
}

/* ---- Services at rest ---- */

static int accept_all(void *arg)
{
    int fd = *(int *)arg, c;
    while ((c = bl_accept(fd, NULL, NULL)) >= 0)
        (void)bl_close(c);
    (void)bl_close(fd);
    return c;
}

/*? server_at_rest right
 */
static int server_at_rest(void *arg)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)arg;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4) != 0)
        return 1;
    bl_go_copy(bl_root(), accept_all, &fd, sizeof fd);
    return nap(LONG);
}

static int await_signal(void *arg)
{
    bl_scope *s = bl_root();
    bl_chan *c = bl_scope_chan(s, sizeof(int), 1);
    int sig;
    if (bl_notify(s, c, SIGUSR1) < 0 || bl_chan_recv(c, &sig) < 0)
        return 1;
    return (sig == SIGUSR1 ? 0 : 1) + (arg != NULL);
}

static void *signal_late(void *arg)
{
    nap_plainly();
    kill(getpid(), SIGUSR1);
    return arg;
}

/*? signal_comes_late right
 */
static int signal_comes_late(void *arg)
{
    pthread_t t;
    BL_SCOPE(s);
    bl_go(s, await_signal, arg);
    bl_yield();
    if (pthread_create(&t, NULL, signal_late, NULL) != 0)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(t, NULL);
    return r;
}

static __attribute__((noinline)) void start_workers(bl_scope *s, bl_chan *jobs, int n)
{
    for (int i = 0; i < n; i++)
        bl_go(s, recv_all, jobs);
    for (int i = 0; i < n; i++)
        (void)!bl_chan_try_send(jobs, &i);
}

static int component(void *arg)
{
    BL_SCOPE(s, .name = "component");
    start_workers(s, bl_scope_chan(s, sizeof(int), 8), 3);
    return bl_chan_recv(bl_ctx_done(bl_ctx_current()), NULL) == BL_ECLOSED ? 0 : arg != NULL;
}

/*? component_until_the_end right
 */
static int component_until_the_end(void *arg)
{
    bl_go(bl_root(), component, arg);
    bl_go(bl_root(), component, arg);
    return nap(LONG);
}

typedef struct queue {
    bl_mutex lock;
    bl_cond filled;
    int items;
    bool closed;
} queue;

static queue mail;

static int deliver_mail(void *arg)
{
    bl_mutex_lock(&mail.lock);
    int r = 0;
    while (r == 0 && !mail.closed) {
        if (mail.items > 0)
            mail.items--;
        else
            r = bl_cond_wait(&mail.filled, &mail.lock);
    }
    bl_mutex_unlock(&mail.lock);
    return r + (arg != NULL);
}

/*? mail_now_and_then right
 */
static int mail_now_and_then(void *arg)
{
    BL_SCOPE(s);
    for (int i = 0; i < 3; i++)
        bl_go(s, deliver_mail, arg);
    for (int i = 0; i < 3; i++) {
        if (nap(LONG / 2) != 0)
            return 1;
        bl_mutex_lock(&mail.lock);
        mail.items++;
        mail.closed = i == 2;
        bl_mutex_unlock(&mail.lock);
        if (i == 2)
            bl_cond_broadcast(&mail.filled);
        else
            bl_cond_signal(&mail.filled);
    }
    return bl_scope_wait(s);
}

/* ---- Who comes is somebody who waits as well ---- */

typedef struct relay {
    bl_chan *from, *to;
} relay;

static int pass_on(void *arg)
{
    relay *r = arg;
    int v;
    return bl_chan_recv(r->from, &v) < 0 ? 1 : bl_chan_send(r->to, &v);
}

static __attribute__((noinline)) bl_chan *relay_race(bl_scope *s, int n)
{
    bl_chan *first = bl_scope_chan(s, sizeof(int), 0), *at = first;
    for (int i = 0; i < n; i++) {
        relay r = {at, bl_scope_chan(s, sizeof(int), 0)};
        bl_go_copy(s, pass_on, &r, sizeof r);
        at = r.to;
    }
    bl_go(s, recv_one, at);
    return first;
}

/*? one_wakes_the_next right
 */
static int one_wakes_the_next(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *first = relay_race(s, 6);
    return nap(LONG) != 0 || send_one(first) < 0 ? 1 : bl_scope_wait(s);
}

static int close_when_cancelled(void *arg)
{
    bl_chan_close(arg);
    return 0;
}

static __attribute__((noinline)) bl_ctx *close_after(bl_scope *s)
{
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background());
    bl_chan *done = bl_scope_chan(s, sizeof(int), 0);
    bl_go(s, recv_all, done);
    if (bl_ctx_after(c, s, close_when_cancelled, done) == NULL)
        return NULL;
    return c;
}

/*? closed_after_a_context right
 */
static int closed_after_a_context(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ctx *c = close_after(s);
    if (c == NULL || nap(LONG) != 0)
        return 1;
    bl_ctx_cancel(c, 0);
    int r = bl_scope_wait(s);
    bl_ctx_release(c);
    return r;
}

/* Nothing but the deadline closes it: who has the contexts is who waits. */
static int closed_after(bl_scope *s, bl_ctx *late, bl_ctx *c)
{
    bl_chan *done = bl_scope_chan(s, sizeof(int), 0);
    int v, r = 0;
    if (bl_ctx_after(c, s, close_when_cancelled, done) == NULL)
        return 1;
    while ((r = bl_chan_recv(done, &v)) == 0)
        continue;
    bl_ctx_release(c);
    bl_ctx_release(late);
    return r == BL_ECLOSED ? bl_scope_wait(s) : r;
}

/*? closed_after_a_deadline right
 */
static int closed_after_a_deadline(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ctx *late = bl_ctx_with_timeout(bl_ctx_background(), LONG);
    return closed_after(s, late, bl_ctx_retain(late));
}

/*? closed_after_a_deadline_beside_others right
 */
static int closed_after_a_deadline_beside_others(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ctx *late = bl_ctx_with_timeout(bl_ctx_background(), LONG);
    bl_ctx *c = bl_ctx_with_cancel(late), *beside = bl_ctx_with_cancel(late);
    bl_ctx *below = bl_ctx_with_cancel(beside);
    int r = closed_after(s, late, c);
    bl_ctx_release(below);
    bl_ctx_release(beside);
    return r;
}

/*? closed_after_a_deadline_above right
 */
static int closed_after_a_deadline_above(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_ctx *late = bl_ctx_with_timeout(bl_ctx_background(), LONG);
    bl_ctx *beside = bl_ctx_with_cancel(late), *c = bl_ctx_with_cancel(late);
    int r = closed_after(s, late, bl_ctx_with_cancel(c));
    bl_ctx_release(c);
    bl_ctx_release(beside);
    return r;
}

static int read_pipe(void *arg)
{
    char b[8];
    int r = bl_pipe_read(arg, b, sizeof b) == 5 ? 0 : 1;
    bl_pipe_release(arg);
    return r;
}

static __attribute__((noinline)) bl_pipe *dial_pipe(bl_scope *s)
{
    bl_pipe *a, *b;
    if (bl_pipe_new(&a, &b) < 0)
        return NULL;
    bl_go(s, read_pipe, a);
    return b;
}

/*? pipe_in_memory right
 */
static int pipe_in_memory(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_pipe *b = dial_pipe(s);
    int r = nap(LONG) != 0 || bl_pipe_write(b, "hello", 5) != 5 ? 1 : bl_scope_wait(s);
    bl_pipe_release(b);
    return r;
}

static bl_once warmed;

static int warm_up(void *arg) { return recv_one(arg); }

static int use_cache(void *arg)
{
    bl_once_do(&warmed, warm_up, arg);
    return 0;
}

static int send_late(void *arg) { return nap(LONG) != 0 ? 1 : send_one(arg); }

/*? once_waits_for_a_message right
 */
static int once_waits_for_a_message(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < 4; i++)
        bl_go(s, use_cache, c);
    bl_go(s, send_late, c);
    return bl_scope_wait(s);
}

static bl_rwmutex table_lock;
static int table[16];

static int read_table(void *arg)
{
    for (bl_time end = bl_in(LONG); bl_now() < end;) {
        bl_rwmutex_rlock(&table_lock);
        for (int i = 1; i < 16; i++)
            if (table[i] != table[0])
                return 1;
        bl_yield();
        bl_rwmutex_runlock(&table_lock);
    }
    return arg != NULL;
}

static int write_table(void *arg)
{
    for (bl_time end = bl_in(LONG); bl_now() < end;) {
        bl_rwmutex_lock(&table_lock);
        for (int i = 0; i < 16; i++)
            table[i]++;
        bl_rwmutex_unlock(&table_lock);
        if (bl_sleep(BL_MS) < 0)
            return 1;
    }
    return arg != NULL;
}

/*? readers_and_writers right
 */
static int readers_and_writers(void *arg)
{
    BL_SCOPE(s);
    for (int i = 0; i < 6; i++)
        bl_go(s, read_table, arg);
    for (int i = 0; i < 2; i++)
        bl_go(s, write_table, arg);
    return bl_scope_wait(s);
}

typedef struct job {
    bl_timer timer;
    bl_chan *done;
} job;

static int job_done(void *arg)
{
    bl_chan_close(((job *)arg)->done);
    return 0;
}

/*? waits_for_its_own_timer right
 */
static int waits_for_its_own_timer(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    job *j = calloc(1, sizeof *j);
    j->done = bl_chan_new(0, 0);
    if (bl_after_func(&j->timer, s, LONG, job_done, j) < 0 ||
        bl_chan_recv(j->done, NULL) != BL_ECLOSED)
        return 1;
    bl_timer_stop_wait(&j->timer);
    bl_chan_release(j->done);
    free(j);
    return 0;
}

static int cancel_late(void *arg)
{
    int r = nap(LONG);
    bl_ctx_cancel(arg, 0);
    return r;
}

/*? its_context_is_cancelled_late right
 */
static int its_context_is_cancelled_late(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current());
    BL_SCOPE(s, .ctx = c);
    bl_go(s, recv_all, bl_scope_chan(s, sizeof(int), 0));
    bl_go(bl_root(), cancel_late, c);
    int r = bl_scope_wait(s);
    bl_ctx_release(c);
    return r == BL_ECANCELED ? 0 : 1;
}

/* ---- Registers ---- */

/* It needs registers of its own, and saves what its callers have in them. */
static __attribute__((noinline)) int nap_often(int naps, bl_dur pause)
{
    int r = 0, slept = 0;
    for (int i = 0; i < naps && r == 0; i++, slept += r == 0)
        r = bl_sleep(pause);
    return r != 0 ? r : slept;
}

static __attribute__((noinline)) int nap_for_long(void)
{
    int r = nap_often(4, LONG / 4);
    return r == 4 ? 0 : 1;
}

/*? used_above_two_helpers right */
static int used_above_two_helpers(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, recv_one, c);
    int r = nap_for_long();
    r = r == 0 ? send_one(c) : r;
    bl_chan_release(c);
    return r;
}

static __attribute__((noinline, noreturn)) void nap_and_jump(jmp_buf to)
{
    longjmp(to, nap_for_long() + 1);
}

/*? used_after_a_jump right */
static int used_after_a_jump(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    jmp_buf here;
    (void)arg;
    BL_SCOPE(s);
    bl_go(s, recv_one, c);
    if (setjmp(here) == 0)
        nap_and_jump(here);
    int r = send_one(c);
    bl_chan_release(c);
    return r;
}

PROGRAMS({"used_above_two_helpers", used_above_two_helpers},
         {"used_after_a_jump", used_after_a_jump}, {"in_a_mapping", in_a_mapping},
         {"in_a_shared_mapping", in_a_shared_mapping}, {"in_a_mapped_file", in_a_mapped_file},
         {"in_an_epoll", in_an_epoll}, {"in_an_arena", in_an_arena}, {"in_a_map", in_a_map},
         {"in_a_syncmap", in_a_syncmap}, {"in_the_value_of_a_context", in_the_value_of_a_context},
         {"in_the_queue_of_a_pool", in_the_queue_of_a_pool},
         {"in_an_armed_timer", in_an_armed_timer}, {"in_a_thread_local", in_a_thread_local},
         {"done_by_threads", done_by_threads}, {"released_by_a_thread", released_by_a_thread},
         {"sent_by_a_blocking_call", sent_by_a_blocking_call}, {"server_at_rest", server_at_rest},
         {"signal_comes_late", signal_comes_late},
         {"component_until_the_end", component_until_the_end},
         {"mail_now_and_then", mail_now_and_then}, {"one_wakes_the_next", one_wakes_the_next},
         {"closed_after_a_context", closed_after_a_context},
         {"closed_after_a_deadline", closed_after_a_deadline},
         {"closed_after_a_deadline_beside_others", closed_after_a_deadline_beside_others},
         {"closed_after_a_deadline_above", closed_after_a_deadline_above},
         {"pipe_in_memory", pipe_in_memory}, {"once_waits_for_a_message", once_waits_for_a_message},
         {"readers_and_writers", readers_and_writers},
         {"waits_for_its_own_timer", waits_for_its_own_timer},
         {"its_context_is_cancelled_late", its_context_is_cancelled_late})
