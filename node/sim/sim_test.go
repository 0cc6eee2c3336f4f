package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	seedFlag = flag.Int64("seed", -1, "run this seed alone")
	minutes  = flag.Float64("minutes", 0, "run fresh seeds for so long")
	shift    = flag.Uint64("shift", 0, "what is added to each fixed seed of every test")
)

// run is one world under all faults, and then at peace.
func run(t *testing.T, seed uint64, rounds int) stats {
	w := newWorld(t, seed)
	defer w.end()
	w.random = true
	for range rounds {
		w.strike()
		w.load()
		w.round()
		if len(w.check.violated) > 0 {
			return w.stats
		}
	}
	for _, m := range w.machines {
		if m.broken != nil {
			w.check.violate("%s: a disk that only loses its power is damaged: %v", m.name, m.broken)
		}
	}
	if w.calm() {
		w.verdict()
	}
	return w.stats
}

// TestSeeds: whatever fails, nothing that was answered is lost or done twice, and once nothing
// fails any more the cluster serves.
func TestSeeds(t *testing.T) {
	var all stats
	for seed := range seeds(t) {
		one := run(t, seed, 3000)
		all.add(&one)
		if t.Failed() {
			break
		}
	}
	t.Logf("%+v", all)
	if *seedFlag >= 0 || t.Failed() {
		return
	}
	for what, count := range map[string]int{"writes": all.acked, "unknown outcomes": all.unknown,
		"reads": all.reads, "power cuts": all.crashes, "power cuts at a start": all.cutAtStart,
		"power cuts that lose all": all.kept0, "and nothing": all.kept100, "snapshots": all.installs,
		"lost frames": all.dropped, "blackouts": all.blackouts,
		"failed operations": all.errors, "reads under a lease": all.leaseReads} {
		if count == 0 {
			t.Errorf("no %s", what)
		}
	}
}

// seeds are those of a run of the tests: some fixed ones, one, or fresh ones for minutes.
func seeds(t *testing.T) func(yield func(uint64) bool) {
	return func(yield func(uint64) bool) {
		if *seedFlag >= 0 {
			yield(uint64(*seedFlag))
			return
		}
		fixed := uint64(10)
		if testing.Short() {
			fixed = 3
		}
		for seed := range fixed {
			if !yield(*shift + seed) {
				return
			}
		}
		start, fresh := time.Now(), uint64(time.Now().UnixNano())>>16
		for ; time.Since(start).Minutes() < *minutes; fresh++ {
			fmt.Println("seed", fresh)
			if !yield(fresh) {
				return
			}
		}
	}
}
