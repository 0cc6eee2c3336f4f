package raftcore

// becomeFollower drops everything that belongs to another role. It does not touch the vote: only a
// new term may (mistake 3). leader is 0 while none is known.
func (c *Core) becomeFollower(leader NodeID, reason string) {
	if planted(3) {
		c.hard.VotedFor = 0
	}
	if c.role == Leader {
		c.resetElectionDeadline()
	}
	if c.leader != leader || c.role == Leader {
		c.loseReads()
		c.changed = true
	}
	c.role, c.leader, c.reason = Follower, leader, reason
	c.heard, c.roundEchoed = false, 0
	c.dropLeadership()
	if c.fetch.From != leader || c.fetch.Term != c.hard.Term {
		c.abortFetch()
	}
}

// followerAppend is AppendEntries' receiver implementation (figure 2), with two additions: nothing
// at or before the commit index is ever looked at again, and the answer says what is durable, not
// what was received.
func (c *Core) followerAppend(m *Message) {
	c.hear(m)
	if planted(26) && len(m.Entries) == 0 {
		c.commitTo(min(m.Commit, c.log.last.Index))
	}
	if m.Prev.Index < c.commit && !planted(7) {
		c.appendBehindCommit(m)
		return
	}
	if !c.log.matches(m.Prev) {
		c.send(Message{Kind: AppendEntriesResponse, To: m.From, Term: c.hard.Term, Prev: m.Prev,
			Reject: true, Hint: c.log.lastNotAfter(m.Prev.Index, m.Prev.Term),
			Match: min(c.commit, c.log.stable), Epoch: m.Epoch, Round: m.Round,
			Lease: c.promise()}, hardState)
		return
	}
	c.accept(m, m.Prev, m.Entries)
}

// hear notes a sign of life of the leader of this term.
func (c *Core) hear(m *Message) {
	if c.leader != 0 && c.leader != m.From {
		broken("term %d has leaders %x and %x", c.hard.Term, c.leader, m.From)
	}
	if c.leader != m.From {
		c.becomeFollower(m.From, "heard the leader")
	}
	c.contact, c.heard, c.hurry = c.now, true, 0
	c.floor = max(c.floor, m.Match)
	c.promiseFresh = c.options.LeaseDrift > 0
	c.resetElectionDeadline()
}

// appendBehindCommit takes a message that begins before this node's commit index. Entries up to
// there agree with every leader's log by Leader Completeness, so they are skipped unseen: the log
// may no longer hold them (mistake 25), and a delayed message must not cut it (mistake 24).
func (c *Core) appendBehindCommit(m *Message) {
	skip := int(c.commit - m.Prev.Index)
	if skip > len(m.Entries) {
		c.acknowledge(m, c.commit)
		return
	}
	c.accept(m, c.log.pos(c.commit), m.Entries[skip:])
}

// accept appends entries after a position that both logs hold.
func (c *Core) accept(m *Message, prev Pos, entries []Entry) {
	matched := prev.Index + Index(len(entries))
	fresh := c.skipKnown(entries)
	if planted(7) && len(entries) > 0 {
		c.truncateFrom(prev.Index + 1)
		fresh = entries
	}
	if len(fresh) > 0 && fresh[0].Index <= c.log.last.Index {
		c.truncateFrom(fresh[0].Index)
	}
	for i := range fresh {
		c.appendEntry(&fresh[i])
	}
	upTo := min(m.Commit, matched)
	if planted(21) {
		upTo = min(m.Commit, c.log.last.Index)
	}
	c.commitTo(upTo)
	c.acknowledge(m, matched)
}

// skipKnown drops the leading entries that the log holds already. What is left begins with the
// first real conflict or the first new entry: only there may the log be cut (section 5.3).
func (c *Core) skipKnown(entries []Entry) []Entry {
	for i := range entries {
		if !c.log.matches(entries[i].Pos) {
			return entries[i:]
		}
	}
	return nil
}

// truncateFrom removes uncommitted entries, and the configurations among them.
func (c *Core) truncateFrom(i Index) {
	assert(i > c.commit || planted(7), "truncation at %d, committed %d", i, c.commit)
	c.withdraw(i)
	c.log.truncateFrom(i)
	if c.configs.truncate(i) {
		c.changed = true
	}
	c.trace(Event{Kind: EventTruncate, Pos: c.log.last})
}

// withdraw takes back acknowledgements of entries that are truncated before they were even handed
// to the writer: they would claim a durability that never was.
func (c *Core) withdraw(from Index) {
	kept := 0
	for i := range c.outbox {
		if c.after[i] == everything && c.outbox[i].Match >= from {
			continue
		}
		c.outbox[kept], c.after[kept] = c.outbox[i], c.after[i]
		kept++
	}
	c.outbox, c.after = c.outbox[:kept], c.after[:kept]
}

// appendEntry appends one entry. A configuration is in force from here on (section 6).
func (c *Core) appendEntry(e *Entry) {
	switch e.Kind {
	case EntryNormal, EntryNoop:
		c.log.append(e)
	case EntryConfig:
		config, err := DecodeConfig(e.Data)
		assert(err == nil, "config entry %s: %v", e.Pos, err)
		c.log.append(e)
		c.configs.push(ConfigAt{e.Pos, config})
		c.changed = true
	default:
		broken("entry %s has unknown kind %d", e.Pos, e.Kind)
	}
}

// acknowledge answers an accepted append. What is durable is said at once, with the read round;
// what is only received is said when it is on disk. A message that brings nothing to answer (a
// commit index, within a known round) is not answered.
func (c *Core) acknowledge(m *Message, matched Index) {
	durable := min(matched, c.log.stable)
	r := Message{Kind: AppendEntriesResponse, To: m.From, Term: c.hard.Term, Prev: m.Prev,
		Match: durable, Epoch: m.Epoch, Round: m.Round, Lease: c.promise()}
	if m.Round > c.roundEchoed || len(m.Entries) > 0 && durable == matched {
		c.roundEchoed = m.Round
		c.send(r, hardState)
	}
	if len(m.Entries) > 0 && durable < matched {
		r.Match = matched
		promise := everything
		if planted(11) {
			promise = hardState
		}
		c.send(r, promise)
	}
}

// commitTo moves the commit index, never back.
func (c *Core) commitTo(i Index) {
	if i <= c.commit {
		return
	}
	if i > c.log.last.Index {
		broken("commit %d past the last entry %s", i, c.log.last)
	}
	c.commit = i
	c.trace(Event{Kind: EventCommit, Pos: Pos{c.hard.Term, i}})
}
