/* SPDX-License-Identifier: MIT */
/*
 * sample.c: see sample.h.
 *
 * The kernel's sampling profiler has it, perf_event_open(2): of a thread of one's own process and
 * without the kernel's side it is anybody's, unless perf_event_paranoid is above 2. The registers
 * and the stack are of one instant. No signal is involved.
 *
 * A filter of system calls, which may be one thread's, may kill who calls what is not on its list,
 * and profilers seldom are: so where the caller has one it is not tried.
 */
#include "debug/sample.h"

#include <linux/perf_event.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/syscall.h"
#include "core/atomic.h"
#include "core/sched.h"
#include "os/os.h"

enum {
    SAMPLE_PERIOD = 100000,   /* ns of the thread's CPU time */
    SAMPLE_PATIENCE = 100,    /* ms */
    SAMPLE_STACK = 60 * 1024, /* bytes; a record has less than 64 KiB */
    SAMPLE_PAGES = 32         /* of the ring: a power of two */
};

/* The kernel's order of registers, by DWARF's numbers. */
#if defined(__x86_64__)
static const uint8_t sample_order[] = {0, 3, 2,  1,  4,  5,  BL__REG_FP, BL__REG_SP, BL__REG_PC,
                                       8, 9, 10, 11, 12, 13, 14,         15};
#define SAMPLE_REGISTERS 0xff01ffull /* without flags and segments */
#else
static const uint8_t sample_order[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                       11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                       22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
#define SAMPLE_REGISTERS 0x1ffffffffull
#endif

static int sampler_open(int tid)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof attr,
                                   .config = PERF_COUNT_SW_CPU_CLOCK,
                                   .sample_period = SAMPLE_PERIOD,
                                   .sample_type = PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER,
                                   .sample_regs_user = SAMPLE_REGISTERS,
                                   .sample_stack_user = SAMPLE_STACK,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1,
                                   .wakeup_events = 1};
    if (bl__debug_setting_or("sample", 1) == 0 || bl__thread_is_filtered(bl__thread_id()))
        return -1;
    return (int)bl__syscall6(SYS_perf_event_open, (long)&attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC,
                             0);
}

/* The first words of a record. */
typedef struct sample_head {
    struct perf_event_header header;
    uint64_t abi;
    uint64_t regs[sizeof sample_order];
    uint64_t stack_size;
} sample_head;

/* Of a sample: those registers, that size, the stack, and how much of that there was. */
static ssize_t sample_read(bl__regs *regs, char *stack, size_t room, const char *record)
{
    sample_head s;
    uint64_t n;
    memcpy(&s, record, sizeof s);
    if (s.abi != PERF_SAMPLE_REGS_ABI_64 || s.header.size < sizeof s + sizeof n ||
        s.stack_size > s.header.size - sizeof s - sizeof n)
        return -1;
    memcpy(&n, record + sizeof s + s.stack_size, sizeof n);
    n = n < s.stack_size ? n : s.stack_size;
    n = n < room ? n : room;
    for (size_t i = 0; i < sizeof sample_order; i++)
        regs->r[sample_order[i]] = s.regs[i];
    if (n > 0)
        memcpy(stack, record + sizeof s, n);
    return (ssize_t)n;
}

static bool sample_wait(int fd, int tid)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = 0;
    for (int i = 0; i < SAMPLE_PATIENCE && ready == 0; i++) {
        ready = poll(&wait, 1, 1);
        if (ready == 0 && !bl__thread_runs(tid))
            return false;
    }
    return ready == 1;
}

ssize_t bl__sample_take(bl__regs *regs, char *stack, size_t room, int tid)
{
    ssize_t n = -1;
    int fd = sampler_open(tid);
    if (fd < 0)
        return -1;
    long page = sysconf(_SC_PAGESIZE);
    size_t bytes = (size_t)page * (SAMPLE_PAGES + 1);
    char *ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring != MAP_FAILED && sample_wait(fd, tid)) {
        const struct perf_event_mmap_page *control = (void *)ring;
        struct perf_event_header first;
        uint64_t head = load_relaxed(&control->data_head); /* poll(2) saw it */
        memcpy(&first, ring + page, sizeof first);
        if (head >= first.size && first.type == PERF_RECORD_SAMPLE)
            n = sample_read(regs, stack, room, ring + page);
    }
    if (ring != MAP_FAILED)
        munmap(ring, bytes);
    close(fd);
    return n;
}

bool bl__sample_may(void)
{
    int fd = sampler_open(0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}
