package raftcore

// leadership is everything that only a leader has. It is one value, dropped on every role change,
// so nothing of an old term can leak into a new one (mistake 65).
type leadership struct {
	peers         []progress // every member but this node, ascending by id
	heartbeatAt   Instant
	quorumCheckAt Instant
	firstOwn      Index // the no-op of this term: reads wait until it is committed

	uncommittedBytes int  // own entries after commit
	committed        bool // the commit index moved since the last Drain

	round       uint64 // newest read round started
	roundWanted bool   // start another at the next Drain
	confirmed   uint64 // newest round that a quorum has echoed
	reads       []pendingRead
	gated       []pendingRead // asked before an entry of this term was committed

	leaving bool // no voter any more: step down once the commit index is spread

	transferee       NodeID
	transferDeadline Instant
	transferSent     bool
	forced           bool // a TimeoutNow left in this term: no lease any more
}

func (l *leadership) peer(id NodeID) *progress {
	for i := range l.peers {
		if l.peers[i].id == id {
			return &l.peers[i]
		}
	}
	return nil
}

// becomeLeader: figure 2, "upon election". The no-op makes entries of older terms committable and
// opens the gate for reads (section 5.4.2, 8).
func (c *Core) becomeLeader() {
	assert(c.hard.VotedFor == c.options.ID, "leader of term %d voted for %x", c.hard.Term, c.hard.VotedFor)
	c.loseReads()
	c.role, c.leader, c.hurry = Leader, c.options.ID, 0
	c.dropLeadership()
	c.lead.heartbeatAt = c.now + c.options.Heartbeat
	c.lead.quorumCheckAt = c.now + c.options.ElectionTimeout
	c.lead.firstOwn = c.log.last.Index + 1
	c.trackMembers()
	c.appendOwn(EntryNoop, c.clock, nil)
	c.maybeCommit()
}

// dropLeadership forgets what belongs to a term that this node led.
func (c *Core) dropLeadership() {
	transferee := c.lead.transferee
	c.lead = leadership{}
	if planted(20) {
		c.lead.transferee, c.lead.transferSent, c.lead.transferDeadline = transferee, true, ^Instant(0)
	}
}

// trackMembers makes the peers those of the configuration in force, keeping what is known of those
// that stay. A new progress begins with an epoch of its own, so that acknowledgements meant for
// an earlier membership of the same id cannot count (mistake 32).
func (c *Core) trackMembers() {
	at := c.configs.current()
	old := c.lead.peers
	c.lead.peers = nil
	for _, id := range at.Config.Members() {
		if id == c.options.ID {
			continue
		}
		p := progress{id: id, next: c.log.last.Index + 1, epoch: at.Pos.Index, contact: c.now}
		for i := range old {
			if old[i].id == id {
				p = old[i]
			}
		}
		c.lead.peers = append(c.lead.peers, p)
	}
}

// appendOwn appends an entry of this leader's term, stamped so that log time never goes back.
func (c *Core) appendOwn(kind EntryKind, clock LogTime, data []byte) Pos {
	e := Entry{Pos: Pos{c.hard.Term, c.log.last.Index + 1}, Kind: kind,
		Stamp: max(c.log.lastStamp, clock), Data: data}
	c.appendEntry(&e)
	c.lead.uncommittedBytes += e.Bytes()
	return e.Pos
}

// Propose appends one entry. An error means that it was not appended. The entry may still be lost
// with this leader's term: only seeing it applied proves that it is committed.
func (c *Core) Propose(clock LogTime, data []byte) (Pos, error) {
	switch {
	case c.role != Leader:
		return Pos{}, ErrNotLeader
	case len(data) > c.options.MaxEntryBytes:
		return Pos{}, ErrTooLarge
	case c.lead.transferee != 0:
		return Pos{}, ErrTransferring
	case int(c.log.last.Index-c.commit) >= c.options.MaxUncommittedEntries,
		c.lead.uncommittedBytes >= c.options.MaxUncommittedBytes:
		return Pos{}, ErrBusy
	}
	return c.appendOwn(EntryNormal, clock, data), nil
}

// leaderTick sends heartbeats, and steps down when no quorum answers (mistake 10).
func (c *Core) leaderTick() {
	lead := &c.lead
	if lead.transferee != 0 && c.now >= lead.transferDeadline {
		c.abortTransfer()
	}
	c.maybeReadUnderLease()
	if c.now < lead.heartbeatAt {
		return
	}
	lead.heartbeatAt = c.now + c.options.Heartbeat
	lead.roundWanted = true
	c.raiseFloor()
	for i := range lead.peers {
		p := &lead.peers[i]
		p.probed, p.reopened, p.offered = false, false, false
	}
	silent := c.now >= lead.quorumCheckAt && c.now-c.quorumContact() > c.options.ElectionTimeout
	if silent && !planted(28) {
		c.becomeFollower(0, "no quorum of responses")
	}
}

// raiseFloor notes how much of the log every member holds durably, once per heartbeat.
func (c *Core) raiseFloor() {
	floor := min(c.log.stable, c.commit)
	for i := range c.lead.peers {
		floor = min(floor, c.lead.peers[i].match)
	}
	c.floor = max(c.floor, floor)
}

// quorumContact is the latest instant by which a quorum has answered.
func (c *Core) quorumContact() Instant {
	return Instant(quorumValue(c.config(), func(id NodeID) uint64 {
		if id == c.options.ID {
			return uint64(c.now)
		}
		return uint64(c.lead.peer(id).contact)
	}))
}

func (c *Core) leaderDeadline() Instant {
	if c.lead.transferee != 0 {
		return min(c.lead.heartbeatAt, c.lead.transferDeadline)
	}
	return c.lead.heartbeatAt
}

// replicate sends every peer what it may have now. It runs once per Drain, so everything that was
// proposed, asked and committed since the last one travels together.
//
// A commit index that has just moved waits for one more Drain, which more asks for: what the caller
// does with the committed entries often lets it propose the next one, and then one message carries
// both.
func (c *Core) replicate(e *Effects) (more bool) {
	e.Load = e.Load[:0]
	lead := &c.lead
	if lead.roundWanted || lead.readsWait() {
		lead.round++
		lead.roundWanted = false
		c.maybeConfirmReads()
	}
	for i := range lead.peers {
		p := &lead.peers[i]
		c.maybeOffer(p, e)
		for c.sendEntries(p, e) {
		}
		untold := p.state == replicating && p.commit < c.commit
		if p.told < lead.round || untold && !lead.committed {
			c.sendAppend(p, nil)
		}
		more = more || untold && lead.committed
	}
	lead.committed = false
	if lead.leaving && !more {
		c.leave()
	}
	return more
}

// leave ends the leadership of a node that was removed, and points at a successor.
func (c *Core) leave() {
	if to := c.mostCaughtUp(); to != 0 {
		c.send(Message{Kind: TimeoutNow, To: to, Term: c.hard.Term, Prev: c.log.last}, nothing)
	}
	c.becomeFollower(0, "no longer a voter")
}

// sendEntries sends one message with entries, if the table at progress allows one.
func (c *Core) sendEntries(p *progress, e *Effects) bool {
	if p.next > c.log.last.Index || p.loading || !c.maySend(p) {
		return false
	}
	entries := c.entriesFor(p, e)
	if len(entries) == 0 {
		return false
	}
	bytes := 0
	for i := range entries {
		bytes += entries[i].Bytes()
	}
	c.sendAppend(p, entries)
	if p.state == probing {
		p.probed = true
		return false
	}
	p.next += Index(len(entries))
	p.flights.add(p.next-1, bytes)
	return true
}

func (c *Core) maySend(p *progress) bool {
	switch p.state {
	case probing:
		return !p.probed
	case replicating:
		return !p.windowFull(&c.options)
	}
	return false
}

// entriesFor returns the entries from p.next on, bounded by the message size. What is no longer in
// memory is asked from disk; it arrives by Loaded.
func (c *Core) entriesFor(p *progress, e *Effects) []Entry {
	from := p.loaded
	p.loaded = nil
	if first := c.log.tailFirst(); p.next >= first {
		from = c.log.slice(p.next, c.log.last.Index)
	} else if len(from) == 0 || from[0].Index != p.next {
		p.loading = true
		e.Load = append(e.Load, LoadRequest{Peer: p.id, Range: Range{p.next, first - 1},
			Bytes: c.options.MaxAppendBytes})
		return nil
	}
	n, bytes := 0, 0
	for n < len(from) && (n == 0 || bytes+from[n].Bytes() <= c.options.MaxAppendBytes) {
		bytes += from[n].Bytes()
		n++
	}
	return from[:n]
}

// Loaded answers a LoadRequest with the entries found, from req.Range.First on. They go out with
// the next Drain, unless leadership or the peer's progress has changed meanwhile.
func (c *Core) Loaded(req LoadRequest, es []Entry) {
	p := c.lead.peer(req.Peer)
	if p == nil || !p.loading {
		return
	}
	p.loading = false
	if len(es) > 0 && es[0].Index == p.next && c.log.matches(es[0].Pos) {
		p.loaded = es
	}
}

// sendAppend sends entries after what the peer was sent last, or what is not entries: a heartbeat,
// a read round, a commit index. That still says where the sender believes the logs agree, so a lost
// message is noticed within a heartbeat. A peer that waits for a snapshot is asked nothing: every
// log holds the position 0.
func (c *Core) sendAppend(p *progress, entries []Entry) {
	prev := Pos{}
	if p.state != snapshotting {
		prev.Index = p.next - 1
		prev.Term, _ = c.log.termAt(prev.Index)
	}
	c.tell(p)
	p.commit = c.commit
	c.send(Message{Kind: AppendEntries, To: p.id, Term: c.hard.Term, Prev: prev, Entries: entries,
		Commit: c.commit, Match: c.floor, Epoch: p.epoch, Round: c.lead.round}, nothing)
}

// appendAnswered: figure 2, "if successful: update nextIndex and matchIndex; if AppendEntries fails
// because of log inconsistency: decrement nextIndex and retry".
func (c *Core) appendAnswered(m *Message) {
	p := c.answered(m)
	if p == nil {
		return
	}
	switch {
	case p.state == snapshotting:
	case m.Reject:
		c.appendRejected(p, m)
	case p.state == probing:
		p.becomeReplicating()
	case !p.reopened && p.windowFull(&c.options):
		p.flights.freeFirst()
		p.reopened = true
	}
}

// answered takes from any response what every response says: that the peer lives, which round it
// has heard, and how much of this leader's log is durable there. It returns nil when that is not to
// be believed.
func (c *Core) answered(m *Message) *progress {
	p := c.lead.peer(m.From)
	if p == nil || m.Epoch != p.epoch && !planted(12) {
		c.drop(m, "of an older membership")
		return nil
	}
	p.contact = c.now
	c.echoed(p, m)
	if m.Match > c.log.last.Index && !planted(10) && !planted(12) {
		broken("peer %x is durable to %d of %d", p.id, m.Match, c.log.last.Index)
	}
	moved := p.acknowledged(min(m.Match, c.log.last.Index), &c.options)
	c.maybeEndSnapshot(p)
	if moved {
		p.moved = c.lead.round
		c.maybeCommit()
		c.maybeSendTimeoutNow()
	}
	return p
}

// appendRejected backs up to where the logs may agree. A rejection of anything but the newest
// probe, or of what is acknowledged already, is late and means nothing.
func (c *Core) appendRejected(p *progress, m *Message) {
	stale := m.Prev.Index <= p.match || p.state == probing && m.Prev.Index != p.next-1
	if m.Prev.Index <= p.match && m.Round > p.moved && !planted(317) {
		// The message left when match was known: the peer's disk has lost what it said was durable.
		// What is committed stays so, and the peer is sent what it lost.
		stale, p.match = false, m.Match
	}
	if stale {
		c.drop(m, "rejects an older probe")
		return
	}
	hint := min(m.Hint.Index, m.Prev.Index-1)
	if hint >= c.log.base.Index {
		hint = c.log.lastNotAfter(hint, m.Hint.Term).Index
	}
	p.becomeProbing(hint + 1)
}

// maybeCommit: figure 2, "if there exists an N...": a quorum holds it durably, and it is of this
// term (section 5.4.2). This node counts with what is durable here, like everybody else.
func (c *Core) maybeCommit() {
	i := Index(quorumValue(c.config(), c.matchOf))
	if planted(111) {
		i = c.log.stable
	}
	if i <= c.commit {
		return
	}
	if term, ok := c.log.termAt(i); !ok || term != c.hard.Term && !planted(1) {
		return
	}
	for n := max(c.commit+1, c.lead.firstOwn); n <= i; n++ {
		c.lead.uncommittedBytes -= c.log.entry(n).Bytes()
	}
	c.commitTo(i)
	c.lead.committed = true
	c.openReadGate()
	c.maybeFinishChange()
}

func (c *Core) matchOf(id NodeID) uint64 {
	if id == c.options.ID {
		if planted(11) {
			return uint64(c.log.last.Index)
		}
		return uint64(c.log.stable)
	}
	return uint64(c.lead.peer(id).match)
}
