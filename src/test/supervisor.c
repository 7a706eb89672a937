/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c: the process that watches the worker: it keeps what each test that has not ended has
 * logged, ends the worker when a limit is over, says what became of the tests that it died in, and
 * starts another for the rest.
 *
 * Who is at fault when several tests ran side by side is found out: each of them is run again
 * alone, its parallel subtests one after the other.
 *
 * A subtest that the worker died in has failed, and its test is run again for the others, without
 * those that have ended (watched.h). That goes on while each time another one dies. It does not if
 * one that has died before was not asked for again: then the test's subtests are others each time,
 * and this would have no end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "test/watched.h"

enum { NOTHING_LEFT = -2 };
enum {
    DUMP_WAIT = 10,      /* s for a dump of all goroutines, before the worker is killed */
    STOP_WAIT = 3,       /* s for the tests to end after ^C, with their cleanups */
    PROGRESS_MS = 300,   /* between two lines of progress */
    PROGRESS_MOST = 500, /* bytes of one; a pipe takes that in one piece */
};

static struct {
    bl__items *items;
    pid_t pid;
    int events; /* the pipe's end */
    int ended;  /* a pidfd of the worker; -1: the kernel has none */
    bl__text pending;
    bool complete; /* the worker has run all that it was to run … */
    int64_t races; /* … and so many races were met, for which it ends with a status of its own */
    bool late;     /* a limit is over */
    bool stopping; /* ^C was passed on */
    bool quiet;    /* nobody is told what the worker says: all is known but how it ends */
    bool all_late; /* that of -timeout */
    bl_time deadline;
    bl_time said;  /* when it last told of its progress */
    sigset_t mask; /* without SIGINT and SIGTERM blocked */
    size_t passed, failed, skipped;
} sup;

static volatile sig_atomic_t sup_interrupted;

/* The second one kills; what `belay test` queues is the first one, that may have come from the
 * terminal already. */
static void sup_handle(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (sup_interrupted != 0 && info->si_code != SI_QUEUE) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    sup_interrupted = sig;
}

static void deadline_set(void)
{
    sup.deadline = bl__tests.timeout > 0 ? bl_now() + bl__tests.timeout : BL_NEVER;
}

/* ---- What the worker says ---- */

static void item_over(int item, int state)
{
    if (sup.stopping) /* what it came to is the interruption's */
        return;
    sup.items->at[item].state = state;
    sup.items->at[item].last = true;
    sup.passed += state == BL__ITEM_PASSED;
    sup.failed += state == BL__ITEM_FAILED;
    sup.skipped += state == BL__ITEM_SKIPPED;
    for (const bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (w->item == item)
            bl__junit_case(w->name,
                           !bl__watched_sub(w) ? state
                           : w->ended != 0     ? w->ended
                                               : BL__ITEM_FAILED,
                           w->ended != 0 ? w->took : bl_now() - w->began, &w->log);
    bl__watched_drop(item);
}

static void item_died(bl__watched *w, const char *how);

/* The worker runs all again. */
static void round_begin(void)
{
    bl__tests.rounds += bl__tests.count;
    deadline_set();
    for (size_t i = 0; i < sup.items->len; i++)
        sup.items->at[i].state = BL__ITEM_PENDING;
}

static void event_take(const bl__event *e, const char *name, const char *text)
{
    if (e->kind == 'Z') {
        sup.complete = true;
        sup.races = e->value;
        return;
    }
    if (e->kind == 'R')
        round_begin();
    if (sup.quiet || e->kind == 'R')
        return;
    bl__watched *w = bl__watched_get(e->item, name);
    switch (e->kind) {
    case 'S':
        w->running = true;
        w->began = bl_now();
        w->limit = bl__watched_sub(w) ? 0 : bl__tests.limit;
        break;
    case 'A': bl__watched_meet(w); break;
    case 'P': w->paused = w->parallel = true; break;
    case 'C':
        w->paused = false;
        w->began = bl_now();
        break;
    case 'L':
        w->limit = e->value;
        w->began = bl_now();
        break;
    case 'O': bl__text_put(&w->log, text, e->text); break;
    case 'D':
        free(w->tempdir);
        w->tempdir = strndup(text, e->text);
        break;
    case 'E':
        free(w->tempdir);
        w->tempdir = NULL;
        if ((e->value & BL__ITEM_STOPPED) != 0 && !sup.stopping) { /* that was not ours */
            if (!bl__watched_sub(w))
                item_died(w, "by a SIGINT or SIGTERM");
            break;
        }
        w->ended = (int)e->value & ~(BL__ITEM_PARENT | BL__ITEM_STOPPED);
        w->running = false;
        sup.items->any |= (e->value & BL__ITEM_PARENT) == 0;
        w->took = bl_now() - w->began;
        if (!bl__watched_sub(w))
            item_over(e->item, w->ended);
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
    for (const bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (w->running && !w->paused && w->limit > 0 && w->began + w->limit < first)
            first = w->began + w->limit;
    return first;
}

static bool is_late(const bl__watched *w, bl_time now)
{
    return w->running && !w->paused &&
           (sup.all_late || (w->limit > 0 && now >= w->began + w->limit));
}

static void running_print(FILE *to)
{
    for (const bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (w->running && !w->paused)
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
    for (const bl__watched *w = bl__watched_first; w != NULL && !sup.all_late; w = w->next)
        if (is_late(w, now))
            fprintf(stderr, "panic: test timed out after %.3gs: %s\n",
                    (double)w->limit / (double)BL_SEC, w->name);
    fputs("\trunning tests:\n", stderr);
    running_print(stderr);
    fputc('\n', stderr);
    fflush(stderr);
    for (bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        w->fault |= is_late(w, now);
    kill(sup.pid, SIGQUIT);
}

/* One line about what runs, for `belay test` on a terminal. Lost if it has no time to read. */
static void running_tell(bl_time now)
{
    bl__text b = {0};
    const char *before = "; ";
    if (now - sup.said < PROGRESS_MS * BL_MS)
        return;
    sup.said = now;
    size_t done = 0; /* in this round */
    for (size_t i = 0; i < sup.items->len; i++)
        done += sup.items->at[i].state > BL__ITEM_ALONE;
    bl__text_printf(&b, "%zu of %zu done", done, sup.items->len);
    for (const bl__watched *w = bl__watched_first; w != NULL && b.len < PROGRESS_MOST;
         w = w->next) {
        if (!bl__watched_leaf(w))
            continue;
        bl__text_printf(&b, "%s%s (%llds)", before, w->name,
                        (long long)((now - w->began) / BL_SEC));
        before = ", ";
    }
    if (b.len > PROGRESS_MOST)
        b.len = PROGRESS_MOST;
    bl__text_put(&b, "\n", 1);
    ssize_t n = write(bl__tests.progress, b.at, b.len);
    (void)n;
    bl__text_free(&b);
}

static void junit_interrupted(const char *name, bl_dur took)
{
    bl__text text = {0};
    bl__text_printf(&text, "interrupted\n");
    bl__junit_case(name, BL__ITEM_FAILED, took, &text);
    bl__text_free(&text);
}

/* ^C: the worker is to end its tests; what they come to is no result any more. */
static void stop_begin(void)
{
    sup.stopping = true;
    fputs("interrupted\n", stdout);
    if (bl__watched_first != NULL)
        fputs("\trunning tests:\n", stdout);
    running_print(stdout);
    fflush(stdout);
    for (const bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (bl__watched_leaf(w))
            junit_interrupted(w->name, bl_now() - w->began);
    kill(sup.pid, SIGINT);
}

/* Waits for what the worker says. False: it has ended, whoever of those that it has forked still has
 * the pipe. */
static bool events_await(bl_dur most)
{
    struct pollfd p[] = {{.fd = sup.events, .events = POLLIN}, {.fd = sup.ended, .events = POLLIN}};
    struct timespec ts = {most / BL_SEC, most % BL_SEC};
    if (ppoll(p, 2, &ts, &sup.mask) <= 0) /* so ^C is not missed */
        return true;
    if (p[0].revents == 0 && poll(p, 1, 0) == 0) /* what it said last is there by now */
        return false;
    return events_read();
}

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
        if (bl__tests.progress > 0) {
            running_tell(now);
            until = now + PROGRESS_MS * BL_MS < until ? now + PROGRESS_MS * BL_MS : until;
        }
        bl_dur left = until - now < BL_HOUR ? until - now : BL_HOUR;
        if (!events_await(left > 0 ? left : 0))
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

/* w has failed because the worker ended. */
static void died_say(bl__watched *w, const char *how)
{
    bl__text b = {0};
    bl__text_printf(&b, "    the test program ended in it: %s\n", how);
    bl__text_put(&w->log, b.at, b.len);
    if (bl__tests.verbose) {
        bl__text named = {0};
        bl__text_printf(&named, "%s=== NAME  %s\n%s", bl__tests.json ? "\x16" : "", w->name, b.at);
        bl__test_print(named.at, named.len);
        bl__text_free(&named);
    }
    bl__text_free(&b);
}

/* w ends with the worker. Readers of events are told at once; others with the result of its
 * test. */
static void died_end(bl__watched *w)
{
    if (w->ended)
        return;
    w->ended = BL__ITEM_FAILED;
    w->took = w->began != 0 ? bl_now() - w->began : 0;
    if (!bl__tests.json)
        return;
    bl__text b = {0};
    bl__watched_line(&b, w);
    bl__test_print(b.at, b.len);
    bl__text_free(&b);
}

static void died_end_below(const bl__watched *of)
{
    for (bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (bl__watched_below(w, of))
            died_end(w);
}

/* A test has failed because the worker ended in it. */
static void item_died(bl__watched *w, const char *how)
{
    died_say(w, how);
    died_end_below(w); /* readers of events want those to end first */
    died_end(w);
    if (!bl__tests.json) {
        bl__text b = {0};
        bl__watched_put(&b, w);
        bl__test_print(b.at, b.len);
        bl__text_free(&b);
    }
    item_over(w->item, BL__ITEM_FAILED);
}

/* A subtest has; its test will be run again. */
static void sub_died(bl__watched *w, const char *how)
{
    died_say(w, how);
    died_end_below(w);
    died_end(w);
    w->met = true; /* so far */
}

/* Of those that ran when the worker died the tests, or (leaf) the tests and subtests that had none
 * running. */
static size_t running_count(int item, bool leaf, bl__watched **one)
{
    size_t n = 0;
    for (bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if ((item < 0 || w->item == item) &&
            (leaf ? bl__watched_leaf(w) : !bl__watched_sub(w) && w->running && !w->paused)) {
            *one = w;
            n++;
        }
    return n;
}

/* The test that w is of. */
static bl__watched *test_of(bl__watched *w)
{
    for (bl__watched *test = bl__watched_first; test != NULL; test = test->next)
        if (test->item == w->item && !bl__watched_sub(test))
            return test;
    return w;
}

/* w's test can be run again without it: there was no subtest to blame before, or that was met
 * again. */
static bool can_go_on(const bl__watched *w)
{
    if (!bl__watched_sub(w) || bl__tests.failfast)
        return false;
    for (const bl__watched *v = bl__watched_first; v != NULL; v = v->next)
        if (v->item == w->item && v->fault && v->ended && !v->met)
            return false;
    return true;
}

/* Those who are to blame: who is over its limit, or else who ran. False: several did, or none. */
static bool faults_find(void)
{
    bl__watched *test = NULL, *leaf = NULL;
    for (const bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (w->fault && !w->ended)
            return true;
    if (running_count(-1, false, &test) != 1)
        return false;
    size_t n = running_count(test->item, true, &leaf);
    if (n > 1 && sup.items->at[test->item].state != BL__ITEM_ALONE)
        return false;
    (n == 1 ? leaf : test)->fault = true;
    return true;
}

/* The worker died before its time. False: nobody can say in which test. */
static bool worker_died(const char *how)
{
    if (!faults_find()) {
        bl__watched *any = NULL;
        for (const bl__watched *w = bl__watched_first; w != NULL; w = w->next)
            if (!bl__watched_sub(w) && w->running && !w->paused)
                sup.items->at[w->item].state = BL__ITEM_ALONE;
        return running_count(-1, false, &any) > 0;
    }
    for (bl__watched *w = bl__watched_first; w != NULL;) {
        if (!w->fault || w->ended) {
            w = w->next;
        } else if (can_go_on(w)) {
            sub_died(w, how);
            w = w->next;
        } else {
            item_died(test_of(w), how);
            w = bl__watched_first;
        }
    }
    return true;
}

/* Forks a worker for what is pending, or for the one item, and watches it to its end; its
 * status. */
static int worker_fork(int only)
{
    int fds[2];
    fflush(NULL);
    bl__watched_rewind();
    if (pipe2(fds, O_CLOEXEC) < 0) {
        perror("belay: pipe");
        exit(1);
    }
    sup.items->only = only;
    sup.complete = sup.late = false;
    sup.races = 0;
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
        if (bl__tests.progress > 0)
            close(bl__tests.progress);
        if (sup.quiet) {
            int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
            (void)dup2(nowhere, STDOUT_FILENO);
            (void)dup2(nowhere, STDERR_FILENO);
        }
        bl__test_worker(sup.items, fds[1]);
    }
    close(fds[1]);
    sup.events = fds[0];
    sup.ended = (int)syscall(SYS_pidfd_open, sup.pid, 0);
    worker_watch();
    close(fds[0]);
    if (sup.ended >= 0)
        close(sup.ended);
    int status = 0;
    while (waitpid(sup.pid, &status, 0) < 0 && errno == EINTR)
        ;
    bl__watched_sweep();
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
    if (!sup.stopping) /* none ran that would show it */
        junit_interrupted("[the program]", 0);
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
        do {
            int status = worker_fork((int)i);
            if (!sup.complete && sup_interrupted == 0 &&
                !worker_died(end_text(status, buf, sizeof buf)))
                return false;
        } while (!sup.complete && sup_interrupted == 0 && sup.items->at[i].state == BL__ITEM_ALONE);
        found |= sup.failed != before;
    }
    if (any && !found && sup_interrupted == 0) {
        printf("FAIL: the test program died while tests ran side by side; alone each of them "
               "passes\n");
        sup.failed++;
    }
    return true;
}

/* ---- A bad end after all tests ---- */

/* It is what LeakSanitizer makes of memory that was leaked. */
static bool ends_badly_alone(int item)
{
    sup.quiet = true;
    int status = worker_fork(item);
    sup.quiet = false;
    return sup.complete && status != 0 && sup.races == 0;
}

static void ended_badly_say(bl__item *item, const char *how)
{
    bl__text b = {0}, log = {0};
    bl__text_printf(&log, "    the test program ended badly after it, which is told above: %s\n",
                    how);
    bl__text_printf(&b, "%s--- FAIL: %s (0.00s)\n%s", bl__tests.json ? "\x16" : "",
                    item->entry->name, log.at);
    bl__test_print(b.at, b.len);
    bl__junit_case(item->entry->name, BL__ITEM_FAILED, 0, &log);
    sup.passed -= item->state == BL__ITEM_PASSED;
    sup.skipped -= item->state == BL__ITEM_SKIPPED;
    sup.failed++;
    item->state = BL__ITEM_FAILED;
    bl__text_free(&log);
    bl__text_free(&b);
}

static bool had_before(size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (sup.items->at[j].last && sup.items->at[j].entry == sup.items->at[i].entry)
            return true;
    return false;
}

/* Each test that the worker has run is run once more, alone, and those at fault end as badly.
 * False: none does. */
static bool ended_badly(const char *how)
{
    size_t ran = 0;
    bool found = false;
    for (size_t i = 0; i < sup.items->len; i++)
        ran += sup.items->at[i].last;
    for (size_t i = 0; i < sup.items->len && sup_interrupted == 0; i++) {
        bl__item *item = &sup.items->at[i];
        if (!item->last || had_before(i) || (ran > 1 && !ends_badly_alone((int)i)))
            continue;
        found = true;
        if (item->state != BL__ITEM_FAILED)
            ended_badly_say(item, how);
    }
    return found;
}

/* What the next worker is for: -1, all that share one; or an item that has one to itself, after
 * those; NOTHING_LEFT. */
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
    bl__watched_drop(-1);
    deadline_set();
    struct sigaction action = {.sa_sigaction = sup_handle, .sa_flags = SA_SIGINFO};
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, &sup.mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    for (int next; sup_interrupted == 0 && !sup.all_late && (next = next_work()) != NOTHING_LEFT;) {
        size_t failed = sup.failed;
        for (size_t i = 0; i < items->len; i++)
            items->at[i].last = false;
        int status = worker_fork(next);
        if (sup_interrupted != 0)
            break;
        bool raced =
            sup.races > 0 && WIFEXITED(status) && sup.failed > failed; /* and that is said */
        if (sup.complete && (status == 0 || raced))
            continue; /* all, or up to a test that left goroutines behind */
        if (sup.complete && ended_badly(end_text(status, buf, sizeof buf)))
            continue;
        bool known = !sup.complete && worker_died(end_text(status, buf, sizeof buf));
        if (!known) {
            printf("FAIL: the test program ended %s: %s\n",
                   sup.complete ? "badly after its tests" : "while no test ran",
                   end_text(status, buf, sizeof buf));
            sup.failed++;
            if (!sup.complete)
                break;
            continue; /* the others have a worker of their own */
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
