package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// PeerProtocol is the version of what nodes say to each other after the handshake.
const PeerProtocol = 1

// Why a peer is refused; wrapped with the names and numbers.
var (
	// ErrOwnAddress: a peer's address leads back to this process.
	ErrOwnAddress = errors.New("the address leads back to the node itself")
	// ErrDuplicateIdentity: two processes run with one node id, on copies of one data directory.
	ErrDuplicateIdentity = errors.New("two processes run with one node id")
	// ErrOtherCluster: both nodes belong to a cluster, and not to the same.
	ErrOtherCluster = wire.ErrOtherCluster
	// ErrRemoved: the cluster has removed the node, and its id is never used again.
	ErrRemoved = wire.ErrRemoved
	// ErrExpelled: a member says ErrRemoved of this node.
	ErrExpelled = wire.ErrExpelled
)

// Receiver is what the loop wants to hear of the transport; see Greeter.Attach.
type Receiver interface {
	// Messages and their Entries slices are the receiver's from now on.
	Messages(from raftcore.NodeID, messages []raftcore.Message)
	// Forwarded is a numbered proposal of another origin; it is the receiver's from now on.
	Forwarded(from raftcore.NodeID, proposal []byte)
	// Connected and Disconnected are called one at a time, in the order of the events.
	Connected(peer wire.Hello)
	Disconnected(peer raftcore.NodeID)
	// PeerError is for the log. name is empty when it is not known who is there.
	PeerError(name, addr string, err error)
}

// GreeterOptions say how this node can be reached and what it was started with.
type GreeterOptions struct {
	Identity    *Identity
	Group       uint64
	PeerAddr    string // as other nodes dial it
	Addr        string // as clients dial the plain listener
	ClusterAddr string // as clients dial the cluster listener; empty when off
	Build       string
	Peers       []Peer // --peers, as ParsePeers returned it
	Join        bool   // --join: it never creates a cluster
	Learner     bool   // --role learner: where it joins, it stays a learner
	LogEmpty    bool   // the log has neither an entry nor a snapshot position
}

// Greeter is the transport's handler for the whole life of the process, so that there is no moment
// at which a connection has nobody to talk to. What concerns identity it answers itself: who we
// are, whom we talk to, which cluster we are invited to. Everything else goes to the Receiver that
// is attached, and nowhere before that: raft's messages may be lost. Safe for concurrent use.
//
// Life: NewGreeter, start the transport with it, Form, Attach the loop. A Receiver may be attached
// before Form as well, if it ignores messages until Form has returned.
type Greeter struct {
	identity *Identity
	peers    []Peer
	join     bool
	kind     wire.JoinKind // how it asks, when it does
	blank    wire.Hello    // our hello but for what changes
	logEmpty bool

	cluster  atomic.Pointer[wire.Invite] // ours: id and founders. nil: none yet
	asks     atomic.Bool                 // a cluster shall let us in
	census   atomic.Pointer[Census]      // nil: not known yet
	receiver atomic.Pointer[Receiver]
	invites  chan invitation // bounded; a lost one is sent again
	wake     chan struct{}   // something happened that Form may wait for
}

// invitation is an Invite and who sent it.
type invitation struct {
	from raftcore.NodeID
	wire.Invite
}

// Census is what the loop knows of the cluster, for those who knock.
type Census struct {
	Members []op.Member  // of the configuration in force
	Up      []uint64     // those of them that are connected, and this node
	Retired []op.Retired // those who are gone for good
	Joined  bool         // this node is one of the members
}

// NewGreeter returns a Greeter without a Receiver.
func NewGreeter(o GreeterOptions) *Greeter {
	g := &Greeter{
		identity: o.Identity,
		peers:    o.Peers,
		logEmpty: o.LogEmpty,
		join:     o.Join,
		kind:     wire.JoinVoter,
		blank: wire.Hello{
			Protocol: PeerProtocol, Group: o.Group, NodeID: o.Identity.NodeID, Boot: o.Identity.Boot,
			Name: o.Identity.Name, PeerAddr: o.PeerAddr, Addr: o.Addr, ClusterAddr: o.ClusterAddr,
			Build: o.Build, Peers: FormatPeers(o.Peers),
		},
		invites: make(chan invitation, peersMax),
		wake:    make(chan struct{}, 1),
	}
	if o.Learner {
		g.kind = wire.JoinLearner
	}
	if id := o.Identity; id.ClusterID != [16]byte{} && !g.unfinished() {
		g.enter(wire.Invite{ClusterID: id.ClusterID, Members: id.Founders})
		// The configuration that let it in may have been lost with its leader. Members are not heard.
		g.asks.Store(g.logEmpty)
	}
	return g
}

// unfinished reports that this node chose a cluster id and stopped before entry 1 was durable. It
// has told nobody, so it is as blank as before.
func (g *Greeter) unfinished() bool { return g.identity.Creator && g.logEmpty }

// enter makes the cluster ours in everything we say from now on.
func (g *Greeter) enter(c wire.Invite) { g.cluster.Store(&c) }

// ask says in our hello whether a cluster shall let us in. It reports whether that is news.
func (g *Greeter) ask(on bool) bool { return g.asks.Swap(on) != on }

// Know takes what the loop knows of the cluster. It is not changed afterwards.
func (g *Greeter) Know(c *Census) { g.census.Store(c) }

// Attach says who hears of messages and connections from now on. Connections that were made before
// are in the transport's Hellos.
func (g *Greeter) Attach(r Receiver) { g.receiver.Store(&r) }

// Hello is who we are, now: the cluster id is set once, by Form.
func (g *Greeter) Hello() wire.Hello {
	h := g.blank
	census := g.census.Load()
	if c := g.cluster.Load(); c != nil {
		h.ClusterID = c.ClusterID
		if census != nil {
			h.Members = formatMembers(census.Members)
		}
	}
	if g.asks.Load() && (census == nil || !census.Joined) {
		h.Join = g.kind
	}
	return h
}

// formatMembers is the addresses of the members, for who looks for them: "n1=host:port,...".
func formatMembers(members []op.Member) string {
	var known []string
	for _, m := range members {
		if m.PeerAddr != "" {
			known = append(known, m.Name+"="+m.PeerAddr)
		}
	}
	return strings.Join(known, ",")
}

// parseMembers is its inverse. What is not an element is left out: it is only a hint.
func parseMembers(text string) (members []Peer) {
	for _, part := range strings.Split(text, ",") {
		if p, err := parsePeer(part); err == nil {
			members = append(members, p)
		}
	}
	return members
}

// Accept decides whether we talk to a peer. Its error is sent to the peer, so it speaks of both
// nodes by name.
func (g *Greeter) Accept(h wire.Hello) error {
	own := g.Hello()
	both := func(format string, a, b any) error {
		text := "%s (%s) has " + format + ", %s (%s) has " + format
		return fmt.Errorf(text, own.Name, own.PeerAddr, a, h.Name, h.PeerAddr, b)
	}
	switch {
	case h.Protocol != own.Protocol:
		return both("protocol version %v", own.Protocol, h.Protocol)
	case h.Group != own.Group:
		return both("raft group %v", own.Group, h.Group)
	case h.NodeID == 0:
		return errors.New("the peer has no node id")
	case CheckName(h.Name) != nil:
		return fmt.Errorf("the peer's name: %w", CheckName(h.Name))
	case h.NodeID == own.NodeID && h.Boot == own.Boot && h.PeerAddr == own.PeerAddr:
		return fmt.Errorf("%w: %s (%s)", ErrOwnAddress, own.Name, own.PeerAddr)
	case h.NodeID == own.NodeID:
		return fmt.Errorf("%w, at %s and at %s: one of the data directories is a copy; stop that "+
			"node and start it with an empty directory", ErrDuplicateIdentity, own.PeerAddr, h.PeerAddr)
	case own.ClusterID != h.ClusterID && own.ClusterID != [16]byte{} && h.ClusterID != [16]byte{}:
		// NB: before the names, which have to differ within a cluster only.
		return fmt.Errorf("%w: %w", ErrOtherCluster, both("cluster id %v",
			ClusterName(own.ClusterID), ClusterName(h.ClusterID)))
	}
	if err := g.acceptMember(&h, &own); err != nil {
		return err
	}
	if h.Name == own.Name {
		return fmt.Errorf("two nodes are named %s, at %s and at %s: give one of them another --id",
			h.Name, own.PeerAddr, h.PeerAddr)
	}
	return nil
}

// acceptMember decides by what is known of the members.
func (g *Greeter) acceptMember(h, own *wire.Hello) error {
	census := g.census.Load()
	if census == nil {
		return nil
	}
	for _, gone := range census.Retired {
		if gone.ID == uint64(h.NodeID) {
			return fmt.Errorf("%w: %s (id %x) was removed from cluster %s at index %d", ErrRemoved,
				h.Name, gone.ID, ClusterName(own.ClusterID), gone.Index)
		}
	}
	if _, member := findMember(census.Members, uint64(h.NodeID)); member {
		return nil
	}
	for _, m := range census.Members {
		if m.Name == h.Name && m.Name != own.Name && slices.Contains(census.Up, m.ID) {
			return fmt.Errorf("a member named %s is up at %s, so the node at %s cannot join under this "+
				"name: give it another --id, or stop the other one", m.Name, m.PeerAddr, h.PeerAddr)
		}
	}
	return nil
}

// Invited takes an invitation for Form to judge. A node that is in a cluster needs none.
func (g *Greeter) Invited(from raftcore.NodeID, inv wire.Invite) {
	if g.cluster.Load() != nil {
		return
	}
	select {
	case g.invites <- invitation{from, inv}:
		g.poke()
	default: // senders repeat it
	}
}

// Reinvite invites every connected node that belongs to no cluster although it is a founder of
// ours: the creator may have stopped after it created and before it invited. members is the
// configuration in force, empty while the log is; once it has changed, the leader alone invites.
// The loop calls it about once a second; it does nothing then but look at the hellos.
func (g *Greeter) Reinvite(m Meeting, members raftcore.Config) {
	cluster := g.cluster.Load()
	if cluster == nil || !founding(members, cluster.Members) {
		return
	}
	for _, h := range m.Hellos() {
		founder := slices.ContainsFunc(cluster.Members, func(f wire.Founder) bool {
			return f.ID == h.NodeID
		})
		if h.ClusterID == [16]byte{} && founder {
			m.Invite(h.NodeID, *cluster)
		}
	}
}

// founding reports whether c is empty, or that of the first entry.
func founding(c raftcore.Config, founders []wire.Founder) bool {
	members := c.Members()
	if len(members) == 0 {
		return true
	}
	return len(members) == len(founders) && len(members) == len(c.Voters) &&
		!slices.ContainsFunc(founders, func(f wire.Founder) bool { return !c.IsVoter(f.ID) })
}

func (g *Greeter) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// attached returns the Receiver, or one that hears nothing.
func (g *Greeter) attached() Receiver {
	if r := g.receiver.Load(); r != nil {
		return *r
	}
	return nobody{}
}

// Messages passes on what a peer's core says.
func (g *Greeter) Messages(from raftcore.NodeID, messages []raftcore.Message) {
	g.attached().Messages(from, messages)
}

// Forwarded passes on a proposal of another origin.
func (g *Greeter) Forwarded(from raftcore.NodeID, proposal []byte) {
	g.attached().Forwarded(from, proposal)
}

// Connected passes on that a connection with a peer was made, or that its hello changed.
func (g *Greeter) Connected(peer wire.Hello) {
	g.poke()
	g.attached().Connected(peer)
}

// Disconnected passes on that a connection with a peer broke.
func (g *Greeter) Disconnected(peer raftcore.NodeID) {
	g.poke()
	g.attached().Disconnected(peer)
}

// PeerError passes on why a connection failed.
func (g *Greeter) PeerError(name, addr string, err error) {
	g.attached().PeerError(name, addr, err)
}

// nobody is the Receiver of a node whose loop does not run yet.
type nobody struct{}

func (nobody) Messages(raftcore.NodeID, []raftcore.Message) {}
func (nobody) Forwarded(raftcore.NodeID, []byte)            {}
func (nobody) Connected(wire.Hello)                         {}
func (nobody) Disconnected(raftcore.NodeID)                 {}
func (nobody) PeerError(string, string, error)              {}
