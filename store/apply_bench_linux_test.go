package store

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"kelek/raftcore"
	"kelek/store/op"
)

// BenchmarkApply sets random keys of a million, on a real disk, and tells what a SET costs on one
// node without the log: apply, settlement, flushes and compactions. Of the processor, not of time.
func BenchmarkApply(b *testing.B) {
	for _, batch := range []int{20, 200} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			r := &replica{t: b, s: s, stamp: 1000}
			r.last.Term = 1
			r.must(s.Apply([]raftcore.Entry{r.configEntry(self)}, nil))
			random := rand.New(rand.NewPCG(1, 1))
			value := make([]byte, 64)
			before, applied := processorTime(b), 0
			for b.Loop() {
				ops := make([]op.Op, batch)
				for i := range ops {
					ops[i] = op.Op{Code: op.CodePut, Value: value,
						Key: fmt.Appendf(nil, "key:%012d", random.IntN(1_000_000))}
				}
				r.must(s.Apply([]raftcore.Entry{r.proposal(ops...)}, nil))
				applied += batch
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(applied), "cpu-ns/set")
			r.must(s.Close())
		})
	}
}

func processorTime(t testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
