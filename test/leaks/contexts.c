/* SPDX-License-Identifier: MIT */
/* Contexts: never cancelled, cancelled too late, or the wrong one; and channels beside them. */
#include "leaks.h"

/* ---- Never cancelled ---- */

static int watch(void *arg)
{
    bl_ctx *c = arg;
    int r = bl_chan_recv(bl_ctx_done(c), NULL); /* @watch_recv */
    bl_ctx_release(c);
    return r == BL_ECLOSED ? 0 : r;
}

static int connect_to(bl_scope *s, const char *host)
{
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_current()); /* @watch_ctx */
    bl_go(s, watch, c);
    if (strlen(host) == 0)
        return BL_EINVAL;
    bl_ctx_cancel(c, 0);
    return 0;
}

/*? never_cancelled leak
 * watch@watch_recv [chan receive] of a context, made by connect_to at @watch_ctx; cause: nobody is left to cancel the context
 */
static int client(void *arg) { return connect_to(arg, "") == 0; }

static int never_cancelled(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "client");
    bl_go(s, client, s);
    return go_on();
}

typedef struct subscription {
    bl_ctx *ctx;
    bl_chan *events;
} subscription;

static int subscriber(void *arg)
{
    subscription *sub = arg;
    int event;
    for (;;) {
        int i = BL_SELECT(BL_RECV(sub->events, &event), /* @subscriber_select */
                          BL_RECV(bl_ctx_done(sub->ctx), NULL));
        if (i != 0)
            return i < 0 ? i : 0;
    }
}

static int subscribe(void *arg)
{
    subscription *sub = calloc(1, sizeof *sub);
    sub->ctx = bl_ctx_with_cancel(bl_ctx_background()); /* @sub_ctx */
    sub->events = bl_chan_new(sizeof(int), 1);          /* @sub_events */
    bl_go((bl_scope *)arg, subscriber, sub);
    return 0;
}

/*? subscription_forgotten leak
 * subscriber@subscriber_select [select] made by subscribe at @sub_events; of a context, made by subscribe at @sub_ctx; cause: nobody is left; and 1 more
 */
static int subscription_forgotten(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "broker");
    bl_go(s, subscribe, s);
    bl_go(s, subscribe, s);
    return go_on();
}

static int refresher_part(void *arg)
{
    (void)arg;
    bl_ctx *c = bl_ctx_with_cancel(bl_ctx_background()); /* @refresh_ctx */
    BL_SCOPE(s, .name = "refresh");
    bl_go(s, watch, bl_ctx_retain(c));
    int r = bl_scope_wait(s); /* @refresh_wait */
    bl_ctx_cancel(c, 0);      /* which comes too late */
    bl_ctx_release(c);
    return r;
}

/*? cancelled_after_the_join deadlock
 * refresher_part@refresh_wait [scope wait] waits on scope "refresh"
 * watch@watch_recv [chan receive] of a context, made by refresher_part at @refresh_ctx; cause: nobody is left to cancel the context
 */
static int cancelled_after_the_join(void *arg)
{
    bl_go(bl_root(), refresher_part, arg);
    return go_on();
}

/* ---- Beside channels ---- */

typedef struct call {
    bl_ctx *ctx;
    bl_chan *reply;
} call;

static int server(void *arg)
{
    call *c = arg;
    int reply = 7;
    int r = bl_chan_recv(bl_ctx_done(c->ctx), NULL);             /* as long as that is not done */
    return r == BL_ECLOSED ? bl_chan_send(c->reply, &reply) : r; /* @late_reply */
}

static int caller_part(void *arg)
{
    (void)arg;
    int reply;
    BL_SCOPE(s, .name = "call");
    call c = {bl_ctx_with_timeout(bl_ctx_background(), 20 * BL_MS),
              bl_scope_chan(s, sizeof(int), 0)}; /* @reply_chan */
    bl_go(s, server, &c);
    int i = BL_SELECT(BL_RECV(bl_ctx_done(c.ctx), NULL), BL_RECV(c.reply, &reply));
    if (i == 0)
        i = bl_scope_wait(s); /* @caller_wait */
    bl_ctx_release(c.ctx);
    return i;
}

/*? reply_after_the_timeout deadlock
 * caller_part@caller_wait [scope wait] waits on scope "call"
 * server@late_reply [chan send] made by caller_part at @reply_chan; cause: nobody is left to receive
 */
static int reply_after_the_timeout(void *arg)
{
    for (int i = 0; i < 20; i++) /* whoever of the two is quicker */
        bl_go(bl_root(), caller_part, arg);
    return go_on();
}

typedef struct feed {
    bl_ctx *ctx;
    bl_chan *items;
} feed;

static int feeder(void *arg)
{
    feed *f = arg;
    for (int i = 0; bl_ctx_err(f->ctx) == 0; i++) /* looks at it, but not while it sends */
        if (bl_chan_send(f->items, &i) < 0)       /* @feeder_send */
            return 1;
    return 0;
}

static int feed_part(void *arg)
{
    (void)arg;
    int item;
    BL_SCOPE(s, .name = "feed");
    feed f = {bl_ctx_with_cancel(bl_ctx_background()),
              bl_scope_chan(s, sizeof(int), 0)}; /* @feed_items */
    bl_go(s, feeder, &f);
    for (int i = 0; i < 3; i++)
        if (bl_chan_recv(f.items, &item) < 0)
            return 1;
    if (until_waiting(2) < 0) /* it and the main goroutine */
        return 1;
    bl_ctx_cancel(f.ctx, 0);
    int r = bl_scope_wait(s); /* @feed_wait */
    bl_ctx_release(f.ctx);
    return r;
}

/*? checked_but_not_selected deadlock
 * feed_part@feed_wait [scope wait] waits on scope "feed"
 * feeder@feeder_send [chan send] made by feed_part at @feed_items; cause: nobody is left to receive
 */
static int checked_but_not_selected(void *arg)
{
    bl_go(bl_root(), feed_part, arg);
    return go_on();
}

static int one_error(void *arg)
{
    int err = BL_EIO;
    return bl_chan_send((bl_chan *)arg, &err); /* @error_send */
}

static int first_error(void *arg)
{
    (void)arg;
    int err;
    BL_SCOPE(s, .name = "group", .keep_going = true);
    bl_chan *errors = bl_scope_chan(s, sizeof(int), 1); /* @errors_chan */
    for (int i = 0; i < 3; i++)
        bl_go(s, one_error, errors);
    int r = bl_chan_recv(errors, &err);  /* the others stay */
    return r < 0 ? r : bl_scope_wait(s); /* @group_wait */
}

/*? first_error_only deadlock
 * first_error@group_wait [scope wait] waits on scope "group"
 * one_error@error_send [chan send] (cap 1, 1 buffered), made by first_error at @errors_chan; cause: nobody is left to receive
 */
static int first_error_only(void *arg)
{
    bl_go(bl_root(), first_error, arg);
    return go_on();
}

PROGRAMS({"never_cancelled", never_cancelled}, {"subscription_forgotten", subscription_forgotten},
         {"cancelled_after_the_join", cancelled_after_the_join},
         {"reply_after_the_timeout", reply_after_the_timeout},
         {"checked_but_not_selected", checked_but_not_selected},
         {"first_error_only", first_error_only})
