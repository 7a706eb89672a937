/* SPDX-License-Identifier: MIT */
/* A user's program, small and with something of each layer; prints 45. */
#include <belay.h>

#include <stdio.h>

typedef struct work {
    bl_chan *numbers;
    bl_mutex lock;
    int sum;
} work;

static int send(void *arg)
{
    work *w = arg;
    for (int i = 0; i < 10; i++) {
        int err = bl_chan_send(w->numbers, &i);
        if (err)
            return err;
    }
    bl_chan_close(w->numbers);
    return 0;
}

static int add(void *arg)
{
    work *w = arg;
    int n;
    while (bl_chan_recv(w->numbers, &n) == 0) {
        bl_mutex_lock(&w->lock);
        w->sum += n;
        bl_mutex_unlock(&w->lock);
    }
    return 0;
}

static int root(void *arg)
{
    work *w = arg;
    BL_SCOPE(s, .timeout = 20 * BL_SEC, .name = "consume");
    w->numbers = bl_scope_chan(s, sizeof(int), 2);
    bl_go(s, send, w);
    bl_go(s, add, w);
    bl_go(s, add, w);
    return bl_scope_wait(s);
}

int main(void)
{
    work w = {0};
    int err = bl_run(root, &w, NULL);
    printf("%d\n", w.sum);
    return err != 0;
}
