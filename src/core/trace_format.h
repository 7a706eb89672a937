/* SPDX-License-Identifier: MIT */
/*
 * trace_format.h: what a trace file looks like, for core/trace.c, which writes it, and `belay
 * trace`, which reads it.
 *
 * A header of BL__TRACE_HEAD bytes, and then chunks of BL__TRACE_CHUNK bytes each, in any order,
 * words of 8 bytes in the machine's order. A chunk belongs to a stream: a processor's, that of all
 * threads without a processor, or the names'. It begins with bl__trace_chunk, and ends with the
 * first word that is 0: what was not written is a hole in the file. So a file is readable at any
 * moment, also after its program was killed.
 *
 * An event is one word, and for some kinds a second:
 *
 *     kind 5 bits | how 2 | seq 8 | ticks since the event before 17 | 32 of the goroutine's number
 *
 * TIME goes before an event whose ticks do not fit, and at the beginning of each chunk, HIGH before
 * one whose goroutine's number does not. In the stream of threads without a processor ACTOR says
 * who does what follows, and times are not in order. seq is how often the goroutine has switched so
 * far, modulo 256: with that the order of its events is known also where the clocks of two CPUs
 * disagree.
 */
#ifndef BL__CORE_TRACE_FORMAT_H
#define BL__CORE_TRACE_FORMAT_H

#include <stdint.h>

enum {
    BL__TRACE_HEAD = 4096,
    BL__TRACE_CHUNK = 65536,
    BL__TRACE_WORDS = BL__TRACE_CHUNK / 8,
    BL__TRACE_EVENT_MOST = 5, /* words, with those that go before */
    BL__TRACE_TEXT_MOST = 2048
};

#define BL__TRACE_MAGIC "bltrace1"
#define BL__TRACE_CHUNK_MAGIC UINT64_C(0x31306b6e7568636c)

typedef struct bl__trace_header {
    char magic[8];
    uint32_t pid;
    uint32_t ring;       /* 1: a flight recorder's; what was before is lost */
    uint64_t per_second; /* ticks, roughly; two BL__TRACE_SYNC tell better */
    uint64_t ticks;      /* when tracing began */
    int64_t clock;       /* the same moment on CLOCK_MONOTONIC, and since 1970 */
    int64_t real;
    char program[256];
} bl__trace_header;

enum { BL__TRACE_PROC, BL__TRACE_OUTSIDE, BL__TRACE_NAMES };

typedef struct bl__trace_chunk {
    uint64_t magic;
    uint32_t stream; /* BL__TRACE_PROC, … */
    uint32_t id;     /* of the processor */
    uint32_t run;    /* of bl_run in this process; goroutines are numbered anew in each */
    uint32_t reserved;
    uint64_t seq; /* of the stream's chunks, from 1; 0: being written over */
} bl__trace_chunk;

typedef enum bl__trace_kind {
    BL__TRACE_END_OF_CHUNK,
    BL__TRACE_TIME,  /* the other 59 bits: ticks */
    BL__TRACE_HIGH,  /* the other 59 bits: goroutine >> 32 of the event behind it */
    BL__TRACE_ACTOR, /* the other 59 bits: the goroutine that does what follows; 0: none */

    BL__TRACE_RUN,   /* goroutine runs on this processor */
    BL__TRACE_BLOCK, /* goroutine waits; then: reason << 56 | address of what it waits on */
    BL__TRACE_YIELD, /* goroutine lets others run, and is queued */
    BL__TRACE_END,   /* goroutine has ended; then: its site */
    BL__TRACE_SPAWN, /* goroutine was started; then: its site */
    BL__TRACE_WAKE,  /* goroutine can go on; how: BL__TRACE_BY_… */
    BL__TRACE_STEAL, /* the low half: tasks << 16 | the processor they were taken from */
    BL__TRACE_HANDOFF, /* goroutine keeps its thread, and loses its processor; then: why << 32 | processor */
    BL__TRACE_THREAD, /* the low half: the thread that has this processor from now on */
    BL__TRACE_CANCEL, /* a context was cancelled, the low half: why; then: its address */
    BL__TRACE_OPEN,   /* goroutine has opened a scope; then: its site */
    BL__TRACE_CLOSE,  /* goroutine has closed its innermost scope */
    BL__TRACE_PAUSE, /* how 0: what follows is not recorded, until how 1; then: switches so far, modulo 2^32 */
    BL__TRACE_SYNC, /* then: ticks, CLOCK_MONOTONIC */

    /* In the stream of names: length of the text << 32, key, text. */
    BL__TRACE_REASON, /* of waiting; key: its number */
    BL__TRACE_SITE,   /* key: its address; text: what, function, file, line, each with its 0 */
    BL__TRACE_LIVE /* state << 32; then goroutine, site, who started it: it is there, at start or dump */
} bl__trace_kind;

enum { BL__TRACE_KIND_BITS = 5, BL__TRACE_SEQ_AT = 7, BL__TRACE_TICKS_AT = 15 };
#define BL__TRACE_TICKS_MOST ((UINT64_C(1) << 17) - 1)

enum { BL__TRACE_BY_OTHER, BL__TRACE_BY_DEADLINE, BL__TRACE_BY_CANCEL, BL__TRACE_BY_SCHEDULER };

#endif
