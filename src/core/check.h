/* SPDX-License-Identifier: MIT */
/* check.h: invariants, executed in debug builds. */
#ifndef BL__CORE_CHECK_H
#define BL__CORE_CHECK_H

#include "core/sched.h"

#ifdef BL__DEBUG
#define BL__CHECK(cond)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            bl__fatal("belay: invariant broken: %s (%s:%d)", #cond, __FILE__, __LINE__);           \
    } while (0)
#else
#define BL__CHECK(cond) ((void)0)
#endif

#endif
