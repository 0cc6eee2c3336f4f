package node

import (
	"context"
	"sync"
	"testing"

	"kelek/raftcore"
	"kelek/store/op"
)

// instantStorage costs next to nothing: what is left is the way of a submission through the node.
type instantStorage struct{ *fakeStorage }

func (s instantStorage) Write(*raftcore.Write) (func() error, error) {
	return func() error { return nil }, nil
}

func (s instantStorage) Apply(entries []raftcore.Entry, observers []op.Observer) error {
	for i, observer := range observers {
		if observer == nil {
			continue
		}
		var p op.Proposal
		if err := op.DecodeProposal(entries[i].Data, &p); err != nil {
			return err
		}
		result := op.Result{Kind: op.ResultOK}
		for j := range int(p.Count) {
			observer.Applied(j, &result, nil)
		}
	}
	return nil
}

// BenchmarkPropose is one node on an instant disk, each of so many connections with one command
// under way.
func BenchmarkPropose(b *testing.B) {
	for _, x := range []struct {
		name  string
		conns int
	}{{"conns=1", 1}, {"conns=50", 50}, {"conns=1000", 1000}} {
		b.Run(x.name, func(b *testing.B) { benchmarkPropose(b, x.conns) })
	}
}

func benchmarkPropose(b *testing.B, conns int) {
	n := startReal(b, instantStorage{newFakeStorage()}, nil)
	ops := (&op.Op{Code: op.CodeAdd, Key: []byte("k"), Delta: 1}).Append(nil)
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range conns {
		running.Add(1)
		go func() {
			defer running.Done()
			w := &waiter{done: make(chan error, 1)}
			s := op.Submission{Ops: ops, Count: 1, Sink: w}
			for range b.N/conns + min(1, max(0, b.N%conns-i)) {
				n.Propose(&s)
				if err := <-w.done; err != nil {
					b.Error(err)
				}
			}
		}()
	}
	running.Wait()
	b.StopTimer()
	if err := n.Stop(context.Background()); err != nil {
		b.Error(err)
	}
}
