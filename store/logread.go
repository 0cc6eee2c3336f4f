package store

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// load reads what the log holds beside its entries. It does not scan them: the side keys say where
// terms change and which entries are configurations.
func (l *raftLog) load() error {
	if err := l.loadRecords(); err != nil {
		return err
	}
	if err := l.loadLast(); err != nil {
		return err
	}
	if err := l.loadRuns(); err != nil {
		return err
	}
	if err := l.loadConfigs(); err != nil {
		return err
	}
	l.bytes.Store(int64(l.tip.total - l.base.link.total))
	l.extent.base.Store(uint64(l.base.meta.Pos.Index))
	l.grow()
	l.restored.Snapshot = l.base.meta
	l.restored.Last = l.last
	l.restored.Runs = slices.Clone(l.runs)
	l.restored.Configs = slices.Clone(l.configs)
	return nil
}

func (l *raftLog) loadRecords() error {
	_, err := get(l.db, logKey(logBase), "the log", func(value []byte) (err error) {
		l.base, err = decodeBase(value)
		return err
	})
	if err != nil {
		return err
	}
	_, err = get(l.db, logKey(logHardState), "the log", func(value []byte) error {
		rest, err := wire.DecodeHardState(value, &l.restored.HardState)
		if err != nil || len(rest) != 0 {
			return corrupt("the hard state", "%d bytes, %d too many: %v", len(value), len(rest), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = get(l.db, logKey(logHint), "the log", func(value []byte) error {
		if len(value) != 8 {
			return corrupt("the commit hint", "it has %d bytes", len(value))
		}
		l.restored.Commit = raftcore.Index(binary.BigEndian.Uint64(value))
		return nil
	})
	return err
}

// loadLast finds the last entry.
func (l *raftLog) loadLast() error {
	l.last, l.tip = l.base.meta.Pos, l.base.link
	l.restored.LastStamp = l.base.meta.Stamp
	it, err := l.iterate(logEntry, l.base.meta.Pos.Index+1)
	if err != nil {
		return err
	}
	defer it.Close()
	if !it.Last() {
		return readErrorOf("the log", it.Error())
	}
	index, _ := indexOfLogKey(it.Key())
	e, tip, err := l.entryAt(index)
	if err != nil {
		return err
	}
	l.last, l.tip, l.restored.LastStamp = e.Pos, tip, e.Stamp
	return nil
}

// iterate opens an iterator over the keys of one kind, from an index on.
func (l *raftLog) iterate(kind byte, from raftcore.Index) (*pebble.Iterator, error) {
	it, err := l.db.NewIter(&pebble.IterOptions{
		LowerBound: logKeyAt(kind, from), UpperBound: logKey(kind + 1),
	})
	if err != nil {
		return nil, readError("the log", err)
	}
	return it, nil
}

// readErrorOf is readError, and nil for nil.
func readErrorOf(what string, err error) error {
	if err == nil {
		return nil
	}
	return readError(what, err)
}

// loadRuns reads where terms change, and checks that they belong to the entries.
func (l *raftLog) loadRuns() error {
	it, err := l.iterate(logRun, 0)
	if err != nil {
		return err
	}
	defer it.Close()
	previous := l.base.meta.Pos
	for ok := it.First(); ok; ok = it.Next() {
		first, _ := indexOfLogKey(it.Key())
		if len(it.Value()) != 8 {
			return corrupt("the term run", "at %d it has %d bytes", first, len(it.Value()))
		}
		term := raftcore.Term(binary.BigEndian.Uint64(it.Value()))
		run := raftcore.TermRun{First: first, Term: term}
		begins := len(l.runs) == 0 && first == previous.Index+1 && run.Term >= previous.Term
		follows := len(l.runs) > 0 && first > previous.Index && run.Term > previous.Term
		if !begins && !follows {
			return corrupt("the term run", "%d from %d comes after %v", run.Term, first, previous)
		}
		l.runs = append(l.runs, run)
		previous = raftcore.Pos{Term: run.Term, Index: first}
	}
	if err := it.Error(); err != nil {
		return readError("the log", err)
	}
	if previous.Term != l.last.Term || previous.Index > l.last.Index ||
		(len(l.runs) == 0) != (l.last == l.base.meta.Pos) {
		return corrupt("the term run", "the last one is %v, and the log ends with %v",
			previous, l.last)
	}
	return nil
}

func (l *raftLog) loadConfigs() error {
	it, err := l.iterate(logConfig, 0)
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		index, _ := indexOfLogKey(it.Key())
		e, _, err := l.entryAt(index)
		if err != nil {
			return err
		}
		config, err := raftcore.DecodeConfig(e.Data)
		if err != nil || e.Kind != raftcore.EntryConfig {
			return corruptEntry(index, "kind %d is no configuration: %v", e.Kind, err)
		}
		l.configs = append(l.configs, raftcore.ConfigAt{Pos: e.Pos, Config: config})
	}
	return readErrorOf("the log", it.Error())
}

// verify checks every entry that will be used without being asked of a peer first: those that have
// to be applied again, applied+1..last, and the tail that the core holds in memory. Older entries
// are checked when they are read.
func (l *raftLog) verify(applied raftcore.Index) error {
	l.restored.Applied = applied
	tailFirst, err := l.tailFirst()
	if err != nil {
		return err
	}
	from := max(min(applied+1, tailFirst), l.base.meta.Pos.Index+1)
	before, err := l.linkAt(from - 1)
	if err != nil {
		return err
	}
	last := from - 1
	err = l.scan(from, before, func(e *raftcore.Entry, _ int) bool {
		if e.Index >= tailFirst {
			e.Data = slices.Clone(e.Data)
			l.restored.Tail = append(l.restored.Tail, *e)
		}
		last = e.Index
		return true
	})
	if err == nil && last != l.last.Index {
		err = corruptEntry(last+1, "it is missing, and the log ends with %v", l.last)
	}
	return err
}

// tailFirst is the first entry of the suffix that fits in TailBytesMax.
func (l *raftLog) tailFirst() (raftcore.Index, error) {
	it, err := l.iterate(logEntry, l.base.meta.Pos.Index+1)
	if err != nil {
		return 0, err
	}
	defer it.Close()
	first := l.last.Index + 1
	for ok, room := it.Last(), l.options.TailBytesMax; ok; ok = it.Prev() {
		if room -= len(it.Value()); room < 0 {
			break
		}
		first, _ = indexOfLogKey(it.Key())
	}
	return first, readErrorOf("the log", it.Error())
}

// scan visits the entries from an index on, in order, until visit returns false. It checks that
// none is missing, each checksum, and that each continues the chain. e.Data is valid
// during the call only; size is that of the stored value.
func (l *raftLog) scan(
	from raftcore.Index, before link, visit func(e *raftcore.Entry, size int) bool,
) error {
	it, err := l.iterate(logEntry, from)
	if err != nil {
		return err
	}
	defer it.Close()
	want := from
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return readError("the log", err)
		}
		if index, _ := indexOfLogKey(it.Key()); index != want {
			return corruptEntry(want, "it is missing, and the next one is %d", index)
		}
		var e raftcore.Entry
		if before, err = checkEntry(value, want, before, &e); err != nil {
			return err
		}
		if !visit(&e, len(value)) {
			return nil
		}
		want++
	}
	return readErrorOf("the log", it.Error())
}

// checkEntry decodes the value of one entry and checks that it follows the one with link before.
func checkEntry(value []byte, index raftcore.Index, before link, e *raftcore.Entry) (link, error) {
	encoded, stored, ok := splitEntryValue(value)
	if !ok {
		return link{}, corruptEntry(index, "%d bytes are too few", len(value))
	}
	if err := decodeEntry(encoded, index, e); err != nil {
		return link{}, err
	}
	if computed := before.next(encoded); computed != stored {
		return link{}, corruptEntry(index,
			"it does not continue the log: chain %016x after %d bytes, computed %016x after %d",
			stored.chain, stored.total, computed.chain, computed.total)
	}
	return stored, nil
}

// Restored is what the log held when it was opened. See node.Storage.
func (l *raftLog) Restored() raftcore.Restored { return l.restored }

// Entries reads a part of the log. See node.Storage. The chain is checked from the second entry on;
// what comes before the first may be compacted at any moment.
func (l *raftLog) Entries(r raftcore.Range, maxBytes int) ([]raftcore.Entry, error) {
	if r.Empty() {
		return nil, nil
	}
	seen := l.extent.look()
	it, err := l.iterate(logEntry, r.First)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var entries []raftcore.Entry
	var before link
	for ok := it.First(); ok; ok = it.Next() {
		want := r.First + raftcore.Index(len(entries))
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, readError("the log", err)
		}
		if maxBytes -= len(value); want > r.Last || maxBytes < 0 && len(entries) > 0 {
			return entries, nil
		}
		if index, _ := indexOfLogKey(it.Key()); index != want {
			return nil, l.missing(want, seen)
		}
		value = slices.Clone(value) // which the entry will point into
		var e raftcore.Entry
		if len(entries) == 0 {
			encoded, stored, _ := splitEntryValue(value)
			before, err = stored, decodeEntry(encoded, want, &e)
		} else {
			before, err = checkEntry(value, want, before, &e)
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if err := it.Error(); err != nil {
		return nil, readError("the log", err)
	}
	if next := r.First + raftcore.Index(len(entries)); next <= r.Last {
		return nil, l.missing(next, seen)
	}
	return entries, nil
}
