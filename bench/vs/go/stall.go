// SPDX-License-Identifier: MIT

//go:build ignore

// How long a goroutine is held up by another one that blocks in C (by cgo) or spins in Go.
package main

/*
#cgo CFLAGS: -I${SRCDIR}/../.. -O2 -D_GNU_SOURCE
#cgo LDFLAGS: -lpthread -lresolv
#include "block.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"sort"
	"sync/atomic"
	"time"
)

const (
	events = 100
	spin   = time.Second
	noCall = -1
)

func reportStall(name string, v []time.Duration) {
	sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
	worst := float64(v[len(v)-1]) / 1e3
	report(name, len(v), float64(v[len(v)/2]), fmt.Sprintf("%8.1f worst-us", worst))
}

// event is the longest gap of the yielder in and around one call.
func event(longest *int64, kind int) time.Duration {
	if kind != noCall {
		C.block_prepare(C.int(kind))
		for !bool(C.block_ready()) {
			time.Sleep(time.Millisecond)
		}
	}
	atomic.StoreInt64(longest, 0)
	const length = C.BLOCK_MS * time.Millisecond
	if kind == noCall {
		time.Sleep(length)
	} else {
		check(time.Duration(C.block_call(C.int(kind))) > length/2, "the call blocks")
	}
	time.Sleep(time.Millisecond)
	return time.Duration(atomic.LoadInt64(longest))
}

func measureStall(name string, kind int) {
	if !wanted(name) {
		return
	}
	var stop int32
	var longest int64
	ended := make(chan bool)
	go func() {
		last := time.Now()
		for atomic.LoadInt32(&stop) == 0 {
			runtime.Gosched()
			now := time.Now()
			if gap := int64(now.Sub(last)); gap > atomic.LoadInt64(&longest) {
				atomic.StoreInt64(&longest, gap)
			}
			last = now
		}
		close(ended)
	}()
	stalled := make([]time.Duration, scale(events))
	for i := range stalled {
		stalled[i] = event(&longest, kind)
	}
	atomic.StoreInt32(&stop, 1)
	<-ended
	reportStall(name, stalled)
}

func measureSpin() {
	if !wanted("StallSpin") {
		return
	}
	var stop int32
	var late []time.Duration
	ended := make(chan bool)
	go func() {
		for atomic.LoadInt32(&stop) == 0 {
			due := time.Now().Add(time.Millisecond)
			time.Sleep(time.Millisecond)
			late = append(late, time.Since(due))
		}
		close(ended)
	}()
	time.Sleep(10 * time.Millisecond)
	for end := time.Now().Add(spin); time.Now().Before(end); {
	}
	atomic.StoreInt32(&stop, 1)
	<-ended
	reportStall("StallSpin", late)
}

func main() {
	C.block_start()
	measureStall("StallNone", noCall)
	measureStall("StallUsleep", C.BLOCK_USLEEP)
	measureStall("StallRead", C.BLOCK_READ)
	measureStall("StallLookup", C.BLOCK_LOOKUP)
	measureStall("StallMutex", C.BLOCK_MUTEX)
	measureSpin()
}
