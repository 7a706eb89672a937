/* SPDX-License-Identifier: MIT */
/*
 * bench.h: what the benchmarks of belay and of pthreads share: clocks, the choice of n, the output.
 * vs/go/common.go is the same thing in Go. `bench/run` builds and runs all of them in turn.
 *
 * One operation is, in all three languages:
 *
 *   name             goroutines              one operation                       ns/op is
 *   Yield2           2                       a call of yield                     wall / calls of all
 *   Yield1000        1000                    a call of yield                     wall / calls of all
 *   SpawnSingle      1 at a time             start one, wait for its end         wall / n
 *   SpawnBatch       1000, then all joined   start one, its share of the join    wall / n
 *   RoundTrip        2, cap 0, two channels  a word sent there and one back      wall / n
 *   Chan1x1          1 sender, 1 receiver    a word through one channel, cap 128 wall / words
 *   Chan4x4          4 senders, 4 receivers  a word through one channel, cap 128 wall / words
 *   Select4          1 sender, 1 receiver    a word sent round-robin on 4        wall / words
 *                                            unbuffered channels, and received
 *                                            by a select over the 4
 *   MutexUncontended 1                       lock, add 1, unlock                 wall / n
 *   Mutex8           8, one mutex            lock, add 1, unlock                 wall / n of all
 *   MutexYield8      8, one mutex            lock, add 1, yield, unlock          wall / n of all
 *   Sleep100k        100,000                 all of it: each sleeps 0 to 100 ms  wall from the first
 *                                            at random                           start to the last end
 *   Tick5ms          1                       wakes from a sleep of 5 ms          CPU time / n, of 100
 *   Naps1000         1000                    a sleep of 0 to 100 ms at random    CPU time / n, in half
 *                                                                                a second
 *   Million          1,000,000               start one, until it is blocked in   wall / n
 *                                            a receive from one channel
 *   Sieve            501                     the first 500 primes, a goroutine   wall / n
 *                                            and an unbuffered channel a prime
 *   Pool4            1, and 4 workers        submit a tiny job (an atomic add to  wall from the first
 *                                            one sum), queue 256; 1,000,000       submit to the end
 *                                                                                 of the drain / n
 *   Echo100          one a connection        a request: 64 bytes to a server on   wall / requests
 *   Echo1000                                 loopback and back, one under way
 *                                            on each connection (echo_load.c)
 *   HourTogether     1,000 tickers in a      an hour of virtual time               wall of it
 *   HourApart        bubble (hour_test.c)
 *   StallUsleep      1 that blocks 100       one blocking call of 20 ms           the longest gap
 *   StallRead        times, 1 that yields    (block.h; in Go by cgo)              between two runs of
 *   StallLookup      all the time                                                 who yields, median
 *   StallMutex                                                                    of the 100
 *   StallNone        the same                a sleep of the language's own        the same; of pthreads
 *                                            (400 of 5 ms, of one beside a busy   how late one ends
 *                                            one on another CPU)
 *   StallSpin        1 that spins a second,  a sleep of 1 ms                      how late it ends,
 *                    1 that sleeps                                                median
 *
 * Further units: cpus (CPU time of the process, of Echo the server's / wall); Echo: req/s, p50-us,
 * p99-us, cpu-ns (the server's CPU time a request); Stall: worst-us; Sleep100k: cpu-ms,
 * late-median-us and earliest-us (of now - start - wanted; below 0 would be early); Naps1000:
 * late-us, the mean; Million: B/each (growth of resident memory and page tables) and release-ns (close
 * the channel to all joined, per goroutine). "goroutines" is how many there were where that can be set (BENCH_QUICK).
 *
 * Every program checks its result and ends with status 1 when it is wrong.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs n operations. */
typedef void (*bench_fn)(uint64_t n, void *arg);

/* Reads the command line: an argument names the one case to run. Environment: BENCH_MS is how long
 * a measured run shall last (100), BENCH_QUICK=1 makes the large ones a tenth. */
void bench_init(int argc, char **argv);

/* Whether the case of this name is to be run. */
bool bench_wanted(const char *name);

/* Runs fn with n, a multiple of unit, growing until it lasts long enough, and prints the last. */
void bench_measure(const char *name, int procs, uint64_t unit, bench_fn fn, void *arg);

/* Prints one line of Go's benchmark format; extra is NULL or further "value unit" pairs. */
void bench_report(const char *name, int procs, uint64_t n, double ns_per_op, const char *extra);

/* full, or a tenth of it for BENCH_QUICK. */
size_t bench_scale(size_t full);

int64_t bench_wall_ns(void);
int64_t bench_cpu_ns(void);       /* of the process, user and system */
int64_t bench_memory_bytes(void); /* resident memory and page tables of the process */

/* The same pseudo-random numbers in every language (splitmix64). */
uint64_t bench_random(uint64_t *state);

/* The median, and the least into *least; sorts v. */
int64_t bench_median(int64_t *v, size_t n, int64_t *least);

/* Says what is not so, and ends the program with status 1. */
void bench_fail(const char *what) __attribute__((noreturn));

/* And that unless ok. No function: the race detector, which wants programs without optimisation, would
 * be measured with the calls. */
#define bench_check(ok, what) (__builtin_expect(!(ok), 0) ? bench_fail(what) : (void)0)

enum { BENCH_CAP = 128, BENCH_BATCH = 1000, BENCH_PRIMES = 500, BENCH_LAST_PRIME = 3571 };

#endif
