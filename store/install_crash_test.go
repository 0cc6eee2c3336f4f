package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// sent is a snapshot in memory, and the states that its sender went through afterwards.
type sent struct {
	meta    raftcore.SnapshotMeta
	files   []wire.SnapshotFile
	content map[string][]byte
	later   []raftcore.Entry
	states  map[raftcore.Index]string // from meta on
}

func newSent(t testing.TB) *sent {
	t.Helper()
	a := newSender(t)
	x := &sent{content: map[string][]byte{}, states: map[raftcore.Index]string{}}
	x.meta, x.files = mustTake(t, a.s, 9)
	for _, f := range x.files {
		content, err := contentOf(a.s, 9, f.Name)
		a.must(err)
		x.content[f.Name] = content
	}
	x.states[x.meta.Pos.Index] = stateText(t, a.s)
	for range 4 {
		e := a.proposal(put("later", fmt.Sprint(a.last)))
		a.must(a.commit(nil, e))
		x.later = append(x.later, e)
		x.states[e.Index] = stateText(t, a.s)
	}
	a.must(a.s.Close())
	return x
}

// stateText is the state and its hash.
func stateText(t testing.TB, s *Store) string {
	t.Helper()
	index, hash := s.ApplyHash()
	return fmt.Sprintf("%d %016x\n%s", index, hash, dump(t, s))
}

// send moves all files into a stage.
func (x *sent) send(st op.Stage, chunk int) error {
	for name, offset, done := st.Next(); !done; name, offset, done = st.Next() {
		content := x.content[name]
		for at := offset; at < int64(len(content)); at += int64(chunk) {
			p := bytes.Clone(content[at:min(at+int64(chunk), int64(len(content)))])
			if err := st.Write(name, at, p); err != nil {
				return err
			}
		}
		err := st.FinishFile(name, crc32.Checksum(content, castagnoli))
		if err != nil && !errors.Is(err, op.ErrChecksum) { // after a crash; it starts over
			return err
		}
	}
	return nil
}

// install stages and installs the snapshot.
func (x *sent) install(s *Store) error {
	st, err := s.Stage(x.meta, x.files)
	if err != nil {
		return err
	}
	if err := x.send(st, 1500); err != nil {
		return err
	}
	return errors.Join(st.Complete(), s.Install(x.meta, &hardOfInstall))
}

var hardOfInstall = raftcore.HardState{Term: 5, VotedFor: 0xb2}

// moment is what a receiver has been told. Before maybe the snapshot is not in force, and from must
// on it is.
type moment struct {
	maybe, must bool
	last        raftcore.Pos
}

// receiving drives a receiver through all there is: it takes a snapshot, receives one, installs it,
// goes on, takes another and drops both.
type receiving struct {
	*sent
	r      *replica
	mu     sync.Mutex
	moment moment
	old    map[raftcore.Index]string
}

func newReceiving(t testing.TB, x *sent, o Options) *receiving {
	t.Helper()
	v := &receiving{sent: x, r: newReplica(t, o), old: map[raftcore.Index]string{}}
	v.old[0] = "0 0000000000000000\n"
	for {
		v.old[v.r.last.Index] = stateText(t, v.r.s)
		if v.r.last.Index == 6 {
			break
		}
		fill(v.r, int(v.r.last.Index)+1)
	}
	v.r.last.Term = 3
	v.r.must(v.r.append(v.r.proposal(put("never", "applied"))))
	v.moment.last = v.r.last
	return v
}

func (v *receiving) told() moment {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.moment
}

func (v *receiving) tell(f func(m *moment)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.moment)
}

// run stops at the first error.
func (v *receiving) run() error {
	s := v.r.s
	if _, err := s.TakeSnapshot(1); err != nil {
		return err
	}
	st, err := s.Stage(v.meta, v.files)
	if err != nil {
		return err
	}
	if err := v.send(st, 1500); err != nil {
		return err
	}
	if err := st.Complete(); err != nil {
		return err
	}
	v.tell(func(m *moment) { m.maybe = true })
	if err := s.Install(v.meta, &hardOfInstall); err != nil {
		return err
	}
	v.tell(func(m *moment) { m.must, m.last = true, v.meta.Pos })
	for i := range v.later {
		wait, err := s.Write(&raftcore.Write{Append: v.later[i : i+1], Sync: true})
		if err == nil {
			err = wait()
		}
		if err == nil {
			err = s.Apply(v.later[i:i+1], nil)
		}
		if err != nil {
			return err
		}
		v.tell(func(m *moment) { m.last = v.later[i].Pos })
	}
	if _, err := s.TakeSnapshot(2); err != nil {
		return err
	}
	return errors.Join(s.DropSnapshot(1), s.DropSnapshot(2), s.Compact(v.later[1].Index))
}

// check opens what is left on a disk after a moment, and says what is wrong with it.
func (v *receiving) check(t testing.TB, fs vfs.FS, m moment) error {
	s, err := Open("data", smallOptions(t, fs))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	isNew, err := v.judge(t, s, m)
	if err == nil {
		err = wholeDirectory(fs, isNew)
	}
	if err == nil && !isNew { // and what is there does not stand in the way
		m = moment{maybe: true, must: true, last: v.meta.Pos}
		if err = v.install(s); err == nil {
			isNew, err = v.judge(t, s, m)
		}
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	if s, err = Open("data", smallOptions(t, fs)); err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	again, err := v.judge(t, s, m)
	if err == nil && again != isNew {
		err = errors.New("another state than a moment ago")
	}
	return errors.Join(err, s.Close())
}

// judge says whether a store has the new state, and what is wrong with it.
func (v *receiving) judge(t testing.TB, s *Store, m moment) (isNew bool, err error) {
	applied, _ := s.Applied()
	want, hard := v.old, raftcore.HardState{Term: 3}
	if isNew = applied >= v.meta.Pos.Index; isNew {
		want, hard = v.states, hardOfInstall
	}
	var got raftcore.HardState
	_, err = get(s.raftLog.db, logKey(logHardState), "the log", func(value []byte) error {
		_, err := wire.DecodeHardState(value, &got)
		return err
	})
	switch {
	case err != nil:
		return isNew, err
	case isNew && !m.maybe, !isNew && m.must:
		return isNew, fmt.Errorf("new: %v, and %+v", isNew, m)
	case m.must == isNew && s.last.Index < m.last.Index:
		return isNew, fmt.Errorf("the log ends with %v, and %v was promised", s.last, m.last)
	case got != hard, isNew && s.base.meta.Pos.Index < v.meta.Pos.Index:
		return isNew, fmt.Errorf("new: %v, hard state %+v, base %+v", isNew, got, s.base.meta)
	case stateText(t, s) != want[applied]:
		return isNew, fmt.Errorf("new: %v, other state at %d: %s", isNew, applied, stateText(t, s))
	}
	return isNew, nil
}

// wholeDirectory checks that nothing is left but one log and one state, and what is being received.
func wholeDirectory(fs vfs.FS, isNew bool) error {
	names, err := fs.List("data")
	if err != nil {
		return err
	}
	slices.Sort(names)
	got := strings.Join(names, " ")
	want := []string{"log state", "incoming log state"}
	if isNew {
		want = []string{"log state-1 state.marker"}
	}
	if !slices.Contains(want, got) {
		return fmt.Errorf("new: %v, the directory holds %s", isNew, got)
	}
	return nil
}

// instants takes crash images before everything that changes a directory or makes something durable.
type instants struct {
	mem    *vfs.MemFS
	every  int // take images at one of this many, but at all of an install
	mu     sync.Mutex
	told   func() moment // nil: not yet
	seen   int
	rng    *rand.Rand
	images []image
}

type image struct {
	fs     *vfs.MemFS
	moment moment
	kept   int // percent of what was not synced
	what   string
}

var changes = []errorfs.OpKind{
	errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename,
	errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpLink, errorfs.OpCreate, errorfs.OpMkdirAll,
}

func (x *instants) String() string { return "instants" }

func (x *instants) MaybeError(o errorfs.Op) error {
	if slices.Contains(changes, o.Kind) {
		x.take(fmt.Sprint(o.Kind, " ", o.Path))
	}
	return nil
}

func (x *instants) begin(told func() moment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.told = told
}

// end takes no more images, and returns them.
func (x *instants) end() []image {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.told = nil
	return x.images
}

func (x *instants) take(what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.told == nil {
		return
	}
	told, kept := x.told(), []int{0, 50, 100}
	installing := told.maybe && !told.must
	if x.seen++; !installing && x.seen%x.every != 0 {
		return
	}
	if installing { // where the order of names and bytes matters most
		kept = append(kept, 50, 50, 50, 50)
	}
	for _, kept := range kept {
		fs := x.mem.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(x.rng.Uint64(), 2)),
		})
		x.images = append(x.images, image{fs, told, kept, what})
	}
}

// runWithImages runs a receiver on fs, a wrapper of mem or mem itself.
func runWithImages(
	t *testing.T, x *sent, mem *vfs.MemFS, fs vfs.FS, every int, seed uint64,
) (*receiving, []image) {
	t.Helper()
	at := &instants{mem: mem, every: every, rng: rand.New(rand.NewPCG(seed, 3))}
	v := newReceiving(t, x, smallOptions(t, errorfs.Wrap(noLock{fs}, at)))
	at.begin(v.told)
	if err := v.run(); err != nil {
		t.Fatal(err)
	}
	v.r.must(v.r.s.Close())
	at.take("the end")
	return v, at.end()
}

// A power cut at any step of taking, receiving, installing and dropping a snapshot leaves the old
// state with its log or the new one with its log, whatever of the unsynced bytes and names is kept.
func TestCrashAtEveryStepOfASnapshot(t *testing.T) {
	x := newSent(t)
	every, seeds := 4, uint64(2)
	if testing.Short() || raceEnabled {
		every, seeds = 30, 1
	}
	for seed := range seeds {
		mem := vfs.NewCrashableMem()
		v, images := runWithImages(t, x, mem, mem, every, seed)
		if len(images) < 50 {
			t.Errorf("only %d images", len(images))
		}
		for _, image := range images {
			if err := v.check(t, image.fs, image.moment); err != nil {
				t.Fatalf("seed %d, before %s, %d%% kept, told %+v: %v",
					seed, image.what, image.kept, image.moment, err)
			}
		}
	}
}

// deaf is a disk that reports some syncs done and does nothing.
type deaf struct {
	vfs.FS
	skips func(name string, dir bool) bool
}

type deafFile struct {
	vfs.File
	skip bool
}

func (d *deaf) wrap(f vfs.File, err error, name string, dir bool) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &deafFile{f, d.skips(name, dir)}, nil
}

func (d *deaf) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return d.wrap(f, err, name, false)
}

func (d *deaf) OpenReadWrite(
	name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption,
) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return d.wrap(f, err, name, false)
}

func (d *deaf) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	return d.wrap(f, err, name, true)
}

func (f *deafFile) Sync() error {
	if f.skip {
		return nil
	}
	return f.File.Sync()
}

func (f *deafFile) SyncData() error { return f.Sync() }

// The crash test is worth what it finds: each sync that an install rests on, left out, makes it fail.
func TestCrashTestSeesMissingSyncs(t *testing.T) {
	x := newSent(t)
	for name, skips := range map[string]func(name string, dir bool) bool{
		"of the data directory": func(name string, dir bool) bool { return dir && name == "data" },
		"of the marker": func(name string, dir bool) bool {
			return !dir && strings.HasPrefix(name, "data/state.marker")
		},
		"of what has arrived": func(name string, dir bool) bool {
			return !dir && strings.HasPrefix(name, "data/incoming/state/")
		},
		"of the directory of what has arrived": func(name string, dir bool) bool {
			return dir && (name == "data/incoming/state" || name == "data/state-1")
		},
	} {
		mem := vfs.NewCrashableMem()
		// The replica begins on a sound disk; only then some syncs are lost.
		sick := &deaf{FS: mem}
		var armed atomic.Bool
		sick.skips = func(name string, dir bool) bool { return armed.Load() && skips(name, dir) }
		at := &instants{mem: mem, every: 4, rng: rand.New(rand.NewPCG(1, 3))}
		v := newReceiving(t, x, smallOptions(t, errorfs.Wrap(noLock{sick}, at)))
		armed.Store(true)
		at.begin(v.told)
		if err := v.run(); err != nil {
			t.Fatal(err)
		}
		images := at.end()
		slices.Reverse(images) // the later ones show it
		if !slices.ContainsFunc(images, func(image image) bool {
			return image.moment.maybe && image.kept == 0 && v.check(t, image.fs, image.moment) != nil
		}) {
			t.Errorf("syncs %s do nothing, and %d images are fine", name, len(images))
		}
		v.r.must(v.r.s.Close())
	}
}

// nth lets one file operation fail: the nth that changes something, and that a failure of can be
// seen in.
type nth struct {
	left   atomic.Int64
	failed atomic.Pointer[string]
}

func (x *nth) String() string { return "nth" }

func (x *nth) MaybeError(o errorfs.Op) error {
	if o.Kind.ReadOrWrite() != errorfs.OpIsWrite || o.Kind == errorfs.OpFileClose ||
		x.left.Add(-1) != 0 {
		return nil
	}
	what := fmt.Sprint(o.Kind, " ", o.Path)
	x.failed.Store(&what)
	return &os.PathError{Op: what, Path: o.Path, Err: syscall.ENOSPC}
}

// Whichever operation fails while a snapshot is taken, received, installed and dropped, the disk
// being full: it is told as an error, or by the fuse; and what is on the disk is the old state with
// its log or the new one with its log, for a process that just starts again and after a power cut.
func TestFailureAtEveryStepOfASnapshot(t *testing.T) {
	x := newSent(t)
	step := int64(1)
	if testing.Short() || raceEnabled {
		step = 7
	}
	failures := 0
	for n := int64(1); ; n += step {
		mem := vfs.NewCrashableMem()
		at := &nth{}
		o := smallOptions(t, errorfs.Wrap(noLock{mem}, at))
		outcome := make(chan error, 3)
		o.Fatal = func(err error) { // nothing of a process that exits goes on
			outcome <- err
			select {}
		}
		v := newReceiving(t, x, o)
		at.left.Store(n)
		go func() { outcome <- v.run() }()
		err := <-outcome
		at.left.Store(0)
		what := at.failed.Load()
		if what == nil {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failures++
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("operation %d, %s: %v", n, *what, err)
		}
		told := v.told()
		for _, kept := range []int{0, 100} {
			fs := mem.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(1, 1)),
			})
			if err := v.check(t, fs, told); err != nil {
				t.Errorf("operation %d, %s, told %+v, %d%% kept: %v", n, *what, told, kept, err)
			}
		}
	}
	if failures < 100/int(step) {
		t.Errorf("only %d operations failed", failures)
	}
}
