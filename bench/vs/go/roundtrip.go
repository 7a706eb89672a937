// SPDX-License-Identifier: MIT

//go:build ignore

package main

func roundtripRun(n int) {
	there, back := make(chan uint64), make(chan uint64)
	go func() {
		for v := range there {
			back <- v
		}
		close(back)
	}()
	for i := uint64(0); i < uint64(n); i++ {
		there <- i
		check(<-back == i, "the word comes back")
	}
	close(there)
	<-back
}

func main() {
	measure("RoundTrip", 1, roundtripRun)
}
