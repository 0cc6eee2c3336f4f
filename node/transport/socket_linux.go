package transport

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7).
const tcpUserTimeout = 18

// setAckTimeout breaks the connection when data stays unacknowledged for that long. Without it the
// kernel retries for a quarter of an hour, ever more rarely, and a healed partition is noticed up
// to two minutes late.
func setAckTimeout(c *net.TCPConn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // the socket is closed
	}
	raw.Control(func(fd uintptr) {
		// Old kernels lack it; the write deadline remains.
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
}
