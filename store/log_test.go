package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// naiveLog is a log as a slice.
type naiveLog struct {
	base    raftcore.SnapshotMeta
	entries []raftcore.Entry // from base+1 on
	hard    raftcore.HardState
	hint    raftcore.Index
}

func (l *naiveLog) last() raftcore.Pos {
	if len(l.entries) == 0 {
		return l.base.Pos
	}
	return l.entries[len(l.entries)-1].Pos
}

func (l *naiveLog) truncate(from raftcore.Index) {
	l.entries = l.entries[:from-l.base.Pos.Index-1]
}

func (l *naiveLog) compact(upTo raftcore.Index) {
	for len(l.entries) > 0 && l.entries[0].Index <= upTo {
		e := l.entries[0]
		l.base.Pos, l.base.Stamp = e.Pos, e.Stamp
		if e.Kind == raftcore.EntryConfig {
			l.base.Config, _ = raftcore.DecodeConfig(e.Data)
			l.base.ConfigIndex = e.Index
		}
		l.entries = l.entries[1:]
	}
}

func (l *naiveLog) bytes() (n int64) {
	for i := range l.entries {
		n += int64(wire.EntrySize(&l.entries[i]))
	}
	return n
}

// restored is what a store must find, but for Tail and Applied.
func (l *naiveLog) restored() raftcore.Restored {
	r := raftcore.Restored{
		HardState: l.hard, Snapshot: l.base, Last: l.last(), LastStamp: l.base.Stamp, Commit: l.hint,
	}
	for _, e := range l.entries {
		r.LastStamp = e.Stamp
		if len(r.Runs) == 0 || r.Runs[len(r.Runs)-1].Term != e.Term {
			r.Runs = append(r.Runs, raftcore.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Kind == raftcore.EntryConfig {
			config, _ := raftcore.DecodeConfig(e.Data)
			r.Configs = append(r.Configs, raftcore.ConfigAt{Pos: e.Pos, Config: config})
		}
	}
	return r
}

// check compares what a store restored, and what it reads, with the slice.
func (l *naiveLog) check(t *testing.T, s *Store, tailBytesMax int) {
	t.Helper()
	got := s.Restored()
	tail := got.Tail
	got.Tail, got.Applied = nil, 0
	if want := l.restored(); !reflect.DeepEqual(normal(got), normal(want)) {
		t.Fatalf("restored\n%+v, want\n%+v", got, want)
	}
	if want := l.entries[len(l.entries)-len(tail):]; !sameEntries(tail, want) {
		t.Fatalf("tail\n%v, want\n%v", tail, want)
	}
	size := 0
	for i := range tail {
		size += wire.EntrySize(&tail[i]) + linkBytes
	}
	if size > tailBytesMax || len(tail) == 0 && len(l.entries) > 0 {
		t.Fatalf("the tail has %d entries and %d bytes", len(tail), size)
	}
}

// normal replaces empty slices by nil ones.
func normal(r raftcore.Restored) raftcore.Restored {
	if len(r.Runs) == 0 {
		r.Runs = nil
	}
	if len(r.Configs) == 0 {
		r.Configs = nil
	}
	return r
}

func sameEntries(a, b []raftcore.Entry) bool {
	return slices.EqualFunc(a, b, func(x, y raftcore.Entry) bool {
		return x.Pos == y.Pos && x.Kind == y.Kind && x.Stamp == y.Stamp && bytes.Equal(x.Data, y.Data)
	})
}

// Random writes, truncations, compactions and restarts: what is restored and read is always what a
// slice would hold.
func TestLogAgreesWithSlice(t *testing.T) {
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 2))
		o := smallOptions(t, vfs.NewMem())
		o.TailBytesMax = 400
		w := logWalk{t: t, r: r, s: mustOpen(t, o), o: o, term: 1}
		for range 60 {
			w.step()
		}
		if err := w.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

type logWalk struct {
	t       *testing.T
	r       *rand.Rand
	s       *Store
	o       Options
	want    naiveLog
	term    raftcore.Term
	applied raftcore.Index
	seq     raftcore.Seq
}

func (w *logWalk) step() {
	last := w.want.last().Index
	switch n := w.r.IntN(10); {
	case n < 6:
		w.write()
	case n < 7 && last > w.applied:
		w.apply(w.applied + 1 + raftcore.Index(w.r.IntN(int(last-w.applied))))
	case n < 8 && w.applied > 0:
		w.compact(raftcore.Index(w.r.IntN(int(w.applied) + 1)))
	case n < 9:
		w.read()
	default:
		if err := w.s.Close(); err != nil {
			w.t.Fatal(err)
		}
		w.s = mustOpen(w.t, w.o)
		w.want.check(w.t, w.s, w.o.TailBytesMax)
		if got := w.s.Restored().Applied; got != w.applied {
			w.t.Fatalf("applied %d, want %d", got, w.applied)
		}
	}
	if got := w.s.LogBytes(); got != w.want.bytes() {
		w.t.Fatalf("the log has %d bytes, want %d", got, w.want.bytes())
	}
}

// write truncates, appends, and changes the hard state, each or not.
func (w *logWalk) write() {
	w.seq++
	write := raftcore.Write{Seq: w.seq, Sync: true}
	last := w.want.last()
	if room := int(last.Index - w.applied); w.r.IntN(3) == 0 && room > 0 {
		write.TruncateFrom = w.applied + 1 + raftcore.Index(w.r.IntN(room))
		w.want.truncate(write.TruncateFrom)
		w.term++
	}
	if w.r.IntN(4) == 0 {
		w.term++
	}
	for range w.r.IntN(5) {
		write.Append = append(write.Append, w.entry())
		w.want.entries = append(w.want.entries, write.Append[len(write.Append)-1])
	}
	w.want.hard = raftcore.HardState{Term: w.term, VotedFor: raftcore.NodeID(w.r.IntN(3))}
	write.HardState = &w.want.hard
	if w.r.IntN(2) == 0 {
		w.want.hint = max(w.want.hint, w.applied)
		write.CommitHint = w.want.hint
	}
	wait, err := w.s.Write(&write)
	if err == nil {
		err = wait()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *logWalk) entry() raftcore.Entry {
	e := raftcore.Entry{
		Pos:  raftcore.Pos{Term: w.term, Index: w.want.last().Index + 1},
		Kind: raftcore.EntryNormal, Stamp: raftcore.LogTime(w.seq),
	}
	switch w.r.IntN(5) {
	case 0:
		e.Kind = raftcore.EntryNoop
	case 1:
		e.Kind = raftcore.EntryConfig
		voters := []raftcore.NodeID{1 + raftcore.NodeID(w.seq)}
		e.Data = raftcore.EncodeConfig(raftcore.Config{Voters: voters})
	default:
		// Of nobody, so that applying it changes nothing but the position.
		e.Data = encodeProposal(99, 1, 7, put("k", strings.Repeat("v", w.r.IntN(100))))
	}
	return e
}

func (w *logWalk) apply(upTo raftcore.Index) {
	first := w.want.base.Pos.Index + 1
	if err := w.s.Apply(w.want.entries[w.applied+1-first:upTo+1-first], nil); err != nil {
		w.t.Fatal(err)
	}
	w.applied = upTo
	if err := flushed(w.s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *logWalk) compact(upTo raftcore.Index) {
	if err := w.s.Compact(upTo); err != nil {
		w.t.Fatal(err)
	}
	w.want.compact(upTo)
}

func (w *logWalk) read() {
	if len(w.want.entries) == 0 {
		return
	}
	from := w.r.IntN(len(w.want.entries))
	to := from + w.r.IntN(len(w.want.entries)-from)
	r := raftcore.Range{First: w.want.entries[from].Index, Last: w.want.entries[to].Index}
	limit := w.r.IntN(500)
	got, err := w.s.Entries(r, limit)
	if err != nil || len(got) == 0 || !sameEntries(got, w.want.entries[from:from+len(got)]) {
		w.t.Fatalf("%v: %v, %v", r, got, err)
	}
	size := 0
	for i := range got[1:] {
		size += wire.EntrySize(&got[i])
	}
	if size > limit || from+len(got)-1 > to {
		w.t.Fatalf("%v: %d entries for %d bytes", r, len(got), limit)
	}
}

// fill commits entries 2..n of one op each.
func fill(r *replica, n int) {
	for r.last.Index < raftcore.Index(n) {
		r.must(r.commit(nil, r.proposal(put(fmt.Sprint(r.last.Index), "value"))))
	}
}

func TestEntriesThatAreNotThereAreNamed(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 10)
	r.must(flushed(r.s))
	r.must(r.s.Compact(4))
	for _, c := range []struct{ first, last, missing raftcore.Index }{
		{4, 6, 4}, {2, 3, 2}, {9, 12, 11}, {20, 21, 20},
	} {
		_, err := r.s.Entries(raftcore.Range{First: c.first, Last: c.last}, 1<<20)
		var missing *MissingError
		if !errors.As(err, &missing) || missing.Index != c.missing {
			t.Errorf("%d..%d: %v", c.first, c.last, err)
		}
	}
	entries, err := r.s.Entries(raftcore.Range{First: 5, Last: 4}, 1)
	if len(entries) != 0 || err != nil {
		t.Errorf("an empty range: %v, %v", entries, err)
	}
	r.must(r.s.Close())
}

// What is compacted must be durable in the state; and little is not compacted at all.
func TestCompactionWaits(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 10)
	if err := r.s.Compact(5); err == nil {
		t.Error("compacted past what is durable")
	}
	r.must(flushed(r.s))
	before := r.s.LogBytes()
	r.s.options.CompactBytesMin = before / 2
	r.must(r.s.Compact(2))
	if r.s.LogBytes() != before {
		t.Error("compacted two entries of ten, and half of the log was the least")
	}
	r.must(r.s.Compact(9))
	if r.s.LogBytes() >= before/2 {
		t.Errorf("%d bytes left of %d", r.s.LogBytes(), before)
	}
	r.must(r.s.Compact(3)) // long gone
	r.must(r.s.Close())
}

// damage opens the log database alone, lets f change it, and opens the store.
func damage(t *testing.T, r *replica, f func(db *pebble.DB)) error {
	t.Helper()
	r.must(r.s.Close())
	db, err := pebble.Open("data/log", &pebble.Options{
		FS: r.o.FS, FormatMajorVersion: pebble.FormatWALSyncChunks,
		Logger: &pebbleLogger{zerolog.Nop(), r.s.fuse},
	})
	r.must(err)
	f(db)
	r.must(db.Close())
	s, err := Open("data", r.o)
	if err == nil {
		r.must(s.Close())
	}
	return err
}

// change rewrites one value.
func change(t *testing.T, db *pebble.DB, key []byte, f func(value []byte) []byte) {
	t.Helper()
	found, err := get(db, key, "", func(value []byte) error {
		return db.Set(key, f(bytes.Clone(value)), pebble.Sync)
	})
	if !found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
}

// A flipped bit, a missing entry and an entry of another past are found at open, by name.
func TestDamageIsFoundAtOpen(t *testing.T) {
	flip := func(value []byte) []byte {
		value[len(value)/2] ^= 1
		return value
	}
	cases := []struct {
		name  string
		index raftcore.Index // of the error; 0: no entry
		f     func(t *testing.T, db *pebble.DB)
	}{
		{"a bit of an entry", 8, func(t *testing.T, db *pebble.DB) {
			change(t, db, logKeyAt(logEntry, 8), flip)
		}},
		{"a bit of the last entry", 10, func(t *testing.T, db *pebble.DB) {
			change(t, db, logKeyAt(logEntry, 10), flip)
		}},
		{"half an entry", 8, func(t *testing.T, db *pebble.DB) {
			change(t, db, logKeyAt(logEntry, 8), func(v []byte) []byte { return v[:len(v)/2] })
		}},
		{"a missing entry", 8, func(t *testing.T, db *pebble.DB) {
			_ = db.Delete(logKeyAt(logEntry, 8), pebble.Sync)
		}},
		{"an entry in another's place", 8, func(t *testing.T, db *pebble.DB) {
			change(t, db, logKeyAt(logEntry, 9), func(v []byte) []byte {
				_ = db.Set(logKeyAt(logEntry, 8), v, pebble.Sync)
				return v
			})
		}},
		{"an undamaged entry of another past", 9, func(t *testing.T, db *pebble.DB) {
			e := raftcore.Entry{Pos: raftcore.Pos{Term: 1, Index: 8}, Kind: raftcore.EntryNoop, Stamp: 5}
			change(t, db, logKeyAt(logEntry, 8), func([]byte) []byte {
				v := make([]byte, entryValueSize(&e))
				s := link{}
				_, _ = get(db, logKeyAt(logEntry, 7), "", func(before []byte) error {
					_, s, _ = splitEntryValue(before)
					return nil
				})
				putEntryValue(v, &e, s)
				return v
			})
		}},
		{"a bit of the hard state", 0, func(t *testing.T, db *pebble.DB) {
			change(t, db, logKey(logHardState), flip)
		}},
		{"no hard state", 0, func(t *testing.T, db *pebble.DB) {
			_ = db.Delete(logKey(logHardState), pebble.Sync)
		}},
		{"a bit of the base", 0, func(t *testing.T, db *pebble.DB) {
			change(t, db, logKey(logBase), flip)
		}},
		{"no base", 0, func(t *testing.T, db *pebble.DB) {
			_ = db.Delete(logKey(logBase), pebble.Sync)
		}},
		{"a term run too many", 0, func(t *testing.T, db *pebble.DB) {
			_ = db.Set(logKeyAt(logRun, 7), appendUint64(nil, 9), pebble.Sync)
		}},
		{"no term run", 0, func(t *testing.T, db *pebble.DB) {
			_ = db.DeleteRange(logKeyAt(logRun, 0), logKeyAt(logRun+1, 0), pebble.Sync)
		}},
		{"a configuration that is none", 7, func(t *testing.T, db *pebble.DB) {
			_ = db.Set(logKeyAt(logConfig, 7), nil, pebble.Sync)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newReplica(t, smallOptions(t, vfs.NewMem()))
			fill(r, 10)
			r.must(flushed(r.s))
			r.must(r.s.Compact(3))
			err := damage(t, r, func(db *pebble.DB) { c.f(t, db) })
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || corrupt.Index != c.index {
				t.Errorf("%v, want damage at %d", err, c.index)
			}
		})
	}
}

// An entry that is damaged before the part that is checked at open is found when it is read.
func TestDamageIsFoundWhenRead(t *testing.T) {
	o := smallOptions(t, vfs.NewMem())
	o.TailBytesMax = 200
	r := newReplica(t, o)
	fill(r, 20)
	r.must(damage(t, r, func(db *pebble.DB) {
		change(t, db, logKeyAt(logEntry, 4), func(v []byte) []byte {
			v[40] ^= 1
			return v
		})
	}))
	r.s = mustOpen(t, o)
	_, err := r.s.Entries(raftcore.Range{First: 2, Last: 10}, 1<<20)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Index != 4 {
		t.Errorf("%v, want damage at 4", err)
	}
	r.must(r.s.Close())
}

// A state that did not come by a snapshot cannot be ahead of the log: what it has applied was durable
// there before.
func TestStateAheadOfLogIsDamage(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 5)
	r.must(r.s.Apply([]raftcore.Entry{r.proposal(put("a", "1")), r.proposal(put("b", "2"))}, nil))
	r.must(r.s.Close())
	var damage *CorruptError
	_, err := Open("data", r.o)
	if !errors.As(err, &damage) || !strings.Contains(err.Error(), "ends with 5@1") {
		t.Errorf("opened: %v", err)
	}
}

// Writes that do not continue the log are refused; they would be found at the next start only.
func TestWritesThatDoNotFitAreRefused(t *testing.T) {
	for name, w := range map[string]raftcore.Write{
		"a gap": {Append: []raftcore.Entry{
			{Pos: raftcore.Pos{Term: 1, Index: 12}, Kind: raftcore.EntryNoop}}},
		"a term that falls": {Append: []raftcore.Entry{
			{Pos: raftcore.Pos{Term: 0, Index: 11}, Kind: raftcore.EntryNoop}}},
		"no configuration": {Append: []raftcore.Entry{
			{Pos: raftcore.Pos{Term: 1, Index: 11}, Kind: raftcore.EntryConfig, Data: []byte{1}}}},
		"a truncation of what is compacted": {TruncateFrom: 3},
	} {
		r := newReplica(t, smallOptions(t, vfs.NewMem()))
		fill(r, 10)
		r.must(flushed(r.s))
		r.must(r.s.Compact(3))
		if _, err := r.s.Write(&w); err == nil {
			t.Errorf("%s was written", name)
		}
		r.must(r.s.Close())
	}
}

// A write without Sync is visible at once, and its wait waits for nothing.
func TestHintNeedsNoSync(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	wait, err := r.s.Write(&raftcore.Write{Seq: 9, CommitHint: 1})
	r.must(err)
	r.must(wait())
	r.reopen()
	if got := r.s.Restored().Commit; got != 1 {
		t.Errorf("the hint is %d", got)
	}
	r.must(r.s.Close())
}

func benchmarkWrite(b *testing.B, valueBytes int) {
	o := Options{}
	o.Fatal = func(err error) { b.Fatal(err) }
	s, err := Open(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	data := encodeProposal(uint64(self), 1, 1, op.Op{
		Code: op.CodePut, Key: []byte("key"), Value: make([]byte, valueBytes)})
	e := []raftcore.Entry{{Pos: raftcore.Pos{Term: 1}, Kind: raftcore.EntryNormal, Data: data}}
	w := raftcore.Write{Append: e, Sync: true}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		e[0].Index++
		wait, err := s.Write(&w)
		if err == nil {
			err = wait()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkLogWrite(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { benchmarkWrite(b, size) })
	}
}
