/* SPDX-License-Identifier: MIT */
/*
 * all.c: the whole library as one file; written by scripts/amalgamate.
 *
 *     cc -O2 -fno-strict-aliasing -Iinclude -Isrc program.c \
 *         src/all.c src/arch/switch_$(uname -m).S -lpthread
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "os/cpu.c"
#include "os/futex.c"
#include "os/os.c"
#include "os/race_libc.c"

#include "arch/unwind.c"

#include "core/blocking.c"
#include "core/err.c"
#include "core/handoff.c"
#include "core/idle.c"
#include "core/label.c"
#include "core/lock.c"
#include "core/m.c"
#include "core/poll.c"
#include "core/proc.c"
#include "core/race.c"
#include "core/rank.c"
#include "core/run.c"
#include "core/runq.c"
#include "core/solo.c"
#include "core/spawn.c"
#include "core/stack.c"
#include "core/sysmon.c"
#include "core/timer.c"
#include "core/wait_reason.c"

#include "sync/chan.c"
#include "sync/cond.c"
#include "sync/held.c"
#include "sync/map.c"
#include "sync/mutex.c"
#include "sync/once.c"
#include "sync/rwmutex.c"
#include "sync/select.c"
#include "sync/sem.c"
#include "sync/syncmap.c"
#include "sync/table.c"
#include "sync/waitgroup.c"

#include "life/after_func.c"
#include "life/ctx.c"
#include "life/ctx_after.c"
#include "life/ctx_cancel.c"
#include "life/notify.c"
#include "life/pool.c"
#include "life/scope.c"
#include "life/scope_join.c"
#include "life/scope_room.c"
#include "life/timer.c"

#include "debug/crash.c"
#include "debug/describe.c"
#include "debug/fatal.c"
#include "debug/finder.c"
#include "debug/layout.c"
#include "debug/leaks.c"
#include "debug/maps.c"
#include "debug/metrics.c"
#include "debug/out.c"
#include "debug/peek.c"
#include "debug/pprof.c"
#include "debug/profile.c"
#include "debug/quit.c"
#include "debug/race.c"
#include "debug/reach.c"
#include "debug/report.c"
#include "debug/stacks.c"
#include "debug/stuck.c"
#include "debug/symbol.c"
#include "debug/traceback.c"

#include "io/calls.c"
#include "io/fd.c"
