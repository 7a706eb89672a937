/* SPDX-License-Identifier: MIT */
/*
 * m.c: the runtime's threads; the records of plain threads that call in, and how those wait.
 *
 * The thread that calls bl_run is not among the runtime's: it waits for the end, so that bl_run can
 * return even when a goroutine never gives its thread back.
 */
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include "arch/sanitize.h"
#include "core/blocking.h"
#include "core/proc.h"
#include "debug/crash.h"
#include "os/futex.h"
#include "os/os.h"

#define POLL_BLIND (10 * BL_MS)

void bl__m_init(bl__m *m, uint32_t kind)
{
    m->g0.task.kind = kind;
    m->g0.task.status = BL__G_RUNNING;
    m->g0.ctx = bl_ctx_background();
    m->g0.reg = &m->reg;
    m->reg.g = &m->g0;
    m->g = &m->g0;
    m->solo.mode = BL__SOLO_ASK;
    m->solo.order = load_relaxed(&bl__order_on);
    m->bare = BL__BARE_TAKEN;
}

/* ---- Exceptions of C++ ---- */
/*
 * Which exceptions are being handled, and how many are on their way, the C++ runtime keeps for each
 * thread (Itanium C++ ABI: Exception Handling, 2.2.2, __cxa_eh_globals: a pointer and a count). Who
 * waits in a catch block, or in a destructor that an exception runs, as a scope's end does, would
 * go on with another goroutine's. libstdc++ and libc++abi find the record by these two functions,
 * as anybody may; in a program with this library they are ours, and each goroutine has its own.
 * Other threads keep theirs here. To save and restore it at each switch instead would cost all.
 *
 * Weak, for who links the C++ runtime statically and in front of this library: there it is as it
 * was.
 */
/* NOLINTBEGIN(clang-diagnostic-reserved-identifier): the C++ runtime's names */
void *__cxa_get_globals(void) __attribute__((weak, visibility("default")));
void *__cxa_get_globals_fast(void)
    __attribute__((weak, visibility("default"), alias("__cxa_get_globals")));
/* NOLINTEND(clang-diagnostic-reserved-identifier) */

static __thread void *thread_exceptions[2] __attribute__((tls_model("initial-exec")));

void *__cxa_get_globals(void)
{
    bl__g *g = bl__this_m()->g; /* NULL: the thread has never called in */
    return g != NULL && g->task.kind == BL__TASK_G ? g->exceptions : thread_exceptions;
}

/* ---- Threads that end ---- */

static pthread_key_t thread_key; /* immutable after thread_key_make; its destructor: thread_free */
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static bool thread_key_made;

/* On a stack that pthread_exit has left half-way, while AddressSanitizer took a goroutine's for the
 * thread's. */
static void thread_stack_reuse(void)
{
#if BL__ASAN
    pthread_attr_t attr;
    void *low;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    if (pthread_attr_getstack(&attr, &low, &size) == 0)
        bl__san_stack_reuse(low, (char *)low + size);
    pthread_attr_destroy(&attr);
#endif
}

/* Its goroutine, or the caller of bl_blocking, would wait for ever. */
static BL__NORETURN void thread_lost(const bl__m *m)
{
    const bl__g *g = m->g;
    thread_stack_reuse();
    if (m->helper != NULL)
        bl__fatal(
            "belay: a function of bl_blocking, called by goroutine %llu, has ended its thread "
            "(a failed BL_REQUIRE, pthread_exit, or pthread_cancel by another); it ends by "
            "returning",
            (unsigned long long)bl__helper_caller());
    bl__fatal("belay: goroutine %llu (%s) has ended its thread, which is the runtime's "
              "(pthread_exit, or pthread_cancel by another); a goroutine ends by returning",
              (unsigned long long)g->id, g->site != NULL ? g->site->what : "?");
}

static bool is_runtimes(const bl__m *m)
{
    return m->helper != NULL || m->g0.task.kind != BL__TASK_THREAD;
}

#if BL__RACE || BL__TSAN
/* ThreadSanitizer's own aborts the process where a goroutine calls it, and does nothing else. */
void pthread_exit(void *result) __attribute__((visibility("default")));

void pthread_exit(void *result)
{
    const bl__m *m = bl__this_m();
    if (m != &bl__nobody && is_runtimes(m))
        thread_lost(m);
    void (*libc)(void *) __attribute__((noreturn));
    *(void **)&libc = dlsym(RTLD_NEXT, "pthread_exit");
    libc(result);
}
#endif

enum { LEFT_FRAMES = 64 << 10 };

/* A plain thread ends, whose record goes; or, by no act of the runtime's, one of its own. */
static void thread_free(void *arg)
{
    bl__m *m = arg;
    if (is_runtimes(m)) {
        char *here = __builtin_frame_address(0);
        bl__san_stack_reuse(here - LEFT_FRAMES, here); /* pthread_exit has left them as they were */
        thread_lost(m);
    }
    if (m->ends == 0 && pthread_setspecific(thread_key, m) == 0) {
        m->ends = 1; /* other keys' destructors may unlock what it has; this one is called again */
        return;
    }
    bl__held_at_end(&m->g0); /* before its record can be another thread's */
    bl__ctx_unregister(&m->g0);
#if BL__RACE
    bl__race_fiber_free(m->g0.fiber_idle);
#endif
    /* Whoever finds that it is no more, and begins to be solo, comes after what it did in locks. */
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__unlock(&bl__rt.lock);
    bl__tls_set(&bl__nobody);
    bl__free(m);
}

/* In the child of a fork: none of the threads that wait is there; and if one of them has sched's
 * lock, the list is in the middle of a change. */
static void blocked_forked(void)
{
    for (bl__m *m = bl__rt.lock == 0 ? bl__rt.blocked : NULL; m != NULL; m = m->blocked_next)
        store_relaxed(&m->blocked, 0u);
    bl__rt.lock = 0;
    bl__rt.blocked = NULL;
    store_relaxed(&bl__rt.plain_blocked, 0u);
    bl__m *self = bl__this_m_known();
    if (self != NULL)
        store_relaxed(&self->tid, bl__thread_id());
}

static void thread_key_make(void)
{
    thread_key_made = pthread_key_create(&thread_key, thread_free) == 0;
    pthread_atfork(NULL, NULL, blocked_forked); /* who waits may do so before there is any run */
}

void bl__thread_stays(bl__m *m)
{
    pthread_once(&thread_once, thread_key_make);
    if (thread_key_made)
        (void)pthread_setspecific(thread_key, m);
}

void bl__thread_may_end(void)
{
    if (thread_key_made)
        (void)pthread_setspecific(thread_key, NULL);
}

/* The bounds of this thread's stack, which AddressSanitizer wants to know. */
static void stack_bounds(bl__g *g)
{
#if BL__ASAN
    pthread_attr_t attr;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &g->stack_lo, &size);
        pthread_attr_destroy(&attr);
        g->stack_hi = (char *)g->stack_lo + size;
    }
#endif
    g->fiber = bl__san_fiber_current();
}

static void m_exit(bl__m *m)
{
    bl__crash_thread_fini();
    bl__tls_set(&bl__nobody);
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    if (m->p != NULL) /* the end of the run, with a processor that sysmon may look at once more */
        store_relaxed(&m->p->m, NULL);
    bl__m **at = &bl__rt.all_m;
    while (*at != m)
        at = &(*at)->all_next;
    *at = m->all_next;
    m->all_next = bl__rt.ended_m;
    store_relaxed(&bl__rt.ended_m, m);
    store_release(&bl__rt.threads, bl__rt.threads - 1); /* ORD(threads): with the load in bl_run */
    bl__unlock(&bl__rt.lock);
    bl__futex_wake(&bl__rt.threads, 1);
}

/* Waits for the last instructions of the threads that have ended, and frees their records. */
void bl__m_reap(void)
{
    if (load_relaxed(&bl__rt.ended_m) == NULL)
        return;
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bl__m *m = bl__rt.ended_m;
    store_relaxed(&bl__rt.ended_m, NULL);
    bl__unlock(&bl__rt.lock);
    while (m != NULL) {
        bl__m *next = m->all_next;
        pthread_join(m->thread, NULL);
        bl__free(m);
        m = next;
    }
}

static void *m_main(void *arg)
{
    bl__m *m = arg;
    bl__tls_set(m);
    store_release(&m->p->m, m); /* ORD(holder): as who starts it does, perhaps later */
    store_relaxed(&m->tid, bl__thread_id());
    bl__thread_began("belay");
    if (!BL__ASAN)
        store_relaxed(&m->g0.stack_hi, __builtin_frame_address(0)); /* for debug/maps.c */
    stack_bounds(&m->g0);
    bl__crash_thread_init();
    pthread_sigmask(SIG_SETMASK, &bl__rt.signals, NULL); /* sysmon blocks all, and starts some */
    bl__thread_stays(m);
    bl__sysmon_rouse(); /* it came with a processor */
    bl__schedule();
    bl__thread_may_end();
    m_exit(m);
    return NULL;
}

/* Starts a thread that holds p. 0, or BL_ENOMEM or BL_EAGAIN. Under sched's lock, without which
 * sysmon looks at who holds p: so that is m once there is a thread. */
int bl__m_start(bl__p *p, bool spinning)
{
    if (bl__rt.threads + load_relaxed(&bl__rt.helpers.count) >= bl__rt.max_threads)
        return BL_EAGAIN;
    bl__m *m = bl__zalloc(sizeof *m);
    if (m == NULL)
        return BL_ENOMEM;
    bl__m_init(m, BL__TASK_G);
    m->inside = 1; /* and so is who holds it when it switches */
    bl__m_prepare(m, p, spinning);
    m->all_next = bl__rt.all_m;
    bl__rt.all_m = m;
    store_relaxed(&bl__rt.threads, bl__rt.threads + 1);
    int err = bl__thread_start(&m->thread, m_main, m, false);
    if (err < 0) {
        bl__rt.all_m = m->all_next;
        store_relaxed(&bl__rt.threads, bl__rt.threads - 1);
        bl__free(m);
        return err;
    }
    store_release(&p->m, m); /* ORD(holder): with the load in handoff_look */
    return 0;
}

/* ---- Plain threads ---- */

/* Of the first thread that is not asked, since its own record is elsewhere, nor where the C library
 * keeps thread-locals behind that record. */
void bl__m_stack_ask(bl__m *m)
{
#if defined(__x86_64__)
    pthread_attr_t attr;
    void *low;
    size_t size;
    const char *own = (const char *)pthread_self();
    if (m->tid == getpid() || pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    bool known = pthread_attr_getstack(&attr, &low, &size) == 0 && size <= UINT32_MAX &&
                 own > (char *)low && own < (char *)low + size;
    pthread_attr_destroy(&attr);
    if (known) {
        m->stack_low = low;
        m->stack_high = m->stack_low + size;
        m->stack_own = own;
    }
#endif
    (void)m;
}

/* A plain thread's first call: it gets a record, which goes when it ends. */
bl__g *bl__self_slow(void)
{
    pthread_once(&thread_once, thread_key_make);
    bl__m *m = thread_key_made ? bl__zalloc(sizeof *m) : NULL;
    if (m == NULL || pthread_setspecific(thread_key, m) != 0)
        bl__fatal("belay: out of memory for the record of a thread");
    bl__m_init(m, BL__TASK_THREAD);
    m->g0.fiber = bl__san_fiber_current();
    store_relaxed(&m->tid, bl__thread_id());
    bl__m_stack_ask(m);
    bl__tls_set(m);
    return m->g;
}

/* ---- Their waits ---- */

/* In poll(2), for what is in polls and for the waker, who writes to an eventfd; without one it has a
 * look every now and then. False: neither has come. */
static bool thread_polls(struct pollfd polls[2], int64_t left)
{
    if (polls[1].fd < 0 && left > POLL_BLIND)
        left = POLL_BLIND;
    struct timespec ts = {left / BL_SEC, left % BL_SEC};
    return ppoll(polls, 2, left == INT64_MAX ? NULL : &ts, NULL) > 0;
}

/* It begins to wait without a deadline, or was woken. */
static void blocked_set(bl__m *m, bool blocked)
{
    store_relaxed(&m->blocked, (uint32_t)blocked);
    add_relaxed(&bl__rt.plain_changes, 1u);
    add_relaxed(&bl__rt.plain_blocked, blocked ? 1 : (uint32_t)-1);
    if (m->caller != NULL)
        add_relaxed(&m->caller->helper_waits, 1u);
}

/* Of a plain thread that is about to wait without a deadline: from at on its stack is in use. */
static void blocked_add(bl__m *m, const char *at)
{
    blocked_set(m, true);
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    m->waits++;
    m->blocked_at = at;
    m->blocked_prev = NULL;
    m->blocked_next = bl__rt.blocked;
    if (m->blocked_next != NULL)
        m->blocked_next->blocked_prev = m;
    bl__rt.blocked = m;
    bl__unlock(&bl__rt.lock);
    bl__sysmon_check(); /* whether anybody is left who could wake it may be in question now */
}

static void blocked_remove(bl__m *m)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    *(m->blocked_prev != NULL ? &m->blocked_prev->blocked_next : &bl__rt.blocked) = m->blocked_next;
    if (m->blocked_next != NULL)
        m->blocked_next->blocked_prev = m->blocked_prev;
    bl__unlock(&bl__rt.lock);
}

void bl__each_blocked(void (*fn)(const bl__m *m, void *arg), void *arg)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    for (const bl__m *m = bl__rt.blocked; m != NULL; m = m->blocked_next)
        if (load_relaxed(&m->blocked)) /* else it was woken, and is about to leave */
            fn(m, arg);
    bl__unlock(&bl__rt.lock);
}

/* On its own word, or, for a descriptor, in poll(2): it may wait where no run is under way, or none
 * in which anybody polls. Its record is claimed and readied like any other. */
int bl__park_thread(bl__g *g, const bl__wait *w)
{
    bl__m *m = bl__this_m();
    bool sole = w->polls == NULL;              /* nobody but a waker can end it, or its deadline */
    bool claimed = false;                      /* by another, who is about to ready it */
    if (sole || g->ctx != bl_ctx_background()) /* else the world alone ends it */
        bl__fork_check();
    store_relaxed(&g->thread_futex, 0u);
    store_relaxed(&m->waker, sole ? 0 : w->polls[1].fd + 1);
    store_relaxed(&g->task.status, (uint32_t)BL__G_PARKED);
    bool blocks = sole && w->deadline == BL_NEVER;
    if (blocks) {
        __builtin_unwind_init();
        blocked_add(m, (const char *)__builtin_frame_address(0) - BL__SAVED_REGISTERS);
    }
#if BL__RACE /* wakers may act for it meanwhile, and one fiber cannot be two threads' */
    if (g->fiber_idle == NULL)
        g->fiber_idle = bl__race_fiber_new(0, true, NULL);
    void *own = bl__race_as(g->fiber_idle);
#endif
    store_release(&g->wait, (uint32_t)g->wait_kind); /* ORD(wait): with the claims */
    fence_seq_cst(); /* ORD(dekker): the store above before the load below, which release allows */
    int state = w->cancellable ? bl__ctx_state(g->ctx) : 0;
    if (state != 0 && bl__claim_cancel(g))
        bl__ready(g, state);
    if (w->unlock != NULL)
        w->unlock(g, w->unlock_arg);
    else
        bl__unlock(w->lock);
    while (load_acquire(&g->thread_futex) == 0) { /* ORD(thread): with bl__ready_thread */
        bool endless = claimed || w->deadline == BL_NEVER;
        int64_t now = endless ? 0 : bl__clock(); /* a deadline may be further off than fits */
        int64_t left = endless ? INT64_MAX : w->deadline > now ? w->deadline - now : 0;
        if (left > 0 && (sole || claimed)) {
            bl__futex_wait(&g->thread_futex, 0, left);
            continue;
        }
        if (left > 0 && !thread_polls(w->polls, left))
            continue;
        uint32_t was = load_relaxed(&g->wait);
        /* ORD(wait): with the claims of others */
        if (was >= BL__W_TIMED && cas_acq_rel(&g->wait, &was, (uint32_t)BL__W_CLAIMED)) {
            g->result = left > 0 ? 0 : BL_ETIMEDOUT;
            break;
        }
        claimed = true;
    }
#if BL__RACE
    bl__race_back(own);
    if (g->result < 0)
        bl__race_acquire(g->ctx);
#endif
    if (blocks)
        blocked_remove(m);
    store_relaxed(&g->task.status, (uint32_t)BL__G_RUNNING);
    g->reason = BL__WAIT_NONE;
    store_relaxed(&g->wait, (uint32_t)BL__W_NONE);
    return g->result;
}

/* It is counted out here and not when it runs: who is woken can wake others, and until it gets a
 * CPU that must not look like a deadlock. */
void bl__ready_thread(bl__g *g)
{
    bl__m *thread = (bl__m *)(void *)((char *)g - offsetof(bl__m, g0));
    int waker = load_relaxed(&thread->waker);
    if (load_relaxed(&thread->blocked))
        blocked_set(thread, false);
    if (waker > 0) /* before the store, until which it waits, and does not close it */
        bl__eventfd_wake(waker - 1);
    store_release(&g->thread_futex, 1u); /* ORD(thread): with the load in bl__park_thread */
    bl__futex_wake(&g->thread_futex, 1); /* its record may be gone: a wake does not touch it */
}
