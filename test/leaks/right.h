/* SPDX-License-Identifier: MIT */
/* right.h: what the programs that are all right have in common: they wait for long, and receive, and send. */
#ifndef BL_TEST_LEAKS_RIGHT_H
#define BL_TEST_LEAKS_RIGHT_H

#include "leaks.h"

#define LONG (700 * BL_MS) /* long enough for the finder to look a few times */

static inline int nap(bl_dur d) { return bl_sleep(d) < 0 ? 1 : 0; }

static inline int recv_one(void *arg)
{
    int v;
    return bl_chan_recv((bl_chan *)arg, &v);
}

static inline int recv_all(void *arg)
{
    int v;
    while (bl_chan_recv((bl_chan *)arg, &v) == 0)
        continue;
    return 0;
}

static inline int send_one(void *arg)
{
    int v = 1;
    return bl_chan_send((bl_chan *)arg, &v);
}

#endif
