/* SPDX-License-Identifier: MIT */
/*
 * trace.h: the record of what the scheduler does (core/trace.c), as the rest of core sees it.
 *
 * While nothing is recorded that costs nothing: whoever parks, yields, readies, spawns or ends
 * enters the runtime anyway, with one comparison (m->bare), and while it is recorded
 * BL__BARE_TRACED in bare makes them all take the slow way, which is here. The rest, which is rare,
 * looks at bl__trace_on. The latency profile (debug/contention.c) uses the same way to note when a
 * goroutine became runnable.
 */
#ifndef BL__CORE_TRACE_H
#define BL__CORE_TRACE_H

#include "core/proc.h"
#include "core/trace_format.h"

/* ---- Events. With a processor: inside of the runtime ---- */

/* Instead of bl__enter_slow: enters, and records for what. */
bool bl__trace_park(bl__m *m, bl__g *g);
bool bl__trace_ready(bl__m *m, bl__g *g, int result);
/* m, which has entered with a processor, has picked t and is about to switch to it: true, and that is
 * recorded; false: it has to be on the other side (bl__trace_switched), unless t has not run yet. */
bool bl__trace_next(bl__m *m, const bl__task *t);
/* g is about to end on m, which has entered. */
void bl__trace_end(bl__m *m, const bl__g *g);
/* m has left who ran before, for m->g. */
void bl__trace_switched(bl__m *m);
/* A goroutine runs for the first time on p. */
void bl__trace_began(bl__p *p, const bl__spawned *s);
void bl__trace_yield(bl__m *m, bl__g *g);
/* m has got a processor for the goroutine that it runs, or found none for it. */
void bl__trace_back(bl__m *m, bool found);
void bl__trace_spawn(bl__m *m, bl__p *p, bl__spawned *s);
void bl__trace_steal(bl__p *p, const bl__p *victim, uint32_t n);
void bl__trace_thread(bl__m *m);
uint64_t bl__trace_now(void);
/* Turns BL__TRACE_… on or off. */
void bl__trace_switch(uint32_t what, bool on);
/* Has events recorded no more, or again. False: they are off, or it is so already. */
bool bl__trace_pause(bool pause);
/* Under sched's lock, of a processor taken at now. */
void bl__trace_handoff(uint64_t now, uint64_t id, uint32_t processor, uint32_t why);

/* ---- Buffers: debug/recorder.c starts and stops, writes files and dumps ---- */

enum { BL__TRACE_SITES = 64 };

/* The chunk that a stream writes, and in a flight recorder those before. */
typedef struct bl__trace_buf {
    uint64_t *at;  /* owner; atomic to read: where the next word goes */
    uint64_t *end; /* owner: not an event from here on */
    uint64_t last; /* owner: ticks of the event before */
    uint64_t
        *left; /* owner: at, behind an event of who leaves the processor to the next one; NULL */
    uint32_t generation; /* owner; atomic to read: bl__tracer.generation when it was begun */
    uint32_t thread;     /* owner: of a processor: who has it */
    uint32_t lock;       /* chunks begin and end, what there is so far is written */
    uint32_t stream;     /* immutable: BL__TRACE_PROC, … */
    uint32_t id;         /* immutable: of the processor */
    uint32_t shared;     /* immutable: who holds the lock is the owner */
    uint64_t *base;      /* lock: chunks, one after the other */
    uint32_t chunks;     /* lock: there */
    uint32_t streamed;   /* immutable: chunks are written to fd one behind the other */
    int fd;              /* immutable */
    uint64_t seq;        /* lock; atomic to read: chunks begun so far */
    uint64_t paced;      /* sysmon's: seq when it last looked */
    uint64_t *written;   /* lock: up to here the file has the chunk at hand */
    uint64_t offset;     /* lock: of that chunk in the file */
    const bl__site *sites[BL__TRACE_SITES]; /* owner: some of those that have a name in the trace */
} bl__trace_buf;

/* A text that traces need, kept as long as the process lives. */
typedef struct bl__trace_name {
    struct bl__trace_name *next; /* atomic; only appended to */
    const bl__site *site;
    uint32_t len;
    char text[];
} bl__trace_name;

typedef struct bl__tracing {
    uint32_t
        generation; /* atomic: grows with each start and run: what buffers hold is of the one before */
    /* Atomic, and do not change while on: who has not seen yet that it is over may still look. */
    uint32_t ring;   /* chunks that a processor keeps; 0: all go into the file */
    uint32_t clock;  /* no steady ticks: nanoseconds */
    int fd;          /* of the file, or -1 */
    uint32_t wanted; /* sched's lock: BL__TRACE_… that were turned on */
    bool paused;     /* sched's lock: events are not recorded for now, though wanted */
    int failed;      /* atomic: why the file could not be written to; 0 */
    uint64_t size;   /* atomic: of the file */
    bl__trace_buf *procs[BL__MAX_PROCS]; /* atomic; never freed */
    bl__trace_buf outside;               /* of threads that hold no processor */
    bl__trace_buf names;                 /* of a file */
    bl__trace_name *first;               /* atomic */
} bl__tracing;

extern bl__tracing bl__tracer;

/* False: no memory. Under b's lock. */
bool bl__trace_buf_renew(bl__trace_buf *b);
/* Writes what b holds and the file has not. Under b's lock. */
void bl__trace_flush(bl__trace_buf *b);
/* Ends a chunk of b, and begins another. Under b's lock. */
void bl__trace_chunk_next(bl__trace_buf *b);
void bl__trace_put_text(bl__trace_buf *b, uint32_t kind, uint64_t key, const char *text,
                        uint32_t len);
void bl__trace_put_live(bl__trace_buf *b, const bl__g *g);
void bl__trace_put_sync(void);
/* Sees to it that site has a name in the trace. */
void bl__trace_name_site(const bl__site *site);

/* ---- debug/recorder.c ---- */

/* A run begins, which starts what BELAY_TRACE asks for; ends; sysmon has looked. */
void bl__trace_run_begin(void);
void bl__trace_run_end(void);
void bl__trace_tick(bl_time now);
/* The process is about to die: what is kept in memory is written. In signal handlers, too. */
void bl__trace_dying(void);
void bl__trace_forked(void);

#endif
