/* SPDX-License-Identifier: MIT */
/* Every macro of the public headers as a user's code has them, in calls within calls too. Not run:
 * scripts/lint compiles it as C and as C++, with the warnings that users turn on. */
#include <belay.h>
#include <belay/debug.h>
#include <belay/map.h>
#include <belay/test.h>
#include <netdb.h>

struct pair {
    int a, b;
};

static int job(void *arg) { return arg == NULL; }
static bool each(const void *key, void *value, void *arg) { return key != value && arg == NULL; }
static void cleanup(void *arg) { (void)arg; }
static void subtest(bl_test *t, void *arg) { BL_CHECK(t, arg == NULL); }

static int scopes(bl_scope *outer)
{
    int n = 3;
    BL_SCOPE(s);
    BL_SCOPE(limited, .timeout = 2 * BL_SEC, .name = "fetch", .limit = 3);
    bl_scope plain;
    if (bl_scope_open(&plain, NULL) < 0)
        n++;
    bl_go(&plain, job, NULL);
    bl_go(s, job, NULL);
    bl_go(outer, job, NULL);
    bl_go_copy(limited, job, &n, sizeof n);
    bl_scope_wait(s);
    bl_scope_close(&plain);
    return bl_scope_wait(limited);
}

static int contexts(bl_scope *s)
{
    static const char key = 0;
    int n = 3;
    bl_ctx *c =
        bl_ctx_with_value(bl_ctx_with_timeout(bl_ctx_with_cancel(bl_ctx_current()), 3), &key, &n);
    bl_ctx *d = bl_ctx_without_cancel(bl_ctx_with_deadline(c, bl_in(BL_SEC)));
    bl_ctx_after_stop(bl_ctx_after(bl_ctx_with_cancel(d), s, job, NULL));
    BL_SCOPE(below, .ctx = bl_ctx_with_cancel(c));
    return bl_scope_wait(below);
}

static int channels(bl_scope *s)
{
    int n = 3;
    const int constant = 4;
    struct pair p = {1, 2};
    bl_chan *c = bl_chan_new(sizeof(int), 3), *d = bl_scope_chan(s, sizeof(struct pair), 0);
    int err = bl_chan_send(c, &n) + bl_chan_send(c, &constant) + bl_chan_send(c, NULL);
    err += bl_chan_recv(c, &n) + bl_chan_recv(c, NULL) + bl_chan_try_recv(d, &p);
    err += bl_chan_try_send(d, &p) + bl_chan_send_until(d, &p, 0) + bl_chan_recv_until(d, &p, 0);
    for (int i = 0; i < 3; i++)
        err += BL_SELECT(BL_RECV(c, &n), BL_SEND(d, &p), BL_SEND(c, &constant),
                         BL_RECV(bl_ctx_done(bl_ctx_current()), NULL));
    bl_case cases[] = {BL_RECV(c, &n), BL_SEND(d, &p)};
    cases[0] = BL_SEND(c, &n);
    err += bl_try_select(cases, sizeof cases / sizeof *cases);
    err += BL_TRY_SELECT(BL_RECV(c, &n), BL_SEND(d, &p)) +
           BL_SELECT_UNTIL(bl_in(BL_SEC), BL_RECV(c, &n));
    bl_pipe *a, *b;
    err += bl_pipe_new(&a, &b);
    bl_notify(s, c, 1, 2);
    bl_chan_release(c);
    return err;
}

static int others(bl_scope *s, bl_timer *t, bl_waitgroup *wg)
{
    bl_timer_start(t, BL_SEC);
    bl_after_func(t, s, BL_SEC, job, NULL);
    bl_ticker_stop(bl_ticker_new(s, BL_SEC));
    bl_waitgroup_go(wg, s, job, NULL);
    static bl_pool_opts options;
    options.workers = 2;
    errno = h_errno;
    return bl_pool_submit(bl_pool_new(s, &options), job, bl_pool_new(s, NULL));
}

static int maps(const char *name)
{
    int n = 3;
    char text[] = "y";
    struct pair p = {1, 2};
    void *found;
    bl_map *ages = bl_map_new(0, sizeof(int)),
           *pairs = bl_map_new(sizeof(int), sizeof(struct pair));
    bl_syncmap *shared = bl_syncmap_new(sizeof(int));
    int err =
        bl_map_set(ages, "Ada", &n) + bl_map_set(ages, name, &n) + bl_map_set(ages, text, NULL);
    err += bl_map_set(pairs, &n, &p) + bl_map_get(pairs, &n, &p) + bl_map_get(pairs, &n, NULL);
    err += bl_map_delete(ages, "Ada");
    bl_map_range(ages, each, NULL);
    err += bl_syncmap_store(shared, &n, &p) + bl_syncmap_load(shared, &n, &found);
    err += bl_syncmap_load_or_store(shared, &n, &p, &found);
    err += bl_syncmap_compare_and_swap(shared, &n, &p, &n) + bl_syncmap_delete(shared, &n);
    return err + bl_syncmap_load_and_delete(shared, &n, &found);
}

#ifndef __cplusplus /* where literals end with the line */

/* Literals with commas. */
static int literals(bl_scope *s, bl_chan *c, bl_map *m, bl_timer *timer, bl_waitgroup *wg)
{
    static const char key = 0;
    bl_go(s, job, &(struct pair){1, 2});
    bl_go(s, job, (int[]){1, 2, 3});
    bl_go_copy(s, job, &(struct pair){1, 2}, sizeof(struct pair));
    bl_waitgroup_go(wg, s, job, &(struct pair){1, 2});
    bl_after_func(timer, s, BL_SEC, job, &(struct pair){1, 2});
    bl_ctx *x = bl_ctx_with_value(bl_ctx_current(), &key, &(struct pair){1, 2});
    bl_ctx_after_stop(bl_ctx_after(x, s, job, &(struct pair){1, 2}));
    BL_SCOPE(options, .ctx = bl_ctx_with_value(x, &key, (int[]){1, 2}), .limit = 3);
    int err = bl_scope_open(options, &(bl_scope_opts){.limit = 3, .keep_going = true});
    err += bl_chan_send(c, &(struct pair){1, 2}) + bl_chan_try_send(c, &(struct pair){1, 2});
    err += BL_SELECT(BL_SEND(c, &(struct pair){1, 2}), BL_SEND(c, (&(struct pair){3, 4})));
    err += BL_SELECT_UNTIL(bl_in(BL_SEC), BL_SEND(c, &(struct pair){1, 2}));
    err += bl_map_set(m, &(int){1}, &(struct pair){1, 2}) + bl_map_delete(m, &(struct pair){1, 2});
    return err +
           bl_pool_submit(bl_pool_new(s, &(bl_pool_opts){.workers = 2, .queue = 3}), job, NULL);
}

BL_TEST(all_literals)
{
    static bl_timer timer;
    static bl_waitgroup wg;
    BL_CHECK_EQ(t, literals(bl_root(), NULL, NULL, &timer, &wg), 0);
    bl_bubble(t, subtest, &(struct pair){1, 2});
}

#endif

BL_TEST(all)
{
    unsigned u = 3;
    size_t size = sizeof u;
    const char *text = "x";
    const struct {
        unsigned u : 3;
        int i : 4;
        bool b : 1;
    } bits = {1, 1, true};
    static bl_timer timer;
    static bl_waitgroup wg;
    BL_CHECK(t, text);
    BL_CHECK_EQ(t, scopes(bl_test_scope(t)), contexts(bl_root()));
    BL_CHECK_NE(t, channels(bl_root()), others(bl_root(), &timer, &wg));
    BL_CHECK_LT(t, maps(text), 1);
    BL_CHECK_EQ(t, u, 3U);
    BL_CHECK_LE(t, size, sizeof(int));
    BL_CHECK_GT(t, 2.5, 1.0F);
    BL_CHECK_GT(t, 2.5L, bits.u);
    BL_CHECK_EQ(t, bits.i, bits.b);
    BL_CHECK_GE(t, text[0], 'x');
    BL_CHECK_STR(t, text, "x");
    BL_CHECK_MEM(t, &u, &u, sizeof u);
    BL_CHECK_ERR(t, bl_sleep(1), 0);
    BL_REQUIRE(t, text != NULL);
    BL_REQUIRE_EQ(t, text, text);
    BL_REQUIRE_STR(t, text, "x");
    bl_log(t, "logged");
    bl_error(t, "%d", 3);
    bl_cleanup(t, cleanup, NULL);
    bl_bubble(t, subtest, NULL);
    bl_bubble(t, job, NULL);
    bl_bubble(t, cleanup, NULL);
    if (bl_subtest(t, "sub", subtest, NULL))
        bl_skip(t, "skipped");
    bl_fatal(t, "ended by %s", "this");
}

static int sink;

BL_BENCH(loop) { BL_LOOP(b) sink++; }
BL_TEST_PLAIN(plain) { BL_CHECK(t, true); }
BL_FUZZ(bytes) { BL_CHECK(t, data != NULL && size > 0); }
