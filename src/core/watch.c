/* SPDX-License-Identifier: MIT */
/*
 * watch.c: sysmon's sleep between two looks, which those it watches put off, or bring forward.
 *
 * sysmon has to look at a processor 1.5 ms after that has last done anything, since its thread may
 * have blocked. For one that goes on all the time, or only now and then for a moment, the looks find
 * nothing, and each is a thread to be woken, 15 to 40 us of a virtual machine's CPU. So sysmon sleeps
 * by a timer of the kernel's (timerfd), which others set to another time: a system call instead of a
 * thread.
 *
 * While something runs: a processor that reads the clock anyway, at its 64th picks, says when that
 * was (p->fed), and as long as all that are busy have done so lately, they put sysmon off, every
 * 0.75 ms or more. Who blocks, computes or has no time to read does not, and sysmon looks as soon as
 * ever.
 *
 * While all processors are idle sysmon dozes until there is something to look into, for a second at
 * most (`rest`). The first processor that is idle no more brings it forward to 1.5 ms from then, or to
 * 50 us within a second after a hand-off (`after`); when all are idle again before that, the last one
 * has it rest on. Where that happens all the time, as in a server with little to do, it is done once
 * in a millisecond.
 *
 * sysmon looks PUT_OFF_MOST after the first of them, whatever they say, for its chores.
 *
 * Whoever changes `until` sets the timer then, to what `until` is afterwards: so the last one to set
 * it sets it right. A wake is not lost: who sets the timer, and may have taken back what the waker
 * set, looks for one afterwards. And who has it rest on looks afterwards whether all are idle still.
 *
 * Without a descriptor for the timer sysmon sleeps as it says; nobody changes that. If the program
 * closes it, sysmon learns that by the end of the sleep.
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
#define DOZE_MOST BL_SEC

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

/* Until when it may be put off, from now on. */
static bl_time put_off_most(bl_time now)
{
    return now + (bl__traced() ? PUT_OFF_TRACED : PUT_OFF_MOST);
}

static int timer_set(bl_time at)
{
    struct itimerspec t = {.it_value = {at / BL_SEC, at % BL_SEC}};
    int saved = errno;
    int r = timerfd_settime(timer_fd(), TFD_TIMER_ABSTIME, &t, NULL);
    errno = saved;
    return r;
}

/* Around what changes `until`: while nobody is in between, it is as it has to be, which
 * test/stress/watch_stress.c checks with debug builds. */
static void change_begin(bl__watch *w)
{
#ifdef BL__DEBUG
    add_acq_rel(&w->begun, 1u); /* ORD(changes): with change_end; the stress test sees both */
#else
    (void)w;
#endif
}

static void change_end(bl__watch *w)
{
#ifdef BL__DEBUG
    add_acq_rel(&w->ended, 1u); /* ORD(changes) */
#else
    (void)w;
#endif
}

/* By who has changed `until` to at. */
static int timer_follow(bl__watch *w, bl_time at)
{
    int r = timer_set(at);
    fence_seq_cst(); /* ORD(watch): the timer is set before sysmon_wake is loaded; notify the other
                        way round */
    bl_time is = load_relaxed(&w->until);
    if (r == 0 && is != at && is != BL_NEVER)
        return timer_follow(w, is);
    return r == 0 && load_relaxed(&bl__rt.sysmon_wake) != 0 ? timer_set(1) : r;
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
    if (load_relaxed(&bl__rt.idle_ps) != 0 || until - was < PUT_OFF_LEAST)
        return;
    change_begin(w);
    if (cas_relaxed(&w->until, &was, until))
        (void)timer_follow(w, until);
    change_end(w);
}

/* sysmon's: sleeps until then, or as others have it; for longest at most, should the timer be gone. */
static void timer_sleep(bl__watch *w, bl_time until, int64_t longest)
{
    struct pollfd p = {.fd = timer_fd(), .events = POLLIN};
    change_begin(w);
    store_release(&w->until, until); /* ORD(rest): with calm */
    fence_seq_cst(); /* ORD(watch): until is stored before sysmon_wake is loaded; notify the other
                        way round */
    int r = timer_follow(w, until);
    change_end(w);
    bool gone = r < 0; /* somebody has closed it, who closes all that there are */
    if (!gone && load_relaxed(&bl__rt.sysmon_wake) == 0 && poll(&p, 1, (int)(longest / BL_MS)) < 0)
        gone = errno != EINTR;
    store_relaxed(&w->until, BL_NEVER);
    if (gone || (p.revents & ~POLLIN) != 0)
        store_relaxed(&w->timer, 0);
}

/* sysmon's: sleeps for BL__WATCH_AFTER, or as long as it is put off. False: it has not slept. */
bool bl__watch_sleep(void)
{
    bl__watch *w = &bl__rt.watch;
    bl_time now = bl__clock();
    if (timer_fd() < 0 || load_relaxed(&bl__rt.idle_ps) != 0 ||
        now - first_fed(now) > BL__WATCH_AFTER)
        return false;
    store_relaxed(&w->most, put_off_most(now));
    timer_sleep(w, now + BL__WATCH_AFTER, PUT_OFF_MOST);
    return true;
}

/* sysmon's, after it has said that it counts on all processors to be idle (sysmon_deep): until one has
 * been busy for `after`. */
bool bl__watch_doze(int64_t pause, int64_t after)
{
    bl__watch *w = &bl__rt.watch;
    if (timer_fd() < 0)
        return false;
    pause = pause < DOZE_MOST ? pause : DOZE_MOST;
    bl_time rest = bl__clock() + pause;
    store_relaxed(&w->most, BL_NEVER);
    store_relaxed(&w->rest, rest);
    store_relaxed(&w->after, after);
    timer_sleep(w, rest, pause + BL_MS);
    return true;
}

static bool bring(bl__watch *w, int64_t after)
{
    bl_time now = bl__clock(), near = now + after;
    bl_time was = load_relaxed(&w->until);
    do {
        if (was == BL_NEVER)
            return false;
        if (was <= near)
            return true;
    } while (!cas_relaxed(&w->until, &was, near));
    if (load_relaxed(&w->most) == BL_NEVER)
        store_relaxed(&w->most, put_off_most(now));
    return timer_follow(w, near) == 0;
}

/* sysmon is to look in so long, or before. False: it does not sleep by the timer. */
bool bl__watch_bring(int64_t after)
{
    bl__watch *w = &bl__rt.watch;
    change_begin(w);
    bool sleeps = bring(w, after);
    change_end(w);
    return sleeps;
}

/* Has anybody done so since sysmon went to sleep? */
bool bl__watch_brought(void) { return load_relaxed(&bl__rt.watch.most) != BL_NEVER; }

/* sysmon rests on until then; looks afterwards whether it may. */
static void rest_on(bl__watch *w, bl_time was, bl_time until)
{
    change_begin(w);
    if (cas_relaxed(&w->until, &was, until)) {
        (void)timer_follow(w, until);
        fence_seq_cst(); /* ORD(deep): until is stored before idle_all is loaded; rouse the other way
                            round */
        if (!bl__all_idle())
            (void)bring(w, load_relaxed(&w->after));
    }
    change_end(w);
}

/* By who may have been the last not to be idle. */
void bl__watch_calm(void)
{
    bl__watch *w = &bl__rt.watch;
    bl_time was = load_acquire(&w->until); /* ORD(rest): what it has stored before that is seen */
    if (was == BL_NEVER || !load_relaxed(&bl__rt.sysmon_deep) || !bl__all_idle())
        return;
    bl_time now = bl__clock(), rest = load_relaxed(&w->rest), most = load_relaxed(&w->most);
    bl_time until = rest < most ? rest : most;
    if (until - was < PUT_OFF_LEAST || now - load_relaxed(&w->calmed) < BL_MS)
        return;
    store_relaxed(&w->calmed, now);
    rest_on(w, was, until);
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
