/* SPDX-License-Identifier: MIT */
/*
 * held.c: locks that a goroutine still holds when it ends.
 *
 * Every mutex and write lock is on its owner's list (g->held, g->held_rw) from when it is taken
 * until it is unlocked. Only the owner touches its lists, so they cost a few plain stores.
 * Unlocking the one taken last is what happens nearly always; another order walks the list.
 *
 * Read locks are only noted (object.h). One that is left is no mistake yet: another goroutine may
 * give it back.
 *
 * The memory of a lock can be gone by the time its owner ends. If it lay in the goroutine's own
 * frames, something else is there now: it is told by its address alone, it is not written, and what
 * was taken before it is not known. If it was freed while locked, the walk ends there: it goes on
 * only as long as what it finds is a lock that g holds.
 */
#include "sync/object.h"

#include "debug/describe.h"

const bl__g bl__orphan;

bool (*bl__held_hook)(const bl__g *g, const char *kind, const void *lock);

/* The lock by its address: to read its name takes a fifth of a second, and others wait for it
 * meanwhile. */
static void held_report(const bl__g *g, const char *kind, const void *lock)
{
    const bl__site *site = g->site;
    if (bl__held_hook != NULL && !bl__held_hook(g, kind, lock))
        return;
    if (g->id == 0)
        bl__warn("leak: a thread ended holding a %s at %p - whoever waits for it is stuck", kind,
                 lock);
    else if (g->id == 1) /* the main goroutine, which nobody started */
        bl__warn("leak: goroutine %llu (%s) ended holding a %s at %p - whoever waits for it is "
                 "stuck",
                 (unsigned long long)g->id, site->what, kind, lock);
    else
        bl__warn("leak: goroutine %llu (%s) ended holding a %s at %p - whoever waits for it is "
                 "stuck; started by %s in goroutine %llu at %s:%d",
                 (unsigned long long)g->id, site->what, kind, lock, site->func,
                 (unsigned long long)g->parent, site->file, site->line);
}

BL__HELD_WALK bool bl__held_gone(const bl__g *g, const void *lock, const void *frame)
{
    if (!bl__on_stack(g, lock) || !bl__on_stack(g, frame))
        return false;
    if ((uintptr_t)lock < (uintptr_t)frame)
        return true;
    const bl__held_head *head = lock;
    return head->self != lock || (head->word & ~(uintptr_t)BL__WORD_FLAGS) != (uintptr_t)g;
}

BL__HELD_WALK bool bl__held_forget_behind(const bl__g *g, void **list, const void *lock,
                                          const void *frame)
{
    void **at = list;
    while (*at != lock) {
        if (*at == NULL)
            return false;
        if (bl__held_gone(g, *at, frame))
            return true; /* lock may be behind it */
        at = bl__held_next(*at);
    }
    *at = *bl__held_next(lock);
    return true;
}

uint32_t bl__reads_handed;

static uint32_t read_find(const bl__g *g, const bl_rwmutex *m, uint32_t noted)
{
    uint32_t i = 0;
    while (i < noted && g->reads[i] != m)
        i++;
    return i;
}

/* m is not the one taken last, or not among those that are noted, or not g's at all. */
void bl__read_drop_slow(bl__g *g, const bl_rwmutex *m)
{
    uint32_t noted = g->reads_count < BL__READS ? g->reads_count : BL__READS;
    uint32_t i = read_find(g, m, noted);
    if (i == noted && g->reads_count <= BL__READS)
        i = read_find(g, NULL, noted);
    if (i == noted && g->reads_count <= BL__READS) {
        store_relaxed(&bl__reads_handed, 1u);
        bl__unmade(m);
        return;
    }
    for (; i + 1 < noted; i++)
        g->reads[i] = g->reads[i + 1];
    if (i < noted && g->reads_count > BL__READS)
        g->reads[i] = NULL; /* one that was not noted */
    g->reads_count--;
}

static void held_left(bl__g *g, void *lock, const char *kind, bool (*orphan)(void *lock, bl__g *g))
{
    while (lock != NULL) {
        bool gone = bl__on_stack(g, lock);
        if (!gone && !orphan(lock, g))
            return;
        void *before = gone ? NULL : *bl__held_next(lock);
        held_report(g, kind, lock);
        lock = before;
    }
}

void bl__held_at_end(bl__g *g)
{
    void *held = g->held, *held_rw = g->held_rw;
    g->held = g->held_rw = NULL;
    held_left(g, held, "sync.Mutex", bl__mutex_orphan);
    held_left(g, held_rw, "sync.RWMutex", bl__rwmutex_orphan);
    for (uint32_t i = 0; i < g->reads_count && i < BL__READS; i++)
        if (g->reads[i] != NULL && g->site != NULL)
            bl__made(BL__MADE_READ, g->reads[i], g->site); /* somebody may still give it back */
    g->reads_count = 0;
}
