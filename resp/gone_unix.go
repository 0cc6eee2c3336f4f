//go:build unix

package resp

import (
	"net"
	"syscall"
)

// peeker looks whether the client has hung up, without taking a byte from the stream and without
// blocking. It may be called while the connection's own goroutine waits or writes.
type peeker struct {
	raw    syscall.RawConn // nil: not a socket
	look   func(fd uintptr)
	hungUp bool
}

// watch prepares the peeker; look is built once so that a question allocates nothing.
func (p *peeker) watch(c net.Conn) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	p.raw = raw
	p.look = func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch err {
		case nil:
			p.hungUp = n == 0
		case syscall.EAGAIN, syscall.EINTR:
			p.hungUp = false
		default:
			p.hungUp = true
		}
	}
}

// gone reports an end of stream or a reset. Bytes that wait mean that the client was there.
func (p *peeker) gone() bool {
	if p.raw == nil {
		return false
	}
	if err := p.raw.Control(p.look); err != nil {
		return true // closed on our side
	}
	return p.hungUp
}
