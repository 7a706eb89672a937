/* SPDX-License-Identifier: MIT */
/*
 * sched.h: what the layers above core know of goroutines: their record, parking, waking, spawning.
 *
 * Parking and waking
 *   A goroutine waits like this (so do plain threads: the record of a plain thread stands for it):
 *
 *       bl__g *g = bl__self();
 *       bl__lock(&obj->lock, BL__RANK_…);
 *       …it has to wait: link a waiter that names g into obj's queue…
 *       int r = bl__park(g, &(bl__wait){.reason = …, .obj = obj, .lock = &obj->lock, …});
 *       …obj->lock is not held now. r < 0 (cancelled, deadline): the waiter may still be linked, so
 *       take the lock and unlink it. r >= 0: the waker has unlinked it.
 *
 *   and is woken like this, under the same lock:
 *
 *       …find the waiter w in the queue…
 *       if (bl__claim(w->g)) { unlink w; …copy the value…; bl__ready(w->g, 0); }
 *       else { somebody else (cancellation, deadline, another case of its select) has it: unlink w,
 *              and look at the next }
 *
 *   g->wait decides: it becomes CLAIMED exactly once for a wait, and only the claimer calls
 *   bl__ready, exactly once. A wait begins (SOLE, TIMED or CANCELLABLE) only when g's registers are saved, on the stack of
 *   whoever runs next (the commit in sched.c), and the lock is given back after that: so who holds
 *   the lock never sees a goroutine that is linked and still running.
 *   A waiter lives in the waiting goroutine's frame, so nobody may touch it after bl__ready.
 *
 * The order in which locks are taken: core/rank.h. bl__ready may be called under all that rank
 * below the scheduler's.
 */
#ifndef BL__CORE_SCHED_H
#define BL__CORE_SCHED_H

#include <belay.h>
#include <stdlib.h>

#include "arch/race.h"
#include "arch/tls.h"
#include "core/solo.h"

typedef struct bl__g bl__g;
typedef struct bl__m bl__m;
typedef struct bl__p bl__p;

/* What a goroutine waits for; the texts are in wait_reason.c, Go's where Go has one. */
typedef enum bl__reason {
    BL__WAIT_NONE,
    BL__WAIT_CHAN_RECV,
    BL__WAIT_CHAN_SEND,
    BL__WAIT_CHAN_RECV_NIL,
    BL__WAIT_CHAN_SEND_NIL,
    BL__WAIT_SELECT,
    BL__WAIT_SELECT_NONE,
    BL__WAIT_SLEEP,
    BL__WAIT_IO,
    BL__WAIT_MUTEX,
    BL__WAIT_RW_RLOCK,
    BL__WAIT_RW_LOCK,
    BL__WAIT_COND,
    BL__WAIT_WAITGROUP,
    BL__WAIT_ONCE,
    BL__WAIT_SEM,
    BL__WAIT_SCOPE,       /* scope wait: joining */
    BL__WAIT_SCOPE_ROOM,  /* bl_go waits for room under the scope's limit */
    BL__WAIT_TIMER,       /* timer stop wait */
    BL__WAIT_POOL_SUBMIT, /* pool submit: waits for room in the queue */
    BL__WAIT_POOL_JOIN,   /* pool drain and stop: wait for its end */
    BL__WAIT_BUBBLE,      /* bubble: for the others of it to wait, or for its end */
    BL__WAIT_BLOCKING,    /* blocking call: a function that runs on a helper thread */
    BL__WAIT_REASONS
} bl__reason;

extern const char *const bl__reason_texts[BL__WAIT_REASONS];
const char *bl__reason_text(bl__reason r);

/* g->wait. Who may end a wait: in SOLE the holder of the object's lock alone, with plain stores; in
 * TIMED also its deadline, or it is a select with several objects; in CANCELLABLE also a
 * cancellation. */
enum { BL__W_NONE, BL__W_CLAIMED, BL__W_SOLE, BL__W_TIMED, BL__W_CANCELLABLE };

/* Bytes below a frame's address in which a function that calls __builtin_unwind_init has put the
 * registers that a call keeps. */
enum { BL__SAVED_REGISTERS = 256 };

enum { BL__TASK_SPAWN = 1, BL__TASK_G, BL__TASK_THREAD }; /* task->kind */

/* What a run queue holds: a goroutine, or one that has not run yet and has no stack. */
typedef struct bl__task {
    struct bl__task *next; /* owner: the queue that it is in */
    uint32_t kind;         /* immutable */
    uint32_t status;       /* BL__G_…; atomic, for reports */
} bl__task;

enum { BL__G_DEAD, BL__G_RUNNABLE, BL__G_RUNNING, BL__G_PARKED }; /* task->status */

/* Labels are immutable, shared and counted; see core/label.c. */
typedef struct bl__labels bl__labels;

enum { BL__READS = 4 }; /* read locks of a goroutine that it notes */

/* A goroutine's place on the list of its context's. Those of stacks lie side by side, apart from the
 * records: to take one off writes to its neighbours, and in a crowd's records, each in a page of its
 * own, that were two misses of the TLB and of the caches, a tenth of a sleep and its end. */
typedef struct bl__reg {
    struct bl__reg *next; /* lock: of the context */
    struct bl__reg *prev; /* likewise */
    struct bl__g *g;      /* immutable */
} bl__reg;

/* The record of a goroutine, at the top of its stack; or of a plain thread that calls in. */
struct bl__g {
    bl__task task;
    void *sp;            /* g only while parked: its saved stack pointer */
    uint32_t wait;       /* atomic: BL__W_… */
    int32_t result;      /* claimer: what bl__park returns */
    uint32_t *park_lock; /* g: the lock that the commit gives back */
    bl_ctx *ctx;         /* g: its current context; borrowed from its scope */
    bl_ctx *registered;  /* lock: of that ctx: in whose list of goroutines it is, or NULL */
    uint8_t reason;      /* g: bl__reason */
    uint8_t wait_kind;   /* g: what the commit makes of wait: SOLE, TIMED or CANCELLABLE */
    uint8_t canary;      /* immutable: its stack has a canary and no guard page */
    uint8_t
        blocks; /* lock: sched: what handoff.c expects of its next call; the next on its stack inherits it */
    uint32_t switches; /* g; atomic to read: its parks and yields. A yield needs what is above. */
    const void *wait_obj;                     /* g; read by reports while parked */
    bl_time since;                            /* g: when it parked, on the coarse clock */
    void *held;                               /* g: bl_mutex it holds, linked by bl__held */
    void (*park_unlock)(bl__g *g, void *arg); /* g: instead of giving back park_lock */
    void *park_unlock_arg;                    /* g */
    bl_timer *park_timer;                     /* g: the timer that the commit arms, or NULL */
    uint32_t park_special; /* g: the commit has to look at park_timer and park_unlock */
    uint32_t row;          /* g: goroutines that ended on its stack and are not counted out */
    bl_scope *scope;       /* immutable: the scope it was started in */
    bl_scope *inner;       /* g: the innermost scope it has open, or scope */
    void *held_rw;         /* g: bl_rwmutex it holds for writing, linked by bl__held */
    const void *reads[BL__READS]; /* g: bl_rwmutex it holds for reading, the first ones */
    uint32_t reads_count;         /* g: how many it holds for reading (sync/object.h) */
    bl_fn fn;                     /* g: its function; once that runs, for reports */
    void *arg;                    /* immutable */
    uint64_t id;                  /* immutable while it lives; atomic for who does not know that */
    uint64_t parent;              /* immutable while its function runs: the id of who started it */
    const bl__site *site;         /* immutable: where it was started */
    bl__labels *labels;           /* g */
    struct bl__reg *reg;          /* immutable: its place on the list of registered */
    void *stack_lo;               /* immutable: lowest usable address */
    void *stack_hi;               /* immutable */
    void *fiber;                  /* the sanitizers' */
#if BL__RACE
    void *fiber_idle;    /* a plain thread's: what it is while it waits, see park_thread */
    bl__race_pair race;  /* for race.h: side 0 is this one, that waits, side 1 its waker */
    uint8_t told;        /* its waker, while it is claimed: has used its side */
    uint64_t race_owner; /* g: what bl__race_owner says */
    struct bl__job_fibers *job_fibers; /* g: a pool's worker's (life/pool.c) */
#endif
    struct bl__within *within; /* g: core/goexit.c */
    void *copy_heap;           /* g: bl_go_copy's value where it is large */
    bl_time blocked_at;        /* atomic: when it parked, while that is recorded */
    bl_time ready_at;          /* since when it could run, likewise; 0 once that is recorded */
    bl_time away_since; /* atomic: since when it has not let go, if it runs without a processor */
    uint32_t thread_futex; /* a plain thread's: 1 when woken */
    uint32_t lock;         /* for waits that have no object */
    uint32_t helper_waits; /* atomic: how often what bl_blocking runs for it has moved */
    void *exceptions[2];   /* g: the C++ runtime's (core/m.c) */
    uint64_t copy[6] __attribute__((aligned(16))); /* bl_go_copy's value where it is small */
};

/* How a goroutine is about to wait. */
typedef struct bl__wait {
    bl__reason reason;
    bool cancellable; /* a stop path */
    bool is_select;
    const void *obj;  /* what it waits on, for reports */
    uint32_t *lock;   /* held; given back once the goroutine can be woken. Never NULL: a wait
                          without an object takes &g->lock */
    bl_time deadline; /* BL_NEVER: none (not 0!) */
    void (*unlock)(bl__g *g, void *arg); /* instead of giving back lock, when it takes more; then
                                            nothing of g may be touched after it gave back the last */
    void *unlock_arg;
    struct pollfd *polls; /* of a plain thread: [0] is what may end it besides (result 0), [1] an
                             eventfd for its waker, or -1. NULL: nothing */
} bl__wait;

/* The record of the calling goroutine or plain thread. Never NULL. */
bl__g *bl__self_slow(void);
static inline bl__g *bl__self(void)
{
    bl__g **m = bl__tls_get(); /* a bl__m begins with its current goroutine; bl__nobody has none */
    return __builtin_expect(*m != NULL, 1) ? *m : bl__self_slow();
}

/* A plain thread's stack is not known. */
static inline bool bl__on_stack(const bl__g *g, const void *p)
{
    uintptr_t low = (uintptr_t)g->stack_lo;
    return (uintptr_t)p - low < (uintptr_t)g->stack_hi - low;
}

/* Parks g, the caller, as described above. What the claimer passed to bl__ready (>= 0), or, where
 * cancellable and with a deadline, BL_ECANCELED or BL_ETIMEDOUT. A context that is cancelled
 * already or a deadline that has passed does not wait (it still goes through the queue and comes
 * back). */
int bl__park(bl__g *g, const bl__wait *w);

/* True: the wait of g is the caller's to end, with bl__ready. Under the lock of what g waits on. */
static inline bool bl__claim(bl__g *g)
{
    uint32_t was = load_relaxed(&g->wait);
    if (BL__LIKELY(was == BL__W_SOLE)) {
        store_relaxed(&g->wait, (uint32_t)BL__W_CLAIMED);
        return true;
    }
    return was > BL__W_SOLE &&
           cas_acq_rel(&g->wait, &was, (uint32_t)BL__W_CLAIMED); /* ORD(wait): with commit */
}

/* The same for the cancellation of g->registered, under that context's lock. */
static inline bool bl__claim_cancel(bl__g *g)
{
    uint32_t was = BL__W_CANCELLABLE;
    return load_relaxed(&g->wait) == BL__W_CANCELLABLE &&
           cas_acq_rel(&g->wait, &was, (uint32_t)BL__W_CLAIMED); /* ORD(wait): with commit */
}

/* bl__park without a deadline: what is most frequent, and the quickest. lock is given back with
 * bl__object_unlock. stop: a wait that is a stop path, on a channel or several; it is left by a
 * jump (arch/switch.h), as its callers should be. sole: one that only the lock's holder ends. */
int bl__park_stop(bl__g *g, bl__reason reason, const void *obj, uint32_t *lock);
int bl__park_sole(bl__g *g, bl__reason reason, const void *obj, uint32_t *lock);

/* Makes the claimed g runnable; its bl__park returns result. Any thread. Returns 0, as who does
 * that last. */
int bl__ready_last(bl__g *g, int result);
static inline void bl__ready(bl__g *g, int result) { (void)bl__ready_last(g, result); }
/* The same by who goes on for long: not in the run-next slot, where others leave it for a while,
 * but where another processor takes it at once. */
void bl__ready_behind(bl__g *g, int result);

/* A goroutine on some processor runs long, and others wait behind it: it is to yield where it calls
 * in anyway, before its processor is taken from it (handoff.c). Does so, if the calling thread is
 * asked to, and is not in the runtime. First in each public call of which a loop may consist that
 * never switches; so the library itself calls those with no lock held, or by another name. */
void bl__asked_yield(void);
#ifdef BL__DEBUG
void bl__asked_check(void);
#else
static inline void bl__asked_check(void) {}
#endif
static inline __attribute__((always_inline)) void bl__asked(void)
{
    bl__asked_check();
    if (__builtin_expect(load_relaxed(&bl__solo_here()->yield) != 0, 0))
        bl__asked_yield();
}

/* What lockorder.c keeps. */
void bl__order_memory(void (*fn)(const void *low, const void *high, void *arg), void *arg);

/* The block, mutex and latency profiles, debug/contention.c: one of them is on; a wait is over; the
 * caller has unlocked what somebody has waited for so long; the caller runs now, and could since
 * g->ready_at; fn does so for the first time. */
extern uint32_t bl__contended_on;
void bl__contended_block(bl__reason reason, bl_dur waited);
void bl__contended_unlock(bl_dur waited);
void bl__contended_resumed(bl__g *g);
void bl__contended_began(bl_fn fn, bl_dur waited);
void bl__contended_begin(void);
bl_dur bl__contended_since(const bl__g *g);
/* How long g, which is claimed, has waited; 0 while nothing is recorded. */
static inline bl_dur bl__contended_waited(const bl__g *g)
{
    return __builtin_expect(load_relaxed(&bl__contended_on) != 0, 0) ? bl__contended_since(g) : 0;
}
/* What happens is recorded (core/trace.h): events, or since when goroutines could run. */
enum { BL__TRACE_EVENTS = 1, BL__TRACE_LATENCY = 2 };
extern uint32_t bl__trace_on; /* atomic; written under sched's lock */
static inline bool bl__traced(void)
{
    return __builtin_expect((load_relaxed(&bl__trace_on) & BL__TRACE_EVENTS) != 0, 0);
}
static inline bool bl__recorded(void)
{
    return __builtin_expect(load_relaxed(&bl__trace_on) != 0, 0);
}
/* Of the caller: it has cancelled a context; opened a scope at that place, or, NULL, closed its
 * innermost one. */
void bl__trace_cancel(const bl_ctx *ctx, int why);
void bl__trace_scope(const bl__site *opened);
/* N of "name=N" in BELAY_DEBUG, a list with commas; 0: it is not there. core/handoff.c */
int64_t bl__debug_setting(const char *name);
int64_t bl__debug_setting_or(const char *name, int64_t otherwise);
/* What BELAY_PROCS says, else the CPUs there are; what is wrong with it is said if asked. run.c */
int bl__procs_default(bool say);

/* Starts fn(arg): the scheduler's part of bl_go, with the scope's bookkeeping done by the caller
 * (who has counted it; the end of the goroutine calls bl__scope_ended). 0; 1: also started, and so
 * many wait for their turn by now that the caller had better yield; or BL_ENOMEM. */
int bl__spawn(bl_scope *s, bl_fn fn, void *arg, const void *copy, size_t copy_size,
              const bl__site *site);

/* Ends the calling goroutine as if its function returned 0: closes the scopes it has open,
 * innermost first. What is on its stack is left as it is: bl__goroutine_exit unwinds it first, so
 * that what was declared with __attribute__((cleanup)) is run where the program is compiled with
 * -fexceptions. */
BL__NORETURN void bl__goroutine_end(void);
BL__NORETURN void bl__goroutine_exit(void);

/* In the frame of a function of the library that runs one of the program's, and has something to do
 * after it, which is done for a goroutine that is ended from within as well. */
typedef struct bl__within {
    struct bl__within *outer;
    void (*exit)(void *arg); /* instead of what the function does after it */
    void *arg;
    const bl_scope *inner; /* those within are closed before */
    const char *frame;
    uint64_t id; /* the goroutine's */
} bl__within;

static inline __attribute__((always_inline)) void bl__within_begin(bl__within *w, bl__g *g,
                                                                   void (*exit)(void *arg),
                                                                   void *arg)
{
    *w = (bl__within){g->within, exit, arg, g->inner, __builtin_frame_address(0), g->id};
    g->within = w;
}

static inline void bl__within_end(const bl__within *w, bl__g *g) { g->within = w->outer; }

/* Where g's innermost scope was opened, which its frame may have left. scope.c */
const bl__site *bl__scope_opened(const bl__g *g);
/* A goroutine of s has ended with result: where that is an error, or s has a limit. Held locks are
 * reported by sync/held.c before. scope.c */
void bl__scope_ended(bl__g *g, bl_scope *s, int result);
/* Counts n that have ended out of s, which may be gone after that. Its opener, if that can go on
 * now: claimed, and the caller's to make ready. scope_join.c */
bl__g *bl__scope_count_out(bl_scope *s, int64_t n);
void bl__held_at_end(bl__g *g);
static inline bool bl__holds_any(const bl__g *g)
{
    return ((uintptr_t)g->held | (uintptr_t)g->held_rw | g->reads_count) != 0; /* one branch */
}
/* Asked before each of these reports, if not NULL, whether it is to be made. */
extern bool (*bl__held_hook)(const bl__g *g, const char *kind, const void *lock);

#if BL__RACE
/* Whose g is, a number, or 0 (nobody's): asked, if not NULL, when it begins, for the races that it
 * has a part in. */
extern uint64_t (*bl__race_owner)(const bl__g *g);
void bl__race_begin(bl__g *g);
#endif

/* What a test or a run may leave behind besides goroutines and locks (debug/made.h): called, if not
 * NULL, when it has been made, and when a context is cancelled or about to be freed, a ticker,
 * channel or pipe about to be freed. core/timer.c */
typedef enum bl__made_kind {
    BL__MADE_CTX,
    BL__MADE_TIMER,
    BL__MADE_TICKER,
    BL__MADE_CHAN, /* bl_chan_new's; not what a scope, a context or a pipe frees */
    BL__MADE_PIPE,
    BL__MADE_READ /* a bl_rwmutex, whose reader has ended; the site is the reader's */
} bl__made_kind;
extern void (*bl__made_hook)(bl__made_kind kind, const void *obj, const bl__site *site);
extern void (*bl__unmade_hook)(const void *obj);
/* Where obj was made, if notes are taken; else NULL. debug/made.c */
const bl__site *bl__made_where(const void *obj);
/* The same of a descriptor that bl_accept or bl_connect has opened for who called it at pc.
 * io/calls.c */
extern void (*bl__opened_hook)(int fd, uintptr_t pc);
static inline void bl__made(bl__made_kind kind, const void *obj, const bl__site *site)
{
    void (*hook)(bl__made_kind, const void *, const bl__site *) = load_relaxed(&bl__made_hook);
    if (__builtin_expect(hook != NULL, 0))
        hook(kind, obj, site);
}
static inline void bl__unmade(const void *obj)
{
    void (*hook)(const void *) = load_relaxed(&bl__unmade_hook);
    if (__builtin_expect(hook != NULL, 0))
        hook(obj);
}

/* Called by core before a cancellable park when g->registered != g->ctx: puts g on the list of
 * goroutines that a cancellation of g->ctx looks at; and takes it off whatever list it is on.
 * Defined in life/ctx.c. */
void bl__ctx_register(bl__g *g);
void bl__ctx_unregister(bl__g *g);

/* The context's state for a parking goroutine: 0, BL_ECANCELED or BL_ETIMEDOUT. life/ctx.h has it
 * as the first field of bl_ctx, so that core can read it: */
static inline int bl__ctx_state(const bl_ctx *c)
{
    return load_relaxed((const int32_t *)(const void *)c);
}

/* bl_ctx_err. life/ctx.c */
int bl__ctx_err(bl_ctx *c);

/*
 * The Dekker handshake between a parking goroutine and a cancellation. The parker stores g->wait
 * and then loads the context's state, without a fence between them; the canceller stores the state,
 * calls this, and then looks at g->wait of each goroutine on its list. membarrier(2) makes every
 * running thread execute a full barrier, so one of the two sees the other.
 */
void bl__heavy_barrier(void);

/* ---- Timers: core/timer.c ---- */

/* bl_now and bl_in. */
bl_time bl__now(void);
bl_time bl__in(bl_dur d);

typedef struct bl__timer_head {
    BL__TIMER_HEAD
} bl__timer_head;

/* Arms t, whose bl__fire is called at t->bl__when by some thread of the runtime with no lock held,
 * and which is in no heap. Never fails. */
void bl__timer_arm(bl_timer *t, bl_time when, void (*fire)(bl_timer *t, bl_time now));
/* Takes t out of its heap: true if it was in one; false: fired, firing, or never armed. */
bool bl__timer_disarm(bl_timer *t);
/* It is in some heap, whatever has become of its storage. */
bool bl__timer_pending(const bl_timer *t);
/* Its bl__fire is being called, likewise. */
bool bl__timer_firing(const bl_timer *t);
/* t->bl__fire has been called or is about to be, until bl__fire returns. Spins until that is over;
 * not from inside bl__fire. */
void bl__timer_wait_fired(bl_timer *t);
/* The same without touching t, which may be gone: heap is the t->bl__fired_in that its firing
 * left. */
void bl__timer_wait_fired_in(void *heap, const bl_timer *t);

/* A run is under way, in which goroutines can be started. core/timekeeper.c */
bool bl__in_run(void);

/* ---- Fatal errors: debug/fatal.c ---- */

/* "fatal error: " text, the traceback of the caller's goroutine, exit status 2. printf-like. */
BL__NORETURN void bl__fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same; what it is about is described below the traceback: an object that goroutines wait on
 * for this reason, and what the caller does with it ("closes"). */
BL__NORETURN void bl__fatal_of(const char *does, bl__reason reason, const void *obj,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same of an object that is a copy of the one that was used first. */
BL__NORETURN void bl__fatal_copied(const void *at, const void *first, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A "value" or "key" of size bytes was given to an object ("map of keys") of wanted bytes. */
BL__NORETURN void bl__fatal_size(const char *what, size_t size, const char *object, size_t wanted,
                                 const bl__site *made);
/* A line on stderr that begins "belay: ". */
void bl__warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Fatal in the child of a fork during a run: before what would wait there for ever. core/run.c */
void bl__fork_check(void);

/* ---- For reports ---- */

/* Calls fn for every task (goroutine, or started and not yet run) that lives; best effort while
 * others run. */
typedef struct bl__spawned bl__spawned;
void bl__each_goroutine(void (*fn)(const bl__g *g, void *arg), void *arg);
void bl__walks_end(void);
void bl__walks_begin(void);

/* Goroutines started and ended in this run; and that live. */
void bl__counts(uint64_t *started, uint64_t *ended);
size_t bl__goroutines(void);

/* malloc, calloc and free: the places where the library takes memory of its own have one name. */
static inline void *bl__alloc(size_t size) { return malloc(size); }
static inline void *bl__zalloc(size_t size) { return calloc(1, size); }
static inline void bl__free(void *p) { free(p); }

#endif
