package store

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"runtime"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Store is the two databases of one node. Its methods are those of node.Storage, which says who may
// call them when: the log's (Restored, Write, Entries, Compact, LogBytes), the machine's, and those
// of snapshots.
type Store struct {
	*raftLog
	*machine
	fuse    *fuse
	dir     string
	options *Options
	fs      *stopFS // what the databases see of the disk

	installed installed     // the state in force; belongs to who calls Install
	installs  atomic.Uint64 // its number, for everybody
	cache     *pebble.Cache
	retiring  *retiring
	snapshots snapshots
	staging   staging
}

// Open opens or creates the databases in dir and brings them in line with each other. Nothing is
// promised before it returns, so its errors are plain ones: a CorruptError if the disk returned
// something else than was written to it.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{fuse: newFuse(o.Fatal), dir: dir, options: &o, cache: o.stateCache()}
	s.snapshots.dir = o.FS.PathJoin(dir, snapshotsDir)
	s.snapshots.list = map[uint64]snapshot{}
	s.fs = &stopFS{FS: o.FS, fuse: s.fuse, apart: s.snapshots.dir}
	s.retiring = &retiring{fs: o.FS, logger: o.Logger}
	if err := s.open(); err != nil {
		s.cache.Unref()
		return nil, err
	}
	s.fuse.armed.Store(true)
	return s, s.fuse.err()
}

func (s *Store) open() error {
	logCache := s.options.logCache()
	defer logCache.Unref() // the database holds it
	logOptions := func() *pebble.Options { return s.options.logOptions(s.fs, logCache) }
	logDB, err := openDB(s.options.FS, s.dir, logDir, logOptions)
	if err != nil {
		return err
	}
	stateDB, err := s.openState()
	if err != nil {
		return errors.Join(err, logDB.Close())
	}
	s.machine = newMachine(stateDB, s.fuse, formatLimits())
	s.raftLog = &raftLog{db: logDB, fuse: s.fuse, options: s.options, durable: s.DurableApplied}
	if err := s.load(); err != nil {
		return errors.Join(err, s.batch.Close(), stateDB.db.Close(), logDB.Close())
	}
	return nil
}

// openState opens the state that counts, and removes what does not.
func (s *Store) openState() (*database, error) {
	fs := s.options.FS
	in, err := findState(fs, s.dir)
	if err != nil {
		return nil, err
	}
	if err := removeLeftovers(fs, s.dir, &in); err != nil {
		return nil, err
	}
	s.installed = in
	s.installs.Store(in.number)
	db, err := openDB(fs, s.dir, in.stateName(), s.stateOptions)
	if err != nil {
		return nil, err
	}
	return newDatabase(db, s.options, fs.PathJoin(s.dir, in.stateName()), s.retiring), nil
}

func (s *Store) stateOptions() *pebble.Options { return s.options.stateOptions(s.fs, s.cache) }

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
	if err := errors.Join(checkManifest(fs, path), checkWAL(fs, path)); err != nil {
		return nil, err
	}
	o := options()
	o.ErrorIfNotExists = true // an empty directory is damage, and no reason to begin anew
	db, err := openPebble(path, o)
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, pebble.ErrDBDoesNotExist) {
		return nil, corruptFile(path, err)
	}
	return db, err
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
	return syncDir(fs, dir)
}

// openPebble opens a database.
func openPebble(path string, o *pebble.Options) (db *pebble.DB, err error) {
	err = withoutPanic(func() (err error) {
		db, err = pebble.Open(path, o)
		return err
	})
	switch {
	case err == nil:
		return db, nil
	case pebble.IsCorruptionError(err):
		return nil, corruptFile(path, err)
	}
	return nil, fmt.Errorf("open database %s: %w", path, err)
}

// withoutPanic returns what Pebble panics with where it cannot return a failed file operation.
func withoutPanic(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			panic(p)
		case error:
			err = p
		default:
			panic(p)
		}
	}()
	return f()
}

// load reads what is kept in memory of both, and checks that they belong together.
func (s *Store) load() error {
	if err := s.machine.load(); err != nil {
		return err
	}
	s.publish()
	if err := s.raftLog.load(); err != nil {
		return err
	}
	if err := s.reconcile(); err != nil {
		return err
	}
	if err := s.keepIncoming(); err != nil {
		return err
	}
	return s.verify(s.reached.index)
}

// Close makes everything durable and closes both databases. After a failure it touches nothing, and
// returns what failed.
func (s *Store) Close() error {
	if err := s.fuse.err(); err != nil {
		return err
	}
	err := errors.Join(s.staging.close(), s.machine.close(), s.raftLog.db.Close())
	s.retiring.finish()
	s.cache.Unref()
	return err
}
