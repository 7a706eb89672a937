/* SPDX-License-Identifier: MIT */
/* main.c: bl_test_main: the flags, the items that they ask for, and the last line. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/variables.h"
#include "test/test.h"

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u); /* Steele, Lea, Flood: SplitMix (2014) */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void entries_shuffle(const bl__test_entry **list, size_t n)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (bl__tests.seed == 0)
        bl__tests.seed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    printf("-shuffle %llu\n", (unsigned long long)bl__tests.seed);
    uint64_t state = bl__tests.seed;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(next_random(&state) % i);
        const bl__test_entry *entry = list[i - 1];
        list[i - 1] = list[j];
        list[j] = entry;
    }
}

static void item_add(bl__items *items, bl__item item)
{
    if ((items->len & (items->len + 1)) == 0) { /* room for the next power of two */
        void *more = realloc(items->at, (items->len + 1) * 2 * sizeof *items->at);
        if (more == NULL)
            bl__fatal("belay: out of memory in the test runner");
        items->at = more;
    }
    items->at[items->len++] = item;
}

/* Of the program's tests those that are wanted, each as often as it is to be run. */
static void tests_add(bl__items *items, const bl__test_entry **list, size_t n)
{
    for (int cpu = 0; cpu < bl__tests.ncpus; cpu++)
        for (int64_t round = 0; round < bl__tests.count; round++)
            for (size_t i = 0; i < n; i++)
                if (list[i]->bench == NULL && bl__test_wanted(list[i]->name))
                    item_add(
                        items,
                        (bl__item){.entry = list[i], .procs = bl__tests.cpus[cpu], .round = round});
}

/* Its benchmarks, behind them; as in Go what is to be compared stands together. */
static void benches_add(bl__items *items, const bl__test_entry **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i]->bench == NULL || !bl__bench_wanted(list[i]->name))
            continue;
        for (int cpu = 0; cpu < bl__tests.ncpus; cpu++) {
            bl__bench_room(list[i]->name, bl__tests.cpus[cpu]);
            for (int64_t round = 0; round < bl__tests.count; round++)
                item_add(items, (bl__item){.entry = list[i],
                                           .procs = bl__tests.cpus[cpu],
                                           .round = -1 - round});
        }
    }
}

static void entries_list(const bl__test_entry **list, size_t n)
{
    bl__tests.run = bl__tests.list;
    for (size_t i = 0; i < n; i++)
        if (bl__test_wanted(list[i]->name))
            printf("%s\n", list[i]->name);
}

/* 1: some have failed; -1: there was none to run. */
static int rounds_run(const bl__test_entry **list, size_t n)
{
    bl__items items = {0};
    tests_add(&items, list, n);
    benches_add(&items, list, n);
    int failed = items.len > 0 ? bl__test_supervise(&items) : 0;
    free(items.at);
    if (failed || items.any)
        return failed;
    fputs("testing: warning: no tests to run\n", stderr);
    return -1;
}

void bl__test_main_own(char **argv)
{
    const bl__test_entry **list;
    const char *file = argv[0];
    size_t n = bl__test_entries(&list);
    free(list);
    if (n > 0)
        return;
    for (char **at = argv; *at != NULL; at++)
        if (strncmp(*at, "-file=", 6) == 0)
            file = *at + 6;
    fprintf(stderr,
            "belay: %s has a main of its own and no tests (BL_TEST), and is not run: 'belay run' "
            "runs programs\n",
            file);
    _exit(1);
}

int bl_test_main(int argc, char **argv)
{
    int err = bl__test_flags_read(argc, argv);
    if (err != 0)
        return err;
    bl__variables_check(bl__tests.alone ? bl__warn : NULL); /* the command has said it */
    if (bl__tests.ncpus == 0) {
        (void)bl__procs_default(true);
        bl__tests.cpus[bl__tests.ncpus++] = bl_procs();
    }
    if (bl__tests.parallel == 0)
        bl__tests.parallel = bl_procs();
    const bl__test_entry **list;
    size_t n = bl__test_entries(&list);
    if (bl__tests.list != NULL) {
        entries_list(list, n);
        free(list);
        return 0;
    }
    if (bl__tests.shuffle)
        entries_shuffle(list, n);
    int failed;
    bl__junit_begin();
    do {
        failed = rounds_run(list, n);
        bl__tests.rounds += bl__tests.count; /* others of one worker are counted there */
    } while (bl__tests.until_fail && failed == 0);
    failed = failed > 0;
    if (bl__tests.fuzz != NULL && !failed)
        failed = bl__fuzz_targets(list, n);
    failed |= !bl__junit_end();
    free(list);
    printf("%s%s\n", bl__tests.json ? "\x16" : "", failed ? "FAIL" : "PASS");
    return failed;
}
