package transport

import "syscall"

// express writes a few small frames on the goroutine that sends them, without waiting: to wake
// another goroutine for that costs more than the write, on both of a heartbeat's ends. What the
// socket does not take at once stays with the caller.
//
// Its owner makes sure that nobody else writes to the connection meanwhile.
type express struct {
	raw syscall.RawConn
	buf []byte
	try func(fd uintptr) // made once: it would be allocated for each call
	n   int              // what try has written
}

// newExpress returns nil where the connection is not a socket of the system, as with TLS.
func newExpress(c *conn) *express {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok || !canWriteAtOnce {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil // it is closed, which the sender will find
	}
	x := &express{raw: raw}
	x.try = func(fd uintptr) { x.n = writeAtOnce(fd, x.buf) }
	return x
}

// write returns what of buf is left to be written. An error is not told: the next write of the
// sender meets it, too.
func (x *express) write() (rest []byte) {
	x.n = 0
	if err := x.raw.Control(x.try); err != nil {
		return x.buf
	}
	return x.buf[x.n:]
}
