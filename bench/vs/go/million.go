// SPDX-License-Identifier: MIT

//go:build ignore

package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	n := scale(1000000)
	gate, allIn := make(chan uint64), make(chan uint64, 1)
	var arrived int64
	var wg sync.WaitGroup
	memory := -memoryBytes()
	start := time.Now()
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func() {
			if atomic.AddInt64(&arrived, 1) == int64(n) {
				allIn <- 0
			}
			<-gate
			wg.Done()
		}()
	}
	<-allIn
	made := time.Since(start)
	memory += memoryBytes()

	start = time.Now()
	close(gate)
	wg.Wait()
	released := time.Since(start)

	extra := fmt.Sprintf("%8.0f B/each\t%8.1f release-ns\t%8d goroutines",
		float64(memory)/float64(n), float64(released)/float64(n), n)
	report("Million", n, float64(made)/float64(n), extra)
}
