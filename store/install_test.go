package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// Views that are open during an install go on with the state that they were opened on, and it goes
// when the last of them is closed.
func TestViewsOutliveAnInstall(t *testing.T) {
	x := newSent(t)
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 6)
	r.must(r.commit(nil, r.proposal(put("k", "old"))))
	live, stable := r.s.View(false), r.s.View(true)
	r.must(x.install(r.s))
	for range 2 {
		for _, v := range []op.View{live, stable} {
			keys, _, err := v.Count(0)
			if got := getText(t, v, 0, "k"); got != `"old"` || keys != 6 || err != nil {
				t.Errorf("an old view has %s and %d keys, %v", got, keys, err)
			}
		}
	}
	now := r.s.View(false)
	if got := getText(t, now, 0, "k"); got != "nil" || getText(t, now, 0, "o") != `"1"` {
		t.Errorf("a new view has %s", got)
	}
	now.Close()
	stable.Close()
	gone := func() bool {
		r.s.retiring.running.Wait()
		there, err := exists(r.o.FS, "data/state")
		r.must(err)
		return !there
	}
	if gone() {
		t.Error("the old state is gone under a view")
	}
	live.Close()
	if !gone() {
		t.Error("the old state stays for ever")
	}
	r.must(r.s.Close())
}

// Readers of all kinds, and whoever asks for facts, run through installs without a lock. What one
// view sees is one state, or in order.
func TestReadersDuringInstalls(t *testing.T) {
	a := newReplica(t, smallOptions(t, vfs.NewMem()))
	b := newReplica(t, smallOptions(t, vfs.NewMem()))
	var done atomic.Bool
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			var last raftcore.LogTime
			for !done.Load() {
				v := b.s.View(i%2 == 0)
				now := raftcore.LogTime(v.LogTime())
				value, err := v.Get(0, []byte("k"), nil)
				if at := fmt.Sprint(now); err != nil || i%2 == 0 && now > 1000 && string(value.Bytes) != at {
					t.Errorf("%q at %s, %v", value.Bytes, at, err)
				}
				v.Close()
				if now < last {
					t.Errorf("log time %d after %d", now, last)
				}
				last = now
				b.s.Facts()
				if _, err := b.s.DurableApplied(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for n := range uint64(5) {
		for range 5 {
			a.stamp++
			a.must(a.commit(nil, a.proposal(put("k", fmt.Sprint(uint64(a.stamp))))))
		}
		meta := mustStage(t, a.s, b.s, n+1)
		b.must(b.s.Install(meta, nil))
		mustEqualStates(t, a.s, b.s)
	}
	done.Store(true)
	readers.Wait()
	b.must(b.s.Close())
	if there, err := exists(b.o.FS, "data/state-4"); there || err != nil {
		t.Errorf("a replaced state is there: %v, %v", there, err)
	}
	a.must(a.s.Close())
}

// A byte that is flipped on the way makes its file start over.
func TestFlippedBitOnTheWay(t *testing.T) {
	x := newSent(t)
	r := newReceiver(t, smallOptions(t, vfs.NewMem()))
	st, err := r.s.Stage(x.meta, x.files)
	r.must(err)
	flipped := 0
	for name, offset, done := st.Next(); !done; name, offset, done = st.Next() {
		content := x.content[name]
		if offset != 0 {
			t.Fatalf("%s goes on at %d", name, offset)
		}
		if len(content) > 0 {
			damaged := bytes.Clone(content)
			damaged[len(content)*flipped/7%len(content)] ^= 1 << flipped
			flipped++
			r.must(st.Write(name, 0, damaged))
			err := st.FinishFile(name, crc32.Checksum(content, castagnoli))
			if again, offset, _ := st.Next(); !errors.Is(err, op.ErrChecksum) || again != name || offset != 0 {
				t.Fatalf("%s: %v, and then %s at %d", name, err, again, offset)
			}
		}
		r.must(st.Write(name, 0, bytes.Clone(content)))
		r.must(st.FinishFile(name, crc32.Checksum(content, castagnoli)))
	}
	r.must(st.Complete())
	r.must(r.s.Install(x.meta, nil))
	if stateText(t, r.s) != x.states[x.meta.Pos.Index] || flipped < 3 {
		t.Errorf("another state, after %d flips", flipped)
	}
	r.must(r.s.Close())
}

// What the sender's disk has spoilt arrives as it was sent. Wherever it is, it is noticed before the
// state is in force, unless it changes nothing: a comment in the options, or padding.
func TestDamageAtTheSender(t *testing.T) {
	x := newSent(t)
	r := newReceiver(t, smallOptions(t, vfs.NewMem()))
	before := stateText(t, r.s)
	noticed := map[string]int{}
	for _, f := range x.files {
		for at := int64(0); at < f.Bytes; at += 1 + f.Bytes/40 {
			content := bytes.Clone(x.content[f.Name])
			content[at] ^= 1 << (at % 8)
			spoilt := *x
			spoilt.content = map[string][]byte{}
			for name, c := range x.content {
				spoilt.content[name] = c
			}
			spoilt.content[f.Name] = content
			st, err := r.s.Stage(x.meta, x.files)
			r.must(err)
			if err = spoilt.send(st, 1<<20); err == nil {
				err = st.Complete()
			}
			if err != nil && !errors.Is(err, op.ErrSnapshotDamaged) {
				t.Fatalf("%s at %d: %v", f.Name, at, err)
			}
			if err != nil {
				noticed[f.Name[:3]]++
			} else if strings.HasSuffix(f.Name, ".sst") {
				t.Errorf("a bit of %s at %d of %d was flipped, and not noticed", f.Name, at, f.Bytes)
			} else if got, err := r.s.options.metaOf("data/incoming/state"); err != nil ||
				got.Pos != x.meta.Pos {
				t.Errorf("%s at %d: complete, and holds %+v, %v", f.Name, at, got, err)
			}
			r.must(st.Abort())
		}
	}
	if noticed["000"] < 30 || noticed["MAN"] < 20 {
		t.Errorf("noticed: %v", noticed)
	}
	if stateText(t, r.s) != before {
		t.Error("the state has changed")
	}
	r.must(r.s.Close())
}

// Files that are all fine and not the state that was offered are refused.
func TestOfferThatIsNotKept(t *testing.T) {
	x := newSent(t)
	r := newReceiver(t, smallOptions(t, vfs.NewMem()))
	for name, change := range map[string]func(m *raftcore.SnapshotMeta, files *[]wire.SnapshotFile){
		"another index":        func(m *raftcore.SnapshotMeta, _ *[]wire.SnapshotFile) { m.Pos.Index++ },
		"another term":         func(m *raftcore.SnapshotMeta, _ *[]wire.SnapshotFile) { m.Pos.Term++ },
		"another stamp":        func(m *raftcore.SnapshotMeta, _ *[]wire.SnapshotFile) { m.Stamp++ },
		"another config index": func(m *raftcore.SnapshotMeta, _ *[]wire.SnapshotFile) { m.ConfigIndex-- },
		"another config": func(m *raftcore.SnapshotMeta, _ *[]wire.SnapshotFile) {
			m.Config.Voters = []raftcore.NodeID{1, 2}
		},
		"no table": func(_ *raftcore.SnapshotMeta, files *[]wire.SnapshotFile) {
			*files = slices.DeleteFunc(slices.Clone(*files), func(f wire.SnapshotFile) bool {
				return strings.HasSuffix(f.Name, ".sst")
			})
		},
		"no manifest": func(_ *raftcore.SnapshotMeta, files *[]wire.SnapshotFile) {
			*files = slices.DeleteFunc(slices.Clone(*files), func(f wire.SnapshotFile) bool {
				return strings.HasPrefix(f.Name, "MANIFEST")
			})
		},
	} {
		meta, files := x.meta, x.files
		change(&meta, &files)
		st, err := r.s.Stage(meta, files)
		r.must(err)
		r.must(x.send(st, 1<<20))
		if err := st.Complete(); !errors.Is(err, op.ErrSnapshotDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.s.Install(meta, nil); err == nil {
			t.Fatalf("%s: installed", name)
		}
	}
	r.must(r.s.Close())
}

// Names that no checkpoint has are refused before anything is created.
func TestHostileNames(t *testing.T) {
	r := newReceiver(t, smallOptions(t, vfs.NewMem()))
	meta := raftcore.SnapshotMeta{ID: 1, Pos: raftcore.Pos{Term: 1, Index: 99}}
	for _, name := range []string{
		"", ".", "..", "../000001.sst", "/etc/passwd", "a/b", `..\state`, "000001.sst/../x", "LOCK",
		"000001.log", "000001.sst ", ".sst", "x.sst", "000001.SST", "MANIFEST-", "MANIFEST-x",
		"OPTIONS-1\x00", "marker", "marker.", "marker.manifest.1.", "marker.manifest.1.MANIFEST-",
		"marker.manifest..MANIFEST-1", "marker.manifest.1.MANIFEST-1.sst/..", "marker.other.1.2",
		"marker.format-version.1.2.3", "plan", "temporary.000010.dbtmp",
		strings.Repeat("0", 300) + ".sst",
	} {
		if st, err := r.s.Stage(meta, []wire.SnapshotFile{{Name: name}}); err == nil {
			t.Errorf("%q was accepted", name)
			r.must(st.Abort())
		}
	}
	for name, files := range map[string][]wire.SnapshotFile{
		"no files":     nil,
		"unordered":    {{Name: "000002.sst"}, {Name: "000001.sst"}},
		"twice":        {{Name: "000001.sst"}, {Name: "000001.sst"}},
		"negative":     {{Name: "000001.sst", Bytes: -1}},
		"more than is": {{Name: "000001.sst", Bytes: math.MaxInt64}, {Name: "000002.sst", Bytes: 1}},
	} {
		if _, err := r.s.Stage(meta, files); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, meta := range []raftcore.SnapshotMeta{
		{Pos: meta.Pos}, {ID: 1}, {ID: 1, Pos: raftcore.Pos{Index: 5}},
	} {
		if _, err := r.s.Stage(meta, []wire.SnapshotFile{{Name: "000001.sst"}}); err == nil {
			t.Errorf("%+v was accepted", meta)
		}
	}
	if there, _ := exists(r.o.FS, "data/incoming"); there {
		t.Error("something was created")
	}
	r.must(r.s.Close())
}

// Chunks that are not the next ones are refused, and change nothing.
func TestChunksOutOfOrder(t *testing.T) {
	x := newSent(t)
	r := newReceiver(t, smallOptions(t, vfs.NewMem()))
	st, err := r.s.Stage(x.meta, x.files)
	r.must(err)
	name, _, _ := st.Next()
	content, last := x.content[name], x.files[len(x.files)-1].Name
	r.must(st.Write(name, 0, bytes.Clone(content[:50])))
	for what, err := range map[string]error{
		"a chunk again":           st.Write(name, 0, bytes.Clone(content[:50])),
		"a gap":                   st.Write(name, 60, bytes.Clone(content[60:70])),
		"before the beginning":    st.Write(name, -1, bytes.Clone(content[:1])),
		"more than the file has":  st.Write(name, 50, make([]byte, len(content))),
		"another file":            st.Write(last, 0, []byte("x")),
		"a file of no snapshot":   st.Write("999999.sst", 0, []byte("x")),
		"an end that comes early": st.FinishFile(name, 0),
		"the end of another file": st.FinishFile(last, 0),
		"an end of everything":    st.Complete(),
	} {
		if again, offset, _ := st.Next(); err == nil || again != name || offset != 50 {
			t.Errorf("%s: %v, and then %s at %d", what, err, again, offset)
		}
	}
	r.must(x.send(st, 100))
	if err := st.Write(name, 0, []byte("x")); err == nil {
		t.Error("a chunk after the end")
	}
	r.must(st.Complete())
	r.must(r.s.Install(x.meta, nil))
	if err := r.s.Install(x.meta, nil); err == nil {
		t.Error("installed twice")
	}
	r.must(r.s.Close())
}

// full is a disk that can be full: of what is under a path.
type full struct {
	part string
	on   atomic.Bool
}

func (f *full) String() string { return "full" }

func (f *full) MaybeError(o errorfs.Op) error {
	if f.on.Load() && strings.Contains(o.Path, f.part) && o.Kind.ReadOrWrite() == errorfs.OpIsWrite &&
		!slices.Contains([]errorfs.OpKind{errorfs.OpFileClose, errorfs.OpRemove, errorfs.OpRemoveAll},
			o.Kind) {
		return syscall.ENOSPC
	}
	return nil
}

// A disk that is full while a snapshot is taken or received is an error of that alone. The node goes
// on; and once there is room, so does what had failed.
func TestFullDiskStopsOnlySnapshots(t *testing.T) {
	x := newSent(t)
	disk := &full{part: "incoming"}
	r := newReplica(t, smallOptions(t, errorfs.Wrap(vfs.NewMem(), disk)))
	fill(r, 6)
	disk.on.Store(true)
	if _, err := r.s.Stage(x.meta, x.files); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("begun on a full disk: %v", err)
	}
	disk.on.Store(false)
	st, err := r.s.Stage(x.meta, x.files)
	r.must(err)
	for name, offset, done := st.Next(); !done; name, offset, done = st.Next() {
		content := x.content[name]
		half := bytes.Clone(content[offset:][:(len(content)-int(offset)+1)/2])
		disk.on.Store(true)
		if err := st.Write(name, offset, bytes.Clone(half)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%s written to a full disk: %v", name, err)
		}
		if again, at, _ := st.Next(); again != name || at != offset {
			t.Fatalf("then %s at %d, want %s at %d", again, at, name, offset)
		}
		disk.on.Store(false)
		r.must(st.Write(name, offset, half))
		offset += int64(len(half))
		r.must(st.Write(name, offset, bytes.Clone(content[offset:])))
		disk.on.Store(true)
		sum := crc32.Checksum(content, castagnoli)
		if err := st.FinishFile(name, sum); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%s finished on a full disk: %v", name, err)
		}
		disk.on.Store(false)
		r.must(st.FinishFile(name, sum))
	}
	disk.on.Store(true)
	if err := st.Complete(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("complete on a full disk: %v", err)
	}
	disk.on.Store(false)
	r.must(st.Complete())

	disk.part = snapshotsDir
	disk.on.Store(true)
	if _, err := r.s.TakeSnapshot(5); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("taken on a full disk: %v", err)
	}
	r.must(r.commit(nil, r.proposal(put("k", "while it is full"))))
	disk.on.Store(false)
	mustTake(t, r.s, 5)
	r.must(r.s.Install(x.meta, nil))
	if stateText(t, r.s) != x.states[x.meta.Pos.Index] {
		t.Error("another state")
	}
	r.must(r.s.Close())
}

// A start with a marker that is damaged, or does not fit what is there, removes nothing and says so.
func TestMarkerThatDoesNotFit(t *testing.T) {
	x := newSent(t)
	installedOn := func() *vfs.MemFS {
		mem := vfs.NewMem()
		r := newReceiver(t, smallOptions(t, mem))
		r.must(x.install(r.s))
		r.must(r.s.Close())
		return mem
	}
	for name, spoil := range map[string]func(fs vfs.FS) error{
		"the marker is lost": func(fs vfs.FS) error { return fs.Remove("data/state.marker") },
		"the state is lost":  func(fs vfs.FS) error { return fs.RemoveAll("data/state-1") },
		"the state is empty": func(fs vfs.FS) error {
			return errors.Join(fs.RemoveAll("data/state-1"), fs.MkdirAll("data/state-1", 0o755))
		},
		"a bit of the marker": func(fs vfs.FS) error {
			content, _, err := readFile(fs, "data/state.marker")
			content[len(content)/2] ^= 4
			return errors.Join(err, replaceFile(fs, "data", markerFile, content))
		},
		"a marker of nothing": func(fs vfs.FS) error { return replaceFile(fs, "data", markerFile, nil) },
	} {
		fs := installedOn()
		if err := spoil(fs); err != nil {
			t.Fatal(err)
		}
		var damage *CorruptError
		_, err := Open("data", smallOptions(t, fs))
		if err == nil || name != "the state is empty" && !errors.As(err, &damage) {
			t.Errorf("%s: %v", name, err)
		}
		if there, _ := exists(fs, "data/state-1"); there == (name == "the state is lost") {
			t.Errorf("%s: the state is there: %v", name, there)
		}
	}
}

// The marker's bytes: what it says comes back, each flipped bit is noticed, a newer version is named.
func TestMarkerBytes(t *testing.T) {
	in := installed{
		number: 3, hard: &raftcore.HardState{Term: 9, VotedFor: 4},
		meta: raftcore.SnapshotMeta{
			ID: 8, Pos: raftcore.Pos{Term: 7, Index: 600}, Stamp: 5, ConfigIndex: 44,
			Config: raftcore.Config{Voters: []raftcore.NodeID{1, 2}, Learners: []raftcore.NodeID{3}},
		},
	}
	for _, hard := range []*raftcore.HardState{in.hard, nil} {
		in.hard = hard
		b := appendMarker(nil, &in)
		got, err := decodeMarker(b)
		if err != nil || got.number != in.number || !sameMeta(got.meta, in.meta) ||
			(got.hard == nil) != (hard == nil) || hard != nil && *got.hard != *hard {
			t.Fatalf("%+v, %v", got, err)
		}
		for bit := range 8 * len(b) {
			b[bit/8] ^= 1 << (bit % 8)
			if got, err := decodeMarker(b); err == nil {
				t.Fatalf("bit %d of %d flipped: %+v", bit, 8*len(b), got)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	newer := appendMarker(nil, &in)
	newer[0]++
	newer = newer[:len(newer)-crc32.Size]
	newer = append(newer, 0, 0, 0, 0)
	sum := crc32.Checksum(newer[:len(newer)-4], castagnoli)
	for i := range 4 {
		newer[len(newer)-4+i] = byte(sum >> (24 - 8*i))
	}
	if _, err := decodeMarker(newer); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a newer marker: %v", err)
	}
}

// A log that has lost the position of an install that was complete is damage: entries were applied
// on top of it.
func TestLogThatLostAnInstall(t *testing.T) {
	x := newSent(t)
	mem := vfs.NewMem()
	r := newReceiver(t, smallOptions(t, mem))
	r.must(x.install(r.s))
	r.last, r.stamp = x.meta.Pos, x.meta.Stamp
	r.must(r.commit(nil, r.entry(raftcore.EntryNoop, nil)))
	r.must(r.s.raftLog.db.Delete(logKey(logBase), pebble.Sync))
	b := r.s.raftLog.db.NewBatch()
	for _, kind := range []byte{logEntry, logRun} {
		r.must(b.DeleteRange(logKeyAt(kind, 0), logKey(kind+1), nil))
	}
	r.must(b.Commit(pebble.Sync))
	r.must(r.s.Close())
	var damage *CorruptError
	if _, err := Open("data", r.o); !errors.As(err, &damage) ||
		!strings.Contains(err.Error(), "was installed") {
		t.Errorf("%v", err)
	}
}
