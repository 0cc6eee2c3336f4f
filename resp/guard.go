package resp

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kelek/resp/command"
)

// doorbell is all that redcon's own Reader ever gets: one tiny command that says "the guard has at
// least one whole command". Its length divides redcon's read buffer, so that it is never cut.
//
// Why not the commands themselves: that Reader trusts lengths, reads at most 4 KiB at a time (a
// pipeline would be cut into batches that wait for one another), keeps its largest buffer for the
// life of a connection and makes three allocations per command. redcon.ReadNextCommand, the parser
// of the same library that works in place, has none of these, and gets frames the framer checked.
const doorbell = "*1\r\n$6\r\nlisten\r\n"

// errStalled says that a client under a reactor does not take its replies as fast as they come.
// They are kept, and sent when it does.
var errStalled = errors.New("the socket takes no more for now")

// errHungUp ends a connection whose client speaks HTTP.
var errHungUp = errors.New("not a Redis client")

// guard is a client's connection. Its owner (see reactor) takes commands with next and writes
// replies with Write. Without a reactor redcon's goroutine is the owner, and its Read rings the
// doorbell.
//
// Only the owner calls Read, next and Write; others may call gone, interrupt and Close.
type guard struct {
	net.Conn // the raw one
	framer
	server *Server
	shared *Shared
	peeker

	limits     frameLimits
	authNeeded bool
	rung       int  // bytes of the current doorbell that redcon has
	mute       bool // replies go nowhere: the client is not one of ours
	writable   time.Time
	writeErr   error

	conn      atomic.Pointer[conn] // nil until the connection is served
	timed     bool                 // a read deadline is set
	stopping  atomic.Bool          // end at the next read
	closeOnce sync.Once
}

func newGuard(c net.Conn, s *Server) *guard {
	g := &guard{Conn: c, server: s, shared: s.shared}
	g.watch(rawConn(c))
	g.setAuthNeeded(s.face.Password)
	return g
}

// rawConn finds the socket under TLS.
func rawConn(c net.Conn) net.Conn {
	for {
		wrapped, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = wrapped.NetConn()
	}
}

// setAuthNeeded chooses between the limits before and after AUTH.
func (g *guard) setAuthNeeded(needed bool) {
	l := &g.shared.limits
	g.authNeeded = needed
	g.limits = frameLimits{elements: l.ElementsMax, bulkBytes: l.BulkBytesMax,
		inlineBytes: l.InlineBytesMax, queryBytes: l.QueryBytesMax, beforeAuth: needed}
	if needed {
		g.limits.elements, g.limits.bulkBytes = l.ElementsBeforeAuth, l.BulkBytesBeforeAuth
	}
}

// authChanged follows the session: the limits and the time-out before AUTH end with it.
func (g *guard) authChanged(authenticated bool) {
	if g.authNeeded == authenticated {
		g.setAuthNeeded(!authenticated)
		if c := g.conn.Load(); c != nil {
			c.setStranger(!authenticated)
		}
	}
}

// Read blocks until a whole command is there and rings. A broken stream is told so here, when the
// replies of the commands before it have been written, and ends.
func (g *guard) Read(p []byte) (int, error) {
	if g.rung == 0 {
		if err := g.await(); err != nil {
			return 0, err
		}
	}
	n := copy(p, doorbell[g.rung:])
	g.rung = (g.rung + n) % len(doorbell)
	return n, nil
}

func (g *guard) await() error {
	for {
		if g.stopping.Load() {
			return io.EOF
		}
		switch g.check(&g.limits) {
		case ready:
			return nil
		case broken:
			g.complain()
			return io.EOF
		}
		if err := g.fill(); err != nil {
			return err
		}
	}
}

// fill does one read of the socket.
func (g *guard) fill() error {
	idle := time.Duration(g.shared.idleTimeout.Load())
	if g.authNeeded {
		idle = g.shared.limits.AuthTimeout
	}
	if err := g.setReadTimeout(idle); err != nil {
		return err
	}
	n, err := g.Conn.Read(g.space())
	if n > 0 {
		g.received(n)
		g.shared.Stats.BytesIn.Add(uint64(n))
		return nil
	}
	return err
}

// setReadTimeout moves the deadline of the next read; 0 means none. An interrupt that came in
// between would be undone by it, hence the second look.
func (g *guard) setReadTimeout(idle time.Duration) error {
	if idle == 0 && !g.timed {
		return nil
	}
	var at time.Time
	if g.timed = idle > 0; g.timed {
		at = time.Now().Add(idle)
	}
	if err := g.Conn.SetReadDeadline(at); err != nil {
		return err
	}
	if g.stopping.Load() {
		return io.EOF
	}
	return nil
}

func (g *guard) complain() {
	g.shared.Stats.ProtocolErrors.Add(1)
	line := "ERR Protocol error: " + g.fault
	g.shared.Stats.countError([]byte("ERR"))
	r := command.Reply{}
	r.Error(line)
	g.Write(r.Buf) // the connection ends in any case
}

// next takes the next whole command, if one is there. Its arguments live until next returns false
// and redcon reads again.
func (g *guard) next(args [][]byte) ([][]byte, bool) {
	if g.check(&g.limits) != ready {
		return nil, false
	}
	args, v := g.take(args)
	return args, v == ready
}

// hangUp ends a connection without a word: HTTP is not answered, and neither is what came with it.
func (g *guard) hangUp() {
	g.mute = true
	g.fault = errHungUp.Error()
	g.Close()
}

// Write sends replies. The deadline is moved at most once a second, so a client has at least that
// much less than the time-out to take a reply.
func (g *guard) Write(p []byte) (int, error) {
	if len(p) == 0 || g.mute {
		return len(p), nil
	}
	if g.writeErr != nil {
		return 0, g.writeErr
	}
	timeout := g.shared.limits.WriteTimeout
	if now := time.Now(); now.After(g.writable) {
		if err := g.Conn.SetWriteDeadline(now.Add(timeout + time.Second)); err != nil {
			g.writeErr = err
			return 0, err
		}
		g.writable = now.Add(time.Second)
	}
	n, err := g.Conn.Write(p)
	g.shared.Stats.BytesOut.Add(uint64(n))
	if err != nil && err != errStalled {
		g.writeErr = err
		var timedOut net.Error
		if errors.As(err, &timedOut) && timedOut.Timeout() {
			g.shared.Stats.SlowReaders.Add(1)
		}
	}
	return n, err
}

// interrupt makes the connection end at its next read, also when it waits in one.
func (g *guard) interrupt() {
	g.stopping.Store(true)
	if c := g.conn.Load(); c == nil || !c.wakeReactor() {
		g.Conn.SetReadDeadline(time.Unix(1, 0)) // a failure means that it is closed already
	}
}

// Close is called by redcon, by hangUp and by Shutdown; the first one counts.
func (g *guard) Close() error {
	err := net.ErrClosed
	g.closeOnce.Do(func() {
		err = g.Conn.Close()
		g.shared.forget(g)
	})
	return err
}
