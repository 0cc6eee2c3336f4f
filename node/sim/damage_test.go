package sim

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"kelek/store"
)

// TestDamagedLog flips a bit of a write-ahead log that had been synced: the node does not start, so
// it cannot vote by what is left; the others serve. With an empty disk it is let in as a new member
// under its old name, and holds everything.
func TestDamagedLog(t *testing.T) {
	w := newWorld(t, *shift+1)
	defer w.end()
	victim := w.machines[1]
	w.until("names", w.acquainted)
	w.logFor(victim)
	w.crash(victim)
	image, promised := victim.disk.mem, *victim.promised
	_, _, wal := lastWAL(t, image)
	chunks, vouched := chunksOf(wal)
	for range 12 {
		at := w.rng.IntN(vouched)
		for !within(chunks, at) { // what fills up a block means nothing
			at = w.rng.IntN(vouched)
		}
		w.startWith(victim, copyOf(image), promised, func(wal []byte) []byte {
			wal[at] ^= 1 << w.rng.IntN(8)
			return wal
		})
		var corrupt *store.CorruptError
		if !errors.As(victim.broken, &corrupt) {
			w.check.violate("a bit at %d of %d: %v", at, vouched, victim.broken)
			return
		}
	}
	w.busy(200)
	w.replace(victim)
}

// logFor waits until later records in a machine's write-ahead log, which are synced themselves,
// vouch for many that came before.
func (w *world) logFor(m *machine) {
	w.until("a write-ahead log", func() bool {
		w.busy(10)
		_, _, wal := lastWAL(w.t, m.disk.mem.CrashClone(vfs.CrashCloneCfg{}))
		_, vouched := chunksOf(wal)
		return vouched > 2000
	})
}

// chunksOf lists where the chunks of a write-ahead log begin and end, and says how much of the file
// was synced when the last one was written.
func chunksOf(wal []byte) (chunks [][2]int, vouched int) {
	const block, header = 32 << 10, 19
	for at := 0; at+header <= len(wal); {
		if block-at%block < header {
			at += block - at%block
			continue
		}
		end := at + header + int(binary.LittleEndian.Uint16(wal[at+4:]))
		if wal[at+6] == 0 || end > len(wal) {
			break
		}
		vouched = int(binary.LittleEndian.Uint64(wal[at+11:]))
		chunks = append(chunks, [2]int{at, end})
		at = end
	}
	return chunks, vouched
}

func within(chunks [][2]int, at int) bool {
	return slices.ContainsFunc(chunks, func(c [2]int) bool { return c[0] <= at && at < c[1] })
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

// lastWAL is the write-ahead log of the log.
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
		return path, name, b
	}
	t.Fatalf("there is no write-ahead log among %v", names)
	return "", "", nil
}

// replace gives a machine an empty disk, and with it a new id, and waits until the others have put
// it in the place of the old one.
func (w *world) replace(old *machine) {
	w.retire(old)
	fresh := w.newMachine(old.id+100, old.name)
	w.meet(fresh)
	w.until("the new member", func() bool {
		w.load()
		c := &w.check.model.config
		return !c.Joint() && c.IsVoter(fresh.id) && !c.IsMember(old.id)
	})
	if w.calm() {
		w.verdict()
	}
}

// acquainted reports that every founder is recorded by its name everywhere: one that died before
// that would be nobody's namesake. To have heard of a name is not enough, who heard it may not
// lead.
func (w *world) acquainted() bool {
	for _, p := range w.running() {
		recorded, err := p.storage.Members()
		if err != nil || len(recorded) < len(w.founders.Voters) {
			return false
		}
	}
	return true
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
// and until then shows nothing that is not so. It does not come back; the others serve. One bit of
// a table may be where nobody looks; one in each hundred bytes is found.
func TestDamagedTables(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, *shift+seed)
		victim := w.machines[seed%3]
		part := []string{"state", "log"}[seed%2]
		everywhere := seed < 4
		w.tablesFor(victim)
		w.flipTables(victim.disk.mem, part, everywhere)
		victim.damaged = true
		victim.start()
		for round := 0; round < 600 && victim.process != nil; round++ {
			if w.busy(1); victim.process != nil {
				w.ask(victim.process, w.key())
			}
		}
		w.until("the end of "+victim.name, func() bool { return !everywhere || victim.process == nil })
		var corrupt *store.CorruptError
		if victim.process == nil && !errors.As(victim.broken, &corrupt) {
			w.check.violate("%s ends by %v", victim.name, victim.broken)
		}
		t.Logf("seed %d: %v", seed, victim.broken)
		w.busy(100)
		if w.calm() {
			w.verdict()
		}
		w.end()
	}
}

// tablesFor gives a machine, which is down then, tables of log and state that a start reads.
func (w *world) tablesFor(m *machine) {
	w.busy(400)
	p := m.process
	applied, _ := p.storage.Applied()
	w.flush(p)
	w.until("a flush", func() bool {
		durable, err := p.storage.DurableApplied()
		return err != nil || durable >= applied
	})
	w.crash(m)
	m.start() // which makes a table of the log
	w.busy(20)
	w.crash(m)
}

// flipTables flips bits in each table of log or state: one, or one in each hundred bytes.
func (w *world) flipTables(mem *vfs.MemFS, part string, everywhere bool) {
	flipped := 0
	for _, path := range filesOf(w.t, mem, part, ".sst") {
		b, err := content(mem, path)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(b) == 0 {
			continue // its flush had not synced it when the power went
		}
		b[w.rng.IntN(len(b))] ^= 1 << w.rng.IntN(8)
		for at := w.rng.IntN(100); everywhere && at < len(b); at += 100 {
			b[at] ^= 1 << w.rng.IntN(8)
		}
		if err := rewrite(mem, path, b); err != nil {
			w.t.Fatal(err)
		}
		flipped++
	}
	if flipped == 0 {
		w.check.violate("there are no tables")
	}
}

// filesOf lists the files of log or state whose names have a part. A state that came by a snapshot
// has a directory of its own.
func filesOf(t *testing.T, mem *vfs.MemFS, part, name string) (paths []string) {
	t.Helper()
	dirs, err := mem.List("data")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(dirs)
	for _, dir := range dirs {
		if dir != part && !strings.HasPrefix(dir, part+"-") {
			continue
		}
		names, err := mem.List(mem.PathJoin("data", dir))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		for _, n := range names {
			if strings.Contains(n, name) {
				paths = append(paths, mem.PathJoin("data", dir, n))
			}
		}
	}
	return paths
}

// TestDamagedManifests flips a bit of the file that says which tables and write-ahead logs a
// database consists of, anywhere before its last record, for which nothing vouches: the node does
// not start.
func TestDamagedManifests(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t, *shift+seed)
		victim := w.machines[seed%3]
		w.tablesFor(victim)
		victim.start()
		w.busy(200)
		w.crash(victim)
		image, promised := victim.disk.mem, *victim.promised
		for range 12 {
			mem := copyOf(image)
			path, at := w.flipManifest(mem, []string{"state", "log"}[seed%2])
			w.startWith(victim, mem, promised, func(wal []byte) []byte { return wal })
			var corrupt *store.CorruptError
			if !errors.As(victim.broken, &corrupt) {
				w.check.violate("%s, a bit at %d: %v", path, at, victim.broken)
				break
			}
		}
		w.end()
	}
}

// flipManifest flips a bit of the MANIFEST that a marker names.
func (w *world) flipManifest(mem *vfs.MemFS, part string) (path string, at int) {
	dir := part
	if markers := filesOf(w.t, mem, part, "marker.manifest"); len(markers) > 0 {
		dir = mem.PathDir(markers[len(markers)-1])
	}
	name, err := atomicfs.ReadMarker(mem, dir, "manifest")
	if err != nil {
		w.t.Fatal(err)
	}
	path = mem.PathJoin(dir, name)
	b, err := content(mem, path)
	if err != nil {
		w.t.Fatal(err)
	}
	last := 0
	for next := 0; next+7 <= len(b); { // none is as long as a block
		last, next = next, next+7+int(binary.LittleEndian.Uint16(b[next+4:]))
	}
	at = w.rng.IntN(last)
	b[at] ^= 1 << w.rng.IntN(8)
	if err := rewrite(mem, path, b); err != nil {
		w.t.Fatal(err)
	}
	return path, at
}
