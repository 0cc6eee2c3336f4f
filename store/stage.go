package store

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// staging is the snapshot that is being fetched, of which there is one at most.
//
// What has arrived is a plain file per file, in incoming/state, and nothing else says how far it is:
// the length of a file is where to go on, after a broken connection or a restart alike. A length can
// lie, after a power cut above all; so no file counts before the checksum of its sender was compared
// with all that is there, and who lied starts over.
type staging struct {
	mu    sync.Mutex
	stage *stage // the last one, whoever holds it
	ready bool   // it is complete and may be installed

	bytes, bytesAll atomic.Int64 // of what is being fetched; 0: nothing is
}

// stage implements op.Stage. Its fields belong to who holds Store.staging.mu.
type stage struct {
	s      *Store
	meta   raftcore.SnapshotMeta
	files  []wire.SnapshotFile
	plan   []byte
	closed bool

	next   int      // files[:next] are finished: checked, and durable each by itself
	have   int64    // so much of files[next] is there
	open   vfs.File // files[next], or nil
	sum    uint32   // of what is there; valid while open
	queued int64    // so much of it was told to go to the disk
}

// stageSyncBytes is how much may arrive before the disk is told to begin writing it. A whole file
// at once would hold up the log's syncs.
const stageSyncBytes = 1 << 20

// Stage begins to receive a snapshot, or goes on with it. See node.Storage.
func (s *Store) Stage(meta raftcore.SnapshotMeta, files []wire.SnapshotFile) (op.Stage, error) {
	if err := checkPlan(meta, files); err != nil {
		return nil, fmt.Errorf("stage snapshot %016x of %v: %w", meta.ID, meta.Pos, err)
	}
	x := &s.staging
	x.mu.Lock()
	defer x.mu.Unlock()
	st := &stage{s: s, meta: meta, files: files, plan: appendPlan(nil, meta, files)}
	if old := x.stage; old != nil {
		err := old.shut()
		if old.sameAs(st) && err == nil {
			st.next = old.next
		}
	}
	x.stage, x.ready = nil, false
	if err := st.begin(); err != nil {
		return nil, fmt.Errorf("stage snapshot %016x of %v: %w", meta.ID, meta.Pos, err)
	}
	x.stage = st
	st.measure()
	return st, nil
}

func (s *Store) incoming() string { return s.options.FS.PathJoin(s.dir, incomingDir) }

func (st *stage) sameAs(other *stage) bool { return string(st.plan) == string(other.plan) }

// begin prepares the directory. It goes on with what is there if that is of the same plan.
func (st *stage) begin() error {
	fs, dir := st.s.options.FS, st.s.incoming()
	plan, found, err := readFile(fs, fs.PathJoin(dir, planFile))
	if err != nil {
		return err
	}
	if !found || string(plan) != string(st.plan) {
		st.next = 0
		if err := fs.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove what is left of another snapshot: %w", err)
		}
	}
	if err := fs.MkdirAll(fs.PathJoin(dir, stateDir), 0o755); err != nil {
		return err
	}
	if err := replaceFile(fs, dir, planFile, st.plan); err != nil {
		return err
	}
	if err := syncDir(fs, st.s.dir); err != nil {
		return err
	}
	st.rewind()
	return nil
}

// rewind makes the length of the next file what the disk says. Whatever that is, the checksum has
// the last word; and "from 0" is always right.
func (st *stage) rewind() {
	st.have, st.sum, st.queued = 0, 0, 0
	if st.next == len(st.files) {
		return
	}
	info, err := st.s.options.FS.Stat(st.path(st.next))
	if err == nil && info.Size() <= st.files[st.next].Bytes {
		st.have = info.Size()
	}
}

func (st *stage) path(i int) string {
	fs := st.s.options.FS
	return fs.PathJoin(st.s.incoming(), stateDir, st.files[i].Name)
}

// measure tells Facts how far it is.
func (st *stage) measure() {
	var all, bytes int64
	for i := range st.files {
		if all += st.files[i].Bytes; i < st.next {
			bytes += st.files[i].Bytes
		}
	}
	st.s.staging.bytesAll.Store(all)
	st.s.staging.bytes.Store(bytes + st.have)
}

// Next implements op.Stage.
func (st *stage) Next() (name string, offset int64, done bool) {
	st.s.staging.mu.Lock()
	defer st.s.staging.mu.Unlock()
	if st.next == len(st.files) {
		return "", 0, true
	}
	return st.files[st.next].Name, st.have, false
}

// Write implements op.Stage.
func (st *stage) Write(name string, offset int64, p []byte) error {
	x := &st.s.staging
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := st.wants(name); err != nil {
		return err
	}
	if f := &st.files[st.next]; offset != st.have || int64(len(p)) > f.Bytes-offset {
		return fmt.Errorf("store: %d bytes at %d of file %s, which has %d of %d",
			len(p), offset, name, st.have, f.Bytes)
	}
	if err := st.openNext(); err != nil {
		return err
	}
	sum := crc32.Update(st.sum, castagnoli, p) // before Write, which may change p
	if err := st.write(p); err != nil {
		return errors.Join(fmt.Errorf("write file %s of a snapshot: %w", name, err), st.closeFile())
	}
	st.sum, st.have = sum, st.have+int64(len(p))
	x.bytes.Add(int64(len(p)))
	return nil
}

func (st *stage) write(p []byte) error {
	if _, err := st.open.WriteAt(p, st.have); err != nil {
		return err
	}
	end := st.have + int64(len(p))
	if end < st.queued+stageSyncBytes {
		return nil
	}
	st.queued = end
	_, err := st.open.SyncTo(end)
	return err
}

// wants checks that a file is the one that Next names.
func (st *stage) wants(name string) error {
	switch {
	case st.closed:
		return fmt.Errorf("store: snapshot %016x is not being received any more", st.meta.ID)
	case st.next == len(st.files):
		return fmt.Errorf("store: file %s of a snapshot that has all its files", name)
	case st.files[st.next].Name != name:
		return fmt.Errorf("store: file %s, and %s is wanted", name, st.files[st.next].Name)
	}
	return nil
}

// openNext opens the file that is wanted, and reads what is there already.
func (st *stage) openNext() error {
	if st.open != nil {
		return nil
	}
	fs, path := st.s.options.FS, st.path(st.next)
	if st.have == 0 { // there may be something longer
		if err := fs.RemoveAll(path); err != nil {
			return fmt.Errorf("remove what is wrong of %s: %w", path, err)
		}
	}
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create a file of a snapshot: %w", err)
	}
	hash := crc32.New(castagnoli)
	if _, err := io.Copy(hash, io.NewSectionReader(f, 0, st.have)); err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	st.open, st.sum, st.queued = f, hash.Sum32(), st.have
	return nil
}

func (st *stage) closeFile() error {
	f := st.open
	st.open = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// FinishFile implements op.Stage.
func (st *stage) FinishFile(name string, crc32c uint32) error {
	st.s.staging.mu.Lock()
	defer st.s.staging.mu.Unlock()
	if err := st.wants(name); err != nil {
		return err
	}
	if f := &st.files[st.next]; st.have != f.Bytes {
		return fmt.Errorf("store: file %s ends at %d of %d bytes", name, st.have, f.Bytes)
	}
	if err := st.openNext(); err != nil {
		return err
	}
	if st.sum != crc32c {
		return st.startOver(fmt.Errorf("%w: %s has %08x, and was sent with %08x",
			op.ErrChecksum, name, st.sum, crc32c))
	}
	if err := st.checkTable(); err != nil {
		return st.startOver(fmt.Errorf("%w: %s: %w", op.ErrSnapshotDamaged, name, err))
	}
	if err := errors.Join(st.open.Sync(), st.closeFile()); err != nil {
		return fmt.Errorf("sync file %s of a snapshot: %w", name, err)
	}
	st.next++
	st.rewind()
	return nil
}

// startOver forgets what has arrived of a file.
func (st *stage) startOver(why error) error {
	err := errors.Join(st.closeFile(), st.s.options.FS.RemoveAll(st.path(st.next)))
	st.have, st.sum, st.queued = 0, 0, 0
	st.measure()
	return errors.Join(why, err)
}

// checkTable reads a table that has arrived as it was sent, block by block: the sender has read it
// as a file, and does not know whether its disk returned what it had written.
func (st *stage) checkTable() error {
	if !strings.HasSuffix(st.files[st.next].Name, ".sst") {
		return nil
	}
	f, err := st.s.options.FS.Open(st.path(st.next), vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return withoutPanic(func() error { return checkBlocks(readable) })
}

func checkBlocks(table objstorage.Readable) error {
	policy := bloom.FilterPolicy(filterBitsPerKey)
	r, err := sstable.NewReader(context.Background(), table, sstable.ReaderOptions{
		Filters: map[string]pebble.FilterPolicy{policy.Name(): policy},
	})
	if err != nil {
		return errors.Join(err, table.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// Complete implements op.Stage.
func (st *stage) Complete() error {
	x := &st.s.staging
	x.mu.Lock()
	defer x.mu.Unlock()
	if st.closed || st.next < len(st.files) {
		return fmt.Errorf("store: snapshot %016x has %d of %d files", st.meta.ID, st.next, len(st.files))
	}
	fs, dir := st.s.options.FS, st.s.incoming()
	for _, path := range [...]string{fs.PathJoin(dir, stateDir), dir} {
		if err := syncDir(fs, path); err != nil {
			return err
		}
	}
	got, err := st.s.options.metaOf(fs.PathJoin(dir, stateDir))
	if err != nil {
		return fmt.Errorf("%w: %w", op.ErrSnapshotDamaged, err)
	}
	got.ID = st.meta.ID
	if !sameMeta(got, st.meta) {
		return fmt.Errorf("%w: it is %+v, and %+v was offered", op.ErrSnapshotDamaged, got, st.meta)
	}
	x.ready = true
	return nil
}

func sameMeta(a, b raftcore.SnapshotMeta) bool {
	return a.ID == b.ID && a.Pos == b.Pos && a.Stamp == b.Stamp &&
		a.ConfigIndex == b.ConfigIndex && a.Config.Equal(&b.Config)
}

// Abort implements op.Stage. Whoever was replaced by a later Stage has nothing to remove.
func (st *stage) Abort() error {
	x := &st.s.staging
	x.mu.Lock()
	defer x.mu.Unlock()
	err := st.shut()
	if x.stage != st {
		return err
	}
	x.stage, x.ready = nil, false
	if err := errors.Join(err, st.s.options.FS.RemoveAll(st.s.incoming())); err != nil {
		return fmt.Errorf("abort snapshot %016x: %w", st.meta.ID, err)
	}
	return nil
}

// Close implements op.Stage.
func (st *stage) Close() error {
	st.s.staging.mu.Lock()
	defer st.s.staging.mu.Unlock()
	return st.shut()
}

// shut makes every later call fail.
func (st *stage) shut() error {
	if st.closed {
		return nil
	}
	st.closed = true
	st.s.staging.bytes.Store(0)
	st.s.staging.bytesAll.Store(0)
	return st.closeFile()
}

// close closes what is being received. It is kept for the next start.
func (x *staging) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage == nil {
		return nil
	}
	return x.stage.shut()
}
