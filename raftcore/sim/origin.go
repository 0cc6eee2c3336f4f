package sim

import (
	"errors"
	"slices"

	"kelek/raftcore"
)

// What the real node does for its clients: number ops into proposals, keep the proposals in order,
// forward them to the leader, send them again when the leader changes or nothing comes back, and
// answer from the own apply (design.md 2 and 5). Reads wait here for their index.

// origin numbers and keeps the proposals of one start of one node.
type origin struct {
	seq        uint64
	waiting    []opID
	unresolved []*sentProposal
	sentAt     raftcore.Instant // when the oldest unresolved one was last sent
	timer      bool             // an evResend is scheduled
}

// sentProposal is a proposal without a known outcome.
type sentProposal struct {
	seq  uint64
	data []byte
	ops  []opID
}

// read is a linearizable read that waits at its node.
type read struct {
	id    raftcore.ReadID // of the last question
	op    opID
	asked bool // the core knows of it
	ready bool // index is valid
	index raftcore.Index
}

// pump numbers waiting ops while a leader is known and the window is open.
func (p *process) pump() {
	o := &p.origin
	for len(o.waiting) > 0 && p.state.Leader != 0 && len(o.unresolved) < p.w.knobs.window {
		n := min(len(o.waiting), p.w.knobs.batch)
		o.seq++
		s := p.w.clients.number(p, o.seq, o.waiting[:n])
		o.waiting = slices.Delete(o.waiting, 0, n)
		o.unresolved = append(o.unresolved, s)
		p.sendProposal(s)
	}
}

// number makes a proposal of ops.
func (c *clients) number(p *process, seq uint64, ops []opID) *sentProposal {
	s := &sentProposal{seq: seq, ops: slices.Clone(ops)}
	padding := 0
	if chance(c.w.rng.clients, c.w.knobs.largePermille) {
		padding = c.w.rng.clients.IntN(c.w.knobs.largeBytes)
	}
	s.data = make([]byte, 0, headerSize+len(ops)*opSize+padding)
	s.data = appendProposal(s.data, p.id, uint64(p.starts), seq, len(ops))
	for _, id := range ops {
		op := &c.ops[id]
		op.state = numbered
		s.data = appendOp(s.data, op.code, op.key, id, op.value)
	}
	s.data = append(s.data, make([]byte, padding)...)
	return s
}

// sendProposal proposes here, or forwards to the leader. What is lost is sent again by resend.
func (p *process) sendProposal(s *sentProposal) {
	o := &p.origin
	if s == o.unresolved[0] {
		o.sentAt = p.w.now
	}
	if p.state.Leader == p.id {
		p.propose(s.data)
	} else if to := p.w.indexOf(p.state.Leader); to >= 0 {
		p.w.network.forward(p, to, s.data)
	}
}

// propose appends a proposal to the log when this node leads. All errors mean the same to the
// origin: not now. It sends again.
func (p *process) propose(data []byte) {
	_, err := p.core.Propose(p.clock.wall(p.w.now), data)
	p.dirty = true
	if p.w.tracing() {
		h, _ := decodeProposal(data)
		p.w.tracef(p, "proposes n%d:%d:%d: %v", p.w.indexOf(h.origin)+1, h.boot, h.seq, err)
	}
	if errors.Is(err, raftcore.ErrTooLarge) {
		p.w.fail(13, "%s: %d bytes are too large for an entry", p.name(), len(data))
	}
}

// takeForwarded is a proposal from another node: one hop only, so a node that does not lead drops
// it. Those of a removed node take no effect, and are dropped, too; not while there are faults, so
// that they are seen to take none.
func (p *process) takeForwarded(data []byte) {
	h, _ := decodeProposal(data)
	if p.w.phase != faulty && !p.w.checker.nodes[p.index].config().Config.IsMember(h.origin) {
		return
	}
	p.propose(data)
	p.inputTaken()
}

// resendAll sends every unresolved proposal again, in order, and asks the reads again that the core
// does not know.
func (p *process) resendAll() {
	for _, s := range p.origin.unresolved {
		p.sendProposal(s)
	}
	p.askReads()
	p.watchOrigin()
}

// watchOrigin schedules a look at what has no answer yet.
func (p *process) watchOrigin() {
	o := &p.origin
	if o.timer || len(o.unresolved) == 0 && len(p.reads) == 0 && len(o.waiting) == 0 {
		return
	}
	o.timer = true
	p.w.schedule(p, p.w.knobs.election, evResend, 0)
}

// resend is that look: an election time-out without an answer means lost.
func (p *process) resend() {
	o := &p.origin
	o.timer = false
	p.tick()
	if len(o.unresolved) > 0 && p.w.now-o.sentAt >= p.w.knobs.election {
		p.resendAll()
	}
	p.askReads()
	p.pump()
	p.watchOrigin()
	p.inputTaken()
}

// resolved answers the clients of an own proposal that took effect at index, with the results of
// its ops.
func (p *process) resolved(seq uint64, index raftcore.Index, results []uint64) {
	o := &p.origin
	if len(o.unresolved) == 0 || o.unresolved[0].seq != seq {
		p.w.fail(11, "%s: proposal %d took effect out of order", p.name(), seq)
	}
	s := o.unresolved[0]
	o.unresolved = slices.Delete(o.unresolved, 0, 1)
	o.sentAt = p.w.now
	for i, id := range s.ops {
		p.w.clients.finish(id, index, results[i])
	}
}

// askReads gives the core the reads that it does not know.
func (p *process) askReads() {
	for i := range p.reads {
		r := &p.reads[i]
		if r.asked || r.ready {
			continue
		}
		p.w.checker.readIDs++
		r.id = raftcore.ReadID(p.w.checker.readIDs)
		if err := p.core.ReadIndex(r.id); err != nil {
			return // no leader, or too many: resend looks again
		}
		r.asked, p.dirty = true, true
	}
}

// readsReady takes the answers of the core.
func (p *process) readsReady(ready []raftcore.ReadReady, lost []raftcore.ReadID) {
	for _, answer := range ready {
		p.w.fold(uint64(answer.ID)<<32 ^ uint64(answer.Index))
		if r := p.readOf(answer.ID); r != nil {
			r.ready, r.index = true, answer.Index
			p.w.checker.readIndex(p, r)
		}
	}
	for _, id := range lost {
		if r := p.readOf(id); r != nil {
			r.asked = false
		}
	}
	if len(ready) > 0 {
		p.serveReads()
	}
	if len(lost) > 0 {
		p.watchOrigin()
	}
}

func (p *process) readOf(id raftcore.ReadID) *read {
	for i := range p.reads {
		if r := &p.reads[i]; r.asked && r.id == id {
			return r
		}
	}
	return nil
}

// serveReads answers the reads whose index is applied.
func (p *process) serveReads() {
	n := 0
	for _, r := range p.reads {
		if r.ready && p.machine.applied >= r.index {
			op := &p.w.clients.ops[r.op]
			p.w.clients.finish(r.op, p.machine.applied, p.machine.read(op.of, op.key))
		} else {
			p.reads[n] = r
			n++
		}
	}
	p.reads = p.reads[:n]
}
