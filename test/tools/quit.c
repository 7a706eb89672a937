/* SPDX-License-Identifier: MIT */
/* quit.c: programs that quit_test.sh sends SIGQUIT to. Each says "ready" once it may be sent, and
 * ends with status 7 when a line is written to its standard input. */
#include <belay.h>
#include <belay/debug.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *which;

static bool is(const char *name) { return strcmp(which, name) == 0; }

static void say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        _exit(9);
}

static void own_handler(int sig)
{
    (void)sig;
    say("own handler called\n");
}

/* Blocks its thread; the runtime goes on. */
static int stdin_wait(void *arg)
{
    char c;
    (void)arg;
    say("ready\n");
    while (read(STDIN_FILENO, &c, 1) < 0)
        ;
    exit(7);
}

static int waiter(void *arg) { return bl_chan_recv(arg, NULL); }

static int spinner(void *arg)
{
    (void)arg;
    for (volatile unsigned n = 0;; n++)
        ;
    return 0;
}

static int noticer(void *arg)
{
    int sig = 0;
    int r = bl_chan_recv((bl_chan *)arg, &sig);
    say(r == 0 && sig == SIGQUIT ? "channel got it\n" : "channel did not get it\n");
    return r;
}

static int main_goroutine(void *arg)
{
    bl_chan *c = bl_scope_chan(bl_root(), sizeof(int), 1);
    bl_stat st;
    (void)arg;
    if (is("notify")) {
        if (bl_notify(bl_root(), c, SIGQUIT) != 0)
            return 1;
        bl_go(bl_root(), noticer, c);
    } else {
        bl_go(bl_root(), waiter, c);
    }
    do /* it waits */
        bl_yield();
    while (bl_stats(&st), st.waiting < 1);
    for (int i = 0; is("busy") && i < 3; i++)
        bl_go(bl_root(), spinner, NULL);
    bl_yield();
    return stdin_wait(NULL);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int quits(void *arg)
{
    (void)arg;
    return raise(SIGQUIT);
}

/* A child has no part in the run, so the signal does there what it does by default. */
static int forks(void *arg)
{
    int status = 0;
    (void)arg;
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        for (;;)
            pause();
    }
    kill(child, SIGQUIT);
    bool killed =
        waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT;
    say(killed ? "child killed\n" : "child not killed\n");
    return 0;
}

int main(int argc, char **argv)
{
    which = argc > 1 ? argv[1] : "";
    if (is("handler"))
        signal(SIGQUIT, own_handler);
    if (is("ignores"))
        signal(SIGQUIT, SIG_IGN);
    if (is("after")) {
        bl_run(nothing, NULL, NULL);
        return stdin_wait(NULL);
    }
    if (is("last"))
        return bl_run(quits, NULL, NULL);
    if (is("child"))
        return bl_run(forks, NULL, NULL);
    bl_options o = {.on_quit = is("option") ? BL_QUIT_DUMP : 0};
    return bl_run(main_goroutine, NULL, &o);
}
