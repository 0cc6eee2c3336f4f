package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store"
)

// stray lets one write to a file land in another one. Where it should be, there are zeros.
type stray struct {
	part   string // of the path
	skip   int    // so many of them find their way first
	landed string // where it did; empty: it has not come to that
}

// Write implements vfs.File.
func (f *layerFile) Write(p []byte) (int, error) {
	if f.d.goesAstray(f.name, p) {
		return f.File.Write(make([]byte, len(p)))
	}
	return f.File.Write(p)
}

// goesAstray reports that a write has landed elsewhere.
func (d *disk) goesAstray(name string, p []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stray
	if s == nil || s.landed != "" || !strings.Contains(name, s.part) {
		return false
	}
	if s.skip--; s.skip >= 0 {
		return false
	}
	files := slices.DeleteFunc(allFiles(d.mem, "data"), func(path string) bool { return path == name })
	path := files[d.rng.IntN(len(files))]
	s.landed = fmt.Sprintf("%d bytes for %s in %s", len(p), name, path)
	edit(d.mem, path, func(b []byte) { copy(b[d.rng.IntN(len(b)):], p) })
	return true
}

// goAstray lets a write do so.
func (d *disk) goAstray(s *stray) {
	d.mu.Lock()
	d.stray = s
	d.mu.Unlock()
}

// landed is where the write that went astray did.
func (d *disk) landed() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stray == nil {
		return "bits"
	}
	return d.stray.landed
}

// allFiles lists the files below a directory that have a content.
func allFiles(fs vfs.FS, dir string) (paths []string) {
	names, err := fs.List(dir)
	if err != nil {
		return nil // it has just gone
	}
	slices.Sort(names)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		if info, err := fs.Stat(path); err == nil && info.IsDir() {
			paths = append(paths, allFiles(fs, path)...)
		} else if err == nil && info.Size() > 0 {
			paths = append(paths, path)
		}
	}
	return paths
}

// edit changes a file in its place, under whoever has it open. It does nothing to one that has just
// been removed or emptied.
func edit(fs vfs.FS, path string, change func(b []byte)) {
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	b, err := content(fs, path)
	if err == nil && len(b) > 0 {
		change(b)
		_, err = f.WriteAt(b, 0)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		panic(err) // which a disk in memory has no reason for
	}
}

// TestRot lets bits flip in the files of a running node, or one of its writes land in another file,
// which damages both. It reads on, and so does its next start: whoever meets the damage ends, and
// nobody is shown anything that is not so. The others serve.
func TestRot(t *testing.T) {
	for seed := range uint64(10) {
		part := []string{"", "log/", "MANIFEST", "data/state", ".sst"}[seed%5]
		w := newWorld(t, *shift+seed)
		w.busy(300)
		victim := w.machines[seed%3]
		victim.damaged = true
		d := victim.disk
		if part != "" {
			d.goAstray(&stray{part: part, skip: int(seed / 5)})
		}
		for round := 0; round < 600 && victim.process != nil; round++ {
			if part == "" && round%20 == 0 {
				w.flipBit(d)
			}
			w.inquire(victim)
		}
		landed := d.landed()
		d.goAstray(nil)
		w.vouch(victim)
		if victim.process != nil {
			w.crash(victim)
			victim.start()
			for round := 0; round < 200 && victim.process != nil; round++ {
				w.inquire(victim)
			}
		}
		if victim.process == nil && !isDamage(victim.broken) {
			w.check.violate("%s ends by %v", victim.name, victim.broken)
		}
		t.Logf("seed %d: %s: %v", seed, landed, victim.broken)
		if w.calm() {
			w.verdict()
		}
		w.end()
	}
}

// isDamage reports whether a process ended because of damage. Of its options, which stand in a
// file, Pebble only says that they are others.
func isDamage(err error) bool {
	var corrupt *store.CorruptError
	return errors.As(err, &corrupt) || err != nil && strings.Contains(err.Error(), "from file")
}

// inquire lets clients write, and asks one machine.
func (w *world) inquire(m *machine) {
	if w.busy(1); m.process != nil {
		w.ask(m.process, w.key())
	}
}

// vouch lets so much be written that the damage is not in the last sync of any file, for which
// nothing vouches.
func (w *world) vouch(m *machine) {
	for round := 0; round < 100 && m.process != nil; round++ {
		if w.inquire(m); m.process != nil && round%20 == 0 {
			w.flush(m.process)
		}
	}
}

// flipBit flips one in any file.
func (w *world) flipBit(d *disk) {
	files := allFiles(d.mem, "data")
	path := files[w.rng.IntN(len(files))]
	edit(d.mem, path, func(b []byte) { b[w.rng.IntN(len(b))] ^= 1 << w.rng.IntN(8) })
}
