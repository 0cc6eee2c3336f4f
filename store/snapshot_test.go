package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// fetchAll moves the files of a snapshot into a stage, in chunks, as a receiver does.
func fetchAll(from *Store, id uint64, st op.Stage, chunk int) error {
	for name, offset, done := st.Next(); !done; name, offset, done = st.Next() {
		if err := fetchFile(from, id, st, name, offset, chunk); err != nil {
			return err
		}
	}
	return nil
}

func fetchFile(from *Store, id uint64, st op.Stage, name string, offset int64, chunk int) error {
	content, err := contentOf(from, id, name)
	if err != nil {
		return err
	}
	for at := offset; at < int64(len(content)); at += int64(chunk) {
		p := bytes.Clone(content[at:min(at+int64(chunk), int64(len(content)))])
		if err := st.Write(name, at, p); err != nil {
			return err
		}
	}
	return st.FinishFile(name, crc32.Checksum(content, castagnoli))
}

func contentOf(s *Store, id uint64, name string) ([]byte, error) {
	f, err := s.OpenSnapshotFile(id, name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	return content, errors.Join(err, f.Close())
}

// mustTake takes a snapshot and lists its files.
func mustTake(t testing.TB, s *Store, id uint64) (raftcore.SnapshotMeta, []wire.SnapshotFile) {
	t.Helper()
	meta, err := s.TakeSnapshot(id)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.SnapshotFiles(id)
	if err != nil {
		t.Fatal(err)
	}
	return meta, files
}

// mustStage makes a snapshot of one store complete in another.
func mustStage(t testing.TB, from, to *Store, id uint64) raftcore.SnapshotMeta {
	t.Helper()
	meta, files := mustTake(t, from, id)
	st, err := to.Stage(meta, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{fetchAll(from, id, st, 700), st.Complete(), st.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return meta
}

// newSender is a replica with something of everything that a state has, at an entry of term 2.
func newSender(t testing.TB) *replica {
	t.Helper()
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	r.must(r.commit(nil, r.configEntry(self, 0xb2)))
	inner, ttl := put("o", "1"), put("ttl", "v")
	ttl.TTL, ttl.Time = op.TTLAfter, 500
	r.must(r.commit(nil, r.proposal(ttl,
		op.Op{Code: op.CodeMember, Member: op.Member{ID: 0xb2, Name: "n2"}},
		op.Op{Code: op.CodeOnce, Client: []byte("c"), Request: 7, Inner: inner.Append(nil)})))
	fill(r, 30)
	r.last.Term = 2
	r.must(r.commit(nil, r.configEntry(self)))
	fill(r, 60)
	return r
}

// newReceiver is a replica with a short log of its own, of a term that the sender's has not.
func newReceiver(t testing.TB, o Options) *replica {
	t.Helper()
	r := newReplica(t, o)
	fill(r, 6)
	r.last.Term = 3
	r.must(r.append(r.proposal(put("never", "applied"))))
	return r
}

// mustEqualStates compares two states to the last byte, and their hashes.
func mustEqualStates(t testing.TB, a, b *Store) {
	t.Helper()
	indexA, hashA := a.ApplyHash()
	indexB, hashB := b.ApplyHash()
	if indexA != indexB || hashA != hashB || dump(t, a) != dump(t, b) {
		t.Fatalf("the states differ: at %d and %d, hashes %016x and %016x",
			indexA, indexB, hashA, hashB)
	}
}

// A state that is installed is the sender's, to the last byte: data, origins, ONCE entries, members,
// retired nodes, deadlines, hash. The log begins after it, with the hard state that came along; and
// both go on from there, the restart included.
func TestInstalledStateIsTheSenders(t *testing.T) {
	a := newSender(t)
	b := newReceiver(t, smallOptions(t, vfs.NewMem()))
	meta := mustStage(t, a.s, b.s, 77)
	hard := raftcore.HardState{Term: 5, VotedFor: 0xb2}
	b.must(b.s.Install(meta, &hard))
	mustEqualStates(t, a.s, b.s)
	if b.s.NextDeadline() != a.s.NextDeadline() || b.s.NextDeadline() == 0 {
		t.Errorf("the next deadline is %d, and %d at the sender", b.s.NextDeadline(), a.s.NextDeadline())
	}
	if f := b.s.Facts(); f.OnceEntries != 1 || f.Installs != 1 || f.StagedBytesAll != 0 {
		t.Errorf("facts %+v", f)
	}
	for range 2 {
		want := raftcore.Restored{
			HardState: hard, Snapshot: meta, Last: meta.Pos, LastStamp: meta.Stamp,
			Applied: meta.Pos.Index,
		}
		b.reopen()
		if got := normal(b.s.Restored()); !reflect.DeepEqual(got, want) {
			t.Fatalf("restored\n%+v, want\n%+v", got, want)
		}
		mustEqualStates(t, a.s, b.s)
	}
	b.last, b.seq, b.stamp = a.last, a.seq, a.stamp
	e := a.proposal(put("after", "it"), op.Op{Code: op.CodePurge, Delta: 10})
	a.must(a.commit(nil, e))
	b.must(b.commit(nil, e))
	mustEqualStates(t, a.s, b.s)
	b.reopen()
	mustEqualStates(t, a.s, b.s)
	if got := b.s.Restored(); got.Last != e.Pos || len(got.Tail) != 1 {
		t.Errorf("restored %+v", got)
	}
	a.must(a.s.Close())
	b.must(b.s.Close())
}

// What a snapshot says of itself is what its files hold, though entries are applied, and memtables
// flushed, while it is taken.
func TestSnapshotKnowsItsPosition(t *testing.T) {
	mem := vfs.NewMem()
	var r *replica
	meanwhile := func() {
		if r == nil {
			return
		}
		fill := r
		r = nil // once
		for range 3 {
			fill.must(fill.commit(nil, fill.configEntry(raftcore.NodeID(fill.last.Index), self)))
			fill.must(fill.commit(nil, fill.proposal(put("k", "meanwhile"))))
			fill.must(flushed(fill.s))
		}
	}
	hook := errorfs.InjectorFunc(func(o errorfs.Op) error {
		if o.Kind == errorfs.OpMkdirAll && strings.Contains(o.Path, snapshotsDir) {
			meanwhile()
		}
		return nil
	})
	applied := newReplica(t, smallOptions(t, errorfs.Wrap(noLock{mem}, hook)))
	fill(applied, 20)
	r = applied
	meta, _ := mustTake(t, applied.s, 1)
	if r != nil || meta.ID != 1 {
		t.Fatalf("nothing happened meanwhile, or %+v", meta)
	}
	got, err := applied.s.options.metaOf("data/snapshots/0000000000000001")
	if got.ID = 1; err != nil || !sameMeta(got, meta) {
		t.Errorf("it is %+v, and says %+v, %v", got, meta, err)
	}
	if meta.Pos.Index < 20 || meta.Pos.Term != 1 || meta.Stamp != applied.stamp ||
		!meta.Config.IsMember(self) || meta.ConfigIndex == 0 {
		t.Errorf("%+v", meta)
	}
	applied.must(applied.s.Close())
}

// Only what would survive a power cut is in a snapshot: all that was applied before.
func TestSnapshotIsDurable(t *testing.T) {
	mem := vfs.NewCrashableMem()
	r := newReplica(t, smallOptions(t, mem))
	fill(r, 20)
	meta, _ := mustTake(t, r.s, 1)
	if meta.Pos.Index != 20 {
		t.Errorf("%+v, and 20 entries were applied", meta)
	}
	s := mustOpen(t, smallOptions(t, mem.CrashClone(vfs.CrashCloneCfg{})))
	if applied, _ := s.Applied(); applied < meta.Pos.Index {
		t.Errorf("after a power cut %d is applied, and the snapshot has %v", applied, meta.Pos)
	}
	r.must(s.Close())
	r.must(r.s.Close())
}

// The files of a snapshot stay as they are while the state goes on, and go with it when dropped or
// with the process.
func TestSnapshotsAreKeptAndDropped(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	if _, err := r.s.TakeSnapshot(0); err == nil {
		t.Error("took snapshot 0")
	}
	fill(r, 20)
	meta, files := mustTake(t, r.s, 1)
	if _, err := r.s.TakeSnapshot(1); err == nil {
		t.Error("took two snapshots with one id")
	}
	before := map[string][]byte{}
	for _, f := range files {
		content, err := contentOf(r.s, 1, f.Name)
		r.must(err)
		if before[f.Name] = content; int64(len(content)) != f.Bytes || !isPebbleName(f.Name) {
			t.Errorf("%q has %d bytes, and is said to have %d", f.Name, len(content), f.Bytes)
		}
	}
	fill(r, 60)
	r.must(flushed(r.s))
	r.must(r.s.machine.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	mustTake(t, r.s, 2)
	for name, want := range before {
		if got, err := contentOf(r.s, 1, name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has changed, %v", name, err)
		}
	}
	if f := r.s.Facts(); f.Snapshots != 2 || f.SnapshotIndex != 60 || f.TakingSnapshot {
		t.Errorf("facts %+v", f)
	}
	for _, name := range []string{"LOCK", "", "../../log/LOCK", "000001.log"} {
		if _, err := r.s.OpenSnapshotFile(1, name); err == nil {
			t.Errorf("opened %q", name)
		}
	}
	r.must(r.s.DropSnapshot(1))
	if _, err := r.s.SnapshotFiles(1); err == nil {
		t.Error("a dropped snapshot has files")
	}
	if _, err := r.s.OpenSnapshotFile(1, files[0].Name); err == nil {
		t.Error("a file of a dropped snapshot was opened")
	}
	if err := r.s.DropSnapshot(1); err == nil {
		t.Error("dropped twice")
	}
	r.reopen()
	if _, err := r.s.SnapshotFiles(2); err == nil {
		t.Error("a snapshot outlived the process")
	}
	if there, err := exists(r.o.FS, "data/snapshots"); there || err != nil {
		t.Errorf("snapshots/ is there after a restart: %v, %v", there, err)
	}
	if again, _ := mustTake(t, r.s, 1); again.Pos.Index != 60 || meta.Pos.Index != 20 {
		t.Errorf("%+v after %+v", again, meta)
	}
	r.must(r.s.Close())
}

// Nothing is in a snapshot of nothing.
func TestNothingToTake(t *testing.T) {
	s := mustOpen(t, smallOptions(t, vfs.NewMem()))
	if meta, err := s.TakeSnapshot(1); err == nil {
		t.Errorf("took %+v", meta)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A receiver asks for what it lacks: after a broken connection, and after a restart.
func TestStageGoesOnWhereItWas(t *testing.T) {
	a := newSender(t)
	b := newReceiver(t, smallOptions(t, vfs.NewMem()))
	meta, files := mustTake(t, a.s, 9)
	sent := func(from, to string, offset int64) string { return fmt.Sprint(from, "->", to, "@", offset) }
	var log []string
	stage := func(limit int) (op.Stage, bool) {
		st, err := b.s.Stage(meta, files)
		b.must(err)
		for name, offset, done := st.Next(); !done; name, offset, done = st.Next() {
			content, err := contentOf(a.s, 9, name)
			b.must(err)
			log = append(log, sent("a", name, offset))
			if room := int64(len(content)) - offset; int64(limit) < room {
				b.must(st.Write(name, offset, bytes.Clone(content[offset:offset+int64(limit)])))
				return st, false
			}
			limit -= len(content) - int(offset)
			b.must(st.Write(name, offset, bytes.Clone(content[offset:])))
			b.must(st.FinishFile(name, crc32.Checksum(content, castagnoli)))
		}
		return st, true
	}
	var restarts int
	for {
		st, done := stage(900)
		if f := b.s.Facts(); !done && (f.StagedBytes == 0 || f.StagedBytes >= f.StagedBytesAll) {
			t.Fatalf("facts %+v", f)
		}
		if done {
			b.must(st.Complete())
			b.must(b.s.Install(meta, nil))
			break
		}
		if restarts++; restarts%2 == 0 {
			b.reopen()
		} else {
			b.must(st.Close())
		}
	}
	if restarts < 3 {
		t.Errorf("%d restarts: %v", restarts, log)
	}
	mustEqualStates(t, a.s, b.s)
	b.must(b.s.Close())
	a.must(a.s.Close())
}

// A snapshot that is offered under another id, or with other files, begins anew; and what has
// arrived goes when the node has come as far without it.
func TestStageOfAnotherSnapshot(t *testing.T) {
	a := newSender(t)
	b := newReceiver(t, smallOptions(t, vfs.NewMem()))
	meta, files := mustTake(t, a.s, 9)
	first, err := b.s.Stage(meta, files)
	b.must(err)
	b.must(fetchFile(a.s, 9, first, files[0].Name, 0, 700))
	other := meta
	other.ID++
	second, err := b.s.Stage(other, files)
	b.must(err)
	if name, offset, done := second.Next(); name != files[0].Name || offset != 0 || done {
		t.Errorf("goes on with %s at %d, %v", name, offset, done)
	}
	if err := first.Write(files[1].Name, 0, []byte("x")); err == nil {
		t.Error("the first stage still takes files")
	}
	b.must(first.Abort())
	b.must(fetchAll(a.s, 9, second, 700))
	if err := first.Complete(); err == nil {
		t.Error("the first stage is complete")
	}
	b.must(second.Complete())
	if err := b.s.Install(meta, nil); err == nil {
		t.Error("installed what was staged under another id")
	}
	b.must(second.Abort())
	if err := b.s.Install(other, nil); err == nil {
		t.Error("installed what was aborted")
	}
	third, err := b.s.Stage(meta, files)
	b.must(err)
	b.must(fetchFile(a.s, 9, third, files[0].Name, 0, 700))
	b.reopen()
	if there, _ := exists(b.o.FS, "data/incoming/plan"); !there {
		t.Error("what has arrived is gone after a restart")
	}
	b.last = raftcore.Pos{Term: 3, Index: 7}
	b.must(b.s.Apply([]raftcore.Entry{{Pos: b.last, Kind: raftcore.EntryNoop, Stamp: b.stamp}}, nil))
	b.seq = 100
	for b.last.Index < meta.Pos.Index {
		b.must(b.commit(nil, b.entry(raftcore.EntryNoop, nil)))
	}
	b.reopen()
	if there, _ := exists(b.o.FS, "data/incoming"); there {
		t.Error("what nobody needs is there after a restart")
	}
	b.must(b.s.Close())
	a.must(a.s.Close())
}
