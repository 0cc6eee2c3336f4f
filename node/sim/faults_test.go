package sim

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kelek/raftcore"
	"kelek/store/op"
)

// TestOneFailedOperation lets one file operation of one node fail, whichever: it stops there,
// before it answers anything else, the others serve, and what it has left is a node again. What a
// database does without (a link, a removal) may fail as well, and stops nobody.
func TestOneFailedOperation(t *testing.T) {
	syncs := []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	for i, c := range []struct {
		name    string
		kinds   []errorfs.OpKind
		part    string
		skip    int
		err     error
		goesOn  bool // the node may live
		restart bool // the fault is met by a start
	}{
		{name: "a write of the log", kinds: []errorfs.OpKind{errorfs.OpFileWrite}, part: "data/log/", skip: 5},
		{name: "no space for the log", kinds: []errorfs.OpKind{errorfs.OpFileWrite}, part: "data/log/", skip: 40,
			err: syscall.ENOSPC},
		{name: "the next sync of the log", kinds: syncs, part: "data/log/"},
		{name: "a sync of the log", kinds: syncs, part: "data/log/", skip: 30},
		{name: "a sync of the state", kinds: syncs, part: "data/state"},
		{name: "a write of the state", kinds: []errorfs.OpKind{errorfs.OpFileWrite}, part: "data/state", skip: 3},
		{name: "no space for the state", kinds: []errorfs.OpKind{errorfs.OpFileWrite}, part: "data/state",
			err: syscall.ENOSPC},
		{name: "a new file of the state", kinds: []errorfs.OpKind{errorfs.OpCreate}, part: "data/state"},
		{name: "a new file of the log", kinds: []errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite},
			part: "data/log/", restart: true},
		{name: "opening a file", kinds: []errorfs.OpKind{errorfs.OpOpen}, part: "data/log/", restart: true},
		{name: "opening a directory", kinds: []errorfs.OpKind{errorfs.OpOpenDir}, restart: true, part: "log"},
		{name: "listing a directory", kinds: []errorfs.OpKind{errorfs.OpList}, restart: true},
		{name: "reading a file", kinds: []errorfs.OpKind{errorfs.OpFileRead}, restart: true, part: "data/log/"},
		{name: "reading a block", kinds: []errorfs.OpKind{errorfs.OpFileReadAt}, restart: true},
		{name: "a write of a start", kinds: []errorfs.OpKind{errorfs.OpFileWrite}, restart: true, skip: 1},
		{name: "a sync of a start", kinds: syncs, restart: true, skip: 1},
		{name: "a removal", kinds: []errorfs.OpKind{errorfs.OpRemove}, part: "data/state", goesOn: true},
		{name: "a link", kinds: []errorfs.OpKind{errorfs.OpLink}, goesOn: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fault{kinds: c.kinds, part: c.part, skip: c.skip, err: c.err}
			if f.err == nil {
				f.err = errorfs.ErrInjected
			}
			w := newWorld(t, *shift+uint64(i))
			defer w.end()
			w.busy(300)
			victim := w.machines[i%3]
			if c.restart {
				w.crash(victim)
			}
			victim.disk.set(f)
			w.fail(victim, f, c.goesOn)
		})
	}
}

// busy lets clients of all nodes write, while nothing fails.
func (w *world) busy(rounds int) {
	for range rounds {
		w.load()
		w.round()
		for _, p := range w.running() {
			if w.rng.IntN(60) == 0 {
				w.flush(p)
			}
		}
	}
}

// fail waits for a fault to be met, and sees what becomes of it.
func (w *world) fail(victim *machine, f *fault, goesOn bool) {
	d := victim.disk
	disks := []*disk{d}
	if f.kinds[0] == errorfs.OpLink {
		disks = w.needSnapshot(f)
	}
	w.until("the operation that is to fail", func() bool {
		if victim.process == nil && victim.broken == nil {
			victim.start()
		}
		w.busy(1)
		return slices.ContainsFunc(disks, func(d *disk) bool { return d.hit() != "" })
	})
	if !goesOn {
		w.until("the end of "+victim.name+" after "+d.hit()+" has failed", func() bool {
			return victim.disk != d || victim.broken != nil
		})
	}
	before := w.stats.acked
	w.until("answers of the others", func() bool {
		w.busy(1)
		return w.stats.acked > before+20
	})
	victim.broken = nil
	if w.calm() {
		w.verdict()
	}
}

// needSnapshot lets a node miss so much that the others, whose disks are returned, have to take a
// snapshot for it.
func (w *world) needSnapshot(f *fault) (others []*disk) {
	late := w.machines[0]
	lacks := int(late.process.node.Status().LastIndex)
	w.crash(late)
	// What it was writing when it crashed may be in its log, too.
	lacks = max(lacks, len(w.check.entries)) + 100
	w.until("logs that begin later", func() bool {
		w.busy(1)
		return !slices.ContainsFunc(w.running(), func(p *process) bool {
			return int(p.node.Status().FirstIndex) <= lacks+1
		})
	})
	for _, p := range w.running() {
		g := *f
		p.disk.set(&g)
		others = append(others, p.disk)
	}
	late.start()
	return others
}

// TestLyingDisks is a bug that is planted: for a while the disks say that they have synced a
// write-ahead log, and have not. The checks that watch each disk find it at the next start; without
// them, those that watch what nodes say to each other and to clients do.
func TestLyingDisks(t *testing.T) {
	for _, trusting := range []bool{true, false} {
		t.Run(fmt.Sprint("promises are checked ", trusting), func(t *testing.T) {
			for seed := range uint64(20) {
				w := newWorld(t, *shift+seed)
				w.trusting = trusting
				w.lie()
				found := strings.Join(w.check.violated, "; ")
				w.check.violated = nil // it was to be expected
				w.end()
				if want := lossFound[trusting]; found != "" && !strings.Contains(found, want) {
					t.Fatalf("seed %d: %s, wanted: %s", seed, found, want)
				}
				if found != "" {
					t.Logf("seed %d, round %d: %.300s", seed, w.rounds, found)
					return
				}
			}
			t.Error("disks that lie were not found out")
		})
	}
}

// lossFound is how a lost write is told, by the disk's promises or without them.
var lossFound = map[bool]string{true: "was durable", false: "another node applied"}

// lie lets the power of all go after a while in which nothing was synced. What a disk has lost may
// be noticed by the store itself, and then nobody is told anything wrong.
func (w *world) lie() {
	w.settles()
	for _, m := range w.machines {
		m.disk.lie(1)
	}
	for range 150 {
		w.load()
		w.round()
	}
	for _, m := range w.machines {
		m.disk.cutPower(0)
		w.crash(m)
		m.disk.lie(0)
	}
	for _, m := range w.machines {
		m.start()
	}
	for range 300 {
		w.load()
		w.round()
	}
}

// TestLeasesNeedClocks is another one: a leader that hears nobody answers reads under its lease,
// while the others choose a new one. As long as clocks keep to the bound that is too late for a
// wrong answer; when those of the others jump, it is found out.
func TestLeasesNeedClocks(t *testing.T) {
	for _, jump := range []bool{false, true} {
		t.Run(fmt.Sprint("clocks jump ", jump), func(t *testing.T) {
			found, reads := "", 0
			for seed := uint64(1); seed < 300 && found == "" && (jump || seed < 16); seed += 2 {
				w := newWorld(t, *shift/2*2+seed)
				w.desert(jump)
				found += strings.Join(w.check.violated, "; ")
				if jump {
					w.check.violated = nil // it was to be expected
				}
				reads += w.stats.leaseReads
				w.end()
			}
			t.Logf("%d reads under a lease: %.300s", reads, found)
			if reads == 0 || jump != (found != "") || jump && !strings.Contains(found, "it sees") {
				t.Errorf("%d reads under a lease: %s", reads, found)
			}
		})
	}
}

// desert lets all others hear no more of a leader, which goes on to be asked.
func (w *world) desert(jump bool) {
	w.settles()
	alone := slices.IndexFunc(w.machines, func(m *machine) bool {
		return m.process.node.Status().Role == "leader"
	})
	if alone < 0 {
		return
	}
	leader := w.machines[alone]
	w.network.cut = []raftcore.NodeID{leader.id}
	if jump { // one has waited long enough to ask for votes, and both to grant them
		w.machines[(alone+1)%3].ahead = raftcore.Second
		w.machines[(alone+2)%3].ahead = 100 * raftcore.Millisecond
	}
	for range 100 {
		for _, m := range w.machines {
			if m == leader {
				w.askFor(m.process, w.key(), op.ReadLease)
			} else {
				w.submit(m.process)
			}
		}
		w.round()
	}
}
