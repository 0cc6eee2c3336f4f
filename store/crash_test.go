package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/rs/zerolog"

	"kelek/raftcore"
	"kelek/store/op"
)

// promise is what a run has been told by one moment. A crash after it may not take it back.
type promise struct {
	hard    raftcore.HardState
	last    raftcore.Pos   // of the log
	flushed raftcore.Index // of the state
}

type promises struct {
	mu  sync.Mutex
	now promise
}

func (p *promises) get() promise {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *promises) set(f func(p *promise)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.now)
}

// crash is the disk as it was at one moment, and what had been promised just before it.
type crash struct {
	fs       *vfs.MemFS
	promised promise
	kept     int // percent of what was not synced
}

// crasher takes crash images: before and after each sync, of any file.
type crasher struct {
	mem      *vfs.MemFS
	promised *promises
	mu       sync.Mutex
	rng      *rand.Rand
	syncs    int
	every    int // take images at one of this many syncs
	crashes  []crash
}

func (c *crasher) MaybeError(o errorfs.Op) error {
	switch o.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		c.take()
	}
	return nil
}

func (c *crasher) String() string { return "crasher" }

func (c *crasher) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.syncs++; c.syncs%c.every != 0 {
		return
	}
	promised := c.promised.get() // before the image: what is promised later need not be in it
	for _, kept := range []int{0, 50, 100} {
		image := c.mem.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(c.rng.Uint64(), 1)),
		})
		c.crashes = append(c.crashes, crash{image, promised, kept})
	}
}

// reference is every state that the run went through: by applied index, its hash, its keys.
type reference struct {
	entries []raftcore.Entry // all that were ever written, at index-1; later ones replace
	hashes  map[raftcore.Index]uint64
	states  map[raftcore.Index]string
}

// A power cut at any sync, with none, half or all of what was not synced on the disk: what was
// reported durable is there, in the log and in the state; the state is that of one applied index;
// and replaying the log from there gives the states, and hashes, that there were.
func TestCrashAtEverySync(t *testing.T) {
	for seed := range uint64(4) {
		mem := vfs.NewCrashableMem()
		c := &crasher{mem: mem, promised: &promises{}, rng: rand.New(rand.NewPCG(seed, 9)), every: 1}
		if testing.Short() || raceEnabled {
			c.every = 7
		}
		o := smallOptions(t, errorfs.Wrap(noLock{mem}, c))
		ref := crashRun(t, o, c.promised, seed)
		c.take()
		for i := range c.crashes {
			recoverFrom(t, &c.crashes[i], ref)
		}
		if len(c.crashes) < 20 {
			t.Errorf("only %d crashes", len(c.crashes))
		}
	}
}

// crashRun drives a store as a node does, with truncations, flushes and compactions.
func crashRun(t *testing.T, o Options, promised *promises, seed uint64) *reference {
	r := rand.New(rand.NewPCG(seed, 5))
	ref := &reference{hashes: map[raftcore.Index]uint64{}, states: map[raftcore.Index]string{}}
	rep := newReplica(t, o)
	ref.note(rep)
	ref.entries = append(ref.entries, rep.configEntryAgain())
	promised.set(func(p *promise) { p.last, p.hard = rep.last, raftcore.HardState{Term: 1} })
	for range 40 {
		if r.IntN(6) == 0 { // entries of a leader that is deposed before they are committed
			kept, seq := rep.last, rep.seq
			rep.stamp++
			ref.append(rep, promised, rep.proposal(randomOps(r)...), rep.proposal(randomOps(r)...))
			rep.last, rep.seq = raftcore.Pos{Term: kept.Term + 1, Index: kept.Index}, seq
			ref.truncate(rep, promised, kept.Index+1)
		}
		rep.stamp += raftcore.LogTime(r.IntN(20))
		var entries []raftcore.Entry
		for range 1 + r.IntN(3) {
			entries = append(entries, rep.proposal(randomOps(r)...))
		}
		ref.append(rep, promised, entries...)
		for i := range entries {
			rep.must(rep.s.Apply(entries[i:i+1], nil))
			ref.note(rep)
		}
		switch r.IntN(6) {
		case 0:
			index := rep.last.Index
			rep.must(flushed(rep.s))
			promised.set(func(p *promise) { p.flushed = index })
		case 1:
			durable, err := rep.s.DurableApplied()
			rep.must(err)
			rep.must(rep.s.Compact(durable))
		}
	}
	rep.must(rep.s.Close())
	return ref
}

// configEntryAgain is the first entry of newReplica.
func (r *replica) configEntryAgain() raftcore.Entry {
	return raftcore.Entry{
		Pos: raftcore.Pos{Term: 1, Index: 1}, Kind: raftcore.EntryConfig, Stamp: 1000,
		Data: raftcore.EncodeConfig(raftcore.Config{Voters: []raftcore.NodeID{self}}),
	}
}

func randomOps(r *rand.Rand) (ops []op.Op) {
	for range 1 + r.IntN(6) {
		o := drawOp(r)
		if r.IntN(4) == 0 {
			o = op.Op{Code: op.CodeAdd, Key: []byte("counter"), Delta: 1}
		}
		if o.Code == op.CodePut {
			o.Value = append(o.Value, strings.Repeat("x", r.IntN(4000))...) // fills memtables
		}
		if r.IntN(6) == 0 && o.Code != op.CodePurge {
			o = op.Op{
				Code: op.CodeOnce, Client: []byte("c"), Request: 1 + r.Uint64N(50), Inner: o.Append(nil),
			}
		}
		ops = append(ops, o)
	}
	return ops
}

func (ref *reference) note(r *replica) {
	index, hash := r.s.ApplyHash()
	ref.hashes[index], ref.states[index] = hash, dump(r.t, r.s)
}

func (ref *reference) append(r *replica, promised *promises, entries ...raftcore.Entry) {
	r.t.Helper()
	r.must(r.append(entries...))
	ref.entries = append(ref.entries[:entries[0].Index-1], entries...)
	promised.set(func(p *promise) {
		p.last, p.hard = entries[len(entries)-1].Pos, raftcore.HardState{Term: r.last.Term}
	})
}

// truncate replaces the end of the log by an entry of a new term, in one write. While that is on
// its way, either end may be found.
func (ref *reference) truncate(r *replica, promised *promises, from raftcore.Index) {
	r.t.Helper()
	noop := r.entry(raftcore.EntryNoop, nil)
	promised.set(func(p *promise) { p.last = raftcore.Pos{Term: noop.Term - 1, Index: from - 1} })
	r.write++
	wait, err := r.s.Write(&raftcore.Write{
		Seq: r.write, TruncateFrom: from, Append: []raftcore.Entry{noop}, Sync: true,
		HardState: &raftcore.HardState{Term: noop.Term},
	})
	r.must(err)
	r.must(wait())
	ref.entries = append(ref.entries[:from-1], noop)
	promised.set(func(p *promise) {
		p.last, p.hard = noop.Pos, raftcore.HardState{Term: noop.Term}
	})
	r.must(r.s.Apply([]raftcore.Entry{noop}, nil))
	ref.note(r)
}

// dump is the whole state as text: every key of the database, the system's included.
func dump(t testing.TB, s *Store) string {
	t.Helper()
	if err := s.machine.state.settle(); err != nil {
		t.Fatal(err)
	}
	it, err := s.machine.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var b strings.Builder
	for ok := it.First(); ok; ok = it.Next() {
		fmt.Fprintf(&b, "%x=%x\n", it.Key(), it.Value())
	}
	return b.String()
}

// recoverFrom opens a crash image and checks it against what had been promised, and against what
// the run went on to do.
func recoverFrom(t *testing.T, c *crash, ref *reference) {
	t.Helper()
	o := smallOptions(t, c.fs)
	o.TailBytesMax = 16 << 20 // all of it
	s, err := Open("data", o)
	if err != nil {
		t.Fatalf("%d%% kept, promised %+v: %v", c.kept, c.promised.last, err)
	}
	r := s.Restored()
	what := fmt.Sprintf("%d%% kept, promised %v and %d flushed, found %v",
		c.kept, c.promised.last, c.promised.flushed, r.Last)
	if r.Last.Less(c.promised.last) || r.HardState.Term < c.promised.hard.Term {
		t.Fatalf("%s: a promise is broken, hard state %+v", what, r.HardState)
	}
	if applied, _ := s.Applied(); applied < c.promised.flushed || applied != r.Applied {
		t.Fatalf("%s: applied %d, restored %d", what, applied, r.Applied)
	}
	// An end of the log that was not promised may be one that was replaced later, so the longest
	// common part with the final log is what can be judged by the reference.
	common := r.Tail
	for i := range common {
		index := common[i].Index
		if int(index) > len(ref.entries) || ref.entries[index-1].Pos != common[i].Pos {
			common = common[:i]
			break
		}
	}
	if base := int(r.Snapshot.Pos.Index); !sameEntries(common, ref.entries[base:base+len(common)]) {
		t.Fatalf("%s: other entries than were written", what)
	}
	replay(t, s, ref, what, common)
	if err := s.Close(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// replay applies what follows the durable state, and compares each state on the way.
func replay(t *testing.T, s *Store, ref *reference, what string, log []raftcore.Entry) {
	t.Helper()
	for {
		index, hash := s.ApplyHash()
		if index > 0 && (hash != ref.hashes[index] || dump(t, s) != ref.states[index]) {
			t.Fatalf("%s: at %d hash %016x, want %016x, states equal: %v", what,
				index, hash, ref.hashes[index], dump(t, s) == ref.states[index])
		}
		at := slices.IndexFunc(log, func(e raftcore.Entry) bool { return e.Index == index+1 })
		if at < 0 {
			return
		}
		if err := s.Apply(log[at:at+1], nil); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// failing lets one file operation fail: the nth of its kind after it is armed.
type failing struct {
	kinds []errorfs.OpKind
	part  string // of the path
	left  atomic.Int64
	err   error
}

func (f *failing) MaybeError(o errorfs.Op) error {
	if slices.Contains(f.kinds, o.Kind) && strings.Contains(o.Path, f.part) && f.left.Add(-1) == 0 {
		return f.err
	}
	return nil
}

func (f *failing) String() string { return "failing" }

// After exactly one sync or write has failed, whichever it is, the node is told to stop before
// anything is reported durable, and nothing is reported ever after, though the disk works again.
func TestOneFailureStopsEverything(t *testing.T) {
	syncs := []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	for _, c := range []struct {
		name  string
		kinds []errorfs.OpKind
		part  string
	}{
		{"sync of the log", syncs, "log/"},
		{"write of the log", []errorfs.OpKind{errorfs.OpFileWrite}, "log/"},
	} {
		for n := range int64(4) {
			t.Run(fmt.Sprintf("%s %d", c.name, n+1), func(t *testing.T) {
				f := &failing{kinds: c.kinds, part: c.part, err: errorfs.ErrInjected}
				var told atomic.Int64
				o := smallOptions(t, errorfs.Wrap(vfs.NewMem(), f))
				o.Fatal = func(error) { told.Add(1) }
				r := newReplica(t, o)
				f.left.Store(n + 1)
				for range 50 {
					before := told.Load()
					err := r.append(r.proposal(put("a", "b")))
					if err == nil && before != 0 {
						t.Fatal("reported durable after a failure")
					}
					if err == nil && told.Load() != 0 {
						t.Fatal("reported durable, and the node was told to stop meanwhile")
					}
					if err != nil && !errors.Is(err, errorfs.ErrInjected) {
						t.Fatal(err)
					}
				}
				if told.Load() != 1 {
					t.Errorf("told %d times", told.Load())
				}
				if err := r.s.Apply([]raftcore.Entry{r.entry(raftcore.EntryNoop, nil)}, nil); err == nil {
					t.Error("applied after a failure")
				}
				if err := r.s.Close(); !errors.Is(err, errorfs.ErrInjected) {
					t.Errorf("close: %v", err)
				}
			})
		}
	}
}

// A flush of the state that fails in the background stops the node, too.
func TestFailedFlushStops(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpCreate} {
		f := &failing{kinds: []errorfs.OpKind{kind}, part: "state/", err: syscall.ENOSPC}
		told := make(chan error, 1)
		o := smallOptions(t, errorfs.Wrap(vfs.NewMem(), f))
		o.Fatal = func(err error) { told <- err }
		r := newReplica(t, o)
		fill(r, 10)
		f.left.Store(1)
		r.must(r.s.FlushState())
		select {
		case err := <-told:
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("told %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("operation %v failed and nobody was told", kind)
		}
		if _, err := r.s.DurableApplied(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("durable after a failure: %v", err)
		}
	}
}

// Before Open has returned nothing was promised, so its failures are errors, or a stop where Pebble
// cannot return one; but never a Store.
func TestFailuresOfOpenAreSeen(t *testing.T) {
	returned := 0
	for n := range int64(20) {
		f := &failing{
			kinds: []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData,
				errorfs.OpCreate, errorfs.OpMkdirAll},
			err: errorfs.ErrInjected,
		}
		f.left.Store(n + 1)
		outcome := make(chan error, 2)
		o := smallOptions(t, errorfs.Wrap(vfs.NewMem(), f))
		o.Fatal = func(err error) { outcome <- err }
		go func() {
			s, err := Open("data", o)
			if returned++; err == nil {
				err = s.Close()
			}
			outcome <- err
		}()
		err := <-outcome
		if failed := f.left.Load() <= 0; failed != errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("operation %d failed: %v, and the outcome is %v", n+1, failed, err)
		}
	}
	if returned < 10 {
		t.Errorf("only %d failures came as errors", returned)
	}
}

// A torn tail of the write-ahead log is cut off. Damage before something that was synced is not
// taken for one, wherever it is: at most the last two writes, which no later one vouches for.
func TestDamagedWriteAheadLog(t *testing.T) {
	mem := vfs.NewCrashableMem()
	r := newReplica(t, smallOptions(t, mem))
	const last = 400 // more than one block of 32 KiB
	fill(r, last)
	image := func() *vfs.MemFS { return mem.CrashClone(vfs.CrashCloneCfg{}) }
	size := 0
	editWAL(t, image(), func(b []byte) []byte {
		size = len(bytes.TrimRight(b, "\x00"))
		return b
	})
	if size < walBlockBytes {
		t.Fatalf("the write-ahead log has %d bytes", size)
	}
	found := 0
	for at := 30; at < size; at += 331 {
		fs := image()
		editWAL(t, fs, func(b []byte) []byte {
			b[at] ^= 1 << (at % 8)
			return b
		})
		if checkDamaged(t, fs, fmt.Sprintf("a bit at %d of %d", at, size), last) {
			found++
		}
	}
	if found < size/331*9/10 {
		t.Errorf("damage was found %d times", found)
	}
	fs := image()
	editWAL(t, fs, func(b []byte) []byte { return b[:size-5] })
	if checkDamaged(t, fs, "a torn tail", last) {
		t.Error("a torn tail was taken for damage")
	}
	r.must(r.s.Close())
}

// checkDamaged opens a store whose write-ahead log was damaged: it does not open, or has everything
// but the last two writes.
func checkDamaged(t *testing.T, fs vfs.FS, what string, last raftcore.Index) (found bool) {
	t.Helper()
	s, err := Open("data", smallOptions(t, fs))
	var corrupt *CorruptError
	switch {
	case errors.As(err, &corrupt):
		return true
	case err != nil:
		t.Fatalf("%s: %v", what, err)
	case s.Restored().Last.Index < last-2:
		t.Errorf("%s: the log ends with %d", what, s.Restored().Last.Index)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return false
}

func editWAL(t *testing.T, fs vfs.FS, edit func([]byte) []byte) {
	t.Helper()
	names, err := fs.List("data/log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		editFile(t, fs, fs.PathJoin("data/log", name), edit)
		return
	}
	t.Fatalf("no write-ahead log among %v", names)
}

// Damage that Pebble meets by itself, in a compaction, is damage (exit 65), and no other failure is.
func TestDamageInTheBackground(t *testing.T) {
	for _, c := range []struct {
		err     error
		corrupt bool
	}{{fmt.Errorf("file 7: %w", pebble.ErrCorruption), true}, {errorfs.ErrInjected, false}} {
		var reason error
		l := listener(zerolog.Nop(), newFuse(func(err error) { reason = err }), func(bool) {})
		l.BackgroundError(c.err)
		var corrupt *CorruptError
		if errors.As(reason, &corrupt) != c.corrupt || !errors.Is(reason, c.err) {
			t.Errorf("%v stops the process with %v", c.err, reason)
		}
	}
}

// editFile puts another content into a file.
func editFile(t *testing.T, fs vfs.FS, path string, edit func([]byte) []byte) {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	w, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(edit(b))
	if err := errors.Join(err, w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
}

// On a real directory that cannot be written, Open says so.
func TestOpenInAFile(t *testing.T) {
	path := t.TempDir() + "/file"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Logger: zerolog.Nop()}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("%v", err)
	}
}
