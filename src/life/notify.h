/* SPDX-License-Identifier: MIT */
/*
 * notify.h: signals as a run sees them: what the handler leaves, and what sysmon does with it.
 *
 * The handler only notes the signal in `pending` and wakes sysmon, which comes at once and
 * delivers.
 */
#ifndef BL__LIFE_NOTIFY_H
#define BL__LIFE_NOTIFY_H

#include "core/atomic.h"

typedef struct bl__signal_state {
    uint64_t pending; /* atomic: bit n - 1: signal n has come and is to be delivered */
    uint32_t armed;   /* atomic: channels and the root scope that a signal can still wake */
    uint32_t
        stopped; /* atomic: the signal that cancelled the root scope; while the run has none: 0 */
    int32_t pid; /* immutable in a run: whose signals; the child of a fork has another */
    uint32_t lent_changed; /* atomic: sysmon is to block other signals than it does */
    uint32_t stops; /* atomic: SIGINT and SIGTERM cancel the root scope (bl_options.signals) */
} bl__signal_state;

extern bl__signal_state bl__signals;

/* By sysmon: acts on what is pending. */
static inline bool bl__signals_pending(void) { return load_relaxed(&bl__signals.pending) != 0; }
void bl__signals_deliver(void);

/* By sysmon: takes the signals that nobody else would, and no others. */
static inline bool bl__signals_lent(void)
{
    return load_acquire(&bl__signals.lent_changed) != 0; /* ORD(lent): with lent_changed */
}
void bl__signals_borrow(void);

/* A signal could still wake a goroutine. */
static inline bool bl__signals_armed(void) { return load_relaxed(&bl__signals.armed) != 0; }

/* At the beginning and the end of a run; stops: with bl_options.signals. The end gives all signals
 * back, also those of scopes that were left open. */
void bl__signals_begin(bool stops);
void bl__signals_end(void);

#endif
