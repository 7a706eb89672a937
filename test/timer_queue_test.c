/* SPDX-License-Identifier: MIT */
/* timer_queue_test.c: the queue of pending timers against a plain array, over times from
 * microseconds to days (core/timer_queue.c). */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
//belay:libs -Wl,--wrap=malloc,--wrap=posix_memalign
#include <belay/test.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bubble.h"
#include "core/proc.h"

enum { TIMERS = 3000, STEPS = 30000 };

/* Every second request for memory of the queue under test; of one goroutine, see the test. */
static bool refusing; /* atomic: all ask */
static unsigned requests;

// NOLINTBEGIN(clang-diagnostic-reserved-identifier): names of the linker's --wrap
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);

static void refuse_no_more(bool *set)
{
    *set = false;
    store_relaxed(&refusing, false);
}

static bool refuse(void) { return load_relaxed(&refusing) && requests++ % 2 == 0; }

void *__wrap_malloc(size_t size)
{
    if (!refuse())
        return __real_malloc(size);
    errno = ENOMEM;
    return NULL;
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t size)
{
    return refuse() ? ENOMEM : __real_posix_memalign(p, alignment, size);
}
// NOLINTEND(clang-diagnostic-reserved-identifier)

typedef struct model {
    bl__timers queue;
    bl_time now;
    uint64_t random;
    size_t pending;
    size_t fired;
    bl_timer timers[TIMERS];
    bool armed[TIMERS];
} model;

/* A queue in which all are due at their time, as in a bubble. */
static void exact_begin(bl__timers *ts, bl_time now, uint32_t heap_most)
{
    bl__timers_begin(ts, now, heap_most);
    ts->exact = true;
}

static uint64_t draw(model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

/* Up to a microsecond, …, up to a month, evenly; a third of them multiples of a tick of the
 * wheel. */
static bl_dur draw_time(model *m)
{
    bl_dur d = (bl_dur)(draw(m) & ((UINT64_C(1) << (10 + draw(m) % 42)) - 1));
    return draw(m) % 3 == 0 ? d >> 20 << 20 : d;
}

static void arm(model *m, size_t i)
{
    bl_timer *timer = &m->timers[i];
    timer->bl__when = draw(m) % 16 == 0 ? m->now - draw_time(m) : m->now + draw_time(m);
    if (draw(m) % 64 == 0)
        timer->bl__when = BL_NEVER - 1;
    bl__timers_insert(&m->queue, timer);
    m->armed[i] = true;
    m->pending++;
}

static void disarm(model *m, size_t i)
{
    bl__timers_remove(&m->queue, &m->timers[i]);
    m->armed[i] = false;
    m->pending--;
}

/* What is due fires, and nothing else; while the queue says that there may be more. */
static void fire(bl_test *t, model *m)
{
    bl_timer *timer;
    for (int looks = 0; m->queue.first <= m->now; looks++) {
        BL_REQUIRE(t, looks < 1000);
        while ((timer = bl__timers_due(&m->queue, m->now)) != NULL) {
            size_t i = (size_t)(timer - m->timers);
            BL_REQUIRE(t, i < TIMERS && m->armed[i]);
            BL_REQUIRE(t, timer->bl__when <= m->now);
            disarm(m, i);
            m->fired++;
        }
    }
}

static void check(bl_test *t, model *m)
{
    bl_time first = BL_NEVER;
    for (size_t i = 0; i < TIMERS; i++) {
        BL_REQUIRE(t, (m->timers[i].bl__heap != NULL) == m->armed[i]);
        if (m->armed[i] && m->timers[i].bl__when < first)
            first = m->timers[i].bl__when;
    }
    BL_REQUIRE(t, first > m->now);
    BL_REQUIRE(t, m->queue.first <= first);
    BL_REQUIRE(t, (m->queue.first == BL_NEVER) == (first == BL_NEVER));
}

static void count(bl_timer *timer, void *arg)
{
    size_t *n = arg;
    *n += timer->bl__heap != NULL;
}

/* in_use: how many are armed, mostly. */
static void steps(bl_test *t, size_t in_use, bool refused)
{
    uint64_t seed = (uint64_t)bl_now() | 1;
    model *m = calloc(1, sizeof *m);
    BL_REQUIRE(t, m != NULL);
    bl_log(t, "seed %llu", (unsigned long long)seed);
    m->random = seed;
    m->now = bl_now();
    exact_begin(&m->queue, 0, BL__HEAP_MOST);
    bool set __attribute__((cleanup(refuse_no_more), unused)) = refused;
    store_relaxed(&refusing, refused);
    for (int step = 0; step < STEPS; step++) {
        size_t i = draw(m) % TIMERS;
        if (m->armed[i])
            disarm(m, i);
        else if (m->pending < in_use)
            arm(m, i);
        if (draw(m) % 8 == 0) {
            m->now += draw_time(m) >> (draw(m) % 32);
            if (draw(m) % 4 == 0) /* the last instant before a slot of the second level */
                m->now |= (1 << 26) - 1;
            fire(t, m);
            check(t, m);
        }
        if (step % 500 == 0) {
            fire(t, m);
            check(t, m);
            size_t n = 0;
            bl__timers_each(&m->queue, count, &n);
            BL_REQUIRE(t, n == m->pending);
        }
    }
    BL_CHECK(t, m->fired > STEPS / 100);
    bl__timers_forget(&m->queue);
    for (size_t i = 0; i < TIMERS; i++)
        BL_CHECK(t, m->timers[i].bl__heap == NULL);
    free(m);
}

BL_TEST(few_timers_fire_when_they_are_due) { steps(t, 200, false); }

BL_TEST(many_timers_fire_when_they_are_due) { steps(t, TIMERS, false); }

BL_TEST(without_memory_timers_fire_when_they_are_due)
{
    steps(t, TIMERS, true);
    BL_CHECK(t, requests > 0);
}

/* After one was taken out the queue has no time for which there is nothing to do: a thread would
 * wake for that, and a deadlock be told of only then. */
BL_TEST(the_first_is_no_time_of_one_that_was_stopped)
{
    for (uint32_t heap_most = 0; heap_most <= 4; heap_most += 2) {
        bl__timers queue = {0};
        bl_time now = ((bl_now() >> 44) + 1) << 44; /* so that the wheel has all within hours */
        bl_timer timers[4] = {0};
        exact_begin(&queue, now, heap_most);
        BL_CHECK_EQ(t, queue.first, BL_NEVER);
        for (int i = 0; i < 4; i++) { /* two of them at one instant */
            timers[i].bl__when = now + (i < 2 ? 1 : i) * BL_HOUR;
            bl__timers_insert(&queue, &timers[i]);
        }
        bl__timers_remove(&queue, &timers[0]);
        BL_CHECK_LE(t, queue.first, now + BL_HOUR);
        bl__timers_remove(&queue, &timers[1]);
        BL_CHECK_GT(t, queue.first, now + BL_HOUR);
        BL_CHECK_LE(t, queue.first, now + 2 * BL_HOUR);
        bl__timers_remove(&queue, &timers[3]);
        bl__timers_remove(&queue, &timers[2]);
        BL_CHECK_EQ(t, queue.first, BL_NEVER);
        bl__timers_forget(&queue);
    }
}

/* What was armed in a frame that is gone is somebody else's by the end. */
BL_TEST(memory_of_others_is_not_written_to)
{
    for (uint32_t heap_most = 0; heap_most <= 4; heap_most += 4) {
        bl__timers queue = {0};
        bl_timer timers[2] = {0}, same;
        exact_begin(&queue, bl_now(), heap_most);
        for (int i = 0; i < 2; i++) {
            timers[i].bl__when = bl_in(BL_MIN);
            bl__timers_insert(&queue, &timers[i]);
        }
        memset(&timers[0], 0x5a, sizeof timers[0]);
        memset(&same, 0x5a, sizeof same);
        bl__timers_forget(&queue);
        BL_CHECK(t, memcmp(&timers[0], &same, sizeof same) == 0);
        BL_CHECK(t, timers[1].bl__heap == NULL);
    }
}

/* Of a crowded slot the one that is due may be the last to be looked at. */
BL_TEST(a_crowd_hides_no_timer)
{
    bl__timers *queue = calloc(1, sizeof *queue);
    bl_timer *timers = calloc(TIMERS, sizeof *timers), *due = NULL;
    BL_REQUIRE(t, queue != NULL && timers != NULL);
    const bl_time tick = 1 << 20, slot = 64 * tick;
    bl_time now = (bl_now() / (64 * slot) + 2) * 64 * slot;
    exact_begin(queue, now, 0);
    for (int i = 0; i < TIMERS; i++) {
        timers[i].bl__when = now + slot + (i > 0 ? 40 * tick + i : 1);
        bl__timers_insert(queue, &timers[i]);
    }
    now += slot + 1;
    while (due == NULL && queue->first <= now)
        due = bl__timers_due(queue, now);
    BL_CHECK(t, due == &timers[0]);
    bl__timers_forget(queue);
    free(timers);
    free(queue);
}

/* As in a bubble: from one instant at which something is due to the next, exactly. */
static void instants(bl_test *t, bool refused)
{
    uint64_t seed = (uint64_t)bl_now() | 1;
    model *m = calloc(1, sizeof *m);
    BL_REQUIRE(t, m != NULL);
    bl_log(t, "seed %llu", (unsigned long long)seed);
    m->random = seed;
    m->now = 1000000 * BL_HOUR;
    exact_begin(&m->queue, m->now, 16);
    bool set __attribute__((cleanup(refuse_no_more), unused)) = refused;
    store_relaxed(&refusing, refused);
    for (size_t i = 0; i < TIMERS; i++)
        arm(m, i);
    while (m->pending > 0 && m->now < BL_NEVER - 1) {
        bl__timers_settle(&m->queue);
        bl_time first = BL_NEVER;
        for (size_t i = 0; i < TIMERS; i++)
            if (m->armed[i] && m->timers[i].bl__when < first)
                first = m->timers[i].bl__when;
        BL_REQUIRE(t, m->queue.first == first);
        m->now = first > m->now ? first : m->now;
        size_t fired = m->fired;
        fire(t, m);
        BL_REQUIRE(t, m->fired > fired);
        size_t i = draw(m) % TIMERS;
        if (m->fired > 3 * TIMERS)
            continue; /* and then it runs down */
        if (m->armed[i])
            disarm(m, i);
        for (i = draw(m) % TIMERS; m->pending < TIMERS; i = (i + 1) % TIMERS)
            if (!m->armed[i])
                arm(m, i);
    }
    BL_CHECK(t, m->fired > 3 * TIMERS);
    bl__timers_forget(&m->queue);
    free(m);
}

BL_TEST(the_next_instant_is_known) { instants(t, false); }
BL_TEST(without_memory_the_next_instant_is_known) { instants(t, true); }

/* So it is where a slot of the wheel has more than are brought from it at a time. */
BL_TEST(the_next_instant_is_known_of_a_crowd)
{
    enum { TICK = 1 << 20, SLOT = 64 * TICK };
    model *m = calloc(1, sizeof *m);
    BL_REQUIRE(t, m != NULL);
    m->now = (bl_time)BL__BUBBLE_BEGIN / SLOT * SLOT; /* the clock is not to be there yet */
    exact_begin(&m->queue, m->now, 16);
    for (size_t i = 0; i < TIMERS; i++) {
        m->timers[i].bl__when =
            m->now + SLOT + (i < 32 ? 5 * TICK : (bl_time)(i % 2 == 0 ? 9 : 6) * TICK);
        bl__timers_insert(&m->queue, &m->timers[i]);
    }
    bl__timers_settle(&m->queue);
    BL_CHECK_EQ(t, m->queue.first - m->now, SLOT + 5 * TICK);
    size_t first = 0;
    for (size_t i = 0; i < m->queue.count; i++)
        first += m->queue.entries[i].when == m->queue.first;
    BL_CHECK_EQ(t, first, 32);
    bl__timers_forget(&m->queue);
    free(m);
}

/* One instant for all: more than are brought from the wheel at a time. */
BL_TEST(a_crowd_fires_at_one_instant)
{
    model *m = calloc(1, sizeof *m);
    BL_REQUIRE(t, m != NULL);
    m->now = bl_now();
    exact_begin(&m->queue, 0, BL__HEAP_MOST);
    for (size_t i = 0; i < TIMERS; i++) {
        m->timers[i].bl__when = m->now + 30 * BL_SEC;
        bl__timers_insert(&m->queue, &m->timers[i]);
        m->armed[i] = true;
        m->pending++;
    }
    m->now += 30 * BL_SEC - 1;
    fire(t, m);
    BL_CHECK(t, m->fired == 0);
    m->now++;
    fire(t, m);
    BL_CHECK(t, m->fired == TIMERS);
    BL_CHECK(t, m->queue.first == BL_NEVER);
    bl__timers_forget(&m->queue);
    free(m);
}

/* Timers of d and more, up to twice that, are late by 1/32 of it at most, and by 0.5 ms at most, if
 * they are looked at when the queue says so. How often it has said so. */
static unsigned fire_in_grains(bl_test *t, model *m, bl_dur d)
{
    enum { MOST_LATE = 1 << 19, ORDER = MOST_LATE / 16 };
    const bl_time begin = load_relaxed(&bl__rt.coarse) + BL_MS; /* it may have moved on meanwhile */
    bl_time last = 0;
    unsigned looks = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        m->timers[i].bl__when = begin + d + (bl_time)(draw(m) % (uint64_t)d);
        bl__timers_insert(&m->queue, &m->timers[i]);
    }
    for (size_t fired = 0; fired < TIMERS; looks++) {
        bl_timer *timer;
        BL_REQUIRE(t, looks <= 4 * TIMERS && m->queue.first < BL_NEVER);
        bl_time now = m->queue.first + ORDER;
        while ((timer = bl__timers_due(&m->queue, now)) != NULL) {
            bl_time when = timer->bl__when, late = now - ORDER - when;
            BL_REQUIRE(t, when <= now); /* never early */
            BL_REQUIRE(t, late <= MOST_LATE && late <= (when - begin + BL_MS) / 32);
            if (d >= 50 * BL_MS) /* all have grains of one size: they are in order */
                BL_REQUIRE(t, when >= last - 16);
            last = when > last ? when : last;
            bl__timers_remove(&m->queue, timer);
            fired++;
        }
    }
    return looks;
}

BL_TEST(what_takes_long_is_due_in_grains)
{
    model *m = calloc(1, sizeof *m);
    BL_REQUIRE(t, m != NULL);
    m->random = 1;
    bl__timers_begin(&m->queue, 0, BL__HEAP_MOST);
    BL_CHECK(t, fire_in_grains(t, m, 50 * BL_MS) <= 2 * 50 * BL_MS >> 19);
    BL_CHECK(t, fire_in_grains(t, m, BL_SEC) <= 2 * BL_SEC >> 19);
    BL_CHECK(t, fire_in_grains(t, m, BL_MS) >= BL_MS >> 17);
    bl__timers_forget(&m->queue);
    free(m);
}
