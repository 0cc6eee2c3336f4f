package store

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/raftcore"
	"kelek/store/op"
)

// model is the state as one would write it down without a disk, a batch or an index: a map. It
// knows nothing of how the machine does things.
type model struct {
	keys [op.Databases]map[string]modelValue
	now  uint64
	ops  uint64 // executed
}

type modelValue struct {
	body     string
	deadline uint64
	version  uint64 // the op that wrote it
}

func newModel() *model {
	m := &model{}
	for db := range m.keys {
		m.keys[db] = make(map[string]modelValue)
	}
	return m
}

// expire drops what has expired, at once.
func (m *model) expire(now uint64) {
	m.now = now
	for db := range m.keys {
		for key, v := range m.keys[db] {
			if v.deadline != 0 && v.deadline <= now {
				delete(m.keys[db], key)
			}
		}
	}
}

func (m *model) get(db uint8, key string) string {
	v, ok := m.keys[db][key]
	switch {
	case !ok:
		return "nil"
	case v.deadline != 0:
		return fmt.Sprintf("%q until %d", v.body, v.deadline)
	}
	return fmt.Sprintf("%q", v.body)
}

func (m *model) count(db uint8) (keys, expires int64) {
	for _, v := range m.keys[db] {
		keys++
		if v.deadline != 0 {
			expires++
		}
	}
	return keys, expires
}

// apply performs the few ops that the property test draws, and returns the result as text; "" for
// a purge, whose result is about the index.
func (m *model) apply(o *op.Op) string {
	m.ops++
	if o.Code == op.CodeFlush {
		for db := range m.keys {
			if o.DB == op.AllDatabases || int(o.DB) == db {
				clear(m.keys[db])
			}
		}
		return "ok"
	}
	keys, key := m.keys[o.DB%op.Databases], string(o.Key)
	old, exists := keys[key]
	switch o.Code {
	case op.CodePut:
		next := modelValue{string(o.Value), 0, m.ops}
		switch o.TTL {
		case op.TTLKeep:
			next.deadline = old.deadline
		case op.TTLAfter:
			next.deadline = m.now + uint64(o.Time)
		}
		met := o.Cond == op.Always || (o.Cond == op.IfExists) == exists
		if met {
			keys[key] = next
		}
		switch {
		case o.Return && exists:
			return fmt.Sprintf("%q", old.body)
		case o.Return || !met:
			return "nil"
		}
		return "ok"
	case op.CodeAppend:
		keys[key] = modelValue{old.body + string(o.Value), old.deadline, m.ops}
		return fmt.Sprint(len(old.body) + len(o.Value))
	case op.CodeTake:
		delete(keys, key)
		if exists {
			return fmt.Sprintf("%q", old.body)
		}
		return "nil"
	case op.CodeDelete:
		n := 0
		for _, arg := range o.Args {
			if _, ok := keys[string(arg)]; ok {
				n++
				delete(keys, string(arg))
			}
		}
		return fmt.Sprint(n)
	case op.CodeExpire:
		if exists {
			if next := m.now + uint64(o.Time); next != old.deadline {
				keys[key] = modelValue{old.body, next, m.ops}
			}
			return "1"
		}
		return "0"
	}
	return ""
}

// unchanged judges the conditions of a transaction.
func (m *model) unchanged(o *op.Op) bool {
	for _, w := range o.Watched {
		if m.keys[w.DB][string(w.Key)].version != w.Version {
			return false
		}
	}
	return true
}

// modelKeys are few, so that ops meet, and half of them are in one slot.
var modelKeys = [...]string{"a", "{a}b", "{a}c", "d", "e", "f"}

// drawOp makes an op.
func drawOp(r *rand.Rand) op.Op {
	key := []byte(modelKeys[r.IntN(len(modelKeys))])
	value := []byte(fmt.Sprint(r.IntN(1000)))
	o := op.Op{DB: uint8(r.IntN(2)), Key: key, Value: value}
	switch n := r.IntN(20); {
	case n < 8:
		o.Code = op.CodePut
		o.Cond = []op.Cond{op.Always, op.Always, op.IfAbsent, op.IfExists}[r.IntN(4)]
		o.TTL = op.TTL(r.IntN(3))
		o.Return = r.IntN(4) == 0
		if o.TTL == op.TTLAfter {
			o.Time = 1 + r.Int64N(30)
		}
	case n < 11:
		o.Code = op.CodeAppend
	case n < 13:
		o.Code = op.CodeTake
	case n < 15:
		o = op.Op{Code: op.CodeDelete, DB: o.DB, Args: [][]byte{key, {'a'}}}
	case n < 17:
		o.Code, o.TTL, o.Time = op.CodeExpire, op.TTLAfter, 1+r.Int64N(30)
	case n < 19:
		o = op.Op{Code: op.CodePurge, Delta: 1 + r.Int64N(4)}
	default:
		o = op.Op{Code: op.CodeFlush, DB: []uint8{0, 1, op.AllDatabases}[r.IntN(3)]}
	}
	return o
}

// drawMulti makes a transaction that watches some keys as they are now.
func (m *model) drawMulti(r *rand.Rand) (multi op.Op, inner []op.Op) {
	multi.Code = op.CodeMulti
	for range r.IntN(3) {
		db, key := uint8(r.IntN(2)), modelKeys[r.IntN(len(modelKeys))]
		multi.Watched = append(multi.Watched, op.Watched{
			DB: db, Key: []byte(key), Version: m.keys[db][key].version,
		})
	}
	for multi.Count = uint32(1 + r.IntN(4)); len(inner) < int(multi.Count); {
		if o := drawOp(r); o.Code.MayBeInMulti() {
			inner = append(inner, o)
			multi.Inner = o.Append(multi.Inner)
		}
	}
	return multi, inner
}

// endMulti takes note of a transaction that was not executed, and of nothing if it was.
func (m *model) endMulti(t *testing.T, o *op.Op, result string) {
	t.Helper()
	if result == "nil" {
		m.ops++
		if m.unchanged(o) {
			t.Fatalf("not executed though nothing was written: %+v", o)
		}
	}
}

// check compares every key and count that a view shows with the model.
func (m *model) check(t *testing.T, what string, v op.View) {
	t.Helper()
	if v.LogTime() != m.now {
		t.Fatalf("%s: log time %d, want %d", what, v.LogTime(), m.now)
	}
	for db := range uint8(2) {
		for _, key := range modelKeys {
			head, _, err := v.Head(db, []byte(key))
			if version := m.keys[db][key].version; err != nil || head.Version != version {
				t.Fatalf("%s: key %s of database %d has version %d, %v, want %d",
					what, key, db, head.Version, err, version)
			}
			if got, want := getText(t, v, db, key), m.get(db, key); got != want {
				t.Fatalf("%s: key %s of database %d is %s, want %s", what, key, db, got, want)
			}
			m.checkSlot(t, what, v, db, op.Slot([]byte(key)))
		}
		keys, expires, err := v.Count(db)
		wantKeys, wantExpires := m.count(db)
		if err != nil || keys != wantKeys || expires != wantExpires {
			t.Fatalf("%s: database %d has %d keys, %d expire, %v; want %d and %d",
				what, db, keys, expires, err, wantKeys, wantExpires)
		}
	}
}

// checkSlot compares the keys of one slot, all of them and the first two.
func (m *model) checkSlot(t *testing.T, what string, v op.View, db uint8, slot uint16) {
	t.Helper()
	var want []string
	for key := range m.keys[db] {
		if op.Slot([]byte(key)) == slot {
			want = append(want, key)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		return cmp.Compare(op.OrderPrefix([]byte(a)), op.OrderPrefix([]byte(b)))
	})
	for _, limit := range [...]int{2, math.MaxInt} {
		first := want[:min(limit, len(want))]
		if got := keysInSlot(t, v, db, slot, limit); !slices.Equal(got, first) {
			t.Fatalf("%s: slot %d of database %d has %q, want %q", what, slot, db, got, first)
		}
	}
}

// Random ops, in batches of random shape, with flushes and restarts between them: after each op the
// observer's view, and after half of the batches one of the other views, show what the model says. A
// second store that gets the same entries in other batches has the same hash.
func TestMachineAgreesWithModel(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() || raceEnabled {
		seeds = 4
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		a := newReplica(t, smallOptions(t, vfs.NewMem()))
		b := newReplica(t, smallOptions(t, vfs.NewMem()))
		want := newModel()
		for range 40 {
			batch, observers := drawBatch(t, r, a, want)
			a.must(a.commit(observers, batch...))
			b.must(b.append(batch...))
			for len(batch) > 0 {
				n := 1 + r.IntN(len(batch))
				b.must(b.s.Apply(batch[:n], nil))
				batch = batch[n:]
			}
			for _, stable := range []bool{false, true} {
				if r.IntN(2) == 0 { // what is gathered stays so
					continue
				}
				v := a.s.View(stable)
				want.check(t, fmt.Sprintf("seed %d, view(%v)", seed, stable), v)
				v.Close()
			}
			compareHashes(t, a.s, b.s)
			checkDeadlines(t, a.s, want)
			switch r.IntN(10) {
			case 0:
				a.reopen()
			case 1:
				a.must(a.s.FlushState())
			}
		}
		a.must(a.s.Close())
		b.must(b.s.Close())
	}
}

func compareHashes(t *testing.T, a, b *Store) {
	t.Helper()
	indexA, hashA := a.ApplyHash()
	indexB, hashB := b.ApplyHash()
	if indexA != indexB || hashA != hashB {
		t.Fatalf("hash %016x at %d, and %016x at %d", hashA, indexA, hashB, indexB)
	}
}

// checkDeadlines checks that the earliest deadline is known, or an earlier one that is void.
func checkDeadlines(t *testing.T, s *Store, want *model) {
	t.Helper()
	next := uint64(s.NextDeadline())
	for db := range want.keys {
		for key, v := range want.keys[db] {
			if v.deadline != 0 && (next == 0 || next > v.deadline) {
				t.Fatalf("next deadline is %d, and %q has %d", next, key, v.deadline)
			}
		}
	}
}

// drawBatch makes entries of random ops, and observers that follow them on the model.
func drawBatch(
	t *testing.T, r *rand.Rand, a *replica, want *model,
) (batch []raftcore.Entry, observers []op.Observer) {
	for range 1 + r.IntN(4) {
		a.stamp += raftcore.LogTime(r.IntN(10))
		stamp := uint64(a.stamp)
		if r.IntN(8) == 0 {
			batch, observers = append(batch, a.entry(raftcore.EntryNoop, nil)), append(observers, nil)
			continue
		}
		var ops []op.Op
		inner := make(map[int][]op.Op) // of the transactions
		for i := range 1 + r.IntN(8) {
			next := drawOp(r)
			if r.IntN(6) == 0 {
				next, inner[i] = want.drawMulti(r)
			}
			ops = append(ops, next)
		}
		c := &collector{}
		c.step = func(i, done int, got string, v op.View) {
			if done == 0 {
				want.expire(stamp)
				want.ops++ // the transaction itself
				if !want.unchanged(&ops[i]) {
					t.Fatalf("executed though a watched key was written: %+v", ops[i])
				}
			} else if result := want.apply(&inner[i][done-1]); result != "" && result != got {
				t.Fatalf("%+v in a transaction gave %s, want %s", inner[i][done-1], got, result)
			}
			want.check(t, "between two ops of a transaction", v)
		}
		c.after = func(i int, v op.View) {
			want.expire(stamp)
			if ops[i].Code == op.CodeMulti {
				want.endMulti(t, &ops[i], c.results[i])
			} else if result := want.apply(&ops[i]); result != "" && result != c.results[i] {
				t.Fatalf("%+v gave %s, want %s", ops[i], c.results[i], result)
			}
			want.check(t, "observer", v)
		}
		batch, observers = append(batch, a.proposal(ops...)), append(observers, c)
	}
	// The last op changes nothing, and takes the model to the stamp of the batch.
	last := &collector{}
	last.after = func(int, op.View) {
		want.expire(uint64(a.stamp))
		want.ops++
	}
	batch = append(batch, a.proposal(op.Op{Code: op.CodeTake, Key: []byte("unused")}))
	return batch, append(observers, last)
}

// The table grows and is used again without mixing up keys, flushes and generations.
func TestOverlayAgreesWithMap(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var o overlay
	o.reset()
	for range 5 {
		var data []byte
		want := map[string]string{}
		touched := map[string]bool{}
		for range 3000 {
			db := uint8(r.IntN(3))
			p := placeOf(db, []byte(fmt.Sprint(r.IntN(2000))))
			key := string(p.append(nil))
			switch n := r.IntN(1000); {
			case n == 0:
				o.flush(db)
				for k := range touched {
					if k[0] == db {
						want[k] = "absent"
					}
				}
				touched["flushed"+string(rune(db))] = true
			case n < 300:
				data = append(data, key...)
				o.put(p.prefix, data, len(key), 0, true)
				want[key], touched[key] = "absent", true
			default:
				value := fmt.Sprint(n)
				data = append(append(data, key...), byte(len(value)))
				data = append(data, value...)
				o.put(p.prefix, data, len(key), len(value), false)
				want[key], touched[key] = value, true
			}
		}
		checkOverlay(t, &o, data, want, touched)
		o.reset()
	}
}

func checkOverlay(
	t *testing.T, o *overlay, data []byte, want map[string]string, touched map[string]bool,
) {
	t.Helper()
	var found []string
	for db := range uint8(3) {
		o.each(db, data, func(_, value []byte) { found = append(found, string(value)) })
		for i := range 2000 {
			p := placeOf(db, []byte(fmt.Sprint(i)))
			key := p.append(nil)
			got := "ask"
			value, k := o.find(p.prefix, key, data)
			switch k {
			case isAbsent:
				got = "absent"
			case isPresent:
				got = string(value)
			}
			expected, ok := want[string(key)]
			if !ok {
				expected = "ask"
				if touched["flushed"+string(rune(db))] {
					expected = "absent"
				}
			}
			if got != expected {
				t.Fatalf("key %d of database %d is %s, want %s", i, db, got, expected)
			}
		}
	}
	var present []string
	for _, value := range want {
		if value != "absent" {
			present = append(present, value)
		}
	}
	slices.Sort(found)
	slices.Sort(present)
	if !slices.Equal(found, present) {
		t.Fatalf("each visits %d values, want %d", len(found), len(present))
	}
}
