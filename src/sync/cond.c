/* SPDX-License-Identifier: MIT */
/*
 * cond.c: the condition variable.
 *
 * A waiter is in the queue before its mutex is unlocked, so a signal sent with the mutex held finds
 * everyone whose wait began before; and it finds no one else, since it takes from the front of the
 * queue once: a wait that begins later cannot steal it. bl__lock is held from then until the waiter
 * can be woken, over the unlock of the mutex; hence the rank of its lock before the mutex's.
 *
 * A waiter that a cancellation or deadline has claimed is passed over: the signal goes to the next.
 *
 * bl__mutex is the mutex that those in the queue have unlocked; NULL when the queue is empty.
 */
#include "sync/object.h"

static inline bl__waitq *cond_queue(bl_cond *c) { return BL__WAITQ(&c->bl__head); }

/* bl__lock held. */
static void cond_forget_mutex(bl_cond *c)
{
    if (bl__waitq_empty(cond_queue(c)))
        c->bl__mutex = NULL;
}

int bl_cond_wait_until(bl_cond *c, bl_mutex *m, bl_time deadline)
{
    bl__g *g = bl__self();
    bl__waiter w;
    BL__RACE_FRAME();
    BL__CHECK_COPY(c, "sync.Cond");
    bl__race_use(c);
    bl__mutex_check_owner(m, g);
    bl__waiter_init(&w, g);

    bl__lock(&c->bl__lock, BL__RANK_COND);
    if (c->bl__mutex && c->bl__mutex != m)
        bl__fatal_of("waits on", BL__WAIT_COND, c, "sync: Cond used with two mutexes");
    c->bl__mutex = m;
    bl__wait_race_offer(g);
    bl__waitq_push_back(cond_queue(c), &w);
    bl_mutex_unlock(m);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_COND,
                                    .cancellable = true,
                                    .obj = c,
                                    .lock = &c->bl__lock,
                                    .deadline = deadline});
    bl__wait_race_woken(g);
    if (r < 0) {
        bl__lock(&c->bl__lock, BL__RANK_COND);
        bl__waitq_remove(cond_queue(c), &w);
        cond_forget_mutex(c);
        bl__unlock(&c->bl__lock);
    }
    /* From here on c may be gone: the caller has m to protect itself, c's last user need not. */
    bl_mutex_lock(m);
    return r;
}

int bl_cond_wait(bl_cond *c, bl_mutex *m)
{
    BL__RACE_FRAME();
    return bl_cond_wait_until(c, m, BL_NEVER);
}

void bl_cond_signal(bl_cond *c)
{
    bl__asked();
    BL__RACE_FRAME();
    BL__CHECK_COPY(c, "sync.Cond");
    bl__race_use(c);
    bl__lock(&c->bl__lock, BL__RANK_COND);
    BL__CHECK(bl__waitq_empty(cond_queue(c)) == (c->bl__mutex == NULL));
    bl__waiter *w = bl__waitq_claim_front(cond_queue(c));
    cond_forget_mutex(c);
    bl__unlock(&c->bl__lock);
    if (w) {
        bl__wait_race_tell(w->g); /* also without the mutex */
        bl__ready(w->g, 0);
    }
}

void bl_cond_broadcast(bl_cond *c)
{
    bl__asked();
    bl__woken woken = {NULL, NULL};
    BL__RACE_FRAME();
    BL__CHECK_COPY(c, "sync.Cond");
    bl__race_use(c);
    bl__lock(&c->bl__lock, BL__RANK_COND);
    BL__CHECK(bl__waitq_empty(cond_queue(c)) == (c->bl__mutex == NULL));
    bl__waiter *w;
    while ((w = bl__waitq_claim_front(cond_queue(c))) != NULL) {
        bl__wait_race_tell(w->g);
        bl__woken_add(&woken, w);
    }
    c->bl__mutex = NULL;
    bl__unlock(&c->bl__lock);
    bl__woken_ready(&woken);
}
