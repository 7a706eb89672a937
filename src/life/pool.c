/* SPDX-License-Identifier: MIT */
/*
 * pool.c: worker pools: a bounded queue of jobs and the goroutines that run them.
 *
 * The queue is a ring with a lock at either end, so that who submits and who works do not pass one
 * cache line to and fro for each job; each end remembers what it saw of the other. All that is not
 * the plain case (no room, nothing queued, somebody to start or to wake, the end) is done under
 * both, and so needs no protocol of its own. With one lock it took 1.4 times the time at 2 procs.
 * Workers take one job at a time: of those taken in a batch the ones behind a job that hangs would
 * wait for it while other workers are free.
 *
 * There are no idle workers. One is started for a job that finds fewer than `most` and nobody
 * looking (p->looking), and ends when it has found the queue empty for a moment. Starting a
 * goroutine costs what waking one does, and in exchange the scope's join waits for jobs and never
 * for a worker that waits for jobs, and no report has to tell an idle worker from a stuck one. Who
 * takes a job and leaves others behind starts the next worker if nobody looks; so a burst wakes one
 * after the other, each only if there is work left when the one before it has come.
 *
 * Invariants, whenever both locks are free (pool_invariants executes them in debug builds):
 *   - submitted = done + discarded + running + queued; every attempt is in submitted or in refused
 *   - a job is queued: there is a worker, and while there is memory one that looks, or `most` of
 *     them
 *   - there is room and the pool is open: nobody waits for room whose wait has not been ended
 *   - closed: nobody waits for room whose wait has not been ended
 *
 * Who waits for room is served by the worker that makes it: its job goes to the queue's end and it
 * is woken, so it touches the pool no more. One that is stopped while it waits unlinks itself, and
 * the pool's end waits for that (pool_is_over). Whoever is woken by the end does not touch it
 * either.
 *
 * Workers are goroutines of the scope, started beyond its limit and counted by a pin. Their current
 * scope is p->inner, which nobody opens, joins or closes: it is there for its context, a child of
 * the scope's, so that bl_pool_stop can cancel the jobs and leave the scope alone.
 */
#include "life/pool.h"

#include "arch/relax.h"
#include "core/check.h"
#include "core/label.h"
#include "debug/report.h"
#include "life/ctx.h"
#include "life/scope_parts.h"
#include "sync/object.h"

enum {
    QUEUE_DEFAULT = 256,
    QUEUE_MOST = 1 << 30,
    JOB_LOOKS = 16,   /* by a worker that finds no job, before it ends */
    LOOK_PAUSES = 16, /* between two of them */
    DROP_AT_ONCE = 32,
};

enum { OPEN, CLOSED, CLOSED_CANCELLED }; /* p->closed */

/* What a submitter is woken with. */
enum { SUBMIT_ROOM, SUBMIT_CLOSED, SUBMIT_CANCELLED };

/* Under both locks. */
static inline uint32_t queued(const bl_pool *p) { return p->tail - p->head; }

static inline int pool_state(const bl_pool *p) { return bl__ctx_state(p->inner.bl__ctx); }

/* ---- The locks ---- */

#ifdef BL__DEBUG
static void pool_invariants(const bl_pool *p)
{
    BL__CHECK(queued(p) <= p->bound && p->workers <= p->most);
    BL__CHECK(p->running + p->looking <= p->workers);
    BL__CHECK(p->submitted == p->done + p->discarded + p->running + queued(p));
    BL__CHECK(p->failed <= p->done);
    BL__CHECK(queued(p) == 0 || p->workers > 0 || p->droppers != NULL || p->closed != OPEN);
    for (const bl__waiter *w = p->submitters.head; w != NULL; w = w->next)
        BL__CHECK(load_relaxed(&w->g->wait) <= BL__W_CLAIMED ||
                  (queued(p) == p->bound && p->closed == OPEN));
}
#else
static inline void pool_invariants(const bl_pool *p) { (void)p; }
#endif

static inline void put_lock(bl_pool *p) { bl__object_lock(&p->put, BL__RANK_PUT); }
static inline void put_unlock(bl_pool *p) { bl__object_unlock(&p->put); }
static inline void take_lock(bl_pool *p) { bl__object_lock(&p->take, BL__RANK_TAKE); }
static inline void take_unlock(bl_pool *p) { bl__object_unlock(&p->take); }

/* With put held: in a solo section a second one. */
static inline void take_lock_too(bl_pool *p)
{
    if (bl__solo_enter_again())
        bl__rank_take(&p->take, BL__RANK_TAKE);
    else
        bl__lock(&p->take, BL__RANK_TAKE);
}

static inline void take_unlock_too(bl_pool *p)
{
    if (load_relaxed(&p->take) != 0) {
        bl__unlock(&p->take);
        return;
    }
    bl__rank_give(&p->take);
    bl__solo_exit_again();
}

static inline void pool_lock(bl_pool *p)
{
    put_lock(p);
    take_lock_too(p);
}

static inline void pool_unlock(bl_pool *p)
{
    pool_invariants(p);
    p->head_seen = p->head;
    p->tail_seen = p->tail;
    take_unlock_too(p);
    put_unlock(p);
}

/* The commit of a wait. With the first lock given back nobody can come to g's waiter yet. */
static void pool_parked(bl__g *g, void *arg)
{
    (void)g;
    pool_unlock(arg);
}

static inline void pool_check(const bl_pool *p)
{
    if (__builtin_expect(load_relaxed(&p->magic) != BL__POOL_LIVE, 0))
        bl__fatal("use of a freed pool");
}

/* ---- Jobs ---- */

/* Under put: into the queue's end. by: NULL, or who waits for room and is claimed by the caller. */
static inline void job_in(bl_pool *p, bl__job job, const bl__g *by)
{
    bl__job *slot = &p->jobs[p->tail & p->mask];
    *slot = job;
#if BL__RACE
    void *own = by != NULL ? bl__race_as(by->fiber) : NULL;
    bl__race_store(&slot->race);
    if (by != NULL)
        bl__race_back(own);
#endif
    (void)by;
}

#if BL__RACE
/* The fibers of a worker's jobs, which take turns: to make one takes 2 us, and with gcc's
 * ThreadSanitizer 40. So a job comes after the one FIBERS before it on the same worker; in Go each
 * comes after all of those. */
enum { FIBERS = 16 };
struct bl__job_fibers {
    uint32_t next;
    void *own; /* the worker's, while a job has its own */
    struct {
        void *fiber; /* NULL: none yet */
        const void *made;
    } turns[FIBERS];
};

/* A job's own fiber, which reports say was made where it was submitted. */
static void *job_fiber(const bl__job *job)
{
    const bl__g *worker = bl__self();
    struct bl__job_fibers *of = worker->job_fibers;
    uint32_t i = of->next++ % FIBERS;
    if (of->turns[i].fiber != NULL && of->turns[i].made == job->made)
        return of->turns[i].fiber;
    bl__race_fiber_free(of->turns[i].fiber);
    __tsan_func_entry(job->made);
    void *fiber = bl__race_fiber_new(worker->id, true, NULL);
    __tsan_func_exit();
    if (worker->race_owner != 0)
        bl__race_fiber_name(fiber, worker->id, worker->race_owner, NULL);
    of->turns[i].fiber = fiber;
    of->turns[i].made = job->made;
    return fiber;
}
#endif

/* Under take: what is at the queue's front. In the race detector's eyes (race.h) a job that is to
 * run comes after its submit and not after the job that its worker has run before; unless there can
 * be only one worker, on which a program may rely. */
static inline bl__job job_out(bl_pool *p, bool run)
{
    bl__job *slot = &p->jobs[p->head & p->mask];
    bl__job job = *slot;
#if BL__RACE
    job.fiber = run && p->most > 1 ? job_fiber(&job) : NULL;
    void *own = job.fiber != NULL ? bl__race_as(job.fiber) : NULL;
    bl__race_acquire(&slot->race);
    if (p->most == 1)
        bl__race_acquire(p); /* the job before, whichever goroutine was the worker */
    if (own != NULL)
        bl__race_back(own);
#endif
    (void)run;
    return job;
}

#if BL__RACE
static __attribute__((noinline)) void job_fiber_leave(const bl_pool *p, bl__g *g)
{
    void *own = g->job_fibers->own;
    bl__race_release(p);
    bl__race_release(p->scope);
    if (own == NULL)
        return;
    g->job_fibers->own = NULL;
    bl__race_back(g->fiber = own);
    bl__race_stack_forget(g->stack_lo, __builtin_frame_address(0));
}
#endif

static __attribute__((noinline)) int job_run_apart(const bl_pool *p, bl__g *g, bl__job job)
{
#if BL__RACE
    if (job.fiber != NULL) {
        g->job_fibers->own = g->fiber;
        (void)bl__race_as(g->fiber = job.fiber);
    }
    int result = job.fn(job.arg);
    job_fiber_leave(p, g);
    return result;
#else
    (void)p, (void)g;
    return job.fn(job.arg);
#endif
}

static inline int job_run(const bl_pool *p, bl__g *g, bl__job job)
{
    return BL__RACE ? job_run_apart(p, g, job) : job.fn(job.arg);
}

/* ---- The end ---- */

/* Under both locks: nothing of it is to come, and nobody who waits for room will come back to it:
 * who was stopped in that wait is in the queue until he has. */
static bool pool_is_over(const bl_pool *p)
{
    return p->closed != OPEN && p->workers == 0 && p->droppers == NULL && queued(p) == 0 &&
           bl__waitq_empty(&p->submitters);
}

/* It has nothing left to do. On a scope that is cancelled already it runs before bl__pool_new has
 * noted it, and is then the caller. */
static void on_cancel_stop(bl_pool *p)
{
    bl_stop *stop = load_acquire(&p->on_cancel); /* ORD(oncancel): with pool_new */
    if (stop != NULL)
        (void)bl_ctx_after_stop(stop);
}

/* Under both locks, which it gives back: by who may have been the last that the end waits for. What
 * is not the scope's (mine false) must not touch the pool after that. */
static void pool_leave(bl_pool *p, bool mine)
{
    bl__woken woken = {NULL, NULL};
    bl__waiter *w;
    bool over = pool_is_over(p);
    while (over && (w = bl__waitq_claim_front(&p->joiners)) != NULL)
        bl__woken_add(&woken, w);
    pool_unlock(p);
    if (over && mine)
        on_cancel_stop(p);
    bl__woken_ready(&woken);
}

/* Under both locks, which it gives back: takes no more jobs, and tells those who wait for room. */
static void pool_close(bl_pool *p, uint32_t why)
{
    bl__woken woken = {NULL, NULL};
    bl__waiter *w, *next;
    /* A drain or a stop is what a submit is told of, also after a cancellation. */
    if (p->closed != CLOSED)
        store_relaxed(&p->closed, why);
    int result = why == CLOSED ? SUBMIT_CLOSED : SUBMIT_CANCELLED;
    for (w = p->submitters.head; w != NULL; w = next) {
        next = w->next;
        if (!bl__claim(w->g)) /* it was stopped, and takes itself out */
            continue;
        bl__waitq_remove(&p->submitters, w);
        p->refused++;
        bl__woken_add(&woken, w);
    }
    pool_unlock(p);
    for (next = woken.first; (w = next) != NULL;) {
        next = w->next;
        bl__ready(w->g, result);
    }
}

/* Under both locks. */
static void dropper_remove(bl_pool *p, const bl__dropper *d)
{
    bl__dropper **at = &p->droppers;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
}

/* What else it was to hand over nobody would. */
static BL__NORETURN void discard_exit(void *pool)
{
    const bl_pool *p = pool;
    const bl__site *made = p->inner.bl__made;
    bl__fatal("belay: on_discard of pool \"%s\" (made at %s:%d) has ended its goroutine, as a "
              "failed BL_REQUIRE does; it is to return",
              p->inner.bl__name, made->file, made->line);
}

/* Hands what is queued to on_discard; how many. */
static uint64_t pool_drop(bl_pool *p)
{
    bl__g *g = bl__self();
    bl__dropper self = {NULL, g};
    uint64_t dropped = 0;
    bl__job jobs[DROP_AT_ONCE];
    bl__within within;
    bl__within_begin(&within, g, discard_exit, p);
    for (;;) {
        uint32_t n = 0;
        pool_lock(p);
        if (dropped > 0)
            dropper_remove(p, &self);
        for (; n < DROP_AT_ONCE && queued(p) > 0; p->head++)
            jobs[n++] = job_out(p, false);
        if (n == 0) {
            bl__within_end(&within, g);
            pool_leave(p, true);
            return dropped;
        }
        self.next = p->droppers;
        p->droppers = &self;
        p->discarded += n;
        dropped += n;
        pool_unlock(p);
        for (uint32_t i = 0; i < n && p->on_discard != NULL; i++)
            p->on_discard(jobs[i].fn, jobs[i].arg);
    }
}

/* The scope, and with it the pool's context, is cancelled. A goroutine of the scope. */
static int pool_cancelled(void *arg)
{
    bl_pool *p = arg;
    pool_lock(p);
    pool_close(p, CLOSED_CANCELLED);
    (void)pool_drop(p);
    return 0;
}

/* Waits for the end: 0, or BL_ETIMEDOUT. */
static int pool_join(bl_pool *p, bl_time deadline)
{
    bl__g *g = bl__self();
    pool_lock(p);
    if (pool_is_over(p)) {
        pool_leave(p, true);
        bl__race_acquire(p);
        return 0;
    }
    bl__waiter w = {.g = g};
    bl__waitq_push_back(&p->joiners, &w);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_POOL_JOIN,
                                    .obj = p,
                                    .deadline = deadline,
                                    .unlock = pool_parked,
                                    .unlock_arg = p});
    if (r >= 0) {
        bl__race_acquire(p);
        return 0;
    }
    pool_lock(p);
    bl__waitq_remove(&p->joiners, &w);
    pool_unlock(p);
    return r;
}

/* ---- Workers ---- */

static int pool_worker(void *arg);

/* Under both locks. False: no memory. */
static __attribute__((noinline)) bool worker_start(bl_pool *p)
{
    bl__scope_pin(p->scope);
    if (bl__scope_start_pinned(p->scope, pool_worker, p, p->inner.bl__made) < 0) {
        bl__scope_unpin(p->scope);
        return false;
    }
    p->workers++;
    p->looking++;
    return true;
}

/* Under either lock, with a job queued: somebody is to be started for it. */
static inline bool worker_wanted(const bl_pool *p)
{
    return p->looking == 0 && p->workers < p->most;
}

/* Under put. */
static inline void queue_put(bl_pool *p, bl__job job, const bl__g *by)
{
    job_in(p, job, by);
    store_release(&p->tail, p->tail + 1); /* ORD(pool-tail): the slot is written */
    p->submitted++;
}

/* Under take, with a job queued: takes the oldest. */
static inline bl__job queue_take(bl_pool *p)
{
    bl__job job = job_out(p, true);
    store_release(&p->head, p->head + 1); /* ORD(pool-head): the slot is read */
    p->running++;
    return job;
}

/* Under take: a job is queued, as far as is known or can be seen. */
static inline bool queue_ready(bl_pool *p)
{
    if (p->head == p->tail_seen)
        p->tail_seen = load_acquire(&p->tail); /* ORD(pool-tail) */
    return p->head != p->tail_seen;
}

/* Under put: the same for room. */
static inline bool queue_room(bl_pool *p)
{
    if (p->tail - p->head_seen == p->bound)
        p->head_seen = load_acquire(&p->head); /* ORD(pool-head) */
    return p->tail - p->head_seen != p->bound;
}

/* Under both: lets in the job of who has waited longest for room; whom to wake. */
static bl__g *queue_admit(bl_pool *p)
{
    bl__waiter *w = p->submitters.head;
    while (w != NULL && !bl__claim(w->g))
        w = w->next;
    if (w == NULL)
        return NULL;
    bl__waitq_remove(&p->submitters, w);
    queue_put(p, *(bl__job *)w->val, w->g);
    return w->g;
}

/* What a job has left behind that would be the next one's. */
static void job_clean(const bl_pool *p, bl__g *g)
{
    if (__builtin_expect(g->inner != &p->inner, 0))
        bl__fatal("belay: a pool's job ended with a scope left open: %s (opened by %s at %s:%d); "
                  "close it with bl_scope_close, or declare it with BL_SCOPE",
                  g->inner->bl__made->what, g->inner->bl__made->func, g->inner->bl__made->file,
                  g->inner->bl__made->line);
    if (__builtin_expect(bl__holds_any(g), 0))
        bl__held_at_end(g);
    if (__builtin_expect(g->labels != p->labels, 0)) {
        bl__labels_release(g->labels);
        g->labels = bl__labels_retain(p->labels);
    }
}

/* A job that says why it was stopped has not failed. */
static bool job_failed(const bl_pool *p, int result)
{
    int state = pool_state(p);
    return result < 0 && (state == 0 || (result != BL_ECANCELED && result != state));
}

/* Gives others a moment to come with a job; without the lock. */
static void worker_look(bl_pool *p, uint32_t seen)
{
    for (int i = 0; i < JOB_LOOKS && load_relaxed(&p->tail) == seen; i++) {
        if (load_relaxed(&p->closed) != OPEN)
            return;
        bl_yield();
        for (int k = 0; k < LOOK_PAUSES; k++)
            bl__cpu_relax();
    }
}

/* Under both locks, with no job queued: true if there is one now. */
static bool worker_await(bl_pool *p)
{
    uint32_t seen = p->tail;
    if (p->looking > 0 || p->closed != OPEN)
        return false;
    p->looking++;
    pool_unlock(p);
    worker_look(p, seen);
    pool_lock(p);
    p->looking--;
    return queued(p) > 0;
}

/* Under both locks, which it gives back if there is a job. False: there is none, or the pool is
 * cancelled. */
static __attribute__((noinline)) bool worker_take_slow(bl_pool *p, bl__job *job)
{
    if ((queued(p) == 0 && !worker_await(p)) || pool_state(p) != 0)
        return false;
    *job = queue_take(p);
    bl__g *wake = queue_admit(p);
    if (queued(p) > 0 && worker_wanted(p))
        (void)worker_start(p);
    pool_unlock(p);
    if (wake != NULL)
        bl__ready_behind(wake, SUBMIT_ROOM);
    return true;
}

/* Under take: as above. */
static inline bool worker_take(bl_pool *p, bl__job *job)
{
    bool plain = queue_ready(p) && bl__waitq_empty(&p->submitters) && pool_state(p) == 0 &&
                 (!worker_wanted(p) || p->head + 1 == p->tail_seen);
    if (__builtin_expect(plain, 1))
        *job = queue_take(p);
    take_unlock(p);
    if (__builtin_expect(plain, 1))
        return true;
    pool_lock(p);
    return worker_take_slow(p, job);
}

/* Under both locks: runs jobs until there are none, or the pool is cancelled. */
static void worker_run(bl_pool *p, bl__g *g)
{
    bl__job job;
    bool more = worker_take_slow(p, &job);
    while (more) {
        int result = job_run(p, g, job);
        job_clean(p, g);
        bool failed = result < 0 && job_failed(p, result);
        take_lock(p);
        p->running--;
        p->done++;
        p->failed += failed;
        more = worker_take(p, &job);
    }
}

/* Under both locks, which it gives back: g is no worker any more. */
static void worker_end(bl_pool *p, bl__g *g)
{
    if (pool_state(p) != 0) {
        pool_close(p, CLOSED_CANCELLED);
        (void)pool_drop(p);
        pool_lock(p);
    }
    g->inner = g->scope;
    g->ctx = g->scope->bl__ctx;
    p->workers--;
    pool_leave(p, true);
#if BL__RACE
    for (uint32_t i = 0; i < FIBERS; i++)
        bl__race_fiber_free(g->job_fibers->turns[i].fiber);
#endif
}

/* Its job has ended the goroutine: another goes on with the others. */
static void worker_exit(void *pool)
{
    bl_pool *p = pool;
    bl__g *g = bl__self();
#if BL__RACE
    job_fiber_leave(p, g);
#endif
    job_clean(p, g);
    pool_lock(p);
    p->running--;
    p->done++;
    p->workers--;
    if (queued(p) > 0 && pool_state(p) == 0 && !(worker_wanted(p) && worker_start(p)) &&
        p->workers == 0)
        bl__fatal("belay: out of memory to go on with the jobs of pool \"%s\" (made at %s:%d)",
                  p->inner.bl__name, p->inner.bl__made->file, p->inner.bl__made->line);
    p->workers++;
    worker_end(p, g);
}

static int pool_worker(void *arg)
{
    bl_pool *p = arg;
    bl__g *g = bl__self();
    g->parent = p->maker; /* and not who has submitted its first job */
    g->inner = &p->inner;
    g->ctx = p->inner.bl__ctx;
    bl__within within;
    bl__within_begin(&within, g, worker_exit, p);
    job_clean(p, g);
#if BL__RACE
    struct bl__job_fibers fibers = {.next = 0};
    g->job_fibers = &fibers;
#endif
    pool_lock(p);
    p->looking--;
    worker_run(p, g);
    bl__within_end(&within, g);
    worker_end(p, g);
    return 0;
}

/* ---- Submitting ---- */

/* What a submit returns that a cancellation of the pool's scope has refused: the caller's own
 * reason if it is stopped too. */
static int stopped_result(void)
{
    int state = bl__ctx_state(bl__self()->ctx);
    return state != 0 ? state : BL_ECLOSED;
}

/* Under put, which it gives back. */
static __attribute__((noinline)) int submit_refuse(bl_pool *p, int result)
{
    p->refused++;
    put_unlock(p);
    return result;
}

/* Under both locks, which it gives back: there is no room. */
static __attribute__((noinline)) int submit_wait(bl_pool *p, bl__job job, bl_time deadline)
{
    bl__g *g = bl__self();
    bl__waiter w = {.g = g, .val = &job};
    bl__waitq_push_back(&p->submitters, &w);
    int r = bl__park(g, &(bl__wait){.reason = BL__WAIT_POOL_SUBMIT,
                                    .cancellable = true,
                                    .obj = p,
                                    .deadline = deadline,
                                    .unlock = pool_parked,
                                    .unlock_arg = p});
    if (r >= 0)
        return r == SUBMIT_ROOM ? 0 : r == SUBMIT_CLOSED ? BL_ECLOSED : stopped_result();
    pool_lock(p);
    bl__waitq_remove(&p->submitters, &w);
    p->refused++;
    pool_leave(p, false);
    return r;
}

/* Under both locks, with a job put into the queue: sees to it that somebody comes for it. */
static int submit_start(bl_pool *p)
{
    if (!worker_wanted(p) || worker_start(p) || p->workers > 0)
        return 0;
    p->submitted--; /* it is the only one in the queue */
    p->refused++;
    store_relaxed(&p->tail, p->tail - 1);
    return BL_ENOMEM;
}

/* Under put. 0, or why no job is taken, whether or not there is room. */
static inline int submit_refusal(const bl_pool *p)
{
    if (__builtin_expect(p->closed == OPEN && pool_state(p) == 0, 1))
        return 0;
    return p->closed == CLOSED ? BL_ECLOSED : stopped_result();
}

/* Under put, which it gives back: there was no room a moment ago. */
static __attribute__((noinline)) int submit_full(bl_pool *p, bl__job job, bl_time deadline)
{
    if (deadline == 0)
        return submit_refuse(p, BL_EAGAIN);
    take_lock_too(p);
    if (queued(p) == p->bound)
        return submit_wait(p, job, deadline);
    queue_put(p, job, NULL);
    int r = submit_start(p);
    pool_unlock(p);
    return r;
}

/* deadline 0: without waiting. */
static inline __attribute__((always_inline)) int pool_submit(bl_pool *p, bl_fn fn, void *arg,
                                                             bl_time deadline)
{
    BL__RACE_FRAME();
    bl__asked();
    bl__job job = {.fn = fn, .arg = arg};
    int r = 0;
#if BL__RACE
    job.made = __builtin_return_address(0);
#endif
    pool_check(p);
    bl__fn_check(fn);
    put_lock(p);
    if (__builtin_expect((r = submit_refusal(p)) != 0, 0))
        return submit_refuse(p, r);
    if (__builtin_expect(!queue_room(p), 0))
        return submit_full(p, job, deadline);
    queue_put(p, job, NULL);
    if (__builtin_expect(!worker_wanted(p), 1)) {
        put_unlock(p);
        return 0;
    }
    take_lock_too(p);
    r = submit_start(p);
    pool_unlock(p);
    return r;
}

int bl_pool_submit(bl_pool *p, bl_fn fn, void *arg) { return pool_submit(p, fn, arg, BL_NEVER); }

int bl_pool_try_submit(bl_pool *p, bl_fn fn, void *arg) { return pool_submit(p, fn, arg, 0); }

int bl_pool_submit_until(bl_pool *p, bl_fn fn, void *arg, bl_time deadline)
{
    return pool_submit(p, fn, arg, deadline > 0 ? deadline : 1); /* 1 has passed as well */
}

/* ---- Drain and stop ---- */

static bool is_worker(const bl__g *g, void *pool)
{
    return g->task.kind == BL__TASK_G && g->fn == pool_worker && g->arg == pool;
}

static bool is_dropper(bl_pool *p, const bl__g *g)
{
    pool_lock(p);
    const bl__dropper *d = p->droppers;
    while (d != NULL && d->g != g)
        d = d->next;
    pool_unlock(p);
    return d != NULL;
}

static void refuse_own(bl_pool *p, const char *what)
{
    pool_check(p);
    if (is_worker(bl__self(), p))
        bl__fatal("belay: %s by a job of the pool itself, whose end it would wait for - deadlock!",
                  what);
    if (is_dropper(p, bl__self()))
        bl__fatal("belay: %s by on_discard of the pool itself, whose end it would wait for - "
                  "deadlock!",
                  what);
}

int bl_pool_drain(bl_pool *p)
{
    refuse_own(p, "bl_pool_drain");
    pool_lock(p);
    pool_close(p, CLOSED);
    (void)pool_join(p, BL_NEVER);
    return 0;
}

static void late_print(bl__out *o, void *arg)
{
    bl_pool *p = arg;
    const bl__site *made = p->inner.bl__made;
    pool_lock(p);
    uint32_t left = p->running;
    pool_unlock(p);
    bl__out_printf(o,
                   "belay: leak: pool \"%s\" (made at %s:%d) was stopped and %u job%s not "
                   "stopped:\n",
                   p->inner.bl__name, made->file, made->line, left, left == 1 ? " has" : "s have");
    bl__report_goroutines(o, is_worker, p);
}

/* Under no lock: a job runs still. What else there is to wait for is an on_discard. */
static bool pool_runs(bl_pool *p)
{
    pool_lock(p);
    bool runs = p->running > 0;
    pool_unlock(p);
    return runs;
}

/* Its context is cancelled: waits for what runs, and reports it after its scope's grace. */
static void join_cancelled(bl_pool *p)
{
    bl_time due;
    if (__builtin_add_overflow(bl__now(), bl__scope_grace(p->scope), &due))
        due = BL_NEVER;
    if (pool_join(p, due) == 0)
        return;
    bool late = pool_runs(p);
    if (late)
        bl__report_late(late_print, p);
    (void)pool_join(p, BL_NEVER);
    if (late)
        bl__report_late_joined();
}

int bl_pool_stop(bl_pool *p, bl_dur grace)
{
    refuse_own(p, "bl_pool_stop");
    pool_lock(p);
    pool_close(p, CLOSED);
    uint64_t dropped = pool_drop(p);
    if (grace <= 0 || pool_join(p, bl__in(grace)) < 0) {
        on_cancel_stop(p);
        (void)bl__ctx_cancel(p->inner.bl__ctx, BL_ECANCELED, BL_ECANCELED);
        join_cancelled(p);
    }
    return dropped < INT_MAX ? (int)dropped : INT_MAX;
}

void bl_pool_stats(bl_pool *p, bl_pool_stat *out)
{
    BL__RACE_FRAME();
    pool_check(p);
    bl__race_write(out, sizeof *out);
    pool_lock(p);
    *out = (bl_pool_stat){
        .submitted = p->submitted,
        .done = p->done,
        .failed = p->failed,
        .discarded = p->discarded,
        .refused = p->refused,
        .queued = queued(p),
        .running = p->running,
    };
    pool_unlock(p);
}

/* ---- Making and freeing ---- */

static bl_pool *pool_of(bl__res *res)
{
    return (bl_pool *)(void *)((char *)res - offsetof(bl_pool, res));
}

/* The scope closes, and has cancelled and joined all that is in it. Somebody outside of it may have
 * submitted a job since, or be on the way out of a wait for room. */
static void pool_closed(bl__res *res)
{
    bl_pool *p = pool_of(res);
    (void)pool_cancelled(p);
    (void)pool_join(p, BL_NEVER);
}

static void pool_free(bl_pool *p)
{
    store_relaxed(&p->magic, (uint32_t)BL__POOL_FREED);
    bl_ctx_release(p->inner.bl__ctx);
    bl__labels_release(p->labels);
    bl__free(p->jobs);
    bl__free(p);
}

static void pool_release(bl__res *res) { pool_free(pool_of(res)); }

static uint32_t ring_size(uint32_t bound)
{
    uint32_t size = 1;
    while (size < bound)
        size *= 2;
    return size;
}

/* With its memory and its context, and not yet the scope's. */
static bl_pool *pool_make(bl_scope *s, const bl_pool_opts *o, const bl__site *site)
{
    uint32_t bound = o->queue != 0 ? (uint32_t)o->queue : QUEUE_DEFAULT;
    bl_pool *p = NULL;
    if (posix_memalign((void **)&p, BL__POOL_LINE, sizeof *p) != 0)
        return NULL;
    *p = (bl_pool){
        .magic = BL__POOL_LIVE,
        .bound = bound,
        .mask = ring_size(bound) - 1,
        .most = (uint32_t)(o->workers != 0 ? o->workers : bl_procs()),
        .jobs = bl__alloc(sizeof(bl__job) * ring_size(bound)),
        .on_discard = o->on_discard,
        .scope = s,
        .inner = {.bl__ctx = bl__ctx_make(s->bl__ctx, BL__CTX_CANCEL, BL_NEVER, false, NULL, site),
                  .bl__parent = s,
                  .bl__made = site,
                  .bl__name = o->name != NULL ? o->name : site->what,
                  .bl__magic = BL__SCOPE_OPEN},
        .labels = bl__labels_retain(bl__self()->labels),
        .maker = bl__self()->id,
        .res = {.stop = pool_closed, .release = pool_release},
    };
    if (p->jobs != NULL && p->inner.bl__ctx != NULL)
        return p;
    if (p->inner.bl__ctx == NULL)
        p->inner.bl__ctx = &bl__ctx_failed;
    pool_free(p);
    return NULL;
}

bl_pool *bl__pool_new(bl_scope *s, const bl_pool_opts *o, const bl__site *site)
{
    static const bl_pool_opts none;
    bl__scope_check(s, "bl_pool_new");
    if (o == NULL)
        o = &none;
    if (o->workers < 0 || o->queue > QUEUE_MOST)
        return NULL;
    bl_pool *p = pool_make(s, o, site);
    if (p == NULL)
        return NULL;
    bl_stop *stop = bl__ctx_after(p->inner.bl__ctx, s, pool_cancelled, p, site);
    if (stop == NULL) {
        pool_free(p);
        return NULL;
    }
    store_release(&p->on_cancel, stop); /* ORD(oncancel): with on_cancel_stop */
    bl__scope_own(s, &p->res);
    return p;
}
