package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store/op"
)

// scanner is what a stable view can do beside op.View.
type scanner interface {
	Scan(db uint8, from uint64, limit int, visit func(key []byte, t op.Type)) (uint64, error)
}

// scanOnce makes one call on a view of its own, as a SCAN does.
func scanOnce(t *testing.T, s *Store, db uint8, from uint64, limit int) (keys []string, next uint64) {
	t.Helper()
	v := s.View(true)
	defer v.Close()
	next, err := v.(scanner).Scan(db, from, limit, func(key []byte, kind op.Type) {
		if kind != op.TypeString {
			t.Fatalf("%q is of type %v", key, kind)
		}
		keys = append(keys, string(key))
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys, next
}

// Keys that are there all the time are visited once each, with calls of any size, while other keys
// come, go, expire and are in other databases; after a restart the cursor goes on where it was.
func TestScanVisitsWhatStaysOnce(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	random := rand.New(rand.NewPCG(5, 6))
	var stay []string
	for i := range 300 {
		stay = append(stay, fmt.Sprint("stay", i))
		r.do(put(stay[i], "v"))
	}
	r.do(op.Op{Code: op.CodePut, DB: 1, Key: []byte("elsewhere"), Value: []byte("v")})
	r.do(op.Op{Code: op.CodePut, Key: []byte("late"), TTL: op.TTLAfter, Time: 5})
	r.stamp += 5 // it is gone, and not purged
	slices.Sort(stay)
	for round := range 10 {
		var seen []string
		for cursor, calls := uint64(0), 0; ; calls++ {
			keys, next := scanOnce(t, r.s, 0, cursor, 1+random.IntN(40))
			for _, key := range keys {
				if key[0] == 's' {
					seen = append(seen, key)
				}
			}
			if slices.Contains(keys, "late") && r.stamp > 1005 || slices.Contains(keys, "elsewhere") {
				t.Fatalf("round %d visited %q", round, keys)
			}
			if next == 0 {
				break
			}
			if next <= cursor {
				t.Fatalf("the cursor went from %d to %d", cursor, next)
			}
			cursor = next
			r.do(put(fmt.Sprint("come", random.IntN(50)), "v"))
			r.do(op.Op{Code: op.CodeDelete, Args: [][]byte{[]byte(fmt.Sprint("come", random.IntN(50)))}})
			if calls == 3 && round == 0 {
				r.reopen()
			}
		}
		slices.Sort(seen)
		if !slices.Equal(seen, stay) {
			t.Fatalf("round %d: %d keys were visited, want %d", round, len(seen), len(stay))
		}
	}
	if keys, next := scanOnce(t, r.s, 3, 0, 10); len(keys) != 0 || next != 0 {
		t.Errorf("an empty database has %q, next %d", keys, next)
	}
}

// Keys with one prefix are never parted, since the cursor could not name a place between them.
func TestScanKeepsKeysOfOnePrefixTogether(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	value := make([]byte, recordSize(0, 1, 0))
	putRecordHead(value, op.TypeString, 0, 1)
	for i, prefix := range []uint64{0, 7, 7, 7, 9} { // no five keys hash like this
		p := place{db: 0, prefix: prefix, key: []byte{byte('a' + i)}}
		if err := r.s.machine.db.Set(p.append(nil), value, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		from  uint64
		limit int
		want  string
		next  uint64
	}{{0, 1, "[a]", 7}, {0, 2, "[a b c d]", 9}, {7, 1, "[b c d]", 9}, {8, 1, "[e]", 0},
		{10, 1, "[]", 0}, {0, 5, "[a b c d e]", 0}, {0, 4, "[a b c d]", 9}} {
		keys, next := scanOnce(t, r.s, 0, test.from, test.limit)
		if fmt.Sprint(keys) != test.want || next != test.next {
			t.Errorf("%d from %d: %v, next %d, want %s, %d", test.limit, test.from, keys, next,
				test.want, test.next)
		}
	}
}
