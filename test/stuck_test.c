/* SPDX-License-Identifier: MIT */
/*
 * stuck_test.c: bl_leaks, bl_dump, bl_stats: who is stuck, and who only looks like it.
 *
 * Leaks are made by a goroutine that then ends, so that nothing of them is left on a stack that
 * counts.
 */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
//belay:libs -Wl,--wrap=bl__stuck_search,--wrap=bl__sample_take,--wrap=bl__tracer_read
//belay:libs -Wl,--wrap=bl__peek,--wrap=bl__notes_threads_wait
#include <belay/debug.h>
#include <belay/test.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/atomic.h"
#include "core/proc.h"
#include "debug/sample.h"
#include "debug/stuck_notes.h"
#include "debug/table.h"
#include "debug/tracer.h"
#include "os/os.h"

#include "parked.h"
#include "run.h"

static bl_test *const t; /* the test that the caller is of */

/* Memory cannot be looked at in builds with a sanitizer's malloc, nor well under an emulator, whose
 * own memory is all around: there only locks are sure to be seen. */
#define SEES (!BL__ASAN && !BL__TSAN && getenv("BELAY_EMULATOR") == NULL)

enum { MOST = 16 };

typedef struct box {
    bl_chan *c;
    bl_mutex m;
    bl_cond cond;
    bl_waitgroup wg;
    bl_sem sem;
    struct box *other;
} box;

static int box_recv(void *arg)
{
    box *b = arg;
    int v;
    int r = bl_chan_recv(b->c, &v);
    bl_chan_release(b->c);
    free(b);
    return r;
}

static int box_send(void *arg)
{
    box *b = arg;
    int v = 1;
    int r = bl_chan_send(b->c, &v);
    bl_chan_release(b->c);
    free(b);
    return r;
}

static int box_select(void *arg)
{
    box *b = arg;
    int v = 1;
    int r = BL_SELECT(BL_RECV(b->c, &v), BL_RECV(NULL, NULL));
    bl_chan_release(b->c);
    free(b);
    return r;
}

static int box_wg(void *arg)
{
    box *b = arg;
    bl_waitgroup_add(&b->wg, 1);
    int r = bl_waitgroup_wait(&b->wg);
    bl_chan_release(b->c);
    free(b);
    return r;
}

static int box_cond(void *arg)
{
    box *b = arg;
    bl_mutex_lock(&b->m);
    int r = bl_cond_wait(&b->cond, &b->m);
    bl_mutex_unlock(&b->m);
    bl_chan_release(b->c);
    free(b);
    return r;
}

static int box_sem(void *arg)
{
    box *b = arg;
    bl_sem_init(&b->sem, 0);
    int r = bl_sem_acquire(&b->sem, 1);
    bl_chan_release(b->c);
    free(b);
    return r;
}

static box *box_new(void)
{
    box *b = calloc(1, sizeof *b);
    b->c = bl_chan_new(sizeof(int), 0);
    return b;
}

typedef struct start {
    bl_scope *s;
    bl_fn fn;
    box **keep;
} start;

static int start_one(void *arg)
{
    start *st = arg;
    box *b = box_new();
    if (st->keep != NULL)
        *st->keep = b;
    return bl_go(st->s, st->fn, b);
}

/* Runs fn to its end, on a stack of its own. */
static void run_aside(bl_fn fn, void *arg)
{
    bl_scope first;
    BL_CHECK_EQ(t, bl_scope_open(&first, NULL), 0);
    BL_CHECK_EQ(t, bl_go(&first, fn, arg), 0);
    BL_CHECK_EQ(t, bl_scope_close(&first), 0);
}

/* Starts fn in s with a box that, without keep, nobody else knows of. n are parked then. */
static void leak_start_as(bl_scope *s, bl_fn fn, box **keep, size_t n)
{
    start st = {s, fn, keep};
    run_aside(start_one, &st);
    BL_CHECK(t, parked_wait(n));
}

static void leak_start(bl_scope *s, bl_fn fn, box **keep) { leak_start_as(s, fn, keep, 1); }

RUN_TEST(left_behind_on_what_nobody_has)
{
    static const struct {
        bl_fn fn;
        const char *reason;
    } cases[] = {
        {box_recv, "chan receive"},   {box_send, "chan send"},         {box_select, "select"},
        {box_cond, "sync.Cond.Wait"}, {box_wg, "sync.WaitGroup.Wait"}, {box_sem, "semaphore"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bl_leak leaks[MOST];
        BL_SCOPE(s);
        leak_start(s, cases[i].fn, NULL);
        int n = bl_leaks(leaks, MOST);
        BL_CHECK(t, SEES ? n == 1 : n >= 0 && n <= 1);
        if (n != 1)
            continue;
        BL_CHECK_STR(t, leaks[0].reason, cases[i].reason);
        BL_CHECK(t, !leaks[0].proven);
        BL_CHECK_STR(t, leaks[0].function, "st->fn");
        BL_CHECK(t, strstr(leaks[0].file, "stuck_test.c") != NULL);
        if (cases[i].fn == box_recv || cases[i].fn == box_send)
            BL_CHECK(t, strstr(leaks[0].object_file, "stuck_test.c") != NULL);
        BL_CHECK_EQ(t, bl_leaks(NULL, 0), 1);
    }
}

/* A report copies stacks. */
RUN_TEST(found_again_after_a_report)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    BL_SCOPE(s);
    leak_start(s, box_recv, NULL);
    BL_CHECK_EQ(t, bl_dump(null), 0);
    BL_CHECK(t, SEES ? bl_leaks(NULL, 0) == 1 : bl_leaks(NULL, 0) <= 1);
    close(null);
}

/* Where its calls no longer reach, like what one of them has left there. */
RUN_TEST(what_lies_on_the_stack_of_sysmon_is_in_no_reach)
{
    enum { BELOW = 16 << 10 };
    const char *top;
    BL_SCOPE(s);
    while ((top = load_relaxed(&bl__rt.sysmon_top)) == NULL)
        usleep(100);
    leak_start(s, box_recv, (box **)(((uintptr_t)top - BELOW) & ~(uintptr_t)63));
    BL_CHECK(t, SEES ? bl_leaks(NULL, 0) == 1 : bl_leaks(NULL, 0) <= 1);
}

static box *kept; /* a global, which everybody gets at */

RUN_TEST(what_a_global_leads_to_is_in_reach)
{
    BL_SCOPE(s);
    leak_start(s, box_recv, &kept);
    BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
    kept = NULL;
    BL_CHECK_LE(t, bl_leaks(NULL, 0), 1);
    if (SEES)
        BL_CHECK_EQ(t, bl_leaks(NULL, 0), 1);
}

RUN_TEST(what_memory_leads_to_is_in_reach)
{
    BL_SCOPE(s);
    kept = calloc(1, sizeof *kept);
    kept->other = calloc(1, sizeof *kept);
    leak_start(s, box_recv, &kept->other->other);
    BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
    free(kept->other);
    free(kept);
    kept = NULL;
}

static int sleep_and_send(void *arg)
{
    box *b = arg;
    int v = 1;
    int r = bl_sleep(BL_HOUR);
    return r < 0 ? r : bl_chan_send(b->c, &v);
}

static int start_sleeper(void *arg)
{
    box *b = box_new();
    int r = bl_go((bl_scope *)arg, box_recv, b);
    return r < 0 ? r : bl_go((bl_scope *)arg, sleep_and_send, b);
}

/* Nobody else has it. */
RUN_TEST(what_a_sleeper_has_is_in_reach)
{
    BL_SCOPE(s);
    run_aside(start_sleeper, s);
    BL_CHECK(t, parked_wait(2));
    BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
}

static int done_recv(void *arg)
{
    (void)arg;
    return bl_chan_recv(bl_ctx_done(bl_ctx_current()), NULL) == BL_ECLOSED ? 0 : BL_EIO;
}

static int timer_recv(void *arg)
{
    bl_time at;
    return bl_chan_recv(bl_timer_chan(arg), &at);
}

static int nothing(void *arg)
{
    (void)arg;
    return bl_chan_recv(NULL, NULL);
}

RUN_TEST(who_waits_for_the_end_or_for_time_is_alive)
{
    bl_timer timer = {0};
    BL_SCOPE(s, .keep_going = true);
    bl_timer_start(&timer, BL_MIN);
    BL_CHECK_EQ(t, bl_go(s, done_recv, NULL), 0);
    BL_CHECK_EQ(t, bl_go(s, timer_recv, &timer), 0);
    BL_CHECK(t, parked_wait(2));
    BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
    BL_CHECK(t, bl_timer_stop(&timer));
}

RUN_TEST(a_nil_channel_is_for_ever)
{
    bl_leak leaks[MOST];
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, nothing, NULL), 0);
    BL_CHECK(t, parked_wait(1));
    BL_CHECK_EQ(t, bl_leaks(leaks, MOST), 1);
    BL_CHECK_STR(t, leaks[0].reason, "chan receive (nil chan)");
}

/* ---- Proven ---------------------------------------------------------------------------------- */

typedef struct pair {
    bl_mutex a, b;
    bl_waitgroup both;
} pair;

static int lock_ab(void *arg)
{
    pair *p = arg;
    bl_mutex_lock(&p->a);
    bl_waitgroup_done(&p->both);
    if (bl_waitgroup_wait(&p->both) == 0)
        bl_mutex_lock(&p->b);
    return 0;
}

static int lock_ba(void *arg)
{
    pair *p = arg;
    bl_mutex_lock(&p->b);
    bl_waitgroup_done(&p->both);
    if (bl_waitgroup_wait(&p->both) == 0)
        bl_mutex_lock(&p->a);
    return 0;
}

static int subtree(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    kept = calloc(1, sizeof *kept);
    kept->c = bl_chan_retain(c);
    bl_go(s, box_recv, kept);
    kept = NULL;
    return bl_scope_wait(s);
}

/* The finder says it by itself within a second; here it is asked. Runs in a child, which it leaves
 * with 0. */
static int proven_main(void *arg)
{
    bl_leak leaks[MOST];
    bl_scope s;
    BL_CHECK_EQ(t, bl_scope_open(&s, NULL), 0);
    static pair p; /* the run ends without them */
    bl_waitgroup_add(&p.both, 2);
    if (arg == NULL) {
        bl_go(&s, lock_ab, &p);
        bl_go(&s, lock_ba, &p);
    } else {
        bl_go(&s, subtree, NULL);
    }
    for (int i = 0; i < 1000 && bl_leaks(leaks, MOST) < 2; i++)
        if (bl_sleep(BL_MS) < 0)
            break;
    int n = bl_leaks(leaks, MOST);
    bool proven = n == 2 && leaks[0].proven && leaks[1].proven;
    _exit(proven ? 0 : 1);
}

static int proven_run(const char *which)
{
    pid_t child = fork();
    if (child == 0)
        _exit(10 + bl_run(proven_main, (void *)(uintptr_t)which,
                          &(bl_options){.size = sizeof(bl_options), .procs = 2}));
    int status = -1;
    BL_CHECK_EQ(t, waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

BL_TEST_PLAIN(a_circle_of_locks_is_proven) { BL_CHECK_EQ(t, proven_run(NULL), 0); }

BL_TEST_PLAIN(a_scope_on_its_own_is_proven)
{
    if (!SEES)
        bl_skip(t, "memory is not looked at here");
    BL_CHECK_EQ(t, proven_run("subtree"), 0);
}

/* ---- bl_dump and bl_stats -------------------------------------------------------------------- */

BL_TEST(dump_shows_all)
{
    char text[8192];
    int fds[2];
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_go(s, done_recv, NULL), 0);
    BL_CHECK(t, parked_wait(1));
    BL_CHECK_EQ(t, pipe(fds), 0);
    BL_CHECK_EQ(t, bl_dump(fds[1]), 0);
    close(fds[1]);
    ssize_t n = 0, part;
    while ((part = read(fds[0], text + n, sizeof text - 1 - (size_t)n)) > 0)
        n += part;
    close(fds[0]);
    text[n] = '\0';
    BL_CHECK(t, strncmp(text, "goroutine ", 10) == 0);
    BL_CHECK(t, strstr(text, " [running]:\n") != NULL);
    BL_CHECK(t, strstr(text, " [chan receive") != NULL);
    BL_CHECK(t, strstr(text, "created by ") != NULL);
    BL_CHECK(t, strstr(text, "\n\n\n") == NULL); /* not of labels that nobody has given, either */
    BL_CHECK_ERR(t, bl_dump(-1), BL_EBADF);
}

static uint32_t spinning, spun;

static int spin_of_group(void *arg)
{
    (void)arg;
    add_relaxed(&spinning, 1u);
    while (load_relaxed(&spun) == 0) {
    }
    return 0;
}

static int spin_of_timer(void *arg) { return spin_of_group(arg) + (load_relaxed(&spun) > 1); }

/* Who runs has no stack to show, but a function: the one that the program has given. */
BL_TEST(dump_names_who_runs)
{
    char text[16384];
    int fds[2];
    bl_waitgroup wg = {0};
    bl_timer timer = {0};
    BL_SCOPE(s);
    store_relaxed(&spinning, 0u);
    store_relaxed(&spun, 0u);
    BL_CHECK_EQ(t, bl_waitgroup_go(&wg, s, spin_of_group, NULL), 0);
    BL_CHECK_EQ(t, bl_after_func(&timer, s, 1, spin_of_timer, NULL), 0);
    while (load_relaxed(&spinning) < 2 && bl_sleep(BL_MS) == 0) {
    }
    BL_CHECK_EQ(t, pipe(fds), 0);
    BL_CHECK_EQ(t, bl_dump(fds[1]), 0);
    store_relaxed(&spun, 1u);
    close(fds[1]);
    ssize_t n = 0, part;
    while ((part = read(fds[0], text + n, sizeof text - 1 - (size_t)n)) > 0)
        n += part;
    close(fds[0]);
    text[n] = '\0';
    BL_CHECK(t, strstr(text, "\nspin_of_group\n") != NULL);
    BL_CHECK(t, strstr(text, "\nspin_of_timer\n") != NULL);
    BL_CHECK_EQ(t, bl_waitgroup_wait(&wg), 0);
}

RUN_TEST(stats_count)
{
    bl_stat st;
    BL_SCOPE(s);
    for (int i = 0; i < 5; i++)
        BL_CHECK_EQ(t, bl_go(s, done_recv, NULL), 0);
    BL_CHECK(t, parked_wait(5));
    bl_stats(&st);
    BL_CHECK_EQ(t, st.goroutines, bl_goroutines());
    BL_CHECK_EQ(t, st.waiting, 5);
    BL_CHECK_GE(t, st.running, 1);
    BL_CHECK_EQ(t, st.procs, bl_procs());
    BL_CHECK_EQ(t, st.started - st.ended, st.goroutines);
    BL_CHECK_GE(t, st.threads, 1);
    BL_CHECK_GE(t, st.switches, 5);
}

/* Most of them are in the wheel. */
RUN_TEST(stats_count_timers)
{
    enum { TIMERS = 1000 };
    static bl_timer timers[TIMERS];
    bl_stat before, st;
    bl_stats(&before);
    for (int i = 0; i < TIMERS; i++)
        BL_CHECK_EQ(t, bl_timer_start(&timers[i], BL_HOUR + i * BL_SEC), 0);
    bl_stats(&st);
    BL_CHECK_EQ(t, st.timers - before.timers, TIMERS);
    for (int i = 0; i < TIMERS; i++)
        BL_CHECK(t, bl_timer_stop(&timers[i]));
    bl_stats(&st);
    BL_CHECK_EQ(t, st.timers, before.timers);
}

/* ---- Looking again ---- */

/* What a search of bl_leaks is made to answer. */
typedef struct answer {
    bool quiet;
    bool undecided;
    size_t count;
    uint32_t switches; /* by memory, beside a goroutine that runs and has switched so often; or 0 */
} answer;

enum { ANSWERS = 3 };

static struct {
    const answer *script; /* NULL: they are real */
    uint32_t asked[2];    /* searches for what is proven, and for what is leaked */
} asked;

/* NOLINTBEGIN(clang-diagnostic-reserved-identifier): the linker's names (--wrap) */
void __real_bl__stuck_search(bl__search *s);
void __wrap_bl__stuck_search(bl__search *s);

void __wrap_bl__stuck_search(bl__search *s)
{
    if (s->spare) { /* the finder's */
        __real_bl__stuck_search(s);
        return;
    }
    uint32_t n = asked.asked[s->leaks]++;
    if (asked.script == NULL) {
        __real_bl__stuck_search(s);
        return;
    }
    const answer *a = &asked.script[n < ANSWERS ? n : ANSWERS - 1];
    s->quiet = a->quiet;
    s->undecided = a->undecided;
    s->count = s->blind ? 0 : a->count;
    s->by_memory = s->count > 0;
    s->running_count = a->switches != 0;
    s->running[0] = (bl__runner){.id = 7};
    for (size_t i = 0; i < a->count && i < s->most; i++)
        s->found[i] = (bl__stuck){.id = 100 * (n + 1) + i};
}

static bool profiler_refused;
static uint32_t samples[2]; /* atomic: that were not to be had, and that were */

ssize_t __real_bl__sample_take(bl__regs *regs, char *stack, size_t room, int tid);
ssize_t __wrap_bl__sample_take(bl__regs *regs, char *stack, size_t room, int tid);

ssize_t __wrap_bl__sample_take(bl__regs *regs, char *stack, size_t room, int tid)
{
    ssize_t n = profiler_refused ? -1 : __real_bl__sample_take(regs, stack, room, tid);
    add_relaxed(&samples[n >= 0], 1u);
    return n;
}

static bool tracer_late; /* they sleep elsewhere when it comes to them */

void __real_bl__tracer_read(bl__stopped *list, size_t n);
void __wrap_bl__tracer_read(bl__stopped *list, size_t n);

void __wrap_bl__tracer_read(bl__stopped *list, size_t n)
{
    for (size_t i = 0; i < n && tracer_late; i++)
        list[i].result = BL__STOPPED_MOVED;
    if (!tracer_late)
        __real_bl__tracer_read(list, n);
}
/* NOLINTEND(clang-diagnostic-reserved-identifier) */

static int leaks_count(bl_leak *leaks)
{
    asked.asked[0] = asked.asked[1] = 0;
    return bl_leaks(leaks, MOST);
}

/* An address may have moved while others ran, so it looks again; what counts is who met nobody, or
 * found the fewest. */
RUN_TEST(looks_again_where_others_run)
{
    static const struct {
        answer script[ANSWERS];
        uint32_t searches;
        int found;
        uint64_t first; /* of the search that counts */
    } cases[] = {
        {{{true, false, 2, 0}}, 1, 2, 100},
        {{{false, false, 0, 0}}, 1, 0, 0},
        {{{false, false, 2, 0}, {true, false, 0, 0}}, 2, 0, 0},
        {{{false, false, 1, 0}, {true, false, 2, 0}}, 2, 2, 200},
        {{{false, false, 3, 0}, {false, false, 1, 0}, {false, false, 2, 0}}, 8, 1, 200},
        {{{false, false, 2, 0}, {false, false, 2, 0}, {false, false, 1, 0}}, 8, 1, 300},
        {{{false, false, 2, 0}, {false, true, 0, 0}, {false, false, 2, 0}}, 8, 2, 100},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bl_leak leaks[MOST] = {{.id = 0}};
        asked.script = cases[i].script;
        BL_CHECK_EQ(t, leaks_count(leaks), cases[i].found);
        asked.script = NULL;
        BL_CHECK_EQ(t, asked.asked[0], cases[i].searches);
        BL_CHECK_EQ(t, asked.asked[1], cases[i].searches);
        BL_CHECK_EQ(t, leaks[0].id, cases[i].first);
    }
}

/* Where it has put its registers at a switch something else may be by the next look. */
RUN_TEST(one_that_runs_at_each_look_may_have_it_in_a_register)
{
    static const answer always[ANSWERS] = {
        {false, false, 1, 1}, {false, false, 1, 2}, {false, false, 1, 3}};
    static const answer not_always[ANSWERS] = {
        {false, false, 1, 1}, {false, false, 1, 2}, {false, false, 1, 0}};
    bl_leak leaks[MOST];
    asked.script = always;
    BL_CHECK_EQ(t, leaks_count(leaks), 0);
    asked.script = not_always;
    BL_CHECK_EQ(t, leaks_count(leaks), 1);
    asked.script = NULL;
}

#if defined(__x86_64__)
/* Reads or computes with the channel in a register alone, and sends to it. */
typedef struct reader {
    int (*fn)(void *arg);
    bl_chan *to;
    int fds[2];
    int tid;       /* atomic */
    uint32_t over; /* atomic: it has computed enough */
} reader;

static int send_and_release(bl_chan *to, int v)
{
    int r = bl_chan_send(to, &v);
    bl_chan_release(to);
    return r;
}

static int read_and_send(void *arg)
{
    reader *b = arg;
    char byte;
    long r;
    store_release(&b->tid, bl__thread_id());
    register bl_chan *to __asm__("r12") = b->to;
    *(bl_chan *volatile *)&b->to = NULL;
    __asm__ volatile("syscall"
                     : "=a"(r), "+r"(to)
                     : "0"((long)SYS_read), "D"((long)b->fds[0]), "S"(&byte), "d"(1L)
                     : "rcx", "r11", "memory");
    int v = (int)r;
    return send_and_release(to, v);
}

static int compute_and_send(void *arg)
{
    reader *b = arg;
    register bl_chan *to __asm__("r12") = b->to;
    *(bl_chan *volatile *)&b->to = NULL;
    store_release(&b->tid, bl__thread_id());
    __asm__ volatile("1: cmpl $0, %1\n\tje 1b" : "+r"(to) : "m"(b->over) : "memory");
    return send_and_release(to, 1);
}

/* Has it in a register of vectors meanwhile, where a compiler keeps a pair of words. */
static int compute_with_vectors_and_send(void *arg)
{
    reader *b = arg;
    register bl_chan *to __asm__("r12") = b->to;
    *(bl_chan *volatile *)&b->to = NULL;
    store_release(&b->tid, bl__thread_id());
    __asm__ volatile("movq %0, %%xmm5\n\txorl %k0, %k0\n"
                     "1: cmpl $0, %1\n\tje 1b\n\tmovq %%xmm5, %0"
                     : "+r"(to)
                     : "m"(b->over)
                     : "xmm5", "memory");
    return send_and_release(to, 1);
}

static int recv_one(void *arg)
{
    int v;
    int r = bl_chan_recv((bl_chan *)arg, &v);
    bl_chan_release(arg);
    return r;
}

static int start_reader(void *arg)
{
    reader *b = arg;
    bl_scope *s = (bl_scope *)b->to;
    b->to = bl_chan_new(sizeof(int), 0);
    int r = bl_go(s, recv_one, bl_chan_retain(b->to));
    return r == 0 ? bl_go(s, b->fn, b) : r;
}

static void reader_start(bl_scope *s, reader *b)
{
    b->to = (bl_chan *)s;
    run_aside(start_reader, b);
}

static void beside_a_reader(bl_test *t, reader b)
{
    BL_SCOPE(s);
    reader_start(s, &b);
    while (load_acquire(&b.tid) == 0 || bl__thread_sleeps(b.tid) != 1)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
    BL_CHECK_EQ(t, write(b.fds[1], "x", 1), 1);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    close(b.fds[0]);
    close(b.fds[1]);
}

RUN_TEST(a_goroutine_in_a_call_has_it_in_a_register)
{
    reader b = {.fn = read_and_send};
    BL_REQUIRE(t, pipe(b.fds) == 0);
    beside_a_reader(t, b);
}

/* It naps again and again, each time only for a moment. */
RUN_TEST(a_goroutine_that_the_tracer_does_not_meet_has_it_in_a_register)
{
    reader b = {.fn = read_and_send};
    BL_REQUIRE(t, pipe(b.fds) == 0);
    tracer_late = true;
    beside_a_reader(t, b);
    tracer_late = false;
}

/* It would begin its time-out again. */
RUN_TEST(a_goroutine_in_a_call_that_is_not_stopped_has_it_in_a_register)
{
    reader b = {.fn = read_and_send};
    struct timeval limit = {.tv_sec = 3600};
    BL_REQUIRE(t, socketpair(AF_UNIX, SOCK_STREAM, 0, b.fds) == 0);
    BL_REQUIRE(t, setsockopt(b.fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    beside_a_reader(t, b);
}

/* more: beside one that is really left behind. */
static void beside_one_that_computes(bl_test *t, bl_fn fn, bool more)
{
    reader b = {.fn = fn};
    BL_SCOPE(s);
    reader_start(s, &b);
    if (more)
        leak_start_as(s, box_recv, NULL, 2); /* and recv_one */
    while (load_acquire(&b.tid) == 0 || b.to != NULL)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
    samples[0] = samples[1] = 0;
    int left = more && fn == compute_and_send && SEES ? 1 : 0, found = bl_leaks(NULL, 0);
    BL_CHECK_LE(t, found, samples[1] != 0 ? left : 0);
    if (samples[1] != 0 && samples[0] == 0) /* on a busy machine it may not compute for long */
        BL_CHECK_EQ(t, found, left);
    store_release(&b.over, 1u);
    if (!more)
        BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

RUN_TEST(a_goroutine_that_computes_has_it_in_a_register)
{
    for (int refused = 0; refused < 2; refused++) {
        profiler_refused = refused;
        beside_one_that_computes(t, compute_and_send, false);
        beside_one_that_computes(t, compute_and_send, true);
    }
    profiler_refused = false;
}

RUN_TEST(a_goroutine_that_computes_has_it_in_a_register_of_vectors)
{
    beside_one_that_computes(t, compute_with_vectors_and_send, false);
    beside_one_that_computes(t, compute_with_vectors_and_send, true);
}
#endif

static void *wait_without_an_end(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v) < 0 ? NULL : arg;
}

/* Of threads alone nobody is told, so memory, of which none may be read here, is not looked at. */
RUN_TEST(threads_that_wait_for_work_cost_no_look_at_memory)
{
    bl__stuck none[1];
    bl__search s = {.found = none, .most = 1, .self = __builtin_frame_address(0)};
    bl_chan *work = bl_chan_new(sizeof(int), 0);
    pthread_t thread;
    BL_REQUIRE(t, pthread_create(&thread, NULL, wait_without_an_end, work) == 0);
    while (load_relaxed(&bl__rt.plain_blocked) == 0)
        usleep(100);
    bl__stuck_search(&s);
    BL_CHECK(t, !s.undecided);
    BL_CHECK_EQ(t, s.count, 0);
    bl_chan_close(work);
    pthread_join(thread, NULL);
    bl_chan_release(work);
}

BL_TEST_PLAIN(without_a_run_there_is_nothing)
{
    bl_stat st;
    bl_leak leak;
    bl_stats(&st);
    BL_CHECK_EQ(t, st.goroutines, 0);
    BL_CHECK_EQ(t, bl_leaks(&leak, 1), 0);
}

/* ---- On a plain thread that is cancelled ---- */

static void *look_while_cancelled(void *arg)
{
    pthread_cancel(pthread_self());
    store_relaxed((uint32_t *)arg, (uint32_t)(bl_leaks(NULL, 0) + 1));
    pthread_testcancel();
    return NULL;
}

static int recv_of(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v);
}

/* What it has locked would stay so. */
RUN_TEST(a_search_is_not_cancelled)
{
    uint32_t said = 0;
    void *result;
    pthread_t thread;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    BL_CHECK_EQ(t, bl_go(s, recv_of, c), 0);
    BL_REQUIRE(t, pthread_create(&thread, NULL, look_while_cancelled, &said) == 0);
    pthread_join(thread, &result);
    BL_CHECK(t, result == PTHREAD_CANCELED);
    BL_CHECK_EQ(t, load_relaxed(&said), 1);
    bl_chan_close(c);
}

typedef struct taking {
    bl_mutex m;
    uint32_t over; /* atomic */
} taking;

static int taker(void *arg)
{
    taking *w = arg;
    while (!load_relaxed(&w->over)) {
        bl_mutex_lock(&w->m);
        bl_yield();
        bl_mutex_unlock(&w->m);
    }
    return 0;
}

/* Looked at by what reads the notes of those that run on. */
RUN_TEST(who_waits_again_and_again_is_alive)
{
    enum { TAKERS = 4, LOOKS = 200 };
    taking w = {.over = 0};
    BL_SCOPE(s);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < TAKERS; i++)
        BL_CHECK_EQ(t, bl_go(s, taker, &w), 0);
    for (int i = 0; i < LOOKS; i++) {
        BL_CHECK_EQ(t, bl_leaks(NULL, 0), 0);
        BL_CHECK_EQ(t, bl__table_write(fd, 0), 0);
        bl_yield();
    }
    store_relaxed(&w.over, 1u);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    close(fd);
}

/* A mutex that a search has handed on: before it first reads whose it is, and once more before it
 * does so after its last look at plain threads. */
static struct {
    bl_mutex m;
    uint32_t turn; /* atomic: how often it is to be handed on */
    uint32_t has;  /* atomic: how often it was */
} handed;

static __thread uint32_t turn_next; /* of the thread that searches: 0: it does not */

/* NOLINTBEGIN(clang-diagnostic-reserved-identifier): the linker's names (--wrap) */
bool __real_bl__peek(void *to, const void *from, size_t n);
bool __wrap_bl__peek(void *to, const void *from, size_t n);

bool __wrap_bl__peek(void *to, const void *from, size_t n)
{
    if (turn_next != 0 && from == &handed.m) {
        store_release(&handed.turn, turn_next);
        while (load_acquire(&handed.has) < turn_next)
            sched_yield();
    }
    return __real_bl__peek(to, from, n);
}

bool __real_bl__notes_threads_wait(bl__notes *n);
bool __wrap_bl__notes_threads_wait(bl__notes *n);

bool __wrap_bl__notes_threads_wait(bl__notes *n)
{
    turn_next += turn_next == 1;
    return __real_bl__notes_threads_wait(n);
}
/* NOLINTEND(clang-diagnostic-reserved-identifier) */

static int has_it(void *arg)
{
    uint32_t turn = (uint32_t)(uintptr_t)arg;
    bl_mutex_lock(&handed.m);
    store_release(&handed.has, turn);
    while (load_acquire(&handed.turn) <= turn && bl_sleep(BL_MS) == 0)
        ;
    bl_mutex_unlock(&handed.m);
    return 0;
}

static void *thread_has_it(void *arg)
{
    has_it(arg);
    return arg;
}

static void *search_thread(void *arg)
{
    bl__search *s = arg;
    turn_next = 1;
    bl__stuck_search(s);
    turn_next = 0;
    store_release(&handed.turn, UINT32_MAX);
    return arg;
}

static void handed_on(bl_test *t, bool to_thread)
{
    bl__stuck found[MOST];
    bl__search search = {.limit = SIZE_MAX, .leaks = true, .found = found, .most = MOST};
    pthread_t waits, searches;
    BL_SCOPE(s);
    handed.turn = handed.has = 0;
    bl_mutex_lock(&handed.m);
    BL_CHECK_EQ(t, bl_go(s, has_it, (void *)1), 0);
    BL_CHECK(t, parked_wait(1));
    if (to_thread)
        BL_REQUIRE(t, pthread_create(&waits, NULL, thread_has_it, (void *)2) == 0);
    else
        BL_CHECK_EQ(t, bl_go(s, has_it, (void *)2), 0);
    while (to_thread && load_relaxed(&bl__rt.plain_blocked) == 0)
        bl_yield();
    BL_CHECK(t, parked_wait(to_thread ? 1 : 2));
    BL_CHECK_EQ(t, bl_go(s, has_it, (void *)3), 0);
    BL_CHECK(t, parked_wait(to_thread ? 2 : 3));
    BL_REQUIRE(t, pthread_create(&searches, NULL, search_thread, &search) == 0);
    while (load_acquire(&handed.turn) < 1 && bl_sleep(BL_MS) == 0)
        ;
    bl_mutex_unlock(&handed.m);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pthread_join(searches, NULL);
    if (to_thread)
        pthread_join(waits, NULL);
    BL_CHECK_EQ(t, search.count, 0);
}

/* Who was seen parked at the end of a search may have the mutex by the time that is read again. */
RUN_TEST(who_has_it_is_looked_at_after_that_is_read) { handed_on(t, false); }
RUN_TEST(a_thread_that_has_it_is_looked_at_after_that_is_read) { handed_on(t, true); }

/* ---- Beside the end of a run ---- */

static uint32_t runs_over; /* atomic */

static void *look_beside_runs(void *arg)
{
    while (!load_acquire(&runs_over))
        (void)bl_leaks(NULL, 0);
    return arg;
}

static int short_run(void *arg)
{
    enum { WAITERS = 10, APART = 13, LONGEST = 300 /* us */ };
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof(int), 0);
    for (int i = 0; i < WAITERS; i++)
        bl_go(s, recv_of, c);
    int r = bl_sleep(*(int *)arg * APART % LONGEST * BL_US);
    bl_chan_close(c);
    return r;
}

/* A search reads the stacks of goroutines, which go at the end of a run. */
BL_TEST_PLAIN(a_run_ends_beside_a_search)
{
    enum { RUNS = 200 };
    pthread_t thread;
    if (BL__TSAN) /* it minds counters that a run sets to zero, and memory is not read */
        bl_skip(t, "stacks are not read here");
    BL_REQUIRE(t, pthread_create(&thread, NULL, look_beside_runs, NULL) == 0);
    for (int i = 0; i < RUNS; i++)
        BL_CHECK_EQ(t, bl_run(short_run, &i, NULL), 0);
    store_release(&runs_over, 1u);
    pthread_join(thread, NULL);
}
