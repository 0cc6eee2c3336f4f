package resp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"kelek/store/op"
)

// reactor serves the TCP connections of one Server on two goroutines. The reader waits for all of
// them at once, reads what has come, and gathers the batches of all connections that had something
// into one group: one submission, one read request. The replier takes groups whose outcome is
// known, and writes the replies. So what costs a wake-up, a lock or a place in a queue is paid per
// group, and with many clients that send one command at a time a group is all of them.
//
// Who owns a connection reads, executes and writes it; nobody else touches it but conn.turn:
//
//	nobody --event--> reader --group--> node --Resolve--> replier --> nobody
//	                    |                                   |
//	                    +--slow command--> own goroutine ---+
//
// An event for a connection that somebody owns is noted in turn, and whoever gives the connection
// up hands it back to the reader then. Edge-triggered events tell each change once; a read that did
// not fill its buffer has taken everything, and saves the one that would say so.
//
// What takes long or waits (a count of all keys, INFO, a pause, a client that does not take its
// replies) is carried out by a goroutine of its own, by the same code that serves connections
// where there is no reactor.
type reactor struct {
	server  *Server
	poll    *poller
	groups  sync.Pool // of *group
	running sync.WaitGroup

	mu       sync.Mutex
	slots    []*conn // by number; nil: free
	free     []int
	live     int     // slots in use
	again    []*conn // owned, to be looked at by the reader
	stopping bool    // nothing is accepted any more
	finished bool    // done is closed
	done     chan struct{}
	failed   atomic.Pointer[error] // the reader cannot go on

	reading  reading
	resolved struct {
		sync.Mutex
		groups []*group
		news   chan struct{} // one token
	}

	// The reader's.
	writes *group // being gathered
	now    time.Time
	batch  []*conn // scratch
}

var _ interface {
	op.Sink
	op.StepObserver
} = (*group)(nil)

// Bounds of one group: beyond them the next one begins.
const (
	groupConnsMax = 512
	groupBytesMax = 256 << 10
)

// turn is who may touch a connection.
type turn struct{ state atomic.Uint32 }

const (
	owned  = 1 << iota // somebody reads, executes or writes
	missed             // and something has happened meanwhile
)

// take makes the caller the owner. False: there is one, who will hand it to the reader.
func (t *turn) take() bool {
	for {
		state := t.state.Load()
		if state&owned == 0 && t.state.CompareAndSwap(state, owned) {
			return true
		}
		if state&owned != 0 && t.state.CompareAndSwap(state, owned|missed) {
			return false
		}
	}
}

// give ends an ownership. False: something was missed, and the caller is still the owner.
func (t *turn) give() bool {
	if t.state.CompareAndSwap(owned, 0) {
		return true
	}
	t.state.Store(owned)
	return false
}

// reactive is what a connection is to its reactor.
type reactive struct {
	reactor   *reactor // nil: it has a goroutine, and the rest is not used
	socket    *socket
	slot      int
	turn      turn
	ending    atomic.Bool  // the client ends the stream, or has reset it
	touched   atomic.Int64 // when it was last heard of, Unix ns
	stalledAt atomic.Int64 // since when it does not take replies, Unix ns; 0: it does
	stranger  atomic.Bool  // it has not given the password yet

	// The owner's.
	drained bool // the last read took everything
	more    bool // there are commands that the last batch had no room for
	started time.Time
}

// wakeReactor has the reactor look whether a connection is to end. False: it has none.
func (c *conn) wakeReactor() bool {
	r := c.reactor
	if r == nil {
		return false
	}
	if c.turn.take() {
		r.look(c)
	} else {
		c.socket.wake()
	}
	return true
}

// setStranger follows the session: the time-out before AUTH ends with it.
func (c *conn) setStranger(is bool) { c.stranger.Store(is) }

// cut ends a connection under a reactor though somebody may own it. False: it is under none.
func (g *guard) cut() bool {
	s, ok := g.Conn.(*socket)
	if ok {
		s.Shutdown()
	}
	return ok
}

// newReactor returns a reactor for a TCP listener, and nil for others (TLS has a state of its own),
// whose connections have a goroutine each.
func newReactor(s *Server, ln net.Listener) *reactor {
	if _, ok := ln.(*net.TCPListener); !ok {
		return nil
	}
	poll, err := newPoller()
	if err != nil {
		s.log.Warn().Err(err).Msg("each client gets a goroutine")
		return nil
	}
	r := &reactor{server: s, poll: poll, done: make(chan struct{})}
	r.groups.New = func() any { return newGroup(r) }
	r.resolved.news = make(chan struct{}, 1)
	r.writes, r.reading.next = r.group(), r.group()
	return r
}

// serve accepts until the listener ends, as redcon.Serve does, or until nobody can be served.
func (r *reactor) serve(ln *listener) error {
	for _, run := range [...]func(){func() { r.read(ln) }, r.reply, r.sweep} {
		r.running.Add(1)
		go func() {
			defer r.running.Done()
			run()
		}()
	}
	for {
		nc, err := ln.Accept()
		if err != nil {
			return r.stop(err)
		}
		c := r.newConn(nc.(*guard))
		if err := r.poll.watch(c.socket.fd, c.slot, interest); err != nil {
			r.server.log.Warn().Err(err).Msg("cannot serve a client")
			r.end(c)
		}
	}
}

// adopt makes a TCP connection one that this reactor can watch.
func (r *reactor) adopt(c net.Conn) (net.Conn, error) {
	return newSocket(c.(*net.TCPConn), r.server.shared.limits.WriteTimeout)
}

const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// newConn registers a connection. The reader hears of it when it is watched.
func (r *reactor) newConn(g *guard) *conn {
	c := newConn(r.server, g)
	c.reactor, c.socket = r, g.Conn.(*socket)
	c.touched.Store(time.Now().UnixNano())
	c.stranger.Store(g.authNeeded)
	r.mu.Lock()
	r.live++
	c.slot = len(r.slots)
	if n := len(r.free); n > 0 {
		c.slot, r.free = r.free[n-1], r.free[:n-1]
		r.slots[c.slot] = c
	} else {
		r.slots = append(r.slots, c)
	}
	r.mu.Unlock()
	g.conn.Store(c)
	r.server.shared.setConn(g, c)
	return c
}

// read is the reader. A node that accepts clients and serves none would be the worst of all: if the
// reader cannot go on, serve ends.
func (r *reactor) read(ln net.Listener) {
	for {
		events, err := r.poll.wait()
		if err != nil {
			r.failed.Store(&err)
			ln.Close() // wakes serve
			return
		}
		r.now = time.Now()
		for _, c := range r.collect(events) {
			r.step(c)
		}
		r.submitWrites()
		r.submitReads()
		select {
		case <-r.done:
			if err := r.poll.close(); err != nil {
				r.server.log.Warn().Err(err).Msg("cannot close the poller of the clients")
			}
			return
		default:
		}
	}
}

// collect takes the connections that something has happened to, as far as nobody owns them.
func (r *reactor) collect(events []unix.EpollEvent) []*conn {
	list := r.batch[:0]
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range events {
		slot := int(events[i].Fd)
		if slot == bellSlot {
			r.poll.hush()
			continue
		}
		c := r.slots[slot]
		if c == nil {
			continue
		}
		if events[i].Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			c.ending.Store(true)
		}
		if c.turn.take() {
			c.drained = false
			list = append(list, c)
		} else {
			c.socket.wake()
		}
	}
	list = append(list, r.again...)
	clear(r.again)
	r.again = r.again[:0]
	r.batch = list
	return list
}

// look hands an owned connection to the reader.
func (r *reactor) look(c *conn) {
	r.mu.Lock()
	r.again = append(r.again, c)
	r.mu.Unlock()
	r.poll.ring()
}

// step goes on with a connection that the reader owns, as far as nothing has to be waited for.
func (r *reactor) step(c *conn) {
	for {
		if c.guard.stopping.Load() {
			r.end(c)
			return
		}
		if c.batch.unsent() && !r.flushed(c) {
			return
		}
		if !c.more {
			switch v, err := c.fetch(); {
			case v == broken:
				c.guard.complain()
				r.end(c)
				return
			case err == errStalled:
				r.release(c)
				return
			case err != nil:
				r.end(c)
				return
			}
		}
		if !r.start(c) {
			return
		}
	}
}

// fetch reads until a whole command is there. errStalled: it is not.
func (c *conn) fetch() (verdict, error) {
	g := c.guard
	for {
		if v := g.check(&g.limits); v != needMore {
			return v, nil
		}
		if c.drained {
			return needMore, errStalled
		}
		space := g.space()
		n, err := c.socket.Read(space)
		if err != nil {
			return needMore, err
		}
		g.received(n)
		g.shared.Stats.BytesIn.Add(uint64(n))
		c.touched.Store(c.reactor.now.UnixNano())
		c.drained = n < len(space) && !c.ending.Load()
	}
}

// start gathers and begins a batch. True: it is over, and the connection is still the reader's.
func (r *reactor) start(c *conn) bool {
	b := &c.batch
	c.started = r.now
	b.lone = false
	c.more = b.gather()
	switch {
	case b.hungUp:
		c.guard.hangUp()
		r.end(c)
	case b.lone:
		go r.serveSlowly(c, false)
	case b.pending && r.server.shared.pausing.Load():
		go r.serveSlowly(c, true)
	case !b.pending:
		b.answer(len(b.slots), nil)
		if b.next < len(b.slots) {
			go r.serveSlowly(c, true)
			return false
		}
		return r.complete(c, r.now)
	case b.queries(b.leadEnd()):
		r.joinReads(c)
	default:
		b.answer(b.firstOp, nil)
		r.joinWrites(c)
	}
	return false
}

func (r *reactor) joinWrites(c *conn) {
	if r.writes.full(c) {
		r.submitWrites()
	}
	r.writes.addWrites(c)
}

func (r *reactor) joinReads(c *conn) {
	q := &r.reading
	q.Lock()
	defer q.Unlock()
	if q.next.full(c) || len(q.next.conns) > 0 && q.next.promise != c.session.Read {
		q.ask(r)
	}
	q.next.promise = c.session.Read
	q.next.conns = append(q.next.conns, c)
}

// submitWrites sends the group of writes, if there is anything in it.
func (r *reactor) submitWrites() {
	if g := r.writes; len(g.conns) > 0 {
		r.writes = r.group()
		g.propose()
	}
}

// submitReads asks for the reads that were gathered, unless the replier has not come to the last
// group yet: another one would only wait behind it. Meanwhile they become more, and a round of the
// cluster serves all of them.
func (r *reactor) submitReads() {
	q := &r.reading
	q.Lock()
	defer q.Unlock()
	if q.asked == 0 && len(q.next.conns) > 0 {
		q.ask(r)
	}
}

// reading is the reads of a reactor before their answer.
type reading struct {
	sync.Mutex
	next  *group // being gathered
	asked int    // groups that the replier has not begun with
}

// ask sends the group that was gathered. Locked.
func (q *reading) ask(r *reactor) {
	g := q.next
	q.next = r.group()
	q.asked++
	g.ask()
}

// begun is told by the replier.
func (q *reading) begun(r *reactor) {
	q.Lock()
	q.asked--
	q.Unlock()
	r.submitReads()
}

// complete ends a batch: its replies leave. False: the connection is not the caller's any more.
func (r *reactor) complete(c *conn, now time.Time) bool {
	c.finish(c.started, now)
	return r.flushed(c)
}

// flushed sends what is to be sent. False: the connection has ended, or waits for its client.
func (r *reactor) flushed(c *conn) bool {
	err := c.batch.flush()
	switch {
	case err != nil:
		r.end(c)
		return false
	case c.batch.unsent():
		c.stalledAt.CompareAndSwap(0, time.Now().UnixNano())
		r.release(c)
		return false
	case c.session.Closing:
		r.end(c)
		return false
	}
	c.stalledAt.Store(0)
	return true
}

// proceed gives up a connection whose batch is over, or hands it to the reader when there is more
// to do.
func (r *reactor) proceed(c *conn) {
	if c.more || !c.drained || c.guard.stopping.Load() ||
		c.guard.check(&c.guard.limits) != needMore {
		r.look(c)
		return
	}
	r.release(c)
}

// release gives up the ownership.
func (r *reactor) release(c *conn) {
	if !c.turn.give() {
		c.drained = false
		r.look(c)
	}
}

// end closes a connection and frees its slot.
func (r *reactor) end(c *conn) {
	c.guard.Close() // it was about to end anyway
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots[c.slot] = nil
	r.free = append(r.free, c.slot)
	r.live--
	r.maybeFinish()
}

// serveSlowly serves a connection by a goroutine of its own until it has nothing to do. begun: a
// batch is gathered, and perhaps answered in part.
func (r *reactor) serveSlowly(c *conn, begun bool) {
	b := &c.batch
	c.socket.patient, b.slowly = true, true
	var err error
	if begun {
		b.execute()
		c.finish(c.started, time.Now())
		if err = b.flush(); err == nil && c.session.Closing {
			err = errClosing
		}
	}
	if err == nil && (c.more || !begun) {
		c.more = false
		err = c.serve()
	}
	c.socket.patient, b.slowly = false, false
	c.drained = false
	if err != nil {
		r.end(c)
		return
	}
	r.look(c)
}

// stop ends every connection when nothing is accepted any more, and returns what serve returns. It
// waits for the goroutines, except for connections that were cut off: they end with the answer of
// the node.
func (r *reactor) stop(err error) error {
	if failed := r.failed.Load(); failed != nil {
		return *failed
	}
	for _, g := range r.server.shared.of(r.server) {
		g.interrupt()
	}
	r.mu.Lock()
	r.stopping = true
	r.maybeFinish()
	r.mu.Unlock()
	if !r.server.isStopping() {
		return err
	}
	if !r.server.cutOff.Load() {
		r.running.Wait()
	}
	return nil
}

// maybeFinish ends the goroutines once nobody needs them. Locked.
func (r *reactor) maybeFinish() {
	if r.stopping && r.live == 0 && !r.finished {
		r.finished = true
		close(r.done)
		r.poll.ring()
	}
}
