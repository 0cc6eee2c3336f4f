package node

import "kelek/raftcore"

// hints are messages without entries that are kept back for a moment, because nobody waits for them.
//
// The core tells all peers of every advance of the commit index and of every round of reads at once.
// Each such message wakes four goroutines on either side and is answered, which under load is a good
// part of what a follower does at all. But
//
//   - a peer through which nobody writes or reads does nothing with a commit index but apply, and the
//     next entries, which say the same, are on their way within a millisecond;
//   - a round is decided by a majority. Of three nodes one has to be asked.
//
// So such a message waits for the next one to that peer, which makes it superfluous, or for hintDelay.
// To the protocol that is a network that is slow, or loses what is out of date. Where nothing has gone
// to the peer for busyFor the next one may be far, so nothing is kept.
//
// Who has asked for something is told of commits at once for askedFor from then on: clients there
// wait for what is applied. And the peers that are asked first are those that have answered the
// newest round: one that is dead or far away is so no more after one round, which took hintDelay
// longer. Nobody else's latency changes but that of stale reads, by hintDelay.
type hints struct {
	peers []*hint
	due   raftcore.Instant // when those that are kept go out; 0: none is
}

// hint is what the loop knows of one peer.
type hint struct {
	id     raftcore.NodeID
	term   raftcore.Term    // of the last AppendEntries to it
	round  uint64           // likewise
	commit raftcore.Index   // likewise
	at     raftcore.Instant // likewise: when that was
	echoed uint64           // newest round that it has answered
	asked  raftcore.Instant // when it last forwarded a proposal or asked for a read
	kept   raftcore.Message
	keeps  bool
}

const (
	hintDelay = 5 * raftcore.Millisecond
	askedFor  = 1 * raftcore.Second
	busyFor   = 20 * raftcore.Millisecond
)

// of returns the hint of a peer, which stays the same one while the node runs.
func (h *hints) of(id raftcore.NodeID) *hint {
	for _, known := range h.peers {
		if known.id == id {
			return known
		}
	}
	fresh := &hint{id: id}
	h.peers = append(h.peers, fresh)
	return fresh
}

// sendTo hands messages for one peer to the transport, or keeps them for a moment.
func (n *Node) sendTo(to raftcore.NodeID, messages []raftcore.Message) {
	h := n.hints.of(to)
	if len(messages) == 1 && n.mayKeep(h, &messages[0]) {
		h.kept, h.keeps = messages[0], true
		if n.hints.due == 0 {
			n.hints.due = n.now + hintDelay
		}
		return
	}
	for i := range messages {
		h.sent(&messages[i], n.now)
	}
	n.transport.Send(to, messages)
}

// sent notes what the peer is told. What was kept for it is out of date.
func (h *hint) sent(m *raftcore.Message, now raftcore.Instant) {
	if m.Kind != raftcore.AppendEntries {
		return
	}
	if m.Term != h.term { // rounds are counted anew
		h.echoed = 0
	}
	h.term, h.round, h.commit, h.at = m.Term, m.Round, m.Commit, now
	h.keeps = false
}

// mayKeep reports whether nobody waits for what m says.
func (n *Node) mayKeep(h *hint, m *raftcore.Message) bool {
	if m.Kind != raftcore.AppendEntries || len(m.Entries) > 0 || m.Term != h.term ||
		n.now > h.at+busyFor {
		return false
	}
	if m.Commit > h.commit && h.asked != 0 && n.now < h.asked+askedFor {
		return false
	}
	return m.Round == h.round || !n.askedFirst(h)
}

// askedFirst reports whether a round needs this peer: it is among those that make a majority with
// this node, and no others have answered newer rounds. In a joint configuration everybody is.
func (n *Node) askedFirst(h *hint) bool {
	self := raftcore.NodeID(n.options.Self.ID)
	if n.config.Joint() || !n.config.IsVoter(self) {
		return true
	}
	before := 0
	for _, id := range n.config.Voters {
		if id == h.id || id == self {
			continue
		}
		other := n.hints.of(id)
		if other.echoed > h.echoed || other.echoed == h.echoed && id < h.id {
			before++
		}
	}
	return n.config.IsVoter(h.id) && before < len(n.config.Voters)/2
}

// heard takes note of a message from a peer.
func (n *Node) heard(m *raftcore.Message) {
	switch m.Kind {
	case raftcore.AppendEntriesResponse:
		h := n.hints.of(m.From)
		if m.Term == h.term {
			h.echoed = m.Round
		}
	case raftcore.ReadIndex:
		n.peerAsked(m.From)
	}
}

// peerAsked notes that clients of a peer wait for what it applies.
func (n *Node) peerAsked(id raftcore.NodeID) {
	h := n.hints.of(id)
	h.asked = n.now
	n.sendKept(h)
}

// sendHints sends what was kept for long enough.
func (n *Node) sendHints() {
	if n.hints.due == 0 || n.now < n.hints.due {
		return
	}
	n.hints.due = 0
	for _, h := range n.hints.peers {
		n.sendKept(h)
	}
}

func (n *Node) sendKept(h *hint) {
	if !h.keeps || !n.leading() || h.kept.Term != n.term {
		h.keeps = false
		return
	}
	m := h.kept
	h.sent(&m, n.now)
	n.transport.Send(h.id, append(n.batch[:0], m))
}

// hintDeadline is when sendHints has something to do.
func (n *Node) hintDeadline() raftcore.Instant {
	if n.hints.due == 0 {
		return never
	}
	return n.hints.due
}
