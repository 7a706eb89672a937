/* SPDX-License-Identifier: MIT */
/* All right: plain threads that wait for long, and have what goroutines wait for, until somebody wakes them. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "right.h"

enum { PAGE = 4096 };

static bl_sem begun; /* by the thread, which has taken what it was given */

static pthread_t start_on(void *(*fn)(void *), void *arg, void *stack, size_t size)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    if ((stack != NULL && pthread_attr_setstack(&attr, stack, size) != 0) ||
        pthread_create(&thread, &attr, fn, arg) != 0 || bl_sem_acquire(&begun, 1) < 0)
        abort();
    pthread_attr_destroy(&attr);
    return thread;
}

static pthread_t start(void *(*fn)(void *), void *arg) { return start_on(fn, arg, NULL, 0); }

static int send_late(void *arg) { return nap(2 * LONG) != 0 ? 1 : send_one(arg); }

/* ---- It goes on, and then others do ---- */

typedef struct office {
    bl_mutex lock;
    bl_chan *in;
} office;

static void *receive_with_the_lock(void *arg)
{
    office *o = arg;
    bl_mutex_lock(&o->lock);
    bl_sem_release(&begun, 1);
    int r = recv_one(o->in);
    bl_mutex_unlock(&o->lock);
    return r == 0 ? arg : NULL;
}

static int lock_and_unlock(void *arg)
{
    bl_mutex_lock(arg);
    bl_mutex_unlock(arg);
    return 0;
}

/*? holds_a_lock_and_is_sent_to_late right
 */
static int holds_a_lock_and_is_sent_to_late(void *arg)
{
    office *o = calloc(1, sizeof *o);
    BL_SCOPE(s);
    (void)arg;
    o->in = bl_scope_chan(s, sizeof(int), 0);
    pthread_t thread = start(receive_with_the_lock, o);
    bl_go(s, lock_and_unlock, &o->lock);
    bl_go(s, send_late, o->in);
    int r = bl_scope_wait(s);
    pthread_join(thread, NULL);
    free(o);
    return r;
}

/* Takes both away; so nobody else has the second. */
static void *relay(void *arg)
{
    bl_chan **given = arg, *from = given[0], *to = given[1];
    given[0] = given[1] = NULL;
    bl_sem_release(&begun, 1);
    int r = recv_one(from) == 0 ? send_one(to) : 1;
    bl_chan_release(to);
    return r == 0 ? arg : NULL;
}

static bl_chan *given[2];

static __attribute__((noinline)) bl_chan *give(bl_scope *s)
{
    given[0] = bl_scope_chan(s, sizeof(int), 0);
    given[1] = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_one, given[1]);
    return given[0];
}

static int relayed_on(void *stack, size_t size)
{
    BL_SCOPE(s);
    bl_chan *in = give(s);
    pthread_t thread = start_on(relay, given, stack, size);
    bl_go(s, send_late, in);
    int r = bl_scope_wait(s);
    pthread_join(thread, NULL);
    return r;
}

/*? relayed_by_a_thread right
 */
static int relayed_by_a_thread(void *arg)
{
    (void)arg;
    return relayed_on(NULL, 0);
}

static void *first_page(char *block) { return block + (PAGE - (uintptr_t)block % PAGE) % PAGE; }

/*? on_a_stack_in_the_heap right
 */
static int on_a_stack_in_the_heap(void *arg)
{
    char *block = malloc(24 * PAGE);
    (void)arg;
    int r = relayed_on(first_page(block), 20 * PAGE);
    free(block);
    return r;
}

/*? on_a_stack_in_the_middle_of_a_mapping right
 */
static int on_a_stack_in_the_middle_of_a_mapping(void *arg)
{
    char *map = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)arg;
    return map != MAP_FAILED ? relayed_on(map + 16 * PAGE, 20 * PAGE) : 1;
}

/* ---- Others have what it has ---- */

static bl_chan **lent; /* of the thread */

static int send_to_what_is_lent(void *arg)
{
    (void)arg;
    return nap(2 * LONG) != 0 ? 1 : send_one(*lent);
}

static int lent_by(void *(*fn)(void *))
{
    BL_SCOPE(s);
    bl_chan *in = give(s);
    pthread_t thread = start(fn, given);
    bl_go(s, send_to_what_is_lent, NULL);
    int r = bl_scope_wait(s);
    r = r == 0 ? send_one(in) : r;
    pthread_join(thread, NULL);
    return r;
}

static void *lend_a_variable(void *arg)
{
    bl_chan **from = arg, *mine[3] = {NULL, from[1], NULL};
    from[1] = NULL;
    lent = &mine[1];
    bl_sem_release(&begun, 1);
    return recv_one(from[0]) == 0 ? mine[2] : arg;
}

/*? in_a_variable_of_a_thread_that_waits right
 */
static int in_a_variable_of_a_thread_that_waits(void *arg)
{
    (void)arg;
    return lent_by(lend_a_variable);
}

static _Thread_local bl_chan *of_thread[4];

static void *lend_a_thread_local(void *arg)
{
    bl_chan **from = arg;
    of_thread[2] = from[1];
    from[1] = NULL;
    lent = &of_thread[2];
    bl_sem_release(&begun, 1);
    return recv_one(from[0]) == 0 ? NULL : arg;
}

/*? in_a_thread_local_of_a_thread_that_waits right
 */
static int in_a_thread_local_of_a_thread_that_waits(void *arg)
{
    (void)arg;
    return lent_by(lend_a_thread_local);
}

static void *just_wait(void *arg)
{
    bl_sem_release(&begun, 1);
    return recv_one(arg) == 0 ? NULL : arg;
}

static int send_by_a_neighbour(void *arg)
{
    return nap(2 * LONG) != 0 ? 1 : send_one(**(bl_chan ***)arg);
}

/* The stack is part of a mapping, in which something else lies right below it. */
/*? below_the_stack_of_a_thread_that_waits right
 */
static int below_the_stack_of_a_thread_that_waits(void *arg)
{
    char *map = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bl_chan **below = (bl_chan **)(void *)(map + 16 * PAGE) - 1;
    BL_SCOPE(s);
    (void)arg;
    bl_chan *in = give(s);
    *below = given[1];
    given[1] = NULL;
    pthread_t thread = start_on(just_wait, in, below + 1, 20 * PAGE);
    bl_go(s, send_by_a_neighbour, &below);
    int r = bl_scope_wait(s);
    r = r == 0 ? send_one(in) : r;
    pthread_join(thread, NULL);
    return r;
}

/* ---- Its scope, and its end ---- */

static bl_mutex kept;

static int keep_long(void *arg)
{
    (void)arg;
    bl_mutex_lock(&kept);
    bl_sem_release(&begun, 1);
    int r = nap(3 * LONG);
    bl_mutex_unlock(&kept);
    return r;
}

static int send_and_free(void *arg)
{
    bl_chan *to = *(bl_chan **)arg;
    free(arg);
    return send_one(to);
}

static __attribute__((noinline)) void arm(bl_timer *t, bl_scope *s, bl_chan **from)
{
    bl_chan **copy = malloc(sizeof *copy);
    *copy = from[1];
    from[1] = NULL;
    bl_after_func(t, s, 2 * LONG, send_and_free, copy);
}

static void *wait_with_a_timer(void *arg)
{
    bl_timer timer = {0};
    BL_SCOPE(s, .name = "thread");
    arm(&timer, s, arg);
    bl_sem_release(&begun, 1);
    bl_mutex_lock(&kept);
    bl_mutex_unlock(&kept);
    return bl_scope_wait(s) == 0 ? arg : NULL;
}

/*? timer_of_a_threads_scope right
 */
static int timer_of_a_threads_scope(void *arg)
{
    BL_SCOPE(s);
    (void)arg;
    (void)give(s);
    bl_go(s, keep_long, NULL);
    if (bl_sem_acquire(&begun, 1) < 0)
        return 1;
    pthread_t thread = start(wait_with_a_timer, given);
    int r = bl_scope_wait(s);
    pthread_join(thread, NULL);
    return r;
}

static pthread_key_t key;

static void unlock_at_end(void *lock) { bl_mutex_unlock(lock); }

static void *lock_until_its_end(void *arg)
{
    bl_sem_release(&begun, 1);
    bl_mutex_lock(&kept);
    (void)pthread_setspecific(key, &kept);
    return arg;
}

/*? unlocked_by_a_keys_destructor right
 */
static int unlocked_by_a_keys_destructor(void *arg)
{
    (void)arg;
    if (pthread_key_create(&key, unlock_at_end) != 0) /* behind the library's own */
        return 1;
    for (int i = 0; i < 3; i++) {
        pthread_join(start(lock_until_its_end, NULL), NULL);
        (void)lock_and_unlock(&kept);
    }
    return 0;
}

/* ---- It sleeps in a call of the system, and has them in registers alone ---- */

typedef struct errand {
    bl_chan *to[4];
    int fd;
} errand;

static void *read_and_send(void *arg)
{
    errand *e = arg;
    bl_chan *a = e->to[0], *b = e->to[1], *c = e->to[2], *d = e->to[3];
    int fd = e->fd;
    char byte;
    memset(e, 0, sizeof *e);
    free(e);
    bool sent = read(fd, &byte, 1) == 1 && send_one(a) == 0 && send_one(b) == 0 &&
                send_one(c) == 0 && send_one(d) == 0;
    return sent ? arg : NULL;
}

static __attribute__((noinline)) pthread_t errand_start(bl_scope *s, int fd)
{
    pthread_t thread;
    errand *e = malloc(sizeof *e);
    e->fd = fd;
    for (int i = 0; i < 4; i++) {
        e->to[i] = bl_scope_chan(s, sizeof(int), 0);
        bl_go(s, recv_one, e->to[i]);
    }
    if (pthread_create(&thread, NULL, read_and_send, e) != 0)
        abort();
    return thread;
}

/*? reads_with_them_in_registers right
 */
static int reads_with_them_in_registers(void *arg)
{
    int fds[2];
    BL_SCOPE(s);
    (void)arg;
    if (pipe(fds) != 0)
        return 1;
    pthread_t thread = errand_start(s, fds[0]);
    bool sent = nap(2 * LONG) == 0 && write(fds[1], "x", 1) == 1;
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
    return sent ? bl_scope_wait(s) : 1;
}

/* Sleeps. What it is to keep stands in a register, and after that in what it returns. */
static inline bl_chan *nap_with(bl_chan *volatile *from)
{
    struct timespec t = {1, 500000000};
    long r;
#if defined(__x86_64__)
    register bl_chan *c __asm__("r12") = *from;
    *from = NULL;
    __asm__ volatile("syscall"
                     : "=a"(r), "+r"(c)
                     : "0"((long)SYS_nanosleep), "D"(&t), "S"(0L)
                     : "rcx", "r11", "memory");
#else
    bl_chan *c = *from;
    *from = NULL;
    r = nanosleep(&t, NULL);
#endif
    return r == 0 ? c : NULL;
}

static void *nap_and_send(void *arg)
{
    bl_chan *volatile *from = arg;
    bl_chan *to = nap_with(from);
    return to != NULL && send_one(to) == 0 ? arg : NULL;
}

/*? sleeps_with_it_in_a_register right
 */
static int sleeps_with_it_in_a_register(void *arg)
{
    pthread_t thread;
    BL_SCOPE(s);
    (void)arg;
    (void)give(s);
    if (pthread_create(&thread, NULL, nap_and_send, &given[1]) != 0)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(thread, NULL);
    return r;
}

/* ---- After a thread that has ended ---- */

static void *thread_that_passes(void *arg)
{
    static bl_mutex lock;
    bl_mutex_lock(&lock);
    bl_mutex_unlock(&lock);
    bl_chan *c = bl_chan_new(sizeof(int), 1);
    (void)!send_one(c);
    bl_chan_release(c);
    return arg;
}

/* True: a thread has called in, and has ended. */
static bool thread_passes(const pthread_attr_t *attr)
{
    pthread_t t;
    return pthread_create(&t, attr, thread_that_passes, NULL) == 0 && pthread_join(t, NULL) == 0;
}

static void nap_plainly(void)
{
    struct timespec t = {0, LONG};
    nanosleep(&t, NULL);
}

static void *send_after_a_nap(void *arg)
{
    nap_plainly();
    (void)!send_one(arg);
    return NULL;
}

static __attribute__((noinline)) int sender_start(bl_scope *s, pthread_t *t)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_one, c);
    return pthread_create(t, NULL, send_after_a_nap, c);
}

/*? on_the_stack_of_the_dead right
 */
static int on_the_stack_of_the_dead(void *arg)
{
    pthread_t t;
    (void)arg;
    BL_SCOPE(s);
    if (!thread_passes(NULL) || sender_start(s, &t) != 0)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(t, NULL);
    return r;
}

static void *make_and_return(void *arg)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_go(arg, recv_one, c);
    thread_that_passes(NULL);
    return c;
}

/*? returned_by_a_thread right
 */
static int returned_by_a_thread(void *arg)
{
    pthread_t t;
    void *c;
    (void)arg;
    BL_SCOPE(s);
    if (pthread_create(&t, NULL, make_and_return, s) != 0 || nap(2 * LONG) != 0)
        return 1;
    pthread_join(t, &c);
    return send_one(c) + bl_scope_wait(s);
}

static __attribute__((noinline)) void put_into(bl_scope *s, void **at)
{
    *at = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_one, *at);
}

/*? in_what_was_a_stack right
 */
static int in_what_was_a_stack(void *arg)
{
    enum { SIZE = 1 << 18 };
    pthread_attr_t attr;
    char *stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)arg;
    BL_SCOPE(s);
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, SIZE);
    if (!thread_passes(&attr))
        return 1;
    void **at = (void **)(void *)(stack + SIZE / 2);
    put_into(s, at);
    if (nap(2 * LONG) != 0)
        return 1;
    return send_one(*at) + bl_scope_wait(s);
}

static pthread_key_t last_key;

static void send_at_the_end(void *arg)
{
    static __thread int round;
    if (++round < 3)
        pthread_setspecific(last_key, arg); /* after all others */
    else
        send_after_a_nap(arg);
}

static void *thread_with_key(void *arg)
{
    thread_that_passes(NULL);
    pthread_setspecific(last_key, arg);
    return NULL;
}

static __attribute__((noinline)) int key_start(bl_scope *s, pthread_t *t)
{
    bl_chan *c = bl_chan_new(sizeof(int), 0);
    bl_go(s, recv_one, c);
    return pthread_create(t, NULL, thread_with_key, c);
}

/*? sent_by_the_last_destructor right
 */
static int sent_by_the_last_destructor(void *arg)
{
    pthread_t t;
    (void)arg;
    BL_SCOPE(s);
    if (pthread_key_create(&last_key, send_at_the_end) != 0 || key_start(s, &t) != 0)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(t, NULL);
    return r;
}

/*? where_a_filter_kills right
 */
static int where_a_filter_kills(void *arg)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_get_robust_list, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {.len = sizeof rules / sizeof rules[0], .filter = rules};
    pthread_t t;
    (void)arg;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0)
        return 0; /* there are no filters here */
    BL_SCOPE(s);
    if (!thread_passes(NULL) || sender_start(s, &t) != 0)
        return 1;
    int r = bl_scope_wait(s);
    pthread_join(t, NULL);
    return r;
}

PROGRAMS({"where_a_filter_kills", where_a_filter_kills},
         {"on_the_stack_of_the_dead", on_the_stack_of_the_dead},
         {"returned_by_a_thread", returned_by_a_thread},
         {"in_what_was_a_stack", in_what_was_a_stack},
         {"sent_by_the_last_destructor", sent_by_the_last_destructor},
         {"holds_a_lock_and_is_sent_to_late", holds_a_lock_and_is_sent_to_late},
         {"relayed_by_a_thread", relayed_by_a_thread},
         {"on_a_stack_in_the_heap", on_a_stack_in_the_heap},
         {"on_a_stack_in_the_middle_of_a_mapping", on_a_stack_in_the_middle_of_a_mapping},
         {"in_a_variable_of_a_thread_that_waits", in_a_variable_of_a_thread_that_waits},
         {"in_a_thread_local_of_a_thread_that_waits", in_a_thread_local_of_a_thread_that_waits},
         {"below_the_stack_of_a_thread_that_waits", below_the_stack_of_a_thread_that_waits},
         {"timer_of_a_threads_scope", timer_of_a_threads_scope},
         {"unlocked_by_a_keys_destructor", unlocked_by_a_keys_destructor},
         {"reads_with_them_in_registers", reads_with_them_in_registers},
         {"sleeps_with_it_in_a_register", sleeps_with_it_in_a_register})
