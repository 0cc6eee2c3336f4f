package ceiling

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Sample is what a loop has shown.
type Sample struct {
	Count   int             // batches or writes, each with a sync
	Elapsed time.Duration   //
	Waits   []time.Duration // of each
}

// repeat runs a step until the time is over.
func repeat(ctx context.Context, length time.Duration, step func(i int) error) (Sample, error) {
	var s Sample
	begin := time.Now()
	for s.Elapsed < length && ctx.Err() == nil {
		before := s.Elapsed
		if err := step(s.Count); err != nil {
			return s, err
		}
		s.Count, s.Elapsed = s.Count+1, time.Since(begin)
		s.Waits = append(s.Waits, s.Elapsed-before)
	}
	return s, ctx.Err()
}

// SyncedBatches commits batches of so many entries of so many bytes under growing keys, each batch
// with a sync.
func SyncedBatches(ctx context.Context, dir string, entries, bytes int, length time.Duration) (
	s Sample, err error) {
	db, err := pebble.Open(filepath.Join(dir, fmt.Sprintf("pebble-%d", entries)), &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}, MemTableSize: 64 << 20})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var random rand.PCG
	key, value := make([]byte, 8), make([]byte, bytes)
	return repeat(ctx, length, func(i int) error {
		batch := db.NewBatch()
		for j := range entries {
			binary.BigEndian.PutUint64(key, uint64(i*entries+j))
			for at := 0; at+8 <= len(value); at += 8 {
				binary.LittleEndian.PutUint64(value[at:], random.Uint64())
			}
			if err := batch.Set(key, value, nil); err != nil {
				return errors.Join(err, batch.Close())
			}
		}
		return errors.Join(batch.Commit(pebble.Sync), batch.Close())
	})
}

// quiet keeps the database's remarks out of the table. What is fatal is still told.
type quiet struct{}

func (quiet) Infof(string, ...any)                {}
func (quiet) Errorf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (q quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Shape of the file of Syncs.
const (
	blockBytes = 4 << 10
	fileBlocks = 16 << 10 // 64 MiB, then from the start again
)

// Syncs writes blocks with a sync after each: to a file that grows, or to one that was filled
// before, whose size and extents do not change.
func Syncs(ctx context.Context, dir string, filled bool, length time.Duration) (s Sample,
	err error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, blockBytes)
	if filled {
		if err := fillFile(f); err != nil {
			return s, err
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	return repeat(ctx, length, func(i int) error {
		binary.LittleEndian.PutUint64(block[random.IntN(blockBytes-8):], random.Uint64())
		at := int64(i) * blockBytes
		if filled {
			at = int64(i%fileBlocks) * blockBytes
		}
		if _, err := f.WriteAt(block, at); err != nil {
			return err
		}
		return syncData(f)
	})
}

func fillFile(f *os.File) error {
	chunk := make([]byte, 1<<20)
	for at := int64(0); at < fileBlocks*blockBytes; at += int64(len(chunk)) {
		if _, err := f.WriteAt(chunk, at); err != nil {
			return err
		}
	}
	return f.Sync()
}
