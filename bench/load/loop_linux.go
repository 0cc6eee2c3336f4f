package load

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// runAll drives the connections by event loops, one goroutine per thread.
//
// Why not a goroutine per connection: the runtime's poller costs a read that returns EAGAIN, a park
// and a wake-up per reply, more CPU than everything else a client does for one command. On a
// machine that runs server and client, that CPU is missing in the server, and the measured figure
// is partly the client's. And its timers are up to a millisecond late when nothing else happens,
// which an open loop would take for latency. An epoll loop with a timer descriptor has neither.
func (r *trial) runAll(conns []net.Conn) error {
	threads := min(r.options.Threads, len(conns))
	loops := make([]*loop, threads)
	for i := range loops {
		l, err := r.newLoop(i, threads)
		if err != nil {
			return errors.Join(err, closeAll(conns), closeLoops(loops))
		}
		loops[i] = l
	}
	for i, conn := range conns {
		if err := loops[i%threads].add(conn, newSession(r.options, i)); err != nil {
			return errors.Join(err, closeAll(conns[i:]), closeLoops(loops))
		}
	}
	for _, l := range loops {
		r.start(l.recorder, l.pace, l.run)
	}
	return nil
}

func closeLoops(loops []*loop) error {
	var failures []error
	for _, l := range loops {
		if l != nil {
			failures = append(failures, l.close())
		}
	}
	return errors.Join(failures...)
}

// loop is one thread: it owns its connections, their sessions and its recorder.
type loop struct {
	trial    *trial
	recorder *recorder
	pace     *pace
	poll     int   // epoll descriptor
	timer    int   // timer descriptor, for the open loop
	armed    int64 // what the timer is set to; 0: it has expired
	conns    []*polled
	byFD     map[int32]*polled
	idle     ring
}

// polled is a connection of a loop.
type polled struct {
	fd      int
	session *session
	rest    []byte // what the socket did not take yet; part of session.out
	idleAt  int64  // since when nothing is asked
	askedAt int64  // when the last batch was sent
}

// ring holds the idle connections, the longest idle first, so that all take turns.
type ring struct {
	conns       []*polled
	first, used int
}

func (r *ring) push(c *polled) {
	r.conns[(r.first+r.used)%len(r.conns)] = c
	r.used++
}

func (r *ring) pop() *polled {
	c := r.conns[r.first]
	r.first, r.used = (r.first+1)%len(r.conns), r.used-1
	return c
}

func (r *trial) newLoop(i, threads int) (*loop, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll descriptor: %w", err)
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create a timer descriptor: %w", err), unix.Close(poll))
	}
	l := &loop{trial: r, recorder: newRecorder(), poll: poll, timer: timer, byFD: map[int32]*polled{},
		pace: newPace(r.options.Rate/float64(threads), float64(i)/float64(threads))}
	// Edge-triggered: an expiry is told once. Nobody reads the timer, and while all connections are
	// busy nobody sets it anew either; told again and again, it would keep a core busy.
	return l, l.watch(unix.EPOLL_CTL_ADD, timer, unix.EPOLLIN|unix.EPOLLET)
}

func (l *loop) watch(operation, fd int, events uint32) error {
	err := unix.EpollCtl(l.poll, operation, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

// add takes over a connection. The descriptor is duplicated and the original closed, so that the
// runtime's poller does not watch it, too.
func (l *loop) add(conn net.Conn, s *session) error {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	var failed error
	err = raw.Control(func(own uintptr) {
		fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, failed, conn.Close()); err != nil {
		return err
	}
	c := &polled{fd: fd, session: s}
	l.conns = append(l.conns, c)
	l.byFD[int32(fd)] = c
	return l.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

func (l *loop) close() error {
	failures := []error{unix.Close(l.poll), unix.Close(l.timer)}
	for _, c := range l.conns {
		failures = append(failures, unix.Close(c.fd))
	}
	return errors.Join(failures...)
}

const (
	eventsMax  = 256
	lookMillis = 100 // how often a loop looks for the end and for silent connections
)

// run returns when the load has ended and every reply has come, or a connection fails.
func (l *loop) run() (err error) {
	defer func() { err = errors.Join(err, l.close()) }()
	l.idle.conns = make([]*polled, len(l.conns))
	for _, c := range l.conns {
		l.idle.push(c)
	}
	events, looked := make([]unix.EpollEvent, eventsMax), int64(0)
	for {
		now := l.trial.clock.now()
		if err := l.dispatch(now); err != nil {
			return err
		}
		end := l.trial.end.Load()
		if end == 0 || l.idle.used == len(l.conns) && (now >= end || l.exhausted()) {
			return nil
		}
		if now-looked > lookMillis*int64(time.Millisecond) {
			if looked = now; l.silent(now) {
				return fmt.Errorf("no reply within %s", l.trial.options.Timeout)
			}
		}
		if err := l.wait(events, now); err != nil {
			return err
		}
	}
}

func (l *loop) exhausted() bool {
	for _, c := range l.conns {
		if !c.session.exhausted() {
			return false
		}
	}
	return true
}

func (l *loop) silent(now int64) bool {
	for _, c := range l.conns {
		if !c.session.idle() && now-c.askedAt > int64(l.trial.options.Timeout) {
			return true
		}
	}
	return false
}

// dispatch gives what is due to idle connections, one command each: only when all are busy do
// commands gather, and then leave as one batch.
func (l *loop) dispatch(now int64) error {
	for waiting := l.idle.used; waiting > 0 && now < l.trial.end.Load(); waiting-- {
		c := l.idle.pop()
		sent, err := l.ask(c, now, 1)
		if err != nil {
			return err
		}
		if !sent {
			l.idle.push(c)
			if l.pace.open() {
				return nil
			}
		}
	}
	return nil
}

// ask sends what is due, at most so many commands (in a closed loop always a whole batch).
func (l *loop) ask(c *polled, now int64, most int) (bool, error) {
	if !l.pace.open() {
		most = l.trial.options.Depth
	}
	s, count := c.session, 0
	for ; count < most && !s.exhausted(); count++ {
		due, is := l.pace.claimDue(min(now, l.trial.end.Load()-1))
		if !is {
			break
		}
		if l.pace.open() && c.idleAt <= due {
			l.tellLate(now - due)
		}
		s.queue(due)
	}
	if count == 0 {
		return false, nil
	}
	c.askedAt, c.rest = now, s.out
	return true, l.flush(c, false)
}

func (l *loop) tellLate(late int64) {
	l.recorder.guard.Lock()
	defer l.recorder.guard.Unlock()
	l.recorder.tally.late = max(l.recorder.tally.late, late)
}

// flush writes what is left; the rest waits until the socket takes more.
func (l *loop) flush(c *polled, watched bool) error {
	n, err := ignoreAgain(unix.Write(c.fd, c.rest))
	if err != nil {
		return fmt.Errorf("send commands: %w", err)
	}
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.session.out = c.session.out[:0]
		if watched {
			return l.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN)
		}
		return nil
	}
	if watched {
		return nil
	}
	return l.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT)
}

// ignoreAgain turns "not now" and "interrupted" into nothing done.
func ignoreAgain(n int, err error) (int, error) {
	if err == unix.EAGAIN || err == unix.EINTR {
		return 0, nil
	}
	return max(n, 0), err
}

// wait sleeps until something happens and handles it.
func (l *loop) wait(events []unix.EpollEvent, now int64) error {
	if err := l.arm(now); err != nil {
		return err
	}
	n, err := ignoreAgain(unix.EpollWait(l.poll, events, lookMillis))
	if err != nil {
		return fmt.Errorf("wait for replies: %w", err)
	}
	for _, event := range events[:n] {
		c := l.byFD[event.Fd]
		if c == nil {
			l.armed = 0 // the timer
			continue
		}
		if event.Events&unix.EPOLLOUT != 0 {
			err = l.flush(c, true)
		}
		if err == nil && event.Events&^unix.EPOLLOUT != 0 {
			err = l.read(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// arm sets the timer to the next command that is due, if there is a connection to send it on.
func (l *loop) arm(now int64) error {
	if !l.pace.open() || l.idle.used == 0 {
		return nil
	}
	due := l.pace.upcoming()
	if due == l.armed || due >= l.trial.end.Load() {
		return nil
	}
	l.armed = due
	setting := unix.ItimerSpec{Value: unix.NsecToTimespec(max(due-now, 1))}
	if err := unix.TimerfdSettime(l.timer, 0, &setting, nil); err != nil {
		return fmt.Errorf("set the timer: %w", err)
	}
	return nil
}

// read takes the replies that have come, and sends the next commands.
func (l *loop) read(c *polled) error {
	n, err := unix.Read(c.fd, c.session.room())
	if n == 0 && err == nil {
		return errors.New("the server closed the connection")
	}
	if n, err = ignoreAgain(n, err); err != nil || n == 0 {
		return err
	}
	now := l.trial.clock.now()
	if err := l.take(c, n, now); err != nil || !c.session.idle() {
		return err
	}
	c.idleAt = now
	if now < l.trial.end.Load() {
		if sent, err := l.ask(c, now, l.trial.options.Depth); sent || err != nil {
			return err
		}
	}
	l.idle.push(c)
	return nil
}

func (l *loop) take(c *polled, n int, now int64) error {
	l.recorder.guard.Lock()
	defer l.recorder.guard.Unlock()
	return c.session.take(n, now, l.recorder.tally)
}
