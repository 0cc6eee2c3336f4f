package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/raftcore/wire"
	"kelek/store/op"
)

// snapshots are those that were taken here and not dropped yet. Each is a directory of hard links to
// tables, which never change, and of copies of the small files that say which tables there are. So
// it costs no space until compactions replace the tables, and no time of writers or readers.
//
// They do not outlive the process: who was being sent one asks again and gets a newer one.
type snapshots struct {
	dir    string
	taking sync.Mutex // one at a time
	busy   atomic.Bool
	mu     sync.Mutex
	list   map[uint64]snapshot
	newest raftcore.SnapshotMeta // the last one taken
}

type snapshot struct {
	dir   string
	files []wire.SnapshotFile // sorted by name
}

// TakeSnapshot makes an immutable copy of the state as it is on the disk. See node.Storage. An error
// leaves nothing behind and no promise broken; only a blown fuse is the end of the node.
//
// It flushes what is applied, and makes a checkpoint. Entries go on being applied meanwhile, and a
// memtable of later ones may be flushed between the two; so what the checkpoint holds is read from
// the checkpoint itself.
func (s *Store) TakeSnapshot(id uint64) (meta raftcore.SnapshotMeta, err error) {
	x := &s.snapshots
	x.taking.Lock()
	defer x.taking.Unlock()
	x.busy.Store(true)
	defer x.busy.Store(false)
	if id == 0 {
		return meta, errors.New("store: take snapshot 0: 0 is none")
	}
	if _, err := x.find(id); err == nil {
		return meta, fmt.Errorf("store: take snapshot %016x: there is one with that id", id)
	}
	d := s.acquire()
	defer d.release()
	flushed, err := s.flushNow(d)
	if err != nil {
		return meta, err
	}
	fs := s.options.FS
	taken := snapshot{dir: fs.PathJoin(x.dir, fmt.Sprintf("%016x", id))}
	err = withoutPanic(func() error { return d.db.Checkpoint(taken.dir) })
	if err == nil {
		taken.files, meta, err = s.describe(taken.dir)
	}
	if err == nil && meta.Pos.Index < flushed {
		err = fmt.Errorf("it is of %v, and %d was flushed before", meta.Pos, flushed)
	}
	if err != nil {
		return meta, errors.Join(fmt.Errorf("take snapshot %016x: %w", id, err),
			fs.RemoveAll(taken.dir))
	}
	meta.ID = id
	x.add(meta, taken)
	return meta, nil
}

// flushNow makes what is applied durable, and returns up to which index that is. It waits for a
// flush that is under way, and does not if the disk has failed, which ends no flush.
func (s *Store) flushNow(d *database) (raftcore.Index, error) {
	select {
	case d.flushing <- struct{}{}:
	case <-s.fuse.dead:
		return 0, s.fuse.err()
	}
	defer func() { <-d.flushing }()
	applied := d.position.Load().index
	if applied == 0 {
		return 0, errors.New("store: take a snapshot: nothing is applied yet")
	}
	done, err := d.flush()
	if err != nil || done == nil {
		return applied, s.flushFailed(err)
	}
	select {
	case <-done:
		return applied, nil
	case <-s.fuse.dead:
		return 0, s.fuse.err()
	}
}

// describe lists the files of a checkpoint and reads what state it is. The list comes first: looking
// at a database leaves a lock file in it.
func (s *Store) describe(
	dir string,
) (files []wire.SnapshotFile, meta raftcore.SnapshotMeta, err error) {
	if files, err = listFiles(s.options.FS, dir); err != nil {
		return nil, meta, err
	}
	meta, err = s.options.metaOf(dir)
	return files, meta, err
}

// metaOf reads which state the database at a path holds. It has no ID, which is not in the state.
func (o *Options) metaOf(path string) (meta raftcore.SnapshotMeta, err error) {
	db, err := o.openReadOnly(path)
	if err != nil {
		return meta, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return readMeta(db)
}

func readMeta(r pebble.Reader) (meta raftcore.SnapshotMeta, err error) {
	p, err := readPosition(r)
	if err != nil {
		return meta, err
	}
	meta.Pos, meta.Stamp = raftcore.Pos{Term: p.term, Index: p.index}, p.stamp
	meta.Config, meta.ConfigIndex, err = readConfig(r)
	return meta, err
}

// listFiles lists what a receiver needs of a checkpoint. There is a write-ahead log beside it, which
// is empty, since the state has none.
func listFiles(fs vfs.FS, dir string) ([]wire.SnapshotFile, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var files []wire.SnapshotFile
	for _, name := range names {
		if !isPebbleName(name) {
			continue
		}
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", name, err)
		}
		files = append(files, wire.SnapshotFile{Name: name, Bytes: info.Size()})
	}
	slices.SortFunc(files, func(a, b wire.SnapshotFile) int { return cmp.Compare(a.Name, b.Name) })
	return files, nil
}

func (x *snapshots) add(meta raftcore.SnapshotMeta, taken snapshot) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.list[meta.ID], x.newest = taken, meta
}

func (x *snapshots) find(id uint64) (snapshot, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	found, ok := x.list[id]
	if !ok {
		return found, fmt.Errorf("store: there is no snapshot %016x", id)
	}
	return found, nil
}

// count is how many there are, and the index of the last one taken.
func (x *snapshots) count() (int, raftcore.Index) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.list), x.newest.Pos.Index
}

// SnapshotFiles lists the files of a snapshot, by name. See node.Storage.
func (s *Store) SnapshotFiles(id uint64) ([]wire.SnapshotFile, error) {
	found, err := s.snapshots.find(id)
	return slices.Clone(found.files), err
}

// OpenSnapshotFile opens a file of a snapshot, one that SnapshotFiles lists. See node.Storage. A file
// that is open can be read to its end even if the snapshot is dropped meanwhile.
func (s *Store) OpenSnapshotFile(id uint64, name string) (op.SnapshotReader, error) {
	found, err := s.snapshots.find(id)
	if err != nil {
		return nil, err
	}
	_, listed := slices.BinarySearchFunc(found.files, name,
		func(f wire.SnapshotFile, name string) int { return cmp.Compare(f.Name, name) })
	if !listed {
		return nil, fmt.Errorf("store: snapshot %016x has no file %q", id, name)
	}
	f, err := s.options.FS.Open(s.options.FS.PathJoin(found.dir, name), vfs.SequentialReadsOption)
	if err != nil {
		return nil, fmt.Errorf("open file %s of snapshot %016x: %w", name, id, err)
	}
	return f, nil
}

// DropSnapshot forgets a snapshot and removes its files. See node.Storage.
func (s *Store) DropSnapshot(id uint64) error {
	x := &s.snapshots
	found, err := x.find(id)
	if err != nil {
		return err
	}
	x.mu.Lock()
	delete(x.list, id)
	x.mu.Unlock()
	if err := s.options.FS.RemoveAll(found.dir); err != nil {
		return fmt.Errorf("remove snapshot %016x: %w", id, err)
	}
	return nil
}
