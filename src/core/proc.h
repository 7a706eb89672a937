/* SPDX-License-Identifier: MIT */
/*
 * proc.h: the inside of the scheduler: G, M, P and the runtime object. Only core (and reports, for
 * reading) includes it.
 *
 *   G  a goroutine (bl__g), or one that has not run yet and has no stack (bl__spawned)
 *   M  a thread of the runtime (bl__m); a plain thread that calls in has one too, with no P
 *   P  a processor (bl__p): the right to run goroutines, with a run queue, caches and timers of its
 *      own, so that the common path takes no lock and shares no cache line
 *
 * Invariants:
 *   - a P is held by one M or is on the idle list; an M runs goroutines only while it holds a P
 *   - a runnable task is in exactly one place: a run-next slot, a ring, the global queue
 *   - a P that is not shared has no thieves: its owner works on the queue with plain stores
 */
#ifndef BL__CORE_PROC_H
#define BL__CORE_PROC_H

#include <pthread.h>
#include <signal.h>

#include "arch/sanitize.h"
#include "core/blocking.h"
#include "core/check.h"
#include "core/poll.h"
#include "core/sched.h"

enum {
    BL__MAX_PROCS = 256,
    BL__RING = 256,        /* run queue of a P; a power of two */
    BL__FEW = 8,           /* tasks in it that are in the cache anyway */
    BL__NEXT_STREAK = 100, /* run-next picks in a row before the ring has its turn */
    BL__FAIR_TICK = 64,    /* every so many picks the global queue, timers and requests go first */
    BL__STACK_CACHE = 128, /* free stacks that a P keeps */
    BL__SPAWN_CACHE = 256, /* free spawn records in a full pile; a P keeps up to two */
    BL__STACK_MOST = 1 << 28, /* bytes of a stack */
    BL__CACHE_LINE = 64
};

/* A goroutine that was started and has not run: what its record is made from. 128 bytes. */
struct bl__spawned {
    bl__task task;
    bl_fn fn;
    void *arg;
    bl_scope *scope;
    const bl__site *site;
    uint64_t id;
    uint64_t parent;
    bl__labels *labels;
    uint32_t special;  /* BL__SPAWNED_…; of a free pile: how many */
    uint32_t ready_at; /* of one that is traced: since when it can run (core/trace.c) */
    uint64_t copy[6];
#if BL__RACE
    void *fiber; /* made where it was started */
#endif
};

enum {
    BL__SPAWNED_COPY = 1, /* copy is its value */
    BL__SPAWNED_HEAP = 2, /* arg is its value, to be freed */
    BL__SPAWNED_LABELS = 4,
    BL__SPAWNED_TRACED = 8
};

typedef struct bl__timer_entry {
    bl_time when;
    bl_timer *timer;
} bl__timer_entry;

typedef struct bl__timer_chunk bl__timer_chunk;

enum { BL__WHEEL_LEVELS = 4, BL__WHEEL_SLOTS = 64 };
enum { BL__HEAP_MOST = 256 }; /* a few pages */

/* Pending timers, see timer_queue.c. */
typedef struct bl__timers {
    uint32_t lock;
    uint32_t heap_most;        /* immutable: with so many in the heap, others go into the wheel */
    bool exact;                /* immutable: due at their time, and not at the end of a grain */
    bl_time first;             /* lock to write, atomic: nothing is due before; BL_NEVER: none */
    bl__timer_entry *entries;  /* lock: the heap */
    size_t count;              /* lock: of entries */
    size_t capacity;           /* lock */
    bl_timer *spill;           /* lock: those that found no room in the heap */
    struct bl__firing *firing; /* lock: calls of bl__fire under way */
    uint64_t horizon;          /* lock: the first tick not in the heap yet */
    uint64_t used[BL__WHEEL_LEVELS]; /* lock: bits of the slots that hold any */
    bl__timer_chunk **moving;        /* lock: the slot that is taken apart, or NULL */
    bl__timer_chunk *wheel[BL__WHEEL_LEVELS * BL__WHEEL_SLOTS]; /* lock */
    bl__timer_chunk *chunks;                                    /* lock: free ones */
    bl__timer_chunk *slabs; /* lock to write, atomic: where all chunks are */
} bl__timers;

struct bl__p {
    /* What the owner works on. */
    bl__task *next;     /* atomic: the run-next slot; set by the owner, taken by anyone */
    uint32_t tail;      /* atomic: written by the owner */
    uint32_t tick;      /* atomic to read: picks so far */
    uint32_t streak;    /* owner: run-next picks in a row */
    uint32_t look;      /* owner: BL__LOOK_…, what is due after the switch */
    uint32_t firing;    /* owner: it runs timers, on the stack of whatever goroutine */
    uint32_t shared;    /* atomic to read: owner lets others steal */
    uint32_t rng;       /* owner */
    uint32_t id;        /* immutable */
    uint32_t empty;     /* owner; sched's lock while idle: picks that found nothing */
    bl__g *free_stacks; /* owner: linked by task.next */
    uint32_t free_stacks_count;
    uint32_t free_spawns_count;
#if BL__RACE
    bl__g *used_stacks; /* owner: the same, which are not yet forgotten (stack.c) */
    uint32_t used_stacks_count;
#endif
    bl__spawned *free_spawns;  /* owner */
    bl__spawned *spare_spawns; /* owner: a full pile, or NULL */
    uint64_t id_next;          /* owner: goroutine ids to give out, up to id_end */
    uint64_t id_end;
    uint64_t started; /* owner; atomic to read */
    uint64_t ended;   /* owner; atomic to read */
    bl__m *m;         /* lock: sched; atomic to read: who holds it */
    bl__p *idle_next; /* lock: sched */
    /* What thieves write. */
    uint32_t head __attribute__((aligned(BL__CACHE_LINE))); /* atomic: compare-and-swap if shared */
    bl__timers timers __attribute__((aligned(BL__CACHE_LINE)));
    /* sysmon's notes. */
    bl__task *seen_next;
    bl__m *seen_m;
    uint32_t seen_tick;  /* atomic: for reports */
    bl_time seen_since;  /* atomic: when it was first seen at seen_tick; coarse clock */
    bl_time seen_at;     /* when sysmon last asked for the CPU time of its thread, */
    int64_t seen_cpu;    /* and what that was */
    int64_t hog_cpu;     /* of its thread, at seen_tick; -1: not asked yet */
    int64_t held_up_cpu; /* of its thread, when nobody had come by for long */
    bool asked;          /* at the look before, who runs was asked to yield */
    bl_time fed;         /* atomic: when it was last known to go on; owner; core/watch.c */
    bl__task *ring[BL__RING] __attribute__((aligned(BL__CACHE_LINE))); /* atomic slots */
};

/* The deadline of a park, in the parked goroutine's frame: the head of a bl_timer without a
 * function, and whose it is. */
typedef struct bl__park_timer {
    bl__timer_head head;
    bl__timers *in; /* immutable while parked: the heap that it was put in */
    bl__g *g;       /* immutable */
} bl__park_timer;

enum {
    BL__SWITCH_NONE,
    BL__SWITCH_PARK,
    BL__SWITCH_YIELD,
    BL__SWITCH_YIELD_QUEUED, /* it is in the ring already, and becomes runnable when it is saved */
    BL__SWITCH_PARK_LOOK,    /* and fire timers, which the parker's lock did not allow before */
    BL__SWITCH_PARK_TRACED,  /* and record who runs, which the first three have done, if it is on */
    BL__SWITCH_YIELD_TRACED,
    BL__SWITCH_END
};

enum {
    BL__LOOK_TIMERS = 1, /* they are to be run once the parker holds no lock */
    BL__LOOK_TRACE = 2   /* the switch is recorded */
};

struct bl__m {
    bl__g *g;             /* owner: the current goroutine; or &g0; or the plain thread's record */
    bl__p *p;             /* see "Entering" below: NULL for a plain thread, while idle or away */
    bl__solo solo;        /* core/solo.h */
    uint32_t inside;      /* owner; atomic: it is in the runtime */
    uint32_t bare;        /* atomic: BL__BARE_…; 0: it holds p, and nobody is about to take it */
    bl__g *prev;          /* owner: the goroutine switched away from, whose commit is due */
    uint32_t action;      /* owner: BL__SWITCH_…, what the commit does */
    uint32_t spinning;    /* owner: counted in sched.spinning */
    uint32_t wake;        /* atomic: 1 when it was woken; what it sleeps on */
    uint32_t abandoned;   /* immutable once set: the run has ended without it */
    uint32_t ends;        /* owner: it has been idle for long, and is to end; a plain thread ends */
    bl__m *idle_next;     /* lock: sched */
    bl__m *all_next;      /* lock: sched */
    pthread_t thread;     /* immutable */
    bl_time sleeps_until; /* lock: sched; while idle: when it looks at the timers by itself */
    uint32_t run;         /* immutable: the run it belongs to */
    uint32_t blocked;     /* atomic: a plain thread that waits without a deadline */
    uint32_t waits;       /* lock: sched; how often it has done so */
    uint32_t at_lock;     /* owner; atomic: it sleeps until a lock of the runtime's is given back */
    bl__m *blocked_next;  /* lock: sched; of those who do, and the one before */
    bl__m *blocked_prev;
    const char *stack_low; /* immutable: a plain thread's; NULL: it is not known */
    const char *stack_high;
    const char *stack_own; /* immutable: from here on it is the C library's: of the thread itself */
    const char *blocked_at; /* lock: sched; in use from here on, its registers included */
    uint32_t away; /* lock: sched; BL__AWAY_…: its processor was taken while it ran a goroutine */
    int32_t tid;   /* atomic: the kernel's number of the thread; 0: not known yet */
    int64_t held_cpu;  /* lock: sched; its CPU time when the processors began to be held */
    int32_t waker;     /* atomic: a plain thread that waits in poll(2): its eventfd, plus 1; or 0 */
    void *crash_stack; /* debug/crash.c's */
    struct bl__bubble *bubble; /* owner: whose timers it fires */
    bl__task *picked;          /* owner: what the scheduler's loop goes on with, or NULL */
    struct bl__helper *helper; /* immutable: of a thread that bl_blocking started; else NULL */
    bl__g *caller;             /* owner: the goroutine that it runs a function for, or NULL */
    bl__g g0;    /* the thread's own stack: the scheduler's loop; a plain thread's record */
    bl__reg reg; /* of g0 */
};

/* Entering
 *   Whoever uses m->p enters first: it stores inside, and then loads bare, without a fence between
 *   them. Who takes the processor away from outside (handoff.c, under sched's lock) stores bare, has
 *   every running thread execute a barrier, and then loads inside: one of the two sees the other. Only
 *   the first look of each is quick; an owner that finds bare asks under the lock what became of it. */
enum {
    BL__BARE_TAKEN = 1,  /* it has none, or is about to lose it */
    BL__BARE_FENCED = 2, /* the kernel does no fences for us: each entry has its own */
    BL__BARE_STOP = 4,   /* the run is over: switch to the scheduler's loop, which ends */
    BL__BARE_TRACED = 8  /* what it does is recorded: core/trace.h */
};

_Static_assert(offsetof(bl__m, solo) == BL__SOLO_AT, "found without knowing a bl__m");

enum { BL__AWAY_NOT, BL__AWAY_BLOCKED, BL__AWAY_HOG }; /* m->away: why */

/* Address space for stacks; stack.c. */
typedef struct bl__arena {
    struct bl__arena *next; /* immutable */
    char *base;             /* immutable */
    size_t bytes;           /* immutable */
    size_t slots;           /* immutable */
    bl__reg *regs;          /* immutable: a slot's each, behind the slots */
    size_t used;            /* stack_lock to write, atomic to read: slots carved */
} bl__arena;

/* The records of goroutines that have not run, which go with the run; spawn.c. */
enum { BL__SLAB = 64 };
typedef struct bl__spawn_slab {
    struct bl__spawn_slab *next;
    bl__spawned records[BL__SLAB] __attribute__((aligned(BL__CACHE_LINE)));
} bl__spawn_slab;

typedef struct bl__batch bl__batch;

/* How regular files are waited for; io/regular.c. */
enum { BL__IO_URING = 1, BL__IO_THREADS, BL__IO_HANDOFF };

/* sysmon's sleep; watch.c. */
#define BL__WATCH_AFTER (1500 * BL_US)
typedef struct bl__watch {
    bl_time until;  /* atomic: what the timer is set to; BL_NEVER: sysmon does not sleep by it */
    bl_time most;   /* atomic: it is not put off beyond; BL_NEVER: it dozes, and nothing has run */
    bl_time rest;   /* atomic: how long it dozes while nothing runs; sysmon's */
    bl_time after;  /* atomic: how long after one is busy it looks; sysmon's */
    bl_time calmed; /* atomic: when it was last left to rest on */
    uint32_t begun, ended; /* atomic: changes of until, in debug builds */
    int timer;             /* atomic: its descriptor, plus 1; 0: there is none */
} bl__watch;

/* The runtime: the one object of file scope. */
typedef struct bl__sched {
    /* Read everywhere, written seldom. */
    bl__p *ps[BL__MAX_PROCS]; /* immutable once set; used again in the next run */
    uint32_t procs;           /* atomic: Ps in use */
    uint32_t procs_wanted;    /* atomic: by bl_set_procs */
    uint32_t running;         /* atomic: a run is under way */
    uint32_t run;             /* atomic: number of the run */
    int32_t runner;           /* atomic: the kernel's number of the thread that waits for its end */
    uint32_t stopping;        /* atomic */
    uint32_t asymmetric;      /* immutable: the kernel does our fences (bl__heavy_barrier) */
    uint32_t frozen;          /* atomic: a fatal error is being reported */
    uint32_t reports;         /* atomic: being written; nobody loses a processor for being long */
    uint32_t max_threads;     /* immutable in a run */
    uint32_t io;              /* immutable in a run: BL__IO_…, what BELAY_IO says */
    uint32_t io_cold;         /* immutable in a run: as if no file were in memory; for tests */
    bl_options options;       /* immutable in a run */
    size_t stack_size;        /* immutable while there are stacks: usable bytes */
    size_t stack_slot;        /* immutable while there are stacks: bytes from one to the next */
    const void *layout;       /* immutable: bl__layout, for who reads the process from outside */
    uint32_t ps_made;         /* atomic: Ps there are, whether in use or not */
    sigset_t signals;         /* immutable in a run: what bl_run's caller blocks */
    uint32_t forked;          /* atomic: this is the child of a fork during a run */
    uint32_t forked_left;     /* atomic: threads of an earlier run that this child has not */
    bl_scope forked_scope;    /* the innermost of who forked; neither opened nor closed */
    bl_scope root;
    bl__timers outside; /* of threads that hold no P */

    /* Work in common. */
    uint32_t lock __attribute__((aligned(BL__CACHE_LINE)));
    uint32_t queued;         /* lock to write, atomic to read: tasks in the global queue */
    bl__task *queue_head;    /* lock */
    bl__task *queue_tail;    /* lock */
    bl__batch *batches;      /* lock: what rings ran over, oldest first */
    bl__batch *batches_last; /* lock */
    bl__p *idle_p;           /* lock */
    uint32_t hold;           /* lock to write, atomic to read: nobody gets a P (handoff.c) */
    bl__p *held_p;           /* lock: those that were taken for that, … */
    bl_time hold_until;      /* lock: … and when that ends at the latest */
    bl__m *idle_m;           /* lock */
    uint32_t threads;        /* lock: Ms that live */
    uint32_t wake_refused;   /* atomic: there was no thread for an idle P; sysmon takes it back */
    uint32_t away;           /* lock to write, atomic to read: Ms that run a goroutine with no P */
    uint32_t idle_ms;        /* lock: sleepers */
    bl_dur
        spare_for;  /* immutable in a run: idle threads that hand-offs have left are kept so long */
    bl__m *blocked; /* lock: plain threads that wait without a deadline */
    uint32_t plain_blocked; /* atomic: plain threads that wait for goroutines without an end */
    uint32_t plain_changes; /* atomic: how often plain_blocked has changed */
    uint32_t file_waiters;  /* atomic: goroutines that wait for a regular file (io/regular.c) */

    uint32_t idle_ps __attribute__((aligned(BL__CACHE_LINE))); /* atomic; written under lock */
    uint32_t idle_all;          /* atomic; written under lock: idle Ps, those beyond procs too */
    uint32_t spinning;          /* atomic: Ms that look for work */
    uint64_t ids;               /* atomic: goroutine ids given to Ps */
    bl_time coarse;             /* atomic: a recent bl_now() */
    uint32_t walkers;           /* atomic: threads in bl__each_goroutine */
    uint32_t walks_closed;      /* atomic: the records are about to be freed */
    uint64_t started;           /* atomic: goroutines started by plain threads */
    struct bl__bubble *bubbles; /* lock to write, atomic to compare with NULL: core/bubble.h */
    struct bl__bubble *bubble_pool; /* lock */
    uint32_t bubble_ids;            /* lock */
    bl__poll poll __attribute__((aligned(BL__CACHE_LINE)));

    /* Memory. */
    uint32_t stack_lock __attribute__((aligned(BL__CACHE_LINE)));
    uint32_t no_stack_waiting;   /* stack_lock to write: tasks that found no stack */
    bl__task *no_stack;          /* stack_lock */
    bl__task *no_stack_last;     /* stack_lock: while there are any */
    bl__arena *arenas;           /* stack_lock to write, newest first */
    bl__g *free_stacks;          /* stack_lock: piles */
    size_t free_stacks_count;    /* stack_lock: of all piles */
    bl__spawned *free_spawns;    /* stack_lock */
    bl__spawn_slab *spawn_slabs; /* stack_lock */
    bl__m *all_m;                /* lock */
    bl__m *ended_m;              /* lock: whose threads are to be joined */

    bl__helpers helpers; /* of bl_blocking */

    /* sysmon. */
    pthread_t sysmon;
    const void *sysmon_top; /* atomic: where its own frames begin, for debug/maps.c; or NULL */
    uint32_t sysmon_wake;   /* atomic: what it sleeps on; 1 wakes it */
    uint32_t sysmon_deep;   /* atomic: it sleeps as long as all processors are idle */
    uint32_t solo_asked;    /* lock to write, atomic to read: who holds the one busy P may begin */
    uint32_t solo_unwanted; /* atomic: a P that is idle while solo is wanted */
    uint64_t adopted;       /* lock: how often somebody got a P */
    bl__watch watch;
} bl__sched;

extern bl__sched bl__rt;

/* The record of every thread that never called in. */
extern bl__m bl__nobody;

/* This thread's, or bl__nobody. */
static inline bl__m *bl__this_m(void) { return bl__tls_get(); }

/* The same, or NULL. */
static inline bl__m *bl__this_m_known(void)
{
    bl__m *m = bl__this_m();
    return m != &bl__nobody ? m : NULL;
}

/* proc.c */
void bl__schedule(void);       /* the scheduler's loop, on the thread's stack; returns at the end */
bl__m *bl__after_switch(void); /* what every switch does on the other side; the thread */
void bl__goroutine_main(void); /* the body of every goroutine (spawn.c) */
bl__g *bl__task_goroutine(bl__m *m, bl__task *t); /* gives a task a stack; NULL: there is none */
bl__task *bl__pick(bl__p *p);
void bl__switch_to(bl__m *m, bl__g *from, uint32_t action, bl__g *to);
void bl__come_back(
    bl__m *m); /* the caller's goroutine gets a processor, perhaps with another thread */

/* runq.c */
void bl__runq_overflow(bl__p *p, bl__task *t);
void bl__runq_put_global(bl__task *first, bl__task *last, uint32_t n);
bl__task *bl__runq_get_global(bl__p *p, uint32_t max);
bl__task *bl__runq_steal(bl__p *p, bl__p *victim, bool take_next);
void bl__runq_drain(bl__p *p);
void bl__runq_forget(void);

/* idle.c */
void bl__wake_one(void);
bl__p *bl__p_acquire(void); /* under sched's lock: an idle one, or NULL */
void bl__p_idle(bl__p *p);  /* under sched's lock: nobody has it any more */
void bl__m_adopt(bl__m *m, bl__p *p, bool spinning);   /* under sched's lock */
void bl__m_prepare(bl__m *m, bl__p *p, bool spinning); /* the same, and p->m is the caller's */
int bl__p_give(bl__p *p,
               bl__m **heir); /* under sched's lock: to a thread that is to be woken, or to
                                            a new one; 0, or why there is none */
void bl__m_wake(bl__m *m);
bl__task *bl__find_task(bl__m *m); /* waits for work; NULL: the run is over */
void bl__m_unpark_all(void);
bool bl__all_idle(void);
void bl__idle_recount(void); /* under sched's lock: the number wanted has changed */

/* m.c */
int bl__m_start(bl__p *p, bool spinning); /* under sched's lock */
void bl__m_reap(void);
void bl__m_init(bl__m *m, uint32_t kind);         /* a zeroed record, of no processor */
int bl__park_thread(bl__g *g, const bl__wait *w); /* of a plain thread, as bl__park and bl__ready */
void bl__ready_thread(bl__g *g);
/* Plain threads that wait without a deadline. fn runs under sched's lock, under which they stay. */
void bl__each_blocked(void (*fn)(const bl__m *m, void *arg), void *arg);
/* Notes where the calling thread, whose record is m, has its stack: for debug/stuck.c. */
void bl__m_stack_ask(bl__m *m);
/* The calling thread, which is the runtime's and whose record is m: that it ends, by pthread_exit
 * in a function of the user's, is fatal before bl__thread_may_end. */
void bl__thread_stays(bl__m *m);
void bl__thread_may_end(void);

/* stack.c */
int bl__stack_init(size_t size);
size_t bl__stack_least(void);
bool bl__stack_refill(bl__p *p);   /* p's cache, which is empty; false: there are none */
void bl__stack_await(bl__task *t); /* t has found none */
bool bl__stack_retry(void);        /* for those; false: there still are none, or nobody waits */
void bl__stack_put(bl__p *p, bl__g *g);
void bl__stack_fini(bool keep);
void bl__stack_forked(void);

/* The record of the slot that begins at slot and is the index-th of its arena: at the top, by
 * colour. */
enum { BL__COLOURS = 32, BL__COLOUR_FACTOR = 5, BL__COLOUR_STEP = 64 /* bytes: a cache line */ };
static inline bl__g *bl__slot_record(char *slot, size_t index)
{
    size_t colour = index * BL__COLOUR_FACTOR % BL__COLOURS * BL__COLOUR_STEP;
    size_t at = (bl__rt.stack_slot - sizeof(bl__g) - colour) / BL__CACHE_LINE * BL__CACHE_LINE;
    return (bl__g *)(void *)(slot + at);
}

/* A stack for a goroutine that p, the caller's, is about to run, or NULL. */
static inline bl__g *bl__stack_get(bl__p *p)
{
    if (BL__UNLIKELY(p->free_stacks == NULL) && !bl__stack_refill(p))
        return NULL;
    bl__g *g = p->free_stacks;
    p->free_stacks = (bl__g *)(void *)g->task.next;
    p->free_stacks_count--;
    __builtin_prefetch(p->free_stacks); /* in a page that nobody has used for long */
    bl__san_stack_reuse(g->stack_lo, g->stack_hi);
    return g;
}

void bl__each_arena(void (*fn)(const void *low, const void *high, void *arg), void *arg);
void bl__each_stack(void (*fn)(const bl__g *g, void *arg), void *arg);

/* run.c */
/* The first field of o that is out of range, with what it is and the most that it may be; NULL:
 * none. */
const char *bl__options_wrong(const bl_options *o, long long *value, long long *most);

/* spawn.c */
/* The memory of the records of goroutines that have not run; of all, or of those that there are. */
void bl__each_spawned_part(bool all, void (*fn)(const void *low, const void *high, void *arg),
                           void *arg);
void bl__each_spawned(void (*fn)(const bl__g *g, void *arg), void *arg);
void bl__spawn_fini(bool keep);

/* timer_queue.c; under the lock, if nothing else is said. */
void bl__timers_begin(bl__timers *ts, bl_time now, uint32_t heap_most); /* a new or forgotten one */
void bl__timers_insert(bl__timers *ts, bl_timer *t);                    /* never fails */
void bl__timers_remove(bl__timers *ts, bl_timer *t);                    /* t is in it */
bl_timer *bl__timers_due(bl__timers *ts, bl_time now);                  /* one that is, or NULL */
/* Makes `first` exact, and has all that are due then in the heap. Takes the lock; false: it is
 * another's. */
bool bl__timers_settle(bl__timers *ts);
void bl__timers_prefetch(const bl__timers *ts); /* those that may be the next */
void bl__timer_near(bl_timer *t); /* and of who waits for what t sends; life/timer.c */
void bl__timers_each(bl__timers *ts, void (*fn)(bl_timer *t, void *arg), void *arg);
size_t bl__timers_count(bl__timers *ts); /* takes the lock */
/* The memory that timers are noted in, beside the heap's; without the lock. */
void bl__timers_each_slab(const bl__timers *ts,
                          void (*fn)(const void *low, const void *high, void *arg), void *arg);
/* The end of a run: what is still armed is in no queue any more. ts itself stays for the next,
 * since a plain thread may be about to look at it (disarm). Takes the lock. */
void bl__timers_forget(bl__timers *ts);

/* timer.c */
void bl__timers_run(bl__timers *ts, bl_time now); /* fires what is due */
bl_time bl__timers_first(void);                   /* of all Ps */
bl__timers *bl__timers_here(void);                /* those of this thread's P, or of some P */

/* timekeeper.c: bl__rt.outside while no run is under way */
bool bl__timekeeper_tell(void);  /* something was armed; false: a run looks after it */
void bl__timekeeper_begin(void); /* the end of a run */
void bl__timekeeper_end(void);   /* a run begins */

/* handoff.c */
bool bl__enter_slow(bl__m *m);
bool bl__enter_outermost(bl__m *m); /* the same, where all are held by giving its own up */
typedef enum bl__look {
    BL__LOOK_NOTHING,
    BL__LOOK_SOON, /* the next look decides: whether an idle processor is to do work, or one is to be taken */
    BL__LOOK_WORK,
    BL__LOOK_TAKEN
} bl__look;
/* By sysmon: has it found work that waits, or taken a processor? eager: it has lately. */
bl__look bl__handoff_look(bool eager);
void bl__handoff_calm(void);  /* nothing runs: closes what it has kept open */
void bl__handoff_begin(void); /* a run begins */
void bl__handoff_stop(void);  /* no thread picks a goroutine any more */
/* The caller will work for long and calls nothing meanwhile that needs a processor: another thread
 * goes on with the one that it has. What that returns (false: it has none, or there is no thread)
 * is for bl__take_up, which may return on another thread. No lock of the runtime is held. */
bool bl__let_go(void);
void bl__take_up(bool gone);
/* From here on no goroutine runs, for a few milliseconds, until bl__hold_end: all processors are
 * taken, the caller's too, and nobody gets one. Those that are in a call of the system, or have run
 * without one before, go on. False: it cannot be, or somebody computes for too long. A goroutine
 * does bl__take_up(true) behind either. */
bool bl__hold_begin(void);
bool bl__hold_end(void);          /* false: it had ended, since it took too long */
void bl__hold_watch(bl_time now); /* by sysmon: ends one that takes too long */

/* solo.c */
/* By sysmon: ends solo if a processor is wanted. */
void bl__solo_give_up(void);
/* By sysmon, before it sleeps. True: the holder of the only busy processor has been asked to begin
 * solo, which bl__solo_unask takes back, before anything else. */
bool bl__solo_watch(bl_time now);
void bl__solo_unask(void);
void bl__solo_begin(void); /* by who may have been asked, where it may yield */
bool bl__solo_alone(void); /* under sched's lock: there is no second processor to be had */
void bl__solo_run_begin(void);

/* sysmon.c */
int bl__sysmon_start(void);
void bl__sysmon_stop(void);
void bl__sysmon_notify(void);
void bl__sysmon_rouse(void); /* a processor is not idle any more; idle.c */
void bl__sysmon_check(void); /* what it looks for while all are idle may have changed */

/* watch.c */
void bl__watch_open(void);
void bl__watch_forked(void);
bool bl__watch_sleep(void);
bool bl__watch_doze(int64_t pause, int64_t after);
bool bl__watch_bring(int64_t after);
bool bl__watch_brought(void);
void bl__watch_calm(void);
void bl__watch_break(void);
void bl__watch_put_off(bl_time now);

/* p, the caller's, goes on: sysmon need not look at it soon. */
static inline void bl__watch_feed(bl__p *p, bl_time now)
{
    store_relaxed(&p->fed, now);
    if (BL__UNLIKELY(load_relaxed(&bl__rt.watch.until) - now < BL__WATCH_AFTER / 2))
        bl__watch_put_off(now);
}

/* The first half of it. False: the caller goes on with bl__enter_slow, or what does that and
 * records. */
static inline __attribute__((always_inline)) bool bl__enter_quick(bl__m *m)
{
    store_relaxed(&m->inside, 1u);
    fence_compiler(); /* the barrier of take makes it one of the processor */
    return __builtin_expect(load_acquire(&m->bare) == 0, 1); /* ORD(bare): with take */
}

/* The calling thread is m, and is going to use its processor; it was not in the runtime. False: it
 * has none, or the run is over; it has entered all the same, and leaves as usual. A goroutine that
 * switches while it is inside leaves that to who goes on. */
static inline __attribute__((always_inline)) bool bl__enter(bl__m *m)
{
    return bl__enter_quick(m) || bl__enter_slow(m);
}

static inline __attribute__((always_inline)) void bl__leave(bl__m *m)
{
    store_release(&m->inside, 0u); /* ORD(inside): what was done with the processor; take */
}

/* The same for what is called from inside, too: bl__leave_again gets what it stores in *was. */
static inline __attribute__((always_inline)) bool bl__enter_again(bl__m *m, uint32_t *was)
{
    *was = load_relaxed(&m->inside);
    return bl__enter(m);
}

static inline __attribute__((always_inline)) void bl__leave_again(bl__m *m, uint32_t was)
{
    store_release(&m->inside, was); /* ORD(inside) */
}

/* Enters with a processor, if need be on another thread. Only by a goroutine, with no lock held. */
static inline bl__m *bl__enter_home(void)
{
    bl__m *m = bl__this_m();
    if (__builtin_expect(bl__enter(m), 1))
        return m;
    bl__come_back(m);
    return bl__this_m();
}

/* Adds to the end of p's ring, if there is room; p is the caller's. */
static inline bool bl__runq_put_quick(bl__p *p, bl__task *t)
{
    uint32_t tail = p->tail;
    BL__CHECK(p->m == bl__this_m());
    if (__builtin_expect(tail - load_acquire(&p->head) >= BL__RING, 0)) /* ORD(head) */
        return false;
    store_relaxed(&p->ring[tail % BL__RING], t);
    store_release(&p->tail, tail + 1); /* ORD(tail): with the load in steal */
    return true;
}

/* Adds to the end of p's ring; p is the caller's. */
static inline void bl__runq_put(bl__p *p, bl__task *t)
{
    BL__CHECK(load_relaxed(&t->status) == BL__G_RUNNABLE);
    if (__builtin_expect(!bl__runq_put_quick(p, t), 0))
        bl__runq_overflow(p, t);
}

/* Has the processor fetch what running the tasks behind head will touch first: a goroutine's
 * record, and two steps later the stack where it left off. A crowd's are all cold; a few are not.
 * Whatever stands in a slot lies in mapped memory, and a wrong guess costs nothing. wakes: they may
 * have waited for long, and are cold to the end of the record. */
static inline __attribute__((always_inline)) void bl__runq_prefetch(bl__p *p, uint32_t head,
                                                                    bool wakes)
{
    enum { LINES = 4 }; /* of a record, behind the first, and of a stack */
    bl__task *far = load_relaxed(&p->ring[(head + 4) % BL__RING]);
    bl__task *near = load_relaxed(&p->ring[(head + 2) % BL__RING]);
    __builtin_prefetch(far);
    if (near == NULL || BL__TSAN ||
        (wakes && near->kind != BL__TASK_G)) /* TSan would tell of the guess */
        return;
    const char *sp = load_relaxed(&((bl__g *)(void *)near)->sp);
    __builtin_prefetch(sp);
    for (size_t i = 1; wakes && i <= LINES; i++) {
        __builtin_prefetch(sp + i * BL__CACHE_LINE);
        __builtin_prefetch((const char *)near + i * BL__CACHE_LINE);
    }
}

/* Takes from the front of p's ring, at head when it was looked at, against thieves; p is the
 * caller's. */
static inline bl__task *bl__runq_get_shared(bl__p *p, uint32_t head)
{
    while (head != p->tail) {
        bl__task *t = load_relaxed(&p->ring[head % BL__RING]);
        if (cas_acq_rel(&p->head, &head, head + 1)) /* ORD(head): with the load in put */
            return t;
    }
    return NULL;
}

/* Takes from the front of p's ring; p is the caller's. */
static inline bl__task *bl__runq_get(bl__p *p)
{
    uint32_t head = load_relaxed(&p->head);
    if (p->tail - head > BL__FEW)
        bl__runq_prefetch(p, head, true);
    if (BL__LIKELY(!p->shared)) {
        if (BL__UNLIKELY(head == p->tail))
            return NULL;
        bl__task *t = p->ring[head % BL__RING];
        store_relaxed(&p->head, head + 1);
        return t;
    }
    return bl__runq_get_shared(p, head);
}

static inline bool bl__runq_empty(bl__p *p)
{
    return load_relaxed(&p->head) == load_relaxed(&p->tail);
}

static inline uint32_t bl__runq_length(bl__p *p)
{
    return load_relaxed(&p->tail) - load_relaxed(&p->head);
}

/* Takes t, which was seen there, from the run-next slot of p, the caller's; NULL: a thief was
 * quicker. */
static inline bl__task *bl__next_take_seen(bl__p *p, bl__task *t)
{
    if (BL__LIKELY(!p->shared)) {
        store_relaxed(&p->next, NULL);
        return t;
    }
    return cas_acquire(&p->next, &t, NULL) ? t : NULL; /* ORD(next): with the store in put */
}

static inline bl__task *bl__next_take(bl__p *p)
{
    bl__task *t = load_relaxed(&p->next);
    return t != NULL ? bl__next_take_seen(p, t) : NULL;
}

/* Work for another thread has been queued on p, the caller's: there is one to wake, and nobody is
 * looking for work already. */
static inline bool bl__wakes(const bl__p *p)
{
    if (BL__LIKELY(!p->shared))
        return false;
    if (__builtin_expect(!bl__rt.asymmetric, 0))
        fence_seq_cst(); /* ORD(idle): what was queued before the loads: see idle.c */
    else
        fence_compiler();
    return load_relaxed(&bl__rt.idle_ps) != 0 && load_relaxed(&bl__rt.spinning) == 0;
}

static inline void bl__wake_maybe(const bl__p *p)
{
    if (bl__wakes(p))
        bl__wake_one();
}

/* Puts t in the run-next slot of p, the caller's; who was there goes to the end of the ring. */
static inline void bl__next_put(bl__p *p, bl__task *t)
{
    bl__task *old = load_relaxed(&p->next);
    BL__CHECK(p->m == bl__this_m());
    BL__CHECK(load_relaxed(&t->status) == BL__G_RUNNABLE);
    if (BL__LIKELY(old == NULL)) {
        store_release(&p->next, t); /* ORD(next): with the swaps that take it */
        return;
    }
    if (p->shared)
        old = swap_acq_rel(&p->next, t); /* ORD(next) */
    else
        store_relaxed(&p->next, t);
    if (old != NULL) {
        bl__runq_put(p, old);
        bl__wake_maybe(p);
    }
}

static inline uint32_t bl__rng(bl__p *p)
{
    uint32_t x = p->rng; /* Marsaglia, Xorshift RNGs (2003) */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return p->rng = x;
}

#endif
