/* SPDX-License-Identifier: MIT */
/*
 * dump.c: every goroutine of a running program, in Go's traceback format. The program is only read: it
 * is not stopped, and need not be able to answer.
 */
#include "goroutine.h"
#include "help.h"
#include "look.h"
#include "stack.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void head_print(const target *t, const goroutine *g)
{
    int64_t seconds = g->since / 1000000000;
    printf("goroutine %llu [%s", (unsigned long long)g->id, goroutine_state(t, g));
    if (seconds >= 60)
        printf(", %lld minutes", (long long)(seconds / 60));
    else if (seconds >= 1)
        printf(", %llds", (long long)seconds);
    printf("]:\n");
}

/* Without a stack: what it was started with. */
static void function_print(stacks *s, const goroutine *g)
{
    char *name = stacks_function(s, g->fn);
    if (g->tid != 0)
        printf("\tgoroutine running on thread %d; stack unavailable\n", (int)g->tid);
    printf("%s\n", name);
    free(name);
}

static void goroutine_print(const target *t, stacks *s, const goroutine *g)
{
    frames f;
    head_print(t, g);
    if (g->record != 0 && stacks_walk(s, g, &f)) {
        bool own = f.from < f.to;
        for (size_t i = own ? f.from : 0; i < (own ? f.to : f.len); i++)
            printf("%s\n\t%s\n", f.at[i].func, f.at[i].place != NULL ? f.at[i].place : "?");
        frames_free(&f);
    } else {
        function_print(s, g);
    }
    goroutine_place started = goroutine_started(t, g);
    stacks_complete(s, &started.place);
    if (started.func != NULL && g->parent != 0)
        printf("created by %s in goroutine %llu\n\t%s\n", started.func,
               (unsigned long long)g->parent, started.place);
    else if (started.func != NULL)
        printf("created by %s in a plain thread\n\t%s\n", started.func, started.place);
    free(started.func);
    free(started.place);
    char *lock = goroutine_lock(t, g);
    if (lock != NULL)
        printf("waits on %s\n", lock);
    free(lock);
    printf("\n");
}

int dump_main(char **argv)
{
    if (argv[0] != NULL && help_asked(argv[0]))
        return help_command("dump");
    if (argv[0] == NULL || argv[1] != NULL) {
        complain("dump takes the number of one process, as in 'belay dump 4711'");
        return EXIT_USAGE;
    }
    target t;
    int err = target_open(&t, argv[0]);
    if (err)
        return err;
    goroutines all;
    bool whole = goroutines_read(&t, &all);
    stacks *s = stacks_open(&t);
    for (size_t i = 0; i < all.len; i++)
        if (goroutine_refresh(&t, &all.at[i]))
            goroutine_print(&t, s, &all.at[i]);
    whole = whole && target_alive(&t);
    if (all.len == 0 && whole)
        complain("process %d runs no goroutines: %s", (int)t.pid,
                 all.running ? "none has been started yet" : "it is not in bl_run");
    if (!whole)
        complain("process %d ended while it was read", (int)t.pid);
    stacks_close(s);
    goroutines_free(&all);
    return whole ? 0 : EXIT_FAILED;
}
