package store

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/store/op"
)

// mustRetire checks which nodes have left for good, and that they have left nothing else behind.
func mustRetire(t *testing.T, s *Store, want ...op.Retired) {
	t.Helper()
	got, err := s.Retired()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("retired %+v, %v, want %+v", got, err, want)
	}
	members, err := s.Members()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range want {
		if boot, seq, ok := s.OriginOf(r.ID); ok {
			t.Errorf("%x is retired, and its origin record is %d/%d", r.ID, boot, seq)
		}
		for _, m := range members {
			if m.ID == r.ID {
				t.Errorf("%x is retired, and its member record is %+v", r.ID, m)
			}
		}
	}
}

func member(id uint64, name string) op.Op {
	return op.Op{Code: op.CodeMember, Member: op.Member{ID: id, Name: name, PeerAddr: "there:1"}}
}

// Who leaves the configuration leaves a record of that, and nothing else: as a voter, who leaves
// with the joint half, as a learner, who leaves at once, and by being replaced.
func TestRetiredNodes(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	config := func(c raftcore.Config) raftcore.Entry {
		return r.entry(raftcore.EntryConfig, raftcore.EncodeConfig(c))
	}
	ids := func(ids ...raftcore.NodeID) []raftcore.NodeID { return ids }
	proposed := func(origin uint64) raftcore.Entry {
		return r.entry(raftcore.EntryNormal, encodeProposal(origin, 4, 1, put("k", "v")))
	}
	// A member is recorded before it is one, and nothing that happens meanwhile retires it.
	r.must(r.commit(nil, r.proposal(member(0xb2, "n2"), member(0xc3, "n3")),
		config(raftcore.Config{Voters: ids(self), Learners: ids(0xb2)}), proposed(0xb2),
		config(raftcore.Config{Voters: ids(self), Learners: ids(0xb2, 0xc3)}), proposed(0xc3)))
	mustRetire(t, r.s)
	if boot, seq, ok := r.s.OriginOf(0xc3); boot != 4 || seq != 1 || !ok {
		t.Errorf("the origin record is %d/%d, %v", boot, seq, ok)
	}
	// A voter that is being removed is in the joint configuration still.
	r.must(r.commit(nil,
		config(raftcore.Config{Voters: ids(self, 0xb2), OldVoters: ids(self), Learners: ids(0xc3)}),
		config(raftcore.Config{Voters: ids(self, 0xb2), Learners: ids(0xc3)}),
		config(raftcore.Config{Voters: ids(self), OldVoters: ids(self, 0xb2), Learners: ids(0xc3)})))
	mustRetire(t, r.s)
	r.reopen()
	leave := config(raftcore.Config{Voters: ids(self), Learners: ids(0xc3)})
	r.must(r.commit(nil, leave))
	left := op.Retired{ID: 0xb2, Name: "n2", Index: uint64(leave.Index)}
	mustRetire(t, r.s, left)
	// A learner has no part in quorums, and leaves at once. Its record is of the same batch.
	last := r.proposal(member(0xc3, "n3 renamed"))
	gone := config(raftcore.Config{Voters: ids(self)})
	r.must(r.commit(nil, last, gone))
	learner := op.Retired{ID: 0xc3, Name: "n3 renamed", Index: uint64(gone.Index)}
	mustRetire(t, r.s, left, learner)
	// What they had on the way comes too late, in this batch and in later ones.
	r.must(r.commit(nil, r.proposal(member(0xb2, "n2 again")), proposed(0xb2)))
	r.reopen()
	r.must(r.commit(nil, r.proposal(member(0xc3, "n3 again")), proposed(0xc3)))
	mustRetire(t, r.s, left, learner)
	// Who never had a name is retired as well.
	r.must(r.commit(nil, config(raftcore.Config{Voters: ids(self), Learners: ids(0xd4)})))
	unnamed := config(raftcore.Config{Voters: ids(self)})
	r.must(r.commit(nil, unnamed))
	want := []op.Retired{left, learner, {ID: 0xd4, Index: uint64(unnamed.Index)}}
	mustRetire(t, r.s, want...)
	r.reopen()
	mustRetire(t, r.s, want...)
	if boot, seq, ok := r.s.OriginOf(uint64(self)); boot != 1 || seq != r.seq || !ok {
		t.Errorf("the own origin record is %d/%d, %v, want 1/%d", boot, seq, ok, r.seq)
	}
	if _, _, ok := r.s.OriginOf(0xe5); ok {
		t.Error("a node that never was has an origin record")
	}
	r.must(r.s.Close())
}

// Entries that are not there are no failure when they were compacted, cut off, or replaced by a
// snapshot; where none of that happened they are.
func TestEntriesThatMayBeMissing(t *testing.T) {
	x := newSent(t)
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 30)
	r.must(flushed(r.s))
	r.must(r.s.Compact(10))
	check := func(first, last raftcore.Index, compacted bool) {
		t.Helper()
		_, err := r.s.Entries(raftcore.Range{First: first, Last: last}, 1<<20)
		if err == nil || errors.Is(err, op.ErrCompacted) != compacted {
			t.Errorf("%d..%d: %v, want compacted: %v", first, last, err, compacted)
		}
	}
	check(5, 12, true)
	check(25, 31, true) // beyond the end: never asked for, unless it was there
	cut := r.entry(raftcore.EntryNoop, nil)
	cut.Pos = raftcore.Pos{Term: 2, Index: 29}
	wait, err := r.s.Write(&raftcore.Write{TruncateFrom: 29, Append: []raftcore.Entry{cut}, Sync: true})
	r.must(err)
	r.must(wait())
	check(25, 30, true)
	r.must(r.s.raftLog.db.Delete(logKeyAt(logEntry, 20), nil))
	check(15, 25, false)
	check(20, 20, false)
	r.must(x.install(r.s))
	check(15, 25, true)
	check(29, 29, true)
	check(x.meta.Pos.Index, x.meta.Pos.Index, true)
	r.must(r.s.Close())
}

// A reader whose entries go while it reads is told that, and never that the log is damaged.
func TestEntriesWhileTheLogShrinks(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	fill(r, 100)
	r.must(flushed(r.s))
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for seed := range uint64(2) {
		readers.Add(1)
		go func() {
			defer readers.Done()
			random := rand.New(rand.NewPCG(seed, 4))
			for {
				select {
				case <-stop:
					return
				default:
				}
				first := raftcore.Index(1 + random.IntN(100))
				entries, err := r.s.Entries(raftcore.Range{First: first, Last: 100}, 1<<20)
				if err != nil && !errors.Is(err, op.ErrCompacted) {
					t.Errorf("from %d on: %v", first, err)
				}
				if err == nil && len(entries) != 101-int(first) {
					t.Errorf("from %d on: %d entries", first, len(entries))
				}
			}
		}()
	}
	for n := range raftcore.Index(60) {
		r.must(r.s.Compact(n))
		cut := r.entry(raftcore.EntryNoop, nil)
		cut.Term, cut.Index = raftcore.Term(2+n), 90
		w := raftcore.Write{TruncateFrom: 90, Append: []raftcore.Entry{cut}, Sync: true}
		for range n % 12 {
			next := w.Append[len(w.Append)-1]
			next.Index++
			w.Append = append(w.Append, next)
		}
		wait, err := r.s.Write(&w)
		r.must(err)
		r.must(wait())
	}
	close(stop)
	readers.Wait()
	r.must(r.s.Close())
}

// CompactTarget is the smallest index after which no more than so many bytes remain, whatever was
// compacted and cut off before.
func TestCompactTarget(t *testing.T) {
	seed := uint64(8)
	random := rand.New(rand.NewPCG(seed, 1))
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	if got := r.s.CompactTarget(0); got != 1 {
		t.Errorf("of one entry %d may go", got)
	}
	for range 100 {
		r.must(r.commit(nil, r.proposal(put("k", string(make([]byte, random.IntN(500)))))))
	}
	r.must(flushed(r.s))
	check := func() {
		t.Helper()
		all, err := r.s.Entries(raftcore.Range{First: r.s.base.meta.Pos.Index + 1, Last: r.last.Index}, 1<<30)
		r.must(err)
		after := make([]int64, len(all)+1) // bytes of the entries from all[i] on
		for i := len(all) - 1; i >= 0; i-- {
			after[i] = after[i+1] + int64(entryValueSize(&all[i])-linkBytes)
		}
		if after[0] != r.s.LogBytes() {
			t.Fatalf("%d bytes, and LogBytes is %d", after[0], r.s.LogBytes())
		}
		for range 300 {
			keep := random.Int64N(after[0]+2000) - 500
			want := raftcore.Index(0)
			for i := range all {
				if after[i] > keep {
					want = all[i].Index
				}
			}
			if got := r.s.CompactTarget(keep); got != want {
				t.Fatalf("seed %d: to keep %d of %d bytes %d may go, want %d",
					seed, keep, after[0], got, want)
			}
		}
		for i := range all {
			if got := r.s.CompactTarget(after[i+1]); got != all[i].Index && i+1 < len(all) {
				t.Fatalf("exactly %d: %d, want %d", after[i+1], got, all[i].Index)
			}
		}
	}
	check()
	r.must(r.s.Compact(37))
	check()
	r.reopen()
	check()
	r.must(r.s.Compact(r.last.Index))
	if got := r.s.CompactTarget(0); got != 0 {
		t.Errorf("of an empty log %d may go", got)
	}
	r.must(r.s.Close())
}
