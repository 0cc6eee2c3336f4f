package sim

import (
	"math/rand/v2"
	"slices"
	"testing"

	"kelek/raftcore"
)

// The models are what everything else rests on: a disk that forgets too little finds nothing.

// writeEntries issues a write that appends one entry per index, in a term.
func writeEntries(d *disk, seq raftcore.Seq, term raftcore.Term, from, to raftcore.Index) {
	chain, _ := d.chainAt(from - 1)
	w := raftcore.Write{Seq: seq}
	var slots []slot
	if d.entry(from) != nil {
		w.TruncateFrom = from
	}
	for i := from; i <= to; i++ {
		e := raftcore.Entry{Pos: raftcore.Pos{Term: term, Index: i}, Kind: raftcore.EntryNoop}
		chain = chainOf(chain, &e)
		slots = append(slots, slot{entry: e, chain: chain})
	}
	d.issue(&w, slots)
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	kept := map[raftcore.Pos]bool{}
	for seed := range uint64(100) {
		d := &disk{}
		writeEntries(d, 1, 1, 1, 3)
		d.covers = 1
		if done := d.land(); done != 1 || d.durable.last().Index != 3 {
			t.Fatalf("landed %d, last %v", done, d.durable.last())
		}
		writeEntries(d, 2, 2, 3, 4) // cuts entry 3
		writeEntries(d, 3, 2, 5, 5)
		if s := d.entry(3); s.entry.Term != 2 || d.durable.at(3).entry.Term != 1 {
			t.Fatalf("reads %v, durable %v", s.entry.Pos, d.durable.at(3).entry.Pos)
		}
		if d.writtenBy(5) != 3 || d.writtenBy(4) != 2 || d.writtenBy(2) != 0 {
			t.Fatalf("written by %d, %d, %d", d.writtenBy(5), d.writtenBy(4), d.writtenBy(2))
		}
		d.crash(rand.New(rand.NewPCG(seed, 0)))
		kept[d.durable.last()] = true
		if len(d.pending) != 0 || d.durable.at(2).entry.Term != 1 {
			t.Fatalf("after the crash: %d pending, log ..%v", len(d.pending), d.durable.last())
		}
	}
	for _, want := range []raftcore.Pos{
		{Term: 1, Index: 3}, {Term: 2, Index: 4}, {Term: 2, Index: 5},
	} {
		if !kept[want] {
			t.Errorf("no crash left the log at %v", want)
		}
	}
	if len(kept) != 3 {
		t.Errorf("crashes left %v", kept)
	}
}

func TestCompactionKeepsTheChain(t *testing.T) {
	d := &disk{}
	writeEntries(d, 1, 1, 1, 9)
	d.issueCompact(4)
	before, _ := d.chainAt(4)
	d.covers = 2
	d.land()
	if after, ok := d.chainAt(4); !ok || after != before || d.entry(4) != nil || d.entry(5) == nil {
		t.Errorf("chain %x after %x, entries %v, %v", after, before, d.entry(4), d.entry(5))
	}
	r := d.restored(4, rand.New(rand.NewPCG(1, 1)))
	if r.Snapshot.Pos.Index != 4 || r.Last.Index != 9 || r.Runs[0].First != 5 {
		t.Errorf("restored %+v", r)
	}
}

func TestClockInverts(t *testing.T) {
	g := rand.New(rand.NewPCG(7, 7))
	c := clock{rate: clockUnit}
	now := raftcore.Instant(0)
	for range 1000 {
		now += between(g, 0, sec)
		rate := between(g, clockUnit/2, 2*clockUnit+1)
		before := c.local(now)
		c.change(now, between(g, 0, sec), rate, 0)
		if c.local(now) < before {
			t.Fatalf("the clock went back from %d to %d", before, c.local(now))
		}
		local := c.local(now) + between(g, 0, sec)
		if at := c.world(local); c.local(at) < local || at > now && c.local(at-1) >= local {
			t.Fatalf("local %d is reached at %d, where it is %d", local, at, c.local(at))
		}
	}
}

func TestHeapSorts(t *testing.T) {
	g := rand.New(rand.NewPCG(8, 8))
	var h heap
	var want []event
	for range 1000 {
		e := event{at: between(g, 0, 50)}
		h.push(e)
		e.order = h.order
		want = append(want, e)
	}
	slices.SortFunc(want, func(a, b event) int {
		if a.before(&b) {
			return -1
		}
		return 1
	})
	for i := range want {
		if got := h.pop(); got != want[i] {
			t.Fatalf("event %d is %+v, want %+v", i, got, want[i])
		}
	}
}

// The origin rule of design.md 5, case by case.
func TestProposalsTakeEffectOnceAndInOrder(t *testing.T) {
	var m machine
	founding := raftcore.Config{Voters: []raftcore.NodeID{7, 8}}
	e := raftcore.Entry{Kind: raftcore.EntryConfig, Data: raftcore.EncodeConfig(founding)}
	e.Index = 1
	if _, _, err := m.apply(&e, 0, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		origin    raftcore.NodeID
		boot, seq uint64
		takes     bool
	}{
		{7, 1, 2, false}, // a gap before anything
		{7, 1, 1, true},
		{7, 1, 1, false}, // repeated
		{7, 1, 3, false}, // a gap
		{7, 1, 2, true},
		{8, 4, 1, true},  // another origin
		{7, 2, 2, false}, // a new boot begins with 1
		{7, 2, 1, true},
		{7, 1, 3, false}, // a straggler of the old boot
		{7, 2, 2, true},
		{9, 1, 1, false}, // no member
	} {
		data := appendProposal(nil, c.origin, c.boot, c.seq, 1)
		data = appendOp(data, opAdd, 0, 1, 1)
		e := raftcore.Entry{Kind: raftcore.EntryNormal, Data: data}
		e.Index = m.applied + 1
		before := m.counters[0]
		_, took, err := m.apply(&e, 0, nil)
		if err != nil || took != c.takes || (m.counters[0] != before) != took {
			t.Errorf("%d:%d:%d: took effect: %t, %v", c.origin, c.boot, c.seq, took, err)
		}
	}
}
