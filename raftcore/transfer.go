package raftcore

import "slices"

// TransferLeadership hands leadership to a voter (dissertation, 3.10); to the most caught-up one
// when to is 0. Proposals pause until the new leader is known, or until an election time-out has
// passed and this node leads on.
func (c *Core) TransferLeadership(to NodeID) error {
	if c.role != Leader {
		return ErrNotLeader
	}
	if c.lead.transferee != 0 {
		return ErrTransferring
	}
	if to == 0 {
		to = c.mostCaughtUp()
	}
	if to == c.options.ID || !c.config().IsVoter(to) {
		return ErrNotVoter
	}
	c.lead.transferee = to
	c.lead.transferDeadline = c.now + c.options.ElectionTimeout
	c.lead.transferSent = false
	c.maybeSendTimeoutNow()
	return nil
}

// mostCaughtUp is the voter with the highest match among those heard from lately, and not on its
// way out; 0 when there is none.
func (c *Core) mostCaughtUp() NodeID {
	best, match := NodeID(0), Index(0)
	for i := range c.lead.peers {
		p := &c.lead.peers[i]
		if c.live(p) && slices.Contains(c.config().Voters, p.id) && (best == 0 || p.match > match) {
			best, match = p.id, p.match
		}
	}
	return best
}

// live reports whether a peer has answered within an election time-out.
func (c *Core) live(p *progress) bool { return c.now < p.contact+c.options.ElectionTimeout }

// maybeSendTimeoutNow tells the target to campaign once it holds the whole log durably.
func (c *Core) maybeSendTimeoutNow() {
	lead := &c.lead
	if lead.transferee == 0 || lead.transferSent {
		return
	}
	p := lead.peer(lead.transferee)
	if p == nil || p.match < c.log.last.Index {
		return
	}
	lead.transferSent, lead.forced = true, true
	c.send(Message{Kind: TimeoutNow, To: p.id, Term: c.hard.Term, Prev: c.log.last}, nothing)
}

// abortTransfer lets this node lead on. The target may still campaign: then it wins or not, as
// ever.
func (c *Core) abortTransfer() {
	c.lead.transferee, c.lead.transferSent = 0, false
	c.maybeFinishChange()
}

// timeoutNow campaigns at once for the leader that asked. The target's durable log must reach the
// leader's (mistake 66), and it must be a voter (mistake 13). Sticky voters are told with Force,
// which counts for this one term (mistake 67).
func (c *Core) timeoutNow(m *Message) {
	if !c.promotable() || c.log.stable < m.Prev.Index || !c.log.matches(m.Prev) {
		c.drop(m, "not ready to lead")
		return
	}
	c.campaign(true, "leadership transferred")
}
