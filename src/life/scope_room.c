/* SPDX-License-Identifier: MIT */
/*
 * scope_room.c: the limit on how many goroutines of a scope there are at one time.
 *
 * bl__running counts those that hold a place, under the scope's lock; a place that becomes free
 * goes straight to who has waited longest, so somebody waits only while all places are taken. It
 * exceeds the limit only by functions that cannot wait: a timer's, or one that runs after a
 * cancellation.
 */
#include "life/ctx.h"
#include "life/scope_parts.h"
#include "sync/waitq.h"

enum { ROOM_GIVEN, ROOM_CANCELLED }; /* what a waiter is woken with */

static bl__waitq *room_queue(bl_scope *s) { return BL__WAITQ(&s->bl__room_head); }

/* Under s's lock: whom a place or the news of the cancellation can be given to, claimed. */
static bl__g *room_claim(bl_scope *s)
{
    bl__waitq *q = room_queue(s);
    while (!bl__waitq_empty(q)) {
        bl__g *g = q->head->g;
        bool claimed = bl__claim(g);
        (void)bl__waitq_pop_front(q);
        if (claimed)
            return g;
    }
    return NULL;
}

int bl__room_enter(bl_scope *s)
{
    bl__lock(&s->bl__lock, BL__RANK_SCOPE);
    int state = bl__ctx_err(s->bl__ctx);
    if (state != 0 || s->bl__running < s->bl__limit) {
        s->bl__running += state == 0;
        bl__unlock(&s->bl__lock);
        bl__race_acquire(state == 0 ? (void *)&s->bl__limit : (void *)s->bl__ctx);
        return state;
    }
    bl__g *g = bl__self();
    bl__waiter w = {.g = g};
    bl__waitq_push_back(room_queue(s), &w);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_SCOPE_ROOM,
                                    .cancellable = true,
                                    .obj = s,
                                    .lock = &s->bl__lock,
                                    .deadline = BL_NEVER});
    if (r < 0) {
        bl__lock(&s->bl__lock, BL__RANK_SCOPE);
        bl__waitq_remove(room_queue(s), &w);
        bl__unlock(&s->bl__lock);
        return r;
    }
    bl__race_acquire(&s->bl__limit); /* whose end has made room */
    state = bl__ctx_err(s->bl__ctx);
    if (state != 0 && r == ROOM_GIVEN)
        bl__room_leave(s);
    return state;
}

void bl__room_force(bl_scope *s)
{
    bl__lock(&s->bl__lock, BL__RANK_SCOPE);
    s->bl__running++;
    bl__unlock(&s->bl__lock);
}

void bl__room_leave(bl_scope *s)
{
    bl__lock(&s->bl__lock, BL__RANK_SCOPE);
    bl__g *next = s->bl__running <= s->bl__limit ? room_claim(s) : NULL;
    if (next == NULL)
        s->bl__running--;
    bl__unlock(&s->bl__lock);
    if (next != NULL)
        bl__ready(next, ROOM_GIVEN);
}

/* Whoever waits for room may be in another context, and is told by this that there will be none. */
void bl__scope_cancelled_late(bl_scope *s)
{
    bl__g *g;
    bl__lock(&s->bl__lock, BL__RANK_SCOPE);
    while ((g = room_claim(s)) != NULL)
        bl__ready(g, ROOM_CANCELLED);
    bl__unlock(&s->bl__lock);
    bl__scope_unpin(s);
}
