/* SPDX-License-Identifier: MIT */
/*
 * trace.c: the record of what the scheduler does: spawn, run, block, wake, steal, hand-off, cancel,
 * end.
 *
 * Each processor has a buffer that its holder alone writes, inside of the runtime, so that no
 * processor changes hands in the middle: two plain stores and a look at the processor's counter of
 * time an event. Threads without a processor share one, under a lock. trace_format.h says what is
 * in it.
 *
 * A full chunk goes into the file by who filled it, and nothing is lost: a program that records
 * faster than its file takes is slowed down. sysmon writes what there is of the others every 100
 * ms, so a killed program leaves all but that. In a flight recorder a full chunk stays, and the
 * oldest is written over; a dump copies a chunk and looks afterwards whether it was still the same.
 *
 * Where switching is nearly all that happens, recording each takes several times as long as doing
 * it, and what comes out is more than anybody can load. So sysmon sees to it that a processor fills
 * no more than a chunk every 15 ms in the long run, for which it pauses the recording
 * (debug/recorder.c): what there is then is stretches of some milliseconds with everything in them,
 * and between them what is known is how often there was a switch. Up to some 400,000 events a second
 * and processor nothing is left out.
 *
 * Rejected: a file that is mapped into memory, which needs no writing at all. A disk that is full,
 * or somebody who truncates the file, would then kill the program.
 */
#include "core/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/ticks.h"
#include "os/os.h"

_Static_assert(sizeof(bl__trace_header) <= BL__TRACE_HEAD, "the header has its place");

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { CHUNK_HEAD = (sizeof(bl__trace_chunk) + 7) / 8 /* words */ };

uint32_t bl__trace_on;
bl__tracing bl__tracer = {
    .fd = -1,
    .outside = {.stream = BL__TRACE_OUTSIDE, .shared = 1},
    .names = {.stream = BL__TRACE_NAMES, .shared = 1},
};

uint64_t bl__trace_now(void)
{
    return BL__UNLIKELY(load_relaxed(&bl__tracer.clock) != 0) ? (uint64_t)bl__clock() : bl__ticks();
}

/* Under sched's lock. */
static void switch_set(uint32_t wanted, bool paused)
{
    uint32_t now = paused ? wanted & ~(uint32_t)BL__TRACE_EVENTS : wanted;
    bl__tracer.wanted = wanted;
    bl__tracer.paused = paused;
    store_relaxed(&bl__trace_on, now);
    for (bl__m *m = bl__rt.all_m; m != NULL; m = m->all_next) {
        uint32_t bare = load_relaxed(&m->bare) & ~(uint32_t)BL__BARE_TRACED;
        store_relaxed(&m->bare, now != 0 ? bare | BL__BARE_TRACED : bare);
    }
}

void bl__trace_switch(uint32_t what, bool on)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    uint32_t was = bl__tracer.wanted;
    switch_set(on ? was | what : was & ~what, bl__tracer.paused && (what & BL__TRACE_EVENTS) == 0);
    bl__unlock(&bl__rt.lock);
}

/* ---- When a goroutine became runnable, for the latency profile ---- */

enum {
    SPAWNED_SHIFT = 8
}; /* a record that has not run has room for 32 bits: of 256 ns, which go round in 18 minutes */

static inline bool latency_on(void)
{
    return (load_relaxed(&bl__trace_on) & BL__TRACE_LATENCY) != 0;
}

static inline void runnable_note(bl__g *g)
{
    if (latency_on())
        g->ready_at = bl__clock();
}

/* ---- Chunks, under the buffer's lock ---- */

static uint64_t *chunk_of(const bl__trace_buf *b)
{
    return b->base + b->seq % b->chunks * BL__TRACE_WORDS;
}

static bool trace_file_write(int fd, const void *from, size_t n, uint64_t offset, bool streamed)
{
    const char *at = from;
    while (n > 0) {
        ssize_t k = streamed ? write(fd, at, n) : pwrite(fd, at, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            store_relaxed(&bl__tracer.failed, k < 0 ? errno : EIO);
            return false;
        }
        at += k;
        offset += (uint64_t)k;
        n -= (size_t)k;
    }
    return true;
}

void bl__trace_flush(bl__trace_buf *b)
{
    uint64_t *at = load_acquire(&b->at); /* ORD(trace): with event_put */
    int saved = errno;
    if (at == NULL || b->fd < 0 || at <= b->written || load_relaxed(&bl__tracer.failed) != 0)
        return;
    size_t from = (size_t)(b->written - chunk_of(b)) * 8;
    if (trace_file_write(b->fd, b->written, (size_t)(at - b->written) * 8, b->offset + from, false))
        b->written = at;
    errno = saved;
}

static void chunk_begin(bl__trace_buf *b)
{
    store_relaxed(&b->seq, b->seq + 1);
    uint64_t *words = chunk_of(b);
    bl__trace_chunk *c = (bl__trace_chunk *)(void *)words;
    if (b->seq <= b->chunks) /* for the first time: one call instead of sixteen faults */
        (void)madvise(words, BL__TRACE_CHUNK, MADV_POPULATE_WRITE);
    /* ORD(chunk): what is written over comes after; with the dump */
    (void)swap_acq_rel(&c->seq, UINT64_C(0));
    store_relaxed(&c->magic, BL__TRACE_CHUNK_MAGIC);
    store_relaxed(&c->stream, b->stream);
    store_relaxed(&c->id, b->id);
    store_relaxed(&c->run, bl__rt.run);
    store_relaxed(&c->reserved, 0u);
    store_release(&c->seq, b->seq); /* ORD(chunk) */
    b->written = words;
    b->offset = BL__TRACE_HEAD;
    if (b->fd >= 0 && !b->streamed)
        b->offset += add_relaxed(&bl__tracer.size, (uint64_t)BL__TRACE_CHUNK);
    b->end = words + BL__TRACE_WORDS - BL__TRACE_EVENT_MOST;
    b->left = NULL;
    b->last = 0;                               /* so that the first event has its time before it */
    store_release(&b->at, words + CHUNK_HEAD); /* ORD(trace) */
}

void bl__trace_chunk_next(bl__trace_buf *b)
{
    store_relaxed(b->at, UINT64_C(0));
    if (b->streamed) {
        char *from = (char *)chunk_of(b), *end = (char *)b->at;
        memset(end, 0, (size_t)(from + BL__TRACE_CHUNK - end));
        (void)trace_file_write(b->fd, from, BL__TRACE_CHUNK, 0, true);
    } else {
        bl__trace_flush(b);
    }
    chunk_begin(b);
}

bool bl__trace_buf_renew(bl__trace_buf *b)
{
    bool is_proc = b->stream != BL__TRACE_NAMES;
    /* ORD(trace): with bl_trace_start, before which there are other chunks and another file */
    uint32_t generation = load_acquire(&bl__tracer.generation);
    uint32_t ring = load_relaxed(&bl__tracer.ring);
    uint32_t chunks = is_proc && ring != 0 ? ring : 1;
    if (!b->streamed)
        b->fd = load_relaxed(&bl__tracer.fd);
    if (b->chunks < chunks) {
        void *was = b->base;
        store_relaxed(&b->at, NULL);
        void *p = mmap(NULL, (size_t)chunks * BL__TRACE_CHUNK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return false;
        if (was != NULL)
            munmap(was, (size_t)b->chunks * BL__TRACE_CHUNK);
        b->base = p;
        b->chunks = chunks;
    }
    b->thread = 0;
    chunk_begin(b);
    store_release(&b->generation, generation); /* ORD(trace) */
    return true;
}

/* ---- Which buffer ---- */

static __attribute__((noinline)) bl__trace_buf *proc_buf_slow(const bl__p *p)
{
    bl__trace_buf *b = load_relaxed(&bl__tracer.procs[p->id]);
    if (b == NULL) {
        b = bl__zalloc(sizeof *b);
        if (b == NULL)
            return NULL;
        b->stream = BL__TRACE_PROC;
        b->id = p->id;
        store_release(&bl__tracer.procs[p->id], b); /* ORD(trace): with who flushes and dumps */
    }
    bl__lock(&b->lock, BL__RANK_TRACE);
    bool ok = bl__trace_buf_renew(b);
    bl__unlock(&b->lock);
    return ok ? b : NULL;
}

/* Of a processor that the caller holds. NULL: no memory. */
static inline bl__trace_buf *proc_buf(const bl__p *p)
{
    bl__trace_buf *b = load_relaxed(&bl__tracer.procs[p->id]);
    if (__builtin_expect(b == NULL || b->generation != load_relaxed(&bl__tracer.generation), 0))
        return proc_buf_slow(p);
    return b;
}

/* ---- Events ---- */

static inline uint64_t head_of(bl__trace_kind kind, uint32_t how, uint32_t seq)
{
    return (uint64_t)kind | (uint64_t)how << BL__TRACE_KIND_BITS |
           (uint64_t)(seq & 255) << BL__TRACE_SEQ_AT;
}

static __attribute__((noinline)) bool chunk_full(bl__trace_buf *b)
{
    if (!b->shared)
        bl__lock(&b->lock, BL__RANK_TRACE);
    bl__trace_chunk_next(b);
    if (!b->shared)
        bl__unlock(&b->lock);
    return true;
}

/* An event of one word, or with more behind it, of two. */
typedef struct event {
    uint64_t now, head, id;
    bool has_more;
    uint64_t more;
} event;

/* True. */
static inline __attribute__((always_inline)) bool event_put(bl__trace_buf *b, event e)
{
    uint64_t *at = b->at;
    uint64_t ticks = e.now - b->last;
    if (__builtin_expect(ticks > BL__TRACE_TICKS_MOST, 0)) { /* or it goes back */
        store_relaxed(at++, e.now << BL__TRACE_KIND_BITS | BL__TRACE_TIME);
        ticks = 0;
    }
    b->last = e.now;
    if (__builtin_expect(e.id >> 32 != 0, 0))
        store_relaxed(at++, e.id >> 32 << BL__TRACE_KIND_BITS | BL__TRACE_HIGH);
    store_relaxed(at++, e.head | ticks << BL__TRACE_TICKS_AT | e.id << 32);
    if (e.has_more)
        store_relaxed(at++, e.more);
    store_release(&b->at, at); /* ORD(trace): with flush */
    return BL__LIKELY(at < b->end) || chunk_full(b);
}

/* By a thread without a processor: actor is the goroutine that it runs. */
static __attribute__((noinline)) void put_outside(uint64_t actor, event e)
{
    bl__trace_buf *b = &bl__tracer.outside;
    bl__lock(&b->lock, BL__RANK_TRACE);
    if (b->generation == load_relaxed(&bl__tracer.generation) || bl__trace_buf_renew(b)) {
        store_relaxed(b->at, actor << BL__TRACE_KIND_BITS | BL__TRACE_ACTOR);
        store_relaxed(&b->at, b->at + 1); /* a dump looks */
        event_put(b, e);
    }
    bl__unlock(&b->lock);
}

static uint64_t actor_of(const bl__m *m)
{
    return m == &bl__nobody ? 0 : m->g != &m->g0 ? m->g->id : bl__helper_caller();
}

/* in: m is inside with a processor. */
static inline __attribute__((always_inline)) void put_by(bl__m *m, bool in, event e)
{
    bl__trace_buf *b = in ? proc_buf(m->p) : NULL;
    if (__builtin_expect(b != NULL, 1))
        event_put(b, e);
    else if (!in)
        put_outside(actor_of(m), e);
}

/* Of who leaves m now. Who is switched to comes at once, and shares the time. */
static inline __attribute__((always_inline)) void put_left(bl__m *m, bool in, event e)
{
    bl__trace_buf *b = in ? proc_buf(m->p) : NULL;
    if (__builtin_expect(b != NULL, 1)) {
        event_put(b, e);
        b->left = b->at;
    } else if (!in) {
        put_outside(actor_of(m), e);
    }
}

static void put_run(bl__trace_buf *b, uint64_t id, uint32_t seq)
{
    if (b != NULL)
        event_put(b, (event){b->left == b->at ? b->last : bl__trace_now(),
                             head_of(BL__TRACE_RUN, 0, seq), id, false, 0});
}

/* Mostly nothing but tracing has m go the slow way, and its buffer is begun: that one, and time is
 * ticks; else NULL. */
static inline bl__trace_buf *quick_buf(const bl__m *m)
{
    if (load_relaxed(&m->bare) != BL__BARE_TRACED ||
        load_relaxed(&bl__trace_on) != BL__TRACE_EVENTS || load_relaxed(&bl__tracer.clock) != 0)
        return NULL;
    bl__trace_buf *b = load_relaxed(&bl__tracer.procs[m->p->id]);
    return b != NULL && b->generation == load_relaxed(&bl__tracer.generation) ? b : NULL;
}

static inline event blocked(const bl__g *g, uint64_t now)
{
    return (event){now, head_of(BL__TRACE_BLOCK, 0, g->switches), g->id, true,
                   (uint64_t)g->reason << 56 | ((uintptr_t)g->wait_obj & ~UINT64_C(0) >> 8)};
}

static __attribute__((noinline)) bool left_slow(bl__m *m, const bl__g *g)
{
    bool in = bl__enter_outermost(m);
    if (bl__traced())
        put_left(m, in, blocked(g, bl__trace_now()));
    return in;
}

bool bl__trace_park(bl__m *m, bl__g *g)
{
    bl__trace_buf *b = quick_buf(m);
    if (BL__UNLIKELY(b == NULL))
        return left_slow(m, g);
    (void)event_put(b, blocked(g, bl__ticks()));
    b->left = b->at;
    return true;
}

bool bl__trace_next(bl__m *m, const bl__task *t)
{
    if (t == NULL || t->kind != BL__TASK_G || m->p->look != 0)
        return false;
    const bl__g *g = (const bl__g *)(const void *)t;
    put_run(proc_buf(m->p), g->id, g->switches);
    return true;
}

/* By whom g, which waits no more, was woken: m, which is inside with a processor or is not. */
static inline event woken(const bl__m *m, bool in, const bl__g *g, int result, uint64_t now)
{
    uint32_t how = result == BL_ETIMEDOUT                        ? BL__TRACE_BY_DEADLINE
                   : result == BL_ECANCELED                      ? BL__TRACE_BY_CANCEL
                   : in && (m->g == &m->g0 || m->p->firing != 0) ? BL__TRACE_BY_SCHEDULER
                                                                 : BL__TRACE_BY_OTHER;
    return (event){now, head_of(BL__TRACE_WAKE, how, g->switches), g->id, false, 0};
}

static __attribute__((noinline)) bool woken_slow(bl__m *m, bl__g *g, int result)
{
    bool in = bl__enter_slow(m);
    runnable_note(g);
    if (bl__traced())
        put_by(m, in, woken(m, in, g, result, bl__trace_now()));
    return in;
}

bool bl__trace_ready(bl__m *m, bl__g *g, int result)
{
    bl__trace_buf *b = quick_buf(m);
    if (BL__UNLIKELY(b == NULL))
        return woken_slow(m, g, result);
    return event_put(b, woken(m, true, g, result, bl__ticks()));
}

/* A site's address, with its name in the trace. */
static inline uint64_t site_key(bl__trace_buf *b, const bl__site *site)
{
    const bl__site **seen = b == NULL ? NULL : &b->sites[(uintptr_t)site / 8 % BL__TRACE_SITES];
    if (seen == NULL || *seen != site) {
        bl__trace_name_site(site);
        if (seen != NULL)
            *seen = site;
    }
    return (uintptr_t)site;
}

void bl__trace_end(bl__m *m, const bl__g *g)
{
    put_left(m, true,
             (event){bl__trace_now(), head_of(BL__TRACE_END, 0, g->switches), g->id, true,
                     site_key(proc_buf(m->p), g->site)});
}

void bl__trace_spawn(bl__m *m, bl__p *p, bl__spawned *s)
{
    s->special |= BL__SPAWNED_TRACED;
    s->ready_at = latency_on() ? (uint32_t)(bl__clock() >> SPAWNED_SHIFT)
                               : 0; /* 0 as well by chance: not recorded */
    if (bl__traced())
        put_by(m, p != NULL,
               (event){bl__trace_now(), head_of(BL__TRACE_SPAWN, 0, 0), s->id, true,
                       site_key(p != NULL ? proc_buf(p) : NULL, s->site)});
}

void bl__trace_switched(bl__m *m)
{
    const bl__g *g = m->g;
    bl__trace_buf *b = m->p != NULL ? proc_buf(m->p) : NULL;
    if (g == &m->g0 && b != NULL)
        b->left = NULL;               /* what comes next may have to be waited for */
    if (g != &m->g0 && g->sp != NULL) /* NULL: it has begun: bl__trace_began */
        put_run(b, g->id, g->switches);
}

void bl__trace_began(bl__p *p, const bl__spawned *s)
{
    if (bl__traced())
        put_run(proc_buf(p), s->id, 0);
    if (latency_on() && s->ready_at != 0) {
        uint32_t waited = (uint32_t)(bl__clock() >> SPAWNED_SHIFT) - s->ready_at;
        bl__contended_began(s->fn, (bl_dur)waited << SPAWNED_SHIFT);
    }
}

void bl__trace_yield(bl__m *m, bl__g *g)
{
    runnable_note(g);
    if (bl__traced())
        put_left(
            m, true,
            (event){bl__trace_now(), head_of(BL__TRACE_YIELD, 0, g->switches), g->id, false, 0});
}

void bl__trace_back(bl__m *m, bool found)
{
    bl__g *g = m->g;
    if (!found)
        runnable_note(g);
    if (!bl__traced())
        return;
    if (found)
        put_run(proc_buf(m->p), g->id, g->switches);
    else
        put_outside(g->id, (event){bl__trace_now(), head_of(BL__TRACE_YIELD, 0, g->switches), g->id,
                                   false, 0});
}

void bl__trace_steal(bl__p *p, const bl__p *victim, uint32_t n)
{
    bl__trace_buf *b = proc_buf(p);
    if (b != NULL)
        event_put(b, (event){bl__trace_now(), head_of(BL__TRACE_STEAL, 0, 0), n << 16 | victim->id,
                             false, 0});
}

void bl__trace_thread(bl__m *m)
{
    bl__trace_buf *b = proc_buf(m->p);
    uint32_t tid = (uint32_t)load_relaxed(&m->tid);
    if (b == NULL || b->thread == tid)
        return;
    b->thread = tid;
    event_put(b, (event){bl__trace_now(), head_of(BL__TRACE_THREAD, 0, 0), tid, false, 0});
}

void bl__trace_handoff(uint64_t now, uint64_t id, uint32_t processor, uint32_t why)
{
    put_outside(0, (event){now, head_of(BL__TRACE_HANDOFF, 0, 0), id, true,
                           (uint64_t)why << 32 | processor});
}

/* By whoever may be inside or not. */
static void put_here(event e)
{
    bl__m *m = bl__this_m();
    uint32_t was = 0;
    bool in = bl__enter_again(m, &was);
    put_by(m, in, e);
    bl__leave_again(m, was);
}

void bl__trace_cancel(const bl_ctx *ctx, int why)
{
    put_here((event){bl__trace_now(), head_of(BL__TRACE_CANCEL, 0, 0), (uint32_t)why, true,
                     (uintptr_t)ctx});
}

void bl__trace_scope(const bl__site *opened)
{
    const bl__g *g = bl__self();
    if (opened != NULL)
        bl__trace_name_site(opened);
    put_here((event){bl__trace_now(),
                     head_of(opened != NULL ? BL__TRACE_OPEN : BL__TRACE_CLOSE, 0, 0), g->id,
                     opened != NULL, (uintptr_t)opened});
}

static uint32_t switches_so_far(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < bl__rt.ps_made; i++)
        n += load_relaxed(&bl__rt.ps[i]->tick);
    return n;
}

bool bl__trace_pause(bool pause)
{
    bl__lock(&bl__rt.lock, BL__RANK_SCHED);
    bool changes = (bl__tracer.wanted & BL__TRACE_EVENTS) != 0 && bl__tracer.paused != pause;
    if (changes) {
        uint32_t so_far = switches_so_far();
        if (pause)
            switch_set(bl__tracer.wanted, true);
        put_outside(0,
                    (event){bl__trace_now(), head_of(BL__TRACE_PAUSE, !pause, 0), 0, true, so_far});
        if (!pause)
            switch_set(bl__tracer.wanted, false);
    }
    bl__unlock(&bl__rt.lock);
    return changes;
}

/* ---- Names, and what else is no event ---- */

void bl__trace_put_text(bl__trace_buf *b, uint32_t kind, uint64_t key, const char *text,
                        uint32_t len)
{
    len = len < BL__TRACE_TEXT_MOST ? len : BL__TRACE_TEXT_MOST;
    uint32_t words = (len + 7) / 8;
    if (b->at + words + 2 >= b->end)
        bl__trace_chunk_next(b);
    uint64_t *at = b->at;
    store_relaxed(at, (uint64_t)len << 32 | kind);
    store_relaxed(at + 1, key);
    for (uint32_t i = 0; i < words; i++) {
        uint64_t w = 0;
        memcpy(&w, text + (size_t)i * 8, len - i * 8 < 8 ? len - i * 8 : 8);
        store_relaxed(at + 2 + i, w);
    }
    store_release(&b->at, at + 2 + words); /* ORD(trace) */
}

void bl__trace_put_live(bl__trace_buf *b, const bl__g *g)
{
    if (b->at + 4 >= b->end)
        bl__trace_chunk_next(b);
    uint64_t *at = b->at;
    store_relaxed(at, (uint64_t)load_relaxed(&g->task.status) << 32 | BL__TRACE_LIVE);
    store_relaxed(at + 1, g->id);
    store_relaxed(at + 2, (uint64_t)(uintptr_t)g->site);
    store_relaxed(at + 3, g->parent);
    store_release(&b->at, at + 4); /* ORD(trace) */
}

void bl__trace_put_sync(void)
{
    bl__trace_buf *b = &bl__tracer.outside;
    bl__lock(&b->lock, BL__RANK_TRACE);
    if (b->generation == load_relaxed(&bl__tracer.generation) || bl__trace_buf_renew(b)) {
        uint64_t now = bl__trace_now();
        store_relaxed(b->at, head_of(BL__TRACE_SYNC, 0, 0));
        store_relaxed(b->at + 1, now);
        store_relaxed(b->at + 2, (uint64_t)bl__clock());
        store_release(&b->at, b->at + 3); /* ORD(trace) */
        if (b->at >= b->end)
            bl__trace_chunk_next(b);
    }
    bl__unlock(&b->lock);
}

/* Under the names' lock. */
static void name_add(const bl__site *site)
{
    bl__trace_name **at = &bl__tracer.first;
    for (; *at != NULL; at = &(*at)->next)
        if ((*at)->site == site)
            return;
    static const char format[] = "%s%c%s%c%s%c%d";
    int n = snprintf(NULL, 0, format, site->what, 0, site->func, 0, site->file, 0, site->line);
    size_t room = (size_t)n + 1;
    bl__trace_name *name = n < 0 ? NULL : bl__alloc(sizeof *name + room);
    if (name == NULL)
        return;
    snprintf(name->text, room, format, site->what, 0, site->func, 0, site->file, 0, site->line);
    name->next = NULL;
    name->site = site;
    name->len = (uint32_t)room;
    store_release(at, name); /* ORD(name): with who writes them all */
    bl__trace_buf *b = &bl__tracer.names;
    if (load_relaxed(&bl__tracer.fd) >= 0 && b->generation == load_relaxed(&bl__tracer.generation))
        bl__trace_put_text(b, BL__TRACE_SITE, (uintptr_t)site, name->text, name->len);
}

void bl__trace_name_site(const bl__site *site)
{
    bl__lock(&bl__tracer.names.lock, BL__RANK_TRACE);
    name_add(site);
    bl__unlock(&bl__tracer.names.lock);
}
