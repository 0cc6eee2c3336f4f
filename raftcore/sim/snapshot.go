package sim

import (
	"slices"

	"kelek/raftcore"
)

// Snapshots, as the node above the core has them: taken at whatever index the state machine has
// reached, kept while somebody may fetch them, installed by one marker and a reset of the log. How
// they travel is stream.go's.

// snapshot is a state machine at a position, immutable, with the chain hash of the log before it.
type snapshot struct {
	meta  raftcore.SnapshotMeta
	base  uint64
	state machine
}

// snapshotsKept is how many a node keeps: one that is being fetched outlives a newer one.
const snapshotsKept = 2

// takeWanted answers Effects.TakeSnapshot after a while, and sometimes with a failure.
func (p *process) takeWanted() {
	if p.taking {
		p.w.fail(15, "%s: asks for a snapshot while one is being taken", p.name())
	}
	p.taking = true
	fails := uint64(0)
	if p.w.phase == faulty && chance(p.w.rng.disk, p.w.knobs.snapshotFailPermille) {
		fails = 1
	}
	p.w.schedule(p, around(p.w.rng.disk, p.w.knobs.readMean), evTake, fails)
}

func (p *process) takeNow(fails bool) {
	p.taking = false
	if fails || !p.takeSnapshot() {
		p.core.SnapshotFailed(p.id)
	}
	if !p.at(afterSnapshot) {
		p.inputTaken()
	}
}

// takeSnapshot takes one at the applied index. It reports false when there is nothing to take yet,
// or while the state is being replaced.
func (p *process) takeSnapshot() bool {
	i := p.machine.applied
	if i == 0 || p.disk.installing() != nil {
		return false
	}
	chain, ok := p.disk.chainAt(i)
	if !ok {
		p.w.fail(7, "%s: has applied %d, and its log does not hold that", p.name(), i)
	}
	s := &snapshot{state: p.machine, base: chain}
	s.meta = p.metaAt(i)
	p.w.snapshots++
	s.meta.ID = p.w.snapshots
	if planted(23) {
		s.state.origins = [nodesMax]originRecord{}
		s.state.once = [onceClients]onceClient{}
	}
	p.disk.state = p.machine // a checkpoint begins with a flush
	p.snapshots = append(p.snapshots, s)
	if n := len(p.snapshots); n > snapshotsKept {
		p.snapshots = slices.Delete(p.snapshots, 0, n-snapshotsKept)
	}
	p.w.stats.Snapshots++
	p.core.SnapshotTaken(s.meta)
	return true
}

// metaAt describes the log up to i, as far as the node's disk tells.
func (p *process) metaAt(i raftcore.Index) raftcore.SnapshotMeta {
	meta := p.disk.durable.snapshot
	if s := p.disk.entry(i); s != nil {
		meta.Pos, meta.Stamp = s.entry.Pos, s.entry.Stamp
	}
	at := p.w.checker.nodes[p.index].configAt(i)
	meta.Config, meta.ConfigIndex = at.Config, at.Pos.Index
	return meta
}

func (p *process) snapshot(id uint64) *snapshot {
	for _, s := range p.snapshots {
		if s.meta.ID == id {
			return s
		}
	}
	return nil
}

// takeAny is the fault: a snapshot at a random moment, or the loss of all that are kept.
func (w *World) takeAny(p *process) {
	if p.core == nil || p.paused {
		return
	}
	switch lose := w.rng.strike.IntN(8) == 0; {
	case p.taking:
		return
	case lose:
		p.snapshots = nil
		p.core.SnapshotTaken(raftcore.SnapshotMeta{})
	default:
		p.takeSnapshot()
		if p.crashIn == 0 && w.rng.strike.IntN(8) == 0 {
			p.crashIn = 1
			w.drawDown(p)
		}
		if p.at(afterSnapshot) {
			return
		}
	}
	p.inputTaken()
}

// mark makes the staged snapshot the state: the one atomic step of an install. The log is reset
// after that; whoever crashes in between does it at the next start.
func (d *disk) mark(s *snapshot) {
	d.state = s.state
	d.marked = s
}

// reset makes the log begin after a snapshot.
func (m *image) reset(s *snapshot) {
	m.snapshot, m.base = s.meta, s.base
	clear(m.log)
	m.log = m.log[:0]
	m.hint = max(m.hint, s.meta.Pos.Index)
}

// recover finishes an install that a crash cut short: a state that is installed and that the log
// does not hold wins.
func (d *disk) recover() {
	s := d.marked
	d.marked = nil
	if s == nil || planted(18) {
		return
	}
	if chain, ok := d.durable.chainAt(s.meta.Pos.Index); !ok || chain != s.base {
		d.durable.reset(s)
	}
}

// installing is the snapshot that a write in flight installs; nil: none.
func (d *disk) installing() *snapshot {
	for n := len(d.pending) - 1; n >= 0; n-- {
		if s := d.pending[n].install; s != nil {
			return s
		}
	}
	return nil
}

// installed takes over the state that the log writer has switched to. The applier was idle, and is
// told of nothing before this.
func (p *process) installed() {
	if len(p.queue) > 0 {
		p.w.fail(6, "%s: a snapshot is installed while %v is being applied", p.name(), p.queue[0].r)
	}
	p.machine = p.disk.state
	p.w.stats.Installs++
	if p.w.tracing() {
		p.w.tracef(p, "has installed a snapshot at %d", p.machine.applied)
	}
	p.w.checker.applied(p)
}

// resolveJumped ends the proposals that an installed snapshot has jumped over: they took effect,
// and what they returned is nobody's to know. The others are sent again.
func (p *process) resolveJumped() {
	o := &p.origin
	record := p.machine.origin(p.id)
	for len(o.unresolved) > 0 && record.boot == uint64(p.starts) && o.unresolved[0].seq <= record.seq {
		for _, id := range o.unresolved[0].ops {
			p.w.clients.uncertain(id)
		}
		o.unresolved = slices.Delete(o.unresolved, 0, 1)
	}
	p.serveReads()
	p.resendAll()
	p.pump()
}
