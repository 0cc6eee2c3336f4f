package store

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kelek/store/op"
)

// slotView is what the views can do beside op.View.
type slotView interface {
	KeysInSlot(db uint8, slot uint16, limit int, visit func(key []byte)) (int, error)
}

// keysInSlot lists the keys of a slot.
func keysInSlot(t *testing.T, v op.View, db uint8, slot uint16, limit int) (keys []string) {
	t.Helper()
	n, err := v.(slotView).KeysInSlot(db, slot, limit, func(key []byte) {
		keys = append(keys, string(key))
	})
	if err != nil || n != len(keys) {
		t.Fatalf("%d keys in slot %d, %d visited, %v", n, slot, len(keys), err)
	}
	return keys
}

// keyIn finds a key whose slot is given.
func keyIn(slot uint16) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint(i); op.Slot([]byte(key)) == slot {
			return key
		}
	}
}

// A slot ends where the next one begins, the last one with its database, and a limit is never
// passed. What each view says of writes is tested by TestMachineAgreesWithModel.
func TestKeysInSlot(t *testing.T) {
	r := newReplica(t, smallOptions(t, vfs.NewMem()))
	const last = op.Slots - 1
	inSlot := map[uint16][]string{}
	for _, slot := range [...]uint16{0, 1, last - 1, last} {
		tag := keyIn(slot)
		for _, key := range [...]string{tag, "{" + tag + "}", "x{" + tag + "}"} {
			inSlot[slot] = append(inSlot[slot], key)
			r.do(put(key, "v"))
		}
		elsewhere := put("{"+tag+"}elsewhere", "v")
		elsewhere.DB = 1
		r.do(elsewhere)
	}
	for _, v := range [...]op.View{r.s.View(false), r.s.View(true)} {
		for slot, want := range inSlot {
			got := keysInSlot(t, v, 0, slot, math.MaxInt)
			for limit := range len(want) + 1 {
				if n := keysInSlot(t, v, 0, slot, limit); !slices.Equal(n, got[:limit]) {
					t.Errorf("slot %d, limit %d: %q, of %q", slot, limit, n, got)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("slot %d has %q, want %q", slot, got, want)
			}
		}
		if got := keysInSlot(t, v, 0, 7, math.MaxInt); len(got) != 0 {
			t.Errorf("slot 7 has %q", got)
		}
		v.Close()
	}
	r.must(r.s.Close())
}
