package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store/op"
)

// A batch that is too large for a memtable is seen by the next one, whatever its size.
func TestBatchLargerThanMemtable(t *testing.T) {
	for _, kilobytes := range []int{60, 100, 120, 140, 200, 400, 1000} {
		r := newReplica(t, smallOptions(t, vfs.NewCrashableMem()))
		ops := []op.Op{put("first", "1")}
		for i := range kilobytes {
			ops = append(ops, put(fmt.Sprint("key", i), strings.Repeat("v", 1000)))
		}
		r.must(r.commit(nil, r.proposal(ops...)))
		add := op.Op{Code: op.CodeAdd, Key: []byte("first"), Delta: 1}
		if got := r.do(add); got != "2" {
			t.Errorf("after a batch of %d kB the sum is %s, wanted 2", kilobytes, got)
		}
		r.must(r.s.Close())
	}
}
