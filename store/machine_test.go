package store

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/store/op"
)

// The rule of design.md 5, case by case: which proposals are executed, and which are skipped.
func TestOriginRule(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	count := 0
	propose := func(origin raftcore.NodeID, boot, seq uint64, admitted bool) {
		t.Helper()
		c := &collector{}
		o := op.Op{Code: op.CodeAdd, Key: []byte("n"), Delta: 1}
		e := r.entry(raftcore.EntryNormal, encodeProposal(uint64(origin), boot, seq, o))
		r.must(r.commit([]op.Observer{c}, e))
		if admitted {
			count++
		}
		if got := len(c.results) == 1; got != admitted {
			t.Errorf("proposal %x/%d/%d: executed %v, want %v", origin, boot, seq, got, admitted)
		}
		want := fmt.Sprintf("%q", fmt.Sprint(count))
		if got := getText(t, r.s.View(false), 0, "n"); count > 0 && got != want {
			t.Errorf("proposal %x/%d/%d: the counter is %s, want %d", origin, boot, seq, got, count)
		}
	}
	config := func(voters ...raftcore.NodeID) {
		t.Helper()
		r.must(r.commit(nil, r.configEntry(voters...)))
	}
	propose(self, 1, 2, false) // does not begin with 1
	propose(self, 1, 1, true)
	propose(self, 1, 1, false) // a copy
	propose(self, 1, 3, false) // a gap
	propose(self, 1, 2, true)
	r.reopen()
	propose(self, 1, 2, false)
	propose(self, 1, 3, true)
	propose(self, 3, 2, false) // a newer boot begins with 1
	propose(self, 3, 1, true)
	propose(self, 2, 1, false) // an older boot
	propose(self, 1, 4, false)
	propose(self, 3, 2, true)
	propose(0xb2, 1, 1, false) // no member yet
	config(self, 0xb2)
	propose(0xb2, 9, 1, true)
	propose(0xb2, 9, 2, true)
	config(self)
	propose(0xb2, 9, 3, false) // it left, and its record with it
	propose(0xb2, 10, 1, false)
	r.reopen()
	propose(0xb2, 9, 3, false)
	propose(self, 3, 3, true)
	r.must(r.s.Close())
}

// What is recorded of members survives restarts, and goes when they leave.
func TestMembersAreRecorded(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	member := func(id raftcore.NodeID, name string) op.Op {
		return op.Op{Code: op.CodeMember, Member: op.Member{
			ID: uint64(id), Name: name, PeerAddr: name + ":7380", Addr: name + ":6380", Version: "v1",
		}}
	}
	r.must(r.commit(nil, r.configEntry(self, 0xb2)))
	r.must(r.commit(nil, r.proposal(member(self, "old"), member(0xb2, "n2"))))
	r.must(r.commit(nil, r.proposal(member(self, "n1"))))
	r.reopen()
	got, err := r.s.Members()
	r.must(err)
	want := []op.Member{member(self, "n1").Member, member(0xb2, "n2").Member}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("members\n%+v, want\n%+v", got, want)
	}
	stands, moved := member(0xb2, "n2"), member(0xb2, "n2")
	stands.Member.Standing, moved.Member.PeerAddr = true, "elsewhere:7380"
	r.must(r.commit(nil, r.proposal(stands)))
	r.must(r.commit(nil, r.proposal(moved))) // it does not know that it was demoted
	if got, err = r.s.Members(); err != nil || !got[1].Standing || got[1].PeerAddr != "elsewhere:7380" {
		t.Errorf("members %+v, %v", got, err)
	}
	r.must(r.commit(nil, r.configEntry(self)))
	if got, err = r.s.Members(); err != nil || len(got) != 1 || got[0].Name != "n1" {
		t.Errorf("members %+v, %v", got, err)
	}
	r.must(r.s.Close())
}

// Entries that cannot be understood stop the machine for good, with nothing of them visible.
func TestUnknownEntriesStop(t *testing.T) {
	normal := func(data []byte) raftcore.Entry {
		return raftcore.Entry{Kind: raftcore.EntryNormal, Data: data}
	}
	whole := encodeProposal(uint64(self), 1, 1, put("seen", "1"))
	var unknownOp op.UnknownCodeError
	var unknownVersion op.UnknownVersionError
	var unknownKind *UnknownKindError
	for _, c := range []struct {
		name  string
		entry raftcore.Entry
		as    any // what the error must be; nil: a plain one
	}{
		{"kind", raftcore.Entry{Kind: 9}, &unknownKind},
		{"op", normal(append(whole[:len(whole):len(whole)], 0xee)), nil},
		{"code", normal(op.AppendProposal(nil, &op.Proposal{
			Origin: uint64(self), Boot: 1, Seq: 1, Count: 1, Ops: []byte{200, 1}})), &unknownOp},
		{"version", normal([]byte{77, 1, 2, 3}), &unknownVersion},
		{"configuration", raftcore.Entry{Kind: raftcore.EntryConfig, Data: []byte{1}}, nil},
	} {
		r := newReplica(t, smallOptions(t, vfs.NewMem()))
		c.entry.Pos, c.entry.Stamp = raftcore.Pos{Term: 1, Index: 2}, 1000
		err := r.s.Apply([]raftcore.Entry{c.entry}, nil)
		if err == nil || c.as != nil && !errors.As(err, c.as) {
			t.Errorf("%s: %v", c.name, err)
		}
		noop := raftcore.Entry{Pos: c.entry.Pos, Kind: raftcore.EntryNoop, Stamp: 1000}
		if again := r.s.Apply([]raftcore.Entry{noop}, nil); again == nil {
			t.Errorf("%s: applied after a failure", c.name)
		}
		seen := getText(t, r.s.View(false), 0, "seen")
		if applied, _ := r.s.Applied(); applied != 1 || seen != "nil" {
			t.Errorf("%s: something of it is visible, applied %d", c.name, applied)
		}
		r.must(r.s.Close())
	}
}

func TestEntriesOutOfOrderAreRefused(t *testing.T) {
	for name, pos := range map[string]struct {
		index raftcore.Index
		stamp raftcore.LogTime
	}{"again": {1, 1000}, "gap": {3, 1000}, "time goes back": {2, 999}} {
		r := newReplica(t, smallOptions(t, vfs.NewMem()))
		e := raftcore.Entry{
			Pos: raftcore.Pos{Term: 1, Index: pos.index}, Kind: raftcore.EntryNoop, Stamp: pos.stamp,
		}
		if err := r.s.Apply([]raftcore.Entry{e}, nil); err == nil {
			t.Errorf("%s was applied", name)
		}
		r.must(r.s.Close())
	}
}

func TestAppendIsBounded(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	r.s.limits.valueBytesMax = 10
	grow := func(n int) op.Op {
		return op.Op{Code: op.CodeAppend, Key: []byte("s"), Value: []byte(strings.Repeat("x", n))}
	}
	for _, step := range []struct {
		n    int
		want string
	}{{11, "too long"}, {6, "6"}, {5, "too long"}, {4, "10"}, {0, "10"}, {1, "too long"}} {
		if got := r.do(grow(step.n)); got != step.want {
			t.Errorf("append of %d: %s, want %s", step.n, got, step.want)
		}
	}
	r.must(r.s.Close())
}

// A large batch goes past the memtable, and is replaced by the next.
func TestLargeValues(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MB, four memtables
	for i := range 3 {
		if got := r.do(put("big", big[i:])); got != "ok" {
			t.Fatal(got)
		}
		r.do(op.Op{Code: op.CodeAppend, Key: []byte("big"), Value: []byte("!")})
	}
	r.reopen()
	v := r.s.View(true)
	value, err := v.Get(0, []byte("big"), []byte("head "))
	v.Close()
	if err != nil || string(value.Bytes) != "head "+big[2:]+"!" {
		t.Errorf("%d bytes, %v", len(value.Bytes), err)
	}
	entries, err := r.s.Entries(raftcore.Range{First: 2, Last: 7}, 8<<20)
	if err != nil || len(entries) != 6 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	r.must(r.s.Close())
}

// The state is durable some time after FlushState, and no earlier by itself.
func TestFlushState(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 10)
	if durable, err := r.s.DurableApplied(); err != nil || durable != 0 {
		t.Fatalf("durable %d, %v", durable, err)
	}
	r.must(r.s.FlushState())
	r.must(r.s.FlushState()) // one is under way
	r.s.machine.flushes.Wait()
	if durable, err := r.s.DurableApplied(); err != nil || durable != 10 {
		t.Fatalf("durable %d, %v", durable, err)
	}
	r.must(r.s.FlushState()) // nothing to do
	r.must(r.s.Close())
}

// Readers on other goroutines, while entries are applied: a counter never goes back, and a key that
// is set again before each deadline is always there.
func TestLiveViewsWhileApplying(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	kept := put("kept", "v")
	kept.TTL, kept.Time = op.TTLAfter, 10
	add := op.Op{Code: op.CodeAdd, Key: []byte("n"), Delta: 1}
	r.must(r.commit(nil, r.proposal(kept, add)))
	var stop atomic.Bool
	var readers sync.WaitGroup
	for i := range 3 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			seen, length := "", 0
			for !stop.Load() {
				v := r.s.View(i == 0)
				if got, err := v.Get(0, []byte("kept"), nil); err != nil || got.Type == op.TypeNone {
					t.Errorf("the key was gone at %d: %v", v.LogTime(), err)
				}
				n, err := v.Get(0, []byte("n"), nil)
				text := string(n.Bytes)
				if err != nil || len(text) < length || len(text) == length && text < seen {
					t.Errorf("the counter went from %s to %s: %v", seen, text, err)
				}
				seen, length = text, len(text)
				v.Close()
			}
		}()
	}
	for range 500 {
		r.stamp += 9
		entry := r.proposal(kept, add)
		r.stamp += 9
		again := r.proposal(kept, op.Op{Code: op.CodePurge, Delta: 10})
		r.must(r.s.Apply([]raftcore.Entry{entry}, nil))
		r.must(r.s.Apply([]raftcore.Entry{again}, nil))
	}
	stop.Store(true)
	readers.Wait()
}

func TestCountIsKeptForOneState(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	check := func(v op.View, want int64) {
		t.Helper()
		if keys, _, err := v.Count(0); err != nil || keys != want {
			t.Errorf("%d keys, %v, want %d", keys, err, want)
		}
	}
	fill(r, 5)
	old := r.s.View(true)
	check(r.s.View(false), 4)
	fill(r, 8)
	check(r.s.View(false), 7)
	check(r.s.View(false), 7)
	check(old, 4)
	check(r.s.View(false), 7)
	old.Close()
	r.must(r.s.Close())
}

// Between the commit of a batch and the publication of its position, a snapshot of Pebble is newer
// than what Applied says. A stable view judges by the time of what it sees.
func TestStableViewHasItsOwnPosition(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	o := put("k", "v")
	o.TTL, o.Time = op.TTLAfter, 100
	r.do(o)
	newer := position{index: 3, term: 1, stamp: 1100}
	r.must(r.s.machine.db.Set([]byte{sysPosition}, newer.append(nil), pebble.NoSync))
	live, stable := r.s.View(false), r.s.View(true)
	if live.LogTime() != 1000 || getText(t, live, 0, "k") != `"v" until 1100` {
		t.Errorf("live: %s at %d", getText(t, live, 0, "k"), live.LogTime())
	}
	if stable.LogTime() != 1100 || getText(t, stable, 0, "k") != "nil" {
		t.Errorf("stable: %s at %d", getText(t, stable, 0, "k"), stable.LogTime())
	}
	stable.Close()
	r.must(r.s.Close())
}

func TestOptionsOutOfRangeAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"LogMemTableBytes": {LogMemTableBytes: 1}, "StateMemTableBytes": {StateMemTableBytes: -1},
		"CacheBytes": {CacheBytes: 5}, "TailBytesMax": {TailBytesMax: -1},
		"CompactBytesMin": {CompactBytesMin: -1},
	} {
		o.FS = vfs.NewMem()
		if _, err := Open("data", o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// batches makes n batches of one entry with size plain SETs each, over spread keys.
func batches(r *replica, n, size, valueBytes int) [][]raftcore.Entry {
	all := make([][]raftcore.Entry, n)
	value := strings.Repeat("v", valueBytes)
	for i := range all {
		ops := make([]op.Op, size)
		for k := range ops {
			ops[k] = put(fmt.Sprintf("key:%012d", (i*size+k)*7919%1_000_000), value)
		}
		all[i] = []raftcore.Entry{r.proposal(ops...)}
	}
	return all
}

// What a batch costs in allocations does not depend on how many plain SETs are in it.
func TestApplyAllocatesNothingPerSet(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	o := Options{FS: vfs.NewMem(), Logger: zerolog.Nop(), RowBytes: 1} // rings that hardly grow
	measure := func(size int) float64 {
		r := newReplica(t, o)
		all := batches(r, 60, size, 64)
		for len(all) > 51 { // the buffers grow
			r.must(r.s.Apply(all[0], nil))
			all = all[1:]
		}
		n := testing.AllocsPerRun(50, func() {
			r.must(r.s.Apply(all[0], nil))
			all = all[1:]
		})
		r.must(r.s.Close())
		o.FS = vfs.NewMem()
		return n
	}
	few, many := measure(10), measure(500)
	if many > few+5 {
		t.Errorf("%v allocations for 500 SETs, and %v for 10", many, few)
	}
	if few > 15 {
		t.Errorf("%v allocations for a batch", few)
	}
}

func BenchmarkApplySet(b *testing.B) {
	for _, size := range []int{1, 50, 800} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { benchmarkApply(b, size, false) })
	}
	b.Run("50 that read", func(b *testing.B) { benchmarkApply(b, 50, true) })
}

// benchmarkApply measures one SET, in batches of some size, flushes and compactions included.
func benchmarkApply(b *testing.B, size int, read bool) {
	s, err := Open(b.TempDir(), Options{Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	r := &replica{t: b, s: s, stamp: 1000}
	r.last.Term = 1
	r.must(r.s.Apply([]raftcore.Entry{r.configEntry(self)}, nil))
	value := make([]byte, 64)
	ops := make([]op.Op, size)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if n%size == 0 {
			b.StopTimer()
			for k := range ops {
				key := fmt.Appendf(nil, "key:%012d", (n+k)*7919%1_000_000)
				ops[k] = op.Op{Code: op.CodePut, Key: key, Value: value, Return: read}
			}
			e := r.proposal(ops...)
			b.StartTimer()
			r.must(s.Apply([]raftcore.Entry{e}, nil))
		}
		n++
	}
	b.StopTimer()
	if err := s.machine.close(); err != nil {
		b.Fatal(err)
	}
	_ = s.raftLog.db.Close()
}

// BenchmarkGet measures one View.Get of a million keys on the disk, in random order.
func BenchmarkGet(b *testing.B) {
	s, err := Open(b.TempDir(), Options{Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	r := &replica{t: b, s: s, stamp: 1000}
	r.last.Term = 1
	r.must(s.Apply([]raftcore.Entry{r.configEntry(self)}, nil))
	const keys, step = 1_000_000, 1000
	value := make([]byte, 64)
	for first := 0; first < keys; first += step {
		ops := make([]op.Op, step)
		for k := range ops {
			key := fmt.Appendf(nil, "key:%012d", first+k)
			ops[k] = op.Op{Code: op.CodePut, Key: key, Value: value}
		}
		r.must(s.Apply([]raftcore.Entry{r.proposal(ops...)}, nil))
	}
	r.must(flushed(s))
	view := s.View(false)
	var key, buf []byte
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		key = fmt.Appendf(key[:0], "key:%012d", n*7919%keys)
		v, err := view.Get(0, key, buf[:0])
		if err != nil || v.Type != op.TypeString {
			b.Fatalf("%s: %+v, %v", key, v, err)
		}
		buf = v.Bytes
		n++
	}
	r.must(s.Close())
}

// BenchmarkView opens a live view, reads one key that is in memory, and closes it: what one GET costs
// the store.
func BenchmarkView(b *testing.B) {
	r := newReplica(b, smallOptions(b, vfs.NewMem()))
	r.do(put("key", "value"))
	key := []byte("key")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		own := make([]byte, 0, 64)
		for pb.Next() {
			v := r.s.View(false)
			if value, err := v.Get(0, key, own); err != nil || len(value.Bytes) != 5 {
				b.Errorf("%+v, %v", value, err)
			}
			v.Close()
		}
	})
	r.must(r.s.Close())
}
