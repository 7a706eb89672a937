/* SPDX-License-Identifier: MIT */
/*
 * stuck_notes.h: what a search for stuck goroutines notes of each, for its parts: stuck.c asks who
 * is alive, stuck_objects.c what each waits on, stuck_idle.c who may wait on purpose; stuck_threads.c notes plain
 * threads.
 */
#ifndef BL__DEBUG_STUCK_NOTES_H
#define BL__DEBUG_STUCK_NOTES_H

#include "debug/peek.h"
#include "debug/reach.h"
#include "debug/stuck.h"
#include "debug/traceback.h"
#include "life/ctx.h"
#include "sync/chan.h"

enum {
    BL__STUCK_CONTEXTS = 8, /* on the way up from a goroutine's; with more it counts as alive */
    BL__STUCK_CASES = 24,   /* of a select; likewise */
    BL__STUCK_OBJECTS = 2 * BL__STUCK_CONTEXTS + BL__STUCK_CASES, /* of a goroutine */
    BL__STUCK_RW = 64,
    BL__STUCK_THREADS = 64, /* plain ones; more count as alive */
    BL__STUCK_ACTIVE = 256,
    BL__STUCK_CALLERS = 64, /* stacks of who is alive that are walked */
    BL__STUCK_RW_HELD = 2   /* for writing: of an rwmutex's word, as in sync/rwmutex.c */
};

#define BL__NOBODY UINT32_MAX

typedef struct bl__node {
    const bl__g *at;
    uint64_t id;
    const void *obj;
    const bl_scope *home;
    const bl_ctx *ctx;
    const bl__site *made; /* the channel that it waits for, once that was looked at; else NULL */
    const char *low;      /* its stack in use */
    const char *high;
    uint32_t switches; /* bl__stuck_moves; of a plain thread its waits */
    uint32_t scope;    /* index of home in scopes */
    uint32_t stack;    /* item of its stack, while it may be stuck */
    uint32_t copy;     /* item of its copy of bl_go_copy's value, likewise */
    uint32_t first;    /* of its objects */
    uint8_t objects;
    uint8_t reason;
    uint8_t alive : 1;
    uint8_t cancellable : 1;
    uint8_t opener : 1; /* it has a scope open, which is what a cancellation ends */
    uint8_t sound : 1;  /* its stack in use is where stacks are (core/stack.c), so it can be read */
    uint8_t copied : 1; /* its function was given a copy that is in its record */
    uint8_t thread : 1; /* a plain thread that waits without an end; id 0 */
    uint8_t kept : 1;   /* it waits for an rwmutex that somebody keeps who is stuck himself */
} bl__node;

/* Who has read locks, or wants a write lock. */
typedef struct bl__reader {
    uint32_t node;
    uint32_t reads; /* how many are in read */
    const void *read[BL__READS];
} bl__reader;

/* Of a plain thread that is noted. */
typedef struct bl__plain {
    uint32_t node;
    const char *low; /* its stack; NULL: it is not known */
    const char *at;  /* in use from here on, … */
    const char *own; /* … and the C library's from here on: its record of the thread */
    const char *high;
    const bl__g *caller; /* the goroutine for which it runs a function of bl_blocking, or NULL */
} bl__plain;

typedef struct bl__home {
    const bl_scope *at;
    uint32_t opener; /* its node; BL__NOBODY: it is no goroutine, or not known */
    uint32_t members;
    uint32_t alive; /* of them */
    bool timers;    /* some of its after-functions are pending, or its grace ends the wait for it */
} bl__home;

/* What was read of a context. */
typedef struct bl__seen_ctx {
    const bl_ctx *at; /* NULL: nothing */
    const bl_ctx *upstream;
    const bl_scope *scope;
    bool is_static;
    bool ends; /* it is cancelled, or will be at a time */
} bl__seen_ctx;

typedef struct bl__notes {
    bl__search *s;
    bl__reach *reach;
    bl__peek_pages *pages; /* of channels */
    bl__node *nodes;
    uint32_t count, most;
    uint32_t left_out; /* alive, and only counted in their homes, … */
    bool whole;        /* … but if all are noted */
    bl__plain plain[BL__STUCK_THREADS];
    uint32_t threads;    /* of count: plain ones */
    uint32_t waiting;    /* of these, that still do */
    uint32_t *by_record; /* hash tables, open addressing: index + 1 */
    uint32_t *by_scope;
    uint32_t record_mask, scope_mask;
    bl__home *homes;
    uint32_t homes_count;
    bl__reader rw[BL__STUCK_RW]; /* the first ones */
    uint32_t rw_count;
    uint32_t objects;
    uint64_t picks;       /* of all processors, before the first note */
    bl_time before;       /* parked since then, or earlier */
    const bl__site *made; /* that was looked at last, … */
    bool is_chan;         /* … and whether it is a channel of a user's */
    bool failed;
    bool looked;  /* memory was read */
    bool closely; /* also what is seldom found in memory, and the kernel's */
    bool held;    /* who is to run does not */
    bool marked;  /* spread_words has found something */
    bool blind; /* memory cannot be looked at: whoever waits on what others might get at is alive */
    uint64_t active
        [BL__STUCK_ACTIVE]; /* functions that those who are alive are known to be in: their names' hashes */
    uint32_t active_count;
    const bl__site *maker; /* what made the channel that was looked at last for that, … */
    bool maker_active;     /* … and whether it is one of these */
    bool nobody;           /* is left who could do anything */
    bool unknown;          /* somebody runs, or is about to */
    bl__runners ran;       /* goroutines that do */
    bl__trace_space space; /* for copies of stacks */
    uint32_t callers;      /* looked for in them */
    bl__seen_ctx ctx[BL__STUCK_CONTEXTS]; /* that were looked at last, by how far up they are */
} bl__notes;

/* The innermost scope that a goroutine has open; NULL: none. */
static inline const bl_scope *bl__node_inner(const bl__node *d)
{
    return d->opener && !d->thread ? load_relaxed(&d->at->inner) : NULL;
}

/* Somebody who is alive can wake it. */
static inline void bl__node_revive(bl__notes *n, bl__node *d)
{
    if (d->alive)
        return;
    d->alive = 1;
    n->homes[d->scope].alive++;
}

/* stuck.c: the node of this record, or BL__NOBODY. */
uint32_t bl__notes_node(const bl__notes *n, const void *record);
/* stuck.c: g, whose node is being written, has read locks or wants a write lock. */
void bl__notes_reader(bl__notes *n, const bl__g *g);
/* stuck.c: d waits for an rwmutex that somebody keeps for reading who is stuck himself. */
bool bl__node_kept(const bl__notes *n, const bl__node *d);

/* stuck_objects.c: adds to n->reach what d waits on, and with what it can be cancelled. False: it
 * is alive after all. Of those who may be stuck, one after the other. */
bool bl__node_objects(bl__notes *n, bl__node *d);
/* What belongs to a scope is not got at by who has the scope. */
void bl__notes_skip(bl__notes *n);

/* stuck_deadlines.c: a timer is armed that does more than to send on its channel, or one that is
 * being fired does not get on. */
bool bl__deadlines_act(void);
/* stuck_deadlines.c: adds to n->reach what the deadlines of contexts lead to. False: there are too
 * many, or one that is being fired does not get on. */
bool bl__notes_deadlines(bl__notes *n);

/* stuck_threads.c: notes plain threads. */
void bl__notes_threads(bl__notes *n);
/* stuck_threads.c: adds the stack of a plain thread, which is no longer everybody's then; and no
 * address of the C library's record of it, by which others join it, leads there. False: it cannot
 * be told from what others have. */
bool bl__notes_thread_stack(bl__notes *n, bl__node *d);
/* stuck_threads.c: those that seem to be stuck have not gone on. */
bool bl__notes_threads_wait(bl__notes *n);

/* stuck_idle.c: spares who may be idle on purpose. True: there is somebody. */
bool bl__notes_spare(bl__notes *n);

#endif
