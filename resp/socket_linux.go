package resp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection that a reactor watches, and the runtime's poller does not. Reading and
// writing never block, unless patient is set. One goroutine, that which owns the connection, reads,
// writes and closes; Shutdown may be called by any.
type socket struct {
	local, remote net.Addr
	patient       bool          // Write waits for the client; its goroutine is nobody else's
	timeout       time.Duration // of one such wait
	writable      chan struct{} // one token: the client has taken something

	mu     sync.Mutex // fd is not closed while it is held
	fd     int
	closed bool
}

// newSocket takes over the connection: its descriptor is duplicated and the original closed, which
// ends the interest of the runtime's poller in it.
func newSocket(c *net.TCPConn, timeout time.Duration) (*socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(own uintptr) {
		fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	s := &socket{local: c.LocalAddr(), remote: c.RemoteAddr(), fd: fd, timeout: timeout,
		writable: make(chan struct{}, 1)}
	if err := c.Close(); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return s, nil
}

// Read reads what is there. errStalled: nothing.
func (s *socket) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(s.fd, p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, errStalled
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes p, or what the socket takes of it: then the error is errStalled.
func (s *socket) Write(p []byte) (int, error) {
	written := 0
	for {
		n, err := syscall.Write(s.fd, p[written:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			if !s.patient {
				return written, errStalled
			}
			if err := s.await(); err != nil {
				return written, err
			}
		case err != nil:
			return written, os.NewSyscallError("write", err)
		default:
			if written += n; written == len(p) {
				return written, nil
			}
		}
	}
}

// await waits until the client has taken something. A token that is older than the last attempt
// costs another attempt.
func (s *socket) await() error {
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case <-s.writable:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

// wake tells a patient writer that the socket has changed.
func (s *socket) wake() {
	select {
	case s.writable <- struct{}{}:
	default:
	}
}

// Shutdown ends the connection in both directions, whoever owns it, and leaves the descriptor.
func (s *socket) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		unix.Shutdown(s.fd, unix.SHUT_RDWR) // fails when the client has gone already
	}
}

func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	return os.NewSyscallError("close", unix.Close(s.fd))
}

func (s *socket) LocalAddr() net.Addr  { return s.local }
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// Deadlines are the reactor's sweep.
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// SyscallConn implements syscall.Conn, for the peeker.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return rawSocket{s}, nil }

// rawSocket lets the peeker look at the descriptor.
type rawSocket struct{ *socket }

// Control implements syscall.RawConn.
func (r rawSocket) Control(f func(fd uintptr)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return net.ErrClosed
	}
	f(uintptr(r.fd))
	return nil
}

// Read implements syscall.RawConn; nobody waits by it.
func (rawSocket) Read(func(uintptr) bool) error { return errors.ErrUnsupported }

// Write implements syscall.RawConn; nobody waits by it.
func (rawSocket) Write(func(uintptr) bool) error { return errors.ErrUnsupported }
