/* SPDX-License-Identifier: MIT */
/* stall.h: for the examples that call into other libraries: how long were the goroutines held up? */
#ifndef EXAMPLES_STALL_H
#define EXAMPLES_STALL_H

#include <belay.h>

/* A goroutine that wants to run every millisecond, until it is cancelled. By how much the gap between
 * two of its turns is longer than that is what all the others together have held it up. The worst
 * goes to *arg, a bl_dur, to be read after the join. */
static int stall_watch(void *arg)
{
    bl_dur *worst = arg;
    BL_SCOPE(own, .name = "ticker");
    bl_ticker *ticker = bl_ticker_new(own, BL_MS);
    if (!ticker)
        return BL_ENOMEM;
    bl_time last = bl_now();
    int r;
    while ((r = bl_chan_recv(bl_ticker_chan(ticker), NULL)) == 0) {
        bl_time now = bl_now();
        bl_dur late = now - last - BL_MS;
        if (late > *worst)
            *worst = late;
        last = now;
    }
    return r;
}

#endif
