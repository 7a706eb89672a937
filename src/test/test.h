/* SPDX-License-Identifier: MIT */
/*
 * test.h: the inside of belay/test.h.
 *
 * A test program is two processes. The first one (supervisor.c) has no goroutines: it forks the
 * second, the worker, which runs the tests and says on a pipe which test begins, logs and ends.
 * When the worker dies in the middle, of a crash, a deadlock or the time limit, the supervisor
 * knows which test that was, reports it as failed, and forks another worker for the rest: other
 * tests, and the other subtests of that test.
 *
 * A test takes three goroutines at most: its controller (test.c), which lives in the scope of the
 * parent's test and opens the test's own; the body, which may end early; and one that runs the
 * cleanups. The controller closes the scope for the time of its grace only, so that what does not
 * stop fails the test and holds up nothing.
 */
#ifndef BL__TEST_TEST_H
#define BL__TEST_TEST_H

#include <stdio.h>

#include "belay/test.h"
#include "core/sched.h"
#include "debug/report.h"

/* Text that grows. */
typedef struct bl__text {
    char *at;
    size_t len, cap;
} bl__text;

void bl__text_put(bl__text *b, const char *s, size_t n);
void bl__text_vprintf(bl__text *b, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
void bl__text_printf(bl__text *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Every line of it with this many blanks before it. */
void bl__text_indent(bl__text *b, const char *s, size_t n, int blanks);
void bl__text_free(bl__text *b);

/* Memory that is needed to go on: ends the process where there is none. */
void *bl__test_alloc(size_t size);

/* ---- Flags ---- */

enum { BL__LEAK_FAIL, BL__LEAK_WARN, BL__LEAK_OFF };
enum { BL__TEST_CPUS = 16 };

typedef struct bl__test_flags {
    char *const *args; /* behind -args; NULL: there is none */
    bool benchmem;
    bool verbose, json, brief, failfast, update, until_fail;
    const char *run, *skip, *bench, *list;
    const char *junit; /* a file to write */
    const char *file;  /* the test file, as who runs it calls it … */
    bool alone;        /* … which nobody has said: it is not the command that runs it */
    const char *fuzz, *fuzzcache;
    bl_dur fuzztime;
    int64_t fuzz_count; /* -fuzztime 1000x */
    int64_t count;
    bl_dur timeout, limit, benchtime;
    int64_t bench_count; /* -benchtime 100x */
    int cpus[BL__TEST_CPUS], ncpus;
    int parallel;
    int progress; /* a descriptor, for lines about what runs; 0: none */
    bool shuffle;
    uint64_t seed;
    int64_t rounds; /* -until-fail: that were run before those of the items */
    int leak;
} bl__test_flags;
extern bl__test_flags bl__tests;

/* 0, or the exit status after it has complained. */
int bl__test_flags_read(int argc, char **argv);
/* One, by its name alone: NULL, or what it would have as its value. */
const char *bl__test_flag_set(const char *name, const char *value);

/* Whether a test of this name is wanted; a parent of one that may be, too. */
bool bl__test_wanted(const char *name);

/* Removes a directory with all that is in it. */
void bl__tempdir_remove(void *path);
bool bl__bench_wanted(const char *name);
char *bl__bench_name(const char *id); /* "sum": "BenchmarkSum", the caller's to free */
/* It will run on so many processors: results stand in columns. */
void bl__bench_room(const char *id, int procs);
bool bl__fuzz_wanted(const char *name);

/* ---- The program's tests, by file and line ---- */

/* By a program with a main of its own, before that: does not return where there are no tests. main.c */
void bl__test_main_own(char **argv);
size_t bl__test_entries(const bl__test_entry ***all);

/* ---- What is to be run ---- */

enum { BL__ITEM_PENDING, BL__ITEM_ALONE, BL__ITEM_PASSED, BL__ITEM_FAILED, BL__ITEM_SKIPPED };
enum {
    BL__ITEM_PARENT = 8,  /* beside those, of one that has ended: it has asked for subtests */
    BL__ITEM_STOPPED = 16 /* and: a signal has told all to stop, so that it has printed nothing */
};

typedef struct bl__item {
    const bl__test_entry *entry;
    int procs;
    int64_t round;
    int state; /* as the supervisor knows; a worker runs those that are pending, or one that is alone */
    bool last; /* the supervisor's: it has ended in the last worker */
} bl__item;

typedef struct bl__items {
    bl__item *at;
    size_t len;
    int only; /* the one that this worker runs; -1: all that are pending */
    bool
        any; /* the supervisor's: one has run, and is more than a frame for subtests that are not wanted */
} bl__items;

/* The worker: runs them and exits. */
BL__NORETURN void bl__test_worker(const bl__items *items, int events);

/* Runs the program's tests as the flags say; the exit status. */
int bl__test_supervise(bl__items *items);

/* -junit: a test has ended, as BL__ITEM_…; nothing without it. False: the file cannot be
 * written. */
void bl__junit_begin(void);
void bl__junit_case(const char *name, int state, bl_dur took, const bl__text *log);
bool bl__junit_end(void);

/* ---- A test ---- */

typedef struct bl__cleanup {
    void (*fn)(void *arg);
    void *arg;
    struct bl__cleanup *next;
} bl__cleanup;

struct bl_test {
    bl_test *parent; /* immutable; the worker's root has none */
    char *name;      /* immutable */
    void (*fn)(bl_test *t, void *arg);
    void *arg;
    bl__site site; /* where it is written */
    int item;
    bl_scope work; /* bl_test_scope */
    bl_scope
        subs; /* of its subtests: work can be joined while some of them wait for its body's end */
    bl_chan *signal;  /* to who runs it: BL__TEST_PAUSED, BL__TEST_OVER */
    bl_chan *barrier; /* closed when its body has returned: its parallel subtests go on */
    uint32_t lock;    /* of what follows */
    bl_test *kids;    /* parallel subtests, by sibling */
    bl_test *sibling;
    bl__cleanup *cleanups;
    bl_test *live_next; /* lock: that of the list of tests that run */
    bl__text out;       /* what is printed behind its result */
    bl__text names;     /* of its subtests, each with a 0 behind it */
    uint32_t failed;    /* atomic */
    uint32_t skipped;   /* atomic */
    uint32_t warned;    /* atomic: its log is printed though it passes: -leak warn */
    bool is_parallel, has_slot, kept;
    bool left;     /* a bubble of it has left goroutines */
    bool has_subs; /* wanted or not */
    int allow;
    char *tempdir;
    bl_time began;
    bl_dur before;   /* that it ran before it paused */
    uint64_t races;  /* that were met when it began */
    uint64_t number; /* immutable: of all tests of this worker, from 1 */
};

enum { BL__TEST_PAUSED = 1, BL__TEST_OVER = 2 };

bl_test *bl__test_new(bl_test *parent, const char *name, bl__site site);
void bl__test_drop(bl_test *t);
/* Starts t's controller in s and waits until t is over or pauses; one that is over is dropped.
 * True: it passed. */
bool bl__test_start(bl_test *t, bl_scope *s);
/* ^C: no test begins any more, and those that run are cancelled. */
bool bl__test_stopped(void);
/* Lets the parallel subtests of t go on, and waits for them. */
void bl__test_kids(bl_test *t);
/* The same of the root, which others follow. */
void bl__test_round_end(bl_test *root);
void bl__test_fail(bl_test *t);
/* It has logged a leak: what follows from that, by -leak. */
void bl__test_left_something(bl_test *t);
/* Fails t: the golden file at path has want, and not data. */
void bl__test_golden_differs(bl_test *t, const char *path, const char *data, size_t size,
                             const bl__text *want);
/* A test has left goroutines behind: the worker begins no other, since what they do or wait for
 * would be laid to it. */
extern uint32_t bl__test_left; /* atomic */
extern uint32_t bl__test_any;  /* atomic: one has run that is no frame for subtests alone */
extern bl_sem bl__test_slots;  /* parallel tests that may run */

/* For bl__race_owner: the number of the test that g is of, or 0. */
uint64_t bl__test_race_owner(const bl__g *g);

/* A goroutine ends holding a lock: the test that it is of fails. For bl__held_hook: it is to be
 * reported. */
bool bl__test_held(const bl__g *g, const char *kind, const void *lock);

/* For bl__order_owner and bl__order_say: locks that a test takes in two orders fail it. */
uint64_t bl__test_order_owner(const bl__g *g);
void bl__test_order_say(void (*print)(bl__out *o, void *arg), void *arg);

/* For bl__late_say: what is late in a scope or pool of the test is in its log. */
void bl__test_late_say(void (*print)(bl__out *o, void *arg), void *arg);

/* Runs fn(arg) as a goroutine of its own, which may end early, and waits for it though t be
 * cancelled; its result. */
int bl__test_run_aside(bl_test *t, bl_fn fn, void *arg, bool shield);
/* The caller may wait on its bl_test_scope as who has opened that, until it gives it back or is
 * ended early. */
void bl__test_scope_take(void);
void bl__test_scope_give(void);
/* Runs the cleanups of arg, a test; or of its bubble, in that. */
int bl__test_cleanups_main(void *arg);
/* Closes s, which is t's. False: goroutines are left, which go on using it and t. */
bool bl__test_work_close(bl_test *t, bl_scope *s);
/* Logs text, and below it what print writes. */
void bl__test_log_report(bl_test *t, const char *file, int line, const char *text,
                         void (*print)(bl__out *o, void *arg), void *arg);
/* What -seed and the round come to. */
uint64_t bl__test_seed(const bl_test *t);

/* Fatal for a NULL function, where it is given and not where it would be called. */
static inline void bl__test_fn_check(bool is_there, const char *what)
{
    if (!is_there)
        bl__fatal("%s of nil func value", what);
}

/* ---- Bubbles: bubble.c ---- */

typedef struct bl__test_bubble bl__test_bubble;
/* That of t which the caller is in, or NULL. */
bl__test_bubble *bl__test_bubble_here(const bl_test *t);
/* g is of the runner's, and not of the test's. */
bool bl__test_bubble_conducts(const bl__g *g);
/* Likewise, it is a test's controller. */
bool bl__test_controls(const bl__g *g);
bl_scope *bl__test_bubble_scope(bl__test_bubble *r);
bl__cleanup **bl__test_bubble_cleanups(bl__test_bubble *r); /* lock: the test's */

/* ---- Plain tests: plain.c ---- */

/* The worker's process is that of a plain test: runs it and exits. */
BL__NORETURN void bl__test_plain_run(bl_test *t, void (*fn)(bl_test *t));
/* The plain test that this process is of, or NULL. */
bl_test *bl__test_plain(void);
/* It is ended by one of its threads, or of its run's goroutines. */
BL__NORETURN void bl__test_plain_end(void);

/* Processes that tests fork: forked.c. This one is a worker's. */
void bl__test_forked_begin(void);
bool bl__test_forked(void);                  /* this one is none, but was forked by a test of it */
void bl__test_forked_fail(const bl_test *t); /* by such a one: a check has failed */
void bl__test_forked_report(bl_test *t);     /* t has ended, and fails if one has */

/* Timers, tickers, contexts, channels and pipes that tests leave behind: left.c. t has ended:
 * reports its own; goroutines: some of those are left, too. */
void bl__test_left_begin(void);
void bl__test_left_report(bl_test *t, bool goroutines);
/* The same of descriptors: opened.c. */
void bl__test_opened_begin(void);
void bl__test_opened_report(bl_test *t);
/* The innermost test that g is of, or NULL; it runs until g has ended. */
bl_test *bl__test_of(const bl__g *g);
/* t; or if that is NULL the caller's own. */
bl_test *bl__test_given(bl_test *t);

/* -cover: cover.c. The process is a worker's, and counts; it ends without exit. */
void bl__test_cover_begin(void);
void bl__test_cover_dump(void);

/* What is allocated while that is counted: allocs.c. */
typedef struct bl__allocs {
    uint64_t count, bytes;
} bl__allocs;
bool bl__test_allocs_known(void); /* it can be counted in this program */
void bl__test_allocs_count(bool on);
bl__allocs bl__test_allocs(void);

/* ---- Fuzz targets: corpus.c, fuzz.c ---- */

/* A target as the function of a test; arg is its entry. */
void bl__corpus_run(bl_test *t, void *arg);
void bl__fuzz_call(bl_test *t, const bl__test_entry *entry, const void *data, size_t size);
/* Keeps an input of the target; path: where. */
bool bl__corpus_store(const char *target, const void *data, size_t size, bl__text *path);
/* -fuzz: of the list's targets the one that it names; the exit status. */
int bl__fuzz_targets(const bl__test_entry **list, size_t n);

/* All of a file; false: it cannot be read, for the reason errno. */
bool bl__file_read(const char *path, bl__text *b);

/* A benchmark as the function of a test; arg is its entry. */
void bl__bench_run(bl_test *t, void *arg);

/* ---- Saying: say.c ---- */

/* From the worker to the supervisor. */
typedef struct bl__event {
    char
        kind; /* S began, A ended before and is not run again, P paused, C goes on, L has a limit, O logged,
                 D has a directory, E ended, Z all have ended */
    int32_t item;
    int64_t value;       /* of L: ns; of E: BL__ITEM_…, and BL__ITEM_PARENT */
    uint32_t name, text; /* bytes that follow */
} bl__event;

extern int bl__test_events;
extern int bl__test_out; /* the results go there, whatever the tests do with theirs */
void bl__test_tell(char kind, const bl_test *t, int64_t value, const char *text, size_t len);

/* Prints on stdout, in one piece. */
void bl__test_print(const char *text, size_t len);
/* "=== RUN   name", and so on; with -v only. */
void bl__test_mark(const char *what, const char *name);
/* Its lines are logged by t, as from file and line (NULL: from nowhere). */
/* The caller is over: a goroutine, a thread, or a plain test. check.c */
BL__NORETURN void bl__test_end_early(void);
void bl__test_log_text(bl_test *t, const char *file, int line, const char *text, size_t len);
/* The result of t and what it has logged: printed, or given to its parent. */
void bl__test_report(bl_test *t);
/* The result of a subtest, which its parent prints with its own. */
void bl__test_report_to(bl_test *parent, const bl__text *b);

#endif
