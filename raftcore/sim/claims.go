package sim

import "kelek/raftcore"

// What nodes claim, to each other and to clients, held against what the disks hold at that moment.

// promised checks a message when the core hands it over: an acknowledgement names a write that
// covers it, a leader's entries are those of its log.
func (c *checker) promised(p *process, m *raftcore.Message) {
	if m.From != p.id || m.To == p.id || m.After > p.disk.issued {
		c.w.fail(15, "%s: bad message %s, last write %d", p.name(), m, p.disk.issued)
	}
	if m.Term != p.status.Term {
		return // of a term that ended in the same batch of inputs
	}
	switch {
	case m.Reject:
	case m.Kind == raftcore.AppendEntriesResponse, m.Kind == raftcore.InstallSnapshotResponse:
		c.acknowledges(p, m)
	case m.Kind == raftcore.InstallSnapshot:
		c.offers(p, m)
	case m.Kind == raftcore.AppendEntries && p.status.Role == raftcore.Leader:
		c.replicates(p, m)
	}
}

// acknowledges is invariant 9 for a follower: by the time the answer leaves, the log up to Match is
// durable, and it is the leader's.
func (c *checker) acknowledges(p *process, m *raftcore.Message) {
	if base := p.disk.base(); m.Match < base {
		if p.disk.writtenBy(base) > max(m.After, p.disk.syncedTo) && !c.holds(p, m.Match) {
			c.w.fail(9, "%s: acknowledges %d before a snapshot is durable: %s", p.name(), m.Match, m)
		}
		return // it is part of the snapshot before the log
	}
	mine, ok := p.disk.chainAt(m.Match)
	if !ok || p.disk.writtenBy(m.Match) > max(m.After, p.disk.syncedTo) {
		c.w.fail(9, "%s: acknowledges %d before it is durable: %s", p.name(), m.Match, m)
	}
	leader := c.leaders[m.Term]
	q := c.w.nodes[leader.index]
	if q.core == nil || q.starts != leader.starts || q.state.Term != m.Term {
		return
	}
	if theirs, ok := q.disk.chainAt(m.Match); ok && theirs != mine {
		c.w.fail(9, "%s: acknowledges %d of another log: %s", p.name(), m.Match, m)
	}
}

// offers: a leader offers snapshots of what is committed, which it has or had.
func (c *checker) offers(p *process, m *raftcore.Message) {
	s := &m.Snapshot
	if s.ID == 0 || s.ID > c.w.snapshots || s.Pos.Index > p.status.Commit ||
		s.Pos.Index < p.status.First-1 {
		c.w.fail(15, "%s: offers snapshot %d at %v, its log is %d..%v, commit %d", p.name(), s.ID, s.Pos,
			p.status.First, p.status.Last, p.status.Commit)
	}
	if config := c.configAt(s.Pos.Index); !config.Config.Equal(&s.Config) ||
		config.Pos.Index != s.ConfigIndex {
		c.w.fail(8, "%s: offers a snapshot at %v with configuration %d, %s", p.name(), s.Pos,
			s.ConfigIndex, c.w.describeConfig(&s.Config))
	}
}

func (c *checker) replicates(p *process, m *raftcore.Message) {
	prev := p.disk.entry(m.Prev.Index)
	if prev != nil && prev.entry.Term != m.Prev.Term {
		c.w.fail(3, "%s: sends prev %v, has %v", p.name(), m.Prev, prev.entry.Pos)
	}
	if n := len(m.Entries); n > 0 {
		last := &m.Entries[n-1]
		if s := p.disk.entry(last.Index); s == nil || s.entry.Pos != last.Pos {
			c.w.fail(3, "%s: sends %v, which is not in its log", p.name(), last.Pos)
		}
	}
	if m.Commit > p.status.Commit {
		c.w.fail(15, "%s: sends commit %d, has %d", p.name(), m.Commit, p.status.Commit)
	}
	if limit := p.build.appendBytes; bytesOf(m.Entries) > limit && len(m.Entries) > 1 {
		c.w.fail(15, "%s: %d entries exceed %d bytes", p.name(), len(m.Entries), limit)
	}
}

func bytesOf(entries []raftcore.Entry) (n int) {
	for i := range entries {
		n += entries[i].Bytes()
	}
	if len(entries) > 0 {
		n -= entries[len(entries)-1].Bytes() // the limit may be met by the last one
	}
	return n
}

// sent is the other half of invariant 2: a grant that leaves is durable. So is one that was
// overtaken by a newer durable term before it was written: the node can never vote in that term
// again.
func (c *checker) sent(p *process, k *packet) {
	m := &k.message
	if k.forward || k.stream || m.Kind != raftcore.RequestVoteResponse || m.Reject {
		return
	}
	c.durableVote(p, raftcore.HardState{Term: m.Term, VotedFor: m.To})
	if h := p.disk.durable.hard; h.Term < m.Term || h.Term == m.Term && h.VotedFor != m.To {
		c.w.fail(2, "%s: grants term %d to n%d, and that is not durable", p.name(), m.Term, k.to+1)
	}
}

// applied is invariant 6: equal hashes at equal indexes, and equal to the reference's.
func (c *checker) applied(p *process) {
	i := p.machine.applied
	if i >= raftcore.Index(len(c.hashes)) || p.machine.hash != c.hashes[i] {
		c.w.fail(6, "%s: the state at %d differs from the reference", p.name(), i)
	}
}

// readIndex is invariant 10 at its root: the index of a read covers all that was answered before
// the read began.
func (c *checker) readIndex(p *process, r *read) {
	if floor := c.w.clients.ops[r.op].floor; r.index < floor {
		c.w.fail(10, "%s: read %d at index %d, but %d was answered before", p.name(), r.op, r.index,
			floor)
	}
}

// answered is invariants 9, 10 and 11 at the client: what it is told is committed, lies after
// everything that was answered before it asked, and happened.
func (c *checker) answered(id opID, op *operation, index raftcore.Index, result uint64) {
	if index >= raftcore.Index(len(c.committed)) {
		c.w.fail(9, "operation %d is answered at %d, which is not committed", id, index)
	}
	if index < op.floor || op.code != opRead && index <= op.floor {
		c.w.fail(10, "operation %d is answered at %d, but %d was answered before it began", id, index,
			op.floor)
	}
	if op.code != opRead && op.executed != 1 {
		c.w.fail(11, "operation %d is answered, and took effect %d times", id, op.executed)
	}
	if op.code == opOnce {
		c.w.clients.once.answered(c.w, op, result)
	}
}
