package load

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// clock is the time as the portable loop sees it. Tests have one that they move themselves.
type clock interface {
	now() int64
	sleepUntil(t int64)
}

type realClock struct{ begin time.Time }

func (c realClock) now() int64         { return int64(time.Since(c.begin)) }
func (c realClock) sleepUntil(t int64) { time.Sleep(time.Duration(t - c.now())) }

// worker is the portable way to run a connection: one goroutine that writes a batch of commands and
// reads their replies. Where there is an event loop (Linux) it is used instead.
type worker struct {
	session  *session
	socket   io.ReadWriter
	clock    clock
	pace     *pace
	recorder *recorder
	end      *atomic.Int64 // nothing is sent from then on
}

// run returns when the load ends or the connection fails.
func (w *worker) run() error {
	for !w.session.exhausted() {
		now := w.clock.now()
		if now >= w.end.Load() || w.pace.open() && w.pace.upcoming() >= w.end.Load() {
			return nil
		}
		due := w.pace.claim(now)
		if due >= w.end.Load() {
			return nil // another connection has taken the last one in time
		}
		if due > now {
			w.clock.sleepUntil(due)
			now = w.clock.now()
			w.tellLate(now - due)
		}
		w.session.queue(due)
		w.fill(now)
		if err := w.exchange(); err != nil {
			return err
		}
	}
	return nil
}

// fill completes a batch with what else is due by now.
func (w *worker) fill(now int64) {
	for n := 1; n < w.session.options.Depth && !w.session.exhausted(); n++ {
		due, is := w.pace.claimDue(min(now, w.end.Load()-1))
		if !is {
			return
		}
		w.session.queue(due)
	}
}

func (w *worker) tellLate(late int64) {
	w.recorder.guard.Lock()
	defer w.recorder.guard.Unlock()
	w.recorder.tally.late = max(w.recorder.tally.late, late)
}

func (w *worker) exchange() error {
	if _, err := w.socket.Write(w.session.out); err != nil {
		return err
	}
	w.session.out = w.session.out[:0]
	for !w.session.idle() {
		n, err := w.socket.Read(w.session.room())
		if err != nil {
			return fmt.Errorf("waiting for replies: %w", err)
		}
		if err := w.take(n); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) take(n int) error {
	w.recorder.guard.Lock()
	defer w.recorder.guard.Unlock()
	return w.session.take(n, w.clock.now(), w.recorder.tally)
}

// patient is a connection whose writes and reads fail after a time-out.
type patient struct {
	net.Conn
	timeout time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}
