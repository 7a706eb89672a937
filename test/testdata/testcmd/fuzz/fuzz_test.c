/* SPDX-License-Identifier: MIT */
/* fuzz_test.c: fuzz targets with something to be found; test/testcmd_test.sh has it looked for. */
#include <belay/test.h>

#include <stdlib.h>
#include <string.h>

/* As some parser could. */
static bool trips(const uint8_t *data, size_t size)
{
    return size >= 3 && memcmp(data, "fuz", 3) == 0;
}

BL_FUZZ(checks) { BL_CHECK(t, !trips(data, size)); }

BL_FUZZ(crashes)
{
    if (trips(data, size))
        abort();
}

typedef struct text {
    const uint8_t *data;
    size_t size;
    bl_chan *to;
} text;

static int letters_send(void *arg)
{
    const text *in = arg;
    for (size_t i = 0; i < in->size; i++) {
        int err = bl_chan_send(in->to, &in->data[i]);
        if (err)
            return err;
    }
    bl_chan_close(in->to);
    return 0;
}

/* Stops to receive at the wrong letter: who sends then is stuck. */
BL_FUZZ(hangs)
{
    BL_SCOPE(s);
    text in = {data, size, bl_scope_chan(s, 1, 0)};
    bl_go(s, letters_send, &in);
    uint8_t c = 0;
    for (size_t i = 0; bl_chan_recv(in.to, &c) == 0; i++)
        if (c == '!' && i == 1)
            break;
    BL_CHECK_EQ(t, bl_scope_wait(s), 0);
}

BL_FUZZ(passes) { BL_CHECK(t, data != NULL || size == 0); }

BL_FUZZ(late)
{
    while (data != NULL || size == 0)
        BL_CHECK_EQ(t, bl_sleep(BL_MS), 0);
}
