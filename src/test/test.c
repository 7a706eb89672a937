/* SPDX-License-Identifier: MIT */
/*
 * test.c: the life of a test: its controller, the body, parallel subtests, cleanups, and what is
 * left behind.
 */
#include <ctype.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/race.h"
#include "core/label.h"
#include "core/lock.h"
#include "debug/lockorder.h"
#include "debug/peek.h"
#include "debug/report.h"
#include "debug/stuck.h"
#include "life/scope_parts.h"
#include "sync/chan.h"
#include "test/watched.h"

bl_sem bl__test_slots;
uint32_t bl__test_left;
uint32_t bl__test_any;

/* ---- Making one ---- */

/* Lock held: t has a subtest of this name. */
static bool name_taken(const bl_test *t, const char *name)
{
    size_t at = 0;
    while (at < t->names.len && strcmp(t->names.at + at, name) != 0)
        at += strlen(t->names.at + at) + 1;
    return at < t->names.len;
}

/* As Go: blanks become _, what cannot be printed \x01, and the second one of a name gets #01, as
 * #00 does the first without a name. */
static char *sub_name(bl_test *parent, const char *name)
{
    bl__text b = {0};
    if (parent->parent != NULL)
        bl__text_printf(&b, "%s/", parent->name);
    for (const char *c = name; *c != '\0'; c++)
        if (isspace((unsigned char)*c))
            bl__text_put(&b, "_", 1);
        else if ((unsigned char)*c < ' ' || *c == 127)
            bl__text_printf(&b, "\\x%02x", (unsigned)*c);
        else
            bl__text_put(&b, c, 1);
    size_t len = b.len;
    if (*name == '\0')
        bl__text_put(&b, "#00", 3);
    bl__lock(&parent->lock, BL__RANK_TEST);
    for (int same = 1; name_taken(parent, b.at); same++) {
        b.len = len;
        bl__text_printf(&b, "#%02d", same);
    }
    bl__text_put(&parent->names, b.at, b.len + 1);
    bl__unlock(&parent->lock);
    return b.at;
}

bl_test *bl__test_new(bl_test *parent, const char *name, bl__site site)
{
    static uint64_t tests; /* atomic */
    bl_test *t = bl__test_alloc(sizeof *t);
    t->number = add_relaxed(&tests, (uint64_t)1) + 1;
    t->parent = parent;
    t->name = parent != NULL ? sub_name(parent, name) : strdup(name);
    t->item = parent != NULL ? parent->item : -1;
    t->site = site;
    t->site.what = t->name;
    t->signal = bl__chan_make(sizeof(int), 2, &t->site);
    t->barrier = bl__chan_make(sizeof(int), 0, &t->site);
    if (t->name == NULL || t->signal == NULL || t->barrier == NULL)
        bl__fatal("belay: out of memory in the test runner");
    return t;
}

void bl__test_drop(bl_test *t)
{
    if (t->kept) /* what it has left goes on using it */
        return;
    bl_chan_release(t->signal);
    bl_chan_release(t->barrier);
    bl__text_free(&t->out);
    bl__text_free(&t->names);
    free(t->tempdir);
    free(t->name);
    bl__free(t);
}

/* ---- Running it ---- */

int bl__test_run_aside(bl_test *t, bl_fn fn, void *arg, bool shield)
{
    bl_scope scope;
    (void)bl__scope_open(&scope, &(bl_scope_opts){.name = t->name, .shield = shield}, &t->site);
    int r = bl__go(&scope, fn, arg, &t->site);
    if (r < 0) {
        bl__test_say(t, BL__TEST_FAIL, NULL, 0, "the test could not be started: %s",
                     bl_err_name(r));
    }
    (void)bl_scope_wait(&scope);
    return bl_scope_close(&scope);
}

/* The scope of bl_test_scope, where the caller is a test's; else NULL. */
static bl_scope *scope_here(void)
{
    bl_test *t = bl__test_of(bl__self());
    return t != NULL ? bl_test_scope(t) : NULL;
}

void bl__test_scope_take(void)
{
    bl_scope *s = scope_here();
    if (s != NULL)
        store_relaxed(&s->bl__opener_g, (void *)bl__self());
}

void bl__test_scope_give(void)
{
    bl_scope *s = scope_here();
    if (s != NULL && load_relaxed(&s->bl__opener_g) == bl__self())
        store_relaxed(&s->bl__opener_g, NULL);
}

/* What the caller starts is of t, in whatever scope. In benchmarks it counts how quickly that
 * goes. */
static void own_from_here(const bl_test *t)
{
    if (bl__tests.bench == NULL)
        bl__labels_own(t);
}

static int bl__test_body_main(void *arg)
{
    bl_test *t = arg;
    own_from_here(t);
    bl__test_scope_take();
    t->fn(t, t->arg);
    bl__test_scope_give();
    return 0;
}

/* The list that the caller works on: t's, or that of the bubble of t that it is in. */
static bl__cleanup **cleanup_list(bl_test *t)
{
    bl__test_bubble *r = bl__test_bubble_here(t);
    return r != NULL ? bl__test_bubble_cleanups(r) : &t->cleanups;
}

static bl__cleanup *cleanup_take(bl_test *t)
{
    bl__cleanup **list = cleanup_list(t);
    bl__lock(&t->lock, BL__RANK_TEST);
    bl__cleanup *c = *list;
    if (c != NULL)
        *list = c->next;
    bl__unlock(&t->lock);
    return c;
}

int bl__test_cleanups_main(void *arg)
{
    own_from_here(arg);
    bl__test_scope_take();
    for (bl__cleanup *c; (c = cleanup_take(arg)) != NULL;) {
        bl__cleanup now = *c;
        bl__free(c);
        now.fn(now.arg);
    }
    bl__test_scope_give();
    return 0;
}

/* The next that t says, whatever becomes of the caller's context meanwhile. */
static int bl__test_signal_await(bl_test *t)
{
    static const bl__site site = {"waiting for a subtest", "bl_subtest", __FILE__, __LINE__};
    int said = 0;
    bl_scope shield;
    (void)bl__scope_open(&shield, &(bl_scope_opts){.shield = true}, &site);
    int r = bl_chan_recv(t->signal, &said);
    (void)r; /* nobody closes it, and nothing cancels */
    (void)bl_scope_close(&shield);
    return said;
}

static void signal_send(bl_test *t, int what)
{
    int r = bl_chan_try_send(t->signal, &what);
    (void)r; /* there is room for both that are sent */
}

void bl__test_kids(bl_test *t)
{
    bl_chan_close(t->barrier);
    if (t->has_slot)
        bl_sem_release(&bl__test_slots, 1);
    t->has_slot = false;
    while (t->kids != NULL) {
        bl_test *kid = t->kids;
        t->kids = kid->sibling;
        (void)bl__test_signal_await(kid);
        bl__test_drop(kid);
    }
}

void bl__test_round_end(bl_test *root)
{
    bl__test_kids(root);
    bl_chan_release(root->barrier);
    if ((root->barrier = bl__chan_make(sizeof(int), 0, &root->site)) == NULL)
        bl__fatal("belay: out of memory in the test runner");
}

/* ---- What is left ---- */

static bool left_in(const bl__g *g, void *arg)
{
    return g->id != bl__self()->id && !bl__test_bubble_conducts(g) && bl__scope_within(g, arg);
}

typedef struct leftovers {
    bl_scope *in;
    size_t count;
    bl_test *of;
} leftovers;

static void leftover_count(const bl__g *g, void *arg)
{
    leftovers *l = arg;
    if (g->id == bl__self()->id || !bl__scope_within(g, l->in))
        return;
    bl__finder_said(g); /* that it is stuck is no news, and ends no worker */
    l->count += left_in(g, l->in);
}

static void left_print(bl__out *o, void *arg) { bl__report_goroutines(o, left_in, arg); }

void bl__test_log_report(bl_test *t, const char *file, int line, const char *text,
                         void (*print)(bl__out *o, void *arg), void *arg)
{
    bl__text b = {0};
    bl__text_put(&b, text, strlen(text));
    int fd = memfd_create("report", MFD_CLOEXEC);
    if (fd >= 0) {
        char part[4096];
        bl__report_run(fd, print, arg);
        (void)lseek(fd, 0, SEEK_SET);
        for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
            bl__text_put(&b, part, (size_t)n);
        close(fd);
    }
    if (b.len > 0)
        bl__test_log_text(t, file, line, b.at, b.len);
    bl__text_free(&b);
}

static void leak_say(bl_test *t, size_t count, const char *when,
                     void (*print)(bl__out *o, void *arg), void *arg)
{
    char text[128];
    (void)snprintf(text, sizeof text, "leak: %zu goroutine%s left %s:\n", count,
                   count == 1 ? " was" : "s were", when);
    bl__test_log_report(t, NULL, 0, text, print, arg);
    bl__test_left_something(t);
}

bool bl__test_work_close(bl_test *t, bl_scope *s)
{
    store_relaxed(&s->bl__opener_g, (void *)bl__self());
    if (bl__scope_close_bounded(s) == 0)
        return true;
    leftovers l = {.in = s};
    bl__each_goroutine(leftover_count, &l);
    if ((t->allow & BL_ALLOW_GOROUTINES) == 0 && bl__tests.leak != BL__LEAK_OFF)
        leak_say(t, l.count, "when the test had ended and was cancelled", left_print, s);
    return false;
}

/* t has started g in a scope that is not its own: the root scope. */
static bool astray(const bl__g *g, void *arg)
{
    bl_test *t = arg;
    bl__labels labels; /* g may be changing them */
    return g->id != bl__self()->id && g->labels != NULL &&
           bl__peek(&labels, g->labels, sizeof labels) && labels.owner == t &&
           !bl__scope_within(g, &t->work) && !bl__test_bubble_conducts(g);
}

static void astray_count(const bl__g *g, void *arg)
{
    leftovers *l = arg;
    l->count += astray(g, l->of);
}

static void astray_said(const bl__g *g, void *arg)
{
    if (astray(g, arg))
        bl__finder_said(g);
}

/* Those that t may leave: that they are stuck ends no worker either, before the grace is over. */
static void may_be_left(const bl__g *g, void *arg)
{
    const bl_test *t = arg;
    if (g->id != bl__self()->id && (bl__scope_within(g, &t->work) || astray(g, arg)))
        bl__finder_said(g);
}

static void astray_print(bl__out *o, void *arg) { bl__report_goroutines(o, astray, arg); }

/* Nothing tells them that the test has ended; they may be about to end all the same. True: there
 * are none left. */
static bool root_is_clear(bl_test *t)
{
    if ((t->allow & BL_ALLOW_GOROUTINES) != 0 || bl__tests.leak == BL__LEAK_OFF)
        return true;
    bl_time until = bl_in(bl__scope_grace(&t->work));
    leftovers l = {.of = t};
    for (;;) {
        l.count = 0;
        bl__each_goroutine(astray_count, &l);
        if (l.count == 0)
            return true;
        if (bl_now() >= until || bl_sleep(BL_MS) < 0)
            break;
    }
    bl__each_goroutine(astray_said, t);
    leak_say(t, l.count, "in the root scope when the test had ended", astray_print, t);
    return false;
}

/* ---- Who runs ---- */

static struct {
    uint32_t lock;
    bl_test *first;
} live;

static void live_add(bl_test *t)
{
    bl__lock(&live.lock, BL__RANK_TEST);
    t->live_next = live.first;
    live.first = t;
    bl__unlock(&live.lock);
}

static void live_remove(bl_test *t)
{
    bl__lock(&live.lock, BL__RANK_TEST);
    bl_test **at = &live.first;
    while (*at != t)
        at = &(*at)->live_next;
    *at = t->live_next;
    bl__unlock(&live.lock);
}

bl_test *bl__test_of(const bl__g *g)
{
    bl_test *found = NULL;
    bl__lock(&live.lock, BL__RANK_TEST);
    for (const bl_scope *s = g->scope; s != NULL && found == NULL; s = s->bl__parent)
        for (bl_test *t = live.first; t != NULL; t = t->live_next)
            if (&t->work == s)
                found = t;
    bl__unlock(&live.lock);
    return found;
}

bl_test *bl__test_given(bl_test *t)
{
    if (t == NULL)
        t = bl__test_plain();
    if (t == NULL)
        t = bl__test_of(bl__self());
    if (t != NULL)
        return t;
    bl__lock(&live.lock, BL__RANK_TEST);
    t = live.first;
    bl__unlock(&live.lock);
    if (t == NULL)
        bl__fatal("belay: a call of belay/test.h while no test runs");
    return t;
}

bool bl__test_held(const bl__g *g, const char *kind, const void *lock)
{
    bl__symbol at;
    bl_test *t = bl__test_of(g);
    if (bl__tests.leak == BL__LEAK_OFF || (t != NULL && (t->allow & BL_ALLOW_LOCKS) != 0))
        return false;
    if (t == NULL)
        return true;
    bl__test_left_something(t);
    if (bl__order_place(g, lock, &at))
        bl__test_log(t, g->site->file, g->site->line,
                     "leak: the goroutine that was started here ended holding a %s, locked at "
                     "%s:%d",
                     kind, at.file, at.line);
    else
        bl__test_log(t, g->site->file, g->site->line,
                     "leak: the goroutine that was started here ended holding a %s", kind);
    return true;
}

/* One in the root scope is the test's that its labels name, which may be gone. */
uint64_t bl__test_race_owner(const bl__g *g)
{
    const bl_test *t = bl__test_of(g);
    if (t != NULL || g->labels == NULL)
        return t != NULL ? t->number : 0;
    bl__lock(&live.lock, BL__RANK_TEST);
    for (t = live.first; t != NULL && t != g->labels->owner;)
        t = t->live_next;
    uint64_t number = t != NULL ? t->number : 0;
    bl__unlock(&live.lock);
    return number;
}

uint64_t bl__test_order_owner(const bl__g *g)
{
    const bl_test *t = bl__test_of(g);
    return t != NULL ? (uint64_t)t->item + 1 : 0;
}

void bl__test_order_say(void (*print)(bl__out *o, void *arg), void *arg)
{
    bl_test *t = bl__test_of(bl__self());
    if (t == NULL || (t->allow & BL_ALLOW_LOCK_ORDER) != 0)
        return;
    bl__test_left_something(t);
    bl__test_log_report(t, NULL, 0, "", print, arg);
}

/* What is late once the test has returned is told of as left. */
void bl__test_late_say(void (*print)(bl__out *o, void *arg), void *arg)
{
    bl_test *t = bl__test_of(bl__self());
    if (t != NULL && bl_ctx_err(bl_scope_ctx(&t->work)) == 0)
        bl__test_log_report(t, NULL, 0, "", print, arg);
}

/* ---- What has ended in a worker before this one ---- */

/* A subtest has: its result is what it was, and what bl_subtest returned. */
static bool again_take(const bl_test *t, bl__watched *was)
{
    bl__test_tell('A', t, 0, NULL, 0);
    bl__watched_meet(was);
    if (was->ended == BL__ITEM_FAILED)
        bl__test_fail(t->parent);
    if (!bl__tests.json && (bl__tests.verbose || was->ended == BL__ITEM_FAILED)) {
        bl__text b = {0};
        bl__watched_put(&b, was);
        bl__test_report_to(t->parent, &b);
        bl__text_free(&b);
    }
    return was->parallel || was->ended != BL__ITEM_FAILED;
}

/* What a worker has died in counts, though the test may not have asked for it again. */
static void again_minded(bl_test *t)
{
    for (const bl__watched *w = bl__watched_first; w != NULL; w = w->next)
        if (w->item == t->item && w->fault && !w->met)
            bl__test_say(t, BL__TEST_FAIL, NULL, 0,
                         "%s ended the test program, and was not run again", w->name);
}

static int bl__test_controller_main(void *arg)
{
    bl_test *t = arg;
    (void)bl__scope_open(&t->work, &(bl_scope_opts){.name = t->name, .keep_going = true}, &t->site);
    (void)bl__scope_open(&t->subs, &(bl_scope_opts){.name = t->name, .keep_going = true}, &t->site);
    live_add(t);
    bl__race_anew();
    t->races = bl__race_errors();
    t->began = bl_now();
    bl__test_tell('S', t, 0, NULL, 0);
    (void)bl__test_run_aside(t, bl__test_body_main, t, false);
    bl__test_kids(t);
    (void)bl_scope_close(&t->subs);
    bl_scope_cancel(&t->work, BL_ECANCELED);
    if ((t->allow & BL_ALLOW_GOROUTINES) != 0 || bl__tests.leak != BL__LEAK_FAIL)
        bl__each_goroutine(may_be_left, t);
    while (t->cleanups != NULL)
        (void)bl__test_run_aside(t, bl__test_cleanups_main, t, true);
    bool empty = bl__test_work_close(t, &t->work) && !t->left && root_is_clear(t);
    bl__test_left_report(t, !empty);
    bl__test_opened_report(t);
    live_remove(t);
    t->before += bl_now() - t->began;
    if (t->parent->parent == NULL)
        again_minded(t);
    if (bl__race_met(t->races, t->number))
        bl__test_say(t, BL__TEST_FAIL, NULL, 0, "race detected during execution of test");
    bl__test_forked_report(t);
    bl__test_report(t);
    int state = load_relaxed(&t->failed)    ? BL__ITEM_FAILED
                : load_relaxed(&t->skipped) ? BL__ITEM_SKIPPED
                                            : BL__ITEM_PASSED;
    state |= (t->has_subs ? BL__ITEM_PARENT : 0) | (bl__test_stopped() ? BL__ITEM_STOPPED : 0);
    bl__test_tell('E', t, state, NULL, 0);
    if (!t->has_subs)
        store_relaxed(&bl__test_any, 1u);
    if (!empty)
        store_relaxed(&bl__test_left, 1u);
    for (bl_test *of = t; of != NULL && !empty; of = of->parent)
        store_relaxed(&of->kept, true); /* what is left is in a scope of theirs, too */
    signal_send(t, BL__TEST_OVER);
    return 0;
}

bool bl__test_controls(const bl__g *g) { return g->fn == bl__test_controller_main; }

bool bl__test_start(bl_test *t, bl_scope *s)
{
    if (bl__watched_find(t->item, t->name) == NULL) /* else it was said by a worker before */
        bl__test_mark("RUN", t->name);
    int r = bl__go(s, bl__test_controller_main, t, &t->site);
    if (r < 0) {
        bl__test_say(t->parent->parent != NULL ? t->parent : t, BL__TEST_FAIL, NULL, 0,
                     "%s could not be started: %s", t->name, bl_err_name(r));
        bl__test_drop(t);
        return false;
    }
    if (bl__test_signal_await(t) == BL__TEST_PAUSED) {
        t->sibling = t->parent->kids;
        t->parent->kids = t;
        return true;
    }
    bool passed = load_relaxed(&t->failed) == 0;
    bl__test_drop(t);
    return passed;
}

/* ---- What a test can ask for ---- */

bl_scope *bl_test_scope(bl_test *t)
{
    t = bl__test_given(t);
    if (t == bl__test_plain())
        return NULL;
    bl__test_bubble *r = bl__test_bubble_here(t);
    return r != NULL ? bl__test_bubble_scope(r) : &t->work;
}

/* What a bubble or a plain test cannot have in it: a test with a life of its own. */
static bool refused_here(bl_test *t, const char *what, const char *file, int line)
{
    bool plain = t == bl__test_plain();
    if (!plain && bl__test_bubble_here(t) == NULL)
        return false;
    bl__test_say(t, BL__TEST_FAIL | BL__TEST_END, file, line, "%s in a %s", what,
                 plain ? "plain test" : "bubble");
    return true;
}

const char *bl_test_name(bl_test *t) { return bl__test_given(t)->name; }
void bl_test_allow(bl_test *t, int kinds) { bl__test_given(t)->allow |= kinds; }
bool bl_failed(bl_test *t) { return load_relaxed(&bl__test_given(t)->failed) != 0; }
void bl_fail(bl_test *t) { bl__test_fail(t); }

void bl__test_fail(bl_test *t)
{
    t = bl__test_given(t);
    if (bl__test_forked())
        bl__test_forked_fail(t);
    for (; t != NULL; t = t->parent)
        store_relaxed(&t->failed, 1u);
}

void bl__test_left_something(bl_test *t)
{
    if (bl__tests.leak == BL__LEAK_FAIL)
        bl__test_fail(t);
    for (t = bl__test_given(t); t != NULL && bl__tests.leak == BL__LEAK_WARN; t = t->parent)
        store_relaxed(&t->warned, 1u);
}

/* With -failfast, after a failure. */
static bool is_enough(const bl_test *t)
{
    while (t->parent != NULL)
        t = t->parent;
    return bl__tests.failfast && load_relaxed(&t->failed) != 0;
}

bool bl__subtest(bl_test *t, const char *name, void (*fn)(bl_test *t, void *arg), void *arg,
                 const char *file, int line)
{
    t = bl__test_given(t);
    if (refused_here(t, "bl_subtest", file, line))
        return false;
    bl__test_fn_check(fn != NULL, "bl_subtest");
    bl_test *sub = bl__test_new(t, name, t->site);
    sub->fn = fn;
    sub->arg = arg;
    bl__watched *was = bl__watched_find(sub->item, sub->name);
    bool over = was != NULL && was->ended != 0;
    t->has_subs = true;
    if (over || !bl__test_wanted(sub->name) || is_enough(sub)) {
        bool passed = !over || again_take(sub, was);
        bl__test_drop(sub);
        return passed;
    }
    return bl__test_start(sub, &t->subs);
}

void bl__parallel(bl_test *t, const char *file, int line)
{
    int ignored;
    t = bl__test_given(t);
    if (refused_here(t, "bl_parallel", file, line))
        return;
    if (t->is_parallel) {
        bl__test_say(t, BL__TEST_FAIL | BL__TEST_END, file, line, "bl_parallel was called twice");
        return;
    }
    t->is_parallel = true;
    t->before = bl_now() - t->began;
    bl__test_mark("PAUSE", t->name);
    bl__test_tell('P', t, 0, NULL, 0);
    bl_chan *barrier = t->parent->barrier;
    signal_send(t, BL__TEST_PAUSED);
    int r = bl_chan_recv(barrier, &ignored);
    (void)r; /* closed; or cancelled, and then the test sees it too */
    t->has_slot = bl_sem_acquire(&bl__test_slots, 1) == 0;
    bl__test_mark("CONT", t->name);
    bl__test_tell('C', t, 0, NULL, 0);
    t->began = bl_now();
}

void bl_cleanup(bl_test *t, void (*fn)(void *arg), void *arg)
{
    t = bl__test_given(t);
    bl__test_fn_check(fn != NULL, "bl_cleanup");
    bl__cleanup *c = bl__test_alloc(sizeof *c);
    *c = (bl__cleanup){.fn = fn, .arg = arg};
    bl__cleanup **list = cleanup_list(t);
    bl__lock(&t->lock, BL__RANK_TEST);
    c->next = *list;
    *list = c;
    bl__unlock(&t->lock);
}

void bl_test_timeout(bl_test *t, bl_dur d) { bl__test_tell('L', bl__test_given(t), d, NULL, 0); }

/* ---- Files ---- */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    (void)remove(path);
    return 0;
}

void bl__tempdir_remove(void *path) { (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

const char *bl_tempdir(bl_test *t)
{
    t = bl__test_given(t);
    if (t->tempdir != NULL)
        return t->tempdir;
    const char *tmp = getenv("TMPDIR");
    char *dir;
    if (asprintf(&dir, "%s/belay-test-XXXXXX", tmp != NULL && *tmp != '\0' ? tmp : "/tmp") < 0)
        bl__fatal("belay: out of memory in the test runner");
    if (mkdtemp(dir) == NULL) {
        free(dir);
        bl__test_say(t, BL__TEST_FAIL | BL__TEST_END, NULL, 0, "no temporary directory: %m");
        return NULL;
    }
    t->tempdir = dir;
    bl__test_tell('D', t, 0, dir, strlen(dir)); /* who has to remove it if this process dies */
    bl_cleanup(t, bl__tempdir_remove, dir);
    return dir;
}

bool bl__file_read(const char *path, bl__text *b)
{
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return false;
    char part[4096];
    bl__text_put(b, "", 0);
    for (size_t n; (n = fread(part, 1, sizeof part, in)) > 0;)
        bl__text_put(b, part, n);
    int err = ferror(in) ? errno : 0;
    (void)fclose(in);
    errno = err;
    return err == 0;
}

static bool golden_write(bl_test *t, char *path, const void *data, size_t size)
{
    for (char *slash = path; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        (void)mkdir(path, 0777);
    }
    FILE *out = fopen(path, "we");
    bool ok = out != NULL && fwrite(data, 1, size, out) == size;
    if (out != NULL && fclose(out) != 0)
        ok = false;
    if (!ok)
        bl__test_say(t, BL__TEST_FAIL, NULL, 0, "%s cannot be written: %m", path);
    return ok;
}

bool bl_golden(bl_test *t, const char *name, const void *data, size_t size)
{
    bl__text path = {0}, want = {0};
    bl__text_printf(&path, "testdata/%s.golden", name);
    bool ok;
    if (bl__tests.update) {
        ok = golden_write(t, path.at, data, size);
    } else if (!(ok = bl__file_read(path.at, &want))) {
        bl__test_say(t, BL__TEST_FAIL, NULL, 0, "%s: %m; -update writes it", path.at);
    } else if (!(ok = want.len == size && memcmp(want.at, data, size) == 0)) {
        bl__test_golden_differs(bl__test_given(t), path.at, data, size, &want);
    }
    bl__text_free(&path);
    bl__text_free(&want);
    return ok;
}
