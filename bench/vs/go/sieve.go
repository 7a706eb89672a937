// SPDX-License-Identifier: MIT

//go:build ignore

package main

import "sync"

func filter(in <-chan uint64, out chan<- uint64, prime uint64, wg *sync.WaitGroup) {
	for v := range in {
		if v%prime != 0 {
			out <- v
		}
	}
	close(out)
	wg.Done()
}

func sieveOnce() {
	var wg sync.WaitGroup
	c := make(chan uint64)
	wg.Add(1)
	go func(out chan<- uint64) {
		for i := uint64(2); i <= benchLastPrime; i++ {
			out <- i
		}
		close(out)
		wg.Done()
	}(c)
	var prime uint64
	for i := 0; i < benchPrimes; i++ {
		prime = <-c
		out := make(chan uint64)
		wg.Add(1)
		go filter(c, out, prime, &wg)
		c = out
	}
	check(prime == benchLastPrime, "the last prime is right")
	_, more := <-c
	check(!more, "nothing is left over")
	wg.Wait()
}

func main() {
	measure("Sieve", 1, func(n int) {
		for ; n > 0; n-- {
			sieveOnce()
		}
	})
}
