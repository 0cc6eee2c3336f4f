package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// disk is what a machine stores its data on, from one start to the end of the power. The layer over
// the file system counts syncs, cuts the power at one of them, and lets one operation fail.
type disk struct {
	mem *vfs.MemFS
	cut atomic.Bool // the power has gone: what the process says from now on is heard by nobody

	mu    sync.Mutex
	rng   *rand.Rand
	syncs int // so far
	plan  *powerCut
	image *vfs.MemFS // what the power cut has left
	bare  *vfs.MemFS // the same without anything that was not synced
	fault *fault     // nil: none is to come
	met   string     // the operation that failed last
	stray *stray     // nil: every write lands where it should
	lies  int        // one sync of a write-ahead log in so many does nothing; 0: none
}

// powerCut says when the power goes, and what is left of what was not synced.
type powerCut struct {
	at    int // sync
	after bool
	kept  int // percent
}

// fault lets one file operation fail.
type fault struct {
	kinds  []errorfs.OpKind
	part   string // of the path
	random bool   // anywhere but in a directory, whose failed sync is a panic of Pebble's after fatal
	skip   int    // so many of them succeed first
	err    error
}

func newDisk(mem *vfs.MemFS, seed uint64) *disk {
	return &disk{mem: mem, rng: rand.New(rand.NewPCG(seed, 3))}
}

// noLock is a disk in memory of which images are taken while a database is opened on it. Its own
// Lock takes a read lock twice, which an image that is asked for in between makes wait for ever.
type noLock struct{ vfs.FS }

func (f noLock) Lock(name string) (io.Closer, error) {
	return f.FS.Create(name, vfs.WriteCategoryUnspecified)
}

// fs is the disk as a process sees it.
func (d *disk) fs() vfs.FS { return &layer{errorfs.Wrap(noLock{d.mem}, d), d} }

func (d *disk) String() string { return "disk" }

// MaybeError implements errorfs.Injector.
func (d *disk) MaybeError(o errorfs.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fault
	if f == nil || !strings.Contains(o.Path, f.part) || f.random && isDir(o.Path) {
		return nil
	}
	for _, kind := range f.kinds {
		if kind != o.Kind {
			continue
		}
		if f.skip--; f.skip < 0 {
			d.met = fmt.Sprintf("kind %d on %s", o.Kind, o.Path)
			d.fault = nil
			return f.err
		}
	}
	return nil
}

func isDir(path string) bool {
	base := path[strings.LastIndexByte(path, '/')+1:]
	return base == "data" || base == "log" || base == "state" || strings.HasPrefix(base, "state-") ||
		strings.HasSuffix(base, ".new")
}

func (d *disk) set(f *fault) {
	d.mu.Lock()
	d.fault = f
	d.mu.Unlock()
}

// heal ends what was planned. What has failed may still end the process.
func (d *disk) heal() {
	d.mu.Lock()
	d.plan, d.fault = nil, nil
	d.mu.Unlock()
}

// lie lets one sync of a write-ahead log in so many do nothing; 0: none.
func (d *disk) lie(in int) {
	d.mu.Lock()
	d.lies = in
	d.mu.Unlock()
}

// hit is the operation that has failed; empty: none has.
func (d *disk) hit() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.met
}

// planCut lets the power go at the sync that comes after so many others.
func (d *disk) planCut(in int, after bool, kept int) {
	d.mu.Lock()
	d.plan = &powerCut{d.syncs + in, after, kept}
	d.mu.Unlock()
}

// sync counts one, and does it.
func (d *disk) sync(wal bool, do func() error) error {
	d.mu.Lock()
	d.syncs++
	p := d.plan
	now := p != nil && d.syncs == p.at
	lie := wal && d.lies > 0 && d.rng.IntN(d.lies) == 0
	d.mu.Unlock()
	if now && !p.after {
		d.cutPower(p.kept)
	}
	if !lie {
		if err := do(); err != nil {
			return err
		}
	}
	if now && p.after {
		d.cutPower(p.kept)
	}
	return nil
}

// cutPower keeps what a power cut leaves. The process may go on, as it would in the instant before;
// it is not heard from here on, so what was heard was true of the image.
func (d *disk) cutPower(kept int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.image != nil {
		return
	}
	d.cut.Store(true)
	d.image = d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: d.rng})
	d.bare = d.mem.CrashClone(vfs.CrashCloneCfg{})
}

// next is the disk with which the machine starts again.
func (d *disk) next() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return newDisk(d.image, d.rng.Uint64())
}

// layer is a file system whose syncs are the disk's.
type layer struct {
	vfs.FS
	d *disk
}

func (l *layer) Unwrap() vfs.FS { return l.FS }

func (l *layer) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &layerFile{f, l.d, name, strings.HasSuffix(name, ".log")}, nil
}

func (l *layer) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return l.wrap(name, f, err)
}

func (l *layer) OpenReadWrite(
	name string, c vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	f, err := l.FS.OpenReadWrite(name, c, options...)
	return l.wrap(name, f, err)
}

func (l *layer) OpenDir(name string) (vfs.File, error) {
	f, err := l.FS.OpenDir(name)
	return l.wrap(name, f, err)
}

func (l *layer) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(old, name, c)
	return l.wrap(name, f, err)
}

type layerFile struct {
	vfs.File
	d    *disk
	name string
	wal  bool // part of a write-ahead log
}

func (f *layerFile) Sync() error     { return f.d.sync(f.wal, f.File.Sync) }
func (f *layerFile) SyncData() error { return f.d.sync(f.wal, f.File.SyncData) }

func (f *layerFile) SyncTo(length int64) (full bool, err error) {
	full = true // if it is a lie, it is a whole one
	err = f.d.sync(f.wal, func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// content returns a file.
func content(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// rewrite puts a file in the place of another one, synced.
func rewrite(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err2 := fs.OpenDir(fs.PathDir(path))
	if err2 != nil {
		return err2
	}
	defer dir.Close()
	if err != nil {
		return err
	}
	return dir.Sync()
}
