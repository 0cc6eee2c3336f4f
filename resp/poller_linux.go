package resp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller is an epoll descriptor that the runtime's own poller watches: a goroutine that waits for
// it parks like one that reads a socket, and holds neither a thread nor a processor meanwhile. A
// blocking epoll_wait would keep its processor for some ten microseconds each time, which is most
// of what a round of a cluster takes.
type poller struct {
	file   *os.File // the epoll descriptor
	raw    syscall.RawConn
	fd     int
	bell   int // an event descriptor: ring ends a wait
	events [256]unix.EpollEvent
	found  int
	failed error
	look   func(fd uintptr) bool
}

// bellSlot is the number under which the bell is watched.
const bellSlot = -1

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll descriptor: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create an event descriptor: %w", err), unix.Close(fd))
	}
	p := &poller{fd: fd, bell: bell}
	p.look = func(uintptr) bool { return p.peek() }
	err = errors.Join(unix.SetNonblock(fd, true), p.watch(bell, bellSlot, unix.EPOLLIN|unix.EPOLLET))
	p.file = os.NewFile(uintptr(fd), "epoll") // non-blocking: the runtime's poller takes it
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// watch reports changes of a descriptor under the number of a slot, until it is closed.
func (p *poller) watch(fd, slot int, events uint32) error {
	err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: events, Fd: int32(slot)})
	if err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

// peek asks for what has happened, without waiting.
func (p *poller) peek() bool {
	n, err := unix.EpollWait(p.fd, p.events[:], 0)
	p.found = max(n, 0)
	if err != nil && err != unix.EINTR {
		p.failed = fmt.Errorf("wait for clients: %w", err)
	}
	return p.found > 0 || p.failed != nil
}

// wait returns what has happened, and waits until something has.
func (p *poller) wait() ([]unix.EpollEvent, error) {
	if !p.peek() {
		if err := p.raw.Read(p.look); err != nil {
			return nil, err
		}
	}
	return p.events[:p.found], p.failed
}

// ring ends a wait, now or the next one.
func (p *poller) ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(p.bell, one[:]) // fails when it has been rung 2^64 times, and then it still rings
}

// hush is called when the bell was heard.
func (p *poller) hush() {
	var count [8]byte
	unix.Read(p.bell, count[:]) // fails when it has been read already
}

func (p *poller) close() error {
	return errors.Join(p.file.Close(), os.NewSyscallError("close", unix.Close(p.bell)))
}
