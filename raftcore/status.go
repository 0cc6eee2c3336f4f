package raftcore

import "slices"

// Status is a copy of what a core knows, for people and metrics.
type Status struct {
	ID          NodeID
	Role        Role
	Term        Term
	VotedFor    NodeID
	Leader      NodeID
	Commit      Index
	Applied     Index
	Stable      Index // last durable entry
	Floor       Index // every member is known to hold this much durably: the log before it is not needed
	First       Index // first entry that is not compacted
	Last        Pos
	LastStamp   LogTime
	Config      Config
	ConfigIndex Index
	Transferee  NodeID
	Uncommitted int    // bytes, on the leader
	Reads       int    // waiting for an answer
	Elections   uint64 // campaigns started
	Dropped     uint64 // messages that changed nothing
	Peers       []PeerState

	Snapshot   SnapshotMeta // the newest taken here; ID 0: none
	Fetching   uint64       // ID of the snapshot that is being fetched; 0: none
	Held       Index        // lowest position from which a peer with a snapshot will go on; 0: none
	LeaseUntil Instant      // a leader's lease; 0: none
}

// PeerState is a leader's view of one peer; empty on other nodes.
type PeerState struct {
	ID       NodeID
	Match    Index
	Next     Index
	State    string  // probing, replicating or snapshot
	Contact  Instant // last response
	Inflight int     // unacknowledged messages
}

// Status fills s, reusing its slices.
func (c *Core) Status(s *Status) {
	at := c.configs.current()
	*s = Status{
		ID: c.options.ID, Role: c.role, Term: c.hard.Term, VotedFor: c.hard.VotedFor, Leader: c.leader,
		Commit: c.commit, Applied: c.applied, Stable: c.log.stable, Floor: c.floor, First: c.log.base.Index + 1,
		Last: c.log.last, LastStamp: c.log.lastStamp, Config: at.Config, ConfigIndex: at.Pos.Index,
		Transferee: c.lead.transferee, Uncommitted: c.lead.uncommittedBytes,
		Reads:     len(c.lead.reads) + len(c.lead.gated) + len(c.reads.waiting) + len(c.reads.asked),
		Elections: c.elections, Dropped: c.dropped, Peers: s.Peers[:0],
		Snapshot: c.taken, Fetching: c.fetch.Meta.ID, Held: c.held(), LeaseUntil: c.leaseUntil(),
	}
	for i := range c.lead.peers {
		p := &c.lead.peers[i]
		s.Peers = append(s.Peers, PeerState{p.id, p.match, p.next, p.state.String(),
			p.contact, p.flights.count})
	}
}

// Contact is when this node has last heard of a leader: a follower by a message of one, a leader by
// the answers of a quorum. 0: never.
func (c *Core) Contact() Instant {
	if c.role == Leader {
		return c.quorumContact()
	}
	return c.contact
}

// Clone returns an independent copy that will behave the same. For tests and exploration.
func (c *Core) Clone() *Core {
	d := *c
	d.log.tail = slices.Clone(c.log.tail)
	d.log.runs = slices.Clone(c.log.runs)
	d.log.flights = slices.Clone(c.log.flights)
	d.configs.stack = slices.Clone(c.configs.stack)
	d.lead.peers = slices.Clone(c.lead.peers)
	for i := range d.lead.peers {
		p := &d.lead.peers[i]
		p.loaded = slices.Clone(p.loaded)
		p.flights.ring = slices.Clone(p.flights.ring)
	}
	d.lead.reads = slices.Clone(c.lead.reads)
	d.lead.gated = slices.Clone(c.lead.gated)
	d.reads.waiting = slices.Clone(c.reads.waiting)
	d.reads.asked = slices.Clone(c.reads.asked)
	d.outbox = slices.Clone(c.outbox)
	for i := range d.outbox {
		d.outbox[i].Entries = slices.Clone(d.outbox[i].Entries)
	}
	d.after = slices.Clone(c.after)
	d.readsReady = slices.Clone(c.readsReady)
	d.lostReads = slices.Clone(c.lostReads)
	d.events = slices.Clone(c.events)
	return &d
}
