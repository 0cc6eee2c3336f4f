//go:build unix

package transport

import "syscall"

const canWriteAtOnce = true

// writeAtOnce writes what the socket takes now: Go's sockets do not block.
func writeAtOnce(fd uintptr, b []byte) int {
	n, err := syscall.Write(int(fd), b)
	if err != nil {
		return 0
	}
	return n
}
