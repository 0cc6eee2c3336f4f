package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// A bit that flips in a MANIFEST, before its last record, is never taken for a torn tail: Pebble
// would open what the database was some flushes ago. A torn tail is.
func TestDamagedManifest(t *testing.T) {
	mem := vfs.NewCrashableMem()
	r := newReplica(t, smallOptions(t, mem))
	for i := range 8 {
		r.must(r.commit(nil, r.proposal(put(fmt.Sprint("key", i), strings.Repeat("value", 10)))))
		for _, db := range []*pebble.DB{r.s.raftLog.db, r.s.current.Load().db} {
			r.must(db.Flush())
		}
	}
	image := func() *vfs.MemFS { return mem.CrashClone(vfs.CrashCloneCfg{}) }
	for _, dir := range []string{"data/log", "data/state"} {
		name, err := atomicfs.ReadMarker(mem, dir, manifestMarker)
		r.must(err)
		path := mem.PathJoin(dir, name)
		last, size := 0, 0
		editFile(t, image(), path, func(b []byte) []byte {
			last, size = bytes.LastIndex(b, lastManifestChunk(t, b)), len(b)
			return b
		})
		if last < 100 {
			t.Fatalf("%s: the last record is at %d", path, last)
		}
		for at := 0; at < size; at += 7 {
			fs := image()
			editFile(t, fs, path, func(b []byte) []byte {
				b[at] ^= 1 << (at % 8)
				return b
			})
			s, err := Open("data", smallOptions(t, fs))
			var corrupt *CorruptError
			switch {
			case err == nil && at >= last: // nothing vouches for it
				r.must(s.Close())
			case !errors.As(err, &corrupt):
				t.Errorf("%s, a bit at %d, the last record is at %d: %v", path, at, last, err)
			}
		}
		fs := image()
		editFile(t, fs, path, func(b []byte) []byte { return b[:last+3] })
		if err := checkManifest(fs, dir); err != nil {
			t.Errorf("a torn tail was taken for damage: %v", err)
		}
	}
	r.must(r.s.Close())
}

// lastManifestChunk is the last of the chunks that a MANIFEST consists of.
func lastManifestChunk(t *testing.T, b []byte) (chunk []byte) {
	t.Helper()
	for rest := b; len(rest) >= manifestHeaderBytes; {
		length, ok := validManifestChunk(rest)
		if !ok {
			t.Fatalf("the chunk at %d of %d is invalid", len(b)-len(rest), len(b))
		}
		chunk, rest = rest[:length], rest[length:]
	}
	return chunk
}
