/* SPDX-License-Identifier: MIT */
/*
 * cause.c: see cause.h.
 *
 * Of one that is stuck it is certain that nobody comes; what it waits on says who was missing. Of
 * one that is late that is not certain: there the cause is what the cancellation did not reach: a
 * lock, a join, a shielded scope; or, if it runs, the loop or the system call that it is in, which
 * is found by watching it for a while.
 */
#include "debug/cause.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/proc.h"
#include "debug/describe.h"
#include "debug/descriptor.h"
#include "debug/peek.h"
#include "debug/report.h"
#include "debug/traceback.h"
#include "life/ctx.h"
#include "life/timer.h"
#include "os/os.h"
#include "sync/chan.h"
#include "sync/object.h"

enum {
    SCOPES_SHOWN = 8,
    WATCH_LOOKS = 8,    /* at a thread, while it is watched … */
    WATCH_SELECTS = 80, /* … until its cases are there … */
    WATCH_MOST = 400,   /* … or it gets a processor */
    CASES_LOOKED = 16
};

#define WATCHED (2 * BL_MS)
#define COMPUTES (100 * BL_US) /* in that time, or its thread waits for a CPU */

/* By reason; what the object itself tells is said before. */
static const char *const stuck_causes[BL__WAIT_REASONS] = {
    [BL__WAIT_CHAN_RECV] = "nobody is left to send on the channel, or to close it",
    [BL__WAIT_CHAN_SEND] = "nobody is left to receive from the channel",
    [BL__WAIT_CHAN_RECV_NIL] = "a nil channel never has a value: was it made?",
    [BL__WAIT_CHAN_SEND_NIL] = "nobody ever receives from a nil channel: was it made?",
    [BL__WAIT_SELECT] = "nobody is left to serve any of its cases",
    [BL__WAIT_SELECT_NONE] = "a select without cases never ends",
    [BL__WAIT_RW_RLOCK] = "its holders have ended or wait for ever; or it was read-locked twice",
    [BL__WAIT_RW_LOCK] = "its holders have ended without unlocking it, or wait for ever as well",
    [BL__WAIT_COND] = "nobody is left to signal it: it was signalled before the wait, or never",
    [BL__WAIT_WAITGROUP] = "nobody is left to call done: each add needs one, on error paths too",
    [BL__WAIT_ONCE] = "its function will never return",
    [BL__WAIT_SEM] = "nobody is left to release it",
    [BL__WAIT_SCOPE] = "it joins goroutines of which none can end",
    [BL__WAIT_SCOPE_ROOM] = "the scope is full of goroutines of which none can end",
    [BL__WAIT_POOL_SUBMIT] = "the queue is full, and no job can end",
    [BL__WAIT_POOL_JOIN] = "a job of the pool cannot end",
    [BL__WAIT_TIMER] = "the timer's function cannot end",
};

static const char *const late_causes[BL__WAIT_REASONS] = {
    [BL__WAIT_MUTEX] = "a lock is no stop path: bl_mutex_lock_until is one",
    [BL__WAIT_RW_RLOCK] = "a lock is no stop path: bl_rwmutex_rlock_until is one",
    [BL__WAIT_RW_LOCK] = "a lock is no stop path: bl_rwmutex_lock_until is one",
    [BL__WAIT_ONCE] = "bl_once_do is no stop path, and its function has not returned",
    [BL__WAIT_SCOPE] = "it joins goroutines that have not stopped",
    [BL__WAIT_POOL_JOIN] = "a job of the pool has not ended",
    [BL__WAIT_TIMER] = "the timer's function has not ended",
    [BL__WAIT_BLOCKING] = "its function runs on a helper thread, where no cancellation stops it",
};

/* ---- Where ---- */

/* Its scope, the one that was the opener's then, and so on up. A test has several at
 * one place. */
static void path_print(bl__out *o, const bl_scope *at)
{
    bl_scope s;
    bool some = false;
    bl__site_text made, before = {.line = 0};
    char name[BL__SCOPE_NAME];
    for (int i = 0; i < SCOPES_SHOWN && at != NULL && bl__peek(&s, at, sizeof s) &&
                    s.bl__magic == BL__SCOPE_OPEN && at != &bl__rt.root &&
                    (bl__report_above == NULL || s.bl__made != bl__report_above) &&
                    bl__site_read(&made, s.bl__made) && bl__scope_name(name, &s);
         i++, at = s.bl__parent) {
        if (made.line == before.line && strcmp(made.file, before.file) == 0)
            continue;
        before = made;
        bl__out_printf(o, "%s\"%s\" (%s:%d)", some ? ", in " : "in scope ", name, made.file,
                       made.line);
        some = true;
    }
    if (some)
        bl__out_printf(o, "\n");
}

/* ---- A lock, a once, a timer ---- */

/* Who has the lock, or does what is waited for. tick: as bl__orphan_kind's. False: nobody that is
 * known. */
static bool holder_print(bl__out *o, uintptr_t holder, uint32_t tick, const char *does)
{
    const bl__g *owner = (const bl__g *)holder;
    bl__g g;
    if (owner == NULL)
        return false;
    if (owner == &bl__orphan) {
        bl__out_printf(o,
                       "cause: a %s that has ended still holds it: each way out of what locks "
                       "has to unlock\n",
                       bl__orphan_kind(tick));
        return true;
    }
    if (!bl__peek(&g, owner, sizeof g))
        return false;
    if (g.task.kind == BL__TASK_THREAD)
        bl__out_printf(o, "cause: a plain thread %s", does);
    else
        bl__out_printf(o, "cause: goroutine %llu (%s) %s", (unsigned long long)g.id,
                       bl__describe_function(&g), does);
    if (g.task.status == BL__G_PARKED)
        bl__out_printf(o, ", and is itself in %s", bl__reason_text((bl__reason)g.reason));
    bl__out_printf(o, "\n");
    if (g.task.kind == BL__TASK_THREAD && g.task.status == BL__G_PARKED && g.wait_obj != NULL) {
        bl__out_printf(o, "that thread "); /* which has no part of its own in the report */
        bl__describe_wait(o, &g);
    }
    return true;
}

typedef struct read_lock {
    const void *lock;
    const bl__g *reader; /* one that has it, or NULL */
    bool more;           /* others may: somebody has more than are noted */
} read_lock;

static void reader_find(const bl__g *g, void *arg)
{
    read_lock *l = arg;
    if (g->task.kind != BL__TASK_G)
        return;
    for (uint32_t i = 0; i < g->reads_count && i < BL__READS; i++)
        l->reader = g->reads[i] == l->lock ? g : l->reader;
    l->more = l->more || g->reads_count > BL__READS;
}

/* One who has the lock for reading. False: it is not known who has. */
static bool reader_print(bl__out *o, const bl_rwmutex *lock)
{
    read_lock l = {.lock = lock};
    bl_rwmutex rw;
    if (load_relaxed(&bl__reads_handed))
        return false;
    bl__each_goroutine(reader_find, &l);
    if (l.reader != NULL || l.more || !bl__peek(&rw, lock, sizeof rw) ||
        rw.bl__word < BL__WORD_READER)
        return holder_print(o, (uintptr_t)l.reader, 0, "holds it for reading");
    bl__out_printf(o,
                   "cause: no goroutine that is left holds it for reading: one has ended without "
                   "unlocking it, or a plain thread has it\n");
    return true;
}

static bool owner_cause_print(bl__out *o, const bl__g *g)
{
    bool lock = g->reason == BL__WAIT_MUTEX || g->reason == BL__WAIT_RW_LOCK ||
                g->reason == BL__WAIT_RW_RLOCK;
    uint32_t tick;
    uintptr_t owner = bl__describe_owner(g, &tick);
    if (owner == 0 && lock && g->reason != BL__WAIT_MUTEX)
        return reader_print(o, g->wait_obj);
    return holder_print(o, owner, tick, lock ? "holds it" : "runs it");
}

/* ---- One that runs ---- */

static const char *call_name(long nr)
{
    switch (nr) {
    case SYS_read: return "read";
    case SYS_write: return "write";
    case SYS_recvfrom: return "recvfrom";
    case SYS_recvmsg: return "recvmsg";
    case SYS_sendto: return "sendto";
    case SYS_accept: return "accept";
    case SYS_accept4: return "accept4";
    case SYS_connect: return "connect";
    default: return NULL;
    }
}

/* In a call of the system that sleeps. */
static void blocked_print(bl__out *o, const bl__thread_call *call)
{
    const char *name = call_name(call->number);
    if (name != NULL) {
        bl__out_printf(o, "cause: its thread is in %s(2) on ", name);
        bl__descriptor_print(o, (int)call->args[0]);
        bl__out_printf(o, ", without a deadline, where no cancellation stops it: bl_read and its "
                          "kin are stopped\n");
    } else if (call->number == SYS_nanosleep || call->number == SYS_clock_nanosleep)
        bl__out_printf(o, "cause: its thread is in a sleep of the C library, in which no "
                          "cancellation wakes it: bl_sleep says when to stop\n");
    else if (bl__report_awaited(call))
        bl__out_printf(o, "cause: it is about to report something itself\n");
    else if (call->number == SYS_futex)
        bl__out_printf(o, "cause: its thread waits for a lock or another thread, where no "
                          "cancellation stops it\n");
    else
        bl__out_printf(o,
                       "cause: its thread is in system call %ld, where no cancellation stops it\n",
                       call->number);
}

/* What sends to the channel: "a ticker" or "a timer"; NULL: goroutines. */
static const char *chan_ticks(const void *at)
{
    bl_chan c;
    bl_timer t;
    if (!bl__peek(&c, at, sizeof c) || !bl__chan_is_live(c.magic) || !c.timer ||
        !bl__peek(&t, (const char *)at - offsetof(bl_timer, bl__chan), sizeof t))
        return NULL;
    return t.bl__kind == BL__TIMER_TICKER ? "a ticker" : "a timer";
}

/* On which of these it waits, or has waited. Where it runs, the frame of its select may not be
 * there at this moment. */
static const char *wait_ticks(const bl__g *g)
{
    bl__select_wait s;
    bl_case c;
    const char *ticks = NULL;
    if (g->reason != BL__WAIT_SELECT)
        return chan_ticks(g->wait_obj);
    if (!bl__peek(&s, g->wait_obj, sizeof s))
        return NULL;
    for (size_t i = 0; i < s.n && i < CASES_LOOKED && ticks == NULL; i++)
        ticks = bl__peek(&c, s.cases + i, sizeof c) ? chan_ticks(c.chan) : NULL;
    return ticks;
}

/* Of its context, which may be gone with it by now; 0: not cancelled, or not to be read. A context
 * begins with it. */
static int32_t ctx_state(const bl__g *g)
{
    int32_t state;
    return bl__peek(&state, g->ctx, sizeof state) ? state : 0;
}

/* It switches on and on: what it waits for returns at once. */
static void loop_print(bl__out *o, const bl__g *g, const char *ticks)
{
    int32_t state = ctx_state(g);
    const char *what = g->reason == BL__WAIT_SLEEP ? "a sleep" : ticks != NULL ? ticks : "a";
    if (g->result < 0)
        bl__out_printf(o,
                       "cause: %s loop that ignores the cancellation: its calls return %s, and it "
                       "goes on all the same\n",
                       what, state < 0 ? bl_err_name(state) : "BL_ECANCELED");
    else
        bl__out_printf(o,
                       "cause: %s loop that ignores the cancellation: none of its calls has to "
                       "wait, so none tells it: bl_ctx_err does\n",
                       what);
}

/* What was seen of one that runs. */
typedef struct watched {
    bl__thread_call call; /* that it was seen in, if in_call */
    bool
        in_call; /* one that waits; who sleeps again and again is between two of them now and then */
    bool switched;
    const char *ticks; /* wait_ticks */
} watched;

/* The CPU time of the thread that runs it; less than 0: it is not known. */
static int64_t cpu_of(const bl__g *g)
{
    int tid = bl__thread_of(g);
    return tid != 0 ? bl__thread_cpu(tid) : -1;
}

/* For a while; one that is ready, until it gets a processor; and one that has neither been seen in a
 * call nor used a CPU, which others want as well, until it has. */
static void watch(watched *w, const bl__g *g, const bl__g *at)
{
    struct timespec pause = {.tv_nsec = WATCHED / WATCH_LOOKS};
    *w = (watched){.ticks = wait_ticks(g)};
    int64_t cpu = cpu_of(at);
    for (int i = 0; i < WATCH_MOST; i++) {
        bool ready = !w->switched && load_relaxed(&at->task.status) == BL__G_RUNNABLE;
        bool selects = g->reason == BL__WAIT_SELECT && w->ticks == NULL && i < WATCH_SELECTS;
        bool unseen = !w->switched && !w->in_call && cpu >= 0 && cpu_of(at) - cpu < COMPUTES;
        if (i >= WATCH_LOOKS && !ready && !selects && !unseen)
            break;
        nanosleep(&pause, NULL);
        int tid = bl__thread_of(at);
        w->in_call = (tid != 0 && bl__thread_in_call(tid, &w->call)) || w->in_call;
        w->switched = w->switched || load_relaxed(&at->switches) != g->switches;
        for (int k = 0; k < WATCH_LOOKS && w->ticks == NULL; k++)
            w->ticks = wait_ticks(g);
    }
}

static void running_cause_print(bl__out *o, const bl__g *g, const bl__g *at)
{
    watched w;
    watch(&w, g, at);
    if (load_relaxed(&at->id) != g->id)
        return;
    if (w.switched || (g->result < 0 && ctx_state(g) != 0))
        loop_print(o, g, w.ticks);
    else if (w.in_call)
        blocked_print(o, &w.call);
    else if (load_relaxed(&at->task.status) == BL__G_RUNNING)
        bl__out_printf(o,
                       "cause: a CPU loop: it computes and calls nothing that would tell it of the "
                       "cancellation: bl_ctx_err does\n");
    else if (load_relaxed(&at->task.status) == BL__G_RUNNABLE)
        bl__out_printf(o, "cause: it is ready to go on, and has to wait for a processor\n");
}

/* ---- All ---- */

/* On the channel of a timer or ticker that will not fire. */
static bool timer_cause_print(bl__out *o, const bl__g *g)
{
    bl_timer t;
    if (g->reason != BL__WAIT_CHAN_RECV || chan_ticks(g->wait_obj) == NULL ||
        !bl__peek(&t, (const char *)g->wait_obj - offsetof(bl_timer, bl__chan), sizeof t))
        return false;
    const char *what = t.bl__kind == BL__TIMER_TICKER ? "the ticker was stopped"
                       : t.bl__kind != BL__TIMER_CHAN ? "the timer was not started"
                       : t.bl__fired_in != NULL ? "the timer has fired already, or was stopped"
                                                : "the timer was stopped";
    bl__out_printf(
        o, "cause: %s, which does not close its channel, and nobody is left to reset it\n", what);
    return true;
}

static bool only_nil(const bl__g *g)
{
    bl__select_wait s;
    bl_case c;
    if (!bl__peek(&s, g->wait_obj, sizeof s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!bl__peek(&c, s.cases + i, sizeof c) || c.chan != NULL)
            return false;
    return true;
}

static void stuck_cause_print(bl__out *o, const bl__g *g)
{
    bl_chan c;
    bl__site_text made;
    int pipe = bl__describe_pipe(g);
    if (timer_cause_print(o, g))
        return;
    if (pipe != 0) {
        bl__out_printf(o, "cause: nobody is left to %s the other end of the pipe, or to close it\n",
                       pipe == BL__OP_SEND ? "read from" : "write to");
        return;
    }
    if (g->reason == BL__WAIT_SELECT && only_nil(g)) {
        bl__out_printf(o, "cause: all of its channels are nil, and a nil channel is never ready\n");
        return;
    }
    if (g->reason == BL__WAIT_CHAN_RECV && bl__peek(&c, g->wait_obj, sizeof c) &&
        bl__chan_is_live(c.magic) && !c.timer && c.ctx != NULL && bl__site_read(&made, c.made) &&
        !bl__describe_is_chan(&made))
        bl__out_printf(o, "cause: nobody is left to cancel the context\n");
    else if (!owner_cause_print(o, g) && g->reason < BL__WAIT_REASONS &&
             stuck_causes[g->reason] != NULL)
        bl__out_printf(o, "cause: %s\n", stuck_causes[g->reason]);
}

/* Of one whose context is not cancelled, although its scope or one above that is: the outermost
 * scope that it is in and that the cancellation does not reach. False: it reaches all, or it is not
 * known. */
static bool cut_off_by(bl_scope *by, const bl__g *g)
{
    bl_scope s;
    bl_ctx c;
    bool some = false;
    const bl_scope *at = g->inner;
    for (int i = 0; i < SCOPES_SHOWN && at != NULL && bl__peek(&s, at, sizeof s) &&
                    s.bl__magic == BL__SCOPE_OPEN && bl__peek(&c, s.bl__ctx, sizeof c);
         i++, at = s.bl__parent) {
        if (c.state != 0)
            return some;
        *by = s;
        some = true;
    }
    return false;
}

static void cut_off_print(bl__out *o, const bl__g *g)
{
    bl_scope by;
    bl_ctx c, above;
    char name[BL__SCOPE_NAME];
    bl__site_text at;
    bool ends = g->park_timer != NULL || (bl__peek(&c, g->ctx, sizeof c) && c.deadline != BL_NEVER);
    const char *more = g->reason == BL__WAIT_IO && !ends
                           ? "; and its wait for the descriptor has no deadline"
                           : "";
    if (cut_off_by(&by, g) && bl__scope_name(name, &by) && bl__site_read(&at, by.bl__made)) {
        bool shield = bl__peek(&c, by.bl__ctx, sizeof c) && c.upstream == NULL &&
                      bl__peek(&above, c.parent, sizeof above) && above.state != 0;
        bl__out_printf(o,
                       "cause: the cancellation does not reach it: it is in scope \"%s\" (%s:%d), "
                       "%s%s\n",
                       name, at.file, at.line,
                       shield ? "which is shielded" : "which has a context of its own", more);
    } else if (g->scope == &bl__rt.root && g->inner == g->scope) {
        bl__out_printf(o, "cause: nothing stops it: the root scope is not cancelled before the "
                          "main goroutine has returned\n");
    } else if (g->parent == 0 && g->id != 1) {
        bl__out_printf(o,
                       "cause: nothing stops it: a plain thread has opened its scope, and has not "
                       "cancelled it%s\n",
                       more);
    } else {
        bl__out_printf(o,
                       "cause: the cancellation does not reach it: it is in a shielded scope, or "
                       "has a context of its own%s\n",
                       more);
    }
}

static void left_cause_print(bl__out *o, const bl__g *g, const bl__g *at)
{
    if (g->task.status == BL__G_RUNNING || g->task.status == BL__G_RUNNABLE) {
        running_cause_print(o, g, at);
        return;
    }
    int32_t state = 1;
    if (owner_cause_print(o, g))
        return;
    if (g->reason < BL__WAIT_REASONS && late_causes[g->reason] != NULL)
        bl__out_printf(o, "cause: %s\n", late_causes[g->reason]);
    else if (bl__peek(&state, g->ctx, sizeof state) && state != 0)
        running_cause_print(o, g, at); /* it does not stay there */
    else if (state == 0)
        cut_off_print(o, g);
}

/* Else it waits for a function of bl_blocking, and helper is the record of the thread that runs it. */
static bool waits_itself(const bl__g *g, const bl__g *at, bl__g *helper)
{
    return g->reason != BL__WAIT_BLOCKING || bl__helper_of(at, helper) == NULL;
}

void bl__cause_print(bl__out *o, const bl__g *g, const bl__g *at, bl__cause_of of)
{
    bl__g helper;
    if (of == BL__CAUSE_NONE)
        return;
    if (g->scope != NULL && g->scope != &bl__rt.root)
        path_print(o, g->scope);
    if (of == BL__CAUSE_STUCK && g->task.status == BL__G_PARKED)
        stuck_cause_print(o, waits_itself(g, at, &helper) ? g : &helper);
    else if (of == BL__CAUSE_LATE && at != NULL)
        left_cause_print(o, g, at);
}
