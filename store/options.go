package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// Limits that decide results. They are part of the format and no options: two replicas with other
// values would answer differently, and fork.
const (
	// ValueBytesMax is how long a string may become. Beyond it APPEND fails with ErrTooLong.
	ValueBytesMax = 64 << 20
	// OnceTTLMillis is for how much log time the first reply of a ONCE is kept at least, unless
	// there are more than OnceEntriesMax of them.
	OnceTTLMillis = 60 * 60 * 1000
	// OnceEntriesMax is how many replies are kept in all. At the limit the oldest is dropped.
	OnceEntriesMax = 100_000
)

// limits carries those constants, so that tests can reach them in fewer steps.
type limits struct {
	valueBytesMax  int
	onceTTLMillis  uint64
	onceEntriesMax uint64
}

func formatLimits() limits { return limits{ValueBytesMax, OnceTTLMillis, OnceEntriesMax} }

// Options of a Store. Zero means the default.
type Options struct {
	FS     vfs.FS // the disk
	Logger zerolog.Logger

	// Fatal is called once, with the first failed write or sync, before anybody learns of it in
	// another way. It does not return in production: the process exits with 5 when the disk is
	// full, 65 when it returned damaged data, otherwise with 1. It may be called with locks of
	// Pebble held, so it must not call the Store.
	Fatal func(error)
	// Tables is told when work on tables begins, and when it ends, each of which takes a processor for
	// milliseconds at a time: what was gathered is settled, a memtable is written, or tables are
	// compacted. Several may overlap. It must not call the Store, nor wait.
	Tables func(begin bool)

	// LogMemTableBytes is the size of a memtable of log/. An entry is dead as soon as state/ has
	// flushed past it and nobody needs it any more, and then costs nothing if it was still in a
	// memtable. So this is some times StateMemTableBytes, after which state/ flushes. Default 64 MB.
	LogMemTableBytes int64
	// StateMemTableBytes is the size of a memtable of state/. Larger: overwritten values die in
	// memory; smaller: less to replay after a crash, and more of it in the processor's caches.
	// Default 16 MB.
	StateMemTableBytes int64
	// GatherBytes is how much is applied before Pebble gets it at once. Beyond half a memtable Pebble
	// takes it without sorting it in. Default 9/16 of StateMemTableBytes.
	GatherBytes int64
	// CacheBytes is the cache of uncompressed blocks of state/, beside its memtables. Default 128
	// MB.
	CacheBytes int64
	// RowBytes is for the records that were written last, which reads find there without a search.
	// At the limit the oldest are dropped. Default 128 MB.
	RowBytes int64
	// TailBytesMax bounds the entries that Restored holds in memory. Default 4 MB.
	TailBytesMax int
	// CompactBytesMin is how much of the log must be dead before Compact does anything: each
	// compaction leaves a range tombstone, and many small ones would cost more than they free.
	// Default 4 MB.
	CompactBytesMin int64
}

func (o Options) withDefaults() Options {
	setDefault(&o.LogMemTableBytes, 64<<20)
	setDefault(&o.StateMemTableBytes, 16<<20)
	setDefault(&o.GatherBytes, o.StateMemTableBytes*9/16)
	setDefault(&o.CacheBytes, 128<<20)
	setDefault(&o.RowBytes, 128<<20)
	setDefault(&o.TailBytesMax, 4<<20)
	setDefault(&o.CompactBytesMin, 4<<20)
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Fatal == nil {
		logger := o.Logger
		o.Fatal = func(err error) { exit(logger, err) }
	}
	if o.Tables == nil {
		o.Tables = func(bool) {}
	}
	return o
}

func setDefault[T int | int64](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Exit codes of a failed disk; the node documents all of them.
const (
	exitUnexpected = 1
	exitDiskFull   = 5
	exitCorrupt    = 65
)

// exit ends the process: what a failed write or sync left on the disk is known to nobody, so
// nothing may be answered after it, and no clean-up is worth a second attempt at the same disk.
func exit(logger zerolog.Logger, err error) {
	code := exitUnexpected
	var corrupt *CorruptError
	switch {
	case errors.Is(err, syscall.ENOSPC):
		code = exitDiskFull
	case errors.As(err, &corrupt):
		code = exitCorrupt
	}
	logger.Error().Err(err).Int("exit", code).
		Msg("storage failed: stopping before anything is answered")
	os.Exit(code)
}

// validate refuses what would not work, rather than bend it.
func (o *Options) validate() error {
	for _, size := range []struct {
		name  string
		value int64
		min   int64
	}{
		{"LogMemTableBytes", o.LogMemTableBytes, 256 << 10},
		{"StateMemTableBytes", o.StateMemTableBytes, 256 << 10},
		{"GatherBytes", o.GatherBytes, 1},
		{"CacheBytes", o.CacheBytes, 1 << 20},
		{"TailBytesMax", int64(o.TailBytesMax), 1},
		{"CompactBytesMin", o.CompactBytesMin, 1},
	} {
		if size.value < size.min {
			return fmt.Errorf("store: option %s is %d, and must be %d or more",
				size.name, size.value, size.min)
		}
	}
	return nil
}

// Pebble takes the size of every memtable off the cache's. So each database has its own cache, and
// that of state/ has room for the two memtables that it usually has: one that fills, one that is
// flushed. With one cache for both, the memtables of the log would leave no room for blocks, and a
// View.Get of one of a million keys would cost ten times as much (2.2 us of CPU with the cache, 25
// without).
func (o *Options) stateCache() *pebble.Cache {
	return pebble.NewCache(o.CacheBytes + 2*o.StateMemTableBytes)
}

// logCache holds next to nothing: entries are read once, in long runs.
func (o *Options) logCache() *pebble.Cache { return pebble.NewCache(logCacheBytes) }

const logCacheBytes = 1 << 20

// filterBitsPerKey is the size of the filters of state/.
const filterBitsPerKey = 10

// common is what both databases share.
func (o *Options) common(name string, fs *stopFS, cache *pebble.Cache) *pebble.Options {
	logger := o.Logger.With().Str("db", name).Logger()
	p := &pebble.Options{
		FS:     fs,
		Cache:  cache,
		Logger: &pebbleLogger{logger, fs.fuse},
		// The first format that tells a torn tail of the write-ahead log from damage before its
		// end. Raising it is one-way, so it is as low as that allows.
		FormatMajorVersion: pebble.FormatWALSyncChunks,
		EventListener:      listener(logger, fs.fuse, o.Tables),
		// A queue of memtables is the shock absorber of a slow disk; beyond it writes wait.
		MemTableStopWritesThreshold: 4,
		// Few, larger tables: fewer file handles and creations for the same bytes.
		TargetFileSizes: [7]int64{4 << 20},
		MaxOpenFiles:    2000,
	}
	// Reads must not start compactions: what a client reads would decide how fast others write.
	p.Experimental.ReadSamplingMultiplier = -1
	p.WithFSDefaults() // reports operations that take longer than 5 s
	return p
}

// openReadOnly looks at a state that is not in force: a snapshot, or what has arrived of one. What
// goes wrong is an error of it alone.
func (o *Options) openReadOnly(path string) (*pebble.DB, error) {
	cache := pebble.NewCache(logCacheBytes)
	defer cache.Unref()
	alone := newFuse(func(err error) { panic(err) }) // which openPebble returns
	p := o.stateOptions(&stopFS{FS: o.FS, fuse: alone}, cache)
	p.ReadOnly, p.ErrorIfNotExists, p.MaxOpenFiles = true, true, 100
	p.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
	return openPebble(path, p)
}

// logOptions are those of log/: written in order, synced, read almost never, dead soon.
func (o *Options) logOptions(fs *stopFS, cache *pebble.Cache) *pebble.Options {
	p := o.common("log", fs, cache)
	p.MemTableSize = uint64(o.LogMemTableBytes)
	// One that is written and one that is filled: these are large, and Pebble keeps one file more than
	// these for its write-ahead log, to use them again, each as large as a memtable.
	p.MemTableStopWritesThreshold = 2
	// Moving tables down rewrites what is about to be deleted, so it may wait. Reads do not suffer
	// from many tables, since entries come in key order and each is in one of them.
	p.L0CompactionThreshold = 8
	p.L0StopWritesThreshold = 1000
	p.LBaseMaxBytes = 256 << 20
	// The values are checked and read once at most; compressing them costs more than their disk.
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings {
		return pebble.DBCompressionNone
	})
	// Blocks are read in long runs only, by a peer that is far behind.
	p.Levels[0].BlockSize = 32 << 10
	return p
}

// stateOptions are those of state/: random writes, random reads, no write-ahead log.
func (o *Options) stateOptions(fs *stopFS, cache *pebble.Cache) *pebble.Options {
	p := o.common("state", fs, cache)
	p.DisableWAL = true // the Raft log is one
	p.MemTableSize = uint64(o.StateMemTableBytes)
	// Keys are spread by a hash, so every flush overlaps everything, and each compaction rewrites
	// what is below. Waiting for four flushes instead of two takes a fifth off the CPU of a SET (1.8
	// against 2.2 us, compactions included), for a fifth more disk; the two tables more that a read
	// may look at are passed over by their filters, at no cost that could be measured. Waiting for
	// eight saves nothing under load, when compactions are behind and take more tables anyway, and
	// makes reads that Pebble has to be asked for a fifth dearer. Stop late: a stall of the applier
	// is a stall of every client.
	p.L0CompactionThreshold = 4
	p.L0StopWritesThreshold = 40
	p.LBaseMaxBytes = 64 << 20
	p.CompactionConcurrencyRange = func() (int, int) { return 1, 2 }
	// Snappy halves typical values for less than a read of the bytes it saves; zstd costs several
	// times more of what all three nodes pay.
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings {
		return pebble.DBCompressionFastest
	})
	for i := range p.Levels {
		// Ten bits a key spare 99 of 100 reads of a table that does not have the key: SET NX, INCR
		// of a new key, and every level above the one that has it.
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBitsPerKey)
		p.Levels[i].BlockSize = 8 << 10
		p.Levels[i].IndexBlockSize = 64 << 10
	}
	return p
}
