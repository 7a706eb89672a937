/* SPDX-License-Identifier: MIT */
/* What limits_test.sh runs under limits, signals, debuggers and the like: program CASE [NUMBER]. */
#define _GNU_SOURCE /* NOLINT: what the C library reads */
#include <belay.h>
#include <belay/debug.h>
#include <belay/map.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOPS = 4, PLAIN_THREADS = 40, FORKS = 12 };

static long number; /* the second argument */

/* Says how it ended, for the script to check: 0, or 1 for what a caller can act on. */
static int end(const char *what, int r)
{
    if (r < 0)
        printf("%s: %s\n", what, bl_err_name(r));
    else
        printf("%s: done\n", what);
    return r < 0;
}

/* ---- Many goroutines ------------------------------------------------------------------------- */

static atomic_long passed;

static int pass(void *arg)
{
    char frame[2000]; /* of the stack, which has to be there */
    memset(frame, (int)passed, sizeof frame);
    int r = bl_chan_recv(arg, frame + 17);
    atomic_fetch_add(&passed, 1);
    return r == BL_ECLOSED ? 0 : r;
}

static int crowd(void *arg)
{
    (void)arg;
    long started = 0;
    int r = 0;
    passed = 0;
    BL_SCOPE(s);
    bl_chan *gate = bl_scope_chan(s, 1, 0);
    if (!gate)
        return BL_ENOMEM;
    while (started < number && (r = bl_go(s, pass, gate)) == 0)
        started++;
    for (int i = 0; i < 100; i++)
        bl_yield();
    bl_chan_close(gate);
    int joined = bl_scope_wait(s);
    if (joined == 0 && passed != started)
        printf("lost: %ld of %ld\n", started - passed, started);
    return r < 0 ? r : joined;
}

static int run_crowd(void) { return end("crowd", bl_run(crowd, NULL, NULL)); }

/* ---- Busy goroutines, for whoever disturbs them ---------------------------------------------- */

static atomic_bool enough;
static atomic_long rounds;
static atomic_long sum; /* of what was sent, less what was received */

static int ping(void *arg)
{
    int r = 0;
    while (!enough && r == 0) {
        long v = atomic_fetch_add(&rounds, 1) + 1;
        r = bl_chan_send(arg, &v);
        if (r == 0)
            atomic_fetch_add(&sum, v);
    }
    return r;
}

static int pong(void *arg)
{
    long v;
    int r = 0;
    while ((r = bl_chan_recv(arg, &v)) == 0) {
        atomic_fetch_sub(&sum, v);
        bl_yield();
    }
    return r == BL_ECLOSED ? 0 : r;
}

/* Keeps all processors at work in s until enough. The channel to be closed then. */
static bl_chan *busy_start(bl_scope *s)
{
    bl_chan *c = bl_scope_chan(s, sizeof(long), 0);
    for (int i = 0; i < LOOPS; i++) {
        bl_go(s, ping, c);
        bl_go(s, pong, c);
    }
    return c;
}

/* The sends end first, then the receives. */
static int busy_end(bl_scope *s, bl_chan *c)
{
    enough = true;
    (void)!bl_sleep(20 * BL_MS);
    bl_chan_close(c);
    int r = bl_scope_wait(s);
    if (r == 0 && (sum != 0 || rounds == 0))
        printf("%ld rounds, and %ld between sent and received\n", rounds, sum);
    return r == BL_ECLOSED ? 0 : r;
}

/* ---- Fork ------------------------------------------------------------------------------------ */

static int wait_for(pid_t child)
{
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static pid_t start_child(int how)
{
    char *const command[] = {"sh", "-c", "exit 7", NULL};
    pid_t child = -1;
    if (how % 3 == 2) {
        errno = posix_spawn(&child, "/bin/sh", NULL, NULL, command, environ);
        return errno == 0 ? child : -1;
    }
    child = fork();
    if (child != 0)
        return child;
    if (how % 3 == 0)
        execv("/bin/sh", command);
    char text[40]; /* plain libc */
    free(malloc((size_t)how * 1000 + 1));
    snprintf(text, sizeof text, "%d", how);
    _exit(atoi(text) == how && bl_id() != 0 && bl_now() > 0 ? 7 : 8);
}

static int fork_one(void *arg)
{
    int how = *(const int *)arg;
    pid_t child = start_child(how);
    int status = wait_for(child);
    if (child > 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 7)) {
        printf("child %d: status 0x%x\n", how, (unsigned)status);
        return BL_EIO;
    }
    return child > 0 ? 0 : -errno;
}

static int forks(void *arg)
{
    (void)arg;
    BL_SCOPE(busy, .keep_going = true);
    bl_chan *c = busy_start(busy);
    int r;
    {
        BL_SCOPE(s);
        for (int i = 0; i < FORKS; i++)
            bl_go_copy(s, fork_one, &i, sizeof i);
        r = bl_scope_wait(s);
    }
    int ended = busy_end(busy, c);
    return r < 0 ? r : ended;
}

/* After the run a child is a process like any other, and can have runs of its own. */
static int run_forks(void)
{
    int r = bl_run(forks, NULL, NULL);
#ifdef NO_THREADS_AFTER_FORK
    return end("forks", r);
#endif
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        number = 300;
        _exit(bl_run(crowd, NULL, NULL) == 0 && bl_run(crowd, NULL, NULL) == 0 ? 7 : 8);
    }
    int status = wait_for(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
        printf("runs of the child: status 0x%x\n", (unsigned)status);
    return end("forks", r);
}

static void *write_on(void *arg)
{
    static const char much[1 << 20];
    while (bl_write(*(const int *)arg, much, sizeof much) > 0)
        ;
    return NULL;
}

static void *read_on(void *arg)
{
    static char much[1 << 16];
    while (read(*(const int *)arg, much, sizeof much) > 0)
        ;
    return NULL;
}

/* Without a run: a child closes what threads write to that are not in it. */
static int run_writers(void)
{
    int ends[2], r = pipe(ends);
    pthread_t thread;
    for (int i = 0; r == 0 && i < 3; i++)
        r = pthread_create(&thread, NULL, i == 0 ? read_on : write_on, i == 0 ? ends : ends + 1);
    for (int i = 0; r == 0 && i < FORKS; i++) {
        usleep(500);
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            _exit(bl_close(ends[1]) == 0 ? 7 : 8);
        }
        int status = wait_for(child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
            printf("child %d: status 0x%x\n", i, (unsigned)status), r = -1;
    }
    return end("writers", r);
}

/* ---- A child that goes on as if it had the runtime's threads --------------------------------- */

enum {
    STRAY_GO,
    STRAY_RECV,
    STRAY_SLEEP,
    STRAY_YIELD,
    STRAY_LOCK,
    STRAY_WAKE,
    STRAY_RUN,
    STRAY_RETURN
};

static bl_mutex stray_lock;
static bl_chan *stray_chan;

static int stray_holder(void *arg)
{
    (void)arg;
    bl_mutex_lock(&stray_lock);
    int r = bl_chan_recv(stray_chan, NULL);
    bl_mutex_unlock(&stray_lock);
    return r == BL_ECLOSED ? 0 : r;
}

/* What the child does; it comes back from none but the last. */
static void stray_call(void)
{
    switch (number) {
    case STRAY_GO: {
        BL_SCOPE(s);
        bl_go(s, stray_holder, NULL);
        break;
    }
    case STRAY_RECV: (void)!bl_chan_recv(bl_ctx_done(bl_ctx_current()), NULL); break;
    case STRAY_SLEEP: (void)!bl_sleep(BL_MS); break;
    case STRAY_YIELD:
        for (;;)
            bl_yield();
    case STRAY_LOCK: bl_mutex_lock(&stray_lock); break;
    case STRAY_WAKE: bl_chan_close(stray_chan); break;
    case STRAY_RUN: (void)bl_run(stray_holder, NULL, NULL); break;
    default: return;
    }
    _exit(9);
}

static int stray(void *arg)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        stray_call();
        return 0;
    }
    int status = wait_for(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 2)
        printf("child: status 0x%x\n", (unsigned)status);
    (void)arg;
    return 0;
}

static int stray_main(void *arg)
{
    (void)arg;
    BL_SCOPE(s);
    bl_stat st;
    stray_chan = bl_scope_chan(s, 0, 0);
    bl_go(s, stray_holder, NULL);
    do /* it has the lock, and waits */
        bl_yield();
    while (bl_stats(&st), st.waiting < 1);
    {
        BL_SCOPE(children);
        bl_go(children, stray, NULL);
        (void)bl_scope_wait(children);
    }
    bl_chan_close(stray_chan);
    return bl_scope_wait(s);
}

static int run_stray(void) { return end("stray", bl_run(stray_main, NULL, NULL)); }

/* ---- Signals --------------------------------------------------------------------------------- */

static atomic_long handled;
static atomic_bool sent;

static void on_usr1(int sig)
{
    char frame[4096]; /* on the goroutine's stack */
    int before = errno;
    memset(frame, sig, sizeof frame);
    atomic_fetch_add(&handled, frame[atomic_load(&handled) % 4096] == sig);
    errno = before;
}

/* From inside, to the process and to each thread in turn; and from outside. */
static void *send_signals(void *arg)
{
    pid_t self = getpid(), main_thread = *(pid_t *)arg;
    pid_t outside = fork();
    for (int i = 0; outside == 0 && i < 300; i++) {
        kill(self, SIGUSR1);
        usleep(100);
    }
    if (outside == 0)
        _exit(0);
    for (int i = 0; i < 2000; i++) {
        kill(self, SIGUSR1);
        syscall(SYS_tgkill, self, main_thread + i % 6, SIGUSR1); /* the first waits in bl_run */
        if (i % 64 == 0)
            usleep(1000);
    }
    wait_for(outside);
    sent = true;
    return NULL;
}

static int sleep_and_check(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        bl_time began = bl_now();
        int r = bl_sleep(2 * BL_MS);
        if (r < 0 || bl_now() - began < 2 * BL_MS)
            return BL_EINTR;
    }
    return 0;
}

static int signals(void *arg)
{
    pthread_t sender;
    BL_SCOPE(s, .keep_going = true);
    if (pthread_create(&sender, NULL, send_signals, arg) != 0)
        return BL_EAGAIN;
    bl_chan *c = busy_start(s);
    bl_go(s, sleep_and_check, NULL);
    int r = 0;
    while (r == 0 && !sent)
        r = bl_sleep(BL_MS);
    pthread_join(sender, NULL);
    int ended = busy_end(s, c);
    return r < 0 ? r : ended;
}

static int run_signals(void)
{
    pid_t self = gettid();
    struct sigaction sa = {.sa_handler = on_usr1, .sa_flags = number != 0 ? SA_RESTART : 0};
    struct itimerval kilohertz = {{0, 1000}, {0, 1000}};
    sigaction(SIGUSR1, &sa, NULL);
    sigaction(SIGPROF, &sa, NULL);
    setitimer(ITIMER_PROF, &kilohertz, NULL);
    int r = bl_run(signals, &self, NULL);
    if (handled == 0)
        printf("no signal was handled\n");
    return end("signals", r);
}

/* ---- A debugger ------------------------------------------------------------------------------ */

/* Works until a debugger has come and gone, which the script says with SIGTERM. */
static int debugged(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .keep_going = true);
    bl_chan *c = busy_start(s);
    printf("pid %d\n", (int)getpid());
    fflush(stdout);
    int r = 0;
    bl_chan *never = NULL;
    while (r == 0 || r == BL_ETIMEDOUT)
        r = bl_chan_recv_until(never, NULL, bl_in(5 * BL_MS));
    (void)busy_end(s, c);
    return r == BL_ECANCELED ? 0 : r;
}

static int run_debugged(void)
{
    return end("debugged", bl_run(debugged, NULL, &(bl_options){.signals = 1}));
}

/* ---- Plain threads --------------------------------------------------------------------------- */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static atomic_bool threads_stop;

static void *plain(void *arg)
{
    bl_chan *c = arg; /* NULL: it never calls in */
    for (long n = 0; !threads_stop; n++) {
        free(malloc((size_t)n % 5000 + 1));
        if (c && bl_chan_send_until(c, &n, bl_in(BL_MS)) == BL_ECLOSED)
            c = NULL;
        usleep(300);
    }
    return NULL;
}

static int receive_some(void *arg)
{
    long v;
    for (int i = 0; i < 500; i++) {
        int r = bl_chan_recv(arg, &v);
        if (r < 0)
            return r;
    }
    return 0;
}

typedef struct thread_call {
    bl_chan *c;
    int result;
} thread_call;

static void *run_on_thread(void *arg)
{
    thread_call *call = arg;
    call->result = bl_run(receive_some, call->c, NULL);
    return NULL;
}

/* The run is started by one of them, and the main thread is another. */
static int run_threads(void)
{
    pthread_t threads[PLAIN_THREADS], runner;
    thread_call call = {bl_chan_new(sizeof(long), 1), 0};
    int started = 0;
    while (started < PLAIN_THREADS &&
           pthread_create(&threads[started], NULL, plain, started % 2 ? call.c : NULL) == 0)
        started++;
    if (pthread_create(&runner, NULL, run_on_thread, &call) == 0)
        pthread_join(runner, NULL);
    for (int i = 0; i < 20 && call.result == 0; i++)
        call.result = bl_run(nothing, NULL, NULL);
    threads_stop = true;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    bl_chan_release(call.c);
    return end("threads", call.result);
}

/* ---- Who else calls bl_run ------------------------------------------------------------------- */

static atomic_int runs_done, runs_refused;

static int run_inside(void *arg)
{
    (void)arg;
    if (bl_run(nothing, NULL, NULL) != BL_EBUSY)
        printf("a run in a run\n");
    return bl_sleep(BL_MS);
}

static void *run_often(void *arg)
{
    for (int i = 0; i < 20; i++) {
        int r = bl_run(run_inside, NULL, NULL);
        if (r == 0)
            atomic_fetch_add(&runs_done, 1);
        else if (r == BL_EBUSY)
            atomic_fetch_add(&runs_refused, 1);
        else
            printf("bl_run: %s\n", bl_err_name(r));
    }
    return arg;
}

static int run_callers(void)
{
    pthread_t threads[8];
    int started = 0;
    while (started < 8 && pthread_create(&threads[started], NULL, run_often, NULL) == 0)
        started++;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (runs_done == 0 || runs_done + runs_refused != started * 20)
        printf("%d runs, %d refused\n", runs_done, runs_refused);
    int r = bl_run(run_inside, NULL, NULL); /* two in a row */
    return end("callers", r < 0 ? r : bl_run(run_inside, NULL, NULL));
}

/* ---- Nobody ever wakes it -------------------------------------------------------------------- */

static int deadlock(void *arg)
{
    (void)arg;
    bl_chan *c = bl_chan_new(0, 0);
    return bl_chan_recv(c, NULL);
}

static int run_deadlock(void) { return end("deadlock", bl_run(deadlock, NULL, NULL)); }

/* ---- A filter that lets no thread be made, and says so in a way of its own ---------------------- */

static bool call_refuse(unsigned number)
{
    struct sock_filter refuse[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof refuse / sizeof *refuse, refuse};
    return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static int run_filtered(void)
{
    return call_refuse(SYS_clone3) ? end("filtered", bl_run(crowd, NULL, NULL)) : 2;
}

/* ---- Or one by which goroutines that are stuck are known -------------------------------------- */

static int wait_for_nobody(void *arg)
{
    (void)arg;
    return bl_chan_recv(bl_chan_new(0, 0), NULL);
}

/* Until something was said on stderr. */
static int leak(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "leaks");
    bl_go(s, wait_for_nobody, NULL);
    while (lseek(STDERR_FILENO, 0, SEEK_END) == 0) {
        int r = bl_sleep(BL_MS);
        if (r < 0)
            return r;
    }
    bl_scope_cancel(s, 0);
    return 0;
}

static int run_blind(unsigned refused)
{
    int ends[2];
    if (pipe(ends) != 0 || write(ends[1], "12345678", 8) != 8 || !call_refuse(refused))
        return 2;
    return end("blind", bl_run(leak, NULL, NULL));
}

static int run_no_prctl(void) { return run_blind(SYS_prctl); }
static int run_no_pipe2(void) { return run_blind(SYS_pipe2); }
static int run_no_tee(void) { return run_blind(SYS_tee); }

/* ---- Started without standard streams, whose numbers stay free ---------------------------------- */

static int nap(void *arg)
{
    (void)arg;
    return usleep(1000);
}

static int use_all(void *arg)
{
    int ends[2], none = 0;
    char byte;
    (void)arg;
    if (pipe(ends) != 0)
        return BL_ENOMEM;
    int from = fcntl(ends[0], F_DUPFD, 100), to = fcntl(ends[1], F_DUPFD, 100);
    close(ends[0]);
    close(ends[1]);
    if (bl_read_until(from, &byte, 1, bl_in(BL_MS)) != BL_ETIMEDOUT || bl_blocking(nap, NULL) != 0)
        return BL_EIO;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        none += fcntl(fd, F_GETFD) < 0;
    close(from);
    close(to);
    return none == 3 ? 0 : BL_EBADF;
}

static int run_streams(void) { return bl_run(use_all, NULL, NULL) != 0; }

/* ---- What is held by globals until the end ------------------------------------------------------ */

static bl_chan *kept_chan;
static bl_syncmap *kept_map;

static int wait_for_ever(void *arg) { return bl_chan_recv(arg, NULL); }

static int keep(void *arg)
{
    int ends[2];
    char byte = 0;
    (void)arg;
    kept_chan = bl_chan_new(sizeof(int), 3);
    kept_map = bl_syncmap_new(sizeof(int));
    if (kept_chan == NULL || kept_map == NULL || pipe(ends) != 0 ||
        bl_syncmap_store(kept_map, &(int){1}, kept_chan) < 0 || bl_write(ends[1], &byte, 1) != 1)
        return BL_ENOMEM;
    BL_SCOPE(s);
    for (int i = 0; i < 20; i++)
        bl_go(s, wait_for_ever, kept_chan);
    bl_yield();
    (void)bl_leaks(NULL, 0); /* reads all memory, whatever is in it */
    return bl_read(ends[0], &byte, 1) == 1 ? 0 : BL_EIO;
}

static int run_kept(void) { return end("kept", bl_run(keep, NULL, NULL)); }

/* ---- Runs after one that has left goroutines behind ------------------------------------------ */

static int hold[2]; /* a pipe */
static bl_mutex never_free;
static atomic_bool blocks;

static int wait_for_lock(void *arg)
{
    (void)arg;
    bl_mutex_lock(&never_free); /* no stop path */
    bl_mutex_unlock(&never_free);
    return 0;
}

static int block_thread(void *arg)
{
    char byte;
    (void)arg;
    blocks = true;
    return read(hold[0], &byte, 1) == 1 ? 0 : BL_EIO;
}

static int leave_parked(void *arg)
{
    bl_mutex_lock(&never_free);
    for (int i = 0; i < 5; i++)
        bl_go(bl_root(), wait_for_lock, NULL);
    (void)arg;
    return bl_sleep(BL_MS);
}

static int leave_blocked(void *arg)
{
    (void)arg;
    bl_go(bl_root(), block_thread, NULL);
    int r = 0;
    while (r == 0 && !blocks)
        r = bl_sleep(BL_MS);
    return r;
}

static int run_again(void)
{
    number = 300;
    int first = bl_run(leave_parked, NULL, NULL);
    int second = bl_run(crowd, NULL, NULL);
    if (first < 0 || second < 0)
        return end("after parked ones", first < 0 ? first : second);
    /* One processor would go with the thread that is blocked. */
    if (pipe(hold) < 0 || (first = bl_run(leave_blocked, NULL, &(bl_options){.procs = 2})) < 0)
        return end("with a blocked thread", first);
    second = bl_run(nothing, NULL, NULL);
    if (second != BL_EBUSY)
        printf("not busy: %s\n", bl_err_name(second));
    if (write(hold[1], "x", 1) != 1)
        return 1;
    for (int i = 0; i < 5000 && second == BL_EBUSY; i++) {
        usleep(1000);
        second = bl_run(nothing, NULL, NULL);
    }
    if (second == 0)
        second = bl_run(crowd, NULL, NULL);
    return end("again", second);
}

/* ---- What one run has left is woken in a later one ------------------------------------------- */

static atomic_int late_step; /* 1: the thread has the lock, 2: it is to unlock it, 3: it has */
static atomic_int late_woken;

static int late_locker(void *arg)
{
    (void)arg;
    bl_mutex_lock(&never_free);
    late_woken++;
    bl_mutex_unlock(&never_free);
    return BL_EIO; /* would cancel the root scope */
}

static void *late_thread(void *arg)
{
    bl_mutex_lock(&never_free);
    late_step = 1;
    while (late_step != 2)
        usleep(100);
    bl_mutex_unlock(&never_free);
    late_step = 3;
    return arg;
}

static int late_leave(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        bl_go(bl_root(), late_locker, NULL);
    return bl_sleep(BL_MS);
}

static int stay(void *arg) { return bl_chan_recv(arg, NULL) == BL_ECLOSED ? 0 : BL_EIO; }

static int late_next(void *arg)
{
    int r = 0;
    bl_chan *c = bl_scope_chan(bl_root(), 0, 0);
    (void)arg;
    bl_go(bl_root(), stay, c);
    bl_go(bl_root(), stay, c);
    late_step = 2;
    while (r == 0 && late_step != 3)
        r = bl_sleep(BL_MS);
    bl_mutex_lock(&never_free); /* those who wait for it are of another run, and passed over */
    bl_mutex_unlock(&never_free);
    if (bl_goroutines() != 3)
        printf("%zu goroutines\n", bl_goroutines());
    bl_chan_close(c);
    return r;
}

static int run_late(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, late_thread, NULL) != 0)
        return end("late", BL_EAGAIN);
    while (late_step != 1)
        usleep(100);
    int r = bl_run(late_leave, NULL, NULL);
    if (r == 0)
        r = bl_run(late_next, NULL, NULL);
    pthread_join(thread, NULL);
    number = 300;
    if (r == 0)
        r = bl_run(crowd, NULL, NULL);
    if (late_woken != 0 || late_step != 3)
        printf("woken: %d, step %d\n", late_woken, late_step);
    return end("late", r);
}

/* ---- A crash of which the kernel lets nothing come ---- */

static int raises(void *arg)
{
    (void)arg;
    return raise(SIGSEGV);
}

static int run_raises(void) { return end("raises", bl_run(raises, NULL, NULL)); }

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } cases[] = {
        {"crowd", run_crowd},       {"forks", run_forks},       {"signals", run_signals},
        {"debugged", run_debugged}, {"threads", run_threads},   {"again", run_again},
        {"stray", run_stray},       {"late", run_late},         {"callers", run_callers},
        {"deadlock", run_deadlock}, {"writers", run_writers},   {"filtered", run_filtered},
        {"no prctl", run_no_prctl}, {"no pipe2", run_no_pipe2}, {"no tee", run_no_tee},
        {"kept", run_kept},         {"streams", run_streams},   {"raises", run_raises},
    };
    number = argc > 2 ? atol(argv[2]) : 100;
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof *cases; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            return cases[i].run();
    return argc > 1; /* nothing, to see whether a program can start at all */
}
