/* SPDX-License-Identifier: MIT */
/* pool.h: the record of a worker pool, which reports look at. pool.c has its protocol. */
#ifndef BL__LIFE_POOL_H
#define BL__LIFE_POOL_H

#include "life/scope.h"
#include "sync/waitq.h"

enum {
    BL__POOL_LIVE = 0x6c6f6f70, /* "pool" */
    BL__POOL_FREED = 0,
};

typedef struct bl__job {
    bl_fn fn;
    void *arg;
#if BL__RACE
    uint8_t race; /* a byte for race.h: the submit */
    void *made;   /* where that was: the caller's return address */
    void *fiber;  /* of a job that was taken: its own */
#endif
} bl__job;

/* Who hands jobs to on_discard; in its frame. */
typedef struct bl__dropper {
    struct bl__dropper *next; /* both locks */
    const bl__g *g;           /* immutable */
} bl__dropper;

enum { BL__POOL_LINE = 64 };

/* The locks: put, take, or both, which is put and then take. What is written under both may be read
 * under either. */
struct bl_pool {
    uint32_t magic; /* atomic: BL__POOL_LIVE until its scope frees it */
    uint32_t bound; /* immutable: jobs that may be queued */
    uint32_t mask;  /* immutable: slots of the ring - 1; a power of two, not below bound */
    uint32_t most;  /* immutable: workers at one time */
    bl__job *jobs;  /* immutable: the ring */
    void (*on_discard)(bl_fn fn, void *arg); /* immutable */
    bl_scope *scope;                         /* immutable: whose goroutines the workers are */
    bl__labels *labels; /* immutable: of who made it, which each job begins with */
    uint64_t maker;     /* immutable: the id of who made it */
    bl_stop *on_cancel; /* atomic: empties the queue when the scope is cancelled */

    uint32_t put __attribute__((aligned(BL__POOL_LINE))); /* the lock of those who submit */
    uint32_t tail;      /* put to write, atomic: jobs put into the ring; counts on and on */
    uint32_t head_seen; /* put: what head was when that was looked at last */
    uint64_t submitted; /* put */
    uint64_t refused;   /* put */

    uint32_t take __attribute__((aligned(BL__POOL_LINE))); /* the lock of the workers */
    uint32_t head;      /* take to write, atomic: jobs taken out of the ring */
    uint32_t tail_seen; /* take: what tail was when that was looked at last */
    uint32_t running;   /* take: workers in a job */
    uint64_t done;      /* take */
    uint64_t failed;    /* take */
    uint64_t discarded; /* take */

    uint32_t workers __attribute__((aligned(BL__POOL_LINE))); /* both: goroutines that run jobs */
    uint32_t looking; /* both: those of them that will look at the queue before they end */
    struct bl__dropper *droppers; /* both: who hands jobs to on_discard */
    uint32_t closed;      /* both, atomic to peek: whether and why it takes no jobs; pool.c */
    bl__waitq submitters; /* both: who waits for room; val is the bl__job */
    bl__waitq joiners;    /* both: who waits for the end */
    bl_scope inner;       /* immutable: what a job finds as its current scope and context */
    bl__res res;
};

#endif
