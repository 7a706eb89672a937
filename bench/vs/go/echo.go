// SPDX-License-Identifier: MIT

//go:build ignore

// The echo server, a goroutine a connection: see bench/echo.h.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func serve(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		if _, err = c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func main() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err == nil, "a server can listen on 127.0.0.1")
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := l.Accept()
			check(err == nil, "a connection can be accepted")
			go serve(c)
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	check(err == nil, "standard input ends")
}
