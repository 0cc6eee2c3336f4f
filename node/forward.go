package node

import (
	"kelek/raftcore"
	"kelek/store/op"
)

// intake is the leader's side of forwarding: what other origins sent, in order of arrival, until
// the core accepts it. It belongs to the loop, and is emptied when this node does not lead.
type intake struct {
	waiting fifo[arrival]
	origins map[uint64]appended
}

// arrival is one forwarded proposal.
type arrival struct {
	data              []byte
	origin, boot, seq uint64
}

// appended says that in the present leadership the proposals first..next-1 of this boot were
// appended one after the other.
//
// It only saves log space: the apply rule decides what counts. Therefore it may be wrong in one
// direction only, and must never drop for ever what is still needed. Why it does not: a proposal in
// [first, next) is dropped as a copy. The origin asks for it again only while it is unresolved, and
// then everything before first was applied before, or the origin would have begun lower, which
// starts a new range. So the entry in the log takes effect, or this leadership ends and with it the
// range. Anything outside the range, gaps included, is appended and starts a new one: a gap may be
// filled by entries of an earlier leader that this node has never looked into.
type appended struct{ boot, first, next uint64 }

// Forwarded is the transport telling that a node sent us a proposal, since it takes us
// for the leader. proposal must be immutable from now on.
func (n *Node) Forwarded(from raftcore.NodeID, proposal []byte) {
	if len(proposal) > n.options.Limits.EntryBytesMax || !n.started() {
		n.forwardsDropped.Add(1)
		return
	}
	if n.forwarded.put(proposal, 1, len(proposal)) != putAccepted {
		n.forwardsDropped.Add(1)
	}
}

// takeForwarded moves a proposal of another origin into the order in which they will be appended. A
// node that does not lead drops it: it never passes it on, or two nodes that take each other for
// the leader would send one for ever. What a node sends that is no member would not be executed.
func (n *Node) takeForwarded(data []byte) {
	a := arrival{data: data}
	if !n.leading() || !a.read() || !n.config.IsMember(raftcore.NodeID(a.origin)) {
		n.dropForwarded(a)
		return
	}
	n.peerAsked(raftcore.NodeID(a.origin))
	n.intake.waiting.push(a)
}

// read fills in who sent it. What cannot be read is never appended: it would stop every node.
func (a *arrival) read() bool {
	var p op.Proposal
	if op.DecodeProposal(a.data, &p) != nil {
		return false
	}
	a.origin, a.boot, a.seq = p.Origin, p.Boot, p.Seq
	return true
}

func (n *Node) dropForwarded(a arrival) {
	n.forwarded.release(1, len(a.data))
	n.forwardsDropped.Add(1)
}

// appendForwarded gives the core what others sent, in order, until it is busy. It reports whether
// the core was given anything.
func (n *Node) appendForwarded() (fed bool) {
	in := &n.intake
	for in.waiting.len() > 0 {
		a := in.waiting.at(0)
		if !n.leading() || in.isCopy(a) {
			n.dropForwarded(in.waiting.pop())
			continue
		}
		if !n.appendProposal(a.data) {
			n.origin.retryAt = min(n.origin.retryAt, n.retryTime())
			return fed
		}
		in.note(a)
		n.forwarded.release(1, len(a.data))
		in.waiting.pop()
		fed = true
	}
	return fed
}

// isCopy reports whether a was appended in this leadership, or is a straggler of an older boot.
func (in *intake) isCopy(a *arrival) bool {
	run, known := in.origins[a.origin]
	return known && (a.boot < run.boot ||
		a.boot == run.boot && a.seq >= run.first && a.seq < run.next)
}

func (in *intake) note(a *arrival) {
	known := in.origins[a.origin]
	if known.boot == a.boot && known.next == a.seq {
		known.next++
	} else {
		known = appended{a.boot, a.seq, a.seq + 1}
	}
	in.origins[a.origin] = known
}

// reset forgets everything about a leadership that ended.
func (n *Node) resetIntake() {
	for n.intake.waiting.len() > 0 {
		n.dropForwarded(n.intake.waiting.pop())
	}
	clear(n.intake.origins)
}
