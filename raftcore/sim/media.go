package sim

import (
	"errors"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// What goes wrong with a disk beside losing what was not synced. An error stops the node before
// anything rests on it: that costs a restart. Damage inside the synced log costs the node: it
// cannot know what it has promised, so it must never speak again under its id.

// damage is what happened to a record after it was synced.
type damage uint8

const (
	sound       damage = iota
	rotten             // a bit has flipped
	misdirected        // another record was written to its place
)

var errWrongPlace = errors.New("the record of another index")

// readRecord is how a process sees a record on its disk: through its bytes, checksum and place. A
// sound one is known to survive that (package wire), which saves the time.
func readRecord(s *slot) (raftcore.Entry, error) {
	if s.damage == sound {
		return s.entry, nil
	}
	var got raftcore.Entry
	written := s.entry
	if s.damage == misdirected {
		written.Index++
	}
	b := wire.AppendEntry(nil, &written)
	if s.damage == rotten {
		b[int(s.chain%uint64(len(b)))] ^= 1 << (s.chain >> 61)
	}
	if _, err := wire.DecodeEntry(b, &got); err != nil {
		return got, err
	}
	if got.Index != s.entry.Index {
		return got, errWrongPlace
	}
	return got, nil
}

// damaged finds the first record of a synced log that does not read back.
func (d *disk) damaged() (raftcore.Index, error) {
	for i := range d.durable.log {
		if _, err := readRecord(&d.durable.log[i]); err != nil {
			return d.durable.log[i].entry.Index, err
		}
	}
	return 0, nil
}

// damage spoils a random synced record, if the cluster can do without the node from then on.
func (w *World) damage(p *process) {
	n := len(p.disk.durable.log)
	if n == 0 || !w.mayLose(p) {
		return
	}
	g := w.rng.strike
	s := &p.disk.durable.log[n-1-g.IntN(min(n, 64))]
	s.damage = damage(1 + g.IntN(2))
	p.doomed = true
	w.stats.Damaged++
	w.armCrash(p) // it is found when somebody reads it: at a restart at the latest
}

// fence is the end of a node that found damage in what it had synced.
func (p *process) fence(at raftcore.Index, err error) {
	p.w.stats.Fenced++
	if p.w.tracing() {
		p.w.tracef(p, "fences itself: record %d: %v", at, err)
	}
	p.lose()
}

// failSync lets the next sync of a disk fail.
func (w *World) failSync(p *process) { w.failDisk(p, &p.disk.syncFails) }

// fillDisk lets the next write to a disk fail, for want of space.
func (w *World) fillDisk(p *process) { w.failDisk(p, &p.disk.full) }

// failRead lets the next read of old entries fail.
func (w *World) failRead(p *process) { w.failDisk(p, &p.disk.readFails) }

func (w *World) failDisk(p *process, next *bool) {
	if p.core != nil {
		*next = true
		w.drawDown(p)
	}
}

// loseWrites lets a disk forget, at a crash that is near, what it has synced last.
func (w *World) loseWrites(p *process) {
	if p.core != nil {
		p.disk.lies = true
		w.armCrash(p)
	}
}

// forget is that crash. No protocol survives a quorum of such disks, and no node can tell that it
// has one. So only that is lost which every quorum has without this node: all of its log is
// committed, and the others that hold it are a quorum of every configuration that may be in force.
// Then what the node has promised was not needed, and it is to be repaired like one that is behind.
func (p *process) forget() {
	m := &p.disk.durable
	last := m.last().Index
	if len(m.log) == 0 || p.disk.marked != nil || !p.w.checker.heldWithout(p, last) {
		return
	}
	n := 1 + p.w.rng.disk.IntN(min(len(m.log), 8))
	m.log = m.log[:len(m.log)-n]
	m.hint = min(m.hint, m.last().Index)
	p.forgot = max(p.forgot, last)
	p.doomed = p.doomed || p.amnesic()
	p.w.stats.LostWrites += n
	if p.w.tracing() {
		p.w.tracef(p, "its disk has lost the last %d entries", n)
	}
}

var errAhead = errors.New("the state is ahead of the log")

// amnesic reports whether a lost write shows at the next start: the state is ahead of the log.
func (p *process) amnesic() bool {
	return p.forgot > 0 && p.disk.marked == nil && p.disk.state.applied > p.disk.durable.last().Index
}

// heldWithout reports whether the log of a node up to i is committed, and on a quorum without it.
func (c *checker) heldWithout(p *process, i raftcore.Index) bool {
	if !c.isCommitted(p, i) {
		return false
	}
	var holders []int
	for _, q := range c.w.unlost(p) {
		if c.holds(c.w.nodes[q], i) {
			holders = append(holders, q)
		}
	}
	return c.w.decide(holders, c.possibleConfigs())
}

// stop ends a process on an error of its disk. Whether what it had not synced is there at the next
// start is the disk's secret, as after a power cut.
func (p *process) stop(what string) {
	p.w.stats.DiskErrors++
	if p.w.tracing() {
		p.w.tracef(p, "stops: %s", what)
	}
	p.crash()
	p.w.restartLater(p)
}

// syncFailed takes a failed sync. The planted bug goes on, and takes the next sync that works for
// the success of this one: but the system has forgotten what it could not write.
func (p *process) syncFailed() {
	d := &p.disk
	d.syncFails = false
	if !planted(117) {
		p.stop("a sync failed")
		return
	}
	for i := range d.covers {
		d.recycle(&d.pending[i])
	}
	d.pending = d.pending[d.covers:]
	d.syncing, d.covers = false, 0
	p.sync()
}

// readBack reads entries for the applier or a slow peer. It reports false when that ended the
// process.
func (p *process) readBack(r raftcore.Range, bytes int) ([]raftcore.Entry, bool) {
	if p.disk.readFails {
		p.stop("a read failed")
		return nil, false
	}
	entries, err := p.disk.read(r, bytes, nil)
	if err != nil {
		p.fence(r.First, err)
		return nil, false
	}
	return entries, true
}
