// SPDX-License-Identifier: MIT

//go:build ignore

package main

import "sync"

func spawnRun(batch int) func(n int) {
	return func(n int) {
		var wg sync.WaitGroup
		for done := 0; done < n; done += batch {
			for i := 0; i < batch; i++ {
				wg.Add(1)
				go func() {
					wg.Done()
				}()
			}
			wg.Wait()
		}
	}
}

func main() {
	measure("SpawnSingle", 1, spawnRun(1))
	measure("SpawnBatch", benchBatch, spawnRun(benchBatch))
}
