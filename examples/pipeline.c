/* SPDX-License-Identifier: MIT */
/*
 * pipeline: stages joined by channels, as in Go's "Pipelines and cancellation".
 *
 *     numbers ──> squares × 4 ──> the sum, in the main goroutine
 *
 * The life cycle runs from front to back. A stage owns the channel that it sends to, and closes it
 * when it has no more to send; that is how the next one learns to end. Of several senders nobody
 * can know alone that he is the last, so the four squarers are joined by the goroutine that started
 * them, and it closes the channel. If anything went wrong, the scope would be cancelled, each send
 * and receive would return BL_ECANCELED, and all stages would return: nothing stays blocked on a
 * channel that nobody reads any more.
 */
#include <belay.h>

#include <stdio.h>

enum { COUNT = 1000, SQUARERS = 4 };

typedef struct pipeline {
    bl_chan *numbers; /* closed by generate */
    bl_chan *squares; /* closed by square_all */
} pipeline;

static int generate(void *arg)
{
    pipeline *p = arg;
    int r = 0;
    for (int64_t i = 1; i <= COUNT && r == 0; i++)
        r = bl_chan_send(p->numbers, &i);
    bl_chan_close(p->numbers);
    return r;
}

static int square(void *arg)
{
    pipeline *p = arg;
    int64_t n;
    int r;
    while ((r = bl_chan_recv(p->numbers, &n)) == 0) {
        n *= n;
        r = bl_chan_send(p->squares, &n);
        if (r < 0)
            return r;
    }
    return r == BL_ECLOSED ? 0 : r; /* the end of the input is no error */
}

static int square_all(void *arg)
{
    pipeline *p = arg;
    BL_SCOPE(s, .name = "squarers");
    for (int i = 0; i < SQUARERS; i++)
        bl_go(s, square, p);
    int r = bl_scope_wait(s);
    bl_chan_close(p->squares);
    return r;
}

static int main_goroutine(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "pipeline");
    pipeline p = {
        .numbers = bl_scope_chan(s, sizeof(int64_t), 0),
        .squares = bl_scope_chan(s, sizeof(int64_t), 16),
    };
    if (!p.numbers || !p.squares)
        return BL_ENOMEM;
    bl_go(s, generate, &p);
    bl_go(s, square_all, &p);

    int64_t n, count = 0, sum = 0;
    while (bl_chan_recv(p.squares, &n) == 0) {
        count++;
        sum += n;
    }
    printf("%lld squares, sum %lld\n", (long long)count, (long long)sum);
    return bl_scope_wait(s);
}

int main(void) { return bl_run(main_goroutine, NULL, NULL) < 0; }
