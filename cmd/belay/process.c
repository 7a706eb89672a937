/* SPDX-License-Identifier: MIT */
/*
 * process.c: one child at a time.
 *
 * With a terminal the child stays in belay's process group: ^C reaches it from there (si_code is
 * SI_KERNEL) and must not be passed on, or it would count twice, and job control works as for any
 * program. Without one it gets a group of its own: who signals belay's group (timeout(1) does, and
 * signals belay besides) then does not reach it, and it gets from belay one of what came at a time.
 * If belay itself is killed, the kernel kills the child.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int passed_on[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
enum { PASSED_ON = sizeof passed_on / sizeof *passed_on };
enum { SAME_MS = 100 }; /* the same signal again within this time is the same request */

/* Of the child that runs; for the handler. */
static volatile sig_atomic_t child_pid;
static volatile sig_atomic_t child_wants_signals;
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t interrupts;

static struct sigaction before[PASSED_ON]; /* what a child is started with */

/* By nohup or a shell; a program that it is passed on to may still want it. */
static bool was_ignored(int sig)
{
    for (int i = 0; i < PASSED_ON; i++)
        if (passed_on[i] == sig)
            return before[i].sa_handler == SIG_IGN;
    return false;
}

static void handle(int sig, siginfo_t *info, void *context)
{
    static struct timespec last[NSIG];
    (void)context;
    int saved = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long ms =
        (long)(now.tv_sec - last[sig].tv_sec) * 1000 + (now.tv_nsec - last[sig].tv_nsec) / 1000000;
    bool again = last[sig].tv_sec != 0 && ms < SAME_MS;
    bool from_terminal = info->si_code == SI_KERNEL;
    if (!again)
        last[sig] = now;
    if (sig != SIGUSR1 && sig != SIGUSR2 && !was_ignored(sig)) {
        interrupted = sig;
        interrupts += !again;
    }
    if (child_pid > 0 && child_wants_signals && !from_terminal && !again)
        kill(child_pid, sig);
    errno = saved;
}

void process_init(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (int i = 0; i < PASSED_ON; i++) {
        sigaction(passed_on[i], NULL, &before[i]);
        sigaction(passed_on[i], &action, NULL);
    }
}

static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* In the child: never returns. What it could not be started with goes into the pipe. */
static void child_start(const words *command, process_kind kind, bool own_group,
                        const sigset_t *mask, pid_t parent, int fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (own_group)
        setpgid(0, 0);
    if (kind == PROCESS_QUIET) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null >= 0)
            dup2(null, STDOUT_FILENO);
    }
    for (int i = 0; i < PASSED_ON; i++)
        sigaction(passed_on[i], &before[i], NULL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command->at[0], command->at);
    int err = errno;
    ssize_t written = write(fd, &err, sizeof err);
    _exit(written == sizeof err ? 127 : 126);
}

static void child_wait(pid_t pid, process_end *end)
{
    /* Its number is free for another process once it is reaped, so the handler forgets it first. */
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    child_pid = 0;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    *end = (process_end){0};
    if (WIFSIGNALED(status)) {
        end->signal = WTERMSIG(status);
        end->core = WCOREDUMP(status);
    } else {
        end->status = WEXITSTATUS(status);
    }
}

int process_run(const words *command, process_kind kind, process_end *end)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return errno;

    /* The signals are blocked until child_pid is known to the handler. */
    sigset_t ours;
    sigset_t mask;
    sigemptyset(&ours);
    for (int i = 0; i < PASSED_ON; i++)
        sigaddset(&ours, passed_on[i]);
    sigprocmask(SIG_BLOCK, &ours, &mask);

    bool own_group = kind == PROCESS_PROGRAM && !has_terminal();
    pid_t parent = getpid();
    pid_t pid = fork();
    int err = pid < 0 ? errno : 0;
    if (pid == 0)
        child_start(command, kind, own_group, &mask, parent, fds[1]);
    close(fds[1]);
    child_wants_signals = kind == PROCESS_PROGRAM;
    child_pid = pid > 0 ? pid : 0;
    sigprocmask(SIG_SETMASK, &mask, NULL);

    if (pid > 0) {
        int failure;
        if (read(fds[0], &failure, sizeof failure) == sizeof failure)
            err = failure;
        child_wait(pid, end);
    }
    close(fds[0]);
    return err;
}

bool process_read(const words *command, bool quiet,
                  void (*take)(void *arg, const char *text, size_t n), void *arg)
{
    static char part[65536];
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(fds[1], STDOUT_FILENO);
        if (quiet && null >= 0)
            dup2(null, STDERR_FILENO);
        execvp(command->at[0], command->at);
        _exit(127);
    }
    close(fds[1]);
    for (ssize_t n; (n = read(fds[0], part, sizeof part)) > 0;)
        take(arg, part, (size_t)n);
    close(fds[0]);
    int status = 1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0;
}

bool process_found(const char *name)
{
    for (const char *at = getenv("PATH"); at && *at; at += strspn(at, ":")) {
        int len = (int)strcspn(at, ":");
        if (access(text_format("%.*s/%s", len, at, name), X_OK) == 0)
            return true;
        at += len;
    }
    return false;
}

typedef struct beginning {
    char *at;
    size_t len, size;
} beginning;

static void beginning_take(void *arg, const char *text, size_t n)
{
    beginning *b = arg;
    n = n < b->size - b->len ? n : b->size - b->len;
    memcpy(b->at + b->len, text, n);
    b->len += n;
}

bool process_line(const words *command, char *line, size_t size)
{
    beginning b = {line, 0, size};
    bool ok = process_read(command, false, beginning_take, &b);
    char *end = memchr(line, '\n', b.len);
    if (!ok || !end)
        return false;
    *end = '\0';
    return true;
}

int process_interrupted(void) { return interrupted; }
int process_interrupts(void) { return interrupts; }

void process_die(int sig)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(sig, SIG_DFL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, sig);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    raise(sig);
    exit(128 + sig); /* a signal whose default is not to end */
}
