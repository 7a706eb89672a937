/* SPDX-License-Identifier: MIT */
/*
 * shapes.h: more programs of cases.c: what a compiler or a C library could hide from the race
 * detector, and shapes of Go's own race tests that cross several edges.
 */

/* ---- What the compiler makes of it ---- */

static int stored_only; /* nobody reads it: an optimiser takes the stores away */
static int stores(void *arg)
{
    (void)arg;
    stored_only = 1;
    said();
    return 0;
}
CASE(stored_and_never_read)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, stores, NULL));
    await();
    stored_only = 2;
    return bl_scope_wait(s);
}

static int only_one_value; /* always 0 or 1: an optimiser knows what the comparison below gives */
static int sets_one(void *arg)
{
    (void)arg;
    only_one_value = 1;
    said();
    return 0;
}
CASE(read_and_known)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, sets_one, NULL));
    await();
    int unused = only_one_value;
    (void)unused;
    return bl_scope_wait(s);
}

/* The variables of the goroutine that opens the scope: its fields and elements, not only its scalars. */
typedef struct frame {
    bl_mutex mutex;
    int field, other;
    int elements[4];
} frame;
static int uses_field(void *arg)
{
    frame *f = arg;
    f->field++;
    f->elements[2]++;
    said();
    return 0;
}
CASE(field_of_a_local)
{
    frame f = {.field = 0};
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, uses_field, &f));
    await();
    f.field = 2;
    return bl_scope_wait(s);
}
CASE(field_of_a_local_read)
{
    frame f = {.field = 0};
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, uses_field, &f));
    await();
    int got = f.field;
    MUST(bl_scope_wait(s));
    return got == 2;
}
CASE(element_of_a_local)
{
    frame f = {.field = 0};
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, uses_field, &f));
    await();
    f.elements[2] = 2;
    return bl_scope_wait(s);
}
CASE(other_field_of_a_local)
{
    frame f = {.field = 0};
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, uses_field, &f));
    f.other = 2;
    f.elements[1] = f.elements[3] = 2;
    MUST(bl_scope_wait(s));
    return f.field + f.elements[2] - 2;
}

static struct {
    unsigned low : 3, high : 5;
} bits;
static int sets_low(void *arg)
{
    (void)arg;
    bits.low = 1;
    said();
    return 0;
}
CASE(neighbours_in_a_byte)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, sets_low, NULL));
    await();
    bits.high = 2;
    return bl_scope_wait(s);
}

static union {
    uint32_t word;
    unsigned char bytes[4];
} parts;
static int sets_word(void *arg)
{
    (void)arg;
    parts.word = 0x01020304;
    said();
    return 0;
}
CASE(byte_of_a_word)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, sets_word, NULL));
    await();
    parts.bytes[2] = 9;
    return bl_scope_wait(s);
}
static int sets_byte(void *arg)
{
    unsigned char *byte = arg;
    for (int i = 0; i < 20; i++)
        (*byte)++;
    return 0;
}
CASE(bytes_of_a_word)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 4; i++)
        MUST(bl_go(s, sets_byte, &parts.bytes[i]));
    return bl_scope_wait(s);
}

/* Both halves of a word are sent, and one is written beside that. What ThreadSanitizer keeps of a word is four accesses. */
static int halves[2];
static int sends_half(void *arg)
{
    MUST(bl_chan_send(chan, (int *)arg));
    said();
    return 0;
}
static int halves_sent(int *written)
{
    JOINED(s);
    chan_4();
    MUST(bl_go(s, sends_half, &halves[0]));
    await();
    MUST(bl_chan_send(chan, &halves[1]));
    *written = 1;
    return bl_scope_wait(s);
}
CASE(half_sent_and_written)
{
    UNUSED;
    return halves_sent(&halves[0]);
}
CASE(half_sent_other_written)
{
    UNUSED;
    return halves_sent(&halves[1]);
}

static int asks_index(void *arg)
{
    int index = *(int *)arg;
    said();
    return index < 0;
}
CASE(loop_variable)
{
    int i = 0;
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, asks_index, &i));
    await();
    i++;
    return bl_scope_wait(s);
}

/* ---- What the C library does with it ---- */

static int numbers[16];
static int number_compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}
static int sorts(void *arg)
{
    (void)arg;
    qsort(numbers, 16, sizeof *numbers, number_compare);
    said();
    return 0;
}
CASE(sorted_and_written)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, sorts, NULL));
    await();
    numbers[7] = 1;
    return bl_scope_wait(s);
}

static int formats(void *arg)
{
    snprintf(words, sizeof words, "%p and more", arg);
    said();
    return 0;
}
CASE(formatted_and_read)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, formats, s));
    await();
    int got = words[3];
    MUST(bl_scope_wait(s));
    return got == 1;
}

static int reads_block(void *arg)
{
    int got = *(int *)arg;
    said();
    return got == 1;
}
CASE(block_freed_after_a_read)
{
    int *block = calloc(1, sizeof *block);
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, reads_block, block));
    await();
    free(block);
    return bl_scope_wait(s);
}

CASE(block_read_and_written)
{
    int *block = calloc(1, sizeof *block);
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, reads_block, block));
    await();
    *block = 2;
    MUST(bl_scope_wait(s));
    free(block);
    return 0;
}

typedef struct counted_block {
    bl_mutex mutex;
    int users, data;
} counted_block;
static int drops(void *arg)
{
    counted_block *b = arg;
    bl_mutex_lock(&b->mutex);
    b->data++;
    bool last = --b->users == 0;
    bl_mutex_unlock(&b->mutex);
    if (last)
        free(b);
    return 0;
}
CASE(last_user_frees)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 10; i++) {
        counted_block *b = calloc(1, sizeof *b);
        b->users = 3;
        for (int user = 0; user < 3; user++)
            MUST(bl_go(s, drops, b));
    }
    return bl_scope_wait(s);
}

/* ---- What is no edge ---- */

static int sends_one(void *arg)
{
    int n = 1;
    touch();
    MUST(bl_chan_send(arg, &n));
    return 0;
}
CASE(length_is_polled)
{
    UNUSED;
    JOINED(s);
    chan_1();
    MUST(bl_go(s, sends_one, chan));
    while (bl_chan_len(chan) == 0)
        MUST(bl_sleep(100 * BL_US));
    touch();
    return bl_scope_wait(s);
}
CASE(jobs_are_counted)
{
    bl_pool_stat stat;
    UNUSED;
    JOINED(s);
    bl_pool *jobs = bl_pool_new(s, &(bl_pool_opts){.workers = 2});
    MUST(bl_pool_submit(jobs, toucher, NULL));
    do {
        MUST(bl_sleep(100 * BL_US));
        bl_pool_stats(jobs, &stat);
    } while (stat.done == 0);
    touch();
    return bl_pool_drain(jobs);
}
CASE(goroutines_are_counted)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, toucher, NULL));
    while (bl_goroutines() > 1)
        MUST(bl_sleep(100 * BL_US));
    touch();
    return bl_scope_wait(s);
}

/* ---- Across several ---- */

static int slots[8];
static int fills_and_receives(void *arg)
{
    *(int *)arg = 1;
    MUST(bl_chan_recv(chan, NULL));
    return 0;
}
CASE(channel_as_group)
{
    int sum = 0;
    UNUSED;
    JOINED(s);
    chan = bl_chan_new(0, 4);
    for (int i = 0; i < 8; i++) {
        MUST(bl_chan_send(chan, NULL));
        MUST(bl_go(s, fills_and_receives, &slots[i]));
    }
    for (int i = 0; i < 4; i++)
        MUST(bl_chan_send(chan, NULL));
    for (int i = 0; i < 8; i++)
        sum += slots[i];
    MUST(bl_scope_wait(s));
    return sum - 8;
}

static int receives_and_fills(void *arg)
{
    MUST(bl_chan_recv(chan, NULL));
    *(int *)arg = 1;
    said();
    return 0;
}
CASE(channel_as_group_too_early)
{
    UNUSED;
    JOINED(s);
    chan = bl_chan_new(0, 1);
    MUST(bl_chan_send(chan, NULL));
    MUST(bl_go(s, receives_and_fills, &slots[0]));
    MUST(bl_chan_send(chan, NULL));
    await();
    int got = slots[0];
    MUST(bl_scope_wait(s));
    return got - 1;
}

static int selects_to_lock(void *arg)
{
    for (int i = 0; i < 20; i++) {
        MUST(BL_SELECT(BL_SEND(chan, NULL), BL_RECV(relay, NULL)));
        touch();
        MUST(BL_SELECT(BL_RECV(chan, NULL), BL_RECV(relay, NULL)));
    }
    return arg != NULL;
}
CASE(channel_as_mutex_in_selects)
{
    UNUSED;
    JOINED(s);
    chan_empty();
    relay = bl_chan_new(0, 0);
    for (int i = 0; i < 3; i++)
        MUST(bl_go(s, selects_to_lock, NULL));
    return bl_scope_wait(s);
}

static int made, is_made; /* the second atomic, or not */
static int makes_once(void *arg)
{
    bool atomically = arg != NULL;
    if (atomically ? !__atomic_load_n(&is_made, __ATOMIC_ACQUIRE) : !is_made) {
        bl_mutex_lock(&mutex);
        if (!__atomic_load_n(&is_made, __ATOMIC_RELAXED)) {
            made = 4;
            __atomic_store_n(&is_made, 1, __ATOMIC_RELEASE);
        }
        bl_mutex_unlock(&mutex);
    }
    said();
    return made - 4;
}
CASE(checked_twice)
{
    UNUSED;
    JOINED(s);
    for (int i = 0; i < 4; i++)
        MUST(bl_go(s, makes_once, s));
    return bl_scope_wait(s);
}
CASE(checked_twice_without_atomics)
{
    UNUSED;
    JOINED(s);
    MUST(bl_go(s, makes_once, NULL));
    await();
    MUST(bl_go(s, makes_once, NULL));
    return bl_scope_wait(s);
}

static int starts_elsewhere(void *arg)
{
    MUST(bl_go(arg, toucher, NULL));
    return 0;
}
CASE(grandchild_is_not_joined)
{
    UNUSED;
    BL_SCOPE(elsewhere);
    {
        JOINED(s);
        MUST(bl_go(s, starts_elsewhere, elsewhere));
        MUST(bl_scope_wait(s));
    }
    touch();
    return bl_scope_wait(elsewhere);
}
