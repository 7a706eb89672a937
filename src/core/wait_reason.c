/* SPDX-License-Identifier: MIT */
/*
 * wait_reason.c: what a goroutine waits for, as reports say it.
 *
 * The words are those of Go's runtime (runtime2.go, waitReasonStrings) where Go has them, since
 * tools and people know them; the rest are named after the call that waits.
 */
#include "core/sched.h"

const char *const bl__reason_texts[BL__WAIT_REASONS] = {
    [BL__WAIT_NONE] = "",
    [BL__WAIT_CHAN_RECV] = "chan receive",
    [BL__WAIT_CHAN_SEND] = "chan send",
    [BL__WAIT_CHAN_RECV_NIL] = "chan receive (nil chan)",
    [BL__WAIT_CHAN_SEND_NIL] = "chan send (nil chan)",
    [BL__WAIT_SELECT] = "select",
    [BL__WAIT_SELECT_NONE] = "select (no cases)",
    [BL__WAIT_SLEEP] = "sleep",
    [BL__WAIT_IO] = "IO wait",
    [BL__WAIT_MUTEX] = "sync.Mutex.Lock",
    [BL__WAIT_RW_RLOCK] = "sync.RWMutex.RLock",
    [BL__WAIT_RW_LOCK] = "sync.RWMutex.Lock",
    [BL__WAIT_COND] = "sync.Cond.Wait",
    [BL__WAIT_WAITGROUP] = "sync.WaitGroup.Wait",
    [BL__WAIT_ONCE] = "sync.Once.Do",
    [BL__WAIT_SEM] = "semaphore",
    [BL__WAIT_SCOPE] = "scope wait",
    [BL__WAIT_SCOPE_ROOM] = "scope limit",
    [BL__WAIT_TIMER] = "timer stop wait",
    [BL__WAIT_POOL_SUBMIT] = "pool submit",
    [BL__WAIT_POOL_JOIN] = "pool wait",
    [BL__WAIT_BUBBLE] = "bubble wait",
    [BL__WAIT_BLOCKING] = "blocking call",
};

const char *bl__reason_text(bl__reason r)
{
    if ((unsigned)r >= BL__WAIT_REASONS || bl__reason_texts[r] == NULL)
        return "waiting";
    return bl__reason_texts[r];
}
