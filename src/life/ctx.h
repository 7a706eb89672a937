/* SPDX-License-Identifier: MIT */
/*
 * ctx.h: the record of a context.
 *
 * State. `state` goes from 0 to BL_ECANCELED or BL_ETIMEDOUT once, under the context's lock, after
 * `cause`; whoever reads it with acquire may read cause.
 *
 * References. `refs` counts the users', scopes' and children's: with the last one the context is
 * cancelled and leaves its parent. `holds` counts who may still look at the memory: all refs
 * together are one hold, and each bl_stop has one, since it outlives the context if its scope does.
 *
 * The tree. A context that can be cancelled is on the children's list of the next one above that
 * can be, its `upstream`, from its creation until its own or upstream's cancellation. The list and
 * the links of its members are under upstream's lock. A child holds a reference on its parent; the
 * parent has none on the children: who takes them off the list to cancel them takes one first,
 * which fails for a child whose last reference is just being released.
 *
 * Lock order: no two contexts' locks are ever held together, and under one only timer heaps and
 * bl__ready. It ranks below every object on which a goroutine waits, because bl__ctx_register is
 * called with such an object's lock held.
 */
#ifndef BL__LIFE_CTX_H
#define BL__LIFE_CTX_H

#include "life/scope.h"

enum { BL__CTX_MAGIC = 0x78746362 }; /* "bctx" */

struct bl_ctx {
    int32_t state;  /* lock to write, atomic: 0, BL_ECANCELED or BL_ETIMEDOUT; first field */
    int32_t cause;  /* written once before state */
    uint32_t refs;  /* atomic */
    uint32_t holds; /* atomic */
    uint32_t lock;
    uint8_t kind;        /* immutable: BL__CTX_… */
    uint8_t is_static;   /* immutable: never freed, not counted */
    uint8_t cancellable; /* immutable: by itself or from upstream */
    uint8_t has_timer;   /* immutable: there is a timer behind the record */
    uint8_t linked;      /* lock: upstream's: it is on upstream's list */
    uint8_t fired;       /* the deadline's firing has a reference and needs not be waited for */
    uint32_t magic;      /* BL__CTX_MAGIC until the last reference is released */
    bl_ctx *upstream;    /* immutable: where cancellation comes from, or NULL */
    bl_ctx *next;        /* lock: upstream's; of an unlinked one: its canceller's worklist */
    bl_ctx *prev;        /* lock: upstream's */
    bl_ctx *children;    /* lock */
    bl__reg *waiting;    /* lock: registered goroutines */
    bl_scope *scope;     /* immutable: whose context it is; valid until cancelled */
    bl_chan *done;       /* lock to write; atomic: made when first asked for */
    bl_time deadline;    /* immutable: its own or one from above; BL_NEVER */
    /* From here on it leads to what who has it can get at (debug/maps.c). */
    bl_stop *afters;        /* lock: pending after-functions, newest first */
    bl_ctx *parent;         /* immutable: one reference; where values come from */
    const void *key;        /* immutable */
    void *value;            /* immutable */
    const bl__site *made;   /* immutable */
    bl__timer_head timer[]; /* one, if has_timer */
};

/* A handle of bl_ctx_after. Belongs to its scope. */
struct bl_stop {
    bl__res res;
    bl_ctx *ctx;          /* immutable: one hold */
    bl_stop *next;        /* lock: ctx's, while pending */
    bl_stop *prev;        /* lock: ctx's, while pending */
    bl_scope *scope;      /* immutable */
    bl_fn fn;             /* immutable */
    void *arg;            /* immutable */
    const bl__site *site; /* immutable */
    uint32_t pending;     /* lock: ctx's */
};

/* bl_ctx_background, and what a scope has that found no memory: cancelled for ever. */
extern bl_ctx bl__ctx_background;
extern bl_ctx bl__ctx_failed;

/* A user's pointer, before anything is done with it: one that was freed has no magic, until its
 * memory is somebody else's. */
static inline void bl__ctx_check(const bl_ctx *c)
{
    if (BL__UNLIKELY(load_relaxed(&c->magic) != BL__CTX_MAGIC))
        bl__fatal("use of a freed context");
}

/* bl__ctx_new with more to say: the context of scope (or NULL); with shield p gives values only. */
bl_ctx *bl__ctx_make(bl_ctx *p, int kind, bl_time deadline, bool shield, bl_scope *scope,
                     const bl__site *site);

/* Cancels c, and all below it, unless it is cancelled already; true: it was this call. When it
 * returns, whichever call it was has done what it does under c's lock. */
bool bl__ctx_cancel(bl_ctx *c, int state, int cause);

/* The cause a user gave, as it is kept. */
static inline int bl__ctx_cause_of(int cause) { return cause < 0 ? cause : BL_ECANCELED; }

/* One more reference, unless the last one is gone. */
bool bl__ctx_try_retain(bl_ctx *c);
/* Gives back the memory with the last hold. */
void bl__ctx_unhold(bl_ctx *c);
/* Takes c off its upstream's list, if it is there. */
void bl__ctx_unlink(bl_ctx *c);

/* Whose deadline a pending timer is, or NULL. */
const bl_ctx *bl__ctx_of_deadline(const bl_timer *t);

/* The deadline's timer; only if has_timer. */
static inline bl_timer *bl__ctx_timer(bl_ctx *c) { return (bl_timer *)(void *)c->timer; }

/* ctx_after.c: what a cancellation does with the pending ones. Take is called under c's lock and
 * pins their scopes; start without it. */
bl_stop *bl__ctx_afters_take(bl_ctx *c);
void bl__ctx_afters_start(bl_stop *stops);

#endif
