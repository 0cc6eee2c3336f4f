package transport

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// presence is one node that is connected: its last hello and its connections, at most one per
// direction.
type presence struct {
	hello wire.Hello
	conns []*conn
}

// errDuplicate: a node id that is connected from one process speaks from another one.
var errDuplicate = errors.New("two processes run with one node id (a copied data directory)")

// arrive makes a connection whose handshake is done part of the cluster's picture, and tells the
// handler. Events are told one at a time, in the order in which the picture changed: t.events is
// held throughout, t.mu never while the handler runs.
//
// Who comes with a higher boot has restarted, so what is left of the former process goes. The same
// boot from another address, or a lower one while the higher is connected, is a second process on a
// copy of the directory: the newer connection is refused.
//
// begin is called before the handler.
func (t *Transport) arrive(c *conn, h wire.Hello, begin func()) error {
	t.events.Lock()
	defer t.events.Unlock()
	c.hello.Store(&h)
	restarted, stale, err := t.admit(c, h)
	if err != nil {
		return err
	}
	for _, old := range stale {
		old.end(errClosed)
	}
	begin()
	t.meet(h)
	if restarted {
		t.handler.Disconnected(h.NodeID)
	}
	t.handler.Connected(h)
	return nil
}

// admit changes the picture for arrive. stale are the connections that c replaces.
func (t *Transport) admit(c *conn, h wire.Hello) (restarted bool, stale []*conn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.present[h.NodeID]
	switch {
	case t.closed:
		return false, nil, errClosed
	case p == nil && !c.outbound && len(t.present) >= inboundPeersMax:
		return false, nil, fmt.Errorf("%d nodes are connected already, the limit", len(t.present))
	case p == nil:
		p = &presence{}
		t.present[h.NodeID] = p
	case h.Boot < p.hello.Boot || h.Boot == p.hello.Boot && h.PeerAddr != p.hello.PeerAddr:
		return false, nil, fmt.Errorf("%w: %s, id %x: start %d at %s and start %d at %s",
			errDuplicate, h.Name, uint64(h.NodeID), p.hello.Boot, p.hello.PeerAddr, h.Boot, h.PeerAddr)
	}
	restarted = len(p.conns) > 0 && h.Boot > p.hello.Boot
	for _, old := range p.conns {
		if restarted || old.outbound == c.outbound {
			stale = append(stale, old)
		}
	}
	p.conns = slices.DeleteFunc(p.conns, func(old *conn) bool { return slices.Contains(stale, old) })
	p.conns = append(p.conns, c)
	p.learn(h)
	return restarted, stale, nil
}

// learn keeps the newer hello. Two connections may bring them in the wrong order: a node never
// leaves its cluster, so the one without is the older.
func (p *presence) learn(h wire.Hello) {
	if h.Boot == p.hello.Boot && h.ClusterID == [16]byte{} {
		h.ClusterID = p.hello.ClusterID
	}
	p.hello = h
}

// renew takes a hello that came on a connection in use.
func (t *Transport) renew(c *conn, h wire.Hello) error {
	if h.NodeID != c.id() || h.Boot != c.hello.Load().Boot {
		return fmt.Errorf("node %x became %x on one connection", uint64(c.id()), uint64(h.NodeID))
	}
	if err := t.handler.Accept(h); err != nil {
		return err
	}
	t.events.Lock()
	defer t.events.Unlock()
	t.mu.Lock()
	p := t.present[h.NodeID]
	news := false
	if p != nil && slices.Contains(p.conns, c) {
		before := p.hello
		p.learn(h)
		h = p.hello
		news = h != before
		c.hello.Store(&h)
	}
	t.mu.Unlock()
	if news {
		t.meet(h)
		t.handler.Connected(h)
	}
	return nil
}

// leave takes a connection that has ended out of the picture. One that was replaced is not in it
// any more, and one that we closed is no news to the handler.
func (t *Transport) leave(c *conn) {
	t.events.Lock()
	defer t.events.Unlock()
	t.mu.Lock()
	id := c.id()
	p := t.present[id]
	at := -1
	if p != nil {
		at = slices.Index(p.conns, c)
	}
	if at >= 0 {
		p.conns = slices.Delete(p.conns, at, at+1)
		if len(p.conns) == 0 {
			delete(t.present, id)
		}
	}
	t.mu.Unlock()
	if at >= 0 && !errors.Is(c.why, errClosed) {
		t.handler.Disconnected(id)
	}
}

// Hellos returns the last hello of each connected node, by node id.
func (t *Transport) Hellos() []wire.Hello {
	t.mu.Lock()
	defer t.mu.Unlock()
	hellos := make([]wire.Hello, 0, len(t.present))
	for _, p := range t.present {
		hellos = append(hellos, p.hello)
	}
	slices.SortFunc(hellos, func(a, b wire.Hello) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return hellos
}

// connectionsOf returns the connections of every node for which want holds.
func (t *Transport) connectionsOf(want func(id raftcore.NodeID, h *wire.Hello) bool) []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	var conns []*conn
	for id, p := range t.present {
		if want(id, &p.hello) {
			conns = append(conns, p.conns...)
		}
	}
	return conns
}
