/* SPDX-License-Identifier: MIT */
/* Channels: nobody left to send, nobody left to receive, nobody who closes; and none there. */
#include "leaks.h"

static int square(int n) { return n * n; }

/* ---- Nobody receives ---- */

static int fetch_page(void *arg)
{
    bl_chan *out = arg;
    int page = square(7);
    return bl_chan_send(out, &page); /* @page_send */
}

static int fetch(bl_scope *s, const char *url)
{
    int page;
    bl_chan *out = bl_chan_new(sizeof(int), 0); /* @page_chan */
    bl_go(s, fetch_page, out);
    if (strncmp(url, "http:", 5) != 0)
        return BL_EINVAL; /* before the receive */
    int r = bl_chan_recv(out, &page);
    bl_chan_release(out);
    return r;
}

/*? early_return leak
 * fetch_page@page_send [chan send] made by fetch at @page_chan; cause: nobody is left to receive; "server"
 */
static int early_return_handler(void *arg) { return fetch(arg, "ftp://example.org") == 0; }

static int early_return(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "server");
    bl_go(s, early_return_handler, s);
    return go_on();
}

/*? early_return_joined deadlock
 * early_return_request@early_wait [scope wait] opened by early_return_request
 * fetch_page@page_send [chan send] made by fetch at @page_chan; cause: nobody is left to receive; in scope "request"
 */
static int early_return_request(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "request");
    (void)fetch(s, "ftp://example.org");
    return bl_scope_wait(s); /* @early_wait */
}

static int early_return_joined(void *arg)
{
    bl_go(bl_root(), early_return_request, arg);
    return go_on();
}

static int gave_up; /* atomic: of those who ask */

static int slow_answer(void *arg)
{
    bl_chan *out = arg;
    int r = 0, answer = 42;
    while (r == 0 && __atomic_load_n(&gave_up, __ATOMIC_RELAXED) < 3)
        r = bl_sleep(BL_MS);
    return r < 0 ? r : bl_chan_send(out, &answer); /* @slow_send */
}

static int ask(void *arg)
{
    bl_scope *s = arg;
    int answer;
    bl_chan *out = bl_scope_chan(s, sizeof(int), 0); /* @slow_chan */
    bl_go(s, slow_answer, out);
    int r = bl_chan_recv_until(out, &answer, bl_in(5 * BL_MS));
    __atomic_fetch_add(&gave_up, 1, __ATOMIC_RELAXED);
    return r == 0;
}

/*? timeout_abandons_sender leak
 * slow_answer@slow_send [chan send] made by ask at @slow_chan; cause: nobody is left to receive; in scope "clients"; and 2 more
 */
static int timeout_abandons_sender(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "clients");
    for (int i = 0; i < 3; i++)
        bl_go(s, ask, s);
    return go_on();
}

static int compute_twice(void *arg)
{
    bl_chan *out = arg;
    int failed = -1, done = square(3);
    int r = bl_chan_send(out, &failed); /* an error … */
    if (r == 0)
        r = bl_chan_send(out, &done); /* @second_send */
    return r;
}

static int double_send_part(void *arg)
{
    (void)arg;
    int v;
    BL_SCOPE(s, .name = "job");
    bl_chan *out = bl_scope_chan(s, sizeof v, 0); /* @double_chan */
    bl_go(s, compute_twice, out);
    if (bl_chan_recv(out, &v) < 0)
        return 1;
    return bl_scope_wait(s); /* @double_wait */
}

/*? double_send deadlock
 * double_send_part@double_wait [scope wait] waits on scope "job"
 * compute_twice@second_send [chan send] made by double_send_part at @double_chan; cause: nobody is left to receive
 */
static int double_send(void *arg)
{
    bl_go(bl_root(), double_send_part, arg);
    return go_on();
}

typedef struct replicas {
    bl_chan *first;
    int next;
} replicas;

static int ask_replica(void *arg)
{
    replicas *r = arg;
    int id = __atomic_fetch_add(&r->next, 1, __ATOMIC_RELAXED);
    return bl_chan_send(r->first, &id); /* @replica_send */
}

static int first_of(void *arg)
{
    replicas *r = calloc(1, sizeof *r);
    int winner;
    r->first = bl_chan_new(sizeof(int), 0); /* @replica_chan */
    for (int i = 0; i < 5; i++)
        bl_go((bl_scope *)arg, ask_replica, r);
    return bl_chan_recv(r->first, &winner) < 0;
}

/*? many_senders_one_receiver leak
 * ask_replica@replica_send [chan send] made by first_of at @replica_chan; cause: nobody is left to receive; and 3 more
 */
static int many_senders_one_receiver(void *arg)
{
    (void)arg;
    bl_go(bl_root(), first_of, bl_root());
    return go_on();
}

/*? send_to_oneself global
 * send_to_oneself@own_send [chan send] made by send_to_oneself at @own_chan; cause: nobody is left to receive
 */
static int send_to_oneself(void *arg)
{
    (void)arg;
    int v = 1;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof v, 0); /* @own_chan */
    int r = bl_chan_send(c, &v);                /* @own_send */
    return r < 0 ? r : bl_chan_recv(c, &v);
}

typedef struct results {
    bl_chan *out;
    bl_chan *errors;
} results;

static int parse_all(void *arg)
{
    results *r = arg;
    for (int i = 0; i < 10; i++) {
        int err = bl_chan_send(i % 4 == 3 ? r->errors : r->out, &i); /* @parse_send */
        if (err < 0)
            return err;
    }
    bl_chan_close(r->out);
    return 0;
}

static int parse_part(void *arg)
{
    (void)arg;
    int v;
    BL_SCOPE(s, .name = "parse");
    results r;
    r.out = bl_scope_chan(s, sizeof(int), 0);    /* @out_chan */
    r.errors = bl_scope_chan(s, sizeof(int), 0); /* @errors_chan */
    bl_go(s, parse_all, &r);
    while (bl_chan_recv(r.out, &v) == 0) /* @parse_recv */
        continue;
    return 0;
}

/*? errors_not_received deadlock
 * parse_part@parse_recv [chan receive] made by parse_part at @out_chan; cause: nobody is left to send
 * parse_all@parse_send [chan send] made by parse_part at @errors_chan; cause: nobody is left to receive; in scope "parse"
 */
static int errors_not_received(void *arg)
{
    bl_go(bl_root(), parse_part, arg);
    return go_on();
}

static int full_producer(void *arg)
{
    for (int i = 0; i < 20; i++)
        if (bl_chan_send((bl_chan *)arg, &i) < 0) /* @full_send */
            return 1;
    return 0;
}

static int full_part(void *arg)
{
    (void)arg;
    int v, sum = 0;
    BL_SCOPE(s, .name = "buffered");
    bl_chan *c = bl_scope_chan(s, sizeof(int), 8); /* @full_chan */
    bl_go(s, full_producer, c);
    for (int i = 0; i < 10; i++)
        if (bl_chan_recv(c, &v) == 0)
            sum += v;
    int r = bl_scope_wait(s); /* @full_wait */
    return r < 0 ? r : sum;
}

/*? buffer_too_small deadlock
 * full_part@full_wait [scope wait] waits on scope "buffered"
 * full_producer@full_send [chan send] (cap 8, 8 buffered), made by full_part at @full_chan; cause: nobody is left to receive
 */
static int buffer_too_small(void *arg)
{
    bl_go(bl_root(), full_part, arg);
    return go_on();
}

/* ---- Nobody sends or closes ---- */

static int range_over(void *arg)
{
    int v, sum = 0;
    while (bl_chan_recv((bl_chan *)arg, &v) == 0) /* @range_recv */
        sum += v;
    return sum < 0;
}

static int not_closed_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "sum");
    bl_chan *numbers = bl_scope_chan(s, sizeof(int), 0); /* @range_chan */
    bl_go(s, range_over, numbers);
    for (int i = 0; i < 10; i++)
        if (bl_chan_send(numbers, &i) < 0)
            return 1;
    return bl_scope_wait(s); /* @range_wait */
}

/*? not_closed deadlock
 * not_closed_part@range_wait [scope wait] waits on scope "sum"
 * range_over@range_recv [chan receive] made by not_closed_part at @range_chan; cause: nobody is left to send
 */
static int not_closed(void *arg)
{
    bl_go(bl_root(), not_closed_part, arg);
    return go_on();
}

static int sum_lines(void *arg)
{
    bl_scope *s = arg;
    bl_chan *lines = bl_chan_new(sizeof(int), 4); /* @lines_chan */
    for (int i = 0; i < 2; i++)
        bl_go(s, range_over, lines);
    for (int i = 0; i < 10; i++)
        if (bl_chan_send(lines, &i) < 0)
            return 1;
    return 0;
}

/*? not_closed_and_forgotten leak
 * range_over@range_recv [chan receive] made by sum_lines at @lines_chan; cause: nobody is left to send; and 1 more
 */
static int not_closed_and_forgotten(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "lines");
    bl_go(s, sum_lines, s);
    return go_on();
}

/*? global_not_closed global
 * global_not_closed@stage_wait [scope wait] waits on scope "pipeline"
 * stage@stage_recv [chan receive] made by global_not_closed at @stage_chan
 * stage@stage_recv [chan receive] made by global_not_closed at @stage_chan
 */
typedef struct pipe_stage {
    bl_chan *in, *out;
} pipe_stage;

static int stage(void *arg)
{
    pipe_stage *p = arg;
    int v;
    while (bl_chan_recv(p->in, &v) == 0) /* @stage_recv */
        if (p->out != NULL && bl_chan_send(p->out, &v) < 0)
            return 1;
    if (p->out != NULL)
        bl_chan_close(p->out);
    return 0;
}

static int global_not_closed(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "pipeline");
    bl_chan *c[2];
    for (int i = 0; i < 2; i++)
        c[i] = bl_scope_chan(s, sizeof(int), 1); /* @stage_chan */
    pipe_stage first = {c[0], c[1]}, last = {c[1], NULL};
    bl_go(s, stage, &first);
    bl_go(s, stage, &last);
    for (int i = 0; i < 5; i++)
        if (bl_chan_send(c[0], &i) < 0)
            return 1;
    return bl_scope_wait(s); /* @stage_wait */
}

static int produce_some(void *arg)
{
    for (int i = 0; i < 3; i++)
        if (bl_chan_send((bl_chan *)arg, &i) < 0)
            return 1;
    return 0;
}

static int one_too_many_part(void *arg)
{
    (void)arg;
    int v;
    BL_SCOPE(s);
    bl_chan *c = bl_scope_chan(s, sizeof v, 0); /* @some_chan */
    bl_go(s, produce_some, c);
    for (int i = 0; i < 4; i++)
        if (bl_chan_recv(c, &v) < 0) /* @some_recv */
            return 1;
    return 0;
}

/*? receives_one_too_many deadlock
 * one_too_many_part@some_recv [chan receive] made by one_too_many_part at @some_chan; cause: nobody is left to send
 */
static int receives_one_too_many(void *arg)
{
    bl_go(bl_root(), one_too_many_part, arg);
    return go_on();
}

typedef struct ping {
    bl_chan *to, *from;
} ping;

static int receive_first(void *arg)
{
    ping *p = arg;
    int v = 0;
    int r = bl_chan_recv(p->from, &v); /* @first_recv */
    return r < 0 ? r : bl_chan_send(p->to, &v);
}

static int each_waits_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "pair");
    bl_chan *a = bl_scope_chan(s, sizeof(int), 0); /* @pair_a */
    bl_chan *b = bl_scope_chan(s, sizeof(int), 0);
    ping there = {a, b}, back = {b, a};
    bl_go(s, receive_first, &there);
    bl_go(s, receive_first, &back);
    return bl_scope_wait(s); /* @pair_wait */
}

/*? each_waits_for_the_other deadlock
 * each_waits_part@pair_wait [scope wait] waits on scope "pair"
 * receive_first@first_recv [chan receive] cause: nobody is left to send
 * receive_first@first_recv [chan receive] made by each_waits_part at @pair_a
 */
static int each_waits_for_the_other(void *arg)
{
    bl_go(bl_root(), each_waits_part, arg);
    return go_on();
}

/* ---- None there ---- */

typedef struct logger {
    bl_chan *lines;
} logger;

static int logger_run(void *arg)
{
    int line;
    while (bl_chan_recv(((logger *)arg)->lines, &line) == 0) /* @null_recv */
        printf("%d\n", line);
    return 0;
}

static int logger_part(void *arg)
{
    (void)arg;
    logger l = {0}; /* the channel was never made */
    BL_SCOPE(s, .name = "logger");
    bl_go(s, logger_run, &l);
    return bl_scope_wait(s); /* @logger_wait */
}

/*? null_channel_receive deadlock
 * logger_part@logger_wait [scope wait] waits on scope "logger"
 * logger_run@null_recv [chan receive (nil chan)] cause: a nil channel
 */
static int null_channel_receive(void *arg)
{
    bl_go(bl_root(), logger_part, arg);
    return go_on();
}

static int notify_done(void *arg)
{
    logger *l = arg;
    int line = 1;
    return bl_chan_send(l->lines, &line); /* @null_send */
}

/*? null_channel_send leak
 * notify_done@null_send [chan send (nil chan)] cause: nobody ever receives from a nil channel
 */
static int null_channel_send(void *arg)
{
    (void)arg;
    static logger l;
    bl_go(bl_root(), notify_done, &l);
    return go_on();
}

static int wait_for_nothing(void *arg)
{
    (void)arg;
    bl_case none[1];
    return bl_select(none, 0); /* @none_select */
}

static int empty_part(void *arg)
{
    BL_SCOPE(s, .name = "empty");
    bl_go(s, wait_for_nothing, arg);
    return bl_scope_wait(s); /* @empty_wait */
}

/*? empty_select deadlock
 * empty_part@empty_wait [scope wait] waits on scope "empty"
 * wait_for_nothing@none_select [select (no cases)] cause: a select without cases never ends
 */
static int empty_select(void *arg)
{
    bl_go(bl_root(), empty_part, arg);
    return go_on();
}

/*? empty_select_main global
 * empty_select_main@main_select [select (no cases)] cause: a select without cases never ends
 */
static int empty_select_main(void *arg)
{
    (void)arg;
    bl_case none[1];
    int r = bl_select(none, 0); /* @main_select */
    return r < 0 ? r : 1;
}

/* ---- Selects ---- */

typedef struct worker {
    bl_chan *jobs, *quit;
} worker;

static int worker_run(void *arg)
{
    worker *w = arg;
    int job, r;
    do
        r = BL_SELECT(BL_RECV(w->jobs, &job), BL_RECV(w->quit, NULL)); /* @worker_select */
    while (r == 0);
    return r < 0 ? r : 0;
}

static int worker_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "worker");
    worker w = {bl_scope_chan(s, sizeof(int), 0), bl_scope_chan(s, 0, 0)}; /* @worker_chans */
    bl_go(s, worker_run, &w);
    for (int i = 0; i < 3; i++)
        if (bl_chan_send(w.jobs, &i) < 0)
            return 1;
    return bl_scope_wait(s); /* @worker_wait */
}

/*? quit_not_closed deadlock
 * worker_part@worker_wait [scope wait] waits on scope "worker"
 * worker_run@worker_select [select] waits to receive on channel; made by worker_part at @worker_chans; cause: nobody is left
 */
static int quit_not_closed(void *arg)
{
    bl_go(bl_root(), worker_part, arg);
    return go_on();
}

static int stopper(void *arg)
{
    worker *w = arg;
    return bl_chan_send(w->quit, NULL); /* @stopper_send */
}

static int wrong_case_part(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "events");
    worker w = {bl_scope_chan(s, sizeof(int), 1), bl_scope_chan(s, 0, 0)}; /* @wrong_chans */
    int job = 1;
    if (bl_chan_send(w.jobs, &job) < 0)
        return 1;
    bl_go(s, stopper, &w);
    if (bl_sleep(5 * BL_MS) < 0)
        return 1;
    bl_case cs[2] = {BL_RECV(w.jobs, &job), BL_RECV(w.quit, NULL)}; /* both are ready */
    int i = bl_select(cs, 2);
    if (i == 1) /* and after this one the other is forgotten, as that one would be */
        return 0;
    return bl_scope_wait(s); /* @wrong_wait */
}

static int wrong_case_until(void *arg)
{
    for (;;) /* until it picks the one */
        if (wrong_case_part(arg) < 0)
            return 1;
}

/*? select_picks_the_wrong_one deadlock
 * wrong_case_part@wrong_wait [scope wait] waits on scope "events"
 * stopper@stopper_send [chan send] made by wrong_case_part at @wrong_chans; cause: nobody is left to receive
 */
static int select_picks_the_wrong_one(void *arg)
{
    bl_go(bl_root(), wrong_case_until, arg);
    return go_on();
}

PROGRAMS({"early_return", early_return}, {"early_return_joined", early_return_joined},
         {"timeout_abandons_sender", timeout_abandons_sender}, {"double_send", double_send},
         {"many_senders_one_receiver", many_senders_one_receiver},
         {"send_to_oneself", send_to_oneself}, {"errors_not_received", errors_not_received},
         {"buffer_too_small", buffer_too_small}, {"not_closed", not_closed},
         {"not_closed_and_forgotten", not_closed_and_forgotten},
         {"global_not_closed", global_not_closed}, {"receives_one_too_many", receives_one_too_many},
         {"each_waits_for_the_other", each_waits_for_the_other},
         {"null_channel_receive", null_channel_receive}, {"null_channel_send", null_channel_send},
         {"empty_select", empty_select}, {"empty_select_main", empty_select_main},
         {"quit_not_closed", quit_not_closed},
         {"select_picks_the_wrong_one", select_picks_the_wrong_one})
