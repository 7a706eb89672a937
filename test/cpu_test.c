/* SPDX-License-Identifier: MIT */
/*
 * cpu_test.c: how many CPUs there are (os/cpu.c): by the affinity, and by control groups, which are
 * read from trees of files like the kernel's.
 */
// procs: own
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "os/os.h"

/* Writes text to the file root/path, whose folders are made. */
static void put(bl_test *t, const char *root, const char *path, const char *text)
{
    char at[512];
    int n = snprintf(at, sizeof at, "%s/%s", root, path);
    BL_REQUIRE(t, n > 0 && (size_t)n < sizeof at);
    for (char *slash = at; (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = '\0';
        (void)mkdir(at, 0700);
    }
    FILE *f = fopen(at, "w");
    BL_REQUIRE(t, f != NULL);
    fputs(text, f);
    fclose(f);
}

BL_TEST(without_a_group_there_is_no_limit)
{
    BL_CHECK_EQ(t, bl__cgroup_cpus(bl_tempdir(t)), 0);
    put(t, bl_tempdir(t), "proc/self/cgroup", "no line of the kernel's\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(bl_tempdir(t)), 0);
}

BL_TEST(limit_of_a_group_is_rounded_up)
{
    static const struct {
        const char *text;
        int cpus;
    } limits[] = {{"max 100000\n", 0},
                  {"200000 100000\n", 2},
                  {"150000 100000\n", 2},
                  {"1000 100000\n", 1},
                  {"200001 100000\n", 3},
                  {"25000 50000\n", 1},
                  {"400000\n", 4},
                  {"200000 0\n", 0},
                  {"", 0},
                  {"9000000000000000 1\n", 0x7fffffff}};
    const char *root = bl_tempdir(t);
    put(t, root, "proc/self/cgroup", "0::/\n");
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        put(t, root, "sys/fs/cgroup/cpu.max", limits[i].text);
        if (!BL_CHECK_EQ(t, bl__cgroup_cpus(root), limits[i].cpus))
            bl_log(t, "%s", limits[i].text);
    }
}

BL_TEST(tightest_group_on_the_way_up_counts)
{
    const char *root = bl_tempdir(t);
    put(t, root, "proc/self/cgroup", "0::/system.slice/server.service\n");
    put(t, root, "sys/fs/cgroup/system.slice/server.service/cpu.max", "800000 100000\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 8);
    put(t, root, "sys/fs/cgroup/system.slice/cpu.max", "300000 100000\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 3);
    put(t, root, "sys/fs/cgroup/system.slice/server.service/cpu.max", "max 100000\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 3);
    put(t, root, "sys/fs/cgroup/system.slice/server.service/cpu.max", "200000 100000\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 2);
}

BL_TEST(version_1_has_files_of_its_own)
{
    const char *root = bl_tempdir(t);
    put(t, root, "proc/self/cgroup",
        "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/job\n0::/job\n");
    put(t, root, "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
    put(t, root, "sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 0);
    put(t, root, "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "350000\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 4);
    put(t, root, "sys/fs/cgroup/job/cpu.max", "200000 100000\n"); /* both versions at once */
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 2);
}

/* In a container the groups are those of the host by name, and only the innermost is to be seen. */
BL_TEST(group_that_cannot_be_seen_has_the_mount_s_limit)
{
    const char *root = bl_tempdir(t);
    put(t, root, "proc/self/cgroup", "4:cpu,cpuacct:/docker/0123456789ab\n");
    put(t, root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
    put(t, root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    BL_CHECK_EQ(t, bl__cgroup_cpus(root), 2);
}

static int procs_count(void *arg)
{
    *(int *)arg = bl_procs();
    return 0;
}

BL_TEST_PLAIN(affinity_bounds_the_processors)
{
    cpu_set_t all, one;
    int cpu = 0, procs = 0;
    unsetenv("BELAY_PROCS");
    BL_REQUIRE(t, sched_getaffinity(0, sizeof all, &all) == 0);
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    BL_REQUIRE(t, sched_setaffinity(0, sizeof one, &one) == 0);
    BL_CHECK_EQ(t, bl_procs(), 1);
    BL_CHECK_EQ(t, bl_run(procs_count, &procs, NULL), 0);
    BL_CHECK_EQ(t, procs, 1);
}
