/* SPDX-License-Identifier: MIT */
/*
 * recorder.c: where a trace goes: into a file as it is recorded, or into memory, the flight
 * recorder, which is written out on demand and when the process dies of an error. core/trace.c
 * records.
 */
#include <belay/debug.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arch/sanitize.h"
#include "arch/ticks.h"
#include "core/trace.h"
#include "debug/out.h"
#include "os/os.h"

enum { RING_CHUNKS = 128 /* 8 MiB a processor */, RING_MOST = 16384 };

#define FLUSH_EVERY (100 * BL_MS)
#define CALIBRATE_FOR (200 * BL_US)

/* What a processor may record in the long run, and at once. A chunk takes its thread some 200 us
 * into memory and 400 into a file. */
#define CHUNK_EVERY (15 * BL_MS)
#define CREDIT_MOST (8 * CHUNK_EVERY)

enum { LIVE_MOST = 1000 }; /* goroutines that are told of again after a pause */

enum { RECORDER_OFF, RECORDER_BUSY, RECORDER_FILE, RECORDER_RING };

static struct {
    uint32_t state;          /* atomic: RECORDER_…; who makes it BUSY may start, stop or dump */
    uint32_t dead;           /* atomic: the process dies, and that was seen to */
    bl_time flushed;         /* sysmon's */
    bl_time paced;           /* sysmon's: when it last looked at how much was recorded */
    bl_dur credit;           /* sysmon's: below 0: more was than may be */
    uint32_t whole;          /* atomic: record all, whatever it takes */
    bool asked;              /* by the first run: what BELAY_TRACE says */
    char path[4096];         /* of the file; immutable while on */
    bl__trace_header header; /* immutable while on */
    uint64_t chunk[BL__TRACE_WORDS]; /* who is BUSY: what a dump writes next */
} recorder;

static bool state_take(uint32_t from)
{
    return cas_acq_rel(&recorder.state, &from, (uint32_t)RECORDER_BUSY); /* ORD(recorder) */
}

static void state_give(uint32_t to)
{
    store_release(&recorder.state, to); /* ORD(recorder): with state_take */
}

/* ---- All buffers ---- */

static bool is_current(bl__trace_buf *b)
{
    /* ORD(trace): with renew */
    return b != NULL && load_acquire(&b->generation) == load_relaxed(&bl__tracer.generation);
}

static bl__trace_buf *buf_at(uint32_t i)
{
    return i < BL__MAX_PROCS
               ? load_acquire(&bl__tracer.procs[i]) /* ORD(trace): with proc_buf_slow */
           : i == BL__MAX_PROCS ? &bl__tracer.outside
                                : &bl__tracer.names;
}

enum { BUFS = BL__MAX_PROCS + 2 };

static void flush_all(bool last)
{
    for (uint32_t i = 0; i < BUFS; i++) {
        bl__trace_buf *b = buf_at(i);
        if (!is_current(b))
            continue;
        bl__lock(&b->lock, BL__RANK_TRACE);
        bl__trace_flush(b);
        if (last)
            b->fd = -1; /* who has not seen yet that it is over does not write to it */
        bl__unlock(&b->lock);
    }
}

/* In a signal handler: the lock may be held by who was interrupted. */
static void flush_dying(void)
{
    for (uint32_t i = 0; i < BUFS; i++) {
        bl__trace_buf *b = buf_at(i);
        if (!is_current(b))
            continue;
        bool held = bl__trylock(&b->lock, BL__RANK_TRACE);
        bl__trace_flush(b);
        if (held)
            bl__unlock(&b->lock);
    }
}

/* ---- Names ---- */

/* Under b's lock: the names there are. */
static void names_put(bl__trace_buf *b)
{
    for (uint32_t i = 0; i < BL__WAIT_REASONS; i++)
        if (bl__reason_texts[i] != NULL)
            bl__trace_put_text(b, BL__TRACE_REASON, i, bl__reason_texts[i],
                               (uint32_t)strlen(bl__reason_texts[i]) + 1);
    const bl__trace_name *n = load_acquire(&bl__tracer.first); /* ORD(name): with name_add */
    for (; n != NULL; n = load_acquire(&n->next))              /* ORD(name) */
        bl__trace_put_text(b, BL__TRACE_SITE, (uintptr_t)n->site, n->text, n->len);
}

static void site_note(const bl__g *g, void *arg)
{
    (void)arg;
    if (g->site != NULL)
        bl__trace_name_site(g->site);
}

static void live_put(const bl__g *g, void *arg) { bl__trace_put_live(arg, g); }

static void names_begin(void)
{
    bl__trace_buf *b = &bl__tracer.names;
    bl__lock(&b->lock, BL__RANK_TRACE);
    if (bl__trace_buf_renew(b))
        names_put(b);
    bl__unlock(&b->lock);
}

/* What goroutines there are already. */
static void live_begin(bool file)
{
    bl__trace_buf *b = &bl__tracer.names;
    bl__each_goroutine(site_note, NULL);
    if (!file)
        return; /* a dump says it, of its own moment */
    bl__lock(&b->lock, BL__RANK_TRACE);
    if (is_current(b))
        bl__each_goroutine(live_put, b);
    bl__unlock(&b->lock);
}

/* ---- On and off ---- */

/* Ticks a second, roughly. */
static uint64_t calibrate(void)
{
    if (bl__tracer.clock)
        return BL_SEC;
    bl_time begun = bl__clock(), now;
    uint64_t ticks = bl__ticks();
    while ((now = bl__clock()) - begun < CALIBRATE_FOR)
        ;
    return (uint64_t)((double)(bl__ticks() - ticks) * 1e9 / (double)(now - begun));
}

static void header_make(bool ring)
{
    struct timespec real;
    bl__trace_header *h = &recorder.header;
    clock_gettime(CLOCK_REALTIME, &real);
    memset(h, 0, sizeof *h);
    memcpy(h->magic, BL__TRACE_MAGIC, sizeof h->magic);
    h->pid = (uint32_t)getpid();
    h->ring = ring;
    h->per_second = calibrate();
    h->ticks = bl__trace_now();
    h->clock = bl__clock();
    h->real = (int64_t)real.tv_sec * BL_SEC + real.tv_nsec;
    snprintf(h->program, sizeof h->program, "%s", program_invocation_short_name);
}

static bool header_write(int fd)
{
    char page[BL__TRACE_HEAD] = {0};
    memcpy(page, &recorder.header, sizeof recorder.header);
    for (size_t n = 0; n < sizeof page;) {
        ssize_t k = write(fd, page + n, sizeof page - n);
        if (k < 0 && errno != EINTR)
            return false;
        n += k > 0 ? (size_t)k : 0;
    }
    return true;
}

/* The name of the file, with %p for the number of the process. */
static bool path_make(const char *where)
{
    size_t n = 0;
    for (const char *at = where; *at != 0; at++) {
        size_t room = sizeof recorder.path - n;
        int k = at[0] == '%' && at[1] == 'p'
                    ? snprintf(recorder.path + n, room, "%d", (int)getpid())
                    : snprintf(recorder.path + n, room, "%c", *at);
        if (k < 0 || (size_t)k >= room)
            return false;
        at += at[0] == '%' && at[1] == 'p';
        n += (size_t)k;
    }
    return true;
}

static int trace_open(const char *where)
{
    if (!path_make(where))
        return BL_EINVAL;
    int fd =
        bl__fd_own(open(recorder.path, /* a FIFO's reader is not waited for */
                        O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666));
    if (fd < 0)
        return errno == ENXIO ? -ESPIPE : -errno;
    if (lseek(fd, 0, SEEK_CUR) < 0 || !header_write(fd)) {
        int err = errno;
        close(fd);
        return -err;
    }
    return fd;
}

/* Chunks for each processor; 0: where is no flight recorder; negative: its size is none. */
static int ring_chunks(const char *where)
{
    if (strcmp(where, "ring") == 0)
        return RING_CHUNKS;
    if (strncmp(where, "ring=", 5) != 0)
        return 0;
    char *end;
    long long n = strtoll(where + 5, &end, 10);
    long long unit = *end == 'k' || *end == 'K'   ? 1024
                     : *end == 'm' || *end == 'M' ? 1024 * 1024
                                                  : 1;
    end += unit > 1;
    if (*end != 0 || end == where + 5 || n < 1 || n > (long long)RING_MOST * BL__TRACE_CHUNK / unit)
        return BL_EINVAL;
    long long chunks = n * unit / BL__TRACE_CHUNK;
    return chunks < 2 ? 2 : (int)chunks;
}

static void at_exit(void)
{
    if (load_relaxed(&recorder.state) == RECORDER_FILE && !load_relaxed(&bl__rt.forked)) {
        bl__trace_put_sync();
        flush_all(false);
    }
}

int bl_trace_start(const char *where)
{
    static uint32_t noted;
    if (where == NULL || *where == 0)
        return BL_EINVAL;
    int ring = ring_chunks(where);
    if (ring < 0)
        return ring;
    if (!state_take(RECORDER_OFF))
        return BL_EBUSY;
    store_relaxed(&bl__tracer.clock, (uint32_t)!bl__ticks_steady());
    store_relaxed(&recorder.whole, (uint32_t)(bl__debug_setting("traceall") == 1));
    header_make(ring > 0);
    int fd = ring > 0 ? -1 : trace_open(where);
    if (fd < -1 || (fd < 0 && ring == 0)) {
        state_give(RECORDER_OFF);
        return fd;
    }
    store_relaxed(&bl__tracer.ring, (uint32_t)ring);
    store_relaxed(&bl__tracer.fd, fd);
    store_relaxed(&bl__tracer.failed, 0);
    store_relaxed(&bl__tracer.size, UINT64_C(0));
    add_release(&bl__tracer.generation, 1u); /* ORD(trace): with renew */
    if (ring == 0)
        names_begin();
    bl__trace_switch(BL__TRACE_EVENTS, true);
    if (load_relaxed(&bl__rt.running))
        live_begin(ring == 0);
    if (ring == 0 && swap_acq_rel(&noted, 1u) == 0) /* ORD(recorder) */
        atexit(at_exit);
    state_give(ring > 0 ? RECORDER_RING : RECORDER_FILE);
    return 0;
}

void bl_trace_stop(void)
{
    bool file = state_take(RECORDER_FILE);
    if (!file && !state_take(RECORDER_RING))
        return;
    (void)bl__trace_pause(false);
    bl__trace_switch(BL__TRACE_EVENTS, false);
    if (file) {
        bl__trace_put_sync();
        flush_all(true);
        close(bl__tracer.fd);
        store_relaxed(&bl__tracer.fd, -1);
    }
    state_give(RECORDER_OFF);
}

/* ---- The flight recorder ---- */

static bool write_whole(int fd, const void *from, size_t n)
{
    const char *at = from;
    while (n > 0) {
        ssize_t k = write(fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        at += k;
        n -= (size_t)k;
    }
    return true;
}

/* A chunk of b, which may be written to and written over meanwhile. False: fd could not be written
 * to. */
static bool chunk_dump(int fd, const bl__trace_buf *b, uint32_t slot)
{
    uint64_t *from = b->base + (size_t)slot * BL__TRACE_WORDS, *to = recorder.chunk;
    bl__trace_chunk *c = (bl__trace_chunk *)(void *)from;
    uint64_t seq = load_acquire(&c->seq); /* ORD(chunk): with chunk_begin */
    uint64_t *at = load_acquire(&b->at);  /* ORD(trace): with put */
    size_t n = at >= from && at < from + BL__TRACE_WORDS ? (size_t)(at - from) : BL__TRACE_WORDS;
    if (seq == 0)
        return true;
    memset(to, 0, BL__TRACE_CHUNK);
    for (size_t i = 0; i < n; i++)
        if ((to[i] = load_relaxed(&from[i])) == 0 && i >= sizeof *c / 8)
            break;
    fence_seq_cst(); /* ORD(chunk): the copy before the second look, for which acquire is not enough */
    if (load_relaxed(&c->seq) != seq)
        return true;
    return write_whole(fd, to, BL__TRACE_CHUNK);
}

/* By who is BUSY. In a signal handler, too. */
static int dump(int fd)
{
    bl__trace_buf names = {.stream = BL__TRACE_NAMES,
                           .shared = 1,
                           .streamed = 1,
                           .fd = fd,
                           .base = recorder.chunk,
                           .chunks = 1};
    store_relaxed(&bl__tracer.failed, 0);
    if (!header_write(fd))
        return -errno;
    if (!bl__trace_buf_renew(&names))
        return BL_ENOMEM;
    names_put(&names);
    bl__each_goroutine(live_put, &names);
    bl__trace_chunk_next(&names);
    if (load_relaxed(&bl__tracer.failed) != 0)
        return -load_relaxed(&bl__tracer.failed);
    for (uint32_t i = 0; i < BUFS; i++) {
        bl__trace_buf *b = buf_at(i);
        uint32_t chunks = !is_current(b) || b == &bl__tracer.names ? 0 : bl__tracer.ring;
        for (uint32_t slot = 0; slot < chunks && b->base != NULL; slot++)
            if (!chunk_dump(fd, b, slot))
                return -errno;
    }
    return 0;
}

int bl_trace_dump(int fd)
{
    if (!state_take(RECORDER_RING))
        return load_relaxed(&recorder.state) == RECORDER_BUSY ? BL_EBUSY : BL_EINVAL;
    (void)bl__trace_pause(false); /* says how much was left out until now */
    bl__trace_put_sync();
    int r = dump(fd);
    state_give(RECORDER_RING);
    return r;
}

/* ---- What the runtime calls ---- */

void bl__trace_run_begin(void)
{
    const char *where = getenv("BELAY_TRACE");
    add_release(&bl__tracer.generation, 1u); /* ORD(trace) */
    if (load_relaxed(&recorder.state) == RECORDER_FILE)
        names_begin();
    if (recorder.asked || where == NULL || *where == 0)
        return;
    recorder.asked = true;
    int r = bl_trace_start(where);
    if (r == BL_EINVAL)
        bl__warn(
            "BELAY_TRACE=%s is neither a file nor ring or ring=SIZE (with k or m), so there is no "
            "trace",
            where);
    else if (r < 0 && r != BL_EBUSY)
        bl__warn("BELAY_TRACE=%s: the file cannot be written: %s; there is no trace", where,
                 r == -ESPIPE ? "it is a pipe" : bl_strerror(r));
}

void bl__trace_run_end(void)
{
    if (load_relaxed(&recorder.state) != RECORDER_FILE)
        return;
    (void)bl__trace_pause(false);
    at_exit();
}

/* The most chunks that a processor has begun since the last look. */
static uint64_t chunks_begun(void)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < BL__MAX_PROCS; i++) {
        bl__trace_buf *b = buf_at(i);
        if (!is_current(b))
            continue;
        uint64_t begun = load_relaxed(&b->seq), n = begun - b->paced;
        b->paced = begun;
        most = n > most ? n : most;
    }
    return most;
}

/* Pauses the recording when it has become too much, until that is made up for, or until nobody has
 * anything to do. */
static void pace(bl_time now)
{
    bool idle = now == BL_NEVER;
    bl_dur due = (bl_dur)chunks_begun() * CHUNK_EVERY;
    bl_dur credit = recorder.credit + (now - recorder.paced);
    recorder.credit = idle ? CREDIT_MOST : (credit < CREDIT_MOST ? credit : CREDIT_MOST) - due;
    recorder.paced = idle ? bl__clock() : now;
    if (recorder.credit < 0 && !load_relaxed(&recorder.whole))
        (void)bl__trace_pause(true);
    else if (bl__trace_pause(false) && load_relaxed(&recorder.state) == RECORDER_FILE &&
             bl_goroutines() <= LIVE_MOST)
        live_begin(true);
}

void bl__trace_tick(bl_time now)
{
    uint32_t state = load_relaxed(&recorder.state);
    if (state == RECORDER_FILE || state == RECORDER_RING)
        pace(now);
    if (state != RECORDER_FILE || (now != BL_NEVER && now - recorder.flushed < FLUSH_EVERY))
        return;
    recorder.flushed = now != BL_NEVER ? now : 0;
    bl__trace_put_sync();
    flush_all(false);
    int failed = load_relaxed(&bl__tracer.failed);
    if (failed == 0)
        return;
    bl_trace_stop();
    bl__warn("the trace cannot be written to %s any more: %s; tracing has ended", recorder.path,
             strerror(failed));
}

void bl__trace_dying(void)
{
    uint32_t alive = 0;
    bl__out o;
    if (load_relaxed(&recorder.state) == RECORDER_OFF ||
        !cas_acq_rel(&recorder.dead, &alive, 1u)) /* ORD(recorder) */
        return;
    if (load_relaxed(&recorder.state) == RECORDER_FILE) {
        flush_dying();
        return;
    }
    if (!state_take(RECORDER_RING))
        return;
    char path[48];
    snprintf(path, sizeof path, "belay-%d.trace", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int r = fd < 0 ? -errno : dump(fd);
    if (fd >= 0)
        close(fd);
    bl__out_init(&o, STDERR_FILENO);
    if (r < 0)
        bl__out_printf(&o, "belay: the flight recorder cannot be written to %s: %s\n", path,
                       bl_strerror(r));
    else
        bl__out_printf(&o, "belay: what happened before is in %s; 'belay trace %s' converts it\n",
                       path, path);
    bl__out_flush(&o);
    state_give(RECORDER_RING);
}

void bl__trace_forked(void)
{
    store_relaxed(&bl__trace_on, 0u);
    bl__tracer.wanted = 0;
    bl__tracer.paused = false;
    if (bl__tracer.fd >= 0)
        close(bl__tracer.fd);
    bl__tracer.fd = -1;
    for (uint32_t i = 0; i < BUFS; i++)
        if (buf_at(i) != NULL) {
            buf_at(i)->lock = 0;
            buf_at(i)->fd = -1;
        }
    state_give(RECORDER_OFF);
}
