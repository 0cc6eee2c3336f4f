package sim

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store"
)

// TestDamagedLog flips a bit of a write-ahead log that had been synced: the node does not start, so
// it cannot vote by what is left; the others serve. With an empty disk it is let in as a new member
// under its old name, and holds everything.
func TestDamagedLog(t *testing.T) {
	w := newWorld(t, *shift+1)
	defer w.end()
	victim := w.machines[1]
	size := w.logFor(victim)
	w.crash(victim)
	image, promised, found := victim.disk.mem, *victim.promised, 0
	const flips = 12
	for range flips {
		at := w.rng.IntN(size)
		w.startWith(victim, copyOf(image), promised, func(wal []byte) []byte {
			wal[at] ^= 1 << w.rng.IntN(8)
			return wal
		})
		if victim.process != nil { // between two blocks of the file is a little that means nothing
			w.stop(victim.process)
			continue
		}
		var corrupt *store.CorruptError
		if !errors.As(victim.broken, &corrupt) {
			w.check.violate("a bit at %d of %d: %v", at, size, victim.broken)
		}
		found++
	}
	if found < flips-1 {
		t.Errorf("%d of %d were found", found, flips)
	}
	if victim.broken == nil {
		return
	}
	w.busy(200)
	w.replace(victim)
}

// logFor waits until a machine has a write-ahead log of which the first bytes, as many as are
// returned, are vouched for by later writes.
func (w *world) logFor(m *machine) (size int) {
	name := ""
	for len(w.check.violated) == 0 {
		_, now, content := lastWAL(w.t, m.disk.mem)
		if size > 0 && now == name && len(content) > size+2000 {
			return size
		}
		if size == 0 || now != name {
			name, size = now, len(content)
		}
		w.load()
		w.round()
	}
	return size
}

// startWith starts a machine on a disk whose write-ahead log is edited.
func (w *world) startWith(m *machine, mem *vfs.MemFS, promised promises, edit func([]byte) []byte) {
	w.t.Helper()
	path, _, wal := lastWAL(w.t, mem)
	if err := rewrite(mem, path, edit(wal)); err != nil {
		w.t.Fatal(err)
	}
	promised.log = slices.Clone(promised.log)
	m.promised, m.broken = &promised, nil
	m.disk = newDisk(mem, w.rng.Uint64())
	m.start()
}

func copyOf(mem *vfs.MemFS) *vfs.MemFS {
	return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// lastWAL is the write-ahead log of the log, without what was only reserved.
func lastWAL(t *testing.T, mem *vfs.MemFS) (path, name string, b []byte) {
	t.Helper()
	names, err := mem.List("data/log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		path := mem.PathJoin("data/log", name)
		b, err := content(mem, path)
		if err != nil {
			t.Fatal(err)
		}
		return path, name, bytes.TrimRight(b, "\x00")
	}
	t.Fatalf("there is no write-ahead log among %v", names)
	return "", "", nil
}

// replace gives a machine an empty disk, and with it a new id, and waits until the others have put
// it in the place of the old one.
func (w *world) replace(old *machine) {
	w.machines = slices.DeleteFunc(w.machines, func(m *machine) bool { return m == old })
	fresh := w.newMachine(old.id+100, old.name)
	for _, p := range w.running() {
		p.node.Connected(fresh.hello())
	}
	w.until("the new member", func() bool {
		w.load()
		c := &w.check.model.config
		return !c.Joint() && c.IsVoter(fresh.id) && !c.IsMember(old.id)
	})
	if w.calm() {
		w.verdict()
	}
}

// TestTornTail cuts a write-ahead log anywhere in what was written and not synced when the power
// went: the node starts, without a word, and has everything that was promised.
func TestTornTail(t *testing.T) {
	w := newWorld(t, *shift+2)
	defer w.end()
	cuts := 0
	for try := 0; cuts < 40 && try < 60 && len(w.check.violated) == 0; try++ {
		m := w.machines[w.rng.IntN(3)]
		m.disk.planCut(1+w.rng.IntN(10), false, 100)
		w.until("a power cut", func() bool {
			w.load()
			return m.process == nil
		})
		image, promised := m.last.image, *m.promised
		cuts += w.tear(m, image, m.last.bare, promised)
		w.startWith(m, copyOf(image), promised, func(wal []byte) []byte { return wal })
	}
	if cuts < 40 {
		t.Errorf("only %d tails were torn", cuts)
	}
	if w.calm() {
		w.verdict()
	}
}

// tear starts a machine with torn tails, one after the other, if it has one.
func (w *world) tear(m *machine, image, bare *vfs.MemFS, promised promises) (cuts int) {
	_, name, synced := lastWAL(w.t, bare)
	_, now, all := lastWAL(w.t, image)
	if name != now || len(all) <= len(synced) {
		return 0
	}
	for range 4 {
		at := len(synced) + w.rng.IntN(len(all)-len(synced))
		w.startWith(m, copyOf(image), promised, func(wal []byte) []byte { return wal[:at] })
		if m.process == nil {
			w.check.violate("torn at %d, of %d synced and %d written bytes: %v", at, len(synced), len(all),
				m.broken)
			return cuts
		}
		w.stop(m.process)
		cuts++
	}
	return cuts
}

// TestDamagedTables flips bits of the tables of log and state: a node that reads one of them ends,
// and until then shows nothing that is not so. It does not come back; the others serve.
func TestDamagedTables(t *testing.T) {
	found := 0
	for seed := range uint64(6) {
		w := newWorld(t, *shift+seed)
		w.busy(400)
		victim := w.machines[seed%3]
		w.flush(victim.process)
		w.crash(victim)
		victim.start() // which makes a table of the log
		w.busy(20)
		w.crash(victim)
		if !w.flipTables(victim.disk.mem, []string{"data/state", "data/log"}[seed%2]) {
			w.check.violate("there are no tables")
		}
		victim.damaged = true
		victim.start()
		for round := 0; round < 600 && victim.process != nil; round++ {
			if w.busy(1); victim.process != nil {
				w.ask(victim.process, w.key())
			}
		}
		if victim.process == nil {
			var corrupt *store.CorruptError
			if !errors.As(victim.broken, &corrupt) {
				w.check.violate("%s ends by %v", victim.name, victim.broken)
			}
			t.Logf("seed %d: %v", seed, victim.broken)
			found++
		}
		w.busy(100)
		if w.calm() {
			w.verdict()
		}
		w.end()
	}
	if found < 3 {
		t.Errorf("damage was found %d times", found)
	}
}

// flipTables flips a bit in each table of a directory.
func (w *world) flipTables(mem *vfs.MemFS, dir string) (any bool) {
	names, err := mem.List(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		path := mem.PathJoin(dir, name)
		b, err := content(mem, path)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(b) == 0 {
			continue // its flush had not synced it when the power went
		}
		b[w.rng.IntN(len(b))] ^= 1 << w.rng.IntN(8)
		if err := rewrite(mem, path, b); err != nil {
			w.t.Fatal(err)
		}
		any = true
	}
	return any
}
