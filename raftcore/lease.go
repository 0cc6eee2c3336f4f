package raftcore

// Leases: reads without a round (dissertation, 6.4.1). Off unless Options.LeaseDrift is set, and
// then on every node.
//
// A voter that hears the leader promises, in its response, to grant no vote for an election
// time-out from then on. So while a quorum's promises last there is no other leader, and a leader
// that knows of them may answer a read from its commit index at once. Clocks are compared with
// themselves only: the leader counts from when it sent the round that the promise answers, which is
// before the voter heard it, and takes off what another clock may run faster than its own:
//
//	sent + ElectionTimeout * 1000/(1000+LeaseDrift) - Heartbeat/10
//
// LeaseDrift is that bound, in parts per thousand. The clock must run on while the machine sleeps.
// A clock that breaks the bound can make a read stale; it can never lose a write.
//
// What the promise binds:
//
//   - Pre-votes, votes and the node's own campaigns, in this term and in later ones.
//   - A broken connection does not end it: with leases on there are no fast elections.
//   - A restart does not end it: a node that has just started waits an election time-out, as it may
//     have promised something before. To switch leases off, or to shorten the election time-out, let
//     the time-out that was in force pass between the stop and the start of each node.
//   - A transfer overrides it. So the leader gives up its lease before TimeoutNow leaves, and for
//     the rest of its term: that message may arrive late, when the transfer is long given up.
//
// Both sides count from a Tick that comes after the fact, as anything may pass between reading the
// clock and using what was read. A promise lasts from the first Tick after the message was heard; a
// read is answered by the first Tick after it came that falls within the lease. Drain starts a
// round for what no Tick has answered, so a caller that wants its reads answered under the lease
// Ticks between ReadIndex (or Step) and Drain.

// leaseDriftMax bounds Options.LeaseDrift: one clock runs twice as fast as another.
const leaseDriftMax = 1000

// promise is what a response to the leader says about votes. 0: nothing.
func (c *Core) promise() Instant {
	if c.options.LeaseDrift == 0 {
		return 0
	}
	return c.options.ElectionTimeout
}

// promised reports whether this node has promised to grant no vote but a forced one.
func (c *Core) promised() bool { return c.promiseFresh || c.now < c.promisedUntil }

// datePromise lets a promise that was given since the last Tick count from now on.
func (c *Core) datePromise() {
	if c.promiseFresh {
		c.promiseFresh, c.promisedUntil = false, c.now+c.options.ElectionTimeout
	}
}

// keepOldPromise keeps what this node may have promised before it was started.
func (c *Core) keepOldPromise() {
	if c.options.LeaseDrift > 0 {
		c.promisedUntil = c.now + c.options.ElectionTimeout
		c.electionDeadline += c.options.ElectionTimeout
	}
}

// tell notes that the newest round goes out to a peer. The lease counts from the first time that
// this happens, and one round at a time is timed per peer: an echo of a later one proves as much.
func (c *Core) tell(p *progress) {
	if p.told < c.lead.round && p.leaseRound == 0 {
		p.leaseRound, p.leaseSent = c.lead.round, c.now
	}
	p.told = c.lead.round
}

// renewLease takes the promise that comes with the echo of a round.
func (c *Core) renewLease(p *progress, m *Message) {
	if p.leaseRound == 0 || m.Round < p.leaseRound {
		return
	}
	if m.Lease >= c.options.ElectionTimeout || planted(222) && m.Lease > 0 {
		p.leased = p.leaseSent
		if planted(22) {
			p.leased = c.now
		}
	}
	p.leaseRound = 0
}

// leaseUntil is the instant before which no other node can lead; 0 when there is no lease.
func (c *Core) leaseUntil() Instant {
	lead, o := &c.lead, &c.options
	transferred := lead.transferee != 0 || lead.forced
	if o.LeaseDrift == 0 || c.role != Leader || transferred && !planted(122) {
		return 0
	}
	sent := quorumValue(c.config(), func(id NodeID) uint64 {
		if id == o.ID {
			return uint64(c.now)
		}
		return uint64(lead.peer(id).leased)
	})
	if sent == 0 {
		return 0
	}
	return Instant(sent) + o.ElectionTimeout*1000/Instant(1000+o.LeaseDrift) - o.Heartbeat/10
}

// maybeReadUnderLease answers the reads that came before this Tick and do not insist on a round.
func (c *Core) maybeReadUnderLease() {
	lead := &c.lead
	if len(lead.reads) == 0 || c.now >= c.leaseUntil() {
		return
	}
	kept := lead.reads[:0]
	for _, r := range lead.reads {
		if r.strict {
			kept = append(kept, r)
		} else {
			c.releaseRead(&r)
		}
	}
	lead.reads = kept
}
