package raftcore

import "slices"

// Linearizable reads without log entries (section 8; dissertation, 6.4).
//
// The leader captures its commit index when a read arrives, and then makes sure that it still led
// at that time: a quorum has to echo a round that was started after the read arrived. Rounds are
// numbers of the leader's own, new with each term; what the caller chose never travels as proof
// (mistake 15). All reads that arrive between two Drains share one round.
//
// A leader whose first entry is not committed does not know the commit index of its predecessors:
// its reads wait at the gate (mistake 14), single voters included.
//
// A follower forwards one request for all reads that wait, and numbers it itself.

// pendingRead waits for a round. from is 0 for reads of this node.
type pendingRead struct {
	round  uint64
	index  Index
	from   NodeID
	number uint64 // the follower's number
	id     ReadID
	strict bool // no lease will do
}

// ReadIndex asks for an index at which a read by this node is linearizable. The answer comes as
// Effects.Reads, or Effects.LostReads when leadership changed meanwhile. ErrNoLeader and ErrBusy
// mean that nothing was asked. Where leases are on, they count (lease.go).
func (c *Core) ReadIndex(id ReadID) error { return c.askRead(id, false) }

// ReadByRound is ReadIndex for reads that are linearizable whatever the clocks do: no lease answers
// them.
func (c *Core) ReadByRound(id ReadID) error { return c.askRead(id, true) }

func (c *Core) askRead(id ReadID, strict bool) error {
	switch {
	case c.role == Leader:
		if len(c.lead.reads)+len(c.lead.gated) >= c.options.MaxPendingReads {
			return ErrBusy
		}
		c.addRead(pendingRead{id: id, strict: strict})
	case c.leader == 0:
		return ErrNoLeader
	case len(c.reads.waiting)+len(c.reads.asked) >= c.options.MaxPendingReads:
		return ErrBusy
	default:
		c.reads.waiting = append(c.reads.waiting, id)
		c.reads.strict = c.reads.strict || strict
	}
	return nil
}

// leaderReadIndex takes a follower's request. Beyond the limit it is dropped: the follower asks
// again. So is that of a node that was removed, which would ask for ever: it never gets the
// entries.
func (c *Core) leaderReadIndex(m *Message) {
	if !c.config().IsMember(m.From) {
		c.drop(m, "not a member")
		return
	}
	if len(c.lead.reads)+len(c.lead.gated) >= 2*c.options.MaxPendingReads {
		c.drop(m, "too many reads are waiting")
		return
	}
	c.addRead(pendingRead{from: m.From, number: m.Round, strict: m.Force})
}

// gateOpen reports whether an entry of this leader's term is committed.
func (c *Core) gateOpen() bool {
	single := len(c.config().Voters) == 1 && !c.config().Joint()
	return c.commit >= c.lead.firstOwn || planted(9) || planted(109) && single
}

func (c *Core) addRead(r pendingRead) {
	if !c.gateOpen() {
		c.lead.gated = append(c.lead.gated, r)
		return
	}
	r.index, r.round = c.commit, c.lead.round+1
	if planted(110) {
		c.releaseRead(&r)
		return
	}
	c.lead.reads = append(c.lead.reads, r)
}

// readsWait reports whether there are reads that no round was started for.
func (l *leadership) readsWait() bool {
	n := len(l.reads)
	return n > 0 && l.reads[n-1].round > l.round
}

// openReadGate lets the reads in that came before this term had a committed entry.
func (c *Core) openReadGate() {
	if !c.gateOpen() {
		return
	}
	for _, r := range c.lead.gated {
		c.addRead(r)
	}
	c.lead.gated = c.lead.gated[:0]
}

// echoed notes the round that a peer has answered.
func (c *Core) echoed(p *progress, m *Message) {
	c.renewLease(p, m)
	if m.Round <= p.round {
		return
	}
	p.round = m.Round
	c.maybeConfirmReads()
}

// maybeConfirmReads releases the reads of every round that a quorum has echoed. This node counts
// with its newest: it knows that it leads its own term.
func (c *Core) maybeConfirmReads() {
	lead := &c.lead
	lead.confirmed = quorumValue(c.config(), func(id NodeID) uint64 {
		if id == c.options.ID {
			return lead.round
		}
		return lead.peer(id).round
	})
	n := 0
	for n < len(lead.reads) && lead.reads[n].round <= lead.confirmed {
		c.releaseRead(&lead.reads[n])
		n++
	}
	lead.reads = slices.Delete(lead.reads, 0, n)
}

func (c *Core) releaseRead(r *pendingRead) {
	if r.from == 0 {
		c.readsReady = append(c.readsReady, ReadReady{r.id, r.index})
		c.trace(Event{Kind: EventRead, Pos: Pos{c.hard.Term, r.index}})
		return
	}
	c.send(Message{Kind: ReadIndexResponse, To: r.from, Term: c.hard.Term, Match: r.index,
		Round: r.number}, nothing)
}

// followerReads are the reads of a node that does not lead.
type followerReads struct {
	waiting []ReadID // not yet asked
	strict  bool     // one of them is
	asked   []ReadID // covered by the batch in flight
	force   bool     // one of those is strict: so is the batch
	first   uint64   // number under which that batch was asked first
	number  uint64   // number under which it was asked last, or the last one used
	flying  bool
	retryAt Instant
}

func (r *followerReads) inFlight() bool { return r.flying }

// forwardReads sends one request for all waiting reads, unless one is in flight.
func (c *Core) forwardReads() {
	r := &c.reads
	if c.leader == 0 || r.flying || len(r.waiting) == 0 {
		return
	}
	r.asked, r.waiting = r.waiting, r.asked[:0]
	r.force, r.strict = r.strict, false
	c.askReadIndex()
	r.first = r.number
}

// askReadIndex sends the request under a number that was never used before, on this start of the
// node or an earlier one: an answer to anything older is not an answer.
func (c *Core) askReadIndex() {
	r := &c.reads
	r.flying = true
	r.number = max(r.number, c.options.Boot<<40) + 1
	r.retryAt = c.now + 2*c.options.Heartbeat
	c.send(Message{Kind: ReadIndex, To: c.leader, Term: c.hard.Term, Round: r.number,
		Force: r.force}, hardState)
}

// retryForwardedReads asks again, for the same reads, when no answer came. Reads that arrived since
// stay out: an answer to the first asking may still come, and is older than they are.
func (c *Core) retryForwardedReads() {
	if c.reads.flying && c.now >= c.reads.retryAt && c.leader != 0 {
		c.askReadIndex()
	}
}

// readIndexAnswered releases the reads of the batch in flight. Whichever asking is answered, all of
// them were there before it, so on a link that is slower than the retry the first answer counts.
func (c *Core) readIndexAnswered(m *Message) {
	r := &c.reads
	if !r.flying || m.Round < r.first || m.Round > r.number || m.From != c.leader {
		c.drop(m, "answers an older read")
		return
	}
	for _, id := range r.asked {
		c.readsReady = append(c.readsReady, ReadReady{id, m.Match})
	}
	r.asked, r.flying = r.asked[:0], false
}

// loseReads gives back every read of this node that has no answer. Reads change nothing, so the
// caller may simply ask again.
func (c *Core) loseReads() {
	for _, reads := range [2][]pendingRead{c.lead.reads, c.lead.gated} {
		for i := range reads {
			if reads[i].from == 0 {
				c.lostReads = append(c.lostReads, reads[i].id)
			}
		}
	}
	c.lostReads = append(c.lostReads, c.reads.waiting...)
	c.lostReads = append(c.lostReads, c.reads.asked...)
	c.reads = followerReads{waiting: c.reads.waiting[:0], asked: c.reads.asked[:0], number: c.reads.number}
}
