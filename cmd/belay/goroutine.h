/* SPDX-License-Identifier: MIT */
/* goroutine.h: the goroutines of another process, as its records say at the moment. */
#ifndef BELAY_CMD_GOROUTINE_H
#define BELAY_CMD_GOROUTINE_H

#include "target.h"

typedef struct goroutine {
    uint64_t id;
    uint64_t parent; /* 0: a plain thread */
    uint64_t record; /* its address; 0: it has not run */
    uint64_t fn;
    uint64_t site;
    uint64_t sp; /* while it is parked or runnable */
    uint64_t stack_lo, stack_hi;
    int64_t since; /* ns that it has been in its state; 0: not known */
    uint32_t status;
    uint32_t wait;
    uint32_t switches;
    uint32_t reason;
    uint64_t object; /* what it waits on, while it is parked */
    int32_t tid;     /* of the thread that runs it; 0: none */
} goroutine;

typedef struct goroutines {
    goroutine *at; /* by number */
    size_t len;
    uint32_t procs, threads;
    bool running; /* bl_run is under way */
} goroutines;

/* Reads all; false: out of memory, or the process is gone. goroutines_free afterwards either way. */
bool goroutines_read(const target *t, goroutines *all);
void goroutines_free(goroutines *all);

/* Reads the record of g again. False: it belongs to another by now. */
bool goroutine_again(const target *t, const goroutine *g, goroutine *now);

/* What it is by now; one that had not run stays as it was. False: it has ended. */
bool goroutine_refresh(const target *t, goroutine *g);

/* "chan receive", "running", "runnable". */
const char *goroutine_state(const target *t, const goroutine *g);

/* Of one that waits for a lock: "sync.Mutex 0x…, held by goroutine 7", in fresh memory. NULL: it does not. */
char *goroutine_lock(const target *t, const goroutine *g);

/* Where it was started: function and "file:line", in fresh memory; NULL where that is not known. */
typedef struct goroutine_place {
    char *func;
    char *place;
} goroutine_place;
goroutine_place goroutine_started(const target *t, const goroutine *g);

#endif
