// SPDX-License-Identifier: MIT

//go:build ignore

package main

import (
	"runtime"
	"sync"
)

func mutexRun(goroutines int, yields bool) func(n int) {
	return func(n int) {
		var mutex sync.Mutex
		var wg sync.WaitGroup
		var count int
		each := n / goroutines
		for g := 0; g < goroutines; g++ {
			wg.Add(1)
			go func() {
				for i := each; i > 0; i-- {
					mutex.Lock()
					count++
					if yields {
						runtime.Gosched()
					}
					mutex.Unlock()
				}
				wg.Done()
			}()
		}
		wg.Wait()
		check(count == n, "nothing is counted twice or lost")
	}
}

func main() {
	measure("MutexUncontended", 1, mutexRun(1, false))
	measure("Mutex8", 8, mutexRun(8, false))
	measure("MutexYield8", 8, mutexRun(8, true))
}
