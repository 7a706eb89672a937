/* SPDX-License-Identifier: MIT */
/* bench.c: see bench.h. Depends on libc alone, since the pthread programs use it too. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char *only; /* set once by bench_init, before any thread */

void bench_init(int argc, char **argv)
{
    only = argc > 1 ? argv[1] : NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
}

bool bench_wanted(const char *name) { return only == NULL || strcmp(only, name) == 0; }

size_t bench_scale(size_t full)
{
    const char *quick = getenv("BENCH_QUICK");
    return quick != NULL && strcmp(quick, "1") == 0 ? full / 10 : full;
}

static int64_t target_ns(void)
{
    const char *ms = getenv("BENCH_MS");
    long value = ms != NULL ? strtol(ms, NULL, 10) : 0;
    return (value > 0 ? value : 100) * INT64_C(1000000);
}

int64_t bench_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t timeval_ns(struct timeval t)
{
    return ((int64_t)t.tv_sec * 1000000 + t.tv_usec) * 1000;
}

int64_t bench_cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return timeval_ns(u.ru_utime) + timeval_ns(u.ru_stime);
}

int64_t bench_memory_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    bench_check(f != NULL, "/proc/self/status can be read");
    char line[256];
    int64_t sum = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0 || strncmp(line, "VmPTE:", 6) == 0)
            sum += strtoll(line + 6, NULL, 10) * 1024;
    }
    fclose(f);
    return sum;
}

void bench_fail(const char *what)
{
    fprintf(stderr, "bench: not so: %s\n", what);
    exit(1);
}

void bench_report(const char *name, int procs, uint64_t n, double ns_per_op, const char *extra)
{
    printf("Benchmark%s-%d\t%10" PRIu64 "\t%12.4g ns/op%s%s\n", name, procs, n, ns_per_op,
           extra != NULL ? "\t" : "", extra != NULL ? extra : "");
}

void bench_measure(const char *name, int procs, uint64_t unit, bench_fn fn, void *arg)
{
    if (!bench_wanted(name))
        return;
    const int64_t target = target_ns();
    uint64_t n = unit;
    for (;;) {
        int64_t cpu = -bench_cpu_ns();
        int64_t wall = -bench_wall_ns();
        fn(n, arg);
        wall += bench_wall_ns();
        cpu += bench_cpu_ns();
        if (wall >= target - target / 5) {
            char extra[64];
            snprintf(extra, sizeof extra, "%8.2f cpus", (double)cpu / (double)wall);
            bench_report(name, procs, n, (double)wall / (double)n, extra);
            return;
        }
        /* One that is short by far says little of the rest, so it grows a hundredfold at most. */
        double factor = 1.1 * (double)target / (double)(wall > 0 ? wall : 1);
        n = (uint64_t)((double)n * (factor < 100 ? factor : 100));
        n = (n / unit + 1) * unit;
    }
}

uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t bench_median(int64_t *v, size_t n, int64_t *least)
{
    qsort(v, n, sizeof *v, compare_int64);
    *least = v[0];
    return v[n / 2];
}
