package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store/op"
)

// TestTableAgainstAMap: a table knows what was put last, in place or not, and in the end holds each
// key once.
func TestTableAgainstAMap(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		x := &table{}
		model := map[string]string{} // "-": deleted
		for i := range 8000 {
			key := placeOf(0, fmt.Append(nil, "key", random.IntN(2000))).append(nil)
			hash := hashOf(key)
			switch random.IntN(6) {
			case 0:
				x.put(hash, key, nil, true)
				model[string(key)] = "-"
			case 1, 2, 3:
				value := strings.Repeat("v", random.IntN(1+random.IntN(40)))
				x.put(hash, key, []byte(value), false)
				model[string(key)] = value
			default:
				got, k := x.get([]byte("+"), hash, key)
				want, is := model[string(key)]
				switch {
				case !is && k == askPebble, want == "-" && k == isAbsent:
				case is && k == isPresent && string(got) == "+"+want:
				default:
					t.Fatalf("seed %d: %x is %q (%d), want %q (%v)", seed, key, got, k, want, is)
				}
			}
			if i == 3000 {
				x.reset()
				clear(model)
			}
		}
		found := 0
		for at := 0; at < len(x.data); {
			r, next := x.record(at)
			if !r.dead {
				want := model[string(r.key)]
				if r.deleted != (want == "-") || !r.deleted && string(r.value) != want {
					t.Fatalf("seed %d: %x is %q, want %q", seed, r.key, r.value, want)
				}
				found++
			}
			at = next
		}
		if found != len(model) || found != x.live {
			t.Errorf("seed %d: %d records and %d live, want %d", seed, found, x.live, len(model))
		}
	}
}

// TestTableKeepsItsMemory: a table that is filled as usual gets its memory once, and one that a
// large batch has made larger gives it back.
func TestTableKeepsItsMemory(t *testing.T) {
	const usual = 64 << 10
	x := &table{usual: usual}
	fill := func(bytes int) {
		for n := 0; len(x.data) < bytes; n++ {
			key := placeOf(0, fmt.Append(nil, "key", n)).append(nil)
			x.put(hashOf(key), key, make([]byte, 100), false)
		}
	}
	fill(usual)
	bytes, refs := &x.data[0], &x.refs[0]
	for range 3 {
		x.reset()
		fill(usual)
	}
	if &x.data[0] != bytes || &x.refs[0] != refs {
		t.Error("a table that was filled as usual has other memory afterwards")
	}
	first := cap(x.data)
	if first > 2*usual {
		t.Errorf("%d bytes of memory for %d", first, usual)
	}
	fill(3 * usual)
	x.reset()
	if fill(1); cap(x.data) != first {
		t.Errorf("%d bytes after a large batch, want %d", cap(x.data), first)
	}
}

// TestSettlementIsInOrder: Pebble takes a large batch that is in order for nothing, and sorts any
// other. Keys are of one database or of several, spread, of one slot, or of one prefix; and one
// settling does all of it in turn.
func TestSettlementIsInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	s := &settling{}
	for _, size := range []int{0, 1, 5, 200, 2000, 70_000} {
		for _, databases := range []int{1, 3, op.Databases} {
			for _, shift := range []int{0, 14, 58, 63} { // of the prefix
				if size > 2000 && shift > 0 {
					continue // tables are made for hashes
				}
				x := drawTable(random, size, databases, shift)
				if err := checkSorted(s, x); err != nil {
					t.Errorf("%d keys of %d databases, shift %d: %v", size, databases, shift, err)
				}
			}
		}
	}
}

func drawTable(random *rand.Rand, size, databases, shift int) *table {
	x := &table{}
	for i := range size {
		key := place{db: uint8(op.Databases - 1 - random.IntN(databases)),
			prefix: random.Uint64() >> (i % 2 * shift), key: fmt.Append(nil, i)}.append(nil)
		x.put(hashOf(key), key, nil, i%5 == 0)
	}
	for _, id := range []uint64{7, 6} {
		x.put(hashOf(sysKey(sysOrigin, id)), sysKey(sysOrigin, id), []byte("o"), false)
	}
	return x
}

func checkSorted(s *settling, x *table) error {
	s.sort(x)
	if len(s.sorted) != x.live {
		return fmt.Errorf("%d records, want %d", len(s.sorted), x.live)
	}
	last := ""
	for i := range s.sorted {
		r, _ := x.record(int(s.sorted[i].at))
		if string(r.key) <= last {
			return fmt.Errorf("%x comes after %x", r.key, last)
		}
		last = string(r.key)
	}
	return nil
}

// TestBatchesAreSeenAsAWhole: two keys that are always written together, in one batch, are never
// seen apart by live reads of one and then the other, while tables change places, are settled, and
// batches pass them by.
func TestBatchesAreSeenAsAWhole(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	r.must(r.commit(nil, r.proposal(put("a", "00000"), put("b", "00000"))))
	var readers sync.WaitGroup
	stop := make(chan struct{})
	look := func(stable bool) error {
		view := r.s.View(stable)
		defer view.Close()
		first, err := view.Get(0, []byte("a"), nil)
		if err != nil {
			return err
		}
		second, err := view.Get(0, []byte("b"), nil)
		if string(second.Bytes) < string(first.Bytes) || stable && string(second.Bytes) > string(first.Bytes) {
			return fmt.Errorf("b is %s after a was %s (stable: %v)", second.Bytes, first.Bytes, stable)
		}
		return err
	}
	for reader := range 3 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := look(reader == 0); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		value := fmt.Sprintf("%05d", i)
		ops := []op.Op{put("b", value), put(fmt.Sprint("other", random.IntN(300)), value), put("a", value)}
		switch random.IntN(12) {
		case 0: // passes the tables by
			ops = append(ops, op.Op{Code: op.CodePut, Key: []byte("t"), Value: []byte("x"),
				TTL: op.TTLAfter, Time: 1000})
		case 1: // too large for them
			ops = append(ops, put("large", strings.Repeat("x", 4<<10)))
		}
		r.must(r.commit(nil, r.proposal(ops...)))
	}
	close(stop)
	readers.Wait()
	r.must(r.s.Close())
}

// TestGetAllocatesNothing: wherever a key is found in memory, or is known to be absent.
func TestGetAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	d := r.s.machine.state
	r.do(put("row", "value"))
	r.must(d.settle())
	view := r.s.View(false)
	getText(t, view, 0, "row")
	getText(t, view, 0, "no row")
	view.Close()
	r.must(r.commit(nil, r.proposal(put("gathered", "value"),
		op.Op{Code: op.CodeTake, Key: []byte("row"), DB: 1})))
	buf := make([]byte, 0, 64)
	for _, of := range []struct {
		key  string
		want int
	}{{"row", 5}, {"no row", 0}, {"gathered", 5}} {
		key, bytes := []byte(of.key), 0
		if _, k := d.recent(nil, placeOf(0, key).prefix, placeOf(0, key).append(nil)); k == askPebble {
			t.Errorf("%s: Pebble has to be asked", of.key)
		}
		allocs := testing.AllocsPerRun(100, func() {
			v := r.s.View(false)
			value, err := v.Get(0, key, buf)
			r.must(err)
			v.Close()
			bytes = len(value.Bytes)
		})
		if allocs != 0 || bytes != of.want {
			t.Errorf("%s: %v allocations for %d bytes, want 0 for %d", of.key, allocs, bytes, of.want)
		}
	}
	r.must(r.s.Close())
}

// TestNobodyReads: rows are not filled before anybody has looked, nor when nobody has for a while,
// and are filled otherwise, with what is so then.
func TestNobodyReads(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	filled := func() (n int) {
		for i := range r.s.machine.state.rows.shards {
			n += len(r.s.machine.state.rows.shards[i].ring)
		}
		return n
	}
	write := func(value string) {
		r.must(r.commit(nil, r.proposal(put("k", value))))
		r.must(r.s.machine.state.settle())
	}
	check := func(want string) {
		t.Helper()
		view := r.s.View(false)
		got, err := view.Get(0, []byte("k"), nil)
		view.Close()
		if r.must(err); string(got.Bytes) != want {
			t.Errorf("k is %s, want %s", got.Bytes, want)
		}
	}
	inner := put("once", "value")
	once := op.Op{Code: op.CodeOnce, Client: []byte("client"), Request: 1, Inner: inner.Append(nil)}
	if got := r.do(once); got != "ok" { // for which the machine looks at keys of its own
		t.Errorf("ONCE answers %s", got)
	}
	write("a")
	if filled() != 0 {
		t.Error("rows are filled although nobody has ever read them")
	}
	check("a")
	write("b")
	if filled() == 0 {
		t.Error("rows stay empty although somebody has read")
	}
	r.stamp += rowsIdleAfter
	write("b")
	if filled() == 0 {
		t.Error("rows are emptied too early")
	}
	r.stamp++
	write("b")
	if filled() != 0 {
		t.Error("rows are kept although nobody reads them")
	}
	check("b")
	r.must(r.commit(nil, r.proposal(op.Op{Code: op.CodePut, Key: []byte("k"), Value: []byte("t"),
		TTL: op.TTLAfter, Time: 1000}))) // passes the tables by
	check("t")
	for _, want := range []string{"c", "d", "e"} {
		write(want)
		check(want)
	}
	if filled() == 0 {
		t.Error("rows stay empty although somebody reads")
	}
	r.must(r.s.Close())
}
