package store

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/store/op"
)

// mustCount compares what a view says with a look at every key that it shows.
func mustCount(t testing.TB, v *stableView, db uint8, what string) {
	t.Helper()
	keys, expires, err := v.Count(db)
	want, wantErr := countStored(v.snapshot, db, v.LogTime(), func([]byte) bool { return false })
	if err != nil || wantErr != nil || (tally{keys, expires}) != want {
		t.Errorf("%s: database %d at %d has %d keys, %d that expire, %v, and is said to have %d, %d, %v",
			what, db, v.position.index, want.keys, want.expires, wantErr, keys, expires, err)
	}
}

// Counts are exact in every view, old ones included, whatever was written, deleted, flushed or has
// expired since they were last asked for.
func TestCountsAreExact(t *testing.T) {
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 6))
		r := newReplica(t, smallOptions(t, vfs.NewMem()))
		var old []*stableView
		for step := range 150 {
			r.stamp += 1 + 7*(r.stamp%3)
			var ops []op.Op
			for range random.IntN(4) {
				o := drawOp(random)
				if random.IntN(3) == 0 {
					o = put(fmt.Sprint(random.IntN(3000)), "v")
				}
				ops = append(ops, o)
			}
			if len(ops) > 0 {
				r.must(r.commit(nil, r.proposal(ops...)))
			}
			v := r.s.View(true).(*stableView)
			what := fmt.Sprintf("seed %d, step %d", seed, step)
			for range random.IntN(4) {
				mustCount(t, v, uint8(random.IntN(3)), what)
			}
			if old = append(old, v); len(old) > 5 {
				i := random.IntN(len(old))
				mustCount(t, old[i], uint8(random.IntN(3)), what+", an old view")
				old[i].Close()
				old = append(old[:i], old[i+1:]...)
			}
			if step == 100 {
				for _, v := range old {
					v.Close()
				}
				old = nil
				r.reopen()
			}
		}
		for _, v := range old {
			v.Close()
		}
		r.must(r.s.Close())
	}
}

// Counting again looks at nothing that was not written to: here there is nothing to look with.
func TestCountsOfSlotsThatWereNotWritten(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 200)
	short := put("short", "v")
	short.TTL, short.Time = op.TTLAfter, 10
	r.do(short)
	d := r.s.state
	blind := func() (got tally, panicked bool) {
		defer func() { panicked = recover() != nil }()
		got, err := d.counts.count(nil, 0, *d.position.Load())
		r.must(err)
		return got, false
	}
	if _, panicked := blind(); !panicked {
		t.Error("counted without a look")
	}
	for range 2 {
		live := r.s.View(false)
		if keys, expires, err := live.Count(0); keys != 200 || expires != 1 || err != nil {
			t.Errorf("%d keys, %d that expire, %v", keys, expires, err)
		}
		live.Close()
		if got, panicked := blind(); panicked || got != (tally{200, 1}) {
			t.Errorf("%+v, looked: %v", got, panicked)
		}
	}
	if got, err := d.counts.count(r.s.machine.db, 9, *d.position.Load()); err != nil ||
		got != (tally{}) || d.counts.dbs[9].Load() != nil {
		t.Errorf("an empty database has %+v and memory for counts, %v", got, err)
	}
	r.must(r.commit(nil, r.entry(raftcore.EntryNoop, nil))) // of nobody's keys
	if got, panicked := blind(); panicked || got.keys != 200 {
		t.Errorf("%+v, looked: %v, and no key was written", got, panicked)
	}
	r.stamp += 10
	r.must(r.commit(nil, r.entry(raftcore.EntryNoop, nil)))
	if _, panicked := blind(); !panicked {
		t.Error("a key has expired, and nobody looked")
	}
	r.must(r.s.Close())
}

// Counting while entries are applied gives what the counted state has.
func TestCountsWhileApplying(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	var stop atomic.Bool
	var counters sync.WaitGroup
	for range 2 {
		counters.Add(1)
		go func() {
			defer counters.Done()
			for !stop.Load() {
				v := r.s.View(true).(*stableView)
				mustCount(t, v, 0, "while applying")
				v.Close()
			}
		}()
	}
	for n := range 400 {
		o := put(fmt.Sprint(n%90), "v")
		if n%3 == 0 {
			o = op.Op{Code: op.CodeDelete, Args: [][]byte{fmt.Append(nil, n%70)}}
		}
		if n%101 == 100 {
			o = op.Op{Code: op.CodeFlush, DB: 0}
		}
		r.must(r.commit(nil, r.proposal(o)))
	}
	stop.Store(true)
	counters.Wait()
	r.must(r.s.Close())
}
