// SPDX-License-Identifier: MIT

//go:build ignore

package main

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

func ticks() {
	n := scale(100)
	cpu := cpuTime()
	for i := 0; i < n; i++ {
		time.Sleep(5 * time.Millisecond)
	}
	cpu = cpuTime() - cpu
	report("Tick5ms", n, float64(cpu)/float64(n), "")
}

func naps() {
	var wg sync.WaitGroup
	var wakes, late int64
	until := time.Now().Add(500 * time.Millisecond)
	cpu := cpuTime()
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func(seed uint64) {
			for time.Now().Before(until) {
				wanted := time.Duration(random(&seed) % uint64(100*time.Millisecond))
				start := time.Now()
				time.Sleep(wanted)
				atomic.AddInt64(&late, int64(time.Since(start)-wanted))
				atomic.AddInt64(&wakes, 1)
			}
			wg.Done()
		}(uint64(i))
	}
	wg.Wait()
	cpu = cpuTime() - cpu
	report("Naps1000", int(wakes), float64(cpu)/float64(wakes),
		fmt.Sprintf("%8.1f late-us", float64(late)/1e3/float64(wakes)))
}

func main() {
	ticks()
	naps()
	n := scale(100000)
	wants := make([]time.Duration, n)
	late := make([]time.Duration, n)
	seed := uint64(1)
	for i := range wants {
		wants[i] = time.Duration(random(&seed) % uint64(100*time.Millisecond))
	}
	var wg sync.WaitGroup
	cpu := cpuTime()
	start := time.Now()
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func(i int) {
			began := time.Now()
			time.Sleep(wants[i])
			late[i] = time.Since(began) - wants[i]
			wg.Done()
		}(i)
	}
	wg.Wait()
	wall := time.Since(start)
	cpu = cpuTime() - cpu

	sort.Slice(late, func(i, j int) bool { return late[i] < late[j] })
	extra := fmt.Sprintf("%8.1f cpu-ms\t%8.1f late-median-us\t%8.1f earliest-us\t%8d goroutines",
		float64(cpu)/1e6, float64(late[n/2])/1e3, float64(late[0])/1e3, n)
	report("Sleep100k", 1, float64(wall), extra)
	check(late[0] >= 0, "no sleep ends early")
}
