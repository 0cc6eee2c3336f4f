package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// The model of a disk, or rather of the synced database that store keeps on one: writes are atomic
// and ordered, a sync makes every earlier write durable, and a crash keeps what was synced plus
// nothing, a prefix or all of the rest. A record torn by the crash must be noticed by its checksum.

// slot is an entry with the chain hash of the log up to it.
type slot struct {
	entry  raftcore.Entry
	chain  uint64
	damage damage
}

// chainOf continues the hash over a log by one entry.
func chainOf(before uint64, e *raftcore.Entry) uint64 {
	h := mix(before, uint64(e.Term)<<8^uint64(e.Kind))
	h = mix(h, uint64(e.Index))
	h = mix(h, uint64(e.Stamp))
	return mixBytes(h, e.Data)
}

// image is the content of a disk: a log with a compacted prefix, and the hard state.
type image struct {
	hard     raftcore.HardState
	snapshot raftcore.SnapshotMeta
	base     uint64 // chain hash up to snapshot.Pos
	log      []slot // entries after snapshot.Pos, consecutive
	hint     raftcore.Index
}

func (m *image) last() raftcore.Pos {
	if n := len(m.log); n > 0 {
		return m.log[n-1].entry.Pos
	}
	return m.snapshot.Pos
}

// at returns the entry at i, or nil when it is compacted or not there.
func (m *image) at(i raftcore.Index) *slot {
	first := m.snapshot.Pos.Index + 1
	if i < first || i-first >= raftcore.Index(len(m.log)) {
		return nil
	}
	return &m.log[i-first]
}

// chainAt returns the chain hash of the log up to i; the compacted position has one, too.
func (m *image) chainAt(i raftcore.Index) (uint64, bool) {
	if i == m.snapshot.Pos.Index {
		return m.base, true
	}
	if s := m.at(i); s != nil {
		return s.chain, true
	}
	return 0, false
}

// perform makes one write part of the image.
func (m *image) perform(w *diskWrite) {
	if w.install != nil {
		m.reset(w.install)
	}
	if w.truncateFrom != 0 {
		keep := w.truncateFrom - m.snapshot.Pos.Index - 1
		m.log = m.log[:min(int(keep), len(m.log))]
	}
	m.log = append(m.log, w.slots...)
	if w.hardSet {
		m.hard = w.hard
	}
	m.hint = max(m.hint, w.hint)
	if w.compactTo != 0 {
		m.compact(w.compactTo)
	}
}

// compact forgets the log up to i, which is in it.
func (m *image) compact(i raftcore.Index) {
	s := m.at(i)
	if s == nil {
		return
	}
	n := int(i - m.snapshot.Pos.Index)
	for _, old := range m.log[:n] {
		if old.entry.Kind == raftcore.EntryConfig {
			m.snapshot.Config = decodeConfig(old.entry.Data)
			m.snapshot.ConfigIndex = old.entry.Index
		}
	}
	m.snapshot.Pos, m.snapshot.Stamp, m.base = s.entry.Pos, s.entry.Stamp, s.chain
	m.log = slices.Delete(m.log, 0, n)
}

func decodeConfig(data []byte) raftcore.Config {
	c, err := raftcore.DecodeConfig(data)
	if err != nil {
		panic(fmt.Sprintf("config entry: %v", err))
	}
	return c
}

// diskWrite is an issued write that is not durable yet.
type diskWrite struct {
	seq          raftcore.Seq
	hardSet      bool
	hard         raftcore.HardState
	truncateFrom raftcore.Index
	slots        []slot
	hint         raftcore.Index
	compactTo    raftcore.Index
	install      *snapshot
}

// disk is what survives a crash of its process, and what does not yet.
type disk struct {
	durable image
	state   machine   // as it was last flushed, with its applied position
	marked  *snapshot // installed as the state; the log may not be reset to it yet
	stage   stage     // what is here of a snapshot from another node
	pending []diskWrite
	free    [][]slot // buffers of performed writes

	issued   raftcore.Seq // last write handed to the writer
	syncedTo raftcore.Seq // last durable write of this start
	syncing  bool
	syncs    int              // that have ended
	installs int              // that are done
	covers   int              // pending writes that the running sync makes durable
	syncEnds raftcore.Instant // world time at which the running sync ends
	stalled  raftcore.Instant
	slowness raftcore.Instant // factor on every sync of this disk

	syncFails, full, readFails bool // the next time, see media.go
	lies                       bool // about its last syncs, which the next crash brings to light
}

// found puts the founding entry on a blank disk.
func (d *disk) found(e raftcore.Entry) {
	d.durable.hard.Term = e.Term
	d.durable.log = append(d.durable.log, slot{entry: e, chain: chainOf(0, &e)})
}

// issue takes a write of the core. Entries are copied: the core reuses its buffers.
func (d *disk) issue(w *raftcore.Write, slots []slot) {
	n := diskWrite{
		seq: w.Seq, truncateFrom: w.TruncateFrom, hint: w.CommitHint, slots: slots,
	}
	if w.HardState != nil {
		n.hardSet, n.hard = true, *w.HardState
	}
	if w.Snapshot != nil {
		n.install = d.stage.whole
		d.stage = stage{}
	}
	d.issued = w.Seq
	d.pending = append(d.pending, n)
}

// issueCompact queues the removal of a prefix behind the writes.
func (d *disk) issueCompact(upTo raftcore.Index) {
	d.pending = append(d.pending, diskWrite{seq: d.issued, compactTo: upTo})
}

// land makes the writes that the running sync covers durable and returns the last one's number.
func (d *disk) land() raftcore.Seq {
	if d.syncs++; planted(17) && d.syncs%100 == 0 {
		d.syncedTo = d.pending[d.covers-1].seq
		d.syncing, d.covers = false, 0
		return d.syncedTo
	}
	for i := range d.covers {
		w := &d.pending[i]
		d.perform(w)
		d.syncedTo = w.seq
		d.recycle(w)
	}
	d.pending = slices.Delete(d.pending, 0, d.covers)
	d.syncing, d.covers = false, 0
	return d.syncedTo
}

// perform makes a write durable. An install is two steps: the marker, then the log.
func (d *disk) perform(w *diskWrite) {
	if w.install != nil {
		d.mark(w.install)
	}
	d.durable.perform(w)
	if w.install != nil {
		d.marked = nil
		d.installs++
	}
}

func (d *disk) recycle(w *diskWrite) {
	if cap(w.slots) > 0 {
		clear(w.slots)
		d.free = append(d.free, w.slots[:0])
		w.slots = nil
	}
}

// buffer returns an empty slice for the slots of a write.
func (d *disk) buffer() []slot {
	if n := len(d.free); n > 0 {
		b := d.free[n-1]
		d.free = d.free[:n-1]
		return b
	}
	return nil
}

// crash loses what was not synced, or not all of it, as the disk pleases. It reports whether the
// last record that it kept a part of was torn.
func (d *disk) crash(g *rand.Rand) (torn bool) {
	keep := 0
	switch n := len(d.pending); g.IntN(4) {
	case 0:
	case 1:
		keep = n
	case 2: // any subset: what comes after a hole is not part of the log
		for keep < n && g.IntN(2) == 0 {
			keep++
		}
	default:
		keep = g.IntN(n + 1)
	}
	install := slices.IndexFunc(d.pending, func(w diskWrite) bool { return w.install != nil })
	if halfway := g.IntN(2) == 0; install >= 0 && halfway {
		keep = install
	}
	for i := range keep {
		d.perform(&d.pending[i])
	}
	if install == keep {
		d.mark(d.pending[keep].install)
	}
	if keep < len(d.pending) && len(d.pending[keep].slots) > 0 {
		torn = true
		mustNoticeTear(&d.pending[keep].slots[0].entry, g)
	}
	for i := range d.pending {
		d.recycle(&d.pending[i])
	}
	d.stage.crash(g)
	*d = disk{
		durable: d.durable, state: d.state, marked: d.marked, stage: d.stage,
		pending: d.pending[:0], free: d.free, slowness: d.slowness,
	}
	return torn
}

// mustNoticeTear cuts the bytes of an entry and damages what is left: recovery has to refuse them.
func mustNoticeTear(e *raftcore.Entry, g *rand.Rand) {
	b := wire.AppendEntry(nil, e)
	var got raftcore.Entry
	if _, err := wire.DecodeEntry(b[:g.IntN(len(b))], &got); err == nil {
		panic(&Violation{Invariant: 9, Text: fmt.Sprintf("a torn record of %v was taken", e.Pos)})
	}
	b[g.IntN(len(b))] ^= byte(1 + g.IntN(255))
	if _, err := wire.DecodeEntry(b, &got); err == nil {
		panic(&Violation{Invariant: 9, Text: fmt.Sprintf("a damaged record of %v was taken", e.Pos)})
	}
}

// entry reads one entry as a process would see it: issued writes included. nil: not there.
func (d *disk) entry(i raftcore.Index) *slot {
	for n := len(d.pending) - 1; n >= 0; n-- {
		w := &d.pending[n]
		if k := len(w.slots); k > 0 && i >= w.slots[0].entry.Index && i <= w.slots[k-1].entry.Index {
			return &w.slots[i-w.slots[0].entry.Index]
		}
		if w.install != nil {
			return nil
		}
		if w.truncateFrom != 0 && i >= w.truncateFrom {
			return nil
		}
	}
	return d.durable.at(i)
}

// read appends entries of r to into, until one is missing or about bytes are read; at least one. A
// record that does not read back is an error.
func (d *disk) read(r raftcore.Range, bytes int, into []raftcore.Entry) ([]raftcore.Entry, error) {
	for i := r.First; i <= r.Last; i++ {
		s := d.entry(i)
		if s == nil {
			break
		}
		e, err := readRecord(s)
		if err != nil {
			return nil, err
		}
		into = append(into, e)
		if bytes -= e.Bytes(); bytes <= 0 {
			break
		}
	}
	return into, nil
}

// restored is what a start finds on the disk. Storage promises some suffix of the log in memory,
// and the commit hint may be lost: which is which is drawn.
func (d *disk) restored(applied raftcore.Index, g *rand.Rand) raftcore.Restored {
	m := &d.durable
	r := raftcore.Restored{
		HardState: m.hard, Snapshot: m.snapshot, Last: m.last(), LastStamp: m.snapshot.Stamp,
		Applied: applied,
	}
	r.Snapshot.Config.Voters = slices.Clone(m.snapshot.Config.Voters)
	for i := range m.log {
		e := &m.log[i].entry
		if n := len(r.Runs); n == 0 || r.Runs[n-1].Term != e.Term {
			r.Runs = append(r.Runs, raftcore.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Kind == raftcore.EntryConfig {
			at := raftcore.ConfigAt{Pos: e.Pos, Config: decodeConfig(e.Data)}
			r.Configs = append(r.Configs, at)
		}
		r.LastStamp = e.Stamp
	}
	tail := 0
	if g.IntN(2) == 0 {
		tail = g.IntN(len(m.log) + 1)
	}
	for _, s := range m.log[len(m.log)-tail:] {
		r.Tail = append(r.Tail, s.entry)
	}
	if g.IntN(2) == 0 {
		r.Commit = m.hint
	}
	return r
}

// chainAt is the chain hash of the log up to i, issued writes included.
func (d *disk) chainAt(i raftcore.Index) (uint64, bool) {
	if s := d.entry(i); s != nil {
		return s.chain, true
	}
	if s := d.installing(); s != nil {
		return s.base, i == s.meta.Pos.Index
	}
	if i == d.durable.snapshot.Pos.Index {
		return d.durable.base, true
	}
	return 0, false
}

// termAt is the term of an entry of the log, or of the one before it; 0 when it is neither.
func (d *disk) termAt(i raftcore.Index) raftcore.Term {
	if s := d.entry(i); s != nil {
		return s.entry.Term
	}
	if s := d.installing(); s == nil && i == d.durable.snapshot.Pos.Index {
		return d.durable.snapshot.Pos.Term
	}
	return 0
}

// base is the index before the first entry of the log, issued writes included.
func (d *disk) base() raftcore.Index {
	if s := d.installing(); s != nil {
		return s.meta.Pos.Index
	}
	return d.durable.snapshot.Pos.Index
}

// writtenBy is the write that put the entry at i where it is; 0 when that is durable.
func (d *disk) writtenBy(i raftcore.Index) raftcore.Seq {
	for n := len(d.pending) - 1; n >= 0; n-- {
		w := &d.pending[n]
		if k := len(w.slots); k > 0 && i >= w.slots[0].entry.Index && i <= w.slots[k-1].entry.Index {
			return w.seq
		}
		if w.install != nil && i <= w.install.meta.Pos.Index {
			return w.seq
		}
	}
	return 0
}

// config is the configuration that the log says is in force, issued writes included.
func (d *disk) config() raftcore.Config {
	for n := len(d.pending) - 1; n >= 0; n-- {
		if c := d.lastConfig(d.pending[n].slots); c != nil {
			return *c
		}
		if s := d.pending[n].install; s != nil {
			return s.meta.Config
		}
	}
	if c := d.lastConfig(d.durable.log); c != nil {
		return *c
	}
	return d.durable.snapshot.Config
}

// lastConfig is the last configuration among slots that no later write cuts off.
func (d *disk) lastConfig(slots []slot) *raftcore.Config {
	for k := len(slots) - 1; k >= 0; k-- {
		e := &slots[k].entry
		if e.Kind != raftcore.EntryConfig {
			continue
		}
		if s := d.entry(e.Index); s != nil && s.entry.Pos == e.Pos {
			c := decodeConfig(e.Data)
			return &c
		}
	}
	return nil
}
