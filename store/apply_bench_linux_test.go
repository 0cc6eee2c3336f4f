package store

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/store/op"
)

// BenchmarkApply sets random keys of a million, on a real disk, and tells what a SET costs on one
// node without the log: apply, settlement, flushes and compactions. Of the processor, not of time.
// A node that is read, at least now and then, fills its rows with what is written.
func BenchmarkApply(b *testing.B) {
	for _, with := range []struct {
		batch int
		read  bool
	}{{20, false}, {200, false}, {200, true}} {
		batch := with.batch
		b.Run(fmt.Sprintf("batch=%d,read=%v", batch, with.read), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			r := &replica{t: b, s: s, stamp: 1000}
			r.last.Term = 1
			r.must(s.Apply([]raftcore.Entry{r.configEntry(self)}, nil))
			random := rand.New(rand.NewPCG(1, 1))
			view := s.View(false)
			value := make([]byte, 64)
			before, applied := processorTime(b), 0
			for b.Loop() {
				ops := make([]op.Op, batch)
				for i := range ops {
					ops[i] = op.Op{Code: op.CodePut, Value: value,
						Key: fmt.Appendf(nil, "key:%012d", random.IntN(1_000_000))}
				}
				r.must(s.Apply([]raftcore.Entry{r.proposal(ops...)}, nil))
				if applied += batch; with.read {
					getText(b, view, 0, "no such key")
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(applied), "cpu-ns/set")
			view.Close()
			r.must(s.Close())
		})
	}
}

// BenchmarkFill writes the batch that Pebble gets of a usual settlement.
func BenchmarkFill(b *testing.B) {
	r := newReplica(b, smallOptions(b, vfs.NewMem()))
	random := rand.New(rand.NewPCG(1, 1))
	x := &table{usual: 9 << 20}
	for len(x.data) < x.usual {
		key := placeOf(0, fmt.Appendf(nil, "key:%012d", random.IntN(1_000_000))).append(nil)
		x.put(hashOf(key), key, make([]byte, 68), false)
	}
	s, c := &settling{}, &counts{}
	s.sort(x)
	before, filled := processorTime(b), 0
	for b.Loop() {
		batch := r.s.machine.db.NewBatchWithSize(len(x.data) + positionBytes)
		r.must(s.fill(batch, x, c))
		r.must(batch.Close())
		filled += len(s.sorted)
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(filled), "cpu-ns/set")
	r.must(r.s.Close())
}

func processorTime(t testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
