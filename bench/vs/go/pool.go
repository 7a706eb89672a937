// SPDX-License-Identifier: MIT

//go:build ignore

package main

import (
	"sync"
	"sync/atomic"
)

type poolJob struct {
	fn  func(sum *uint64, v uint64)
	arg uint64
}

func add(sum *uint64, v uint64) { atomic.AddUint64(sum, v) }

func poolRun(n int) {
	const workers, queue = 4, 256
	jobs := make(chan poolJob, queue)
	var sum uint64
	var ended sync.WaitGroup
	for i := 0; i < workers; i++ {
		ended.Add(1)
		go func() {
			for j := range jobs {
				j.fn(&sum, j.arg)
			}
			ended.Done()
		}()
	}
	for i := uint64(1); i <= uint64(n); i++ {
		jobs <- poolJob{add, i}
	}
	close(jobs)
	ended.Wait()
	check(sum == uint64(n)*(uint64(n)+1)/2, "every job runs once")
}

func main() {
	measure("Pool4", scale(1000000), poolRun)
}
