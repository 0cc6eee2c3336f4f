package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store/op"
)

func TestFacts(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	r.s.limits.onceEntriesMax = 2
	short := put("short", "v")
	short.TTL, short.Time = op.TTLAfter, 10
	r.do(short)
	r.do(put("long", "v"))
	check := func(expired, once uint64) {
		t.Helper()
		if f := r.s.Facts(); f.ExpiredKeys != expired || f.OnceEntries != once {
			t.Errorf("facts %+v, want %d expired and %d once", f, expired, once)
		}
	}
	check(0, 0)
	r.stamp += 10
	r.do(op.Op{Code: op.CodePurge, Delta: 10})
	r.do(op.Op{Code: op.CodePurge, Delta: 10})
	check(1, 0)
	once := op.Op{Code: op.CodeOnce, Client: []byte("c"), Inner: short.Append(nil)}
	for id := range uint64(4) {
		once.Request = id + 1
		r.do(once)
		check(1, min(id+1, 2))
	}
	memory := r.s.Facts().MemtableBytes
	if memory == 0 {
		t.Error("memtables of no size")
	}
	r.reopen()
	check(0, 2)
	getText(t, r.s.View(false), 0, "long")
	if r.s.Facts().BlockCacheBytes == 0 {
		t.Error("a block that was read is not in the cache")
	}
	r.must(r.s.Close())
}
