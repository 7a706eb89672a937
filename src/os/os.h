/* SPDX-License-Identifier: MIT */
/* os.h: what the runtime asks of Linux, beside futexes and memory for stacks. */
#ifndef BL__OS_OS_H
#define BL__OS_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* CPUs that this process may keep busy: the affinity mask, cut to the cgroup's CPU limit (v2
 * cpu.max and v1 cpu.cfs_quota_us, the tightest on the way up), rounded up; at least 1. */
int bl__cpu_count(void);
/* The part that parses: root stands for "/" (tests pass their own). The limit in CPUs, rounded up,
 * or 0 for none. */
int bl__cgroup_cpus(const char *root);

/* Nanoseconds on CLOCK_MONOTONIC. */
int64_t bl__clock(void);

/* Fills n <= 256 bytes with random ones; where the kernel has none yet, with what differs from one
 * call and process to the next. */
void bl__random(void *to, size_t n);

/* Makes bl__heavy_barrier ready: true if the kernel has membarrier's expedited form, which lets the
 * other side do without a fence (core/sched.h). */
bool bl__barrier_init(void);

/* Threads of this process, by the kernel's count; -1 when it cannot be told. */
int bl__thread_count(void);
/* The same without those that the kernel has added for an io_uring. */
int bl__thread_count_own(void);

/* The calling thread's timeouts are no longer rounded up by the kernel (by 50 us, mostly). */
void bl__thread_punctual(void);
/* The kernel's number of the calling thread. */
int bl__thread_id(void);
/* fstat of a number that others may close and use again meanwhile, which is theirs to know:
 * ThreadSanitizer, which calls it a race, does not see it. 0, or -1 and errno. */
int bl__fd_stat(int fd, struct stat *st);

/* 1: that thread of this process sleeps in the kernel; 0: it runs or could; -1: it cannot be
 * told. */
int bl__thread_sleeps(int tid);
/* The same where the time counts: most of it goes into opening what the kernel says of the thread,
 * which is done before. All zero it is closed. */
typedef struct bl__thread_state {
    int tid;
    int fd;
} bl__thread_state;
void bl__thread_state_open(bl__thread_state *s, int tid); /* unless it is that thread's already */
void bl__thread_state_close(bl__thread_state *s);
int bl__thread_state_sleeps(bl__thread_state *s);
/* The same file under a high number, out of the way of those that the program gets and may expect;
 * else fd itself. */
int bl__fd_raise(int fd);
/* The same file under a number that is none of the standard streams', of which a program may have
 * been started without some, and yet print or read; else fd itself. What stays open goes through
 * one of the two. */
int bl__fd_own(int fd);
/* Nanoseconds of CPU time that it has had; -1: it cannot be told. */
int64_t bl__thread_cpu(int tid);
/* The system call that it sleeps in. False: it is in none, or that cannot be told. */
typedef struct bl__thread_call {
    long number;
    long args[6];
    uintptr_t sp, pc;
} bl__thread_call;
bool bl__thread_in_call(int tid, bl__thread_call *out);
/* The same of what the kernel says in /proc/PID/task/TID/syscall: number, arguments, stack pointer
 * and program counter; or "running". */
bool bl__thread_call_read(bl__thread_call *out, char *text);
/* There is a filter of its system calls (seccomp), or that cannot be told. */
bool bl__thread_is_filtered(int tid);
/* It is in no call of the system. */
bool bl__thread_runs(int tid);
/* What it is called begins so. */
bool bl__thread_is_named(int tid, const char *begin);

/* Adds one to an eventfd, for who waits there. errno stays. No cancellation point (pthread_cancel)
 * of a plain thread, which has promised the wake by now. */
void bl__eventfd_wake(int fd);

/* Starts a thread with all signals but the synchronous ones blocked, as the runtime's own are, or
 * with the caller's mask. 0 or a negative error. */
int bl__thread_start(pthread_t *out, void *(*fn)(void *), void *arg, bool block_signals);
/* The same with attributes, and the caller's mask. */
int bl__thread_create(pthread_t *out, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
/* The first thing that it does: from here on it is known for what it is. */
void bl__thread_began(const char *name);
/* Some have been started and are not known yet. */
bool bl__threads_starting(void);
void bl__threads_forked(void); /* in the child */

#endif
