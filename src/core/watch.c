/* SPDX-License-Identifier: MIT */
/*
 * watch.c: sysmon's sleep between two looks, which those it watches put off.
 *
 * sysmon has to look at a processor 1.5 ms after that has last done anything, since its thread may
 * have blocked. For one that goes on all the time the looks find nothing, and each is a thread to
 * be woken, 15 to 40 us of a virtual machine's CPU. So a processor that reads the clock anyway, at
 * its 64th picks, says when that was (p->fed), and as long as all that are busy have done so lately,
 * sysmon sleeps by a timer of the kernel's (timerfd) which they set to a later time: a system call
 * every 0.75 ms or more instead of a thread. Who blocks, computes or has no time to read does not,
 * and sysmon looks as soon as ever. It looks after PUT_OFF_MOST whatever they say, for its chores.
 *
 * Who puts it off sets `until` first, and the timer then; so does sysmon. Where two meet the timer
 * may end up with the earlier of their times, and sysmon looks too early. A wake is not lost: who
 * sets the timer, and may have taken back what the waker set, looks for one afterwards.
 *
 * Without a descriptor for the timer sysmon sleeps as usual; nobody puts that off.
 */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "core/proc.h"
#include "os/os.h"

#define PUT_OFF_MOST (20 * BL_MS)
#define PUT_OFF_TRACED (3 * BL_MS)  /* to see that what is recorded does not become too much */
#define PUT_OFF_LEAST (250 * BL_US) /* it is not put off by less */

static int timer_fd(void) { return load_relaxed(&bl__rt.watch.timer) - 1; }

/* Kept until the process ends: a thread may be about to set it when a run is over. */
void bl__watch_open(void)
{
    bl__watch *w = &bl__rt.watch;
    store_relaxed(&w->until, BL_NEVER);
    if (w->timer != 0 || BL__TSAN || BL__RACE)
        return;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    store_relaxed(&w->timer, fd >= 0 ? bl__fd_raise(fd) + 1 : 0);
}

static int timer_set(bl_time at)
{
    struct itimerspec t = {.it_value = {at / BL_SEC, at % BL_SEC}};
    int saved = errno;
    int r = timerfd_settime(timer_fd(), TFD_TIMER_ABSTIME, &t, NULL);
    errno = saved;
    return r;
}

/* When the first of the busy processors was last known to go on. */
static bl_time first_fed(bl_time now)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < made; i++) {
        bl_time fed = load_relaxed(&bl__rt.ps[i]->fed);
        if (fed < now && load_relaxed(&bl__rt.ps[i]->m) != NULL)
            now = fed;
    }
    return now;
}

/* A processor that is idle is to find work, or timers, that others have left: sysmon's looks. */
void bl__watch_put_off(bl_time now)
{
    bl__watch *w = &bl__rt.watch;
    bl_time was = load_relaxed(&w->until), most = load_relaxed(&w->most);
    bl_time until = first_fed(now) + BL__WATCH_AFTER;
    if (until > most)
        until = most;
    if (load_relaxed(&bl__rt.idle_ps) != 0 || until - was < PUT_OFF_LEAST ||
        !cas_relaxed(&w->until, &was, until))
        return;
    (void)timer_set(until);
    fence_seq_cst(); /* ORD(watch): the timer is set before sysmon_wake is loaded; notify the other
                        way round */
    if (load_relaxed(&bl__rt.sysmon_wake) != 0)
        bl__watch_break();
}

/* sysmon's: sleeps for BL__WATCH_AFTER, or as long as it is put off. False: it has not slept. */
bool bl__watch_sleep(void)
{
    bl__watch *w = &bl__rt.watch;
    bl_time now = bl__clock();
    struct pollfd p = {.fd = timer_fd(), .events = POLLIN};
    if (p.fd < 0 || load_relaxed(&bl__rt.idle_ps) != 0 || now - first_fed(now) > BL__WATCH_AFTER)
        return false;
    store_relaxed(&w->most, now + (bl__traced() ? PUT_OFF_TRACED : PUT_OFF_MOST));
    store_relaxed(&w->until, now + BL__WATCH_AFTER);
    fence_seq_cst(); /* ORD(watch): until is stored before sysmon_wake is loaded; notify the other
                        way round */
    int r = timer_set(now + BL__WATCH_AFTER);
    if (r == 0 && load_relaxed(&bl__rt.sysmon_wake) == 0)
        r = poll(&p, 1, (int)(PUT_OFF_MOST / BL_MS));
    store_relaxed(&w->until, BL_NEVER);
    if ((r < 0 && errno != EINTR) || (p.revents & ~POLLIN) != 0)
        store_relaxed(&w->timer, 0); /* somebody has closed it, who closes all that there are */
    return true;
}

void bl__watch_break(void)
{
    fence_seq_cst(); /* ORD(watch): sysmon_wake is stored before until is loaded */
    if (load_relaxed(&bl__rt.watch.until) != BL_NEVER)
        (void)timer_set(1); /* long ago: at once */
}

/* In the child of a fork: it is the parent's, if the number is its own still (poll_is_ours). */
void bl__watch_forked(void)
{
    struct itimerspec t;
    if (timer_fd() >= 0 && timerfd_gettime(timer_fd(), &t) == 0)
        close(timer_fd());
    store_relaxed(&bl__rt.watch.timer, 0);
    store_relaxed(&bl__rt.watch.until, BL_NEVER);
}
