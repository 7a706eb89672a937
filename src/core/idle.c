/* SPDX-License-Identifier: MIT */
/*
 * idle.c: threads that have nothing to run: looking for work, sleeping, being woken.
 *
 * As in Go's runtime, a thread that runs out of work looks into the others' queues for a moment
 * ("spinning") before it sleeps, if one of them is busy, and whoever queues work wakes a thread only
 * if a processor is idle and nobody spins. A spinning thread that finds work wakes the next one, so
 * that waking ramps up one by one and not in a herd.
 *
 * No wake-up is lost. A producer stores into its queue, then loads idle_ps and spinning; a thread
 * going to sleep stores idle_ps and spinning, then looks into all queues once more. Between its two
 * steps the producer has no fence: the sleeper's bl__heavy_barrier executes one for it, or, where
 * the kernel cannot do that, the producer has one after all (bl__wake_maybe).
 *
 * Among the sleepers one keeps the time: it sleeps until the first timer of all processors is due.
 * One sleeps in the poller, while a processor is idle and a goroutine waits for a descriptor
 * (poll.h).
 */
#include <sys/epoll.h>

#include "arch/relax.h"
#include "core/bubble.h"
#include "core/trace.h"
#include "os/futex.h"
#include "os/os.h"

enum { SPIN_NS = 20000, STALE_NS = 4000, SPIN_PAUSES = 48, CHECK_AFTER = 10000000 };

void bl__p_idle(bl__p *p)
{
    store_relaxed(&p->m, NULL);
    p->idle_next = bl__rt.idle_p;
    bl__rt.idle_p = p;
    store_relaxed(&bl__rt.idle_all, bl__rt.idle_all + 1);
    uint32_t counts = p->id < load_relaxed(&bl__rt.procs);
    store_relaxed(&bl__rt.idle_ps, bl__rt.idle_ps + counts);
}

/* Under sched's lock. */
static void p_release(bl__m *m)
{
    bl__p *p = m->p;
    store_relaxed(&m->solo.mode, (uint16_t)BL__SOLO_ASK);
    store_relaxed(&m->p, NULL);
    store_relaxed(&m->bare, (uint32_t)BL__BARE_TAKEN);
    bl__p_idle(p);
}

void bl__idle_recount(void)
{
    uint32_t n = 0, all = 0;
    for (bl__p *p = bl__rt.idle_p; p != NULL; p = p->idle_next, all++)
        n += p->id < load_relaxed(&bl__rt.procs);
    store_relaxed(&bl__rt.idle_ps, n);
    store_relaxed(&bl__rt.idle_all, all);
}

/* Under sched's lock: the link to an idle processor. One beyond the number wanted stays idle. */
static bl__p **p_find_link(void)
{
    bl__p **at = &bl__rt.idle_p;
    bool none = load_relaxed(&bl__rt.hold) || bl__solo_alone();
    while (*at != NULL && (none || (*at)->id >= load_relaxed(&bl__rt.procs)))
        at = &(*at)->idle_next;
    return at;
}

static bl__p *p_find(void) { return *p_find_link(); }

/* Takes an idle processor. Under sched's lock. */
bl__p *bl__p_acquire(void)
{
    bl__p **at = p_find_link();
    bl__p *p = *at;
    if (p != NULL) {
        *at = p->idle_next;
        p->idle_next = NULL;
        store_relaxed(&bl__rt.idle_ps, bl__rt.idle_ps - 1);
        store_relaxed(&bl__rt.idle_all, bl__rt.idle_all - 1);
    } else if (bl__rt.idle_ps != 0 && !load_relaxed(&bl__rt.hold) &&
               !load_relaxed(&bl__rt.solo_unwanted)) {
        store_relaxed(&bl__rt.solo_unwanted, 1u);
        bl__sysmon_notify();
    }
    return p;
}

/* Under sched's lock: m's side of it. */
void bl__m_prepare(bl__m *m, bl__p *p, bool spinning)
{
    store_relaxed(&m->p, p);
    bl__rt.adopted++;
    store_relaxed(&m->solo.depth, (uintptr_t)0);
    uint16_t mode = (uint16_t)load_relaxed(&bl__solo_on);
    store_release(&m->solo.mode, mode); /* ORD(solo): m may start with it */
    store_relaxed(&m->bare, (bl__rt.asymmetric ? 0u : (uint32_t)BL__BARE_FENCED) |
                                (load_relaxed(&bl__rt.stopping) ? (uint32_t)BL__BARE_STOP : 0u) |
                                (bl__recorded() ? (uint32_t)BL__BARE_TRACED : 0u));
    m->spinning = spinning;
    if (load_relaxed(&bl__rt.procs) > 1 && !p->shared)
        store_release(&p->shared, 1u); /* ORD(shared): with the load in steal */
}

/* Under sched's lock. */
void bl__m_adopt(bl__m *m, bl__p *p, bool spinning)
{
    bl__m_prepare(m, p, spinning);
    store_release(&p->m, m); /* ORD(holder): m is made; with the load in handoff_look */
}

/* Instead of the thread that sleeps in the poller, when that is to be woken. */
#define IN_POLLER ((bl__m *)(void *)&bl__rt.poll)

/* Under sched's lock: takes a thread off the sleepers. The one in the poller only for the last idle
 * processor, or where it is alone: as long as one is idle, events are to be seen at once, and
 * without one they are better found by who runs than by a thread that has none. */
static bl__m *m_take(void)
{
    bl__m **at = &bl__rt.idle_m;
    bool last = bl__rt.idle_ps == 0;
    bl__m *polls = bl__rt.poll.sleeper;
    if (last && polls != NULL)
        while (*at != polls)
            at = &(*at)->idle_next;
    else if (*at != NULL && *at == polls && (*at)->idle_next != NULL)
        at = &(*at)->idle_next;
    bl__m *m = *at;
    if (m != NULL)
        *at = m->idle_next;
    return m;
}

/* Under sched's lock. True: m, which has been taken off the sleepers, is in the poller no more, and
 * has to be told there. */
static bool poll_leave(const bl__m *m)
{
    if (bl__rt.poll.sleeper != m)
        return false;
    store_relaxed(&bl__rt.poll.sleeper, NULL);
    return true;
}

/* Under sched's lock: gives p to a sleeping thread, *heir, which is to be woken then (bl__m_wake),
 * or to a new one. 0, or why there is none, with p as it was. */
static int p_give(bl__p *p, bool spinning, bl__m **heir)
{
    bl__m *m = m_take();
    if (m == NULL)
        return bl__m_start(p, spinning);
    bl__rt.idle_ms--;
    bool polls = poll_leave(m);
    bl__m_adopt(m, p, spinning);
    store_release(&m->wake, 1u);   /* ORD(wake): with the load in m_sleep */
    *heir = polls ? IN_POLLER : m; /* which may run to its end and be freed from here on */
    return 0;
}

int bl__p_give(bl__p *p, bl__m **heir) { return p_give(p, false, heir); }

/* Wakes the heir of p_give, of which only the address is used. */
void bl__m_wake(bl__m *m)
{
    if (m == IN_POLLER)
        bl__poll_break();
    else
        bl__futex_wake(&m->wake, 1);
}

/* Gives an idle processor to a sleeping thread, or to a new one, which looks for work.
 *
 * Who finds no processor takes back under the lock that somebody looks: a plain thread that queues
 * work after that, and finds a processor idle, has to see that nobody does. `stopping` is looked at
 * under it, since the end of a run goes through the lock after setting it, and a plain thread may
 * come as late as it likes. */
void bl__wake_one(void)
{
    uint32_t none = 0;
    if (load_relaxed(&bl__rt.stopping) || !cas_acq_rel(&bl__rt.spinning, &none, 1u)) /* ORD(spin) */
        return; /* somebody looks already */
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__p *p = load_relaxed(&bl__rt.stopping) ? NULL : bl__p_acquire();
    bl__m *m = NULL;
    if (p != NULL && p_give(p, true, &m) < 0) {
        bl__p_idle(p); /* no thread for it: the others do its work */
        store_relaxed(&bl__rt.wake_refused, 1u);
        p = NULL;
    }
    if (p == NULL)
        add_acq_rel(&bl__rt.spinning, (uint32_t)-1); /* ORD(spin) */
    bl__unlock(&bl__rt.lock);
    if (m != NULL)
        bl__m_wake(m);
}

void bl__m_unpark_all(void)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    for (bl__m *m = bl__rt.idle_m; m != NULL;) {
        bl__m *next = m->idle_next; /* m may be gone once it is woken */
        bool polls = poll_leave(m);
        store_release(&m->wake, 1u); /* ORD(wake) */
        if (polls)
            bl__poll_break();
        else
            bl__futex_wake(&m->wake, 1);
        m = next;
    }
    bl__rt.idle_m = NULL;
    bl__rt.idle_ms = 0;
    bl__unlock(&bl__rt.lock);
}

static void spin_stop(bl__m *m)
{
    if (!m->spinning)
        return;
    m->spinning = 0;
    add_acq_rel(&bl__rt.spinning, (uint32_t)-1); /* ORD(spin): with the compare in wake_one */
}

/* While the run is solo that ends it, which nobody does to look at what cannot be there. */
static bool more_for_others(bl__p *p)
{
    return load_relaxed(&bl__solo_on) == BL__SOLO_OFF || load_relaxed(&bl__rt.queued) != 0 ||
           !bl__runq_empty(p);
}

/* Work found: the next thread may look for more. */
static bl__task *found(bl__m *m, bl__task *t)
{
    if (m->spinning) {
        spin_stop(m);
        if (load_relaxed(&bl__rt.idle_ps) != 0 && more_for_others(m->p))
            bl__wake_one();
    }
    return t;
}

/* Fires what is due of anybody's timers. */
static void timers_look(bl__m *m)
{
    uint32_t made = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    bl_time now = 0;
    for (uint32_t i = 0; i <= made; i++) {
        bl__timers *ts = i < made ? &bl__rt.ps[(m->p->id + i) % made]->timers : &bl__rt.outside;
        bl_time first = load_relaxed(&ts->first);
        if (first == BL_NEVER)
            continue;
        if (now == 0) {
            now = bl__clock();
            store_relaxed(&bl__rt.coarse, now);
        }
        if (first <= now)
            bl__timers_run(ts, now);
    }
}

/* Other than by bl__pick; or NULL. */
static bl__task *picked(bl__p *p, bl__task *t)
{
    store_relaxed(&p->tick, p->tick + (t != NULL));
    return t;
}

/* Of all there are: one beyond the number wanted may be busy, with work queued behind. stale is of
 * the first known ones: bl_set_procs may have made more since. */
static bl__task *steal_round(bl__p *p, const bool *stale, uint32_t known)
{
    uint32_t procs = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    uint32_t start = bl__rng(p) % procs;
    for (uint32_t i = 0; i < procs; i++) {
        bl__p *victim = bl__rt.ps[(start + i) % procs];
        if (victim == p)
            continue;
        bool take_next = victim->id < known && stale[victim->id];
        bl__task *t = bl__runq_steal(p, victim, take_next);
        if (t != NULL)
            return picked(p, t);
    }
    return load_relaxed(&bl__rt.queued) != 0 ? picked(p, bl__runq_get_global(p, BL__RING / 2))
                                             : NULL;
}

/* Could there be work for this processor within the next microseconds? From one that is busy, or from
 * the poller. Else it comes at a time that is known, or from threads that wake others anyway. */
static bool may_come(void)
{
    return load_relaxed(&bl__rt.idle_all) + 1 < load_acquire(&bl__rt.ps_made) || /* ORD(procs) */
           load_relaxed(&bl__rt.poll.waiters) != 0;
}

/* All others are idle and nothing comes from them: a bubble may be waiting for this one to rest
 * too. */
static bool alone_in_bubbles(uint32_t procs)
{
    return load_relaxed(&bl__rt.bubbles) != NULL && load_relaxed(&bl__rt.idle_all) + 1 >= procs;
}

/* Looks into the others' queues for SPIN_NS. A run-next slot is taken only from a processor that
 * has not picked anything for STALE_NS: else its owner would have run it in less time than it takes
 * us. */
static bl__task *spin(bl__m *m)
{
    uint32_t ticks[BL__MAX_PROCS];
    bool stale[BL__MAX_PROCS];
    uint32_t procs = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    bl_time begin = bl__clock();
    for (uint32_t i = 0; i < procs; i++)
        ticks[i] = load_relaxed(&bl__rt.ps[i]->tick);
    bl__task *t = steal_round(m->p, NULL, 0);
    while (t == NULL && !load_relaxed(&bl__rt.stopping) && !alone_in_bubbles(procs)) {
        for (int i = 0; i < SPIN_PAUSES; i++)
            bl__cpu_relax();
        bl_time now = bl__clock();
        if (now - begin >= SPIN_NS)
            return NULL;
        bool late = now - begin >= STALE_NS;
        for (uint32_t i = 0; late && i < procs; i++)
            stale[i] = load_relaxed(&bl__rt.ps[i]->tick) == ticks[i];
        timers_look(m);
        if (load_relaxed(&bl__rt.poll.waiters) != 0 && load_relaxed(&bl__rt.poll.sleeper) == NULL)
            (void)bl__poll_try();
        t = bl__pick(m->p); /* a timer's goroutine is its next */
        if (t == NULL)
            t = steal_round(m->p, stale, late ? procs : 0);
    }
    return t;
}

/* Is there anything that a thread with a processor could do? */
static bool work_visible(void)
{
    if (load_relaxed(&bl__rt.queued) != 0)
        return true;
    uint32_t procs = load_acquire(&bl__rt.ps_made); /* ORD(procs): with ps_grow */
    for (uint32_t i = 0; i < procs; i++)
        if (load_relaxed(&bl__rt.ps[i]->shared) && !bl__runq_empty(bl__rt.ps[i]))
            return true;
    return bl__timers_first() <= load_relaxed(&bl__rt.coarse);
}

/* Under sched's lock: puts m among the sleepers; how long it is to sleep. */
static int64_t sleep_begin(bl__m *m)
{
    bool idle = p_find() != NULL;
    store_relaxed(&m->solo.mode, (uint16_t)BL__SOLO_ASK); /* it was away, or had none */
    bl_time first = idle ? bl__timers_first() : BL_NEVER; /* else the busy ones look */
    for (bl__m *other = bl__rt.idle_m; other != NULL && first != BL_NEVER; other = other->idle_next)
        if (other->sleeps_until <= first)
            first = BL_NEVER; /* it keeps the time */
    m->sleeps_until = first;
    store_relaxed(&m->wake, 0u);
    m->idle_next = bl__rt.idle_m;
    bl__rt.idle_m = m;
    if (idle && !load_acquire(&bl__rt.poll.occupied) && /* ORD(occupied): with poll_sleep */
        load_relaxed(&bl__rt.poll.waiters) != 0) {
        store_relaxed(&bl__rt.poll.occupied, 1u);
        store_relaxed(&bl__rt.poll.sleeper, m);
    }
    bool spare = bl__rt.idle_ms++ > load_relaxed(&bl__rt.procs) && bl__rt.poll.sleeper != m;
    if (idle && bl__rt.queued != 0)
        return 0; /* since the last look, by who thought that we were looking still */
    if (first == BL_NEVER)
        return spare ? bl__rt.spare_for : INT64_MAX;
    bl_time now = bl__clock();
    return first > now ? first - now : 0;
}

/* Takes m off the sleepers, if nobody has woken it, with an idle processor if there is one, or to
 * end if it has been one too many for long. */
static void sleep_end(bl__m *m, bool spare)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__m **at = &bl__rt.idle_m;
    while (*at != NULL && *at != m)
        at = &(*at)->idle_next;
    if (*at == m) {
        *at = m->idle_next;
        (void)poll_leave(m);
        bl__rt.idle_ms--;
        m->ends = spare;
        bl__p *p = spare ? NULL : bl__p_acquire();
        if (p != NULL)
            bl__m_adopt(m, p, false);
    }
    bl__unlock(&bl__rt.lock);
}

/* sysmon is to look in so long, or before, should it sleep for longer: what it has looked at has
 * changed. */
static void sysmon_call(int64_t after)
{
    fence_seq_cst(); /* ORD(deep): the change is stored before deep and until are loaded; sysmon, and
                        rest_on in watch.c, the other way round */
    if (load_relaxed(&bl__rt.sysmon_deep) && !bl__watch_bring(after))
        bl__sysmon_notify();
}

void bl__sysmon_rouse(void) { sysmon_call(load_relaxed(&bl__rt.watch.after)); }
void bl__sysmon_check(void) { sysmon_call(CHECK_AFTER); }

/* The sleep of the one in the poller. What it finds goes to a processor of its own, if one is
 * idle. */
static void poll_sleep(bl__m *m, int64_t timeout)
{
    struct epoll_event events[BL__POLL_BATCH];
    int n = 0;
    while (load_acquire(&m->wake) == 0 && !load_relaxed(&bl__rt.stopping)) { /* ORD(wake) */
        n = bl__poll_wait(events, timeout);
        if (n > 0 || timeout != INT64_MAX)
            break;
    }
    store_release(&bl__rt.poll.occupied, 0u); /* ORD(occupied): with sleep_begin */
    store_relaxed(&bl__rt.coarse, bl__clock());
    if (load_acquire(&m->wake) == 0) /* ORD(wake): what it was given came before */
        sleep_end(m, false);
    bl__poll_dispatch(events, n);
}

/* Under sched's lock, by m without a processor: if a bubble has something to do, m gets a processor
 * to do it with (bubble.h). */
static bl__bubble *bubble_take(bl__m *m)
{
    bool may = load_relaxed(&bl__rt.bubbles) != NULL && !load_relaxed(&bl__rt.hold);
    bl__bubble *b = may ? bl__bubbles_find() : NULL;
    if (b != NULL)
        bl__m_adopt(m, bl__p_acquire(), m->spinning);
    return b;
}

static void bubble_move(bl__m *m, bl__bubble *b)
{
    spin_stop(m);
    bl__sysmon_rouse();
    bl__bubble_move(m, b);
}

/* Sleeps without a processor until it is given one, or the first timer is due. */
static void m_sleep(bl__m *m)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (m->away != BL__AWAY_NOT) {
        m->away = BL__AWAY_NOT;
        store_relaxed(&bl__rt.away, bl__rt.away - 1);
    }
    bl__bubble *b = bubble_take(m);
    if (b != NULL) {
        bl__unlock(&bl__rt.lock);
        bubble_move(m, b);
        return;
    }
    int64_t timeout = sleep_begin(m);
    bool polls = bl__rt.poll.sleeper == m;
    bl__unlock(&bl__rt.lock);
    bl__watch_calm();
    if (polls) {
        poll_sleep(m, timeout);
        if (m->p != NULL)
            bl__sysmon_rouse();
        return;
    }
    if (timeout == INT64_MAX && bl__all_idle() && bl__timers_first() == BL_NEVER)
        bl__sysmon_check();
    while (load_acquire(&m->wake) == 0) { /* ORD(wake): with the store in wake_one */
        if (load_relaxed(&bl__rt.stopping))
            break;
        if (timeout > 0)
            bl__futex_wait(&m->wake, 0, timeout);
        if (timeout != INT64_MAX)
            break;
    }
    if (load_acquire(&m->wake) == 0) /* ORD(wake): what it was given came before */
        sleep_end(m, timeout == bl__rt.spare_for);
    store_relaxed(&bl__rt.coarse, bl__clock());
    if (m->p != NULL)
        bl__sysmon_rouse();
}

bool bl__all_idle(void) { return load_relaxed(&bl__rt.idle_all) >= load_relaxed(&bl__rt.ps_made); }

/* Gives back the processor, looks once more, and sleeps. Who sees work takes a processor again and
 * spins, however many do: else it would look into no queue, and be here again at once, as long as
 * one says that it spins and does not, since it has lost its CPU or finds no processor. */
static void rest(bl__m *m)
{
    bool shared = load_relaxed(&bl__rt.procs) > 1;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (bl__rt.queued != 0 && m->p->id < load_relaxed(&bl__rt.procs)) {
        bl__unlock(&bl__rt.lock);
        return;
    }
    p_release(m);
    bl__bubble *b = bubble_take(m);
    bl__unlock(&bl__rt.lock);
    if (b != NULL) {
        bubble_move(m, b);
        return;
    }
    spin_stop(m);
    if (shared)
        bl__heavy_barrier();
    if (work_visible()) {
        bl__lock(&bl__rt.lock, BL__RANK_SCHED);
        bl__p *p = bl__p_acquire();
        if (p != NULL) {
            add_acq_rel(&bl__rt.spinning, 1u); /* ORD(spin) */
            bl__m_adopt(m, p, true);
        }
        bl__unlock(&bl__rt.lock);
        if (p != NULL) {
            bl__sysmon_rouse();
            return;
        }
    }
    m_sleep(m);
}

bl__task *bl__find_task(bl__m *m)
{
    for (;;) {
        bl__p *p = m->p;
        if (m->ends || load_acquire(&bl__rt.stopping)) { /* ORD(stop): with the end of bl_run */
            spin_stop(m);
            return NULL;
        }
        if (p == NULL) {
            m_sleep(m);
            continue;
        }
        if (p->id >= load_relaxed(&bl__rt.procs)) {
            bl__runq_drain(p);
            rest(m);
            continue;
        }
        if (bl__traced())
            bl__trace_thread(m);
        timers_look(m);
        bl__task *t = bl__pick(p);
        if (t != NULL)
            return found(m, t);
        if (p->shared) {
            uint32_t busy = load_relaxed(&bl__rt.procs) - load_relaxed(&bl__rt.idle_ps);
            if (!m->spinning && 2 * load_relaxed(&bl__rt.spinning) < busy) {
                m->spinning = 1;
                add_acq_rel(&bl__rt.spinning, 1u); /* ORD(spin): with the compare in wake_one */
            }
            if (m->spinning && may_come() && (t = spin(m)) != NULL)
                return found(m, t);
        }
        if (load_relaxed(&bl__rt.poll.waiters) != 0 && load_relaxed(&bl__rt.poll.sleeper) == NULL &&
            bl__poll_try())
            continue;
        rest(m);
    }
}
