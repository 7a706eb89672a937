/* SPDX-License-Identifier: MIT */
/*
 * bench.c: benchmarks. As Go's b.Loop: one run of the function, in which the loop itself finds how
 * many iterations fill -benchtime; the clock is read at the ends of rows that grow, so that reading
 * it costs nothing.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "arch/cpuname.h"
#include "test/test.h"

enum { METRICS = 8 };

typedef struct bench_run {
    bl_time began;
    bl_dur took;
    bool looped;
    bool allocs; /* are reported */
    bl__allocs before, during;
    int metrics;
    struct {
        double value;
        const char *unit;
    } metric[METRICS];
} bench_run;

static int bench_width; /* of the longest name that is printed */

char *bl__bench_name(const char *id)
{
    bl__text name = {0};
    bl__text_printf(&name, "Benchmark%c%s", toupper((unsigned char)*id), id + 1);
    return name.at;
}

static void bench_label(bl__text *label, const char *name, int procs)
{
    bl__text_printf(label, "%s", name);
    if (procs != 1)
        bl__text_printf(label, "-%d", procs);
}

void bl__bench_room(const char *id, int procs)
{
    bl__text label = {0};
    char *name = bl__bench_name(id);
    bench_label(&label, name, procs);
    bench_width = (int)label.len > bench_width ? (int)label.len : bench_width;
    bl__text_free(&label);
    free(name);
}

/* Before the first result, where it was measured: benchstat compares what agrees in that. */
static void place_print(void)
{
    static bool printed;
    if (printed)
        return;
    printed = true;
    char cpu[BL__CPU_NAME];
    bl__text text = {0};
    const char *file = bl__tests.file, *slash = strrchr(file, '/');
    bl__text_printf(&text, "goos: linux\ngoarch: %s\npkg: %.*s\n", BL__GOARCH,
                    slash != NULL ? (int)(slash - file) : 1, slash != NULL ? file : ".");
    if (bl__cpu_name(cpu))
        bl__text_printf(&text, "cpu: %s\n", cpu);
    bl__test_print(text.at, text.len);
    bl__text_free(&text);
}

bool bl__bench_more(bl_bench *b)
{
    bench_run *run = b->bl__run;
    bl_time now = bl_now();
    if (!run->looped) {
        run->looped = true;
        b->bl__done = 1;
        b->bl__limit = bl__tests.bench_count > 0 ? (uint64_t)bl__tests.bench_count : 1;
        bl__test_allocs_count(run->allocs);
        run->before = bl__test_allocs();
        run->began = bl_now();
        return true;
    }
    run->took = now - run->began;
    if (bl__tests.bench_count > 0 || run->took >= bl__tests.benchtime) {
        run->during = bl__test_allocs();
        bl__test_allocs_count(false);
        return false;
    }
    double each = (double)(run->took > 0 ? run->took : 1) / (double)b->bl__done;
    double more = (double)(bl__tests.benchtime - run->took) / each * 1.2;
    double most =
        (double)b->bl__done * 99; /* what the first, cold ones tell is not to be trusted */
    uint64_t row = (uint64_t)(more < most ? more : most);
    b->bl__limit += row > 0 ? row : 1;
    b->bl__done++;
    return true;
}

void bl_bench_report_allocs(bl_bench *b) { ((bench_run *)b->bl__run)->allocs = true; }

void bl_report_metric(bl_bench *b, double value, const char *unit)
{
    bench_run *run = b->bl__run;
    int i = 0;
    while (i < run->metrics && strcmp(run->metric[i].unit, unit) != 0)
        i++;
    if (i == METRICS)
        return;
    run->metric[i].value = value;
    run->metric[i].unit = unit;
    run->metrics += i == run->metrics;
}

/* As Go: about four digits. */
static void figure_print(bl__text *b, double v, const char *unit)
{
    int digits = v >= 999.95 || v == 0 ? 0
                 : v >= 99.995         ? 1
                 : v >= 9.9995         ? 2
                 : v >= 0.99995        ? 3
                                       : 4;
    bl__text_printf(b, "\t%*.*f %s", digits > 0 ? 8 + digits : 8, digits, v, unit);
}

void bl__bench_run(bl_test *t, void *arg)
{
    const bl__test_entry *entry = arg;
    bench_run run = {.allocs = bl__tests.benchmem};
    bl_bench b = {.bl__run = &run};
    entry->bench(&b, t);
    if (load_relaxed(&t->failed) || load_relaxed(&t->skipped))
        return;
    if (!run.looped) {
        bl__test_say(t, BL__TEST_FAIL, entry->file, entry->line,
                     "has no BL_LOOP, so nothing was timed");
        return;
    }
    place_print();
    bl__text line = {0};
    bench_label(&line, t->name, bl_procs());
    bl__text_printf(&line, "%*s\t%8llu", bench_width - (int)line.len, "",
                    (unsigned long long)b.bl__done);
    figure_print(&line, (double)run.took / (double)b.bl__done, "ns/op");
    for (int i = 0; i < run.metrics; i++)
        figure_print(&line, run.metric[i].value, run.metric[i].unit);
    if (run.allocs && bl__test_allocs_known())
        bl__text_printf(&line, "\t%8llu B/op\t%8llu allocs/op",
                        (unsigned long long)((run.during.bytes - run.before.bytes) / b.bl__done),
                        (unsigned long long)((run.during.count - run.before.count) / b.bl__done));
    else if (run.allocs)
        bl__text_printf(&line, "\t(allocations are not counted in this build)");
    bl__text_put(&line, "\n", 1);
    bl__test_print(line.at, line.len);
    bl__text_free(&line);
}
