package raftcore

// Likeness says which differences between cores a fingerprint leaves out, for searches that look at
// every state once: the fewer differences, the fewer states.
type Likeness struct {
	// Rename tells what a node would be called in a cluster that is the same but for the names. nil:
	// its own name.
	Rename func(NodeID) NodeID
	// Timeless leaves out clocks, deadlines and the generator of the time-outs, and counts writes from
	// the last durable one. What remains of time is whether this node sticks to its leader. It fits
	// a caller that makes time-outs happen at will, and leases are off.
	Timeless bool
}

// Fingerprint hashes everything that decides how the core behaves from here on: two cores with
// equal fingerprints are the same for an exhaustive search.
func (c *Core) Fingerprint() uint64 { return c.FingerprintLike(Likeness{}) }

// FingerprintLike is the same, with the differences left out that the caller does not want to see.
func (c *Core) FingerprintLike(like Likeness) uint64 {
	h := newFingerprint()
	h.add(uint64(c.hard.Term), like.name(c.hard.VotedFor), uint64(c.role), like.name(c.leader))
	h.add(uint64(c.floor), uint64(c.commit), uint64(c.applying), uint64(c.applied))
	h.add(c.campaignRound, c.roundEchoed)
	h.flag(c.hardChanged, c.changed)
	if like.Timeless {
		h.flag(c.sticky())
	} else {
		h.add(uint64(c.now), uint64(c.electionDeadline), uint64(c.contact), c.random.state)
		h.add(uint64(c.hurry), uint64(c.reads.retryAt))
		h.flag(c.heard)
	}
	if c.role != Follower && c.role != Leader || !like.Timeless {
		votes := fingerprint(0)
		for _, v := range c.ballots[:c.ballotCount] {
			votes += hashOf(like.name(v.id), uint64(v.ballot))
		}
		h.add(uint64(votes))
	}
	c.fingerprintLog(&h, like)
	c.fingerprintSnapshots(&h, like)
	if !like.Timeless {
		h.add(uint64(c.promisedUntil))
		h.flag(c.promiseFresh)
	}
	c.fingerprintLeader(&h, like)
	h.flag(c.reads.strict, c.reads.force)
	h.add(uint64(len(c.reads.waiting)), uint64(len(c.reads.asked)), c.reads.first)
	h.add(max(c.reads.number, c.options.Boot<<40)) // what the next number follows
	for _, reads := range [2][]ReadID{c.reads.waiting, c.reads.asked} {
		for _, id := range reads {
			h.add(uint64(id))
		}
	}
	return uint64(h)
}

// fingerprintLog hashes the log, the configurations along it, and how much of it is durable.
func (c *Core) fingerprintLog(h *fingerprint, like Likeness) {
	l := &c.log
	h.add(uint64(l.base.Term), uint64(l.base.Index), uint64(l.last.Term), uint64(l.last.Index))
	h.add(uint64(l.stable), uint64(l.written), uint64(l.truncate), uint64(l.lastStamp))
	since := Seq(0)
	if like.Timeless {
		since = c.durableSeq
	}
	h.add(uint64(c.lastSeq-since), uint64(c.durableSeq-since), uint64(max(c.hardSeq, since)-since),
		uint64(max(c.installSeq, since)-since))
	for _, f := range l.flights[l.flightHead:] {
		h.add(uint64(f.seq-since), uint64(f.last))
	}
	for _, e := range l.tail[l.head:] {
		h.add(uint64(e.Term), uint64(e.Index), uint64(e.Stamp), uint64(e.Kind))
		if e.Kind == EntryConfig {
			continue // it is in the stack below, where its ids can be renamed
		}
		for _, x := range e.Data {
			h.add(uint64(x))
		}
	}
	for i := range c.configs.stack {
		at := &c.configs.stack[i]
		h.add(uint64(at.Pos.Term), uint64(at.Pos.Index))
		for _, ids := range [3][]NodeID{at.Config.Voters, at.Config.OldVoters, at.Config.Learners} {
			set := fingerprint(0)
			for _, id := range ids {
				set += hashOf(like.name(id))
			}
			h.add(uint64(set))
		}
	}
}

// fingerprintSnapshots hashes what is held, taken and fetched.
func (c *Core) fingerprintSnapshots(h *fingerprint, like Likeness) {
	f := &c.fetch
	h.add(like.name(f.From), uint64(f.Term), uint64(f.offer.epoch), f.offer.round)
	h.flag(c.taking, c.fetchChanged, f.staged)
	h.meta(&c.taken)
	h.meta(&f.Meta)
}

func (c *Core) fingerprintLeader(h *fingerprint, like Likeness) {
	lead := &c.lead
	h.add(lead.round, lead.confirmed, like.name(lead.transferee), uint64(lead.firstOwn))
	h.flag(lead.roundWanted, lead.transferSent, lead.committed, lead.leaving, lead.forced)
	if !like.Timeless {
		h.add(uint64(lead.heartbeatAt), uint64(lead.quorumCheckAt), uint64(lead.transferDeadline))
	}
	peers := fingerprint(0)
	for i := range lead.peers {
		peers += lead.peers[i].fingerprint(like)
	}
	h.add(uint64(peers))
	for _, reads := range [2][]pendingRead{lead.reads, lead.gated} {
		for _, r := range reads {
			h.add(r.round, uint64(r.index), like.name(r.from), r.number, uint64(r.id))
			h.flag(r.strict)
		}
	}
}

func (p *progress) fingerprint(like Likeness) fingerprint {
	h := newFingerprint()
	h.add(like.name(p.id), uint64(p.match), uint64(p.next), uint64(p.state), uint64(p.epoch))
	h.add(uint64(p.commit), p.told, p.round, uint64(p.flights.count), uint64(len(p.loaded)))
	h.add(uint64(p.catchUp), p.moved, uint64(p.acked))
	h.flag(p.probed, p.loading, p.reopened, p.offered)
	h.meta(&p.snapshot)
	if !like.Timeless {
		h.add(uint64(p.contact), p.leaseRound, uint64(p.leaseSent), uint64(p.leased))
	}
	for i := range p.flights.count {
		f := &p.flights.ring[(p.flights.start+i)&(len(p.flights.ring)-1)]
		h.add(uint64(f.last))
	}
	return h
}

// name is a node's name as a word; nobody stays nobody.
func (l *Likeness) name(id NodeID) uint64 {
	if l.Rename == nil || id == 0 {
		return uint64(id)
	}
	return uint64(l.Rename(id))
}

// fingerprint is a multiply-and-fold hash over 64-bit words (the mixer of SplitMix64). Sets are
// hashed as the sum of their elements' hashes, so that their order is not seen.
type fingerprint uint64

func newFingerprint() fingerprint { return 14695981039346656037 }

func hashOf(words ...uint64) fingerprint {
	h := newFingerprint()
	h.add(words...)
	return h
}

func (h *fingerprint) add(words ...uint64) {
	x := uint64(*h)
	for _, w := range words {
		x = (x ^ w) * 0x9e3779b97f4a7c15
		x = (x ^ x>>32) * 0xd6e8feb86659fd93
		x ^= x >> 32
	}
	*h = fingerprint(x)
}

// meta hashes what tells a snapshot from others.
func (h *fingerprint) meta(m *SnapshotMeta) {
	h.add(m.ID, uint64(m.Pos.Term), uint64(m.Pos.Index))
}

func (h *fingerprint) flag(flags ...bool) {
	bits := uint64(1)
	for _, f := range flags {
		bits <<= 1
		if f {
			bits |= 1
		}
	}
	h.add(bits)
}
