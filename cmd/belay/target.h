/* SPDX-License-Identifier: MIT */
/* target.h: another process that runs goroutines, read from outside while it goes on. */
#ifndef BELAY_CMD_TARGET_H
#define BELAY_CMD_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What is needed of the program's own table (src/debug/layout.h), by the names there. */
#define TARGET_FIELDS(X)                                                                           \
    X(rt_stack_slot, "rt.stack_slot")                                                              \
    X(rt_arenas, "rt.arenas")                                                                      \
    X(rt_spawn_slabs, "rt.spawn_slabs")                                                            \
    X(rt_all_m, "rt.all_m")                                                                        \
    X(rt_running, "rt.running")                                                                    \
    X(rt_procs, "rt.procs")                                                                        \
    X(rt_threads, "rt.threads")                                                                    \
    X(rt_ps, "rt.ps")                                                                              \
    X(rt_ps_made, "rt.ps_made")                                                                    \
    X(g_kind, "g.kind")                                                                            \
    X(g_status, "g.status")                                                                        \
    X(g_sp, "g.sp")                                                                                \
    X(g_wait, "g.wait")                                                                            \
    X(g_wait_obj, "g.wait_obj")                                                                    \
    X(g_since, "g.since")                                                                          \
    X(g_away_since, "g.away_since")                                                                \
    X(g_reason, "g.reason")                                                                        \
    X(g_switches, "g.switches")                                                                    \
    X(g_fn, "g.fn")                                                                                \
    X(g_id, "g.id")                                                                                \
    X(g_parent, "g.parent")                                                                        \
    X(g_site, "g.site")                                                                            \
    X(g_stack_lo, "g.stack_lo")                                                                    \
    X(g_stack_hi, "g.stack_hi")                                                                    \
    X(g_size, "sizeof.g")                                                                          \
    X(spawned_status, "spawned.status")                                                            \
    X(spawned_fn, "spawned.fn")                                                                    \
    X(spawned_id, "spawned.id")                                                                    \
    X(spawned_parent, "spawned.parent")                                                            \
    X(spawned_site, "spawned.site")                                                                \
    X(spawned_size, "sizeof.spawned")                                                              \
    X(slab_next, "slab.next")                                                                      \
    X(slab_records, "slab.records")                                                                \
    X(slab, "value.slab")                                                                          \
    X(arena_next, "arena.next")                                                                    \
    X(arena_base, "arena.base")                                                                    \
    X(arena_used, "arena.used")                                                                    \
    X(colours, "value.colours")                                                                    \
    X(colour_factor, "value.colour_factor")                                                        \
    X(colour_step, "value.colour_step")                                                            \
    X(cache_line, "value.cache_line")                                                              \
    X(m_g, "m.g")                                                                                  \
    X(m_tid, "m.tid")                                                                              \
    X(m_p, "m.p")                                                                                  \
    X(m_all_next, "m.all_next")                                                                    \
    X(p_tick, "p.tick")                                                                            \
    X(p_seen_tick, "p.seen_tick")                                                                  \
    X(p_seen_since, "p.seen_since")                                                                \
    X(site_func, "site.func")                                                                      \
    X(site_file, "site.file")                                                                      \
    X(site_line, "site.line")                                                                      \
    X(mutex_word, "mutex.word")                                                                    \
    X(rwmutex_word, "rwmutex.word")                                                                \
    X(thread, "value.thread")                                                                      \
    X(dead, "value.dead")                                                                          \
    X(parked, "value.parked")                                                                      \
    X(running, "value.running")                                                                    \
    X(runnable, "value.runnable")                                                                  \
    X(claimed, "value.claimed")                                                                    \
    X(reasons, "value.reasons")                                                                    \
    X(frame, "value.frame")

#define TARGET_FIELD(name, text) uint32_t name;

enum { REASON_SIZE = 32, REASONS_MOST = 64 };

typedef struct target {
    pid_t pid;
    uint64_t rt;     /* where its runtime object lies */
    uint64_t orphan; /* the owner of a lock whose holder has ended */
    struct {
        TARGET_FIELDS(TARGET_FIELD)
    } at;
    char reasons[REASONS_MOST][REASON_SIZE];
} target;

/* Finds the runtime in process pid, or complains and returns an exit status. */
int target_open(target *t, const char *pid);

/* Copies n bytes at from; false: they are not there. */
bool target_read(const target *t, uint64_t from, void *to, size_t n);
/* The process is still there. */
bool target_alive(const target *t);
uint64_t target_u64(const target *t, uint64_t at); /* 0: not there */
uint32_t target_u32(const target *t, uint64_t at);
/* The string at that address, in fresh memory; "?" if it is not there. */
char *target_text(const target *t, uint64_t at);

#endif
