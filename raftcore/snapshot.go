package raftcore

// Snapshots (section 7). The core decides who needs one and when it is installed; taking, streaming
// and staging the files is the caller's.
//
//	leader                                        follower
//	a peer's next entry is compacted
//	Effects.TakeSnapshot -> SnapshotTaken
//	InstallSnapshot, once per heartbeat    ->     Effects.Fetch -> SnapshotFetched
//	                                              nothing at the applier: Write{Snapshot}
//	replication goes on after Match        <-     InstallSnapshotResponse, once that is durable
//
// The leader learns only what the follower's log says: it does not count chunks, and any response
// whose Match it can continue from ends the snapshot (mistake 53). So nothing that fails on the
// way can leave the two with different ideas of what comes next: the next offer says it all again.

// SnapshotTaken says that the caller holds an immutable snapshot at m and can stream it until it
// says so of a newer one, or calls SnapshotTaken with a zero m: it holds none any more.
func (c *Core) SnapshotTaken(m SnapshotMeta) {
	c.taking = false
	if m.ID != 0 && m.Pos.Index < c.taken.Pos.Index {
		return
	}
	c.taken = m
	for i := range c.lead.peers {
		c.lead.peers[i].offered = false
	}
}

// SnapshotFailed says that something went wrong with a snapshot. peer is this node: it could not be
// taken. peer is the leader of this follower: fetching it was given up. Otherwise, on a leader:
// streaming it to that peer failed. Each is tried again with the next heartbeat.
func (c *Core) SnapshotFailed(peer NodeID) {
	switch {
	case planted(27):
	case peer == c.options.ID:
		c.taking = false
	case c.role == Leader:
		if p := c.lead.peer(peer); p != nil && p.state == snapshotting {
			p.snapshot = SnapshotMeta{}
		}
	case peer == c.fetch.From:
		c.fetch = fetching{}
	}
}

// usable reports whether a peer that has installed s can go on from this log.
func (c *Core) usable(s *SnapshotMeta) bool {
	return s.ID != 0 && s.Pos.Index >= c.log.base.Index
}

// maybeOffer sends a peer that needs a snapshot what it can have, once per heartbeat, and asks for
// one to be taken when there is none. It sticks to what it has offered while that is usable: a
// peer that was always sent the newest would never finish.
func (c *Core) maybeOffer(p *progress, e *Effects) {
	if _, ok := c.log.termAt(p.next - 1); !ok && p.state != snapshotting && !planted(25) {
		p.becomeSnapshotting()
	}
	if p.state != snapshotting || p.offered {
		return
	}
	p.offered = true
	if !c.usable(&p.snapshot) {
		p.snapshot = SnapshotMeta{}
		if !c.usable(&c.taken) {
			c.wantTaken(p, e)
			return
		}
		p.snapshot = c.taken
	}
	c.tell(p)
	c.send(Message{Kind: InstallSnapshot, To: p.id, Term: c.hard.Term, Epoch: p.epoch,
		Round: c.lead.round, Snapshot: p.snapshot}, nothing)
}

// wantTaken asks for a snapshot, once. For a peer that is not there it would be outdated by the
// time that it comes back, and be taken in vain again and again.
func (c *Core) wantTaken(p *progress, e *Effects) {
	if c.live(p) && !c.taking {
		e.TakeSnapshot, c.taking = true, true
	}
}

// snapshotAnswered takes the answer to an offer. What it says of the log counts, and nothing else.
func (c *Core) snapshotAnswered(m *Message) { c.answered(m) }

// maybeEndSnapshot lets replication go on once the log does so after what the peer holds.
func (c *Core) maybeEndSnapshot(p *progress) {
	if p.state != snapshotting || p.match < c.log.base.Index {
		return
	}
	p.snapshot, p.catchUp = SnapshotMeta{}, c.log.last.Index
	p.becomeReplicating()
}

// held is the lowest position from which a peer will go on that is being sent a snapshot, or that
// has one and has not yet caught up; 0 when there is none. While one is being taken, it is the log
// as it stands: what is compacted meanwhile could make it useless.
func (c *Core) held() (lowest Index) {
	for i := range c.lead.peers {
		p := &c.lead.peers[i]
		from := Index(0)
		switch {
		case p.state != snapshotting && p.catchUp > p.match:
			from = p.match
		case p.state != snapshotting:
		case p.snapshot.ID != 0:
			from = p.snapshot.Pos.Index
		case c.usable(&c.taken):
			from = c.taken.Pos.Index
		case c.taking:
			from = c.log.base.Index
		}
		if from != 0 && (lowest == 0 || from < lowest) {
			lowest = from
		}
	}
	return lowest
}

// fetching is the snapshot that a follower has asked its caller for.
type fetching struct {
	Fetch
	offer  offer // the newest of it
	staged bool  // all of it is here
}

// offer is what the answer to an InstallSnapshot echoes.
type offer struct {
	id    uint64
	at    Pos
	epoch Index
	round uint64
}

// followerSnapshot takes an offer of this term's leader, member of this node's configuration or not
// (mistake 40). It is answered with what is true of the log at this moment, which may be all that
// the leader needs to know.
func (c *Core) followerSnapshot(m *Message) {
	c.hear(m)
	s := &m.Snapshot
	switch {
	case s.Pos.Index <= c.commit:
		if term, ok := c.log.termAt(s.Pos.Index); ok && term != s.Pos.Term {
			broken("snapshot at %s, committed entry has term %d", s.Pos, term)
		}
	case c.log.matches(s.Pos):
		c.commitTo(s.Pos.Index)
	default:
		c.wantSnapshot(m)
	}
	c.answerOffer(m.From, offer{s.ID, s.Pos, m.Epoch, m.Round}, hardState)
}

// candidateSnapshot: the sender leads this term.
func (c *Core) candidateSnapshot(m *Message) {
	c.becomeFollower(m.From, "another node leads this term")
	c.followerSnapshot(m)
}

// wantSnapshot starts to fetch what is offered, unless it is under way, or something newer is: an
// old offer may come late.
func (c *Core) wantSnapshot(m *Message) {
	s, f := &m.Snapshot, &c.fetch
	if s.ID == 0 || s.Config.validate() != nil || s.Pos.Index < f.Meta.Pos.Index {
		c.drop(m, "an offer that cannot be used")
		return
	}
	f.offer = offer{s.ID, s.Pos, m.Epoch, m.Round}
	if s.ID == f.Meta.ID && s.Pos == f.Meta.Pos {
		return
	}
	f.Fetch = Fetch{From: m.From, Term: m.Term, Meta: *s}
	f.staged, c.fetchChanged = false, true
}

// answerOffer says how much of the committed log is durable here.
func (c *Core) answerOffer(to NodeID, o offer, promise durability) {
	c.send(Message{Kind: InstallSnapshotResponse, To: to, Term: c.hard.Term,
		Match: min(c.commit, c.log.stable), Epoch: o.epoch, Round: o.round, Lease: c.promise(),
		Snapshot: SnapshotMeta{ID: o.id, Pos: o.at}}, promise)
}

// abortFetch forgets what is being fetched, because the leader that offered it is gone, or nobody
// needs it any more.
func (c *Core) abortFetch() {
	if c.fetch.Meta.ID != 0 {
		c.fetch, c.fetchChanged = fetching{}, true
	}
}

// SnapshotFetched says that all files of the snapshot that was to be fetched are here, verified and
// synced. It is installed as soon as nothing is handed to the applier.
func (c *Core) SnapshotFetched(m SnapshotMeta) {
	if c.fetch.Meta.ID == m.ID && c.fetch.Meta.Pos == m.Pos && m.ID != 0 {
		c.fetch.staged = true
	}
}

// drainFetch gives out what changed about fetching. What the log has reached meanwhile need not be
// fetched any more.
func (c *Core) drainFetch(e *Effects) {
	e.Fetch = nil
	if at := c.fetch.Meta.Pos; at.Index != 0 && (at.Index <= c.commit || c.log.matches(at)) {
		c.abortFetch()
	}
	if c.fetchChanged {
		c.fetchChanged = false
		e.fetch = c.fetch.Fetch
		e.Fetch = &e.fetch
	}
}

// install makes the snapshot the beginning of the log. The log did not hold its position, so all of
// it goes, and with it every configuration that it brought: one that was kept could be newer than
// the snapshot's and never have been committed (mistake 42). Nothing is applied, and nothing
// claimed, before the Write is durable: entries come after it in the one FIFO, and so does the
// answer; what is sent at once claims nothing (send).
func (c *Core) install(e *Effects) {
	f := c.fetch
	at := f.Meta.Pos.Index
	c.fetch = fetching{}
	c.log.reset(f.Meta.Pos, f.Meta.Stamp)
	c.commit, c.applying, c.applied = at, at, at
	c.configs.reset(&f.Meta)
	c.changed = true
	e.snapshot = f.Meta
	e.write = Write{Snapshot: &e.snapshot}
	c.launch(e)
	c.installSeq = c.lastSeq
	c.answerOffer(f.From, f.offer, everything)
	c.trace(Event{Kind: EventInstall, Pos: f.Meta.Pos})
}

// installing reports whether an installed snapshot is not durable yet.
func (c *Core) installing() bool { return c.installSeq > c.durableSeq }
