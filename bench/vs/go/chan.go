// SPDX-License-Identifier: MIT

//go:build ignore

package main

import (
	"sync"
	"sync/atomic"
)

func chanRun(ends int) func(n int) {
	return func(n int) {
		flow := make(chan uint64, benchCap)
		each := uint64(n / ends)
		var total uint64
		var senders, receivers sync.WaitGroup
		for i := 0; i < ends; i++ {
			receivers.Add(1)
			go func() {
				var sum uint64
				for v := range flow {
					sum += v
				}
				atomic.AddUint64(&total, sum)
				receivers.Done()
			}()
			senders.Add(1)
			go func() {
				for i := uint64(1); i <= each; i++ {
					flow <- i
				}
				senders.Done()
			}()
		}
		senders.Wait()
		close(flow)
		receivers.Wait()
		check(total == uint64(ends)*(each*(each+1)/2), "every word arrives once")
	}
}

func main() {
	measure("Chan1x1", 1, chanRun(1))
	measure("Chan4x4", 4, chanRun(4))
}
