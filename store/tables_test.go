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
	for i := range 3 { // two flushes of the same key make a compaction worth its while
		for _, key := range []string{"k", "l"} { // more than GatherBytes with the second one
			r.do(put(key, strings.Repeat(string(rune('a'+i)), int(o.GatherBytes*2/3))))
		}
		r.must(flushed(r.s))
	}
	r.must(r.s.machine.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	r.must(r.s.Close())
	mu.Lock()
	defer mu.Unlock()
	if begun < 7 || under != 0 {
		t.Errorf("%d begun, %d not ended; want three settlements and flushes, and a compaction", begun,
			under)
	}
}
