package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// fuse is the one way in which storage fails: once, and for good.
//
// After a failed sync nobody knows what is on the disk: the kernel may have dropped the pages, and
// the next sync then succeeds without them. So there is no second attempt. The first failed write
// or sync calls Options.Fatal, from the very file operation that failed and before Pebble learns
// of it: in production the process ends there, and nothing can have been answered on the strength
// of what was lost. Where Fatal returns, in tests, every later call of the Store fails with the
// same error.
type fuse struct {
	fatal func(error)
	// armed is set when Open has succeeded. Before it nothing was promised, and Open returns its
	// errors as any other function does.
	armed atomic.Bool
	blown atomic.Pointer[error]
	dead  chan struct{} // closed when it is blown
}

func newFuse(fatal func(error)) *fuse { return &fuse{fatal: fatal, dead: make(chan struct{})} }

// blow reports a failure. It returns the first one.
func (f *fuse) blow(err error) error {
	if f.blown.CompareAndSwap(nil, &err) {
		close(f.dead)
		f.fatal(err)
	}
	return f.err()
}

// err is the failure, or nil while there was none.
func (f *fuse) err() error {
	if err := f.blown.Load(); err != nil {
		return *err
	}
	return nil
}

// failed passes the error of a file operation on, after blowing the fuse.
func (f *fuse) failed(what, name string, err error) error {
	if err != nil && f.armed.Load() {
		_ = f.blow(fmt.Errorf("%s %s: %w", what, name, err))
	}
	return err
}

// stopFS blows the fuse at the first file operation that fails and that durability rests on. What
// may fail is left to Pebble: reads, which it reports; links, which it replaces by copies; removals
// and preallocation, which are only tidiness.
//
// Snapshots are apart: they are made of links and copies, no promise rests on them, and who cannot
// take one goes on without.
type stopFS struct {
	vfs.FS
	fuse  *fuse
	apart string // the directory that snapshots are taken in
}

func (s *stopFS) Unwrap() vfs.FS { return s.FS }

func (s *stopFS) wrap(f vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, s.failed("create", name, err)
	}
	if s.isApart(name) {
		return f, nil
	}
	return &stopFile{f, s.fuse, name}, nil
}

func (s *stopFS) isApart(name string) bool {
	return s.apart != "" && strings.HasPrefix(name, s.apart)
}

// failed passes the error of an operation on, after blowing the fuse.
func (s *stopFS) failed(what, name string, err error) error {
	if s.isApart(name) {
		return err
	}
	return s.fuse.failed(what, name, err)
}

// Create creates a file. A marker is a file whose name says which MANIFEST is in force. Pebble
// creates the next one, removes the last one, and then syncs the directory. On a file system that
// keeps those changes apart a power cut may
//
//  1. keep the marker and lose the MANIFEST that it names, where nothing has synced the directory
//     in between, as without a write-ahead log; or
//  2. keep the removal of the last marker and lose the next one.
//
// Either way the database would be gone. So the directory is synced before a marker is created,
// and again before the last one can be removed.
func (s *stopFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasPrefix(s.PathBase(name), "marker.") {
		f, err := s.FS.Create(name, c)
		return s.wrap(f, name, err)
	}
	if err := syncDir(s, s.PathDir(name)); err != nil {
		return nil, err
	}
	f, err := s.FS.Create(name, c)
	if f, err = s.wrap(f, name, err); err != nil {
		return nil, err
	}
	if err := syncDir(s, s.PathDir(name)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (s *stopFS) OpenReadWrite(
	name string, c vfs.DiskWriteCategory, options ...vfs.OpenOption,
) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, options...)
	return s.wrap(f, name, err)
}

func (s *stopFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.ReuseForWrite(old, name, c)
	return s.wrap(f, name, err)
}

// OpenDir is how a directory is synced.
func (s *stopFS) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	return s.wrap(f, name, err)
}

func (s *stopFS) Rename(old, name string) error {
	return s.failed("rename to", name, s.FS.Rename(old, name))
}

func (s *stopFS) MkdirAll(name string, mode os.FileMode) error {
	return s.failed("create directory", name, s.FS.MkdirAll(name, mode))
}

type stopFile struct {
	vfs.File
	fuse *fuse
	name string
}

func (f *stopFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fuse.failed("write", f.name, err)
}

func (f *stopFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	return n, f.fuse.failed("write", f.name, err)
}

func (f *stopFile) Sync() error { return f.fuse.failed("sync", f.name, f.File.Sync()) }

func (f *stopFile) SyncData() error { return f.fuse.failed("sync", f.name, f.File.SyncData()) }

func (f *stopFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fuse.failed("sync", f.name, err)
}

// pebbleLogger gives Pebble's messages to ours.
type pebbleLogger struct {
	logger zerolog.Logger
	fuse   *fuse
}

func (l *pebbleLogger) Infof(format string, args ...any) { l.logger.Debug().Msgf(format, args...) }

func (l *pebbleLogger) Errorf(format string, args ...any) { l.logger.Error().Msgf(format, args...) }

// Fatalf never returns, which Pebble relies on: it goes on with broken structures otherwise. Where
// Fatal returns, in tests, the goroutine stays here with the locks that it holds.
func (l *pebbleLogger) Fatalf(format string, args ...any) {
	fatal := &fatalError{text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			fatal.cause = cause
		}
	}
	_ = l.fuse.blow(fatal)
	select {}
}

// fatalError is a message of Pebble's that keeps the error it was made from, so that a full disk is
// still told from a broken one.
type fatalError struct {
	text  string
	cause error
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.cause }

// backgroundError gives an error that Pebble has met by itself its class.
func backgroundError(err error) error {
	if pebble.IsCorruptionError(err) {
		return &CorruptError{What: "a database", Reason: err}
	}
	return fmt.Errorf("background work: %w", err)
}

// listener hears what Pebble does in the background. A flush or compaction that fails is retried by
// Pebble for ever while memory fills; and damage stays damage: both stop the node.
func listener(logger zerolog.Logger, f *fuse, tables func(begin bool)) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { _ = f.blow(backgroundError(err)) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = f.blow(corruptFile(info.Path, info.Details))
		},
		DiskSlow: func(info vfs.DiskSlowInfo) {
			logger.Warn().Str("operation", info.OpType.String()).Str("file", info.Path).
				Dur("took", info.Duration).Msg("disk is slow")
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			logger.Warn().Str("reason", info.Reason).Msg("writes wait for the disk")
		},
		WriteStallEnd:   func() { logger.Info().Msg("writes go on") },
		FlushBegin:      func(pebble.FlushInfo) { tables(true) },
		FlushEnd:        func(pebble.FlushInfo) { tables(false) },
		CompactionBegin: func(pebble.CompactionInfo) { tables(true) },
		CompactionEnd:   func(pebble.CompactionInfo) { tables(false) },
	}
}
