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

// TestRowShardAgainstAMap: what a shard returns is what was put last, or that there is nothing,
// whatever was dropped, overwritten in place, or pushed out by a full ring and full sets.
func TestRowShardAgainstAMap(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := rowShard{bytesMax: ringBytesMin << (seed % 4)}
		model := map[string]string{} // "-": absent
		hits := 0
		for i := range 20_000 {
			key := fmt.Sprint("key", random.IntN(1500))
			hash := hashOf([]byte(key)) >> (seed % 3 * 20) // few bits: sets and tags collide
			switch random.IntN(9) {
			case 0:
				s.drop(hash, []byte(key))
				delete(model, key)
			case 1:
				s.keep(hash, []byte(key), nil, true)
				model[key] = "-"
			case 2, 3, 4:
				value := strings.Repeat(key[3:], random.IntN(1+random.IntN(60)))
				s.keep(hash, []byte(key), []byte(value), false)
				model[key] = value
			default:
				got, k := s.get([]byte("+"), hash, []byte(key))
				want, is := model[key]
				switch {
				case k == askPebble:
				case k == isAbsent && want == "-", k == isPresent && is && string(got) == "+"+want:
					hits++
				default:
					t.Fatalf("seed %d: %s is %q (%d), want %q (%v)", seed, key, got, k, want, is)
				}
			}
			if i < 10_000 && random.IntN(4000) == 0 {
				s.reset()
				model = map[string]string{}
			}
		}
		if len(s.ring) != s.bytesMax || hits < 50 {
			t.Errorf("seed %d: ring of %d bytes, want %d; %d hits", seed, len(s.ring), s.bytesMax, hits)
		}
	}
}

// TestRowsNeverGoBack: readers of live views, which find most in the rows, and of stable ones, which
// read the database, see a counter grow, whoever looks: what one of them has seen, a view that is
// opened later shows.
func TestRowsNeverGoBack(t *testing.T) {
	o := smallOptions(t, vfs.NewMem())
	o.GatherBytes = 32 << 10
	r := newReplica(t, o)
	const keys = 8
	rounds := 300
	if testing.Short() || raceEnabled {
		rounds = 100
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	var seen [keys]int64
	look := func(stable bool, k int) error {
		mu.Lock()
		least := seen[k]
		mu.Unlock()
		view := r.s.View(stable)
		defer view.Close()
		value, err := view.Get(0, []byte{byte(k)}, nil)
		if err != nil || value.Type == op.TypeNone {
			return err
		}
		var n int64
		if _, err := fmt.Sscan(string(value.Bytes), &n); err != nil {
			return err
		}
		if n < least {
			return fmt.Errorf("key %d is %d after %d was seen (stable: %v)", k, n, least, stable)
		}
		mu.Lock()
		seen[k] = max(seen[k], n)
		mu.Unlock()
		return nil
	}
	for reader := range 4 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := look(reader%2 == 0, i%keys); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for round := range rounds {
		var ops []op.Op
		fillers := 100 // so that it takes its time
		if round%8 == 0 {
			fillers = 1500
		}
		for i := range fillers {
			ops = append(ops, put(fmt.Sprint("filler", i), strings.Repeat("v", 100+round%10)))
		}
		for k := range keys {
			ops = append(ops, op.Op{Code: op.CodeAdd, Key: []byte{byte(k)}, Delta: 1})
		}
		if round%4 == 0 { // which is not gathered
			ops = append(ops, op.Op{Code: op.CodePut, Key: []byte("t"), TTL: op.TTLAfter, Time: 1000})
		}
		r.must(r.commit(nil, r.proposal(ops...)))
	}
	close(stop)
	readers.Wait()
	r.must(r.s.Close())
}

// TestRowsFollowTheState: SET, DEL, FLUSHDB, expiry by purge and a value too large for the rows, each
// read back live and stable, and from the rows once a reader has asked Pebble.
func TestRowsFollowTheState(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	key := []byte("k")
	storeKey := placeOf(0, key).append(nil)
	known := func() knowledge {
		_, k := r.s.machine.state.rows.get(nil, placeOf(0, key).prefix, storeKey)
		return k
	}
	check := func(want string) {
		t.Helper()
		for _, stable := range []bool{false, true, false} {
			view := r.s.View(stable)
			value, err := view.Get(0, key, nil)
			r.must(err)
			view.Close()
			if string(value.Bytes) != want || (value.Type == op.TypeNone) != (want == "") {
				t.Errorf("stable %v: %d bytes of type %v, want %d", stable, len(value.Bytes), value.Type,
					len(want))
			}
		}
		wantKnown := isPresent
		switch {
		case want == "":
			wantKnown = isAbsent
		case len(want) > rowBytesMax:
			wantKnown = askPebble
		}
		if k := known(); k != wantKnown {
			t.Errorf("after %d bytes were read the rows know %d, want %d", len(want), k, wantKnown)
		}
	}
	check("")
	put := func(value string) op.Op { return put("k", value) }
	large := strings.Repeat("x", 2*rowBytesMax)
	remove := op.Op{Code: op.CodeDelete, Args: [][]byte{key}}
	soon := op.Op{Code: op.CodePut, Key: key, Value: []byte("s"), TTL: op.TTLAfter, Time: 1000}
	for _, step := range []struct {
		ops  []op.Op
		want string
	}{
		{[]op.Op{put("a")}, "a"},
		{[]op.Op{put("b"), put("c")}, "c"},
		{[]op.Op{put(large)}, large},
		{[]op.Op{put("d")}, "d"},
		{[]op.Op{remove}, ""},
		{[]op.Op{put(large)}, large},
		{[]op.Op{remove}, ""},
		{[]op.Op{soon}, "s"}, // which is not gathered
		{[]op.Op{put("e"), {Code: op.CodeFlush, DB: 0}}, ""},
		{[]op.Op{soon}, "s"},
		{[]op.Op{{Code: op.CodeFlush, DB: op.AllDatabases}, put("f")}, "f"},
		{[]op.Op{{Code: op.CodeAppend, Key: key, Value: []byte("g")}}, "fg"},
	} {
		r.must(r.commit(nil, r.proposal(step.ops...)))
		check(step.want)
	}
	r.must(r.commit(nil, r.proposal(op.Op{Code: op.CodeFlush, DB: 1})))
	if known() != askPebble {
		t.Error("a flush of one database empties the rows of all: this is not so any more")
	}
	check("fg")
	r.must(r.commit(nil, r.proposal(soon)))
	check("s")
	r.stamp += 1000
	r.must(r.commit(nil, r.proposal(op.Op{Code: op.CodePurge, Delta: 10})))
	check("")
	r.must(r.s.Close())
}

// TestApplierKeepsWhatItFinds: what an op had to ask Pebble for is in the rows, and the machine's
// own keys are not: nothing would end them there.
func TestApplierKeepsWhatItFinds(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	d := r.s.machine.state
	known := func(storeKey []byte) knowledge {
		_, k := d.rows.get(nil, hashOf(storeKey), storeKey)
		return k
	}
	r.do(put("present", "value"))
	r.must(d.settle())
	d.rows.reset()
	once := op.Op{Code: op.CodeOnce, Client: []byte("client"), Request: 7}
	missing := op.Op{Code: op.CodeDelete, Args: [][]byte{[]byte("absent")}}
	once.Inner = missing.Append(nil)
	if got := r.do(op.Op{Code: op.CodePut, Key: []byte("present"), Cond: op.IfAbsent}); got != "nil" {
		t.Errorf("a key that is there was set: %s", got)
	}
	if got := r.do(missing); got != "0" {
		t.Errorf("%s keys were deleted", got)
	}
	if k := known(placeOf(0, []byte("present")).append(nil)); k != isPresent {
		t.Errorf("the rows know %d of a key that is present", k)
	}
	if k := known(placeOf(0, []byte("absent")).append(nil)); k != isAbsent {
		t.Errorf("the rows know %d of a key that is absent", k)
	}
	for range 2 {
		if got := r.do(once); got != "0" {
			t.Errorf("%s keys were deleted", got)
		}
	}
	if k := known(appendOnceKey(nil, once.Client, once.Request)); k != askPebble {
		t.Errorf("the rows know %d of a key of the machine", k)
	}
	r.must(r.s.Close())
}

// BenchmarkGetOfMany reads keys of a large memtable: what is in the rows, and what is not; and keys
// of which every third is not there.
func BenchmarkGetOfMany(b *testing.B) {
	for _, with := range []struct {
		name   string
		bytes  int64
		absent int
	}{
		{"rows", 128 << 20, 0}, {"rows, a third absent", 128 << 20, 100_000},
		{"memtable", 1, 0}, {"memtable, a third absent", 1, 100_000},
	} {
		b.Run(with.name, func(b *testing.B) {
			o := smallOptions(b, vfs.NewMem())
			o.RowBytes, o.StateMemTableBytes = with.bytes, 64<<20
			r := newReplica(b, o)
			const keys = 200_000
			for first := 0; first < keys; first += 1000 {
				var ops []op.Op
				for k := first; k < first+1000; k++ {
					ops = append(ops, op.Op{Code: op.CodePut, Key: fmt.Appendf(nil, "key:%012d", k),
						Value: make([]byte, 64)})
				}
				r.must(r.commit(nil, r.proposal(ops...)))
			}
			view := r.s.View(false)
			defer view.Close()
			var buf, key []byte
			get := func(n int) {
				key = fmt.Appendf(key[:0], "key:%012d", n)
				value, err := view.Get(0, key, buf[:0])
				if err != nil || (len(value.Bytes) == 64) != (n < keys) {
					b.Fatal(err, len(value.Bytes))
				}
				if n < keys {
					buf = value.Bytes
				}
			}
			for n := range keys + with.absent {
				get(n) // once before, as a cache is for the second time
			}
			random := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				get(random.IntN(keys + with.absent))
			}
		})
	}
}

// TestRowsKeepWhatIsStillSo: what a reader found before something was settled, or while it was, is
// not kept; neither is that it found nothing.
func TestRowsKeepWhatIsStillSo(t *testing.T) {
	for _, absent := range []bool{false, true} {
		r := newReplica(t, smallOptions(t, vfs.NewMem()))
		d := r.s.machine.state
		p := placeOf(0, []byte("k"))
		key := p.append(nil)
		fill := func(changes uint64) { d.rows.fill(changes, p.prefix, key, []byte("old"), absent) }
		kept := func() string {
			value, k := d.rows.get(nil, p.prefix, key)
			return fmt.Sprintf("%s (%d)", value, k)
		}
		nothing := kept()
		for _, direct := range []bool{false, true} {
			changes := d.rows.changes.Load()
			write := put("k", "new")
			if direct { // passes the tables by
				write.TTL, write.Time = op.TTLAfter, 1000
			}
			r.must(r.commit(nil, r.proposal(write)))
			r.must(d.settle())
			want := kept()
			fill(changes)
			if got := kept(); got != want || want == nothing {
				t.Errorf("direct %v: %q is kept, want %q", direct, got, want)
			}
		}
		d.rows.reset()
		changes := d.rows.changes.Add(1) // something is on its way
		if fill(changes); kept() != nothing {
			t.Errorf("%q is kept", kept())
		}
		d.rows.changes.Add(1)
		if fill(changes + 1); kept() == nothing {
			t.Error("what is so now is not kept")
		}
		r.must(r.s.Close())
	}
}

// TestRowsThatNobodyAskedForLong: a reader that was held up between its look at the rows and its
// question to Pebble, until the rows are idle, leaves nothing there that a write does not end.
func TestRowsThatNobodyAskedForLong(t *testing.T) {
	for _, direct := range []bool{false, true} {
		r := newReplica(t, smallOptions(t, vfs.NewMem()))
		d := r.s.machine.state
		p := placeOf(0, []byte("k"))
		key := p.append(nil)
		d.rows.get(nil, p.prefix, key) // the reader
		for range 2 {
			r.do(put("other", "value"))
			r.must(d.settle())
			r.stamp += 2 * rowsIdleAfter
		}
		if !d.rows.idle {
			t.Fatal("the rows are not idle")
		}
		r.must(d.ask(p.prefix, key, func([]byte) error { return nil })) // the reader
		write := put("k", "value")
		if direct {
			write.TTL, write.Time = op.TTLAfter, 1000
		}
		r.do(write)
		r.must(d.settle())
		view := r.s.View(false)
		if got := getText(t, view, 0, "k"); !strings.HasPrefix(got, `"value"`) {
			t.Errorf("direct %v: k is %s after it was set", direct, got)
		}
		view.Close()
		r.must(r.s.Close())
	}
}
