// SPDX-License-Identifier: MIT

//go:build ignore

// Package main: each file beside this one is a program, built together with this one; bench/bench.h
// says what one operation is, and bench.c is the same in C.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	benchCap       = 128
	benchBatch     = 1000
	benchPrimes    = 500
	benchLastPrime = 3571
)

func wanted(name string) bool {
	return len(os.Args) < 2 || os.Args[1] == name
}

func scale(full int) int {
	if os.Getenv("BENCH_QUICK") == "1" {
		return full / 10
	}
	return full
}

func target() time.Duration {
	ms, err := strconv.Atoi(os.Getenv("BENCH_MS"))
	if err != nil || ms <= 0 {
		ms = 100
	}
	return time.Duration(ms) * time.Millisecond
}

// cpuTime is that of the process, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil, "getrusage works")
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memoryBytes is the resident memory and the page tables of the process.
func memoryBytes() int64 {
	text, err := os.ReadFile("/proc/self/status")
	check(err == nil, "/proc/self/status can be read")
	var sum int64
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) == 3 && (f[0] == "VmRSS:" || f[0] == "VmPTE:") {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			sum += kib * 1024
		}
	}
	return sum
}

func check(ok bool, what string) {
	if !ok {
		fmt.Fprintln(os.Stderr, "bench: not so:", what)
		os.Exit(1)
	}
}

func report(name string, n int, nsPerOp float64, extra string) {
	if extra != "" {
		extra = "\t" + extra
	}
	fmt.Printf("Benchmark%s-%d\t%10d\t%12.4g ns/op%s\n", name, runtime.GOMAXPROCS(0), n, nsPerOp, extra)
}

// measure runs fn with n, a multiple of unit, growing until it lasts long enough.
func measure(name string, unit int, fn func(n int)) {
	if !wanted(name) {
		return
	}
	aim := target()
	n := unit
	for {
		runtime.GC()
		cpu := cpuTime()
		start := time.Now()
		fn(n)
		wall := time.Since(start)
		cpu = cpuTime() - cpu
		if wall >= aim-aim/5 {
			extra := fmt.Sprintf("%8.2f cpus", float64(cpu)/float64(wall))
			report(name, n, float64(wall)/float64(n), extra)
			return
		}
		factor := 1.1 * float64(aim) / float64(wall+1)
		if factor > 100 {
			factor = 100
		}
		n = (int(float64(n)*factor)/unit + 1) * unit
	}
}

// random is splitmix64.
func random(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
