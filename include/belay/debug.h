/* SPDX-License-Identifier: MIT */
/*
 * belay/debug.h: looking into a program while it runs: dumps, stuck goroutines, statistics.
 *
 * True of all: they do not stop the program, wait for nobody's goroutine and are no stop path. They
 * may be called from goroutines and plain threads, also without a run, when there is nothing to
 * see.
 */
#ifndef BELAY_DEBUG_H
#define BELAY_DEBUG_H

#include <belay.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the stack of every goroutine to fd, in Go's traceback format, the caller's first. A
 * goroutine that runs on another thread has no stack to show. 0, or why fd could not be written to.
 * (Go: runtime.Stack with all.) */
int bl_dump(int fd);

/* ---- Stuck goroutines ------------------------------------------------------------------------ */

/* A goroutine that waits for what nobody can do any more. Strings live as long as the program. */
typedef struct bl_leak {
    uint64_t id;
    const char *reason;   /* what it waits for, in Go's words: "chan send" */
    bl_time since;        /* when it began to wait, as bl_now() */
    const char *function; /* where it was started: the text of bl_go's fn … */
    const char *file;     /* … and the place of the call; NULL of the main goroutine */
    int line;
    const char *object_file; /* where what it waits on was made; NULL: that is not known */
    int object_line;
    bool proven; /* nobody can ever wake it; else it has been left behind: only the end of its scope would */
} bl_leak;

/*
 * Looks for stuck goroutines: those that wait, without a deadline, on what nobody who is alive can
 * get at. Alive are goroutines that run, sleep, or wait for a descriptor or with a deadline, plain
 * threads, and whoever they can wake. What can be got at is read from memory, conservatively: an
 * address that only looks like one hides a leak, and none is made up. (So there is no address in
 * what it fills in.) Threads that sleep in a call of the system are stopped for some 30 us each
 * then, for their registers; the call goes on and does not show it. Where somebody seems to be stuck
 * and others run, no goroutine runs for the last look, so that it has its registers on its stack,
 * if a look takes less than 10 ms (of CPU time: some thousand goroutines, a few MB), or 100 where
 * the kernel's profiler (perf_event_open) may not be used. Else that tells those of a goroutine that
 * computes, at no stop; where it may not be used, where the function has to do with registers of
 * vectors, which it does not tell, and in a build with a sanitizer, memory says nothing: only owners
 * of locks and scopes count. Who waits for a cancellation by its channel (bl_ctx_done) is not stuck.
 *
 * Fills in the first max of them, by id; out may be NULL if max is 0. How many there are, or
 * BL_ENOMEM. It takes a few milliseconds and about a second for each GiB of malloc's memory; where
 * somebody seems to be stuck and others run meanwhile it looks up to eight times. (Go: the
 * goroutineleak profile.)
 */
int bl_leaks(bl_leak *out, size_t max);

/* ---- Profiles -------------------------------------------------------------------------------- */

/*
 * Writes a profile to fd: stacks with the number of those that have each.
 *
 *   "goroutine"      all goroutines. One that runs on another thread, or has not run yet, has its function alone
 *   "goroutineleak"  those that are stuck (bl_leaks)
 *   "threadcreate"   the runtime's threads, by what they are for
 *   "block"          where goroutines have waited, how often and for how long (bl_profile_block): on channels, locks
 *                    and all else but sleeps, descriptors and bl_blocking
 *   "mutex"          where mutexes and write locks were unlocked that others waited for, and for how long (bl_profile_mutex)
 *   "schedlatency"   how long goroutines that could run waited for a processor, by where they went on
 *                    (bl_profile_schedlatency); of one that had not run: its function
 *
 * debug 0 is for `go tool pprof`: profile.proto, in gzip's framing, with labels, functions, files
 * and lines in it, so that pprof needs no program. 1 is text: counts, addresses and names, the most
 * frequent first. 2 (goroutine and goroutineleak) is each goroutine by itself, as bl_dump, and of
 * those that are stuck, why. Frames of this library are left out, but for the call that a goroutine
 * is in. 0; BL_EINVAL: no such profile; BL_ENOMEM; or why fd could not be written to. It blocks its
 * thread while it works, and no other goroutine: some microseconds for each different stack, and
 * one for each goroutine. (Go: pprof.Lookup(name).WriteTo.)
 */
int bl_profile(int fd, const char *name, int debug);

/* Records waits for the "block" profile: all of rate ns or more, and of shorter ones a sample that
 * stands for as much time; 1: all; 0, as it is at first: none. BELAY_DEBUG=blockprofile=RATE does
 * it from the beginning. Each that is recorded takes some microseconds of who has waited. Any
 * thread. (Go: runtime.SetBlockProfileRate.) */
void bl_profile_block(bl_dur rate);
/* Records one of every fraction of the unlocks that somebody waited for, for the "mutex" profile;
 * 1: all; 0: none. BELAY_DEBUG=mutexprofile=FRACTION does it from the beginning. (Go:
 * runtime.SetMutexProfileFraction.) */
void bl_profile_mutex(int fraction);

/* Records from when a goroutine could run until it ran, for the "schedlatency" profile: rate as in
 * bl_profile_block. It was woken, was started, has yielded, or lost its processor.
 * BELAY_DEBUG=schedprofile=RATE does it from the beginning. While it is on, each switch takes some
 * 100 ns more. Any thread. (Go has it as a histogram: runtime/metrics,
 * /sched/latencies:seconds.) */
void bl_profile_schedlatency(bl_dur rate);

/* ---- Traces ----------------------------------------------------------------------------------- */

/*
 * Records what the scheduler does: who was started, runs, waits for what, was woken by whom, was
 * taken from which processor, cancelled, ended, and when. `belay trace FILE` converts the record to
 * what https://ui.perfetto.dev opens.
 *
 * where: the name of a file, in which %p is the number of the process; or "ring" or "ring=64m", the
 * flight recorder, which keeps the last of it in memory, 8 MiB a processor or what is given (128 KiB
 * at least), and writes it to belay-PID.trace when the process dies of a crash or a fatal error.
 * BELAY_TRACE=where does the same from the first run on. A file grows until bl_trace_stop or the end
 * of the program; one that was killed lacks the last 100 ms.
 *
 * An event is 8 to 16 bytes and takes some 25 ns. A processor that has more than some 400,000 a
 * second for long is not recorded all the time, so that this costs less than a twentieth: the trace
 * shows the pauses, with the number of switches. BELAY_DEBUG=traceall=1 records all.
 * 0; BL_EBUSY: it is on already; BL_EINVAL: no such size, or the name is too long; or why the file
 * could not be made; a pipe is none. Any thread, with or without a run. (Go: trace.Start,
 * trace.FlightRecorder.)
 */
int bl_trace_start(const char *where);
/* Ends it: the file is complete. What a flight recorder kept is forgotten. Nothing, if it is not
 * on. */
void bl_trace_stop(void);
/* Writes what the flight recorder keeps to fd, and goes on recording. 0; BL_EINVAL: it is not on;
 * BL_EBUSY: another thread starts, stops or dumps; or why fd could not be written to. (Go:
 * FlightRecorder.WriteTo.) */
int bl_trace_dump(int fd);

/* The numbers of bl_stats as OpenMetrics text, for Prometheus and its kin. 0, or why fd could not
 * be written to. */
int bl_metrics(int fd);

/* ---- Over HTTP ------------------------------------------------------------------------------- */

/*
 * Serves all of this from goroutines in s, until s is cancelled: /debug/pprof/ with an index and
 * the profiles as Go has them (?debug=1, 2; ?seconds=N: what changed within, for which block, mutex
 * and schedlatency are recorded), so that `go tool pprof http://ADDRESS/debug/pprof/goroutine`
 * works; /metrics; /debug/leaks; /debug/goroutines, for `belay top`. Since s is not joined before
 * it is cancelled, s is best bl_root() or a scope of its own.
 *
 * where: "unix:/path", a socket that its owner alone may use; "127.0.0.1:6060", "[::1]:6060",
 * "localhost:0", which takes a free port. Anything but this machine's own addresses has to be asked
 * for, as "tcp:0.0.0.0:6060": whoever reaches it sees the program's insides.
 *
 * The port (0 of a unix socket); BL_EINVAL: no such address; BL_EACCES: it is not this machine's
 * own, or the kernel forbids it; BL_EADDRINUSE, …; what bl_go returns if s is cancelled; BL_ENOSYS:
 * the library was built without llhttp (Debian: node-llhttp). (Go: import _ "net/http/pprof".)
 */
int bl_debug_listen(bl_scope *s, const char *where);

/* ---- Statistics ------------------------------------------------------------------------------ */

typedef struct bl_stat {
    uint64_t started; /* goroutines of this run so far */
    uint64_t ended;
    uint64_t goroutines; /* that there are: started - ended */
    uint64_t running;    /* of them: run, or block or compute on a thread without a processor */
    uint64_t runnable;   /* wait for a processor */
    uint64_t waiting;    /* are parked */
    uint64_t switches;   /* of processors from one goroutine to another, so far */
    uint32_t procs;      /* processors in use (bl_procs) */
    uint32_t procs_idle; /* of them with nothing to run */
    uint32_t threads;    /* that the runtime has for goroutines */
    uint32_t threads_idle;
    uint32_t threads_away; /* that run or block with a goroutine and had their processor taken */
    uint64_t timers;       /* pending, with deadlines of waits */
    uint64_t descriptor_waits; /* goroutines that wait for a descriptor */
} bl_stat;

/* Fills in *out, from counts that are taken one after the other while the program goes on. It looks
 * at each goroutine: a few milliseconds for 100,000. */
void bl_stats(bl_stat *out);

#ifdef __cplusplus
}
#endif

#endif
