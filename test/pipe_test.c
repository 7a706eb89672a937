/* SPDX-License-Identifier: MIT */
/* pipe_test.c: bl_pipe: bytes in order, wholes, ends, and every way to be stopped. */
//belay:cflags -D_GNU_SOURCE -I../src -fno-strict-aliasing
#include <belay/test.h>

#include <pthread.h>

#include "calls.h"

static bl_test *const t; /* the test that the caller is of */

typedef struct ends {
    bl_pipe *a, *b;
} ends;

static ends pipe_open(void)
{
    ends e;
    BL_CHECK_EQ(t, bl_pipe_new(&e.a, &e.b), 0);
    return e;
}

static void pipe_done(ends *e)
{
    bl_pipe_release(e->a);
    bl_pipe_release(e->b);
}

/* A write or read of k bytes, as a call that parks; the bytes are 1, 2, 3, … */
enum { MOST = 64 };
static int call_write(call *c)
{
    char bytes[MOST];
    for (int i = 0; i < MOST; i++)
        bytes[i] = (char)(i + 1);
    return (int)bl_pipe_write_until(c->obj, bytes, (size_t)c->k, c->deadline);
}
static int call_read(call *c)
{
    char bytes[MOST];
    return (int)bl_pipe_read_until(c->obj, bytes, (size_t)c->k, c->deadline);
}

BL_TEST(pipe_a_write_in_parts)
{
    char buf[MOST] = {0};
    ends e = pipe_open();
    BL_SCOPE(s);
    call w = {.fn = call_write, .obj = e.a, .k = 10, .deadline = BL_NEVER};
    call_parks(s, &w);
    BL_CHECK_EQ(t, bl_pipe_read(e.b, buf, 3), 3);
    BL_CHECK_EQ(t, bl_pipe_read(e.b, buf + 3, 1), 1);
    BL_CHECK_EQ(t, call_result(&w), CALL_PENDING);
    BL_CHECK_EQ(t, bl_pipe_read(e.b, buf + 4, MOST - 4), 6);
    BL_CHECK(t, call_returns(&w));
    BL_CHECK_EQ(t, call_result(&w), 10);
    for (int i = 0; i < 10; i++)
        BL_CHECK_EQ(t, buf[i], i + 1);
    pipe_done(&e);
}

BL_TEST(pipe_nothing_is_no_wait)
{
    ends e = pipe_open();
    BL_CHECK_EQ(t, bl_pipe_write(e.a, "", 0), 0);
    BL_CHECK_EQ(t, bl_pipe_read(e.b, NULL, 0), 0);
    bl_pipe_close(e.b);
    BL_CHECK_EQ(t, bl_pipe_write(e.a, "", 0), BL_EPIPE);
    BL_CHECK_EQ(t, bl_pipe_write(e.b, "", 0), BL_ECLOSED);
    BL_CHECK_EQ(t, bl_pipe_read(e.b, NULL, 0), BL_ECLOSED);
    pipe_done(&e);
    bl_pipe_release(NULL);
}

BL_TEST(pipe_closed)
{
    char c;
    ends e = pipe_open();
    bl_pipe_close(e.a);
    bl_pipe_close(e.a);
    BL_CHECK_EQ(t, bl_pipe_read(e.b, &c, 1), 0);
    BL_CHECK_EQ(t, bl_pipe_write(e.b, "x", 1), BL_EPIPE);
    BL_CHECK_EQ(t, bl_pipe_read(e.a, &c, 1), BL_ECLOSED);
    BL_CHECK_EQ(t, bl_pipe_write(e.a, "x", 1), BL_ECLOSED);
    pipe_done(&e);
}

BL_TEST(pipe_close_wakes_all)
{
    ends e = pipe_open();
    BL_SCOPE(s);
    call calls[] = {
        {.fn = call_read, .obj = e.a, .k = 5, .deadline = BL_NEVER},
        {.fn = call_read, .obj = e.a, .k = 5, .deadline = BL_NEVER},
        {.fn = call_read, .obj = e.b, .k = 5, .deadline = BL_NEVER},
    };
    for (int i = 0; i < 3; i++)
        call_parks(s, &calls[i]);
    bl_pipe_close(e.a);
    for (int i = 0; i < 3; i++)
        BL_CHECK(t, call_returns(&calls[i]));
    BL_CHECK_EQ(t, call_result(&calls[0]), BL_ECLOSED);
    BL_CHECK_EQ(t, call_result(&calls[1]), BL_ECLOSED);
    BL_CHECK_EQ(t, call_result(&calls[2]), 0);
    pipe_done(&e);
}

BL_TEST(pipe_close_ends_a_write)
{
    char buf[MOST];
    BL_SCOPE(s);
    for (int own = 0; own < 2; own++) {
        for (int part = 0; part < 2; part++) {
            ends e = pipe_open();
            call w = {.fn = call_write, .obj = e.a, .k = 10, .deadline = BL_NEVER};
            call_parks(s, &w);
            if (part)
                BL_CHECK_EQ(t, bl_pipe_read(e.b, buf, 4), 4);
            bl_pipe_close(own ? e.a : e.b);
            BL_CHECK(t, call_returns(&w));
            BL_CHECK_EQ(t, call_result(&w), part ? 4 : own ? BL_ECLOSED : BL_EPIPE);
            pipe_done(&e);
        }
    }
}

BL_TEST(pipe_deadlines)
{
    char buf[MOST];
    ends e = pipe_open();
    BL_SCOPE(s);
    BL_CHECK_EQ(t, bl_pipe_read_until(e.b, buf, 1, bl_in(BL_MS)), BL_ETIMEDOUT);
    BL_CHECK_EQ(t, bl_pipe_write_until(e.a, "x", 1, bl_in(BL_MS)), BL_ETIMEDOUT);
    call w;
    for (ssize_t r = 0; r != 4;) { /* what can proceed proceeds */
        w = (call){.fn = call_write, .obj = e.a, .k = 10, .deadline = bl_in(100 * BL_MS)};
        call_parks(s, &w);
        r = bl_pipe_read_until(e.b, buf, 4, bl_now() - 1);
        BL_CHECK(t, r == 4 || bl_now() >= w.deadline);
        BL_CHECK(t, call_returns(&w));
        BL_CHECK_EQ(t, call_result(&w), r);
    }
    BL_CHECK_EQ(t, bl_pipe_read_until(e.b, buf, 4, bl_now() - 1), BL_ETIMEDOUT);
    pipe_done(&e);
}

BL_TEST(pipe_cancelled)
{
    char buf[MOST];
    ends e = pipe_open();
    call w = {.fn = call_write, .obj = e.a, .k = 10, .deadline = BL_NEVER}, v = w;
    call r = {.fn = call_read, .obj = e.a, .k = 1, .deadline = BL_NEVER};
    BL_SCOPE(s);
    call_parks(s, &w);
    BL_CHECK_EQ(t, bl_pipe_read(e.b, buf, 3), 3);
    call_parks(s, &v); /* behind w's lock */
    call_parks(s, &r);
    bl_scope_cancel(s, BL_ECANCELED);
    BL_CHECK(t, call_returns(&w));
    BL_CHECK(t, call_returns(&v));
    BL_CHECK(t, call_returns(&r));
    BL_CHECK_EQ(t, call_result(&w), 3);
    BL_CHECK_EQ(t, call_result(&v), BL_ECANCELED);
    BL_CHECK_EQ(t, call_result(&r), BL_ECANCELED);
    pipe_done(&e);
}

/* ---- Many ---- */

enum { WRITERS = 4, LINES = 300, LINE = 7 };

static int lines_write(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        char line[LINE];
        memset(line, 'a' + i % 26, LINE);
        BL_CHECK_EQ(t, bl_pipe_write(arg, line, LINE), LINE);
    }
    return 0;
}

static int echo(void *arg)
{
    char buf[5];
    for (ssize_t n; (n = bl_pipe_read(arg, buf, sizeof buf)) > 0;)
        BL_CHECK_EQ(t, bl_pipe_write(arg, buf, (size_t)n), n);
    return 0;
}

BL_TEST(pipe_wholes_of_many_writers)
{
    ends e = pipe_open();
    BL_SCOPE(s);
    for (int i = 0; i < WRITERS; i++)
        bl_go(s, lines_write, e.a);
    char line[LINE] = {0};
    for (int i = 0; i < WRITERS * LINES; i++) {
        for (size_t had = 0; had < LINE;) {
            ssize_t n = bl_pipe_read(e.b, line + had,
                                     (size_t)(1 + i % LINE) < LINE - had ? (size_t)(1 + i % LINE)
                                                                         : LINE - had);
            BL_REQUIRE(t, n > 0);
            had += (size_t)n;
        }
        for (int k = 1; k < LINE; k++)
            BL_CHECK_EQ(t, line[k], line[0]);
    }
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pipe_done(&e);
}

static int read_and_count(void *arg)
{
    ends *e = arg;
    char buf[3];
    int sum = 0;
    for (ssize_t n; (n = bl_pipe_read(e->b, buf, sizeof buf)) > 0;)
        sum += (int)n;
    __atomic_fetch_add((int *)e->a, sum, __ATOMIC_RELAXED);
    return 0;
}

BL_TEST(pipe_many_readers_lose_nothing)
{
    ends e = pipe_open();
    int sum = 0;
    ends count = {(bl_pipe *)&sum, e.b};
    BL_SCOPE(s);
    for (int i = 0; i < WRITERS; i++)
        bl_go(s, read_and_count, &count);
    lines_write(e.a);
    bl_pipe_close(e.a);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    BL_CHECK_EQ(t, sum, LINES * LINE);
    pipe_done(&e);
}

static int write_hundred(void *arg)
{
    char bytes[100];
    for (int i = 0; i < 100; i++)
        bytes[i] = (char)i;
    BL_CHECK_EQ(t, bl_pipe_write(arg, bytes, sizeof bytes), (ssize_t)sizeof bytes);
    return 0;
}

BL_TEST(pipe_both_ways)
{
    ends e = pipe_open();
    BL_SCOPE(s);
    bl_go(s, echo, e.b);
    bl_go(s, write_hundred, e.a);
    char back[100];
    for (size_t had = 0; had < sizeof back;) {
        ssize_t n = bl_pipe_read(e.a, back + had, sizeof back - had);
        BL_REQUIRE(t, n > 0);
        had += (size_t)n;
    }
    for (int i = 0; i < 100; i++)
        BL_CHECK_EQ(t, back[i], i);
    bl_pipe_close(e.a);
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
    pipe_done(&e);
}

static void *thread_lines(void *arg)
{
    (void)lines_write(arg);
    bl_pipe_release(arg);
    return NULL;
}

BL_TEST(pipe_with_a_plain_thread)
{
    ends e = pipe_open();
    pthread_t thread;
    char buf[16];
    ssize_t n, sum = 0;
    BL_REQUIRE(t, pthread_create(&thread, NULL, thread_lines, e.a) == 0);
    while ((n = bl_pipe_read(e.b, buf, sizeof buf)) > 0)
        sum += n;
    BL_CHECK_EQ(t, sum, LINES * LINE);
    pthread_join(thread, NULL);
    bl_pipe_release(e.b);
}
