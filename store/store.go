package store

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
)

// Store is the two databases of one node. Its methods are those of node.Storage, which says who may
// call them when: the log's (Restored, Write, Entries, Compact, LogBytes) and the machine's.
type Store struct {
	*raftLog
	*machine
	fuse *fuse
}

// Open opens or creates the databases in dir and brings them in line with each other. Nothing is
// promised before it returns, so its errors are plain ones: a CorruptError if the disk returned
// something else than was written to it.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	f := &fuse{fatal: o.Fatal}
	logCache, stateCache := o.logCache(), o.stateCache()
	defer logCache.Unref() // the databases hold them
	defer stateCache.Unref()
	logOptions := func() *pebble.Options { return o.logOptions(f, logCache) }
	logDB, err := openDB(o.FS, dir, "log", logOptions)
	if err != nil {
		return nil, err
	}
	stateOptions := func() *pebble.Options { return o.stateOptions(f, stateCache) }
	stateDB, err := openDB(o.FS, dir, "state", stateOptions)
	if err != nil {
		return nil, errors.Join(err, logDB.Close())
	}
	s := &Store{machine: newMachine(stateDB, f, formatLimits()), fuse: f}
	s.raftLog = &raftLog{db: logDB, fuse: f, options: &o, durable: s.DurableApplied}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.batch.Close(), stateDB.Close(), logDB.Close())
	}
	f.armed.Store(true)
	return s, f.err()
}

// openDB opens the database dir/name, or creates it.
//
// A database is created beside its place and then moved there. Pebble cannot open what a power cut
// has left of one that it was creating; so what is in its place is always complete, and what is
// beside it never promised anything and can be thrown away.
func openDB(fs vfs.FS, dir, name string, options func() *pebble.Options) (*pebble.DB, error) {
	path := fs.PathJoin(dir, name)
	_, err := fs.Stat(path)
	if errors.Is(err, iofs.ErrNotExist) {
		err = createDB(fs, dir, path, options())
	}
	if err != nil {
		return nil, err
	}
	if err := checkWAL(fs, path); err != nil {
		return nil, err
	}
	o := options()
	o.ErrorIfNotExists = true // an empty directory is damage, and no reason to begin anew
	return openPebble(path, o)
}

func createDB(fs vfs.FS, dir, path string, o *pebble.Options) error {
	beside := path + ".new"
	if err := fs.RemoveAll(beside); err != nil {
		return fmt.Errorf("remove what was left of %s: %w", beside, err)
	}
	db, err := openPebble(beside, o)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Close(), fs.Rename(beside, path)); err != nil {
		return err
	}
	parent, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// openPebble opens a database. Where Pebble cannot return a failed file operation, it panics with
// it.
func openPebble(path string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			panic(p)
		case error:
			db, err = nil, fmt.Errorf("open database %s: %w", path, p)
		default:
			panic(p)
		}
	}()
	db, err = pebble.Open(path, o)
	switch {
	case pebble.IsCorruptionError(err):
		err = corruptFile(path, err)
	case err != nil:
		err = fmt.Errorf("open database %s: %w", path, err)
	}
	return db, err
}

// load reads what is kept in memory of both, and checks that they belong together.
func (s *Store) load() error {
	if err := s.machine.load(); err != nil {
		return err
	}
	if err := s.raftLog.load(); err != nil {
		return err
	}
	if err := s.reconcile(); err != nil {
		return err
	}
	return s.verify(s.reached.index)
}

// reconcile compares where the state stands with what the log holds:
//
//	base <= applied <= last   usual: applied+1..last is applied again, as far as it is committed
//	applied > last            the state came by a snapshot: it wins, and the log begins after it
//	applied < base            entries that the state lacks are gone: damage
func (s *Store) reconcile() error {
	applied := s.reached
	switch {
	case applied.term > s.restored.HardState.Term:
		return corrupt("the hard state", "its term is %d, and an entry of term %d was applied",
			s.restored.HardState.Term, applied.term)
	case applied.index < s.base.meta.Pos.Index:
		return corrupt("the state", "entries up to %d are applied, and the log begins after %v",
			applied.index, s.base.meta.Pos)
	case applied.index <= s.last.Index:
		if term := s.termAt(applied.index); term != applied.term {
			return corruptEntry(applied.index, "its term is %d, and one of term %d was applied",
				term, applied.term)
		}
		return nil
	}
	if err := s.reset(raftcore.SnapshotMeta{
		Pos:   raftcore.Pos{Index: applied.index, Term: applied.term},
		Stamp: applied.stamp, Config: s.config, ConfigIndex: s.configIndex,
	}); err != nil {
		return err
	}
	s.restored = raftcore.Restored{HardState: s.restored.HardState, Commit: s.restored.Commit}
	return s.raftLog.load()
}

// Close makes everything durable and closes both databases. After a failure it touches nothing, and
// returns what failed.
func (s *Store) Close() error {
	if err := s.fuse.err(); err != nil {
		return err
	}
	return errors.Join(s.machine.close(), s.raftLog.db.Close())
}
