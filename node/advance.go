package node

import (
	"slices"

	"kelek/raftcore"
)

// advance feeds the core what depends on who leads, and carries out what it wants done, until it
// wants nothing more.
func (n *Node) advance() {
	n.sendHeld()
	n.sendHints()
	for more := true; !n.lifecycle.failed(); {
		if fed := n.feed(); !fed && !more {
			return
		}
		more = n.core.Drain(&n.effects)
		n.perform(&n.effects)
	}
}

// feed offers the core what waits for a leader or for a place. It reports whether the core took any
// of it.
func (n *Node) feed() bool {
	n.maybePurge()
	n.maybeTake()
	n.maybeJoin()
	managed := n.maybeManage()
	proposed := n.propose()
	appended := n.appendForwarded()
	asked := n.read()
	return proposed || appended || asked || managed
}

// perform carries out one Effects. What e points to is valid until the next call of the core, so
// everything here copies or finishes with it.
//
//	write   to the log writer; nothing waits for it here
//	send    what promises nothing goes out in parallel to the write; the rest is held until it is
//	        durable
//	apply   committed and durable entries go to the applier, with the own proposals in them
//	answer  reads whose index is applied; writes are answered by the applier
//	carry   snapshots: take one, fetch one
func (n *Node) perform(e *raftcore.Effects) {
	if e.Write != nil {
		n.startWrite(e.Write)
	}
	n.send(e.Messages)
	n.startApply(e.Apply)
	for _, request := range e.Load {
		n.helpers.load(request)
	}
	for _, id := range e.LostReads {
		n.readLost(id)
	}
	for _, ready := range e.Reads {
		n.readReady(ready)
	}
	n.serveReads()
	n.carrySnapshots(e)
	if e.State != nil {
		n.stateChanged(e.State)
	}
}

// send groups messages by peer, in order, and hands each group to the transport. It empties the To
// of what it has dealt with.
func (n *Node) send(messages []raftcore.Message) {
	for i := range messages {
		to := messages[i].To
		if to == 0 {
			continue
		}
		batch := n.batch[:0]
		for j := i; j < len(messages); j++ {
			m := &messages[j]
			if m.To != to {
				continue
			}
			if m.After > n.durableSeq {
				n.hold(m)
			} else {
				batch = append(batch, *m)
			}
			m.To = 0
		}
		if len(batch) > 0 {
			n.sendTo(to, batch)
		}
		clear(batch)
		n.batch = batch
	}
}

// hold keeps a message until the write that it promises is durable.
func (n *Node) hold(m *raftcore.Message) {
	if n.held.len() >= n.options.Limits.HeldMessagesMax {
		n.counters.heldDropped++
		return
	}
	kept := *m
	kept.Entries = slices.Clone(m.Entries)
	n.held.push(kept)
}

// sendHeld sends the messages whose write is durable by now.
func (n *Node) sendHeld() {
	for n.held.len() > 0 && n.held.at(0).After <= n.durableSeq {
		m := n.held.pop()
		n.transport.Send(m.To, append(n.batch[:0], m))
	}
}

// startWrite hands a copy of w to the log writer.
func (n *Node) startWrite(w *raftcore.Write) {
	t := n.writeTasks.Get().(*writeTask)
	t.fill(w)
	n.writerBytes.Add(int64(t.bytes))
	if w.Snapshot != nil {
		n.installBegun(w)
	}
	n.helpers.write(t)
}

// writerBusy is true while so much waits for the disk that a leader should not append more.
func (n *Node) writerBusy() bool {
	return n.writerBytes.Load() >= int64(n.options.Limits.WriterBytesMax)
}

// stateChanged takes note of who leads, and in which configuration.
func (n *Node) stateChanged(s *raftcore.StateChange) {
	led, leader, term := n.leading(), n.leader, n.term
	n.logState(s)
	n.role, n.term, n.leader = s.Role, s.Term, s.Leader
	if !n.config.Equal(&s.Config) {
		n.config = cloneConfig(&s.Config)
		n.membersChanged()
	}
	if s.Leader != 0 && s.Leader != leader {
		n.counters.leaderChanges++
	}
	if led && !n.leading() || term != s.Term {
		n.resetIntake()
	}
	if led && (!n.leading() || term != s.Term) {
		n.forgetSnapshots()
	}
	if leader != s.Leader || term != s.Term {
		n.leaderChanged()
	}
	n.seen.stale, n.managing.news = true, true
}

// leaderChanged sends the window to whoever leads now, and marks what has to wait for one.
func (n *Node) leaderChanged() {
	o := &n.origin
	n.resend()
	n.awaitProgress()
	o.leaderless = n.leader == 0
	if !o.leaderless {
		return
	}
	for i := range o.waiting.len() {
		(*o.waiting.at(i)).Node.Held = true
	}
}

func cloneConfig(c *raftcore.Config) raftcore.Config {
	return raftcore.Config{
		Voters:    slices.Clone(c.Voters),
		OldVoters: slices.Clone(c.OldVoters),
		Learners:  slices.Clone(c.Learners),
	}
}
