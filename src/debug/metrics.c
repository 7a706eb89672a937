/* SPDX-License-Identifier: MIT */
/* metrics.c: bl_metrics: bl_stats in the text format of OpenMetrics 1.0. */
#include <belay/debug.h>

#include <errno.h>
#include <unistd.h>

#include "debug/out.h"

static void family(bl__out *o, const char *name, const char *type, const char *help)
{
    bl__out_printf(o, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
}

static void gauge(bl__out *o, const char *name, const char *help, uint64_t v)
{
    family(o, name, "gauge", help);
    bl__out_printf(o, "%s %llu\n", name, (unsigned long long)v);
}

static void counter(bl__out *o, const char *name, const char *help, uint64_t v)
{
    family(o, name, "counter", help);
    bl__out_printf(o, "%s_total %llu\n", name, (unsigned long long)v);
}

static void by_state(bl__out *o, const char *name, const char *state, uint64_t v)
{
    bl__out_printf(o, "%s{state=\"%s\"} %llu\n", name, state, (unsigned long long)v);
}

int bl_metrics(int fd)
{
    bl__out o;
    bl_stat s;
    if (write(fd, "", 0) < 0)
        return -errno;
    bl_stats(&s);
    bl__out_init(&o, fd);
    family(&o, "belay_goroutines", "gauge", "Goroutines that there are, by what they do.");
    by_state(&o, "belay_goroutines", "running", s.running);
    by_state(&o, "belay_goroutines", "runnable", s.runnable);
    by_state(&o, "belay_goroutines", "waiting", s.waiting);
    counter(&o, "belay_goroutines_started", "Goroutines started.", s.started);
    counter(&o, "belay_goroutines_ended", "Goroutines that have ended.", s.ended);
    counter(&o, "belay_switches", "Switches of processors between goroutines.", s.switches);
    uint32_t idle = s.procs_idle < s.procs ? s.procs_idle : s.procs;
    family(&o, "belay_processors", "gauge", "Processors in use, by whether they have work.");
    by_state(&o, "belay_processors", "busy", s.procs - idle);
    by_state(&o, "belay_processors", "idle", idle);
    uint32_t rest = s.threads_idle + s.threads_away;
    family(&o, "belay_threads", "gauge",
           "Threads of the runtime; away: blocked or computing, with their processor taken.");
    by_state(&o, "belay_threads", "running", rest < s.threads ? s.threads - rest : 0);
    by_state(&o, "belay_threads", "idle", s.threads_idle);
    by_state(&o, "belay_threads", "away", s.threads_away);
    gauge(&o, "belay_timers", "Pending timers, with deadlines of waits.", s.timers);
    gauge(&o, "belay_descriptor_waits", "Goroutines that wait for a descriptor.",
          s.descriptor_waits);
    bl__out_printf(&o, "# EOF\n");
    bl__out_flush(&o);
    return 0;
}
