package sim

import (
	"slices"

	"kelek/raftcore"
)

// What a node does with the effects of its core, in the order that raftcore/effects.go promises:
// write, send what need not wait, send what waited, apply, answer. Each line between two effects is
// a boundary at which the power may go.

// inputTaken drains at once, or a little later together with what comes meanwhile, as the real loop
// does when several inputs are ready.
func (p *process) inputTaken() {
	p.dirty = true
	if p.build.gather == 0 {
		p.advance()
	} else if !p.gather {
		p.gather = true
		p.w.schedule(p, between(p.w.rng.network, 0, p.build.gather), evAdvance, 0)
	}
}

func (p *process) gathered() {
	p.gather = false
	p.advance()
}

// advance drains the core and performs its effects until there are none.
func (p *process) advance() {
	for p.core != nil && p.dirty {
		p.dirty = p.core.Drain(&p.effects)
		p.perform(&p.effects)
	}
	if p.core != nil {
		p.arm()
	}
}

// perform carries out one Effects in the order that effects.go promises: write, send, apply,
// answer.
func (p *process) perform(e *raftcore.Effects) {
	p.trace(e)
	if p.at(beforeWrite) {
		return
	}
	if e.Write != nil {
		if p.write(e.Write); p.core == nil {
			return
		}
	}
	p.w.checker.drained(p, e)
	if e.Write != nil && p.at(afterWrite) {
		return
	}
	for i := range e.Messages {
		if p.post(&e.Messages[i]); p.core == nil {
			return
		}
	}
	p.handOut(e.Apply)
	if e.TakeSnapshot {
		p.takeWanted()
	}
	if e.Fetch != nil {
		p.fetchChanged(e.Fetch)
	}
	p.loadLater(e.Load)
	p.readsReady(e.Reads, e.LostReads)
	if e.State != nil {
		p.stateChanged(e.State)
	}
}

// write hands one Write to the disk, and starts a sync when none is running.
func (p *process) write(w *raftcore.Write) {
	if p.disk.full {
		p.stop("the disk is full")
		return
	}
	slots := p.w.checker.written(p, w)
	p.disk.issue(w, slots)
	p.w.foldWrite(w)
	p.sync()
}

// sync starts the next sync, which covers everything written so far.
func (p *process) sync() {
	d := &p.disk
	if d.syncing || len(d.pending) == 0 {
		return
	}
	d.syncing, d.covers = true, len(d.pending)
	p.syncTakes(p.w.syncLatency(d))
}

// syncTakes says when the running sync ends, whatever was said before.
func (p *process) syncTakes(latency raftcore.Instant) {
	p.disk.syncEnds = p.w.now + latency
	p.w.schedule(p, latency, evSynced, 0)
}

// syncEnded reports whether an event is the end of the running sync, or what a pause made of one.
func (p *process) syncEnded(e *event) bool { return e.arg != 0 || e.at == p.disk.syncEnds }

func (p *process) syncEvent(e *event) {
	if p.syncEnded(e) {
		p.synced(raftcore.Seq(e.arg))
	}
}

// synced is the end of a sync. done is 0 unless the platter finished during a pause.
func (p *process) synced(done raftcore.Seq) {
	if done == 0 {
		if p.disk.syncFails {
			p.syncFailed()
			return
		}
		done = p.land()
	}
	if p.at(afterSync) {
		return
	}
	p.core.Durable(done)
	p.dirty = true
	if p.jumped {
		p.jumped = false
		p.resolveJumped()
	}
	p.releaseHeld(done)
	if p.core != nil {
		p.inputTaken()
	}
}

// land makes the synced writes durable and lets the next sync begin.
func (p *process) land() raftcore.Seq {
	p.w.checker.landing(p)
	installs := p.disk.installs
	done := p.disk.land()
	if p.disk.installs > installs {
		p.installed()
		p.jumped = true
	}
	p.sync()
	return done
}

// releaseHeld sends what waited for writes up to done.
func (p *process) releaseHeld(done raftcore.Seq) {
	n := 0
	for n < len(p.held) && p.held[n].after <= done {
		p.w.network.transmit(p, p.held[n].slot)
		p.held[n].slot = noSlot
		n++
		if p.at(betweenSends) {
			return
		}
	}
	p.held = slices.Delete(p.held, 0, n)
}

// post sends a message, or holds it until what it promises is durable.
func (p *process) post(m *raftcore.Message) {
	slot := p.w.network.pack(p, m)
	if slot == noSlot {
		return
	}
	if m.After > p.disk.syncedTo {
		p.held = append(p.held, heldPacket{m.After, slot})
		return
	}
	p.w.network.transmit(p, slot)
	p.w.network.sayMore(p, m)
	p.at(betweenSends)
}

// handOut queues a committed range for the applier. The entries are taken from memory now, because
// the core may forget them; what it does not have is read from disk when its turn comes.
func (p *process) handOut(r raftcore.Range) {
	if r.Empty() {
		return
	}
	p.w.fold(uint64(r.First)<<32 ^ uint64(r.Last))
	entries, ok := p.core.Slice(r, nil)
	if !ok {
		entries = nil
	}
	p.queue = append(p.queue, applyRange{r, entries})
	if len(p.queue) == 1 {
		p.w.schedule(p, around(p.w.rng.disk, p.w.knobs.applyMean), evApply, 0)
	}
}

// applyNext applies the first queued range and answers what waited for it.
func (p *process) applyNext() {
	work := p.queue[0]
	if work.entries == nil {
		ok := false
		if work.entries, ok = p.readBack(work.r, 1<<62); !ok {
			return
		}
	}
	if p.at(beforeApply) {
		return
	}
	if n := len(work.entries); n != int(work.r.Last-work.r.First)+1 {
		p.w.fail(6, "%s has %d entries of %v to apply", p.name(), n, work.r)
	}
	for i := range work.entries {
		p.applyEntry(&work.entries[i])
	}
	if p.at(afterApply) {
		return
	}
	p.queue = slices.Delete(p.queue, 0, 1)
	if len(p.queue) > 0 {
		p.w.schedule(p, around(p.w.rng.disk, p.w.knobs.applyMean), evApply, 0)
	}
	p.core.Applied(work.r.Last)
	p.serveReads()
	p.pump()
	p.inputTaken()
}

// applyEntry applies one entry; an own proposal answers its clients.
func (p *process) applyEntry(e *raftcore.Entry) {
	p.results = p.results[:0]
	own, took, err := p.machine.apply(e, p.clock.wall(p.w.now), p.told)
	if err != nil {
		p.w.fail(6, "%s: %v", p.name(), err)
	}
	p.w.checker.applied(p)
	if took && own.origin == p.id && own.boot == uint64(p.starts) {
		p.resolved(own.seq, e.Index, p.results)
	}
}

// loadLater answers requests for old entries after a disk read.
func (p *process) loadLater(requests []raftcore.LoadRequest) {
	for _, r := range requests {
		p.w.stats.Loads++
		p.loads = append(p.loads, r)
		n := uint64(len(p.loads) - 1)
		p.w.schedule(p, around(p.w.rng.disk, p.w.knobs.readMean), evLoaded, n)
	}
}

func (p *process) loaded(n int) {
	r := p.loads[n]
	if entries, ok := p.readBack(r.Range, r.Bytes); ok && !p.at(afterRead) {
		p.core.Loaded(r, entries)
		p.inputTaken()
	}
}

// stateChanged notes who leads; proposals and reads without an answer go to the new leader.
func (p *process) stateChanged(s *raftcore.StateChange) {
	old := p.state
	p.state = raftcore.StateChange{Role: s.Role, Term: s.Term, Leader: s.Leader}
	if s.Leader != 0 && (s.Leader != old.Leader || s.Term != old.Term) {
		p.resendAll()
		p.pump()
	}
}
