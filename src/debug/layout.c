/* SPDX-License-Identifier: MIT */
/* layout.c: see layout.h. */
#include "debug/layout.h"

#include "arch/switch.h"
#include "core/label.h"
#include "core/proc.h"
#include "io/fd.h"
#include "life/scope.h"
#include "sync/chan.h"
#include "sync/object.h"

#define AT(name, type, field)                                                                      \
    {                                                                                              \
        name "." #field, offsetof(type, field)                                                     \
    }
#define NAMED(name, type, field)                                                                   \
    {                                                                                              \
        name, offsetof(type, field)                                                                \
    }
#define SIZE(name, type)                                                                           \
    {                                                                                              \
        "sizeof." name, sizeof(type)                                                               \
    }
#define VALUE(name, value)                                                                         \
    {                                                                                              \
        "value." name, (uint32_t)(value)                                                           \
    }

#define G(field) AT("g", bl__g, field)
#define SPAWNED(field) AT("spawned", bl__spawned, field)
#define M(field) AT("m", bl__m, field)
#define P(field) AT("p", bl__p, field)
#define RT(field) AT("rt", bl__sched, field)
#define ARENA(field) AT("arena", bl__arena, field)
#define CHAN(field) AT("chan", bl_chan, field)
#define SITE(field) AT("site", bl__site, field)
#define PUBLIC(type, field) NAMED(#type "." #field, bl_##type, bl__##field)

/* Used by the note below, which -flto does not see. */
/* clang-format off */
const bl__layout_table bl__layout __attribute__((visibility("hidden"), used)) = {
    .magic = {'b', 'l', 'l', 'a', 'y', 'o', 'u', 't'},
    .version = BL__LAYOUT_VERSION,
    .rt = &bl__rt,
    .reasons = bl__reason_texts,
    .orphan = &bl__orphan,
    .entries = {
        RT(ps), RT(procs), RT(running), RT(stack_size), RT(stack_slot), RT(ps_made), RT(arenas),
        RT(spawn_slabs), RT(all_m), RT(coarse), RT(threads), RT(away), RT(queued), RT(root),
        NAMED("g.kind", bl__g, task.kind), NAMED("g.status", bl__g, task.status),
        G(sp), G(wait), G(wait_obj), G(since), G(away_since), G(reason), G(switches), G(scope), G(inner), G(held),
        G(held_rw), G(fn), G(id), G(parent), G(site), G(labels), G(stack_lo), G(stack_hi),
        SIZE("g", bl__g),
        NAMED("spawned.status", bl__spawned, task.status), SPAWNED(fn), SPAWNED(scope),
        SPAWNED(site), SPAWNED(id), SPAWNED(parent), SPAWNED(labels), SIZE("spawned", bl__spawned),
        NAMED("slab.next", bl__spawn_slab, next), NAMED("slab.records", bl__spawn_slab, records),
        VALUE("slab", BL__SLAB),
        ARENA(next), ARENA(base), ARENA(used), VALUE("colours", BL__COLOURS),
        VALUE("colour_factor", BL__COLOUR_FACTOR), VALUE("colour_step", BL__COLOUR_STEP),
        VALUE("cache_line", BL__CACHE_LINE),
        M(g), M(p), M(tid), M(all_next), M(away), M(g0),
        P(m), P(tick), P(seen_tick), P(seen_since), P(head), P(tail), P(next), P(id),
        SITE(what), SITE(func), SITE(file), SITE(line),
        NAMED("labels.count", bl__labels, count), NAMED("labels.bytes", bl__labels, bytes),
        NAMED("labels.text", bl__labels, text),
        NAMED("waiter.next", bl__waiter, next), NAMED("waiter.g", bl__waiter, g),
        CHAN(magic), CHAN(size), CHAN(closed), CHAN(timer), CHAN(cap), CHAN(len), CHAN(head),
        CHAN(refs), CHAN(recvq), CHAN(sendq), CHAN(made), SIZE("chan", bl_chan),
        NAMED("select.cases", bl__select_wait, cases), NAMED("select.n", bl__select_wait, n),
        NAMED("case.chan", bl_case, chan), NAMED("case.op", bl_case, op), SIZE("case", bl_case),
        NAMED("fd.number", bl__fd, number),
        PUBLIC(mutex, word), PUBLIC(mutex, held), PUBLIC(mutex, head),
        PUBLIC(rwmutex, word), PUBLIC(rwmutex, held), PUBLIC(rwmutex, readers),
        PUBLIC(rwmutex, writers),
        PUBLIC(cond, mutex), PUBLIC(cond, head), PUBLIC(once, runner), PUBLIC(once, done),
        PUBLIC(once, head),
        PUBLIC(waitgroup, count), PUBLIC(waitgroup, head), PUBLIC(sem, count), PUBLIC(sem, head),
        PUBLIC(scope, ctx), PUBLIC(scope, parent), PUBLIC(scope, live), PUBLIC(scope, started),
        PUBLIC(scope, opener_g), PUBLIC(scope, made), PUBLIC(scope, name), PUBLIC(scope, limit),
        PUBLIC(scope, running), PUBLIC(scope, err), PUBLIC(scope, magic),
        PUBLIC(timer, when), PUBLIC(timer, period), PUBLIC(timer, heap), PUBLIC(timer, made),
        PUBLIC(timer, fn), PUBLIC(timer, self),
        VALUE("dead", BL__G_DEAD), VALUE("runnable", BL__G_RUNNABLE),
        VALUE("running", BL__G_RUNNING), VALUE("parked", BL__G_PARKED),
        VALUE("claimed", BL__W_CLAIMED), VALUE("reasons", BL__WAIT_REASONS),
        VALUE("thread", BL__TASK_THREAD), VALUE("frame", BL__FRAME),
        VALUE("chan_live", BL__CHAN_LIVE), VALUE("chan_bubble", BL__CHAN_BUBBLE), VALUE("scope_open", BL__SCOPE_OPEN),
        VALUE("live_shift", BL__LIVE_SHIFT), VALUE("op_send", BL__OP_SEND),
        VALUE("wait_select", BL__WAIT_SELECT), VALUE("wait_chan_recv", BL__WAIT_CHAN_RECV),
        VALUE("wait_chan_send", BL__WAIT_CHAN_SEND), VALUE("wait_mutex", BL__WAIT_MUTEX),
        VALUE("wait_rw_rlock", BL__WAIT_RW_RLOCK), VALUE("wait_rw_lock", BL__WAIT_RW_LOCK),
        VALUE("wait_scope", BL__WAIT_SCOPE), VALUE("wait_scope_room", BL__WAIT_SCOPE_ROOM),
        VALUE("wait_io", BL__WAIT_IO), VALUE("wait_sleep", BL__WAIT_SLEEP),
        {"", 0},
    },
};
/* clang-format on */

/* Signed, and relative to the word itself: nothing for the dynamic linker to fill in. */
__asm__(".pushsection .note.belay, \"a\", %note\n"
        "    .balign 4\n"
        "    .long 6, 4, 1\n"
        "    .asciz \"belay\"\n"
        "    .balign 4\n"
        "    .long bl__layout - .\n"
        "    .popsection\n");
