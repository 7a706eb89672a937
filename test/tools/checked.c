/* SPDX-License-Identifier: MIT */
/* checked.c: a little of everything, for a checker of memory. With an argument, what it has to find:
 * leak, or uninitialised. */
#include <belay.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 100 };

typedef struct shared {
    bl_scope *scope;
    bl_chan *values, *never;
    bl_mutex mutex;
    long sum; /* lock: mutex */
    int fds[2];
} shared;

static int sends(void *arg)
{
    shared *sh = arg;
    for (int i = 0; i < 10; i++) {
        int err = bl_chan_send(sh->values, &i);
        if (err)
            return err;
    }
    return bl_sleep(BL_MS);
}

static int receives(void *arg)
{
    shared *sh = arg;
    for (int i = 0; i < 10; i++) {
        int v = 0, chosen = BL_SELECT(BL_RECV(sh->values, &v), BL_RECV(sh->never, NULL));
        if (chosen != 0)
            return chosen;
        bl_mutex_lock(&sh->mutex);
        sh->sum += v;
        bl_mutex_unlock(&sh->mutex);
    }
    return 0;
}

static int reads(void *arg)
{
    shared *sh = arg;
    char c;
    return bl_read(sh->fds[0], &c, 1) == 1 ? 0 : BL_EIO;
}

static int waits_for_ticks(void *arg)
{
    shared *sh = arg;
    bl_ticker *ticker = bl_ticker_new(sh->scope, BL_MS);
    bl_time at;
    int r = ticker == NULL ? BL_ENOMEM : bl_chan_recv(bl_ticker_chan(ticker), &at);
    bl_ticker_stop(ticker);
    return r;
}

static int naps(void *arg)
{
    (void)arg;
    usleep(1000);
    return 0;
}

static int loses(void *arg)
{
    char *volatile lost = malloc(77);
    lost[0] = *(char *)arg;
    lost = NULL;
    return 0;
}

static int decides(void *arg)
{
    int *volatile p = malloc(sizeof *p);
    int r = *p == 7 ? bl_yield(), 1 : 0;
    free(p);
    (void)arg;
    return r == 2;
}

static int root(void *arg)
{
    const char *fault = arg;
    shared sh = {0};
    if (pipe(sh.fds) != 0)
        return BL_EIO;
    BL_SCOPE(s);
    sh.scope = s;
    sh.values = bl_scope_chan(s, sizeof(int), 4);
    sh.never = bl_scope_chan(s, 0, 0);
    int err = 0;
    for (int i = 0; i < MANY && err == 0; i++)
        err = bl_go(s, i % 2 ? sends : receives, &sh);
    if (err == 0)
        err = bl_go(s, reads, &sh);
    if (err == 0)
        err = bl_go(s, waits_for_ticks, &sh);
    if (err == 0 && strcmp(fault, "leak") == 0)
        err = bl_go(s, loses, arg);
    if (err == 0 && strcmp(fault, "uninitialised") == 0)
        err = bl_go(s, decides, arg);
    if (err == 0)
        err = bl_blocking(naps, NULL);
    if (err == 0 && bl_write(sh.fds[1], "x", 1) != 1)
        err = BL_EIO;
    int r = bl_scope_wait(s);
    bl_close(sh.fds[0]);
    bl_close(sh.fds[1]);
    return err != 0 ? err : r != 0 ? r : sh.sum == MANY / 2 * 45 ? 0 : BL_EINVAL;
}

int main(int argc, char **argv)
{
    return bl_run(root, argc > 1 ? argv[1] : "", &(bl_options){.stack_size = 128 << 10}) == 0 ? 0
                                                                                              : 1;
}
