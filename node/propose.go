package node

import (
	"fmt"
	"math"

	"kelek/raftcore"
	"kelek/store/op"
)

// never is an Instant that does not come.
const never raftcore.Instant = math.MaxUint64

// proposal is a numbered batch of ops of this node, from its numbering to its outcome.
//
// It has one owner at a time, which is why nothing in it is atomic: the loop, until the entry that
// carries it is committed and handed over; then the applier, which answers its submissions. So
// deadlines are the loop's, and stop to count at the hand-over: from there on the outcome is known
// to be "applied", and a node that cannot apply has stopped.
type proposal struct {
	seq     uint64
	data    []byte // encoded; immutable, since the log, the wire and re-sends share it
	count   int    // ops
	parts   []part
	clients int  // who wait for it
	told    int  // parts[:told] were answered at their deadline
	again   bool // was sent before

	// The applier's place while it is told of one op after the other.
	at, first int // parts[at] begins with op first
	applied   int
}

// part is what is left of a submission once its ops are copied.
type part struct {
	sink     op.Sink
	count    int
	deadline raftcore.Instant
}

// Applied is op.Observer: it finds the submission that op i belongs to.
func (p *proposal) Applied(i int, r *op.Result, v op.View) {
	p.applied++
	if sink := p.sinkOf(i); sink != nil {
		sink.Applied(i-p.first, r, v)
	}
}

// Step is op.StepObserver.
func (p *proposal) Step(i, done int, r *op.Result, v op.View) {
	if sink, ok := p.sinkOf(i).(op.StepObserver); ok {
		sink.Step(i-p.first, done, r, v)
	}
}

// sinkOf moves to the submission that op i belongs to; nil when that was answered already.
func (p *proposal) sinkOf(i int) op.Sink {
	for i >= p.first+p.parts[p.at].count {
		p.first += p.parts[p.at].count
		p.at++
	}
	if p.at < p.told {
		return nil
	}
	return p.parts[p.at].sink
}

// resolve ends what has not been told yet.
func (p *proposal) resolve(err error) {
	for i := p.told; i < len(p.parts); i++ {
		p.parts[i].sink.Resolve(err)
		p.parts[i].sink = nil
	}
	p.told = len(p.parts)
}

// origin is this node as the proposer of what its clients send. It belongs to the loop.
//
//	waiting (not numbered)  ->  window (resolved+1 .. next-1)  ->  the applier
//	                            └ window[:sent] went to the present leader
//
// Invariants: seqs of the window are consecutive and begin at resolved+1. Deadlines never decrease
// from the head of the window to the end of waiting. A seq is given once, and its ops never change.
type origin struct {
	waiting      fifo[*op.Submission]
	waitingBytes int
	waitingOps   int
	waiters      int  // clients that wait for what is in waiting
	leaderless   bool // what waits, waits for a leader

	window      fifo[*proposal]
	windowBytes int
	next        uint64 // the next number
	numberedAt  raftcore.Instant
	pace        pace
	resolved    uint64 // the last number that was committed, in order
	sent        int
	member      bool // in the configuration at which the entries stand that the applier has
	expired     int  // window[:expired] have been told everything

	retryAt  raftcore.Instant // something was refused: try again; never if nothing was
	resendAt raftcore.Instant // nothing came back: send the window again
	backoff  raftcore.Instant

	ops []byte // scratch
}

// Propose implements resp.Backend: it hands a submission over. What can be refused without the loop
// is refused at once, by a call of Resolve before Propose returns.
func (n *Node) Propose(s *op.Submission) {
	if len(s.Ops) > n.submissionBytesMax {
		s.Sink.Resolve(op.ErrTooLarge)
		return
	}
	if err := n.refusing(); err != nil {
		s.Sink.Resolve(err)
		return
	}
	s.Node = op.SubmissionState{}
	switch n.submissions.put(s, 1, len(s.Ops)) {
	case putAccepted:
		n.heldUntilStart()
	case putFull:
		s.Sink.Resolve(op.ErrBusy)
	case putClosed:
		s.Sink.Resolve(op.ErrStopping)
	}
}

// takeSubmission moves what a connection handed over to the end of waiting. It still counts against
// the mailbox's limits there.
func (n *Node) takeSubmission(s *op.Submission) {
	o := &n.origin
	s.Node.Deadline = uint64(n.now + n.requestTimeout)
	s.Node.Held = o.leaderless
	o.waiting.push(s)
	o.waitingBytes += len(s.Ops)
	o.waitingOps += s.Count
	o.waiters += max(s.Clients, 1)
}

// propose numbers what may be numbered, and sends what has not been sent to the present leader. It
// reports whether the core was given anything.
func (n *Node) propose() bool {
	if n.leader == 0 {
		return false
	}
	for n.mayNumber() {
		n.number()
	}
	return n.sendWindow()
}

// mayNumber decides how large batches become: see Limits.PipelineProposalsMax. Numbers are given as
// late as possible, since only what has no number can still be refused with certainty.
func (n *Node) mayNumber() bool {
	o, l := &n.origin, &n.options.Limits
	unresolved := o.window.len()
	switch {
	case o.waiting.len() == 0 || n.stopping || n.goes() || n.jumps():
		return false
	case unresolved == 0:
		return o.pace.ready(n.now, o.waiters, o.waitingOps)
	case !n.windowHasPlace():
		return false
	}
	return unresolved < l.PipelineProposalsMax || o.waitingBytes >= l.PipelineFullBytes ||
		n.now >= o.numberedAt+n.pipelineDelay
}

// jumps reports whether this node is about to go on from a snapshot: it has nothing at all, or gets
// one. What is numbered before may be executed in it, and then nobody here knows with what result.
func (n *Node) jumps() bool {
	return n.appliedIndex == 0 || n.snapshotting.fetching != nil || n.snapshotting.installing != 0
}

func (n *Node) windowHasPlace() bool {
	o, l := &n.origin, &n.options.Limits
	return o.window.len() < l.WindowProposalsMax && o.windowBytes < l.WindowBytesMax
}

// number turns the oldest submissions into one proposal.
func (n *Node) number() {
	o, l := &n.origin, &n.options.Limits
	p := n.newProposal()
	ops := o.ops[:0]
	taken, takenBytes := 0, 0
	for o.waiting.len() > 0 {
		s := *o.waiting.at(0)
		if len(p.parts) > 0 &&
			(p.count+s.Count > l.ProposalOpsMax || len(ops)+len(s.Ops) > l.ProposalBytesMax) {
			break
		}
		o.waiting.pop()
		taken, takenBytes = taken+1, takenBytes+len(s.Ops)
		o.waitingOps -= s.Count
		o.waiters -= max(s.Clients, 1)
		if s.Node.Held && n.goneMeanwhile(s) {
			continue
		}
		ops = append(ops, s.Ops...)
		p.count += s.Count
		p.clients += max(s.Clients, 1)
		p.parts = append(p.parts, part{s.Sink, s.Count, raftcore.Instant(s.Node.Deadline)})
	}
	o.waitingBytes -= takenBytes
	n.submissions.release(taken, takenBytes)
	o.ops = ops
	if cap(o.ops) > l.ProposalBytesMax {
		o.ops = nil // one large submission shall not keep its size for ever
	}
	if len(p.parts) == 0 {
		n.proposals.Put(p)
		return
	}
	n.enterWindow(p, ops)
}

// goneMeanwhile ends a wait for a leader: it measures it, and drops what came from clients that
// have hung up: they may already have sent the command again to another node.
func (n *Node) goneMeanwhile(s *op.Submission) bool {
	waited := n.now + n.requestTimeout - raftcore.Instant(s.Node.Deadline)
	n.counters.longestHeld = max(n.counters.longestHeld, waited)
	if !s.Sink.Gone() {
		return false
	}
	s.Sink.Resolve(op.ErrNoLeader)
	return true
}

func (n *Node) enterWindow(p *proposal, ops []byte) {
	o := &n.origin
	p.seq = o.next
	o.next++
	o.numberedAt = n.now
	o.pace.begin(n.now, p.clients)
	encoded := op.Proposal{
		Origin: n.options.Self.ID, Boot: n.options.Boot, Seq: p.seq,
		Count: uint32(p.count), Ops: ops,
	}
	p.data = op.AppendProposal(make([]byte, 0, len(ops)+proposalOverhead), &encoded)
	if o.window.len() == 0 {
		n.awaitProgress()
	}
	o.window.push(p)
	o.windowBytes += len(p.data)
	n.counters.numbered++
}

// newProposal takes one from the pool; a proposal returns there when the applier is done with it.
func (n *Node) newProposal() *proposal {
	p := n.proposals.Get().(*proposal)
	*p = proposal{parts: p.parts[:0]}
	return p
}

// sendWindow sends, in order, what the present leader has not been sent.
func (n *Node) sendWindow() (fed bool) {
	o := &n.origin
	for o.sent < o.window.len() {
		p := *o.window.at(o.sent)
		if !n.sendProposal(p) {
			o.retryAt = n.now + raftcore.Instant(retryInterval)
			return fed
		}
		if p.again {
			n.counters.resent++
		}
		p.again = true
		o.sent++
		fed = true
	}
	o.retryAt = never
	return fed
}

// sendProposal gives a proposal to the leader. False means: refused, try again later, and nothing
// behind it before it.
func (n *Node) sendProposal(p *proposal) bool {
	if !n.leading() {
		return n.transport.Forward(n.leader, p.data)
	}
	return n.appendProposal(p.data)
}

// appendProposal gives a proposal to the own core.
func (n *Node) appendProposal(data []byte) bool {
	if n.writerBusy() {
		return false
	}
	_, err := n.core.Propose(n.clock, data)
	switch err {
	case nil:
		return true
	case raftcore.ErrBusy, raftcore.ErrTransferring, raftcore.ErrNotLeader:
		return false
	}
	n.fail(err) // ErrTooLarge, which Propose and Forwarded rule out
	return false
}

// resend starts over with the window: the leader is another one, or nothing came back.
func (n *Node) resend() {
	n.origin.sent = 0
	n.origin.retryAt = never
}

// awaitProgress restarts the resend time-out, because something came back or someone new was asked.
func (n *Node) awaitProgress() {
	n.origin.backoff = n.electionTimeout
	n.origin.resendAt = n.now + n.electionTimeout
}

// progressTimedOut sends the window again when nothing came back for a while: a forwarded proposal
// may have been lost on its way. On the leader itself nothing is: while it leads, its log keeps
// what it appended.
func (n *Node) progressTimedOut() {
	o := &n.origin
	if o.window.len() == 0 || n.now < o.resendAt {
		return
	}
	if n.leader != 0 && !n.leading() {
		n.resend()
	}
	o.backoff = min(2*o.backoff, resendBackoffMax*n.electionTimeout)
	o.resendAt = n.now + o.backoff
}

// expireSubmissions answers what has waited for too long: numbered or not makes the difference
// between "unknown" and "certainly not". A numbered proposal is not withdrawn by that: later
// numbers need it.
func (n *Node) expireSubmissions() {
	o := &n.origin
	for ; o.expired < o.window.len(); o.expired++ {
		p := *o.window.at(o.expired)
		for p.told < len(p.parts) && p.parts[p.told].deadline <= n.now {
			p.parts[p.told].sink.Resolve(n.uncertain(p))
			p.parts[p.told].sink = nil
			p.told++
			n.counters.uncertain++
		}
		if p.told < len(p.parts) {
			return
		}
	}
	for o.waiting.len() > 0 && (*o.waiting.at(0)).Node.Deadline <= uint64(n.now) {
		n.refuseOldest(op.ErrNoLeader)
	}
}

// uncertain is ErrUncertain with the number by which the log can be searched.
func (n *Node) uncertain(p *proposal) error {
	o := &n.options
	return fmt.Errorf("%w (id %s/%d/%d)", op.ErrUncertain, o.Self.Name, o.Boot, p.seq)
}

// refuseOldest ends the oldest submission that has no number.
func (n *Node) refuseOldest(err error) {
	o := &n.origin
	s := o.waiting.pop()
	if s.Node.Held {
		waited := n.now + n.requestTimeout - raftcore.Instant(s.Node.Deadline)
		n.counters.longestHeld = max(n.counters.longestHeld, waited)
	}
	o.waitingBytes -= len(s.Ops)
	o.waitingOps -= s.Count
	o.waiters -= max(s.Clients, 1)
	n.submissions.release(1, len(s.Ops))
	s.Sink.Resolve(err)
}

// passConfig notes whether this node is a member from a committed configuration on.
func (n *Node) passConfig(c *raftcore.Config) {
	n.origin.member = c.IsMember(raftcore.NodeID(n.options.Self.ID))
}

// passConfigs does so for those that the log held at the start of this node.
func (n *Node) passConfigs(r raftcore.Range) {
	for i := range n.restored.Configs {
		if at := &n.restored.Configs[i]; r.First <= at.Pos.Index && at.Pos.Index <= r.Last {
			n.passConfig(&at.Config)
		}
	}
}

// matched returns the own proposal that a committed entry carries, if this is the place where the
// apply rule of design.md 5 executes it: our boot, the number after the last one, and while this
// node is a member. Any other entry with a number of ours is a copy, and changes nothing; and so
// does what comes after our removal. A leader that removes itself may append that, if it was
// refused before.
func (n *Node) matched(e *raftcore.Entry) *proposal {
	o := &n.origin
	if e.Kind == raftcore.EntryConfig {
		if c, err := raftcore.DecodeConfig(e.Data); err == nil { // or the store says it, and stops
			n.passConfig(&c)
		}
		return nil
	}
	if o.window.len() == 0 || !o.member || e.Kind != raftcore.EntryNormal {
		return nil
	}
	var decoded op.Proposal
	if op.DecodeProposal(e.Data, &decoded) != nil {
		return nil // the store says what is wrong with it, and stops
	}
	if decoded.Origin != n.options.Self.ID || decoded.Boot != n.options.Boot ||
		decoded.Seq != o.resolved+1 {
		return nil
	}
	o.pace.end(n.now, o.waiters)
	n.awaitProgress()
	return n.popOldest()
}

// popOldest takes the oldest proposal out of the window, since it has an outcome.
func (n *Node) popOldest() *proposal {
	o := &n.origin
	p := o.window.pop()
	o.windowBytes -= len(p.data)
	o.resolved = p.seq
	o.sent = max(o.sent-1, 0)
	o.expired = max(o.expired-1, 0)
	return p
}

// proposalDeadline is when propose or an expiry has something to do though nothing happened.
func (n *Node) proposalDeadline() raftcore.Instant {
	o := &n.origin
	at := o.retryAt
	if o.window.len() > 0 {
		at = min(at, o.resendAt)
		if o.waiting.len() > 0 && n.leader != 0 && n.windowHasPlace() {
			at = min(at, o.numberedAt+n.pipelineDelay)
		}
	} else if o.waiting.len() > 0 && n.leader != 0 {
		at = min(at, o.pace.until())
	}
	switch {
	case o.expired < o.window.len():
		p := *o.window.at(o.expired)
		at = min(at, p.parts[p.told].deadline)
	case o.waiting.len() > 0:
		at = min(at, raftcore.Instant((*o.waiting.at(0)).Node.Deadline))
	}
	return at
}
