package store

import (
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Who asks is told of the begin and of the end of all work on tables.
func TestTellsOfWorkOnTables(t *testing.T) {
	var mu sync.Mutex
	var begun, under int
	o := smallOptions(t, vfs.NewMem())
	o.Tables = func(begin bool) {
		mu.Lock()
		defer mu.Unlock()
		if begin {
			begun++
			under++
		} else {
			under--
		}
	}
	r := newReplica(t, o)
	more := func(what string, work func()) {
		t.Helper()
		mu.Lock()
		before := begun
		mu.Unlock()
		work()
		mu.Lock()
		defer mu.Unlock()
		if begun == before {
			t.Errorf("nothing is told of %s", what)
		}
	}
	for range 2 {
		more("a settlement", func() {
			for _, key := range []string{"k", "l"} { // more than GatherBytes with the second one
				r.do(put(key, strings.Repeat("v", int(o.GatherBytes*2/3))))
			}
			r.must(r.s.machine.state.settle())
		})
		more("a flush", func() { r.must(r.s.machine.db.Flush()) })
	}
	// What there is to compact may have been compacted already, after the second flush.
	r.must(r.s.machine.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	r.must(r.s.Close())
	mu.Lock()
	defer mu.Unlock()
	if begun < 5 || under != 0 {
		t.Errorf("%d begun, %d of them have no end; want two settlements, two flushes and a compaction",
			begun, under)
	}
}
