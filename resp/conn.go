package resp

import (
	"errors"
	"sync"
	"time"

	"kelek/resp/command"
)

// errClosing ends a connection after QUIT.
var errClosing = errors.New("the client asked to close")

// conn is one client. redcon's goroutine owns everything but public.
type conn struct {
	server  *Server
	guard   *guard
	session command.Session
	batch   batch

	reactive

	public struct {
		sync.Mutex
		info     command.ClientInfo // ages are filled in by who reads it
		created  time.Time
		lastUsed time.Time
	}
}

func newConn(s *Server, g *guard) *conn {
	c := &conn{server: s, guard: g}
	c.session.ID = s.shared.nextID.Add(1)
	c.session.Reset(&s.face)
	c.batch.init(c)
	now := time.Now()
	c.public.created, c.public.lastUsed = now, now
	c.public.info = command.ClientInfo{ID: c.session.ID, Proto: 2, Queued: -1,
		Addr: g.RemoteAddr().String(), LocalAddr: g.LocalAddr().String()}
	return c
}

// serve carries out what the guard has, batch by batch, and sends the replies in as few writes as
// the bounds allow: normally one.
func (c *conn) serve() error {
	b := &c.batch
	for more := true; more; {
		started := time.Now()
		more = b.gather()
		if b.hungUp {
			c.guard.hangUp()
			return errHungUp
		}
		b.execute()
		c.finish(started, time.Now())
		if c.session.Closing || len(b.out.Buf) >= flushBytes {
			if err := b.flush(); err != nil {
				return err
			}
		}
		if c.session.Closing {
			return errClosing
		}
	}
	return b.flush()
}

// finish ends a batch: it is counted, and shown to CLIENT LIST.
func (c *conn) finish(started, now time.Time) {
	c.batch.settle()
	c.batch.count(now.Sub(started))
	c.publish(now)
}

// publish copies what others may see.
func (c *conn) publish(now time.Time) {
	p, s := &c.public, &c.session
	p.Lock()
	defer p.Unlock()
	p.lastUsed = now
	p.info.DB, p.info.Proto = s.DB, s.Proto
	p.info.Name, p.info.LibName, p.info.LibVer = s.Name, s.LibName, s.LibVer
	p.info.NoEvict, p.info.NoTouch, p.info.ReadOnly = s.NoEvict, s.NoTouch, s.ReadOnly
	p.info.Queued, p.info.Watching = s.Queued(), s.Watching()
	if last := c.batch.lastSpec; last != nil {
		p.info.Command = last.Full
	}
}

// info is safe for any goroutine.
func (c *conn) info(now time.Time) command.ClientInfo {
	p := &c.public
	p.Lock()
	defer p.Unlock()
	i := p.info
	i.AgeSec = int64(now.Sub(p.created) / time.Second)
	i.IdleSec = int64(now.Sub(p.lastUsed) / time.Second)
	return i
}
