package transport

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kelek/raftcore/wire"
)

// greetings are the accepted sockets whose handshake is not done, oldest first. A flood of silent
// ones pushes out each other, and a node's only if its handshake takes longer than the flood needs
// for greetingsMax sockets.
type greetings struct {
	mu    sync.Mutex
	conns []*conn
}

func (g *greetings) add(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.conns) >= greetingsMax {
		g.conns[0].end(errors.New("too many handshakes at a time"))
		g.conns = slices.Delete(g.conns, 0, 1)
	}
	g.conns = append(g.conns, c)
}

func (g *greetings) remove(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.conns, c); i >= 0 {
		g.conns = slices.Delete(g.conns, i, i+1)
	}
}

func (g *greetings) endAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.end(errClosed)
	}
}

// acceptLoop accepts until the listener is closed.
func (t *Transport) acceptLoop() {
	defer t.running.Done()
	for {
		socket, err := t.options.Listener.Accept()
		switch {
		case t.stopped.Err() != nil:
			if err == nil {
				socket.Close()
			}
			return
		case err != nil:
			t.handler.PeerError("", t.options.Listener.Addr().String(), fmt.Errorf("accept: %w", err))
			select {
			case <-time.After(acceptPause):
			case <-t.stopped.Done():
			}
		default:
			t.running.Add(1)
			go t.serve(t.newConn(socket, false))
		}
	}
}

// serve is the life of one inbound connection.
func (t *Transport) serve(c *conn) {
	defer t.running.Done()
	t.greetings.add(c)
	frames, err := t.greet(c)
	t.greetings.remove(c)
	if err != nil {
		c.end(err)
		t.unwelcome(c, err)
		return
	}
	if c.snapshot {
		t.serveSnapshot(c, frames)
		return
	}
	r := receiver{c: c, frames: frames}
	err = r.run()
	var refused *refusedError
	if !isBroken(err) && !errors.As(err, &refused) {
		refuse(c, false, err)
	}
	c.end(err)
	t.leave(c)
	if why := c.why; !errors.Is(why, errClosed) {
		t.handler.PeerError(c.hello.Load().Name, c.RemoteAddr().String(), readable(why))
	}
}

// greet is the acceptor's side of the handshake. Nothing but a refusal is said to a peer that is
// not accepted.
func (t *Transport) greet(c *conn) (*frameReader, error) {
	if t.stopped.Err() != nil {
		return nil, errClosed
	}
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	if err := readPreamble(c); err != nil {
		if !errors.Is(err, errStranger) && !isBroken(err) {
			refuse(c, true, err)
		}
		return nil, err
	}
	frames := newFrameReader(c, helloFrameBytesMax)
	h, purpose, err := readPurpose(frames)
	if err != nil {
		return nil, err
	}
	c.hello.Store(&h) // for the report
	if err := t.handler.Accept(h); err != nil {
		refuse(c, true, err)
		return nil, err
	}
	if purpose == kindSnapshotHello {
		c.snapshot = true
		return frames, t.welcomeSnapshot(c, &h)
	}
	return frames, t.welcome(c, frames, h)
}

// welcome answers an accepted peer. The picture changes first: it may still refuse.
func (t *Transport) welcome(c *conn, frames *frameReader, h wire.Hello) error {
	if err := t.arrive(c, h, func() {}); err != nil {
		refuse(c, true, err)
		return err
	}
	own := t.handler.Hello()
	_, err := c.Write(appendHello(appendPreamble(nil), &own))
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		c.end(err)
		t.leave(c)
		return err
	}
	frames.maxBytes = MaxFrameBytes
	t.reached(h)
	return nil
}

// unwelcome reports a connection that never became one. Nodes are reported by name, each time;
// strangers rarely, since anybody may knock as often as he likes.
func (t *Transport) unwelcome(c *conn, err error) {
	if errors.Is(err, errClosed) || errors.Is(c.why, errClosed) {
		return
	}
	addr := c.RemoteAddr().String()
	if h := c.hello.Load(); h != nil {
		t.handler.PeerError(plainText([]byte(h.Name)), addr, readable(err))
		return
	}
	t.mu.Lock()
	t.strangers++
	count, now := t.strangers, time.Now()
	report := now.Sub(t.strangersTold) >= strangerPeriod
	if report {
		t.strangers, t.strangersTold = 0, now
	}
	t.mu.Unlock()
	if report {
		err = readable(err)
		if count > 1 {
			err = fmt.Errorf("%w (and %d more)", err, count-1)
		}
		t.handler.PeerError("", addr, err)
	}
}
