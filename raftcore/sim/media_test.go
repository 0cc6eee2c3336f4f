package sim

import (
	"math/rand/v2"
	"testing"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

func TestDamageInASyncedRecordIsNoticedWhereverTheBitIs(t *testing.T) {
	e := raftcore.Entry{Pos: raftcore.Pos{Term: 3, Index: 7}, Kind: raftcore.EntryNormal,
		Data: []byte("ten bytes.")}
	for chain := range uint64(1000) {
		s := slot{entry: e, chain: chain<<54 | chain}
		if got, err := readRecord(&s); err != nil || got.Pos != e.Pos {
			t.Fatalf("a sound record: %v, %v", got.Pos, err)
		}
		s.damage = rotten
		if _, err := readRecord(&s); err == nil {
			t.Fatalf("chain %x: a rotten record was taken", s.chain)
		}
		s.damage = misdirected
		if _, err := readRecord(&s); err != errWrongPlace {
			t.Fatalf("the record of another index: %v", err)
		}
	}
}

func TestDamageIsFoundAtStartAndByReads(t *testing.T) {
	d := &disk{}
	writeEntries(d, 1, 1, 1, 9)
	d.covers = 1
	d.land()
	if _, err := d.damaged(); err != nil {
		t.Fatal(err)
	}
	d.durable.log[4].damage = rotten
	if at, err := d.damaged(); at != 5 || err == nil {
		t.Errorf("damage at 5 was found at %d: %v", at, err)
	}
	entries, err := d.read(raftcore.Range{First: 1, Last: 4}, 1<<20, nil)
	if len(entries) != 4 || err != nil {
		t.Errorf("%d entries before the damage, %v", len(entries), err)
	}
	if _, err := d.read(raftcore.Range{First: 4, Last: 6}, 1<<20, nil); err == nil {
		t.Error("a read over the damage found nothing")
	}
}

func TestRequestsAreExecutedOnceOrRefused(t *testing.T) {
	var m machine
	execute := func(stamp raftcore.LogTime, request, want uint64) {
		t.Helper()
		m.stamp = stamp
		if got := m.executeOnce(1, request); got != want {
			t.Errorf("request %d at %d: %d, want %d", request, stamp, got, want)
		}
	}
	execute(0, 1, 2)
	execute(0, 1, 2) // again
	execute(0, 2, 5)
	execute(onceTTL-1, 1, 2)
	execute(onceTTL, 1, onceExpired) // by log time
	execute(onceTTL, 2, onceExpired)
	for request := uint64(3); request <= 3+onceKept; request++ {
		execute(onceTTL, request, m.once[1].sum+request%7+1)
	}
	execute(onceTTL, 3, onceExpired) // by count
	execute(onceTTL, 4, 5+4+5)
}

func TestMortalRegistersDieByLogTime(t *testing.T) {
	var m machine
	for _, key := range []uint8{0, firstMortal} {
		m.execute(100, opSet, key, 250)
		m.stamp = 350
		if m.read(opSet, key) != 250 {
			t.Errorf("register %d shows %d before its deadline", key, m.read(opSet, key))
		}
		m.stamp = 351
		if alive := m.read(opSet, key) == 250; alive != (key < firstMortal) {
			t.Errorf("register %d at its deadline: alive %t", key, alive)
		}
	}
}

// A lying disk may cost a node what is committed, never the cluster: whatever it forgets is on a
// quorum without it, by every configuration that may be in force.
func TestALostWriteIsNeverLostOnAQuorum(t *testing.T) {
	for _, c := range []struct {
		others    int // that hold the entries, beside the one that forgets
		committed raftcore.Index
		lost      bool
	}{
		{others: 2, committed: 9, lost: true},
		{others: 1, committed: 9}, // a quorum only with the liar
		{others: 2, committed: 8}, // the last one may be needed yet
	} {
		w := newWorld(Case{Seed: 1, Profile: "lost-writes", Overrides: Overrides{Nodes: 3}})
		for i, p := range w.nodes {
			p.disk = disk{}
			writeEntries(&p.disk, 1, 1, 1, 9)
			p.disk.covers = 1
			if i <= c.others {
				p.disk.land()
			}
		}
		liar := w.nodes[0]
		for i := raftcore.Index(1); i <= c.committed; i++ {
			chain, _ := liar.disk.chainAt(i)
			w.checker.committed = append(w.checker.committed, commitment{chain, 1})
		}
		liar.forget()
		if left := liar.disk.durable.last().Index; (left < 9) != c.lost || left < 1 {
			t.Errorf("%+v: the log ends at %d", c, left)
		}
	}
}

func TestWhatIsStagedIsKeptOrNoticed(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		s := stage{parts: []uint64{1, 2, 3, 4, 5}}
		s.crash(rand.New(rand.NewPCG(seed, 0)))
		switch n := len(s.parts); {
		case n == 0:
			seen["nothing"] = true
		case n < 5:
			seen["a part"] = true
		case s.parts[4] != 5:
			seen["older bytes"] = true
		default:
			seen["all"] = true
		}
		for i := range min(3, len(s.parts)) { // of a file that was verified and synced
			if s.parts[i] != uint64(i+1) {
				t.Fatalf("seed %d: the first file became %v", seed, s.parts)
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("a crash left %v", seen)
	}
}

func TestALongStallEndsWhenTheClusterHeals(t *testing.T) {
	w := newWorld(Case{Seed: 1, Profile: "calm"})
	p := w.nodes[0]
	p.start()
	p.disk = disk{slowness: 1, stalled: w.now + 60*sec, issued: p.disk.issued}
	writeEntries(&p.disk, p.disk.issued+1, 1, 1, 1)
	p.sync()
	if p.disk.syncEnds < w.now+60*sec {
		t.Fatalf("the sync ends at %d", p.disk.syncEnds)
	}
	stalled := event{at: p.disk.syncEnds}
	w.phase = partial
	w.healNode(p, true)
	if limit := w.now + w.promptly(); p.disk.syncEnds > limit || p.syncEnded(&stalled) {
		t.Errorf("the healed disk syncs until %d, limit %d", p.disk.syncEnds, limit)
	}
}

func TestStrangersAndRemovedNodesAreRefused(t *testing.T) {
	w := newWorld(Case{Seed: 1, Profile: "calm"})
	p := w.nodes[0]
	p.machine.retired[0] = 77
	for _, c := range []struct {
		id     raftcore.NodeID
		change byte
		in     bool
	}{{5, 0, true}, {5, 1, false}, {77, 0, false}, {77, 1, false}, {w.nodes[1].id, 1, false}} {
		h := wire.Hello{ClusterID: w.clusterID, NodeID: c.id}
		h.ClusterID[3] ^= c.change
		if in := p.letsIn(wire.AppendHello(nil, &h)); in != c.in {
			t.Errorf("node %x, cluster id %x: let in %t", c.id, h.ClusterID, in)
		}
	}
}
