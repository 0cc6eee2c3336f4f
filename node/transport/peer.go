package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// peer is one node that we dial, in order to send to it. It is known by its node id, or by its name
// alone until it has said its id.
type peer struct {
	t       *Transport
	stop    context.CancelFunc
	stopped context.Context
	kick    chan struct{} // a token: dial at once
	queue   queue

	sent         atomic.Uint64 // frames, by the goroutine of run
	connects     atomic.Uint64
	dialsFailed  atomic.Uint64
	lastReceived atomic.Uint64 // Options.Now of the last read from it

	// Guarded by t.mu.
	id        raftcore.NodeID // 0: not known yet
	name      string
	recorded  string // address in the member list
	hint      string // address in --peers
	told      string // address in its own hello, when it dialled us
	conn      *conn  // nil: not connected
	lastError string
	failures  int // dials in vain: the addresses take turns. 0 again when the peer is heard of

	// Why it is dialled: any of these will do, or an id of 0 while members are missing.
	member bool
	sought bool
	spent  bool // it was a hint, and led to a peer that is there under its id

	buf []byte // owned by the goroutine of run: frames that are about to be written
}

var (
	errNoAddress = errors.New("no address is known")
	errElsewhere = errors.New("another node answers there")
)

// run dials, sends until the connection breaks, and dials again.
func (p *peer) run() {
	defer p.t.running.Done()
	delay := redialMin
	for p.stopped.Err() == nil {
		addr, err := p.connectAndSend(&delay)
		if p.stopped.Err() != nil {
			return
		}
		p.failed(addr, err)
		select {
		case <-p.kick:
		case <-p.stopped.Done():
		case <-time.After(delay/2 + rand.N(delay/2)):
			delay = min(2*delay, redialMax)
		}
	}
}

// connectAndSend is one connection from its dial to its end; err says why it ended.
func (p *peer) connectAndSend(delay *time.Duration) (addr string, err error) {
	select { // what asked for this dial has its way
	case <-p.kick:
	default:
	}
	if addr = p.address(); addr == "" {
		return "", errNoAddress
	}
	c, err := p.dial(addr)
	if err != nil {
		p.dialsFailed.Add(1)
		p.t.mu.Lock()
		p.failures++
		p.t.mu.Unlock()
		return addr, err
	}
	*delay = redialMin
	return addr, p.send(c)
}

// failed records and reports why there is no connection.
func (p *peer) failed(addr string, err error) {
	p.t.mu.Lock()
	p.lastError = cause(err)
	name := p.name
	p.t.mu.Unlock()
	if addr != "" && !errors.Is(err, errClosed) {
		p.t.handler.PeerError(name, addr, readable(err))
	}
}

// address returns the next address to try: first where the peer itself says it is, then where
// the members say, then where --peers says.
func (p *peer) address() string {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	var known []string
	for _, addr := range []string{p.told, p.recorded, p.hint} {
		if addr != "" && (len(known) == 0 || known[len(known)-1] != addr) {
			known = append(known, addr)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return known[p.failures%len(known)]
}

// dial connects and shakes hands.
func (p *peer) dial(addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(p.stopped, dialTimeout)
	defer cancel()
	socket, err := p.t.options.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := p.t.newConn(socket, true)
	// Stopping ends a handshake, too.
	defer context.AfterFunc(p.stopped, func() { c.end(errClosed) })()
	frames, err := p.shakeHands(c, addr)
	if err != nil {
		c.end(err)
		return nil, err
	}
	p.t.running.Add(1)
	go c.watch(frames)
	return c, nil
}

func (p *peer) shakeHands(c *conn, addr string) (*frameReader, error) {
	said := p.t.handler.Hello()
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(appendHello(appendPreamble(nil), &said)); err != nil {
		return nil, err
	}
	if err := readPreamble(c); err != nil {
		return nil, err
	}
	frames := newFrameReader(c, helloFrameBytesMax)
	h, err := readHello(frames)
	if err != nil {
		return nil, err
	}
	if err := p.check(h, addr); err != nil {
		refuse(c, false, err)
		return nil, err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return frames, p.t.arrive(c, h, func() { p.begin(c, said) })
}

// begin makes the connection the one that is sent to. It comes before the handler hears of the
// connection, so that what it sends in answer is not dropped.
func (p *peer) begin(c *conn, said wire.Hello) {
	p.connects.Add(1) // before anybody sees that it is connected
	p.t.mu.Lock()
	p.conn, p.lastError = c, ""
	p.t.mu.Unlock()
	p.queue.begin(newExpress(c), said, p.t.handler.Hello)
}

// check decides whether who answered is who we wanted.
func (p *peer) check(h wire.Hello, addr string) error {
	if err := p.t.handler.Accept(h); err != nil {
		return err
	}
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	switch {
	case p.t.members && p.id != 0 && h.NodeID != p.id:
		return fmt.Errorf("%w: %s with id %x instead of %s with id %x", errElsewhere, h.Name,
			uint64(h.NodeID), p.name, uint64(p.id))
	case (!p.t.members || p.id == 0) && p.name != "" && h.Name != p.name:
		return fmt.Errorf("%w: %s instead of %s", errElsewhere, h.Name, p.name)
	}
	return p.t.bind(p, &h, addr)
}

// send writes what the queue brings until the connection ends.
func (p *peer) send(c *conn) error {
	err := p.pump(c)
	p.queue.end()
	p.t.mu.Lock()
	p.conn = nil
	p.t.mu.Unlock()
	c.end(err)
	return c.why
}

func (p *peer) pump(c *conn) error {
	for {
		select {
		case <-p.queue.wake:
		case <-c.done:
			return c.why
		case <-p.stopped.Done():
			return errClosed
		}
		items := p.queue.take()
		err := p.write(c, items)
		p.queue.give(items)
		if err != nil {
			return err
		}
	}
}

// write encodes frames and writes them, as many per system call as its limit allows.
func (p *peer) write(c *conn, items []item) error {
	for i := range items {
		p.buf = appendItem(p.buf, &items[i])
		if len(p.buf) < writeBytesMax && i < len(items)-1 {
			continue
		}
		err := c.writeChunks(p.buf)
		p.buf = p.buf[:0]
		if cap(p.buf) > keepBytesMax {
			p.buf = nil
		}
		if err != nil {
			return err
		}
	}
	p.sent.Add(uint64(len(items)))
	return nil
}

func appendItem(dst []byte, it *item) []byte {
	if it.kind == restOfFrames {
		return append(dst, it.payload...)
	}
	dst, start := beginFrame(dst, it.kind)
	if it.kind == kindMessage || it.kind == kindAppend {
		dst = wire.AppendMessage(dst, &it.message)
	} else {
		dst = append(dst, it.payload...)
	}
	endFrame(dst, start)
	return dst
}

// redial asks for a dial without a pause, beginning with the best address. Locked by t.mu.
func (p *peer) redial() {
	if p.conn == nil {
		p.failures = 0
		select {
		case p.kick <- struct{}{}:
		default:
		}
	}
}

// watch reads on a connection that we dialled. A new hello may come, or a refusal; what matters is
// the end, which a killed process brings at once.
func (c *conn) watch(frames *frameReader) {
	defer c.t.running.Done()
	for {
		if err := c.watchFrame(frames); err != nil {
			c.end(err)
			c.t.leave(c)
			return
		}
	}
}

func (c *conn) watchFrame(frames *frameReader) error {
	k, payload, _, err := frames.next()
	if err != nil {
		return err
	}
	if refused := refusal(k, payload); refused != nil {
		return refused
	}
	if k != kindHello {
		return fmt.Errorf("%w: %d", errKind, k)
	}
	h, err := decodeHello(payload)
	if err != nil {
		return err
	}
	return c.t.renew(c, h)
}
