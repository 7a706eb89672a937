/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c: the process that watches the worker: it keeps what each test that has not ended has logged, ends the
 * worker when a limit is over, says what became of the tests that it died in, and starts another for the rest.
 *
 * Who is at fault when several tests ran side by side is found out: each of them is run again alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "test/test.h"

enum { NOTHING_LEFT = -2 };
enum {
    DUMP_WAIT = 10, /* s for a dump of all goroutines, before the worker is killed */
    STOP_WAIT = 3,  /* s for the tests to end after ^C, with their cleanups */
};

/* A test or subtest that has begun, until the test that it belongs to has ended. */
typedef struct watched {
    struct watched *next; /* in the order in which they began */
    char *name;
    int item;
    int ended; /* 0, or its BL__ITEM_… */
    bool paused;
    bl_time began;
    bl_dur limit; /* 0: none */
    bl_dur took;  /* when it has ended */
    bl__text log;
} watched;

static struct {
    bl__items *items;
    watched *first;
    pid_t pid;
    int events; /* the pipe's end */
    bl__text pending;
    bool complete; /* the worker has run all that it was to run */
    bool late;     /* a limit is over */
    bool stopping; /* ^C was passed on */
    bool all_late; /* that of -timeout */
    bl_time deadline;
    sigset_t mask; /* without SIGINT and SIGTERM blocked */
    size_t passed, failed, skipped;
} sup;

static volatile sig_atomic_t sup_interrupted;

/* The second one kills; what `belay test` queues is the first one, that may have come from the terminal already. */
static void sup_handle(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (sup_interrupted != 0 && info->si_code != SI_QUEUE) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    sup_interrupted = sig;
}

/* ---- What the worker says ---- */

static watched *watched_find(int item, const char *name)
{
    for (watched *w = sup.first; w != NULL; w = w->next)
        if (w->item == item && strcmp(w->name, name) == 0)
            return w;
    return NULL;
}

static watched *watched_add(int item, const char *name)
{
    watched **at = &sup.first;
    while (*at != NULL)
        at = &(*at)->next;
    watched *w = bl__test_alloc(sizeof *w);
    w->name = strdup(name);
    if (w->name == NULL)
        bl__fatal("belay: out of memory in the test runner");
    w->item = item;
    w->began = bl_now();
    w->limit = strchr(name, '/') == NULL ? bl__tests.limit : 0;
    *at = w;
    return w;
}

/* Forgets the item's, or all (-1). */
static void watched_drop(int item)
{
    for (watched **at = &sup.first; *at != NULL;) {
        watched *w = *at;
        if (item >= 0 && w->item != item) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        bl__text_free(&w->log);
        free(w->name);
        free(w);
    }
}

static void item_over(int item, int state)
{
    if (sup.stopping) /* what it came to is the interruption's */
        return;
    sup.items->at[item].state = state;
    sup.passed += state == BL__ITEM_PASSED;
    sup.failed += state == BL__ITEM_FAILED;
    sup.skipped += state == BL__ITEM_SKIPPED;
    for (const watched *w = sup.first; w != NULL; w = w->next)
        if (w->item == item)
            bl__junit_case(w->name,
                           strchr(w->name, '/') == NULL ? state
                           : w->ended != 0              ? w->ended
                                                        : BL__ITEM_FAILED,
                           w->ended != 0 ? w->took : bl_now() - w->began, &w->log);
    watched_drop(item);
}

static void event_take(const bl__event *e, const char *name, const char *text)
{
    if (e->kind == 'Z') {
        sup.complete = true;
        return;
    }
    watched *w = watched_find(e->item, name);
    if (w == NULL)
        w = watched_add(e->item, name);
    switch (e->kind) {
    case 'P': w->paused = true; break;
    case 'C':
        w->paused = false;
        w->began = bl_now();
        break;
    case 'L':
        w->limit = e->value;
        w->began = bl_now();
        break;
    case 'O': bl__text_put(&w->log, text, e->text); break;
    case 'E':
        w->ended = (int)e->value;
        w->took = bl_now() - w->began;
        if (strchr(name, '/') == NULL)
            item_over(e->item, (int)e->value);
        break;
    default: break;
    }
}

/* Reads what there is. False: the worker has ended. */
static bool events_read(void)
{
    char part[65536];
    ssize_t n = read(sup.events, part, sizeof part);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0)
        return false;
    bl__text_put(&sup.pending, part, (size_t)n);
    size_t at = 0;
    bl__event e;
    while (sup.pending.len - at >= sizeof e) {
        memcpy(&e, sup.pending.at + at, sizeof e);
        if (sup.pending.len - at < sizeof e + e.name + e.text)
            break;
        const char *from = sup.pending.at + at + sizeof e;
        char *name = strndup(from, e.name);
        if (name == NULL)
            bl__fatal("belay: out of memory in the test runner");
        event_take(&e, name, from + e.name);
        free(name);
        at += sizeof e + e.name + e.text;
    }
    memmove(sup.pending.at, sup.pending.at + at, sup.pending.len - at);
    sup.pending.len -= at;
    return true;
}

/* ---- Limits ---- */

static bl_time next_limit(void)
{
    bl_time first = sup.deadline;
    for (const watched *w = sup.first; w != NULL; w = w->next)
        if (!w->paused && !w->ended && w->limit > 0 && w->began + w->limit < first)
            first = w->began + w->limit;
    return first;
}

static bool is_late(const watched *w, bl_time now)
{
    return !w->paused && !w->ended &&
           (sup.all_late || (w->limit > 0 && now >= w->began + w->limit));
}

static void running_print(FILE *to)
{
    for (const watched *w = sup.first; w != NULL; w = w->next)
        if (!w->paused && !w->ended)
            fprintf(to, "\t\t%s (%.2fs)\n", w->name,
                    (double)(bl_now() - w->began) / (double)BL_SEC);
}

/* A limit is over: says whose, and has the worker show its goroutines and end. */
static void limit_over(bl_time now)
{
    sup.late = true;
    sup.all_late = now >= sup.deadline;
    if (sup.all_late)
        fprintf(stderr, "panic: test timed out after %.3gs (-timeout)\n",
                (double)bl__tests.timeout / (double)BL_SEC);
    for (const watched *w = sup.first; w != NULL && !sup.all_late; w = w->next)
        if (is_late(w, now))
            fprintf(stderr, "panic: test timed out after %.3gs: %s\n",
                    (double)w->limit / (double)BL_SEC, w->name);
    fputs("\trunning tests:\n", stderr);
    running_print(stderr);
    fputc('\n', stderr);
    fflush(stderr);
    for (watched *w = sup.first; w != NULL; w = w->next)
        if (is_late(w, now))
            w->ended = BL__ITEM_FAILED;
    kill(sup.pid, SIGQUIT);
}

/* ^C: the worker is to end its tests; what they come to is no result any more. */
static void stop_begin(void)
{
    sup.stopping = true;
    fputs("interrupted\n", stdout);
    if (sup.first != NULL)
        fputs("\trunning tests:\n", stdout);
    running_print(stdout);
    fflush(stdout);
    kill(sup.pid, SIGINT);
}

/* Until the worker has closed its end. */
static void worker_watch(void)
{
    bl_time patience = BL_NEVER;
    while (true) {
        if (sup_interrupted != 0 && !sup.stopping) {
            stop_begin();
            patience = bl_now() + STOP_WAIT * BL_SEC;
        }
        bl_time now = bl_now();
        bl_time until = patience != BL_NEVER ? patience : next_limit();
        if (now >= until && patience == BL_NEVER) {
            limit_over(now);
            until = patience = now + DUMP_WAIT * BL_SEC;
        } else if (now >= until) {
            kill(sup.pid, SIGKILL);
            until = now + BL_SEC;
        }
        struct pollfd p = {.fd = sup.events, .events = POLLIN};
        bl_dur left = until - now < BL_HOUR ? until - now : BL_HOUR;
        struct timespec ts = {left / BL_SEC, left % BL_SEC};
        int r = ppoll(&p, 1, left > 0 ? &ts : &(struct timespec){0},
                      &sup.mask); /* so ^C is not missed */
        if (r > 0 && !events_read())
            return;
    }
}

/* ---- The worker's end ---- */

static const char *end_text(int status, char *buf, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(buf, size, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(buf, size, "exit status %d", WEXITSTATUS(status));
    return buf;
}

/* A test or subtest that the worker's end has failed, with its log. */
static void died_put(bl__text *b, const watched *w, const char *how)
{
    bool sub = strchr(w->name, '/') != NULL;
    bl__text own = {0};
    bl__text_printf(&own, "%s--- FAIL: %s (%.2fs)\n", bl__tests.json ? "\x16" : "", w->name,
                    (double)(bl_now() - w->began) / (double)BL_SEC);
    bl__text_put(&own, w->log.at, w->log.len);
    if (!sub)
        bl__text_printf(&own, "    the test program ended in it: %s\n", how);
    bl__text_indent(b, own.at, own.len, sub && !bl__tests.json ? 4 : 0);
    bl__text_free(&own);
}

/* The item failed because the worker ended: prints it with its subtests; readers of events want those to end first. */
static void item_died(int item, const char *how)
{
    bl__text b = {0}, subs = {0};
    for (watched *w = sup.first; w != NULL; w = w->next) {
        bool sub = strchr(w->name, '/') != NULL;
        if (w->item != item || (sub && w->ended != 0 && w->ended != BL__ITEM_FAILED))
            continue;
        died_put(sub ? &subs : &b, w, how);
        if (!sub)
            bl__text_printf(&w->log, "    the test program ended in it: %s\n", how);
    }
    bl__test_print(bl__tests.json ? subs.at : b.at, bl__tests.json ? subs.len : b.len);
    bl__test_print(bl__tests.json ? b.at : subs.at, bl__tests.json ? b.len : subs.len);
    bl__text_free(&b);
    bl__text_free(&subs);
    item_over(item, BL__ITEM_FAILED);
}

/* Items that ran when the worker died. */
static size_t items_running(int *one)
{
    size_t n = 0;
    for (const watched *w = sup.first; w != NULL; w = w->next)
        if (strchr(w->name, '/') == NULL && !w->paused) {
            *one = w->item;
            n++;
        }
    return n;
}

/* The worker died before its time. False: nobody can say in which test. */
static bool worker_died(const char *how)
{
    int item = -1;
    bool known = false;
    for (watched *w = sup.first; w != NULL && sup.late;) {
        if (w->ended != BL__ITEM_FAILED) {
            w = w->next;
            continue;
        }
        item_died(w->item, how);
        known = true;
        w = sup.first;
    }
    if (known) {
        watched_drop(-1);
        return true;
    }
    size_t n = items_running(&item);
    if (n == 1)
        item_died(item, how);
    for (const watched *w = sup.first; w != NULL && n > 1; w = w->next)
        if (strchr(w->name, '/') == NULL && !w->paused)
            sup.items->at[w->item].state = BL__ITEM_ALONE;
    watched_drop(-1);
    return n > 0;
}

/* Forks a worker for what is pending, or for the one item, and watches it to its end; its status. */
static int worker_fork(int only)
{
    int fds[2];
    fflush(NULL);
    if (pipe2(fds, O_CLOEXEC) < 0) {
        perror("belay: pipe");
        exit(1);
    }
    sup.items->only = only;
    sup.complete = sup.late = false;
    sup.pending.len = 0;
    sup.pid = fork();
    if (sup.pid < 0) {
        perror("belay: fork");
        exit(1);
    }
    if (sup.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setpgid(0, 0); /* ^C is for the supervisor */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, &sup.mask, NULL);
        close(fds[0]);
        bl__test_worker(sup.items, fds[1]);
    }
    close(fds[1]);
    sup.events = fds[0];
    worker_watch();
    close(fds[0]);
    int status = 0;
    while (waitpid(sup.pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void interrupted_say(void)
{
    size_t rest = 0;
    for (size_t i = 0; i < sup.items->len; i++)
        rest += sup.items->at[i].state <= BL__ITEM_ALONE;
    printf("interrupted: %zu passed, %zu failed, %zu skipped, %zu not run to the end\n", sup.passed,
           sup.failed, sup.skipped, rest);
    fflush(stdout);
    (void)bl__junit_end();
}

/* Those that ran side by side when a worker died, each by itself. */
static bool suspects_run(void)
{
    char buf[64];
    bool found = false, any = false;
    for (size_t i = 0; i < sup.items->len && sup_interrupted == 0; i++) {
        if (sup.items->at[i].state != BL__ITEM_ALONE)
            continue;
        any = true;
        size_t before = sup.failed;
        int status = worker_fork((int)i);
        if (!sup.complete && sup_interrupted == 0 &&
            !worker_died(end_text(status, buf, sizeof buf)))
            return false;
        found |= sup.failed != before;
        watched_drop(-1);
    }
    if (any && !found && sup_interrupted == 0) {
        printf("FAIL: the test program died while tests ran side by side; alone each of them "
               "passes\n");
        sup.failed++;
    }
    return true;
}

/* What the next worker is for: -1, all that share one; or an item that has one to itself, after those;
 * NOTHING_LEFT. */
static int next_work(void)
{
    int plain = NOTHING_LEFT;
    if (bl__tests.failfast && sup.failed > 0)
        return NOTHING_LEFT;
    for (size_t i = sup.items->len; i-- > 0;) {
        if (sup.items->at[i].state != BL__ITEM_PENDING)
            continue;
        if (sup.items->at[i].entry->plain == NULL)
            return -1;
        plain = (int)i;
    }
    return plain;
}

int bl__test_supervise(bl__items *items)
{
    char buf[64];
    sup.items = items;
    sup.deadline = bl__tests.timeout > 0 ? bl_now() + bl__tests.timeout : BL_NEVER;
    struct sigaction action = {.sa_sigaction = sup_handle, .sa_flags = SA_SIGINFO};
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, &sup.mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    for (int next; sup_interrupted == 0 && !sup.all_late && (next = next_work()) != NOTHING_LEFT;) {
        int status = worker_fork(next);
        if (sup_interrupted != 0)
            break;
        if (sup.complete && status == 0)
            continue; /* all, or up to a test that left goroutines behind */
        bool known = !sup.complete && worker_died(end_text(status, buf, sizeof buf));
        if (!known) {
            printf("FAIL: the test program ended %s: %s\n",
                   sup.complete ? "badly after its tests" : "while no test ran",
                   end_text(status, buf, sizeof buf));
            sup.failed++;
            break;
        }
        if (!suspects_run())
            break;
    }
    if (sup_interrupted != 0) {
        interrupted_say();
        signal(sup_interrupted, SIG_DFL);
        sigprocmask(SIG_SETMASK, &sup.mask, NULL);
        raise(sup_interrupted);
    }
    sigprocmask(SIG_SETMASK, &sup.mask, NULL);
    return sup.failed > 0 ? 1 : 0;
}
