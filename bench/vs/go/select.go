// SPDX-License-Identifier: MIT

//go:build ignore

package main

const ways = 4

func selectRun(n int) {
	var c [ways]chan uint64
	for i := range c {
		c[i] = make(chan uint64)
	}
	ended := make(chan bool)
	go func() {
		for i := uint64(0); i < uint64(n); i++ {
			c[i%ways] <- i
		}
		close(ended)
	}()
	for i := uint64(0); i < uint64(n); i++ {
		var v, way uint64
		select {
		case v = <-c[0]:
			way = 0
		case v = <-c[1]:
			way = 1
		case v = <-c[2]:
			way = 2
		case v = <-c[3]:
			way = 3
		}
		check(way == i%ways && v == i, "the words come in order")
	}
	<-ended
}

func main() {
	measure("Select4", ways, selectRun)
}
