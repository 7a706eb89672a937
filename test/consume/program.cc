// SPDX-License-Identifier: MIT
// A user's program in C++17 with what the headers offer there; prints 45.
#include <belay.h>
#include <belay/test.h>
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

/* Each handles its own exception while the other does, and throws it on. */
static int handle(bl_chan *out, bl_chan *in, int number)
{
    try {
        try {
            throw number;
        } catch (int) {
            int err = out ? bl_chan_send(out, nullptr) : 0;
            if (!err)
                err = bl_chan_recv(in, nullptr);
            if (err)
                return err;
            throw;
        }
    } catch (int caught) {
        int err = out ? 0 : bl_chan_send(in, nullptr);
        return err ? err : caught == number ? 0 : BL_EPROTO;
    }
}

static int first(void *arg) { return handle(nullptr, static_cast<bl_chan *>(arg), 1); }

static int second(void *arg)
{
    return handle(static_cast<bl_chan *>(arg), static_cast<bl_chan *>(arg), 2);
}

static int exceptions(void *)
{
    BL_SCOPE(s, .timeout = 20 * BL_SEC);
    bl_chan *turns = bl_scope_chan(s, 0, 0);
    bl_go(s, first, turns);
    bl_go(s, second, turns);
    return bl_scope_wait(s);
}

static int root(void *arg)
{
    work *w = static_cast<work *>(arg);
    BL_SCOPE(s, .timeout = 20 * BL_SEC, .name = "consume");
    w->numbers = bl_scope_chan(s, sizeof(int), 0);
    w->quit = bl_scope_chan(s, 0, 0);
    bl_go(s, send, w);
    for (;;) {
        int n; /* a receive gives it a value: compilers warn of none */
        int which = BL_TRY_SELECT(BL_RECV(w->numbers, &n), BL_RECV(w->quit, nullptr));
        if (which == BL_EAGAIN)
            which = BL_SELECT(BL_RECV(w->numbers, &n), BL_RECV(w->quit, nullptr));
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
    if (!err)
        err = bl_run(exceptions, nullptr, nullptr);
    std::printf("%d\n", w.sum);
    return err != 0;
}
