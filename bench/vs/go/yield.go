// SPDX-License-Identifier: MIT

//go:build ignore

package main

import (
	"runtime"
	"sync"
)

func yieldRun(goroutines int) func(n int) {
	return func(n int) {
		var wg sync.WaitGroup
		each := n / goroutines
		wg.Add(goroutines)
		for g := 0; g < goroutines; g++ {
			go func() {
				for i := each; i > 0; i-- {
					runtime.Gosched()
				}
				wg.Done()
			}()
		}
		wg.Wait()
	}
}

func main() {
	measure("Yield2", 2, yieldRun(2))
	measure("Yield1000", 1000, yieldRun(1000))
}
