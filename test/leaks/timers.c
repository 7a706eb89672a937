/* SPDX-License-Identifier: MIT */
/* Timers and tickers that will not fire; scopes whose opener has returned; a leak in a crowd. */
#include "leaks.h"

/* ---- Tickers and timers ---- */

static int count_ticks(void *arg)
{
    bl_time now;
    int n = 0;
    bl_ticker *t = bl_ticker_new(bl_root(), 5 * BL_MS); /* @own_ticker */
    (void)arg;
    while (bl_chan_recv(bl_ticker_chan(t), &now) == 0) /* @own_tick */
        if (++n == 3)
            bl_ticker_stop(t); /* and on */
    return 0;
}

/*? ticker_stopped_in_its_loop leak
 * count_ticks@own_tick [chan receive] of a ticker, made by count_ticks at @own_ticker; cause: the ticker was stopped, which does not close its channel
 */
static int ticker_stopped_in_its_loop(void *arg)
{
    bl_go(bl_root(), count_ticks, arg);
    return go_on();
}

static int tick_of(void *arg)
{
    bl_time now;
    int r = bl_chan_recv((bl_chan *)arg, &now); /* @tick_of */
    return r;
}

static int stop_and_join(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "ticks");
    bl_ticker *t = bl_ticker_new(s, BL_HOUR); /* @joined_ticker */
    bl_go(s, tick_of, bl_ticker_chan(t));
    bl_ticker_stop(t);
    int r = bl_scope_wait(s); /* @tick_join */
    return r;
}

/*? ticker_stopped_by_who_joins deadlock
 * stop_and_join@tick_join [scope wait] waits on scope "ticks"
 * tick_of@tick_of [chan receive] of a ticker, made by stop_and_join at @joined_ticker; cause: the ticker was stopped
 */
static int ticker_stopped_by_who_joins(void *arg)
{
    bl_go(bl_root(), stop_and_join, arg);
    return go_on();
}

static bl_chan *for_all; /* a global, which whoever runs gets at */

static int send_to_all(void *arg)
{
    (void)arg;
    return bl_chan_send(for_all, &(int){1}); /* @to_all */
}

/*? ticker_that_nobody_receives_from deadlock
 * ticker_that_nobody_receives_from@all_join [scope wait] waits on scope "all"
 * send_to_all@to_all [chan send] made by ticker_that_nobody_receives_from at @all_chan; cause: nobody is left to receive from the channel
 */
static int ticker_that_nobody_receives_from(void *arg)
{
    (void)arg;
    BL_SCOPE(s, .name = "all");
    for_all = bl_scope_chan(s, sizeof(int), 0); /* @all_chan */
    bl_ticker_new(s, 100 * BL_MS);
    bl_go(s, send_to_all, NULL);
    int r = bl_scope_wait(s); /* @all_join */
    return r;
}

static int wait_twice(void *arg)
{
    bl_timer t = {0};
    (void)arg;
    bl_timer_start(&t, BL_MS); /* @once_timer */
    if (bl_chan_recv(bl_timer_chan(&t), NULL) != 0)
        return 1;
    int r = bl_chan_recv(bl_timer_chan(&t), NULL); /* @once_again */
    bl_timer_stop(&t);
    return r;
}

/*? timer_fires_once leak
 * wait_twice@once_again [chan receive] of a timer, made by wait_twice at @once_timer; cause: the timer has fired already, or was stopped
 */
static int timer_fires_once(void *arg)
{
    bl_go(bl_root(), wait_twice, arg);
    return go_on();
}

static int select_stopped(void *arg)
{
    bl_timer t = {0};
    bl_chan *never = arg;
    bl_timer_start(&t, BL_HOUR);
    bl_timer_stop(&t);
    int r = BL_SELECT(BL_RECV(bl_timer_chan(&t), NULL), BL_RECV(never, NULL)); /* @stopped_select */
    bl_chan_release(never);
    return r;
}

static int select_part(void *arg)
{
    bl_chan *never = bl_chan_new(sizeof(int), 0);
    bl_go((bl_scope *)arg, select_stopped, never);
    return 0;
}

/*? select_of_a_stopped_timer leak
 * select_stopped@stopped_select [select] waits to receive on channel; of a timer; cause: nobody is left to serve
 */
static int select_of_a_stopped_timer(void *arg)
{
    (void)arg;
    bl_go(bl_root(), select_part, bl_root());
    return go_on();
}

/* ---- Scopes left open ---- */

static int quick(void *arg) { return arg == NULL; }

__attribute__((noinline)) static int early_return(int *n)
{
    bl_scope s;
    bl_scope_open(&s, &(bl_scope_opts){.name = "early"}); /* @early_open */
    bl_go(&s, quick, n);
    if (*n > 0)
        return bl_scope_wait(&s); /* not closed */
    return bl_scope_close(&s);
}

__attribute__((noinline)) static void use_stack(void)
{
    char room[2048];
    memset(room, 1, sizeof room);
    __asm__ volatile("" : : "r"(room) : "memory");
}

/*? scope_open_in_a_frame_that_is_left said belay: leak: scope left open: &s, opened by early_return at @early_open, and its storage is gone
 */
static int scope_open_in_a_frame_that_is_left(void *arg)
{
    int n = 1;
    (void)arg;
    if (early_return(&n) != 0)
        return 1;
    use_stack();
    return go_on();
}

/*? scope_opened_in_a_loop_and_left fatal belay: scope left open: &s, opened by early_return at @early_open, and opened again
 * early_return@early_open [running]
 */
static int scope_opened_in_a_loop_and_left(void *arg)
{
    (void)arg;
    for (int n = 1; n < 10; n++)
        if (early_return(&n) != 0)
            return 1;
    return 0;
}

/* ---- In a crowd ---- */

enum { CROWD = 1500, CASES = 6 };

static int nap_for_ever(void *arg)
{
    int r;
    bl_dur d = (20 + (bl_dur)(uintptr_t)arg % 100) * BL_MS;
    while ((r = bl_sleep(d)) == 0)
        continue;
    return r;
}

static int send_lost(void *arg)
{
    int v = 1;
    int r = bl_chan_send((bl_chan *)arg, &v); /* @lost_send */
    bl_chan_release(arg);
    return r;
}

static int start_lost(void *arg)
{
    bl_go((bl_scope *)arg, send_lost, bl_chan_new(sizeof(int), 0)); /* @lost_chan */
    return 0;
}

/*? one_of_a_thousand_sleepers leak
 * send_lost@lost_send [chan send] made by start_lost at @lost_chan; cause: nobody is left to receive
 */
static int one_of_a_thousand_sleepers(void *arg)
{
    (void)arg;
    for (uintptr_t i = 0; i < CROWD; i++)
        bl_go(bl_root(), nap_for_ever, (void *)i);
    bl_go(bl_root(), start_lost, bl_root());
    return go_on();
}

typedef struct commands {
    bl_chan *of[CASES];
} commands;

static int serve_commands(void *arg)
{
    commands *c = arg;
    bl_case cases[CASES];
    for (int i = 0; i < CASES; i++)
        cases[i] = BL_RECV(c->of[i], NULL);
    int r = bl_select(cases, CASES);
    return r;
}

/*? one_of_a_thousand_servers leak
 * send_lost@lost_send [chan send] made by start_lost at @lost_chan; cause: nobody is left to receive
 */
static int one_of_a_thousand_servers(void *arg)
{
    static commands all[CROWD]; /* whoever runs gets at them */
    (void)arg;
    for (int i = 0; i < CROWD; i++) {
        for (int k = 0; k < CASES; k++)
            all[i].of[k] = bl_scope_chan(bl_root(), 0, 0);
        bl_go(bl_root(), serve_commands, &all[i]);
    }
    bl_go(bl_root(), start_lost, bl_root());
    return go_on();
}

/* ---- Functions of timers ---- */

typedef struct lease {
    bl_mutex lock;
    bl_timer timer;
    bl_chan *over;
    bl_chan *begun;
} lease;

static int expire_locked(void *arg)
{
    lease *l = arg;
    bl_chan_close(l->begun);
    bl_mutex_lock(&l->lock); /* @expire_lock */
    bl_mutex_unlock(&l->lock);
    return 0;
}

static int stop_locked(void *arg)
{
    lease l = {.over = NULL};
    (void)arg;
    BL_SCOPE(s, .name = "lease");
    l.begun = bl_scope_chan(s, 0, 0);
    bl_mutex_lock(&l.lock);
    if (bl_after_func(&l.timer, s, BL_MS, expire_locked, &l) < 0 || /* @expire_start */
        bl_chan_recv(l.begun, NULL) != BL_ECLOSED)
        return 1;
    bl_timer_stop_wait(&l.timer); /* @stop_wait */
    bl_mutex_unlock(&l.lock);
    return bl_scope_wait(s);
}

/*? timer_is_stopped_with_its_lock deadlock
 * stop_locked@stop_wait [timer stop wait] function of a timer, expire_locked, run by; started by stop_locked at @expire_start; holds sync.Mutex; (expire_locked) runs it, and is itself in sync.Mutex.Lock
 * expire_locked@expire_lock [sync.Mutex.Lock] created by stop_locked in goroutine 2; (stop_locked) holds it, and is itself in timer stop wait
 */
static int timer_is_stopped_with_its_lock(void *arg)
{
    bl_go(bl_root(), stop_locked, arg);
    return go_on();
}

static int expire_closes(void *arg)
{
    bl_chan_close(((lease *)arg)->over);
    return 0;
}

static int wait_over(void *arg)
{
    return bl_chan_recv(((lease *)arg)->over, NULL) != BL_ECLOSED; /* @over_recv */
}

static int lease_part(void *arg)
{
    lease l = {.over = NULL};
    (void)arg;
    BL_SCOPE(s, .name = "lease");
    l.over = bl_scope_chan(s, 0, 0); /* @over_chan */
    if (bl_after_func(&l.timer, s, BL_HOUR, expire_closes, &l) < 0)
        return 1;
    bl_go(s, wait_over, &l);
    bl_timer_stop(&l.timer);
    return bl_scope_wait(s); /* @lease_wait */
}

/*? timer_that_was_to_close_is_stopped deadlock
 * lease_part@lease_wait [scope wait] waits on scope "lease"
 * wait_over@over_recv [chan receive] made by lease_part at @over_chan; cause: nobody is left to send
 */
static int timer_that_was_to_close_is_stopped(void *arg)
{
    bl_go(bl_root(), lease_part, arg);
    return go_on();
}

PROGRAMS({"ticker_stopped_in_its_loop", ticker_stopped_in_its_loop},
         {"ticker_stopped_by_who_joins", ticker_stopped_by_who_joins},
         {"timer_fires_once", timer_fires_once},
         {"select_of_a_stopped_timer", select_of_a_stopped_timer},
         {"scope_open_in_a_frame_that_is_left", scope_open_in_a_frame_that_is_left},
         {"scope_opened_in_a_loop_and_left", scope_opened_in_a_loop_and_left},
         {"one_of_a_thousand_sleepers", one_of_a_thousand_sleepers},
         {"one_of_a_thousand_servers", one_of_a_thousand_servers},
         {"timer_is_stopped_with_its_lock", timer_is_stopped_with_its_lock},
         {"timer_that_was_to_close_is_stopped", timer_that_was_to_close_is_stopped},
         {"ticker_that_nobody_receives_from", ticker_that_nobody_receives_from})
