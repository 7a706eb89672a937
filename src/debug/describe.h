/* SPDX-License-Identifier: MIT */
/* describe.h: what a goroutine waits on, what it holds, and its labels, in lines of a report. */
#ifndef BL__DEBUG_DESCRIBE_H
#define BL__DEBUG_DESCRIBE_H

#include "core/sched.h"
#include "debug/out.h"

/* In the words of mutexes and rwmutexes, beside the owner: as in sync/mutex.c and
 * sync/rwmutex.c. */
enum { BL__WORD_FLAGS = 7, BL__WORD_WRITER = 2, BL__WORD_READER = 8 };

/* A copy of a place in the program. What made an object is known by the object, which may be
 * damaged. */
typedef struct bl__site_text {
    char what[128], func[128], file[256];
    int line;
} bl__site_text;

/* False: it is not readable. */
bool bl__site_read(bl__site_text *to, const bl__site *at);

enum { BL__SCOPE_NAME = 128 };

/* The name of a scope, of which s is a copy; else what it is called where it was opened. False:
 * neither is readable. */
bool bl__scope_name(char name[BL__SCOPE_NAME], const bl_scope *s);

/* The timer or ticker whose channel at is, of which c is a copy, if nothing comes from it unless
 * somebody starts it again; else NULL: it is armed, or somebody works on it. */
const bl_timer *bl__timer_silent(const bl_chan *at, const bl_chan *c);

/* What g runs: the name of the function, or of what bl_go was given. */
const char *bl__describe_function(const bl__g *g);

/* Who has what g, a copy of a record, waits for, or does it: the record, or that of who has ended
 * with the lock (tick: as bl__orphan_kind's); 0: nobody that is known. */
uintptr_t bl__describe_owner(const bl__g *g, uint32_t *tick);

/* The address of an object in its user's storage, with what is known of where that is. */
void bl__describe_place(bl__out *o, const void *at);

/* What is done ("waits on") with the object that goroutines wait on for this reason; nothing for
 * those that have no line of their own. */
void bl__describe_object(bl__out *o, const char *does, bl__reason reason, const void *at);

/* The pipe (bl_pipe_new) that g waits for: BL__OP_RECV, it reads; BL__OP_SEND, it writes; 0: it
 * waits for something else. */
int bl__describe_pipe(const bl__g *g);

/* g is a copy of a goroutine's record, at is the record itself. Each prints nothing where there is
 * nothing to say, or where what there was is gone. */
void bl__describe_wait(bl__out *o, const bl__g *g);
/* Where that was made, or NULL. */
const bl__site *bl__describe_made(const bl__g *g);
/* What was made there is a channel by itself, and not one of a timer or a context. */
bool bl__describe_is_chan(const bl__site_text *made);
void bl__describe_held(bl__out *o, const bl__g *g, const bl__g *at);
void bl__describe_labels(bl__out *o, const bl__g *g);

#endif
