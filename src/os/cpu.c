/* SPDX-License-Identifier: MIT */
/*
 * cpu.c: how many CPUs there are for us. Sources: sched_getaffinity(2); cgroups(7) and the kernel's
 * cgroup-v2.rst (cpu.max: "$MAX $PERIOD", "max" for none) and sched-bwc.rst (cpu.cfs_quota_us, -1
 * for none).
 */
#include "os/os.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 1024 }; /* several at once, on a stack that may be a small one */

/* The first line of a file, or "". */
static const char *line_read(const char *path, char *buf, int size)
{
    FILE *f = fopen(path, "re");
    buf[0] = '\0';
    if (f == NULL)
        return buf;
    if (fgets(buf, size, f) == NULL)
        buf[0] = '\0';
    fclose(f);
    return buf;
}

static int quota_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long cpus = (quota + period - 1) / period;
    return cpus > INT_MAX ? INT_MAX : (int)cpus;
}

static int limit_v2(const char *dir)
{
    char path[PATH_SIZE + 32]; /* room for a file's name */
    char line[128];
    long long quota;
    long long period = 100000;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (sscanf(line_read(path, line, sizeof line), "%lld %lld", &quota, &period) < 1)
        return 0;
    return quota_cpus(quota, period);
}

static int limit_v1(const char *dir)
{
    char path[PATH_SIZE + 32];
    char line[128];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    long long quota = strtoll(line_read(path, line, sizeof line), NULL, 10);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    return quota_cpus(quota, strtoll(line_read(path, line, sizeof line), NULL, 10));
}

/* The tightest limit from the group at base/group up to base. */
static int limit_up(const char *base, char *group, int (*limit)(const char *dir))
{
    char dir[PATH_SIZE];
    int best = 0;
    for (;;) {
        if (snprintf(dir, sizeof dir, "%s%s", base, group) >= (int)sizeof dir)
            return best;
        int here = limit(dir);
        if (here > 0 && (best == 0 || here < best))
            best = here;
        char *slash = strrchr(group, '/');
        if (slash == NULL || group[0] == '\0')
            return best;
        *slash = '\0';
    }
}

/* One line of /proc/self/cgroup: "ID:CONTROLLERS:PATH". */
static int limit_of_line(const char *root, char *line)
{
    char base[PATH_SIZE];
    char *controllers = strchr(line, ':');
    char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (group == NULL)
        return 0;
    *group++ = '\0';
    group[strcspn(group, "\n")] = '\0';
    controllers++;
    if (controllers[0] == '\0') {
        snprintf(base, sizeof base, "%s/sys/fs/cgroup", root);
        return limit_up(base, group, limit_v2);
    }
    for (char *save, *word = strtok_r(controllers, ",", &save); word != NULL;
         word = strtok_r(NULL, ",", &save)) {
        if (strcmp(word, "cpu") == 0) {
            snprintf(base, sizeof base, "%s/sys/fs/cgroup/cpu", root);
            return limit_up(base, group, limit_v1);
        }
    }
    return 0;
}

int bl__cgroup_cpus(const char *root)
{
    char path[PATH_SIZE];
    char line[PATH_SIZE];
    int best = 0;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL) {
        int here = limit_of_line(root, line);
        if (here > 0 && (best == 0 || here < best))
            best = here;
    }
    fclose(f);
    return best;
}

static int affinity_cpus(void)
{
    for (int size = 1024; size <= 1 << 18; size *= 2) {
        cpu_set_t *set = CPU_ALLOC(size);
        if (set == NULL)
            break;
        int ok = sched_getaffinity(0, CPU_ALLOC_SIZE(size), set);
        int n = ok == 0 ? CPU_COUNT_S(CPU_ALLOC_SIZE(size), set) : 0;
        CPU_FREE(set);
        if (n > 0)
            return n;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

int bl__cpu_count(void)
{
    int cpus = affinity_cpus();
    int limit = bl__cgroup_cpus("");
    return limit > 0 && limit < cpus ? limit : cpus;
}
