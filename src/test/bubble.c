/* SPDX-License-Identifier: MIT */
/*
 * bubble.c: bl_bubble: a part of a test that runs in virtual time (core/bubble.h).
 *
 * The caller is the bubble's keeper, and stays outside. In the bubble there is a conductor, which
 * does what the controller of a test does: opens the scope of bl_test_scope, runs the function as a
 * goroutine that may end early, cancels, runs the cleanups, and waits for the grace, in virtual
 * time. The keeper waits for the conductor's end, or for news of a deadlock: then it reports, and
 * cancels the bubble's scope. What is stuck even so is left, with the record of the bubble, and the
 * test runner's worker begins no other test.
 */
#include "core/bubble.h"
#include "test/test.h"

#include "core/lock.h"
#include "debug/made.h"
#include "debug/stuck.h"
#include "life/ctx.h"
#include "life/scope.h"

struct bl__test_bubble {
    bl_test *t;
    int kind; /* BL__BUBBLE_FN_…: what fn is */
    void (*fn)(void);
    void *arg;
    bl__bubble *bubble;
    bl_scope work; /* bl_test_scope in the bubble */
    bl__cleanup *cleanups;
    bl__site site;
    bool left;
    bool returned; /* fn has: it was not ended early */
};

bl__test_bubble *bl__test_bubble_here(const bl_test *t)
{
    const bl__bubble *b = bl__bubble_here();
    bl__test_bubble *r = b != NULL ? b->owner : NULL;
    return r != NULL && r->t == t ? r : NULL;
}

bl_scope *bl__test_bubble_scope(bl__test_bubble *r) { return &r->work; }
bl__cleanup **bl__test_bubble_cleanups(bl__test_bubble *r) { return &r->cleanups; }

static int bl__bubble_body_main(void *arg)
{
    bl__test_bubble *r = arg;
    int result = 0;
    bl__test_scope_take();
    if (r->kind == BL__BUBBLE_FN_TEST)
        ((void (*)(bl_test *, void *))r->fn)(r->t, r->arg);
    else if (r->kind == BL__BUBBLE_FN_VOID)
        ((void (*)(void *))r->fn)(r->arg);
    else
        result = ((bl_fn)r->fn)(r->arg);
    r->returned = true;
    bl__test_scope_give();
    return result;
}

static int bl__bubble_conductor_main(void *arg)
{
    bl__test_bubble *r = arg;
    bl_test *t = r->t;
    (void)bl__scope_open(&r->work, &(bl_scope_opts){.name = t->name, .keep_going = true}, &r->site);
    int err = bl__test_run_aside(t, bl__bubble_body_main, r, false);
    if (err < 0 && r->bubble->dead == 0 && bl_ctx_err(bl_ctx_current()) == 0)
        bl__test_say(t, BL__TEST_FAIL, r->site.file, r->site.line,
                     "the bubble's function returned %s", bl_err_name(err));
    bl_scope_cancel(&r->work, BL_ECANCELED);
    while (r->cleanups != NULL)
        (void)bl__test_run_aside(t, bl__test_cleanups_main, t, true);
    r->left = !bl__test_work_close(t, &r->work);
    bl__bubble_tell(r->bubble, BL__BUBBLE_OVER);
    return 0;
}

bool bl__test_bubble_conducts(const bl__g *g) { return g->fn == bl__bubble_conductor_main; }

/* Those that the test knows of: the conductor is ours, and what it waits for is no news. */
static bool bubble_in(const bl__g *g, void *arg)
{
    const bl__test_bubble *r = arg;
    return !bl__test_bubble_conducts(g) && bl__scope_within(g, &r->bubble->scope);
}

static void bubble_print(bl__out *o, void *arg) { bl__report_stuck(o, bubble_in, arg); }

static void bubble_said(const bl__g *g, void *arg)
{
    if (bl__scope_within(g, arg))
        bl__finder_said(g); /* so it ends no worker */
}

/* True: the bubble is over. False: it has come to a deadlock, was cancelled, and has come to
 * another. */
static bool bubble_keep(bl__test_bubble *r)
{
    uint32_t news = bl__bubble_await(r->bubble);
    if ((news & BL__BUBBLE_OVER) != 0)
        return true;
    bl__each_goroutine(bubble_said, &r->bubble->scope); /* first: to print it may take a while */
    bl__test_fail(r->t);
    bl__test_log_report(r->t, r->site.file, r->site.line,
                        "deadlock: all goroutines in bubble are blocked\n", bubble_print, r);
    bl_scope_cancel(&r->bubble->scope, BL_EDEADLK);
    return (bl__bubble_await(r->bubble) & BL__BUBBLE_OVER) != 0;
}

/* Ends the bubble; the records stay with what is left in it. */
static void bubble_close(bl__test_bubble *r, bool over)
{
    bl__bubble *b = r->bubble;
    bl_test *t = r->t;
    if (!over)
        store_relaxed(&b->dead, 1u);
    if (!over && !bl__test_work_close(t, &b->scope)) {
        t->left = true;
        return;
    }
    if (over)
        (void)bl_scope_close(&b->scope);
    if (r->left) {
        store_relaxed(&b->dead, 1u);
        t->left = true;
        return;
    }
    bl__made_heap_end(&b->timers);
    bl__bubble_end(b);
    bl__free(r);
}

static uint64_t name_hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    while (*name != '\0')
        h = (h ^ (unsigned char)*name++) * UINT64_C(0x100000001b3);
    return h;
}

void bl__bubble_run(bl_test *t, int kind, void (*fn)(void), void *arg, const char *file, int line)
{
    t = bl__test_given(t);
    if (bl__bubble_here() != NULL || t == bl__test_plain()) {
        bl__test_say(t, BL__TEST_FAIL | BL__TEST_END, file, line, "bl_bubble in a %s",
                     bl__bubble_here() != NULL ? "bubble" : "plain test");
        return;
    }
    bl__test_fn_check(fn != NULL, "bl_bubble");
    uint64_t seed = bl__test_seed(t);
    bl__test_bubble *r = bl__test_alloc(sizeof *r);
    *r = (bl__test_bubble){.t = t, .kind = kind, .fn = fn, .arg = arg};
    r->site = (bl__site){t->name, "bl_bubble", file, line};
    bl__bubble *b = r->bubble = bl__bubble_new(name_hash(t->name) + seed, r);
    if (b == NULL)
        bl__fatal("belay: out of memory in the test runner");
    (void)bl__scope_open(&b->scope, &(bl_scope_opts){.name = "bubble", .keep_going = true},
                         &r->site);
    b->scope.bl__ctx->deadline = BL_NEVER; /* one from outside is in real time, and still cancels */
    bl__bubble_begin(b);
    int err = bl__go(&b->scope, bl__bubble_conductor_main, r, &r->site);
    if (err < 0) {
        bl__test_say(t, BL__TEST_FAIL, file, line, "the bubble could not be started: %s",
                     bl_err_name(err));
        bl__bubble_tell(b, BL__BUBBLE_OVER);
    }
    bool over = bubble_keep(r), drawn = load_relaxed(&b->drawn) != 0,
         returned = over && r->returned;
    bubble_close(r, over);
    if (drawn && bl_failed(t))
        bl__test_log(t, file, line, "the order of what was due at one instant: -seed %llu",
                     (unsigned long long)seed);
    if (!returned)
        bl__test_end_early();
}

int bl_bubble_wait(void) { return bl__bubble_wait(); }
