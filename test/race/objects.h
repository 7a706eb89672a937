/* SPDX-License-Identifier: MIT */
/*
 * objects.h: more programs of cases.c: what the library does to the program's own memory, at the
 * place of the call, and not of a wrapper below it (race_test.sh looks at the reports).
 */

static char bytes[8];
static struct sockaddr_storage peer;

/* The first is under way, or over, when the second begins; nothing orders them. */
static int beside(bl_fn first, bl_fn second)
{
    JOINED(s);
    MUST(bl_go(s, first, NULL));
    MUST(bl_sleep(3 * BL_MS));
    return second(NULL);
}

static int cond_user(void *arg)
{
    (void)arg;
    bl_cond_signal(&cond);
    return 0;
}
static int cond_clearer(void *arg)
{
    (void)arg;
    memset(&cond, 0, sizeof cond);
    return 0;
}
CASE(cond_overwritten)
{
    UNUSED;
    return beside(cond_user, cond_clearer);
}

static int timer_user(void *arg)
{
    (void)arg;
    MUST(bl_timer_start(&timer, BL_HOUR));
    (void)bl_timer_stop(&timer);
    return 0;
}
static int timer_clearer(void *arg)
{
    (void)arg;
    memset(&timer, 0, sizeof timer);
    return 0;
}
CASE(timer_overwritten)
{
    UNUSED;
    return beside(timer_user, timer_clearer);
}
/* Its storage is used again when it has been stopped, and in its function. */
static int timer_ended(void *arg)
{
    (void)arg;
    memset(&timer, 0, sizeof timer);
    return 0;
}
CASE(timer_again)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 3; i++) {
        MUST(timer_user(NULL));
        MUST(timer_clearer(NULL));
    }
    MUST(bl_after_func(&timer, s, BL_MS, timer_ended, NULL));
    return 0;
}

/* Stopped while it is pending: since its function has started it anew, that is done with it. */
static int timer_resets(void *arg)
{
    (void)bl_timer_reset(&timer, BL_HOUR);
    __atomic_store_n((int *)arg, 1, __ATOMIC_RELAXED); /* no edge */
    return 0;
}
static int timer_of_itself(bool (*stop)(bl_timer *t))
{
    int reset = 0;
    JOINED(s);
    MUST(bl_after_func(&timer, s, 1, timer_resets, &reset));
    while (__atomic_load_n(&reset, __ATOMIC_RELAXED) == 0)
        bl_yield();
    MUST(stop(&timer) ? 0 : -1);
    return timer_clearer(NULL);
}
CASE(timer_of_itself_stopped)
{
    UNUSED;
    return timer_of_itself(bl_timer_stop);
}
CASE(timer_of_itself_awaited)
{
    UNUSED;
    return timer_of_itself(bl_timer_stop_wait);
}

static int sem_user(void *arg)
{
    (void)arg;
    bl_sem_release(&sem, 1);
    return 0;
}
static int sem_maker(void *arg)
{
    (void)arg;
    bl_sem_init(&sem, 1);
    return 0;
}
CASE(sem_made_in_use)
{
    UNUSED;
    return beside(sem_user, sem_maker);
}
/* Who has acquired what was released may make it anew. */
CASE(sem_again)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 3; i++) {
        bl_sem_init(&sem, 0);
        MUST(bl_go(s, sem_user, NULL));
        MUST(bl_sem_acquire(&sem, 1));
    }
    return 0;
}

static void pair_new(int type) { MUST(socketpair(AF_UNIX, type, 0, ends)); }
static int bytes_writer(void *arg)
{
    (void)arg;
    bytes[2] = 1;
    return 0;
}
static int read_user(void *arg)
{
    (void)arg;
    MUST(bl_read(ends[0], bytes, sizeof bytes));
    return 0;
}
static int recvfrom_user(void *arg)
{
    (void)arg;
    MUST(bl_recvfrom(ends[0], bytes, sizeof bytes, 0, NULL, NULL));
    return 0;
}
static int write_user(void *arg)
{
    (void)arg;
    MUST(bl_write(ends[0], bytes, sizeof bytes));
    return 0;
}
static int sendto_user(void *arg)
{
    (void)arg;
    MUST(bl_sendto(ends[0], bytes, sizeof bytes, 0, NULL, 0));
    return 0;
}
CASE(read_into_shared)
{
    UNUSED;
    pair_new(SOCK_STREAM);
    MUST(bl_write(ends[1], "1234", 4));
    return beside(read_user, bytes_writer);
}
CASE(received_into_shared)
{
    UNUSED;
    pair_new(SOCK_DGRAM);
    MUST(bl_write(ends[1], "1234", 4));
    return beside(recvfrom_user, bytes_writer);
}
CASE(written_from_shared)
{
    UNUSED;
    pair_new(SOCK_STREAM);
    return beside(write_user, bytes_writer);
}
CASE(sent_from_shared)
{
    UNUSED;
    pair_new(SOCK_DGRAM);
    return beside(sendto_user, bytes_writer);
}

/* The address that a call fills in: as much as there is, and no more. */
static int address_user(void *arg)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX}; /* bound to a name of the kernel's choice */
    socklen_t len = sizeof peer;
    (void)arg;
    pair_new(SOCK_DGRAM);
    MUST(bind(ends[1], (struct sockaddr *)&at, sizeof at.sun_family));
    MUST(bl_write(ends[1], "1234", 4));
    MUST(bl_recvfrom(ends[0], bytes, sizeof bytes, 0, (struct sockaddr *)&peer, &len));
    return 0;
}
static int address_writer(void *arg)
{
    (void)arg;
    peer.ss_family = 0;
    return 0;
}
static int behind_address_writer(void *arg)
{
    (void)arg;
    ((char *)&peer)[sizeof peer - 1] = 1;
    return 0;
}
CASE(address_is_written)
{
    UNUSED;
    return beside(address_user, address_writer);
}
CASE(behind_the_address)
{
    UNUSED;
    return beside(address_user, behind_address_writer);
}
