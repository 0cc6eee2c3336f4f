package store

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// raftLog is log/. Everything but bytes, base and the methods that say so belongs to the goroutine
// that calls Write and Compact.
//
// Invariants: runs are those of the entries base+1..last, and the first of them begins at base+1;
// configs are the config entries of that range; each key of kind logRun and logConfig is in these
// lists and the other way round.
type raftLog struct {
	db      *pebble.DB
	fuse    *fuse
	options *Options
	durable func() (raftcore.Index, error) // of the state machine

	base    base
	last    raftcore.Pos
	tip     link // of last
	runs    []raftcore.TermRun
	configs []raftcore.ConfigAt

	restored raftcore.Restored
	bytes    atomic.Int64 // encoded entries after base
	extent   extent
}

// extent tells a reader who misses an entry whether it has to be there. What is about to go is not
// in it any more, and what is about to come is not in it yet; and shrinks tells that something went,
// although as much may have come.
type extent struct {
	base, last atomic.Uint64 // entries base+1..last are there
	shrinks    atomic.Uint64
}

// shrink is called before a batch is applied that leaves less of the log, at either end.
func (l *raftLog) shrink() {
	x := &l.extent
	base, last := uint64(l.base.meta.Pos.Index), min(x.last.Load(), uint64(l.last.Index))
	if base > x.base.Load() || last < x.last.Load() {
		x.base.Store(base)
		x.last.Store(last)
		x.shrinks.Add(1)
	}
}

// grow is called after a batch was applied.
func (l *raftLog) grow() { l.extent.last.Store(uint64(l.last.Index)) }

// missing says that a reader has not found an entry. seen is what it knew before it looked: an entry
// that was there then, and is not compacted, can only have gone with others.
func (l *raftLog) missing(index raftcore.Index, seen seen) error {
	x := &l.extent
	there := uint64(index) > x.base.Load() && uint64(index) <= seen.last
	return &MissingError{index, !there || x.shrinks.Load() != seen.shrinks}
}

type seen struct{ shrinks, last uint64 }

// look reads shrinks first: they are raised after last has fallen.
func (x *extent) look() (s seen) {
	s.shrinks = x.shrinks.Load()
	s.last = x.last.Load()
	return s
}

// link is what an entry adds to the log: it chains it to the one before, so that entries which are
// each undamaged, but of different pasts, do not pass for a log.
type link struct {
	chain uint64 // hash of the chain before and of this entry
	total uint64 // bytes of all entries up to this one, ever
}

const (
	linkBytes       = 16
	entryHeadBytes  = wire.EntryOverhead - entryTailBytes // everything before the data
	entryTailBytes  = 4                                   // the checksum, which stands for the data
	entryOtherBytes = wire.EntryOverhead + linkBytes
)

// next is the link of the encoded entry b after l. The data is in the checksum, so it is not hashed
// a second time.
func (l link) next(b []byte) link {
	var s [8 + entryHeadBytes + entryTailBytes]byte
	binary.BigEndian.PutUint64(s[:], l.chain)
	copy(s[8:], b[:entryHeadBytes])
	copy(s[8+entryHeadBytes:], b[len(b)-entryTailBytes:])
	return link{xxhash.Sum64(s[:]), l.total + uint64(len(b))}
}

// putEntryValue fills dst, of entryValueSize bytes, with the value of a logEntry key:
//
//	+---------------------------------+---------+---------+
//	| entry, as wire.AppendEntry      | chain   | total   |
//	|                                 | 8 bytes | 8 bytes |
//	+---------------------------------+---------+---------+
func putEntryValue(dst []byte, e *raftcore.Entry, before link) link {
	encoded := wire.AppendEntry(dst[:0], e)
	l := before.next(encoded)
	binary.BigEndian.PutUint64(dst[len(encoded):], l.chain)
	binary.BigEndian.PutUint64(dst[len(encoded)+8:], l.total)
	return l
}

func entryValueSize(e *raftcore.Entry) int { return wire.EntrySize(e) + linkBytes }

// splitEntryValue is the inverse of putEntryValue, as far as it can be without decoding the entry.
func splitEntryValue(value []byte) (encoded []byte, l link, ok bool) {
	if len(value) < entryOtherBytes {
		return nil, link{}, false
	}
	encoded = value[:len(value)-linkBytes]
	l.chain = binary.BigEndian.Uint64(value[len(encoded):])
	l.total = binary.BigEndian.Uint64(value[len(encoded)+8:])
	return encoded, l, true
}

// Write starts one atomic write. See node.Storage.
func (l *raftLog) Write(w *raftcore.Write) (wait func() error, err error) {
	if err := l.fuse.err(); err != nil {
		return nil, err
	}
	l.restored.Tail = nil // the core has it
	b := l.db.NewBatch()
	if err := l.fill(b, w); err != nil {
		_ = b.Close()
		return nil, err
	}
	l.bytes.Store(int64(l.tip.total - l.base.link.total))
	if !w.Sync {
		return l.fuse.err, l.apply(b, pebble.NoSync)
	}
	// From here to SyncWait the batch is on its way to the disk; the next one is formed meanwhile,
	// and shares its sync if it comes early enough.
	if err := l.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return nil, l.fuse.blow(fmt.Errorf("write log: %w", err))
	}
	l.grow()
	return func() error { return l.wait(b) }, nil
}

// wait returns nil when b is durable, and so is all that was written before it: waits are called in
// order, and after the first failure each of them fails.
func (l *raftLog) wait(b *pebble.Batch) error {
	if err := b.SyncWait(); err != nil {
		return l.fuse.blow(fmt.Errorf("sync log: %w", err))
	}
	if err := b.Close(); err != nil {
		return l.fuse.blow(fmt.Errorf("sync log: %w", err))
	}
	return l.fuse.err()
}

// apply performs a batch and closes it.
func (l *raftLog) apply(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := l.db.Apply(b, o); err != nil {
		return l.fuse.blow(fmt.Errorf("write log: %w", err))
	}
	l.grow()
	return b.Close()
}

// fill translates w in the order that its contract says: truncate, append, hard state.
func (l *raftLog) fill(b *pebble.Batch, w *raftcore.Write) error {
	if w.TruncateFrom != 0 {
		if err := l.truncate(b, w.TruncateFrom); err != nil {
			return err
		}
		l.shrink()
	}
	for i := range w.Append {
		if err := l.append(b, &w.Append[i]); err != nil {
			return err
		}
	}
	if err := setHardState(b, w.HardState); err != nil {
		return err
	}
	if w.CommitHint != 0 {
		return b.Set(logKey(logHint), appendUint64(nil, uint64(w.CommitHint)), nil)
	}
	return nil
}

// setHardState puts h into a batch; nil: it stays as it is.
func setHardState(b *pebble.Batch, h *raftcore.HardState) error {
	if h == nil {
		return nil
	}
	return b.Set(logKey(logHardState), wire.AppendHardState(nil, h), nil)
}

func appendUint64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

func (l *raftLog) append(b *pebble.Batch, e *raftcore.Entry) error {
	if e.Index != l.last.Index+1 || e.Term < l.last.Term {
		return fmt.Errorf("store: append %v after %v", e.Pos, l.last)
	}
	if len(l.runs) == 0 || l.runs[len(l.runs)-1].Term != e.Term {
		run := raftcore.TermRun{First: e.Index, Term: e.Term}
		if err := setRun(b, run); err != nil {
			return err
		}
		l.runs = append(l.runs, run)
	}
	if e.Kind == raftcore.EntryConfig {
		config, err := raftcore.DecodeConfig(e.Data)
		if err != nil {
			return fmt.Errorf("store: append config entry %v: %w", e.Pos, err)
		}
		if err := b.Set(logKeyAt(logConfig, e.Index), nil, nil); err != nil {
			return err
		}
		l.configs = append(l.configs, raftcore.ConfigAt{Pos: e.Pos, Config: config})
	}
	// The entry is encoded where it will be read by the write-ahead log and the memtable.
	d := b.SetDeferred(logKeyBytes, entryValueSize(e))
	putEntryKey(d.Key, e.Index)
	l.tip = putEntryValue(d.Value, e, l.tip)
	l.last = e.Pos
	return d.Finish()
}

func setRun(b *pebble.Batch, run raftcore.TermRun) error {
	return b.Set(logKeyAt(logRun, run.First), appendUint64(nil, uint64(run.Term)), nil)
}

func putEntryKey(dst []byte, index raftcore.Index) {
	binary.BigEndian.PutUint32(dst, logGroup)
	dst[4] = logEntry
	binary.BigEndian.PutUint64(dst[5:], uint64(index))
}

// truncate deletes the entries at and after from, which are not committed.
func (l *raftLog) truncate(b *pebble.Batch, from raftcore.Index) error {
	if from <= l.base.meta.Pos.Index {
		return fmt.Errorf("store: truncate from %d, and the log begins after %v",
			from, l.base.meta.Pos)
	}
	if from > l.last.Index {
		return nil
	}
	for _, kind := range [...]byte{logEntry, logRun, logConfig} {
		err := b.DeleteRange(logKeyAt(kind, from), logKeyAt(kind, l.last.Index+1), nil)
		if err != nil {
			return err
		}
	}
	for len(l.runs) > 0 && l.runs[len(l.runs)-1].First >= from {
		l.runs = l.runs[:len(l.runs)-1]
	}
	for len(l.configs) > 0 && l.configs[len(l.configs)-1].Pos.Index >= from {
		l.configs = l.configs[:len(l.configs)-1]
	}
	return l.rewind(from - 1)
}

// rewind makes the entry at index, which is in the log or its base, the last one.
func (l *raftLog) rewind(index raftcore.Index) error {
	if index == l.base.meta.Pos.Index {
		l.last, l.tip = l.base.meta.Pos, l.base.link
		return nil
	}
	tip, err := l.linkAt(index)
	if err != nil {
		return err
	}
	l.last, l.tip = raftcore.Pos{Term: l.termAt(index), Index: index}, tip
	return nil
}

// termAt is the term of an entry that is in the log.
func (l *raftLog) termAt(index raftcore.Index) raftcore.Term {
	term := l.base.meta.Pos.Term
	for _, run := range l.runs {
		if run.First <= index {
			term = run.Term
		}
	}
	return term
}

// linkAt reads the link of an entry that is in the log or its base.
func (l *raftLog) linkAt(index raftcore.Index) (found link, err error) {
	if index == l.base.meta.Pos.Index {
		return l.base.link, nil
	}
	_, found, err = l.entryAt(index)
	return found, err
}

// entryAt reads one entry and its link. The chain is not checked: the entry before is not read.
func (l *raftLog) entryAt(index raftcore.Index) (e raftcore.Entry, found link, err error) {
	ok, err := get(l.db, logKeyAt(logEntry, index), "the log", func(value []byte) error {
		encoded, tip, ok := splitEntryValue(value)
		if !ok {
			return corruptEntry(index, "%d bytes are too few", len(value))
		}
		found = tip
		return decodeEntry(append([]byte(nil), encoded...), index, &e)
	})
	if err == nil && !ok {
		err = &MissingError{Index: index}
	}
	return e, found, err
}

// decodeEntry decodes an entry and checks that it is the one at index. e.Data points into encoded.
func decodeEntry(encoded []byte, index raftcore.Index, e *raftcore.Entry) error {
	rest, err := wire.DecodeEntry(encoded, e)
	switch {
	case err != nil:
		return corruptEntry(index, "%w", err)
	case len(rest) != 0:
		return corruptEntry(index, "%d bytes too many", len(rest))
	case e.Index != index:
		return corruptEntry(index, "its key holds entry %d", e.Index)
	}
	return nil
}

// LogBytes is how much the entries after the compacted position occupy. See node.Storage.
func (l *raftLog) LogBytes() int64 { return l.bytes.Load() }
