/* SPDX-License-Identifier: MIT */
/*
 * cases.c: programs that race and programs that do not, for each edge of the memory model.
 *
 * A way (struct way) is how one goroutine, the giver, can tell another, the getter, to go on. For each
 * there are four programs, of which the race detector has to say the right thing in every schedule:
 *
 *     after   giver: access, give      getter: get, access      clean, if the way is an edge
 *     late    giver: give, access      getter: get, access      a race
 *     early   giver: access, give      getter: access, get      a race
 *     back    giver: give, access      getter: access, get      clean, if the way goes both ways
 *
 * Those that do not have this form are in singles.h. Each program runs in a child process:
 *
 *     cases            all; says which verdicts were wrong; status 1 if any was
 *     cases -l         lists them
 *     cases NAME       that one alone, in this process, with its report
 */
#include <belay.h>
#include <belay/map.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t bl__race_errors(void);
void bl__symbol_each(uintptr_t pc, bool (*fn)(const void *s, void *arg), void *arg);

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #call);                      \
            _exit(3);                                                                              \
        }                                                                                          \
    } while (0)

/* A scope whose goroutines end by themselves. The end of BL_SCOPE stops those that wait then. */
static void joined(bl_scope **s) { (void)bl_scope_wait(*s); }
#define JOINED(s)                                                                                  \
    BL_SCOPE(s);                                                                                   \
    __attribute__((cleanup(joined), unused)) bl_scope *s##_joined = (s)

/*
 * What races, or does not. ThreadSanitizer misses two accesses at the same instant, so there are
 * several, and the shadow of shared is there before (child_run): a first store to it is a page fault,
 * between what ThreadSanitizer reads and what it writes, and all of the other's accesses may fall
 * into that.
 */
static long shared;
static void touch(void)
{
    for (int i = 0; i < 3; i++) {
        shared++;
        for (volatile int pause = 0; pause < 200;)
            pause = pause + 1;
    }
}

/* What the ways use; one is used in each process. */
static bl_chan *chan, *relay;
static bl_mutex mutex;
static bl_rwmutex rwmutex;
static bl_cond cond;
static bl_waitgroup group;
static bl_sem sem;
static bl_once once;
static bl_timer timer;
static bl_ctx *ctx;
static bl_syncmap *map;
static bl_scope *scope;
static bl_pool *pool;
static int flag, ends[2];

static void said(void) { __atomic_store_n(&flag, 1, __ATOMIC_RELAXED); }
static int heard(void) { return __atomic_load_n(&flag, __ATOMIC_RELAXED); }
static void await(void)
{
    while (!heard())
        MUST(bl_sleep(100 * BL_US));
}

/* ---- Channels ---- */

static void chan_0(void) { chan = bl_chan_new(sizeof(int), 0); }
static void chan_1(void) { chan = bl_chan_new(sizeof(int), 1); }
static void chan_4(void) { chan = bl_chan_new(sizeof(int), 4); }
static void chan_empty(void) { chan = bl_chan_new(0, 1); }
static void chan_big(void) { chan = bl_chan_new(100, 1); }
static void chan_full(void)
{
    int v = 0;
    chan_1();
    MUST(bl_chan_send(chan, &v));
}
static void send_int(void)
{
    int v = 1;
    MUST(bl_chan_send(chan, &v));
}
static void recv_int(void)
{
    int v;
    MUST(bl_chan_recv(chan, &v));
}
static void send_big(void)
{
    char v[100] = {0};
    MUST(bl_chan_send(chan, &v));
}
static void recv_big(void)
{
    char v[100];
    MUST(bl_chan_recv(chan, &v));
}
static void send_empty(void) { MUST(bl_chan_send(chan, NULL)); }
static void recv_empty(void) { MUST(bl_chan_recv(chan, NULL)); }
static void send_twice(void)
{
    send_int();
    send_int();
}
static void recv_twice(void)
{
    recv_int();
    recv_int();
}
static void close_it(void) { bl_chan_close(chan); }
static void see_close(void)
{
    int v;
    if (bl_chan_recv(chan, &v) != BL_ECLOSED)
        _exit(3);
}
static void select_close(void)
{
    int v, i = BL_SELECT(BL_RECV(chan, &v));
    MUST(i);
}
/* A send that is refused, at once or when the close ends its wait: a result, and no edge. */
static void close_said(void)
{
    close_it();
    said();
}
static void close_later(void)
{
    MUST(bl_sleep(5 * BL_MS));
    close_it();
}
static void send_refused(void)
{
    int v = 1;
    if (bl_chan_send(chan, &v) != BL_ECLOSED)
        _exit(3);
}
static void send_after_close(void)
{
    await();
    send_refused();
}
static void select_send(void)
{
    int v = 1, i = BL_SELECT(BL_SEND(chan, &v), BL_RECV(relay, &v));
    MUST(i);
}
static void select_recv(void)
{
    int v, i = BL_SELECT(BL_RECV(relay, &v), BL_RECV(chan, &v));
    MUST(i);
}
static void chan_select(void)
{
    chan_0();
    relay = bl_chan_new(sizeof(int), 0);
}
static void chan_select_1(void)
{
    chan_1();
    relay = bl_chan_new(sizeof(int), 0);
}
static void try_send(void)
{
    int v = 1;
    while (bl_chan_try_send(chan, &v) != 0)
        bl_yield();
}
static void try_recv(void)
{
    int v;
    while (bl_chan_try_recv(chan, &v) != 0)
        bl_yield();
}
static void send_until(void)
{
    int v = 1;
    MUST(bl_chan_send_until(chan, &v, bl_in(10 * BL_SEC)));
}
static void recv_until(void)
{
    int v;
    MUST(bl_chan_recv_until(chan, &v, bl_in(10 * BL_SEC)));
}
static int relay_main(void *arg)
{
    int v;
    (void)arg;
    MUST(bl_chan_recv(chan, &v));
    MUST(bl_chan_send(relay, &v));
    return 0;
}
static void relay_setup(void)
{
    chan_1();
    relay = bl_chan_new(sizeof(int), 1);
    MUST(bl_go(scope, relay_main, NULL));
}
static void relay_recv(void)
{
    int v;
    MUST(bl_chan_recv(relay, &v));
}

/* ---- Sync ---- */

static void lock_set(void)
{
    bl_mutex_lock(&mutex);
    said();
    bl_mutex_unlock(&mutex);
}
static bool lock_seen(void)
{
    bl_mutex_lock(&mutex);
    bool seen = heard();
    bl_mutex_unlock(&mutex);
    return seen;
}
static void lock_await(void)
{
    while (!lock_seen())
        bl_yield();
}
static void lock_after(void)
{
    await();
    bl_mutex_lock(&mutex);
    bl_mutex_unlock(&mutex);
}
static void try_lock_after(void)
{
    await();
    while (!bl_mutex_try_lock(&mutex))
        bl_yield();
    bl_mutex_unlock(&mutex);
}
static void cond_set(void)
{
    bl_mutex_lock(&mutex);
    said();
    bl_cond_signal(&cond);
    bl_mutex_unlock(&mutex);
}
static void cond_set_all(void)
{
    bl_mutex_lock(&mutex);
    said();
    bl_cond_broadcast(&cond);
    bl_mutex_unlock(&mutex);
}
static void cond_await(void)
{
    bl_mutex_lock(&mutex);
    while (!heard())
        MUST(bl_cond_wait(&cond, &mutex));
    bl_mutex_unlock(&mutex);
}
static void write_set(void)
{
    bl_rwmutex_lock(&rwmutex);
    said();
    bl_rwmutex_unlock(&rwmutex);
}
static void write_after(void)
{
    await();
    bl_rwmutex_lock(&rwmutex);
    bl_rwmutex_unlock(&rwmutex);
}
static void read_set(void)
{
    bl_rwmutex_rlock(&rwmutex);
    said();
    bl_rwmutex_runlock(&rwmutex);
}
static void read_after(void)
{
    await();
    bl_rwmutex_rlock(&rwmutex);
    bl_rwmutex_runlock(&rwmutex);
}
static void group_setup(void) { bl_waitgroup_add(&group, 1); }
static void group_done(void) { bl_waitgroup_done(&group); }
static void group_wait(void) { MUST(bl_waitgroup_wait(&group)); }
static void sem_setup(void) { bl_sem_init(&sem, 0); }
static void sem_give(void) { bl_sem_release(&sem, 1); }
static void sem_get(void) { MUST(bl_sem_acquire(&sem, 1)); }
static int nothing(void *arg)
{
    (void)arg;
    return 0;
}
static void once_give(void)
{
    bl_once_do(&once, nothing, NULL);
    said();
}
static void once_get(void)
{
    await();
    bl_once_do(&once, nothing, NULL);
}
static void atomic_give(void) { __atomic_store_n(&flag, 1, __ATOMIC_RELEASE); }
static void atomic_get(void)
{
    while (!__atomic_load_n(&flag, __ATOMIC_ACQUIRE))
        MUST(bl_sleep(100 * BL_US));
}
static void nap(void) { MUST(bl_sleep(5 * BL_MS)); }

/* ---- Contexts, timers, pools ---- */

static void ctx_setup(void) { ctx = bl_ctx_with_cancel(bl_ctx_background()); }
static void ctx_give(void) { bl_ctx_cancel(ctx, 0); }
static void ctx_err(void)
{
    while (bl_ctx_err(ctx) == 0)
        MUST(bl_sleep(100 * BL_US));
}
static void ctx_done(void)
{
    if (bl_chan_recv(bl_ctx_done(ctx), NULL) != BL_ECLOSED)
        _exit(3);
}
static void ctx_woken(void)
{
    int v;
    BL_SCOPE(s, .ctx = ctx);
    bl_chan *never = bl_scope_chan(s, sizeof v, 0);
    if (bl_chan_recv(never, &v) != BL_ECANCELED)
        _exit(3);
}
static void ctx_late(void)
{
    BL_SCOPE(s, .timeout = 5 * BL_MS);
    while (bl_sleep(BL_SEC) == 0)
        continue;
}
static void ctx_late_done(void)
{
    bl_ctx *late = bl_ctx_with_timeout(bl_ctx_background(), 5 * BL_MS);
    if (bl_chan_recv(bl_ctx_done(late), NULL) != BL_ECLOSED)
        _exit(3);
    bl_ctx_release(late);
}
static int send_job(void *arg)
{
    (void)arg;
    send_int();
    return 0;
}
static void after_setup(void)
{
    ctx_setup();
    chan_1();
    if (bl_ctx_after(ctx, scope, send_job, NULL) == NULL)
        _exit(3);
}
static void timer_setup(void) { (void)bl_timer_chan(&timer); }
static void timer_give(void) { (void)bl_timer_start(&timer, BL_MS); }
static void timer_get(void)
{
    bl_time t;
    MUST(bl_chan_recv(bl_timer_chan(&timer), &t));
}
static void after_func_give(void) { MUST(bl_after_func(&timer, scope, BL_MS, send_job, NULL)); }
static void pool_setup(void)
{
    chan_1();
    pool = bl_pool_new(scope, &(bl_pool_opts){.workers = 2, .queue = 4});
}
static void pool_give(void) { MUST(bl_pool_submit(pool, send_job, NULL)); }
static void go_give(void) { MUST(bl_go(scope, send_job, NULL)); }
static void blocking_give(void) { MUST(bl_blocking(send_job, NULL)); }

/* ---- Maps, descriptors, signals ---- */

static int keys[2] = {1, 2};
static void map_setup(void) { map = bl_syncmap_new(sizeof(int)); }
static void map_give(void)
{
    MUST(bl_syncmap_store(map, &keys[0], keys));
    said();
}
static void map_get(void)
{
    void *v;
    await();
    if (!bl_syncmap_load(map, &keys[0], &v))
        _exit(3);
}
static void map_other(void)
{
    void *v;
    await();
    (void)bl_syncmap_load(map, &keys[1], &v);
}
static void pipe_setup(void) { MUST(pipe(ends)); }
static void pair_setup(void) { MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends)); }
static void fd_give(void) { MUST((int)bl_write(ends[1], "x", 1)); }
static void fd_give_plain(void) { MUST((int)write(ends[1], "x", 1)); }
static void fd_get(void)
{
    char c;
    MUST((int)bl_read(ends[0], &c, 1));
}
static void signal_setup(void)
{
    chan_1();
    MUST(bl_notify(scope, chan, SIGUSR1));
}
static void signal_give(void) { MUST(kill(getpid(), SIGUSR1)); }

enum { EDGE = 1, BOTH = 2, NO_BACK = 4 };

typedef struct way {
    const char *name;
    void (*setup)(void);
    void (*give)(void);
    void (*get)(void);
    int is;
} way;

static const way ways[] = {
    {"unbuffered", chan_0, send_int, recv_int, EDGE | BOTH},
    {"unbuffered-reverse", chan_0, recv_int, send_int, EDGE | BOTH},
    {"unbuffered-try", chan_0, send_int, try_recv, EDGE | BOTH},
    {"unbuffered-until", chan_0, send_until, recv_until, EDGE | BOTH},
    {"buffer", chan_1, send_int, recv_int, EDGE},
    {"buffer-room", chan_full, recv_int, send_int, EDGE},
    {"buffer-4", chan_4, send_int, recv_int, EDGE},
    {"buffer-4-twice", chan_4, send_twice, recv_twice, EDGE},
    {"buffer-empty", chan_empty, send_empty, recv_empty, EDGE},
    {"buffer-big", chan_big, send_big, recv_big, EDGE},
    {"buffer-try", chan_1, try_send, try_recv, EDGE},
    {"buffer-until", chan_1, send_until, recv_until, EDGE},
    {"close", chan_0, close_it, see_close, EDGE},
    {"close-buffer", chan_1, close_it, see_close, EDGE},
    {"close-select", chan_0, close_it, select_close, EDGE},
    {"close-send", chan_1, close_said, send_after_close, 0},
    {"close-send-waits", chan_0, close_later, send_refused, 0},
    {"select", chan_select, select_send, select_recv, EDGE | BOTH},
    {"select-send", chan_select, select_send, recv_int, EDGE | BOTH},
    {"select-recv", chan_select, send_int, select_recv, EDGE | BOTH},
    {"select-buffer", chan_select_1, select_send, select_recv, EDGE},
    {"relay", relay_setup, send_int, relay_recv, EDGE},
    {"mutex", NULL, lock_set, lock_await, EDGE | NO_BACK},
    {"mutex-after", NULL, lock_set, lock_after, EDGE},
    {"mutex-try", NULL, lock_set, try_lock_after, EDGE},
    {"cond-signal", NULL, cond_set, cond_await, EDGE | NO_BACK},
    {"cond-broadcast", NULL, cond_set_all, cond_await, EDGE | NO_BACK},
    {"rwmutex-write-write", NULL, write_set, write_after, EDGE},
    {"rwmutex-write-read", NULL, write_set, read_after, EDGE},
    {"rwmutex-read-write", NULL, read_set, write_after, EDGE},
    {"rwmutex-read-read", NULL, read_set, read_after, 0},
    {"waitgroup", group_setup, group_done, group_wait, EDGE},
    {"sem", sem_setup, sem_give, sem_get, EDGE},
    {"once", NULL, once_give, once_get, EDGE},
    {"atomic", NULL, atomic_give, atomic_get, EDGE},
    {"atomic-relaxed", NULL, said, await, 0},
    {"sleep", NULL, said, nap, 0},
    {"ctx-err", ctx_setup, ctx_give, ctx_err, EDGE},
    {"ctx-done", ctx_setup, ctx_give, ctx_done, EDGE},
    {"ctx-woken", ctx_setup, ctx_give, ctx_woken, EDGE},
    {"ctx-after", after_setup, ctx_give, recv_int, EDGE},
    {"scope-timeout", NULL, said, ctx_late, 0},
    {"ctx-timeout-done", NULL, said, ctx_late_done, 0},
    {"timer", timer_setup, timer_give, timer_get, EDGE},
    {"after-func", chan_1, after_func_give, recv_int, EDGE},
    {"pool-submit", pool_setup, pool_give, recv_int, EDGE},
    {"go", chan_1, go_give, recv_int, EDGE},
    {"blocking", chan_1, blocking_give, recv_int, EDGE},
    {"syncmap", map_setup, map_give, map_get, EDGE},
    {"syncmap-other-key", map_setup, map_give, map_other, 0},
    {"pipe", pipe_setup, fd_give, fd_get, EDGE},
    {"pipe-plain-write", pipe_setup, fd_give_plain, fd_get, EDGE},
    {"socket", pair_setup, fd_give, fd_get, EDGE},
    {"notify", signal_setup, signal_give, recv_int, 0},
};

enum { AFTER, LATE, EARLY, BACK, FORMS };
static const char *const forms[FORMS] = {"after", "late", "early", "back"};

typedef struct pair {
    const way *w;
    int form;
} pair;

/* Where nothing orders the two, one is behind the other all the same: ThreadSanitizer may miss two
 * accesses at literally the same instant. */
static int first_is_over;

static void touch_first(void)
{
    touch();
    __atomic_store_n(&first_is_over, 1, __ATOMIC_RELAXED);
}

static void touch_second(void)
{
    while (!__atomic_load_n(&first_is_over, __ATOMIC_RELAXED))
        bl_yield();
    touch();
}

static int giver(void *arg)
{
    const pair *p = arg;
    if (p->form == EARLY)
        touch_second();
    if (p->form == AFTER)
        touch();
    p->w->give();
    if (p->form == BACK)
        touch_second();
    if (p->form == LATE)
        touch_first();
    return 0;
}

static int pair_main(void *arg)
{
    const pair *p = arg;
    JOINED(s);
    BL_SCOPE(outer); /* what the ways start */
    scope = outer;
    if (p->w->setup != NULL)
        p->w->setup();
    MUST(bl_go(s, giver, arg));
    if (p->form == EARLY || p->form == BACK)
        touch_first();
    p->w->get();
    if (p->form == LATE)
        touch_second();
    if (p->form == AFTER)
        touch();
    return 0;
}

static bool pair_races(const pair *p)
{
    if (p->form == AFTER)
        return !(p->w->is & EDGE);
    return p->form != BACK || !(p->w->is & BOTH);
}

#include "singles.h"

/* ---- Running them ---- */

static int wrong, count[2];

static int child_run(bl_fn fn, void *arg)
{
    shared = 0;
    if (bl_run(fn, arg, NULL) < 0)
        _exit(3);
    return bl__race_errors() > 0 ? 66 : 0;
}

static void check(const char *name, bl_fn fn, void *arg, bool races, int argc, char **argv)
{
    int status = 0;
    if (argc > 1 && strcmp(argv[1], "-l") == 0) {
        printf("%s %s\n", races ? "racy " : "clean", name);
        return;
    }
    if (argc > 1) {
        if (strcmp(argv[1], name) == 0)
            exit(child_run(fn, arg));
        return;
    }
    count[races]++;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(3);
        alarm(30);
        _exit(child_run(fn, arg));
    }
    MUST(waitpid(pid, &status, 0));
    int got = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (got == (races ? 66 : 0))
        return;
    wrong++;
    printf("WRONG %s: %s, and the status is %d\n", name, races ? "races" : "does not race", got);
}

static bool symbol_ignore(const void *s, void *arg)
{
    (void)s;
    (void)arg;
    return true;
}

int main(int argc, char **argv)
{
    /* Debug information is read once for a process: here, for all children, each of which would take longer for it than for
     * its race. */
    bl__symbol_each((uintptr_t)main, symbol_ignore, NULL);
    bl__symbol_each((uintptr_t)bl_run, symbol_ignore, NULL);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (int form = 0; form < FORMS; form++) {
            char name[64];
            pair p = {&ways[i], form};
            if (form == BACK && (ways[i].is & NO_BACK))
                continue;
            snprintf(name, sizeof name, "%s-%s", ways[i].name, forms[form]);
            check(name, pair_main, &p, pair_races(&p), argc, argv);
        }
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
        check(singles[i].name, singles[i].fn, NULL, singles[i].races, argc, argv);
    if (argc > 1 && strcmp(argv[1], "-l") == 0)
        return 0;
    if (argc > 1) {
        fprintf(stderr, "no case %s\n", argv[1]);
        return 2;
    }
    printf("%d racy and %d clean, %d wrong\n", count[1], count[0], wrong);
    return wrong > 0;
}
