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
}

// PeerState is a leader's view of one peer; empty on other nodes.
type PeerState struct {
	ID       NodeID
	Match    Index
	Next     Index
	State    string
	Stranded bool    // what it needs is compacted
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
	}
	for i := range c.lead.peers {
		p := &c.lead.peers[i]
		s.Peers = append(s.Peers, PeerState{p.id, p.match, p.next, p.state.String(),
			p.state == stranded, p.contact, p.flights.count})
	}
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

// Fingerprint hashes everything that decides how the core behaves from here on: two cores with
// equal fingerprints are the same for an exhaustive search.
func (c *Core) Fingerprint() uint64 {
	h := fingerprint(14695981039346656037)
	h.add(uint64(c.hard.Term), uint64(c.hard.VotedFor), uint64(c.role), uint64(c.leader))
	h.add(uint64(c.floor), uint64(c.commit), uint64(c.applying), uint64(c.applied), c.random.state)
	h.add(uint64(c.log.base.Index), uint64(c.log.stable), uint64(c.log.written), uint64(c.log.truncate))
	h.add(uint64(c.lastSeq), uint64(c.durableSeq), uint64(c.hardSeq), uint64(c.hurry), c.campaignRound)
	h.add(uint64(c.now), uint64(c.electionDeadline), uint64(c.contact), c.roundEchoed)
	h.flag(c.hardChanged, c.heard, c.changed)
	for _, e := range c.log.tail[c.log.head:] {
		h.add(uint64(e.Term), uint64(e.Index), uint64(e.Stamp), uint64(e.Kind))
		for _, x := range e.Data {
			h.add(uint64(x))
		}
	}
	for _, v := range c.ballots[:c.ballotCount] {
		h.add(uint64(v.id), uint64(v.ballot))
	}
	for _, f := range c.log.flights[c.log.flightHead:] {
		h.add(uint64(f.seq), uint64(f.last))
	}
	c.fingerprintLeader(&h)
	for _, id := range c.reads.waiting {
		h.add(uint64(id))
	}
	for _, id := range c.reads.asked {
		h.add(uint64(id), c.reads.number)
	}
	return uint64(h)
}

func (c *Core) fingerprintLeader(h *fingerprint) {
	lead := &c.lead
	h.add(lead.round, lead.confirmed, uint64(lead.transferee), uint64(lead.heartbeatAt))
	h.add(uint64(lead.firstOwn), uint64(lead.quorumCheckAt), uint64(lead.transferDeadline))
	h.flag(lead.roundWanted, lead.transferSent, lead.committed, lead.leaving)
	for i := range lead.peers {
		p := &lead.peers[i]
		h.add(uint64(p.id), uint64(p.match), uint64(p.next), uint64(p.state), uint64(p.epoch))
		h.add(uint64(p.commit), p.told, p.round, uint64(p.contact), uint64(p.flights.count))
		h.flag(p.probed, p.loading, p.reopened)
	}
	for _, reads := range [2][]pendingRead{lead.reads, lead.gated} {
		for _, r := range reads {
			h.add(r.round, uint64(r.index), uint64(r.from), r.number, uint64(r.id))
		}
	}
}

// fingerprint is FNV-1a over 64-bit words.
type fingerprint uint64

func (h *fingerprint) add(words ...uint64) {
	for _, w := range words {
		*h = (*h ^ fingerprint(w)) * 1099511628211
		*h ^= *h >> 29
	}
}

func (h *fingerprint) flag(flags ...bool) {
	for _, f := range flags {
		if f {
			h.add(1)
		} else {
			h.add(2)
		}
	}
}
