/* SPDX-License-Identifier: MIT */
/* worker.c: the process that runs the tests, one row of items after the other. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "debug/lockorder.h"
#include "life/notify.h"
#include "life/scope.h"
#include "os/os.h"
#include "test/test.h"

static bl__test_entry *registered;
static uint32_t registered_count;

void bl__test_register(bl__test_entry *entry)
{
    entry->next = registered;
    registered = entry;
    registered_count++;
}

static int entry_order(const bl__test_entry *x, const bl__test_entry *y)
{
    int files = strcmp(x->file, y->file);
    return files != 0 ? files : (x->line > y->line) - (x->line < y->line);
}

size_t bl__test_entries(const bl__test_entry ***all)
{
    const bl__test_entry **list = bl__test_alloc((registered_count + 1) * sizeof *list);
    size_t n = registered_count;
    for (const bl__test_entry *e = registered; e != NULL; e = e->next)
        list[--n] = e;
    /* Not by qsort: those of one line, as of a macro that defines several, stay in their order. */
    for (; n < registered_count; n++) {
        const bl__test_entry *e = list[n];
        size_t at = n;
        for (; at > 0 && entry_order(list[at - 1], e) > 0; at--)
            list[at] = list[at - 1];
        list[at] = e;
    }
    *all = list;
    return n;
}

static const bl__items *items_run; /* of this worker */

uint64_t bl__test_seed(const bl_test *t)
{
    bool known = items_run != NULL && t->item >= 0 && (size_t)t->item < items_run->len;
    return bl__tests.seed + (uint64_t)bl__tests.rounds +
           (known ? (uint64_t)items_run->at[t->item].round : 0);
}

static void bl__test_entry_call(bl_test *t, void *arg)
{
    const bl__test_entry *entry = arg;
    entry->test(t);
}

/* In the run of the worker, that is; a plain test may have runs and signals of its own. */
bool bl__test_stopped(void)
{
    return load_relaxed(&bl__signals.stopped) != 0 && bl__test_plain() == NULL;
}

static bool item_wanted(const bl__items *items, size_t i, bool failed)
{
    const bl__item *item = &items->at[i];
    if (items->only >= 0)
        return (int)i == items->only;
    return item->state == BL__ITEM_PENDING && item->entry->plain == NULL &&
           !load_relaxed(&bl__test_left) && !bl__test_stopped() && !(failed && bl__tests.failfast);
}

static bl_test *item_test(const bl__items *items, size_t i, bl_test *root)
{
    const bl__test_entry *entry = items->at[i].entry;
    char *bench = entry->bench != NULL ? bl__bench_name(entry->name) : NULL;
    bl__site site = {NULL, "the test runner", entry->file, entry->line};
    root->names.len = 0; /* in each round the names are the same */
    bl_test *t = bl__test_new(root, bench != NULL ? bench : entry->name, site);
    t->fn = entry->bench != NULL  ? bl__bench_run
            : entry->fuzz != NULL ? bl__corpus_run
                                  : bl__test_entry_call;
    t->arg = (void *)(uintptr_t)entry;
    t->item = (int)i;
    free(bench);
    return t;
}

static const bl__site worker_site = {"tests", "bl_test_main", __FILE__, __LINE__};

/* One row: the items of one round, on as many processors as they want. */
static size_t bl__test_row_run(const bl__items *items, size_t from, bl_test *root)
{
    const bl__item *first = &items->at[from];
    (void)bl_set_procs(first->procs);
    bl_scope s;
    (void)bl__scope_open(&s, &(bl_scope_opts){.name = "tests", .keep_going = true}, &worker_site);
    size_t i = from;
    for (;
         i < items->len && items->at[i].procs == first->procs && items->at[i].round == first->round;
         i++)
        if (item_wanted(items, i, load_relaxed(&root->failed)))
            (void)bl__test_start(item_test(items, i, root), &s);
    bl__test_round_end(root);
    (void)bl_scope_wait(&s);
    (void)bl_scope_close(&s);
    return i;
}

/* -until-fail: all of them once more, in this process as with -count, so that what they leave in
 * its memory is there. False: one has failed, or some are not for this process. */
static bool begins_again(const bl__items *items, const bl_test *root)
{
    if (!bl__tests.until_fail || items->only >= 0 || load_relaxed(&root->failed) ||
        !load_relaxed(&bl__test_any))
        return false;
    for (size_t i = 0; i < items->len; i++)
        if (!item_wanted(items, i, false))
            return false;
    bl__tests.rounds += bl__tests.count;
    bl__test_tell('R', NULL, 0, NULL, 0);
    return true;
}

static int bl__test_worker_main(void *arg)
{
    const bl__items *items = arg;
    store_relaxed(&bl__signals.armed, 0u); /* ^C does not keep tests from being a deadlock */
    bl_sem_init(&bl__test_slots, items->only >= 0 ? 1 : bl__tests.parallel);
    bl_test *root = bl__test_new(NULL, "tests", worker_site);
    do {
        for (size_t i = 0; i < items->len;)
            i = bl__test_row_run(items, i, root);
    } while (begins_again(items, root));
    bl__test_tell('Z', NULL, (int64_t)bl__race_errors(), NULL, 0);
    bl__test_drop(root);
    return 0;
}

/* g has nothing of the program's. */
static bool runner_own(const bl__g *g)
{
    return g->fn == bl__test_worker_main || bl__test_controls(g) || bl__test_bubble_conducts(g);
}

BL__NORETURN static void plain_run(const bl__items *items)
{
    char procs[16];
    const bl__item *item = &items->at[items->only];
    (void)snprintf(procs, sizeof procs, "%d", item->procs);
    (void)setenv("BELAY_PROCS", procs, 1);
    bl_test *root = bl__test_new(NULL, "tests", worker_site);
    bl__test_plain_run(item_test(items, (size_t)items->only, root), item->entry->plain);
}

void bl__test_worker(const bl__items *items, int events)
{
    bl__test_events = bl__fd_raise(events);
    bl__test_out = bl__fd_raise(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    bl__test_forked_begin();
    items_run = items;
    bl__test_cover_begin();
    if (items->only >= 0 && items->at[items->only].entry->plain != NULL)
        plain_run(items);
    bl__held_hook = bl__test_held;
    bl__report_skips = runner_own;
    bl__report_above = &worker_site;
#if BL__RACE
    bl__race_owner = bl__test_race_owner;
#endif
    if (bl__tests.leak != BL__LEAK_OFF && bl__tests.bench == NULL) {
        bl__order_owner = bl__test_order_owner;
        bl__order_say = bl__test_order_say;
        bl__late_say = bl__test_late_say;
    }
    bl__test_left_begin();
    bl_options o = {.procs = items->len > 0 ? items->at[0].procs : 1,
                    .on_leak = BL_LEAK_IGNORE, /* the tests say it */
                    .signals = 1,              /* ^C cancels what runs */
                    .on_deadlock = BL_DEADLOCK_EXIT,
                    .on_quit = BL_QUIT_EXIT};
    int r = bl_run(bl__test_worker_main, (void *)(uintptr_t)items, &o);
    if (r < 0)
        fprintf(stderr, "belay: the tests could not be run: %s\n", bl_err_name(r));
    exit(r < 0 ? 1 : 0);
}
