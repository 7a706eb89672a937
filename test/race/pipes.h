/* SPDX-License-Identifier: MIT */
/* pipes.h: more programs of cases.c: whose goroutines meet at a pipe in memory. */

static bl_pipe *pipe_ends[2];
static int counted; /* what is read into */

static int pipe_touch_write(void *arg)
{
    (void)arg;
    touch();
    MUST(bl_pipe_write(pipe_ends[0], "1234", 4) - 4);
    return 0;
}
static int pipe_write_touch(void *arg)
{
    (void)arg;
    MUST(bl_pipe_write(pipe_ends[0], "1234", 4) - 4);
    touch();
    return 0;
}
static int pipe_read_counted(void *arg)
{
    (void)arg;
    MUST(bl_pipe_read(pipe_ends[1], &counted, sizeof counted) - 4);
    return 0;
}
static int pipe_close_touch(void *arg)
{
    touch();
    MUST(bl_pipe_close(arg));
    return 0;
}

CASE(pipe_write_to_read)
{
    char buf[4];
    UNUSED;
    JOINED(s);
    MUST(bl_pipe_new(&pipe_ends[0], &pipe_ends[1]));
    MUST(bl_go(s, pipe_touch_write, NULL));
    MUST(bl_pipe_read(pipe_ends[1], buf, 4) - 4);
    touch();
    return 0;
}
CASE(pipe_read_to_written)
{
    char buf[4];
    UNUSED;
    JOINED(s);
    MUST(bl_pipe_new(&pipe_ends[0], &pipe_ends[1]));
    MUST(bl_go(s, pipe_write_touch, NULL));
    touch();
    MUST(bl_pipe_read(pipe_ends[1], buf, 4) - 4);
    return 0;
}
static char offered[4];
static int pipe_write_offered(void *arg)
{
    (void)arg;
    MUST(bl_pipe_write(pipe_ends[0], offered, sizeof offered) - 4);
    return 0;
}
CASE(pipe_write_overwritten)
{
    char buf[4];
    UNUSED;
    JOINED(s);
    MUST(bl_pipe_new(&pipe_ends[0], &pipe_ends[1]));
    MUST(bl_go(s, pipe_write_offered, NULL));
    MUST(bl_sleep(3 * BL_MS));
    offered[0] = 1;
    MUST(bl_pipe_read(pipe_ends[1], buf, 4) - 4);
    return 0;
}
CASE(pipe_written_and_read)
{
    char buf[4];
    UNUSED;
    JOINED(s);
    MUST(bl_pipe_new(&pipe_ends[0], &pipe_ends[1]));
    MUST(bl_go(s, pipe_write_touch, NULL));
    MUST(bl_pipe_read(pipe_ends[1], buf, 4) - 4);
    touch();
    return 0;
}
CASE(pipe_reads_into_it)
{
    UNUSED;
    JOINED(s);
    MUST(bl_pipe_new(&pipe_ends[0], &pipe_ends[1]));
    MUST(bl_go(s, pipe_read_counted, NULL));
    counted++;
    MUST(bl_pipe_write(pipe_ends[0], "1234", 4) - 4);
    counted++;
    return 0;
}
CASE(pipe_reads_into_anothers)
{
    UNUSED;
    JOINED(s);
    MUST(bl_pipe_new(&pipe_ends[0], &pipe_ends[1]));
    MUST(bl_go(s, pipe_read_counted, NULL));
    MUST(bl_go(s, pipe_touch_write, NULL));
    counted++;
    return bl_scope_wait(s); /* before it cancels them */
}
CASE(pipe_close_to_end)
{
    char c;
    UNUSED;
    JOINED(s);
    MUST(bl_pipe_new(&pipe_ends[0], &pipe_ends[1]));
    MUST(bl_go(s, pipe_close_touch, pipe_ends[0]));
    MUST(bl_pipe_read(pipe_ends[1], &c, 1));
    touch();
    return 0;
}
