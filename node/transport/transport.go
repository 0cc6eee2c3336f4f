package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// Handler is who decides and who listens. Its methods are called by many goroutines; they may block
// the connection they were called for, but must return once the node stops, before Close is called.
// None of them may call Close; Connected and Disconnected must not wait for other events.
type Handler interface {
	// Hello is who we are now. The cluster id changes at most once, from zero; Announce follows.
	Hello() wire.Hello
	// Accept says whether we talk to this node; the text of its error is sent to it.
	Accept(h wire.Hello) error
	// Messages hands over what a peer's core says: the slice, the entries in it and their data.
	Messages(from raftcore.NodeID, messages []raftcore.Message)
	// Forwarded hands over a proposal.
	Forwarded(from raftcore.NodeID, proposal []byte)
	// Invited hands over an invitation.
	Invited(from raftcore.NodeID, inv wire.Invite)
	// Connected: a connection with the peer was made, in either direction, or its hello changed.
	Connected(peer wire.Hello)
	// Disconnected: a connection with the peer broke, in either direction, and not by us. The other
	// direction may still stand: it is a reason to doubt, and no proof.
	Disconnected(peer raftcore.NodeID)
	// PeerError is for the log; name is empty when it is not known who is there.
	PeerError(name, addr string, err error)
}

// Hint is a node that is known by name and address only, or by its address alone: then anybody who
// answers there is welcome.
type Hint struct {
	Name string
	Addr string
}

// Options of a Transport. Listener must be set; it is the Transport's from then on.
type Options struct {
	Listener net.Listener
	Hints    []Hint                                                   // nodes to dial from the start
	Dial     func(ctx context.Context, addr string) (net.Conn, error) // nil: TCP
	Now      func() raftcore.Instant                                  // nil: since New

	Snapshots    SnapshotSource // nil: there are none
	SnapshotRate int64          // bytes per second, over all streams; 0: no limit
}

// Transport carries frames between nodes. Sending never blocks. Safe for concurrent use.
//
// Lock order: events before mu before a queue's. The handler is never called under mu.
type Transport struct {
	options   Options
	handler   Handler
	self      raftcore.NodeID
	selfName  string
	stopped   context.Context
	stop      context.CancelFunc
	running   sync.WaitGroup
	greetings greetings
	streams   streams
	throttle  throttle

	// Hot: who is sent to, by node id; replaced as a whole whenever it changes.
	table atomic.Pointer[map[raftcore.NodeID]*peer]

	events sync.Mutex // held while the handler hears Connected and Disconnected

	mu            sync.Mutex
	closed        bool
	peers         []*peer // all that are dialled
	members       bool    // SetPeers was called: hints are no longer peers of their own
	met           bool    // a node of our cluster was connected
	present       map[raftcore.NodeID]*presence
	strangers     int // sockets that spoke another protocol, since strangersTold
	strangersTold time.Time
}

// New starts listening, and dialling the hints.
func New(o Options, h Handler) (*Transport, error) {
	if o.Listener == nil || h == nil {
		return nil, errors.New("transport: Listener and Handler have to be set")
	}
	if o.SnapshotRate != 0 && o.SnapshotRate < SnapshotRateMin {
		return nil, fmt.Errorf("transport: a snapshot rate of %d bytes/s is below %d", o.SnapshotRate,
			SnapshotRateMin)
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	if o.Now == nil {
		begin := time.Now()
		o.Now = func() raftcore.Instant { return raftcore.Instant(time.Since(begin)) }
	}
	own := h.Hello()
	t := &Transport{options: o, handler: h, self: own.NodeID, selfName: own.Name,
		present: map[raftcore.NodeID]*presence{}}
	t.throttle.bytesPerSecond = o.SnapshotRate
	t.stopped, t.stop = context.WithCancel(context.Background())
	t.table.Store(&map[raftcore.NodeID]*peer{})
	t.mu.Lock()
	for _, hint := range o.Hints {
		if hint.Name != t.selfName && (hint.Name != "" || hint.Addr != own.PeerAddr) {
			t.add(&peer{name: hint.Name, hint: hint.Addr})
		}
	}
	t.mu.Unlock()
	t.running.Add(1)
	go t.acceptLoop()
	return t, nil
}

// Send sends messages to one peer, in order. The slices are not kept, entries' data is.
func (t *Transport) Send(to raftcore.NodeID, messages []raftcore.Message) {
	if p := t.peerOf(to); p != nil {
		p.queue.sendMessages(messages)
	}
}

// Forward sends an encoded proposal, which must not change any more. False: it was dropped.
func (t *Transport) Forward(to raftcore.NodeID, proposal []byte) bool {
	p := t.peerOf(to)
	return p != nil && p.queue.sendPayload(kindProposal, proposal)
}

// Invite sends an invitation. False: it was dropped.
func (t *Transport) Invite(to raftcore.NodeID, inv wire.Invite) bool {
	p := t.peerOf(to)
	return p != nil && p.queue.sendPayload(kindInvite, wire.AppendInvite(nil, &inv))
}

// Announce tells everybody that our hello has changed, and closes the connections that Accept no
// longer allows.
func (t *Transport) Announce() {
	own := t.handler.Hello()
	payload := wire.AppendHello(nil, &own)
	for _, h := range t.Hellos() {
		if err := t.handler.Accept(h); err != nil {
			t.handler.PeerError(h.Name, h.PeerAddr, err)
			for _, c := range t.connectionsOf(func(id raftcore.NodeID, _ *wire.Hello) bool {
				return id == h.NodeID
			}) {
				c.end(errClosed)
			}
		} else if p := t.peerOf(h.NodeID); p != nil {
			p.queue.sendPayload(kindHello, payload)
		} else {
			t.sayHello(h.NodeID, &own)
		}
	}
}

// sayHello repeats our hello on the connection of a node that we do not dial: it waits to become a
// member, and has to hear who they are.
func (t *Transport) sayHello(to raftcore.NodeID, own *wire.Hello) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.present[to] == nil {
		return
	}
	frame := appendHello(nil, own)
	for _, c := range t.present[to].conns {
		t.running.Add(1)
		go func() {
			defer t.running.Done()
			if err := c.writeChunks(frame); err != nil {
				c.end(err)
			}
		}()
	}
}

func (t *Transport) peerOf(id raftcore.NodeID) *peer { return (*t.table.Load())[id] }

// Peers reports the connections that we dial, by name.
func (t *Transport) Peers() []wire.PeerStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	status := make([]wire.PeerStatus, 0, len(t.peers))
	for _, p := range t.peers {
		status = append(status, p.status())
	}
	slices.SortFunc(status, func(a, b wire.PeerStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return status
}

// status is locked by t.mu.
func (p *peer) status() wire.PeerStatus {
	dropped, passed := p.queue.counted()
	return wire.PeerStatus{ID: p.id, Name: p.name, Addr: cmp.Or(p.told, p.recorded, p.hint),
		Connected: p.conn != nil, LastError: p.lastError, Sent: p.sent.Load() + passed,
		Connects: p.connects.Load(), DialsFailed: p.dialsFailed.Load(),
		Dropped: dropped, LastReceived: raftcore.Instant(p.lastReceived.Load())}
}

// SetPeers says which members there are and how to reach them; the own one is skipped. Hints go on
// to help: they are second addresses of the members of their names, and are dialled themselves as
// long as there is a member without any address, or nobody of our cluster was met: they may belong
// to another cluster, which whoever started this node has to hear. Connections to others are
// closed.
func (t *Transport) SetPeers(members []op.Member) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	former := *t.table.Load()
	t.members = true
	for _, p := range t.peers {
		p.member = false
	}
	for i := range members {
		if id := raftcore.NodeID(members[i].ID); id != t.self {
			t.want(&members[i])
		}
	}
	t.prune()
	now := *t.table.Load()
	t.mu.Unlock()
	for _, c := range t.connectionsOf(func(id raftcore.NodeID, _ *wire.Hello) bool {
		return former[id] != nil && now[id] == nil
	}) {
		c.end(errClosed)
	}
}

// want finds or makes the peer of a member. Locked.
func (t *Transport) want(m *op.Member) {
	id := raftcore.NodeID(m.ID)
	i := slices.IndexFunc(t.peers, func(p *peer) bool { return p.id == id })
	if i < 0 {
		i = slices.IndexFunc(t.peers, func(p *peer) bool {
			return p.id == 0 && p.name == m.Name && p.name != ""
		})
	}
	if i < 0 {
		t.add(&peer{})
		i = len(t.peers) - 1
	}
	p := t.peers[i]
	p.member = true
	if moved := p.recorded != m.PeerAddr; moved {
		p.recorded = m.PeerAddr
		p.redial()
	}
	p.id = id
	p.name = cmp.Or(m.Name, p.name)
	if here := t.present[id]; here != nil {
		p.told = here.hello.PeerAddr
	}
	for _, hint := range t.options.Hints {
		if hint.Name == p.name && hint.Name != "" {
			p.hint = hint.Addr
		}
	}
}

// prune stops the peers that nobody wants: neither members, nor sought, nor hints that may yet turn
// out to be a member. Locked.
func (t *Transport) prune() {
	lost, absent := !t.met, false
	for _, p := range t.peers {
		lost = lost || p.member && p.told == "" && p.recorded == "" && p.hint == ""
		absent = absent || p.member && t.present[p.id] == nil
	}
	t.peers = slices.DeleteFunc(t.peers, func(p *peer) bool {
		hint := p.id == 0 && !p.spent && (lost || absent && p.name == "")
		wanted := !t.members && !p.spent || p.member || p.sought || hint
		if !wanted {
			p.stop()
		}
		return !wanted
	})
	t.publish()
}

// Seek says at which addresses nodes may be found that are not members, or not yet: they are dialled
// until the next call.
func (t *Transport) Seek(addrs []string) {
	own := t.handler.Hello().PeerAddr
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	for _, p := range t.peers {
		p.sought = p.sought && slices.Contains(addrs, p.hint)
	}
	for _, addr := range addrs {
		known := slices.ContainsFunc(t.peers, func(p *peer) bool {
			return addr == p.told || addr == p.recorded || addr == p.hint
		})
		if !known && addr != own {
			t.add(&peer{hint: addr, sought: true})
		}
	}
	t.prune()
}

// meet takes note of the first node of our own cluster: hints are no longer dialled in search of
// one.
func (t *Transport) meet(h wire.Hello) {
	own := t.handler.Hello().ClusterID
	if own == [16]byte{} || own != h.ClusterID {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	first := !t.met
	t.met = true
	if first && t.members {
		t.prune()
	}
}

// bind is called when a peer has said its id, with t.mu locked. If a member of that id is looked
// for, the address is news of it, and the hint has done its work.
func (t *Transport) bind(p *peer, h *wire.Hello, addr string) error {
	if p.stopped.Err() != nil {
		return errClosed
	}
	for _, other := range t.peers {
		if other != p && other.id == h.NodeID {
			other.told = addr
			other.redial()
			p.spent, p.sought = p.id == 0, false
			t.prune()
			return errClosed
		}
	}
	if p.id == 0 && t.members && !p.sought {
		return errors.New("it is not a member of the cluster")
	}
	p.id, p.name = h.NodeID, cmp.Or(p.name, h.Name)
	t.publish()
	return nil
}

// reached is called when a node has dialled us: now is a good time to dial it, and it has said
// where.
func (t *Transport) reached(h wire.Hello) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.peers {
		if p.id == h.NodeID {
			p.told = h.PeerAddr
			p.redial()
		} else if p.id == 0 && p.name == h.Name {
			p.redial()
		}
	}
}

// add starts a peer. Locked.
func (t *Transport) add(p *peer) {
	p.t = t
	p.stopped, p.stop = context.WithCancel(t.stopped)
	p.kick = make(chan struct{}, 1)
	p.queue = newQueue()
	t.peers = append(t.peers, p)
	t.running.Add(1)
	go p.run()
}

// publish makes the peers with an id the ones that are sent to. Locked.
func (t *Transport) publish() {
	table := make(map[raftcore.NodeID]*peer, len(t.peers))
	for _, p := range t.peers {
		if p.id != 0 {
			table[p.id] = p
		}
	}
	t.table.Store(&table)
}

// Close ends every connection and returns when no goroutine of the Transport runs any more. What is
// queued is lost.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	t.stop()
	var err error
	if first {
		err = t.options.Listener.Close()
	}
	t.greetings.endAll()
	t.streams.endAll()
	for _, c := range t.connectionsOf(func(raftcore.NodeID, *wire.Hello) bool { return true }) {
		c.end(errClosed)
	}
	t.running.Wait()
	return err
}
