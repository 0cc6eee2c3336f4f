package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"

	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
)

// base is what stands in place of the entries that are gone.
type base struct {
	meta raftcore.SnapshotMeta
	link link // of the last of them
}

const (
	baseVersion  = 1
	baseHeadSize = 1 + 7*8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendBase appends the value of logBase, all numbers big-endian:
//
//	0         1    9       17     25      33             41      49      57
//	+---------+----+-------+------+-------+--------------+-------+-------+--------------+--------+
//	| version | id | index | term | stamp | config index | chain | total | Config, or   | CRC32C |
//	| 1 byte  | 8  | 8     | 8    | 8     | 8            | 8     | 8     | nothing      | 4      |
//	+---------+----+-------+------+-------+--------------+-------+-------+--------------+--------+
func appendBase(dst []byte, b *base) []byte {
	start := len(dst)
	dst = append(dst, baseVersion)
	for _, v := range [...]uint64{
		b.meta.ID, uint64(b.meta.Pos.Index), uint64(b.meta.Pos.Term), uint64(b.meta.Stamp),
		uint64(b.meta.ConfigIndex), b.link.chain, b.link.total,
	} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	if len(b.meta.Config.Voters) > 0 {
		dst = append(dst, raftcore.EncodeConfig(b.meta.Config)...)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeBase(b []byte) (decoded base, err error) {
	const what = "the compacted position of the log"
	if len(b) < baseHeadSize+crc32.Size {
		return base{}, corrupt(what, "%d bytes are too few", len(b))
	}
	covered := b[:len(b)-crc32.Size]
	if crc32.Checksum(covered, castagnoli) != binary.BigEndian.Uint32(b[len(covered):]) {
		return base{}, corrupt(what, "its checksum does not match")
	}
	if covered[0] != baseVersion {
		return base{}, fmt.Errorf("%s has version %d, which this version of kelek does not know",
			what, covered[0])
	}
	field := func(i int) uint64 { return binary.BigEndian.Uint64(covered[1+8*i:]) }
	decoded.meta = raftcore.SnapshotMeta{
		ID:          field(0),
		Pos:         raftcore.Pos{Index: raftcore.Index(field(1)), Term: raftcore.Term(field(2))},
		Stamp:       raftcore.LogTime(field(3)),
		ConfigIndex: raftcore.Index(field(4)),
	}
	decoded.link = link{field(5), field(6)}
	if config := covered[baseHeadSize:]; len(config) > 0 {
		if decoded.meta.Config, err = raftcore.DecodeConfig(config); err != nil {
			return base{}, corrupt(what, "%w", err)
		}
	}
	return decoded, nil
}

// Compact forgets entries up to and including upTo. See node.Storage. It does nothing while what it
// would free is less than CompactBytesMin; a later call frees it together with more.
//
// It need not be synced: a crash may bring the entries back, which were correct, together with the
// base that belongs to them.
func (l *raftLog) Compact(upTo raftcore.Index) error {
	if err := l.fuse.err(); err != nil {
		return err
	}
	if upTo <= l.base.meta.Pos.Index || l.bytes.Load() < l.options.CompactBytesMin {
		return nil
	}
	durable, err := l.durable()
	if err != nil {
		return err
	}
	if upTo > min(durable, l.last.Index) {
		return fmt.Errorf("store: compact up to %d, with the state durable at %d and the log at %v",
			upTo, durable, l.last)
	}
	e, tip, err := l.entryAt(upTo)
	if err != nil {
		return err
	}
	if int64(tip.total-l.base.link.total) < l.options.CompactBytesMin {
		return nil
	}
	next := base{raftcore.SnapshotMeta{
		ID: l.base.meta.ID, Pos: e.Pos, Stamp: e.Stamp,
		Config: l.base.meta.Config, ConfigIndex: l.base.meta.ConfigIndex,
	}, tip}
	for _, c := range l.configs {
		if c.Pos.Index <= upTo {
			next.meta.Config, next.meta.ConfigIndex = c.Config, c.Pos.Index
		}
	}
	return l.rebase(next, pebble.NoSync)
}

// rebase makes everything up to the new base disappear, in one batch.
func (l *raftLog) rebase(next base, o *pebble.WriteOptions) error {
	upTo := next.meta.Pos.Index
	b := l.db.NewBatch()
	for _, kind := range [...]byte{logEntry, logRun, logConfig} {
		if err := b.DeleteRange(logKeyAt(kind, 0), logKeyAt(kind, upTo+1), nil); err != nil {
			return err
		}
	}
	first := 0
	for first < len(l.configs) && l.configs[first].Pos.Index <= upTo {
		first++
	}
	l.configs = append([]raftcore.ConfigAt(nil), l.configs[first:]...)
	l.runs = runsAfter(l.runs, upTo, l.last.Index)
	if len(l.runs) > 0 {
		if err := setRun(b, l.runs[0]); err != nil {
			return err
		}
	}
	if err := b.Set(logKey(logBase), appendBase(nil, &next), nil); err != nil {
		return err
	}
	l.base = next
	l.bytes.Store(int64(l.tip.total - next.link.total))
	l.shrink()
	return l.apply(b, o)
}

// runsAfter returns the runs of the entries upTo+1..last.
func runsAfter(runs []raftcore.TermRun, upTo, last raftcore.Index) []raftcore.TermRun {
	if upTo >= last {
		return nil
	}
	first := 0
	for first+1 < len(runs) && runs[first+1].First <= upTo+1 {
		first++
	}
	after := append([]raftcore.TermRun(nil), runs[first:]...)
	after[0].First = max(after[0].First, upTo+1)
	return after
}

// reset makes the log empty after position, of which it has nothing: the state machine was restored
// by a snapshot. The hard state is in the same batch, since a term that is forgotten while its
// snapshot stays would let this node vote in it a second time. The chain begins anew.
func (l *raftLog) reset(meta raftcore.SnapshotMeta, hard *raftcore.HardState) error {
	b := l.db.NewBatch()
	for _, kind := range [...]byte{logEntry, logRun, logConfig} {
		if err := b.DeleteRange(logKeyAt(kind, 0), logKeyAt(kind+1, 0), nil); err != nil {
			return err
		}
	}
	next := base{meta, link{total: l.tip.total}}
	if err := b.Set(logKey(logBase), appendBase(nil, &next), nil); err != nil {
		return err
	}
	if err := setHardState(b, hard); err != nil {
		return err
	}
	l.base, l.last, l.tip, l.runs, l.configs = next, meta.Pos, next.link, nil, nil
	l.restored.Tail = nil
	l.bytes.Store(0)
	l.shrink()
	return l.apply(b, pebble.Sync)
}

// holds reports whether the log has p, or had it before it was compacted.
func (l *raftLog) holds(p raftcore.Pos) bool {
	if base := l.base.meta.Pos; p.Index <= base.Index {
		return p.Index < base.Index || p == base
	}
	return p.Index <= l.last.Index && l.termAt(p.Index) == p.Term
}

// CompactTarget is the smallest index such that the entries after it occupy at most keepBytes; 0
// when all of the log does. See node.Storage. Safe for concurrent use.
func (l *raftLog) CompactTarget(keepBytes int64) raftcore.Index {
	if l.fuse.err() != nil || l.bytes.Load() <= keepBytes {
		return 0
	}
	target, err := l.compactTarget(keepBytes)
	if err != nil {
		_ = l.fuse.blow(fmt.Errorf("look for what may be compacted: %w", err))
	}
	return target
}

// compactTarget searches: each entry says how many bytes there are up to it. The iterator sees the
// log as it is now, whatever happens to it meanwhile.
func (l *raftLog) compactTarget(keepBytes int64) (target raftcore.Index, err error) {
	it, err := l.iterate(logEntry, 0)
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if !it.Last() {
		return 0, readErrorOf("the log", it.Error())
	}
	last, end, err := entryAtIterator(it)
	if err != nil || !it.First() {
		return 0, errors.Join(err, readErrorOf("the log", it.Error()))
	}
	first, _, err := entryAtIterator(it)
	if err != nil {
		return 0, err
	}
	fits := func(i int) bool { // the entries after first+i
		var tip link
		if err == nil && it.SeekGE(logKeyAt(logEntry, first+raftcore.Index(i))) {
			_, tip, err = entryAtIterator(it)
		}
		return int64(end.total-tip.total) <= keepBytes
	}
	target = first + raftcore.Index(sort.Search(int(last-first), fits))
	return target, errors.Join(err, readErrorOf("the log", it.Error()))
}

// entryAtIterator tells which entry an iterator is at.
func entryAtIterator(it *pebble.Iterator) (index raftcore.Index, tip link, err error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return 0, link{}, readError("the log", err)
	}
	index, _ = indexOfLogKey(it.Key())
	_, tip, ok := splitEntryValue(value)
	if !ok {
		err = corruptEntry(index, "%d bytes are too few", len(value))
	}
	return index, tip, err
}
