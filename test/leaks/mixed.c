/* SPDX-License-Identifier: MIT */
/* Locks held where a channel, a condition, a join is waited for whose other side needs the lock. */
#include "leaks.h"

typedef struct room {
    bl_mutex lock;
    bl_rwmutex members;
    bl_chan *messages;
    bl_cond change;
    bl_waitgroup wg;
    bl_sem slots;
    _Atomic bool taken; /* that the one who is to be first has the lock */
    int count;
} room;

/* ---- A channel ---- */

static int speak(void *arg)
{
    room *r = arg;
    int m = 1;
    bl_mutex_lock(&r->lock);
    r->taken = true;
    int err = bl_chan_send(r->messages, &m); /* @speak_send */
    bl_mutex_unlock(&r->lock);
    return err;
}

static int listen_to(void *arg)
{
    room *r = arg;
    int m, err = 0;
    while (!r->taken)
        bl_yield();
    bl_mutex_lock(&r->lock); /* @listen_lock */
    err = err < 0 ? err : bl_chan_recv(r->messages, &m);
    bl_mutex_unlock(&r->lock);
    return err;
}

static int speak_part(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s, .name = "room");
    r.messages = bl_scope_chan(s, sizeof(int), 0); /* @speak_chan */
    bl_go(s, speak, &r);
    bl_go(s, listen_to, &r);
    return bl_scope_wait(s); /* @speak_wait */
}

/*? held_across_a_send deadlock
 * speak_part@speak_wait [scope wait] waits on scope "room"
 * speak@speak_send [chan send] made by speak_part at @speak_chan; holds sync.Mutex; cause: nobody is left to receive
 * listen_to@listen_lock [sync.Mutex.Lock] held by goroutine 3; cause: goroutine 3 (speak) holds it, and is itself in chan send
 */
static int held_across_a_send(void *arg)
{
    bl_go(bl_root(), speak_part, arg);
    return go_on();
}

static int take_message(void *arg)
{
    room *r = arg;
    int m;
    bl_rwmutex_lock(&r->members);
    r->taken = true;
    int err = bl_chan_recv(r->messages, &m); /* @take_recv */
    bl_rwmutex_unlock(&r->members);
    return err;
}

static int put_message(void *arg)
{
    room *r = arg;
    int m = 1, err = 0;
    while (!r->taken)
        bl_yield();
    bl_rwmutex_rlock(&r->members); /* @put_rlock */
    err = err < 0 ? err : bl_chan_send(r->messages, &m);
    bl_rwmutex_runlock(&r->members);
    return err;
}

/*? held_across_a_receive global
 * held_across_a_receive@take_wait [scope wait] waits on scope "s"
 * take_message@take_recv [chan receive] made by held_across_a_receive at @take_chan; holds sync.RWMutex
 * put_message@put_rlock [sync.RWMutex.RLock] held by goroutine 2; cause: goroutine 2 (take_message) holds it, and is itself in chan receive
 */
static int held_across_a_receive(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s);
    r.messages = bl_scope_chan(s, sizeof(int), 0); /* @take_chan */
    bl_go(s, take_message, &r);
    bl_go(s, put_message, &r);
    return bl_scope_wait(s); /* @take_wait */
}

static int publish(room *r, int m)
{
    bl_mutex_lock(&r->lock);                 /* @select_publish_lock */
    int err = bl_chan_send(r->messages, &m); /* @publish_send */
    r->count++;
    bl_mutex_unlock(&r->lock);
    return err;
}

static int on_message(void *arg)
{
    room *r = arg;
    int m;
    while (bl_chan_recv(r->messages, &m) == 0)
        if (m > 0 && publish(r, m - 1) < 0) /* to itself */
            return 1;
    return 0;
}

static int event_loop(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s, .name = "loop");
    r.messages = bl_scope_chan(s, sizeof(int), 0); /* @loop_chan */
    bl_go(s, on_message, &r);
    if (publish(&r, 3) < 0)
        return 1;
    return bl_scope_wait(s); /* @loop_wait */
}

/*? handler_sends_to_itself deadlock
 * event_loop@loop_wait [scope wait] waits on scope "loop"
 * publish@publish_send [chan send] made by event_loop at @loop_chan; holds sync.Mutex; cause: nobody is left to receive
 */
static int handler_sends_to_itself(void *arg)
{
    bl_go(bl_root(), event_loop, arg);
    return go_on();
}

static int select_with_lock(void *arg)
{
    room *r = arg;
    int m;
    bl_chan *tick = bl_chan_new(sizeof(int), 0);
    bl_mutex_lock(&r->lock);
    int i = BL_SELECT(BL_RECV(r->messages, &m), BL_RECV(tick, &m)); /* @locked_select */
    bl_mutex_unlock(&r->lock);
    bl_chan_release(tick);
    return i < 0 ? i : 0;
}

static int select_part(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s, .name = "select");
    r.messages = bl_scope_chan(s, sizeof(int), 0); /* @select_chan */
    bl_go(s, select_with_lock, &r);
    if (until_waiting(2) < 0) /* it and the main goroutine */
        return 1;
    return publish(&r, 1);
}

/*? held_across_a_select deadlock
 * publish@select_publish_lock [sync.Mutex.Lock] held by goroutine 3
 * select_with_lock@locked_select [select] made by select_part at @select_chan; holds sync.Mutex
 */
static int held_across_a_select(void *arg)
{
    bl_go(bl_root(), select_part, arg);
    return go_on();
}

/* ---- Conditions, joins and the rest ---- */

static int wait_with_two(void *arg)
{
    room *r = arg;
    bl_mutex outer = {0};
    bl_rwmutex_lock(&r->members);
    bl_mutex_lock(&r->lock);
    while (r->count == 0)
        if (bl_cond_wait(&r->change, &r->lock) < 0) /* @two_wait */
            break;
    bl_mutex_unlock(&r->lock);
    bl_rwmutex_unlock(&r->members);
    return outer.bl__word != 0;
}

static int change_count(void *arg)
{
    room *r = arg;
    if (until_waiting(3) < 0) /* all others */
        return 1;
    bl_rwmutex_lock(&r->members); /* @change_lock */
    bl_mutex_lock(&r->lock);
    r->count++;
    bl_cond_signal(&r->change);
    bl_mutex_unlock(&r->lock);
    bl_rwmutex_unlock(&r->members);
    return 0;
}

static int two_part(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s, .name = "two");
    bl_go(s, wait_with_two, &r);
    bl_go(s, change_count, &r);
    return bl_scope_wait(s); /* @two_join */
}

/*? waits_with_another_lock deadlock
 * two_part@two_join [scope wait] waits on scope "two"
 * wait_with_two@two_wait [sync.Cond.Wait] holds sync.RWMutex; cause: nobody is left to signal it
 * change_count@change_lock [sync.RWMutex.Lock] held by goroutine 3; cause: goroutine 3 (wait_with_two) holds it, and is itself in sync.Cond.Wait
 */
static int waits_with_another_lock(void *arg)
{
    bl_go(bl_root(), two_part, arg);
    return go_on();
}

static int needs_lock(void *arg)
{
    room *r = arg;
    bl_mutex_lock(&r->lock); /* @needs_lock */
    r->count++;
    bl_mutex_unlock(&r->lock);
    bl_waitgroup_done(&r->wg);
    return 0;
}

static int join_with_lock(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s, .name = "members");
    bl_mutex_lock(&r.lock);
    for (int i = 0; i < 3; i++)
        bl_go(s, needs_lock, &r);
    bl_waitgroup_add(&r.wg, 3);
    int err = bl_scope_wait(s); /* @join_wait */
    bl_mutex_unlock(&r.lock);
    return err;
}

/*? held_across_a_join deadlock
 * join_with_lock@join_wait [scope wait] holds sync.Mutex; cause: it joins goroutines of which none can end
 * needs_lock@needs_lock [sync.Mutex.Lock] cause: goroutine 2 (join_with_lock) holds it, and is itself in scope wait; and 2 more
 */
static int held_across_a_join(void *arg)
{
    bl_go(bl_root(), join_with_lock, arg);
    return go_on();
}

static int group_with_lock(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s, .name = "group");
    bl_waitgroup_add(&r.wg, 1);
    bl_mutex_lock(&r.lock);
    bl_go(s, needs_lock, &r);
    int err = bl_waitgroup_wait(&r.wg); /* @group_wait */
    bl_mutex_unlock(&r.lock);
    return err;
}

/*? held_across_a_wait_group global
 * group_with_lock@group_wait [sync.WaitGroup.Wait] (count 1); holds sync.Mutex
 * needs_lock@needs_lock [sync.Mutex.Lock] held by goroutine 1
 */
static int held_across_a_wait_group(void *arg) { return group_with_lock(arg); }

static int takes_slot_then_lock(void *arg)
{
    room *r = arg;
    if (bl_sem_acquire(&r->slots, 1) < 0)
        return 1;
    bl_waitgroup_done(&r->wg);
    int err = bl_waitgroup_wait(&r->wg);
    bl_mutex_lock(&r->lock); /* @slot_lock */
    bl_mutex_unlock(&r->lock);
    bl_sem_release(&r->slots, 1);
    return err;
}

static int takes_lock_then_slot(void *arg)
{
    room *r = arg;
    bl_mutex_lock(&r->lock);
    bl_waitgroup_done(&r->wg);
    int err = bl_waitgroup_wait(&r->wg);
    err = err < 0 ? err : bl_sem_acquire(&r->slots, 1); /* @lock_slot */
    bl_mutex_unlock(&r->lock);
    return err;
}

static int slots_part(void *arg)
{
    (void)arg;
    room r = {.count = 0};
    BL_SCOPE(s, .name = "slots");
    bl_sem_init(&r.slots, 1);
    bl_waitgroup_add(&r.wg, 2);
    bl_go(s, takes_slot_then_lock, &r);
    bl_go(s, takes_lock_then_slot, &r);
    return bl_scope_wait(s); /* @slots_wait */
}

/*? lock_and_semaphore deadlock
 * slots_part@slots_wait [scope wait] waits on scope "slots"
 * takes_slot_then_lock@slot_lock [sync.Mutex.Lock] held by goroutine 4
 * takes_lock_then_slot@lock_slot [semaphore] (0 free); holds sync.Mutex; cause: nobody is left to release it
 */
static int lock_and_semaphore(void *arg)
{
    bl_go(bl_root(), slots_part, arg);
    return go_on();
}

PROGRAMS({"held_across_a_send", held_across_a_send},
         {"held_across_a_receive", held_across_a_receive},
         {"handler_sends_to_itself", handler_sends_to_itself},
         {"held_across_a_select", held_across_a_select},
         {"waits_with_another_lock", waits_with_another_lock},
         {"held_across_a_join", held_across_a_join},
         {"held_across_a_wait_group", held_across_a_wait_group},
         {"lock_and_semaphore", lock_and_semaphore})
