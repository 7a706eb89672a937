/* SPDX-License-Identifier: MIT */
/*
 * notify.c: signals sent to channels (Go: os/signal.Notify), and SIGINT and SIGTERM as the end of a
 * run.
 *
 * The handler may run on any thread, inside of anything; so it only sets a bit and wakes sysmon
 * with a futex, both of which are safe there. sysmon takes the bits and sends, without waiting,
 * under notify.lock; whoever ends a registration takes that lock too, and after it nothing is sent.
 * A signal that comes again before sysmon has been there counts once, as pending signals do in the
 * kernel and in Go.
 *
 * A thread of its own or a goroutine on a signalfd were not taken: the first would be one more
 * thread that every deadlock check must know, and the other needs signals blocked in all threads of
 * the program, those that it has not made included.
 *
 * A signal's handler is there while somebody wants it: notify.wanted counts registrations, and the
 * run itself where it has bl_options.signals. With the last one what was there before is put back.
 *
 * A signal that the caller of bl_run blocks is blocked in all threads of the run, and would reach
 * none. It is lent to sysmon, which blocks all others, while somebody wants it (Go: ensureSigM).
 * sysmon blocks it again before the handler goes: the program's own, or the kernel's, is for threads
 * that do not block it.
 */
#include "life/notify.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include "core/proc.h"
#include "debug/quit.h"
#include "life/scope.h"
#include "sync/chan.h"

enum { SIGNALS = 64 };

bl__signal_state bl__signals;

/* A channel and the signals that it gets. Its scope's, which frees it; over when chan is NULL. */
typedef struct registration {
    bl__res res;
    struct registration *next; /* lock: notify.lock, while it is on the list */
    struct registration *prev; /* lock */
    bl_chan *chan;             /* lock: one reference */
    bl_scope *scope;           /* immutable */
    uint64_t mask;             /* lock: bit n - 1: signal n */
} registration;

static struct {
    uint32_t lock;
    registration *first;      /* lock */
    uint64_t lent;            /* lock: signals whose handler stays until sysmon blocks them */
    uint32_t wanted[SIGNALS]; /* lock: by signal - 1: who wants it */
    struct sigaction before[SIGNALS]; /* lock: what was there when somebody wanted it first */
} notify;

static uint64_t bit(int sig) { return UINT64_C(1) << (sig - 1); }

static bool ends_run(int sig)
{
    return (sig == SIGINT || sig == SIGTERM) && load_relaxed(&bl__signals.stops) != 0;
}

/* ---- The handler ---- */

/* In the child of a fork nobody is there to act on a signal; and the second that ends a run
 * kills. */
static bool is_deadly(int sig)
{
    return getpid() != load_relaxed(&bl__signals.pid) ||
           (ends_run(sig) && load_relaxed(&bl__signals.stopped) != 0);
}

static void on_signal(int sig)
{
    int saved = errno;
    if (is_deadly(sig)) {
        signal(sig, SIG_DFL);
        raise(sig); /* it is blocked until the handler returns */
    } else {
        if (ends_run(sig))
            store_relaxed(&bl__signals.stopped, (uint32_t)sig);
        (void)or_acq_rel(&bl__signals.pending, bit(sig)); /* ORD(signal): with deliver */
        bl__sysmon_notify();
    }
    errno = saved;
}

/* ---- Who wants which: under notify.lock ---- */

/* sysmon is to see what is lent to it, and wanted. */
static void lent_changed(void)
{
    store_release(&bl__signals.lent_changed, 1u); /* ORD(lent): with bl__signals_borrow */
    bl__sysmon_notify();
}

/* 0, or why the signal cannot be had. */
static int signal_want(int sig)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    bool lent = notify.lent & bit(sig); /* the handler is there still */
    if (notify.wanted[sig - 1] == 0 && !lent) {
        sigfillset(&sa.sa_mask); /* one after the other, on a stack that may be small */
        if (sigaction(sig, &sa, &notify.before[sig - 1]) != 0)
            return BL_EINVAL;
        if (sigismember(&bl__rt.signals, sig) == 1) {
            notify.lent |= bit(sig);
            lent_changed();
        }
    }
    notify.wanted[sig - 1]++;
    return 0;
}

static void signal_unwant(int sig)
{
    if (--notify.wanted[sig - 1] != 0)
        return;
    if (notify.lent & bit(sig))
        lent_changed();
    else
        sigaction(sig, &notify.before[sig - 1], NULL);
}

/* One that was lent and is wanted no more; the program may have set its own meanwhile. */
static void lent_end(int sig)
{
    struct sigaction now;
    notify.lent &= ~bit(sig);
    if (sigaction(sig, NULL, &now) == 0 && now.sa_handler == on_signal)
        sigaction(sig, &notify.before[sig - 1], NULL);
}

static void mask_unwant(uint64_t mask)
{
    for (int sig = 1; sig <= SIGNALS; sig++)
        if (mask & bit(sig))
            signal_unwant(sig);
}

/* All of mask, or none. */
static int mask_want(uint64_t mask)
{
    for (int sig = 1; sig <= SIGNALS; sig++) {
        if (!(mask & bit(sig)))
            continue;
        int r = signal_want(sig);
        if (r < 0) {
            mask_unwant(mask & (bit(sig) - 1));
            return r;
        }
    }
    return 0;
}

/* ---- Registrations ---- */

static registration *registration_find(const bl_chan *c, const bl_scope *s)
{
    registration *r = notify.first;
    while (r != NULL && (r->chan != c || (s != NULL && r->scope != s)))
        r = r->next;
    return r;
}

/* Under the lock: takes r off the list; its channel, whose reference is the caller's now. */
static bl_chan *registration_end(registration *r)
{
    bl_chan *c = r->chan;
    mask_unwant(r->mask);
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        notify.first = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    r->chan = NULL;
    add_relaxed(&bl__signals.armed, (uint32_t)-1);
    return c;
}

/* Without the lock. Fewer can wake somebody: whether anybody is left who could may be in
 * question. */
static void registration_ended(bl_chan *c)
{
    bl_chan_release(c);
    if (load_relaxed(&bl__rt.running) && !bl__signals_armed())
        bl__sysmon_notify();
}

static void registration_closed(bl__res *res)
{
    registration *r = (registration *)(void *)res;
    bl__lock(&notify.lock, BL__RANK_NOTIFY);
    bl_chan *c = r->chan != NULL ? registration_end(r) : NULL;
    bl__unlock(&notify.lock);
    if (c != NULL)
        registration_ended(c);
}

static void registration_release(bl__res *res) { bl__free(res); }

/* Under the lock: mask for c in s too. *fresh is taken if it is needed. */
static int registration_add(bl_scope *s, bl_chan *c, uint64_t mask, registration **fresh)
{
    registration *r = registration_find(c, s);
    uint64_t more = r != NULL ? mask & ~r->mask : mask;
    int err = mask_want(more);
    if (err < 0)
        return err;
    if (r == NULL) {
        r = *fresh;
        *fresh = NULL;
        *r = (registration){.res = {.stop = registration_closed, .release = registration_release},
                            .next = notify.first,
                            .chan = bl_chan_retain(c),
                            .scope = s};
        if (r->next != NULL)
            r->next->prev = r;
        notify.first = r;
        add_relaxed(&bl__signals.armed, 1u);
        bl__scope_own(s, &r->res);
    }
    r->mask |= more;
    bl__race_release(&notify);
    return 0;
}

/* Those that the program's own faults raise have handlers of the runtime, and cannot wait. */
static bool can_be_had(int sig)
{
    return sig >= 1 && sig <= SIGNALS && sig != SIGKILL && sig != SIGSTOP && sig != SIGSEGV &&
           sig != SIGBUS && sig != SIGFPE && sig != SIGILL;
}

int bl__notify(bl_scope *s, bl_chan *c, ...)
{
    uint64_t mask = 0;
    bool good = true;
    va_list signals;
    va_start(signals, c);
    for (int sig; good && (sig = va_arg(signals, int)) != 0;) {
        good = can_be_had(sig);
        mask |= good ? bit(sig) : 0;
    }
    va_end(signals);
    if (!bl__in_run())
        bl__fatal("belay: bl_notify outside of bl_run");
    bl__scope_check(s, "bl_notify");
    if (c == NULL)
        bl__fatal("os/signal: Notify using nil channel");
    bl__chan_check(c, sizeof(int));
    if (!good || mask == 0)
        return BL_EINVAL;
    registration *fresh = bl__alloc(sizeof *fresh);
    if (fresh == NULL)
        return BL_ENOMEM;
    bl__lock(&notify.lock, BL__RANK_NOTIFY);
    int err = registration_add(s, c, mask, &fresh);
    bl__unlock(&notify.lock);
    bl__free(fresh);
    return err;
}

void bl_notify_stop(bl_chan *c)
{
    registration *r;
    for (;;) {
        bl__lock(&notify.lock, BL__RANK_NOTIFY);
        bl_chan *ended = (r = registration_find(c, NULL)) != NULL ? registration_end(r) : NULL;
        bl__unlock(&notify.lock);
        if (ended == NULL)
            return;
        registration_ended(ended);
    }
}

/* ---- Delivery and the run ---- */

static void send_to_all(uint64_t pending)
{
    bl__lock(&notify.lock, BL__RANK_NOTIFY);
    BL__RACE_NOBODY_BEGIN(&notify);
    for (registration *r = notify.first; r != NULL; r = r->next)
        for (int sig = 1; sig <= SIGNALS; sig++)
            if (pending & r->mask & bit(sig))
                (void)!bl__chan_try_send_own(r->chan, &sig,
                                             sizeof sig); /* dropped: full, or closed */
    BL__RACE_NOBODY_END();
    bl__unlock(&notify.lock);
}

void bl__signals_borrow(void)
{
    store_relaxed(&bl__signals.lent_changed, 0u);
    bl__lock(&notify.lock, BL__RANK_NOTIFY);
    for (int sig = 1; sig <= SIGNALS; sig++) {
        sigset_t one;
        bool wanted = notify.wanted[sig - 1] != 0;
        if (!(notify.lent & bit(sig)))
            continue;
        sigemptyset(&one);
        sigaddset(&one, sig);
        pthread_sigmask(wanted ? SIG_UNBLOCK : SIG_BLOCK, &one, NULL);
        if (!wanted)
            lent_end(sig);
    }
    bl__unlock(&notify.lock);
}

void bl__signals_deliver(void)
{
    uint64_t pending = swap_acq_rel(&bl__signals.pending, UINT64_C(0)); /* ORD(signal): on_signal */
    bool stop = load_relaxed(&bl__signals.stops) == 1 && load_relaxed(&bl__signals.stopped) != 0;
    send_to_all(pending);
    if (pending & bit(SIGQUIT))
        bl__quit_deliver();
    if (!stop)
        return;
    store_relaxed(&bl__signals.stops, 2u); /* acted on; the handler goes on as before */
    bl_scope_cancel(bl_root(), BL_ECANCELED);
    add_relaxed(&bl__signals.armed, (uint32_t)-1);
}

void bl__signals_begin(bool stops)
{
    store_relaxed(&bl__signals.pending, UINT64_C(0));
    store_relaxed(&bl__signals.armed, (uint32_t)stops);
    store_relaxed(&bl__signals.stopped, 0u);
    store_relaxed(&bl__signals.pid, (int32_t)getpid());
    store_relaxed(&bl__signals.stops, (uint32_t)stops);
    bl__lock(&notify.lock, BL__RANK_NOTIFY);
    if (stops)
        (void)mask_want(bit(SIGINT) | bit(SIGTERM));
    bl__unlock(&notify.lock);
}

void bl__signals_end(void)
{
    bl__lock(&notify.lock, BL__RANK_NOTIFY);
    while (notify.first != NULL) /* of scopes that a leaked goroutine has; the channel stays its */
        (void)registration_end(notify.first);
    if (load_relaxed(&bl__signals.stops) != 0)
        mask_unwant(bit(SIGINT) | bit(SIGTERM));
    for (int sig = 1; sig <= SIGNALS; sig++)
        if (notify.lent & bit(sig))
            lent_end(sig); /* there is no sysmon any more */
    bl__unlock(&notify.lock);
    store_relaxed(&bl__signals.stops, 0u);
}
