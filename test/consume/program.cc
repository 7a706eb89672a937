// SPDX-License-Identifier: MIT
// A user's program in C++17 with what the headers offer there; prints 45.
#include <belay.h>
#include <belay/version.h>

#include <cstdio>

struct work {
    bl_chan *numbers;
    bl_chan *quit;
    int sum;
};

static int send(void *arg)
{
    work *w = static_cast<work *>(arg);
    for (int i = 0; i < 10; i++) {
        int err = bl_chan_send(w->numbers, &i);
        if (err)
            return err;
    }
    bl_chan_close(w->quit);
    return 0;
}

static int root(void *arg)
{
    work *w = static_cast<work *>(arg);
    BL_SCOPE(s, .timeout = 20 * BL_SEC, .name = "consume");
    w->numbers = bl_scope_chan(s, sizeof(int), 0);
    w->quit = bl_scope_chan(s, 0, 0);
    bl_go(s, send, w);
    for (;;) {
        int n = 0;
        int which = BL_SELECT(BL_RECV(w->numbers, &n), BL_RECV(w->quit, nullptr));
        if (which != 0)
            break;
        w->sum += n;
    }
    return bl_scope_wait(s);
}

int main()
{
    work w = {};
    int err = bl_run(root, &w, nullptr);
    std::printf("%d\n", w.sum);
    return err != 0;
}
